//! HAProxy and vipd are killed under load, many times, and beside them keepalived with a check script;
//! HAProxy is restarted and reloaded a thousand times. Figures, and an error where one is not as it should
//! be.

use super::lab::*;
use super::{phase, secs};
use crate::{ensure, fail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const VIP: &str = "192.168.30.230";
const SERVICE: &str = "192.168.30.230:5000";
const HELD: &str = "held over a crash";
/// Between two kills: more than the 10 s after which HAProxy's earlier failures are forgotten.
const APART: Duration = secs(11);
/// What vipd may add to the time that HAProxy itself needs for a start.
const OVERHEAD: Duration = ms(20);

/// Two nodes and two clients that ask every 4 ms.
struct Pair {
    lan: Lan,
    watcher: Watcher,
    one: Node,
    two: Node,
    clients: Vec<Client>,
}

impl Pair {
    /// Runs an experiment; a failure comes with the last words of all.
    fn with(f: impl FnOnce(&mut Pair) -> Result<()>) -> Result<()> {
        let (mut p, born) = (Pair::new()?, Instant::now());
        f(&mut p).map_err(|e| Error(format!("{e}\n{}", p.lan.tails(20, born.max(Instant::now() - secs(20))))))
    }

    fn new() -> Result<Pair> {
        let lan = Lan::pair()?;
        let watcher = Watcher::start(&lan)?;
        let (one, two) = (lan.node("node1"), lan.node("node2"));
        Ok(Pair { lan, watcher, one, two, clients: Vec::new() })
    }

    /// node1 is master and answers: the clients begin.
    fn begin(&mut self) -> Result<()> {
        self.watcher.wait_holder(VIP, "node1", secs(8))?;
        let client = self.lan.node("client");
        for _ in 0..2 {
            self.clients.push(Client::start_with(&client, SERVICE, ms(4), secs(2))?);
        }
        for c in &self.clients {
            c.wait_answer_by("node1", secs(5))?;
        }
        Ok(())
    }

    /// What all clients saw.
    fn seen(&self, from: Instant, to: Instant) -> Result<Report> {
        let mut all = Report::default();
        for c in &self.clients {
            let r = c.report(from, to)?;
            all.requests += r.requests;
            all.silence = all.silence.max(r.silence);
            all.slowest = all.slowest.max(r.slowest);
            all.syn_retransmits += r.syn_retransmits;
            for (k, n) in r.failed {
                *all.failed.entry(k).or_default() += n;
            }
            for (k, n) in r.by {
                *all.by.entry(k).or_default() += n;
            }
        }
        Ok(all)
    }

    /// How often the address came to a node.
    fn moves(&self) -> usize {
        self.watcher.timeline(VIP).iter().filter(|c| c.held).count()
    }
}

fn router(priority: u8) -> Router {
    Router::new(51, priority, "192.168.30.230/24")
}

fn ini(node: &Node, router: Router) -> Result<String> {
    let ini = Vipd::ini(node, Some(&haproxy_cfg(node, SERVICE)?), &[router]);
    Ok(ini.replace("[haproxy]\n", "[haproxy]\ncrash_limit = 1000\n"))
}

fn kill_9(node: &Node, victim: &str) -> Result<()> {
    let master = node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
    match victim {
        "master" => kill(Pid::from_raw(master), Signal::SIGKILL)?,
        "worker" => {
            let all = node.haproxy_workers();
            let worker = all.last().ok_or_else(|| Error("no HAProxy worker".to_owned()))?;
            kill(Pid::from_raw(*worker), Signal::SIGKILL)?;
        }
        _ if nix::unistd::getpgid(Some(Pid::from_raw(master)))?.as_raw() == master => {
            killpg(Pid::from_raw(master), Signal::SIGKILL)?;
        }
        _ => {
            let workers = node.haproxy_workers();
            for pid in std::iter::once(master).chain(workers) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    Ok(())
}

fn sleep_until(t: Instant) {
    std::thread::sleep(t.saturating_duration_since(Instant::now()));
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// The figures of one kind of kill.
#[derive(Default)]
struct Series {
    silences: Vec<Duration>,
    /// The silence beyond what that very start took.
    beyond: Vec<Duration>,
    failed: BTreeMap<&'static str, usize>,
}

impl Series {
    fn print(&mut self, who: &str, victim: &str) {
        self.silences.sort_unstable();
        self.beyond.sort_unstable();
        let at = |v: &[Duration], i: usize| v.get(i).copied().map_or(f64::NAN, millis);
        let n = self.silences.len();
        print!(
            "{who}, kill -9 of {victim}, {n} times: silence median {:.1}, longest {:.1} ms; failed requests {:?}",
            at(&self.silences, n / 2),
            at(&self.silences, n.wrapping_sub(1)),
            self.failed
        );
        match self.beyond.last() {
            Some(worst) => println!("; beyond that start's own time at most {:.1} ms", millis(*worst)),
            None => println!(),
        }
    }
}

const VICTIMS: [&str; 3] = ["worker", "master", "master and worker"];

/// kill -9 of HAProxy's worker, master, and both: nobody is refused, and the address stays.
pub(super) fn kills(count: usize) -> Result<()> {
    Pair::with(|p| kills_of(p, count))
}

fn kills_of(p: &mut Pair, count: usize) -> Result<()> {
    let one = Vipd::start(&p.one, &ini(&p.one, router(100))?)?;
    p.watcher.wait_holder(VIP, "node1", secs(8))?;
    let _two = Vipd::start(&p.two, &ini(&p.two, router(99))?)?;
    one.wait_log(HELD, secs(5))?;
    p.begin()?;
    let jitter = Jitter::start();
    let mut all: [Series; 3] = Default::default();
    let mut wrong = Vec::new();
    for i in 0..count * 3 {
        let (victim, series) = (VICTIMS[i % 3], &mut all[i % 3]);
        let (mark, start) = (one.log().mark(), Instant::now());
        kill_9(&p.one, victim)?;
        let ready = one.log().wait_from(mark, " ready after ", secs(8))?.text;
        one.log().wait_from(mark, HELD, secs(8))?;
        sleep_until(start + secs(3));
        let r = p.seen(start, Instant::now())?;
        let own = ready.split(" ready after ").nth(1).and_then(|t| t.split(' ').next()?.parse().ok());
        let own = ms(own.ok_or_else(|| Error(format!("no time in {ready}")))?);
        series.beyond.push(r.silence.saturating_sub(own));
        let kinds: Vec<_> = r.failed.keys().filter(|k| !["reset", "closed"].contains(k)).collect();
        if !kinds.is_empty() || r.syn_retransmits > 0 || r.by.contains_key("node2") {
            wrong.push(format!("{victim}: {r}"));
        }
        if r.silence > own + OVERHEAD {
            println!(
                "{i}, {:.3}: kill -9 of {victim}: HAProxy's start took {own:?}, an idle program waited {:?}, {r}",
                since_start(start),
                jitter.worst(start, start + secs(1))
            );
        }
        series.silences.push(r.silence);
        r.failed.into_iter().for_each(|(k, n)| *series.failed.entry(k).or_default() += n);
        sleep_until(start + APART);
    }
    for (series, victim) in all.iter_mut().zip(VICTIMS) {
        series.print("vipd", victim);
    }
    own_start_time(p)?;
    let said: Vec<String> = ["expired", "late", "Stalled", "seconds", "STATE"]
        .iter()
        .flat_map(|word| one.log().grep(word))
        .map(|l| format!("{:9.3}  {}", since_start(l.at), l.text))
        .collect();
    ensure!(p.moves() == 1, "the address moved: {:?}\n{}", p.watcher.timeline(VIP), said.join("\n"));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let late = all.iter().flat_map(|s| &s.beyond).filter(|t| **t > OVERHEAD).count();
    ensure!(late == 0, "{late} silences were longer than HAProxy's start and {} ms", OVERHEAD.as_millis());
    Ok(())
}

fn own_start_time(p: &Pair) -> Result<()> {
    let addr: SocketAddr = "10.255.255.2:5000".parse().map_err(|_| Error("address".to_owned()))?;
    let times = haproxy_start_time(&p.lan, addr, 20)?;
    let at = |i: usize| times.get(i).copied().map_or(f64::NAN, millis);
    println!("HAProxy's own start under the same load: median {:.1}, longest {:.1} ms", at(10), at(19));
    Ok(())
}

/// The same with keepalived, a check script and a supervisor that starts HAProxy again after 0.1 s, as
/// systemd does (`Restart=always`).
pub(super) fn script(count: usize) -> Result<()> {
    Pair::with(|p| script_of(p, count))
}

fn script_of(p: &mut Pair, count: usize) -> Result<()> {
    let mut running = Vec::new();
    for (node, priority) in [(&p.one, 100), (&p.two, 99)] {
        running.push(Haproxy::supervised(node, &haproxy_cfg(node, SERVICE)?)?);
        let daemon = Keepalived::tracking(node, vec![router(priority)])?;
        if priority == 100 {
            p.watcher.wait_holder(VIP, "node1", secs(8))?;
        }
        running.push(daemon.into_proc());
    }
    p.begin()?;
    let mut all: [Series; 3] = Default::default();
    for i in 0..count * 3 {
        let start = Instant::now();
        // The master, not the shell that is its parent.
        kill_9(&p.one, VICTIMS[i % 3])?;
        sleep_until(start + secs(4));
        let r = p.seen(start, Instant::now())?;
        let series = &mut all[i % 3];
        series.silences.push(r.silence);
        r.failed.into_iter().for_each(|(k, n)| *series.failed.entry(k).or_default() += n);
        sleep_until(start + APART);
    }
    for (series, victim) in all.iter_mut().zip(VICTIMS) {
        series.print("keepalived with a check script", victim);
    }
    println!("the address came to a node {} times", p.moves());
    Ok(())
}

/// kill -9 of vipd. With a new one after 200 ms nobody notices; without one the peer takes over, and never
/// both.
pub(super) fn vipd(seed: u64, count: usize) -> Result<()> {
    let mut failed = Vec::new();
    for interval in ["1", "2"] {
        Pair::with(|p| vipd_of(p, seed, count, interval, &mut failed))?;
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn vipd_of(p: &mut Pair, seed: u64, count: usize, interval: &str, failed: &mut Vec<String>) -> Result<()> {
    let text = ini(&p.one, router(100).advert_int(interval))?;
    let mut one = Vipd::start(&p.one, &text)?;
    p.watcher.wait_holder(VIP, "node1", secs(10))?;
    let two = Vipd::start(&p.two, &ini(&p.two, router(99).advert_int(interval))?)?;
    two.wait_log("Entering BACKUP STATE", secs(5))?;
    one.wait_log(HELD, secs(5))?;
    p.begin()?;
    let (mut silences, mut bad) = (Vec::new(), 0);
    for i in 0..count {
        std::thread::sleep(secs(2) + phase(seed, i));
        let start = Instant::now();
        one.kill();
        one.wait_exit(secs(2))?;
        sleep_until(start + ms(200));
        one = Vipd::start(&p.one, &text)?;
        one.wait_log("taking it over", secs(2))?;
        // A takeover would have come by then; if one came, the address is to come back first.
        std::thread::sleep(secs(5));
        let moved = p.watcher.holder(VIP).as_deref() != Some("node1");
        p.watcher.wait_holder(VIP, "node1", secs(20))?;
        let r = p.seen(start, Instant::now())?;
        silences.push(r.silence);
        if r.failures() > 0 || r.syn_retransmits > 0 || r.by.contains_key("node2") || moved {
            bad += 1;
            println!("advert_int {interval}, {i}: {r}");
        }
    }
    silences.sort_unstable();
    println!(
        "kill -9 of vipd, respawn after 200 ms, advert_int {interval}: {} of {count} unnoticed, longest silence {:.1} ms",
        count - bad,
        silences.last().copied().map_or(f64::NAN, millis)
    );
    if bad > 0 || !two.log().grep("Entering MASTER STATE").is_empty() {
        failed.push(format!("advert_int {interval}: {bad} of {count} kills of vipd were noticed"));
    }
    // And without: by the peer's timer, and never both.
    let start = Instant::now();
    one.kill();
    let came = p.watcher.wait_change(VIP, "node2", true, start, secs(10))?;
    println!("without respawn node2 has the address after {:.0} ms", millis(came - start));
    std::thread::sleep(secs(3));
    // Where a takeover came before, the way back is a planned one, which overlaps on purpose.
    if p.watcher.overlaps(VIP).iter().any(|(_, to, _)| *to > start) {
        failed.push(format!("advert_int {interval}: two holders after a kill of vipd"));
    }
    Ok(())
}

/// Descriptors, and memory of its own in KiB, of a process.
fn size(pid: i32) -> Result<(usize, u64)> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok((fds, field("Anonymous:")))
}

/// A thousand restarts and a thousand reloads: neither descriptors nor memory are more than after ten.
pub(super) fn leaks(cycles: usize) -> Result<()> {
    Pair::with(|p| leaks_of(p, cycles))
}

fn leaks_of(p: &Pair, cycles: usize) -> Result<()> {
    // The moments of `crash_limit` deaths are remembered: of 1000 only as many as fit in a second.
    let ini = ini(&p.one, router(100))?.replace("[haproxy]\n", "[haproxy]\ncrash_window = 1\n");
    let one = Vipd::start(&p.one, &ini)?;
    p.watcher.wait_holder(VIP, "node1", secs(8))?;
    one.wait_log(HELD, secs(5))?;
    let mut grown = Vec::new();
    for what in ["restarts", "reloads"] {
        let (mut early, mut begin) = ((0, 0), Instant::now());
        for i in 1..=cycles {
            let mark = one.log().mark();
            if what == "reloads" {
                one.signal(Signal::SIGUSR2);
                one.log().wait_from(mark, "haproxy reloaded", secs(15))?;
            } else {
                kill_9(&p.one, if i % 2 == 0 { "worker" } else { "both" })?;
            }
            one.log().wait_from(mark, HELD, secs(15))?;
            if [10, 100, 300, cycles].contains(&i) {
                std::thread::sleep(secs(3)); // the output of the one before, and the stats socket's last word
                let now = size(one.pid())?;
                println!(
                    "after {i} {what}: {} descriptors, {} KiB of its own; {:.0} s",
                    now.0,
                    now.1,
                    begin.elapsed().as_secs_f64()
                );
                if i == 10 {
                    (early, begin) = (now, Instant::now());
                } else if i == cycles && (now.0 > early.0 || now.1 > early.1) {
                    grown.push(format!("{what}: {early:?} after 10, {now:?} after {i}"));
                }
            }
        }
    }
    if !grown.is_empty() {
        fail!("it grows: {}", grown.join("; "));
    }
    Ok(())
}
