//! The clock of the loop, the tick of the kernel's, and the time of day for the log.

use crate::base::time::Time;
use std::time::Duration;

/// Calls clock_gettime(2), or clock_getres(2) with `resolution`.
fn read(clock: libc::clockid_t, resolution: bool) -> Duration {
    let call = if resolution { libc::clock_getres } else { libc::clock_gettime };
    // SAFETY: an all-zero timespec is a valid one (with 64-bit time on a 32-bit processor it has padding that
    // cannot be named here); the call writes to it alone and cannot fail with the clocks of this file.
    let ts = unsafe {
        let mut ts: libc::timespec = std::mem::zeroed();
        call(clock, &raw mut ts);
        ts
    };
    Duration::new(u64::try_from(ts.tv_sec).unwrap_or(0), u32::try_from(ts.tv_nsec).unwrap_or(0))
}

/// Reads CLOCK_BOOTTIME: monotonic, time in suspend included.
pub fn now() -> Time {
    let t = read(libc::CLOCK_BOOTTIME, false);
    Time::from_nanos(t.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(t.subsec_nanos())))
}

/// Reads CLOCK_MONOTONIC in microseconds, as systemd counts; no other clock of vipd is this one.
pub fn monotonic_micros() -> u64 {
    let t = read(libc::CLOCK_MONOTONIC, false);
    t.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(t.subsec_micros()))
}

/// The tick of the kernel's timers (1/HZ): the resolution of CLOCK_MONOTONIC_COARSE.
pub fn tick() -> Duration {
    read(libc::CLOCK_MONOTONIC_COARSE, true)
}

/// A calendar time in this machine's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Since 1900.
    pub year: i32,
    /// 0 to 11.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 6, from Sunday.
    pub weekday: i32,
    /// 0 to 23, 0 to 59, 0 to 60.
    pub time: (i32, i32, i32),
    /// East of UTC, in minutes.
    pub offset: i32,
}

/// Converts seconds since 1970 UTC to this machine's time zone (TZ, else /etc/localtime).
pub fn local(unix: u64) -> Local {
    // Of the type that localtime_r(3) takes, whose name the libc crate is about to change for musl.
    let t = unix.try_into().unwrap_or(0);
    // SAFETY: an all-zero tm is a valid value of that plain C structure; both pointers are to what lives
    // here. It reads the environment, which nothing in this program writes to.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const t, &raw mut tm);
        tm
    };
    Local {
        year: tm.tm_year,
        month: tm.tm_mon,
        day: tm.tm_mday,
        weekday: tm.tm_wday,
        time: (tm.tm_hour, tm.tm_min, tm.tm_sec),
        offset: i32::try_from(tm.tm_gmtoff / 60).unwrap_or(0),
    }
}

/// Time since 1970 UTC; zero if the clock shows an earlier one. Not by std, whose time ends in 2038 on 32-bit
/// processors with musl.
pub fn wall() -> Duration {
    read(libc::CLOCK_REALTIME, false)
}

/// Seconds since 1970 UTC.
pub fn unix() -> u64 {
    wall().as_secs()
}
