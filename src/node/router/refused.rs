//! The kernel refuses all addresses of a master: it would serve nobody, and keep away a node that could.

use crate::base::backoff::Backoff;
use crate::base::time::Time;
use crate::node::{Life, Node};
use std::time::Duration;

/// FAULT for so long after the first refusal, and twice as long after each one that follows, up to 320 s.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(320);
/// After that it takes over where nobody else is master, and preempts only when so many times that have
/// passed.
const ASIDE: u32 = 6;
/// Refusals in a row, with 0.25 s and an advert in between: a lack of memory may be over by then.
const TRIES: u8 = 3;

/// What the kernel's refusals of all addresses of a virtual router have led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// In FAULT until then.
    pub until: Option<Time>,
    /// How often in a row it came to that.
    pub times: Backoff,
    /// How often in a row all were refused since it became master.
    tries: u8,
}

impl Refused {
    /// A new mastership.
    pub(crate) fn became_master(&mut self) {
        self.tries = 0;
    }

    /// The kernel has accepted one.
    pub(crate) fn accepted(&mut self) {
        (self.times, self.tries) = (Backoff::default(), 0);
    }
}

impl Node {
    /// The kernel has refused all of them.
    pub(crate) fn refused(&mut self, router: usize, now: Time) {
        let i = &mut self.routers[router];
        i.refused.tries = i.refused.tries.saturating_add(1);
        if i.is_master() && self.life == Life::Running && i.refused.tries >= TRIES {
            i.refused.until = Some(now + i.refused.times.fail(FIRST, LONGEST));
            self.evaluate_all(now);
        }
    }

    /// Ends what has lasted long enough. Whether the kernel has changed its mind shows only when nobody else
    /// is master: to try would cost the clients of another one.
    pub(crate) fn tick_refused(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            if self.routers[i].refused.until.is_some_and(|t| now >= t) {
                self.routers[i].refused.until = None;
                let until = now + self.routers[i].refused.times.pause(FIRST, LONGEST) * ASIDE;
                // The others of its group would preempt for it.
                for j in self.group_or_self(i) {
                    self.routers[j].machine.suspend_preempt(now, until);
                }
                self.evaluate_all(now);
            }
        }
    }

    /// An interface is another one or has other properties: what was refused may be accepted now.
    pub(crate) fn clear_refusals(&mut self, link: usize) {
        for router in 0..self.routers.len() {
            if self.routers[router].refused.times.failures() > 0
                && self.addrs.of(router).any(|(_, e)| e.link == link)
            {
                self.clear_refusals_of(router);
            }
        }
    }

    /// The same of one virtual router that has other addresses.
    pub(crate) fn clear_refusals_of(&mut self, router: usize) {
        let i = &mut self.routers[router];
        if i.refused.times.clear() {
            i.refused.until = None;
            for j in self.group_or_self(router) {
                self.routers[j].machine.resume_preempt();
            }
        }
    }
}
