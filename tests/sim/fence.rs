//! The leases that the kernel of one machine keeps in nf_tables, as unkind as Linux is, and what must hold of
//! them. It counts in ticks, from the tick in which an advert passed: a lease ends up to one tick early. Now
//! and then the ticks stand still, until another CPU makes up for that: less than 6 ticks later (since Linux
//! 5.18). Both tables are renewed by the same advert, but closed and made longer one after the other.
//!
//! In one connected part nothing answers on two nodes for one address: neither ARP, by the second table, nor
//! anything else, by the first. What is excused beyond `check`'s table:
//!
//! | cause | how long |
//! |---|---|
//! | somebody removes the tables while vipd is dead or stands still | until it is back, or the address's own lifetime ends |
//! | a stall between the clock and the opening of a lease | as if the last adverts were lost |
//! | I below 12 ticks | as long as ticks stand still, less the backup's skew |
//!
//! Suspended machines, `nft` flowtables and interfaces without an egress chain are not simulated.

use crate::check::Facts;
use crate::kernel::{JIFFY, Kernel};
use crate::mutant::Mutant;
use crate::plan::{MS, US};
use crate::shell::{Half, Proc, Source};
use crate::world::{Ev, World};
use std::net::IpAddr;
use std::time::Duration;
use vipd::base::time::Time;
use vipd::node::fence::Op;
use vipd::vrrp::machine::Kind;
use vipd::wire::nft::Key;

pub const TICK: Duration = Duration::from_nanos(JIFFY);
/// Ticks that can stand still, one more than are made up for.
const STALLED: u64 = 6;
/// In every so many ticks they may stand still once.
const WINDOW: u64 = 64;

/// One lease: what an advert gives, and the tick at which it ends in each table.
#[derive(Clone, Copy, Debug)]
struct Lease {
    term: u64,
    ends: [Option<u64>; 2],
}

/// What one kernel has.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Nobody can remove the tables of a process that lives (Linux 6.9).
    owned: bool,
    /// By virtual router; a router that has none there is not looked at.
    tables: Option<Vec<Option<Lease>>>,
    /// When somebody has removed them, by the clock of the world; `None`: they are as vipd made them.
    pub removed: Option<u64>,
    /// Where the ticks stand still.
    seed: u64,
}

/// What vipd asks of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Each router's lease, and what is left of it, in milliseconds.
    Replace(Vec<Option<(u64, Option<u64>)>>),
    Open {
        router: usize,
        ms: u64,
    },
    Extend {
        router: usize,
        ms: u64,
        table: usize,
    },
    Close {
        router: usize,
        table: usize,
    },
}

fn ticks(ms: u64) -> u64 {
    (ms * MS / JIFFY).max(1)
}

pub fn key(router: usize) -> Key {
    Key::new(crate::kernel::ETH0, false, 51 + router as u8)
}

fn millis(d: Duration) -> u64 {
    (d.as_millis() as u64).max(1)
}

impl Fence {
    pub fn new(owned: bool, seed: u64) -> Self {
        Fence { owned, tables: None, removed: None, seed }
    }

    /// A reboot.
    pub fn reset(&mut self) {
        (self.tables, self.removed) = (None, None);
    }
}

impl Kernel {
    /// The tick that the leases are counted by.
    fn tick(&self, local: u64) -> u64 {
        let since = local.saturating_sub(self.jiffies_lag);
        let now = since / JIFFY;
        let window = now / WINDOW;
        let mut z = (self.fence.seed ^ window).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 8;
        let from = window * WINDOW + z % (WINDOW - STALLED);
        let stands = z & 0x300_0000 == 0 && since >= from * JIFFY;
        if stands && since < from * JIFFY + (z >> 26) % (STALLED * JIFFY) { from } else { now }
    }

    fn lease(&self, r: usize) -> Option<&Lease> {
        self.fence.tables.as_ref()?.get(r)?.as_ref()
    }

    /// Whether a lease runs, in each table; where it is not looked at, as good as that.
    fn runs(&self, local: u64, r: usize) -> [bool; 2] {
        let now = self.tick(local);
        self.lease(r).map_or([true; 2], |l| l.ends.map(|end| end.is_some_and(|end| now < end)))
    }

    /// Whether something answers for an address.
    pub fn answers(&self, local: u64, r: usize, addr: IpAddr) -> bool {
        self.up && self.has_tagged(addr) && self.runs(local, r) != [false; 2]
    }

    /// An ARP frame with an address of this router as its sender leaves.
    pub fn passes_arp(&self, local: u64, r: usize) -> bool {
        self.runs(local, r)[1]
    }

    /// An advert is about to leave: refused without a lease, and else renews it.
    fn passes_advert(&mut self, local: u64, r: usize, mutant: Mutant) -> bool {
        let runs = self.runs(local, r) == [true; 2] || mutant == Mutant::LetsLateAdvertsPass;
        let now = self.tick(local);
        if let Some(Some(l)) = self.fence.tables.as_mut().and_then(|t| t.get_mut(r)).filter(|_| runs) {
            l.ends = [Some(now + l.term); 2];
        }
        runs
    }

    /// What is left of a lease, in milliseconds: by ticks that may stand still.
    pub fn rest(&self, local: u64, r: usize) -> Option<u64> {
        let now = self.tick(local);
        let end = self.lease(r)?.ends[0].filter(|end| now < *end)?;
        Some((end - now) * JIFFY / MS)
    }

    /// When a lease ends by the clock, if the ticks do not stand still then.
    fn lease_end(&self, local: u64, r: usize) -> Option<u64> {
        let now = self.tick(local);
        let ends = self.lease(r)?.ends.into_iter().flatten();
        ends.filter(|end| now < *end).max().map(|end| end * JIFFY + self.jiffies_lag)
    }

    fn fence(&mut self, local: u64, call: &Call) {
        let now = self.tick(local);
        if let Call::Replace(all) = call {
            let lease = |(term, rest): (u64, Option<u64>)| Lease {
                term: ticks(term),
                ends: [rest.map(|ms| now + ticks(ms)); 2],
            };
            self.fence.tables = Some(all.iter().map(|l| l.map(lease)).collect());
            self.fence.removed = None;
            return;
        }
        let (Call::Open { router, .. } | Call::Extend { router, .. } | Call::Close { router, .. }) = call
        else {
            return;
        };
        let Some(Some(l)) = self.fence.tables.as_mut().and_then(|t| t.get_mut(*router)) else { return };
        match call {
            Call::Open { ms, .. } => l.ends = [Some(now + ticks(*ms)); 2],
            // What has ended is not brought back.
            Call::Extend { ms, table, .. } if l.ends[*table].is_some_and(|end| now < end) => {
                l.ends[*table] = Some(now + ticks(*ms));
            }
            Call::Close { table, .. } => l.ends[*table] = None,
            _ => {}
        }
    }
}

impl World {
    /// Whether the addresses of a virtual router are served by a lease in nf_tables on a machine.
    pub fn is_fenced(&self, h: usize, r: usize) -> bool {
        let m = &self.plan.machines[h];
        m.fence && self.plan.routers[r].leased && m.cfg.vrrp[r].priority != 255
    }

    /// Whether nothing answers on a machine that has died when a backup takes over.
    pub fn is_safe(&self, h: usize, r: usize) -> bool {
        let router = &self.plan.routers[r];
        match self.is_fenced(h, r) {
            true => router.interval >= 12 * JIFFY,
            false => router.safe(),
        }
    }

    /// Whether a machine answers for a VIP.
    pub fn answers(&self, h: usize, t: u64, r: usize, addr: IpAddr) -> bool {
        let k = &self.hosts[h].kernel;
        if self.is_fenced(h, r) {
            k.answers(self.clock(h, t).as_nanos(), r, addr)
        } else {
            k.has_tagged(addr)
        }
    }

    /// Whether something would be answered if the address were there.
    pub fn has_lease(&self, h: usize, t: u64, r: usize) -> bool {
        let k = &self.hosts[h].kernel;
        k.fence.removed.is_none() && k.runs(self.clock(h, t).as_nanos(), r) != [false; 2]
    }

    /// Somebody flushes all tables. The leases of a process that lives are its own, where the kernel knows
    /// owners.
    pub fn flush_ruleset(&mut self, h: usize) {
        let (now, lives) = (self.now, self.hosts[h].proc.is_some());
        let fence = &mut self.hosts[h].kernel.fence;
        if fence.tables.is_none() || fence.owned && lives {
            return;
        }
        fence.tables = None;
        fence.removed = Some(now);
        if let Some(p) = &mut self.hosts[h].proc {
            p.due.fill(false);
        }
        let delay = self.rng.range(20 * US, 300 * US);
        self.at(now + delay, Ev::Flushed { h });
    }

    /// `Daemon::open_fence`
    pub fn open_fence(&mut self, h: usize, p: &mut Proc, t: u64) {
        if !self.plan.machines[h].fence {
            return;
        }
        p.node.set_fence(Some(TICK));
        let now = self.clock(h, t);
        let k = &self.hosts[h].kernel;
        let rests: Vec<_> = (0..p.node.routers.len()).map(|r| k.rest(now.as_nanos(), r)).collect();
        for (r, rest) in rests.iter().enumerate().filter(|(r, _)| p.remembered[*r]) {
            let rest = match self.mutant {
                Mutant::ForeignRest => rests.iter().max().copied().flatten(),
                Mutant::RestTooLong => rest.map(|ms| ms + 100),
                _ => *rest,
            };
            if let Some(ms) = rest {
                p.node.lease_found(r, now, Duration::from_millis(ms));
            }
        }
        self.replace(h, p, now);
    }

    /// `Daemon::try_replace`, up to the system call.
    fn replace(&mut self, h: usize, p: &mut Proc, now: Time) {
        let (plan, rests) = p.node.fence_plan(now);
        let mut all = vec![None; p.node.routers.len()];
        for (router, rest) in plan.routers.iter().zip(&rests) {
            if let Some(r) = (0..all.len()).find(|r| key(*r) == router.key) {
                let more = if self.mutant == Mutant::TermTooLong { JIFFY / MS } else { 0 };
                all[r] = Some((router.term + more, *rest));
            }
        }
        self.say(h, || format!("leases: {all:?}"));
        p.tables = plan;
        p.half = Some(Half::Fence(Call::Replace(all)));
    }

    /// `Daemon::fence`, up to the system call.
    pub fn fence(&mut self, h: usize, p: &mut Proc, t: u64, op: Op) {
        if !self.plan.machines[h].fence {
            return;
        }
        let now = self.clock(h, t);
        let routers = p.node.routers.len();
        let named = |k: Key| (0..routers).find(|r| key(*r) == k);
        let call = match op {
            Op::Replace if p.tables == p.node.fence_plan(now).0 => None,
            Op::Replace => return self.replace(h, p, now),
            Op::Open { router, decided, .. } => {
                let may = p.node.may_open(router, decided, now);
                let left = p.node.lease_left(router, now).filter(|_| may);
                left.map(|left| Call::Open { router, ms: millis(left) })
            }
            Op::Extend { key, until } => {
                let ms = millis(until.since(now));
                named(key).map(|router| Call::Extend { router, ms, table: 0 })
            }
            Op::Close { key, .. } => named(key).map(|router| Call::Close { router, table: 0 }),
        };
        if let (Mutant::ClosesLate, Some(Call::Close { .. })) = (self.mutant, &call) {
            p.late_closes.extend(call);
        } else {
            p.half = call.map(Half::Fence);
        }
    }

    /// The system call; of two, the first, and the other is to come.
    pub fn fence_called(&mut self, h: usize, p: &mut Proc, t: u64, call: Call) {
        let local = self.clock(h, t).as_nanos();
        let answered = self.answered(h, t);
        let of = match call {
            Call::Open { router, .. } | Call::Extend { router, .. } | Call::Close { router, .. } => {
                Some(router)
            }
            Call::Replace(_) => None,
        };
        self.hosts[h].kernel.fence(local, &call);
        self.say(h, || format!("{call:?}"));
        p.half = match call {
            Call::Extend { router, ms, table: 0 } => Some(Half::Fence(Call::Extend { router, ms, table: 1 })),
            Call::Close { router, table: 0 } => Some(Half::Fence(Call::Close { router, table: 1 })),
            _ => None,
        };
        for (r, addr) in self.answered(h, t) {
            if !answered.contains(&(r, addr)) {
                self.appears(h, t, r, addr);
            }
        }
        for r in (0..p.node.routers.len()).filter(|r| of.is_none_or(|of| of == *r)) {
            // The lease of one that has let go is about to be closed.
            let router = &p.node.routers[r];
            let resumes = p.remembered.get(r) == Some(&true);
            let serves = router.is_master() || router.hold.is_some() || router.may_resume || resumes;
            if serves && p.half.is_none() {
                self.lease_ends_in_time(h, p, t, r);
            }
        }
    }

    /// What a machine answers for by a lease.
    fn answered(&self, h: usize, t: u64) -> Vec<(usize, IpAddr)> {
        let all = self.plan.machines[h].cfg.vrrp.iter().enumerate();
        let fenced = all.filter(|(r, _)| self.is_fenced(h, *r));
        let vips = fenced.flat_map(|(r, v)| v.vips.iter().map(move |v| (r, v.addr)));
        vips.filter(|(r, addr)| self.answers(h, t, *r, *addr)).collect()
    }

    /// An advert is about to leave: whether the kernel lets it.
    pub fn passes_fence(&mut self, h: usize, t: u64, r: usize, priority: u8) -> bool {
        let local = self.clock(h, t).as_nanos();
        priority == 0 || !self.is_fenced(h, r) || self.hosts[h].kernel.passes_advert(local, r, self.mutant)
    }

    /// The theorem, whatever becomes of this process: last advert + T + 6 ticks <= N × I. For one that hands
    /// over a second more.
    pub fn lease_ends_in_time(&mut self, h: usize, p: &Proc, t: u64, r: usize) {
        let local = self.clock(h, t).as_nanos();
        let k = &self.hosts[h].kernel;
        if !self.is_fenced(h, r)
            || !self.plan.machines[h].cfg.vrrp[r].vips.iter().any(|v| k.has_tagged(v.addr))
        {
            return;
        }
        let Some(end) = k.lease_end(local, r) else { return };
        let refused = self.hosts[h].refused;
        if refused > 0 && t < refused + 300 * MS {
            return;
        }
        let router = &self.plan.routers[r];
        let node = &p.node.routers[r];
        let f = &self.hosts[h].facts[r];
        let margin = (STALLED * JIFFY).min(router.interval / 2);
        // What was worked out from the last advert is a tick shorter than it may be.
        let slack = if f.left == Some(local) { 0 } else { JIFFY };
        let advert = f.left.map(|at| at + router.min_down_interval() - margin + slack);
        let lets_go =
            node.hold.is_some() || node.machine.is_soliciting() || node.machine.kind() == Kind::Backup;
        let handing = lets_go.then_some(local + crate::plan::SEC + JIFFY);
        // It opens its lease anew, and the advert that leaves in this turn renews it.
        let opening = node.is_master().then_some(local + (router.interval / 4).max(50 * MS) + JIFFY);
        let bound = advert.max(handing).max(opening);
        if bound.is_none_or(|bound| end > bound) && !p.caught {
            let ms = (end as i64 - bound.unwrap_or(0) as i64) as f64 / MS as f64;
            self.fail(h, format!("the lease of V{r} outlasts the patience of the others by {ms} ms"));
        }
    }

    /// At the end of a turn: who let go answers for nothing, and what somebody removed is back.
    pub fn watch_fence(&mut self, h: usize, p: &mut Proc, t: u64) {
        if !self.plan.machines[h].fence {
            return;
        }
        for (r, addr) in self.answered(h, t) {
            let router = &p.node.routers[r];
            let resumes = p.remembered.get(r) == Some(&true);
            let serves = router.is_master() || router.hold.is_some() || router.may_resume || resumes;
            if !serves && self.hosts[h].kernel.fence.removed.is_none() {
                let kind = router.machine.kind();
                self.fail(h, format!("still answers for {addr} and is {kind:?}"));
            }
        }
        let since = self.hosts[h].kernel.fence.removed.unwrap_or(t).max(p.still).max(p.started);
        if t > since + 20 * MS {
            self.fail(h, "its leases were removed, and are not back".into());
        }
        for call in std::mem::take(&mut p.late_closes) {
            let Call::Close { router, .. } = call else { continue };
            let local = self.clock(h, t).as_nanos();
            (0..2).for_each(|table| self.hosts[h].kernel.fence(local, &Call::Close { router, table }));
        }
    }

    /// `Daemon::read_fence`
    pub fn read_fence(&mut self, h: usize, p: &mut Proc, t: u64) {
        p.flushed = false;
        if self.hosts[h].kernel.fence.removed.is_some() && self.mutant != Mutant::LeavesTablesGone {
            self.replace(h, p, self.clock(h, t));
        }
    }

    /// vipd ends by itself: its tables go, and what it could not remove must not be served by that.
    pub fn remove_fence(&mut self, h: usize, p: &Proc, t: u64) {
        if p.node.holds_any() {
            return;
        }
        let answered = self.answered(h, t);
        self.hosts[h].kernel.fence.tables = None;
        self.hosts[h].kernel.fence.removed = None;
        if let Some((_, addr)) = self.answered(h, t).into_iter().find(|a| !answered.contains(a)) {
            self.fail(h, format!("ends, and {addr} is served by nobody's leave"));
        }
    }

    /// Every address of the master is answered for.
    pub fn master_answers(&mut self, m: usize, r: usize, addr: IpAddr) {
        if self.is_fenced(m, r) && self.is_safe(m, r) && !self.answers(m, self.now, r, addr) {
            self.fail(m, format!("at rest: master of V{r}, and does not answer for {addr}"));
        }
    }

    /// Whether what is left of a lease is enough for a process that starts now to resume.
    pub fn lease_lasts(&self, h: usize, r: usize, at_least: u64) -> bool {
        let local = self.clock(h, self.now).as_nanos();
        self.hosts[h].kernel.rest(local, r).is_some_and(|ms| ms * MS > at_least)
    }
}

impl Proc {
    pub fn is_flushed(&self, s: Source) -> bool {
        s == Source::Fence && self.flushed
    }
}

impl Facts {
    /// An advert of priority above 0 has left.
    pub fn has_left(&mut self, local: u64) {
        self.left = Some(local);
    }
}
