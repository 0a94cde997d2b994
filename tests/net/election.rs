//! Who is master: by priority, address and preemption; after a stop and a cut; and two virtual routers that
//! share the load.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("elects_by_priority", |w| elects(w, Kind::Vipd, Kind::Vipd)),
    ("elects_over_keepalived", |w| elects(w, Kind::Vipd, Kind::Keepalived)),
    ("elects_under_keepalived", |w| elects(w, Kind::Keepalived, Kind::Vipd)),
    ("tie_goes_to_higher_address", |w| tie(w, Kind::Vipd, Kind::Vipd)),
    ("tie_lost_to_keepalived", |w| tie(w, Kind::Vipd, Kind::Keepalived)),
    ("tie_won_against_keepalived", |w| tie(w, Kind::Keepalived, Kind::Vipd)),
    ("v3_subsecond_failover", |w| subsecond(w, Kind::Vipd)),
    ("v3_subsecond_failover_to_keepalived", |w| subsecond(w, Kind::Keepalived)),
    ("preempts", |w| preempts(w, Kind::Vipd)),
    ("preempts_keepalived", |w| preempts(w, Kind::Keepalived)),
    ("does_not_preempt_if_told", |w| does_not_preempt(w, Kind::Vipd, Kind::Vipd)),
    ("does_not_preempt_keepalived", |w| does_not_preempt(w, Kind::Keepalived, Kind::Vipd)),
    ("is_not_preempted_by_keepalived", |w| does_not_preempt(w, Kind::Vipd, Kind::Keepalived)),
    ("stops_gracefully", |w| stops_gracefully(w, Kind::Vipd)),
    ("stops_gracefully_before_keepalived", |w| stops_gracefully(w, Kind::Keepalived)),
    ("survives_a_cut_cable", |w| survives_cut(w, Kind::Vipd)),
    ("survives_a_cut_cable_with_keepalived", |w| survives_cut(w, Kind::Keepalived)),
    ("shares_load", |w| shares_load(w, Kind::Vipd)),
    ("shares_load_with_keepalived", |w| shares_load(w, Kind::Keepalived)),
    ("who_cannot_send_is_faulty", cannot_send),
];

/// `high` on node1 wins against `low` on node2, and they have nothing to say against each other.
fn elects(w: &World, high: Kind, low: Kind) -> Result<()> {
    let two = Daemon::start(low, &w.two, &[router(99)])?;
    let one = Daemon::start(high, &w.one, &[router(100)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    w.node1_is_master()?;
    let start = Instant::now();
    // Three adverts on, nothing has changed.
    for i in 1..=3 {
        w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
    }
    w.holds(VIP, "node1")?;
    ensure!(
        w.capture.all(start, |s| s.node == "node2" && s.advert(VRID).is_some()).is_empty(),
        "node2 advertised"
    );
    w.watcher.no_overlap(VIP, ms(20))?;
    at_peace(&[&one, &two])
}

/// Both masters meet with equal priorities: node2, with the higher address, stays.
fn tie(w: &World, first: Kind, second: Kind) -> Result<()> {
    w.lan.partition(&[&w.one, &w.two])?;
    let one = Daemon::start(first, &w.one, &[router(100)])?;
    let two = Daemon::start(second, &w.two, &[router(100)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    one.wait_log(words::MASTER, secs(1))?;
    two.wait_log(words::MASTER, secs(1))?;
    let (mark1, mark2) = (one.log().mark(), two.log().mark());
    w.lan.heal(&[&w.one, &w.two])?;
    w.watcher.wait_holder(VIP, "node2", secs(3))?;
    one.log().wait_from(mark1, words::BACKUP, secs(1))?;
    let healed = Instant::now();
    w.capture.wait_advert("node2", VRID, healed, secs(2))?;
    ensure!(two.log().wait_from(mark2, words::BACKUP, ms(10)).is_err(), "node2 gave way as well");
    at_peace(&[&one, &two])
}

fn subsecond(w: &World, peer: Kind) -> Result<()> {
    let fast = |priority| router(priority).v3().advert_int("0.1");
    let one = Daemon::start(Kind::Vipd, &w.one, &[fast(100)])?;
    let two = Daemon::start(peer, &w.two, &[fast(99)])?;
    w.node1_is_master()?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(1))?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    let first = w.capture.wait_advert("node2", VRID, cut, secs(2))?;
    // 3 × 100 ms + 157/256 × 100 ms = 361 ms
    let took = first.at - last.at;
    ensure!((ms(340)..w.bound(ms(600), last.at)).contains(&took), "failover took {took:?} instead of 361 ms");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    at_peace(&[&one, &two])
}

fn preempts(w: &World, peer: Kind) -> Result<()> {
    let two = Daemon::start(peer, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    let start = Instant::now();
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(start.elapsed() > secs(2), "it did not listen first");
    ensure!(w.watcher.longest_gap(VIP, start) < w.bound(ms(200), start), "a gap in a planned move");
    two.wait_log(words::BACKUP, secs(1))?;
    at_peace(&[&one, &two])
}

/// The lower priority stays master while the higher one is told not to preempt.
fn does_not_preempt(w: &World, low: Kind, high: Kind) -> Result<()> {
    let two = Daemon::start(low, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let one = Daemon::start(high, &w.one, &[router(100).no_preempt()])?;
    one.wait_log(words::BACKUP, secs(2))?;
    let start = Instant::now();
    for i in 1..=5 {
        w.capture.wait_advert("node2", VRID, start + secs(i - 1), secs(3))?;
    }
    w.holds(VIP, "node2")?;
    two.terminate();
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    at_peace(&[&one, &two])
}

fn stops_gracefully(w: &World, peer: Kind) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    let (two, _haproxy) = w.with_haproxy(peer, &w.two, router(99))?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    let report = client.report(start, Instant::now())?;
    w.hardly_noticed(start, &report)?;
    ensure!(report.silence < w.bound(ms(150), start), "clients noticed: {report}");
    let zeros = w.capture.all(start, |s| s.advert(VRID).is_some_and(|a| a.priority == 0));
    ensure!(zeros.len() == 1, "{} adverts with priority 0 instead of one", zeros.len());
    ensure!(w.one.pids("").is_empty(), "something still runs on node1: {:?}", w.one.pids(""));
    at_peace(&[&one, &two])
}

fn survives_cut(w: &World, peer: Kind) -> Result<()> {
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    let two = Daemon::start(peer, &w.two, &[router(99)])?;
    w.node1_is_master()?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let first = w.capture.wait_advert("node2", VRID, cut, secs(1))?;
    let took = first.at - last.at;
    ensure!(
        (ms(3590)..w.bound(ms(3900), last.at)).contains(&took),
        "failover took {took:?} instead of 3.613 s"
    );
    one.wait_log("FAULT", secs(1))?;
    w.one.mend()?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.watcher.no_overlap(VIP, ms(100))?;
    at_peace(&[&one, &two])
}

/// Two virtual routers, each node the better one for one of them.
fn shares_load(w: &World, peer: Kind) -> Result<()> {
    const OTHER: &str = "192.168.30.231";
    let routers = |a, b| [Router::new(51, a, VIP_LEN), Router::new(52, b, "192.168.30.231/24")];
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(150, 100))?;
    let two = Daemon::start(peer, &w.two, &routers(100, 150))?;
    let apart = || -> Result<()> {
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
        w.watcher.wait_holder(OTHER, "node2", ELECTION)?;
        Ok(())
    };
    apart()?;
    two.terminate();
    w.watcher.wait_holder(OTHER, "node1", secs(4))?;
    two.wait_exit(secs(9))?;
    w.holds(VIP, "node1")?;
    let two = Daemon::start(peer, &w.two, &routers(100, 150))?;
    apart()?;
    one.terminate();
    w.watcher.wait_holder(VIP, "node2", secs(4))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    w.holds(OTHER, "node2")?;
    at_peace(&[&one, &two])
}

/// A firewall drops what it sends, and nobody else is there: it does not become master a dozen times a
/// second.
fn cannot_send(w: &World) -> Result<()> {
    let fast = router(100).v3().advert_int("0.01");
    transport::nft(&w.one, "add table ip t; add chain ip t out { type filter hook output priority 0; }")?;
    transport::nft(&w.one, "add rule ip t out ip protocol 112 drop")?;
    let one = Vipd::run(&w.one, None, &[fast])?;
    one.wait_log("Now in FAULT state: adverts cannot be sent", secs(5))?;
    let mark = one.log().mark();
    // After pauses of 1 and 2 s, once each.
    one.log().wait_from(mark, "Now in FAULT state: adverts cannot be sent", secs(4))?;
    let mark = one.log().mark();
    one.log().wait_from(mark, "Now in FAULT state: adverts cannot be sent", secs(6))?;
    let masterships = one.log().grep(words::MASTER).len();
    ensure!(masterships == 4, "{masterships} times master instead of 4");
    let mark = one.log().mark();
    transport::nft(&w.one, "delete table ip t")?;
    w.watcher.wait_holder(VIP, "node1", secs(8))?;
    one.log().wait_from(mark, words::MASTER, secs(1))?;
    ensure!(one.log().grep(words::MASTER).len() == 5, "the first advert did not do");
    Ok(())
}
