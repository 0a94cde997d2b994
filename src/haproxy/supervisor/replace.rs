//! Another configuration of the supervisor. Times change in place. Another command line needs another HAProxy, for one
//! that reloads itself does so with the old one: it is checked first, started beside the one that runs and given its
//! listening sockets; that one is stopped softly when the new one answers, and stays if it does not.

use super::reload::CHECK_LIMIT;
use super::{Action, Event, Exit, Probe, Reload, State, Supervisor};
use crate::config::{self, diff};
use crate::time::Time;

/// The HAProxy that runs while its successor is started.
#[derive(Clone, Debug)]
pub(super) struct Replaced {
    pid: u32,
    worker: u32,
    since: Time,
    cfg: config::Haproxy,
}

impl Supervisor {
    /// It came by a reload: virtual routers that run wait for it as they wait for a restart.
    pub fn appeared(cfg: config::Haproxy, now: Time) -> Self {
        Supervisor { died_at: Some(now), ..Supervisor::new(cfg, now) }
    }

    /// Whether it is stopped for good, or about to.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The configuration it runs with.
    pub fn cfg(&self) -> &config::Haproxy {
        &self.cfg
    }

    /// Takes another configuration up. `files`: HAProxy's own files have changed.
    pub fn reconfigure(
        &mut self,
        cfg: &config::Haproxy,
        files: bool,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) {
        let old = &self.cfg;
        let same = diff::is_same_command(old, cfg);
        let command = config::Haproxy {
            binary: old.binary.clone(),
            config: old.config.clone(),
            args: old.args.clone(),
            keep_listeners: old.keep_listeners,
            ..cfg.clone()
        };
        self.cfg = command;
        if same && !files {
            return;
        }
        match self.state {
            State::Ready { .. } if same => self.reload(now, out, events),
            State::Ready { .. } if self.reload.is_none() => {
                self.next = Some(cfg.clone());
                self.reload = Some(Reload::Checking { until: now + CHECK_LIMIT });
                out.push(Action::CheckNext);
                events.push(Event::Checking);
            }
            State::Ready { .. } => events.push(Event::ReloadBusy),
            // What does not run, or not yet, is tried anew at once.
            State::Down { .. } | State::Starting { .. } if self.replaced.is_none() => {
                self.failures = 0;
                self.cfg = cfg.clone();
                if !same {
                    out.push(Action::TakeNext);
                }
                match &mut self.state {
                    State::Starting { killed: killed @ false, .. } => {
                        *killed = true;
                        out.extend([Action::CancelProbe, Action::Kill]);
                    }
                    State::Down { retry_at } => *retry_at = now,
                    _ => {}
                }
            }
            _ => events.push(Event::ReloadBusy),
        }
    }

    /// The new command line was accepted: from now on it is started.
    pub(super) fn replace(&mut self, next: config::Haproxy, now: Time, out: &mut Vec<Action>) {
        let State::Ready { pid, worker, since, probe, .. } = self.state else { return };
        if let Probe::Asking(_) = probe {
            out.push(Action::CancelProbe);
        }
        let cfg = std::mem::replace(&mut self.cfg, next);
        self.replaced = Some(Replaced { pid, worker, since, cfg });
        self.state = State::Down { retry_at: now };
        out.push(Action::Replace);
    }

    /// The new one is not to be had: the old one stays. Returns whether there is one.
    pub(super) fn restore(
        &mut self,
        exit: Option<Exit>,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(Replaced { pid, worker, since, cfg }) = self.replaced.take() else { return false };
        self.cfg = cfg;
        self.state = State::Ready { pid, worker, since, probe: Probe::At(now), misses: 0 };
        out.push(Action::Restore);
        events.push(Event::ReloadRefused { exit });
        true
    }

    /// The old one ended while the new one is started. Returns whether it was that.
    pub(super) fn replaced_exited(
        &mut self,
        pid: u32,
        exit: Exit,
        now: Time,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.replaced.take_if(|r| r.pid == pid).is_none() {
            return false;
        }
        (self.died_at, self.last_exit) = (Some(now), Some(exit));
        self.restarts += 1;
        events.push(Event::Died { exit });
        true
    }
}
