//! A node in virtual time: effects are carried out at once by a pretended kernel and network.

mod addresses;
mod composed;
mod farewell;
mod fenced;
mod flood;
mod groups;
mod handover;
mod heard;
mod ipv6;
mod leases;
mod links;
mod notify;
mod reload;
mod renewals;
mod resign;
mod resume;
mod service;
mod status;
mod tracking;
mod transport;
mod unsent;
mod vmac;

use super::*;
use crate::base::exit::Exit;
use crate::check;
use crate::config::schema;
use crate::haproxy::show_info::Info;
use crate::haproxy::supervisor::{self, Supervisor};
use crate::lease::{Op, OpKind, TAG};
use crate::notify::{hook, outbox};
use crate::vrrp::authentication::Authentication;
use crate::vrrp::machine::{Input, Kind, Why};
use crate::vrrp::packet::{Outgoing, encode};
use crate::wire::arp::Arp;
use crate::wire::nft;
use crate::wire::rtnl::{self, IfName, Link as RtnlLink};
use crate::wire::vrrp::GROUP_V4;
use crate::wire::vrrp::GROUP_V6;
use crate::wire::vrrp::IpInfo;
use crate::wire::vrrp::PROTOCOL;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 230);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 117);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ETH0: u32 = 2;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn config(text: &str) -> Config {
    schema::parse(text).unwrap_or_else(|e| panic!("{e:?}")).0
}

/// One virtual router; `more` goes into its section.
fn one(more: &str) -> Config {
    config(&format!(
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n{more}\n"
    ))
}

fn with_haproxy(more: &str) -> Config {
    config(&format!(
        "[haproxy]\nkeep_listeners = no\n[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\n\
         virtual_ipaddress = 192.168.30.230/24\n{more}\n"
    ))
}

/// What was done, in order, as far as the tests care.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Advert(usize, u8),
    Add(usize, Option<u32>),
    Renew(usize),
    Remove(usize),
    Fence(fence::Op),
    Announce(usize),
    AnnounceSource(usize),
    ForgetUnanswered(u32),
    Remember(Memory),
    Haproxy(supervisor::Action),
    Check(usize, check::Action),
    Reread,
    Hook(hook::Action),
    Mail(outbox::Action),
    Vmac(VmacOp),
    /// 0: all of ours.
    Unmake(u32),
    Exit(u8),
}

struct World {
    node: Node,
    now: Time,
    did: Vec<(Time, Did)>,
    events: Vec<Event>,
    /// For each VIP in the kernel: when its lease was last started, and its length.
    kernel: Vec<(usize, Time, Option<u32>)>,
    last_advert: Vec<Option<Time>>,
    sends_fail: bool,
    /// How often connections were reset.
    resets: usize,
    /// VIPs in the kernel that the node does not know of.
    there: Vec<rtnl::Addr>,
    /// Addresses that nobody here added, and interfaces beside eth0.
    others: Vec<rtnl::Addr>,
    more_links: Vec<u32>,
    /// How much later than its deadline each turn begins.
    lateness: Box<dyn FnMut() -> Duration>,
    /// This process stands still in the middle of a turn.
    pause_before_advert: Option<Duration>,
    /// Checked at each renewal: now + L + e <= last advert + N × I.
    theorem: bool,
    /// What the kernel has, whoever of ours it is.
    present: std::collections::BTreeSet<IpAddr>,
    forgotten: Vec<String>,
    new_services: u32,
    /// What the kernel tells of our own doing with IPv6 addresses is not read yet.
    worker_is_slow: bool,
    /// Sizes of the batches of address operations, and a pause ahead of the second one.
    batches: Vec<usize>,
    pause_before_second_batch: Option<Duration>,
    /// This process stands still in the next batch.
    pause_in_batch: Option<Duration>,
    /// How long a batch takes.
    batch_time: Duration,
    /// The addresses that every dump finds.
    own: Vec<rtnl::Addr>,
    /// The macvlans that exist, and how the kernel answers about them.
    macvlans: Vec<RtnlLink>,
    macvlan_errno: i32,
    /// Of before 5.18: nothing that it tells has a tag.
    old_kernel: bool,
    /// How it answers to every new address.
    add_errno: i32,
    /// The tables of the leases as they were last replaced.
    plan: (nft::Plan, Vec<Option<u64>>),
}

impl World {
    fn new(cfg: &Config) -> Self {
        let now = Time::from_nanos(101_234_567_890);
        let mut w = World {
            node: Node::new(cfg, now),
            now,
            did: Vec::new(),
            events: Vec::new(),
            kernel: Vec::new(),
            last_advert: vec![None; cfg.vrrp.len()],
            sends_fail: false,
            resets: 0,
            there: Vec::new(),
            others: Vec::new(),
            more_links: Vec::new(),
            lateness: Box::new(|| Duration::ZERO),
            pause_before_advert: None,
            theorem: false,
            present: Default::default(),
            forgotten: Vec::new(),
            new_services: 0,
            worker_is_slow: false,
            batches: Vec::new(),
            pause_before_second_batch: None,
            pause_in_batch: None,
            batch_time: Duration::ZERO,
            own: vec![addr(Ipv4Addr::new(192, 168, 30, 116), 24, None, u32::MAX)],
            macvlans: Vec::new(),
            macvlan_errno: 0,
            old_kernel: false,
            add_errno: 0,
            plan: Default::default(),
        };
        w.node.dump_starts();
        w.link(true);
        w.node.addr(w.now, &w.own[0].clone());
        w
    }

    fn begin(&mut self, remembered: bool) {
        let links: Vec<u32> = self.node.links.iter().filter_map(|l| l.ifindex).collect();
        self.node.dump_ends(self.now, &links);
        self.effects();
        let all = vec![remembered; self.node.routers.len()];
        self.node.begin(self.now, &all);
        self.settle();
    }

    fn link(&mut self, running: bool) {
        self.node.link(self.now, &RtnlLink { running, ..eth(ETH0, b"eth0") });
    }

    fn eth(&mut self, ifindex: u32, name: &[u8]) {
        self.node.link(self.now, &eth(ifindex, name));
    }

    fn settle(&mut self) {
        self.play(SETTLE);
    }

    fn play(&mut self, steps: &[Step]) {
        let turn = self.now;
        for step in steps {
            self.node.run(*step, Clocks { turn, fresh: self.now });
            self.effects();
            if *step == Step::Log {
                self.events.extend(std::iter::from_fn(|| self.node.next_event()));
            }
        }
    }

    fn effects(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.node.next_event()));
        while let Some(e) = self.node.next_effect() {
            match e {
                Effect::Open { link, .. } => self.node.opened(self.now, link),
                Effect::Close { .. } => {}
                Effect::Advert { router, priority, decided } => {
                    self.now += self.pause_before_advert.take().unwrap_or_default();
                    if !self.node.may_advertise(router, priority, decided, self.now) {
                        continue;
                    }
                    self.did(Did::Advert(router, priority));
                    if self.sends_fail {
                        self.node.send_failed(router, 0, self.now, libc::ENETDOWN);
                        self.node.unsent(router, self.now);
                    } else {
                        self.last_advert[router] = Some(self.now);
                        self.node.sent(router, priority, self.now);
                    }
                }
                Effect::Fence(op) => {
                    if op == fence::Op::Replace {
                        self.plan = self.node.fence_plan(self.now);
                    }
                    self.did(Did::Fence(op));
                }
                Effect::Addrs(ops) => self.addrs(ops),
                Effect::Disconnect { .. } => self.resets += 1,
                Effect::DisconnectVip { .. } => self.resets += 1,
                Effect::Probe { .. } => {}
                Effect::ForgetUnanswered { ifindex } => self.did(Did::ForgetUnanswered(ifindex)),
                Effect::AnnounceSource { router } => self.did(Did::AnnounceSource(router)),
                Effect::Forget { name } => self.forgotten.push(name),
                Effect::NewService => self.new_services += 1,
                Effect::Announce { entry } => self.did(Did::Announce(entry)),
                Effect::Remember { memory, .. } => self.did(Did::Remember(memory)),
                Effect::Haproxy(a) => {
                    self.did(Did::Haproxy(a));
                    if matches!(a, supervisor::Action::Spawn { .. }) {
                        self.node.supervise(self.now, supervisor::Input::Spawned { pid: 77 });
                    }
                }
                Effect::Check { check, action } => self.did(Did::Check(check, action)),
                Effect::Reread => self.reread(),
                Effect::Hook(a) => self.did(Did::Hook(a)),
                Effect::Mail(a) => self.did(Did::Mail(a)),
                Effect::Vmac { link, op } => self.macvlan(link, op),
                Effect::Unmake { ifindex } => self.unmake(ifindex),
                Effect::UnmakeAll => self.unmake(0),
                Effect::Exit(s) => self.did(Did::Exit(s)),
            }
        }
    }

    /// What the kernel has is what was added and not removed, the primary address, and what `there` and
    /// `others` hold.
    fn reread(&mut self) {
        self.did(Did::Reread);
        self.node.dump_starts();
        self.link(true);
        if self.more_links.contains(&3) {
            self.eth(3, b"eth1");
        }
        for l in self.macvlans.clone() {
            self.node.link(self.now, &l);
        }
        let mut all = self.own.clone();
        let (entries, links) = (&self.node.addrs.entries, &self.node.links);
        all.extend(self.kernel.iter().map(|(e, ..)| {
            let e = &entries[*e];
            rtnl::Addr { ifindex: links[e.link].ifindex.unwrap_or(ETH0), ..leased(e.addr) }
        }));
        all.extend(self.there.iter().chain(&self.others).copied());
        for a in all {
            self.node.addr(self.now, &self.told(a));
        }
        let macvlans = self.macvlans.iter().map(|l| l.ifindex);
        let links: Vec<u32> = self.more_links.iter().copied().chain(macvlans).chain([ETH0]).collect();
        self.node.dump_ends(self.now, &links);
    }

    fn addrs(&mut self, mut ops: Vec<Op>) {
        if !self.batches.is_empty() {
            self.now += self.pause_before_second_batch.take().unwrap_or_default();
        }
        self.batches.push(ops.len());
        self.node.addrs.keep_valid(&mut ops, self.now);
        for op in &ops {
            let router = self.node.addrs.entries[op.entry].router;
            self.kernel.retain(|(e, ..)| *e != op.entry);
            match op.kind {
                OpKind::Add if self.add_errno != 0 => {}
                OpKind::Remove => {
                    self.present.remove(&op.addr);
                    self.did(Did::Remove(op.entry));
                }
                kind => {
                    self.present.insert(op.addr);
                    self.did(if kind == OpKind::Add {
                        Did::Add(op.entry, op.lease)
                    } else {
                        Did::Renew(op.entry)
                    });
                    self.kernel.push((op.entry, self.now, op.lease));
                    if let (true, Some(sent), Some(l)) = (self.theorem, self.last_advert[router], op.lease) {
                        let late = crate::config::lease::lateness(l);
                        let i = &self.node.routers[router];
                        if i.hold.is_none() {
                            let ends = self.now + Duration::from_secs(u64::from(l)) + late;
                            assert!(
                                ends <= sent + i.machine.min_down_interval(),
                                "{:?} outlives the backups' patience",
                                op
                            );
                        }
                    }
                }
            }
        }
        let there = !self.there.is_empty();
        let refusal = if there { libc::EEXIST } else { self.add_errno };
        let errno = |op: &Op| if op.kind == OpKind::Add { refusal } else { 0 };
        let results: Vec<(Op, i32)> = ops.into_iter().map(|op| (op.clone(), errno(&op))).collect();
        let before = self.now;
        self.now += self.pause_in_batch.take().unwrap_or_default();
        self.now += self.batch_time;
        self.node.addrs_done(before, self.now, &results);
        for (op, _) in results.iter().filter(|(op, errno)| op.addr.is_ipv6() && *errno == 0) {
            let told = self.told(rtnl::Addr { ifindex: op.ifindex, prefix: op.prefix, ..leased(op.addr) });
            match op.kind {
                _ if self.worker_is_slow => {}
                OpKind::Remove => self.node.addr_gone(self.now, &told),
                _ => self.node.addr(self.now, &told),
            }
        }
    }

    /// As this kernel tells of it.
    fn told(&self, a: rtnl::Addr) -> rtnl::Addr {
        rtnl::Addr { proto: a.proto.filter(|_| !self.old_kernel), ..a }
    }

    fn did(&mut self, d: Did) {
        self.did.push((self.now, d));
    }

    /// Runs to `until` from deadline to deadline.
    fn run_to(&mut self, until: Time) {
        let (mut idle, mut batches) = (0, self.batches.len());
        for _ in 0..100_000 {
            match self.node.deadline(self.now) {
                Some(t) if t <= until => {
                    // A second turn at once may be needed. A third one that carries no addresses on is a busy
                    // loop.
                    let moves = std::mem::replace(&mut batches, self.batches.len()) != self.batches.len();
                    idle = if t <= self.now && !moves { idle + 1 } else { 0 };
                    assert!(idle < 3, "spins: {:?} at {:?}", self.node.routers[0].machine.state(), self.now);
                    self.now = self.now.max(t) + (self.lateness)();
                    self.play(&TURN);
                }
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the node does not come to rest before {until:?}");
    }

    fn run(&mut self, d: Duration) {
        self.run_to(self.now + d);
    }

    fn take(&mut self) -> Vec<Did> {
        self.events.clear();
        std::mem::take(&mut self.did).into_iter().map(|(_, d)| d).collect()
    }

    fn hear(&mut self, src: Ipv4Addr, priority: u8) {
        let bytes = packet(&self.node.routers[0].cfg, src, priority);
        self.node.packet(self.now, 0, &bytes);
        self.effects();
        self.settle();
    }

    fn hear_v6(&mut self, router: usize, src: Ipv6Addr, priority: u8) {
        let (carrier, message) = packet_v6(&self.node.routers[router].cfg, src, priority);
        self.node.packet_v6(self.now, 0, carrier, &message);
        self.effects();
        self.settle();
    }

    fn garp(&mut self, sha: [u8; 6]) {
        let arp = Arp { op: 1, sha, spa: VIP, tha: [0xff; 6], tpa: VIP };
        self.node.arp(self.now, 0, &arp);
        self.settle();
    }

    fn kind(&self) -> Kind {
        self.node.routers[0].machine.kind()
    }

    /// HAProxy answers now; it is not asked again.
    fn ready(&mut self) {
        let state = self.node.haproxy.as_ref().map(Supervisor::state);
        assert!(matches!(state, Some(supervisor::State::Starting { .. })), "not starting");
        let info = Info { version: "2.6".into(), pid: 78 };
        self.node.supervise(self.now, supervisor::Input::Answered { pid: 77, info });
        self.effects();
        self.settle();
    }
}

fn eth(ifindex: u32, name: &[u8]) -> RtnlLink {
    let name = IfName::from_bytes(name);
    RtnlLink {
        seq: 0,
        ifindex,
        name,
        up: true,
        running: true,
        mac: Some(MAC),
        moved: false,
        macvlan_of: None,
        is_port: false,
        group: 0,
        mtu: 1500,
    }
}

/// A VIP as vipd adds it.
fn leased(ip: IpAddr) -> rtnl::Addr {
    addr(ip, if ip.is_ipv4() { 32 } else { 128 }, Some(TAG), 2)
}

fn addr(ip: impl Into<IpAddr>, prefix: u8, proto: Option<u8>, valid: u32) -> rtnl::Addr {
    rtnl::Addr {
        seq: 0,
        ifindex: ETH0,
        addr: ip.into(),
        prefix,
        scope: 0,
        flags: 0,
        proto,
        valid,
        preferred: valid,
        tstamp: 0,
        label: None,
    }
}

/// What an advert is without the headers in front.
fn message(cfg: &config::Vrrp, src: IpAddr, dst: IpAddr, priority: u8) -> Vec<u8> {
    let vips: Vec<IpAddr> = cfg.vips.iter().map(|v| v.addr).collect();
    let o = Outgoing {
        version: cfg.version,
        vrid: cfg.vrid,
        interval: cfg.advert_int,
        vips: &vips,
        src,
        dst,
        v3_checksum_as_v2: false,
    };
    let mut out = Vec::new();
    encode(&mut out, &o, &Authentication::new(&cfg.auth).fields(), priority);
    out
}

fn packet(cfg: &config::Vrrp, src: Ipv4Addr, priority: u8) -> Vec<u8> {
    let message = message(cfg, src.into(), GROUP_V4.into(), priority);
    let mut out = Vec::new();
    crate::wire::ipv4::header(&mut out, src, GROUP_V4, 1, PROTOCOL, message.len() as u16);
    out.extend(message);
    out
}

fn packet_v6(cfg: &config::Vrrp, src: Ipv6Addr, priority: u8) -> (IpInfo, Vec<u8>) {
    let carrier = IpInfo { src: src.into(), dst: GROUP_V6.into(), ttl: 255 };
    (carrier, message(cfg, carrier.src, carrier.dst, priority))
}

/// Runs it until it is master.
fn elected(mut w: World) -> World {
    w.begin(false);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

fn master(cfg: &Config) -> World {
    elected(World::new(cfg))
}

/// Answers every question of the supervisor, but for those while `hung`.
fn serve(w: &mut World, d: Duration, hung: bool) {
    let end = w.now + d;
    while w.now < end {
        let step = w.node.deadline(w.now).map_or(end, |t| t.max(w.now)).min(end);
        w.run_to(step);
        let asked =
            w.did.iter().any(|(_, d)| *d == Did::Haproxy(supervisor::Action::Probe { direct: false }));
        if asked && !hung {
            w.did.retain(|(_, d)| *d != Did::Haproxy(supervisor::Action::Probe { direct: false }));
            let now = w.now;
            let info = Info { version: "2.6".into(), pid: 78 };
            w.node.supervise(now, supervisor::Input::Answered { pid: 77, info });
            w.effects();
            w.settle();
        }
    }
}
