//! The control socket: one line in, an exit status, a line end and a text out. Bounded in clients, in octets
//! and in time; nothing that a client does or fails to do keeps the loop waiting.

use crate::base::time::Time;
use crate::report::status::Form;
use crate::sys::runtime;
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

/// How long nobody is let in after that has failed: without descriptors, who waits would wake us again and again.
const DEAF: Duration = Duration::from_secs(1);

/// Of these, clients that watch.
const MAX_WATCHERS: usize = 4;
/// Lines that wait for a watcher, in octets; what is beyond is counted and told.
const MAX_BACKLOG: usize = 64 * 1024;

/// A request; what the lines mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `status`, or with another form `status json`, `status metrics`, `status colour`
    Status(Form),
    /// `watch`: the answer goes on with a line for each event.
    Watch,
    /// `reload`
    Reload,
    /// `resign SECONDS yes|no [NAME]`
    Resign {
        /// A virtual router or a group; none: all.
        name: Option<String>,
        /// How long not to preempt.
        no_preempt_for: Duration,
        /// Even without a successor.
        force: bool,
    },
}

/// Who waits for an answer; unique as long as vipd runs.
pub type Asker = u64;

impl Request {
    /// From a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        Some(match line.trim_ascii() {
            b"status" => Request::Status(Form::Plain),
            b"status colour" => Request::Status(Form::Colour),
            b"status json" => Request::Status(Form::Json),
            b"status metrics" => Request::Status(Form::Metrics),
            b"watch" => Request::Watch,
            b"reload" => Request::Reload,
            line => {
                let mut words = std::str::from_utf8(line.strip_prefix(b"resign ")?).ok()?.split(' ');
                let no_preempt_for = words.next()?.parse().ok().filter(|s| *s <= MAX_NO_PREEMPT)?;
                let force = words.next()? == "yes";
                let name = words.next().map(str::to_owned);
                if words.next().is_some() {
                    return None;
                }
                Request::Resign { name, no_preempt_for: Duration::from_secs(no_preempt_for), force }
            }
        })
    }
}

/// The longest that can be asked for, in seconds: a day.
pub const MAX_NO_PREEMPT: u64 = 86_400;

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
    /// The last one's number.
    last: Asker,
    /// Nobody is let in until then.
    accept_paused_until: Option<Time>,
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
        Ok(Control {
            listener: runtime::listen(path)?,
            clients: Vec::new(),
            last: 0,
            accept_paused_until: None,
        })
    }

    /// What to wait on: the listener, then each client by its number, with whether it is to be written to.
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Option<Asker>, bool)> {
        let clients = self.clients.iter().map(|c| (c.stream.as_fd(), Some(c.number), c.answer.is_some()));
        let listener = self.accept_paused_until.is_none().then(|| (self.listener.as_fd(), None, false));
        listener.into_iter().chain(clients)
    }

    /// When the next client's time is over.
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

    /// The answer for one that waits, if it still does.
    pub fn reply(&mut self, now: Time, to: Asker, status: u8, text: &str) {
        if let Some(c) = self.clients.iter_mut().find(|c| c.number == to && c.waits) {
            (c.waits, c.until) = (false, now + PATIENCE);
            c.answer = Some(format!("{status}\n{text}").into_bytes());
        }
    }

    /// Goes on with one client, or lets new ones in (`None`). `answer` turns a request into exit status and text, or
    /// into nothing if the answer comes later, by `reply`.
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
                    // The oldest, but who waits for an answer has more patience than who has not asked yet.
                    let first = |f: fn(&Client) -> bool| self.clients.iter().position(f);
                    let gives_way = first(|c| c.watch.is_none() && !c.waits).or(first(|c| c.watch.is_none()));
                    self.clients.remove(gives_way.unwrap_or(0));
                }
                self.last += 1;
                let (number, until) = (self.last, now + PATIENCE);
                let (line, answer, waits) = (Vec::new(), None, false);
                self.clients.push(Client { number, waits, stream, line, answer, until, watch: None });
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
    /// Returns whether to go on.
    fn serve(
        &mut self,
        now: Time,
        watchers: &mut usize,
        answer: &mut impl FnMut(Request, Asker) -> Option<(u8, String)>,
    ) -> bool {
        if self.waits {
            // It has nothing more to say: it is gone, or babbles.
            return self.stream.read(&mut [0]).is_err_and(|e| is_patient(&e));
        }
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
                    let Some(answer) = answer(r, self.number) else {
                        (self.waits, self.until) = (true, now + LATER);
                        return true;
                    };
                    answer
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

/// Whether an error is none: later there may be more.
pub fn is_patient(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The other end: asks, and returns the exit status. The text goes to `out` as it comes, until that returns false.
/// Waits so long at the most, or, without `patience`, until the daemon ends.
pub fn stream(
    path: &Path,
    line: &str,
    patience: Option<Duration>,
    out: impl Fn(&[u8]) -> bool,
) -> io::Result<u8> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(patience)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let resign = |name: Option<&str>, no_preempt_for, force| {
            let name = name.map(str::to_owned);
            Some(Request::Resign { name, no_preempt_for: Duration::from_secs(no_preempt_for), force })
        };
        for (line, request) in [
            (&b"status"[..], Some(Request::Status(Form::Plain))),
            (b" status json\r", Some(Request::Status(Form::Json))),
            (b"status metrics", Some(Request::Status(Form::Metrics))),
            (b"status colour", Some(Request::Status(Form::Colour))),
            (b"status yaml", None),
            (b"status json json", None),
            (b"watch", Some(Request::Watch)),
            (b"watch json", None),
            (b" reload \r", Some(Request::Reload)),
            (b"resign 60 no", resign(None, 60, false)),
            (b"resign 0 yes VI_1", resign(Some("VI_1"), 0, true)),
            (b"resign 86400 no", resign(None, 86_400, false)),
            (b"resign 86401 no", None),
            (b"resign", None),
            (b"resign -1 no", None),
            (b"resign 60 no VI_1 VI_2", None),
            (b"reload now", None),
            (b"\xff\xfe", None),
            (b"", None),
        ] {
            assert_eq!(Request::parse(line), request, "{line:?}");
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
            let control = Control::open(&path).unwrap();
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
                self.control.serve(self.now, None, |_, _| None);
                let numbers: Vec<Asker> = self.control.clients.iter().map(|c| c.number).collect();
                for number in numbers {
                    self.control.serve(self.now, Some(number), |r, to| match r {
                        Request::Status(_) => Some((0, "well\n".to_owned())),
                        _ => {
                            later.push(to);
                            None
                        }
                    });
                }
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
}
