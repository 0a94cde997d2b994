//! HAProxy's listening sockets, held over a crash: what is to be held when. vipd's duplicates keep the
//! kernel's queues, so that new connections wait until the next HAProxy, started with `-x`, has taken them
//! over.
//!
//! HAProxy binds with SO_REUSEPORT, so a held socket that no HAProxy listens on takes its share of the
//! connections, and nobody answers them. Therefore nothing is held
//! - while a reload is under way: the new configuration may not have a `bind` any more. What is lost is
//!   small: a HAProxy that dies in that moment refuses connections until it is started again;
//! - when HAProxy is not well: a failed start has its cause in the configuration, or in the sockets
//!   themselves;
//! - when the node leaves: nobody would take them over.
//!
//! Held sockets belong to the worker that answers; when another worker answers, they are fetched again.

use super::super::listeners::Refusal;
use super::{Action, Event, Health, Reload, State, Supervisor};
use crate::base::backoff::Backoff;
use crate::base::time::Time;
use std::time::Duration;

/// How long a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(1);
/// And how long while sockets of an earlier HAProxy are held, which this one may not have taken over.
const REFETCH_LIMIT: Duration = Duration::from_millis(100);
/// First pause after a failed fetch, and the longest.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Failures in a row that are borne in silence: the last worker may answer in the place of the new one while
/// it finishes. They take 2.5 s.
const SILENT_FAILURES: u8 = 7;

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// So many sockets of this worker.
    Of {
        worker: u32,
        count: usize,
    },
    /// So many sockets of a worker that is gone.
    Left {
        count: usize,
    },
}

/// The listening sockets, as far as the supervisor is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listeners {
    held: Held,
    /// They are being fetched from this worker, until then.
    fetching: Option<(u32, Time)>,
    retry_at: Time,
    failures: Backoff,
}

impl Listeners {
    /// Nothing is held.
    pub(super) fn new(now: Time) -> Self {
        Listeners { held: Held::Nothing, fetching: None, retry_at: now, failures: Backoff::default() }
    }

    fn are_of(&self, worker: u32) -> bool {
        matches!(self.held, Held::Of { worker: w, .. } if w == worker)
    }
}

impl Supervisor {
    /// After everything else that happened: fetches what is to be held and drops what is not.
    pub(super) fn keep_listeners(&mut self, now: Time) {
        let allowed = self.may_hold(now);
        let worker = self.worker();
        let l = &mut self.listeners;
        if !allowed {
            let (held, fetching) = (std::mem::replace(&mut l.held, Held::Nothing), l.fetching.take());
            if held != Held::Nothing || fetching.is_some() {
                self.out.act(Action::DropListeners);
            }
            l.retry_at = now;
            l.failures.at_most(SILENT_FAILURES);
            return;
        }
        let Some(worker) = worker else {
            if let Held::Of { count, .. } = l.held {
                l.held = Held::Left { count };
            }
            return;
        };
        if l.fetching.is_some_and(|(_, until)| now >= until) {
            return self.fetched(Err(Refusal::Timeout), now);
        }
        if !l.are_of(worker) && l.fetching.is_none() && now >= l.retry_at {
            let limit = if l.held == Held::Nothing { FETCH_LIMIT } else { REFETCH_LIMIT };
            l.fetching = Some((worker, now + limit));
            self.out.act(Action::FetchListeners { worker });
        }
    }

    fn may_hold(&self, now: Time) -> bool {
        let reloading = matches!(self.reload, Some(Reload::Waiting { .. }));
        let well = matches!(self.health(now), Health::Well | Health::Recovering { .. });
        self.cfg.keep_listeners && !self.leaving && !reloading && well
    }

    fn worker(&self) -> Option<u32> {
        match self.state {
            State::Ready { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// A fetch came to its end: so many sockets, or why not.
    pub(super) fn fetched(&mut self, result: Result<usize, Refusal>, now: Time) {
        let l = &mut self.listeners;
        let Some((worker, _)) = l.fetching.take() else { return };
        match result {
            Ok(count) => {
                self.out.emit(Event::ListenersHeld { count });
                (l.held, l.failures) = (Held::Of { worker, count }, Backoff::default());
            }
            Err(why) => {
                l.held = Held::Nothing;
                l.retry_at = now + l.failures.fail(RETRY_MIN, RETRY_MAX);
                self.out.act(Action::DropListeners);
                if l.failures.failures() == SILENT_FAILURES {
                    self.out.emit(Event::ListenersNotHeld { why });
                }
            }
        }
    }

    /// How many are held.
    pub fn held_listeners(&self) -> usize {
        match self.listeners.held {
            Held::Nothing => 0,
            Held::Of { count, .. } | Held::Left { count } => count,
        }
    }

    pub(super) fn listeners_deadline(&self, now: Time) -> Option<Time> {
        let l = &self.listeners;
        match (l.fetching, self.worker()) {
            (Some((_, until)), _) => Some(until),
            (None, Some(worker)) if !l.are_of(worker) && self.may_hold(now) => Some(l.retry_at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::super::tests::{MS, PROBE, SPAWN, World, cfg};
    use super::*;
    use crate::base::exit::Exit;

    const RARELY: &str = "check_interval = 3600";

    impl World {
        fn fetched(&mut self, result: Result<usize, Refusal>) -> Vec<Action> {
            self.step(Input::Fetched(result))
        }

        /// Until its next deadline, which must not be later than that.
        fn due_within(&mut self, within: Duration) -> Vec<Action> {
            let before = self.now;
            let out = self.due();
            assert!(self.now <= before + within, "{:?} later", self.now.since(before));
            out
        }
    }

    #[test]
    fn held_over_a_crash_and_fetched_anew_at_once() {
        let (mut w, out) = World::ready(RARELY);
        assert_eq!(out, [Action::FetchListeners { worker: 12 }]);
        assert_eq!(w.fetched(Ok(3)), []);
        assert!(w.events.contains(&Event::ListenersHeld { count: 3 }));
        assert_eq!(w.wait(MS), [], "held, and that is all");
        assert_eq!(w.exited(11, Exit::Signal(9)), [], "nothing is dropped");
        assert_eq!(w.wait(Duration::ZERO), [SPAWN]);
        assert_eq!(w.start(21, 22), [Action::FetchListeners { worker: 22 }]);
        assert_eq!(w.h.held_listeners(), 3, "until the answer is there");
        assert_eq!(w.fetched(Ok(3)), []);
        // A worker of the same number is not the same.
        w.exited(21, Exit::Signal(9));
        w.wait(Duration::ZERO);
        assert_eq!(w.start(21, 22), [Action::FetchListeners { worker: 22 }]);
    }

    #[test]
    fn a_new_haproxy_that_does_not_answer_ends_the_hold() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        w.exited(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        w.start(21, 22);
        assert_eq!(
            w.due_within(REFETCH_LIMIT),
            [Action::DropListeners],
            "the new one may not have taken them over"
        );
        assert_eq!(w.h.held_listeners(), 0);
        assert_eq!(w.due_within(RETRY_MIN), [Action::FetchListeners { worker: 22 }]);
        assert_eq!(w.due_within(FETCH_LIMIT), [Action::DropListeners], "more patience with nothing held");
    }

    #[test]
    fn not_held_beyond_the_grace() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        w.exited(11, Exit::Signal(9));
        assert_eq!(w.wait(Duration::ZERO), [SPAWN]);
        w.spawned(21);
        assert_eq!(w.wait(499 * MS), [PROBE]);
        assert_eq!(w.wait(MS).first(), Some(&Action::DropListeners), "restart_grace is 0.5 s");
    }

    #[test]
    fn not_held_after_a_failed_start() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        w.exited(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        w.spawned(21);
        assert_eq!(w.exited(21, Exit::Code(1)).first(), Some(&Action::DropListeners));
        assert_eq!(w.due_within(250 * MS), [SPAWN], "and without them once more");
    }

    #[test]
    fn dropped_before_haproxy_stops_listening() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        w.step(Input::Reload);
        let out = w.checked(0);
        assert_eq!(out, [Action::DropListeners, Action::Reload { pid: 11 }]);
        assert_eq!(w.answer(11, 12), [], "the old worker");
        assert_eq!(w.answer(11, 13), [Action::FilesTaken { pid: 11 }, Action::FetchListeners { worker: 13 }]);
        let out = w.stop(8000 * MS);
        assert_eq!(
            out,
            [Action::DropListeners, Action::CancelProbe, Action::SoftStop { pid: 11 }],
            "in the middle of a fetch"
        );
        assert_eq!(w.fetched(Ok(3)), [], "too late");
        assert_eq!(w.h.held_listeners(), 0);

        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        assert_eq!(w.step(Input::Leave), [Action::DropListeners], "nobody would take them over");
    }

    #[test]
    fn somebody_else_reloads_it() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        assert_eq!(w.answer(11, 13), [Action::FetchListeners { worker: 13 }]);
        assert_eq!(w.answer(11, 14), []);
        assert_eq!(w.fetched(Ok(4)), [Action::FetchListeners { worker: 14 }]);
    }

    #[test]
    fn a_refusal_is_told_once_and_tried_again_less_and_less() {
        let (mut w, _) = World::ready(RARELY);
        let told =
            |w: &World| w.events.iter().filter(|e| matches!(e, Event::ListenersNotHeld { .. })).count();
        let (start, mut tries) = (w.now, 0);
        while w.now.since(start) < Duration::from_secs(600) {
            assert_eq!(w.fetched(Err(Refusal::Stranger)), [Action::DropListeners]);
            assert_eq!(told(&w), usize::from(tries >= 6));
            tries += 1;
            assert_eq!(w.due_within(RETRY_MAX), [Action::FetchListeners { worker: 12 }]);
        }
        assert!((12..25).contains(&tries), "{tries} tries");
        w.fetched(Ok(1));
        assert_eq!(w.h.held_listeners(), 1);
    }

    #[test]
    fn nothing_is_held_if_that_is_not_wanted() {
        let (mut w, _) = World::ready(RARELY);
        w.fetched(Ok(3));
        let cfg = Box::new(cfg("check_interval = 3600\nkeep_listeners = no"));
        assert_eq!(w.step(Input::Reconfigure { cfg, files: false }), [Action::DropListeners]);
        w.exited(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        assert_eq!(w.start(21, 22), []);
    }
}
