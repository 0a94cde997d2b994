//! What a child writes, line by line.

use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest line in octets; a longer one is cut in two.
const MAX_LINE: usize = 1024;
/// Octets that are taken from one pipe at a time.
const MAX_READ: usize = 16 * 1024;

/// A child's output, line by line.
#[derive(Debug)]
pub(crate) struct Pipe {
    fd: OwnedFd,
    line: Vec<u8>,
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Pipe {
    /// The end to read from, which does not block.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Pipe { fd, line: Vec::new() }
    }

    /// Passes on each line that is complete. Returns whether more may come.
    pub(crate) fn read(&mut self, line: &mut dyn FnMut(&str)) -> bool {
        let mut buf = [0; 4096];
        for _ in 0..MAX_READ / buf.len() {
            match nix::unistd::read(&self.fd, &mut buf) {
                Ok(0) => {
                    self.flush(line);
                    return false;
                }
                Ok(n) => {
                    for b in buf.get(..n).unwrap_or_default() {
                        if *b != b'\n' {
                            self.line.push(*b);
                        }
                        if *b == b'\n' || self.line.len() == MAX_LINE {
                            self.flush(line);
                        }
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Passes on a last line that has no end.
    pub(crate) fn flush(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            line(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }
}
