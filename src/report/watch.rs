//! `vipd status --watch`: one line for each event, in five columns; the fifth is for people.
//!
//! ```text
//! 2026-11-22T13:00:00.123Z vrrp/VI_1 MASTER 100 VRRP_Instance(VI_1) Transition to MASTER STATE (...)
//! time (UTC)               subject   state  priority, or `-`
//! ```
//!
//! Subjects are `vrrp/NAME`, `group/NAME`, `check/NAME`, `interface/NAME`, `haproxy` and `vipd`. The state is
//! the subject's after the event, in the words of `vipd status`; so the last line of a subject tells its
//! state.

use crate::base::text::Write;
use crate::base::time::Time;
use crate::event::{Event, Subject};
use crate::node::Node;
use crate::notify::notice;
use crate::report::status;
use crate::report::words;
use std::time::Duration;

/// The subject of the second column. An address belongs to its router; a notice to what it names, as long as
/// that is configured.
fn shown(node: &Node, subject: Subject) -> Subject {
    let found = match &subject {
        Subject::Vip(entry) => node.addrs.entries.get(*entry).map(|e| Subject::Router(e.router)),
        Subject::Notice(notice::Subject::Router(name)) => {
            node.routers.iter().position(|r| r.cfg.name == *name).map(Subject::Router)
        }
        Subject::Notice(notice::Subject::Group(name)) => {
            node.groups.iter().position(|g| g.name == *name).map(Subject::Group)
        }
        Subject::Notice(notice::Subject::Haproxy) => Some(Subject::Haproxy),
        _ => return subject,
    };
    found.unwrap_or(Subject::Vipd)
}

/// The columns up to the fourth.
fn columns(out: &mut String, node: &Node, subject: Subject, event: Option<&Event>, stamp: &str) {
    write!(out, "{stamp} ");
    match shown(node, subject) {
        Subject::Router(i) => {
            let Some(router) = node.routers.get(i) else { return };
            // Each of two transitions in one turn has its own state.
            let state = match event {
                Some(Event::Entered { kind, .. }) => words::state(*kind, router.faults),
                Some(Event::Fault { faults, .. }) => words::state(crate::vrrp::machine::Kind::Init, *faults),
                _ => words::state(router.machine.kind(), router.faults),
            };
            write!(out, "vrrp/{} {state} {} ", router.cfg.name, router.machine.params.priority)
        }
        Subject::Group(g) => {
            let Some(group) = node.groups.get(g) else { return };
            let state = match event {
                Some(Event::Group { state, .. }) => *state,
                _ => group.state,
            };
            write!(out, "group/{} {} - ", group.name, words::group_state(state))
        }
        Subject::Check(c) => {
            let Some(check) = node.checks.get(c) else { return };
            let state = match check.is_up() {
                Some(true) => "UP",
                Some(false) => "DOWN",
                None => "INIT",
            };
            write!(out, "check/{} {state} - ", check.name)
        }
        Subject::Link(l) => {
            let Some(link) = node.links.get(l) else { return };
            let state = match (link.ifindex, link.running) {
                (None, _) => "ABSENT",
                (_, true) => "UP",
                (_, false) => "DOWN",
            };
            write!(out, "interface/{} {state} - ", link.name)
        }
        Subject::Haproxy => {
            let state = node.haproxy.as_ref().map_or("-", status::haproxy_state);
            write!(out, "haproxy {state} - ")
        }
        Subject::Vipd | Subject::Vip(_) | Subject::Notice(_) => write!(out, "vipd - - "),
    };
}

/// The line of an event. `text`: its words, of which the first line is taken.
pub fn line(node: &Node, event: &Event, text: &str, stamp: &str) -> String {
    let mut out = String::new();
    columns(&mut out, node, event.subject(), Some(event), stamp);
    let mut words = Vec::new();
    crate::base::text::escape(text.lines().next().unwrap_or_default(), &mut words);
    words.push(b'\n');
    out.push_str(&String::from_utf8_lossy(&words));
    out
}

/// The present state, one line for each subject.
pub fn present(node: &Node, now: Time, stamp: &str) -> String {
    let mut out = String::new();
    for (i, router) in node.routers.iter().enumerate() {
        columns(&mut out, node, Subject::Router(i), None, stamp);
        writeln!(out, "for {}: {}", status::ago(now.since(router.since)), status::reason(router));
    }
    let groups = (0..node.groups.len()).map(Subject::Group);
    let checks = (0..node.checks.len()).map(Subject::Check);
    let links = (0..node.links.len()).map(Subject::Link);
    let haproxy = node.haproxy.iter().map(|_| Subject::Haproxy);
    for s in groups.chain(checks).chain(links).chain(haproxy) {
        columns(&mut out, node, s, None, stamp);
        out.push_str("now\n");
    }
    out
}

/// `2026-11-22T13:00:00.123Z`; `since_1970`: UTC without leap seconds.
pub fn stamp(since_1970: Duration) -> String {
    let (s, ms) = (since_1970.as_secs(), since_1970.subsec_millis());
    let (y, m, d) = date(s / 86_400);
    format!("{y}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (era * 400 + yoe + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let at = |s| stamp(Duration::from_secs(s) + Duration::from_millis(7));
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59.007Z");
        assert_eq!(at(951_868_800), "2000-03-01T00:00:00.007Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.007Z");
        assert_eq!(at(1_798_761_600), "2027-01-01T00:00:00.007Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.007Z");
    }
}
