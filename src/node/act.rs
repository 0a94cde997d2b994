//! What a virtual router does: the steps of its state machine, and the effects of their actions.

use super::{Effect, Memory, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::vrrp::machine::{Action, Input, Kind, Note, Why};
use std::time::Duration;

impl Node {
    /// Starts, or resumes if the lease of a vipd that ran here an instant ago is still running, or after a
    /// flap: of a group that must be so of all members.
    pub(super) fn take_part(&mut self, i: usize, now: Time) {
        let all = self.group_or_self(i);
        let resumes = |j: usize| {
            let restarted = self.routers[j].may_resume && self.is_still_leased(j, now);
            restarted || self.is_flap(j, now)
        };
        let resume = all.iter().all(|j| resumes(*j));
        for j in all {
            self.routers[j].may_resume = false;
            if self.routers[j].machine.kind() != Kind::Init {
                continue;
            }
            if resume {
                self.step(j, now, Input::Resume);
            } else {
                self.release(j);
                self.step(j, now, Input::Start);
            }
        }
    }

    /// The peers have not given up on us: our last advert is at most d older than the last renewal.
    pub(super) fn is_still_leased(&self, i: usize, now: Time) -> bool {
        const MARGIN: Duration = Duration::from_millis(200);
        if self.addrs.fence(i).is_some() {
            return self.lease_left(i, now).is_some();
        }
        let Some(age) = self.addrs.lease_age(i, now) else {
            return false;
        };
        age + self.addrs.terms(i).fresh + MARGIN < self.routers[i].machine.min_down_interval()
    }

    /// One step of a state machine, and what follows from it.
    pub(super) fn step(&mut self, i: usize, now: Time, input: Input) {
        let mut actions = std::mem::take(&mut self.actions);
        let was_master = self.routers[i].is_master();
        self.routers[i].machine.step(now, input, &mut actions);
        for a in actions.drain(..) {
            self.act(i, now, a);
        }
        self.actions = actions;
        self.sync_group(i, now, input, was_master && !self.routers[i].is_master());
    }

    pub(super) fn say_priority_zero(&mut self, router: usize, now: Time) {
        // A vipd that dies after this line must not resume.
        self.push(Effect::Remember { router, memory: Memory::Leaving });
        self.emit(Event::PriorityZero { router });
        self.push_advert(router, 0, now);
    }

    pub(super) fn act(&mut self, router: usize, now: Time, action: Action) {
        match action {
            Action::Advert(0) => {
                if !self.waits_for_address(router, now) {
                    self.say_priority_zero(router, now);
                }
            }
            Action::Advert(priority) => self.push_advert(router, priority, now),
            Action::Acquire => {
                self.routers[router].hold = None;
                self.addrs.acquire(router);
                self.end_covered_holds(now);
                self.set_vmac(router, true);
                let i = &mut self.routers[router];
                i.state_file_due = true;
                i.refused.became_master();
                i.announcer.start(now, &i.cfg.garp, i.vmac.is_some());
                if i.is_owner() {
                    self.queue_round(router, now);
                }
            }
            Action::Offer => self.hand_over(router, now),
            Action::Keep => {
                self.addrs.keep(router);
                self.push(Effect::Remember { router, memory: Memory::Master });
            }
            Action::Resigned(how) => self.emit(Event::Resigned { router, how }),
            Action::Release(how) => self.let_go(router, now, how),
            Action::Reannounce => {
                // The other's group announced all that it has.
                for i in self.group_or_self(router) {
                    self.reannounce(i, now);
                }
            }
            Action::Entered(kind, why) => {
                let i = &mut self.routers[router];
                (i.since, i.why) = (now, why);
                let shown = matches!(why, Why::Outranked(_)) && i.vmac.is_none() && !i.is_owner();
                i.outranked = shown.then_some(now);
                i.stats.transitions[match (kind, why) {
                    (Kind::Backup, _) => 1,
                    (Kind::Master, _) => 2,
                    (Kind::Init, Why::Faulted) => 3,
                    (Kind::Init, _) => 0,
                }] += 1;
                if kind == Kind::Master {
                    i.stats.became_master += 1;
                } else if why != Why::Left {
                    self.push(Effect::Remember { router, memory: Memory::Nothing });
                }
                self.end_foreign(router, true);
                self.emit(Event::Entered { router, kind, why });
                if kind == Kind::Master {
                    self.emit(Event::SettingVips { router });
                }
            }
            Action::Noted(note) => {
                let i = &mut self.routers[router];
                i.stats.lower_adverts += u64::from(matches!(note, Note::LowerAdvert(_)));
                if i.quiet.may_note(&note, now) {
                    self.emit(Event::Noted { router, note });
                }
            }
        }
    }

    // ---- adverts ----

    // ---- addresses ----

    // ---- announcements ----
}
