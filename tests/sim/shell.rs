//! One vipd process: `daemon.rs` step by step, in the same order, so that it can stand still between any two of
//! them. Each `clock::now()` of the daemon is one read of `World::clock` here.
//!
//! What the daemon does in one go is a [`Stage`]; what it does between two reads of the clock, or between a check
//! and the system call that it is for, is a [`Half`].

use crate::haproxy::Ended;
use crate::kernel::ETH0;
use crate::mutant::Mutant;
use crate::plan::{MS, US};
use crate::world::{Ev, World};
use std::collections::VecDeque;
use std::rc::Rc;
use vipd::addr::{Op, OpKind};
use vipd::haproxy::show_info::Info;
use vipd::haproxy::supervisor;
use vipd::node::{Effect, Memory, Node};
use vipd::time::{Time, earlier};
use vipd::wire::arp::{self, Arp};
use vipd::wire::rtnl::Msg;

/// An advert on its way.
#[derive(Debug)]
pub struct Packet {
    pub from: usize,
    pub router: usize,
    pub priority: u8,
    /// Number of the sender's advert of that router.
    pub id: u64,
    pub bytes: Vec<u8>,
}

/// Where the process stands in its program: `Daemon::open`, `begin`, `turn`, `settle`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    // begin
    Dump,
    DumpEffects,
    Adopt,
    EarlyRead,
    Begin,
    // turn
    Woke,
    WokeEffects,
    Read,
    Reread,
    /// `is_takeover_due`
    Overdue,
    // settle
    Tick,
    TickEffects,
    Flush,
    FlushEffects,
    Again,
    AgainEffects,
    Tell,
    Wait,
}

/// The descriptors, in the order of `Daemon::wait`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    Netlink,
    Signals,
    Vrrp,
    Arp,
    Probe,
    Pidfd,
}

/// The second half of something: this process may stand still before it.
#[derive(Debug)]
pub enum Half {
    Send { inst: usize, priority: u8, before: Time },
    Sent { inst: usize, priority: u8, before: Time, errno: i32 },
    Carry { ops: Vec<Op>, before: Time },
    Carried { results: Vec<(Op, i32)>, before: Time },
    Announce { entry: usize },
    Drain { source: Source, now: Time },
}

#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Term,
    Child(Ended),
}

pub struct Proc {
    pub node: Node,
    pub stage: Stage,
    pub half: Option<Half>,
    pub open: bool,
    pub vrrp: VecDeque<Rc<Packet>>,
    pub arp: VecDeque<Rc<[u8]>>,
    pub netlink: VecDeque<Msg>,
    pub lost: bool,
    pub signals: VecDeque<Signal>,
    pub pidfd: Option<Ended>,
    /// The question that is under way: its number, and the answer once it is there.
    pub probe: Option<(u64, Option<u32>)>,
    ready: VecDeque<Source>,
    reread_at: Option<Time>,
    exit: bool,
    /// Stands still in that many steps, for so long.
    pub stall: Option<(u32, u64)>,
    /// Stands still until then.
    pub still: u64,
    /// The stall fell between a check and the system call that it is for.
    pub caught: bool,
    /// The wake-up that counts, and when it is due.
    pub wake: u64,
    pub wake_at: u64,
    /// Busy until then.
    pub busy: u64,
    pub turns: (u64, u32),
    remembered: Vec<bool>,
    /// The clock before the sockets were read.
    read_at: Time,
    pub started: u64,
    pub first_turn: bool,
    /// What it is to resume.
    pub due: Vec<bool>,
}

impl Proc {
    fn is_ready(&self, s: Source) -> bool {
        match s {
            Source::Netlink => self.lost || !self.netlink.is_empty(),
            Source::Signals => !self.signals.is_empty(),
            Source::Vrrp => !self.vrrp.is_empty(),
            Source::Arp => !self.arp.is_empty(),
            Source::Probe => matches!(self.probe, Some((_, Some(_)))),
            Source::Pidfd => self.pidfd.is_some(),
        }
    }

    pub fn is_any_ready(&self) -> bool {
        SOURCES.iter().any(|s| self.is_ready(*s))
    }
}

const SOURCES: [Source; 6] =
    [Source::Netlink, Source::Signals, Source::Vrrp, Source::Arp, Source::Probe, Source::Pidfd];

impl World {
    /// `Daemon::open`
    pub fn start(&mut self, h: usize) {
        if self.hosts[h].proc.is_some() {
            if self.hosts[h].stopping {
                self.at(self.now + 200 * MS, Ev::Start { h });
            }
            return;
        }
        self.say(h, || "vipd starts".into());
        self.forget_heard(h, None);
        let now = self.clock(h, self.now);
        let due = self.due(h);
        let node = Node::new(&self.plan.machines[h].cfg, now);
        let host = &mut self.hosts[h];
        host.upset = self.now;
        let mut p = Proc {
            node,
            stage: Stage::Dump,
            half: None,
            open: false,
            vrrp: VecDeque::new(),
            arp: VecDeque::new(),
            netlink: VecDeque::new(),
            lost: false,
            signals: VecDeque::new(),
            pidfd: None,
            probe: None,
            ready: VecDeque::new(),
            reread_at: None,
            exit: false,
            stall: None,
            still: 0,
            caught: false,
            wake: 0,
            wake_at: u64::MAX,
            busy: 0,
            turns: (0, 0),
            remembered: Vec::new(),
            read_at: now,
            started: self.now,
            first_turn: true,
            due,
        };
        for (i, v) in p.node.instances.iter_mut().enumerate() {
            if let Some(priority) = host.priorities[i] {
                v.cfg.priority = priority;
                v.machine.params.priority = priority;
            }
            v.machine.params.preempt &= self.mutant != Mutant::Meek;
        }
        host.wakes += 1;
        p.wake = host.wakes;
        p.wake_at = self.now + MS;
        let (at, n) = (p.wake_at, p.wake);
        host.proc = Some(Box::new(p));
        self.at(at, Ev::Wake { h, n });
    }

    /// Something has come: ppoll returns.
    pub fn nudge(&mut self, h: usize) {
        let latency = self.plan.machines[h].latency;
        let now = self.now;
        let jitter = self.rng.below(latency);
        let Some(p) = &mut self.hosts[h].proc else { return };
        if p.stage != Stage::Wait {
            return;
        }
        let at = now.max(p.busy).max(p.still) + jitter;
        self.wake_at(h, at);
    }

    fn wake_at(&mut self, h: usize, at: u64) {
        let host = &mut self.hosts[h];
        let Some(p) = &mut host.proc else { return };
        if at < p.wake_at {
            host.wakes += 1;
            (p.wake, p.wake_at) = (host.wakes, at);
            let n = p.wake;
            self.at(at, Ev::Wake { h, n });
        }
    }

    /// The process runs until it waits, ends or stands still.
    pub fn run(&mut self, h: usize) {
        let Some(mut p) = self.hosts[h].proc.take() else { return };
        p.wake_at = u64::MAX;
        let mut t = self.now;
        if p.stage == Stage::Wait {
            // `wait`: this is what ppoll reports.
            p.ready = SOURCES.into_iter().filter(|s| p.is_ready(*s)).collect();
            p.stage = Stage::Woke;
            if p.turns.0 != t / (100 * MS) {
                p.turns = (t / (100 * MS), 0);
            }
            p.turns.1 += 1;
            if p.turns.1 > 1000 {
                self.fail(h, "spins: a thousand turns in 0.1 s".into());
            }
        }
        while p.stage != Stage::Wait && !p.exit && self.violation.is_none() {
            if let Some((0, time)) = p.stall {
                p.stall = None;
                p.still = t + time;
                p.caught = matches!(p.half, Some(Half::Carry { .. } | Half::Send { .. }));
                self.say(h, || {
                    let half = p.half.as_ref().map(|x| format!("{x:?}")).unwrap_or_default();
                    format!("stands still for {} ms at {:?} {half}", time / MS, p.stage)
                });
                let at = p.still;
                self.hosts[h].proc = Some(p);
                self.wake_at(h, at);
                return;
            }
            if let Some((n, _)) = &mut p.stall {
                *n -= 1;
            }
            t += 2 * US + self.rng.below(6 * US);
            self.step(h, &mut p, t);
        }
        if p.exit {
            self.say(h, || "vipd has ended".into());
            self.hosts[h].stopping = false;
            self.ends(h, &p, true);
            self.orphan_haproxy(h);
            return;
        }
        p.busy = t;
        let now = self.clock(h, t);
        let deadline = earlier(p.node.deadline(now), p.reread_at);
        let latency = self.plan.machines[h].latency;
        let ready = p.is_any_ready();
        let at = match deadline {
            _ if ready || self.mutant == Mutant::Spins => Some(t),
            Some(d) => Some(self.world(h, d).max(t) + self.rng.below(latency)),
            None => None,
        };
        self.turn_ends(h, &mut p, t);
        self.hosts[h].proc = Some(p);
        if let Some(at) = at {
            self.wake_at(h, at);
        }
    }

    /// One step; the clock is read at the most once, at its beginning.
    fn step(&mut self, h: usize, p: &mut Proc, t: u64) {
        let now = self.clock(h, t);
        if let Some(half) = p.half.take() {
            return self.second_half(h, p, t, half);
        }
        let m = self.mutant;
        use Stage::*;
        p.stage = match p.stage {
            DumpEffects | WokeEffects | TickEffects | FlushEffects | AgainEffects => {
                match p.node.next_effect() {
                    Some(e) => {
                        self.carry_out(h, p, t, e);
                        return;
                    }
                    None => match p.stage {
                        DumpEffects => Adopt,
                        WokeEffects => Read,
                        TickEffects => Flush,
                        FlushEffects => Again,
                        _ => Tell,
                    },
                }
            }
            Dump => {
                self.dump(h, p, t);
                DumpEffects
            }
            Adopt => {
                // `Service::adopt`, then the state files
                let running = self.hosts[h].haproxy.process.map(|x| x.pid);
                let known = self.hosts[h].haproxy.remembered;
                if let Some(pid) = known.filter(|pid| running == Some(*pid)) {
                    p.node.supervise(now, |s, _, events| s.adopt(pid, now, events));
                }
                p.remembered = self.hosts[h].memory.iter().map(|m| *m == Some(Memory::Master)).collect();
                match m {
                    Mutant::ForgetsMastership => p.remembered.fill(false),
                    Mutant::RemembersTooMuch => p.remembered.fill(true),
                    _ => {}
                }
                EarlyRead
            }
            EarlyRead => {
                p.read_at = now;
                p.half = Some(Half::Drain { source: Source::Vrrp, now });
                Begin
            }
            Begin => {
                let remembered = std::mem::take(&mut p.remembered);
                p.node.begin(now, &remembered);
                Tick
            }
            Woke => {
                p.read_at = now;
                if m != Mutant::Sleepwalks {
                    p.node.woke(now);
                }
                if m == Mutant::TimersBeforeSockets {
                    p.node.tick(now);
                }
                WokeEffects
            }
            Read => match p.ready.pop_front() {
                Some(source) => {
                    p.half = Some(Half::Drain { source, now });
                    Read
                }
                None => Reread,
            },
            Reread => {
                if p.reread_at.is_some_and(|at| now >= at) {
                    self.reread(h, p, t);
                }
                Overdue
            }
            Overdue => {
                if p.node.is_takeover_due(p.read_at) {
                    p.half = Some(Half::Drain { source: Source::Vrrp, now });
                }
                Tick
            }
            Tick => {
                let now = match m {
                    Mutant::Impatient => now + std::time::Duration::from_secs(1),
                    Mutant::LateClock => now,
                    _ => p.read_at,
                };
                p.node.tick(now);
                TickEffects
            }
            Again => {
                p.node.announce_some(now);
                AgainEffects
            }
            Flush => {
                p.node.flush(now);
                FlushEffects
            }
            Tell => {
                while let Some(e) = p.node.next_event() {
                    self.told(h, &p.node, &e, t);
                }
                Wait
            }
            Wait => Wait,
        };
    }

    /// `Daemon::carry_out`, up to the system call.
    fn carry_out(&mut self, h: usize, p: &mut Proc, t: u64, effect: Effect) {
        let now = self.clock(h, t);
        let m = self.mutant;
        match effect {
            Effect::Open { link, .. } => {
                if self.hosts[h].kernel.up || !self.rng.chance(300) {
                    p.open = true;
                    p.node.opened(now, link);
                } else {
                    p.node.open_failed(now, link, libc::ENETDOWN);
                }
            }
            Effect::Close { .. } => {
                p.open = false;
                p.vrrp.clear();
                p.arp.clear();
            }
            Effect::Advert { inst, priority, decided } => {
                if m == Mutant::Sleepwalks || p.node.may_advertise(inst, priority, decided, now) {
                    p.half = Some(Half::Send { inst, priority, before: now });
                }
            }
            Effect::Addrs(mut ops) => {
                if m != Mutant::KeepsInvalid {
                    p.node.addrs.keep_valid(&mut ops, now);
                }
                p.half = Some(Half::Carry { ops, before: now });
            }
            // No connections and no checks here.
            Effect::Disconnect { .. } | Effect::Check { .. } => {}
            // Of a reload, which is not simulated.
            Effect::DisconnectVip { .. } | Effect::Forget { .. } | Effect::NewService => {}
            // And no virtual MAC.
            Effect::Vmac { .. } | Effect::Unmake { .. } | Effect::UnmakeAll => {}
            Effect::Probe { .. } => {}
            Effect::Announce { entry } => {
                if p.node.may_announce(entry, now) {
                    p.half = Some(Half::Announce { entry });
                }
            }
            Effect::Remember { inst, memory } => {
                self.hosts[h].memory[inst] = (memory != Memory::Nothing).then_some(memory);
            }
            Effect::Reread => self.reread(h, p, t),
            Effect::Haproxy(supervisor::Action::Spawn { .. }) if !p.node.may_spawn() => {}
            Effect::Haproxy(action) => self.service(h, p, t, action),
            // The simulated configurations have neither.
            Effect::Hook(_) | Effect::Mail(_) => {}
            Effect::Exit(_) => p.exit = true,
        }
    }

    /// The system call, or what follows it.
    fn second_half(&mut self, h: usize, p: &mut Proc, t: u64, half: Half) {
        let now = self.clock(h, t);
        match half {
            Half::Send { inst, priority, before } => {
                let mut bytes = Vec::new();
                let errno = match p.node.encode_advert(inst, priority, 0, &mut bytes) {
                    None => libc::EADDRNOTAVAIL,
                    Some(_) if !p.open => libc::ENODEV,
                    Some(_) => self.send(h, p, t, inst, priority, bytes),
                };
                p.half = Some(Half::Sent { inst, priority, before, errno });
            }
            Half::Sent { inst, priority, before, errno } => {
                if errno == 0 || self.mutant == Mutant::BelievesEverySend {
                    p.node.sent(inst, priority, before);
                } else {
                    p.node.send_failed(inst, 0, before, errno);
                    p.node.unsent(inst, before);
                }
            }
            Half::Carry { ops, before } => {
                let results = self.netlink(h, p, t, ops);
                p.half = Some(Half::Carried { results, before });
            }
            Half::Carried { results, before } => p.node.addrs_done(before, now, &results),
            Half::Announce { entry } => {
                let e = &p.node.addrs.entries[entry];
                if let (std::net::IpAddr::V4(ip), Some(mac)) = (e.addr, p.node.links[e.link].mac) {
                    self.broadcast(h, t, &arp::gratuitous(mac, ip));
                }
            }
            Half::Drain { source, now } => self.drain(h, p, t, source, now),
        }
    }

    /// `Daemon::read`: everything that is queued by now; all but the adverts with a clock that was read before.
    fn drain(&mut self, h: usize, p: &mut Proc, t: u64, source: Source, now: Time) {
        match source {
            Source::Netlink => {
                if std::mem::take(&mut p.lost) {
                    p.node.overrun();
                    return self.reread(h, p, t);
                }
                for msg in std::mem::take(&mut p.netlink) {
                    tell(&mut p.node, now, &msg);
                }
            }
            Source::Signals => {
                while let Some(s) = p.signals.pop_front() {
                    match s {
                        Signal::Term => p.node.stop(now),
                        Signal::Child(e) => self.exited(h, p, now, e),
                    }
                }
            }
            Source::Vrrp => {
                // `read_adverts` reads the clock behind each packet.
                let now = if self.mutant == Mutant::EarlyClock { now } else { self.clock(h, t) };
                while let Some(packet) = p.vrrp.pop_front() {
                    p.node.packet(now, 0, &packet.bytes);
                }
            }
            Source::Arp => {
                for _ in 0..64 {
                    let Some(frame) = p.arp.pop_front() else { break };
                    if let Some(a) = frame.get(14..).and_then(Arp::parse) {
                        p.node.arp(now, 0, &a);
                    }
                }
            }
            Source::Probe => {
                if let Some((_, Some(pid))) = p.probe {
                    p.probe = None;
                    let info = Info { version: "2.6".into(), pid: pid + 100_000 };
                    p.node.supervise(now, |s, out, events| s.answered(pid, info, now, out, events));
                }
            }
            Source::Pidfd => {
                if let Some(e) = p.pidfd.take() {
                    self.exited(h, p, now, e);
                }
            }
        }
    }

    fn exited(&mut self, h: usize, p: &mut Proc, now: Time, e: Ended) {
        let known = &mut self.hosts[h].haproxy.remembered;
        *known = known.filter(|pid| *pid != e.pid);
        p.node.supervise(now, |s, out, events| {
            s.exited(e.pid, e.exit, now, out, events);
        });
    }

    /// `Daemon::reread`
    fn reread(&mut self, h: usize, p: &mut Proc, t: u64) {
        p.reread_at = None;
        p.netlink.clear();
        p.lost = false;
        if self.hosts[h].netlink_fails > 0 && self.rng.chance(self.hosts[h].netlink_fails) {
            p.reread_at = Some(self.clock(h, t) + std::time::Duration::from_millis(100));
            self.hosts[h].refused = t;
        } else {
            self.dump(h, p, t);
        }
    }

    /// `Daemon::dump`
    fn dump(&mut self, h: usize, p: &mut Proc, t: u64) {
        let now = self.clock(h, t);
        let k = &self.hosts[h].kernel;
        p.node.dump_starts();
        p.node.link(now, &k.link());
        for a in &k.addrs {
            p.node.addr(now, &k.message(now.as_nanos(), a));
        }
        p.node.dump_ends(now, &[ETH0]);
    }

    /// `Netlink::carry_out`
    fn netlink(&mut self, h: usize, p: &Proc, t: u64, ops: Vec<Op>) -> Vec<(Op, i32)> {
        let local = self.clock(h, t).as_nanos();
        let permille = self.hosts[h].netlink_fails;
        let all = self.rng.chance(permille / 2);
        let mut results = Vec::new();
        for mut op in ops {
            let errno = if all || self.rng.chance(permille) {
                libc::ENOBUFS
            } else if self.mutant == Mutant::DropsRemovals && op.kind == OpKind::Remove {
                0
            } else {
                if self.mutant == Mutant::Permanent {
                    op.lease = None;
                }
                let was = self.hosts[h].kernel.has(op.addr);
                let errno = self.hosts[h].kernel.carry_out(local, &op);
                self.changed(h, p, t, &op, was, errno);
                errno
            };
            self.say(h, || format!("{:?} {} {:?}: {errno}", op.kind, op.addr, op.lease));
            if errno == libc::ENOBUFS && op.kind == OpKind::Remove {
                self.hosts[h].refused = t;
            }
            results.push((op, errno));
        }
        self.expire(h, t);
        results
    }
}

/// What the kernel tells.
fn tell(node: &mut Node, now: Time, msg: &Msg) {
    match msg {
        Msg::Link(l) => node.link(now, l),
        Msg::Addr(a) => node.addr(now, a),
        Msg::AddrGone(a) => node.addr_gone(now, a),
        _ => {}
    }
}
