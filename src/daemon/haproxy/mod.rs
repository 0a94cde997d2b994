//! The daemon's side of HAProxy: its process, its probe, its listening sockets, its files.

pub(crate) mod files;
pub(crate) mod listeners;
pub(crate) mod service;
