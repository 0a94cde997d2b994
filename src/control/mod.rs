//! The control socket: its protocol, the daemon's end and the command's end.

mod client;
mod protocol;
mod server;

pub use client::stream;
pub use protocol::{LATER, MAX_NO_PREEMPT, PATIENCE, Reload, Request, is_patient};
pub use server::{Asker, Control};
