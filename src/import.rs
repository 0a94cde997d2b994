//! `vipd import`: a keepalived.conf in, the equivalent vipd.ini out, with a comment for whatever cannot be carried
//! over and why. Pure: included files come through a function.

mod parse;
mod router;

pub use parse::{Include, Node};

use std::fmt::Write;

/// The configuration, as far as it is translated.
struct Out {
    text: String,
    /// `vrrp_garp_*` and the like of global_defs, which are defaults of every virtual router: key and value.
    defaults: Vec<(&'static str, String)>,
    /// Version of the routers that name none.
    version: String,
    /// Scripts that only look whether HAProxy runs: vipd does that itself.
    haproxy_scripts: Vec<String>,
    /// Scripts that became a `[check]`, with the weight they had.
    checks: Vec<(String, String)>,
    /// Virtual routers that exist under this name.
    routers: Vec<String>,
}

impl Out {
    fn key(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.text, "# {}", text.replace(['\n', '\r'], " "));
    }

    /// What cannot be carried over, and why.
    fn dropped(&mut self, n: &Node, why: &str) {
        let words: String = n.words.join(" ").chars().take(120).collect();
        self.comment(&format!("{}: `{words}`: {why}", n.at));
    }

    fn section(&mut self, kind: &str, name: &str) {
        let space = if name.is_empty() { "" } else { " " };
        let _ = writeln!(self.text, "\n[{kind}{space}{name}]");
    }
}

/// Translates a file.
///
/// # Errors
///
/// `file:line: what is wrong` where it cannot be taken apart.
pub fn import(name: &str, text: &str, include: &mut Include) -> Result<String, String> {
    let tree = parse::parse(name, text, include)?;
    let mut out = Out {
        text: String::new(),
        defaults: Vec::new(),
        version: String::new(),
        haproxy_scripts: Vec::new(),
        checks: Vec::new(),
        routers: Vec::new(),
    };
    out.comment(&format!("made of {name} by `vipd import`: read it, then `vipd -t -c FILE`"));
    out.section("global", "");
    for n in of(&tree, &["global_defs", "global_settings"]) {
        n.block.iter().for_each(|d| global(&mut out, d));
    }
    let scripts: Vec<&Node> = of(&tree, &["vrrp_script"]).collect();
    for s in &scripts {
        if looks_at_haproxy(s) {
            out.haproxy_scripts.push(s.word(1).to_owned());
        }
    }
    let process: Vec<&Node> =
        of(&tree, &["vrrp_track_process", "vrrp_process"]).filter(|p| mentions_haproxy(&p.block)).collect();
    out.haproxy_scripts.extend(process.iter().map(|p| p.word(1).to_owned()));
    if !out.haproxy_scripts.is_empty() {
        out.section("haproxy", "");
        let names = out.haproxy_scripts.join(", ");
        out.comment(&format!(
            "instead of {names}: vipd starts HAProxy itself, asks it whether it is well, and"
        ));
        out.comment("starts it again; disable the service that starts it now");
        out.key("config", "/etc/haproxy/haproxy.cfg");
    }
    scripts.iter().filter(|s| !looks_at_haproxy(s)).for_each(|s| check(&mut out, s));
    for n in of(&tree, &["vrrp_instance"]) {
        router::router(&mut out, n);
    }
    for n in of(&tree, &["vrrp_sync_group"]) {
        group(&mut out, n);
    }
    for n in &tree {
        let known = ["global_defs", "global_settings", "vrrp_script", "vrrp_instance", "vrrp_sync_group"];
        if known.contains(&n.keyword()) || process.contains(&n) {
            continue;
        }
        let why = match n.keyword() {
            "virtual_server" | "virtual_server_group" | "real_server" => {
                "vipd balances nothing: that is HAProxy's part"
            }
            "static_ipaddress" | "static_routes" | "static_rules" | "static_addresses" => {
                "belongs to the network configuration of the machine"
            }
            "vrrp_track_file" | "track_file" => "no such thing: a [check] of type exec can read a file",
            "vrrp_track_process" | "vrrp_process" => {
                "no such thing: a [check] of type exec can look for a process"
            }
            k if k.starts_with('@') => "only for one node: write it into that node's file",
            _ => "no such thing",
        };
        out.dropped(n, why);
    }
    if out.routers.is_empty() {
        out.comment("there is no vrrp_instance in it");
    }
    Ok(out.text)
}

fn of<'a>(tree: &'a [Node], keywords: &'a [&str]) -> impl Iterator<Item = &'a Node> {
    tree.iter().filter(|n| keywords.contains(&n.keyword()))
}

fn mentions_haproxy(block: &[Node]) -> bool {
    block.iter().any(|d| d.words.iter().any(|w| w.contains("haproxy")))
}

/// `killall -0 haproxy`, `pidof haproxy`, `/etc/keepalived/check_haproxy.sh`, ...
fn looks_at_haproxy(script: &Node) -> bool {
    script.block.iter().any(|d| d.keyword() == "script" && d.rest().contains("haproxy"))
        || script.word(1).contains("haproxy")
}

/// The keys of vipd that are set by several names in global_defs.
const DEFAULTS: [(&str, &str); 6] = [
    ("vrrp_garp_master_delay", "garp_master_delay"),
    ("vrrp_garp_master_repeat", "garp_master_repeat"),
    ("vrrp_garp_master_refresh", "garp_master_refresh"),
    ("vrrp_garp_master_refresh_repeat", "garp_master_refresh_repeat"),
    ("vrrp_garp_lower_prio_delay", "garp_lower_prio_delay"),
    ("vrrp_garp_lower_prio_repeat", "garp_lower_prio_repeat"),
];

fn global(out: &mut Out, d: &Node) {
    let value = d.word(1).to_owned();
    if let Some((_, key)) = DEFAULTS.iter().find(|(k, _)| *k == d.keyword()) {
        out.defaults.push((key, value));
        return;
    }
    match d.keyword() {
        "router_id" | "lvs_id" => out.key("router_id", &value),
        "vrrp_startup_delay" => out.key("startup_delay", &value),
        "vrrp_version" => out.version = value,
        "vrrp_down_timer_adverts" => out.defaults.push(("down_timer_adverts", value)),
        "vrrp_garp_interval" | "vrrp_gna_interval" => out.defaults.push(("garp_interval", value)),
        "vrrp_rt_priority" => out.key("realtime_priority", &value),
        "vrrp_no_swap" | "no_swap" => out.key("lock_memory", "yes"),
        "vrrp_strict" => {
            out.dropped(d, "vipd never touches a firewall, and checks what it receives in any case")
        }
        "enable_script_security" | "script_user" => {
            out.dropped(d, "no shell and no scripts; `user` of a [check] says who")
        }
        "vrrp_skip_check_adv_addr" => {
            out.dropped(d, "the list is compared with every advert: it costs nothing")
        }
        "vrrp_check_unicast_src" => out.dropped(d, "always on"),
        "vrrp_mcast_group4" | "vrrp_mcast_group6" => out.dropped(d, "only the groups of the RFC"),
        "dynamic_interfaces" => out.dropped(d, "always on"),
        "notification_email" => {
            let list: Vec<&str> = d.block.iter().flat_map(|n| n.words.iter()).map(String::as_str).collect();
            let list = if list.is_empty() { d.rest() } else { list.join(", ") };
            mail(out, "notification_email", &list);
        }
        "notification_email_from" => mail(out, "notification_email_from", &value),
        "smtp_server" => {
            let server = match (d.word(2), value.contains(':')) {
                ("", _) => value,
                (port, true) => format!("[{value}]:{port}"),
                (port, false) => format!("{value}:{port}"),
            };
            mail(out, "smtp_server", &server);
        }
        "smtp_connect_timeout" => mail(out, "smtp_connect_timeout", &value),
        "notify" | "notify_user" => out.dropped(d, "write it into each virtual router"),
        _ => out.dropped(d, "no such thing"),
    }
}

fn mail(out: &mut Out, key: &str, value: &str) {
    out.key(key, value);
}

/// A `vrrp_script`.
fn check(out: &mut Out, s: &Node) {
    out.section("check", s.word(1));
    out.key("type", "exec");
    let (mut weight, mut interval, mut timeout) = (String::new(), None, None);
    for d in &s.block {
        let value = d.word(1).to_owned();
        match d.keyword() {
            "script" => {
                let command = if d.words.len() == 2 { value } else { d.rest() };
                if command.contains(['|', ';', '&', '<', '>', '$', '`', '*', '\'', '(']) {
                    out.comment("this needs a shell, which vipd does not use: put it into a script");
                }
                out.key("target", &command);
            }
            "interval" => interval = Some(value),
            "timeout" => timeout = Some(value),
            "fall" | "rise" => out.key(d.keyword(), &value),
            "weight" => {
                weight.clone_from(&value);
                if d.word(2) == "reverse" {
                    out.dropped(d, "`reverse` does not exist: turn the script's exit status round");
                }
            }
            "user" => out.key("user", &value),
            "init_fail" => out.dropped(d, "a check counts as down until it has been up"),
            _ => out.dropped(d, "no such thing"),
        }
    }
    // keepalived's defaults, which are not vipd's.
    let interval = interval.unwrap_or_else(|| "1".to_owned());
    out.key("interval", &interval);
    match timeout {
        Some(t) => out.key("timeout", &t),
        None => out.key("timeout", &interval),
    }
    for key in ["fall", "rise"] {
        if !s.block.iter().any(|d| d.keyword() == key) {
            out.key(key, "1");
        }
    }
    out.checks.push((s.word(1).to_owned(), weight));
}

/// A `vrrp_sync_group`.
fn group(out: &mut Out, n: &Node) {
    let members: Vec<String> = n
        .block
        .iter()
        .filter(|d| d.keyword() == "group")
        .flat_map(|d| d.block.iter().flat_map(|m| m.words.iter().cloned()))
        .collect();
    out.section("group", n.word(1));
    out.key("members", &members.join(", "));
    for d in n.block.iter().filter(|d| d.keyword() != "group") {
        let why = match d.keyword() {
            k if k.starts_with("notify") => {
                "write `notify` into the virtual routers: vipd calls it for the group as well"
            }
            "global_tracking" | "sync_group_tracking_weight" => "each virtual router tracks for itself",
            k if k.starts_with("track_") => "write it into the virtual routers",
            "smtp_alert" => "mail is for all or none: see [global]",
            _ => "no such thing",
        };
        out.dropped(d, why);
    }
}

#[cfg(test)]
mod tests;
