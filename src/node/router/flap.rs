//! A flap of the interface that is shorter than what the backups wait: the mastership goes on where it was.
//!
//! The adverts of the last N × I reached everybody, and priority 0 could reach nobody while there was no
//! link. So nobody else can be master yet, as after a quick restart.
//!
//! An interface that has only lost its address could send priority 0, with the address that it had. A network
//! manager that takes its configuration up again flushes the addresses and puts them back at once, so vipd
//! waits for a moment.

use crate::base::time::Time;
use crate::node::Node;
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::Kind;
use std::time::Duration;

/// Before the backups' time is up: what an advert takes to reach them.
const MARGIN: Duration = Duration::from_millis(200);
/// Faults of an interface that has lost its address.
const OF_AN_ADDRESS: Faults = Faults::NO_ADDRESS.or(Faults::NO_SOURCE);
/// Faults that come and go with a link.
const OF_A_FLAP: Faults = Faults::LINK_DOWN.or(OF_AN_ADDRESS);
/// What it takes to put an address back.
const PUT_BACK: Duration = Duration::from_millis(100);

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

    /// Priority 0 is due. Whether it waits for the address to come back, within the time of a flap.
    pub(crate) fn waits_for_address(&mut self, i: usize, now: Time) -> bool {
        let router = &mut self.routers[i];
        let lost_it = !router.faults.none() && router.faults.only(OF_AN_ADDRESS);
        let until = router.flap_until.filter(|t| lost_it && now < *t);
        router.resigns_at = until.map(|t| t.min(now + PUT_BACK));
        until.is_some()
    }

    /// It has not come back: says priority 0, `at_once` or when that is due.
    pub(crate) fn tick_put_back(&mut self, i: usize, now: Time, at_once: bool) {
        let router = &mut self.routers[i];
        let Some(at) = router.resigns_at else { return };
        let gone = router.machine.kind() == Kind::Init;
        if !gone || at_once || now >= at {
            router.resigns_at = None;
        }
        if gone && self.routers[i].resigns_at.is_none() {
            self.routers[i].flap_until = None;
            self.say_priority_zero(i, now);
        }
    }
}
