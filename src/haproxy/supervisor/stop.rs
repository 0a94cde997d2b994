//! The planned end: soft stop, SIGTERM, SIGKILL, within `stop_timeout`. Asked twice, it is fast.

use super::reload::Reload;
use super::{Action, Event, State, Supervisor};
use crate::base::time::Time;
use std::time::Duration;

/// Before the end of `stop_timeout`, SIGTERM follows the soft stop, and then SIGKILL.
const TERM_BEFORE_END: Duration = Duration::from_secs(1);
const KILL_BEFORE_END: Duration = Duration::from_millis(250);
/// One that was still starting gets this long before SIGTERM, and five times that before SIGKILL.
const START_STOP: Duration = Duration::from_millis(200);

impl Supervisor {
    /// The node leaves: what dies from now on is not started again.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Right before a start: it may have been called off since it was decided.
    pub fn may_spawn(&self) -> bool {
        matches!(self.state, State::Down { .. }) && !self.leaving
    }

    /// Soft stop, to be over at `end` at the latest. Returns whether there is something to wait for.
    pub fn stop(&mut self, now: Time, end: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) -> bool {
        if std::mem::take(&mut self.orphan) | self.replaced.take().is_some() {
            out.push(Action::RetireOrphan);
        }
        if let Some(Reload::Checking { .. }) = self.reload.take() {
            out.push(Action::CancelCheck);
        }
        let (State::Ready { pid, .. } | State::Starting { pid, .. }) = self.state else {
            if !matches!(self.state, State::Stopping { .. }) {
                self.state = State::Stopped;
            }
            return !matches!(self.state, State::Stopped);
        };
        events.push(Event::Stopping);
        out.extend([Action::CancelProbe, Action::SoftStop]);
        let (mut term_at, mut kill_at) = (end - TERM_BEFORE_END, end - KILL_BEFORE_END);
        if matches!(self.state, State::Starting { .. }) {
            // A USR1 before it has handlers is lost, and it has served nobody.
            (term_at, kill_at) = (term_at.min(now + START_STOP), kill_at.min(now + START_STOP * 5));
        }
        let term_at = term_at.max(now);
        self.state = State::Stopping { pid, since: now, term_at, kill_at: kill_at.max(term_at) };
        true
    }

    /// Asked twice: no more patience.
    pub fn hurry(&mut self, now: Time) {
        if let State::Stopping { term_at, kill_at, .. } = &mut self.state {
            *term_at = (*term_at).min(now);
            *kill_at = (*kill_at).min(now + Duration::from_millis(500));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain::tests::{MS, World};
    use super::*;
    use crate::base::exit::Exit;

    const TIMEOUT: Duration = Duration::from_secs(8);

    fn stop(w: &mut World) -> Vec<Action> {
        w.step(|h, now, out, ev| assert!(h.stop(now, now + TIMEOUT, out, ev)))
    }

    #[test]
    fn soft_stop_then_term_then_kill_within_the_time() {
        let mut w = World::ready(11, 12);
        let start = w.now;
        assert_eq!(stop(&mut w), [Action::CancelProbe, Action::SoftStop]);
        assert_eq!(w.due(), [Action::Terminate]);
        assert_eq!(w.now.since(start), TIMEOUT - TERM_BEFORE_END);
        assert_eq!(w.due(), [Action::Kill]);
        assert_eq!(w.now.since(start), TIMEOUT - KILL_BEFORE_END);
        let out = w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Signal(9), now, out, ev)));
        assert_eq!(out, [Action::KillRemains], "of one that died earlier");
        let after = TIMEOUT - KILL_BEFORE_END;
        assert_eq!(w.events.last(), Some(&Event::Stopped { exit: Exit::Signal(9), after }));
        assert_eq!(*w.h.state(), State::Stopped);
    }

    #[test]
    fn asked_twice_it_is_fast() {
        let mut w = World::ready(11, 12);
        stop(&mut w);
        w.now += 3 * MS;
        w.step(|h, now, _, _| h.hurry(now));
        let start = w.now;
        assert_eq!(w.due(), [Action::Terminate]);
        assert_eq!(w.due(), [Action::Kill]);
        assert!(w.now.since(start) <= Duration::from_millis(500));
    }

    #[test]
    fn one_that_is_still_starting_has_served_nobody() {
        let mut w = World::ready(11, 12);
        w.step(|h, now, out, ev| assert!(h.exited(11, Exit::Signal(9), now, out, ev)));
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        let start = w.now;
        stop(&mut w);
        assert_eq!(w.due(), [Action::Terminate]);
        assert_eq!(w.due(), [Action::Kill]);
        assert!(w.now.since(start) <= Duration::from_secs(1));
    }
}
