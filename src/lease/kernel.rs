//! What the kernel says of addresses.

use super::book::AddrBook;
use super::claim::Claim;
use super::entry::{Entry, Held, Trouble};
use super::{Outcome, TAG};
use crate::base::time::Time;
use crate::wire::rtnl;
use std::net::IpAddr;

/// IFA_PROTO of keepalived's addresses (RTPROT_KEEPALIVED).
const TAG_KEEPALIVED: u8 = 18;

/// One address of the node as the kernel reports it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) a: rtnl::Addr,
    /// Seen again by the dump that is under way.
    pub(super) fresh: bool,
}

impl AddrBook {
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
        let mut gone = Vec::new();
        for s in &self.kernel {
            if !s.fresh {
                gone.push(s.a);
            }
        }
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
            let was_due = e.held.is_some_and(|h| h.was_due);
            let lease = (a.valid != u32::MAX).then_some(a.valid);
            let answered = e.held.is_some() && e.is_wanted();
            e.held = Some(Held { ifindex: a.ifindex, prefix: a.prefix, since, lease, was_due });
            // The event of an IPv6 address that we added; see `installed`.
            if answered && a.addr.is_ipv6() && std::mem::take(&mut e.tell) {
                out.push(Outcome::Added { entry: i });
            }
        } else if a.valid == u32::MAX && e.held.is_none_or(|h| h.lease.is_some()) {
            // Somebody else's permanent address; with our prefix length, made from our leased one.
            e.held = e.held.filter(|h| h.prefix != a.prefix);
            if e.suffers(Trouble::Foreign) {
                out.push(Outcome::Foreign { entry: i });
            }
        }
    }

    pub(super) fn note(&mut self, a: &rtnl::Addr) {
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
        e.trouble = None;
        let Some(held) = e.held.filter(|h| h.prefix == a.prefix) else { return };
        e.held = None;
        // It may have come back since, by a renewal after a stall. If it is not wanted any more before it is
        // added again, nothing else would find that out.
        out.push(Outcome::ViewIsWrong);
        if e.is_wanted() && matches!(self.leasing[e.router].claim, Claim::Advert(_)) {
            // If the renewal came too late, the lease had ended by itself, and the kernel reports that
            // after it.
            if held.was_due || held.may_have_ended(now) {
                out.push(Outcome::Expired { entry: i });
            } else {
                let pause = e.deletions.note(now);
                e.retry_at = (!pause.is_zero()).then(|| now + pause);
                out.push(Outcome::Deleted { entry: i, times: e.deletions.times });
            }
        }
    }

    /// The VIP that an event is about, if it is of before the last removal that we know of.
    fn outdated(&mut self, a: &rtnl::Addr) -> Option<&mut Entry> {
        let ours = a.proto == Some(TAG) || a.proto.is_none() && !self.keeps_tags;
        let about =
            |e: &Entry| e.addr == a.addr && self.ifindex(e.link).is_none_or(|i| i == a.ifindex) && ours;
        let at = self.entries.iter().position(|e| e.own_removals > 0 && about(e))?;
        self.entries.get_mut(at)
    }

    /// An interface is gone, and its addresses with it.
    pub fn link_gone(&mut self, ifindex: u32) {
        self.kernel.retain(|s| s.a.ifindex != ifindex);
        for e in self.entries.iter_mut().filter(|e| e.held.is_some_and(|h| h.ifindex == ifindex)) {
            e.held = None;
        }
    }

    /// The VIP that an address of the kernel is; `any_prefix`: whatever the prefix length it was installed
    /// with. It may be on a wrong interface, but for a link-local one, which is another one there.
    fn entry_at(&self, a: &rtnl::Addr, any_prefix: bool) -> Option<usize> {
        let in_place = |e: &Entry| match e.held {
            Some(h) => h.ifindex == a.ifindex && (any_prefix || h.prefix == a.prefix),
            None => self.ifindex(e.link).is_none_or(|i| i == a.ifindex),
        };
        let local = matches!(a.addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let is = |e: &Entry| e.addr == a.addr && (!e.is_dropped() || e.held.is_some());
        let find = |f: &dyn Fn(&Entry) -> bool| self.entries.iter().position(|e| is(e) && f(e));
        // During a reload two virtual routers may have one address: it is that of the one who holds it.
        find(&|e| e.held.is_some() && in_place(e))
            .or_else(|| find(&in_place))
            .or_else(|| find(&|e| !local && e.held.is_none()))
    }
}

pub(super) const IFA_F_SECONDARY: u32 = 1;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

/// IPv6: nobody else has it, as far as the kernel knows by now. The kernel tells when that is so.
pub(super) fn is_usable(a: &rtnl::Addr) -> bool {
    a.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0
}
