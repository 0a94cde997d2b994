//! The attempts of checks: sockets, child processes and octets. None of them ever blocks, and none takes more
//! than a descriptor, a child and a few octets, whatever the other side does.

use crate::base::exit::Exit;
use crate::check::{Action, Failure};
use crate::config::{self, CheckKind};
use crate::daemon::Fatal;
use crate::daemon::children::command::Command;
use crate::daemon::children::connection::Connection;
use crate::daemon::poll::{PollSet, Source};
use crate::preflight::programs;
use crate::sys::ping::Ping;
use crate::sys::process::arguments;
use crate::sys::user::User;
use nix::errno::Errno;
use nix::poll::PollFlags;
use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// All checks.
#[derive(Debug)]
pub(crate) struct Checks {
    all: Vec<Run>,
    /// The number of the last attempt of any check.
    last: u64,
}

/// A check and its attempt.
#[derive(Debug)]
struct Run {
    question: Question,
    attempt: Attempt,
    /// The attempt's number, which no other one ever has.
    number: u64,
}

/// What an attempt does.
#[derive(Debug)]
enum Question {
    /// Connects, and sends this if it is not empty.
    Connect(SocketAddr, Vec<u8>),
    Exec(Vec<CString>, Option<User>),
    Ping(IpAddr),
}

#[derive(Debug)]
enum Attempt {
    None,
    Connection(Connection),
    Ping(Ping),
    /// Until it is reaped, even if it was killed.
    Command(Command),
}

impl Checks {
    /// Checks of which none has begun.
    ///
    /// # Errors
    ///
    /// One is to run as a user that does not exist.
    pub(crate) fn new(cfg: &config::Config) -> Result<Self, Fatal> {
        if let Some(error) = programs::unknown_user(cfg) {
            return Err(Fatal(error.to_string()));
        }
        Ok(Checks { all: cfg.checks.iter().map(Run::new).collect(), last: 0 })
    }

    /// Takes other checks. An attempt of one that asks the same question goes on; a command that is not
    /// waited for any longer is killed.
    pub(crate) fn reconfigure(&mut self, old: &config::Config, new: &config::Config) {
        let mut before: Vec<Option<Run>> = std::mem::take(&mut self.all).into_iter().map(Some).collect();
        for c in &new.checks {
            let same = old.checks.iter().position(|o| (&o.name, &o.kind) == (&c.name, &c.kind));
            let run = same.and_then(|i| before.get_mut(i)).and_then(Option::take);
            self.all.push(run.unwrap_or_else(|| Run::new(c)));
        }
        for run in before.iter_mut().flatten() {
            if let Attempt::Command(command) = &mut run.attempt {
                command.kill();
            }
        }
    }

    /// Carries an action out; returns a failure that is known at once.
    pub(crate) fn carry_out(&mut self, check: usize, action: Action) -> Option<Failure> {
        let run = self.all.get_mut(check)?;
        match (action, &mut run.attempt) {
            (Action::Start, _) => match run.question.ask() {
                Ok(attempt) => {
                    self.last += 1;
                    (run.attempt, run.number) = (attempt, self.last);
                }
                Err(e) => return Some(e.into()),
            },
            (Action::Abandon, Attempt::Command(command)) => command.kill(),
            (Action::Abandon, attempt) => *attempt = Attempt::None,
        }
        None
    }

    /// Adds what is to be waited for.
    pub(crate) fn poll<'a>(&'a self, set: &mut PollSet<'a>) {
        for run in &self.all {
            let (fd, events) = match &run.attempt {
                Attempt::None => continue,
                Attempt::Connection(c) => (c.as_fd(), c.events()),
                Attempt::Ping(ping) => (ping.as_fd(), PollFlags::POLLIN),
                Attempt::Command(command) => match command.output() {
                    Some(fd) => (fd, PollFlags::POLLIN),
                    None => continue,
                },
            };
            set.add_for(fd, Source::Check(run.number), events);
        }
    }

    /// Goes on with an attempt, if it is still under way. Returns its check and how it ended, if it did.
    pub(crate) fn ready(&mut self, number: u64) -> Option<(usize, Result<(), Failure>)> {
        let check = self.all.iter().position(|run| run.number == number)?;
        let run = self.all.get_mut(check)?;
        let over = match (&mut run.attempt, &run.question) {
            (Attempt::Connection(c), Question::Connect(_, request)) => c.go_on(request),
            (Attempt::Ping(ping), _) => ping.is_answered().map_err(Failure::from),
            (Attempt::Command(command), _) => {
                command.read();
                Ok(false)
            }
            _ => Ok(false),
        };
        if over == Ok(false) {
            return None;
        }
        run.attempt = Attempt::None;
        Some((check, over.map(drop)))
    }

    /// A child has exited and is about to be reaped: what it has left in its process group is killed, or a
    /// command that leaves something behind each time would fill the machine.
    pub(crate) fn exiting(&self, pid: u32) {
        if let Some(Attempt::Command(command)) = self.of(pid).map(|(_, run)| &run.attempt) {
            command.kill_group();
        }
    }

    /// A child was reaped; if it was a check's, which one, how that ended, and the first line that it wrote.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> Option<(usize, Result<(), Failure>, String)> {
        let check = self.of(pid)?.0;
        let attempt = &mut self.all.get_mut(check)?.attempt;
        let Attempt::Command(mut command) = std::mem::replace(attempt, Attempt::None) else { return None };
        command.read();
        let result = match exit {
            Exit::Code(0) => Ok(()),
            exit => Err(Failure::Exit(exit)),
        };
        Some((check, result, command.line()))
    }

    /// The check whose command this process is.
    fn of(&self, pid: u32) -> Option<(usize, &Run)> {
        let is = |run: &Run| matches!(&run.attempt, Attempt::Command(command) if command.is(pid));
        self.all.iter().enumerate().find(|(_, run)| is(run))
    }
}

impl Run {
    fn new(c: &config::Check) -> Self {
        Run { question: Question::new(&c.kind), attempt: Attempt::None, number: 0 }
    }
}

impl Question {
    fn new(kind: &CheckKind) -> Self {
        match kind {
            CheckKind::Tcp(addr) => Question::Connect(*addr, Vec::new()),
            CheckKind::Http { addr, path } => {
                let (open, close) = if addr.is_ipv6() { ("[", "]") } else { ("", "") };
                let request = format!(
                    "GET {path} HTTP/1.0\r\nHost: {open}{}{close}:{}\r\nUser-Agent: vipd\r\nConnection: close\r\n\r\n",
                    addr.ip(),
                    addr.port()
                );
                Question::Connect(*addr, request.into_bytes())
            }
            CheckKind::Exec { argv, user } => {
                Question::Exec(arguments(argv), user.as_deref().and_then(User::find))
            }
            CheckKind::Ping(addr) => Question::Ping(*addr),
        }
    }

    fn ask(&self) -> nix::Result<Attempt> {
        match self {
            Question::Connect(addr, _) => Connection::open(*addr).map(Attempt::Connection),
            Question::Exec(argv, user) => Command::start(argv, user.as_ref()).map(Attempt::Command),
            Question::Ping(addr) => Ping::send(*addr).map(Attempt::Ping),
        }
    }
}

impl From<Errno> for Failure {
    fn from(e: Errno) -> Self {
        Failure::Errno(e as i32)
    }
}
