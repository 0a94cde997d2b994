//! The sink of the `log` crate: stderr or syslog. It never blocks the loop: a line that cannot be taken at
//! once is dropped and counted, and the next line that gets through is preceded by the count. HAProxy may
//! print faster than the reader of a pipe takes it: half of the pipe is left to vipd's own lines.

use crate::base::log::OTHERS;
use crate::base::text::escape;
use crate::config::{LogFacility, LogLevel, LogTarget};
use crate::sys::clock::{self, Local};
use crate::sys::runtime;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use syslog::{Facility, Severity};

const DEV_LOG: &str = "/dev/log";
/// Longest line in octets. A pipe takes up to 4096 octets at once or not at all (PIPE_BUF), and the longest
/// lines fill its pages, two of them each with their ends.
const MAX_LINE: usize = 2047;
/// Size of the pipe that is asked for, in octets: a reader that is late for a moment loses nothing.
const PIPE_SIZE: libc::c_int = 1 << 20;

/// Month names of RFC 3164 and RFC 5322.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Logger {
    inner: Mutex<Inner>,
}

struct Inner {
    sink: Sink,
    dropped: u64,
}

/// Time stamps on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    /// A pipe or a socket: the reader adds its own (journald, supervise-daemon's logger, a container
    /// runtime).
    None,
    /// journald, which takes the severity from `<N>` (sd-daemon(3)), and adds its own.
    Severity,
    /// A terminal.
    Time,
    /// A file: no reader adds one.
    Date,
}

enum Sink {
    Stderr { own: Option<File>, stamp: Stamp },
    Syslog { socket: Option<UnixDatagram>, facility: Facility },
}

/// Whether lines go to syslog.
pub fn is_syslog(target: LogTarget) -> bool {
    match target {
        LogTarget::Stderr => false,
        LogTarget::Syslog => true,
        LogTarget::Auto => !stderr().is_terminal() && Path::new(DEV_LOG).exists(),
    }
}

/// Installs the logger.
pub fn install(target: LogTarget, level: LogLevel, facility: LogFacility) {
    let sink = if !is_syslog(target) {
        let stat = fstat(stderr()).ok();
        let kind = stat.map_or(0, |s| s.st_mode & libc::S_IFMT);
        let journal = std::env::var("JOURNAL_STREAM").ok();
        let stamp = match kind {
            _ if stat.zip(journal).is_some_and(|(s, j)| is_stream(&j, s.st_dev, s.st_ino)) => Stamp::Severity,
            _ if stderr().is_terminal() => Stamp::Time,
            libc::S_IFREG => Stamp::Date,
            _ => Stamp::None,
        };
        let own = stderr().is_terminal() || kind == libc::S_IFIFO;
        Sink::Stderr { own: own.then(reopened).flatten(), stamp }
    } else {
        Sink::Syslog { socket: connect(), facility: syslog_facility(facility) }
    };
    let logger = Logger { inner: Mutex::new(Inner { sink, dropped: 0 }) };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        set_level(level);
    }
}

/// Sets the least severe level that is written.
pub fn set_level(level: LogLevel) {
    log::set_max_level(match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    });
}

/// Whether JOURNAL_STREAM (systemd.exec(5)), `DEVICE:INODE`, is this file: stderr may have been redirected
/// since.
fn is_stream(journal: &str, device: u64, inode: u64) -> bool {
    journal.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
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
            if record.target() == OTHERS && !inner.sink.has_room() {
                inner.dropped += 1;
            } else {
                inner.line(record.level(), line);
            }
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
    /// Whether a pipe is less than half full.
    fn has_room(&self) -> bool {
        let Sink::Stderr { own: Some(own), .. } = self else { return true };
        let size = fcntl(own, FcntlArg::F_GETPIPE_SZ).ok().and_then(|n| usize::try_from(n).ok());
        size.is_none_or(|size| runtime::unread(own.as_fd()) < size / 2)
    }

    /// Returns whether the line was taken.
    fn send(&mut self, level: Level, line: &str) -> bool {
        let mut out = Vec::with_capacity(line.len() + 64);
        match self {
            Sink::Stderr { own, stamp } => {
                if *stamp == Stamp::Severity {
                    let _ = write!(out, "<{}>", severity(level) as u32);
                } else if *stamp != Stamp::None {
                    let now = std::time::SystemTime::now();
                    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    date(&mut out, &clock::local(now.as_secs()));
                    if *stamp == Stamp::Time {
                        out.drain(.."Mmm dd ".len());
                    }
                    let _ = write!(out, ".{:03} ", now.subsec_millis());
                }
                escape(line, &mut out);
                out.truncate(MAX_LINE);
                out.push(b'\n');
                match own {
                    Some(own) => own.write_all(&out).is_ok(),
                    None => write_stderr(&out),
                }
            }
            Sink::Syslog { socket, facility } => {
                header(
                    &mut out,
                    *facility,
                    severity(level),
                    &clock::local(clock::unix()),
                    std::process::id(),
                );
                escape(line, &mut out);
                out.truncate(MAX_LINE);
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

/// `<PRI>Mmm dd hh:mm:ss vipd[PID]: ` (RFC 3164 §4.1, without the host name, which /dev/log does not take).
/// Written by hand: the formatter of the `syslog` crate costs 27 KiB and writes UTC where the RFC means local
/// time.
fn header(out: &mut Vec<u8>, facility: Facility, severity: Severity, t: &Local, pid: u32) {
    let _ = write!(out, "<{}>", facility as u32 | severity as u32);
    date(out, t);
    let _ = write!(out, " vipd[{pid}]: ");
}

/// `Mmm dd hh:mm:ss`
fn date(out: &mut Vec<u8>, t: &Local) {
    let month = MONTHS.get(usize::try_from(t.month).unwrap_or(0)).unwrap_or(&"???");
    let (h, m, s) = t.time;
    let _ = write!(out, "{month} {:2} {h:02}:{m:02}:{s:02}", t.day);
}

/// The terminal or pipe behind stderr, opened a second time: other processes share the flags of stderr
/// itself, so it must not become O_NONBLOCK, and poll(2) does not say whether a whole line fits. A pipe takes
/// a line as a whole or not at all (PIPE_BUF).
fn reopened() -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let own = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2").ok()?;
    let _ = fcntl(&own, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE)); // no more than /proc/sys/fs/pipe-max-size
    Some(own)
}

/// Writes to stderr itself, unless that would block.
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

#[cfg(test)]
mod tests {
    use super::*;
    use syslog::{Formatter3164, LogFormat};

    /// The calendar of UTC, in which the crate writes (days to date: Hinnant's algorithm).
    fn utc(unix: u64) -> Local {
        let z = unix / 86_400 + 719_468;
        let (era, day) = (z / 146_097, z % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = (day - (153 * month + 2) / 5 + 1) as i32;
        let month = (if month < 10 { month + 2 } else { month - 10 }) as i32;
        let year = (year + era * 400 - 1900) as i32 + i32::from(month < 2);
        let s = (unix % 86_400) as i32;
        Local { year, month, day, weekday: 0, time: (s / 3600, s / 60 % 60, s % 60), offset: 0 }
    }

    #[test]
    fn headers_are_those_of_the_crate() {
        let facilities =
            [LogFacility::Daemon, LogFacility::User, LogFacility::Local(0), LogFacility::Local(7)];
        for facility in facilities.map(syslog_facility) {
            let theirs = Formatter3164 { facility, hostname: None, process: "vipd".into(), pid: 77 };
            for severity in
                [Severity::LOG_ERR, Severity::LOG_WARNING, Severity::LOG_INFO, Severity::LOG_DEBUG]
            {
                // Again if the second has changed in between.
                loop {
                    let before = clock::unix();
                    let (mut expected, mut ours) = (Vec::new(), Vec::new());
                    theirs.format(&mut expected, severity, "x").expect("to a Vec");
                    header(&mut ours, facility, severity, &utc(before), 77);
                    ours.push(b'x');
                    if clock::unix() == before {
                        // The crate writes `02` where RFC 3164 §4.1.2 has a blank and `2`.
                        let day = ours.iter().position(|b| *b == b' ').expect("there") + 1;
                        if expected.get(day) == Some(&b'0') {
                            expected[day] = b' ';
                        }
                        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&expected));
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        for (journal, is) in [("9:123", true), ("9:124", false), ("8:123", false), ("9", false), ("", false)]
        {
            assert_eq!(is_stream(journal, 9, 123), is, "{journal}");
        }
    }

    /// Another program's lines fill half of a pipe that nobody reads; vipd's own still get through.
    #[test]
    fn others_leave_room() {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).expect("a pipe");
        let sink = Sink::Stderr { own: Some(File::from(writer)), stamp: Stamp::None };
        let logger = Logger { inner: Mutex::new(Inner { sink, dropped: 0 }) };
        log::set_max_level(LevelFilter::Info);
        let write = |target: &str, text: &str| {
            logger.log(
                &Record::builder().target(target).level(Level::Info).args(format_args!("{text}")).build(),
            );
        };
        for _ in 0..100 {
            write(OTHERS, &"x".repeat(4000));
        }
        for _ in 0..50 {
            write("", "Entering MASTER STATE");
        }
        let mut got = Vec::new();
        let _ = std::io::Read::read_to_end(&mut File::from(reader), &mut got);
        let got = String::from_utf8_lossy(&got);
        let passed = got.matches("xx\n").count();
        assert!((10..50).contains(&passed), "{passed}");
        assert!(got.contains(&format!("{} log lines were lost\n", 100 - passed)), "{passed}");
        assert_eq!(got.matches("MASTER").count(), 50);
    }

    #[test]
    fn dates() {
        let mut out = Vec::new();
        date(&mut out, &Local { day: 2, ..utc(951_782_400) });
        assert_eq!(out, b"Feb  2 00:00:00");
        assert_eq!((utc(951_782_400).day, utc(951_782_400).year), (29, 100));
        // What the C library says is the same time.
        let (unix, t) = (1_700_000_000, clock::local(1_700_000_000));
        let minutes = |t: &Local| i64::from(t.day * 1440 + t.time.0 * 60 + t.time.1);
        let apart = minutes(&t) - minutes(&utc(unix)) - i64::from(t.offset);
        assert!(apart % 1440 == 0 && t.time.2 == utc(unix).time.2, "{t:?}");
        assert_eq!((t.year, t.month), (123, 10));
    }
}
