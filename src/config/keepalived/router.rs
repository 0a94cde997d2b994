//! A `vrrp_instance`.

use super::check::Checks;
use super::out::Out;
use super::parse::Node;
use super::tables::ROUTER;
use super::text::{number, seconds, truth};
use super::{addresses, group, hmac, track};

/// The owner's priority.
const OWNER: u64 = 255;
/// Directives of which keepalived takes the first of two.
const FIRST: &str = "version notify notify_master notify_backup notify_fault notify_stop";
/// Those that add up.
const LISTS: &str = "virtual_ipaddress virtual_ipaddress_excluded unicast_peer track_interface track_script track_process \
    track_file track_bfd authentication auth_hmac mcast_src_ip unicast_src_ip nopreempt preempt virtual_routes virtual_rules";

/// What the keys of a virtual router depend on.
pub(super) struct Facts<'n> {
    pub(super) node: &'n Node,
    pub(super) interface: &'n str,
    pub(super) group: Option<&'n Node>,
    pub(super) v6: bool,
    v3: bool,
    /// Priority 255, given or because keepalived derives it.
    pub(super) owner: bool,
    /// `state MASTER`, given or derived.
    master: bool,
    pub(super) strict: bool,
    pub(super) unicast: bool,
    pub(super) vmac: bool,
}

impl<'n> Facts<'n> {
    fn new(out: &Out<'n>, node: &'n Node) -> Self {
        let last = |key: &str| node.block.iter().rfind(|d| d.keyword() == key);
        let first =
            addresses::entries(node, "virtual_ipaddress").find_map(|e| addresses::address(e.keyword()));
        let v6 = first.is_some_and(|a| a.is_ipv6());
        let version = node.block.iter().find(|d| d.keyword() == "version").map(|d| d.word(1));
        let version = version.filter(|v| matches!(*v, "2" | "3")).unwrap_or(&out.version);
        let mut states = node.block.iter().filter(|d| d.keyword() == "state");
        let state = last("state").is_some();
        let master = states.any(|d| d.word(1) == "MASTER");
        let owner = last("priority").map_or(master, |d| number(d.word(1), 0) == Some(OWNER));
        let strict = last("strict_mode").and_then(|d| truth(d.word(1))).unwrap_or(out.strict);
        Facts {
            node,
            interface: last("interface").map_or("", |d| d.word(1)),
            group: group::of(out.tree, node.word(1)),
            v6,
            v3: v6 || version == "3",
            owner,
            master: if strict || !state { owner } else { master },
            strict,
            unicast: addresses::entries(node, "unicast_peer").next().is_some(),
            vmac: last("use_vmac").is_some(),
        }
    }
}

/// Writes `[vrrp NAME]`.
pub(super) fn write(out: &mut Out<'_>, checks: &Checks<'_>, n: &Node) {
    let f = Facts::new(out, n);
    out.section("vrrp", n);
    if f.v3 {
        out.key("version", "3");
    }
    let block = out.settle(&n.block, FIRST, LISTS);
    for d in &block {
        one(out, &f, d);
    }
    if f.owner && !block.iter().any(|d| d.keyword() == "priority") {
        out.key("priority", "254");
        out.comment(
            "keepalived makes `state MASTER` without a priority the owner, 255; in vipd an owner's addresses are permanent ones",
        );
    }
    preempt(out, &f, &block);
    addresses::transport(out, &f);
    addresses::virtual_ones(out, &f);
    authentication(out, &f);
    track::write(out, checks, &f);
    hooks(out, &f, &block);
    let own = |key: &str| block.iter().any(|d| d.keyword() == key);
    for (key, value) in out.defaults.clone() {
        match key {
            _ if own(key) => {}
            "v3_checksum_as_v2" => checksum(out, &f, &value),
            _ => out.key(key, &value),
        }
    }
}

fn one(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let value = d.word(1);
    match d.keyword() {
        "state" => match value {
            "MASTER" | "BACKUP" => out.key("state", value),
            _ => out.dropped(d, "neither MASTER nor BACKUP: keepalived falls back to BACKUP"),
        },
        "priority" => priority(out, d),
        "advert_int" => advert_int(out, f, d),
        "version" if !matches!(value, "2" | "3") => {
            out.dropped(d, "neither 2 nor 3: keepalived ignores it, too")
        }
        "version" if f.v6 && value == "2" => out.dropped(d, "IPv6 needs version 3"),
        "preempt_delay" => preempt_delay(out, f, d),
        "use_vmac" => {
            out.key("use_vmac", "yes");
            if d.words.len() > 1 {
                out.told(d, "vipd chooses the name of the device");
            }
            let base = f.node.block.iter().any(|d| d.keyword() == "vmac_xmit_base");
            if base || f.unicast {
                out.key("vmac_xmit_base", "yes");
            }
        }
        "vmac_xmit_base" if !f.vmac => out.dropped(d, "it has no meaning without `use_vmac`"),
        "v3_checksum_as_v2" => checksum(out, f, value),
        "vmac_xmit_base" | "nopreempt" | "preempt" | "mcast_src_ip" | "unicast_src_ip" | "unicast_peer" => {}
        "virtual_ipaddress" | "virtual_ipaddress_excluded" | "authentication" | "auth_hmac" => {}
        "track_interface" | "track_script" | "track_process" => {}
        "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop" => {}
        _ => out.by(ROUTER, d),
    }
}

/// keepalived adds the addresses of an owner; vipd's owner has them as permanent ones.
fn priority(out: &mut Out<'_>, d: &Node) {
    match number(d.word(1), 0) {
        Some(OWNER) => {
            out.told(
                d,
                "keepalived adds the addresses of an owner; in vipd an owner's addresses are permanent ones, so this is 254",
            );
            out.key("priority", "254");
        }
        Some(n @ 1..OWNER) => out.key("priority", &n.to_string()),
        _ => {
            out.told(d, "not 1 to 255: keepalived falls back to 100, and so does vipd.ini");
            out.key("priority", "100");
        }
    }
}

/// Version 2 has whole seconds up to 255, version 3 hundredths up to 40.95; keepalived rounds.
fn advert_int(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let Some(ms) = number(d.word(1), 3).filter(|ms| (10..=255_000).contains(ms)) else {
        return out.dropped(d, "not 0.01 to 255: keepalived falls back to 1 second, and so does vipd.ini");
    };
    let (step, most) = if f.v3 { (10, 40_950) } else { (1000, 255_000) };
    let rounded = ((ms + step / 2) / step * step).clamp(step, most);
    if rounded != ms {
        let what = if f.v3 { "rounded" } else { "version 2 has whole seconds: rounded" };
        out.told(d, &format!("{what}, as keepalived does"));
    }
    out.key("advert_int", &seconds(rounded));
}

fn preempt_delay(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let why = if f.master {
        "keepalived ignores it with `state MASTER`"
    } else if f.strict {
        "keepalived ignores it in strict mode"
    } else if is_nopreempt(f.node) {
        "keepalived ignores it with `nopreempt`"
    } else {
        if let Some(value) = out.number(d, 3, 0, 1_000_000) {
            out.key("preempt_delay", &value);
        }
        return;
    };
    out.dropped(d, why);
}

/// The last of `preempt` and `nopreempt` counts.
fn is_nopreempt(router: &Node) -> bool {
    let last = router.block.iter().rfind(|d| matches!(d.keyword(), "preempt" | "nopreempt"));
    last.is_some_and(|d| d.keyword() == "nopreempt")
}

fn preempt(out: &mut Out<'_>, f: &Facts<'_>, block: &[&Node]) {
    let Some(d) = block.iter().rfind(|d| d.keyword() == "nopreempt") else { return };
    if !is_nopreempt(f.node) {
        return out.key("preempt", "yes");
    }
    if f.master || f.owner {
        out.told(d, "keepalived ignores it with `state MASTER` and with priority 255");
    }
    out.key("preempt", if f.master || f.owner { "yes" } else { "no" });
}

fn checksum(out: &mut Out<'_>, f: &Facts<'_>, value: &str) {
    match truth(value) {
        Some(true) if f.v3 && !f.v6 => out.key("v3_checksum_as_v2", "yes"),
        Some(true) => out.comment("`v3_checksum_as_v2` is left out: it needs version 3 and IPv4"),
        _ => {}
    }
}

/// `auth_type` and `auth_pass`. keepalived goes on without authentication where it does not like it.
fn authentication(out: &mut Out<'_>, f: &Facts<'_>) {
    let hmac = f.node.block.iter().any(|d| d.keyword() == "auth_hmac");
    let mut last = [None, None];
    for a in addresses::entries(f.node, "authentication") {
        match a.keyword() {
            "auth_type" if matches!(a.word(1), "PASS" | "AH") => last[0] = Some(a),
            "auth_type" => out.dropped(a, "neither PASS nor AH: keepalived ignores it, too"),
            "auth_pass" => last[1] = Some(a),
            _ => out.dropped(a, "keepalived 2.4 has no such directive here. Is it misspelt?"),
        }
    }
    let why = match last {
        _ if f.strict => "keepalived sends none in strict mode",
        _ if f.v3 => "version 3 has none",
        _ if hmac => "auth_hmac excludes it, with keepalived as well",
        [None, _] => "there is no auth_type: keepalived sends none",
        [Some(a), Some(p)] if !p.word(1).is_empty() => {
            out.key("auth_type", a.word(1));
            if !p.block.is_empty() {
                out.told(p, "a brace outside quotes ends the password; keepalived misreads what follows");
            }
            // Better no configuration than none of the authentication: without its password it is refused.
            if p.word(1).starts_with("file:") {
                out.told(
                    p,
                    "vipd takes `file:` for the path of a file that holds the password: write it into one",
                );
            } else {
                out.key("auth_pass", p.word(1));
            }
            ""
        }
        _ => "there is no password: keepalived sends none",
    };
    if !why.is_empty() && f.node.block.iter().any(|d| d.keyword() == "authentication") {
        out.line(&["# no authentication: ", why]);
    }
    hmac::write(out, f.node, f.strict);
}

/// `notify` and the hooks for one state. Those of a sync group go to its first member.
fn hooks(out: &mut Out<'_>, f: &Facts<'_>, block: &[&Node]) {
    const KEYS: [&str; 5] = ["notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"];
    let group = f.group.filter(|g| group::is_first(g, f.node.word(1)));
    for key in KEYS {
        let own = block.iter().copied().find(|d| d.keyword() == key);
        let shared =
            group.and_then(|g| g.block.iter().find(|d| d.keyword() == key)).filter(|_| key != "notify");
        if let (Some(_), Some(shared)) = (own, shared) {
            out.dropped(
                shared,
                "the first member of the sync group has one of its own: move this one to another member",
            );
        }
        let Some(d) = own.or(shared) else { continue };
        if own.is_none() {
            out.told(d, "from the sync group, whose members change state together");
        }
        if let Some(argv) = out.command(d) {
            out.command_key(key, d, &argv);
        }
    }
}
