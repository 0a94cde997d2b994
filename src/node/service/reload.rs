//! Another configuration of HAProxy and of the checks.

use crate::base::time::Time;
use crate::check::Check;
use crate::config::{self, Config};
use crate::haproxy::supervisor::{Input, State, Supervisor};
use crate::node::{Effect, Life, Node};
use std::time::Duration;

impl Node {
    /// Checks keep their state by name.
    pub(crate) fn new_checks(&mut self, old: &[config::Check], new: &Config, now: Time) {
        let before = std::mem::take(&mut self.checks);
        for c in &new.checks {
            let check = match old.iter().zip(&before).find(|(o, _)| o.name == c.name) {
                Some((o, b)) => b.with(c, o.kind == c.kind, now),
                None if self.life == Life::Starting => Check::new(c, now),
                None => Check::added(c, now),
            };
            self.checks.push(check);
        }
    }

    /// HAProxy's section changed, came or went, or (`files`) its files did.
    pub fn reconfigure_haproxy(&mut self, new: Option<&config::Haproxy>, files: bool, now: Time) {
        match (self.haproxy.as_ref().map(Supervisor::state), new) {
            (None, None) => {}
            (None, Some(cfg)) => self.haproxy = Some(Supervisor::appeared(cfg.clone(), now)),
            // It comes back before it has gone.
            (Some(State::Stopping { .. } | State::Stopped), Some(cfg)) => {
                self.haproxy_next = Some(cfg.clone());
            }
            (Some(_), Some(cfg)) => {
                let cfg = Box::new(cfg.clone());
                self.supervise(now, Input::Reconfigure { cfg, files });
            }
            (Some(_), None) => {
                self.haproxy_next = None;
                let end = now + self.haproxy.as_ref().map_or(Duration::ZERO, Supervisor::stop_timeout);
                self.supervise(now, Input::Stop { end });
            }
        }
        self.stale = true;
    }

    /// One that was taken out of the configuration has stopped: the next one, if it came back meanwhile.
    pub(crate) fn next_haproxy(&mut self, now: Time) {
        let Some(h) = &self.haproxy else { return };
        if !h.is_leaving() || self.life != Life::Running {
            return;
        }
        if h.is_stopped() {
            self.haproxy = self.haproxy_next.take().map(|cfg| Supervisor::appeared(cfg, now));
            self.service = None;
            self.push(Effect::NewService);
            self.evaluate_all(now);
        } else {
            self.stale = true;
        }
    }
}
