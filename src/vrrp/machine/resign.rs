//! Handing over on command: a master asks by priority 0 whether there is a successor, and stays what it is
//! until somebody takes over.

use super::{Action, Input, Machine, Master, Release, State, Why};
use crate::base::time::Time;
use crate::vrrp::timers;
use std::time::Duration;

/// A question that is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Soliciting {
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
        matches!(self.state, State::Soliciting(_))
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
            State::Soliciting(_) => Resigned::Busy,
            _ if self.params.priority == 255 => Resigned::Owner,
            State::Master { .. } => {
                let question = Soliciting { until: now + wait, since: now, no_preempt_for, force };
                self.state = State::Soliciting(question);
                return out.extend([Action::Offer, Action::Advert(0)]);
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

    /// A master of lower priority that was being preempted is followed from now on, as if it had just been
    /// heard.
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
    pub(super) fn step_soliciting(&mut self, now: Time, s: Soliciting, input: Input, out: &mut Vec<Action>) {
        let no_preempt_until = Some(now + s.no_preempt_for);
        let waited = now.since(s.since);
        let how = match input {
            Input::Advert { src, priority, interval } if priority != 0 => {
                let successor = Master { src, priority };
                self.no_preempt_until = no_preempt_until;
                out.push(Action::Release(Release::AfterSuccessor));
                self.follow(now, Some((successor, interval)), Why::Resigned, out);
                Resigned::To(successor, waited)
            }
            // Of a group the first one's time makes the others yield: it is theirs as well.
            Input::Tick | Input::Yield if now >= s.until && s.force => {
                self.no_preempt_until = no_preempt_until;
                self.give_up(now, Release::Now, Why::Resigned, out);
                // A master that was never heard is not dead: it was asked for that there be none.
                if let (State::Backup { down_at, .. }, Some(t)) = (&mut self.state, no_preempt_until) {
                    *down_at = (*down_at).max(t);
                }
                Resigned::Forced(waited)
            }
            Input::Tick if now >= s.until => {
                out.extend([Action::Keep, Action::Advert(self.params.priority)]);
                let advert_at = timers::next_on_grid(now, self.params.epoch, self.params.advert_int);
                self.state = State::Master { advert_at, answered: None };
                Resigned::Nobody(waited)
            }
            Input::Yield => {
                self.no_preempt_until = no_preempt_until;
                self.give_up(now, Release::AfterSuccessor, Why::Group, out);
                Resigned::WithGroup
            }
            Input::Leave => {
                // Priority 0 went out just now; another one would start keepalived's skew timer anew.
                out.push(Action::Release(Release::AfterSuccessor));
                self.rest(Why::Left, out);
                Resigned::Interrupted
            }
            Input::Fault => {
                out.push(Action::Release(Release::Now));
                self.rest(Why::Faulted, out);
                Resigned::Interrupted
            }
            Input::Stall => {
                self.give_up(now, Release::Now, Why::Stalled, out);
                Resigned::Interrupted
            }
            _ => return,
        };
        out.push(Action::Resigned(how));
    }
}
