//! What the virtual routers want of their addresses, and the questions they ask.

use super::claim::{Claim, Leasing, Terms};
use super::entry::{Entry, Want};
use super::kernel::{IFA_F_SECONDARY, Seen, is_usable};
use super::operations::Renewals;
use super::{EARLY, HANDOVER_LEASE, TAG};
use crate::base::backoff::Backoff;
use crate::base::time::Time;
use crate::wire::rtnl;
use std::iter::Enumerate;
use std::net::IpAddr;
use std::slice::Iter;
use std::time::Duration;

/// All VIPs of the node, and the sole owner of their leases.
#[derive(Clone, Debug, Default)]
pub struct AddrBook {
    /// Every VIP of every virtual router.
    pub entries: Vec<Entry>,
    pub(super) leasing: Vec<Leasing>,
    /// The interface that each link is, while it exists.
    links: Vec<Option<u32>>,
    /// Every address of the host.
    pub(super) kernel: Vec<Seen>,
    /// The kernel keeps IFA_PROTO: some address has one. Those before 5.18 do not.
    pub(super) keeps_tags: bool,
    pub(super) renewals: Renewals,
    /// The tick of the kernel, if it keeps leases in nf_tables.
    pub(super) tick: Option<Duration>,
}

impl AddrBook {
    /// The lease terms of an instance as things stand.
    pub fn terms(&self, router: usize) -> Terms {
        self.leasing[router].terms()
    }

    /// The kernel keeps leases in nf_tables, and counts them in this tick; or it does not.
    pub fn set_tick(&mut self, tick: Option<Duration>) {
        self.tick = tick;
        self.leasing.iter_mut().for_each(|l| l.set_tick(tick));
        self.renewals.at_once();
    }

    /// The tick of those leases, if there are any.
    pub fn tick(&self) -> Option<Duration> {
        self.tick
    }

    /// The lease in nf_tables that an advert of `router` gives, if its addresses are served by such a lease.
    pub fn fence(&self, router: usize) -> Option<Duration> {
        self.leasing[router].fence
    }

    /// A link is that interface from now on, or none.
    pub fn link_is(&mut self, link: usize, ifindex: Option<u32>) {
        if self.links.len() <= link {
            self.links.resize(link + 1, None);
        }
        self.links[link] = ifindex;
    }

    pub(super) fn ifindex(&self, link: usize) -> Option<u32> {
        self.links.get(link).copied().flatten()
    }

    pub(super) fn is_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.is_named_by(a, self.ifindex(e.link)))
    }

    // ---- what the virtual routers want ----

    /// An advert of `router` went out; `sent` was read before it.
    pub fn advert_sent(&mut self, router: usize, sent: Time) {
        let l = &mut self.leasing[router];
        if !matches!(l.claim, Claim::Handover(_)) {
            l.claim = Claim::Advert(sent);
            let (l, lazy) = (&self.leasing[router], self.leasing[router].fence.is_some());
            let is_due = |e: &Entry| {
                e.held.is_some_and(|h| h.lease.is_some_and(|s| sent.since(h.since) >= l.renewal(s).0))
            };
            let overdue = self.of(router).any(|(_, e)| is_due(e));
            self.renewals.advert_sent(!lazy, overdue);
        }
    }

    /// When the last advert of a master went out; `None` if it has no claim.
    pub fn last_advert(&self, router: usize) -> Option<Time> {
        match self.leasing[router].claim {
            Claim::Advert(t) => Some(t),
            _ => None,
        }
    }

    /// `router` is master: its addresses are to be there once an advert went out. A hand-over that was under
    /// way is off, and what it renewed does not count as an advert.
    pub fn acquire(&mut self, router: usize) {
        if let Claim::Handover(_) = self.leasing[router].claim {
            self.leasing[router].claim = Claim::None;
        }
        self.want(router, Want::Present);
        // What is there already is renewed at once, and announced like what is added.
        self.renewals.at_once();
        for e in self.entries.iter_mut().filter(|e| e.router == router) {
            e.tell = true;
        }
    }

    /// `router` waits for its successor: short leases, renewed without adverts.
    pub fn hand_over(&mut self, router: usize, now: Time) {
        let ends = self.of(router).filter_map(|(_, e)| e.held?.end()).min();
        let lease = Duration::from_secs(u64::from(HANDOVER_LEASE));
        self.leasing[router].claim = Claim::Handover(ends.map_or(now, |end| end - EARLY - lease));
        self.renewals.at_once(); // the short lease starts now
    }

    /// `router` lets go: what it holds is removed by the next `flush`.
    pub fn release(&mut self, router: usize) {
        self.leasing[router].claim = Claim::None;
        self.want(router, Want::Absent);
    }

    fn want(&mut self, router: usize, want: Want) {
        for e in self.entries.iter_mut().filter(|e| e.router == router && !e.is_dropped()) {
            e.want = want;
            (e.retry_at, e.tries) = (None, Backoff::default());
        }
    }

    /// Whether the kernel has the VIP and it is announced by us: leased, or the owner's own.
    pub fn is_held(&self, entry: usize) -> bool {
        let Some(e) = self.entries.get(entry) else { return false };
        e.held.is_some() || self.leasing[e.router].owner && self.is_on_its_link(e)
    }

    /// Whether `router` holds any VIP.
    pub fn holds_any(&self, router: usize) -> bool {
        self.of(router).any(|(_, e)| e.held.is_some())
    }

    /// The VIPs of an instance with their indices.
    pub fn of(&self, router: usize) -> impl Iterator<Item = (usize, &Entry)> {
        Of { router, entries: self.entries.iter().enumerate() }
    }

    /// Their indices.
    pub fn entries_of(&self, router: usize) -> Vec<usize> {
        self.of(router).map(|(e, _)| e).collect()
    }

    /// Seconds that the lease of a VIP has left, `None` if it is not held or permanent.
    pub fn lease_left(&self, entry: usize, now: Time) -> Option<Duration> {
        let held = self.entries.get(entry)?.held?;
        Some(held.end()?.since(now))
    }

    /// Whether the interface of an owner's VIP has it, and not by vipd's doing.
    fn is_on_its_link(&self, e: &Entry) -> bool {
        let ifindex = self.ifindex(e.link);
        self.kernel
            .iter()
            .any(|s| s.a.addr == e.addr && Some(s.a.ifindex) == ifindex && s.a.proto != Some(TAG))
    }

    /// Whether every address of an owner is a real one of its interface.
    pub fn owner_has_all(&self, router: usize) -> bool {
        self.of(router).all(|(_, e)| self.is_on_its_link(e))
    }

    /// Whether an address is a VIP that is not an owner's: its coming and going changes no source address.
    pub fn is_leased_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.is_named_by(a, self.ifindex(e.link)) && !self.leasing[e.router].owner)
    }

    /// At the start: how long ago `router` was renewed, at the most, if every VIP is there with our tag.
    pub fn lease_age(&self, router: usize, now: Time) -> Option<Duration> {
        let age = |e: &Entry| {
            let ours = |s: &&Seen| {
                s.a.addr == e.addr && Some(s.a.ifindex) == self.ifindex(e.link) && self.is_ours(e, &s.a)
            };
            self.kernel.iter().find(ours).map(|s| s.a.age(now))
        };
        self.of(router).map(|(_, e)| age(e)).try_fold(Duration::ZERO, |oldest, a| Some(oldest.max(a?)))
    }

    /// The first address of an interface that is not a VIP, of IPv6 the first link-local one: source of
    /// adverts.
    pub fn primary(&self, ifindex: u32, v6: bool) -> Option<IpAddr> {
        let family = |a: IpAddr| match a {
            IpAddr::V4(_) => !v6,
            IpAddr::V6(a) => v6 && a.is_unicast_link_local(),
        };
        let mut sources = self.kernel.iter().filter(|s| {
            s.a.ifindex == ifindex
                && family(s.a.addr)
                && is_usable(&s.a)
                && s.a.proto != Some(TAG)
                && !self.is_vip(&s.a)
        });
        // Of IPv6, what has a host prefix is hardly the interface's own.
        let is_primary = |s: &&Seen| s.a.flags & IFA_F_SECONDARY == 0 && s.a.prefix < 128;
        sources.clone().find(is_primary).or_else(|| sources.next()).map(|s| s.a.addr)
    }

    /// Whether an interface has this address, and may send from it.
    pub fn has(&self, ifindex: u32, addr: IpAddr) -> bool {
        self.kernel.iter().any(|s| s.a.ifindex == ifindex && s.a.addr == addr && is_usable(&s.a))
    }

    /// Whether a VIP cannot be had: somebody else's address is in its place, or the kernel refuses it.
    pub fn is_refused(&self, entry: usize) -> bool {
        self.entries.get(entry).is_some_and(|e| e.trouble.is_some())
    }
}

/// The VIPs of one virtual router: code that each place that asks for them would have otherwise.
struct Of<'a> {
    router: usize,
    entries: Enumerate<Iter<'a, Entry>>,
}

impl<'a> Iterator for Of<'a> {
    type Item = (usize, &'a Entry);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        self.entries.find(|(_, e)| e.router == self.router && !e.is_dropped())
    }
}
