//! The few system calls that have no safe wrapper. The only file of the lab with `unsafe` in it.
#![allow(unsafe_code)]

use std::io::{Error, Result};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The child gets SIGKILL when this thread ends.
pub fn die_with_parent(cmd: &mut Command) {
    let set = || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Error::from);
    // SAFETY: the closure runs between fork and exec and only makes one system call.
    unsafe { cmd.pre_exec(set) };
}

/// The child's sockets of NETLINK_NETFILTER fail as in a kernel that has none (EPROTONOSUPPORT).
pub fn without_nfnetlink(cmd: &mut Command) {
    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32;
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unless = |k: u32, jf: u8| libc::sock_filter { code: 0x15, jt: 0, jf, k };
    let set = move || {
        // seccomp_data: the number at 0, the arguments from 16, 8 octets each, little-endian here.
        let mut program = [
            op(0x20, 0),
            unless(libc::SYS_socket as u32, 5),
            op(0x20, 16),
            unless(libc::AF_NETLINK as u32, 3),
            op(0x20, 32),
            unless(libc::NETLINK_NETFILTER as u32, 1),
            op(0x06, ERRNO),
            op(0x06, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
        // SAFETY: `filter` describes `program`, and both outlive the call; the kernel copies them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        };
        if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    };
    // SAFETY: the closure runs between fork and exec and only makes system calls.
    unsafe { cmd.pre_exec(set) };
}

/// Asks for real-time scheduling of this thread, so that what it observes is stamped when it happens
/// and not when the machine has time. Not being allowed to is no error.
pub fn realtime() {
    // SAFETY: sched_param is plain old data for which zero is valid.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = 1;
    // SAFETY: 0 is the calling thread; the kernel only reads the structure, which outlives the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &param) };
}

/// SCHED_FIFO for this thread; whether that is allowed.
pub fn fifo(priority: i32) -> bool {
    // SAFETY: sched_param is plain old data for which zero is valid.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: 0 is the calling thread; the kernel only reads the structure, which outlives the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &param) == 0 }
}

/// Puts a process under one of the policies that have no priorities.
pub fn set_policy(pid: i32, policy: i32) -> Result<()> {
    // SAFETY: sched_param is plain old data for which zero is valid, and here the only valid one.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel only reads the structure, which outlives the call.
    match unsafe { libc::sched_setscheduler(pid, policy, &param) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// How many segments this TCP connection has sent again, its SYN included.
pub fn tcp_retransmits(fd: BorrowedFd) -> u32 {
    // SAFETY: tcp_info is plain old data for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` octets into `info`.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    if rc == 0 { info.tcpi_total_retrans } else { 0 }
}

/// A raw socket for VRRP (IP protocol 112), for which nix has no name.
pub fn vrrp_socket() -> Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 112) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a classic BPF program to a socket.
pub fn attach_filter(fd: BorrowedFd, program: &[libc::sock_filter]) -> Result<()> {
    let prog = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which borrows `program`, and writes
    // nothing.
    let rc = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const prog).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if rc == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Sends a whole Ethernet frame through the interface with that index.
pub fn send_frame(fd: BorrowedFd, ifindex: i32, frame: &[u8]) -> Result<()> {
    // SAFETY: sockaddr_ll is plain old data for which zero is valid.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_ifindex = ifindex;
    // SAFETY: both pointers are valid for reads of the lengths given with them.
    let rc = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const addr).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if rc >= 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Sends Ethernet frames through the interface with that index, in one system call; returns how many.
pub fn send_frames(fd: BorrowedFd, ifindex: i32, frames: &[&[u8]]) -> Result<usize> {
    // SAFETY: sockaddr_ll is plain old data for which zero is valid.
    let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_ifindex = ifindex;
    let mut parts: Vec<libc::iovec> = frames
        .iter()
        .map(|f| libc::iovec { iov_base: f.as_ptr().cast_mut().cast(), iov_len: f.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: mmsghdr is plain old data for which zero is valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut addr).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    // SAFETY: each header has the address and one part, which is a frame with its length; all outlive the
    // call, and nothing is written but the lengths in `headers`.
    let n = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), headers.len() as _, 0) };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => match Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            e => Err(e),
        },
    }
}

/// Takes the lock that the kernel has for all changes of interfaces and addresses, and changes nothing: the
/// MTU of `lo` is set to 65536, which it is in every namespace.
pub fn take_rtnl(fd: BorrowedFd) {
    // SAFETY: ifreq is plain old data for which zero is valid.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    req.ifr_ifru.ifru_mtu = 65536;
    // SAFETY: this request reads name and MTU of an ifreq, which outlives the call.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFMTU as _, &raw mut req) };
}
