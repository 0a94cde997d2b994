//! In which order the tests run, and how long each took.
//!
//! The longest begin first, so that none of them is left over when all others have ended. `times.txt` beside this file
//! has a line `SECONDS NAME` for each test, in that order; a run writes the same list, as it found it, to
//! `target/net-times.txt`. Copy that over this one when the order has changed: nothing but the order depends on it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const KNOWN: &str = include_str!("times.txt");

/// What the tests of this run took so far.
static TOOK: Mutex<Vec<(&str, Duration)>> = Mutex::new(Vec::new());

/// Sorts by the recorded times, the longest first; a test without one comes before all others.
pub fn longest_first<T>(tests: &mut [T], name: impl Fn(&T) -> &str) {
    let known: HashMap<&str, f64> =
        KNOWN.lines().filter_map(|l| l.split_once(' ')).filter_map(|(t, n)| Some((n, t.parse().ok()?))).collect();
    let time = |test: &T| known.get(name(test)).copied().unwrap_or(f64::MAX);
    tests.sort_by(|a, b| time(b).total_cmp(&time(a)));
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
