//! The supervisor of HAProxy, pure: `(now, what happened) -> actions`.
//!
//! Started at once, known to be ready when its worker answers `show info` on the master socket of the very
//! process that was started, started again at once when it dies, with back-off when starts fail. A worker that is
//! stopped or blocked accepts connections and passes `kill -0`; only an answer counts: one that misses `check_fall`
//! answers is killed and started again. One that dies more than `crash_limit` times within `crash_window` serves,
//! but does not count as well before it has been ready for a window.

mod death;
mod listeners;
mod plain;
mod reload;
mod replace;
mod stop;

use super::listeners::Refusal;
use super::show_info::Info;
use crate::base::backoff::Backoff;
use crate::base::exit::Exit;
use crate::base::time::{Time, earlier};
use crate::config;
use death::STEADY;
use listeners::Listeners;
use plain::Plain;
use reload::{RELOAD_PAUSE, Reload};
use std::net::IpAddr;
use std::time::Duration;

/// Pause between two probes while HAProxy starts.
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// How long one probe may take while HAProxy starts: as long as the start has taken so far, within these. A
/// master of 3.1 and later takes questions before its worker can answer, and may forget them.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// An adopted HAProxy must answer within this, or it is replaced.
const ADOPTION_TIMEOUT: Duration = Duration::from_millis(200);
/// What comes with every failed start is told once in this time.
const UNBOUND_PAUSE: Duration = Duration::from_secs(300);
/// What the daemon is to do.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the process, without its master mode if `bare`; answered by `spawned` or `spawn_failed`.
    Spawn { bare: bool },
    /// Ask `show info`, the master or (`direct`) the process itself; answered by `answered` or `probe_failed`.
    Probe { direct: bool },
    /// Drop the question that is under way.
    CancelProbe,
    /// USR1 to the master: finish what is there, accept nothing new.
    SoftStop,
    /// TERM to the master.
    Terminate,
    /// KILL to the whole process group.
    Kill,
    /// Run `haproxy -c`; answered by `checked`.
    Check,
    /// The same with the next command line.
    CheckNext,
    /// The next command line is the one from now on.
    TakeNext,
    /// The same, and the process that runs is set aside until `RetireOrphan` or `Restore`.
    Replace,
    /// The process that was set aside goes on, with its command line.
    Restore,
    /// It takes too long: KILL.
    CancelCheck,
    /// USR2 to the master: a new worker with the new configuration, and not a connection lost.
    Reload,
    /// KILL what is left of one whose master died: a worker that hangs would go on taking connections.
    KillRemains,
    /// Stop the HAProxy of an earlier vipd that was not adopted: its successor is ready.
    RetireOrphan,
    /// Get duplicates of this worker's listening sockets; answered by `fetched`. A start hands on what is held.
    FetchListeners { worker: u32 },
    /// Close them, and stop fetching them.
    DropListeners,
}

/// What happened, for the log and the status.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process was started.
    Started { pid: u32 },
    /// A running one was taken over.
    Adopted { pid: u32 },
    /// It answers; after how long.
    Ready { pid: u32, worker: u32, version: String, after: Duration },
    /// It has no master process.
    Plain,
    /// It could not be executed.
    SpawnFailed { errno: i32, retry: Duration },
    /// It exited before it was ready.
    StartFailed { exit: Exit, retry: Duration },
    /// It is gone after it was killed.
    Killed { retry: Duration },
    /// It was not ready within `start_timeout` and is killed.
    StartTimeout,
    /// It died while it was ready.
    Died { exit: Exit },
    /// It does not answer any more and is killed.
    Hung { misses: u32 },
    /// It died too often.
    CrashLoop { deaths: usize, window: Duration },
    /// It has been ready for a whole `crash_window`.
    Steady,
    /// A reload was asked for: its configuration is checked.
    Checking,
    /// No reload: it is not ready, or one is under way.
    ReloadBusy,
    /// No reload: it has no master process that could.
    ReloadPlain,
    /// No reload: `haproxy -c` did not accept the configuration, or took too long (`None`). The old one goes on.
    ReloadRefused { exit: Option<Exit> },
    /// A new worker answers.
    Reloaded { worker: u32, after: Duration },
    /// None did within the time allowed.
    ReloadFailed,
    /// So many listening sockets are held over a crash.
    ListenersHeld { count: usize },
    /// They cannot be held.
    ListenersNotHeld { why: Refusal },
    /// It cannot bind to a VIP that this node does not hold.
    Unbound { vip: IpAddr },
    /// The soft stop began.
    Stopping,
    /// It is gone, as asked.
    Stopped { exit: Exit, after: Duration },
    /// It outlived the soft stop.
    StopForced { kill: bool },
}

/// Whether the service can be had here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Ready.
    Well,
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
    /// A process runs and has not answered yet.
    Starting { pid: u32, since: Time, probe: Probe, killed: bool },
    /// It answers.
    Ready { pid: u32, worker: u32, since: Time, probe: Probe, misses: u32 },
    /// Asked to stop.
    Stopping { pid: u32, since: Time, term_at: Time, kill_at: Time },
    /// Stopped for good.
    Stopped,
}

/// The question that is asked while HAProxy starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Asked again at this time.
    At(Time),
    /// Under way until this time.
    Soliciting(Time),
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
    /// When it died while ready, until it is ready again or a start fails.
    died_at: Option<Time>,
    /// The start under way is an adoption.
    adopting: bool,
    orphan: bool,
    /// Something may be left of one that died.
    remains: bool,
    reload: Option<Reload>,
    /// The configuration whose command line is being checked.
    next: Option<config::Haproxy>,
    /// The HAProxy that runs while another one is started in its place.
    replaced: Option<replace::Replaced>,
    listeners: Listeners,
    plain: Plain,
    /// When an address that cannot be bound to was told.
    unbound_told: Option<Time>,
    /// The node leaves: nothing is started any more.
    leaving: bool,
    been_ready: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// The last exit.
    pub last_exit: Option<Exit>,
    /// The version it reported.
    pub version: String,
}

impl Supervisor {
    /// Nothing runs yet; the first `tick` starts it.
    pub fn new(cfg: config::Haproxy, now: Time) -> Self {
        Supervisor {
            // All of it now: memory does not grow with what goes wrong.
            deaths: Vec::with_capacity(cfg.crash_limit as usize + 1),
            cfg,
            state: State::Down { retry_at: now },
            failures: Backoff::default(),
            crash_loop: false,
            died_at: None,
            adopting: false,
            orphan: false,
            remains: false,
            reload: None,
            next: None,
            replaced: None,
            listeners: Listeners::new(now),
            plain: Plain::default(),
            unbound_told: None,
            leaving: false,
            been_ready: false,
            restarts: 0,
            last_exit: None,
            version: String::new(),
        }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// `binary`
    pub fn binary(&self) -> &std::path::Path {
        &self.cfg.binary
    }

    /// `stop_timeout`
    pub fn stop_timeout(&self) -> Duration {
        self.cfg.stop_timeout
    }

    /// Before the first tick: a HAProxy of an earlier vipd runs with our command line.
    pub fn adopt(&mut self, pid: u32, now: Time, out: &mut Vec<Event>) {
        self.adopting = true;
        self.state = State::Starting { pid, since: now, probe: Probe::At(now), killed: false };
        out.push(Event::Adopted { pid });
    }

    /// Before the first tick: one runs with another command line; it is stopped when ours is ready.
    pub fn found_orphan(&mut self) {
        self.orphan = true;
    }

    /// Whether the service can be had.
    pub fn health(&self, now: Time) -> Health {
        match (&self.state, self.died_at) {
            _ if self.crash_loop => Health::Unwell,
            _ if self.replaced.is_some() => Health::Well,
            (State::Ready { .. }, _) => Health::Well,
            (State::Down { .. } | State::Starting { .. }, Some(died)) => {
                let until = died + self.cfg.restart_grace;
                if now < until { Health::Recovering { until } } else { Health::Unwell }
            }
            _ => Health::Unwell,
        }
    }

    /// Whether an adoption may still succeed.
    pub fn is_adopting(&self) -> bool {
        self.adopting && matches!(self.state, State::Starting { killed: false, .. })
    }

    /// Whether it has neither been ready nor failed yet.
    pub fn is_first_start(&self) -> bool {
        self.version.is_empty()
            && self.failures.failures() == 0
            && matches!(self.state, State::Down { .. } | State::Starting { killed: false, .. })
    }

    /// When `tick` is due, the end of `restart_grace` included.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let own = match &self.state {
            State::Down { retry_at } => Some(if self.leaving { now } else { *retry_at }),
            State::Starting { since, probe, killed, .. } => {
                let (Probe::At(t) | Probe::Soliciting(t)) = *probe;
                if *killed { None } else { Some(t.min(*since + self.start_limit())) }
            }
            State::Ready { since, probe: Probe::At(t) | Probe::Soliciting(t), .. } => {
                earlier(Some(*t), self.crash_loop.then(|| *since + self.cfg.crash_window))
            }
            State::Stopped => None,
            State::Stopping { term_at, kill_at, .. } => Some((*term_at).min(*kill_at)),
        };
        let own = earlier(own, self.reload.map(Reload::until));
        let own = earlier(own, self.listeners_deadline(now));
        match self.health(now) {
            Health::Recovering { until } => earlier(own, Some(until)),
            _ => own,
        }
    }

    fn start_limit(&self) -> Duration {
        if self.adopting { ADOPTION_TIMEOUT } else { self.cfg.start_timeout }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        if let Some(r) = self.reload.take_if(|r| now >= r.until()) {
            match r {
                Reload::Checking { .. } => {
                    self.next = None;
                    out.push(Action::CancelCheck);
                    events.push(Event::ReloadRefused { exit: None });
                }
                Reload::Waiting { .. } => events.push(Event::ReloadFailed),
            }
        }
        let limit = self.start_limit();
        match &mut self.state {
            State::Down { .. } if self.leaving => self.state = State::Stopped,
            State::Down { retry_at } if now >= *retry_at => out.push(Action::Spawn { bare: self.plain.bare }),
            State::Starting { since, killed: killed @ false, .. } if now >= *since + limit => {
                *killed = true;
                events.push(Event::StartTimeout);
                out.extend([Action::CancelProbe, Action::Kill]);
            }
            State::Starting { since, probe, killed: false, .. } => match *probe {
                Probe::At(t) if now >= t => {
                    let limit = match self.adopting {
                        true => PROBE_TIMEOUT,
                        false => now.since(*since).clamp(PROBE_TIMEOUT_MIN, PROBE_TIMEOUT),
                    };
                    *probe = Probe::Soliciting(now + limit);
                    let age = now.since(*since);
                    out.push(Action::Probe { direct: self.plain.ask_directly(age, self.adopting) });
                }
                Probe::Soliciting(t) if now >= t => {
                    *probe = Probe::At(now + PROBE_PAUSE);
                    out.push(Action::CancelProbe);
                }
                _ => {}
            },
            State::Ready { since, .. } if self.crash_loop && now >= *since + self.cfg.crash_window => {
                self.crash_loop = false;
                self.deaths.clear();
                events.push(Event::Steady);
            }
            State::Ready { probe, .. } => match *probe {
                Probe::At(t) if now >= t => {
                    *probe = Probe::Soliciting(now + self.cfg.check_timeout);
                    out.push(Action::Probe { direct: self.plain.plain });
                }
                Probe::Soliciting(t) if now >= t => {
                    out.push(Action::CancelProbe);
                    self.missed(now, out, events);
                }
                _ => {}
            },
            State::Stopping { term_at, kill_at, .. } if now >= *kill_at => {
                *kill_at = now + Duration::from_secs(1);
                *term_at = *kill_at;
                events.push(Event::StopForced { kill: true });
                out.push(Action::Kill);
            }
            State::Stopping { term_at, kill_at, .. } if now >= *term_at => {
                *term_at = *kill_at;
                events.push(Event::StopForced { kill: false });
                out.push(Action::Terminate);
            }
            _ => {}
        }
    }

    /// The process runs.
    pub fn spawned(&mut self, pid: u32, now: Time, events: &mut Vec<Event>) {
        self.adopting = false;
        self.plain.started();
        self.state = State::Starting { pid, since: now, probe: Probe::At(now + PROBE_PAUSE), killed: false };
        events.push(Event::Started { pid });
    }

    /// The process could not be started.
    pub fn spawn_failed(&mut self, errno: i32, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        if self.restore(None, now, out, events) {
            return;
        }
        let retry = self.back_off(now);
        events.push(Event::SpawnFailed { errno, retry });
    }

    /// No answer to the question.
    pub fn probe_failed(&mut self, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        match &mut self.state {
            State::Starting { probe: probe @ Probe::Soliciting(_), .. } => {
                *probe = Probe::At(now + PROBE_PAUSE)
            }
            State::Ready { probe: Probe::Soliciting(_), .. } => self.missed(now, out, events),
            _ => {}
        }
    }

    /// The question could not be asked, for want of a descriptor: that tells nothing of HAProxy.
    pub fn cannot_ask(&mut self, now: Time) {
        let next = self.next_check(now);
        match &mut self.state {
            State::Starting { probe, .. } => *probe = Probe::At(now + PROBE_PAUSE),
            State::Ready { probe, .. } => *probe = next,
            _ => {}
        }
    }

    /// One `check_interval` after the question was asked, however long the answer took.
    fn next_check(&self, now: Time) -> Probe {
        let asked = match self.state {
            State::Ready { probe: Probe::Soliciting(until), .. } => until - self.cfg.check_timeout,
            _ => now,
        };
        let pause = match self.reload {
            Some(Reload::Waiting { .. }) => RELOAD_PAUSE,
            _ => self.cfg.check_interval,
        };
        Probe::At((asked + pause).max(now))
    }

    /// A ready HAProxy did not answer. The service is given up before the process is killed: its health is bad
    /// from here on, and the node acts on that first.
    fn missed(&mut self, now: Time, out: &mut Vec<Action>, events: &mut Vec<Event>) {
        let next = self.next_check(now);
        let State::Ready { pid, since, probe, misses, .. } = &mut self.state else { return };
        *probe = next;
        if let Some(Reload::Waiting { .. }) = self.reload {
            return; // nobody answers while workers change; that has a deadline of its own
        }
        *misses += 1;
        if *misses < self.cfg.check_fall {
            return;
        }
        events.push(Event::Hung { misses: *misses });
        out.push(Action::Kill);
        let (pid, since) = (*pid, *since);
        if now.since(since) >= STEADY {
            self.failures.clear();
        }
        self.restarts += 1;
        self.died_at = None; // no grace for one that hangs
        self.state = State::Starting { pid, since, probe: Probe::At(now), killed: true };
    }

    /// An answer, from the master process `pid`.
    pub fn answered(
        &mut self,
        pid: u32,
        info: Info,
        now: Time,
        out: &mut Vec<Action>,
        events: &mut Vec<Event>,
    ) {
        let next = self.next_check(now);
        if let State::Ready { pid: ours, worker, probe, misses, .. } = &mut self.state
            && *ours == pid
        {
            if std::mem::take(&mut self.remains) {
                out.push(Action::KillRemains); // what is well has gone by itself by now
            }
            // Another worker, if somebody else has reloaded it.
            (*worker, *probe, *misses) = (info.pid, next, 0);
            if let Some(Reload::Waiting { old, since }) = self.reload
                && old != info.pid
            {
                self.reload = None;
                *probe = Probe::At(now + self.cfg.check_interval);
                events.push(Event::Reloaded { worker: info.pid, after: now.since(since) });
            }
            return;
        }
        let State::Starting { pid: ours, since, killed: false, .. } = self.state else { return };
        if pid != ours {
            return self.probe_failed(now, out, events); // the socket of an earlier HAProxy
        }
        self.state = State::Ready { pid, worker: info.pid, since: now, probe: next, misses: 0 };
        self.died_at = None;
        self.adopting = false;
        self.been_ready = true;
        self.version.clone_from(&info.version);
        events.push(Event::Ready { pid, worker: info.pid, version: info.version, after: now.since(since) });
        if self.plain.answered(pid == info.pid) {
            events.push(Event::Plain);
        }
        if std::mem::take(&mut self.orphan) | self.replaced.take().is_some() {
            out.push(Action::RetireOrphan);
        }
    }

    /// It said that it cannot bind to one of our VIPs.
    pub fn unbound(&mut self, vip: IpAddr, now: Time, events: &mut Vec<Event>) {
        if self.unbound_told.is_none_or(|t| now.since(t) >= UNBOUND_PAUSE) {
            self.unbound_told = Some(now);
            events.push(Event::Unbound { vip });
        }
    }
}
