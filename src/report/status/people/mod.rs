//! The status for people: each virtual router, then groups, checks, interfaces and HAProxy.

mod auth;
mod router;

use super::{Context, ago, haproxy_state, processes, verdict, worst};
use crate::base::text::{Write, escape};
use crate::check::Check;
use crate::haproxy::supervisor::Supervisor;
use crate::node::{Group, Link, Node};
use crate::report::watch::stamp;
use crate::report::words;
use crate::vrrp::machine::State as Vrrp;
use std::fmt::Arguments;
use std::time::Duration;

/// The text being written.
struct Page<'a> {
    s: String,
    node: &'a Node,
    c: &'a Context<'a>,
    colour: bool,
}

/// Most virtual routers that are shown in full, unless one is asked for by name.
const MAX_IN_FULL: usize = 8;

/// `detailed`: `scope` was asked for by name.
pub(super) fn people(node: &Node, scope: &[usize], detailed: bool, c: &Context, colour: bool) -> String {
    let mut page = Page { s: String::new(), node, c, colour };
    page.state(worst(node, scope, c.now).word());
    writeln!(page.s, ": {}", verdict::text(node, scope, c.now));
    let (version, up) = (env!("CARGO_PKG_VERSION"), ago(c.now.since(c.started)));
    writeln!(page.s, "{}: vipd {version}, up {up}", c.router_id);
    if detailed || scope.len() <= MAX_IN_FULL {
        scope.iter().for_each(|i| page.router(*i));
    } else {
        page.s.push('\n');
        scope.iter().filter_map(|i| node.routers.get(*i)).for_each(|r| page.summary(r));
        page.s.push_str("vipd status NAME shows one of them in full\n");
    }
    let is_shown = |g: &&Group| !detailed || g.members.iter().any(|m| scope.contains(m));
    node.groups.iter().filter(is_shown).for_each(|g| page.group(g));
    if !detailed {
        node.checks.iter().for_each(|c| page.check(c));
        node.links.iter().for_each(|l| page.link(l));
    }
    node.haproxy.iter().filter(|_| !detailed).for_each(|h| page.haproxy(h));
    if let Some((at, Some(why))) = c.http {
        writeln!(page.s, "\nHTTP  cannot listen on {at}: {why}");
    }
    page.transitions(scope);
    page.s
}

impl Page<'_> {
    /// A state. Green is well, red is not.
    fn state(&mut self, word: &str) {
        let code = match word {
            "OK" | "MASTER" | "READY" | "up" => 32,
            "BACKUP" => 36,
            "FAULT" | "DOWN" | "down" | "STALE" | "NOT SET" => 31,
            "SPLIT BRAIN" => 31,
            _ => 33,
        };
        if self.colour {
            write!(self.s, "\x1b[{code}m{word}\x1b[0m")
        } else {
            self.s.push_str(word);
        };
    }

    /// Begins a row: a title, then the second column.
    fn row(&mut self, title: &str) {
        write!(self.s, "  {title:<9} ");
    }

    /// A row.
    fn tell(&mut self, title: &str, text: Arguments<'_>) {
        self.row(title);
        writeln!(self.s, "{text}");
    }

    /// The counters that are not zero, in one line.
    fn counters(&mut self, title: &str, all: &mut dyn Iterator<Item = (&'static str, u64)>) {
        let mut before = title;
        for (name, n) in all.filter(|(_, n)| *n > 0) {
            write!(self.s, "{before}{name} {n}");
            before = ", ";
        }
        if before != title {
            self.s.push('\n');
        }
    }

    /// The last transitions, with the time of day.
    fn transitions(&mut self, scope: &[usize]) {
        let Some(history) = self.c.history else { return };
        let name = |i: &usize| self.node.routers.get(*i).map(|r| r.cfg.name.as_str());
        let all = history.last(&|wanted| scope.iter().any(|i| name(i) == Some(wanted)));
        if !all.is_empty() {
            self.s.push_str("\nTransitions (UTC)\n");
        }
        for (name, t) in all {
            writeln!(self.s, "  {}  {name} {}", stamp(t.at), t.text());
        }
    }

    /// `VG_1  BACKUP: VI_1 (would be master), VI_2`
    fn group(&mut self, g: &Group) {
        write!(self.s, "\n{}  ", g.name);
        self.state(words::group_state(g.state));
        let mut sign = ':';
        for router in g.members.iter().filter_map(|i| self.node.routers.get(*i)) {
            let waits =
                matches!(router.machine.state(), Vrrp::Backup { down_at, .. } if self.c.now >= *down_at);
            let waits = if waits { " (would be master)" } else { "" };
            write!(self.s, "{sign} {}{waits}", router.cfg.name);
            sign = ',';
        }
        self.s.push('\n');
    }

    fn check(&mut self, check: &Check) {
        write!(self.s, "\nCheck {}  ", check.name);
        self.state(up(check.is_up()));
        write!(self.s, " for {}", ago(self.c.now.since(check.since)));
        if let Some(f) = check.failure {
            write!(self.s, ", last attempt: {}", words::failure(f));
        }
        self.s.push('\n');
    }

    /// Packets that were lost, or refused before their virtual router was known.
    fn link(&mut self, l: &Link) {
        let title = format!("\n{}  ", l.name);
        self.counters(&title, &mut l.bogus.all().chain([("receive_overruns", l.overruns)]));
    }

    fn haproxy(&mut self, h: &Supervisor) {
        self.s.push_str("\nHAProxy  ");
        self.state(haproxy_state(h));
        let (pid, worker, since, retry) = processes(h);
        if let Some(t) = since {
            write!(self.s, " for {}", ago(self.c.now.since(t)));
        }
        if let Some(t) = retry {
            write!(self.s, ", next start in {}", seconds(t.since(self.c.now)));
        }
        if h.is_crash_loop() {
            self.s.push_str(", died too often: other nodes are preferred until it has run for crash_window");
        }
        if h.is_copy() {
            self.s.push_str(", with the LAST GOOD COPY of its configuration: other nodes are preferred until it is mended");
        }
        self.s.push('\n');
        if let Some(pid) = pid {
            self.row("process");
            write!(self.s, "pid {pid}");
            if let Some(worker) = worker {
                write!(self.s, ", worker {worker}");
            }
            if !h.version.is_empty() {
                write!(self.s, ", version {}", h.version);
            }
            self.s.push('\n');
        }
        if h.restarts > 0 || h.last_exit.is_some() {
            self.row("restarts");
            write!(self.s, "{}", h.restarts);
            if let Some(e) = h.last_exit {
                write!(self.s, ", last exit: {}", words::exit(e));
            }
            self.s.push('\n');
        }
        if let Some((line, at)) = self.c.alert {
            self.row("alert");
            let mut text = Vec::new();
            escape(line, &mut text);
            writeln!(self.s, "{} {}", stamp(at), String::from_utf8_lossy(&text));
        }
        if h.held_listeners() > 0 {
            self.tell(
                "sockets",
                format_args!("{} listening socket(s) held over a crash", h.held_listeners()),
            );
        }
    }
}

fn up(up: Option<bool>) -> &'static str {
    match up {
        Some(true) => "up",
        Some(false) => "down",
        None => "not known yet",
    }
}

/// `3.60 s`
fn seconds(d: Duration) -> String {
    format!("{}.{:02} s", d.as_secs(), d.subsec_millis() / 10)
}
