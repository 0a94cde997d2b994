//! What people who run such pairs have reported: each once more.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("a_reload_to_a_port_that_is_taken_changes_nothing", taken),
    ("a_reload_that_takes_long_kills_nobody", slow_reload),
    ("a_start_that_takes_long_gets_more_time", slow_start),
    ("no_line_of_an_access_log_is_lost", access_log),
    ("one_forged_long_interval_silences_nobody", long_interval),
    ("forged_short_intervals_move_nothing", short_interval),
    ("thousands_of_addresses_are_held", thousands),
    ("a_hook_of_another_user_has_no_terminal", no_terminal),
    ("status_names_the_interface_that_is_missing", missing_interface),
];

fn text(out: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr].concat()).into_owned()
}

/// HAProxy's new worker would try to bind for two seconds, while the old one takes no connections. When the
/// port is free the next reload is carried out.
fn taken(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    w.node1_is_master()?;
    let client = Client::start_with(&w.client, SERVICE, ms(10), secs(5))?;
    client.wait_answer_by("node1", secs(5))?;
    let other = w.one.enter(|| std::net::TcpListener::bind("0.0.0.0:5001"))?;
    let (worker, start) = (w.one.haproxy_workers(), Instant::now());
    haproxy_cfg(&w.one, &format!("{SERVICE},192.168.30.116:5001"))?;
    for _ in 0..2 {
        let out = one.cli(&["reload"])?;
        let said = text(&out);
        let named = said.contains("haproxy.cfg:10: bind 192.168.30.116:5001: Address in use");
        ensure!(out.status.code() == Some(1) && named, "{}: {said}", out.status);
    }
    ensure!(w.one.haproxy_workers() == worker, "a refused reload had an effect");
    std::thread::sleep(ms(300)); // the last requests come to their end
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0 && report.syn_retransmits == 0, "clients noticed: {report}");
    drop(other);
    let out = one.cli(&["reload"])?;
    ensure!(out.status.code() == Some(0) && text(&out).contains("haproxy reloaded"), "{}", text(&out));
    ensure!(w.one.enter(|| std::net::TcpStream::connect("192.168.30.116:5001")).is_ok(), "not bound");
    w.stayed(VIP)
}

/// A haproxy.cfg with a map that is a pipe: HAProxy waits in its middle until somebody writes.
fn with_a_pipe(w: &World) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let pipe = w.one.dir().join("map");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
    let more = format!("    http-request set-header x %[path,map({},none)]\n", pipe.display());
    let plain = std::fs::read_to_string(&cfg)?;
    w.one.write("haproxy.cfg", &plain.replace("    http-request", &format!("{more}    http-request")))?;
    Ok((cfg, pipe))
}

/// Somebody reads the map, and has to wait for so long.
fn give(pipe: &Path, after: Duration) -> Result<()> {
    let mut pipe = std::fs::File::options().write(true).open(pipe)?;
    std::thread::sleep(after);
    let _ = writeln!(pipe, "/x y"); // whoever was killed reads no more
    Ok(())
}

/// The master that parses says nothing for 12 s; its worker serves.
fn slow_reload(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let (_, pipe) = with_a_pipe(w)?;
    let (start, worker) = (Instant::now(), w.one.haproxy_workers());
    one.signal(Signal::SIGUSR2);
    give(&pipe, ms(0))?; // haproxy -c
    // It reads on if the next writer comes before it has seen the end.
    one.wait_log("Reloading HAProxy", secs(5))?;
    give(&pipe, secs(12))?;
    one.wait_log("haproxy reloaded: worker", secs(5))?;
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0, "the old worker did not serve: {report}");
    ensure!(one.log().grep("hangs and is killed").is_empty(), "killed");
    ensure!(w.one.haproxy_workers() != worker, "no new worker");
    w.stayed(VIP)
}

/// Longer than start_timeout, which is 1 s here; the next start gets 3 s.
fn slow_start(w: &World) -> Result<()> {
    let (cfg, pipe) = with_a_pipe(w)?;
    let ini = Vipd::ini(&w.one, Some(&cfg), &[quick(100)]);
    let one = Vipd::start(&w.one, &ini.replace("[haproxy]\n", "[haproxy]\nstart_timeout = 1\n"))?;
    give(&pipe, ms(1500))?;
    one.wait_log(
        "was not ready within 1000 ms (start_timeout): killing it; the next start gets 3 s",
        secs(2),
    )?;
    give(&pipe, ms(1500))?;
    one.wait_log(" ready after ", secs(3))?;
    w.node1_is_master()
}

/// As in a container: HAProxy logs to its standard output, vipd to its standard error.
fn access_log(w: &World) -> Result<()> {
    const REQUESTS: usize = 2000;
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let plain = std::fs::read_to_string(&cfg)?;
    let logs = plain.replacen("global\n", "global\n    log stdout format raw local0\n", 1).replacen(
        "defaults\n",
        "defaults\n    log global\n    option httplog\n",
        1,
    );
    w.one.write("haproxy.cfg", &logs)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    w.node1_is_master()?;
    let stream = w.client.enter(|| std::net::TcpStream::connect(SERVICE))?;
    let (mut to, mut from) = (stream.try_clone()?, BufReader::new(stream));
    for n in 0..REQUESTS {
        to.write_all(format!("GET /r{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(from.read_line(&mut line)? > 0, "HAProxy closed the connection");
        }
        std::io::Read::read_exact(&mut from, &mut [0; "node1".len()])?;
    }
    life::wait_until("all lines", secs(5), || one.log().grep("\"GET /r").len() == REQUESTS)
}

/// From an address that is nobody's, of a higher priority, with an interval of 40.95 s.
fn long_interval(w: &World) -> Result<()> {
    let _both = pair_v3(w)?;
    let src = Ipv4Addr::new(192, 168, 30, 77);
    let sent = Instant::now();
    w.client.inject(src, 255, &attacks::v3_each(VRID, 254, 4095, src))?;
    w.watcher.wait_holders(VIP, &[], secs(2))?;
    life::wait_until("a holder", secs(12), || w.watcher.holder(VIP).is_some())?;
    println!("held again {:?} after one forged advert", sent.elapsed());
    ensure!(sent.elapsed() < w.bound(secs(12), sent), "nobody held it for {:?}", sent.elapsed());
    Ok(())
}

/// One advert a second in the master's name, with an interval of 10 ms.
fn short_interval(w: &World) -> Result<()> {
    let (one, two) = pair_v3(w)?;
    let src = w.one.addr();
    let mark = two.log().mark();
    for _ in 0..5 {
        w.client.inject(src, 255, &attacks::v3_each(VRID, 150, 1, src))?;
        std::thread::sleep(secs(1));
    }
    let moved = two.log().wait_from(mark, words::MASTER, ms(100));
    ensure!(moved.is_err(), "five forged adverts made node2 master");
    ensure!(one.is_alive(), "node1 is gone");
    w.stayed(VIP)
}

fn pair_v3(w: &World) -> Result<(Vipd, Vipd)> {
    let one = Vipd::run(&w.one, None, &[router(150).v3()])?;
    w.node1_is_master()?;
    let two = Vipd::run(&w.two, None, &[router(100).v3()])?;
    two.wait_log(words::BACKUP, secs(3))?;
    Ok((one, two))
}

/// 2,000 addresses at an advert a second: none is late. More would hold the lock of all other tests for long.
fn thousands(w: &World) -> Result<()> {
    let mut one = router(150).with("lease = auto");
    let vip = |n: u32| format!("10.80.{}.{}/32", n / 250, n % 250 + 1);
    one = (0..2000).fold(one, |r, n| r.with(&format!("virtual_ipaddress_excluded = {}", vip(n))));
    let vipd = Vipd::run(&w.one, None, &[one])?;
    w.node1_is_master()?;
    let held = || {
        let out = w.one.output(Command::new("ip").args(["-4", "-o", "addr", "show", "dev", "eth0"]));
        out.map_or(0, |out| text(&out).lines().count())
    };
    life::wait_until("2,000 addresses", secs(20), || held() > 2000)?;
    let from = Instant::now();
    std::thread::sleep(secs(3));
    ensure!(held() > 2000, "{} are left", held());
    for late in ["renewed too late", "longer than a backup"] {
        ensure!(vipd.log().grep(late).is_empty(), "{late}");
    }
    let adverts = w.capture.all(from, |s| s.node == "node1" && s.advert(VRID).is_some());
    ensure!(adverts.len() >= 2, "{} adverts in 3 s", adverts.len());
    Ok(())
}

/// Nor root's session and environment, nor a way to new privileges.
fn no_terminal(w: &World) -> Result<()> {
    if !Path::new("/usr/bin/script").exists() {
        return Err(Error::missing("script"));
    }
    let hook = "#!/bin/sh\n(: </dev/tty) 2>/dev/null && echo has a terminal\n\
                echo \"secret=$SECRET $(grep NoNewPrivs /proc/self/status | tr '\\t' ' ') done\"\n";
    let hook = w.one.write("hook", hook)?;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
    let ini = Vipd::ini(&w.one, None, &[quick(100).with(&format!("notify = {}", hook.display()))]);
    let ini = w.one.write("vipd.ini", &ini.replace("[global]\n", "[global]\nnotify_user = nobody\n"))?;
    let vipd = format!("{} -c {}", vipd_path()?.display(), ini.display());
    let mut terminal = Command::new("/usr/bin/script");
    terminal.args(["-qc", &vipd, "/dev/null"]).env("SECRET", "treasure");
    let one = Proc::start(&w.one, "vipd", terminal)?;
    let said = one.wait_log("secret=", secs(5))?;
    ensure!(said.text.contains("secret= NoNewPrivs: 1 done"), "{}", said.text);
    ensure!(one.log().grep("has a terminal").is_empty(), "the hook has root's terminal");
    Ok(())
}

/// A VIP on another interface than the virtual router's: that one vanishes.
fn missing_interface(w: &World) -> Result<()> {
    w.lan.second()?;
    let mut both = quick(100);
    both.vips.push("192.168.31.230/24 dev eth1".to_owned());
    let one = Vipd::run(&w.one, None, &[both])?;
    w.node1_is_master()?;
    w.one.ip("link del eth1\n")?;
    one.wait_log("FAULT STATE", secs(3))?;
    let said = text(&one.cli(&["status"])?);
    ensure!(said.contains("eth1"), "{said}");
    Ok(())
}
