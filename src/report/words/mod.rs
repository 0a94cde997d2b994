//! What happened, in keepalived's words, so that existing log watches go on working.

use crate::base::exit::Exit;
use crate::base::text::Write;
use crate::check::{Failure, Transition};
use crate::event::Event;
use crate::haproxy::listeners::Refusal;
use crate::haproxy::supervisor::Event as Haproxy;
use crate::node::{Node, Tracked};
use crate::notify::notice::Notice;
use crate::notify::notice::Subject;
use crate::notify::outbox;
use crate::vrrp::faults::Faults;
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Note, Resigned, Why};
use crate::vrrp::packet::Discard;
use log::Level::{self, Debug, Error, Info, Warn};
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
        Why::Resumed => "resumed, the lease was still running".into(),
        Why::MasterDown => "the master fell silent".into(),
        Why::MasterLeft => "the master gave up".into(),
        Why::NoMaster => "no master was heard".into(),
        Why::Preempted => "preempted a master of lower priority".into(),
        Why::Outranked(m) => format!("higher advert from {}, priority {}", m.src, m.priority),
        Why::Stalled => "no advert went out for too long".into(),
        Why::Group => "another member of the group was outranked".into(),
        Why::Resigned => "told to resign".into(),
        Why::Left => "asked to leave".into(),
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
        Resigned::Nobody(d) => format!("no successor within {} ms: stays master", ms(&d)),
        Resigned::Forced(d) => format!("resigned although there is no successor within {} ms", ms(&d)),
        Resigned::NotMaster => "not master: it does not preempt, that is all".into(),
        Resigned::Interrupted => "a stop, a fault or a stall came in between".into(),
        Resigned::Busy => "it is being handed over already".into(),
        Resigned::Owner => "the owner of the addresses (priority 255) cannot resign".into(),
    }
}

/// Why a virtual router does not take part.
pub fn faults(f: Faults) -> String {
    let words: Vec<&str> = Faults::WORDS.iter().filter(|(x, _)| f.has(*x)).map(|(_, w)| *w).collect();
    words.join(", ")
}

/// Whole milliseconds; `as_millis` is a `u128`, whose formatting is large.
fn ms(d: &Duration) -> u64 {
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
        Failure::NotHttp => "the answer is no HTTP".into(),
        Failure::Closed => "closed without an answer".into(),
        Failure::Exit(e) => exit(e),
    }
}

/// Something that is tracked: what it is, and its name.
pub fn tracked(node: &Node, what: Tracked) -> (&'static str, &str) {
    match what {
        Tracked::Interface(l) => ("interface ", node.links.get(l).map_or("?", |l| l.name.as_str())),
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

/// Whose change of state somebody is told, and which: `VI_1 MASTER`.
fn notice(n: &Notice) -> String {
    let name = match &n.subject {
        Subject::Router(name) | Subject::Group(name) => name,
        Subject::Haproxy => "HAProxy",
    };
    format!("{name} {}", n.state.name())
}

/// One line for an event, with its level.
pub fn render(node: &Node, e: &Event) -> (Level, String) {
    let mut s = String::new();
    let level = write(&mut s, node, e);
    (level, s)
}

/// `VRRP_Instance(VI_1) `, with which most lines begin.
#[inline(never)]
fn router(s: &mut String, node: &Node, router: usize) {
    let name = node.routers.get(router).map_or("?", |i| i.cfg.name.as_str());
    for part in ["VRRP_Instance(", name, ") "] {
        s.push_str(part);
    }
}

fn write(s: &mut String, node: &Node, event: &Event) -> Level {
    let link = |link: &usize| node.links.get(*link).map_or("?", |l| l.name.as_str());
    let vip = |entry: &usize| node.addrs.entries.get(*entry);
    let err = |number: &i32| errno(*number);
    macro_rules! say {
        ($level:expr, $($arg:tt)*) => {{ write!(s, $($arg)*); $level }};
    }
    macro_rules! say_inst {
        ($level:expr, $router:expr, $($arg:tt)*) => {{
            router(s, node, *$router);
            say!($level, $($arg)*)
        }};
    }
    // Every such line names the address and the device.
    macro_rules! say_vip {
        ($level:expr, $entry:expr, $fmt:literal $($arg:tt)*) => {{
            let Some(v) = vip($entry) else { return Debug };
            say!($level, $fmt, addr = v.addr, dev = link(&v.link) $($arg)*)
        }};
    }
    macro_rules! say_inst_vip {
        ($level:expr, $entry:expr, $($arg:tt)*) => {{
            router(s, node, vip($entry).map_or(usize::MAX, |v| v.router));
            say_vip!($level, $entry, $($arg)*)
        }};
    }
    match event {
        Event::Entered { router, kind: Kind::Master, why: w } => {
            say_inst!(Info, router, "Transition to MASTER STATE ({})\n", why(*w));
            say_inst!(Info, router, "Entering MASTER STATE")
        }
        Event::Entered { router, kind: Kind::Backup, why: w } => {
            say_inst!(Info, router, "Entering BACKUP STATE ({})", why(*w))
        }
        Event::Entered { router, kind: Kind::Init, why: Why::Left } => say_inst!(Info, router, "Leaving"),
        Event::Entered { router, kind: Kind::Init, .. } => say_inst!(Info, router, "Entering FAULT STATE"),
        Event::Fault { router, faults: f } => {
            say_inst!(
                if f.is_pending() { Info } else { Warn },
                router,
                "Now in {} state: {}",
                state(Kind::Init, *f),
                faults(*f)
            )
        }
        Event::Group { group, state } => {
            let name = node.groups.get(*group).map_or("?", |g| g.name.as_str());
            let state = group_state(*state);
            say!(
                Info,
                "VRRP_Group({name}) Syncing instances to {state} state\n\
                 VRRP_Group({name}) Transition to {state} STATE"
            )
        }
        Event::Noted { router, note } => match note {
            Note::HigherAdvert(m) => {
                say_inst!(Info, router, "Received higher prio advert {} from {}", m.priority, m.src)
            }
            Note::LowerAdvert(m) => say_inst!(
                Info,
                router,
                "Received lower prio advert {} from {}, forcing new election",
                m.priority,
                m.src
            ),
            Note::MasterGone(m) => say_inst!(Info, router, "Master {} sent priority 0", m.src),
            Note::StrangerGone(src) => {
                say_inst!(Debug, router, "Ignoring priority 0 from {}: not the master", src)
            }
            Note::SecondOwner(m) => {
                say_inst!(Error, router, "{} claims to be the owner of the addresses, too", m.src)
            }
        },
        Event::Discarded { router, src, why: Discard::OwnSource, .. } => {
            say_inst!(Warn, router, "received an advert from our own address {src}")
        }
        Event::Discarded { router, src, why: d, interval } => {
            match d {
                Discard::AuthPass => say_inst!(Warn, router, "received an invalid passwd from {src}!"),
                Discard::AuthType => {
                    say_inst!(Warn, router, "received an advert from {src} with another authentication type")
                }
                Discard::AuthIcv => say_inst!(
                    Warn,
                    router,
                    "IPSEC-AH : invalid IPSEC HMAC-MD5 value from {src}. Due to fields mutation or bad password !"
                ),
                Discard::AuthReplay => say_inst!(
                    Warn,
                    router,
                    "IPSEC-AH : sequence number already processed from {src}: a replay, or it was restarted"
                ),
                Discard::Version => {
                    say_inst!(Warn, router, "received an advert from {src} with another VRRP version")
                }
                Discard::Destination => say_inst!(
                    Warn,
                    router,
                    "received an advert from {src} by multicast and not by unicast, or the reverse"
                ),
                Discard::UnknownPeer => {
                    say_inst!(Warn, router, "received an advert from {src}, which is not one of the peers")
                }
                Discard::Interval => {
                    let mine = node.routers.get(*router).map_or(0, |i| i.cfg.advert_int.as_secs());
                    let theirs = interval.as_secs();
                    say_inst!(
                        Warn,
                        router,
                        "advertisement interval mismatch mine={mine} sec rcved={theirs} sec from {src}"
                    )
                }
                other => say_inst!(Warn, router, "invalid advert from {src}: {}", other.name()),
            };
            let dev = node.routers.get(*router).map_or("?", |i| link(&i.link));
            write!(s, "\nbogus VRRP packet received on {dev} !!!\n");
            say_inst!(Warn, router, "ignoring received advertisment...")
        }
        Event::Bogus { link: l, src, why: d } => {
            write!(s, "bogus VRRP packet received on {} !!! ({}", link(l), d.name());
            if let Some(src) = src {
                write!(s, ", from {src}");
            }
            // keepalived's IPv6 unicast has 64.
            let hint =
                if *d == Discard::Ttl { ": not 255, by a router or keepalived's unicast_ttl" } else { "" };
            say!(Warn, "{hint})")
        }
        Event::Odd { router, src, notes } => {
            if notes.address_count_differs {
                say_inst!(
                    Warn,
                    router,
                    "receive an invalid ip number count associated with VRID from {}: \
                     one or more VIP associated with VRID mismatch actual MASTER advert",
                    src
                )
            } else if notes.address_list_differs {
                say_inst!(
                    Warn,
                    router,
                    "ip address associated with VRID not present in received packet from {}: \
                     one or more VIP associated with VRID mismatch actual MASTER advert",
                    src
                )
            } else if notes.interval_differs {
                say_inst!(Info, router, "the interval of {} is not ours; adopted while it is master", src)
            } else {
                say_inst!(Warn, router, "the first address that {} advertises is not link-local", src)
            }
        }
        Event::UnknownVrid { link: l, vrid, src, vip: None } => {
            say!(Info, "advert with VRID {vrid} from {src} on {}: not ours", link(l))
        }
        Event::UnknownVrid { link: l, vrid, src, vip: Some(entry) } => {
            writeln!(s, "bogus VRRP packet received on {} !!!", link(l));
            say_inst_vip!(
                Error,
                entry,
                "{src} announces {addr} on {dev} with VRID {vrid}: two masters, or a wrong virtual_router_id"
            )
        }
        Event::SecondMaster { router, other } => {
            say_inst!(
                Error,
                router,
                "split brain: {} is master, too, with priority {}",
                other.src,
                other.priority
            );
            match other.refused {
                Some(why) => say!(Error, "; its adverts are refused ({})", why.name()),
                None => Error,
            }
        }
        Event::SecondMasterGone { router, src, lasted } => {
            let s = lasted.as_secs();
            say_inst!(Warn, router, "the split brain with {src} is over after {s} s")
        }
        Event::VipContested { entry, mac } => {
            let by = self::mac(*mac);
            say_inst_vip!(
                Error,
                entry,
                "{addr} on {dev} was announced by {by}, another host: announcing it again"
            )
        }
        Event::SettingVips { router } => say_inst!(Info, router, "setting protocol VIPs."),
        Event::RemovingVips { router } => say_inst!(Info, router, "removing protocol VIPs."),
        Event::PriorityZero { router } => say_inst!(Info, router, "sending 0 priority"),
        Event::HandOverStarts { router, timeout } => say_inst!(
            Info,
            router,
            "keeping protocol VIPs until the successor has them, at most {} ms",
            ms(timeout)
        ),
        Event::HandOverDone { router, announced: true } => {
            say_inst!(Info, router, "successor announced the VIPs")
        }
        Event::HandOverDone { router, announced: false } => {
            say_inst!(Info, router, "successor advertised")
        }
        Event::HandOverTimedOut { router } => say_inst!(Info, router, "no successor was heard"),
        Event::VipAdded { entry } => {
            say_vip!(Info, entry, "Netlink reflector reports IP {addr} added on {dev}")
        }
        Event::VipRemoved { entry } => {
            say_vip!(Info, entry, "Netlink reflector reports IP {addr} removed on {dev}")
        }
        Event::VipAddFailed { entry, errno } => {
            let hint = match *errno {
                libc::EACCES => " (net.ipv6.conf.*.disable_ipv6 is 1)",
                _ => "",
            };
            let why = err(errno);
            say_inst_vip!(Error, entry, "cannot add {addr} on {dev}: {why}{hint}")
        }
        Event::VipRemoveFailed { entry, errno } => {
            let why = err(errno);
            say_inst_vip!(Error, entry, "cannot remove {addr} on {dev}, trying again: {why}")
        }
        Event::VipForeign { entry } => say_inst_vip!(
            Error,
            entry,
            "{addr} on {dev} is somebody else's permanent address: not touched, not announced; \
             remove it or set priority = 255"
        ),
        Event::VipTakenOver { entry } => {
            say_inst_vip!(Warn, entry, "{addr} on {dev} was left by keepalived: taken over")
        }
        Event::VipDeleted { entry, times: 1 } => {
            say_inst_vip!(Warn, entry, "{addr} was deleted on {dev} by somebody else: put back")
        }
        Event::VipDeleted { entry, times } => say_inst_vip!(
            Error,
            entry,
            "{addr} was deleted on {dev} by somebody else, {times} times by now: put back; what manages the \
             addresses of {dev} beside vipd? (`ip monitor` shows when)"
        ),
        Event::VipExpired { entry } => {
            say_inst_vip!(Warn, entry, "the lease of {addr} on {dev} ended before it was renewed")
        }
        Event::Announcing { entry } if vip(entry).is_some_and(|v| v.addr.is_ipv6()) => {
            say_vip!(Info, entry, "Sending unsolicited Neighbour Adverts on {dev} for {addr}")
        }
        Event::Announcing { entry } => {
            say_vip!(Info, entry, "Sending gratuitous ARPs on {dev} for {addr}")
        }
        Event::AnnounceFailed { entry, errno } => {
            let why = err(errno);
            say_inst_vip!(Warn, entry, "cannot announce {addr} on {dev}: {why}")
        }
        Event::SendFailed { router, to, errno } => {
            let hint = match *errno {
                libc::EPERM => " (a firewall drops protocol 112 or 51, or CAP_NET_RAW is missing)",
                _ => "",
            };
            say_inst!(Warn, router, "cannot send adverts to {to}: {}{hint}", err(errno))
        }
        Event::Stalled { router, silence } => say_inst!(
            Warn,
            router,
            "no advert went out for {} ms, longer than a backup waits: giving up mastership",
            ms(silence)
        ),
        Event::LateRenewal { router } => say_inst!(Warn, router, "a lease was renewed too late"),
        Event::Link { link: l, present: false, .. } => say!(Warn, "interface {} does not exist", link(l)),
        Event::Link { link: l, running, .. } => {
            let up = if *running { "up" } else { "down" };
            say!(if *running { Info } else { Warn }, "Netlink reports {} {up}", link(l))
        }
        Event::VmacMade { link: l } => say!(Info, "Success creating VMAC interface {}", link(l)),
        Event::VmacFailed { link: l, errno } => {
            let why = if *errno == libc::EOPNOTSUPP { " (has this kernel macvlan?)" } else { "" };
            say!(Error, "cannot have the VMAC interface {}: {}{why}", link(l), err(errno))
        }
        Event::VmacForeign { link: l } => {
            say!(
                Error,
                "cannot create the VMAC interface {0}: an interface of that name is there already and is not a macvlan of the right MAC and parent; remove it (ip link del {0})",
                link(l)
            )
        }
        Event::OpenFailed { link: l, errno } => {
            say!(Error, "cannot open the sockets of {}: {}", link(l), err(errno))
        }
        Event::Haproxy(Haproxy::SpawnFailed { errno, retry }) => {
            let binary = node.haproxy.as_ref().map_or("haproxy".into(), |h| h.binary().to_string_lossy());
            say!(Error, "{binary} cannot be executed: {}; next try in {} ms", err(errno), ms(retry))
        }
        Event::Haproxy(h) => haproxy(s, h),
        Event::Check { check, said, output } => {
            write!(s, "VRRP_Script({}) ", node.checks.get(*check).map_or("?", |c| c.name.as_str()));
            let level = match said {
                Transition::Up => return say!(Info, "succeeded"),
                Transition::Down(why) => say!(Warn, "failed ({})", failure(*why)),
                Transition::Failing(why, n) => say!(Debug, "{}, {n} in a row", failure(*why)),
            };
            if !output.is_empty() {
                write!(s, ": {output}");
            }
            level
        }
        Event::Priority { router, from, to } => {
            say_inst!(Info, router, "Changing effective priority from {from} to {to}")
        }
        Event::Resigned { router, how } => {
            let level = if let Resigned::Nobody(_) = how { Warn } else { Info };
            say_inst!(level, router, "{}", resigned(*how))
        }
        Event::Forgotten { name } => say!(Info, "VRRP_Instance({name}) has left"),
        Event::HookFailed { notice: n, failure: f } => {
            say!(Warn, "notify {} failed ({})", notice(n), failure(*f))
        }
        Event::Mail { notice: n, said, text } => {
            write!(s, "mail about {}: ", notice(n));
            match said {
                outbox::Delivery::Sent if text.is_empty() => say!(Info, "sent"),
                outbox::Delivery::Sent => say!(Warn, "sent, but not to all: {text}"),
                outbox::Delivery::Delayed(d) => say!(Warn, "{text}; next try in {} s", d.as_secs()),
                outbox::Delivery::Lost => say!(Error, "{text}; given up"),
                outbox::Delivery::TooMany => say!(Warn, "too many mails: some are left out"),
            }
        }
        Event::StartupDelay(d) => say!(Info, "startup_delay: taking part in {} s", d.as_secs()),
        Event::Stopping { again: false } => say!(Info, "Stopping"),
        Event::Stopping { again: true } => say!(Warn, "Stopping: asked again, not waiting any longer"),
        Event::Overrun => say!(Warn, "netlink: messages were lost, reading everything again"),
    }
}

/// HAProxy's own reason.
fn own_reason(reason: &Option<String>) -> String {
    reason.as_ref().map_or(String::new(), |text| format!(": {text}"))
}

fn haproxy(s: &mut String, e: &Haproxy) -> Level {
    macro_rules! say {
        ($level:expr, $($arg:tt)*) => {{ write!(s, $($arg)*); $level }};
    }
    match e {
        Haproxy::Started { pid } => say!(Info, "haproxy[{pid}] started"),
        Haproxy::Adopted { pid } => say!(Info, "haproxy[{pid}] runs already: taking it over"),
        Haproxy::Ready { pid, worker, version, after } => {
            say!(Info, "haproxy[{pid}] ready after {} ms (worker {worker}, version {version})", ms(after))
        }
        Haproxy::SpawnFailed { .. } => Error, // told above, with the name of the program
        Haproxy::StartFailed { exit: x, retry } => {
            say!(Error, "haproxy failed to start: {}; next try in {} ms", exit(*x), ms(retry))
        }
        Haproxy::Killed { retry } => say!(Warn, "haproxy was killed; next try in {} ms", ms(retry)),
        Haproxy::StartTimeout { limit, next } => say!(
            Error,
            "haproxy is not ready within {} ms (start_timeout): killed; the next start gets {} s",
            ms(limit),
            next.as_secs()
        ),
        Haproxy::Died { exit: x } => say!(Error, "haproxy died: {}; starting it again", exit(*x)),
        Haproxy::Hung { misses } => say!(Error, "haproxy missed {misses} answers: it hangs and is killed"),
        Haproxy::CrashLoop { deaths, window } => {
            say!(
                Error,
                "haproxy died {deaths} times within {} s: other nodes are preferred until it has run for as long",
                window.as_secs()
            )
        }
        Haproxy::Steady => say!(Info, "haproxy has not died for a while: well again"),
        Haproxy::Checking => say!(Info, "haproxy: reload asked for, checking its configuration"),
        Haproxy::ReloadBusy => {
            say!(Warn, "haproxy: no reload: it is not ready; its next start reads its files")
        }
        Haproxy::ReloadLater => say!(Info, "haproxy: another reload follows the one that is under way"),
        Haproxy::Plain => say!(
            Warn,
            "haproxy runs without a master process (-W and -S have no effect): it can be restarted, not reloaded"
        ),
        Haproxy::ReloadPlain => say!(
            Error,
            "haproxy: no reload: it runs without a master process; `kill PID` makes vipd start it again at once"
        ),
        Haproxy::ReloadRefused { exit: Some(x), reason } => {
            say!(
                Error,
                "haproxy: no reload: its configuration is refused ({}); the old one goes on{}",
                exit(*x),
                own_reason(reason)
            )
        }
        Haproxy::ReloadRefused { exit: None, reason: Some(reason) } => {
            say!(Error, "haproxy: no reload: its configuration is refused: {reason}; the old one goes on")
        }
        Haproxy::NoListener { retry } => say!(
            Error,
            "haproxy is not started: its configuration has no `bind`, nothing would be served; next try in {} ms",
            ms(retry)
        ),
        Haproxy::ReloadRefused { exit: None, reason: None } => {
            say!(
                Error,
                "haproxy: no reload: the check of its configuration takes too long; the old one goes on"
            )
        }
        Haproxy::Reloaded { worker, after } => {
            say!(Info, "haproxy reloaded: worker {worker} answers after {} ms", ms(after))
        }
        Haproxy::ReloadFailed { reason } => {
            say!(Error, "haproxy: reload failed: no new worker answers{}", own_reason(reason))
        }
        Haproxy::ListenersHeld { count } => {
            say!(Info, "haproxy: {count} listening socket(s) held over a crash")
        }
        Haproxy::ListenersNotHeld { why } => say!(
            Warn,
            "haproxy: its listening sockets cannot be held ({}): if it dies, connections are refused until it \
             is started again",
            refusal(*why)
        ),
        Haproxy::Unbound { vip } => say!(
            Error,
            "haproxy cannot bind to {vip} before this node holds it: write `bind {vip}:PORT transparent` or \
             `bind :PORT`, or allow it with nonlocal_bind = yes (net.ipv4.ip_nonlocal_bind, net.ipv6.ip_nonlocal_bind)"
        ),
        Haproxy::Stopping => say!(Info, "haproxy: soft stop"),
        Haproxy::Stopped { exit: x, after } => {
            say!(Info, "haproxy stopped after {} ms: {}", ms(after), exit(*x))
        }
        Haproxy::StopForced { kill: false } => say!(Warn, "haproxy still has connections: terminating it"),
        Haproxy::StopForced { kill: true } => say!(Warn, "haproxy does not stop: killing it"),
    }
}
