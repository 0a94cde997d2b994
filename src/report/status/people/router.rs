//! One virtual router: a line with its state, then rows.

use super::super::verdict::Server;
use super::super::{ago, heard, reason, verdict};
use super::{Page, seconds, up};
use crate::base::text::Write;
use crate::config::Track;
use crate::lease::Entry;
use crate::node::{Node, Router};
use crate::report::words;
use crate::vrrp::machine::{Kind, State};

impl Page<'_> {
    pub(super) fn router(&mut self, i: usize) {
        let Some(router) = self.node.routers.get(i) else { return };
        self.headline(router);
        self.cures(router);
        self.settings(i, router);
        self.authentication(router);
        self.master(router);
        self.needs(i);
        self.under_way(router);
        self.addresses(i);
        self.split_brain(router);
        if !heard(router) && router.machine.kind() == Kind::Master {
            self.tell("heard", format_args!("no advert ever, from anybody"));
        }
        // With one target, the counter send_errors tells the same.
        for t in router.targets.iter().filter(|t| router.targets.len() > 1 && t.send_errors > 0) {
            self.tell("unsent", format_args!("{} adverts could not be sent to {}", t.send_errors, t.to));
        }
        self.counters("  counters  ", &mut router.stats.all());
    }

    /// `VI_1  MASTER for 12 s (why)`
    fn headline(&mut self, router: &Router) {
        let width = self.node.routers.iter().fold(0, |w, r| w.max(r.cfg.name.len()));
        write!(self.s, "\n{:width$}  ", router.cfg.name);
        self.state(words::state(router.machine.kind(), router.faults));
        let (since, why) = (ago(self.c.now.since(router.since)), reason(router));
        match router.machine.kind() {
            Kind::Init if !router.faults.none() => writeln!(self.s, " for {since}: {why}"),
            _ => writeln!(self.s, " for {since} ({why})"),
        }
    }

    /// What ends each fault.
    fn cures(&mut self, router: &Router) {
        for text in words::to_do(router) {
            self.tell("to do", format_args!("{text}"));
        }
    }

    /// One line: name, state, since when, who serves which addresses.
    pub(super) fn summary(&mut self, router: &Router) {
        let width = self.node.routers.iter().fold(0, |w, r| w.max(r.cfg.name.len()));
        write!(self.s, "{:width$}  ", router.cfg.name);
        self.state(words::state(router.machine.kind(), router.faults));
        write!(self.s, " for {}: ", ago(self.c.now.since(router.since)));
        let addresses: Vec<_> = router.cfg.held().map(|v| v.addr).collect();
        verdict::list(&mut self.s, &addresses);
        match verdict::server(router, self.c.now) {
            Server::This => self.s.push_str(" served by this node"),
            Server::Other(src) => write!(self.s, " served by {src}"),
            Server::Unknown => self.s.push_str(", no master is heard"),
        };
        if router.is_contested(self.c.now) {
            self.s.push_str(", ");
            self.state("SPLIT BRAIN");
        }
        if !router.faults.none() {
            write!(self.s, ", {}", words::faults(router.faults));
        }
        self.s.push('\n');
    }

    fn settings(&mut self, i: usize, router: &Router) {
        let c = &router.cfg;
        self.row("router");
        write!(self.s, "VRID {} on {}, VRRPv{}", c.vrid, c.interface, c.version as u8 + 2);
        write!(self.s, ", priority {}", router.machine.params.priority);
        let mut weighs = false;
        for t in self.node.tracked(i, self.c.now).iter().filter(|t| t.weight() != 0) {
            if !std::mem::replace(&mut weighs, true) {
                write!(self.s, " ({}", c.priority);
            }
            let (what, name) = words::tracked(self.node, t.what);
            write!(self.s, ", {:+} {what}{name} {}", i32::from(t.weight()), up(t.up));
        }
        if weighs {
            self.s.push(')');
        }
        write!(self.s, ", advert_int {}", seconds(c.advert_int));
        match router.src {
            Some(src) => writeln!(self.s, ", from {src}"),
            None => writeln!(self.s, ", no source address"),
        };
    }

    fn master(&mut self, router: &Router) {
        let now = self.c.now;
        match router.machine.state() {
            State::Backup { master, down_at, preempt_at, .. } => {
                self.row("master");
                match master {
                    Some(m) => write!(self.s, "{} with priority {}", m.src, m.priority),
                    None => write!(self.s, "no master heard"),
                };
                write!(self.s, ", down timer {}", seconds(down_at.since(now)));
                if let Some(at) = preempt_at.filter(|t| *t > now) {
                    write!(self.s, ", preempt_delay {}", seconds(at.since(now)));
                }
                self.s.push('\n');
            }
            State::Master { advert_at, .. } => {
                self.tell(
                    "master",
                    format_args!("this node, next advert in {}", seconds(advert_at.since(now))),
                );
            }
            State::Init | State::Soliciting(_) => {}
        }
    }

    /// The interfaces of its addresses that are not there, and what it tracks that is not up.
    fn needs(&mut self, i: usize) {
        for link in self.node.lacking(i) {
            let Some(link) = self.node.links.get(link) else { continue };
            self.row("needs");
            write!(self.s, "interface {} ", link.name);
            self.state(if link.ifindex.is_none() { "does not exist" } else { "is down" });
            self.s.push('\n');
        }
        for t in self.node.tracked(i, self.c.now) {
            if t.how == Track::Fault && t.up != Some(true) {
                let (what, name) = words::tracked(self.node, t.what);
                self.row("needs");
                write!(self.s, "{what}{name} ");
                self.state(up(t.up));
                self.s.push('\n');
            }
        }
    }

    /// Resigning, leaving, handing over.
    fn under_way(&mut self, router: &Router) {
        if let Some(left) = router.machine.no_preempt_for(self.c.now) {
            writeln!(self.s, "  resigned: does not preempt for {}", seconds(left));
        }
        if router.machine.is_soliciting() {
            self.s.push_str("  told to resign: asks whether there is a successor\n");
        }
        if router.retired {
            self.s.push_str("  no longer configured: it leaves when its successor has the addresses\n");
        }
        if let Some(h) = router.hold {
            self.tell(
                "hand-over",
                format_args!("waits for its successor, {} left", seconds(h.until.since(self.c.now))),
            );
        }
    }

    fn addresses(&mut self, i: usize) {
        let (node, addrs) = (self.node, &self.node.addrs);
        if let Some(term) = addrs.fence(i) {
            self.row("lease");
            write!(self.s, "{} in nf_tables, ", seconds(term));
            match node.lease_left(i, self.c.now) {
                Some(left) => writeln!(self.s, "{} left", seconds(left)),
                None => writeln!(self.s, "none runs"),
            };
        }
        let width = addrs.of(i).map(|(_, vip)| shown(node, vip).len()).max().unwrap_or(0);
        for (e, vip) in addrs.of(i) {
            self.row("address");
            write!(self.s, "{:width$} ", shown(node, vip));
            match (addrs.is_held(e), addrs.lease_left(e, self.c.now)) {
                (true, Some(left)) => writeln!(self.s, "held, lease {}", seconds(left)),
                (true, None) => self.s.push_str("held, permanent\n"),
                (false, _) if addrs.is_refused(e) => self.s.push_str(
                    "not held: somebody else's permanent address, or refused by the kernel; see the log\n",
                ),
                (false, _) => self.s.push_str("not held\n"),
            };
        }
    }

    /// Who else has the addresses, or had them.
    fn split_brain(&mut self, router: &Router) {
        let contested = router.is_contested(self.c.now);
        for (rival, at) in router.rivals(self.c.now) {
            self.row("foreign");
            self.state("SPLIT BRAIN");
            self.s.push_str(": ");
            verdict::rival(&mut self.s, self.node, &rival);
            write!(self.s, ", {} ago", ago(self.c.now.since(at)));
            self.s.push('\n');
        }
        let f = &router.foreign;
        if let Some(other) = f.last.filter(|_| !f.total.is_zero() && !contested) {
            self.row("foreign");
            let (src, priority, total) = (other.src, other.priority, seconds(f.total));
            writeln!(self.s, "{src} was also master, with priority {priority}, {total} in all");
        }
        let entries = &self.node.addrs.entries;
        let contest = router.contest.filter(|_| !contested).and_then(|c| Some((c, entries.get(c.entry)?)));
        if let Some((c, vip)) = contest {
            self.row("foreign");
            let (mac, ago) = (words::mac(c.mac), ago(self.c.now.since(c.heard)));
            writeln!(self.s, "{} was announced by {mac}, another host, {ago} ago", vip.addr);
        }
    }
}

/// `192.168.30.230 on eth0:`
fn shown(node: &Node, vip: &Entry) -> String {
    format!("{} on {}:", vip.addr, words::link(node, vip.link))
}
