//! A day's adverts in minutes: 250 virtual routers with an advert each 10 ms, ten million sent and received.
//! How late they are, whether they drift, and what becomes of the memory; a while of the same with
//! keepalived.

use super::lab::*;
use crate::{ensure, fail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType,
    recvmmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use std::collections::HashMap;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

const ROUTERS: u8 = 250;
const INTERVAL: i64 = 10_000_000; // ns
/// What comes by so much before its time has not come late by nearly a whole interval.
const EARLY: i64 = 500_000;
const PER_SECOND: u64 = ROUTERS as u64 * 100;
/// keepalived's run, in adverts that are due.
const BESIDE: u64 = 30 * PER_SECOND;

pub(super) fn run(adverts: u64) -> Result<()> {
    let vipd = of(Kind::Vipd, adverts)?;
    let keepalived = of(Kind::Keepalived, adverts.min(BESIDE))?;
    println!("\n{:<58} {:>12} {:>12}", "250 virtual routers, advert_int 0.01", "vipd", "keepalived");
    for ((what, v), (_, k)) in vipd.iter().zip(&keepalived) {
        // keepalived counts each interval from the one before: it has no grid.
        let k = if k.is_nan() || what.contains("grid") { "-".to_owned() } else { format!("{k:.3}") };
        println!("{what:<58} {v:>12.3} {k:>12}");
    }
    let value = |name: &str| vipd.iter().find(|(what, _)| *what == name).map_or(f64::NAN, |(_, v)| *v);
    let grown = [SENDER, RECEIVER].map(|[first, .., last]| value(last) - value(first));
    ensure!(grown.iter().all(|kib| *kib <= 64.0), "memory grew by {grown:?} KiB");
    let drift = value(LAST_TENTH) - value(FIRST_TENTH);
    ensure!((-1.0..1.0).contains(&drift), "the adverts' times moved by {drift} ms");
    ensure!(value(HEARD) as u64 >= adverts, "the backup heard {} adverts of {adverts}", value(HEARD));
    Ok(())
}

const SENDER: [&str; 3] = ["sender: own memory at the start, KiB", "  in the middle ", "  at the end "];
const RECEIVER: [&str; 3] = ["receiver: own memory at the start, KiB", "  in the middle  ", "  at the end  "];
const FIRST_TENTH: &str = "after its time on the grid: p50 in the first tenth, ms";
const LAST_TENTH: &str = "after its time on the grid: p50 in the last tenth, ms";
const HEARD: &str = "adverts that the receiver says it heard";

type Figures = Vec<(&'static str, f64)>;

fn of(kind: Kind, adverts: u64) -> Result<Figures> {
    let lan = Lan::new(&[("node1", "192.168.30.116/16"), ("node2", "192.168.30.117/16")])?;
    let watcher = Watcher::start(&lan)?;
    let (one, two) = (lan.node("node1"), lan.node("node2"));
    // This is about sending and receiving: a receiver that takes over whenever this machine pauses for 30 ms
    // would be another experiment.
    let patient = if kind == Kind::Vipd { "down_timer_adverts = 100" } else { "down_timer_adverts 100" };
    let routers = |priority| -> Vec<Router> {
        let router =
            |i| Router::new(i, priority, &format!("192.168.40.{i}/16")).v3().advert_int("0.01").with(patient);
        (1..=ROUTERS).map(router).collect()
    };
    let sender = Daemon::start(kind, &one, &routers(200))?;
    for i in 1..=ROUTERS {
        watcher.wait_holder(&format!("192.168.40.{i}"), "node1", secs(20))?;
    }
    let receiver = Daemon::start(kind, &two, &routers(100))?;
    receiver.wait_log("Entering BACKUP STATE", secs(10))?;
    sleep(secs(30)); // over the second burst of announcements, and whatever a beginning takes
    let heard_before = heard(&receiver);
    let fd = two.enter(tap)?;
    let pids = [pid(&sender, kind), pid(&receiver, kind)];
    let cpu_before = pids.map(cpu);
    let (mut stamps, mut memory) = (Stamps::new(adverts), Vec::new());
    let start = Instant::now();
    // What is never reached must end as well.
    let end = start + secs(5) + Duration::from_secs(2 * adverts / PER_SECOND);
    for part in 0..=8 {
        stamps.read(&fd, adverts * part / 8, end)?;
        memory.push(pids.map(size));
    }
    let elapsed = start.elapsed();
    let cpu = [0, 1].map(|i| (cpu(pids[i]) - cpu_before[i]).as_secs_f64() / elapsed.as_secs_f64() * 100.0);
    let holders = watcher.holders("192.168.40.1");
    ensure!(sender.is_alive() && receiver.is_alive(), "one of them has died\n{}", lan.tails(20, start));
    let mut figures = vec![
        ("seconds", elapsed.as_secs_f64()),
        ("adverts on the wire", stamps.count as f64),
        (HEARD, heard(&receiver) - heard_before),
        (
            "adverts of 1000 that were due",
            stamps.count as f64 / elapsed.as_secs_f64() / PER_SECOND as f64 * 1e3,
        ),
    ];
    for (whats, hist) in [
        (
            [
                "after its time on the grid: p50, ms",
                "  p99, on the grid",
                "  p99.9, on the grid",
                "  the latest, on the grid",
            ],
            &stamps.grid,
        ),
        (
            ["after the one before by 10 ms and more: p50, ms", "  p99 ", "  p99.9 ", "  the latest "],
            &stamps.pause,
        ),
    ] {
        figures.extend(whats.into_iter().zip([0.5, 0.99, 0.999, 1.0].map(|p| hist.percentile(p))));
    }
    figures.push((FIRST_TENTH, stamps.tenths[0].percentile(0.5)));
    figures.push((LAST_TENTH, stamps.tenths[1].percentile(0.5)));
    for (i, whats) in [SENDER, RECEIVER].into_iter().enumerate() {
        figures.extend(whats.into_iter().zip([0, 4, 8].map(|part| memory[part][i].0 as f64)));
    }
    figures.push(("sender: PSS at the start, KiB", memory[0][0].1 as f64));
    figures.push(("sender: PSS at the end, KiB", memory[8][0].1 as f64));
    figures.push(("sender: CPU, %", cpu[0]));
    figures.push(("receiver: CPU, %", cpu[1]));
    figures.push(("holders of the first address in the end", holders.len() as f64));
    Ok(figures)
}

/// keepalived's parent only watches its child.
fn pid(daemon: &Daemon, kind: Kind) -> i32 {
    match kind {
        Kind::Vipd => daemon.pid(),
        Kind::Keepalived => daemon.descendants().first().copied().unwrap_or(daemon.pid()),
    }
}

/// What vipd has counted.
fn heard(daemon: &Daemon) -> f64 {
    let Daemon::Vipd(vipd) = daemon else { return f64::NAN };
    let Ok(out) = vipd.cli(&["status", "--metrics"]) else { return f64::NAN };
    let text = String::from_utf8_lossy(&out.stdout);
    let received = text.lines().filter(|l| l.contains("adverts_received_total{"));
    received.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What it has written to itself (anonymous memory), and PSS, in KiB: pages of the program come as they are
/// needed.
fn size(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("Anonymous:"), field("Pss:"))
}

fn cpu(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

/// Counts of microseconds, up to 0.2 s.
struct Histogram(Vec<u32>);

impl Histogram {
    fn new() -> Histogram {
        Histogram(vec![0; 200_001])
    }

    fn add(&mut self, nanos: i64) {
        let i = usize::try_from(nanos / 1000).unwrap_or(0).min(self.0.len() - 1);
        self.0[i] += 1;
    }

    /// In milliseconds.
    fn percentile(&self, p: f64) -> f64 {
        let total: u64 = self.0.iter().map(|n| u64::from(*n)).sum();
        let mut left = (total as f64 * p).ceil() as u64;
        let hit = self.0.iter().position(|n| {
            left = left.saturating_sub(u64::from(*n));
            left == 0
        });
        if total == 0 { f64::NAN } else { hit.map_or(f64::NAN, |i| i as f64 / 1e3) }
    }
}

/// One virtual router's adverts.
#[derive(Clone, Copy, Default)]
struct Row {
    count: u64,
    last: i64,
    /// When the grid began: the earliest of the first hundred, each less the intervals before it.
    base: i64,
}

/// How late adverts were, from the kernel's stamps.
struct Stamps {
    count: u64,
    wanted: u64,
    rows: HashMap<u8, Row>,
    pause: Histogram,
    grid: Histogram,
    /// The same in the first and in the last tenth.
    tenths: [Histogram; 2],
}

impl Stamps {
    fn new(wanted: u64) -> Stamps {
        let tenths = [Histogram::new(), Histogram::new()];
        Stamps {
            count: 0,
            wanted,
            rows: HashMap::new(),
            pause: Histogram::new(),
            grid: Histogram::new(),
            tenths,
        }
    }

    fn advert(&mut self, vrid: u8, at: i64) {
        self.count += 1;
        let row = self.rows.entry(vrid).or_insert(Row { count: 0, last: at, base: at });
        row.count += 1;
        if row.count == 1 {
            return;
        }
        self.pause.add(at - row.last - INTERVAL);
        row.last = at;
        if row.count <= 100 {
            let off = (at - row.base + INTERVAL / 2).rem_euclid(INTERVAL) - INTERVAL / 2;
            row.base += off.min(0);
            return;
        }
        // One that is a whole interval late has missed its turn, which the count shows.
        let late = (at - row.base + EARLY).rem_euclid(INTERVAL) - EARLY;
        self.grid.add(late);
        let tenth = self.count * 10 / self.wanted.max(1);
        if let 0 | 9 = tenth {
            self.tenths[usize::from(tenth == 9)].add(late);
        }
    }

    /// Reads until there were so many, or it is too late.
    fn read(&mut self, fd: &OwnedFd, until: u64, end: Instant) -> Result<()> {
        const BATCH: usize = 64;
        let mut bufs = [[0_u8; 64]; BATCH];
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec)));
        while self.count < until && Instant::now() < end {
            let mut parts: Vec<[IoSliceMut<'_>; 1]> = bufs.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let got = match recvmmsg(fd.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None) {
                Err(Errno::EINTR | Errno::EAGAIN) => continue,
                other => other?,
            };
            for message in got {
                let stamp = message.cmsgs()?.find_map(|c| match c {
                    ControlMessageOwned::ScmTimestampns(t) => Some(t.tv_sec() * 1_000_000_000 + t.tv_nsec()),
                    _ => None,
                });
                // Behind the headers of Ethernet and IPv4.
                let vrid = message.iovs().next().and_then(|frame| frame.get(35).copied());
                let (Some(at), Some(vrid)) = (stamp, vrid) else { fail!("an advert without a stamp") };
                self.advert(vrid, at);
            }
        }
        Ok(())
    }
}

/// A socket for the adverts that come in, stamped by the kernel.
fn tap() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let op = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };
    let jeq = |k: u32, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k };
    let (load_byte, load_half, ret) = (0x30, 0x28, 0x06);
    // EtherType IPv4, protocol 112.
    let program =
        [op(load_half, 12), jeq(0x0800, 0, 3), op(load_byte, 23), jeq(112, 0, 1), op(ret, 64), op(ret, 0)];
    attach_filter(fd.as_fd(), &program)?;
    setsockopt(&fd, sockopt::RcvBufForce, &(16 << 20))?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(1, 0))?;
    Ok(fd)
}
