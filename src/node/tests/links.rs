//! Interfaces that come and go, their sockets, and `startup_delay`.

use super::*;

#[test]
fn link_down_lets_go_first_and_recovers() {
    let mut w = master(&one(""));
    w.link(false);
    w.effects();
    assert_eq!(w.take()[..3], [Did::Remove(0), Did::Remember(Memory::Leaving), Did::Advert(0, 0)]);
    assert_eq!(w.kind(), Kind::Init);
    w.run(ms(3000));
    w.link(true);
    w.effects();
    w.settle();
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn a_port_of_a_bridge_takes_no_part() {
    for more in ["", "dont_track_primary = yes"] {
        let mut w = master(&one(more));
        let put = |w: &mut World, is_port| {
            w.node.link(w.now, &RtnlLink { is_port, ..eth(ETH0, b"eth0") });
            w.effects();
        };
        put(&mut w, true);
        // The interface sends still, so the backups hear priority 0.
        assert_eq!(w.take().contains(&Did::Advert(0, 0)), more.is_empty());
        assert_eq!(w.node.routers[0].faults.has(Faults::PORT), more.is_empty());
        assert_eq!(w.kind(), if more.is_empty() { Kind::Init } else { Kind::Master });
        put(&mut w, false);
        w.run(ms(4000));
        assert_eq!(w.kind(), Kind::Master);
    }
}

#[test]
fn an_interface_may_come_late_go_and_come_back_as_another() {
    let cfg = one("");
    let mut w = World::new(&cfg);
    w.node = Node::new(&cfg, w.now);
    w.begin(false);
    assert!(w.node.routers[0].faults.has(Faults::NO_INTERFACE));
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
        assert!(w.node.routers[0].faults.has(Faults::SOCKET));
        w.events.extend(std::iter::from_fn(|| w.node.next_event()));
        assert_eq!(failed(&w), said);
    }
    w.run(ms(1500));
    assert!(!w.node.routers[0].faults.has(Faults::SOCKET));
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
fn a_flap_shorter_than_what_the_backups_wait_goes_on() {
    let flap = |w: &mut World, d: Duration| {
        w.take();
        w.link(false);
        w.effects();
        w.settle();
        assert_eq!(w.kind(), Kind::Init);
        w.run(d);
        w.link(true);
        w.effects();
        w.settle();
    };
    let mut w = master(&one(""));
    flap(&mut w, ms(1500));
    assert_eq!((w.kind(), w.node.routers[0].why), (Kind::Master, Why::Resumed));
    let did = w.take();
    assert!(did.contains(&Did::Remove(0)) && did.contains(&Did::Advert(0, 100)), "{did:?}");
    assert!(matches!(did.iter().rfind(|d| matches!(d, Did::Add(..) | Did::Remove(_))), Some(Did::Add(0, _))));
    // Somebody else may be master by now.
    flap(&mut w, ms(3000));
    assert_eq!(w.kind(), Kind::Backup);
    // Within one turn priority 0 is overtaken.
    let mut w = master(&one(""));
    w.link(false);
    w.link(true);
    w.effects();
    w.settle();
    assert_eq!(w.kind(), Kind::Master);
    assert!(!w.take().contains(&Did::Advert(0, 0)));
}

/// systemd-networkd flushes an interface and puts its addresses back.
#[test]
fn without_its_address_it_says_goodbye_from_the_one_that_it_had() {
    let mut w = master(&one(""));
    w.node.addr_gone(w.now, &w.own[0].clone());
    let mut out = Vec::new();
    let own = IpAddr::V4(Ipv4Addr::new(192, 168, 30, 116));
    assert_eq!(w.node.encode_advert(0, 0, 0, w.now, &mut out), Some((own, GROUP_V4.into())));
    assert_eq!(w.node.encode_advert(0, 100, 0, w.now, &mut out), None);
    w.effects();
    assert!(!w.take().contains(&Did::Advert(0, 0)), "it may be put back in a moment");
    w.run(ms(101));
    assert!(w.take().contains(&Did::Advert(0, 0)));
    w.node.addr(w.now, &w.own[0].clone());
    w.effects();
    assert_eq!(w.kind(), Kind::Backup, "the others have been told");
}

#[test]
fn an_address_that_is_put_back_at_once_moves_nothing() {
    let lose = |w: &mut World| {
        w.node.addr_gone(w.now, &w.own[0].clone());
        w.effects();
        w.settle();
        assert_eq!(w.kind(), Kind::Init);
    };
    let mut w = master(&one(""));
    lose(&mut w);
    w.run(ms(50));
    w.node.addr(w.now, &w.own[0].clone());
    w.effects();
    w.settle();
    assert_eq!((w.kind(), w.node.routers[0].why), (Kind::Master, Why::Resumed));
    w.run(ms(500));
    assert!(!w.take().contains(&Did::Advert(0, 0)));
    // A stop does not wait for it.
    lose(&mut w);
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Advert(0, 0)));
    // Nor does a node whose backups wait no longer than that.
    let mut w = master(&one("version = 3\nadvert_int = 0.01"));
    lose(&mut w);
    assert!(w.take().contains(&Did::Advert(0, 0)));
}

#[test]
fn the_peers_of_a_unicast_router_hear_where_it_is() {
    for (text, announced) in [("unicast_peer = 192.168.30.117", true), ("", false)] {
        let mut w = master(&one(text));
        w.link(false);
        w.effects();
        w.take();
        w.link(true);
        w.effects();
        let did = w.take();
        assert_eq!(did.contains(&Did::AnnounceSource(0)), announced);
        assert!(did.contains(&Did::ForgetUnanswered(ETH0)), "nor must vipd wait for them");
    }
}

/// The heartbeat cable of two nodes has no carrier when the other one is without power.
#[test]
fn dont_track_primary() {
    let mut w = World::new(&one("dont_track_primary = yes"));
    w.begin(false);
    w.hear(PEER, 200);
    w.link(false);
    w.effects();
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.node.link_gone(w.now, ETH0);
    w.effects();
    assert_eq!(w.kind(), Kind::Init);
}
