//! One that is ready is asked again and again, and only an answer counts.
//!
//! The master is asked first: it passes the question on to its worker. A master that reads a large
//! configuration, or waits for a name server, says nothing meanwhile, while its old worker serves. So after a
//! miss the worker itself is asked, on vipd's own stats socket, and sooner than after `check_interval`.
//! HAProxy hangs if `check_fall` questions in a row are not answered.

use super::death::STEADY;
use super::reload::Reload;
use super::start::PROBE_PAUSE;
use super::{Action, Event, Probe, State, Supervisor};
use crate::base::time::Time;
use crate::haproxy::show_info::Info;
use std::time::Duration;

/// Pause between two questions while workers change.
pub(super) const RELOAD_PAUSE: Duration = Duration::from_millis(50);
/// Least time for an answer of the old worker during a reload, and the least number of misses then: its
/// sockets are paused while the new one tries to bind, for some two seconds.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(1);
const RELOAD_FALL: u32 = 4;
/// A timer that comes so late proves that this machine is busy, not that HAProxy hangs.
const LATE: Duration = Duration::from_millis(100);
/// A master may be silent for so long while its worker answers.
const MASTER_SILENCE: Duration = Duration::from_secs(600);

/// What the questions to a ready HAProxy have told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// Questions in a row without an answer.
    misses: u32,
    /// The next question goes to the worker itself, or the one under way does.
    direct: bool,
    /// When the question under way was asked.
    asked_at: Time,
    /// The question under way has been given more time, for this process was late.
    extended: bool,
    /// Since when the master has not answered.
    silent_since: Option<Time>,
}

impl Watch {
    /// Nothing was asked yet; the first question follows after `check_interval`.
    pub(super) fn new(now: Time) -> Self {
        Watch { misses: 0, direct: false, asked_at: now, extended: false, silent_since: None }
    }

    /// Misses in a row.
    pub(super) fn misses(&self) -> u32 {
        self.misses
    }
}

impl Supervisor {
    pub(super) fn tick_ready(&mut self, now: Time) {
        let State::Ready { since, probe, .. } = self.state else { return };
        if self.crash_loop && now >= since + self.cfg.crash_window {
            (self.crash_loop, self.pauses) = (false, false);
            self.deaths.clear();
            self.out.emit(Event::Steady);
            return;
        }
        match probe {
            Probe::At(t) if now >= t => self.ask(now),
            Probe::Asked(t) if now >= t => self.timed_out(t, now),
            _ => {}
        }
    }

    fn ask(&mut self, now: Time) {
        let reloading = self.is_waiting();
        let full = self.cfg.check_timeout;
        let w = &mut self.watch;
        // After a miss the others follow faster.
        let limit = match w.misses {
            _ if reloading => full.max(RELOAD_TIMEOUT),
            0 => full,
            _ => full / 2,
        };
        (w.asked_at, w.extended) = (now, false);
        let direct = self.plain.plain || w.direct;
        self.set_probe(Probe::Asked(now + limit));
        self.out.act(Action::Probe { direct });
        self.look_at_files();
    }

    fn timed_out(&mut self, due: Time, now: Time) {
        if now.since(due) >= LATE && !std::mem::replace(&mut self.watch.extended, true) {
            return self.set_probe(Probe::Asked(now + self.cfg.check_timeout / 2));
        }
        self.out.act(Action::CancelProbe);
        self.missed(true, now);
    }

    pub(super) fn probe_failed(&mut self, now: Time) {
        match &mut self.state {
            State::Starting { probe: probe @ Probe::Asked(_), .. } => *probe = Probe::At(now + PROBE_PAUSE),
            State::Ready { probe: Probe::Asked(_), .. } => self.missed(false, now),
            _ => {}
        }
    }

    pub(super) fn cannot_ask(&mut self, now: Time) {
        match &mut self.state {
            State::Starting { probe, .. } => *probe = Probe::At(now + PROBE_PAUSE),
            State::Ready { .. } => self.ask_later(now),
            _ => {}
        }
    }

    fn set_probe(&mut self, next: Probe) {
        if let State::Ready { probe, .. } = &mut self.state {
            *probe = next;
        }
    }

    /// One `check_interval` after the last question was asked, however long the answer took.
    fn ask_later(&mut self, now: Time) {
        let pause = if self.is_waiting() { RELOAD_PAUSE } else { self.cfg.check_interval };
        self.set_probe(Probe::At((self.watch.asked_at + pause).max(now)));
    }

    /// From now on it is watched.
    pub(super) fn first_check(&mut self, now: Time) {
        self.watch = Watch::new(now);
        self.ask_later(now);
    }

    /// A reload begins, or has ended: whoever is asked now may be another one.
    pub(super) fn ask_anew(&mut self, now: Time) {
        if let State::Ready { probe: Probe::Asked(_), .. } = self.state {
            self.out.act(Action::CancelProbe);
        }
        self.first_check(now);
    }

    /// A question was not answered in time (`timed_out`), or could not be put.
    fn missed(&mut self, timed_out: bool, now: Time) {
        let reloading = self.is_waiting();
        let w = &mut self.watch;
        if self.plain.plain {
            w.misses += 1;
        } else if !w.direct {
            w.silent_since.get_or_insert(now);
            w.direct = true;
            // Masters are silent while workers change.
            w.misses += u32::from(!reloading);
        } else {
            // A process that cannot be reached may have no such socket: that proves nothing.
            w.misses += u32::from(timed_out);
            w.direct = timed_out && !reloading;
        }
        if reloading && w.direct {
            self.master_is_silent(now);
        }
        let fall = if reloading { self.cfg.check_fall.max(RELOAD_FALL) } else { self.cfg.check_fall };
        if self.watch.misses >= fall {
            return self.hung(now);
        }
        let pause = if reloading { RELOAD_PAUSE } else { self.cfg.check_timeout / 2 };
        self.set_probe(Probe::At((self.watch.asked_at + pause).max(now)));
    }

    /// The service is given up before the process is killed: its health is bad from here on, and the node
    /// acts on that first.
    fn hung(&mut self, now: Time) {
        let State::Ready { pid, since, .. } = self.state else { return };
        self.out.emit(Event::Hung { misses: self.watch.misses });
        self.out.act(Action::Kill { pid });
        if now.since(since) >= STEADY {
            self.failures.clear();
        }
        self.restarts += 1;
        self.died_at = None; // no grace for one that hangs
        self.give_up_reload();
        self.state = State::Killed { pid, since };
    }

    /// `pid` answers: the master, or the process that was asked directly.
    pub(super) fn answered(&mut self, pid: u32, info: Info, now: Time) {
        let State::Ready { pid: ours, worker, .. } = self.state else {
            return self.answered_start(pid, info, now);
        };
        if self.watch.direct && !self.plain.plain {
            return self.answered_itself(worker, &info, now);
        }
        if ours != pid {
            return self.missed(false, now); // the socket of another HAProxy
        }
        if std::mem::take(&mut self.remains) {
            self.out.act(Action::KillRemains); // what is well has gone by itself by now
        }
        (self.watch.misses, self.watch.silent_since) = (0, None);
        // Another worker, if somebody else has reloaded it.
        if let State::Ready { worker, .. } = &mut self.state {
            *worker = info.pid;
        }
        if let Some(Reload::Waiting { old, since, .. }) = self.reload
            && old != info.pid
        {
            self.reloaded(pid, info.pid, now.since(since), now);
        }
        self.ask_later(now);
    }

    /// Somebody answers on vipd's stats socket. The worker that serves is well; another one has yet to be
    /// heard of by its master.
    fn answered_itself(&mut self, worker: u32, info: &Info, now: Time) {
        self.watch.direct = false;
        if info.pid == worker {
            self.watch.misses = 0;
        }
        if self.watch.silent_since.is_some_and(|t| now.since(t) >= MASTER_SILENCE) {
            return self.hung(now);
        }
        self.ask_later(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::tests::{MS, PROBE, World};
    use super::*;

    const CFG: &str = "keep_listeners = no";
    const DIRECT: Action = Action::Probe { direct: true };

    /// Nobody answers whom this says no to, until HAProxy is killed or the time is over; how long that took.
    fn hangs(
        w: &mut World,
        within: Duration,
        answers: impl Fn(bool) -> Option<(u32, u32)>,
    ) -> Option<Duration> {
        let start = w.now;
        while w.now.since(start) < within {
            let mut actions = w.due();
            if let Some(Action::Probe { direct }) = actions.last().copied()
                && let Some((pid, worker)) = answers(direct)
            {
                actions.extend(w.answer(pid, worker));
            }
            if actions.contains(&Action::Kill { pid: 11 }) {
                return Some(w.now.since(start));
            }
        }
        None
    }

    #[test]
    fn one_that_hangs_is_noticed_soon() {
        let (mut w, _) = World::ready(CFG);
        let after = hangs(&mut w, Duration::from_secs(9), |_| None).unwrap_or(Duration::MAX);
        // One interval until it is asked, the full time for the first answer, half of it for the other two.
        assert_eq!(after, 3000 * MS);
        assert!(w.events.contains(&Event::Hung { misses: 3 }));
    }

    #[test]
    fn a_silent_master_whose_worker_answers_is_left_alone() {
        let (mut w, _) = World::ready(CFG);
        let itself = |direct: bool| direct.then_some((12, 12));
        assert_eq!(hangs(&mut w, Duration::from_secs(300), itself), None);
        assert!(hangs(&mut w, Duration::from_secs(400), itself).is_some(), "but not for ever");
    }

    #[test]
    fn a_timer_that_is_late_gives_more_time() {
        let (mut w, _) = World::ready(CFG);
        assert_eq!(w.due(), [PROBE]);
        assert_eq!(w.wait(5000 * MS), [], "this machine stood still");
        assert_eq!(w.due(), [Action::CancelProbe]);
        assert_eq!(w.h.misses(), 1);
    }

    #[test]
    fn who_cannot_be_reached_is_not_asked_at_once_again() {
        let (mut w, _) = World::ready(CFG);
        let mut questions = Vec::new();
        let start = w.now;
        while matches!(w.h.state(), State::Ready { .. }) {
            for action in w.due() {
                if let Action::Probe { direct } = action {
                    questions.push(direct);
                    w.step(Input::ProbeFailed);
                }
            }
        }
        assert_eq!(questions, [false, true, false, true, false], "a socket that is not there tells nothing");
        assert_eq!(w.now.since(start), 3000 * MS);
    }

    #[test]
    fn a_reload_may_take_long_as_long_as_the_old_worker_answers() {
        let (mut w, _) = World::ready(CFG);
        w.step(Input::Reload);
        assert_eq!(w.checked(0), [Action::Reload { pid: 11 }]);
        let itself = |direct: bool| direct.then_some((12, 12));
        assert_eq!(hangs(&mut w, Duration::from_secs(100), itself), None);
        assert!(w.h.is_reloading() && !w.events.contains(&Event::ReloadFailed { reason: None }));
        while !w.due().contains(&PROBE) {}
        w.answer(11, 13);
        assert!(matches!(w.events.last(), Some(Event::Reloaded { worker: 13, .. })));
    }

    #[test]
    fn a_worker_that_hangs_during_a_reload_is_noticed() {
        let (mut w, _) = World::ready(CFG);
        w.step(Input::Reload);
        w.checked(0);
        let after = hangs(&mut w, Duration::from_secs(60), |_| None).unwrap_or(Duration::MAX);
        assert!(after < Duration::from_secs(10), "{after:?}");
        assert!(!w.h.is_reloading());
    }

    #[test]
    fn a_master_that_answers_and_a_worker_that_stays_are_a_failed_reload() {
        let (mut w, _) = World::ready(CFG);
        w.step(Input::Reload);
        w.checked(0);
        let start = w.now;
        assert_eq!(hangs(&mut w, Duration::from_secs(11), |direct| (!direct).then_some((11, 12))), None);
        assert!(w.events.contains(&Event::ReloadFailed { reason: None }), "{:?}", w.now.since(start));
        assert_eq!(w.due(), [PROBE]);
        assert!(!w.due().contains(&DIRECT), "asked as ever");
    }
}
