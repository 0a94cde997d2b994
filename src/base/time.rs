//! The one notion of time: nanoseconds of `CLOCK_BOOTTIME`.
//!
//! The clock is read by the loop (`sys::clock`) and passed in; nothing in the core reads it.
//! `std::time::Instant` is `CLOCK_MONOTONIC`, which stands still in suspend: a master that wakes up would not
//! notice that its leases are over.

use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since boot, time spent suspended included. One more is stored, which is never
/// 0: so an `Option<Time>`, of which a virtual router has dozens, takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(NonZeroU64);

impl Time {
    /// Boot.
    pub const ZERO: Time = Time(NonZeroU64::MIN);

    /// From nanoseconds since boot.
    pub const fn from_nanos(ns: u64) -> Self {
        Time(NonZeroU64::MIN.saturating_add(ns))
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// Time that has passed since `earlier`; zero if `earlier` is later.
    // Never inlined, as the sums below: the arithmetic is longer than a call, and there are 200 of these.
    #[inline(never)]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }
}

/// A duration in nanoseconds, saturating at 584 years.
fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for Time {
    fn default() -> Self {
        Time::ZERO
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    #[inline(never)]
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    #[inline(never)]
    fn sub(self, d: Duration) -> Time {
        Time::from_nanos(self.as_nanos().saturating_sub(nanos(d)))
    }
}

/// The earlier of two deadlines, where `None` is never.
#[inline(never)]
pub fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
