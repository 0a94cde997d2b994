//! Split brain: somebody else is master, or answers for a VIP, while we are master.

use crate::base::time::Time;
use crate::event::Event;
use crate::node::{Node, Router};
use crate::vrrp::foreign::Other;
use crate::vrrp::packet::Discard;
use std::time::Duration;

/// A new master tolerates what its predecessor still sends.
const SETTLING: Duration = Duration::from_secs(1);
/// A VIP is announced again at most this often because somebody else announced it (RFC 5227 DEFEND_INTERVAL);
/// and after such a silence the next one is told again.
const DEFEND: Duration = Duration::from_secs(10);
/// How long a master counts as contested after it last heard another one. Hosts repeat their announcements
/// each minute.
const CONTESTED: Duration = Duration::from_secs(120);

/// Another host announces a VIP that is held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The VIP: index into the address book.
    pub entry: usize,
    /// Who announced it.
    pub mac: [u8; 6],
    /// The last time.
    pub heard: Time,
    defended: Time,
}

impl Contest {
    /// Whether that is not long ago.
    pub fn is_fresh(&self, now: Time) -> bool {
        now.since(self.heard) < DEFEND
    }
}

/// Whether a refused advert of our VRID tells of a second master. Our own, heard again, does not.
pub(crate) fn is_of_a_master(why: Discard) -> bool {
    why != Discard::OwnSource
}

/// Who else has our addresses while we are master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// A host that announces one of them by ARP or neighbour advertisement.
    Announces(Contest),
    /// A host that advertises our VRID.
    Advertises(Other),
}

impl Router {
    /// The other hosts that were heard within 2 minutes, in this mastership, and when: split brain.
    pub fn rivals(&self, now: Time) -> impl Iterator<Item = (Rival, Time)> {
        let advertises = self.foreign.contested().zip(self.foreign.last);
        let advertises = advertises.map(|(at, other)| (Rival::Advertises(other), at));
        let announces = self.contest.map(|c| (Rival::Announces(c), c.heard));
        let (master, since) = (self.is_master(), self.since);
        let fresh = move |at: Time| master && at >= since && now.since(at) < CONTESTED;
        advertises.into_iter().chain(announces).filter(move |(_, at)| fresh(*at))
    }

    /// Whether another host has our addresses, as far as this node can hear.
    pub fn is_contested(&self, now: Time) -> bool {
        self.rivals(now).next().is_some()
    }
}

impl Node {
    /// An advert of another master, and we are still master.
    pub(crate) fn second_master(&mut self, now: Time, router: usize, other: Other) {
        let i = &mut self.routers[router];
        if !i.is_master() {
            return;
        }
        if other.priority == 0 {
            // It gives way.
            if i.foreign.is_alone(other.src) {
                self.end_foreign(router, true);
            }
        } else if i.foreign.heard(now, i.machine.min_down_interval(), other) {
            self.emit(Event::SecondMaster { router, other });
        }
    }

    /// The other one is no longer heard, or one of the two has given way: then it is `over`.
    pub(crate) fn end_foreign(&mut self, router: usize, over: bool) {
        if let Some((other, lasted)) = self.routers[router].foreign.end(over) {
            self.emit(Event::SecondMasterGone { router, src: other.src, lasted, over });
        }
    }

    /// Another host announced a VIP.
    pub(crate) fn contested(&mut self, now: Time, entry: usize, mac: [u8; 6]) {
        let Some(e) = self.addrs.entries.get(entry) else { return };
        let router = e.router;
        let own = self.links[e.link].mac == Some(mac) || self.macs.iter().any(|(_, own)| *own == mac);
        let i = &mut self.routers[router];
        // While it resigns, another host's announcement is welcome.
        let settled = i.is_master() && !i.machine.is_soliciting() && now.since(i.since) >= SETTLING;
        // A master that advertises is told of as such.
        let known = i.foreign.deadline().is_some();
        if !settled || known || own || !self.addrs.is_held(entry) {
            return;
        }
        i.stats.foreign_announcements += 1;
        let before = i.contest;
        let defend = before.is_none_or(|c| now.since(c.defended) >= DEFEND);
        let defended = if defend { now } else { before.map_or(now, |c| c.defended) };
        i.contest = Some(Contest { entry, mac, heard: now, defended });
        if before.is_none_or(|c| !c.is_fresh(now)) {
            self.emit(Event::VipContested { entry, mac });
        }
        if defend {
            self.reannounce(router, now);
        }
    }
}
