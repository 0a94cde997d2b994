//! Realtime priority and locked memory, and what bounds their cost for the rest of the machine.

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;

/// Realtime CPU time without a pause, in microseconds, after which the kernel sends SIGXCPU and vipd steps
/// down.
const SOFT: libc::rlim_t = 500_000;
/// Tells the loop that vipd has stepped down. No other process sends it.
pub const STEPPED_DOWN: Signal = Signal::SIGVTALRM;

/// SCHED_FIFO with this priority (1 to 99). A child starts with the ordinary policy (SCHED_RESET_ON_FORK),
/// and RLIMIT_RTTIME bounds what a fault of ours can cost the machine: after that time vipd is an ordinary
/// process. The hard limit is unchanged, since without CAP_SYS_RESOURCE no child could raise it again.
///
/// # Errors
///
/// EPERM without CAP_SYS_NICE (or an RLIMIT_RTPRIO that allows it).
pub fn realtime(priority: u8) -> nix::Result<()> {
    let handler = SigAction::new(SigHandler::Handler(step_down), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler makes two system calls, touches no data and leaves errno as it was.
    unsafe { sigaction(Signal::SIGXCPU, &handler)? };
    let limit = rttime()?;
    set_rttime(libc::rlimit { rlim_cur: SOFT.min(limit.rlim_max), ..limit })?;
    policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority.into())
}

/// A signal handler, since the loop itself may hang.
extern "C" fn step_down(_: libc::c_int) {
    let errno = Errno::last_raw();
    // Needs no privilege, so it does not fail.
    let _ = normal();
    let _ = kill(Pid::this(), STEPPED_DOWN);
    Errno::set_raw(errno);
}

/// Returns to the ordinary policy.
///
/// # Errors
///
/// None that is known: stepping down needs no privilege.
pub fn normal() -> nix::Result<()> {
    policy(libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0)
}

fn policy(policy: libc::c_int, priority: libc::c_int) -> nix::Result<()> {
    // musl's sched_setscheduler() fails with ENOSYS, and its sched_param differs from the kernel's.
    let param = priority;
    // SAFETY: the kernel's sched_param is one int, which is only read; 0 is this process.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) })
        .map(drop)
}

/// Runs `spawn` without the limit of [`realtime`], so that the child does not have it.
pub fn unlimited<T>(spawn: impl FnOnce() -> T) -> T {
    let limit = rttime().ok();
    lift();
    let child = spawn();
    if let Some(l) = limit {
        let _ = set_rttime(l);
    }
    child
}

/// The same within a child, where only system calls are allowed.
pub fn lift() {
    if let Ok(l) = rttime() {
        let _ = set_rttime(libc::rlimit { rlim_cur: l.rlim_max, ..l });
    }
}

fn rttime() -> nix::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    Errno::result(unsafe { libc::getrlimit(libc::RLIMIT_RTTIME, &raw mut limit) })?;
    Ok(limit)
}

fn set_rttime(limit: libc::rlimit) -> nix::Result<()> {
    // Not musl's setrlimit(): its support of threads on kernels before 2.6.36 costs 2 KB. SAFETY: `limit` is
    // a valid rlimit, which is only read; the old one is not asked for.
    Errno::result(unsafe { libc::prlimit(0, libc::RLIMIT_RTTIME, &raw const limit, std::ptr::null_mut()) })
        .map(drop)
}

/// Locks every page of the process into memory, present and future. Otherwise pages of the program may have
/// to be read from disk in the middle of a takeover.
///
/// # Errors
///
/// EPERM or ENOMEM without CAP_IPC_LOCK and with a small RLIMIT_MEMLOCK.
pub fn lock_memory() -> nix::Result<()> {
    // SAFETY: plain system call without pointers.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) }).map(drop)
}
