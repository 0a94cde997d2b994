//! The address book alone.

use super::*;
use crate::base::time::Time;
use crate::config::lease::Wait;
use crate::config::schema;
use crate::wire::rtnl;

impl AddrBook {
    fn add_router(&mut self, v: &crate::config::Vrrp, link: usize) {
        let from: Vec<Option<usize>> = (0..self.leasing.len()).map(Some).chain([None]).collect();
        let router = from.len() - 1;
        self.renumber(&from);
        self.set_terms(router, v, Wait::new(v.advert_int, v.down_timer_adverts));
        let places: Vec<_> = v.held().map(|_| (link, link)).collect();
        self.set_vips(router, v, Want::Undecided, &places);
    }
}

/// Batches that come by their own deadline drift against adverts of 10 ms, and 250 ms is a multiple of that:
/// a virtual router whose advert is just too old for one is so for the next, and was left out until its lease
/// ended.
#[test]
fn nobody_is_left_out_for_ever() {
    let router = |n: u8| {
        format!(
            "[vrrp V{n}]\ninterface = eth0\nvirtual_router_id = {n}\nversion = 3\nadvert_int = 0.01\n\
             virtual_ipaddress = 192.0.2.{n}/24\n"
        )
    };
    let (cfg, _) = schema::parse(&(router(1) + &router(2))).unwrap_or_else(|e| panic!("{e:?}"));
    let (us, ms) = (Duration::from_micros, Duration::from_millis);
    let mut book = AddrBook::default();
    book.link_is(0, Some(2));
    for (i, v) in cfg.vrrp.iter().enumerate() {
        book.add_router(v, 0);
        book.acquire(i);
    }
    let start = Time::ZERO + ms(1000);
    let mut renewed = [start; 2];
    for tick in 0..3000 {
        let t = start + ms(10) * tick;
        book.advert_sent(0, t);
        book.advert_sent(1, t + us(400));
        let mut now = t + us(410 + (u64::from(tick) * 7) % 10);
        loop {
            let (mut ops, mut out) = (Vec::new(), Vec::new());
            book.flush(now, &mut ops, &mut out);
            let done: Vec<(Op, i32)> = ops.into_iter().map(|op| (op, 0)).collect();
            for (op, _) in &done {
                renewed[op.entry] = now;
            }
            book.done(now, now, &done, &mut out);
            match book.deadline(now) {
                // A process is a little late.
                Some(at) if at < t + ms(10) => now = at.max(now) + us(60),
                _ => break,
            }
        }
        for (i, r) in renewed.iter().enumerate() {
            assert!(t.since(*r) < ms(600), "V{} was renewed {:?} ago at tick {tick}", i + 1, t.since(*r));
        }
    }
}

/// Within the last 30 ms the kernel may have ended it already, and a renewal would bring it back.
#[test]
fn a_lease_that_may_have_ended_is_not_handed_over() {
    let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1/24\n";
    let (cfg, _) = schema::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    for (age, renewed) in [(969, 1), (971, 0)] {
        let mut book = AddrBook::default();
        book.link_is(0, Some(2));
        book.add_router(&cfg.vrrp[0], 0);
        book.acquire(0);
        let start = Time::ZERO + Duration::from_secs(1);
        book.advert_sent(0, start);
        let (mut ops, mut out) = (Vec::new(), Vec::new());
        book.flush(start, &mut ops, &mut out);
        let done: Vec<(Op, i32)> = ops.drain(..).map(|op| (op, 0)).collect();
        book.done(start, start, &done, &mut out);
        let now = start + Duration::from_millis(age);
        book.hand_over(0, now);
        book.flush(now, &mut ops, &mut out);
        assert_eq!(ops.len(), renewed, "{age} ms after the renewal");

        // Nor when this process stood still after a renewal of the hand-over itself.
        book.hand_over(0, start);
        book.flush(start, &mut ops, &mut out);
        book.done(start, start, &[(ops.remove(0), 0)], &mut out);
        ops.clear();
        book.flush(now, &mut ops, &mut out);
        assert_eq!(ops.len(), renewed, "{age} ms after a renewal of the hand-over");
    }
}

/// The kernel refuses the renewals of one of two addresses until its lease is over: the other one goes on,
/// and the first is not brought back.
#[test]
fn an_address_that_has_ended_is_not_handed_over_with_another() {
    let (mut book, start) = master_of(2);
    carry_out(&mut book, start);
    book.hand_over(0, start);
    let mut renewed = Vec::new();
    let (mut ops, mut out) = (Vec::new(), Vec::new());
    for tick in 0..12 {
        let now = start + Duration::from_millis(300) * tick;
        book.flush(now, &mut ops, &mut out);
        renewed.push(ops.len());
        let refuse = |op: &Op| if tick > 0 && op.entry == 0 { libc::ENOBUFS } else { 0 };
        let done: Vec<(Op, i32)> = ops.drain(..).map(|op| (op.clone(), refuse(&op))).collect();
        book.done(now, now, &done, &mut out);
    }
    assert_eq!(renewed[..4], [2, 2, 2, 2]);
    assert!(renewed[4..].iter().all(|n| *n == 1), "{renewed:?}");
}

/// Somebody else may have it by then: the first tries follow each other closely, and it is reported once.
#[test]
fn a_removal_that_was_refused_is_tried_again_at_once_and_then_less_often() {
    let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1/24\n";
    let (cfg, _) = schema::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut book = AddrBook::default();
    book.link_is(0, Some(2));
    book.add_router(&cfg.vrrp[0], 0);
    book.acquire(0);
    let start = Time::ZERO + Duration::from_secs(1);
    book.advert_sent(0, start);
    let (mut ops, mut out) = (Vec::new(), Vec::new());
    book.flush(start, &mut ops, &mut out);
    book.done(start, start, &[(ops.remove(0), 0)], &mut out);
    book.release(0);
    out.clear();
    let mut pauses = Vec::new();
    let mut now = start;
    for n in 0..8 {
        book.flush(now, &mut ops, &mut out);
        assert_eq!(ops.len(), 1, "try {n}");
        book.done(now, now, &[(ops.remove(0), libc::ENOBUFS)], &mut out);
        let next = book.deadline(now).unwrap();
        pauses.push(next.since(now).as_millis());
        book.flush(next - Duration::from_millis(1), &mut ops, &mut out);
        assert_eq!(ops, []);
        now = next;
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 250, 250, 250]);
    book.flush(now, &mut ops, &mut out);
    // Asked for twice within one turn, it is told once.
    let results = [(ops[0].clone(), 0), (ops.remove(0), libc::EADDRNOTAVAIL)];
    book.done(now, now, &results, &mut out);
    assert_eq!(
        out,
        [Outcome::RemoveFailed { entry: 0, errno: libc::ENOBUFS }, Outcome::Removed { entry: 0 }]
    );
    assert_eq!(book.deadline(now), None);
}

/// Without promote_secondaries the kernel removes the others of a subnet with the first, as our own doing.
#[test]
fn a_removal_that_may_have_taken_others_along_is_looked_after() {
    let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1/24\n\
                [vrrp W]\ninterface = eth0\nvirtual_router_id = 2\nvirtual_ipaddress = 192.0.2.2/24\n";
    let (cfg, _) = schema::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut book = AddrBook::default();
    book.link_is(0, Some(2));
    let start = Time::ZERO + Duration::from_secs(1);
    let (mut ops, mut out) = (Vec::new(), Vec::new());
    for (router, v) in cfg.vrrp.iter().enumerate() {
        book.add_router(v, 0);
        book.acquire(router);
        book.advert_sent(router, start);
        book.flush(start, &mut ops, &mut out);
        let results: Vec<_> = ops.drain(..).map(|op| (op, 0)).collect();
        book.done(start, start, &results, &mut out);
    }
    for (router, looks) in [(0, true), (1, false)] {
        out.clear();
        book.release(router);
        let results: Vec<_> = book.removals_now(start).into_iter().map(|op| (op, 0)).collect();
        assert_eq!(results.len(), 1);
        book.done(start, start, &results, &mut out);
        assert_eq!(out.contains(&Outcome::ViewIsWrong), looks, "{out:?}");
    }
}

/// A master of that many VIPs with an advert at `start`, and a book that has heard nothing yet.
fn master_of(vips: usize) -> (AddrBook, Time) {
    let list: Vec<String> = (0..vips).map(|i| format!("10.1.{}.{}/16", i / 250, i % 250 + 1)).collect();
    let mut text =
        format!("[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = {}\n", list[0]);
    if vips > 1 {
        text += &format!("virtual_ipaddress_excluded = {}\n", list[1..].join(", "));
    }
    let (cfg, _) = schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut book = AddrBook::default();
    book.link_is(0, Some(2));
    book.add_router(&cfg.vrrp[0], 0);
    book.acquire(0);
    let start = Time::ZERO + Duration::from_secs(1);
    book.advert_sent(0, start);
    (book, start)
}

/// One `flush` whose operations all succeed.
fn carry_out(book: &mut AddrBook, now: Time) -> (Vec<Op>, Vec<Outcome>) {
    let (mut ops, mut out) = (Vec::new(), Vec::new());
    book.flush(now, &mut ops, &mut out);
    let results: Vec<(Op, i32)> = ops.iter().cloned().map(|op| (op, 0)).collect();
    book.done(now, now, &results, &mut out);
    (ops, out)
}

/// The adverts that are due go out between the batches.
#[test]
fn a_thousand_addresses_go_in_batches_and_leave_backwards() {
    let (mut book, start) = master_of(1000);
    let mut now = start;
    let mut kinds = [0, 0];
    for turn in 0.. {
        let (ops, _) = carry_out(&mut book, now);
        assert!(ops.len() <= 320, "turn {turn}: {} at once", ops.len());
        kinds[0] += ops.iter().filter(|op| op.kind == OpKind::Add).count();
        kinds[1] += ops.iter().filter(|op| op.kind == OpKind::Replace).count();
        match book.deadline(now) {
            Some(at) if at == now => now += Duration::from_millis(1),
            _ => break,
        }
        assert!(turn < 10, "no end");
    }
    assert_eq!(kinds[0], 1000);
    assert!(kinds[1] <= 1000, "{} renewals in the first round", kinds[1]);
    book.release(0);
    let order: Vec<usize> = book.removals_now(now).iter().map(|op| op.entry).collect();
    assert_eq!(order, (0..1000).rev().collect::<Vec<_>>());
}

fn kernel_told(op: &Op) -> rtnl::Addr {
    rtnl::Addr {
        ifindex: op.ifindex,
        addr: op.addr,
        prefix: op.prefix,
        proto: Some(TAG),
        valid: 1,
        preferred: 0,
        seq: 0,
        scope: 0,
        flags: 0,
        tstamp: 0,
        label: None,
    }
}

/// A renewal that comes just after the kernel ended the lease makes the address anew. The end is told behind
/// it.
#[test]
fn a_lease_that_ended_by_itself_is_no_deletion() {
    let (mut book, start) = master_of(1);
    let gone = kernel_told(&carry_out(&mut book, start).0[0]);
    let late = start + Duration::from_millis(1100);
    book.advert_sent(0, late);
    assert_eq!(carry_out(&mut book, late).0.len(), 1, "renewed");
    let mut out = Vec::new();
    book.gone(late + Duration::from_millis(1), &gone, &mut out);
    assert_eq!(out, [Outcome::ViewIsWrong, Outcome::Expired { entry: 0 }]);
}

/// Two that fight for an address must not flood the network with announcements.
#[test]
fn what_somebody_deletes_again_and_again_comes_back_later_and_later() {
    let (mut book, start) = master_of(1);
    let (mut now, end) = (start, start + Duration::from_secs(3));
    let mut added = 0;
    while now < end {
        book.advert_sent(0, now);
        for op in carry_out(&mut book, now).0 {
            if op.kind == OpKind::Add {
                added += 1;
                book.gone(now, &kernel_told(&op), &mut Vec::new());
            }
        }
        now += Duration::from_millis(1);
    }
    assert!((5..=12).contains(&added), "put back {added} times in 3 s");
}

/// Without a route to its own subnet nobody there could reach it.
#[test]
fn the_last_address_of_the_subnet_leaves() {
    let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 1\nvirtual_ipaddress = 192.0.2.1/24\n";
    let (cfg, _) = schema::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    let mut book = AddrBook::default();
    book.link_is(0, Some(2));
    book.add_router(&cfg.vrrp[0], 0);
    let now = Time::ZERO + Duration::from_secs(1);
    let (mut ops, mut out) = (Vec::new(), Vec::new());
    let own = rtnl::Addr {
        seq: 0,
        ifindex: 2,
        addr: "192.0.2.9".parse().unwrap(),
        prefix: 24,
        scope: 0,
        flags: 0,
        proto: None,
        valid: u32::MAX,
        preferred: u32::MAX,
        tstamp: 0,
        label: None,
    };
    book.seen(now, &own, &mut out);
    book.acquire(0);
    book.advert_sent(0, now);
    book.flush(now, &mut ops, &mut out);
    let kinds = |ops: &[Op]| ops.iter().map(|op| (op.kind, op.prefix)).collect::<Vec<_>>();
    assert_eq!(kinds(&ops), [(OpKind::Add, 32)]);
    book.done(now, now, &[(ops.remove(0), 0)], &mut out);
    book.gone(now, &own, &mut out);
    book.flush(now, &mut ops, &mut out);
    assert_eq!(kinds(&ops), [(OpKind::Remove, 32), (OpKind::Add, 24)]);
    let results: Vec<(Op, i32)> = ops.drain(..).map(|op| (op, 0)).collect();
    book.done(now, now, &results, &mut out);
    assert!(book.is_held(0));
    book.flush(now, &mut ops, &mut out);
    assert_eq!(ops, [], "once");
}

/// What is handed over in the middle of a round has its short lease in the next batches, all of it.
#[test]
fn a_hand_over_amid_a_round_begins_another_one() {
    let (mut book, start) = master_of(1000);
    let mut now = start;
    while book.deadline(now) == Some(now) || book.of(0).any(|(e, _)| !book.is_held(e)) {
        carry_out(&mut book, now);
        now += Duration::from_millis(1);
    }
    now += Duration::from_millis(300);
    book.advert_sent(0, now);
    carry_out(&mut book, now);
    assert_eq!(book.deadline(now), Some(now), "a round is under way");
    book.hand_over(0, now);
    let mut renewed = 0;
    for batch in 0..4 {
        let (ops, _) = carry_out(&mut book, now);
        assert_eq!(ops.first().map(|op| op.entry), Some(320 * batch));
        renewed += ops.iter().filter(|op| op.kind == OpKind::Replace && op.lease == Some(1)).count();
    }
    assert_eq!(renewed, 1000);
}
