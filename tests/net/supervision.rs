//! HAProxy and the election: it is restarted, reloaded, given up when it hangs or crashes, and waited for.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("restarts_haproxy_in_place", restarts_haproxy),
    ("gives_way_without_haproxy", gives_way),
    ("is_not_master_before_haproxy", not_master_before_haproxy),
    ("reloads_haproxy", reloads_haproxy),
    ("gives_up_a_hung_haproxy", gives_up_hung_haproxy),
    ("stays_away_while_haproxy_crashes", stays_away_while_haproxy_crashes),
];

fn restarts_haproxy(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[router(100)])))?;
    w.node1_is_master()?;
    // Only now: started together, whoever has its HAProxy ready first may be master for a moment.
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    for victim in ["all", "worker", "master"] {
        let start = Instant::now();
        let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
        let workers = w.one.haproxy_workers();
        for pid in [master]
            .iter()
            .filter(|_| victim != "worker")
            .chain(workers.iter().filter(|_| victim != "master"))
        {
            // Gone already if vipd was quick to clear the rest away.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // An orphaned worker serves on for a while, so wait for the new master and then for the answer.
        let deadline = start + secs(5);
        while w.one.haproxy_master().is_none_or(|pid| pid == master) {
            ensure!(Instant::now() < deadline, "no new HAProxy after kill -9 of {victim}");
            std::thread::sleep(ms(5));
        }
        client.wait_answer_by("node1", secs(5))?;
        std::thread::sleep(ms(600)); // what it led to would be seen by now
        let report = client.report(start, Instant::now())?;
        ensure!(report.silence < w.bound(ms(400), start), "kill -9 of {victim}: {report}");
        ensure!(!report.by.contains_key("node2"), "kill -9 of {victim} moved the address");
    }
    w.stayed(VIP)?;
    at_peace(&[&one, &two])
}

fn gives_way(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    w.node1_is_master()?;
    let cfg = std::fs::read_to_string(w.one.dir().join("haproxy.cfg"))?;
    copy::nonsense(&w.one)?;
    let start = Instant::now();
    let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(master), Signal::SIGKILL)?;
    // restart_grace 0.5 s + skew 0.613 s
    let came = w.watcher.wait_holder(VIP, "node2", secs(4))?;
    ensure!(came - start < w.bound_to(ms(1600), start, came), "node2 had it only after {:?}", came - start);
    w.watcher.no_overlap(VIP, ms(20))?;
    w.one.write("haproxy.cfg", &cfg)?;
    w.watcher.wait_holder(VIP, "node1", secs(40))?;
    at_peace(&[&one, &two])
}

fn not_master_before_haproxy(w: &World) -> Result<()> {
    let cfg = w.one.write("haproxy.cfg", "nonsense\n")?;
    let one = Vipd::run(&w.one, Some(&cfg), &[router(200)])?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    std::thread::sleep(secs(2));
    w.holds(VIP, "node2")?;
    let adverts = w.capture.all(Instant::now() - secs(10), |s| s.node == "node1" && s.advert(VRID).is_some());
    ensure!(adverts.is_empty(), "node1 advertised without HAProxy");
    haproxy_cfg(&w.one, SERVICE)?;
    w.watcher.wait_holder(VIP, "node1", secs(40))?;
    at_peace(&[&one, &two])
}

/// USR2: seamless, and only with a configuration that HAProxy accepts. VRRP does not notice.
fn reloads_haproxy(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, quick(100))?;
    w.node1_is_master()?;
    let client = Client::start_with(&w.client, SERVICE, ms(10), secs(5))?;
    client.wait_answer_by("node1", secs(3))?;
    let good = std::fs::read_to_string(w.one.dir().join("haproxy.cfg"))?;
    let start = Instant::now();
    for round in 0..10 {
        let broken = round % 2 == 1;
        w.one.write("haproxy.cfg", if broken { "nonsense\n" } else { &good })?;
        let worker = w.one.haproxy_workers();
        let mark = one.log().mark();
        one.signal(Signal::SIGUSR2);
        one.log().wait_from(
            mark,
            if broken { "refuses its configuration (exit status 1)" } else { "haproxy reloaded: worker" },
            secs(5),
        )?;
        ensure!(!broken || w.one.haproxy_workers() == worker, "a refused reload had an effect");
    }
    std::thread::sleep(ms(300)); // the last requests come to their end
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0 && report.syn_retransmits == 0, "clients noticed: {report}");
    w.stayed(VIP)?;
    ensure!(one.log().grep(words::MASTER).len() == 1, "VRRP noticed");
    Ok(())
}

/// A stopped worker accepts connections and answers none: the other node serves within check_interval ×
/// check_fall + check_timeout + skew, the hung processes are gone, and the node takes part again by itself.
fn gives_up_hung_haproxy(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    let mut hung = w.one.haproxy_workers();
    for pid in &hung {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGSTOP)?;
    }
    hung.extend(w.one.haproxy_master());
    let start = Instant::now();
    let came = client.wait_answer_by("node2", secs(12))?;
    println!("node2 serves {:?} after the stop", came - start);
    ensure!(
        came - start < w.bound_to(ms(3 * 1000 + 1000 + 613 + 100 + 300), start, came),
        "node2 serves after {:?}",
        came - start
    );
    one.wait_log("it hangs and is killed", secs(1))?;
    client.wait_answer_by("node1", secs(15))?;
    let all = w.one.pids("haproxy");
    ensure!(!hung.iter().any(|pid| all.contains(pid)), "the hung {hung:?} are still among {all:?}");
    Ok(())
}

/// More than `crash_limit` deaths: the address moves once and stays where it is.
fn stays_away_while_haproxy_crashes(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[router(100)])))?;
    w.node1_is_master()?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    // Only a master that was heard can give up.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let start = Instant::now();
    for _ in 0..6 {
        let mark = one.log().mark();
        for pid in w.one.haproxy_workers() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        one.log().wait_from(mark, " ready after ", secs(10))?;
    }
    one.wait_log("died 4 times within 30 s: other nodes are preferred", secs(1))?;
    w.watcher.wait_holder(VIP, "node2", secs(3))?;
    w.capture.wait_advert("node2", VRID, Instant::now() + secs(5), secs(8))?;
    w.holds(VIP, "node2")?;
    let moves = w.watcher.timeline(VIP).iter().filter(|c| c.at >= start && c.held).count();
    ensure!(moves == 1, "the address moved {moves} times");
    Ok(())
}
