//! Every event has one subject, in `--watch` as in the limits of the log, and words of its own.

use super::{repeat::Repeats, watch, words};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::check::{Failure, Transition};
use crate::config::schema;
use crate::event::Event;
use crate::haproxy::supervisor;
use crate::node::Node;
use crate::notify::notice::{self, Notice, Reason};
use crate::notify::outbox::Delivery;
use crate::vrrp::faults::Faults;
use crate::vrrp::foreign::Other;
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Master, Note, Resigned, Why};
use crate::vrrp::packet::{Discard, Notes};
use std::collections::HashSet;
use std::mem::discriminant;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn node() -> Node {
    let text = "[haproxy]\nconfig = /nonexistent\n[check gw]\ntype = ping\ntarget = 192.168.30.1\n\
        [vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\ntrack = gw\nvirtual_ipaddress = 192.168.30.230/24\n\
        [vrrp VI_2]\ninterface = eth0\nvirtual_router_id = 52\nvirtual_ipaddress = 192.168.30.231/24\n\
        [group VG_1]\nmembers = VI_1, VI_2\n";
    Node::new(&schema::parse(text).expect("valid").0, Time::ZERO)
}

fn notice(subject: notice::Subject) -> Notice {
    Notice { subject, state: notice::State::Master, reason: Reason::None, priority: 100 }
}

/// One of each kind, by its subject.
fn every_event() -> Vec<(&'static str, Vec<Event>)> {
    let src = [192, 168, 30, 117].into();
    let (router, entry, link, check, errno) = (1, 1, 0, 0, 1);
    let (note, mac) = (Note::SecondOwner(Master { src, priority: 255 }), [2, 0, 0, 0, 0, 1]);
    let of_routers = vec![
        Event::Entered { router, kind: Kind::Master, why: Why::MasterDown },
        Event::Fault { router, faults: Faults::LINK_DOWN },
        Event::Noted { router, note },
        Event::Discarded { router, src, why: Discard::Interval, detail: 1 },
        Event::Odd { router, src, notes: Notes { address_count_differs: true, ..Notes::default() } },
        Event::SecondMaster { router, other: Other { src, priority: 90, refused: None } },
        Event::SecondMasterGone { router, src, lasted: SECOND, over: true },
        Event::SettingVips { router },
        Event::RemovingVips { router },
        Event::PriorityZero { router },
        Event::HandOverStarts { router, timeout: SECOND },
        Event::HandOverDone { router, announced: true },
        Event::HandOverTimedOut { router },
        Event::SendFailed { router, to: src, errno },
        Event::Stalled { router, silence: SECOND },
        Event::LateRenewal { router },
        Event::Resigned { router, how: Resigned::NotMaster },
        Event::Priority { router, from: 100, to: 90 },
        // Addresses are their router's.
        Event::VipAdded { entry },
        Event::VipRemoved { entry },
        Event::VipAddFailed { entry, errno },
        Event::VipRemoveFailed { entry, errno },
        Event::VipForeign { entry },
        Event::VipTakenOver { entry },
        Event::VipDeleted { entry, times: 1 },
        Event::VipExpired { entry },
        Event::VipContested { entry, mac },
        Event::Announcing { entry },
        Event::AnnounceFailed { entry, errno },
        Event::HookFailed {
            notice: notice(notice::Subject::Router("VI_2".into())),
            failure: Failure::TimedOut,
        },
    ];
    let group = notice(notice::Subject::Group("VG_1".into()));
    let of_groups = vec![
        Event::Group { group: 0, state: group::State::Master },
        Event::HookFailed { notice: group.clone(), failure: Failure::TimedOut },
        Event::Mail { notice: group, said: Delivery::Lost, text: "no".into() },
    ];
    let of_checks = vec![
        Event::Check { check, said: Transition::Up, output: String::new() },
        Event::Check { check, said: Transition::Failing(Failure::TimedOut, 2), output: String::new() },
    ];
    let of_links = vec![
        Event::Link { link, present: true, running: true },
        Event::VmacMade { link },
        Event::VmacFailed { link, errno },
        Event::VmacForeign { link },
        Event::OpenFailed { link, errno },
        Event::Bogus { link, src: Some(src), why: Discard::Ttl },
        Event::UnknownVrid { link, vrid: 7, src, vip: None },
    ];
    let of_haproxy = vec![
        Event::Haproxy(supervisor::Event::Died { exit: Exit::Code(1) }),
        Event::Haproxy(supervisor::Event::Started { pid: 1 }),
        Event::Mail { notice: notice(notice::Subject::Haproxy), said: Delivery::Lost, text: "no".into() },
    ];
    let of_vipd = vec![
        Event::HookFailed {
            notice: notice(notice::Subject::Router("gone".into())),
            failure: Failure::TimedOut,
        },
        Event::Forgotten { name: "gone".into() },
        Event::StartupDelay(SECOND),
        Event::Stopping { again: false },
        Event::ClockStepped { by: SECOND, forwards: true },
        Event::ClockUnset,
        Event::Overrun,
    ];
    vec![
        ("vrrp/VI_2", of_routers),
        ("group/VG_1", of_groups),
        ("check/gw", of_checks),
        ("interface/eth0", of_links),
        ("haproxy", of_haproxy),
        ("vipd", of_vipd),
    ]
}

/// Those that are limited where they arise, or not at all.
fn has_no_limit_here(e: &Event) -> bool {
    matches!(
        e,
        Event::Discarded { .. }
            | Event::Bogus { .. }
            | Event::Odd { .. }
            | Event::UnknownVrid { .. }
            | Event::Check { said: Transition::Failing(..), .. }
    )
}

#[test]
fn watch_and_the_limits_of_the_log_agree_on_every_subject() {
    let (node, mut repeats) = (node(), Repeats::default());
    let mut kinds = HashSet::new();
    for (subject, events) in every_event() {
        for e in events {
            kinds.insert(discriminant(&e));
            let (level, text) = words::render(&node, &e);
            assert!(text.len() > 5, "{e:?}: {text}");
            let line = watch::line(&node, &e, &text, "STAMP");
            let columns: Vec<&str> = line.splitn(5, ' ').collect();
            assert_eq!((columns[1], columns.len()), (subject, 5), "{e:?}: {line}");
            // Each passes as often as the first one did, so no two share a limit.
            let passed = (0..100).filter(|_| repeats.pass(Time::ZERO, &e).is_some()).count();
            assert_eq!(passed, if has_no_limit_here(&e) { 100 } else { 50 }, "{e:?}");
            repeats.hold(&e, level, text);
        }
    }
    assert_eq!(kinds.len(), 47, "one of each kind of event");
    // A notice of another router has a limit of its own.
    let other = notice(notice::Subject::Router("VI_1".into()));
    let e = Event::HookFailed { notice: other, failure: Failure::TimedOut };
    assert_eq!(repeats.pass(Time::ZERO, &e), Some(0));
}
