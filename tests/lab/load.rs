//! A machine with no time to spare, and what it does to a program that needs nothing but to be woken on time.

use super::{Board, Result, ms, sys};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What `std` knows of the CPUs that this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads that do nothing but use all CPUs, at normal priority. They end when this is dropped.
pub struct Burn(Arc<AtomicBool>);

impl Burn {
    /// Two for each CPU.
    pub fn start() -> Burn {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..2 * cpus() {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut x = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    x = std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
                }
            });
        }
        Burn(stop)
    }
}

impl Drop for Burn {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bare timers with the priority of the daemon under test, one on each CPU: when one of them is late, the
/// machine itself stood still, and no daemon can be blamed for being late as well.
pub struct Timers {
    late: Arc<Board<(Instant, Instant)>>,
    stop: Arc<AtomicBool>,
}

impl Timers {
    /// Starts them; `bound`: what counts as late.
    pub fn start(priority: i32, bound: Duration) -> Result<Timers> {
        let (late, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        for cpu in 0..cpus() {
            let (late, stop) = (late.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut set = CpuSet::new();
                let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
                if pinned.is_err() || !sys::fifo(priority) {
                    late.broken("a bare timer with realtime priority cannot be had".to_owned());
                }
                while !stop.load(Ordering::Relaxed) {
                    let due = Instant::now() + ms(2);
                    std::thread::sleep(ms(2));
                    let woken = Instant::now();
                    if woken > due + bound {
                        late.push((due, woken));
                    }
                }
            });
        }
        Ok(Timers { late, stop })
    }

    /// As well, on a thread of its own: how long the kernel's lock of all changes of interfaces and addresses
    /// (rtnl) is held by others, of whatever namespace. Who renews an address waits for it, and no priority
    /// helps.
    pub fn start_rtnl(priority: i32, bound: Duration) -> Result<Timers> {
        let fd = UdpSocket::bind("0.0.0.0:0")?;
        let (late, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        std::thread::spawn({
            let (late, stop) = (late.clone(), stop.clone());
            move || {
                sys::fifo(priority);
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    sys::take_rtnl(fd.as_fd());
                    if start.elapsed() > bound {
                        late.push((start, Instant::now()));
                    }
                    std::thread::sleep(ms(5));
                }
            }
        });
        Ok(Timers { late, stop })
    }

    /// When a timer was late, from when it was due until it ran, in ascending order and without overlaps.
    pub fn late(&self) -> Vec<(Instant, Instant)> {
        let mut all = self.late.read(<[_]>::to_vec);
        all.sort_unstable();
        let mut out: Vec<(Instant, Instant)> = Vec::new();
        for (from, to) in all {
            match out.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => out.push((from, to)),
            }
        }
        out
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How a process is scheduled: the fields of /proc/PID/stat and /proc/PID/limits that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// 0: ordinary, 1: SCHED_FIFO.
    pub policy: u32,
    /// Of the realtime policies.
    pub priority: u32,
    /// Of the ordinary one.
    pub nice: i32,
    /// RLIMIT_RTTIME, soft.
    pub rttime: String,
    /// Locked memory, KiB.
    pub locked: u64,
}

impl Scheduling {
    /// Of a process that is alive.
    pub fn of(pid: i32) -> Option<Scheduling> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let (stat, limits, status) = (read("stat")?, read("limits")?, read("status")?);
        // Counted from behind the name, which may hold anything: field 3 is the first.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
        let rttime = limits.lines().find_map(|l| l.strip_prefix("Max realtime timeout"))?;
        let locked = status.lines().find_map(|l| l.strip_prefix("VmLck:"))?;
        Some(Scheduling {
            policy: fields.get(41 - 3)?.parse().ok()?,
            priority: fields.get(40 - 3)?.parse().ok()?,
            nice: fields.get(19 - 3)?.parse().ok()?,
            rttime: rttime.split_whitespace().next()?.to_owned(),
            locked: locked.split_whitespace().next()?.parse().ok()?,
        })
    }
}
