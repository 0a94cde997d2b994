//! Which tests run side by side, in which order, and how long each took.
//!
//! Nearly all of them wait for timers nearly all of the time: two CPUs have enough for many at once
//! ([`PHASES`]). The longest begin first, so that none of them is left over when all others have ended.
//! `times.txt` beside this file has a line `SECONDS NAME` for each test, in that order; a run writes the same
//! list, as it found it, to `target/net-times.txt`. Copy that over this one when the order has changed:
//! nothing but the order depends on it.

use libtest_mimic::Trial;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const KNOWN: &str = include_str!("times.txt");

/// What the tests of this run took so far.
static TOOK: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

/// Tests that run side by side.
pub struct Phase {
    /// So many at a time.
    pub threads: usize,
    /// These, or tests whose names begin like that.
    names: &'static [&'static str],
}

/// One after the other. A test belongs to the first phase that names it.
pub const PHASES: [Phase; 4] = [
    // What uses a whole CPU or all of them, or is about a few milliseconds: whoever makes and removes
    // namespaces holds the lock of the kernel's network configuration, and so do the others' floods of
    // addresses.
    Phase {
        threads: 1,
        names: &[
            "realtime_with_adverts_each_10_ms",
            "realtime_carries_250_routers_each_10_ms",
            "reloads_under_load_lose_nothing",
            "stands_a_flood",
        ],
    },
    // A router with an advert each 100 ms beside an attack; many clients, none of which may be refused;
    // leases in nf_tables, whose every change waits for all CPUs and for namespaces that are being removed.
    Phase {
        threads: 6,
        names: &[
            "accept_no_",
            "attack_",
            "fence_",
            "kill_9_of_haproxy_refuses_nobody",
            "a_crash_amid_a_change_of_binds_swallows_nobody",
            "a_give_up_swallows_nobody",
            "an_adopted_haproxy_is_held_as_well",
            "crashes_leak_nothing",
            "holds_sockets_of_all_kinds",
            "reloads_lose_nothing",
            "upgrade_",
        ],
    },
    // Hundreds of addresses or interfaces that come and go: each change takes the lock of the kernel's
    // network configuration, and whoever renews a lease meanwhile waits for it. `steps_down` keeps all CPUs
    // for a second.
    Phase {
        threads: 4,
        names: &[
            "carries_250_routers",
            "kernel_link_that_flaps_does_not_fill_the_log",
            "kernel_lost_netlink_messages_are_made_up_for",
            "realtime_steps_down_when_busy",
            "status_of_many_routers_comes_in_pieces",
            "thousands_of_addresses_are_held",
            "v6_carries_254_addresses",
            "vmac_many",
            "watch_bears_a_slow_reader",
        ],
    },
    Phase { threads: 24, names: &[""] },
];

impl Phase {
    /// Whether that test is named.
    pub fn has(&self, test: &str) -> bool {
        self.names.iter().any(|name| test.starts_with(name))
    }
}

/// Sorts by the recorded times, the longest first; a test without one comes before all others.
pub fn longest_first(mut tests: Vec<Trial>) -> Vec<Trial> {
    let known: HashMap<&str, f64> = KNOWN
        .lines()
        .filter_map(|l| l.split_once(' '))
        .filter_map(|(t, n)| Some((n, t.parse().ok()?)))
        .collect();
    let time = |test: &Trial| known.get(test.name()).copied().unwrap_or(f64::MAX);
    tests.sort_by(|a, b| time(b).total_cmp(&time(a)));
    tests
}

/// Notes what a test took.
pub fn took(name: &'static str, time: Duration) {
    TOOK.lock().unwrap_or_else(PoisonError::into_inner).push((name, time));
}

/// Writes the times of this run. Not being able to is no reason to fail.
pub fn write() {
    let mut all = std::mem::take(&mut *TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    all.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let text: String = all.iter().map(|(name, time)| format!("{:.1} {name}\n", time.as_secs_f64())).collect();
    let _ = std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/net-times.txt"), text);
}
