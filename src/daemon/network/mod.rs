//! The daemon's side of the network: sockets of each interface, macvlans, the kernel's tables.

pub(crate) mod fence;
pub(crate) mod links;
pub(crate) mod tables;
pub(crate) mod vmac;

use crate::base::time::{Time, earlier};
use crate::daemon::poll::{PollSet, Source};
use crate::lease::TAG;
use crate::sys::batch::Batch;
use crate::sys::diag::Connections;
use crate::sys::netlink::Netlink;
use crate::sys::socket::{Kind, Vrrp};
use fence::Fence;
use links::Sockets;
use std::os::fd::AsFd;

/// Descriptors and buffers.
pub(super) struct Network {
    pub(super) netlink: Netlink,
    /// The leases in nf_tables.
    pub(super) fence: Fence,
    /// Of each link of the node, by its index.
    pub(super) sockets: Vec<Sockets>,
    /// Receives packets, one or many.
    batch: Batch,
    /// Holds an advert that is sent.
    out: Vec<u8>,
    /// When the kernel's tables are to be read again.
    reread_at: Option<Time>,
    /// The TCP connections, listed once in a turn in which addresses leave.
    connections: Option<Connections>,
    /// The kernel cannot reset connections, and the log says so.
    no_diag: bool,
}

impl Network {
    /// Opens netlink; the sockets of links follow when the node asks for them.
    pub(super) fn open() -> nix::Result<Self> {
        Ok(Network {
            netlink: Netlink::open(TAG)?,
            fence: Fence::default(),
            sockets: Vec::new(),
            batch: Batch::default(),
            out: Vec::new(),
            reread_at: None,
            connections: None,
            no_diag: false,
        })
    }

    /// Makes room for the sockets of so many links.
    pub(super) fn resize(&mut self, links: usize) {
        self.sockets.resize_with(links, Sockets::default);
    }

    /// Drops the list of connections: it is valid for one turn.
    pub(super) fn end_turn(&mut self) {
        self.connections = None;
    }

    /// Adverts that were lost because they came faster than they were read, by link.
    pub(super) fn overruns(&self) -> impl Iterator<Item = (usize, u64)> {
        let lost = |s: &Sockets| [&s.vrrp, &s.ah].into_iter().flatten().map(Vrrp::overruns).sum();
        self.sockets.iter().map(lost).enumerate()
    }

    /// Whether the kernel's tables are to be read again.
    pub(super) fn is_reread_due(&self, now: Time) -> bool {
        self.reread_at.is_some_and(|t| now >= t)
    }

    /// The next deadline: reading tables again, or sockets that are polled again.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let resume = |s: &Sockets| s.unknown_vrid_after.filter(|t| *t > now);
        let at = earlier(self.reread_at, self.fence.retry_at());
        self.sockets.iter().fold(at, |at, s| earlier(at, resume(s)))
    }

    /// Adds what is to be waited for.
    pub(super) fn poll<'a>(&'a self, now: Time, set: &mut PollSet<'a>) {
        set.add(self.netlink.as_fd(), Source::Netlink);
        if let Some(fd) = self.fence.events_fd() {
            set.add(fd, Source::Fence);
        }
        for (link, sockets) in self.sockets.iter().enumerate() {
            sockets.poll(link, now, set);
        }
    }
}

impl Sockets {
    fn poll<'a>(&'a self, link: usize, now: Time, set: &mut PollSet<'a>) {
        for (kind, socket) in [(Kind::Plain, &self.vrrp), (Kind::Ah, &self.ah)] {
            if let Some(s) = socket {
                set.add(s.as_fd(), Source::Vrrp(link, kind));
            }
        }
        if let Some(s) = &self.vmac {
            set.add(s.as_fd(), Source::Vmac(link));
        }
        if let Some(s) = &self.vrrp_v6 {
            set.add(s.as_fd(), Source::VrrpV6(link));
        }
        if let Some(s) = &self.arp {
            set.add(s.as_fd(), Source::Arp(link));
        }
        if let Some(s) = &self.neighbours {
            set.add(s.as_fd(), Source::Neighbours(link));
        }
        if self.unknown_vrid_after.is_none_or(|t| now >= t) {
            if let Some(s) = &self.unknown_vrid {
                set.add(s.as_fd(), Source::UnknownVrid(link));
            }
            if let Some(s) = &self.unknown_vrid_v6 {
                set.add(s.as_fd(), Source::UnknownVridV6(link));
            }
        }
    }
}
