//! Adverts: when one may go out, and what became of it.

use super::{Effect, Memory, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::vrrp::authentication::Copy;
use crate::vrrp::machine::{Input, Why};
use crate::vrrp::packet::Outgoing;
use std::net::IpAddr;
use std::time::Duration;

/// A turn may take this long: 250 virtual routers that become master together send 250 adverts.
pub(super) const SLOW_TURN: Duration = Duration::from_millis(50);
/// At most one line in this time about adverts that cannot be sent to one place.
const SEND_FAILED_QUIET: Duration = Duration::from_secs(10);

impl Node {
    /// Right after the wait, before anything is read: did this process run in time?
    pub(super) fn check_stall(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            let router = &self.routers[i];
            // Without any advert sent, mastership is as old as the attempt.
            let last = self.addrs.last_advert(i).unwrap_or(router.since);
            let silent = router.is_owner() || router.machine.is_soliciting();
            if router.is_master() && !silent && now.since(last) >= router.machine.min_down_interval() {
                self.stalled(i, now, last);
            }
        }
    }

    pub(super) fn stalled(&mut self, i: usize, now: Time, last: Time) {
        self.routers[i].stats.stalls += 1;
        self.emit(Event::Stalled { router: i, silence: now.since(last) });
        self.step(i, now, Input::Stall);
        self.pause_unsent(i, now);
    }

    /// Right before an advert is sent: this process may have stood still since that was `decided`, in the
    /// middle of a turn, and somebody else may be master by now. Then nothing is sent, and it listens again.
    pub fn may_advertise(&mut self, i: usize, priority: u8, decided: Time, now: Time) -> bool {
        let router = &self.routers[i];
        if priority == 0 {
            // Unless it has resumed since, within one turn.
            return !router.is_master() || router.machine.is_soliciting();
        }
        if !router.is_master() {
            // It gave up earlier in this turn (an owner may, too), or it was outranked and may send one last
            // advert.
            let may = self.routers[i].may_send_farewell(decided, now);
            if !may {
                self.end_last_word(i);
            }
            return may;
        }
        if router.is_owner() {
            return true;
        }
        let lost = router.why == Why::Resumed
            && self.addrs.last_advert(i).is_none()
            && !self.is_still_leased(i, now)
            && !self.is_flap(i, now);
        let (since, bound) = match self.addrs.last_advert(i) {
            Some(last) => (last, router.machine.min_down_interval()),
            // The first advert of a new master: another backup may have been quicker.
            None => (decided, self.at_once(i)),
        };
        if lost || now.since(since) >= bound {
            self.stalled(i, now, since);
            return false;
        }
        true
    }

    /// An advert is to go out, but only when its sequence number cannot be used again after a crash.
    pub(super) fn push_advert(&mut self, router: usize, priority: u8, now: Time) {
        let wall = self.wall(now);
        let i = &mut self.routers[router];
        i.auth.reserve(wall);
        if i.auth.must_save() {
            self.push(Effect::Remember { router, memory: Memory::Sequence });
        }
        if priority != 0 {
            self.open_lease(router, now);
        }
        self.push(Effect::Advert { router, priority, decided: now });
    }

    /// An address may be added only after a fresh advert, and the next may be far off. An advert that is
    /// almost too old would be too old before the address is added.
    pub(super) fn advert_unless_fresh(&mut self, router: usize, now: Time) {
        let soon = now + self.addrs.terms(router).fresh / 2;
        if !self.addrs.may_renew(router, soon) {
            let priority = self.routers[router].machine.params.priority;
            self.push_advert(router, priority, now);
        }
    }

    /// An advert, its source and where it goes: over IPv4 the whole packet, over IPv6 what follows the
    /// header. `None` without a source address, or if there are no more peers. `copy` counts the peers from
    /// 0: all copies of an advert have one sequence number.
    pub fn encode_advert(
        &mut self,
        router: usize,
        priority: u8,
        copy: usize,
        now: Time,
        out: &mut Vec<u8>,
    ) -> Option<(IpAddr, IpAddr)> {
        let wall = self.wall(now);
        let i = &mut self.routers[router];
        // An interface that has lost its address says goodbye with the one that it had.
        let had = Some(i.machine.params.own).filter(|ip| priority == 0 && !ip.is_unspecified());
        let (src, dst) = (i.src.or(had)?, i.targets.get(copy)?.to);
        let o = Outgoing {
            version: i.cfg.version,
            vrid: i.cfg.vrid,
            interval: i.cfg.advert_int,
            vips: &i.vips,
            src,
            dst,
            v3_checksum_as_v2: i.cfg.v3_checksum_as_v2,
        };
        i.auth.seal(out, &o, &Copy { priority, ip_id: i.ip_id, again: copy > 0, wall });
        i.ip_id = i.ip_id.checked_add(1).unwrap_or(1);
        Some((src, dst))
    }

    /// An advert went out; the clock was `before` when it was sent.
    pub fn sent(&mut self, router: usize, priority: u8, before: Time) {
        let i = &mut self.routers[router];
        i.stats.adverts_sent += 1;
        i.unsent.sent();
        if priority == 0 {
            i.stats.priority_zero_sent += 1;
            // Without a link it reaches nobody, whatever the kernel says.
            if self.links[i.link].running {
                i.flap_until = None;
            }
            return;
        }
        self.lease_renewed(router, before);
        self.end_last_word(router);
        let i = &mut self.routers[router];
        if i.is_master() && !i.machine.is_soliciting() {
            if i.machine.advertised() {
                self.set_terms(router);
            }
            self.addrs.advert_sent(router, before);
        }
    }

    /// An advert could not be sent to one of the targets. If it was to none, nothing is renewed by it:
    /// `unsent`.
    pub fn send_failed(&mut self, router: usize, copy: usize, now: Time, errno: i32) {
        let i = &mut self.routers[router];
        i.stats.send_errors += 1;
        let Some(target) = i.targets.get_mut(copy) else { return };
        target.send_errors += 1;
        if target.said.pass(now, SEND_FAILED_QUIET) {
            let to = target.to;
            self.emit(Event::SendFailed { router, to, errno });
        }
    }
}
