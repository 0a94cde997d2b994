//! Another configuration under load, and handing over on command.

use super::*;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub const TESTS: &[(&str, Test)] = &[
    ("reloads_under_load_lose_nothing", |w| {
        let rounds = std::env::var("RELOADS").ok().and_then(|n| n.parse().ok());
        rounds_under_load(w, rounds.unwrap_or(KINDS))
    }),
    ("reloads_by_signal_and_refuses_a_broken_file", refuses_broken),
    ("reads_several_files_and_the_environment", several_files),
    ("a_renumbered_virtual_router_hands_its_address_on", renumbers),
    ("a_removed_virtual_router_hands_over", |w| removes(w, Kind::Vipd)),
    ("a_removed_virtual_router_hands_over_to_keepalived", |w| removes(w, Kind::Keepalived)),
    ("haproxy_appears_and_disappears", haproxy_comes_and_goes),
    ("an_interface_appears", interface_appears),
    ("resigns", |w| resigns(w, Kind::Vipd)),
    ("resigns_to_keepalived", |w| resigns(w, Kind::Keepalived)),
    ("resigns_only_to_a_successor", resigns_to_nobody),
];

const SECOND: &str = "192.168.30.231";
const THIRD: &str = "192.168.30.232";
const FOURTH: &str = "192.168.30.233";

/// How many kinds of changes there are.
const KINDS: usize = 17;

/// What can be changed, and how often it was.
#[derive(Default)]
struct Wish {
    values: bool,
    more: bool,
    moved: bool,
    third: bool,
    name: bool,
    args: bool,
    pass: bool,
    slow: bool,
    check: bool,
    debug: bool,
    interface: bool,
    group: bool,
    prefix: bool,
}

impl Wish {
    fn ini(&self, node: &Node, priority: u8, haproxy: Option<&Path>) -> String {
        let pass = if self.pass { "2222" } else { "1111" };
        let mut first = Router::new(51, priority, VIP_LEN).auth(Some(pass));
        let mut second = Router::new(52, priority, &format!("{SECOND}/24"));
        if self.slow {
            (first.advert_int, second.advert_int) = ("2".to_owned(), "2".to_owned());
        }
        if self.more {
            first.vips.push(format!("{THIRD}/24"));
        }
        if self.moved {
            second.vips.push(format!("{FOURTH}/24"));
        } else {
            first.vips.push(format!("{FOURTH}/24"));
        }
        if self.name {
            second.name = "WEB".to_owned();
        }
        if self.values {
            first = first.with("garp_master_delay = 3\ngarp_master_refresh = 30\nhandover_timeout = 2");
            first.priority += 1;
            second.preempt = false;
        }
        if self.check {
            first = first.with("track = gate weight -2");
        }
        if self.interface {
            // vipd has to ask the kernel what that is.
            first = first.with("track_interface = lo");
        }
        if self.prefix {
            second.vips[0] = format!("{SECOND}/32");
        }
        let group = format!("[group G]\nmembers = VI_51, {}\n", second.name);
        let mut all = vec![first, second];
        if self.third {
            all.insert(0, Router::new(53, priority, "192.168.30.234/24"));
        }
        let mut ini = Vipd::ini(node, haproxy, &all);
        if self.args {
            ini = ini.replace("[haproxy]\n", "[haproxy]\nargs = -n 1500\n");
        }
        ini = patient(&ini.replace("[haproxy]\n", "[haproxy]\ncrash_limit = 1000\n"));
        if self.check {
            ini += "[check gate]\ntype = ping\ntarget = 127.0.0.1\n";
        }
        if self.group {
            ini += &group;
        }
        if self.debug {
            ini = ini.replace("log = stderr\n", "log = stderr\nlog_level = debug\n");
        }
        ini
    }

    /// The change of that kind; whether the other node has to follow.
    fn change(&mut self, kind: usize) -> bool {
        let (what, both) = match kind {
            0 => (&mut self.values, false),
            1 => (&mut self.more, true),
            2 => (&mut self.third, false),
            3 => (&mut self.name, false),
            4 => (&mut self.moved, true),
            5 => (&mut self.pass, true),
            6 => (&mut self.slow, true),
            7 => (&mut self.check, false),
            8 => (&mut self.debug, false),
            14 => (&mut self.interface, false),
            15 => (&mut self.group, false),
            16 => (&mut self.prefix, false),
            _ => (&mut self.args, false),
        };
        *what = !*what;
        both
    }
}

/// `vipd reload` with this configuration: exit status and text.
fn reload(vipd: &Vipd, ini: &str) -> Result<(i32, String)> {
    std::fs::write(vipd.ini_path(), ini)?;
    ask(vipd, &["reload"])
}

fn ask(vipd: &Vipd, args: &[&str]) -> Result<(i32, String)> {
    let out = vipd.cli(args)?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    Ok((out.status.code().unwrap_or(-1), text))
}

/// The same, and it must be as asked for.
fn reloaded(vipd: &Vipd, ini: &str, words: &[&str]) -> Result<String> {
    let (status, text) = reload(vipd, ini)?;
    ensure!(status == 0, "vipd reload ended with {status}: {text}");
    for word in words {
        ensure!(text.contains(word), "no {word:?} in the answer: {text}");
    }
    Ok(text)
}

/// How much later than an interval an advert came at the most; `slow` are the times at which that changed.
fn latest(w: &World, vrid: u8, from: Instant, to: Instant, slow: &[(Instant, bool)]) -> Duration {
    let all = w.capture.all(from, |s| s.node == "node1" && s.advert(vrid).is_some());
    let times: Vec<Instant> = all.iter().map(|s| s.at).filter(|t| *t <= to).collect();
    let allowed = |at: Instant| {
        // The interval that holds at the first of two adverts.
        let (_, is_slow) = slow.iter().rev().find(|(t, _)| *t <= at).copied().unwrap_or((at, false));
        if is_slow { secs(2) } else { secs(1) }
    };
    let late = times.windows(2).map(|p| (p[1] - p[0]).saturating_sub(allowed(p[0])));
    late.max().unwrap_or(secs(9))
}

fn rounds_under_load(w: &World, rounds: usize) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let good = std::fs::read_to_string(&cfg)?;
    let mut wish = Wish::default();
    let one = Vipd::start(&w.one, &wish.ini(&w.one, 100, Some(&cfg)))?;
    w.node1_is_master()?;
    w.watcher.wait_holder(SECOND, "node1", ELECTION)?;
    w.watcher.wait_holder(FOURTH, "node1", ELECTION)?;
    let two = Vipd::start(&w.two, &wish.ini(&w.two, 50, None))?;
    two.wait_log(words::BACKUP, secs(3))?;
    one.wait_log("held over a crash", secs(5))?;
    let clients: Result<Vec<Client>> =
        (0..4).map(|_| Client::start_with(&w.client, SERVICE, ms(10), secs(8))).collect();
    let clients = clients?;
    for c in &clients {
        c.wait_answer(secs(5))?;
    }
    let begin = Instant::now();
    let (mut slow, mut said) = (vec![(begin, false)], String::new());
    for round in 0..rounds {
        let kind = round % KINDS;
        let ini = |wish: &Wish| wish.ini(&w.one, 100, Some(&cfg));
        let mark = one.log().mark();
        let (status, text) = match kind {
            10 => reload(&one, &format!("{}no_such_key = 1\n", ini(&wish)))?,
            11 => {
                std::fs::write(&cfg, format!("{good}    # {round}\n"))?;
                reload(&one, &ini(&wish))?
            }
            12 => {
                std::fs::write(&cfg, format!("{good}    no_such_keyword\n"))?;
                let answer = reload(&one, &ini(&wish))?;
                std::fs::write(&cfg, &good)?;
                answer
            }
            13 => reload(&one, &ini(&wish))?,
            kind => {
                let both = wish.change(kind);
                let answer = reload(&one, &ini(&wish))?;
                if both {
                    reloaded(&two, &wish.ini(&w.two, 50, None), &[])?;
                }
                if kind == 6 {
                    slow.push((Instant::now(), wish.slow));
                }
                answer
            }
        };
        let (expected, word) = match kind {
            10 => (2, "no_such_key"),
            11 => (0, "haproxy reloaded: worker"),
            12 => (1, "refuses its configuration"),
            13 => (0, "unchanged"), // HAProxy's file is the good one again
            9 => (0, "haproxy["),
            0 | 14 => (0, "VI_51: changed"),
            15 => (0, "groups: changed"),
            _ => (0, ""),
        };
        let _ = write!(said, "-- {kind}: {text}");
        ensure!(status == expected, "reload of kind {kind} ended with {status}: {text}");
        ensure!(text.contains(word) || kind == 13, "reload of kind {kind}: no {word:?} in {text}");
        if kind == 11 || kind == 9 {
            one.log().wait_from(mark, "held over a crash", secs(5))?;
        }
        // At another phase of the interval each time.
        std::thread::sleep(ms(137));
        if kind == 4 {
            let held = w.watcher.holder(FOURTH);
            ensure!(held.as_deref() == Some("node1"), "{FOURTH} is with {held:?}");
        }
    }
    // Whatever it led to would be seen by now.
    std::thread::sleep(secs(3));
    let end = Instant::now();
    let late = [51, 52].map(|vrid| latest(w, vrid, begin, end, &slow));
    let noise = w.bound_to(Duration::ZERO, begin, end);
    println!("{rounds} reloads: adverts late by {late:?} at the most (the machine by {noise:?})");
    let mut all = Vec::new();
    for c in &clients {
        let report = c.report(begin, end)?;
        println!("{report}");
        all.push(report);
    }
    ensure!(
        late.iter().all(|l| *l < ms(10) + noise),
        "adverts were late by {late:?}, noise {noise:?}\n{said}"
    );
    ensure!(all.iter().all(|r| r.failures() == 0 && r.syn_retransmits == 0), "clients noticed\n{said}");
    for vip in [VIP, SECOND, FOURTH] {
        w.stayed(vip)?;
    }
    let taken = two.log().grep(words::MASTER).len();
    let lost = one.log().grep(words::BACKUP).len();
    ensure!(taken == 0 && lost == 2 + rounds.div_ceil(KINDS).div_ceil(2), "{taken} taken, {lost}\n{said}");
    Ok(())
}

/// What all nodes have in common, what this one has of its own, and what the container's environment has.
fn several_files(w: &World) -> Result<()> {
    let ini = Vipd::ini(&w.one, None, &[router(100).advert_int("${INTERVAL:-1}")]);
    let base = w.one.write("base.ini", &ini.replace("interface = eth0", "interface = ${LAN}"))?;
    let site = w.one.write("site.ini", &format!("[vrrp VI_51]\nvirtual_ipaddress = {THIRD}/24\n"))?;
    let command = |more: &[&str]| -> Result<std::process::Command> {
        let mut cmd = std::process::Command::new(vipd_path()?);
        cmd.args(more).arg("-c").arg(&base).arg("-c").arg(&site);
        Ok(cmd)
    };
    let run = |more: &[&str], lan: Option<&str>| -> Result<(Option<i32>, String)> {
        let mut cmd = command(more)?;
        lan.map(|lan| cmd.env("LAN", lan));
        let out = w.one.output(&mut cmd)?;
        let text = [out.stdout, out.stderr].concat();
        Ok((out.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    let (status, text) = run(&["-t"], None)?;
    ensure!(status == Some(2) && text.contains("base.ini:7: ${LAN}: the variable is not set"), "{text}");
    let (status, text) = run(&["-t"], Some("eth0"))?;
    ensure!(status == Some(0) && text.contains("site.ini: valid"), "{text}");
    let mut cmd = command(&[])?;
    cmd.env("LAN", "eth0");
    let one = Proc::start(&w.one, "vipd", cmd)?;
    w.watcher.wait_holder(THIRD, "node1", ELECTION)?;
    w.watcher.wait_holders(VIP, &[], secs(1))?;
    // Another list in the later file, and a key that the earlier one has; the daemon's own environment.
    std::fs::write(&site, format!("[vrrp VI_51]\npriority = 120\nvirtual_ipaddress = {FOURTH}/24\n"))?;
    let (status, text) = run(&["reload"], None)?;
    let change = format!("VI_51: changed: priority 100 -> 120; -{THIRD}/24; +{FOURTH}/24\n");
    ensure!(status == Some(0) && text == change, "{status:?} {text}");
    w.watcher.wait_holder(FOURTH, "node1", secs(3))?;
    w.watcher.wait_holders(THIRD, &[], secs(3))?;
    std::fs::write(&site, "[vrrp VI_51]\npriority = ${PRIORITY}\n")?;
    let (status, text) = run(&["reload"], Some("eth0"))?;
    ensure!(status == Some(2) && text.contains("site.ini:2: ${PRIORITY}: the variable is not set"), "{text}");
    // One that is gone is no reason to run with the others alone.
    std::fs::remove_file(&site)?;
    let mark = one.log().mark();
    one.signal(Signal::SIGHUP);
    one.log().wait_from(mark, "site.ini: No such file or directory", secs(2))?;
    let (status, text) = run(&["status"], None)?;
    ensure!(status == Some(2) && text.contains("site.ini: No such file"), "{text}");
    w.holds(FOURTH, "node1")
}

fn refuses_broken(w: &World) -> Result<()> {
    let good = Vipd::ini(&w.one, None, &[router(100)]);
    let one = Vipd::start(&w.one, &good)?;
    w.node1_is_master()?;
    let text = reloaded(&one, &good, &["nothing has changed"])?;
    ensure!(!text.contains("VI_51"), "{text}");
    // All errors, with their lines, to the caller and to the log; nothing is changed, and not a part of it.
    let bad = good.replace("priority = 100", "priority = 150\nadvert_int = 1.5\nno_such_key = 1");
    let (status, text) = reload(&one, &bad)?;
    ensure!(status == 2 && text.contains("nothing was changed"), "{status} {text}");
    ensure!(text.matches("vipd.ini:").count() >= 2 && text.contains("no_such_key"), "{text}");
    one.wait_log("no_such_key", secs(1))?;
    let (status, text) = reload(&one, &good.replace("/vipd/control", "/vipd/other"))?;
    ensure!(status == 5, "the caller asks at the new place: {status} {text}");
    let mark = one.log().mark();
    one.signal(Signal::SIGHUP);
    one.log().wait_from(mark, "needs a restart", secs(1))?;
    let advert = w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    ensure!(advert.advert(VRID).is_some_and(|a| a.priority == 100), "{advert}");
    // What it would change, and what it would refuse, with the line; nothing is changed by that.
    let dry = |text: &str| -> Result<(Option<i32>, String)> {
        std::fs::write(one.ini_path(), text)?;
        let out = one.cli(&["reload", "--dry-run"])?;
        Ok((out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned()))
    };
    let wish = good
        .replace("priority = 100", "priority = 80")
        .replace(VIP_LEN, "192.168.30.230/24, 192.168.30.231/24");
    let (status, text) = dry(&wish)?;
    let change = "VI_51: changed: priority 100 -> 80; +192.168.30.231/24\n";
    ensure!(status == Some(0) && text.ends_with(change), "{status:?} {text}");
    let (status, text) = dry(&good)?;
    ensure!(status == Some(0) && text.ends_with("nothing would change\n"), "{status:?} {text}");
    let (status, text) = dry(&good.replace("[global]\n", "[global]\nlock_memory = yes\n"))?;
    let why = ": another lock_memory needs a restart\n";
    ensure!(status == Some(2) && text.contains("vipd.ini:") && text.ends_with(why), "{status:?} {text}");
    // -t says so before anybody tries.
    let out = one.cli(&["-t"])?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let told = text.contains("warning: the daemon that runs would refuse a reload:\n") && text.contains(why);
    ensure!(out.status.code() == Some(0) && told, "{text}");
    ensure!(one.log().grep("VI_51: changed").is_empty(), "it was changed");
    // The same by the signal, and what it did is in the log.
    std::fs::write(one.ini_path(), good.replace("priority = 100", "priority = 150"))?;
    let mark = one.log().mark();
    one.signal(Signal::SIGHUP);
    one.log().wait_from(mark, "VI_51: changed: priority 100 -> 150", secs(1))?;
    let since = Instant::now();
    let advert = w.capture.wait_advert("node1", VRID, since, secs(2))?;
    ensure!(advert.advert(VRID).is_some_and(|a| a.priority == 150), "{advert}");
    w.stayed(VIP)?;
    // And a file that is not there.
    std::fs::remove_file(one.ini_path())?;
    let mark = one.log().mark();
    one.signal(Signal::SIGHUP);
    one.log().wait_from(mark, "nothing was changed", secs(1))?;
    Ok(())
}

/// Another number: to its peers that is another virtual router. On both nodes, one after the other.
fn renumbers(w: &World) -> Result<()> {
    let ini = |node: &Node, vrid: u8, priority: u8| {
        Vipd::ini(node, None, &[Router { name: "VI".to_owned(), ..Router::new(vrid, priority, VIP_LEN) }])
    };
    let one = Vipd::start(&w.one, &ini(&w.one, 51, 100))?;
    w.node1_is_master()?;
    let two = Vipd::start(&w.two, &ini(&w.two, 51, 50))?;
    two.wait_log(words::BACKUP, secs(3))?;
    let from = Instant::now();
    reloaded(&two, &ini(&w.two, 52, 50), &["VI: new", "VI: leaves"])?;
    // It was a backup, so nobody notices; and by itself it would become master of the new number.
    reloaded(&one, &ini(&w.one, 52, 100), &["VI: new", "VI: leaves"])?;
    w.capture.wait_advert("node1", 52, from, secs(6))?;
    std::thread::sleep(secs(5));
    w.holds(VIP, "node1")?;
    let gap = w.watcher.longest_gap(VIP, from);
    ensure!(
        gap < w.bound(ms(100), from),
        "nobody had the address for {gap:?}: {:?}",
        w.watcher.timeline(VIP)
    );
    let (_, status) = ask(&one, &["status"])?;
    ensure!(status.contains("VRID 52") && !status.contains("VRID 51"), "{status}");
    Ok(())
}

fn removes(w: &World, peer: Kind) -> Result<()> {
    let other = || Router::new(52, 100, &format!("{SECOND}/24"));
    let one = Vipd::run(&w.one, None, &[router(100), other()])?;
    w.node1_is_master()?;
    w.watcher.wait_holder(SECOND, "node1", ELECTION)?;
    let two = Daemon::start(peer, &w.two, &[router(60)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let from = Instant::now();
    let text = reloaded(&one, &Vipd::ini(&w.one, None, &[other()]), &["VI_51: leaves"])?;
    w.watcher.wait_holder(VIP, "node2", secs(3))?;
    let gap = w.watcher.longest_gap(VIP, from);
    ensure!(gap < w.bound(ms(100), from), "nobody had the address for {gap:?}: {text}");
    one.wait_log("VRRP_Instance(VI_51) has left", secs(1))?;
    w.stayed(SECOND)?;
    // And back again.
    reloaded(&one, &Vipd::ini(&w.one, None, &[router(100), other()]), &["VI_51: new"])?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.watcher.no_overlap(VIP, ms(300))?;
    at_peace(&[&one, &two])
}

fn haproxy_comes_and_goes(w: &World) -> Result<()> {
    let without = Vipd::ini(&w.one, None, &[quick(100)]);
    let one = Vipd::start(&w.one, &without)?;
    w.node1_is_master()?;
    let cfg: PathBuf = haproxy_cfg(&w.one, SERVICE)?;
    let with = patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)]));
    for _ in 0..2 {
        let mark = one.log().mark();
        reloaded(&one, &with, &["HAProxy: new"])?;
        one.log().wait_from(mark, "] ready after", secs(3))?;
        w.client()?.wait_answer(secs(2))?;
        let mark = one.log().mark();
        reloaded(&one, &without, &["HAProxy: removed"])?;
        one.log().wait_from(mark, "haproxy stopped after", secs(9))?;
        ensure!(w.one.haproxy_master().is_none(), "HAProxy goes on");
    }
    w.stayed(VIP)?;
    Ok(())
}

fn interface_appears(w: &World) -> Result<()> {
    w.lan.second()?;
    let mut other = Router::new(52, 100, "192.168.31.230/24").v3().advert_int("0.2");
    other.interface = "eth1".to_owned();
    let both = Vipd::ini(&w.one, None, &[quick(100), other]);
    let one = Vipd::run(&w.one, None, &[quick(100)])?;
    w.node1_is_master()?;
    for _ in 0..2 {
        reloaded(&one, &both, &["VI_52: new"])?;
        w.watcher.wait_holder("192.168.31.230", "node1", ELECTION)?;
        reloaded(&one, &Vipd::ini(&w.one, None, &[quick(100)]), &["VI_52: leaves"])?;
        w.watcher.wait_holders("192.168.31.230", &[], secs(6))?;
    }
    w.stayed(VIP)?;
    Ok(())
}

fn resigns(w: &World, peer: Kind) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let two = Daemon::start(peer, &w.two, &[router(50)])?;
    two.wait_log(words::BACKUP, secs(3))?;
    // A backup believes priority 0 only of a master that it has heard.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let from = Instant::now();
    let (status, text) = ask(&one, &["resign", "VI_51", "--for", "8"])?;
    ensure!(status == 0 && text.contains("192.168.30.117 with priority 50 took over"), "{status} {text}");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    let gap = w.watcher.longest_gap(VIP, from);
    ensure!(gap < w.bound(ms(100), from), "nobody had the address for {gap:?}");
    let zeros = w.capture.all(from, |s| s.advert(VRID).is_some_and(|a| a.priority == 0));
    ensure!(zeros.len() == 1, "priority 0 was sent {} times", zeros.len());
    let (_, status) = ask(&one, &["status"])?;
    ensure!(status.contains("does not preempt for"), "{status}");
    // It does not preempt for 8 s, and then it does.
    let back = w.watcher.wait_holder(VIP, "node1", secs(20))?;
    ensure!(back - from > secs(8), "back after {:?}", back - from);
    w.watcher.no_overlap(VIP, ms(300))?;
    // A successor that dies is followed, whatever was asked for.
    let (status, text) = ask(&one, &["resign", "--for", "600"])?;
    ensure!(status == 0, "{status} {text}");
    w.watcher.wait_holder(VIP, "node2", secs(1))?;
    two.terminate();
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    at_peace(&[&one, &two])
}

fn resigns_to_nobody(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let from = Instant::now();
    let (status, text) = ask(&one, &["resign"])?;
    ensure!(status == 1 && text.contains("VI_51: no successor within "), "{status} {text}");
    w.stayed(VIP)?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    w.stayed(VIP)?;
    let (status, text) = ask(&one, &["resign", "VI_99"])?;
    ensure!(status == 2, "{status} {text}");
    let (status, text) = ask(&one, &["resign", "--force", "--for", "5"])?;
    ensure!(status == 0, "{status} {text}");
    w.watcher.wait_holders(VIP, &[], secs(1))?;
    let back = w.watcher.wait_holder(VIP, "node1", secs(10))?;
    ensure!(back - from > secs(6), "back after {:?}", back - from);
    // Asked for while somebody is asked: it waits, and is done.
    let reload = std::thread::scope(|s| {
        let resign = s.spawn(|| ask(&one, &["resign"]));
        std::thread::sleep(ms(300));
        let done = ask(&one, &["reload"]);
        let _ = resign.join();
        done
    })?;
    ensure!(reload.0 == 0, "{reload:?}");
    Ok(())
}
