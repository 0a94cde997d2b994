//! A raw ICMP socket for one echo request. Unprivileged ICMP sockets are not available: the default of
//! `net.ipv4.ping_group_range` excludes every user, root included.

use super::socket::{ACCEPT, DROP, filter, jump, stmt};
use super::stream::connect_ip;
use crate::wire::icmp::{self, Token};
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// An echo request that is under way.
#[derive(Debug)]
pub struct Ping {
    fd: OwnedFd,
    ipv6: bool,
    token: Token,
}

impl Ping {
    /// Sends an echo request. The kernel filters by source and by a random token, so that only the answer
    /// gets in.
    pub fn send(to: IpAddr) -> nix::Result<Self> {
        let (ipv6, token) = (to.is_ipv6(), random()?);
        let (family, protocol) = match ipv6 {
            false => (AddressFamily::Inet, SockProtocol::Icmp),
            true => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let fd = socket::socket(
            family,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            protocol,
        )?;
        filter(&fd, &reply_filter(ipv6, &token))?;
        connect_ip(&fd, SocketAddr::new(to, 0))?;
        socket::send(fd.as_raw_fd(), &icmp::echo_request(ipv6, &token), MsgFlags::MSG_DONTWAIT)?;
        Ok(Ping { fd, ipv6, token })
    }

    /// Whether the answer has come. Packets that were queued before the filter was in place do not count.
    pub fn is_answered(&self) -> nix::Result<bool> {
        let mut buf = [0; 128];
        loop {
            match socket::recv(self.fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
                Ok(n) if icmp::is_echo_reply(self.ipv6, buf.get(..n).unwrap_or_default(), &self.token) => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for Ping {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn random() -> nix::Result<Token> {
    let mut token = Token::default();
    let size = size_of::<Token>();
    // Not libc's function: std's weak reference to it is a null pointer in a static program. SAFETY: the
    // pointer and the length describe `token`, which outlives the call.
    let n = unsafe {
        libc::syscall(libc::SYS_getrandom, token.as_mut_ptr(), size, libc::GRND_NONBLOCK as libc::c_ulong)
    };
    match usize::try_from(Errno::result(n)?) {
        Ok(n) if n == size => Ok(token),
        _ => Err(Errno::EAGAIN),
    }
}

/// Accepts echo replies with this token. A load beyond the packet drops it.
fn reply_filter(ipv6: bool, token: &Token) -> [libc::sock_filter; 11] {
    let load = |size, at| stmt(libc::BPF_LD | size | libc::BPF_IND, at);
    // Jumps over `to_end` instructions, to the end, if the value differs.
    let must = |value, to_end| jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, to_end);
    let [id, data, more] = *token;
    [
        // X := offset of the ICMP message: an IPv4 socket delivers the IP header too.
        match ipv6 {
            false => stmt(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0),
            true => stmt(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0),
        },
        load(libc::BPF_B, 0),
        must(u32::from(icmp::reply_type(ipv6)), 7),
        load(libc::BPF_W, 4),
        must(id, 5),
        load(libc::BPF_W, 8),
        must(data, 3),
        load(libc::BPF_W, 12),
        must(more, 1),
        stmt(libc::BPF_RET | libc::BPF_K, ACCEPT),
        stmt(libc::BPF_RET | libc::BPF_K, DROP),
    ]
}
