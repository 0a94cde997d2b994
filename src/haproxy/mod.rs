//! HAProxy as vipd's child.

pub mod listeners;
pub mod show_info;
pub mod supervisor;
