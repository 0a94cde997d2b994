//! A flap of the interface that is shorter than what the backups wait: the mastership goes on where it was.
//!
//! The adverts of the last N × I reached everybody, and priority 0 could reach nobody while there was no
//! link. So nobody else can be master yet, as after a quick restart.

use crate::base::time::Time;
use crate::node::Node;
use crate::vrrp::faults::Faults;
use std::time::Duration;

/// Before the backups' time is up: what an advert takes to reach them.
const MARGIN: Duration = Duration::from_millis(200);
/// Faults that come and go with a link.
const OF_A_FLAP: Faults = Faults::LINK_DOWN.or(Faults::NO_ADDRESS).or(Faults::NO_SOURCE);

impl Node {
    /// A virtual router is about to enter FAULT for these reasons, or has others now.
    pub(crate) fn note_flap(&mut self, i: usize, faults: Faults) {
        let last = self.addrs.last_advert(i);
        let router = &mut self.routers[i];
        if !faults.only(OF_A_FLAP) || router.machine.is_soliciting() {
            router.flap_until = None;
        } else if let Some(last) = last.filter(|_| router.is_master()) {
            let until = last + router.machine.min_down_interval();
            router.flap_until = Some(until - MARGIN.min(until.since(last)));
        }
    }

    /// Whether it was master before a flap, and the backups wait for it still.
    pub(crate) fn is_flap(&self, i: usize, now: Time) -> bool {
        self.routers[i].flap_until.is_some_and(|t| now < t)
    }
}
