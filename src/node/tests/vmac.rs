//! `use_vmac`.

use super::*;
use crate::wire::rtnl::macvlan::GROUP;

const VMAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const MADE: u32 = 10;
const UP: Did = Did::Vmac(VmacOp::Set { ifindex: MADE, up: true });
const DOWN: Did = Did::Vmac(VmacOp::Set { ifindex: MADE, up: false });
const ADD: Did = Did::Add(0, Some(1));
const MAKE: Did = Did::Vmac(VmacOp::Make { parent: ETH0 });

impl World {
    pub(super) fn macvlan(&mut self, link: usize, op: VmacOp) {
        self.did(Did::Vmac(op));
        let taken = self.macvlans.iter().any(|l| l.name.as_str() == self.node.links[link].name);
        let errno = match op {
            VmacOp::Make { .. } if taken => libc::EEXIST,
            _ => self.macvlan_errno,
        };
        if errno == 0 {
            match op {
                VmacOp::Make { .. } => {
                    let ifindex = MADE + u32::try_from(self.macvlans.len()).unwrap_or(0);
                    let l = &self.node.links[link];
                    let mac = l.vmac.map(|v| v.mac);
                    let name = IfName::from_bytes(l.name.as_bytes());
                    self.macvlans.push(RtnlLink { ifindex, name, mac, ..made() });
                }
                VmacOp::Set { ifindex, up } => {
                    let l = self.macvlans.iter_mut().find(|l| l.ifindex == ifindex);
                    l.expect("it exists").up = up;
                }
            }
        }
        self.node.vmac_done(self.now, link, op, errno);
    }

    pub(super) fn unmake(&mut self, ifindex: u32) {
        self.did(Did::Unmake(ifindex));
        self.macvlans.retain(|l| ifindex != 0 && l.ifindex != ifindex);
    }

    /// From the virtual MAC, which ours has, too: it comes by the macvlan.
    fn hear_on_vmac(&mut self, priority: u8) {
        let bytes = packet(&self.node.routers[0].cfg, PEER, priority);
        self.node.packet(self.now, 1, &bytes);
        self.effects();
        self.settle();
    }

    fn kernel_says(&mut self, l: RtnlLink) {
        self.node.link(self.now, &l);
        self.effects();
        self.settle();
    }
}

fn made() -> RtnlLink {
    RtnlLink {
        seq: 0,
        ifindex: MADE,
        name: IfName::from_bytes(b"vrrp.51"),
        up: false,
        running: false,
        mac: Some(VMAC),
        moved: false,
        macvlan_of: Some(ETH0),
        is_port: false,
        group: GROUP,
        mtu: 1500,
    }
}

/// What was done, without the state file of a backup.
fn did(w: &mut World) -> Vec<Did> {
    w.take().into_iter().filter(|d| *d != Did::Remember(Memory::Nothing)).collect()
}

fn cfg(more: &str) -> Config {
    one(&format!("use_vmac = yes\n{more}"))
}

fn master(more: &str) -> World {
    let mut w = World::new(&cfg(more));
    w.begin(false);
    w.run(ms(3700));
    assert_eq!(w.kind(), Kind::Master, "{:?} {:?} {:?}", w.node.routers[0].faults, w.did, w.events);
    w.take();
    w
}

#[test]
fn made_at_the_start_and_up_only_as_master() {
    let mut w = World::new(&cfg("garp_master_refresh = 0\ngarp_master_delay = 0\ngarp_master_repeat = 1"));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Backup);
    assert_eq!(did(&mut w), [MAKE, Did::Reread]);
    w.hear(PEER, 200);
    w.run(ms(2900));
    assert_eq!(w.take(), []);
    w.run(ms(900));
    // The advert first, and the MAC that the neighbours know at 0, 20 and 100 ms.
    let want = [
        Did::Advert(0, 100),
        UP,
        ADD,
        Did::Announce(0),
        Did::Remember(Memory::Master),
        Did::Announce(0),
        Did::Announce(0),
    ];
    let did = w.take();
    let did: Vec<Did> = did.into_iter().filter(|d| !matches!(d, Did::Renew(_))).collect();
    assert_eq!(did[..7], want);
    assert!(did[7..].iter().all(|d| *d == Did::Advert(0, 100)));
    assert_eq!(w.node.advert_mac(0), Some(VMAC));
    assert_eq!(w.node.wire(1), 0);
    // The subnet is the parent's.
    let mut ops = Vec::new();
    w.node.addrs.release(0);
    w.node.addrs.flush(w.now, &mut ops, &mut Vec::new());
    assert_eq!((ops[0].prefix, ops[0].ifindex), (32, MADE));
}

#[test]
fn the_successors_advert_ends_it_at_once() {
    let mut w = master("");
    w.hear_on_vmac(200);
    assert_eq!(w.kind(), Kind::Backup);
    assert_eq!(did(&mut w), [Did::Remove(0), DOWN]);
}

#[test]
fn a_planned_stop_keeps_it_until_the_successor_is_heard() {
    let mut w = master("");
    w.node.stop(w.now);
    w.effects();
    w.run(ms(500));
    let did = w.take();
    assert!(did.contains(&Did::Advert(0, 0)));
    assert!(!did.contains(&DOWN) && !did.contains(&Did::Remove(0)));
    w.hear_on_vmac(99);
    assert_eq!(w.take(), [Did::Remove(0), Did::Unmake(0), Did::Exit(0)]);
    assert!(w.macvlans.is_empty());
}

#[test]
fn a_stop_without_a_successor_ends() {
    let mut w = master("");
    w.node.stop(w.now);
    w.effects();
    w.run(ms(9000));
    assert_eq!(w.take().last(), Some(&Did::Exit(0)));
    assert!(w.macvlans.is_empty());
}

#[test]
fn ipv6_goes_down_ahead_of_the_removal() {
    let mut w = World::new(&config(
        "[vrrp VI_6]\ninterface = eth0\nvirtual_router_id = 51\nuse_vmac = yes\n\
         virtual_ipaddress = fe80::230, 2001:db8::230/64\n",
    ));
    let own = addr("fe80::116".parse::<IpAddr>().unwrap(), 64, None, u32::MAX);
    w.own.push(rtnl::Addr { scope: 253, flags: 0x80, ..own });
    w.node.addr(w.now, &w.own[1].clone());
    w.begin(false);
    w.run(ms(3700));
    assert_eq!(w.kind(), Kind::Master);
    assert_eq!(w.node.links[1].name, "vrrp6.51");
    assert_eq!(w.node.advert_mac(0), Some([0, 0, 0x5e, 0, 2, 51]));
    w.take();
    let (carrier, message) = packet_v6(&w.node.routers[0].cfg, "fe80::117".parse().unwrap(), 200);
    w.node.packet_v6(w.now, 1, carrier, &message);
    w.effects();
    w.settle();
    assert_eq!(did(&mut w), [DOWN, Did::Remove(1), Did::Remove(0)]);
}

#[test]
fn a_leftover_is_adopted_and_put_down() {
    let mut w = World::new(&cfg(""));
    w.macvlans.push(RtnlLink { up: true, ..made() });
    w.node.link(w.now, &w.macvlans[0].clone());
    w.node.dump_ends(w.now, &[ETH0, MADE]);
    w.effects();
    w.node.begin(w.now, &[false]);
    w.settle();
    assert_eq!(did(&mut w), [DOWN]);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn a_lease_on_a_leftover_is_resumed() {
    let mut w = World::new(&cfg(""));
    w.macvlans.push(RtnlLink { up: true, ..made() });
    w.node.link(w.now, &w.macvlans[0].clone());
    let tstamp = (w.now.as_nanos() / 10_000_000) as u32;
    let vip = rtnl::Addr { ifindex: MADE, tstamp, ..addr(VIP, 32, Some(TAG), 2) };
    w.node.addr(w.now, &vip);
    w.node.dump_ends(w.now, &[ETH0, MADE]);
    w.effects();
    w.node.begin(w.now, &[true]);
    w.settle();
    assert_eq!(w.kind(), Kind::Master);
    let did = w.take();
    assert!(!did.contains(&UP) && !did.contains(&DOWN) && !did.contains(&MAKE), "{did:?}");
}

#[test]
fn what_keepalived_left_is_made_anew() {
    let mut w = World::new(&cfg(""));
    w.macvlans.push(RtnlLink { group: 0, ..made() });
    w.node.link(w.now, &w.macvlans[0].clone());
    w.node.dump_ends(w.now, &[ETH0, MADE]);
    w.effects();
    w.node.begin(w.now, &[false]);
    w.settle();
    assert_eq!(did(&mut w), [Did::Unmake(MADE), MAKE, Did::Reread]);
    assert_eq!(w.macvlans[0].group, GROUP);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn on_a_macvlan_the_kernel_makes_it_beside_that() {
    let mut w = World::new(&cfg(""));
    let eth0 = RtnlLink { macvlan_of: Some(0), ..eth(ETH0, b"eth0") };
    w.node.link(w.now, &eth0);
    let beside = RtnlLink { macvlan_of: Some(0), ..made() };
    w.node.link(w.now, &beside);
    w.node.dump_ends(w.now, &[ETH0, MADE]);
    w.effects();
    w.node.begin(w.now, &[false]);
    w.settle();
    assert_eq!(did(&mut w), []);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn leftovers_of_another_configuration_go() {
    let mut w = World::new(&cfg(""));
    w.begin(false);
    w.take();
    let other = RtnlLink { ifindex: 77, name: IfName::from_bytes(b"vrrp.52"), ..made() };
    w.kernel_says(other);
    assert_eq!(w.take(), [Did::Unmake(77)]);
    // Not those that somebody else made.
    w.kernel_says(RtnlLink { group: 0, ..other });
    w.kernel_says(RtnlLink { macvlan_of: None, ..other });
    assert_eq!(w.take(), []);

    // The right name on another parent makes room.
    let mut w = World::new(&cfg(""));
    w.node.link(w.now, &RtnlLink { ifindex: 77, macvlan_of: Some(3), ..made() });
    w.begin(false);
    assert_eq!(did(&mut w), [Did::Unmake(77), MAKE, Did::Reread]);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn a_foreign_interface_of_the_name_is_a_fault_that_ends_with_it() {
    let mut w = World::new(&cfg(""));
    let foreign = RtnlLink { ifindex: 77, group: 0, macvlan_of: None, ..made() };
    w.macvlans.push(foreign);
    w.node.link(w.now, &foreign);
    w.node.dump_ends(w.now, &[ETH0, 77]);
    w.node.begin(w.now, &[false]);
    w.effects();
    w.settle();
    assert!(w.node.routers[0].faults.only(Faults::VMAC));
    assert!(w.events.contains(&Event::VmacForeign { link: 1 }));
    w.events.clear();
    w.run(ms(3500));
    assert_eq!(w.kind(), Kind::Init);
    assert!(!w.events.contains(&Event::VmacForeign { link: 1 }), "said once");
    assert!(w.take().iter().filter(|d| **d == MAKE).count() <= 4);
    w.macvlans.clear();
    w.node.link_gone(w.now, 77);
    w.run(ms(1100));
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn without_macvlan_it_is_a_fault() {
    let mut w = World::new(&cfg(""));
    w.macvlan_errno = libc::EOPNOTSUPP;
    w.begin(false);
    assert!(w.node.routers[0].faults.only(Faults::VMAC));
    assert!(w.events.contains(&Event::VmacFailed { link: 1, errno: libc::EOPNOTSUPP }));
    w.run(ms(2500));
    assert_eq!(w.take().iter().filter(|d| **d == MAKE).count(), 3, "once a second");
    w.macvlan_errno = 0;
    w.run(ms(1000));
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn deleted_under_a_master_it_is_made_again() {
    let mut w = master("garp_master_refresh = 0\ngarp_master_delay = 0");
    w.run(ms(700));
    w.take();
    w.macvlans.clear();
    w.kernel.clear();
    w.node.link_gone(w.now, MADE);
    w.effects();
    w.settle();
    let did = w.take();
    assert_eq!(w.kind(), Kind::Master);
    let at = |d: Did| did.iter().position(|x| *x == d).unwrap_or_else(|| panic!("no {d:?} in {did:?}"));
    assert!(at(MAKE) < at(UP) && at(UP) < at(ADD));
    assert!(at(ADD) < at(Did::Announce(0)));
}

#[test]
fn another_in_its_place_is_taken_without_its_end_being_heard() {
    let mut w = master("garp_master_refresh = 0\ngarp_master_delay = 0");
    w.run(ms(700));
    w.take();
    w.kernel.clear();
    w.macvlans[0] = RtnlLink { ifindex: MADE + 1, ..made() };
    w.node.link(w.now, &w.macvlans[0].clone());
    w.effects();
    w.settle();
    let did = w.take();
    assert_eq!(w.kind(), Kind::Master);
    let up = Did::Vmac(VmacOp::Set { ifindex: MADE + 1, up: true });
    assert!(did.contains(&up) && did.contains(&ADD) && did.contains(&Did::Announce(0)), "{did:?}");
}

#[test]
fn put_down_by_somebody_it_comes_up_again_and_is_announced() {
    let mut w = master("garp_master_refresh = 0\ngarp_master_delay = 0");
    w.run(ms(700));
    w.take();
    w.kernel_says(made());
    w.run(ms(1));
    assert_eq!(w.take(), [UP, Did::Announce(0)]);
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn put_up_by_somebody_on_a_backup_it_goes_down() {
    let mut w = World::new(&cfg(""));
    w.begin(false);
    w.hear(PEER, 200);
    w.take();
    w.macvlans[0].up = true;
    w.kernel_says(RtnlLink { up: true, ..made() });
    assert_eq!(w.take(), [DOWN]);
}

#[test]
fn the_parent_takes_it_along_and_brings_it_back() {
    let mut w = master("");
    w.link(false);
    w.effects();
    w.settle();
    assert_eq!(w.kind(), Kind::Init);
    assert_eq!(w.take().last(), Some(&DOWN));
    w.macvlans.clear();
    w.macvlan_errno = libc::ENODEV;
    w.node.link_gone(w.now, MADE);
    w.effects();
    w.node.link_gone(w.now, ETH0);
    w.effects();
    w.settle();
    assert!(!w.events.iter().any(|e| matches!(e, Event::VmacFailed { .. })));
    w.run(ms(5000));
    w.macvlan_errno = 0;
    w.take();
    w.link(true);
    w.node.addr(w.now, &addr(Ipv4Addr::new(192, 168, 30, 116), 24, None, u32::MAX));
    w.effects();
    w.settle();
    assert_eq!(w.take()[..2], [MAKE, Did::Reread]);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn names_do_not_clash() {
    let section = |name: &str, dev: &str| {
        format!(
            "[vrrp {name}]\ninterface = {dev}\nvirtual_router_id = 51\nuse_vmac = yes\n\
             virtual_ipaddress = 192.168.30.230/24\n"
        )
    };
    let cfg = config(&(section("A", "eth0") + &section("B", "eth1").replace("230/24", "231/24")));
    let node = Node::new(&cfg, Time::ZERO);
    let names: Vec<&str> = node.links.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["eth0", "vrrp.51", "eth1", "vrrp.51.2"]);
}

#[test]
fn many_are_put_down_one_at_a_time_behind_all_removals() {
    let text: String = (1..=20)
        .map(|n| {
            format!(
                "[vrrp V{n}]\ninterface = eth0\nvirtual_router_id = {n}\nuse_vmac = yes\n\
                 virtual_ipaddress = 192.168.30.{}/24\n",
                n + 130
            )
        })
        .collect();
    let mut w = World::new(&config(&text));
    w.begin(false);
    w.run(ms(3700));
    assert!(w.node.routers.iter().all(Router::is_master));
    w.take();
    w.link(false);
    w.effects();
    w.node.tick(w.now);
    w.effects();
    let did = w.take();
    assert!((0..20).all(|e| did.contains(&Did::Remove(e))));
    assert_eq!(did.iter().filter(|d| matches!(d, Did::Vmac(_))).count(), 1);
    for _ in 0..20 {
        w.settle();
    }
    assert!(w.macvlans.iter().all(|l| !l.up));
}

#[test]
fn who_is_outranked_has_no_last_word() {
    // Both have one MAC: where it is the switches learn from every advert of the winner.
    let mut w = master("");
    w.hear_on_vmac(200);
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    w.run(ms(500));
    assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..))));
}
