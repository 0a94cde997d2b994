//! The listening socket and its clients. Clients, octets and time are bounded; no client can keep the loop
//! waiting.

use super::protocol::{self, LATER, MAX_LINE, PATIENCE, Request, is_patient};
use crate::base::time::Time;
use crate::sys::runtime;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// Clients served at a time; the oldest gives way.
const MAX_CLIENTS: usize = 8;
/// How many of these may watch.
const MAX_WATCHERS: usize = 4;
/// Octets that wait for a watcher; lines beyond that are counted, and the watcher is told.
const MAX_BACKLOG: usize = 64 * 1024;
/// Pause after a failed accept. Without descriptors, a waiting client would wake the loop again and again.
const DEAF: Duration = Duration::from_secs(1);

/// The number of a client that waits for an answer; unique as long as vipd runs.
pub type Asker = u64;

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
    /// The number of the last client.
    last: Asker,
    /// No client is accepted until then.
    accept_paused_until: Option<Time>,
}

#[derive(Debug)]
struct Client {
    number: Asker,
    /// It has asked, and the answer comes later.
    waits: bool,
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
    /// Listens, or goes on with a listener from before an upgrade.
    pub fn open(path: &Path, before: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Control {
            listener: before.map_or_else(|| runtime::listen(path), |fd| Ok(fd.into()))?,
            clients: Vec::new(),
            last: 0,
            accept_paused_until: None,
        })
    }

    /// What to wait for: the listener, then each client by its number; `true`: until it can be written to.
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Option<Asker>, bool)> {
        let clients = self.clients.iter().map(|c| (c.stream.as_fd(), Some(c.number), c.answer.is_some()));
        let listener = self.accept_paused_until.is_none().then(|| (self.listener.as_fd(), None, false));
        listener.into_iter().chain(clients)
    }

    /// When the time of the next client is over.
    pub fn deadline(&self) -> Option<Time> {
        self.clients
            .iter()
            .filter(|c| c.watch.is_none())
            .map(|c| c.until)
            .chain(self.accept_paused_until)
            .min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.clients.retain(|c| now < c.until || c.watch.is_some());
        self.accept_paused_until = self.accept_paused_until.filter(|until| now < *until);
    }

    /// The answer for a client that waits, if it is still there.
    pub fn reply(&mut self, now: Time, to: Asker, status: u8, text: &str) {
        if let Some(c) = self.clients.iter_mut().find(|c| c.number == to && c.waits) {
            (c.waits, c.until) = (false, now + PATIENCE);
            c.answer = Some(protocol::answer(status, text));
        }
    }

    /// The listener, and the client that waits for an upgrade: both outlive it.
    pub fn outlive(&self, asker: Asker, keep: &mut dyn FnMut(&str, BorrowedFd<'_>)) {
        keep("listener", self.listener.as_fd());
        if let Some(c) = self.clients.iter().find(|c| c.number == asker) {
            keep("asker", c.stream.as_fd());
        }
    }

    /// That client, after the upgrade.
    pub fn waits(&mut self, now: Time, client: OwnedFd) -> Asker {
        self.add(now + LATER, client.into());
        self.clients.iter_mut().for_each(|c| c.waits = true);
        self.last
    }

    fn add(&mut self, until: Time, stream: UnixStream) {
        self.last += 1;
        let (line, answer, waits, watch) = (Vec::new(), None, false, None);
        self.clients.push(Client { number: self.last, waits, stream, line, answer, until, watch });
    }

    /// Reads from, writes to or drops a client, or accepts new ones (`None`). `answer` turns a request into
    /// exit status and text; `None`: the answer comes later, by `reply`.
    pub fn serve(
        &mut self,
        now: Time,
        client: Option<Asker>,
        mut answer: impl FnMut(Request, Asker) -> Option<(u8, String)>,
    ) {
        let Some(number) = client else { return self.accept(now) };
        let mut watchers = self.clients.iter().filter(|c| c.watch.is_some()).count();
        self.clients.retain_mut(|c| c.number != number || c.serve(now, &mut watchers, &mut answer));
    }

    fn accept(&mut self, now: Time) {
        for _ in 0..MAX_CLIENTS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) => {
                    self.accept_paused_until = (!is_patient(&e)).then(|| now + DEAF);
                    break;
                }
            };
            if stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == MAX_CLIENTS {
                    // The oldest that does not watch gives way, before it those that have asked nothing yet.
                    let first = |f: fn(&Client) -> bool| self.clients.iter().position(f);
                    let gives_way = first(|c| c.watch.is_none() && !c.waits).or(first(|c| c.watch.is_none()));
                    self.clients.remove(gives_way.unwrap_or(0));
                }
                self.add(now + PATIENCE, stream);
            }
        }
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.clients.iter().any(|c| c.watch.is_some())
    }

    /// A line for all who watch, with the time at its beginning.
    pub fn broadcast(&mut self, line: &str) {
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
    /// Reads and writes as far as possible; a client that is not ready after all stays as it is. Returns
    /// whether to keep it.
    fn serve(
        &mut self,
        now: Time,
        watchers: &mut usize,
        answer: &mut impl FnMut(Request, Asker) -> Option<(u8, String)>,
    ) -> bool {
        if self.waits {
            // It has nothing more to say: it is gone, or breaks the protocol.
            return self.stream.read(&mut [0]).is_err_and(|e| is_patient(&e));
        }
        if self.answer.is_none() {
            match self.read_line() {
                Ok(None) => return true,
                Err(Gone) => return false,
                Ok(Some(line)) => self.answer = self.ask(now, &line, watchers, answer),
            }
            if self.waits {
                return true;
            }
        }
        self.write()
    }

    /// The request, once all of it is there.
    fn read_line(&mut self) -> Result<Option<Vec<u8>>, Gone> {
        let mut buf = [0; MAX_LINE];
        match self.stream.read(&mut buf) {
            // A watcher has nothing more to say.
            Ok(n) if n == 0 || self.watch.is_some() => return Err(Gone),
            Ok(n) => self.line.extend_from_slice(buf.get(..n).unwrap_or_default()),
            Err(e) if is_patient(&e) => return Ok(None),
            Err(_) => return Err(Gone),
        }
        match self.line.iter().position(|b| *b == b'\n') {
            Some(end) => Ok(self.line.get(..end).map(<[u8]>::to_vec)),
            None if self.line.len() < MAX_LINE => Ok(None),
            None => Err(Gone),
        }
    }

    /// The answer to a request, unless it comes later.
    fn ask(
        &mut self,
        now: Time,
        line: &[u8],
        watchers: &mut usize,
        answer: &mut impl FnMut(Request, Asker) -> Option<(u8, String)>,
    ) -> Option<Vec<u8>> {
        let Some(request) = Request::parse(line) else {
            return Some(protocol::answer(2, "unknown request\n"));
        };
        if request == Request::Watch {
            if *watchers >= MAX_WATCHERS {
                return Some(protocol::answer(1, "too many watch already\n"));
            }
            self.watch = Some(Missed::default());
            *watchers += 1;
        }
        let answer = answer(request, self.number);
        if answer.is_none() {
            (self.waits, self.until) = (true, now + LATER);
        }
        answer.map(|(status, text)| protocol::answer(status, &text))
    }

    /// Writes as much as fits. Returns whether to keep the client.
    fn write(&mut self) -> bool {
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

/// The client is gone, or breaks the protocol.
struct Gone;

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of the listener and of each client that it is ready.
    fn serve_all(
        control: &mut Control,
        now: Time,
        mut answer: impl FnMut(Request, Asker) -> Option<(u8, String)>,
    ) {
        control.serve(now, None, &mut answer);
        let numbers: Vec<Asker> = control.clients.iter().map(|c| c.number).collect();
        for number in numbers {
            control.serve(now, Some(number), &mut answer);
        }
    }

    struct Served {
        control: Control,
        path: std::path::PathBuf,
        now: Time,
    }

    impl Served {
        fn new(name: &str) -> Served {
            let path = std::env::temp_dir().join(format!("vipd-control-{}-{name}", std::process::id()));
            let control = Control::open(&path, None).unwrap();
            Served { control, path, now: Time::from_nanos(1_000_000_000) }
        }

        fn connect(&self, line: &[u8]) -> UnixStream {
            let mut client = UnixStream::connect(&self.path).unwrap();
            client.write_all(line).unwrap();
            client.set_nonblocking(true).unwrap();
            client
        }

        /// Status is answered at once, all else later; who that is.
        fn serve(&mut self) -> Vec<Asker> {
            let mut later = Vec::new();
            for _ in 0..2 {
                serve_all(&mut self.control, self.now, |r, to| match r {
                    Request::Status(..) => Some((0, "well\n".to_owned())),
                    _ => {
                        later.push(to);
                        None
                    }
                });
                self.control.expire(self.now);
            }
            later
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn read(mut client: &UnixStream) -> String {
        let mut text = [0; 64];
        let n = client.read(&mut text).unwrap_or(0);
        String::from_utf8_lossy(&text[..n]).into_owned()
    }

    #[test]
    fn an_answer_may_come_later() {
        let mut s = Served::new("later");
        let client = s.connect(b"reload\n");
        let asked = s.serve();
        assert_eq!(asked.len(), 1);
        s.now += PATIENCE * 2;
        assert!(s.serve().is_empty());
        let status = s.connect(b"status\n");
        s.serve();
        assert_eq!((read(&status), read(&client)), ("0\nwell\n".to_owned(), String::new()));
        s.control.reply(s.now, asked[0], 2, "wrong\n");
        s.control.reply(s.now, asked[0], 0, "once is enough\n");
        s.serve();
        assert_eq!(read(&client), "2\nwrong\n");
        assert_eq!(s.control.clients.len(), 0);
        s.control.reply(s.now, asked[0], 0, "gone\n");
    }

    #[test]
    fn who_waits_is_dropped_when_it_goes_babbles_or_waits_too_long() {
        let mut s = Served::new("dropped");
        drop(s.connect(b"reload\n"));
        s.serve();
        assert_eq!(s.control.clients.len(), 0, "gone");
        let mut client = s.connect(b"reload\n");
        assert_eq!(s.serve().len(), 1);
        client.write_all(b"reload\n").unwrap();
        s.serve();
        assert_eq!(s.control.clients.len(), 0, "it has said all that it may say");
        let _client = s.connect(b"reload\n");
        s.serve();
        s.now += LATER;
        s.serve();
        assert_eq!(s.control.clients.len(), 0, "too long");
    }

    #[test]
    fn who_asks_nothing_gives_way_first() {
        let mut s = Served::new("full");
        let waiting: Vec<UnixStream> = (0..3).map(|_| s.connect(b"reload\n")).collect();
        assert_eq!(s.serve().len(), 3);
        let _silent: Vec<UnixStream> = (0..20).map(|_| s.connect(b"")).collect();
        s.serve();
        s.serve();
        assert_eq!(s.control.clients.len(), MAX_CLIENTS);
        assert_eq!(s.control.clients.iter().filter(|c| c.waits).count(), waiting.len());
    }

    /// One client of each kind: connected, half a request sent, waiting for an answer, watching, its socket
    /// full.
    #[test]
    fn readiness_that_is_none_changes_nothing() {
        let mut s = Served::new("spurious");
        let silent = s.connect(b"");
        let half = s.connect(b"stat");
        let waiting = s.connect(b"reload\n");
        let watching = s.connect(b"watch\n");
        let large = "x".repeat(1 << 20);
        let full = s.connect(b"status\n");
        let asked = std::cell::Cell::new((0, 0));
        let serve = |control: &mut Control, now| {
            serve_all(control, now, |r, to| match r {
                Request::Reload(_) => {
                    asked.set((asked.get().0 + 1, to));
                    None
                }
                Request::Watch => Some((0, String::new())),
                _ => Some((0, large.clone())),
            });
        };
        let client = |c: &Client| {
            let left = c.answer.as_ref().map(Vec::len);
            (c.number, c.line.clone(), c.waits, left, c.until, c.watch.is_some())
        };
        let state = |c: &Control| c.clients.iter().map(client).collect::<Vec<_>>();
        for _ in 0..3 {
            serve(&mut s.control, s.now);
        }
        assert_eq!(read(&watching), "0\n");
        assert_eq!(s.control.clients.len(), 5);
        let before = state(&s.control);
        for _ in 0..10 {
            serve(&mut s.control, s.now);
            assert_eq!(state(&s.control), before);
        }
        assert_eq!(asked.get().0, 1, "asked once");
        // And each goes on as if nothing had been.
        (&half).write_all(b"us\n").expect("written");
        (&silent).write_all(b"status\n").expect("written");
        s.control.broadcast("2026 line\n");
        s.control.reply(s.now, asked.get().1, 0, "done\n");
        serve(&mut s.control, s.now);
        assert_eq!((read(&waiting), read(&watching)), ("0\ndone\n".into(), "2026 line\n".into()));
        for client in [&silent, &half, &full] {
            assert!(read(client).starts_with("0\nxxx"));
        }
    }
}
