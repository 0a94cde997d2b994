//! Where metrics and health are served. The addresses do not depend on it: a listener that cannot be opened
//! is tried again.

use crate::base::log;
use crate::base::time::Time;
use crate::config::{Http, HttpAt};
use crate::control::{Language, Server};
use crate::report::words;
use crate::sys::{runtime, stream};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Pause after a failed attempt.
const RETRY: Duration = Duration::from_secs(10);

/// The listener, if the configuration asks for one.
#[derive(Debug, Default)]
pub(super) struct Listener {
    cfg: Option<Http>,
    pub(super) server: Option<Server>,
    /// Why it does not listen, and when it tries again.
    failed: Option<(String, Time)>,
}

impl Listener {
    /// Takes up what the configuration says. What stays the same goes on.
    pub(super) fn reconfigure(&mut self, now: Time, cfg: Option<&Http>) {
        if self.cfg.as_ref() != cfg {
            self.close();
            (self.cfg, self.failed) = (cfg.cloned(), None);
            self.open(now);
        }
    }

    /// Ends it, and removes its socket.
    pub(super) fn close(&mut self) {
        if self.server.take().is_some()
            && let Some(Http { at: HttpAt::Unix { path, .. }, .. }) = &self.cfg
        {
            let _ = runtime::remove_socket(path);
        }
    }

    fn open(&mut self, now: Time) {
        let Some(cfg) = &self.cfg else { return };
        match listen(&cfg.at) {
            Ok(listener) => {
                log::info!("http: listening on {}", cfg.text);
                self.server = Some(Server::new(listener, Language::Http(cfg.built_in)));
                self.failed = None;
            }
            Err(e) => {
                let why = words::io_error(&e);
                if self.failed.as_ref().is_none_or(|(before, _)| *before != why) {
                    log::warn!("http: cannot listen on {}: {why}: trying again every 10 s", cfg.text);
                }
                self.failed = Some((why, now + RETRY));
            }
        }
    }

    /// Tries again if it is time, and drops clients whose time is over.
    pub(super) fn tick(&mut self, now: Time) {
        if let Some(server) = &mut self.server {
            server.expire(now);
        }
        if self.failed.as_ref().is_some_and(|(_, at)| now >= *at) {
            self.open(now);
        }
    }

    /// When there is something to do even if nobody asks.
    pub(super) fn deadline(&self) -> Option<Time> {
        let again = self.failed.as_ref().map(|(_, at)| *at);
        again.or_else(|| self.server.as_ref().and_then(Server::deadline))
    }

    /// Where it is to listen, and why it does not; and its server, if it does.
    pub(super) fn state(&mut self) -> (Option<(&str, Option<&str>)>, Option<&mut Server>) {
        let why = self.failed.as_ref().map(|(why, _)| why.as_str());
        (self.cfg.as_ref().map(|cfg| (cfg.text.as_str(), why)), self.server.as_mut())
    }
}

fn listen(at: &HttpAt) -> io::Result<OwnedFd> {
    match at {
        HttpAt::Tcp(addr) => Ok(stream::listen_tcp(*addr)?),
        HttpAt::Unix { path, mode, group } => stream::listen_for(path, *mode, group.as_deref()),
    }
}
