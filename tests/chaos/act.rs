//! The three nodes, and the faults done to them.

use super::plan::{Edit, Fault, Kind, Victim};
use super::{NODES, ROUTERS, SPARE};
use crate::lab::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More than `stop_timeout` and what a loaded machine adds.
const STOP: Duration = secs(12);

/// A fault that was done.
#[derive(Clone, Debug)]
pub struct Done {
    pub fault: Fault,
    /// Before anything was done.
    pub begin: Instant,
    /// Its effect began before this.
    pub hit: Instant,
    /// It was mended.
    pub end: Instant,
    /// There was nothing to do it to.
    pub missed: bool,
}

/// How the configuration of a node differs from the usual one.
#[derive(Clone, Debug, Default)]
struct Wish {
    priority: Option<usize>,
    more: bool,
    less: Option<usize>,
    values: bool,
}

/// A node and its vipd.
pub struct Site {
    pub node: Node,
    index: usize,
    lease: &'static str,
    good: String,
    vipd: Mutex<Option<Vipd>>,
    wish: Mutex<Wish>,
}

/// All of it.
pub struct Field {
    pub lan: Lan,
    pub watcher: Watcher,
    /// Asks for all addresses.
    pub prober: Prober,
    pub sites: Vec<Site>,
    pub done: Mutex<Vec<Done>>,
    pub failures: Mutex<Vec<String>>,
    stranger: Node,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sleep_until(t: Instant) {
    std::thread::sleep(t.saturating_duration_since(Instant::now()));
}

/// Another priority of a node: another order among them, and no two alike.
pub fn other(priority: u8) -> u8 {
    match priority {
        254 => 60,
        150 => 90,
        _ => 252,
    }
}

impl Field {
    /// Starts it all; returns when each router is where it belongs.
    pub fn start(lease: &'static str) -> Result<Field> {
        let lan = Lan::new(&[
            (NODES[0], "192.168.30.116/24"),
            (NODES[1], "192.168.30.117/24"),
            (NODES[2], "192.168.30.118/24"),
            ("client", "192.168.30.10/24"),
            ("stranger", "192.168.30.66/24"),
            ("asker", "192.168.30.11/24"),
        ])?;
        for node in lan.nodes() {
            let [_, _, _, n] = node.addr().octets();
            // Its own IPv6 address stays when somebody takes the interface down.
            node.sysctl("net.ipv6.conf.all.keep_addr_on_down", "1")?;
            node.ip(&format!("addr add 2001:db8:30::{n}/64 dev eth0 nodad"))?;
        }
        let (watcher, stranger) = (Watcher::start(&lan)?, lan.node("stranger"));
        let bind: Vec<String> = ROUTERS.iter().map(|r| r.service()).collect();
        let site = |(index, name): (usize, &&str)| -> Result<Site> {
            let node = lan.node(name);
            let good = std::fs::read_to_string(haproxy_cfg(&node, &bind.join(","))?)?;
            let site = Site { node, index, lease, good, vipd: Mutex::default(), wish: Mutex::default() };
            site.run()?;
            Ok(site)
        };
        let sites: Result<Vec<Site>> = NODES.iter().enumerate().map(site).collect();
        let (sites, done, failures) = (sites?, Mutex::default(), Mutex::default());
        let asked: Vec<IpAddr> = super::all_addresses().map(|(_, addr)| super::ip(addr)).collect();
        let nodes: Vec<&Node> = sites.iter().map(|s: &Site| &s.node).collect();
        let prober = Prober::start_tcp(&lan.node("asker"), &asked, &nodes)?;
        let field = Field { lan, watcher, prober, sites, done, failures, stranger };
        for r in &ROUTERS {
            field.watcher.wait_holder(r.vip, NODES[r.right()], secs(20))?;
        }
        Ok(field)
    }

    /// Whether the kernel takes the address from a vipd that is dead: two that have it are two that answer.
    pub fn in_the_address(&self) -> bool {
        self.sites.iter().all(|s| s.lease == "address")
    }

    pub fn nodes(&self, numbers: &[usize]) -> Vec<Node> {
        numbers.iter().filter_map(|n| self.sites.get(*n)).map(|site| site.node.clone()).collect()
    }

    /// `nominal`, and how late the machine made the daemons of these nodes.
    pub fn bound(&self, numbers: &[usize], nominal: Duration, from: Instant, to: Instant) -> Duration {
        nominal + daemons_late(&self.nodes(numbers), from, to)
    }

    pub fn fail(&self, what: String) {
        println!("  FAILED: {what}");
        lock(&self.failures).push(what);
    }

    /// Does all these faults, each at its time, and mends them. Returns when the last one was mended: faults
    /// of one lane wait for each other.
    pub fn play(&self, faults: &[Fault]) -> Instant {
        let base = Instant::now();
        let mut lanes: BTreeMap<(u8, usize), Vec<Fault>> = BTreeMap::new();
        for f in faults {
            lanes.entry(f.kind.lane(f.node)).or_default().push(*f);
        }
        std::thread::scope(|s| {
            for lane in lanes.values() {
                s.spawn(move || {
                    for fault in lane {
                        sleep_until(base + fault.at);
                        match self.act(*fault) {
                            Ok(done) => lock(&self.done).push(done),
                            Err(e) => self.fail(format!("{fault}: {e}")),
                        }
                    }
                });
            }
        });
        // What a vipd that stood still did not take up, for good.
        for f in faults {
            if matches!(f.kind, Kind::Reload { .. }) {
                let site = &self.sites[f.node];
                let (status, text) = site.reload(&site.ini());
                if status != 0 {
                    self.fail(format!(
                        "{}: the reload to the usual configuration: {status} {text}",
                        site.node.name()
                    ));
                }
            }
        }
        let all = lock(&self.done);
        let ends = all.iter().filter(|d| d.begin >= base).map(|d| d.end);
        ends.max().unwrap_or(base).max(Instant::now())
    }

    fn act(&self, fault: Fault) -> Result<Done> {
        let begin = Instant::now();
        let site = &self.sites[fault.node];
        let node = &site.node;
        let (mut hit, mut end, mut missed) = (begin, None, false);
        match fault.kind {
            Kind::Kill { tree, respawn } => {
                let vipd = self.alive(site)?;
                if tree {
                    vipd.kill_tree()
                } else {
                    vipd.kill()
                }
                hit = Instant::now();
                vipd.wait_exit(secs(5))?;
                drop(vipd);
                sleep_until(begin + ms(respawn));
                site.run()?;
            }
            Kind::Stop { length } => {
                site.signal(Signal::SIGSTOP);
                hit = Instant::now();
                sleep_until(begin + ms(length));
                site.signal(Signal::SIGCONT);
            }
            Kind::Term { respawn } => {
                let vipd = self.alive(site)?;
                vipd.terminate();
                hit = Instant::now();
                match vipd.wait_exit(STOP) {
                    Ok(status) if status.success() => {}
                    other => self.fail(format!("{fault}: the stop ended with {other:?}")),
                }
                drop(vipd);
                std::thread::sleep(ms(respawn));
                site.run()?;
            }
            Kind::Cut { length } => {
                node.cut()?;
                hit = Instant::now();
                sleep_until(begin + ms(length));
                node.mend()?;
            }
            Kind::Flap { times, length } => {
                for _ in 0..times {
                    node.ip("link set eth0 down")?;
                    std::thread::sleep(ms(length));
                    node.ip("link set eth0 up")?;
                    hit = Instant::now();
                    std::thread::sleep(ms(length));
                }
            }
            Kind::Partition { nodes, length } => {
                let cut: Vec<&Node> =
                    self.sites.iter().filter(|s| nodes & 1 << s.index != 0).map(|s| &s.node).collect();
                self.lan.partition(&cut)?;
                hit = Instant::now();
                sleep_until(begin + ms(length));
                self.lan.heal(&cut)?;
            }
            Kind::Flood { rate, length } => {
                let flood = Flood::start(&self.stranger, self.frames()?, rate)?;
                sleep_until(begin + ms(length));
                flood.stop()?;
            }
            Kind::Delete { router, times } => {
                missed = true;
                for _ in 0..times {
                    missed &= !self.delete(router)?;
                    std::thread::sleep(ms(300));
                }
            }
            Kind::Touch { times } => {
                for _ in 0..times {
                    let addr = format!("192.168.30.2{}/24", fault.node);
                    node.ip(&format!("addr replace {addr} dev eth0 valid_lft 60 preferred_lft 60"))?;
                    std::thread::sleep(ms(250));
                }
            }
            Kind::HaproxyKill { victim } => missed = !site.kill_haproxy(victim),
            Kind::HaproxyStop { length } => {
                let workers = node.haproxy_workers();
                missed = workers.is_empty();
                for pid in &workers {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGSTOP);
                }
                sleep_until(begin + ms(length));
                let there = node.pids("haproxy");
                for pid in workers.iter().filter(|pid| there.contains(pid)) {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
                }
            }
            Kind::HaproxyBad { length } => {
                node.write("haproxy.cfg", "nonsense\n")?;
                site.kill_haproxy(Victim::Both);
                sleep_until(begin + ms(length));
                node.write("haproxy.cfg", &site.good)?;
            }
            Kind::Reload { edit, hup, length } => {
                let text = site.edit(edit, true);
                missed = !site.take_up(&text, hup);
                hit = Instant::now();
                sleep_until(begin + ms(length));
                let text = site.edit(edit, false);
                // If this one is not heard, `play` sees to it.
                site.take_up(&text, hup);
            }
            Kind::Resign { router, seconds } => {
                let name = format!("VI_{}", ROUTERS[router].vrid);
                let (status, _) = site.cli(&["resign", &name, "--for", &seconds.to_string()]);
                hit = Instant::now();
                missed = status != 0;
                // One that stood still may have heard it nevertheless.
                end = Some(hit + secs(seconds));
            }
        }
        let end = end.unwrap_or_else(Instant::now);
        Ok(Done { fault, begin, hit, end, missed })
    }

    /// The vipd of that node, which must not have ended by itself; for now it has none.
    fn alive(&self, site: &Site) -> Result<Vipd> {
        let vipd = lock(&site.vipd).take().ok_or_else(|| Error("no vipd".to_owned()))?;
        if !vipd.is_alive() {
            self.fail(format!("vipd on {} ended by itself: {:?}", site.node.name(), vipd.wait_exit(secs(0))));
        }
        Ok(vipd)
    }

    /// Whether each vipd lives.
    pub fn all_alive(&self) {
        for site in &self.sites {
            if lock(&site.vipd).as_ref().is_none_or(|v| !v.is_alive()) {
                self.fail(format!("vipd on {} ended by itself", site.node.name()));
            }
        }
    }

    fn frames(&self) -> Result<Vec<Vec<u8>>> {
        let v4 = |text: &str| text.parse().map_err(|_| Error(format!("{text}: no IPv4 address")));
        let (vip, backup) = (v4(ROUTERS[0].vip)?, self.sites[1].node.addr());
        let target = Target { vrid: ROUTERS[0].vrid, pass: "1111", vip, backup, lower: 30 };
        let all = bad_frames(&target, self.stranger.addr());
        // Who answers ARP for the VIP as well takes the clients away, which nobody can prevent.
        Ok(all.into_iter().filter(|(name, _)| *name != "ARP for the VIP").map(|(_, frame)| frame).collect())
    }

    /// Whether anybody had it.
    fn delete(&self, router: usize) -> Result<bool> {
        let vip = ROUTERS[router].vip;
        let holders = self.watcher.holders(vip);
        let Some(site) = self.sites.iter().find(|s| holders.iter().any(|h| h == s.node.name())) else {
            return Ok(false);
        };
        let dump = site.node.output(Command::new("ip").args(["-o", "addr", "show", "to", vip]))?;
        let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
        let cidr = dump.split_whitespace().find(|word| word.starts_with(vip));
        // It may be gone by itself meanwhile.
        Ok(cidr.is_some_and(|cidr| site.node.ip(&format!("addr del {cidr} dev eth0")).is_ok()))
    }
}

impl Site {
    fn ini(&self) -> String {
        let wish = lock(&self.wish).clone();
        let mut routers = Vec::new();
        for (i, spec) in ROUTERS.iter().enumerate() {
            let mut priority = spec.priorities[self.index];
            if wish.priority == Some(i) {
                priority = other(priority);
            }
            let mut router = spec.router(priority).with(&format!("lease = {}", self.lease));
            if i == 0 && wish.more {
                router.vips.push(format!("{SPARE}/24"));
            }
            if wish.values {
                router = router.with("garp_master_delay = 3\ngarp_master_refresh = 30\nhandover_timeout = 2");
            }
            if wish.less != Some(i) {
                routers.push(router);
            }
        }
        let cfg = self.node.dir().join("haproxy.cfg");
        let mut ini = Vipd::ini(&self.node, Some(&cfg), &routers);
        ini = ini.replace("[haproxy]\n", "[haproxy]\ncrash_limit = 1000\nrestart_backoff_max = 1\n");
        if self.index == 2 {
            ini = ini.replacen("[global]\n", "[global]\nrealtime_priority = 1\nlock_memory = yes\n", 1);
        }
        ini
    }

    fn run(&self) -> Result<()> {
        let vipd = Vipd::start(&self.node, &self.ini())?;
        *lock(&self.vipd) = Some(vipd);
        Ok(())
    }

    pub fn pid(&self) -> Option<i32> {
        lock(&self.vipd).as_ref().map(|v| v.pid())
    }

    fn signal(&self, signal: Signal) {
        if let Some(vipd) = lock(&self.vipd).as_ref() {
            vipd.signal(signal);
        }
    }

    /// The configuration with that change, or without it.
    fn edit(&self, edit: Edit, on: bool) -> String {
        {
            let mut wish = lock(&self.wish);
            match edit {
                Edit::Priority(router) => wish.priority = on.then_some(router),
                Edit::More => wish.more = on,
                Edit::Less(router) => wish.less = on.then_some(router),
                Edit::Values => wish.values = on,
                Edit::Broken => {}
            }
        }
        let broken = if on && edit == Edit::Broken { "no_such_key = 1\n" } else { "" };
        self.ini() + broken
    }

    /// Whether it was heard.
    fn take_up(&self, ini: &str, hup: bool) -> bool {
        if !hup {
            return [0, 1, 2].contains(&self.reload(ini).0);
        }
        let written = std::fs::write(self.node.dir().join("vipd.ini"), ini).is_ok();
        self.signal(Signal::SIGHUP);
        written && lock(&self.vipd).is_some()
    }

    fn reload(&self, ini: &str) -> (i32, String) {
        match std::fs::write(self.node.dir().join("vipd.ini"), ini) {
            Ok(()) => self.cli(&["reload"]),
            Err(e) => (-1, e.to_string()),
        }
    }

    /// `vipd ARGS`, which is given up after 4 s: vipd may stand still.
    fn cli(&self, args: &[&str]) -> (i32, String) {
        let Ok(path) = vipd_path() else { return (-1, String::new()) };
        let mut cmd = Command::new("timeout");
        cmd.args(["-s", "KILL", "4"]).arg(path).args(args).arg("-c").arg(self.node.dir().join("vipd.ini"));
        match self.node.output(&mut cmd) {
            Ok(out) => {
                let text = [out.stdout, out.stderr].concat();
                (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
            }
            Err(e) => (-1, e.to_string()),
        }
    }

    /// Whether there was one.
    fn kill_haproxy(&self, victim: Victim) -> bool {
        let mut pids = Vec::new();
        if victim != Victim::Worker {
            pids.extend(self.node.haproxy_master());
        }
        if victim != Victim::Master {
            pids.extend(self.node.haproxy_workers());
        }
        for pid in &pids {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        !pids.is_empty()
    }
}
