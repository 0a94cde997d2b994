//! Frames and netlink messages as safe code over byte slices: no I/O, no clock, and no panic on any input.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod ah;
pub mod arp;
pub mod auth_trailer;
pub mod checksum;
pub mod diag;
pub mod dns;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod md5;
pub mod ndp;
pub mod nft;
pub mod rtnl;
pub mod sha256;
pub mod vrrp;

/// Writes `parts` one behind the other, as far as there is room.
fn fill(out: &mut [u8], parts: &[&[u8]]) {
    for (to, from) in out.iter_mut().zip(parts.iter().copied().flatten()) {
        *to = *from;
    }
}
