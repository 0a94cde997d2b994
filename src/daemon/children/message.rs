//! What hooks and mails say about a state change: words, addresses, and who this node is.

use crate::base::text::Write;
use crate::config;
use crate::daemon::logger::MONTHS;
use crate::node::Node;
use crate::notify::mail::{self, Job};
use crate::notify::notice::{Notice, Reason, State, Subject};
use crate::report::words;
use crate::sys::clock::{self, Local};
use std::time::Duration;

/// Who this node is.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) router_id: String,
    /// The host name, in characters that are harmless in a line of SMTP.
    host: String,
    /// When this vipd started, in seconds since 1970: part of each Message-ID.
    started: u64,
}

impl Sender {
    /// `host`: the kernel's host name.
    pub(super) fn new(router_id: &str, mut host: String) -> Self {
        // The kernel allows any octet in a host name; a line feed would forge a line of the SMTP dialogue.
        host.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        Sender { router_id: router_id.to_owned(), host, started: clock::unix() }
    }

    /// The mail about a state change that was `age` ago; `lost` mails before it were dropped. `number` is
    /// unique among the mails of this vipd.
    pub(super) fn mail(
        &self,
        cfg: &config::Mail,
        node: &Node,
        notice: &Notice,
        number: u64,
        age: Duration,
        lost: u32,
    ) -> Job {
        let host = if self.host.is_empty() { "localhost" } else { &self.host };
        let mut job = Job {
            server: cfg.server.clone(),
            port: cfg.port,
            timeout: cfg.connect_timeout,
            // Many servers refuse a name that is not fully qualified.
            helo: if self.host.as_bytes().contains(&b'.') { self.host.clone() } else { String::new() },
            from: cfg.from.clone().unwrap_or_else(|| format!("vipd@{host}")),
            to: cfg.to.clone(),
            message: String::new(),
        };
        let mut body = body(notice);
        for detail in self.details(node, notice) {
            let (key, value) = detail.split_once('=').unwrap_or_default();
            writeln!(body, "{}: {value}", key.to_ascii_lowercase());
        }
        if lost > 0 {
            writeln!(body, "\n{lost} mails before this one were left out: there were too many.");
        }
        let date = date(&clock::local(clock::unix().saturating_sub(age.as_secs())));
        let domain = job.from.rsplit_once('@').map_or(host, |(_, domain)| domain);
        let id = format!("<{}.{}.{number}@{domain}>", self.started, std::process::id());
        job.message = mail::compose(&job, &self.subject(notice), &date, &id, &body);
        job
    }

    fn subject(&self, notice: &Notice) -> String {
        let (id, state) = (&self.router_id, notice.state.name());
        match &notice.subject {
            Subject::Router(name) => format!("[{id}] VRRP Instance {name} - Entering {state} state"),
            Subject::Group(name) => format!("[{id}] VRRP Group {name} - Entering {state} state"),
            Subject::Haproxy => format!("[{id}] HAProxy - Entering FAULT state"),
        }
    }

    /// `KEY=value`: in the environment of hooks with `VIPD_` before it, in the body of mails in lower case.
    pub(super) fn details(&self, node: &Node, notice: &Notice) -> Vec<String> {
        let mut all = vec![format!("ROUTER_ID={}", self.router_id)];
        match notice.reason {
            Reason::None => {}
            Reason::Why(why) => all.push(format!("REASON={}", words::why(why))),
            Reason::Faults(faults) => all.push(format!("REASON={}", words::faults(faults))),
            Reason::Deaths(n, window) => {
                all.push(format!("REASON=died {n} times within {} s", window.as_secs()));
            }
        }
        let mut list = String::new();
        match &notice.subject {
            Subject::Router(name) => {
                let Some(router) = node.routers.iter().find(|i| i.cfg.name == *name) else { return all };
                let cfg = &router.cfg;
                all.push(format!("PRIORITY={}", notice.priority));
                all.push(format!("INTERFACE={}", cfg.interface));
                all.push(format!("VRID={}", cfg.vrid));
                for vip in cfg.held() {
                    write!(list, " {}", vip.addr);
                }
                all.push(format!("VIPS={}", list.trim_start()));
            }
            Subject::Group(name) => {
                let Some(group) = node.groups.iter().find(|g| g.name == *name) else { return all };
                for router in group.members.iter().filter_map(|i| node.routers.get(*i)) {
                    list += " ";
                    list += &router.cfg.name;
                }
                all.push(format!("MEMBERS={}", list.trim_start()));
            }
            Subject::Haproxy => {}
        }
        all
    }
}

/// The first line of a mail, as keepalived writes it, and an empty line.
fn body(notice: &Notice) -> String {
    match (&notice.subject, notice.state) {
        (Subject::Router(_), State::Master) => "=> VRRP Instance is now owning VRRP VIPs <=\n\n".into(),
        (Subject::Router(_), _) => "=> VRRP Instance is no longer owning VRRP VIPs <=\n\n".into(),
        (Subject::Group(_), state) => {
            format!("=> All VRRP group instances are now in {} state <=\n\n", state.name())
        }
        (Subject::Haproxy, _) => "=> HAProxy dies again and again <=\n\n".into(),
    }
}

/// `Sun, 22 Nov 2026 13:43:35 +0100` (RFC 5322 §3.3)
fn date(t: &Local) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let name = |names: &[&'static str], i: i32| usize::try_from(i).ok().and_then(|i| names.get(i).copied());
    let (day, month) = (name(&DAYS, t.weekday).unwrap_or(""), name(&MONTHS, t.month).unwrap_or(""));
    let (h, m, s) = t.time;
    let (sign, offset) = (if t.offset < 0 { '-' } else { '+' }, t.offset.unsigned_abs());
    format!(
        "{day}, {} {month} {} {h:02}:{m:02}:{s:02} {sign}{:02}{:02}",
        t.day,
        t.year + 1900,
        offset / 60,
        offset % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let t = Local { year: 126, month: 10, day: 2, weekday: 1, time: (3, 4, 5), offset: -210 };
        assert_eq!(date(&t), "Mon, 2 Nov 2026 03:04:05 -0330");
        assert_eq!(date(&Local { offset: 120, ..t }), "Mon, 2 Nov 2026 03:04:05 +0200");
    }
}
