//! One laboratory: two nodes of a kind, a client of each address family, and somebody who asks who answers.

use super::list::Fault;
use super::table::Cost;
use crate::lab::*;
use crate::{ensure, phase, router};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const VIPS: [&str; 3] = crate::VIPS;
/// By the families.
const SERVICES: [&str; 2] = ["192.168.30.230:5000", "[2001:db8:30::232]:5000"];
/// Four virtual routers of 250 addresses; two of each are asked for.
const MANY: [u8; 4] = [40, 41, 42, 43];
/// The down time, and the end of a lease.
const AFTER: Duration = secs(5);

pub struct Cell {
    // In the order in which they are to be dropped: processes before the LAN.
    pub one: Daemon,
    pub two: Option<Daemon>,
    pub clients: Vec<Client>,
    prober: Prober,
    asked: Vec<IpAddr>,
    pub touching: Arc<AtomicBool>,
    _haproxys: Vec<Proc>,
    watcher: Watcher,
    pub node: Node,
    kind: Kind,
    make: Make,
    pub interval: Duration,
    /// Less than a second, by chance.
    pub phase: Duration,
    pub lan: Lan,
}

/// How its daemons are configured.
#[derive(Clone, Copy)]
struct Make {
    kind: Kind,
    advert_int: f64,
    lines: [&'static str; 2],
    many: bool,
    v3: bool,
}

impl Cell {
    /// Until node1 serves and node2 is backup.
    pub fn new(f: &Fault, kind: Kind, advert_int: &str, phase: Duration) -> Result<Cell> {
        let lan = Lan::new(&[
            ("node1", "192.168.30.116/24"),
            ("node2", "192.168.30.117/24"),
            ("client", "192.168.30.10/24"),
            ("asker", "192.168.30.11/24"),
        ])?;
        let watcher = Watcher::start(&lan)?;
        let mut haproxys = Vec::new();
        let nodes = [lan.node("node1"), lan.node("node2")];
        for node in lan.nodes() {
            own_v6(&node)?;
            node.ip("route add 192.168.40.0/22 dev eth0")?;
        }
        let interval = Duration::from_secs_f64(advert_int.parse().unwrap_or(1.0));
        let make = Make {
            kind,
            advert_int: interval.as_secs_f64() * if f.slower { 2.0 } else { 1.0 },
            lines: f.lines,
            many: f.many,
            v3: f.slower || interval < secs(1),
        };
        for node in &nodes {
            node.sysctl("net.ipv4.ip_nonlocal_bind", "1")?;
            node.sysctl("net.ipv6.ip_nonlocal_bind", "1")?;
            // Without `v6only` HAProxy does not know its own IPv6 socket again: vipd-haproxy(7).
            let cfg = haproxy_cfg(node, &format!("{} v6only", make.services().join(",")))?;
            if kind == Kind::Keepalived {
                haproxys.push(Haproxy::supervised(node, &cfg)?);
            }
        }
        let one = make.start(&nodes[0], [100, 150, 200, 120], 0)?;
        for vip in make.asked() {
            watcher.wait_holder(&vip, "node1", secs(20))?;
        }
        let two = make.start(&nodes[1], [254; 4], 1)?;
        two.wait_log("Entering BACKUP STATE", secs(10))?;
        let client = lan.node("client");
        let ask = |service: &String| Client::start_with(&client, service, ms(20), secs(2));
        let clients = make.services().iter().map(ask).collect::<Result<Vec<_>>>()?;
        for c in &clients {
            c.wait_answer_by("node1", secs(5))?;
        }
        let asked: Vec<IpAddr> = make.asked().iter().filter_map(|vip| vip.parse().ok()).collect();
        let prober = Prober::start_tcp(&lan.node("asker"), &asked, &[&nodes[0], &nodes[1]])?;
        let touching = touch(nodes);
        let (node, two) = (lan.node("node1"), Some(two));
        Ok(Cell {
            one,
            two,
            clients,
            prober,
            asked,
            touching,
            _haproxys: haproxys,
            watcher,
            node,
            kind,
            make,
            interval,
            phase,
            lan,
        })
    }

    /// What the fault cost, and what is not as it should be in the end.
    pub fn suffer(&mut self, f: &Fault) -> Result<(Cost, String)> {
        let start = Instant::now();
        let logs = |cell: &Cell| cell.lan.tails(30, start - secs(1));
        (f.happen)(self).map_err(|e| Error(format!("{e}\n{}", logs(self))))?;
        sleep(AFTER);
        let end = Instant::now();
        let (mut cost, mut wrong) = (Cost::default(), String::new());
        for vip in &self.asked {
            let seen = self.prober.answered(*vip, start, end);
            cost.families[usize::from(vip.is_ipv6())].add(seen);
            let last = self.prober.answered(*vip, end - ms(500), end);
            if !last.two.is_zero() || last.nobody > ms(250) {
                let _ = write!(wrong, "; in the end two answer for {vip} for {:?} of 0.5 s", last.two);
                let _ = write!(wrong, ", and nobody for {:?}", last.nobody);
            }
        }
        for (family, client) in cost.families.iter_mut().zip(&self.clients) {
            let report = client.report(start, end)?;
            family.requests = report.requests;
            family.failed = report.failures();
            family.silence = report.silence;
            family.silent = client.report(end - secs(1), end)?.by.is_empty();
        }
        cost.late = lateness(&self.lan.nodes(), start, end);
        let doubly = f.excepted.is_empty() && cost.families.iter().any(|f| !f.two.is_zero());
        if self.kind == Kind::Vipd && (doubly || !wrong.is_empty()) {
            let _ = writeln!(wrong, "; it began at {:.3}", since_start(start));
            let nodes = self.lan.nodes();
            for vip in &self.asked {
                let held = self.watcher.timeline(&vip.to_string());
                for (what, changes) in [("has", held), ("answers", self.prober.timeline(*vip, &nodes, start))]
                {
                    for c in changes.iter().filter(|c| c.at > start) {
                        let (at, not) = (since_start(c.at), if c.held { "" } else { "no more: " });
                        let _ = writeln!(wrong, "  {at:.3} {} {not}{what} {vip}", c.node);
                    }
                }
            }
            wrong += &logs(self);
        }
        Ok((cost, wrong))
    }

    pub fn backup(&self, priority: u8) -> Result<Daemon> {
        self.make.start(&self.lan.node("node2"), [priority; 4], 1)
    }

    /// The processes that speak VRRP, without HAProxy.
    pub fn pids(&self) -> Vec<i32> {
        let mut pids = vec![self.one.pid()];
        if self.kind == Kind::Keepalived {
            pids.extend(self.node.pids("keepalived").into_iter().filter(|pid| *pid != self.one.pid()));
        }
        pids
    }

    pub fn signal(&self, pids: &[i32], signal: Signal) {
        for pid in pids {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }

    pub fn kill(&mut self) -> Result<()> {
        match self.kind {
            Kind::Vipd => self.one.kill(),
            // All at once: a process of it that outlives the other takes the addresses away.
            Kind::Keepalived => self.one.kill_tree(),
        }
        self.one.wait_exit(secs(2)).map(drop)
    }

    pub fn respawn(&mut self, after: Duration) -> Result<()> {
        let start = Instant::now();
        self.kill()?;
        sleep((start + after).saturating_duration_since(Instant::now()));
        self.one = self.make.start(&self.node, [100, 150, 200, 120], 0)?;
        Ok(())
    }

    pub fn stop(&mut self, time: Duration) -> Result<()> {
        let pids = self.pids();
        self.signal(&pids, Signal::SIGSTOP);
        sleep(time);
        self.signal(&pids, Signal::SIGCONT);
        Ok(())
    }

    /// A link that was down has lost its IPv6 address; whoever configures links gives it back.
    pub fn own_v6(&self) -> Result<()> {
        own_v6(&self.node)
    }

    pub fn for_a_while(&self, time: Duration, on: &str, off: &str) -> Result<()> {
        self.node.ip(on)?;
        sleep(time);
        self.node.ip(off)?;
        self.own_v6()
    }

    pub fn without_source(&self) -> Result<()> {
        let addr = "192.168.30.116/24 dev eth0";
        self.for_a_while(secs(4), &format!("addr del {addr}"), &format!("addr add {addr}"))
    }

    pub fn haproxy(&self, signal: Signal, all: bool) -> Result<()> {
        let master = self.node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
        let mut pids = if all { vec![master] } else { Vec::new() };
        if signal != Signal::SIGTERM {
            pids.extend(self.node.haproxy_workers());
        }
        ensure!(!pids.is_empty(), "no HAProxy worker");
        self.signal(&pids, signal);
        Ok(())
    }

    /// Each start and each trial of this configuration takes so long from now on, as with a name server that
    /// does not answer.
    pub fn slow_haproxy(&self, seconds: u32) -> Result<()> {
        let lua = self.node.write("slow.lua", &format!("os.execute('sleep {seconds}')\n"))?;
        let text = std::fs::read_to_string(self.node.dir().join("haproxy.cfg"))?;
        let slow = format!("global\n    lua-load {}\n", lua.display());
        self.node.write("haproxy.cfg", &text.replacen("global\n", &slow, 1)).map(drop)
    }

    /// By whoever is in charge of it.
    pub fn reload_haproxy(&self) -> Result<()> {
        match self.kind {
            Kind::Vipd => self.one.signal(Signal::SIGUSR2),
            Kind::Keepalived => {
                let master = self.node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
                kill(Pid::from_raw(master), Signal::SIGUSR2)?;
            }
        }
        Ok(())
    }

    /// With the interval of the row.
    pub fn reload(&self) -> Result<()> {
        let make = Make { advert_int: self.interval.as_secs_f64(), ..self.make };
        make.write(&self.node, [100, 150, 200, 120], 0)?;
        self.one.signal(Signal::SIGHUP);
        Ok(())
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.touching.store(false, Ordering::Relaxed);
    }
}

pub fn own_v6(node: &Node) -> Result<()> {
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

impl Make {
    fn services(&self) -> Vec<String> {
        if self.many {
            return vec![format!("192.168.{}.250:5000", MANY[3])];
        }
        SERVICES.map(str::to_owned).to_vec()
    }

    fn asked(&self) -> Vec<String> {
        if self.many {
            return MANY.iter().flat_map(|n| [1, 250].map(|host| format!("192.168.{n}.{host}"))).collect();
        }
        VIPS.map(str::to_owned).to_vec()
    }

    /// node1's priorities differ, so that their masters' first adverts, and keepalived's ever after, come at
    /// different times.
    fn routers(&self, priorities: [u8; 4], line: usize) -> Vec<Router> {
        let more = self.lines[line];
        let lines = match self.kind {
            // Not what the lab writes otherwise.
            Kind::Vipd if !more.contains("lease") => format!("{more}\nlease = auto"),
            Kind::Vipd => more.to_owned(),
            Kind::Keepalived if more.contains("lease") => String::new(), // it has none
            Kind::Keepalived => more.replace(" =", ""),
        };
        let make = |mut router: Router| {
            router = router.no_preempt().advert_int(&self.advert_int.to_string()).with(&lines);
            if self.v3 { router.v3() } else { router }
        };
        let many = MANY.iter().map(|n| {
            let mut router = Router::new(*n, 0, "");
            router.vips = (1..=250).map(|host| format!("192.168.{n}.{host}/32")).collect();
            router
        });
        let few = VIPS.iter().zip(51..).map(|(vip, vrid)| router(vrid, 0, vip));
        let routers: Vec<Router> = if self.many { many.collect() } else { few.collect() };
        routers.into_iter().zip(priorities).map(|(r, priority)| make(Router { priority, ..r })).collect()
    }

    fn write(&self, node: &Node, priorities: [u8; 4], line: usize) -> Result<PathBuf> {
        let routers = self.routers(priorities, line);
        match self.kind {
            Kind::Vipd => {
                let cfg = node.dir().join("haproxy.cfg");
                node.write("vipd.ini", &Vipd::ini(node, Some(&cfg), &routers))
            }
            Kind::Keepalived => node.write("keepalived.conf", &Keepalived::tracking_conf(node, routers)?),
        }
    }

    fn start(&self, node: &Node, priorities: [u8; 4], line: usize) -> Result<Daemon> {
        let text = std::fs::read_to_string(self.write(node, priorities, line)?)?;
        Ok(match self.kind {
            Kind::Vipd => Daemon::Vipd(Vipd::start(node, &text)?),
            Kind::Keepalived => Daemon::Keepalived(Keepalived::start(node, &text)?),
        })
    }
}
