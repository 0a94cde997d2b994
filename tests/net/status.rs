//! `vipd status` in all its forms, `--watch`, and what it says of split brain.

use super::*;
use nix::pty::openpty;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub const TESTS: &[(&str, Test)] = &[
    ("status_of_a_master_and_a_backup", master_and_backup),
    ("status_of_a_fault", fault),
    ("status_is_coloured_on_a_terminal_only", colour),
    ("status_of_many_routers_comes_in_pieces", many_routers),
    ("watch_follows_a_failover", watch_follows),
    ("watch_bears_a_slow_reader", slow_watcher),
    ("watch_is_for_a_few", few_watchers),
    ("status_says_split_brain_aloud", split_brain),
    ("status_names_another_host_with_the_address", contested),
    ("status_says_split_brain_if_one_signs", one_signs),
    ("status_says_split_brain_if_neither_hears_the_other", |w| unheard(w, true)),
    ("status_says_split_brain_if_one_does_not_hear_the_other", |w| unheard(w, false)),
];

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rootfs/usr/share/vipd/status.schema.json");
const VALIDATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/validate.py");

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Debian's Python and its packages: a real validator, and a real parser.
fn validate(form: &str, text: &str) -> Result<()> {
    let python = "/usr/bin/python3";
    let modules = Command::new(python).args(["-c", "import jsonschema, prometheus_client"]).output();
    if !modules.is_ok_and(|out| out.status.success()) {
        return Err(Error::missing("python3-jsonschema or python3-prometheus-client"));
    }
    let (input, mut writer) = std::io::pipe()?;
    let cmd = Command::new(python)
        .args([VALIDATE, SCHEMA, form])
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut writer, text.as_bytes())?;
    drop(writer);
    let out = cmd.wait_with_output()?;
    ensure!(out.status.success(), "{form}: {}\n{text}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// The status for people, which is returned; the other two are valid, and all end with `code`.
fn status(vipd: &Vipd, code: i32) -> Result<String> {
    let plain = vipd.cli(&["status"])?;
    for (option, form) in [("--json", "json"), ("--metrics", "metrics")] {
        let out = vipd.cli(&["status", option])?;
        ensure!(out.status.code() == Some(code), "{option}: {} instead of {code}", out.status);
        validate(form, &text(&out))?;
    }
    ensure!(plain.status.code() == Some(code), "{} instead of {code}\n{}", plain.status, text(&plain));
    let plain = text(&plain);
    println!("{plain}");
    ensure!(!plain.contains('\x1b'), "colour in a pipe: {plain}");
    Ok(plain)
}

fn metric(vipd: &Vipd, sample: &str) -> Result<f64> {
    let out = text(&vipd.cli(&["status", "--metrics"])?);
    let value = out.lines().find_map(|l| l.strip_prefix(sample)?.trim().parse().ok());
    value.ok_or_else(|| Error(format!("no {sample} in\n{out}")))
}

fn has(text: &str, what: &str) -> Result<()> {
    ensure!(text.contains(what), "no `{what}` in\n{text}");
    Ok(())
}

/// The golden files are valid, too: they have what is seldom.
fn golden_files() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status");
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("json") => validate("json", &std::fs::read_to_string(&path)?)?,
            Some("prom") => validate("metrics", &std::fs::read_to_string(&path)?)?,
            _ => {}
        }
    }
    Ok(())
}

fn master_and_backup(w: &World) -> Result<()> {
    golden_files()?;
    let cfg = [haproxy_cfg(&w.one, SERVICE)?, haproxy_cfg(&w.two, SERVICE)?];
    let one = Vipd::run(&w.one, Some(&cfg[0]), &[named(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, Some(&cfg[1]), &[named(99)])?;
    two.wait_log(words::BACKUP, secs(2))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    let master = status(&one, 0)?;
    for what in [
        "\nVI_1  MASTER for ",
        " (no master was heard)",
        "priority 100, advert_int 1.00 s, from 192.168.30.116",
        "this node, next advert in 0.",
        "192.168.30.230 on eth0: held, lease 0.",
        "heard     no advert ever, from anybody",
        "\nHAProxy  READY for ",
    ] {
        has(&master, what)?;
    }
    let backup = status(&two, 3)?;
    for what in ["VI_1  BACKUP for ", "192.168.30.116 with priority 100, down timer ", "eth0: not held"] {
        has(&backup, what)?;
    }
    ensure!(metric(&one, "vipd_vrrp_state{name=\"VI_1\"}")? == 2.0, "the master's metric");
    ensure!(metric(&two, "vipd_vrrp_state{name=\"VI_1\"}")? == 1.0, "the backup's metric");
    ensure!(metric(&two, "vipd_haproxy_up")? == 1.0, "HAProxy's metric");
    two.terminate();
    two.wait_exit(secs(10))?;
    let gone = two.cli(&["status", "--json"])?;
    ensure!(gone.status.code() == Some(5) && gone.stdout.is_empty(), "not running: {gone:?}");
    let wrong = one.cli(&["status", "--yaml"])?;
    ensure!(wrong.status.code() == Some(2), "--yaml: {}", wrong.status);
    Ok(())
}

fn fault(w: &World) -> Result<()> {
    let check = "[check gw]\ntype = exec\ntarget = /bin/false\nfall = 1\n";
    let ini = Vipd::ini(&w.one, None, &[named(100).with("track = gw")]) + check;
    let one = Vipd::start(&w.one, &ini)?;
    one.wait_log("Now in FAULT state", secs(5))?;
    let text = status(&one, 4)?;
    for what in
        ["VI_1  FAULT for ", ": a tracked check is down", "needs     check gw down", "Check gw  down for "]
    {
        has(&text, what)?;
    }
    ensure!(metric(&one, "vipd_check_up{name=\"gw\"}")? == 0.0, "the check's metric");
    Ok(())
}

fn colour(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let on_terminal = |no_color: Option<&str>| -> Result<String> {
        let pty = openpty(None, None)?;
        let mut cmd = Command::new(vipd_path()?);
        cmd.arg("status").arg("-c").arg(one.ini_path()).env_remove("NO_COLOR").stdout(pty.slave);
        no_color.map(|v| cmd.env("NO_COLOR", v));
        let done = w.one.enter(|| cmd.status())?;
        drop(cmd); // and with it our end of the slave
        ensure!(done.code() == Some(0), "{done}");
        let mut text = Vec::new();
        // EIO at the end: the slave is closed.
        let _ = File::from(pty.master).read_to_end(&mut text);
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    has(&on_terminal(None)?, "VI_51  \x1b[32mMASTER\x1b[0m for ")?;
    has(&on_terminal(Some(""))?, "\x1b[32mMASTER\x1b[0m")?;
    let plain = on_terminal(Some("1"))?;
    ensure!(plain.contains("VI_51  MASTER for ") && !plain.contains('\x1b'), "NO_COLOR: {plain}");
    status(&one, 0)?;
    Ok(())
}

/// A node with `n` virtual routers of 4 addresses.
fn many(n: u8) -> Vec<Router> {
    (1..=n)
        .map(|i| {
            let vips: Vec<String> = (1..=4).map(|k| format!("10.9.{i}.{k}")).collect();
            Router::new(i, 100, &vips.join(", "))
        })
        .collect()
}

/// The README's.
fn named(priority: u8) -> Router {
    Router { name: "VI_1".to_owned(), ..router(priority) }
}

/// Longer than a socket takes at once; and the adverts do not wait for it.
fn many_routers(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &many(250))?;
    w.capture.wait_advert("node1", 250, w.born, ELECTION)?;
    let start = Instant::now();
    while one.cli(&["status"])?.status.code() != Some(0) {
        ensure!(start.elapsed() < 3 * ELECTION, "not master of all");
    }
    let start = Instant::now();
    for option in ["--json", "--metrics"].into_iter().cycle().take(100) {
        let out = one.cli(&["status", option])?;
        ensure!(out.status.code() == Some(0), "{option}: {}", out.status);
        ensure!(out.stdout.len() > 250_000, "{option}: {} octets", out.stdout.len());
    }
    let end = Instant::now();
    let of = |vrid| w.capture.all(start, move |s| s.advert(vrid).is_some() && s.at < end);
    let mut late = Duration::ZERO;
    for vrid in [1, 125, 250] {
        for pair in of(vrid).windows(2) {
            late = late.max((pair[1].at - pair[0].at).abs_diff(secs(1)));
        }
    }
    let out = text(&one.cli(&["status", "--json"])?);
    validate("json", &out)?;
    validate("metrics", &text(&one.cli(&["status", "--metrics"])?))?;
    println!("{} octets of JSON; 100 answers in {:?}; adverts up to {late:?} off", out.len(), end - start);
    ensure!(late < w.bound_to(ms(200), start, end), "adverts are {late:?} off");
    ensure!(one.log().grep("no advert went out").is_empty(), "it stood still");
    Ok(())
}

fn watcher(w: &World, one: &Vipd) -> Result<Proc> {
    let mut cmd = Command::new(vipd_path()?);
    cmd.args(["status", "--watch", "-c"]).arg(one.ini_path());
    Proc::start(&w.one, "watcher", cmd)
}

fn watch_follows(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[named(100)])?;
    w.node1_is_master()?;
    let watching = watcher(w, &one)?;
    let wait = |what: &str, timeout| watching.wait_log(what, timeout);
    wait(" vrrp/VI_1 MASTER 100 for ", secs(2))?;
    wait(" interface/eth0 UP - now", secs(2))?;
    let two = Vipd::run(&w.two, None, &[named(150)])?;
    wait(" vrrp/VI_1 BACKUP 100 VRRP_Instance(VI_1) Entering BACKUP STATE (higher advert from", ELECTION)?;
    wait(" vrrp/VI_1 BACKUP 100 Netlink reflector reports IP 192.168.30.230 removed on eth0", secs(2))?;
    two.kill_tree();
    wait("(no advert from the master)", ELECTION)?;
    wait(" vrrp/VI_1 MASTER 100 Netlink reflector reports IP 192.168.30.230 added on eth0", secs(2))?;
    for line in watching.log().grep("") {
        println!("{}", line.text);
        let columns: Vec<&str> = line.text.splitn(5, ' ').collect();
        let stamp = columns.first().copied().unwrap_or_default();
        let is_stamp = stamp.len() == 24 && stamp.starts_with("20") && stamp.ends_with('Z');
        ensure!(columns.len() == 5 && is_stamp, "{line:?}");
    }
    one.terminate();
    wait("sending 0 priority", secs(2))?;
    ensure!(watching.wait_exit(secs(10))?.code() == Some(5), "after the daemon's end");
    Ok(())
}

/// One that reads nothing costs a bounded buffer, keeps nobody waiting, and is told what it missed.
fn slow_watcher(w: &World) -> Result<()> {
    // 40 virtual routers whose priority follows an interface: each of its changes is 41 lines.
    w.one.ip("link add wobble type veth peer name elbbow")?;
    w.one.ip("link set elbbow up")?;
    let wobbly = |vrid: u8| {
        Router::new(vrid, 100, &format!("192.168.30.{}/24", 130 + vrid))
            .with("track_interface = wobble weight -10")
    };
    let routers: Vec<Router> = (1..=40).map(wobbly).chain([router(100)]).collect();
    let one = Vipd::run(&w.one, None, &routers)?;
    w.node1_is_master()?;
    let slow = watcher(w, &one)?;
    slow.wait_log(" vrrp/VI_51 MASTER 100 for ", secs(2))?;
    slow.stop();
    let quick = watcher(w, &one)?;
    quick.wait_log(" vrrp/VI_51 MASTER 100 for ", secs(2))?;
    // Each is told.
    let start = Instant::now();
    for _ in 0..80 {
        w.one.ip("link set wobble up")?;
        w.one.ip("link set wobble down")?;
    }
    let gap = w.watcher.longest_gap(VIP, start);
    ensure!(gap.is_zero(), "the address was away for {gap:?}");
    ensure!(one.log().grep("no advert went out").is_empty(), "it stood still");
    let rss = |pid: i32| -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kb =
            status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        kb.ok_or_else(|| Error("no VmHWM".to_owned()))
    };
    println!(
        "{} lines, {} KiB at the most",
        one.log().grep("Changing effective priority").len(),
        rss(one.pid())?
    );
    slow.cont();
    let line = slow.wait_log(" lines were missed from here on", secs(5))?;
    has(&line.text, "Z vipd - - ")?;
    // And it goes on.
    w.one.cut()?;
    slow.wait_log(" vrrp/VI_51 FAULT 100 ", secs(5))?;
    Ok(())
}

fn few_watchers(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let mut watchers = Vec::new();
    for _ in 0..4 {
        let watching = watcher(w, &one)?;
        watching.wait_log(" vrrp/VI_51 MASTER 100 for ", secs(2))?;
        watchers.push(watching);
    }
    let fifth = watcher(w, &one)?;
    ensure!(fifth.wait_exit(secs(2))?.code() == Some(1), "a fifth");
    fifth.wait_log("too many watch already", secs(2))?;
    // They are in nobody's way, and one that leaves makes room.
    for _ in 0..20 {
        status_code(&one)?;
    }
    watchers.remove(0).kill();
    watchers.insert(0, again(w, &one)?);
    w.one.cut()?;
    for watching in &watchers {
        watching.wait_log(" interface/eth0 DOWN - ", secs(5))?;
    }
    Ok(())
}

fn status_code(vipd: &Vipd) -> Result<()> {
    let out = vipd.cli(&["status"])?;
    ensure!(out.status.code() == Some(0), "{}", out.status);
    Ok(())
}

/// The daemon learns of the end of the other when it looks.
fn again(w: &World, one: &Vipd) -> Result<Proc> {
    let deadline = Instant::now() + secs(5);
    loop {
        let watching = watcher(w, one)?;
        match watching.wait_log(" vrrp/VI_51 MASTER 100 for ", secs(1)) {
            Ok(_) => return Ok(watching),
            Err(e) if Instant::now() > deadline => return Err(e),
            Err(_) => {}
        }
    }
}

/// Two masters, for each refuses what the other says.
fn split_brain(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[router(99).auth(Some("2222"))])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    let told =
        "split brain: 192.168.30.117 is also master, with priority 99; its adverts are refused (auth_pass)";
    one.wait_log(told, secs(4))?;
    two.wait_log("split brain: 192.168.30.116 is also master, with priority 100", secs(4))?;
    let text = status(&one, 4)?;
    let why = "is also master, with priority 99, its adverts are refused (auth_pass), ";
    has(&text, &format!("SPLIT BRAIN: 192.168.30.117 {why}"))?;
    let present = "vipd_vrrp_foreign_master_present{name=\"VI_51\",address=\"192.168.30.117\"}";
    let seconds = "vipd_vrrp_foreign_master_seconds_total{name=\"VI_51\"}";
    ensure!(metric(&one, present)? == 1.0, "its metric");
    let begin = (Instant::now(), metric(&one, seconds)?);
    let mark = w.capture.wait_advert("node2", VRID, Instant::now() + secs(2), secs(5))?;
    w.capture.wait_advert("node2", VRID, mark.at + ms(500), secs(3))?;
    let (passed, counted) = (begin.0.elapsed().as_secs_f64(), metric(&one, seconds)? - begin.1);
    let right = (counted - passed).abs() < 1.5;
    ensure!(right, "{counted} s counted in {passed}");
    two.kill_tree();
    // It has given way for good, but that cannot be heard.
    one.wait_log("no longer hears 192.168.30.117, which was also master for ", secs(6))?;
    status(&one, 4)?;
    ensure!(metric(&one, present)? == 0.0 && metric(&one, seconds)? > 2.0, "its metrics afterwards");
    ensure!(one.log().grep("split brain: ").len() == 1, "told more than once");
    Ok(())
}

/// One signs its adverts: they are too long for the other one, whose own ones have no signature.
fn one_signs(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[quick(100)])?;
    w.node1_is_master()?;
    let key = "auth_hmac_key = 1 thirty-two-octets-or-more-of-key-one\nauth_hmac_active_key = 1";
    let two = Vipd::run(&w.two, None, &[quick(99).with(key)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    one.wait_log("28 octets too long: it is signed by auth_hmac, which is not set here", secs(4))?;
    for (vipd, other) in [(&one, "192.168.30.117"), (&two, "192.168.30.116")] {
        vipd.wait_log(&format!("split brain: {other} is also master"), secs(4))?;
        has(&status(vipd, 4)?, &format!("SPLIT BRAIN: {other} is also master"))?;
        ensure!(metric(vipd, "vipd_vrrp_split_brain{name=\"VI_51\"}")? == 1.0, "its metric");
    }
    Ok(())
}

/// A host that has the address without VRRP, and says so.
fn contested(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100).with("garp_master_delay = 0\ngarp_master_refresh = 0")])?;
    w.node1_is_master()?;
    one.wait_log("Sending gratuitous ARPs", secs(2))?;
    let [a, b, c, d, e, f] = w.client.mac();
    let mut frame = vec![0xff; 6];
    frame.extend([a, b, c, d, e, f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, a, b, c, d, e, f]);
    frame.extend(v4(VIP).octets());
    frame.extend([0; 6]);
    frame.extend(v4(VIP).octets());
    std::thread::sleep(ms(1500)); // as a new master it tolerates this
    let start = Instant::now();
    for _ in 0..100 {
        w.client.send_frame(&frame)?;
        std::thread::sleep(ms(10));
    }
    let mac: Vec<String> = w.client.mac().iter().map(|b| format!("{b:02x}")).collect();
    let mac = mac.join(":");
    one.wait_log(
        &format!("another host, {mac}, announced 192.168.30.230 on eth0: announcing it again"),
        secs(2),
    )?;
    has(&status(&one, 4)?, &format!("SPLIT BRAIN: 192.168.30.230 is also announced by {mac}, "))?;
    ensure!(metric(&one, "vipd_vrrp_foreign_announcements_total{name=\"VI_51\"}")? == 100.0, "its metric");
    let ours = w.capture.all(start, |s| s.node == "node1" && s.announces(v4(VIP).into()));
    // Five in the second that the hundred take on a machine that has time.
    let most = 5 * start.elapsed().as_secs_f64().ceil() as usize;
    ensure!((1..=most).contains(&ours.len()), "{} announcements in answer, not {most}", ours.len());
    ensure!(one.log().grep("another host").len() == 1, "told more than once");
    Ok(())
}

/// Adverts are lost on the way to one node or to both: each learns of the other by its announcements.
fn unheard(w: &World, both: bool) -> Result<()> {
    for host in [&w.two, &w.one].into_iter().take(if both { 2 } else { 1 }) {
        transport::nft(host, "add table ip t; add chain ip t in { type filter hook input priority 0; }")?;
        transport::nft(host, "add rule ip t in ip protocol 112 drop")?;
    }
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[router(99)])?;
    w.watcher.wait_holders(VIP, &["node1", "node2"], ELECTION)?;
    let announced = |by: &Vipd, other: &Node| -> Result<()> {
        let mac: Vec<String> = other.mac().iter().map(|b| format!("{b:02x}")).collect();
        let line = by.wait_log("another host", secs(15))?;
        ensure!(line.text.contains(&mac.join(":")), "{}", line.text);
        has(&status(by, 4)?, &format!("SPLIT BRAIN: 192.168.30.230 is also announced by {}, ", mac.join(":")))
    };
    announced(&two, &w.one)?;
    if both {
        announced(&one, &w.two)?;
    } else {
        has(&status(&one, 4)?, "SPLIT BRAIN: 192.168.30.117 is also master, with priority 99, ")?;
    }
    for vipd in [&one, &two] {
        ensure!(metric(vipd, "vipd_vrrp_split_brain{name=\"VI_51\"}")? == 1.0, "its metric");
        ensure!(vipd.log().grep("is over").is_empty(), "it is not over");
    }
    Ok(())
}
