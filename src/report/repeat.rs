//! Limits of log lines that can repeat for days: an interface, a check or a peer that flaps. Pure.
//!
//! Each kind of event passes 50 times for each subject (an interface, a VIP, ...), and then once in 10 s. The
//! last one that was held back is logged when its time has come, with the number of those before it: so the
//! log ends with the present state.

use crate::base::time::{Time, earlier};
use crate::check::Transition;
use crate::event::{Event, Subject};
use crate::haproxy::supervisor;
use log::Level;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

const BURST: u32 = 50;
const REFILL: Duration = Duration::from_secs(10);
/// Memory for so many lines is kept.
const MANY: usize = 64;

/// The lines of the recent past.
#[derive(Debug, Default)]
pub struct Repeats {
    lines: Vec<Line>,
}

/// The kind of an event, the kind of a HAProxy event, and the subject.
type Key = (Discriminant<Event>, Option<Discriminant<supervisor::Event>>, Subject);

#[derive(Debug)]
struct Line {
    key: Key,
    /// How many lines may pass, as of `filled`.
    left: u32,
    filled: Time,
    /// The last line that was held back, and how many were.
    held: Option<(Level, String, u32)>,
}

impl Line {
    fn left(&self, now: Time) -> u32 {
        let more = now.since(self.filled).as_secs() / REFILL.as_secs();
        BURST.min(self.left.saturating_add(u32::try_from(more).unwrap_or(BURST)))
    }

    fn refill(&mut self, now: Time) {
        let left = self.left(now);
        // The rest of a pause counts for the next line, unless the burst is complete.
        self.filled = if left == BURST { now } else { self.filled + REFILL * (left - self.left) };
        self.left = left;
    }
}

impl Repeats {
    /// How many lines like it were held back before, if this one may be logged now. `None`: call `hold`.
    pub fn pass(&mut self, now: Time, e: &Event) -> Option<u32> {
        let Some(key) = key(e) else { return Some(0) };
        let i = self.lines.iter().position(|l| l.key == key).unwrap_or_else(|| {
            self.forget(now);
            self.lines.push(Line { key, left: BURST, filled: now, held: None });
            self.lines.len() - 1
        });
        let line = self.lines.get_mut(i)?;
        line.refill(now);
        line.left = line.left.checked_sub(1)?;
        Some(line.held.take().map_or(0, |h| h.2))
    }

    /// Holds back what `pass` refused, in place of the last line like it.
    pub fn hold(&mut self, e: &Event, level: Level, text: String) {
        let Some(key) = key(e) else { return };
        if let Some(l) = self.lines.iter_mut().find(|l| l.key == key) {
            let before = l.held.as_ref().map_or(0, |h| h.2);
            l.held = Some((level, text, before.saturating_add(1)));
        }
    }

    /// Forgets whatever has a full burst again.
    fn forget(&mut self, now: Time) {
        self.lines.retain(|l| l.held.is_some() || l.left(now) < BURST);
    }

    /// A line that was held back and may be logged by now, and how many like it came before it.
    pub fn due(&mut self, now: Time) -> Option<(Level, String, u32)> {
        // A change of all virtual routers at once is not remembered for ever.
        if self.lines.capacity() > MANY {
            self.forget(now);
            if self.lines.len() <= MANY {
                self.lines.shrink_to(MANY);
            }
        }
        let line = self.lines.iter_mut().find(|l| l.held.is_some() && l.left(now) > 0)?;
        line.refill(now);
        line.left -= 1;
        line.held.take().map(|(level, text, n)| (level, text, n - 1))
    }

    /// When `due` has something.
    pub fn deadline(&self) -> Option<Time> {
        let held = self.lines.iter().filter(|l| l.held.is_some());
        held.fold(None, |at, l| earlier(at, Some(l.filled + REFILL)))
    }
}

/// `None`: no limit here. Lines about packets are limited where they arise, each kind by itself; those of a
/// failing check are on the debug level.
fn key(e: &Event) -> Option<Key> {
    let kind = match e {
        Event::Discarded { .. } | Event::Bogus { .. } | Event::Odd { .. } | Event::UnknownVrid { .. } => {
            return None;
        }
        Event::Check { said: Transition::Failing(..), .. } => return None,
        Event::Haproxy(h) => Some(discriminant(h)),
        _ => None,
    };
    Some((discriminant(e), kind, e.subject()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(link: usize, running: bool) -> Event {
        Event::Link { link, present: true, running }
    }

    /// A day of an interface that flaps every second.
    #[test]
    fn a_log_of_flaps_is_bounded_and_ends_with_the_truth() {
        let mut r = Repeats::default();
        let start = Time::ZERO + Duration::from_secs(1000);
        let (mut said, mut told) = (0, 0);
        let mut last = None;
        for s in 0..86_400 {
            let now = start + Duration::from_secs(s);
            let e = link(0, s % 2 == 1);
            match r.pass(now, &e) {
                Some(more) => (said, told, last) = (said + 1, told + more + 1, Some(format!("{e:?}"))),
                None => r.hold(&e, Level::Info, format!("{e:?}")),
            }
        }
        assert!((8_600..8_700).contains(&said), "{said}");
        // Another one is not affected.
        assert_eq!(r.pass(start, &link(1, true)), Some(0));
        let mut now = start + Duration::from_secs(86_399);
        while let Some(at) = r.deadline() {
            now = at.max(now);
            let (level, e, more) = r.due(now).expect("it is due");
            assert_eq!(level, Level::Info, "as it would have been said at once");
            (told, last) = (told + more + 1, Some(e));
            assert!(r.due(now).is_none());
        }
        assert!(now.since(start) < Duration::from_secs(86_410));
        assert_eq!((told, last), (86_400, Some(format!("{:?}", link(0, true)))), "none is lost in the count");
    }

    #[test]
    fn what_is_rare_is_always_said_and_nothing_is_kept_for_ever() {
        let mut r = Repeats::default();
        let mut now = Time::ZERO;
        for i in 0..1000 {
            now += Duration::from_secs(10);
            for of in [0, i * 2 + 1, i * 2 + 2] {
                assert_eq!(r.pass(now, &link(of, true)), Some(0));
            }
        }
        assert!(r.lines.len() < 200, "{}", r.lines.len());
        // After a long silence a burst is possible again, and no more than that.
        now += Duration::from_secs(100_000);
        let passed = (0..1000).filter(|_| r.pass(now, &link(0, true)).is_some()).count();
        assert_eq!(passed, BURST as usize);
    }
}
