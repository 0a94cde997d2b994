//! vipd
pub mod time;
