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
    // A key that is added there must be thought of here.
    let Vrrp {
        // Other names and addresses are told apart; these make another virtual router.
        name: _,
        line: _,
        vips: _,
        excluded: _,
        interface: _,
        vrid: _,
        version: _,
        use_vmac: _,
        vmac_xmit_base: _,
        priority,
        advert_int,
        preempt,
        preempt_delay,
        down_timer_adverts,
        auth,
        src_ip,
        unicast_peers,
        allowed_peers,
        v3_checksum_as_v2,
        track_haproxy,
        track_interfaces,
        track_checks: _,
        garp,
        lease,
        make_before_break,
        handover_timeout,
    } = a;
    fn tracks<'a>((c, v): (&'a Config, &'a Vrrp)) -> impl Iterator<Item = (Option<&'a str>, super::Track)> {
        v.track_checks.iter().map(|t| (c.checks.get(t.check).map(|c| c.name.as_str()), t.track))
    }
    named(&[
        ("priority", *priority != b.priority),
        ("advert_int", *advert_int != b.advert_int),
        ("preempt", *preempt != b.preempt),
        ("preempt_delay", *preempt_delay != b.preempt_delay),
        ("down_timer_adverts", *down_timer_adverts != b.down_timer_adverts),
        ("authentication", *auth != b.auth),
        ("source address", *src_ip != b.src_ip),
        ("unicast_peer", *unicast_peers != b.unicast_peers),
        ("allowed_peers", *allowed_peers != b.allowed_peers),
        ("v3_checksum_as_v2", *v3_checksum_as_v2 != b.v3_checksum_as_v2),
        ("track_haproxy", *track_haproxy != b.track_haproxy),
        ("track_interface", *track_interfaces != b.track_interfaces),
        ("track", !tracks(old).eq(tracks(new))),
        ("garp", *garp != b.garp),
        ("lease", *lease != b.lease),
        ("make_before_break", *make_before_break != b.make_before_break),
        ("handover_timeout", *handover_timeout != b.handover_timeout),
    ])
}

/// The keys of `[global]` that changed and can be taken up.
pub fn global(a: &Global, b: &Global) -> Vec<&'static str> {
    let Global {
        // Another one needs a restart: it has the lock.
        control_socket: _,
        router_id,
        log,
        log_level,
        log_facility,
        startup_delay,
        realtime_priority,
        lock_memory,
    } = a;
    named(&[
        ("router_id", *router_id != b.router_id),
        ("log", *log != b.log),
        ("log_level", *log_level != b.log_level),
        ("log_facility", *log_facility != b.log_facility),
        ("realtime_priority", *realtime_priority != b.realtime_priority),
        ("lock_memory", *lock_memory != b.lock_memory),
        ("startup_delay (from the next start on)", *startup_delay != b.startup_delay),
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

fn named(all: &[(&'static str, bool)]) -> Vec<&'static str> {
    all.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    fn one(more: &str) -> Config {
        let text = format!(
            "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nversion = 3\n\
             virtual_ipaddress = 192.168.30.230/24\n{more}\n"
        );
        schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0
    }

    #[test]
    fn every_key_is_named() {
        let before = one("");
        for (more, key) in [
            ("priority = 7", "priority"),
            ("advert_int = 2", "advert_int"),
            ("preempt = no", "preempt"),
            ("preempt_delay = 2", "preempt_delay"),
            ("down_timer_adverts = 4", "down_timer_adverts"),
            ("mcast_src_ip = 192.168.30.1", "source address"),
            ("allowed_peers = 192.168.30.1", "allowed_peers"),
            ("v3_checksum_as_v2 = yes", "v3_checksum_as_v2"),
            ("track_interface = eth1", "track_interface"),
            ("garp_master_delay = 2", "garp"),
            ("lease = 3", "lease"),
            ("make_before_break = no", "make_before_break"),
            ("handover_timeout = 1", "handover_timeout"),
        ] {
            let after = one(more);
            let (a, b) = (&before.vrrp[0], &after.vrrp[0]);
            let keys = vrrp((&before, a), (&after, b));
            assert!(keys.contains(&key), "{more}: {keys:?}");
            assert!(is_same_router(a, b), "{more}");
        }
    }

    #[test]
    fn what_makes_another_virtual_router() {
        let before = one("");
        for more in ["use_vmac = yes", "unicast_peer = 192.168.30.1", "priority = 255"] {
            assert!(!is_same_router(&before.vrrp[0], &one(more).vrrp[0]), "{more}");
        }
        for change in [
            |v: &mut Vrrp| v.vrid = 52,
            |v: &mut Vrrp| v.interface = "eth1".to_owned(),
            |v: &mut Vrrp| v.version = crate::config::Version::V2,
            |v: &mut Vrrp| v.vips[0].addr = [0u16; 8].into(),
        ] {
            let mut other = before.vrrp[0].clone();
            change(&mut other);
            assert!(!is_same_router(&before.vrrp[0], &other));
        }
    }

    #[test]
    fn checks_are_told_by_name() {
        let check =
            |n: &str, more: &str| format!("[check {n}]\ntype = ping\ntarget = 192.168.30.1\n{more}\n");
        let a = one(&(check("a", "") + &check("b", "") + &check("c", "")));
        let b = one(&(check("d", "") + &check("b", "fall = 9") + &check("a", "")));
        let all: Vec<_> = checks(&a.checks, &b.checks).collect();
        assert_eq!(all, [("d", "new"), ("b", "changed"), ("c", "removed")]);
        // Another order of the sections is no other tracking.
        let track = |text: String| one(&format!("track = a, b\n{text}"));
        let (a, b) = (track(check("a", "") + &check("b", "")), track(check("b", "") + &check("a", "")));
        assert_eq!(vrrp((&a, &a.vrrp[0]), (&b, &b.vrrp[0])), Vec::<&str>::new());
    }
}
