//! Most of what talks to the kernel, and all `unsafe` of the program, each block with its reason.

#[cfg(test)]
pub mod allocations;
pub mod batch;
pub mod capability;
pub mod clock;
pub mod crash;
pub mod diag;
pub mod dir;
pub mod lone;
pub mod netlink;
pub mod nft;
pub mod ping;
pub mod process;
pub mod runtime;
pub mod schedule;
pub mod scm;
pub mod signal;
pub mod socket;
pub mod stdio;
pub mod stream;
pub mod user;

use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// What a large buffer has beyond what it needs: with 20 octets of musl's before and behind, it fills its
/// pages. Where there is room behind a buffer, musl writes there, on a page that is not used otherwise.
const REST: usize = 4096 - 20;

/// Takes ownership of what a system call returned.
fn owned(fd: libc::c_int) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)?;
    // SAFETY: the system call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
