//! What HAProxy and its checks print.

use crate::base::time::Time;
use crate::daemon::children::pipe::Pipe;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Lines that are told in a second.
const LINES_PER_SECOND: u32 = 100;
/// Earlier HAProxys whose last words are still heard.
const MAX_PIPES: usize = 4;

/// The pipes.
#[derive(Debug)]
pub(super) struct Output {
    pipes: Vec<(u64, Pipe)>,
    /// Pipes added so far. The number of each is its own.
    count: u64,
    /// Lines told since `quota_from`, and swallowed.
    told: u32,
    swallowed: u64,
    quota_from: Time,
}

impl Output {
    pub(super) fn new() -> Self {
        Output { pipes: Vec::new(), count: 0, told: 0, swallowed: 0, quota_from: Time::ZERO }
    }

    /// Reads from one more.
    pub(super) fn add(&mut self, reader: OwnedFd) {
        if self.pipes.len() == MAX_PIPES {
            self.pipes.remove(0);
        }
        self.count += 1;
        self.pipes.push((self.count, Pipe::new(reader)));
    }

    /// The descriptors and the number of each.
    pub(super) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, u64)> {
        self.pipes.iter().map(|(number, p)| (p.as_fd(), *number))
    }

    /// Takes what has come through pipe `number`, line by line. All of it is read, for HAProxy must not
    /// block; not all of it is told.
    pub(super) fn read(&mut self, now: Time, number: u64, mut tell: impl FnMut(&str)) {
        if now.since(self.quota_from) >= Duration::from_secs(1) {
            self.quota_from = now;
            self.told = 0;
            let swallowed = std::mem::take(&mut self.swallowed);
            if swallowed > 0 {
                tell(&format!("[WARNING] {swallowed} more lines in the last second were swallowed"));
            }
        }
        let (told, swallowed) = (&mut self.told, &mut self.swallowed);
        self.pipes.retain_mut(|(n, pipe)| {
            *n != number
                || pipe.read(&mut |line: &str| {
                    if *told < LINES_PER_SECOND {
                        *told += 1;
                        tell(line);
                    } else {
                        *swallowed += 1;
                    }
                })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_with_nothing_in_it_stays_and_one_that_has_ended_goes() {
        let mut output = Output::new();
        let pipe = || process::output_pipe().unwrap_or_else(|e| panic!("{e}"));
        let ((reader, writer), (other, _writer)) = (pipe(), pipe());
        output.add(reader);
        output.add(other);
        let numbers: Vec<u64> = output.fds().map(|(_, n)| n).collect();
        let mut lines = Vec::new();
        let mut read = |output: &mut Output, n| {
            output.read(Time::ZERO, n, |l| lines.push(l.to_owned()));
            output.fds().count()
        };
        assert_eq!(read(&mut output, numbers[0]), 2, "nothing there");
        assert_eq!(read(&mut output, 99), 2, "no such pipe");
        nix::unistd::write(writer.as_fd(), b"one\ntw").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read(&mut output, numbers[1]), 2, "the other one");
        assert_eq!(read(&mut output, numbers[0]), 2);
        drop(writer);
        assert_eq!(read(&mut output, numbers[0]), 1);
        assert_eq!(lines, ["one", "tw"]);
    }
}
