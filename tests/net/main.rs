//! vipd on the wire: elections, failures and mistakes acted out in network namespaces, against itself
//! and against keepalived, with real HAProxies and clients.
//!
//! `cargo test --test net [FILTER]`; the vipd under test is cargo's, or `$VIPD`. Without namespaces every
//! test is skipped and named; with `CI=true` that is a failure.

mod attacks;
mod change;
mod chaos;
mod election;
mod emulator;
mod flood;
mod groups;
mod haproxy;
mod heal;
mod hmac;
mod hooks;
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
mod status;
mod succession;
mod supervision;
mod tracking;
mod transport;
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
    chaos::TESTS, // the longest
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
    realtime::TESTS,
    import::TESTS,
    readme::TESTS,
    privilege::TESTS,
    attacks::TESTS,
    status::TESTS,
];

/// What is about milliseconds runs when the others have ended: whoever makes and removes namespaces holds the lock of the
/// kernel's network configuration, and so do the others' floods of addresses.
const ALONE: &[&str] = &[
    "realtime_with_adverts_each_10_ms",
    "realtime_carries_250_routers_each_10_ms",
    "reloads_lose_nothing",
    "reloads_under_load_lose_nothing",
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    if args.list {
        return libtest_mimic::run(&args, trials()).exit_code();
    }
    match isolate() {
        Isolation::Inside => {
            // They wait for timers most of the time.
            args.test_threads.get_or_insert(6);
            let (alone, beside) = trials().into_iter().partition(|t| ALONE.contains(&t.name()));
            let conclusion = libtest_mimic::run(&args, beside);
            args.test_threads = Some(1);
            let failed = libtest_mimic::run(&args, alone).has_failed() || conclusion.has_failed();
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

fn trials() -> Vec<Trial> {
    tests()
        .map(|(name, test)| {
            Trial::ignorable_test(*name, move || {
                let world = World::new()?;
                match test(&world) {
                    Ok(()) => Ok(Completion::Completed),
                    Err(e) if e.is_about_missing() => {
                        let reason = e.to_string();
                        SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).push((name, reason.clone()));
                        Ok(Completion::ignored_with(reason))
                    }
                    Err(e) => {
                        let (now, tails) = (since_start(Instant::now()), world.lan.tails(30, world.born));
                        Err(Failed::from(format!("{now:.3} s: {e}\n{tails}")))
                    }
                }
            })
        })
        .collect()
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

fn router(priority: u8) -> Router {
    Router::new(VRID, priority, VIP_LEN)
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
