//! The state of the node as text: for people here, for programs in `walk`. No floating point: its formatting
//! costs 10 KiB.

mod json;
mod metrics;
pub mod walk;

use crate::base::text::Write;
use crate::base::time::Time;
use crate::config::Track;
use crate::haproxy::supervisor::{State, Supervisor};
use crate::lease::Entry;
use crate::node::{Group, Link, Node, Router};
use crate::report::words;
use crate::vrrp::machine::{Kind, State as Vrrp};
use json::Json;
use metrics::Metrics;
use std::time::Duration;
use walk::{Sink, Value};

/// How the status is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Plain,
    /// For people at a terminal.
    Colour,
    /// One JSON object.
    Json,
    /// The Prometheus text format.
    Metrics,
}

/// What is not the node's own.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Name of the node.
    pub router_id: &'a str,
    /// When vipd was started.
    pub started: Time,
    /// The time.
    pub now: Time,
}

/// Exit status of `vipd status`: 0 all master, 3 some backup, 4 any fault; a second master is one.
pub fn exit_status(node: &Node) -> u8 {
    let refused = |i: usize| node.addrs.of(i).any(|(e, _)| node.addrs.is_refused(e));
    let fault = node.routers.iter().enumerate().any(|(n, i)| {
        words::state(i.machine.kind(), i.faults) == "FAULT"
            || (i.is_master() && (refused(n) || i.foreign.present().is_some()))
    });
    let backup = node.routers.iter().any(|i| !i.is_master());
    match (fault, backup) {
        (true, _) => 4,
        (_, true) => 3,
        _ => 0,
    }
}

/// The status in any form.
pub fn render(form: Form, node: &Node, c: &Context) -> String {
    match form {
        Form::Plain | Form::Colour => people(node, c, form == Form::Colour),
        Form::Json => walked(Sink::Json(Json::default()), node, c),
        Form::Metrics => walked(Sink::Metrics(Metrics::default()), node, c),
    }
}

fn walked(mut sink: Sink, node: &Node, c: &Context) -> String {
    walk::walk(&mut sink, node, c);
    match sink {
        Sink::Json(json) => json.out + "\n",
        Sink::Metrics(metrics) => metrics.finish(),
    }
}

/// Text, into the quoted strings of JSON and of labels. What only one of the two could say otherwise, control
/// characters, is not said.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push('?'),
            c => out.push(c),
        }
    }
}

/// A value that is a number, in JSON as in metrics.
fn number(out: &mut String, v: Value) {
    match v {
        Value::Code(n) => write!(out, "{n}"),
        Value::Flag(b) => write!(out, "{}", u8::from(b)),
        Value::Number(n) => write!(out, "{n}"),
        Value::Count(n) => write!(out, "{n}"),
        Value::Seconds(d) | Value::Spent(d) => write!(out, "{}.{:03}", d.as_secs(), d.subsec_millis()),
        Value::Null | Value::Text(_) | Value::Label(_) => {}
    };
}

/// Why a virtual router is in its state.
pub fn reason(router: &Router) -> String {
    match router.machine.kind() {
        Kind::Init if !router.faults.none() => words::faults(router.faults),
        _ => words::why(router.why),
    }
}

/// Whether anything was ever heard of this VRID from anybody, refused or not.
fn heard(router: &Router) -> bool {
    router.stats.adverts_received > 0 || router.stats.discards.all().any(|(_, n)| n > 0)
}

/// HAProxy's state in one word.
pub fn haproxy_state(h: &Supervisor) -> &'static str {
    match h.state() {
        State::Ready { .. } => "READY",
        State::Starting { .. } | State::Killed { .. } => "STARTING",
        State::Down { .. } => "DOWN",
        State::Stopping { .. } => "STOPPING",
        State::Stopped => "STOPPED",
    }
}

/// HAProxy's master, worker, when it became what it is, and when it is started again.
fn processes(h: &Supervisor) -> (Option<u32>, Option<u32>, Option<Time>, Option<Time>) {
    match h.state() {
        State::Ready { pid, worker, since, .. } => (Some(*pid), Some(*worker), Some(*since), None),
        State::Starting { pid, since, .. } | State::Killed { pid, since } => {
            (Some(*pid), None, Some(*since), None)
        }
        State::Down { retry_at } => (None, None, None, Some(*retry_at)),
        State::Stopping { pid, .. } => (Some(*pid), None, None, None),
        State::Stopped => (None, None, None, None),
    }
}

/// Every virtual router, then HAProxy; without colour.
pub fn text(node: &Node, router_id: &str, started: Time, now: Time) -> String {
    people(node, &Context { router_id, started, now }, false)
}

fn people(node: &Node, c: &Context, colour: bool) -> String {
    let mut s = String::new();
    let (version, now) = (env!("CARGO_PKG_VERSION"), c.now);
    writeln!(s, "{}: vipd {version}, up {}", c.router_id, ago(now.since(c.started)));
    let width = node.routers.iter().fold(0, |w, i| w.max(i.cfg.name.len()));
    for (i, router) in node.routers.iter().enumerate() {
        write!(s, "\n{:width$}  ", router.cfg.name);
        state(&mut s, colour, words::state(router.machine.kind(), router.faults));
        let (since, why) = (ago(now.since(router.since)), reason(router));
        match router.machine.kind() {
            Kind::Init if !router.faults.none() => writeln!(s, " for {since}: {why}"),
            _ => writeln!(s, " for {since} ({why})"),
        }
        write_router(&mut s, node, i, router, c, colour);
    }
    for g in &node.groups {
        write!(s, "\n{}  ", g.name);
        state(&mut s, colour, words::group_state(g.state));
        group(&mut s, node, g, now);
    }
    for check in &node.checks {
        write!(s, "\nCheck {}  ", check.name);
        state(&mut s, colour, up(check.is_up()));
        write!(s, " for {}", ago(now.since(check.since)));
        if let Some(f) = check.failure {
            write!(s, ", last attempt: {}", words::failure(f));
        }
        s.push('\n');
    }
    node.links.iter().for_each(|l| link(&mut s, l));
    if let Some(h) = &node.haproxy {
        haproxy(&mut s, h, now, colour);
    }
    s
}

/// Green is well, red is not.
fn state(s: &mut String, colour: bool, word: &str) {
    let code = match word {
        "MASTER" | "READY" | "up" => 32,
        "BACKUP" => 36,
        "FAULT" | "DOWN" | "down" => 31,
        _ => 33,
    };
    if colour {
        write!(s, "\x1b[{code}m{word}\x1b[0m")
    } else {
        write!(s, "{word}")
    };
}

/// Begins a row: what is behind is in one column.
fn row(s: &mut String, title: &str) {
    write!(s, "  {title:<9} ");
}

fn write_router(s: &mut String, node: &Node, i: usize, router: &Router, context: &Context, colour: bool) {
    let (kind, c, now) = (router.machine.kind(), &router.cfg, context.now);
    row(s, "router");
    write!(s, "VRID {} on {}, VRRPv{}", c.vrid, c.interface, c.version as u8 + 2);
    write!(s, ", priority {}", router.machine.params.priority);
    let tracked = node.tracked(i, now);
    let mut weighs = false;
    for t in &tracked {
        if t.weight() != 0 {
            if !std::mem::replace(&mut weighs, true) {
                write!(s, " ({}", c.priority);
            }
            let (what, name) = words::tracked(node, t.what);
            write!(s, ", {:+} {what}{name} {}", i32::from(t.weight()), up(t.up));
        }
    }
    if weighs {
        s.push(')');
    }
    write!(s, ", advert_int {}", seconds(c.advert_int));
    match router.src {
        Some(src) => writeln!(s, ", from {src}"),
        None => writeln!(s, ", no source address"),
    };
    match router.machine.state() {
        Vrrp::Backup { master, down_at, preempt_at, .. } => {
            row(s, "master");
            match master {
                Some(m) => write!(s, "{} with priority {}", m.src, m.priority),
                None => write!(s, "no master heard"),
            };
            write!(s, ", down timer {}", seconds(down_at.since(now)));
            if let Some(at) = preempt_at.filter(|t| *t > now) {
                write!(s, ", preempt_delay {}", seconds(at.since(now)));
            }
            s.push('\n');
        }
        Vrrp::Master { advert_at, .. } => {
            row(s, "master");
            writeln!(s, "this node, next advert in {}", seconds(advert_at.since(now)));
        }
        Vrrp::Init => {}
    }
    for t in tracked.iter().filter(|t| t.how == Track::Fault && t.up != Some(true)) {
        let (what, name) = words::tracked(node, t.what);
        row(s, "needs");
        write!(s, "{what}{name} ");
        state(s, colour, up(t.up));
        s.push('\n');
    }
    if let Some(left) = router.machine.no_preempt_for(now) {
        writeln!(s, "  resigned: does not preempt for {}", seconds(left));
    }
    if router.machine.is_soliciting() {
        s.push_str("  told to resign: asks whether there is a successor\n");
    }
    if router.retired {
        s.push_str("  not configured any more: it goes when its successor has its addresses\n");
    }
    if let Some(h) = router.hold {
        row(s, "hand-over");
        writeln!(s, "waits for its successor, {} left", seconds(h.until.since(now)));
    }
    let width = node.addrs.of(i).map(|(_, vip)| shown(node, vip).len()).max().unwrap_or(0);
    for (e, vip) in node.addrs.of(i) {
        row(s, "address");
        write!(s, "{:width$} ", shown(node, vip));
        match (node.addrs.is_held(e), node.addrs.lease_left(e, now)) {
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
    split_brain(s, node, router, now, colour);
    if !heard(router) && kind == Kind::Master {
        row(s, "heard");
        s.push_str("no advert ever, from anybody\n");
    }
    // With one target, send_errors below says it all.
    for t in router.targets.iter().filter(|t| router.targets.len() > 1 && t.send_errors > 0) {
        row(s, "unsent");
        writeln!(s, "{} adverts could not be sent to {}", t.send_errors, t.to);
    }
    counters(s, "  counters  ", router.stats.all());
}

/// `192.168.30.230 on eth0:`
fn shown(node: &Node, vip: &Entry) -> String {
    format!("{} on {}:", vip.addr, node.links.get(vip.link).map_or("?", |l| l.name.as_str()))
}

/// Who else is or was master, and who announces our addresses.
fn split_brain(s: &mut String, node: &Node, router: &Router, now: Time, colour: bool) {
    let f = &router.foreign;
    if let Some(other) = f.last.filter(|_| f.present().is_some() || !f.total.is_zero()) {
        row(s, "foreign");
        if f.present().is_some() {
            state(s, colour, "SPLIT BRAIN");
            s.push_str(": ");
        }
        write!(s, "master {} with priority {}", other.src, other.priority);
        if let Some(why) = other.refused {
            write!(s, ", refused ({})", why.name());
        }
        writeln!(s, ", {} in all", seconds(f.total));
    }
    if let Some((c, vip)) = router.contest.and_then(|c| Some((c, node.addrs.entries.get(c.entry)?))) {
        row(s, "foreign");
        let (by, ago) = (words::mac(c.mac), ago(now.since(c.heard)));
        writeln!(s, "{} announced by {by}, another host, {ago} ago", vip.addr);
    }
}

/// Those that are not zero, in one line.
fn counters(s: &mut String, title: &str, all: impl Iterator<Item = (&'static str, u64)>) {
    let mut before = title;
    for (name, n) in all.filter(|(_, n)| *n > 0) {
        write!(s, "{before}{name} {n}");
        before = ", ";
    }
    if before != title {
        s.push('\n');
    }
}

/// `VG_1  BACKUP: VI_1 (would be master), VI_2`
fn group(s: &mut String, node: &Node, g: &Group, now: Time) {
    let mut sign = ':';
    for router in g.members.iter().filter_map(|i| node.routers.get(*i)) {
        let waits = matches!(router.machine.state(), Vrrp::Backup { down_at, .. } if now >= *down_at);
        write!(s, "{sign} {}{}", router.cfg.name, if waits { " (would be master)" } else { "" });
        sign = ',';
    }
    s.push('\n');
}

/// Packets that were refused before it was known whose they are, or because they are nobody's, or lost.
fn link(s: &mut String, l: &Link) {
    let title = format!("\n{}  ", l.name);
    counters(s, &title, l.bogus.all().chain([("receive_overruns", l.overruns)]));
}

fn haproxy(s: &mut String, h: &Supervisor, now: Time, colour: bool) {
    s.push_str("\nHAProxy  ");
    state(s, colour, haproxy_state(h));
    let (pid, worker, since, retry) = processes(h);
    if let Some(t) = since {
        write!(s, " for {}", ago(now.since(t)));
    }
    if let Some(t) = retry {
        write!(s, ", next start in {}", seconds(t.since(now)));
    }
    if h.is_crash_loop() {
        s.push_str(", died too often: other nodes are preferred until it has run for crash_window");
    }
    s.push('\n');
    if let Some(pid) = pid {
        row(s, "process");
        write!(s, "pid {pid}");
        if let Some(worker) = worker {
            write!(s, ", worker {worker}");
        }
        if !h.version.is_empty() {
            write!(s, ", version {}", h.version);
        }
        s.push('\n');
    }
    if h.restarts > 0 || h.last_exit.is_some() {
        row(s, "restarts");
        write!(s, "{}", h.restarts);
        if let Some(e) = h.last_exit {
            write!(s, ", last exit: {}", words::exit(e));
        }
        s.push('\n');
    }
    if h.held_listeners() > 0 {
        row(s, "sockets");
        writeln!(s, "{} listening socket(s) held over a crash", h.held_listeners());
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
pub fn ago(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}
