//! Signals, read from a descriptor.

use super::schedule::STEPPED_DOWN;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that vipd acts on. They are blocked here; children get an empty mask (`process::spawn`).
pub const HANDLED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGHUP,
    Signal::SIGCHLD,
    STEPPED_DOWN,
];

/// Blocks the signals and returns a descriptor to read them from. SIGPIPE is ignored by Rust's runtime.
pub fn open() -> nix::Result<SignalFd> {
    let mut set = SigSet::empty();
    for s in HANDLED {
        set.add(s);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// The next signal that is pending.
pub fn next(fd: &mut SignalFd) -> Option<Signal> {
    let info = fd.read_signal().ok()??;
    i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok())
}
