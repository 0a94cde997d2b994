//! Another configuration, and handing over on command, in combination with everything else.

use super::*;
use std::path::Path;

pub const TESTS: &[(&str, Test)] = &[
    ("change_of_key", |w| changes(w, &|r| r.ah(), &|r| r.ah().auth(Some("other")))),
    ("change_to_unicast", |w| {
        let (one, two) = (w.one.clone(), w.two.clone());
        let unicast = move |r: Router| {
            let (here, there) = if r.priority == 100 { (&one, &two) } else { (&two, &one) };
            r.unicast(here, &[there])
        };
        changes(w, &|r| r, &unicast)
    }),
    ("change_to_a_virtual_mac", |w| changes(w, &|r| r, &|r| r.with("use_vmac = yes"))),
    ("change_to_version_3", |w| changes(w, &|r| r, &|r| r.v3())),
    ("change_of_version_with_a_virtual_mac", |w| {
        changes(w, &|r| r.with("use_vmac = yes"), &|r| r.v3().with("use_vmac = yes"))
    }),
    ("change_to_an_authentication_header", |w| changes(w, &|r| r, &|r| r.ah())),
    ("change_of_interval", |w| changes(w, &|r| r, &|r| r.advert_int("2"))),
    ("change_of_interval_in_version_3", |w| {
        changes(w, &|r| r.v3().advert_int("0.3"), &|r| r.v3().advert_int("3"))
    }),
    ("change_of_interval_below_keepalived", change_beside_keepalived),
    ("change_of_priority_moves", crosses),
    ("change_names_an_interface_that_is_there", interfaces),
    ("change_during_a_fault", during_a_fault),
    ("change_three_hundred_times_leaks_nothing", leaks_nothing),
    ("change_by_a_file_that_is_none", no_file),
    ("change_to_a_haproxy_that_does_not_start", cannot_start),
    ("change_of_haproxy_twice_at_once", twice_at_once),
    ("change_of_group", group),
    ("resigns_a_group", |w| resigns_group(w, Kind::Vipd)),
    ("resigns_a_group_to_keepalived", |w| resigns_group(w, Kind::Keepalived)),
    ("resigns_twice_and_as_a_backup", resigns_twice),
    ("resigns_under_load", resigns_under_load),
    ("resigns_with_a_virtual_mac", |w| resigns_with(w, "use_vmac = yes")),
    ("resigns_without_leases", |w| resigns_with(w, "lease = off")),
    ("change_of_addresses_of_ipv6", ipv6),
];

const GROUP: &str = "[group G]\nmembers = VI_51, VI_52\n";
const SECOND: &str = "192.168.30.231";

fn ask(vipd: &Vipd, args: &[&str]) -> Result<(i32, String)> {
    let out = vipd.cli(args)?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    Ok((out.status.code().unwrap_or(-1), text))
}

fn reload(vipd: &Vipd, ini: &str) -> Result<String> {
    std::fs::write(vipd.ini_path(), ini)?;
    let (status, text) = ask(vipd, &["reload"])?;
    ensure!(status == 0, "vipd reload ended with {status}: {text}");
    Ok(text)
}

fn pair(w: &World, routers: impl Fn(u8) -> Vec<Router>) -> Result<(Vipd, Vipd)> {
    let one = Vipd::run(&w.one, None, &routers(100))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    let two = Vipd::run(&w.two, None, &routers(50))?;
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(4))?;
    Ok((one, two))
}

fn stays(w: &World, from: Instant, what: &str) -> Result<()> {
    let gap = w.watcher.longest_gap(VIP, from);
    let timeline = w.watcher.timeline(VIP);
    w.holds(VIP, "node1")?;
    ensure!(gap < w.bound(ms(100), from), "{what}: nobody had the address for {gap:?}: {timeline:?}");
    ensure!(timeline.iter().all(|c| c.node == "node1"), "{what}: it moved: {timeline:?}");
    Ok(())
}

/// On both nodes, the backup first, there and back: the address stays where it is.
fn changes(w: &World, before: &dyn Fn(Router) -> Router, after: &dyn Fn(Router) -> Router) -> Result<()> {
    let (one, two) = pair(w, |p| vec![before(router(p))])?;
    for (what, kind) in [("there", after), ("back", before)] {
        let from = Instant::now();
        reload(&two, &Vipd::ini(&w.two, None, &[kind(router(50))]))?;
        reload(&one, &Vipd::ini(&w.one, None, &[kind(router(100))]))?;
        std::thread::sleep(secs(8));
        stays(w, from, what)?;
        for (vipd, expected) in [(&one, 0), (&two, 3)] {
            let (status, text) = ask(vipd, &["status"])?;
            ensure!(status == expected, "{what}: {status}: {text}");
        }
    }
    Ok(())
}

/// A master of version 3 tells its interval, so keepalived follows.
fn change_beside_keepalived(w: &World) -> Result<()> {
    let of = |p: u8, i: &str| router(p).v3().advert_int(i);
    let one = Vipd::run(&w.one, None, &[of(100, "1")])?;
    w.node1_is_master()?;
    let two = Daemon::start(Kind::Keepalived, &w.two, &[of(50, "1")])?;
    two.wait_log(words::BACKUP, secs(3))?;
    let from = Instant::now();
    for interval in ["3", "0.5", "5", "1"] {
        reload(&one, &Vipd::ini(&w.one, None, &[of(100, interval)]))?;
        std::thread::sleep(ms(6300));
    }
    stays(w, from, "intervals")
}

fn crosses(w: &World) -> Result<()> {
    let (one, two) = pair(w, |p| vec![router(p)])?;
    for (priority, node) in [(40, "node2"), (100, "node1")] {
        let from = Instant::now();
        reload(&one, &Vipd::ini(&w.one, None, &[router(priority)]))?;
        w.watcher.wait_holder(VIP, node, secs(6))?;
        std::thread::sleep(ms(500));
        let gap = w.watcher.longest_gap(VIP, from);
        ensure!(gap < w.bound(ms(100), from), "nobody had the address for {gap:?}");
    }
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&one, &two])
}

fn interfaces(w: &World) -> Result<()> {
    w.lan.second()?;
    let (one, _two) = pair(w, |p| vec![router(p)])?;
    let from = Instant::now();
    let mut with_vip = router(100);
    with_vip.vips.push("192.168.31.230/24 dev eth1".to_owned());
    let tracking = router(100).with("track_interface = eth1");
    let weighing = router(100).with("track_interface = eth1 weight 60\ntrack_interface = lo weight -60");
    for r in [tracking, weighing, router(100), router(100).with("track_interface = lo"), router(100)] {
        reload(&one, &Vipd::ini(&w.one, None, &[r]))?;
        std::thread::sleep(ms(700));
    }
    stays(w, from, "tracking")?;
    reload(&one, &Vipd::ini(&w.one, None, &[with_vip]))?;
    w.watcher.wait_holder("192.168.31.230", "node1", secs(2))?;
    reload(&one, &Vipd::ini(&w.one, None, &[router(100)]))?;
    w.watcher.wait_holders("192.168.31.230", &[], secs(1))?;
    std::thread::sleep(secs(2));
    stays(w, from, "a device")?;
    ensure!(one.log().grep("FAULT").is_empty(), "{:?}", one.log().grep("FAULT"));
    Ok(())
}

fn during_a_fault(w: &World) -> Result<()> {
    let (one, two) = pair(w, |p| vec![router(p)])?;
    let mark = one.log().mark();
    w.one.ip("link set eth0 down")?;
    one.log().wait_from(mark, "FAULT", secs(3))?;
    w.watcher.wait_holder(VIP, "node2", secs(5))?;
    let text = reload(&one, &Vipd::ini(&w.one, None, &[Router { name: "WEB".into(), ..router(40) }]))?;
    ensure!(text.contains("WEB: changed"), "{text}");
    let mark = one.log().mark();
    w.one.ip("link set eth0 up")?;
    one.log().wait_from(mark, "(WEB) Entering BACKUP STATE", secs(5))?;
    std::thread::sleep(secs(4));
    w.holds(VIP, "node2")?;
    let from = Instant::now();
    reload(&one, &Vipd::ini(&w.one, None, &[router(100)]))?;
    w.watcher.wait_holder(VIP, "node1", secs(6))?;
    std::thread::sleep(ms(300));
    ensure!(w.watcher.longest_gap(VIP, from) < w.bound(ms(100), from), "{:?}", w.watcher.timeline(VIP));
    at_peace(&[&two])
}

/// Descriptors, and resident memory in KiB.
fn uses(vipd: &Vipd) -> Result<(usize, usize)> {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", vipd.pid()))?.count();
    let status = std::fs::read_to_string(format!("/proc/{}/status", vipd.pid()))?;
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok((fds, rss.trim().trim_end_matches(" kB").parse().unwrap_or(0)))
}

fn leaks_nothing(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let mut other = Router::new(53, 100, "192.168.30.233/24").with("use_vmac = yes\nvmac_xmit_base = yes");
    let inis: Vec<String> = (0..6)
        .map(|n| {
            let mut first = router(100);
            if n % 2 == 1 {
                first.vips.push(format!("{SECOND}/24"));
                first = first.with("track = gate weight -2\ntrack_interface = lo\nnotify = /bin/true");
            }
            other.name = format!("VI_{n}");
            other.unicast = (n % 3 == 1).then(|| (w.one.addr().into(), vec![w.two.addr().into()]));
            let all = if n % 3 == 2 { vec![first] } else { vec![first, other.clone()] };
            let mut ini = Vipd::ini(&w.one, Some(&cfg), &all);
            if n % 2 == 1 {
                ini += "[check gate]\ntype = ping\ntarget = 127.0.0.1\n";
            } else {
                ini = ini.replace("[haproxy]\n", "[haproxy]\nrestart_grace = 1\n");
            }
            ini
        })
        .collect();
    let one = Vipd::start(&w.one, &inis[0])?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    let mut after = Vec::new();
    for round in 0..330 {
        let text = reload(&one, &inis[round % 6])?;
        ensure!(round == 0 || !text.contains("nothing has changed"), "round {round}: {text}");
        std::thread::sleep(ms(20));
        if [29, 329].contains(&round) {
            // Whatever hands over is done.
            std::thread::sleep(secs(7));
            after.push(uses(&one)?);
        }
    }
    let (early, late) = (after[0], after[1]);
    println!("descriptors and KiB after 30 reloads {early:?}, after 330 {late:?}");
    ensure!(late.0 <= early.0, "descriptors: {early:?}, then {late:?}");
    ensure!(late.1 <= early.1 + 128, "memory: {early:?}, then {late:?}");
    w.stayed(VIP)?;
    Ok(())
}

fn no_file(w: &World) -> Result<()> {
    let good = Vipd::ini(&w.one, None, &[router(100)]);
    // What is behind the path to the control socket is a comment.
    let good = good.replace("/control\n", "/control # where it listens\n");
    let one = Vipd::start(&w.one, &good)?;
    w.node1_is_master()?;
    let (status, text) = ask(&one, &["status"])?;
    ensure!(status == 0, "{status}: {text}");
    let bad = good.replace("priority = 100", "priority = 1000");
    std::fs::write(one.ini_path(), &bad)?;
    let (status, text) = ask(&one, &["reload"])?;
    let line = bad.lines().position(|l| l == "priority = 1000").map_or(0, |n| n + 1);
    ensure!(status == 2 && text.contains(&format!("vipd.ini:{line}: ")), "{status}: {text}");
    // A pipe that nobody writes to, a directory, nothing.
    let path = one.ini_path().to_owned();
    let made = |path: &Path, what: u8| match what {
        0 => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).map_err(std::io::Error::from),
        1 => std::fs::create_dir(path),
        _ => Ok(()),
    };
    let _ = std::fs::remove_file(&path);
    for what in 0..3 {
        made(&path, what)?;
        let mark = one.log().mark();
        one.signal(Signal::SIGHUP);
        one.log().wait_from(mark, "nothing was changed", secs(1))?;
        w.capture.wait_advert("node1", VRID, Instant::now(), ms(1100))?;
        let _ = if what == 1 { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
    }
    w.stayed(VIP)?;
    Ok(())
}

/// Its configuration is valid, but the port is taken: the old one goes on, and is asked as before.
fn cannot_start(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let text = std::fs::read_to_string(&cfg)?;
    let other = w.one.write("other.cfg", &text.replace("bind ", "bind 127.0.0.1:7777\n    bind "))?;
    let ini = |cfg: &Path| patient(&Vipd::ini(&w.one, Some(cfg), &[quick(100)]));
    let one = Vipd::start(&w.one, &ini(&cfg))?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    let client = w.client()?;
    client.wait_answer(secs(3))?;
    let begin = Instant::now();
    let listener = w.one.enter(|| std::net::TcpListener::bind("127.0.0.1:7777"))?;
    for _ in 0..2 {
        std::fs::write(one.ini_path(), ini(&other))?;
        let (status, text) = ask(&one, &["reload"])?;
        ensure!(status == 1 && text.contains("refuses its configuration"), "{status}: {text}");
        // Asked four times over: the one that stayed answers for itself.
        std::thread::sleep(secs(5));
        let (status, text) = ask(&one, &["status"])?;
        ensure!(status == 0, "{status}: {text}");
    }
    ensure!(one.log().grep("] died").is_empty(), "{:?}", one.log().grep("died"));
    drop(listener);
    reload(&one, &ini(&other))?;
    std::thread::sleep(secs(4));
    let report = client.report(begin, Instant::now())?;
    println!("{report}");
    ensure!(report.failures() == 0, "{report}");
    w.stayed(VIP)?;
    ensure!(w.one.enter(|| std::net::TcpStream::connect("127.0.0.1:7777")).is_ok(), "the new one listens");
    Ok(())
}

/// The second file is read when it is known what came of the first: it is the one that holds in the end.
fn twice_at_once(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let ini = |n: u32| {
        patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)]))
            .replace("[haproxy]\n", &format!("[haproxy]\nargs = -n {n}\n"))
    };
    let one = Vipd::start(&w.one, &ini(1500))?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    let client = w.client()?;
    client.wait_answer(secs(3))?;
    let begin = Instant::now();
    for round in 0..4u32 {
        let (first, second) = (1600 + round, if round % 2 == 0 { 1700 + round } else { 1500 });
        std::fs::write(one.ini_path(), ini(first))?;
        let mark = one.log().mark();
        one.signal(Signal::SIGHUP);
        one.log().wait_from(mark, "another command line", secs(1))?;
        reload(&one, &ini(second))?;
        let (_, text) = ask(&one, &["status", "--json"])?;
        let pid = text.split_once("\"pid\":").map(|(_, rest)| rest.trim_start());
        let pid = pid.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()).unwrap_or("");
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        ensure!(command.contains(&format!(" {second} ")), "{second}: {pid} {command}");
        // And it knows that.
        let (_, text) = ask(&one, &["reload"])?;
        ensure!(text.contains("nothing has changed"), "{text}");
    }
    std::thread::sleep(secs(2));
    let report = client.report(begin, Instant::now())?;
    println!("{report}");
    ensure!(report.failures() == 0, "{report}");
    Ok(())
}

fn pair_of(p: u8) -> Vec<Router> {
    vec![router(p), Router::new(52, p, &format!("{SECOND}/24"))]
}

/// Two that are master on different nodes become a group: then they are on one.
fn group(w: &World) -> Result<()> {
    let apart = |p: u8| vec![router(p), Router::new(52, 150 - p, &format!("{SECOND}/24"))];
    let one = Vipd::run(&w.one, None, &apart(100))?;
    let two = Vipd::run(&w.two, None, &apart(50))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.watcher.wait_holder(SECOND, "node2", ELECTION)?;
    let from = Instant::now();
    reload(&two, &(Vipd::ini(&w.two, None, &pair_of(50)) + GROUP))?;
    reload(&one, &(Vipd::ini(&w.one, None, &pair_of(100)) + GROUP))?;
    let start = Instant::now();
    loop {
        std::thread::sleep(secs(1));
        let (a, b) = (w.watcher.holder(VIP), w.watcher.holder(SECOND));
        if a.is_some() && a == b {
            break;
        }
        ensure!(start.elapsed() < w.bound(secs(15), start), "{a:?} {b:?}");
    }
    let gap = w.watcher.longest_gap(SECOND, from).max(w.watcher.longest_gap(VIP, from));
    ensure!(gap < w.bound(ms(100), from), "nobody had an address for {gap:?}");
    // Nobody moves when one leaves it.
    let before = (w.watcher.timeline(VIP).len(), w.watcher.timeline(SECOND).len());
    reload(&one, &Vipd::ini(&w.one, None, &pair_of(100)))?;
    reload(&two, &Vipd::ini(&w.two, None, &pair_of(50)))?;
    std::thread::sleep(secs(4));
    let after = (w.watcher.timeline(VIP).len(), w.watcher.timeline(SECOND).len());
    let master = w.watcher.holder(VIP);
    ensure!(before == after || master.as_deref() == Some("node1"), "{master:?}");
    at_peace(&[&one, &two])
}

fn resigns_group(w: &World, peer: Kind) -> Result<()> {
    let one = Vipd::start(&w.one, &(Vipd::ini(&w.one, None, &pair_of(100)) + GROUP))?;
    w.node1_is_master()?;
    let two = match peer {
        Kind::Vipd => Daemon::Vipd(Vipd::start(&w.two, &(Vipd::ini(&w.two, None, &pair_of(50)) + GROUP))?),
        Kind::Keepalived => {
            let group = "vrrp_sync_group G {\n group {\n  VI_51\n  VI_52\n }\n}\n";
            let conf = Keepalived::conf(&w.two, &pair_of(50)) + group;
            Daemon::Keepalived(Keepalived::start(&w.two, &conf)?)
        }
    };
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", 52, Instant::now(), secs(2))?;
    for name in ["G", "VI_52"] {
        let from = Instant::now();
        let (status, text) = ask(&one, &["resign", name, "--for", "5"])?;
        ensure!(status == 0, "{name}: {status} {text}");
        for vip in [VIP, SECOND] {
            w.watcher.wait_holder(vip, "node2", secs(3))?;
            let gap = w.watcher.longest_gap(vip, from);
            ensure!(gap < w.bound(ms(100), from), "{name}: nobody had {vip} for {gap:?}");
        }
        let (_, status) = ask(&one, &["status"])?;
        ensure!(status.matches("does not preempt for").count() == 2, "{status}");
        for vip in [VIP, SECOND] {
            w.watcher.wait_holder(vip, "node1", secs(20))?;
        }
        ensure!(from.elapsed() > secs(5), "{:?}", from.elapsed());
        std::thread::sleep(secs(2));
    }
    at_peace(&[&one, &two])
}

fn resigns_twice(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    // Nobody is there: the first waits, the second is told so.
    let (first, second) = std::thread::scope(|s| {
        let first = s.spawn(|| ask(&one, &["resign"]));
        std::thread::sleep(ms(400));
        let second = ask(&one, &["resign"]);
        (first.join(), second)
    });
    let (first, second) = (first.map_err(|_| Error("a thread panicked".into()))??, second?);
    ensure!(first.0 == 1 && first.1.contains("no successor within"), "{first:?}");
    ensure!(second.0 == 1 && second.1.contains("under way already"), "{second:?}");
    w.stayed(VIP)?;
    let two = Vipd::run(&w.two, None, &[router(150)])?;
    w.watcher.wait_holder(VIP, "node2", secs(6))?;
    // A backup that resigns does not preempt, and takes over from the dead all the same.
    let (status, text) = ask(&one, &["resign", "--for", "600"])?;
    ensure!(status == 0 && text.contains("not master"), "{status} {text}");
    reload(&two, &Vipd::ini(&w.two, None, &[router(50)]))?;
    std::thread::sleep(secs(6));
    w.holds(VIP, "node2")?;
    // A reload does not make it forget that.
    reload(&one, &Vipd::ini(&w.one, None, &[router(120)]))?;
    std::thread::sleep(secs(5));
    w.holds(VIP, "node2")?;
    two.kill();
    w.watcher.wait_holder(VIP, "node1", secs(5))?;
    w.watcher.no_overlap(VIP, ms(300))
}

fn resigns_with(w: &World, more: &str) -> Result<()> {
    let (one, two) = pair(w, |p| vec![router(p).with(more)])?;
    let from = Instant::now();
    let (status, text) = ask(&one, &["resign", "--for", "4"])?;
    ensure!(status == 0, "{status} {text}");
    w.watcher.wait_holders(VIP, &["node2"], secs(2))?;
    w.watcher.wait_holders(VIP, &["node1"], secs(12))?;
    ensure!(from.elapsed() > secs(4), "{:?}", from.elapsed());
    let gap = w.watcher.longest_gap(VIP, from);
    ensure!(
        gap < w.bound(ms(100), from),
        "nobody had the address for {gap:?}: {:?}",
        w.watcher.timeline(VIP)
    );
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&one, &two])
}

fn ipv6(w: &World) -> Result<()> {
    let all = ["fe80::230", "2001:db8:30::230/64", "2001:db8:30::231/64", "2001:db8:31::230/64"];
    let of = |p: u8, vips: &[&str]| {
        let mut router = Router::new(VRID, p, vips[0]).v3();
        router.vips.extend(vips[1..].iter().map(|v| (*v).to_owned()));
        vec![router]
    };
    let one = Vipd::run(&w.one, None, &of(100, &all[..2]))?;
    w.watcher.wait_holder("2001:db8:30::230", "node1", ELECTION)?;
    let two = Vipd::run(&w.two, None, &of(50, &all[..2]))?;
    two.wait_log(words::BACKUP, secs(3))?;
    let longer = [all[0], "2001:db8:30::230/128", "2001:db8:30::231/80"];
    for vips in [&all[..4], &all[..3], &longer[..], &all[..2], &all[..4]] {
        reload(&two, &Vipd::ini(&w.two, None, &of(50, vips)))?;
        reload(&one, &Vipd::ini(&w.one, None, &of(100, vips)))?;
        std::thread::sleep(ms(1500));
        for vip in all {
            let (addr, _) = vip.split_once('/').unwrap_or((vip, ""));
            let wanted = vips.iter().any(|v| v.split('/').next() == Some(addr));
            let holder = w.watcher.holder(addr);
            ensure!(holder.as_deref() == wanted.then_some("node1"), "{addr} of {vips:?}: {holder:?}");
        }
    }
    w.stayed("fe80::230")?;
    let from = Instant::now();
    let (status, text) = ask(&one, &["resign", "--for", "60"])?;
    ensure!(status == 0, "{status} {text}");
    for vip in ["2001:db8:30::230", "2001:db8:31::230"] {
        w.watcher.wait_holder(vip, "node2", secs(2))?;
        let gap = w.watcher.longest_gap(vip, from);
        ensure!(gap < w.bound(ms(150), from), "nobody had {vip} for {gap:?}");
    }
    Ok(())
}

/// There and back ten times: nothing is lost but what was in flight.
fn resigns_under_load(w: &World) -> Result<()> {
    let (a, b) = (haproxy_cfg(&w.one, SERVICE)?, haproxy_cfg(&w.two, SERVICE)?);
    let one = Vipd::run(&w.one, Some(&a), &[router(100).no_preempt()])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, Some(&b), &[router(50).no_preempt()])?;
    two.wait_log("held over a crash", secs(5))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let client = w.client()?;
    client.wait_answer(secs(3))?;
    let begin = Instant::now();
    for round in 0..10 {
        let (from, to) = if round % 2 == 0 { (&one, "node2") } else { (&two, "node1") };
        let (status, text) = ask(from, &["resign", "VI_51", "--for", "1"])?;
        ensure!(status == 0, "{round}: {status} {text}");
        w.watcher.wait_holder(VIP, to, secs(1))?;
        std::thread::sleep(ms(1700));
    }
    let gap = w.watcher.longest_gap(VIP, begin);
    let report = client.report(begin, Instant::now())?;
    println!("{report}, gap {gap:?}");
    ensure!(gap < w.bound(ms(100), begin), "nobody had the address for {gap:?}");
    // A connection whose request is on its way when the address moves cannot survive: one each time, at the
    // most.
    ensure!(report.failures() <= 10, "{report}");
    Ok(())
}
