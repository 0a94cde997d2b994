//! HAProxy's processes: the supervisor's actions are carried out here, by system calls.

use super::binds;
use super::copy;
use super::files;
use super::listeners::Listeners;
use super::output::Output;
use super::probe::{Answer, Prober, Whom};
use super::processes::{Ours, Processes, is_in_our_namespaces};
use crate::base::exit::Exit;
use crate::base::log;
use crate::base::throttle::Once;
use crate::base::time::Time;
use crate::config;
use crate::daemon::poll::{self, PollSet};
use crate::haproxy::command::{Command, fingerprint};
use crate::haproxy::listeners::Refusal;
use crate::haproxy::show_info::Info;
use crate::haproxy::supervisor::{Action, Input};
use crate::report::words;
use crate::sys::process;
use crate::sys::runtime;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What one of the descriptors is. Each names an attempt by a number that no other one has, so that what was
/// ready for one is never read from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The answer to this question.
    Probe(u64),
    /// The end of the adopted HAProxy with this pid.
    Pidfd(u32),
    /// This attempt to fetch the listening sockets, or to hand them on.
    Listeners(u64),
    /// Output of this process.
    Pipe(u64),
}

/// HAProxy as the daemon sees it.
#[derive(Debug)]
pub(crate) struct Service {
    command: Command,
    /// What marks the configuration files that it has read.
    mark: u64,
    /// That of a new configuration.
    next: Command,
    /// What marks the configuration files that are being checked.
    checked: u64,
    /// Whether something listens in them: `haproxy -c` of some versions does not ask.
    checked_serves: bool,
    /// Files whose addresses are tried after the check.
    to_bind: Vec<PathBuf>,
    master_socket: PathBuf,
    /// Where a HAProxy without a master is asked; it exists if `listeners` does.
    stats_socket: PathBuf,
    /// The command line, and the mark of the files, of the process that ran before `Replace`.
    before: Option<(Command, u64)>,
    processes: Processes,
    /// `haproxy -c`, while it runs.
    check: Option<Pid>,
    /// Where the last good copy of the configuration is kept if nothing else is said.
    copy: PathBuf,
    /// The child that writes it, while it runs.
    copier: Option<Pid>,
    /// Process groups of those that died.
    remains: Vec<Pid>,
    prober: Prober,
    /// It could not be asked, and that has been said.
    probe_error_logged: Once,
    /// Why not, if it is not possible here.
    listeners: Result<Listeners, Refusal>,
    output: Output,
}

impl Service {
    /// Its files are named after the control socket, whose lock is held. `limited`: not all of HAProxy's
    /// output is passed on if it is very much.
    pub(crate) fn new(cfg: &config::Haproxy, control_socket: &Path, limited: bool) -> Self {
        let master_socket = runtime::with_suffix(control_socket, ".haproxy-master");
        let listeners = Listeners::new(control_socket);
        let mut service = Service {
            command: Command::default(),
            mark: 0,
            next: Command::default(),
            checked: 0,
            checked_serves: false,
            to_bind: Vec::new(),
            stats_socket: listeners.as_ref().ok().map(|l| l.stats().to_owned()).unwrap_or_default(),
            master_socket,
            before: None,
            processes: Processes::new(runtime::with_suffix(control_socket, ".haproxy")),
            check: None,
            copy: runtime::with_suffix(control_socket, ".haproxy-good.cfg"),
            copier: None,
            remains: Vec::new(),
            prober: Prober::default(),
            probe_error_logged: Once::default(),
            listeners,
            output: Output::new(limited),
        };
        service.command = service.command_of(cfg);
        service
    }

    fn command_of(&self, cfg: &config::Haproxy) -> Command {
        let copy = cfg.last_good.as_ref().unwrap_or(&self.copy).clone();
        Command::new(cfg, &self.master_socket, self.listeners.as_ref().ok().map(Listeners::config), copy)
    }

    /// Looks for the HAProxys of an earlier vipd. The newest one with our command line is supervised from now
    /// on; after an upgrade the one that was ready, and its output goes on.
    pub(crate) fn adopt(&mut self, ready: Option<(u32, Info)>, outputs: Vec<(u32, OwnedFd)>) -> Vec<Input> {
        outputs.into_iter().for_each(|(pid, reader)| self.output.add(pid, reader));
        let known_by: Vec<&[u8]> =
            [Some(&*self.master_socket), self.listeners.as_ref().ok().map(Listeners::config)]
                .into_iter()
                .flatten()
                .map(|path| path.as_os_str().as_bytes())
                .collect();
        let is_ours = |line: &[u8]| {
            line.split(|b| *b == 0).any(|arg| {
                known_by
                    .iter()
                    .any(|path| arg.strip_prefix(*path).is_some_and(|r| r.is_empty() || r[0] == b','))
            })
        };
        let all = self.processes.recall(&is_ours);
        let is_one = |o: &Ours, bare, copy| o.fingerprint == fingerprint(&self.command.run(bare, copy));
        let has_copy = |o: &Ours| is_one(o, false, true) || is_one(o, true, true);
        let adopted = match &ready {
            Some((pid, _)) => all.iter().find(|o| o.pid() == *pid),
            None => all
                .iter()
                .rfind(|o| (is_one(o, false, false) || has_copy(o)) && is_in_our_namespaces(o.pid())),
        };
        self.mark = adopted.map_or(0, |o| o.mark);
        let copy = adopted.is_some_and(has_copy);
        let adopted = adopted.map(|o| o.pid());
        let input = |o: &Ours| match o.pid() {
            pid if Some(pid) == adopted => Input::Adopted { pid, copy },
            // A child, after an upgrade: it was told to finish what it has.
            pid if o.is_child() => Input::Finishing { pid },
            pid => Input::OrphanFound { pid },
        };
        let mut inputs: Vec<_> = all.iter().map(input).collect();
        inputs.extend(ready.filter(|_| adopted.is_some()).map(|(pid, info)| Input::Answered { pid, info }));
        inputs
    }

    /// Whether the configuration files are others than those that HAProxy has read.
    pub(crate) fn files_changed(&self) -> bool {
        files::mark(&self.command.config) != self.mark
    }

    /// A new configuration: its command lines are used when the supervisor says so.
    pub(crate) fn prepare(&mut self, cfg: &config::Haproxy) {
        self.next = self.command_of(cfg);
        self.command.copy.clone_from(&self.next.copy);
    }

    /// Carries an action of the supervisor out. Returns what it is to be told of that.
    pub(crate) fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Spawn { copy: true, .. } if !runtime::is_believed(&self.command.copy) => {
                return Some(Input::NoCopy);
            }
            Action::Spawn { copy: false, .. } if !serves_somebody(&self.command) => {
                self.checked = files::mark(&self.command.config);
                return Some(Input::NoListener);
            }
            Action::LookAtFiles => {
                return (files::mark(&self.command.config) != self.checked).then_some(Input::Reload);
            }
            Action::Spawn { bare, copy } => {
                return Some(match self.spawn(bare, copy) {
                    Ok(pid) => Input::Spawned { pid },
                    Err(e) => Input::SpawnFailed { errno: e as i32 },
                });
            }
            Action::Probe { direct } => return self.ask(direct),
            Action::CancelProbe => self.prober.cancel(),
            Action::FetchListeners { worker } => {
                let fetch = match &mut self.listeners {
                    Ok(l) => l.fetch(worker),
                    Err(why) => Err(*why),
                };
                return fetch.err().map(|why| Input::Fetched(Err(why)));
            }
            Action::DropListeners => {
                if let Ok(l) = &mut self.listeners {
                    l.clear();
                }
            }
            Action::SoftStop { pid } => self.processes.signal(pid, Signal::SIGUSR1, false),
            Action::Terminate { pid } => self.processes.signal(pid, Signal::SIGTERM, false),
            Action::Kill { pid } => self.processes.signal(pid, Signal::SIGKILL, true),
            Action::Reload { pid } => self.processes.signal(pid, Signal::SIGUSR2, false),
            Action::FilesTaken { pid } => {
                self.mark = self.checked;
                self.processes.set_mark(pid, self.mark);
            }
            Action::Check => {
                let command = self.command.clone();
                self.to_bind.clone_from(&command.config);
                return self.start_check(command);
            }
            Action::CheckNext => {
                // By a signal, say: the same one once more.
                if self.next.run.is_empty() {
                    self.next = self.command.clone();
                }
                // It is started beside the one that serves, and may try as long as it likes.
                self.to_bind.clear();
                return self.start_check(self.next.clone());
            }
            Action::CancelCheck => {
                if let Some(pid) = self.check {
                    let _ = killpg(pid, Signal::SIGKILL);
                }
            }
            Action::KillRemains => self.remains.drain(..).for_each(process::kill_group_of_ours),
            Action::TakeNext => self.command = std::mem::take(&mut self.next),
            Action::Replace => self.set_aside(),
            Action::Restore => self.restore(),
        }
        None
    }

    /// The next command line is the one from now on; the process that runs is set aside.
    fn set_aside(&mut self) {
        let command = std::mem::replace(&mut self.command, std::mem::take(&mut self.next));
        self.before = Some((command, self.mark));
        self.move_sockets(true);
    }

    /// The process that was set aside goes on.
    fn restore(&mut self) {
        let Some(before) = self.before.take() else { return };
        (self.command, self.mark) = before;
        self.move_sockets(false);
    }

    /// The sockets on which the HAProxy that runs is asked are set aside, or come back: another one takes
    /// their names when it starts, even if that start fails.
    fn move_sockets(&self, aside: bool) {
        for path in [&self.master_socket, &self.stats_socket] {
            let old = runtime::with_suffix(path, ".old");
            let (from, to) = if aside { (path, &old) } else { (&old, path) };
            let _ = std::fs::rename(from, to);
        }
    }

    fn ask(&mut self, direct: bool) -> Option<Input> {
        let whom = if direct { Whom::Itself(&self.stats_socket) } else { Whom::Master(&self.master_socket) };
        match self.prober.ask(whom) {
            Ok(()) => {
                self.probe_error_logged.rearm();
                None
            }
            Err(e @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS)) => {
                if self.probe_error_logged.pass() {
                    log::warn!("haproxy cannot be asked: {}", words::errno(e as i32));
                }
                Some(Input::CannotAsk)
            }
            Err(_) => Some(Input::ProbeFailed),
        }
    }

    fn start_check(&mut self, command: Command) -> Option<Input> {
        self.checked = files::mark(&command.config); // before they are read
        self.checked_serves = serves_somebody(&command);
        match self.start(&command.check) {
            Ok(pid) => {
                self.check = Some(pid);
                None
            }
            Err(_) => Some(Input::Checked { exit: Exit::Unknown }),
        }
    }

    /// Starts a program whose output goes to vipd's log.
    fn start(&mut self, argv: &[CString]) -> nix::Result<Pid> {
        let (reader, writer) = process::output_pipe()?;
        let pid = process::spawn(argv, writer.as_fd())?;
        self.output.add(process::raw(pid), reader);
        Ok(pid)
    }

    /// What HAProxy has read is good: it answers. A child that still writes an older copy is too late.
    pub(crate) fn keep_copy(&mut self) {
        if let Some(pid) = self.copier.take() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        self.copier = self.start(&copy::argv(&self.command, self.mark)).ok();
    }

    fn spawn(&mut self, bare: bool, copy: bool) -> nix::Result<u32> {
        let mut argv = self.command.run(bare, copy);
        let fingerprint = fingerprint(&argv);
        if let Ok(l) = &mut self.listeners {
            argv.splice(1..1, l.offer());
        }
        // What has read the copy has read none of them.
        self.mark = if copy { 0 } else { files::mark(&self.command.config) };
        self.processes.announce(&fingerprint);
        let started = self.start(&argv);
        self.processes.started(started.ok(), fingerprint, self.mark);
        let pid = started?;
        if let Ok(l) = &mut self.listeners {
            l.offered_to(pid);
        }
        Ok(process::raw(pid))
    }

    /// What HAProxy's processes write to.
    pub(crate) fn outputs(&self, f: &mut dyn FnMut(u32, BorrowedFd<'_>)) {
        self.output.all(f);
    }

    /// What to wait for.
    pub(crate) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        let mut add = |fd, source| set.add(fd, poll::Source::Haproxy(source));
        self.prober.fd().into_iter().for_each(|(fd, n)| add(fd, Source::Probe(n)));
        self.processes.fds().for_each(|(fd, pid)| add(fd, Source::Pidfd(pid)));
        if let Ok(listeners) = &self.listeners {
            listeners.fds().for_each(|(fd, n)| add(fd, Source::Listeners(n)));
        }
        self.output.fds().for_each(|(fd, n)| add(fd, Source::Pipe(n)));
    }

    /// Reads what has come for question `number`.
    pub(crate) fn read_probe(&mut self, number: u64) -> Option<Answer> {
        self.prober.read(number)
    }

    /// Goes on with an attempt to fetch the listening sockets, or to hand them on. `Some`: a fetch came to
    /// its end.
    pub(crate) fn serve_listeners(&mut self, number: u64) -> Option<Result<usize, Refusal>> {
        self.listeners.as_mut().ok()?.serve(number)
    }

    /// Takes what a process printed, line by line, with its pid.
    pub(crate) fn read_pipe(&mut self, now: Time, number: u64, tell: impl FnMut(u32, &str)) {
        self.output.read(now, number, tell);
    }

    /// The same of a process that has ended: its last words come before its end is told.
    pub(crate) fn read_last_words(&mut self, now: Time, pid: u32, tell: impl FnMut(u32, &str)) {
        if let Some(number) = self.output.number_of(pid) {
            self.output.read(now, number, tell);
        }
    }

    /// When `tick` is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.output.deadline()
    }

    /// Counts the lines that were not passed on.
    pub(crate) fn tick(&mut self, now: Time, tell: impl FnMut(u32, &str)) {
        self.output.tick(now, tell);
    }

    /// Whether the adopted HAProxy with this pid has exited.
    pub(crate) fn orphan_exited(&mut self, pid: u32) -> Option<(u32, Exit)> {
        self.processes.exited(pid)
    }

    /// A child was reaped that is no check and no job: its pid is no longer ours to signal. Returns what the
    /// supervisor is to be told.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> Input {
        if self.check.take_if(|p| process::raw(*p) == pid).is_some() {
            return match exit {
                Exit::Code(0) if !self.checked_serves => Input::NoListener,
                // A HAProxy whose new worker cannot bind tries for seconds, and the old one takes no
                // connections meanwhile.
                Exit::Code(0) => match binds::taken(&self.to_bind) {
                    Some(reason) => Input::Unusable { reason },
                    None => Input::Checked { exit },
                },
                exit => Input::Checked { exit },
            };
        }
        self.copier.take_if(|p| process::raw(*p) == pid);
        if let Some(group) = self.processes.reaped(pid) {
            self.remains.retain(|p| process::is_group_of_ours(*p));
            self.remains.push(group);
        }
        Input::Exited { pid, exit }
    }
}

/// Whether something listens in the configuration, as far as can be told.
fn serves_somebody(command: &Command) -> bool {
    !command.is_all || files::have_listener(&command.config)
}
