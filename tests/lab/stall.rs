//! Processes that get no CPU: frozen by their control group, or starved. Neither harms anything else on the
//! machine.

use super::{Error, Result, sys};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A control group (version 2) that freezes what is in it.
pub struct Freezer {
    group: PathBuf,
    /// The group that they come from, as this program does.
    home: PathBuf,
    pids: Vec<i32>,
}

impl Freezer {
    /// Makes it and moves the processes there; `Err` if this machine has none.
    pub fn start(pids: &[i32]) -> Result<Freezer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        let root =
            mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&"cgroup2"));
        let root = root.ok_or_else(|| Error("no cgroup v2 is mounted".to_owned()))?[1].to_owned();
        sweep(Path::new(&root));
        // The namespace's number: two runs have the same process ids.
        let ns = std::fs::read_link("/proc/self/ns/pid")?
            .to_string_lossy()
            .replace(|c: char| !c.is_ascii_digit(), "");
        let name = format!("{PREFIX}{ns}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let home = own.lines().find_map(|l| l.strip_prefix("0::/")).unwrap_or_default();
        let (root, pids) = (Path::new(&root), pids.to_vec());
        let freezer = Freezer { group: root.join(name), home: root.join(home), pids };
        std::fs::create_dir(&freezer.group)
            .map_err(|e| Error(format!("{}: {e}", freezer.group.display())))?;
        freezer.put(&freezer.group)?;
        std::fs::write(freezer.group.join("cgroup.freeze"), "1")?;
        Ok(freezer)
    }

    fn put(&self, group: &Path) -> Result<()> {
        for pid in &self.pids {
            std::fs::write(group.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// They run again.
    pub fn thaw(&self) -> Result<()> {
        Ok(std::fs::write(self.group.join("cgroup.freeze"), "0")?)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let done = self.thaw().and_then(|()| self.put(&self.home));
        // What somebody is still in, or a run that was killed, the next run sweeps away.
        if done.and_then(|()| Ok(std::fs::remove_dir(&self.group)?)).is_err() {
            eprintln!("lab: {} stays for now", self.group.display());
        }
    }
}

const PREFIX: &str = "vipd-lab-";

/// Removes what runs left behind that were killed; a group with somebody in it stays by itself.
fn sweep(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|m| m.modified()).map(|t| SystemTime::now().duration_since(t));
        let old = age.is_ok_and(|age| age.is_ok_and(|age| age > Duration::from_secs(60)));
        if old && entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Busy loops at normal priority on the last CPU, and processes that may run only there, and only when nobody
/// else wants to (SCHED_IDLE). It ends when this is dropped.
pub struct Starvation {
    pids: Vec<i32>,
    all: CpuSet,
    stop: Arc<AtomicBool>,
}

impl Starvation {
    /// Starts it.
    pub fn start(pids: Vec<i32>) -> Result<Starvation> {
        let all = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
        let last = (0..CpuSet::count()).rev().find(|cpu| all.is_set(*cpu) == Ok(true)).unwrap_or(0);
        let mut one = CpuSet::new();
        one.set(last)?;
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..8 {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let _ = sched_setaffinity(Pid::from_raw(0), &one);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for pid in &pids {
            sched_setaffinity(Pid::from_raw(*pid), &one)?;
            sys::set_policy(*pid, libc::SCHED_IDLE)?;
        }
        Ok(Starvation { pids, all, stop })
    }
}

impl Drop for Starvation {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for pid in &self.pids {
            let _ = sys::set_policy(*pid, libc::SCHED_OTHER);
            let _ = sched_setaffinity(Pid::from_raw(*pid), &self.all);
        }
    }
}
