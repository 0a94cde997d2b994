//! One virtual router of a node: its state, its group, and what it does beyond the VRRP machine.

pub(crate) mod farewell;
pub(crate) mod foreign;
pub(crate) mod group;
pub(crate) mod refused;
pub(crate) mod resign;
pub(crate) mod state;
pub(crate) mod unsent;
