//! The state of the node for programs: one walk, which a [`Sink`] writes down as JSON or as metrics. Names and
//! meanings are stable; `rootfs/usr/share/vipd/status.schema.json` describes the JSON.

use super::{Context, heard};
use crate::config::Track;
use crate::haproxy::supervisor::{State as Haproxy, Supervisor};
use crate::node::{Instance, Node, Tracked};
use crate::vrrp::machine::{Kind, State};
use crate::words;
use std::fmt::Display;
use std::time::Duration;

/// Version of the JSON; raised when something is removed or changes its meaning.
pub const SCHEMA: i64 = 1;

/// One value. Metrics are made of those that have a help text.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Unknown, or not so now.
    Null,
    /// JSON only.
    Text(&'a dyn Display),
    /// Names the object; a label of its metrics.
    Label(&'a dyn Display),
    /// A number in metrics only, for what JSON has as text.
    Code(u8),
    /// True or false; 1 or 0.
    Flag(bool),
    /// A gauge.
    Number(i64),
    /// A counter.
    Count(u64),
    /// A gauge in seconds.
    Seconds(Duration),
    /// A counter in seconds.
    Spent(Duration),
}

/// What writes it down.
pub trait Sink {
    /// An object or a list begins, in a list with an empty key; the metrics in it begin with `prefix`, or, if
    /// that is empty, as before.
    fn open(&mut self, key: &'static str, list: bool, prefix: &'static str);
    /// The innermost one ends.
    fn close(&mut self);
    /// A value.
    fn put(&mut self, key: &'static str, value: Value, help: &'static str);
}

const STATES: &str = "0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.";

fn code(state: &str) -> Value<'static> {
    Value::Code(match state {
        "BACKUP" => 1,
        "MASTER" => 2,
        "FAULT" => 3,
        _ => 0,
    })
}

fn text<T: Display>(t: Option<&T>) -> Value<'_> {
    t.map_or(Value::Null, |t| Value::Text(t))
}

fn seconds(d: Option<Duration>) -> Value<'static> {
    d.map_or(Value::Null, Value::Seconds)
}

fn flag(b: Option<bool>) -> Value<'static> {
    b.map_or(Value::Null, Value::Flag)
}

/// Everything.
pub fn walk(out: &mut dyn Sink, node: &Node, c: &Context) {
    out.open("", false, "vipd_");
    out.put("schema", Value::Number(SCHEMA), "");
    out.put("status", Value::Number(super::exit_status(node).into()), "0 all master, 3 some backup, 4 any fault.");
    out.put("uptime_seconds", Value::Seconds(c.now.since(c.started)), "Time since vipd was started.");
    out.open("vipd", false, "");
    out.put("version", Value::Label(&env!("CARGO_PKG_VERSION")), "");
    out.put("router_id", Value::Label(&c.router_id), "");
    out.put("info", Value::Code(1), "Version and name of the node.");
    out.close();
    out.open("vrrp", true, "vipd_vrrp_");
    for (i, inst) in node.instances.iter().enumerate() {
        out.open("", false, "");
        instance(out, node, i, inst, c);
        out.close();
    }
    out.close();
    out.open("groups", true, "vipd_group_");
    for g in &node.groups {
        out.open("", false, "");
        let state = words::group_state(g.state);
        out.put("name", Value::Label(&g.name), "");
        out.put("state", Value::Text(&state), "");
        out.put("state", code(state), STATES);
        out.open("members", true, "");
        for inst in g.members.iter().filter_map(|i| node.instances.get(*i)) {
            out.put("", Value::Text(&inst.cfg.name), "");
        }
        out.close();
        out.close();
    }
    out.close();
    out.open("checks", true, "vipd_check_");
    for check in &node.checks {
        out.open("", false, "");
        out.put("name", Value::Label(&check.name), "");
        out.put("up", flag(check.is_up()), "Whether the check is up; absent before its first result.");
        out.put("since_seconds", Value::Seconds(c.now.since(check.since)), "Time since that changed.");
        let failure = check.failure.map(words::failure);
        out.put("failure", text(failure.as_ref()), "");
        out.close();
    }
    out.close();
    out.open("interfaces", true, "vipd_interface_");
    for l in &node.links {
        out.open("", false, "");
        out.put("name", Value::Label(&l.name), "");
        out.put("present", Value::Flag(l.ifindex.is_some()), "");
        out.put("up", Value::Flag(l.running), "Whether the interface is up and has a carrier.");
        out.put("receive_overruns", Value::Count(l.overruns), "Packets that came faster than they were read.");
        discarded(out, l.bogus.all(), "Packets refused before it was known whose they are, by reason.");
        out.close();
    }
    out.close();
    match &node.haproxy {
        Some(h) => {
            out.open("haproxy", false, "vipd_haproxy_");
            haproxy(out, h, c);
            out.close();
        }
        None => out.put("haproxy", Value::Null, ""),
    }
    out.close();
}

/// Those that are not zero: there are many reasons and most stay so.
fn discarded(out: &mut dyn Sink, all: impl Iterator<Item = (&'static str, u64)>, help: &'static str) {
    out.open("discards", true, "");
    for (reason, n) in all.filter(|(_, n)| *n > 0) {
        out.open("", false, "");
        out.put("reason", Value::Label(&reason), "");
        out.put("discarded", Value::Count(n), help);
        out.close();
    }
    out.close();
}

fn instance(out: &mut dyn Sink, node: &Node, i: usize, inst: &Instance, c: &Context) {
    let (cfg, now, kind) = (&inst.cfg, c.now, inst.machine.kind());
    let state = words::state(kind, inst.faults);
    out.put("name", Value::Label(&cfg.name), "");
    out.put("state", Value::Text(&state), "");
    out.put("state", code(state), STATES);
    out.put("since_seconds", Value::Seconds(now.since(inst.since)), "Time since it entered its state.");
    out.put("reason", Value::Text(&super::reason(inst)), "");
    out.put("interface", Value::Text(&cfg.interface), "");
    out.put("vrid", Value::Number(cfg.vrid.into()), "");
    out.put("version", Value::Number(cfg.version as i64 + 2), "");
    let group = inst.group.and_then(|g| node.groups.get(g));
    out.put("group", text(group.map(|g| &g.name)), "");
    let priority = inst.machine.params.priority;
    out.put("priority", Value::Number(priority.into()), "Effective priority.");
    out.put("base_priority", Value::Number(cfg.priority.into()), "Configured priority.");
    out.open("tracked", true, "");
    for t in node.tracked(i, now) {
        let (name, name_of) = match t.what {
            Tracked::Interface(_) => ("interface", words::tracked(node, t.what).1),
            Tracked::Check(_) => ("check", words::tracked(node, t.what).1),
            Tracked::Haproxy => ("haproxy", "haproxy"),
        };
        out.open("", false, "");
        out.put("kind", Value::Text(&name), "");
        out.put("name", Value::Text(&name_of), "");
        out.put("up", flag(t.up), "");
        let weight = match t.how {
            Track::Weight(w) => Value::Number(w.into()),
            _ => Value::Null,
        };
        out.put("weight", weight, "");
        out.put("adds", Value::Number(t.weight().into()), "");
        out.close();
    }
    out.close();
    out.put("advert_interval_seconds", Value::Seconds(cfg.advert_int), "");
    out.put("source", text(inst.src.as_ref()), "");
    let (mut master, mut down, mut preempts, mut advert) = (None, None, None, None);
    match inst.machine.state() {
        State::Backup { master: m, down_at, preempt_at, .. } => {
            (master, down) = (*m, Some(down_at.since(now)));
            preempts = preempt_at.map(|t| t.since(now));
        }
        State::Master { advert_at, .. } => advert = Some(advert_at.since(now)),
        State::Init => {}
    }
    let is_master = kind == Kind::Master;
    out.put("master", text(master.map(|m| m.src).or(inst.src.filter(|_| is_master)).as_ref()), "");
    let of_master = master.map(|m| m.priority).or(is_master.then_some(priority));
    out.put("master_priority", of_master.map_or(Value::Null, |p| Value::Number(p.into())), "");
    out.put("master_down_seconds", seconds(down), "");
    out.put("preempts_seconds", seconds(preempts), "");
    out.put("next_advert_seconds", seconds(advert), "");
    out.put("handover_seconds", seconds(inst.hold.map(|h| h.until.since(now))), "");
    out.put("heard", Value::Flag(heard(inst)), "Whether any advert was ever heard from anybody.");
    out.open("addresses", true, "vipd_vrrp_address_");
    for (e, vip) in node.addrs.of(i) {
        out.open("", false, "");
        out.put("address", Value::Label(&vip.addr), "");
        let dev = node.links.get(vip.link).map(|l| &l.name);
        out.put("interface", text(dev), "");
        let held = node.addrs.is_held(e);
        out.put("held", Value::Flag(held), "Whether this node has the address.");
        let lease = node.addrs.lease_left(e, now).filter(|_| held);
        out.put("lease_seconds", seconds(lease), "Lifetime left in the kernel; absent: permanent or not held.");
        out.put("refused", Value::Flag(node.addrs.is_refused(e)), "Whether it cannot be had.");
        out.close();
    }
    out.close();
    // A label that changes is closed with its object.
    match inst.foreign.last {
        Some(other) => {
            out.open("foreign_master", false, "vipd_vrrp_foreign_master_");
            out.put("address", Value::Label(&other.src), "");
            out.put("priority", Value::Number(other.priority.into()), "Priority of the last foreign master.");
            out.put("refused", text(other.refused.map(|d| d.name()).as_ref()), "");
            let present = inst.foreign.present().is_some();
            out.put("present", Value::Flag(present), "Whether somebody else is master, too: split brain.");
            out.close();
        }
        None => out.put("foreign_master", Value::Null, ""),
    }
    out.put("foreign_master_seconds", Value::Spent(inst.foreign.total), "Time with a second master.");
    match inst.contest.and_then(|c| Some((c, node.addrs.entries.get(c.entry)?))) {
        Some((contest, vip)) => {
            out.open("contest", false, "");
            out.put("address", Value::Text(&vip.addr), "");
            out.put("mac", Value::Text(&words::mac(contest.mac)), "");
            out.put("heard_seconds", Value::Seconds(now.since(contest.heard)), "");
            out.close();
        }
        None => out.put("contest", Value::Null, ""),
    }
    out.open("counters", false, "");
    for (name, n, help) in inst.stats.counters() {
        out.put(name, Value::Count(n), help);
    }
    out.close();
    discarded(out, inst.stats.discards.all(), "Refused packets of its VRID, by reason.");
}

fn haproxy(out: &mut dyn Sink, h: &Supervisor, c: &Context) {
    let (pid, worker, since, retry) = super::processes(h);
    let number = |n: Option<u32>| n.map_or(Value::Null, |n| Value::Number(n.into()));
    out.put("state", Value::Text(&super::haproxy_state(h)), "");
    out.put("up", Value::Flag(matches!(h.state(), Haproxy::Ready { .. })), "Whether HAProxy answers.");
    out.put("since_seconds", seconds(since.map(|t| c.now.since(t))), "");
    out.put("pid", number(pid), "");
    out.put("worker", number(worker), "");
    out.put("retry_seconds", seconds(retry.map(|t| t.since(c.now))), "");
    out.put("version", text(Some(&h.version).filter(|v| !v.is_empty())), "");
    out.put("restarts", Value::Count(h.restarts), "Times it was started again.");
    out.put("last_exit", text(h.last_exit.map(words::exit).as_ref()), "");
    out.put("crash_loop", Value::Flag(h.is_crash_loop()), "Whether it died too often.");
    let held = i64::try_from(h.held_listeners()).unwrap_or(i64::MAX);
    out.put("held_listeners", Value::Number(held), "Listening sockets held over a crash.");
}
