//! The lease is the memory of a vipd that was killed.

use super::*;

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
    assert_eq!(w.node.routers[0].why, Why::Resumed);
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
        w.node.supervise(now, supervisor::Input::Adopted { pid: 77, copy: false });
        w.begin(true);
        w
    };
    let mut w = adopting();
    w.run(ms(50));
    w.ready();
    assert_eq!(w.node.routers[0].why, Why::Resumed);

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
