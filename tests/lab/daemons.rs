//! The daemons under test and around it, and their configurations.

use super::lan::{Lan, Node};
use super::proc::{Log, Proc, parent};
use super::{Error, Result, secs};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fmt::Write;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One virtual router of one node, to be written down for either daemon.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// interface
    pub interface: String,
    /// virtual_router_id
    pub vrid: u8,
    /// priority
    pub priority: u8,
    /// preempt / nopreempt
    pub preempt: bool,
    /// advert_int
    pub advert_int: String,
    /// auth_pass
    pub auth: Option<String>,
    /// auth_type AH instead of PASS
    pub ah: bool,
    /// unicast_src_ip and unicast_peer
    pub unicast: Option<(IpAddr, Vec<IpAddr>)>,
    /// 2 or 3; 0: not written
    pub version: u8,
    /// virtual_ipaddress
    pub vips: Vec<String>,
    /// Further lines, in the language of the daemon.
    pub extra: String,
}

impl Router {
    /// The how-to's router but for number, priority and address: `VI_<vrid>`, 1 s, password 1111.
    pub fn new(vrid: u8, priority: u8, vip: &str) -> Router {
        Router {
            name: format!("VI_{vrid}"),
            interface: "eth0".to_owned(),
            vrid,
            priority,
            preempt: true,
            advert_int: "1".to_owned(),
            auth: Some("1111".to_owned()),
            ah: false,
            unicast: None,
            version: 0,
            vips: vec![vip.to_owned()],
            extra: String::new(),
        }
    }

    /// `preempt = no` or `nopreempt`.
    pub fn no_preempt(mut self) -> Router {
        self.preempt = false;
        self
    }

    /// Another password, or none.
    pub fn auth(mut self, pass: Option<&str>) -> Router {
        self.auth = pass.map(str::to_owned);
        self
    }

    /// The password is the key of an authentication header.
    pub fn ah(mut self) -> Router {
        self.ah = true;
        self
    }

    /// Unicast from `src` to `peers`.
    pub fn unicast(self, src: &Node, peers: &[&Node]) -> Router {
        let peers: Vec<IpAddr> = peers.iter().map(|p| p.addr().into()).collect();
        self.unicast_between(src.addr().into(), &peers)
    }

    /// The same with any addresses.
    pub fn unicast_between(mut self, src: IpAddr, peers: &[IpAddr]) -> Router {
        self.unicast = Some((src, peers.to_vec()));
        self
    }

    fn auth_type(&self) -> &'static str {
        if self.ah { "AH" } else { "PASS" }
    }

    /// Another interval.
    pub fn advert_int(mut self, seconds: &str) -> Router {
        self.advert_int = seconds.to_owned();
        self
    }

    /// VRRPv3, which has no passwords.
    pub fn v3(mut self) -> Router {
        self.version = 3;
        self.auth(None)
    }

    /// Further lines, in the language of the daemon.
    pub fn with(mut self, lines: &str) -> Router {
        self.extra += lines;
        self.extra.push('\n');
        self
    }

    fn ini(&self) -> String {
        let Router { name, interface, vrid, priority, advert_int, extra, .. } = self;
        let mut text = format!(
            "[vrrp {name}]\ninterface = {interface}\nvirtual_router_id = {vrid}\npriority = {priority}\n\
             advert_int = {advert_int}\nvirtual_ipaddress = {}\n",
            self.vips.join(", ")
        );
        if !self.preempt {
            text += "preempt = no\n";
        }
        if let Some(pass) = &self.auth {
            let _ = write!(text, "auth_type = {}\nauth_pass = {pass}\n", self.auth_type());
        }
        if let Some((src, peers)) = &self.unicast {
            let peers: Vec<String> = peers.iter().map(IpAddr::to_string).collect();
            let _ = write!(text, "unicast_src_ip = {src}\nunicast_peer = {}\n", peers.join(", "));
        }
        if self.version != 0 {
            let _ = writeln!(text, "version = {}", self.version);
        }
        // Most tests look at who has an address, which behind the fence is not the same as who answers for
        // it.
        if !extra.contains("lease =") && self.priority != 255 {
            let lease = std::env::var("LEASE").unwrap_or_else(|_| "address".to_owned());
            let _ = writeln!(text, "lease = {lease}");
        }
        text + extra + "\n"
    }

    fn keepalived(&self) -> String {
        let Router { name, interface, vrid, priority, advert_int, extra, .. } = self;
        let mut text = format!(
            "vrrp_instance {name} {{\n state BACKUP\n interface {interface}\n virtual_router_id {vrid}\n \
             priority {priority}\n advert_int {advert_int}\n virtual_ipaddress {{\n"
        );
        for vip in &self.vips {
            let _ = writeln!(text, "  {vip}");
        }
        text += " }\n";
        if !self.preempt {
            text += " nopreempt\n";
        }
        if let Some(pass) = &self.auth {
            let kind = self.auth_type();
            let _ = write!(text, " authentication {{\n  auth_type {kind}\n  auth_pass {pass}\n }}\n");
        }
        if let Some((src, peers)) = &self.unicast {
            let peers: String = peers.iter().map(|p| format!("  {p}\n")).collect();
            let _ = write!(text, " unicast_src_ip {src}\n unicast_peer {{\n{peers} }}\n");
        }
        if self.version != 0 {
            let _ = writeln!(text, " version {}", self.version);
        }
        text + extra + "}\n"
    }
}

/// The vipd under test: `$VIPD`, or the one that cargo built, or that of `make`.
pub fn vipd_path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VIPD") {
        return Ok(path.into());
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_vipd") {
        return Ok(path.into());
    }
    // An example lies in target/PROFILE/examples.
    let exe = std::env::current_exe()?;
    let built = exe.ancestors().skip(2).take(2).map(|dir| dir.join("vipd")).find(|path| path.is_file());
    built.ok_or_else(|| Error("no vipd found: run `cargo build --release` first, or set VIPD".to_owned()))
}

/// A running vipd.
pub struct Vipd {
    proc: Proc,
    node: Node,
    ini: PathBuf,
}

impl Vipd {
    /// The configuration of a node: with HAProxy if there is a configuration for it.
    pub fn ini(node: &Node, haproxy: Option<&Path>, routers: &[Router]) -> String {
        let (name, dir) = (node.name(), node.dir().display());
        let mut text =
            format!("[global]\nrouter_id = {name}\nlog = stderr\ncontrol_socket = {dir}/vipd/control\n\n");
        if let Some(cfg) = haproxy {
            let _ = write!(text, "[haproxy]\nbinary = {}\nconfig = {}\n\n", haproxy_path(), cfg.display());
        }
        text + &routers.iter().map(Router::ini).collect::<String>()
    }

    /// Writes the configuration and starts vipd with it.
    pub fn start(node: &Node, ini: &str) -> Result<Vipd> {
        let path = node.write("vipd.ini", ini)?;
        let mut cmd = Command::new(vipd_path()?);
        cmd.arg("-c").arg(&path);
        let proc = Proc::start(node, "vipd", cmd)?;
        Ok(Vipd { proc, node: node.clone(), ini: path })
    }

    /// Writes and starts in one: [`Vipd::ini`] and [`Vipd::start`].
    pub fn run(node: &Node, haproxy: Option<&Path>, routers: &[Router]) -> Result<Vipd> {
        Vipd::start(node, &Vipd::ini(node, haproxy, routers))
    }

    /// Runs the vipd command in this node with this one's configuration: `status`, `resign`, …
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        vipd_cli(&self.node, args, &self.ini)
    }

    /// The file it was started with.
    pub fn ini_path(&self) -> &Path {
        &self.ini
    }
}

impl Deref for Vipd {
    type Target = Proc;
    fn deref(&self) -> &Proc {
        &self.proc
    }
}

fn vipd_cli(node: &Node, args: &[&str], ini: &Path) -> Result<Output> {
    node.output(Command::new(vipd_path()?).args(args).arg("-c").arg(ini))
}

/// A running keepalived (VRRP only).
pub struct Keepalived(Proc);

impl Keepalived {
    /// The configuration of a node.
    pub fn conf(node: &Node, routers: &[Router]) -> String {
        let head = format!("global_defs {{\n router_id {}\n}}\n", node.name());
        head + &routers.iter().map(Router::keepalived).collect::<String>()
    }

    /// Writes the configuration and starts keepalived with it.
    pub fn start(node: &Node, conf: &str) -> Result<Keepalived> {
        let path = node.write("keepalived.conf", conf)?;
        let pid = |name: &str| {
            let file = node.dir().join(name);
            // One that was killed left it; its number may live on for a moment, and keepalived would not
            // start.
            let _ = std::fs::remove_file(&file);
            file
        };
        let mut cmd = Command::new(keepalived_path());
        cmd.args(["-n", "-l", "-D", "-P", "-G", "-f"]).arg(path);
        cmd.arg("-p")
            .arg(pid("keepalived.pid"))
            .arg("-r")
            .arg(pid("vrrp.pid"))
            .arg("-c")
            .arg(pid("checkers.pid"));
        Ok(Keepalived(Proc::start(node, "keepalived", cmd)?))
    }

    /// With a `track_script` that looks for HAProxy once a second, as is usual, but by the process id in
    /// `haproxy.pid` ([`Haproxy::supervised`]): all nodes share one table of processes.
    pub fn tracking(node: &Node, routers: Vec<Router>) -> Result<Keepalived> {
        Keepalived::start(node, &Keepalived::tracking_conf(node, routers)?)
    }

    /// The configuration for that; the script is written.
    pub fn tracking_conf(node: &Node, routers: Vec<Router>) -> Result<String> {
        let pid = node.dir().join("haproxy.pid");
        let check = node.write("check", &format!("#!/bin/sh\nkill -0 \"$(cat {})\"\n", pid.display()))?;
        std::fs::set_permissions(&check, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let script = format!(
            "vrrp_script haproxy {{\n script {}\n interval 1\n timeout 1\n fall 2\n rise 1\n user root\n}}\n",
            check.display()
        );
        let tracked: Vec<Router> =
            routers.into_iter().map(|r| r.with("track_script {\n haproxy\n }")).collect();
        let conf = Keepalived::conf(node, &tracked);
        Ok(conf.replacen("}\n", &format!(" script_user root\n}}\n{script}"), 1))
    }

    /// The process alone.
    pub fn into_proc(self) -> Proc {
        self.0
    }

    /// Writes and starts in one: [`Keepalived::conf`] and [`Keepalived::start`].
    pub fn run(node: &Node, routers: &[Router]) -> Result<Keepalived> {
        Keepalived::start(node, &Keepalived::conf(node, routers))
    }
}

impl Deref for Keepalived {
    type Target = Proc;
    fn deref(&self) -> &Proc {
        &self.0
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// vipd
    Vipd,
    /// keepalived
    Keepalived,
}

/// A VRRP daemon of either kind.
pub enum Daemon {
    /// vipd
    Vipd(Vipd),
    /// keepalived
    Keepalived(Keepalived),
}

impl Daemon {
    /// Starts it with these routers and without HAProxy.
    pub fn start(kind: Kind, node: &Node, routers: &[Router]) -> Result<Daemon> {
        Ok(match kind {
            Kind::Vipd => Daemon::Vipd(Vipd::run(node, None, routers)?),
            Kind::Keepalived => Daemon::Keepalived(Keepalived::run(node, routers)?),
        })
    }
}

impl Deref for Daemon {
    type Target = Proc;
    fn deref(&self) -> &Proc {
        match self {
            Daemon::Vipd(daemon) => daemon,
            Daemon::Keepalived(daemon) => daemon,
        }
    }
}

/// What the environment names; empty is as if it were not set.
fn named(variable: &str, otherwise: &str) -> String {
    std::env::var(variable).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| otherwise.to_owned())
}

/// The keepalived to use: `$KEEPALIVED`, or the one on the path.
pub fn keepalived_path() -> String {
    named("KEEPALIVED", "keepalived")
}

/// The HAProxy to use: `$HAPROXY`, or Debian's.
pub fn haproxy_path() -> String {
    named("HAPROXY", "/usr/sbin/haproxy")
}

/// Writes `haproxy.cfg` of a node: on `bind` (`VIP:PORT`, `:PORT`, or several with commas) it answers with
/// the name of the node.
pub fn haproxy_cfg(node: &Node, bind: &str) -> Result<PathBuf> {
    let name = node.name();
    node.write(
        "haproxy.cfg",
        &format!(
            "global\n    maxconn 2000\n    nbthread 1\n\
             defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n\
             frontend app\n    bind {bind}\n    \
             http-request return status 200 content-type text/plain string \"{name}\"\n"
        ),
    )
}

/// A HAProxy that nobody supervises, as on a keepalived node without the script.
pub struct Haproxy(Proc);

impl Haproxy {
    /// Starts it as vipd would, with the sysctl that lets it bind an address that is not there.
    pub fn start(node: &Node, cfg: &Path) -> Result<Haproxy> {
        node.sysctl("net.ipv4.ip_nonlocal_bind", "1")?;
        let mut cmd = Command::new(haproxy_path());
        let socket = format!("{}/haproxy-master.sock,mode,600", node.dir().display());
        cmd.args(["-W", "-S", &socket, "-f"]).arg(cfg);
        Ok(Haproxy(Proc::start(node, "haproxy", cmd)?))
    }
}

impl Haproxy {
    /// A shell that starts HAProxy again 0.1 s after its end, as systemd does with `Restart=always`.
    pub fn supervised(node: &Node, cfg: &Path) -> Result<Proc> {
        node.sysctl("net.ipv4.ip_nonlocal_bind", "1")?;
        let (cfg, dir, haproxy) = (cfg.display(), node.dir().display(), haproxy_path());
        let each =
            format!("{haproxy} -W -p {dir}/haproxy.pid -S {dir}/haproxy-master.sock,mode,600 -f {cfg}");
        let mut cmd = Command::new("sh");
        cmd.args(["-c", &format!("while :; do {each}; sleep 0.1; done")]);
        Proc::start(node, "supervisor", cmd)
    }
}

impl Deref for Haproxy {
    type Target = Proc;
    fn deref(&self) -> &Proc {
        &self.0
    }
}

/// How long HAProxy itself takes from being started until a request is answered, several times over, in a
/// spare node in which `vip` is a local address: ascending. Each start comes right after kill -9 of the one
/// before, as that is what it is compared with.
pub fn haproxy_start_time(lan: &Lan, vip: SocketAddr, runs: usize) -> Result<Vec<Duration>> {
    let node = lan.nodes().into_iter().find(|node| node.name() == "spare");
    let node = match node {
        Some(node) => node,
        None => lan.add("spare", "10.255.255.1/32")?,
    };
    node.ip(&format!("addr replace {}/32 dev lo", vip.ip()))?;
    let cfg = haproxy_cfg(&node, &vip.to_string())?;
    let mut times = Vec::new();
    let mut last = Haproxy::start(&node, &cfg)?;
    node.enter(|| first_answer(vip, Instant::now() + secs(10)))?;
    for _ in 0..runs {
        killpg(Pid::from_raw(last.pid()), Signal::SIGKILL)?;
        let start = Instant::now();
        let next = Haproxy::start(&node, &cfg)?;
        times.push(node.enter(|| first_answer(vip, start + secs(10)))? - start);
        last = next;
    }
    times.sort_unstable();
    Ok(times)
}

/// Asks until there is an answer. A listener announces itself to nobody, so this has to try.
fn first_answer(vip: SocketAddr, deadline: Instant) -> Result<Instant> {
    while Instant::now() < deadline {
        let ask = || -> std::io::Result<usize> {
            let mut stream = TcpStream::connect_timeout(&vip, secs(1))?;
            stream.set_read_timeout(Some(secs(1)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            stream.read(&mut [0; 512])
        };
        match ask() {
            Ok(n) if n > 0 => return Ok(Instant::now()),
            _ => std::thread::sleep(Duration::from_micros(500)),
        }
    }
    Err(Error(format!("HAProxy did not answer on {vip} in time")))
}

impl Node {
    /// The HAProxy master that runs here.
    pub fn haproxy_master(&self) -> Option<i32> {
        let all = self.pids("haproxy");
        all.iter().copied().find(|pid| parent(*pid).is_some_and(|parent| !all.contains(&parent)))
    }

    /// The HAProxy workers that run here.
    pub fn haproxy_workers(&self) -> Vec<i32> {
        let all = self.pids("haproxy");
        all.iter().copied().filter(|pid| parent(*pid).is_some_and(|parent| all.contains(&parent))).collect()
    }
}

/// Another program that takes a port as soon as it is free, and closes every connection it gets.
pub struct Occupant {
    has_it: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Occupant {
    /// Starts to try; returns when it has begun to.
    pub fn start(node: &Node, addr: SocketAddr) -> Occupant {
        let (has_it, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (ready, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (node, has_it, stop) = (node.clone(), has_it.clone(), stop.clone());
            move || {
                node.join();
                let mut listener = None;
                while !stop.load(Ordering::Relaxed) {
                    let Some(socket) = &listener else {
                        // std sets SO_REUSEADDR and not SO_REUSEPORT: this keeps HAProxy out, and HAProxy
                        // this.
                        listener = TcpListener::bind(addr).ok();
                        if let Some(socket) = &listener {
                            has_it.store(socket.set_nonblocking(true).is_ok(), Ordering::Relaxed);
                        }
                        let _ = ready.send(());
                        continue;
                    };
                    // Closed at once, with what the client had to say unread: a reset.
                    match socket.accept() {
                        Err(e) if e.kind() == ErrorKind::WouldBlock => {
                            std::thread::sleep(Duration::from_millis(1))
                        }
                        _ => {}
                    }
                }
            }
        });
        let _ = begun.recv_timeout(secs(5));
        Occupant { has_it, stop, thread: Some(thread) }
    }

    /// Whether it has the port.
    pub fn has_it(&self) -> bool {
        self.has_it.load(Ordering::Relaxed)
    }
}

impl Drop for Occupant {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
