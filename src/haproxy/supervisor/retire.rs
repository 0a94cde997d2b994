//! HAProxys beside the one that is supervised: those that an earlier vipd left, and those whose successor is
//! ready. None is forgotten: each is watched until it has ended.

use super::stop::{HURRY, KILL_AGAIN, KILL_BEFORE_END, TERM_BEFORE_END};
use super::{Action, Event, Supervisor};
use crate::base::time::{Time, earlier};

/// One that is not wanted any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retiring {
    pid: u32,
    /// It gets SIGTERM and SIGKILL then. `None`: it may finish what it has, however long that takes.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    term_at: Time,
    kill_at: Time,
}

impl End {
    fn by(end: Time, now: Time) -> Self {
        let term_at = (end - TERM_BEFORE_END).max(now);
        End { term_at, kill_at: (end - KILL_BEFORE_END).max(term_at) }
    }

    fn next(&self) -> Time {
        self.term_at.min(self.kill_at)
    }
}

impl Supervisor {
    /// Soft stop. `end`: when it must have ended.
    pub(super) fn retire(&mut self, pid: u32, end: Option<Time>, now: Time) {
        self.out.act(Action::SoftStop { pid });
        self.retiring.push(Retiring { pid, end: end.map(|t| End::by(t, now)) });
    }

    /// One that was told so before an upgrade.
    pub(super) fn finishing(&mut self, pid: u32) {
        self.retiring.push(Retiring { pid, end: None });
    }

    /// The successor of all others is ready. One that was ready until now may finish; one of an earlier vipd
    /// may hang, and would go on taking connections, so its time is limited.
    pub(super) fn retire_others(&mut self, now: Time) {
        for pid in std::mem::take(&mut self.orphans) {
            self.retire(pid, Some(now + self.cfg.stop_timeout), now);
        }
        if let Some(r) = self.replaced.take() {
            self.retire(r.pid, None, now);
        }
    }

    /// All of them must have ended by then.
    pub(super) fn stop_others(&mut self, end: Time, now: Time) {
        self.retire_others(now);
        self.limit_others(End::by(end, now));
    }

    /// Asked twice to stop: no more patience.
    pub(super) fn hurry_others(&mut self, now: Time) {
        self.limit_others(End { term_at: now, kill_at: now + HURRY });
    }

    fn limit_others(&mut self, by: End) {
        for r in &mut self.retiring {
            let e = r.end.unwrap_or(by);
            r.end = Some(End { term_at: e.term_at.min(by.term_at), kill_at: e.kill_at.min(by.kill_at) });
        }
    }

    pub(super) fn tick_retiring(&mut self, now: Time) {
        for Retiring { pid, end } in &mut self.retiring {
            let Some(e) = end.as_mut().filter(|e| now >= e.next()) else { continue };
            let kill = now >= e.kill_at;
            if kill {
                e.kill_at = now + KILL_AGAIN;
            }
            e.term_at = e.kill_at;
            self.out.emit(Event::StopForced { kill });
            let pid = *pid;
            self.out.act(if kill { Action::Kill { pid } } else { Action::Terminate { pid } });
        }
    }

    pub(super) fn retiring_deadline(&self) -> Option<Time> {
        self.retiring.iter().filter_map(|r| r.end).map(|e| e.next()).fold(None, |a, b| earlier(a, Some(b)))
    }

    /// A process ended. Returns whether it was one of these.
    pub(super) fn other_exited(&mut self, pid: u32) -> bool {
        let before = self.retiring.len() + self.orphans.len();
        self.retiring.retain(|r| r.pid != pid);
        self.orphans.retain(|p| *p != pid);
        before != self.retiring.len() + self.orphans.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SPAWN, World};
    use super::super::{Input, State};
    use super::*;
    use crate::base::exit::Exit;
    use std::time::Duration;

    const CFG: &str = "keep_listeners = no\ncheck_interval = 3600\nstop_timeout = 8";

    #[test]
    fn one_of_an_earlier_vipd_that_hangs_is_killed_in_time() {
        let mut w = World::new(CFG);
        w.step(Input::OrphanFound { pid: 7 });
        w.step(Input::OrphanFound { pid: 8 });
        assert_eq!(w.tick(), [SPAWN]);
        assert_eq!(w.start(11, 12), [Action::SoftStop { pid: 7 }, Action::SoftStop { pid: 8 }]);
        w.exited(7, Exit::Unknown);
        let start = w.now;
        assert_eq!(w.due(), [Action::Terminate { pid: 8 }]);
        assert_eq!(w.due(), [Action::Kill { pid: 8 }]);
        assert!(w.now.since(start) <= Duration::from_secs(8));
        assert_eq!(w.due(), [Action::Kill { pid: 8 }], "and again");
        w.exited(8, Exit::Unknown);
        assert_eq!(w.h.retiring_deadline(), None);
        assert!(matches!(w.h.state(), State::Ready { .. }));
    }

    #[test]
    fn a_stop_is_over_when_all_have_ended() {
        let (mut w, _) = World::ready(CFG);
        w.h.retire(7, None, w.now);
        assert_eq!(w.h.retiring_deadline(), None, "it may finish");
        let out = w.stop(Duration::from_secs(8));
        assert!(out.contains(&Action::SoftStop { pid: 11 }));
        w.exited(11, Exit::Code(0));
        assert!(*w.h.state() == State::Stopped && !w.h.is_stopped());
        let start = w.now;
        assert_eq!(w.due(), [Action::Terminate { pid: 7 }]);
        assert_eq!(w.due(), [Action::Kill { pid: 7 }]);
        assert!(w.now.since(start) < Duration::from_secs(8));
        w.exited(7, Exit::Signal(9));
        assert!(w.h.is_stopped());
    }

    #[test]
    fn asked_twice_none_is_waited_for() {
        let (mut w, _) = World::ready(CFG);
        w.h.retire(7, None, w.now);
        w.stop(Duration::from_secs(8));
        w.exited(11, Exit::Code(0));
        w.step(Input::Hurry);
        let start = w.now;
        w.due();
        assert_eq!(w.due(), [Action::Kill { pid: 7 }]);
        assert!(w.now.since(start) <= Duration::from_millis(500));
    }

    #[test]
    fn those_that_were_never_succeeded_end_with_the_rest() {
        let mut w = World::new(CFG);
        w.step(Input::OrphanFound { pid: 7 });
        w.tick();
        assert_eq!(w.stop(Duration::from_secs(8)), [Action::SoftStop { pid: 7 }]);
        assert!(!w.h.is_stopped());
        w.exited(7, Exit::Unknown);
        assert!(w.h.is_stopped());
    }
}
