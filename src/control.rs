//! The control socket: one line in, an exit status, a line end and a text out. Bounded in clients, in octets
//! and in time; nothing that a client does or fails to do keeps the loop waiting.

use crate::status::Form;
use crate::sys::runtime;
use crate::time::Time;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Clients served at a time; the oldest gives way.
const MAX_CLIENTS: usize = 8;
/// Longest request.
const MAX_LINE: usize = 256;
/// A client that takes longer is dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of these, clients that watch.
const MAX_WATCHERS: usize = 4;
/// Lines that wait for a watcher, in octets; what is beyond is counted and told.
const MAX_BACKLOG: usize = 64 * 1024;

/// A request; what the lines mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `status`, or with another form `status json`, `status metrics`, `status colour`
    Status(Form),
    /// `watch`: the answer goes on with a line for each event.
    Watch,
}

impl Request {
    /// From a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        match line.trim_ascii() {
            b"status" => Some(Request::Status(Form::Plain)),
            b"status colour" => Some(Request::Status(Form::Colour)),
            b"status json" => Some(Request::Status(Form::Json)),
            b"status metrics" => Some(Request::Status(Form::Metrics)),
            b"watch" => Some(Request::Watch),
            _ => None,
        }
    }
}

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    line: Vec<u8>,
    answer: Option<Vec<u8>>,
    until: Time,
    watch: Option<Missed>,
}

/// Lines that a watcher was too slow for.
#[derive(Debug, Default)]
struct Missed {
    lines: u64,
    /// When the first of them was due.
    stamp: String,
}

impl Control {
    /// Listens.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Control { listener: runtime::listen(path)?, clients: Vec::new() })
    }

    /// What to wait on: the listener first, then each client, with whether it is to be written to.
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let clients = self.clients.iter().map(|c| (c.stream.as_fd(), c.answer.is_some()));
        std::iter::once((self.listener.as_fd(), false)).chain(clients)
    }

    /// When the next client's time is over.
    pub fn deadline(&self) -> Option<Time> {
        self.clients.iter().filter(|c| c.watch.is_none()).map(|c| c.until).min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.clients.retain(|c| now < c.until || c.watch.is_some());
    }

    /// Takes new clients, reads, writes and drops; `answer` turns a request into exit status and text.
    pub fn serve(&mut self, now: Time, mut answer: impl FnMut(Request) -> (u8, String)) {
        for _ in 0..MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == MAX_CLIENTS
                    && let Some(oldest) = self.clients.iter().position(|c| c.watch.is_none())
                {
                    self.clients.remove(oldest);
                }
                let until = now + PATIENCE;
                self.clients.push(Client { stream, line: Vec::new(), answer: None, until, watch: None });
            }
        }
        let mut watchers = self.clients.iter().filter(|c| c.watch.is_some()).count();
        self.clients.retain_mut(|c| c.serve(&mut watchers, &mut answer));
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.clients.iter().any(|c| c.watch.is_some())
    }

    /// A line for all who watch, with the time at its beginning.
    pub fn tell(&mut self, line: &str) {
        for c in &mut self.clients {
            let Some(missed) = &mut c.watch else { continue };
            let backlog = c.answer.get_or_insert_default();
            if missed.lines > 0 || backlog.len() + line.len() > MAX_BACKLOG {
                if missed.lines == 0 {
                    missed.stamp = line.split(' ').next().unwrap_or_default().to_owned();
                }
                missed.lines += 1;
            } else {
                backlog.extend_from_slice(line.as_bytes());
            }
        }
    }
}

impl Client {
    /// Returns whether to go on.
    fn serve(&mut self, watchers: &mut usize, answer: &mut impl FnMut(Request) -> (u8, String)) -> bool {
        if self.answer.is_none() {
            let mut buf = [0; MAX_LINE];
            match self.stream.read(&mut buf) {
                // Who watches has nothing more to say.
                Ok(n) if n == 0 || self.watch.is_some() => return false,
                Ok(n) => self.line.extend_from_slice(buf.get(..n).unwrap_or_default()),
                Err(e) => return is_patient(&e),
            }
            let Some(end) = self.line.iter().position(|b| *b == b'\n') else {
                return self.line.len() < MAX_LINE;
            };
            let (status, text) = match Request::parse(self.line.get(..end).unwrap_or_default()) {
                Some(Request::Watch) if *watchers >= MAX_WATCHERS => {
                    (1, "too many watch already\n".to_owned())
                }
                Some(r) => {
                    if r == Request::Watch {
                        self.watch = Some(Missed::default());
                        *watchers += 1;
                    }
                    answer(r)
                }
                None => (2, "unknown request\n".to_owned()),
            };
            self.answer = Some(format!("{status}\n{text}").into_bytes());
        }
        let Some(rest) = &mut self.answer else { return false };
        match self.stream.write(rest) {
            Ok(n) => {
                rest.drain(..n.min(rest.len()));
            }
            Err(e) => return is_patient(&e),
        }
        if !rest.is_empty() {
            return true;
        }
        self.answer = match &mut self.watch {
            None => return false,
            Some(Missed { lines: 0, .. }) => None,
            Some(m) => {
                let note = format!("{} vipd - - {} lines were missed from here on\n", m.stamp, m.lines);
                m.lines = 0;
                Some(note.into_bytes())
            }
        };
        true
    }
}

fn is_patient(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The other end: asks, and returns the exit status. The text goes to `out` as it comes, until that returns false.
/// Waits for a few seconds at the most, or, with `patient`, until the daemon ends.
pub fn stream(path: &Path, line: &str, patient: bool, out: impl Fn(&[u8]) -> bool) -> io::Result<u8> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(if patient { None } else { Some(PATIENCE) })?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut buf = vec![0; 16 * 1024];
    let mut status = None;
    loop {
        let n = stream.read(&mut buf)?;
        let mut text = buf.get(..n).unwrap_or_default();
        if status.is_none() {
            // One digit and a line end, which come in one piece.
            let Some(([digit @ b'0'..=b'9', b'\n'], rest)) = text.split_first_chunk() else {
                return Err(ErrorKind::InvalidData.into());
            };
            (status, text) = (Some(digit - b'0'), rest);
        }
        if n == 0 || !out(text) {
            return Ok(status.unwrap_or_default());
        }
    }
}
