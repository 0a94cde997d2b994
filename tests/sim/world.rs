//! The machines, the network between them and what goes wrong, in virtual time.

use crate::check::Facts;
use crate::faults::addresses;
use crate::fence::Fence;
use crate::forger::{SENT, record};
use crate::haproxy::{Ended, Haproxy, State};
use crate::kernel::Kernel;
use crate::mutant::Mutant;
use crate::plan::{MS, Plan, SEC, US};
use crate::rng::Rng;
use crate::shell::{Packet, Proc};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use vipd::base::time::Time;
use vipd::node::Memory;
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
    /// From somebody without the key.
    Forged {
        to: usize,
        bytes: Rc<[u8]>,
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
    /// Somebody has removed the tables of the leases.
    Flushed {
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
    /// And those of sequences.
    pub sequences: Vec<Option<String>>,
    /// Set at run time, as a reload would.
    pub priorities: Vec<Option<u8>>,
    /// CLOCK_BOOTTIME when the world was at 0; moves at a reboot.
    pub clock: i64,
    pub wakes: u64,
    pub send_fails: u32,
    /// The last time that an advert was refused.
    pub unsent: u64,
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
    pub cut: [[u32; 5]; 5],
    pub loss: u64,
    duplicates: u64,
    /// The last time that a pair did not hear each other.
    pub disturbed: [[u64; 5]; 5],
    /// Who has no key, what he knows, and what he did.
    pub forger: Rng,
    pub sent: VecDeque<Rc<Packet>>,
    pub forgeries: u64,
    /// Who announced which VIP last, as a client hears it that no cut keeps from anybody.
    pub announced: BTreeMap<IpAddr, usize>,
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
                    fence: Fence::new((m.jiffies_lag / MS).is_multiple_of(2), m.clock),
                };
                addresses(&mut kernel, h, m.owner, m.clock, &plan);
                Host {
                    proc: None,
                    kernel,
                    haproxy: Haproxy { down_since: Some(0), ..Haproxy::default() },
                    memory: vec![None; plan.routers.len()],
                    sequences: vec![None; plan.routers.len()],
                    priorities: vec![None; plan.routers.len()],
                    clock: m.clock as i64,
                    wakes: 0,
                    send_fails: 0,
                    unsent: 0,
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
            announced: BTreeMap::new(),
            forger: Rng::new(seed ^ 0xf046_e000_0000_0000),
            sent: VecDeque::new(),
            forgeries: 0,
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
            let rests = self.rests(at);
            if rests && !rested {
                self.now = at;
                self.at_rest("when everything had time to settle");
            }
            rested = rests;
            if self.violation.is_some() || at > self.plan.end && at > self.end() {
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
        let fast = at * self.plan.machines[h].rate / 1_000_000_000;
        Time::from_nanos((self.hosts[h].clock + at + fast) as u64)
    }

    /// When a machine's clock shows `local`: not before.
    pub fn world(&self, h: usize, local: Time) -> u64 {
        // Nobody lives to see what is later.
        let past = (local.as_nanos() as i64 - self.hosts[h].clock).min(800 * SEC as i64);
        let fast = self.plan.machines[h].rate;
        (past - (past * fast).div_euclid(1_000_000_000 + fast) + 1).max(0) as u64
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
            Ev::Forged { to, bytes } => self.forged(to, bytes),
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
            Ev::Flushed { h } => {
                if let Some(p) = &mut self.hosts[h].proc {
                    p.flushed = true;
                    self.nudge(h);
                }
            }
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

    pub fn send(
        &mut self,
        h: usize,
        p: &Proc,
        t: u64,
        router: usize,
        priority: u8,
        mut bytes: Vec<u8>,
    ) -> i32 {
        if self.hosts[h].send_fails > 0 || !self.hosts[h].kernel.up {
            (self.hosts[h].upset, self.hosts[h].unsent) = (t, t);
            if self.mutant == Mutant::RenewsUnsent && self.passes_fence(h, t, router, priority) {
                self.lease_ends_in_time(h, p, t, router);
            }
            return libc::ENETDOWN;
        }
        if !self.passes_fence(h, t, router, priority) {
            self.say(h, || format!("advert of V{router}: no lease"));
            return libc::EPERM;
        }
        self.say(h, || format!("advert of V{router}, priority {priority}"));
        let id = self.sends(h, p, t, router, priority);
        self.lease_ends_in_time(h, p, t, router);
        if self.mutant == Mutant::PrioritiesReversed && priority != 0 {
            reverse(&mut bytes);
        }
        let packet = Rc::new(Packet { from: h, router, priority, id, bytes });
        record(&mut self.sent, SENT, &packet);
        self.forge(t, &packet);
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

    pub fn broadcast(&mut self, h: usize, t: u64, vip: IpAddr, frame: &[u8]) {
        self.say(h, || format!("announces {vip}"));
        if self.hosts[h].kernel.up {
            self.announced.insert(vip, h);
        }
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

    pub fn set_link(&mut self, h: usize, up: bool) {
        self.hosts[h].kernel.up = up;
        if !up {
            self.forget_heard(h, None); // without the link it takes no part, and starts anew
        }
        self.hosts[h].upset = self.now;
        self.hosts[h].facts.iter_mut().for_each(Facts::clear_refusals);
        for other in 0..self.hosts.len() {
            self.disturb(h, other);
        }
        let msg = Msg::Link(self.hosts[h].kernel.link());
        self.at(self.now + 50 * US, Ev::Netlink { h, msg });
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
