//! What happened: typed, never a string. `words` renders it in keepalived's words.

use crate::check;
use crate::haproxy::supervisor;
use crate::notify::notice::{self, Notice};
use crate::notify::outbox;
use crate::vrrp::faults::Faults;
use crate::vrrp::foreign::Other;
use crate::vrrp::group;
use crate::vrrp::machine::{Kind, Note, Resigned, Why};
use crate::vrrp::packet::{Discard, Notes};
use std::net::IpAddr;
use std::time::Duration;

/// One thing that happened. `router`, `link` and `entry` are indices into the node's virtual routers, links
/// and VIPs.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A virtual router entered a state.
    Entered { router: usize, kind: Kind, why: Why },
    /// A virtual router cannot take part.
    Fault { router: usize, faults: Faults },
    /// All members of a sync group are in this state, or one in FAULT; never `Init`.
    Group { group: usize, state: group::State },
    /// Heard something.
    Noted { router: usize, note: Note },
    /// An advert was refused. `interval`: the sender's as version 2 has it, for where ours is another.
    Discarded { router: usize, src: IpAddr, why: Discard, interval: Duration },
    /// A packet was refused before it was known whose it is. No source: not even that could be read.
    Bogus { link: usize, src: Option<IpAddr>, why: Discard },
    /// An advert was accepted although it is odd.
    Odd { router: usize, src: IpAddr, notes: Notes },
    /// Somebody uses a VRID that nobody here has; with one of our VIPs, it is a second master.
    UnknownVrid { link: usize, vrid: u8, src: IpAddr, vip: Option<usize> },
    /// There are two masters. See `vrrp::foreign`.
    SecondMaster { router: usize, other: Other },
    /// There were, for so long.
    SecondMasterGone { router: usize, src: IpAddr, lasted: Duration },
    /// Another host announced a VIP that is held here; it is announced anew.
    VipContested { entry: usize, mac: [u8; 6] },
    /// VIPs are wanted from now on.
    SettingVips { router: usize },
    /// VIPs are let go.
    RemovingVips { router: usize },
    /// Priority 0 goes out.
    PriorityZero { router: usize },
    /// The VIPs are kept until the successor has them.
    HandOverStarts { router: usize, timeout: Duration },
    /// The successor announced, or was heard and had time to.
    HandOverDone { router: usize, announced: bool },
    /// Nobody came.
    HandOverTimedOut { router: usize },
    /// The kernel has a VIP.
    VipAdded { entry: usize },
    /// The kernel does not have it any more, by our doing.
    VipRemoved { entry: usize },
    /// The kernel refused to add it.
    VipAddFailed { entry: usize, errno: i32 },
    /// The kernel refused to remove it.
    VipRemoveFailed { entry: usize, errno: i32 },
    /// Somebody else's permanent address.
    VipForeign { entry: usize },
    /// Left by keepalived, ours now.
    VipTakenOver { entry: usize },
    /// Deleted by somebody else, and put back. `times`: how often so far.
    VipDeleted { entry: usize, times: u32 },
    /// Its lease ended while it was wanted.
    VipExpired { entry: usize },
    /// A burst of announcements of this VIP begins.
    Announcing { entry: usize },
    /// A frame could not be sent.
    AnnounceFailed { entry: usize, errno: i32 },
    /// An advert could not be sent to the group or to a peer.
    SendFailed { router: usize, to: IpAddr, errno: i32 },
    /// This process did not run for longer than backups wait.
    Stalled { router: usize, silence: Duration },
    /// A renewal came too late, so the VIPs were removed and announced anew.
    LateRenewal { router: usize },
    /// An interface changed.
    Link { link: usize, present: bool, running: bool },
    /// The macvlan of a virtual MAC was made.
    VmacMade { link: usize },
    /// It could not be made, or not be put up or down.
    VmacFailed { link: usize, errno: i32 },
    /// Its name is taken by somebody else's interface.
    VmacForeign { link: usize },
    /// An interface's sockets could not be opened.
    OpenFailed { link: usize, errno: i32 },
    /// Something about HAProxy.
    Haproxy(supervisor::Event),
    /// Something about a check; `output`: the first line that its command wrote.
    Check { check: usize, said: check::Transition, output: String },
    /// Tracking has changed the priority.
    Priority { router: usize, from: u8, to: u8 },
    /// What became of the command to resign.
    Resigned { router: usize, how: Resigned },
    /// A virtual router that is not configured any more has let go of all it had.
    Forgotten { name: String },
    /// A hook did not do what it was told.
    HookFailed { notice: Notice, failure: check::Failure },
    /// Something about a mail; `text`: what the server, or the child that talked to it, said.
    Mail { notice: Notice, said: outbox::Delivery, text: String },
    /// Starting to take part is put off.
    StartupDelay(Duration),
    /// The stop began; a second request makes it fast.
    Stopping { again: bool },
    /// Netlink lost messages; everything is read again.
    Overrun,
}

/// What an event is about: indices into the node's tables, as in [`Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A virtual router.
    Router(usize),
    /// A virtual address.
    Vip(usize),
    /// A sync group.
    Group(usize),
    /// A check.
    Check(usize),
    /// An interface.
    Link(usize),
    /// HAProxy.
    Haproxy,
    /// What a notice names; it may no longer be configured.
    Notice(notice::Subject),
    /// vipd itself.
    Vipd,
}

impl Event {
    /// What it is about. `--watch` names it in a column; the log limits each kind of event by it.
    pub fn subject(&self) -> Subject {
        match self {
            Event::Entered { router, .. }
            | Event::Fault { router, .. }
            | Event::Noted { router, .. }
            | Event::Discarded { router, .. }
            | Event::Odd { router, .. }
            | Event::SecondMaster { router, .. }
            | Event::SecondMasterGone { router, .. }
            | Event::SettingVips { router }
            | Event::RemovingVips { router }
            | Event::PriorityZero { router }
            | Event::HandOverStarts { router, .. }
            | Event::HandOverDone { router, .. }
            | Event::HandOverTimedOut { router }
            | Event::SendFailed { router, .. }
            | Event::Stalled { router, .. }
            | Event::LateRenewal { router }
            | Event::Resigned { router, .. }
            | Event::Priority { router, .. } => Subject::Router(*router),
            Event::VipAdded { entry }
            | Event::VipRemoved { entry }
            | Event::VipAddFailed { entry, .. }
            | Event::VipRemoveFailed { entry, .. }
            | Event::VipForeign { entry }
            | Event::VipTakenOver { entry }
            | Event::VipDeleted { entry, .. }
            | Event::VipExpired { entry }
            | Event::VipContested { entry, .. }
            | Event::Announcing { entry }
            | Event::AnnounceFailed { entry, .. } => Subject::Vip(*entry),
            Event::Group { group, .. } => Subject::Group(*group),
            Event::Check { check, .. } => Subject::Check(*check),
            Event::Link { link, .. }
            | Event::VmacMade { link }
            | Event::VmacFailed { link, .. }
            | Event::VmacForeign { link }
            | Event::OpenFailed { link, .. }
            | Event::Bogus { link, .. }
            | Event::UnknownVrid { link, .. } => Subject::Link(*link),
            Event::Haproxy(_) => Subject::Haproxy,
            Event::HookFailed { notice, .. } | Event::Mail { notice, .. } => {
                Subject::Notice(notice.subject.clone())
            }
            Event::Forgotten { .. } | Event::StartupDelay(_) | Event::Stopping { .. } | Event::Overrun => {
                Subject::Vipd
            }
        }
    }
}
