//! One `[check]`, pure: `(now, result) -> actions`. At most one attempt is under way at a time.
//!
//! Before its first result a check is neither up nor down; the first one decides, as in keepalived, whatever
//! `rise` and `fall` say. Until then, a virtual router that tracks the check without a weight does not take
//! part, so that it does not become master only to fall. With a weight, an unknown check counts as down, so
//! that a node that boots does not preempt with a priority that it may lose.

use crate::base::exit::Exit;
use crate::base::throttle::Throttle;
use crate::base::time::Time;
use crate::config::{self, CheckKind};
use std::time::Duration;

/// Failures that change nothing are reported once in this time.
const FAILING_QUIET: Duration = Duration::from_secs(10);

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A system call, such as connect: refused, unreachable, no descriptors, no such program.
    Errno(i32),
    /// No result within `timeout`.
    TimedOut,
    /// HTTP with this status, which is not 2xx or 3xx.
    Status(u16),
    /// The answer is not HTTP.
    NotHttp,
    /// The connection ended before an answer.
    Closed,
    /// The command ended otherwise than with exit status 0.
    Exit(Exit),
}

/// What the daemon is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin an attempt; `done` tells its end, at once or later.
    Start,
    /// Drop the attempt that is under way. A command is killed, and `done` is called when it has exited.
    Abandon,
}

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It is up from now on.
    Up,
    /// It is down from now on.
    Down(Failure),
    /// A failure of a check that is up still, and how many in a row; rate-limited.
    Failing(Failure, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The next attempt.
    Waiting { at: Time },
    /// Under way.
    Running { next: Time, until: Time },
    /// A command that was killed and is not reaped yet: a command that cannot die is not started twice.
    Ending { next: Time },
    /// The node stops.
    Over,
}

/// A check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Failure>,
    /// When it came up or went down.
    pub since: Time,
    interval: Duration,
    timeout: Duration,
    fall: u32,
    rise: u32,
    is_command: bool,
    up: Option<bool>,
    /// A reload has added it.
    late: bool,
    /// Results in a row that contradict `up`.
    against: u32,
    phase: Phase,
    said: Throttle,
}

impl Check {
    /// Its first attempt is due at once.
    pub fn new(cfg: &config::Check, now: Time) -> Self {
        Check {
            name: cfg.name.clone(),
            failure: None,
            since: now,
            interval: cfg.interval,
            timeout: cfg.timeout,
            fall: cfg.fall,
            rise: cfg.rise,
            is_command: matches!(cfg.kind, CheckKind::Exec { .. }),
            up: None,
            late: false,
            against: 0,
            phase: Phase::Waiting { at: now },
            said: Throttle::default(),
        }
    }

    /// A check that a reload adds: a router that takes part already does not wait for its first result.
    pub fn added(cfg: &config::Check, now: Time) -> Self {
        let mut new = Check::new(cfg, now);
        new.late = true;
        new
    }

    /// What was found before an upgrade: it stays so until results say otherwise.
    pub fn recall(&mut self, up: bool) {
        self.up = Some(up);
    }

    /// The same check with another configuration. It stays up or down until results say otherwise. `same`: an
    /// attempt that is under way goes on, since it does the same.
    pub fn with(&self, cfg: &config::Check, same: bool, now: Time) -> Self {
        let mut new = Check::new(cfg, now);
        if same {
            (new.phase, new.against) = (self.phase, self.against);
        }
        (new.up, new.late, new.since) = (self.up, self.late, self.since);
        (new.failure, new.said) = (self.failure, self.said);
        new
    }

    /// Whether a reload has added it and it has no result yet.
    pub fn is_late(&self) -> bool {
        self.late && self.up.is_none()
    }

    /// Whether it is up; `None` before the first result.
    pub fn is_up(&self) -> Option<bool> {
        self.up
    }

    /// When `tick` is due.
    pub fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Waiting { at } => Some(at),
            Phase::Running { until, .. } => Some(until),
            Phase::Ending { .. } | Phase::Over => None,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) -> (Option<Action>, Option<Transition>) {
        match self.phase {
            Phase::Waiting { at } if now >= at => {
                self.phase = Phase::Running { next: now + self.interval, until: now + self.timeout };
                (Some(Action::Start), None)
            }
            Phase::Running { next, until } if now >= until => {
                self.phase = match self.is_command {
                    true => Phase::Ending { next },
                    false => Phase::Waiting { at: next.max(now) },
                };
                (Some(Action::Abandon), self.count(now, Err(Failure::TimedOut)))
            }
            _ => (None, None),
        }
    }

    /// The attempt has ended.
    pub fn done(&mut self, now: Time, result: Result<(), Failure>) -> Option<Transition> {
        match self.phase {
            Phase::Running { next, .. } => {
                self.phase = Phase::Waiting { at: next.max(now) };
                self.count(now, result)
            }
            Phase::Ending { next } => {
                self.phase = Phase::Waiting { at: next.max(now) };
                None // it was counted when it was killed
            }
            Phase::Waiting { .. } | Phase::Over => None,
        }
    }

    /// No further attempts. Returns whether one is under way.
    pub fn stop(&mut self) -> bool {
        matches!(std::mem::replace(&mut self.phase, Phase::Over), Phase::Running { .. })
    }

    fn count(&mut self, now: Time, result: Result<(), Failure>) -> Option<Transition> {
        self.failure = result.err();
        let up = result.is_ok();
        if self.up == Some(up) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = match self.up {
            None => 1,
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        if self.against >= needed {
            (self.up, self.against, self.since) = (Some(up), 0, now);
            return Some(result.map_or_else(Transition::Down, |()| Transition::Up));
        }
        let why = self.failure?;
        self.said.pass(now, FAILING_QUIET).then_some(Transition::Failing(why, self.against))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Failure = Failure::Errno(libc::ECONNREFUSED);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(n: u64) -> Time {
        Time::ZERO + ms(n)
    }

    /// Every 2 s, 1 s each, `fall` 3, `rise` 2.
    fn check(kind: CheckKind) -> Check {
        let cfg = config::Check {
            name: "gw".into(),
            kind,
            interval: ms(2000),
            timeout: ms(1000),
            fall: 3,
            rise: 2,
        };
        Check::new(&cfg, at(0))
    }

    fn ping() -> Check {
        check(CheckKind::Ping(std::net::Ipv4Addr::LOCALHOST.into()))
    }

    /// Runs the next attempt when it is due, with this result at once.
    fn attempt(c: &mut Check, result: Result<(), Failure>) -> Option<Transition> {
        let now = c.deadline().unwrap();
        assert_eq!(c.tick(now), (Some(Action::Start), None));
        c.done(now, result)
    }

    #[test]
    fn the_first_result_decides() {
        let mut c = ping();
        assert_eq!((c.is_up(), c.deadline()), (None, Some(at(0))));
        assert_eq!(attempt(&mut c, Ok(())), Some(Transition::Up));
        assert_eq!((c.is_up(), c.deadline()), (Some(true), Some(at(2000))));
        let mut c = ping();
        assert_eq!(attempt(&mut c, Err(REFUSED)), Some(Transition::Down(REFUSED)));
        assert_eq!(c.is_up(), Some(false));
    }

    #[test]
    fn fall_and_rise_count_in_a_row() {
        let mut c = ping();
        attempt(&mut c, Ok(()));
        assert_eq!(attempt(&mut c, Err(REFUSED)), Some(Transition::Failing(REFUSED, 1)));
        assert_eq!(attempt(&mut c, Err(REFUSED)), None, "said a moment ago");
        assert_eq!(attempt(&mut c, Ok(())), None);
        assert_eq!(attempt(&mut c, Err(REFUSED)), None);
        assert_eq!(attempt(&mut c, Err(REFUSED)), None);
        assert_eq!(c.is_up(), Some(true), "the success between them counts");
        assert_eq!(attempt(&mut c, Err(Failure::Closed)), Some(Transition::Down(Failure::Closed)));
        assert_eq!((c.is_up(), c.since), (Some(false), at(12_000)));
        assert_eq!(attempt(&mut c, Ok(())), None);
        assert_eq!(attempt(&mut c, Err(REFUSED)), None);
        assert_eq!(attempt(&mut c, Ok(())), None);
        assert_eq!(attempt(&mut c, Ok(())), Some(Transition::Up));
        assert_eq!(c.failure, None);
    }

    #[test]
    fn intervals_are_from_start_to_start_and_never_overlap() {
        let mut c = ping();
        c.timeout = ms(5000);
        assert_eq!(c.tick(at(10)), (Some(Action::Start), None), "late");
        assert_eq!(c.tick(at(2010)), (None, None), "one at a time");
        c.done(at(3000), Ok(()));
        assert_eq!(c.deadline(), Some(at(3000)), "that one took longer than the interval");
        c.tick(at(3000));
        c.done(at(3500), Ok(()));
        assert_eq!(c.deadline(), Some(at(5000)));
        assert_eq!(c.done(at(3600), Err(REFUSED)), None, "no attempt, no result");
        assert_eq!(c.is_up(), Some(true));
    }

    #[test]
    fn a_timeout_is_a_failure_and_a_command_is_waited_for() {
        let mut c = ping();
        c.tick(at(0));
        assert_eq!(c.tick(at(999)), (None, None));
        let out = Some(Transition::Down(Failure::TimedOut));
        assert_eq!(c.tick(at(1000)), (Some(Action::Abandon), out));
        assert_eq!(c.deadline(), Some(at(2000)));

        let mut c = check(CheckKind::Exec { argv: vec!["/bin/true".into()], user: None });
        c.tick(at(0));
        assert_eq!(c.tick(at(1000)), (Some(Action::Abandon), out));
        assert_eq!(c.deadline(), None, "not before it is reaped");
        assert_eq!(c.tick(at(60_000)), (None, None));
        assert_eq!(c.done(at(60_000), Err(Failure::Exit(Exit::Signal(9)))), None, "counted already");
        assert_eq!(c.failure, Some(Failure::TimedOut));
        assert_eq!(c.tick(at(60_000)), (Some(Action::Start), None));
        assert!(c.stop());
        assert_eq!((c.deadline(), c.tick(at(90_000))), (None, (None, None)));
        assert_eq!(c.done(at(90_000), Ok(())), None);
        assert!(!c.stop());
    }
}
