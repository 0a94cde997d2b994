//! HAProxy's process, its output and the question whether it is ready: bytes and system calls.

use crate::base::exit::Exit;
use crate::base::hash;
use crate::base::throttle::Once;
use crate::base::time::Time;
use crate::config;
use crate::daemon::children::pipe::Pipe;
use crate::daemon::haproxy::files;
use crate::daemon::haproxy::listeners::Listeners;
use crate::daemon::poll::{PollSet, Source};
use crate::haproxy::listeners::Refusal;
use crate::haproxy::show_info::{self, Info};
use crate::haproxy::supervisor::Action;
use crate::sys::process::{self, Process};
use crate::sys::runtime;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines of its output that are told in a second.
const LINES_PER_SECOND: u32 = 100;
/// Earlier HAProxys whose last words are still heard.
const MAX_PIPES: usize = 4;

/// HAProxy as the daemon sees it.
#[derive(Debug)]
pub struct Service {
    command: Command,
    /// That of a new configuration, and that of the process that was set aside.
    next: Command,
    before: Command,
    /// What marks the configuration files that are being checked.
    checked: u64,
    master_socket: PathBuf,
    /// Where a HAProxy without a master is asked; it exists if `listeners` does.
    stats_socket: PathBuf,
    state_file: PathBuf,
    process: Option<Process>,
    /// `haproxy -c`, while it runs.
    check: Option<Process>,
    /// One with another command line, of an earlier vipd.
    orphan: Option<Process>,
    /// Process groups of those that died.
    remains: Vec<Pid>,
    probe: Option<Probe>,
    /// What has come to it; kept, so that a check each second takes no memory of its own.
    answer: Vec<u8>,
    /// It could not be asked, and that has been said.
    probe_error_logged: Once,
    /// `None`: not possible here.
    pub(crate) listeners: Option<Listeners>,
    /// With a number each.
    pipes: Vec<(u64, Pipe)>,
    /// The number of the last probe or pipe.
    last: u64,
    /// Lines told since `quota_from`, and swallowed.
    told: u32,
    swallowed: u64,
    quota_from: Time,
}

/// A command line to run, the one to check it, the configuration files in it, and what marks those that were
/// read.
#[derive(Debug, Default)]
struct Command {
    run: Vec<CString>,
    check: Vec<CString>,
    config: Vec<PathBuf>,
    mark: u64,
}

impl Command {
    fn new(cfg: &config::Haproxy, master_socket: &Path, listeners: Option<&Listeners>) -> Self {
        Command {
            run: argv(cfg, master_socket, listeners),
            check: check_argv(cfg),
            config: cfg.config.clone(),
            mark: 0,
        }
    }
}

#[derive(Debug)]
struct Probe {
    fd: OwnedFd,
    number: u64,
    /// Pid of the master that listens; `None`: the process itself is asked.
    master: Option<u32>,
}

/// What carrying an action out led to.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to tell.
    Nothing,
    /// Started with this pid.
    Spawned(u32),
    /// Not started.
    SpawnFailed(i32),
    /// The question found nobody.
    ProbeFailed,
    /// The question could not be asked: that is our fault, not HAProxy's.
    CannotAsk,
    /// The check could not be started.
    CheckFailed,
    /// The listening sockets could not be asked for.
    FetchFailed(Refusal),
}

impl Service {
    /// Its files are named after the control socket, whose lock is held.
    pub fn new(cfg: &config::Haproxy, control_socket: &Path) -> Self {
        let master_socket = runtime::with_suffix(control_socket, ".haproxy-master");
        let listeners = Listeners::new(control_socket);
        Service {
            command: Command::new(cfg, &master_socket, listeners.as_ref()),
            next: Command::default(),
            before: Command::default(),
            checked: 0,
            stats_socket: listeners.as_ref().map(|l| l.stats().to_owned()).unwrap_or_default(),
            master_socket,
            state_file: runtime::with_suffix(control_socket, ".haproxy"),
            process: None,
            check: None,
            orphan: None,
            remains: Vec::new(),
            probe: None,
            answer: Vec::new(),
            probe_error_logged: Once::default(),
            listeners,
            pipes: Vec::new(),
            last: 0,
            told: 0,
            swallowed: 0,
            quota_from: Time::ZERO,
        }
    }

    /// Looks for the HAProxy of an earlier vipd. `Some(Ok(pid))`: it runs with our command line and is
    /// supervised from now on; `Some(Err(()))`: with another one.
    pub fn adopt(&mut self) -> Option<Result<u32, ()>> {
        let state = crate::daemon::state_files::remembered(&self.state_file)?;
        let mut words = state.split_ascii_whitespace();
        let pid: u32 = words.next()?.parse().ok()?;
        let start_time: u64 = words.next()?.parse().ok()?;
        let same = words.next()? == fingerprint(&self.command.run);
        let read = words.next().and_then(|w| u64::from_str_radix(w, 16).ok());
        let process = process::adopt(pid, start_time).ok()?;
        if same {
            self.command.mark = read.unwrap_or(0);
            self.process = Some(process);
            Some(Ok(pid))
        } else {
            self.orphan = Some(process);
            Some(Err(()))
        }
    }

    /// Whether the configuration files are others than those that HAProxy has read.
    pub fn files_changed(&self) -> bool {
        files::mark(&self.command.config) != self.command.mark
    }

    /// Carries an action of the supervisor out.
    pub fn carry_out(&mut self, action: Action) -> Outcome {
        match action {
            Action::Spawn { bare } => match self.spawn(bare) {
                Ok(pid) => return Outcome::Spawned(pid),
                Err(e) => return Outcome::SpawnFailed(e as i32),
            },
            Action::Probe { direct } => {
                self.answer.clear();
                self.probe = None;
                match self.ask(direct) {
                    Ok(probe) => (self.probe, self.probe_error_logged) = (Some(probe), Once::default()),
                    Err(e @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS)) => {
                        if self.probe_error_logged.pass() {
                            log::warn!("haproxy cannot be asked: {}", crate::report::words::errno(e as i32));
                        }
                        return Outcome::CannotAsk;
                    }
                    Err(_) => return Outcome::ProbeFailed,
                }
            }
            Action::CancelProbe => self.probe = None,
            Action::FetchListeners { worker } => {
                let fetch = self.listeners.as_mut().map_or(Err(Refusal::NoPlace), |l| l.fetch(worker));
                if let Err(why) = fetch {
                    return Outcome::FetchFailed(why);
                }
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
                self.command.mark = self.checked;
                self.remember(&self.command.run);
                self.signal(Signal::SIGUSR2, false);
            }
            Action::Check | Action::CheckNext => {
                let command = if action == Action::Check { &self.command } else { &self.next };
                self.checked = files::mark(&command.config); // before they are read
                match self.start(&command.check.clone()) {
                    Ok(pid) => self.check = Some(Process::Child(pid)),
                    Err(_) => return Outcome::CheckFailed,
                }
            }
            Action::CancelCheck => {
                if let Some(p) = &self.check {
                    let _ = p.signal(Signal::SIGKILL, true);
                }
            }
            Action::KillRemains => self.remains.drain(..).for_each(process::kill_group_of_ours),
            Action::RetireOrphan => {
                if let Some(p) = self.orphan.take() {
                    let _ = p.signal(Signal::SIGUSR1, false);
                }
            }
            Action::TakeNext | Action::Replace => {
                let before = std::mem::replace(&mut self.command, std::mem::take(&mut self.next));
                if action == Action::Replace {
                    (self.orphan, self.before) = (self.process.take(), before);
                    self.move_sockets(true);
                }
            }
            Action::Restore => {
                self.command = std::mem::take(&mut self.before);
                self.process = self.orphan.take();
                self.move_sockets(false);
                self.remember(&self.command.run);
            }
        }
        Outcome::Nothing
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

    /// Starts a program whose output goes to our log.
    fn start(&mut self, argv: &[CString]) -> nix::Result<Pid> {
        let (reader, writer) = process::output_pipe()?;
        let pid = process::spawn(argv, writer.as_fd())?;
        if self.pipes.len() == MAX_PIPES {
            self.pipes.remove(0);
        }
        self.last += 1;
        self.pipes.push((self.last, Pipe::new(reader)));
        Ok(pid)
    }

    fn spawn(&mut self, bare: bool) -> nix::Result<u32> {
        let mut argv = self.command.run.clone();
        if bare {
            argv.drain(MASTER_MODE);
        }
        let known_as = argv.clone();
        if let Some(l) = &mut self.listeners {
            argv.splice(1..1, l.offer());
        }
        self.command.mark = files::mark(&self.command.config);
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
        let Some(Process::Child(pid) | Process::Orphan { pid, .. }) = &self.process else { return };
        let pid = process::raw(*pid);
        let Some(start) = process::start_time(pid) else { return };
        let state = format!("{pid} {start} {} {:016x}\n", fingerprint(argv), self.command.mark);
        if let Err(e) = runtime::replace_file(&self.state_file, &state) {
            log::warn!("{}: {e}: a restarted vipd will not find HAProxy", self.state_file.display());
        }
    }

    /// A new configuration: its command lines are used when the supervisor says so.
    pub fn prepare(&mut self, cfg: &config::Haproxy) {
        self.next = Command::new(cfg, &self.master_socket, self.listeners.as_ref());
    }

    /// Connects and asks; fails at once if nobody listens yet.
    fn ask(&mut self, direct: bool) -> nix::Result<Probe> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        let (path, skip) =
            if direct { (&self.stats_socket, show_info::WORKER.len()) } else { (&self.master_socket, 0) };
        socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let peer = socket::getsockopt(&fd, sockopt::PeerCredentials)?;
        let command = show_info::COMMAND.get(skip..).unwrap_or_default();
        socket::send(fd.as_raw_fd(), command, MsgFlags::MSG_NOSIGNAL)?;
        self.last += 1;
        Ok(Probe { fd, number: self.last, master: (!direct).then(|| peer.pid().unsigned_abs()) })
    }

    /// Adds what is to be waited for.
    pub(crate) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        if let Some(p) = &self.probe {
            set.add(p.fd.as_fd(), Source::Probe(p.number));
        }
        if let Some(Process::Orphan { pid, pidfd }) = &self.process {
            set.add(pidfd.as_fd(), Source::Pidfd(process::raw(*pid)));
        }
        if let Some(l) = &self.listeners {
            l.fds().for_each(|fd| set.add(fd, Source::Listeners(l.attempt())));
        }
        for (number, pipe) in &self.pipes {
            set.add(pipe.as_fd(), Source::Pipe(*number));
        }
    }

    /// Goes on with the listening sockets, if this attempt is still under way. `Some`: a fetch came to its
    /// end.
    pub(crate) fn serve_listeners(&mut self, attempt: u64) -> Option<Result<usize, Refusal>> {
        self.listeners.as_mut().filter(|l| l.attempt() == attempt)?.serve()
    }

    /// Reads the answer. `None`: not complete yet; else the pid of the master that listens, or of who answers
    /// if there was none to ask, and what it said, if anything.
    pub fn read_probe(&mut self, number: u64) -> Option<(u32, Option<Info>)> {
        let p = self.probe.as_ref().filter(|p| p.number == number)?;
        let mut buf = [0; 4096];
        let over = match socket::recv(p.fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => true,
            Ok(n) => {
                self.answer.extend_from_slice(buf.get(..n).unwrap_or_default());
                self.answer.len() > show_info::MAX_ANSWER
            }
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => true,
        };
        // The master socket does not close after an answer, so completeness is seen in the answer itself.
        let info = show_info::parse(&self.answer);
        if info.is_none() && !over {
            return None;
        }
        let pid = p.master.or(info.as_ref().map(|i| i.pid)).unwrap_or(0);
        self.probe = None;
        Some((pid, info))
    }

    /// Whether the adopted HAProxy with this process number has exited.
    pub fn orphan_exited(&mut self, pid: u32) -> Option<(u32, Exit)> {
        self.process.take_if(|p| p.pid() == pid && p.is_adopted_and_over())?;
        let _ = std::fs::remove_file(&self.state_file);
        Some((pid, Exit::Unknown))
    }

    /// A child was reaped: its pid is no longer ours to signal. Returns whether it was the check.
    pub fn reaped(&mut self, pid: u32) -> bool {
        if matches!(self.check, Some(Process::Child(p)) if process::raw(p) == pid) {
            self.check = None;
            return true;
        }
        if let Some(Process::Child(p)) = self.orphan
            && process::raw(p) == pid
        {
            self.orphan = None;
            self.remains.push(p);
        }
        if let Some(Process::Child(p)) = self.process
            && process::raw(p) == pid
        {
            self.process = None;
            self.remains.retain(|p| process::is_group_of_ours(*p));
            self.remains.push(p);
            let _ = std::fs::remove_file(&self.state_file);
        }
        false
    }

    /// Takes what HAProxy said, line by line. All of it is read, for HAProxy must not block; not all of it is
    /// told.
    pub fn read_pipe(&mut self, now: Time, number: u64, mut tell: impl FnMut(&str)) {
        if now.since(self.quota_from) >= Duration::from_secs(1) {
            self.quota_from = now;
            self.told = 0;
            let swallowed = std::mem::take(&mut self.swallowed);
            if swallowed > 0 {
                tell(&format!("[WARNING] {swallowed} more lines in the last second were swallowed"));
            }
        }
        let (told, swallowed) = (&mut self.told, &mut self.swallowed);
        let mut line = |line: &str| {
            if *told < LINES_PER_SECOND {
                *told += 1;
                tell(line);
            } else {
                *swallowed += 1;
            }
        };
        self.pipes.retain_mut(|(n, pipe)| *n != number || pipe.read(&mut line));
    }
}

/// Where in the command line master mode is asked for.
const MASTER_MODE: std::ops::Range<usize> = 1..4;

/// Recognises a command line.
fn fingerprint(argv: &[CString]) -> String {
    let bytes: Vec<u8> = argv.iter().flat_map(|a| a.to_bytes_with_nul()).copied().collect();
    format!("{:016x}", hash::fnv1a(&bytes))
}

/// The command line. `-W`: a master that outlives its worker's reloads; `-S`: its socket, for us alone; `-db`
/// overrides a `daemon` in the configuration, which would take HAProxy out of our hands.
fn argv(cfg: &config::Haproxy, master_socket: &Path, listeners: Option<&Listeners>) -> Vec<CString> {
    let mut socket = master_socket.as_os_str().as_bytes().to_vec();
    socket.extend_from_slice(b",mode,600");
    let mut options: Vec<&[u8]> = vec![b"-W", b"-S", &socket, b"-db"];
    if let Some(l) = listeners {
        options.extend([b"-f", l.config().as_os_str().as_bytes()]);
    }
    words(cfg, &options)
}

/// The command line that only checks the configuration.
pub fn check_argv(cfg: &config::Haproxy) -> Vec<CString> {
    words(cfg, &[b"-c"])
}

/// The configuration holds no NUL, so nothing is lost here.
fn words(cfg: &config::Haproxy, options: &[&[u8]]) -> Vec<CString> {
    let mut words = vec![cfg.binary.as_os_str().as_bytes()];
    words.extend(options);
    for file in &cfg.config {
        words.extend([b"-f", file.as_os_str().as_bytes()]);
    }
    words.extend(cfg.args.iter().map(|a| a.as_bytes()));
    words.into_iter().filter_map(|w| CString::new(w).ok()).collect()
}
