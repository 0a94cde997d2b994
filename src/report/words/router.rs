//! Lines about virtual routers, sync groups and adverts.

use super::{Out, errno, faults, group_state, hmac, link, names, say, state, why};
use crate::vrrp::faults::Faults;
use crate::vrrp::foreign::Other;
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Note, Resigned, Why};
use crate::vrrp::packet::{Discard, Notes};
use crate::wire::auth_trailer;
use log::Level::{self, Debug, Error, Info, Warn};
use std::net::IpAddr;
use std::time::Duration;

/// A line about a router; its value is the level.
macro_rules! line {
    ($out:expr, $level:expr, $router:expr, $($arg:tt)*) => {{
        $out.router($router);
        say!($out, $level, $($arg)*)
    }};
}

pub(super) fn entered(out: &mut Out, router: usize, kind: Kind, w: Why) -> Level {
    match (kind, w) {
        (Kind::Master, w) => {
            line!(out, Info, router, "Transition to MASTER STATE ({})\n", why(w));
            out.fixed(Info, router, "Entering MASTER STATE")
        }
        (Kind::Backup, w) => line!(out, Info, router, "Entering BACKUP STATE ({})", why(w)),
        (Kind::Init, Why::Left) => out.fixed(Info, router, "Leaving"),
        (Kind::Init, _) => out.fixed(Info, router, "Entering FAULT STATE"),
    }
}

pub(super) fn fault(out: &mut Out, router: usize, f: Faults) -> Level {
    let level = if f.is_pending() { Info } else { Warn };
    line!(out, level, router, "Now in {} state: {}", state(Kind::Init, f), faults(f))
}

pub(super) fn group(out: &mut Out, group: usize, state: group::State) -> Level {
    let name = out.node.groups.get(group).map_or("?", |g| g.name.as_str());
    let state = group_state(state);
    say!(
        out,
        Info,
        "VRRP_Group({name}) Syncing instances to {state} state\n\
         VRRP_Group({name}) Transition to {state} STATE"
    )
}

pub(super) fn noted(out: &mut Out, router: usize, note: &Note) -> Level {
    match note {
        Note::HigherAdvert(m) => {
            line!(out, Info, router, "Received higher prio advert {} from {}", m.priority, m.src)
        }
        Note::LowerAdvert(m) => {
            let (priority, src) = (m.priority, m.src);
            line!(out, Info, router, "Received lower prio advert {priority} from {src}, forcing new election")
        }
        Note::MasterGone(m) => line!(out, Info, router, "Master {} sent priority 0", m.src),
        Note::StrangerGone(src) => {
            line!(out, Debug, router, "Ignoring priority 0 from {src}: not the master")
        }
        Note::SecondOwner(m) => {
            line!(out, Error, router, "{} also claims to be the owner of the addresses", m.src)
        }
    }
}

/// Three lines, as keepalived's.
pub(super) fn discarded(out: &mut Out, router: usize, src: IpAddr, why: Discard, detail: i32) -> Level {
    if why == Discard::OwnSource {
        return line!(out, Warn, router, "received an advert from our own address {src}");
    }
    out.router(router);
    if !hmac::refused(out, router, src, why, detail) {
        refused(out, router, src, why, detail);
    }
    let dev = out.node.routers.get(router).map_or("?", |r| link(out.node, r.link));
    write!(out, "\nbogus VRRP packet received on {dev} !!!\n");
    out.fixed(Warn, router, "ignoring received advertisment...")
}

/// Why an advert is refused.
fn refused(out: &mut Out, router: usize, src: IpAddr, why: Discard, detail: i32) {
    match why {
        Discard::AuthPass => write!(out, "received an invalid passwd from {src}!"),
        Discard::AuthType => {
            write!(out, "received an advert from {src} with another authentication type")
        }
        Discard::AuthIcv => write!(
            out,
            "IPSEC-AH : invalid IPSEC HMAC-MD5 value from {src}. Due to fields mutation or bad password !"
        ),
        Discard::AuthReplay => write!(
            out,
            "IPSEC-AH : sequence number already processed from {src}: a replay, or it was restarted"
        ),
        Discard::Version => write!(out, "received an advert from {src} with another VRRP version"),
        Discard::Destination => {
            write!(out, "received an advert from {src} by multicast instead of unicast, or the reverse")
        }
        Discard::UnknownPeer => {
            write!(out, "received an advert from {src}, which is not one of the peers")
        }
        Discard::Interval => {
            let mine = out.node.routers.get(router).map_or(0, |r| r.cfg.advert_int.as_secs());
            write!(out, "advertisement interval mismatch mine={mine} sec rcved={detail} sec from {src}")
        }
        Discard::Length if detail == i32::from(auth_trailer::LEN) => write!(
            out,
            "invalid advert from {src}: length: {detail} octets too long: it is signed by auth_hmac, which is not set here"
        ),
        other => write!(out, "invalid advert from {src}: {}", other.name()),
    }
}

pub(super) fn bogus(out: &mut Out, l: usize, src: Option<IpAddr>, why: Discard) -> Level {
    write!(out, "bogus VRRP packet received on {} !!! ({}", link(out.node, l), why.name());
    if let Some(src) = src {
        write!(out, ", from {src}");
    }
    // keepalived sends IPv6 unicast with hop limit 64.
    let hint = if why == Discard::Ttl { ": not 255, by a router or keepalived's unicast_ttl" } else { "" };
    say!(out, Warn, "{hint})")
}

pub(super) fn odd(out: &mut Out, router: usize, src: IpAddr, notes: &Notes) -> Level {
    if notes.clock_skew != 0 {
        hmac::skew(out, router, src, notes.clock_skew)
    } else if notes.address_count_differs {
        line!(
            out,
            Warn,
            router,
            "receive an invalid ip number count associated with VRID from {src}: \
             one or more VIP associated with VRID mismatch actual MASTER advert"
        )
    } else if notes.address_list_differs {
        line!(
            out,
            Warn,
            router,
            "ip address associated with VRID not present in received packet from {src}: \
             one or more VIP associated with VRID mismatch actual MASTER advert"
        )
    } else if notes.interval_differs {
        line!(out, Info, router, "{src} has another advert_int, which is adopted while it is master")
    } else {
        line!(out, Warn, router, "the first address that {src} advertises is not link-local")
    }
}

pub(super) fn unknown_vrid(out: &mut Out, l: usize, vrid: u8, src: IpAddr, vip: Option<usize>) -> Level {
    let dev = link(out.node, l);
    let Some(vip) = vip.and_then(|e| out.node.addrs.entries.get(e)) else {
        return say!(out, Info, "advert with VRID {vrid} from {src} on {dev}: no router here has that VRID");
    };
    writeln!(out, "bogus VRRP packet received on {dev} !!!");
    let (addr, dev) = (vip.addr, link(out.node, vip.link));
    line!(
        out,
        Error,
        vip.router,
        "{src} advertises {addr} on {dev} with VRID {vrid}: two masters, or a wrong virtual_router_id"
    )
}

pub(super) fn second_master(out: &mut Out, router: usize, other: &Other) -> Level {
    let (src, priority) = (other.src, other.priority);
    line!(out, Error, router, "split brain: {src} is also master, with priority {priority}");
    match other.refused {
        Some(why) => say!(out, Error, "; its adverts are refused ({})", why.name()),
        None => Error,
    }
}

pub(super) fn second_gone(out: &mut Out, router: usize, src: IpAddr, lasted: Duration, over: bool) -> Level {
    let s = lasted.as_secs();
    if over {
        return line!(out, Warn, router, "the split brain with {src} is over after {s} s");
    }
    line!(out, Warn, router, "no longer hears {src}, which was also master for {s} s")
}

pub(super) fn hand_over(out: &mut Out, router: usize, timeout: &Duration) -> Level {
    let ms = names::ms(timeout);
    line!(out, Info, router, "keeping protocol VIPs until the successor has them, at most {ms} ms")
}

pub(super) fn send_failed(out: &mut Out, router: usize, to: IpAddr, e: i32) -> Level {
    let hint = match e {
        libc::EPERM => " (a firewall drops protocol 112 or 51, or CAP_NET_RAW is missing)",
        _ => "",
    };
    line!(out, Warn, router, "cannot send adverts to {to}: {}{hint}", errno(e))
}

pub(super) fn stalled(out: &mut Out, router: usize, silence: &Duration) -> Level {
    line!(
        out,
        Warn,
        router,
        "no advert went out for {} ms, longer than a backup waits: giving up mastership",
        names::ms(silence)
    )
}

pub(super) fn priority(out: &mut Out, router: usize, from: u8, to: u8) -> Level {
    line!(out, Info, router, "Changing effective priority from {from} to {to}")
}

pub(super) fn resigned(out: &mut Out, router: usize, how: Resigned) -> Level {
    let level = if let Resigned::Nobody(_) = how { Warn } else { Info };
    out.fixed(level, router, &names::resigned(how))
}
