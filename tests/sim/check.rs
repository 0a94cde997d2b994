//! What must hold, whatever goes wrong. All of it is judged by what the machines really have and what the
//! network really did, never by what a node believes of itself.
//!
//! In one connected part, with the default lease and I of a second or more, nobody gets a VIP that another
//! one still has. What is excused, why, and for how long:
//!
//! | cause | how long both may have it |
//! |---|---|
//! | planned hand-over (make before break) | until `handover_timeout`; if the old holder dies meanwhile, its last renewal + 1 s + 1.7 s |
//! | the last adverts were lost, cut off, or could not be sent | until the loser hears an advert: I + delay after the last loss; if it is dead or stands still, N × I after its last advert |
//! | two backups take over within a delay of each other, or `may_advertise`'s max(I/4, 50 ms) | the same |
//! | it is preempted (not timed out) while it stands still | N × I after its last advert |
//! | a stall between `keep_valid` and the system call | 5 ms after it, by the clock read after the batch |
//! | a stall between `may_advertise` and the system call | as if the last adverts were lost |
//! | the kernel refuses the removal | until 0.25 s after the last refusal in an unbroken row of them |
//! | I below 1 s | a dead master's lease: I/4 + 1 s + 1.7 s after its last advert |
//! | clocks whose rates differ by more than 400 ppm | N × I × the difference, less the skew |
//! | an owner, `lease = off` | no bound |
//!
//! That is checked as rules of one machine each, which together give it, and once more at the moment that a
//! second holder appears:
//! - *the lease*: a VIP is gone N × I after the last advert of its holder, and is renewed only by a fresh
//!   one;
//! - *the takeover*: nobody begins to advertise within N × I of an advert it has to respect, unless who sent
//!   it has left since, or was outranked by another one that was heard;
//! - *letting go*: who is neither master nor handing over has no VIP when its turn ends;
//! - *two masters* that hear each other are one after I + delay; two that were both told to resign, and wait
//!   for an answer, say nothing that could be heard;
//! - *the last word*: a backup advertises once at the most, if it was outranked as a master, within I of
//!   that, and lower than what it was outranked by;
//! - *announced*: after a cut, a client has heard the right master announce its VIPs last;
//! - *no flapping*: who cannot send tries it less and less often;
//! - *rest*: `rest` after the last fault nothing happens any more, but for one thing that is known to the
//!   moment: whose kernel refused its addresses is in FAULT, then stands aside, and preempts when that is
//!   over. There is no rest during that FAULT, nor for `settle` after it and after the time aside; there is
//!   while it stands aside. The plan goes on until all of that is over, and whenever rest begins there is one
//!   master, the best one that comes forward.

use crate::haproxy::State;
use crate::mutant::Mutant;
use crate::plan::{Fault, MS, SEC, primary, vip};
use crate::shell::{Packet, Proc, Stage};
use crate::world::World;
use std::net::IpAddr;
use vipd::base::time::Time;
use vipd::config::{Auth, Track};
use vipd::event::Event;
use vipd::lease::{Op, OpKind};
use vipd::node::Memory;
use vipd::vrrp::machine::{Kind, Master, Why};

/// What is known of one virtual router on one machine. Times are the machine's own but for `entered`,
/// `window`.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub sent_id: u64,
    /// The last advert of any that did not say goodbye.
    pub left: Option<u64>,
    /// The last advert of a master: when, and its number.
    last_sent: Option<u64>,
    last_id: u64,
    /// When the mastership began that it belongs to, and when its first advert went out.
    term: Option<Time>,
    takeover: u64,
    /// The last adverts that have to be respected, one of each machine, as they arrived.
    bindings: Vec<Binding>,
    /// The number of the newest advert of each machine that arrived.
    newest: std::collections::BTreeMap<usize, u64>,
    /// The last renewal while handing over, and the first.
    hold_op: Option<u64>,
    hold_since: Option<u64>,
    /// When it ceased to be master because it was outranked, and by whom; until it has said its last word.
    outranked: Option<(u64, Master)>,
    /// A renewal that a stall had made late, and a removal that was refused, is excused until then.
    window: u64,
    entered: u64,
    /// When it ceased to be master because no advert went out, in the last second, and none went out since.
    tries: Vec<u64>,
    /// Killed as a master, then.
    killed: Option<u64>,
    /// It was the last master that the network heard of it, and had not let go.
    reigns: bool,
    /// The kernel has refused its addresses: when that fault ends, and when the time aside does.
    refused_until: u64,
    aside_until: u64,
}

impl Facts {
    /// Everything is lost but the count.
    pub fn reboot(&mut self) {
        *self = Facts { sent_id: self.sent_id, ..Facts::default() };
    }

    /// The interface has changed, or it is another process.
    pub fn clear_refusals(&mut self) {
        self.tries.clear();
        (self.refused_until, self.aside_until) = (0, 0);
    }

    /// Whether a refusal by the kernel, and nothing else, keeps this from being settled.
    fn unsettled(&self, t: u64, settle: u64) -> bool {
        t < self.refused_until + settle || (self.aside_until..self.aside_until + settle).contains(&t)
    }
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    from: usize,
    priority: u8,
    id: u64,
    at: u64,
}

impl World {
    fn local(&self, h: usize, t: u64) -> u64 {
        self.clock(h, t).as_nanos()
    }

    /// Within this, two takeovers are simultaneous.
    fn race(&self, r: usize) -> u64 {
        (self.plan.routers[r].interval / 4).max(50 * MS) + 5 * MS
    }

    pub fn told(&mut self, h: usize, p: &Proc, e: &Event, t: u64) {
        if self.trace {
            let (_, text) = vipd::report::words::render(&p.node, e);
            self.say(h, || text);
        }
        if let Event::Entered { router, kind, why } = e {
            let local = self.local(h, t);
            let f = &mut self.hosts[h].facts[*router];
            if *kind == Kind::Master {
                f.entered = t;
            }
            f.outranked = match why {
                Why::Outranked(by) => Some((local, *by)),
                _ => None,
            };
            if *why == Why::Stalled {
                self.ends_in_vain(h, *router, p.still, t);
            }
            if self.rests(t) {
                self.fail(h, format!("at rest: {e:?}"));
            }
        }
    }

    /// Whether nothing may happen.
    pub fn rests(&self, t: u64) -> bool {
        let settle = self.plan.settle;
        t >= self.plan.rest && !self.hosts.iter().flat_map(|h| &h.facts).any(|f| f.unsettled(t, settle))
    }

    /// When to stop: everything that is known to come has come, and it was quiet for a while.
    pub fn end(&self) -> u64 {
        let facts = self.hosts.iter().flat_map(|h| &h.facts);
        let latest = facts.map(|f| f.refused_until.max(f.aside_until)).max().unwrap_or(0);
        self.plan.end.max(latest + self.plan.settle + self.plan.end - self.plan.rest)
    }

    /// A mastership ends because nothing went out: twice at once, and then after a second or more.
    fn ends_in_vain(&mut self, h: usize, r: usize, still: u64, t: u64) {
        let tries = &mut self.hosts[h].facts[r].tries;
        // Not if this process ran too late for it.
        tries.retain(|at| t < at + 990 * MS && *at > still + SEC);
        tries.push(t);
        if tries.len() > 2 && self.hosts[h].send_fails > 0 && t > still + SEC {
            self.fail(h, format!("flaps: V{r} cannot send, and tries it again and again"));
        }
    }

    /// An advert goes out. Returns its number.
    pub fn sends(&mut self, h: usize, p: &Proc, t: u64, r: usize, priority: u8) -> u64 {
        let local = self.local(h, t);
        let (min_down_interval, race) = (self.plan.routers[r].min_down_interval(), self.race(r));
        let router = &p.node.routers[r];
        let unsent = self.hosts[h].unsent;
        let fenced = self.is_fenced(h, r);
        let f = &mut self.hosts[h].facts[r];
        f.sent_id += 1;
        let id = f.sent_id;
        if priority != 0 {
            f.has_left(local);
        }
        if priority != 0 && !router.is_master() && self.mutant != Mutant::Sleepwalks {
            let own = Master { src: router.machine.params.own, priority };
            let rank = |m: Master| (m.priority, m.src);
            let interval = self.plan.routers[r].interval;
            let lawful = f
                .outranked
                .take()
                .is_some_and(|(at, by)| rank(own) < rank(by) && (p.caught || local < at + interval + MS));
            if !lawful {
                self.fail(h, format!("advertises V{r} as a backup, with priority {priority}"));
            }
            return id;
        }
        let reigned = std::mem::replace(&mut f.reigns, priority != 0);
        let last = f.last_sent;
        if priority == 0 {
            return id;
        }
        f.tries.clear();
        let goes_on =
            f.term == Some(router.since) && f.last_sent.is_some_and(|s| local < s + min_down_interval);
        if !goes_on {
            f.takeover = local;
        }
        // A question whether there is a successor, and nobody came: the mastership goes on.
        let same = f.term == Some(router.since);
        // The kernel lets no advert pass that comes after the end of the lease.
        let ended = fenced
            && last.is_some_and(|s| local >= s + min_down_interval)
            && (same && !router.machine.is_soliciting() || !same && router.why == Why::Resumed);
        let unlawful = router.why == Why::Resumed && f.term.is_some() && !reigned && !same;
        f.hold_since = None;
        // Between `may_advertise` and the send; or a master whose adverts could not be sent, and who has
        // dismissed a lower one meanwhile.
        if p.caught || unsent > 0 && t < unsent + 3 * min_down_interval {
            f.bindings.clear();
        }
        let heard = |b: &&Binding| {
            let age = local - b.at;
            age > race && age + MS / 10 < min_down_interval
        };
        let binding = f.bindings.iter().find(heard).copied().filter(|_| !goes_on && !router.is_owner());
        (f.term, f.last_sent, f.last_id) = (Some(router.since), Some(local), id);
        if unlawful {
            self.fail(h, format!("V{r} resumes although it had let go"));
        }
        if ended {
            self.fail(h, format!("V{r} advertises after its lease"));
        }
        if let Some(b) = binding {
            let (why, ms) = (router.why, (local - b.at) / MS);
            self.fail(h, format!("takes over although it heard node{} {ms} ms ago: {why:?}", b.from));
        }
        id
    }

    /// An advert arrives at the socket of a process.
    pub fn heard(&mut self, to: usize, packet: &Packet) {
        let local = self.local(to, self.now);
        let host = &mut self.hosts[to];
        let Some(p) = &host.proc else { return };
        let router = &p.node.routers[packet.router];
        let params = &router.machine.params;
        // A master that is awake dismisses what is lower.
        let lower = (packet.priority, IpAddr::V4(primary(packet.from))) < (params.priority, params.own);
        let dismissed = router.is_master() && p.still <= self.now && lower;
        let f = &mut host.facts[packet.router];
        let newest = f.newest.entry(packet.from).or_default();
        // A signed one that is no newer than the last is a replay, and refused.
        let signed = matches!(router.cfg.auth, Auth::Hmac(_));
        let replayed = signed && packet.priority != 0 && packet.id <= *newest;
        *newest = packet.id.max(*newest);
        // One that waits in the socket for longer than its window is not believed.
        let stale = matches!(&router.cfg.auth, Auth::Hmac(a) if a.time_window.is_some())
            && p.still > self.now + 3 * SEC;
        if replayed || stale {
            return;
        }
        if packet.priority == 0 {
            f.bindings.retain(|b| b.from != packet.from);
        } else if !dismissed && (!router.cfg.preempt || packet.priority >= params.priority) {
            // Who is outranked gives way.
            f.bindings
                .retain(|b| (b.priority, b.from) > (packet.priority, packet.from) && b.from != packet.from);
            let Packet { from, priority, id, .. } = *packet;
            f.bindings.push(Binding { from, priority, id, at: local });
        }
    }

    /// Another process, or another priority: what was heard before does not bind.
    pub fn forget_heard(&mut self, h: usize, router: Option<usize>) {
        for (r, f) in self.hosts[h].facts.iter_mut().enumerate() {
            if router.is_none_or(|x| x == r) {
                f.bindings.clear();
            }
        }
    }

    /// An operation of vipd has changed the kernel.
    pub fn changed(&mut self, h: usize, p: &Proc, t: u64, op: &Op, was: bool, errno: i32) {
        if errno != 0 {
            return;
        }
        if op.kind == OpKind::Remove {
            return self.vanished(h, t, op.addr);
        }
        let r = p.node.addrs.entries[op.entry].router;
        let local = self.local(h, t);
        let router = &self.plan.routers[r];
        let (leased, handover) = (router.leased, router.handover);
        let fenced = self.is_fenced(h, r);
        let fresh = p.node.addrs.terms(r).fresh.as_nanos() as u64;
        let f = &mut self.hosts[h].facts[r];
        let soliciting = p.node.routers[r].machine.is_soliciting();
        if p.node.routers[r].hold.is_some() || soliciting {
            f.hold_op = Some(local);
            // What was deleted during a stall is heard of after it.
            let deleted = self.hosts[h].refused;
            let deleted = if deleted > 0 { deleted.max(p.still) } else { 0 };
            if !was && !p.caught && t > deleted + 5 * MS {
                return self.fail(h, format!("brings {} back to hand it over", op.addr));
            }
            let f = &mut self.hosts[h].facts[r];
            let since = if soliciting { local } else { *f.hold_since.get_or_insert(local) };
            // What was decided before a stall may be carried out after it: the lease has not ended yet.
            if local > since + handover + 50 * MS && t > p.still + 50 * MS {
                self.fail(h, format!("renews {} beyond its handover_timeout", op.addr));
            }
        } else {
            (f.hold_op, f.hold_since) = (None, None);
            let age = f.last_sent.map(|s| local - s);
            if leased && !fenced && age.is_none_or(|a| a > fresh + MS) {
                f.window = t + 5 * MS;
                if !p.caught {
                    let age = age.map(|a| a / MS);
                    self.fail(
                        h,
                        format!("too late: {:?} of {} {age:?} ms after its advert", op.kind, op.addr),
                    );
                }
            }
        }
        self.lease_ends_in_time(h, p, t, r);
        if !was && self.answers(h, t, r, op.addr) {
            self.appears(h, t, r, op.addr);
        }
    }

    /// A machine answers for a VIP for which it did not.
    pub fn appears(&mut self, h: usize, t: u64, r: usize, addr: IpAddr) {
        // Where ticks can stand still for as long as a lease, one ends now and then and is opened again.
        let lapses = self.is_fenced(h, r) && !self.is_safe(h, r);
        if self.rests(t) && !lapses {
            self.fail(h, format!("at rest: {addr} is added"));
        }
        if self.plan.spread > 400_000 {
            return;
        }
        for y in 0..self.hosts.len() {
            if y == h || !self.is_safe(y, r) {
                continue;
            }
            let other = &self.hosts[y];
            let handing = other.facts[r].hold_op.is_some()
                || other.proc.as_ref().is_some_and(|p| {
                    let router = &p.node.routers[r];
                    router.hold.is_some() || router.machine.is_soliciting()
                });
            let removed = other.kernel.fence.removed.is_some();
            if !self.connected(h, y) || !self.answers(y, t, r, addr) || handing || removed {
                continue;
            }
            let (mine, theirs) = (&self.hosts[h].facts[r], &other.facts[r]);
            let Some(b) = mine.bindings.iter().find(|b| b.from == y) else { continue };
            let heard = b.id == theirs.last_id && mine.takeover > b.at + self.race(r);
            if heard && t > other.refused + 300 * MS && t > theirs.window {
                let ms = (mine.takeover - b.at) / MS;
                self.fail(h, format!("two holders: node{y} has {addr} too; last heard {ms} ms before"));
            }
        }
    }

    /// A machine has a VIP no more.
    pub fn vanished(&mut self, h: usize, t: u64, addr: IpAddr) {
        let IpAddr::V4(a) = addr else { return };
        let Some(r) = (a.octets()[3] as usize).checked_sub(200).map(|n| n / 4) else { return };
        let served = !self.is_fenced(h, r) || self.has_lease(h, t, r);
        if self.rests(t) && served {
            self.fail(h, format!("at rest: {addr} is gone"));
        }
        self.outlives(h, t, r, addr);
    }

    /// A VIP was there until now: was that too long?
    fn outlives(&mut self, h: usize, t: u64, r: usize, addr: IpAddr) {
        let local = self.local(h, t);
        let router = &self.plan.routers[r];
        let f = &self.hosts[h].facts[r];
        let (bound, what) = match (f.hold_op, f.last_sent) {
            (Some(at), _) => (at + SEC + 1700 * MS, "renewal while handing over"),
            (None, Some(at)) => (at + router.outlives(), "advert"),
            _ => return,
        };
        if router.leased && !self.is_fenced(h, r) && local > bound + MS && t > f.window {
            let ms = (local - bound) / MS;
            self.fail(h, format!("{addr} outlived its last {what}: {ms} ms more than it may"));
        }
    }

    /// The kernel refuses to remove a VIP, which was there rightly until now: so it is until the next try.
    pub fn refuses(&mut self, h: usize, t: u64, r: usize, addr: IpAddr) {
        self.hosts[h].refused = t;
        if self.hosts[h].kernel.has_tagged(addr) {
            self.outlives(h, t, r, addr);
            let f = &mut self.hosts[h].facts[r];
            f.window = f.window.max(t + 255 * MS);
        }
    }

    /// The process waits again.
    pub fn turn_ends(&mut self, h: usize, p: &mut Proc, t: u64) {
        let now = self.clock(h, t);
        for (r, router) in p.node.routers.iter().enumerate() {
            let refused = router.refused.until.map(|at| self.world(h, at));
            let no_preempt_for =
                router.machine.no_preempt_for(now).filter(|_| router.refused.times.failures() > 0);
            let no_preempt_for = no_preempt_for.map(|left| self.world(h, now + left));
            let min_down_interval = self.plan.routers[r].min_down_interval();
            let f = &mut self.hosts[h].facts[r];
            // After a flap it may go on as long as the others wait for it, unless it has sent priority 0.
            let awaited = f.last_sent.is_some_and(|at| now.as_nanos() < at + min_down_interval);
            f.reigns &= router.is_master() || router.may_resume || awaited;
            f.refused_until = refused.unwrap_or(f.refused_until.min(t));
            f.aside_until = no_preempt_for.unwrap_or(f.aside_until.min(t));
            let host = &self.hosts[h];
            // A removal that was refused is tried again when this process runs.
            let refused = if host.refused > 0 { host.refused.max(p.still) } else { 0 };
            if !router.is_master()
                && router.hold.is_none()
                && !router.may_resume
                && !router.is_owner()
                && t > refused + 300 * MS
                && let Some(v) = router.cfg.vips.iter().find(|v| host.kernel.has_tagged(v.addr))
            {
                let kind = router.machine.kind();
                self.fail(h, format!("still has {} and is {kind:?}", v.addr));
            }
            if p.first_turn && p.due[r] && !router.is_master() {
                let host = &self.hosts[h];
                let quiet = host.netlink_fails == 0 && host.send_fails == 0 && host.kernel.up && p.still == 0;
                let untracked = !self.plan.haproxy || router.cfg.track_haproxy == Track::No;
                if quiet && untracked && host.facts[r].bindings.is_empty() {
                    self.fail(h, format!("V{r} does not resume although its lease was running"));
                }
            }
        }
        self.watch_fence(h, p, t);
        if p.caught || p.first_turn {
            (p.caught, p.first_turn) = (false, false);
        }
        if self.mutant == Mutant::Clings {
            let held = p.node.routers.iter_mut().filter_map(|i| i.hold.as_mut());
            held.for_each(|x| (x.until, x.release_at) = (self.clock(h, t + 100 * SEC), None));
        }
        if self.mutant == Mutant::Garrulous {
            let now = self.clock(h, t);
            let each = p.node.routers.iter_mut().filter(|i| matches!(i.why, Why::Outranked(_)));
            each.for_each(|i| i.outranked = i.outranked.or(Some(now)));
        }
        if self.mutant == Mutant::Silent {
            p.node.routers.iter_mut().for_each(|i| i.outranked = None);
        }
        if self.mutant == Mutant::Untiring {
            p.node.routers.iter_mut().for_each(|i| i.unsent = Default::default());
        }
        if self.mutant == Mutant::Restless && t / (2 * SEC) % 2 == 1 && h == 0 {
            let mut l = self.hosts[h].kernel.link();
            l.running = false;
            p.node.link(self.clock(h, t), &l);
            l.running = true;
            p.node.link(self.clock(h, t), &l);
        }
    }

    /// vipd is about to end: by a kill, or (`exit`) by itself.
    pub fn ends(&mut self, h: usize, p: &Proc, exit: bool) {
        for (r, i) in p.node.routers.iter().enumerate() {
            let master = i.is_master() && !exit;
            self.hosts[h].facts[r].killed = master.then_some(self.now);
        }
    }

    /// Whether a process that starts now is to resume, for each virtual router.
    pub fn due(&self, h: usize) -> Vec<bool> {
        let host = &self.hosts[h];
        let each = self.plan.machines[h].cfg.vrrp.iter().enumerate();
        each.map(|(r, v)| {
            let f = &host.facts[r];
            if self.is_fenced(h, r) {
                let interval = self.plan.routers[r].interval;
                let master = f.killed.is_some() && host.memory[r] == Some(Memory::Master);
                return master
                    && host.kernel.fence.removed.is_none()
                    && interval >= 100 * MS
                    && self.lease_lasts(h, r, 30 * MS);
            }
            let recent = f.killed.is_some_and(|k| self.now < k + 400 * MS);
            let fresh = f.last_sent.is_some_and(|s| self.local(h, self.now) < s + 1400 * MS);
            recent
                && fresh
                && host.memory[r] == Some(Memory::Master)
                && self.plan.routers[r].safe()
                && v.vips.iter().all(|v| host.kernel.has_tagged(v.addr))
        })
        .collect()
    }

    /// The process of a machine, if it does not stand still.
    fn awake(&self, h: usize) -> Option<&Proc> {
        self.hosts[h].proc.as_deref().filter(|p| p.stage == Stage::Wait && p.still <= self.now)
    }

    fn is_master(&self, h: usize, r: usize) -> bool {
        self.awake(h).is_some_and(|p| p.node.routers[r].is_master())
    }

    /// Told to resign, it is silent until somebody comes or its wait is over.
    fn asks(&self, h: usize, r: usize) -> bool {
        self.awake(h).is_some_and(|p| p.node.routers[r].machine.is_soliciting())
    }

    /// Looks at everything, every 0.1 s.
    pub fn watch(&mut self) {
        let slack = 60 * MS + 4 * self.plan.net.delay.1;
        for r in 0..self.plan.routers.len() {
            for a in 0..self.hosts.len() {
                if !self.is_master(a, r) {
                    continue;
                }
                self.watch_service(a, r);
                for b in a + 1..self.hosts.len() {
                    if !self.is_master(b, r) || !self.connected(a, b) {
                        continue;
                    }
                    if self.asks(a, r) && self.asks(b, r) {
                        continue;
                    }
                    let since = |h: usize| {
                        let host = &self.hosts[h];
                        let still = host.proc.as_ref().map_or(0, |p| p.still);
                        host.facts[r].entered.max(host.upset).max(still)
                    };
                    let since = since(a).max(since(b)).max(self.disturbed[a][b]);
                    let interval = self.plan.routers[r].interval;
                    if self.now > since + interval + interval / 50 + slack {
                        let ms = (self.now - since) / MS;
                        self.fail(a, format!("two masters of V{r}, node{b} too, undisturbed for {ms} ms"));
                    }
                }
            }
        }
    }

    /// Never master without service: until a hang is noticed, and `restart_grace` after a death.
    fn watch_service(&mut self, h: usize, r: usize) {
        let host = &self.hosts[h];
        let Some(p) = &host.proc else { return };
        let router = &p.node.routers[r];
        let Some(down) = host.haproxy.down_since.filter(|_| self.plan.haproxy && !router.is_owner()) else {
            return;
        };
        // A hang: two answers missed, 0.3 s each, asked 0.5 s apart. A death begins anew: what hung may die
        // just before it is given up, and then has `restart_grace` like any other.
        let hung = host.haproxy.process.is_some_and(|x| x.state == State::Hung);
        let limit = if hung { 1500 * MS } else { 600 * MS };
        let since = down.max(p.still).max(p.started);
        if router.cfg.track_haproxy == Track::Fault && self.now > since + limit {
            let ms = (self.now - since) / MS;
            self.fail(h, format!("master of V{r} without service for {ms} ms"));
        }
    }

    /// Nothing is wrong any more: one master in each part, the right one, and nobody else has a VIP.
    pub fn at_rest(&mut self, when: &str) {
        for part in self.parts() {
            let alive: Vec<usize> = part.iter().copied().filter(|h| self.hosts[*h].proc.is_some()).collect();
            for r in 0..self.plan.routers.len() {
                let masters: Vec<usize> = alive.iter().copied().filter(|h| self.is_master(*h, r)).collect();
                if alive.is_empty() {
                    continue;
                }
                let &[m] = masters.as_slice() else {
                    let text = format!("at rest, {when}: masters of V{r} of {alive:?}: {masters:?}");
                    return self.fail(alive[0], text);
                };
                let router = |h: usize| self.hosts[h].proc.as_ref().map(|p| &p.node.routers[r]);
                let first = router(m).map_or(0, |i| i.machine.params.priority);
                let better = alive.iter().copied().find(|h| {
                    router(*h).is_some_and(|i| {
                        let preempts = self.plan.machines[*h].cfg.vrrp[r].preempt;
                        let p = i.machine.params.priority;
                        // Whose kernel has refused every address stands aside for a while.
                        let no_preempt_for = self.now < self.hosts[*h].facts[r].aside_until;
                        p > first && (preempts || p == 255) && !no_preempt_for
                    })
                });
                if let Some(b) = better {
                    return self.fail(m, format!("at rest, {when}: master of V{r}, and node{b} is better"));
                }
                for i in 0..self.plan.machines[m].cfg.vrrp[r].vips.len() {
                    let addr = IpAddr::V4(vip(r, i));
                    // A dead machine's permanent address stays: the owner's own, or without leases.
                    let leased = self.plan.routers[r].leased;
                    let lost = |h: usize| {
                        self.hosts[h].proc.is_none() && (!leased || self.plan.machines[h].owner && r == 0)
                    };
                    let has = |h: &usize| match self.is_fenced(*h, r) {
                        // Of a dead machine whose tables somebody removed the address itself has to end.
                        true => {
                            let open = self.hosts[*h].proc.is_none()
                                && self.hosts[*h].kernel.fence.removed.is_some();
                            *h == m || self.answers(*h, self.now, r, addr) && !open
                        }
                        false => self.hosts[*h].kernel.has(addr) && !lost(*h),
                    };
                    let holders: Vec<usize> = part.iter().copied().filter(has).collect();
                    if holders != [m] {
                        let text = format!("at rest, {when}: {addr} is on {holders:?}, master is node{m}");
                        return self.fail(m, text);
                    }
                    self.asks_the_right_one(m, addr);
                    self.master_answers(m, r, addr);
                }
            }
        }
    }

    /// A client was told last by the one that has it. What else goes wrong can keep the loser of two masters
    /// from telling the winner of itself; so can the next cut.
    fn asks_the_right_one(&mut self, m: usize, addr: IpAddr) {
        let calm = |f: &&(u64, Fault)| !matches!(f.1, Fault::Calm);
        let mut faults = self.plan.faults.iter().filter(calm);
        let cut = matches!(faults.next(), Some((_, Fault::Cut { .. } | Fault::OneWay { .. })));
        let only = faults.next().is_none() && self.plan.net.loss == 0;
        let told = self.announced.get(&addr).copied().filter(|y| *y != m && self.connected(*y, m));
        if let Some(y) = told.filter(|_| cut && only) {
            self.fail(m, format!("{addr} is on node{m}, and the client asks node{y}"));
        }
    }

    /// The connected parts of the network.
    fn parts(&self) -> Vec<Vec<usize>> {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for h in 0..self.hosts.len() {
            match parts.iter_mut().find(|p| self.connected(p[0], h)) {
                Some(p) => p.push(h),
                None => parts.push(vec![h]),
            }
        }
        parts
    }
}
