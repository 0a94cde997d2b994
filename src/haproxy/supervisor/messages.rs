//! What goes into the supervisor, and what comes out of it.

use super::super::listeners::Refusal;
use super::super::show_info::Info;
use crate::base::exit::Exit;
use crate::base::time::Time;
use crate::config;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// What happened.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Before the first tick: a HAProxy of an earlier vipd runs with our command line; `copy`: with the last
    /// good copy of its configuration.
    Adopted { pid: u32, copy: bool },
    /// Before the first tick: another one of an earlier vipd runs. It is stopped when ours is ready.
    OrphanFound { pid: u32 },
    /// Before the first tick: one runs that was told to finish before an upgrade.
    Finishing { pid: u32 },
    /// The process runs.
    Spawned { pid: u32 },
    /// The process could not be started.
    SpawnFailed { errno: i32 },
    /// Nothing was started, or checked: the configuration has no listener, so nothing would be served.
    NoListener,
    /// The configuration was checked, but somebody else has an address of it, or the like.
    Unusable { reason: String },
    /// Nothing was started: there is no copy.
    NoCopy,
    /// An answer. `pid`: the master that was asked, or who answered if that was asked directly.
    Answered { pid: u32, info: Info },
    /// No answer to the question.
    ProbeFailed,
    /// The question could not be asked, for want of a descriptor: that tells nothing of HAProxy.
    CannotAsk,
    /// A process ended, ours or another one.
    Exited { pid: u32, exit: Exit },
    /// `haproxy -c` has ended.
    Checked { exit: Exit },
    /// A fetch of listening sockets came to its end: so many sockets, or why not.
    Fetched(Result<usize, Refusal>),
    /// HAProxy said that it cannot bind to one of our VIPs.
    Unbound { vip: IpAddr },
    /// HAProxy, or a check of its configuration, complains.
    Complained { text: String },
    /// HAProxy says that it could not load a new configuration.
    LoadFailed,
    /// HAProxy printed its usage: it does not know an option.
    UsagePrinted { pid: u32 },
    /// A reload is asked for.
    Reload,
    /// Another configuration. `files`: HAProxy's own files have changed.
    Reconfigure { cfg: Box<config::Haproxy>, files: bool },
    /// The node leaves: what dies from now on is not started again.
    Leave,
    /// Soft stop, to be over at `end` at the latest. Nothing is started any more.
    Stop { end: Time },
    /// Asked twice to stop: no more patience.
    Hurry,
}

/// What the daemon is to do.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the process, without its master mode if `bare`, with the last good copy of its configuration if
    /// `copy`; answered by `Spawned` or `SpawnFailed`.
    Spawn { bare: bool, copy: bool },
    /// It runs with the copy: if its files have changed, `Reload` follows.
    LookAtFiles,
    /// Ask `show info`, the master or (`direct`) the process itself; answered by `Answered` or `ProbeFailed`.
    Probe { direct: bool },
    /// Drop the question that is under way.
    CancelProbe,
    /// USR1 to the master: finish what is there, accept nothing new.
    SoftStop { pid: u32 },
    /// TERM to the master.
    Terminate { pid: u32 },
    /// KILL to the whole process group.
    Kill { pid: u32 },
    /// Run `haproxy -c`; answered by `Checked`.
    Check,
    /// The same with the next command line.
    CheckNext,
    /// The next command line is the one from now on.
    TakeNext,
    /// The same, but `Restore` may follow.
    Replace,
    /// The process that ran before `Replace` goes on, with its command line.
    Restore,
    /// It takes too long: KILL.
    CancelCheck,
    /// USR2 to the master: a new worker with the new configuration, and not a connection lost.
    Reload { pid: u32 },
    /// HAProxy has read the files that were checked.
    FilesTaken { pid: u32 },
    /// KILL what is left of one whose master died: a worker that hangs would go on taking connections.
    KillRemains,
    /// Get duplicates of this worker's listening sockets; answered by `Fetched`. A start hands on what is
    /// held.
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
    /// It runs with the last good copy of its configuration.
    Copy,
    /// It has no master process.
    Plain,
    /// It could not be executed.
    SpawnFailed { errno: i32, retry: Duration },
    /// Its configuration has no listener: it is not started.
    NoListener { retry: Duration },
    /// It exited before it was ready.
    StartFailed { exit: Exit, retry: Duration },
    /// It is gone after it was killed.
    Killed { retry: Duration },
    /// It was not ready within `limit` and is killed; the next start gets `next`.
    StartTimeout { limit: Duration, next: Duration },
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
    /// No reload: it is not ready.
    ReloadBusy,
    /// A reload was asked for that follows the one, or the start, that is under way.
    ReloadLater,
    /// No reload: it has no master process that could.
    ReloadPlain,
    /// No reload: `haproxy -c` did not accept the configuration, or took too long (`None`). The old one goes
    /// on.
    ReloadRefused { exit: Option<Exit>, reason: Option<String> },
    /// A new worker answers.
    Reloaded { worker: u32, after: Duration },
    /// None did within the time allowed, or HAProxy says that none will.
    ReloadFailed { reason: Option<String> },
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

/// What is to be done and to be told, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// The held listening sockets are closed before anything else is done: clients that wait on one can be
    /// told so only as long as the VIP is there, and HAProxy's own listening must not end first.
    drop_listeners: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Outbox {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::DropListeners => self.drop_listeners = true,
            _ => self.actions.push_back(action),
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// `DropListeners`, if that is to be done.
    pub(super) fn first(&mut self) -> Option<Action> {
        std::mem::take(&mut self.drop_listeners).then_some(Action::DropListeners)
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.first().or_else(|| self.actions.pop_front())
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
