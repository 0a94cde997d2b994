//! vipd
pub mod config;
pub mod time;
