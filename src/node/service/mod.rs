//! The health of what the addresses are for: HAProxy, checks and tracked interfaces.

pub(crate) mod health;
pub(crate) mod tracking;
