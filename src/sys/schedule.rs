//! Realtime priority and locked memory, on request, with what makes them safe.

use nix::errno::Errno;

/// Realtime CPU time without a pause, in microseconds, after which the kernel sends SIGXCPU: then vipd steps
/// down by itself (`normal`).
const SOFT: libc::rlim_t = 500_000;
/// After which it kills a vipd that has not stepped down, which can only loop for ever; init starts another.
const HARD: libc::rlim_t = 2_000_000;

/// SCHED_FIFO with this priority (1 to 99). A child starts with the ordinary policy (SCHED_RESET_ON_FORK),
/// and RLIMIT_RTTIME bounds what a fault of ours can cost the machine.
///
/// # Errors
///
/// EPERM without CAP_SYS_NICE (or an RLIMIT_RTPRIO that allows it).
pub fn realtime(priority: u8) -> nix::Result<()> {
    let limit = libc::rlimit { rlim_cur: SOFT, rlim_max: HARD };
    // SAFETY: `limit` is a valid rlimit, which is only read.
    Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) })?;
    policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority.into())
}

/// The ordinary policy again.
///
/// # Errors
///
/// None that is known: stepping down needs no privilege.
pub fn normal() -> nix::Result<()> {
    policy(libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0)
}

fn policy(policy: libc::c_int, priority: libc::c_int) -> nix::Result<()> {
    // musl's sched_setscheduler() only says ENOSYS, and its sched_param has fields that the kernel has not.
    let param = priority;
    // SAFETY: the kernel's sched_param is one int, which is only read; 0 is this process.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) })
        .map(drop)
}

/// Takes the limits of `realtime` from a child. Without CAP_SYS_RESOURCE it keeps them, which no process of
/// the ordinary policy notices.
pub fn unlimited(pid: libc::pid_t) {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit, which is only read; nothing is written through the null pointer.
    unsafe { libc::prlimit(pid, libc::RLIMIT_RTTIME, &raw const limit, std::ptr::null_mut()) };
}

/// Keeps every page of the process in memory: those it has, those it will have, and the program itself, whose
/// pages would else be read from a disk in the middle of a takeover.
///
/// # Errors
///
/// EPERM or ENOMEM without CAP_IPC_LOCK and with a small RLIMIT_MEMLOCK.
pub fn lock_memory() -> nix::Result<()> {
    // SAFETY: plain system call without pointers.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) }).map(drop)
}

/// The end of it.
///
/// # Errors
///
/// None that is known.
pub fn unlock_memory() -> nix::Result<()> {
    // SAFETY: plain system call without pointers.
    Errno::result(unsafe { libc::munlockall() }).map(drop)
}
