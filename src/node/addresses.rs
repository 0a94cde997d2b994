//! The address batch, and what became of each address.

use super::{Effect, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::lease::{Op, Outcome};
use crate::vrrp::machine::Input;

impl Node {
    /// The address batch, with a clock that was just read.
    pub(super) fn flush(&mut self, now: Time) {
        let mut ops = Vec::new();
        let mut outcomes = Vec::new();
        self.addrs.flush(now, &mut ops, &mut outcomes);
        self.push_addrs(ops);
        self.outcomes(now, outcomes);
    }

    pub(super) fn push_addrs(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            self.push(Effect::Addrs(ops));
        }
    }

    /// A batch was carried out: the clock before and after it, and an errno for each operation.
    pub fn addrs_done(&mut self, before: Time, after: Time, results: &[(Op, i32)]) {
        let mut outcomes = Vec::new();
        self.addrs.done(before, after, results, &mut outcomes);
        self.outcomes(after, outcomes);
    }

    pub(super) fn outcomes(&mut self, now: Time, outcomes: Vec<Outcome>) {
        for o in outcomes {
            self.outcome(now, o);
        }
        self.progress_stop(now); // a stop waits for the addresses to be gone
    }

    fn outcome(&mut self, now: Time, o: Outcome) {
        match o {
            Outcome::Added { entry } => {
                self.emit(Event::VipAdded { entry });
                if let Some(router) = self.master_of(entry) {
                    self.routers[router].refused.accepted();
                    self.emit(Event::Announcing { entry });
                    self.announcing.push(entry, now);
                }
            }
            Outcome::Removed { entry } => self.emit(Event::VipRemoved { entry }),
            Outcome::AddFailed { entry, errno } => self.emit(Event::VipAddFailed { entry, errno }),
            Outcome::RemoveFailed { entry, errno } => self.emit(Event::VipRemoveFailed { entry, errno }),
            Outcome::ViewIsWrong => {
                self.reread();
            }
            Outcome::Foreign { entry } => self.emit(Event::VipForeign { entry }),
            Outcome::TakenOver { entry } => self.emit(Event::VipTakenOver { entry }),
            Outcome::Deleted { entry, times } => {
                self.emit(Event::VipDeleted { entry, times });
                if let Some(router) = self.master_of(entry) {
                    self.routers[router].stats.vips_deleted += 1;
                    self.advert_unless_fresh(router, now);
                }
            }
            Outcome::Expired { entry } => {
                self.emit(Event::VipExpired { entry });
                if let Some(router) = self.master_of(entry) {
                    self.advert_unless_fresh(router, now);
                }
            }
            Outcome::TooLate { router } => self.too_late(router, now),
            Outcome::Refused { router } => self.refused(router, now),
        }
    }

    /// The master that a VIP belongs to, if its virtual router is master.
    pub(super) fn master_of(&self, entry: usize) -> Option<usize> {
        let router = self.addrs.entries.get(entry)?.router;
        self.routers[router].is_master().then_some(router)
    }

    /// A renewal may have brought an address back that a backup has by now: remove first, then look.
    fn too_late(&mut self, router: usize, now: Time) {
        self.emit(Event::LateRenewal { router });
        self.routers[router].hold = None;
        let i = &self.routers[router];
        let in_time = |last: &Time| now.since(*last) < i.machine.min_down_interval();
        match self.addrs.last_advert(router).as_ref().map(in_time) {
            // They are put back in an instant: connections outlive that.
            Some(true) if i.is_master() => {
                let priority = i.machine.params.priority;
                self.remove_now(router, now);
                self.addrs.acquire(router);
                self.push_advert(router, priority, now);
            }
            _ if i.is_master() => self.step(router, now, Input::Stall),
            Some(_) => self.remove_now(router, now),
            None => self.release_now(router, now),
        }
    }
}
