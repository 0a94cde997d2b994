//! `use_vmac`: the virtual MAC, against itself and against keepalived with and without it.

use super::*;
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("vmac_moves_between_vipds", |w| moves(w, vipd(), vipd())),
    ("vmac_moves_to_keepalived_and_back", |w| moves(w, vipd(), keepalived())),
    ("vmac_moves_from_keepalived_and_back", |w| moves(w, keepalived(), vipd())),
    ("vmac_beside_keepalived_without_it", |w| moves(w, vipd(), ("", Kind::Keepalived))),
    ("vmac_below_keepalived_without_it", |w| moves(w, ("", Kind::Keepalived), vipd())),
    ("vmac_survives_a_cut_cable", |w| survives_cut(w, vipd())),
    ("vmac_survives_a_cut_cable_with_keepalived", |w| survives_cut(w, keepalived())),
    ("vmac_masters_that_meet_hear_each_other", |w| masters_meet(w, vipd())),
    ("vmac_masters_that_meet_with_keepalived", |w| masters_meet(w, keepalived())),
    ("vmac_of_a_killed_vipd_is_adopted", adopts),
    ("vmac_of_another_configuration_goes", other_configuration),
    ("vmac_that_keepalived_left_makes_room", after_keepalived),
    ("vmac_on_a_macvlan", on_a_macvlan),
    ("vmac_resumes_after_a_crash", resumes),
    ("vmac_that_somebody_deletes_is_made_again", made_again),
    ("vmac_comes_back_with_its_parent", parent_comes_back),
    ("vmac_name_that_is_taken_is_named", name_taken),
    ("vmac_xmit_base_sends_from_the_interface", xmit_base),
    ("vmac_works_with_strict_rp_filter", strict_rp_filter),
    ("vmac_many", many),
    ("vmac_v6_moves", v6_moves),
    ("vmac_v6_killed", v6_killed),
    ("vmac_v6_masters_that_meet_hear_each_other", v6_masters_meet),
];

const VMAC: [u8; 6] = [0, 0, 0x5e, 0, 1, VRID];
const VMAC_V6: [u8; 6] = [0, 0, 0x5e, 0, 2, VRID];
const DEVICE: &str = "vrrp.51";

type Side = (&'static str, Kind);

fn vipd() -> Side {
    ("use_vmac = yes", Kind::Vipd)
}

fn keepalived() -> Side {
    (" use_vmac", Kind::Keepalived)
}

fn with_vmac(side: Side, priority: u8) -> Router {
    router(priority).with(side.0)
}

impl World {
    fn run_vmac(&self, side: Side, node: &Node, priority: u8) -> Result<(Daemon, Option<Haproxy>)> {
        self.with_haproxy(side.1, node, with_vmac(side, priority))
    }

    /// Every frame with the virtual MAC comes from a vipd that was master then: from its first advert to the
    /// first one of another node.
    fn only_masters_use(&self, mac: [u8; 6], vipds: &[&Node]) -> Result<()> {
        let (mut master, mut since, mut frames) = (None, self.born, 0);
        for seen in self.capture.all(self.born, |_| true) {
            if seen.advert(VRID).is_some_and(|a| a.priority != 0) && master.as_ref() != Some(&seen.node) {
                (master, since) = (Some(seen.node.clone()), seen.at);
            }
            if seen.mac == mac && vipds.iter().any(|n| n.name() == seen.node) {
                frames += 1;
                // What was on its way when the advert came is repaired by the announcements after 20 and 100
                // ms.
                let crossed = seen.at - since < self.bound_to(ms(10), since, seen.at);
                ensure!(crossed || master.as_ref() == Some(&seen.node), "not from the master: {seen}");
            }
        }
        ensure!(frames > 0, "nobody ever used the virtual MAC");
        Ok(())
    }

    /// What the client knows of the address.
    fn neighbour(&self, vip: &str) -> Result<String> {
        let out = self.client.output(Command::new("ip").args(["neigh", "show", vip]))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let mac = text.split_once("lladdr ").and_then(|(_, rest)| rest.split(' ').next());
        Ok(mac.unwrap_or("none").to_owned())
    }

    /// That MAC is all that the node ever gave for the address, and what the client knows. keepalived's
    /// kernel also asks from the address with the interface's own.
    fn is_known_by(&self, vip: &str, node: &Node, mac: [u8; 6]) -> Result<()> {
        let known = self.neighbour(vip)?;
        let want = mac.map(|octet| format!("{octet:02x}")).join(":");
        ensure!(known == want, "the client has {known} for {vip} instead of {want}");
        let wrong = self.capture.all(self.born, |s| {
            let says = match s.what {
                What::Arp { sender, .. } => sender.to_string() == vip,
                What::Na { target } => target.to_string() == vip,
                _ => false,
            };
            says && s.node == node.name() && s.mac != mac
        });
        ensure!(wrong.is_empty(), "answered with another MAC: {}", wrong[0]);
        Ok(())
    }
}

fn has(node: &Node, device: &str) -> bool {
    node.enter(|| std::path::Path::new(&format!("/sys/class/net/{device}")).exists())
        || node.enter(|| nix::net::if_::if_nametoindex(device).is_ok())
}

/// A backup's is down, so that its kernel cannot use the MAC either.
fn is_up(node: &Node, device: &str) -> Result<bool> {
    let out = node.output(Command::new("ip").args(["-o", "link", "show", device]))?;
    Ok(String::from_utf8_lossy(&out.stdout).contains(",UP"))
}

/// A planned move and its return, under traffic.
fn moves(w: &World, first: Side, second: Side) -> Result<()> {
    let is_vipd = |side: Side| side.1 == Kind::Vipd;
    let (one, haproxy1) = w.run_vmac(first, &w.one, 100)?;
    w.node1_is_master()?;
    let (two, _haproxy2) = w.run_vmac(second, &w.two, 99)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    if is_vipd(first) {
        w.is_known_by(VIP, &w.one, VMAC)?;
        ensure!(is_up(&w.one, DEVICE)?, "the master's {DEVICE} is down");
    }
    if is_vipd(second) {
        ensure!(has(&w.two, DEVICE) && !is_up(&w.two, DEVICE)?, "the backup's {DEVICE} is up");
    }

    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    w.watcher.wait_holder(VIP, "node2", secs(2))?;
    let report = client.report(start, Instant::now())?;
    if is_vipd(second) {
        w.is_known_by(VIP, &w.two, VMAC)?;
    }
    if is_vipd(first) {
        ensure!(!has(&w.one, DEVICE), "{DEVICE} was not removed");
        ensure!(
            report.silence < w.bound(ms(300), start) && report.failures() <= 3,
            "clients noticed: {report}"
        );
    }
    drop(haproxy1);

    let (one, _haproxy1) = w.run_vmac(first, &w.one, 100)?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    client.wait_answer_by("node1", secs(5))?;
    if is_vipd(first) {
        w.is_known_by(VIP, &w.one, VMAC)?;
    }
    if is_vipd(second) {
        ensure!(!is_up(&w.two, DEVICE)?, "the backup's {DEVICE} is up");
    }
    two.terminate();
    two.wait_exit(secs(9))?;
    if is_vipd(second) {
        ensure!(!has(&w.two, DEVICE), "{DEVICE} was not removed");
    }
    let sides = [(first, &w.one), (second, &w.two)];
    let vipds: Vec<&Node> = sides.iter().filter(|(side, _)| is_vipd(*side)).map(|(_, node)| *node).collect();
    w.only_masters_use(VMAC, &vipds)?;
    at_peace(&[&one, &two])
}

fn survives_cut(w: &World, second: Side) -> Result<()> {
    let (one, _haproxy1) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    let (two, _haproxy2) = w.run_vmac(second, &w.two, 99)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    w.one.cut()?;
    client.wait_answer_by("node2", secs(8))?;
    w.watcher.wait_holder(VIP, "node2", secs(2))?;
    if second.1 == Kind::Vipd {
        w.is_known_by(VIP, &w.two, VMAC)?;
    }
    w.one.mend()?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    client.wait_answer_by("node1", secs(5))?;
    w.is_known_by(VIP, &w.one, VMAC)?;
    w.only_masters_use(
        VMAC,
        if second.1 == Kind::Vipd { vec![&w.one, &w.two] } else { vec![&w.one] }.as_slice(),
    )?;
    at_peace(&[&one, &two])
}

/// Both are master with one MAC, on macvlans that are up: each other's adverts come by those only.
fn masters_meet(w: &World, first: Side) -> Result<()> {
    w.lan.partition(&[&w.one, &w.two])?;
    let one = Daemon::start(first.1, &w.one, &[with_vmac(first, 100)])?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[with_vmac(vipd(), 99)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    two.wait_log(words::MASTER, secs(1))?;
    let mark = two.log().mark();
    w.lan.heal(&[&w.one, &w.two])?;
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    two.log().wait_from(mark, words::BACKUP, secs(1))?;
    let healed = Instant::now();
    w.capture.wait_advert("node1", VRID, healed, secs(2))?;
    // It is a backup that hears the master, and stays one.
    w.capture.wait_advert("node1", VRID, healed + secs(4), secs(6))?;
    ensure!(w.capture.all(healed, |s| s.node == "node2" && s.mac == VMAC).is_empty(), "node2 uses the MAC");
    at_peace(&[&one, &two])
}

fn adopts(w: &World) -> Result<()> {
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    let (two, _) = w.run_vmac(vipd(), &w.two, 99)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let killed = Instant::now();
    one.kill_tree();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    w.watcher.no_overlap(VIP, Duration::ZERO)?;
    ensure!(has(&w.one, DEVICE), "the kernel removed {DEVICE}");
    let sent = w.capture.all(killed + ms(50), |s| s.node == "node1" && s.mac == VMAC);
    ensure!(sent.is_empty(), "a dead node sends: {}", sent[0]);
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    one.wait_log(words::BACKUP, secs(3))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(one.log().grep("VMAC").is_empty(), "it was not adopted");
    w.client()?.wait_answer_by("node1", secs(5))?;
    w.is_known_by(VIP, &w.one, VMAC)?;
    one.terminate();
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    ensure!(!has(&w.one, DEVICE), "{DEVICE} was not removed");
    w.only_masters_use(VMAC, &[&w.one, &w.two])?;
    at_peace(&[&two])
}

/// What a killed vipd left is removed by one with another configuration.
fn other_configuration(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    w.node1_is_master()?;
    one.kill_tree();
    one.wait_exit(secs(2))?;
    w.one.ip("link add link eth0 name mine address 00:00:5e:00:01:99 type macvlan")?;
    let again = Vipd::run(&w.one, None, &[Router::new(52, 100, VIP_LEN).with("use_vmac = yes")])?;
    again.wait_log("Success creating VMAC interface vrrp.52", secs(2))?;
    again.wait_log(words::BACKUP, secs(2))?;
    ensure!(!has(&w.one, DEVICE), "{DEVICE} is still there");
    ensure!(has(&w.one, "mine"), "somebody else's macvlan was removed");
    Ok(())
}

/// keepalived's device makes room, with the address on it, which bears no tag.
fn after_keepalived(w: &World) -> Result<()> {
    let old = Keepalived::run(&w.one, &[with_vmac(keepalived(), 100)])?;
    w.node1_is_master()?;
    old.kill_tree();
    old.wait_exit(secs(2))?;
    ensure!(has(&w.one, DEVICE), "keepalived left nothing");
    let start = Instant::now();
    let one = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    one.wait_log(words::BACKUP, secs(2))?;
    one.wait_log(words::MASTER, ELECTION)?;
    let wait = "an announcement";
    w.capture.wait(wait, start, secs(2), |s| s.announces(v4(VIP).into()) && s.mac == VMAC)?;
    ensure!(one.log().grep("somebody else").is_empty(), "its address is in the way");
    one.terminate();
    one.wait_exit(secs(9))?;
    ensure!(!has(&w.one, DEVICE), "{DEVICE} was not removed");
    Ok(())
}

/// In a container, eth0 may be a macvlan itself.
fn on_a_macvlan(w: &World) -> Result<()> {
    for (node, last) in [(&w.one, 116), (&w.two, 117)] {
        node.ip(&format!(
            "addr flush dev eth0\nlink set eth0 name wire0\nlink set wire0 up\n\
             link add link wire0 name eth0 type macvlan mode bridge\nlink set eth0 up\n\
             addr add 192.168.30.{last}/24 dev eth0"
        ))?;
    }
    for node in [&w.one, &w.two] {
        // It is another host's, really.
        node.sysctl("net.ipv4.conf.wire0.arp_ignore", "8")?;
    }
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    let (two, _) = w.run_vmac(vipd(), &w.two, 99)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    w.is_known_by(VIP, &w.one, VMAC)?;
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    w.is_known_by(VIP, &w.two, VMAC)?;
    at_peace(&[&one, &two])
}

fn resumes(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    let two = Vipd::run(&w.two, None, &[with_vmac(vipd(), 99)])?;
    w.node1_is_master()?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let killed = Instant::now();
    one.kill_tree();
    one.wait_exit(secs(2))?;
    let again = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    again.wait_log("resumed", secs(2))?;
    w.capture.wait_advert("node1", VRID, killed + secs(4), secs(6))?;
    w.holds(VIP, "node1")?;
    ensure!(w.watcher.longest_gap(VIP, killed) < w.bound(ms(300), killed), "{VIP} was gone");
    ensure!(
        w.capture.all(killed, |s| s.node == "node2" && s.advert(VRID).is_some()).is_empty(),
        "node2 took over"
    );
    at_peace(&[&again, &two])
}

fn made_again(w: &World) -> Result<()> {
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    for script in ["link del vrrp.51", "link set vrrp.51 down", "addr flush dev vrrp.51"] {
        let start = Instant::now();
        w.one.ip(script)?;
        w.capture
            .wait("an announcement", start, secs(2), |s| s.announces(v4(VIP).into()) && s.mac == VMAC)?;
        w.watcher.wait_holder(VIP, "node1", secs(2))?;
        client.wait_answer_by("node1", secs(3))?;
    }
    ensure!(one.log().grep(words::BACKUP).len() == 1, "it gave way");
    w.is_known_by(VIP, &w.one, VMAC)
}

fn parent_comes_back(w: &World) -> Result<()> {
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    let mark = one.log().mark();
    w.one.ip("link del eth0")?;
    one.log().wait_from(mark, "Entering FAULT STATE", secs(3))?;
    ensure!(!has(&w.one, DEVICE), "{DEVICE} without a parent");
    w.one.plug()?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(has(&w.one, DEVICE), "{DEVICE} was not made again");
    let noise = one.log().grep("cannot set up the VMAC");
    ensure!(noise.is_empty(), "{}", noise[0].text);
    Ok(())
}

fn name_taken(w: &World) -> Result<()> {
    w.one.ip("link add vrrp.51 type bridge")?;
    let one = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    one.wait_log("cannot create the VMAC interface vrrp.51: an interface of that name exists", secs(3))?;
    one.wait_log("Now in FAULT state: the virtual MAC cannot be had", secs(3))?;
    w.one.ip("link del vrrp.51")?;
    w.node1_is_master()?;
    ensure!(one.log().grep("cannot create").len() == 1, "said more than once");
    // A macvlan with the right MAC on the wrong parent is somebody else's, too.
    one.terminate();
    one.wait_exit(secs(5))?;
    w.one.ip(
        "link add br9 type bridge\nlink add link br9 name vrrp.51 address 00:00:5e:00:01:33 type macvlan",
    )?;
    let one = Vipd::run(&w.one, None, &[with_vmac(vipd(), 100)])?;
    one.wait_log("cannot create the VMAC interface vrrp.51", secs(3))?;
    ensure!(has(&w.one, DEVICE), "somebody else's interface was removed");
    Ok(())
}

fn xmit_base(w: &World) -> Result<()> {
    let extra = "use_vmac = yes\nvmac_xmit_base = yes";
    let (one, _) = w.run_vmac((extra, Kind::Vipd), &w.one, 100)?;
    let (two, _haproxy) = w.run_vmac((" use_vmac\n vmac_xmit_base", Kind::Keepalived), &w.two, 99)?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    w.is_known_by(VIP, &w.one, VMAC)?;
    let wrong =
        w.capture.all(w.born, |s| s.node == "node1" && s.advert(VRID).is_some() && s.mac != w.one.mac());
    ensure!(wrong.is_empty(), "{}", wrong[0]);
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    at_peace(&[&one, &two])
}

fn strict_rp_filter(w: &World) -> Result<()> {
    for key in ["all", "default", "eth0"] {
        w.one.sysctl(&format!("net.ipv4.conf.{key}.rp_filter"), "1")?;
    }
    let (one, _) = w.run_vmac(vipd(), &w.one, 100)?;
    w.node1_is_master()?;
    w.client()?.wait_answer_by("node1", secs(3))?;
    w.is_known_by(VIP, &w.one, VMAC)?;
    at_peace(&[&one])
}

// ---------------------------------------------------------------------------------- IPv6

const GLOBAL: &str = "2001:db8:30::230";

fn six(priority: u8) -> Router {
    let mut router = Router::new(VRID, priority, "fe80::230").v3().with("use_vmac = yes");
    router.vips.push(format!("{GLOBAL}/64"));
    router
}

fn v6_moves(w: &World) -> Result<()> {
    for (node, last) in [(&w.one, 116), (&w.two, 117), (&w.client, 10)] {
        node.ip(&format!("addr add 2001:db8:30::{last}/64 dev eth0 nodad"))?;
    }
    let cfg1 = haproxy_cfg(&w.one, &format!("[{GLOBAL}]:5000"))?;
    let cfg2 = haproxy_cfg(&w.two, &format!("[{GLOBAL}]:5000"))?;
    let one = Vipd::run(&w.one, Some(&cfg1), &[six(100)])?;
    let two = Vipd::run(&w.two, Some(&cfg2), &[six(99)])?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    let client = Client::start_with(&w.client, &format!("[{GLOBAL}]:5000"), ms(10), secs(5))?;
    client.wait_answer_by("node1", secs(3))?;
    w.is_known_by(GLOBAL, &w.one, VMAC_V6)?;
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    ensure!(!has(&w.one, "vrrp6.51"), "vrrp6.51 was not removed");
    w.is_known_by(GLOBAL, &w.two, VMAC_V6)?;
    let one = Vipd::run(&w.one, Some(&cfg1), &[six(100)])?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    client.wait_answer_by("node1", secs(5))?;
    // Its reports would come within a second and a half.
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(2), secs(4))?;
    two.terminate();
    two.wait_exit(secs(9))?;
    w.only_masters_use(VMAC_V6, &[&w.one, &w.two])?;
    at_peace(&[&one, &two])
}

fn v6_masters_meet(w: &World) -> Result<()> {
    w.lan.partition(&[&w.one, &w.two])?;
    let one = Vipd::run(&w.one, None, &[six(100)])?;
    let two = Vipd::run(&w.two, None, &[six(99)])?;
    w.watcher.wait_holders(GLOBAL, &["node1", "node2"], ELECTION)?;
    w.lan.heal(&[&w.one, &w.two])?;
    w.watcher.wait_holder(GLOBAL, "node1", secs(3))?;
    let healed = Instant::now();
    w.capture.wait_advert("node1", VRID, healed + secs(4), secs(6))?;
    let sent = w.capture.all(healed, |s| s.node == "node2" && s.mac == VMAC_V6);
    ensure!(sent.is_empty(), "node2 uses the MAC: {}", sent[0]);
    at_peace(&[&one, &two])
}

/// 100 of them move together, and are left neither behind nor without an address.
fn many(w: &World) -> Result<()> {
    const N: u8 = 100;
    let vip = |n: u8| format!("10.1.0.{n}");
    let routers = |priority| -> Vec<Router> {
        (1..=N).map(|n| Router::new(n, priority, &vip(n)).with("use_vmac = yes")).collect()
    };
    let settled = |node: &str| -> Result<()> {
        (1..=N).try_for_each(|n| w.watcher.wait_holder(&vip(n), node, ELECTION).map(drop))
    };
    let one = Vipd::run(&w.one, None, &routers(100))?;
    settled("node1")?;
    let two = Vipd::run(&w.two, None, &routers(99))?;
    two.wait_log("VI_100) Entering BACKUP", secs(5))?;
    // How long the master's advert was there before its announcement.
    for n in 1..=N {
        let advert = w.capture.wait_advert("node1", n, w.born, secs(1))?;
        let mac = [0, 0, 0x5e, 0, 1, n];
        let announced =
            w.capture.wait("it", advert.at, secs(1), |s| s.mac == mac && s.announces(v4(&vip(n)).into()))?;
        let took = announced.at - advert.at;
        ensure!(
            took < w.bound_to(ms(500), advert.at, announced.at),
            "VRID {n} was announced {took:?} after its advert"
        );
    }
    one.terminate();
    settled("node2")?;
    ensure!(one.wait_exit(secs(10))?.success(), "the stop was not clean");
    let left = |node: &Node, flag: &str| -> Result<usize> {
        let out = node.output(Command::new("ip").args(["-o", "link", "show", "type", "macvlan"]))?;
        Ok(String::from_utf8_lossy(&out.stdout).lines().filter(|l| l.contains(flag)).count())
    };
    ensure!(left(&w.one, "")? == 0, "{} macvlans are left", left(&w.one, "")?);
    let one = Vipd::run(&w.one, None, &routers(100))?;
    settled("node1")?;
    // They go down one at a time. Both nodes share one kernel here, and its lock (RTNL): the new master may
    // stall on it, give some up, and take them again.
    let deadline = Instant::now() + secs(15);
    loop {
        let (ups, backups) = (left(&w.one, ",UP")?, left(&w.two, ",UP")?);
        if (ups, backups) == (usize::from(N), 0) {
            break;
        }
        ensure!(Instant::now() < deadline, "{ups} macvlans of the master are up, {backups} of the backup");
        std::thread::sleep(ms(50));
    }
    at_peace(&[&one, &two])
}

/// The kernel of a killed vipd removes its addresses of IPv6 and reports that (MLD): not with the successor's
/// MAC.
fn v6_killed(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[six(100)])?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    let _two = Vipd::run(&w.two, None, &[six(99)])?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(1), secs(4))?;
    one.kill_tree();
    let killed = Instant::now();
    w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
    let first = w.capture.wait_advert("node2", VRID, killed, secs(4))?;
    w.capture.wait_advert("node2", VRID, Instant::now() + secs(2), secs(4))?;
    let sent = w.capture.all(killed + ms(50), |s| s.node == "node1" && s.mac == VMAC_V6);
    ensure!(sent.iter().all(|s| s.at < first.at), "after the takeover: {}", sent[sent.len() - 1]);
    w.watcher.no_overlap(GLOBAL, Duration::ZERO)
}
