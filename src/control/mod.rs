//! The control socket: its protocol, the daemon's end and the command's end; and metrics and health over
//! HTTP, from the same server.

mod client;
mod connection;
pub mod http;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use client::stream;
pub use protocol::{LATER, MAX_NO_PREEMPT, PATIENCE, Reload, Request};
pub use server::Server;

use crate::config::HasHttp;

/// The number of a client that waits for an answer; unique as long as vipd runs.
pub type Asker = u64;

/// What the clients of a server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Lines, see `protocol`.
    Control,
    /// HTTP.
    Http(HasHttp),
}
