//! The status in its three forms against golden files, split brain, and the lines of a watcher.
//! `BLESS=1 cargo test` writes the files; look at the difference.

use super::*;
use crate::report::history::History;
use crate::report::status::{Context, Form, answer, exit_status, render};
use crate::report::{watch, words};
use std::path::PathBuf;
use std::rc::Rc;

const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn golden(w: &World, name: &str) {
    let started = Time::from_nanos(101_000_000_000);
    let mut history = History::default();
    w.events.iter().for_each(|e| history.note(&w.node, e, Duration::from_secs(1_795_356_000)));
    let alert = Some(("[ALERT] (7) : \x1b[31m", Duration::from_secs(1_795_356_001)));
    let http = Some(("127.0.0.1:9112", Some("Address in use")));
    let new = Context::new("node\"1\\", started, w.now);
    let c = Context { history: Some(&history), alert, http, reload: (false, started + ms(2000)), ..new };
    for (form, ext) in [(Form::Plain, "txt"), (Form::Json, "json"), (Form::Metrics, "prom")] {
        let text = render(form, &w.node, &c).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/status/{name}.{ext}"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let want = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == want, "{} is not what it was:\n{text}", file.display());
    }
}

/// Everything that a section may have.
fn full() -> Config {
    config(
        "[haproxy]\nkeep_listeners = no\ncheck_interval = 3600\n\
         [check gw]\ntype = ping\ntarget = 192.168.30.1\nfall = 1\ninterval = 60\n\
         [vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\npriority = 150\ntrack = gw weight -20\n\
         virtual_ipaddress = 192.168.30.230/24, 192.168.30.31/24\n\
         [vrrp VI_22]\ninterface = eth0\nvirtual_router_id = 52\nversion = 3\nadvert_int = 0.5\n\
         virtual_ipaddress = 192.168.30.232/24\n\
         [group VG_1]\nmembers = VI_1, VI_22\n",
    )
}

fn full_master() -> World {
    let mut w = World::new(&full());
    w.begin(false);
    w.run(ms(50));
    w.ready();
    w.node.check_done(w.now, 0, Ok(()), String::new());
    w.run(ms(6000));
    assert_eq!(w.kind(), Kind::Master);
    w.take();
    w
}

/// Heard by the second virtual router.
fn hear_other(w: &mut World, priority: u8) {
    let bytes = packet(&w.node.routers[1].cfg, PEER, priority);
    w.node.packet(w.now, 0, &bytes);
    w.effects();
    w.settle();
}

#[test]
fn a_master_with_everything() {
    let mut w = full_master();
    assert_eq!(exit_status(&w.node, w.now), 0);
    w.run(ms(1000));
    w.garp(STRANGER);
    for _ in 0..4 {
        w.hear(PEER, 90);
        w.run(ms(1000));
    }
    // Once a second master is known, what it announces is no surprise.
    w.garp(STRANGER);
    w.run(ms(345));
    assert_eq!(exit_status(&w.node, w.now), 4, "there are two masters");
    golden(&w, "master");
}

#[test]
fn backups_and_what_they_wait_for() {
    let mut w = World::new(&full());
    w.begin(false);
    w.run(ms(50));
    w.ready();
    w.node.check_done(w.now, 0, Err(check::Failure::TimedOut), String::new());
    w.effects();
    w.settle();
    w.hear(PEER, 200);
    hear_other(&mut w, 200);
    w.run(ms(321));
    assert_eq!(exit_status(&w.node, w.now), 3);
    golden(&w, "backup");
}

#[test]
fn a_fault() {
    let mut w = full_master();
    w.link(false);
    w.effects();
    w.settle();
    w.run(ms(65_000));
    assert_eq!(exit_status(&w.node, w.now), 4);
    golden(&w, "fault");
}

/// A lease in nf_tables, and packets that are refused before and after it is known whose they are.
#[test]
fn what_is_rare() {
    let mut w = World::new(&one(""));
    w.node.set_fence(Some(ms(4)));
    w.plan = w.node.fence_plan(w.now);
    w.begin(false);
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    let bytes = packet(&w.node.routers[0].cfg, PEER, 90);
    w.node.packet(w.now, 0, bytes.get(..10).unwrap_or_default());
    let mut bytes = bytes;
    bytes[26] ^= 1;
    w.node.packet(w.now, 0, &bytes);
    w.effects();
    golden(&w, "rare");
}

// ---- the verdict ----

fn asked(w: &World, form: Form, name: Option<&str>) -> (u8, String) {
    let c = Context::new("n", w.now, w.now);
    answer(form, name, &w.node, &c)
}

#[test]
fn the_verdict_of_a_master_a_backup_and_a_fault() {
    let mut w = full_master();
    let (status, text) = asked(&w, Form::Check, None);
    assert_eq!(
        (status, text.as_str()),
        (0, "OK: this node serves 192.168.30.230, 192.168.30.31, 192.168.30.232\n")
    );
    let whole = asked(&w, Form::Plain, None).1;
    assert_eq!(whole.lines().next(), text.lines().next(), "the first line of the status");
    // Outranked: the other one serves the addresses.
    w.hear(PEER, 200);
    hear_other(&mut w, 200);
    let ready = "OK: 192.168.30.117 serves 192.168.30.230, 192.168.30.31, 192.168.30.232; \
                 this node is ready to take over\n";
    assert_eq!(asked(&w, Form::Check, None), (0, ready.to_owned()));
    // In FAULT it hears the master all the same.
    w.node.supervise(w.now, supervisor::Input::Exited { pid: 77, exit: Exit::Code(1) });
    w.effects();
    w.run(ms(600));
    w.hear(PEER, 200);
    hear_other(&mut w, 200);
    let (status, text) = asked(&w, Form::Check, None);
    let serves = "FAULT: 192.168.30.117 serves 192.168.30.230, 192.168.30.31, 192.168.30.232; VI_";
    assert!(status == 2 && text.starts_with(serves) && text.contains(": HAProxy is not ready"), "{text}");
    assert!(asked(&w, Form::Plain, None).1.contains("  to do     see HAProxy below"), "what to do");
    // Not for ever.
    w.run(ms(3000));
    let (status, text) = asked(&w, Form::Check, None);
    assert!(status == 2 && text.starts_with("FAULT: no master is heard for 192.168.30.230, "), "{text}");
}

#[test]
fn the_verdict_at_the_start() {
    let mut w = World::new(&full());
    w.begin(false);
    let (status, text) = asked(&w, Form::Check, None);
    assert!(status == 1 && text.starts_with("STARTING: no master is heard for 192.168.30.230"), "{text}");
    assert!(text.contains("waiting for HAProxy"), "{text}");
}

#[test]
fn a_name_selects_a_router_or_a_group() {
    let w = full_master();
    let (status, text) = asked(&w, Form::Plain, Some("VI_22"));
    assert!(status == 0 && text.starts_with("OK: this node serves 192.168.30.232\n"), "{text}");
    assert!(
        text.contains("\nVI_22  MASTER") && !text.contains("\nVI_1 ") && !text.contains("HAProxy"),
        "{text}"
    );
    let (_, text) = asked(&w, Form::Plain, Some("VG_1"));
    assert!(text.contains("\nVI_22  MASTER") && text.contains("\nVI_1   MASTER"), "{text}");
    assert_eq!(
        asked(&w, Form::Plain, Some("VI_2")),
        (2, "no virtual router or group has that name\n".to_owned())
    );
}

#[test]
fn nothing_configured_but_one_router() {
    let mut w = World::new(&one("unicast_src_ip = 192.168.30.116\nunicast_peer = 192.168.30.117"));
    w.begin(false);
    golden(&w, "start");
}

#[test]
fn colour_is_nothing_but_colour() {
    let w = full_master();
    let c = Context::new("n", w.now, w.now);
    let mut colour = render(Form::Colour, &w.node, &c);
    assert!(colour.contains("VI_22  \x1b[32mMASTER\x1b[0m for "), "{colour}");
    while let Some(start) = colour.find('\x1b') {
        let end = colour[start..].find('m').unwrap();
        colour.replace_range(start..=start + end, "");
    }
    assert_eq!(colour, render(Form::Plain, &w.node, &c));
}

/// 255 virtual routers, each with 4 addresses: a bounded answer, made in a bounded time.
#[test]
fn many_routers() {
    let text: String = (1..=255)
        .map(|i| {
            let vips: Vec<String> = (1..=4).map(|k| format!("10.{i}.0.{k}")).collect();
            format!(
                "[vrrp V{i}]\ninterface = eth0\nvirtual_router_id = {i}\nvirtual_ipaddress = {}\n",
                vips.join(", ")
            )
        })
        .collect();
    let mut w = World::new(&config(&text));
    w.begin(false);
    w.run(ms(5000));
    let c = Context::new("n", w.now, w.now);
    for form in [Form::Plain, Form::Json, Form::Metrics] {
        let text = render(form, &w.node, &c);
        assert!(text.len() < 4 << 20, "{form:?}: {} octets", text.len());
    }
    let present = watch::present(&w.node, w.now, "2026-11-22T13:00:00.000Z");
    assert_eq!(present.lines().count(), 256);
    // One line each.
    let text = render(Form::Plain, &w.node, &c);
    assert_eq!(text.lines().count(), 2 + 1 + 255 + 1, "{text}");
    assert!(
        text.starts_with("OK: this node serves 10.1.0.1, ") && text.contains(" and 1012 more\n"),
        "{text}"
    );
    assert!(
        text.contains("V7    MASTER for 1 s: 10.7.0.1, 10.7.0.2, 10.7.0.3, 10.7.0.4 served by this node\n"),
        "{text}"
    );
    let one = asked(&w, Form::Plain, Some("V7")).1;
    assert!(one.contains("VRID 7 on eth0"), "{one}");
}

// ---- split brain ----

fn second(e: &Event) -> bool {
    matches!(e, Event::SecondMaster { .. } | Event::SecondMasterGone { .. })
}

fn said(w: &World) -> Vec<String> {
    w.events.iter().filter(|e| second(e)).map(|e| words::render(&w.node, e).1).collect()
}

#[test]
fn a_second_master_is_told_once_counted_and_forgotten() {
    let mut w = master(&one(""));
    for _ in 0..10 {
        w.hear(PEER, 90);
        w.run(ms(1000));
    }
    assert_eq!(
        said(&w),
        ["VRRP_Instance(VI_1) split brain: 192.168.30.117 is also master, with priority 90"]
    );
    assert_eq!(exit_status(&w.node, w.now), 4);
    w.run(ms(2001));
    // Its silence does not prove that it has given way.
    assert_eq!(
        said(&w)[1..],
        ["VRRP_Instance(VI_1) no longer hears 192.168.30.117, which was also master for 9 s"]
    );
    assert_eq!((exit_status(&w.node, w.now), w.node.routers[0].foreign.total), (4, ms(9000)));
    w.run(ms(120_000 - 2001 - 1000 - 1));
    assert_eq!(exit_status(&w.node, w.now), 4);
    w.run(ms(1));
    assert_eq!(exit_status(&w.node, w.now), 0, "2 minutes after its last advert");
}

#[test]
fn it_is_over_when_the_other_one_gives_way() {
    let mut w = master(&one(""));
    for _ in 0..4 {
        w.hear(PEER, 90);
        w.run(ms(1000));
    }
    w.hear([192, 168, 30, 118].into(), 0);
    assert_eq!((said(&w).len(), exit_status(&w.node, w.now)), (1, 4), "somebody else's priority 0");
    w.hear(PEER, 0);
    assert_eq!(said(&w)[1..], ["VRRP_Instance(VI_1) the split brain with 192.168.30.117 is over after 3 s"]);
    assert_eq!(exit_status(&w.node, w.now), 0);
}

#[test]
fn one_that_is_refused_is_a_second_master_too() {
    let mut w = master(&one("auth_type = PASS\nauth_pass = 1111"));
    let mut other = (*w.node.routers[0].cfg).clone();
    other.auth = config::Auth::None;
    for _ in 0..3 {
        let bytes = packet(&other, PEER, 200);
        w.node.packet(w.now, 0, &bytes);
        w.run(ms(1000));
        w.effects();
    }
    let text =
        "split brain: 192.168.30.117 is also master, with priority 200; its adverts are refused (auth_type)";
    assert_eq!(said(&w), [format!("VRRP_Instance(VI_1) {text}")]);
    assert_eq!(w.node.routers[0].foreign.total, ms(2000));
}

#[test]
fn neither_one_advert_nor_priority_0_nor_our_own_is_a_second_master() {
    let mut w = master(&one(""));
    w.hear(PEER, 90);
    w.run(ms(4000));
    for _ in 0..5 {
        w.hear(PEER, 0);
        let Some(IpAddr::V4(own)) = w.node.routers[0].src else { panic!("no address") };
        w.hear(own, 90);
        w.run(ms(1000));
    }
    assert_eq!((said(&w), exit_status(&w.node, w.now)), (vec![], 0));
    assert_eq!(w.node.routers[0].foreign.total, Duration::ZERO);
}

/// Whatever is wrong with its adverts, and even if they have a trailer that is not known here.
#[test]
fn adverts_that_are_refused_for_their_length_or_checksum_are_a_second_master() {
    for (change, why) in [
        (
            &(|b: &mut Vec<u8>| b[26] ^= 1) as &dyn Fn(&mut Vec<u8>),
            "invalid advert from 192.168.30.117: checksum",
        ),
        (&|b: &mut Vec<u8>| b.extend([0; 4]), "invalid advert from 192.168.30.117: length\n"),
        (
            &|b: &mut Vec<u8>| b.extend([0; 28]),
            "invalid advert from 192.168.30.117: length: 28 octets too long: it is signed by auth_hmac",
        ),
    ] {
        let mut w = master(&one(""));
        for _ in 0..3 {
            let mut bytes = packet(&w.node.routers[0].cfg, PEER, 90);
            change(&mut bytes);
            let len = u16::try_from(bytes.len()).expect("short");
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[10..12].fill(0);
            let sum = crate::wire::checksum::ones_complement(&[&bytes[..20]]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            w.node.packet(w.now, 0, &bytes);
            w.effects();
            w.run(ms(1000));
        }
        assert_eq!((said(&w).len(), exit_status(&w.node, w.now)), (1, 4), "{why}");
        let refused = w.events.iter().find(|e| matches!(e, Event::Discarded { .. })).expect("refused");
        let text = words::render(&w.node, refused).1;
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn it_ends_with_the_mastership() {
    let mut w = master(&one(""));
    w.hear(PEER, 90);
    w.run(ms(1000));
    w.hear(PEER, 90);
    w.run(ms(1000));
    w.hear(PEER, 200);
    assert_eq!(said(&w).len(), 2);
    assert!(w.node.routers[0].foreign.present().is_none());
    assert_eq!(w.node.routers[0].foreign.deadline(), None);
}

#[test]
fn another_host_that_announces_a_vip_is_told_once_and_answered_seldom() {
    let mut cfg = one("garp_master_refresh = 0\ngarp_master_delay = 0\ngarp_lower_prio_delay = 0");
    Rc::make_mut(&mut cfg.vrrp[0]).garp.lower_prio_repeat = 1;
    let mut w = World::new(&cfg);
    w.begin(false);
    w.run(ms(3650));
    assert_eq!(w.kind(), Kind::Master);
    // What the predecessor still sends.
    w.garp(STRANGER);
    w.run(ms(1500));
    w.take();
    for _ in 0..300 {
        w.garp(STRANGER);
        w.garp(MAC); // ourselves
        w.run(ms(100));
    }
    let told = w.events.iter().filter(|e| matches!(e, Event::VipContested { .. })).count();
    let announced = w.did.iter().filter(|(_, d)| *d == Did::Announce(0)).count();
    assert_eq!((told, announced), (1, 3), "in 30 s");
    assert_eq!(w.node.routers[0].stats.foreign_announcements, 300);
    assert_eq!(exit_status(&w.node, w.now), 4);
    w.run(ms(10_000));
    let c = Context::new("n", w.now, w.now);
    let text = render(Form::Plain, &w.node, &c);
    assert!(
        text.contains("SPLIT BRAIN: 192.168.30.230 is also announced by 02:00:00:00:00:09, 10 s ago\n"),
        "{text}"
    );
    let metrics = render(Form::Metrics, &w.node, &c);
    assert!(metrics.contains("\nvipd_vrrp_split_brain{name=\"VI_1\"} 1\n"), "{metrics}");
    w.garp(STRANGER);
    w.effects();
    let told: Vec<&Event> = w.events.iter().filter(|e| matches!(e, Event::VipContested { .. })).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(
        words::render(&w.node, told[0]).1,
        "VRRP_Instance(VI_1) another host, 02:00:00:00:00:09, announced 192.168.30.230 on eth0: announcing it again"
    );
    w.run(ms(119_999));
    assert_eq!(exit_status(&w.node, w.now), 4);
    w.run(ms(1));
    assert_eq!(exit_status(&w.node, w.now), 0, "2 minutes later");
}

/// Linux answers on any interface for an address of any: of two on one LAN, the other one answers a probe.
#[test]
fn another_interface_of_this_host_is_no_other_host() {
    let mut w = World::new(&one(""));
    w.begin(false);
    w.run(ms(3650) + ms(1500));
    assert_eq!(w.kind(), Kind::Master);
    let contested = |w: &World| w.node.routers[0].stats.foreign_announcements;
    let second = RtnlLink { mac: Some(STRANGER), ..eth(ETH0 + 7, b"eth7") };
    w.node.link(w.now, &second);
    w.garp(STRANGER);
    assert_eq!(contested(&w), 0);
    // It may change.
    w.node.link(w.now, &RtnlLink { mac: Some([2, 0, 0, 0, 0, 0x77]), ..second });
    w.garp(STRANGER);
    assert_eq!(contested(&w), 1);
    w.node.link(w.now, &second);
    w.node.link_gone(w.now, ETH0 + 7);
    w.garp(STRANGER);
    assert_eq!(contested(&w), 2);
}

// ---- watch ----

#[test]
fn every_line_has_its_columns_and_the_state_of_its_subject() {
    const STAMP: &str = "2026-11-22T13:00:00.123Z";
    let mut w = full_master();
    w.link(false);
    w.effects();
    w.settle();
    w.run_to(w.node.checks[0].deadline().unwrap());
    w.node.check_done(w.now, 0, Err(check::Failure::TimedOut), "\x1b[2J\nx".into());
    w.effects();
    let lines: Vec<String> =
        w.events.iter().map(|e| watch::line(&w.node, e, &words::render(&w.node, e).1, STAMP)).collect();
    for line in &lines {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        let columns: Vec<&str> = line.splitn(5, ' ').collect();
        assert!(columns.len() == 5 && columns[0] == STAMP, "{line:?}");
    }
    for want in [
        "interface/eth0 DOWN - Netlink reports eth0 down",
        "vrrp/VI_1 FAULT 130 VRRP_Instance(VI_1) Now in FAULT state: interface is down, another member of the group is in FAULT",
        "group/VG_1 FAULT - VRRP_Group(VG_1) Syncing instances to FAULT state",
        "check/gw DOWN - VRRP_Script(gw) failed (timed out): \\x1b[2J",
    ] {
        assert!(lines.contains(&format!("{STAMP} {want}\n")), "no {want}:\n{}", lines.concat());
    }
    let present = watch::present(&w.node, w.now, STAMP);
    for want in [
        "vrrp/VI_1 FAULT 130 for 53 s: interface is down, another member of the group is in FAULT",
        "check/gw DOWN - now",
        "haproxy READY - now",
    ] {
        assert!(present.contains(&format!("{STAMP} {want}\n")), "no {want}:\n{present}");
    }
}

/// Ids of keys are shown, and clocks; never a key.
#[test]
fn signed_adverts() {
    use crate::vrrp::authentication::{Authentication, Copy};
    let text = "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.168.30.230/24\n\
        auth_hmac_key = 7 thirty-two-octets-or-a-few-more-too\nauth_hmac_key = 8 hex:0101010101010101010101010101010101010101010101010101010101010101\n\
        auth_hmac_active_key = 7\n";
    let mut w = World::new(&config(text));
    let wall = Duration::from_secs(1_800_000_000);
    w.node.set_wall_clock(w.now, wall);
    w.begin(false);
    let hear = |w: &mut World, ahead: u64, priority: u8| {
        let cfg = &w.node.routers[0].cfg;
        let mut sender = Authentication::new(&cfg.auth);
        let vips = [VIP.into()];
        let o = Outgoing {
            version: cfg.version,
            vrid: cfg.vrid,
            interval: cfg.advert_int,
            vips: &vips,
            src: PEER.into(),
            dst: GROUP_V4.into(),
            v3_checksum_as_v2: false,
        };
        let wall = w.node.wall(w.now) + Duration::from_secs(ahead);
        let mut out = Vec::new();
        sender.seal(&mut out, &o, &Copy { priority, ip_id: 1, again: false, wall });
        w.node.packet(w.now, 0, &out);
        w.effects();
        w.settle();
    };
    hear(&mut w, 3, 200);
    assert_eq!(w.node.routers[0].stats.adverts_received, 1);
    golden(&w, "hmac");
    // The clock of this machine is set back by an hour: the master's adverts are refused, and both are
    // master; the status says so.
    w.node.set_wall_clock(w.now, wall - Duration::from_secs(3600));
    w.run(ms(4000));
    assert_eq!(w.kind(), Kind::Master);
    for _ in 0..3 {
        hear(&mut w, 3600, 200);
        w.run(ms(1000));
    }
    golden(&w, "hmac-stale");
    assert_eq!(exit_status(&w.node, w.now), 4, "split brain");
    let told: Vec<String> = w.events.iter().map(|e| words::render(&w.node, e).1).collect();
    for line in [
        "authentication clock skew 3 sec from 192.168.30.117 approaching window 5 sec",
        "the clock was set back by 3600 s",
        "stale authentication trailer from 192.168.30.117, clock skew 3600 sec exceeds window 5 sec",
        "split brain: 192.168.30.117 is also master, with priority 200; its adverts are refused (auth_ext_stale)",
    ] {
        assert!(told.iter().any(|t| t.contains(line)), "{line}: {told:?}");
    }
    // And one that was never set.
    w.node.set_wall_clock(w.now, Duration::from_secs(100));
    w.effects();
    assert_eq!(w.events.iter().filter(|e| **e == Event::ClockUnset).count(), 1);
    let c = Context::new("n", w.now, w.now);
    for form in [Form::Plain, Form::Json, Form::Metrics] {
        let text = render(form, &w.node, &c);
        assert!(!text.contains("thirty-two") && !text.contains("0101"), "{text}");
    }
    assert!(render(Form::Plain, &w.node, &c).contains("NOT SET"));
    assert!(!format!("{:?}", w.node).contains("thirty-two"));
}
