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

/// The other end: connects and asks.
fn request(path: &Path, line: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    Ok(stream)
}

fn split(answer: &str) -> io::Result<(u8, &str)> {
    let (status, text) = answer.split_once('\n').ok_or(ErrorKind::InvalidData)?;
    Ok((status.parse().map_err(|_| ErrorKind::InvalidData)?, text))
}

/// For `vipd status`: asks and returns exit status and text. Waits at most a few seconds.
pub fn ask(path: &Path, line: &str) -> io::Result<(u8, String)> {
    let mut stream = request(path, line)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (status, text) = split(&answer)?;
    Ok((status, text.to_owned()))
}

/// For `vipd status --watch`: what comes goes to `out` as it comes, until `out` returns false (0), or the daemon
/// ends (an error). The exit status if it is refused.
pub fn watch(path: &Path, mut out: impl FnMut(&[u8]) -> bool) -> io::Result<u8> {
    let mut stream = request(path, "watch")?;
    // `0\n` comes in one piece with the first of the text.
    let mut buf = vec![0; 4096];
    let mut begun = false;
    loop {
        let n = stream.read(&mut buf)?;
        let mut text = buf.get(..n).unwrap_or_default();
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if !std::mem::replace(&mut begun, true) {
            let (head, rest) = text.split_at(text.len().min(2));
            let (status, _) = split(std::str::from_utf8(head).unwrap_or_default())?;
            text = rest;
            if status != 0 {
                out(text);
                return Ok(status);
            }
        }
        if !out(text) {
            return Ok(0);
        }
    }
}
