//! Handing over on command: a master asks by priority 0 whether there is a successor, and stays what it is until
//! somebody takes over.

use super::{Action, Input, Kind, Machine, Master, Release, State, Why};
use crate::base::time::Time;
use std::time::Duration;

/// A question that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Soliciting {
    /// When nobody has come.
    pub(super) until: Time,
    since: Time,
    no_preempt_for: Duration,
    force: bool,
}

/// What became of the command to resign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resigned {
    /// This one took over, so long after the question.
    To(Master, Duration),
    /// The group moved because of another member.
    WithGroup,
    /// Nobody came within this time: still master.
    Nobody(Duration),
    /// Nobody came within this time, and the addresses were given up all the same.
    Forced(Duration),
    /// It was no master; it does not preempt, that is all.
    NotMaster,
    /// A stop, a fault or a stall came in between.
    Interrupted,
    /// One is under way.
    Busy,
    /// The owner of the addresses cannot resign.
    Owner,
}

impl Machine {
    /// Whether it waits for an answer to priority 0.
    pub fn is_soliciting(&self) -> bool {
        self.soliciting.is_some()
    }

    /// How much longer it does not preempt, if it was told to resign.
    pub fn no_preempt_for(&self, now: Time) -> Option<Duration> {
        self.no_preempt_until.filter(|t| now < *t).map(|t| t.since(now))
    }

    pub(super) fn resign(
        &mut self,
        now: Time,
        wait: Duration,
        no_preempt_for: Duration,
        force: bool,
        out: &mut Vec<Action>,
    ) {
        let refused = match self.state {
            _ if self.soliciting.is_some() => Resigned::Busy,
            _ if self.params.priority == 255 => Resigned::Owner,
            State::Master { .. } => {
                self.soliciting = Some(Soliciting { until: now + wait, since: now, no_preempt_for, force });
                return out.extend([Action::Advert(0), Action::Offer]);
            }
            _ => {
                self.suspend_preempt(now, now + no_preempt_for);
                Resigned::NotMaster
            }
        };
        out.push(Action::Resigned(refused));
    }

    /// To preempt again.
    pub fn resume_preempt(&mut self) {
        self.no_preempt_until = None;
    }

    /// Not to preempt until then.
    pub fn suspend_preempt(&mut self, now: Time, until: Time) {
        self.no_preempt_until = Some(until);
        self.follow_lower(now);
    }

    /// A master of lower priority that was being preempted is followed from now on, as if it had just been heard.
    pub(super) fn follow_lower(&mut self, now: Time) {
        let State::Backup { interval, lower: Some(m), .. } = self.state else { return };
        let down = now + self.down_interval(interval);
        if let State::Backup { down_at, preempt_at, master, lower, .. } = &mut self.state
            && m.priority != 0
        {
            (*master, *lower, *preempt_at, *down_at) = (Some(m), None, None, down);
        }
    }

    /// A step of a master that waits for an answer.
    pub(super) fn step_asking(&mut self, now: Time, input: Input, out: &mut Vec<Action>) {
        let Some(soliciting) = self.soliciting else { return };
        let no_preempt_until = Some(now + soliciting.no_preempt_for);
        let waited = now.since(soliciting.since);
        match input {
            Input::Advert { src, priority, interval } if priority != 0 => {
                let successor = Master { src, priority };
                (self.soliciting, self.no_preempt_until) = (None, no_preempt_until);
                let interval = self.learned(interval);
                out.push(Action::Release(Release::AfterSuccessor));
                self.follow(now, interval, Some(successor), Why::Resigned, out);
                out.push(Action::Resigned(Resigned::To(successor, waited)));
            }
            // Of a group the first one's time makes the others yield: it is theirs as well.
            Input::Tick | Input::Yield if now >= soliciting.until && soliciting.force => {
                (self.soliciting, self.no_preempt_until) = (None, no_preempt_until);
                out.push(Action::Release(Release::Now));
                self.follow(now, self.params.advert_int, None, Why::Resigned, out);
                // A master that was never heard is not dead: it was asked for that there be none.
                if let (State::Backup { down_at, .. }, Some(t)) = (&mut self.state, no_preempt_until) {
                    *down_at = (*down_at).max(t);
                }
                out.push(Action::Resigned(Resigned::Forced(waited)));
            }
            Input::Tick if now >= soliciting.until => {
                self.soliciting = None;
                out.extend([Action::Keep, Action::Advert(self.params.priority)]);
                self.rearm(now);
                out.push(Action::Resigned(Resigned::Nobody(waited)));
            }
            Input::Yield => {
                (self.soliciting, self.no_preempt_until) = (None, no_preempt_until);
                self.step_plain(now, input, out);
                out.push(Action::Resigned(Resigned::WithGroup));
            }
            Input::Leave => {
                // Priority 0 went out just now; another one would start keepalived's skew timer anew.
                self.soliciting = None;
                out.push(Action::Release(Release::AfterSuccessor));
                self.rest(Why::Left, out);
                out.push(Action::Resigned(Resigned::Interrupted));
            }
            Input::Fault => {
                self.soliciting = None;
                out.push(Action::Release(Release::Now));
                self.rest(Why::Faulted, out);
                out.push(Action::Resigned(Resigned::Interrupted));
            }
            Input::Stall => {
                self.soliciting = None;
                self.step_plain(now, input, out);
                out.push(Action::Resigned(Resigned::Interrupted));
            }
            _ => {}
        }
        debug_assert!(self.soliciting.is_none() || self.kind() == Kind::Master);
    }
}
