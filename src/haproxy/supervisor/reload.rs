//! A seamless reload: the new configuration is checked first, with a time limit; then the master is told; and
//! success is claimed only when another worker answers. VRRP does not notice.

use super::{Action, Event, Probe, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use std::time::Duration;

/// How long `haproxy -c` may take before a reload.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(30);
/// How long the new worker may take to answer, and how often it is asked.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);
pub(super) const RELOAD_PAUSE: Duration = Duration::from_millis(50);

/// A reload that is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reload {
    /// `haproxy -c` runs, at most until then.
    Checking { until: Time },
    /// The master was told; a worker other than this one must answer.
    Waiting { old: u32, since: Time },
}

impl Reload {
    pub(super) fn until(self) -> Time {
        match self {
            Reload::Checking { until } => until,
            Reload::Waiting { since, .. } => since + RELOAD_LIMIT,
        }
    }
}

impl Supervisor {
    /// Whether a reload or a replacement is under way.
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some() || self.replaced.is_some()
    }

    /// A reload is asked for: the new configuration is checked first, with a time limit.
    pub fn reload(&mut self, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        if !matches!(self.state, State::Ready { .. }) || self.reload.is_some() || self.leaving {
            events.push(Event::ReloadBusy);
            return;
        }
        if self.cannot_reload(events) {
            return;
        }
        self.reload = Some(Reload::Checking { until: now + CHECK_LIMIT });
        out.push(Action::Check);
        events.push(Event::Checking);
    }

    /// `haproxy -c` has ended.
    pub fn checked(&mut self, exit: Exit, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        let Some(Reload::Checking { .. }) = self.reload else { return };
        self.reload = None;
        let next = self.next.take();
        let State::Ready { worker, probe, .. } = &mut self.state else { return };
        if exit != Exit::Code(0) {
            events.push(Event::ReloadRefused { exit: Some(exit) });
            return;
        }
        if let Some(next) = next {
            return self.replace(next, now, out);
        }
        self.reload = Some(Reload::Waiting { old: *worker, since: now });
        if let Probe::Soliciting(_) = probe {
            out.push(Action::CancelProbe);
        }
        *probe = Probe::At(now + RELOAD_PAUSE);
        out.push(Action::Reload);
    }
}
