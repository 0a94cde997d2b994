//! Capabilities, and files that others could have put there.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("gives_up_what_it_does_not_need", gives_up),
    ("works_with_debians_haproxy_cfg", debian),
    ("names_a_missing_capability", names_missing),
    ("a_reload_does_not_need_what_was_given_up", reload_needs_what_was_dropped),
    ("believes_no_file_of_somebody_elses", believes_nobody),
];

const VITAL: u64 = 1 << 12 | 1 << 13;
const KILL: u64 = 1 << 5;
/// KILL, SETGID, SETUID, SYS_NICE: for a vipd.ini to come.
const RELOAD: u64 = VITAL | KILL | 1 << 6 | 1 << 7 | 1 << 23;
/// CHOWN, DAC_OVERRIDE, FOWNER, NET_BIND_SERVICE, SYS_CHROOT, SYS_RESOURCE: for any haproxy.cfg.
const HAPROXY: u64 = RELOAD | 1 | 1 << 1 | 1 << 3 | 1 << 10 | 1 << 18 | 1 << 24;

/// The sets of a process: in effect, permitted, inheritable, bounding, ambient.
fn caps(pid: i32) -> Result<[u64; 5]> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(["Eff", "Prm", "Inh", "Bnd", "Amb"].map(|name| {
        let line = status.lines().find_map(|l| l.strip_prefix(&format!("Cap{name}:\t")));
        line.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(u64::MAX)
    }))
}

fn has_caps(what: &str, pid: i32, own: u64, kept: u64) -> Result<()> {
    let sets = caps(pid)?;
    let all = caps(std::process::id() as i32)?[3];
    let (own, kept) = (own & all, kept & all);
    ensure!(sets == [own, kept, 0, kept, 0], "{what}: {own:x}, {kept:x} and not {sets:x?}");
    Ok(())
}

fn gives_up(w: &World) -> Result<()> {
    let all = caps(std::process::id() as i32)?[3];
    let plain = Vipd::ini(&w.one, None, &[router(100)]);
    let run = |ini: &str| -> Result<Vipd> {
        let one = Vipd::start(&w.one, ini)?;
        one.wait_log("starts on", secs(2))?;
        Ok(one)
    };
    let one = run(&plain)?;
    has_caps("vipd alone", one.pid(), VITAL, RELOAD)?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?; // and it works
    drop(one);
    let check = "[check c]\ntype = exec\ntarget = /bin/sh -c \"sleep 100\"\nuser = nobody\ntimeout = 10\ninterval = 20\n";
    let one = run(&format!("{plain}{check}").replace("[vrrp VI_51]\n", "[vrrp VI_51]\ntrack = c\n"))?;
    has_caps("with a command", one.pid(), VITAL | KILL | 1 << 6 | 1 << 7, all)?;
    // Until it is another program the command has vipd's lock, too.
    let deadline = Instant::now() + secs(2);
    while w.one.pids("sleep").is_empty() {
        ensure!(Instant::now() < deadline, "no command");
        std::thread::sleep(ms(5));
    }
    drop(one);
    let rt = "realtime_priority = 1\nlock_memory = yes\n";
    let one = run(&plain.replace("log = stderr\n", &format!("log = stderr\n{rt}")))?;
    has_caps("realtime", one.pid(), VITAL | 1 << 23 | 1 << 14, RELOAD | 1 << 14)?;
    drop(one);
    let one = Vipd::run(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[router(100)])?;
    one.wait_log(" ready after ", secs(5))?;
    has_caps("with HAProxy", one.pid(), VITAL | KILL, HAPROXY)?;
    has_caps("HAProxy", w.one.haproxy_master().unwrap_or(-1), HAPROXY, HAPROXY)?;
    ensure!(one.log().grep("capabilit").is_empty(), "nothing is missing");
    Ok(())
}

/// A node's own /run/haproxy, as Debian's tmpfiles has it; no socket is made elsewhere.
fn debian_cfg(w: &World) -> Result<(PathBuf, PathBuf)> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let user = passwd.lines().find_map(|l| l.strip_prefix("haproxy:"));
    let Some(ids) = user else { return Err(Error::missing("the user haproxy")) };
    let ids: Vec<u32> = ids.split(':').skip(1).take(2).filter_map(|n| n.parse().ok()).collect();
    let dir = w.one.dir().join("haproxy");
    std::fs::create_dir(&dir)?;
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o2775))?;
    if std::os::unix::fs::chown(&dir, ids.first().copied(), ids.get(1).copied()).is_err() {
        return Err(Error::missing("a user namespace with more than root in it"));
    }
    let socket = dir.join("admin.sock");
    let cfg = w.one.write(
        "haproxy.cfg",
        &format!(
            "global\n\tlog /dev/log\tlocal0\n\tchroot /var/lib/haproxy\n\tmaxconn 3000\n\
             \tstats socket {} mode 660 level admin\n\tstats timeout 30s\n\tuser haproxy\n\tgroup haproxy\n\tdaemon\n\n\
             defaults\n\tmode http\n\ttimeout connect 5000\n\ttimeout client 50000\n\ttimeout server 50000\n\n\
             frontend app\n\tbind {SERVICE}\n\tbind 127.0.0.1:80\n\thttp-request return status 200 content-type \
             text/plain string \"node1\"\n",
            socket.display()
        ),
    )?;
    Ok((cfg, socket))
}

/// Its users, its chroot, a socket in its directory, a port below 1024, more descriptors than the limit; and
/// reloads.
fn debian(w: &World) -> Result<()> {
    let (cfg, socket) = debian_cfg(w)?;
    // Who may raise it has fewer descriptors than HAProxy needs.
    let few = caps(std::process::id() as i32)?[0] & 1 << 24 != 0;
    let mut cmd = Command::new("prlimit");
    cmd.arg(if few { "--nofile=1024:1024" } else { "--core=0" }).arg(vipd_path()?);
    cmd.arg("-c").arg(w.one.write("vipd.ini", &Vipd::ini(&w.one, Some(&cfg), &[router(100)]))?);
    let one = Proc::start(&w.one, "vipd", cmd)?;
    one.wait_log("held over a crash", secs(5))?;
    has_caps("vipd", one.pid(), VITAL | KILL, HAPROXY)?;
    w.node1_is_master()?;
    let client = w.client()?;
    client.wait_answer_by("node1", secs(3))?;
    let worker = || w.one.haproxy_workers().last().copied().unwrap_or(-1);
    let looks_like_debians = |pid: i32| -> Result<()> {
        let uid = std::fs::metadata(format!("/proc/{pid}"))?.uid();
        ensure!(uid != 0, "the worker is root");
        ensure!(caps(pid)?[0] == 0, "the worker has {:x?}", caps(pid)?);
        let root = std::fs::read_link(format!("/proc/{pid}/root"))?;
        ensure!(root == Path::new("/var/lib/haproxy"), "its root is {root:?}");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap_or_default();
        ensure!(files.split_whitespace().nth(3).and_then(|n| n.parse().ok()) > Some(6000), "{files}");
        ensure!(std::fs::symlink_metadata(&socket)?.permissions().mode() & 0o777 == 0o660, "its socket");
        Ok(())
    };
    looks_like_debians(worker())?;
    let start = Instant::now();
    for line in ["\tbind 127.0.0.1:81\n", "\tbind 127.0.0.1:82 user haproxy\n"] {
        let (mark, before) = (one.log().mark(), worker());
        std::fs::write(&cfg, std::fs::read_to_string(&cfg)? + line)?;
        one.signal(Signal::SIGHUP);
        one.log().wait_from(mark, "haproxy reloaded: worker", secs(8))?;
        ensure!(worker() != before, "no other worker");
        looks_like_debians(worker())?;
    }
    let report = client.report(start, Instant::now())?;
    ensure!(report.failures() == 0, "clients noticed the reloads: {report}");
    // One of another user that hangs is ended: that is what KILL is for.
    let (mark, hung) = (one.log().mark(), worker());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(hung), Signal::SIGSTOP)?;
    one.log().wait_from(mark, "it hangs and is killed", secs(8))?;
    one.log().wait_from(mark, " ready after ", secs(8))?;
    ensure!(!w.one.pids("haproxy").contains(&hung), "the hung worker is still there");
    one.terminate();
    ensure!(one.wait_exit(secs(9))?.success(), "the stop was not clean");
    Ok(())
}

/// vipd without these capabilities.
fn without(w: &World, ini: &str, caps: &str) -> Result<Proc> {
    let mut cmd = Command::new("setpriv");
    cmd.arg(format!("--bounding-set={caps}")).arg("--inh-caps=-all").arg(vipd_path()?);
    cmd.arg("-c").arg(w.one.write("vipd.ini", ini)?);
    Proc::start(&w.one, "vipd", cmd)
}

fn names_missing(w: &World) -> Result<()> {
    let plain = Vipd::ini(&w.one, None, &[router(100)]);
    for (caps, said) in [
        ("-net_raw", "missing capability: CAP_NET_RAW (adverts)"),
        ("-net_admin", "missing capability: CAP_NET_ADMIN (addresses)"),
        ("-all", "missing capability: CAP_NET_ADMIN (addresses), CAP_NET_RAW (adverts)"),
    ] {
        let one = without(w, &plain, caps)?;
        ensure!(one.wait_exit(secs(2))?.code() == Some(1), "{caps}: a failure ends with 1");
        one.wait_log(said, secs(1))?;
        ensure!(one.log().grep(said).len() == 1 && one.log().mark() == 1, "{caps}: one line that says why");
    }
    let (cfg, _) = debian_cfg(w)?;
    let ini = Vipd::ini(&w.one, Some(&cfg), &[router(100)]);
    let one = without(w, &ini, "-all,+net_admin,+net_raw")?;
    let said = "missing capability: CAP_KILL, CAP_SETUID (haproxy.cfg: user), CAP_SETGID (haproxy.cfg: group), \
                CAP_SYS_CHROOT (haproxy.cfg: chroot), CAP_NET_BIND_SERVICE (haproxy.cfg: bind), \
                CAP_DAC_OVERRIDE (haproxy.cfg: a socket in a directory of another user)";
    let line = one.wait_log("missing capability", secs(2))?;
    ensure!(line.text == said, "{}", line.text);
    has_caps("with two", one.pid(), VITAL, VITAL)?;
    w.one.kill_all();
    one.wait_exit(secs(2))?;
    // Where none of it is needed nothing is said, and it works.
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let ini = Vipd::ini(&w.one, Some(&cfg), &[router(100)]);
    // A child that had not yet become HAProxy holds its parent's lock until the kernel has put it away.
    let deadline = Instant::now() + secs(5);
    let one = loop {
        let one = without(w, &ini, "-all,+net_admin,+net_raw")?;
        match one.log().wait_any(0, &["starts on node1", "already running"], secs(2))?.text {
            text if text.contains("already running") && Instant::now() < deadline => {
                one.wait_exit(secs(2))?
            }
            _ => break one,
        };
    };
    w.node1_is_master()?;
    w.client()?.wait_answer_by("node1", secs(3))?;
    ensure!(one.log().grep("capabilit").is_empty(), "nothing is missing");
    Ok(())
}

fn reload_needs_what_was_dropped(w: &World) -> Result<()> {
    let plain = Vipd::ini(&w.one, None, &[router(100)]);
    let one = Vipd::start(&w.one, &plain)?;
    w.node1_is_master()?;
    let reload = |ini: &str, code: i32| -> Result<String> {
        w.one.write("vipd.ini", ini)?;
        let out = one.cli(&["reload"])?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        ensure!(out.status.code() == Some(code), "{code} and not {}: {text}", out.status);
        Ok(text)
    };
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let with = Vipd::ini(&w.one, Some(&cfg), &[router(100)]);
    let text = std::fs::read_to_string(&cfg)?;
    std::fs::write(&cfg, text.replace("global\n", "global\n    chroot /var/lib\n"))?;
    let said = reload(&with, 2)?;
    let why = "needs a restart: capabilities were dropped at the start: CAP_SYS_CHROOT (haproxy.cfg: chroot)";
    ensure!(said.contains(why) && said.ends_with("nothing was changed\n"), "{said}");
    ensure!(w.one.pids("haproxy").is_empty(), "nothing was changed");
    // What needs none of them is no matter; nor is what could be kept.
    std::fs::write(&cfg, &text)?;
    let said = reload(&with.replace("log = stderr\n", "log = stderr\nrealtime_priority = 1\n"), 0)?;
    ensure!(!said.contains("capabilit"), "{said}");
    has_caps("vipd", one.pid(), VITAL | KILL | 1 << 23, RELOAD)?;
    one.wait_log(" ready after ", secs(5))?;
    let hook = reload(&with.replace("log = stderr\n", "log = stderr\nnotify = /bin/true\n"), 0)?;
    ensure!(hook.contains("until a restart, commands have only the capabilities"), "{hook}");
    w.stayed(VIP)?;
    Ok(())
}

/// Directories, files and links that somebody else could have put there; and who may read the password.
fn believes_nobody(w: &World) -> Result<()> {
    let dir = w.one.dir().join("vipd");
    let ini = Vipd::ini(&w.one, None, &[router(100)]);
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    let tmp = || -> Result<usize> {
        Ok(std::fs::read_dir("/tmp")?
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().contains("vipd."))
            .count())
    };
    let before = tmp()?;
    let refused = |what: &str| -> Result<()> {
        let one = Vipd::start(&w.one, &ini)?;
        ensure!(one.wait_exit(secs(2))?.code() == Some(1), "{what}: it starts");
        one.wait_log("not a directory that only its owner can write to", secs(1))?;
        Ok(())
    };
    std::fs::create_dir(w.one.dir().join("elsewhere"))?;
    symlink(w.one.dir().join("elsewhere"), &dir)?;
    refused("a link")?;
    std::fs::remove_file(&dir)?;
    std::fs::create_dir(&dir)?;
    mode(&dir, 0o777)?;
    refused("a directory of everybody's")?;
    mode(&dir, 0o700)?;
    // Links where its files go: what they lead to stays as it is.
    let (victim, state) = (w.one.write("victim", "mine\n")?, dir.join("control.vrrp.VI_51"));
    for name in ["control.vrrp.VI_51", "control.vrrp.VI_51.new", "control.haproxy"] {
        symlink(&victim, dir.join(name))?;
    }
    let one = Vipd::start(&w.one, &ini)?;
    one.wait_log(
        &format!("others may read the password or key in it: chmod 600 {}", one.ini_path().display()),
        secs(1),
    )?;
    one.wait_log("control.vrrp.VI_51: Too many levels of symbolic links", secs(1))
        .or_else(|_| one.wait_log("control.vrrp.VI_51: Symbolic link loop", secs(1)))?;
    w.node1_is_master()?;
    one.wait_log("Sending gratuitous ARPs", secs(1))?; // it is written after that
    let deadline = Instant::now() + secs(1);
    while !std::fs::symlink_metadata(&state).is_ok_and(|m| m.is_file()) {
        ensure!(Instant::now() < deadline, "no state file");
        std::thread::sleep(ms(5));
    }
    let real = std::fs::symlink_metadata(&state)?;
    ensure!(real.is_file() && real.permissions().mode() & 0o777 == 0o600, "the state file: {real:?}");
    ensure!(std::fs::read_to_string(&victim)? == "mine\n", "a link was followed");
    for entry in std::fs::read_dir(&dir)?.flatten() {
        let m = std::fs::symlink_metadata(entry.path())?;
        ensure!(m.is_symlink() || m.permissions().mode() & 0o077 == 0, "others may use {:?}", entry.path());
    }
    ensure!(tmp()? == before, "a file in /tmp");
    // A state file that others could have written is not believed: no master by it, though the lease runs.
    mode(&state, 0o644)?;
    let changed = one.log().mark();
    one.kill();
    one.wait_exit(secs(2))?;
    ensure!(changed > 0, "it said something");
    w.one.write("vipd.ini", &ini)?;
    mode(one.ini_path(), 0o600)?;
    let mut cmd = Command::new(vipd_path()?);
    cmd.arg("-c").arg(one.ini_path());
    let again = Proc::start(&w.one, "vipd", cmd)?;
    again.wait_log("control.vrrp.VI_51: not believed: others may read or change it", secs(1))?;
    again.wait_log(words::BACKUP, secs(1))?;
    ensure!(again.log().grep("resum").is_empty(), "it resumed");
    ensure!(again.log().grep("may read the password").is_empty(), "nobody may");
    Ok(())
}
