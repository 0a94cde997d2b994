//! Raw and packet sockets of one interface. None of them ever blocks.

mod v6;
mod vmac;

pub use v6::V6;
pub use vmac::{Out, Vmac};

use super::owned;
use crate::wire::ah;
use crate::wire::vrrp::GROUP_V4;
use crate::wire::vrrp::PROTOCOL;
use nix::errno::Errno;
use nix::sys::socket::{self as nixsock, MsgFlags, SockaddrIn};
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Octets of receive buffer to ask for; the kernel may give less.
const RECEIVE_BUFFER: usize = 2 << 20;
/// linux/if_packet.h; neither libc for musl nor nix has it.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
/// linux/filter.h: an offset into the socket buffer's metadata.
const SKF_AD_OFF: u32 = 0xffff_f000;
const SKF_AD_PKTTYPE: u32 = 4;
const PACKET_OUTGOING: u32 = 4;

/// What is between the IP header and the VRRP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: IP protocol 112.
    Plain,
    /// An authentication header: IP protocol 51.
    Ah,
}

/// Receives adverts of the VRIDs in use on one interface, and sends ours.
#[derive(Debug)]
pub struct Vrrp {
    fd: OwnedFd,
}

/// Receives adverts of all other VRIDs on one interface. They are only worth a message, so this socket is
/// read seldom.
#[derive(Debug)]
pub struct UnknownVrid {
    fd: OwnedFd,
}

impl Vrrp {
    /// Opens a socket that is bound to the interface, with a kernel filter for `vrids`, and in the VRRP group
    /// if
    /// `multicast`. `kind` says which header precedes the VRRP message.
    pub fn open(ifname: &str, ifindex: u32, kind: Kind, vrids: &[u8], multicast: bool) -> nix::Result<Self> {
        let fd = raw(ifname, kind)?;
        receive_buffer(&fd, true)?;
        // The filter comes before the membership, so that no other packet is ever queued.
        filter(&fd, &vrid_filter(kind.load_vrid(), vrids, true))?;
        set(&fd, libc::IPPROTO_IP, libc::IP_HDRINCL, &1i32)?;
        if multicast {
            set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &0i32)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &group(ifindex)?)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &group(ifindex)?)?;
        }
        Ok(Vrrp { fd })
    }

    /// Packets that the buffer had no room for since the socket was opened; 0 on kernels before 4.6, which do
    /// not tell.
    pub fn overruns(&self) -> u64 {
        let mut info = [0u32; 9];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the pointers describe `info` and its length, and both outlive the call.
        let _ = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                (&raw mut info).cast(),
                &raw mut len,
            )
        };
        let [.., drops] = info;
        u64::from(drops)
    }

    /// Sends one IP packet, whatever its protocol is.
    pub fn send(&self, dst: Ipv4Addr, packet: &[u8]) -> nix::Result<()> {
        let to = SockaddrIn::from(std::net::SocketAddrV4::new(dst, 0));
        nixsock::sendto(self.fd.as_raw_fd(), packet, &to, MsgFlags::MSG_DONTWAIT).map(drop)
    }
}

impl AsFd for Vrrp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl UnknownVrid {
    /// Opens it, with a kernel filter for everything but `vrids`, and in the VRRP group if `multicast`.
    pub fn open(ifname: &str, ifindex: u32, vrids: &[u8], multicast: bool) -> nix::Result<Self> {
        let fd = raw(ifname, Kind::Plain)?;
        filter(&fd, &vrid_filter(Kind::Plain.load_vrid(), vrids, false))?;
        if multicast {
            set(&fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &group(ifindex)?)?;
        }
        receive_buffer(&fd, false)?;
        Ok(UnknownVrid { fd })
    }

    /// Reads the next IP packet that is queued; returns its length.
    pub fn recv(&self, buf: &mut [u8]) -> nix::Result<usize> {
        nixsock::recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)
    }
}

impl AsFd for UnknownVrid {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends announcements on one interface and receives the gratuitous ARPs of other hosts.
#[derive(Debug)]
pub struct Arp {
    fd: OwnedFd,
    addr: libc::sockaddr_ll,
}

impl Arp {
    /// Opens it, with a kernel filter for gratuitous ARPs that others sent.
    pub fn open(ifindex: u32) -> nix::Result<Self> {
        let fd = packet_socket(libc::SOCK_RAW)?;
        filter(&fd, &gratuitous_filter())?;
        // Kernels before 4.20 have no such option; the filter drops what we sent as well.
        let _ = set(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32);
        let addr = bind_packet(&fd, ifindex, libc::ETH_P_ARP)?;
        Ok(Arp { fd, addr })
    }

    /// Sends one Ethernet frame, of the type that it says.
    pub fn send(&self, frame: &[u8]) -> nix::Result<()> {
        let mut to = self.addr;
        if let Some(&[a, b]) = frame.get(12..14) {
            to.sll_protocol = u16::from_ne_bytes([a, b]);
        }
        // SAFETY: the frame and the address are of the lengths that are given, and outlive the call.
        Errno::result(unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })
        .map(drop)
    }

    /// Reads the next Ethernet frame that is queued; returns its length.
    pub fn recv(&self, buf: &mut [u8]) -> nix::Result<usize> {
        nixsock::recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)
    }
}

impl AsFd for Arp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a packet socket that receives nothing (protocol 0) until its filter is in place and it is bound.
fn packet_socket(kind: libc::c_int) -> nix::Result<OwnedFd> {
    // SAFETY: plain system call without pointers.
    owned(unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })
}

/// Binds it to an interface and an Ethernet type, and returns that address.
fn bind_packet(fd: &OwnedFd, ifindex: u32, ethertype: libc::c_int) -> nix::Result<libc::sockaddr_ll> {
    // SAFETY: an all-zero sockaddr_ll is a valid value of that plain C structure.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    addr.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?;
    addr.sll_protocol = u16::try_from(ethertype).map_err(|_| Errno::EINVAL)?.to_be();
    addr.sll_ifindex = i32::try_from(ifindex).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `addr` is a sockaddr_ll of the length that is given.
    Errno::result(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const addr).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    })?;
    Ok(addr)
}

fn raw(ifname: &str, kind: Kind) -> nix::Result<OwnedFd> {
    let protocol = match kind {
        Kind::Plain => PROTOCOL,
        Kind::Ah => ah::PROTOCOL,
    };
    // SAFETY: plain system call without pointers.
    let fd = owned(unsafe {
        libc::socket(
            libc::AF_INET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            i32::from(protocol),
        )
    })?;
    nixsock::setsockopt(&fd, nixsock::sockopt::BindToDevice, &OsString::from(ifname))?;
    // Receive only the groups that this socket has joined, not those of all processes of the host.
    set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &0i32)?;
    Ok(fd)
}

/// The VRRP group on one interface.
fn group(ifindex: u32) -> nix::Result<libc::ip_mreqn> {
    Ok(libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from(GROUP_V4).to_be() },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: i32::try_from(ifindex).map_err(|_| Errno::EINVAL)?,
    })
}

/// `setsockopt` with a plain value.
fn set<T: Copy>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> nix::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call; all callers pass the
    // plain C type that the option takes.
    Errno::result(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// What getsockname(2) and getpeername(2) have in common.
type Name = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

/// One of a socket's two addresses. nix's addresses would cost 2 KiB.
fn name(fd: &OwnedFd, of: Name) -> nix::Result<[u8; size_of::<libc::sockaddr_in6>()]> {
    let mut octets = [0; size_of::<libc::sockaddr_in6>()];
    let mut len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `octets`; the kernel writes no more than that.
    Errno::result(unsafe { of(fd.as_raw_fd(), octets.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(octets)
}

/// Whether the kernel says that a stream socket is connected: one whose connect is under way has no peer.
pub fn has_peer(fd: &OwnedFd) -> bool {
    name(fd, libc::getpeername).is_ok()
}

/// Whether a socket is connected to itself.
pub fn is_own_peer(fd: &OwnedFd) -> bool {
    let peer = name(fd, libc::getpeername);
    peer.is_ok() && peer == name(fd, libc::getsockname)
}

/// Attaches a classic BPF program.
pub(super) fn filter(fd: &OwnedFd, program: &[libc::sock_filter]) -> nix::Result<()> {
    let prog = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        // The kernel copies the program and does not write to it.
        filter: program.as_ptr().cast_mut(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &prog)
}

pub(super) const fn stmt(code: u32, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

pub(super) const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

pub(super) const ACCEPT: u32 = 0xffff;
pub(super) const DROP: u32 = 0;

/// 250 virtual routers send 250 adverts at once, and each frame may take 2 KiB or more of the buffer. A
/// socket that is read seldom needs little.
fn receive_buffer(fd: &OwnedFd, large: bool) -> nix::Result<()> {
    if !large {
        return set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &8192i32);
    }
    // More than the system's limit takes CAP_NET_ADMIN in the initial user namespace; a smaller buffer is no
    // error.
    if nixsock::setsockopt(fd, nixsock::sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = nixsock::setsockopt(fd, nixsock::sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    Ok(())
}

impl Kind {
    /// The beginning of a filter: A := the octet behind version and type of the VRRP message.
    fn load_vrid(self) -> &'static [libc::sock_filter] {
        /// X := length of the IPv4 header.
        const HEADER: libc::sock_filter = stmt(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0);
        const OCTET: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
        match self {
            Kind::Plain => &const { [HEADER, stmt(OCTET, 1)] },
            // Ignore packets that IPsec authenticates.
            Kind::Ah => {
                &const {
                    [
                        HEADER,
                        stmt(OCTET, 0),
                        jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, PROTOCOL as u32, 1, 0),
                        stmt(libc::BPF_RET | libc::BPF_K, DROP),
                        stmt(OCTET, ah::AH_LEN as u32 + 1),
                    ]
                }
            }
        }
    }
}

/// Accepts the VRIDs listed and drops the others, or the reverse. `load` puts the VRID into A.
fn vrid_filter(load: &[libc::sock_filter], vrids: &[u8], listed: bool) -> Vec<libc::sock_filter> {
    let (hit, miss) = if listed { (ACCEPT, DROP) } else { (DROP, ACCEPT) };
    let ret = |k| stmt(libc::BPF_RET | libc::BPF_K, k);
    let mut program = load.to_vec();
    for vrid in vrids {
        let equal = jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::from(*vrid), 0, 1);
        program.extend([equal, ret(hit)]);
    }
    program.push(ret(miss));
    program
}

/// Accepts ARP frames of other hosts whose sender and target protocol addresses are equal, or whose target is
/// 0.0.0.0, as in answers to probes.
fn gratuitous_filter() -> [libc::sock_filter; 9] {
    let ret = |k| stmt(libc::BPF_RET | libc::BPF_K, k);
    let jeq = libc::BPF_JMP | libc::BPF_JEQ;
    [
        stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, SKF_AD_OFF + SKF_AD_PKTTYPE),
        jump(jeq | libc::BPF_K, PACKET_OUTGOING, 6, 0),
        stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 14 + 24),
        jump(jeq | libc::BPF_K, 0, 3, 0),
        stmt(libc::BPF_MISC | libc::BPF_TAX, 0),
        stmt(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 14 + 14),
        jump(jeq | libc::BPF_X, 0, 0, 1),
        ret(ACCEPT),
        ret(DROP),
    ]
}
