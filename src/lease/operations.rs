//! Which netlink operations are due, when, and what their results mean.

use super::book::AddrBook;
use super::claim::{Claim, Terms};
use super::entry::{Entry, Held, Trouble};
use super::kernel::Seen;
use super::{EARLY, HANDOVER_LEASE, Op, OpKind, Outcome, TAG};
use crate::base::backoff::Backoff;
use crate::base::time::Time;
use crate::wire::rtnl;
use std::net::IpAddr;
use std::time::Duration;

/// Least time between two rounds of renewals.
pub(super) const RENEWAL_GAP: Duration = Duration::from_millis(250);
/// Pause before an operation that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// The first pause before a removal is tried again: two nodes may hold the address meanwhile. Each further
/// pause is twice as long, up to `RETRY`.
const RETRY_REMOVAL: Duration = Duration::from_millis(10);
/// A batch of IPv6 addresses may take this long on a busy machine (1 ms on an idle one). One that ends too
/// late costs the addresses, and a batch may be at any moment: a reload adds a VIP when it comes.
const BATCH_TIME: Duration = Duration::from_millis(15);

/// Operations in one `flush`, in units of an IPv4 address. What is left follows in the next turn of the loop,
/// so that the adverts that are due go out in between and each batch has a look at the clock of its own.
const BATCH: usize = 320;
/// An IPv6 address takes the kernel 44 µs where an IPv4 one takes 3 µs.
const IPV6_COST: usize = 16;

/// When the leases are renewed: all of a node in one round, on the grid that its adverts share.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewals {
    /// Start of the last round; `None`: a round is due at once.
    last: Option<Time>,
    /// An advert went out since then.
    advert_since: bool,
    /// And it was of one that the rounds before found without a fresh advert: its leases are due now.
    overdue: bool,
    /// The entry at which the round that is under way goes on.
    next: Option<usize>,
}

impl Renewals {
    /// An advert went out, after which a round is due soon (`renews`). `overdue`: leases of its router were
    /// not renewed for a while.
    pub(super) fn advert_sent(&mut self, renews: bool, overdue: bool) {
        self.advert_since |= renews;
        self.overdue |= overdue;
    }

    /// A round is due at once, from the first entry on: one that is under way began under other terms.
    pub(super) fn at_once(&mut self) {
        (self.last, self.next) = (None, None);
    }

    fn begin(&mut self, now: Time) {
        *self = Renewals { last: Some(now), next: Some(0), ..Renewals::default() };
    }
}

/// What is left of a batch.
struct Budget(usize);

impl Budget {
    fn is_spent(&self) -> bool {
        self.0 == 0
    }

    fn spend(&mut self, addr: IpAddr) {
        self.0 = self.0.saturating_sub(if addr.is_ipv4() { 1 } else { IPV6_COST });
    }
}

impl AddrBook {
    /// The operations that are due. Removals go first and all at once. An addition starts a round of
    /// renewals, so that all leases stay on one grid.
    pub fn flush(&mut self, now: Time, ops: &mut Vec<Op>, out: &mut Vec<Outcome>) {
        self.removals(now, ops);
        let mut budget = Budget(BATCH);
        let before = ops.len();
        for i in 0..self.entries.len() {
            if budget.is_spent() {
                break;
            }
            if let Some(op) = self.addition(i, now, out) {
                budget.spend(op.addr);
                ops.push(op);
            }
        }
        let adds = ops.len() > before;
        for i in 0..self.entries.len() {
            if let Some(pair) = self.uncovered(i, now) {
                budget.spend(pair[1].addr);
                ops.extend(pair);
            }
        }
        if self.renewals.next.is_none() && (adds || self.renewal_due(now)) {
            self.renewals.begin(now);
        }
        if self.renewals.next.is_some() {
            self.renew(now, &mut budget, ops);
        }
    }

    /// Goes on with the round that is under way.
    fn renew(&mut self, now: Time, budget: &mut Budget, ops: &mut Vec<Op>) {
        let mut i = self.renewals.next.unwrap_or(0);
        while let Some(e) = self.entries.get(i) {
            if budget.is_spent() {
                self.renewals.next = Some(i);
                return;
            }
            if let Some(held) = e.held.filter(|_| e.is_wanted()) {
                let terms = self.terms(e.router);
                let permanent = terms.lease.is_none() && held.lease.is_none();
                if !permanent && self.is_renewable(e, now, &terms) {
                    budget.spend(e.addr);
                    ops.push(self.op(OpKind::Replace, i, held.ifindex, held.prefix, terms.lease));
                }
            }
            i += 1;
        }
        self.renewals.next = None;
    }

    /// Backwards: where the VIPs are the only addresses of their subnet, the first one is its primary, and
    /// the kernel promotes and announces a successor for each primary that goes.
    fn removals(&mut self, now: Time, ops: &mut Vec<Op>) {
        self.pass_on();
        for i in (0..self.entries.len()).rev() {
            let e = &self.entries[i];
            let due = e.is_unwanted() && e.retry_at.is_none_or(|t| now >= t);
            if let Some(held) = e.held.filter(|_| due) {
                ops.push(self.op(OpKind::Remove, i, held.ifindex, held.prefix, None));
                let e = &mut self.entries[i];
                e.retry_at = Some(now + e.tries.fail(RETRY_REMOVAL, RETRY));
            }
        }
    }

    /// The removals of one instance that lets go at once, ahead of everything else.
    pub fn removals_now(&mut self, now: Time) -> Vec<Op> {
        let mut ops = Vec::new();
        self.removals(now, &mut ops);
        ops
    }

    /// The last other address of its subnet has left the interface, and the VIP, which is there with a host
    /// prefix, has no route to its own subnet: it leaves and comes back in an instant, with the prefix that
    /// brings one.
    fn uncovered(&self, i: usize, now: Time) -> Option<[Op; 2]> {
        let e = &self.entries[i];
        let held = e.held.filter(|h| e.is_wanted() && h.prefix > e.prefix)?;
        let terms = self.terms(e.router);
        let claimed = matches!(self.leasing[e.router].claim, Claim::Advert(_));
        let here = self.ifindex(e.link) == Some(held.ifindex);
        let prefix = self.prefix_for(e, [Some(held.ifindex), self.ifindex(e.subnet_link)]);
        if prefix == held.prefix || !here || !claimed || !self.is_fresh(e.router, now, &terms) {
            return None;
        }
        let remove = self.op(OpKind::Remove, i, held.ifindex, held.prefix, None);
        Some([remove, self.op(OpKind::Add, i, held.ifindex, prefix, terms.lease)])
    }

    /// Renewals of what `router` holds for longer than its terms say. They go out ahead of an advert that
    /// makes the others wait less: whatever becomes of this process then, no lease outlives their patience.
    /// None ends later than before, so they need no claim.
    pub fn shorten_now(&self, router: usize, now: Time) -> Vec<Op> {
        let lease = self.terms(router).lease;
        let mut ops = Vec::new();
        for (i, e) in self.of(router) {
            let Some(held) = e.held else { continue };
            let op = self.op(OpKind::Replace, i, held.ifindex, held.prefix, lease);
            if self.only_shortens(&op, now) {
                ops.push(op);
            }
        }
        ops
    }

    /// Whether a renewal at that time ends no later than the lease that runs.
    fn only_shortens(&self, op: &Op, at: Time) -> bool {
        let held = self.entries.get(op.entry).and_then(|e| e.held);
        let Some(held) = held.filter(|h| op.kind == OpKind::Replace && h.prefix == op.prefix) else {
            return false;
        };
        let new = op.lease.map(|lease| at + Duration::from_secs(u64::from(lease)));
        new.is_some_and(|new| held.end().is_none_or(|old| new <= old))
    }

    fn addition(&mut self, i: usize, now: Time, out: &mut Vec<Outcome>) -> Option<Op> {
        let e = &self.entries[i];
        if !e.is_wanted() || e.held.is_some() || e.retry_at.is_some_and(|t| now < t) {
            return None;
        }
        let terms = self.terms(e.router);
        let claimed = matches!(self.leasing[e.router].claim, Claim::Advert(_));
        if self.leasing[e.router].owner || !claimed || !self.is_fresh(e.router, now, &terms) {
            return None;
        }
        let Some(ifindex) = self.ifindex(e.link) else {
            self.entries[i].retry_at = Some(now + RETRY);
            return None;
        };
        let there = self.kernel.iter().find(|s| s.a.ifindex == ifindex && s.a.addr == e.addr).map(|s| s.a);
        match there {
            None => {
                let prefix = self.prefix_for(e, [Some(ifindex), self.ifindex(e.subnet_link)]);
                Some(self.op(OpKind::Add, i, ifindex, prefix, terms.lease))
            }
            Some(a) if self.is_ours(e, &a) => {
                Some(self.op(OpKind::Replace, i, ifindex, a.prefix, terms.lease))
            }
            Some(_) => {
                let e = &mut self.entries[i];
                e.retry_at = Some(now + RETRY);
                if e.suffers(Trouble::Foreign) {
                    out.push(Outcome::Foreign { entry: i });
                }
                None
            }
        }
    }

    /// A host prefix, unless the device (and the parent of a macvlan) has no other address of that subnet:
    /// then somebody must bring the connected route.
    fn prefix_for(&self, e: &Entry, devices: [Option<u32>; 2]) -> u8 {
        let host = if e.addr.is_ipv4() { 32 } else { 128 };
        let covered = self.kernel.iter().any(|s| {
            devices.contains(&Some(s.a.ifindex))
                && s.a.prefix < host
                && !self.is_vip(&s.a)
                && same_net(s.a.addr, e.addr, s.a.prefix)
        });
        if covered { host } else { e.prefix }
    }

    fn op(&self, kind: OpKind, entry: usize, ifindex: u32, prefix: u8, lease: Option<u32>) -> Op {
        let e = &self.entries[entry];
        Op { kind, entry, ifindex, addr: e.addr, prefix, lease, label: e.label.clone() }
    }

    /// Whether the last advert still allows to add and renew.
    pub fn may_renew(&self, router: usize, now: Time) -> bool {
        self.is_fresh(router, now, &self.terms(router))
    }

    fn is_fresh(&self, router: usize, now: Time, terms: &Terms) -> bool {
        match self.leasing[router].claim {
            Claim::None => false,
            Claim::Advert(t) => {
                let done = now.since(t) + if terms.safe { BATCH_TIME } else { Duration::ZERO };
                done <= terms.fresh
            }
            Claim::Handover(t) => now.since(t) <= Duration::from_secs(u64::from(HANDOVER_LEASE)),
        }
    }

    /// The same for one address: what has ended is not brought back to be handed over. Other addresses of
    /// that virtual router may go on, so its claim alone does not tell.
    fn is_renewable(&self, e: &Entry, now: Time, terms: &Terms) -> bool {
        let handed_over = matches!(self.leasing[e.router].claim, Claim::Handover(_));
        let ended = handed_over && e.held.is_some_and(|h| h.may_have_ended(now));
        self.is_fresh(e.router, now, terms) && !ended
    }

    fn renewal_due(&self, now: Time) -> bool {
        let Some(last) = self.renewals.last else { return true };
        let since = now.since(last);
        self.renewals.overdue || (self.renewals.advert_since && since >= RENEWAL_GAP) || since >= self.step()
    }

    /// L/8 of the shortest lease, at least 0.25 s; behind the fence L/4.
    fn step(&self) -> Duration {
        let step = |e: &Entry| Some(self.leasing[e.router].renewal(self.terms(e.router).lease?).1);
        self.held().filter_map(step).min().unwrap_or_default().max(RENEWAL_GAP)
    }

    fn held(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.held.is_some() && e.is_wanted())
    }

    /// When `flush` has something to do.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        if self.renewals.next.is_some() {
            return Some(now); // the rest of a round
        }
        let mut at = self.next_renewal(now);
        for e in &self.entries {
            let t = e.retry_at.map_or(now, |t| t.max(now));
            let l = &self.leasing[e.router];
            // Behind a claim that is too old by then, the next advert brings the next try.
            let may_be_added = || {
                !l.owner
                    && matches!(l.claim, Claim::Advert(_))
                    && self.is_fresh(e.router, t, &self.terms(e.router))
            };
            let pending = match e.held {
                Some(_) => e.is_unwanted(),
                None => e.is_wanted() && may_be_added(),
            };
            if pending {
                at = crate::base::time::earlier(at, Some(t));
            }
        }
        at
    }

    fn next_renewal(&self, now: Time) -> Option<Time> {
        let last = self.renewals.last?;
        let next = (last + if self.renewals.advert_since { RENEWAL_GAP } else { self.step() }).max(now);
        // Nothing will be fresh enough by then: the next advert brings the next renewal.
        let useful = self.held().any(|e| {
            let terms = self.terms(e.router);
            terms.lease.is_some() && self.is_fresh(e.router, next, &terms)
        });
        useful.then_some(next)
    }

    /// Right before a batch is sent, with a clock read anew: time may have passed since it was put together,
    /// and a renewal that comes too late would bring an address back.
    pub fn keep_valid(&self, ops: &mut Vec<Op>, now: Time) {
        ops.retain(|op| {
            let Some(e) = self.entries.get(op.entry) else { return false };
            let terms = self.terms(e.router);
            op.kind == OpKind::Remove || self.is_renewable(e, now, &terms) || self.only_shortens(op, now)
        });
    }

    /// The results of a batch: the clock was `before` when it was put together and is `after` now. An
    /// errno of 0 is success.
    pub fn done(&mut self, before: Time, after: Time, results: &[(Op, i32)], out: &mut Vec<Outcome>) {
        let (mut late, mut refused) = (Vec::new(), None);
        for (op, errno) in results {
            let Some(router) = self.entries.get(op.entry).map(|e| e.router) else { continue };
            match op.kind {
                OpKind::Remove => self.removed(op, *errno, out),
                OpKind::Add | OpKind::Replace => {
                    let shortened = self.only_shortens(op, after);
                    if !self.installed(op, *errno, before, out) {
                        if refused != Some(router)
                            && self
                                .of(router)
                                .all(|(_, e)| e.trouble == Some(Trouble::Refused) && e.held.is_none())
                        {
                            refused = Some(router);
                            out.push(Outcome::Refused { router });
                        }
                        continue;
                    }
                    let terms = self.terms(router);
                    let too_late = match self.leasing[router].claim {
                        Claim::None => true, // not by `keep_valid`, but it must not stay
                        Claim::Advert(t) => {
                            let bound = if terms.safe {
                                terms.fresh
                            } else {
                                self.leasing[router].wait.min_down_interval
                            };
                            op.lease.is_some() && after.since(t) > bound
                        }
                        Claim::Handover(_) => after.since(before) > Duration::from_secs(1),
                    };
                    if too_late && !shortened && !late.contains(&router) {
                        late.push(router);
                    }
                    if let Claim::Handover(t) = &mut self.leasing[router].claim {
                        *t = before - EARLY;
                    }
                }
            }
        }
        out.extend(late.into_iter().map(|router| Outcome::TooLate { router }));
    }

    fn installed(&mut self, op: &Op, errno: i32, before: Time, out: &mut Vec<Outcome>) -> bool {
        let e = &mut self.entries[op.entry];
        if errno != 0 {
            e.retry_at = Some(before + RETRY);
            // An interface that is gone is about to be heard of.
            let trouble = match errno {
                libc::ENODEV => Trouble::NoInterface,
                _ => Trouble::Refused,
            };
            if errno == libc::EEXIST {
                out.push(Outcome::ViewIsWrong); // it is there after all: whose, a dump must tell
            } else if e.held.is_none() && e.suffers(trouble) {
                out.push(Outcome::AddFailed { entry: op.entry, errno });
            }
            return false;
        }
        e.tell |= e.held.is_none();
        // The kernel answers that it has a new IPv6 address before that can be reached: its route is made by
        // a worker, which tells of it when that is done.
        let tell = (op.addr.is_ipv4() || op.kind == OpKind::Replace) && std::mem::take(&mut e.tell);
        let was_due = e.held.is_some_and(|h| h.may_have_ended(before));
        let known = e.held.is_some_and(|h| (h.ifindex, h.prefix) == (op.ifindex, op.prefix));
        e.held =
            Some(Held { ifindex: op.ifindex, prefix: op.prefix, since: before, lease: op.lease, was_due });
        (e.trouble, e.retry_at, e.added_by_vipd) = (None, None, true);
        if known && !tell {
            return true; // a renewal tells nothing new
        }
        let addr = rtnl::Addr {
            ifindex: op.ifindex,
            addr: op.addr,
            prefix: op.prefix,
            proto: Some(TAG),
            valid: op.lease.unwrap_or(u32::MAX),
            preferred: 0,
            seq: 0,
            scope: 0,
            flags: 0,
            tstamp: 0,
            label: None,
        };
        self.note(&addr);
        if tell {
            out.push(Outcome::Added { entry: op.entry });
        }
        true
    }

    fn removed(&mut self, op: &Op, errno: i32, out: &mut Vec<Outcome>) {
        // Already gone, or its interface is: that is what was wanted.
        let gone = [0, libc::EADDRNOTAVAIL, libc::ENODEV].contains(&errno);
        let e = &mut self.entries[op.entry];
        if !gone {
            if e.suffers(Trouble::NotRemoved) {
                out.push(Outcome::RemoveFailed { entry: op.entry, errno });
            }
            return;
        }
        // Asked for twice within a turn: the first time was it.
        let told = errno == 0 || e.held.is_some();
        (e.held, e.trouble, e.retry_at, e.tries, e.added_by_vipd) =
            (None, None, None, Backoff::default(), false);
        // Only if the link still is that interface: otherwise its events do not concern this VIP.
        let link = e.link;
        if errno == 0 && op.addr.is_ipv6() && self.ifindex(link) == Some(op.ifindex) {
            let e = &mut self.entries[op.entry];
            e.own_removals = e.own_removals.saturating_add(1);
        }
        self.kernel
            .retain(|s| !(s.a.ifindex == op.ifindex && s.a.addr == op.addr && s.a.prefix == op.prefix));
        // Where promote_secondaries could not be set it may have taken these along, which is told as our own
        // doing.
        let secondary = |s: &Seen| {
            s.a.ifindex == op.ifindex && s.a.prefix == op.prefix && same_net(s.a.addr, op.addr, op.prefix)
        };
        if errno == 0 && op.addr.is_ipv4() && op.prefix < 32 && self.kernel.iter().any(secondary) {
            out.push(Outcome::ViewIsWrong);
        }
        if told {
            out.push(Outcome::Removed { entry: op.entry });
        }
    }
}

fn same_net(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let bits = |x: IpAddr| match x {
        IpAddr::V4(v) => u128::from(v.to_bits()) << 96,
        IpAddr::V6(v) => v.to_bits(),
    };
    let shift = 128 - u32::from(prefix.min(128));
    a.is_ipv4() == b.is_ipv4() && (bits(a) ^ bits(b)).checked_shr(shift).unwrap_or(0) == 0
}
