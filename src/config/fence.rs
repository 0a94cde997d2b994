//! The arithmetic of the fence: leases in milliseconds that the kernel keeps in nf_tables (`wire::nft`).
//!
//! I is the advert interval, N × I what a backup waits at the least. The kernel counts in ticks: a lease of T
//! ends T after the advert that renewed it left, or up to one tick earlier. It ends late only if its clock of
//! ticks stands still for a while: the CPU that drives it is a guest's that does not run, or has interrupts
//! off. Another CPU makes up for that after 5 ticks (since Linux 5.18). Hence
//!
//! ```text
//! T = N × I - m, in whole ticks      m = 6 ticks, or I / 2 if that is less
//! last advert + T + 5 ticks + 1 tick <= N × I
//! ```
//!
//! and nothing answers for the addresses any more when a backup takes over, whatever became of this process.
//! Where I is less than 12 ticks (48 ms at HZ = 250) that holds as long as the clock of ticks runs.

use std::time::Duration;

/// The kernel's clock of ticks may be so many behind.
const STALLED: u32 = 6;

/// T: the lease that an advert gives. `None`: less than one tick, which the kernel would make longer.
pub fn term(tick: Duration, advert_int: Duration, patience: Duration) -> Option<Duration> {
    let margin = (tick * STALLED).min(advert_int / 2);
    floor(tick, patience.saturating_sub(margin))
}

/// How long an address itself lives behind the fence, in seconds: so long that it is there as long as it is
/// served, although it is renewed only when a quarter of that has passed ([`renewal`]).
pub fn lifetime(term: Duration, advert_int: Duration) -> u32 {
    const LEAST: u64 = 12;
    let secs = (term + advert_int).as_secs().saturating_mul(4) / 3;
    u32::try_from(secs.saturating_add(3).max(LEAST)).unwrap_or(u32::MAX)
}

/// The age at which an address that lives so many seconds is renewed.
pub fn renewal(lifetime: u32) -> Duration {
    Duration::from_secs(u64::from(lifetime)) / 4
}

/// What may be made of `rest` that the kernel said is left of a lease, or that was worked out from the last
/// advert: one tick less, in whole ticks.
pub fn rest(tick: Duration, rest: Duration) -> Option<Duration> {
    floor(tick, rest.saturating_sub(tick))
}

/// In whole ticks; `None` if that is none.
fn floor(tick: Duration, d: Duration) -> Option<Duration> {
    let ticks = d.as_nanos().checked_div(tick.as_nanos())?;
    let ns = ticks.saturating_mul(tick.as_nanos());
    Some(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))).filter(|d| d.as_millis() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn terms_by_interval_and_tick() {
        for (hz, interval, want) in [
            (250, 1000, Some(2976)),
            (250, 100, Some(276)),
            (250, 48, Some(120)),
            (250, 10, Some(24)),
            (1000, 1000, Some(2994)),
            (1000, 10, Some(25)),
            (100, 1000, Some(2940)),
            (100, 10, Some(20)),
        ] {
            let (tick, interval) = (ms(1000) / hz, ms(interval));
            assert_eq!(term(tick, interval, interval * 3), want.map(ms), "{hz} {interval:?}");
        }
        // N = 1.
        assert_eq!(term(ms(10), ms(10), ms(10)), None);
        assert_eq!(term(ms(4), ms(1000), ms(1000)), Some(ms(976)));
    }

    #[test]
    fn the_theorem_holds() {
        for hz in [100, 250, 300, 1000] {
            let tick = Duration::from_secs(1) / hz;
            for interval in (12 * tick.as_millis() as u64 + 12..41_000).step_by(7) {
                for n in 1..4 {
                    let t = term(tick, ms(interval), ms(interval) * n).unwrap();
                    assert!(t + tick * 6 <= ms(interval) * n, "{hz} {interval} {n}");
                    assert!(t + tick * 7 > ms(interval) * n);
                }
            }
        }
    }

    #[test]
    fn an_address_is_there_as_long_as_it_is_served() {
        for interval in (10..41_000).step_by(10).map(ms) {
            for n in 1..10 {
                let Some(t) = term(ms(4), interval, interval * n) else { continue };
                let l = lifetime(t, interval);
                let oldest = renewal(l) + interval;
                assert!(oldest + t + ms(30) < Duration::from_secs(u64::from(l)), "{interval:?} {n}");
            }
        }
        assert_eq!(lifetime(ms(2976), ms(1000)), 12);
    }

    #[test]
    fn what_is_left_is_never_made_longer() {
        let tick = ms(4);
        assert_eq!(rest(tick, ms(100)), Some(ms(96)));
        assert_eq!(rest(tick, ms(103)), Some(ms(96)));
        assert_eq!((rest(tick, ms(7)), rest(tick, ms(0))), (None, None));
        assert_eq!(rest(Duration::ZERO, ms(7)), None);
    }
}
