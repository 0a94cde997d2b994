//! The program: its end, its exit codes and its size.

use super::*;

pub const TESTS: &[(&str, Test)] = &[
    ("has_last_words", has_last_words),
    ("refuses_a_second_instance", refuses_second_instance),
    ("refuses_a_second_instance_of_another_container", refuses_another_container),
    ("a_control_socket_that_is_a_file_stays", control_socket_is_a_file),
    ("tells_systemd_and_the_journal", tells_systemd),
    ("exits_with_the_documented_codes", exit_codes),
    ("carries_250_routers", carries_250_routers),
    ("is_one_small_process", is_small),
];

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
    w.stayed(VIP)?;
    ensure!(one.is_alive(), "the first instance has ended");
    Ok(())
}

/// With a /run and a control socket of its own, as in a container that shares the network namespace.
fn refuses_another_container(w: &World) -> Result<()> {
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let other = w.one.dir().join("other/control");
    let socket = format!("control_socket = {}", other.display());
    let own = ini.lines().find(|l| l.starts_with("control_socket")).unwrap_or_default();
    let path = w.one.write("other.ini", &ini.replace(own, &socket))?;
    let mut cmd = std::process::Command::new("unshare");
    cmd.args(["-m", "sh", "-c", "mount -t tmpfs none /run/vipd 2>/dev/null; exec \"$@\"", "sh"]);
    cmd.arg(vipd_path()?).arg("-c").arg(&path);
    std::fs::create_dir_all("/run/vipd")?;
    let second = Proc::start(&w.one, "second", cmd)?;
    let told = format!(
        "already running in this network namespace: node1, control_socket {}",
        own.trim_start_matches("control_socket = ")
    );
    second.wait_log(&told, secs(3))?;
    second.wait_log(&format!("process {}", one.pid()), secs(1))?;
    ensure!(second.wait_exit(secs(3))?.code() == Some(1), "the second instance goes on");
    ensure!(one.is_alive() && !other.exists(), "something is left of the second instance");
    w.stayed(VIP)
}

fn control_socket_is_a_file(w: &World) -> Result<()> {
    let precious = w.one.dir().join("precious/important.cfg");
    std::fs::create_dir_all(precious.parent().unwrap_or(&precious))?;
    std::fs::set_permissions(
        precious.parent().unwrap_or(&precious),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )?;
    std::fs::write(&precious, "precious")?;
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let own = ini.lines().find(|l| l.starts_with("control_socket")).unwrap_or_default().to_owned();
    let one = Vipd::start(&w.one, &ini.replace(&own, &format!("control_socket = {}", precious.display())))?;
    one.wait_log("important.cfg: not a socket, so it is not replaced", secs(3))?;
    ensure!(one.wait_exit(secs(3))?.code() == Some(1), "it goes on");
    ensure!(std::fs::read_to_string(&precious)? == "precious", "the file has changed");
    let out = one.cli(&["-t"])?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.code() == Some(2) && text.contains("is there and is not a socket"), "{text}");
    Ok(())
}

/// From READY to STOPPING, on a socket in systemd's place; and the severity of each line for journald.
fn tells_systemd(w: &World) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let path = w.one.dir().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path)?;
    systemd.set_read_timeout(Some(secs(10)))?;
    let hook = w.one.write(
        "env.sh",
        "#!/bin/sh\nenv | grep -E '^(VIPD_ROUTER|NOTIFY|WATCHDOG|JOURNAL)' | sed 's/^/has /'\n",
    )?;
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let ini = Vipd::ini(&w.one, None, &[router(100).with(&format!("notify = {}", hook.display()))]);
    let ini = w.one.write("vipd.ini", &ini)?;
    let log = std::fs::File::create(w.one.dir().join("journal"))?;
    let about = log.metadata()?;
    let mut cmd = std::process::Command::new("sh");
    cmd.args(["-c", "exec \"$@\" 2>journal", "sh"]).arg(vipd_path()?).arg("-c").arg(&ini);
    cmd.current_dir(w.one.dir());
    cmd.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    cmd.env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()));
    let vipd = Proc::start(&w.one, "vipd", cmd)?;
    let mut heard = String::new();
    let mut wait = |line: &str| -> Result<()> {
        let mut buf = [0; 4096];
        while !heard.contains(line) {
            let n = systemd.recv(&mut buf)?;
            heard += &String::from_utf8_lossy(&buf[..n]);
        }
        heard.clear();
        Ok(())
    };
    wait("READY=1\n")?;
    wait("STATUS=1 MASTER, 0 BACKUP, 0 FAULT\n")?;
    wait("WATCHDOG=1\n")?;
    vipd.signal(Signal::SIGHUP);
    wait("RELOADING=1\nMONOTONIC_USEC=")?;
    wait("READY=1\n")?;
    let upgrade =
        w.one.output(std::process::Command::new(vipd_path()?).arg("upgrade").arg("-c").arg(&ini))?;
    ensure!(upgrade.status.success(), "{}", String::from_utf8_lossy(&upgrade.stdout));
    wait("RELOADING=1\nMONOTONIC_USEC=")?;
    wait("READY=1\n")?;
    wait("WATCHDOG=1\n")?;
    vipd.terminate();
    wait("STOPPING=1\n")?;
    ensure!(vipd.wait_exit(secs(10))?.success(), "no clean end");
    let journal = std::fs::read_to_string(w.one.dir().join("journal"))?;
    ensure!(journal.lines().all(|l| l.starts_with('<')), "{journal}");
    ensure!(journal.contains("<6>vipd ") && journal.contains("has VIPD_ROUTER_ID=node1"), "{journal}");
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"] {
        ensure!(!journal.contains(&format!("has {name}=")), "a hook has {name}");
    }
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
        (&["status", "--check", "-c", &good][..], 5),
        (&["status", "--json", "VI_51"][..], 2),
        // What one tries first.
        (&["help"][..], 0),
        (&["version"][..], 0),
        (&["-t", &good][..], 0),
        (&["-t", &bad][..], 2),
        (&["-t", "--config", &good][..], 0),
        (&["stauts"][..], 2),
        // A file that is not there means no other daemon.
        (&["status", "-c", "/nonexistent.ini"][..], 2),
        (&["resign", "-c", "/nonexistent.ini"][..], 2),
        (&["reload", "-c", "/nonexistent.ini"][..], 2),
    ] {
        let (got, text) = run(args)?;
        ensure!(got == Some(code), "vipd {args:?} ended with {got:?} instead of {code}: {text}");
    }
    let (_, text) = run(&["-t", "-c", &bad])?;
    for place in ["bad.ini:3", "bad.ini:4"] {
        ensure!(text.contains(place), "the error does not name {place}: {text}");
    }
    for (args, hint) in [
        (&["stauts"][..], "unexpected argument 'stauts' (did you mean `status`?)"),
        (&["status", "--jsno"][..], "invalid option '--jsno' (did you mean `--json`?)"),
        (&["resign", "-c", "/nonexistent.ini"][..], "vipd: /nonexistent.ini: No such file or directory"),
    ] {
        let (_, text) = run(args)?;
        ensure!(text.contains(hint), "vipd {args:?}: {text}");
    }
    // It looks around.
    let ini = Vipd::ini(&w.one, None, &[router(100).with("mcast_src_ip = 192.168.30.99")]);
    let odd = w.one.write("odd.ini", &ini.replace("interface = eth0", "interface = eth9"))?;
    let (code, text) = run(&["-t", &odd.display().to_string()])?;
    for warning in [
        "warning: interface: eth9 does not exist here; there are eth0",
        "warning: mcast_src_ip: 192.168.30.99 is not an address of this host: this router will be in FAULT",
    ] {
        ensure!(code == Some(0) && text.contains(warning), "no {warning:?} in {text}");
    }
    let one = Vipd::run(&w.one, None, &[router(100)])?;
    w.node1_is_master()?;
    let check = one.cli(&["status", "--check"])?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    ensure!(check.status.code() == Some(0) && text == format!("OK: this node serves {VIP}\n"), "{check:?}");
    let named = one.cli(&["status", "VI_51"])?;
    let text = String::from_utf8_lossy(&named.stdout).into_owned();
    ensure!(named.status.code() == Some(0) && text.contains("Transitions (UTC)\n  20"), "{text}");
    ensure!(one.cli(&["status", "VI_5"])?.status.code() == Some(2), "there is no VI_5");
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
            w.holds(&vip(i), node)?;
        }
        Ok(())
    };
    let one = Daemon::start(Kind::Vipd, &w.one, &routers(100))?;
    w.watcher.wait_holder(&vip(250), "node1", ELECTION)?;
    let two = Daemon::start(Kind::Vipd, &w.two, &routers(99))?;
    settled("node1", Instant::now())?;
    let anonymous = anonymous_kib(one.pid())?;
    println!("250 virtual routers: anonymous {anonymous} KiB");
    ensure!(anonymous <= 960, "anonymous {anonymous} KiB");
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
    let anonymous = anonymous_kib(pid)?;
    println!("1 virtual router: anonymous {anonymous} KiB");
    ensure!(anonymous <= 96, "anonymous {anonymous} KiB");
    Ok(())
}

/// Memory of its own, in KiB. A share in the program's file is not in it: that changes when another vipd of
/// the same file starts or ends.
pub fn anonymous_kib(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Anonymous:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error(format!("nothing anonymous in {text}")))
}
