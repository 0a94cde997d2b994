//! Processes: children, and a HAProxy that an earlier vipd has left.

use super::owned;
use super::schedule::unlimited;
use crate::base::exit::Exit;
use crate::base::log;
use crate::base::text::words;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

/// A process that is supervised.
#[derive(Debug)]
pub enum Process {
    /// A child. It leads a process group, and its number is not reused until it is reaped.
    Child(Pid),
    /// Not a child. The pidfd pins it, so no other process with its number is ever signalled.
    Orphan {
        /// Its pid.
        pid: Pid,
        /// Readable when it has exited.
        pidfd: OwnedFd,
    },
}

impl Process {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        match self {
            Process::Child(pid) | Process::Orphan { pid, .. } => raw(*pid),
        }
    }

    /// Sends it a signal; `group`: its whole process group, which it leads.
    pub fn signal(&self, signal: Signal, group: bool) -> nix::Result<()> {
        match self {
            Process::Child(pid) if group => killpg(*pid, signal),
            Process::Child(pid) => kill(*pid, signal),
            Process::Orphan { pid, .. } if group => {
                // A stopped leader does not exit, so its number remains that of the group.
                self.signal(Signal::SIGSTOP, false)?;
                killpg(*pid, signal)
            }
            Process::Orphan { pidfd, .. } => {
                // SAFETY: plain system call; the null pointer asks for the default siginfo.
                Errno::result(unsafe {
                    libc::syscall(
                        libc::SYS_pidfd_send_signal,
                        pidfd.as_raw_fd(),
                        signal as libc::c_int,
                        std::ptr::null::<libc::siginfo_t>(),
                        0,
                    )
                })
                .map(drop)
            }
        }
    }
}

/// A pipe for the output of a child: the end to read from, which does not block, and the child's end. A
/// HAProxy that logs to it drops lines when it is full, so it is larger than usual if the kernel allows that.
pub fn output_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    const SIZE: libc::c_int = 512 << 10;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(SIZE));
    Ok((reader, writer))
}

/// A pipe for the input of a child: the child's end, and the end to write to, which does not block.
pub fn input_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}

/// Variables by which systemd talks to vipd alone (sd_notify(3), systemd.exec(5)): a HAProxy that found them
/// would speak in vipd's place.
const OURS: [&[u8]; 4] = [b"NOTIFY_SOCKET", b"WATCHDOG_PID", b"WATCHDOG_USEC", b"JOURNAL_STREAM"];

/// `more`, and what of our environment is to be kept, by its name. What is ours is named `VIPD_…`.
pub(super) fn environment(more: &[CString], keep: &dyn Fn(&[u8]) -> bool) -> Vec<CString> {
    let mut all = more.to_vec();
    for (key, value) in std::env::vars_os() {
        let mut entry = key.into_vec();
        if !entry.starts_with(b"VIPD_") && keep(&entry) {
            entry.push(b'=');
            entry.extend(value.into_vec());
            all.extend(CString::new(entry));
        }
    }
    all
}

/// An argument list. The configuration holds no NUL, so nothing is lost here.
pub fn arguments(words: &[String]) -> Vec<CString> {
    words.iter().filter_map(|word| CString::new(word.as_str()).ok()).collect()
}

/// As execve(2) takes them.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Starts a program in a process group of its own, with default signal dispositions and an empty mask (std's
/// `Command` would pass ours on), standard input from /dev/null, standard output and error to `output`.
/// Everything else is close-on-exec.
pub fn spawn(argv: &[CString], output: BorrowedFd) -> nix::Result<Pid> {
    spawn_with(argv, None, output, &[])
}

/// /dev/null, or an empty pipe where there is none.
fn nothing_to_read() -> nix::Result<OwnedFd> {
    match File::open("/dev/null") {
        Ok(file) => Ok(file.into()),
        Err(e) => {
            log::warn!("/dev/null: {e}: programs that need it fail");
            Ok(input_pipe()?.0)
        }
    }
}

/// The same with another standard input, and with more in its environment (`environment`).
pub fn spawn_with(
    argv: &[CString],
    input: Option<BorrowedFd>,
    output: BorrowedFd,
    env: &[CString],
) -> nix::Result<Pid> {
    let program = argv.first().ok_or(Errno::EINVAL)?;
    let mut actions = PosixSpawnFileActions::init()?;
    let null = nothing_to_read()?;
    actions.add_dup2(input.unwrap_or(null.as_fd()).as_raw_fd(), 0)?;
    actions.add_dup2(output.as_raw_fd(), 1)?;
    actions.add_dup2(output.as_raw_fd(), 2)?;
    let mut attr = PosixSpawnAttr::init()?;
    attr.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP,
    )?;
    attr.set_sigmask(&SigSet::empty())?;
    attr.set_sigdefault(&SigSet::all())?;
    attr.set_pgroup(Pid::from_raw(0))?;
    let env = environment(env, &|name| !OURS.contains(&name));
    unlimited(|| posix_spawn(program.as_c_str(), &actions, &attr, argv, &env))
}

/// The path by which this program was started, whatever is there now: a link is followed anew each time.
pub fn program() -> &'static CStr {
    // SAFETY: a plain system call. The kernel has put the path on the stack for as long as the process lives;
    // 0 is no address.
    match unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char {
        path if path.is_null() => c"",
        path => unsafe { CStr::from_ptr(path) },
    }
}

/// Executes a program in this process, with our environment and `more`, which is named `VIPD_…`. The
/// descriptors `keep` stay open, beside the first three. The signals that are blocked stay so, and wait for
/// the next program. Returns only if that fails, and why; then nothing has changed.
pub fn execute(argv: &[CString], more: CString, keep: &[RawFd]) -> Errno {
    let (args, env) = (pointers(argv), environment(&[more], &|_| true));
    let env = pointers(&env);
    // SAFETY: a plain system call without pointers: of a number that is no descriptor it says EBADF.
    let set =
        |flag: libc::c_int| keep.iter().for_each(|fd| _ = unsafe { libc::fcntl(*fd, libc::F_SETFD, flag) });
    set(0);
    let failed = unlimited(|| {
        // SAFETY: both are null-terminated arrays of strings that outlive the call; of no program it says
        // EFAULT.
        unsafe {
            libc::execve(args.first().copied().unwrap_or(std::ptr::null()), args.as_ptr(), env.as_ptr())
        };
        Errno::last()
    });
    set(libc::FD_CLOEXEC);
    failed
}

/// A descriptor that the program before has left open for this one, by `execute`. `None`: it has not. Call
/// before `runtime::keep_descriptors`.
pub fn inherited(fd: libc::c_int) -> Option<OwnedFd> {
    // SAFETY: plain system calls without pointers, on a number that may be no descriptor.
    let is_left = fd > 2 && unsafe { libc::fcntl(fd, libc::F_GETFD) == 0 };
    // SAFETY: it is open, and not close-on-exec as everything is that this program opens, so nobody else owns
    // it; nor will anybody who asks again.
    is_left.then(|| unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        OwnedFd::from_raw_fd(fd)
    })
}

/// Makes this process the parent of orphans among its descendants, as PID 1 is: it sees the end of a HAProxy
/// worker whose master has died, and reaps it.
pub fn adopt_orphans() {
    // SAFETY: plain system call without pointers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong, 0, 0, 0) };
}

/// Waits for one child, at most so long: for the command line. One that takes longer is killed with its
/// process group, and is `None`.
pub fn wait_for(pid: Pid, limit: Duration) -> Option<Exit> {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    // Without pidfds (before Linux 5.3) there is no limit.
    let late = pidfd(pid.as_raw())
        .is_ok_and(|fd| nix::poll::poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout) == Ok(0));
    if late {
        let _ = killpg(pid, Signal::SIGKILL);
    }
    let exit = wait(pid);
    (!late).then_some(exit)
}

/// Waits for one child. It blocks: for the command line, or after the child has exited.
pub fn wait(pid: Pid) -> Exit {
    let mut status = 0;
    // SAFETY: `status` is a valid int to write to.
    let waited = unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) };
    match waited == pid.as_raw() {
        true if libc::WIFEXITED(status) => Exit::Code(libc::WEXITSTATUS(status)),
        // Not nix's: it fails on a child that a realtime signal has killed.
        true if libc::WIFSIGNALED(status) => Exit::Signal(libc::WTERMSIG(status)),
        _ => Exit::Unknown,
    }
}

/// Reaps the next child that has exited, which PID 1 may have inherited. `before` is called while no other
/// process or process group can have its number.
pub fn reap(before: impl Fn(u32)) -> Option<(u32, Exit)> {
    // SAFETY: an all-zero siginfo_t is a valid value of that plain C structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid siginfo_t to write to; the kernel sets its pid, to 0 if nobody has exited.
    let pid = unsafe {
        Errno::result(libc::waitid(libc::P_ALL, 0, &raw mut info, flags)).ok()?;
        info.si_pid()
    };
    if pid == 0 {
        return None;
    }
    let pid = Pid::from_raw(pid);
    before(raw(pid));
    Some((raw(pid), wait(pid)))
}

/// Whether a child of this process is in a process group: then its number has not been reused.
pub fn is_group_of_ours(group: Pid) -> bool {
    is_any_of_ours(libc::P_PGID, raw(group))
}

fn is_any_of_ours(kind: libc::idtype_t, id: u32) -> bool {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: an all-zero siginfo_t is a valid value of that plain C structure, and the kernel writes one to
    // it.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(kind, id, &raw mut info, flags) == 0
    }
}

/// Kills what is left of a process group whose leader has been reaped.
pub fn kill_group_of_ours(group: Pid) {
    if is_group_of_ours(group) {
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// A process number as the core has it.
pub fn raw(pid: Pid) -> u32 {
    pid.as_raw().unsigned_abs()
}

fn pidfd(pid: libc::pid_t) -> nix::Result<OwnedFd> {
    // SAFETY: plain system call without pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?)
}

/// Takes over a process that an earlier program has started: in this process, then it is a child still, or in
/// another one, then it is pinned. Its start time is compared after that, so that a process that has reused
/// the number is noticed.
pub fn adopt(pid: u32, start_time: u64) -> nix::Result<Process> {
    let raw = libc::pid_t::try_from(pid).map_err(|_| Errno::ESRCH)?;
    if is_any_of_ours(libc::P_PID, pid) && self::start_time(pid) == Some(start_time) {
        return Ok(Process::Child(Pid::from_raw(raw)));
    }
    let pidfd = pidfd(raw)?;
    if self::start_time(pid) != Some(start_time) {
        return Err(Errno::ESRCH);
    }
    Ok(Process::Orphan { pid: Pid::from_raw(raw), pidfd })
}

/// When a process started, in clock ticks since boot (field 22 of /proc/PID/stat).
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = super::runtime::read_text(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may hold any character, so fields are counted from its end.
    words(stat.rsplit_once(')')?.1).nth(19)?.parse().ok()
}

/// The process group of the process that has connected to a UNIX socket.
pub fn peer_group(socket: &File) -> Option<Pid> {
    let peer = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    nix::unistd::getpgid(Some(Pid::from_raw(peer.pid()))).ok()
}
