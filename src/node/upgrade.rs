//! An upgrade: another program goes on in this process. It starts as after a crash, and is told what a crash
//! would have lost: what the checks have found, who does not preempt, and HAProxy.

use super::{Life, Node, Router};
use crate::base::time::Time;
use crate::haproxy::supervisor::{Health, State, Supervisor};
use std::time::Duration;

impl Node {
    /// Whether this is a good moment: nothing is under way that would be lost, and the adverts have just gone
    /// out, so that the next ones are not late.
    pub fn may_upgrade(&self, now: Time) -> bool {
        let settled = |h: &Supervisor| {
            let steady = matches!(h.state(), State::Ready { .. } | State::Down { .. });
            steady && !h.is_reloading() && !matches!(h.health(now), Health::Recovering { .. })
        };
        let may = |(i, r): (usize, &Router)| {
            let last = self.addrs.last_advert(i).filter(|_| r.is_master());
            r.hold.is_none()
                && !r.may_resume
                && last.is_none_or(|last| now.since(last) <= r.cfg.advert_int / 4)
        };
        self.life == Life::Running
            && self.may_reconfigure()
            && now >= self.startup_delay_until
            && self.notify.is_idle()
            && self.haproxy.as_ref().is_none_or(settled)
            && self.routers.iter().enumerate().all(may)
    }

    /// What the next program is to be told: kind, name, number.
    pub fn hand_on(&self, now: Time, tell: &mut dyn FnMut(&str, &str, u64)) {
        for check in &self.checks {
            if let Some(up) = check.is_up() {
                tell("check", &check.name, up.into());
            }
        }
        for r in &self.routers {
            if let Some(left) = r.machine.no_preempt_for(now) {
                tell("hold", &r.cfg.name, u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            }
        }
        if let Some(h) = &self.haproxy
            && let State::Ready { pid, worker, .. } = h.state()
        {
            tell("haproxy", &h.version, (*pid).into());
            tell("worker", "", (*worker).into());
        }
    }

    /// Before `begin`: something that the program before has handed on.
    pub fn take_up_known(&mut self, now: Time, kind: &str, name: &str, number: u64) {
        if kind == "check" {
            self.checks.iter_mut().filter(|c| c.name == name).for_each(|c| c.recall(number != 0));
        }
        for r in self.routers.iter_mut().filter(|r| kind == "hold" && r.cfg.name == name) {
            r.machine.suspend_preempt(now, now + Duration::from_millis(number));
        }
    }

    /// Before `begin`: this is no start.
    pub fn skip_startup_delay(&mut self, now: Time) {
        self.startup_delay_until = now;
    }

    /// Whether the kernel's leases may make a master of a router that has not begun yet.
    pub fn is_resuming(&self) -> bool {
        self.routers.iter().any(|r| r.may_resume)
    }
}
