//! The daemon's side of HAProxy: its process, its probe, its output, its listening sockets, its files.

mod binds;
pub(crate) mod copy;
mod files;
pub(crate) mod listeners;
mod output;
mod probe;
mod processes;
pub(crate) mod service;
