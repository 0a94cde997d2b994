//! Pauses that grow: each failure in a row waits twice as long as the one before, up to a limit.

use std::time::Duration;

/// Failures in a row. The pauses themselves are the owner's: the first one and the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u8,
}

impl Backoff {
    /// One more failure; returns the pause that follows it.
    pub fn fail(&mut self, first: Duration, longest: Duration) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause(first, longest)
    }

    /// The pause after the last failure: `first` × 2 to the power of the failures before it, at most
    /// `longest`; 0 without any failure.
    pub fn pause(&self, first: Duration, longest: Duration) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(before) => first.saturating_mul(1 << before.min(31)).min(longest),
        }
    }

    /// How many failures there were in a row, up to 255.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// Forgets those beyond so many, so that the pause is not longer than theirs.
    pub fn at_most(&mut self, failures: u8) {
        self.failures = self.failures.min(failures);
    }

    /// Forgets all of them; returns whether there were any.
    pub fn clear(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut b = Backoff::default();
        assert_eq!((b.pause(ms(20), ms(100)), b.clear()), (Duration::ZERO, false));
        let pauses: Vec<Duration> = (0..5).map(|_| b.fail(ms(20), ms(100))).collect();
        assert_eq!(pauses, [ms(20), ms(40), ms(80), ms(100), ms(100)]);
        assert_eq!((b.failures(), b.pause(ms(20), ms(60)), b.pause(ms(20), ms(1000))), (5, ms(60), ms(320)));
        b.at_most(9);
        b.at_most(2);
        assert_eq!(b.pause(ms(20), ms(100)), ms(40));
        assert!(b.clear());
        assert_eq!(b.fail(ms(20), ms(10)), ms(10), "the limit counts even the first time");
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let mut b = Backoff::default();
        for _ in 0..1000 {
            assert!(b.fail(Duration::from_secs(1), Duration::MAX) >= Duration::from_secs(1));
        }
        assert_eq!(b.failures(), 255);
        assert_eq!(b.pause(Duration::MAX, Duration::MAX), Duration::MAX);
    }
}
