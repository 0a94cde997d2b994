//! The sink of the `log` crate: stderr or syslog. It never blocks the loop: a line that cannot be taken at
//! once is dropped and counted, and the count is told with the next line that gets through.

use crate::config::{LogFacility, LogTarget};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use syslog::{Facility, Formatter3164, LogFormat};

const DEV_LOG: &str = "/dev/log";
/// Longest line; a pipe takes up to 4096 octets at once or not at all.
const MAX_LINE: usize = 2048;

/// The logger; there is one.
pub struct Logger {
    inner: Mutex<Inner>,
}

struct Inner {
    sink: Sink,
    dropped: u64,
}

enum Sink {
    Stderr { terminal: Option<File> },
    Syslog { socket: Option<UnixDatagram>, formatter: Formatter3164 },
}

/// Installs the logger. Stamps on stderr only if it is a terminal: a supervisor adds its own.
pub fn install(target: LogTarget, level: LevelFilter, facility: LogFacility) -> &'static Logger {
    let inner = Mutex::new(Inner { sink: sink(target, facility), dropped: 0 });
    let logger: &'static Logger = Box::leak(Box::new(Logger { inner }));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    logger
}

impl Logger {
    /// Lines go there from now on.
    pub fn redirect(&self, target: LogTarget, facility: LogFacility) {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).sink = sink(target, facility);
    }
}

fn sink(target: LogTarget, facility: LogFacility) -> Sink {
    let to_stderr = match target {
        LogTarget::Stderr => true,
        LogTarget::Syslog => false,
        LogTarget::Auto => stderr().is_terminal() || !Path::new(DEV_LOG).exists(),
    };
    if to_stderr {
        Sink::Stderr { terminal: stderr().is_terminal().then(terminal).flatten() }
    } else {
        let formatter = Formatter3164 {
            facility: syslog_facility(facility),
            hostname: None,
            process: "vipd".into(),
            pid: std::process::id(),
        };
        Sink::Syslog { socket: connect(), formatter }
    }
}

fn syslog_facility(f: LogFacility) -> Facility {
    match f {
        LogFacility::Daemon => Facility::LOG_DAEMON,
        LogFacility::User => Facility::LOG_USER,
        LogFacility::Local(n) => match n {
            0 => Facility::LOG_LOCAL0,
            1 => Facility::LOG_LOCAL1,
            2 => Facility::LOG_LOCAL2,
            3 => Facility::LOG_LOCAL3,
            4 => Facility::LOG_LOCAL4,
            5 => Facility::LOG_LOCAL5,
            6 => Facility::LOG_LOCAL6,
            _ => Facility::LOG_LOCAL7,
        },
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(DEV_LOG).ok()?;
    Some(socket)
}

impl Log for Logger {
    fn enabled(&self, m: &Metadata) -> bool {
        m.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for line in text.lines() {
            inner.line(record.level(), line);
        }
    }

    fn flush(&self) {}
}

impl Inner {
    fn line(&mut self, level: Level, line: &str) {
        if self.dropped > 0 {
            let told = self.sink.send(Level::Warn, &format!("{} log lines were lost", self.dropped));
            if !told {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if !self.sink.send(level, line) {
            self.dropped += 1;
        }
    }
}

impl Sink {
    /// Returns whether the line was taken.
    fn send(&mut self, level: Level, line: &str) -> bool {
        let mut out = Vec::with_capacity(line.len() + 64);
        match self {
            Sink::Stderr { terminal } => {
                if terminal.is_some() {
                    let now = std::time::SystemTime::now();
                    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    let (s, ms) = (now.as_secs() % 86_400, now.subsec_millis());
                    let _ = write!(out, "{:02}:{:02}:{:02}.{ms:03} ", s / 3600, s / 60 % 60, s % 60);
                }
                escape(line, &mut out);
                out.truncate(MAX_LINE);
                out.push(b'\n');
                match terminal {
                    Some(tty) => tty.write_all(&out).is_ok(),
                    None => write_stderr(&out),
                }
            }
            Sink::Syslog { socket, formatter } => {
                let mut text = Vec::new();
                escape(line, &mut text);
                text.truncate(MAX_LINE);
                let text = String::from_utf8_lossy(&text);
                let _ = match level {
                    Level::Error => formatter.err(&mut out, &*text),
                    Level::Warn => formatter.warning(&mut out, &*text),
                    Level::Info => formatter.info(&mut out, &*text),
                    Level::Debug | Level::Trace => formatter.debug(&mut out, &*text),
                };
                // A syslogd that was restarted has a new socket.
                if socket.as_ref().is_some_and(|s| s.send(&out).is_ok()) {
                    return true;
                }
                *socket = connect();
                socket.as_ref().is_some_and(|s| s.send(&out).is_ok())
            }
        }
    }
}

/// The terminal behind stderr, opened anew: O_NONBLOCK on stderr itself would be shared with whoever else has
/// it, and that it is writable does not mean that a line fits.
fn terminal() -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2").ok()
}

/// A pipe that takes no more is not waited for; one that is writable takes a line as a whole (PIPE_BUF).
fn write_stderr(out: &[u8]) -> bool {
    let stderr = stderr().lock();
    let fd = stderr.as_fd();
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut fds, PollTimeout::ZERO) {
        Ok(1) if fds[0].revents().is_some_and(|r| r.contains(PollFlags::POLLOUT)) => {
            nix::unistd::write(fd, out).is_ok()
        }
        _ => false,
    }
}

/// Text from outside cannot forge a line or move a terminal's cursor.
fn escape(line: &str, out: &mut Vec<u8>) {
    for c in line.chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        } else {
            let mut utf8 = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
    }
}
