//! HAProxy's listening sockets, held over a crash: what is to be held when. vipd's duplicates keep the kernel's
//! queues, so that new connections wait until the next HAProxy, started with `-x`, has taken them over.
//!
//! HAProxy binds with SO_REUSEPORT, so a held socket that no HAProxy listens on takes its share of the
//! connections, and nobody answers them. Therefore nothing is held
//! - while a reload is under way: the new configuration may not have a `bind` any more. What is lost is small: a
//!   HAProxy that dies in that moment refuses connections until it is started again;
//! - when HAProxy is not well: a failed start has its cause in the configuration, or in the sockets themselves;
//! - when the node leaves: nobody would take them over.
//!
//! What is held belongs to the worker that answers: another one, and they are fetched anew.

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
/// Failures in a row that are borne in silence: the last worker may answer in the place of the new one while it
/// finishes. They take 2.5 s.
const SILENT_FAILURES: u8 = 7;

/// The listening sockets, as far as the supervisor is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listeners {
    /// They are held, of this worker; 0: of one that is gone.
    held: Option<u32>,
    count: usize,
    /// They are being fetched from this worker, until then.
    fetching: Option<(u32, Time)>,
    retry_at: Time,
    failures: Backoff,
}

impl Listeners {
    /// Nothing is held.
    pub(super) fn new(now: Time) -> Self {
        Listeners { held: None, count: 0, fetching: None, retry_at: now, failures: Backoff::default() }
    }
}

impl Supervisor {
    /// After everything else that happened: fetches what is to be held and drops what is not.
    pub fn keep_listeners(&mut self, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        let allowed = self.may_hold(now);
        let worker = self.worker();
        let l = &mut self.listeners;
        if !allowed {
            if l.held.take().is_some() | l.fetching.take().is_some() {
                // Before anything that ends HAProxy's own listening.
                out.insert(0, Action::DropListeners);
            }
            l.retry_at = now;
            l.failures.at_most(SILENT_FAILURES);
            return;
        }
        let Some(worker) = worker else {
            l.held = l.held.map(|_| 0);
            return;
        };
        if l.fetching.is_some_and(|(_, until)| now >= until) {
            return self.fetched(Err(Refusal::Timeout), now, out, events);
        }
        if l.held != Some(worker) && l.fetching.is_none() && now >= l.retry_at {
            let limit = if l.held.is_some() { REFETCH_LIMIT } else { FETCH_LIMIT };
            l.fetching = Some((worker, now + limit));
            out.push(Action::FetchListeners { worker });
        }
    }

    fn may_hold(&self, now: Time) -> bool {
        let reloading = matches!(self.reload, Some(Reload::Waiting { .. }));
        self.cfg.keep_listeners && !self.leaving && !reloading && self.health(now) != Health::Unwell
    }

    fn worker(&self) -> Option<u32> {
        match self.state {
            State::Ready { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// A fetch came to its end: so many sockets, or why not.
    pub fn fetched(
        &mut self,
        result: Result<usize, Refusal>,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) {
        let l = &mut self.listeners;
        let Some((worker, _)) = l.fetching.take() else { return };
        match result {
            Ok(count) => {
                events.push(Event::ListenersHeld { count });
                (l.held, l.count, l.failures) = (Some(worker), count, Backoff::default());
            }
            Err(why) => {
                l.held = None;
                l.retry_at = now + l.failures.fail(RETRY_MIN, RETRY_MAX);
                out.push(Action::DropListeners);
                if l.failures.failures() == SILENT_FAILURES {
                    events.push(Event::ListenersNotHeld { why });
                }
            }
        }
    }

    /// How many are held.
    pub fn held_listeners(&self) -> usize {
        self.listeners.held.map_or(0, |_| self.listeners.count)
    }

    pub(super) fn listeners_deadline(&self, now: Time) -> Option<Time> {
        let l = &self.listeners;
        match (l.fetching, self.worker()) {
            (Some((_, until)), _) => Some(until),
            (None, worker @ Some(_)) if l.held != worker && self.may_hold(now) => Some(l.retry_at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::exit::Exit;
    use crate::config::schema;
    use crate::haproxy::show_info::Info;

    const MS: Duration = Duration::from_millis(1);

    struct World {
        h: Supervisor,
        now: Time,
        events: Vec<Event>,
    }

    impl World {
        /// A HAProxy whose worker 12 answers, and what that leads to.
        fn ready() -> (World, Vec<Action>) {
            let cfg = schema::parse("[haproxy]\ncheck_interval = 3600\n").ok().and_then(|(c, _)| c.haproxy);
            let now = Time::from_nanos(7_000_000_000);
            let mut w =
                World { h: Supervisor::new(cfg.unwrap_or_else(|| panic!()), now), now, events: vec![] };
            assert_eq!(w.wait(Duration::ZERO), [Action::Spawn { bare: false }]);
            let out = w.start(11, 12);
            (w, out)
        }

        /// As the node does it.
        fn step(
            &mut self,
            f: impl FnOnce(&mut Supervisor, Time, &mut Vec<Action>, &mut Vec<Event>),
        ) -> Vec<Action> {
            let mut out = Vec::new();
            f(&mut self.h, self.now, &mut out, &mut self.events);
            self.h.keep_listeners(self.now, &mut out, &mut self.events);
            out
        }

        fn start(&mut self, pid: u32, worker: u32) -> Vec<Action> {
            self.step(|h, now, _, ev| h.spawned(pid, now, ev));
            assert_eq!(self.wait(5 * MS), [Action::Probe { direct: false }]);
            self.answer(pid, worker)
        }

        fn answer(&mut self, pid: u32, worker: u32) -> Vec<Action> {
            let info = Info { version: "2.6".into(), pid: worker };
            self.step(|h, now, out, ev| h.answered(pid, info, now, out, ev))
        }

        fn fetched(&mut self, result: Result<usize, Refusal>) -> Vec<Action> {
            self.step(|h, now, out, ev| h.fetched(result, now, out, ev))
        }

        fn die(&mut self, pid: u32, exit: Exit) -> Vec<Action> {
            self.step(|h, now, out, ev| assert!(h.exited(pid, exit, now, out, ev)))
        }

        fn wait(&mut self, d: Duration) -> Vec<Action> {
            self.now += d;
            self.step(|h, now, out, ev| h.tick(now, out, ev))
        }

        /// Until its next deadline, which must not be later than that.
        fn due(&mut self, within: Duration) -> Vec<Action> {
            let at = self.h.deadline(self.now).unwrap_or_else(|| panic!("no deadline"));
            assert!(at <= self.now + within, "{:?} later", at.since(self.now));
            self.wait(at.since(self.now))
        }
    }

    #[test]
    fn held_over_a_crash_and_fetched_anew_at_once() {
        let (mut w, out) = World::ready();
        assert_eq!(out, [Action::FetchListeners { worker: 12 }]);
        assert_eq!(w.fetched(Ok(3)), []);
        assert!(w.events.contains(&Event::ListenersHeld { count: 3 }));
        assert_eq!(w.wait(MS), [], "held, and that is all");
        assert_eq!(w.die(11, Exit::Signal(9)), [], "nothing is dropped");
        assert_eq!(w.wait(Duration::ZERO), [Action::Spawn { bare: false }]);
        assert_eq!(w.start(21, 22), [Action::FetchListeners { worker: 22 }]);
        assert_eq!(w.h.held_listeners(), 3, "until the answer is there");
        assert_eq!(w.fetched(Ok(3)), []);
        // A worker of the same number is not the same.
        w.die(21, Exit::Signal(9));
        w.wait(Duration::ZERO);
        assert_eq!(w.start(21, 22), [Action::FetchListeners { worker: 22 }]);
    }

    #[test]
    fn a_new_haproxy_that_does_not_answer_ends_the_hold() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        w.die(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        w.start(21, 22);
        assert_eq!(w.due(REFETCH_LIMIT), [Action::DropListeners], "the new one may not have taken them over");
        assert_eq!(w.h.held_listeners(), 0);
        assert_eq!(w.due(RETRY_MIN), [Action::FetchListeners { worker: 22 }]);
        assert_eq!(w.due(FETCH_LIMIT), [Action::DropListeners], "more patience with nothing held");
    }

    #[test]
    fn not_held_beyond_the_grace() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        w.die(11, Exit::Signal(9));
        assert_eq!(w.wait(Duration::ZERO), [Action::Spawn { bare: false }]);
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        assert_eq!(w.wait(499 * MS), [Action::Probe { direct: false }]);
        assert_eq!(w.wait(MS).first(), Some(&Action::DropListeners), "restart_grace is 0.5 s");
    }

    #[test]
    fn not_held_after_a_failed_start() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        w.die(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        w.step(|h, now, _, ev| h.spawned(21, now, ev));
        assert_eq!(w.die(21, Exit::Code(1)).first(), Some(&Action::DropListeners));
        assert_eq!(w.due(250 * MS), [Action::Spawn { bare: false }], "and without them once more");
    }

    #[test]
    fn dropped_before_haproxy_stops_listening() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        w.step(|h, now, out, ev| h.reload(now, out, ev));
        let out = w.step(|h, now, out, ev| h.checked(Exit::Code(0), now, out, ev));
        assert_eq!(out, [Action::DropListeners, Action::Reload]);
        assert_eq!(w.answer(11, 12), [], "the old worker");
        assert_eq!(w.answer(11, 13), [Action::FetchListeners { worker: 13 }]);
        let out = w.step(|h, now, out, ev| assert!(h.stop(now, now + 8000 * MS, out, ev)));
        assert_eq!(
            out,
            [Action::DropListeners, Action::CancelProbe, Action::SoftStop],
            "in the middle of a fetch"
        );
        assert_eq!(w.fetched(Ok(3)), [], "too late");
        assert_eq!(w.h.held_listeners(), 0);

        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        assert_eq!(w.step(|h, _, _, _| h.leave()), [Action::DropListeners], "nobody would take them over");
    }

    #[test]
    fn somebody_else_reloads_it() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        assert_eq!(w.answer(11, 13), [Action::FetchListeners { worker: 13 }]);
        assert_eq!(w.answer(11, 14), []);
        assert_eq!(w.fetched(Ok(4)), [Action::FetchListeners { worker: 14 }]);
    }

    #[test]
    fn a_refusal_is_told_once_and_tried_again_less_and_less() {
        let (mut w, _) = World::ready();
        let told =
            |w: &World| w.events.iter().filter(|e| matches!(e, Event::ListenersNotHeld { .. })).count();
        let (start, mut tries) = (w.now, 0);
        while w.now.since(start) < Duration::from_secs(600) {
            assert_eq!(w.fetched(Err(Refusal::Stranger)), [Action::DropListeners]);
            assert_eq!(told(&w), usize::from(tries >= 6));
            tries += 1;
            assert_eq!(w.due(RETRY_MAX), [Action::FetchListeners { worker: 12 }]);
        }
        assert!((12..25).contains(&tries), "{tries} tries");
        w.fetched(Ok(1));
        assert_eq!(w.h.held_listeners(), 1);
    }

    #[test]
    fn nothing_is_held_if_that_is_not_wanted() {
        let (mut w, _) = World::ready();
        w.fetched(Ok(3));
        w.h.cfg.keep_listeners = false;
        assert_eq!(w.wait(MS), [Action::DropListeners]);
        w.die(11, Exit::Signal(9));
        w.wait(Duration::ZERO);
        assert_eq!(w.start(21, 22), []);
    }
}
