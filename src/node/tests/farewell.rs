//! The last advert of a master that was outranked.

use super::*;

/// Another one has been master all along.
fn outranked(cfg: &Config) -> World {
    let mut w = master(cfg);
    w.hear(PEER, 200);
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    w
}

fn adverts(w: &mut World) -> Vec<Did> {
    w.take().into_iter().filter(|d| matches!(d, Did::Advert(..))).collect()
}

/// Of half a second; the winner goes on.
fn words(w: &mut World) -> Vec<Did> {
    w.run(ms(500));
    w.hear(PEER, 200);
    w.run(ms(1000));
    adverts(w)
}

#[test]
fn a_winner_that_does_not_announce_is_told_once_while_the_address_is_still_held() {
    let mut w = outranked(&one(""));
    w.run(ms(24));
    assert_eq!(adverts(&mut w), []);
    w.run(ms(2));
    assert_eq!(w.take(), [Did::Advert(0, 100)]);
    w.garp([9; 6]);
    w.run(ms(6));
    assert_eq!(w.take(), [Did::Remove(0)], "it announces then, and that is the hand-over");
    assert_eq!(words(&mut w), []);
}

#[test]
fn without_an_answer_the_hold_ends_as_ever() {
    let mut w = outranked(&one(""));
    w.run(ms(51));
    assert_eq!(w.take(), [Did::Advert(0, 100), Did::Remove(0)]);
    assert_eq!(words(&mut w), []);
    let mut w = outranked(&one("make_before_break = no"));
    assert_eq!(words(&mut w), [Did::Advert(0, 100)], "there is no hold, and clients that are wrong");
}

#[test]
fn who_announces_or_leaves_or_was_no_rival_is_not_told() {
    let mut w = outranked(&one(""));
    w.garp([9; 6]);
    assert_eq!(words(&mut w), []);

    let mut w = outranked(&one(""));
    w.hear(PEER, 0);
    w.run(ms(500));
    assert_eq!(adverts(&mut w), []);

    // Asked to come
    let mut w = master(&one(""));
    w.node.resign(None, ms(5000), false, w.now);
    w.effects();
    w.hear(PEER, 200);
    w.take();
    assert_eq!(words(&mut w), []);

    // Two owners keep what they have.
    let mut w = World::new(&one("priority = 255"));
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    w.hear(Ipv4Addr::new(192, 168, 30, 250), 255);
    w.take();
    assert_eq!(words(&mut w), []);
}

#[test]
fn a_tie_by_address_is_told_and_a_successor_that_is_lower_by_now_is_not() {
    let mut w = master(&one(""));
    w.hear(PEER, 100); // .117 is above .116
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    assert_eq!(words(&mut w), [Did::Advert(0, 100)]);

    // Without preemption whatever is heard is the master.
    let mut w = outranked(&one("preempt = no"));
    w.hear(Ipv4Addr::new(192, 168, 30, 5), 50);
    w.run(ms(100));
    assert_eq!(adverts(&mut w), []);

    // Its own priority has risen in between.
    let mut w = outranked(&one(""));
    w.node.step(0, w.now, Input::Priority(201));
    w.run(ms(100));
    assert_eq!(adverts(&mut w), []);
}

#[test]
fn nobody_learns_another_interval_from_it() {
    let text = |i: &str| one(&format!("version = 3\nadvert_int = {i}"));
    let mut w = master(&text("1"));
    let bytes = packet(&text("0.5").vrrp[0], PEER, 200);
    w.node.packet(w.now, 0, &bytes);
    w.settle();
    assert_eq!(w.kind(), Kind::Backup);
    w.take();
    w.run(ms(500));
    assert_eq!(adverts(&mut w), []);

    // Of a short one it comes soon.
    let mut w = master(&text("0.02"));
    w.hear(PEER, 200);
    w.take();
    w.run(ms(9));
    assert_eq!(adverts(&mut w), []);
    w.run(ms(2));
    assert_eq!(adverts(&mut w), [Did::Advert(0, 100)]);
}

#[test]
fn a_stall_makes_it_late_up_to_an_interval_and_no_longer() {
    for (pause, expected) in [(960, &[Did::Advert(0, 100)][..]), (1000, &[])] {
        // Between two turns, and within one
        let mut w = outranked(&one(""));
        w.now += ms(pause + 25);
        if pause == 960 {
            w.hear(PEER, 200); // what was queued is read first
        }
        w.node.check_stall(w.now);
        w.settle();
        w.run(ms(100));
        assert_eq!(adverts(&mut w), expected, "{pause} ms");
        let mut w = outranked(&one(""));
        w.pause_before_advert = Some(ms(pause));
        w.run(ms(100));
        assert_eq!(adverts(&mut w), expected, "{pause} ms in a turn");
        assert_eq!(w.kind(), Kind::Backup);
    }
}

#[test]
fn an_advert_of_the_mastership_that_was_given_up_does_not_count() {
    let mut w = outranked(&one(""));
    assert!(!w.node.may_advertise(0, 100, w.now, w.now + ms(30)), "decided before");
    w.run(ms(26));
    assert_eq!(adverts(&mut w), [Did::Advert(0, 100)]);
    assert!(!w.node.may_advertise(0, 100, w.now, w.now), "it was the last");
}

#[test]
fn the_next_mastership_begins_anew() {
    let mut w = outranked(&one(""));
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w.hear(PEER, 200);
    assert_eq!(words(&mut w), [Did::Advert(0, 100)]);
    // A fault in between ends it.
    let mut w = outranked(&one(""));
    w.link(false);
    w.effects();
    w.run(ms(100));
    assert_eq!(adverts(&mut w), []);
}

#[test]
fn it_renews_nothing() {
    let mut w = outranked(&one("handover_timeout = 3"));
    w.node.routers[0].hold.as_mut().unwrap().release_at = None;
    w.run(ms(26));
    assert_eq!(w.last_advert[0], Some(w.now - ms(1)));
    let sent = w.node.addrs.last_advert(0);
    assert!(sent.is_none_or(|t| t < w.now - ms(26)), "it is no advert of a master");
}
