//! What somebody on the LAN, on the machine or in HAProxy's place can do, and what bounds it. A flood of bad
//! packets is `flood.rs`; what is here is right in form, and meant badly.

use super::*;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TESTS: &[(&str, Test)] = &[
    ("attack_adverts_and_announcements", adverts),
    ("attack_higher_adverts", higher),
    ("attack_master_and_priority_zero_in_turn", flapping),
    ("attack_replays_of_a_dead_master", replays),
    ("attack_a_third_host_with_the_address", third_host),
    ("attack_control_clients", control_clients),
    ("attack_a_haproxy_that_talks_nonsense", nonsense),
    ("attack_a_log_that_nobody_reads", blocked_log),
    ("attack_a_syslog_that_nobody_reads", blocked_syslog),
    ("attack_a_full_disk", full_disk),
    ("attack_no_descriptors", no_descriptors),
    ("attack_no_processes", no_processes),
    ("attack_no_memory_for_children", no_memory),
];

/// Of another virtual router, which nobody attacks: it tells whether vipd is late.
const FAST: u8 = 52;
const INTERVAL: Duration = ms(100);
/// Packets a second.
const RATE: u32 = 5000;

fn routers(priority: u8) -> [Router; 2] {
    [VRID, FAST].map(|vrid| {
        let vip = if vrid == VRID { VIP_LEN } else { "192.168.30.231/24" };
        Router::new(vrid, priority, vip).v3().advert_int("0.1")
    })
}

/// A v3 message from `src`.
fn v3(vrid: u8, priority: u8, src: Ipv4Addr) -> Vec<u8> {
    v3_each(vrid, priority, 10, src)
}

/// The same with an interval of so many hundredths of a second.
pub fn v3_each(vrid: u8, priority: u8, interval: u16, src: Ipv4Addr) -> Vec<u8> {
    let [high, low] = interval.to_be_bytes();
    let mut m = vec![0x31, vrid, priority, 1, high, low, 0, 0];
    m.extend(v4(VIP).octets());
    let mut summed = [src.octets(), [224, 0, 0, 18]].concat();
    summed.extend([0, 112, 0, m.len() as u8]);
    summed.extend(&m);
    let sum = checksum(&summed).to_be_bytes();
    m[6..8].copy_from_slice(&sum);
    m
}

/// A frame of the flood.
fn frame(src: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    framed(src, 112, message)
}

fn framed(src: Ipv4Addr, protocol: u8, message: &[u8]) -> Vec<u8> {
    let total = (20 + message.len()) as u8;
    let mut ip = vec![0x45, 0xc0, 0, total, 0, 0, 0, 0, 255, protocol, 0, 0];
    ip.extend(src.octets());
    ip.extend([224, 0, 0, 18]);
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    [&[1, 0, 0x5e, 0, 0, 18, 6, 0, 0, 0, 0, 1, 8, 0][..], &ip, message].concat()
}

fn arp(op: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut f = vec![0xff; 6];
    f.extend([6, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, op, 6, 0, 0, 0, 0, 1]);
    f.extend(sender.octets());
    f.extend([0; 6]);
    f.extend(target.octets());
    f
}

/// What an attack cost, from outside.
#[derive(Debug)]
struct Cost {
    took: Duration,
    sent: u64,
    /// The longest time that an advert of FAST was late.
    late: Duration,
    /// That they may be.
    bound: Duration,
    adverts: usize,
    announcements: usize,
    lines: usize,
    grown: u64,
    cpu: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { took, sent, late, bound, adverts, announcements, lines, grown, cpu } = self;
        write!(
            f,
            "{sent} sent in {took:.1?}: {adverts} adverts, {announcements} announcements, late by {late:.1?} (at most {bound:.1?}), \
             {lines} lines, {grown} KiB more, {cpu:.0} % CPU"
        )
    }
}

impl Cost {
    /// What holds whatever comes.
    fn bounded(&self, what: &str, lines: usize) -> Result<()> {
        println!("{what}: {self}");
        ensure!(
            self.late < self.bound,
            "{what}: the adverts are late by {:?}, not {:?}",
            self.late,
            self.bound
        );
        ensure!(self.lines <= lines, "{what}: {} lines", self.lines);
        ensure!(self.grown <= 512, "{what}: it grew by {} KiB", self.grown);
        Ok(())
    }
}

/// What a vipd is at the moment.
struct Before<'a> {
    w: &'a World,
    pid: i32,
    lines: usize,
    rss: u64,
    cpu: f64,
    start: Instant,
}

impl<'a> Before<'a> {
    fn new(w: &'a World, one: &Proc) -> Before<'a> {
        let (pid, lines) = (one.pid(), one.log().mark());
        Before { w, pid, lines, rss: rss(pid), cpu: cpu(pid), start: Instant::now() }
    }

    fn after(self, one: &Proc, sent: u64) -> Cost {
        let end = Instant::now();
        let mine = self.w.capture.all(self.start, |s| s.node == "node1" && s.at < end);
        let times: Vec<Instant> = mine.iter().filter(|s| s.advert(FAST).is_some()).map(|s| s.at).collect();
        let gaps = std::iter::once(self.start).chain(times).chain([end]).collect::<Vec<_>>();
        let longest = gaps.windows(2).map(|p| p[1].saturating_duration_since(p[0])).max().unwrap_or_default();
        Cost {
            took: end - self.start,
            sent,
            late: longest.saturating_sub(INTERVAL),
            bound: self.w.bound_to(ms(200), self.start, end),
            adverts: mine.iter().filter(|s| s.advert(VRID).is_some()).count(),
            announcements: mine.iter().filter(|s| s.announces(v4(VIP).into())).count(),
            lines: one.log().mark() - self.lines,
            grown: rss(self.pid).saturating_sub(self.rss),
            cpu: (cpu(self.pid) - self.cpu) / (end - self.start).as_secs_f64() * 100.0,
        }
    }
}

/// KiB in memory.
fn rss(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Seconds of CPU time.
fn cpu(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields =
        stat.rsplit_once(')').map(|(_, f)| f.split_whitespace().skip(11).take(2)).into_iter().flatten();
    fields.filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The flood goes on for that long.
fn flood(w: &World, one: &Proc, frames: Vec<Vec<u8>>, rate: u32, time: Duration) -> Result<Cost> {
    let before = Before::new(w, one);
    let flood = Flood::start(&w.client, frames, rate)?;
    std::thread::sleep(time); // how long it lasts is the experiment
    let took = before.start.elapsed().as_secs_f64();
    let sent = (flood.stop()? * took) as u64;
    Ok(before.after(one, sent))
}

fn master(w: &World) -> Result<Vipd> {
    let one = Vipd::run(&w.one, None, &routers(100))?;
    w.node1_is_master()?;
    one.wait_log("Sending gratuitous ARPs on eth0 for 192.168.30.231", secs(2))?;
    Ok(one)
}

/// What does not change who is master: answered seldom, told once, forgotten.
fn adverts(w: &World) -> Result<()> {
    let one = master(w)?;
    std::thread::sleep(ms(1200)); // a new master announces, and tolerates what its predecessor still sends
    let (stranger, own) = (w.client.addr(), w.one.addr());
    let from = |src, priority| frame(src, &v3(VRID, priority, src));
    let strange: Vec<Vec<u8>> = (1..=255)
        .filter(|v| ![VRID, FAST].contains(v))
        .map(|v| frame(stranger, &v3(v, 250, stranger)))
        .collect();
    let vip = v4(VIP);
    let neighbour = |last| Ipv4Addr::new(192, 168, 30, last);
    let noise: Vec<Vec<u8>> = (1..=250).map(|n| arp(1 + n % 2, neighbour(n), neighbour(n ^ 1))).collect();
    for (what, frames, answers) in [
        ("lower priority", vec![from(stranger, 50)], true),
        ("priority 0", vec![from(stranger, 0)], true),
        ("both in turn", vec![from(stranger, 50), from(stranger, 0)], true),
        ("equal priority, lower address", vec![from(stranger, 100)], true),
        ("own source address", vec![from(own, 250), from(own, 0)], false),
        ("the VIP as source", vec![from(vip, 250)], false),
        ("gratuitous ARP for the VIP", vec![arp(1, vip, vip), arp(2, vip, vip)], false),
        ("ARP noise", noise, false),
        ("unknown VRIDs", strange, false),
    ] {
        let cost = flood(w, &one, frames, RATE, ms(350))?;
        // Unknown VRIDs: four a second, two lines each, once.
        cost.bounded(what, 8)?;
        // Regular ones, and an answer every 25 ms where there is any.
        let most = 2 + cost.took.as_millis() as usize / if answers { 20 } else { 100 };
        ensure!(cost.adverts <= most, "{what}: {} adverts", cost.adverts);
        ensure!(cost.announcements <= 40, "{what}: {} announcements", cost.announcements);
    }
    w.stayed(VIP)?;
    Ok(())
}

/// Somebody who may send takes the mastership: VRRP has no defence. When he falls silent the address is back
/// in 3 × I and the skew time, and the other virtual router has noticed nothing.
fn higher(w: &World) -> Result<()> {
    let one = master(w)?;
    let src = w.client.addr();
    let cost = flood(w, &one, vec![frame(src, &v3(VRID, 254, src))], RATE, secs(1))?;
    let silent = Instant::now();
    cost.bounded("higher priority", 12)?;
    w.watcher.wait_holder(VIP, "node1", secs(2))?;
    let back = silent.elapsed();
    println!("back after {back:?}");
    ensure!(back < w.bound(ms(360) + ms(250), silent), "back after {back:?}");
    Ok(())
}

/// Higher, then priority 0, then again, as soon as the skew time is over: the worst that two packets can make
/// of a router with many addresses and a high priority.
fn flapping(w: &World) -> Result<()> {
    let mut many = Router::new(VRID, 254, VIP_LEN).v3().advert_int("0.1");
    many.vips.extend((1..=19).map(|n| format!("192.168.31.{n}/32")));
    let [_, fast] = routers(100);
    let one = Vipd::run(&w.one, None, &[many, fast])?;
    w.node1_is_master()?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    std::thread::sleep(ms(1200));
    let src = w.client.addr();
    let (before, start, mut sent) = (Before::new(w, &one), Instant::now(), 0);
    while start.elapsed() < secs(2) {
        for priority in [255, 0] {
            w.client.inject(src, 255, &v3(VRID, priority, src))?;
            sent += 1;
        }
        std::thread::sleep(ms(4));
    }
    let all = w.capture.all(start, |s| s.node == "node1").len();
    let cost = before.after(&one, sent);
    let moves = one.log().grep(words::MASTER).len();
    println!("{moves} times master; {all} frames");
    // One in 3 × I, with two lines for each address and a few more.
    cost.bounded("higher and 0 in turn", 10 * 60)?;
    ensure!(moves <= 9, "{moves} times master");
    // A hundred at least are sent on a machine that has time.
    ensure!(all < 4 * sent.max(100) as usize, "amplified: {all} frames in answer to {sent}");
    Ok(())
}

/// Adverts of a master that is dead, behind an authentication header, sent again and again.
fn replays(w: &World) -> Result<()> {
    let with = |priority| {
        [router(priority).ah(), Router::new(FAST, priority, "192.168.30.231/24").v3().advert_int("0.1")]
    };
    let two = Vipd::run(&w.two, None, &with(100))?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    let one = Vipd::run(&w.one, None, &with(90))?;
    one.wait_log(words::BACKUP, secs(2))?;
    w.capture.wait_advert("node2", VRID, Instant::now(), secs(2))?;
    let seen = w.capture.wait_advert("node2", VRID, Instant::now(), secs(2))?;
    let old = seen.advert(VRID).map(|a| a.packet.get(20..).unwrap_or_default().to_vec()).unwrap_or_default();
    two.kill();
    let last = w.capture.last_advert("node2", VRID, Instant::now())?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    let cost = flood(w, &one, vec![framed(w.two.addr(), 51, &old)], RATE, ms(2000))?;
    cost.bounded("replayed AH", 6)?;
    let next = w.capture.wait_advert("node1", VRID, last.at, secs(3))?;
    let took = next.at - last.at;
    println!("taken over after {took:?}");
    // 3 × 1 s and 166/256 s.
    ensure!((ms(3600)..w.bound_to(ms(3850), last.at, next.at)).contains(&took), "taken over after {took:?}");
    Ok(())
}

/// A host that got the address by hand and says nothing until it is asked.
fn third_host(w: &World) -> Result<()> {
    let extra = "garp_master_refresh = 1\ngarp_master_delay = 0";
    let one = Vipd::run(&w.one, None, &[router(100).v3().advert_int("0.1").with(extra)])?;
    w.node1_is_master()?;
    std::thread::sleep(ms(1100));
    ensure!(one.log().grep("another host").is_empty(), "there is none");
    w.client.ip("addr add 192.168.30.230/32 dev eth0")?;
    let start = Instant::now();
    let line = one.wait_log("another host", secs(3))?;
    let mac: Vec<String> = w.client.mac().iter().map(|b| format!("{b:02x}")).collect();
    ensure!(line.text.contains(&mac.join(":")), "{}", line.text);
    let out = one.cli(&["status"])?;
    let status = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(status.contains("SPLIT BRAIN: ") && out.status.code() == Some(4), "{status}");
    std::thread::sleep(ms(2200)); // two refreshes
    ensure!(one.log().grep("another host").len() == 1, "told more than once");
    println!("noticed after {:?}: {}", line.at - start, line.text);
    Ok(())
}

fn control(w: &World) -> PathBuf {
    w.one.dir().join("vipd/control")
}

/// Eight clients at the most, 5 s and 256 octets each.
fn control_clients(w: &World) -> Result<()> {
    let one = master(w)?;
    let (fds, path) = (descriptors(one.pid()), control(w));
    let before = Before::new(w, &one);
    let (mut silent, mut sent) = (Vec::new(), 0);
    for _ in 0..50 {
        silent.push(UnixStream::connect(&path)?);
        sent += 1;
    }
    // An endless line, a trickle, requests without an ear for the answer.
    let mut endless = UnixStream::connect(&path)?;
    let mut trickle = UnixStream::connect(&path)?;
    let mut deaf: Vec<UnixStream> = (0..4).flat_map(|_| UnixStream::connect(&path)).collect();
    for stream in deaf.iter_mut() {
        stream.write_all(b"status json\n")?;
    }
    let end = Instant::now() + ms(1500);
    let mut most = 0;
    while Instant::now() < end {
        let _ = endless.write(&[b'x'; 4096]);
        let _ = trickle.write(b"s");
        for stream in deaf.iter_mut() {
            let _ = stream.write(b"status json\n");
        }
        for _ in 0..10 {
            sent += 1;
            drop(UnixStream::connect(&path)?);
        }
        most = most.max(descriptors(one.pid()).saturating_sub(fds));
        std::thread::sleep(ms(2));
    }
    let cost = before.after(&one, sent);
    cost.bounded("control clients", 0)?;
    println!("{most} descriptors");
    ensure!(most <= 9, "{most} descriptors for clients");
    let start = Instant::now();
    let out = one.cli(&["status"])?;
    ensure!(out.status.code() == Some(0) && start.elapsed() < w.bound(ms(500), start), "no status");
    drop(silent);
    Ok(())
}

/// Answers as HAProxy does for a second, then whatever comes to mind: on the master socket, and to
/// `_getsocks`.
const FAKE: &str = r#"
import array, os, socket, sys, threading, time
a = sys.argv
def listen(path):
    s = socket.socket(socket.AF_UNIX)
    if os.path.exists(path): os.unlink(path)
    s.bind(path); s.listen(64)
    return s
master = listen(a[a.index('-S') + 1].split(',')[0])
ours = [l.split()[2].removeprefix('unix@') for l in open(a[a.index('-f') + 1]) if 'stats socket' in l][0]
stats = listen(ours)
start, how = time.time(), os.environ['NONSENSE']
pid = os.getpid()
def sane(): return how != 'start' and time.time() - start < 1
def talk(c):
    try:
        c.recv(100)
        if sane():
            c.sendall(b'Version: 2.6\nPid: %d\n' % pid)
            time.sleep(1)
        while not sane():
            if how == 'pids': c.sendall(b'Pid: 4294967295\nPid: %d\n' % (pid + 1))
            c.sendall(os.urandom(4096) if how != 'lines' else b'Version: ' + b'x' * 900 + b'\n')
    except OSError: pass
def sockets(c):
    try:
        c.recv(100)
        c.sendall((1000).to_bytes(4, 'little'))
        null = [0] * 200
        while True:
            c.sendmsg([b'\0' * 1200], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', null))])
            if how == 'lines': c.sendall(os.urandom(4096))
    except OSError: pass
def serve(s, f):
    while True: threading.Thread(target=f, args=(s.accept()[0],), daemon=True).start()
threading.Thread(target=serve, args=(stats, sockets), daemon=True).start()
def shout():
    while time.time() - start < 60:
        os.write(2, b'\x1b[2J' + b'x' * 3000 + b'\n' * 20)
        time.sleep(0.001)
if how == 'pids': threading.Thread(target=shout, daemon=True).start()
serve(master, talk)
"#;

fn nonsense(w: &World) -> Result<()> {
    let python = "/usr/bin/python3";
    if !Path::new(python).exists() {
        return Err(Error::missing("python3"));
    }
    w.one.write("fake.py", FAKE)?;
    let fake = w.one.dir().join("fake.py");
    for how in ["start", "pids", "lines"] {
        let text = format!("#!/bin/sh\nNONSENSE={how} exec {python} {} \"$@\"\n", fake.display());
        let program = w.one.write("fake", &text)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let cfg = haproxy_cfg(&w.one, SERVICE)?;
        let [slow, fast] = routers(100);
        let ini = Vipd::ini(&w.one, Some(&cfg), &[slow, fast.with("track_haproxy = no")]);
        let ini = ini.replace(&haproxy_path(), &program.display().to_string());
        let one = Vipd::start(&w.one, &ini.replace("[haproxy]\n", "[haproxy]\ncheck_interval = 0.2\n"))?;
        // Not by the address: the one before may have left it.
        one.wait_log("Sending gratuitous ARPs on eth0 for 192.168.30.231", secs(3))?;
        if how == "start" {
            one.wait_log("started", secs(2))?;
        } else {
            one.wait_log(" ready after ", secs(3))?;
        }
        let (before, fds) = (Before::new(w, &one), descriptors(one.pid()));
        let start = Instant::now();
        let mut most = 0;
        while start.elapsed() < ms(1300) {
            most = most.max(descriptors(one.pid()).saturating_sub(fds));
            std::thread::sleep(ms(5));
        }
        let cost = before.after(&one, 0);
        // What it prints itself is passed on whole: four lines in a millisecond.
        cost.bounded(&format!("HAProxy talks nonsense ({how})"), if how == "pids" { 12_000 } else { 40 })?;
        println!("{most} descriptors");
        ensure!(most <= 1100, "{most} descriptors");
        if how == "start" {
            ensure!(w.watcher.holder(VIP).is_none(), "a master without service");
        } else {
            one.wait_log("it hangs and is killed", secs(3))?;
        }
    }
    Ok(())
}

/// A reader that takes a page now and then, and a neighbour that fills the pipe as soon as there is room.
fn blocked_log(w: &World) -> Result<()> {
    let ini = w.one.write("vipd.ini", &Vipd::ini(&w.one, None, &routers(100)))?;
    let script = format!(
        "cd {} && mkfifo log && (while :; do dd bs=512 count=1; sleep 0.01; done) <log >/dev/null 2>&1 &
        cd {0}; while ! [ -p log ]; do sleep 0.01; done
        yes neighbour >log & exec {} -c {} 2>log",
        w.one.dir().display(),
        vipd_path()?.display(),
        ini.display()
    );
    let mut cmd = Command::new("sh");
    cmd.args(["-c", &script]);
    let one = Proc::start(&w.one, "vipd", cmd)?;
    w.node1_is_master()?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    provoked(w, &one, "a pipe that is full")
}

/// Reloads until the log must be full.
fn provoked(w: &World, one: &Proc, what: &str) -> Result<()> {
    let before = Before::new(w, one);
    for _ in 0..150 {
        one.signal(Signal::SIGHUP);
        std::thread::sleep(ms(10));
    }
    before.after(one, 150).bounded(what, 0)?;
    w.stayed(VIP)?;
    Ok(())
}

fn blocked_syslog(w: &World) -> Result<()> {
    if !Path::new("/usr/bin/python3").exists() {
        return Err(Error::missing("python3"));
    }
    let ini = Vipd::ini(&w.one, None, &routers(100)).replace("log = stderr", "log = syslog");
    let ini = w.one.write("vipd.ini", &ini)?;
    let bind = "import socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/dev/log'); time.sleep(1000)";
    let script = format!(
        "set -e; mkdir {0}/dev; mount -t tmpfs tmpfs {0}/dev
        for f in null urandom; do : >{0}/dev/$f; mount --bind /dev/$f {0}/dev/$f; done
        mount --rbind {0}/dev /dev; /usr/bin/python3 -c \"{bind}\" &
        while ! [ -S /dev/log ]; do sleep 0.01; done; exec {1} -c {2}",
        w.one.dir().display(),
        vipd_path()?.display(),
        ini.display()
    );
    let mut cmd = Command::new("unshare");
    cmd.args(["--mount", "sh", "-c", &script]);
    let one = Proc::start(&w.one, "vipd", cmd)?;
    w.node1_is_master()?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    provoked(w, &one, "a syslog that is full")
}

fn tmpfs(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let size = Some("size=64k,mode=700");
    Ok(nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), nix::mount::MsFlags::empty(), size)?)
}

/// The memory of having been master must not lie because it could not be written.
fn full_disk(w: &World) -> Result<()> {
    let dir = w.one.dir().join("vipd");
    tmpfs(&dir)?;
    let fill = || {
        let mut file = std::fs::File::create(dir.join("ballast"))?;
        while file.write_all(&[0; 4096]).is_ok() {}
        std::io::Result::Ok(())
    };
    let cfg = haproxy_cfg(&w.one, SERVICE)?;
    let one = Vipd::start(&w.one, &patient(&Vipd::ini(&w.one, Some(&cfg), &routers(100))))?;
    w.node1_is_master()?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    one.wait_log("held over a crash", secs(5))?;
    let state = dir.join("control.vrrp.VI_51");
    let deadline = Instant::now() + secs(2);
    while !std::fs::read_to_string(&state).is_ok_and(|s| s.starts_with("master ")) {
        ensure!(Instant::now() < deadline, "no state");
        std::thread::sleep(ms(5));
    }
    fill()?;
    let before = Before::new(w, &one);
    // A hand-over cannot be written down: nothing may be there then.
    let out = one.cli(&["resign", "VI_51", "--for", "0", "--force"])?;
    ensure!(out.status.code() == Some(0), "{}", String::from_utf8_lossy(&out.stdout));
    one.wait_log("control.vrrp.VI_51: No space left on device", secs(2))?;
    let left = std::fs::read_to_string(&state).unwrap_or_default();
    ensure!(!left.starts_with("master "), "the state file lies: {left}");
    // HAProxy starts and is reloaded all the same.
    let mark = one.log().mark();
    kill(Pid::from_raw(w.one.haproxy_master().unwrap_or(-1)), Signal::SIGKILL)?;
    one.log().wait_from(mark, " ready after ", secs(5))?;
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    before.after(&one, 0).bounded("a full disk", 40)?;
    // A vipd that starts there works.
    one.terminate();
    one.wait_exit(secs(9))?;
    fill()?;
    let again = Vipd::run(&w.one, Some(&cfg), &routers(100))?;
    w.watcher.wait_holder(VIP, "node1", secs(4))?;
    ensure!(again.log().grep("resum").is_empty(), "it resumed");
    again.cli(&["status"]).map(drop)
}

fn limit(pid: i32, what: &str) -> Result<()> {
    let out = Command::new("prlimit").args(["--pid", &pid.to_string(), what]).output()?;
    ensure!(out.status.success(), "prlimit {what}: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// Whoever waits to be let in does not keep it busy, and HAProxy is not killed because it cannot be asked.
fn no_descriptors(w: &World) -> Result<()> {
    let [slow, fast] = routers(100);
    let ini = Vipd::ini(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[slow, fast]);
    let one = Vipd::start(&w.one, &ini.replace("[haproxy]\n", "[haproxy]\ncheck_interval = 0.2\n"))?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    limit(one.pid(), "--nofile=3:")?;
    let before = Before::new(w, &one);
    let mut clients: Vec<UnixStream> = (0..4).flat_map(|_| UnixStream::connect(control(w))).collect();
    for c in &mut clients {
        c.write_all(b"status\n")?;
    }
    one.signal(Signal::SIGHUP);
    std::thread::sleep(secs(2)); // how long it lasts is the experiment
    let cost = before.after(&one, 4);
    limit(one.pid(), "--nofile=1024:")?;
    cost.bounded("no descriptors", 12)?;
    ensure!((0.0..20.0).contains(&cost.cpu), "{:.0} % CPU", cost.cpu);
    for c in &mut clients {
        c.set_read_timeout(Some(secs(2)))?;
        let mut answer = [0; 2];
        c.read_exact(&mut answer)?;
        ensure!(&answer == b"0\n", "an answer {answer:?}");
    }
    ensure!(one.log().grep("hangs").is_empty(), "HAProxy was killed");
    w.stayed(VIP)?;
    Ok(())
}

/// HAProxy dies, and there is no process for another one: the address goes, and comes back.
fn starved(
    w: &World,
    what: &str,
    starve: impl Fn(i32) -> Result<()>,
    feed: impl Fn(i32) -> Result<()>,
) -> Result<()> {
    let [slow, fast] = routers(100);
    let fast = fast.with("track_haproxy = no");
    let one = Vipd::run(&w.one, Some(&haproxy_cfg(&w.one, SERVICE)?), &[slow, fast])?;
    w.node1_is_master()?;
    one.wait_log("held over a crash", secs(5))?;
    w.watcher.wait_holder("192.168.30.231", "node1", secs(2))?;
    starve(one.pid())?;
    let before = Before::new(w, &one);
    let mark = one.log().mark();
    for pid in w.one.pids("haproxy") {
        // The worker goes with its master.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    one.log().wait_from(mark, "HAProxy is not ready", secs(3))?;
    w.watcher.wait_holders(VIP, &[], secs(2))?;
    std::thread::sleep(secs(1)); // how long it lasts is the experiment
    let cost = before.after(&one, 0);
    feed(one.pid())?;
    cost.bounded(what, 30)?;
    one.log().wait_from(mark, " ready after ", secs(6))?;
    w.watcher.wait_holder(VIP, "node1", secs(3))?;
    Ok(())
}

/// A cgroup of its own, in which there is room for so many processes.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(pid: i32) -> Result<Cgroup> {
        let dir = Path::new("/sys/fs/cgroup/pids").join(format!("vipd-test-{}-{pid}", std::process::id()));
        if std::fs::create_dir(&dir).is_err() {
            return Err(Error::missing("the cgroup controller pids"));
        }
        let group = Cgroup(dir);
        std::fs::write(group.0.join("cgroup.procs"), pid.to_string())?;
        Ok(group)
    }

    fn limit(&self, max: &str) -> Result<()> {
        Ok(std::fs::write(self.0.join("pids.max"), max)?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let members = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            let _ = std::fs::write("/sys/fs/cgroup/pids/cgroup.procs", pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn no_processes(w: &World) -> Result<()> {
    let group = std::cell::RefCell::new(None);
    let starve = |pid: i32| {
        let new = Cgroup::new(pid)?;
        new.limit("1")?;
        *group.borrow_mut() = Some(new);
        Ok(())
    };
    let feed = |_: i32| group.borrow().as_ref().map_or(Ok(()), |g: &Cgroup| g.limit("max"));
    let done = starved(w, "no processes", starve, feed);
    // It is emptied before vipd is gone, which is at the end of `starved`.
    drop(group.take());
    done
}

fn no_memory(w: &World) -> Result<()> {
    starved(
        w,
        "no memory for children",
        |pid| limit(pid, "--as=16000000:"),
        |pid| limit(pid, "--as=unlimited:"),
    )
}
