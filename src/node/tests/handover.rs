//! Hand-overs: a planned stop, and a preemption.

use super::*;

#[test]
fn what_has_ended_during_a_stall_is_not_brought_back_to_be_handed_over() {
    let mut w = master(&one(""));
    w.run_to(w.node.routers[0].machine.deadline().unwrap() + ms(400)); // the last renewal was 0.15 s ago
    w.take();
    w.now += ms(5000); // in the middle of a turn: `check_stall` was asked before
    w.hear(PEER, 200);
    w.run(ms(20));
    assert!(!w.take().contains(&Did::Renew(0)));
}

#[test]
fn a_planned_stop_keeps_serving_until_the_successor_announced() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let expected = [Did::Remember(Memory::Leaving), Did::Advert(0, 0), Did::Renew(0)];
    assert_eq!(w.take(), expected, "the lease is short from the first moment");
    w.run(ms(600));
    assert!(w.take().iter().all(|d| *d == Did::Renew(0)), "no advert, no announcement while leaving");
    w.hear(PEER, 99);
    w.run(ms(20));
    assert!(!w.take().contains(&Did::Remove(0)), "the advert alone is too early");
    w.garp([9; 6]);
    w.run(ms(4));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn without_an_announcement_the_advert_does_and_without_a_successor_the_timeout() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.hear(PEER, 99);
    w.run(ms(49));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);

    let mut w = master(&one("handover_timeout = 1.5"));
    w.node.stop(w.now);
    w.settle();
    w.run(ms(1499));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn our_own_announcement_is_not_the_successors() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.garp(MAC);
    w.run(ms(100));
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn asked_twice_the_stop_does_not_wait() {
    let mut w = master(&one(""));
    w.node.stop(w.now);
    w.settle();
    w.take();
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert_eq!(w.take(), [Did::Remove(0), Did::Exit(0)]);
}

#[test]
fn being_preempted_hands_over_and_sends_no_priority_zero() {
    let mut w = master(&one(""));
    w.hear(PEER, 200);
    assert_eq!(w.kind(), Kind::Backup);
    w.garp([9; 6]);
    w.run(ms(6));
    let did = w.take();
    assert_eq!(did.iter().filter(|d| matches!(d, Did::Advert(..))).count(), 0);
    assert_eq!(did.last(), Some(&Did::Remove(0)));

    let mut w = master(&one("make_before_break = no"));
    w.hear(PEER, 200);
    assert_eq!(w.take(), [Did::Remove(0), Did::Remember(Memory::Nothing)]);
}

#[test]
fn a_successor_that_vanishes_is_replaced_without_losing_the_address() {
    let mut w = master(&one("handover_timeout = 10\n"));
    w.hear(PEER, 200);
    w.node.routers[0].hold.as_mut().unwrap().release_at = None; // its adverts are lost from here on
    w.run(ms(5000));
    assert_eq!(w.kind(), Kind::Master);
    let did = w.take();
    assert!(!did.contains(&Did::Remove(0)));
    assert!(did.contains(&Did::Advert(0, 100)) && did.contains(&Did::Announce(0)));
}

/// A successor that adds many addresses announces one after the other: what it has yet to add is served here.
#[test]
fn a_successor_with_many_addresses_is_waited_for_until_it_has_announced_the_last() {
    let mut w = master(&one("virtual_ipaddress_excluded = 192.168.30.240/24, 192.168.30.241/24"));
    w.node.stop(w.now);
    w.effects();
    w.settle();
    w.hear(PEER, 99);
    for ip in [VIP, Ipv4Addr::new(192, 168, 30, 240), VIP] {
        w.run(ms(25));
        let arp = Arp { op: 1, sha: [9; 6], spa: ip, tha: [0xff; 6], tpa: ip };
        w.node.arp(w.now, 0, &arp);
        w.settle();
    }
    w.run(ms(25));
    let removes = |did: &[Did]| did.iter().any(|d| matches!(d, Did::Remove(_)));
    assert!(!removes(&w.take()), "one is not announced yet");
    w.run(ms(5));
    assert!(removes(&w.take()), "the successor may not have it");
}
