//! `realtime_priority` and `lock_memory`: what they give, that children do not get it, and how it ends.

use super::*;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

pub const TESTS: &[(&str, Test)] = &[
    ("realtime_is_for_vipd_alone", is_for_vipd_alone),
    ("realtime_with_adverts_each_10_ms", fast),
    ("realtime_carries_250_routers_each_10_ms", many),
    ("realtime_steps_down_when_busy", steps_down),
];

const FIFO: u32 = 1;
const PRIORITY: u32 = 50;

fn ini(node: &Node, haproxy: Option<&std::path::Path>, routers: &[Router]) -> String {
    let lines = format!("[global]\nrealtime_priority = {PRIORITY}\nlock_memory = yes\n");
    Vipd::ini(node, haproxy, routers).replacen("[global]\n", &lines, 1)
}

/// With the lease that vipd chooses by itself: renewals of an address in seconds wait for the kernel's lock
/// of all addresses four times a second.
fn fast_router(priority: u8) -> Router {
    Router::new(VRID, priority, VIP_LEN).v3().advert_int("0.01").with("lease = auto")
}

fn scheduling(pid: i32) -> Result<Scheduling> {
    Scheduling::of(pid).ok_or_else(|| Error(format!("process {pid} is gone")))
}

/// vipd has it, or there is nothing to be tested here.
fn has_realtime(vipd: &Vipd) -> Result<()> {
    if let Some(line) = vipd.log().grep("realtime_priority:").first() {
        return Err(Error::missing(&format!("realtime scheduling ({})", line.text)));
    }
    let s = scheduling(vipd.pid())?;
    ensure!((s.policy, s.priority) == (FIFO, PRIORITY), "{s:?}");
    Ok(())
}

fn is_for_vipd_alone(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&ini(&w.one, Some(&cfg), &[router(100)])))?;
    w.node1_is_master()?;
    has_realtime(&one)?;
    let s = scheduling(one.pid())?;
    ensure!(s.rttime == "500000" && s.locked > 500, "{s:?}");
    let own = scheduling(i32::try_from(std::process::id()).unwrap_or(0))?;
    let ordinary = |pids: Vec<i32>| -> Result<()> {
        ensure!(pids.len() >= 2, "master and worker, not {pids:?}");
        for pid in pids {
            let s = scheduling(pid)?;
            ensure!(s == own, "process {pid} has {s:?} and not {own:?}");
        }
        Ok(())
    };
    ordinary(w.one.pids("haproxy"))?;
    let before = w.one.haproxy_workers();
    let mark = one.log().mark();
    one.signal(Signal::SIGUSR2);
    one.log().wait_from(mark, "haproxy", secs(5))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let deadline = Instant::now() + secs(10);
    while w.one.haproxy_workers().iter().any(|pid| before.contains(pid)) {
        ensure!(Instant::now() < deadline, "no new worker: {:?}", w.one.haproxy_workers());
        client.wait_answer(secs(5))?;
    }
    ordinary(w.one.pids("haproxy"))?;
    // Neither has one that is started because the other has died, nor does it get a nice value.
    let renice = ["-n", "-10", "-p"];
    w.one.output(std::process::Command::new("renice").args(renice).arg(one.pid().to_string()))?;
    let gone = w.one.pids("haproxy");
    let dead = w.one.haproxy_master();
    dead.map(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL));
    let all_are_new = || {
        let pids = w.one.pids("haproxy");
        pids.len() >= 2 && pids.iter().all(|pid| !gone.contains(pid))
    };
    while !all_are_new() {
        ensure!(Instant::now() < deadline + secs(10), "HAProxy did not come back");
        client.wait_answer(secs(8))?;
    }
    ordinary(w.one.pids("haproxy"))
}

/// A cut cable costs a client a moment. How short it is on a machine that is quiet, `make bench` tells.
fn fast(w: &World) -> Result<()> {
    let start = |node: &Node, priority| -> Result<Vipd> {
        let cfg = haproxy_cfg(node, SERVICE)?;
        Vipd::start(node, &ini(node, Some(&cfg), &[fast_router(priority)]))
    };
    let one = start(&w.one, 254)?;
    w.node1_is_master()?;
    has_realtime(&one)?;
    let two = start(&w.two, 253)?;
    two.wait_log(words::BACKUP, secs(5))?;
    let client = Client::start_with(&w.client, SERVICE, ms(2), secs(3))?;
    client.wait_answer_by("node1", secs(3))?;
    {
        let _busy = Burn::start();
        let timers = Timers::start(PRIORITY as i32, ms(20))?;
        std::thread::sleep(secs(5)); // idle, on a busy machine
        let late = timers.late();
        let false_ones = two.log().grep(words::MASTER);
        // The machine was late, or others kept the kernel's lock of all addresses.
        let excused = |at: Instant| {
            late.iter().any(|(a, b)| *a <= at && at <= *b + ms(50)) || rtnl_held(at - ms(50), at) >= ms(20)
        };
        let blamed = false_ones.iter().filter(|l| !excused(l.at));
        ensure!(blamed.count() == 0, "failed over for nothing, {false_ones:?}; bare timers: {late:?}");
        if !false_ones.is_empty() {
            w.node1_is_master()?;
        }
    }
    client.wait_answer_by("node1", secs(3))?;
    let cut = Instant::now();
    w.one.cut()?;
    client.wait_answer_by("node2", secs(3))?;
    let report = client.report(cut, Instant::now())?;
    ensure!(report.silence < w.bound(ms(300), cut), "{report}");
    Ok(())
}

/// 25,000 adverts a second leave time for others: it is not told to step down.
fn many(w: &World) -> Result<()> {
    let routers: Vec<Router> = (1..=250)
        .map(|i| Router::new(i, 100, &format!("192.168.30.{i}/24")).v3().advert_int("0.01"))
        .filter(|r| ![10, 116, 117].contains(&r.vrid))
        .collect();
    let one = Vipd::start(&w.one, &ini(&w.one, None, &routers))?;
    w.watcher.wait_holder("192.168.30.250", "node1", ELECTION)?;
    has_realtime(&one)?;
    std::thread::sleep(secs(3)); // six times what makes it step down
    ensure!(one.log().grep("busy without a pause").is_empty(), "it never slept for half a second");
    ensure!(scheduling(one.pid())?.policy == FIFO, "it has lost its priority");
    Ok(())
}

/// Half a second without a pause, as a fault of ours would have it: here by questions that take it some time
/// to answer, more of them than it can. Then it is an ordinary process for a while.
fn steps_down(w: &World) -> Result<()> {
    let routers: Vec<Router> = (1..=250)
        .map(|i| Router::new(i, 100, &format!("192.168.30.{i}/24")))
        .filter(|r| ![10, 116, 117].contains(&r.vrid))
        .collect();
    let one = Vipd::start(&w.one, &ini(&w.one, None, &routers))?;
    w.watcher.wait_holder("192.168.30.250", "node1", ELECTION)?;
    has_realtime(&one)?;
    let socket = w.one.dir().join("vipd/control");
    let stop = AtomicBool::new(false);
    let ask = || {
        with_priority(); // ahead of whatever else this machine does, and behind vipd
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut stream) = UnixStream::connect(&socket) else { continue };
            let _ = stream.write_all(b"status\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    };
    let told = std::thread::scope(|s| {
        (0..8).for_each(|_| drop(s.spawn(ask)));
        let told = one.wait_log("busy without a pause", secs(10));
        let s = scheduling(one.pid());
        stop.store(true, Ordering::Relaxed);
        told.and(s)
    })?;
    ensure!((told.policy, told.priority) == (0, 0), "{told:?}");
    // Behind those who asked it may have been late with its leases, and be a backup for a while.
    let again = || scheduling(one.pid()).is_ok_and(|s| s.policy == FIFO);
    life::wait_until("its priority", secs(15), again)?;
    ensure!(scheduling(one.pid())?.rttime == "500000", "with the limit of before");
    Ok(())
}
