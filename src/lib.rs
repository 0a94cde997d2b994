//! vipd
pub mod config;
pub mod time;
pub mod vrrp;
pub mod wire;
