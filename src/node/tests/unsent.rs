//! Adverts that cannot be sent.

use super::*;

#[test]
fn a_master_that_cannot_send_is_none() {
    let mut w = World::new(&one(""));
    w.sends_fail = true;
    w.begin(false);
    w.run(ms(3700));
    assert_eq!(w.kind(), Kind::Master);
    w.run(ms(3500));
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().iter().any(|d| matches!(d, Did::Add(..))));
}

fn fast() -> World {
    let mut w = World::new(&one("version = 3\nadvert_int = 0.01"));
    w.begin(false);
    w.run(ms(500));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

/// How often a virtual router became master.
fn masterships(w: &World, i: usize) -> usize {
    let is = |e: &&Event| matches!(e, Event::Entered { router, kind: Kind::Master, .. } if *router == i);
    w.events.iter().filter(is).count()
}

#[test]
fn who_cannot_send_is_faulty_for_longer_and_longer() {
    let mut w = fast();
    w.sends_fail = true;
    w.run(ms(200));
    assert!(w.node.routers[0].faults.only(Faults::UNSENT));
    assert!(w.node.routers[0].faults.has(Faults::UNSENT));
    w.run(ms(59_800));
    // 28 times a second it was; now at once, and after pauses of 1, 2, 4, 8, 16 and 16 s.
    assert_eq!(masterships(&w, 0), 7);
    assert!(w.node.routers[0].faults.has(Faults::UNSENT));
    // It is well again with the next try, and the next trouble begins anew.
    w.sends_fail = false;
    w.run(ms(16_200));
    assert_eq!(w.kind(), Kind::Master);
    assert!(w.node.routers[0].faults.none());
    w.sends_fail = true;
    w.run(ms(60));
    assert_eq!(w.kind(), Kind::Backup);
    w.sends_fail = false;
    w.run(ms(60));
    assert_eq!(w.kind(), Kind::Master, "the first time is no fault");
}

#[test]
fn a_change_of_the_interface_ends_the_pause() {
    let mut w = fast();
    w.sends_fail = true;
    w.run(ms(5000));
    assert!(w.node.routers[0].faults.has(Faults::UNSENT));
    w.sends_fail = false;
    w.link(false);
    w.link(true);
    w.run(ms(100));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn a_group_pauses_as_a_whole() {
    let router = |n: u8| {
        format!(
            "[vrrp V{n}]\ninterface = eth0\nvirtual_router_id = {n}\nversion = 3\nadvert_int = 0.01\n\
             virtual_ipaddress = 192.168.30.{n}/24\n"
        )
    };
    let mut w = World::new(&config(&format!("{}{}[group G]\nmembers = V1, V2\n", router(1), router(2))));
    w.sends_fail = true;
    w.begin(false);
    w.run(ms(10_000));
    assert_eq!((masterships(&w, 0), masterships(&w, 1)), (5, 5));
    assert!(w.node.routers[1].faults.has(Faults::GROUP) || w.node.routers[1].faults.has(Faults::UNSENT));
    w.sends_fail = false;
    w.run(ms(8200));
    assert!(w.node.routers.iter().all(|i| i.is_master()));
}
