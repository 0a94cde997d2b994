//! What is too long for `make test`: crashes and stalls at random moments of the interval, many times.
//! `USAGE` says what there is.

mod adverts;
#[path = "../chaos/mod.rs"]
mod chaos;
mod faults;
mod haproxy;
mod idle;
#[path = "../lab/mod.rs"]
mod lab;
mod realtime;

use lab::*;
use nix::sys::signal::Signal;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const USAGE: &str = "\
soak [PART...] [SEED [COUNT]]: all parts, seed 1 and 20 of each unless told otherwise. The parts, with their times:

leases   13 min  vipd is killed or stopped, against a vipd and a keepalived of priority 254: never two holders
kills    12 min  kill -9 of HAProxy's worker, master and both, under load, 11 s apart: nobody is refused
script   12 min  the same with keepalived, a check script and HAProxy under a supervisor: figures to compare
vipd      6 min  kill -9 of vipd under load, respawn after 200 ms, with advert_int 1 and 2
leaks     7 min  1000 restarts and 1000 reloads of HAProxy: descriptors and memory (50 times COUNT)
realtime  3 min  VRRPv3 with an advert each 10 ms and realtime priority: cut cables, a minute without failover
faults   12 min  every single fault, vipd beside keepalived, at three intervals: for how long two nodes answered for an
                 address, or none, and requests that failed, as a table and in target/soak/faults.json (COUNT 40: twice
                 each, the worst counts); `faults kill 'link down'`: those whose names have these words
adverts   9 min  10 million adverts of 250 virtual routers, one each 10 ms: lateness, drift, memory; 30 s of keepalived
                 (500,000 times COUNT)
idle    1.5 min  each system call of an idle master in a minute, by name: none of them for nothing
chaos    20 min  three nodes, a dozen kinds of faults at once: COUNT minutes, half of them with the lease in the address;
                 ROUND=7 in the environment plays one round";

/// Of three virtual routers, one of them over IPv6.
const VIPS: [&str; 3] = ["192.168.30.230", "192.168.30.231", "2001:db8:30::232"];
/// Pairs of nodes at a time. One: the removal of a namespace holds the kernel's lock of all address
/// operations for many milliseconds, and with it the end of the leases in the others.
const PAIRS: usize = 1;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What one crash or stall led to.
struct Outcome {
    /// From the last address that left to the first that came, over all virtual routers: negative is overlap.
    margin_ms: i64,
    /// How long after the end of its lease the kernel removed an address.
    lateness: Duration,
    /// From the signal to the last address on the other node.
    takeover: Duration,
}

fn main() -> ExitCode {
    const PARTS: [&str; 10] =
        ["leases", "kills", "script", "vipd", "leaks", "realtime", "faults", "adverts", "idle", "chaos"];
    let (mut numbers, mut parts, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for arg in std::env::args().skip(1) {
        match arg.parse::<u64>() {
            Ok(n) => numbers.push(n),
            Err(_) if PARTS.contains(&&*arg) => parts.push(arg),
            Err(_) if parts.iter().any(|p| p == "faults") && arg != "help" => words.push(arg),
            Err(_) => {
                println!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let seed = numbers.first().copied().unwrap_or(1);
    let count = numbers.get(1).and_then(|n| usize::try_from(*n).ok()).unwrap_or(20);
    if let Isolation::Impossible(why) = isolate() {
        println!("no namespaces: {why}");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for part in PARTS.into_iter().filter(|p| parts.is_empty() || parts.iter().any(|q| q == p)) {
        println!("{part}: seed {seed}, {count} of each");
        let result = match part {
            "leases" => {
                failed |= !leases(seed, count);
                Ok(())
            }
            "kills" => haproxy::kills(count),
            "script" => haproxy::script(count),
            "vipd" => haproxy::vipd(seed, count),
            "leaks" => haproxy::leaks(count * 50),
            "adverts" => adverts::run(count as u64 * 500_000),
            "idle" => idle::run(),
            "faults" => faults::run(seed, count.div_ceil(20), &words),
            "chaos" => ["auto", "address"].into_iter().try_for_each(|lease| {
                let length = secs(30) * count as u32;
                chaos::run(&chaos::Options { seed, lease, length, verbose: true })
            }),
            _ => {
                failed |= !realtime::run(count, secs(60));
                Ok(())
            }
        };
        if let Err(e) = result {
            println!("FAILED: {part}: {e}");
            failed = true;
        }
    }
    ExitCode::from(u8::from(failed))
}

/// Three virtual routers, advert_int 1; the peer has priority 254.
fn leases(seed: u64, count: usize) -> bool {
    let mut well = true;
    for keepalived in [false, true] {
        for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
            well &= series(seed, count, keepalived, signal);
        }
    }
    well
}

fn series(seed: u64, count: usize, keepalived: bool, signal: Signal) -> bool {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for _ in 0..PAIRS {
            s.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    let result = once(phase(seed, i), keepalived, signal);
                    if let Ok(mut all) = outcomes.lock() {
                        all.push((i, result));
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_default();
    let errors: Vec<String> =
        outcomes.iter().filter_map(|(i, r)| r.as_ref().err().map(|e| format!("  {i}: {e}"))).collect();
    let good: Vec<&Outcome> = outcomes.iter().filter_map(|(_, r)| r.as_ref().ok()).collect();
    let peer = if keepalived { "keepalived" } else { "vipd" };
    println!(
        "{signal} of the master, peer {peer}: {} of {count} as it should be; smallest margin {} ms, slowest takeover {} ms, \
         a lease outlived by {} ms at the most",
        good.len(),
        good.iter().map(|o| o.margin_ms).min().unwrap_or(i64::MIN),
        good.iter().map(|o| o.takeover.as_millis()).max().unwrap_or(0),
        good.iter().map(|o| o.lateness.as_millis()).max().unwrap_or(0),
    );
    errors.iter().for_each(|e| println!("{e}"));
    errors.is_empty()
}

/// A pause of 0 to 3 s, the same for the same seed.
fn phase(seed: u64, i: usize) -> Duration {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(i as u64 + 1);
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    Duration::from_micros(x % 3_000_000)
}

fn router(vrid: u8, priority: u8, vip: &str) -> Router {
    if !vip.contains(':') {
        return Router::new(vrid, priority, &format!("{vip}/24"));
    }
    let mut router = Router::new(vrid, priority, "fe80::232").v3();
    router.vips.push(format!("{vip}/64"));
    router
}

fn once(phase: Duration, keepalived: bool, signal: Signal) -> Result<Outcome> {
    let lan = Lan::new(&[("node1", "192.168.30.116/24"), ("node2", "192.168.30.117/24")])?;
    let watcher = Watcher::start(&lan)?;
    let routers = |priority| -> Vec<Router> {
        let each = VIPS.iter().zip(51..);
        each.map(|(vip, vrid)| router(vrid, priority, vip).no_preempt()).collect()
    };
    let (one, two) = (lan.node("node1"), lan.node("node2"));
    let master = Vipd::run(&one, None, &routers(100))?;
    for vip in VIPS {
        watcher.wait_holder(vip, "node1", secs(8))?;
    }
    let backup: Box<dyn std::ops::Deref<Target = Proc>> = if keepalived {
        Box::new(Keepalived::run(&two, &routers(254))?)
    } else {
        Box::new(Vipd::run(&two, None, &routers(254))?)
    };
    backup.wait_log("Entering BACKUP STATE", secs(3))?;
    // The moment is the point of the experiment, so this is no wait for an event. At least one advert of
    // each virtual router must have been heard before.
    std::thread::sleep(secs(1) + phase);
    let start = Instant::now();
    master.signal(signal);
    let mut margin_ms = i64::MAX;
    let (mut takeover, mut lateness) = (Duration::ZERO, Duration::ZERO);
    for vip in VIPS {
        let gone = watcher.wait_change(vip, "node1", false, start, secs(5))?;
        let renewed = watcher.last_renewal(vip, "node1").unwrap_or(start);
        lateness = lateness.max(gone.saturating_duration_since(renewed + secs(1)));
        let came = watcher.wait_change(vip, "node2", true, start, secs(5))?;
        let margin =
            if came >= gone { (came - gone).as_millis() as i64 } else { -((gone - came).as_millis() as i64) };
        margin_ms = margin_ms.min(margin);
        takeover = takeover.max(came - start);
    }
    if signal == Signal::SIGSTOP {
        let mark = master.log().mark();
        master.cont();
        master.log().wait_from(mark, "Entering BACKUP STATE", secs(3))?;
        // Long enough for a woken master to do harm.
        std::thread::sleep(secs(2));
    }
    for vip in VIPS {
        watcher.no_overlap(vip, Duration::ZERO).map_err(|e| {
            let ms = |t: Instant| {
                if t > start { (t - start).as_micros() as i64 } else { -((start - t).as_micros() as i64) }
            };
            let line: Vec<String> =
                watcher.timeline(vip).iter().map(|c| format!("{} {} {}", ms(c.at), c.node, c.held)).collect();
            Error(format!(
                "{e}; microseconds since the signal: {}\n{}",
                line.join(", "),
                lan.tails(40, start - secs(9))
            ))
        })?;
        ensure!(watcher.holder(vip).as_deref() == Some("node2"), "{vip} is not on node2 alone in the end");
    }
    Ok(Outcome { margin_ms, lateness, takeover })
}
