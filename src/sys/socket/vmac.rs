//! Adverts that arrive on the macvlan of a virtual MAC.

use super::{ACCEPT, DROP, V6, bind_packet, filter, group, jump, owned, packet_socket, set, stmt};
use crate::wire::vrrp::PROTOCOL;
use nix::errno::Errno;
use nix::sys::socket::{self as nixsock, MsgFlags, SockaddrIn};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// linux/filter.h: an offset into the link-level header.
const SKF_LL_OFF: u32 = 0xffe0_0000;

/// Receives adverts whose Ethernet source is the virtual MAC of a macvlan, on that macvlan: while it is up,
/// the kernel delivers them to it, and all others to its parent too. A raw socket would have to join the
/// group and so send reports (IGMP, MLD) from that MAC.
#[derive(Debug)]
pub struct Vmac {
    fd: OwnedFd,
}

impl Vmac {
    /// Opens it, with a kernel filter; the macvlan may be down. `group` is the multicast MAC of the adverts.
    pub fn open(ifindex: u32, mac: [u8; 6], group: [u8; 6]) -> nix::Result<Self> {
        let fd = packet_socket(libc::SOCK_DGRAM)?;
        let v6 = group.starts_with(&[0x33]);
        filter(&fd, &source_filter(mac, if v6 { 6 } else { 9 }))?;
        let [a, b, c, d, e, f] = group;
        let group = libc::packet_mreq {
            mr_ifindex: i32::try_from(ifindex).map_err(|_| Errno::EINVAL)?,
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: [a, b, c, d, e, f, 0, 0],
        };
        set(&fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &group)?;
        bind_packet(&fd, ifindex, if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP })?;
        Ok(Vmac { fd })
    }

    /// Reads the next IP packet that is queued; returns its length.
    pub fn recv(&self, buf: &mut [u8]) -> nix::Result<usize> {
        nixsock::recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)
    }
}

impl AsFd for Vmac {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends whole adverts by a macvlan that is up, so that their source is its MAC. It has no address of its
/// own.
#[derive(Debug)]
pub enum Out {
    /// IPv4, with their headers.
    V4(OwnedFd),
    /// IPv6, without.
    V6(V6),
}

impl Out {
    /// Opens it for the macvlan of that name.
    pub fn open(ifname: &str, ifindex: u32, v6: bool) -> nix::Result<Self> {
        if v6 {
            return Ok(Out::V6(V6::sender(ifname, ifindex)?));
        }
        // SAFETY: plain system call without pointers.
        let fd = owned(unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            libc::socket(libc::AF_INET, kind, libc::IPPROTO_RAW)
        })?;
        nixsock::setsockopt(&fd, nixsock::sockopt::BindToDevice, &OsString::from(ifname))?;
        set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &0i32)?;
        set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &group(ifindex)?)?;
        Ok(Out::V4(fd))
    }

    /// Sends one. EPERM: it has no lease.
    pub fn send(&self, src: IpAddr, dst: IpAddr, packet: &[u8]) -> nix::Result<()> {
        match (self, src, dst) {
            (Out::V4(fd), _, IpAddr::V4(dst)) => {
                let to = SockaddrIn::from(SocketAddrV4::new(dst, 0));
                nixsock::sendto(fd.as_raw_fd(), packet, &to, MsgFlags::MSG_DONTWAIT).map(drop)
            }
            (Out::V6(s), IpAddr::V6(src), IpAddr::V6(dst)) => s.send(src, dst, packet),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Accepts packets of VRRP (with or without an authentication header) whose Ethernet source is `mac`; the
/// protocol is at that offset in the IP header.
fn source_filter(mac: [u8; 6], protocol_at: u32) -> [libc::sock_filter; 9] {
    let ret = |k| stmt(libc::BPF_RET | libc::BPF_K, k);
    let load = |size, at| stmt(libc::BPF_LD | size | libc::BPF_ABS, at);
    let jeq = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let [a, b, c, d, e, f] = mac;
    [
        load(libc::BPF_B, protocol_at),
        jump(jeq, u32::from(PROTOCOL), 1, 0),
        jump(jeq, libc::IPPROTO_AH as u32, 0, 5),
        load(libc::BPF_W, SKF_LL_OFF + 6),
        jump(jeq, u32::from_be_bytes([a, b, c, d]), 0, 3),
        load(libc::BPF_H, SKF_LL_OFF + 10),
        jump(jeq, u32::from(u16::from_be_bytes([e, f])), 0, 1),
        ret(ACCEPT),
        ret(DROP),
    ]
}
