//! Leases in nf_tables: when they are opened, made longer and closed, and what a node makes of what is left
//! of one.

use super::*;
use crate::node::fence::Op;
use crate::wire::nft::Key;

const TICK: Duration = Duration::from_millis(4);
const T: Duration = Duration::from_millis(2976);

fn key() -> Key {
    Key::new(ETH0, false, 51)
}

/// A node whose kernel keeps leases; `left` of one, as it says at the start.
fn fenced(cfg: &Config, left: Option<Duration>) -> World {
    let mut w = World::new(cfg);
    w.node.set_fence(Some(TICK));
    if let Some(left) = left {
        w.node.lease_found(0, w.now, left);
    }
    w.plan = w.node.fence_plan(w.now);
    w
}

fn elected(cfg: &Config) -> World {
    let mut w = fenced(cfg, None);
    w.begin(false);
    w.run(cfg.vrrp[0].advert_int * 4);
    assert_eq!(w.kind(), Kind::Master);
    w
}

fn fences(did: &[Did]) -> Vec<Op> {
    did.iter().filter_map(|d| if let Did::Fence(op) = d { Some(*op) } else { None }).collect()
}

#[test]
fn it_is_opened_before_the_first_advert_and_closed_before_the_address_goes() {
    let mut w = elected(&one(""));
    let did = w.take();
    let at = |d: &dyn Fn(&Did) -> bool| did.iter().position(d).unwrap();
    let opened = at(&|d| matches!(d, Did::Fence(Op::Open { router: 0, key: k, .. }) if *k == key()));
    assert!(opened < at(&|d| matches!(d, Did::Advert(0, 100))), "{did:?}");
    assert_eq!(fences(&did).len(), 1, "{did:?}");
    w.run(ms(60_000));
    assert!(fences(&w.take()).is_empty(), "the adverts renew it");
    assert_eq!(w.node.lease_left(0, w.now).map(|l| l > T - ms(1000)), Some(true));

    w.link(false);
    w.settle();
    let did = w.take();
    let ours: Vec<_> =
        did.iter().filter(|d| matches!(d, Did::Fence(_) | Did::Remove(_) | Did::Advert(..))).collect();
    let [Did::Fence(Op::Close { key: k, .. }), Did::Remove(0), Did::Advert(0, 0)] = ours[..] else {
        panic!("{did:?}")
    };
    assert_eq!((*k, w.node.lease_left(0, w.now)), (key(), None));
}

#[test]
fn an_owner_and_other_leases_have_none() {
    for more in ["priority = 255", "lease = address", "lease = 3", "lease = off"] {
        let mut w = fenced(&one(more), None);
        assert!(w.plan.0.routers.is_empty(), "{more}");
        w.begin(false);
        w.run(ms(10_000));
        assert!(fences(&w.take()).is_empty(), "{more}");
    }
}

#[test]
fn the_address_itself_is_renewed_seldom_and_never_too_late() {
    let mut w = elected(&one(""));
    w.take();
    let begin = w.now;
    for _ in 0..600 {
        w.run(ms(100));
        let left = w.node.addrs.lease_left(0, w.now).unwrap();
        assert!(left > T + TICK, "{left:?}");
    }
    let renewals = w.take().iter().filter(|d| **d == Did::Renew(0)).count();
    assert!((15..=31).contains(&renewals), "{renewals} in {:?}", w.now.since(begin));
}

#[test]
fn what_is_left_of_a_lease_is_the_memory() {
    let mut w = fenced(&one(""), Some(ms(500)));
    assert_eq!(w.plan.1, [Some(496)], "one tick less");
    w.begin(true);
    assert_eq!(w.node.routers[0].why, Why::Resumed);
    let did = w.take();
    assert!(did.contains(&Did::Advert(0, 100)) && fences(&did).is_empty(), "{did:?}");
    assert_eq!(w.node.lease_left(0, w.now), Some(T));

    // Not the address: it may have ended, or have been there since.
    let mut w = fenced(&one(""), Some(ms(500)));
    w.now += ms(496);
    w.begin(true);
    assert_eq!(w.kind(), Kind::Backup);

    let mut w = fenced(&one(""), Some(ms(500)));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Backup);
    assert!(matches!(fences(&w.take())[..], [Op::Close { .. }]));
}

#[test]
fn an_advert_that_is_refused_is_judged_by_the_last_one_that_was_not() {
    let mut w = elected(&one(""));
    let last = w.last_advert[0].unwrap();
    w.now = last + ms(2960);
    assert_eq!(w.node.lapsed(0, w.now), Some(ms(12)));
    w.now = last + ms(2973);
    assert_eq!((w.node.lapsed(0, w.now), w.kind()), (None, Kind::Backup));
    assert_eq!(w.node.routers[0].stats.lapses, 1);
    w.take();
    w.effects();
    w.settle();
    assert!(matches!(
        w.take()[..],
        [Did::Fence(Op::Close { .. }), Did::Remove(0), Did::Remember(Memory::Nothing)]
    ));
}

#[test]
fn one_that_slept_since_it_was_decided_opens_nothing() {
    let w = elected(&one(""));
    assert!(w.node.may_open(0, w.now, w.now + ms(249)));
    assert!(!w.node.may_open(0, w.now, w.now + ms(250)));
}

#[test]
fn a_hand_over_makes_it_short_before_priority_0() {
    let mut w = elected(&one("advert_int = 10"));
    w.take();
    assert!(w.node.lease_left(0, w.now).is_some_and(|l| l > ms(9000)));
    w.node.stop(w.now);
    w.effects();
    let did = w.take();
    let at = |d: &dyn Fn(&Did) -> bool| did.iter().position(d).unwrap();
    let zero = at(&|d| *d == Did::Advert(0, 0));
    assert!(at(&|d| matches!(d, Did::Fence(Op::Extend { .. }))) < zero, "{did:?}");
    assert!(at(&|d| *d == Did::Renew(0)) < zero, "{did:?}");
    assert_eq!(w.node.lease_left(0, w.now), Some(ms(1000)));
    assert!(w.node.addrs.lease_left(0, w.now).is_some_and(|l| l <= ms(2000)));
}

#[test]
fn a_hand_over_makes_it_no_longer_before_priority_0() {
    let mut w = elected(&one("version = 3\nadvert_int = 0.1"));
    w.take();
    let end = w.now + w.node.lease_left(0, w.now).unwrap();
    w.node.stop(w.now);
    w.settle();
    let did = w.take();
    let (before, after) = did.split_at(did.iter().position(|d| *d == Did::Advert(0, 0)).unwrap());
    let longer = |op: &Op| matches!(op, Op::Extend { until, .. } if *until > end);
    assert!(!fences(before).iter().any(longer), "{did:?}");
    assert!(fences(after).iter().any(longer), "{did:?}");
}

#[test]
fn a_hand_over_keeps_it_as_long_as_it_lasts() {
    let cfg = one("version = 3\nadvert_int = 0.1\nhandover_timeout = 3");
    let mut w = elected(&cfg);
    w.take();
    w.node.stop(w.now);
    w.settle();
    let end = w.now + ms(3000);
    while w.now < end {
        assert!(w.node.lease_left(0, w.now).is_some_and(|l| l <= ms(1000)), "{:?} left", end.since(w.now));
        w.run(ms(10));
    }
    w.run(ms(1));
    let ops = fences(&w.take());
    assert!((4..=7).contains(&ops.len()), "{ops:?}");
    assert!(matches!(ops.last(), Some(Op::Close { .. })), "{ops:?}");
}

#[test]
fn nobody_came_and_it_never_ended() {
    let mut w = elected(&one("version = 3\nadvert_int = 0.1"));
    w.take();
    assert!(w.node.resign(None, ms(60_000), false, w.now).is_some());
    for _ in 0..100 {
        w.run(ms(10));
        assert!(w.node.lease_left(0, w.now).is_some());
    }
    assert_eq!(w.kind(), Kind::Master);
    assert!(fences(&w.take()).iter().all(|op| matches!(op, Op::Extend { .. })));
}

#[test]
fn another_interval_shortens_it_first_and_lengthens_it_last() {
    let text = |i: &str| {
        format!(
            "[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nversion = 3\nadvert_int = {i}\n\
         virtual_ipaddress = 192.168.30.230/24"
        )
    };
    let mut old = config(&text("1"));
    let mut w = elected(&old);
    for (i, terms) in [("0.1", vec![276, 276]), ("1", vec![276, 2976])] {
        w.take();
        let new = config(&text(i));
        w.node.reconfigure(&old, &new, w.now);
        let mut seen = Vec::new();
        while let Some(e) = w.node.next_effect() {
            match e {
                Effect::Fence(Op::Replace) => {
                    let (plan, rest) = w.node.fence_plan(w.now);
                    assert!(rest[0].unwrap() <= plan.routers[0].term);
                    seen.push(plan.routers[0].term);
                }
                Effect::Advert { priority, .. } => {
                    assert_eq!(seen.len(), 1, "the lease first");
                    w.node.sent(0, priority, w.now);
                }
                _ => {}
            }
        }
        assert_eq!(seen, terms, "{i}");
        old = new;
        w.settle();
    }
}

#[test]
fn an_interface_that_is_gone_closes_it_and_one_that_came_back_is_another() {
    let mut w = elected(&one(""));
    w.take();
    w.node.link_gone(w.now, ETH0);
    w.settle();
    assert!(fences(&w.take()).contains(&Op::Replace));
    assert_eq!((w.plan.0.routers[0].ifindex, &w.plan.1[..]), (0, &[None][..]));
    assert_eq!(w.plan.0.devices, [nft::Device { ifindex: 1, name: "lo".to_owned() }]);
    w.node.link(w.now, &eth(9, b"eth0"));
    w.settle();
    assert!(fences(&w.take()).contains(&Op::Replace));
    assert_eq!(w.plan.0.devices, [nft::Device { ifindex: 9, name: "eth0".to_owned() }]);
    assert_eq!(w.plan.0.routers[0].key, Key::new(9, false, 51));
}

#[test]
fn the_last_word_of_one_that_was_outranked_has_a_lease_of_its_own() {
    let mut w = elected(&one("make_before_break = no"));
    w.take();
    w.hear(PEER, 200);
    w.settle();
    let did = w.take();
    assert!(matches!(did[..2], [Did::Fence(Op::Close { .. }), Did::Remove(0)]), "{did:?}");
    w.run(ms(30));
    let did = w.take();
    let [Did::Fence(Op::Open { .. }), Did::Advert(0, 100), Did::Fence(Op::Close { .. })] = did[..] else {
        panic!("{did:?}")
    };
    assert_eq!(w.node.lease_left(0, w.now), None);

    // It is not said after all, or cannot be: what was opened for it is closed.
    for fails in [false, true] {
        let mut w = elected(&one("make_before_break = no"));
        w.hear(PEER, 200);
        w.settle();
        w.take();
        (w.pause_before_advert, w.sends_fail) = (Some(ms(if fails { 0 } else { 2000 })), fails);
        w.run(ms(30));
        assert!(matches!(w.take().last(), Some(Did::Fence(Op::Close { .. }))));
        assert_eq!(w.node.lease_left(0, w.now), None);
    }
}

#[test]
fn after_a_flap_it_lasts_no_longer_than_the_others_wait() {
    let mut w = elected(&one(""));
    let last = w.last_advert[0].unwrap();
    w.link(false);
    w.settle();
    w.run(ms(500));
    w.sends_fail = true;
    w.link(true);
    w.settle();
    assert_eq!((w.kind(), w.node.routers[0].why), (Kind::Master, Why::Resumed));
    assert!(w.now + w.node.lease_left(0, w.now).unwrap() <= last + ms(3000));
    w.now = last + ms(3001);
    let decided = w.now;
    assert!(!w.node.may_advertise(0, 100, decided, w.now), "somebody else may be master");
    assert_eq!(w.kind(), Kind::Backup);
}
