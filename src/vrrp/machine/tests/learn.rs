//! What a backup learns of intervals from single adverts, forged ones among them.

use super::*;

fn told(src: IpAddr, priority: u8, interval: u64) -> Input {
    Input::Advert { src, priority, interval: ms(interval) }
}

#[test]
fn one_forged_advert_silences_nobody_for_minutes() {
    let p = params(Version::V3, 100);
    let bounded = down(&p, at(10_500), ms(2000));
    let mut m = master(p.clone());
    go(&mut m, at(10_500), told(HIGH, 254, 40_950));
    assert_eq!((m.kind(), m.deadline()), (Kind::Backup, Some(bounded)));
    let mut m = backup(p.clone());
    // However often it is said.
    for _ in 0..3 {
        go(&mut m, at(10_500), told(HIGH, 254, 40_950));
    }
    assert_eq!(m.deadline(), Some(bounded));
    // Within the bound a longer one counts at once, and version 2 has but one interval.
    let mut m = backup(p.clone());
    go(&mut m, at(11_000), told(HIGH, 254, 1900));
    assert_eq!(m.deadline(), Some(down(&p, at(11_000), ms(1900))));
    let p = params(Version::V2, 100);
    let mut m = backup(p.clone());
    go(&mut m, at(100), told(HIGH, 254, 40_950));
    assert_eq!(m.deadline(), Some(down(&p, at(100), ms(1000))));
}

#[test]
fn a_short_interval_counts_when_the_master_repeats_it() {
    let p = params(Version::V3, 100);
    let mut m = backup(p.clone());
    for second in 1..10 {
        go(&mut m, at(1000 * second), told(HIGH, 150, 1000));
        // Forged, with the master's address.
        go(&mut m, at(1000 * second + 300), told(HIGH, 150, 10));
        assert_eq!(m.deadline(), Some(down(&p, at(1000 * second + 300), ms(1000))));
    }
    // Another master that says it once.
    go(&mut m, at(20_000), told(LOW, 200, 10));
    assert_eq!(m.deadline(), Some(down(&p, at(20_000), ms(1000))));
    go(&mut m, at(20_010), told(LOW, 200, 10));
    assert_eq!(m.deadline(), Some(down(&p, at(20_010), ms(10))));
}

#[test]
fn a_reload_to_the_interval_of_the_master_waits_for_it() {
    let mut m = backup(params(Version::V3, 100));
    go(&mut m, at(1000), told(HIGH, 150, 20_000));
    let p = Params { advert_int: ms(20_000), ..params(Version::V3, 100) };
    let (down_timer_adverts, preempt, preempt_delay) = (3, true, Duration::ZERO);
    let tuning = Tuning { advert_int: p.advert_int, down_timer_adverts, preempt, preempt_delay };
    m.retune(at(2000), tuning, &mut Vec::new());
    assert_eq!(m.deadline(), Some(down(&p, at(2000), ms(20_000))));
}
