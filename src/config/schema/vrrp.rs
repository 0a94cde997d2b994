//! `[vrrp NAME]`

use super::reader::{Keys, Reader, digits};
use crate::config::ini::{Section, words};
use crate::config::report::{Hint, Report, Shown, nearest};
use crate::config::{Auth, Garp, Lease, Track, Version, Vip, Vrrp};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The keys of a `[vrrp NAME]`.
pub const KEYS: Keys = Keys {
    title: "[vrrp NAME]",
    once: "\
        interface, virtual_router_id, priority, state, version, advert_int, preempt, \
        preempt_delay, down_timer_adverts, auth_type, auth_pass, mcast_src_ip, \
        v3_checksum_as_v2, track_haproxy, garp_master_delay, garp_master_repeat, \
        garp_master_refresh, garp_master_refresh_repeat, garp_lower_prio_delay, \
        garp_lower_prio_repeat, garp_interval, lease, make_before_break, handover_timeout",
    lists: "virtual_ipaddress",
    planned: "\
        virtual_ipaddress_excluded, unicast_src_ip, unicast_peer, allowed_peers, \
        track_interface, track, use_vmac, vmac_xmit_base, notify",
};

const VIP_FORM: &str = "ADDR[/LEN] [dev IF] [label IF:TAG]";
const UNSUPPORTED: &str = "is not supported by this version of vipd";

/// An instance with the lines that the checks over the whole file name.
pub struct Instance {
    /// The instance. What was wrong has its default; `interface` is empty and `vrid` is 0 then.
    pub vrrp: Vrrp,
    /// Line of `virtual_router_id`.
    pub vrid_line: u32,
    /// Line of `handover_timeout`, or of the section.
    pub handover_line: u32,
    /// Line of each of `vrrp.vips`.
    pub vip_lines: Vec<u32>,
}

/// Reads a section; `haproxy`: whether there is a `[haproxy]`.
pub fn read(section: &Section<'_>, all: &[&Keys], haproxy: bool, report: &mut Report) -> Instance {
    let mut r = Reader::open(section, &KEYS, all, report);
    r.require("interface", "eth0");
    r.require("virtual_router_id", "51");
    r.require("virtual_ipaddress", "192.0.2.10/24");
    let interface = match r.entry("interface") {
        Some(entry) if device(&mut r, entry.line, "interface", entry.value) => entry.value,
        _ => "",
    };
    if let Some(state) = r.choice("state", "MASTER, BACKUP") {
        let state = if state == 0 { "MASTER" } else { "BACKUP" };
        let line = r.line("state");
        r.report.warning(line, format_args!("state = {state} has no effect: priority and preempt decide"));
    }
    // What depends on the version is checked only if that is known.
    let version = match r.choice("version", "2, 3") {
        Some(0) => Some(Version::V2),
        Some(_) => Some(Version::V3),
        None if r.has("version") => None,
        None => Some(Version::V2),
    };
    let advert_int = advert_int(&mut r, version);
    let down_timer_adverts = r.number("down_timer_adverts", 1, 100).unwrap_or(3);
    if down_timer_adverts != 3 {
        let line = r.line("down_timer_adverts");
        let text = "is not the usual 3: it must be the same on every node of the virtual router";
        r.report.warning(line, format_args!("down_timer_adverts = {down_timer_adverts} {text}"));
    }
    let auth = auth(&mut r, version);
    let priority = octet(r.number("priority", 1, 255)).unwrap_or(100);
    let (vips, vip_lines) = vips(&mut r, interface, version);
    let mcast_src_ip = mcast_src_ip(&mut r, &vips, priority);
    let v3_checksum_as_v2 = r.boolean("v3_checksum_as_v2", false);
    if v3_checksum_as_v2 && version == Some(Version::V2) {
        let line = r.line("v3_checksum_as_v2");
        r.report
            .error(line, format_args!("v3_checksum_as_v2 has no meaning with version 2: set version = 3"));
    }
    let handover = advert_int.saturating_mul(down_timer_adverts + 1).min(Duration::from_secs(5));
    let vrrp = Vrrp {
        name: section.name.to_owned(),
        line: section.line,
        interface: interface.to_owned(),
        vrid: octet(r.number("virtual_router_id", 1, 255)).unwrap_or(0),
        priority,
        version: version.unwrap_or(Version::V2),
        advert_int,
        preempt: r.boolean("preempt", true),
        preempt_delay: r.duration("preempt_delay", 0, 1_000_000, 0),
        down_timer_adverts,
        auth,
        vips,
        excluded: Vec::new(),
        src_ip: mcast_src_ip.map(IpAddr::V4),
        unicast_peers: Vec::new(),
        allowed_peers: Vec::new(),
        v3_checksum_as_v2,
        track_haproxy: if track_haproxy(&mut r, haproxy) { Track::Fault } else { Track::No },
        track_interfaces: Vec::new(),
        track_checks: Vec::new(),
        use_vmac: false,
        vmac_xmit_base: false,
        garp: Garp {
            master_delay: r.duration("garp_master_delay", 0, 3_600_000, 5_000),
            master_repeat: r.number("garp_master_repeat", 1, 100).unwrap_or(5),
            master_refresh: r.duration("garp_master_refresh", 0, 86_400_000, 60_000),
            master_refresh_repeat: r.number("garp_master_refresh_repeat", 1, 100).unwrap_or(1),
            lower_prio_delay: r.duration("garp_lower_prio_delay", 0, 3_600_000, 5_000),
            lower_prio_repeat: r.number("garp_lower_prio_repeat", 0, 100).unwrap_or(5),
            interval: r.duration("garp_interval", 10, 10_000, 100),
        },
        lease: lease(&mut r, advert_int, down_timer_adverts, priority),
        make_before_break: r.boolean("make_before_break", true),
        handover_timeout: r.optional_duration("handover_timeout", 10, 3_600_000).unwrap_or(handover),
    };
    Instance {
        vrrp,
        vrid_line: r.line("virtual_router_id"),
        handover_line: r.line("handover_timeout"),
        vip_lines,
    }
}

fn octet(number: Option<u32>) -> Option<u8> {
    number.and_then(|n| u8::try_from(n).ok())
}

fn advert_int(r: &mut Reader<'_, '_>, version: Option<Version>) -> Duration {
    let default = Duration::from_secs(1);
    let Some(entry) = r.entry("advert_int") else { return default };
    let parsed = super::reader::parse_duration(entry.value);
    let fraction = parsed.is_some_and(|value| value.subsec_nanos() != 0);
    if version == Some(Version::V2) && fraction {
        r.wrong(
            entry,
            format_args!(
                "is no whole number of seconds, as version 2 has them: 1 to 255, or set version = 3"
            ),
        );
        return default;
    }
    let (min, max) = match version {
        Some(Version::V2) => (1_000, 255_000),
        Some(Version::V3) => (10, 40_950),
        None => (10, 255_000),
    };
    let Some(value) = r.optional_duration("advert_int", min, max) else { return default };
    if value.subsec_nanos() % 10_000_000 != 0 {
        r.wrong(entry, format_args!("is no multiple of 0.01 seconds: 0.01 to 40.95"));
        return default;
    }
    value
}

fn auth(r: &mut Reader<'_, '_>, version: Option<Version>) -> Auth {
    let (kind, pass) = (r.entry("auth_type"), r.entry("auth_pass"));
    match kind {
        Some(entry) if entry.value == "AH" => r.wrong(entry, format_args!("{UNSUPPORTED}: PASS")),
        _ => {
            r.choice("auth_type", "PASS");
        }
    }
    if version == Some(Version::V3) {
        for entry in [kind, pass].into_iter().flatten() {
            let text =
                format_args!("`{}` does not go with version 3, which has none: leave it out", entry.key);
            r.report.error(entry.line, text);
        }
    } else if let Some(entry) = kind
        && !r.has("auth_pass")
    {
        r.report.error(entry.line, format_args!("`auth_type` needs a password: auth_pass = SECRET"));
    } else if let Some(entry) = pass
        && !r.has("auth_type")
    {
        r.report.error(entry.line, format_args!("`auth_pass` needs `auth_type`: auth_type = PASS"));
    }
    let Some(pass) = pass else { return Auth::None };
    let octets = pass.value.len();
    if octets > 8 {
        let text = format_args!("`auth_pass` has {octets} octets: only the first 8 count");
        r.report.warning(pass.line, text);
    }
    let mut key = [0; 8];
    for (to, from) in key.iter_mut().zip(pass.value.bytes()) {
        *to = from;
    }
    Auth::Pass(key)
}

fn track_haproxy(r: &mut Reader<'_, '_>, haproxy: bool) -> bool {
    if let Some(entry) = r.entry("track_haproxy")
        && entry.value.split([' ', '\t']).next() == Some("weight")
    {
        r.wrong(entry, format_args!("{UNSUPPORTED}: yes or no"));
        return haproxy;
    }
    let track = r.boolean("track_haproxy", haproxy);
    if track && !haproxy {
        let line = r.line("track_haproxy");
        r.report.error(
            line,
            format_args!("track_haproxy = yes needs a [haproxy] section: add one, or set it to no"),
        );
    }
    track
}

fn lease(r: &mut Reader<'_, '_>, advert_int: Duration, adverts: u32, priority: u8) -> Lease {
    let Some(entry) = r.entry("lease") else { return Lease::Auto };
    // The owner's addresses are permanent in any case.
    let leased = priority != 255;
    match entry.value {
        "auto" => return Lease::Auto,
        "off" => {
            if leased {
                let text = format_args!(
                    "lease = off: if vipd is killed, the addresses stay on this node while another takes over"
                );
                r.report.warning(entry.line, text);
            }
            return Lease::Off;
        }
        _ => {}
    }
    match digits(entry.value) {
        Some(value @ 1..=3600) => {
            let patience = advert_int.saturating_mul(adverts);
            let value = u32::try_from(value).unwrap_or(1);
            if leased && crate::lease::fresh(value, advert_int, patience).is_none() {
                let safe = crate::lease::auto(advert_int, patience);
                let text = format_args!(
                    "lease = {value} seconds: the address may outlive the takeover; auto is {safe}"
                );
                r.report.warning(entry.line, text);
            }
            Lease::Seconds(value)
        }
        found => {
            let wrong = if found.is_some() { "out of range" } else { "not known" };
            let hint = Hint(nearest(entry.value, &["auto, off"]));
            r.wrong(entry, format_args!("is {wrong}: auto, off, or 1 to 3600 whole seconds{hint}"));
            Lease::Auto
        }
    }
}

fn mcast_src_ip(r: &mut Reader<'_, '_>, vips: &[Vip], priority: u8) -> Option<Ipv4Addr> {
    let entry = r.entry("mcast_src_ip")?;
    let addr = address(r, entry.line, "mcast_src_ip", entry.value)?;
    // Only the owner has a VIP of its own; any other receiver discards such adverts.
    if priority != 255 && vips.iter().any(|vip| vip.addr == IpAddr::V4(addr)) {
        r.wrong(entry, format_args!("is a virtual address: take one that this node always has"));
    }
    Some(addr)
}

fn vips(r: &mut Reader<'_, '_>, interface: &str, version: Option<Version>) -> (Vec<Vip>, Vec<u32>) {
    let list = r.list("virtual_ipaddress");
    let title = r.section;
    let count = list.len();
    if let Some(&(line, _)) = list.get(255) {
        let text =
            format_args!("{title} has {count} virtual addresses: at most 255, the rest in another one");
        r.report.error(line, text);
    } else if let Some(&(line, _)) = list.get(20)
        && version == Some(Version::V2)
    {
        let text =
            format_args!("{title} has {count} virtual addresses: keepalived takes at most 20 with version 2");
        r.report.warning(line, text);
    }
    let (mut vips, mut lines) = (Vec::new(), Vec::new());
    for (line, text) in list {
        if let Some(vip) = vip(r, line, text, interface) {
            vips.push(vip);
            lines.push(line);
        }
    }
    (vips, lines)
}

/// `ADDR[/LEN] [dev IF] [label IF:TAG]`
fn vip(r: &mut Reader<'_, '_>, line: u32, text: &str, interface: &str) -> Option<Vip> {
    const KEY: &str = "virtual_ipaddress";
    let mut words = words(text);
    let first = words.next()?;
    let (addr, length) = first.split_once('/').unwrap_or((first, "32"));
    let addr = address(r, line, KEY, addr);
    let prefix = digits(length).filter(|n| (1..=32).contains(n)).and_then(|n| u8::try_from(n).ok());
    if prefix.is_none() && addr.is_some() {
        r.report.error(line, format_args!("{KEY}: the prefix length of {} is not 1 to 32", Shown(first)));
    }
    let (mut dev, mut label) = (None, None);
    let mut good = true;
    while let Some(word) = words.next() {
        let place = match word {
            "dev" => &mut dev,
            "label" => &mut label,
            _ => {
                let word = Shown(word);
                r.report.error(line, format_args!("{KEY}: `{word}` does not belong there: {VIP_FORM}"));
                return None;
            }
        };
        let value = words.next();
        if value.is_none() || place.is_some() {
            let wrong = if value.is_none() { "has no value" } else { "is there twice" };
            r.report.error(line, format_args!("{KEY}: `{word}` {wrong}: {VIP_FORM}"));
            return None;
        }
        *place = value;
    }
    if let Some(name) = dev {
        good = device(r, line, "virtual_ipaddress: dev", name);
    }
    let on = dev.unwrap_or(interface);
    // Without a good device the label cannot be judged.
    if let Some(label) = label
        && good
        && !on.is_empty()
    {
        let tag = label.strip_prefix(on).and_then(|rest| rest.strip_prefix(':')).unwrap_or("");
        if tag.is_empty() || label.len() > 15 {
            good = false;
            let text =
                format_args!("{KEY}: label {} is not `{}:TAG` of at most 15 octets", Shown(label), Shown(on));
            r.report.error(line, text);
        }
    }
    if !good {
        return None;
    }
    Some(Vip {
        addr: IpAddr::V4(addr?),
        prefix: prefix?,
        dev: dev.filter(|&name| name != interface).map(str::to_owned),
        label: label.map(str::to_owned),
    })
}

/// An IPv4 address that a host can have.
fn address(r: &mut Reader<'_, '_>, line: u32, key: &str, text: &str) -> Option<Ipv4Addr> {
    let Ok(addr) = text.parse::<Ipv4Addr>() else {
        let v6 = text.contains(':') && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
        let wrong =
            if v6 { "IPv6 addresses are not supported by this version" } else { "it is no IPv4 address" };
        r.report.error(line, format_args!("{key}: {}: {wrong}, e.g. 192.0.2.10", Shown(text)));
        return None;
    };
    let wrong = match addr.octets() {
        [0, 0, 0, 0] => "the unspecified address",
        [127, ..] => "a loopback address",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        _ => return Some(addr),
    };
    r.report.error(line, format_args!("{key}: {addr} is {wrong}: take one that a host can have"));
    None
}

/// Whether a name can be that of a network device, as the kernel sees it; reports it if it cannot.
fn device(r: &mut Reader<'_, '_>, line: u32, key: &str, name: &str) -> bool {
    let odd = name.contains(['/', ':', ' ', '\t']);
    let good = !odd && name.len() <= 15 && !matches!(name, "" | "." | "..");
    if !good {
        let name = Shown(name);
        r.report.error(
            line,
            format_args!(
                "{key} = {name} is no interface name: 1 to 15 octets without `/`, `:` and white space"
            ),
        );
    }
    good
}
