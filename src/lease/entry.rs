//! One VIP of one virtual router: whether it is wanted, whether vipd holds it, what is wrong with it.

use super::{EARLY, Place};
use crate::base::backoff::Backoff;
use crate::base::time::Time;
use crate::config::Vip;
use crate::wire::rtnl;
use std::net::IpAddr;
use std::time::Duration;

/// One VIP of one virtual router.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The virtual router.
    pub router: usize,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length as configured.
    pub(super) prefix: u8,
    /// Index of the link that carries it.
    pub link: usize,
    /// Index of the link whose subnets it need not bring: the parent of a macvlan, else `link`.
    pub(super) subnet_link: usize,
    pub(super) label: Option<String>,
    pub(super) want: Want,
    /// What we hold: present in the kernel, and ours.
    pub(super) held: Option<Held>,
    pub(super) retry_at: Option<Time>,
    /// How often its removal was tried.
    pub(super) tries: Backoff,
    /// What is wrong with it, as far as that was told.
    pub(super) trouble: Option<Trouble>,
    /// The next success is reported even if it was there already.
    pub(super) tell: bool,
    /// Added by us, or, as its state file says, by the vipd before us: what counts where the kernel keeps no
    /// tag.
    pub(super) added_by_vipd: bool,
    /// Who else removes it, and how often.
    pub(super) deletions: Deletions,
    /// Removals by ourselves whose events are still to come; up to them everything told is old news. Of IPv4
    /// our own doing is not heard of.
    pub(super) own_removals: u32,
}

impl Entry {
    pub(super) fn new(router: usize, vip: &Vip, (link, subnet_link): Place) -> Self {
        Entry {
            router,
            addr: vip.addr,
            prefix: vip.prefix,
            link,
            subnet_link,
            label: vip.label.clone(),
            want: Want::Undecided,
            held: None,
            retry_at: None,
            tries: Backoff::default(),
            trouble: None,
            tell: false,
            added_by_vipd: false,
            deletions: Deletions::default(),
            own_removals: 0,
        }
    }

    /// Whether an address of the kernel is this VIP, wherever it was put. A link-local one of another
    /// interface is another one. `ifindex`: what the link of the VIP is.
    pub(super) fn is_named_by(&self, a: &rtnl::Addr, ifindex: Option<u32>) -> bool {
        let local = matches!(a.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
        // One of a macvlan may be left on its parent.
        let anywhere = !local || self.subnet_link != self.link;
        self.addr == a.addr && (anywhere || ifindex.is_none_or(|i| i == a.ifindex))
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.want == Want::Present
    }

    /// Whether what is held of it has to go.
    pub(super) fn is_unwanted(&self) -> bool {
        matches!(self.want, Want::Absent | Want::Dropped)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.want == Want::Dropped
    }

    /// Something is wrong with it. Returns whether that is news.
    pub(super) fn suffers(&mut self, trouble: Trouble) -> bool {
        self.trouble.replace(trouble) != Some(trouble)
    }
}

/// What is wanted of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Just started: it may be resumed.
    Undecided,
    /// It is there once an advert went out.
    Present,
    /// It leaves.
    Absent,
    /// Not configured any more: it is removed, and then forgotten.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) ifindex: u32,
    /// Prefix length as installed.
    pub(super) prefix: u8,
    /// Start of the running lease.
    pub(super) since: Time,
    /// Its length in seconds; `None`: permanent.
    pub(super) lease: Option<u32>,
    /// The lease before this one had ended, or was about to, when it was renewed: the kernel may have removed
    /// the address by itself just before.
    pub(super) was_due: bool,
}

impl Held {
    /// When the running lease ends by its own count; `None`: never.
    pub(super) fn end(&self) -> Option<Time> {
        Some(self.since + Duration::from_secs(u64::from(self.lease?)))
    }

    /// Whether the kernel may have ended the lease by itself by `now`.
    pub(super) fn may_have_ended(&self, now: Time) -> bool {
        self.end().is_some_and(|end| now + EARLY >= end)
    }
}

/// What is wrong with a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A permanent address of somebody else is in its place.
    Foreign,
    /// The kernel refuses to add it.
    Refused,
    /// The interface was gone when it was to be added.
    NoInterface,
    /// The kernel does not remove it.
    NotRemoved,
}

/// Somebody removes a VIP that this node holds. vipd puts it back at once the first time, and later and later
/// if it is removed again and again: a fight must not make this node flood the network with announcements.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deletions {
    /// In all.
    pub(super) times: u32,
    /// Without a pause of `CALM`.
    streak: u32,
    last: Option<Time>,
}

/// After this long without another deletion the next one is put back at once again.
const CALM: Duration = Duration::from_secs(10);
/// The first pause; each further one is twice as long, up to `LAST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(5);

impl Deletions {
    /// Somebody has removed it. Returns how long to wait before it is put back.
    pub(super) fn note(&mut self, now: Time) -> Duration {
        if self.last.is_none_or(|t| now.since(t) >= CALM) {
            self.streak = 0;
        }
        self.last = Some(now);
        self.times = self.times.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
        match self.streak {
            1 => Duration::ZERO,
            n => (FIRST_PAUSE * (1 << (n - 2).min(16))).min(LAST_PAUSE),
        }
    }
}
