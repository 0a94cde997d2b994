//! rtnetlink: one socket for requests, one for the kernel's notifications.
//!
//! The kernel carries out a request within the send and has queued its answer when that returns, so neither
//! socket blocks and a batch has its results at once.

use super::REST;
use super::socket::{ACCEPT, DROP, filter, jump, stmt};
use crate::wire::rtnl::{self, Msg};
use nix::errno::Errno;
use nix::sys::socket::{
    self as nixsock, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// linux/rtnetlink.h: the multicast groups as bits.
const GROUPS: u32 = 0x1 /* LINK */ | 0x10 /* IPV4_IFADDR */ | 0x100 /* IPV6_IFADDR */;
/// Requests in one send. If all fail, their answers of about 1 KiB each must fit into the receive buffer of
/// 208 KiB.
const CHUNK: usize = 100;
/// Octets of receive buffer to ask for; the kernel may give less.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Neighbours that are forgotten at a time: as many as the kernel keeps unless it is told otherwise.
const MOST_FORGOTTEN: usize = 1024;
/// How often a dump that is interrupted by changes is repeated.
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
    /// Opens both; `proto` is the IFA_PROTO of our own addresses. From now on, an event that is lost is
    /// reported as `Overrun`.
    pub fn open(proto: u8) -> nix::Result<Self> {
        let requests = socket()?;
        nixsock::bind(requests.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let own: NetlinkAddr = nixsock::getsockname(requests.as_raw_fd())?;
        let events = socket()?;
        // More than the system's limit takes CAP_NET_ADMIN in the initial user namespace; a smaller buffer is
        // no error.
        if nixsock::setsockopt(&events, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            let _ = nixsock::setsockopt(&events, sockopt::RcvBuf, &RECEIVE_BUFFER);
        }
        // The answers tell the results of our own requests. With 250 leases this saves 500 wake-ups a second.
        filter(&events, &not_ours(own.pid(), proto))?;
        nixsock::bind(events.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Netlink { requests, events, seq: 0, out: Vec::new(), buf: vec![0; 32 * 1024 + REST] })
    }

    /// Carries out `count` requests; `encode` appends the request of an index with its sequence number.
    /// Returns an errno for each, 0 for success. The kernel answers failures and the last request: 250
    /// renewals are 3 sends and 3 answers.
    pub fn carry_out(&mut self, count: usize, encode: &dyn Fn(&mut Vec<u8>, u32, usize)) -> Vec<i32> {
        let mut results = vec![0; count];
        let mut first = 0;
        for chunk in results.chunks_mut(CHUNK) {
            self.out.clear();
            let mut last = 0;
            for i in first..first + chunk.len() {
                rtnl::unanswered(&mut self.out, last);
                last = self.out.len();
                self.seq = self.seq.wrapping_add(1);
                encode(&mut self.out, self.seq, i);
            }
            first += chunk.len();
            let done = self.exchange(&mut |before, errno| {
                if let Some(e) = chunk.iter_mut().nth_back(before as usize) {
                    *e = errno;
                }
            });
            // The result of a request without an answer is unknown.
            if let Err(e) = done {
                chunk.iter_mut().filter(|errno| **errno == 0).for_each(|errno| *errno = e as i32);
            }
        }
        results
    }

    /// Carries out one request of another kind; returns its errno, 0 for success.
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

    /// Sends what is to be sent and takes the answers, up to that to the last request: how many requests
    /// before that, and errno.
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
    pub fn dump(&mut self, f: &mut dyn FnMut(&Msg)) -> nix::Result<()> {
        for request in [rtnl::dump_links, rtnl::dump_addrs] {
            let mut tries = 0;
            while self.dump_once(request, f)? {
                tries += 1;
                if tries == DUMP_TRIES {
                    return Err(Errno::EINTR);
                }
            }
        }
        Ok(())
    }

    /// Forgets the neighbours of an interface that have not answered, and the packets that wait for them:
    /// the next packet to one of them asks anew, at once.
    pub fn forget_unanswered(&mut self, interface: u32) {
        let mut all = Vec::new();
        let request = rtnl::dump_neighbours;
        let done = self.dump_once(request, &mut |msg| match msg {
            Msg::Unanswered { ifindex, addr } if *ifindex == interface && all.len() < MOST_FORGOTTEN => {
                all.push(*addr);
            }
            _ => {}
        });
        if done.is_ok() {
            self.carry_out(all.len(), &|out, seq, i| rtnl::del_neighbour(out, seq, interface, all[i]));
        }
    }

    /// Returns whether the dump was overtaken by a change.
    fn dump_once(&mut self, request: fn(&mut Vec<u8>, u32), f: &mut dyn FnMut(&Msg)) -> nix::Result<bool> {
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

    /// Reads at most `most` notifications. `Err(ENOBUFS)`: some were lost.
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

/// Reads the next datagram; 0 octets if another process than the kernel has sent it, which is ignored.
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

/// Drops notifications of our own changes: messages whose `nlmsg_pid` (offset 12, host order) is `portid`;
/// and, since those of IPv6 addresses do not have it, RTM_NEWADDR of an IPv6 address with the tag `proto`
/// that was changed since it was made: a renewal. A worker of the kernel reports that the address was made,
/// and vipd waits for that. (A kernel without IFA_PROTO reports all changes of IPv6 addresses.)
fn not_ours(portid: u32, proto: u8) -> [libc::sock_filter; 24] {
    const ATTRIBUTES: u32 = 24; // behind nlmsghdr and ifaddrmsg
    const CACHEINFO: u32 = 6; // cstamp at 8, tstamp at 12 of its value
    const PROTO: u32 = 11;
    const FIND: u32 = 0xffff_f000 + 12; // SKF_AD_NLATTR: from offset A the attribute X, or 0
    let (ld, ldx) = (libc::BPF_LD | libc::BPF_IMM, libc::BPF_LDX | libc::BPF_IMM);
    let abs = libc::BPF_LD | libc::BPF_ABS;
    let ind = libc::BPF_LD | libc::BPF_IND;
    let eq = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let tax = stmt(libc::BPF_MISC | libc::BPF_TAX, 0);
    // BPF loads big-endian.
    let pid = u32::from_be_bytes(portid.to_ne_bytes());
    let new_addr = u32::from(u16::from_be_bytes(libc::RTM_NEWADDR.to_ne_bytes()));
    [
        stmt(abs | libc::BPF_W, 12),
        jump(eq, pid, 21, 0),
        stmt(abs | libc::BPF_H, 4),
        jump(eq, new_addr, 0, 18),
        stmt(abs | libc::BPF_B, 16),
        jump(eq, libc::AF_INET6 as u32, 0, 16),
        stmt(ldx, CACHEINFO),
        stmt(ld, ATTRIBUTES),
        stmt(abs | libc::BPF_W, FIND),
        jump(eq, 0, 12, 0),
        tax,
        stmt(ind | libc::BPF_W, 4 + 8),
        stmt(libc::BPF_ST, 0),
        stmt(ind | libc::BPF_W, 4 + 12),
        stmt(libc::BPF_LDX | libc::BPF_MEM, 0),
        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X, 0, 6, 0),
        stmt(ldx, PROTO),
        stmt(ld, ATTRIBUTES),
        stmt(abs | libc::BPF_W, FIND),
        tax,
        stmt(ind | libc::BPF_B, 4), // without a tag that is of nlmsghdr: its type
        jump(eq, u32::from(proto), 1, 0),
        stmt(libc::BPF_RET | libc::BPF_K, ACCEPT),
        stmt(libc::BPF_RET | libc::BPF_K, DROP),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Op, OpKind, TAG};
    use std::net::IpAddr;
    use std::os::unix::net::UnixDatagram;

    fn message(addr: &str, kind: OpKind) -> Vec<u8> {
        let addr: IpAddr = addr.parse().unwrap();
        let prefix = if addr.is_ipv4() { 32 } else { 128 };
        let mut out = Vec::new();
        let op = Op { kind, entry: 0, ifindex: 2, addr, prefix, lease: Some(1), label: None };
        op.encode(&mut out, 1);
        out
    }

    /// The value of an attribute with that length and type.
    fn value(m: &mut [u8], len: u16, kind: u16) -> &mut [u8] {
        let head = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        let at = m.windows(4).position(|w| w == head).unwrap() + 4;
        &mut m[at..]
    }

    #[test]
    fn hears_all_but_its_own_doing() {
        let (to, from) = UnixDatagram::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        filter(&OwnedFd::from(from.try_clone().unwrap()), &not_ours(77, TAG)).unwrap();
        let heard = |m: &[u8]| {
            to.send(m).unwrap();
            from.recv(&mut [0; 512]).is_ok()
        };
        let renewed = |addr| {
            let mut m = message(addr, OpKind::Replace);
            value(&mut m, 20, 6)[12] = 9; // tstamp, that cstamp is not
            m
        };
        assert!(heard(&message("2001:db8::1", OpKind::Add)), "it has come to be");
        assert!(heard(&message("2001:db8::1", OpKind::Remove)));
        assert!(!heard(&renewed("2001:db8::1")));
        assert!(heard(&renewed("192.0.2.1")), "ours would have our port");
        let mut m = renewed("2001:db8::1");
        value(&mut m, 5, 11)[0] = 18;
        assert!(heard(&m), "somebody else's");
        let mut m = renewed("2001:db8::1");
        let behind = value(&mut m, 5, 11).len();
        m.truncate(m.len() - behind - 4);
        assert!(heard(&m), "without a tag");
        for addr in ["2001:db8::1", "192.0.2.1"] {
            let mut m = message(addr, OpKind::Remove);
            m[12..16].copy_from_slice(&77_u32.to_ne_bytes());
            assert!(!heard(&m), "by our own port");
        }
        assert!(
            heard(&[0; 24]) && heard(&message("2001:db8::1", OpKind::Add)[..24]),
            "too short to be looked into"
        );
    }
}
