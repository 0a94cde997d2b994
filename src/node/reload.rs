//! Another configuration for a node that runs. What did not change does not notice.
//!
//! A virtual router is the same one if its peers would say so (`config::diff::is_same_router`): then
//! everything changes in place, its name too. Else the old one leaves as in a stop, alone, and is forgotten
//! when it holds nothing any more; a new one starts as a backup. An address that both have is handed from the
//! one to the other without leaving the kernel.
//!
//! Indices of virtual routers, VIPs, interfaces and checks change here: no effect and no event may be queued.

use super::router::retune::is_changed;
use super::{Effect, Life, Node, Router};
use crate::base::time::Time;
use crate::config::{self, Config, diff};

/// What a reload did with one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What.
    pub what: What,
}

/// See `Change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It leaves.
    Removed,
    /// It goes on with other values.
    Changed,
}

impl Node {
    /// Whether a new configuration may be taken up now: nobody waits for an answer to priority 0, and nothing
    /// is queued.
    pub fn may_reconfigure(&self) -> bool {
        let soliciting = self.routers.iter().any(|i| i.machine.is_soliciting());
        !soliciting && self.effects.is_empty() && self.events.is_empty()
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        !matches!(self.life, Life::Starting | Life::Running)
    }

    /// From `old` to `new`, if `may_reconfigure`. Effects follow. HAProxy is another matter:
    /// `reconfigure_haproxy`.
    pub fn reconfigure(&mut self, old: &Config, new: &Config, now: Time) -> Vec<Change> {
        debug_assert!(self.may_reconfigure(), "indices change, and effects or events are queued");
        self.stale = true;
        self.take_up(&old.checks, new, now)
    }

    /// Takes a configuration up; at the start it is the first one. `checks` are those of the last one.
    pub(super) fn take_up(&mut self, checks: &[config::Check], new: &Config, now: Time) -> Vec<Change> {
        // First of all: the leases are those of a shorter interval before anything is said of it.
        self.refence();
        let from = self.match_instances(new, now);
        self.renumber(&from);
        self.new_checks(checks, new, now);
        self.forget_old_names(new);
        let mut changes = Vec::new();
        for (i, v) in new.vrrp.iter().enumerate() {
            let known = from.get(i).is_some_and(Option::is_some);
            let before = known.then(|| std::mem::replace(&mut self.routers[i].cfg, v.clone()));
            let added = self.place(i, v);
            let what = match before {
                None => {
                    self.set_terms(i);
                    Some(What::Added)
                }
                Some(before) => {
                    self.retune(i, &before, v, now);
                    if added && self.routers[i].is_master() {
                        self.advert_unless_fresh(i, now);
                    }
                    is_changed(&before, v, checks, &new.checks).then_some(What::Changed)
                }
            };
            changes.extend(what.map(|what| Change { name: v.name.clone(), what }));
        }
        for i in new.vrrp.len()..self.routers.len() {
            if !self.routers[i].retired {
                changes.push(Change { name: self.routers[i].cfg.name.clone(), what: What::Removed });
                self.retire(i, now);
            }
        }
        self.notify.reconfigure(new, now);
        self.regroup(&from, new, now);
        self.rewire();
        self.let_dropped_go(now);
        self.evaluate_all(now);
        changes
    }

    /// Two may have changed their names with each other: all files go before one is written.
    fn forget_old_names(&mut self, new: &Config) {
        for (i, v) in new.vrrp.iter().enumerate() {
            let name = &self.routers[i].cfg.name;
            if *name != v.name {
                let name = name.clone();
                self.push(Effect::Forget { name });
            }
        }
    }

    /// The virtual routers in the order of the file, those that leave behind them. Returns which each one
    /// was.
    fn match_instances(&mut self, new: &Config, now: Time) -> Vec<Option<usize>> {
        let mut numbers = self.which(&|_| true);
        let mut old = std::mem::take(&mut self.routers);
        let mut from = Vec::new();
        for v in &new.vrrp {
            let same = old.iter().position(|i| !i.retired && diff::is_same_router(&i.cfg, v));
            from.push(same.map(|at| numbers.remove(at)));
            if let Some(at) = same {
                self.routers.push(old.remove(at));
            } else {
                let mut router = Router::new(v.clone(), 0, now);
                router.machine.params.epoch = self.epoch;
                self.routers.push(router);
            }
        }
        from.extend(numbers.into_iter().map(Some));
        self.routers.append(&mut old);
        from
    }

    pub(super) fn renumber(&mut self, from: &[Option<usize>]) {
        let map = self.addrs.renumber(from);
        let is_now = |e: usize| map.get(e).copied().flatten();
        self.announcing.renumber(is_now);
        for router in &mut self.routers {
            router.contest = router.contest.take().and_then(|mut c| {
                c.entry = is_now(c.entry)?;
                Some(c)
            });
        }
        for v in self.links.iter_mut().filter_map(|l| l.vmac.as_mut()) {
            v.router = from.iter().position(|o| *o == Some(v.router)).unwrap_or(v.router);
        }
    }

    /// What is not configured any more leaves the kernel now, what another one has changes hands.
    fn let_dropped_go(&mut self, now: Time) {
        let ops = self.addrs.removals_now(now);
        for op in &ops {
            // Connections outlive that their address is away for a moment.
            if !self.addrs.has_other(op.entry) {
                self.push(Effect::DisconnectVip { entry: op.entry });
            }
        }
        self.push_addrs(ops);
    }
}
