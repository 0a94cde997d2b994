//! rtnetlink: one socket for requests, one for what the kernel tells.
//!
//! A local rtnetlink request is carried out within the send, and its answer is queued when that returns; so
//! neither socket ever blocks and a batch has its results at once.

use super::socket::{ACCEPT, DROP, filter, jump, stmt};
use crate::addr::{Op, OpKind, TAG};
use crate::wire::rtnl::{self, AddrSpec, Lifetime, Msg};
use nix::errno::Errno;
use nix::sys::socket::{
    self as nixsock, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// linux/rtnetlink.h: the multicast groups as bits.
const GROUPS: u32 = 0x1 /* LINK */ | 0x10 /* IPV4_IFADDR */ | 0x100 /* IPV6_IFADDR */;
/// Requests in one send: if all fail, their answers must fit the receive buffer (about 1 KiB each of 208).
const CHUNK: usize = 100;
/// Asked for; the kernel gives what it allows.
const RECEIVE_BUFFER: usize = 1 << 20;
/// A dump that is overtaken by changes is repeated, but not for ever.
const DUMP_TRIES: usize = 5;

/// Both sockets.
#[derive(Debug)]
pub struct Netlink {
    requests: OwnedFd,
    events: OwnedFd,
    seq: u32,
    out: Vec<u8>,
    buf: Vec<u8>,
}

impl Netlink {
    /// Opens them. From here on no event is lost without `Overrun`.
    pub fn open() -> nix::Result<Self> {
        let requests = socket()?;
        nixsock::bind(requests.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let own: NetlinkAddr = nixsock::getsockname(requests.as_raw_fd())?;
        let events = socket()?;
        // More than the limit takes CAP_NET_ADMIN in the first user namespace; less is no error.
        if nixsock::setsockopt(&events, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = nixsock::setsockopt(&events, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        // What we did ourselves we know from the answers: with 250 leases, 500 wake-ups a second less.
        filter(&events, &not_from(own.pid()))?;
        nixsock::bind(events.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Netlink { requests, events, seq: 0, out: Vec::new(), buf: vec![0; 32 * 1024] })
    }

    /// Carries address operations out; returns an errno for each, 0 for success. The kernel answers what fails, and
    /// the last one: 250 renewals are 3 sends and 3 answers.
    pub fn carry_out(&mut self, ops: Vec<Op>) -> Vec<(Op, i32)> {
        let mut results: Vec<(Op, i32)> = ops.into_iter().map(|op| (op, 0)).collect();
        for chunk in results.chunks_mut(CHUNK) {
            self.out.clear();
            let mut last = 0;
            for (op, _) in chunk.iter() {
                rtnl::unanswered(&mut self.out, last);
                last = self.out.len();
                self.seq = self.seq.wrapping_add(1);
                encode(&mut self.out, self.seq, op);
            }
            let done = self.exchange(&mut |before, errno| {
                if let Some((_, e)) = chunk.iter_mut().nth_back(before as usize) {
                    *e = errno;
                }
            });
            // Of those that were not answered nothing is known.
            if let Err(e) = done {
                let unknown = chunk.iter_mut().filter(|(_, errno)| *errno == 0);
                unknown.for_each(|(_, errno)| *errno = e as i32);
            }
        }
        results
    }

    /// Carries one other request out; returns its errno, 0 for success.
    pub fn request(&mut self, encode: impl FnOnce(&mut Vec<u8>, u32)) -> i32 {
        self.seq = self.seq.wrapping_add(1);
        self.out.clear();
        encode(&mut self.out, self.seq);
        let mut result = 0;
        match self.exchange(&mut |_, errno| result = errno) {
            Ok(()) => result,
            Err(e) => e as i32,
        }
    }

    /// Sends what is to be sent and takes the answers, up to that to the last request: how many requests before that, and errno.
    fn exchange(&mut self, f: &mut dyn FnMut(u32, i32)) -> nix::Result<()> {
        self.send()?;
        loop {
            let n = receive(&self.requests, &mut self.buf)?;
            for msg in rtnl::messages(self.buf.get(..n).unwrap_or_default()) {
                let Msg::Ack { seq, errno } = msg else { continue };
                let before = self.seq.wrapping_sub(seq);
                f(before, errno);
                if before == 0 {
                    return Ok(());
                }
            }
        }
    }

    /// Reads all links and all addresses.
    pub fn dump(&mut self, mut f: impl FnMut(&Msg)) -> nix::Result<()> {
        for request in [rtnl::dump_links, rtnl::dump_addrs] {
            let mut tries = 0;
            while self.dump_once(request, &mut f)? {
                tries += 1;
                if tries == DUMP_TRIES {
                    return Err(Errno::EINTR);
                }
            }
        }
        Ok(())
    }

    /// Returns whether the dump was overtaken by a change.
    fn dump_once(&mut self, request: fn(&mut Vec<u8>, u32), f: &mut impl FnMut(&Msg)) -> nix::Result<bool> {
        self.seq = self.seq.wrapping_add(1);
        let ours = self.seq;
        self.out.clear();
        request(&mut self.out, ours);
        self.send()?;
        let mut interrupted = false;
        loop {
            let n = receive(&self.requests, &mut self.buf)?;
            for msg in rtnl::messages(self.buf.get(..n).unwrap_or_default()) {
                match msg {
                    Msg::Done { seq, errno: 0 } if seq == ours => return Ok(interrupted),
                    Msg::Done { seq, errno } | Msg::Ack { seq, errno } if seq == ours => {
                        return Err(Errno::from_raw(errno));
                    }
                    Msg::Interrupted { seq } if seq == ours => interrupted = true,
                    Msg::Overrun => return Err(Errno::ENOBUFS),
                    msg => f(&msg),
                }
            }
        }
    }

    fn send(&self) -> nix::Result<()> {
        nixsock::sendto(self.requests.as_raw_fd(), &self.out, &NetlinkAddr::new(0, 0), MsgFlags::MSG_DONTWAIT)
            .map(drop)
    }

    /// What the kernel tells: at most `most` datagrams. `Err(ENOBUFS)`: some were lost.
    pub fn events(&mut self, most: usize, out: &mut Vec<Msg>) -> nix::Result<()> {
        for _ in 0..most {
            match receive(&self.events, &mut self.buf) {
                Ok(n) => out.extend(rtnl::messages(self.buf.get(..n).unwrap_or_default())),
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The descriptor to wait on.
impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

fn socket() -> nix::Result<OwnedFd> {
    nixsock::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )
}

/// The next datagram; 0 octets if it does not come from the kernel, which alone is believed.
pub(super) fn receive(fd: &OwnedFd, buf: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nixsock::recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buf) {
            Ok((n, Some(from))) if from.pid() == 0 => return Ok(n),
            Ok(_) => return Ok(0),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

fn encode(out: &mut Vec<u8>, seq: u32, op: &Op) {
    let spec = AddrSpec {
        ifindex: op.ifindex,
        addr: op.addr,
        prefix: op.prefix,
        lifetime: match (op.addr, op.lease) {
            // IPv4 has no notion of it and wants preferred = valid.
            (IpAddr::V4(_), lease) => lease.map(|valid| Lifetime { preferred: valid, valid }),
            // Never the source of a connection, even if it is permanent.
            (IpAddr::V6(_), lease) => Some(Lifetime { preferred: 0, valid: lease.unwrap_or(u32::MAX) }),
        },
        label: op.label.as_deref(),
        proto: Some(TAG),
        flags: match op.addr {
            IpAddr::V4(_) => 0,
            // Where nothing else brings the route of its subnet, it must.
            IpAddr::V6(_) if op.prefix < 128 => IFA_F_NODAD,
            IpAddr::V6(_) => IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
        },
    };
    match op.kind {
        OpKind::Add => rtnl::new_addr(out, seq, CREATE | EXCL, &spec),
        OpKind::Replace => rtnl::new_addr(out, seq, CREATE | REPLACE, &spec),
        OpKind::Remove => rtnl::del_addr(out, seq, &spec),
    }
}

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCL: u16 = libc::NLM_F_EXCL as u16;
const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// Drops messages whose `nlmsg_pid` (offset 12, host order) is `portid`.
fn not_from(portid: u32) -> [libc::sock_filter; 4] {
    let as_loaded = u32::from_be_bytes(portid.to_ne_bytes()); // BPF loads big-endian
    [
        stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 12),
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, as_loaded, 0, 1),
        stmt(libc::BPF_RET | libc::BPF_K, DROP),
        stmt(libc::BPF_RET | libc::BPF_K, ACCEPT),
    ]
}
