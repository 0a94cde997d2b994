//! Users of the system, and programs that run as one of them.

use super::process::{arguments, environment, pointers};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

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
    name: String,
    home: String,
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl User {
    /// Looks a name up.
    pub fn find(name: &str) -> Option<Self> {
        let read = |file: &str| super::runtime::read_text(file).unwrap_or_default();
        User::parse(name, &read("/etc/passwd"), &read("/etc/group"))
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// passwd(5) `name:password:uid:gid:…`, group(5) `name:password:gid:member,member`
    fn parse(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let line = passwd.lines().find(|l| fields(l).is_some_and(|f| f[0] == name))?;
        let [_, _, uid, gid] = fields(line)?;
        let home = line.split(':').nth(5).filter(|h| h.starts_with('/')).unwrap_or("/").to_owned();
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let mut groups = vec![gid];
        for [_, _, other, members] in group.lines().filter_map(fields) {
            let other = other.parse::<u32>().ok().filter(|other| *other != gid);
            groups.extend(other.filter(|_| members.split(',').any(|m| m == name)));
        }
        groups.truncate(MAX_GROUPS);
        Some(User { name: name.to_owned(), home, uid, gid, groups })
    }
}

/// The number of a group, from /etc/group.
pub fn group(name: &str) -> Option<u32> {
    let groups = super::runtime::read_text("/etc/group").unwrap_or_default();
    let [.., gid, _] = groups.lines().filter_map(fields).find(|f| f[0] == name)?;
    gid.parse().ok()
}

/// The first four fields of a line.
fn fields(line: &str) -> Option<[&str; 4]> {
    let mut fields = line.split(':');
    Some([fields.next()?, fields.next()?, fields.next()?, fields.next()?])
}

/// The search path of a user's commands if vipd has none.
const PATH: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a program that runs as another user: `more`, the user's own variables, the path, the
/// language and the time zone. The rest of vipd's environment may hold secrets.
fn environment_of(user: &User, more: &[CString]) -> Vec<CString> {
    let kept = |name: &[u8]| matches!(name, b"PATH" | b"TZ" | b"LANG") || name.starts_with(b"LC_");
    let mut all = environment(more, &kept);
    if std::env::var_os("PATH").is_none() {
        all.push(PATH.to_owned());
    }
    for (key, value) in [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)] {
        all.extend(CString::new(format!("{key}={value}")));
    }
    all
}

/// Starts a program as `process::spawn_with` does, but as another user, which posix_spawn cannot. The program
/// leads a session of its own, without vipd's terminal; it has a small environment, and gains no privileges
/// by what it executes (PR_SET_NO_NEW_PRIVS). If that fails in the child, it says so on `output` and exits
/// with status 126.
pub fn spawn_as(argv: &[CString], output: BorrowedFd, user: &User, env: &[CString]) -> nix::Result<Pid> {
    let null = File::open("/dev/null").map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
    let args = pointers(argv);
    let program = *args.first().filter(|p| !p.is_null()).ok_or(Errno::EINVAL)?;
    let env = environment_of(user, env);
    let env = pointers(&env);
    // SAFETY: the child calls only async-signal-safe functions, allocates nothing, and ends in exec or _exit.
    // All pointers are to null-terminated arrays and strings that live in this frame, which it has a copy of.
    unsafe {
        // Not fork(): musl's takes all locks of the allocator, which costs code and is needless without
        // threads.
        let pid = Errno::result(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0))?;
        if pid != 0 {
            return Ok(Pid::from_raw(pid as libc::pid_t));
        }
        libc::setsid();
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
            || libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
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

/// Starts a command with our standard error, as another user if there is one: for the command line.
pub fn start(argv: &[String], user: Option<&str>) -> nix::Result<Pid> {
    let argv = arguments(argv);
    let stderr = std::io::stderr();
    match user.and_then(User::find) {
        None => super::process::spawn(&argv, stderr.as_fd()),
        Some(user) => spawn_as(&argv, stderr.as_fd(), &user, &[]),
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

    fn nobody(gid: u32) -> User {
        User { name: "nobody".into(), home: "/".into(), uid: NOBODY, gid, groups: vec![gid] }
    }

    /// What a program says that runs as nobody.
    fn run(argv: &[&std::ffi::CStr]) -> String {
        let (reader, writer) = std::io::pipe().unwrap_or_else(|e| panic!("{e}"));
        let argv: Vec<CString> = argv.iter().map(|a| (*a).to_owned()).collect();
        let more = [c"VIPD_REASON=test".to_owned()];
        let pid = spawn_as(&argv, writer.as_fd(), &nobody(NOBODY), &more).unwrap_or_else(|e| panic!("{e}"));
        drop(writer);
        let said = std::io::read_to_string(reader).unwrap_or_default();
        let _ = nix::sys::wait::waitpid(pid, None);
        said
    }

    #[test]
    fn another_user_gets_no_terminal_no_secrets_and_no_privileges() {
        if !nix::unistd::geteuid().is_root() {
            return; // only root can become another user
        }
        // Cargo's variables stand for the secrets that vipd's environment may hold.
        let env = run(&[c"/usr/bin/env"]);
        let names: Vec<&str> = env.lines().filter_map(|l| l.split('=').next()).collect();
        let may = |n: &&str| {
            ["PATH", "TZ", "LANG", "HOME", "USER", "LOGNAME", "VIPD_REASON"].contains(n)
                || n.starts_with("LC_")
        };
        assert!(names.iter().all(may), "{env}");
        for line in ["HOME=/", "USER=nobody", "LOGNAME=nobody", "VIPD_REASON=test"] {
            assert!(env.lines().any(|l| l == line), "{line}: {env}");
        }
        assert!(names.contains(&"PATH"));
        let status = run(&[c"/bin/grep", c"-E", c"NoNewPrivs|CapEff|CapPrm", c"/proc/self/status"]);
        let values: Vec<&str> = status.lines().filter_map(|l| l.split_whitespace().nth(1)).collect();
        assert_eq!(values, ["0000000000000000", "0000000000000000", "1"], "{status}");
        // Process, group and session have one number, and there is no terminal.
        let stat = run(&[c"/bin/cat", c"/proc/self/stat"]);
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let pid = stat.split(' ').next().unwrap_or("");
        assert_eq!((fields[2], fields[3], fields[4]), (pid, pid, "0"), "{stat}");
    }

    #[test]
    fn users_and_their_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nodd:x:a:b\nnobody:x:65534:65533:::\n";
        let group =
            "root:x:0:\nx:x:7:nobodyx,root\naudio:x:29:a,nobody\nnogroup:x:65533:nobody\nbad:x:-:nobody\n";
        let found = User::parse("nobody", passwd, group);
        assert_eq!(found, Some(User { groups: vec![65533, 29], ..nobody(65533) }));
        assert_eq!(User::parse("root", passwd, group).map(|u| u.home), Some("/root".into()));
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
        let pid = spawn_as(&argv, writer.as_fd(), &nobody(NOBODY), &[]).unwrap_or_else(|e| panic!("{e}"));
        drop(writer);
        let said = std::io::read_to_string(reader).unwrap_or_default();
        let _ = nix::sys::wait::waitpid(pid, None);
        set(before);
        assert_eq!(said.matches("unlimited").count(), 2, "{said}");
    }
}
