//! Two nodes, their kernels and the network between them.

use crate::rules::Facts;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;
use vipd::base::time::Time;
use vipd::config::{Config, schema};
use vipd::lease::{OpKind, TAG};
use vipd::node::fence::Op;
use vipd::node::{Clocks, Effect, Memory, Node, SETTLE, Step, TURN};
use vipd::wire::rtnl::{Addr, IfName, Link};

pub const INTERVAL: Duration = Duration::from_secs(1);
/// One step of time.
pub const STEP: Duration = Duration::from_millis(250);
pub const TICK: Duration = Duration::from_millis(4);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 230);
const ETH0: u32 = 2;
/// Priorities of the two, and what a change makes of them.
const PRIORITIES: [[u8; 2]; 2] = [[200, 50], [100, 250]];

/// Rules that are broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    #[default]
    None,
    /// A lease is not closed.
    NeverCloses,
    /// It is a tick too long.
    TermTooLong,
    /// More is made of what was left of one.
    RestTooLong,
    /// Every start takes itself for a master's, with a whole lease.
    RemembersTooMuch,
    /// Timers fire an interval early.
    Impatient,
    /// They are acted on before the socket is read.
    TimersFirst,
    /// Nobody preempts.
    Meek,
    /// A master does not hear.
    Deaf,
    /// Removals are reported as done, and are not.
    DropsRemovals,
    /// The state file is ignored.
    Forgets,
}

impl Rule {
    pub const ALL: &[(&str, Rule, &str)] = &[
        ("never-closes", Rule::NeverCloses, "answers"),
        ("term-too-long", Rule::TermTooLong, "outlasts"),
        ("rest-too-long", Rule::RestTooLong, "outlasts"),
        ("remembers-too-much", Rule::RemembersTooMuch, "outlasts"),
        ("impatient", Rule::Impatient, "still answers"),
        ("timers-first", Rule::TimersFirst, "although"),
        ("meek", Rule::Meek, "at rest"),
        ("deaf", Rule::Deaf, "at rest"),
        ("drops-removals", Rule::DropsRemovals, "still has"),
        ("forgets", Rule::Forgets, "does not resume"),
    ];
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Deliver(usize),
    Lose(usize),
    Delay(usize),
    Run(usize),
    Kill(usize),
    Start(usize),
    Stop(usize),
    Continue(usize),
    LinkDown(usize),
    LinkUp(usize),
    Priority(usize),
    Advance,
}

impl Action {
    pub fn is_advance(self) -> bool {
        self == Action::Advance
    }

    fn is_fault(self) -> bool {
        use Action::*;
        matches!(self, Lose(_) | Delay(_) | Kill(_) | Stop(_) | LinkDown(_) | Priority(_))
    }
}

/// An advert.
#[derive(Clone, Debug)]
pub struct Advert {
    pub from: usize,
    pub priority: u8,
    /// Number of its sender's adverts.
    pub id: u32,
    delayed: bool,
    bytes: Rc<[u8]>,
}

#[derive(Clone, Debug)]
enum Told {
    Link(bool),
    VipGone,
}

/// One machine.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub node: Option<Node>,
    cfg: Option<Rc<Config>>,
    pub up: bool,
    pub stopped: bool,
    inbox: Vec<Advert>,
    told: Vec<Told>,
    /// The end of the VIP's lifetime.
    pub vip: Option<Time>,
    /// The end of its lease in nf_tables, and what an advert gives.
    pub lease: Option<Time>,
    term: Duration,
    /// Its state file says master.
    pub remembered: bool,
    changed: bool,
    pub facts: Facts,
    digest: u64,
}

#[derive(Clone, Debug, Default)]
pub struct State {
    pub now: Time,
    pub hosts: [Rc<Host>; 2],
    net: Vec<Advert>,
    faults: u32,
    pub rule: Rule,
    pub violation: Option<String>,
    path: Option<Rc<Path>>,
}

/// How a state was reached.
#[derive(Debug)]
struct Path {
    now: Time,
    action: Action,
    before: Option<Rc<Path>>,
}

fn config(priority: u8) -> Rc<Config> {
    let text = format!(
        "[vrrp V]\ninterface = eth0\nvirtual_router_id = 51\npriority = {priority}\nversion = 3\n\
         virtual_ipaddress = {VIP}/24\n"
    );
    Rc::new(schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0)
}

fn primary(h: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 30, 10 + h as u8)
}

fn link(h: usize, running: bool) -> Link {
    Link {
        seq: 0,
        ifindex: ETH0,
        name: IfName::from_bytes(b"eth0"),
        up: true,
        running,
        mac: Some([2, 0, 0, 0, 0, h as u8]),
        moved: false,
        macvlan_of: None,
        is_port: false,
        group: 0,
        mtu: 1500,
    }
}

fn addr(ip: Ipv4Addr, prefix: u8, valid: Option<Duration>) -> Addr {
    let seconds = valid.map_or(u32::MAX, |d| d.as_secs() as u32);
    Addr {
        seq: 0,
        ifindex: ETH0,
        addr: IpAddr::V4(ip),
        prefix,
        scope: 0,
        flags: 0,
        proto: valid.map(|_| TAG),
        valid: seconds,
        preferred: seconds,
        tstamp: 0,
        label: None,
    }
}

/// Whole ticks.
fn ticks(d: Duration) -> Duration {
    TICK * (d.as_millis() / TICK.as_millis()).max(1) as u32
}

impl State {
    /// Both run, and the better one has been master for a while.
    pub fn new(rule: Rule, faults: u32) -> State {
        let mut s = State { now: Time::from_nanos(100_000_000_000), rule, ..State::default() };
        for (h, [priority, _]) in PRIORITIES.iter().enumerate() {
            let host = Host { cfg: Some(config(*priority)), up: true, ..Host::default() };
            s.hosts[h] = Rc::new(host);
            s.start(h);
            s.hash(h);
        }
        while s.now.as_nanos() < 105_000_000_000 && s.violation.is_none() {
            let action = s.lawful().unwrap_or(Action::Advance);
            s.take(action);
        }
        s.faults = faults;
        s
    }

    fn host(&mut self, h: usize) -> &mut Host {
        Rc::make_mut(&mut self.hosts[h])
    }

    fn has_work(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let Some(node) = host.node.as_ref().filter(|_| !host.stopped) else { return false };
        !host.inbox.is_empty()
            || !host.told.is_empty()
            || node.deadline(self.now).is_some_and(|t| t <= self.now)
    }

    /// What has to happen next if nothing goes wrong.
    pub fn lawful(&self) -> Option<Action> {
        let advert = (0..self.net.len()).find(|i| !self.net[*i].delayed).map(Action::Deliver);
        let run = || (0..2).find(|h| self.has_work(*h)).map(Action::Run);
        Some(advert.or_else(run).unwrap_or(Action::Advance))
    }

    /// All that can happen next.
    pub fn actions(&self) -> Vec<Action> {
        use Action::*;
        let mut all = Vec::new();
        for (i, a) in self.net.iter().enumerate() {
            all.push(Lose(i));
            if !a.delayed {
                all.extend([Deliver(i), Delay(i)]);
            }
        }
        for (h, host) in self.hosts.iter().enumerate() {
            if self.has_work(h) {
                all.push(Run(h));
            }
            all.push(if host.up { LinkDown(h) } else { LinkUp(h) });
            match (&host.node, host.stopped) {
                (None, _) => all.push(Start(h)),
                (Some(_), true) => all.push(Continue(h)),
                (Some(_), false) => all.extend([Kill(h), Stop(h), Priority(h)]),
            }
        }
        all.retain(|a| self.faults > 0 || !a.is_fault());
        if self.lawful() == Some(Advance) {
            all.push(Advance);
        }
        all
    }

    pub fn take(&mut self, action: Action) {
        self.path = Some(Rc::new(Path { now: self.now, action, before: self.path.take() }));
        self.faults -= u32::from(action.is_fault());
        match action {
            Action::Lose(i) => drop(self.net.remove(i)),
            Action::Delay(i) => self.net[i].delayed = true,
            Action::Deliver(i) => {
                let a = self.net.remove(i);
                let to = 1 - a.from;
                if self.hosts[to].up && self.hosts[to].node.is_some() {
                    self.heard(to, &a);
                    self.host(to).inbox.push(a);
                }
            }
            Action::Run(h) => self.run(h),
            Action::Kill(h) => {
                let host = self.host(h);
                (host.node, host.stopped) = (None, false);
                host.inbox.clear();
                host.told.clear();
            }
            Action::Start(h) => self.start(h),
            Action::Stop(h) => self.host(h).stopped = true,
            Action::Continue(h) => self.host(h).stopped = false,
            Action::LinkDown(h) | Action::LinkUp(h) => {
                let up = action == Action::LinkUp(h);
                let host = self.host(h);
                host.up = up;
                if host.node.is_some() {
                    host.told.push(Told::Link(up));
                }
                if !up {
                    host.facts.forget();
                }
            }
            Action::Priority(h) => self.change_priority(h),
            Action::Advance => {
                self.now += STEP;
                self.net.iter_mut().for_each(|a| a.delayed = false);
                for h in 0..2 {
                    if self.hosts[h].vip.is_some_and(|end| self.now >= end) {
                        let host = self.host(h);
                        host.vip = None;
                        host.told.push(Told::VipGone);
                    }
                }
            }
        }
        (0..2).for_each(|h| self.hash(h));
        self.nobody_answers_twice();
    }

    /// All faults are over.
    pub fn mend(&mut self) {
        self.faults = 0;
        for h in 0..2 {
            if self.hosts[h].stopped {
                self.take(Action::Continue(h));
            }
            if !self.hosts[h].up {
                self.take(Action::LinkUp(h));
            }
            if self.hosts[h].node.is_none() {
                self.take(Action::Start(h));
            }
        }
    }

    fn change_priority(&mut self, h: usize) {
        let now = self.now;
        let host = self.host(h);
        let Some(node) = host.node.as_mut().filter(|n| n.may_reconfigure()) else { return };
        host.changed = !host.changed;
        let new = config(PRIORITIES[h][usize::from(host.changed)]);
        if let Some(old) = host.cfg.replace(new.clone()) {
            node.reconfigure(&old, &new, now);
        }
        host.facts.forget();
        self.play(h, SETTLE);
    }

    fn start(&mut self, h: usize) {
        let (now, rule) = (self.now, self.rule);
        let host = self.host(h);
        let Some(cfg) = host.cfg.clone() else { return };
        let mut node = Node::new(&cfg, now);
        node.set_wall_clock(now, Duration::from_secs(1_800_000_000));
        node.dump_starts();
        node.link(now, &link(h, host.up));
        node.addr(now, &addr(primary(h), 24, None));
        if let Some(end) = host.vip {
            node.addr(now, &addr(VIP, 32, Some(end.since(now))));
        }
        node.dump_ends(now, &[ETH0]);
        node.routers[0].machine.params.preempt &= rule != Rule::Meek;
        node.set_fence(Some(TICK));
        let remembered = match rule {
            Rule::Forgets => false,
            Rule::RemembersTooMuch => true,
            _ => host.remembered,
        };
        let left = host.lease.filter(|end| now < *end).map(|end| end.since(now));
        let left = match rule {
            Rule::RestTooLong => left.map(|left| left + INTERVAL),
            Rule::RemembersTooMuch => Some(INTERVAL * 3),
            _ => left,
        };
        let due = remembered && rule != Rule::RemembersTooMuch || rule == Rule::Forgets && host.remembered;
        let due = due && host.up && left.is_some_and(|left| left > TICK * 3);
        if let Some(left) = left.filter(|_| remembered) {
            node.lease_found(0, now, left);
        }
        host.facts.forget();
        host.node = Some(node);
        self.effects(h);
        self.fence(h, Op::Replace);
        self.lease_ends_in_time(h, true);
        if let Some(node) = &mut self.host(h).node {
            node.begin(now, &[remembered]);
        }
        self.play(h, SETTLE);
        if due && !self.is_master(h) {
            self.fail(h, "does not resume although its lease was running");
        }
    }

    /// One turn.
    fn run(&mut self, h: usize) {
        if self.rule == Rule::TimersFirst {
            self.step(h, Step::Tick);
        }
        self.step(h, Step::CheckStall);
        let now = self.now;
        let deaf = self.rule == Rule::Deaf && self.is_master(h);
        let host = self.host(h);
        let (told, inbox) = (std::mem::take(&mut host.told), std::mem::take(&mut host.inbox));
        if let Some(node) = &mut host.node {
            for t in told {
                match t {
                    Told::Link(up) => node.link(now, &link(h, up)),
                    Told::VipGone => node.addr_gone(now, &addr(VIP, 32, Some(Duration::ZERO))),
                }
            }
            inbox.iter().filter(|_| !deaf).for_each(|a| node.packet(now, 0, &a.bytes));
        }
        self.effects(h);
        self.play(h, SETTLE);
        self.turn_ends(h);
    }

    fn play(&mut self, h: usize, steps: &[Step]) {
        for step in steps.iter().filter(|s| !matches!(s, Step::CheckStall | Step::Read)) {
            self.step(h, *step);
        }
        debug_assert!(TURN.len() > SETTLE.len());
    }

    fn step(&mut self, h: usize, step: Step) {
        let fresh = self.now;
        let early = self.rule == Rule::Impatient && step == Step::Tick;
        let turn = if early { fresh + INTERVAL } else { fresh };
        if let Some(node) = &mut self.host(h).node {
            node.run(step, Clocks { turn, fresh });
            while step == Step::Log && node.next_event().is_some() {}
        }
        self.effects(h);
    }

    fn effects(&mut self, h: usize) {
        while let Some(e) = self.host(h).node.as_mut().and_then(Node::next_effect) {
            self.carry_out(h, e);
        }
    }

    fn carry_out(&mut self, h: usize, effect: Effect) {
        let (now, rule) = (self.now, self.rule);
        let up = self.hosts[h].up;
        let host = self.host(h);
        let Some(node) = &mut host.node else { return };
        match effect {
            Effect::Open { link, .. } if up => node.opened(now, link),
            Effect::Open { link, .. } => node.open_failed(now, link, libc::ENETDOWN),
            Effect::Advert { router, priority, decided } => {
                let may = node.may_advertise(router, priority, decided, now);
                if may {
                    self.advert(h, priority);
                }
            }
            Effect::Fence(op) => self.fence(h, op),
            Effect::Addrs(mut ops) => {
                node.addrs.keep_valid(&mut ops, now);
                for op in &ops {
                    match op.kind {
                        OpKind::Remove if rule == Rule::DropsRemovals => {}
                        OpKind::Remove => host.vip = None,
                        _ => host.vip = op.lease.map(|s| now + Duration::from_secs(s.into())),
                    }
                }
                let results: Vec<_> = ops.into_iter().map(|op| (op, 0)).collect();
                node.addrs_done(now, now, &results);
            }
            Effect::Remember { memory: Memory::Sequence, .. } => {}
            Effect::Remember { memory, .. } => host.remembered = memory == Memory::Master,
            Effect::Reread => {
                let vip = host.vip;
                node.dump_starts();
                node.link(now, &link(h, up));
                node.addr(now, &addr(primary(h), 24, None));
                if let Some(end) = vip {
                    node.addr(now, &addr(VIP, 32, Some(end.since(now))));
                }
                node.dump_ends(now, &[ETH0]);
            }
            _ => {}
        }
    }

    fn fence(&mut self, h: usize, op: Op) {
        let (now, rule) = (self.now, self.rule);
        let host = self.host(h);
        let Some(node) = &mut host.node else { return };
        match op {
            Op::Replace => {
                let (plan, rests) = node.fence_plan(now);
                if let Some((router, rest)) = plan.routers.first().zip(rests.first()) {
                    host.term = ticks(Duration::from_millis(router.term));
                    host.term += if rule == Rule::TermTooLong { TICK } else { Duration::ZERO };
                    host.lease = rest.map(|ms| now + ticks(Duration::from_millis(ms)));
                }
            }
            Op::Open { router, decided, .. } => {
                let left = node.lease_left(router, now);
                if let Some(left) = left.filter(|_| node.may_open(router, decided, now)) {
                    host.lease = Some(now + ticks(left));
                }
            }
            Op::Extend { until, .. } if host.lease.is_some_and(|end| now < end) => {
                host.lease = Some(now + ticks(until.since(now)));
            }
            Op::Extend { .. } => {}
            Op::Close { .. } if rule == Rule::NeverCloses => {}
            Op::Close { .. } => host.lease = None,
        }
        self.lease_ends_in_time(h, false);
    }

    fn advert(&mut self, h: usize, priority: u8) {
        let now = self.now;
        let host = self.host(h);
        let Some(node) = &mut host.node else { return };
        let mut bytes = Vec::new();
        if !host.up || node.encode_advert(0, priority, 0, now, &mut bytes).is_none() {
            node.send_failed(0, 0, now, libc::ENETDOWN);
            return node.unsent(0, now);
        }
        if priority != 0 {
            let open = |host: &Host| host.lease.is_some_and(|end| now < end);
            let mut host = (*self.hosts[h]).clone();
            if !open(&host) {
                let Some(rest) = host.node.as_mut().and_then(|n| n.lapsed(0, now)) else {
                    self.hosts[h] = Rc::new(host);
                    return;
                };
                host.lease = Some(now + ticks(rest));
            }
            host.lease = Some(now + host.term);
            self.hosts[h] = Rc::new(host);
        }
        let id = self.advertises(h, priority);
        self.net.push(Advert { from: h, priority, id, delayed: false, bytes: bytes.into() });
        if let Some(node) = &mut self.host(h).node {
            node.sent(0, priority, now);
        }
        self.lease_ends_in_time(h, false);
    }

    pub fn is_master(&self, h: usize) -> bool {
        self.hosts[h].node.as_ref().is_some_and(|n| n.routers[0].is_master())
    }

    // ---- what tells states apart ----

    fn hash(&mut self, h: usize) {
        if Rc::strong_count(&self.hosts[h]) > 1 {
            return; // shared, so it has not changed
        }
        let now = self.now;
        let host = self.host(h);
        let mut d = Digest(DefaultHasher::new());
        let _ = write!(
            d,
            "{} {} {:?} {:?} {:?} {} {} {:?} {:?}",
            host.up,
            host.stopped,
            host.vip,
            host.lease,
            host.term,
            host.remembered,
            host.changed,
            host.facts,
            host.told
        );
        for a in &host.inbox {
            let _ = write!(d, "{} {}", a.priority, a.id);
        }
        if let Some(n) = &host.node {
            let r = &n.routers[0];
            let _ = write!(
                d,
                "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
                r.machine,
                r.announcer,
                r.unsent,
                r.hold,
                r.outranked,
                r.faults,
                r.refused,
                r.last_advert,
                (r.since, r.why),
                (r.may_resume, r.flap_until, r.lease),
                n.addrs,
                n.links[0].running,
                n.deadline(now)
            );
        }
        host.digest = d.0.finish();
    }

    pub fn digest(&self) -> u64 {
        let mut d = DefaultHasher::new();
        d.write_u64(self.now.as_nanos());
        d.write_u32(self.faults);
        self.hosts.iter().for_each(|h| d.write_u64(h.digest));
        for a in &self.net {
            d.write_u64(
                u64::from(a.id) << 16
                    | u64::from(a.priority) << 8
                    | u64::from(a.delayed) << 1
                    | a.from as u64,
            );
        }
        d.finish()
    }

    pub fn fail(&mut self, h: usize, what: &str) {
        let at = self.now.as_nanos() / 1_000_000;
        self.violation.get_or_insert_with(|| format!("{at} ms: node{h} {what}"));
    }

    /// The violation, and how it came to that.
    pub fn told(&self) -> String {
        let mut lines = Vec::new();
        let mut at = self.path.as_ref();
        while let Some(p) = at {
            lines.push(format!("{} ms {:?}", p.now.as_nanos() / 1_000_000, p.action));
            at = p.before.as_ref();
        }
        lines.reverse();
        let from = lines.len().saturating_sub(60);
        format!("{}\n{}", self.violation.as_deref().unwrap_or_default(), lines[from..].join("\n"))
    }
}

struct Digest(DefaultHasher);

impl Write for Digest {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.0.write(s.as_bytes());
        Ok(())
    }
}
