//! The end: hand over what is held, then stop HAProxy, within a bound.

use super::{Effect, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::haproxy::supervisor::{Input, Supervisor};
use crate::vrrp::machine;
use std::time::Duration;

/// Bound of the whole stop where no `[haproxy]` sets it.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);
/// Bound of what is left when it is asked for twice.
const HURRY: Duration = Duration::from_millis(750);
/// What the hand-over leaves of `stop_timeout` to HAProxy's own stop.
const STOP_RESERVE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The kernel's tables are being read.
    Starting,
    Running,
    /// Handing over.
    Leaving {
        end: Time,
    },
    /// HAProxy finishes.
    Stopping {
        end: Time,
    },
    Over,
}

impl Node {
    /// TERM, INT or USR1.
    pub fn stop(&mut self, now: Time) {
        match self.life {
            Life::Starting | Life::Running => {
                self.emit(Event::Stopping { again: false });
                let total = self.haproxy.as_ref().map_or(STOP_TIMEOUT, Supervisor::stop_timeout);
                let end = now + total;
                self.life = Life::Leaving { end };
                self.stop_checks();
                self.supervise(now, Input::Leave);
                for i in 0..self.routers.len() {
                    self.tick_put_back(i, now, true);
                    (self.routers[i].may_resume, self.routers[i].flap_until) = (false, None);
                    self.step(
                        i,
                        now,
                        if self.is_well(i, now) { machine::Input::Leave } else { machine::Input::Fault },
                    );
                    let by = (end - STOP_RESERVE.min(total / 2)).max(now);
                    match &mut self.routers[i].hold {
                        Some(h) => h.until = h.until.min(by),
                        None => self.release(i),
                    }
                }
            }
            Life::Leaving { .. } | Life::Stopping { .. } => {
                self.emit(Event::Stopping { again: true });
                if let Life::Leaving { end } = &mut self.life {
                    *end = (*end).min(now + HURRY);
                }
                for i in 0..self.routers.len() {
                    if self.routers[i].hold.is_some() {
                        self.end_hold(i, now);
                    }
                }
                self.progress_stop(now);
                self.abandon_hooks();
                self.supervise(now, Input::Hurry);
            }
            Life::Over => {}
        }
    }

    /// Whether any address is here that vipd has added.
    pub fn holds_any(&self) -> bool {
        (0..self.routers.len()).any(|i| self.addrs.holds_any(i))
    }

    pub(super) fn progress_stop(&mut self, now: Time) {
        if let Life::Leaving { end } = self.life {
            let waiting = self.routers.iter().any(|i| i.hold.is_some());
            if (waiting || self.holds_any()) && now < end {
                return;
            }
            self.life = Life::Stopping { end };
            self.note_stop();
            self.supervise(now, Input::Stop { end });
        }
        if let Life::Stopping { end } = self.life {
            let done = self.haproxy.as_ref().is_none_or(Supervisor::is_stopped);
            if done && self.notify.is_idle() || now >= end {
                self.abandon_hooks();
                self.life = Life::Over;
                self.unmake_all();
                self.push(Effect::Exit(0));
            }
        }
    }
}
