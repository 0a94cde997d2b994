//! The end of a partition: two were masters, and the right one is the first to advertise. The client has been
//! told last by the wrong one, which falls silent at once.

use super::*;
use Kind::{Keepalived as K, Vipd as V};

pub const TESTS: &[(&str, Test)] = &[
    ("a_healed_partition_is_announced", |w| announced(w, V, V, VIP)),
    ("a_healed_partition_is_announced_to_keepalived", |w| announced(w, K, V, VIP)),
    ("a_healed_partition_is_announced_by_keepalived", |w| announced(w, V, K, VIP)),
    ("a_healed_partition_is_announced_v6", |w| announced(w, V, V, VIP6)),
    ("a_healed_partition_is_announced_to_keepalived_v6", |w| announced(w, K, V, VIP6)),
    ("a_mended_cable_waits_for_no_neighbour", unanswered),
    ("a_port_of_a_bridge_is_no_second_master", port),
    ("memberships_that_were_lost_unseen_are_joined_again", unseen),
];

const VIP6: &str = "2001:db8:30::230";

/// A bridge takes all that arrives at its ports: a backup there would hear no master, and a master there
/// would answer nobody.
fn port(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[router(90)])?;
    two.wait_log(words::BACKUP, secs(2))?;
    let why = "Now in FAULT state: interface is a port of a bridge or a bond";
    let enslave =
        |node: &Node| node.ip("link add br0 type bridge\nlink set br0 up\nlink set eth0 master br0");
    enslave(&w.two)?;
    two.wait_log(why, secs(2))?;
    let mark = two.log().mark();
    // Longer than it would wait for a master.
    std::thread::sleep(secs(4));
    ensure!(two.log().grep(words::MASTER).is_empty(), "a second master");
    let out = String::from_utf8_lossy(&two.cli(&["status"])?.stdout).into_owned();
    ensure!(out.contains("set `interface` to the bridge or the bond"), "{out}");
    w.two.ip("link set eth0 nomaster")?;
    two.log().wait_from(mark, "Entering BACKUP STATE (started)", secs(2))?;
    // Until the backup knows its master, priority 0 shortens nothing.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let mark = one.log().mark();
    enslave(&w.one)?;
    one.log().wait_from(mark, why, secs(2))?;
    // It sends still: priority 0, which nobody has to wait for.
    two.wait_log(words::MASTER, secs(2))?;
    w.holds(VIP, "node2")
}

/// A packet that is sent without a carrier leaves an entry of the client that the kernel asks for once a
/// second. What follows the mending does not wait for that.
fn unanswered(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[quick(100)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    let socket = w.one.enter(|| std::net::UdpSocket::bind("0.0.0.0:0"))?;
    let client = w.client.addr();
    let entry = || {
        let out = w.one.output(std::process::Command::new("ip").args(["neigh", "show", &client.to_string()]));
        out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
    };
    let mark = one.log().mark();
    w.one.cut()?;
    one.log().wait_from(mark, "eth0 down", secs(2))?;
    socket.send_to(b"x", (client, 9))?;
    let asked = Instant::now();
    ensure!(entry().contains("INCOMPLETE"), "the kernel does not ask: {:?}", entry());
    // It asks again after 1.02 s and 2.05 s.
    std::thread::sleep((asked + ms(1100)).saturating_duration_since(Instant::now()));
    w.one.mend()?;
    let mended = Instant::now();
    life::wait_until("the client to answer", ms(400), || {
        let _ = socket.send_to(b"x", (client, 9));
        entry().contains("lladdr")
    })?;
    println!("the client answered {:?} after the mending", mended.elapsed());
    Ok(())
}

fn start(w: &World, kind: Kind, node: &Node, vip: &str, priority: u8) -> Result<(Daemon, Option<Haproxy>)> {
    if vip == VIP {
        return w.with_haproxy(kind, node, router(priority).with(told(kind)));
    }
    let mut router = Router::new(VRID, priority, "fe80::230").v3().with(told(kind));
    router.vips.push(format!("{VIP6}/64"));
    let cfg = haproxy_cfg(node, "[::]:5000 v4v6")?;
    Ok(match kind {
        V => (Daemon::Vipd(Vipd::run(node, Some(&cfg), &[router])?), None),
        K => (Daemon::start(kind, node, &[router])?, Some(Haproxy::start(node, &cfg)?)),
    })
}

/// keepalived says its last word only if it is told to.
fn told(kind: Kind) -> &'static str {
    if kind == K { " higher_prio_send_advert true" } else { "" }
}

fn announced(w: &World, right: Kind, wrong: Kind, vip: &str) -> Result<()> {
    for (node, n) in [(&w.one, 116), (&w.two, 117), (&w.client, 10)] {
        node.ip(&format!("addr add 2001:db8:30::{n}/64 dev eth0 nodad"))?;
    }
    let one = start(w, right, &w.one, vip, 150)?;
    w.watcher.wait_holder(vip, "node1", ELECTION)?;
    let service = if vip == VIP { SERVICE.to_owned() } else { format!("[{vip}]:5000") };
    let client = Client::start_with(&w.client, &service, ms(10), secs(5))?;
    client.wait_answer_by("node1", secs(2))?;
    // vipd's grid begins with its start, keepalived's with its mastership, 0.6 s after an advert that never
    // came.
    let grid = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?.at;
    std::thread::sleep((grid + ms(600)).saturating_duration_since(Instant::now()));
    let two = start(w, wrong, &w.two, vip, 100)?;
    two.0.wait_log(words::BACKUP, secs(5))?;
    w.lan.partition(&[&w.one, &w.two])?;
    two.0.wait_log(words::MASTER, ELECTION)?;
    client.wait_answer_by("node2", secs(2))?;
    // The last announcement that either has planned is the second burst of node2.
    std::thread::sleep(secs(6));
    ensure!(client.wait_answer(secs(2))? == "node2", "the client has changed its mind");
    let last = w.capture.wait_advert("node2", VRID, Instant::now(), secs(2))?.at;
    w.lan.heal(&[&w.one, &w.two])?;
    let first = w.capture.wait_advert("node1", VRID, last, secs(2))?.at;
    let asked = client.wait_answer_by("node1", secs(2));
    let word = w.capture.all(last, |s| s.node == "node2" && s.advert(VRID).is_some());
    let took =
        asked.map_err(|e| Error(format!("{e}; node2 said {word:?}")))?.saturating_duration_since(first);
    w.watcher.wait_holders(vip, &["node1"], secs(1))?;
    let report = client.report(last, Instant::now())?;
    println!("{right:?} and {wrong:?}, {vip}: the client asks the right one after {took:.1?}: {report}");
    ensure!(took < w.bound(ms(300), last), "the client asked the wrong one for {took:?}");
    // A node whose lease could not be renewed in time advertises once more: then their turns are not as they
    // were.
    let late = |daemon: &Daemon| !daemon.log().grep("a lease was renewed too late").is_empty();
    if late(&one.0) || late(&two.0) {
        return Ok(());
    }
    let gap = w.watcher.longest_gap(vip, last);
    ensure!(gap.is_zero(), "nobody held it for {gap:?}");
    let after = w.capture.all(first, |s| s.node == "node2" && s.advert(VRID).is_some());
    ensure!(after.len() == 1, "one advert of node2, not {after:?}");
    ensure!(
        after[0].at - first < w.bound_to(ms(200), first, after[0].at),
        "it comes late: {:?}",
        after[0].at - first
    );
    Ok(())
}

/// The kernel takes the memberships of IPv6 away while so much else happens that its message of that is lost;
/// the addresses are back before anybody looks. A backup that stayed deaf would become a second master.
fn unseen(w: &World) -> Result<()> {
    let six = |priority| {
        let mut six = Router::new(VRID, priority, "fe80::230").v3().advert_int("0.5");
        six.vips.push(format!("{VIP6}/64"));
        six
    };
    let _one = Vipd::run(&w.one, None, &[six(100)])?;
    w.watcher.wait_holder(VIP6, "node1", ELECTION)?;
    let two = Vipd::run(&w.two, None, &[six(50)])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    w.two.ip("link add d0 type veth peer name d1\nlink set d0 up")?;
    let flood: String =
        (0..3000).map(|i| format!("addr add 10.8.{}.{}/32 dev d0\n", i / 250, i % 250)).collect();
    two.stop();
    w.two.ip(&flood)?;
    w.two.ip("link set eth0 mtu 1000\nlink set eth0 mtu 1500")?;
    let there = || {
        let show = ["-6", "addr", "show", "dev", "eth0", "scope", "link", "-tentative"];
        let out = w.two.output(std::process::Command::new("ip").args(show));
        out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("fe80"))
    };
    life::wait_until("an address", secs(5), there)?;
    let mark = two.log().mark();
    two.cont();
    two.log().wait_from(mark, "netlink: messages were lost", secs(5))?;
    std::thread::sleep(secs(4));
    ensure!(two.log().grep(words::MASTER).is_empty(), "it was deaf");
    w.holds(VIP6, "node1")
}
