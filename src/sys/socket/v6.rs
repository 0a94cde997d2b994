//! IPv6: adverts, and neighbour advertisements of other hosts. A raw IPv6 socket delivers and takes what
//! follows the IPv6 header; the header's fields travel as control messages.

use super::{DROP, filter, owned, receive_buffer, set, stmt, vrid_filter};
use crate::wire::ndp::NEIGHBOUR_ADVERTISEMENT;
use crate::wire::vrrp::GROUP_V6;
use crate::wire::vrrp::IpInfo;
use crate::wire::vrrp::PROTOCOL;
use nix::errno::Errno;
use nix::sys::socket as nixsock;
use std::ffi::OsString;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// linux/in6.h and linux/icmpv6.h; libc for musl has neither.
const IPV6_MULTICAST_ALL: libc::c_int = 29;
const ICMPV6_FILTER: libc::c_int = 1;
/// Internetwork control, as keepalived marks its adverts.
const TRAFFIC_CLASS: i32 = 0xc0;

/// Room for the control messages of one packet: pktinfo and hop limit take 64 octets.
type Control = [u64; 16];

/// A raw IPv6 socket of one interface. The kernel looks at no checksum of protocol 112.
#[derive(Debug)]
pub struct V6 {
    fd: OwnedFd,
    ifindex: u32,
}

impl V6 {
    /// Opens a socket for adverts of the VRIDs in use (`listed`), in and out, or of all other VRIDs, to be
    /// read seldom. It joins the VRRP group if `multicast`.
    pub fn vrrp(
        ifname: &str,
        ifindex: u32,
        vrids: &[u8],
        listed: bool,
        multicast: bool,
    ) -> nix::Result<Self> {
        let s = V6::open(ifname, ifindex, libc::c_int::from(PROTOCOL))?;
        receive_buffer(&s.fd, listed)?;
        // The filter comes before the membership, so that no other packet is ever queued.
        filter(&s.fd, &vrid_filter(&[LOAD_VRID], vrids, listed))?;
        // Receive only the groups that this socket has joined; kernels before 4.20 have no such option.
        let _ = s.set(IPV6_MULTICAST_ALL, 0);
        s.set_sending(ifindex)?;
        let group = libc::ipv6_mreq { ipv6mr_multiaddr: in6(GROUP_V6), ipv6mr_interface: ifindex };
        if multicast {
            set(&s.fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &group)?;
        }
        Ok(s)
    }

    /// Opens a socket for neighbour advertisements. Ours are sent as frames and do not come back.
    pub fn neighbours(ifname: &str, ifindex: u32) -> nix::Result<Self> {
        let s = V6::open(ifname, ifindex, libc::IPPROTO_ICMPV6)?;
        let mut blocked = [u32::MAX; 8];
        if let Some(word) = blocked.get_mut(usize::from(NEIGHBOUR_ADVERTISEMENT >> 5)) {
            *word = !(1 << (NEIGHBOUR_ADVERTISEMENT & 31));
        }
        set(&s.fd, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
        Ok(s)
    }

    /// To send adverts by an interface that need not have their source address. It hears nothing.
    pub fn sender(ifname: &str, ifindex: u32) -> nix::Result<Self> {
        const IPV6_FREEBIND: libc::c_int = 78;
        let s = V6::open(ifname, ifindex, libc::c_int::from(PROTOCOL))?;
        filter(&s.fd, &[stmt(libc::BPF_RET | libc::BPF_K, DROP)])?;
        s.set(IPV6_FREEBIND, 1)?;
        s.set_sending(ifindex)?;
        Ok(s)
    }

    fn set_sending(&self, ifindex: u32) -> nix::Result<()> {
        self.set(libc::IPV6_MULTICAST_HOPS, 255)?;
        self.set(libc::IPV6_UNICAST_HOPS, 255)?;
        self.set(libc::IPV6_MULTICAST_LOOP, 0)?;
        self.set(libc::IPV6_TCLASS, TRAFFIC_CLASS)?;
        self.set(libc::IPV6_MULTICAST_IF, i32::try_from(ifindex).map_err(|_| Errno::EINVAL)?)?;
        Ok(())
    }

    fn open(ifname: &str, ifindex: u32, protocol: libc::c_int) -> nix::Result<Self> {
        // SAFETY: plain system call without pointers.
        let fd = owned(unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            libc::socket(libc::AF_INET6, kind, protocol)
        })?;
        nixsock::setsockopt(&fd, nixsock::sockopt::BindToDevice, &OsString::from(ifname))?;
        let s = V6 { fd, ifindex };
        s.set(libc::IPV6_RECVPKTINFO, 1)?;
        s.set(libc::IPV6_RECVHOPLIMIT, 1)?;
        Ok(s)
    }

    fn set(&self, name: libc::c_int, value: i32) -> nix::Result<()> {
        set(&self.fd, libc::IPPROTO_IPV6, name, &value)
    }

    /// Sends one message from an address of the interface.
    pub fn send(&self, src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> nix::Result<()> {
        let info = libc::in6_pktinfo { ipi6_addr: in6(src), ipi6_ifindex: self.ifindex as _ };
        // SAFETY: all-zero values of these plain C structures are valid.
        let (mut to, mut msg) = unsafe { (zeroed::<libc::sockaddr_in6>(), zeroed::<libc::msghdr>()) };
        to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        to.sin6_addr = in6(dst);
        to.sin6_scope_id = self.ifindex;
        let mut control: Control = [0; 16];
        let mut iov = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
        point(&mut msg, &mut to, &mut iov, &mut control);
        // SAFETY: `msg` points to a control buffer, aligned for a header, that has room for one with an
        // in6_pktinfo; the kernel reads what `msg` points to, all of which outlives the call, and does not
        // write to the message.
        Errno::result(unsafe {
            msg.msg_controllen = libc::CMSG_SPACE(size_of_val(&info) as u32) as _;
            let c = libc::CMSG_FIRSTHDR(&raw const msg);
            (*c).cmsg_level = libc::IPPROTO_IPV6;
            (*c).cmsg_type = libc::IPV6_PKTINFO;
            (*c).cmsg_len = libc::CMSG_LEN(size_of_val(&info) as u32) as _;
            libc::CMSG_DATA(c).cast::<libc::in6_pktinfo>().write_unaligned(info);
            libc::sendmsg(self.fd.as_raw_fd(), &raw const msg, libc::MSG_DONTWAIT)
        })
        .map(drop)
    }

    /// Reads the next message that is queued; returns its length and the fields of the IPv6 header.
    pub fn recv(&self, buf: &mut [u8]) -> nix::Result<(usize, IpInfo)> {
        // SAFETY: all-zero values of these plain C structures are valid.
        let (mut from, mut msg) = unsafe { (zeroed::<libc::sockaddr_in6>(), zeroed::<libc::msghdr>()) };
        let mut control: Control = [0; 16];
        let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        point(&mut msg, &mut from, &mut iov, &mut control);
        // SAFETY: `msg` points to buffers of the lengths that it says, all of which outlive the call.
        let n =
            Errno::result(unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut msg, libc::MSG_DONTWAIT) })?;
        let (mut dst, mut ttl) = (Ipv6Addr::UNSPECIFIED, 0);
        // SAFETY: the kernel has written whole control messages into `control` and their length into `msg`,
        // and the macros stay within it; those of these two types hold these values.
        unsafe {
            let mut c = libc::CMSG_FIRSTHDR(&raw const msg);
            while !c.is_null() {
                match ((*c).cmsg_level, (*c).cmsg_type) {
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = libc::CMSG_DATA(c).cast::<libc::in6_pktinfo>().read_unaligned();
                        dst = info.ipi6_addr.s6_addr.into();
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                        let hops = libc::CMSG_DATA(c).cast::<libc::c_int>().read_unaligned();
                        ttl = u8::try_from(hops).unwrap_or(0);
                    }
                    _ => {}
                }
                c = libc::CMSG_NXTHDR(&raw const msg, c);
            }
        }
        let src = Ipv6Addr::from(from.sin6_addr.s6_addr);
        Ok((usize::try_from(n).unwrap_or(0), IpInfo { src: IpAddr::V6(src), dst: IpAddr::V6(dst), ttl }))
    }
}

impl AsFd for V6 {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn point(
    msg: &mut libc::msghdr,
    name: &mut libc::sockaddr_in6,
    iov: &mut libc::iovec,
    control: &mut Control,
) {
    msg.msg_name = std::ptr::from_mut(name).cast();
    msg.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    (msg.msg_iov, msg.msg_iovlen) = (iov, 1);
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = size_of::<Control>() as _;
}

fn in6(addr: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: addr.octets() }
}

/// A filter of a raw IPv6 socket sees what follows the IPv6 header: A := the octet behind version and type.
const LOAD_VRID: libc::sock_filter = stmt(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 1);
