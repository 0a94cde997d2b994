//! One that is ready is asked again and again. Only an answer counts.

use super::death::STEADY;
use super::reload::{RELOAD_PAUSE, Reload};
use super::start::PROBE_PAUSE;
use super::{Action, Event, Probe, State, Supervisor};
use crate::base::time::Time;
use crate::haproxy::show_info::Info;

impl Supervisor {
    pub(super) fn tick_ready(&mut self, now: Time) {
        let State::Ready { since, probe, .. } = &mut self.state else { return };
        if self.crash_loop && now >= *since + self.cfg.crash_window {
            self.crash_loop = false;
            self.deaths.clear();
            self.out.emit(Event::Steady);
            return;
        }
        match *probe {
            Probe::At(t) if now >= t => {
                *probe = Probe::Asked(now + self.cfg.check_timeout);
                self.out.act(Action::Probe { direct: self.plain.plain });
            }
            Probe::Asked(t) if now >= t => {
                self.out.act(Action::CancelProbe);
                self.missed(now);
            }
            _ => {}
        }
    }

    pub(super) fn probe_failed(&mut self, now: Time) {
        match &mut self.state {
            State::Starting { probe: probe @ Probe::Asked(_), .. } => *probe = Probe::At(now + PROBE_PAUSE),
            State::Ready { probe: Probe::Asked(_), .. } => self.missed(now),
            _ => {}
        }
    }

    pub(super) fn cannot_ask(&mut self, now: Time) {
        let next = self.next_check(now);
        match &mut self.state {
            State::Starting { probe, .. } => *probe = Probe::At(now + PROBE_PAUSE),
            State::Ready { probe, .. } => *probe = next,
            _ => {}
        }
    }

    /// One `check_interval` after the question was asked, however long the answer took.
    pub(super) fn next_check(&self, now: Time) -> Probe {
        let asked = match self.state {
            State::Ready { probe: Probe::Asked(until), .. } => until - self.cfg.check_timeout,
            _ => now,
        };
        let pause = match self.reload {
            Some(Reload::Waiting { .. }) => RELOAD_PAUSE,
            _ => self.cfg.check_interval,
        };
        Probe::At((asked + pause).max(now))
    }

    /// A ready HAProxy did not answer. The service is given up before the process is killed: its health is
    /// bad from here on, and the node acts on that first.
    fn missed(&mut self, now: Time) {
        let next = self.next_check(now);
        let State::Ready { pid, since, probe, misses, .. } = &mut self.state else { return };
        *probe = next;
        if let Some(Reload::Waiting { .. }) = self.reload {
            return; // nobody answers while workers change; that has a deadline of its own
        }
        *misses += 1;
        if *misses < self.cfg.check_fall {
            return;
        }
        self.out.emit(Event::Hung { misses: *misses });
        self.out.act(Action::Kill);
        let (pid, since) = (*pid, *since);
        if now.since(since) >= STEADY {
            self.failures.clear();
        }
        self.restarts += 1;
        self.died_at = None; // no grace for one that hangs
        self.state = State::Killed { pid, since };
    }

    /// `pid` answers: the master, or the process that was asked directly.
    pub(super) fn answered(&mut self, pid: u32, info: Info, now: Time) {
        let next = self.next_check(now);
        let State::Ready { pid: ours, worker, probe, misses, .. } = &mut self.state else {
            return self.answered_start(pid, info, now);
        };
        if *ours != pid {
            return;
        }
        if std::mem::take(&mut self.remains) {
            self.out.act(Action::KillRemains); // what is well has gone by itself by now
        }
        // Another worker, if somebody else has reloaded it.
        (*worker, *probe, *misses) = (info.pid, next, 0);
        if let Some(Reload::Waiting { old, since }) = self.reload
            && old != info.pid
        {
            self.reload = None;
            *probe = Probe::At(now + self.cfg.check_interval);
            self.out.emit(Event::Reloaded { worker: info.pid, after: now.since(since) });
        }
    }
}
