//! What the kernel and others do to the addresses.

use super::*;

#[test]
fn a_deleted_address_is_put_back_in_place() {
    let mut w = master(&one(""));
    w.kernel.clear();
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.effects();
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Add(0, Some(1))) && did.contains(&Did::Announce(0)), "{did:?}");
    assert_eq!(w.kind(), Kind::Master);
    assert_eq!(w.node.routers[0].stats.vips_deleted, 1);
}

#[test]
fn an_address_that_came_back_before_its_end_was_told_is_let_go_too() {
    let mut w = master(&one("make_before_break = no"));
    // A renewal after a stall has brought it back: the kernel has it, and the message is older.
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.hear(PEER, 200);
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn somebody_elses_permanent_address_is_sacred() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    w.run(ms(10_000));
    assert_eq!(w.kind(), Kind::Master);
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    w.node.stop(w.now);
    w.settle();
    w.run(ms(5000));
    let touched = |d: &Did| matches!(d, Did::Add(..) | Did::Renew(_) | Did::Remove(_) | Did::Announce(_));
    assert!(!w.take().iter().any(touched));
}

#[test]
fn an_address_left_by_keepalived_is_taken_over() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, Some(18), u32::MAX));
    w.begin(false);
    w.run(ms(4000));
    assert!(w.events.contains(&Event::VipTakenOver { entry: 0 }));
    assert!(w.take().contains(&Did::Renew(0)));
}

#[test]
fn an_address_that_is_there_after_all_is_ours_again() {
    let mut w = master(&one(""));
    // The event of a removal that a renewal undid.
    w.there = vec![addr(VIP, 32, Some(TAG), 2)];
    w.kernel.clear();
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Reread));
    w.there.clear();
    assert!(w.node.addrs.holds_any(0));
    w.run(ms(2000));
    assert!(w.take().contains(&Did::Renew(0)));
    w.node.stop(w.now);
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn a_backup_does_not_keep_what_keepalived_left_and_names_what_is_foreign() {
    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, Some(18), u32::MAX));
    w.begin(false);
    assert!(w.events.contains(&Event::VipTakenOver { entry: 0 }));
    assert!(w.take().contains(&Did::Remove(0)));

    let mut w = World::new(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn an_event_older_than_a_renewal_does_not_hide_what_is_held() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Renew(0)));
    // The lease had ended before; its event is read only now.
    w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 1));
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Reread));
    w.garp([9; 6]);
    w.run(ms(10));
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn the_vip_by_hand_with_another_prefix_is_said_and_ours_is_kept() {
    let mut w = master(&one(""));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.effects();
    assert!(w.events.contains(&Event::VipForeign { entry: 0 }));
    assert!(w.node.addrs.is_refused(0) && w.node.addrs.holds_any(0));
    w.node.addr_gone(w.now, &addr(VIP, 24, None, u32::MAX));
    assert!(!w.node.addrs.is_refused(0) && w.node.addrs.holds_any(0));
}

#[test]
fn many_addresses_are_announced_fifty_in_a_millisecond() {
    let vips: Vec<String> = (1..=200).map(|i| format!("10.0.0.{i}")).collect();
    let text = format!(
        "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = {}\n",
        vips.join(", ")
    );
    let mut w = World::new(&config(&text));
    w.begin(false);
    w.run(ms(3700));
    let announced: Vec<Time> =
        w.did.iter().filter(|(_, d)| matches!(d, Did::Announce(_))).map(|(t, _)| *t).take(200).collect();
    assert_eq!(announced.len(), 200);
    for chunk in announced.chunks(50).collect::<Vec<_>>().windows(2) {
        assert!(chunk[1][0] >= chunk[0][0] + ms(1));
    }
}

#[test]
fn the_owner_is_master_at_once_and_touches_nothing() {
    let mut w = World::new(&one("priority = 255"));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Init, "without the address it is no owner");
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.settle();
    assert_eq!(w.kind(), Kind::Master);
    w.run(ms(100));
    let did = w.take();
    assert!(did.contains(&Did::Advert(0, 255)) && did.contains(&Did::Announce(0)));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let did = w.take();
    assert!(!did.iter().any(|d| matches!(d, Did::Add(..) | Did::Renew(_) | Did::Remove(_))), "{did:?}");
    assert_eq!(did.last(), Some(&Did::Exit(0)));
}

/// A flap and a stop within one turn: it is no owner any more when its first advert is to go out.
#[test]
fn an_owner_that_stops_has_said_its_last_word_with_priority_0() {
    let mut w = World::new(&one("priority = 255"));
    w.begin(false);
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.settle();
    w.run(ms(100));
    w.take();
    w.link(false);
    w.link(true);
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let adverts = w.take().into_iter().filter(|d| matches!(d, Did::Advert(..)));
    assert!(adverts.into_iter().all(|d| d == Did::Advert(0, 0)));
}
