//! Whose an address is, and what becomes of a master without any.

use super::*;
use crate::lease::state_file;

const LL: &str = "fe80::230";

fn lo() -> rtnl::Addr {
    // IFAPROT_KERNEL_LO: what every kernel that keeps tags tells of the loopback interface.
    rtnl::Addr { ifindex: 1, ..addr(Ipv4Addr::LOCALHOST, 8, Some(1), u32::MAX) }
}

/// A restarted vipd on a kernel without tags: what is in place of the VIP, and whether a state file names it.
fn restarted(there: rtnl::Addr, named: bool, master: bool, cfg: &Config) -> World {
    let mut w = World::new(cfg);
    w.old_kernel = true;
    if named {
        w.node.addrs.remember(VIP.into());
    }
    let tstamp = ((w.now.as_nanos() - 300_000_000) / 10_000_000) as u32;
    w.node.addr(w.now, &rtnl::Addr { tstamp, ..there });
    w.begin(master);
    w
}

#[test]
fn without_tags_the_state_file_says_whose_it_is() {
    let (lease, forever) = (addr(VIP, 32, None, 2), addr(VIP, 32, None, u32::MAX));
    let w = restarted(lease, true, true, &one(""));
    assert_eq!(w.node.routers[0].why, Why::Resumed);
    assert!(w.did.iter().any(|(_, d)| *d == Did::Renew(0)));

    let off = one("lease = off");
    for (what, there, named, cfg, removed) in [
        ("not resumed", lease, true, one(""), true),
        ("with the configured length", addr(VIP, 24, None, 2), true, one(""), true),
        ("with another length", addr(VIP, 25, None, 2), true, one(""), false),
        ("in no state file", lease, false, one(""), false),
        ("made permanent", forever, true, one(""), false),
        ("permanent by configuration", forever, true, off.clone(), true),
        ("permanent and in no state file", forever, false, off, false),
        ("the owner's", forever, true, one("priority = 255"), false),
    ] {
        let mut w = restarted(there, named, false, &cfg);
        assert_eq!(w.take().contains(&Did::Remove(0)), removed, "{what}");
    }
    // A kernel that keeps tags tells them: then what has none is somebody else's.
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &lo());
    w.node.addrs.remember(VIP.into());
    w.node.addr(w.now, &lease);
    w.begin(true);
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn a_kernel_without_tags_is_as_good() {
    let cfg = config(&format!(
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = {VIP}/24\n\
         virtual_ipaddress_excluded = 2001:db8::230/64\n"
    ));
    let mut w = World::new(&cfg);
    w.old_kernel = true;
    w.begin(false);
    w.run(ms(4000));
    let did = w.take();
    for entry in 0..2 {
        assert!(did.contains(&Did::Add(entry, Some(1))) && did.contains(&Did::Announce(entry)), "{did:?}");
    }
    // Everything is read again: it is still ours.
    w.reread();
    w.run(ms(2000));
    let did = w.take();
    assert!(did.contains(&Did::Renew(0)) && did.contains(&Did::Renew(1)), "{did:?}");
    assert_eq!(w.events, []);
    // Deleted by somebody else: put back.
    w.kernel.retain(|(e, ..)| *e != 0);
    w.node.addr_gone(w.now, &addr(VIP, 32, None, 1));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Add(0, Some(1))));
    // Made permanent by somebody else: let alone.
    w.node.addr(w.now, &addr(VIP, 32, None, u32::MAX));
    w.effects();
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    w.node.stop(w.now);
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Remove(1)) && !did.contains(&Did::Remove(0)), "{did:?}");
}

#[test]
fn what_is_left_of_another_configuration_is_found() {
    let mut w = World::new(&one(""));
    let old = Ipv4Addr::new(192, 168, 30, 240);
    let untagged = Ipv4Addr::new(192, 168, 30, 241);
    let unnamed = Ipv4Addr::new(192, 168, 30, 242);
    w.node.addr(w.now, &addr(old, 24, Some(TAG), u32::MAX));
    w.node.addr(w.now, &rtnl::Addr { ifindex: 7, ..addr(old, 32, Some(TAG), 2) });
    w.node.addr(w.now, &addr(untagged, 24, None, u32::MAX));
    w.node.addr(w.now, &addr(unnamed, 24, Some(TAG), u32::MAX));
    w.node.addr(w.now, &addr(VIP, 32, Some(TAG), 2));
    // What an earlier vipd wrote.
    let mut before = (*one("").vrrp[0]).clone();
    for ip in [old, untagged] {
        before.excluded.push(config::Vip { addr: ip.into(), prefix: 24, dev: None, label: None });
    }
    for (cfg, found) in [(&before, true), (&config::Vrrp { priority: 255, ..before.clone() }, false)] {
        let file = state_file::render(cfg, true);
        let named: Vec<(IpAddr, &str)> = state_file::addresses(&file).collect();
        assert!(named.iter().all(|(_, dev)| *dev == "eth0"));
        let named: Vec<(IpAddr, u32)> = named.into_iter().map(|(a, _)| (a, ETH0)).collect();
        let ops = w.node.addrs.leftovers(&named);
        let ops: Vec<_> = ops.iter().map(|op| (op.kind, op.addr, op.ifindex, op.prefix)).collect();
        let expected = (OpKind::Remove, IpAddr::from(old), ETH0, 24);
        assert_eq!(ops, if found { vec![expected] } else { vec![] });
    }
}

/// Two masters take turns otherwise: the one that preempts and cannot hold, and the one that can.
#[test]
fn a_master_that_may_hold_nothing_is_none_and_does_not_come_back_for_it() {
    let mut w = World::new(&one(""));
    w.add_errno = libc::EACCES;
    w.begin(false);
    w.hear(PEER, 50);
    w.run(ms(5000));
    let i = &w.node.routers[0];
    assert!(i.faults.only(Faults::REFUSED) && i.faults.has(Faults::REFUSED), "{:?}", i.faults);
    let did: Vec<Did> = w.take().into_iter().filter(|d| matches!(d, Did::Advert(..))).collect();
    assert_eq!(did, [Did::Advert(0, 100), Did::Advert(0, 100), Did::Advert(0, 0)]);
    // The other one is master from now on, but for a second less and less often.
    let mut tries = Vec::new();
    for second in 0..3700 {
        w.hear(PEER, 50);
        w.run(ms(1000));
        tries.extend(w.take().contains(&Did::Advert(0, 100)).then_some(second));
    }
    tries.dedup_by_key(|t| *t / 10);
    let pauses: Vec<i32> = tries.windows(2).map(|t| t[1] - t[0]).collect();
    assert!((4..9).contains(&tries.len()) && pauses.is_sorted() && tries[0] > 65, "{tries:?}");
    // Alone: it is tried, less and less often.
    let mut tries = Vec::new();
    for second in 0..2000 {
        w.run(ms(1000));
        tries.extend(w.take().contains(&Did::Advert(0, 100)).then_some(second));
    }
    tries.dedup_by_key(|t| *t / 10);
    assert!((5..12).contains(&tries.len()), "{tries:?}");
    // The kernel has changed its mind, and says so by a change of the interface.
    w.add_errno = 0;
    w.hear(PEER, 50);
    w.run(ms(100));
    w.node.link(w.now, &RtnlLink { mtu: 1400, ..eth(ETH0, b"eth0") });
    w.effects();
    w.settle();
    for _ in 0..4 {
        w.hear(PEER, 50);
        w.run(ms(1000));
    }
    assert_eq!((w.kind(), w.node.routers[0].refused.times.failures()), (Kind::Master, 0));
    assert!(w.node.addrs.is_held(0));
}

/// One of several is not had: the others serve.
#[test]
fn a_master_with_one_address_is_one() {
    let mut w = master(&one("virtual_ipaddress_excluded = 192.168.30.231/24"));
    w.add_errno = libc::EINVAL;
    w.kernel.retain(|(e, ..)| *e != 0);
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.effects();
    w.settle();
    w.run(ms(20_000));
    assert_eq!((w.kind(), w.node.addrs.is_held(0), w.node.addrs.is_refused(0)), (Kind::Master, false, true));
    // The last one goes, too.
    w.node.addr_gone(w.now, &addr(Ipv4Addr::new(192, 168, 30, 231), 32, Some(TAG), 2));
    w.kernel.clear();
    w.effects();
    w.settle();
    w.run(ms(1500));
    assert_eq!(w.kind(), Kind::Init);
    // An interface that is just going is another fault.
    let mut w = World::new(&one(""));
    w.add_errno = libc::ENODEV;
    w.begin(false);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn an_owner_without_its_address_holds_nothing() {
    let mut w = World::new(&one("priority = 255"));
    let status = |w: &World| crate::report::status::text(&w.node, "n", w.now, w.now);
    w.begin(false);
    assert!(status(&w).contains("eth0: not held"), "{}", status(&w));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.settle();
    assert!(status(&w).contains("eth0: held, permanent"), "{}", status(&w));
    w.node.addr_gone(w.now, &addr(VIP, 24, None, u32::MAX));
    w.effects();
    assert!(status(&w).contains("eth0: not held"), "{}", status(&w));
}

#[test]
fn what_is_deleted_again_and_again_is_counted() {
    let mut w = master(&one(""));
    for times in 1..=3 {
        w.kernel.clear();
        w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
        w.effects();
        w.settle();
        assert!(w.events.contains(&Event::VipDeleted { entry: 0, times }));
        // At once the first time, then after a pause.
        assert_eq!(w.node.addrs.is_held(0), times == 1);
        w.run(ms(10) * times);
        assert!(w.node.addrs.is_held(0), "it was put back");
        let text = crate::report::words::render(&w.node, &Event::VipDeleted { entry: 0, times }).1;
        assert_eq!(text.contains(&format!("{times} times so far")), times > 1, "{text}");
        w.run(ms(1000));
    }
    assert_eq!((w.kind(), w.node.routers[0].stats.vips_deleted), (Kind::Master, 3));
}

/// A macvlan follows the MTU of its parent down, and not up again: without IPv6 for ever.
#[test]
fn a_macvlan_that_has_no_ipv6_any_more_is_made_again() {
    let cfg = config(&format!(
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nuse_vmac = yes\nvirtual_ipaddress = {VIP}/24\n\
         virtual_ipaddress_excluded = 2001:db8::230/64, {LL}\n"
    ));
    let mut w = master(&cfg);
    let made = w.macvlans[0];
    let eth0 = eth(ETH0, b"eth0");
    w.node.link(w.now, &RtnlLink { mtu: 1000, ..eth0 });
    w.macvlans[0].mtu = 1000;
    w.node.link(w.now, &RtnlLink { mtu: 1000, ..made });
    w.effects();
    w.settle();
    assert!(!w.take().iter().any(|d| matches!(d, Did::Unmake(_))), "it would be no better");
    w.node.link(w.now, &eth0);
    w.node.link(w.now, &eth0);
    w.effects();
    let unmade = |d: &Did| *d == Did::Unmake(made.ifindex);
    assert_eq!(w.take().into_iter().filter(unmade).count(), 1);
    w.node.link_gone(w.now, made.ifindex);
    w.effects();
    w.settle();
    w.run(ms(1500));
    assert!(w.take().contains(&Did::Vmac(VmacOp::Make { parent: ETH0 })));
    assert!((0..3).all(|e| w.node.addrs.is_held(e)) && w.kind() == Kind::Master);
}

/// Whenever it is deleted, it is back at once: behind the last advert, or one of its own.
#[test]
fn what_is_deleted_at_any_time_is_put_back_at_once() {
    for age in (0..1000).step_by(5) {
        let mut w = master(&one("virtual_ipaddress_excluded = 2001:db8::230/64"));
        w.run(ms(1000));
        let last = w.last_advert[0].expect("it is master");
        let next = last + ms(1000 + age);
        w.run_to(next);
        let six: IpAddr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x230).into();
        w.kernel.retain(|(e, ..)| *e != 1);
        w.take();
        w.node.addr_gone(w.now, &addr(six, 64, Some(TAG), 1));
        w.effects();
        w.settle();
        assert!(w.take().contains(&Did::Add(1, Some(1))), "{age} ms after an advert");
    }
    // The kernel may end a lease 20 ms early: nobody deleted that.
    for (left, deleted) in [(10, false), (100, true)] {
        let mut w = master(&one(""));
        let end = w.kernel[0].1 + ms(1000);
        w.sends_fail = true;
        w.now = end - ms(left);
        w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 1));
        w.effects();
        w.events.extend(std::iter::from_fn(|| w.node.next_event()));
        assert_eq!(
            w.events.contains(&Event::VipDeleted { entry: 0, times: 1 }),
            deleted,
            "{left} ms before its end"
        );
    }
}
