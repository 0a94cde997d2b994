//! What the process asks of the kernel, and what it reads.

use super::{Half, Proc, Signal, Source};
use crate::fence::Call;
use crate::forger::{HEARD, record};
use crate::haproxy::Ended;
use crate::kernel::ETH0;
use crate::mutant::Mutant;
use crate::world::World;
use vipd::base::time::Time;
use vipd::haproxy::show_info::Info;
use vipd::haproxy::supervisor::Input;
use vipd::lease::{Op, OpKind};
use vipd::node::Node;
use vipd::wire::arp::{self, Arp};
use vipd::wire::rtnl::Msg;

impl World {
    /// The system call, or what follows it.
    pub(super) fn second_half(&mut self, h: usize, p: &mut Proc, t: u64, half: Half) {
        let now = self.clock(h, t);
        match half {
            Half::Send { router, priority, before, again } => {
                let first = again.is_none();
                let mut bytes = again.unwrap_or_default();
                let encoded = !first || p.node.encode_advert(router, priority, 0, now, &mut bytes).is_some();
                let errno = match encoded {
                    false => libc::EADDRNOTAVAIL,
                    true if !p.open => libc::ENODEV,
                    true => self.send(h, p, t, router, priority, bytes.clone()),
                };
                p.half = match errno {
                    libc::EPERM if first => {
                        let rest = p.node.lapsed(router, now);
                        rest.map(|d| (d.as_millis() as u64).max(1)).map(|ms| Half::Reopen {
                            router,
                            ms,
                            priority,
                            before,
                            bytes,
                        })
                    }
                    _ => Some(Half::Sent { router, priority, before, errno }),
                };
            }
            Half::Reopen { router, ms, priority, before, bytes } => {
                self.fence_called(h, p, t, Call::Open { router, ms });
                p.half = Some(Half::Send { router, priority, before, again: Some(bytes) });
            }
            Half::Fence(call) => self.fence_called(h, p, t, call),
            Half::Sent { router, priority, before, errno } => {
                if errno == 0 || self.mutant == Mutant::BelievesEverySend {
                    p.node.sent(router, priority, before);
                } else {
                    p.node.send_failed(router, 0, before, errno);
                    p.node.unsent(router, before);
                }
            }
            Half::Carry { ops, before } => {
                let results = self.netlink(h, p, t, ops);
                p.half = Some(Half::Carried { results, before });
            }
            Half::Carried { results, before } => p.node.addrs_done(before, now, &results),
            Half::Announce { entry } => {
                let e = &p.node.addrs.entries[entry];
                let passes =
                    !self.is_fenced(h, e.router) || self.hosts[h].kernel.passes_arp(now.as_nanos(), e.router);
                if let (std::net::IpAddr::V4(ip), Some(mac), true) =
                    (e.addr, p.node.links[e.link].mac, passes)
                {
                    self.broadcast(h, t, ip.into(), &arp::gratuitous(mac, ip));
                }
            }
            Half::Drain { source, now } => self.drain(h, p, t, source, now),
        }
    }

    /// `Daemon::read`: everything that is queued by now; all but the adverts with a clock that was read
    /// before.
    fn drain(&mut self, h: usize, p: &mut Proc, t: u64, source: Source, now: Time) {
        match source {
            Source::Netlink => {
                if std::mem::take(&mut p.lost) {
                    p.node.overrun();
                    return self.reread(h, p, t);
                }
                for msg in std::mem::take(&mut p.netlink) {
                    tell(&mut p.node, now, &msg);
                }
            }
            Source::Signals => {
                while let Some(s) = p.signals.pop_front() {
                    match s {
                        Signal::Term => p.node.stop(now),
                        Signal::Child(e) => self.exited(h, p, now, e),
                    }
                }
            }
            Source::Vrrp => {
                // `read_adverts` reads the clock behind each packet.
                let now = if self.mutant == Mutant::EarlyClock { now } else { self.clock(h, t) };
                self.read_forged(h, p, now);
                while let Some(packet) = p.vrrp.pop_front() {
                    p.node.packet(now, 0, &packet.bytes);
                    record(&mut p.heard, HEARD, &packet);
                }
            }
            Source::Arp => {
                for _ in 0..64 {
                    let Some(frame) = p.arp.pop_front() else { break };
                    if let Some(a) = frame.get(14..).and_then(Arp::parse) {
                        p.node.arp(now, 0, &a);
                    }
                }
            }
            Source::Probe => {
                if let Some((_, Some(pid))) = p.probe {
                    p.probe = None;
                    let info = Info { version: "2.6".into(), pid: pid + 100_000 };
                    p.node.supervise(now, Input::Answered { pid, info });
                }
            }
            Source::Fence => self.read_fence(h, p, t),
            Source::Pidfd => {
                if let Some(e) = p.pidfd.take() {
                    self.exited(h, p, now, e);
                }
            }
        }
    }

    fn exited(&mut self, h: usize, p: &mut Proc, now: Time, e: Ended) {
        let known = &mut self.hosts[h].haproxy.remembered;
        *known = known.filter(|pid| *pid != e.pid);
        p.node.supervise(now, Input::Exited { pid: e.pid, exit: e.exit });
    }

    /// `Daemon::reread`
    pub(super) fn reread(&mut self, h: usize, p: &mut Proc, t: u64) {
        p.reread_at = None;
        p.netlink.clear();
        p.lost = false;
        if self.hosts[h].netlink_fails > 0 && self.rng.chance(self.hosts[h].netlink_fails) {
            p.reread_at = Some(self.clock(h, t) + std::time::Duration::from_millis(100));
            self.hosts[h].refused = t;
        } else {
            self.dump(h, p, t);
        }
    }

    /// `Daemon::dump`
    pub(super) fn dump(&mut self, h: usize, p: &mut Proc, t: u64) {
        let now = self.clock(h, t);
        let k = &self.hosts[h].kernel;
        p.node.dump_starts();
        p.node.link(now, &k.link());
        for a in &k.addrs {
            p.node.addr(now, &k.message(now.as_nanos(), a));
        }
        p.node.dump_ends(now, &[ETH0]);
    }

    /// `Netlink::carry_out`
    fn netlink(&mut self, h: usize, p: &Proc, t: u64, ops: Vec<Op>) -> Vec<(Op, i32)> {
        let local = self.clock(h, t).as_nanos();
        let permille = self.hosts[h].netlink_fails;
        let all = self.rng.chance(permille / 2);
        let mut results = Vec::new();
        for mut op in ops {
            let errno = if all || self.rng.chance(permille) {
                libc::ENOBUFS
            } else if self.mutant == Mutant::DropsRemovals && op.kind == OpKind::Remove {
                0
            } else {
                if self.mutant == Mutant::Permanent {
                    op.lease = None;
                }
                let was = self.hosts[h].kernel.has(op.addr);
                let errno = self.hosts[h].kernel.carry_out(local, &op);
                self.changed(h, p, t, &op, was, errno);
                errno
            };
            self.say(h, || format!("{:?} {} {:?}: {errno}", op.kind, op.addr, op.lease));
            if errno == libc::ENOBUFS && op.kind == OpKind::Remove {
                self.refuses(h, t, p.node.addrs.entries[op.entry].router, op.addr);
            }
            results.push((op, errno));
        }
        self.expire(h, t);
        results
    }
}

/// What the kernel tells.
fn tell(node: &mut Node, now: Time, msg: &Msg) {
    match msg {
        Msg::Link(l) => node.link(now, l),
        Msg::Addr(a) => node.addr(now, a),
        Msg::AddrGone(a) => node.addr_gone(now, a),
        _ => {}
    }
}
