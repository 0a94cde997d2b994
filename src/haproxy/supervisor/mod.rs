//! The supervisor of HAProxy, pure: `step(now, input)`, then `next_action` and `next_event` until they are
//! empty.
//!
//! HAProxy is started at once. It is ready when its worker answers `show info` on the master socket of the
//! very process that was started. It is started again at once when it dies, with back-off when starts fail. A
//! worker that is stopped or blocked accepts connections and passes `kill -0`; only an answer counts: one
//! that misses `check_fall` answers is killed and started again. One that dies more than `crash_limit` times
//! within `crash_window` serves, but other nodes are preferred until it has been ready for a window.

mod copy;
mod death;
mod listeners;
mod messages;
mod plain;
mod reload;
mod replace;
mod retire;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod watch;

pub use messages::{Action, Event, Input};

use crate::base::backoff::Backoff;
use crate::base::exit::Exit;
use crate::base::time::{Time, earlier};
use crate::config;
use copy::Copy;
use listeners::Listeners;
use messages::Outbox;
use plain::Plain;
use reload::Reload;
use std::net::IpAddr;
use std::time::Duration;
use watch::Watch;

/// An address that HAProxy cannot bind to is reported once in this time: it comes with every failed start.
const UNBOUND_PAUSE: Duration = Duration::from_secs(300);
/// `restart_grace = auto`: so many times what a start takes, within these. The longest is
/// what a move takes at an interval of 1 s: the skew time, and learning where the address is now.
const GRACE_FACTOR: u32 = 4;
const GRACE_MIN: Duration = Duration::from_millis(500);
const GRACE_MAX: Duration = Duration::from_millis(1250);
/// The same before a start was measured, after an adoption.
const GRACE_UNKNOWN: Duration = Duration::from_secs(1);

/// Whether the service is available here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Ready.
    Well,
    /// Ready, but it died too often or has an old configuration: another node is preferred.
    Shaky,
    /// It died and is being started again; a master waits until then.
    Recovering {
        /// End of `restart_grace`.
        until: Time,
    },
    /// Not ready.
    Unwell,
}

/// Where the supervisor stands.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// No process; the next start.
    Down { retry_at: Time },
    /// A process runs and has not answered yet. `adopted`: an earlier vipd started it.
    Starting { pid: u32, since: Time, probe: Probe, adopted: bool },
    /// It answers.
    Ready { pid: u32, worker: u32, since: Time, probe: Probe },
    /// It did not answer, or was not wanted any more, and was killed; its exit is awaited.
    Killed { pid: u32, since: Time },
    /// Asked to stop.
    Stopping { pid: u32, since: Time, term_at: Time, kill_at: Time },
    /// Stopped for good.
    Stopped,
}

/// The question whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Asked again at this time.
    At(Time),
    /// Under way until this time.
    Asked(Time),
}

/// The supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor {
    cfg: config::Haproxy,
    state: State,
    /// Failed starts in a row.
    failures: Backoff,
    /// The last deaths while it was ready, at most `crash_limit` + 1.
    deaths: Vec<Time>,
    /// It died too often, and has not been well for a window since.
    crash_loop: bool,
    /// It died too often again since: each death is followed by a pause.
    pauses: bool,
    /// When it died while ready, until it is ready again or a start fails.
    died_at: Option<Time>,
    /// Those of an earlier vipd that run and were not adopted.
    orphans: Vec<u32>,
    /// Those that were told to end.
    retiring: Vec<retire::Retiring>,
    /// Something may be left of one that died.
    remains: bool,
    reload: Option<Reload>,
    /// Another one was asked for meanwhile.
    reload_again: bool,
    /// Why HAProxy does not take the new configuration, in its own words.
    reason: Option<String>,
    /// The HAProxy that runs while another one is started in its place.
    replaced: Option<replace::Replaced>,
    listeners: Listeners,
    plain: Plain,
    copy: Copy,
    watch: Watch,
    /// Starts in a row that took too long, and the longest of the last ones that did not.
    timeouts: u32,
    start_took: Option<Duration>,
    /// When an address that cannot be bound to was reported.
    unbound_told: Option<Time>,
    /// The node leaves: nothing is started any more.
    leaving: bool,
    out: Outbox,
    /// How often it was started again.
    pub restarts: u64,
    /// The last exit.
    pub last_exit: Option<Exit>,
    /// The version it reported.
    pub version: String,
}

impl Supervisor {
    /// Nothing runs yet; the first `Tick` starts it.
    pub fn new(cfg: config::Haproxy, now: Time) -> Self {
        Supervisor {
            // All of it now: memory does not grow with what goes wrong.
            deaths: Vec::with_capacity(cfg.crash_limit as usize + 1),
            cfg,
            state: State::Down { retry_at: now },
            failures: Backoff::default(),
            crash_loop: false,
            pauses: false,
            died_at: None,
            orphans: Vec::new(),
            retiring: Vec::new(),
            remains: false,
            reload: None,
            reload_again: false,
            reason: None,
            replaced: None,
            listeners: Listeners::new(now),
            plain: Plain::default(),
            copy: Copy::default(),
            watch: Watch::new(now),
            timeouts: 0,
            start_took: None,
            unbound_told: None,
            leaving: false,
            out: Outbox::default(),
            restarts: 0,
            last_exit: None,
            version: String::new(),
        }
    }

    /// Something happened. What is to be done and told follows from `next_action` and `next_event`.
    pub fn step(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => self.tick(now),
            Input::Adopted { pid, copy } => self.adopt(pid, copy, now),
            Input::OrphanFound { pid } => self.orphans.push(pid),
            Input::Finishing { pid } => self.finishing(pid),
            Input::Spawned { pid } => self.spawned(pid, now),
            Input::SpawnFailed { errno } => self.spawn_failed(errno, now),
            Input::NoListener => self.no_listener(now),
            Input::Unusable { reason } => drop(self.unusable(&reason, now)),
            Input::NoCopy => self.no_copy(),
            Input::Answered { pid, info } => self.answered(pid, info, now),
            Input::ProbeFailed => self.probe_failed(now),
            Input::CannotAsk => self.cannot_ask(now),
            Input::Exited { pid, exit } => self.exited(pid, exit, now),
            Input::Checked { exit } => self.checked(exit, now),
            Input::Fetched(result) => self.fetched(result, now),
            Input::Unbound { vip } => self.unbound(vip, now),
            Input::Complained { text } => self.complained(&text),
            Input::LoadFailed => self.load_failed(now),
            Input::UsagePrinted { pid } => self.usage_printed(pid),
            Input::Reload => self.start_reload(now),
            Input::Reconfigure { cfg, files } => self.reconfigure(&cfg, files, now),
            Input::Leave => self.leaving = true,
            Input::Stop { end } => self.stop(now, end),
            Input::Hurry => self.hurry(now),
        }
        self.keep_listeners(now);
    }

    /// `DropListeners`, if that comes next. It comes before everything else, and before the VIPs are let go:
    /// clients that wait on a held socket can be told so only as long as the address is there.
    pub fn first_action(&mut self) -> Option<Action> {
        self.out.first()
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.out.next_action()
    }

    /// What happened next.
    pub fn next_event(&mut self) -> Option<Event> {
        self.out.next_event()
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The configuration it runs with.
    pub fn cfg(&self) -> &config::Haproxy {
        &self.cfg
    }

    /// `binary`
    pub fn binary(&self) -> &std::path::Path {
        &self.cfg.binary
    }

    /// `stop_timeout`
    pub fn stop_timeout(&self) -> Duration {
        self.cfg.stop_timeout
    }

    /// Whether the service is available.
    pub fn health(&self, now: Time) -> Health {
        match (&self.state, self.died_at) {
            _ if self.is_serving() => {
                if self.is_last_choice() {
                    Health::Shaky
                } else {
                    Health::Well
                }
            }
            (State::Down { .. } | State::Starting { .. } | State::Killed { .. }, Some(died)) => {
                let until = died + self.grace();
                if now < until { Health::Recovering { until } } else { Health::Unwell }
            }
            _ => Health::Unwell,
        }
    }

    /// Whether a HAProxy is ready, even if its successor is being started.
    fn is_serving(&self) -> bool {
        self.replaced.is_some() || matches!(self.state, State::Ready { .. })
    }

    /// `restart_grace`; if that is `auto`, four times what a start takes here, but no longer than a move
    /// costs: the skew time, and learning where the address is now.
    fn grace(&self) -> Duration {
        let measured = self.start_took.map(|took| (took * GRACE_FACTOR).clamp(GRACE_MIN, GRACE_MAX));
        self.cfg.restart_grace.or(measured).unwrap_or(GRACE_UNKNOWN)
    }

    /// Questions in a row that were not answered.
    pub fn misses(&self) -> u32 {
        self.watch.misses()
    }

    /// Whether an adoption may still succeed.
    pub fn is_adopting(&self) -> bool {
        matches!(self.state, State::Starting { adopted: true, .. })
    }

    /// Whether it has neither been ready nor failed yet.
    pub fn is_first_start(&self) -> bool {
        self.version.is_empty()
            && self.failures.failures() == 0
            && matches!(self.state, State::Down { .. } | State::Starting { .. })
    }

    /// Whether it is stopped for good, or about to.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether it is stopped for good, and every other process of ours has ended.
    pub fn is_stopped(&self) -> bool {
        self.state == State::Stopped && self.orphans.is_empty() && self.retiring.is_empty()
    }

    /// Right before a start: it may have been called off since it was decided.
    pub fn may_spawn(&self) -> bool {
        matches!(self.state, State::Down { .. }) && !self.leaving
    }

    /// When `Tick` is due, the end of `restart_grace` included.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let own = match &self.state {
            State::Down { retry_at } => Some(if self.leaving { now } else { *retry_at }),
            State::Starting { since, probe: Probe::At(t) | Probe::Asked(t), .. } => {
                Some((*t).min(*since + self.start_limit()))
            }
            State::Ready { since, probe: Probe::At(t) | Probe::Asked(t), .. } => {
                earlier(Some(*t), self.crash_loop.then(|| *since + self.cfg.crash_window))
            }
            State::Killed { .. } | State::Stopped => None,
            State::Stopping { term_at, kill_at, .. } => Some((*term_at).min(*kill_at)),
        };
        let own = earlier(own, self.reload.as_ref().map(Reload::until));
        let own = earlier(earlier(own, self.listeners_deadline(now)), self.retiring_deadline());
        let own = earlier(own, self.may_reload_again().then_some(now));
        match self.health(now) {
            Health::Recovering { until } => earlier(own, Some(until)),
            _ => own,
        }
    }

    fn tick(&mut self, now: Time) {
        self.tick_reload(now);
        self.tick_retiring(now);
        match self.state {
            State::Down { .. } if self.leaving => self.state = State::Stopped,
            State::Down { retry_at } if now >= retry_at => {
                self.spawn();
            }
            State::Starting { .. } => self.tick_starting(now),
            State::Ready { .. } => self.tick_ready(now),
            State::Stopping { .. } => self.tick_stopping(now),
            _ => {}
        }
    }

    /// The process that is supervised.
    fn pid(&self) -> Option<u32> {
        match self.state {
            State::Starting { pid, .. }
            | State::Ready { pid, .. }
            | State::Killed { pid, .. }
            | State::Stopping { pid, .. } => Some(pid),
            State::Down { .. } | State::Stopped => None,
        }
    }

    /// A request to reload that was remembered can be carried out.
    fn may_reload_again(&self) -> bool {
        self.reload_again && !self.is_reloading() && matches!(self.state, State::Ready { .. })
    }

    fn unbound(&mut self, vip: IpAddr, now: Time) {
        if self.unbound_told.is_none_or(|t| now.since(t) >= UNBOUND_PAUSE) {
            self.unbound_told = Some(now);
            self.out.emit(Event::Unbound { vip });
        }
    }
}
