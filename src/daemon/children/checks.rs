//! The attempts of checks: sockets, child processes and bytes. None of them ever blocks, and none takes more
//! than a descriptor, a child and a few octets, whatever the other side does.

use crate::base::exit::Exit;
use crate::check::{Action, Failure};
use crate::config::{self, CheckKind};
use crate::daemon::Fatal;
use crate::preflight::programs;
use crate::sys::ping::Ping;
use crate::sys::user::{User, spawn_as};
use crate::sys::{self, process};
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt,
};
use nix::unistd::Pid;
use std::ffi::CString;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What is looked at of an HTTP answer (RFC 9112 §4): 0 is any digit, a blank any white space.
const HTTP_FORM: &[u8; HTTP_HEAD] = b"HTTP/0.0 000 ";
const HTTP_HEAD: usize = 13;
/// What is kept of a command's output: so much of its first line.
const MAX_LINE: usize = 200;
/// Output of one attempt; beyond it the pipe is closed, and the command gets a SIGPIPE.
const MAX_OUTPUT: usize = 64 * 1024;

/// All checks.
#[derive(Debug)]
pub(crate) struct Checks(Vec<Run>);

#[derive(Debug)]
struct Run {
    probe: Probe,
    attempt: Attempt,
}

#[derive(Debug)]
enum Probe {
    /// With what is sent when the connection is there; nothing: that is all.
    Connect(SocketAddr, Vec<u8>),
    Exec(Vec<CString>, Option<User>),
    Ping(std::net::IpAddr),
}

#[derive(Debug)]
enum Attempt {
    None,
    Talking(Talk),
    Pinging(Ping),
    /// Until it is reaped, even if it was killed.
    Running(Child),
}

/// A connection, and what has arrived of an HTTP answer.
#[derive(Debug)]
struct Talk {
    fd: OwnedFd,
    connected: bool,
    head: [u8; HTTP_HEAD],
    have: usize,
}

#[derive(Debug)]
struct Child {
    pid: Pid,
    output: Option<OwnedFd>,
    line: Vec<u8>,
    complete: bool,
    taken: usize,
}

impl Checks {
    pub(crate) fn new(cfg: &config::Config) -> Result<Self, Fatal> {
        if let Some(error) = programs::unknown_user(cfg) {
            return Err(Fatal(error.to_string()));
        }
        let run = |c: &config::Check| Run { probe: Probe::new(&c.kind), attempt: Attempt::None };
        Ok(Checks(cfg.checks.iter().map(run).collect()))
    }

    /// Other checks. An attempt of one that asks the same question goes on; a command that is not waited for any
    /// longer is killed.
    pub(crate) fn reconfigure(&mut self, old: &config::Config, new: &config::Config) {
        let mut before: Vec<Option<Run>> = std::mem::take(&mut self.0).into_iter().map(Some).collect();
        for c in &new.checks {
            let same = old.checks.iter().position(|o| (&o.name, &o.kind) == (&c.name, &c.kind));
            let run = same.and_then(|i| before.get_mut(i)).and_then(Option::take);
            self.0.push(run.unwrap_or_else(|| Run { probe: Probe::new(&c.kind), attempt: Attempt::None }));
        }
        for run in before.iter_mut().flatten() {
            if let Attempt::Running(child) = &mut run.attempt {
                child.kill();
            }
        }
    }

    /// Carries an action out; returns a failure that is known at once.
    pub(crate) fn carry_out(&mut self, check: usize, action: Action) -> Option<Failure> {
        let run = self.0.get_mut(check)?;
        match (action, &mut run.attempt) {
            (Action::Start, _) => match run.probe.start() {
                Ok(attempt) => run.attempt = attempt,
                Err(e) => return Some(e.into()),
            },
            (Action::Abandon, Attempt::Running(child)) => child.kill(),
            (Action::Abandon, attempt) => *attempt = Attempt::None,
        }
        None
    }

    /// The descriptors to wait on, by check.
    pub(crate) fn fds(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        self.0.iter().enumerate().filter_map(|(i, run)| match &run.attempt {
            Attempt::None => None,
            Attempt::Talking(talk) => Some((
                i,
                talk.fd.as_fd(),
                if talk.connected { PollFlags::POLLIN } else { PollFlags::POLLOUT },
            )),
            Attempt::Pinging(ping) => Some((i, ping.as_fd(), PollFlags::POLLIN)),
            Attempt::Running(child) => child.output.as_ref().map(|fd| (i, fd.as_fd(), PollFlags::POLLIN)),
        })
    }

    /// Something is to be read or written; returns how the attempt ended, if it did.
    pub(crate) fn ready(&mut self, check: usize) -> Option<Result<(), Failure>> {
        let run = self.0.get_mut(check)?;
        let over = match (&mut run.attempt, &run.probe) {
            (Attempt::Talking(talk), Probe::Connect(_, request)) => talk.go_on(request),
            (Attempt::Pinging(ping), _) => ping.is_answered().map_err(Failure::from),
            (Attempt::Running(child), _) => {
                child.read();
                Ok(false)
            }
            _ => Ok(false),
        };
        if over == Ok(false) {
            return None;
        }
        run.attempt = Attempt::None;
        Some(over.map(drop))
    }

    /// A child has exited and is about to be reaped: what it may have left behind in its process group is killed,
    /// or a command that leaves one behind each time would fill the machine.
    pub(crate) fn exiting(&self, pid: u32) {
        if let Some((_, child)) = self.children().find(|(_, c)| process::raw(c.pid) == pid) {
            let _ = killpg(child.pid, Signal::SIGKILL);
        }
    }

    /// A child was reaped; if it was a check's, which one, how that ended, and the first line that it wrote.
    pub(crate) fn reaped(&mut self, pid: u32, exit: Exit) -> Option<(usize, Result<(), Failure>, String)> {
        let check = self.children().find(|(_, c)| process::raw(c.pid) == pid)?.0;
        let attempt = &mut self.0.get_mut(check)?.attempt;
        let Attempt::Running(mut child) = std::mem::replace(attempt, Attempt::None) else { return None };
        child.read();
        let result = match exit {
            Exit::Code(0) => Ok(()),
            exit => Err(Failure::Exit(exit)),
        };
        Some((check, result, String::from_utf8_lossy(&child.line).into_owned()))
    }

    fn children(&self) -> impl Iterator<Item = (usize, &Child)> {
        self.0.iter().enumerate().filter_map(|(i, run)| match &run.attempt {
            Attempt::Running(child) => Some((i, child)),
            _ => None,
        })
    }
}

impl Probe {
    fn new(kind: &CheckKind) -> Self {
        match kind {
            CheckKind::Tcp(addr) => Probe::Connect(*addr, Vec::new()),
            CheckKind::Http { addr, path } => {
                let (open, close) = if addr.is_ipv6() { ("[", "]") } else { ("", "") };
                let request = format!(
                    "GET {path} HTTP/1.0\r\nHost: {open}{}{close}:{}\r\nUser-Agent: vipd\r\nConnection: close\r\n\r\n",
                    addr.ip(),
                    addr.port()
                );
                Probe::Connect(*addr, request.into_bytes())
            }
            // The configuration holds no NUL, so nothing is lost here.
            CheckKind::Exec { argv, user } => Probe::Exec(
                argv.iter().filter_map(|w| CString::new(w.as_bytes()).ok()).collect(),
                user.as_deref().and_then(User::find),
            ),
            CheckKind::Ping(addr) => Probe::Ping(*addr),
        }
    }

    fn start(&self) -> nix::Result<Attempt> {
        match self {
            Probe::Connect(addr, _) => {
                let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
                let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                let fd = socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
                match socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(*addr)) {
                    Ok(()) | Err(Errno::EINPROGRESS) => {
                        Ok(Attempt::Talking(Talk { fd, connected: false, head: [0; HTTP_HEAD], have: 0 }))
                    }
                    Err(e) => Err(e),
                }
            }
            Probe::Exec(argv, user) => {
                let (reader, writer) = process::output_pipe()?;
                let pid = match user {
                    None => process::spawn(argv, writer.as_fd())?,
                    Some(user) => spawn_as(argv, writer.as_fd(), user, &[])?,
                };
                Ok(Attempt::Running(Child {
                    pid,
                    output: Some(reader),
                    line: Vec::new(),
                    complete: false,
                    taken: 0,
                }))
            }
            Probe::Ping(addr) => Ping::send(*addr).map(Attempt::Pinging),
        }
    }
}

impl Child {
    fn kill(&mut self) {
        // It may have exited an instant ago, or not lead its group yet.
        let _ = killpg(self.pid, Signal::SIGKILL);
        let _ = kill(self.pid, Signal::SIGKILL);
        self.output = None;
    }

    fn read(&mut self) {
        let mut buf = [0; 4096];
        for _ in 0..4 {
            let Some(fd) = &self.output else { return };
            match nix::unistd::read(fd, &mut buf) {
                Ok(n @ 1..) => {
                    self.taken += n;
                    for b in buf.iter().take(n) {
                        self.complete |= *b == b'\n' || self.line.len() == MAX_LINE;
                        if self.complete {
                            break;
                        }
                        self.line.push(*b);
                    }
                    if self.taken < MAX_OUTPUT {
                        continue;
                    }
                    self.output = None;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(_) | Err(_) => self.output = None,
            }
        }
    }
}

impl From<Errno> for Failure {
    fn from(e: Errno) -> Self {
        Failure::Errno(e as i32)
    }
}

impl Talk {
    /// Returns whether it is over, with success. The request fits into the empty buffer of a new connection.
    fn go_on(&mut self, request: &[u8]) -> Result<bool, Failure> {
        if !self.connected {
            let errno = socket::getsockopt(&self.fd, sockopt::SocketError)?;
            if errno != 0 {
                return Err(Failure::Errno(errno));
            }
            self.connected = true;
            if !request.is_empty() {
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                let sent = socket::send(self.fd.as_raw_fd(), request, flags)?;
                return if sent == request.len() { Ok(false) } else { Err(Errno::EMSGSIZE.into()) };
            }
            // On this very machine, with nobody listening: our own port may have happened to be that one.
            return if sys::socket::is_own_peer(&self.fd) {
                Err(Errno::ECONNREFUSED.into())
            } else {
                Ok(true)
            };
        }
        let rest = self.head.get_mut(self.have..).unwrap_or_default();
        match socket::recv(self.fd.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => {
                self.have += n;
                verdict(self.head.get(..self.have).unwrap_or_default(), n == 0)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Whether the beginning of an answer is enough, and good; `over`: no more comes.
fn verdict(head: &[u8], over: bool) -> Result<bool, Failure> {
    let fits = |(octet, form): (&u8, &u8)| match form {
        b'0' => octet.is_ascii_digit(),
        b' ' => octet.is_ascii_whitespace(),
        letter => octet == letter,
    };
    if over && head.is_empty() {
        return Err(Failure::Closed);
    }
    if !head.iter().zip(HTTP_FORM).all(fits) || over && head.len() < HTTP_HEAD - 1 {
        return Err(Failure::NotHttp);
    }
    if !over && head.len() < HTTP_HEAD {
        return Ok(false);
    }
    match head.iter().skip(9).take(3).fold(0, |n, digit| n * 10 + u16::from(digit - b'0')) {
        200..400 => Ok(true),
        code => Err(Failure::Status(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_on_answers() {
        let ok: &[&[u8]] = &[b"HTTP/1.0 200 ", b"HTTP/1.1 204\r", b"HTTP/1.1 302\n", b"HTTP/2.0 399 "];
        for head in ok {
            assert_eq!(verdict(head, false), Ok(true));
        }
        for code in [100, 199, 400, 404, 503, 999] {
            let head = format!("HTTP/1.1 {code} ");
            assert_eq!(verdict(head.as_bytes(), false), Err(Failure::Status(code)));
        }
        let full = b"HTTP/1.1 200 ";
        for n in 0..full.len() {
            assert_eq!(verdict(&full[..n], false), Ok(false), "{n} octets");
        }
        assert_eq!(verdict(b"", true), Err(Failure::Closed));
        assert_eq!(verdict(b"HTTP/1.1 20", true), Err(Failure::NotHttp));
        assert_eq!(verdict(b"HTTP/1.1 200", true), Ok(true));
        for n in 0..full.len() {
            let mut bad = *full;
            bad[n] = b'x';
            assert_eq!(verdict(&bad[..=n], false), Err(Failure::NotHttp), "octet {n}");
        }
        assert_eq!(verdict(b"HTTP/1.1 2000", false), Err(Failure::NotHttp));
    }
}
