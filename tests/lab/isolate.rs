//! The world of its own that a test program runs in.
//!
//! Three stages of the same executable, told apart by an environment variable:
//!
//! ```text
//! outside ── waits ──> unshare ──> init (PID 1: mounts, then reaps orphans) ──> inside (the tests)
//!        PDEATHSIG=KILL      PDEATHSIG=KILL                 end of PID 1 = end of the namespace
//! ```
//!
//! Whoever dies, and however, takes all that is to its right along; no signal handler is needed.

use super::{Result, sys};
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use std::process::{Command, Stdio, exit};

const STAGE: &str = "VIPD_LAB_STAGE";

/// Whether there is a world to test in.
pub enum Isolation {
    /// This process is inside.
    Inside,
    /// Namespaces cannot be had, and why.
    Impossible(String),
}

/// To be called first in `main`, while there is one thread. Returns inside the new namespaces, or
/// outside if they cannot be had; otherwise does not return.
pub fn isolate() -> Isolation {
    match std::env::var(STAGE).as_deref() {
        Ok("inside") => {
            super::since_start(std::time::Instant::now());
            Isolation::Inside
        }
        Ok("init") => match init() {
            Ok(code) => exit(code),
            Err(e) => {
                eprintln!("lab: cannot set the isolated world up: {e}");
                exit(1)
            }
        },
        _ => outside(),
    }
}

fn unshare(as_user: bool) -> Command {
    let mut cmd = Command::new("unshare");
    cmd.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if as_user {
        cmd.args(["--user", "--map-root-user"]);
    }
    cmd.arg("--");
    cmd
}

fn outside() -> Isolation {
    let mut reasons = Vec::new();
    for as_user in [false, true] {
        if !as_user && !nix::unistd::geteuid().is_root() {
            continue;
        }
        let probe = "mount -t tmpfs tmpfs /run && ip netns add probe && ip netns del probe";
        match unshare(as_user).args(["sh", "-c", probe]).stdin(Stdio::null()).output() {
            Ok(out) if out.status.success() => return enter(unshare(as_user)),
            Ok(out) => reasons.push(String::from_utf8_lossy(&out.stderr).trim().replace('\n', "; ")),
            Err(e) => reasons.push(format!("unshare: {e}")),
        }
    }
    Isolation::Impossible(reasons.join("; "))
}

fn enter(mut cmd: Command) -> Isolation {
    let run = std::env::current_exe().and_then(|exe| {
        cmd.arg(exe).args(std::env::args_os().skip(1)).env(STAGE, "init");
        sys::die_with_parent(&mut cmd);
        cmd.status()
    });
    match run {
        Ok(status) => exit(status.code().unwrap_or(1)),
        Err(e) => Isolation::Impossible(e.to_string()),
    }
}

/// PID 1 of the new namespace: private mounts, then the real program; reaps until that ends.
fn init() -> Result<i32> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // /run/netns, /run/vipd, /run/keepalived and the nodes' files: all of it lives and dies here.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    // A client may have a thousand connections in flight when an address is gone.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16384), hard)?;
    let child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "inside")
        .spawn()?;
    let child = i32::try_from(child.id()).unwrap_or(-1);
    loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, code) if pid.as_raw() == child => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == child => return Ok(128 + signal as i32),
            _ => {}
        }
    }
}
