//! The fault table: what each fault costs, vipd beside keepalived, with an advert each second and ten a
//! second. The four laboratories of a fault are built, then all suffer it at once, then all are taken down:
//! what the kernel locks to make or remove a namespace never falls into a measurement.

use super::lab::*;
use super::{phase, router};
use crate::{ensure, fail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const VIPS: [&str; 3] = super::VIPS;
const ASKED: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 30, 230), Ipv4Addr::new(192, 168, 30, 231)];
const SERVICES: [&str; 2] = ["192.168.30.230:5000", "[2001:db8:30::232]:5000"];
const SETTINGS: [(Kind, &str); 4] =
    [(Kind::Vipd, "1"), (Kind::Keepalived, "1"), (Kind::Vipd, "0.1"), (Kind::Keepalived, "0.1")];

/// Something that goes wrong on node1, the master.
struct Fault {
    name: &'static str,
    happen: fn(&mut Cell) -> Result<()>,
    /// Why the design allows two holders, if it does.
    excepted: &'static str,
    /// Further lines of vipd.ini of the master's and of the backup's virtual routers.
    lines: [&'static str; 2],
}

const fn fault(name: &'static str, happen: fn(&mut Cell) -> Result<()>) -> Fault {
    Fault { name, happen, excepted: "", lines: [""; 2] }
}

const FAULTS: [Fault; 29] = [
    fault("kill -9", |c| c.kill()),
    fault("kill -9, back after 0.2 s", |c| c.respawn(ms(200))),
    fault("kill -9, back after 1 s", |c| c.respawn(secs(1))),
    fault("SIGSTOP for 2 intervals", |c| c.stop(c.interval * 2)),
    fault("SIGSTOP for 6 s", |c| c.stop(secs(6))),
    fault("frozen (cgroup v2) for 6 s", freeze),
    fault("starved of CPU for 8 s", starve),
    Fault { excepted: "make before break: intended", ..fault("planned stop", planned_stop) },
    fault("reload", |c| {
        c.one.signal(Signal::SIGHUP);
        Ok(())
    }),
    fault("VIPs deleted", |c| {
        let vips = [
            ("192.168.30.230", "24", "32"),
            ("192.168.30.231", "24", "32"),
            ("2001:db8:30::232", "64", "128"),
        ];
        for (vip, long, short) in vips {
            // As /32 or /128 if vipd added it.
            let each = [long, short].map(|len| c.node.ip(&format!("addr del {vip}/{len} dev eth0")).is_ok());
            ensure!(each.contains(&true), "{vip} cannot be deleted");
        }
        Ok(())
    }),
    fault("netlink flood (ENOBUFS)", flood),
    fault("link down for 4 s", |c| c.for_a_while(secs(4), "link set eth0 down", "link set eth0 up")),
    fault("link removed, made again after 2 s", |c| {
        c.node.ip("link del eth0")?;
        sleep(secs(2));
        c.node.plug()?;
        c.own_v6()
    }),
    fault("link renamed for 4 s", |c| {
        c.for_a_while(secs(4), "link set eth0 name eth7", "link set eth7 name eth0")
    }),
    fault("MAC changed", |c| c.node.ip("link set eth0 address 02:00:00:aa:bb:cc")),
    fault("source address removed for 4 s", |c| {
        // The foreign one as well: vipd would send from that.
        c.touching.store(false, Ordering::Relaxed);
        sleep(secs(2));
        c.node.ip("addr del 10.66.0.116/24 dev eth0")?;
        c.without_source()
    }),
    fault("the same, a foreign address stays", |c| c.without_source()),
    fault("cable cut for 6 s", |c| {
        c.node.cut()?;
        sleep(secs(6));
        c.node.mend()?;
        c.own_v6()
    }),
    Fault {
        excepted: "split brain: no advert gets through",
        ..fault("switch drops all between them for 6 s", |c| {
            let nodes = [&c.node, &c.lan.node("node2")];
            c.lan.partition(&nodes)?;
            sleep(secs(6));
            c.lan.heal(&nodes)
        })
    },
    Fault {
        excepted: "the last adverts lost on the network",
        ..fault("switch drops the master's adverts for 6 s", |c| {
            let port = c.lan.node("node2").port();
            let flood =
                |how| c.lan.switch().ip(&format!("link set {port} type bridge_slave mcast_flood {how}"));
            flood("off")?;
            sleep(secs(6));
            flood("on")
        })
    },
    fault("HAProxy: kill -9 of all", |c| c.haproxy(Signal::SIGKILL, true)),
    fault("HAProxy: kill -9 of the worker", |c| c.haproxy(Signal::SIGKILL, false)),
    fault("HAProxy: hung (SIGSTOP of the worker)", |c| c.haproxy(Signal::SIGSTOP, false)),
    fault("HAProxy: configuration broken, kill -9", |c| {
        c.node.write("haproxy.cfg", "no such thing\n")?;
        c.haproxy(Signal::SIGKILL, true)
    }),
    fault("HAProxy: planned stop of it (TERM)", |c| c.haproxy(Signal::SIGTERM, true)),
    Fault {
        excepted: "nothing takes the address from a dead master",
        lines: ["lease = off", "lease = off"],
        ..fault("kill -9, lease = off, back after 5 s", |c| c.respawn(secs(5)))
    },
    Fault {
        excepted: "it waits for 2 adverts where the lease reckons with 3",
        lines: ["", "down_timer_adverts = 2"],
        ..fault("kill -9, the backup less patient", |c| c.kill())
    },
    Fault { excepted: "an owner has the address before it speaks", ..fault("an owner (255) starts", owner) },
    fault("the backup: kill -9, back after 1 s", |c| {
        c.two = None;
        sleep(secs(1));
        c.two = Some(c.backup(254)?);
        Ok(())
    }),
];

const NOT_MEASURED: &str = "\
not measured here: a step of CLOCK_REALTIME and a suspend of the machine, which no namespace has for itself: both are
played with injected time (make test: the unit tests of the node and the simulator)";

/// One laboratory: two nodes of a kind, a client, and somebody who asks for the addresses.
struct Cell {
    // In the order in which they are to be dropped: processes before the LAN.
    one: Daemon,
    two: Option<Daemon>,
    clients: Vec<Client>,
    prober: Prober,
    touching: Arc<AtomicBool>,
    _haproxys: Vec<Proc>,
    watcher: Watcher,
    node: Node,
    kind: Kind,
    advert_int: &'static str,
    lines: [&'static str; 2],
    interval: Duration,
    lan: Lan,
}

/// What a fault cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    nobody: Duration,
    two: Duration,
    silence: Duration,
    /// There was no answer at the end, either.
    silent: bool,
    macs: usize,
    macs_for: Duration,
}

impl Cost {
    fn worst(self, other: Cost) -> Cost {
        Cost {
            nobody: self.nobody.max(other.nobody),
            two: self.two.max(other.two),
            silence: self.silence.max(other.silence),
            silent: self.silent || other.silent,
            macs: self.macs.max(other.macs),
            macs_for: self.macs_for.max(other.macs_for),
        }
    }

    fn columns(&self) -> String {
        let s = |d: Duration| d.as_secs_f64();
        let macs = if self.macs > 1 {
            format!("{} {:.2}", self.macs, s(self.macs_for))
        } else {
            self.macs.to_string()
        };
        let more = if self.silent { '+' } else { ' ' };
        format!("{:>7.3} {:>6.3} {:>7.3}{more} {macs:<7}", s(self.nobody), s(self.two), s(self.silence))
    }
}

/// All faults whose names contain one of the words, or all; `rounds` of each, the worst figures count.
pub(super) fn run(seed: u64, rounds: usize, words: &[String]) -> Result<()> {
    let chosen: Vec<&Fault> = FAULTS
        .iter()
        .filter(|f| words.is_empty() || words.iter().any(|w| f.name.contains(w.as_str())))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no fault is called {words:?}; there are:\n{}",
        FAULTS.map(|f| f.name).join("\n")
    );
    let (mut tables, mut wrong) = (["1", "0.1"].map(|_| String::new()), Vec::new());
    for (i, f) in chosen.iter().enumerate() {
        let mut costs: [Option<Cost>; 4] = [None; 4];
        for round in 0..rounds {
            for (j, result) in once(f, phase(seed, i * rounds + round)).into_iter().enumerate() {
                let (kind, advert_int) = SETTINGS[j];
                let here = format!("{}: {kind:?}, advert_int {advert_int}", f.name);
                match result {
                    Ok((cost, end)) => {
                        costs[j] = Some(cost.worst(costs[j].unwrap_or_default()));
                        let theorem = advert_int == "1" && f.excepted.is_empty() && !cost.two.is_zero();
                        if kind == Kind::Vipd && (theorem || !end.is_empty()) {
                            wrong.push(format!("{here}: two holders for {:?}{end}", cost.two));
                        } else if !end.is_empty() {
                            println!("  {here}{end}");
                        }
                    }
                    Err(e) if kind == Kind::Vipd => wrong.push(format!("{here}: {e}")),
                    Err(e) => println!("  {here}: {e}"),
                }
            }
        }
        for (table, costs) in tables.iter_mut().zip(costs.chunks(2)) {
            let columns = |c: Option<Cost>| c.map_or(format!("{:>24}        ", "-"), |c| c.columns());
            let line = costs.iter().map(|c| columns(*c)).collect::<Vec<_>>().join("  ");
            let _ = writeln!(table, "{:<42}{}", f.name, line.trim_end());
        }
        let last = |t: &String| t.lines().last().unwrap_or_default().to_owned();
        println!(
            "{:.0} s: {}\n{:>42}{}",
            since_start(Instant::now()),
            last(&tables[0]),
            "0.1: ",
            last(&tables[1]).get(42..).unwrap_or_default()
        );
    }
    let figures = "nobody    two   silent MACs   ";
    for (advert_int, table) in ["1", "0.1"].iter().zip(&tables) {
        println!(
            "\n{:<42}vipd                              keepalived",
            format!("advert_int {advert_int}, seconds")
        );
        println!("{:<42}{figures}    {}\n{table}", "", figures.trim_end());
    }
    println!(
        "nobody, two: for how long no node, or more than one, had the address, of all three virtual routers the worst; silent:\n\
         the longest time without an answer over IPv4 or IPv6 (+: until the end); MACs: the most that answered one ARP request,\n\
         and if more than one, for how long"
    );
    for f in chosen.iter().filter(|f| !f.excepted.is_empty()) {
        println!("two holders are excepted by the design: {}: {}", f.name, f.excepted);
    }
    println!(
        "two holders are excepted by the design: advert_int under 1: the kernel's leases are whole seconds\n{NOT_MEASURED}"
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The figures of the four settings, and what is not as it should be in the end.
fn once(f: &Fault, phase: Duration) -> Vec<Result<(Cost, String)>> {
    let build = |(kind, advert_int)| move || Cell::new(kind, advert_int, f.lines);
    let mut cells: Vec<Result<Cell>> = at_once(SETTINGS.map(build));
    // The moment is the point: at least one advert has been heard, and the announcements are through.
    sleep(secs(1) + phase);
    at_once(cells.iter_mut().map(|cell| {
        move || match cell {
            Ok(cell) => cell.suffer(f),
            Err(e) => fail!("{e}"),
        }
    }))
}

fn at_once<T: Send, F: FnOnce() -> T + Send>(jobs: impl IntoIterator<Item = F>) -> Vec<T> {
    std::thread::scope(|s| {
        let threads: Vec<_> = jobs.into_iter().map(|job| s.spawn(job)).collect();
        let join = |t: std::thread::ScopedJoinHandle<'_, T>| {
            t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))
        };
        threads.into_iter().map(join).collect()
    })
}

impl Cell {
    fn new(kind: Kind, advert_int: &'static str, lines: [&'static str; 2]) -> Result<Cell> {
        let lan = Lan::new(&[
            ("node1", "192.168.30.116/24"),
            ("node2", "192.168.30.117/24"),
            ("client", "192.168.30.10/24"),
            ("asker", "192.168.30.11/24"),
        ])?;
        let watcher = Watcher::start(&lan)?;
        let mut haproxys = Vec::new();
        for node in lan.nodes() {
            own_v6(&node)?;
            node.sysctl("net.ipv4.ip_nonlocal_bind", "1")?;
            node.sysctl("net.ipv6.ip_nonlocal_bind", "1")?;
            if kind == Kind::Keepalived && node.name().starts_with("node") {
                haproxys.push(Haproxy::supervised(&node, &cfg(&node)?)?);
            }
        }
        let one = daemon(kind, advert_int, &lan.node("node1"), [100, 150, 200], lines[0])?;
        for vip in VIPS {
            watcher.wait_holder(vip, "node1", secs(10))?;
        }
        let two = daemon(kind, advert_int, &lan.node("node2"), [254; 3], lines[1])?;
        two.wait_log("Entering BACKUP STATE", secs(10))?;
        let client = lan.node("client");
        let ask = |service: &&str| Client::start_with(&client, service, ms(10), secs(2));
        let clients = SERVICES.iter().map(ask).collect::<Result<Vec<_>>>()?;
        for c in &clients {
            c.wait_answer_by("node1", secs(5))?;
        }
        let prober = Prober::start(&lan.node("asker"), &ASKED)?;
        let touching = touch([lan.node("node1"), lan.node("node2")]);
        let interval = Duration::from_secs_f64(advert_int.parse().unwrap_or(1.0));
        let node = lan.node("node1");
        let two = Some(two);
        Ok(Cell {
            one,
            two,
            clients,
            prober,
            touching,
            _haproxys: haproxys,
            watcher,
            node,
            kind,
            advert_int,
            lines,
            interval,
            lan,
        })
    }

    fn suffer(&mut self, f: &Fault) -> Result<(Cost, String)> {
        let start = Instant::now();
        let logs = |cell: &Cell| cell.lan.tails(30, start - secs(1));
        (f.happen)(self).map_err(|e| Error(format!("{e}\n{}", logs(self))))?;
        // The down time, the end of a lease, a hung HAProxy's three missed checks.
        sleep(if self.interval < secs(1) { secs(5) } else { secs(7) });
        let end = Instant::now();
        let mut cost = Cost::default();
        let mut wrong = String::new();
        for vip in VIPS {
            let (nobody, two) = self.watcher.nobody_and_several(vip, start, end);
            (cost.nobody, cost.two) = (cost.nobody.max(nobody), cost.two.max(two));
            let holders = self.watcher.holders(vip);
            if holders.len() != 1 {
                let _ = write!(wrong, "; in the end {vip} is on {holders:?}");
            }
        }
        (cost.macs, cost.macs_for) = self.prober.answers(start, end);
        for c in &self.clients {
            let report = c.report(start, end)?;
            cost.silence = cost.silence.max(report.silence);
            cost.silent |= c.report(end - secs(1), end)?.by.is_empty();
        }
        let doubly = self.interval == secs(1) && f.excepted.is_empty() && !cost.two.is_zero();
        if self.kind == Kind::Vipd && (doubly || !wrong.is_empty()) {
            let told = VIPS.iter().flat_map(|vip| self.watcher.timeline(vip)).filter(|c| c.at > start);
            let line = |c: Change| format!("  {:.3} {} {} {}\n", since_start(c.at), c.node, c.addr, c.held);
            let _ = write!(
                wrong,
                "; it began at {:.3}\n{}",
                since_start(start),
                told.map(line).collect::<String>()
            );
            wrong += &logs(self);
        }
        Ok((cost, wrong))
    }

    fn backup(&self, priority: u8) -> Result<Daemon> {
        daemon(self.kind, self.advert_int, &self.lan.node("node2"), [priority; 3], self.lines[1])
    }

    /// The processes that speak VRRP, without HAProxy.
    fn pids(&self) -> Vec<i32> {
        let mut pids = vec![self.one.pid()];
        if self.kind == Kind::Keepalived {
            pids.extend(self.node.pids("keepalived").into_iter().filter(|pid| *pid != self.one.pid()));
        }
        pids
    }

    fn signal(&self, pids: &[i32], signal: Signal) {
        for pid in pids {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }

    fn kill(&mut self) -> Result<()> {
        self.signal(&self.pids(), Signal::SIGKILL);
        self.one.wait_exit(secs(2)).map(drop)
    }

    fn respawn(&mut self, after: Duration) -> Result<()> {
        let start = Instant::now();
        self.kill()?;
        sleep((start + after).saturating_duration_since(Instant::now()));
        self.one = daemon(self.kind, self.advert_int, &self.node, [100, 150, 200], self.lines[0])?;
        Ok(())
    }

    fn stop(&mut self, time: Duration) -> Result<()> {
        let pids = self.pids();
        self.signal(&pids, Signal::SIGSTOP);
        sleep(time);
        self.signal(&pids, Signal::SIGCONT);
        Ok(())
    }

    /// A link that was down has lost its IPv6 address; whoever configures links gives it back.
    fn own_v6(&self) -> Result<()> {
        own_v6(&self.node)
    }

    fn for_a_while(&self, time: Duration, on: &str, off: &str) -> Result<()> {
        self.node.ip(on)?;
        sleep(time);
        self.node.ip(off)?;
        self.own_v6()
    }

    fn without_source(&self) -> Result<()> {
        let addr = "192.168.30.116/24 dev eth0";
        self.for_a_while(secs(4), &format!("addr del {addr}"), &format!("addr add {addr}"))
    }

    fn haproxy(&self, signal: Signal, all: bool) -> Result<()> {
        let master = self.node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
        let mut pids = if all { vec![master] } else { Vec::new() };
        if signal != Signal::SIGTERM {
            pids.extend(self.node.haproxy_workers());
        }
        ensure!(!pids.is_empty(), "no HAProxy worker");
        self.signal(&pids, signal);
        Ok(())
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.touching.store(false, Ordering::Relaxed);
    }
}

fn freeze(c: &mut Cell) -> Result<()> {
    let freezer = Freezer::start(&c.pids())?;
    sleep(secs(6));
    freezer.thaw()
}

fn starve(c: &mut Cell) -> Result<()> {
    let starvation = Starvation::start(c.pids())?;
    sleep(secs(8));
    drop(starvation);
    Ok(())
}

fn planned_stop(c: &mut Cell) -> Result<()> {
    c.one.terminate();
    c.one.wait_exit(secs(15)).map(drop)
}

/// The backup's machine is one on which the addresses are its own, and starts.
fn owner(c: &mut Cell) -> Result<()> {
    c.two = None;
    c.lan.node("node2").ip("addr add 192.168.30.230/24 dev eth0\naddr add 192.168.30.231/24 dev eth0\n\
         addr add fe80::232/64 dev eth0 nodad\naddr add 2001:db8:30::232/64 dev eth0 nodad\n")?;
    c.two = Some(c.backup(255)?);
    Ok(())
}

/// More messages than any buffer holds, while the daemon stands still.
fn flood(c: &mut Cell) -> Result<()> {
    let pids = c.pids();
    c.signal(&pids, Signal::SIGSTOP);
    let lines = (0..8000)
        .map(|i| format!("addr replace 10.77.0.1/32 dev lo valid_lft {} preferred_lft 100\n", 1000 + i));
    let flooded = c.node.ip(&lines.collect::<String>());
    c.signal(&pids, Signal::SIGCONT);
    flooded?;
    match &c.one {
        Daemon::Vipd(vipd) => vipd.wait_log("messages were lost", secs(2)).map(drop),
        Daemon::Keepalived(_) => Ok(()),
    }
}

fn own_v6(node: &Node) -> Result<()> {
    let [.., host] = node.addr().octets();
    node.ip(&format!("addr replace 2001:db8:30::{host}/64 dev eth0 nodad"))
}

/// Somebody else's addresses of finite lifetime on the same interfaces, touched now and then; every run of
/// the kernel's check that this causes may delay the end of a lease.
fn touch(nodes: [Node; 2]) -> Arc<AtomicBool> {
    let on = Arc::new(AtomicBool::new(true));
    let touching = on.clone();
    std::thread::spawn(move || {
        let mut i = 0;
        while touching.load(Ordering::Relaxed) {
            i += 1;
            for node in &nodes {
                let [.., host] = node.addr().octets();
                let lines = format!(
                    "addr replace 10.66.0.{host}/24 dev eth0 valid_lft 60 preferred_lft 60\n\
                     addr replace 2001:db8:66::{host}/64 dev eth0 valid_lft 60 preferred_lft 60 nodad\n"
                );
                // The interface may be gone just now.
                let _ = node.ip(&lines);
            }
            sleep(ms(200) + phase(1, i) / 3);
        }
    });
    on
}

/// Three virtual routers; node1's priorities differ, so that their masters' first adverts, and keepalived's
/// ever after, come at different times.
fn daemon(kind: Kind, advert_int: &str, node: &Node, priorities: [u8; 3], lines: &str) -> Result<Daemon> {
    let lines = match kind {
        Kind::Vipd => lines.to_owned(),
        Kind::Keepalived if lines.contains("lease") => String::new(), // it has none
        Kind::Keepalived => lines.replace(" =", ""),
    };
    let routers = VIPS.iter().zip(priorities).zip(51..).map(|((vip, priority), vrid)| {
        let router = router(vrid, priority, vip).no_preempt().advert_int(advert_int).with(&lines);
        if advert_int == "1" { router } else { router.v3() }
    });
    let routers: Vec<Router> = routers.collect();
    match kind {
        Kind::Vipd => Ok(Daemon::Vipd(Vipd::run(node, Some(&cfg(node)?), &routers)?)),
        Kind::Keepalived => Ok(Daemon::Keepalived(Keepalived::tracking(node, routers)?)),
    }
}

fn cfg(node: &Node) -> Result<PathBuf> {
    haproxy_cfg(node, &SERVICES.join(","))
}
