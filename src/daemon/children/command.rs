//! The command of a check: a child process, and the first line that it writes.

use crate::sys::process;
use crate::sys::user::{User, spawn_as};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Octets of the first line that are kept.
const MAX_LINE: usize = 200;
/// Octets of output in one attempt; then the pipe is closed, and the command gets a SIGPIPE.
const MAX_OUTPUT: usize = 64 * 1024;

/// A command that runs, or has been killed and is not reaped yet.
#[derive(Debug)]
pub(crate) struct Command {
    pid: Pid,
    output: Option<OwnedFd>,
    line: Vec<u8>,
    complete: bool,
    taken: usize,
}

impl Command {
    /// Starts a program, as another user if there is one.
    pub(crate) fn start(argv: &[CString], user: Option<&User>) -> nix::Result<Self> {
        let (reader, writer) = process::output_pipe()?;
        let pid = match user {
            None => process::spawn(argv, writer.as_fd())?,
            Some(user) => spawn_as(argv, writer.as_fd(), user, &[])?,
        };
        Ok(Command { pid, output: Some(reader), line: Vec::new(), complete: false, taken: 0 })
    }

    /// Whether this is its process.
    pub(crate) fn is(&self, pid: u32) -> bool {
        process::raw(self.pid) == pid
    }

    /// The pipe to wait on, while it is open.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// The first line that it has written.
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }

    /// Kills it with all that is in its process group.
    pub(crate) fn kill(&mut self) {
        // It may have exited an instant ago, or not lead its group yet.
        self.kill_group();
        let _ = kill(self.pid, Signal::SIGKILL);
        self.output = None;
    }

    /// Kills what is left in its process group.
    pub(crate) fn kill_group(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Takes what it has written.
    pub(crate) fn read(&mut self) {
        let mut buf = [0; 4096];
        for _ in 0..4 {
            let Some(fd) = &self.output else { return };
            match nix::unistd::read(fd, &mut buf) {
                Ok(n @ 1..) => {
                    self.take(buf.get(..n).unwrap_or_default());
                    if self.taken >= MAX_OUTPUT {
                        self.output = None;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok(_) | Err(_) => self.output = None,
            }
        }
    }

    fn take(&mut self, octets: &[u8]) {
        self.taken += octets.len();
        for b in octets {
            self.complete |= *b == b'\n' || self.line.len() == MAX_LINE;
            if self.complete {
                break;
            }
            self.line.push(*b);
        }
    }
}
