//! The addresses: what is wanted × what the kernel has × how long a lease may run → netlink operations. Pure.
//!
//! A VIP is added with a finite lifetime and renewed only while backups cannot have given up on us; `lease` has
//! the arithmetic.

mod op;
mod operations;
mod ours;
mod reload;
pub mod state_file;

pub use op::{Op, OpKind, Outcome};
pub use reload::Place;

use crate::base::time::Time;
use crate::config;
use crate::config::lease::{self, Wait};
use crate::wire::rtnl;
use std::net::IpAddr;
use std::time::Duration;

/// IFA_PROTO of every address that vipd adds.
pub const TAG: u8 = 0x70;
/// IFA_PROTO of keepalived's addresses (RTPROT_KEEPALIVED).
const TAG_KEEPALIVED: u8 = 18;
/// Least time between two batches of renewals.
const RENEWAL_GAP: Duration = Duration::from_millis(250);
/// The kernel may end a lease this much early: ADDRCONF_TIMER_FUZZ_MINUS (20 ms, linux/addrconf.h) and what its clock has
/// gone of a tick, of 10 ms at HZ = 100, when the lease begins.
const EARLY: Duration = Duration::from_millis(30);
/// Lease of an address that waits for its successor.
const HANDOVER_LEASE: u32 = 1;
/// Pause before an operation that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// And the first time a removal: two may hold the address meanwhile. Each further pause is twice as long, up to `RETRY`.
const RETRY_REMOVAL: Duration = Duration::from_millis(10);
/// One VIP of one virtual router.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The virtual router.
    pub router: usize,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length as configured.
    prefix: u8,
    /// Index of the link that carries it.
    pub link: usize,
    /// Index of the link whose subnets it need not bring: the parent of a macvlan, else `link`.
    subnet_link: usize,
    /// The interface that link is, while it exists.
    ifindex: Option<u32>,
    label: Option<String>,
    want: Want,
    /// What we hold: present in the kernel, and ours.
    held: Option<Held>,
    retry_at: Option<Time>,
    /// How often its removal was tried.
    tries: u8,
    complained: bool,
    /// The next success is reported even if it was there already.
    tell: bool,
    /// Not configured any more: it is removed, and then forgotten.
    dropped: bool,
    /// The kernel refused to add it.
    refused: bool,
    /// Added by us, or, as its state file says, by the vipd before us: what counts where the kernel keeps no tag.
    added_by_vipd: bool,
    /// How often somebody deleted it.
    deleted: u32,
    /// Removals by ourselves whose events are still to come; up to them everything told is old news. Of IPv4
    /// our own doing is not heard of.
    own_removals: u32,
}

impl Entry {
    /// Whether an address of the kernel is this VIP, wherever it was put; a link-local one of another interface is another one.
    fn is_named_by(&self, a: &rtnl::Addr) -> bool {
        let local = matches!(a.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
        // One of a macvlan may be left on its parent.
        let anywhere = !local || self.subnet_link != self.link;
        self.addr == a.addr && (anywhere || self.ifindex.is_none_or(|i| i == a.ifindex))
    }
}

/// What is wanted of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Just started: it may be resumed.
    Undecided,
    /// It leaves.
    Absent,
    /// It is there once an advert went out.
    Present,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    ifindex: u32,
    prefix: u8,
    /// Start of the running lease, and its length in seconds (`None`: permanent).
    since: Time,
    lease: Option<u32>,
}

/// What lets an instance renew.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    /// Nothing.
    None,
    /// The last advert that was sent without error.
    Advert(Time),
    /// Waiting for the successor; a second (`HANDOVER_LEASE`) before the end of the running lease: what has ended
    /// is not brought back.
    Handover(Time),
}

#[derive(Clone, Debug)]
struct Leasing {
    lease: config::Lease,
    wait: Wait,
    /// The owner's addresses are permanent and not ours to touch.
    owner: bool,
    claim: Claim,
}

/// How long, and how fresh the claim must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// L in seconds; `None`: permanent.
    pub lease: Option<u32>,
    /// d: a renewal needs a claim no older than this.
    pub fresh: Duration,
    /// Whether d + L + e <= N × I.
    pub safe: bool,
}

/// One address of the node as the kernel reports it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    a: rtnl::Addr,
    /// Seen again by the dump that is under way.
    fresh: bool,
}

/// All VIPs of the node, and the sole owner of their leases.
#[derive(Debug, Default)]
pub struct AddrBook {
    /// Every VIP of every virtual router.
    pub entries: Vec<Entry>,
    leasing: Vec<Leasing>,
    kernel: Vec<Seen>,
    /// The kernel keeps IFA_PROTO: some address has one. Those before 5.18 do not.
    keeps_tags: bool,
    last_batch: Option<Time>,
    /// An advert went out since the last batch.
    advert_since: bool,
    /// And it was of one that the batches before it found without a fresh advert: its leases are due now.
    overdue: bool,
}

impl AddrBook {
    /// The lease terms of an instance as things stand.
    pub fn terms(&self, router: usize) -> Terms {
        terms(&self.leasing[router])
    }

    fn is_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.is_named_by(a))
    }

    // ---- what the virtual routers want ----

    /// An advert of `router` went out; `sent` was read before it.
    pub fn advert_sent(&mut self, router: usize, sent: Time) {
        let l = &mut self.leasing[router];
        if !matches!(l.claim, Claim::Handover(_)) {
            l.claim = Claim::Advert(sent);
            self.advert_since = true;
            let due =
                |e: &Entry| e.held.is_some_and(|h| h.lease.is_some() && sent.since(h.since) >= RENEWAL_GAP);
            let overdue = self.of(router).any(|(_, e)| due(e));
            self.overdue |= overdue;
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
        self.last_batch = None;
        for e in self.entries.iter_mut().filter(|e| e.router == router) {
            e.tell = true;
        }
    }

    /// `router` waits for its successor: short leases, renewed without adverts.
    pub fn hand_over(&mut self, router: usize, now: Time) {
        let lease = |l: u32| Duration::from_secs(u64::from(l));
        let ends =
            self.of(router).filter_map(|(_, e)| e.held.and_then(|h| Some(h.since + lease(h.lease?)))).min();
        self.leasing[router].claim =
            Claim::Handover(ends.map_or(now, |end| end - EARLY - lease(HANDOVER_LEASE)));
        self.last_batch = None; // the short lease starts at once
    }

    /// `router` lets go: what it holds is removed by the next `flush`.
    pub fn release(&mut self, router: usize) {
        self.leasing[router].claim = Claim::None;
        self.want(router, Want::Absent);
    }

    fn want(&mut self, router: usize, want: Want) {
        for e in self.entries.iter_mut().filter(|e| e.router == router && !e.dropped) {
            e.want = want;
            (e.retry_at, e.tries) = (None, 0);
        }
    }

    /// Whether the kernel has the VIP and it is announced by us: leased, or the owner's own.
    pub fn is_held(&self, entry: usize) -> bool {
        let Some(e) = self.entries.get(entry) else { return false };
        e.held.is_some() || self.leasing[e.router].owner && self.owned(e, e.ifindex)
    }

    /// Whether `router` holds any VIP.
    pub fn holds_any(&self, router: usize) -> bool {
        self.of(router).any(|(_, e)| e.held.is_some())
    }

    /// The VIPs of an instance with their indices.
    pub fn of(&self, router: usize) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(move |(_, e)| e.router == router && !e.dropped)
    }

    /// Seconds that the lease of a VIP has left, `None` if it is not held or permanent.
    pub fn lease_left(&self, entry: usize, now: Time) -> Option<Duration> {
        let held = self.entries.get(entry)?.held?;
        let end = held.since + Duration::from_secs(u64::from(held.lease?));
        Some(end.since(now))
    }

    fn owned(&self, e: &Entry, ifindex: Option<u32>) -> bool {
        self.kernel
            .iter()
            .any(|s| s.a.addr == e.addr && Some(s.a.ifindex) == ifindex && s.a.proto != Some(TAG))
    }

    /// Whether every address of an owner is a real one of its interface.
    pub fn owner_has_all(&self, router: usize, ifindex: impl Fn(usize) -> Option<u32>) -> bool {
        self.of(router).all(|(_, e)| self.owned(e, ifindex(e.link)))
    }

    /// Whether an address is a VIP that is not an owner's: its coming and going changes no source address.
    pub fn is_leased_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.is_named_by(a) && !self.leasing[e.router].owner)
    }

    /// At the start: how long ago `router` was renewed, at the most, if every VIP is there with our tag.
    pub fn lease_age(
        &self,
        router: usize,
        now: Time,
        ifindex: impl Fn(usize) -> Option<u32>,
    ) -> Option<Duration> {
        let age = |e: &Entry| {
            let ours = |s: &&Seen| {
                s.a.addr == e.addr && Some(s.a.ifindex) == ifindex(e.link) && self.is_ours(e, &s.a)
            };
            self.kernel.iter().find(ours).map(|s| s.a.age(now))
        };
        self.of(router).map(|(_, e)| age(e)).try_fold(Duration::ZERO, |oldest, a| Some(oldest.max(a?)))
    }

    /// The first address of an interface that is not a VIP, of IPv6 the first link-local one: source of adverts.
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

    // ---- what the kernel says ----

    /// A dump starts: what it does not mention is gone.
    pub fn dump_starts(&mut self) {
        for s in &mut self.kernel {
            s.fresh = false;
        }
        // What was queued has been thrown away.
        for e in &mut self.entries {
            e.own_removals = 0;
        }
    }

    /// A dump is complete.
    pub fn dump_ends(&mut self, now: Time, out: &mut Vec<Outcome>) {
        let gone: Vec<rtnl::Addr> = self.kernel.iter().filter(|s| !s.fresh).map(|s| s.a).collect();
        for a in gone {
            self.gone(now, &a, out);
        }
    }

    /// RTM_NEWADDR.
    pub fn seen(&mut self, now: Time, a: &rtnl::Addr, out: &mut Vec<Outcome>) {
        self.keeps_tags |= a.proto.is_some();
        if self.outdated(a).is_some() {
            return;
        }
        self.note(a);
        let exact = self.entry_at(a, false).filter(|i| self.is_ours(&self.entries[*i], a));
        let ours = exact.is_some() || a.proto == Some(TAG) || a.proto == Some(TAG_KEEPALIVED);
        let Some(i) = exact.or_else(|| self.entry_at(a, !ours)) else { return };
        let owner = self.leasing[self.entries[i].router].owner;
        let e = &mut self.entries[i];
        if owner {
            return;
        }
        if ours {
            if a.proto == Some(TAG_KEEPALIVED) && e.held.is_none() {
                out.push(Outcome::TakenOver { entry: i });
            }
            let since = e.held.map_or(now, |h| h.since);
            let lease = (a.valid != u32::MAX).then_some(a.valid);
            let answered = e.held.is_some() && e.want == Want::Present;
            e.held = Some(Held { ifindex: a.ifindex, prefix: a.prefix, since, lease });
            // The event of an IPv6 address that we added; see `installed`.
            if answered && a.addr.is_ipv6() && std::mem::take(&mut e.tell) {
                out.push(Outcome::Added { entry: i });
            }
        } else if a.valid == u32::MAX && e.held.is_none_or(|h| h.lease.is_some()) {
            // Somebody else's permanent address; with our prefix length, made from our leased one.
            e.held = e.held.filter(|h| h.prefix != a.prefix);
            if !std::mem::replace(&mut e.complained, true) {
                out.push(Outcome::Foreign { entry: i });
            }
        }
    }

    fn note(&mut self, a: &rtnl::Addr) {
        let same = |s: &&mut Seen| s.a.ifindex == a.ifindex && s.a.addr == a.addr && s.a.prefix == a.prefix;
        match self.kernel.iter_mut().find(same) {
            Some(s) => *s = Seen { a: *a, fresh: true },
            None => self.kernel.push(Seen { a: *a, fresh: true }),
        }
    }

    /// RTM_DELADDR.
    pub fn gone(&mut self, now: Time, a: &rtnl::Addr, out: &mut Vec<Outcome>) {
        if let Some(e) = self.outdated(a) {
            e.own_removals -= 1;
            return;
        }
        self.kernel.retain(|s| !(s.a.ifindex == a.ifindex && s.a.addr == a.addr && s.a.prefix == a.prefix));
        let Some(i) = self.entry_at(a, true) else { return };
        let e = &mut self.entries[i];
        (e.complained, e.refused) = (false, false);
        let Some(held) = e.held.filter(|h| h.prefix == a.prefix) else { return };
        e.held = None;
        // It may have come back since, by a renewal after a stall. If it is not wanted any more before it is added
        // again, nothing else would find that out.
        out.push(Outcome::ViewIsWrong);
        if e.want == Want::Present && matches!(self.leasing[e.router].claim, Claim::Advert(_)) {
            let had_time =
                held.lease.is_none_or(|l| now + EARLY < held.since + Duration::from_secs(u64::from(l)));
            e.deleted += u32::from(had_time);
            let times = e.deleted;
            out.push(if had_time {
                Outcome::Deleted { entry: i, times }
            } else {
                Outcome::Expired { entry: i }
            });
        }
    }

    /// The VIP that an event is about, if it is of before the last removal that we know of.
    fn outdated(&mut self, a: &rtnl::Addr) -> Option<&mut Entry> {
        let ours = a.proto == Some(TAG) || a.proto.is_none() && !self.keeps_tags;
        let about = |e: &Entry| e.addr == a.addr && e.ifindex.is_none_or(|i| i == a.ifindex) && ours;
        self.entries.iter_mut().find(|e| e.own_removals > 0 && about(e))
    }

    /// A link is that interface from now on.
    pub fn link_is(&mut self, link: usize, ifindex: Option<u32>) {
        for e in self.entries.iter_mut().filter(|e| e.link == link) {
            e.ifindex = ifindex;
        }
    }

    /// An interface is gone, and its addresses with it.
    pub fn link_gone(&mut self, ifindex: u32) {
        self.kernel.retain(|s| s.a.ifindex != ifindex);
        for e in self.entries.iter_mut().filter(|e| e.held.is_some_and(|h| h.ifindex == ifindex)) {
            e.held = None;
        }
    }

    /// The VIP that an address of the kernel is; `any_prefix`: whatever the prefix length it was installed with.
    /// It may be on a wrong interface, but for a link-local one, which is another one there.
    fn entry_at(&self, a: &rtnl::Addr, any_prefix: bool) -> Option<usize> {
        let in_place = |e: &Entry| match e.held {
            Some(h) => h.ifindex == a.ifindex && (any_prefix || h.prefix == a.prefix),
            None => e.ifindex.is_none_or(|i| i == a.ifindex),
        };
        let local = matches!(a.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let is = |e: &Entry| e.addr == a.addr && (!e.dropped || e.held.is_some());
        let find = |f: &dyn Fn(&Entry) -> bool| self.entries.iter().position(|e| is(e) && f(e));
        // During a reload two virtual routers may have one address: it is that of the one who holds it.
        find(&|e| e.held.is_some() && in_place(e))
            .or_else(|| find(&in_place))
            .or_else(|| find(&|e| !local && e.held.is_none()))
    }

    /// Whether a VIP cannot be had: somebody else's address is in its place, or the kernel refuses it.
    pub fn is_refused(&self, entry: usize) -> bool {
        self.entries.get(entry).is_some_and(|e| e.complained)
    }
}

const IFA_F_SECONDARY: u32 = 1;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// IPv6: nobody else has it, as far as the kernel knows by now. The kernel tells when that is so.
fn is_usable(a: &rtnl::Addr) -> bool {
    a.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0
}

impl Leasing {
    const UNSET: Leasing = Leasing {
        lease: config::Lease::Off,
        wait: Wait { advert_int: Duration::ZERO, min_down_interval: Duration::ZERO },
        owner: false,
        claim: Claim::None,
    };
}

fn terms(l: &Leasing) -> Terms {
    if let Claim::Handover(_) = l.claim {
        let secs = (l.lease != config::Lease::Off).then_some(HANDOVER_LEASE);
        return Terms { lease: secs, fresh: Duration::from_secs(1), safe: false };
    }
    let wait = l.wait;
    let secs = match l.lease {
        config::Lease::Off => return Terms { lease: None, fresh: wait.min_down_interval, safe: false },
        config::Lease::Seconds(s) => s,
        config::Lease::Auto => lease::auto(wait.advert_int, wait.min_down_interval),
    };
    let fresh = lease::fresh(secs, wait.advert_int, wait.min_down_interval);
    // A renewal goes out with each advert in any case; where that is too long, the README says so.
    Terms { lease: Some(secs), fresh: fresh.unwrap_or(wait.advert_int / 4), safe: fresh.is_some() }
}

#[cfg(test)]
mod tests;
