//! HAProxy as vipd's child.

pub mod command;
pub mod config_file;
pub mod listeners;
pub mod output;
pub mod show_info;
pub mod supervisor;
