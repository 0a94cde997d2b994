//! Resets the TCP connections of an address (sock_diag, SOCK_DESTROY).

use super::clock;
use super::netlink::receive;
use crate::base::time::Time;
use crate::wire::diag::{self, Connection, Msg};
use nix::errno::Errno;
use nix::sys::socket::{
    self as nixsock, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Most connections that are listed: a bound of the memory.
const MOST: usize = 16_384;
/// Addresses that leave together wait at most this long until their connections are listed and reset: adverts
/// and leases of the node's other virtual routers wait too.
const LONGEST: Duration = Duration::from_millis(50);

/// The TCP connections at one moment. Listing them costs about 3 ms, however few they are, so all addresses
/// that leave together share one list.
#[derive(Debug)]
pub struct Connections {
    fd: OwnedFd,
    buf: Vec<u8>,
    all: Vec<Connection>,
    started: Time,
}

fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    nixsock::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)
}

impl Connections {
    /// Lists the connections of all addresses that are `wanted`.
    ///
    /// # Errors
    ///
    /// ENOENT if the kernel is built without CONFIG_INET_DIAG.
    pub fn list(wanted: &dyn Fn(IpAddr) -> bool) -> nix::Result<Self> {
        let started = clock::now();
        let mut list = Connections { fd: open()?, buf: vec![0; 32 * 1024], all: Vec::new(), started };
        list.add(false, wanted)?;
        list.add(true, wanted)?;
        Ok(list)
    }

    fn add(&mut self, v6_sockets: bool, wanted: &dyn Fn(IpAddr) -> bool) -> nix::Result<()> {
        let mut request = Vec::with_capacity(128);
        diag::list(&mut request, 0, v6_sockets);
        self.send(&request)?;
        loop {
            let n = receive(&self.fd, &mut self.buf)?;
            for msg in diag::messages(self.buf.get(..n).unwrap_or_default()) {
                match msg {
                    Msg::Connection(c) if wanted(c.local()) => self.all.push(c),
                    Msg::Done(0) => return Ok(()),
                    Msg::Done(errno) => return Err(Errno::from_raw(errno)),
                    _ => {}
                }
            }
            if self.all.len() >= MOST || clock::now().since(self.started) >= LONGEST / 2 {
                // Closing the socket drops the rest of the answer.
                self.fd = open()?;
                return Ok(());
            }
        }
    }

    /// Resets the connections whose local address is `addr`; `ifindex` is its interface, which tells
    /// link-local addresses apart. Returns how many were reset.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the kernel is built without CONFIG_INET_DIAG_DESTROY.
    pub fn reset(&mut self, addr: IpAddr, ifindex: Option<u32>) -> nix::Result<usize> {
        let scoped = matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local());
        let here = |c: &&Connection| {
            c.local() == addr && (!scoped || c.ifindex() == 0 || Some(c.ifindex()) == ifindex)
        };
        let mut done = 0;
        let mut request = Vec::with_capacity(128);
        for c in self.all.iter().filter(here) {
            if clock::now().since(self.started) >= LONGEST {
                break;
            }
            request.clear();
            diag::destroy(&mut request, 0, c);
            self.send(&request)?;
            let n = receive(&self.fd, &mut self.buf)?;
            match diag::messages(self.buf.get(..n).unwrap_or_default()).next() {
                Some(Msg::Done(0)) => done += 1,
                // It has been closed meanwhile.
                Some(Msg::Done(libc::ENOENT)) => {}
                Some(Msg::Done(errno)) => return Err(Errno::from_raw(errno)),
                _ => return Err(Errno::EIO),
            }
        }
        Ok(done)
    }

    fn send(&self, request: &[u8]) -> nix::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        nixsock::sendto(self.fd.as_raw_fd(), request, &kernel, MsgFlags::MSG_DONTWAIT).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// As many connections as the limit of open files allows, and one address that is wanted.
    #[test]
    fn only_what_is_wanted_is_listed_and_in_time() {
        // Addresses of this process: the same test of another checkout may run at the same time.
        let [.., b, c, d] = std::process::id().to_be_bytes();
        let (ip, next) = (IpAddr::from([127, b | 0x80, c, d]), IpAddr::from([127, b & 0x7f, c, d]));
        let bind = |ip: IpAddr| TcpListener::bind((ip, 0)).unwrap_or_else(|e| panic!("{e}"));
        let (wanted, other) = (bind(ip), bind(next));
        let connect = |l: &TcpListener| {
            let stream = TcpStream::connect(l.local_addr().ok()?).ok()?;
            Some((stream, l.accept().ok()?))
        };
        let held: Vec<_> = (0..200).map_while(|_| connect(&other)).collect();
        let one = connect(&wanted);
        assert!(one.is_some() && held.len() > 100);
        // A list that took too long on a busy machine is a part only.
        let list = loop {
            let list = match Connections::list(&|addr| addr == ip) {
                Err(Errno::ENOENT) => return, // not in this kernel
                list => list.unwrap_or_else(|e| panic!("{e}")),
            };
            if clock::now().since(list.started) < LONGEST / 2 {
                break list;
            }
        };
        assert_eq!(list.all.len(), 1);
        // Only a part, and the socket can be used again.
        let started = list.started - LONGEST;
        let mut part = Connections { started, ..list };
        part.all.clear();
        assert_eq!(part.add(false, &|_| true), Ok(()));
        assert!(!part.all.is_empty());
        let before = part.all.len();
        part.started = clock::now() + Duration::from_secs(60); // however busy the machine is
        assert_eq!(part.add(false, &|addr| addr == ip), Ok(()));
        assert_eq!(part.all.len(), before + 1);
        part.started = started;
        assert_eq!(part.reset(ip, None), Ok(0), "its time is over");
    }
}
