//! The lock of the network namespace: an abstract UNIX socket (unix(7)). It belongs to the namespace, so two
//! containers that share one (`--network host`) see it although each has a /run of its own. The kernel
//! releases it when the process ends.

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

/// Its name. Any user may take an abstract name, so it counts only if root or this user holds it.
const NAME: &[u8] = b"vipd";
/// Processes that ask who holds it and are not answered yet; and how many are answered at a time.
const MAX_ASKING: i32 = 16;
/// Octets of an answer that are read.
const MAX_ANSWER: usize = 256;
/// How long the holder may take to answer, in seconds.
const PATIENCE: i64 = 1;

/// The lock. Whoever asks is told who holds it.
#[derive(Debug)]
pub struct Lone {
    listener: UnixListener,
    says: String,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum Refused {
    /// Another vipd holds it: its process number, unless it is in another PID namespace, and what it says of
    /// itself, if it answers.
    Held(Option<u32>, String),
    /// A process of this user holds the name, who cannot be vipd's; `None`: the user is unknown.
    Stranger(Option<u32>),
    /// The lock cannot be tried.
    Errno(Errno),
}

impl Lone {
    /// Takes the lock; `says`: what another vipd is told.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub fn take(says: String) -> Result<Self, Refused> {
        let (fd, addr) = socket().map_err(Refused::Errno)?;
        match socket::bind(fd.as_raw_fd(), &addr) {
            Err(Errno::EADDRINUSE) => return Err(holder()),
            done => done.map_err(Refused::Errno)?,
        }
        let backlog = Backlog::new(MAX_ASKING).map_err(Refused::Errno)?;
        socket::listen(&fd, backlog).map_err(Refused::Errno)?;
        Ok(Lone { listener: fd.into(), says })
    }

    /// Answers the processes that ask. A new connection takes the few octets at once.
    pub fn answer(&self) {
        for _ in 0..MAX_ASKING {
            let Ok((mut client, _)) = self.listener.accept() else { return };
            let _ = client.set_nonblocking(true).and_then(|()| client.write_all(self.says.as_bytes()));
        }
    }
}

impl AsFd for Lone {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn socket() -> nix::Result<(OwnedFd, UnixAddr)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    Ok((fd, UnixAddr::new_abstract(NAME)?))
}

/// Asks who holds the lock. A full queue or a name that nobody listens to does not keep vipd from starting: a
/// vipd has neither.
fn holder() -> Refused {
    let ask = || -> nix::Result<(OwnedFd, UnixCredentials)> {
        let (fd, addr) = socket()?;
        socket::connect(fd.as_raw_fd(), &addr)?;
        let peer = socket::getsockopt(&fd, sockopt::PeerCredentials)?;
        Ok((fd, peer))
    };
    let Ok((fd, peer)) = ask() else { return Refused::Stranger(None) };
    if peer.uid() != 0 && peer.uid() != nix::unistd::geteuid().as_raw() {
        return Refused::Stranger(Some(peer.uid()));
    }
    let stream = UnixStream::from(fd);
    let _ = stream.set_nonblocking(false);
    let _ = socket::setsockopt(&stream, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE as _, 0));
    let mut answer = [0; MAX_ANSWER];
    let n = socket::recv(stream.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap_or(0);
    let says = String::from_utf8_lossy(answer.get(..n).unwrap_or_default()).into_owned();
    Refused::Held(u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0), says)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::time::{Duration, Instant};

    /// In a network namespace of its own, where no other vipd runs.
    fn isolated(test: impl FnOnce() + Send + 'static) {
        let run = move || {
            if nix::unistd::geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
                test();
            }
        };
        std::thread::spawn(run).join().unwrap_or_else(|e| std::panic::resume_unwind(e));
    }

    #[test]
    fn the_second_hears_who_the_first_is() {
        isolated(|| {
            let first = Lone::take("node1".into()).unwrap_or_else(|e| panic!("{e:?}"));
            first.answer();
            let second = std::thread::spawn(|| Lone::take("node2".into()));
            while !second.is_finished() {
                first.answer();
            }
            let Ok(Err(Refused::Held(pid, says))) = second.join() else { panic!("two hold it") };
            assert_eq!((pid, says.as_str()), (Some(std::process::id()), "node1"));
            let (other, addr) = socket().unwrap_or_else(|e| panic!("{e}"));
            drop(first);
            // Another user's process takes the name, without listening or as a server that never answers.
            // A child of another test holds the first until it executes its program.
            let start = Instant::now();
            while socket::bind(other.as_raw_fd(), &addr) == Err(Errno::EADDRINUSE) {
                assert!(start.elapsed() < Duration::from_secs(10));
            }
            assert!(matches!(Lone::take(String::new()), Err(Refused::Stranger(None))));
            drop(other);
            while Lone::take(String::new()).is_err() {
                assert!(start.elapsed() < Duration::from_secs(20));
            }
        });
    }
}
