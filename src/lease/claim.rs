//! What lets a virtual router renew, and the terms of its leases.

use super::HANDOVER_LEASE;
use crate::base::time::Time;
use crate::config;
use crate::config::lease::{self, Wait};
use std::time::Duration;

/// What lets an instance renew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Claim {
    /// Nothing.
    None,
    /// The last advert that was sent without error.
    Advert(Time),
    /// Waiting for the successor; a second (`HANDOVER_LEASE`) before the end of the running lease: what has
    /// ended is not brought back.
    Handover(Time),
}

/// The leases of one virtual router.
#[derive(Clone, Debug)]
pub(super) struct Leasing {
    lease: config::Lease,
    /// What the backups count by.
    pub(super) wait: Wait,
    /// The owner's addresses are permanent and not ours to touch.
    pub(super) owner: bool,
    pub(super) claim: Claim,
    /// The terms while this node is master, which follow from the above.
    by_advert: Terms,
}

/// How long, and how fresh the claim must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// L in seconds; `None`: permanent.
    pub lease: Option<u32>,
    /// d: a renewal needs a claim no older than this.
    pub fresh: Duration,
    /// Whether d + L + e <= N × I.
    pub safe: bool,
}

impl Leasing {
    pub(super) const UNSET: Leasing = Leasing {
        lease: config::Lease::Off,
        wait: Wait { advert_int: Duration::ZERO, min_down_interval: Duration::ZERO },
        owner: false,
        claim: Claim::None,
        by_advert: Terms { lease: None, fresh: Duration::ZERO, safe: false },
    };

    /// Other terms; the claim stays.
    pub(super) fn set_terms(&mut self, v: &config::Vrrp, wait: Wait) {
        (self.lease, self.wait, self.owner) = (v.lease, wait, v.priority == 255);
        self.by_advert = self.compute();
    }

    /// Whether the addresses are permanent (`lease = off`).
    pub(super) fn is_off(&self) -> bool {
        self.lease == config::Lease::Off
    }

    /// The terms as things stand.
    pub(super) fn terms(&self) -> Terms {
        match self.claim {
            Claim::Handover(_) => Terms {
                lease: (!self.is_off()).then_some(HANDOVER_LEASE),
                fresh: Duration::from_secs(u64::from(HANDOVER_LEASE)),
                safe: false,
            },
            _ => self.by_advert,
        }
    }

    fn compute(&self) -> Terms {
        let secs = match self.lease {
            config::Lease::Off => {
                return Terms { lease: None, fresh: self.wait.min_down_interval, safe: false };
            }
            config::Lease::Seconds(s) => s,
            config::Lease::Auto => lease::auto(self.wait.advert_int, self.wait.min_down_interval),
        };
        let fresh = lease::fresh(secs, self.wait.advert_int, self.wait.min_down_interval);
        // A renewal goes out with each advert in any case; where that is too long, the manual says so.
        Terms { lease: Some(secs), fresh: fresh.unwrap_or(self.wait.advert_int / 4), safe: fresh.is_some() }
    }
}
