//! Passes descriptors over UNIX sockets (SCM_RIGHTS), without blocking. A descriptor that arrives is owned at
//! once, so none leaks.

use super::owned;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Room for the kernel's limit of 253 descriptors and for credentials, aligned as control messages are.
type Control = [u64; 160];

/// A message that was received.
#[derive(Debug, Default)]
pub struct Received {
    /// Octets; zero at the end.
    pub len: usize,
    /// The process that sent them, if SO_PASSCRED is set.
    pub pid: Option<u32>,
    /// There were more descriptors than this process may have open.
    pub truncated: bool,
}

fn header(data: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: an all-zero msghdr is a valid value of that plain C structure.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = data;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = size_of::<Control>() as _;
    msg
}

/// Receives; descriptors are close-on-exec and appended to `fds`.
pub fn recv(fd: BorrowedFd, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> nix::Result<Received> {
    let mut data = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut control: Control = [0; 160];
    let mut msg = header(&mut data, &mut control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `msg` describes `buf` and `control`, which outlive the call.
    let len = Errno::result(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut msg, flags) })?;
    let mut received = Received {
        len: len.unsigned_abs(),
        truncated: msg.msg_flags & libc::MSG_CTRUNC != 0,
        ..Received::default()
    };
    // SAFETY: the kernel has filled `control` as far as `msg` says; the macros stay within that, and
    // alignment is asked of nobody: all is read unaligned. The descriptors are new and nobody else knows
    // them.
    unsafe {
        let mut c = libc::CMSG_FIRSTHDR(&raw const msg);
        while !c.is_null() {
            let octets = ((*c).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*c).cmsg_level, (*c).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let first = libc::CMSG_DATA(c).cast::<libc::c_int>();
                    for i in 0..octets / size_of::<libc::c_int>() {
                        fds.extend(owned(first.add(i).read_unaligned()));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if octets >= size_of::<libc::ucred>() => {
                    let cred = libc::CMSG_DATA(c).cast::<libc::ucred>().read_unaligned();
                    received.pid = Some(cred.pid.unsigned_abs());
                }
                _ => {}
            }
            c = libc::CMSG_NXTHDR(&raw const msg, c);
        }
    }
    Ok(received)
}

/// Sends octets, at least one, and at most 253 descriptors with them. Returns how many octets went out.
pub fn send(fd: BorrowedFd, octets: &[u8], fds: &[libc::c_int]) -> nix::Result<usize> {
    // sendmsg does not write to what it sends.
    let mut data = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
    let mut control: Control = [0; 160];
    let mut msg = header(&mut data, &mut control);
    let len = u32::try_from(size_of_val(fds)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: plain arithmetic.
    let space = if fds.is_empty() { 0 } else { unsafe { libc::CMSG_SPACE(len) } };
    if space as usize > size_of::<Control>() {
        return Err(Errno::EINVAL);
    }
    msg.msg_controllen = space as _;
    // SAFETY: `control` has room for one header and for `fds`, as was just checked; there is a first header
    // if and only if there are descriptors. `msg` describes `octets` and `control`, which outlive the call.
    let sent = unsafe {
        let c = libc::CMSG_FIRSTHDR(&raw const msg);
        if !c.is_null() {
            (*c).cmsg_level = libc::SOL_SOCKET;
            (*c).cmsg_type = libc::SCM_RIGHTS;
            (*c).cmsg_len = libc::CMSG_LEN(len) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(c), len as usize);
        }
        libc::sendmsg(fd.as_raw_fd(), &raw const msg, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    Errno::result(sent).map(isize::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_travel() {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .unwrap_or_else(|e| panic!("{e}"));
        setsockopt(&b, sockopt::PassCred, &true).unwrap_or_else(|e| panic!("{e}"));
        let (reader, writer) = std::io::pipe().unwrap_or_else(|e| panic!("{e}"));
        let mut buf = [0; 16];
        let mut fds = Vec::new();
        assert_eq!(recv(b.as_fd(), &mut buf, &mut fds).err(), Some(Errno::EAGAIN));
        assert_eq!(send(a.as_fd(), b"two", &[reader.as_raw_fd(), writer.as_raw_fd()]), Ok(3));
        assert_eq!(send(a.as_fd(), b"none", &[]), Ok(4));
        assert_eq!(send(a.as_fd(), b"many", &[0; 400]), Err(Errno::EINVAL));
        let got = recv(b.as_fd(), &mut buf, &mut fds).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((got.len, fds.len(), got.truncated), (3, 2, false));
        assert_eq!(got.pid, Some(std::process::id()));
        drop((reader, writer));
        let (Some(w), Some(r)) = (fds.pop(), fds.pop()) else { panic!("two descriptors") };
        File::from(w).write_all(b"through").unwrap_or_else(|e| panic!("{e}"));
        let mut text = String::new();
        File::from(r).read_to_string(&mut text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(text, "through");
        let got = recv(b.as_fd(), &mut buf, &mut fds).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((got.len, fds.len()), (4, 0));
        drop(a);
        // A child of another test holds it until it executes its program.
        let start = std::time::Instant::now();
        let end = loop {
            match recv(b.as_fd(), &mut buf, &mut fds).map(|r| r.len) {
                Err(Errno::EAGAIN) => assert!(start.elapsed().as_secs() < 10),
                end => break end,
            }
        };
        assert_eq!(end, Ok(0));
    }
}
