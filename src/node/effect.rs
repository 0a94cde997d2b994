//! What the node asks of the daemon.

use super::{VmacOp, fence};
use crate::base::time::Time;
use crate::check;
use crate::haproxy::supervisor;
use crate::lease::Op;
use crate::notify::{hook, outbox};

/// What the daemon is to do.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open the sockets of a link: `opened` or `open_failed`.
    Open { link: usize, ifindex: u32 },
    /// Close them.
    Close { link: usize },
    /// Send an advert, a copy to each peer, if `may_advertise` still says so: `sent` if one went out, and
    /// `send_failed` for each that did not, `unsent` if none did.
    Advert { router: usize, priority: u8, decided: Time },
    /// The leases in nf_tables.
    Fence(fence::Op),
    /// Carry out a batch of address operations: `addrs_done`.
    Addrs(Vec<Op>),
    /// Reset the TCP connections of a virtual router's addresses, which leave: a client that is not told
    /// waits for ever.
    Disconnect { router: usize },
    /// The same of one VIP that is not configured any more.
    DisconnectVip { entry: usize },
    /// Announce one VIP, if `may_announce` still says so.
    Announce { entry: usize },
    /// Announce the source address of a virtual router's adverts.
    AnnounceSource { router: usize },
    /// Forget the neighbours that did not answer on an interface while it had no carrier.
    ForgetUnanswered { ifindex: u32 },
    /// Ask whether somebody else has it.
    Probe { entry: usize },
    /// Keep in the state file what a restarted vipd must know.
    Remember { router: usize, memory: Memory },
    /// Remove the state file of a virtual router that has left or has another name.
    Forget { name: String },
    /// Read the kernel's tables again: `dump_starts` to `dump_ends`.
    Reread,
    /// The macvlan of a virtual MAC: `vmac_done`.
    Vmac { link: usize, op: VmacOp },
    /// Remove an interface that an earlier vipd left.
    Unmake { ifindex: u32 },
    /// Remove all that we made.
    UnmakeAll,
    /// HAProxy; a start only if `may_spawn` still says so.
    Haproxy(supervisor::Action),
    /// The HAProxy that was taken out of the configuration is gone: the next one is that of the
    /// configuration.
    NewService,
    /// A check: `check_done`.
    Check { check: usize, action: check::Action },
    /// A hook: `hook_done`.
    Hook(hook::Action),
    /// A mail: `mail_done`.
    Mail(outbox::Action),
    /// Exit with this status.
    Exit(u8),
}

/// The state file of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Master: a restart may resume.
    Master,
    /// Handed over: a restart must not.
    Leaving,
    /// Nothing to remember.
    Nothing,
    /// In a file of its own, before a higher number is sent: `auth` of the instance.
    Sequence,
}
