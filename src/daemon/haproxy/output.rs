//! What HAProxy and its checks print.

use crate::base::time::Time;
use crate::daemon::children::pipe::Pipe;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Lines that are passed on in a second if they are limited, and how long that second is.
const LINES: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);
/// Earlier processes whose last words are still heard.
const MAX_PIPES: usize = 16;

/// The pipes.
#[derive(Debug)]
pub(super) struct Output {
    pipes: Vec<Source>,
    /// Pipes added so far. The number of each is its own.
    count: u64,
    /// `None`: every line is passed on.
    quota: Option<Quota>,
}

#[derive(Debug)]
struct Source {
    number: u64,
    pid: u32,
    pipe: Pipe,
}

/// Lines passed on and left out since a second began.
#[derive(Debug)]
struct Quota {
    from: Time,
    passed: u32,
    left_out: u64,
}

impl Quota {
    fn takes(&mut self) -> bool {
        let takes = self.passed < LINES;
        if takes {
            self.passed += 1;
        } else {
            self.left_out += 1;
        }
        takes
    }
}

impl Output {
    /// `limited`: no more than so many lines in a second are passed on, for a syslogd drops what is too much
    /// without a word, other lines of vipd's among it.
    pub(super) fn new(limited: bool) -> Self {
        let quota = limited.then_some(Quota { from: Time::ZERO, passed: 0, left_out: 0 });
        Output { pipes: Vec::new(), count: 0, quota }
    }

    /// Reads from one more, the output of process `pid`.
    pub(super) fn add(&mut self, pid: u32, reader: OwnedFd) {
        if self.pipes.len() == MAX_PIPES {
            self.pipes.remove(0);
        }
        self.count += 1;
        self.pipes.push(Source { number: self.count, pid, pipe: Pipe::new(reader) });
    }

    /// The descriptors and the number of each.
    pub(super) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, u64)> {
        self.pipes.iter().map(|s| (s.pipe.as_fd(), s.number))
    }

    /// The processes and their pipes.
    pub(super) fn all(&self, f: &mut dyn FnMut(u32, BorrowedFd<'_>)) {
        self.pipes.iter().for_each(|s| f(s.pid, s.pipe.as_fd()));
    }

    /// The pipe of process `pid`.
    pub(super) fn number_of(&self, pid: u32) -> Option<u64> {
        self.pipes.iter().find(|s| s.pid == pid).map(|s| s.number)
    }

    /// Takes what has come through pipe `number`, line by line, with the pid of whom it comes from. All of it
    /// is read, for HAProxy must not block.
    pub(super) fn read(&mut self, now: Time, number: u64, mut tell: impl FnMut(u32, &str)) {
        self.tick(now, &mut tell);
        let quota = &mut self.quota;
        self.pipes.retain_mut(|s| {
            let pid = s.pid;
            s.number != number
                || s.pipe.read(&mut |line: &str| {
                    if quota.as_mut().is_none_or(Quota::takes) {
                        tell(pid, line);
                    }
                })
        });
    }

    /// When `tick` is due: something was left out and has yet to be counted.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.quota.as_ref().filter(|q| q.left_out > 0).map(|q| q.from + SECOND)
    }

    /// A second is over: how much was left out.
    pub(super) fn tick(&mut self, now: Time, mut tell: impl FnMut(u32, &str)) {
        let Some(q) = self.quota.as_mut().filter(|q| now.since(q.from) >= SECOND) else { return };
        if q.left_out > 0 {
            tell(0, &format!("[WARNING] {} more lines in the last second were not passed on", q.left_out));
        }
        *q = Quota { from: now, passed: 0, left_out: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;
    use std::os::fd::AsFd;

    fn write(writer: &OwnedFd, text: &str) {
        nix::unistd::write(writer.as_fd(), text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn a_pipe_with_nothing_in_it_stays_and_one_that_has_ended_goes() {
        let mut output = Output::new(false);
        let pipe = || process::output_pipe().unwrap_or_else(|e| panic!("{e}"));
        let ((reader, writer), (other, _writer)) = (pipe(), pipe());
        output.add(7, reader);
        output.add(8, other);
        let numbers: Vec<u64> = output.fds().map(|(_, n)| n).collect();
        assert_eq!(output.number_of(8), Some(numbers[1]));
        let mut lines = Vec::new();
        let mut read = |output: &mut Output, n| {
            output.read(Time::ZERO, n, |pid, l| lines.push((pid, l.to_owned())));
            output.fds().count()
        };
        assert_eq!(read(&mut output, numbers[0]), 2, "nothing there");
        assert_eq!(read(&mut output, 99), 2, "no such pipe");
        write(&writer, "one\ntw");
        assert_eq!(read(&mut output, numbers[1]), 2, "the other one");
        assert_eq!(read(&mut output, numbers[0]), 2);
        drop(writer);
        assert_eq!(read(&mut output, numbers[0]), 1);
        assert_eq!(lines, [(7, "one".to_owned()), (7, "tw".to_owned())]);
    }

    #[test]
    fn every_line_is_passed_on_or_counted_in_time() {
        for limited in [false, true] {
            let mut output = Output::new(limited);
            let (reader, writer) = process::output_pipe().unwrap_or_else(|e| panic!("{e}"));
            output.add(7, reader);
            let mut lines = Vec::new();
            let start = Time::from_nanos(9_000_000_000);
            write(&writer, &"line\n".repeat(250));
            output.read(start, 1, |_, l| lines.push(l.to_owned()));
            if !limited {
                assert_eq!((lines.len(), output.deadline()), (250, None));
                continue;
            }
            assert_eq!((lines.len(), output.deadline()), (100, Some(start + SECOND)));
            output.tick(start + SECOND / 2, |_, l| lines.push(l.to_owned()));
            assert_eq!(lines.len(), 100);
            output.tick(start + SECOND, |_, l| lines.push(l.to_owned()));
            assert!(lines[100].contains("150 more lines"), "{}", lines[100]);
            assert_eq!(output.deadline(), None);
            write(&writer, "line\n");
            output.read(start + SECOND, 1, |_, l| lines.push(l.to_owned()));
            assert_eq!(lines.len(), 102);
        }
    }
}
