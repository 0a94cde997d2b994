//! VRRP: packets, the state machine and its timers, announcements.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

pub mod announce;
#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod authentication;
pub mod demux;
pub mod faults;
pub mod foreign;
pub mod group;
pub mod machine;
#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod packet;
#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod replay;
pub mod stats;
pub mod timers;
