//! From a seed to a scenario: machines, configurations, the network, and what goes wrong when.

use crate::kernel::Cpu;
use crate::rng::Rng;
use std::fmt::Write;
use vipd::config::{Config, schema};

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const SEC: u64 = 1_000_000_000;

/// One virtual router, the same on every machine but for its priority.
#[derive(Clone, Debug)]
pub struct Router {
    /// I in nanoseconds.
    pub interval: u64,
    /// N
    pub adverts: u64,
    pub leased: bool,
    pub handover: u64,
}

impl Router {
    /// N × I.
    pub fn min_down_interval(&self) -> u64 {
        self.interval * self.adverts
    }

    /// Whether a lease ends before a backup's down timer (README; src/config/lease.rs): I of a second or
    /// more.
    pub fn safe(&self) -> bool {
        self.leased && self.min_down_interval() >= self.interval / 4 + SEC + 1700 * MS
    }

    /// How long after the last advert a dead master's address is gone at the latest, by the master's clock.
    pub fn outlives(&self) -> u64 {
        match self.safe() {
            true => self.min_down_interval(),
            false => self.interval / 4 + SEC + 1700 * MS,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Machine {
    pub cfg: Config,
    pub text: String,
    /// Its clock at the beginning, and how much it is fast in 10^-9.
    pub clock: u64,
    pub rate: i64,
    pub cpu: Cpu,
    pub jiffies_lag: u64,
    /// Another address of the node is renewed that often.
    pub dhcp: Option<u64>,
    /// How late the process runs after it is woken.
    pub latency: u64,
    pub starts: u64,
    pub owner: bool,
    /// Its kernel keeps leases in nf_tables, and they are wanted.
    pub fence: bool,
    /// How far its wall clock is ahead of the slowest.
    pub skew: u64,
}

/// The network while nothing is wrong, and its base faults, which end with all others.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    pub delay: (u64, u64),
    /// Permille.
    pub loss: u64,
    pub duplicates: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// SIGKILL; started again after that time; 0: never. `forget`: /run was emptied meanwhile.
    Kill {
        host: usize,
        restart: u64,
        forget: bool,
    },
    /// Power failure.
    Reboot {
        host: usize,
        restart: u64,
    },
    /// SIGTERM, and started again.
    Stop {
        host: usize,
        restart: u64,
    },
    /// Stands still: at once (`steps` 0), or that many steps into its next turns.
    Stall {
        host: usize,
        steps: u32,
        time: u64,
    },
    /// Machines whose bit is set hear the others no more, and are not heard.
    Cut {
        side: u8,
        time: u64,
    },
    /// Only that direction.
    OneWay {
        from: usize,
        to: usize,
        time: u64,
    },
    LinkDown {
        host: usize,
        time: u64,
    },
    Loss {
        permille: u64,
        time: u64,
    },
    SendFails {
        host: usize,
        time: u64,
    },
    /// Each operation fails with that chance in permille.
    NetlinkFails {
        host: usize,
        permille: u64,
        time: u64,
    },
    Overrun {
        host: usize,
    },
    DeleteVip {
        host: usize,
    },
    /// Somebody flushes nf_tables.
    Flush {
        host: usize,
    },
    HaproxyDies {
        host: usize,
    },
    HaproxyHangs {
        host: usize,
    },
    /// It dies, and does not start.
    HaproxyBroken {
        host: usize,
        time: u64,
    },
    Priority {
        host: usize,
        router: usize,
        priority: u8,
    },
    /// `vipd resign`
    Resign {
        host: usize,
        router: usize,
        no_preempt_for: u64,
        force: bool,
    },
    /// The end of the network's own faults.
    Calm,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub machines: Vec<Machine>,
    pub routers: Vec<Router>,
    pub net: Net,
    pub faults: Vec<(u64, Fault)>,
    /// Everything that was wrong is over.
    pub calm: u64,
    /// From here on nothing may happen any more.
    pub rest: u64,
    /// How long somebody who comes forward takes, when nothing is wrong, until everything is as it should be.
    pub settle: u64,
    pub end: u64,
    pub haproxy: bool,
    /// Adverts are signed, and somebody without the key is on the LAN.
    pub signed: bool,
    /// The network stays cut in two: as in `Fault::Cut`; 0: it does not.
    pub parts: u8,
    /// Largest difference of two clocks' rates in 10^-9.
    pub spread: u64,
}

pub fn vip(router: usize, i: usize) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(192, 168, 30, (200 + 4 * router + i) as u8)
}

pub fn primary(host: usize) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(192, 168, 30, (10 + host) as u8)
}

impl Plan {
    pub fn new(rng: &mut Rng) -> Self {
        // Of its own, so that a seed means what it did without.
        let mut own = Rng::new(rng.clone().next());
        let signed = own.chance(150);
        // All, none, or each as its kernel is.
        let fences = own.pick(&[0, 0, 0, 500, 1000, 1000, 1000]);
        let flushes = own.chance(200);
        let hosts = rng.pick(&[2, 2, 2, 2, 3, 3, 3, 4, 5]);
        let count = rng.pick(&[1, 1, 1, 1, 2, 2, 3]);
        let haproxy = rng.chance(300);
        let owner = rng.chance(40).then(|| rng.below(hosts) as usize);
        let mut texts = vec![String::new(); hosts as usize];
        let leased = !rng.chance(40);
        let base = rng.pick(&[100, 100, 100, 100, 100, 100, 200, 300, 10, 1]);
        let mut delay_max: u64 = 0;
        let mut routers = Vec::new();
        for text in &mut texts {
            if haproxy {
                text.push_str(
                    "[haproxy]\nkeep_listeners = no\nstart_timeout = 2\nrestart_backoff_max = 1\ncrash_window = 4\n\
                     check_interval = 0.5\ncheck_timeout = 0.3\ncheck_fall = 2\nstop_timeout = 4\n",
                );
            }
        }
        for r in 0..count {
            // Now and then another interval beside, for the grid that all leases share.
            let cs = if r > 0 && base >= 100 && rng.chance(300) { rng.pick(&[100, 200, 300]) } else { base };
            let version = if cs >= 100 && rng.chance(500) { 2 } else { 3 };
            let preempt = !rng.chance(250);
            let preempt_delay = if preempt && rng.chance(150) { rng.range(1, 4) } else { 0 };
            let equal = rng.chance(120);
            let make_before_break = !rng.chance(150);
            let vips: Vec<String> =
                (0..rng.pick(&[1, 1, 1, 2])).map(|i| format!("{}/24", vip(r, i))).collect();
            let common = rng.pick(&[100, 1, 254]);
            let tight = rng.chance(300);
            let track = haproxy && !rng.chance(200);
            let keys = if signed { crate::forger::lines(&mut own) } else { String::new() };
            for (h, text) in texts.iter_mut().enumerate() {
                let priority = match (owner == Some(h) && r == 0, equal, tight) {
                    (true, ..) => 255,
                    (_, true, _) => common,
                    (_, _, true) => 254 - rng.below(3),
                    _ => rng.range(1, 254),
                };
                let _ = write!(
                    text,
                    "[vrrp V{r}]\ninterface = eth0\nvirtual_router_id = {}\npriority = {priority}\n\
                     version = {version}\nadvert_int = {}\npreempt = {}\nvirtual_ipaddress = {}\n",
                    51 + r,
                    if cs % 100 == 0 { (cs / 100).to_string() } else { format!("0.{cs:02}") },
                    if preempt { "yes" } else { "no" },
                    vips.join(", "),
                );
                text.push_str(&keys);
                if preempt_delay > 0 {
                    let _ = writeln!(text, "preempt_delay = {preempt_delay}");
                }
                if !make_before_break {
                    text.push_str("make_before_break = no\n");
                }
                match (leased, fences) {
                    (false, _) => text.push_str("lease = off\n"),
                    (true, 0) => text.push_str("lease = address\n"),
                    (true, 1000) if signed => text.push_str("lease = fence\n"),
                    _ => {}
                }
                if haproxy && !track {
                    text.push_str("track_haproxy = no\n");
                }
            }
            routers.push(Router { interval: cs * 10 * MS, adverts: 3, leased, handover: 0 });
            let quarter = cs * 10 * MS / 16;
            delay_max = if r == 0 { quarter } else { delay_max.min(quarter) };
        }
        let rates: i64 = if rng.chance(100) { 10_000_000 } else { 200_000 };
        let machines: Vec<Machine> = texts
            .into_iter()
            .enumerate()
            .map(|(h, text)| {
                let cfg = schema::parse(&text).unwrap_or_else(|e| panic!("{text}\n{e:?}")).0;
                for (r, v) in routers.iter_mut().zip(&cfg.vrrp) {
                    r.handover = v.handover_timeout.as_nanos() as u64;
                }
                Machine {
                    cfg,
                    text,
                    clock: rng.range(20 * SEC, 2_000_000 * SEC),
                    rate: rng.below(2 * rates as u64 + 1) as i64 - rates,
                    cpu: rng.pick(&[Cpu::Busy, Cpu::Idle, Cpu::Idle, Cpu::Worst]),
                    jiffies_lag: rng.below(300) * MS,
                    dhcp: rng.chance(150).then(|| rng.range(300 * MS, 4 * SEC)),
                    latency: rng.pick(&[30 * US, 100 * US, 100 * US, 500 * US]),
                    starts: if rng.chance(700) { rng.below(50 * MS) } else { rng.below(3 * SEC) },
                    owner: owner == Some(h),
                    fence: leased && own.chance(fences),
                    skew: if signed { own.below(2 * SEC) } else { 0 },
                }
            })
            .collect();
        let most = rng.pick(&[100 * US, 500 * US, 500 * US, 5 * MS]).min(delay_max);
        let loses = rng.chance(200);
        let net = Net {
            delay: (10 * US, most.max(20 * US)),
            loss: if loses { rng.range(1, 100) } else { 0 },
            duplicates: if rng.chance(200) { rng.range(1, 100) } else { 0 },
        };
        let mut plan = Plan {
            machines,
            routers,
            net,
            faults: Vec::new(),
            calm: 0,
            rest: 0,
            settle: 0,
            end: 0,
            haproxy,
            signed,
            parts: if rng.chance(80) { rng.range(1, (1 << hosts) - 2) as u8 } else { 0 },
            spread: 2 * rates.unsigned_abs(),
        };
        plan.fill(rng);
        if flushes {
            plan.flush(&mut own);
        }
        plan
    }

    pub fn longest(&self) -> u64 {
        self.routers.iter().map(|r| r.interval).max().unwrap_or(SEC)
    }

    /// Somebody flushes nf_tables, often just before or after another fault.
    fn flush(&mut self, rng: &mut Rng) {
        let other = rng.below(self.faults.len() as u64) as usize;
        let at = (self.faults[other].0 + rng.below(40 * MS)).saturating_sub(20 * MS);
        let host = rng.below(self.machines.len() as u64) as usize;
        self.faults.push((at.min(self.calm - 1), Fault::Flush { host }));
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn fill(&mut self, rng: &mut Rng) {
        let hosts = self.machines.len() as u64;
        let interval = self.longest();
        let unit = interval.max(300 * MS);
        let begin = 5 * unit + rng.below(unit);
        let window = 12 * unit;
        let count = rng.pick(&[0, 1, 1, 1, 2, 2, 3, 4, 6]);
        let mut calm = begin;
        let mut stalled_until = [0; 5];
        for _ in 0..count {
            let at = begin + rng.below(window);
            let host = rng.below(hosts) as usize;
            let short = rng.chance(400);
            // Most of what matters happens around the time that a backup waits.
            let time = if short { rng.below(unit) } else { rng.below(6 * unit) } + MS;
            let fault = match rng.below(if self.haproxy { 21 } else { 18 }) {
                0 | 1 => Fault::Kill {
                    host,
                    restart: match (rng.chance(150), short) {
                        (true, _) => 0,
                        (_, true) => rng.range(5 * MS, 300 * MS),
                        _ => time,
                    },
                    forget: rng.chance(200),
                },
                2 => Fault::Reboot { host, restart: time + 2 * SEC },
                3 => Fault::Stop { host, restart: time },
                4..=6 => {
                    // One stall at a time: what follows from two is not what is claimed.
                    let at = at.max(stalled_until[host]);
                    let steps = if rng.chance(700) { rng.range(1, 60) as u32 } else { 0 };
                    stalled_until[host] = at + time + 6 * unit;
                    calm = calm.max(at + time + 3 * unit);
                    self.faults.push((at, Fault::Stall { host, steps, time }));
                    continue;
                }
                7 | 8 => Fault::Cut { side: rng.range(1, (1 << hosts) - 2) as u8, time },
                9 => {
                    let to = (host + 1 + rng.below(hosts - 1) as usize) % hosts as usize;
                    Fault::OneWay { from: host, to, time }
                }
                10 => Fault::LinkDown { host, time },
                11 => Fault::Loss { permille: rng.range(50, 600), time },
                12 => Fault::SendFails { host, time },
                13 => Fault::NetlinkFails { host, permille: rng.pick(&[300, 1000]), time },
                14 => match rng.below(3) {
                    0 => Fault::Overrun { host },
                    _ => Fault::DeleteVip { host },
                },
                15 => Fault::Priority {
                    host,
                    router: rng.below(self.routers.len() as u64) as usize,
                    priority: rng.range(1, 254) as u8,
                },
                16 | 17 => Fault::Resign {
                    host,
                    router: rng.below(self.routers.len() as u64) as usize,
                    no_preempt_for: rng.pick(&[0, 500 * MS, 2 * SEC]),
                    force: rng.chance(300),
                },
                18 => Fault::HaproxyDies { host },
                19 => Fault::HaproxyHangs { host },
                _ => Fault::HaproxyBroken { host, time },
            };
            if let Fault::Stop { .. } = fault
                && rng.chance(300)
            {
                let kill = at + rng.below(60 * MS);
                self.faults
                    .push((kill, Fault::Kill { host, restart: rng.range(MS, 300 * MS), forget: false }));
            }
            calm = calm.max(at + fault.lasts());
            self.faults.push((at, fault));
        }
        self.calm = calm + MS;
        self.faults.push((self.calm, Fault::Calm));
        self.faults.sort_by_key(|(at, _)| *at);
        let down = 3 * interval + interval.max(SEC);
        let delay = self.machines[0].cfg.vrrp.iter().map(|v| v.preempt_delay.as_nanos() as u64).max();
        let service = if self.haproxy { 14 * SEC } else { 0 };
        // Leases that still run, sockets that are opened again, two elections, and a hand-over.
        self.rest = self.calm + 6 * SEC + 2 * down + delay.unwrap_or(0) + service;
        // An advert that begins preempt_delay, one at its end, and the down timer; a hand-over.
        self.settle = interval + down + delay.unwrap_or(0) + 6 * SEC;
        self.end = self.rest + (3 * interval).max(2 * SEC);
    }
}

impl Fault {
    /// How long it lasts.
    fn lasts(&self) -> u64 {
        match *self {
            Fault::Kill { restart, .. } | Fault::Reboot { restart, .. } => restart,
            Fault::Stop { restart, .. } => restart + 9 * SEC,
            Fault::Resign { no_preempt_for, .. } => no_preempt_for + 4 * SEC,
            Fault::Cut { time, .. }
            | Fault::OneWay { time, .. }
            | Fault::LinkDown { time, .. }
            | Fault::Loss { time, .. }
            | Fault::SendFails { time, .. }
            | Fault::NetlinkFails { time, .. }
            | Fault::Stall { time, .. }
            | Fault::HaproxyBroken { time, .. } => time,
            _ => 0,
        }
    }
}
