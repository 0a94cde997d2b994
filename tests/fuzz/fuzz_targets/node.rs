//! A whole node in virtual time, with a kernel and a network that do what the input says. It does not panic,
//! spin, or do more than was asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use vipd::base::exit::Exit;
use vipd::base::time::Time;
use vipd::config::{Auth, Config, Version, schema};
use vipd::haproxy::show_info::Info;
use vipd::haproxy::supervisor::{Action, Input};
use vipd::node::{Clocks, Effect, Node, SETTLE, Step, TURN, VmacOp, fence};
use vipd::report::words;
use vipd::vrrp::authentication::Authentication;
use vipd::vrrp::packet::{self, Outgoing};
use vipd::wire::arp::Arp;
use vipd::wire::ipv4;
use vipd::wire::rtnl::{Addr, IfName, Link};
use vipd::wire::vrrp::{GROUP_V4, GROUP_V6, IpInfo};

/// Two plain ones and an owner; the same with HAProxy and a group, one over IPv6 with virtual MACs, and one
/// without multicast; and two that a reload makes of them.
const PLAIN: &str = "\
[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n\
[vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 0.5\npreempt = no\n\
virtual_ipaddress = 192.168.30.231/24, 192.168.30.232/24\n\
[vrrp C]\ninterface = eth0\nvirtual_router_id = 53\nauth_type = PASS\nauth_pass = 1111\npriority = 255\n\
virtual_ipaddress = 192.168.30.233/24\n";
const RICH: &str = "\
[haproxy]\nkeep_listeners = no\nstart_timeout = 2\ncheck_timeout = 0.3\n\
[group G]\nmembers = A, B\n\
[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\ntrack_haproxy = weight -50\n\
[vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 0.5\nuse_vmac = yes\n\
virtual_ipaddress = 192.168.30.231/24, 192.168.30.232/24\n\
[vrrp C]\ninterface = eth0\nvirtual_router_id = 53\nauth_type = PASS\nauth_pass = 1111\n\
unicast_src_ip = 192.168.30.116\nunicast_peer = 192.168.30.10, 192.168.30.200\nvirtual_ipaddress = 192.168.30.233/24\n\
[vrrp D]\ninterface = eth0\nvirtual_router_id = 54\nversion = 3\nadvert_int = 0.5\nuse_vmac = yes\n\
virtual_ipaddress = fe80::1/64, 2001:db8::1/64\ntrack_haproxy = no\n";
const OTHER: &str = "\
[vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 1\npriority = 200\nlease = address\n\
virtual_ipaddress = 192.168.30.232/24, 192.168.30.230/24\n\
[vrrp D]\ninterface = eth0\nvirtual_router_id = 54\nversion = 3\nadvert_int = 0.2\n\
virtual_ipaddress = fe80::1/64, 2001:db8::1/64\n";
const OWN: [u8; 4] = [192, 168, 30, 116];
const ETH0: u32 = 2;
/// Of the macvlans that vipd makes.
const GROUP: u32 = u32::from_be_bytes(*b"vipd");
/// The first macvlan.
const MADE: u32 = 10;
const TICK: Duration = Duration::from_millis(4);

thread_local! {
    /// Read once: to take a configuration apart takes longer than all that follows.
    static CONFIGS: Vec<Config> = [PLAIN, RICH, OTHER]
        .iter()
        .map(|text| schema::parse(text).unwrap_or_else(|e| panic!("the configuration: {e:?}")).0)
        .collect();
}
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x116);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10);
const TURNS: usize = 20_000;

struct World {
    node: Node,
    cfg: Config,
    now: Time,
    errno: i32,
    deaf: bool,
    /// HAProxy answers.
    ready: bool,
    pid: u32,
    macvlans: Vec<Link>,
    /// The kernel gives no index twice.
    next_ifindex: u32,
    adverts: usize,
}

fuzz_target!(|script: &[u8]| {
    let Some((first, mut rest)) = script.split_first() else { return };
    let cfg = config(*first);
    let now = Time::from_nanos(1_000_000_000);
    let mut w = World {
        node: Node::new(&cfg, now),
        cfg,
        now,
        errno: 0,
        deaf: false,
        ready: true,
        pid: 100,
        macvlans: Vec::new(),
        next_ifindex: MADE,
        adverts: 0,
    };
    w.dump();
    w.effects();
    if first & 4 != 0 {
        w.node.set_fence(Some(TICK));
        w.node.lease_found(0, now, Duration::from_millis(u64::from(*first) * 10));
    }
    let remembered = vec![first & 8 != 0; w.node.routers.len()];
    w.node.begin(w.now, &remembered);
    w.settle();
    for _ in 0..64 {
        let Some((&[op, arg], more)) = rest.split_first_chunk::<2>() else { break };
        rest = more;
        match op % 16 {
            0 => w.run(Duration::from_millis(u64::from(arg) * 24)),
            1 => w.hear(arg, op / 16),
            2 => {
                let (packet, more) = rest.split_at(rest.len().min(usize::from(arg)));
                rest = more;
                w.node.packet(w.now, 0, packet);
            }
            3 => w.link(arg & 1 == 0),
            4 => {
                let spa = Ipv4Addr::from([192, 168, 30, 224 | arg & 15]);
                let arp = Arp { op: 1, sha: [2, 0, 0, 0, 0, arg >> 4], spa, tha: [0; 6], tpa: spa };
                w.node.arp(w.now, 0, &arp);
            }
            5 => {
                w.addr(if arg & 8 == 0 { OWN } else { [192, 168, 30, 230 + (arg & 3)] }.into(), arg & 16 == 0)
            }
            6 => w.errno = i32::from(arg & 1) * errno(arg),
            7 => w.deaf = arg & 1 != 0,
            8 => {
                // This process stands still.
                w.now += Duration::from_millis(u64::from(arg) * 40);
                w.play(&TURN);
            }
            9 => w.hear_v6(arg, op / 16),
            10 => w.haproxy(arg),
            11 => {
                let name = [None, Some("A"), Some("B"), Some("G")][usize::from(arg & 3)];
                w.node.resign(name, Duration::from_secs(u64::from(arg >> 4)), arg & 4 != 0, w.now);
            }
            12 => w.reload(arg),
            13 if arg & 1 == 0 => w.node.overrun(),
            13 => w.node.link_gone(w.now, ETH0),
            14 => w.macvlan_leaves(arg),
            _ if arg > 250 => w.node.stop(w.now),
            _ => {}
        }
        w.effects();
        w.settle();
    }
    w.run(Duration::from_secs(5));
});

fn config(which: u8) -> Config {
    CONFIGS.with(|all| all[usize::from(which & 3) % all.len()].clone())
}

fn errno(arg: u8) -> i32 {
    [17, 99, 1, 19][usize::from(arg >> 6)]
}

impl World {
    fn eth0(running: bool) -> Link {
        let name = IfName::from_bytes(b"eth0");
        let mac = Some([2, 0, 0, 0, 0, 1]);
        let (macvlan_of, group, moved, is_port) = (None, 0, false, false);
        Link {
            seq: 0,
            ifindex: ETH0,
            name,
            up: true,
            running,
            mac,
            moved,
            mtu: 1500,
            macvlan_of,
            group,
            is_port,
        }
    }

    fn link(&mut self, running: bool) {
        self.node.link(self.now, &Self::eth0(running));
    }

    fn dump(&mut self) {
        self.node.dump_starts();
        self.link(true);
        self.addr(OWN.into(), true);
        self.addr(IpAddr::V6(LOCAL), true);
        for l in &self.macvlans {
            self.node.link(self.now, l);
        }
        let all: Vec<u32> = self.macvlans.iter().map(|l| l.ifindex).chain([ETH0]).collect();
        self.node.dump_ends(self.now, &all);
    }

    fn addr(&mut self, addr: IpAddr, there: bool) {
        let a = Addr {
            seq: 0,
            ifindex: ETH0,
            addr,
            prefix: if addr.is_ipv4() { 24 } else { 64 },
            scope: 0,
            flags: 0,
            proto: None,
            valid: u32::MAX,
            preferred: u32::MAX,
            tstamp: 0,
            label: None,
        };
        if there { self.node.addr(self.now, &a) } else { self.node.addr_gone(self.now, &a) }
    }

    /// Somebody removes a macvlan of ours.
    fn macvlan_leaves(&mut self, arg: u8) {
        if let Some(i) = usize::from(arg).checked_rem(self.macvlans.len()) {
            let gone = self.macvlans.remove(i);
            self.node.link_gone(self.now, gone.ifindex);
        }
    }

    fn vmac(&mut self, link: usize, op: VmacOp) {
        if self.errno == 0 {
            match op {
                VmacOp::Make { parent } => {
                    let name = IfName::from_bytes(self.node.links[link].name.as_bytes());
                    let mac = self.node.links[link].vmac.map(|v| v.mac);
                    let ifindex = self.next_ifindex;
                    self.next_ifindex += 1;
                    let made = Link {
                        ifindex,
                        name,
                        mac,
                        macvlan_of: Some(parent),
                        group: GROUP,
                        up: false,
                        ..Self::eth0(true)
                    };
                    self.node.link(self.now, &made);
                    self.macvlans.push(made);
                }
                VmacOp::Set { ifindex, up } => {
                    if let Some(l) = self.macvlans.iter_mut().find(|l| l.ifindex == ifindex) {
                        l.up = up;
                        self.node.link(self.now, &l.clone());
                    }
                }
            }
        }
        self.node.vmac_done(self.now, link, op, self.errno);
    }

    /// HAProxy hangs or answers, dies, is reloaded, complains.
    fn haproxy(&mut self, arg: u8) {
        let pid = self.pid;
        let input = match arg & 7 {
            0 => {
                self.ready = !self.ready;
                return;
            }
            1 => Input::Exited { pid, exit: Exit::Code(i32::from(arg >> 3)) },
            2 => Input::Exited { pid, exit: Exit::Signal(9) },
            3 => Input::Reload,
            4 => Input::LoadFailed,
            5 => Input::Checked { exit: Exit::Code(i32::from(arg >> 7)) },
            6 => Input::Complained { text: "[ALERT] x".to_owned() },
            _ => Input::UsagePrinted { pid },
        };
        self.node.supervise(self.now, input);
    }

    fn supervised(&mut self, action: Action) {
        let answer = match action {
            Action::Spawn { .. } if !self.node.may_spawn() => return,
            Action::Spawn { .. } if self.errno != 0 => Input::SpawnFailed { errno: self.errno },
            Action::Spawn { .. } => {
                self.pid += 1;
                Input::Spawned { pid: self.pid }
            }
            Action::Probe { .. } if self.ready => {
                let info = Info { version: "3.0".to_owned(), pid: self.pid + 1000 };
                Input::Answered { pid: self.pid, info }
            }
            Action::Kill { .. } => Input::Exited { pid: self.pid, exit: Exit::Signal(9) },
            _ => return,
        };
        self.node.supervise(self.now, answer);
    }

    fn reload(&mut self, arg: u8) {
        if self.node.is_stopping() || !self.node.may_reconfigure() {
            return;
        }
        let mut new = config(arg);
        if let Some(v) = new.vrrp.first_mut().filter(|v| v.priority != 255) {
            std::rc::Rc::make_mut(v).priority = (arg >> 2).max(1);
        }
        self.node.reconfigure(&self.cfg, &new, self.now);
        self.cfg = new;
    }

    /// A well-formed advert.
    fn hear(&mut self, priority: u8, how: u8) {
        let pass = Auth::Pass(*b"1111\0\0\0\0");
        let (vrid, version, auth) = match how % 3 {
            0 => (51, Version::V2, &Auth::None),
            1 => (52, Version::V3, &Auth::None),
            _ => (53, Version::V2, &pass),
        };
        let src = Ipv4Addr::new(192, 168, 30, if how & 4 == 0 { 10 } else { 200 } + (how & 8));
        let vips: [IpAddr; 1] = [[192, 168, 30, 230].into()];
        let o = Outgoing {
            version,
            vrid,
            interval: Duration::from_secs(1),
            vips: &vips,
            src: src.into(),
            dst: GROUP_V4.into(),
            v3_checksum_as_v2: false,
        };
        let mut out = Vec::new();
        ipv4::header(&mut out, src, GROUP_V4, 1, vipd::wire::vrrp::PROTOCOL, o.message_len());
        packet::encode(&mut out, &o, &Authentication::new(auth).fields(), priority);
        self.adverts = 0;
        self.node.packet(self.now, 0, &out);
        self.effects();
        // Of a sync group all members hand over. After a removal that failed the addresses are read again,
        // and this kernel has then lost those of all.
        assert!(self.errno != 0 || self.adverts <= 2, "one advert was answered with {}", self.adverts);
    }

    fn hear_v6(&mut self, priority: u8, how: u8) {
        let src: Ipv6Addr = if how & 4 == 0 { PEER } else { LOCAL };
        let vips: [IpAddr; 2] =
            [[0xfe80, 0, 0, 0, 0, 0, 0, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
        let o = Outgoing {
            version: Version::V3,
            vrid: 54,
            interval: Duration::from_millis(500),
            vips: &vips[..1 + usize::from(how & 1)],
            src: src.into(),
            dst: GROUP_V6.into(),
            v3_checksum_as_v2: false,
        };
        let mut out = Vec::new();
        packet::encode(&mut out, &o, &Authentication::new(&Auth::None).fields(), priority);
        let info = IpInfo { src: src.into(), dst: GROUP_V6.into(), ttl: 255 - (how & 8) };
        self.node.packet_v6(self.now, 0, info, &out);
    }

    fn effects(&mut self) {
        let mut count = 0;
        while let Some(e) = self.node.next_effect() {
            count += 1;
            assert!(count < 200, "effects without end: {e:?}");
            self.carry_out(e);
        }
    }

    fn carry_out(&mut self, e: Effect) {
        let now = self.now;
        match e {
            Effect::Open { link, .. } if self.errno == 0 => self.node.opened(now, link),
            Effect::Open { link, .. } => self.node.open_failed(now, link, self.errno),
            Effect::Advert { router, priority, decided } => {
                if !self.node.may_advertise(router, priority, decided, now) {
                    return;
                }
                self.adverts += 1;
                let mut out = Vec::new();
                if self.node.encode_advert(router, priority, 0, now, &mut out).is_none() || self.deaf {
                    self.node.send_failed(router, 0, now, 100);
                } else {
                    self.node.sent(router, priority, now);
                }
            }
            Effect::Addrs(mut ops) => {
                self.node.addrs.keep_valid(&mut ops, now);
                let results: Vec<_> = ops.into_iter().map(|op| (op, self.errno)).collect();
                self.node.addrs_done(now, now, &results);
            }
            Effect::Reread => self.dump(),
            Effect::Vmac { link, op } => self.vmac(link, op),
            Effect::Unmake { ifindex } => self.macvlans.retain(|l| l.ifindex != ifindex),
            Effect::UnmakeAll => self.macvlans.clear(),
            Effect::Haproxy(action) => self.supervised(action),
            Effect::Fence(fence::Op::Replace) => {
                let (plan, rests) = self.node.fence_plan(now);
                assert_eq!(plan.routers.len(), rests.len());
                assert!(plan.routers.iter().zip(rests).all(|(r, rest)| rest.is_none_or(|ms| ms <= r.term)));
            }
            Effect::Fence(fence::Op::Open { router, decided, .. }) => {
                let _ = self.node.may_open(router, decided, now);
            }
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.play(SETTLE);
    }

    fn play(&mut self, steps: &[Step]) {
        for step in steps {
            self.node.run(*step, Clocks { turn: self.now, fresh: self.now });
            self.effects();
            if *step == Step::Log {
                while let Some(e) = self.node.next_event() {
                    assert!(!words::render(&self.node, &e).1.is_empty());
                }
            }
        }
    }

    /// From deadline to deadline.
    fn run(&mut self, d: Duration) {
        let until = self.now + d;
        let (mut idle, mut turns) = (0, 0);
        while let Some(t) = self.node.deadline(self.now).filter(|t| *t <= until) {
            turns += 1;
            idle = if t <= self.now { idle + 1 } else { 0 };
            assert!(idle < 6 && turns < TURNS, "spins: {:?}", self.node.deadline(self.now));
            self.now = self.now.max(t);
            self.play(&TURN);
        }
        self.now = until;
    }
}
