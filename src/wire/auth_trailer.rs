//! The authentication trailer behind a VRRP message (draft-cassen-vrrp-auth-hmac), as keepalived 2.4.3 speaks
//! it.
//!
//! ```text
//!  0 type 1 (HMAC-SHA256-128)   1 key id             2 reserved, zero (2)
//!  4 seconds since 1970 (4)     8 fraction of a second in 1/65536 (2)     10 counter (2)
//! 12 the first 16 octets of the HMAC
//! ```
//!
//! Nothing in the message announces the trailer: it is there if the payload is exactly 28 octets longer than
//! the message. The HMAC covers a pseudo-header, the message with a checksum of zero, and the trailer with an
//! HMAC of zero:
//!
//! ```text
//! pseudo-header:  0 4 or 6: IP version   1 VRRP version   2 VRID   3 zero
//!                 4 source address; behind an IPv4 address twelve zero octets
//! ```

use super::sha256::{BLOCK, hmac};
use crate::base::secret::is_equal;
use std::net::IpAddr;
use std::time::Duration;

/// Octets of a trailer.
pub const LEN: u16 = 28;
/// HMAC-SHA256 cut to 128 bits, the only type.
pub const TYPE: u8 = 1;
/// Octets of the HMAC that are sent.
const MAC_LEN: usize = 16;
/// Where they are in a trailer.
const MAC_AT: usize = 12;

/// Octets 4 to 11 of a trailer: when it was signed. Sequences are in the circular order of RFC 1982.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Of a time since 1970 UTC, with a counter of zero.
    pub fn at(wall: Duration) -> Self {
        // Below 10^9 × 65536: no overflow, and the quotient has 16 bits.
        let fraction = u64::from(wall.subsec_nanos()).wrapping_mul(65_536) / 1_000_000_000;
        Sequence(wall.as_secs() << 32 | fraction << 16)
    }

    /// Its seconds, modulo 2^32.
    pub fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether it was signed after `other`.
    pub fn is_after(self, other: Sequence) -> bool {
        self.0.wrapping_sub(other.0) as i64 > 0
    }

    /// The next one: the counter carries to the fraction, and that to the seconds.
    pub fn next(self) -> Self {
        Sequence(self.0.wrapping_add(1))
    }

    /// By how many whole seconds it is ahead of `other`.
    pub fn seconds_ahead_of(self, other: Sequence) -> i32 {
        self.seconds().wrapping_sub(other.seconds()) as i32
    }
}

/// What the HMAC covers beside the message: on reception the receiver's own version and VRID, and the source
/// address of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Pseudo {
    /// VRRP version, 2 or 3.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Source address of the packet.
    pub src: IpAddr,
}

impl Pseudo {
    fn bytes(&self) -> [u8; 20] {
        let mut out = [0; 20];
        let [family, version, vrid, _, addr @ ..] = &mut out;
        (*version, *vrid) = (self.version, self.vrid);
        match self.src {
            IpAddr::V4(a) => {
                *family = 4;
                addr.iter_mut().zip(a.octets()).for_each(|(to, from)| *to = from);
            }
            IpAddr::V6(a) => (*family, *addr) = (6, a.octets()),
        }
        out
    }
}

/// A received trailer.
#[derive(Clone, Copy, Debug)]
pub struct Trailer<'a>(&'a [u8; LEN as usize]);

impl<'a> Trailer<'a> {
    /// The trailer that `bytes` are; `None` if they have another length.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.try_into().ok().map(Trailer)
    }

    /// Whether it is of the only type, and what is reserved is zero.
    pub fn is_well_formed(&self) -> bool {
        matches!(self.0, [TYPE, _, 0, 0, ..])
    }

    /// Which key it was made with.
    pub fn key_id(&self) -> u8 {
        let [_, id, ..] = self.0;
        *id
    }

    /// When it was made; to be believed after [`Trailer::verify`].
    pub fn sequence(&self) -> Sequence {
        let [_, _, _, _, s @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.0;
        Sequence(u64::from_be_bytes(s))
    }

    /// Whether it was made with this key for this message. Takes as long whichever octet differs.
    pub fn verify(&self, key: &[u8; BLOCK], pseudo: &Pseudo, message: &[u8]) -> bool {
        let (head, got) = self.0.split_at(MAC_AT);
        let want = mac(key, pseudo, message, head);
        is_equal(&want, got)
    }
}

/// Appends the trailer of the message that begins at `start` of `out`. The checksum of the message does not
/// matter.
pub fn append(
    out: &mut Vec<u8>,
    start: usize,
    key_id: u8,
    key: &[u8; BLOCK],
    pseudo: &Pseudo,
    seq: Sequence,
) {
    let mut head = [TYPE, key_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [_, _, _, _, s @ ..] = &mut head;
    *s = seq.0.to_be_bytes();
    let mac = mac(key, pseudo, out.get(start..).unwrap_or_default(), &head);
    out.extend_from_slice(&head);
    out.extend_from_slice(&mac);
}

/// `head`: the trailer without its HMAC.
fn mac(key: &[u8; BLOCK], pseudo: &Pseudo, message: &[u8], head: &[u8]) -> [u8; MAC_LEN] {
    let (before, behind) = message.split_at(message.len().min(6));
    let behind = behind.get(2..).unwrap_or_default();
    let digest = hmac(key, &[&pseudo.bytes(), before, &[0; 2], behind, head, &[0; MAC_LEN]]);
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
