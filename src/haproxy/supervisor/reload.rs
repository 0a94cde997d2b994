//! A seamless reload: the new configuration is checked first, with a time limit; then the master is told; and
//! success is claimed only when another worker answers. VRRP does not notice.

use super::{Action, Event, State, Supervisor};
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config;
use std::time::Duration;

/// How long `haproxy -c` may take before a reload, or `start_timeout` if that is longer.
const CHECK_LIMIT: Duration = Duration::from_secs(30);
/// How long the new worker may take to answer after its master was last silent, and in all.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);
const RELOAD_MAX: Duration = Duration::from_secs(600);
/// Longest reason that is kept, in octets.
const MAX_REASON: usize = 300;

/// A reload that is under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reload {
    /// `haproxy -c` runs, at most until then. `next`: with another command line, which makes it a
    /// replacement.
    Checking { until: Time, next: Option<Box<config::Haproxy>> },
    /// The master was told; a worker other than this one must answer until then.
    Waiting { old: u32, since: Time, until: Time },
}

impl Reload {
    pub(super) fn until(&self) -> Time {
        match self {
            Reload::Checking { until, .. } | Reload::Waiting { until, .. } => *until,
        }
    }
}

impl Supervisor {
    /// Whether a reload or a replacement is under way.
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some() || self.replaced.is_some()
    }

    /// Whether a new worker is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.reload, Some(Reload::Waiting { .. }))
    }

    /// A reload is asked for. One that cannot begin now is remembered.
    pub(super) fn start_reload(&mut self, now: Time) {
        let starting = matches!(self.state, State::Starting { .. } | State::Killed { .. });
        if self.plain.plain && !starting && !self.copy.used {
            self.out.emit(Event::ReloadPlain); // nobody would carry it out
        } else if self.leaving || !(starting || matches!(self.state, State::Ready { .. })) {
            self.out.emit(Event::ReloadBusy);
        } else if starting || self.is_reloading() {
            self.reload_again = true;
            self.out.emit(Event::ReloadLater);
        } else {
            // One that runs with the copy would read that again.
            let next = self.copy.used.then(|| Box::new(self.cfg.clone()));
            self.check(next, now);
        }
    }

    /// Checks the configuration; `next`: with another command line.
    pub(super) fn check(&mut self, next: Option<Box<config::Haproxy>>, now: Time) {
        self.out.act(if next.is_some() { Action::CheckNext } else { Action::Check });
        self.out.emit(Event::Checking);
        let until = now + CHECK_LIMIT.max(self.cfg.start_timeout);
        self.reason = None;
        self.reload = Some(Reload::Checking { until, next });
    }

    pub(super) fn tick_reload(&mut self, now: Time) {
        match self.reload.take_if(|r| now >= r.until()) {
            Some(Reload::Checking { .. }) => {
                self.out.act(Action::CancelCheck);
                self.out.emit(Event::ReloadRefused { exit: None, reason: None });
            }
            Some(Reload::Waiting { .. }) => self.reload_failed(now),
            None => {}
        }
        // What was asked for while another one was under way.
        if self.may_reload_again() {
            self.reload_again = false;
            self.start_reload(now);
        }
    }

    /// The master says nothing: it reads the configuration, and may take its time.
    pub(super) fn master_is_silent(&mut self, now: Time) {
        if let Some(Reload::Waiting { since, until, .. }) = &mut self.reload {
            *until = (now + RELOAD_LIMIT).max(*until).min(*since + RELOAD_MAX);
        }
    }

    /// `haproxy -c` has ended.
    pub(super) fn checked(&mut self, exit: Exit, now: Time) {
        self.checked_start(exit);
        let Some(Reload::Checking { next, .. }) =
            self.reload.take_if(|r| matches!(r, Reload::Checking { .. }))
        else {
            return;
        };
        let reason = self.reason.take();
        let State::Ready { pid, worker, .. } = self.state else { return };
        if exit != Exit::Code(0) {
            self.out.emit(Event::ReloadRefused { exit: Some(exit), reason });
            return;
        }
        if let Some(next) = next {
            return self.replace(*next, now);
        }
        self.reload = Some(Reload::Waiting { old: worker, since: now, until: now + RELOAD_LIMIT });
        self.ask_anew(now);
        self.out.act(Action::Reload { pid });
    }

    /// What was checked, or was to be started in place of the one that serves, is of no use: that one goes
    /// on. Returns whether there was anything of that kind.
    pub(super) fn unusable(&mut self, reason: &str, now: Time) -> bool {
        let reason = Some(reason.to_owned());
        if self.reload.take().is_some() {
            self.out.emit(Event::ReloadRefused { exit: None, reason });
            return true;
        }
        self.restore(None, reason, now)
    }

    /// Another worker answers.
    pub(super) fn reloaded(&mut self, pid: u32, worker: u32, after: Duration, now: Time) {
        self.reload = None;
        self.first_check(now);
        self.out.act(Action::FilesTaken { pid });
        self.out.emit(Event::Reloaded { worker, after });
    }

    /// HAProxy is gone; the next one reads the files as they are.
    pub(super) fn give_up_reload(&mut self) {
        self.reload_again = false;
        let Some(reload) = self.reload.take() else { return };
        if let Reload::Checking { .. } = reload {
            self.out.act(Action::CancelCheck);
        }
        let reason = self.reason.take();
        self.out.emit(Event::ReloadFailed { reason });
    }

    fn reload_failed(&mut self, now: Time) {
        self.reload = None;
        self.ask_anew(now);
        let reason = self.reason.take();
        self.out.emit(Event::ReloadFailed { reason });
    }

    /// HAProxy complains. The first complaint during a reload is the reason why it fails.
    pub(super) fn complained(&mut self, text: &str) {
        if self.reload.is_some() && self.reason.is_none() {
            let end = (0..=MAX_REASON.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            self.reason = text.get(..end).map(str::to_owned);
        }
    }

    /// HAProxy says that it could not load the new configuration.
    pub(super) fn load_failed(&mut self, now: Time) {
        if self.is_waiting() {
            self.reload_failed(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PROBE, World};
    use super::super::{Event, Input};
    use super::*;

    const CFG: &str = "keep_listeners = no\ncheck_interval = 3600";

    fn said(w: &mut World, line: &str) -> Vec<Action> {
        w.step(Input::Complained { text: line.to_owned() })
    }

    #[test]
    fn a_reload_that_fails_says_why_and_the_next_one_is_carried_out() {
        let (mut w, _) = World::ready(CFG);
        said(&mut w, "of another time");
        assert_eq!(w.step(Input::Reload), [Action::Check]);
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }]);
        said(&mut w, "cannot bind");
        said(&mut w, "Exiting");
        w.step(Input::LoadFailed);
        let reason = Some("cannot bind".to_owned());
        assert_eq!(w.events.last(), Some(&Event::ReloadFailed { reason }), "at once");
        assert!(!w.h.is_reloading());
        assert_eq!(w.step(Input::Reload), [Action::Check]);
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }]);
        assert_eq!(w.due(), [PROBE]);
        assert_eq!(w.answer(11, 13), [Action::FilesTaken { pid: 11 }], "only now they are what it has read");
    }

    #[test]
    fn a_check_that_refuses_says_why() {
        let (mut w, _) = World::ready(CFG);
        w.step(Input::Reload);
        said(&mut w, &"ä".repeat(MAX_REASON));
        assert_eq!(w.checked(1), []);
        let Some(Event::ReloadRefused { reason: Some(text), .. }) = w.events.last() else { panic!() };
        assert_eq!(text.len(), MAX_REASON);
        w.step(Input::LoadFailed);
        assert!(matches!(w.events.last(), Some(Event::ReloadRefused { .. })), "nothing is under way");
    }

    #[test]
    fn a_request_that_comes_meanwhile_is_remembered() {
        let (mut w, _) = World::ready(CFG);
        w.step(Input::Reload);
        w.checked(0);
        assert_eq!(w.step(Input::Reload), []);
        assert_eq!(w.events.last(), Some(&Event::ReloadLater));
        assert_eq!(w.due(), [PROBE]);
        w.answer(11, 13);
        assert_eq!(w.tick(), [Action::Check]);
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }]);
        assert_eq!(w.due(), [PROBE]);
        w.answer(11, 14);
        assert_eq!(w.tick(), [], "once");

        let mut w = World::new(CFG);
        w.tick();
        w.spawned(11);
        assert_eq!(w.step(Input::Reload), [], "it may have read the old files");
        assert_eq!(w.due(), [PROBE]);
        w.answer(11, 12);
        assert_eq!(w.tick(), [Action::Check]);
    }
}
