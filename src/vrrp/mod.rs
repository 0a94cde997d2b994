//! VRRP: packets, the state machine and its timers, announcements.

pub mod announce;
pub mod demux;
pub mod machine;
pub mod packet;
pub mod timers;
