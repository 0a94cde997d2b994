//! A `vrrp_instance`.

use super::{Node, Out};
use std::net::IpAddr;

const ROUTER: &str = "\
interface >
virtual_router_id >
priority >
preempt_delay >
mcast_src_ip >
unicast_src_ip >
down_timer_adverts >
garp_master_delay >
garp_master_repeat >
garp_master_refresh >
garp_master_refresh_repeat >
garp_lower_prio_delay >
garp_lower_prio_repeat >
nopreempt = preempt = no
preempt = preempt = yes
vmac_xmit_base = vmac_xmit_base = yes
dont_track_primary = dont_track_primary = yes
version -
native_ipv6 -
accept -
check_unicast_src -
promote_secondaries -
debug -
notify_master ! one hook for all states: `notify = COMMAND` gets INSTANCE NAME STATE PRIORITY
notify_backup ! one hook for all states: `notify = COMMAND` gets INSTANCE NAME STATE PRIORITY
notify_fault ! one hook for all states: `notify = COMMAND` gets INSTANCE NAME STATE PRIORITY
notify_stop ! one hook for all states: `notify = COMMAND` gets INSTANCE NAME STATE PRIORITY
smtp_alert ! mail is for all or none: see [global]
no_accept ! the addresses are there to be served
strict_mode ! vipd never touches a firewall, and checks what it receives in any case
virtual_routes ! routes do not move: a notify hook can do it
virtual_rules ! routes do not move: a notify hook can do it
lvs_sync_daemon_interface ! vipd balances nothing: that is HAProxy's part";

pub(super) fn write(out: &mut Out, n: &Node) {
    out.section("vrrp", n.word(1));
    let own = |key: &str| n.block.iter().find(|d| d.keyword() == key);
    let first = own("virtual_ipaddress").and_then(|d| d.block.first()).and_then(|e| address(e.keyword()));
    let v6 = first.is_some_and(|a| a.is_ipv6());
    let v3 = v6 || own("version").map_or(out.version.as_str(), |d| d.word(1)) == "3";
    if v3 {
        out.key("version", "3");
    }
    for d in &n.block {
        one(out, d, v3, v6);
    }
    if own("state").is_some_and(|d| d.word(1) == "MASTER")
        && (own("nopreempt").is_some() || own("preempt_delay").is_some())
    {
        out.comment("keepalived ignores nopreempt and preempt_delay with state MASTER; vipd does not");
    }
    for (key, value) in out.defaults.clone() {
        if own(key).is_none() {
            out.key(key, &value);
        }
    }
}

fn one(out: &mut Out, d: &Node, v3: bool, v6: bool) {
    let value = d.word(1);
    match d.keyword() {
        "state" => out.key("state", value),
        "advert_int" => match value.split_once('.').filter(|_| !v3) {
            None => out.key("advert_int", value),
            Some((whole, fraction)) => {
                out.dropped(d, "version 2 has whole seconds: rounded as keepalived does, or set version = 3");
                let up = u32::from(fraction.starts_with(['5', '6', '7', '8', '9']));
                let whole = whole.parse::<u32>().unwrap_or(1).saturating_add(up).max(1);
                out.key("advert_int", &whole.to_string());
            }
        },
        "authentication" if v3 => out.dropped(d, "version 3 has no authentication"),
        "authentication" => {
            for a in &d.block {
                match (a.keyword(), a.word(1)) {
                    ("auth_type", "AH" | "ah") => out.key("auth_type", "AH"),
                    ("auth_type", _) => out.key("auth_type", "PASS"),
                    ("auth_pass", pass) => out.key("auth_pass", pass),
                    _ => {}
                }
            }
        }
        key @ ("virtual_ipaddress" | "virtual_ipaddress_excluded") => addresses(out, key, d, v6),
        "unicast_peer" => {
            for p in &d.block {
                out.key("unicast_peer", p.keyword());
                if p.words.len() > 1 {
                    out.dropped(p, "the TTL must be 255: no other is accepted");
                }
            }
        }
        "track_interface" => {
            for t in &d.block {
                let weight = if t.word(1) == "weight" { t.word(2) } else { "" };
                tracked(out, "track_interface", t.keyword(), weight);
            }
        }
        "track_script" | "track_process" => d.block.iter().for_each(|t| script(out, t)),
        "use_vmac" => {
            out.key("use_vmac", "yes");
            if d.words.len() > 1 {
                out.dropped(d, "vipd names the device itself");
            }
        }
        "v3_checksum_as_v2" => out.key("v3_checksum_as_v2", if value == "off" { "no" } else { "yes" }),
        "notify" => out.key("notify", &d.rest()),
        _ => out.by(ROUTER, d),
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
        let mut value = e.keyword().to_owned();
        let mut words = e.words.iter().skip(1).map(String::as_str);
        while let Some(w) = words.next() {
            match w {
                "dev" | "label" => {
                    for part in [" ", w, " ", words.next().unwrap_or_default()] {
                        value.push_str(part);
                    }
                }
                // What vipd does in any case, or what has no bearing.
                "brd" | "scope" | "preferred_lft" => {
                    let _ = words.next();
                }
                "nodad" | "-nodad" | "noprefixroute" | "no_track" | "home" | "mngtmpaddr" => {}
                _ => out.dropped(e, "not all of it is understood"),
            }
        }
        out.key(if addr.is_ipv6() == v6 { key } else { "virtual_ipaddress_excluded" }, &value);
    }
}

/// With a weight, unless that is none.
fn tracked(out: &mut Out, key: &str, name: &str, weight: &str) {
    match weight {
        "" | "0" => out.key(key, name),
        _ => out.line(&[key, " = ", name, " weight ", weight]),
    }
}

/// A script that is tracked: HAProxy, or a `[check]`.
fn script(out: &mut Out, t: &Node) {
    let name = t.keyword();
    if out.haproxy_scripts.iter().any(|n| n == name) {
        out.key("track_haproxy", "yes");
        out.line(&["# instead of ", name, ": HAProxy that is not well gives the addresses away"]);
        return;
    }
    let Some((_, own)) = out.checks.iter().find(|(n, _)| n == name) else {
        return out.dropped(t, "there is no such script");
    };
    let weight = if t.word(1) == "weight" { t.word(2).to_owned() } else { own.clone() };
    tracked(out, "track", name, &weight);
}
