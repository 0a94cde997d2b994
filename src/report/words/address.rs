//! Lines about virtual addresses. Each names the address and its device.

use super::names::fill;
use super::{Out, errno, link, mac, say};
use log::Level::{self, Debug, Error, Info, Warn};

/// Appends a text with `{addr}` and `{dev}`.
fn add(out: &mut Out, entry: usize, text: &str) {
    if let Some(v) = out.node.addrs.entries.get(entry) {
        fill(&mut out.text, text, &v.addr.to_string(), link(out.node, v.link));
    }
}

/// The same, with the router's name before; its value is the level.
pub(super) fn line(out: &mut Out, level: Level, entry: usize, text: &str) -> Level {
    let Some(v) = out.node.addrs.entries.get(entry) else { return Debug };
    out.router(v.router);
    add(out, entry, text);
    level
}

/// What the kernel told.
pub(super) fn reported(out: &mut Out, entry: usize, text: &str) -> Level {
    add(out, entry, text);
    Info
}

/// Something failed, and why.
pub(super) fn failed(out: &mut Out, level: Level, entry: usize, text: &str, e: i32) -> Level {
    line(out, level, entry, text);
    out.text.push_str(&errno(e));
    level
}

pub(super) fn add_failed(out: &mut Out, entry: usize, e: i32) -> Level {
    failed(out, Error, entry, "cannot add {addr} on {dev}: ", e);
    if e == libc::EACCES {
        out.text.push_str(" (net.ipv6.conf.*.disable_ipv6 is 1)");
    }
    Error
}

pub(super) fn deleted(out: &mut Out, entry: usize, times: u32) -> Level {
    line(out, Warn, entry, "{addr} was deleted on {dev} by somebody else");
    if times == 1 {
        return say!(out, Warn, ": put back");
    }
    write!(out, ", {times} times so far: put back; find the other program that manages the addresses of ");
    add(out, entry, "{dev} (`ip monitor` shows when it happens)");
    Error
}

pub(super) fn contested(out: &mut Out, entry: usize, by: [u8; 6]) -> Level {
    line(out, Error, entry, "another host, ");
    out.text.push_str(&mac(by));
    add(out, entry, ", announced {addr} on {dev}: announcing it again");
    Error
}

pub(super) fn announcing(out: &mut Out, entry: usize) -> Level {
    let ipv6 = out.node.addrs.entries.get(entry).is_some_and(|v| v.addr.is_ipv6());
    let what = if ipv6 { "Sending unsolicited Neighbour Adverts" } else { "Sending gratuitous ARPs" };
    out.text.push_str(what);
    reported(out, entry, " on {dev} for {addr}")
}
