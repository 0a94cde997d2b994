//! Everything that is tracked, and the effective priority that is made of it.

use crate::base::time::Time;
use crate::check::{Action, Failure, Transition};
use crate::config::Track;
use crate::event::Event;
use crate::haproxy::supervisor::{Health, Supervisor};
use crate::node::{Effect, Life, Node};
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Input, Kind};

/// Something that a virtual router tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// Index into the node's links.
    Interface(usize),
    /// Index into the node's checks.
    Check(usize),
    /// HAProxy.
    Haproxy,
}

/// One thing that a virtual router tracks, and how that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    /// What.
    pub what: Tracked,
    /// What becomes of it.
    pub how: Track,
    /// Whether it is well; `None`: not known yet.
    pub up: Option<bool>,
}

impl Tracking {
    /// What it adds to the priority now. What is not known to be up counts as down: who starts must not
    /// preempt with a priority that it may have to give up a moment later.
    pub fn weight(&self) -> i16 {
        match self.how {
            Track::Weight(w) if (w > 0) == (self.up == Some(true)) => w,
            _ => 0,
        }
    }
}

impl Node {
    /// What a virtual router tracks; an owner tracks nothing.
    pub fn tracked(&self, i: usize, now: Time) -> Vec<Tracking> {
        let router = &self.routers[i];
        let cfg = &router.cfg;
        let mut all = Vec::new();
        if self.routers[i].is_owner() {
            return all;
        }
        for t in &cfg.track_interfaces {
            if let Some(link) = self.links.iter().position(|l| l.name == t.name && !l.unread) {
                let up = Some(self.links[link].running);
                all.push(Tracking { what: Tracked::Interface(link), how: t.track, up });
            }
        }
        for t in &cfg.track_checks {
            let Some(c) = self.checks.get(t.check) else { continue };
            let up = c.is_up();
            if c.is_late() && router.machine.kind() != Kind::Init {
                continue; // a reload moves nobody before there is a result
            }
            all.push(Tracking { what: Tracked::Check(t.check), how: t.track, up });
        }
        if let Some(h) = self.haproxy.as_ref().filter(|_| cfg.track_haproxy != Track::No) {
            let up = match h.health(now) {
                Health::Unwell if h.is_first_start() => None,
                Health::Unwell => Some(false),
                // A restart within its grace changes nothing. Without a weight, the last choice is up.
                _ => Some(cfg.track_haproxy == Track::Fault || !h.is_last_choice()),
            };
            all.push(Tracking { what: Tracked::Haproxy, how: cfg.track_haproxy, up });
        }
        all
    }

    /// Tells the machine the effective priority, if that has changed: the base plus all weights, 1 to 254 as
    /// in keepalived, since tracking can neither resign (0) nor make an owner (255).
    pub(crate) fn update_priority(&mut self, i: usize, now: Time) {
        let router = &self.routers[i];
        if router.is_owner() {
            return;
        }
        let weights: i32 = self.tracked(i, now).iter().map(|t| i32::from(t.weight())).sum();
        // Without a weight, a HAProxy that died too often, or has an old configuration, is no fault as long
        // as it serves: whoever else can, goes first, but nobody is worse than this one.
        let last = router.cfg.track_haproxy == Track::Fault
            && self.haproxy.as_ref().is_some_and(Supervisor::is_last_choice);
        let to = match last {
            true => 1,
            false => u8::try_from((i32::from(router.cfg.priority) + weights).clamp(1, 254)).unwrap_or(1),
        };
        let from = router.machine.params.priority;
        if from == to {
            return;
        }
        if router.machine.kind() != Kind::Init {
            self.emit(Event::Priority { router: i, from, to });
        }
        self.step(i, now, Input::Priority(to));
    }

    /// Faults of what is tracked without a weight; HAProxy's have a say of their own.
    pub(crate) fn tracked_faults(&self, i: usize, now: Time, faults: &mut Faults) {
        for t in self.tracked(i, now).iter().filter(|t| t.how == Track::Fault && t.up != Some(true)) {
            match t.what {
                Tracked::Interface(_) => faults.set(Faults::TRACKED_INTERFACE, true),
                Tracked::Check(_) if t.up.is_none() => faults.set(Faults::CHECKING, true),
                Tracked::Check(_) => faults.set(Faults::CHECK, true),
                Tracked::Haproxy => {}
            }
        }
    }

    // ---- checks ----

    pub(crate) fn tick_checks(&mut self, now: Time) {
        if self.life != Life::Running {
            return;
        }
        for check in 0..self.checks.len() {
            let (action, said) = self.checks[check].tick(now);
            if let Some(action) = action {
                self.push(Effect::Check { check, action });
            }
            self.check_said(now, check, said, String::new());
        }
    }

    /// An attempt of a check has ended; `output`: the first line that its command wrote.
    pub fn check_done(&mut self, now: Time, check: usize, result: Result<(), Failure>, output: String) {
        let said = self.checks[check].done(now, result);
        self.check_said(now, check, said, output);
    }

    fn check_said(&mut self, now: Time, check: usize, said: Option<Transition>, output: String) {
        let Some(said) = said else { return };
        self.emit(Event::Check { check, said, output });
        if matches!(said, Transition::Up | Transition::Down(_)) {
            self.evaluate_all(now);
        }
    }

    pub(crate) fn stop_checks(&mut self) {
        for check in 0..self.checks.len() {
            if self.checks[check].stop() {
                self.push(Effect::Check { check, action: Action::Abandon });
            }
        }
    }
}
