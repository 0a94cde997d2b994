//! HAProxy as vipd's child.

pub mod show_info;
pub mod supervisor;
