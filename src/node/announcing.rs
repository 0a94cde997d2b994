//! Announcements: VIPs wait in one queue and go out a few in a millisecond.

use super::{Effect, Memory, Node};
use crate::base::time::Time;
use std::time::Duration;

/// Frames announced in one millisecond at the most: a burst beyond a receiver's buffer is lost as a whole.
const FRAMES_PER_MS: usize = 50;

/// The VIPs that wait to be announced.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcing {
    queue: Vec<usize>,
    /// When the next ones go out.
    pub(super) at: Option<Time>,
}

impl Announcing {
    pub(super) fn push(&mut self, entry: usize, now: Time) {
        if !self.queue.contains(&entry) {
            self.queue.push(entry);
            self.at.get_or_insert(now);
        }
    }

    /// At most `FRAMES_PER_MS`, if they are due; the rest is due in a millisecond.
    pub(super) fn take(&mut self, now: Time) -> Vec<usize> {
        if self.at.is_none_or(|t| now < t) {
            return Vec::new();
        }
        let rest = self.queue.split_off(self.queue.len().min(FRAMES_PER_MS));
        let due = std::mem::replace(&mut self.queue, rest);
        self.at = (!self.queue.is_empty()).then(|| now + Duration::from_millis(1));
        due
    }

    /// The VIPs have other numbers, or none.
    pub(super) fn renumber(&mut self, is_now: impl Fn(usize) -> Option<usize>) {
        self.queue.retain_mut(|e| {
            let now = is_now(*e);
            *e = now.unwrap_or(0);
            now.is_some()
        });
    }
}

impl Node {
    /// Right before an announcement is sent, for the same reason.
    pub fn may_announce(&self, entry: usize, now: Time) -> bool {
        let Some(router) = self.addrs.entries.get(entry).map(|e| e.router) else { return false };
        let i = &self.routers[router];
        let fresh =
            self.addrs.last_advert(router).is_some_and(|t| now.since(t) < i.machine.min_down_interval());
        i.is_master() && (fresh || i.is_owner())
    }

    pub(super) fn reannounce(&mut self, router: usize, now: Time) {
        let i = &mut self.routers[router];
        if i.is_master() {
            i.announcer.reannounce(now, &i.cfg.garp);
        }
    }

    /// The neighbours have to learn the addresses of this node again.
    pub(super) fn announce_anew(&mut self, now: Time) {
        for i in self.routers.iter_mut().filter(|i| i.is_master()) {
            i.announcer.anew(now, &i.cfg.garp);
        }
    }

    /// Every VIP of a virtual router, once.
    pub(super) fn queue_round(&mut self, router: usize, now: Time) {
        for entry in self.addrs.entries_of(router) {
            self.announcing.push(entry, now);
        }
    }

    /// Announces what is due, at most `FRAMES_PER_MS`.
    pub(super) fn announce_some(&mut self, now: Time) {
        let mut state_file_due = Vec::new();
        for entry in self.announcing.take(now) {
            if let Some(router) = self.master_of(entry).filter(|_| self.addrs.is_held(entry)) {
                self.routers[router].stats.announcements += 1;
                self.push(Effect::Announce { entry });
                if self.routers[router].announcer.probes {
                    self.push(Effect::Probe { entry });
                }
                if std::mem::take(&mut self.routers[router].state_file_due) {
                    state_file_due.push(router);
                }
            }
        }
        // Without its addresses there is nothing that a restart could resume, so this can wait for them.
        for router in state_file_due {
            self.push(Effect::Remember { router, memory: Memory::Master });
        }
    }
}
