//! The end of HAProxy: softly, and within a bound.

use super::reload::Reload;
use super::{Action, Event, KILL_BEFORE_END, START_STOP, State, Supervisor, TERM_BEFORE_END};
use crate::time::Time;
use std::time::Duration;

impl Supervisor {
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
        self.state = State::Stopping { pid, term_at, kill_at: kill_at.max(term_at) };
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
