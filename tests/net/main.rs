//! vipd on the wire: elections, failures and mistakes acted out in network namespaces, against itself
//! and against keepalived, with real HAProxies and clients.
//!
//! `cargo test --test net [FILTER]`; the vipd under test is cargo's, or `$VIPD`. `WITHOUT_NET` in the
//! environment leaves all of them out. Without namespaces every test is skipped and named; with `CI=true`
//! that is a failure.

mod attacks;
mod beside;
mod change;
mod chaos;
mod copy;
mod election;
mod emulator;
mod fence;
mod field;
mod flood;
mod groups;
mod haproxy;
mod heal;
mod hmac;
mod hooks;
mod http;
mod import;
mod interop;
mod ipv6;
#[path = "../lab/mod.rs"]
mod lab;
mod leases;
mod leave;
mod life;
mod mail;
mod mistakes;
mod observe;
mod privilege;
mod program;
mod readme;
mod realtime;
mod reload;
mod schedule;
mod status;
mod succession;
mod supervision;
mod tracking;
mod transport;
mod upgrade;
mod vmac;

use lab::*;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The log lines that are looked for, in one place. Each list is alternatives.
mod words {
    /// Both daemons.
    pub const MASTER: &str = "Entering MASTER STATE";
    pub const BACKUP: &str = "Entering BACKUP STATE";
    pub const BOGUS: &str = "bogus VRRP packet received on eth0 !!!";
    pub const WRONG_PASSWORD: &[&str] = &["received an invalid passwd"];
    pub const WRONG_AUTH_TYPE: &[&str] = &["authentication type"];
    pub const WRONG_INTERVAL: &[&str] = &["advertisement interval mismatch mine=1"];
    pub const WRONG_TTL: &[&str] = &["TTL", "(ttl, from"];
    pub const WRONG_VIPS: &[&str] = &["one or more VIP associated with VRID mismatch actual MASTER advert"];
    pub const WRONG_VRID: &[&str] = &["wrong virtual_router_id"];
    pub const STRANGE_VRID: &[&str] = &["VRID 52 from 192.168.30.117"];
    pub const LOWER_PRIO: &[&str] = &["forcing new election"];
    /// Nothing of this kind is to be seen between well configured nodes.
    pub const COMPLAINTS: &[&str] = &[
        "bogus",
        "invalid",
        "mismatch",
        "ignoring received",
        "already processed",
        "panicked",
        "split brain",
        "another host",
    ];
    pub const LOCKED: &[&str] = &["already", "lock"];
}

type Test = fn(&World) -> Result<()>;

/// All tests, by topic: each topic is a file beside this one with its own list.
const TOPICS: &[&[(&str, Test)]] = &[
    chaos::TESTS,
    copy::TESTS, // the longest
    observe::TESTS,
    election::TESTS,
    supervision::TESTS,
    mistakes::TESTS,
    program::TESTS,
    succession::TESTS,
    haproxy::TESTS,
    heal::TESTS,
    interop::TESTS,
    leases::TESTS,
    leave::TESTS,
    life::TESTS,
    groups::TESTS,
    tracking::TESTS,
    ipv6::TESTS,
    transport::TESTS,
    hmac::TESTS,
    reload::TESTS,
    change::TESTS,
    hooks::TESTS,
    mail::TESTS,
    vmac::TESTS,
    flood::TESTS,
    fence::TESTS,
    field::TESTS,
    beside::TESTS,
    realtime::TESTS,
    import::TESTS,
    readme::TESTS,
    privilege::TESTS,
    attacks::TESTS,
    status::TESTS,
    upgrade::TESTS,
    http::TESTS,
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    if std::env::var_os("WITHOUT_NET").is_some() {
        println!("these run elsewhere (WITHOUT_NET)");
        return ExitCode::SUCCESS;
    }
    if args.list {
        return libtest_mimic::run(&args, trials()).exit_code();
    }
    match isolate() {
        Isolation::Inside => {
            let threads = args.test_threads;
            let (mut all, mut failed) = (trials(), false);
            for phase in schedule::PHASES {
                let (of_it, rest) = all.into_iter().partition(|t| phase.has(t.name()));
                all = rest;
                bury_later();
                args.test_threads = Some(threads.map_or(phase.threads, |n| n.min(phase.threads)));
                failed |= libtest_mimic::run(&args, schedule::longest_first(of_it)).has_failed();
            }
            if args.filter.is_none() {
                schedule::write();
            }
            void();
            let skips = std::mem::take(&mut *SKIPPED.lock().unwrap_or_else(PoisonError::into_inner));
            let code = skipped(&skips);
            if failed { ExitCode::from(101) } else { code }
        }
        Isolation::Impossible(why) => {
            let why = format!("no namespaces: {why}");
            skipped(&tests().map(|(name, _)| (*name, why.clone())).collect::<Vec<_>>())
        }
    }
}

/// Tests that could not be run, and why.
static SKIPPED: Mutex<Vec<(&str, String)>> = Mutex::new(Vec::new());

/// Counts and names them; in CI nothing may be skipped.
fn skipped(tests: &[(&str, String)]) -> ExitCode {
    if tests.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} tests SKIPPED:", tests.len());
    tests.iter().for_each(|(name, why)| println!("    {name}: {why}"));
    ExitCode::from(u8::from(std::env::var("CI").as_deref() == Ok("true")))
}

fn tests() -> impl Iterator<Item = &'static (&'static str, Test)> {
    TOPICS.iter().copied().flatten()
}

/// Experiments that said nothing, for how long the machine stood still, and of what they failed.
static VOID: Mutex<Vec<(&str, Duration, String)>> = Mutex::new(Vec::new());

/// No experiment says anything about vipd if a daemon could not do a thing for longer: with an advert each
/// second a lease has to be renewed within 300 ms of each, or the address goes.
const STANDSTILL: Duration = ms(250);

/// What became of a test.
fn trial(name: &'static str, test: Test) -> std::result::Result<Completion, Failed> {
    for again in (0..3).rev() {
        let begin = Instant::now();
        let world = World::new()?;
        let result = test(&world);
        let now = Instant::now();
        schedule::took(name, now - begin);
        let Err(e) = result else { return Ok(Completion::Completed) };
        if e.is_about_missing() {
            let reason = e.to_string();
            SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).push((name, reason.clone()));
            return Ok(Completion::ignored_with(reason));
        }
        let nodes = world.lan.nodes();
        let still = standstill(&nodes, world.born, now);
        if still <= STANDSTILL || again == 0 {
            let (late, tails) = (lateness(&nodes, world.born, now), world.lan.tails(30, world.born));
            return Err(Failed::from(format!("{:.3} s: {e}\n{late}\n{tails}", since_start(now))));
        }
        VOID.lock().unwrap_or_else(PoisonError::into_inner).push((name, still, e.to_string()));
    }
    Err(Failed::without_message())
}

/// Tells which tests were done again, and why.
fn void() {
    let void = std::mem::take(&mut *VOID.lock().unwrap_or_else(PoisonError::into_inner));
    if !void.is_empty() {
        println!("{} experiments were void and done again, because the machine stood still:", void.len());
        for (name, still, why) in void {
            println!("    {name}: for {} ms; {}", still.as_millis(), why.lines().next().unwrap_or_default());
        }
    }
}

fn trials() -> Vec<Trial> {
    tests().map(|(name, test)| Trial::ignorable_test(*name, move || trial(name, *test))).collect()
}

const VIP: &str = "192.168.30.230";
const VIP_LEN: &str = "192.168.30.230/24";
const SERVICE: &str = "192.168.30.230:5000";
const VRID: u8 = 51;
/// An election with 1 s adverts takes 3.0 to 4.0 s; the rest is for a busy machine.
const ELECTION: Duration = secs(8);

/// Two nodes, a client, and who looks at them.
struct World {
    lan: Lan,
    watcher: Watcher,
    capture: Capture,
    one: Node,
    two: Node,
    client: Node,
    born: Instant,
}

impl World {
    fn new() -> Result<World> {
        measure()?;
        let lan = Lan::pair()?;
        let (watcher, capture) = (Watcher::start(&lan)?, Capture::start(&lan)?);
        let (one, two, client) = (lan.node("node1"), lan.node("node2"), lan.node("client"));
        Ok(World { lan, watcher, capture, one, two, client, born: Instant::now() })
    }

    /// Waits until node1 holds the address, and for the advert that it sends then.
    fn node1_is_master(&self) -> Result<()> {
        self.watcher.wait_holder(VIP, "node1", ELECTION)?;
        self.capture.wait_advert("node1", VRID, self.born, secs(2))?;
        Ok(())
    }

    /// node2 has a daemon and an unsupervised HAProxy if it is keepalived's.
    fn with_haproxy(&self, kind: Kind, node: &Node, router: Router) -> Result<(Daemon, Option<Haproxy>)> {
        let cfg = haproxy_cfg(node, SERVICE)?;
        Ok(match kind {
            Kind::Vipd => (Daemon::Vipd(Vipd::run(node, Some(&cfg), &[router])?), None),
            Kind::Keepalived => {
                let haproxy = Haproxy::start(node, &cfg)?;
                (Daemon::start(kind, node, &[router])?, Some(haproxy))
            }
        })
    }

    /// `nominal`, and how late the machine made anything here between `from` and now.
    fn bound(&self, nominal: Duration, from: Instant) -> Duration {
        self.bound_to(nominal, from, Instant::now())
    }

    /// The same until `to`.
    fn bound_to(&self, nominal: Duration, from: Instant, to: Instant) -> Duration {
        bound(nominal, &self.lan.nodes(), from, to)
    }

    /// That node holds the address, and no other does. Within an instant, because a lease that could not be
    /// renewed in time is removed and put back.
    fn holds(&self, vip: &str, node: &str) -> Result<()> {
        self.watcher.wait_holder(vip, node, ms(200)).map(drop)
    }

    /// The address was never anywhere but where it came first. It may have been away for an instant when the
    /// machine was so late that no lease could be renewed in time: vipd has 300 ms for that after each
    /// advert, or less.
    fn stayed(&self, vip: &str) -> Result<()> {
        const RENEWAL: Duration = ms(100);
        let all = self.watcher.timeline(vip);
        let Some((first, more)) = all.split_first() else { fail!("{vip} was never there") };
        for pair in more.chunks(2) {
            let excused = matches!(pair, [gone, back] if gone.node == first.node && back.node == first.node
                && back.at - gone.at < self.bound_to(ms(100), gone.at, back.at)
                && self.bound_to(ms(0), gone.at - secs(1), gone.at) > RENEWAL);
            ensure!(excused, "{vip} did not stay: {all:?}");
        }
        Ok(())
    }

    /// A planned move since `from`, as a client saw it that asks every 10 ms. A connection between its SYN
    /// and its request when the neighbours learn the new MAC cannot survive: one, and as many as fall into
    /// the time that the machine was late.
    fn hardly_noticed(&self, from: Instant, report: &Report) -> Result<()> {
        let most = 1 + self.bound(ms(0), from).as_millis() as usize / 10;
        let hit = report.failures() + report.syn_retransmits;
        ensure!(hit <= most, "clients noticed, {hit} times and not {most}: {report}");
        Ok(())
    }

    fn client(&self) -> Result<Client> {
        Client::start_with(&self.client, SERVICE, ms(10), secs(5))
    }

    /// An advert of the virtual router in question, made by node2.
    fn inject(&self, priority: u8, interval: u8, auth: Option<&str>, vip: &str) -> Result<()> {
        self.two.inject(self.two.addr(), 255, &advert(VRID, priority, interval, auth, &[v4(vip)]))
    }
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no IPv4 address"))
}

/// This configuration, with all the time that HAProxy may need for a start on a busy machine: for tests whose
/// subject that is not. (`gives_way_without_haproxy` is about `restart_grace`.)
fn patient(ini: &str) -> String {
    ini.replacen("[haproxy]\n", "[haproxy]\nrestart_grace = 10\nstart_timeout = 30\n", 1)
}

fn router(priority: u8) -> Router {
    Router::new(VRID, priority, VIP_LEN)
}

/// The same with an advert each 0.2 s: for a node that is alone, where time is not the subject. It is master
/// 3 s sooner, and has twice the time for a renewal: 0.6 s.
fn quick(priority: u8) -> Router {
    router(priority).v3().advert_int("0.2")
}

/// Neither log complains of the other.
fn at_peace(daemons: &[&Proc]) -> Result<()> {
    for daemon in daemons {
        for word in words::COMPLAINTS {
            if let Some(line) = daemon.log().grep(word).first() {
                fail!("a complaint between well configured nodes: {}", line.text);
            }
        }
    }
    Ok(())
}
