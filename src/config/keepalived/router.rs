//! A `vrrp_instance`.

use super::check::Checks;
use super::out::Out;
use super::parse::{Node, find};
use super::tables::ROUTER;
use super::text::{number, seconds, truth};
use super::{addresses, group, hmac, track};
use crate::packed;

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
        let vips = node.entries("virtual_ipaddress");
        let v6 = vips.iter().find_map(|e| addresses::address(e.keyword())).is_some_and(|a| a.is_ipv6());
        let version = node.first("version").map_or("", |d| d.word(1));
        let version = if matches!(version, "2" | "3") { version } else { &out.version };
        let states = node.all("state");
        let master = states.iter().any(|d| d.word(1) == "MASTER");
        let owner = node.last("priority").map_or(master, |d| number(d.word(1), 0) == Some(OWNER));
        let strict = node.last("strict_mode").and_then(|d| truth(d.word(1))).unwrap_or(out.strict);
        Facts {
            node,
            interface: node.last("interface").map_or("", |d| d.word(1)),
            group: group::of(out.tree, node.word(1)),
            v6,
            v3: v6 || version == "3",
            owner,
            master: if strict || states.is_empty() { owner } else { master },
            strict,
            unicast: !node.entries("unicast_peer").is_empty(),
            vmac: node.has("use_vmac"),
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
    let block = out.settle(&[n], FIRST, LISTS);
    for d in &block {
        one(out, &f, d);
    }
    if f.owner && find(&block, "priority").is_none() {
        out.key("priority", "254");
        out.comment(
            packed!("keepalived makes `state MASTER` without a priority the owner, 255; in vipd an owner's addresses are permanent ones"),
        );
    }
    preempt(out, &f);
    addresses::transport(out, &f);
    addresses::virtual_ones(out, &f);
    authentication(out, &f);
    track::write(out, checks, &f);
    hooks(out, &f);
    for (key, value) in out.defaults.clone() {
        if find(&block, &key).is_none() {
            match &key[..] {
                "v3_checksum_as_v2" => checksum(out, &f, &value),
                _ => out.key(&key, &value),
            }
        }
    }
}

fn one(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let value = d.word(1);
    match d.keyword() {
        "state" => match value {
            "MASTER" | "BACKUP" => out.key("state", value),
            _ => out.dropped(d, packed!("neither MASTER nor BACKUP: keepalived falls back to BACKUP")),
        },
        "priority" => priority(out, d),
        "advert_int" => advert_int(out, f, d),
        "version" if !matches!(value, "2" | "3") => {
            out.dropped(d, packed!("neither 2 nor 3: keepalived ignores it, too"))
        }
        "version" if f.v6 && value == "2" => out.dropped(d, packed!("IPv6 needs version 3")),
        "preempt_delay" => preempt_delay(out, f, d),
        "use_vmac" => {
            out.key("use_vmac", "yes");
            if d.words.len() > 1 {
                out.told(d, packed!("vipd chooses the name of the device"));
            }
            if f.unicast || f.node.has("vmac_xmit_base") {
                out.key("vmac_xmit_base", "yes");
            }
        }
        "vmac_xmit_base" if !f.vmac => out.dropped(d, packed!("it has no meaning without `use_vmac`")),
        "v3_checksum_as_v2" => checksum(out, f, value),
        _ => out.by(ROUTER, d),
    }
}

/// keepalived adds the addresses of an owner; vipd's owner has them as permanent ones.
fn priority(out: &mut Out<'_>, d: &Node) {
    let value = match number(d.word(1), 0) {
        Some(OWNER) => {
            out.told(
                d,
                packed!("keepalived adds the addresses of an owner; in vipd an owner's addresses are permanent ones, so this is 254"),
            );
            254
        }
        Some(n @ 1..OWNER) => n,
        _ => {
            out.told(d, packed!("not 1 to 255: keepalived falls back to 100, and so does vipd.ini"));
            100
        }
    };
    out.key("priority", &value.to_string());
}

/// Version 2 has whole seconds up to 255, version 3 hundredths up to 40.95; keepalived rounds.
fn advert_int(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let Some(ms) = number(d.word(1), 3).filter(|ms| (10..=255_000).contains(ms)) else {
        return out
            .dropped(d, packed!("not 0.01 to 255: keepalived falls back to 1 second, and so does vipd.ini"));
    };
    let (step, most, what) = match f.v3 {
        true => (10, 40_950, packed!("rounded, as keepalived does")),
        false => (1000, 255_000, packed!("version 2 has whole seconds: rounded, as keepalived does")),
    };
    let rounded = ((ms + step / 2) / step * step).clamp(step, most);
    if rounded != ms {
        out.told(d, what);
    }
    out.key("advert_int", &seconds(rounded));
}

fn preempt_delay(out: &mut Out<'_>, f: &Facts<'_>, d: &Node) {
    let why = if f.master {
        packed!("keepalived ignores it with `state MASTER`")
    } else if f.strict {
        packed!("keepalived ignores it in strict mode")
    } else if is_nopreempt(f.node) {
        packed!("keepalived ignores it with `nopreempt`")
    } else {
        return out.number_key("preempt_delay", d, 3, 0, 1_000_000);
    };
    out.dropped(d, why);
}

/// The last of `preempt` and `nopreempt` counts.
fn is_nopreempt(router: &Node) -> bool {
    router.last("preempt nopreempt").is_some_and(|d| d.is("nopreempt"))
}

fn preempt(out: &mut Out<'_>, f: &Facts<'_>) {
    let Some(d) = f.node.last("nopreempt") else { return };
    let nopreempt = is_nopreempt(f.node);
    let ignored = f.master || f.owner;
    if nopreempt && ignored {
        out.told(d, packed!("keepalived ignores it with `state MASTER` and with priority 255"));
    }
    out.key("preempt", if nopreempt && !ignored { "no" } else { "yes" });
}

fn checksum(out: &mut Out<'_>, f: &Facts<'_>, value: &str) {
    match truth(value) {
        Some(true) if f.v3 && !f.v6 => out.key("v3_checksum_as_v2", "yes"),
        Some(true) => out.comment(packed!("`v3_checksum_as_v2` is left out: it needs version 3 and IPv4")),
        _ => {}
    }
}

/// `auth_type` and `auth_pass`. keepalived goes on without authentication where it does not like it.
fn authentication(out: &mut Out<'_>, f: &Facts<'_>) {
    let mut last = [None, None];
    for a in f.node.entries("authentication") {
        match a.keyword() {
            "auth_type" if matches!(a.word(1), "PASS" | "AH") => last[0] = Some(a),
            "auth_type" => out.dropped(a, packed!("neither PASS nor AH: keepalived ignores it, too")),
            "auth_pass" => last[1] = Some(a),
            _ => out.by(packed!(""), a),
        }
    }
    let why = match last {
        _ if f.strict => packed!("keepalived sends none in strict mode"),
        _ if f.v3 => packed!("version 3 has none"),
        _ if f.node.has("auth_hmac") => packed!("auth_hmac excludes it, with keepalived as well"),
        [None, _] => packed!("there is no auth_type: keepalived sends none"),
        [Some(a), Some(p)] if !p.word(1).is_empty() => {
            out.key("auth_type", a.word(1));
            password(out, p);
            packed!("")
        }
        _ => packed!("there is no password: keepalived sends none"),
    };
    if !why.0.is_empty() && f.node.has("authentication") {
        out.line(&["# no authentication: ", &why.text()]);
    }
    hmac::write(out, f.node, f.strict);
}

fn password(out: &mut Out<'_>, d: &Node) {
    if !d.block.is_empty() {
        out.told(d, packed!("a brace outside quotes ends the password; keepalived misreads what follows"));
    }
    // Better no configuration than none of the authentication: without its password it is refused.
    if d.word(1).starts_with("file:") {
        out.told(
            d,
            packed!("vipd takes `file:` for the path of a file that holds the password: write it into one"),
        );
    } else {
        out.key("auth_pass", d.word(1));
    }
}

/// `notify` and the hooks for one state. Those of a sync group go to its first member.
fn hooks(out: &mut Out<'_>, f: &Facts<'_>) {
    let group = f.group.filter(|g| group::is_first(g, f.node.word(1)));
    for key in "notify notify_master notify_backup notify_fault notify_stop".split(' ') {
        let own = f.node.first(key);
        let shared = group.filter(|_| key != "notify").and_then(|g| g.first(key));
        let d = match (own, shared) {
            (None, None) => continue,
            (Some(own), None) => own,
            (Some(own), Some(shared)) => {
                out.dropped(
                    shared,
                    packed!("the first member of the sync group has one of its own: move this one to another member"),
                );
                own
            }
            (None, Some(shared)) => {
                out.told(shared, packed!("from the sync group, whose members change state together"));
                shared
            }
        };
        if let Some(argv) = out.command(d) {
            out.command_key(key, d, &argv);
        }
    }
}
