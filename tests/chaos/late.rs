//! How late the machine made a node: what vipd cannot be blamed for.

use super::act::{Field, lock};
use crate::lab::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Less is not noted.
const NOTED: Duration = ms(2);

/// A thread that only sleeps, at the priority of this program; the time that each vipd waited for a CPU while it had
/// something to do; and the time for which others held the kernel's lock of all changes of addresses (rtnl), for
/// which no priority helps.
pub struct Late {
    sleeper: Jitter,
    rtnl: Timers,
    waits: [Waits; 3],
    stop: Arc<AtomicBool>,
}

/// From, to, and how long of it the process waited.
type Waits = Arc<Mutex<Vec<(Instant, Instant, Duration)>>>;

/// The process's time in a run queue so far.
fn waited(pid: i32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

impl Late {
    /// Begins to measure.
    pub fn start(field: &Arc<Field>) -> Result<Late> {
        let rtnl = Timers::start_rtnl(&field.lan.node("client"), 1, ms(10))?;
        let (waits, stop): ([Waits; 3], _) = (Default::default(), Arc::new(AtomicBool::new(false)));
        std::thread::spawn({
            let (field, waits, stop) = (field.clone(), waits.clone(), stop.clone());
            move || {
                let mut before = [(0, Instant::now(), Duration::ZERO); 3];
                while !stop.load(Ordering::Relaxed) {
                    for ((site, before), waits) in field.sites.iter().zip(&mut before).zip(&waits) {
                        let now = Instant::now();
                        let Some((pid, total)) = site.pid().and_then(|pid| Some((pid, waited(pid)?))) else {
                            continue;
                        };
                        let more = total.saturating_sub(before.2);
                        if before.0 == pid && more > NOTED {
                            lock(waits).push((before.1, now, more));
                        }
                        *before = (pid, now, total);
                    }
                    std::thread::sleep(ms(5));
                }
            }
        });
        Ok(Late { sleeper: Jitter::start(), rtnl, waits, stop })
    }

    /// By how much anything on any of these nodes may have been late between two moments.
    pub fn by(&self, nodes: &[usize], from: Instant, to: Instant) -> Duration {
        let near = |a: Instant, b: Instant| a <= to && b >= from;
        let waited = nodes.iter().filter_map(|n| self.waits.get(*n)).map(|waits| -> Duration {
            lock(waits).iter().filter(|(a, b, _)| near(*a, *b)).map(|(_, _, d)| *d).sum()
        });
        let rtnl: Duration =
            self.rtnl.late().iter().filter(|(a, b)| near(*a, *b)).map(|(a, b)| *b - *a).sum();
        self.sleeper.worst(from, to).max(waited.max().unwrap_or_default()) + rtnl
    }

    /// The worst of each, in words.
    pub fn words(&self, from: Instant, to: Instant) -> String {
        let waited = self.waits.iter().flat_map(|w| lock(w).iter().map(|(_, _, d)| *d).collect::<Vec<_>>());
        let rtnl = self.rtnl.late().iter().map(|(a, b)| *b - *a).max().unwrap_or_default();
        format!(
            "at the most: a sleeping thread was late by {:.1} ms, a vipd waited for a CPU for {:.1} ms, rtnl was held for {:.1} ms",
            super::millis(self.sleeper.worst(from, to)),
            super::millis(waited.max().unwrap_or_default()),
            super::millis(rtnl)
        )
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
