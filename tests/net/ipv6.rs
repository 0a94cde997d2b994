//! VRRPv3 over IPv6, and addresses that are held but not advertised.

use super::*;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};

pub const TESTS: &[(&str, Test)] = &[
    ("v6_elects_by_priority", |w| elects(w, Kind::Vipd, Kind::Vipd)),
    ("v6_elects_over_keepalived", |w| elects(w, Kind::Vipd, Kind::Keepalived)),
    ("v6_elects_under_keepalived", |w| elects(w, Kind::Keepalived, Kind::Vipd)),
    ("v6_tie_goes_to_higher_address", |w| tie(w, Kind::Vipd, Kind::Vipd)),
    ("v6_tie_lost_to_keepalived", |w| tie(w, Kind::Vipd, Kind::Keepalived)),
    ("v6_subsecond_failover", |w| subsecond(w, Kind::Vipd)),
    ("v6_subsecond_failover_to_keepalived", |w| subsecond(w, Kind::Keepalived)),
    ("v6_preempts_under_traffic", |w| preempts(w, Kind::Vipd)),
    ("v6_preempts_keepalived", |w| preempts(w, Kind::Keepalived)),
    ("v6_stops_gracefully", |w| stops_gracefully(w, Kind::Vipd)),
    ("v6_stops_gracefully_before_keepalived", |w| stops_gracefully(w, Kind::Keepalived)),
    ("v6_resets_connections", resets_connections),
    ("v6_survives_a_cut_cable", |w| survives_cut(w, Kind::Vipd)),
    ("v6_survives_a_cut_cable_with_keepalived", |w| survives_cut(w, Kind::Keepalived)),
    ("v6_kill_9_leaves_no_second_holder", |w| no_second_holder(w, Kind::Vipd, Signal::SIGKILL, ms(0))),
    ("v6_kill_9_late_leaves_no_second_holder", |w| no_second_holder(w, Kind::Vipd, Signal::SIGKILL, ms(800))),
    ("v6_kill_9_beside_keepalived", |w| no_second_holder(w, Kind::Keepalived, Signal::SIGKILL, ms(400))),
    ("v6_a_stall_leaves_no_second_holder", |w| no_second_holder(w, Kind::Vipd, Signal::SIGSTOP, ms(400))),
    ("v6_resumes_after_a_crash", resumes),
    ("v6_puts_a_stolen_address_back", puts_back),
    ("v6_leaves_foreign_addresses_alone", leaves_foreign),
    ("v6_waits_for_a_link_local_address", waits_for_link_local),
    ("v6_comes_back_with_the_name_of_its_interface", renamed),
    ("v6_says_that_it_is_disabled", says_disabled),
    ("v6_is_never_a_source", is_never_a_source),
    ("v6_brings_the_route_of_its_subnet", brings_route),
    ("v6_carries_254_addresses", carries_many),
    ("v6_bears_garbage", bears_garbage),
    ("excluded_ipv6_moves_with_ipv4", |w| excluded_moves(w, Kind::Vipd)),
    ("excluded_ipv6_moves_with_ipv4_to_keepalived", |w| excluded_moves(w, Kind::Keepalived)),
    ("excluded_ipv6_is_not_held_twice", |w| excluded_killed(w, Kind::Vipd)),
    ("excluded_ipv6_is_not_held_twice_beside_keepalived", |w| excluded_killed(w, Kind::Keepalived)),
];

const LINK_LOCAL: &str = "fe80::230";
const GLOBAL: &str = "2001:db8:30::230";
const SERVICE: &str = "[2001:db8:30::230]:5000";

/// fe80::230 first, as RFC 9568 and keepalived want it.
fn router(priority: u8) -> Router {
    let mut router = Router::new(VRID, priority, LINK_LOCAL).v3();
    router.vips.push(format!("{GLOBAL}/64"));
    router
}

/// An IPv4 election that carries the global address, too.
fn mixed(kind: Kind, priority: u8) -> Router {
    let excluded = match kind {
        Kind::Vipd => format!("virtual_ipaddress_excluded = {GLOBAL}/64"),
        Kind::Keepalived => format!(" virtual_ipaddress_excluded {{\n  {GLOBAL}/64\n }}"),
    };
    super::router(priority).with(&excluded)
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no IPv6 address"))
}

/// The link-local address of a node, by its MAC.
pub fn own(node: &Node) -> Ipv6Addr {
    let [a, b, c, d, e, f] = node.mac().map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// The nodes have addresses of the VIP's subnet, as they would.
fn addressed(w: &World) -> Result<()> {
    for (node, n) in [(&w.one, 116), (&w.two, 117), (&w.client, 10)] {
        node.ip(&format!("addr add 2001:db8:30::{n}/64 dev eth0 nodad"))?;
    }
    Ok(())
}

fn wait_both(w: &World, node: &str) -> Result<()> {
    w.watcher.wait_holder(LINK_LOCAL, node, ELECTION)?;
    w.watcher.wait_holder(GLOBAL, node, secs(1))?;
    Ok(())
}

fn with_haproxy(kind: Kind, node: &Node, router: Router) -> Result<(Daemon, Option<Haproxy>)> {
    let cfg = haproxy_cfg(node, SERVICE)?;
    Ok(match kind {
        Kind::Vipd => (Daemon::Vipd(Vipd::run(node, Some(&cfg), &[router])?), None),
        Kind::Keepalived => {
            node.sysctl("net.ipv6.ip_nonlocal_bind", "1")?;
            let haproxy = Haproxy::start(node, &cfg)?;
            (Daemon::start(kind, node, &[router])?, Some(haproxy))
        }
    })
}

fn client(w: &World) -> Result<Client> {
    Client::start_with(&w.client, SERVICE, ms(10), secs(5))
}

fn elects(w: &World, high: Kind, low: Kind) -> Result<()> {
    addressed(w)?;
    // The other way round the start of a process could outweigh the 4 ms between their timers.
    let one = Daemon::start(high, &w.one, &[router(100)])?;
    let two = Daemon::start(low, &w.two, &[router(99)])?;
    wait_both(w, "node1")?;
    let start = Instant::now();
    for i in 1..=3 {
        w.capture.wait_advert("node1", VRID, start + secs(i - 1), secs(2))?;
    }
    w.holds(GLOBAL, "node1")?;
    let others = w.capture.all(start, |s| s.node == "node2" && s.advert(VRID).is_some());
    ensure!(others.is_empty(), "node2 advertised");
    w.watcher.no_overlap(GLOBAL, ms(20))?;
    // What both put on the wire is the same but for the source.
    let seen = w.capture.last_advert("node1", VRID, Instant::now())?;
    let advert = seen.advert(VRID).ok_or_else(|| Error("no advert".to_owned()))?;
    ensure!(advert.src == IpAddr::V6(own(&w.one)), "from {} instead of {}", advert.src, own(&w.one));
    ensure!(
        (advert.dst, advert.ttl) == (v6("ff02::12").into(), 255),
        "to {} hops {}",
        advert.dst,
        advert.ttl
    );
    let list = [v6(LINK_LOCAL).octets(), v6(GLOBAL).octets()].concat();
    ensure!(advert.message[..6] == [0x31, VRID, 100, 2, 0, 100] && advert.message[8..] == list, "{seen}");
    for vip in [LINK_LOCAL, GLOBAL] {
        let na = |s: &Seen| s.node == "node1" && s.announces(v6(vip).into());
        let announced = w.capture.wait("a neighbour advertisement", w.born, secs(1), na)?;
        let held = w.watcher.wait_change(vip, "node1", true, w.born, ms(10))?;
        ensure!(announced.mac == w.one.mac(), "by another MAC: {announced}");
        let seen = announced.at + w.bound_to(ms(5), announced.at, held);
        ensure!(seen > held, "announced before it was held");
    }
    at_peace(&[&one, &two])
}

fn tie(w: &World, first: Kind, second: Kind) -> Result<()> {
    w.lan.partition(&[&w.one, &w.two])?;
    let one = Daemon::start(first, &w.one, &[router(100)])?;
    let two = Daemon::start(second, &w.two, &[router(100)])?;
    w.watcher.wait_holders(GLOBAL, &["node1", "node2"], ELECTION)?;
    let mark = two.log().mark();
    w.lan.heal(&[&w.one, &w.two])?;
    wait_both(w, "node2")?;
    one.wait_log(words::BACKUP, secs(1))?;
    w.capture.wait_advert("node2", VRID, Instant::now(), secs(2))?;
    ensure!(two.log().wait_from(mark, words::BACKUP, ms(10)).is_err(), "node2 gave way as well");
    at_peace(&[&one, &two])
}

fn subsecond(w: &World, peer: Kind) -> Result<()> {
    addressed(w)?;
    let fast = |priority| router(priority).advert_int("0.1");
    let one = Daemon::start(Kind::Vipd, &w.one, &[fast(100)])?;
    let two = Daemon::start(peer, &w.two, &[fast(99)])?;
    wait_both(w, "node1")?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(1))?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    let first = w.capture.wait_advert("node2", VRID, cut, secs(2))?;
    let took = first.at - last.at;
    ensure!((ms(340)..w.bound(ms(600), last.at)).contains(&took), "failover took {took:?} instead of 361 ms");
    wait_both(w, "node2")?;
    at_peace(&[&one, &two])
}

/// The address moves while clients use it, and they do not notice.
fn preempts(w: &World, peer: Kind) -> Result<()> {
    addressed(w)?;
    let (two, _haproxy) = with_haproxy(peer, &w.two, router(99))?;
    wait_both(w, "node2")?;
    let client = client(w)?;
    client.wait_answer_by("node2", secs(3))?;
    let start = Instant::now();
    let (one, _) = with_haproxy(Kind::Vipd, &w.one, router(100))?;
    client.wait_answer_by("node1", ELECTION)?;
    wait_both(w, "node1")?;
    ensure!(w.watcher.longest_gap(GLOBAL, start) < w.bound(ms(200), start), "a gap in a planned move");
    let report = client.report(start, Instant::now())?;
    if peer == Kind::Vipd {
        ensure!(
            report.failures() <= 1 && report.silence < w.bound(ms(200), start),
            "clients noticed: {report}"
        );
    }
    at_peace(&[&one, &two])
}

fn stops_gracefully(w: &World, peer: Kind) -> Result<()> {
    addressed(w)?;
    let (one, _) = with_haproxy(Kind::Vipd, &w.one, router(100))?;
    let (two, _haproxy) = with_haproxy(peer, &w.two, router(99))?;
    wait_both(w, "node1")?;
    let client = client(w)?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    one.wait_log("successor announced the VIPs", ms(100))?;
    wait_both(w, "node2")?;
    let report = client.report(start, Instant::now())?;
    w.hardly_noticed(start, &report)?;
    ensure!(report.silence < w.bound(ms(150), start), "clients noticed: {report}");
    let na = w.capture.wait("the successor's advertisement", start, ms(10), |s| {
        s.node == "node2" && s.announces(v6(LINK_LOCAL).into())
    })?;
    let gone = w.watcher.wait_change(GLOBAL, "node1", false, start, ms(10))?;
    ensure!(gone >= na.at, "{GLOBAL} left node1 before node2 had announced");
    ensure!(gone - na.at < w.bound_to(ms(40), na.at, gone), "{GLOBAL} stayed for {:?}", gone - na.at);
    at_peace(&[&one, &two])
}

/// A client that waits for an answer on an address that leaves is told.
fn resets_connections(w: &World) -> Result<()> {
    addressed(w)?;
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    wait_both(w, "node1")?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(99)])?;
    two.wait_log(words::BACKUP, secs(2))?;
    let listener = w.one.enter(|| TcpListener::bind("[::]:5000"))?;
    let mut client = w.client.enter(|| TcpStream::connect(SERVICE))?;
    let _served = listener.accept()?;
    one.terminate();
    client.set_read_timeout(Some(secs(4)))?;
    let read = client.read(&mut [0]);
    let reset = matches!(&read, Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset);
    ensure!(reset, "the waiting client got {read:?}");
    wait_both(w, "node2")
}

fn survives_cut(w: &World, peer: Kind) -> Result<()> {
    addressed(w)?;
    let one = Daemon::start(Kind::Vipd, &w.one, &[router(100)])?;
    let two = Daemon::start(peer, &w.two, &[router(99)])?;
    wait_both(w, "node1")?;
    w.one.cut()?;
    let cut = Instant::now();
    let last = w.capture.last_advert("node1", VRID, cut)?;
    wait_both(w, "node2")?;
    let took = w.capture.wait_advert("node2", VRID, cut, secs(1))?.at - last.at;
    ensure!(
        (ms(3590)..w.bound(ms(3900), last.at)).contains(&took),
        "failover took {took:?} instead of 3.613 s"
    );
    one.wait_log("FAULT", secs(1))?;
    w.one.mend()?;
    wait_both(w, "node1")?;
    w.watcher.no_overlap(GLOBAL, ms(100))?;
    at_peace(&[&one, &two])
}

/// As `super::no_second_holder`, with enough addresses for several batches.
fn no_second_holder(w: &World, peer: Kind, signal: Signal, phase: Duration) -> Result<()> {
    let more: Vec<String> = (1..=30).map(|i| format!("2001:db8:30::1:{i}")).collect();
    let routers = |_: Kind, priority| {
        let mut one = router(priority);
        one.vips.extend(more.iter().map(|vip| format!("{vip}/64")));
        one
    };
    let vips: Vec<&str> = more.iter().map(String::as_str).chain([LINK_LOCAL, GLOBAL]).collect();
    held_once(w, peer, signal, phase, &vips, routers)
}

fn excluded_killed(w: &World, peer: Kind) -> Result<()> {
    held_once(w, peer, Signal::SIGKILL, ms(0), &[VIP, GLOBAL], mixed)
}

/// As over IPv4.
fn held_once(
    w: &World,
    peer: Kind,
    signal: Signal,
    phase: Duration,
    vips: &[&str],
    routers: impl Fn(Kind, u8) -> Router,
) -> Result<()> {
    addressed(w)?;
    succession::held_once(w, peer, signal, phase, vips, |kind, priority| vec![routers(kind, priority)])
}

fn resumes(w: &World) -> Result<()> {
    addressed(w)?;
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let one = Vipd::start(&w.one, &ini)?;
    wait_both(w, "node1")?;
    succession::resumed(w, one, &ini, router(254), GLOBAL)
}

fn puts_back(w: &World) -> Result<()> {
    addressed(w)?;
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    wait_both(w, "node1")?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.one.ip(&format!("addr del {GLOBAL}/128 dev eth0"))?;
    let gone = w.watcher.wait_change(GLOBAL, "node1", false, advert.at, secs(1))?;
    let back = w.watcher.wait_change(GLOBAL, "node1", true, gone, secs(1))?;
    ensure!(back - gone < w.bound_to(ms(100), gone, back), "it took {:?}", back - gone);
    let na = |s: &Seen| s.node == "node1" && s.announces(v6(GLOBAL).into());
    w.capture.wait("a neighbour advertisement", gone, secs(1), na)?;
    ensure!(one.log().grep(words::MASTER).len() == 1, "it was elected anew instead");
    Ok(())
}

fn leaves_foreign(w: &World) -> Result<()> {
    w.one.ip(&format!("addr add {GLOBAL}/64 dev eth0 nodad"))?;
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.watcher.wait_holder(LINK_LOCAL, "node1", ELECTION)?;
    one.wait_log("somebody else's permanent address", secs(1))?;
    one.terminate();
    one.wait_exit(secs(9))?;
    w.watcher.wait_holders(LINK_LOCAL, &[], secs(1))?;
    ensure!(w.watcher.timeline(GLOBAL).len() == 1, "it was touched: {:?}", w.watcher.timeline(GLOBAL));
    let renewed = w.watcher.last_renewal(GLOBAL, "node1");
    ensure!(renewed.is_some_and(|at| at < w.born + secs(1)), "it was renewed");
    Ok(())
}

/// While the kernel asks whether somebody else has it, it is not used; nor is another interface's.
fn waits_for_link_local(w: &World) -> Result<()> {
    w.one.ip("link set eth0 down")?;
    w.one.sysctl("net.ipv6.conf.eth0.accept_dad", "1")?;
    w.one.sysctl("net.ipv6.conf.eth0.dad_transmits", "2")?;
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    one.wait_log("interface is down", secs(2))?;
    let start = Instant::now();
    w.one.ip("link set eth0 up")?;
    one.wait_log("interface has no address to send from", secs(2))?;
    let backup = one.wait_log(words::BACKUP, secs(8))?;
    ensure!(backup.at - start > ms(900), "it did not wait for the kernel: {:?}", backup.at - start);
    wait_both(w, "node1")?;
    // Without it there is no sender; with it again, there is.
    w.one.ip(&format!("addr del {}/64 dev eth0", own(&w.one)))?;
    w.watcher.wait_holders(GLOBAL, &[], secs(2))?;
    w.one.ip(&format!("addr add {}/64 dev eth0 nodad", own(&w.one)))?;
    wait_both(w, "node1")
}

/// The interface loses its name and gets it back, up all the time: it is a fault, and then none.
fn renamed(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    wait_both(w, "node1")?;
    w.one.ip("link set eth0 name away")?;
    one.wait_log("Entering FAULT STATE", secs(3))?;
    w.watcher.wait_holders(GLOBAL, &[], secs(4))?;
    w.one.ip("link set away name eth0")?;
    wait_both(w, "node1")
}

fn says_disabled(w: &World) -> Result<()> {
    w.one.sysctl("net.ipv6.conf.eth0.disable_ipv6", "1")?;
    let one = Vipd::run(&w.one, None, &[mixed(Kind::Vipd, 100)])?;
    one.wait_log("net.ipv6.conf.eth0.disable_ipv6 is 1", secs(2))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    one.wait_log(&format!("cannot add {GLOBAL} on eth0"), secs(1))?;
    w.one.sysctl("net.ipv6.conf.eth0.disable_ipv6", "0")?;
    w.watcher.wait_holder(GLOBAL, "node1", secs(4))?;
    Ok(())
}

fn is_never_a_source(w: &World) -> Result<()> {
    for node in [&w.one, &w.client] {
        node.ip(&format!("addr add 2001:db8:30::1{}/64 dev eth0 nodad", node.name().len()))?;
    }
    let _one = Vipd::run(&w.one, None, &[router(100)])?;
    wait_both(w, "node1")?;
    let ip = |args: &[&str]| -> Result<String> {
        let out = w.one.output(std::process::Command::new("ip").args(args))?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    for to in ["2001:db8:30::10", "2001:db8:30::99"] {
        let route = ip(&["-6", "route", "get", to])?;
        ensure!(route.contains("src 2001:db8:30::15 "), "{to}: {route}");
    }
    let route = ip(&["-6", "route", "get", "fe80::10", "oif", "eth0"])?;
    ensure!(route.contains(&format!("src {} ", own(&w.one))), "fe80::10: {route}");
    reachable(w)
}

/// Without another address of its subnet on the interface, the VIP has the prefix and the route, and keeps
/// it.
fn brings_route(w: &World) -> Result<()> {
    w.client.ip("addr add 2001:db8:30::10/64 dev eth0 nodad")?;
    let _one = Vipd::run(&w.one, None, &[router(100)])?;
    wait_both(w, "node1")?;
    reachable(w)?;
    w.capture.wait_advert("node1", VRID, Instant::now() + secs(4), secs(7))?;
    reachable(w)
}

/// Whoever is on the link reaches both addresses: nothing listens there, which is an answer.
fn reachable(w: &World) -> Result<()> {
    let scope = w.client.enter(|| nix::net::if_::if_nametoindex("eth0"))?;
    for (vip, scope) in [(GLOBAL, 0), (LINK_LOCAL, scope)] {
        let to = SocketAddrV6::new(v6(vip), 5000, 0, scope).into();
        let answer = w.client.enter(|| TcpStream::connect_timeout(&to, secs(2)));
        let refused = answer.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
        ensure!(refused, "{vip} cannot be reached");
    }
    Ok(())
}

/// As many as an advert lists, which goes in three fragments; they move and nobody loses one.
fn carries_many(w: &World) -> Result<()> {
    addressed(w)?;
    let vips: Vec<String> =
        (1..=253).map(|i| format!("2001:db8:30::2:{i:x}")).chain([GLOBAL.into()]).collect();
    let routers = |priority| {
        let mut one = router(priority);
        one.vips = std::iter::once(LINK_LOCAL.to_owned()).chain(vips.iter().cloned()).collect();
        one
    };
    let settled = |node: &str, since: Instant| -> Result<()> {
        for vip in &vips {
            w.watcher.wait_holder(vip, node, ELECTION)?;
        }
        std::thread::sleep((since + secs(5)).saturating_duration_since(Instant::now()));
        for vip in &vips {
            w.holds(vip, node)?;
        }
        Ok(())
    };
    let one = Daemon::start(Kind::Vipd, &w.one, &[routers(100)])?;
    w.watcher.wait_holder(GLOBAL, "node1", ELECTION)?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[routers(99)])?;
    settled("node1", Instant::now())?;
    ensure!(two.log().grep(words::MASTER).is_empty(), "node2 does not hear adverts in fragments");
    let start = Instant::now();
    one.terminate();
    settled("node2", start)?;
    ensure!(one.wait_exit(secs(10))?.success(), "the stop was not clean");
    let (gap, twice) = (w.bound(ms(100), start), w.bound(ms(300), start));
    for vip in &vips {
        ensure!(w.watcher.longest_gap(vip, start) < gap, "nobody had {vip} for a while");
        let pair = w.watcher.overlaps(vip);
        let both = pair.iter().map(|(from, to, _)| *to - *from).max().unwrap_or_default();
        ensure!(both < twice, "both had {vip} for {both:?}");
    }
    for daemon in [&one, &two] {
        ensure!(daemon.log().grep("messages were lost").is_empty(), "its own events were too many");
    }
    at_peace(&[&one, &two])
}

fn bears_garbage(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    wait_both(w, "node1")?;
    let seen = w.capture.wait_advert("node1", VRID, w.born, secs(2))?;
    let mut whole = seen.advert(VRID).map(|a| a.message.clone()).unwrap_or_default();
    whole[2] = 200; // the checksum, which is of another source, is wrong as well
    for hops in [0, 1, 254] {
        w.two.inject_v6(own(&w.two), hops, &whole)?;
    }
    one.log().wait_any(0, words::WRONG_TTL, secs(2))?;
    for len in 0..=whole.len() {
        w.two.inject_v6(own(&w.two), 255, &whole[..len])?;
    }
    for src in ["::", "ff02::1", GLOBAL] {
        w.two.inject_v6(v6(src), 255, &whole)?;
    }
    w.two.inject_v6(own(&w.two), 255, &[0xff; 1400])?;
    one.log().wait_any(0, &["checksum"], secs(2))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.holds(GLOBAL, "node1")?;
    ensure!(one.is_alive(), "vipd has ended");
    Ok(())
}

/// Both addresses are where the IPv4 election says, and only IPv4 adverts are on the wire.
fn excluded_moves(w: &World, peer: Kind) -> Result<()> {
    addressed(w)?;
    let (one, _) = with_haproxy(Kind::Vipd, &w.one, mixed(Kind::Vipd, 100))?;
    let (two, _haproxy) = with_haproxy(peer, &w.two, mixed(peer, 99))?;
    for vip in [VIP, GLOBAL] {
        w.watcher.wait_holder(vip, "node1", ELECTION)?;
    }
    let client = client(w)?;
    client.wait_answer_by("node1", secs(3))?;
    let start = Instant::now();
    one.terminate();
    client.wait_answer_by("node2", secs(5))?;
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    for vip in [VIP, GLOBAL] {
        w.watcher.wait_holder(vip, "node2", secs(1))?;
    }
    let report = client.report(start, Instant::now())?;
    w.hardly_noticed(start, &report)?;
    let v6 = w.capture.all(w.born, |s| s.advert(VRID).is_some_and(|a| a.src.is_ipv6()));
    ensure!(v6.is_empty(), "IPv6 adverts: {v6:?}");
    // And back: node1 preempts.
    let back = Instant::now();
    let (one, _) = with_haproxy(Kind::Vipd, &w.one, mixed(Kind::Vipd, 100))?;
    for vip in [VIP, GLOBAL] {
        w.watcher.wait_holder(vip, "node1", ELECTION)?;
        ensure!(
            w.watcher.longest_gap(vip, back) < w.bound(ms(200), back),
            "a gap in a planned move of {vip}"
        );
    }
    at_peace(&[&one, &two])
}
