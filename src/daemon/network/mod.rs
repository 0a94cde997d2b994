//! The daemon's side of the network: sockets of each interface, macvlans, the kernel's tables.

pub(crate) mod links;
pub(crate) mod tables;
pub(crate) mod vmac;
