//! What goes wrong, and when it is over.

use crate::check::Facts;
use crate::haproxy::{Haproxy, State};
use crate::kernel::Kernel;
use crate::plan::{Fault, MS, Plan, SEC, US, primary, vip};
use crate::shell::{Job, Signal};
use crate::world::{Ev, World};
use std::net::IpAddr;
use vipd::wire::rtnl::Msg;

impl World {
    pub fn goes_wrong(&mut self, i: usize) {
        let fault = self.plan.faults[i].1;
        self.say(9, || format!("---- {fault:?}"));
        match fault {
            Fault::Kill { host, restart, forget } => {
                self.kill(host);
                if forget {
                    self.hosts[host].memory.fill(None);
                    self.hosts[host].sequences.fill(None);
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
                h.sequences.fill(None);
                h.kernel.addrs.clear();
                h.kernel.fence.reset();
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
            Fault::Flush { host } => self.flush_ruleset(host),
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
                    self.ask(host, Job::Priority { router, priority });
                }
            }
            Fault::Resign { host, router, no_preempt_for, force } => {
                self.ask(host, Job::Resign { router, no_preempt_for, force })
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

    pub fn is_over(&mut self, i: usize) {
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

    fn ask(&mut self, host: usize, job: Job) {
        if let Some(p) = &mut self.hosts[host].proc {
            p.jobs.push_back(job);
            self.nudge(host);
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

/// What a machine has when it has booted.
pub fn addresses(kernel: &mut Kernel, h: usize, owner: bool, local: u64, plan: &Plan) {
    kernel.add_permanent(local, primary(h), 24);
    if owner {
        for v in &plan.machines[h].cfg.vrrp[0].vips {
            if let IpAddr::V4(a) = v.addr {
                kernel.add_permanent(local, a, 24);
            }
        }
    }
}
