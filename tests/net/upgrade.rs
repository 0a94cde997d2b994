//! `vipd upgrade`: another program file goes on in the same process, and nobody notices; or it is refused,
//! and nothing changes.

use super::life::{program, wait_until};
use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const TESTS: &[(&str, Test)] = &[
    ("upgrade_is_not_noticed", |w| unnoticed(w, "fence", "1", rounds())),
    ("upgrade_is_not_noticed_at_100_ms", |w| unnoticed(w, "fence", "0.1", 5)),
    ("upgrade_is_not_noticed_with_leases_of_addresses", |w| unnoticed(w, "address", "1", 3)),
    ("upgrade_to_a_broken_program_is_refused", broken),
    ("upgrade_to_one_that_dies_moves_the_address", dies),
    ("upgrade_in_other_states", other_states),
    ("upgrade_keeps_what_is_known", keeps),
];

/// How often in a row: `$UPGRADES`, or 5 times.
fn rounds() -> usize {
    std::env::var("UPGRADES").ok().and_then(|n| n.parse().ok()).unwrap_or(5)
}

/// A vipd whose program can be replaced.
struct Installed {
    proc: Proc,
    node: Node,
    program: PathBuf,
    ini: PathBuf,
}

impl Installed {
    fn start(node: &Node, ini: &str) -> Result<Installed> {
        let program = node.dir().join("installed");
        copy(&vipd_path()?, &program)?;
        let ini = node.write("vipd.ini", ini)?;
        let mut cmd = Command::new(&program);
        cmd.arg("-c").arg(&ini);
        let proc = Proc::start(node, "vipd", cmd)?;
        Ok(Installed { proc, node: node.clone(), program, ini })
    }

    fn run(node: &Node, haproxy: Option<&Path>, routers: &[Router]) -> Result<Installed> {
        Installed::start(node, &patient(&Vipd::ini(node, haproxy, routers)))
    }

    /// Another file in its place, as package managers do it.
    fn replace(&self, with: &Path) -> Result<()> {
        let new = self.node.dir().join("installed.new");
        copy(with, &new)?;
        std::fs::rename(&new, &self.program)?;
        Ok(())
    }

    fn upgrade(&self) -> Result<Output> {
        self.node.output(Command::new(vipd_path()?).arg("upgrade").arg("-c").arg(&self.ini))
    }

    fn status(&self) -> Result<String> {
        let out = self.node.output(Command::new(vipd_path()?).arg("status").arg("-c").arg(&self.ini))?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// With a new file of the same program.
    fn succeeds(&self) -> Result<()> {
        self.replace(&vipd_path()?)?;
        let out = self.upgrade()?;
        let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.code() == Some(0), "{}: {text}{err}", out.status);
        ensure!(text.trim() == concat!("vipd ", env!("CARGO_PKG_VERSION"), " runs"), "{text}");
        ensure!(self.proc.is_alive(), "another process");
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.proc.pid()))?;
        ensure!(exe == self.program, "it runs {}", exe.display());
        Ok(())
    }

    /// What it has open.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.proc.pid())).map_or(0, Iterator::count)
    }
}

/// By another process: children that other tests start meanwhile would inherit a descriptor of this one, and
/// a file that is open for writing is not executed ("Text file busy").
fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").args([from, to]).status()?;
    ensure!(done.success(), "cp {} {}: {done}", from.display(), to.display());
    Ok(())
}

fn leased(priority: u8, lease: &str, interval: &str) -> Router {
    router(priority).v3().advert_int(interval).with(&format!("lease = {lease}"))
}

/// The longest time between two adverts of node1 since then, and when the second of them came.
fn longest_pause(w: &World, since: Instant) -> (Duration, Instant) {
    let all = w.capture.all(since, |s| s.node == "node1" && s.advert(VRID).is_some());
    let pauses = all.windows(2).map(|pair| (pair[1].at - pair[0].at, pair[1].at));
    pauses.max().unwrap_or((Duration::MAX, since))
}

/// Every advert since then was in time.
fn in_time(w: &World, interval: Duration, since: Instant) -> Result<Duration> {
    let (pause, at) = longest_pause(w, since);
    let most = w.bound_to(interval * 3 / 2, at.checked_sub(pause).unwrap_or(since), at);
    ensure!(pause <= most, "an advert came {pause:?} after the last one, not {most:?}");
    Ok(pause)
}

/// A connection on which a request is sent now and then.
struct Open(TcpStream);

impl Open {
    fn new(node: &Node) -> Result<Open> {
        let stream = node.enter(|| TcpStream::connect(SERVICE))?;
        stream.set_read_timeout(Some(secs(5)))?;
        Ok(Open(stream))
    }

    fn ask(&mut self) -> Result<()> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut text = String::new();
        while !text.ends_with("node1") {
            let mut buf = [0; 512];
            let n = self.0.read(&mut buf)?;
            ensure!(n > 0, "the connection was closed after {text:?}");
            text += &String::from_utf8_lossy(&buf[..n]);
        }
        Ok(())
    }
}

/// HAProxy with connections that are open, clients, a prober: several times in a row.
fn unnoticed(w: &World, lease: &str, advert_int: &str, rounds: usize) -> Result<()> {
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let patient_cfg = std::fs::read_to_string(&cfg)?.replace("timeout client 5s", "timeout client 60s");
    std::fs::write(&cfg, patient_cfg)?;
    let one = Installed::run(&w.one, Some(&cfg), &[leased(100, lease, advert_int)])?;
    one.proc.wait_log(words::MASTER, ELECTION)?;
    one.proc.wait_log("held over a crash", secs(5))?;
    let two = Vipd::run(&w.two, None, &[leased(200, lease, advert_int).no_preempt()])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let i = Duration::from_secs_f64(advert_int.parse().unwrap_or(1.0));
    let client = w.client()?;
    client.wait_answer_by("node1", secs(5))?;
    let mut open = Open::new(&w.client)?;
    open.ask()?;
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one, &w.two])?;
    let haproxy = (w.one.haproxy_master(), w.one.haproxy_workers());
    let descriptors = one.descriptors();
    std::thread::sleep(ms(300));
    let from = Instant::now();
    for round in 0..rounds {
        // At another phase each time.
        std::thread::sleep(i * round as u32 / rounds as u32);
        let mark = one.proc.log().mark();
        let begin = Instant::now();
        one.succeeds()?;
        let took = begin.elapsed();
        one.proc.log().wait_from(mark, "(resumed ", secs(1))?;
        one.proc.log().wait_from(mark, "held over a crash", secs(2))?;
        open.ask()?;
        println!("upgrade {round} took {took:?}");
        ensure!((w.one.haproxy_master(), w.one.haproxy_workers()) == haproxy, "another HAProxy");
    }
    std::thread::sleep(i + ms(200));
    let to = Instant::now();
    println!("longest pause between adverts: {:?}", in_time(w, i, from)?);
    let report = client.report(from, to)?;
    println!("{report}");
    ensure!(report.failures() + report.syn_retransmits == 0, "clients noticed: {report}");
    let (most, doubly) = prober.answers(from, to);
    let (nobody, longest) = prober.nobody(from, to);
    println!("nobody answered for {longest:?} at a time, {nobody:?} in all");
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    ensure!(longest <= w.bound_to(ms(30), from, to), "nobody answered for {longest:?}");
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over");
    w.stayed(VIP)?;
    // Nothing was left behind, and HAProxy is a child as before: its output is read and its end is noticed.
    wait_until("descriptors to be closed", secs(2), || one.descriptors() <= descriptors)?;
    let mark = one.proc.log().mark();
    one.proc.signal(Signal::SIGUSR2);
    one.proc.log().wait_from(mark, "haproxy reloaded", secs(10))?;
    one.proc.log().wait_from(mark, "haproxy: ", secs(5))?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(haproxy.0.unwrap_or(-1)), Signal::SIGKILL)?;
    one.proc.log().wait_from(mark, "signal 9", secs(5))?;
    one.proc.log().wait_from(mark, " ready after ", secs(10))?;
    one.proc.terminate();
    ensure!(one.proc.wait_exit(secs(10))?.success(), "no clean end");
    Ok(())
}

/// Programs that must not get in.
fn broken(w: &World) -> Result<()> {
    let one = Installed::run(&w.one, None, &[leased(100, "fence", "0.2")])?;
    one.proc.wait_log(words::MASTER, ELECTION)?;
    let dir = w.one.dir().to_owned();
    let script = |name: &str, text: &str| program(&w.one, name, text);
    let not_executable = dir.join("plain");
    std::fs::copy(vipd_path()?, &not_executable)?;
    std::fs::set_permissions(&not_executable, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    std::fs::write(dir.join("garbage"), [0xff; 4096])?;
    std::fs::set_permissions(dir.join("garbage"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let from = Instant::now();
    let mark = one.proc.log().mark();
    for (new, said) in [
        (script("refuses", "echo 'vipd.ini:3: no such key'; exit 2")?, "vipd.ini:3: no such key\n"),
        (not_executable, "Permission denied"),
        (dir.join("garbage"), "Exec format error"),
        (script("true", "exit 0")?, "this is not vipd"),
        (script("crashes", "kill -SEGV $$")?, "signal 11"),
        (script("floods", "exec yes")?, "signal 13"),
        (script("sleeps", "sleep 300 & sleep 300")?, "it takes too long"),
    ] {
        one.replace(&new)?;
        let out = one.upgrade()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        println!("{}: {}", new.display(), text.chars().take(200).collect::<String>());
        ensure!(out.status.code() == Some(2), "{}: {}", new.display(), out.status);
        ensure!(text.contains(said) && text.ends_with("nothing was changed\n"), "{text}");
        // All of what it started was killed; the kernel takes a moment to end the last of them.
        wait_until("what was tried to be gone", secs(1), || one.proc.descendants().is_empty())?;
    }
    std::fs::remove_file(&one.program)?;
    let out = one.upgrade()?;
    ensure!(out.status.code() == Some(2), "{}", out.status);
    // A configuration that is not the one that runs.
    one.replace(&vipd_path()?)?;
    let ini = std::fs::read_to_string(&one.ini)?;
    std::fs::write(&one.ini, ini.replace("priority = 100", "priority = 101"))?;
    let out = one.upgrade()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(
        out.status.code() == Some(2) && text.contains("priority 100 -> 101\n`vipd reload` first\n"),
        "{text}"
    );
    std::fs::write(&one.ini, ini)?;
    in_time(w, ms(200), from)?;
    ensure!(w.watcher.timeline(VIP).len() == 1, "the address moved: {:?}", w.watcher.timeline(VIP));
    let lines = one.proc.log().grep("executing");
    ensure!(lines.is_empty(), "{lines:?}");
    one.proc.log().wait_from(mark, "installed: exit status 2", secs(1))?;
    one.succeeds()
}

/// It passes the trial and then ends: as if vipd had been killed. The backup takes over, and never two
/// answer.
fn dies(w: &World) -> Result<()> {
    let one = Installed::run(&w.one, None, &[leased(200, "fence", "0.2")])?;
    one.proc.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[leased(100, "fence", "0.2")])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let prober = Prober::start_tcp(&w.client, &[v4(VIP)], &[&w.one, &w.two])?;
    std::thread::sleep(ms(200));
    let real = vipd_path()?;
    let text = format!("case $* in *-t) exec {} \"$@\";; esac\nexit 1", real.display());
    one.replace(&program(&w.one, "dies", &text)?)?;
    let from = Instant::now();
    let out = one.upgrade()?;
    ensure!(out.status.code() == Some(5), "{}: {:?}", out.status, String::from_utf8_lossy(&out.stderr));
    ensure!(one.proc.wait_exit(secs(2))?.code() == Some(1), "it lives");
    two.wait_log(words::MASTER, secs(3))?;
    std::thread::sleep(ms(500));
    let (most, doubly) = prober.answers(from, Instant::now());
    ensure!(most <= 1, "{most} nodes answered, for {doubly:?}");
    let (_, nobody) = prober.nobody(from, Instant::now());
    ensure!(nobody < w.bound(ms(600), from), "nobody answered for {nobody:?}");
    Ok(())
}

/// The owner, a backup, and one whose interface is down.
fn other_states(w: &World) -> Result<()> {
    w.one.ip(&format!("addr add {VIP_LEN} dev eth0"))?;
    let owner = router(255).v3().advert_int("0.2");
    let one = Installed::run(&w.one, None, &[owner])?;
    one.proc.wait_log(words::MASTER, ELECTION)?;
    let two = Installed::run(&w.two, None, &[leased(100, "fence", "0.2")])?;
    two.proc.wait_log(words::BACKUP, ELECTION)?;
    for _ in 0..2 {
        let from = Instant::now();
        two.succeeds()?;
        one.succeeds()?;
        std::thread::sleep(ms(600));
        in_time(w, ms(200), from)?;
    }
    ensure!(two.proc.log().grep(words::MASTER).is_empty(), "the backup took over");
    w.two.ip("link set eth0 down")?;
    two.proc.wait_log("FAULT", secs(2))?;
    two.succeeds()?;
    let mark = two.proc.log().mark();
    w.two.ip("link set eth0 up")?;
    two.proc.log().wait_from(mark, words::BACKUP, secs(5))?;
    // Only root, and the user who runs it, may ask.
    let mut cmd = Command::new("setpriv");
    cmd.args(["--reuid=65534", "--clear-groups"]).arg(vipd_path()?).arg("upgrade").arg("-c").arg(&two.ini);
    let out = w.two.output(&mut cmd)?;
    ensure!(!out.status.success(), "nobody may upgrade: {}", out.status);
    Ok(())
}

/// A check that takes long, one that has not come up, a delay at the start, and who was told to resign.
fn keeps(w: &World) -> Result<()> {
    let slow = "type = exec\ninterval = 30\ntimeout = 20\n";
    let with_checks = |node: &Node, priority| {
        let r = leased(priority, "fence", "0.2").with("track = slow, down weight 50");
        let ini = Vipd::ini(node, None, &[r]).replace("[global]\n", "[global]\nstartup_delay = 3\n");
        format!("{ini}[check slow]\n{slow}target = /bin/sleep 1\n[check down]\n{slow}target = /bin/false\n")
    };
    let one = Installed::start(&w.one, &with_checks(&w.one, 200))?;
    one.proc.wait_log(words::MASTER, ELECTION)?;
    let two = Vipd::run(&w.two, None, &[leased(220, "fence", "0.2").no_preempt()])?;
    two.wait_log(words::BACKUP, ELECTION)?;
    let from = Instant::now();
    one.succeeds()?;
    std::thread::sleep(ms(500));
    in_time(w, ms(200), from)?;
    ensure!(two.log().grep(words::MASTER).is_empty(), "the backup took over");
    let out = w.one.output(Command::new(vipd_path()?).args(["resign", "--for", "60", "-c"]).arg(&one.ini))?;
    ensure!(out.status.success(), "not resigned");
    two.wait_log(words::MASTER, secs(2))?;
    one.succeeds()?;
    let status = one.status()?;
    ensure!(status.contains("does not preempt"), "{status}");
    let waits = one.proc.log().grep("startup_delay: taking part");
    ensure!(waits.len() == 1, "{waits:?}");
    Ok(())
}
