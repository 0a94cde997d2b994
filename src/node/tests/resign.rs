//! Handing over on command.

use super::*;
use crate::vrrp::machine::{Master, Resigned};

const MINUTE: Duration = Duration::from_secs(60);

fn master(more: &str) -> World {
    let mut w = World::new(&one(more));
    w.begin(false);
    w.run(ms(20_000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

fn resign(w: &mut World, force: bool) {
    assert!(w.node.resign(None, MINUTE, force, w.now).is_some());
    w.effects();
    w.settle();
}

fn resigned(w: &mut World) -> Option<Resigned> {
    w.events.extend(std::iter::from_fn(|| w.node.next_event()));
    w.events.iter().find_map(|e| match e {
        Event::Resigned { how, .. } => Some(*how),
        _ => None,
    })
}

#[test]
fn a_successor_takes_over_and_is_not_preempted() {
    for version in ["version = 2", "version = 3"] {
        let mut w = master(version);
        resign(&mut w, false);
        let did = w.take();
        assert_eq!(
            did.iter().filter(|d| matches!(d, Did::Advert(..))).collect::<Vec<_>>(),
            [&Did::Advert(0, 0)]
        );
        assert!(did.contains(&Did::Remember(Memory::Leaving)));
        w.run(ms(600));
        assert_eq!(w.kind(), Kind::Master, "nobody has come yet");
        assert!(!w.did.iter().any(|(_, d)| matches!(d, Did::Advert(..) | Did::Remove(_))));
        w.hear(PEER, 90);
        assert_eq!(w.kind(), Kind::Backup);
        let to = Resigned::To(Master { src: PEER.into(), priority: 90 }, ms(600));
        assert_eq!(resigned(&mut w), Some(to));
        w.run(ms(100));
        assert!(w.present.is_empty(), "once the successor has it");
        for _ in 0..58 {
            w.run(ms(1000));
            w.hear(PEER, 90);
        }
        assert_eq!(w.kind(), Kind::Backup);
        assert!(w.node.routers[0].machine.no_preempt_for(w.now).is_some());
        for _ in 0..6 {
            w.run(ms(1000));
            if w.kind() == Kind::Backup {
                w.hear(PEER, 90);
            }
        }
        assert_eq!(w.kind(), Kind::Master, "and afterwards it is, as ever");
    }
}

#[test]
fn a_dead_successor_is_followed() {
    let mut w = master("");
    resign(&mut w, false);
    w.run(ms(600));
    w.hear(PEER, 90);
    w.run(ms(3700));
    assert_eq!(w.kind(), Kind::Master);
    assert_eq!(w.node.routers[0].machine.no_preempt_for(w.now), None);
}

#[test]
fn without_a_successor_it_stays_master_and_the_address_stays() {
    for (more, wait) in
        [("version = 2", 1246), ("version = 3\nadvert_int = 0.1", 349), ("version = 3\nadvert_int = 5", 5230)]
    {
        let mut w = master(more);
        let became = w.node.routers[0].stats.became_master;
        resign(&mut w, false);
        w.take();
        w.run(ms(wait - 1));
        assert_eq!(resigned(&mut w), None, "{more}");
        assert!(!w.did.iter().any(|(_, d)| matches!(d, Did::Advert(..) | Did::Remove(_))), "{more}");
        w.run(ms(1 + 10));
        assert!(matches!(resigned(&mut w), Some(Resigned::Nobody(_))), "{more}");
        assert!(w.did.iter().any(|(_, d)| *d == Did::Advert(0, 100)), "{more}");
        assert!(w.did.iter().any(|(_, d)| *d == Did::Remember(Memory::Master)), "{more}");
        w.run(ms(20_000));
        let s = &w.node.routers[0].stats;
        assert_eq!((s.became_master, s.stalls, s.priority_zero_sent), (became, 0, 1), "{more}");
        assert!(w.present.contains(&VIP.into()), "{more}");
        assert!(!w.did.iter().any(|(_, d)| matches!(d, Did::Remove(_))), "{more}");
    }
}

#[test]
fn by_force_there_is_nobody_for_as_long() {
    let mut w = master("");
    resign(&mut w, true);
    w.run(ms(1300));
    assert_eq!(w.kind(), Kind::Backup);
    assert!(matches!(resigned(&mut w), Some(Resigned::Forced(_))));
    assert!(w.present.is_empty());
    w.run(ms(58_000));
    assert_eq!(w.kind(), Kind::Backup);
    w.run(ms(20_000));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn priority_0_is_not_repeated_by_a_stop() {
    let mut w = master("");
    resign(&mut w, false);
    w.run(ms(300));
    w.take();
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(!w.take().iter().any(|d| matches!(d, Did::Advert(..))));
    w.run(ms(300));
    w.hear(PEER, 90);
    w.run(ms(100));
    assert!(w.present.is_empty());
    assert!(w.did.iter().any(|(_, d)| *d == Did::Exit(0)));
}

#[test]
fn what_comes_in_between() {
    let mut w = master("");
    resign(&mut w, false);
    w.run(ms(300));
    w.link(false);
    w.effects();
    w.settle();
    assert_eq!(resigned(&mut w), Some(Resigned::Interrupted));
    assert_eq!(w.kind(), Kind::Init);
    // It is asked twice.
    let mut w = master("");
    resign(&mut w, false);
    resign(&mut w, false);
    assert_eq!(resigned(&mut w), Some(Resigned::Busy));
    assert!(!w.node.may_reconfigure());
    // Nobody's master: it does not preempt, that is all.
    let mut w = World::new(&one(""));
    w.begin(false);
    w.hear(PEER, 50);
    resign(&mut w, false);
    assert_eq!(resigned(&mut w), Some(Resigned::NotMaster));
    for _ in 0..20 {
        w.run(ms(1000));
        w.hear(PEER, 50);
    }
    assert_eq!(w.kind(), Kind::Backup);
}

#[test]
fn names() {
    let mut w = master("");
    assert!(w.node.resign(Some("VI_9"), MINUTE, false, w.now).is_none());
    assert_eq!(w.node.resign(Some("VI_1"), MINUTE, false, w.now), Some(vec![0]));
}

#[test]
fn a_group_resigns_as_a_whole() {
    let cfg = config(
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230\n\
         [vrrp VI_2]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 2\n\
         virtual_ipaddress = 192.168.30.231\n[group G]\nmembers = VI_1, VI_2\n",
    );
    for by in ["G", "VI_1", "VI_2"] {
        let mut w = World::new(&cfg);
        w.begin(false);
        w.run(ms(10_000));
        assert!(w.node.routers.iter().all(|i| i.is_master()));
        assert_eq!(w.node.resign(Some(by), MINUTE, false, w.now), Some(vec![0, 1]));
        w.effects();
        w.settle();
        w.run(ms(2000));
        assert!(w.node.routers.iter().all(|i| i.is_master()), "all wait as long as the slowest");
        let one = packet(&w.node.routers[0].cfg, PEER, 90);
        w.node.packet(w.now, 0, &one);
        w.effects();
        w.settle();
        assert!(w.node.routers.iter().all(|i| !i.is_master()), "{by}");
        assert!(w.node.routers.iter().all(|i| i.machine.no_preempt_for(w.now).is_some()), "{by}");
    }
}

#[test]
fn a_group_is_forced_as_a_whole() {
    let cfg = config(
        "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230\n\
         [vrrp VI_2]\ninterface = eth0\nvirtual_router_id = 52\nvirtual_ipaddress = 192.168.30.231\n\
         [group G]\nmembers = VI_1, VI_2\n",
    );
    let mut w = World::new(&cfg);
    w.begin(false);
    w.run(ms(10_000));
    w.take();
    w.node.resign(Some("G"), MINUTE, true, w.now);
    w.effects();
    w.settle();
    w.run(ms(1300));
    assert!(w.present.is_empty(), "nobody is waited for any more");
    let forced = |e: &&Event| matches!(e, Event::Resigned { how: Resigned::Forced(_), .. });
    assert_eq!(w.events.iter().filter(forced).count(), 2);
    assert!(w.did.iter().filter(|(_, d)| matches!(d, Did::Advert(_, 0))).count() == 2, "once each");
    w.run(ms(58_000));
    assert!(w.node.routers.iter().all(|i| !i.is_master()));
}

/// The successor's adverts wait in the socket while this process stands still.
#[test]
fn after_a_stall_it_looks_for_the_successor_before_it_goes_on() {
    let mut w = master("");
    resign(&mut w, false);
    w.take();
    w.now += ms(7000);
    assert!(w.node.is_takeover_due(w.now), "what has come is read first");
    let bytes = packet(&w.node.routers[0].cfg, PEER, 90);
    let turn = w.now;
    for step in TURN {
        if step == Step::Read {
            w.node.packet(turn, 0, &bytes);
        }
        w.play(&[step]);
    }
    assert_eq!(w.kind(), Kind::Backup);
    assert!(!w.did.iter().any(|(_, d)| matches!(d, Did::Advert(..))));
}

/// A process that is killed behind priority 0 leaves no lease that outlives what the others wait.
#[test]
fn the_leases_are_short_before_priority_zero_is_sent() {
    let first = |w: &World| {
        let (_, lease) = w.kernel.iter().map(|(_, at, lease)| (*at, *lease)).max().unwrap();
        let zero = w.did.iter().position(|(_, d)| *d == Did::Advert(0, 0)).unwrap();
        let renewed = w.did.iter().position(|(_, d)| *d == Did::Renew(0)).unwrap();
        assert!(renewed < zero, "{:?}", w.did);
        assert_eq!(lease, Some(1));
    };
    let slow = || {
        let mut w = World::new(&one("advert_int = 10"));
        w.begin(false);
        w.run(ms(60_000));
        assert_eq!(w.kind(), Kind::Master);
        w.take();
        w
    };
    let mut w = slow();
    assert!(w.kernel.iter().all(|(_, _, lease)| *lease > Some(10)));
    resign(&mut w, false);
    first(&w);
    let mut w = slow();
    w.node.stop(w.now);
    w.effects();
    first(&w);
}
