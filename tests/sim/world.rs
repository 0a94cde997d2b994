//! The machines, the network between them and what goes wrong, in virtual time.

use crate::check::Facts;
use crate::haproxy::{Ended, Haproxy, State};
use crate::kernel::Kernel;
use crate::mutant::Mutant;
use crate::plan::{Fault, MS, Plan, SEC, US, primary, vip};
use crate::rng::Rng;
use crate::shell::{Packet, Proc, Signal};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;
use vipd::haproxy::supervisor::Exit;
use vipd::node::Memory;
use vipd::time::Time;
use vipd::wire::rtnl::Msg;

/// What is to happen.
pub enum Ev {
    Start {
        h: usize,
    },
    /// The process runs on, unless another wake-up was planned since.
    Wake {
        h: usize,
        n: u64,
    },
    Advert {
        to: usize,
        packet: Rc<Packet>,
    },
    Arp {
        to: usize,
        frame: Rc<[u8]>,
    },
    /// The kernel looks for leases that have ended.
    Expire {
        h: usize,
        n: u64,
    },
    Netlink {
        h: usize,
        msg: Msg,
    },
    Serves {
        h: usize,
        pid: u32,
    },
    Answer {
        h: usize,
        n: u64,
        pid: u32,
    },
    Ended {
        h: usize,
        e: Ended,
    },
    Dhcp {
        h: usize,
    },
    Fault(usize),
    Over(usize),
    Watch,
}

/// One machine.
pub struct Host {
    pub proc: Option<Box<Proc>>,
    pub kernel: Kernel,
    pub haproxy: Haproxy,
    /// The state files.
    pub memory: Vec<Option<Memory>>,
    /// Set at run time, as a reload would.
    pub priorities: Vec<Option<u8>>,
    /// CLOCK_BOOTTIME when the world was at 0; moves at a reboot.
    clock: i64,
    pub wakes: u64,
    pub send_fails: u32,
    /// Permille.
    pub netlink_fails: u64,
    pub down: u32,
    /// Was told to stop.
    pub stopping: bool,
    /// What is known of it, by virtual router; survives its processes.
    pub facts: Vec<Facts>,
    /// The last time that something excused this machine from punctuality.
    pub upset: u64,
    /// The last time that the kernel refused a removal or a dump, or that somebody deleted a VIP.
    pub refused: u64,
}

pub struct World {
    pub now: u64,
    pub plan: Plan,
    pub hosts: Vec<Host>,
    pub rng: Rng,
    pub mutant: Mutant,
    pub trace: bool,
    /// Of every step's time: two runs of a seed are the same.
    pub hash: u64,
    pub violation: Option<String>,
    pub probes: u64,
    pub steps: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Ev>>,
    free: Vec<usize>,
    seq: u64,
    /// How many faults keep packets of one machine from another.
    cut: [[u32; 5]; 5],
    loss: u64,
    duplicates: u64,
    /// The last time that a pair did not hear each other.
    pub disturbed: [[u64; 5]; 5],
}

impl World {
    pub fn new(seed: u64, mutant: Mutant, trace: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_0000_0000_0000);
        rng.next();
        let plan = Plan::new(&mut rng);
        let hosts: Vec<Host> = plan
            .machines
            .iter()
            .enumerate()
            .map(|(h, m)| {
                let mut kernel = Kernel {
                    up: true,
                    addrs: Vec::new(),
                    mac: [2, 0, 0, 0, 0, h as u8],
                    cpu: m.cpu,
                    jiffies_lag: m.jiffies_lag,
                    check_at: None,
                    check: 0,
                };
                addresses(&mut kernel, h, m.owner, m.clock, &plan);
                Host {
                    proc: None,
                    kernel,
                    haproxy: Haproxy { down_since: Some(0), ..Haproxy::default() },
                    memory: vec![None; plan.routers.len()],
                    priorities: vec![None; plan.routers.len()],
                    clock: m.clock as i64,
                    wakes: 0,
                    send_fails: 0,
                    netlink_fails: 0,
                    down: 0,
                    stopping: false,
                    facts: (0..plan.routers.len()).map(|_| Facts::default()).collect(),
                    upset: 0,
                    refused: 0,
                }
            })
            .collect();
        let mut w = World {
            now: 0,
            hosts,
            rng,
            mutant,
            trace,
            hash: 0xcbf2_9ce4_8422_2325,
            violation: None,
            probes: 0,
            steps: 0,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            seq: 0,
            cut: [[0; 5]; 5],
            loss: plan.net.loss,
            duplicates: plan.net.duplicates,
            disturbed: [[0; 5]; 5],
            plan,
        };
        for h in 0..w.hosts.len() {
            w.at(w.plan.machines[h].starts, Ev::Start { h });
            if let Some(every) = w.plan.machines[h].dhcp {
                w.at(every, Ev::Dhcp { h });
            }
        }
        for i in 0..w.plan.faults.len() {
            w.at(w.plan.faults[i].0, Ev::Fault(i));
        }
        w.at(100 * MS, Ev::Watch);
        w
    }

    /// Runs to the end, or to the first violation.
    pub fn play(&mut self) {
        if self.trace {
            for (h, m) in self.plan.machines.iter().enumerate() {
                println!("# node{h}: clock {:+} ppm, CPU {:?}, {}", m.rate / 1000, m.cpu, m.latency / US);
                println!("{}", m.text);
            }
            println!("# {:?}\n# {:?}", self.plan.net, self.plan.routers);
            let (calm, rest, end) = (self.plan.calm, self.plan.rest, self.plan.end);
            println!("# calm {} rest {} end {} ms", calm / MS, rest / MS, end / MS);
        }
        let mut rested = false;
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            if !rested && at >= self.plan.rest {
                rested = true;
                self.now = self.plan.rest;
                self.at_rest("when everything had time to settle");
            }
            if at > self.plan.end || self.violation.is_some() {
                break;
            }
            self.now = at;
            self.steps += 1;
            self.hash = (self.hash ^ at).wrapping_mul(0x0100_0000_01b3);
            self.free.push(slot);
            if let Some(ev) = self.slots[slot].take() {
                self.happens(ev);
            }
        }
        if self.violation.is_none() {
            self.at_rest("at the end");
        }
    }

    pub fn at(&mut self, at: u64, ev: Ev) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(ev);
        self.seq += 1;
        self.queue.push(Reverse((at.max(self.now), self.seq, slot)));
    }

    /// CLOCK_BOOTTIME of a machine.
    pub fn clock(&self, h: usize, at: u64) -> Time {
        let at = at as i64;
        let fast = (i128::from(at) * i128::from(self.plan.machines[h].rate) / 1_000_000_000) as i64;
        Time::from_nanos((self.hosts[h].clock + at + fast) as u64)
    }

    /// When a machine's clock shows `local`: not before.
    pub fn world(&self, h: usize, local: Time) -> u64 {
        let past = i128::from(local.as_nanos()) - i128::from(self.hosts[h].clock);
        let rate = 1_000_000_000 + i128::from(self.plan.machines[h].rate);
        ((past * 1_000_000_000 + rate - 1) / rate + 1).max(0) as u64
    }

    pub fn say(&mut self, h: usize, text: impl FnOnce() -> String) {
        if self.trace {
            let text = text();
            let who = if h < self.hosts.len() { format!("node{h}") } else { "-----".into() };
            println!("{:>10.6} {who} {text}", self.now as f64 / 1e9);
        }
    }

    pub fn fail(&mut self, h: usize, text: String) {
        self.say(h, || format!("VIOLATION: {text}"));
        let at = self.now as f64 / 1e9;
        self.violation.get_or_insert(format!("{at:.6} node{h} {text}"));
    }

    fn happens(&mut self, ev: Ev) {
        match ev {
            Ev::Start { h } => self.start(h),
            Ev::Wake { h, n } => {
                if self.hosts[h].proc.as_ref().is_some_and(|p| p.wake == n) {
                    let still = self.hosts[h].proc.as_ref().map_or(0, |p| p.still);
                    if still > self.now {
                        self.at(still, Ev::Wake { h, n }); // SIGCONT comes first
                    } else {
                        self.run(h);
                    }
                }
            }
            Ev::Advert { to, packet } => self.arrives(to, packet),
            Ev::Arp { to, frame } => {
                let host = &mut self.hosts[to];
                if let Some(p) = host.proc.as_mut().filter(|p| p.open && host.kernel.up) {
                    p.arp.push_back(frame);
                    self.nudge(to);
                }
            }
            Ev::Expire { h, n } => {
                if self.hosts[h].kernel.check == n {
                    self.expire(h, self.now);
                }
            }
            Ev::Netlink { h, msg } => {
                if let Some(p) = &mut self.hosts[h].proc {
                    p.netlink.push_back(msg);
                    self.nudge(h);
                }
            }
            Ev::Serves { h, pid } => {
                let hap = &mut self.hosts[h].haproxy;
                if hap.process.is_some_and(|x| x.pid == pid && x.state == State::Starting) {
                    hap.set(self.now, Some(State::Serving));
                }
            }
            Ev::Answer { h, n, pid } => {
                if let Some(p) = &mut self.hosts[h].proc
                    && let Some((asked, answer)) = &mut p.probe
                    && *asked == n
                {
                    *answer = Some(pid);
                    self.nudge(h);
                }
            }
            Ev::Ended { h, e } => self.ended(h, e),
            Ev::Dhcp { h } => self.dhcp(h),
            Ev::Fault(i) => self.goes_wrong(i),
            Ev::Over(i) => self.is_over(i),
            Ev::Watch => {
                self.watch();
                self.at(self.now + 100 * MS, Ev::Watch);
            }
        }
    }

    // ---- the network ----

    pub fn connected(&self, a: usize, b: usize) -> bool {
        self.hosts[a].kernel.up && self.hosts[b].kernel.up && self.cut[a][b] == 0 && self.cut[b][a] == 0
    }

    pub fn disturb(&mut self, a: usize, b: usize) {
        self.disturbed[a][b] = self.now;
        self.disturbed[b][a] = self.now;
    }

    /// Whether a frame gets through, and after how long.
    fn passes(&mut self, from: usize, to: usize) -> Option<u64> {
        let open = self.hosts[from].kernel.up && self.hosts[to].kernel.up && self.cut[from][to] == 0;
        let (least, most) = self.plan.net.delay;
        (open && !self.rng.chance(self.loss)).then(|| self.rng.range(least, most))
    }

    pub fn send(&mut self, h: usize, p: &Proc, t: u64, inst: usize, priority: u8, mut bytes: Vec<u8>) -> i32 {
        if self.hosts[h].send_fails > 0 || !self.hosts[h].kernel.up {
            self.hosts[h].upset = t;
            return libc::ENETDOWN;
        }
        self.say(h, || format!("advert of V{inst}, priority {priority}"));
        let id = self.sends(h, p, t, inst, priority);
        if self.mutant == Mutant::PrioritiesReversed && priority != 0 {
            reverse(&mut bytes);
        }
        let packet = Rc::new(Packet { from: h, router: inst, priority, id, bytes });
        for to in (0..self.hosts.len()).filter(|to| *to != h) {
            let Some(delay) = self.passes(h, to) else {
                self.disturb(h, to);
                continue;
            };
            self.at(t + delay, Ev::Advert { to, packet: packet.clone() });
            if self.rng.chance(self.duplicates) {
                let again = self.rng.range(delay, 3 * delay);
                self.at(t + again, Ev::Advert { to, packet: packet.clone() });
            }
        }
        0
    }

    fn arrives(&mut self, to: usize, packet: Rc<Packet>) {
        let host = &self.hosts[to];
        if !host.kernel.up || host.proc.as_ref().is_none_or(|p| !p.open) {
            self.disturb(packet.from, to);
            return;
        }
        self.heard(to, &packet);
        let deaf = self.mutant == Mutant::Deaf && (self.now / (5 * self.plan.longest())) % 3 == 2;
        if let Some(p) = self.hosts[to].proc.as_mut().filter(|_| !deaf) {
            p.vrrp.push_back(packet);
            self.nudge(to);
        }
    }

    pub fn broadcast(&mut self, h: usize, t: u64, frame: &[u8]) {
        let frame: Rc<[u8]> = frame.into();
        for to in (0..self.hosts.len()).filter(|to| *to != h) {
            if let Some(delay) = self.passes(h, to) {
                self.at(t + delay, Ev::Arp { to, frame: frame.clone() });
            }
        }
    }

    // ---- the kernel ----

    /// Leases that have ended go; vipd hears of it.
    pub fn expire(&mut self, h: usize, t: u64) {
        let local = self.clock(h, t);
        let gone = self.hosts[h].kernel.expire(local.as_nanos(), &mut self.rng);
        for a in gone {
            self.say(h, || format!("the lease of {} has ended", a.addr));
            self.vanished(h, t, IpAddr::V4(a.addr));
            let msg = Msg::AddrGone(self.hosts[h].kernel.message(local.as_nanos(), &a));
            let delay = self.rng.range(20 * US, 300 * US);
            self.at(t + delay, Ev::Netlink { h, msg });
        }
        let k = &self.hosts[h].kernel;
        if let Some(at) = k.check_at {
            let n = k.check;
            let at = self.world(h, Time::from_nanos(at));
            self.at(at, Ev::Expire { h, n });
        }
    }

    /// A lease that is none of vipd's is renewed: a run of the kernel's check, and a message.
    fn dhcp(&mut self, h: usize) {
        self.expire(h, self.now);
        let local = self.clock(h, self.now).as_nanos();
        let msg = Msg::Addr(self.hosts[h].kernel.message(local, &self.hosts[h].kernel.addrs[0]));
        self.at(self.now + 50 * US, Ev::Netlink { h, msg });
        if let Some(every) = self.plan.machines[h].dhcp {
            let pause = every / 2 + self.rng.below(every);
            self.at(self.now + pause, Ev::Dhcp { h });
        }
    }

    fn set_link(&mut self, h: usize, up: bool) {
        self.hosts[h].kernel.up = up;
        self.hosts[h].upset = self.now;
        for other in 0..self.hosts.len() {
            self.disturb(h, other);
        }
        let msg = Msg::Link(self.hosts[h].kernel.link());
        self.at(self.now + 50 * US, Ev::Netlink { h, msg });
    }

    // ---- HAProxy ----

    pub fn orphan_haproxy(&mut self, h: usize) {
        if let Some(x) = &mut self.hosts[h].haproxy.process {
            x.orphan = true;
        }
    }

    fn ended(&mut self, h: usize, mut e: Ended) {
        let Some(x) = self.hosts[h].haproxy.process.filter(|x| x.pid == e.pid) else { return };
        e.orphan = x.orphan;
        self.say(h, || format!("HAProxy {} has ended: {:?}", e.pid, e.exit));
        self.hosts[h].haproxy.set(self.now, None);
        if let Some(p) = &mut self.hosts[h].proc {
            match e.orphan {
                true => p.pidfd = Some(Ended { exit: Exit::Unknown, ..e }),
                false => p.signals.push_back(Signal::Child(e)),
            }
            self.nudge(h);
        }
    }

    fn kill_haproxy(&mut self, h: usize) {
        if let Some(x) = self.hosts[h].haproxy.process {
            self.ended(h, Ended { pid: x.pid, exit: Exit::Signal(11), orphan: x.orphan });
        }
    }

    // ---- what goes wrong ----

    fn goes_wrong(&mut self, i: usize) {
        let fault = self.plan.faults[i].1;
        self.say(9, || format!("---- {fault:?}"));
        match fault {
            Fault::Kill { host, restart, forget } => {
                self.kill(host);
                if forget {
                    self.hosts[host].memory.fill(None);
                }
                if restart > 0 {
                    self.at(self.now + restart, Ev::Start { h: host });
                }
            }
            Fault::Reboot { host, restart } => {
                self.kill(host);
                let (m, now) = (&self.plan.machines[host], self.now);
                let (owner, rate) = (m.owner, m.rate);
                let h = &mut self.hosts[host];
                h.haproxy = Haproxy { down_since: Some(now), broken: h.haproxy.broken, ..Haproxy::default() };
                h.memory.fill(None);
                h.kernel.addrs.clear();
                h.kernel.check += 1;
                let fast = (i128::from(now) * i128::from(rate) / 1_000_000_000) as i64;
                h.clock = 5 * SEC as i64 - now as i64 - fast;
                h.facts.iter_mut().for_each(Facts::reboot);
                let local = self.clock(host, now).as_nanos();
                addresses(&mut self.hosts[host].kernel, host, owner, local, &self.plan);
                self.at(now + restart, Ev::Start { h: host });
            }
            Fault::Stop { host, restart } => {
                if let Some(p) = &mut self.hosts[host].proc {
                    p.signals.push_back(Signal::Term);
                    self.hosts[host].stopping = true;
                    self.nudge(host);
                }
                // Started again by whoever stopped it, once it has ended.
                self.at(self.now + restart + 4500 * MS, Ev::Start { h: host });
            }
            Fault::Stall { host, steps, time } => {
                let now = self.now;
                if let Some(p) = &mut self.hosts[host].proc {
                    match steps {
                        0 => p.still = now + time,
                        n => p.stall = Some((n, time)),
                    }
                }
            }
            Fault::Cut { side, .. } => self.cut_off(side, true),
            Fault::OneWay { from, to, .. } => self.cut[from][to] += 1,
            Fault::LinkDown { host, .. } => {
                self.hosts[host].down += 1;
                self.set_link(host, false);
            }
            Fault::Loss { permille, .. } => self.loss += permille,
            Fault::SendFails { host, .. } => self.hosts[host].send_fails += 1,
            Fault::NetlinkFails { host, permille, .. } => self.hosts[host].netlink_fails = permille,
            Fault::Overrun { host } => {
                if let Some(p) = &mut self.hosts[host].proc {
                    p.netlink.clear();
                    p.lost = true;
                    self.nudge(host);
                }
            }
            Fault::DeleteVip { host } => {
                let addr = IpAddr::V4(vip(0, 0));
                if let Some(a) = self.hosts[host].kernel.delete_tagged(addr) {
                    self.vanished(host, self.now, addr);
                    self.hosts[host].refused = self.now;
                    let local = self.clock(host, self.now).as_nanos();
                    let msg = Msg::AddrGone(self.hosts[host].kernel.message(local, &a));
                    self.at(self.now + 50 * US, Ev::Netlink { h: host, msg });
                }
            }
            Fault::HaproxyDies { host } => self.kill_haproxy(host),
            Fault::HaproxyHangs { host } => {
                if self.hosts[host].haproxy.serves() {
                    self.hosts[host].haproxy.set(self.now, Some(State::Hung));
                }
            }
            Fault::HaproxyBroken { host, .. } => {
                self.hosts[host].haproxy.broken += 1;
                self.kill_haproxy(host);
            }
            Fault::Priority { host, router, priority } => {
                if self.plan.machines[host].cfg.vrrp[router].priority != 255 {
                    self.hosts[host].priorities[router] = Some(priority);
                    if let Some(p) = &mut self.hosts[host].proc {
                        p.node.instances[router].machine.params.priority = priority;
                    }
                    self.forget_heard(host, Some(router));
                }
            }
            Fault::Calm => {
                self.loss = 0;
                if self.plan.parts != 0 {
                    self.cut_off(self.plan.parts, true);
                }
            }
        }
        let time = match fault {
            Fault::Cut { time, .. }
            | Fault::OneWay { time, .. }
            | Fault::LinkDown { time, .. }
            | Fault::Loss { time, .. }
            | Fault::SendFails { time, .. }
            | Fault::NetlinkFails { time, .. }
            | Fault::HaproxyBroken { time, .. } => time,
            _ => return,
        };
        self.at(self.now + time, Ev::Over(i));
    }

    fn is_over(&mut self, i: usize) {
        let fault = self.plan.faults[i].1;
        self.say(9, || format!("---- over: {fault:?}"));
        match fault {
            Fault::Cut { side, .. } => self.cut_off(side, false),
            Fault::OneWay { from, to, .. } => {
                self.cut[from][to] -= 1;
                self.disturb(from, to);
            }
            Fault::LinkDown { host, .. } => {
                self.hosts[host].down -= 1;
                let down = self.hosts[host].down > 0;
                self.set_link(host, !down);
            }
            Fault::Loss { permille, .. } => self.loss = self.loss.saturating_sub(permille),
            Fault::SendFails { host, .. } => {
                self.hosts[host].send_fails -= 1;
                self.hosts[host].upset = self.now;
            }
            Fault::NetlinkFails { host, .. } => self.hosts[host].netlink_fails = 0,
            Fault::HaproxyBroken { host, .. } => self.hosts[host].haproxy.broken -= 1,
            _ => {}
        }
    }

    fn cut_off(&mut self, side: u8, cut: bool) {
        for a in 0..self.hosts.len() {
            for b in 0..self.hosts.len() {
                if (side >> a) & 1 != (side >> b) & 1 {
                    let c = &mut self.cut[a][b];
                    *c = if cut { *c + 1 } else { *c - 1 };
                    self.disturb(a, b);
                }
            }
        }
    }

    fn kill(&mut self, h: usize) {
        self.hosts[h].stopping = false;
        if let Some(p) = self.hosts[h].proc.take() {
            self.ends(h, &p, false);
            self.say(h, || "vipd is killed".into());
        }
        self.orphan_haproxy(h);
    }
}

fn addresses(kernel: &mut Kernel, h: usize, owner: bool, local: u64, plan: &Plan) {
    kernel.add_permanent(local, primary(h), 24);
    if owner {
        for v in &plan.machines[h].cfg.vrrp[0].vips {
            if let IpAddr::V4(a) = v.addr {
                kernel.add_permanent(local, a, 24);
            }
        }
    }
}

/// 255 less the priority, with the checksum brought up to date (RFC 1624).
fn reverse(packet: &mut [u8]) {
    let old = u16::from_be_bytes([packet[22], packet[23]]);
    packet[22] = 255 - packet[22];
    let new = u16::from_be_bytes([packet[22], packet[23]]);
    let sum = u16::from_be_bytes([packet[26], packet[27]]);
    let mut s = u32::from(!sum) + u32::from(!old) + u32::from(new);
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    packet[26..28].copy_from_slice(&(!(s as u16)).to_be_bytes());
}
