//! Standard input and output without the locks and buffers of the standard library's.

use nix::errno::Errno;
use std::os::fd::BorrowedFd;

// SAFETY: the runtime opens both at the start if they are not open, and nobody closes them.
/// Standard input.
pub const INPUT: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(0) };
/// Standard output.
pub const OUTPUT: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(1) };

/// Writes all of it.
pub fn write(to: BorrowedFd, mut text: &[u8]) -> nix::Result<()> {
    while !text.is_empty() {
        match nix::unistd::write(to, text) {
            Err(Errno::EINTR) => {}
            written => text = text.get(written?..).unwrap_or_default(),
        }
    }
    Ok(())
}
