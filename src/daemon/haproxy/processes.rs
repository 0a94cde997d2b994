//! All HAProxys that are ours: the one that serves, one that starts, those that finish. A file names them for
//! the next vipd, and is written before each start.
//!
//! A line for each: pid, start time, fingerprint of the command line, mark of the files that it has read; the
//! last one is the newest. A start whose process has yet to be named is a line with pid 0: who reads that
//! looks for it among all processes.

use crate::base::exit::Exit;
use crate::base::log;
use crate::base::text;
use crate::daemon::state_files;
use crate::report::words;
use crate::sys::process::{self, Process};
use crate::sys::{dir, runtime};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// How much is read of a command line, in octets.
const MAX_COMMAND: u64 = 1 << 20;

/// The table.
#[derive(Debug)]
pub(super) struct Processes {
    file: PathBuf,
    all: Vec<Ours>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Ours {
    process: Process,
    start_time: u64,
    /// Of the command line.
    pub(super) fingerprint: String,
    /// Of the configuration files that it has read.
    pub(super) mark: u64,
}

impl Ours {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn is_child(&self) -> bool {
        matches!(self.process, Process::Child(_))
    }
}

impl Processes {
    pub(super) fn new(file: PathBuf) -> Self {
        Processes { file, all: Vec::new() }
    }

    /// Those of an earlier vipd that still run, in the order of their starts. `is_ours`: whether a command
    /// line, as /proc has it, is one of a start that was never named.
    pub(super) fn recall(&mut self, is_ours: &dyn Fn(&[u8]) -> bool) -> &[Ours] {
        let text = state_files::remembered(&self.file).unwrap_or_default();
        for line in text.lines() {
            let mut words = text::words(line);
            let mut word = || words.next().unwrap_or_default();
            let (pid, start) = (word().parse().unwrap_or(0), word().parse().unwrap_or(0));
            let (fingerprint, mark) = (word().to_owned(), u64::from_str_radix(word(), 16).unwrap_or(0));
            let pids = if pid == 0 { unnamed(is_ours) } else { vec![(pid, start)] };
            for (pid, start_time) in pids {
                if self.all.iter().all(|o| o.pid() != pid)
                    && let Ok(process) = process::adopt(pid, start_time)
                {
                    self.all.push(Ours { process, start_time, fingerprint: fingerprint.clone(), mark });
                }
            }
        }
        &self.all
    }

    /// Before a start.
    pub(super) fn announce(&self, fingerprint: &str) {
        self.write(&format!("0 0 {fingerprint} {:016x}\n", 0));
    }

    /// It was started; `None`: it was not.
    pub(super) fn started(&mut self, pid: Option<Pid>, fingerprint: String, mark: u64) {
        if let Some(pid) = pid {
            let start_time = process::start_time(process::raw(pid)).unwrap_or(0);
            self.all.push(Ours { process: Process::Child(pid), start_time, fingerprint, mark });
        }
        self.write("");
    }

    /// It has read other files.
    pub(super) fn set_mark(&mut self, pid: u32, mark: u64) {
        if let Some(o) = self.all.iter_mut().find(|o| o.pid() == pid) {
            o.mark = mark;
            self.write("");
        }
    }

    /// Sends a signal; `group`: to its whole process group.
    pub(super) fn signal(&self, pid: u32, signal: Signal, group: bool) {
        if let Some(o) = self.all.iter().find(|o| o.pid() == pid) {
            // It may have exited an instant ago; then its exit is on its way.
            let _ = o.process.signal(signal, group);
        }
    }

    /// A child was reaped. `Some`: it was one of these, whose process group may have more in it.
    pub(super) fn reaped(&mut self, pid: u32) -> Option<Pid> {
        let index =
            self.all.iter().position(|o| matches!(&o.process, Process::Child(_)) && o.pid() == pid)?;
        let gone = self.all.remove(index);
        self.write("");
        match gone.process {
            Process::Child(pid) => Some(pid),
            Process::Orphan { .. } => None,
        }
    }

    /// The descriptors that tell when one exits that is not a child, and its pid.
    pub(super) fn fds(&self) -> impl Iterator<Item = (BorrowedFd<'_>, u32)> {
        self.all.iter().filter_map(|o| match &o.process {
            Process::Orphan { pidfd, .. } => Some((pidfd.as_fd(), o.pid())),
            Process::Child(_) => None,
        })
    }

    /// Whether the one with this pid, which is no child, has exited.
    pub(super) fn exited(&mut self, pid: u32) -> Option<(u32, Exit)> {
        let index = self.all.iter().position(|o| o.pid() == pid && has_exited(&o.process))?;
        self.all.remove(index);
        self.write("");
        Some((pid, Exit::Unknown))
    }

    fn write(&self, more: &str) {
        let mut text = String::new();
        for o in &self.all {
            text += &format!("{} {} {} {:016x}\n", o.pid(), o.start_time, o.fingerprint, o.mark);
        }
        text += more;
        let done = match text.is_empty() {
            true => match std::fs::remove_file(&self.file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
            false => runtime::replace_file(&self.file, &text),
        };
        if let Err(e) = done {
            let (file, why) = (self.file.display(), words::io_error(&e));
            log::warn!("cannot write {file}: {why}: a restarted vipd will not find HAProxy");
        }
    }
}

/// Whether a process that is not a child has exited: its pidfd is readable then.
fn has_exited(p: &Process) -> bool {
    let Process::Orphan { pidfd, .. } = p else { return false };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds.iter().any(|f| f.any() == Some(true))
}

/// Processes with such a command line, each of which leads a process group as vipd's children do, and their
/// start times.
fn unnamed(is_ours: &dyn Fn(&[u8]) -> bool) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    for dir in dir::files(Path::new("/proc"), "", "").unwrap_or_default() {
        let pid = dir.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = pid.filter(|pid: &i32| *pid > 0).map(Pid::from_raw) else { continue };
        let is_one = getpgid(Some(pid)) == Ok(pid)
            && runtime::read(dir.join("cmdline"), MAX_COMMAND).is_ok_and(|line| is_ours(&line));
        if let (true, Some(start_time)) = (is_one, process::start_time(process::raw(pid))) {
            found.push((process::raw(pid), start_time));
        }
    }
    found
}

/// Whether a process is in the network and mount namespaces of this one. If /proc may not be read: yes.
pub(super) fn is_in_our_namespaces(pid: u32) -> bool {
    let link = |pid: &str, name| std::fs::read_link(Path::new("/proc").join(pid).join("ns").join(name));
    ["net", "mnt"].into_iter().all(|name| match (link(&pid.to_string(), name), link("thread-self", name)) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    fn file(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("vipd-processes-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        dir.join("haproxy")
    }

    fn sleeper(arg0: &str) -> Child {
        let mut command = Command::new("/bin/sleep");
        let child = command.arg0(arg0).arg("60").process_group(0).spawn().unwrap_or_else(|e| panic!("{e}"));
        // The parent goes on before the new program has its arguments.
        while std::fs::read(format!("/proc/{}/cmdline", child.id())).is_ok_and(|line| line.is_empty()) {
            std::thread::yield_now();
        }
        child
    }

    /// One that is no child of this process.
    fn orphan() -> u32 {
        let script = "sleep 60 >/dev/null 2>&1 & echo $!";
        let out = Command::new("/bin/sh").args(["-c", script]).output().unwrap_or_else(|e| panic!("{e}"));
        String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or_else(|e| panic!("{e}"))
    }

    fn end(mut child: Child) {
        child.kill().unwrap_or_else(|e| panic!("{e}"));
        child.wait().unwrap_or_else(|e| panic!("{e}"));
    }

    #[test]
    fn the_next_vipd_finds_all_that_run() {
        let file = file("all");
        let mut before = Processes::new(file.clone());
        // The last one is a child still, as after an upgrade.
        let (old, gone, new) = (orphan(), sleeper("gone"), sleeper("new"));
        for (pid, fingerprint) in [(old, "f1"), (gone.id(), "f2"), (new.id(), "f3")] {
            before.announce(fingerprint);
            let pid = Pid::from_raw(pid.cast_signed());
            before.started(Some(pid), fingerprint.to_owned(), 7);
        }
        before.set_mark(new.id(), 9);
        end(gone);
        let mut after = Processes::new(file.clone());
        let all: Vec<_> =
            after.recall(&|_| true).iter().map(|o| (o.pid(), o.fingerprint.clone(), o.mark)).collect();
        assert_eq!(all, [(old, "f1".to_owned(), 7), (new.id(), "f3".to_owned(), 9)]);
        assert_eq!(after.exited(old), None, "it runs");
        assert_eq!(after.fds().count(), 1);
        after.signal(old, Signal::SIGKILL, false);
        while after.exited(old) != Some((old, Exit::Unknown)) {
            std::thread::yield_now();
        }
        assert_eq!(after.exited(old), None, "once");
        let pid = new.id();
        end(new);
        assert_eq!(after.exited(pid), None, "a child is reaped");
        assert_eq!(after.reaped(pid), Some(Pid::from_raw(pid.cast_signed())));
        assert!(!file.exists(), "nothing to remember");
        let _ = std::fs::remove_dir_all(file.parent().unwrap_or(&file));
    }

    #[test]
    fn a_start_that_was_never_named_is_found_by_its_command_line() {
        let file = file("unnamed");
        let name = format!("vipd-unnamed-{}", std::process::id());
        let before = Processes::new(file.clone());
        before.announce("f1");
        let child = sleeper(&name);
        let mut after = Processes::new(file.clone());
        let is_ours = |line: &[u8]| line.starts_with(name.as_bytes());
        let all: Vec<_> = after.recall(&is_ours).iter().map(|o| (o.pid(), o.fingerprint.clone())).collect();
        assert_eq!(all, [(child.id(), "f1".to_owned())]);
        assert!(is_in_our_namespaces(child.id()));
        end(child);
        let _ = std::fs::remove_dir_all(file.parent().unwrap_or(&file));
    }
}
