//! A flood of bad packets: the master goes on, the backup goes on hearing it, and the log stays short.

use super::*;

pub const TESTS: &[(&str, Test)] = &[("stands_a_flood", stands_a_flood)];

/// Bad packets a second: what is reached on a busy machine is another matter, and bench tells it.
const RATE: u32 = 100_000;
const FLOOD: Duration = secs(6);
/// A second virtual router, whose short interval shows what the first one's would hide.
const FAST: u8 = 52;

fn stands_a_flood(w: &World) -> Result<()> {
    let routers = |priority| {
        let fast = Router::new(FAST, priority, "192.168.30.231/24").v3().advert_int("0.2");
        [router(priority), fast]
    };
    let one = Vipd::run(&w.one, None, &routers(100))?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &routers(90))?;
    two.wait_log(words::BACKUP, secs(2))?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(3))?;
    // Until the backup knows its master, everybody is one.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let marks = [one.log().mark(), two.log().mark()];
    let nodes = [w.one.addr(), w.two.addr()];
    let target = Target { vrid: VRID, pass: "1111", vip: v4(VIP), nodes: &nodes, lower: 50 };
    let frames = bad_frames(&target, w.client.addr()).into_iter().map(|(_, frame)| frame).collect();
    let start = Instant::now();
    let flood = Flood::start(&w.client, frames, RATE)?;
    std::thread::sleep(FLOOD); // how long it lasts is the experiment
    let rate = flood.stop()?;
    let end = Instant::now();
    let adverts = w.capture.all(start, |s| s.node == "node1" && s.at < end && s.advert(FAST).is_some());
    let gaps = adverts.windows(2).map(|pair| pair[1].at - pair[0].at);
    let longest = gaps.max().unwrap_or(FLOOD);
    ensure!(longest < ms(500), "at {rate:.0} a second the master was silent for {longest:?}");
    for (daemon, mark) in [&one, &two].into_iter().zip(marks) {
        let lines = daemon.log().mark() - mark;
        ensure!(lines < 40, "{lines} lines in the log for {FLOOD:?}");
        ensure!(daemon.is_alive(), "it has died");
    }
    ensure!(two.log().grep(words::MASTER).is_empty(), "at {rate:.0} a second the backup took over");
    w.watcher.no_overlap(VIP, Duration::ZERO)?;
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1"), "the address is not where it was");
    eprintln!("{rate:.0} {longest:?}");
    for x in [&one, &two] { eprintln!("{}", String::from_utf8_lossy(&x.cli(&["status"])?.stdout)); }
    eprintln!("{}", w.lan.tails(60, start));
    Ok(())
}
