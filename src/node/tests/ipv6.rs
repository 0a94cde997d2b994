//! IPv6, and addresses that are held but not advertised.

use super::*;
use crate::wire::ndp::Na;

const OWN: &str = "fe80::116";
const OTHER: &str = "fe80::117";

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn vrrp(name: &str, more: &str) -> String {
    format!("[vrrp {name}]\ninterface = eth0\nvirtual_router_id = 51\n{more}\n")
}

/// fe80::230 and 2001:db8::230; `more` goes into its section.
fn six(more: &str) -> Config {
    config(&vrrp("VI_6", &format!("virtual_ipaddress = fe80::230, 2001:db8::230/64\n{more}")))
}

/// An IPv4 election that carries an IPv6 address.
fn mixed(more: &str) -> Config {
    let vips = "virtual_ipaddress = 192.168.30.230/24\nvirtual_ipaddress_excluded = 2001:db8::230/64";
    config(&vrrp("VI_1", &format!("{vips}\n{more}")))
}

fn link_local(ip: &str, flags: u32) -> rtnl::Addr {
    rtnl::Addr { flags, scope: 253, ..addr(v6(ip), 64, None, u32::MAX) }
}

/// eth0 has a link-local address and one of the VIPs' subnet.
fn world(cfg: &Config) -> World {
    let mut w = World::new(cfg);
    for a in [link_local(OWN, 0x80), link_local("2001:db8::116", 0x80)] {
        w.node.addr(w.now, &a);
        w.others.push(a);
    }
    w
}

fn master(cfg: &Config) -> World {
    let mut w = elected(world(cfg));
    w.batches.clear();
    w
}

fn na(w: &mut World, target: &str, mac: [u8; 6]) {
    w.node.neighbour(w.now, 0, &Na { target: v6(target), mac: Some(mac) });
    w.settle();
}

#[test]
fn becoming_master_announces_what_can_be_reached() {
    let mut w = world(&six(""));
    w.begin(false);
    w.take();
    w.worker_is_slow = true;
    w.run(ms(3610));
    let did = w.take();
    assert_eq!(did[..3], [Did::Advert(0, 100), Did::Add(0, Some(1)), Did::Add(1, Some(1))]);
    assert!(!did.iter().any(|d| matches!(d, Did::Announce(_))), "the kernel has no route yet: {did:?}");
    for ip in ["fe80::230", "2001:db8::230"] {
        w.node.addr(w.now, &leased(v6(ip).into()));
    }
    w.settle();
    assert_eq!(w.take(), [Did::Announce(0), Did::Announce(1), Did::Remember(Memory::Master)]);
    // The events of renewals are none.
    w.node.addr(w.now, &leased(v6("fe80::230").into()));
    w.settle();
    assert_eq!(w.take(), []);
}

#[test]
fn adverts_come_from_the_link_local_address_once_it_is_usable() {
    let mut w = World::new(&six(""));
    for (ip, flags) in [(OWN, 0xc0), ("fe80::118", 0x88), ("2001:db8::116", 0x80), ("fe80::230", 0x80)] {
        w.node.addr(w.now, &link_local(ip, flags));
    }
    w.begin(false);
    assert_eq!(w.kind(), Kind::Init);
    assert!(w.node.routers[0].faults.only(Faults::NO_ADDRESS));
    w.node.addr(w.now, &link_local(OWN, 0x80)); // it was tentative
    w.settle();
    assert_eq!((w.kind(), w.node.routers[0].src), (Kind::Backup, Some(v6(OWN).into())));
    w.node.addr_gone(w.now, &link_local(OWN, 0x80));
    assert_eq!(w.kind(), Kind::Init);

    let mut w = World::new(&six("mcast_src_ip = fe80::119"));
    w.node.addr(w.now, &link_local(OWN, 0x80));
    w.node.addr(w.now, &link_local("fe80::119", 0xc0));
    w.begin(false);
    assert!(w.node.routers[0].faults.only(Faults::NO_SOURCE));
    w.node.addr(w.now, &link_local("fe80::119", 0x80));
    w.settle();
    assert_eq!(w.node.routers[0].src, Some(v6("fe80::119").into()));
}

#[test]
fn an_advert_is_the_message_with_all_but_what_is_excluded() {
    let mut w = master(&six("virtual_ipaddress_excluded = 192.168.30.230/24, 2001:db8::231/64"));
    let mut out = Vec::new();
    assert_eq!(w.node.encode_advert(0, 100, 0, w.now, &mut out), Some((v6(OWN).into(), GROUP_V6.into())));
    let (carrier, message) = packet_v6(&w.node.routers[0].cfg, v6(OWN), 100);
    assert_eq!((out.len(), carrier.dst), (8 + 2 * 16, GROUP_V6.into()));
    assert_eq!(out, message);
}

#[test]
fn a_tie_is_broken_by_all_sixteen_octets() {
    for (src, stays) in [("fe80::115", true), ("fe80::1:115", false), (OTHER, false)] {
        let mut w = master(&six(""));
        w.hear_v6(0, v6(src), 100);
        assert_eq!(w.kind() == Kind::Master, stays, "{src}");
    }
}

#[test]
fn both_families_may_have_the_same_vrid() {
    let text =
        vrrp("VI_4", "virtual_ipaddress = 192.168.30.230") + &vrrp("VI_6", "virtual_ipaddress = fe80::230");
    let mut w = master(&config(&text));
    w.hear_v6(1, v6(OTHER), 200);
    let kinds = |w: &World| [0, 1].map(|i| w.node.routers[i].machine.kind());
    assert_eq!(kinds(&w), [Kind::Master, Kind::Backup]);
    w.hear(PEER, 200);
    assert_eq!(kinds(&w), [Kind::Backup, Kind::Backup]);
    let received = |i: usize| w.node.routers[i].stats.adverts_received;
    assert_eq!([received(0), received(1)], [1, 1]);
}

#[test]
fn what_is_not_ours_is_counted_and_said() {
    let mut w = master(&six(""));
    let (good, message) = packet_v6(&w.node.routers[0].cfg, v6(OTHER), 200);
    let mut bad = message.clone();
    bad[6] ^= 1;
    w.node.packet_v6(w.now, 0, good, &bad);
    w.node.packet_v6(w.now, 0, IpInfo { ttl: 254, ..good }, &message);
    w.node.packet_v6(w.now, 0, IpInfo { dst: v6(OWN).into(), ..good }, &message);
    w.node.packet_v6(w.now, 0, good, &[]);
    let mut other = (*w.node.routers[0].cfg).clone();
    other.vrid = 52;
    let (carrier, message) = packet_v6(&other, v6(OTHER), 200);
    w.node.packet_v6(w.now, 0, carrier, &message);
    w.effects();
    assert_eq!(w.kind(), Kind::Master);
    assert_eq!(w.node.routers[0].stats.all().find(|(n, _)| *n == "checksum"), Some(("checksum", 1)));
    assert_eq!(w.node.routers[0].stats.all().find(|(n, _)| *n == "destination"), Some(("destination", 1)));
    let bogus: Vec<_> = w.node.links[0].bogus.all().filter(|(_, n)| *n > 0).collect();
    assert_eq!(bogus, [("ttl", 1), ("short", 1), ("vrid", 1)]);
    let unknown_vrid = Event::UnknownVrid { link: 0, vrid: 52, src: v6(OTHER).into(), vip: Some(0) };
    assert!(w.events.contains(&unknown_vrid));
}

#[test]
fn the_successors_neighbour_advertisement_ends_the_hand_over() {
    let mut w = master(&six(""));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    w.run(ms(300));
    na(&mut w, "2001:db8::230", MAC); // ourselves
    w.hear_v6(0, v6(OTHER), 99);
    w.run(ms(20));
    assert!(!w.take().contains(&Did::Remove(0)), "the advert alone is too early");
    na(&mut w, "2001:db8::99", [9; 6]);
    for vip in w.node.routers[0].vips.clone() {
        na(&mut w, &vip.to_string(), [9; 6]);
    }
    w.run(ms(4));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(1), Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn one_election_carries_both_families() {
    let mut w = world(&mixed(""));
    w.begin(false);
    w.run(ms(3700));
    let did = w.take();
    assert!(did.contains(&Did::Add(1, Some(1))) && did.contains(&Did::Announce(1)), "{did:?}");
    assert!(w.node.links[0].has_v6_vips && w.node.links[0].demux_v6.vrids().next().is_none());
    // An advert that lists the advertised one alone is no mismatch.
    w.hear(PEER, 50);
    assert_eq!(w.node.routers[0].stats.list_mismatch, 0);
    w.hear(PEER, 200);
    w.garp([9; 6]);
    na(&mut w, "2001:db8::230", [9; 6]);
    w.run(ms(6));
    let did = w.take();
    assert!(did.contains(&Did::Remove(0)) && did.contains(&Did::Remove(1)), "{did:?}");
}

#[test]
fn everything_that_was_held_must_be_there_to_resume() {
    let stamped = |w: &World, ip: IpAddr| {
        let mut a = leased(ip);
        a.tstamp = ((w.now.as_nanos() - 300_000_000) / 10_000_000) as u32;
        a
    };
    for (vips, why) in [(2, Why::Resumed), (1, Why::Started)] {
        let mut w = world(&mixed(""));
        for ip in [VIP.into(), v6("2001:db8::230").into()].into_iter().take(vips) {
            let a = stamped(&w, ip);
            w.node.addr(w.now, &a);
        }
        w.begin(true);
        assert_eq!(w.node.routers[0].why, why);
        let did = w.take();
        let (kept, gone) = (did.contains(&Did::Renew(1)) && did.contains(&Did::Announce(1)), Did::Remove(0));
        assert_eq!((kept, did.contains(&gone)), (vips == 2, vips == 1), "{did:?}");
    }
}

#[test]
fn an_owner_owns_what_is_excluded_too() {
    let mut w = World::new(&mixed("priority = 255"));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    assert!(w.node.routers[0].faults.only(Faults::NOT_OWNER));
    w.node.addr(w.now, &addr(v6("2001:db8::230"), 64, None, u32::MAX));
    w.settle();
    w.run(ms(1));
    let did = w.take();
    assert!(did.contains(&Did::Announce(0)) && did.contains(&Did::Announce(1)), "{did:?}");
    assert!(!did.iter().any(|d| matches!(d, Did::Add(..))));
}

#[test]
fn the_owner_of_its_link_local_address_sends_from_it() {
    let mut w = World::new(&six("priority = 255"));
    for ip in ["fe80::230", "2001:db8::230"] {
        w.node.addr(w.now, &link_local(ip, 0x80));
    }
    w.begin(false);
    assert_eq!((w.kind(), w.node.routers[0].src), (Kind::Master, Some(v6("fe80::230").into())));
}

#[test]
fn a_deleted_address_is_put_back_at_once_whenever_it_is_deleted() {
    for age in (0..1000).step_by(5) {
        let mut w = master(&six(""));
        w.run(ms(2000 + age));
        w.take();
        w.kernel.retain(|(e, ..)| *e != 1);
        w.node.addr_gone(w.now, &leased(v6("2001:db8::230").into()));
        w.effects();
        w.settle();
        assert!(w.take().contains(&Did::Add(1, Some(1))), "{age} ms later");
    }
}

#[test]
fn a_deleted_address_is_put_back_and_a_foreign_one_left_alone() {
    let mut w = master(&six(""));
    w.kernel.retain(|(e, ..)| *e != 1);
    w.node.addr_gone(w.now, &leased(v6("2001:db8::230").into()));
    w.effects();
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Add(1, Some(1))) && did.contains(&Did::Announce(1)), "{did:?}");

    let mut w = world(&six(""));
    w.node.addr(w.now, &addr(v6("2001:db8::230"), 64, None, u32::MAX));
    w.begin(false);
    w.run(ms(6000));
    assert!(w.events.contains(&Event::VipForeign { entry: 1 }));
    let did = w.take();
    assert!(did.contains(&Did::Announce(0)));
    assert!(!did.iter().any(|d| matches!(d, Did::Add(1, _) | Did::Renew(1) | Did::Announce(1))), "{did:?}");
}

#[test]
fn the_prefix_is_that_of_a_host_where_the_subnet_is_there() {
    let prefixes = |other: Option<&str>| {
        let mut w = World::new(&six(""));
        w.node.addr(w.now, &link_local(OWN, 0x80));
        if let Some(ip) = other {
            w.node.addr(w.now, &addr(v6(ip), 64, None, u32::MAX));
        }
        w.begin(false);
        w.node.stop(w.now); // it never gets there by itself
        let mut book = std::mem::take(&mut w.node.addrs);
        book.acquire(0);
        book.advert_sent(0, w.now);
        let (mut ops, mut out) = (Vec::new(), Vec::new());
        book.flush(w.now, &mut ops, &mut out);
        ops.iter().map(|op| op.prefix).collect::<Vec<_>>()
    };
    assert_eq!(prefixes(None), [128, 64]);
    assert_eq!(prefixes(Some("2001:db8::1")), [128, 128]);
    assert_eq!(prefixes(Some("2001:db8:1::1")), [128, 64]);
}

/// Of IPv6 we hear what we did ourselves, and some of it late.
#[test]
fn our_own_removal_is_nobody_elses_and_undoes_nothing() {
    let mut w = master(&six("make_before_break = no"));
    w.worker_is_slow = true;
    w.hear_v6(0, v6(OTHER), 200);
    assert!(w.take().contains(&Did::Remove(1)));
    let ours = leased(v6("2001:db8::230").into());
    w.node.addr(w.now, &ours); // a renewal before
    assert!(!w.node.addrs.holds_any(0));
    w.run(ms(3700));
    assert!(w.take().contains(&Did::Add(1, Some(1))), "master again");
    w.node.addr_gone(w.now, &ours); // the removal
    w.node.addr(w.now, &ours);
    w.settle();
    assert!(w.node.addrs.is_held(1) && w.take().contains(&Did::Announce(1)));
    assert!(!w.events.iter().any(|e| matches!(e, Event::VipDeleted { .. })));
    w.node.addr_gone(w.now, &ours);
    w.effects();
    assert!(w.events.contains(&Event::VipDeleted { entry: 1, times: 1 }), "this one was somebody else");
}

/// Made of the VRID, it is the same wherever that is.
#[test]
fn the_same_link_local_address_on_two_interfaces_is_two() {
    let eth = |n: u8| {
        format!(
            "[vrrp V{n}]\ninterface = eth{n}\nvirtual_router_id = 51\nvirtual_ipaddress = 2001:db8:{n}::230/64\n"
        )
    };
    let mut w = World::new(&config(&(eth(0) + &eth(1))));
    w.eth(3, b"eth1");
    let ip = w.node.addrs.entries[0].addr;
    assert_eq!(w.node.addrs.entries[2].addr, ip);
    w.node.addr(w.now, &rtnl::Addr { ifindex: 3, ..leased(ip) });
    w.begin(false);
    assert!(w.take().contains(&Did::Remove(2)), "what is left of it on eth1 is removed there");
    for ifindex in [ETH0, 3] {
        let a = rtnl::Addr { ifindex, ..link_local(OWN, 0x80) };
        w.node.addr(w.now, &a);
        w.others.push(a);
    }
    w.more_links.push(3);
    w.settle();
    w.run(ms(4000));
    let held = |w: &World| [0, 1].map(|i| w.node.addrs.holds_any(i));
    assert_eq!(held(&w), [true, true]);
    w.take();
    w.kernel.retain(|(e, ..)| *e != 2);
    w.node.addr_gone(w.now, &rtnl::Addr { ifindex: 3, ..leased(ip) });
    assert!(!w.node.addrs.is_held(2) && w.node.addrs.is_held(0));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Add(2, Some(1))));
}

/// 45 addresses: the theorem holds at each renewal, and a stall between two batches is noticed.
#[test]
fn many_addresses_go_in_batches_with_a_look_at_the_clock_each() {
    let vips: Vec<String> = (1..45).map(|i| format!("2001:db8::1:{i}")).collect();
    let mut w = world(&config(&vrrp("V", &format!("virtual_ipaddress = {}", vips.join(", ")))));
    w.theorem = true;
    w.begin(false);
    w.run(ms(10_000));
    let first: Vec<usize> = w.batches.iter().copied().take(3).collect();
    assert_eq!(first, [20, 20, 20], "the round of renewals begins where the additions end");
    w.run_to(w.node.routers[0].machine.deadline().unwrap() - ms(1));
    w.take();
    w.batches.clear();
    w.pause_before_second_batch = Some(ms(700));
    w.run(ms(2));
    let renewed = w.take().iter().filter(|d| matches!(d, Did::Renew(_))).count();
    assert_eq!((renewed, &w.batches[..]), (20, &[20, 20][..]));
}

#[test]
fn unicast_copies_have_a_checksum_each() {
    let mut w = master(&six("unicast_peer = fe80::117, fe80::118"));
    let mut out = Vec::new();
    let mut messages = Vec::new();
    for (copy, to) in ["fe80::117", "fe80::118"].into_iter().enumerate() {
        assert_eq!(
            w.node.encode_advert(0, 100, copy, w.now, &mut out),
            Some((v6(OWN).into(), v6(to).into()))
        );
        messages.push(out.clone());
    }
    assert_eq!(w.node.encode_advert(0, 100, 2, w.now, &mut out), None);
    assert_ne!(messages[0][6..8], messages[1][6..8]);
    // As the peer hears it; from a stranger, or to the group, it is refused.
    let carrier = IpInfo { src: v6("fe80::117").into(), dst: v6(OWN).into(), ttl: 255 };
    let mut hear = |carrier: IpInfo| {
        let cfg = w.node.routers[0].cfg.clone();
        let message = message(&cfg, carrier.src, carrier.dst, 200);
        w.node.packet_v6(w.now, 0, carrier, &message);
        w.kind()
    };
    assert_eq!(hear(IpInfo { src: v6("fe80::99").into(), ..carrier }), Kind::Master);
    assert_eq!(hear(IpInfo { dst: GROUP_V6.into(), ..carrier }), Kind::Master);
    assert_eq!(hear(carrier), Kind::Backup);
}

/// An MTU below 1280, or `disable_ipv6`, takes the memberships of open sockets away, and the old sockets
/// would take those of the new ones along.
#[test]
fn who_has_a_link_local_address_again_joins_again() {
    let mut w = world(&six(""));
    w.begin(false);
    w.node.addr_gone(w.now, &link_local(OWN, 0x80));
    w.effects();
    w.node.addr(w.now, &link_local(OWN, 0x40));
    assert_eq!(w.node.next_effect(), None, "tentative");
    w.node.addr(w.now, &link_local(OWN, 0));
    assert_eq!(w.node.next_effect(), Some(Effect::Close { link: 0 }));
    assert_eq!(w.node.next_effect(), Some(Effect::Open { link: 0, ifindex: ETH0 }));
    assert_eq!(w.kind(), Kind::Init);
    w.node.opened(w.now, 0);
    assert_eq!(w.kind(), Kind::Backup);
}
