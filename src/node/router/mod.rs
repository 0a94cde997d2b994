//! The virtual routers of a node: their state, and what they have to do with their group, their successor and
//! others.

pub(crate) mod farewell;
pub mod fence;
pub(crate) mod flap;
pub(crate) mod foreign;
pub(crate) mod group;
pub(crate) mod handover;
pub(crate) mod quiet;
pub(crate) mod refused;
pub(crate) mod resign;
pub(crate) mod retune;
pub(crate) mod state;
pub(crate) mod unsent;
