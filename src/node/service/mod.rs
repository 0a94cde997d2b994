//! The health of what the addresses are for: HAProxy, checks and tracked interfaces.

pub(crate) mod health;
mod reload;
pub(crate) mod tracking;

use crate::haproxy::supervisor::Health;

/// What of HAProxy matters to VRRP: a change is looked at by every virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) health: Health,
    pub(crate) adopting: bool,
    pub(crate) first: bool,
}
