//! The control socket: one line in, an exit status, a line end and a text out. Bounded in clients, in octets
//! and in time; nothing that a client does or fails to do keeps the loop waiting.

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
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may wait for an answer that comes later.
pub const LATER: Duration = Duration::from_secs(120);

/// A request; what the lines mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `status`
    Status,
    /// `reload`
    Reload,
    /// `resign SECONDS yes|no [NAME]`
    Resign {
        /// A virtual router or a group; none: all.
        name: Option<String>,
        /// How long not to preempt.
        aside: Duration,
        /// Even without a successor.
        force: bool,
    },
}

/// Who waits for an answer; unique as long as vipd runs.
pub type Asker = u64;

impl Request {
    /// From a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let request = match words.next()? {
            "status" => Request::Status,
            "reload" => Request::Reload,
            "resign" => {
                let aside = words.next()?.parse().ok().filter(|s| *s <= MAX_ASIDE)?;
                let force = words.next()? == "yes";
                let name = words.next().map(str::to_owned);
                Request::Resign { name, aside: Duration::from_secs(aside), force }
            }
            _ => return None,
        };
        words.next().is_none().then_some(request)
    }
}

/// The longest that can be asked for, in seconds: a day.
pub const MAX_ASIDE: u64 = 86_400;

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
    /// The last one's number.
    last: Asker,
}

#[derive(Debug)]
struct Client {
    number: Asker,
    /// It has asked and waits.
    waits: bool,
    stream: UnixStream,
    line: Vec<u8>,
    answer: Option<Vec<u8>>,
    until: Time,
}

impl Control {
    /// Listens.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Control { listener: runtime::listen(path)?, clients: Vec::new(), last: 0 })
    }

    /// What to wait on: the listener first, then each client, with whether it is to be written to.
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let clients = self.clients.iter().map(|c| (c.stream.as_fd(), c.answer.is_some()));
        std::iter::once((self.listener.as_fd(), false)).chain(clients)
    }

    /// When the next client's time is over.
    pub fn deadline(&self) -> Option<Time> {
        self.clients.iter().map(|c| c.until).min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.clients.retain(|c| now < c.until);
    }

    /// The answer for one that waits, if it still does.
    pub fn reply(&mut self, now: Time, to: Asker, status: u8, text: &str) {
        if let Some(c) = self.clients.iter_mut().find(|c| c.number == to && c.waits) {
            (c.waits, c.until) = (false, now + PATIENCE);
            c.answer = Some(format!("{status}\n{text}").into_bytes());
        }
    }

    /// Takes new clients, reads, writes and drops; `answer` turns a request into exit status and text, or into nothing
    /// if the answer comes later, by `reply`.
    pub fn serve(&mut self, now: Time, mut answer: impl FnMut(Request, Asker) -> Option<(u8, String)>) {
        for _ in 0..MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == MAX_CLIENTS {
                    // The oldest, but who waits for an answer has more patience than who has not asked yet.
                    let oldest = self.clients.iter().position(|c| !c.waits).unwrap_or(0);
                    self.clients.remove(oldest);
                }
                self.last += 1;
                let (number, until) = (self.last, now + PATIENCE);
                let (line, answer, waits) = (Vec::new(), None, false);
                self.clients.push(Client { number, waits, stream, line, answer, until });
            }
        }
        self.clients.retain_mut(|c| c.serve(now, &mut answer));
    }
}

impl Client {
    /// Returns whether to go on.
    fn serve(&mut self, now: Time, answer: &mut impl FnMut(Request, Asker) -> Option<(u8, String)>) -> bool {
        if self.waits {
            // It has nothing more to say: it is gone, or babbles.
            let silent = self.stream.read(&mut [0]);
            return silent.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted));
        }
        if self.answer.is_none() {
            let mut buf = [0; MAX_LINE];
            match self.stream.read(&mut buf) {
                Ok(0) => return false,
                Ok(n) => self.line.extend_from_slice(buf.get(..n).unwrap_or_default()),
                Err(e) => return matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            }
            let Some(end) = self.line.iter().position(|b| *b == b'\n') else {
                return self.line.len() < MAX_LINE;
            };
            let (status, text) = match Request::parse(self.line.get(..end).unwrap_or_default()) {
                Some(r) => match answer(r, self.number) {
                    Some(a) => a,
                    None => {
                        (self.waits, self.until) = (true, now + LATER);
                        return true;
                    }
                },
                None => (2, "unknown request\n".to_owned()),
            };
            self.answer = Some(format!("{status}\n{text}").into_bytes());
        }
        let Some(rest) = &mut self.answer else { return false };
        match self.stream.write(rest) {
            Ok(n) => {
                rest.drain(..n.min(rest.len()));
                !rest.is_empty()
            }
            Err(e) => matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

/// The other end, for `vipd status`: asks and returns exit status and text. Waits at most so long.
pub fn ask(path: &Path, line: &str, patience: Duration) -> io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (status, text) = answer.split_once('\n').ok_or(ErrorKind::InvalidData)?;
    Ok((status.parse().map_err(|_| ErrorKind::InvalidData)?, text.to_owned()))
}
