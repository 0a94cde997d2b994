//! Bad packets, as many as somebody on the LAN can send: 100,000 a second, of every kind in turn.

use super::VIP;
use super::figures::{KINDS, Table, millis};
use super::lab::*;
use std::time::{Duration, Instant};

const RATE: u32 = 100_000;
const FLOOD: Duration = secs(10);
/// Short, so that there is something to be late.
const FAST: u8 = 52;
const INTERVAL: Duration = Duration::from_millis(100);

/// One flood for each daemon.
pub fn round(table: &mut Table) -> Result<()> {
    for kind in KINDS {
        for (what, value) in figures(kind)? {
            table.add(what, kind, None, value);
        }
    }
    Ok(())
}

fn figures(kind: Kind) -> Result<Vec<(&'static str, f64)>> {
    let lan = Lan::pair()?;
    let (watcher, capture) = (Watcher::start(&lan)?, Capture::start(&lan)?);
    let nodes = [lan.node("node1"), lan.node("node2")];
    let routers = |priority| {
        let slow = Router::new(51, priority, "192.168.30.230/24");
        [slow, Router::new(FAST, priority, "192.168.30.231/24").v3().advert_int("0.1")]
    };
    let one = Daemon::start(kind, &nodes[0], &routers(100))?;
    watcher.wait_holder(VIP, "node1", secs(8))?;
    let two = Daemon::start(kind, &nodes[1], &routers(90))?;
    two.wait_log("Entering BACKUP STATE", secs(3))?;
    std::thread::sleep(secs(2)); // both have said what they say at the start
    let daemons = [&one, &two];
    let marks = daemons.map(|d| d.log().mark());
    let vrrp = daemons.map(|d| vrrp_process(d, kind));
    let before: Vec<(u64, Duration)> = vrrp.iter().map(|pid| (rss(*pid), cpu(&[*pid]))).collect();
    let drops_before: u64 = nodes.iter().map(dropped).sum();
    let backup = nodes[1].addr();
    let known = Target { vrid: 51, pass: "1111", vip: [192, 168, 30, 230].into(), backup, lower: 50 };
    let client = lan.node("client");
    let frames = bad_frames(&known, client.addr()).into_iter().map(|(_, frame)| frame).collect();
    let start = Instant::now();
    let flood = Flood::start(&client, frames, RATE)?;
    std::thread::sleep(FLOOD);
    let rate = flood.stop()?;
    let end = Instant::now();
    let adverts = capture.all(start, |s| s.node == "node1" && s.at < end && s.advert(FAST).is_some());
    let mut late: Vec<f64> =
        adverts.windows(2).map(|p| millis((p[1].at - p[0].at).saturating_sub(INTERVAL))).collect();
    late.sort_by(f64::total_cmp);
    let nth =
        |percent: usize| late.get(late.len() * percent / 100).or(late.last()).copied().unwrap_or(f64::NAN);
    let lines: usize = daemons.iter().zip(marks).map(|(d, mark)| d.log().mark() - mark).sum();
    let after: Vec<(u64, Duration)> = vrrp.iter().map(|pid| (rss(*pid), cpu(&[*pid]))).collect();
    let grown = |i: usize| after[i].0 as f64 - before[i].0 as f64;
    let load = |i: usize| (after[i].1 - before[i].1).as_secs_f64() / (end - start).as_secs_f64() * 100.0;
    let drops: u64 = nodes.iter().map(dropped).sum::<u64>() - drops_before;
    Ok(vec![
        ("flood: bad packets a second that were sent", rate),
        ("flood: adverts that the master sent, of 100", adverts.len() as f64),
        ("flood: the master's adverts came late by, ms, 95 of 100", nth(95)),
        ("flood: the latest, ms", nth(100)),
        ("flood: takeovers by the backup", two.log().grep("Entering MASTER STATE").len() as f64),
        ("flood: lines in both logs in 10 s", lines as f64),
        ("flood: RSS of the master before, KiB", before[0].0 as f64),
        ("flood: RSS of the master, growth, KiB", grown(0)),
        ("flood: RSS of the backup, growth, KiB", grown(1)),
        ("flood: CPU of the master, %", load(0)),
        ("flood: CPU of the backup, %", load(1)),
        ("flood: packets that full queues dropped, % (both nodes)", drops as f64 / (rate * 10.0) * 50.0),
    ])
}

/// keepalived's parent only watches its child.
fn vrrp_process(daemon: &Daemon, kind: Kind) -> i32 {
    match kind {
        Kind::Vipd => daemon.pid(),
        Kind::Keepalived => daemon.descendants().first().copied().unwrap_or(daemon.pid()),
    }
}

/// What the node's first socket for VRRP dropped because its queue was full. (vipd has another, for VRIDs
/// that nobody has, which is there to overflow.)
fn dropped(node: &Node) -> u64 {
    let table = node.enter(|| std::fs::read_to_string("/proc/thread-self/net/raw")).unwrap_or_default();
    let sockets = table.lines().filter(|l| l.contains("00000000:0070 ")).filter_map(|l| {
        let fields: Vec<&str> = l.split_whitespace().collect();
        Some((fields.get(9)?.parse::<u64>().ok()?, fields.last()?.parse::<u64>().ok()?))
    });
    sockets.min().map_or(0, |(_inode, drops)| drops)
}

fn rss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Time on a CPU (the first field of schedstat).
fn cpu(pids: &[i32]) -> Duration {
    let one = |pid: &i32| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(pids.iter().filter_map(one).sum())
}
