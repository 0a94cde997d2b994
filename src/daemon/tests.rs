//! A whole daemon with real sockets and processes: whatever is said to be ready and is not, nothing happens.

use super::haproxy::service::Source as Haproxy;
use super::*;
use crate::config::schema;
use crate::haproxy::supervisor::{Action, Input};
use crate::sys::allocations;
use crate::sys::socket::Kind;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SfdFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// What may take a moment: interfaces that come up, processes that start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon, and what its checks, HAProxy and clients talk to. None of these ever says a word.
struct World {
    daemon: Daemon,
    dir: PathBuf,
    config: Rc<Config>,
    /// Accepts no connection: its queue is full.
    _full: (OwnedFd, Vec<TcpStream>),
    silent: TcpListener,
    _unix: [UnixListener; 2],
    _clients: [UnixStream; 2],
}

/// A listener whose only place is taken: to connect to it takes for ever, as to a host that is not there.
fn full_listener() -> ((OwnedFd, Vec<TcpStream>), SocketAddrV4) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&fd, Backlog::new(0).unwrap()).unwrap();
    let at: SockaddrIn = getsockname(fd.as_raw_fd()).unwrap();
    let at = SocketAddrV4::new(at.ip(), at.port());
    let taken = TcpStream::connect(at).unwrap();
    ((fd, vec![taken]), at)
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A network namespace for this thread alone, with an interface whose other end is silent. Returns whether
/// that was possible: root can.
fn isolate() -> bool {
    if !nix::unistd::geteuid().is_root() || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err()
    {
        return false;
    }
    ip("link set lo up");
    ip("link add v0 type veth peer name v1");
    ip("addr add 192.0.2.1/24 dev v0");
    ip("addr add fe80::1/64 dev v0 nodad");
    ip("link set v0 up");
    ip("link set v1 up");
    true
}

impl World {
    /// `network`: with virtual routers, else with checks, hooks, HAProxy and clients only.
    fn new(network: bool) -> World {
        let dir = std::env::temp_dir().join(format!("vipd-ready-{}-{network}", std::process::id()));
        runtime::make_dir(&dir, runtime::PRIVATE).unwrap();
        let at = |name: &str| dir.join(name);
        let script = format!("#!/bin/sh\necho $$ >>{}\nexec sleep 300 >/dev/null\n", at("pids").display());
        std::fs::write(at("silent.sh"), script).unwrap();
        std::fs::set_permissions(at("silent.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(at("haproxy.cfg"), "frontend f\n  bind :80\n").unwrap();
        let (full, full_at) = full_listener();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_at = silent.local_addr().unwrap();
        let d = dir.display();
        let slow = "interval = 3600\ntimeout = 60";
        let mut text = format!(
            "[global]\ncontrol_socket = {d}/control\nnotify = {d}/silent.sh\n\
             [haproxy]\nbinary = {d}/silent.sh\nconfig = {d}/haproxy.cfg\nstart_timeout = 3600\ncheck_timeout = 60\n\
             [check connecting]\ntype = tcp\ntarget = {full_at}\n{slow}\n\
             [check asking]\ntype = http\ntarget = {silent_at}/\n{slow}\n\
             [check running]\ntype = exec\ntarget = {d}/silent.sh\n{slow}\n",
        );
        if network {
            text += &format!("[check pinging]\ntype = ping\ntarget = 192.0.2.9\n{slow}\n");
            for (name, vrid, vip, more) in [
                ("V4", 51, "192.0.2.100/24", "advert_int = 40"),
                ("V6", 52, "fe80::100/64, 2001:db8::100/64", "advert_int = 40"),
                ("MAC", 53, "192.0.2.101/24", "advert_int = 40\nuse_vmac = yes"),
            ] {
                text += &format!(
                    "[vrrp {name}]\ninterface = v0\nvirtual_router_id = {vrid}\nvirtual_ipaddress = {vip}\ntrack_haproxy = no\n{more}\n"
                );
            }
        } else {
            text += "[vrrp V4]\ninterface = none0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.100/24\ntrack_haproxy = no\nlease = address\n";
        }
        let config = Rc::new(schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0);
        let unix = [".haproxy-master", ".haproxy-stats"].map(|s| {
            let path = runtime::with_suffix(&at("control"), s);
            let _ = std::fs::remove_file(&path);
            UnixListener::bind(path).unwrap()
        });
        let mut daemon = Daemon::open(&config, Text::default(), Rights::none(), None)
            .unwrap_or_else(|e| panic!("{}", e.0));
        // Without SIGCHLD: this daemon would reap the children of other tests in this process.
        daemon.signals = SignalFd::with_flags(&SigSet::from(Signal::SIGUSR2), SfdFlags::all()).unwrap();
        daemon.begin(Handed::default()).unwrap_or_else(|e| panic!("{}", e.0));
        let clients = [b"".as_slice(), b"watch\n"].map(|line| {
            let mut client = UnixStream::connect(at("control")).unwrap();
            client.write_all(line).unwrap();
            client
        });
        World { daemon: *daemon, dir, config, _full: full, silent, _unix: unix, _clients: clients }
    }

    fn sources(&self) -> Vec<Source> {
        self.daemon.sources(clock::now(), Ready::default()).sources()
    }

    /// Lets the daemon run until all these kinds of sources are there.
    fn run_until(&mut self, kinds: &[u8]) {
        let start = Instant::now();
        loop {
            let there: BTreeSet<u8> = self.sources().iter().map(kind).collect();
            let missing: Vec<&u8> = kinds.iter().filter(|k| !there.contains(k)).collect();
            if missing.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "kinds {missing:?} do not come: {:?} {}",
                self.sources(),
                self.state()
            );
            self.daemon.turn().unwrap_or_else(|e| panic!("{}", e.0));
        }
    }

    /// Takes what is really there.
    fn drain(&mut self) {
        loop {
            let ready = self
                .daemon
                .sources(clock::now(), Ready::default())
                .wait(Some(Duration::ZERO))
                .unwrap()
                .sources;
            if ready.is_empty() {
                return;
            }
            for source in ready {
                self.read(source);
            }
            self.daemon.settle(clock::now());
        }
    }

    fn read(&mut self, source: Source) {
        self.daemon.read(source).unwrap_or_else(|e| panic!("{}", e.0));
    }

    /// Everything that a source could change.
    fn state(&self) -> String {
        let d = &self.daemon;
        format!("{:?}{:?}{:?}{:?}{:?}{:?}", d.node, d.service, d.checks, d.jobs, d.control, d.requests)
    }

    /// Says that something is ready. Something may really come in that moment, but not each time.
    fn nothing_happens(&mut self, source: Source) {
        self.drain();
        let there = self.sources().contains(&source);
        let mut change = (String::new(), String::new());
        for _ in 0..3 {
            let before = (self.state(), self.sources());
            self.read(source);
            if before == (self.state(), self.sources()) {
                return;
            }
            change = (before.0, self.state());
            self.drain();
            if there && !self.sources().contains(&source) {
                break; // an attempt that has ended cannot be tried again
            }
        }
        panic!("{source:?}\nbefore: {}\nafter: {}", change.0, change.1);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let pids = std::fs::read_to_string(self.dir.join("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|l| l.parse().ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Every kind of source has a number here, or this does not compile.
fn kind(source: &Source) -> u8 {
    match source {
        Source::Signals => 0,
        Source::Netlink => 1,
        Source::Client(_, None) => 2,
        Source::Client(_, Some(_)) => 3,
        Source::Check(_) => 4,
        Source::Job(_) => 5,
        Source::Haproxy(Haproxy::Pipe(_)) => 6,
        Source::Haproxy(Haproxy::Probe(_)) => 7,
        Source::Vrrp(_, Kind::Plain) => 8,
        Source::Vrrp(_, Kind::Ah) => 9,
        Source::UnknownVrid(_) => 10,
        Source::VrrpV6(_) => 11,
        Source::UnknownVridV6(_) => 12,
        Source::Arp(_) => 13,
        Source::Neighbours(_) => 14,
        Source::Vmac(_) => 15,
        Source::Lone => 18,
        // These two are set up apart: they are there at other times than the others.
        Source::Haproxy(Haproxy::Pidfd(_)) => 16,
        Source::Haproxy(Haproxy::Listeners(_)) => 17,
        // Where tables of nf_tables have no owner.
        Source::Fence => 18,
    }
}

/// The same source of an attempt that is over, or has not begun.
fn of_another(source: Source) -> Option<Source> {
    Some(match source {
        Source::Client(language, Some(n)) => Source::Client(language, Some(n + 1000)),
        Source::Check(n) => Source::Check(n + 1000),
        Source::Job(n) => Source::Job(n + 1000),
        Source::Haproxy(Haproxy::Pipe(n)) => Source::Haproxy(Haproxy::Pipe(n + 1000)),
        Source::Haproxy(Haproxy::Probe(n)) => Source::Haproxy(Haproxy::Probe(n + 1000)),
        Source::Haproxy(Haproxy::Pidfd(n)) => Source::Haproxy(Haproxy::Pidfd(n + 1)),
        Source::Haproxy(Haproxy::Listeners(n)) => Source::Haproxy(Haproxy::Listeners(n + 1000)),
        _ => return None,
    })
}

#[test]
fn spurious_readiness_changes_nothing() {
    let world = std::thread::spawn(|| {
        let network = isolate();
        let mut w = World::new(network);
        let mut kinds: Vec<u8> = if network { (0..16).collect() } else { (0..8).collect() };
        if network {
            w.daemon.lone = Lone::take(String::new()).ok();
            kinds.push(18);
        }
        w.run_until(&kinds);
        let checks = w.sources().iter().filter(|s| matches!(s, Source::Check(_))).count();
        assert_eq!(checks, w.config.checks.len(), "each check has an attempt under way");
        for source in w.sources() {
            w.nothing_happens(source);
            of_another(source).into_iter().for_each(|s| w.nothing_happens(s));
        }

        let service = w.daemon.service.as_mut().unwrap();
        service.carry_out(Action::FetchListeners { worker: 1 });
        let fetch = w.sources().into_iter().find(|s| kind(s) == 17).unwrap();
        w.nothing_happens(fetch);
        of_another(fetch).into_iter().for_each(|s| w.nothing_happens(s));

        // One that is no child of this process, in the place of the one that is.
        let script = ["-c", "sleep 60 >/dev/null 2>&1 & echo $!"];
        let out = Command::new("sh").args(script).output().unwrap();
        let orphan: u32 = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap();
        let control_socket = &w.config.global.control_socket;
        let table = runtime::with_suffix(control_socket, ".haproxy");
        let text = runtime::read_file(&table).unwrap();
        let known: Vec<&str> = text.split_whitespace().skip(2).collect();
        let start = process::start_time(orphan).unwrap();
        runtime::replace_file(&table, &format!("{orphan} {start} {}\n", known.join(" "))).unwrap();
        let haproxy = w.config.haproxy.as_ref().unwrap();
        let mut adopting = Service::new(haproxy, control_socket, false);
        assert!(matches!(adopting.adopt(None, Vec::new())[..], [Input::Adopted { .. }]));
        w.daemon.service = Some(adopting);
        let pidfd = w.sources().into_iter().find(|s| kind(s) == 16).unwrap();
        w.nothing_happens(pidfd);
        of_another(pidfd).into_iter().for_each(|s| w.nothing_happens(s));
        let orphan = nix::unistd::Pid::from_raw(orphan.cast_signed());
        nix::sys::signal::kill(orphan, Signal::SIGKILL).unwrap();
    });
    world.join().unwrap();
}

#[test]
fn a_process_with_a_secret_leaves_no_core_file() {
    use nix::sys::prctl::{get_dumpable, set_dumpable};
    let file = std::env::temp_dir().join(format!("vipd-dumpable-{}.ini", std::process::id()));
    let text = "[vrrp V]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 10.77.0.100/24\n";
    for (more, dumpable) in [("", true), ("auth_type = PASS\nauth_pass = 1111\n", false)] {
        set_dumpable(true).unwrap();
        std::fs::write(&file, [text, more].concat()).unwrap();
        assert!(read_config(&[&file]).is_ok());
        assert_eq!(get_dumpable(), Ok(dumpable), "{more}");
    }
    set_dumpable(true).unwrap();
    let _ = std::fs::remove_file(file);
}

#[test]
fn what_is_ready_for_one_attempt_is_not_read_from_the_next() {
    let mut w = World::new(false);
    w.run_until(&[2, 3, 4]);
    w.drain();
    let first: Vec<Source> = w.sources().into_iter().filter(|s| kind(s) == 4).collect();
    // The question that is asked over HTTP is asked anew, and that attempt is answered.
    let asking = w.config.checks.iter().position(|c| c.name == "asking").unwrap();
    let old = w.silent.accept().unwrap().0;
    assert!(w.daemon.checks.carry_out(asking, crate::check::Action::Start).is_none());
    let second = w.sources().into_iter().find(|s| kind(s) == 4 && !first.contains(s)).unwrap();
    w.read(second); // it is connected, and asks
    let mut new = w.silent.accept().unwrap().0;
    new.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    drop(old);
    let start = Instant::now();
    while !w
        .daemon
        .sources(clock::now(), Ready::default())
        .wait(Some(Duration::ZERO))
        .unwrap()
        .sources
        .contains(&second)
    {
        assert!(start.elapsed() < PATIENCE);
    }
    let before = w.state();
    for source in first.iter().filter(|s| !w.sources().contains(s)).copied().collect::<Vec<_>>() {
        w.read(source);
        assert_eq!(before, w.state());
    }
    assert_eq!(w.daemon.node.checks[asking].is_up(), None);
    w.read(second);
    assert_eq!(w.daemon.node.checks[asking].is_up(), Some(true));
}

/// A master's steady state: whatever the interval is, its memory stays as it is.
#[test]
fn an_advert_allocates_nothing() {
    if !isolate() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("vipd-steady-{}", std::process::id()));
    runtime::make_dir(&dir, runtime::PRIVATE).unwrap();
    let text = format!(
        "[global]\ncontrol_socket = {}/control\n\
         [vrrp V4]\ninterface = v0\nvirtual_router_id = 51\nversion = 3\nadvert_int = 0.01\nvirtual_ipaddress = 192.0.2.100/24\n\
         [vrrp V6]\ninterface = v0\nvirtual_router_id = 52\nadvert_int = 0.01\nvirtual_ipaddress = fe80::100/64\n",
        dir.display()
    );
    let config = Rc::new(schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0);
    let mut daemon =
        Daemon::open(&config, Text::default(), Rights::none(), None).unwrap_or_else(|e| panic!("{}", e.0));
    daemon.signals = SignalFd::with_flags(&SigSet::from(Signal::SIGUSR2), SfdFlags::all()).unwrap();
    daemon.begin(Handed::default()).unwrap_or_else(|e| panic!("{}", e.0));
    let mut turn = || daemon.turn().unwrap_or_else(|e| panic!("{}", e.0));
    // Some turns of these ten seconds renew an address or announce it. The others only send an advert.
    let (mut quiet, mut total) = (0, 0);
    while quiet < 50 {
        quiet = if allocations::count(&mut turn) == 0 { quiet + 1 } else { 0 };
        total += 1;
        assert!(total < 1000, "no 50 turns one after the other");
    }
    assert!(daemon.node.routers.iter().all(|r| r.is_master()));
    let _ = std::fs::remove_dir_all(&dir);
}
