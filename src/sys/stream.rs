//! Stream sockets that never block: listening, accepting, connecting on this host.

use super::owned;
use super::runtime::{make_dir, remove_socket};
use super::user;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, Shutdown, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage,
    UnixAddr, sockopt,
};
use nix::sys::stat::{Mode, umask};
use std::fs::{File, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// Connects to a UNIX socket. A full queue of its listener is EAGAIN.
pub fn connect(path: &Path) -> nix::Result<OwnedFd> {
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, FLAGS, None)?;
    socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// Listens on a UNIX socket, with mode 0600 from the first moment. A lock is held, so a socket of that name
/// is left over from a vipd that has died.
///
/// # Errors
///
/// Also if the path names something that is not a socket.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    remove_socket(path)?;
    let mask = umask(Mode::from_bits_truncate(0o177));
    let listener = bind(AddressFamily::Unix, &UnixAddr::new(path)?);
    umask(mask);
    Ok(listener?)
}

/// Listens on a UNIX socket for others: with these permissions, and for this group. Its directory is made if
/// it is missing, 0755.
///
/// # Errors
///
/// Also if somebody listens there, if another user may create files in the directory, or if there is no such
/// group.
pub fn listen_for(path: &Path, mode: u32, group: Option<&str>) -> io::Result<OwnedFd> {
    let gid = match group {
        Some(name) => Some(user::group(name).ok_or_else(|| io::Error::other("there is no such group"))?),
        None => None,
    };
    make_dir(path.parent().unwrap_or(Path::new("/")), 0o755)?;
    if matches!(connect(path), Ok(_) | Err(Errno::EAGAIN)) {
        return Err(Errno::EADDRINUSE.into());
    }
    let listener = listen(path)?;
    lchown(path, None, gid)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Connects a socket of IP, or begins to.
#[inline(never)]
pub fn connect_ip(fd: &OwnedFd, to: SocketAddr) -> nix::Result<()> {
    socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(to))
}

/// Listens on a TCP port.
pub fn listen_tcp(addr: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    bind(family, &SockaddrStorage::from(addr))
}

fn bind(family: AddressFamily, addr: &dyn SockaddrLike) -> nix::Result<OwnedFd> {
    let fd = socket::socket(family, SockType::Stream, FLAGS, None::<SockProtocol>)?;
    // Connections of an earlier vipd may still be there; on UNIX sockets it means nothing.
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::bind(fd.as_raw_fd(), addr)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

/// Accepts a connection.
pub fn accept(listener: &OwnedFd) -> nix::Result<File> {
    Ok(owned(socket::accept4(listener.as_raw_fd(), FLAGS)?)?.into())
}

/// Says that nothing more comes. Returns whether the other side is still there.
pub fn end_writing(stream: &File) -> bool {
    socket::shutdown(stream.as_raw_fd(), Shutdown::Write).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_is_replaced() {
        let dir = std::env::temp_dir().join(format!("vipd-listen-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("directory")).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(dir.join("file"), "precious").unwrap_or_else(|e| panic!("{e}"));
        std::os::unix::fs::symlink(dir.join("socket"), dir.join("link")).unwrap_or_else(|e| panic!("{e}"));
        for _ in 0..2 {
            assert!(listen(&dir.join("socket")).is_ok(), "a socket that is left over");
        }
        for other in ["file", "directory", "link"] {
            assert!(listen(&dir.join(other)).is_err(), "{other}");
            assert!(remove_socket(&dir.join(other)).is_err(), "{other}");
        }
        assert_eq!(std::fs::read_to_string(dir.join("file")).ok().as_deref(), Some("precious"));
        assert!(remove_socket(&dir.join("socket")).is_ok() && !dir.join("socket").exists());
        assert!(remove_socket(&dir.join("socket")).is_ok(), "there is none");
        let _ = std::fs::remove_dir_all(dir);
    }
}
