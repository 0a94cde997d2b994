//! Events: what happened, as types. `report::words` renders them as text.

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
    /// An advert that is worth a line was heard.
    Noted { router: usize, note: Note },
    /// An advert was refused. `detail`: see `vrrp::authentication::detail`; of a wrong length
    /// `vrrp::packet::excess`.
    Discarded { router: usize, src: IpAddr, why: Discard, detail: i32 },
    /// A packet was refused before its virtual router was known. `src`: `None` if the packet is too short to
    /// tell.
    Bogus { link: usize, src: Option<IpAddr>, why: Discard },
    /// An advert was accepted although it differs from our settings.
    Odd { router: usize, src: IpAddr, notes: Notes },
    /// Another host uses a VRID that no router here has. `vip`: it advertises this VIP of ours, so it is a
    /// second master.
    UnknownVrid { link: usize, vrid: u8, src: IpAddr, vip: Option<usize> },
    /// There are two masters. See `vrrp::foreign`.
    SecondMaster { router: usize, other: Other },
    /// The second master is gone. `lasted`: from its first to its last advert. `over`: one of the two gave
    /// way; otherwise this node only no longer hears it.
    SecondMasterGone { router: usize, src: IpAddr, lasted: Duration, over: bool },
    /// Another host announced a VIP that this node holds; this node announces it again.
    VipContested { entry: usize, mac: [u8; 6] },
    /// VIPs are wanted from now on.
    SettingVips { router: usize },
    /// VIPs are no longer wanted.
    RemovingVips { router: usize },
    /// Priority 0 goes out.
    PriorityZero { router: usize },
    /// The VIPs are kept until the successor has them.
    HandOverStarts { router: usize, timeout: Duration },
    /// The successor announced the VIPs, or advertised and had time to.
    HandOverDone { router: usize, announced: bool },
    /// No successor was heard in time.
    HandOverTimedOut { router: usize },
    /// The kernel has a VIP.
    VipAdded { entry: usize },
    /// The kernel has removed a VIP at our request.
    VipRemoved { entry: usize },
    /// The kernel refused to add it.
    VipAddFailed { entry: usize, errno: i32 },
    /// The kernel refused to remove it.
    VipRemoveFailed { entry: usize, errno: i32 },
    /// A VIP is another program's permanent address.
    VipForeign { entry: usize },
    /// A VIP that keepalived left is taken over.
    VipTakenOver { entry: usize },
    /// Another program deleted a VIP; it is put back. `times`: how often so far.
    VipDeleted { entry: usize, times: u32 },
    /// Its lease ended while it was wanted.
    VipExpired { entry: usize },
    /// A burst of announcements of this VIP begins.
    Announcing { entry: usize },
    /// A frame could not be sent.
    AnnounceFailed { entry: usize, errno: i32 },
    /// An advert could not be sent to the group or to a peer.
    SendFailed { router: usize, to: IpAddr, errno: i32 },
    /// This process did not run for longer than the backups wait.
    Stalled { router: usize, silence: Duration },
    /// A renewal came too late, so the VIPs were removed and announced anew.
    LateRenewal { router: usize },
    /// An interface changed.
    Link { link: usize, present: bool, running: bool },
    /// The macvlan of a virtual MAC was made.
    VmacMade { link: usize },
    /// It could not be made, or not be set up or down.
    VmacFailed { link: usize, errno: i32 },
    /// Its name belongs to another interface.
    VmacForeign { link: usize },
    /// An interface's sockets could not be opened.
    OpenFailed { link: usize, errno: i32 },
    /// HAProxy: see `haproxy::supervisor`.
    Haproxy(supervisor::Event),
    /// A check changed or failed. `output`: the first line that its command wrote.
    Check { check: usize, said: check::Transition, output: String },
    /// Tracking has changed the priority.
    Priority { router: usize, from: u8, to: u8 },
    /// What became of the command to resign.
    Resigned { router: usize, how: Resigned },
    /// A virtual router that is no longer configured has released everything.
    Forgotten { name: String },
    /// A hook failed.
    HookFailed { notice: Notice, failure: check::Failure },
    /// A mail was sent or not. `text`: the answer of the server, or of the child that talked to it.
    Mail { notice: Notice, said: outbox::Delivery, text: String },
    /// The election starts only after `startup_delay`.
    StartupDelay(Duration),
    /// The stop began; a second request makes it fast.
    Stopping { again: bool },
    /// The wall clock was set, and signed adverts depend on it.
    ClockStepped { by: Duration, forwards: bool },
    /// The wall clock was never set, and signed adverts depend on it.
    ClockUnset,
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
            Event::Forgotten { .. }
            | Event::StartupDelay(_)
            | Event::Stopping { .. }
            | Event::ClockStepped { .. }
            | Event::ClockUnset
            | Event::Overrun => Subject::Vipd,
        }
    }
}
