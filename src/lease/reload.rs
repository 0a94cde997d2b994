//! Another configuration while addresses are held: those of one virtual router come and go singly, and one
//! that moves from one to another never leaves the kernel.

use super::book::AddrBook;
use super::claim::{Claim, Leasing};
use super::entry::{Entry, Want};
use crate::base::backoff::Backoff;
use crate::config::lease::Wait;
use crate::config::{Vip, Vrrp};

/// Where a VIP belongs: its link, and the link whose subnets it need not bring.
pub type Place = (usize, usize);

impl Entry {
    /// Whether it may go on as `vip`. A host address stays one, whatever prefix length it would bring in
    /// another place.
    fn is(&self, vip: &Vip, link: usize) -> bool {
        let host = if self.addr.is_ipv4() { 32 } else { 128 };
        (self.addr, self.link) == (vip.addr, link)
            && self.label == vip.label
            && (self.prefix == vip.prefix || self.held.is_some_and(|h| h.prefix == host))
    }

    /// Whether the kernel's address of `self` may become that of `other` as it is.
    fn may_become(&self, other: &Entry) -> bool {
        (self.addr, self.prefix, self.link) == (other.addr, other.prefix, other.link)
            && self.label == other.label
    }
}

impl AddrBook {
    /// The virtual routers have other numbers: `from[new]` is the old one, or none of a new one, whose terms
    /// are to be set. VIPs of those that are not named are forgotten. Returns the new number of each VIP.
    pub fn renumber(&mut self, from: &[Option<usize>]) -> Vec<Option<usize>> {
        let old = std::mem::take(&mut self.leasing);
        for o in from {
            self.leasing.push(o.and_then(|o| old.get(o)).cloned().unwrap_or(Leasing::UNSET));
        }
        let mut at = 0;
        let mut map = Vec::new();
        self.entries.retain_mut(|e| {
            let router = from.iter().position(|o| *o == Some(e.router));
            // What is still to be heard of its removal is not to be taken for news of another one's.
            let keep = router.filter(|_| !e.is_dropped() || e.held.is_some() || e.own_removals > 0);
            map.push(keep.map(|_| at));
            at += usize::from(keep.is_some());
            e.router = router.unwrap_or(0);
            keep.is_some()
        });
        map
    }

    /// Whether something is left of VIPs that are not configured any more.
    pub fn drops_any(&self) -> bool {
        self.entries.iter().any(Entry::is_dropped)
    }

    /// Whether `router` has left nothing in the kernel, not even of VIPs that it had before.
    pub fn holds_nothing(&self, router: usize) -> bool {
        !self.entries.iter().any(|e| e.router == router && e.held.is_some())
    }

    /// `router` has these VIPs from now on; `links` says where each belongs, `want` what
    /// becomes of new ones. Whether any is new.
    pub fn set_vips(&mut self, router: usize, v: &Vrrp, want: Want, links: &[Place]) -> bool {
        let mut added = false;
        let mut gone = self.entries_of(router);
        for (vip, place) in v.held().zip(links.iter().copied()) {
            let same = |e: &usize| self.entries.get(*e).is_some_and(|e| e.is(vip, place.0));
            match gone.iter().position(same) {
                Some(i) => self.entries[gone.remove(i)].prefix = vip.prefix,
                None => {
                    let mut e = Entry::new(router, vip, place);
                    (e.want, e.tell) = (want, want == Want::Present);
                    self.entries.push(e);
                    added = true;
                }
            }
        }
        for e in gone {
            let e = &mut self.entries[e];
            (e.want, e.retry_at, e.tries) = (Want::Dropped, None, Backoff::default());
        }
        added
    }

    /// Other terms of the leases; `wait` is what they may count by. What is held is renewed under them as
    /// soon as that is allowed.
    pub fn set_terms(&mut self, router: usize, v: &Vrrp, wait: Wait) {
        self.leasing[router].set_terms(v, wait, self.tick);
        self.renewals.at_once();
    }

    /// Nobody wanted the addresses that were kept for a successor: they are ours by adverts again.
    pub fn keep(&mut self, router: usize) {
        self.leasing[router].claim = Claim::None;
        self.renewals.at_once();
    }

    /// Whether another virtual router of this node wants what this VIP leaves in the kernel.
    pub fn has_next_owner(&self, entry: usize) -> bool {
        self.next_owner(entry).is_some()
    }

    /// Whether another virtual router of this node wants the same address on the same wire, be it on another
    /// interface.
    pub fn has_other(&self, entry: usize) -> bool {
        let Some(e) = self.entries.get(entry) else { return false };
        let wants = |h: &Entry| h.is_wanted() && (h.addr, h.subnet_link) == (e.addr, e.subnet_link);
        self.entries.iter().enumerate().any(|(i, h)| i != entry && wants(h))
    }

    /// Whether another virtual router of this node has the same address.
    pub fn is_shared(&self, entry: usize) -> bool {
        let Some(e) = self.entries.get(entry) else { return false };
        self.entries.iter().any(|h| h.router != e.router && h.addr == e.addr)
    }

    fn next_owner(&self, entry: usize) -> Option<usize> {
        let e = self.entries.get(entry)?;
        let wants = |h: &Entry| h.is_wanted() && e.may_become(h);
        self.entries
            .iter()
            .enumerate()
            .position(|(i, h)| i != entry && wants(h) && !self.leasing[h.router].owner)
    }

    /// What one lets go and another wants changes hands, and nothing is done in the kernel.
    pub(super) fn pass_on(&mut self) {
        for i in 0..self.entries.len() {
            if !self.entries[i].is_unwanted() || self.entries[i].held.is_none() {
                continue;
            }
            if let Some(next_owner) = self.next_owner(i) {
                let held = self.entries[i].held.take();
                self.entries[i].retry_at = None;
                let next_owner = &mut self.entries[next_owner];
                next_owner.held = next_owner.held.or(held);
                next_owner.added_by_vipd = true;
            }
        }
    }

    /// A link is to be given to another interface: whether no VIP is on it.
    pub fn is_unused(&self, link: usize) -> bool {
        self.entries.iter().all(|e| e.link != link)
    }
}
