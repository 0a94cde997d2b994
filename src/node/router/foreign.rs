//! Split brain: somebody else is master, or answers for a VIP, while we are master.

use crate::base::time::Time;
use crate::event::Event;
use crate::node::Node;
use crate::vrrp::foreign::Other;
use crate::vrrp::packet::Discard;
use std::time::Duration;

/// A new master tolerates what its predecessor still sends.
const SETTLING: Duration = Duration::from_secs(1);
/// A VIP is announced again at most this often because somebody else announced it (RFC 5227 DEFEND_INTERVAL);
/// and after such a silence the next one is told again.
const DEFEND: Duration = Duration::from_secs(10);

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

/// A refused advert that a second master sends, rather than noise: ours but for a setting.
pub(crate) fn is_of_a_master(why: Discard) -> bool {
    matches!(
        why,
        Discard::Version
            | Discard::Destination
            | Discard::UnknownPeer
            | Discard::AuthType
            | Discard::AuthPass
            | Discard::AuthIcv
            | Discard::AuthReplay
            | Discard::HmacMissing
            | Discard::HmacStale
            | Discard::HmacUnknownKey
            | Discard::HmacInvalid
            | Discard::HmacReplay
            | Discard::Interval
    )
}

impl Node {
    /// An advert of another master, and we are still master.
    pub(crate) fn second_master(&mut self, now: Time, router: usize, other: Other) {
        let i = &mut self.routers[router];
        if other.priority != 0 && i.is_master() && i.foreign.heard(now, i.machine.min_down_interval(), other)
        {
            self.emit(Event::SecondMaster { router, other });
        }
    }

    /// The other one has fallen silent, or we are no longer master.
    pub(crate) fn end_foreign(&mut self, router: usize) {
        if let Some((other, lasted)) = self.routers[router].foreign.end() {
            self.emit(Event::SecondMasterGone { router, src: other.src, lasted });
        }
    }

    /// Another host announced a VIP.
    pub(crate) fn contested(&mut self, now: Time, entry: usize, mac: [u8; 6]) {
        let Some(e) = self.addrs.entries.get(entry) else { return };
        let router = e.router;
        let own = self.links[e.link].mac == Some(mac) || self.macs.iter().any(|(_, own)| *own == mac);
        let i = &mut self.routers[router];
        // Who resigns wants a successor.
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
