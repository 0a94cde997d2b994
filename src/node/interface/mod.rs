//! The interfaces of a node: what the kernel says of them, and the macvlans of virtual MAC addresses.

pub(crate) mod link;
pub(crate) mod vmac;
