//! One vipd process: `daemon.rs` step by step, in the same order, so that it can stand still between any two
//! of them. Each `clock::now()` of the daemon is one read of `World::clock` here.
//!
//! What the daemon does in one go is a [`Stage`]; what it does between two reads of the clock, or between a
//! check and the system call that it is for, is a [`Half`].

mod calls;

use crate::check::Facts;
use crate::fence::Call;
use crate::haproxy::Ended;
use crate::mutant::Mutant;
use crate::plan::{MS, US};
use crate::world::{Ev, World};
use std::collections::VecDeque;
use std::rc::Rc;
use vipd::base::time::{Time, earlier};
use vipd::haproxy::supervisor;
use vipd::lease::Op;
use vipd::node::{Clocks, Effect, Memory, Node, SETTLE, Step, TURN};
use vipd::wire::nft;
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
    Fence,
    Adopt,
    EarlyRead,
    Begin,
    // turn: a step of `TURN`, and its effects
    Step(usize),
    Effects(usize),
    Read,
    Reread,
    /// `is_takeover_due`
    Overdue,
    Jobs,
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
    /// Somebody has changed tables.
    Fence,
}

/// The second half of something: this process may stand still before it.
#[derive(Debug)]
pub enum Half {
    /// `again`: what the kernel has refused once.
    Send {
        router: usize,
        priority: u8,
        before: Time,
        again: Option<Vec<u8>>,
    },
    Sent {
        router: usize,
        priority: u8,
        before: Time,
        errno: i32,
    },
    Carry {
        ops: Vec<Op>,
        before: Time,
    },
    Carried {
        results: Vec<(Op, i32)>,
        before: Time,
    },
    Announce {
        entry: usize,
    },
    Fence(Call),
    /// A lease is opened with what is left of it, for an advert that was refused.
    Reopen {
        router: usize,
        ms: u64,
        priority: u8,
        before: Time,
        bytes: Vec<u8>,
    },
    Drain {
        source: Source,
        now: Time,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Term,
    Child(Ended),
}

/// What somebody at the keyboard asks for; done when a turn is over, as in `Daemon::serve_jobs`.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    Resign {
        router: usize,
        no_preempt_for: u64,
        force: bool,
    },
    /// A reload.
    Priority {
        router: usize,
        priority: u8,
    },
}

pub struct Proc {
    pub node: Node,
    pub jobs: VecDeque<Job>,
    pub stage: Stage,
    pub half: Option<Half>,
    pub open: bool,
    pub vrrp: VecDeque<Rc<Packet>>,
    pub forged: VecDeque<Rc<[u8]>>,
    /// The last adverts that it read.
    pub heard: VecDeque<Rc<Packet>>,
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
    pub remembered: Vec<bool>,
    /// What the tables of the leases are made of.
    pub tables: nft::Plan,
    pub flushed: bool,
    pub late_closes: Vec<Call>,
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
            Source::Vrrp => !self.vrrp.is_empty() || !self.forged.is_empty(),
            Source::Arp => !self.arp.is_empty(),
            Source::Probe => matches!(self.probe, Some((_, Some(_)))),
            Source::Pidfd => self.pidfd.is_some(),
            Source::Fence => self.is_flushed(s),
        }
    }

    pub fn is_any_ready(&self) -> bool {
        SOURCES.iter().any(|s| self.is_ready(*s))
    }
}

/// Where `SETTLE` begins.
const SETTLED: usize = TURN.len() - SETTLE.len();

const SOURCES: [Source; 7] = [
    Source::Netlink,
    Source::Fence,
    Source::Signals,
    Source::Vrrp,
    Source::Arp,
    Source::Probe,
    Source::Pidfd,
];

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
        self.hosts[h].facts.iter_mut().for_each(Facts::clear_refusals);
        let now = self.clock(h, self.now);
        let due = self.due(h);
        let node = Node::new(&self.plan.machines[h].cfg, now);
        let host = &mut self.hosts[h];
        host.upset = self.now;
        let mut p = Proc {
            node,
            jobs: VecDeque::new(),
            stage: Stage::Dump,
            half: None,
            open: false,
            vrrp: VecDeque::new(),
            forged: VecDeque::new(),
            heard: VecDeque::new(),
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
            tables: nft::Plan::default(),
            flushed: false,
            late_closes: Vec::new(),
            read_at: now,
            started: self.now,
            first_turn: true,
            due,
        };
        for (i, v) in p.node.routers.iter_mut().enumerate() {
            if let Some(priority) = host.priorities[i] {
                std::rc::Rc::make_mut(&mut v.cfg).priority = priority;
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
            p.stage = Stage::Step(0);
            if p.turns.0 != t / (100 * MS) {
                p.turns = (t / (100 * MS), 0);
            }
            p.turns.1 += 1;
            if p.turns.1 > 400 {
                self.fail(h, "spins: 400 turns in 0.1 s".into());
            }
        }
        while p.stage != Stage::Wait && !p.exit && self.violation.is_none() {
            if let Some((0, time)) = p.stall {
                p.stall = None;
                p.still = t + time;
                p.caught = matches!(
                    p.half,
                    Some(Half::Carry { .. } | Half::Send { .. } | Half::Fence(_) | Half::Reopen { .. })
                );
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
            self.remove_fence(h, &p, t);
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
            DumpEffects | Effects(_) => match (p.node.next_effect(), p.stage) {
                (Some(e), _) => {
                    self.carry_out(h, p, t, e);
                    return;
                }
                (None, Effects(i)) if i + 1 < TURN.len() => Step(i + 1),
                (None, Effects(_)) => Jobs,
                (None, _) => Fence,
            },
            Dump => {
                p.node.set_wall_clock(now, self.wall(h, t));
                self.dump(h, p, t);
                DumpEffects
            }
            Fence => {
                p.remembered = self.hosts[h].memory.iter().map(|m| *m == Some(Memory::Master)).collect();
                match m {
                    Mutant::ForgetsMastership => p.remembered.fill(false),
                    Mutant::RemembersTooMuch => p.remembered.fill(true),
                    _ => {}
                }
                self.open_fence(h, p, t);
                Adopt
            }
            Adopt => {
                // `Service::adopt`, then the state files
                let running = self.hosts[h].haproxy.process.map(|x| x.pid);
                let known = self.hosts[h].haproxy.remembered;
                if let Some(pid) = known.filter(|pid| running == Some(*pid)) {
                    p.node.supervise(now, supervisor::Input::Adopted { pid, copy: false });
                }
                for (r, file) in p.node.routers.iter_mut().zip(&self.hosts[h].sequences) {
                    r.auth.restore(file.as_deref());
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
                Step(SETTLED)
            }
            Step(i) => self.turn_step(h, p, t, i),
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
                Effects(SETTLED - 1)
            }
            Jobs => {
                if self.serve_job(h, p, now) {
                    Step(SETTLED)
                } else {
                    Wait
                }
            }
            Wait => Wait,
        };
    }

    /// One step of `TURN`.
    fn turn_step(&mut self, h: usize, p: &mut Proc, t: u64, i: usize) -> Stage {
        let fresh = self.clock(h, t);
        let m = self.mutant;
        let mut turn = p.read_at;
        match TURN[i] {
            Step::CheckStall => {
                (p.read_at, turn) = (fresh, fresh);
                p.node.set_wall_clock(fresh, self.wall(h, t));
                if m == Mutant::TimersBeforeSockets {
                    p.node.run(Step::Tick, Clocks { turn, fresh });
                }
                if m == Mutant::Sleepwalks {
                    return Stage::Effects(i);
                }
            }
            Step::Read => return Stage::Read,
            Step::Tick if m == Mutant::Impatient => turn = fresh + std::time::Duration::from_secs(1),
            Step::Tick if m == Mutant::LateClock => turn = fresh,
            Step::Log => {
                while let Some(e) = p.node.next_event() {
                    self.told(h, p, &e, t);
                }
            }
            _ => {}
        }
        p.node.run(TURN[i], Clocks { turn, fresh });
        Stage::Effects(i)
    }

    /// `Daemon::serve_jobs`: whether anything was done.
    fn serve_job(&mut self, h: usize, p: &mut Proc, now: Time) -> bool {
        let stopping = p.node.is_stopping();
        match p.jobs.front().copied().filter(|_| !stopping) {
            Some(Job::Resign { router, no_preempt_for, force }) => {
                let name = p.node.routers[router].cfg.name.clone();
                p.node.resign(Some(&name), std::time::Duration::from_nanos(no_preempt_for), force, now);
            }
            Some(Job::Priority { router, priority }) if p.node.may_reconfigure() => {
                let mut old = self.plan.machines[h].cfg.clone();
                old.vrrp = p.node.routers.iter().map(|i| i.cfg.clone()).collect();
                let mut new = old.clone();
                std::rc::Rc::make_mut(&mut new.vrrp[router]).priority = priority;
                p.node.reconfigure(&old, &new, now);
                self.forget_heard(h, Some(router));
            }
            _ => return false,
        }
        p.jobs.pop_front();
        true
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
                p.forged.clear();
                p.arp.clear();
            }
            Effect::Advert { router, priority, decided } => {
                if m == Mutant::Sleepwalks || p.node.may_advertise(router, priority, decided, now) {
                    p.half = Some(Half::Send { router, priority, before: now, again: None });
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
            Effect::Fence(op) => self.fence(h, p, t, op),
            // Of a reload, which is not simulated.
            Effect::DisconnectVip { .. } | Effect::Forget { .. } | Effect::NewService => {}
            // And no virtual MAC.
            Effect::Vmac { .. } | Effect::Unmake { .. } | Effect::UnmakeAll => {}
            Effect::Probe { .. } | Effect::AnnounceSource { .. } | Effect::ForgetUnanswered { .. } => {}
            Effect::Announce { entry } => {
                if p.node.may_announce(entry, now) {
                    p.half = Some(Half::Announce { entry });
                }
            }
            Effect::Remember { router, memory: Memory::Sequence } => {
                self.hosts[h].sequences[router] = Some(p.node.routers[router].auth.render());
            }
            Effect::Remember { router, memory } => {
                self.hosts[h].memory[router] = (memory != Memory::Nothing).then_some(memory);
            }
            Effect::Reread => self.reread(h, p, t),
            Effect::Haproxy(supervisor::Action::Spawn { .. }) if !p.node.may_spawn() => {}
            Effect::Haproxy(action) => self.service(h, p, t, action),
            // The simulated configurations have neither.
            Effect::Hook(_) | Effect::Mail(_) => {}
            Effect::Exit(_) => p.exit = true,
        }
    }
}
