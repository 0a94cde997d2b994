//! Users of the system, and programs that run as one of them.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most groups of a user; the kernel allows 65536.
const MAX_GROUPS: usize = 256;
#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
use libc::{SYS_setgid as SETGID, SYS_setgroups as SETGROUPS, SYS_setuid as SETUID};
/// The system calls with 32-bit ids.
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
use libc::{SYS_setgid32 as SETGID, SYS_setgroups32 as SETGROUPS, SYS_setuid32 as SETUID};

/// Exit status of a child that cannot become the user or execute the program, as a shell's.
const CANNOT: i32 = 126;

/// A user with all groups, from /etc/passwd and /etc/group (UTF-8). Other databases are not asked: that could
/// block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl User {
    /// Looks a name up.
    pub fn find(name: &str) -> Option<Self> {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        User::parse(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    /// passwd(5) `name:password:uid:gid:…`, group(5) `name:password:gid:member,member`
    fn parse(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let [_, _, uid, gid] = passwd.lines().filter_map(fields).find(|f| f[0] == name)?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let mut groups = vec![gid];
        for [_, _, other, members] in group.lines().filter_map(fields) {
            let other = other.parse::<u32>().ok().filter(|other| *other != gid);
            groups.extend(other.filter(|_| members.split(',').any(|m| m == name)));
        }
        groups.truncate(MAX_GROUPS);
        Some(User { uid, gid, groups })
    }
}

/// The first four fields of a line.
fn fields(line: &str) -> Option<[&str; 4]> {
    let mut fields = line.split(':');
    Some([fields.next()?, fields.next()?, fields.next()?, fields.next()?])
}

/// Starts a program as `process::spawn_with` does, but as another user, which posix_spawn cannot. If that
/// fails in the child, it says so on `output` and exits with status 126.
pub fn spawn_as(argv: &[CString], output: BorrowedFd, user: &User, env: &[CString]) -> nix::Result<Pid> {
    let null = File::open("/dev/null").map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
    let args: Vec<_> = argv.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let program = *args.first().filter(|p| !p.is_null()).ok_or(Errno::EINVAL)?;
    let env = super::process::environment(env);
    let env: Vec<_> = env.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: the child calls only async-signal-safe functions, allocates nothing, and ends in exec or _exit.
    // All pointers are to null-terminated arrays and strings that live in this frame, which it has a copy of.
    unsafe {
        // Not fork(): musl's takes all locks of the allocator, which costs code and is needless without
        // threads.
        let pid = Errno::result(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0))?;
        if pid != 0 {
            return Ok(Pid::from_raw(pid as libc::pid_t));
        }
        libc::setpgid(0, 0);
        libc::dup2(null.as_raw_fd(), 0);
        libc::dup2(output.as_raw_fd(), 1);
        libc::dup2(output.as_raw_fd(), 2);
        // Rust's runtime ignores SIGPIPE, and our parent may have ignored other signals.
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        super::schedule::lift();
        // Not the C library's functions: they change all threads, and there is one.
        let told: &[u8] = if libc::syscall(SETGROUPS, user.groups.len(), user.groups.as_ptr()) != 0
            || libc::syscall(SETGID, user.gid) != 0
            || libc::syscall(SETUID, user.uid) != 0
        {
            b"cannot become that user\n"
        } else {
            libc::execve(program, args.as_ptr(), env.as_ptr());
            b"cannot be executed by that user\n"
        };
        libc::write(2, told.as_ptr().cast(), told.len());
        libc::_exit(CANNOT)
    }
}

/// The kernel's overflow user and group, usually called `nobody`.
const NOBODY: u32 = 65534;

/// Gives up all privileges for good, as far as possible: without CAP_SETUID there are few.
pub fn become_nobody() {
    // SAFETY: plain system calls; the null pointer comes with the length 0, and nothing is read. There are no
    // threads.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(SETGROUPS, 0, std::ptr::null::<libc::gid_t>());
        libc::syscall(SETGID, NOBODY);
        libc::syscall(SETUID, NOBODY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn users_and_their_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nodd:x:a:b\nnobody:x:65534:65533:::\n";
        let group =
            "root:x:0:\nx:x:7:nobodyx,root\naudio:x:29:a,nobody\nnogroup:x:65533:nobody\nbad:x:-:nobody\n";
        let nobody = User { uid: 65534, gid: 65533, groups: vec![65533, 29] };
        assert_eq!(User::parse("nobody", passwd, group), Some(nobody));
        assert_eq!(User::parse("root", passwd, group).map(|u| u.groups), Some(vec![0, 7]));
        for name in ["broken", "odd", "nobod", "", "x"] {
            assert_eq!(User::parse(name, passwd, group), None, "{name}");
        }
    }

    /// Only root can become another user.
    #[test]
    fn the_limit_of_realtime_is_not_for_children() {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let set = |limit: libc::rlimit| {
            // SAFETY: `limit` is a valid rlimit, which is only read.
            unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) }
        };
        // SAFETY: `before` is a valid rlimit to write to.
        unsafe { libc::getrlimit(libc::RLIMIT_RTTIME, &raw mut before) };
        if !nix::unistd::geteuid().is_root() || before.rlim_max != libc::RLIM_INFINITY {
            return;
        }
        assert_eq!(set(libc::rlimit { rlim_cur: 500_000, ..before }), 0);
        let (reader, writer) = std::io::pipe().unwrap_or_else(|e| panic!("{e}"));
        let argv = [c"/bin/grep", c"realtime timeout", c"/proc/self/limits"].map(std::ffi::CStr::to_owned);
        let user = User { uid: 65534, gid: 65534, groups: vec![65534] };
        let pid = spawn_as(&argv, writer.as_fd(), &user, &[]).unwrap_or_else(|e| panic!("{e}"));
        drop(writer);
        let said = std::io::read_to_string(reader).unwrap_or_default();
        let _ = nix::sys::wait::waitpid(pid, None);
        set(before);
        assert_eq!(said.matches("unlimited").count(), 2, "{said}");
    }
}
