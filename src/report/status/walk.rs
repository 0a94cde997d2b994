//! The state of the node for programs: one walk, which a [`Sink`] writes as JSON or as metrics. Names and
//! meanings are stable; `rootfs/usr/share/vipd/status.schema.json` describes the JSON.

use super::sink::Sink;
use super::value::Value;
use super::{Context, heard};
use crate::base::time::Time;
use crate::config::Track;
use crate::haproxy::supervisor::Supervisor;
use crate::node::{Node, Router, Tracked};
use crate::report::words;
use crate::vrrp::machine::{Master, State};
use crate::vrrp::stats::{Discards, STATES};

/// Version of the JSON; raised when something is removed or changes its meaning.
const SCHEMA: i64 = 1;

/// Everything.
pub(super) fn walk(out: &mut Sink, node: &Node, c: &Context) {
    out.open("", false, "vipd_");
    out.number("schema", SCHEMA);
    out.code("up: Whether vipd runs and answers.", 1);
    out.number(
        "status: Exit status of vipd status: 0 all master, 3 some backup, 4 any fault or split brain.",
        super::exit_status(node, c.now).into(),
    );
    out.since("uptime_seconds", "start_timestamp_seconds: When vipd was started.", c.started, c.now);
    out.count("fence_removals: Times another program removed the tables of the leases.", node.fence_removals);
    out.open("vipd", false, "");
    out.label("version", env!("CARGO_PKG_VERSION"));
    out.code("build_info: Version of vipd.", 1);
    out.label("router_id", c.router_id);
    out.code("node_info: Name of the node.", 1);
    out.close();
    out.open("config", false, "vipd_config_");
    let (accepted, since) = c.reload;
    out.flag(
        "last_reload_successful: Whether the last reload was accepted, or none was asked for.",
        accepted,
    );
    let key = "last_reload_success_timestamp_seconds: When the configuration that runs was read.";
    out.since("last_reload_success_seconds", key, since, c.now);
    out.close();
    match c.http {
        Some((listen, error)) => {
            out.open("http", false, "");
            out.text("listen", listen);
            out.maybe("error", error);
            out.close();
        }
        None => out.null("http"),
    }
    out.open("vrrp", true, "vipd_vrrp_");
    for (i, r) in node.routers.iter().enumerate() {
        out.item();
        router(out, node, i, r, c.now);
        out.close();
    }
    out.close();
    groups(out, node);
    checks(out, node, c.now);
    interfaces(out, node);
    match &node.haproxy {
        Some(h) => haproxy(out, h, c),
        None => out.null("haproxy"),
    }
    out.close();
}

fn groups(out: &mut Sink, node: &Node) {
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
}

fn checks(out: &mut Sink, node: &Node, now: Time) {
    out.open("checks", true, "vipd_check_");
    for check in &node.checks {
        out.item();
        out.label("name", &check.name);
        out.known("up: Whether the check is up; absent before its first result.", check.is_up());
        let key = "state_change_timestamp_seconds: When it came up or went down.";
        out.since("since_seconds", key, check.since, now);
        out.maybe("failure", check.failure.map(words::failure).as_deref());
        out.close();
    }
    out.close();
}

fn interfaces(out: &mut Sink, node: &Node) {
    out.open("interfaces", true, "vipd_interface_");
    for l in &node.links {
        out.item();
        out.label("name", &l.name);
        out.flag("present", l.ifindex.is_some());
        out.flag("up: Whether the interface is up and has a carrier.", l.running);
        out.count("receive_overruns: Packets lost because vipd did not read them in time.", l.overruns);
        discarded(out, &l.bogus);
        out.close();
    }
    out.close();
}

/// The counters that are not zero; there are many reasons, and most never occur.
fn discarded(out: &mut Sink, discards: &Discards) {
    out.open("discards", true, "");
    for (reason, n) in discards.all().filter(|(_, n)| *n > 0) {
        out.item();
        out.label("reason", reason);
        out.count("discarded: Packets refused, by reason; a reason that never occurred is absent.", n);
        out.close();
    }
    out.close();
}

fn router(out: &mut Sink, node: &Node, i: usize, router: &Router, now: Time) {
    let (cfg, kind) = (&router.cfg, router.machine.kind());
    out.label("name", &cfg.name);
    out.state(words::state(kind, router.faults));
    let key = "state_change_timestamp_seconds: When it entered its state.";
    out.since("since_seconds", key, router.since, now);
    out.text("reason", &super::reason(router));
    out.text("interface", &cfg.interface);
    out.number("vrid", cfg.vrid.into());
    out.number("version", cfg.version as i64 + 2);
    out.maybe("group", router.group.and_then(|g| node.groups.get(g)).map(|g| g.name.as_str()));
    let priority = router.machine.params.priority;
    out.number("priority: Effective priority: the configured one and all that is tracked.", priority.into());
    out.number("base_priority: Configured priority.", cfg.priority.into());
    tracked(out, node, i, now);
    out.seconds("advert_interval_seconds", Some(cfg.advert_int));
    out.address("source", router.src);
    authentication(out, node, router, now);
    timers(out, router, now);
    out.text("lease", super::lease(node, i));
    out.seconds(
        "lease_seconds: Time left of the lease in nf_tables; absent without one.",
        node.lease_left(i, now),
    );
    out.flag("heard: Whether any advert with its VRID was ever heard.", heard(router));
    addresses(out, node, i, now);
    foreign(out, node, router, now);
    out.open("counters", false, "");
    for (key, n) in router.stats.counters() {
        out.count(key, n);
    }
    let refused = router.stats.discards.all().map(|(_, n)| n).sum();
    out.count("adverts_refused: Adverts refused, for any reason.", refused);
    out.close();
    out.open("transitions", true, "");
    for (state, n) in STATES.iter().zip(router.stats.transitions) {
        out.item();
        out.label("state", state);
        out.count("transitions: Times it entered the state.", n);
        out.close();
    }
    out.close();
    discarded(out, &router.stats.discards);
}

/// Keys are named by their ids, never shown.
fn authentication(out: &mut Sink, node: &Node, router: &Router, now: Time) {
    out.text("authentication", router.auth.word());
    let Some(hmac) = router.auth.hmac() else { return out.null("hmac") };
    out.open("hmac", false, "vipd_vrrp_hmac_");
    out.text("mode", hmac.cfg.mode.word());
    out.number("active_key: Id of the key that signs.", hmac.cfg.active.into());
    out.open("keys", true, "");
    hmac.cfg.keys.iter().for_each(|key| out.number("", key.id.into()));
    out.close();
    out.text("anti_replay", if hmac.cfg.time_window.is_some() { "time" } else { "monotonic" });
    out.pid("time_window_seconds", hmac.cfg.time_window);
    let set = !node.is_clock_unset(now);
    out.flag("clock_set: Whether the clock of this machine was ever set.", set);
    let key = "clock_skew_seconds: By how much the clock of the last sender of adverts is ahead.";
    match hmac.skew {
        Some(skew) => out.number(key, skew.seconds.into()),
        None => out.null("clock_skew_seconds"),
    }
    out.address("clock_skew_source", hmac.skew.map(|s| s.src));
    out.flag(
        "stale: Whether adverts are refused because the clocks differ.",
        hmac.skew.is_some_and(|s| s.stale),
    );
    out.close();
}

fn tracked(out: &mut Sink, node: &Node, i: usize, now: Time) {
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
}

/// The master, and when something happens next.
fn timers(out: &mut Sink, router: &Router, now: Time) {
    let priority = router.machine.params.priority;
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
}

fn addresses(out: &mut Sink, node: &Node, i: usize, now: Time) {
    out.open("addresses", true, "vipd_vrrp_address_");
    for (e, vip) in node.addrs.of(i) {
        let held = node.addrs.is_held(e);
        out.item();
        out.label("address", &vip.addr.to_string());
        out.maybe("interface", node.links.get(vip.link).map(|l| l.name.as_str()));
        out.flag("held: Whether this node has the address.", held);
        let lease = node.addrs.lease_left(e, now).filter(|_| held);
        out.seconds("lease_seconds: Lifetime left of the address; absent without one.", lease);
        out.flag("refused: Whether this node cannot have the address.", node.addrs.is_refused(e));
        out.close();
    }
    out.close();
}

/// Other masters and other hosts that announce the addresses.
fn foreign(out: &mut Sink, node: &Node, router: &Router, now: Time) {
    // In an object of its own, so that its label ends with it.
    match router.foreign.last {
        Some(other) => {
            out.open("foreign_master", false, "vipd_vrrp_foreign_master_");
            out.label("address", &other.src.to_string());
            out.number("priority: Priority of the last other master.", other.priority.into());
            out.maybe("refused", other.refused.map(|d| d.name()));
            let present = router.foreign.present().is_some();
            out.flag("present: Whether that other master is still heard.", present);
            out.close();
        }
        None => out.null("foreign_master"),
    }
    let split = router.is_contested(now);
    out.flag(
        "split_brain: Whether a master heard another host with the addresses within the last 2 minutes.",
        split,
    );
    out.put("foreign_master_seconds: Time with a second master.", Value::Spent(router.foreign.total));
    match router.contest.and_then(|c| Some((c, node.addrs.entries.get(c.entry)?))) {
        Some((contest, vip)) => {
            out.open("contest", false, "");
            out.address("address", Some(vip.addr));
            out.text("mac", &words::mac(contest.mac));
            out.since("heard_seconds", "", contest.heard, now);
            out.close();
        }
        None => out.null("contest"),
    }
}

fn haproxy(out: &mut Sink, h: &Supervisor, c: &Context) {
    let now = c.now;
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
    out.count("restarts: Times HAProxy was started again.", h.restarts);
    out.maybe("last_exit", h.last_exit.map(words::exit).as_deref());
    out.flag("crash_loop: Whether HAProxy died too often.", h.is_crash_loop());
    out.flag("config_copy: Whether HAProxy has the last good copy of its configuration.", h.is_copy());
    let held = i64::try_from(h.held_listeners()).unwrap_or(i64::MAX);
    out.number("held_listeners: Listening sockets of HAProxy that vipd holds.", held);
    let (alert, at) = c.alert.unzip();
    out.maybe("last_alert", alert);
    match at.and_then(|at| i64::try_from(at.as_secs()).ok()) {
        Some(at) => out.number("last_alert_timestamp_seconds: When HAProxy last printed an ALERT.", at),
        None => out.null("last_alert_timestamp_seconds"),
    }
    out.close();
}
