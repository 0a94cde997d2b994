//! A `vrrp_instance`.

use super::{Node, Out};
use std::net::IpAddr;

pub(super) fn router(out: &mut Out, n: &Node) {
    out.section("vrrp", n.word(1));
    out.routers.push(n.word(1).to_owned());
    let has = |k: &str| n.block.iter().any(|d| d.keyword() == k);
    let list = n.block.iter().find(|d| d.keyword() == "virtual_ipaddress").map_or(&[][..], |d| &d.block);
    let v6 = list.first().and_then(|e| address(e.keyword())).is_some_and(|a| a.is_ipv6());
    let own = n.block.iter().find(|d| d.keyword() == "version").map(|d| d.word(1).to_owned());
    let version = own.unwrap_or_else(|| out.version.clone());
    let version = if v6 || version == "3" { "3" } else { "2" };
    if version == "3" {
        out.key("version", "3");
    }
    for d in &n.block {
        one(out, n, d, version, v6);
    }
    for (key, value) in out.defaults.clone() {
        if !has(key) {
            out.key(key, &value);
        }
    }
    if !has("garp_master_refresh") && !out.defaults.iter().any(|(k, _)| *k == "garp_master_refresh") {
        out.comment(
            "keepalived does not announce again by itself; vipd does, once a minute (garp_master_refresh)",
        );
    }
}

fn one(out: &mut Out, n: &Node, d: &Node, version: &str, v6: bool) {
    let value = d.word(1).to_owned();
    match d.keyword() {
        "version" => {}
        "interface"
        | "virtual_router_id"
        | "priority"
        | "preempt_delay"
        | "mcast_src_ip"
        | "unicast_src_ip"
        | "down_timer_adverts"
        | "garp_master_delay"
        | "garp_master_repeat"
        | "garp_master_refresh"
        | "garp_master_refresh_repeat"
        | "garp_lower_prio_delay"
        | "garp_lower_prio_repeat" => {
            out.key(d.keyword(), &value);
        }
        "state" => {
            out.key("state", &value);
            if value == "MASTER"
                && n.block.iter().any(|d| matches!(d.keyword(), "nopreempt" | "preempt_delay"))
            {
                out.comment(
                    "keepalived ignores nopreempt and preempt_delay with state MASTER; vipd does not",
                );
            }
        }
        "advert_int" => {
            if version == "2" && value.contains('.') {
                out.dropped(d, "version 2 has whole seconds: rounded as keepalived does, or set version = 3");
                let (whole, fraction) = value.split_once('.').unwrap_or((&value, ""));
                let up = u32::from(fraction.starts_with(['5', '6', '7', '8', '9']));
                let whole = whole.parse::<u32>().unwrap_or(1).saturating_add(up).max(1);
                out.key("advert_int", &whole.to_string());
            } else {
                out.key("advert_int", &value);
            }
        }
        "nopreempt" => out.key("preempt", "no"),
        "preempt" => out.key("preempt", "yes"),
        "authentication" => authentication(out, d, version),
        "virtual_ipaddress" => addresses(out, "virtual_ipaddress", d, v6),
        "virtual_ipaddress_excluded" => addresses(out, "virtual_ipaddress_excluded", d, v6),
        "unicast_peer" => {
            for p in &d.block {
                out.key("unicast_peer", p.keyword());
                if p.words.len() > 1 {
                    out.dropped(p, "the TTL must be 255: no other is accepted");
                }
            }
        }
        "track_interface" => d.block.iter().for_each(|t| tracked(out, "track_interface", t)),
        "track_script" | "track_process" => d.block.iter().for_each(|t| script(out, t)),
        "use_vmac" => {
            out.key("use_vmac", "yes");
            if d.words.len() > 1 {
                out.dropped(d, "vipd names the device itself");
            }
        }
        "vmac_xmit_base" => out.key("vmac_xmit_base", "yes"),
        "v3_checksum_as_v2" => out.key("v3_checksum_as_v2", if value == "off" { "no" } else { "yes" }),
        "notify" => out.key("notify", &d.rest()),
        k if k.starts_with("notify_") => {
            out.dropped(d, "one hook for all states: `notify = COMMAND` gets INSTANCE NAME STATE PRIORITY");
        }
        "smtp_alert" => out.dropped(d, "mail is for all or none: see [global]"),
        "dont_track_primary" => out.dropped(d, "the own interface is always tracked"),
        "native_ipv6" => {}
        "accept" => {}
        "no_accept" => out.dropped(d, "the addresses are there to be served"),
        "strict_mode" => {
            out.dropped(d, "vipd never touches a firewall, and checks what it receives in any case")
        }
        "check_unicast_src" => {}
        "promote_secondaries" => {}
        "virtual_routes" | "virtual_rules" => out.dropped(d, "routes do not move: a notify hook can do it"),
        "lvs_sync_daemon_interface" => out.dropped(d, "vipd balances nothing: that is HAProxy's part"),
        "debug" => {}
        _ => out.dropped(d, "no such thing"),
    }
}

fn authentication(out: &mut Out, d: &Node, version: &str) {
    if version == "3" {
        return out.dropped(d, "version 3 has no authentication");
    }
    for a in &d.block {
        match a.keyword() {
            "auth_type" if a.word(1).eq_ignore_ascii_case("AH") => out.key("auth_type", "AH"),
            "auth_type" => out.key("auth_type", "PASS"),
            "auth_pass" => out.key("auth_pass", a.word(1)),
            _ => out.dropped(a, "no such thing"),
        }
    }
}

fn address(word: &str) -> Option<IpAddr> {
    word.split('/').next()?.parse().ok()
}

/// Entries of a list, one line each. Of `virtual_ipaddress` those of the other family are not advertised, as with
/// keepalived.
fn addresses(out: &mut Out, key: &str, d: &Node, v6: bool) {
    for e in &d.block {
        let Some(addr) = address(e.keyword()) else {
            out.dropped(e, "no address");
            continue;
        };
        let key = if addr.is_ipv6() == v6 { key } else { "virtual_ipaddress_excluded" };
        let mut value = e.keyword().to_owned();
        let mut words = e.words.iter().skip(1);
        while let Some(w) = words.next() {
            match w.as_str() {
                "dev" | "label" => value = format!("{value} {w} {}", words.next().map_or("", String::as_str)),
                // What vipd does in any case, or what has no bearing.
                "brd" | "scope" | "preferred_lft" => {
                    let _ = words.next();
                }
                "nodad" | "noprefixroute" | "no_track" | "home" | "mngtmpaddr" | "-nodad" => {}
                _ => out.dropped(e, "not all of it is understood"),
            }
        }
        out.key(key, &value);
    }
}

fn tracked(out: &mut Out, key: &str, t: &Node) {
    let weight = match (t.word(1), t.word(2)) {
        ("weight", w) if w != "0" && !w.is_empty() => format!(" weight {w}"),
        _ => String::new(),
    };
    out.key(key, &format!("{}{weight}", t.keyword()));
}

/// A script that is tracked: HAProxy, or a `[check]`.
fn script(out: &mut Out, t: &Node) {
    let name = t.keyword().to_owned();
    let weight = match (t.word(1), t.word(2)) {
        ("weight", w) if !w.is_empty() => w.to_owned(),
        _ => out.checks.iter().find(|(n, _)| *n == name).map_or(String::new(), |(_, w)| w.clone()),
    };
    if out.haproxy_scripts.contains(&name) {
        out.key("track_haproxy", "yes");
        out.comment(&format!(
            "instead of {name}: without a weight, HAProxy that is not well gives the addresses away"
        ));
        return;
    }
    if !out.checks.iter().any(|(n, _)| *n == name) {
        return out.dropped(t, "there is no such script");
    }
    let weight = if weight.is_empty() || weight == "0" { String::new() } else { format!(" weight {weight}") };
    out.key("track", &format!("{name}{weight}"));
}
