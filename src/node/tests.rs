//! A node in virtual time: effects are carried out at once by a pretended kernel and network.

mod composed;
mod flood;
mod groups;
mod ipv6;
mod leases;
mod notify;
mod reload;
mod resign;
mod service;
mod status;
mod tracking;
mod transport;
mod vmac;

use super::*;
use crate::addr::{OpKind, TAG};
use crate::config::schema;
use crate::haproxy::show_info::Info;
use crate::haproxy::supervisor::Exit;
use crate::vrrp::machine::{Kind, Why};
use crate::vrrp::packet::Carrier;
use crate::wire::arp::Arp;
use crate::wire::rtnl::{self, IfName, Link as RtnlLink};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    Announce(usize),
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
    /// The addresses that every dump finds.
    own: Vec<rtnl::Addr>,
    /// The macvlans that exist, and how the kernel answers about them.
    macvlans: Vec<RtnlLink>,
    macvlan_errno: i32,
    /// Of before 5.18: nothing that it tells has a tag.
    old_kernel: bool,
    /// How it answers to every new address.
    add_errno: i32,
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
            own: vec![addr(Ipv4Addr::new(192, 168, 30, 116), 24, None, u32::MAX)],
            macvlans: Vec::new(),
            macvlan_errno: 0,
            old_kernel: false,
            add_errno: 0,
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
        let all = vec![remembered; self.node.instances.len()];
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
        self.node.tick(self.now);
        self.effects();
        self.node.flush(self.now);
        self.effects();
        self.node.announce_some(self.now);
        self.effects();
        self.node.notify(self.now);
        self.effects();
    }

    fn effects(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.node.next_event()));
        while let Some(e) = self.node.next_effect() {
            match e {
                Effect::Open { link, .. } => self.node.opened(self.now, link),
                Effect::Close { .. } => {}
                Effect::Advert { inst, priority, decided } => {
                    self.now += self.pause_before_advert.take().unwrap_or_default();
                    if !self.node.may_advertise(inst, priority, decided, self.now) {
                        continue;
                    }
                    self.did(Did::Advert(inst, priority));
                    if self.sends_fail {
                        self.node.send_failed(inst, 0, self.now, libc::ENETDOWN);
                    } else {
                        self.last_advert[inst] = Some(self.now);
                        self.node.sent(inst, priority, self.now);
                    }
                }
                Effect::Addrs(ops) => self.addrs(ops),
                Effect::Disconnect { .. } => self.resets += 1,
                Effect::DisconnectVip { .. } => {}
                Effect::Forget { name } => self.forgotten.push(name),
                Effect::NewService => self.new_services += 1,
                Effect::Announce { entry } => self.did(Did::Announce(entry)),
                Effect::Remember { memory, .. } => self.did(Did::Remember(memory)),
                Effect::Haproxy(a) => {
                    self.did(Did::Haproxy(a));
                    if matches!(a, supervisor::Action::Spawn { .. }) {
                        self.node.supervise(self.now, |h, _, ev| h.spawned(77, self.now, ev));
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

    /// What the kernel has is what was added and not removed, the primary address, and what `there` and `others` hold.
    fn reread(&mut self) {
        self.did(Did::Reread);
        self.node.dump_starts();
        self.link(true);
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
            let inst = self.node.addrs.entries[op.entry].inst;
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
                    if let (true, Some(sent), Some(l)) = (self.theorem, self.last_advert[inst], op.lease) {
                        let late = crate::lease::lateness(l);
                        let i = &self.node.instances[inst];
                        if i.hold.is_none() {
                            let ends = self.now + Duration::from_secs(u64::from(l)) + late;
                            assert!(
                                ends <= sent + i.machine.patience(),
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
        self.node.addrs_done(self.now, self.now, &results);
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
        let mut idle = 0;
        for _ in 0..100_000 {
            match self.node.deadline(self.now) {
                Some(t) if t <= until => {
                    // A second turn at once may be needed, a third one does nothing: that would be a busy loop.
                    idle = if t <= self.now { idle + 1 } else { 0 };
                    assert!(
                        idle < 3,
                        "spins: {:?} at {:?}",
                        self.node.instances[0].machine.state(),
                        self.now
                    );
                    self.now = self.now.max(t) + (self.lateness)();
                    self.node.woke(self.now);
                    self.settle();
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
        let bytes = packet(&self.node.instances[0].cfg, src, priority);
        self.node.packet(self.now, 0, &bytes);
        self.effects();
        self.settle();
    }

    fn hear_v6(&mut self, inst: usize, src: Ipv6Addr, priority: u8) {
        let (carrier, message) = packet_v6(&self.node.instances[inst].cfg, src, priority);
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
        self.node.instances[0].machine.kind()
    }

    /// HAProxy answers now; it is not asked again.
    fn ready(&mut self) {
        self.node.supervise(self.now, |h, out, ev| {
            let info = Info { version: "2.6".into(), pid: 78 };
            let now = match h.state() {
                supervisor::State::Starting { since, .. } => *since + ms(40),
                _ => panic!("not starting"),
            };
            h.answered(77, info, now, out, ev);
        });
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

fn packet(cfg: &config::Vrrp, src: Ipv4Addr, priority: u8) -> Vec<u8> {
    use crate::vrrp::packet::{GROUP_V4, Outgoing, PROTOCOL, encode};
    let vips: Vec<IpAddr> = cfg.vips.iter().map(|v| v.addr).collect();
    let o = Outgoing {
        version: cfg.version,
        vrid: cfg.vrid,
        interval: cfg.advert_int,
        auth: &cfg.auth,
        vips: &vips,
        src: IpAddr::V4(src),
        dst: IpAddr::V4(GROUP_V4),
        v3_checksum_as_v2: false,
    };
    let mut out = Vec::new();
    crate::wire::ipv4::header(&mut out, src, GROUP_V4, 1, PROTOCOL, o.message_len());
    encode(&mut out, &o, priority);
    out
}

fn packet_v6(cfg: &config::Vrrp, src: Ipv6Addr, priority: u8) -> (Carrier, Vec<u8>) {
    use crate::vrrp::packet::{GROUP_V6, Outgoing, encode};
    let vips: Vec<IpAddr> = cfg.vips.iter().map(|v| v.addr).collect();
    let carrier = Carrier { src: src.into(), dst: GROUP_V6.into(), ttl: 255 };
    let o = Outgoing {
        version: cfg.version,
        vrid: cfg.vrid,
        interval: cfg.advert_int,
        auth: &cfg.auth,
        vips: &vips,
        src: carrier.src,
        dst: carrier.dst,
        v3_checksum_as_v2: false,
    };
    let mut out = Vec::new();
    encode(&mut out, &o, priority);
    (carrier, out)
}

fn master(cfg: &Config) -> World {
    let mut w = World::new(cfg);
    w.begin(false);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

#[test]
fn becoming_master_is_advert_then_address_then_announcement() {
    let mut w = World::new(&one(""));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    w.run(ms(3610));
    let did = w.take();
    let expected =
        [Did::Advert(0, 100), Did::Add(0, Some(1)), Did::Announce(0), Did::Remember(Memory::Master)];
    assert_eq!(did[..4], expected);
}

#[test]
fn renewals_follow_the_advert_and_stop_when_it_is_old() {
    let mut w = master(&one(""));
    w.run_to(w.node.instances[0].machine.deadline().unwrap() - ms(1)); // onto the grid
    w.did.clear();
    let start = w.now;
    w.run(ms(3000));
    let adverts: Vec<Time> =
        w.did.iter().filter(|(_, d)| *d == Did::Advert(0, 100)).map(|(t, _)| *t).collect();
    let renewals: Vec<Time> = w.did.iter().filter(|(_, d)| *d == Did::Renew(0)).map(|(t, _)| *t).collect();
    assert_eq!(adverts.len(), 3);
    let expected: Vec<Time> = adverts.iter().flat_map(|t| [0, 250].map(|n| *t + ms(n))).collect();
    assert_eq!(renewals, expected, "from {start:?}");
}

#[test]
fn no_advert_no_renewal_and_at_the_end_of_patience_the_addresses_go() {
    let mut w = master(&one(""));
    let last = w.last_advert[0].unwrap();
    w.sends_fail = true;
    w.run(ms(10_000));
    let renewed = w.did.iter().filter(|(_, d)| *d == Did::Renew(0)).map(|(t, _)| *t).max();
    assert!(renewed.is_none_or(|t| t <= last + ms(300)));
    let removed = w.did.iter().find(|(_, d)| *d == Did::Remove(0)).map(|(t, _)| *t).unwrap();
    assert!(removed <= last + ms(4000), "removed {:?} after the last advert", removed.since(last));
}

#[test]
fn a_stall_gives_up_before_anything_else() {
    let mut w = master(&one(""));
    w.now += ms(3100);
    w.node.woke(w.now);
    w.effects();
    assert_eq!(w.take(), [Did::Remove(0), Did::Remember(Memory::Nothing)]);
    assert_eq!(w.node.instances[0].why, Why::Stalled);
    w.hear(PEER, 90);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn a_stall_in_the_middle_of_a_turn_is_noticed_too() {
    // a master, before its next advert
    let mut w = master(&one(""));
    w.run_to(w.node.instances[0].machine.deadline().unwrap() - ms(1));
    w.take();
    w.pause_before_advert = Some(ms(3100));
    w.run(ms(1000));
    let did = w.take();
    assert!(!did.iter().any(|d| matches!(d, Did::Advert(..) | Did::Renew(_) | Did::Add(..))), "{did:?}");
    assert!(did.contains(&Did::Remove(0)));
    assert_eq!(w.node.instances[0].why, Why::Stalled);

    // a backup, between the end of its down timer and its first advert
    let mut w = World::new(&one(""));
    w.begin(false);
    w.pause_before_advert = Some(ms(400));
    w.run(ms(3800));
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..) | Did::Add(..))));
}

#[test]
fn the_theorem_holds_at_every_renewal_of_several_routers_at_any_phase() {
    for seed in 0..200u64 {
        let text: String = (1..4)
            .map(|i| {
                format!(
                    "[vrrp V{i}]\ninterface = eth0\nvirtual_router_id = {i}\npriority = {}\n\
                     advert_int = {}\nvirtual_ipaddress = 10.0.{i}.1\n",
                    60 * i,
                    1 + (seed / (7 * i)) % 2
                )
            })
            .collect();
        let mut w = World::new(&config(&text));
        w.now += ms(seed * 37 % 1000);
        w.theorem = true;
        w.begin(false);
        w.run(ms(20_000));
        assert!(w.node.instances.iter().all(Instance::is_master), "seed {seed}");
    }
}

#[test]
fn what_has_ended_during_a_stall_is_not_brought_back_to_be_handed_over() {
    let mut w = master(&one(""));
    w.run_to(w.node.instances[0].machine.deadline().unwrap() + ms(400)); // the last renewal was 0.15 s ago
    w.take();
    w.now += ms(5000); // in the middle of a turn: `woke` was asked before
    w.hear(PEER, 200);
    w.run(ms(20));
    assert!(!w.take().contains(&Did::Renew(0)));
}

#[test]
fn a_planned_stop_keeps_serving_until_the_successor_announced() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let expected = [Did::Remember(Memory::Leaving), Did::Advert(0, 0), Did::Renew(0)];
    assert_eq!(w.take(), expected, "the lease is short from the first moment");
    w.run(ms(600));
    assert!(w.take().iter().all(|d| *d == Did::Renew(0)), "no advert, no announcement while leaving");
    w.hear(PEER, 99);
    w.run(ms(20));
    assert!(!w.take().contains(&Did::Remove(0)), "the advert alone is too early");
    w.garp([9; 6]);
    w.run(ms(4));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn without_an_announcement_the_advert_does_and_without_a_successor_the_timeout() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.hear(PEER, 99);
    w.run(ms(49));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);

    let mut w = master(&one("handover_timeout = 1.5"));
    w.node.stop(w.now);
    w.settle();
    w.run(ms(1499));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn our_own_announcement_is_not_the_successors() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.garp(MAC);
    w.run(ms(100));
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn asked_twice_the_stop_does_not_wait() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.take();
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn being_preempted_hands_over_and_sends_no_priority_zero() {
    let mut w = master(&one(""));
    w.hear(PEER, 200);
    assert_eq!(w.kind(), Kind::Backup);
    w.garp([9; 6]);
    w.run(ms(6));
    let did = w.take();
    assert_eq!(did.iter().filter(|d| matches!(d, Did::Advert(..))).count(), 0);
    assert_eq!(did.last(), Some(&Did::Remove(0)));

    let mut w = master(&one("make_before_break = no"));
    w.hear(PEER, 200);
    assert_eq!(w.take(), [Did::Remove(0), Did::Remember(Memory::Nothing)]);
}

#[test]
fn a_successor_that_vanishes_is_replaced_without_losing_the_address() {
    let mut w = master(&one("handover_timeout = 10\n"));
    w.hear(PEER, 200);
    w.node.instances[0].hold.as_mut().unwrap().release_at = None; // its adverts are lost from here on
    w.run(ms(5000));
    assert_eq!(w.kind(), Kind::Master);
    let did = w.take();
    assert!(!did.contains(&Did::Remove(0)));
    assert!(did.contains(&Did::Advert(0, 100)) && did.contains(&Did::Announce(0)));
}

#[test]
fn a_deleted_address_is_put_back_in_place() {
    let mut w = master(&one(""));
    w.kernel.clear();
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.effects();
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Add(0, Some(1))) && did.contains(&Did::Announce(0)), "{did:?}");
    assert_eq!(w.kind(), Kind::Master);
    assert_eq!(w.node.instances[0].stats.vips_deleted, 1);
}

#[test]
fn an_address_that_came_back_before_its_end_was_told_is_let_go_too() {
    let mut w = master(&one("make_before_break = no"));
    // A renewal after a stall has brought it back: the kernel has it, and the message is older.
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.hear(PEER, 200);
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn somebody_elses_permanent_address_is_sacred() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    w.run(ms(10_000));
    assert_eq!(w.kind(), Kind::Master);
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    w.node.stop(w.now);
    w.settle();
    w.run(ms(5000));
    let touched = |d: &Did| matches!(d, Did::Add(..) | Did::Renew(_) | Did::Remove(_) | Did::Announce(_));
    assert!(!w.take().iter().any(touched));
}

#[test]
fn an_address_left_by_keepalived_is_taken_over() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, Some(18), u32::MAX));
    w.begin(false);
    w.run(ms(4000));
    assert!(w.events.contains(&Event::VipTakenOver { entry: 0 }));
    assert!(w.take().contains(&Did::Renew(0)));
}

#[test]
fn link_down_lets_go_first_and_recovers() {
    let mut w = master(&one(""));
    w.link(false);
    w.effects();
    assert_eq!(w.take()[..3], [Did::Remove(0), Did::Remember(Memory::Leaving), Did::Advert(0, 0)]);
    assert_eq!(w.kind(), Kind::Init);
    w.link(true);
    w.effects();
    w.settle();
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
}

/// A restarted vipd: the address is there with our tag, renewed `age` ago.
fn restarted(age: Duration, remembered: bool, cfg: &Config) -> World {
    let mut w = World::new(cfg);
    let mut a = addr(VIP, 32, Some(TAG), 2);
    a.tstamp = ((w.now.as_nanos() - age.as_nanos() as u64) / 10_000_000) as u32;
    w.node.addr(w.now, &a);
    w.begin(remembered);
    w
}

#[test]
fn the_lease_is_the_memory() {
    let mut w = restarted(ms(300), true, &one(""));
    assert_eq!(w.node.instances[0].why, Why::Resumed);
    let expected = [Did::Advert(0, 100), Did::Renew(0), Did::Announce(0), Did::Remember(Memory::Master)];
    assert_eq!(w.take()[..4], expected);

    // too old: 2.5 s after the renewal backups may have lost patience
    for (age, remembered) in [(ms(2600), true), (ms(300), false)] {
        let mut w = restarted(age, remembered, &one(""));
        assert_eq!(w.kind(), Kind::Backup);
        let did = w.take();
        assert!(did.contains(&Did::Remove(0)) && !did.contains(&Did::Advert(0, 100)), "{did:?}");
    }
}

#[test]
fn nothing_is_resumed_while_another_master_is_heard_or_haproxy_is_not_adopted() {
    let mut w = restarted(ms(300), true, &with_haproxy(""));
    assert!(w.take().contains(&Did::Remove(0)), "no HAProxy was adopted");

    let adopting = || {
        let mut w = World::new(&with_haproxy(""));
        let mut a = addr(VIP, 32, Some(TAG), 2);
        a.tstamp = (w.now.as_nanos() / 10_000_000) as u32;
        w.node.addr(w.now, &a);
        let now = w.now;
        w.node.supervise(now, |h, _, ev| h.adopt(77, now, ev));
        w.begin(true);
        w
    };
    let mut w = adopting();
    w.run(ms(50));
    w.ready();
    assert_eq!(w.node.instances[0].why, Why::Resumed);

    let mut w = adopting();
    w.hear(PEER, 50);
    assert!(w.take().contains(&Did::Remove(0)), "at once, not when HAProxy answers");
    w.ready();
    assert_eq!(w.kind(), Kind::Backup);

    let mut w = adopting();
    w.run(ms(201));
    assert!(w.take().contains(&Did::Remove(0)), "200 ms without an answer");
}

#[test]
fn a_lower_advert_is_answered_and_the_address_announced_again() {
    let mut w = master(&one(""));
    w.hear(PEER, 50);
    w.run(ms(1));
    let did = w.take();
    assert_eq!(did.iter().filter(|d| **d == Did::Advert(0, 100)).count(), 1);
    assert!(did.contains(&Did::Announce(0)));
}

#[test]
fn refusals_are_counted_by_reason_and_said_once() {
    use crate::vrrp::packet::Discard;
    let mut w = master(&one("auth_type = PASS\nauth_pass = 1111"));
    let mut forged = w.node.instances[0].cfg.clone();
    forged.auth = config::Auth::Pass(*b"2222\0\0\0\0");
    let bytes = packet(&forged, PEER, 200);
    w.events.clear();
    for _ in 0..1000 {
        w.now += ms(10);
        w.node.packet(w.now, 0, &bytes);
        w.effects();
    }
    let said =
        w.events.iter().filter(|e| matches!(e, Event::Discarded { why: Discard::AuthPass, .. })).count();
    assert_eq!(said, 1);
    assert_eq!(w.node.instances[0].stats.all().find(|(n, _)| *n == "auth_pass"), Some(("auth_pass", 1000)));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn a_foreign_vrid_with_our_address_is_said() {
    let mut w = master(&one(""));
    let mut other = w.node.instances[0].cfg.clone();
    other.vrid = 52;
    let bytes = packet(&other, PEER, 200);
    for _ in 0..3 {
        w.node.packet(w.now, 0, &bytes);
    }
    w.effects();
    let stray = Event::Stray { link: 0, vrid: 52, src: IpAddr::V4(PEER), vip: Some(0) };
    assert_eq!(w.events.iter().filter(|e| **e == stray).count(), 1);
}

#[test]
fn many_addresses_are_announced_fifty_in_a_millisecond() {
    let vips: Vec<String> = (1..=200).map(|i| format!("10.0.0.{i}")).collect();
    let text = format!(
        "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = {}\n",
        vips.join(", ")
    );
    let mut w = World::new(&config(&text));
    w.begin(false);
    w.run(ms(3700));
    let announced: Vec<Time> =
        w.did.iter().filter(|(_, d)| matches!(d, Did::Announce(_))).map(|(t, _)| *t).take(200).collect();
    assert_eq!(announced.len(), 200);
    for chunk in announced.chunks(50).collect::<Vec<_>>().windows(2) {
        assert!(chunk[1][0] >= chunk[0][0] + ms(1));
    }
}

#[test]
fn the_owner_is_master_at_once_and_touches_nothing() {
    let mut w = World::new(&one("priority = 255"));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Init, "without the address it is no owner");
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.settle();
    assert_eq!(w.kind(), Kind::Master);
    w.run(ms(100));
    let did = w.take();
    assert!(did.contains(&Did::Advert(0, 255)) && did.contains(&Did::Announce(0)));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let did = w.take();
    assert!(!did.iter().any(|d| matches!(d, Did::Add(..) | Did::Renew(_) | Did::Remove(_))), "{did:?}");
    assert_eq!(did.last(), Some(&Did::Exit(0)));
}

#[test]
fn startup_delay() {
    let mut cfg = one("");
    cfg.global.startup_delay = Duration::from_secs(5);
    let mut w = World::new(&cfg);
    w.begin(false);
    w.run(ms(4999));
    assert_eq!(w.kind(), Kind::Init);
    w.run(ms(2));
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn an_interface_may_come_late_go_and_come_back_as_another() {
    let cfg = one("");
    let mut w = World::new(&cfg);
    w.node = Node::new(&cfg, w.now);
    w.begin(false);
    assert!(w.node.instances[0].faults.has(Faults::NO_INTERFACE));
    w.link(true);
    w.node.addr(w.now, &addr(Ipv4Addr::new(192, 168, 30, 116), 24, None, u32::MAX));
    w.effects();
    w.settle();
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.node.link_gone(w.now, ETH0);
    w.effects();
    assert_eq!(w.kind(), Kind::Init);
    assert!(!w.node.addrs.holds_any(0));
}

#[test]
fn a_turn_that_is_late_does_not_spin() {
    for step in [50u64, 160, 300, 420, 700] {
        for more in ["", "advert_int = 2", "version = 3\nadvert_int = 0.1", "make_before_break = no"] {
            let mut w = World::new(&one(more));
            let mut n = 0;
            w.lateness = Box::new(move || {
                n += step;
                ms(n % (step + 1))
            });
            w.begin(false);
            w.run(ms(20_000));
            w.sends_fail = true;
            w.run(ms(6000));
            w.sends_fail = false;
            w.run(ms(8000));
            w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
            w.run(ms(3000));
            w.hear(PEER, 200);
            w.run(ms(8000));
            w.node.stop(w.now);
            w.settle();
            w.run(ms(10_000));
            assert_eq!(w.did.last().map(|(_, d)| d.clone()), Some(Did::Exit(0)), "{step} {more}");
        }
    }
}

#[test]
fn an_address_that_is_there_after_all_is_ours_again() {
    let mut w = master(&one(""));
    // The event of a removal that a renewal undid.
    w.there = vec![addr(VIP, 32, Some(TAG), 2)];
    w.kernel.clear();
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Reread));
    w.there.clear();
    assert!(w.node.addrs.holds_any(0));
    w.run(ms(2000));
    assert!(w.take().contains(&Did::Renew(0)));
    w.node.stop(w.now);
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn a_backup_does_not_keep_what_keepalived_left_and_names_what_is_foreign() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, Some(18), u32::MAX));
    w.begin(false);
    assert!(w.events.contains(&Event::VipTakenOver { entry: 0 }));
    assert!(w.take().contains(&Did::Remove(0)));

    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn an_event_older_than_a_renewal_does_not_hide_what_is_held() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Renew(0)));
    // The lease had ended before; its event is read only now.
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 1));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Reread));
    w.garp([9; 6]);
    w.run(ms(10));
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn the_vip_by_hand_with_another_prefix_is_said_and_ours_is_kept() {
    let mut w = master(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.effects();
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    assert!(w.node.addrs.is_refused(0) && w.node.addrs.holds_any(0));
    w.node.addr_gone(w.now, &addr(VIP, 24, None, u32::MAX));
    assert!(!w.node.addrs.is_refused(0) && w.node.addrs.holds_any(0));
}

#[test]
fn an_interface_that_comes_and_goes_at_once_is_opened_when_it_stays() {
    let cfg = one("");
    let mut w = World::new(&cfg);
    w.begin(false);
    w.node.link_gone(w.now, ETH0);
    w.effects();
    w.link(true);
    w.node.link_gone(w.now, ETH0);
    w.node.open_failed(w.now, 0, libc::ENODEV);
    w.effects();
    w.run(ms(5000));
    w.link(true);
    let opened = std::iter::from_fn(|| w.node.next_effect()).any(|e| matches!(e, Effect::Open { .. }));
    assert!(opened);
}

#[test]
fn sockets_that_cannot_be_opened_are_a_fault_that_is_said_once() {
    let mut w = World::new(&one(""));
    w.begin(false);
    w.node.link_gone(w.now, ETH0);
    w.effects();
    w.link(true);
    let failed = |w: &World| w.events.iter().filter(|e| matches!(e, Event::OpenFailed { .. })).count();
    for (errno, said) in [(libc::EMFILE, 1), (libc::EMFILE, 1), (libc::ENOMEM, 2)] {
        while !matches!(w.node.next_effect(), Some(Effect::Open { .. })) {
            w.now += ms(100);
            w.node.tick(w.now);
        }
        w.node.open_failed(w.now, 0, errno);
        assert!(w.node.instances[0].faults.has(Faults::SOCKET));
        w.events.extend(std::iter::from_fn(|| w.node.next_event()));
        assert_eq!(failed(&w), said);
    }
    w.run(ms(1500));
    assert!(!w.node.instances[0].faults.has(Faults::SOCKET));
}

#[test]
fn a_resumption_that_comes_too_late_is_none() {
    let mut w = World::new(&one(""));
    let mut a = addr(VIP, 32, Some(TAG), 2);
    a.tstamp = ((w.now.as_nanos() - 2_300_000_000) / 10_000_000) as u32;
    w.node.addr(w.now, &a);
    w.pause_before_advert = Some(ms(450));
    w.begin(true);
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..))));
}

#[test]
fn a_master_that_cannot_send_is_none() {
    let mut w = World::new(&one(""));
    w.sends_fail = true;
    w.begin(false);
    w.run(ms(3700));
    assert_eq!(w.kind(), Kind::Master);
    w.run(ms(3500));
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().iter().any(|d| matches!(d, Did::Add(..))));
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
            w.node.supervise(now, |h, out, ev| {
                h.answered(77, Info { version: "2.6".into(), pid: 78 }, now, out, ev);
            });
            w.effects();
            w.settle();
        }
    }
}
