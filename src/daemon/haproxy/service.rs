//! HAProxy's processes: the supervisor's actions are carried out here, by system calls.

use super::files;
use super::listeners::Listeners;
use super::output::Output;
use super::probe::{Answer, Prober, Whom};
use crate::base::exit::Exit;
use crate::base::throttle::Once;
use crate::base::time::Time;
use crate::config;
use crate::haproxy::command::{Command, fingerprint};
use crate::haproxy::listeners::Refusal;
use crate::haproxy::supervisor::{Action, Input};
use crate::report::words;
use crate::sys::process::{self, Process};
use crate::sys::runtime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
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
    master_socket: PathBuf,
    /// Where a HAProxy without a master is asked; it exists if `listeners` does.
    stats_socket: PathBuf,
    state_file: PathBuf,
    process: Option<Process>,
    /// `haproxy -c`, while it runs.
    check: Option<Process>,
    aside: Option<Aside>,
    /// Process groups of those that died.
    remains: Vec<Pid>,
    prober: Prober,
    /// It could not be asked, and that has been said.
    probe_error_logged: Once,
    /// `None`: not possible here.
    listeners: Option<Listeners>,
    output: Output,
}

/// A HAProxy beside the one that is supervised.
#[derive(Debug)]
enum Aside {
    /// One with another command line, of an earlier vipd.
    Orphan(Process),
    /// The one that serves while its successor starts, with its command line and the mark of its files.
    /// `None`: it has ended.
    Replaced { process: Option<Process>, command: Command, mark: u64 },
}

impl Service {
    /// Its files are named after the control socket, whose lock is held.
    pub(crate) fn new(cfg: &config::Haproxy, control_socket: &Path) -> Self {
        let master_socket = runtime::with_suffix(control_socket, ".haproxy-master");
        let listeners = Listeners::new(control_socket);
        Service {
            command: Command::new(cfg, &master_socket, listeners.as_ref().map(Listeners::config)),
            mark: 0,
            next: Command::default(),
            checked: 0,
            stats_socket: listeners.as_ref().map(|l| l.stats().to_owned()).unwrap_or_default(),
            master_socket,
            state_file: runtime::with_suffix(control_socket, ".haproxy"),
            process: None,
            check: None,
            aside: None,
            remains: Vec::new(),
            prober: Prober::default(),
            probe_error_logged: Once::default(),
            listeners,
            output: Output::new(),
        }
    }

    /// Looks for the HAProxy of an earlier vipd.
    pub(crate) fn adopt(&mut self) -> Option<Input> {
        let state = crate::daemon::state_files::remembered(&self.state_file)?;
        let mut words = state.split_ascii_whitespace();
        let pid: u32 = words.next()?.parse().ok()?;
        let start_time: u64 = words.next()?.parse().ok()?;
        let same = words.next()? == fingerprint(&self.command.run);
        let read = words.next().and_then(|w| u64::from_str_radix(w, 16).ok());
        let process = process::adopt(pid, start_time).ok()?;
        if same {
            self.mark = read.unwrap_or(0);
            self.process = Some(process);
            Some(Input::Adopted { pid })
        } else {
            self.aside = Some(Aside::Orphan(process));
            Some(Input::OrphanFound)
        }
    }

    /// Whether the configuration files are others than those that HAProxy has read.
    pub(crate) fn files_changed(&self) -> bool {
        files::mark(&self.command.config) != self.mark
    }

    /// A new configuration: its command lines are used when the supervisor says so.
    pub(crate) fn prepare(&mut self, cfg: &config::Haproxy) {
        self.next = Command::new(cfg, &self.master_socket, self.listeners.as_ref().map(Listeners::config));
    }

    /// Carries an action of the supervisor out. Returns what it is to be told of that.
    pub(crate) fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Spawn { bare } => {
                return Some(match self.spawn(bare) {
                    Ok(pid) => Input::Spawned { pid },
                    Err(e) => Input::SpawnFailed { errno: e as i32 },
                });
            }
            Action::Probe { direct } => return self.ask(direct),
            Action::CancelProbe => self.prober.cancel(),
            Action::FetchListeners { worker } => {
                let fetch = self.listeners.as_mut().map_or(Err(Refusal::NoPlace), |l| l.fetch(worker));
                return fetch.err().map(|why| Input::Fetched(Err(why)));
            }
            Action::DropListeners => {
                if let Some(l) = &mut self.listeners {
                    l.clear();
                }
            }
            Action::SoftStop => self.signal(Signal::SIGUSR1, false),
            Action::Terminate => self.signal(Signal::SIGTERM, false),
            Action::Kill => self.signal(Signal::SIGKILL, true),
            Action::Reload => {
                self.mark = self.checked;
                self.remember(&self.command.run);
                self.signal(Signal::SIGUSR2, false);
            }
            Action::Check => return self.start_check(self.command.clone()),
            Action::CheckNext => return self.start_check(self.next.clone()),
            Action::CancelCheck => {
                if let Some(p) = &self.check {
                    let _ = p.signal(Signal::SIGKILL, true);
                }
            }
            Action::KillRemains => self.remains.drain(..).for_each(process::kill_group_of_ours),
            Action::RetireOrphan => self.retire(),
            Action::TakeNext => self.command = std::mem::take(&mut self.next),
            Action::Replace => self.set_aside(),
            Action::Restore => self.restore(),
        }
        None
    }

    /// The next command line is the one from now on; the process that runs is set aside.
    fn set_aside(&mut self) {
        let command = std::mem::replace(&mut self.command, std::mem::take(&mut self.next));
        self.aside = Some(Aside::Replaced { process: self.process.take(), command, mark: self.mark });
        self.move_sockets(true);
    }

    /// The process that was set aside goes on.
    fn restore(&mut self) {
        let Some(Aside::Replaced { process, command, mark }) = self.aside.take() else { return };
        (self.process, self.command, self.mark) = (process, command, mark);
        self.move_sockets(false);
        self.remember(&self.command.run);
    }

    fn retire(&mut self) {
        if let Some(Aside::Orphan(p) | Aside::Replaced { process: Some(p), .. }) = self.aside.take() {
            let _ = p.signal(Signal::SIGUSR1, false);
        }
    }

    /// The sockets on which the HAProxy that runs is asked are set aside, or come back: another one takes
    /// their names as soon as it starts, and be it only to fail.
    fn move_sockets(&self, aside: bool) {
        for path in [&self.master_socket, &self.stats_socket] {
            let old = runtime::with_suffix(path, ".old");
            let (from, to) = if aside { (path, &old) } else { (&old, path) };
            let _ = std::fs::rename(from, to);
        }
    }

    fn signal(&self, signal: Signal, group: bool) {
        if let Some(p) = &self.process {
            // It may have exited an instant ago; then its exit is on its way.
            let _ = p.signal(signal, group);
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
        match self.start(&command.check) {
            Ok(pid) => {
                self.check = Some(Process::Child(pid));
                None
            }
            Err(_) => Some(Input::Checked { exit: Exit::Unknown }),
        }
    }

    /// Starts a program whose output goes to vipd's log.
    fn start(&mut self, argv: &[CString]) -> nix::Result<Pid> {
        let (reader, writer) = process::output_pipe()?;
        let pid = process::spawn(argv, writer.as_fd())?;
        self.output.add(reader);
        Ok(pid)
    }

    fn spawn(&mut self, bare: bool) -> nix::Result<u32> {
        let known_as = self.command.run(bare);
        let mut argv = known_as.clone();
        if let Some(l) = &mut self.listeners {
            argv.splice(1..1, l.offer());
        }
        self.mark = files::mark(&self.command.config);
        let pid = self.start(&argv)?;
        if let Some(l) = &mut self.listeners {
            l.offered_to(pid);
        }
        self.process = Some(Process::Child(pid));
        self.remember(&known_as);
        Ok(process::raw(pid))
    }

    /// Writes down for the next vipd what runs: pid, start time, command line, files.
    fn remember(&self, argv: &[CString]) {
        let Some(pid) = self.process.as_ref().map(Process::pid) else { return };
        let Some(start) = process::start_time(pid) else { return };
        let state = format!("{pid} {start} {} {:016x}\n", fingerprint(argv), self.mark);
        if let Err(e) = runtime::replace_file(&self.state_file, &state) {
            log::warn!("{}: {e}: a restarted vipd will not find HAProxy", self.state_file.display());
        }
    }

    /// The descriptors to wait on, all for reading.
    pub(crate) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Source)> {
        let probe = self.prober.fd().map(|(fd, n)| (fd, Source::Probe(n)));
        let listeners = self.listeners.iter().flat_map(Listeners::fds);
        let pidfd = match &self.process {
            Some(p @ Process::Orphan { pidfd, .. }) => Some((pidfd.as_fd(), Source::Pidfd(p.pid()))),
            _ => None,
        };
        probe
            .into_iter()
            .chain(pidfd)
            .chain(listeners.map(|(fd, n)| (fd, Source::Listeners(n))))
            .chain(self.output.fds().map(|(fd, n)| (fd, Source::Pipe(n))))
    }

    /// Reads what has come for question `number`.
    pub(crate) fn read_probe(&mut self, number: u64) -> Option<Answer> {
        self.prober.read(number)
    }

    /// Goes on with an attempt to fetch the listening sockets, or to hand them on. `Some`: a fetch came to
    /// its end.
    pub(crate) fn serve_listeners(&mut self, number: u64) -> Option<Result<usize, Refusal>> {
        self.listeners.as_mut()?.serve(number)
    }

    /// Takes what a process printed, line by line.
    pub(crate) fn read_pipe(&mut self, now: Time, number: u64, tell: impl FnMut(&str)) {
        self.output.read(now, number, tell);
    }

    /// Whether the adopted HAProxy with this pid has exited.
    pub(crate) fn orphan_exited(&mut self, pid: u32) -> Option<(u32, Exit)> {
        self.process.take_if(|p| p.pid() == pid && has_exited(p))?;
        let _ = std::fs::remove_file(&self.state_file);
        Some((pid, Exit::Unknown))
    }

    /// A child was reaped: its pid is no longer ours to signal. Returns whether it was the check.
    pub(crate) fn reaped(&mut self, pid: u32) -> bool {
        let is_it = |p: &mut Process| matches!(p, Process::Child(p) if process::raw(*p) == pid);
        if self.check.take_if(is_it).is_some() {
            return true;
        }
        if let Some(Aside::Replaced { process, .. }) = &mut self.aside
            && let Some(Process::Child(p)) = process.take_if(is_it)
        {
            self.remains.push(p);
        }
        if let Some(Process::Child(p)) = self.process.take_if(is_it) {
            self.remains.retain(|p| process::is_group_of_ours(*p));
            self.remains.push(p);
            let _ = std::fs::remove_file(&self.state_file);
        }
        false
    }
}

/// Whether a process that is not a child has exited: its pidfd is readable then.
fn has_exited(p: &Process) -> bool {
    let Process::Orphan { pidfd, .. } = p else { return false };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds.iter().any(|f| f.any() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    #[test]
    fn an_adopted_haproxy_has_exited_only_if_its_pidfd_says_so() {
        let dir = std::env::temp_dir().join(format!("vipd-service-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        let cfg = schema::parse("[haproxy]\n").ok().and_then(|(c, _)| c.haproxy);
        let mut service = Service::new(&cfg.unwrap_or_else(|| panic!()), &dir.join("control"));
        let mut child =
            std::process::Command::new("sleep").arg("60").spawn().unwrap_or_else(|e| panic!("{e}"));
        let pid = child.id();
        let start = process::start_time(pid).unwrap_or(0);
        service.process = Some(process::adopt(pid, start).unwrap_or_else(|e| panic!("{e}")));
        assert!(service.fds().any(|(_, s)| s == Source::Pidfd(pid)));
        assert_eq!(service.orphan_exited(pid), None, "it runs");
        assert_eq!(service.orphan_exited(pid + 1), None, "another one");
        assert!(service.process.is_some());
        child.kill().unwrap_or_else(|e| panic!("{e}"));
        child.wait().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(service.orphan_exited(pid), Some((pid, Exit::Unknown)));
        assert_eq!(service.orphan_exited(pid), None, "once");
        let _ = std::fs::remove_dir_all(dir);
    }
}
