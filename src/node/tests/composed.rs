//! Where two features meet.

use super::*;

/// An address that is put back at once has lost nothing: its connections go on.
#[test]
fn a_late_renewal_cuts_no_connection() {
    let mut w = master(&one(""));
    w.run(ms(200));
    let last = w.last_advert[0].expect("a master");
    w.take();
    w.resets = 0;
    let op = Op {
        kind: OpKind::Replace,
        entry: 0,
        ifindex: ETH0,
        addr: VIP.into(),
        prefix: 32,
        lease: Some(1),
        label: None,
    };
    w.node.addrs_done(w.now, last + ms(700), &[(op, 0)]);
    w.now = last + ms(700);
    w.effects();
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Remove(0)) && did.contains(&Did::Add(0, Some(1))), "{did:?}");
    assert_eq!(w.resets, 0);
    w.hear(PEER, 200);
    w.run(ms(60));
    assert_eq!(w.resets, 1, "it moves");
}

/// `garp_lower_prio_repeat` rules what follows an advert of somebody else, and not what follows a change of
/// our own.
#[test]
fn a_new_mac_is_announced_whatever_is_done_about_lower_adverts() {
    let mut w = master(&one("garp_lower_prio_repeat = 0\ngarp_master_delay = 0\ngarp_master_repeat = 2"));
    w.run(ms(1000));
    w.take();
    w.hear(PEER, 50);
    w.run(ms(300));
    assert!(!w.take().contains(&Did::Announce(0)));
    w.node.link(w.now, &RtnlLink { mac: Some([2, 0, 0, 0, 0, 9]), ..eth(ETH0, b"eth0") });
    w.run(ms(300));
    let announced = w.take().iter().filter(|d| **d == Did::Announce(0)).count();
    assert_eq!(announced, 2);
}

/// A link-local address means another one on each interface.
#[test]
fn a_link_local_vip_of_one_interface_is_the_own_address_of_another() {
    let section = |n: u8, eth: u8, vip: &str| {
        format!("[vrrp V{n}]\ninterface = eth{eth}\nvirtual_router_id = {n}\nvirtual_ipaddress = {vip}\n")
    };
    let own: IpAddr = "fe80::1".parse().unwrap();
    let text = section(1, 0, "fe80::1/64") + &section(2, 1, "fe80::99/64");
    let mut w = World::new(&config(&text));
    w.own.push(addr("fe80::100".parse::<Ipv6Addr>().unwrap(), 64, None, u32::MAX));
    w.own.push(rtnl::Addr { ifindex: 3, ..addr(own, 64, None, u32::MAX) });
    w.eth(3, b"eth1");
    for a in w.own.clone() {
        w.node.addr(w.now, &a);
    }
    w.begin(false);
    assert_eq!(w.node.routers[1].src, Some(own));
    w.node.addr_gone(w.now, &rtnl::Addr { ifindex: 3, ..addr(own, 64, None, u32::MAX) });
    assert!(w.node.routers[1].faults.has(Faults::NO_ADDRESS));
}

#[test]
fn a_bond_with_another_active_slave_is_announced_again() {
    let mut w = master(&one("garp_master_delay = 0\ngarp_master_refresh = 0"));
    w.run(ms(1000));
    for (moved, rounds) in [(false, 0), (true, 5)] {
        w.take();
        w.node.link(w.now, &RtnlLink { moved, ..eth(ETH0, b"eth0") });
        w.run(ms(1000));
        assert_eq!(w.take().iter().filter(|d| **d == Did::Announce(0)).count(), rounds);
    }
}

/// A neighbour with another VRID is nothing; one that takes up our address later is.
#[test]
fn a_foreign_vrid_is_told_again_when_it_has_our_address() {
    let mut w = master(&one(""));
    let mut other = (*w.node.routers[0].cfg).clone();
    other.vrid = 52;
    let ours = other.vips.clone();
    other.vips[0].addr = [10, 0, 0, 1].into();
    w.events.clear();
    for vips in [other.vips.clone(), other.vips.clone(), ours.clone(), ours, other.vips.clone()] {
        other.vips = vips;
        let bytes = packet(&other, PEER, 200);
        w.node.packet(w.now, 0, &bytes);
    }
    w.effects();
    let unknown_vrid = |vip| Event::UnknownVrid { link: 0, vrid: 52, src: IpAddr::V4(PEER), vip };
    assert_eq!(w.events, [unknown_vrid(None), unknown_vrid(Some(0))]);
}
