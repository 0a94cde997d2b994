//! The question whether HAProxy answers: one connection to a socket of its own for each.

use crate::haproxy::show_info::{self, Info};
use crate::sys::stream;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, sockopt};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom<'a> {
    /// The master, on its socket.
    Master(&'a Path),
    /// The process itself, on vipd's stats socket.
    Itself(&'a Path),
}

/// What came of a question: the pid of the master that listens, or of who answers if there was none to ask,
/// and what it said, if anything.
pub(super) type Answer = (u32, Option<Info>);

/// The questions, of which one at most is under way.
#[derive(Debug, Default)]
pub(super) struct Prober {
    asked: Option<Asked>,
    /// Questions asked so far. The number of each is its own.
    count: u64,
    /// What has come; kept, so that a check each second takes no memory of its own.
    answer: Vec<u8>,
}

#[derive(Debug)]
struct Asked {
    fd: OwnedFd,
    /// Pid of the master that listens; `None`: the process itself is asked.
    master: Option<u32>,
}

impl Prober {
    /// Connects and asks; fails at once if nobody listens yet.
    pub(super) fn ask(&mut self, whom: Whom<'_>) -> nix::Result<()> {
        self.cancel();
        let (path, command) = match whom {
            Whom::Master(path) => (path, show_info::COMMAND),
            Whom::Itself(path) => {
                (path, show_info::COMMAND.strip_prefix(show_info::WORKER).unwrap_or_default())
            }
        };
        let fd = stream::connect(path)?;
        let peer = socket::getsockopt(&fd, sockopt::PeerCredentials)?.pid().unsigned_abs();
        socket::send(fd.as_raw_fd(), command, MsgFlags::MSG_NOSIGNAL)?;
        self.answer.clear();
        self.count += 1;
        self.asked = Some(Asked { fd, master: matches!(whom, Whom::Master(_)).then_some(peer) });
        Ok(())
    }

    /// Drops the question that is under way.
    pub(super) fn cancel(&mut self) {
        self.asked = None;
    }

    /// The descriptor of the question that is under way, and its number.
    pub(super) fn fd(&self) -> Option<(BorrowedFd<'_>, u64)> {
        self.asked.as_ref().map(|a| (a.fd.as_fd(), self.count))
    }

    /// Reads what has come for question `number`. `None`: the answer is not complete yet, or the question is
    /// over.
    pub(super) fn read(&mut self, number: u64) -> Option<Answer> {
        let asked = self.asked.as_ref().filter(|_| number == self.count)?;
        let mut buf = [0; 4096];
        let over = match socket::recv(asked.fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => true,
            Ok(n) => {
                self.answer.extend_from_slice(buf.get(..n).unwrap_or_default());
                self.answer.len() > show_info::MAX_ANSWER
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Err(_) => true,
        };
        // The master socket does not close after an answer, so completeness is seen in the answer itself.
        let info = show_info::parse(&self.answer);
        if info.is_none() && !over {
            return None;
        }
        let pid = asked.master.or(info.as_ref().map(|i| i.pid)).unwrap_or(0);
        self.cancel();
        Some((pid, info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_the_answer_to_the_question_that_is_under_way_counts() {
        let path = std::env::temp_dir().join(format!("vipd-probe-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap_or_else(|e| panic!("{e}"));
        let mut p = Prober::default();
        assert!(p.fd().is_none() && p.read(0).is_none(), "nothing was asked");
        let ask = |p: &mut Prober| {
            p.ask(Whom::Itself(&path)).unwrap_or_else(|e| panic!("{e}"));
            let (mut client, _) = listener.accept().unwrap_or_else(|e| panic!("{e}"));
            let mut question = [0; 10];
            client.read_exact(&mut question).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(&question, b"show info\n");
            (client, p.fd().map_or(0, |(_, number)| number))
        };
        let (mut first, number) = ask(&mut p);
        assert_eq!(p.read(number), None, "it is not readable");
        assert!(p.fd().is_some(), "and that changes nothing");
        first.write_all(b"Version: 2.6\n").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(p.read(number), None, "not complete");
        assert_eq!(p.read(number), None, "nothing more");
        let (mut second, next) = ask(&mut p);
        second.write_all(b"Pid: 7\n").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(p.read(number), None, "an earlier question");
        assert_eq!(p.read(next), Some((7, Some(Info { version: String::new(), pid: 7 }))));
        assert_eq!(p.read(next), None, "it is over");
        let (third, number) = ask(&mut p);
        drop(third);
        assert_eq!(p.read(number), Some((0, None)), "closed");
        let _ = std::fs::remove_file(&path);
    }
}
