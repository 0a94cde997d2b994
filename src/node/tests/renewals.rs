//! Becoming master, renewals, and stalls.

use super::*;

#[test]
fn becoming_master_is_advert_then_address_then_announcement() {
    let mut w = World::new(&one(""));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    w.run(ms(3610));
    let did = w.take();
    let expected =
        [Did::Advert(0, 100), Did::Add(0, Some(1)), Did::Announce(0), Did::Remember(Memory::Master)];
    assert_eq!(did[..4], expected);
}

#[test]
fn renewals_follow_the_advert_and_stop_when_it_is_old() {
    let mut w = master(&one(""));
    w.run_to(w.node.routers[0].machine.deadline().unwrap() - ms(1)); // onto the grid
    w.did.clear();
    let start = w.now;
    w.run(ms(3000));
    let adverts: Vec<Time> =
        w.did.iter().filter(|(_, d)| *d == Did::Advert(0, 100)).map(|(t, _)| *t).collect();
    let renewals: Vec<Time> = w.did.iter().filter(|(_, d)| *d == Did::Renew(0)).map(|(t, _)| *t).collect();
    assert_eq!(adverts.len(), 3);
    let expected: Vec<Time> = adverts.iter().flat_map(|t| [0, 250].map(|n| *t + ms(n))).collect();
    assert_eq!(renewals, expected, "from {start:?}");
}

#[test]
fn no_advert_no_renewal_and_at_the_end_of_patience_the_addresses_go() {
    let mut w = master(&one(""));
    let last = w.last_advert[0].unwrap();
    w.sends_fail = true;
    w.run(ms(10_000));
    let renewed = w.did.iter().filter(|(_, d)| *d == Did::Renew(0)).map(|(t, _)| *t).max();
    assert!(renewed.is_none_or(|t| t <= last + ms(300)));
    let removed = w.did.iter().find(|(_, d)| *d == Did::Remove(0)).map(|(t, _)| *t).unwrap();
    assert!(removed <= last + ms(4000), "removed {:?} after the last advert", removed.since(last));
}

#[test]
fn a_stall_gives_up_before_anything_else() {
    let mut w = master(&one(""));
    w.now += ms(3100);
    w.node.check_stall(w.now);
    w.effects();
    assert_eq!(w.take(), [Did::Remove(0), Did::Remember(Memory::Nothing)]);
    assert_eq!(w.node.routers[0].why, Why::Stalled);
    w.hear(PEER, 90);
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn a_stall_in_the_middle_of_a_turn_is_noticed_too() {
    // a master, before its next advert
    let mut w = master(&one(""));
    w.run_to(w.node.routers[0].machine.deadline().unwrap() - ms(1));
    w.take();
    w.pause_before_advert = Some(ms(3100));
    w.run(ms(1000));
    let did = w.take();
    assert!(!did.iter().any(|d| matches!(d, Did::Advert(..) | Did::Renew(_) | Did::Add(..))), "{did:?}");
    assert!(did.contains(&Did::Remove(0)));
    assert_eq!(w.node.routers[0].why, Why::Stalled);

    // a backup, between the end of its down timer and its first advert
    let mut w = World::new(&one(""));
    w.begin(false);
    w.pause_before_advert = Some(ms(400));
    w.run(ms(3800));
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..) | Did::Add(..))));
}

#[test]
fn a_renewal_that_was_too_late_is_taken_back_once() {
    for (pause, put_back) in [(500, true), (3500, false)] {
        let mut w = master(&one(""));
        w.pause_in_batch = Some(ms(pause));
        w.run(ms(1001));
        let said = |w: &World, f: fn(&Event) -> bool| w.events.iter().filter(|e| f(e)).count();
        assert_eq!(said(&w, |e| matches!(e, Event::LateRenewal { .. })), 1);
        assert_eq!(said(&w, |e| matches!(e, Event::RemovingVips { .. })), 1);
        assert_eq!(said(&w, |e| matches!(e, Event::VipRemoved { .. })), 1);
        assert_eq!((w.kind() == Kind::Master, w.resets), (put_back, 0));
        let did = w.take();
        assert_eq!(did.iter().filter(|d| **d == Did::Remove(0)).count(), 1);
        let at = did.iter().position(|d| *d == Did::Remove(0)).unwrap();
        assert_eq!(did[at..].iter().any(|d| matches!(d, Did::Add(..))), put_back, "{pause} ms");
    }
}

#[test]
fn the_theorem_holds_at_every_renewal_of_several_routers_at_any_phase() {
    for seed in 0..200u64 {
        let text: String = (1..4)
            .map(|i| {
                format!(
                    "[vrrp V{i}]\ninterface = eth0\nvirtual_router_id = {i}\npriority = {}\n\
                     advert_int = {}\nvirtual_ipaddress = 10.0.{i}.1\n",
                    60 * i,
                    1 + (seed / (7 * i)) % 2
                )
            })
            .collect();
        let mut w = World::new(&config(&text));
        w.now += ms(seed * 37 % 1000);
        w.theorem = true;
        w.begin(false);
        w.run(ms(20_000));
        assert!(w.node.routers.iter().all(Router::is_master), "seed {seed}");
    }
}

#[test]
fn a_turn_that_is_late_does_not_spin() {
    for step in [50u64, 160, 300, 420, 700] {
        for more in ["", "advert_int = 2", "version = 3\nadvert_int = 0.1", "make_before_break = no"] {
            let mut w = World::new(&one(more));
            let mut n = 0;
            w.lateness = Box::new(move || {
                n += step;
                ms(n % (step + 1))
            });
            w.begin(false);
            w.run(ms(20_000));
            w.sends_fail = true;
            w.run(ms(6000));
            w.sends_fail = false;
            w.run(ms(8000));
            w.node.addr_gone(w.now, &addr(VIP, 32, Some(TAG), 2));
            w.run(ms(3000));
            w.hear(PEER, 200);
            w.run(ms(8000));
            w.node.stop(w.now);
            w.settle();
            w.run(ms(10_000));
            assert_eq!(w.did.last().map(|(_, d)| d.clone()), Some(Did::Exit(0)), "{step} {more}");
        }
    }
}
