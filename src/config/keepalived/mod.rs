//! `vipd import`: a keepalived.conf in, the equivalent vipd.ini out, with a comment for whatever cannot be carried
//! over and why. Pure: included files come through a function.

mod hmac;
mod parse;
mod router;

pub use parse::{Include, Node};

use crate::base::text::split_once;
use parse::Tree;

/// The configuration, as far as it is translated.
struct Out<'a> {
    tree: &'a Tree,
    text: String,
    /// `vrrp_garp_*` and the like of global_defs, which are defaults of every virtual router: key and value.
    defaults: Vec<(&'static str, String)>,
    /// Version of the routers that name none.
    version: String,
    /// Scripts that only look whether HAProxy runs: vipd does that itself.
    haproxy_scripts: Vec<String>,
    /// Scripts that became a `[check]`, with the weight they had.
    checks: Vec<(String, String)>,
}

impl Out<'_> {
    fn line(&mut self, parts: &[&str]) {
        parts.iter().for_each(|p| self.text.push_str(p));
        self.text.push('\n');
    }

    fn key(&mut self, key: &str, value: &str) {
        self.line(&[key, " = ", value]);
    }

    fn comment(&mut self, text: &str) {
        self.line(&["# ", text]);
    }

    /// What cannot be carried over, and why.
    fn dropped(&mut self, n: &Node, why: &str) {
        let words: String = n.words.join(" ").chars().take(120).collect();
        let at = self.tree.place(n.at);
        self.line(&["# ", &at, ": `", &words, "`: ", why]);
    }

    fn section(&mut self, kind: &str, name: &str) {
        let space = if name.is_empty() { "" } else { " " };
        self.line(&["\n[", kind, space, name, "]"]);
    }

    /// A directive by a table; what is not in it does not exist here.
    fn by(&mut self, table: &'static str, d: &Node) {
        match rule(table, d.keyword()) {
            None => self.dropped(d, "no such thing"),
            Some(Rule::Ignore) => {}
            Some(Rule::Drop(why)) => self.dropped(d, why),
            Some(Rule::Key("")) => self.key(d.keyword(), d.word(1)),
            Some(Rule::Key(key)) => self.key(key, d.word(1)),
            Some(Rule::Line(line)) => self.line(&[line]),
            Some(Rule::Default(key)) => self.defaults.push((key, d.word(1).to_owned())),
        }
    }
}

/// What becomes of a directive.
enum Rule {
    /// `-`: nothing; vipd does that in any case, or it has no bearing.
    Ignore,
    /// `!`: cannot be carried over, because.
    Drop(&'static str),
    /// `>`: its first value under this key, or its own name.
    Key(&'static str),
    /// `=`: this line.
    Line(&'static str),
    /// `*`: a default of every virtual router.
    Default(&'static str),
}

/// Tables are texts, a line each: `KEYWORD SIGN REST`. (A table of pointers costs a relocation for each.)
fn rule(table: &'static str, keyword: &str) -> Option<Rule> {
    let line = table.split('\n').find_map(|l| l.strip_prefix(keyword)?.strip_prefix(' '))?;
    let (sign, rest) = line.split_at_checked(1)?;
    let rest = rest.trim_ascii_start();
    Some(match sign {
        "-" => Rule::Ignore,
        "!" => Rule::Drop(rest),
        ">" => Rule::Key(rest),
        "*" => Rule::Default(rest),
        _ => Rule::Line(rest),
    })
}

const GLOBAL: &str = "\
router_id >
lvs_id > router_id
vrrp_startup_delay > startup_delay
vrrp_rt_priority > realtime_priority
vrrp_no_swap = lock_memory = yes
no_swap = lock_memory = yes
notification_email_from >
smtp_connect_timeout >
vrrp_down_timer_adverts * down_timer_adverts
vrrp_garp_interval * garp_interval
vrrp_gna_interval * garp_interval
vrrp_garp_master_delay * garp_master_delay
vrrp_garp_master_repeat * garp_master_repeat
vrrp_garp_master_refresh * garp_master_refresh
vrrp_garp_master_refresh_repeat * garp_master_refresh_repeat
vrrp_garp_lower_prio_delay * garp_lower_prio_delay
vrrp_garp_lower_prio_repeat * garp_lower_prio_repeat
vrrp_strict ! vipd never touches a firewall, and checks what it receives in any case
enable_script_security ! there is no shell; `user` of a [check] says who runs it
script_user ! there is no shell; `user` of a [check] says who runs it
vrrp_skip_check_adv_addr ! the list is compared with every advert: it costs nothing
vrrp_check_unicast_src ! always on
vrrp_mcast_group4 ! only the groups of the RFC
vrrp_mcast_group6 ! only the groups of the RFC
dynamic_interfaces ! always on
notify ! write it into each virtual router";

const OTHER: &str = "\
virtual_server ! vipd balances nothing: that is HAProxy's part
virtual_server_group ! vipd balances nothing: that is HAProxy's part
static_ipaddress ! belongs to the network configuration of the machine
static_routes ! belongs to the network configuration of the machine
static_rules ! belongs to the network configuration of the machine
vrrp_track_file ! a [check] of type exec can read a file
track_file ! a [check] of type exec can read a file
vrrp_track_process ! a [check] of type exec can look for a process
vrrp_process ! a [check] of type exec can look for a process";

/// Translates a file.
///
/// # Errors
///
/// `file:line: what is wrong` where it cannot be taken apart.
pub fn import(name: &str, text: &str, include: &mut Include) -> Result<String, String> {
    let tree = Tree::parse(name, text, include)?;
    let mut out = Out {
        tree: &tree,
        text: String::new(),
        defaults: Vec::new(),
        version: String::new(),
        haproxy_scripts: Vec::new(),
        checks: Vec::new(),
    };
    out.line(&["# made of ", name, " by `vipd import`: read it, then `vipd -t -c FILE`"]);
    out.section("global", "");
    for n in &tree.nodes {
        match n.keyword() {
            "global_defs" | "global_settings" => n.block.iter().for_each(|d| global(&mut out, d)),
            "vrrp_script" | "vrrp_track_process" | "vrrp_process" if looks_at_haproxy(n) => {
                out.haproxy_scripts.push(n.word(1).to_owned());
            }
            _ => {}
        }
    }
    if !out.haproxy_scripts.is_empty() {
        out.section("haproxy", "");
        let names = out.haproxy_scripts.join(", ");
        out.line(&["# instead of ", &names, ": vipd starts HAProxy itself, asks it whether it is well, and"]);
        out.comment("starts it again; disable the service that starts it now");
        out.key("config", "/etc/haproxy/haproxy.cfg");
    }
    // In the order in which one names the other.
    for kind in ["vrrp_script", "vrrp_instance", "vrrp_sync_group", ""] {
        for n in &tree.nodes {
            match (kind, n.keyword()) {
                ("vrrp_script", "vrrp_script") if !looks_at_haproxy(n) => check(&mut out, n),
                ("vrrp_instance", "vrrp_instance") => router::write(&mut out, n),
                ("vrrp_sync_group", "vrrp_sync_group") => group(&mut out, n),
                (
                    "",
                    "global_defs" | "global_settings" | "vrrp_script" | "vrrp_instance" | "vrrp_sync_group",
                ) => {}
                ("", "vrrp_track_process" | "vrrp_process") if looks_at_haproxy(n) => {}
                ("", k) if k.starts_with('@') => {
                    out.dropped(n, "only for one node: write it into that node's file")
                }
                ("", _) => out.by(OTHER, n),
                _ => {}
            }
        }
    }
    Ok(out.text)
}

/// `killall -0 haproxy`, `pidof haproxy`, `/etc/keepalived/check_haproxy.sh`, a process of that name, ...
fn looks_at_haproxy(script: &Node) -> bool {
    let named = |word: &str| split_once(word, "haproxy").is_some();
    named(script.word(1))
        || script
            .block
            .iter()
            .any(|d| matches!(d.keyword(), "script" | "process") && d.words.iter().any(|w| named(w)))
}

fn global(out: &mut Out, d: &Node) {
    match d.keyword() {
        "vrrp_version" => out.version = d.word(1).to_owned(),
        "notification_email" => {
            let list: Vec<&str> = d.block.iter().map(Node::keyword).collect();
            out.key("notification_email", &list.join(", "));
        }
        "smtp_server" => match (d.word(1), d.word(2)) {
            (host, "") => out.key("smtp_server", host),
            (host, port) if host.contains(':') => out.line(&["smtp_server = [", host, "]:", port]),
            (host, port) => out.line(&["smtp_server = ", host, ":", port]),
        },
        _ => out.by(GLOBAL, d),
    }
}

const SCRIPT: &str = "\
interval >
timeout >
fall >
rise >
user >
init_fail ! a check counts as down until it has been up";

/// A `vrrp_script`. keepalived's defaults are not vipd's, so all of them are written.
fn check(out: &mut Out, s: &Node) {
    let name = s.word(1);
    out.section("check", name);
    out.key("type", "exec");
    let mut weight = String::new();
    let own = |key: &str| s.block.iter().find(|d| d.keyword() == key).map(|d| d.word(1));
    for d in &s.block {
        match d.keyword() {
            "script" => {
                let command = d.rest();
                if command.contains(['|', ';', '&', '<', '>', '$', '`', '*', '\'', '(']) {
                    out.comment("this needs a shell, which vipd does not use: put it into a script");
                }
                out.key("target", &command);
            }
            "weight" => {
                d.word(1).clone_into(&mut weight);
                if d.word(2) == "reverse" {
                    out.dropped(d, "`reverse` does not exist: turn the script's exit status round");
                }
            }
            _ => out.by(SCRIPT, d),
        }
    }
    let interval = own("interval").unwrap_or("1");
    for (key, default) in [("interval", "1"), ("timeout", interval), ("fall", "1"), ("rise", "1")] {
        if own(key).is_none() {
            out.key(key, default);
        }
    }
    out.checks.push((name.to_owned(), weight));
}

const GROUP: &str = "\
global_tracking ! each virtual router tracks for itself
sync_group_tracking_weight ! each virtual router tracks for itself
track_interface ! write it into the virtual routers
track_script ! write it into the virtual routers
track_process ! write it into the virtual routers
track_file ! write it into the virtual routers
notify ! write `notify` into the virtual routers: vipd calls it for the group as well
notify_master ! write `notify` into the virtual routers: vipd calls it for the group as well
notify_backup ! write `notify` into the virtual routers: vipd calls it for the group as well
notify_fault ! write `notify` into the virtual routers: vipd calls it for the group as well
smtp_alert ! mail is for all or none: see [global]";

/// A `vrrp_sync_group`.
fn group(out: &mut Out, n: &Node) {
    let mut members = Vec::new();
    for d in n.block.iter().filter(|d| d.keyword() == "group") {
        members.extend(d.block.iter().flat_map(|m| m.words.iter().cloned()));
    }
    out.section("group", n.word(1));
    out.key("members", &members.join(", "));
    for d in n.block.iter().filter(|d| d.keyword() != "group") {
        out.by(GROUP, d);
    }
}

#[cfg(test)]
mod tests;
