//! One client: its request as it arrives, its answer as it leaves.

use super::protocol::{self, LATER, PATIENCE, Request, is_patient};
use super::{Asker, Language, http};
use crate::base::time::Time;
use crate::sys::stream;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// How many clients may watch.
pub(super) const MAX_WATCHERS: usize = 4;
/// Octets that wait for a watcher; lines beyond that are counted, and the watcher is told.
const MAX_BACKLOG: usize = 64 * 1024;
/// Octets of a client that are thrown away behind its request.
const MAX_REST: usize = 64 * 1024;

/// Turns a request into exit status and text; `None`: the answer comes later.
pub type Answer<'a> = &'a mut dyn FnMut(Request, Asker) -> Option<(u8, String)>;

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: Asker,
    stream: File,
    /// What it has said so far.
    pub(super) said: Vec<u8>,
    /// What it has not been told yet of its answer.
    pub(super) answer: Option<Vec<u8>>,
    pub(super) phase: Phase,
    pub(super) until: Time,
    language: Language,
}

/// What a client does.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its request is not complete.
    Asks,
    /// The answer comes later.
    Waits,
    /// It is answered. As long as octets of it arrive that nobody reads, to close would be to reset the
    /// connection, and the reset may overtake the answer.
    Leaves(usize),
    /// It gets a line for each event.
    Watches(Missed),
}

/// Lines that a watcher was too slow for.
#[derive(Debug, Default)]
pub(super) struct Missed {
    lines: u64,
    /// When the first of them was due.
    stamp: String,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// A client that has said nothing yet. `stream` does not block.
    pub(super) fn new(number: Asker, stream: File, language: Language, until: Time) -> Self {
        Connection { number, stream, said: Vec::new(), answer: None, phase: Phase::Asks, until, language }
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> Option<Time> {
        (!self.watches()).then_some(self.until)
    }

    pub(super) fn watches(&self) -> bool {
        matches!(self.phase, Phase::Watches(_))
    }

    /// How readily it gives way to another client: one that is answered, one that has asked nothing yet, one
    /// that waits; a watcher never does.
    pub(super) fn standing(&self) -> u8 {
        match self.phase {
            Phase::Leaves(_) => 0,
            Phase::Asks => 1,
            Phase::Waits => 2,
            Phase::Watches(_) => 3,
        }
    }

    /// The answer, if it waits for one.
    pub(super) fn reply(&mut self, now: Time, status: u8, text: &str) {
        if matches!(self.phase, Phase::Waits) {
            (self.phase, self.until) = (Phase::Leaves(0), now + PATIENCE);
            self.answer = Some(protocol::answer(status, text));
        }
    }

    /// A line, if it watches.
    pub(super) fn broadcast(&mut self, line: &str) {
        let Phase::Watches(missed) = &mut self.phase else { return };
        let backlog = self.answer.get_or_insert_default();
        if missed.lines > 0 || backlog.len() + line.len() > MAX_BACKLOG {
            if missed.lines == 0 {
                missed.stamp = line.split(' ').next().unwrap_or_default().to_owned();
            }
            missed.lines += 1;
        } else {
            backlog.extend_from_slice(line.as_bytes());
        }
    }

    /// Reads and writes as far as possible; a client that is not ready after all stays as it is. Returns
    /// whether to keep it.
    pub(super) fn serve(&mut self, now: Time, may_watch: bool, answer: Answer) -> bool {
        if self.answer.is_some() {
            return self.write();
        }
        let mut buf = [0; http::MAX_HEAD];
        let room = if self.language == Language::Control { protocol::MAX_LINE } else { buf.len() };
        let said = match self.stream.read(buf.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return false,
            Ok(n) => buf.get(..n).unwrap_or_default(),
            Err(e) => return is_patient(&e),
        };
        match &mut self.phase {
            Phase::Asks => {}
            Phase::Leaves(rest) => {
                *rest = rest.saturating_sub(said.len());
                return *rest > 0;
            }
            // It has nothing more to say: it breaks the protocol.
            Phase::Waits | Phase::Watches(_) => return false,
        }
        self.said.extend_from_slice(said);
        match self.language {
            Language::Control => match self.said.iter().position(|b| *b == b'\n') {
                Some(end) => self.command(now, end, may_watch, answer),
                None => return self.said.len() < room,
            },
            Language::Http(_) if self.said.len() < room && !http::is_complete(&self.said) => return true,
            Language::Http(_) => self.page(answer),
        }
        self.answer.is_none() || self.write()
    }

    /// A line of the control socket.
    fn command(&mut self, now: Time, end: usize, may_watch: bool, answer: Answer) {
        self.phase = Phase::Leaves(0);
        let answered = match self.said.get(..end).and_then(Request::parse) {
            None => Some((2, "unknown request\n".to_owned())),
            Some(Request::Watch) if !may_watch => Some((1, "too many watch already\n".to_owned())),
            Some(request) => {
                if request == Request::Watch {
                    self.phase = Phase::Watches(Missed::default());
                }
                answer(request, self.number)
            }
        };
        match answered {
            Some((status, text)) => self.answer = Some(protocol::answer(status, &text)),
            None => (self.phase, self.until) = (Phase::Waits, now + LATER),
        }
    }

    /// A request over HTTP.
    fn page(&mut self, answer: Answer) {
        self.phase = Phase::Leaves(MAX_REST);
        let page = http::parse(&self.said);
        let (status, text) = page.request().and_then(|r| answer(r, self.number)).unwrap_or_default();
        self.answer = Some(page.answer(status, &text));
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
        self.answer = None;
        match &mut self.phase {
            Phase::Watches(missed) if missed.lines > 0 => {
                let (stamp, lines) = (&missed.stamp, missed.lines);
                let note = format!("{stamp} vipd - - {lines} lines were missed from here on\n");
                missed.lines = 0;
                self.answer = Some(note.into_bytes());
                true
            }
            Phase::Watches(_) => true,
            Phase::Leaves(rest) if *rest > 0 => stream::end_writing(&self.stream),
            _ => false,
        }
    }
}
