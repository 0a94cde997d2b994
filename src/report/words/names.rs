//! The names of states, reasons, errors and ends of processes, in the log as in the status.

use crate::base::exit::Exit;
use crate::base::text::Write;
use crate::check::Failure;
use crate::haproxy::listeners::Refusal;
use crate::node::{Node, Router, Tracked};
use crate::notify::notice::{Notice, Subject};
use crate::vrrp::faults::Faults;
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Resigned, Why};
use log::Level::{self, Error, Info, Warn};
use std::io;
use std::time::Duration;

/// The name of a state.
pub fn state(kind: Kind, faults: Faults) -> &'static str {
    match kind {
        Kind::Master => "MASTER",
        Kind::Backup => "BACKUP",
        Kind::Init if faults.is_pending() => "INIT",
        Kind::Init => "FAULT",
    }
}

/// The name of a group's state.
pub fn group_state(s: group::State) -> &'static str {
    match s {
        group::State::Init => "INIT",
        group::State::Fault => "FAULT",
        group::State::Backup => "BACKUP",
        group::State::Master => "MASTER",
    }
}

/// Why a state was entered.
pub fn why(w: Why) -> String {
    match w {
        Why::Started => "started".into(),
        Why::Owner => "owner of the addresses".into(),
        Why::Resumed => "resumed within the lease".into(),
        Why::MasterDown => "no advert from the master".into(),
        Why::MasterLeft => "the master sent priority 0".into(),
        Why::NoMaster => "no master was heard".into(),
        Why::Preempted => "preempted a master of lower priority".into(),
        Why::Outranked(m) => format!("higher advert from {}, priority {}", m.src, m.priority),
        Why::Stalled => "no advert went out for too long".into(),
        Why::Group => "another member of the group was outranked".into(),
        Why::Resigned => "told to resign".into(),
        Why::Left => "stopped or reconfigured".into(),
        Why::Faulted => "fault".into(),
    }
}

/// What became of the command to resign.
pub fn resigned(how: Resigned) -> String {
    match how {
        Resigned::To(m, after) => {
            format!("resigned: {} with priority {} took over after {} ms", m.src, m.priority, ms(&after))
        }
        Resigned::WithGroup => "resigned with its group".into(),
        Resigned::Nobody(d) => format!("no successor within {} ms: still master", ms(&d)),
        Resigned::Forced(d) => format!("resigned; no successor within {} ms", ms(&d)),
        Resigned::NotMaster => "not master: it will not preempt for a while".into(),
        Resigned::Interrupted => "interrupted by a stop, a fault or a stall".into(),
        Resigned::Busy => "a hand-over is under way already".into(),
        Resigned::Owner => "the owner of the addresses (priority 255) cannot resign".into(),
    }
}

/// Why a virtual router does not take part.
pub fn faults(f: Faults) -> String {
    let mut words = String::new();
    for (_, word) in Faults::WORDS.iter().filter(|(x, _)| f.has(*x)) {
        words.push_str(if words.is_empty() { "" } else { ", " });
        words.push_str(word);
    }
    words
}

/// What ends each fault of a virtual router.
pub fn to_do(router: &Router) -> Vec<String> {
    let mut all = Vec::new();
    for (fault, _) in Faults::WORDS.iter().filter(|(f, _)| router.faults.has(*f)) {
        let text = match *fault {
            Faults::NO_INTERFACE => "create {dev}, or correct `interface`; `ip link` lists those that exist",
            Faults::LINK_DOWN => "check the cable and the switch, or `ip link set {dev} up`",
            Faults::PORT => "set `interface` to the bridge or the bond: {dev} itself receives nothing",
            Faults::NO_ADDRESS => "give {dev} an address to send from: `ip addr add ADDR/LEN dev {dev}`",
            Faults::NO_SOURCE => "add the source address to {dev}, or correct mcast_src_ip or unicast_src_ip",
            Faults::HAPROXY => "see HAProxy below; `vipd -t` checks its configuration",
            Faults::SOCKET => "see the log; a missing capability or too few file descriptors?",
            Faults::NOT_OWNER => "add the addresses to {dev} permanently, or set priority below 255",
            Faults::TRACKED_INTERFACE | Faults::CHECK => "see what it needs, in the next lines",
            Faults::GROUP if router.faults.only(*fault) => "see the other members of the group",
            Faults::VMAC | Faults::REFUSED => "see the log for the reason of the kernel",
            Faults::UNSENT => "allow IP protocol 112 out of {dev}; see the log",
            _ => continue,
        };
        let mut filled = String::new();
        fill(&mut filled, text, "", &router.cfg.interface);
        all.push(filled);
    }
    all
}

/// Appends a text in which `{addr}` and `{dev}` stand for an address and a device. (Each `write!` of two
/// values is 80 octets of code.)
pub(super) fn fill(out: &mut String, mut text: &str, addr: &str, dev: &str) {
    while let Some((before, name)) = text.split_once('{') {
        out.push_str(before);
        out.push_str(if name.starts_with("addr") { addr } else { dev });
        text = name.split_once('}').map_or("", |(_, behind)| behind);
    }
    out.push_str(text);
}

/// Whole milliseconds; `as_millis` is a `u128`, whose formatting is large.
pub(super) fn ms(d: &Duration) -> u64 {
    d.as_secs() * 1000 + u64::from(d.subsec_millis())
}

/// The level of a line of HAProxy's output, by its own mark.
pub fn haproxy_level(line: &str) -> Level {
    match line {
        l if l.starts_with("[ALERT]") => Error,
        l if l.starts_with("[WARNING]") => Warn,
        _ => Info,
    }
}

/// How a process ended.
pub fn exit(e: Exit) -> String {
    match e {
        Exit::Code(c) => format!("exit status {c}"),
        Exit::Signal(s) => format!("signal {s}"),
        Exit::Unknown => "unknown exit status".into(),
    }
}

/// An error number in the C library's words; those of nix are tables of 18 KB.
pub fn errno(number: i32) -> String {
    let mut text = io::Error::from_raw_os_error(number).to_string();
    // std adds ` (os error 13)`.
    text.truncate(text.rfind('(').map_or(text.len(), |at| at.saturating_sub(1)));
    text
}

/// An error in the C library's words.
pub fn io_error(e: &io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), errno)
}

/// Why listening sockets are not held.
pub fn refusal(r: Refusal) -> String {
    let why = match r {
        Refusal::Unreachable(number) => return errno(number),
        Refusal::NoFile(number) => {
            return format!("the file that names its stats socket cannot be written: {}", errno(number));
        }
        Refusal::NoPlace => "no stats socket can be named after control_socket",
        Refusal::NoAnswer => "no answer",
        Refusal::Timeout => "no answer in time",
        Refusal::Stranger => "another process answers",
        Refusal::TooMany => "too many",
        Refusal::Truncated => "more than the limit of open files",
        Refusal::Garbage => "not an answer to _getsocks",
    };
    why.into()
}

/// Why an attempt of a check failed.
pub fn failure(f: Failure) -> String {
    match f {
        Failure::Errno(number) => errno(number),
        Failure::TimedOut => "timed out".into(),
        Failure::Status(code) => format!("HTTP {code}"),
        Failure::NotHttp => "the answer is not HTTP".into(),
        Failure::Closed => "connection closed without an answer".into(),
        Failure::Exit(e) => exit(e),
    }
}

/// Something that is tracked: what it is, and its name.
pub fn tracked(node: &Node, what: Tracked) -> (&'static str, &str) {
    match what {
        Tracked::Interface(l) => ("interface ", super::link(node, l)),
        Tracked::Check(c) => ("check ", node.checks.get(c).map_or("?", |c| c.name.as_str())),
        Tracked::Haproxy => ("HAProxy", ""),
    }
}

/// `02:00:5e:10:00:01`
pub fn mac(m: [u8; 6]) -> String {
    let mut s = String::new();
    for b in m {
        write!(s, ":{b:02x}");
    }
    s.split_off(1)
}

/// The change of state that a notice tells of: `VI_1 MASTER`.
pub(super) fn notice(n: &Notice) -> String {
    let name = match &n.subject {
        Subject::Router(name) | Subject::Group(name) => name,
        Subject::Haproxy => "HAProxy",
    };
    format!("{name} {}", n.state.name())
}
