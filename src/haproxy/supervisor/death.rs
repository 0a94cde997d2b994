//! What follows when HAProxy has ended: it is started again at once, or later if a start failed or it dies
//! too often.

use super::{Action, Event, Probe, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use std::time::Duration;

/// First pause after a failed start.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Ready for this long, and earlier failures are forgotten.
pub(super) const STEADY: Duration = Duration::from_secs(10);

impl Supervisor {
    /// A process ended, ours or another one.
    pub(super) fn exited(&mut self, pid: u32, exit: Exit, now: Time) {
        if self.other_exited(pid) || self.replaced_exited(pid, exit, now) || self.pid() != Some(pid) {
            return;
        }
        match self.state {
            State::Starting { .. } => self.starting_exited(exit, now),
            State::Ready { since, probe, .. } => self.ready_exited(since, probe, exit, now),
            State::Killed { .. } if self.replaced.is_some() => {
                self.restore(Some(exit), None, now);
            }
            State::Killed { .. } => {
                let retry = self.back_off(now);
                self.out.emit(Event::Killed { retry });
            }
            State::Stopping { since, .. } => {
                self.state = State::Stopped;
                self.out.act(Action::KillRemains);
                self.out.emit(Event::Stopped { exit, after: now.since(since) });
            }
            State::Down { .. } | State::Stopped => {}
        }
        self.remains = true;
        self.last_exit = Some(exit);
    }

    fn starting_exited(&mut self, exit: Exit, now: Time) {
        self.out.act(Action::CancelProbe);
        if self.restore(Some(exit), None, now) {
            return;
        }
        if self.is_adopting() {
            self.state = State::Down { retry_at: now };
            self.out.emit(Event::Died { exit });
        } else {
            let retry = self.back_off(now);
            self.out.emit(Event::StartFailed { exit, retry });
            self.start_refused(exit);
        }
    }

    fn ready_exited(&mut self, since: Time, probe: Probe, exit: Exit, now: Time) {
        self.give_up_reload();
        if now.since(since) >= STEADY {
            self.failures.clear();
        }
        self.died_at = Some(now);
        self.restarts += 1;
        self.state = State::Down { retry_at: now };
        if let Probe::Asked(_) = probe {
            self.out.act(Action::CancelProbe);
        }
        self.out.emit(Event::Died { exit });
        self.count_death(now);
    }

    /// After too many deaths other nodes are preferred. It is started again at once all the same: if no
    /// other node takes over, whatever kills it may kill theirs as well, and a pause would serve nobody. The
    /// deaths are counted anew from there. When they are too many again, each is followed by a pause, and the
    /// address is given away.
    fn count_death(&mut self, now: Time) {
        let window = self.cfg.crash_window;
        self.deaths.retain(|t| now.since(*t) < window);
        self.deaths.push(now);
        let deaths = self.deaths.len();
        let too_many = deaths > self.cfg.crash_limit as usize;
        if too_many {
            self.deaths.remove(0);
        }
        if too_many && !self.crash_loop {
            self.crash_loop = true;
            self.deaths.clear();
            self.out.emit(Event::CrashLoop { deaths, window });
        } else if self.crash_loop {
            self.pauses |= too_many;
            if self.pauses {
                self.back_off(now);
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

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::super::tests::{MS, World};
    use super::*;

    #[test]
    fn a_slow_start_is_waited_for_no_longer_than_a_move_takes() {
        let (mut w, _) = World::ready("keep_listeners = no");
        w.exited(11, Exit::Signal(9));
        w.due();
        w.spawned(21);
        w.wait(2000 * MS);
        w.answer(21, 22);
        w.exited(21, Exit::Signal(9));
        assert_eq!(w.h.health(w.now), Health::Recovering { until: w.now + 1250 * MS });
    }
}
