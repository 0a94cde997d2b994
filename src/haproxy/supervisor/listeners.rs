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
use crate::time::Time;
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
const SILENT_FAILURES: u32 = 7;

/// The listening sockets, as far as the supervisor is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listeners {
    /// They are held, of this worker; 0: of one that is gone.
    held: Option<u32>,
    count: usize,
    /// They are being fetched from this worker, until then.
    fetching: Option<(u32, Time)>,
    retry_at: Time,
    failures: u32,
}

impl Listeners {
    /// Nothing is held.
    pub(super) fn new(now: Time) -> Self {
        Listeners { held: None, count: 0, fetching: None, retry_at: now, failures: 0 }
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
            (l.retry_at, l.failures) = (now, l.failures.min(SILENT_FAILURES));
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
                (l.held, l.count, l.failures) = (Some(worker), count, 0);
            }
            Err(why) => {
                l.held = None;
                l.retry_at = now + (RETRY_MIN * (1 << l.failures.min(12))).min(RETRY_MAX);
                l.failures = (l.failures + 1).min(16);
                out.push(Action::DropListeners);
                if l.failures == SILENT_FAILURES {
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
