//! What is tracked, and the priority that follows from it.

use super::*;
use crate::check::{Action, Failure};
use std::rc::Rc;

const ETH1: u32 = 3;
const DOWN: Result<(), Failure> = Err(Failure::TimedOut);

/// A check that is down by one failure and up by one success.
fn checked(track: &str) -> Config {
    config(&format!(
        "[check gw]\ntype = ping\ntarget = 192.168.30.1\nfall = 1\n[vrrp VI_1]\ninterface = eth0\n\
         virtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\ntrack = gw {track}\n"
    ))
}

impl World {
    /// eth1, which is only tracked.
    fn eth1(&mut self, running: bool) {
        let link = RtnlLink {
            seq: 0,
            ifindex: ETH1,
            name: IfName::from_bytes(b"eth1"),
            up: true,
            running,
            mac: Some(MAC),
            moved: false,
            macvlan_of: None,
            is_port: false,
            group: 0,
            mtu: 1500,
        };
        self.node.link(self.now, &link);
        self.effects();
        self.settle();
    }

    /// The attempt that is under way, or the next one, ends.
    fn check(&mut self, result: Result<(), Failure>) {
        let began = self.did.iter().any(|(_, d)| *d == Did::Check(0, Action::Start));
        if !began {
            self.run_to(self.node.checks[0].deadline().unwrap());
        }
        self.take();
        self.node.check_done(self.now, 0, result, String::new());
        self.effects();
        self.settle();
    }

    pub(super) fn priority(&self) -> u8 {
        self.node.routers[0].machine.params.priority
    }

    fn faults(&self) -> Faults {
        self.node.routers[0].faults
    }
}

#[test]
fn without_weight_it_waits_for_the_first_result() {
    let mut w = World::new(&checked(""));
    w.begin(false);
    assert_eq!(w.kind(), Kind::Init);
    assert!(w.faults().is_pending() && w.faults().has(Faults::CHECKING));
    w.check(Ok(()));
    assert_eq!(w.kind(), Kind::Backup);

    let mut w = World::new(&checked(""));
    w.begin(false);
    w.run(ms(1001));
    assert_eq!(w.kind(), Kind::Init, "timed out");
    assert!(w.faults().only(Faults::CHECK) && !w.faults().none());
}

#[test]
fn without_weight_down_is_a_fault_and_up_again_is_a_start() {
    let mut w = World::new(&checked(""));
    w.begin(false);
    w.check(Ok(()));
    while w.kind() != Kind::Master {
        w.check(Ok(()));
    }
    w.check(DOWN);
    let did: Vec<Did> = w.take();
    assert_eq!(did[..3], [Did::Remove(0), Did::Remember(Memory::Leaving), Did::Advert(0, 0)]);
    assert_eq!(w.kind(), Kind::Init);
    w.check(DOWN);
    w.check(Ok(()));
    assert_eq!(w.kind(), Kind::Backup);
    assert_eq!(w.priority(), 100);
}

#[test]
fn a_restarted_master_resumes_when_the_check_has_answered() {
    let restarted = || {
        let mut w = World::new(&checked(""));
        let mut a = addr(VIP, 32, Some(TAG), 2);
        a.tstamp = (w.now.as_nanos() / 10_000_000) as u32;
        w.node.addr(w.now, &a);
        w.begin(true);
        assert_eq!(w.kind(), Kind::Init);
        assert!(!w.did.iter().any(|(_, d)| matches!(d, Did::Remove(_))), "kept until it is known");
        w
    };
    let mut w = restarted();
    w.run(ms(100));
    w.check(Ok(()));
    assert_eq!((w.kind(), w.node.routers[0].why), (Kind::Master, Why::Resumed));

    let mut w = restarted();
    w.node.check_done(w.now, 0, DOWN, String::new());
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Remove(0)), "it cannot resume");
    w.check(Ok(()));
    assert_eq!(w.kind(), Kind::Backup);

    let mut w = restarted();
    w.hear(PEER, 50);
    w.check(Ok(()));
    assert_eq!(w.kind(), Kind::Backup, "somebody else is master");
}

#[test]
fn weights_follow_keepalived() {
    // while it is up, while it is down, while nothing is known
    for (track, up, down) in
        [("weight -20", 100, 80), ("weight 20", 120, 100), ("weight -253", 100, 1), ("weight 253", 254, 100)]
    {
        let mut w = World::new(&checked(track));
        w.begin(false);
        assert_eq!((w.kind(), w.priority()), (Kind::Backup, down), "{track}: not known to be up");
        for _ in 0..2 {
            w.check(Ok(()));
            assert_eq!(w.priority(), up, "{track}");
            w.check(DOWN);
            assert_eq!(w.priority(), down, "{track}");
        }
        assert!(w.events.contains(&Event::Priority { router: 0, from: up, to: down }));
        assert!(w.faults().none());
    }
}

#[test]
fn a_master_with_less_weight_stays_unless_it_is_outranked() {
    let mut w = World::new(&checked("weight -20"));
    w.begin(false);
    w.check(Ok(()));
    while w.kind() != Kind::Master {
        w.check(Ok(()));
    }
    w.check(DOWN);
    assert_eq!(w.kind(), Kind::Master);
    w.run(ms(1000));
    assert!(w.take().contains(&Did::Advert(0, 80)));
    w.hear(PEER, 90);
    assert_eq!(w.kind(), Kind::Backup);
    assert!(w.node.routers[0].hold.is_some(), "its service is well: make before break");
    for _ in 0..3 {
        w.hear(PEER, 90);
        w.check(Ok(()));
    }
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 100), "and back");
}

#[test]
fn an_interface_that_is_only_tracked() {
    for (track, fault) in [("eth1", true), ("eth1 weight -30", false)] {
        let mut w = World::new(&one(&format!("track_interface = {track}")));
        w.begin(false);
        // it does not exist
        let expect = |w: &World, up: bool| {
            let here = format!("{track}, up: {up}");
            assert_eq!(w.kind() == Kind::Init, fault && !up, "{here}");
            assert_eq!(w.faults().has(Faults::TRACKED_INTERFACE), fault && !up, "{here}");
            assert_eq!(w.priority(), if fault || up { 100 } else { 70 }, "{here}");
        };
        expect(&w, false);
        w.eth1(true);
        expect(&w, true);
        w.eth1(false);
        expect(&w, false);
        w.eth1(true);
        w.node.link_gone(w.now, ETH1);
        w.effects();
        expect(&w, false);
        let eth1 = w.node.links.iter().find(|l| l.name == "eth1").unwrap();
        assert_eq!(eth1.sockets, Sockets::Closed, "never opened");
    }
}

#[test]
fn an_owner_tracks_nothing() {
    let mut cfg = checked("");
    Rc::make_mut(&mut cfg.vrrp[0]).priority = 255;
    let mut w = World::new(&cfg);
    w.node.addr(w.now, &addr(VIP, 24, None, u32::MAX));
    w.begin(false);
    w.run(ms(1500));
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 255));
}

#[test]
fn a_weighted_haproxy() {
    let mut cfg = with_haproxy("track_haproxy = weight -50");
    cfg.haproxy.as_mut().unwrap().check_interval = Duration::from_secs(3600);
    let mut w = World::new(&cfg);
    w.begin(false);
    w.run(ms(50));
    assert_eq!((w.kind(), w.priority()), (Kind::Backup, 50), "takes part without it");
    w.ready();
    assert_eq!(w.priority(), 100);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();

    // within its grace a restart changes nothing
    let exit = |w: &mut World, exit| {
        let now = w.now;
        w.node.supervise(now, supervisor::Input::Exited { pid: 77, exit });
        w.effects();
        w.settle();
    };
    exit(&mut w, Exit::Signal(9));
    w.run(ms(499));
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 100));
    w.run(ms(2));
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 50), "nobody outranks it: it keeps the address");
    assert!(!w.take().contains(&Did::Remove(0)));

    // outranked, it has nothing to hand over: the address goes at once
    w.hear(PEER, 60);
    assert_eq!(w.kind(), Kind::Backup);
    assert!(w.node.routers[0].hold.is_none());
    assert!(w.take().contains(&Did::Remove(0)));
    // and without a better one it takes over, HAProxy or not
    w.run(ms(4000));
    assert_eq!((w.kind(), w.priority()), (Kind::Master, 50));
    w.ready();
    assert_eq!(w.priority(), 100);
}

#[test]
fn a_stop_ends_the_attempts() {
    let mut w = World::new(&checked("weight 1"));
    w.begin(false);
    assert!(w.take().contains(&Did::Check(0, Action::Start)));
    let now = w.now;
    w.node.stop(now);
    w.effects();
    w.settle();
    assert!(w.take().contains(&Did::Check(0, Action::Abandon)));
    w.node.check_done(w.now, 0, Ok(()), String::new());
    w.run(ms(10_000));
    assert!(!w.take().iter().any(|d| matches!(d, Did::Check(..))));
}
