//! Sync groups: nodes on two LANs in virtual time. What they send arrives a little later, or not at all.

mod life;

use super::*;
use crate::vrrp::group::State;

const LINKS: [&str; 2] = ["eth0", "eth1"];

/// Virtual routers VI_1 on eth0 and VI_2 on eth1 with these priorities, in one group; `more` goes into both.
fn pair(priorities: [u8; 2], more: &str) -> Config {
    let section = |i: usize| {
        format!(
            "[vrrp VI_{n}]\ninterface = {}\nvirtual_router_id = 5{n}\npriority = {}\n\
             virtual_ipaddress = 10.{i}.0.230/24\n{more}\n",
            LINKS[i],
            priorities[i],
            n = i + 1
        )
    };
    let mut cfg = config(&(section(0) + &section(1)));
    cfg.groups = vec![config::Group { name: "VG_1".into(), members: vec![0, 1] }];
    cfg
}

/// One node and its kernel: who holds which VIP.
struct Host {
    node: Node,
    id: u8,
    holds: [bool; 2],
    /// Adverts cannot be sent on these links.
    deaf: [bool; 2],
    did: Vec<(Time, Did)>,
    events: Vec<(Time, Event)>,
    alive: bool,
    /// HAProxy can be started and answers.
    serves: bool,
}

enum Frame {
    Advert(Vec<u8>),
    Garp(Arp),
}

struct Net {
    now: Time,
    hosts: Vec<Host>,
    /// Arrival, receiver, link.
    air: Vec<(Time, usize, usize, Frame)>,
    /// Whether a frame from a host to another passes on that link.
    passes: Box<dyn Fn(usize, usize, usize) -> bool>,
    /// Of each link.
    latency: [Duration; 2],
}

impl Net {
    fn new(configs: &[Config]) -> Net {
        let mut net = Net {
            now: Time::from_nanos(50_000_000_000),
            hosts: Vec::new(),
            air: Vec::new(),
            passes: Box::new(|_, _, _| true),
            latency: [Duration::from_micros(60); 2],
        };
        for cfg in configs {
            net.start(cfg);
        }
        net
    }

    fn host(&self, cfg: &Config, id: u8) -> Host {
        Host {
            node: Node::new(cfg, self.now),
            id,
            holds: [false; 2],
            deaf: [false; 2],
            did: Vec::new(),
            events: Vec::new(),
            alive: true,
            serves: true,
        }
    }

    /// A node starts; node n has the addresses 10.LINK.0.n+1.
    fn start(&mut self, cfg: &Config) -> usize {
        let h = self.hosts.len();
        self.hosts.push(self.host(cfg, h as u8 + 1));
        self.boot(h, &[], &[false; 2]);
        h
    }

    /// The kernel is read, with these VIPs of ours still there.
    fn boot(&mut self, h: usize, leased: &[usize], remembered: &[bool]) {
        let (now, id) = (self.now, self.hosts[h].id);
        let node = &mut self.hosts[h].node;
        node.dump_starts();
        for link in 0..2 {
            node.link(now, &nic(link, id, true));
            node.addr(now, &address(link, id, None));
        }
        for link in leased {
            let mut a = address(*link, 230, Some(TAG));
            a.tstamp = (now.as_nanos() / 10_000_000) as u32;
            node.addr(now, &a);
        }
        node.dump_ends(now, &[ETH0, ETH0 + 1]);
        self.effects(h);
        self.hosts[h].node.begin(now, remembered);
        self.settle(h);
    }

    fn settle(&mut self, h: usize) {
        SETTLE.iter().for_each(|step| self.step(h, *step));
    }

    fn step(&mut self, h: usize, step: Step) {
        let now = self.now;
        self.hosts[h].node.run(step, Clocks { turn: now, fresh: now });
        self.effects(h);
        if step == Step::Log {
            while let Some(e) = self.hosts[h].node.next_event() {
                self.hosts[h].events.push((now, e));
            }
        }
    }

    fn effects(&mut self, h: usize) {
        while let Some(e) = self.hosts[h].node.next_effect() {
            let now = self.now;
            let host = &mut self.hosts[h];
            match e {
                Effect::Open { link, .. } => host.node.opened(now, link),
                Effect::Advert { router, priority, decided } => {
                    if !host.node.may_advertise(router, priority, decided, now) {
                        continue;
                    }
                    if host.deaf[router] {
                        host.node.send_failed(router, 0, now, libc::EPERM);
                        host.node.unsent(router, now);
                        continue;
                    }
                    let mut bytes = Vec::new();
                    host.node.encode_advert(router, priority, 0, now, &mut bytes).unwrap();
                    host.did.push((now, Did::Advert(router, priority)));
                    host.node.sent(router, priority, now);
                    self.send(h, router, || Frame::Advert(bytes.clone()));
                }
                Effect::Addrs(mut ops) => {
                    host.node.addrs.keep_valid(&mut ops, now);
                    for op in &ops {
                        host.holds[op.entry] = op.kind != OpKind::Remove;
                        if op.kind == OpKind::Remove {
                            host.did.push((now, Did::Remove(op.entry)));
                        }
                    }
                    let results: Vec<(Op, i32)> = ops.into_iter().map(|op| (op, 0)).collect();
                    host.node.addrs_done(now, now, &results);
                }
                Effect::Announce { entry } if host.node.may_announce(entry, now) => {
                    let (sha, vip) = (mac(host.id), Ipv4Addr::new(10, entry as u8, 0, 230));
                    let arp = Arp { op: 1, sha, spa: vip, tha: [0xff; 6], tpa: vip };
                    self.send(h, entry, || Frame::Garp(arp));
                }
                Effect::Haproxy(action) => {
                    let serves = host.serves;
                    let info = Info { version: "2.6".into(), pid: 78 };
                    let input = match action {
                        supervisor::Action::Spawn { .. } if serves => supervisor::Input::Spawned { pid: 77 },
                        supervisor::Action::Spawn { .. } => {
                            supervisor::Input::SpawnFailed { errno: libc::ENOENT }
                        }
                        supervisor::Action::Probe { .. } => supervisor::Input::Answered { pid: 77, info },
                        _ => continue,
                    };
                    host.node.supervise(now, input);
                }
                Effect::Exit(s) => host.did.push((now, Did::Exit(s))),
                _ => {}
            }
        }
    }

    fn send(&mut self, from: usize, link: usize, frame: impl Fn() -> Frame) {
        for to in (0..self.hosts.len()).filter(|to| *to != from) {
            if (self.passes)(from, to, link) {
                self.air.push((self.now + self.latency[link], to, link, frame()));
            }
        }
    }

    fn run(&mut self, d: Duration) {
        let end = self.now + d;
        for _ in 0..1_000_000 {
            let arrival = self.air.iter().map(|f| f.0).min();
            let alive = || self.hosts.iter().filter(|h| h.alive);
            let next = alive().fold(arrival, |at, h| earlier(at, h.node.deadline(self.now)));
            let Some(t) = next.filter(|t| *t <= end) else {
                self.now = end;
                return;
            };
            let due: Vec<bool> = self
                .hosts
                .iter()
                .map(|h| h.alive && h.node.deadline(self.now).is_some_and(|d| d <= t))
                .collect();
            self.now = self.now.max(t);
            for (h, due) in due.into_iter().enumerate() {
                self.turn(h, due);
            }
        }
        panic!("no rest before {end:?}");
    }

    fn turn(&mut self, h: usize, due: bool) {
        let now = self.now;
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.air).into_iter().partition(|f| f.0 <= now && f.1 == h);
        self.air = rest;
        if !self.hosts[h].alive || (!due && mine.is_empty()) {
            return;
        }
        let mut mine = mine.into_iter();
        for step in TURN {
            if step == Step::Read {
                for (_, _, link, frame) in mine.by_ref() {
                    match frame {
                        Frame::Advert(bytes) => self.hosts[h].node.packet(now, link, &bytes),
                        Frame::Garp(arp) => self.hosts[h].node.arp(now, link, &arp),
                    }
                }
            }
            self.step(h, step);
        }
    }

    fn link(&mut self, h: usize, link: usize, running: bool) {
        let (now, id) = (self.now, self.hosts[h].id);
        self.hosts[h].node.link(now, &nic(link, id, running));
        self.effects(h);
        self.settle(h);
    }

    /// Which hosts hold the VIP of that link.
    fn holders(&self, link: usize) -> Vec<usize> {
        (0..self.hosts.len()).filter(|h| self.hosts[*h].alive && self.hosts[*h].holds[link]).collect()
    }

    /// `h` and nobody else holds both.
    fn all_on(&self, h: usize) {
        assert_eq!((self.holders(0), self.holders(1)), (vec![h], vec![h]), "{:#?}", self.history());
    }

    /// Every change of a group's state since the beginning.
    fn history(&self) -> Vec<(f64, usize, State)> {
        let mut all = Vec::new();
        for (h, host) in self.hosts.iter().enumerate() {
            for (t, e) in &host.events {
                if let Event::Group { state, .. } = e {
                    all.push(((t.as_nanos() - 50_000_000_000) as f64 / 1e9, h, *state));
                }
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    /// Forgets what was.
    fn mark(&mut self) {
        for h in &mut self.hosts {
            h.events.clear();
            h.did.clear();
        }
    }

    /// How often a group became master since the mark.
    fn takeovers(&self) -> usize {
        self.history().iter().filter(|(_, _, s)| *s == State::Master).count()
    }
}

fn mac(id: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, id]
}

fn nic(link: usize, id: u8, running: bool) -> RtnlLink {
    RtnlLink {
        seq: 0,
        ifindex: ETH0 + link as u32,
        name: IfName::from_bytes(LINKS[link].as_bytes()),
        up: true,
        running,
        mac: Some(mac(id)),
        moved: false,
        macvlan_of: None,
        is_port: false,
        group: 0,
        mtu: 1500,
    }
}

fn address(link: usize, host: u8, proto: Option<u8>) -> rtnl::Addr {
    let valid = if proto.is_some() { 1 } else { u32::MAX };
    rtnl::Addr {
        ifindex: ETH0 + link as u32,
        ..addr(Ipv4Addr::new(10, link as u8, 0, host), if proto.is_some() { 32 } else { 24 }, proto, valid)
    }
}

#[test]
fn a_group_moves_together_and_is_told_as_one() {
    let mut net = Net::new(&[pair([150, 150], ""), pair([100, 100], "")]);
    net.run(ms(8000));
    net.all_on(0);
    assert_eq!(net.takeovers(), 1);
    // Both adverts go before either address, and the slower of both timers decides.
    let first: Vec<Did> = net.hosts[0].did.iter().take(2).map(|(_, d)| d.clone()).collect();
    assert_eq!(first, [Did::Advert(0, 150), Did::Advert(1, 150)]);
    // The better one goes and comes back.
    net.mark();
    net.hosts[0].alive = false;
    net.hosts[0].holds = [false; 2];
    net.run(ms(5000));
    net.all_on(1);
    net.hosts[0] = net.host(&pair([150, 150], ""), 1);
    net.boot(0, &[], &[false; 2]);
    net.run(ms(5000));
    net.all_on(0);
    assert_eq!(net.takeovers(), 2);
}

#[test]
fn split_priorities_are_stable_whoever_comes_first() {
    for first in [0u64, 1, 30, 300, 3000, 9000] {
        for ahead in [0, 1] {
            let cfg = [pair([150, 100], ""), pair([100, 150], "")];
            let mut net = Net::new(&[cfg[ahead].clone()]);
            net.run(ms(first));
            net.start(&cfg[1 - ahead]);
            net.run(ms(15_000));
            assert_eq!(net.holders(0).len(), 1, "{first} {:?}", net.history());
            assert_eq!(net.holders(0), net.holders(1), "{first} {:?}", net.history());
            net.mark();
            net.run(ms(60_000));
            assert_eq!(net.history(), [], "{first} ms, {ahead}");
        }
    }
}

/// Takeovers that meet to the microsecond: both give way, and then one does not come back at the same time.
/// One LAN may be slower, as keepalived is with the second of its adverts.
#[test]
fn crossing_adverts_end_in_one_master_and_that_is_the_leaders() {
    for latency in [[60, 60], [1500, 60], [60, 1500]] {
        for (a, b) in [([150, 100], [100, 150]), ([150, 36], [100, 150]), ([100, 150], [150, 100])] {
            let mut net = Net::new(&[pair(a, ""), pair(b, "")]);
            net.latency = latency.map(Duration::from_micros);
            net.passes = Box::new(|_, _, _| false);
            net.run(ms(10_000));
            assert_eq!(net.holders(0), [0, 1]);
            net.passes = Box::new(|_, _, _| true);
            net.mark();
            net.run(ms(9_000));
            // VI_1 has the lower virtual_router_id.
            net.all_on(if a[0] > b[0] { 0 } else { 1 });
            assert!(net.takeovers() <= 1, "{:?}", net.history());
            net.mark();
            net.run(ms(60_000));
            assert_eq!(net.history(), []);
        }
    }
}

/// The rival's two adverts arrive one after the other, and an answer to the first is on its way when the
/// second comes.
#[test]
fn the_leader_that_answered_first_does_not_give_way_to_the_other_lan() {
    for phase in (50..1000).step_by(50) {
        // After the partition the first advert is the leader's, or its rival's.
        for extra in [0, 1001 - phase] {
            let mut net = Net::new(&[pair([150, 100], "")]);
            net.latency = [60, 160].map(Duration::from_micros);
            net.run(ms(phase));
            net.passes = Box::new(|_, _, _| false);
            net.start(&pair([100, 150], ""));
            net.run(ms(10_000 + extra));
            assert_eq!(net.holders(1), [0, 1]);
            net.passes = Box::new(|_, _, _| true);
            net.mark();
            net.run(ms(20_000));
            net.all_on(0);
            assert_eq!(net.takeovers(), 0, "nobody had to come back at {phase}: {:?}", net.history());
        }
    }
}

/// Any priorities, losses, cut cables and restarts; then peace. A group is never split within a node, and
/// comes to rest on one.
#[test]
fn whatever_happens_one_node_has_all_in_the_end() {
    for seed in 0..60u64 {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |n: u64| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % n
        };
        let count = 2 + seed as usize % 2;
        let more = ["", "preempt = no", "version = 3\nadvert_int = 0.5", "preempt_delay = 3"];
        let more = more[random(4) as usize];
        let configs: Vec<Config> =
            (0..count).map(|_| pair([1 + random(254) as u8, 1 + random(254) as u8], more)).collect();
        let mut net = Net::new(&configs);
        net.latency = [60, 60 + 400 * random(3)].map(Duration::from_micros);
        for _ in 0..12 {
            let (h, link) = (random(count as u64) as usize, random(2) as usize);
            match random(4) {
                0 => {
                    let (from, all) = (random(count as u64) as usize, random(2) == 0);
                    net.passes = Box::new(move |f, t, l| (l != link && !all) || (f != from && t != h));
                }
                1 => net.passes = Box::new(|_, _, _| true),
                2 => net.link(h, link, random(2) == 0),
                _ => {
                    net.hosts[h] = net.host(&configs[h], h as u8 + 1);
                    net.boot(h, &[], &[false; 2]);
                }
            }
            net.run(ms(random(6000)));
            for host in &net.hosts {
                let masters = host.node.routers.iter().filter(|i| i.is_master()).count();
                assert_ne!(masters, 1, "seed {seed}: {:?}", net.history());
            }
        }
        net.passes = Box::new(|_, _, _| true);
        for h in 0..count {
            net.link(h, 0, true);
            net.link(h, 1, true);
        }
        net.run(ms(20_000));
        assert_eq!(net.holders(0).len(), 1, "seed {seed}: {configs:?} {:?}", net.history());
        assert_eq!(net.holders(0), net.holders(1), "seed {seed}: {:?}", net.history());
        net.mark();
        net.run(ms(60_000));
        assert_eq!(net.history(), [], "seed {seed}");
    }
}

#[test]
fn a_cut_cable_moves_both_and_both_come_back() {
    let mut net = Net::new(&[pair([150, 150], ""), pair([100, 100], "")]);
    net.run(ms(6000));
    net.mark();
    net.link(0, 1, false);
    assert_eq!(net.holders(0), [], "one FAULT takes the group");
    assert!(net.hosts[0].did.iter().any(|(_, d)| *d == Did::Advert(0, 0)), "the other LAN is told");
    assert!(net.hosts[0].node.routers[0].faults.only(Faults::GROUP));
    assert!(net.hosts[0].node.routers[1].faults.only(Faults::LINK_DOWN));
    net.run(ms(4000));
    net.all_on(1);
    net.link(0, 1, true);
    net.run(ms(5000));
    net.all_on(0);
    let states: Vec<(usize, State)> = net.history().into_iter().map(|(_, h, s)| (h, s)).collect();
    let expected =
        [(0, State::Fault), (1, State::Master), (0, State::Backup), (0, State::Master), (1, State::Backup)];
    assert_eq!(states, expected);
}

#[test]
fn of_two_groups_the_better_one_announces_on_both_lans_whoever_advertises_first() {
    for (mine, theirs) in [([200, 200], [100, 100]), ([200, 100], [100, 200])] {
        for phase in 0..20 {
            let mut net = Net::new(&[pair(mine, "")]);
            net.passes = Box::new(|_, _, _| false);
            net.run(ms(350)); // their adverts are not at one time
            net.start(&pair(theirs, ""));
            net.run(ms(10_000 + 50 * phase));
            let before: Vec<u64> = net.hosts[0].node.routers.iter().map(|i| i.stats.announcements).collect();
            net.passes = Box::new(|_, _, _| true);
            net.run(ms(1900));
            net.all_on(0);
            let after: Vec<u64> = net.hosts[0].node.routers.iter().map(|i| i.stats.announcements).collect();
            assert!(before[0] < after[0] && before[1] < after[1], "{mine:?} {phase}: {before:?} {after:?}");
        }
    }
}

#[test]
fn adverts_lost_on_one_lan_only() {
    // (priorities, who is master then): the backup hears the master on the other LAN, and what it hears
    // decides.
    for lan in 0..2 {
        for (a, b) in [([150, 150], [100, 100]), ([150, 100], [100, 150])] {
            for one_way in [false, true] {
                let mut net = Net::new(&[pair(a, ""), pair(b, "")]);
                net.run(ms(8000));
                net.mark();
                net.passes = Box::new(move |from, _, link| link != lan || (one_way && from == 1));
                net.run(ms(60_000));
                assert_eq!(net.holders(0), net.holders(1), "LAN {lan}: {:?}", net.history());
                assert_eq!(net.holders(0).len(), 1, "LAN {lan}: {:?}", net.history());
                assert!(net.takeovers() <= 1, "LAN {lan}: {:?}", net.history());
                net.mark();
                net.passes = Box::new(|_, _, _| true);
                net.run(ms(60_000));
                assert_eq!(net.holders(0).len(), 1);
                assert!(net.takeovers() <= 1, "{:?}", net.history());
            }
        }
    }
}

/// Nobody is preempted again and again by a group that cannot speak on one of its LANs.
#[test]
fn a_member_that_cannot_send_keeps_its_group_away() {
    for deaf in 0..2 {
        let mut net = Net::new(&[pair([150, 150], ""), pair([100, 100], "")]);
        net.run(ms(6000));
        net.all_on(0);
        net.hosts[0].deaf[deaf] = true;
        net.run(ms(12_000));
        net.all_on(1);
        net.mark();
        net.run(ms(60_000));
        net.all_on(1);
        let adverts = net.hosts[0].did.iter().filter(|(_, d)| matches!(d, Did::Advert(..))).count();
        assert_eq!((adverts, net.hosts[1].events.len()), (0, 0));
        net.hosts[0].deaf[deaf] = false;
        net.run(ms(10_000));
        net.all_on(0);
    }
}
