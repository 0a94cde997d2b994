//! The state of the node as text: for people in `people`, for programs in `walk`.

mod json;
mod metrics;
mod people;
mod sink;
mod value;
mod walk;

use crate::base::time::Time;
use crate::haproxy::supervisor::{State, Supervisor};
use crate::node::{Node, Router};
use crate::report::words;
use crate::vrrp::machine::Kind;
use json::Json;
use metrics::Metrics;
use people::people;
use sink::Sink;
use std::time::Duration;

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
    people(node, &Context { router_id, started, now }, false)
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
