//! The intervals of the state machine (RFC 9568 §6.1, RFC 3768 §6.1), in nanoseconds and rounded down:
//! multiply first, divide last.

use crate::base::time::Time;
use crate::config::Version;
use std::time::Duration;

/// Skew_Time: what a backup waits longer the lower its priority is. v3: (256 - priority) × interval / 256;
/// v2: (256 - priority) / 256 seconds whatever the interval.
pub fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let of = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    of * (256 - u32::from(priority)) / 256
}

/// Master_Down_Interval (Active_Down_Interval): `adverts` × interval + skew.
/// The RFCs fix `adverts` at 3; keepalived calls it `down_timer_adverts`.
pub fn down_interval(version: Version, priority: u8, interval: Duration, adverts: u32) -> Duration {
    interval * adverts + skew(version, priority, interval)
}

/// The first multiple of `interval`, counted from `epoch`, that lies after `now`.
///
/// All adverts of a node share this grid, and with them all renewals of its leases: the kernel is late
/// with an address that was renewed shortly after another one.
pub fn next_on_grid(now: Time, epoch: Time, interval: Duration) -> Time {
    let step = interval.as_nanos().max(1);
    let past = now.since(epoch).as_nanos() % step;
    now + Duration::from_nanos(u64::try_from(step - past).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_and_down_interval_to_the_nanosecond() {
        let cs = |n: u64| Duration::from_millis(10 * n);
        for (priority, interval, v3_skew) in [
            (1, cs(1), 9_960_937),
            (1, cs(10), 99_609_375),
            (1, cs(100), 996_093_750),
            (1, cs(4095), 40_790_039_062),
            (100, cs(1), 6_093_750),
            (100, cs(100), 609_375_000),
            (254, cs(1), 78_125),
            (254, cs(4095), 319_921_875),
            (255, cs(100), 3_906_250),
        ] {
            let skew3 = Duration::from_nanos(v3_skew);
            assert_eq!(skew(Version::V3, priority, interval), skew3, "priority {priority}, {interval:?}");
            assert_eq!(down_interval(Version::V3, priority, interval, 3), interval * 3 + skew3);
        }
        // RFC 3768: a second, not an interval
        for interval in [1, 2, 255] {
            let d = down_interval(Version::V2, 100, Duration::from_secs(interval), 3);
            assert_eq!(d, Duration::from_secs(3 * interval) + Duration::from_nanos(609_375_000));
        }
        assert_eq!(down_interval(Version::V3, 254, cs(1), 3), Duration::from_nanos(30_078_125));
    }

    #[test]
    fn the_grid_is_strictly_ahead_and_at_most_one_interval_away() {
        let epoch = Time::from_nanos(700_000_000);
        let second = Duration::from_secs(1);
        let at = |ns| next_on_grid(Time::from_nanos(ns), epoch, second).as_nanos();
        assert_eq!(at(700_000_000), 1_700_000_000);
        assert_eq!(at(1_699_999_999), 1_700_000_000);
        assert_eq!(at(1_700_000_000), 2_700_000_000);
        assert_eq!(at(9_000_000_000), 9_700_000_000);
    }
}
