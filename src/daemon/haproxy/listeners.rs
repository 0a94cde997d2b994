//! HAProxy's listening sockets: fetched from a worker, held, and offered to the next HAProxy. System calls;
//! what is done when is decided in `haproxy::supervisor`, and what the octets mean in `haproxy::listeners`.

use crate::base::log;
use crate::haproxy::listeners::{Answer, REQUEST, Refusal, message};
use crate::report::words;
use crate::sys::{process, runtime, scm, stream};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, UnixAddr, sockopt};
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Octets that are read at a time.
const MAX_READ: usize = 4096;

/// The listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// A configuration file of ours for HAProxy, with one stats socket that hands listening sockets out: what
    /// else is in HAProxy's configuration does not matter then.
    config: PathBuf,
    stats: PathBuf,
    /// Where the next HAProxy gets them (`-x`); listens only while one starts.
    offer: PathBuf,
    held: Vec<Held>,
    fetch: Option<Fetch>,
    offered: Option<Offer>,
    /// Fetches and offers so far. The number of each is its own.
    count: u64,
}

/// A listening socket and its record.
#[derive(Debug)]
struct Held {
    fd: OwnedFd,
    record: Box<[u8]>,
}

#[derive(Debug)]
struct Fetch {
    number: u64,
    fd: OwnedFd,
    worker: u32,
    answer: Answer,
    fds: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Offer {
    number: u64,
    listener: OwnedFd,
    /// The HAProxy that may come for them.
    to: Option<Pid>,
    client: Option<File>,
    /// Octets of the request that were read.
    asked: usize,
    /// Sockets that were sent.
    sent: usize,
}

impl Listeners {
    /// Files are named after the control socket.
    pub(crate) fn new(control_socket: &Path) -> Result<Self, Refusal> {
        let path = |suffix| runtime::with_suffix(control_socket, suffix);
        let l = Listeners {
            config: path(".haproxy-cfg"),
            stats: path(".haproxy-stats"),
            offer: path(".haproxy-x"),
            held: Vec::new(),
            fetch: None,
            offered: None,
            count: 0,
        };
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+".contains(b);
        if !l.stats.as_os_str().as_bytes().iter().all(plain) {
            return Err(Refusal::NoPlace);
        }
        l.write_config().map_err(|e| Refusal::NoFile(e.raw_os_error().unwrap_or(0)))?;
        Ok(l)
    }

    fn write_config(&self) -> std::io::Result<()> {
        let stats = self.stats.display();
        let text = format!(
            "# Made by vipd, which holds the listening sockets over a crash.\n\
             global\n    stats socket unix@{stats} mode 600 level user expose-fd listeners\n"
        );
        // On a full disk it stays.
        match runtime::read_file(&self.config) {
            Ok(there) if there == text => Ok(()),
            _ => runtime::replace_file(&self.config, &text),
        }
    }

    /// The file that HAProxy is to read.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The stats socket in it.
    pub(crate) fn stats(&self) -> &Path {
        &self.stats
    }

    /// Asks a worker for its listening sockets. What is held of an earlier one stays until the answer is
    /// complete.
    pub(crate) fn fetch(&mut self, worker: u32) -> Result<(), Refusal> {
        self.withdraw();
        self.fetch = None;
        let ask = || -> nix::Result<OwnedFd> {
            let fd = stream::connect(&self.stats)?;
            // The worker that listens need not be the one that answers: they share the socket.
            socket::setsockopt(&fd, sockopt::PassCred, &true)?;
            socket::send(fd.as_raw_fd(), REQUEST, MsgFlags::MSG_NOSIGNAL)?;
            Ok(fd)
        };
        let fd = ask().map_err(|e| Refusal::Unreachable(e as i32))?;
        self.count += 1;
        self.fetch =
            Some(Fetch { number: self.count, fd, worker, answer: Answer::default(), fds: Vec::new() });
        Ok(())
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        self.withdraw();
        self.fetch = None;
        self.held = Vec::new();
    }

    fn withdraw(&mut self) {
        if self.offered.take().is_some() {
            let _ = std::fs::remove_file(&self.offer);
        }
    }

    /// Before a start: the arguments with which the new HAProxy takes over what is held. Without them it
    /// would bind sockets of its own beside ours, so what cannot be offered is closed.
    pub(crate) fn offer(&mut self) -> Vec<CString> {
        self.withdraw();
        let _ = self.write_config();
        if !self.held.is_empty() {
            match (stream::listen(&self.offer), CString::new(self.offer.as_os_str().as_bytes())) {
                (Ok(listener), Ok(path)) => {
                    self.count += 1;
                    let number = self.count;
                    self.offered =
                        Some(Offer { number, listener, to: None, client: None, asked: 0, sent: 0 });
                    return vec![c"-x".to_owned(), path];
                }
                (listener, _) => {
                    let why = listener.err().map(|e| words::io_error(&e)).unwrap_or_default();
                    log::warn!("{}: {why}: HAProxy's listening sockets are dropped", self.offer.display());
                    self.clear();
                }
            }
        }
        Vec::new()
    }

    /// It was started.
    pub(crate) fn offered_to(&mut self, pid: Pid) {
        if let Some(o) = &mut self.offered {
            o.to = Some(pid);
        }
    }

    /// What to wait on, all of it for reading, and the number of each.
    pub(crate) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, u64)> {
        let offer = self.offered.as_ref().map(|o| match &o.client {
            Some(c) => (c.as_fd(), o.number),
            None => (o.listener.as_fd(), o.number),
        });
        self.fetch.as_ref().map(|f| (f.fd.as_fd(), f.number)).into_iter().chain(offer)
    }

    /// Goes on with attempt `number`. `Some`: a fetch came to its end.
    pub(crate) fn serve(&mut self, number: u64) -> Option<Result<usize, Refusal>> {
        if self.offered.as_mut().is_some_and(|o| o.number == number && o.serve(&self.held)) {
            self.withdraw();
        }
        let result = match self.fetch.as_mut().filter(|f| f.number == number)?.read() {
            Ok(false) => return None,
            Ok(true) => Ok(()),
            Err(e) => Err(e),
        };
        let fetch = self.fetch.take()?;
        Some(result.map(|()| {
            let records: Vec<Box<[u8]>> = fetch.answer.records().map(Box::from).collect();
            let all = fetch.fds.into_iter().zip(records).map(|(fd, record)| Held { fd, record });
            // Our own stats socket is none that clients wait on, and a worker that shares it with an earlier
            // one would let that one answer.
            self.held = all.filter(|h| !is_at(&h.fd, &self.stats)).collect();
            self.held.len()
        }))
    }
}

/// Whether a socket is bound to this path, or to the one that HAProxy renames to it.
fn is_at(fd: &OwnedFd, path: &Path) -> bool {
    let name = socket::getsockname::<UnixAddr>(fd.as_raw_fd());
    name.is_ok_and(|n| {
        n.path().is_some_and(|p| p.as_os_str().as_bytes().starts_with(path.as_os_str().as_bytes()))
    })
}

impl Fetch {
    /// Takes what has come. Returns whether that was all.
    fn read(&mut self) -> Result<bool, Refusal> {
        let mut buf = [0; MAX_READ];
        loop {
            let before = self.fds.len();
            let got = match scm::recv(self.fd.as_fd(), &mut buf, &mut self.fds) {
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
                Err(_) => return Err(Refusal::NoAnswer),
                Ok(got) if got.truncated => return Err(Refusal::Truncated),
                Ok(got) if got.len == 0 => return Err(Refusal::NoAnswer),
                Ok(got) if got.pid != Some(self.worker) => return Err(Refusal::Stranger),
                Ok(got) => got,
            };
            let new = self.fds.len() - before;
            let complete = self.answer.take(buf.get(..got.len).unwrap_or_default(), new)?;
            if new > 0 {
                // HAProxy's thread waits for this, and looks at its length only.
                let _ = socket::send(self.fd.as_raw_fd(), &[0; 4], MsgFlags::MSG_NOSIGNAL);
            }
            if complete {
                return Ok(true);
            }
        }
    }
}

impl Offer {
    /// Answers the HAProxy that was started. Returns whether it has everything, or failed to take it.
    fn serve(&mut self, held: &[Held]) -> bool {
        let Some(client) = &self.client else {
            // The master comes, or from 3.1 on the worker; both are in the group that the master leads.
            match stream::accept(&self.listener) {
                Ok(client) => {
                    if process::peer_group(&client) == self.to {
                        self.client = Some(client);
                    }
                    return false;
                }
                // Out of descriptors, say: who waits would wake us again and again.
                Err(e) => return !matches!(e, Errno::EAGAIN | Errno::EINTR),
            }
        };
        let mut buf = [0; 32];
        let octets = match socket::recv(client.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Ok(0) | Err(_) => return true,
            Ok(n) => buf.get(..n).unwrap_or_default(),
        };
        if self.asked < REQUEST.len() {
            if !REQUEST.get(self.asked..).is_some_and(|rest| rest.starts_with(octets)) {
                return true;
            }
            self.asked += octets.len();
            if self.asked < REQUEST.len() {
                return false;
            }
            let count = i32::try_from(held.len()).unwrap_or(0).to_ne_bytes();
            if scm::send(client.as_fd(), &count, &[]) != Ok(count.len()) {
                return true;
            }
        }
        // An acknowledgement asks for the next message.
        let rest = held.get(self.sent..).unwrap_or_default();
        let (n, data) = message(rest.iter().map(|h| &*h.record));
        let fds: Vec<i32> = rest.iter().take(n).map(|h| h.fd.as_raw_fd()).collect();
        self.sent += n;
        n == 0 || scm::send(client.as_fd(), &data, &fds) != Ok(data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ok<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
        result.unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// What holds `count` sockets, in a directory of its own.
    fn holder(name: &str, count: usize) -> Listeners {
        let dir = std::env::temp_dir().join(format!("vipd-{name}-{}", std::process::id()));
        ok(runtime::make_dir(&dir, runtime::PRIVATE));
        let mut l = ok(Listeners::new(&dir.join("control")));
        let listener = ok(TcpListener::bind("127.0.0.1:0"));
        l.held = (0..count)
            .map(|_| Held { fd: ok(listener.try_clone()).into(), record: Box::new([0; 6]) })
            .collect();
        l
    }

    /// Everything is ready, whether it is or not.
    fn serve(l: &mut Listeners) -> Option<Result<usize, Refusal>> {
        let numbers: Vec<u64> = l.fds().map(|(_, n)| n).collect();
        numbers.into_iter().find_map(|n| l.serve(n))
    }

    fn done(l: &Listeners) {
        let _ = std::fs::remove_dir_all(l.config.parent().unwrap_or(Path::new("/nonexistent")));
    }

    /// A holder offers, and another one fetches from it as from a worker.
    fn hand_over(count: usize, to: Pid) -> (Option<Result<usize, Refusal>>, Listeners) {
        let mut giver = holder(&format!("giver-{count}-{to}"), count);
        let mut taker = holder(&format!("taker-{count}-{to}"), 0);
        let args = giver.offer();
        assert_eq!(args.len(), 2);
        giver.offered_to(to);
        taker.stats.clone_from(&giver.offer);
        assert_eq!(taker.fetch(std::process::id()), Ok(()));
        let mut result = None;
        for _ in 0..100 {
            serve(&mut giver);
            result = result.or(serve(&mut taker));
            if giver.offered.is_none() || result.is_some_and(|r| r.is_err()) {
                break;
            }
        }
        assert_eq!(giver.offer.exists(), giver.offered.is_some(), "the socket goes with the offer");
        giver.clear();
        done(&giver);
        (result, taker)
    }

    #[test]
    fn what_is_held_is_handed_on() {
        for count in [1, 252, 253, 600] {
            let (result, taker) = hand_over(count, nix::unistd::getpgrp());
            assert_eq!(result, Some(Ok(count)));
            assert_eq!(taker.held.len(), count);
            let name = |h: &Held| ok(socket::getsockname::<socket::SockaddrIn>(h.fd.as_raw_fd())).port();
            assert!(taker.held.iter().all(|h| name(h) == name(&taker.held[0]) && *h.record == [0; 6]));
            done(&taker);
        }
    }

    #[test]
    fn nothing_to_read_changes_nothing() {
        let mut giver = holder("idle", 2);
        assert_eq!(giver.offer().len(), 2);
        giver.offered_to(nix::unistd::getpgrp());
        assert_eq!(serve(&mut giver), None, "nobody has come");
        assert!(giver.offered.is_some());
        let mut taker = holder("asking", 0);
        taker.stats.clone_from(&giver.offer);
        assert_eq!(taker.fetch(std::process::id()), Ok(()));
        assert_eq!(serve(&mut taker), None, "no answer yet");
        let number = taker.count;
        assert_eq!(taker.fetch(std::process::id()), Ok(()));
        assert_eq!(taker.serve(number), None, "an earlier fetch");
        assert!(taker.fetch.is_some() && giver.held.len() == 2);
        giver.clear();
        done(&giver);
        done(&taker);
    }

    #[test]
    fn nobody_else_gets_them() {
        let (result, taker) = hand_over(3, Pid::from_raw(1));
        assert!(result.is_none_or(|r| r.is_err()) && taker.held.is_empty());
        done(&taker);
    }

    #[test]
    fn nothing_held_is_nothing_offered() {
        let mut l = holder("empty", 0);
        assert!(l.offer().is_empty() && l.offered.is_none());
        assert_eq!(l.fetch(1), Err(Refusal::Unreachable(libc::ENOENT)), "no HAProxy there");
        done(&l);
        let refused = |path| Listeners::new(Path::new(path)).err();
        assert_eq!(refused("/tmp/with space/control"), Some(Refusal::NoPlace));
        assert_eq!(
            refused("/nonexistent/control"),
            Some(Refusal::NoFile(libc::ENOENT)),
            "the reason is told"
        );
    }
}
