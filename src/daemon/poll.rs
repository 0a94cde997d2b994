//! What the loop waits for. Each owner of descriptors adds its own to the set; what is ready comes back by
//! source.

use crate::control::{Asker, Language};
use crate::daemon::haproxy::service::Source as Haproxy;
use crate::sys::runtime;
use crate::sys::socket::Kind;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What a descriptor is. One that is readable proves nothing but that a read does not block, so every source
/// is read without waiting, and finding nothing there changes nothing.
///
/// A source that names an attempt carries its number, which no other attempt ever has: what was ready for one
/// is never read from the next, even if both had the same descriptor within one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kernel's messages about links and addresses.
    Netlink,
    /// Changes of others in nf_tables.
    Fence,
    Signals,
    /// Another vipd that asks who holds the lock of the network namespace.
    Lone,
    /// Adverts over IPv4; the index of the link, as in the six that follow.
    Vrrp(usize, Kind),
    UnknownVrid(usize),
    VrrpV6(usize),
    Vmac(usize),
    UnknownVridV6(usize),
    Arp(usize),
    Neighbours(usize),
    Haproxy(Haproxy),
    /// This attempt of a check.
    Check(u64),
    /// Output of a hook, of the child that delivers a mail, or of a program that is tried.
    Job(u64),
    /// A client that connects to a server (`None`), or this client of it.
    Client(Language, Option<Asker>),
}

/// What is ready, in the order in which it was added. It keeps the memory of the set, for the next one: a
/// turn allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(super) sources: Vec<Source>,
    fds: Vec<PollFd<'static>>,
}

/// Descriptors to wait for, the most important ones first.
pub(crate) struct PollSet<'a> {
    fds: Vec<PollFd<'a>>,
    sources: Vec<Source>,
}

impl<'a> PollSet<'a> {
    /// An empty one, in the memory of the last.
    pub(super) fn new(mut last: Ready) -> Self {
        last.sources.clear();
        PollSet { fds: last.fds, sources: last.sources }
    }

    /// Waits until there is something to read.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'a>, source: Source) {
        self.add_for(fd, source, PollFlags::POLLIN);
    }

    /// Waits for these events.
    pub(crate) fn add_for(&mut self, fd: BorrowedFd<'a>, source: Source, events: PollFlags) {
        self.fds.push(PollFd::new(fd, events));
        self.sources.push(source);
    }

    /// Waits so long at most (`None`: for ever).
    pub(super) fn wait(mut self, timeout: Option<Duration>) -> nix::Result<Ready> {
        let timeout = timeout.map(TimeSpec::from_duration);
        let mut done = ppoll(&mut self.fds, timeout, None);
        if done == Err(Errno::EINVAL) {
            // More than this process may have open now.
            self.fds.truncate(runtime::most_descriptors());
            done = ppoll(&mut self.fds, timeout, None);
        }
        let woken = match done {
            Ok(_) => true,
            Err(Errno::EINTR) => false,
            Err(e) => return Err(e),
        };
        // Unknown events are no readiness.
        let mut fds = self.fds.iter();
        self.sources.retain(|_| fds.next().is_some_and(|fd| woken && fd.any() == Some(true)));
        // No descriptor is left that could be used for too long; `collect` keeps the memory.
        let fds = self.fds.into_iter().map_while(|_| None).collect();
        Ok(Ready { sources: self.sources, fds })
    }

    /// What is waited for.
    #[cfg(test)]
    pub(super) fn sources(self) -> Vec<Source> {
        self.sources
    }
}
