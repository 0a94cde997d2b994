//! What other parts have to carry over: macvlans, hooks and mail, contests.

use super::*;
use crate::notify::hook::{self};
use crate::notify::notice::State;
use crate::notify::outbox;

const VMAC: &str = "use_vmac = yes\nhandover_timeout = 2";

fn macvlan_of(w: &World, router: usize) -> Option<(usize, String)> {
    let link = &w.node.links[w.node.routers[router].vmac?];
    Some((link.vmac?.router, link.name.clone()))
}

#[test]
fn a_macvlan_comes_and_goes_with_its_virtual_router() {
    let plain = vi("VI_1", 51, A, "");
    let (mut w, mut cfg) = World::master(&plain);
    w.reload(&mut cfg, &(vi("VI_2", 52, B, VMAC) + &plain));
    assert!(w.take().contains(&Did::Vmac(VmacOp::Make { parent: ETH0 })));
    assert_eq!(macvlan_of(&w, 0), Some((0, "vrrp.52".to_owned())));
    w.pass(ms(4000));
    assert!(w.node.routers.iter().all(|i| i.is_master()), "{:?}", w.events);
    assert!(w.has(A) && w.has(B));
    let made = w.macvlans[0].ifindex;
    assert!(w.macvlans[0].up);
    w.take();
    w.reload(&mut cfg, &plain);
    assert_eq!(macvlan_of(&w, 1), Some((1, "vrrp.52".to_owned())));
    assert!(w.has(B), "until the successor is heard");
    w.pass(ms(3000));
    assert!(w.has(A) && !w.has(B));
    assert!(w.take().contains(&Did::Unmake(made)));
    assert!(w.node.links.iter().all(|l| l.vmac.is_none()));
    assert!(w.node.routers.len() == 1 && w.node.routers[0].is_master());
    // The place is free again.
    let n = w.node.links.len();
    w.reload(&mut cfg, &(vi("VI_2", 52, B, VMAC) + &plain));
    w.pass(ms(4000));
    assert_eq!((w.node.links.len(), w.has(B), w.macvlans.len()), (n, true, 1));
}

#[test]
fn another_order_does_nothing_to_macvlans() {
    let (one, two) = (vi("VI_1", 51, A, VMAC), vi("VI_2", 52, B, VMAC));
    let (mut w, mut cfg) = World::master(&format!("{one}{two}"));
    assert_eq!(w.reload(&mut cfg, &format!("{two}{one}")), []);
    assert_eq!(macvlan_of(&w, 0), Some((0, "vrrp.52".to_owned())));
    assert_eq!(macvlan_of(&w, 1), Some((1, "vrrp.51".to_owned())));
    w.pass(ms(5000));
    let quiet = |d: &Did| matches!(d, Did::Advert(..) | Did::Renew(_));
    assert_eq!(w.take().iter().find(|d| !quiet(d)), None);
    assert!(w.macvlans.iter().all(|l| l.up));
}

#[test]
fn a_virtual_router_takes_up_the_virtual_mac_and_puts_it_off() {
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, "handover_timeout = 2"));
    for more in [VMAC, "handover_timeout = 2"] {
        w.reload(&mut cfg, &vi("VI_1", 51, A, more));
        w.pass(ms(8000));
        assert_eq!(w.node.routers.len(), 1, "{more}");
        assert!(w.node.routers[0].is_master() && w.has(A), "{more}: {:?}", w.events);
        assert_eq!(w.macvlans.len(), usize::from(more == VMAC));
        assert_eq!(w.node.routers[0].faults, Faults::default());
    }
}

#[test]
fn hooks_and_mail_are_those_of_the_new_file() {
    let vrrp = |more: &str| vi("VI_1", 51, A, more);
    let (mut w, mut cfg) = World::master(&vrrp(""));
    let mail = "[global]\nnotify = /bin/all\nnotification_email = a@b\nsmtp_server = 192.0.2.1\n";
    w.reload(&mut cfg, &(mail.to_owned() + &vrrp("notify = /bin/own")));
    assert_eq!(w.take(), [], "no change of state");
    w.link(false);
    w.settle();
    let did = w.take();
    let own = |d: &Did| matches!(d, Did::Hook(hook::Action::Start { notice, whose: hook::Whose::Own, .. }) if notice.state == State::Fault);
    assert!(did.iter().any(own), "{did:?}");
    assert!(did.iter().any(|d| matches!(d, Did::Mail(outbox::Action::Send { .. }))), "{did:?}");
    w.node.hook_done(w.now, 1, Ok(()));
    w.effects();
    w.settle();
    w.take();
    // It goes: that is told, too, but mail is configured no more.
    w.reload(&mut cfg, &("[global]\nnotify = /bin/all\n".to_owned() + &vi("VI_2", 52, B, "")));
    w.node.hook_done(w.now, 2, Ok(()));
    w.effects();
    w.settle();
    let did = w.take();
    let stop =
        |d: &Did| matches!(d, Did::Hook(hook::Action::Start { notice, .. }) if notice.state == State::Stop);
    assert!(did.iter().any(stop), "{did:?}");
    assert!(!did.iter().any(|d| matches!(d, Did::Mail(_))), "{did:?}");
}

/// A hook that stops a service on GROUP BACKUP would do so on the node that holds the addresses.
#[test]
fn a_group_that_is_master_stays_so_while_another_one_joins() {
    let two = vi("VI_1", 51, A, "") + &vi("VI_2", 52, B, "");
    let group = |members: &str| format!("[group G]\nmembers = {members}\n");
    let (mut w, mut cfg) = World::master(&(two.clone() + &group("VI_1, VI_2")));
    let told = |w: &World| {
        let state = |e: &Event| if let Event::Group { state, .. } = e { Some(*state) } else { None };
        w.events.iter().filter_map(state).collect::<Vec<_>>()
    };
    w.reload(&mut cfg, &(two + &vi("VI_3", 53, C, "") + &group("VI_1, VI_2, VI_3")));
    w.pass(ms(1000));
    assert_eq!(w.node.routers[2].machine.kind(), Kind::Backup);
    assert!(w.has(A) && told(&w).is_empty(), "{:?}", told(&w));
    w.pass(ms(4000));
    assert!(w.node.routers[2].is_master() && told(&w).is_empty());
    // From then on it is one of them.
    w.node.stop(w.now);
    w.effects();
    w.settle();
    assert!(!told(&w).contains(&crate::vrrp::group::State::Master));
}
