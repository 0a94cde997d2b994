//! The state of the node for programs: one walk, which a [`Sink`] writes down as JSON or as metrics. Names and
//! meanings are stable; `rootfs/usr/share/vipd/status.schema.json` describes the JSON.

use super::json::Json;
use super::metrics::Metrics;
use super::{Context, heard};
use crate::base::time::Time;
use crate::config::Track;
use crate::haproxy::supervisor::Supervisor;
use crate::node::{Node, Router, Tracked};
use crate::report::words;
use crate::vrrp::machine::{Master, State};
use crate::vrrp::stats::Discards;
use std::net::IpAddr;
use std::time::Duration;

/// Version of the JSON; raised when something is removed or changes its meaning.
pub const SCHEMA: i64 = 1;

/// What writes it down. A key is the name in the JSON, and where it is a metric, too, `: ` and what that means.
#[derive(Debug)]
pub enum Sink {
    /// JSON.
    Json(Json),
    /// Metrics.
    Metrics(Metrics),
}

/// One value.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// Unknown, or not so now; JSON only.
    Null,
    /// JSON only.
    Text(&'a str),
    /// Names the object; a label of its metrics.
    Label(&'a str),
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

// Each of these is called so often that its arguments should fit into registers.
impl Sink {
    #[inline(never)]
    fn put(&mut self, key: &'static str, value: Value) {
        let (key, help) = key.split_once(':').unwrap_or((key, ""));
        match self {
            Sink::Json(json) => json.put(key, value),
            Sink::Metrics(metrics) => metrics.put(key, value, help.trim_start()),
        }
    }

    /// An object or a list begins, in a list with an empty key; the metrics in it begin with `prefix`, or, if
    /// that is empty, as before.
    #[inline(never)]
    fn open(&mut self, key: &'static str, list: bool, prefix: &'static str) {
        match self {
            Sink::Json(json) => json.open(key, list),
            Sink::Metrics(metrics) => metrics.open(prefix),
        }
    }

    /// An object of a list begins.
    #[inline(never)]
    fn item(&mut self) {
        self.open("", false, "");
    }

    /// The innermost one ends.
    #[inline(never)]
    fn close(&mut self) {
        match self {
            Sink::Json(json) => json.close(),
            Sink::Metrics(metrics) => metrics.close(),
        }
    }

    #[inline(never)]
    fn null(&mut self, key: &'static str) {
        self.put(key, Value::Null);
    }

    #[inline(never)]
    fn text(&mut self, key: &'static str, t: &str) {
        self.put(key, Value::Text(t));
    }

    #[inline(never)]
    fn maybe(&mut self, key: &'static str, t: Option<&str>) {
        self.put(key, t.map_or(Value::Null, Value::Text));
    }

    #[inline(never)]
    fn address(&mut self, key: &'static str, a: Option<IpAddr>) {
        let a = a.map(|a| a.to_string());
        self.maybe(key, a.as_deref());
    }

    #[inline(never)]
    fn label(&mut self, key: &'static str, t: &str) {
        self.put(key, Value::Label(t));
    }

    #[inline(never)]
    fn code(&mut self, key: &'static str, code: u8) {
        self.put(key, Value::Code(code));
    }

    /// The name of a state, and its number.
    #[inline(never)]
    fn state(&mut self, state: &str) {
        self.text("state", state);
        let code = match state {
            "BACKUP" => 1,
            "MASTER" => 2,
            "FAULT" => 3,
            _ => 0,
        };
        self.code("state: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.", code);
    }

    #[inline(never)]
    fn flag(&mut self, key: &'static str, b: bool) {
        self.put(key, Value::Flag(b));
    }

    #[inline(never)]
    fn known(&mut self, key: &'static str, b: Option<bool>) {
        self.put(key, b.map_or(Value::Null, Value::Flag));
    }

    #[inline(never)]
    fn number(&mut self, key: &'static str, n: i64) {
        self.put(key, Value::Number(n));
    }

    #[inline(never)]
    fn count(&mut self, key: &'static str, n: u64) {
        self.put(key, Value::Count(n));
    }

    #[inline(never)]
    fn seconds(&mut self, key: &'static str, d: Option<Duration>) {
        self.put(key, d.map_or(Value::Null, Value::Seconds));
    }

    #[inline(never)]
    fn since(&mut self, key: &'static str, from: Time, to: Time) {
        self.seconds(key, Some(to.since(from)));
    }

    #[inline(never)]
    fn pid(&mut self, key: &'static str, n: Option<u32>) {
        self.put(key, n.map_or(Value::Null, |n| Value::Number(n.into())));
    }
}

/// Everything.
pub fn walk(out: &mut Sink, node: &Node, c: &Context) {
    out.open("", false, "vipd_");
    out.number("schema", SCHEMA);
    out.number("status: 0 all master, 3 some backup, 4 any fault.", super::exit_status(node).into());
    out.since("uptime_seconds: Time since vipd was started.", c.started, c.now);
    out.open("vipd", false, "");
    out.label("version", env!("CARGO_PKG_VERSION"));
    out.label("router_id", c.router_id);
    out.code("info: Version and name of the node.", 1);
    out.close();
    out.open("vrrp", true, "vipd_vrrp_");
    for (i, router) in node.routers.iter().enumerate() {
        out.item();
        write_router(out, node, i, router, c.now);
        out.close();
    }
    out.close();
    out.open("groups", true, "vipd_group_");
    for g in &node.groups {
        out.item();
        out.label("name", &g.name);
        out.state(words::group_state(g.state));
        out.open("members", true, "");
        for router in g.members.iter().filter_map(|i| node.routers.get(*i)) {
            out.text("", &router.cfg.name);
        }
        out.close();
        out.close();
    }
    out.close();
    out.open("checks", true, "vipd_check_");
    for check in &node.checks {
        out.item();
        out.label("name", &check.name);
        out.known("up: Whether it is up; absent before its first result.", check.is_up());
        out.since("since_seconds: Time since that changed.", check.since, c.now);
        out.maybe("failure", check.failure.map(words::failure).as_deref());
        out.close();
    }
    out.close();
    out.open("interfaces", true, "vipd_interface_");
    for l in &node.links {
        out.item();
        out.label("name", &l.name);
        out.flag("present", l.ifindex.is_some());
        out.flag("up: Whether it is up and has a carrier.", l.running);
        out.count("receive_overruns: Packets lost unread.", l.overruns);
        discarded(out, &l.bogus);
        out.close();
    }
    out.close();
    match &node.haproxy {
        Some(h) => haproxy(out, h, c.now),
        None => out.null("haproxy"),
    }
    out.close();
}

/// Those that are not zero: there are many reasons and most stay so.
fn discarded(out: &mut Sink, discards: &Discards) {
    out.open("discards", true, "");
    for (reason, n) in discards.all().filter(|(_, n)| *n > 0) {
        out.item();
        out.label("reason", reason);
        out.count("discarded: Packets refused, by reason.", n);
        out.close();
    }
    out.close();
}

fn write_router(out: &mut Sink, node: &Node, i: usize, router: &Router, now: Time) {
    let (cfg, kind) = (&router.cfg, router.machine.kind());
    out.label("name", &cfg.name);
    out.state(words::state(kind, router.faults));
    out.since("since_seconds: Time since it entered its state.", router.since, now);
    out.text("reason", &super::reason(router));
    out.text("interface", &cfg.interface);
    out.number("vrid", cfg.vrid.into());
    out.number("version", cfg.version as i64 + 2);
    out.maybe("group", router.group.and_then(|g| node.groups.get(g)).map(|g| g.name.as_str()));
    let priority = router.machine.params.priority;
    out.number("priority: Effective priority.", priority.into());
    out.number("base_priority: Configured priority.", cfg.priority.into());
    out.open("tracked", true, "");
    for t in node.tracked(i, now) {
        let kind = match t.what {
            Tracked::Interface(_) => "interface",
            Tracked::Check(_) => "check",
            Tracked::Haproxy => "haproxy",
        };
        out.item();
        out.text("kind", kind);
        out.maybe("name", Some(words::tracked(node, t.what).1).filter(|n| !n.is_empty()));
        out.known("up", t.up);
        match t.how {
            Track::Weight(w) => out.number("weight", w.into()),
            _ => out.null("weight"),
        }
        out.number("adds", t.weight().into());
        out.close();
    }
    out.close();
    out.seconds("advert_interval_seconds", Some(cfg.advert_int));
    out.address("source", router.src);
    let (mut master, mut down, mut preempts, mut advert) = (None, None, None, None);
    match router.machine.state() {
        State::Backup { master: m, down_at, preempt_at, .. } => {
            (master, down, preempts) = (*m, Some(*down_at), *preempt_at);
        }
        State::Master { advert_at, .. } => {
            master = router.src.map(|src| Master { src, priority });
            advert = Some(*advert_at);
        }
        State::Soliciting(_) => master = router.src.map(|src| Master { src, priority }),
        State::Init => {}
    }
    out.address("master", master.map(|m| m.src));
    out.pid("master_priority", master.map(|m| m.priority.into()));
    let hold = router.hold.map(|h| h.until);
    for (key, at) in [
        ("master_down_seconds", down),
        ("preempts_seconds", preempts),
        ("next_advert_seconds", advert),
        ("handover_seconds", hold),
    ] {
        out.seconds(key, at.map(|t| t.since(now)));
    }
    out.flag("heard: Whether any advert was ever heard.", heard(router));
    out.open("addresses", true, "vipd_vrrp_address_");
    for (e, vip) in node.addrs.of(i) {
        let held = node.addrs.is_held(e);
        out.item();
        out.label("address", &vip.addr.to_string());
        out.maybe("interface", node.links.get(vip.link).map(|l| l.name.as_str()));
        out.flag("held: Whether this node has the address.", held);
        let lease = node.addrs.lease_left(e, now).filter(|_| held);
        out.seconds("lease_seconds: Lifetime left.", lease);
        out.flag("refused: Whether it cannot be had.", node.addrs.is_refused(e));
        out.close();
    }
    out.close();
    // In an object of its own, that its label does not go on.
    match router.foreign.last {
        Some(other) => {
            out.open("foreign_master", false, "vipd_vrrp_foreign_master_");
            out.label("address", &other.src.to_string());
            out.number("priority: Its priority.", other.priority.into());
            out.maybe("refused", other.refused.map(|d| d.name()));
            let present = router.foreign.present().is_some();
            out.flag("present: Whether it is master now: split brain.", present);
            out.close();
        }
        None => out.null("foreign_master"),
    }
    out.put("foreign_master_seconds: Time with a second master.", Value::Spent(router.foreign.total));
    match router.contest.and_then(|c| Some((c, node.addrs.entries.get(c.entry)?))) {
        Some((contest, vip)) => {
            out.open("contest", false, "");
            out.address("address", Some(vip.addr));
            out.text("mac", &words::mac(contest.mac));
            out.since("heard_seconds", contest.heard, now);
            out.close();
        }
        None => out.null("contest"),
    }
    out.open("counters", false, "");
    for (key, n) in router.stats.counters() {
        out.count(key, n);
    }
    out.close();
    discarded(out, &router.stats.discards);
}

fn haproxy(out: &mut Sink, h: &Supervisor, now: Time) {
    let (pid, worker, since, retry) = super::processes(h);
    let state = super::haproxy_state(h);
    out.open("haproxy", false, "vipd_haproxy_");
    out.text("state", state);
    out.flag("up: Whether HAProxy answers.", state == "READY");
    out.seconds("since_seconds", since.map(|t| now.since(t)));
    out.pid("pid", pid);
    out.pid("worker", worker);
    out.seconds("retry_seconds", retry.map(|t| t.since(now)));
    out.maybe("version", Some(h.version.as_str()).filter(|v| !v.is_empty()));
    out.count("restarts: Times it was started again.", h.restarts);
    out.maybe("last_exit", h.last_exit.map(words::exit).as_deref());
    out.flag("crash_loop: Whether it died too often.", h.is_crash_loop());
    let held = i64::try_from(h.held_listeners()).unwrap_or(i64::MAX);
    out.number("held_listeners: Listening sockets held over a crash.", held);
    out.close();
}
