//! What an idle master asks of the kernel in a minute, call by call: for each advert, for each renewal of the
//! lease, and what of it was for nothing.

use super::lab::*;
use super::router;
use crate::ensure;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;

const SECONDS: u64 = 60;

/// A name, the VIP, and whether with HAProxy.
const CASES: [(&str, &str, bool); 3] = [
    ("IPv4", "192.168.30.230", false),
    ("IPv6", "2001:db8:30::232", false),
    ("IPv4 with HAProxy", "192.168.30.230", true),
];

/// The calls of one master.
#[derive(Default)]
struct Calls {
    adverts: u32,
    renewals: u32,
    /// By name and what is special of the result: their number.
    all: BTreeMap<String, u32>,
    /// Calls that brought nothing: no data, or a wake-up after which nothing was done.
    idle: u32,
    examples: Vec<String>,
}

/// All cases at once: strace slows only what it traces.
pub(super) fn run() -> Result<()> {
    let results = std::thread::scope(|s| {
        let threads: Vec<_> = CASES.iter().map(|case| s.spawn(|| trace(case))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .collect::<Vec<_>>()
    });
    let mut wrong = Vec::new();
    for ((name, ..), calls) in CASES.iter().zip(results) {
        let c = calls?;
        let total: u32 = c.all.values().sum();
        println!(
            "{name}, advert_int 1, {SECONDS} s: {} adverts, {} renewals, {total} system calls: {:.1} a second, {:.1} for each \
             advert; {} for nothing",
            c.adverts,
            c.renewals,
            f64::from(total) / SECONDS as f64,
            f64::from(total) / f64::from(c.adverts.max(1)),
            c.idle,
        );
        for (call, n) in &c.all {
            println!("  {n:>6}  {call}");
        }
        if c.adverts + 2 < SECONDS as u32 || c.renewals + 2 < SECONDS as u32 {
            wrong.push(format!("{name}: {} adverts, {} renewals", c.adverts, c.renewals));
        }
        // Once or twice in a minute is chance.
        if c.idle > 2 {
            wrong.push(format!("{name}: {} calls for nothing, such as\n{}", c.idle, c.examples.join("\n")));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn trace((_, vip, haproxy): &(&str, &str, bool)) -> Result<Calls> {
    let lan = Lan::new(&[("node1", "192.168.30.116/24")])?;
    let (node, watcher) = (lan.node("node1"), Watcher::start(&lan)?);
    let cfg = if *haproxy { Some(haproxy_cfg(&node, ":5000")?) } else { None };
    let vipd = Vipd::run(&node, cfg.as_deref(), &[router(51, 100, vip)])?;
    watcher.wait_holder(vip, "node1", secs(10))?;
    sleep(secs(8)); // over the second burst of announcements
    let file = node.dir().join("strace");
    let mut cmd = Command::new("strace");
    cmd.args(["-s", "16", "-e", "signal=none", "-o"]).arg(&file).args(["-p", &vipd.pid().to_string()]);
    let strace = Proc::start(&node, "strace", cmd)?;
    strace.wait_log("attached", secs(5))?;
    sleep(secs(SECONDS));
    strace.signal(Signal::SIGINT);
    strace.wait_exit(secs(5))?;
    ensure!(vipd.is_alive(), "vipd has died");
    Ok(count(&std::fs::read_to_string(file)?))
}

fn count(text: &str) -> Calls {
    let mut calls = Calls::default();
    let mut last = "";
    for line in text.lines() {
        let Some((name, rest)) = line.split_once('(').filter(|(name, _)| !name.contains(' ')) else {
            continue;
        };
        let result = rest.rsplit(" = ").next().unwrap_or_default();
        // Interrupted by the end of the trace.
        if result.contains('?') {
            continue;
        }
        let errno = if result.starts_with("-1 ") { result.split(' ').nth(1).unwrap_or_default() } else { "" };
        let netlink = rest.split("nlmsg_type=").nth(1).and_then(|t| t.split(',').next()).unwrap_or_default();
        let what = match rest {
            _ if !netlink.is_empty() => netlink,
            _ if rest.contains("224.0.0.18") || rest.contains("ff02::12") => "advert",
            _ if rest.contains("AF_PACKET") => "announcement",
            _ if name == "ppoll" && result.contains("Timeout") => "timer",
            _ => "",
        };
        calls.adverts += u32::from(name.starts_with("send") && what == "advert");
        calls.renewals += u32::from(name.starts_with("send") && what == "RTM_NEWADDR");
        let key = [name, what, errno].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" ");
        *calls.all.entry(key).or_default() += 1;
        // What is asked for again at once has brought nothing the first time; and memory is not to come and
        // go.
        if errno == "EAGAIN" || name == "munmap" || (name == "ppoll" && last.starts_with("ppoll(")) {
            calls.idle += 1;
            if calls.examples.len() < 6 {
                calls.examples.push(format!("  {last}\n  {line}"));
            }
        }
        last = line;
    }
    calls
}
