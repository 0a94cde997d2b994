//! vipd and keepalived side by side, in one run on one machine: what a client of the address notices, how
//! long two nodes or none hold it, and what each costs. Prints figures and ratios; asserts nothing.

mod flood;
#[path = "../lab/mod.rs"]
mod lab;

use lab::*;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const VIP: &str = "192.168.30.230";
const SERVICE: &str = "192.168.30.230:5000";

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One line of the table; figures in the unit that it names.
struct Row {
    what: &'static str,
    figures: Vec<f64>,
}

fn main() -> ExitCode {
    if let Isolation::Impossible(why) = isolate() {
        println!("no namespaces: {why}");
        return ExitCode::FAILURE;
    }
    match table() {
        Ok(rows) => {
            println!("\n{:<58} {:>10} {:>12} {:>16}", "", "vipd", "keepalived", "vipd/keepalived");
            for Row { what, figures } in rows {
                let [v, k] = figures[..] else { continue };
                let ratio = if k > 0.0 { format!("{:.3}", v / k) } else { "-".to_owned() };
                println!("{what:<58} {v:>10.1} {k:>12.1} {ratio:>16}");
            }
            ExitCode::SUCCESS
        }
        Err(e) => {
            println!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for kind in [Kind::Vipd, Kind::Keepalived] {
        println!("{kind:?} ...");
        for (what, figure) in figures(kind)? {
            match rows.iter_mut().find(|r| r.what == what) {
                Some(row) => row.figures.push(figure),
                None => rows.push(Row { what, figures: vec![figure] }),
            }
        }
    }
    Ok(rows)
}

fn figures(kind: Kind) -> Result<Vec<(&'static str, f64)>> {
    if std::env::args().any(|a| a == "flood") {
        return flood::figures(kind);
    }
    let mut out = stop_and_return(kind)?;
    out.extend(kill(kind)?);
    out.extend(cut(kind)?);
    out.extend(cost(kind, 1)?);
    out.extend(cost(kind, 250)?);
    out.extend(flood::figures(kind)?);
    let program = match kind {
        Kind::Vipd => vipd_path()?,
        Kind::Keepalived => Path::new("/usr/sbin/keepalived").to_owned(),
    };
    out.push((
        "size of the program, KiB (keepalived: without its libraries)",
        std::fs::metadata(program)?.len() as f64 / 1024.0,
    ));
    Ok(out)
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

struct Pair {
    lan: Lan,
    watcher: Watcher,
    capture: Capture,
    client: Client,
    one: Daemon,
    _two: Daemon,
    _haproxys: Vec<Haproxy>,
}

fn router(priority: u8) -> Router {
    Router::new(51, priority, "192.168.30.230/24")
}

fn start(kind: Kind, node: &Node, priority: u8, haproxys: &mut Vec<Haproxy>) -> Result<Daemon> {
    let cfg = haproxy_cfg(node, SERVICE)?;
    Ok(match kind {
        Kind::Vipd => Daemon::Vipd(Vipd::run(node, Some(&cfg), &[router(priority)])?),
        Kind::Keepalived => {
            haproxys.push(Haproxy::start(node, &cfg)?);
            Daemon::start(kind, node, &[router(priority)])?
        }
    })
}

fn pair(kind: Kind) -> Result<Pair> {
    let lan = Lan::pair()?;
    let (watcher, capture) = (Watcher::start(&lan)?, Capture::start(&lan)?);
    let mut haproxys = Vec::new();
    let one = start(kind, &lan.node("node1"), 100, &mut haproxys)?;
    let two = start(kind, &lan.node("node2"), 99, &mut haproxys)?;
    let client = Client::start_with(&lan.node("client"), SERVICE, Duration::from_millis(4), secs(5))?;
    watcher.wait_holder(VIP, "node1", secs(8))?;
    client.wait_answer_by("node1", secs(3))?;
    Ok(Pair { lan, watcher, capture, client, one, _two: two, _haproxys: haproxys })
}

/// Time in which two nodes held the address after `since`.
fn overlap(p: &Pair, since: Instant) -> Duration {
    p.watcher
        .overlaps(VIP)
        .iter()
        .filter(|(_, to, _)| *to > since)
        .map(|(from, to, _)| *to - (*from).max(since))
        .sum()
}

fn stop_and_return(kind: Kind) -> Result<Vec<(&'static str, f64)>> {
    let mut p = pair(kind)?;
    let t = Instant::now();
    p.one.terminate();
    p.client.wait_answer_by("node2", secs(8))?;
    p.one.wait_exit(secs(10))?;
    p.client.wait_answer(secs(2))?;
    let stop = p.client.report(t, Instant::now())?;
    let t = Instant::now();
    let node = p.lan.node("node1");
    // keepalived's HAProxy was never stopped
    p.one = match kind {
        Kind::Vipd => start(kind, &node, 100, &mut Vec::new())?,
        Kind::Keepalived => Daemon::start(kind, &node, &[router(100)])?,
    };
    p.client.wait_answer_by("node1", secs(10))?;
    std::thread::sleep(secs(1)); // the requests that hang in the preemption come to their end
    let back = p.client.report(t, Instant::now())?;
    Ok(vec![
        ("graceful stop: longest silence, ms", ms(stop.silence)),
        (
            "graceful stop: failed requests and SYNs sent again",
            (stop.failures() + stop.syn_retransmits) as f64,
        ),
        ("preemption: longest silence, ms", ms(back.silence)),
        ("preemption: failed requests and SYNs sent again", (back.failures() + back.syn_retransmits) as f64),
    ])
}

fn kill(kind: Kind) -> Result<Vec<(&'static str, f64)>> {
    let p = pair(kind)?;
    let t = Instant::now();
    // All of its processes: keepalived's parent would tell its child, or start it again.
    p.one.kill_tree();
    p.watcher.wait_change(VIP, "node2", true, t, secs(8))?;
    p.client.wait_answer_by("node2", secs(8))?;
    std::thread::sleep(secs(3));
    let report = p.client.report(t, Instant::now())?;
    Ok(vec![
        ("kill -9: two holders in the 3 s after the takeover, ms", ms(overlap(&p, t))),
        ("kill -9: no holder, ms", ms(p.watcher.longest_gap(VIP, t))),
        ("kill -9: longest silence, ms", ms(report.silence)),
    ])
}

fn cut(kind: Kind) -> Result<Vec<(&'static str, f64)>> {
    let p = pair(kind)?;
    let last = p.capture.wait_advert("node1", 51, Instant::now(), secs(3))?.at;
    let t = Instant::now();
    p.lan.node("node1").cut()?;
    let first = p.capture.wait_advert("node2", 51, t, secs(8))?.at;
    p.client.wait_answer_by("node2", secs(8))?;
    Ok(vec![("cable cut: last advert to the successor's first, ms (theory 3613.3)", ms(first - last))])
}

/// PSS and CPU time of a master of `count` virtual routers.
fn cost(kind: Kind, count: u8) -> Result<Vec<(&'static str, f64)>> {
    let lan = Lan::new(&[("node1", "192.168.30.116/16")])?;
    let watcher = Watcher::start(&lan)?;
    let node = lan.node("node1");
    let routers: Vec<Router> =
        (1..=count).map(|i| Router::new(i, 100, &format!("192.168.40.{i}/16"))).collect();
    let daemon = Daemon::start(kind, &node, &routers)?;
    watcher.wait_holder(&format!("192.168.40.{count}"), "node1", secs(20))?;
    // Over the second burst of announcements and a while of nothing but adverts.
    let pids = node.pids(if kind == Kind::Vipd { "vipd" } else { "keepalived" });
    std::thread::sleep(secs(8));
    let before = cpu(&pids);
    std::thread::sleep(secs(10));
    let used = cpu(&pids) - before;
    ensure!(daemon.is_alive(), "it has died");
    let pss: u64 = pids.iter().map(|pid| pss(*pid)).sum();
    Ok(if count == 1 {
        vec![("1 virtual router: PSS, KiB", pss as f64), ("1 virtual router: CPU, ms in 10 s", ms(used))]
    } else {
        vec![
            ("250 virtual routers: PSS, KiB", pss as f64),
            ("250 virtual routers: CPU, ms in 10 s", ms(used)),
        ]
    })
}

/// Nanoseconds on a CPU (the first field of schedstat).
fn cpu(pids: &[i32]) -> Duration {
    let one = |pid: &i32| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/{pid}/schedstat"))
            .ok()?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    Duration::from_nanos(pids.iter().filter_map(one).sum())
}

fn pss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
