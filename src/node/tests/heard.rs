//! Adverts that are refused, or answered.

use super::*;
use crate::node::turn::{Clocks, TURN};
use crate::sys::allocations;

#[test]
fn a_lower_advert_is_answered_and_the_address_announced_again() {
    let mut w = master(&one(""));
    w.hear(PEER, 50);
    w.run(ms(1));
    let did = w.take();
    assert_eq!(did.iter().filter(|d| **d == Did::Advert(0, 100)).count(), 1);
    assert!(did.contains(&Did::Announce(0)));
}

#[test]
fn refusals_are_counted_by_reason_and_said_once() {
    use crate::vrrp::packet::Discard;
    let mut w = master(&one("auth_type = PASS\nauth_pass = 1111"));
    let mut forged = (*w.node.routers[0].cfg).clone();
    forged.auth = config::Auth::Pass(*b"2222\0\0\0\0");
    let bytes = packet(&forged, PEER, 200);
    w.events.clear();
    for _ in 0..1000 {
        w.now += ms(10);
        w.node.packet(w.now, 0, &bytes);
        w.effects();
    }
    let said =
        w.events.iter().filter(|e| matches!(e, Event::Discarded { why: Discard::AuthPass, .. })).count();
    assert_eq!(said, 1);
    assert_eq!(w.node.routers[0].stats.all().find(|(n, _)| *n == "auth_pass"), Some(("auth_pass", 1000)));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn a_foreign_vrid_with_our_address_is_said() {
    let mut w = master(&one(""));
    let mut other = (*w.node.routers[0].cfg).clone();
    other.vrid = 52;
    let bytes = packet(&other, PEER, 200);
    for _ in 0..3 {
        w.node.packet(w.now, 0, &bytes);
    }
    w.effects();
    let unknown_vrid = Event::UnknownVrid { link: 0, vrid: 52, src: IpAddr::V4(PEER), vip: Some(0) };
    assert_eq!(w.events.iter().filter(|e| **e == unknown_vrid).count(), 1);
}

/// A backup's steady state.
#[test]
fn an_advert_that_is_heard_allocates_nothing() {
    for more in ["", "version = 3\nadvert_int = 0.01\n", "auth_type = PASS\nauth_pass = 12345678\n"] {
        let mut w = World::new(&one(more));
        w.begin(false);
        let mut count = 0;
        for _ in 0..10 {
            w.hear(PEER, 200);
            let bytes = packet(&w.node.routers[0].cfg, PEER, 200);
            count = allocations::count(|| {
                w.node.packet(w.now, 0, &bytes);
                for step in TURN {
                    w.node.run(step, Clocks { turn: w.now, fresh: w.now });
                }
            });
            w.take();
        }
        assert_eq!((count, w.kind()), (0, Kind::Backup), "{more}");
    }
}
