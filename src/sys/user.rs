//! Users of the system, and programs that are run as one of them.

use super::process::environment;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Most groups of one user; the kernel allows 65536.
const MAX_GROUPS: usize = 256;
/// Exit status of a child that could not become the user, or not execute the program, as a shell's.
const CANNOT: i32 = 126;

/// A user with all groups, as /etc/passwd and /etc/group have it: no other data base is asked, for that could block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl User {
    /// Looks a name up.
    pub fn find(name: &str) -> Option<Self> {
        let read = |file| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
        User::parse(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    /// passwd(5) `name:password:uid:gid:…`, group(5) `name:password:gid:member,member`
    fn parse(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let mut fields =
            passwd.lines().map(|l| l.split(':')).find_map(|mut f| (f.next()? == name).then_some(f))?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let mut groups = vec![gid];
        groups.extend(group.lines().filter_map(|l| {
            let mut fields = l.split(':').skip(2);
            let other: libc::gid_t = fields.next()?.parse().ok()?;
            (other != gid && fields.next()?.split(',').any(|m| m == name)).then_some(other)
        }));
        groups.truncate(MAX_GROUPS);
        Some(User { uid, gid, groups })
    }
}

/// Starts a program as `process::spawn` does, but as another user, which posix_spawn cannot. What fails in the
/// child is told on `output`, and its exit status is 126.
pub fn spawn_as(argv: &[CString], output: BorrowedFd, user: &User) -> nix::Result<Pid> {
    let null = File::open("/dev/null").map_err(|_| Errno::ENODEV)?;
    let env = environment();
    let pointers =
        |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (args, env) = (pointers(argv), pointers(&env));
    let program = *args.first().filter(|p| !p.is_null()).ok_or(Errno::EINVAL)?;
    // SAFETY: the child calls only async-signal-safe functions, allocates nothing, and ends in exec or _exit. All
    // pointers are to null-terminated arrays and strings that live in this frame, which it has a copy of.
    unsafe {
        let pid = Errno::result(libc::fork())?;
        if pid != 0 {
            return Ok(Pid::from_raw(pid));
        }
        libc::setpgid(0, 0);
        libc::dup2(null.as_raw_fd(), 0);
        libc::dup2(output.as_raw_fd(), 1);
        libc::dup2(output.as_raw_fd(), 2);
        // Rust's runtime ignores SIGPIPE, and whoever started us may have ignored others.
        for signal in 1..32 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        let told: &[u8] = if libc::setgroups(user.groups.len() as _, user.groups.as_ptr()) != 0
            || libc::setgid(user.gid) != 0
            || libc::setuid(user.uid) != 0
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
