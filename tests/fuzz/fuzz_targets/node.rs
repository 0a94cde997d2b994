//! A whole node in virtual time, with a kernel and a network that do what the input says. It does not panic,
//! spin, or do more than was asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use vipd::base::time::Time;
use vipd::config::{Auth, Version, schema};
use vipd::node::{Clocks, Effect, Node, SETTLE, Step, TURN};
use vipd::report::words;
use vipd::vrrp::authentication::Authentication;
use vipd::vrrp::packet::{self, Outgoing};
use vipd::wire::arp::Arp;
use vipd::wire::ipv4;
use vipd::wire::rtnl::{Addr, IfName, Link};
use vipd::wire::vrrp::GROUP_V4;

const INI: &str = "\
[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n\
[vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 0.1\npreempt = no\n\
virtual_ipaddress = 192.168.30.231/24, 192.168.30.232/24\n\
[vrrp C]\ninterface = eth0\nvirtual_router_id = 53\nauth_type = PASS\nauth_pass = 1111\npriority = 255\n\
virtual_ipaddress = 192.168.30.233/24\n";
const OWN: [u8; 4] = [192, 168, 30, 116];
const TURNS: usize = 20_000;

struct World {
    node: Node,
    now: Time,
    errno: i32,
    deaf: bool,
    adverts: usize,
}

fuzz_target!(|script: &[u8]| {
    let Ok((cfg, _)) = schema::parse(INI) else { panic!("the configuration") };
    let now = Time::from_nanos(1_000_000_000);
    let mut w = World { node: Node::new(&cfg, now), now, errno: 0, deaf: false, adverts: 0 };
    w.node.dump_starts();
    w.link(true);
    w.addr(OWN, true);
    w.node.dump_ends(w.now, &[2]);
    w.effects();
    w.node.begin(w.now, &[false, true, false]);
    w.settle();
    let mut rest = script;
    for _ in 0..64 {
        let Some((&[op, arg], more)) = rest.split_first_chunk::<2>() else { break };
        rest = more;
        match op % 10 {
            0 => w.run(Duration::from_millis(u64::from(arg) * u64::from(arg))),
            1 => w.hear(arg, op / 10),
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
            5 => w.addr(if arg & 8 == 0 { OWN } else { [192, 168, 30, 230 + (arg & 3)] }, arg & 16 == 0),
            6 => w.errno = i32::from(arg & 1) * libc_eexist(arg),
            7 => w.deaf = arg & 1 != 0,
            8 => {
                // This process stands still.
                w.now += Duration::from_millis(u64::from(arg) * 40);
                w.play(&TURN);
            }
            _ if arg > 250 => w.node.stop(w.now),
            _ => {}
        }
        w.effects();
        w.settle();
    }
    w.run(Duration::from_secs(5));
});

fn libc_eexist(arg: u8) -> i32 {
    [17, 99, 1, 19][usize::from(arg >> 6)]
}

impl World {
    fn link(&mut self, running: bool) {
        let mac = Some([2, 0, 0, 0, 0, 1]);
        let (macvlan_of, group) = (None, 0);
        let name = IfName::from_bytes(b"eth0");
        self.node.link(
            self.now,
            &Link {
                seq: 0,
                ifindex: 2,
                name,
                up: true,
                running,
                mac,
                moved: false,
                mtu: 1500,
                macvlan_of,
                group,
            },
        );
    }

    fn addr(&mut self, addr: [u8; 4], there: bool) {
        let a = Addr {
            seq: 0,
            ifindex: 2,
            addr: addr.into(),
            prefix: 24,
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
        assert!(self.adverts <= 1, "one advert was answered with {}", self.adverts);
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
            Effect::Reread => {
                self.node.dump_starts();
                self.link(true);
                self.addr(OWN, true);
                self.node.dump_ends(now, &[2]);
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
