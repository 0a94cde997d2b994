//! The rows of a master that is told to resign, and of a machine that gets other parameters.

use super::*;

const WAIT: Duration = Duration::from_millis(1250);
const ASIDE: Duration = Duration::from_secs(60);

fn resign(force: bool) -> Input {
    Input::Resign { wait: WAIT, no_preempt_for: ASIDE, force }
}

/// A master that was told to at 10.2 s.
fn soliciting(p: Params, force: bool) -> Machine {
    let mut m = master(p);
    assert_eq!(go(&mut m, at(10_200), resign(force)), [Action::Offer, Advert(0)]);
    assert!(m.is_soliciting());
    assert_eq!((m.kind(), m.deadline()), (Kind::Master, Some(at(10_200) + WAIT)));
    m
}

fn said(how: Resigned) -> Action {
    Action::Resigned(how)
}

#[test]
fn asking_rows() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        // Whoever advertises is the successor, whatever its priority is.
        for (src, priority) in [(LOW, 1), (LOW, 99), (HIGH, 100), (HIGH, 254)] {
            let mut m = soliciting(p.clone(), false);
            let who = Master { src, priority };
            let out = go(&mut m, at(10_900), advert(src, priority));
            let to = Resigned::To(who, ms(700));
            assert_eq!(out, [LATER, Entered(Kind::Backup, Why::Resigned), said(to)]);
            assert_eq!(m.deadline(), Some(down(&p, at(10_900), learned(v))));
            assert_eq!(m.no_preempt_for(at(10_900)), Some(ASIDE));
            assert!(!m.is_soliciting());
        }
        // Nothing else is answered, and no advert goes out meanwhile.
        let mut m = soliciting(p.clone(), false);
        for input in [Input::Tick, Input::Start, Input::Resume, advert(LOW, 0)] {
            assert_eq!(go(&mut m, at(11_449), input), [], "{input:?}");
        }
        assert_eq!(go(&mut m, at(11_449), resign(false)), [said(Resigned::Busy)]);
        // Nobody.
        let out = go(&mut m, at(11_450), Input::Tick);
        assert_eq!(out, [Action::Keep, Advert(100), said(Resigned::Nobody(WAIT))]);
        assert_eq!(
            (m.kind(), m.deadline(), m.no_preempt_for(at(11_450))),
            (Kind::Master, Some(at(12_000)), None)
        );
        // Nobody, and by force.
        let mut m = soliciting(p.clone(), true);
        let out = go(&mut m, at(11_450), Input::Tick);
        assert_eq!(out, [NOW, Entered(Kind::Backup, Why::Resigned), said(Resigned::Forced(WAIT))]);
        assert_eq!(m.deadline(), Some(at(11_450) + ASIDE), "there is nobody who could be dead");
        go(&mut m, at(20_000), advert(LOW, 50));
        assert_eq!(m.deadline(), Some(down(&p, at(20_000), learned(v))), "there is now");
        // What comes in between; priority 0 has gone out already.
        let interrupted = said(Resigned::Interrupted);
        for (input, out) in [
            (Input::Leave, vec![LATER, Entered(Kind::Init, Why::Left), interrupted]),
            (Input::Fault, vec![NOW, Entered(Kind::Init, Why::Faulted), interrupted]),
            (Input::Stall, vec![NOW, Entered(Kind::Backup, Why::Stalled), interrupted]),
            (Input::Yield, vec![LATER, Entered(Kind::Backup, Why::Group), said(Resigned::WithGroup)]),
        ] {
            let mut m = soliciting(p.clone(), false);
            assert_eq!(go(&mut m, at(10_300), input), out);
            assert!(!m.is_soliciting());
        }
        // Tracking goes on.
        let mut m = soliciting(p.clone(), false);
        assert_eq!(go(&mut m, at(10_300), Input::Priority(80)), []);
        assert_eq!(go(&mut m, at(11_450), Input::Tick)[1], Advert(80));
    }
}

#[test]
fn who_is_no_master_does_not_preempt_and_an_owner_stays() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let mut m = Machine::new(params(v, 255));
        go(&mut m, at(0), Input::Start);
        assert_eq!(go(&mut m, at(5), resign(true)), [said(Resigned::Owner)]);
        let mut m = Machine::new(p.clone());
        assert_eq!(go(&mut m, at(0), resign(false)), [said(Resigned::NotMaster)]);
        go(&mut m, at(10), Input::Start);
        go(&mut m, at(1000), advert(LOW, 50));
        assert_eq!(m.deadline(), Some(down(&p, at(1000), learned(v))), "followed, not preempted");
        // It may resign, and may die.
        go(&mut m, at(2000), advert(LOW, 50));
        go(&mut m, at(2100), advert(LOW, 0));
        assert_eq!(m.deadline(), Some(at(2100) + skew(&p, learned(v))));
        // One that is about to be preempted when the command comes.
        let mut m = backup(p.clone());
        go(&mut m, at(3000), advert(LOW, 50));
        assert_eq!(go(&mut m, at(3200), resign(false)), [said(Resigned::NotMaster)]);
        assert_eq!(m.deadline(), Some(down(&p, at(3200), ms(1000))));
        // The time is over.
        go(&mut m, at(63_300), advert(LOW, 50));
        let fires = m.deadline();
        assert!(fires < Some(down(&p, at(63_300), ms(1000))));
        // Whoever becomes master has nothing to hold back any more.
        let mut m = backup(p.clone());
        go(&mut m, at(100), resign(false));
        go(&mut m, at(4000), Input::Tick);
        assert_eq!((m.kind(), m.no_preempt_for(at(4000))), (Kind::Master, None));
    }
}

fn tuning(p: &Params) -> Tuning {
    let (advert_int, down_timer_adverts) = (p.advert_int, p.down_timer_adverts);
    Tuning { advert_int, down_timer_adverts, preempt: p.preempt, preempt_delay: p.preempt_delay }
}

fn retune(m: &mut Machine, now: Time, t: Tuning) -> Vec<Action> {
    let mut out = Vec::new();
    m.retune(now, t, &mut out);
    out
}

#[test]
fn other_parameters() {
    for v in [Version::V2, Version::V3] {
        let p = params(v, 100);
        let same = tuning(&p);
        let longer = Tuning { advert_int: ms(7000), ..same };
        let shorter = Tuning { advert_int: ms(500), ..same };
        // Nothing of that moves a timer.
        let mut m = master(p.clone());
        let next = m.deadline();
        for t in [same, Tuning { preempt: false, preempt_delay: ms(5), ..same }] {
            assert_eq!(retune(&mut m, at(10_100), t), []);
            assert_eq!((m.deadline(), m.min_down_interval()), (next, ms(3000)));
        }
        // A master tells it at once, again before the old interval is over, and then on the new grid. Until
        // it is told the backups' patience is the old one.
        let mut m = master(p.clone());
        assert_eq!(retune(&mut m, at(10_100), longer), [Advert(100)]);
        assert_eq!(m.min_down_interval(), ms(3000));
        assert!(m.advertised() && !m.advertised());
        assert_eq!((m.min_down_interval(), m.deadline()), (ms(21_000), Some(at(11_100))));
        go(&mut m, at(11_100), Input::Tick);
        assert_eq!(m.deadline(), Some(at(14_000)));
        let mut m = master(p.clone());
        assert_eq!(retune(&mut m, at(10_100), shorter), [Advert(100)]);
        assert_eq!(m.deadline(), Some(at(10_500)));
        // A backup waits for its master to follow.
        let mut m = backup(p.clone());
        go(&mut m, at(1000), advert(HIGH, 200));
        let before = m.deadline();
        assert_eq!(retune(&mut m, at(1100), shorter), []);
        assert!(m.deadline() >= before);
        let mut m = backup(p.clone());
        go(&mut m, at(1000), advert(HIGH, 200));
        retune(&mut m, at(1100), longer);
        let interval = if v == Version::V2 { ms(7000) } else { ms(2000) };
        assert_eq!(m.deadline(), Some(down(&p, at(1100), interval)), "version 3 has its master's");
        // Who was about to be preempted is not any more.
        let mut m = backup(p.clone());
        go(&mut m, at(3000), advert(LOW, 50));
        retune(&mut m, at(3100), Tuning { preempt: false, ..same });
        assert_eq!(m.deadline(), Some(down(&p, at(3100), ms(1000))));
        // Nobody takes part, nothing moves.
        let mut m = Machine::new(p.clone());
        assert_eq!(retune(&mut m, at(0), longer), []);
        assert_eq!((m.kind(), m.params.advert_int), (Kind::Init, ms(7000)));
    }
}
