//! What lets a virtual router renew, and the terms of its leases.

use super::HANDOVER_LEASE;
use super::operations::RENEWAL_GAP;
use crate::base::time::Time;
use crate::config::lease::{self, Wait};
use crate::config::{self, fence};
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
    /// The lease in nf_tables that an advert gives: the addresses are behind the fence.
    pub(super) fence: Option<Duration>,
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
        fence: None,
    };

    /// Other terms; the claim stays. `tick`: of the kernel, if it keeps leases in nf_tables.
    pub(super) fn set_terms(&mut self, v: &config::Vrrp, wait: Wait, tick: Option<Duration>) {
        (self.lease, self.wait, self.owner) = (v.lease, wait, v.priority == 255);
        self.set_tick(tick);
    }

    pub(super) fn set_tick(&mut self, tick: Option<Duration>) {
        let wanted = matches!(self.lease, config::Lease::Auto | config::Lease::Fence) && !self.owner;
        let Wait { advert_int, min_down_interval } = self.wait;
        self.fence =
            tick.filter(|_| wanted).and_then(|tick| fence::term(tick, advert_int, min_down_interval));
        self.by_advert = match self.fence {
            Some(fresh) => Terms { lease: Some(fence::lifetime(fresh, advert_int)), fresh, safe: false },
            None => self.in_seconds(),
        };
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

    /// The age at which a lease is renewed with the next advert, and the one at which it is renewed in any
    /// case.
    pub(super) fn renewal(&self, lease: u32) -> (Duration, Duration) {
        if self.fence.is_none() {
            return (RENEWAL_GAP, Duration::from_secs(u64::from(lease)) / 8);
        }
        let age = fence::renewal(lease);
        (age.saturating_sub(self.wait.advert_int).max(RENEWAL_GAP), age)
    }

    fn in_seconds(&self) -> Terms {
        let secs = match self.lease {
            config::Lease::Off => {
                return Terms { lease: None, fresh: self.wait.min_down_interval, safe: false };
            }
            config::Lease::Seconds(s) => s,
            _ => lease::auto(self.wait.advert_int, self.wait.min_down_interval),
        };
        let fresh = lease::fresh(secs, self.wait.advert_int, self.wait.min_down_interval);
        // A renewal goes out with each advert in any case; where that is too long, the manual says so.
        Terms { lease: Some(secs), fresh: fresh.unwrap_or(self.wait.advert_int / 4), safe: fresh.is_some() }
    }
}
