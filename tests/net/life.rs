//! Life with and without a parent: as PID 1 of a container, under busybox init, with orphans; how HAProxy is
//! stopped; and a HAProxy that has no master process.

use super::*;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("as_pid_1_of_a_container", as_pid_1),
    ("as_a_sidecar_without_haproxy", as_a_sidecar),
    ("under_busybox_init", under_busybox_init),
    ("reaps_workers_whose_master_died", reaps_workers),
    ("stops_within_its_time", stops_within_its_time),
    ("hup_reloads_haproxy_if_its_files_changed", hup_reloads_what_changed),
    ("a_haproxy_that_has_no_master", |w| without_master(w, "strips them")),
    ("a_haproxy_that_refuses_master_mode", |w| without_master(w, "refuses them")),
    ("a_haproxy_that_crashes_after_every_start", crashes_after_every_start),
    ("a_kill_amid_a_change_of_haproxy_leaves_one_of_them", killed_while_replacing),
    ("a_haproxy_that_hangs_and_is_replaced_is_ended", hung_and_replaced),
];

/// A program of a node that is a shell script.
pub fn program(node: &Node, name: &str, text: &str) -> Result<PathBuf> {
    let path = node.write(name, &format!("#!/bin/sh\n{text}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// vipd with another program in the place of HAProxy.
fn with_program(node: &Node, program: &std::path::Path, more: &str) -> Result<Vipd> {
    let ini = Vipd::ini(node, Some(&haproxy_cfg(node, SERVICE)?), &[quick(100)]);
    let ini = ini.replace(&haproxy_path(), &program.display().to_string());
    Vipd::start(node, &ini.replace("[haproxy]\n", &format!("[haproxy]\n{more}")))
}

/// vipd is killed while the HAProxy with the new command line starts; the next one ends the old HAProxy.
fn killed_while_replacing(w: &World) -> Result<()> {
    let slow = format!(
        "case \" $* \" in *\" -c \"*) ;; *\" -n 77 \"*) sleep 2 ;; esac\nexec {} \"$@\"",
        haproxy_path()
    );
    let slow = program(&w.one, "slow.sh", &slow)?;
    let more = "start_timeout = 30\nrestart_grace = 10\n";
    let one = with_program(&w.one, &slow, more)?;
    w.node1_is_master()?;
    let ini = std::fs::read_to_string(one.ini_path())?.replace("[haproxy]\n", "[haproxy]\nargs = -n 77\n");
    std::fs::write(one.ini_path(), &ini)?;
    one.signal(Signal::SIGHUP);
    one.wait_log("another command line", secs(2))?;
    std::thread::sleep(secs(1));
    one.kill();
    one.wait_exit(secs(1))?;
    let again = Vipd::start(&w.one, &ini)?;
    again.wait_log(words::MASTER, ELECTION + secs(10))?;
    let is_one = || {
        let (all, master) = (w.one.pids("haproxy"), w.one.haproxy_master());
        master.is_some_and(|m| all.iter().all(|p| *p == m || children(m).iter().any(|(c, _)| c == p)))
    };
    wait_until("one HAProxy to be left", secs(15), is_one)?;
    let master = w.one.haproxy_master().unwrap_or(-1);
    let command = std::fs::read(format!("/proc/{master}/cmdline"))?;
    ensure!(command.windows(6).any(|w| w == b"-n\x0077\0"), "{}", String::from_utf8_lossy(&command));
    Ok(())
}

/// The HAProxy that a killed vipd left hangs, and the next vipd has another command line for it.
fn hung_and_replaced(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let ini = patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)]));
    let one = Vipd::start(&w.one, &ini)?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    one.kill();
    one.wait_exit(secs(1))?;
    let old = w.one.pids("haproxy");
    for pid in &old {
        kill(Pid::from_raw(*pid), Signal::SIGSTOP)?;
    }
    let again = Vipd::start(&w.one, &ini.replace("[haproxy]\n", "[haproxy]\nargs = -n 77\n"))?;
    again.wait_log(words::MASTER, ELECTION + secs(10))?;
    wait_until("those that hang to be gone", secs(15), || {
        w.one.pids("haproxy").iter().all(|pid| !old.contains(pid))
    })?;
    w.client()?.wait_answer_by("node1", secs(3)).map(drop)
}

/// A container, as far as vipd can tell: namespaces, a root that cannot be written to, a /run of its own and
/// empty, /dev with next to nothing in it, /proc/sys read-only; the node's directory is /mnt. `last` becomes
/// PID 1.
fn container(node: &Node, last: &str) -> Result<Proc> {
    let dir = node.dir().display();
    let script = format!(
        "set -e
        mkdir -p {dir}/dev {dir}/etc
        mount -t tmpfs tmpfs {dir}/dev
        for f in null urandom; do : >{dir}/dev/$f; mount --bind /dev/$f {dir}/dev/$f; done
        mount --rbind {dir}/dev /dev
        mount --bind {dir} /mnt
        mount --bind {dir}/etc /etc
        mount -t tmpfs -o mode=755 tmpfs /run
        mount --bind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        mount -o remount,bind,ro /
        cd /
        exec {last}"
    );
    let mut cmd = Command::new("unshare");
    cmd.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", &script]);
    Proc::start(node, "container", cmd)
}

/// With what `docker run --cap-drop ALL --cap-add ...` leaves.
fn vipd_alone() -> Result<String> {
    let caps = "-all,+net_admin,+net_raw,+net_bind_service";
    let vipd = vipd_path()?;
    Ok(format!("setpriv --bounding-set={caps} --inh-caps=-all {} -c /mnt/vipd.ini", vipd.display()))
}

/// The configuration as the container sees it, everything else by default.
fn contained(node: &Node, ini: &str) -> Result<()> {
    let dir = node.dir().display().to_string();
    let socket = format!("control_socket = {dir}/vipd/control\n");
    node.write("vipd.ini", &ini.replace(&socket, "").replace(&dir, "/mnt"))?;
    Ok(())
}

/// The children of a process, as pids and states.
fn children(parent: i32) -> Vec<(i32, String)> {
    let dirs = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = dirs.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let child = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.to_owned();
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    };
    pids.filter_map(child).collect()
}

/// Asks until it is so.
pub fn wait_until(what: &str, timeout: Duration, f: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !f() {
        // Of no node: what every process of this machine suffered.
        let deadline = start + bound(timeout, &[], start, Instant::now());
        ensure!(Instant::now() < deadline, "waited {timeout:?} in vain for {what}");
        std::thread::sleep(ms(10));
    }
    Ok(())
}

/// The PID 1 of a container, as it is called outside.
fn pid_1(container: &Proc) -> Result<i32> {
    let first = children(container.pid()).first().map(|(pid, _)| *pid);
    first.ok_or_else(|| Error("the container has no PID 1".to_owned()))
}

/// A thousand orphans are reaped; TERM ends everything in order and in time.
fn as_pid_1(w: &World) -> Result<()> {
    w.one.sysctl("net.ipv4.ip_nonlocal_bind", "1")?; // as `docker run --sysctl` does
    contained(&w.one, &patient(&Vipd::ini(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[router(100)])))?;
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    let one = container(&w.one, &vipd_alone()?)?;
    one.wait_log(" ready after ", secs(5))?;
    one.wait_log("held over a crash", secs(5))?;
    w.watcher.wait_holder(VIP, "node1", secs(10))?;
    let init = pid_1(&one)?;
    let status = std::fs::read_to_string(format!("/proc/{init}/status"))?;
    for (set, caps) in [("CapEff:\t", "0000000000003000"), ("CapBnd:\t", "0000000000003400")] {
        ensure!(status.contains(&format!("{set}{caps}\n")), "PID 1 has the capabilities {status}");
    }
    let ours = children(init).len();
    let orphans = "i=0; while [ $i -lt 1000 ]; do (sleep 5 >/dev/null 2>&1 &); i=$((i+1)); done";
    let mut cmd = Command::new("nsenter");
    cmd.args(["-t", &init.to_string(), "-p", "-m", "sh", "-c", orphans]);
    let start = Instant::now();
    ensure!(w.one.output(&mut cmd)?.status.success(), "no shell in the container");
    let most = children(init).len() - ours;
    ensure!(most > 100, "vipd got {most} orphans only");
    wait_until("the orphans to be gone", secs(30), || children(init).len() == ours)?;
    println!("1000 orphans, {most} of them at once, are gone after {:?}", start.elapsed());
    ensure!(children(init).iter().all(|(_, state)| state != "Z"), "zombies: {:?}", children(init));
    // One of HAProxy's that dies is started again, and nothing of it stays either.
    let mark = one.log().mark();
    kill(Pid::from_raw(w.one.haproxy_master().unwrap_or(-1)), Signal::SIGKILL)?;
    one.log().wait_from(mark, "held over a crash", secs(5))?;
    wait_until("the worker to be gone", secs(5), || children(init).len() == ours)?;

    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let (haproxy, start) = (w.one.haproxy_master(), Instant::now());
    let mut cmd = Command::new("nsenter");
    cmd.args(["-t", &init.to_string(), "-p", "-m"]).arg(vipd_path()?).args([
        "upgrade",
        "-c",
        "/mnt/vipd.ini",
    ]);
    let upgrade = w.one.output(&mut cmd)?;
    let said = [upgrade.stdout, upgrade.stderr].concat();
    ensure!(upgrade.status.success(), "{}: {}", upgrade.status, String::from_utf8_lossy(&said));
    ensure!(w.one.haproxy_master() == haproxy, "another HAProxy");
    ensure!(children(init).len() == ours, "children: {:?}", children(init));
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0, "clients noticed the upgrade: {report}");

    let (mark, start) = (one.log().mark(), Instant::now());
    kill(Pid::from_raw(init), Signal::SIGTERM)?;
    let mut last = start;
    for step in
        ["Stopping", "sending 0 priority", "removing protocol VIPs", "soft stop", "haproxy stopped after"]
    {
        let line = one.log().wait_from(mark, step, secs(9))?;
        println!("{:7.1} ms  {}", (line.at - start).as_secs_f64() * 1e3, line.text);
        ensure!(line.at >= last, "{step} came too early");
        last = line.at;
    }
    let status = one.wait_exit(secs(9))?;
    println!("{:7.1} ms  {status}", start.elapsed().as_secs_f64() * 1e3);
    ensure!(
        status.code() == Some(0) && start.elapsed() < w.bound(secs(8), start),
        "{status} after {:?}",
        start.elapsed()
    );
    client.wait_answer_by("node2", secs(2))?;
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() <= 1 && report.silence < w.bound(ms(150), start), "clients noticed: {report}");
    at_peace(&[&one, &two])
}

/// Nothing to supervise; and what an orchestrator gets to know.
fn as_a_sidecar(w: &World) -> Result<()> {
    contained(&w.one, &Vipd::ini(&w.one, None, &[router(100)]))?;
    let one = container(&w.one, &vipd_alone()?)?;
    w.node1_is_master()?;
    let start = Instant::now();
    kill(Pid::from_raw(pid_1(&one)?), Signal::SIGTERM)?;
    ensure!(one.wait_exit(secs(9))?.code() == Some(0), "a clean stop ends with 0");
    let took = start.elapsed();
    println!("stopped after {took:?}");
    // There is no successor that could be heard.
    ensure!(
        (ms(3900)..w.bound(ms(4400), start)).contains(&took),
        "the stop took {took:?} instead of the hand-over's 4 s"
    );
    w.watcher.wait_holders(VIP, &[], secs(1))?;
    w.one.write("vipd.ini", "nonsense\n")?;
    let wrong = container(&w.one, &vipd_alone()?)?;
    ensure!(wrong.wait_exit(secs(5))?.code() == Some(2), "a configuration error ends with 2");
    contained(&w.one, &Vipd::ini(&w.one, None, &[router(100)]))?;
    let last = vipd_alone()?.replace(",+net_raw", "");
    let wrong = container(&w.one, &last)?;
    ensure!(wrong.wait_exit(secs(5))?.code() == Some(1), "a failure ends with 1");
    wrong.wait_log("missing capability: CAP_NET_RAW", secs(1))?;
    Ok(())
}

/// The lines of init/inittab: respawn after a crash, HAProxy is taken over; at shutdown vipd is asked first.
fn under_busybox_init(w: &World) -> Result<()> {
    let inittab: String = include_str!("../../init/inittab")
        .lines()
        .filter(|l| l.starts_with("::respawn:") || (l.starts_with("::shutdown:") && l.contains("vipd")))
        .map(|l| {
            let l = l.replace(
                "/usr/sbin/vipd",
                &format!("{} -c /mnt/vipd.ini", vipd_path().unwrap_or_default().display()),
            );
            l.replace("killall", "busybox killall").replace("pidof", "busybox pidof") + "\n"
        })
        .collect();
    ensure!(inittab.lines().count() == 2, "init/inittab has changed: {inittab}");
    std::fs::create_dir_all(w.one.dir().join("etc"))?;
    w.one.write("etc/inittab", &inittab)?;
    w.one.sysctl("net.ipv4.ip_nonlocal_bind", "1")?;
    contained(
        &w.one,
        &Vipd::ini(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[router(100).advert_int("2")]),
    )?;
    let one = container(&w.one, "busybox init")?;
    one.wait_log(" ready after ", secs(5))?;
    w.watcher.wait_holder(VIP, "node1", secs(12))?;
    one.wait_log("held over a crash", secs(5))?;
    let init = pid_1(&one)?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    // Right after an advert: with an interval of 2 s the leases take 3 s, and init waits one.
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(3))?;
    let (mark, start, haproxy) = (one.log().mark(), Instant::now(), w.one.haproxy_master());
    kill(Pid::from_raw(w.one.pids("vipd").first().copied().unwrap_or(-1)), Signal::SIGKILL)?;
    one.log().wait_from(mark, "already runs: taking it over", secs(5))?;
    let back = one.log().wait_from(mark, words::MASTER, secs(5))?.at - start;
    println!("busybox init: master again {back:?} after kill -9");
    std::thread::sleep(ms(200));
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0 && report.syn_retransmits == 0, "clients noticed: {report}");
    w.stayed(VIP)?;
    ensure!(w.one.haproxy_master() == haproxy, "HAProxy was started anew");
    ensure!(children(init).iter().all(|(_, state)| state != "Z"), "zombies: {:?}", children(init));
    // TERM means reboot to busybox init.
    let (mark, start) = (one.log().mark(), Instant::now());
    kill(Pid::from_raw(init), Signal::SIGTERM)?;
    for step in ["Stopping", "removing protocol VIPs", "soft stop", "haproxy stopped after"] {
        let line = one.log().wait_from(mark, step, secs(12))?;
        println!("{:7.1} ms  {}", (line.at - start).as_secs_f64() * 1e3, line.text);
    }
    one.wait_exit(secs(15))?;
    ensure!(one.log().grep("does not stop").is_empty(), "HAProxy was killed");
    w.watcher.wait_holders(VIP, &[], secs(1))?;
    Ok(())
}

/// As an ordinary process vipd adopts the worker. One that hangs is ended when the next HAProxy is well;
/// nothing stays of it.
fn reaps_workers(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    let worker = w.one.haproxy_workers().last().copied().unwrap_or(-1);
    let is_child = || children(one.pid()).iter().any(|(pid, _)| *pid == worker);
    kill(Pid::from_raw(worker), Signal::SIGSTOP)?;
    let mark = one.log().mark();
    kill(Pid::from_raw(w.one.haproxy_master().unwrap_or(-1)), Signal::SIGKILL)?;
    one.log().wait_from(mark, " ready after ", secs(5))?;
    ensure!(is_child(), "vipd has not adopted the worker");
    wait_until("the worker to be gone", secs(5), || !is_child())?;
    ensure!(children(one.pid()).len() == 1, "children: {:?}", children(one.pid()));
    at_peace(&[&one])
}

/// A connection through HAProxy to a server that never answers: only HAProxy's end ends it.
fn lingering(w: &World) -> Result<(TcpListener, TcpStream)> {
    let server = w.one.enter(|| TcpListener::bind("127.0.0.1:7000"))?;
    let client = w.client.enter(|| TcpStream::connect("192.168.30.116:5001"))?;
    client.set_read_timeout(Some(secs(5)))?;
    server.accept().map(|(served, _)| std::mem::forget(served))?;
    Ok((server, client))
}

fn stops_within_its_time(w: &World) -> Result<()> {
    const LIMIT: Duration = secs(3);
    for (what, said) in
        [("lingers", "still has connections"), ("ignores", "does not stop"), ("twice", "it no longer waits")]
    {
        let cfg = haproxy_cfg(&w.one, SERVICE)?;
        let slow = "listen slow\n    mode tcp\n    bind 192.168.30.116:5001\n    timeout client 1h\n    timeout server 1h\n    \
                    server s 127.0.0.1:7000\n";
        std::fs::write(&cfg, std::fs::read_to_string(&cfg)? + slow)?;
        let ini = Vipd::ini(&w.one, Some(&cfg), &[router(100)]);
        let one = Vipd::start(&w.one, &ini.replace("[haproxy]\n", "[haproxy]\nstop_timeout = 3\n"))?;
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
        let (_server, mut client) = lingering(w)?;
        if what == "ignores" {
            killpg(Pid::from_raw(w.one.haproxy_master().unwrap_or(-1)), Signal::SIGSTOP)?;
        }
        let start = Instant::now();
        one.terminate();
        let limit = if what == "twice" {
            std::thread::sleep(ms(300));
            one.terminate();
            secs(1)
        } else {
            LIMIT
        };
        let status = one.wait_exit(secs(9))?;
        let took = start.elapsed();
        println!("{what}: {status} after {took:?}");
        ensure!(
            status.code() == Some(0) && took < w.bound(limit + ms(100), start),
            "{what}: {status} after {took:?}"
        );
        ensure!(what == "twice" || took > ms(1500), "{what}: it did not wait: {took:?}");
        one.wait_log(said, secs(1))?;
        ensure!(!matches!(client.read(&mut [0]), Ok(1..)), "an answer from nowhere");
        ensure!(w.one.pids("").is_empty(), "{what}: still there: {:?}", w.one.pids(""));
    }
    Ok(())
}

/// HUP looks at HAProxy's files first; so does the vipd that has taken it over.
fn hup_reloads_what_changed(w: &World) -> Result<()> {
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, quick(100))?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    let hup = |daemon: &Proc, expected: &str| -> Result<()> {
        let mark = daemon.log().mark();
        daemon.signal(Signal::SIGHUP);
        daemon.log().wait_from(mark, expected, secs(8))?;
        Ok(())
    };
    let (unchanged, reloaded) = ("nothing has changed", "haproxy reloaded: worker");
    let worker = w.one.haproxy_workers();
    hup(&one, unchanged)?;
    ensure!(worker == w.one.haproxy_workers(), "reloaded without a reason");
    haproxy_cfg(&w.one, SERVICE)?;
    hup(&one, reloaded)?;
    hup(&one, unchanged)?;
    // One that is refused is tried again.
    w.one.write("haproxy.cfg", "nonsense\n")?;
    hup(&one, "no reload: it refuses its configuration")?;
    hup(&one, "no reload: it refuses its configuration")?;
    one.kill();
    one.wait_exit(secs(2))?;
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let again = Vipd::run(&w.one, Some(&cfg), &[quick(100)])?;
    again.wait_log("already runs: taking it over", secs(2))?;
    again.wait_log(" ready after ", secs(2))?;
    hup(&again, reloaded)?;
    hup(&again, unchanged)
}

/// A HAProxy that gets no -W and -S, by a wrapper that drops them or refuses them: ready, watched, held over
/// a crash, taken over and stopped as any other; only not reloaded.
fn without_master(w: &World, how: &str) -> Result<()> {
    let text = if how.starts_with("strips") {
        let drop = "for a; do shift; case $a in -W|-S|*,mode,600) ;; *) set -- \"$@\" \"$a\";; esac; done";
        format!("{drop}; exec {} \"$@\"", haproxy_path())
    } else {
        let refuse = "for a; do [ \"$a\" != -W ] || { echo 'Usage : haproxy [-f <cfgfile|cfgdir>]*' >&2; exit 1; }; done";
        format!("{refuse}; exec {} \"$@\"", haproxy_path())
    };
    let program = program(&w.one, "plain", &text)?;
    let one = with_program(&w.one, &program, "crash_limit = 1000\nrestart_grace = 10\nstart_timeout = 30\n")?;
    w.node1_is_master()?;
    one.wait_log("runs without a master process", secs(5))?;
    one.wait_log("held over a crash", secs(5))?;
    ensure!(w.one.pids("haproxy").len() == 1, "not one process: {:?}", w.one.pids("haproxy"));
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;

    // A reload would end it.
    let (mark, start) = (one.log().mark(), Instant::now());
    one.signal(Signal::SIGUSR2);
    one.log().wait_from(mark, "no reload: it runs without a master process", secs(5))?;
    // Killed: nobody is refused.
    kill(Pid::from_raw(w.one.pids("haproxy")[0]), Signal::SIGKILL)?;
    one.log().wait_from(mark, "held over a crash", secs(5))?;
    client.wait_answer_by("node1", secs(2))?;
    let report = client.report(start, Instant::now())?;
    println!("{report}");
    ensure!(!report.failed.contains_key("refused") && report.failures() <= 4, "{report}");
    // Stopped: noticed, killed and started again.
    let mark = one.log().mark();
    kill(Pid::from_raw(w.one.pids("haproxy")[0]), Signal::SIGSTOP)?;
    one.log().wait_from(mark, "it hangs and is killed", secs(8))?;
    one.log().wait_from(mark, " ready after ", secs(8))?;
    // Taken over, or followed by one of our own.
    one.kill();
    one.wait_exit(secs(2))?;
    let again = with_program(&w.one, &program, "")?;
    again.wait_log("runs without a master process", secs(8))?;
    let adopted = !again.log().grep("taking it over").is_empty();
    ensure!(adopted == how.starts_with("strips"), "taken over: {adopted}");
    wait_until("one HAProxy", secs(5), || w.one.pids("haproxy").len() == 1)?;
    client.wait_answer_by("node1", ELECTION)?;
    again.terminate();
    ensure!(again.wait_exit(secs(9))?.success(), "the stop was not clean");
    ensure!(w.one.pids("").is_empty(), "still there: {:?}", w.one.pids(""));
    Ok(())
}

/// Master and worker die 1 s after every start: the address moves once, and stays where it went.
fn crashes_after_every_start(w: &World) -> Result<()> {
    let ini = Vipd::ini(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[router(100)]);
    let one = Vipd::start(&w.one, &patient(&ini))?;
    let (_two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    let (mut mark, mut loops, mut settled) = (0, 0, None::<Instant>);
    while settled.is_none_or(|at| at.elapsed() < secs(15)) {
        one.log().wait_from(mark, "] ready after", secs(20))?;
        mark = one.log().mark();
        std::thread::sleep(secs(1));
        super::haproxy::kill_9(&w.one, "all")?;
        loops += 1;
        if settled.is_none() && loops > 3 {
            one.log().wait_from(mark, "died 4 times within 30 s: other nodes are preferred", secs(5))?;
            w.watcher.wait_holder(VIP, "node2", ELECTION)?;
            settled = Some(Instant::now());
        }
    }
    let moves: Vec<_> = w.watcher.timeline(VIP).into_iter().filter(|c| c.held).collect();
    println!("deaths {loops}, moves {moves:?}");
    ensure!(moves.iter().all(|c| settled.is_some_and(|at| c.at <= at)), "the address moved back: {moves:?}");
    let holders: Vec<_> = moves.iter().map(|c| c.node.as_str()).collect();
    ensure!(holders.ends_with(&["node1", "node2"]) && holders.len() <= 3, "the address moved: {moves:?}");
    ensure!(loops > 6, "it did not go on");
    w.watcher.no_overlap(VIP, ms(20))
}
