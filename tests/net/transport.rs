//! How adverts travel: authentication header, unicast, and who is listened to. Against keepalived in both
//! roles.

use super::*;
use std::net::{IpAddr, Ipv6Addr};

pub const TESTS: &[(&str, Test)] = &[
    ("ah_over_keepalived", |w| pair(w, Kind::Vipd, Kind::Keepalived, ah)),
    ("ah_under_keepalived", |w| pair(w, Kind::Keepalived, Kind::Vipd, ah)),
    ("ah_between_two", |w| pair(w, Kind::Vipd, Kind::Vipd, ah)),
    ("ah_unicast_over_keepalived", |w| pair(w, Kind::Vipd, Kind::Keepalived, ah_unicast)),
    ("ah_unicast_under_keepalived", |w| pair(w, Kind::Keepalived, Kind::Vipd, ah_unicast)),
    ("unicast_over_keepalived", |w| pair(w, Kind::Vipd, Kind::Keepalived, unicast)),
    ("unicast_under_keepalived", |w| pair(w, Kind::Keepalived, Kind::Vipd, unicast)),
    ("unicast_v3_over_keepalived", |w| pair(w, Kind::Vipd, Kind::Keepalived, unicast_v3)),
    ("unicast_v3_under_keepalived", |w| pair(w, Kind::Keepalived, Kind::Vipd, unicast_v3)),
    ("unicast_v6_over_keepalived", |w| unicast_v6(w, Kind::Vipd, Kind::Keepalived)),
    ("unicast_v6_under_keepalived", |w| unicast_v6(w, Kind::Keepalived, Kind::Vipd)),
    ("unicast_v6_names_a_wrong_hop_limit", unicast_v6_hop_limit),
    ("v6_bears_a_global_address_first", global_first),
    ("ah_survives_kill_9_of_the_master", |w| ah_kill(w, Kind::Vipd, Kind::Keepalived)),
    ("ah_survives_kill_9_beside_vipd", |w| ah_kill(w, Kind::Vipd, Kind::Vipd)),
    ("ah_survives_kill_9_of_keepalived", |w| ah_kill(w, Kind::Keepalived, Kind::Vipd)),
    ("ah_survives_kill_9_of_the_backup", |w| ah_kill_backup(w, Kind::Keepalived, Kind::Vipd)),
    ("ah_survives_kill_9_of_the_keepalived_backup", |w| ah_kill_backup(w, Kind::Vipd, Kind::Keepalived)),
    ("ah_takes_up_a_keepalived_that_forgot", ah_forgetful_keepalived),
    ("ah_meets_after_a_partition", |w| ah_partition(w, Kind::Vipd, Kind::Keepalived)),
    ("ah_meets_keepalived_after_a_partition", |w| ah_partition(w, Kind::Keepalived, Kind::Vipd)),
    ("ah_refuses_replays", ah_replays),
    ("waits_for_its_source_address", waits_for_source),
    ("hears_allowed_peers_only", allowed_peers),
    ("hears_unicast_peers_only", unicast_strangers),
    ("a_lost_peer_does_not_silence_the_rest", lost_peer),
    ("names_a_foreign_ah", foreign_ah),
];

/// A virtual router of `node` beside `peer`.
type Make = fn(&Node, &Node, u8) -> Router;

fn ah(_: &Node, _: &Node, priority: u8) -> Router {
    router(priority).ah()
}

fn ah_unicast(node: &Node, peer: &Node, priority: u8) -> Router {
    unicast(node, peer, priority).ah()
}

fn unicast(node: &Node, peer: &Node, priority: u8) -> Router {
    router(priority).unicast(node, &[peer])
}

fn unicast_v3(node: &Node, peer: &Node, priority: u8) -> Router {
    unicast(node, peer, priority).v3()
}

/// node1 is master and serves, node2 is not; node1 leaves and comes back.
fn pair(w: &World, high: Kind, low: Kind, make: Make) -> Result<()> {
    let high_router = || make(&w.one, &w.two, 100);
    let (two, _haproxy2) = w.with_haproxy(low, &w.two, make(&w.two, &w.one, 99))?;
    let (one, haproxy1) = w.with_haproxy(high, &w.one, high_router())?;
    one.wait_log(words::MASTER, secs(10))?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let start = Instant::now();
    for i in 1..=4 {
        let seen = w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
        let Some(advert) = seen.advert(VRID) else { fail!("no advert") };
        ensure!(advert.ttl == 255 && advert.src == w.one.addr(), "{advert:?}");
        let unicast = high_router().unicast.is_some();
        ensure!(unicast == (advert.dst == IpAddr::from(w.two.addr())), "sent to {}", advert.dst);
        ensure!(advert.sequence.is_some() == high_router().ah, "{advert:?}");
    }
    let of_two = w.capture.all(start, |s| s.node == "node2" && s.advert(VRID).is_some());
    ensure!(of_two.is_empty(), "node2 advertised: {}", of_two[0]);
    w.holds(VIP, "node1")?;
    at_peace(&[&one, &two])?;

    one.terminate();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    client.wait_answer_by("node2", secs(5))?;
    one.wait_exit(secs(9))?;
    drop((one, haproxy1));
    let (one, _haproxy1) = w.with_haproxy(high, &w.one, high_router())?;
    w.watcher.wait_holder(VIP, "node1", ELECTION + secs(5))?;
    client.wait_answer_by("node1", secs(5))?;
    two.log().wait_from(0, words::BACKUP, secs(1))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(1), secs(4))?;
    // A planned move overlaps by what the successor takes to announce.
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&one, &two])
}

const VIP6: &str = "fe80::230";

fn addr6(n: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x30, 0, 0, 0, 0, n).into()
}

/// keepalived leaves IPv6 unicast the kernel's hop limit of 64 unless it is told.
fn router6(kind: Kind, own: u16, peer: u16, priority: u8) -> Router {
    let router = Router::new(VRID, priority, VIP6).v3().unicast_between(addr6(own), &[addr6(peer)]);
    if kind == Kind::Keepalived { router.with(" unicast_ttl 255") } else { router }
}

fn addressed6(w: &World) -> Result<()> {
    for (node, n) in [(&w.one, 1), (&w.two, 2)] {
        node.ip(&format!("addr add {}/64 dev eth0 nodad", addr6(n)))?;
    }
    Ok(())
}

fn unicast_v6(w: &World, high: Kind, low: Kind) -> Result<()> {
    addressed6(w)?;
    let two = Daemon::start(low, &w.two, &[router6(low, 2, 1, 99)])?;
    let one = Daemon::start(high, &w.one, &[router6(high, 1, 2, 100)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    w.watcher.wait_holder(VIP6, "node1", ELECTION)?;
    let start = Instant::now();
    for i in 1..=4 {
        let seen = w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
        let Some(advert) = seen.advert(VRID) else { fail!("no advert") };
        ensure!((advert.src, advert.dst, advert.ttl) == (addr6(1), addr6(2), 255), "{advert:?}");
    }
    w.holds(VIP6, "node1")?;
    at_peace(&[&one, &two])?;
    one.terminate();
    w.watcher.wait_holder(VIP6, "node2", ELECTION)?;
    one.wait_exit(secs(9))?;
    let one = Daemon::start(high, &w.one, &[router6(high, 1, 2, 100)])?;
    w.watcher.wait_holder(VIP6, "node1", ELECTION + secs(5))?;
    w.watcher.no_overlap(VIP6, ms(300))?;
    at_peace(&[&one, &two])
}

fn unicast_v6_hop_limit(w: &World) -> Result<()> {
    addressed6(w)?;
    let one = Vipd::run(&w.one, None, &[router6(Kind::Vipd, 1, 2, 100)])?;
    let _two = Keepalived::run(&w.two, &[router6(Kind::Vipd, 2, 1, 200)])?;
    one.wait_log(&format!("(ttl, from {}: not 255", addr6(2)), ELECTION)?;
    Ok(())
}

/// keepalived does not mind which address is the first; to refuse it would make two masters.
fn global_first(w: &World) -> Result<()> {
    let lists = |first: &str, second: &str, priority| {
        let mut router = Router::new(VRID, priority, first).v3();
        router.vips.push(second.to_owned());
        router
    };
    const GLOBAL: &str = "2001:db8:30::230";
    let one = Keepalived::run(&w.one, &[lists(GLOBAL, VIP6, 200)])?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    let two = Vipd::run(&w.two, None, &[lists(VIP6, GLOBAL, 100)])?;
    two.wait_log("is not link-local", secs(3))?;
    let start = Instant::now();
    for i in 1..=5 {
        w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
    }
    w.holds(GLOBAL, "node1")?;
    ensure!(two.log().grep("is not link-local").len() == 1, "said again and again");
    let text = String::from_utf8_lossy(&two.cli(&["status"])?.stdout).into_owned();
    ensure!(text.contains("first_not_link_local "), "not counted: {text}");
    // It believes ours as well.
    one.terminate();
    w.watcher.wait_holder(GLOBAL, "node2", ELECTION)?;
    one.wait_exit(secs(5))?;
    let one = Keepalived::run(&w.one, &[lists(GLOBAL, VIP6, 50)])?;
    one.wait_log(words::BACKUP, secs(3))?;
    let start = Instant::now();
    w.capture.wait_advert("node2", VRID, start + secs(5), secs(8))?;
    w.holds(GLOBAL, "node2")?;
    Ok(())
}

/// From `since` on: node1 master, node2 silent, nobody else holds the address.
fn steady(w: &World, master: &str, other: &str, since: Instant) -> Result<()> {
    for i in 1..=5 {
        w.capture.wait_advert(master, VRID, since + secs(i - 1), secs(3))?;
    }
    let wrong = w.capture.all(since, |s| s.node == other && s.advert(VRID).is_some());
    ensure!(wrong.is_empty(), "{other} advertised: {}", wrong[0]);
    w.holds(VIP, master)?;
    Ok(())
}

/// The master is killed and started again: at once, and after the backup has taken over.
fn ah_kill(w: &World, master: Kind, backup: Kind) -> Result<()> {
    let mut one = Daemon::start(master, &w.one, &[ah(&w.one, &w.two, 100)])?;
    w.node1_is_master()?;
    let two = Daemon::start(backup, &w.two, &[ah(&w.two, &w.one, 99)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    for late in [false, true] {
        // The numbers are not small any more.
        w.capture.wait_advert("node1", VRID, Instant::now() + secs(2), secs(5))?;
        one.kill_tree();
        one.wait_exit(secs(2))?;
        if late {
            two.log().wait_from(two.log().mark(), words::MASTER, ELECTION)?;
            w.capture.wait_advert("node2", VRID, Instant::now() + secs(1), secs(4))?;
        }
        let again = Instant::now();
        one = Daemon::start(master, &w.one, &[ah(&w.one, &w.two, 100)])?;
        one.wait_log(words::MASTER, ELECTION)?;
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
        steady(w, "node1", "node2", Instant::now() + secs(1))?;
        // What keepalived left behind when it was killed is its own affair, until it runs again.
        for (from, to, who) in w.watcher.overlaps(VIP) {
            let from = from.max(again + ms(500));
            ensure!(
                to.saturating_duration_since(from) < w.bound_to(ms(300), from, to),
                "{who:?} held {VIP} for {:?}",
                to - from
            );
        }
    }
    at_peace(&[&one, &two])
}

/// The backup is killed and started again: the master does not notice, and the backup is believed afterwards.
fn ah_kill_backup(w: &World, master: Kind, backup: Kind) -> Result<()> {
    let one = Daemon::start(master, &w.one, &[ah(&w.one, &w.two, 100)])?;
    w.node1_is_master()?;
    let router = || [ah(&w.two, &w.one, 99)];
    let two = Daemon::start(backup, &w.two, &router())?;
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(2), secs(5))?;
    two.kill_tree();
    two.wait_exit(secs(2))?;
    let start = Instant::now();
    let two = Daemon::start(backup, &w.two, &router())?;
    steady(w, "node1", "node2", start)?;
    one.terminate();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_exit(secs(9))?;
    let one = Daemon::start(master, &w.one, &[ah(&w.one, &w.two, 100)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    steady(w, "node1", "node2", Instant::now() + secs(1))?;
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&one, &two])
}

/// A keepalived of high priority that is started again so quickly that it is master before the backup has
/// missed it begins with 1. That is refused, until our own advert tells it where the counter is: two
/// masters for the time that keepalived takes to answer it.
fn ah_forgetful_keepalived(w: &World) -> Result<()> {
    let one = || Keepalived::run(&w.one, &[ah(&w.one, &w.two, 254)]);
    let first = one()?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[ah(&w.two, &w.one, 1)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(4), secs(7))?;
    first.kill_tree();
    first.wait_exit(secs(2))?;
    let start = Instant::now();
    let _again = one()?;
    let low = w.capture.wait_advert("node1", VRID, start + secs(2), secs(6))?;
    ensure!(low.advert(VRID).and_then(|a| a.sequence) == Some(1), "it did not forget: {low}");
    two.wait_log("already processed", secs(3))?;
    let high = w.capture.wait("a higher number", low.at, secs(5), |s| {
        s.node == "node1" && s.advert(VRID).and_then(|a| a.sequence).is_some_and(|n| n > 3)
    })?;
    steady(w, "node1", "node2", high.at + ms(500))?;
    let both =
        w.watcher.overlaps(VIP).iter().filter(|(from, ..)| *from >= start).map(|(a, b, _)| *b - *a).max();
    println!("two holders for {:?}", both.unwrap_or_default());
    ensure!(both.is_none_or(|d| d < w.bound(ms(300), start)), "two holders for {both:?}");
    Ok(())
}

/// Two masters that were apart: their counters are not the same, and they agree all the same, at once.
fn ah_partition(w: &World, high: Kind, low: Kind) -> Result<()> {
    let one = Daemon::start(high, &w.one, &[ah(&w.one, &w.two, 100)])?;
    w.node1_is_master()?;
    for first in ["node1", "node2"] {
        let two = Daemon::start(low, &w.two, &[ah(&w.two, &w.one, 99)])?;
        two.wait_log(words::BACKUP, secs(3))?;
        w.capture.wait_advert("node1", VRID, Instant::now() + secs(1), secs(4))?;
        w.lan.partition(&[&w.one, &w.two])?;
        w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
        // Adverts of a lower priority make the answering side count faster: either may be ahead.
        if first == "node2" {
            w.capture.wait_advert("node2", VRID, Instant::now() + secs(2), secs(5))?;
        }
        w.lan.heal(&[&w.one, &w.two])?;
        w.watcher.wait_holder(VIP, "node1", secs(4))?;
        steady(w, "node1", "node2", Instant::now() + ms(1500))?;
        two.terminate();
        two.wait_exit(secs(5))?;
    }
    ensure!(one.log().grep(words::MASTER).len() == 1, "node1 gave up");
    Ok(())
}

/// All that a dead master ever sent, again: nobody believes that it lives.
fn ah_replays(w: &World) -> Result<()> {
    let start = Instant::now();
    let one = Daemon::start(Kind::Keepalived, &w.one, &[ah(&w.one, &w.two, 200)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[ah(&w.two, &w.one, 100)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(3), secs(6))?;
    one.terminate(); // its priority 0 is recorded, too
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_exit(secs(5))?;
    let old = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some());
    ensure!(old.len() >= 4, "too few adverts were recorded");
    let (again, mark) = (Instant::now(), two.log().mark());
    for seen in &old {
        let Some(advert) = seen.advert(VRID) else { continue };
        w.client.inject_packet(&advert.packet)?;
        // And with another number: the ICV covers it.
        let mut bent = advert.packet.clone();
        bent[28] = 0x7f;
        w.client.inject_packet(&bent)?;
    }
    two.log().wait_from(mark, "already processed", secs(2))?;
    two.log().wait_from(mark, "invalid IPSEC HMAC-MD5 value", secs(2))?;
    steady(w, "node2", "node1", again)?;
    ensure!(two.log().grep(words::BACKUP).len() == 1, "node2 gave way to a recording");
    let text = String::from_utf8_lossy(&two.cli(&["status"])?.stdout).into_owned();
    ensure!(text.contains(&format!("auth_replay {}", old.len())), "not counted: {text}");
    ensure!(text.contains(&format!("auth_icv {}", old.len())), "not counted: {text}");
    for secret in ["1111", "Ah("] {
        ensure!(!text.contains(secret) && two.log().grep(secret).is_empty(), "a secret is told");
    }
    Ok(())
}

/// A source that the interface does not have is named as such, and is no fault once it is there.
fn waits_for_source(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100).with("mcast_src_ip = 192.168.30.118")])?;
    one.wait_log("Now in FAULT state: mcast_src_ip or unicast_src_ip is not on the interface", secs(2))?;
    w.one.ip("addr add 192.168.30.118/24 dev eth0")?;
    w.node1_is_master()?;
    let seen = w.capture.last_advert("node1", VRID, Instant::now())?;
    ensure!(seen.advert(VRID).is_some_and(|a| a.src == v4("192.168.30.118")), "{seen}");
    Ok(())
}

/// Multicast: a stranger with a higher priority is refused and named, a peer is not.
fn allowed_peers(w: &World) -> Result<()> {
    let ini = router(100).with(&format!("allowed_peers = {}", w.two.addr()));
    let one = Vipd::run(&w.one, None, &[ini])?;
    w.node1_is_master()?;
    let stranger = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    for _ in 0..3 {
        w.client.inject(w.client.addr(), 255, &stranger)?;
    }
    one.wait_log(&format!("from {}, which is not one of the peers", w.client.addr()), secs(2))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.holds(VIP, "node1")?;
    let _two = Keepalived::run(&w.two, &[router(200)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_log(words::BACKUP, secs(1))?;
    Ok(())
}

/// Unicast: neither a stranger nor a packet to another address of ours nor one to the group is heard.
fn unicast_strangers(w: &World) -> Result<()> {
    const OTHER: &str = "192.168.30.118";
    w.one.ip(&format!("addr add {OTHER}/24 dev eth0"))?;
    let one = Vipd::run(&w.one, None, &[unicast(&w.one, &w.two, 100)])?;
    w.node1_is_master()?;
    let packet = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    let (one_addr, two_addr) = (w.one.addr(), w.two.addr());
    w.client.inject_to(w.client.addr(), one_addr, 255, &packet)?;
    one.wait_log("which is not one of the peers", secs(2))?;
    w.two.inject_to(two_addr, one_addr, 254, &packet)?;
    one.log().wait_any(0, words::WRONG_TTL, secs(2))?;
    w.two.inject(two_addr, 255, &packet)?; // no group: the kernel drops it
    // To another address of ours, or to the VIP: in a frame to node1.
    for dst in [v4(OTHER), v4(VIP)] {
        let mut frame = w.one.mac().to_vec();
        frame.extend(w.two.mac());
        frame.extend([8, 0]);
        frame.extend(ip_packet(two_addr, dst, &packet));
        w.two.send_frame(&frame)?;
    }
    one.wait_log("by multicast instead of unicast", secs(2))?;
    steady(w, "node1", "node2", Instant::now())?;
    let text = String::from_utf8_lossy(&one.cli(&["status"])?.stdout).into_owned();
    for counter in ["unknown_peer 1", "destination 2", "ttl 1"] {
        ensure!(text.contains(counter), "no {counter} in {text}");
    }
    // A peer it is.
    w.two.inject_to(two_addr, one_addr, 255, &packet)?;
    one.wait_log(words::BACKUP, secs(2))?;
    Ok(())
}

fn ip_packet(src: Ipv4Addr, dst: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    vipd::wire::ipv4::header(&mut packet, src, dst, 1, 112, message.len() as u16);
    packet.extend(message);
    packet
}

/// A peer to which nothing can be sent is named; the other one goes on hearing us, and the lease goes on.
fn lost_peer(w: &World) -> Result<()> {
    let ini = |node: &Node| {
        router(100).unicast(node, &[&w.client, if node.name() == "node1" { &w.two } else { &w.one }])
    };
    let one = Vipd::run(&w.one, None, &[ini(&w.one)])?;
    w.node1_is_master()?;
    // A route cannot do it: the socket is bound to the interface, so the kernel takes everybody for a
    // neighbour.
    nft(&w.one, "add table ip t; add chain ip t out { type filter hook output priority 0; }")?;
    nft(&w.one, &format!("add rule ip t out ip daddr {} drop", w.client.addr()))?;
    one.wait_log(&format!("cannot send adverts to {}", w.client.addr()), secs(3))?;
    steady(w, "node1", "node2", Instant::now())?;
    ensure!(one.log().grep("cannot send adverts").len() == 1, "said again and again");
    let text = String::from_utf8_lossy(&one.cli(&["status"])?.stdout).into_owned();
    ensure!(text.contains(&format!("could not be sent to {}", w.client.addr())), "not in the status: {text}");
    // None can be reached: nothing is renewed, and the address goes before anybody else may take it.
    let cut = Instant::now();
    nft(&w.one, &format!("add rule ip t out ip daddr {} drop", w.two.addr()))?;
    let gone = w.watcher.wait_change(VIP, "node1", false, cut, secs(5))?;
    ensure!(gone - cut < w.bound_to(ms(3050), cut, gone), "{VIP} stayed for {:?}", gone - cut);
    Ok(())
}

pub fn nft(node: &Node, rules: &str) -> Result<()> {
    let done = node.output(std::process::Command::new("nft").arg(rules))?;
    ensure!(done.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Somebody with our VRID and an authentication header, where we have none: two masters, and we say why.
fn foreign_ah(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let _two = Keepalived::run(&w.two, &[ah(&w.two, &w.one, 99)])?;
    one.wait_log(&format!("from {} with another authentication type", w.two.addr()), ELECTION)?;
    Ok(())
}
