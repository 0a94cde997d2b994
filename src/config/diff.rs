//! The difference of two configurations, as far as it is to be told. What follows from it is the node's.

use super::{Check, Config, Global, Haproxy, Vrrp};

/// Whether two sections are one virtual router to its peers, so that one may become the other in place. Its name is
/// not among what makes it one; nor are its addresses.
pub fn is_same_router(a: &Vrrp, b: &Vrrp) -> bool {
    let key = |v: &Vrrp| {
        (
            (v.vrid, v.version as u8, v.is_ipv6(), v.priority == 255),
            (v.unicast_peers.is_empty(), v.use_vmac, v.vmac_xmit_base),
        )
    };
    a.interface == b.interface && key(a) == key(b)
}

/// The keys of a virtual router that changed, but for its addresses. What it tracks is compared by name.
pub fn vrrp(old: (&Config, &Vrrp), new: (&Config, &Vrrp)) -> Vec<&'static str> {
    let (a, b) = (old.1, new.1);
    fn tracks<'a>((c, v): (&'a Config, &'a Vrrp)) -> impl Iterator<Item = (Option<&'a str>, super::Track)> {
        v.track_checks.iter().map(|t| (c.checks.get(t.check).map(|c| c.name.as_str()), t.track))
    }
    named([
        ("priority", a.priority != b.priority),
        ("advert_int", a.advert_int != b.advert_int),
        ("preempt", a.preempt != b.preempt),
        ("preempt_delay", a.preempt_delay != b.preempt_delay),
        ("down_timer_adverts", a.down_timer_adverts != b.down_timer_adverts),
        ("authentication", a.auth != b.auth),
        ("source address", a.src_ip != b.src_ip),
        ("unicast_peer", a.unicast_peers != b.unicast_peers),
        ("allowed_peers", a.allowed_peers != b.allowed_peers),
        ("v3_checksum_as_v2", a.v3_checksum_as_v2 != b.v3_checksum_as_v2),
        ("track_haproxy", a.track_haproxy != b.track_haproxy),
        ("track_interface", a.track_interfaces != b.track_interfaces),
        ("track", !tracks(old).eq(tracks(new))),
        ("garp", a.garp != b.garp),
        ("lease", a.lease != b.lease),
        ("make_before_break", a.make_before_break != b.make_before_break),
        ("handover_timeout", a.handover_timeout != b.handover_timeout),
    ])
}

/// The keys of `[global]` that changed and can be taken up.
pub fn global(a: &Global, b: &Global) -> Vec<&'static str> {
    named([
        ("router_id", a.router_id != b.router_id),
        ("log", a.log != b.log),
        ("log_level", a.log_level != b.log_level),
        ("log_facility", a.log_facility != b.log_facility),
        ("realtime_priority", a.realtime_priority != b.realtime_priority),
        ("lock_memory", a.lock_memory != b.lock_memory),
        ("startup_delay (from the next start on)", a.startup_delay != b.startup_delay),
    ])
}

/// Whether another command line is needed: HAProxy must be replaced, not reloaded.
pub fn is_same_command(a: &Haproxy, b: &Haproxy) -> bool {
    a.binary == b.binary && a.config == b.config && a.args == b.args && a.keep_listeners == b.keep_listeners
}

/// The checks that are new, changed, or gone, with a word for which.
pub fn checks<'a>(old: &'a [Check], new: &'a [Check]) -> impl Iterator<Item = (&'a str, &'static str)> {
    let find = |all: &'a [Check], name: &str| all.iter().find(|c| c.name == name);
    let changed = move |c: &'a Check| match find(old, &c.name) {
        None => Some((c.name.as_str(), "new")),
        Some(o) if o != c => Some((c.name.as_str(), "changed")),
        _ => None,
    };
    let gone = move |c: &&Check| find(new, &c.name).is_none();
    new.iter().filter_map(changed).chain(old.iter().filter(gone).map(|c| (c.name.as_str(), "removed")))
}

fn named<const N: usize>(all: [(&'static str, bool); N]) -> Vec<&'static str> {
    all.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect()
}
