//! Chaos: three nodes with vipd and HAProxy, four virtual routers (IPv4 and IPv6, advert_int 1 and 2; each
//! node is the right master of one at least, with priority 254), a client of each address, and a stranger. In
//! rounds: up to 18 faults within 20 s ([`plan`]), done in parallel ([`act`]), mended by the 24th second or
//! so; then everything has to be in its place again. The seed and the number of the round determine the
//! faults, their targets and their times; `ROUND=7` in the environment plays that round of the seed alone.
//!
//! **Two that answer.** The theorem (`src/config/lease.rs`): A ceases to answer N × I after the last advert
//! that A sent, and B, who heard it, begins no sooner. Who answers is asked by ARP, neighbor discovery and
//! TCP each 10 ms; with `lease = address`, where the address itself goes with the lease, who has it is judged
//! as well. Where both do nevertheless, one of these must be the reason ([`judge`]), else the run fails. A
//! did, B came at `from`, and it was over at `to`:
//!
//! | excuse | condition | `to` at the latest |
//! |---|---|---|
//! | planned hand-over | B's priority is above A's (it preempts), or A was told to leave: TERM, resign, a reload without the router or the VIP | `from` + 100 ms + J |
//! | the same, and A was killed or stopped before it could let go | A was so between `from` and `to` | N × I after that; 100 ms + J after SIGCONT |
//! | partition | A and B did not hear each other; `from` is after its beginning | its end + I + 100 ms + J |
//! | the same, and one was killed or stopped | between its beginning and its end + I + 100 ms + J | N × I after that; I + 100 ms + J after SIGCONT |
//! | cut, and killed or stopped before it noticed | A's cable or interface went, and it was killed or stopped within 100 ms + J of it | N × I after that |
//!
//! J is how late the machine made A or B around that time (`tests/lab/late.rs`): as much as they waited for a
//! CPU, and as long as others held the kernel's lock of addresses. It makes no difference to the N × I of the
//! theorem, but only to what ends with an answer of A.
//! Two faults excuse together only where the table says so; a flood, a cut cable or a dead HAProxy excuse
//! nothing by themselves: who loses his link or service lets go first.
//!
//! **After the last fault of a round** each router's right master has its address alone within N × I + skew +
//! 3 s + J (for the start of HAProxy, and to see that it died), nothing moves for 3 s more, and the client is
//! answered by it within 2 s more. That may take 65 s, and is a figure of its own (STALE), if the client asks
//! one that was master in a partition and then hit by something else before it could hear the right master
//! and tell it of itself: that one never learns that there were two, does not announce the address anew, and
//! the neighbour table has to find out.
//!
//! No vipd ended but by our hand. Each process that saw two such moments has no more descriptors at the
//! second and no more than 128 KiB more of its own memory than at the first.

mod act;
mod judge;
mod plan;
#[path = "../sim/rng.rs"]
mod rng;

use crate::ensure;
use crate::lab::*;
use act::{Field, lock};
use judge::{Gap, Judge, Overlap, history};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// Beside the routers' own: the link-local address that the IPv6 router has, and what a reload adds to the
/// first.
const LINK_LOCAL: &str = "fe80::232";
const SPARE: &str = "192.168.30.240";
/// What HAProxy needs for a start on a busy machine, or until vipd tries it again.
const START: Duration = secs(3);
/// How long a client may ask the wrong node if that could not tell the right one of itself.
const STALE: Duration = secs(65);
/// Nothing may move for so long when all is in its place.
const REST: Duration = secs(3);
/// Memory that comes with the first time that something happens: buffers, and the moments of HAProxy's
/// deaths.
const WARM_KIB: u64 = 128;

/// A virtual router.
pub struct Spec {
    pub vrid: u8,
    pub seconds: u64,
    /// Of the nodes.
    pub priorities: [u8; 3],
    pub vip: &'static str,
}

pub const ROUTERS: [Spec; 4] = [
    Spec { vrid: 51, seconds: 1, priorities: [254, 150, 100], vip: "192.168.30.230" },
    Spec { vrid: 52, seconds: 1, priorities: [100, 254, 150], vip: "192.168.30.231" },
    Spec { vrid: 53, seconds: 1, priorities: [150, 100, 254], vip: "2001:db8:30::232" },
    Spec { vrid: 54, seconds: 2, priorities: [100, 150, 254], vip: "192.168.30.233" },
];

impl Spec {
    pub fn interval(&self) -> Duration {
        secs(self.seconds)
    }

    /// Of its right master.
    fn down(&self) -> Duration {
        3 * self.interval() + ms(1000 * (256 - 254) / 256 + 1) * self.seconds as u32
    }

    /// The node that should have it: index in [`NODES`].
    fn right(&self) -> usize {
        (0..NODES.len()).max_by_key(|n| self.priorities[*n]).unwrap_or(0)
    }

    fn is_v6(&self) -> bool {
        self.vip.contains(':')
    }

    fn service(&self) -> String {
        if self.is_v6() { format!("[{}]:5000", self.vip) } else { format!("{}:5000", self.vip) }
    }

    fn router(&self, priority: u8) -> Router {
        if self.is_v6() {
            let mut router = Router::new(self.vrid, priority, LINK_LOCAL).v3();
            router.vips.push(format!("{}/64", self.vip));
            return router;
        }
        let router = Router::new(self.vrid, priority, &format!("{}/24", self.vip));
        router.advert_int(&self.seconds.to_string())
    }
}

/// What a process has: descriptors, and KiB of its own.
#[derive(Clone, Copy, Debug)]
struct Size {
    pid: i32,
    fds: usize,
    kib: u64,
}

fn size(pid: i32) -> Result<Size> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Anonymous:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    Ok(Size { pid, fds, kib })
}

/// Everything that is measured.
#[derive(Default)]
struct Figures {
    rounds: u64,
    faults: BTreeMap<&'static str, (usize, usize)>,
    converged: Vec<Duration>,
    /// How long clients asked a node that could not tell the right one.
    stale: Vec<Duration>,
    sizes: [Vec<Size>; 3],
}

/// How and how long.
pub struct Options {
    pub seed: u64,
    /// vipd.ini's key: auto, address.
    pub lease: &'static str,
    /// Rounds are begun for so long.
    pub length: Duration,
    /// Whether the faults of all rounds are printed, or only those of one that failed.
    pub verbose: bool,
}

/// Plays rounds; `Err` if one of the promises was broken. Figures either way.
pub fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let only = std::env::var("ROUND").ok().and_then(|n| n.parse::<u64>().ok());
    println!("seed {}, lease {}, {:.0} s", options.seed, options.lease, options.length.as_secs_f64());
    let field = Arc::new(Field::start(options.lease)?);
    let client = field.lan.node("client");
    let clients: Result<Vec<Client>> =
        ROUTERS.iter().map(|r| Client::start_with(&client, &r.service(), ms(20), secs(2))).collect();
    let clients = clients?;
    crate::lab::measure()?;
    for (r, c) in ROUTERS.iter().zip(&clients) {
        c.wait_answer_by(NODES[r.right()], secs(10))?;
    }
    let (begin, mut figures) = (Instant::now(), Figures::default());
    measure(&field, &mut figures)?;
    let mut number = only.unwrap_or(1);
    while figures.rounds == 0 || only.is_none() && start.elapsed() + secs(36) <= options.length {
        let (faults, from) = (plan::round(options.seed, number), Instant::now());
        let before = lock(&field.failures).len();
        if options.verbose {
            println!("round {number} at {:.3}:", since_start(from));
            faults.iter().for_each(|f| println!("  {f}"));
        }
        let mended = field.play(&faults);
        let settled = settle(&field, &clients, &mut figures, mended);
        if let Err(e) = &settled {
            field.fail(format!("round {number}: {e}"));
        }
        field.all_alive();
        judge(&field, from, number);
        if lock(&field.failures).len() > before {
            println!("seed {} round {number} began at {:.3}:", options.seed, since_start(from));
            if !options.verbose {
                faults.iter().for_each(|f| println!("  {f}"));
            }
            println!("{}", field.lan.tails(200, from));
        }
        if settled.is_err() {
            break; // what follows might only follow from this
        }
        figures.rounds += 1;
        number += 1;
    }
    let end = Instant::now();
    report(&field, &clients, &mut figures, begin, end)?;
    let failures = lock(&field.failures);
    ensure!(failures.is_empty(), "seed {} round {number}: {}", options.seed, failures.join("; "));
    Ok(())
}

/// Everything is mended: everything comes to its place.
fn settle(field: &Field, clients: &[Client], figures: &mut Figures, mended: Instant) -> Result<()> {
    let bound = |r: &Spec| field.bound(&[0, 1, 2], r.down() + START, mended, mended + r.down() + START);
    let nodes = field.nodes(&[0, 1, 2]);
    let last = |addr: &str| {
        let answers = field.prober.timeline(ip(addr), &nodes, mended);
        let all = [field.watcher.timeline(addr), answers];
        all.iter().filter_map(|changes| changes.last()).map(|c| c.at).fold(mended, Instant::max)
    };
    // Longer than it may take, to tell late from never.
    let deadline = mended + ROUTERS.iter().map(bound).max().unwrap_or_default() + secs(10);
    loop {
        for r in &ROUTERS {
            field.watcher.wait_holder(
                r.vip,
                NODES[r.right()],
                deadline.saturating_duration_since(Instant::now()),
            )?;
            for addr in addresses(r) {
                let left = deadline.saturating_duration_since(Instant::now());
                field.prober.wait_only(ip(addr), &nodes[r.right()], left)?;
            }
        }
        let quiet = ROUTERS.iter().flat_map(addresses).map(last).max().unwrap_or(mended) + REST;
        if quiet <= Instant::now() {
            break;
        }
        ensure!(quiet <= deadline, "it does not come to rest");
        std::thread::sleep(quiet.saturating_duration_since(Instant::now()));
    }
    let (mut slowest, mut wrong) = (Duration::ZERO, Vec::new());
    for (r, client) in ROUTERS.iter().zip(clients) {
        let right = NODES[r.right()];
        for addr in addresses(r) {
            let holder = field.watcher.holders(addr);
            ensure!(holder == [right], "{addr} is on {holder:?}, not on {right} alone");
            let took = last(addr) - mended;
            slowest = slowest.max(took);
            if took > bound(r) {
                wrong.push(format!(
                    "{addr} came to its place {:.3} s after the last fault was mended",
                    took.as_secs_f64()
                ));
            }
        }
        if client.wait_answer_by(right, secs(2)).is_err() {
            let node = field.lan.node("client");
            let known = node.output(std::process::Command::new("ip").args(["neigh", "show", r.vip]))?;
            let known = String::from_utf8_lossy(&known.stdout).trim().to_owned();
            let asked = Instant::now();
            let wrong = NODES.iter().position(|n| known.contains(&hardware(&field.lan.node(n))));
            let done = lock(&field.done).clone();
            let judge = Judge { done: &done, field };
            let muted = wrong.and_then(|n| judge.muted(n, r.interval(), mended));
            // Its neighbour table finds out by itself within some 15 s, or with garp_master_refresh.
            let wait = if muted.is_some() { STALE } else { Duration::ZERO };
            client
                .wait_answer_by(right, wait)
                .map_err(|e| Error(format!("{e}; the client of {} knows {known}", r.vip)))?;
            let (took, why) = (asked.elapsed() + secs(2), muted.unwrap_or_default());
            println!(
                "  STALE: the client of {} knew {known}, {:.1} s longer: {why}",
                r.vip,
                took.as_secs_f64()
            );
            figures.stale.push(took);
        }
    }
    ensure!(field.watcher.holders(SPARE).is_empty(), "{SPARE} is still there");
    figures.converged.push(slowest);
    ensure!(wrong.is_empty(), "{}", wrong.join(", "));
    measure(field, figures)
}

fn hardware(node: &Node) -> String {
    node.mac().map(|b| format!("{b:02x}")).join(":")
}

fn addresses(r: &Spec) -> Vec<&'static str> {
    if r.is_v6() { vec![LINK_LOCAL, r.vip] } else { vec![r.vip] }
}

fn measure(field: &Field, figures: &mut Figures) -> Result<()> {
    for (site, sizes) in field.sites.iter().zip(&mut figures.sizes) {
        sizes.push(size(site.pid().ok_or_else(|| Error("no vipd".to_owned()))?)?);
        let haproxys = site.node.pids("haproxy").len();
        ensure!(haproxys == 2, "{haproxys} processes of HAProxy on {}", site.node.name());
    }
    Ok(())
}

/// Of each router, by its index, and the spare one.
fn all_addresses() -> impl Iterator<Item = (usize, &'static str)> {
    let of = |(i, r): (usize, &Spec)| addresses(r).into_iter().map(move |addr| (i, addr));
    ROUTERS.iter().enumerate().flat_map(of).chain([(0, SPARE)])
}

/// It is one of the constants here.
fn ip(addr: &str) -> IpAddr {
    addr.parse().unwrap_or_else(|_| panic!("{addr} is no address"))
}

/// All overlaps since then: two that answer, and with the lease in the address two that have it. All gaps:
/// nobody answers.
fn seen(field: &Field, from: Instant) -> (Vec<Overlap>, Vec<Gap>) {
    let (mut overlaps, mut gaps) = (Vec::new(), Vec::new());
    let (nodes, end) = (field.nodes(&[0, 1, 2]), Instant::now());
    // One that began before must be seen whole.
    let before = from.checked_sub(secs(60)).unwrap_or(from);
    for (i, addr) in all_addresses() {
        let (o, g) = history(i, addr, &field.prober.timeline(ip(addr), &nodes, before), end);
        overlaps.extend(o);
        if addr == ROUTERS[i].vip {
            gaps.extend(g);
        }
        if field.in_the_address() {
            overlaps.extend(history(i, addr, &field.watcher.timeline(addr), end).0);
        }
    }
    overlaps.retain(|o| o.to >= from);
    gaps.retain(|g| g.to >= from);
    (overlaps, gaps)
}

fn judge(field: &Field, from: Instant, number: u64) {
    let done = lock(&field.done).clone();
    let judge = Judge { done: &done, field };
    for o in seen(field, from).0 {
        let what = format!(
            "{:9.3}  {} on {} and {} for {:.1} ms",
            since_start(o.from),
            o.addr,
            NODES[o.old],
            NODES[o.new],
            millis(o.to - o.from)
        );
        match judge.excuse(&o) {
            Ok((class, cause)) => println!("{what}: {class}: {cause}"),
            Err(why) => field.fail(format!("round {number}: {what}: {why}")),
        }
    }
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// Median, 99 of 100, and the longest.
fn spread(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |part: usize| all.get(all.len().saturating_sub(1) * part / 100).copied();
    let [p50, p99, max] = [50, 99, 100].map(|p| millis(at(p).unwrap_or_default()));
    format!("{} times, p50 {p50:.0} ms, p99 {p99:.0} ms, max {max:.0} ms", all.len())
}

fn report(
    field: &Field,
    clients: &[Client],
    figures: &mut Figures,
    begin: Instant,
    end: Instant,
) -> Result<()> {
    let done = lock(&field.done).clone();
    let judge = Judge { done: &done, field };
    for d in &done {
        let (n, missed) = figures.faults.entry(d.fault.kind.name()).or_default();
        *n += 1;
        *missed += usize::from(d.missed);
    }
    println!("{} rounds, {} faults in {:.0} s:", figures.rounds, done.len(), (end - begin).as_secs_f64());
    for (name, (n, missed)) in &figures.faults {
        println!(
            "  {n:4} {name}{}",
            if *missed > 0 { format!(" ({missed} hit nothing)") } else { String::new() }
        );
    }
    println!("after the last fault of a round all is in its place: {}", spread(figures.converged.clone()));
    println!(
        "clients that asked a node that could not tell the right one: {}",
        spread(figures.stale.clone())
    );
    let (overlaps, gaps) = seen(field, begin);
    let mut by: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for o in &overlaps {
        let class = judge.excuse(o).map_or("NOT EXCUSED", |(class, _)| class);
        by.entry(class).or_default().push(o.to - o.from);
    }
    println!("two answer: {} times", overlaps.len());
    by.into_iter().for_each(|(class, all)| println!("  {class}: {}", spread(all)));
    println!(
        "nobody answers: {}; by what began last before:",
        spread(gaps.iter().map(|g| g.to - g.from).collect())
    );
    let mut by: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for g in &gaps {
        by.entry(judge.cause(g)).or_default().push(g.to - g.from);
    }
    by.into_iter().for_each(|(cause, all)| println!("  {cause}: {}", spread(all)));
    if field.in_the_address() {
        println!(
            "a lease of 1 s outlived in a dead or stopped vipd by {:.0} ms at the most",
            millis(outlived(field, &done))
        );
    }
    for (r, client) in ROUTERS.iter().zip(clients) {
        let report = client.report(begin, end)?;
        let silent: Duration = client.silences(begin, end, ms(200)).iter().map(|(_, d)| *d).sum();
        println!(
            "client of {}: {} requests, failed {:?}, {:.1} s of silence, {:.1} s the longest",
            r.vip,
            report.requests,
            report.failed,
            silent.as_secs_f64(),
            report.silence.as_secs_f64()
        );
    }
    println!("{}", lateness(&field.nodes(&[0, 1, 2]), begin, end));
    for (node, sizes) in NODES.iter().zip(&figures.sizes) {
        let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else { continue };
        println!(
            "{node}: {} descriptors and {} KiB of its own at the beginning, {} and {} at the end, {} and {} at the most",
            first.fds,
            first.kib,
            last.fds,
            last.kib,
            sizes.iter().map(|s| s.fds).max().unwrap_or(0),
            sizes.iter().map(|s| s.kib).max().unwrap_or(0)
        );
        let longest = sizes.chunk_by(|a, b| a.pid == b.pid).max_by_key(|p| p.len()).unwrap_or_default();
        println!("  the longest process: {:?} KiB", longest.iter().map(|s| s.kib).collect::<Vec<_>>());
        for process in sizes.chunk_by(|a, b| a.pid == b.pid) {
            let [early, .., late] = process else { continue };
            if late.fds > early.fds || late.kib > early.kib + WARM_KIB {
                field.fail(format!("vipd on {node} grows: {early:?}, {late:?}"));
            }
        }
    }
    Ok(())
}

/// How long after its end the kernel ended a lease of 1 s that nobody was there to end.
fn outlived(field: &Field, done: &[act::Done]) -> Duration {
    let mut worst = Duration::ZERO;
    for r in ROUTERS.iter().filter(|r| r.seconds == 1) {
        for c in field.watcher.timeline(r.vip).iter().filter(|c| !c.held) {
            let dumb = |d: &&act::Done| {
                use plan::Kind::{Kill, Stop};
                let is = matches!(d.fault.kind, Kill { .. } | Stop { .. });
                is && NODES[d.fault.node] == c.node && d.hit <= c.at && c.at <= d.end
            };
            if done.iter().any(|d| dumb(&d)) {
                worst = worst.max(c.at.saturating_duration_since(c.renewed + secs(1)));
            }
        }
    }
    worst
}
