//! HAProxy dies, is reloaded or cannot be started, under load: nobody is refused while its listening sockets
//! are held, and no held socket swallows a connection.

use super::*;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;

pub const TESTS: &[(&str, Test)] = &[
    ("kill_9_of_haproxy_refuses_nobody", kill_9_refuses_nobody),
    ("a_crash_amid_a_change_of_binds_swallows_nobody", binds_come_and_go),
    ("a_give_up_swallows_nobody", give_up_swallows_nobody),
    ("reloads_lose_nothing", reloads_lose_nothing),
    ("an_adopted_haproxy_is_held_as_well", adopted_is_held),
    ("crashes_leak_nothing", |w| crashes_leak_nothing(w, 20)),
    ("holds_sockets_of_all_kinds", holds_all_kinds),
    ("says_why_sockets_cannot_be_held", says_why_not),
    ("says_what_to_do_about_an_address_that_cannot_be_bound", names_unbound),
];

/// That many connections may be open when a HAProxy is killed; they cannot be saved.
const IN_FLIGHT: usize = 8;
const HELD: &str = "held over a crash";

/// vipd with a HAProxy that may die as often as a test likes.
fn sturdy(node: &Node, cfg: &std::path::Path, more: &str) -> Result<Vipd> {
    let ini = Vipd::ini(node, Some(cfg), &[quick(100)]);
    let ini = ini.replace("[haproxy]\n", &format!("[haproxy]\ncrash_limit = 1000\n{more}"));
    Vipd::start(node, &patient(&ini))
}

/// Clients with 100 requests a second each. The queue of a listening socket has room for 2000, so that nobody
/// is turned away while HAProxy takes seconds to start.
fn clients(w: &World, count: usize, service: &str) -> Result<Vec<Client>> {
    let clients: Result<Vec<Client>> =
        (0..count).map(|_| Client::start_with(&w.client, service, ms(10), secs(8))).collect();
    let clients = clients?;
    for c in &clients {
        c.wait_answer(secs(5))?;
    }
    Ok(clients)
}

/// What all of them saw.
fn seen(clients: &[Client], from: Instant, to: Instant) -> Result<Report> {
    let mut all = Report::default();
    for c in clients {
        let r = c.report(from, to)?;
        all.requests += r.requests;
        all.silence = all.silence.max(r.silence);
        all.slowest = all.slowest.max(r.slowest);
        all.syn_retransmits += r.syn_retransmits;
        let add = |sum: &mut BTreeMap<_, usize>, k, n| *sum.entry(k).or_default() += n;
        r.failed.into_iter().for_each(|(k, n)| add(&mut all.failed, k, n));
        for (k, n) in r.by {
            *all.by.entry(k).or_default() += n;
        }
    }
    Ok(all)
}

fn count(report: &Report, kind: &str) -> usize {
    report.failed.get(kind).copied().unwrap_or(0)
}

/// SIGKILL for the worker, the master, or both at once.
pub fn kill_9(node: &Node, victim: &str) -> Result<()> {
    let master = node.haproxy_master().ok_or_else(|| Error("no HAProxy".to_owned()))?;
    match victim {
        "master" => kill(Pid::from_raw(master), Signal::SIGKILL)?,
        "worker" | "old worker" => {
            // The youngest may be an heir that has just been made.
            let all = node.haproxy_workers();
            let worker = if victim == "worker" { all.last() } else { all.first() };
            let worker = worker.ok_or_else(|| Error("no HAProxy worker".to_owned()))?;
            kill(Pid::from_raw(*worker), Signal::SIGKILL)?;
        }
        _ => killpg(Pid::from_raw(master), Signal::SIGKILL)?,
    }
    Ok(())
}

fn kill_9_refuses_nobody(w: &World) -> Result<()> {
    let one = sturdy(&w.one, &haproxy_cfg(&w.one, SERVICE)?, "")?;
    w.node1_is_master()?;
    one.wait_log(HELD, secs(5))?;
    let clients = clients(w, 4, SERVICE)?;
    let (mut worst, begin) = (Vec::new(), Instant::now());
    for victim in ["worker", "master", "all"].into_iter().cycle().take(6) {
        let (mark, start) = (one.log().mark(), Instant::now());
        kill_9(&w.one, victim)?;
        one.log().wait_from(mark, HELD, secs(5))?;
        // An orphan of a worker goes by itself after 1.3 to 1.8 s.
        std::thread::sleep(if victim == "master" { secs(2) } else { ms(300) });
        let report = seen(&clients, start, Instant::now())?;
        println!("kill -9 of {victim}: {report}");
        ensure!(
            count(&report, "refused") == 0
                && count(&report, "timeout") == 0
                && report.failures() <= IN_FLIGHT,
            "kill -9 of {victim}: {report}"
        );
        ensure!(report.syn_retransmits == 0, "kill -9 of {victim}: {report}");
        worst.push(report.silence);
    }
    ensure!(worst.iter().all(|t| *t < w.bound(ms(500), begin)), "silences {worst:?}");
    w.stayed(VIP)?;
    let status = one.cli(&["status"])?;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(text.contains("1 listening socket(s) held"), "{text}");
    ensure!(!one.log().grep("_getsocks").iter().any(|_| true), "an error was told");
    Ok(())
}

/// A `bind` that goes away with a reload, and comes back, and HAProxy killed right then.
fn binds_come_and_go(w: &World) -> Result<()> {
    const OTHER: &str = "192.168.30.230:5001";
    let both = format!("{SERVICE},{OTHER}");
    let one = sturdy(&w.one, &haproxy_cfg(&w.one, &both)?, "")?;
    w.node1_is_master()?;
    one.wait_log("2 listening socket(s) held", secs(5))?;
    let stay = clients(w, 2, SERVICE)?;
    let go = clients(w, 2, OTHER)?;
    let begin = Instant::now();
    for round in 0..6 {
        // Removed by a reload, without one but with a crash, and by a reload with a crash in the middle of
        // it.
        for (bind, held) in [(SERVICE, "1 listening"), (&both, "2 listening")] {
            haproxy_cfg(&w.one, bind)?;
            let mark = one.log().mark();
            match round % 3 {
                0 => one.signal(Signal::SIGUSR2),
                1 => kill_9(&w.one, "worker")?,
                _ => {
                    one.signal(Signal::SIGUSR2);
                    one.log().wait_from(mark, "checking its configuration", secs(2))?;
                    std::thread::sleep(ms(5 * round));
                    kill_9(&w.one, if round == 2 { "all" } else { "old worker" })?;
                }
            }
            one.log().wait_from(mark, held, secs(8))?;
            let settled = Instant::now();
            std::thread::sleep(ms(200));
            let report = seen(&go, settled, Instant::now())?;
            let expected = if bind == SERVICE { "refused" } else { "answered" };
            let other = report.requests
                - if bind == SERVICE { count(&report, "refused") } else { report.by.values().sum() };
            ensure!(other == 0 && report.requests > 0, "round {round}: not all were {expected}: {report}");
        }
    }
    let (stay, go) = (seen(&stay, begin, Instant::now())?, seen(&go, begin, Instant::now())?);
    println!("the bind that stays: {stay}\nthe bind that goes: {go}");
    for report in [stay, go] {
        ensure!(count(&report, "timeout") == 0, "a connection hung: {report}");
    }
    Ok(())
}

/// HAProxy is dead and does not come back in time: who waits on a held socket is told so when the address
/// goes.
fn give_up_swallows_nobody(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let wrapper = |what: &str| -> Result<std::path::PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = w.one.write("haproxy.new", &format!("#!/bin/sh\nexec {what}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        let target = path.with_file_name("haproxy");
        std::fs::rename(&path, &target)?;
        Ok(target)
    };
    let program = wrapper(&format!("{} \"$@\"", haproxy_path()))?;
    let ini = Vipd::ini(&w.one, Some(&cfg), &[router(100)]);
    let one = Vipd::start(&w.one, &ini.replace(&haproxy_path(), &program.display().to_string()))?;
    w.node1_is_master()?;
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(99))?;
    // Only a master that was heard can give up.
    two.wait_log(words::BACKUP, secs(5))?;
    w.capture.wait_advert("node1", VRID, Instant::now(), secs(2))?;
    one.wait_log(HELD, secs(5))?;
    let clients = clients(w, 4, SERVICE)?;
    wrapper("sleep 3")?;
    let start = Instant::now();
    kill_9(&w.one, "all")?;
    // restart_grace of 0.5 s with everybody in the queue, then the skew time.
    clients[0].wait_answer_by("node2", secs(6))?;
    let report = seen(&clients, start, Instant::now())?;
    println!("{report}");
    ensure!(count(&report, "timeout") == 0, "a connection hung: {report}");
    ensure!(count(&report, "reset") + count(&report, "closed") > 100, "nobody had waited: {report}");
    // Between the end of the sockets and that of the address.
    ensure!(count(&report, "refused") < 100, "they were not held: {report}");
    w.watcher.no_overlap(VIP, ms(20))?;
    Ok(())
}

fn reloads_lose_nothing(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = sturdy(&w.one, &cfg, "")?;
    w.node1_is_master()?;
    one.wait_log(HELD, secs(5))?;
    let good = std::fs::read_to_string(&cfg)?;
    let clients = clients(w, 8, SERVICE)?;
    let begin = Instant::now();
    for round in 0..20 {
        let mark = one.log().mark();
        if round % 2 == 0 {
            one.signal(Signal::SIGUSR2);
        } else {
            // Nothing has changed, neither in vipd.ini nor in haproxy.cfg.
            let out = one.cli(&["reload", "--haproxy"])?;
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let told = text.starts_with("HAProxy: checking its files, then reloading it\n");
            ensure!(
                out.status.code() == Some(0) && told && text.contains("haproxy reloaded: worker"),
                "{text}"
            );
        }
        one.log().wait_from(mark, "haproxy reloaded: worker", secs(8))?;
        one.log().wait_from(mark, HELD, secs(3))?;
    }
    let workers = w.one.haproxy_workers();
    w.one.write("haproxy.cfg", &format!("{good}    no_such_keyword\n"))?;
    for _ in 0..20 {
        let mark = one.log().mark();
        one.signal(Signal::SIGUSR2);
        one.log().wait_from(mark, "no_such_keyword", secs(8))?;
        std::thread::sleep(ms(70)); // no more than 100 lines of HAProxy's are told in a second
        one.log().wait_from(mark, "no reload: it refuses its configuration (exit status 1)", secs(8))?;
    }
    let out = one.cli(&["reload", "--haproxy"])?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(out.status.code() == Some(1) && text.contains("unknown keyword 'no_such_keyword'"), "{text}");
    ensure!(workers.last() == w.one.haproxy_workers().last(), "a refused reload had an effect");
    let report = seen(&clients, begin, Instant::now())?;
    println!("{report}");
    ensure!(report.failures() == 0 && report.syn_retransmits == 0, "clients noticed: {report}");
    w.stayed(VIP)?;
    Ok(())
}

/// vipd is killed, HAProxy goes on; the next vipd holds its sockets again, although it was started with `-x`.
fn adopted_is_held(w: &World) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = sturdy(&w.one, &cfg, "")?;
    w.node1_is_master()?;
    one.wait_log(HELD, secs(5))?;
    let mark = one.log().mark();
    kill_9(&w.one, "worker")?;
    one.log().wait_from(mark, HELD, secs(5))?;
    one.kill();
    one.wait_exit(secs(2))?;
    let again = sturdy(&w.one, &cfg, "")?;
    again.wait_log("already runs: taking it over", secs(2))?;
    again.wait_log(HELD, secs(3))?;
    w.node1_is_master()?;
    let clients = clients(w, 4, SERVICE)?;
    let (mark, start) = (again.log().mark(), Instant::now());
    kill_9(&w.one, "worker")?;
    again.log().wait_from(mark, HELD, secs(5))?;
    std::thread::sleep(ms(200));
    let report = seen(&clients, start, Instant::now())?;
    ensure!(count(&report, "refused") == 0 && report.failures() <= IN_FLIGHT, "{report}");
    Ok(())
}

/// HAProxy dies that often: neither descriptors nor memory of vipd grow, and nobody is refused.
pub fn crashes_leak_nothing(w: &World, cycles: usize) -> Result<()> {
    let one = sturdy(&w.one, &haproxy_cfg(&w.one, SERVICE)?, "")?;
    w.node1_is_master()?;
    one.wait_log(HELD, secs(5))?;
    let clients = clients(w, 2, SERVICE)?;
    let fds = || -> Result<usize> { Ok(std::fs::read_dir(format!("/proc/{}/fd", one.pid()))?.count()) };
    let mut levels = Vec::new();
    let begin = Instant::now();
    for i in 0..cycles {
        let mark = one.log().mark();
        kill_9(&w.one, if i % 2 == 0 { "worker" } else { "all" })?;
        one.log().wait_from(mark, HELD, secs(8))?;
        if i % 10 == 9 {
            levels.push((fds()?, program::anonymous_kib(one.pid())?));
        }
    }
    let report = seen(&clients, begin, Instant::now())?;
    println!("{cycles} crashes: descriptors and KiB {levels:?}; {report}");
    ensure!(count(&report, "refused") == 0 && count(&report, "timeout") == 0, "{report}");
    let (Some(first), Some(last)) = (levels.first(), levels.last()) else { fail!("too few cycles") };
    // The pipe of the one before may still be open.
    ensure!(last.0 <= first.0 + 2 && last.1 <= first.1 + 100, "it grows: {levels:?}");
    Ok(())
}

fn names_unbound(w: &World) -> Result<()> {
    w.two.sysctl("net.ipv4.ip_nonlocal_bind", "0")?;
    let cfg = haproxy_cfg(&w.two, SERVICE)?;
    let two = sturdy(&w.two, &cfg, "nonlocal_bind = no\n")?;
    two.wait_log(&format!("haproxy cannot bind to {} before this node holds it", VIP), secs(10))?;
    Ok(())
}

/// More than fit into one message, of both families, one per thread, a UNIX one, with a HAProxy that has left
/// root and its root directory: what is held after ten crashes is what was held at first.
fn holds_all_kinds(w: &World) -> Result<()> {
    let dir = w.one.dir().display();
    let mut cfg = format!(
        "global\n    maxconn 2000\n    nbthread 2\n    user nobody\n    chroot {dir}/empty\n    \
         unix-bind prefix {dir}/\n    stats socket {dir}/own.sock mode 600 level admin expose-fd listeners\n\
         defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n\
         frontend app\n    http-request return status 200 content-type text/plain string \"node1\"\n    \
         bind {SERVICE} shards by-thread\n    bind [::]:5001 v6only\n    bind unix@app.sock\n"
    );
    (6000..6300).for_each(|port| cfg += &format!("    bind :{port} interface eth0\n"));
    std::fs::create_dir_all(w.one.dir().join("empty"))?;
    let one = sturdy(&w.one, &w.one.write("haproxy.cfg", &cfg)?, "")?;
    // Two shards, IPv6, UNIX, the stats socket of its own, and 300.
    let held = "305 listening socket(s) held";
    one.wait_log(held, secs(5))?;
    w.node1_is_master()?;
    let clients = [
        clients(w, 2, SERVICE)?,
        clients(w, 1, "192.168.30.230:6000")?,
        clients(w, 1, "192.168.30.116:6299")?,
    ];
    let clients = clients.into_iter().flatten().collect::<Vec<_>>();
    let start = Instant::now();
    for i in 0..10 {
        let mark = one.log().mark();
        kill_9(&w.one, if i % 2 == 0 { "worker" } else { "all" })?;
        one.log().wait_from(mark, held, secs(8))?;
    }
    let mark = one.log().mark();
    one.signal(Signal::SIGUSR2);
    one.log().wait_from(mark, "haproxy reloaded", secs(8))?;
    one.log().wait_from(mark, held, secs(3))?;
    std::thread::sleep(ms(100));
    let report = seen(&clients, start, Instant::now())?;
    println!("{report}");
    ensure!(count(&report, "refused") == 0 && count(&report, "timeout") == 0, "{report}");
    ensure!(report.failures() <= 10 * IN_FLIGHT && report.requests > 100, "{report}");
    Ok(())
}

/// Too few descriptors: said, once, and all the rest goes on. Told not to: nothing is said or done.
fn says_why_not(w: &World) -> Result<()> {
    let many: String = (6000..6100).map(|port| format!(",:{port}")).collect();
    let cfg = haproxy_cfg(&w.one, &format!("{SERVICE}{many}"))?;
    let program = w.one.dir().join("few");
    // HAProxy wants more, which its hard limit allows.
    std::fs::write(&program, format!("#!/bin/sh\nulimit -Sn 64\nexec {} \"$@\"\n", vipd_path()?.display()))?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut cmd = std::process::Command::new(&program);
    cmd.arg("-c").arg(w.one.write("vipd.ini", &patient(&Vipd::ini(&w.one, Some(&cfg), &[quick(100)])))?);
    let few = Proc::start(&w.one, "vipd", cmd)?;
    w.node1_is_master()?;
    few.wait_log("cannot be held (more than the limit of open files)", secs(8))?;
    let open = std::fs::read_dir(format!("/proc/{}/fd", few.pid()))?.count();
    ensure!(open < 24, "{open} descriptors are open");
    let clients = clients(w, 1, SERVICE)?;
    kill_9(&w.one, "all")?;
    clients[0].wait_answer(secs(5))?;
    ensure!(few.log().grep("cannot be held").len() == 1, "not said once");
    few.terminate();
    few.wait_exit(secs(9))?;

    let one = sturdy(&w.one, &cfg, "keep_listeners = no\n")?;
    one.wait_log(" ready after ", secs(5))?;
    ensure!(!w.one.dir().join("vipd/control.haproxy-x").exists(), "a socket is offered");
    kill_9(&w.one, "all")?;
    one.wait_log("starting it again", secs(2))?;
    clients[0].wait_answer(secs(9))?;
    ensure!(one.log().grep("listening socket").is_empty(), "sockets are held all the same");
    Ok(())
}
