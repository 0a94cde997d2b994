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
const PATIENCE: Duration = Duration::from_secs(5);

/// A request; what the lines mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `status`
    Status,
}

impl Request {
    /// From a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        match line.trim_ascii() {
            b"status" => Some(Request::Status),
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
        self.clients.iter().map(|c| c.until).min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.clients.retain(|c| now < c.until);
    }

    /// Takes new clients, reads, writes and drops; `answer` turns a request into exit status and text.
    pub fn serve(&mut self, now: Time, mut answer: impl FnMut(Request) -> (u8, String)) {
        for _ in 0..MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == MAX_CLIENTS {
                    self.clients.remove(0);
                }
                self.clients.push(Client { stream, line: Vec::new(), answer: None, until: now + PATIENCE });
            }
        }
        self.clients.retain_mut(|c| c.serve(&mut answer));
    }
}

impl Client {
    /// Returns whether to go on.
    fn serve(&mut self, answer: &mut impl FnMut(Request) -> (u8, String)) -> bool {
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
                Some(r) => answer(r),
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

/// The other end, for `vipd status`: asks and returns exit status and text. Waits at most a few seconds.
pub fn ask(path: &Path, line: &str) -> io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (status, text) = answer.split_once('\n').ok_or(ErrorKind::InvalidData)?;
    Ok((status.parse().map_err(|_| ErrorKind::InvalidData)?, text.to_owned()))
}
