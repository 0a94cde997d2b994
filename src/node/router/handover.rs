//! Letting go: at once, or when the successor has the addresses (make before break).

use crate::base::time::Time;
use crate::event::Event;
use crate::node::{Effect, Node};
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Release};
use std::time::Duration;

/// After the successor's advert, or an announcement that is not the last, if no other is heard: by then it
/// has its addresses. There is this much more for each address of this node.
const AFTER_ADVERT: Duration = Duration::from_millis(50);
const EACH: Duration = Duration::from_millis(1);
/// After its last announcement.
const AFTER_ANNOUNCEMENT: Duration = Duration::from_millis(5);

/// The VIPs are kept until the successor has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hold {
    /// End of `handover_timeout`.
    pub until: Time,
    /// When to let go: shortly after the successor was heard.
    pub release_at: Option<Time>,
    /// How many addresses it has yet to announce.
    pub awaited: usize,
    /// The entry after the one that was announced last: what is repeated does not count.
    pub next: usize,
}

impl Node {
    pub(crate) fn let_go(&mut self, router: usize, now: Time, how: Release) {
        let holds = self.addrs.holds_any(router) && self.is_well(router, now);
        let i = &mut self.routers[router];
        i.announcer.stop();
        // Two nodes must not answer with one MAC: who heard its successor has nothing to wait for.
        let heard = i.vmac.is_some() && i.machine.kind() == Kind::Backup;
        if how == Release::AfterSuccessor
            && i.cfg.make_before_break
            && holds
            && !heard
            && !i.cfg.handover_timeout.is_zero()
        {
            let (timeout, awaited) = (i.cfg.handover_timeout, self.addrs.of(router).count());
            i.hold = Some(Hold { until: now + timeout, release_at: None, awaited, next: 0 });
            self.hand_over(router, now);
            self.emit(Event::HandOverStarts { router, timeout });
        } else {
            i.hold = None;
            self.release_now(router, now);
        }
    }

    /// Short leases without adverts, at once: what follows may be priority 0, after which the others hardly
    /// wait.
    pub(crate) fn hand_over(&mut self, router: usize, now: Time) {
        self.addrs.hand_over(router, now);
        self.shorten_lease(router, now);
        self.shorten(router, now);
    }

    /// Ahead of an advert that makes the others wait less.
    pub(crate) fn shorten(&mut self, router: usize, now: Time) {
        let ops = self.addrs.shorten_now(router, now);
        self.push_addrs(ops);
    }

    pub(crate) fn release_now(&mut self, router: usize, now: Time) {
        // Not after a stall: somebody else may have them by now, and every millisecond counts.
        let min_down_interval = self.routers[router].machine.min_down_interval();
        let in_time = self.addrs.last_advert(router).is_none_or(|t| now.since(t) < min_down_interval);
        if in_time && self.leaves_any(router) {
            self.push(Effect::Disconnect { router });
        }
        self.remove_now(router, now);
    }

    /// Whether something is removed: what another virtual router of this node takes over is not.
    fn leaves_any(&self, router: usize) -> bool {
        self.addrs.of(router).any(|(e, _)| self.addrs.is_held(e) && !self.addrs.has_next_owner(e))
    }

    /// The removals go out ahead of what follows: a node whose service is dead lets go before it tells.
    pub(crate) fn remove_now(&mut self, router: usize, now: Time) {
        if self.leaves_any(router) {
            self.emit(Event::RemovingVips { router });
        }
        self.silence_vmac(router);
        self.release(router);
        let ops = self.addrs.removals_now(now);
        self.push_addrs(ops);
    }

    /// When the hand-over of `i` ends: a group waits for the successors of all.
    pub(crate) fn hold_deadline(&self, i: usize) -> Option<Time> {
        let hold = self.routers[i].hold?;
        let at = match self.group_members(i) {
            [] => hold.release_at,
            all => group::release_at(all.iter().filter_map(|j| self.routers[*j].hold).map(|h| h.release_at)),
        };
        Some(at.map_or(hold.until, |t| t.min(hold.until)))
    }

    /// The successor was heard, or nobody came: the VIPs go.
    pub(crate) fn end_hold(&mut self, router: usize, now: Time) {
        let Some(hold) = self.routers[router].hold.take() else { return };
        if hold.release_at.is_some_and(|t| now >= t) {
            self.emit(Event::HandOverDone { router, announced: hold.awaited == 0 });
        } else if now >= hold.until {
            self.emit(Event::HandOverTimedOut { router });
        }
        self.release_now(router, now);
    }

    /// An advert of the successor.
    pub(crate) fn successor_advertised(&mut self, router: usize, now: Time) {
        let grace = if self.routers[router].vmac.is_some() { Duration::ZERO } else { self.grace() };
        if let Some(h) = &mut self.routers[router].hold {
            h.release_at.get_or_insert(now + grace);
            if grace.is_zero() {
                self.end_hold(router, now);
            }
        }
    }

    fn grace(&self) -> Duration {
        AFTER_ADVERT + EACH.saturating_mul(u32::try_from(self.addrs.entries.len()).unwrap_or(u32::MAX))
    }

    /// Its announcement of one address: it may add hundreds one after the other.
    pub(crate) fn successor_announced(&mut self, router: usize, entry: usize, now: Time) {
        self.routers[router].outranked = None;
        let grace = self.grace();
        if let Some(h) = self.routers[router].hold.as_mut().filter(|h| h.awaited > 0 && entry >= h.next) {
            (h.awaited, h.next) = (h.awaited - 1, entry + 1);
            h.release_at = Some(now + if h.awaited == 0 { AFTER_ANNOUNCEMENT } else { grace });
        }
    }

    /// Another router of this node has taken the addresses over: one that kept them for a successor lets go.
    pub(crate) fn end_covered_holds(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            let done = |e: usize| !self.addrs.is_held(e) || self.addrs.has_other(e);
            let over = self.routers[i].retired && self.addrs.of(i).all(|(e, _)| done(e));
            if over && self.routers[i].hold.is_some() {
                // Two macvlans of one MAC cannot both be up.
                self.set_vmac(i, false);
                self.end_hold(i, now);
            }
        }
    }
}
