//! Processes that get no CPU: frozen by their control group, or starved. Neither harms anything else on the
//! machine.

use super::{Error, Result, sys};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A control group (version 2), and processes in it.
pub struct Group {
    path: PathBuf,
    /// The group that they come from, as this program does.
    home: PathBuf,
    pids: Vec<i32>,
}

impl Group {
    /// Makes it and moves the processes there; what they start from now on is in it as well. `Err` if this
    /// machine has no such groups.
    pub fn start(pids: &[i32]) -> Result<Group> {
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
        let group = Group { path: root.join(name), home: root.join(home), pids };
        std::fs::create_dir(&group.path).map_err(|e| Error(format!("{}: {e}", group.path.display())))?;
        put(&group.path, &group.pids)?;
        Ok(group)
    }

    /// The time on a CPU of all that is or was in it.
    pub fn cpu(&self) -> Result<Duration> {
        let text = std::fs::read_to_string(self.path.join("cpu.stat"))?;
        let micros = text.lines().find_map(|l| l.strip_prefix("usage_usec ")?.parse().ok());
        micros.map(Duration::from_micros).ok_or_else(|| Error(format!("cpu.stat: {text}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever is in it now, those that have ended apart.
        let now = std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = now.lines().filter_map(|l| l.parse().ok()).collect();
        let done = put(&self.home, &pids).and_then(|()| Ok(std::fs::remove_dir(&self.path)?));
        // What somebody is still in, or a run that was killed, the next run sweeps away.
        if done.is_err() {
            eprintln!("lab: {} stays for now", self.path.display());
        }
    }
}

fn put(group: &Path, pids: &[i32]) -> Result<()> {
    for pid in pids {
        std::fs::write(group.join("cgroup.procs"), pid.to_string())?;
    }
    Ok(())
}

/// A [`Group`] that stands still.
pub struct Freezer(Group);

impl Freezer {
    /// Freezes these processes.
    pub fn start(pids: &[i32]) -> Result<Freezer> {
        let freezer = Freezer(Group::start(pids)?);
        std::fs::write(freezer.0.path.join("cgroup.freeze"), "1")?;
        Ok(freezer)
    }

    /// They run again.
    pub fn thaw(&self) -> Result<()> {
        Ok(std::fs::write(self.0.path.join("cgroup.freeze"), "0")?)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if let Err(e) = self.thaw() {
            eprintln!("lab: a group stays frozen: {e}");
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
