//! `[vrrp NAME]`

use super::peers::{self, Own};
use super::reader::{Keys, Reader, digits};
use super::vips::{self, ADVERTISED, EXCLUDED, Listed, Place, device};
use super::{Names, auth, notify, track};
use crate::config::ini::Section;
use crate::config::report::{Hint, Report, nearest};
use crate::config::{Auth, Garp, HmacMode, Lease, Line, Version, Vrrp};
use std::rc::Rc;
use std::time::Duration;

/// Most IPv6 addresses of an advert without fragments on Ethernet: 1500 = 40 + 8 + 16 × 90 + 12.
const MAX_IPV6_VIPS: usize = 90;
/// Most of one with a trailer, as keepalived reckons: (1500 - 14 - 40 - 8 - 28) / 16.
const MAX_SIGNED_IPV6_VIPS: usize = 88;

/// The keys of a `[vrrp NAME]`.
pub const KEYS: Keys = Keys {
    title: "[vrrp NAME]",
    once: "\
        interface, virtual_router_id, priority, state, version, advert_int, preempt, \
        preempt_delay, down_timer_adverts, auth_type, auth_pass, auth_hmac_active_key, \
        auth_hmac_anti_replay, auth_hmac_time_window, auth_hmac_mode, mcast_src_ip, unicast_src_ip, \
        v3_checksum_as_v2, track_haproxy, use_vmac, vmac_xmit_base, dont_track_primary, \
        garp_master_delay, garp_master_repeat, garp_master_refresh, \
        garp_master_refresh_repeat, garp_lower_prio_delay, garp_lower_prio_repeat, \
        garp_interval, lease, accept, make_before_break, handover_timeout, notify, notify_master, \
        notify_backup, notify_fault, notify_stop",
    lists: "\
        virtual_ipaddress, virtual_ipaddress_excluded, unicast_peer, allowed_peers, \
        track_interface, track, auth_hmac_key",
};

/// An instance with the lines that the checks over the whole file name.
pub struct Router {
    /// The instance. What was wrong has its default; `interface` is empty and `vrid` is 0 then.
    pub vrrp: Rc<Vrrp>,
    /// Line of `virtual_router_id`.
    pub vrid_line: u32,
    /// Line of `handover_timeout`, or of the section.
    pub handover_line: u32,
    /// Line of each of `vrrp.vips`.
    pub vip_lines: Vec<u32>,
    /// Line of each of `vrrp.excluded`.
    pub excluded_lines: Vec<u32>,
    /// Whether its addresses are IPv6, even if they are wrong.
    pub ipv6: bool,
}

/// Reads a section.
pub fn read(section: &Section<'_>, all: &[&Keys], names: &Names<'_>, report: &mut Report) -> Router {
    let mut r = Reader::open(section, &KEYS, all, report);
    r.require("interface", "eth0");
    r.require("virtual_router_id", "51");
    r.require("virtual_ipaddress", "192.0.2.10/24");
    let interface = match r.entry("interface") {
        Some(entry) if device(&mut r, entry.line, format_args!("interface"), entry.value) => entry.value,
        _ => "",
    };
    if let Some(state) = r.choice("state", "MASTER, BACKUP") {
        let state = if state == 0 { "MASTER" } else { "BACKUP" };
        r.warning("state", format_args!("state = {state} has no effect: priority and preempt decide"));
    }
    let list = r.list(ADVERTISED);
    let ipv6 = vips::is_ipv6(&list);
    let is_ipv6 = ipv6 == Some(true);
    // What depends on the version is checked only if that is known.
    let version = match r.choice("version", "2, 3") {
        Some(0) if is_ipv6 => {
            r.error("version", format_args!("version = 2 has no IPv6 addresses: set version = 3"));
            None
        }
        Some(0) => Some(Version::V2),
        Some(_) => Some(Version::V3),
        None if r.has("version") => None,
        None if is_ipv6 => Some(Version::V3),
        None => Some(Version::V2),
    };
    let advert_int = advert_int(&mut r, version);
    let down_timer_adverts = r.number("down_timer_adverts", 1, 100, 3);
    if down_timer_adverts != 3 {
        let text = "is not the usual 3: it must be the same on every node of the virtual router";
        r.warning("down_timer_adverts", format_args!("down_timer_adverts = {down_timer_adverts} {text}"));
    }
    let auth = auth::read(&mut r, names, version, advert_int);
    let priority = octet(r.number("priority", 1, 255, 100));
    let vrid = octet(r.number("virtual_router_id", 1, 255, 0));
    let vmac = vmac(&mut r, priority);
    let mut place = Place { interface, ipv6, vmac: vmac.is_some() };
    count(&mut r, &list, version);
    let mut advertised = vips::read(&mut r, ADVERTISED, list, &place);
    if is_ipv6 {
        let signs = matches!(&auth, Auth::Hmac(hmac) if hmac.mode != HmacMode::ReceiveOnly);
        let most = if signs { MAX_SIGNED_IPV6_VIPS } else { MAX_IPV6_VIPS };
        link_local(&mut r, &mut advertised, vrid, priority, most);
    }
    place.ipv6 = None;
    let list = r.list(EXCLUDED);
    let excluded = vips::read(&mut r, EXCLUDED, list, &place);
    let held = advertised.vips.iter().chain(&excluded.vips).collect();
    let peers = peers::read(&mut r, &Own { vips: held, ipv6, priority, interface });
    let track_haproxy = track::haproxy(&mut r, names.sections.iter().any(|s| s.kind == "haproxy"));
    let track_interfaces = track::interfaces(&mut r, interface);
    let track_checks = track::checks(&mut r, names);
    if priority == 255 {
        track::owner(&mut r, track_haproxy);
    }
    let v3_checksum_as_v2 = r.boolean("v3_checksum_as_v2", false);
    if v3_checksum_as_v2 && (is_ipv6 || version == Some(Version::V2)) {
        let (with, advice) =
            if is_ipv6 { ("IPv6", "leave it out") } else { ("version 2", "set version = 3") };
        r.error("v3_checksum_as_v2", format_args!("v3_checksum_as_v2 has no meaning with {with}: {advice}"));
    }
    let each = Duration::from_millis(20 * (advertised.vips.len() + excluded.vips.len()) as u64);
    let handover = advert_int.saturating_mul(down_timer_adverts + 1).max(each).min(Duration::from_secs(5));
    let vrrp = Rc::new(Vrrp {
        name: section.name.to_owned(),
        line: Line(section.line),
        interface: interface.to_owned(),
        vrid,
        priority,
        version: version.unwrap_or(Version::V2),
        advert_int,
        preempt: r.boolean("preempt", true),
        preempt_delay: r.duration("preempt_delay", 0, 1_000_000, 0),
        down_timer_adverts,
        auth,
        vips: advertised.vips,
        excluded: excluded.vips,
        src_ip: peers.src_ip,
        unicast_peers: peers.unicast,
        allowed_peers: peers.allowed,
        v3_checksum_as_v2,
        track_haproxy,
        track_interfaces,
        track_checks,
        notify: notify::command(&mut r, "notify").unwrap_or_default(),
        state_hooks: notify::state_hooks(&mut r),
        use_vmac: vmac.is_some(),
        vmac_xmit_base: vmac == Some(true),
        dont_track_primary: r.boolean("dont_track_primary", false),
        garp: Garp {
            master_delay: r.duration("garp_master_delay", 0, 3_600_000, 5_000),
            master_repeat: r.number("garp_master_repeat", 1, 100, 5),
            master_refresh: r.duration("garp_master_refresh", 0, 86_400_000, 60_000),
            master_refresh_repeat: r.number("garp_master_refresh_repeat", 1, 100, 1),
            lower_prio_delay: r.duration("garp_lower_prio_delay", 0, 3_600_000, 5_000),
            lower_prio_repeat: r.number("garp_lower_prio_repeat", 0, 100, 5),
            interval: r.duration("garp_interval", 10, 10_000, 100),
        },
        lease: lease(&mut r, advert_int, down_timer_adverts, priority),
        accept: r.boolean("accept", true),
        make_before_break: r.boolean("make_before_break", true),
        handover_timeout: r.optional_duration("handover_timeout", 10, 3_600_000).unwrap_or(handover),
    });
    Router {
        vrrp,
        vrid_line: r.line("virtual_router_id"),
        handover_line: r.line("handover_timeout"),
        vip_lines: advertised.lines,
        excluded_lines: excluded.lines,
        ipv6: is_ipv6,
    }
}

fn octet(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(0)
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
                "is not a whole number of seconds, as version 2 has them: 1 to 255, or set version = 3"
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
        r.wrong(entry, format_args!("is not a multiple of 0.01 seconds: 0.01 to 40.95"));
        return default;
    }
    value
}

/// `use_vmac` and `vmac_xmit_base`: `None` without a virtual MAC, else whether adverts go without it.
fn vmac(r: &mut Reader<'_, '_>, priority: u8) -> Option<bool> {
    let (vmac, base) = (r.boolean("use_vmac", false), r.boolean("vmac_xmit_base", false));
    if !vmac {
        if base {
            let text = format_args!("vmac_xmit_base = yes needs use_vmac = yes: set it, too");
            r.error("vmac_xmit_base", text);
        }
        return None;
    }
    if priority == 255 {
        let text =
            format_args!("use_vmac does not go with priority = 255: leave it out, or set priority = 254");
        r.error("use_vmac", text);
    }
    // Unicast needs a source address and answers to ARP, and the macvlan has neither.
    if !base && r.entry("unicast_peer").is_some() {
        let text = format_args!(
            "use_vmac with unicast_peer needs vmac_xmit_base = yes: adverts go out of the interface"
        );
        r.error("use_vmac", text);
    }
    Some(base)
}

fn lease(r: &mut Reader<'_, '_>, advert_int: Duration, adverts: u32, priority: u8) -> Lease {
    let Some(entry) = r.entry("lease") else { return Lease::Auto };
    // The owner's addresses are permanent in any case.
    let leased = priority != 255;
    match entry.value {
        "auto" => return Lease::Auto,
        "fence" => return Lease::Fence,
        "address" => return Lease::Address,
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
            let min_down_interval = advert_int.saturating_mul(adverts);
            let value = u32::try_from(value).unwrap_or(1);
            if leased && crate::config::lease::fresh(value, advert_int, min_down_interval).is_none() {
                let text = format_args!(
                    "lease = {value}: the address may outlive the takeover; write `lease = auto`"
                );
                r.report.warning(entry.line, text);
            }
            Lease::Seconds(value)
        }
        found => {
            let wrong = if found.is_some() { "out of range" } else { "not one of" };
            let hint = Hint(nearest(entry.value, &["auto", "fence", "address", "off"]));
            r.wrong(
                entry,
                format_args!("is {wrong}: auto, fence, address, off, or 1 to 3600 whole seconds{hint}"),
            );
            Lease::Auto
        }
    }
}

/// Reports a list that no advert can hold, or that others may not take.
fn count(r: &mut Reader<'_, '_>, list: &[(u32, &str)], version: Option<Version>) {
    let (title, count) = (r.section, list.len());
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
}

/// The first of IPv6 addresses, see [`vips::link_local_first`].
fn link_local(r: &mut Reader<'_, '_>, listed: &mut Listed, vrid: u8, priority: u8, most: usize) {
    let line = r.line(ADVERTISED);
    let before = listed.vips.len();
    vips::link_local_first(listed, line, vrid);
    let (title, count) = (r.section, listed.vips.len());
    if count > before && priority == 255 {
        let text = format_args!(
            "priority = 255 with IPv6 needs the link-local address of the interface in {ADVERTISED}"
        );
        r.error(ADVERTISED, text);
    } else if count > before
        && let Some(first) = listed.vips.first()
    {
        let text = format_args!(
            "{ADVERTISED} has no link-local address, so {} comes first: a keepalived must list it, too",
            first.addr
        );
        r.warning(ADVERTISED, text);
    }
    if count == 256 && before == 255 {
        let text = format_args!("{title} has 255 virtual addresses and none is link-local: at most 254 then");
        r.error(ADVERTISED, text);
    } else if count > most {
        let text = format_args!(
            "{title} has {count} virtual addresses, the link-local one included: an advert of more than {most} does not fit into 1500 octets, the rest may go to {EXCLUDED}"
        );
        r.warning(ADVERTISED, text);
    }
}
