//! Interfaces that come and go, their sockets, and `startup_delay`.

use super::*;

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
