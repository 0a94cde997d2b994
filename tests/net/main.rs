//! vipd on the wire: elections, failures and mistakes acted out in network namespaces, against itself
//! and against keepalived, with real HAProxies and clients.
//!
//! `cargo test --test net [FILTER]`; the vipd under test is cargo's, or `$VIPD`. Without namespaces every
//! test is skipped and named; with `CI=true` that is a failure.

mod flood;
mod groups;
mod haproxy;
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
mod readme;
mod realtime;
mod reload;
mod status;
mod tracking;
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

mod transport;

type Test = fn(&World) -> Result<()>;

/// All tests, by topic: each topic is a file beside this one with its own list.
const TOPICS: &[&[(&str, Test)]] = &[
    TESTS,
    haproxy::TESTS,
    interop::TESTS,
    leases::TESTS,
    leave::TESTS,
    life::TESTS,
    groups::TESTS,
    tracking::TESTS,
    ipv6::TESTS,
    transport::TESTS,
    reload::TESTS,
    hooks::TESTS,
    mail::TESTS,
    vmac::TESTS,
    flood::TESTS,
    realtime::TESTS,
    import::TESTS,
    readme::TESTS,
    status::TESTS,
];

/// Name and body of the tests in this file.
const TESTS: &[(&str, Test)] = &[
    ("lab_observes_keepalived", lab_observes_keepalived),
    ("lab_client_tells_failures_apart", lab_client_tells_failures_apart),
    ("lab_injects_and_captures", lab_injects_and_captures),
    ("elects_by_priority", |w| elects(w, Kind::Vipd, Kind::Vipd)),
    ("elects_over_keepalived", |w| elects(w, Kind::Vipd, Kind::Keepalived)),
    ("elects_under_keepalived", |w| elects(w, Kind::Keepalived, Kind::Vipd)),
    ("tie_goes_to_higher_address", |w| tie(w, Kind::Vipd, Kind::Vipd)),
    ("tie_lost_to_keepalived", |w| tie(w, Kind::Vipd, Kind::Keepalived)),
    ("tie_won_against_keepalived", |w| tie(w, Kind::Keepalived, Kind::Vipd)),
    ("v3_subsecond_failover", |w| subsecond(w, Kind::Vipd)),
    ("v3_subsecond_failover_to_keepalived", |w| subsecond(w, Kind::Keepalived)),
    ("preempts", |w| preempts(w, Kind::Vipd)),
    ("preempts_keepalived", |w| preempts(w, Kind::Keepalived)),
    ("does_not_preempt_if_told", |w| does_not_preempt(w, Kind::Vipd, Kind::Vipd)),
    ("does_not_preempt_keepalived", |w| does_not_preempt(w, Kind::Keepalived, Kind::Vipd)),
    ("is_not_preempted_by_keepalived", |w| does_not_preempt(w, Kind::Vipd, Kind::Keepalived)),
    ("stops_gracefully", |w| stops_gracefully(w, Kind::Vipd)),
    ("stops_gracefully_before_keepalived", |w| stops_gracefully(w, Kind::Keepalived)),
    ("survives_a_cut_cable", |w| survives_cut(w, Kind::Vipd)),
    ("survives_a_cut_cable_with_keepalived", |w| survives_cut(w, Kind::Keepalived)),
    ("restarts_haproxy_in_place", restarts_haproxy),
    ("gives_way_without_haproxy", gives_way),
    ("is_not_master_before_haproxy", not_master_before_haproxy),
    ("shares_load", |w| shares_load(w, Kind::Vipd)),
    ("shares_load_with_keepalived", |w| shares_load(w, Kind::Keepalived)),
    ("names_a_wrong_password", names_wrong_password),
    ("names_a_wrong_interval", names_wrong_interval),
    ("names_a_wrong_ttl", names_wrong_ttl),
    ("names_wrong_addresses", names_wrong_addresses),
    ("names_a_wrong_authentication", names_wrong_auth_type),
    ("names_a_wrong_vrid", names_wrong_vrid),
    ("ignores_other_virtual_routers", ignores_other_vrids),
    ("bears_garbage", bears_garbage),
    ("does_not_amplify_lower_adverts", does_not_amplify),
    ("has_last_words", has_last_words),
    ("refuses_a_second_instance", refuses_second_instance),
    ("exits_with_the_documented_codes", exit_codes),
    ("puts_a_stolen_address_back", puts_back),
    ("kill_9_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGKILL, ms(0))),
    ("kill_9_late_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGKILL, ms(800))),
    ("kill_9_beside_keepalived", |w| no_second_holder(w, 3, Kind::Keepalived, Signal::SIGKILL, ms(400))),
    ("a_stall_leaves_no_second_holder", |w| no_second_holder(w, 3, Kind::Vipd, Signal::SIGSTOP, ms(0))),
    ("a_late_stall_leaves_no_second_holder", |w| {
        no_second_holder(w, 3, Kind::Vipd, Signal::SIGSTOP, ms(800))
    }),
    ("a_stall_beside_keepalived", |w| no_second_holder(w, 3, Kind::Keepalived, Signal::SIGSTOP, ms(400))),
    ("a_stall_amid_many_adverts", |w| no_second_holder(w, 60, Kind::Vipd, Signal::SIGSTOP, ms(0))),
    ("reloads_haproxy", reloads_haproxy),
    ("gives_up_a_hung_haproxy", gives_up_hung_haproxy),
    ("stays_away_while_haproxy_crashes", stays_away_while_haproxy_crashes),
    ("carries_250_routers", carries_250_routers),
    ("is_one_small_process", is_small),
    ("resumes_after_a_crash", resumes),
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
            let conclusion = libtest_mimic::run(&args, trials());
            let skips = std::mem::take(&mut *SKIPPED.lock().unwrap_or_else(PoisonError::into_inner));
            let code = skipped(&skips);
            if conclusion.has_failed() { ExitCode::from(101) } else { code }
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
        let lan = Lan::new(&[
            ("node1", "192.168.30.116/24"),
            ("node2", "192.168.30.117/24"),
            ("client", "192.168.30.10/24"),
        ])?;
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

// ---------------------------------------------------------------------------------- the lab itself

fn lab_observes_keepalived(w: &World) -> Result<()> {
    let (one, _haproxy1) = w.with_haproxy(Kind::Keepalived, &w.one, router(100))?;
    let (two, _haproxy2) = w.with_haproxy(Kind::Keepalived, &w.two, router(99))?;
    w.node1_is_master()?;
    one.wait_log(words::MASTER, secs(1))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(2))?;
    let start = Instant::now();
    one.terminate();
    let came = w.watcher.wait_holder(VIP, "node2", secs(5))?;
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(5))?.success(), "keepalived did not end well");
    let gap = w.watcher.longest_gap(VIP, start);
    ensure!((ms(500)..secs(2)).contains(&gap), "keepalived's gap is the skew time, not {gap:?}");
    let report = client.report(start, Instant::now())?;
    ensure!(report.silence >= ms(500) && report.syn_retransmits > 20, "the client did not notice: {report}");
    let zero =
        w.capture.wait("priority 0", start, secs(1), |s| s.advert(VRID).is_some_and(|a| a.priority == 0))?;
    let first = w.capture.wait_advert("node2", VRID, start, secs(1))?;
    let skew = first.at - zero.at;
    ensure!((ms(550)..ms(900)).contains(&skew), "the skew time of 99 is 613 ms, not {skew:?}");
    ensure!(came.max(first.at) - came.min(first.at) < ms(200), "the clocks of wire and addresses differ");
    w.watcher.no_overlap(VIP, Duration::ZERO)?;
    // kill -9 of keepalived: two holders, which the watcher must see.
    two.kill_tree();
    let _again = Keepalived::run(&w.one, &[router(100)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    ensure!(w.watcher.no_overlap(VIP, Duration::ZERO).is_err(), "the watcher missed a second holder");
    Ok(())
}

fn lab_client_tells_failures_apart(w: &World) -> Result<()> {
    w.one.ip(&format!("addr add {VIP_LEN} dev eth0"))?;
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let haproxy = Haproxy::start(&w.one, &cfg)?;
    let client = Client::start_with(&w.client, SERVICE, ms(10), secs(2))?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    haproxy.kill_tree();
    haproxy.wait_exit(secs(2))?;
    let occupant = Occupant::start(&w.one, SERVICE.parse().map_err(|_| Error("address".to_owned()))?);
    std::thread::sleep(ms(200));
    ensure!(occupant.has_it(), "a port that nobody has cannot be taken");
    drop(occupant);
    std::thread::sleep(ms(200));
    w.one.cut()?;
    std::thread::sleep(ms(1200));
    w.one.mend()?;
    let again = Haproxy::start(&w.one, &cfg)?;
    client.wait_answer_by("node1", secs(5))?;
    ensure!(!w.one.haproxy_workers().is_empty(), "no HAProxy worker found");
    ensure!(w.one.haproxy_master() == Some(again.pid()), "HAProxy's master not found");
    let report = client.report(start, Instant::now())?;
    for kind in ["refused", "closed"] {
        let alias = if kind == "closed" { "reset" } else { kind };
        ensure!(
            report.failed.contains_key(kind) || report.failed.contains_key(alias),
            "no {kind} seen: {report}"
        );
    }
    ensure!(report.syn_retransmits > 20, "no SYN retransmissions seen: {report}");
    ensure!(report.silence > secs(1), "the silence was longer: {report}");
    Ok(())
}

fn lab_injects_and_captures(w: &World) -> Result<()> {
    let one = Keepalived::run(&w.one, &[router(100)])?;
    w.node1_is_master()?;
    let start = Instant::now();
    let packet = advert(VRID, 50, 1, Some("1111"), &[v4(VIP)]);
    w.two.inject(w.two.addr(), 255, &packet)?;
    let seen = w.capture.wait_advert("node2", VRID, start, secs(1))?;
    ensure!(seen.advert(VRID).is_some_and(|a| a.message == packet), "not what was sent: {seen}");
    one.log().wait_any(0, words::LOWER_PRIO, secs(1))?;
    w.capture.wait("gratuitous ARP", start, secs(1), |s| s.node == "node1" && s.announces(v4(VIP).into()))?;
    w.two.inject(w.two.addr(), 64, &packet)?;
    one.log().wait_any(0, words::WRONG_TTL, secs(1))?;
    let start = Instant::now();
    w.client.send_frame(&arp_request(&w.client, v4(VIP)))?;
    let answer =
        w.capture.wait("an ARP answer", start, secs(1), |s| matches!(s.what, What::Arp { op: 2, .. }))?;
    ensure!(answer.node == "node1" && answer.mac == w.one.mac(), "somebody else answered: {answer}");
    Ok(())
}

// ---------------------------------------------------------------------------------- elections

/// `high` on node1 wins against `low` on node2, and they have nothing to say against each other.
fn elects(w: &World, high: Kind, low: Kind) -> Result<()> {
    let two = Daemon::start(low, &w.two, &[router(99)])?;
    let one = Daemon::start(high, &w.one, &[router(100)])?;
    one.wait_log(words::MASTER, ELECTION)?;
    w.node1_is_master()?;
    let start = Instant::now();
    // Three adverts on, nothing has changed.
    for i in 1..=3 {
        w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
    }
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1"), "{VIP} left node1");
    ensure!(
        w.capture.all(start, |s| s.node == "node2" && s.advert(VRID).is_some()).is_empty(),
        "node2 advertised"
    );
    w.watcher.no_overlap(VIP, ms(20))?;
    at_peace(&[&one, &two])
}

/// Both masters meet with equal priorities: node2, with the higher address, stays.
fn tie(w: &World, first: Kind, second: Kind) -> Result<()> {
    w.lan.partition(&[&w.one, &w.two])?;
    let one = Daemon::start(first, &w.one, &[router(100)])?;
    let two = Daemon::start(second, &w.two, &[router(100)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    one.wait_log(words::MASTER, secs(1))?;
    two.wait_log(words::MASTER, secs(1))?;
    let (mark1, mark2) = (one.log().mark(), two.log().mark());
    w.lan.heal(&[&w.one, &w.two])?;
    w.watcher.wait_holder(VIP, "node2", secs(3))?;
    one.log().wait_from(mark1, words::BACKUP, secs(1))?;
    let healed = Instant::now();
    w.capture.wait_advert("node2", VRID, healed, secs(2))?;
    ensure!(two.log().wait_from(mark2, words::BACKUP, ms(10)).is_err(), "node2 gave way as well");
    at_peace(&[&one, &two])
}

fn subsecond(w: &World, peer: Kind) -> Result<()> {
    let fast = |priority| router(priority).v3().advert_int("0.1");
    let one = Daemon::start(Kind::Vipd, &w.one, &[fast(100)])?;
    let two = Daemon::start(peer, &w.two, &[fast(99)])?;
    w.node1_is_master()?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(1))?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    let first = w.capture.wait_advert("node2", VRID, cut, secs(2))?;
    // 3 × 100 ms + 157/256 × 100 ms = 361 ms
    let took = first.at - last.at;
    ensure!((ms(340)..ms(600)).contains(&took), "failover took {took:?} instead of 361 ms");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    at_peace(&[&one, &two])
}

fn preempts(w: &World, peer: Kind) -> Result<()> {
    let two = Daemon::start(peer, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    let start = Instant::now();
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(start.elapsed() > secs(2), "it did not listen first");
    ensure!(w.watcher.longest_gap(VIP, start) < ms(200), "a gap in a planned move");
    two.wait_log(words::BACKUP, secs(1))?;
    at_peace(&[&one, &two])
}

/// The lower priority stays master while the higher one is told not to preempt.
fn does_not_preempt(w: &World, low: Kind, high: Kind) -> Result<()> {
    let two = Daemon::start(low, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let one = Daemon::start(high, &w.one, &[router(100).no_preempt()])?;
    one.wait_log(words::BACKUP, secs(2))?;
    let start = Instant::now();
    for i in 1..=5 {
        w.capture.wait_advert("node2", VRID, start + secs(i - 1), secs(3))?;
    }
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node2"), "node1 preempted all the same");
    two.terminate();
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    at_peace(&[&one, &two])
}

// ---------------------------------------------------------------------------------- planned moves and failures

fn stops_gracefully(w: &World, peer: Kind) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    let (two, _haproxy) = w.with_haproxy(peer, &w.two, router(99))?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    let report = client.report(start, Instant::now())?;
    // A connection between its SYN and its request when the neighbours learn the new MAC cannot survive.
    ensure!(report.failures() <= 1 && report.syn_retransmits == 0, "clients noticed: {report}");
    ensure!(report.silence < ms(150), "clients noticed: {report}");
    let zeros = w.capture.all(start, |s| s.advert(VRID).is_some_and(|a| a.priority == 0));
    ensure!(zeros.len() == 1, "{} adverts with priority 0 instead of one", zeros.len());
    ensure!(w.one.pids("").is_empty(), "something still runs on node1: {:?}", w.one.pids(""));
    at_peace(&[&one, &two])
}

fn survives_cut(w: &World, peer: Kind) -> Result<()> {
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    let two = Daemon::start(peer, &w.two, &[router(99)])?;
    w.node1_is_master()?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let first = w.capture.wait_advert("node2", VRID, cut, secs(1))?;
    let took = first.at - last.at;
    ensure!((ms(3590)..ms(3900)).contains(&took), "failover took {took:?} instead of 3.613 s");
    one.wait_log("FAULT", secs(1))?;
    w.one.mend()?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.watcher.no_overlap(VIP, ms(100))?;
    at_peace(&[&one, &two])
}

fn restarts_haproxy(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    // Only now: started together, whoever has its HAProxy ready first may be master for a moment.
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    for victim in ["all", "worker", "master"] {
        let start = Instant::now();
        let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
        let workers = w.one.haproxy_workers();
        for pid in [master]
            .iter()
            .filter(|_| victim != "worker")
            .chain(workers.iter().filter(|_| victim != "master"))
        {
            // Gone already if vipd was quick to clear the rest away.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // An orphaned worker serves on for a while, so wait for the new master and then for the answer.
        let deadline = start + secs(5);
        while w.one.haproxy_master().is_none_or(|pid| pid == master) {
            ensure!(Instant::now() < deadline, "no new HAProxy after kill -9 of {victim}");
            std::thread::sleep(ms(5));
        }
        client.wait_answer_by("node1", secs(5))?;
        std::thread::sleep(ms(600)); // longer than restart_grace
        let report = client.report(start, Instant::now())?;
        ensure!(report.silence < ms(400), "kill -9 of {victim}: {report}");
        ensure!(!report.by.contains_key("node2"), "kill -9 of {victim} moved the address");
    }
    ensure!(w.watcher.timeline(VIP).len() == 1, "the address moved: {:?}", w.watcher.timeline(VIP));
    at_peace(&[&one, &two])
}

fn gives_way(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    w.node1_is_master()?;
    let cfg = std::fs::read_to_string(w.one.dir().join("haproxy.cfg"))?;
    w.one.write("haproxy.cfg", "nonsense\n")?;
    let start = Instant::now();
    let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(master), Signal::SIGKILL)?;
    // restart_grace 0.5 s + skew 0.613 s
    let came = w.watcher.wait_holder(VIP, "node2", secs(4))?;
    ensure!(came - start < ms(1600), "node2 had it only after {:?}", came - start);
    w.watcher.no_overlap(VIP, ms(20))?;
    w.one.write("haproxy.cfg", &cfg)?;
    w.watcher.wait_holder(VIP, "node1", secs(40))?;
    at_peace(&[&one, &two])
}

fn not_master_before_haproxy(w: &World) -> Result<()> {
    let cfg = w.one.write("haproxy.cfg", "nonsense\n")?;
    let one = Vipd::run(&w.one, Some(&cfg), &[router(200)])?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(99)])?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    std::thread::sleep(secs(2));
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node2"), "node1 took it without HAProxy");
    let adverts = w.capture.all(Instant::now() - secs(10), |s| s.node == "node1" && s.advert(VRID).is_some());
    ensure!(adverts.is_empty(), "node1 advertised without HAProxy");
    haproxy_cfg(&w.one, SERVICE)?;
    w.watcher.wait_holder(VIP, "node1", secs(40))?;
    at_peace(&[&one, &two])
}

/// Two virtual routers, each node the better one for one of them.
fn shares_load(w: &World, peer: Kind) -> Result<()> {
    const OTHER: &str = "192.168.30.231";
    let routers = |a, b| [Router::new(51, a, VIP_LEN), Router::new(52, b, "192.168.30.231/24")];
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(150, 100))?;
    let two = Daemon::start(peer, &w.two, &routers(100, 150))?;
    let apart = || -> Result<()> {
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
        w.watcher.wait_holder(OTHER, "node2", ELECTION)?;
        Ok(())
    };
    apart()?;
    two.terminate();
    w.watcher.wait_holder(OTHER, "node1", secs(4))?;
    two.wait_exit(secs(9))?;
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1"), "{VIP} was to stay on node1");
    let two = Daemon::start(peer, &w.two, &routers(100, 150))?;
    apart()?;
    one.terminate();
    w.watcher.wait_holder(VIP, "node2", secs(4))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    ensure!(w.watcher.holder(OTHER).as_deref() == Some("node2"), "{OTHER} was to stay on node2");
    at_peace(&[&one, &two])
}

// ---------------------------------------------------------------------------------- mistakes of others

/// A master on node1 that hears what `packet` sends three times must stay one, and say why.
fn shrugs_off(w: &World, expected: &[&str], bogus: bool, packet: impl Fn() -> Result<()>) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let mark = one.log().mark();
    for _ in 0..3 {
        packet()?;
    }
    if !expected.is_empty() {
        one.log().wait_any(mark, expected, secs(2))?;
    }
    if bogus {
        one.log().wait_from(mark, words::BOGUS, secs(2))?;
    }
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1"), "node1 gave up");
    ensure!(one.is_alive(), "vipd died");
    // What comes with every packet is said once.
    let said = one.log().grep(words::BOGUS).len();
    ensure!(said == usize::from(bogus), "said {said} times");
    Ok(())
}

fn names_wrong_password(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_PASSWORD, true, || w.inject(200, 1, Some("2222"), VIP))
}

fn names_wrong_interval(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_INTERVAL, true, || w.inject(200, 2, Some("1111"), VIP))
}

fn names_wrong_ttl(w: &World) -> Result<()> {
    let packet = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    shrugs_off(w, words::WRONG_TTL, true, || w.two.inject(w.two.addr(), 254, &packet))
}

/// Another list of addresses is said, but the advert counts: both being master would be worse.
fn names_wrong_addresses(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    w.inject(200, 1, Some("1111"), "192.168.30.240")?;
    one.log().wait_any(0, words::WRONG_VIPS, secs(2))?;
    w.watcher.wait_holders(VIP, &[], secs(7))?;
    one.wait_log(words::BACKUP, secs(1))?;
    Ok(())
}

fn names_wrong_auth_type(w: &World) -> Result<()> {
    shrugs_off(w, words::WRONG_AUTH_TYPE, true, || w.inject(200, 1, None, VIP))
}

/// Our address under another number is a second master, or a slip of the pen.
fn names_wrong_vrid(w: &World) -> Result<()> {
    let packet = advert(52, 200, 1, Some("1111"), &[v4(VIP)]);
    shrugs_off(w, words::WRONG_VRID, true, || w.two.inject(w.two.addr(), 255, &packet))
}

fn ignores_other_vrids(w: &World) -> Result<()> {
    let packet = advert(52, 200, 1, Some("1111"), &[v4("192.168.30.240")]);
    shrugs_off(w, words::STRANGE_VRID, false, || w.two.inject(w.two.addr(), 255, &packet))
}

fn bears_garbage(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let whole = advert(VRID, 200, 1, Some("1111"), &[v4(VIP)]);
    for _ in 0..3 {
        for len in 0..whole.len() {
            w.two.inject(w.two.addr(), 255, &whole[..len])?;
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x5a; // always a wrong checksum
            w.two.inject(w.two.addr(), 255, &bent)?;
        }
        w.two.inject(w.two.addr(), 255, &[0xff; 1400])?;
        for src in ["0.0.0.0", "224.0.0.1", VIP] {
            w.two.inject(v4(src), 255, &whole)?;
        }
    }
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node1") && one.is_alive(), "node1 gave up");
    // About 130 packets of a dozen kinds: each kind is said once or so.
    let said = one.log().grep(words::BOGUS).len();
    ensure!((1..=20).contains(&said), "said {said} times");
    Ok(())
}

fn does_not_amplify(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let start = Instant::now();
    for _ in 0..50 {
        w.inject(10, 1, Some("1111"), VIP)?;
        w.inject(0, 1, Some("1111"), VIP)?;
    }
    let took = start.elapsed();
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let answers = w.capture.all(start, |s| s.node == "node1" && s.advert(VRID).is_some()).len();
    // One for each 250 ms at most, and the regular ones.
    let most = 3 + 2 * took.as_millis() as usize / 250;
    ensure!(answers <= most, "{answers} adverts in answer to 100 within {took:?}");
    let said = one.log().grep(words::LOWER_PRIO[0]).len();
    ensure!(said == 1, "said {said} times");
    Ok(())
}

// ---------------------------------------------------------------------------------- the program

/// What a fault of its own looks like in the small build, which has no message of Rust's.
fn has_last_words(w: &World) -> Result<()> {
    let one = Vipd::start(&w.one, &Vipd::ini(&w.one, None, &[router(100)]))?;
    one.wait_log(words::BACKUP, secs(2))?;
    one.signal(Signal::SIGILL);
    one.wait_log("internal error at 0x", secs(2))?;
    let status = one.wait_exit(secs(2))?;
    ensure!(
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGILL),
        "it ended by {status}"
    );
    Ok(())
}

fn refuses_second_instance(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let second = Vipd::run(&w.one, None, &[router(100)])?;
    let status = second.wait_exit(secs(3))?;
    ensure!(status.code() == Some(1), "the second instance ended with {status}");
    second.log().wait_any(0, words::LOCKED, secs(1))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    ensure!(w.watcher.timeline(VIP).len() == 1 && one.is_alive(), "the first instance was disturbed");
    Ok(())
}

fn exit_codes(w: &World) -> Result<()> {
    let good = w.one.write("good.ini", &Vipd::ini(&w.one, None, &[router(100)]))?;
    let bad = w
        .one
        .write("bad.ini", "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 256\nno_such_key = 1\n")?;
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let vipd = vipd_path()?;
    let run = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let out = w.one.output(std::process::Command::new("timeout").arg("5").arg(&vipd).args(args))?;
        let text = [out.stdout, out.stderr].concat();
        Ok((out.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    for (args, code) in [
        (&["--version"][..], 0),
        (&["--help"][..], 0),
        (&["-t", "-c", &good][..], 0),
        (&["-t", "-c", &bad][..], 2),
        (&["-c", &bad][..], 2),
        (&["-c", "/nonexistent.ini"][..], 2),
        (&["--no-such-option"][..], 2),
        (&["status", "-c", &good][..], 5),
    ] {
        let (got, text) = run(args)?;
        ensure!(got == Some(code), "vipd {args:?} ended with {got:?} instead of {code}: {text}");
    }
    let (_, text) = run(&["-t", "-c", &bad])?;
    for place in ["bad.ini:3", "bad.ini:4"] {
        ensure!(text.contains(place), "the error does not name {place}: {text}");
    }
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let status = one.cli(&["status"])?;
    let text = String::from_utf8_lossy(&status.stdout);
    ensure!(
        status.status.code() == Some(0) && text.contains(VIP),
        "status of a master: {} {text}",
        status.status
    );
    one.terminate();
    ensure!(one.wait_exit(secs(9))?.code() == Some(0), "a clean stop ends with 0");
    w.watcher.wait_holders(VIP, &[], secs(1))?;
    Ok(())
}

fn puts_back(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    // Right after an advert its lease has time left.
    let dump = w.one.output(std::process::Command::new("ip").args(["-o", "addr", "show", "to", VIP]))?;
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let cidr = dump.split_whitespace().find(|word| word.starts_with(VIP));
    let cidr = cidr.ok_or_else(|| Error(format!("no {VIP} in {dump}")))?;
    w.one.ip(&format!("addr del {cidr} dev eth0"))?;
    let gone = w.watcher.wait_change(VIP, "node1", false, advert.at, secs(1))?;
    let back = w.watcher.wait_change(VIP, "node1", true, gone, secs(1))?;
    ensure!(back - gone < ms(100), "it took {:?}", back - gone);
    ensure!(one.log().grep(words::MASTER).len() == 1, "it was elected anew instead");
    Ok(())
}

/// USR2: seamless, and only with a configuration that HAProxy accepts. VRRP does not notice.
fn reloads_haproxy(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    let client = Client::start_with(&w.client, SERVICE, ms(2), secs(5))?;
    client.wait_answer_by("node1", secs(3))?;
    let good = std::fs::read_to_string(w.one.dir().join("haproxy.cfg"))?;
    let start = Instant::now();
    for round in 0..10 {
        let broken = round % 2 == 1;
        w.one.write("haproxy.cfg", if broken { "nonsense\n" } else { &good })?;
        let worker = w.one.haproxy_workers();
        let mark = one.log().mark();
        one.signal(Signal::SIGUSR2);
        one.log().wait_from(
            mark,
            if broken { "is refused (exit status 1)" } else { "haproxy reloaded: worker" },
            secs(5),
        )?;
        ensure!(!broken || w.one.haproxy_workers() == worker, "a refused reload had an effect");
    }
    std::thread::sleep(ms(300)); // the last requests come to their end
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0 && report.syn_retransmits == 0, "clients noticed: {report}");
    ensure!(w.watcher.timeline(VIP).len() == 1, "the address moved");
    ensure!(one.log().grep(words::MASTER).len() == 1, "VRRP noticed");
    Ok(())
}

/// A stopped worker accepts connections and answers none: the other node serves within check_interval ×
/// check_fall + check_timeout + skew, the hung processes are gone, and the node takes part again by itself.
fn gives_up_hung_haproxy(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    let mut hung = w.one.haproxy_workers();
    for pid in &hung {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGSTOP)?;
    }
    hung.extend(w.one.haproxy_master());
    let start = Instant::now();
    let came = client.wait_answer_by("node2", secs(12))?;
    println!("node2 serves {:?} after the stop", came - start);
    ensure!(came - start < ms(3 * 1000 + 1000 + 613 + 100 + 300), "node2 serves after {:?}", came - start);
    one.wait_log("it hangs and is killed", secs(1))?;
    client.wait_answer_by("node1", secs(15))?;
    let all = w.one.pids("haproxy");
    ensure!(!hung.iter().any(|pid| all.contains(pid)), "the hung {hung:?} are still among {all:?}");
    Ok(())
}

/// More than `crash_limit` deaths: the address moves once and stays where it is.
fn stays_away_while_haproxy_crashes(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    // Only a master that was heard can give up.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let start = Instant::now();
    for _ in 0..6 {
        let mark = one.log().mark();
        for pid in w.one.haproxy_workers() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)?;
        }
        one.log().wait_from(mark, " ready after ", secs(10))?;
    }
    one.wait_log("died 4 times within 30 s: FAULT", secs(1))?;
    w.watcher.wait_holder(VIP, "node2", secs(3))?;
    w.capture.wait_advert("node2", VRID, Instant::now() + secs(5), secs(8))?;
    ensure!(w.watcher.holder(VIP).as_deref() == Some("node2"), "it did not stay on node2");
    let moves = w.watcher.timeline(VIP).iter().filter(|c| c.at >= start && c.held).count();
    ensure!(moves == 1, "the address moved {moves} times");
    Ok(())
}

// ---------------------------------------------------------------------------------- size

/// The most that one interface can have: all on one side, none on both, after a change of sides and back.
fn carries_250_routers(w: &World) -> Result<()> {
    let vip = |i: u8| format!("10.1.0.{i}");
    let routers =
        |priority| -> Vec<Router> { (1..=250).map(|i| Router::new(i, priority, &vip(i))).collect() };
    let settled = |node: &str, since: Instant| -> Result<()> {
        for i in 1..=250 {
            w.watcher.wait_holder(&vip(i), node, ELECTION)?;
        }
        // Whoever should hold nothing had the time to make a mistake.
        w.capture.wait_advert(node, 250, since + secs(5), secs(8))?;
        for i in 1..=250 {
            let holder = w.watcher.holder(&vip(i));
            ensure!(holder.as_deref() == Some(node), "{} is on {holder:?}, not on {node} alone", vip(i));
        }
        Ok(())
    };
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(100))?;
    w.watcher.wait_holder(&vip(250), "node1", ELECTION)?;
    let two = Daemon::start(Kind::Vipd, &w.two, &routers(99))?;
    settled("node1", Instant::now())?;
    let pss = pss_kib(one.pid())?;
    println!("250 virtual routers: PSS {pss} KiB");
    ensure!(pss < 1536, "PSS {pss} KiB");
    one.terminate();
    settled("node2", Instant::now())?;
    ensure!(one.wait_exit(secs(10))?.success(), "the stop was not clean");
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(100))?;
    settled("node1", Instant::now())?;
    at_peace(&[&one, &two])
}

/// One process besides HAProxy, one thread, little memory.
fn is_small(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, router(100))?;
    w.node1_is_master()?;
    let pid = one.pid();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?.count();
    ensure!(tasks == 1, "{tasks} threads");
    let vipds = w.one.pids("vipd");
    ensure!(vipds == [pid], "more than one process: {vipds:?}");
    let haproxys = w.one.pids("haproxy").len();
    let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    ensure!(
        all.split_whitespace().count() == 1 && haproxys == 2,
        "children: {all}, haproxy processes: {haproxys}"
    );
    let pss = pss_kib(pid)?;
    println!("1 virtual router: PSS {pss} KiB");
    ensure!(pss < 600, "PSS {pss} KiB");
    Ok(())
}

fn pss_kib(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error(format!("no PSS in {text}")))
}

// ---------------------------------------------------------------------------------- leases

/// Some virtual routers on node1, which is killed or stopped, against a peer with priority 254 that takes over
/// as soon as the protocol lets it: never two holders. The signal comes `phase` after the first advert of a
/// round; with zero it falls between the adverts of that round.
fn no_second_holder(w: &World, count: u8, peer: Kind, signal: Signal, phase: Duration) -> Result<()> {
    let vips: Vec<String> = (0..count).map(|i| format!("192.168.30.{}", 130 + i)).collect();
    let vips = || vips.iter().map(String::as_str);
    let routers = |priority| -> Vec<Router> {
        let each = vips().zip(VRID..);
        each.map(|(vip, vrid)| Router::new(vrid, priority, &format!("{vip}/24")).no_preempt()).collect()
    };
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(100))?;
    for vip in vips() {
        w.watcher.wait_holder(vip, "node1", ELECTION)?;
    }
    let two = Daemon::start(peer, &w.two, &routers(254))?;
    two.wait_log(words::BACKUP, secs(2))?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    std::thread::sleep((advert.at + phase).saturating_duration_since(Instant::now()));
    one.signal(signal);
    let start = Instant::now();
    for vip in vips() {
        let gone = w.watcher.wait_change(vip, "node1", false, start, secs(4))?;
        ensure!(gone - start < ms(3050), "{vip} outlived its lease: {:?}", gone - start);
        w.watcher.wait_holder(vip, "node2", secs(4))?;
    }
    if signal == Signal::SIGSTOP {
        let mark = one.log().mark();
        one.cont();
        one.log().wait_from(mark, words::BACKUP, secs(3))?;
        w.capture.wait_advert("node2", VRID, Instant::now() + secs(1), secs(4))?;
    }
    for vip in vips() {
        w.watcher.no_overlap(vip, Duration::ZERO)?;
        ensure!(w.watcher.holder(vip).as_deref() == Some("node2"), "{vip} did not stay on node2");
    }
    Ok(())
}

/// Killed and started at once, as init does it: master again before anybody notices.
fn resumes(w: &World) -> Result<()> {
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let one = Vipd::start(&w.one, &ini)?;
    w.node1_is_master()?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(254).no_preempt()])?;
    two.wait_log(words::BACKUP, secs(2))?;
    let start = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?.at;
    one.kill();
    one.wait_exit(secs(1))?;
    let again = Vipd::start(&w.one, &ini)?;
    again.wait_log(words::MASTER, secs(1))?;
    for i in 1..=4 {
        w.capture.wait_advert("node1", VRID, start + secs(i), secs(2))?;
    }
    ensure!(w.watcher.timeline(VIP).len() == 1, "the address moved: {:?}", w.watcher.timeline(VIP));
    ensure!(two.log().grep(words::MASTER).is_empty(), "node2 became master");
    Ok(())
}
