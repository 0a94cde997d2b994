//! Whether HAProxy will be able to bind to what its configuration names. Its own sockets are not in the way:
//! they are of the same user, and have SO_REUSEPORT.

use crate::haproxy::config_file;
use crate::preflight::advice;
use crate::report::words;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrStorage, setsockopt,
    sockopt::{Ipv6V6Only, ReuseAddr, ReusePort},
};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Why not, if somebody else has one of the addresses.
pub(super) fn taken(config: &[PathBuf]) -> Option<String> {
    for file in advice::files(config) {
        let first = |(line, addr)| Some((line, addr, bind(addr).err().filter(|e| *e == Errno::EADDRINUSE)?));
        if let Some((line, addr, e)) = config_file::binds(&advice::read(&file)).into_iter().find_map(first) {
            let (file, why) = (file.display(), words::errno(e as i32));
            return Some(format!("{file}:{line}: bind {addr}: {why}"));
        }
    }
    None
}

/// As HAProxy does it, but without listening.
fn bind(addr: SocketAddr) -> nix::Result<()> {
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    setsockopt(&fd, ReusePort, &true)?;
    if addr.is_ipv6() {
        // With `v6only` another program may have the same port over IPv4.
        setsockopt(&fd, Ipv6V6Only, &true)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_others_have_is_taken_and_what_may_be_shared_is_not() {
        let file = std::env::temp_dir().join(format!("vipd-binds-{}.cfg", std::process::id()));
        let config = [file.clone()];
        let other = TcpListener::bind("0.0.0.0:0").unwrap_or_else(|e| panic!("{e}"));
        let addr = other.local_addr().unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(&file, format!("frontend f\nbind {addr}\n")).unwrap_or_else(|e| panic!("{e}"));
        let said = taken(&config).unwrap_or_default();
        assert!(said.contains(&format!(":2: bind {addr}: ")), "{said}");
        let v6 = format!("frontend f\nbind [::]:{} v6only\n", addr.port());
        std::fs::write(&file, v6).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(taken(&config), None);
        std::fs::write(&file, format!("frontend f\nbind {addr}\n")).unwrap_or_else(|e| panic!("{e}"));
        drop(other);
        assert_eq!(taken(&config), None);
        // Of this user, and shared: one of HAProxy's.
        let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None);
        let fd = fd.unwrap_or_else(|e| panic!("{e}"));
        assert!(setsockopt(&fd, ReusePort, &true).is_ok());
        assert!(socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(addr)).is_ok());
        assert!(socket::Backlog::new(9).is_ok_and(|n| socket::listen(&fd, n).is_ok()));
        assert_eq!(taken(&config), None);
        let _ = std::fs::remove_file(file);
    }
}
