//! The state of the node as text: for people in `people`, for programs in `walk`.

mod json;
mod metrics;
mod people;
mod sink;
mod value;
mod verdict;
mod walk;

use crate::base::time::Time;
use crate::haproxy::supervisor::{State, Supervisor};
use crate::node::{Node, Router};
use crate::report::history::History;
use crate::report::words;
use crate::vrrp::machine::Kind;
use json::Json;
use metrics::Metrics;
use people::people;
use sink::Sink;
use std::time::Duration;
use verdict::Verdict;

/// The exit status for a name that does not exist.
const WRONG: u8 = 2;

/// The form of a status.
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
    /// The verdict in one line, for probes.
    Check,
}

/// What the node does not know.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Name of the node.
    pub router_id: &'a str,
    /// When vipd was started.
    pub started: Time,
    /// The time.
    pub now: Time,
    /// The last transitions.
    pub history: Option<&'a History>,
    /// HAProxy's last ALERT, and when, as time since 1970 UTC.
    pub alert: Option<(&'a str, Duration)>,
    /// Where metrics and health are to be served, and why they are not.
    pub http: Option<(&'a str, Option<&'a str>)>,
    /// Whether the last reload was accepted, and when the configuration that runs was read.
    pub reload: (bool, Time),
}

impl<'a> Context<'a> {
    /// Of a node that has just been started.
    pub fn new(router_id: &'a str, started: Time, now: Time) -> Self {
        Context { router_id, started, now, history: None, alert: None, http: None, reload: (true, started) }
    }
}

/// The answer to `vipd status`: exit status and text. `name`: of a virtual router or a group; `None`: all.
pub fn answer(form: Form, name: Option<&str>, node: &Node, c: &Context) -> (u8, String) {
    let Some(scope) = scope(node, name) else {
        return (WRONG, "no virtual router or group has that name\n".to_owned());
    };
    match form {
        Form::Check => {
            let verdict = worst(node, &scope, c.now);
            let status = match verdict {
                Verdict::Ok => 0,
                Verdict::Starting => 1,
                Verdict::Fault | Verdict::SplitBrain => 2,
            };
            (status, format!("{}: {}\n", verdict.word(), verdict::text(node, &scope, c.now)))
        }
        _ => (code(node, &scope, c.now), written(form, node, &scope, name.is_some(), c)),
    }
}

/// The virtual routers that a name stands for.
fn scope(node: &Node, name: Option<&str>) -> Option<Vec<usize>> {
    let Some(name) = name else { return Some((0..node.routers.len()).collect()) };
    let router = node.routers.iter().position(|r| r.cfg.name == name).map(|i| vec![i]);
    router.or_else(|| node.groups.iter().find(|g| g.name == name).map(|g| g.members.clone()))
}

fn worst(node: &Node, scope: &[usize], now: Time) -> Verdict {
    let routers = scope.iter().filter_map(|i| Some((*i, node.routers.get(*i)?)));
    routers.map(|(i, r)| verdict::of(node, i, r, now)).max().unwrap_or(Verdict::Ok)
}

/// 0 all master, 3 some backup, 4 any fault or split brain.
fn code(node: &Node, scope: &[usize], now: Time) -> u8 {
    if worst(node, scope, now) >= Verdict::Fault {
        return 4;
    }
    let backup = scope.iter().filter_map(|i| node.routers.get(*i)).any(|r| !r.is_master());
    if backup { 3 } else { 0 }
}

/// Exit status of `vipd status`: 0 all master, 3 some backup, 4 any fault or split brain.
pub fn exit_status(node: &Node, now: Time) -> u8 {
    let all: Vec<usize> = (0..node.routers.len()).collect();
    code(node, &all, now)
}

/// The status in any form.
pub fn render(form: Form, node: &Node, c: &Context) -> String {
    answer(form, None, node, c).1
}

fn written(form: Form, node: &Node, scope: &[usize], detailed: bool, c: &Context) -> String {
    let mut sink = match form {
        Form::Json => Sink::Json(Json::default()),
        Form::Metrics => Sink::Metrics(Metrics::new(node.wall(c.now))),
        _ => return people(node, scope, detailed, c, form == Form::Colour),
    };
    walk::walk(&mut sink, node, c);
    match sink {
        Sink::Json(json) => json.out + "\n",
        Sink::Metrics(metrics) => metrics.finish(),
    }
}

/// Why a virtual router is in its state.
pub fn reason(router: &Router) -> String {
    match router.machine.kind() {
        Kind::Init if !router.faults.none() => words::faults(router.faults),
        _ => words::why(router.why),
    }
}

/// What keeps the addresses from being served by two.
fn lease(node: &Node, i: usize) -> &'static str {
    match node.addrs.fence(i) {
        Some(_) => "fence",
        None if node.addrs.terms(i).lease.is_some() => "address",
        None => "off",
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

/// The status for people, without colour.
pub fn text(node: &Node, router_id: &str, started: Time, now: Time) -> String {
    render(Form::Plain, node, &Context::new(router_id, started, now))
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
