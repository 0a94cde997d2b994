//! Messages that are not repeated: once, or once in a period.

use crate::base::time::Time;
use std::time::Duration;

/// Lets one pass in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    last: Option<Time>,
}

impl Throttle {
    /// Whether this one may pass: the last that did was at least `quiet` ago.
    pub fn pass(&mut self, now: Time, quiet: Duration) -> bool {
        let pass = self.last.is_none_or(|t| now.since(t) >= quiet);
        if pass {
            self.last = Some(now);
        }
        pass
    }
}

/// Lets the first pass, until it is armed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Once {
    spent: bool,
}

impl Once {
    /// Whether this is the first.
    pub fn pass(&mut self) -> bool {
        !std::mem::replace(&mut self.spent, true)
    }

    /// The next one is the first again.
    pub fn rearm(&mut self) {
        self.spent = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_period() {
        let (at, quiet) = (Time::from_nanos, Duration::from_nanos(10));
        let mut t = Throttle::default();
        let passed = [5, 5, 14, 15, 16, 24, 26].map(|ns| t.pass(at(ns), quiet));
        assert_eq!(passed, [true, false, false, true, false, false, true]);
        assert!(!t.pass(at(0), quiet), "an earlier clock lets nothing pass");
    }

    #[test]
    fn one_until_it_is_armed_again() {
        let mut o = Once::default();
        assert_eq!([o.pass(), o.pass()], [true, false]);
        o.rearm();
        assert_eq!([o.pass(), o.pass()], [true, false]);
    }
}
