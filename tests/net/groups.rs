//! Sync groups: two nodes on two LANs, VI_1 on eth0 and VI_2 on eth1.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("group_follows_a_cut_cable", |w| follows_cut(w, Kind::Vipd, Kind::Vipd)),
    ("group_follows_a_cut_cable_over_keepalived", |w| follows_cut(w, Kind::Vipd, Kind::Keepalived)),
    ("group_follows_a_cut_cable_under_keepalived", |w| follows_cut(w, Kind::Keepalived, Kind::Vipd)),
    ("group_of_split_priorities", |w| split(w, Kind::Vipd, Kind::Vipd)),
    ("group_of_split_priorities_with_keepalived", |w| split(w, Kind::Vipd, Kind::Keepalived)),
    ("group_of_split_priorities_under_keepalived", |w| split(w, Kind::Keepalived, Kind::Vipd)),
    ("group_with_one_deaf_lan", |w| one_deaf_lan(w, Kind::Vipd)),
    ("group_with_one_deaf_lan_and_keepalived", |w| one_deaf_lan(w, Kind::Keepalived)),
    ("group_does_not_preempt_if_told", |w| no_preemption(w, Kind::Vipd)),
    ("group_does_not_preempt_keepalived_if_told", |w| no_preemption(w, Kind::Keepalived)),
    ("group_stops_gracefully", |w| stops(w, Kind::Vipd)),
    ("group_stops_gracefully_before_keepalived", |w| stops(w, Kind::Keepalived)),
    ("group_is_killed", |w| killed(w, Kind::Vipd)),
    ("group_is_killed_beside_keepalived", |w| killed(w, Kind::Keepalived)),
    ("group_resumes_after_a_crash", resumes),
    ("group_follows_haproxy_of_one_member", follows_haproxy),
];

const OTHER: &str = "192.168.31.230";

fn members([one, two]: [u8; 2]) -> [Router; 2] {
    let mut all = [Router::new(51, one, VIP_LEN), Router::new(51, two, "192.168.31.230/24")];
    all[1].interface = "eth1".to_owned();
    for (router, name) in all.iter_mut().zip(["VI_1", "VI_2"]) {
        router.name = name.to_owned();
    }
    all
}

const GROUP: &str = "[group VG_1]\nmembers = VI_1, VI_2\n";

fn start(kind: Kind, node: &Node, members: &[Router]) -> Result<Daemon> {
    Ok(match kind {
        Kind::Vipd => Daemon::Vipd(Vipd::start(node, &(Vipd::ini(node, None, members) + GROUP))?),
        Kind::Keepalived => {
            let group = "vrrp_sync_group VG_1 {\n group {\n  VI_1\n  VI_2\n }\n}\n";
            Daemon::Keepalived(Keepalived::start(node, &(Keepalived::conf(node, members) + group))?)
        }
    })
}

/// Waits until that node has both and nobody else has any.
fn both_on(w: &World, node: &str, timeout: Duration) -> Result<()> {
    let start = Instant::now();
    w.watcher.wait_holder(VIP, node, timeout)?;
    w.watcher.wait_holder(OTHER, node, timeout.saturating_sub(start.elapsed()))?;
    Ok(())
}

/// Waits until some node has both and nothing moves for a second.
fn settles(w: &World, timeout: Duration) -> Result<()> {
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        let before = moves(w);
        std::thread::sleep(secs(1));
        let (a, b) = (w.watcher.holder(VIP), w.watcher.holder(OTHER));
        if a.is_some() && a == b && moves(w) == before {
            return Ok(());
        }
    }
    fail!("no rest:\n{:?}\n{:?}", w.watcher.timeline(VIP), w.watcher.timeline(OTHER))
}

/// How often the addresses came to another node. One that is put back in an instant has not moved.
fn moves(w: &World) -> usize {
    let came = |vip: &str| -> usize {
        let mut nodes: Vec<String> =
            w.watcher.timeline(vip).into_iter().filter(|c| c.held).map(|c| c.node).collect();
        nodes.dedup();
        nodes.len()
    };
    came(VIP) + came(OTHER)
}

/// Nothing moves for that long.
fn rests(w: &World, d: Duration) -> Result<()> {
    let holders = [VIP, OTHER].map(|vip| (vip, w.watcher.holder(vip)));
    let before = moves(w);
    std::thread::sleep(d);
    let now = moves(w);
    for (vip, node) in holders {
        node.map_or(Ok(()), |node| w.holds(vip, &node))?;
    }
    ensure!(
        now == before,
        "{} changes in {d:?}:\n{:?}\n{:?}",
        now - before,
        w.watcher.timeline(VIP),
        w.watcher.timeline(OTHER)
    );
    Ok(())
}

fn no_overlap(w: &World, tolerated: Duration) -> Result<()> {
    w.watcher.no_overlap(VIP, tolerated)?;
    w.watcher.no_overlap(OTHER, tolerated)
}

fn follows_cut(w: &World, high: Kind, low: Kind) -> Result<()> {
    w.lan.second()?;
    let one = start(high, &w.one, &members([150, 150]))?;
    let two = start(low, &w.two, &members([100, 100]))?;
    both_on(w, "node1", ELECTION)?;
    w.one.cut2()?;
    both_on(w, "node2", ELECTION)?;
    rests(w, secs(2))?;
    w.one.mend2()?;
    both_on(w, "node1", ELECTION)?;
    w.one.cut()?;
    both_on(w, "node2", ELECTION)?;
    w.one.mend()?;
    both_on(w, "node1", ELECTION)?;
    // 1 + 4 moves, each of two addresses, and each but the first is a going and a coming.
    ensure!(moves(w) == 2 * (1 + 4), "{} changes", moves(w));
    no_overlap(w, ms(100))?;
    for (daemon, kind) in [(&one, high), (&two, low)] {
        if kind == Kind::Vipd {
            daemon.wait_log("VRRP_Group(VG_1) Syncing instances to MASTER state", secs(1))?;
            daemon.wait_log("VRRP_Group(VG_1) Transition to MASTER STATE", secs(1))?;
        }
    }
    if let Daemon::Vipd(vipd) = &one {
        vipd.wait_log("VRRP_Group(VG_1) Syncing instances to FAULT state", secs(1))?;
        let status = String::from_utf8_lossy(&vipd.cli(&["status"])?.stdout).into_owned();
        ensure!(status.contains("\nVG_1  MASTER: VI_1, VI_2\n"), "{status}");
    }
    at_peace(&[&one, &two])
}

/// Nobody enters a state for that long. (On a machine that is too busy a lease may end between two adverts,
/// which is another matter.)
fn steady(daemons: &[&Proc], d: Duration) -> Result<()> {
    let entered = || -> usize {
        daemons.iter().map(|p| p.log().grep(words::MASTER).len() + p.log().grep(words::BACKUP).len()).sum()
    };
    let before = entered();
    std::thread::sleep(d);
    let times = entered() - before;
    ensure!(times == 0, "{times} transitions in {d:?}");
    Ok(())
}

/// Each node is the better one on one LAN: whoever comes first has both, and keeps them.
fn split(w: &World, first: Kind, second: Kind) -> Result<()> {
    w.lan.second()?;
    let one = start(first, &w.one, &members([150, 100]))?;
    let two = start(second, &w.two, &members([100, 150]))?;
    // Started together, their first adverts may cross: then both give way once.
    settles(w, secs(12))?;
    steady(&[&one, &two], secs(20))?;
    // Both masters meet.
    let nodes = [&w.one, &w.two];
    w.lan.partition(&nodes)?;
    w.lan.partition2(&nodes)?;
    for vip in [VIP, OTHER] {
        w.watcher.wait_holders(vip, &["node1", "node2"], ELECTION)?;
    }
    w.lan.heal(&nodes)?;
    w.lan.heal2(&nodes)?;
    settles(w, secs(10))?;
    steady(&[&one, &two], secs(20))?;
    // When the cable is mended, a round of announcements may be heard before an advert.
    let surprised = words::COMPLAINTS.iter().filter(|c| **c != "another host");
    for (daemon, complaint) in [&one, &two].iter().flat_map(|d| surprised.clone().map(move |c| (d, c))) {
        ensure!(daemon.log().grep(complaint).is_empty(), "{complaint}: {:?}", daemon.log().grep(complaint));
    }
    Ok(())
}

/// They do not hear each other on the second LAN: what they hear on the first decides for both.
fn one_deaf_lan(w: &World, peer: Kind) -> Result<()> {
    w.lan.second()?;
    let one = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    let two = start(peer, &w.two, &members([100, 100]))?;
    both_on(w, "node1", ELECTION)?;
    let nodes = [&w.one, &w.two];
    w.lan.partition2(&nodes)?;
    rests(w, secs(10))?;
    w.lan.heal2(&nodes)?;
    rests(w, secs(5))?;
    at_peace(&[&one, &two])
}

fn no_preemption(w: &World, low: Kind) -> Result<()> {
    w.lan.second()?;
    let two = start(low, &w.two, &members([100, 100]))?;
    both_on(w, "node2", ELECTION)?;
    let one = start(Kind::Vipd, &w.one, &members([150, 150]).map(Router::no_preempt))?;
    one.wait_log(words::BACKUP, secs(2))?;
    rests(w, secs(8))?;
    two.terminate();
    both_on(w, "node1", secs(3))?;
    at_peace(&[&one, &two])
}

fn stops(w: &World, peer: Kind) -> Result<()> {
    w.lan.second()?;
    let one = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    let two = start(peer, &w.two, &members([100, 60]))?;
    both_on(w, "node1", ELECTION)?;
    two.wait_log(words::BACKUP, secs(1))?;
    let from = Instant::now();
    one.terminate();
    // The skew time of 60 is 766 ms.
    both_on(w, "node2", secs(3))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    for vip in [VIP, OTHER] {
        let gap = w.watcher.longest_gap(vip, from);
        ensure!(gap < w.bound(ms(100), from), "nobody had {vip} for {gap:?}");
    }
    ensure!(one.log().grep("sending 0 priority").len() == 2, "not told on both LANs");
    no_overlap(w, ms(300))?;
    rests(w, secs(4))?;
    at_peace(&[&one, &two])
}

fn killed(w: &World, peer: Kind) -> Result<()> {
    w.lan.second()?;
    let one = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    both_on(w, "node1", ELECTION)?;
    let two = start(peer, &w.two, &members([100, 100]))?;
    two.wait_log(words::BACKUP, secs(2))?;
    // A down timer that began with the start says nothing.
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(1), secs(3))?;
    one.kill();
    both_on(w, "node2", ELECTION)?;
    no_overlap(w, Duration::ZERO)?;
    rests(w, secs(3))
}

fn resumes(w: &World) -> Result<()> {
    w.lan.second()?;
    let one = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    both_on(w, "node1", ELECTION)?;
    let two = start(Kind::Vipd, &w.two, &members([100, 100]))?;
    two.wait_log(words::BACKUP, secs(2))?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    // All of it, though nothing has changed but the process.
    one.kill();
    one.wait_exit(secs(1))?;
    let again = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    again.wait_log("VRRP_Group(VG_1) Transition to MASTER STATE", secs(1))?;
    w.capture.wait_advert("node1", VRID, advert.at + secs(4), secs(6))?;
    ensure!(moves(w) == 2, "the addresses moved: {:?}", w.watcher.timeline(OTHER));
    // One of the two is gone: then neither is resumed.
    again.kill();
    again.wait_exit(secs(1))?;
    w.one.ip(&format!("addr del {OTHER}/32 dev eth1"))?;
    let once_more = start(Kind::Vipd, &w.one, &members([150, 150]))?;
    once_more.wait_log(words::BACKUP, secs(1))?;
    both_on(w, "node1", secs(12))?;
    no_overlap(w, ms(100))
}

/// There is one HAProxy: that a member does not track it makes no difference to the group.
fn follows_haproxy(w: &World) -> Result<()> {
    w.lan.second()?;
    let cfg = haproxy_cfg(&w.one, ":5000")?;
    let [first, second] = members([150, 150]);
    let routers = [first, second.with("track_haproxy = no")];
    let one = Vipd::start(&w.one, &(Vipd::ini(&w.one, Some(&cfg), &routers) + GROUP))?;
    let two = start(Kind::Vipd, &w.two, &members([100, 100]))?;
    both_on(w, "node1", secs(12))?;
    let good = std::fs::read_to_string(&cfg)?;
    copy::nonsense(&w.one)?;
    let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(master), Signal::SIGKILL)?;
    both_on(w, "node2", secs(6))?;
    w.one.write("haproxy.cfg", &good)?;
    both_on(w, "node1", secs(40))?;
    no_overlap(w, ms(100))?;
    at_peace(&[&one, &two])
}
