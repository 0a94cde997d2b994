//! A laboratory of network namespaces: a [`Lan`] is a switch and named nodes on it, in which real
//! daemons run ([`Vipd`], [`Keepalived`], [`Haproxy`]), and which is observed from outside by a
//! [`Watcher`] (who holds which address), a [`Capture`] (what is on the wire) and [`Client`]s
//! (what a user of the address notices). Nothing here knows vipd's insides.
//!
//! Everything happens in a mount, network and PID namespace of this program ([`isolate`]): whatever
//! becomes of it, nothing of it is left behind, and two runs do not see each other.
//!
//! No sleeping: every wait is for an event, has a deadline, and says what it waited for. A deadline, and any
//! other bound on a time, is what vipd may take and how late the machine was on top ([`bound`]).
//!
//! # A map of `tests/`
//! | where | cargo's name for it | what it is | how to run it |
//! |---|---|---|---|
//! | `net/` | test `net` | vipd in real namespaces, with keepalived and HAProxy | `cargo test --test net [NAME]` |
//! | `sim/` | test `sim` | nodes in virtual time, with everything that can go wrong | `cargo test --profile sim --test sim` |
//! | `house/` | test `house` | which room imports from which, how comments are written | `cargo test --test house` |
//! | `docs.rs` | test `docs` | manual, README and program say the same | `cargo test --test docs` |
//! | `wrong.rs` | test `wrong` | wrong configurations and what is said of them (`data/wrong`) | `cargo test --test wrong` |
//! | `captures.rs` | test `captures` | keepalived's packets (`data/captures`) | `cargo test --test captures` |
//! | `demo/` | example `demo` | a failover to watch | `make demo` |
//! | `bench/` | example `bench` | figures: failover, memory, load | `make bench` |
//! | `soak/` | example `soak` | what is too long for a test: kills, faults, adverts, leaks | `make soak` |
//! | `fuzz/` | a crate of its own | every decoder and the whole node under libFuzzer | `make fuzz` |
//! | `lab/` | none: a module of `net`, `demo`, `bench` and `soak` | this | |
//! | `chaos/` | none: a module of `net` and `soak` | rounds of many faults at once, and their judge | `cargo test --test net chaos` |
//!
//! `make test` runs all tests (`run.sh`). Demo, bench and soak are examples: the first two have nothing to
//! fail, the third takes two hours. They lie here because they share the lab. Each of these four programs is
//! a crate of its own, so the lab is compiled four times, and none of them uses all of it: hence
//! `allow(dead_code)`. To compile it once would take a crate of its own, and a workspace for that.

#![allow(dead_code, unused_imports)]

mod answers;
mod client;
mod daemons;
mod flood;
mod host;
mod isolate;
mod lan;
mod late;
mod load;
mod proc;
mod stall;
mod sys;
mod watcher;
mod wire;

pub use answers::{Answered, Prober};
pub use client::{Client, Report, Request};
pub use daemons::{
    Daemon, Haproxy, Keepalived, Kind, Occupant, Router, Vipd, haproxy_cfg, haproxy_path, haproxy_start_time,
    keepalived_path, vipd_path,
};
pub use flood::{Flood, Target, bad_frames};
pub use host::Host;
pub use isolate::{Isolation, isolate};
pub use lan::{Lan, Node, bury_later};
pub use late::{Jitter, bound, daemons_late, late, measure, rtnl_held, standstill, words as lateness};
pub use load::{Burn, Scheduling, Timers};
pub use proc::{Line, Log, Proc};
pub use stall::{Freezer, Group, Starvation};
pub use sys::{attach_filter, realtime as with_priority, vrrp_socket, without_nfnetlink};
pub use watcher::{Change, Watcher};
pub use wire::{Advert, Capture, Seen, What, advert, arp_request, checksum, tcp_syn, who_has};

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What went wrong, in words for whoever reads the test's output.
#[derive(Debug)]
pub struct Error(pub String);

/// Result of everything in the lab.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A program that is not installed.
    pub fn missing(program: &str) -> Error {
        Error(format!("{program} is not installed"))
    }

    /// Whether a program other than the one under test is not installed, for which no test can be blamed.
    pub fn is_about_missing(&self) -> bool {
        self.0.ends_with(" is not installed") && !self.0.contains("vipd")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Error(e.to_string())
    }
}

impl From<nix::Error> for Error {
    fn from(e: nix::Error) -> Self {
        Error(e.to_string())
    }
}

impl From<String> for Error {
    fn from(e: String) -> Self {
        Error(e)
    }
}

/// `Err` with a formatted message.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::lab::Error(format!($($arg)*))) };
}

/// `Err` with a formatted message unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $($arg:tt)*) => { if !$cond { $crate::fail!($($arg)*) } };
}

/// Milliseconds, because that is the unit of nearly everything here.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Seconds since the lab's first look at its clock: the time base of everything printed.
pub fn since_start(t: Instant) -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    t.saturating_duration_since(*START.get_or_init(Instant::now)).as_secs_f64()
}

/// A list of events that one thread appends to and others wait on.
pub(crate) struct Board<T> {
    inner: Mutex<Inner<T>>,
    news: Condvar,
}

struct Inner<T> {
    items: Vec<T>,
    broken: Option<String>,
}

impl<T> Board<T> {
    pub(crate) fn new() -> Self {
        Board { inner: Mutex::new(Inner { items: Vec::new(), broken: None }), news: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        self.lock().items.push(item);
        self.news.notify_all();
    }

    /// Appends what `f` returns, which runs while nobody else looks at the list.
    pub(crate) fn push_with(&self, f: impl FnOnce() -> Option<T>) {
        let mut inner = self.lock();
        inner.items.extend(f());
        drop(inner);
        self.news.notify_all();
    }

    pub(crate) fn extend(&self, more: impl IntoIterator<Item = T>) {
        self.lock().items.extend(more);
        self.news.notify_all();
    }

    /// The observer can no longer be believed: all waits fail from now on.
    pub(crate) fn broken(&self, why: String) {
        self.lock().broken.get_or_insert(why);
        self.news.notify_all();
    }

    /// Looks at what there is; panics if the observer broke, for then any answer could be wrong.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&[T]) -> R) -> R {
        let inner = self.lock();
        let broken = inner.broken.clone();
        let answer = f(&inner.items);
        drop(inner);
        if let Some(why) = broken {
            panic!("the observer failed: {why}");
        }
        answer
    }

    /// Waits until `f` finds what it looks for; beyond `timeout` for as long as the machine was late
    /// meanwhile.
    pub(crate) fn wait<R>(
        &self,
        timeout: Duration,
        what: impl FnOnce() -> String,
        mut f: impl FnMut(&[T]) -> Option<R>,
    ) -> Result<R> {
        let start = Instant::now();
        let mut deadline = start + timeout;
        let mut inner = self.lock();
        loop {
            if let Some(found) = f(&inner.items) {
                return Ok(found);
            }
            if let Some(why) = &inner.broken {
                fail!("{} (the observer failed: {why})", what());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(inner);
                // It came too late, perhaps, because the machine did.
                let until = start + timeout + late::patience(start, Instant::now()).min(secs(30));
                if until > deadline + ms(1) {
                    deadline = until;
                    inner = self.lock();
                    continue;
                }
                fail!("waited {:.1} s in vain for {}", timeout.as_secs_f64(), what());
            }
            inner = self.news.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
