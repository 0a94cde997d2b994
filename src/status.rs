//! The state of the node as text for people. No floating point: its formatting costs 10 KiB.

use crate::config::Track;
use crate::haproxy::supervisor::{State, Supervisor};
use crate::node::{Group, Instance, Link, Node};
use crate::time::Time;
use crate::vrrp::machine::{Kind, State as Vrrp};
use crate::words;
use std::fmt::Write;
use std::time::Duration;

/// Exit status of `vipd status`: 0 all master, 3 some backup, 4 any fault.
pub fn exit_status(node: &Node) -> u8 {
    let refused = |i: usize| node.addrs.of(i).any(|(e, _)| node.addrs.is_refused(e));
    let fault =
        node.instances.iter().enumerate().any(|(n, i)| {
            words::state(i.machine.kind(), i.faults) == "FAULT" || (i.is_master() && refused(n))
        });
    let backup = node.instances.iter().any(|i| !i.is_master());
    match (fault, backup) {
        (true, _) => 4,
        (_, true) => 3,
        _ => 0,
    }
}

/// Every virtual router, then HAProxy.
pub fn text(node: &Node, router_id: &str, started: Time, now: Time) -> String {
    let mut s = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(s, "{router_id}: vipd {version}, up {}", ago(now.since(started)));
    for (i, inst) in node.instances.iter().enumerate() {
        instance(&mut s, node, i, inst, now);
    }
    for g in &node.groups {
        group(&mut s, node, g, now);
    }
    for c in &node.checks {
        let _ = write!(s, "\nCheck {}  {} for {}", c.name, up(c.is_up()), ago(now.since(c.since)));
        if let Some(f) = c.failure {
            let _ = write!(s, ", last attempt: {}", words::failure(f));
        }
        s.push('\n');
    }
    node.links.iter().for_each(|l| link(&mut s, l));
    if let Some(h) = &node.haproxy {
        haproxy(&mut s, h, now);
    }
    s
}

fn instance(s: &mut String, node: &Node, i: usize, inst: &Instance, now: Time) {
    let kind = inst.machine.kind();
    let c = &inst.cfg;
    let _ = write!(s, "\n{}  {}", c.name, words::state(kind, inst.faults));
    let _ = match kind {
        Kind::Init if !inst.faults.none() => writeln!(s, ": {}", words::faults(inst.faults)),
        _ => writeln!(s, " for {} ({})", ago(now.since(inst.since)), words::why(inst.why)),
    };
    let _ = write!(s, "  VRID {} on {}, VRRPv{}", c.vrid, c.interface, c.version as u8 + 2);
    let _ = write!(s, ", priority {}", inst.machine.params.priority);
    let tracked = node.tracked(i, now);
    let mut weighs = false;
    for t in &tracked {
        if t.weight() != 0 {
            if !std::mem::replace(&mut weighs, true) {
                let _ = write!(s, " ({}", c.priority);
            }
            let (what, name) = words::tracked(node, t.what);
            let _ = write!(s, ", {:+} {what}{name} {}", i32::from(t.weight()), up(t.up));
        }
    }
    if weighs {
        s.push(')');
    }
    let _ = write!(s, ", advert_int {}", seconds(c.advert_int));
    let _ = match inst.src {
        Some(src) => writeln!(s, ", from {src}"),
        None => writeln!(s, ", no source address"),
    };
    let _ = match inst.machine.state() {
        Vrrp::Backup { master: Some(m), down_at, .. } => {
            let left = seconds(down_at.since(now));
            writeln!(s, "  master {} with priority {}, down timer {left}", m.src, m.priority)
        }
        Vrrp::Backup { master: None, down_at, .. } => {
            writeln!(s, "  no master heard, down timer {}", seconds(down_at.since(now)))
        }
        _ => Ok(()),
    };
    for t in tracked.iter().filter(|t| t.how == Track::Fault && t.up != Some(true)) {
        let (what, name) = words::tracked(node, t.what);
        let _ = writeln!(s, "  {what}{name} {}", up(t.up));
    }
    if let Some(left) = inst.machine.aside(now) {
        let _ = writeln!(s, "  resigned: does not preempt for {}", seconds(left));
    }
    if inst.machine.is_asking() {
        s.push_str("  told to resign: asks whether there is a successor\n");
    }
    if inst.retired {
        s.push_str("  not configured any more: it goes when its successor has its addresses\n");
    }
    if let Some(h) = inst.hold {
        let left = seconds(h.until.since(now));
        let _ = writeln!(s, "  waits for its successor, {left} left");
    }
    for (e, vip) in node.addrs.of(i) {
        let dev = node.links.get(vip.link).map_or("?", |l| l.name.as_str());
        let _ = write!(s, "  {} on {dev}: ", vip.addr);
        let _ = match (node.addrs.is_held(e), node.addrs.lease_left(e, now)) {
            (true, Some(left)) => writeln!(s, "held, lease {}", seconds(left)),
            (true, None) => writeln!(s, "held, permanent"),
            (false, _) if node.addrs.is_refused(e) => {
                writeln!(
                    s,
                    "not held: somebody else's permanent address, or refused by the kernel; see the log"
                )
            }
            (false, _) => writeln!(s, "not held"),
        };
    }
    // With one target, send_errors below says it all.
    for t in inst.targets.iter().filter(|t| inst.targets.len() > 1 && t.send_errors > 0) {
        let _ = writeln!(s, "  {} adverts could not be sent to {}", t.send_errors, t.to);
    }
    counters(s, "", inst.stats.all());
}

/// Those that are not zero, in one line.
fn counters(s: &mut String, title: &str, all: impl Iterator<Item = (&'static str, u64)>) {
    let mut any = false;
    for (name, n) in all.filter(|(_, n)| *n > 0) {
        let before = if any { "," } else { title };
        let _ = write!(s, "{before}{}{name} {n}", if any { " " } else { "  " });
        any = true;
    }
    if any {
        s.push('\n');
    }
}

/// `VG_1  BACKUP: VI_1 (would be master), VI_2`
fn group(s: &mut String, node: &Node, g: &Group, now: Time) {
    let _ = write!(s, "\n{}  {}", g.name, words::group_state(g.state));
    let mut sign = ':';
    for inst in g.members.iter().filter_map(|i| node.instances.get(*i)) {
        let waits = matches!(inst.machine.state(), Vrrp::Backup { down_at, .. } if now >= *down_at);
        let _ = write!(s, "{sign} {}{}", inst.cfg.name, if waits { " (would be master)" } else { "" });
        sign = ',';
    }
    s.push('\n');
}

/// Packets that were refused before it was known whose they are, or because they are nobody's, or lost.
fn link(s: &mut String, l: &Link) {
    let title = format!("\n{}", l.name);
    counters(s, &title, l.bogus.all().chain([("receive_overruns", l.overruns)]));
}

fn haproxy(s: &mut String, h: &Supervisor, now: Time) {
    s.push_str("\nHAProxy  ");
    let _ = match h.state() {
        State::Ready { pid, worker, since, .. } => {
            writeln!(
                s,
                "ready for {}, pid {pid}, worker {worker}, version {}",
                ago(now.since(*since)),
                h.version
            )
        }
        State::Starting { pid, since, .. } => {
            writeln!(s, "starting for {}, pid {pid}", ago(now.since(*since)))
        }
        State::Down { retry_at } => writeln!(s, "down, next start in {}", seconds(retry_at.since(now))),
        State::Stopping { pid, .. } => writeln!(s, "stopping, pid {pid}"),
        State::Stopped => writeln!(s, "stopped"),
    };
    if h.is_crash_loop() {
        s.push_str("  died too often, FAULT until it has been well for crash_window\n");
    }
    if h.restarts > 0 {
        let _ = write!(s, "  restarts {}", h.restarts);
    }
    if let Some(e) = h.last_exit {
        let _ = write!(s, "  last exit: {}", words::exit(e));
    }
    if h.restarts > 0 || h.last_exit.is_some() {
        s.push('\n');
    }
    if h.held_listeners() > 0 {
        let _ = writeln!(s, "  {} listening socket(s) held over a crash", h.held_listeners());
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

/// `2 d 3 h`, `4 min 10 s`, `12 s`
fn ago(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}
