//! The arithmetic of the leases in one place.
//!
//! I is the advert interval, N × I what a backup waits at the least, L the lease in whole seconds, e how late
//! the kernel may be with its end, d how old the last advert may be at a renewal. d + L + e <= N × I is the
//! theorem: the address is gone before a backup takes over, whatever becomes of this process after its
//! last renewal.

use std::time::Duration;

/// Longest lease that `auto` chooses, in seconds: the kernel's lateness grows with the length.
const AUTO_MAX: u32 = 16;

/// e: how late the kernel may be with the end of a lease [measured, Linux 6.18, HZ = 250].
///
/// It rounds up to whole seconds if that costs no more than a quarter, its timer wheel adds 0.03 s at 1 s,
/// 0.26 s at 2 to 16 s and over a second beyond. And the timer is *deferrable*: on an idle CPU it waits until
/// something else wakes that CPU (1.4 s seen in all), which no busy machine shows (0.25 s). The check never
/// runs twice within a second, so that any address added within the last second delays it by as much.
///
/// IPv6 has a check of its own, made alike and deferrable as well, and is as late: 1.35 s at 1 s (1380
/// leases, 95 of 100 within 0.45 s), 0.76 s at 2 s, 2.0 s at 16 s, 2.1 s at 20 s; IPv4 beside it 1.14 s at 1
/// s and 2.1 s at 16 s.
pub fn lateness(seconds: u32) -> Duration {
    match seconds {
        0..=1 => Duration::from_millis(1700),
        2..=AUTO_MAX => Duration::from_millis(2250),
        _ => Duration::from_millis(3500),
    }
}

/// What backups count by, as far as a master knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Advertisement_Interval.
    pub advert_int: Duration,
    /// N × I: what every backup waits at the least, whatever its priority.
    pub min_down_interval: Duration,
}

impl Wait {
    /// From the interval and the adverts in the down timer.
    pub fn new(advert_int: Duration, adverts: u32) -> Self {
        Wait { advert_int, min_down_interval: advert_int * adverts }
    }
}

/// d for a lease of that many seconds; `None` if the theorem does not hold: where not even a quarter of the
/// interval would be left for a renewal.
pub fn fresh(seconds: u32, advert_int: Duration, min_down_interval: Duration) -> Option<Duration> {
    let spare = min_down_interval.checked_sub(Duration::from_secs(u64::from(seconds)) + lateness(seconds))?;
    (spare >= advert_int / 4).then_some(spare)
}

/// `lease = auto`: the longest lease for which the theorem holds, or 1 s.
pub fn auto(advert_int: Duration, min_down_interval: Duration) -> u32 {
    (2..=AUTO_MAX).rev().find(|l| fresh(*l, advert_int, min_down_interval).is_some()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_by_interval() {
        let ms = Duration::from_millis;
        for (interval, lease, d) in [
            (ms(10), 1, None),
            (ms(800), 1, None),
            (ms(980), 1, None),
            (ms(1000), 1, Some(ms(300))),
            (ms(2000), 3, Some(ms(750))),
            (ms(3000), 6, Some(ms(750))),
            (ms(40_000), 16, Some(ms(101_750))),
        ] {
            let l = auto(interval, interval * 3);
            assert_eq!((l, fresh(l, interval, interval * 3)), (lease, d), "{interval:?}");
        }
        assert_eq!(fresh(2, ms(1000), ms(3000)), None);
        assert_eq!(fresh(20, ms(10_000), ms(30_000)), Some(ms(6500)));
    }
}
