//! The fence: who answers for the addresses, by ARP and by TCP, when a vipd dies, stands still or comes back,
//! and when somebody else removes its tables.

use super::life::wait_until;
use super::*;
use std::net::Ipv6Addr;
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("fence_one_answers_when_vipd_is_killed", |w| one_answers(w, "1", false, 2)),
    ("fence_one_answers_when_vipd_is_killed_at_100_ms", |w| one_answers(w, "0.1", false, 8)),
    ("fence_one_answers_when_vipd_is_killed_at_50_ms", |w| one_answers(w, "0.05", false, 8)),
    ("fence_one_answers_when_vipd_stands_still_at_50_ms", |w| one_answers(w, "0.05", true, 8)),
    ("fence_one_answers_when_vipd_stands_still", |w| one_answers(w, "1", true, 2)),
    ("fence_one_answers_when_vipd_stands_still_at_100_ms", |w| one_answers(w, "0.1", true, 8)),
    ("fence_respawn_resumes", respawn),
    ("fence_is_renewed_by_every_carrier", carriers),
    ("fence_waits_for_no_unicast_peer", no_peer),
    ("fence_lets_a_unicast_peer_come_back", peer_returns),
    ("fence_is_short_while_it_is_handed_over", killed_in_hand_over),
    ("fence_is_not_flushed", flushed),
    ("fence_is_mended_where_tables_have_no_owner", mended),
    ("fence_lets_a_backup_forward", forwards),
    ("fence_follows_a_reload", reloaded),
    ("fence_follows_its_interface", interface),
    ("fence_falls_back", falls_back),
    ("accept_no_answers_arp_alone", accepts_not),
    ("fence_goes_with_a_clean_stop", stopped),
];

pub fn fenced(priority: u8, interval: &str) -> Router {
    router(priority).v3().advert_int(interval).with("lease = fence")
}

pub fn nft(node: &Node, args: &[&str]) -> Result<String> {
    let out = node.output(Command::new("nft").args(args)).map_err(|_| Error::missing("nft"))?;
    ensure!(out.status.success(), "nft {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn prober(w: &World) -> Result<Prober> {
    Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one, &w.two])
}

/// Never two at any moment. Returns for how long nobody did.
fn at_most_one(prober: &Prober, from: Instant, to: Instant) -> Result<Duration> {
    let (most, doubly) = prober.answers(from, to);
    let (all, longest) = prober.nobody(from, to);
    println!("nobody answered for {longest:?} at a time, {all:?} in all");
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    Ok(longest)
}

/// One at every moment since then.
fn always_one(prober: &Prober, from: Instant) -> Result<()> {
    let nobody = at_most_one(prober, from, Instant::now())?;
    ensure!(nobody <= ms(30), "nobody answered for {nobody:?}");
    Ok(())
}

fn interval(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().unwrap_or(1.0))
}

/// In turn one of them is killed or stopped, and the other takes over.
fn one_answers(w: &World, advert_int: &str, stops: bool, rounds: usize) -> Result<()> {
    let i = interval(advert_int);
    let run = |node: &Node| Vipd::run(node, None, &[fenced(250, advert_int).no_preempt()]);
    let mut master = run(&w.one)?;
    master.wait_log(words::MASTER, ELECTION)?;
    let mut backup = run(&w.two)?;
    backup.wait_log(words::BACKUP, ELECTION)?;
    let prober = prober(w)?;
    let born = Instant::now();
    for round in 0..rounds {
        let (here, there) = if round % 2 == 0 { (&w.one, &w.two) } else { (&w.two, &w.one) };
        // At another phase each time.
        w.capture.wait_advert(here.name(), VRID, Instant::now(), i * 3)?;
        std::thread::sleep(i * round as u32 / rounds as u32);
        let mark = backup.log().mark();
        let from = Instant::now();
        if stops {
            master.stop()
        } else {
            master.kill()
        }
        w.watcher.wait_change(VIP, there.name(), true, from, i * 5 + secs(1))?;
        backup.log().wait_from(mark, words::MASTER, secs(1))?;
        std::thread::sleep(i * 2 + ms(200));
        // It is not to be seen as a late answer of the killed one.
        let nobody = at_most_one(&prober, from, Instant::now())?;
        ensure!(nobody < i / 20 + ms(350), "nobody answered for {nobody:?}");
        if stops {
            let mark = master.log().mark();
            master.cont();
            master.log().wait_from(mark, words::BACKUP, secs(2))?;
            std::mem::swap(&mut master, &mut backup);
        } else {
            let again = run(here)?;
            again.wait_log(words::BACKUP, secs(2))?;
            master = std::mem::replace(&mut backup, again);
        }
        std::thread::sleep(i * 2);
    }
    at_most_one(&prober, born, Instant::now())?;
    Ok(())
}

/// Killed, and started again after a second as busybox init does: nobody notices.
fn respawn(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(100, "1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[fenced(250, "1").no_preempt()])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let prober = prober(w)?;
    let mut one = one;
    for _ in 0..3 {
        w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
        let from = Instant::now();
        one.kill();
        one.wait_exit(secs(1))?;
        std::thread::sleep(ms(1000));
        one = Vipd::run(&w.one, None, &[fenced(100, "1")])?;
        one.wait_log("(resumed ", secs(2))?;
        std::thread::sleep(secs(2));
        let nobody = at_most_one(&prober, from, Instant::now())?;
        ensure!(nobody <= ms(30), "nobody answered for {nobody:?}");
    }
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over");
    ensure!(w.watcher.timeline(VIP).len() == 1, "the address moved: {:?}", w.watcher.timeline(VIP));
    // Too late.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    one.kill();
    two.wait_log(words::MASTER, ELECTION)?;
    let again = Vipd::run(&w.one, None, &[fenced(100, "1")])?;
    again.wait_log(words::BACKUP, secs(2))?;
    ensure!(again.log().grep("resumed").is_empty(), "resumed too late");
    Ok(())
}

/// What is left of the leases of node1 in both tables, in milliseconds.
fn rests(w: &World) -> Result<Vec<u64>> {
    let text = nft(&w.one, &["list", "ruleset"])?;
    // 2s976ms, 2s or 976ms
    let rest = |line: &str| {
        let (_, rest) = line.split_once("expires ")?;
        let rest = rest.split_whitespace().next()?;
        let (seconds, millis) = match rest.strip_suffix("ms") {
            Some(rest) => rest.split_once('s').unwrap_or(("0", rest)),
            None => (rest.trim_end_matches('s'), "0"),
        };
        Some(seconds.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?)
    };
    Ok(text.lines().filter_map(rest).collect())
}

/// Each of them is master for much longer than a lease lasts.
fn carriers(w: &World) -> Result<()> {
    let peers = [&w.two];
    let six = |vrid, vip: &str| {
        let mut r = Router::new(vrid, 100, "fe80::230").v3().advert_int("0.2").with("lease = fence");
        r.name = format!("V{vrid}");
        r.vips = vec![format!("fe80::{vrid}"), format!("{vip}/64")];
        r
    };
    let four = |vrid, vip: &str| Router::new(vrid, 100, vip).v3().advert_int("0.2").with("lease = fence");
    let routers = [
        four(51, "192.168.30.231/24"),
        four(52, "192.168.30.232/24").unicast(&w.one, &peers),
        four(53, "192.168.30.233/24").with("use_vmac = yes"),
        Router::new(54, 100, "192.168.30.234/24").auth(Some("1111")).ah().with("lease = fence"),
        six(55, "2001:db8:30::235"),
        six(56, "2001:db8:30::236").with("use_vmac = yes"),
        four(57, "192.168.30.237/24").with("virtual_ipaddress_excluded = 2001:db8:30::237/64"),
    ];
    let one = Vipd::run(&w.one, None, &routers)?;
    for r in &routers {
        one.wait_log(&format!("{}) {}", r.name, words::MASTER), ELECTION)?;
    }
    let elected = one.log().grep(words::BACKUP).len();
    let from = Instant::now();
    let vips: Vec<_> = (231..=234).chain([237]).map(|n| Ipv4Addr::new(192, 168, 30, n)).collect();
    std::thread::sleep(ms(200));
    let prober = Prober::start(&w.client, &vips)?;
    std::thread::sleep(secs(4));
    let (all, longest) = prober.nobody(from, Instant::now());
    ensure!(longest <= ms(30), "nobody answered for {longest:?}, {all:?} in all");
    let rests = rests(w)?;
    ensure!(rests.len() == 2 * routers.len(), "leases: {rests:?}");
    ensure!(one.log().grep(words::BACKUP).len() == elected, "one was backup again");
    ensure!(one.log().grep("nf_tables").is_empty(), "complaints");
    let text = nft(&w.one, &["list", "ruleset"])?;
    let dropped = text.lines().filter(|l| l.contains("counter") && !l.contains("packets 0 "));
    println!("{:?}", dropped.collect::<Vec<_>>());
    Ok(())
}

/// Unicast adverts wait in the kernel behind an entry of a neighbour that does not answer: none of them
/// leaves by the interface, and ARP has to be answered all the same.
fn no_peer(w: &World) -> Result<()> {
    let (nobody, nobody6) =
        (Ipv4Addr::new(192, 168, 30, 99), Ipv6Addr::new(0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 99));
    let (own, own6) = (w.one.addr(), Ipv6Addr::new(0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 1));
    w.one.ip(&format!("addr add {own6}/64 dev eth0 nodad"))?;
    let six = Router::new(52, 100, "2001:db8:30::230").v3().advert_int("0.1").with("lease = fence");
    let ah = Router::new(53, 100, "192.168.30.233/24").ah().with("lease = fence");
    let routers = [
        fenced(100, "0.1").unicast_between(own.into(), &[nobody.into()]),
        six.unicast_between(own6.into(), &[nobody6.into()]),
        ah.unicast_between(own.into(), &[nobody.into()]),
    ];
    let one = Vipd::run(&w.one, None, &routers)?;
    for vrid in [51, 52, 53] {
        one.wait_log(&format!("VI_{vrid}) {}", words::MASTER), ELECTION)?;
    }
    std::thread::sleep(ms(200));
    let from = Instant::now();
    let prober = Prober::start(&w.client, &[v4(VIP), Ipv4Addr::new(192, 168, 30, 233)])?;
    std::thread::sleep(secs(4));
    let (all, longest) = prober.nobody(from, Instant::now());
    ensure!(longest <= ms(30), "nobody answered for {longest:?}, {all:?} in all");
    let rests = rests(w)?;
    ensure!(rests.len() == 2 * routers.len(), "leases: {rests:?}");
    // What renews them in the kernel does not leave.
    let left = w.capture.all(from, |s| s.node == "node1" && s.advert(VRID).is_some());
    ensure!(left.is_empty(), "{} adverts left for nobody", left.len());
    Ok(())
}

/// The entry of a peer that was away has no MAC address. Its own announcement fills it, and the adverts of
/// the living master reach it in time.
fn peer_returns(w: &World) -> Result<()> {
    let run = |node: &Node, peer: &Node, priority| {
        Vipd::run(node, None, &[fenced(priority, "0.1").no_preempt().unicast(node, &[peer])])
    };
    let one = run(&w.one, &w.two, 200)?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = run(&w.two, &w.one, 100)?;
    two.wait_log(words::BACKUP, ELECTION)?;
    for _ in 0..3 {
        w.one.cut()?;
        let mark = one.log().mark();
        w.watcher.wait_holder(VIP, "node2", secs(2))?;
        w.two.ip(&format!("neigh del {} dev eth0", w.one.addr()))?;
        // Much longer than a lease.
        std::thread::sleep(ms(1500));
        let prober = prober(w)?;
        let from = Instant::now();
        w.one.mend()?;
        one.log().wait_from(mark, words::BACKUP, secs(2))?;
        std::thread::sleep(secs(2));
        ensure!(one.log().wait_from(mark, words::MASTER, ms(1)).is_err(), "it took a living master's place");
        always_one(&prober, from)?;
    }
    Ok(())
}

/// Killed right behind priority 0, which makes the backup take over long before N x I.
fn killed_in_hand_over(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(100, "2")])?;
    one.wait_log(words::MASTER, ELECTION * 2)?;
    let two = Vipd::run(&w.two, None, &[fenced(50, "2")])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let prober = prober(w)?;
    let from = w.capture.wait_advert("node1", VRID, Instant::now(), secs(3))?.at;
    one.terminate();
    let zero = |s: &Seen| s.node == "node1" && s.advert(VRID).is_some_and(|a| a.priority == 0);
    w.capture.wait("priority 0", from, secs(1), zero)?;
    one.kill();
    two.wait_log(words::MASTER, secs(3))?;
    std::thread::sleep(secs(2));
    at_most_one(&prober, from, Instant::now())?;
    Ok(())
}

/// Tables of this socket cannot be removed by others (since Linux 6.9).
fn flushed(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(100, "0.1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    nft(&w.one, &["add", "table", "inet", "other"])?;
    nft(&w.one, &["flush", "ruleset"])?;
    let tables = || nft(&w.one, &["list", "tables"]);
    wait_until("the tables to be there", ms(500), || tables().is_ok_and(|t| t.matches("vipd").count() == 2))?;
    ensure!(!tables()?.contains("other"), "flush ruleset did nothing");
    let prober = prober(w)?;
    let from = Instant::now();
    std::thread::sleep(secs(1));
    always_one(&prober, from)?;
    one.kill();
    one.wait_exit(secs(1))?;
    std::thread::sleep(ms(320));
    let from = Instant::now();
    std::thread::sleep(ms(500));
    let (_, nobody) = prober.nobody(from, Instant::now());
    ensure!(nobody >= ms(450), "it answers after it was killed");
    Ok(())
}

/// What an older kernel has: a table without owner is there already, and stays so.
fn mended(w: &World) -> Result<()> {
    nft(&w.one, &["add", "table", "inet", "vipd"])?;
    nft(&w.one, &["add", "table", "netdev", "vipd"])?;
    let one = Vipd::run(&w.one, None, &[fenced(100, "0.1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    std::thread::sleep(ms(200));
    let prober = prober(w)?;
    let from = Instant::now();
    for round in 1..=5 {
        nft(&w.one, &["flush", "ruleset"])?;
        one.wait_log(&format!("removed the tables of the leases ({round} times so far)"), ms(500))?;
        let tables = nft(&w.one, &["list", "tables"])?;
        ensure!(tables.matches("vipd").count() == 2, "{tables}");
        ensure!(rests(w)?.len() == 2, "no lease");
        std::thread::sleep(ms(300));
    }
    always_one(&prober, from)?;
    // One table alone, and by name.
    nft(&w.one, &["delete", "table", "netdev", "vipd"])?;
    one.wait_log("(6 times so far)", ms(500))?;
    one.kill();
    one.wait_exit(secs(1))?;
    std::thread::sleep(ms(320));
    let from = Instant::now();
    std::thread::sleep(ms(500));
    let (_, nobody) = prober.nobody(from, Instant::now());
    ensure!(nobody >= ms(450), "it answers after it was killed");
    Ok(())
}

/// A backup that is a router passes on what is for the VIP.
fn forwards(w: &World) -> Result<()> {
    w.two.sysctl("net.ipv4.ip_forward", "1")?;
    w.two.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
    let one = Vipd::run(&w.one, None, &[fenced(200, "0.1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[fenced(100, "0.1")])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    std::thread::sleep(ms(300));
    let before = nft(&w.two, &["list", "ruleset"])?;
    ensure!(before.contains(VIP), "no fence: {before}");
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.two])?;
    let from = Instant::now();
    std::thread::sleep(secs(1));
    let forwarded = w.two.output(Command::new("sh").args(["-c", "grep '^Ip:' /proc/net/snmp | tail -1"]))?;
    let text = String::from_utf8_lossy(&forwarded.stdout).into_owned();
    let count: u64 = text.split(' ').nth(6).and_then(|n| n.parse().ok()).unwrap_or(0);
    ensure!(count >= 50, "forwarded {count}: {text}");
    at_most_one(&prober, from, Instant::now())?;
    Ok(())
}

/// Addresses come and go, the interval changes in both directions, a router moves to the address lease and
/// back.
fn reloaded(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(100, "0.2")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    std::thread::sleep(ms(200));
    let prober = prober(w)?;
    let from = Instant::now();
    let more = || fenced(100, "0.2").with("virtual_ipaddress_excluded = 192.168.30.231/24");
    let configs: [(Router, u64, u64); 6] = [
        (more(), 580, 360),
        (fenced(100, "1"), 2990, 1900),
        (fenced(100, "0.1"), 290, 180),
        (router(100).v3().advert_int("0.1").with("lease = address"), 0, 0),
        (fenced(100, "0.1"), 290, 180),
        (more(), 580, 360),
    ];
    for (r, most, least) in configs {
        w.one.write("vipd.ini", &Vipd::ini(&w.one, None, &[r]))?;
        let out = one.cli(&["reload"])?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
        w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
        let rests = rests(w)?;
        ensure!(rests.len() == if most == 0 { 0 } else { 2 }, "{rests:?}");
        ensure!(rests.iter().all(|ms| (least..=most).contains(ms)), "{rests:?} is not {least} to {most}");
    }
    always_one(&prober, from)?;
    ensure!(one.log().grep(words::MASTER).len() == 1, "elected anew");
    // The new address is behind the fence, too.
    let prober = Prober::start(&w.client, &[Ipv4Addr::new(192, 168, 30, 231)])?;
    one.kill();
    one.wait_exit(secs(1))?;
    std::thread::sleep(ms(620));
    let from = Instant::now();
    std::thread::sleep(ms(300));
    ensure!(prober.answers(from, Instant::now()).0 == 0, "it answers after it was killed");
    Ok(())
}

/// It goes, comes back with another index, is renamed and gets its name back.
fn interface(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[fenced(100, "0.1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    for round in ["removed", "renamed"] {
        let mark = one.log().mark();
        match round {
            "removed" => {
                w.one.ip("link del eth0")?;
                one.log().wait_from(mark, "FAULT", secs(2))?;
                w.one.plug()?;
            }
            _ => {
                w.one.ip("link set eth0 down\nlink set eth0 name ethx")?;
                one.log().wait_from(mark, "FAULT", secs(2))?;
                w.one.ip("link set ethx name eth0\nlink set eth0 up")?;
            }
        }
        one.log().wait_from(mark, words::MASTER, ELECTION)?;
        let vips = [v4(VIP)];
        let prober = Prober::start_tcp(&w.client, &vips, &[&w.one])?;
        std::thread::sleep(ms(100));
        let from = Instant::now();
        std::thread::sleep(ms(800));
        ensure!(at_most_one(&prober, from, Instant::now())? <= ms(30), "{round}");
        ensure!(rests(w)?.len() == 2, "{round}: no lease");
    }
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one])?;
    one.kill();
    one.wait_exit(secs(1))?;
    std::thread::sleep(ms(320));
    let from = Instant::now();
    std::thread::sleep(ms(300));
    ensure!(prober.answers(from, Instant::now()).0 == 0, "it answers after it was killed");
    Ok(())
}

/// With any lease: who asks for the MAC is told, and nobody can connect.
fn accepts_not(w: &World) -> Result<()> {
    for lease in ["fence", "address"] {
        let r = router(100).v3().with(&format!("lease = {lease}\naccept = no"));
        let one = Vipd::run(&w.one, None, &[r])?;
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
        one.wait_log("Sending gratuitous ARPs", secs(1))?;
        let prober = Prober::start(&w.client, &[v4(VIP)])?;
        let syn = Prober::start_tcp(&w.client, &[w.one.addr()], &[&w.one])?;
        let from = Instant::now();
        std::thread::sleep(ms(300));
        always_one(&prober, from)?;
        always_one(&syn, from)?;
        let connects = || {
            let text =
                "import socket,sys; s = socket.socket(); s.settimeout(0.3); s.connect((sys.argv[1], 9))";
            let out = w.client.output(Command::new("python3").args(["-c", text, VIP]));
            out.map(|out| String::from_utf8_lossy(&out.stderr).into_owned())
        };
        let text = connects()?;
        ensure!(text.contains("timed out"), "{lease}: {text}");
        // A reload lets it accept.
        let r = router(100).v3().with(&format!("lease = {lease}"));
        w.one.write("vipd.ini", &Vipd::ini(&w.one, None, &[r]))?;
        ensure!(one.cli(&["reload"])?.status.success(), "{lease}: not reloaded");
        let text = connects()?;
        ensure!(text.contains("refused"), "{lease}: {text}");
        one.terminate();
        one.wait_exit(secs(9))?;
    }
    Ok(())
}

/// A kernel without nf_tables.
fn falls_back(w: &World) -> Result<()> {
    let start = |lease: &str| -> Result<Proc> {
        let r = router(100).v3().with(lease);
        let path = w.one.write("vipd.ini", &Vipd::ini(&w.one, None, &[r]))?;
        let mut cmd = Command::new(vipd_path()?);
        cmd.arg("-c").arg(path);
        without_nfnetlink(&mut cmd);
        Proc::start(&w.one, "vipd", cmd)
    };
    let insists = start("lease = fence")?;
    insists.wait_log("lease = fence or accept = no: nf_tables: Protocol not supported", secs(2))?;
    let status = insists.wait_exit(secs(2))?;
    ensure!(status.code() == Some(1), "{status}");
    let auto = start("lease = auto")?;
    auto.wait_log("no leases in milliseconds (nf_tables: Protocol not supported)", secs(2))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    auto.kill();
    let killed = Instant::now();
    let gone = w.watcher.wait_change(VIP, "node1", false, killed, secs(5))?;
    ensure!(gone - killed < secs(3), "the address went {:?} after the kill", gone - killed);
    Ok(())
}

/// Nothing is left of it, and what others have is.
fn stopped(w: &World) -> Result<()> {
    nft(&w.one, &["add", "table", "inet", "other"])?;
    let one = Vipd::run(&w.one, None, &[fenced(100, "0.1")])?;
    one.wait_log(words::MASTER, ELECTION)?;
    one.terminate();
    one.wait_exit(secs(9))?;
    only_others(w)?;
    // One that was killed leaves them; with another lease the next one removes them.
    let two = Vipd::run(&w.one, None, &[fenced(100, "0.1")])?;
    two.wait_log(words::MASTER, ELECTION)?;
    two.kill();
    two.wait_exit(secs(1))?;
    let tables = nft(&w.one, &["list", "tables"])?;
    ensure!(tables.matches("vipd").count() == 2, "{tables}");
    let three = Vipd::run(&w.one, None, &[router(100).v3().with("lease = address")])?;
    w.watcher.wait_holder(VIP, "node1", secs(15))?;
    three.wait_log(words::MASTER, ELECTION)?;
    only_others(w)?;
    Ok(())
}

fn only_others(w: &World) -> Result<()> {
    let tables = nft(&w.one, &["list", "tables"])?;
    ensure!(tables.trim() == "table inet other", "{tables}");
    Ok(())
}
