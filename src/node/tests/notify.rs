//! Who is told of what, and when.

use super::*;
use crate::check::Failure;
use crate::notify::hook::{Action, Whose};
use crate::notify::notice::Notice;
use crate::notify::notice::Reason;
use crate::notify::notice::State;
use crate::notify::notice::Subject;
use crate::notify::outbox::{self, Delivery, Outcome};
use std::rc::Rc;

const MAIL: &str = "[global]\nnotification_email = a@b\nsmtp_server = 192.0.2.1\n";

fn hooked() -> Config {
    let mut cfg = one("notify = /bin/own");
    cfg.global.notify = vec!["/bin/all".into()];
    cfg
}

/// The hooks that were started, in order: state, priority, whose.
fn started(w: &mut World) -> Vec<(u64, &'static str, u8, Whose)> {
    let told = |d| match d {
        Did::Hook(Action::Start { job, notice, whose }) => {
            Some((job, notice.state.name(), notice.priority, whose))
        }
        _ => None,
    };
    w.take().into_iter().filter_map(told).collect()
}

fn done(w: &mut World, job: u64) {
    w.node.hook_done(w.now, job, Ok(()));
    w.effects();
    w.settle();
}

#[test]
fn hooks_follow_the_states() {
    let mut w = World::new(&hooked());
    w.begin(false);
    assert_eq!(started(&mut w), [(1, "BACKUP", 100, Whose::Own)]);
    done(&mut w, 1);
    assert_eq!(started(&mut w), [(2, "BACKUP", 100, Whose::Global)]);
    done(&mut w, 2);
    w.run(ms(4000));
    assert_eq!(started(&mut w), [(3, "MASTER", 100, Whose::Own)]);
    // While that runs: fault, twice told, and well again.
    w.link(false);
    w.settle();
    w.node.link_gone(w.now, ETH0);
    w.settle();
    assert_eq!(started(&mut w), []);
    done(&mut w, 3);
    assert_eq!(started(&mut w), [(4, "FAULT", 100, Whose::Own)]);
    done(&mut w, 4);
    done(&mut w, 5);
    assert_eq!(started(&mut w), [(5, "FAULT", 100, Whose::Global)]);
    assert!(w.node.notify.is_idle());
}

#[test]
fn a_hook_for_one_state_hears_of_that_one() {
    let mut cfg = one("notify_master = /bin/up\nnotify_stop = /bin/gone");
    Rc::make_mut(&mut cfg.vrrp[0]).notify = Vec::new();
    let mut w = World::new(&cfg);
    w.begin(false);
    assert_eq!(started(&mut w), []);
    w.run(ms(4000));
    assert_eq!(started(&mut w), [(1, "MASTER", 100, Whose::State)]);
    done(&mut w, 1);
    w.link(false);
    w.settle();
    assert_eq!(started(&mut w), []);
    assert!(w.node.notify.is_idle());
}

#[test]
fn a_stop_waits_for_its_hooks() {
    let mut w = World::new(&hooked());
    w.begin(false);
    w.run(ms(4000));
    done(&mut w, 1);
    done(&mut w, 2);
    done(&mut w, 3);
    w.take();
    w.node.stop(w.now);
    w.settle();
    w.run(ms(100));
    assert_eq!(started(&mut w), [], "its addresses are still there");
    w.hear(PEER, 50);
    w.garp([2, 0, 0, 0, 0, 9]);
    w.run(ms(100));
    let did = w.take();
    assert!(did.contains(&Did::Remove(0)) && !did.contains(&Did::Exit(0)), "{did:?}");
    let stop = |d: &&Did| matches!(d, Did::Hook(Action::Start { notice, .. }) if notice.state == State::Stop);
    assert_eq!(did.iter().filter(stop).count(), 1);
    done(&mut w, 4);
    assert!(!w.take().contains(&Did::Exit(0)));
    done(&mut w, 5);
    assert!(w.take().contains(&Did::Exit(0)));
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    for again in [false, true] {
        let mut w = World::new(&hooked());
        w.begin(false);
        w.take();
        let start = w.now;
        w.node.stop(w.now);
        w.settle();
        if again {
            w.node.stop(w.now);
            w.settle();
            w.node.hook_done(w.now, 1, Err(Failure::Errno(libc::ENOENT)));
            w.effects();
        }
        w.run(ms(9000));
        let did = std::mem::take(&mut w.did);
        let at = |what: &Did| did.iter().find(|(_, d)| d == what).map(|(t, _)| t.since(start));
        let after = if again { ms(0) } else { ms(8000) };
        assert_eq!(at(&Did::Hook(Action::Kill { job: 1 })), Some(after));
        assert_eq!(at(&Did::Exit(0)), Some(after));
    }
}

#[test]
fn a_failed_hook_is_told() {
    let mut w = World::new(&hooked());
    w.begin(false);
    w.events.clear();
    let failure = Failure::Errno(libc::ENOENT);
    w.node.hook_done(w.now, 1, Err(failure));
    w.effects();
    let notice = Notice {
        subject: Subject::Router("VI_1".into()),
        state: State::Backup,
        priority: 100,
        reason: Reason::Why(Why::Started),
    };
    assert_eq!(w.events, [Event::HookFailed { notice, failure }]);
}

#[test]
fn mails_follow_the_states_too() {
    let text = format!(
        "{MAIL}[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n"
    );
    let mut w = World::new(&config(&text));
    w.begin(false);
    w.run(ms(4000));
    w.link(false);
    w.settle();
    let mails: Vec<(u64, State)> = (std::mem::take(&mut w.did).into_iter())
        .filter_map(|(_, d)| match d {
            Did::Mail(outbox::Action::Send { job, notice, .. }) => Some((job, notice.state)),
            _ => None,
        })
        .collect();
    assert_eq!(mails, [(1, State::Backup), (2, State::Master), (3, State::Fault)]);
    w.events.clear();
    w.node.mail_done(w.now, 1, Outcome::Later, "no route".into());
    w.effects();
    let [Event::Mail { said: Delivery::Delayed(_), text, .. }] = &w.events[..] else {
        panic!("{:?}", w.events)
    };
    assert_eq!(text, "no route");
    w.run(ms(15_000));
    assert!(w.take().iter().any(|d| matches!(d, Did::Mail(outbox::Action::Send { job: 4, .. }))));
    // A stop waits for no mail, and is none.
    w.node.stop(w.now);
    w.settle();
    let did = w.take();
    assert!(did.contains(&Did::Exit(0)) && !did.iter().any(|d| matches!(d, Did::Mail(_))), "{did:?}");
}

#[test]
fn groups_and_crash_loops() {
    let text = format!(
        "{MAIL}notify = /bin/all\n[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230\n\
         [vrrp B]\ninterface = eth0\nvirtual_router_id = 52\nvirtual_ipaddress = 192.168.30.231\n[group G]\nmembers = A, B\n"
    );
    let mut w = World::new(&config(&text));
    w.begin(false);
    let told = |w: &mut World| -> Vec<(Subject, State, u8)> {
        let one = |d| match d {
            Did::Hook(Action::Start { notice, .. }) => Some((notice.subject, notice.state, notice.priority)),
            _ => None,
        };
        w.take().into_iter().filter_map(one).collect()
    };
    let name = |n: &str| Subject::Router(n.into());
    let group = || Subject::Group("G".into());
    let expected =
        [(name("A"), State::Backup, 100), (name("B"), State::Backup, 100), (group(), State::Backup, 0)];
    assert_eq!(told(&mut w), expected);
    w.node.emit(Event::Haproxy(supervisor::Event::CrashLoop { deaths: 4, window: ms(30_000) }));
    (1..4).for_each(|job| done(&mut w, job));
    let mails = |d: &Did| matches!(d, Did::Mail(outbox::Action::Send { notice, .. }) if notice.subject == Subject::Haproxy);
    (1..4).for_each(|job| w.node.mail_done(w.now, job, Outcome::Sent, String::new()));
    w.settle();
    let did = w.take();
    assert!(did.iter().any(mails) && !did.iter().any(|d| matches!(d, Did::Hook(_))), "{did:?}");
}
