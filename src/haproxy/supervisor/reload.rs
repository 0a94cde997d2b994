//! A seamless reload: the new configuration is checked first, with a time limit; then the master is told; and
//! success is claimed only when another worker answers. VRRP does not notice.

use super::{Action, Event, Probe, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config;
use std::time::Duration;

/// How long `haproxy -c` may take before a reload.
const CHECK_LIMIT: Duration = Duration::from_secs(30);
/// How long the new worker may take to answer, and how often it is asked.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);
pub(super) const RELOAD_PAUSE: Duration = Duration::from_millis(50);

/// A reload that is under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reload {
    /// `haproxy -c` runs, at most until then. `next`: with another command line, which makes it a
    /// replacement.
    Checking { until: Time, next: Option<Box<config::Haproxy>> },
    /// The master was told; a worker other than this one must answer.
    Waiting { old: u32, since: Time },
}

impl Reload {
    pub(super) fn until(&self) -> Time {
        match self {
            Reload::Checking { until, .. } => *until,
            Reload::Waiting { since, .. } => *since + RELOAD_LIMIT,
        }
    }
}

impl Supervisor {
    /// Whether a reload or a replacement is under way.
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some() || self.replaced.is_some()
    }

    /// A reload is asked for: the new configuration is checked first, with a time limit.
    pub(super) fn start_reload(&mut self, now: Time) {
        if !matches!(self.state, State::Ready { .. }) || self.reload.is_some() || self.leaving {
            self.out.emit(Event::ReloadBusy);
            return;
        }
        if self.plain.plain {
            self.out.emit(Event::ReloadPlain); // nobody would carry it out
            return;
        }
        self.check(None, now);
    }

    /// Checks the configuration; `next`: with another command line.
    pub(super) fn check(&mut self, next: Option<Box<config::Haproxy>>, now: Time) {
        self.out.act(if next.is_some() { Action::CheckNext } else { Action::Check });
        self.out.emit(Event::Checking);
        self.reload = Some(Reload::Checking { until: now + CHECK_LIMIT, next });
    }

    pub(super) fn tick_reload(&mut self, now: Time) {
        match self.reload.take_if(|r| now >= r.until()) {
            Some(Reload::Checking { .. }) => {
                self.out.act(Action::CancelCheck);
                self.out.emit(Event::ReloadRefused { exit: None });
            }
            Some(Reload::Waiting { .. }) => self.out.emit(Event::ReloadFailed),
            None => {}
        }
    }

    /// `haproxy -c` has ended.
    pub(super) fn checked(&mut self, exit: Exit, now: Time) {
        let Some(Reload::Checking { next, .. }) =
            self.reload.take_if(|r| matches!(r, Reload::Checking { .. }))
        else {
            return;
        };
        let State::Ready { worker, probe, .. } = &mut self.state else { return };
        if exit != Exit::Code(0) {
            self.out.emit(Event::ReloadRefused { exit: Some(exit) });
            return;
        }
        if let Some(next) = next {
            return self.replace(*next, now);
        }
        self.reload = Some(Reload::Waiting { old: *worker, since: now });
        if let Probe::Asked(_) = probe {
            self.out.act(Action::CancelProbe);
        }
        *probe = Probe::At(now + RELOAD_PAUSE);
        self.out.act(Action::Reload);
    }
}
