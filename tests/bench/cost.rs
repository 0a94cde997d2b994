//! What an idle pair costs: time on a CPU, memory, wake-ups, system calls.

use super::figures::{KINDS, Table, millis};
use super::lab::*;
use super::{floor, pair, plot};
use crate::ensure;
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WINDOW: Duration = secs(10);

/// One round: each daemon as master and as backup of so many routers, then the floor.
pub fn round(count: u8, table: &mut Table) -> Result<()> {
    for kind in KINDS {
        let lan = Lan::new(&[("node1", "192.168.30.116/16"), ("node2", "192.168.30.117/16")])?;
        let watcher = Watcher::start(&lan)?;
        let master = Daemon::start(kind, &lan.node("node1"), &routers(kind, count, 100))?;
        watcher.wait_holder(&format!("192.168.40.{count}"), "node1", secs(20))?;
        let backup = Daemon::start(kind, &lan.node("node2"), &routers(kind, count, 99))?;
        // Over the second burst of announcements, and a while of nothing but adverts.
        sleep(secs(8));
        let daemons = [&master, &backup];
        let groups = [Group::start(&family(&master))?, Group::start(&family(&backup))?];
        let before = groups.each_ref().map(Group::cpu);
        let woken = daemons.map(wakeups);
        sleep(WINDOW);
        for (i, (role, before)) in ["master", "backup"].into_iter().zip(before).enumerate() {
            ensure!(daemons[i].is_alive(), "{kind:?} has died");
            let mut add = |what: &str, value| {
                table.add(&format!("{count} {} {role}: {what}", plural(count)), kind, None, value)
            };
            add("CPU, ms in 10 s", millis(groups[i].cpu()? - before?));
            add("wake-ups a second", (wakeups(daemons[i]) - woken[i]) as f64 / WINDOW.as_secs_f64());
            let [anonymous, file] = memory(daemons[i]);
            add("anonymous memory, KiB", anonymous as f64);
            add("memory of files (shared with the file), KiB", file as f64);
        }
        let calls = system_calls(&master)? / WINDOW.as_secs_f64();
        table.add(&format!("{count} {} master: system calls a second", plural(count)), kind, None, calls);
    }
    floor::measure(count, table)
}

/// The same for one router and HAProxy, all processes counted.
pub fn with_haproxy(table: &mut Table) -> Result<()> {
    for pair in pair::Pair::both("1")? {
        let node = pair.node();
        let pids: Vec<i32> =
            node.pids("").into_iter().filter(|pid| *pid != std::process::id() as i32).collect();
        let group = Group::start(&pids)?;
        // The client asks no more: what is left is what the daemons do.
        drop(pair.client);
        drop(pair.prober);
        sleep(secs(8));
        let before = group.cpu()?;
        sleep(WINDOW);
        let used = group.cpu()? - before;
        let what = "1 router with HAProxy, master: CPU of all processes, ms in 10 s";
        table.add(what, pair.kind, None, millis(used));
    }
    Ok(())
}

/// From the cut of the cable to the first and the last of 250 addresses on the other node.
pub fn takeover(table: &mut Table) -> Result<()> {
    let mut series = Vec::new();
    for kind in KINDS {
        let lan = Lan::new(&[("node1", "192.168.30.116/16"), ("node2", "192.168.30.117/16")])?;
        let watcher = Watcher::start(&lan)?;
        let _master = Daemon::start(kind, &lan.node("node1"), &routers(kind, 250, 100))?;
        watcher.wait_holder("192.168.40.250", "node1", secs(20))?;
        let _backup = Daemon::start(kind, &lan.node("node2"), &routers(kind, 250, 99))?;
        sleep(secs(6));
        let from = Instant::now();
        lan.node("node1").cut()?;
        let mut came = Vec::new();
        for i in 1..=250 {
            came.push(watcher.wait_change(&format!("192.168.40.{i}"), "node2", true, from, secs(12))?);
        }
        came.sort_unstable();
        if let [first, .., last] = came[..] {
            let took = millis(last - first);
            table.add("takeover of 250 routers: first to last address, ms", kind, None, took);
            series.push((kind, came.iter().map(|at| millis(*at - first)).collect()));
        }
    }
    let title = "Takeover of 250 routers: each address, since the first of them (the last round)";
    std::fs::write(Path::new(super::OUT).join("takeover.svg"), plot::curve(title, "ms", &series))?;
    Ok(())
}

/// From the start of the process to the first advert of one that need not wait.
pub fn spawn(table: &mut Table) -> Result<()> {
    let lan = Lan::new(&[("node1", "192.168.30.116/24")])?;
    let capture = Capture::start(&lan)?;
    for kind in KINDS {
        let from = Instant::now();
        // The owner's address is its own; keepalived wants another one to send from.
        let owner = match kind {
            Kind::Vipd => Router::new(super::VRID, 255, "192.168.30.116/24"),
            Kind::Keepalived => Router::new(super::VRID, 255, "192.168.30.230/24").with("state MASTER"),
        };
        let daemon = Daemon::start(kind, &lan.node("node1"), &[owner])?;
        let advert = capture.wait_advert("node1", super::VRID, from, secs(10));
        let advert = advert.map_err(|e| Error(format!("{kind:?}: {e}: {}", daemon.log().tail(9, from))))?;
        let took = millis(advert.at - from);
        table.add("spawn to first advert at priority 255, ms", kind, None, took);
        daemon.terminate();
        daemon.wait_exit(secs(5))?;
    }
    Ok(())
}

/// How late the adverts of a master are, on an idle machine and on one with no time to spare. None of the two
/// has a realtime priority.
pub fn lateness(table: &mut Table) -> Result<()> {
    let interval = ms(100);
    for kind in KINDS {
        let lan = Lan::new(&[("node1", "192.168.30.116/24")])?;
        let capture = Capture::start(&lan)?;
        let _daemon = Daemon::start(kind, &lan.node("node1"), &[pair::router(100, "0.1")])?;
        capture.wait_advert("node1", super::VRID, Instant::now(), secs(5))?;
        sleep(secs(6));
        for (state, burn) in [("idle", None), ("both processors busy", Some(Burn::start()))] {
            let from = Instant::now();
            sleep(secs(20));
            drop(burn);
            let adverts = capture.all(from, |s| s.advert(super::VRID).is_some());
            let gaps = adverts.windows(2).map(|p| millis(p[1].at - p[0].at) - millis(interval));
            let mut late: Vec<f64> = gaps.map(|gap| gap.max(0.0)).collect();
            late.sort_by(f64::total_cmp);
            for (name, part) in [("half", 0.5), ("99 of 100", 0.99), ("all", 1.0)] {
                let index = ((late.len() as f64 * part) as usize).min(late.len().saturating_sub(1));
                let value = late.get(index).copied().ok_or_else(|| Error("no adverts".to_owned()))?;
                let what = format!("adverts each 100 ms, {state}: {name} late by at most, ms");
                table.add(&what, kind, None, value);
            }
        }
    }
    Ok(())
}

/// The size of the programs; keepalived's libraries are not counted.
pub fn size(table: &mut Table) -> Result<()> {
    let keepalived = Command::new("sh").args(["-c", "command -v \"$0\"", &keepalived_path()]).output()?;
    let keepalived = String::from_utf8_lossy(&keepalived.stdout).trim().to_owned();
    for (kind, path) in KINDS.into_iter().zip([vipd_path()?, keepalived.into()]) {
        let bytes = std::fs::metadata(path)?.len() as f64;
        table.add("program, KiB (keepalived without its libraries)", kind, None, bytes / 1024.0);
    }
    Ok(())
}

fn routers(kind: Kind, count: u8, priority: u8) -> Vec<Router> {
    let router = |i| Router::new(i, priority, &format!("192.168.40.{i}/16"));
    let lease = |r: Router| if kind == Kind::Vipd { r.with("lease = auto") } else { r };
    (1..=count).map(|i| lease(router(i))).collect()
}

pub fn plural(count: u8) -> &'static str {
    if count == 1 { "router," } else { "routers," }
}

fn family(daemon: &Daemon) -> Vec<i32> {
    [vec![daemon.pid()], daemon.descendants()].concat()
}

/// How often its processes went to sleep and were woken.
fn wakeups(daemon: &Daemon) -> u64 {
    let of = |pid| field(&format!("/proc/{pid}/status"), "voluntary_ctxt_switches:");
    family(daemon).into_iter().map(of).sum()
}

/// KiB of its processes that are theirs alone and that hold nothing of a file; and those of files.
fn memory(daemon: &Daemon) -> [u64; 2] {
    let sum = |name: &str| -> u64 {
        family(daemon).into_iter().map(|pid| field(&format!("/proc/{pid}/smaps_rollup"), name)).sum()
    };
    let anonymous = sum("Anonymous:");
    [anonymous, sum("Pss:").saturating_sub(anonymous)]
}

fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// All of its processes, in [`WINDOW`].
fn system_calls(daemon: &Daemon) -> Result<f64> {
    let mut cmd = Command::new("strace");
    cmd.args(["-f", "-c", "-q"]);
    for pid in family(daemon) {
        cmd.args(["-p", &pid.to_string()]);
    }
    let mut child = cmd.stderr(std::process::Stdio::piped()).spawn()?;
    sleep(WINDOW);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
    let mut text = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        std::io::Read::read_to_string(&mut pipe, &mut text)?;
    }
    child.wait()?;
    let total = text.lines().find(|l| l.trim_end().ends_with(" total"));
    // % time, seconds, usecs/call, calls, errors (or nothing), "total"
    let calls = total.and_then(|l| l.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or_else(|| Error(format!("strace: {text}")))
}
