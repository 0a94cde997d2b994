//! VRRP: packets, the state machine and its timers, announcements.

pub mod announce;
pub mod demux;
pub mod group;
pub mod machine;
#[cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]
pub mod packet;
pub mod timers;
