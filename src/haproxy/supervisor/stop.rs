//! The planned end: soft stop, SIGTERM, SIGKILL, within `stop_timeout`. Asked twice, it is fast.

use super::reload::Reload;
use super::{Action, Event, State, Supervisor};
use crate::base::time::Time;
use std::time::Duration;

/// Before the end of `stop_timeout`, SIGTERM follows the soft stop, and then SIGKILL.
pub(super) const TERM_BEFORE_END: Duration = Duration::from_secs(1);
pub(super) const KILL_BEFORE_END: Duration = Duration::from_millis(250);
/// One that was still starting gets this long before SIGTERM, and five times that before SIGKILL.
const START_STOP: Duration = Duration::from_millis(200);
/// Pause between two SIGKILL.
pub(super) const KILL_AGAIN: Duration = Duration::from_secs(1);
/// Asked twice, SIGKILL comes within this.
pub(super) const HURRY: Duration = Duration::from_millis(500);

impl Supervisor {
    pub(super) fn stop(&mut self, now: Time, end: Time) {
        self.leaving = true;
        self.stop_others(end, now);
        self.reload_again = false;
        if let Some(Reload::Checking { .. }) = self.reload.take() {
            self.out.act(Action::CancelCheck);
        }
        let (mut term_at, mut kill_at) = (end - TERM_BEFORE_END, end - KILL_BEFORE_END);
        let pid = match self.state {
            State::Ready { pid, .. } => pid,
            State::Starting { pid, .. } | State::Killed { pid, .. } => {
                // A USR1 before it has handlers is lost, and it has served nobody.
                (term_at, kill_at) = (term_at.min(now + START_STOP), kill_at.min(now + START_STOP * 5));
                pid
            }
            State::Down { .. } => return self.state = State::Stopped,
            State::Stopping { .. } | State::Stopped => return,
        };
        self.out.emit(Event::Stopping);
        self.out.act(Action::CancelProbe);
        self.out.act(Action::SoftStop { pid });
        let term_at = term_at.max(now);
        self.state = State::Stopping { pid, since: now, term_at, kill_at: kill_at.max(term_at) };
    }

    pub(super) fn tick_stopping(&mut self, now: Time) {
        let State::Stopping { pid, term_at, kill_at, .. } = &mut self.state else { return };
        let (pid, kill) = (*pid, now >= *kill_at);
        if kill {
            *kill_at = now + KILL_AGAIN;
        } else if now < *term_at {
            return;
        }
        *term_at = *kill_at;
        self.out.emit(Event::StopForced { kill });
        self.out.act(if kill { Action::Kill { pid } } else { Action::Terminate { pid } });
    }

    /// Asked twice: no more patience.
    pub(super) fn hurry(&mut self, now: Time) {
        if let State::Stopping { term_at, kill_at, .. } = &mut self.state {
            *term_at = (*term_at).min(now);
            *kill_at = (*kill_at).min(now + HURRY);
        }
        self.hurry_others(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::tests::{MS, World};
    use super::*;
    use crate::base::exit::Exit;

    const OFTEN: &str = "keep_listeners = no";
    const TIMEOUT: Duration = Duration::from_secs(8);

    #[test]
    fn soft_stop_then_term_then_kill_within_the_time() {
        let mut w = World::ready(OFTEN).0;
        let start = w.now;
        assert_eq!(w.stop(TIMEOUT), [Action::CancelProbe, Action::SoftStop { pid: 11 }]);
        assert_eq!(w.due(), [Action::Terminate { pid: 11 }]);
        assert_eq!(w.now.since(start), TIMEOUT - TERM_BEFORE_END);
        assert_eq!(w.due(), [Action::Kill { pid: 11 }]);
        assert_eq!(w.now.since(start), TIMEOUT - KILL_BEFORE_END);
        let out = w.exited(11, Exit::Signal(9));
        assert_eq!(out, [Action::KillRemains], "of one that died earlier");
        let after = TIMEOUT - KILL_BEFORE_END;
        assert_eq!(w.events.last(), Some(&Event::Stopped { exit: Exit::Signal(9), after }));
        assert_eq!(*w.h.state(), State::Stopped);
    }

    #[test]
    fn asked_twice_it_is_fast() {
        let mut w = World::ready(OFTEN).0;
        w.stop(TIMEOUT);
        w.now += 3 * MS;
        w.step(Input::Hurry);
        let start = w.now;
        assert_eq!(w.due(), [Action::Terminate { pid: 11 }]);
        assert_eq!(w.due(), [Action::Kill { pid: 11 }]);
        assert!(w.now.since(start) <= Duration::from_millis(500));
    }

    #[test]
    fn one_that_is_still_starting_has_served_nobody() {
        let mut w = World::ready(OFTEN).0;
        w.exited(11, Exit::Signal(9));
        w.spawned(21);
        let start = w.now;
        w.stop(TIMEOUT);
        assert_eq!(w.due(), [Action::Terminate { pid: 21 }]);
        assert_eq!(w.due(), [Action::Kill { pid: 21 }]);
        assert!(w.now.since(start) <= Duration::from_secs(1));
    }
}
