//! What follows when HAProxy has ended: it is started again at once, or later if a start failed or it dies too often.

use super::reload::Reload;
use super::{Action, Event, Probe, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use std::time::Duration;

/// First pause after a failed start.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Ready for this long, and earlier failures are forgotten.
pub(super) const STEADY: Duration = Duration::from_secs(10);

impl Supervisor {
    /// A process ended. Returns whether it was ours.
    pub fn exited(
        &mut self,
        pid: u32,
        exit: Exit,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.replaced_exited(pid, exit, now, events) {
            return true;
        }
        let ready = matches!(self.state, State::Ready { pid: p, .. } if p == pid);
        if ready && let Some(Reload::Checking { .. }) = self.reload.take() {
            self.next = None;
            out.push(Action::CancelCheck);
        }
        match self.state {
            State::Starting { pid: p, killed, .. } if p == pid && self.replaced.is_some() => {
                if !killed {
                    out.push(Action::CancelProbe);
                }
                self.restore(Some(exit), now, out, events);
            }
            State::Ready { pid: p, since, probe, .. } if p == pid => {
                if now.since(since) >= STEADY {
                    self.failures.clear();
                }
                self.died_at = Some(now);
                self.restarts += 1;
                self.state = State::Down { retry_at: now };
                if let Probe::Soliciting(_) = probe {
                    out.push(Action::CancelProbe);
                }
                events.push(Event::Died { exit });
                self.count_death(now, events);
                if self.crash_loop {
                    self.back_off(now);
                }
            }
            State::Starting { pid: p, killed: true, .. } if p == pid => {
                self.adopting = false;
                let retry = self.back_off(now);
                events.push(Event::Killed { retry });
            }
            State::Starting { pid: p, .. } if p == pid => {
                out.push(Action::CancelProbe);
                if std::mem::take(&mut self.adopting) {
                    self.state = State::Down { retry_at: now };
                    events.push(Event::Died { exit });
                } else {
                    let retry = self.back_off(now);
                    events.push(Event::StartFailed { exit, retry });
                }
            }
            State::Stopping { pid: p, since, .. } if p == pid => {
                self.state = State::Stopped;
                out.push(Action::KillRemains);
                events.push(Event::Stopped { exit, after: now.since(since) });
            }
            _ => return false,
        }
        self.remains = true;
        self.last_exit = Some(exit);
        true
    }

    fn count_death(&mut self, now: Time, events: &mut Vec<Event>) {
        let window = self.cfg.crash_window;
        self.deaths.retain(|t| now.since(*t) < window);
        self.deaths.push(now);
        let deaths = self.deaths.len();
        if deaths > self.cfg.crash_limit as usize {
            self.deaths.remove(0);
            if !std::mem::replace(&mut self.crash_loop, true) {
                events.push(Event::CrashLoop { deaths, window });
            }
        }
    }

    /// Whether it died too often and has not been well for a window since.
    pub fn is_crash_loop(&self) -> bool {
        self.crash_loop
    }

    /// A start failed: the next one comes later.
    pub(super) fn back_off(&mut self, now: Time) -> Duration {
        let retry = self.failures.fail(BACKOFF_MIN, self.cfg.restart_backoff_max);
        self.died_at = None; // no grace for a start that failed
        self.state = State::Down { retry_at: now + retry };
        retry
    }
}
