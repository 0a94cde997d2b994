//! The laboratory itself: it sees what keepalived does, and tells failures apart.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("lab_observes_keepalived", lab_observes_keepalived),
    ("lab_client_tells_failures_apart", lab_client_tells_failures_apart),
    ("lab_injects_and_captures", lab_injects_and_captures),
];

fn lab_observes_keepalived(w: &World) -> Result<()> {
    let (one, _haproxy1) = w.with_haproxy(Kind::Keepalived, &w.one, router(100))?;
    w.node1_is_master()?;
    one.wait_log(words::MASTER, secs(1))?;
    let (two, _haproxy2) = w.with_haproxy(Kind::Keepalived, &w.two, router(99))?;
    two.wait_log(words::BACKUP, secs(5))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(2))?;
    let start = Instant::now();
    one.terminate();
    let came = w.watcher.wait_holder(VIP, "node2", secs(5))?;
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(5))?.success(), "keepalived did not end well");
    let gap = w.watcher.longest_gap(VIP, start);
    ensure!(
        (ms(500)..w.bound(secs(2), start)).contains(&gap),
        "keepalived's gap is the skew time, not {gap:?}"
    );
    let report = client.report(start, Instant::now())?;
    ensure!(report.silence >= ms(500) && report.syn_retransmits > 20, "the client did not notice: {report}");
    let zero =
        w.capture.wait("priority 0", start, secs(1), |s| s.advert(VRID).is_some_and(|a| a.priority == 0))?;
    let first = w.capture.wait_advert("node2", VRID, start, secs(1))?;
    let skew = first.at - zero.at;
    ensure!(
        (ms(550)..w.bound_to(ms(900), zero.at, first.at)).contains(&skew),
        "the skew time of 99 is 613 ms, not {skew:?}"
    );
    ensure!(
        came.max(first.at) - came.min(first.at) < w.bound(ms(200), start),
        "the clocks of wire and addresses differ"
    );
    w.watcher.no_overlap(VIP, Duration::ZERO)?;
    // kill -9 of keepalived: two holders, which the watcher must see.
    two.kill_tree();
    let _again = Keepalived::run(&w.one, &[router(100)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    ensure!(w.watcher.no_overlap(VIP, Duration::ZERO).is_err(), "the watcher missed a second holder");
    Ok(())
}

fn lab_client_tells_failures_apart(w: &World) -> Result<()> {
    w.one.ip(&format!("addr add {VIP_LEN} dev eth0"))?;
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let haproxy = Haproxy::start(&w.one, &cfg)?;
    let client = Client::start_with(&w.client, SERVICE, ms(10), secs(2))?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    haproxy.kill_tree();
    haproxy.wait_exit(secs(2))?;
    let occupant = Occupant::start(&w.one, SERVICE.parse().map_err(|_| Error("address".to_owned()))?);
    std::thread::sleep(ms(200));
    ensure!(occupant.has_it(), "a port that nobody has cannot be taken");
    drop(occupant);
    std::thread::sleep(ms(200));
    w.one.cut()?;
    std::thread::sleep(ms(1200));
    w.one.mend()?;
    let again = Haproxy::start(&w.one, &cfg)?;
    client.wait_answer_by("node1", secs(5))?;
    ensure!(!w.one.haproxy_workers().is_empty(), "no HAProxy worker found");
    ensure!(w.one.haproxy_master() == Some(again.pid()), "HAProxy's master not found");
    let report = client.report(start, Instant::now())?;
    for kind in ["refused", "closed"] {
        let alias = if kind == "closed" { "reset" } else { kind };
        ensure!(
            report.failed.contains_key(kind) || report.failed.contains_key(alias),
            "no {kind} seen: {report}"
        );
    }
    ensure!(report.syn_retransmits > 20, "no SYN retransmissions seen: {report}");
    ensure!(report.silence > secs(1), "the silence was longer: {report}");
    Ok(())
}

fn lab_injects_and_captures(w: &World) -> Result<()> {
    let one = Keepalived::run(&w.one, &[router(100)])?;
    w.node1_is_master()?;
    let start = Instant::now();
    let packet = advert(VRID, 50, 1, Some("1111"), &[v4(VIP)]);
    w.two.inject(w.two.addr(), 255, &packet)?;
    let seen = w.capture.wait_advert("node2", VRID, start, secs(1))?;
    ensure!(seen.advert(VRID).is_some_and(|a| a.message == packet), "not what was sent: {seen}");
    one.log().wait_any(0, words::LOWER_PRIO, secs(1))?;
    w.capture.wait("gratuitous ARP", start, secs(1), |s| s.node == "node1" && s.announces(v4(VIP).into()))?;
    w.two.inject(w.two.addr(), 64, &packet)?;
    one.log().wait_any(0, words::WRONG_TTL, secs(1))?;
    let start = Instant::now();
    w.client.send_frame(&arp_request(&w.client, v4(VIP)))?;
    let answer =
        w.capture.wait("an ARP answer", start, secs(1), |s| matches!(s.what, What::Arp { op: 2, .. }))?;
    ensure!(answer.node == "node1" && answer.mac == w.one.mac(), "somebody else answered: {answer}");
    Ok(())
}
