//! The fence: leases that the kernel keeps in nf_tables (`wire::nft`). The addresses of a virtual router are
//! served while its lease runs; each advert that leaves renews it. A master opens it before its first advert,
//! whoever lets go closes it before the addresses are removed, and what becomes of this process in between
//! does not matter.

use crate::base::time::Time;
use crate::config::fence;
use crate::node::adverts::SLOW_TURN;
use crate::node::{Effect, Life, Node};
use crate::wire::nft::{Device, Key, Plan, Router};
use std::net::IpAddr;
use std::time::Duration;

/// A hand-over makes a lease last so long from now at the most: if this process is killed meanwhile, nobody
/// closes it.
const HAND_OVER: Duration = Duration::from_secs(1);

/// What is to be done with the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// They are to be as `fence_plan` says.
    Replace,
    /// Open a lease until then, if `may_open` still says so.
    Open {
        /// The virtual router.
        router: usize,
        /// Its lease.
        key: Key,
        /// When it was decided.
        decided: Time,
    },
    /// Let a lease that runs last until then, be it longer or shorter.
    Extend {
        /// The lease.
        key: Key,
        /// Its end.
        until: Time,
    },
    /// End a lease, unless it has ended by itself.
    Close {
        /// The lease.
        key: Key,
        /// When it ends by itself.
        end: Time,
    },
}

/// The lease of one virtual router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// What an advert gives, as the tables have it; `None`: it has no lease there.
    term: Option<Duration>,
    /// When it ends if no other advert is sent; `None`: it was closed.
    end: Option<Time>,
}

impl Node {
    /// The kernel keeps leases, and counts them in this tick; or it does not.
    pub fn set_fence(&mut self, tick: Option<Duration>) {
        self.addrs.set_tick(tick);
        for r in &mut self.routers {
            r.lease = Lease::default();
        }
    }

    /// At the start: what the kernel says is left of the lease of a virtual router that the state file calls
    /// master.
    pub fn lease_found(&mut self, i: usize, now: Time, left: Duration) {
        let rest = self.addrs.tick().and_then(|tick| fence::rest(tick, left));
        self.routers[i].lease.end = rest.map(|rest| now + rest);
    }

    /// What is left of the lease of a virtual router; `None` if it has none, or it is closed or has ended.
    pub fn lease_left(&self, i: usize, now: Time) -> Option<Duration> {
        self.routers[i].lease.end.filter(|end| now < *end).map(|end| end.since(now))
    }

    /// The name of its lease, if it has one and its interface is there.
    pub fn lease_key(&self, i: usize) -> Option<Key> {
        let r = &self.routers[i];
        self.addrs.fence(i)?;
        Some(Key::new(self.links[r.link].ifindex?, r.cfg.is_ipv6(), r.cfg.vrid))
    }

    // ---- what follows from the actions of the state machines ----

    /// A master is about to advertise, or one that was outranked and holds nothing any more has its last
    /// word: its lease runs before that.
    pub(crate) fn open_lease(&mut self, i: usize, now: Time) {
        let Some((key, term)) = self.lease_key(i).zip(self.addrs.fence(i)) else { return };
        if !self.may_have_lease(i) {
            return;
        }
        // With the virtual MAC the adverts leave by the macvlan, so that both tables see them.
        if self.advert_mac(i).is_some() {
            self.set_vmac(i, true);
        }
        if self.routers[i].lease.end.is_some() {
            return;
        }
        // If it already holds its addresses, they are served by this lease from now on. The lease is
        // brief: the advert that follows makes the others wait, and renews it to the whole term.
        let brief = self.at_once(i).min(term);
        let term = if self.addrs.holds_any(i) { brief } else { term };
        let flap = self.routers[i].flap_until.filter(|t| now < *t);
        self.routers[i].lease.end = Some(flap.map_or(now + term, |t| t.min(now + term)));
        if self.addrs.of(i).any(|(e, _)| self.addrs.is_shared(e)) {
            // They are behind the lease of the one that hands them over.
            self.refence();
        }
        self.push(Effect::Fence(Op::Open { router: i, key, decided: now }));
    }

    /// It lets go: nothing answers for its addresses any more, and what it holds is removed by the next
    /// `flush`.
    pub(crate) fn release(&mut self, i: usize) {
        self.close_lease(i);
        self.addrs.release(i);
    }

    /// Nothing is served by a lease of one that holds nothing.
    fn may_have_lease(&self, i: usize) -> bool {
        self.routers[i].is_master() || !self.addrs.holds_any(i)
    }

    /// The last word was said, or is not to be said.
    pub(crate) fn end_last_word(&mut self, i: usize) {
        if !self.routers[i].is_master() && self.routers[i].hold.is_none() {
            self.close_lease(i);
        }
    }

    fn close_lease(&mut self, i: usize) {
        let Some(end) = self.routers[i].lease.end.take() else { return };
        let Some(key) = self.lease_key(i) else { return };
        // One that leaves, and the one that comes in its place.
        let shared = |j: &usize| self.routers[*j].lease.end.is_some() && self.lease_key(*j) == Some(key);
        if !(0..self.routers.len()).any(|j| shared(&j)) {
            self.push(Effect::Fence(Op::Close { key, end }));
        }
    }

    /// The lease of a router that keeps its addresses without adverts: its end, and when a successor is there
    /// or it gives up.
    fn handed_over(&self, i: usize) -> Option<(Key, Time, Time)> {
        let r = &self.routers[i];
        let soliciting = r.machine.deadline().filter(|_| r.machine.is_soliciting());
        let until = soliciting.or(r.hold.map(|h| h.until))?;
        Some((self.lease_key(i)?, r.lease.end?, until))
    }

    /// When that lease is to be made longer.
    pub(crate) fn hand_over_deadline(&self, i: usize) -> Option<Time> {
        self.handed_over(i).filter(|(_, end, until)| end < until).map(|(_, end, _)| end - HAND_OVER / 2)
    }

    /// Shortens it before priority 0 is sent, and never extends it: until then the others wait as before.
    pub(crate) fn shorten_lease(&mut self, i: usize, now: Time) {
        if let Some((key, end, until)) = self.handed_over(i) {
            self.last_until(i, key, end, until.min(now + HAND_OVER).min(end), now);
        }
    }

    /// Makes it longer, again and again, as long as that takes.
    pub(crate) fn tick_hand_over(&mut self, i: usize, now: Time) {
        let Some((key, end, until)) = self.handed_over(i) else { return };
        if end > until || now >= end - HAND_OVER / 2 {
            self.last_until(i, key, end, until.min(now + HAND_OVER), now);
        }
    }

    fn last_until(&mut self, i: usize, key: Key, end: Time, next: Time, now: Time) {
        // What has ended is not brought back.
        let lives = now < end;
        if next != end {
            self.routers[i].lease.end = lives.then_some(next);
        }
        if next != end && lives {
            self.push(Effect::Fence(Op::Extend { key, until: next }));
        }
    }

    /// An advert went out, which was sent after `before`.
    pub(crate) fn lease_renewed(&mut self, i: usize, before: Time) {
        let lease = &mut self.routers[i].lease;
        if let (Some(end), Some(term)) = (&mut lease.end, lease.term) {
            *end = before + term;
        }
    }

    /// Something that the tables are made of has changed.
    pub(crate) fn refence(&mut self) {
        let queued = self.effects.iter().any(|e| matches!(e, Effect::Fence(Op::Replace)));
        if self.addrs.tick().is_some() && self.life != Life::Starting && !queued {
            self.push(Effect::Fence(Op::Replace));
        }
    }

    // ---- for the daemon ----

    /// Right before a lease is opened: this process may have stood still since that was decided.
    pub fn may_open(&self, i: usize, decided: Time, now: Time) -> bool {
        self.may_have_lease(i) && now.since(decided) < self.at_once(i)
    }

    /// What one turn may take at the most, from the decision to the advert.
    pub(crate) fn at_once(&self, i: usize) -> Duration {
        (self.routers[i].cfg.advert_int / 4).max(SLOW_TURN)
    }

    /// The kernel refused an advert, as it does without a lease: what may be left of that by the last advert
    /// that went out. `None`: a backup may have taken over; this one is backup from now on.
    pub fn lapsed(&mut self, i: usize, now: Time) -> Option<Duration> {
        let (tick, left) = (self.addrs.tick()?, self.lease_left(i, now));
        let rest = left.and_then(|left| fence::rest(tick, left));
        if rest.is_none() && self.routers[i].is_master() {
            self.routers[i].stats.lapses += 1;
            let last = self.addrs.last_advert(i).unwrap_or(self.routers[i].since);
            self.stalled(i, now, last);
        }
        rest
    }

    /// What the tables are made of, and what is left of each router's lease in milliseconds.
    pub fn fence_plan(&mut self, now: Time) -> (Plan, Vec<Option<u64>>) {
        let (mut plan, mut rests) = (Plan::default(), Vec::new());
        // What leaves by a macvlan goes on through its parent, so the parent is enough.
        for l in self.links.iter().filter(|l| l.has_sockets && l.vmac.is_none()) {
            plan.devices.extend(l.ifindex.map(|ifindex| Device { ifindex, name: l.name.clone() }));
        }
        if plan.devices.is_empty() {
            // Shows whether the kernel can.
            plan.devices.push(Device { ifindex: 1, name: "lo".to_owned() });
        }
        let mut leases = vec![Lease::default(); self.routers.len()];
        // An address that is handed over is behind the lease of the one who serves it.
        let rank = |r: &crate::node::Router| (r.lease.end.is_none(), r.retired);
        for turn in [(false, false), (false, true), (true, false), (true, true)] {
            for (i, r) in self.routers.iter().enumerate().filter(|(_, r)| rank(r) == turn) {
                let Some(term) = self.addrs.fence(i) else { continue };
                // A master that had none by now.
                let last = self.addrs.last_advert(i).filter(|_| r.is_master());
                let end = r.lease.end.or(last.map(|t| t + term));
                let left = end.map(|end| end.since(now).min(term));
                leases[i] = Lease { term: Some(term), end: left.map(|left| now + left) };
                rests.push(left.map(ms).filter(|ms| *ms > 0));
                plan.routers.push(self.planned(i, term));
            }
        }
        for (i, _) in self.routers.iter().enumerate().filter(|(_, r)| !r.cfg.accept && !r.is_owner()) {
            for (_, e) in self.addrs.of(i) {
                let vip = (e.addr, self.links[e.link].ifindex.unwrap_or(0));
                if !plan.refused.contains(&vip) {
                    plan.refused.push(vip);
                }
            }
        }
        for (r, lease) in self.routers.iter_mut().zip(leases) {
            r.lease = lease;
        }
        (plan, rests)
    }

    fn planned(&self, i: usize, term: Duration) -> Router {
        let r = &self.routers[i];
        let wire = self.links[r.link].ifindex.unwrap_or(0);
        let leaves =
            r.vmac.filter(|_| self.advert_mac(i).is_some()).map_or(Some(wire), |l| self.links[l].ifindex);
        let on = |link: usize| self.links[link].ifindex;
        let scoped = |a: IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
        let mut vips = Vec::with_capacity(r.vips.len());
        for (_, e) in self.addrs.of(i) {
            match on(e.link) {
                None if scoped(e.addr) => {} // nowhere
                on => vips.push((e.addr, on.unwrap_or(0))),
            }
        }
        Router {
            key: Key::new(wire, r.cfg.is_ipv6(), r.cfg.vrid),
            ifindex: leaves.unwrap_or(0),
            wire,
            vrid: r.cfg.vrid,
            v6: r.cfg.is_ipv6(),
            ah: r.auth.fields().kind == 2,
            term: ms(term),
            vips,
        }
    }
}

fn ms(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
