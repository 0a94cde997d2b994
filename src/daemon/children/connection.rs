//! The connection of a check: made, asked with HTTP if the check says so, and judged by what comes back.

use crate::check::Failure;
use crate::sys;
use crate::sys::stream::connect_ip;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The beginning of an HTTP answer (RFC 9112 §4): `0` stands for any digit, a blank for any white space.
const HTTP_FORM: &[u8; HTTP_HEAD] = b"HTTP/0.0 000 ";
const HTTP_HEAD: usize = 13;

/// A TCP connection, and what has arrived of an HTTP answer.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: OwnedFd,
    to: SocketAddr,
    connected: bool,
    head: [u8; HTTP_HEAD],
    have: usize,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// What the kernel knows at once: no route, no descriptor, refused by this host.
    pub(crate) fn open(to: SocketAddr) -> nix::Result<Self> {
        let family = if to.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
        match connect_ip(&fd, to) {
            Ok(()) | Err(Errno::EINPROGRESS) => {
                Ok(Connection { fd, to, connected: false, head: [0; HTTP_HEAD], have: 0 })
            }
            Err(e) => Err(e),
        }
    }

    /// What to wait for.
    pub(crate) fn events(&self) -> PollFlags {
        if self.connected { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    /// Goes on as far as possible. Returns whether the check has succeeded; an empty `request` asks for the
    /// connection alone. Being called proves nothing: the kernel is asked for each step.
    pub(crate) fn go_on(&mut self, request: &[u8]) -> Result<bool, Failure> {
        if self.connected {
            return self.read();
        }
        self.connected = self.is_made()?;
        if !self.connected {
            return Ok(false);
        }
        if request.is_empty() {
            // On this host, with no listener: the kernel may have given the connection the port that it asks
            // for.
            let refused = sys::socket::is_own_peer(&self.fd);
            return if refused { Err(Errno::ECONNREFUSED.into()) } else { Ok(true) };
        }
        // The request fits into the empty buffer of a new connection.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let sent = socket::send(self.fd.as_raw_fd(), request, flags)?;
        if sent == request.len() { Ok(false) } else { Err(Errno::EMSGSIZE.into()) }
    }

    /// Whether the connection is made. Neither readiness nor SO_ERROR = 0 says so: only a socket that is
    /// connected has a peer.
    fn is_made(&self) -> Result<bool, Failure> {
        let errno = socket::getsockopt(&self.fd, sockopt::SocketError)?;
        if errno != 0 {
            return Err(Failure::Errno(errno));
        }
        if sys::socket::has_peer(&self.fd) {
            return Ok(true);
        }
        // Under way still (EALREADY), or ended with an error that SO_ERROR did not tell.
        match connect_ip(&self.fd, self.to) {
            Ok(()) | Err(Errno::EALREADY | Errno::EINPROGRESS | Errno::EISCONN | Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn read(&mut self) -> Result<bool, Failure> {
        let rest = self.head.get_mut(self.have..).unwrap_or_default();
        match socket::recv(self.fd.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT) {
            Ok(n) => {
                self.have += n;
                verdict(self.head.get(..self.have).unwrap_or_default(), n == 0)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Judges the beginning of an answer: whether it is long enough to tell, and good. `over`: no more comes.
fn verdict(head: &[u8], over: bool) -> Result<bool, Failure> {
    let fits = |(octet, form): (&u8, &u8)| match form {
        b'0' => octet.is_ascii_digit(),
        b' ' => octet.is_ascii_whitespace(),
        letter => octet == letter,
    };
    if over && head.is_empty() {
        return Err(Failure::Closed);
    }
    if !head.iter().zip(HTTP_FORM).all(fits) || over && head.len() < HTTP_HEAD - 1 {
        return Err(Failure::NotHttp);
    }
    if !over && head.len() < HTTP_HEAD {
        return Ok(false);
    }
    match head.iter().skip(9).take(3).fold(0, |n, digit| n * 10 + u16::from(digit - b'0')) {
        200..400 => Ok(true),
        code => Err(Failure::Status(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_on_answers() {
        let ok: &[&[u8]] = &[b"HTTP/1.0 200 ", b"HTTP/1.1 204\r", b"HTTP/1.1 302\n", b"HTTP/2.0 399 "];
        for head in ok {
            assert_eq!(verdict(head, false), Ok(true));
        }
        for code in [100, 199, 400, 404, 503, 999] {
            let head = format!("HTTP/1.1 {code} ");
            assert_eq!(verdict(head.as_bytes(), false), Err(Failure::Status(code)));
        }
        let full = b"HTTP/1.1 200 ";
        for n in 0..full.len() {
            assert_eq!(verdict(&full[..n], false), Ok(false), "{n} octets");
        }
        assert_eq!(verdict(b"", true), Err(Failure::Closed));
        assert_eq!(verdict(b"HTTP/1.1 20", true), Err(Failure::NotHttp));
        assert_eq!(verdict(b"HTTP/1.1 200", true), Ok(true));
        for n in 0..full.len() {
            let mut bad = *full;
            bad[n] = b'x';
            assert_eq!(verdict(&bad[..=n], false), Err(Failure::NotHttp), "octet {n}");
        }
        assert_eq!(verdict(b"HTTP/1.1 2000", false), Err(Failure::NotHttp));
    }
}
