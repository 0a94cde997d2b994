//! Every state × input × version, with the exact actions in their order and the exact deadlines.

mod learn;
mod reload;
mod table;

use super::*;

const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));
const LOW: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 4));
const HIGH: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6));
const EPOCH: u64 = 1_000_000_300;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Milliseconds after the grid's origin.
fn at(n: u64) -> Time {
    Time::from_nanos(EPOCH) + ms(n)
}

fn params(version: Version, priority: u8) -> Params {
    Params {
        version,
        priority,
        advert_int: ms(1000),
        preempt: true,
        preempt_delay: Duration::ZERO,
        down_timer_adverts: 3,
        own: OWN,
        epoch: at(0),
    }
}

fn go(m: &mut Machine, now: Time, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    m.step(now, input, &mut out);
    out
}

fn backup(p: Params) -> Machine {
    let mut m = Machine::new(p);
    go(&mut m, at(0), Input::Start);
    assert_eq!(m.kind(), Kind::Backup);
    m
}

fn master(p: Params) -> Machine {
    let mut m = backup(p);
    go(&mut m, at(10_000), Input::Tick);
    assert_eq!(m.kind(), Kind::Master);
    m
}

fn advert(src: IpAddr, priority: u8) -> Input {
    Input::Advert { src, priority, interval: ms(2000) }
}

fn skew(p: &Params, interval: Duration) -> Duration {
    timers::skew(p.version, p.priority, interval)
}

/// When the down timer of a machine with these parameters fires after an advert of `interval`.
fn down(p: &Params, now: Time, interval: Duration) -> Time {
    now + interval * 3 + skew(p, interval)
}

fn learned(version: Version) -> Duration {
    match version {
        Version::V2 => ms(1000),
        Version::V3 => ms(2000),
    }
}

use Action::{Acquire, Advert, Entered, Noted, Reannounce};
const NOW: Action = Action::Release(Release::Now);
const LATER: Action = Action::Release(Release::AfterSuccessor);

#[test]
fn init() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let mut m = Machine::new(p.clone());
        for input in
            [Input::Leave, Input::Fault, Input::Stall, Input::Tick, advert(HIGH, 200), advert(HIGH, 0)]
        {
            assert_eq!(go(&mut m, at(0), input), [], "{input:?}");
            assert_eq!((m.kind(), m.deadline()), (Kind::Init, None));
        }
        assert_eq!(go(&mut m, at(0), Input::Start), [Entered(Kind::Backup, Why::Started)]);
        assert_eq!(m.deadline(), Some(down(&p, at(0), ms(1000))));

        let mut m = Machine::new(p.clone());
        let resumed = [Advert(100), Acquire, Entered(Kind::Master, Why::Resumed)];
        assert_eq!(go(&mut m, at(350), Input::Resume), resumed);
        assert_eq!(m.deadline(), Some(at(1000)), "the next advert is on the grid");

        let mut m = Machine::new(params(v, 255));
        let owner = [Advert(255), Acquire, Entered(Kind::Master, Why::Owner)];
        assert_eq!(go(&mut m, at(0), Input::Start), owner);
    }
}

#[test]
fn backup_rows() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let fresh = || backup(p.clone());

        let mut m = fresh();
        assert_eq!(go(&mut m, at(5), Input::Leave), [Entered(Kind::Init, Why::Left)]);
        let mut m = fresh();
        assert_eq!(go(&mut m, at(5), Input::Fault), [Entered(Kind::Init, Why::Faulted)]);
        let mut m = fresh();
        let before = m.state().clone();
        for input in [Input::Start, Input::Resume, Input::Stall, Input::Tick] {
            assert_eq!(go(&mut m, at(5), input), [], "{input:?}");
            assert_eq!(*m.state(), before, "{input:?}");
        }

        // the down timer, to the nanosecond
        let mut m = fresh();
        let fires = down(&p, at(0), ms(1000));
        assert_eq!(go(&mut m, fires - Duration::from_nanos(1), Input::Tick), []);
        let taken = [Advert(100), Acquire, Entered(Kind::Master, Why::NoMaster)];
        assert_eq!(go(&mut m, fires, Input::Tick), taken);

        // equal or higher: accepted, whatever the address; v3 learns the interval
        for (src, priority) in [(LOW, 100), (HIGH, 100), (LOW, 101), (LOW, 255)] {
            let mut m = fresh();
            assert_eq!(go(&mut m, at(500), advert(src, priority)), []);
            assert_eq!(m.deadline(), Some(down(&p, at(500), learned(v))));
            let silent = go(&mut m, at(60_000), Input::Tick);
            assert_eq!(silent.last(), Some(&Entered(Kind::Master, Why::MasterDown)));
        }

        // lower, preempt: discarded, the timer runs on
        let mut m = fresh();
        assert_eq!(go(&mut m, at(500), advert(HIGH, 99)), []);
        assert_eq!(m.deadline(), Some(fires));
        let preempted = go(&mut m, fires, Input::Tick);
        assert_eq!(preempted, [Advert(100), Acquire, Entered(Kind::Master, Why::Preempted)]);

        // lower, no preempt: accepted
        let mut m = backup(Params { preempt: false, ..p.clone() });
        assert_eq!(go(&mut m, at(500), advert(HIGH, 1)), []);
        assert_eq!(m.deadline(), Some(down(&p, at(500), learned(v))));

        // priority 0 of the master heard: skew of its interval; a second one neither re-arms nor says a word
        let mut m = fresh();
        go(&mut m, at(500), advert(HIGH, 200));
        let gone = Note::MasterGone(Master { src: HIGH, priority: 200 });
        assert_eq!(go(&mut m, at(600), advert(HIGH, 0)), [Noted(gone)]);
        assert_eq!(m.deadline(), Some(at(600) + skew(&p, learned(v))));
        assert_eq!(go(&mut m, at(700), advert(HIGH, 0)), []);
        assert_eq!(m.deadline(), Some(at(600) + skew(&p, learned(v))));
        let left = go(&mut m, at(60_000), Input::Tick);
        assert_eq!(left.last(), Some(&Entered(Kind::Master, Why::MasterLeft)));

        // priority 0 of anybody else: ignored
        for first in [None, Some(advert(HIGH, 200))] {
            let mut m = fresh();
            first.map(|f| go(&mut m, at(500), f));
            let before = m.state().clone();
            assert_eq!(go(&mut m, at(600), advert(LOW, 0)), [Noted(Note::StrangerGone(LOW))]);
            assert_eq!(*m.state(), before);
        }

        // a lower master that comes and goes beside the living one changes nothing, and hides nothing
        let mut m = fresh();
        go(&mut m, at(500), advert(HIGH, 200));
        let armed = m.deadline();
        go(&mut m, at(600), advert(LOW, 50));
        assert_eq!(go(&mut m, at(700), advert(LOW, 0)), [Noted(Note::StrangerGone(LOW))]);
        assert_eq!(m.deadline(), armed);
        assert_eq!(go(&mut m, at(800), advert(HIGH, 0)), [Noted(gone)]);
        assert_eq!(m.deadline(), Some(at(800) + skew(&p, learned(v))));

        // a lower master that is being preempted resigns: no reason to wait for the rest of the down timer,
        // but for an interval, in which another master is heard if there is one
        let mut m = fresh();
        go(&mut m, at(500), advert(LOW, 50));
        go(&mut m, at(600), advert(LOW, 0));
        assert_eq!(m.deadline(), Some(at(1600) + skew(&p, ms(1000))));
        go(&mut m, at(1400), advert(HIGH, 200));
        assert_eq!(m.deadline(), Some(down(&p, at(1400), learned(v))));
    }
}

#[test]
fn master_rows() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let fresh = || master(p.clone());

        let mut m = fresh();
        assert_eq!(m.deadline(), Some(at(11_000)));
        let left = [LATER, Advert(0), Entered(Kind::Init, Why::Left)];
        assert_eq!(go(&mut m, at(10_100), Input::Leave), left);
        let mut m = fresh();
        let faulted = [NOW, Advert(0), Entered(Kind::Init, Why::Faulted)];
        assert_eq!(go(&mut m, at(10_100), Input::Fault), faulted);
        let mut m = fresh();
        assert_eq!(go(&mut m, at(15_000), Input::Stall), [NOW, Entered(Kind::Backup, Why::Stalled)]);
        assert_eq!(m.deadline(), Some(down(&p, at(15_000), ms(1000))));
        let mut m = fresh();
        for input in [Input::Start, Input::Resume, Input::Tick] {
            let before = m.state().clone();
            assert_eq!(go(&mut m, at(10_999), input), [], "{input:?}");
            assert_eq!(*m.state(), before);
        }

        // the advert timer does not drift, and a late wake sends one advert, not a volley
        let mut m = fresh();
        assert_eq!(go(&mut m, at(11_003), Input::Tick), [Advert(100)]);
        assert_eq!(m.deadline(), Some(at(12_000)));
        assert_eq!(go(&mut m, at(14_700), Input::Tick), [Advert(100)]);
        assert_eq!(m.deadline(), Some(at(15_000)));

        // higher, or the same from a higher address
        for (src, priority) in [(LOW, 101), (HIGH, 100), (HIGH, 255)] {
            let mut m = fresh();
            let heard = Master { src, priority };
            assert_eq!(
                go(&mut m, at(10_500), advert(src, priority)),
                [Noted(Note::HigherAdvert(heard)), LATER, Entered(Kind::Backup, Why::Outranked(heard))]
            );
            assert_eq!(m.deadline(), Some(down(&p, at(10_500), learned(v))));
        }

        // lower, or the same from a lower address: answered at once, the advert timer stays
        for (src, priority) in [(HIGH, 99), (LOW, 100), (LOW, 1)] {
            let mut m = fresh();
            let note = Noted(Note::LowerAdvert(Master { src, priority }));
            assert_eq!(go(&mut m, at(10_500), advert(src, priority)), [note, Advert(100), Reannounce]);
            assert_eq!(m.deadline(), Some(at(11_000)));
            // at most once in max(I/4, 10 ms)
            assert_eq!(go(&mut m, at(10_749), advert(src, priority)), [note]);
            assert_eq!(go(&mut m, at(10_750), advert(src, priority)), [note, Advert(100), Reannounce]);
        }

        // priority 0: an advert, and the timer anew
        let mut m = fresh();
        assert_eq!(go(&mut m, at(11_500), advert(HIGH, 0)), [Advert(100)]);
        assert_eq!(m.deadline(), Some(at(12_000)));
        assert_eq!(go(&mut m, at(11_600), advert(HIGH, 0)), [], "not amplified");
    }
}

#[test]
fn two_owners() {
    let mut m = Machine::new(params(Version::V2, 255));
    go(&mut m, at(0), Input::Start);
    let other = Master { src: HIGH, priority: 255 };
    let out = go(&mut m, at(10), advert(HIGH, 255));
    assert_eq!(out.first(), Some(&Noted(Note::SecondOwner(other))));
    assert_eq!(out.last(), Some(&Entered(Kind::Backup, Why::Outranked(other))));
}

#[test]
fn preempt_delay_respects_a_living_master_and_not_a_dead_one() {
    let p = Params { preempt_delay: ms(5000), ..params(Version::V2, 100) };
    let mut m = backup(p.clone());
    for t in (500..5500).step_by(1000) {
        assert_eq!(go(&mut m, at(t), advert(LOW, 50)), []);
        assert_eq!(m.deadline(), Some(down(&p, at(t), ms(1000))), "respected at {t}");
    }
    let armed = m.deadline();
    assert_eq!(go(&mut m, at(5500), advert(LOW, 50)), []);
    assert_eq!(m.deadline(), armed, "the delay is over");

    let mut dead = backup(p.clone());
    go(&mut dead, at(500), advert(LOW, 50));
    assert!(dead.deadline() < Some(at(5500)), "a dead master is replaced in its usual time");

    let mut again = backup(p.clone());
    go(&mut again, at(500), advert(LOW, 50));
    go(&mut again, at(1500), advert(HIGH, 200));
    go(&mut again, at(5600), advert(LOW, 50));
    assert_eq!(again.deadline(), Some(down(&p, at(5600), ms(1000))), "a better master cancels the delay");
}

#[test]
fn a_lower_master_that_leaves_does_not_take_a_better_one_along() {
    let delayed = Params { preempt_delay: ms(5000), ..params(Version::V2, 100) };
    let meek = Params { preempt: false, ..params(Version::V2, 40) };
    for p in [delayed, meek] {
        let one = ms(1000);
        let after = |t| Some(at(t) + skew(&p, one));
        // the better one may live until its own down timer, and no longer than that
        let mut m = backup(p.clone());
        go(&mut m, at(500), advert(HIGH, 200));
        go(&mut m, at(1000), advert(LOW, 50));
        go(&mut m, at(2000), advert(LOW, 50));
        assert_eq!(m.deadline(), Some(down(&p, at(2000), one)));
        go(&mut m, at(2100), advert(LOW, 0));
        assert_eq!(m.deadline(), Some(down(&p, at(500), one)));
        let mut late = backup(p.clone());
        go(&mut late, at(500), advert(HIGH, 200));
        go(&mut late, at(3000), advert(LOW, 50));
        go(&mut late, at(4000), advert(LOW, 0));
        assert_eq!(late.deadline(), after(4000));
        // unless it has left, before or after
        let (leaves, comes) = (advert(HIGH, 0), advert(LOW, 50));
        for (first, then) in [(leaves, comes), (comes, leaves)] {
            let mut m = backup(p.clone());
            go(&mut m, at(500), advert(HIGH, 200));
            go(&mut m, at(600), first);
            go(&mut m, at(700), then);
            assert!(m.deadline() > Some(down(&p, at(500), one)));
            go(&mut m, at(800), advert(LOW, 0));
            assert_eq!(m.deadline(), after(800));
        }
        // or has given way to another one
        let mut m = backup(p.clone());
        for (t, who) in [(500, advert(HIGH, 120)), (600, advert(LOW, 50)), (700, advert(LOW, 130))] {
            go(&mut m, at(t), who);
        }
        go(&mut m, at(800), advert(LOW, 0));
        assert_eq!(m.deadline(), after(800));
    }
}

#[test]
fn who_was_to_be_preempted_and_left_was_not_preempted() {
    let p = Params { preempt_delay: ms(1000), ..params(Version::V2, 100) };
    let mut m = backup(p.clone());
    for (t, priority) in [(500, 50), (1600, 50), (1700, 0)] {
        go(&mut m, at(t), advert(LOW, priority));
    }
    assert_eq!(m.deadline(), Some(at(1700) + skew(&p, ms(1000))));
    let out = go(&mut m, at(3000), Input::Tick);
    assert_eq!(out.last(), Some(&Entered(Kind::Master, Why::MasterLeft)));
}

#[test]
fn v3_short_intervals() {
    let p = Params { advert_int: ms(10), ..params(Version::V3, 254) };
    let mut m = Machine::new(p);
    go(&mut m, at(0), Input::Start);
    assert_eq!(m.deadline(), Some(at(0) + Duration::from_nanos(30_078_125)));
    // a master of 40.95 s is learned as far as the bound, and our own interval is back once we lead
    let slow = Input::Advert { src: HIGH, priority: 255, interval: ms(40_950) };
    go(&mut m, at(1), slow);
    assert_eq!(m.deadline(), Some(at(1) + Duration::from_nanos(3_000_000_000 + 7_812_500)));
    go(&mut m, at(200_000), Input::Tick);
    assert_eq!(m.deadline(), Some(at(200_010)));
}

#[test]
fn a_priority_that_changes() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let new = |priority| Params { priority, ..p.clone() };

        // Init: only noted
        let mut m = Machine::new(p.clone());
        assert_eq!(go(&mut m, at(0), Input::Priority(80)), []);
        go(&mut m, at(0), Input::Start);
        assert_eq!(m.deadline(), Some(down(&new(80), at(0), ms(1000))));

        // Backup: the skew follows, whatever it was added to
        for priority in [1, 80, 120, 254] {
            let mut m = backup(p.clone());
            go(&mut m, at(500), advert(HIGH, 200));
            assert_eq!(go(&mut m, at(700), Input::Priority(priority)), []);
            assert_eq!(m.deadline(), Some(down(&new(priority), at(500), learned(v))), "{priority}");
            go(&mut m, at(800), advert(HIGH, 0));
            let left = at(800) + skew(&new(priority), learned(v));
            assert_eq!(m.deadline(), Some(left));
            go(&mut m, at(810), Input::Priority(100));
            assert_eq!(m.deadline(), Some(at(800) + skew(&p, learned(v))));
        }

        // Backup: a deadline that has passed by that is due
        let mut m = backup(p.clone());
        let late = m.deadline().unwrap() - Duration::from_nanos(1);
        assert_eq!(go(&mut m, late, Input::Priority(200)), []);
        assert!(m.deadline() < Some(late));
        let taken = [Advert(200), Acquire, Entered(Kind::Master, Why::NoMaster)];
        assert_eq!(go(&mut m, late, Input::Tick), taken);

        // Backup: who was about to be preempted outranks us, and is followed
        for (priority, followed) in [(90, true), (89, true), (91, false)] {
            let mut m = backup(p.clone());
            let fires = m.deadline();
            go(&mut m, at(3000), advert(LOW, 90));
            assert_eq!(m.deadline(), fires);
            go(&mut m, at(3500), Input::Priority(priority));
            if followed {
                assert_eq!(m.deadline(), Some(down(&new(priority), at(3500), ms(1000))), "{priority}");
            } else {
                assert_eq!(m.deadline(), Some(down(&new(priority), at(0), ms(1000))));
            }
        }

        // Backup: what was a better master is preempted from its next advert on
        let mut m = backup(p.clone());
        go(&mut m, at(500), advert(HIGH, 150));
        go(&mut m, at(600), Input::Priority(160));
        let fires = m.deadline();
        assert_eq!(fires, Some(down(&new(160), at(500), learned(v))));
        go(&mut m, at(1500), advert(HIGH, 150));
        assert_eq!(m.deadline(), fires);

        // Master: the next advert has it, on its grid
        let mut m = master(p.clone());
        let next = m.deadline();
        assert_eq!(go(&mut m, at(10_100), Input::Priority(80)), []);
        assert_eq!(m.deadline(), next);
        assert_eq!(go(&mut m, at(11_000), Input::Tick), [Advert(80)]);
        let out = go(&mut m, at(11_100), advert(LOW, 90));
        assert_eq!(
            out[1..],
            [LATER, Entered(Kind::Backup, Why::Outranked(Master { src: LOW, priority: 90 }))]
        );
    }
}
