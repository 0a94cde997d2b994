//! Resets the TCP connections of an address (sock_diag, SOCK_DESTROY).

use super::netlink::receive;
use crate::wire::diag::{self, Connection, Msg};
use nix::errno::Errno;
use nix::sys::socket::{
    self as nixsock, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Connections that are listed: a bound of the memory.
const MOST: usize = 16_384;
/// An address waits at the most this long for its connections to be reset.
const LONGEST: Duration = Duration::from_millis(50);

/// The connections of this moment. Listing them costs 3 ms or so whatever they are, so all addresses that leave
/// together share one list.
#[derive(Debug)]
pub struct Connections {
    fd: OwnedFd,
    buf: Vec<u8>,
    all: Vec<Connection>,
}

impl Connections {
    /// Lists them.
    ///
    /// # Errors
    ///
    /// ENOENT if the kernel is built without (CONFIG_INET_DIAG).
    pub fn list() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd =
            nixsock::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
        let mut list = Connections { fd, buf: vec![0; 32 * 1024], all: Vec::new() };
        list.add(false)?;
        list.add(true)?;
        Ok(list)
    }

    fn add(&mut self, v6_sockets: bool) -> nix::Result<()> {
        let mut request = Vec::with_capacity(128);
        diag::list(&mut request, 0, v6_sockets);
        self.send(&request)?;
        loop {
            let n = receive(&self.fd, &mut self.buf)?;
            for msg in diag::messages(self.buf.get(..n).unwrap_or_default()) {
                match msg {
                    Msg::Connection(c) if self.all.len() < MOST => self.all.push(c),
                    Msg::Done(0) => return Ok(()),
                    Msg::Done(errno) => return Err(Errno::from_raw(errno)),
                    _ => {}
                }
            }
        }
    }

    /// Resets those whose local address is `addr`; `ifindex` is where it lives, which matters if it is
    /// link-local. Returns how many were.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the kernel is built without (CONFIG_INET_DIAG_DESTROY).
    pub fn reset(&mut self, addr: IpAddr, ifindex: Option<u32>) -> nix::Result<usize> {
        let scoped = matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local());
        let here = |c: &&Connection| {
            c.local() == addr && (!scoped || c.ifindex() == 0 || Some(c.ifindex()) == ifindex)
        };
        let started = super::clock::now();
        let mut done = 0;
        let mut request = Vec::with_capacity(128);
        for c in self.all.iter().filter(here) {
            request.clear();
            diag::destroy(&mut request, 0, c);
            self.send(&request)?;
            let n = receive(&self.fd, &mut self.buf)?;
            match diag::messages(self.buf.get(..n).unwrap_or_default()).next() {
                Some(Msg::Done(0)) => done += 1,
                // Closed by itself meanwhile.
                Some(Msg::Done(libc::ENOENT)) => {}
                Some(Msg::Done(errno)) => return Err(Errno::from_raw(errno)),
                _ => return Err(Errno::EIO),
            }
            if super::clock::now().since(started) >= LONGEST {
                break;
            }
        }
        Ok(done)
    }

    fn send(&self, request: &[u8]) -> nix::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        nixsock::sendto(self.fd.as_raw_fd(), request, &kernel, MsgFlags::MSG_DONTWAIT).map(drop)
    }
}
