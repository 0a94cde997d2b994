//! A flood of bad packets: the master goes on, the backup goes on hearing it, and the log stays short.

use super::*;

pub const TESTS: &[(&str, Test)] = &[("stands_a_flood", stands_a_flood)];

/// Bad packets a second: what is reached on a busy machine is another matter, and `make bench` tells it.
const RATE: u32 = 100_000;
/// More than a backup waits.
const FLOOD: Duration = secs(6);
/// What the flood consists of is refused for these reasons. (What a node is sent in its own name the kernel
/// drops.)
const REASONS: [&str; 9] =
    ["ttl", "short", "version", "vrid", "length", "checksum", "auth_type", "auth_pass", "interval"];

fn stands_a_flood(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[router(90)])?;
    two.wait_log(words::BACKUP, secs(2))?;
    // Until the backup knows its master, everybody may be one.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let daemons = [&one, &two];
    let marks = daemons.map(|d| d.log().mark());
    let before = daemons.map(|d| rss(d.pid()));
    let known = Target { vrid: VRID, pass: "1111", vip: v4(VIP), backup: w.two.addr(), lower: 50 };
    let frames = bad_frames(&known, w.client.addr()).into_iter().map(|(_, frame)| frame).collect();
    let start = Instant::now();
    let flood = Flood::start(&w.client, frames, RATE)?;
    std::thread::sleep(FLOOD); // how long it lasts is the experiment
    let end = Instant::now();

    let adverts = w.capture.all(start, |s| s.node == "node1" && s.at < end && s.advert(VRID).is_some());
    let longest = adverts.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or(FLOOD);
    ensure!(longest < w.bound_to(ms(1500), start, end), "the master was silent for {longest:?}");
    let mut status = String::new();
    for ((daemon, mark), before) in daemons.into_iter().zip(marks).zip(before) {
        // Up to three for each reason, as keepalived's are.
        let lines = daemon.log().mark() - mark;
        ensure!(lines < 50, "{lines} lines in the log for {FLOOD:?}");
        let after = rss(daemon.pid());
        ensure!(after < before + 512, "it grew from {before} to {after} KiB");
        status += &String::from_utf8_lossy(&daemon.cli(&["status"])?.stdout);
    }
    for reason in REASONS {
        ensure!(status.contains(&format!(" {reason} ")), "{reason} was not counted: {status}");
    }
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over: it did not hear its master");
    w.holds(VIP, "node1")?;
    w.watcher.no_overlap(VIP, Duration::ZERO)?;

    // And no forged advert keeps it from hearing that there is no master any more.
    one.kill();
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let rate = flood.stop()? as u32;
    ensure!(rate > 1000, "that was no flood: {rate} packets a second");
    Ok(())
}

/// KiB in memory.
fn rss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
