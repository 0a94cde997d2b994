//! What happened, in keepalived's phrases where it has them, so that existing log watches go on working; in
//! plain English otherwise.

mod address;
mod haproxy;
mod hmac;
mod names;
mod router;

pub use names::{
    errno, exit, failure, faults, group_state, haproxy_level, io_error, mac, refusal, resigned, state, to_do,
    tracked, why,
};

use crate::base::text::Write;
use crate::check::{Failure, Transition};
use crate::event::Event;
use crate::node::Node;
use crate::notify::notice::Notice;
use crate::notify::outbox::Delivery;
use log::Level::{self, Debug, Error, Info, Warn};

/// The line of an event (some have two or three) and its level.
pub fn render(node: &Node, e: &Event) -> (Level, String) {
    let mut out = Out { text: String::new(), node };
    let level = write(&mut out, e);
    (level, out.text)
}

/// A line being written.
struct Out<'a> {
    text: String,
    node: &'a Node,
}

/// Appends to the line; its value is the level.
macro_rules! say {
    ($out:expr, $level:expr, $($arg:tt)*) => {{
        write!($out, $($arg)*);
        $level
    }};
}
use say;

impl Out<'_> {
    /// For `write!`.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text);
    }

    /// `VRRP_Instance(VI_1) `, with which most lines begin.
    #[inline(never)]
    fn router(&mut self, router: usize) {
        let name = self.node.routers.get(router).map_or("?", |r| r.cfg.name.as_str());
        for part in ["VRRP_Instance(", name, ") "] {
            self.text.push_str(part);
        }
    }

    /// A line of fixed words about a router.
    #[inline(never)]
    fn fixed(&mut self, level: Level, router: usize, text: &str) -> Level {
        self.router(router);
        self.text.push_str(text);
        level
    }
}

/// The name of an interface.
#[inline(never)]
pub fn link(node: &Node, link: usize) -> &str {
    node.links.get(link).map_or("?", |l| l.name.as_str())
}

fn write(out: &mut Out, event: &Event) -> Level {
    use {Event as E, address as vip};
    match event {
        E::Entered { router, kind, why } => router::entered(out, *router, *kind, *why),
        E::Fault { router, faults } => router::fault(out, *router, *faults),
        E::Group { group, state } => router::group(out, *group, *state),
        E::Noted { router, note } => router::noted(out, *router, note),
        E::Discarded { router, src, why, detail } => router::discarded(out, *router, *src, *why, *detail),
        E::Bogus { link, src, why } => router::bogus(out, *link, *src, *why),
        E::Odd { router, src, notes } => router::odd(out, *router, *src, notes),
        E::UnknownVrid { link, vrid, src, vip } => router::unknown_vrid(out, *link, *vrid, *src, *vip),
        E::SecondMaster { router, other } => router::second_master(out, *router, other),
        E::SecondMasterGone { router, src, lasted, over } => {
            router::second_gone(out, *router, *src, *lasted, *over)
        }
        E::SettingVips { router } => out.fixed(Info, *router, "setting protocol VIPs."),
        E::RemovingVips { router } => out.fixed(Info, *router, "removing protocol VIPs."),
        E::PriorityZero { router } => out.fixed(Info, *router, "sending 0 priority"),
        E::HandOverStarts { router, timeout } => router::hand_over(out, *router, timeout),
        E::HandOverDone { router, announced: true } => {
            out.fixed(Info, *router, "successor announced the VIPs")
        }
        E::HandOverDone { router, .. } => out.fixed(Info, *router, "successor advertised"),
        E::HandOverTimedOut { router } => out.fixed(Info, *router, "no successor was heard"),
        E::SendFailed { router, to, errno } => router::send_failed(out, *router, *to, *errno),
        E::Stalled { router, silence } => router::stalled(out, *router, silence),
        E::LateRenewal { router } => out.fixed(Warn, *router, "a lease was renewed too late"),
        E::Priority { router, from, to } => router::priority(out, *router, *from, *to),
        E::Resigned { router, how } => router::resigned(out, *router, *how),
        E::Forgotten { name } => say!(out, Info, "VRRP_Instance({name}) has left"),
        E::VipAdded { entry } => vip::reported(out, *entry, ADDED),
        E::VipRemoved { entry } => vip::reported(out, *entry, REMOVED),
        E::VipAddFailed { entry, errno } => vip::add_failed(out, *entry, *errno),
        E::VipRemoveFailed { entry, errno } => vip::failed(out, Error, *entry, STAYS, *errno),
        E::VipForeign { entry } => vip::line(out, Error, *entry, FOREIGN),
        E::VipTakenOver { entry } => {
            vip::line(out, Warn, *entry, "{addr} on {dev} was left by keepalived: taken over")
        }
        E::VipDeleted { entry, times } => vip::deleted(out, *entry, *times),
        E::VipExpired { entry } => {
            vip::line(out, Warn, *entry, "the lease of {addr} on {dev} ended before it was renewed")
        }
        E::VipContested { entry, mac } => vip::contested(out, *entry, *mac),
        E::Announcing { entry } => vip::announcing(out, *entry),
        E::AnnounceFailed { entry, errno } => vip::failed(out, Warn, *entry, UNANNOUNCED, *errno),
        E::Link { link, present, running } => changed(out, *link, *present, *running),
        E::VmacMade { link } => vmac_made(out, *link),
        E::VmacFailed { link, errno } => vmac_failed(out, *link, *errno),
        E::VmacForeign { link } => vmac_foreign(out, *link),
        E::OpenFailed { link, errno } => open_failed(out, *link, *errno),
        E::Haproxy(h) => haproxy::write(out, h),
        E::Check { check, said, output } => checked(out, *check, said, output),
        E::HookFailed { notice, failure } => hook_failed(out, notice, *failure),
        E::Mail { notice, said, text } => mail(out, notice, said, text),
        E::StartupDelay(d) => say!(out, Info, "startup_delay: taking part in {} s", d.as_secs()),
        E::Stopping { again: false } => say!(out, Info, "Stopping"),
        E::Stopping { again: true } => say!(out, Warn, "Stopping: asked again, so it no longer waits"),
        E::ClockStepped { by, forwards } => hmac::clock_stepped(out, by, *forwards),
        E::ClockUnset => hmac::clock_unset(out),
        E::Overrun => say!(out, Warn, "netlink: messages were lost; reading the kernel's tables again"),
    }
}

const ADDED: &str = "Netlink reflector reports IP {addr} added on {dev}";
const REMOVED: &str = "Netlink reflector reports IP {addr} removed on {dev}";
const STAYS: &str = "cannot remove {addr} on {dev}, trying again: ";
const FOREIGN: &str = "{addr} on {dev} is somebody else's permanent address: not touched, not announced; \
                       remove it or set priority = 255";
const UNANNOUNCED: &str = "cannot announce {addr} on {dev}: ";

fn changed(out: &mut Out, l: usize, present: bool, running: bool) -> Level {
    let name = link(out.node, l);
    match (present, running) {
        (false, _) => say!(out, Warn, "interface {name} does not exist"),
        (_, true) => say!(out, Info, "Netlink reports {name} up"),
        (_, false) => say!(out, Warn, "Netlink reports {name} down"),
    }
}

fn vmac_made(out: &mut Out, l: usize) -> Level {
    say!(out, Info, "Success creating VMAC interface {}", link(out.node, l))
}

fn open_failed(out: &mut Out, l: usize, e: i32) -> Level {
    say!(out, Error, "cannot open the sockets of {}: {}", link(out.node, l), errno(e))
}

fn hook_failed(out: &mut Out, notice: &Notice, why: Failure) -> Level {
    say!(out, Warn, "notify {} failed ({})", names::notice(notice), failure(why))
}

fn vmac_failed(out: &mut Out, l: usize, e: i32) -> Level {
    let hint = if e == libc::EOPNOTSUPP { " (does this kernel have macvlan?)" } else { "" };
    say!(out, Error, "cannot set up the VMAC interface {}: {}{hint}", link(out.node, l), errno(e))
}

fn vmac_foreign(out: &mut Out, l: usize) -> Level {
    let name = link(out.node, l);
    say!(
        out,
        Error,
        "cannot create the VMAC interface {name}: an interface of that name exists and is not a macvlan of the right \
         MAC and parent; remove it (ip link del {name})"
    )
}

fn checked(out: &mut Out, check: usize, said: &Transition, output: &str) -> Level {
    write!(out, "VRRP_Script({}) ", out.node.checks.get(check).map_or("?", |c| c.name.as_str()));
    let level = match said {
        Transition::Up => return say!(out, Info, "succeeded"),
        Transition::Down(why) => say!(out, Warn, "failed ({})", failure(*why)),
        Transition::Failing(why, n) => say!(out, Debug, "{}, {n} in a row", failure(*why)),
    };
    if !output.is_empty() {
        write!(out, ": {output}");
    }
    level
}

fn mail(out: &mut Out, notice: &Notice, said: &Delivery, text: &str) -> Level {
    write!(out, "mail about {}: ", names::notice(notice));
    match said {
        Delivery::Sent if text.is_empty() => say!(out, Info, "sent"),
        Delivery::Sent => say!(out, Warn, "sent, but not to all: {text}"),
        Delivery::Delayed(d) => say!(out, Warn, "{text}; next try in {} s", d.as_secs()),
        Delivery::Lost => say!(out, Error, "{text}; given up"),
        Delivery::TooMany => say!(out, Warn, "too many mails: some are left out"),
    }
}
