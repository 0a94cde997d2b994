//! A group's stop, restart, stall and service.

use super::*;
use std::rc::Rc;

#[test]
fn a_stop_hands_over_all_at_once_and_waits_for_every_successor() {
    let mut net = Net::new(&[pair([150, 150], ""), pair([100, 40], "")]);
    net.run(ms(6000));
    net.mark();
    let now = net.now;
    net.hosts[0].node.stop(now);
    net.effects(0);
    net.settle(0);
    let zeros = |net: &Net| {
        net.hosts[0].did.iter().filter(|(t, d)| *t == now && matches!(d, Did::Advert(_, 0))).count()
    };
    assert_eq!(zeros(&net), 2);
    // The slower skew is that of 40: 844 ms.
    net.run(ms(840));
    net.all_on(0);
    net.run(ms(20));
    net.all_on(1);
    assert_eq!(net.hosts[0].did.last().map(|(_, d)| d.clone()), Some(Did::Exit(0)));
    // The successor is not heard on LAN 2: LAN 1 does not wait for ever, and both go together.
    let mut net = Net::new(&[pair([150, 150], ""), pair([100, 100], "")]);
    net.run(ms(6000));
    let now = net.now;
    net.hosts[0].node.stop(now);
    net.effects(0);
    net.settle(0);
    net.passes = Box::new(|from, _, link| link == 0 || from == 0);
    net.run(ms(700));
    assert_eq!((net.holders(0).len(), net.holders(1).len()), (2, 2));
    net.run(ms(200));
    net.all_on(1);
}

#[test]
fn no_preemption_and_its_delay_hold_for_all() {
    // One member that must not preempt keeps the other from it.
    let mut high = pair([150, 150], "");
    Rc::make_mut(&mut high.vrrp[1]).preempt = false;
    let mut net = Net::new(&[pair([100, 100], "")]);
    net.run(ms(5000));
    net.start(&high);
    net.run(ms(30_000));
    net.all_on(0);

    let mut slow = pair([150, 150], "");
    Rc::make_mut(&mut slow.vrrp[1]).preempt_delay = Duration::from_secs(20);
    let mut net = Net::new(&[pair([100, 100], "")]);
    net.run(ms(5000));
    net.start(&slow);
    net.run(ms(19_500));
    net.all_on(0);
    net.run(ms(6000));
    net.all_on(1);

    let mut late = pair([150, 150], "");
    late.global.startup_delay = Duration::from_secs(5);
    let mut net = Net::new(&[late]);
    net.run(ms(8000));
    assert_eq!(net.holders(0), []);
    net.run(ms(1000));
    net.all_on(0);
}

#[test]
fn a_restart_resumes_all_or_none() {
    for (leased, remembered, resumes) in
        [(vec![0, 1], [true, true], true), (vec![0], [true, true], false), (vec![0, 1], [true, false], false)]
    {
        let mut net = Net::new(&[]);
        let host = net.host(&pair([150, 150], ""), 1);
        net.hosts.push(host);
        for l in &leased {
            net.hosts[0].holds[*l] = true;
        }
        net.boot(0, &leased, &remembered);
        net.run(ms(10));
        let whys: Vec<Why> = net.hosts[0].node.routers.iter().map(|i| i.why).collect();
        if resumes {
            assert_eq!(whys, [Why::Resumed; 2]);
            net.all_on(0);
        } else {
            assert_eq!(whys, [Why::Started; 2]);
            assert_eq!((net.holders(0), net.holders(1)), (vec![], vec![]));
        }
    }
    // Another master on one LAN
    let mut net = Net::new(&[pair([100, 100], "")]);
    net.run(ms(5000));
    let host = net.host(&pair([150, 150], ""), 2);
    net.hosts.push(host);
    let now = net.now;
    let advert = {
        let mut bytes = Vec::new();
        net.hosts[0].node.encode_advert(1, 100, 0, now, &mut bytes).unwrap();
        bytes
    };
    let now = net.now;
    net.hosts[1].node.packet(now, 1, &advert);
    net.boot(1, &[0, 1], &[true, true]);
    assert!(net.hosts[1].node.routers.iter().all(|i| i.why == Why::Started));
}

#[test]
fn a_stall_on_one_lan_gives_up_both() {
    let mut net = Net::new(&[pair([150, 150], "")]);
    net.run(ms(6000));
    net.all_on(0);
    net.hosts[0].node.check_stall(net.now + ms(3500));
    net.effects(0);
    assert_eq!((net.holders(0), net.holders(1)), (vec![], vec![]));
    assert!(net.hosts[0].node.routers.iter().all(|i| i.why == Why::Stalled));
}

#[test]
fn haproxy_of_one_member_is_everybodys() {
    let mut cfg = pair([150, 150], "");
    cfg.haproxy = with_haproxy("").haproxy;
    Rc::make_mut(&mut cfg.vrrp[0]).track_haproxy = config::Track::Fault;
    Rc::make_mut(&mut cfg.vrrp[1]).track_haproxy = config::Track::No;
    let mut net = Net::new(&[cfg]);
    let routers = &net.hosts[0].node.routers;
    assert!(routers.iter().all(|i| i.faults.only(Faults::STARTING)), "no FAULT while it starts");
    net.run(ms(6000));
    net.all_on(0);
    // It dies and cannot be started again.
    net.hosts[0].serves = false;
    let now = net.now;
    net.hosts[0].node.supervise(now, supervisor::Input::Exited { pid: 77, exit: Exit::Code(1) });
    net.settle(0);
    net.run(ms(1000));
    assert_eq!((net.holders(0), net.holders(1)), (vec![], vec![]));
    assert!(net.hosts[0].node.routers[1].faults.only(Faults::GROUP));
    assert!(net.hosts[0].did.iter().any(|(_, d)| *d == Did::Advert(1, 0)));
}

#[test]
fn haproxy_that_dies_during_the_hand_over_ends_it_for_all() {
    let mut cfg = pair([150, 150], "");
    cfg.haproxy = with_haproxy("").haproxy;
    Rc::make_mut(&mut cfg.vrrp[1]).track_haproxy = config::Track::No;
    Rc::make_mut(&mut cfg.vrrp[0]).track_haproxy = config::Track::Fault;
    let mut net = Net::new(&[cfg]);
    net.run(ms(6000));
    let now = net.now;
    net.hosts[0].node.stop(now);
    net.effects(0);
    net.settle(0);
    net.all_on(0);
    net.hosts[0].node.supervise(now, supervisor::Input::Exited { pid: 77, exit: Exit::Code(1) });
    net.settle(0);
    assert_eq!((net.holders(0), net.holders(1)), (vec![], vec![]));
}

#[test]
fn nobody_starts_before_all_sockets_are_open() {
    let mut node = Node::new(&pair([150, 150], ""), Time::from_nanos(50_000_000_000));
    let now = Time::from_nanos(50_000_000_000);
    node.dump_starts();
    for link in 0..2 {
        node.link(now, &nic(link, 1, true));
        node.addr(now, &address(link, 1, None));
    }
    node.dump_ends(now, &[ETH0, ETH0 + 1]);
    node.begin(now, &[false; 2]);
    let kinds = |node: &Node| node.routers.iter().map(|i| i.machine.kind()).collect::<Vec<_>>();
    node.opened(now, 0);
    assert_eq!(kinds(&node), [Kind::Init; 2]);
    node.opened(now, 1);
    assert_eq!(kinds(&node), [Kind::Backup; 2]);
}

#[test]
fn owners_and_a_mixed_group_that_no_configuration_allows() {
    for priorities in [[255, 255], [255, 100]] {
        let mut net = Net::new(&[pair(priorities, ""), pair([100, 100], "")]);
        net.run(ms(6000));
        net.all_on(1);
        let now = net.now;
        for link in 0..2 {
            net.hosts[0].node.addr(now, &address(link, 230, None));
        }
        net.settle(0);
        net.run(ms(30_000));
        let kinds: Vec<Kind> = net.hosts[0].node.routers.iter().map(|i| i.machine.kind()).collect();
        assert_eq!(kinds, [Kind::Master; 2], "{priorities:?}");
    }
}
