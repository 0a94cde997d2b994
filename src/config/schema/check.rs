//! `[check NAME]`

use super::notify::{command, user};
use super::reader::{Keys, Reader, seconds};
use super::vips::{host, is_link_local};
use crate::base::text::split_once;
use crate::config::ini::{Entry, Section};
use crate::config::report::Report;
use crate::config::{Check, CheckKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The keys of a `[check NAME]`.
pub const KEYS: Keys =
    Keys { title: "[check NAME]", once: "type, target, user, interval, timeout, fall, rise", lists: "" };

/// Longest path of a `http` check in octets.
const MAX_PATH: usize = 1024;

/// Reads a section. `None`: its type or its target is wrong or missing, which is reported.
pub fn read(section: &Section<'_>, all: &[&Keys], report: &mut Report) -> Option<Check> {
    let mut r = Reader::open(section, &KEYS, all, report);
    r.require("type", "tcp");
    let kind = r.choice("type", "tcp, http, exec, ping");
    let example = match kind {
        Some(1) => "192.0.2.1:80/health",
        Some(2) => "/usr/local/bin/check",
        Some(3) => "192.0.2.1",
        _ => "192.0.2.1:80",
    };
    r.require("target", example);
    if let Some(entry) = r.entry("user")
        && kind.is_some_and(|kind| kind != 2)
    {
        r.report.error(entry.line, format_args!("`user` goes only with type = exec: leave it out"));
    }
    let user = user(&mut r, "user");
    let interval = r.duration("interval", 100, 3_600_000, 2_000);
    let timeout = r.optional_duration("timeout", 100, 60_000);
    if let Some(timeout) = timeout.filter(|&timeout| timeout > interval) {
        let interval = seconds(interval);
        let text = format_args!(
            "timeout = {} is longer than interval = {interval}: an attempt ends before the next",
            seconds(timeout)
        );
        r.error("timeout", text);
    }
    let (fall, rise) = (r.number("fall", 1, 100, 3), r.number("rise", 1, 100, 1));
    let target = r.entry("target")?;
    let kind = match kind? {
        0 => CheckKind::Tcp(socket(&mut r, target, target.value, "ADDR:PORT", numeric)?),
        1 => {
            let (addr, path) = target.value.split_once('/').unwrap_or((target.value, ""));
            let addr = socket(&mut r, target, addr, "ADDR:PORT[/PATH]", numeric);
            let printable = path.bytes().all(|b| b.is_ascii_graphic());
            if !printable || path.len() >= MAX_PATH {
                let text = "has a path that is not printable ASCII without spaces, at most 1024 octets";
                r.wrong(target, format_args!("{text}"));
                return None;
            }
            CheckKind::Http { addr: addr?, path: format!("/{path}") }
        }
        2 => CheckKind::Exec { argv: command(&mut r, "target")?, user },
        _ => CheckKind::Ping(numeric(&mut r, target.line, target.value)?),
    };
    Some(Check {
        name: section.name.to_owned(),
        kind,
        interval,
        timeout: timeout.unwrap_or(interval.min(Duration::from_secs(1))),
        fall,
        rise,
    })
}

/// `192.0.2.1:80` or `[2001:db8::1]:80`; `numeric` reads the address.
pub fn socket(
    r: &mut Reader<'_, '_>,
    target: &Entry<'_>,
    text: &str,
    form: &str,
    numeric: fn(&mut Reader<'_, '_>, u32, &str) -> Option<IpAddr>,
) -> Option<SocketAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| split_once(rest, "]:"));
    let parts =
        bracketed.or_else(|| text.split_once(':').filter(|(_, port)| !port.as_bytes().contains(&b':')));
    let port = parts.and_then(|(_, port)| super::reader::digits(port));
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
    let (Some((addr, _)), Some(port)) = (parts, port) else {
        let text = "e.g. 192.0.2.1:80 or [2001:db8::1]:80";
        r.wrong(target, format_args!("is not {form}, port 1 to 65535, {text}"));
        return None;
    };
    let addr = numeric(r, target.line, addr)?;
    if addr.is_ipv6() != bracketed.is_some() {
        r.wrong(target, format_args!("is not {form}: brackets belong around IPv6 addresses only"));
        return None;
    }
    Some(SocketAddr::new(addr, port))
}

fn numeric(r: &mut Reader<'_, '_>, line: u32, text: &str) -> Option<IpAddr> {
    let addr = host(r, line, "target", text)?;
    if is_link_local(addr) {
        let text = format_args!(
            "target: {addr} is link-local, and a check names no interface: take a global address"
        );
        r.report.error(line, text);
        return None;
    }
    Some(addr)
}
