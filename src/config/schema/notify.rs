//! Who is told: commands, their user, and mail.

use super::reader::{Reader, digits};
use crate::config::ini::{Section, split_words};
use crate::config::report::{Report, Shown, listed};
use crate::config::{Mail, StateHooks};
use std::net::Ipv6Addr;

/// Most recipients.
const MAX_TO: usize = 32;
/// Longest mail address and longest part of it before the `@` (RFC 5321 §4.5.3.1), and longest host name, in
/// octets.
const MAX_ADDRESS: usize = 254;
const MAX_LOCAL: usize = 64;
const MAX_HOST: usize = 253;

/// A command: words, the first an absolute path.
pub fn command(r: &mut Reader<'_, '_>, key: &str) -> Option<Vec<String>> {
    let entry = r.entry(key)?;
    match split_words(entry.value) {
        Err(wrong) => r.report.error(entry.line, format_args!("{key}: {wrong}")),
        Ok(argv) => {
            let program = argv.first().map_or("", String::as_str);
            if r.is_path(entry.line, key, program, super::MAX_PATH) {
                return Some(argv);
            }
        }
    }
    None
}

/// The commands for one state each.
pub fn state_hooks(r: &mut Reader<'_, '_>) -> StateHooks {
    let mut read = |key| command(r, key).unwrap_or_default();
    StateHooks {
        master: read("notify_master"),
        backup: read("notify_backup"),
        fault: read("notify_fault"),
        stop: read("notify_stop"),
    }
}

/// A name as `/etc/passwd` has it.
pub fn user(r: &mut Reader<'_, '_>, key: &str) -> Option<String> {
    let entry = r.entry(key)?;
    if !is_name(entry.value) {
        r.wrong(entry, format_args!("is not a user name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"));
    }
    Some(entry.value.to_owned())
}

/// Whether a user or a group can have this name.
pub fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A user for hooks, and no hook.
pub fn unused_user(sections: &[Section<'_>], report: &mut Report) {
    let (mut line, mut is_hook) = (None, false);
    for section in sections {
        for e in &section.entries {
            match e.key {
                "notify_user" => line = line.or(Some(e.line)),
                key => is_hook |= key.starts_with("notify"),
            }
        }
    }
    if let (Some(line), false) = (line, is_hook) {
        report.warning(line, format_args!("notify_user has no effect: there is no `notify`"));
    }
}

/// `notification_email` and what belongs to it.
pub fn mail(r: &mut Reader<'_, '_>) -> Option<Mail> {
    const TO: &str = "notification_email";
    const FROM: &str = "notification_email_from";
    const BELONGS: &str = "notification_email_from, smtp_server, smtp_connect_timeout";
    if !cfg!(feature = "mail") {
        for key in std::iter::once(TO).chain(listed(BELONGS)) {
            if r.has(key) {
                r.error(key, format_args!("{key}: this vipd was built without mail"));
            }
        }
        return None;
    }
    let mut to: Vec<String> = Vec::new();
    for (line, one) in r.list(TO) {
        if to.iter().any(|other| other == one) {
            r.twice(line, TO, one);
        } else if to.len() == MAX_TO {
            r.report.error(line, format_args!("too many recipients: at most {MAX_TO}"));
            break;
        } else if address(r, line, TO, one) {
            to.push(one.to_owned());
        }
    }
    let from = r.entry(FROM).filter(|entry| address(r, entry.line, FROM, entry.value));
    let server = server(r);
    let connect_timeout = r.duration("smtp_connect_timeout", 1_000, 300_000, 30_000);
    if !r.has(TO) {
        for key in listed(BELONGS) {
            if let Some(entry) = r.entry(key) {
                r.report.warning(entry.line, format_args!("{key} has no effect: there is no `{TO}`"));
            }
        }
        return None;
    }
    if !r.has("smtp_server") {
        r.error(TO, format_args!("`{TO}` needs a server: e.g. smtp_server = 127.0.0.1:25"));
    }
    let (server, port) = server?;
    Some(Mail { to, from: from.map(|entry| entry.value.to_owned()), server, port, connect_timeout })
}

/// Whether this is `local@domain` that needs no quoting anywhere (RFC 5321 §4.1.2: Dot-string, Domain or
/// address literal); reports it if it is not.
fn address(r: &mut Reader<'_, '_>, line: u32, key: &str, text: &str) -> bool {
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let good = text.rsplit_once('@').is_some_and(|(local, domain)| {
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let good = match literal {
            Some(literal) => literal.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':')),
            None => is_host(domain),
        };
        good && text.len() <= MAX_ADDRESS
            && local.len() <= MAX_LOCAL
            && local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom))
    });
    if !good {
        let text = Shown(text);
        r.report.error(line, format_args!("{key}: {text} is not a mail address, e.g. admin@example.org"));
    }
    good
}

fn is_host(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.len() <= MAX_HOST
        && name.split('.').all(|part| !part.is_empty() && part.len() < 64 && part.bytes().all(letter))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn server(r: &mut Reader<'_, '_>) -> Option<(String, u16)> {
    let entry = r.entry("smtp_server")?;
    let text = entry.value;
    let (host, port, good) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            let port = if rest.is_empty() { Some("25") } else { rest.strip_prefix(':') };
            (host, port, host.parse::<Ipv6Addr>().is_ok())
        }
        None if text.parse::<Ipv6Addr>().is_ok() => (text, Some("25"), true),
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "25"));
            (host, Some(port), is_host(host))
        }
    };
    let port = port.and_then(digits).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    match port.filter(|_| good) {
        Some(port) => Some((host.to_owned(), port)),
        None => {
            let form = "e.g. mail.example.org:25 or [2001:db8::1]:25";
            r.wrong(entry, format_args!("is not HOST[:PORT], {form}"));
            None
        }
    }
}
