//! The last advert of a master that was outranked. Two masters were cut off from each other. If the better
//! one advertises first when the network is whole again, the other falls silent at once. The winner would
//! never learn of it, and clients would go on asking the loser, which announced the addresses last. So a
//! master that is outranked and does not hear the winner announce advertises once more; the winner
//! answers, as it does any lower advert, and announces. keepalived does the same if it is told to
//! (`vrrp_higher_prio_send_advert`), without waiting.
//!
//! This advert decides nothing: it is lower than what the winner sends, says the same interval, and goes out
//! before any backup can have given the winner up. A master that has just taken over announces within a few
//! milliseconds, so a preemption sees none of this; with a virtual MAC there is nothing to learn.

use crate::base::time::Time;
use crate::node::{Node, Router};
use crate::vrrp::machine::State;
use std::time::Duration;

/// The winner's announcement is awaited for so long, if I / 2 is not shorter: half of what the addresses are
/// kept for, so that they are still served when it comes.
const WAIT: Duration = Duration::from_millis(25);

impl Router {
    /// When the winner has to be told.
    pub(crate) fn farewell_at(&self) -> Option<Time> {
        self.outranked.map(|t| t + WAIT.min(self.cfg.advert_int / 2))
    }

    /// Whether it may be told now, which is once. Whoever hears it must neither give way to it nor learn
    /// anything, and the winner must be the master still: until I after its advert nobody else can be.
    pub(crate) fn may_send_farewell(&mut self, decided: Time, now: Time) -> bool {
        if self.farewell_at().is_none_or(|t| decided < t) {
            return false; // an advert of the mastership itself
        }
        let p = &self.machine.params;
        let in_time = self.outranked.take().is_some_and(|t| now < t + p.advert_int);
        let State::Backup { master: Some(m), told, .. } = self.machine.state() else { return false };
        let same = told.is_some_and(|t| t.interval == p.advert_int);
        in_time && m.priority != 0 && p.outranked_by(*m) && same
    }
}

impl Node {
    pub(crate) fn tick_farewell(&mut self, i: usize, now: Time) {
        let router = &self.routers[i];
        if router.farewell_at().is_some_and(|t| now >= t) {
            self.push_advert(i, router.machine.params.priority, now);
        }
    }
}
