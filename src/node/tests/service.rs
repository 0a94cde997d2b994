//! HAProxy and the virtual routers.

use super::*;

#[test]
fn never_master_without_service() {
    let mut w = World::new(&rarely_checked());
    w.begin(false);
    w.run(ms(4900));
    assert_eq!(w.kind(), Kind::Init);
    w.ready();
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
}

fn die(w: &mut World, exit: Exit) {
    let now = w.now;
    w.node.supervise(now, supervisor::Input::Exited { pid: 77, exit });
    w.effects();
    w.settle();
}

/// With a check so rare that it does not come in the way.
fn rarely_checked() -> Config {
    let mut cfg = with_haproxy("");
    if let Some(h) = &mut cfg.haproxy {
        h.check_interval = Duration::from_secs(3600);
    }
    cfg
}

fn serving_master() -> World {
    let mut w = World::new(&rarely_checked());
    w.begin(false);
    w.run(ms(50));
    w.ready();
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

#[test]
fn a_crash_that_is_mended_in_time_changes_nothing() {
    let mut w = serving_master();
    die(&mut w, Exit::Signal(9));
    assert_eq!(
        w.take()[0],
        Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false }),
        "started again at once"
    );
    w.run(ms(450));
    w.ready();
    w.run(ms(2000));
    assert_eq!(w.kind(), Kind::Master);
    assert!(!w.take().contains(&Did::Remove(0)));
}

#[test]
fn not_ready_in_time_gives_the_address_away_and_takes_part_again_later() {
    let mut w = serving_master();
    die(&mut w, Exit::Signal(9));
    w.take();
    w.run(ms(499));
    assert!(!w.take().contains(&Did::Remove(0)));
    w.run(ms(2));
    let did: Vec<Did> = w.take().into_iter().filter(|d| !matches!(d, Did::Haproxy(_))).collect();
    assert_eq!(did[..3], [Did::Remove(0), Did::Remember(Memory::Leaving), Did::Advert(0, 0)]);
    w.ready();
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn a_start_that_fails_gives_the_address_away_at_once_and_backs_off() {
    let mut w = serving_master();
    die(&mut w, Exit::Signal(9));
    w.take();
    w.run(ms(20));
    die(&mut w, Exit::Code(1));
    assert!(w.take().contains(&Did::Remove(0)));
    let spawn = Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false });
    let mut starts = Vec::new();
    for _ in 0..40_000 {
        w.run(ms(5));
        for (t, d) in std::mem::take(&mut w.did) {
            if d == spawn {
                starts.push(t);
                die(&mut w, Exit::Code(1));
            }
        }
    }
    let gaps: Vec<u64> = starts.windows(2).map(|w| w[1].since(w[0]).as_millis() as u64 / 100 * 100).collect();
    assert_eq!(gaps[..7], [500, 1000, 2000, 4000, 8000, 16_000, 30_000]);
}

#[test]
fn one_that_dies_too_often_serves_if_nobody_else_does() {
    let mut w = serving_master();
    for _ in 0..4 {
        die(&mut w, Exit::Signal(9));
        w.run(ms(600));
        w.ready();
    }
    assert!(w.events.iter().any(|e| matches!(e, Event::Haproxy(supervisor::Event::CrashLoop { .. }))));
    assert_eq!(
        (w.kind(), w.priority()),
        (Kind::Backup, 1),
        "it is no fault, but whoever else can goes first"
    );
    w.hear(PEER, 50);
    w.run(ms(3000));
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(2000)); // the peer is silent
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 1), "better than nobody");
    w.run(ms(31_000));
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 100), "it has run for crash_window");
}

/// It dies so many times; whether the address was let go meanwhile.
fn dies_and_is_back(w: &mut World, times: usize) -> bool {
    w.take();
    for _ in 0..times {
        die(w, Exit::Signal(9));
        w.run(ms(100));
        w.ready();
    }
    w.did.iter().any(|(_, d)| *d == Did::Remove(0))
}

#[test]
fn one_that_dies_too_often_asks_for_a_successor_and_serves_until_there_is_one() {
    let mut w = serving_master();
    assert!(!dies_and_is_back(&mut w, 3));
    assert!(!w.take().contains(&Did::Advert(0, 0)));
    die(&mut w, Exit::Signal(9));
    w.run(ms(0));
    let did = w.take();
    let spawn = Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false });
    assert!(did.contains(&Did::Advert(0, 0)) && did.contains(&spawn), "{did:?}");
    assert!(!did.contains(&Did::Remove(0)), "{did:?}");
    w.run(ms(100));
    w.ready();
    w.run(ms(1500)); // nobody has come
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 1));
    assert!(!dies_and_is_back(&mut w, 3), "no other node is better");
    assert!(!w.take().contains(&Did::Advert(0, 0)), "and none is asked each time");
    die(&mut w, Exit::Signal(9));
    assert!(w.take().contains(&Did::Remove(0)), "too often again");
}

#[test]
fn an_owner_waits_for_the_first_start_of_haproxy_and_tracks_it_no_more() {
    for fails in [false, true] {
        let mut cfg = rarely_checked();
        std::rc::Rc::make_mut(&mut cfg.vrrp[0]).priority = 255;
        let mut w = World::new(&cfg);
        w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
        w.begin(false);
        w.run(ms(500));
        assert_eq!(w.kind(), Kind::Init);
        assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..) | Did::Announce(_))));
        if fails {
            die(&mut w, Exit::Code(1));
        } else {
            w.ready();
        }
        assert_eq!(w.kind(), Kind::Master, "fails: {fails}");
        if !fails {
            die(&mut w, Exit::Signal(9));
        }
        w.run(ms(5000));
        assert_eq!(w.kind(), Kind::Master);
    }
}

#[test]
fn a_backup_does_not_take_over_while_haproxy_restarts() {
    let mut w = World::new(&rarely_checked());
    w.begin(false);
    w.run(ms(50));
    w.ready();
    w.run(ms(3500)); // just before the down timer
    die(&mut w, Exit::Signal(9));
    w.run(ms(300));
    assert_eq!(w.kind(), Kind::Backup, "the down timer is over, HAProxy is not back");
    w.ready();
    w.run(ms(1));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn haproxy_dying_ends_a_hand_over() {
    let mut w = serving_master();
    w.node.stop(w.now);
    w.settle();
    w.take();
    die(&mut w, Exit::Code(0));
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn a_dead_service_is_not_handed_over_but_let_go() {
    let mut w = serving_master();
    die(&mut w, Exit::Signal(9));
    w.take();
    w.node.stop(w.now);
    w.effects();
    w.settle();
    let did = w.take();
    assert_eq!(did[..3], [Did::Remove(0), Did::Remember(Memory::Leaving), Did::Advert(0, 0)]);

    let mut w = serving_master();
    die(&mut w, Exit::Signal(9));
    w.take();
    w.hear(PEER, 200);
    assert!(w.take().contains(&Did::Remove(0)));
}

#[test]
fn what_dies_during_a_stop_is_not_started_again() {
    let mut w = World::new(&with_haproxy(""));
    w.begin(false);
    w.run(ms(50));
    w.ready();
    w.take();
    w.node.stop(w.now);
    let now = w.now;
    w.node.supervise(now, supervisor::Input::Exited { pid: 77, exit: Exit::Signal(15) });
    w.effects();
    w.settle();
    w.run(ms(100));
    assert_eq!(w.take(), [Did::Exit(0)]);
}

#[test]
fn a_haproxy_that_answers_is_left_alone_and_a_hung_one_loses_the_address_before_it_is_killed() {
    let mut w = World::new(&with_haproxy(""));
    w.begin(false);
    serve(&mut w, ms(10_000), false);
    assert_eq!(w.kind(), Kind::Master);
    let kill = Did::Haproxy(supervisor::Action::Kill { pid: 77 });
    assert!(!w.take().contains(&kill));

    // asked every second, the third answer missed is 1 s late: 4 s
    let start = w.now;
    serve(&mut w, ms(7000), true);
    let did: Vec<(Time, Did)> = std::mem::take(&mut w.did);
    let at = |d: &Did| did.iter().position(|(_, x)| x == d).unwrap();
    assert!(at(&Did::Remove(0)) < at(&Did::Advert(0, 0)) && at(&Did::Advert(0, 0)) < at(&kill), "{did:?}");
    assert!(did[at(&kill)].0 <= start + ms(4000));
    assert_eq!(w.kind(), Kind::Init);
    die(&mut w, Exit::Signal(9));
    serve(&mut w, ms(5000), false);
    assert_eq!(w.kind(), Kind::Master, "it takes part again by itself");
}

#[test]
fn a_haproxy_that_dies_again_and_again_leaves_the_address_to_another_node_for_a_window() {
    let mut w = World::new(&with_haproxy("priority = 150"));
    w.begin(false);
    serve(&mut w, ms(5000), false);
    assert_eq!(w.kind(), Kind::Master);
    let mut moved = 0;
    for round in 0..8 {
        let before = w.kind();
        die(&mut w, Exit::Signal(11));
        if round >= 3 {
            w.hear(PEER, 100); // asked to take over
        }
        moved += usize::from(before == Kind::Master && w.kind() != Kind::Master);
        serve(&mut w, ms(1000), false);
        assert_eq!(w.kind() == Kind::Master, round < 3, "death {round}");
    }
    assert_eq!(moved, 1, "the address moves once");
    let mut serve_beside_a_peer = |seconds| {
        for _ in 0..seconds {
            w.hear(PEER, 100);
            serve(&mut w, ms(1000), false);
        }
        w.kind()
    };
    assert_eq!(serve_beside_a_peer(28), Kind::Backup);
    assert_eq!(serve_beside_a_peer(8), Kind::Master, "well for a window");
}

#[test]
fn a_reload_is_checked_first_and_claimed_only_when_another_worker_answers() {
    let mut w = serving_master();
    let ask = |w: &mut World| {
        let now = w.now;
        w.node.supervise(now, supervisor::Input::Reload);
        w.effects();
    };
    let checked = |w: &mut World, code| {
        let now = w.now;
        w.node.supervise(now, supervisor::Input::Checked { exit: Exit::Code(code) });
        w.effects();
    };
    let answer = |w: &mut World, worker| {
        w.run(ms(60));
        let now = w.now;
        let info = Info { version: "2.6".into(), pid: worker };
        w.node.supervise(now, supervisor::Input::Answered { pid: 77, info });
        w.effects();
    };
    ask(&mut w);
    assert_eq!(w.take(), [Did::Haproxy(supervisor::Action::Check)]);
    checked(&mut w, 1);
    assert_eq!(w.take(), [], "refused: the old one goes on");

    ask(&mut w);
    checked(&mut w, 0);
    assert!(w.take().contains(&Did::Haproxy(supervisor::Action::Reload { pid: 77 })));
    let done = |e: &Event| matches!(e, Event::Haproxy(supervisor::Event::Reloaded { worker: 79, .. }));
    answer(&mut w, 78);
    assert!(!w.events.iter().any(done), "the old worker answered");
    answer(&mut w, 79);
    assert!(w.events.iter().any(done));

    ask(&mut w);
    checked(&mut w, 0);
    for _ in 0..169 {
        answer(&mut w, 79); // the old worker
    }
    assert!(w.events.contains(&Event::Haproxy(supervisor::Event::ReloadFailed { reason: None })));
    assert_eq!(w.kind(), Kind::Master, "VRRP does not notice");
}

#[test]
fn asked_twice_a_haproxy_that_lingers_is_not_waited_for() {
    let mut w = serving_master();
    w.node.stop(w.now);
    w.effects();
    w.settle();
    w.run(ms(300));
    assert!(!w.take().contains(&Did::Remove(0)), "nobody has taken over yet");
    w.node.stop(w.now);
    w.effects();
    w.settle();
    w.run(ms(550));
    let did = w.take();
    let at =
        |a| did.iter().position(|d| *d == Did::Haproxy(a)).unwrap_or_else(|| panic!("no {a:?}: {did:?}"));
    let gone = did.iter().position(|d| *d == Did::Remove(0));
    assert!(gone < Some(at(supervisor::Action::SoftStop { pid: 77 })));
    assert!(at(supervisor::Action::SoftStop { pid: 77 }) < at(supervisor::Action::Terminate { pid: 77 }));
    assert!(at(supervisor::Action::Terminate { pid: 77 }) < at(supervisor::Action::Kill { pid: 77 }));
    die(&mut w, Exit::Signal(9));
    assert!(w.take().contains(&Did::Exit(0)));
}
