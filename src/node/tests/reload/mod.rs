//! Another configuration for a node that runs.

mod others;

use super::*;
use crate::node::{Change, What};

impl World {
    fn master(text: &str) -> (World, Config) {
        let cfg = config(text);
        let mut w = World::new(&cfg);
        w.eth(3, b"eth1");
        w.begin(false);
        w.run(ms(100_000));
        assert!(w.node.routers.iter().all(|i| i.is_master()), "{:?}", w.events);
        w.take();
        (w, cfg)
    }

    /// As the daemon does it: between turns.
    fn reload(&mut self, old: &mut Config, text: &str) -> Vec<Change> {
        let new = config(text);
        self.events.extend(std::iter::from_fn(|| self.node.next_event()));
        assert!(self.node.may_reconfigure());
        let changes = self.node.reconfigure(old, &new, self.now);
        self.node.reconfigure_haproxy(new.haproxy.as_ref(), false, self.now);
        self.last_advert.resize(self.node.routers.len().max(8), None);
        self.effects();
        self.settle();
        *old = new;
        changes
    }

    /// With a turn every 5 ms, whatever is due.
    fn pass(&mut self, d: Duration) {
        let end = self.now + d;
        while self.now < end {
            self.run(ms(5).min(end.since(self.now)));
            self.settle();
        }
    }

    fn has(&self, vip: &str) -> bool {
        self.present.contains(&vip.parse().unwrap())
    }

    fn times(&self, f: impl Fn(&Did) -> bool) -> Vec<u64> {
        self.did.iter().filter(|(_, d)| f(d)).map(|(t, _)| t.as_nanos() / 1_000_000).collect()
    }
}

fn vi(name: &str, vrid: u8, vips: &str, more: &str) -> String {
    format!(
        "[vrrp {name}]\ninterface = eth0\nvirtual_router_id = {vrid}\nvirtual_ipaddress = {vips}\n{more}\n"
    )
}

const A: &str = "192.168.30.230";
const B: &str = "192.168.30.231";
const C: &str = "192.168.30.232";

fn removed(d: &Did) -> bool {
    matches!(d, Did::Remove(_))
}

fn changed(name: &str) -> Change {
    Change { name: name.into(), what: What::Changed }
}

#[test]
fn nothing_happens_if_nothing_has_changed() {
    let text = vi("VI_1", 51, A, "") + &vi("VI_2", 52, B, "");
    let (mut w, mut cfg) = World::master(&text);
    let before = w.node.routers[0].machine.state().clone();
    let comment = format!("# lines move\n\n{text}");
    assert_eq!(w.reload(&mut cfg, &comment), []);
    assert_eq!(*w.node.routers[0].machine.state(), before);
    assert_eq!(w.take(), []);
}

#[test]
fn values_change_in_place_and_adverts_stay_on_their_grid() {
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, ""));
    w.pass(ms(3300));
    let changes = w.reload(
        &mut cfg,
        &vi(
            "VI_1",
            51,
            A,
            "priority = 150\npreempt = no\nauth_type = PASS\nauth_pass = 1\nhandover_timeout = 2\ngarp_master_refresh = 0",
        ),
    );
    assert_eq!(changes, [changed("VI_1")]);
    w.pass(ms(3000));
    let adverts = w.times(|d| matches!(d, Did::Advert(0, _)));
    assert!(adverts.windows(2).all(|p| p[1] - p[0] == 1000), "{adverts:?}");
    assert!(w.did.iter().any(|(_, d)| *d == Did::Advert(0, 150)));
    assert_eq!(w.times(removed), [0u64; 0]);
    assert!(w.did.iter().any(|(_, d)| *d == Did::Remember(Memory::Master)), "another password");
    let router = &w.node.routers[0];
    assert!(!router.machine.params.preempt);
    assert_eq!(router.announcer.deadline(), None, "no refresh any more");
}

#[test]
fn vips_come_and_go_singly() {
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, &format!("{A}, {B}"), ""));
    w.pass(ms(500));
    w.take();
    let changes = w.reload(&mut cfg, &vi("VI_1", 51, &format!("{A}, {C}"), ""));
    assert_eq!(changes, [changed("VI_1")]);
    assert!(w.has(A) && w.has(C) && !w.has(B), "at once");
    let did = w.take();
    assert_eq!(did.iter().filter(|d| removed(d)).count(), 1);
    assert!(did.contains(&Did::Advert(0, 100)) && did.contains(&Did::Announce(2)));
    assert!(!did.contains(&Did::Announce(0)), "{A} does not notice");
    w.pass(ms(100));
    assert_eq!(w.node.addrs.entries.len(), 2, "forgotten");
    w.pass(ms(5000));
    assert!(w.has(A) && w.has(C) && !w.has(B));
    assert_eq!(w.take().iter().filter(|d| removed(d)).count(), 0);
}

#[test]
fn a_vip_moves_between_masters_without_leaving_the_kernel() {
    let text = |a: &str, b: &str| vi("VI_1", 51, a, "") + &vi("VI_2", 52, b, "");
    let (mut w, mut cfg) = World::master(&text(&format!("{A}, {C}"), B));
    w.reload(&mut cfg, &text(A, &format!("{B}, {C}")));
    w.pass(ms(3000));
    assert_eq!(w.times(removed), [0u64; 0]);
    assert!(w.has(C));
    assert_eq!(w.node.addrs.of(1).count(), 2);
    assert!(w.node.addrs.of(1).all(|(e, _)| w.node.addrs.is_held(e)));
    // And to one that is not master: then somebody else has it.
    let peer = Ipv4Addr::new(192, 168, 30, 117);
    let two = packet(&w.node.routers[1].cfg, peer, 200);
    w.node.packet(w.now, 0, &two);
    w.settle();
    w.pass(ms(1000));
    let two = packet(&w.node.routers[1].cfg, peer, 200);
    w.node.packet(w.now, 0, &two);
    w.reload(&mut cfg, &text(C, &format!("{B}, {A}")));
    assert!(!w.has(A), "removed at once");
}

#[test]
fn a_new_one_starts_and_one_that_goes_hands_over() {
    let two = vi("VI_1", 51, A, "") + &vi("VI_2", 52, B, "");
    let (mut w, mut cfg) = World::master(&two);
    let changes = w.reload(&mut cfg, &(vi("VI_3", 53, C, "") + &vi("VI_2", 52, B, "")));
    let what: Vec<(&str, &What)> = changes.iter().map(|c| (c.name.as_str(), &c.what)).collect();
    assert_eq!(what, [("VI_3", &What::Added), ("VI_1", &What::Removed)]);
    // In the order of the file, who leaves last.
    let names: Vec<&str> = w.node.routers.iter().map(|i| i.cfg.name.as_str()).collect();
    assert_eq!(names, ["VI_3", "VI_2", "VI_1"]);
    assert!(w.did.iter().any(|(_, d)| *d == Did::Advert(2, 0)), "{:?}", w.did);
    assert!(w.has(A), "kept until the successor has it");
    // The successor is heard, though its virtual router is not configured any more.
    w.pass(ms(100));
    let advert = packet(&w.node.routers[2].cfg, Ipv4Addr::new(192, 168, 30, 117), 90);
    w.node.packet(w.now, 0, &advert);
    w.settle();
    w.pass(ms(100));
    assert!(!w.has(A));
    assert_eq!(w.node.routers.len(), 2);
    assert_eq!(w.forgotten, ["VI_1"]);
    w.pass(ms(4000));
    assert!(w.has(C) && w.has(B));
    assert_eq!(w.node.routers[1].stats.became_master, 1, "the other one did not notice");
    assert!(w.node.links[0].demux.get(51).is_none());
}

#[test]
fn one_that_becomes_another_keeps_its_addresses_until_they_are_taken() {
    for change in ["version = 3\nadvert_int = 1", "unicast_peer = 192.168.30.117"] {
        let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, ""));
        let changes = w.reload(&mut cfg, &vi("VI_1", 51, A, change));
        assert_eq!(changes.len(), 2, "{change}");
        assert_eq!(w.node.routers.len(), 2);
        assert!(w.has(A), "{change}");
        // Nobody else takes it: the new one does, and it never left.
        w.pass(ms(6000));
        assert_eq!(w.node.routers.len(), 1, "{change}");
        assert!(w.node.routers[0].is_master());
        assert_eq!(w.times(removed), [0u64; 0], "{change}");
        assert!(w.has(A));
        w.pass(ms(6000));
        assert!(w.node.addrs.of(0).all(|(e, _)| w.node.addrs.is_held(e)), "{change}");
        assert!(w.forgotten.is_empty(), "the name lives on");
    }
    // Another number, and the new one is quicker than the successor would be.
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, ""));
    w.reload(&mut cfg, &vi("VI_1", 99, A, ""));
    w.pass(ms(10_000));
    assert_eq!((w.times(removed), w.has(A), w.node.routers.len()), (vec![], true, 1));
}

#[test]
fn a_new_name_is_no_new_virtual_router() {
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, ""));
    let changes = w.reload(&mut cfg, &vi("WEB", 51, A, ""));
    assert_eq!(changes, [changed("WEB")]);
    assert_eq!(w.forgotten, ["VI_1"]);
    assert_eq!(w.take(), [Did::Remember(Memory::Master)]);
    assert!(w.node.routers[0].is_master());
}

#[test]
fn another_interval_is_told_at_once_and_costs_nobody_his_mastership() {
    for (from, to) in [(1, 20), (20, 1), (1, 2)] {
        let text = |i: u32| vi("VI_1", 51, A, &format!("version = 3\nadvert_int = {i}"));
        let (mut w, mut cfg) = World::master(&text(from));
        w.pass(ms(100_000));
        w.pass(ms(900));
        w.take();
        w.reload(&mut cfg, &text(to));
        // The leases are short before the backups hear that they are to wait less.
        let shortened = [Did::Renew(0), Did::Advert(0, 100)];
        let ahead = usize::from(from <= to);
        let did = w.take();
        assert_eq!(did.get(..2 - ahead), shortened.get(ahead..), "{from} to {to}: {did:?}");
        let told = w.now;
        w.pass(Duration::from_secs(u64::from(to) * 4));
        let mut last = told.as_nanos() / 1_000_000;
        for t in w.times(|d| matches!(d, Did::Advert(..))) {
            assert!(t - last <= u64::from(to) * 1000, "{from} to {to}");
            last = t;
        }
        let router = &w.node.routers[0];
        assert_eq!((router.stats.became_master, router.stats.stalls), (1, 0), "{from} to {to}");
        assert_eq!(w.times(removed), [0u64; 0]);
        assert_eq!(router.machine.min_down_interval(), Duration::from_secs(3 * u64::from(to)));
        assert_eq!(w.node.addrs.terms(0).safe, w.node.addrs.terms(0).fresh > Duration::ZERO);
        w.theorem = true;
        w.pass(Duration::from_secs(u64::from(to) * 10));
    }
}

#[test]
fn a_backup_waits_for_the_others_interval_to_follow() {
    let text = |i: u32| vi("VI_1", 51, A, &format!("advert_int = {i}"));
    let mut cfg = config(&text(5));
    let mut w = World::new(&cfg);
    w.begin(false);
    w.hear(PEER, 200);
    w.pass(ms(4000));
    w.reload(&mut cfg, &text(1));
    // Its adverts are refused until it is reloaded as well; the old down timer runs on.
    w.pass(ms(11_000));
    assert_eq!(w.kind(), Kind::Backup);
    w.hear(PEER, 200);
    w.pass(ms(3000));
    assert_eq!(w.kind(), Kind::Backup);
    w.pass(ms(700));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn leases_come_go_and_change_in_place() {
    let text = |l: &str| vi("VI_1", 51, A, &format!("version = 3\nadvert_int = 5\nlease = {l}"));
    let (mut w, mut cfg) = World::master(&text("auto"));
    let left = |w: &World| w.node.addrs.lease_left(0, w.now);
    w.reload(&mut cfg, &text("off"));
    w.pass(ms(5100));
    assert_eq!((left(&w), w.has(A)), (None, true), "permanent");
    w.reload(&mut cfg, &text("3"));
    w.pass(ms(5100));
    assert!(left(&w).is_some_and(|l| l <= ms(3000)));
    assert_eq!(w.times(removed), [0u64; 0]);
}

#[test]
fn checks_keep_their_state_and_a_new_one_moves_nobody() {
    let check = |name: &str, port: u16| format!("[check {name}]\ntype = tcp\ntarget = 192.168.30.1:{port}\n");
    let text = vi("VI_1", 51, A, "track = web") + &check("web", 80);
    let mut cfg = config(&text);
    let mut w = World::new(&cfg);
    w.begin(false);
    w.node.check_done(w.now, 0, Ok(()), String::new());
    w.pass(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    let more = vi("VI_1", 51, A, "track = new, web, heavy weight -90, plus weight 20")
        + &check("plus", 1)
        + &check("heavy", 2)
        + &check("new", 3)
        + &check("web", 8080);
    let changes = w.reload(&mut cfg, &more);
    assert_eq!(changes, [changed("VI_1")]);
    assert_eq!((w.kind(), w.node.routers[0].machine.params.priority), (Kind::Master, 100));
    assert_eq!(w.node.checks[3].is_up(), Some(true), "what it was");
    // Now they have results: the heavy one is down, the light one up.
    let down = Err(check::Failure::TimedOut);
    w.node.check_done(w.now, 1, down, String::new());
    assert_eq!(w.node.routers[0].machine.params.priority, 10);
    w.node.check_done(w.now, 0, Ok(()), String::new());
    assert_eq!(w.node.routers[0].machine.params.priority, 30);
    w.node.check_done(w.now, 2, down, String::new());
    w.settle();
    assert_eq!(w.kind(), Kind::Init, "the first result counts");
}

#[test]
fn a_group_takes_a_member_in_without_moving() {
    let one = vi("VI_1", 51, A, "") + &vi("VI_2", 52, B, "") + "[group G]\nmembers = VI_1, VI_2\n";
    let (mut w, mut cfg) = World::master(&one);
    w.reload(
        &mut cfg,
        &(vi("VI_1", 51, A, "")
            + &vi("VI_2", 52, B, "")
            + &vi("VI_3", 53, C, "")
            + "[group G]\nmembers = VI_1, VI_2, VI_3\n"),
    );
    w.pass(ms(5000));
    assert!(w.node.routers.iter().all(|i| i.is_master() && i.stats.became_master == 1));
    assert_eq!(w.times(removed), [0u64; 0]);
}

#[test]
fn interfaces_come_and_go() {
    let eth1 = "[vrrp VI_2]\ninterface = eth1\nvirtual_router_id = 52\nvirtual_ipaddress = 192.168.31.230\n";
    let one = vi("VI_1", 51, A, "track_interface = eth9 weight 5");
    let (mut w, mut cfg) = World::master(&one);
    let links = w.node.links.len();
    for _ in 0..5 {
        w.reload(&mut cfg, &(one.clone() + eth1));
        assert!(w.did.iter().any(|(_, d)| *d == Did::Reread), "the kernel is asked");
        w.eth(3, b"eth1");
        w.pass(ms(100));
        w.reload(&mut cfg, &one);
        w.pass(ms(100));
        assert_eq!(w.node.links.len(), links + 1, "its place is used again");
        w.take();
    }
    assert!(w.node.routers[0].is_master());
}

#[test]
fn an_interface_that_is_there_is_not_missing_before_the_kernel_has_told_of_it() {
    let plain = vi("VI_1", 51, A, "");
    for more in [
        vi("VI_1", 51, A, "track_interface = eth1"),
        vi("VI_1", 51, A, "track_interface = eth1 weight 5"),
        vi("VI_1", 51, &format!("{A}, 192.168.30.9 dev eth1"), ""),
    ] {
        let (mut w, mut cfg) = World::master(&plain);
        w.more_links.push(3);
        w.reload(&mut cfg, &more);
        let expected = if more.contains("weight") { 105 } else { 100 };
        assert_eq!(w.node.routers[0].machine.params.priority, expected);
        w.pass(ms(3000));
        assert_eq!((w.kind(), w.node.routers[0].stats.became_master), (Kind::Master, 1), "{more}");
        assert_eq!(w.times(removed), [0u64; 0]);
        // One that is not there is missing all the same.
        w.reload(&mut cfg, &more.replace("eth1", "eth7"));
        assert_eq!(w.kind() == Kind::Init, !more.contains("weight"), "{more}");
    }
}

#[test]
fn another_prefix_length_of_a_host_address_is_nothing_to_the_kernel() {
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, &format!("{A}/24"), ""));
    w.pass(ms(1500));
    w.take();
    assert_eq!(w.reload(&mut cfg, &vi("VI_1", 51, &format!("{A}/32"), "")), [changed("VI_1")]);
    w.pass(ms(3000));
    assert_eq!((w.times(removed), w.resets), (vec![], 0));
    // One that brings the subnet is installed anew, and no connection is reset.
    let net = |len: u8| vi("VI_1", 51, &format!("10.7.0.1/{len}"), "");
    let (mut w, mut cfg) = World::master(&net(24));
    w.pass(ms(1500));
    w.take();
    w.reload(&mut cfg, &net(25));
    assert_eq!((w.times(removed).len(), w.resets, w.has("10.7.0.1")), (1, 0, true));
    // And one that goes is told.
    w.reload(&mut cfg, &vi("VI_1", 51, A, ""));
    assert_eq!((w.resets, w.has("10.7.0.1")), (1, false));
}

#[test]
fn a_refresh_that_was_off_begins() {
    let text = |n: u32| vi("VI_1", 51, A, &format!("garp_master_refresh = {n}"));
    let (mut w, mut cfg) = World::master(&text(0));
    w.pass(ms(60_000));
    assert_eq!(w.node.routers[0].announcer.deadline(), None);
    w.reload(&mut cfg, &text(7));
    assert_eq!(w.node.routers[0].announcer.deadline(), Some(w.now + ms(7000)));
    // A backup announces nothing.
    w.hear(PEER, 200);
    w.settle();
    w.reload(&mut cfg, &text(8));
    assert_eq!(w.node.routers[0].announcer.deadline(), None);
}

#[test]
fn haproxy_appears_and_disappears() {
    let one = vi("VI_1", 51, A, "");
    let with = format!("[haproxy]\nkeep_listeners = no\ncheck_interval = 3600\n{one}");
    let (mut w, mut cfg) = World::master(&one);
    w.reload(&mut cfg, &with);
    assert!(w.take().contains(&Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false })));
    w.pass(ms(300));
    assert_eq!(w.kind(), Kind::Master, "as while it is restarted");
    w.ready();
    w.pass(ms(500));
    w.take();
    w.reload(&mut cfg, &one);
    assert!(w.take().contains(&Did::Haproxy(supervisor::Action::SoftStop { pid: 77 })));
    // Back before it has gone: it is waited for.
    w.reload(&mut cfg, &with);
    assert!(!w.take().contains(&Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false })));
    w.node.supervise(w.now, supervisor::Input::Exited { pid: 77, exit: Exit::Code(0) });
    w.pass(ms(100));
    assert_eq!(w.new_services, 1);
    assert!(w.take().contains(&Did::Haproxy(supervisor::Action::Spawn { bare: false, copy: false })));
    // Never master without service: between the two there was none.
    w.ready();
    w.pass(ms(5000));
    assert_eq!(w.kind(), Kind::Master);
}

#[test]
fn not_while_it_stops() {
    let (mut w, _) = World::master(&vi("VI_1", 51, A, ""));
    w.node.stop(w.now);
    assert!(w.node.is_stopping());
}

/// Whatever is changed, in any order, at any time: nothing panics, and what is configured is there in the
/// end.
#[test]
fn a_thousand_reloads() {
    let mut seed = 1u64;
    let mut pick = move |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    let text = |pick: &mut dyn FnMut(u64) -> u64| {
        let mut all = String::new();
        let mut free = vec![A, B, C];
        for n in 0..pick(3) + 1 {
            let vip = free.remove(usize::try_from(pick(free.len() as u64)).unwrap());
            let more = [
                "",
                "priority = 7",
                "version = 3\nadvert_int = 0.5",
                "advert_int = 3",
                "unicast_peer = 192.168.30.117",
                "lease = off",
            ];
            let more = more[usize::try_from(pick(6)).unwrap()];
            all += &vi(&format!("VI_{}", pick(2) * 10 + n), 51 + u8::try_from(n).unwrap(), vip, more);
        }
        all
    };
    let (mut w, mut cfg) = World::master(&vi("VI_1", 51, A, ""));
    for _ in 0..1000 {
        let text = text(&mut pick);
        w.reload(&mut cfg, &text);
        w.pass(ms(pick(400)));
        if pick(4) == 0 {
            w.pass(ms(pick(6000)));
        }
        w.take();
    }
    w.pass(ms(60_000));
    let wanted: std::collections::BTreeSet<IpAddr> =
        cfg.vrrp.iter().flat_map(|v| v.held().map(|v| v.addr)).collect();
    assert_eq!(w.present, wanted);
    assert_eq!(w.node.routers.len(), cfg.vrrp.len());
    assert_eq!(w.node.addrs.entries.len(), wanted.len());
    assert!(w.node.routers.iter().all(|i| i.is_master()));
}

#[test]
fn names_may_be_swapped() {
    let text = |a: &str, b: &str| vi(a, 51, A, "") + &vi(b, 52, B, "");
    let (mut w, mut cfg) = World::master(&text("VI_1", "VI_2"));
    let new = config(&text("VI_2", "VI_1"));
    w.node.reconfigure(&cfg, &new, w.now);
    let effects: Vec<Effect> = std::iter::from_fn(|| w.node.next_effect()).collect();
    let forget = |n: &str| Effect::Forget { name: n.to_owned() };
    let remember = |router| Effect::Remember { router, memory: Memory::Master };
    assert_eq!(effects, [forget("VI_1"), forget("VI_2"), remember(0), remember(1)]);
    cfg = new;
    assert_eq!(cfg.vrrp.len(), w.node.routers.len());
}

#[test]
fn the_key_of_an_authentication_header_changes_and_its_numbers_go_on() {
    let text = |auth: &str| vi("VI_1", 51, A, auth);
    let ah = |pass: &str| format!("auth_type = AH\nauth_pass = {pass}");
    let (mut w, mut cfg) = World::master(&text(&ah("one")));
    let advert = |w: &mut World| {
        let mut out = Vec::new();
        w.node.encode_advert(0, 100, 0, w.now, &mut out);
        out
    };
    assert_eq!(advert(&mut w)[28..32], 1u32.to_be_bytes(), "the pretended network does not encode");
    let changes = w.reload(&mut cfg, &text(&ah("two")));
    assert_eq!(changes, [changed("VI_1")]);
    let bytes = advert(&mut w);
    assert_eq!(bytes[28..32], 2u32.to_be_bytes());
    // What it says now is believed by somebody with the new key, and by nobody with the old one.
    for (key, accepted) in [("two", 1), ("one", 0)] {
        let mut other = World::new(&config(&text(&ah(key))));
        other.node.routers[0].src = Some(PEER.into());
        other.begin(false);
        other.node.routers[0].src = Some(PEER.into());
        other.node.packet(other.now, 0, &bytes);
        assert_eq!(other.node.routers[0].stats.adverts_received, accepted, "{key}");
    }
    // And from AH to a password.
    w.reload(&mut cfg, &text("auth_type = PASS\nauth_pass = x"));
    assert_eq!(w.node.routers[0].auth.file(), None);
    w.pass(ms(4000));
    assert_eq!(w.node.routers[0].stats.became_master, 1);
}

/// A batch takes its time, and one that ends too late costs all addresses: whenever a VIP comes, none goes.
#[test]
fn a_vip_that_comes_at_any_moment_costs_nobody_anything() {
    let (without, with) = (vi("VI_1", 51, A, ""), vi("VI_1", 51, &format!("{A}, {B}"), ""));
    for phase in 0..100 {
        let (mut w, mut cfg) = World::master(&without);
        w.pass(ms(1000 + phase * 10));
        w.batch_time = ms(10);
        w.reload(&mut cfg, &with);
        w.pass(ms(1500));
        assert_eq!((w.times(removed), w.has(A), w.has(B)), (vec![], true, true), "{phase}");
    }
}
