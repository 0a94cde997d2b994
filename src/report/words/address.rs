//! Lines about virtual addresses. Each names the address and its device.

use super::{Out, errno, link, mac, say};
use log::Level::{self, Debug, Error, Info, Warn};

/// A line with `addr` and `dev`; its value is the level.
macro_rules! plain {
    ($out:expr, $level:expr, $entry:expr, $fmt:literal $($arg:tt)*) => {{
        let Some(v) = $out.node.addrs.entries.get($entry) else { return Debug };
        say!($out, $level, $fmt, addr = v.addr, dev = link($out.node, v.link) $($arg)*)
    }};
}

/// The same, with the router's name before.
macro_rules! line {
    ($out:expr, $level:expr, $entry:expr, $($arg:tt)*) => {{
        $out.router($out.node.addrs.entries.get($entry).map_or(usize::MAX, |v| v.router));
        plain!($out, $level, $entry, $($arg)*)
    }};
}

/// What the kernel told.
pub(super) fn reported(out: &mut Out, entry: usize, done: &str) -> Level {
    plain!(out, Info, entry, "Netlink reflector reports IP {addr} {done} on {dev}")
}

pub(super) fn add_failed(out: &mut Out, entry: usize, e: i32) -> Level {
    let hint = if e == libc::EACCES { " (net.ipv6.conf.*.disable_ipv6 is 1)" } else { "" };
    let why = errno(e);
    line!(out, Error, entry, "cannot add {addr} on {dev}: {why}{hint}")
}

pub(super) fn remove_failed(out: &mut Out, entry: usize, e: i32) -> Level {
    let why = errno(e);
    line!(out, Error, entry, "cannot remove {addr} on {dev}, trying again: {why}")
}

pub(super) fn foreign(out: &mut Out, entry: usize) -> Level {
    line!(
        out,
        Error,
        entry,
        "{addr} on {dev} is somebody else's permanent address: not touched, not announced; \
         remove it or set priority = 255"
    )
}

pub(super) fn taken_over(out: &mut Out, entry: usize) -> Level {
    line!(out, Warn, entry, "{addr} on {dev} was left by keepalived: taken over")
}

pub(super) fn deleted(out: &mut Out, entry: usize, times: u32) -> Level {
    if times == 1 {
        return line!(out, Warn, entry, "{addr} was deleted on {dev} by somebody else: put back");
    }
    line!(
        out,
        Error,
        entry,
        "{addr} was deleted on {dev} by somebody else, {times} times so far: put back; find the other program that \
         manages the addresses of {dev} (`ip monitor` shows when it happens)"
    )
}

pub(super) fn expired(out: &mut Out, entry: usize) -> Level {
    line!(out, Warn, entry, "the lease of {addr} on {dev} ended before it was renewed")
}

pub(super) fn contested(out: &mut Out, entry: usize, by: [u8; 6]) -> Level {
    let by = mac(by);
    line!(out, Error, entry, "another host, {by}, announced {addr} on {dev}: announcing it again")
}

pub(super) fn announcing(out: &mut Out, entry: usize) -> Level {
    if out.node.addrs.entries.get(entry).is_some_and(|v| v.addr.is_ipv6()) {
        return plain!(out, Info, entry, "Sending unsolicited Neighbour Adverts on {dev} for {addr}");
    }
    plain!(out, Info, entry, "Sending gratuitous ARPs on {dev} for {addr}")
}

pub(super) fn announce_failed(out: &mut Out, entry: usize, e: i32) -> Level {
    let why = errno(e);
    line!(out, Warn, entry, "cannot announce {addr} on {dev}: {why}")
}
