//! Tracked interfaces, checks and HAProxy with a weight.

use super::*;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub const TESTS: &[(&str, Test)] = &[
    ("tracked_interface_is_a_fault", |w| tracked_interface(w, Kind::Vipd, false)),
    ("tracked_interface_is_a_fault_beside_keepalived", |w| tracked_interface(w, Kind::Keepalived, false)),
    ("tracked_interface_has_a_weight", |w| tracked_interface(w, Kind::Vipd, true)),
    ("tracked_interface_has_a_weight_beside_keepalived", |w| tracked_interface(w, Kind::Keepalived, true)),
    ("keepalived_tracks_an_interface", keepalived_tracks),
    ("checks_tcp_and_http", checks_tcp_and_http),
    ("does_not_answer_its_own_check", no_own_answer),
    ("checks_by_command", checks_by_command),
    ("checks_by_command_as_a_user", checks_as_a_user),
    ("knows_no_such_user", no_such_user),
    ("a_stop_kills_what_checks", stop_kills_commands),
    ("a_lost_gateway_moves_the_address", lost_gateway),
    ("believes_no_forged_reply", forged_replies),
    ("haproxy_has_a_weight", weighted_haproxy),
];

/// A `[check]` every 0.3 s that falls with the first failure.
fn check(name: &str, kind: &str, target: impl std::fmt::Display) -> String {
    format!(
        "[check {name}]\ntype = {kind}\ntarget = {target}\ninterval = 0.3\ntimeout = 0.2\nfall = 1\nrise = 1\n"
    )
}

fn start(node: &Node, checks: &str, router: Router) -> Result<Vipd> {
    Vipd::start(node, &(Vipd::ini(node, None, &[router]) + checks))
}

fn status(vipd: &Vipd) -> Result<String> {
    Ok(String::from_utf8_lossy(&vipd.cli(&["status"])?.stdout).into_owned())
}

fn shows(vipd: &Vipd, what: &str) -> Result<()> {
    let status = status(vipd)?;
    ensure!(status.contains(what), "no `{what}` in the status:\n{status}");
    Ok(())
}

// ---------------------------------------------------------------------------------- interfaces

/// A second interface, whose carrier goes when `far1` is set down.
const ETH1: &str = "link add eth1 type veth peer name far1\nlink set far1 up\nlink set eth1 up";

fn tracked_interface(w: &World, peer: Kind, weight: bool) -> Result<()> {
    w.one.ip(ETH1)?;
    let track = if weight { "track_interface = eth1 weight -60" } else { "track_interface = eth1" };
    let two = Daemon::start(peer, &w.two, &[router(100)])?;
    let one = Vipd::run(&w.one, None, &[router(150).with(track)])?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    for (bad, good) in [("link set far1 down", "link set far1 up"), ("link del eth1", ETH1)] {
        let start = Instant::now();
        let mark = one.log().mark();
        w.one.ip(bad)?;
        let came = w.watcher.wait_holder(VIP, "node2", ELECTION)?;
        if weight {
            one.log().wait_from(mark, "Changing effective priority from 150 to 90", secs(1))?;
            shows(&one, "priority 90 (150, -60 interface eth1 down)")?;
            let weak = |s: &Seen| s.node == "node1" && s.advert(VRID).is_some_and(|a| a.priority == 90);
            w.capture.wait("an advert with 90", start, secs(1), weak)?;
        } else {
            shows(&one, "a tracked interface is down")?;
            shows(&one, "interface eth1 down")?;
            // priority 0: the skew of 100 is 0.61 s
            ensure!(
                came - start < w.bound_to(ms(1500), start, came),
                "node2 had it only after {:?}",
                came - start
            );
        }
        w.one.ip(good)?;
        w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    }
    w.watcher.no_overlap(VIP, ms(100))?;
    // It is tracked, and not touched.
    let arp_announce = |dev: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{dev}/arp_announce");
        w.one.enter(|| std::fs::read_to_string(&path)).map(|text| text.trim().to_owned())
    };
    ensure!(arp_announce("eth0")? == "2" && arp_announce("eth1")? == "0", "eth1 has been changed");
    at_peace(&[&one, &two])
}

/// The weights are keepalived's; vipd takes over and gives way.
fn keepalived_tracks(w: &World) -> Result<()> {
    w.one.ip(ETH1)?;
    let track = " track_interface {\n  eth1 weight -60\n }";
    let one = Keepalived::run(&w.one, &[router(150).with(track)])?;
    let two = Vipd::run(&w.two, None, &[router(100)])?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.one.ip("link set far1 down")?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.log().wait_any(0, &["Changing effective priority from 150 to 90"], secs(1))?;
    w.one.ip("link set far1 up")?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    at_peace(&[&one, &two])
}

// ---------------------------------------------------------------------------------- tcp and http

/// What is answered first, and what then without end.
type Answer = (&'static [u8], &'static [u8]);
/// Name, type, address, answer, pause between its octets in ms, and what is to be said.
type Case = (&'static str, &'static str, IpAddr, Option<Answer>, u64, &'static str);

/// What a server does with a connection; all of it ends when the other side closes.
fn serve(
    node: &Node,
    addr: SocketAddr,
    first: &'static [u8],
    then: &'static [u8],
    pause: Duration,
) -> Result<()> {
    let listener = node.enter(|| TcpListener::bind(addr))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 1024]);
                let mut go_on = stream.write_all(first).is_ok();
                while go_on && !then.is_empty() {
                    for piece in then.chunks(if pause.is_zero() { then.len() } else { 1 }) {
                        std::thread::sleep(pause);
                        go_on &= stream.write_all(piece).is_ok();
                    }
                }
                // Without any answer: until the other side has had enough.
                if first.is_empty() && then.is_empty() {
                    let _ = stream.read(&mut [0; 1]);
                }
            });
        }
    });
    Ok(())
}

fn checks_tcp_and_http(w: &World) -> Result<()> {
    w.one.ip("addr add fd00::116/64 dev eth0 nodad")?;
    w.client.ip("addr add fd00::10/64 dev eth0 nodad")?;
    let (v4, v6): (IpAddr, IpAddr) = ("192.168.30.10".parse().unwrap(), "fd00::10".parse().unwrap());
    const NONE: &[u8] = b"";
    let cases: &[Case] = &[
        ("tcp", "tcp", v4, Some((NONE, NONE)), 0, "succeeded"),
        ("tcp6", "tcp", v6, Some((NONE, NONE)), 0, "succeeded"),
        ("refused", "tcp", v4, None, 0, "failed (Connection refused)"),
        ("refused6", "http", v6, None, 0, "failed (Connection refused)"),
        ("absent", "tcp", "192.168.30.99".parse().unwrap(), None, 0, "failed (timed out)"),
        ("unrouted", "tcp", "203.0.113.1".parse().unwrap(), None, 0, "failed (Network "),
        ("http", "http", v4, Some((b"HTTP/1.1 200 OK\r\n\r\n", NONE)), 0, "succeeded"),
        ("http6", "http", v6, Some((b"HTTP/1.0 204\r\n\r\n", NONE)), 0, "succeeded"),
        ("moved", "http", v4, Some((b"HTTP/1.1 302 Found\r\n\r\n", NONE)), 0, "succeeded"),
        ("broken", "http", v4, Some((b"HTTP/1.1 503 No\r\n\r\n", NONE)), 0, "failed (HTTP 503)"),
        ("lost", "http", v4, Some((b"HTTP/1.1 404 No\r\n\r\n", NONE)), 0, "failed (HTTP 404)"),
        ("silent", "http", v4, Some((NONE, NONE)), 0, "failed (timed out)"),
        ("endless", "http", v4, Some((b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65536])), 0, "succeeded"),
        ("header", "http", v4, Some((b"HTTP/1.1 200 OK\r\n", &[b'h'; 65536])), 0, "succeeded"),
        ("drip", "http", v4, Some((NONE, b"HTTP/1.1 200 OK\r\n")), 1000, "failed (timed out)"),
        ("garbage", "http", v4, Some((NONE, &[0xff; 65536])), 0, "failed (the answer is not HTTP)"),
        ("ssh", "http", v4, Some((b"SSH-2.0-x\r\n", NONE)), 0, "failed (the answer is not HTTP)"),
        ("short", "http", v4, Some((b"HTTP/1.1 20", NONE)), 0, "failed (the answer is not HTTP)"),
    ];
    let (mut checks, mut tracks) = (String::new(), String::new());
    for (port, (name, kind, ip, answer, pause, _)) in (7001..).zip(cases) {
        let addr = SocketAddr::new(*ip, port);
        if let Some((first, then)) = answer {
            serve(&w.client, addr, first, then, ms(*pause))?;
        }
        let path = if *kind == "http" { "/health?a=b" } else { "" };
        checks += &check(name, kind, format_args!("{addr}{path}"));
        tracks += &format!("track = {name} weight 1\n");
    }
    let one = start(&w.one, &checks, router(100).with(&tracks))?;
    for (name, .., said) in cases {
        one.wait_log(&format!("VRRP_Script({name}) {said}"), secs(3))?;
    }
    // It goes on like this for a while: nothing changes, and nothing piles up.
    std::thread::sleep(secs(3));
    for (name, ..) in cases {
        let said = one.log().grep(&format!("VRRP_Script({name})"));
        ensure!(said.len() == 1, "{name} is said {} times: {:?}", said.len(), said.last().map(|l| &l.text));
    }
    let up = cases.iter().filter(|c| c.5 == "succeeded").count();
    shows(&one, &format!("priority {} (100, ", 100 + up))?;
    shows(&one, "+1 check drip").err().ok_or_else(|| Error("drip is down".to_owned()))?;
    let fds = std::fs::read_dir(format!("/proc/{}/fd", one.pid()))?.count();
    ensure!(fds <= 16 + cases.len(), "{fds} descriptors");
    // A server that comes, and goes.
    let listener = w.client.enter(|| TcpListener::bind("192.168.30.10:7003"))?;
    one.wait_log("VRRP_Script(refused) succeeded", secs(2))?;
    drop(listener);
    let mark = one.log().mark();
    one.log().wait_from(mark, "VRRP_Script(refused) failed (Connection refused)", secs(2))?;
    Ok(())
}

/// TCP connects to itself if the port that is chosen for it is the very one that it wants to reach.
fn no_own_answer(w: &World) -> Result<()> {
    w.one.sysctl("net.ipv4.ip_local_port_range", "7100 7100")?;
    let checks = check("tcp", "tcp", "127.0.0.1:7100") + &check("http", "http", "127.0.0.1:7100");
    let one = start(&w.one, &checks, router(100).with("track = tcp weight 1\ntrack = http weight 1"))?;
    one.wait_log("VRRP_Script(tcp) failed (Connection refused)", secs(2))?;
    one.wait_log("VRRP_Script(http) failed", secs(2))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(one.log().grep("succeeded").is_empty(), "it answered itself");
    Ok(())
}

// ---------------------------------------------------------------------------------- exec

/// A shell script in the directory of the node.
fn script(node: &Node, name: &str, body: &str) -> Result<PathBuf> {
    let path = node.write(name, &format!("#!/bin/sh\n{body}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Runs one check for each script and waits for what is to be said of it.
fn commands(w: &World, cases: &[(&str, &str, &str)], user: Option<&str>) -> Result<Vipd> {
    let (mut checks, mut tracks) = (String::new(), String::new());
    for (name, body, _) in cases {
        let target = match *body {
            "" => PathBuf::from("/nonexistent/program"),
            body => script(&w.one, name, body)?,
        };
        // A loaded machine forks slowly.
        checks += &check(name, "exec", target.display()).replace("timeout = 0.2", "timeout = 1");
        checks = checks.replace("interval = 0.3", "interval = 1");
        if let Some(user) = user {
            checks += &format!("user = {user}\n");
        }
        tracks += &format!("track = {name} weight -1\n");
    }
    let one = start(&w.one, &checks, router(100).with(&tracks))?;
    for (name, _, said) in cases {
        one.wait_log(&format!("VRRP_Script({name}) {said}"), secs(5))?;
    }
    Ok(one)
}

/// Default dispositions (but of 32 and up, which glibc keeps for itself), empty mask, three descriptors (and
/// that of /proc/self/fd itself).
const CLEAN: &str = "[ $(grep -E -c 'Sig(Blk|Ign):.*[08]0000000$' /proc/self/status) = 2 ] && \
                     [ \"$(echo $(ls /proc/self/fd))\" = '0 1 2 3' ]";

fn checks_by_command(w: &World) -> Result<()> {
    let one = commands(
        w,
        &[
            ("good", "exit 0", "succeeded"),
            ("clean", CLEAN, "succeeded"),
            ("bad", "echo out of cheese; echo more >&2; exit 3", "failed (exit status 3): out of cheese"),
            ("shot", "kill -9 $$", "failed (signal 9)"),
            ("absent", "", "failed (No such file or directory)"),
            ("hangs", "trap '' TERM\nsleep 1001 & sleep 1001", "failed (timed out)"),
            ("leaves", "sleep 1002 >/dev/null 2>&1 &", "succeeded"),
            ("leaves_pipe", "sleep 1003 &", "succeeded"),
            ("floods", "exec yes a long line of output", "failed (signal 13): a long line of output"),
            ("escapes", "printf '\\033[2Jx\\n\\200'; exit 1", "failed (exit status 1): \\x1b[2Jx"),
        ],
        None,
    )?;
    std::thread::sleep(secs(3));
    // Of "hangs" one attempt may be under way: a shell's two children.
    for (seconds, most) in [("1001", 2), ("1002", 1), ("1003", 1)] {
        let left = || {
            let is = |pid: &i32| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|c| c == format!("sleep\0{seconds}\0").as_bytes())
            };
            w.one.pids("sleep").iter().filter(|pid| is(pid)).count()
        };
        life::wait_until(&format!("at most {most} sleeps of {seconds} s"), secs(2), || left() <= most)?;
    }
    ensure!(w.one.pids("yes").len() <= 1, "yes goes on");
    // One that was killed an instant ago may still wait to be reaped: that is seen a little later.
    let zombies = || {
        let is = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
        };
        w.one.pids("").iter().filter(|pid| is(pid)).count()
    };
    let deadline = Instant::now() + secs(2);
    while zombies() > 1 {
        ensure!(Instant::now() < deadline, "{} zombies", zombies());
        std::thread::sleep(ms(10));
    }
    let fds = std::fs::read_dir(format!("/proc/{}/fd", one.pid()))?.count();
    ensure!(fds <= 20 + 10, "{fds} descriptors");
    shows(&one, "-1 check hangs down")
}

fn checks_as_a_user(w: &World) -> Result<()> {
    let map = std::fs::read_to_string("/proc/self/uid_map")?;
    let ids = |line: &str| line.split_ascii_whitespace().nth(2).and_then(|n| n.parse::<u64>().ok());
    if map.lines().filter_map(ids).sum::<u64>() < 65536 {
        return Err(Error::missing("a second user"));
    }
    let privileges = "[ $(grep CapEff /proc/self/status | grep -c 0000000000000000) = 1 ]";
    let _one = commands(
        w,
        &[
            ("who", "[ \"$(id -u) $(id -g) $(id -G)\" = '65534 65534 65534' ]", "succeeded"),
            ("clean", CLEAN, "succeeded"),
            ("caps", privileges, "succeeded"),
            ("bad", "exit 4", "failed (exit status 4)"),
            ("hangs", "sleep 1001 & sleep 1001", "failed (timed out)"),
            ("absent", "", "failed (exit status 126): cannot be executed by that user"),
        ],
        Some("nobody"),
    )?;
    std::thread::sleep(secs(2));
    ensure!(w.one.pids("sleep").len() <= 2, "what the user left hanging is not killed");
    Ok(())
}

fn no_such_user(w: &World) -> Result<()> {
    let text = check("gw", "exec", "/bin/true") + "user = nosuchuser\n";
    let one = start(&w.one, &text, router(100).with("track = gw"))?;
    one.wait_log("[check gw]: there is no user nosuchuser", secs(2))?;
    ensure!(one.wait_exit(secs(2))?.code() == Some(1), "it starts all the same");
    let tested = one.cli(&["-t"])?;
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    ensure!(tested.status.code() == Some(2) && said.contains("no user nosuchuser"), "-t: {said}");
    Ok(())
}

fn stop_kills_commands(w: &World) -> Result<()> {
    let hangs = script(&w.one, "hangs", "sleep 1001 & sleep 1001")?;
    let text = check("hangs", "exec", hangs.display()).replace("0.3", "60").replace("0.2", "60");
    let one = start(&w.one, &text, router(100).with("track = hangs weight 1"))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    ensure!(w.one.pids("sleep").len() == 2, "the check does not run");
    one.terminate();
    ensure!(one.wait_exit(secs(10))?.success(), "no clean end");
    let deadline = Instant::now() + secs(1);
    while !w.one.pids("sleep").is_empty() {
        ensure!(Instant::now() < deadline, "what checked runs on");
        std::thread::sleep(ms(10));
    }
    Ok(())
}

// ---------------------------------------------------------------------------------- ping

/// Its answers get lost: node1 sends to a MAC address that nobody has.
const LOST: &str = "neigh replace 192.168.30.10 lladdr 02:00:00:00:00:99 dev eth0 nud permanent";
const FOUND: &str = "neigh del 192.168.30.10 dev eth0";

fn lost_gateway(w: &World) -> Result<()> {
    w.one.ip("addr add fd00::116/64 dev eth0 nodad")?;
    w.client.ip("addr add fd00::10/64 dev eth0 nodad")?;
    let two = Daemon::start(Kind::Vipd, &w.two, &[router(100)])?;
    let checks = check("gw", "ping", "192.168.30.10") + &check("gw6", "ping", "fd00::10");
    let one = start(&w.one, &checks, router(90).with("track = gw weight 60\ntrack = gw6"))?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    shows(&one, "priority 150 (90, +60 check gw up)")?;
    w.one.ip(LOST)?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_log("VRRP_Script(gw) failed (timed out)", ms(100))?;
    one.wait_log("Changing effective priority from 150 to 90", ms(100))?;
    w.one.ip(FOUND)?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    // The one without weight.
    let start = Instant::now();
    w.client.ip("addr del fd00::10/64 dev eth0")?;
    let came = w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    ensure!(came - start < w.bound_to(ms(2000), start, came), "node2 had it only after {:?}", came - start);
    shows(&one, "a tracked check is down")?;
    shows(&one, "check gw6 down")?;
    w.client.ip("addr add fd00::10/64 dev eth0 nodad")?;
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.watcher.no_overlap(VIP, ms(100))?;
    at_peace(&[&one, &two])
}

/// Somebody else answers for the gateway, with what he can guess.
fn forged_replies(w: &World) -> Result<()> {
    w.one.ip(LOST)?;
    let one = start(&w.one, &check("gw", "ping", "192.168.30.10"), router(100).with("track = gw weight 1"))?;
    one.wait_log("VRRP_Script(gw) failed (timed out)", secs(2))?;
    let start = Instant::now();
    let mut id: u16 = 0;
    while start.elapsed() < secs(2) {
        for _ in 0..200 {
            id = id.wrapping_add(77);
            let [hi, lo] = id.to_be_bytes();
            for kind in [0, 3] {
                let mut message = vec![kind, 0, 0, 0, hi, lo, hi, lo, 0, 0, 0, 0, 0, 0, 0, 0];
                let [a, b] = checksum(&message).to_be_bytes();
                (message[2], message[3]) = (a, b);
                w.two.inject_ip(w.client.addr(), w.one.addr(), 64, 1, &message)?;
            }
        }
    }
    ensure!(one.log().grep("VRRP_Script(gw) succeeded").is_empty(), "it believed a forgery");
    w.one.ip(FOUND)?;
    one.wait_log("VRRP_Script(gw) succeeded", secs(2))?;
    Ok(())
}

// ---------------------------------------------------------------------------------- HAProxy

fn weighted_haproxy(w: &World) -> Result<()> {
    let weight = router(150).with("track_haproxy = weight -60");
    let (one, _) = w.with_haproxy(Kind::Vipd, &w.one, weight)?;
    w.node1_is_master()?;
    let (two, _) = w.with_haproxy(Kind::Vipd, &w.two, router(100))?;
    two.wait_log(words::BACKUP, secs(5))?;
    let cfg = std::fs::read_to_string(w.one.dir().join("haproxy.cfg"))?;
    copy::nonsense(&w.one)?;
    let master = w.one.haproxy_master().ok_or_else(|| Error("no HAProxy on node1".to_owned()))?;
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(master), Signal::SIGKILL)?;
    w.watcher.wait_holder(VIP, "node2", ELECTION)?;
    one.wait_log("Changing effective priority from 150 to 90", ms(100))?;
    let Daemon::Vipd(one) = one else { fail!("node1 runs vipd") };
    shows(&one, "priority 90 (150, -60 HAProxy down)")?;
    ensure!(one.log().grep("FAULT").is_empty(), "a weight is no fault");
    // Without a better one it takes over all the same.
    two.terminate();
    w.watcher.wait_holder(VIP, "node1", ELECTION)?;
    w.one.write("haproxy.cfg", &cfg)?;
    one.wait_log("Changing effective priority from 90 to 150", secs(40))?;
    w.client()?.wait_answer_by("node1", secs(5))?;
    w.watcher.no_overlap(VIP, ms(100))?;
    at_peace(&[&one, &two])
}
