//! Lines about signed adverts, in keepalived's phrases, and about the clock that they need.

use super::{Out, say};
use crate::vrrp::packet::Discard;
use log::Level::{self, Error, Warn};
use std::net::IpAddr;
use std::time::Duration;

/// Why a signed advert is refused; `false`: for a reason that is not about signatures.
pub(super) fn refused(out: &mut Out, router: usize, src: IpAddr, why: Discard, detail: i32) -> bool {
    match why {
        Discard::HmacMissing => write!(out, "missing authentication trailer from {src}"),
        Discard::HmacMalformed => write!(out, "malformed authentication trailer from {src}"),
        Discard::HmacUnknownKey => write!(out, "unknown authentication key id {detail} from {src}"),
        Discard::HmacInvalid => write!(out, "invalid authentication HMAC from {src}"),
        Discard::HmacStale => {
            let window = window(out, router);
            write!(
                out,
                "stale authentication trailer from {src}, clock skew {detail} sec exceeds window {window} sec"
            )
        }
        Discard::HmacReplay => write!(out, "replayed authentication trailer from {src}"),
        _ => return false,
    }
    true
}

pub(super) fn skew(out: &mut Out, router: usize, src: IpAddr, skew: i32) -> Level {
    let window = window(out, router);
    out.router(router);
    say!(out, Warn, "authentication clock skew {skew} sec from {src} approaching window {window} sec")
}

fn window(out: &Out, router: usize) -> u32 {
    let hmac = out.node.routers.get(router).and_then(|r| r.auth.hmac());
    hmac.and_then(|h| h.cfg.time_window).unwrap_or(0)
}

pub(super) fn clock_stepped(out: &mut Out, by: &Duration, forwards: bool) -> Level {
    let (s, how) = (by.as_secs(), if forwards { "forwards" } else { "back" });
    say!(
        out,
        Warn,
        "the clock was set {how} by {s} s: auth_hmac refuses adverts that are outside its time window"
    )
}

pub(super) fn clock_unset(out: &mut Out) -> Level {
    say!(
        out,
        Error,
        "the clock is not set: auth_hmac refuses the adverts of nodes whose clock is, and they refuse ours; set it, or \
         set auth_hmac_anti_replay = monotonic"
    )
}
