//! How late this machine ran: what vipd cannot be blamed for. A test's bound is what the protocol or the
//! configuration allows ([`bound`]'s `nominal`), and this on top.
//!
//! From [`measure`] on, for the whole program, these are noted with their times:
//! - how much longer than it asked for a thread slept that does nothing else, at normal priority;
//! - how long each process that the lab started, and each of their children, waited in a run queue;
//! - how long the kernel's lock of all changes of interfaces and addresses (rtnl) was held by others: it is
//!   one for all namespaces, and no priority helps.

use super::lan::Node;
use super::load::Timers;
use super::{Board, Result, ms, secs};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A shorter wait for a CPU is not noted.
const NOTED: Duration = ms(2);
/// A shorter hold of rtnl is not noted.
const HELD: Duration = ms(10);
/// The run queues are looked at so often, and the processes' children every fourth time.
const LOOK: Duration = ms(20);

/// A process waited for a CPU: where, between which moments, and how long of that time.
#[derive(Clone, Copy)]
struct Wait {
    node: u64,
    pid: i32,
    /// Whether the lab itself started it: a daemon, and none of its children.
    daemon: bool,
    from: Instant,
    to: Instant,
    waited: Duration,
}

struct Machine {
    /// One on each CPU: a host may keep one of them for itself.
    sleepers: Vec<Jitter>,
    rtnl: Timers,
    waits: Arc<Mutex<Vec<Wait>>>,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

/// Processes to look at: the node's number, and the process's.
static WATCHED: Mutex<Vec<(u64, i32)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to measure, if it has not begun. Until then nothing was ever late.
pub fn measure() -> Result<()> {
    if MACHINE.get().is_none() {
        let rtnl = Timers::start_rtnl(1, HELD)?;
        // Another thread may be first: then this one's measurements end here.
        let _ = MACHINE.set(Machine { sleepers: Jitter::on_each(), rtnl, waits: Arc::default() });
    }
    static LOOKS: AtomicBool = AtomicBool::new(false);
    if let Some(machine) = MACHINE.get()
        && !LOOKS.swap(true, Ordering::Relaxed)
    {
        let waits = machine.waits.clone();
        std::thread::spawn(move || look(&waits));
    }
    Ok(())
}

/// `nominal`, and how late the machine made anything on these nodes between `from` and `to` ([`late`]).
pub fn bound(nominal: Duration, nodes: &[Node], from: Instant, to: Instant) -> Duration {
    nominal + late(nodes, from, to)
}

/// By how much anything on any of these nodes may have been late between two moments: the sleeper, or all
/// processes of one node one after the other, and the kernel's lock.
pub fn late(nodes: &[Node], from: Instant, to: Instant) -> Duration {
    late_by(nodes, from, to, |_| true)
}

/// The same for the daemons alone, whatever becomes of HAProxy and of other children.
pub fn daemons_late(nodes: &[Node], from: Instant, to: Instant) -> Duration {
    late_by(nodes, from, to, |wait| wait.daemon)
}

fn late_by(nodes: &[Node], from: Instant, to: Instant, whose: fn(&Wait) -> bool) -> Duration {
    let Some(machine) = MACHINE.get() else { return Duration::ZERO };
    let waits = lock(&machine.waits);
    let waited = nodes.iter().map(|node| -> Duration {
        let hit = |w: &&Wait| w.node == node.id() && w.from <= to && w.to >= from && whose(w);
        waits.iter().filter(hit).map(|w| w.waited).sum()
    });
    let waited = waited.max().unwrap_or_default();
    drop(waits);
    machine.slept(from, to, Jitter::worst).max(waited) + machine.held(from, to)
}

/// The longest time for which a daemon of these nodes could not do a thing between two moments: the sleeper's
/// worst, the longest hold of rtnl, and the most that a daemon waited for a CPU within a second.
pub fn standstill(nodes: &[Node], from: Instant, to: Instant) -> Duration {
    let Some(machine) = MACHINE.get() else { return Duration::ZERO };
    let waits = lock(&machine.waits);
    let hit = |w: &&Wait| w.daemon && w.from <= to && w.to >= from && nodes.iter().any(|n| n.id() == w.node);
    let hits: Vec<Wait> = waits.iter().filter(hit).copied().collect();
    drop(waits);
    let within = |first: &Wait| -> Duration {
        let near = |w: &&Wait| w.pid == first.pid && w.from >= first.from && w.from < first.from + secs(1);
        hits.iter().filter(near).map(|w| w.waited).sum()
    };
    let waited = hits.iter().map(within).max().unwrap_or_default();
    machine.slept(from, to, Jitter::worst).max(waited).max(machine.longest_hold(from, to))
}

/// The longest time for which others held the kernel's lock of interfaces and addresses between two moments.
pub fn rtnl_held(from: Instant, to: Instant) -> Duration {
    MACHINE.get().map_or(Duration::ZERO, |machine| machine.longest_hold(from, to))
}

/// How long a wait for an event that began then may go on longer than it says: all that any sleeper was late
/// by, and all holds of rtnl.
pub(super) fn patience(from: Instant, to: Instant) -> Duration {
    MACHINE
        .get()
        .map_or(Duration::ZERO, |machine| machine.slept(from, to, Jitter::total) + machine.held(from, to))
}

/// The worst of each, in words.
pub fn words(nodes: &[Node], from: Instant, to: Instant) -> String {
    let Some(machine) = MACHINE.get() else { return "nothing was measured".to_owned() };
    let hit = |w: &&Wait| w.from <= to && w.to >= from && nodes.iter().any(|n| n.id() == w.node);
    let waited = lock(&machine.waits).iter().filter(hit).map(|w| w.waited).max();
    let millis = |d: Duration| d.as_secs_f64() * 1e3;
    format!(
        "at the most: a sleeping thread was late by {:.1} ms, a process waited for a CPU for {:.1} ms, rtnl was held \
         for {:.1} ms",
        millis(machine.slept(from, to, Jitter::worst)),
        millis(waited.unwrap_or_default()),
        millis(machine.longest_hold(from, to))
    )
}

/// A process of that node is looked at from now on.
pub(super) fn watch(node: u64, pid: i32) {
    lock(&WATCHED).push((node, pid));
}

/// It is gone.
pub(super) fn forget(pid: i32) {
    lock(&WATCHED).retain(|(_, p)| *p != pid);
}

impl Machine {
    /// The most that a sleeper was late by, on any CPU.
    fn slept(&self, from: Instant, to: Instant, f: fn(&Jitter, Instant, Instant) -> Duration) -> Duration {
        self.sleepers.iter().map(|sleeper| f(sleeper, from, to)).max().unwrap_or_default()
    }

    fn holds(&self, from: Instant, to: Instant) -> impl Iterator<Item = Duration> {
        let all = self.rtnl.late().into_iter();
        all.filter(move |(a, b)| *a <= to && *b >= from).map(|(a, b)| b - a)
    }

    fn held(&self, from: Instant, to: Instant) -> Duration {
        self.holds(from, to).sum()
    }

    fn longest_hold(&self, from: Instant, to: Instant) -> Duration {
        self.holds(from, to).max().unwrap_or_default()
    }
}

/// A process's time in a run queue so far.
fn waited(pid: i32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The watched processes, and after them their descendants: node, process, and whether it is a watched one.
fn family() -> Vec<(u64, i32, bool)> {
    let mut all: Vec<(u64, i32, bool)> =
        lock(&WATCHED).iter().map(|(node, pid)| (*node, *pid, true)).collect();
    let mut next = 0;
    while let Some(&(node, pid, _)) = all.get(next) {
        all.extend(children(pid).into_iter().map(|child| (node, child, false)));
        next += 1;
    }
    all
}

fn look(waits: &Mutex<Vec<Wait>>) {
    let (mut before, mut all) = (HashMap::new(), Vec::new());
    for round in 0_u64.. {
        if round % 4 == 0 {
            all = family();
            before.retain(|pid, _| all.iter().any(|(_, p, _)| p == pid));
        }
        for &(node, pid, daemon) in &all {
            let now = Instant::now();
            let Some(total) = waited(pid) else { continue };
            // One that is new has waited since somewhen after the last look at the children.
            let (then, known) = before.insert(pid, (now, total)).unwrap_or((now - 4 * LOOK, Duration::ZERO));
            let more = total.saturating_sub(known);
            if more > NOTED {
                lock(waits).push(Wait { node, pid, daemon, from: then, to: now, waited: more });
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// How long the machine itself kept an idle program waiting: what no daemon can be blamed for.
pub struct Jitter {
    late: Arc<Board<(Instant, Duration)>>,
    stop: Arc<AtomicBool>,
}

impl Jitter {
    /// Starts to sleep for 2 ms at a time, at normal priority, and to note how much longer it took.
    pub fn start() -> Jitter {
        Jitter::start_on(None)
    }

    /// One on each CPU.
    fn on_each() -> Vec<Jitter> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cpus).map(|cpu| Jitter::start_on(Some(cpu))).collect()
    }

    fn start_on(cpu: Option<usize>) -> Jitter {
        let (late, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        std::thread::spawn({
            let (late, stop) = (late.clone(), stop.clone());
            move || {
                let mut set = CpuSet::new();
                // Where that CPU cannot be had, it runs where it may.
                let _ = cpu.map(|cpu| set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)));
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    std::thread::sleep(ms(2));
                    let over = start.elapsed().saturating_sub(ms(2));
                    if over > ms(1) {
                        late.push((start, over));
                    }
                }
            }
        });
        Jitter { late, stop }
    }

    /// The longest of these waits between two moments.
    pub fn worst(&self, from: Instant, to: Instant) -> Duration {
        self.between(from, to, |all| all.max().unwrap_or_default())
    }

    /// All of these waits between two moments.
    fn total(&self, from: Instant, to: Instant) -> Duration {
        self.between(from, to, |all| all.sum())
    }

    fn between(
        &self,
        from: Instant,
        to: Instant,
        f: impl FnOnce(&mut dyn Iterator<Item = Duration>) -> Duration,
    ) -> Duration {
        self.late.read(|late| {
            // In ascending order of their beginnings.
            let late = &late[..late.partition_point(|(at, _)| *at <= to)];
            let mut hits = late
                .iter()
                .rev()
                .take_while(|(at, _)| *at + ms(5000) >= from)
                .filter(|(at, over)| *at + *over >= from);
            f(&mut hits.by_ref().map(|(_, over)| *over))
        })
    }
}

impl Drop for Jitter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
