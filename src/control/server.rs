//! A listening socket and its clients. Clients, octets and time are bounded; no client can keep the loop
//! waiting.

use super::connection::{Answer, Connection, MAX_WATCHERS, Phase};
use super::protocol::{LATER, PATIENCE, is_patient};
use super::{Asker, Language};
use crate::base::time::Time;
use crate::sys::stream;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Clients served at a time; the oldest gives way.
pub(super) const MAX_CLIENTS: usize = 8;
/// Pause after a failed accept. Without descriptors, a waiting client would wake the loop again and again.
const DEAF: Duration = Duration::from_secs(1);
/// Pause after each client over HTTP. Anybody may ask there: this bounds what the answers cost, and nobody
/// gives way before it had 8 times as long to ask.
const PACE: Duration = Duration::from_millis(20);

/// A listening socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    language: Language,
    pub(super) clients: Vec<Connection>,
    /// The number of the last client.
    last: Asker,
    /// No client is accepted until then.
    accept_paused_until: Option<Time>,
}

impl Server {
    /// Serves who connects to `listener`, which does not block.
    pub fn new(listener: OwnedFd, language: Language) -> Self {
        Server { listener, language, clients: Vec::new(), last: 0, accept_paused_until: None }
    }

    /// What its clients speak.
    pub fn language(&self) -> Language {
        self.language
    }

    /// What to wait for: the listener, then each client by its number; `true`: until it can be written to.
    pub fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Option<Asker>, bool)> {
        let clients = self.clients.iter().map(|c| (c.as_fd(), Some(c.number), c.answer.is_some()));
        let listener = self.accept_paused_until.is_none().then(|| (self.listener.as_fd(), None, false));
        listener.into_iter().chain(clients)
    }

    /// When the time of the next client is over.
    pub fn deadline(&self) -> Option<Time> {
        self.clients.iter().filter_map(Connection::deadline).chain(self.accept_paused_until).min()
    }

    /// Drops clients whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.clients.retain(|c| c.deadline().is_none_or(|until| now < until));
        self.accept_paused_until = self.accept_paused_until.filter(|until| now < *until);
    }

    /// The answer for a client that waits, if it is still there.
    pub fn reply(&mut self, now: Time, to: Asker, status: u8, text: &str) {
        if let Some(c) = self.clients.iter_mut().find(|c| c.number == to) {
            c.reply(now, status, text);
        }
    }

    /// The listener, and the client that waits for an upgrade: both outlive it.
    pub fn outlive(&self, asker: Asker, keep: &mut dyn FnMut(&str, BorrowedFd<'_>)) {
        keep("listener", self.listener.as_fd());
        if let Some(c) = self.clients.iter().find(|c| c.number == asker) {
            keep("asker", c.as_fd());
        }
    }

    /// That client, after the upgrade.
    pub fn waits(&mut self, now: Time, client: OwnedFd) -> Asker {
        self.add(now + LATER, client.into());
        self.clients.iter_mut().for_each(|c| c.phase = Phase::Waits);
        self.last
    }

    fn add(&mut self, until: Time, stream: File) {
        self.last += 1;
        self.clients.push(Connection::new(self.last, stream, self.language, until));
    }

    /// Reads from, writes to or drops a client, or accepts new ones (`None`). `answer` turns a request into
    /// exit status and text; `None`: the answer comes later, by `reply`.
    pub fn serve(&mut self, now: Time, client: Option<Asker>, answer: Answer) {
        let Some(number) = client else { return self.accept(now) };
        let may_watch = self.clients.iter().filter(|c| c.watches()).count() < MAX_WATCHERS;
        self.clients.retain_mut(|c| c.number != number || c.serve(now, may_watch, answer));
    }

    fn accept(&mut self, now: Time) {
        for _ in 0..MAX_CLIENTS {
            let stream = match stream::accept(&self.listener) {
                Ok(stream) => stream,
                Err(e) => {
                    self.accept_paused_until = (!is_patient(&e.into())).then(|| now + DEAF);
                    break;
                }
            };
            if self.clients.len() == MAX_CLIENTS {
                // The oldest of those that have the least to lose.
                let standing = self.clients.iter().enumerate().min_by_key(|(_, c)| c.standing());
                self.clients.remove(standing.map_or(0, |(i, _)| i));
            }
            self.add(now + PATIENCE, stream);
            if self.language != Language::Control {
                self.accept_paused_until = Some(now + PACE);
                break;
            }
        }
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.clients.iter().any(Connection::watches)
    }

    /// A line for all who watch, with the time at its beginning.
    pub fn broadcast(&mut self, line: &str) {
        self.clients.iter_mut().for_each(|c| c.broadcast(line));
    }
}
