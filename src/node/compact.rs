//! What has left is forgotten when nothing is queued.

use super::{Effect, Link, Node};
use crate::base::time::Time;
use crate::event::Event;
use std::collections::VecDeque;

impl Node {
    /// When nothing is queued: forgets the virtual routers that have left, with all that was theirs.
    pub(super) fn compact(&mut self, now: Time) {
        // What a change of all virtual routers at once has filled is not kept.
        let usual = 2 * self.routers.len() + 8;
        if self.effects.is_empty() && self.effects.capacity() > usual {
            self.effects = VecDeque::new();
        }
        if self.events.is_empty() && self.events.capacity() > usual {
            self.events = VecDeque::new();
        }
        if !self.stale || !self.may_reconfigure() {
            return;
        }
        let over = |i: usize| {
            let router = &self.routers[i];
            router.retired && router.hold.is_none() && self.addrs.holds_nothing(i)
        };
        let gone = self.which(&over);
        let from: Vec<_> = self.which(&|i| !over(i)).into_iter().map(Some).collect();
        let mut names = Vec::new();
        for i in gone.into_iter().rev() {
            let router = self.routers.remove(i);
            names.push(router.cfg.name.clone());
            if let Some(link) = router.vmac {
                self.forget_vmac(link);
            }
        }
        if !names.is_empty() {
            self.refence();
        }
        self.renumber(&from);
        self.rewire();
        for name in names {
            if !self.routers.iter().any(|i| i.cfg.name == name) {
                self.push(Effect::Forget { name: name.clone() });
            }
            self.emit(Event::Forgotten { name });
        }
        self.stale = self.addrs.drops_any() || self.routers.iter().any(|i| i.retired);
        for link in 0..self.links.len() {
            if self.is_unused(link) {
                self.links[link] = Link::unused();
            }
        }
        self.next_haproxy(now);
    }
}
