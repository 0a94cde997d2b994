//! One line that tells whether all is well, and who serves each address now.

use super::reason;
use crate::base::text::Write;
use crate::base::time::Time;
use crate::node::{Node, Rival, Router};
use crate::report::words;
use crate::vrrp::machine::State;
use std::net::IpAddr;

/// How many addresses of one server the line names.
const MAX_ADDRESSES: usize = 8;

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every virtual router is served by this node, or this node is ready to.
    Ok,
    /// Some virtual router does not take part yet, as expected after a start.
    Starting,
    /// Some virtual router cannot take part, or lacks its addresses.
    Fault,
    /// Some virtual router has a second master, or another host with its addresses.
    SplitBrain,
}

impl Verdict {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Starting => "STARTING",
            Verdict::Fault => "FAULT",
            Verdict::SplitBrain => "SPLIT BRAIN",
        }
    }
}

/// The verdict on one virtual router.
pub fn of(node: &Node, i: usize, router: &Router, now: Time) -> Verdict {
    let refused = || node.addrs.of(i).any(|(e, _)| node.addrs.is_refused(e));
    match words::state(router.machine.kind(), router.faults) {
        "MASTER" if router.is_contested(now) => Verdict::SplitBrain,
        "MASTER" if refused() => Verdict::Fault,
        "FAULT" => Verdict::Fault,
        "INIT" => Verdict::Starting,
        _ => Verdict::Ok,
    }
}

/// Who serves an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// This node.
    This,
    /// The node with this source address.
    Other(IpAddr),
    /// No master is heard.
    Unknown,
}

/// Who serves the addresses of a virtual router now, as far as this node hears.
pub fn server(router: &Router, now: Time) -> Server {
    let master = match router.machine.state() {
        State::Master { .. } | State::Soliciting(_) => return Server::This,
        State::Backup { master, .. } => *master,
        State::Init => None,
    };
    // A node in FAULT still hears adverts.
    let heard = router.last_advert.filter(|(_, at)| now.since(*at) < router.machine.min_down_interval());
    match master.or(heard.map(|(m, _)| m)) {
        Some(m) => Server::Other(m.src),
        None => Server::Unknown,
    }
}

/// The line without its first word: `this node serves 192.168.30.230`.
pub fn text(node: &Node, scope: &[usize], now: Time) -> String {
    let routers = || scope.iter().filter_map(|i| Some((*i, node.routers.get(*i)?)));
    let mut served: Vec<(Server, Vec<IpAddr>)> = Vec::new();
    for (_, router) in routers() {
        let by = server(router, now);
        let at = served.iter().position(|(s, _)| *s == by).unwrap_or_else(|| {
            served.push((by, Vec::new()));
            served.len() - 1
        });
        if let Some((_, all)) = served.get_mut(at) {
            all.extend(router.cfg.held().map(|v| v.addr));
        }
    }
    let mut out = String::new();
    for (by, addresses) in &served {
        separate(&mut out);
        match by {
            Server::This => out.push_str("this node serves "),
            Server::Other(src) => write!(out, "{src} serves "),
            Server::Unknown => out.push_str("no master is heard for "),
        };
        list(&mut out, addresses);
    }
    // The worst one; of those that are well, a backup.
    let worst = routers().max_by_key(|(i, r)| (of(node, *i, r, now), !r.is_master()));
    if let Some((i, router)) = worst {
        trouble(&mut out, node, i, router, now);
    }
    if served.is_empty() {
        out.push_str("no virtual router is configured");
    }
    out
}

/// What is wrong with the worst virtual router, or that this node is ready.
fn trouble(out: &mut String, node: &Node, i: usize, router: &Router, now: Time) {
    let name = &router.cfg.name;
    match of(node, i, router, now) {
        Verdict::Ok if !router.is_master() => {
            separate(out);
            out.push_str("this node is ready to take over");
        }
        Verdict::Ok => {}
        Verdict::Fault if router.is_master() => {
            separate(out);
            write!(out, "{name} lacks an address: see the log");
        }
        Verdict::Starting | Verdict::Fault => {
            separate(out);
            write!(out, "{name}: {}", reason(router));
        }
        Verdict::SplitBrain => {
            for (one, _) in router.rivals(now) {
                separate(out);
                rival(out, node, &one);
            }
        }
    }
}

/// `192.168.30.230 is also announced by 02:00:00:00:00:09`
pub fn rival(out: &mut String, node: &Node, rival: &Rival) {
    match rival {
        Rival::Advertises(other) => {
            write!(out, "{} is also master, with priority {}", other.src, other.priority);
            if let Some(why) = other.refused {
                write!(out, ", its adverts are refused ({})", why.name());
            }
        }
        Rival::Announces(c) => {
            let Some(vip) = node.addrs.entries.get(c.entry) else { return };
            write!(out, "{} is also announced by {}", vip.addr, words::mac(c.mac));
        }
    }
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str("; ");
    }
}

/// `192.168.30.230, 192.168.30.231 and 3 more`
pub fn list(out: &mut String, addresses: &[IpAddr]) {
    let mut before = "";
    for a in addresses.iter().take(MAX_ADDRESSES) {
        write!(out, "{before}{a}");
        before = ", ";
    }
    if let Some(more) = addresses.len().checked_sub(MAX_ADDRESSES).filter(|n| *n > 0) {
        write!(out, " and {more} more");
    }
}
