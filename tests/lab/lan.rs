//! A switch and the machines on it: network namespaces joined by veth pairs to one bridge.

use super::proc::{Log, descendants, pids_where};
use super::{Error, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// An Ethernet segment of its own. Dropped, it takes its nodes and all that runs in them along.
pub struct Lan {
    name: String,
    switch: Node,
    nodes: Mutex<Vec<Node>>,
    logs: Arc<Mutex<Vec<Arc<Log>>>>,
    born: Instant,
}

/// A machine: a network namespace with `eth0` in the switch, and a directory for its files.
#[derive(Clone)]
pub struct Node(Arc<Machine>);

struct Machine {
    name: String,
    netns: String,
    ns: File,
    ns_inode: u64,
    dir: PathBuf,
    cidr: String,
    switch: Option<String>,
    logs: Arc<Mutex<Vec<Arc<Log>>>>,
}

impl Lan {
    /// node1, node2 and a client.
    pub fn pair() -> Result<Lan> {
        Lan::new(&[
            ("node1", "192.168.30.116/24"),
            ("node2", "192.168.30.117/24"),
            ("client", "192.168.30.10/24"),
        ])
    }

    /// A switch and these nodes: name and IPv4 address with prefix length.
    pub fn new(nodes: &[(&str, &str)]) -> Result<Lan> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("l{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let names = nodes.iter().map(|(node, _)| *node).chain(["sw"]);
        ip(None, &names.map(|node| format!("netns add {name}-{node}\n")).collect::<String>())?;
        let logs = Arc::default();
        let switch = Node::open(&name, "sw", "", None, &logs)?;
        let lan = Lan { name, switch, nodes: Mutex::default(), logs, born: Instant::now() };
        lan.switch.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        lan.switch.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        lan.switch.ip("link add br0 type bridge stp_state 0 mcast_snooping 0\nlink set br0 up")?;
        for (node, cidr) in nodes {
            lan.connect(node, cidr)?;
        }
        Ok(lan)
    }

    /// One more node.
    pub fn add(&self, node: &str, cidr: &str) -> Result<Node> {
        ip(None, &format!("netns add {}-{node}", self.name))?;
        self.connect(node, cidr)
    }

    fn connect(&self, name: &str, cidr: &str) -> Result<Node> {
        let node = Node::open(&self.name, name, cidr, Some(self.switch.0.netns.clone()), &self.logs)?;
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node.clone());
        // No duplicate address detection and no router solicitations: they would only add noise and delay.
        for (key, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0")] {
            for conf in ["all", "default"] {
                node.sysctl(&format!("net.ipv6.conf.{conf}.{key}"), value)?;
            }
        }
        // Unlike a router, these nodes drop what is not for them; many short connections need many ports.
        node.sysctl("net.ipv4.ip_forward", "0")?;
        node.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        node.ip("link set lo up")?;
        node.plug()?;
        Ok(node)
    }

    /// The node of that name; it is a mistake in the test if there is none.
    pub fn node(&self, name: &str) -> Node {
        let found = self.nodes().into_iter().find(|node| node.name() == name);
        found.unwrap_or_else(|| panic!("no node {name} on this LAN"))
    }

    /// All nodes, without the switch.
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The switch, whose ports are called `p-NODE`.
    pub fn switch(&self) -> &Node {
        &self.switch
    }

    /// A second switch, and for each node an `eth1` in it: 192.168.31.116/24 for 192.168.30.116/24. The calls
    /// for it end in `2`.
    pub fn second(&self) -> Result<()> {
        self.switch.ip("link add br1 type bridge stp_state 0 mcast_snooping 0\nlink set br1 up")?;
        for node in self.nodes() {
            let (port, netns) = (node.port2(), &node.0.netns);
            self.switch.ip(&format!(
                "link add name {port} type veth peer name eth1 netns {netns}\nlink set {port} master br1 up\n"
            ))?;
            let [a, b, c, d] = node.addr().octets();
            node.ip(&format!("link set eth1 up\naddr add {a}.{b}.{}.{d}/24 dev eth1\n", c + 1))?;
        }
        Ok(())
    }

    /// [`Lan::partition`] on the second switch.
    pub fn partition2(&self, nodes: &[&Node]) -> Result<()> {
        self.isolated(nodes, Node::port2, "on")
    }

    /// The end of it.
    pub fn heal2(&self, nodes: &[&Node]) -> Result<()> {
        self.isolated(nodes, Node::port2, "off")
    }

    /// These nodes no longer hear each other, though each has its carrier and hears all others.
    pub fn partition(&self, nodes: &[&Node]) -> Result<()> {
        self.isolated(nodes, Node::port, "on")
    }

    /// The end of a partition.
    pub fn heal(&self, nodes: &[&Node]) -> Result<()> {
        self.isolated(nodes, Node::port, "off")
    }

    fn isolated(&self, nodes: &[&Node], port: fn(&Node) -> String, switch: &str) -> Result<()> {
        let line = |node: &&Node| format!("link set {} type bridge_slave isolated {switch}\n", port(node));
        self.switch.ip(&nodes.iter().map(line).collect::<String>())
    }

    /// The last lines, not older than `since`, of everything that was started on this LAN: for the report of
    /// a failure.
    pub fn tails(&self, lines: usize, since: Instant) -> String {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(|log| log.tail(lines, since)).collect()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tails(25, self.born));
        }
        let mut script = format!("netns del {}\n", self.switch.0.netns);
        for node in self.nodes() {
            node.kill_all();
            script += &format!("netns del {}\n", node.0.netns);
        }
        match &mut *GRAVES.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(graves) => *graves += &script,
            None => remove(&script),
        }
    }
}

/// What would remove the namespaces of LANs that are gone, if they are to stay for now.
static GRAVES: Mutex<Option<String>> = Mutex::new(None);

/// From now on nothing runs any more in a LAN that was dropped, but its namespaces stay until the next call
/// of this, or until the program ends. Their removal holds the kernel's lock of all network configuration for
/// 20 ms and two RCU grace periods, and whoever runs beside it loses that time. One that stays costs 150 KiB.
pub fn bury_later() {
    let mut graves = GRAVES.lock().unwrap_or_else(PoisonError::into_inner);
    let script = graves.replace(String::new()).unwrap_or_default();
    drop(graves);
    remove(&script);
}

fn remove(script: &str) {
    if !script.is_empty()
        && let Err(e) = ip(None, script)
    {
        eprintln!("lab: {e}");
    }
}

impl Node {
    fn open(
        lan: &str,
        name: &str,
        cidr: &str,
        switch: Option<String>,
        logs: &Arc<Mutex<Vec<Arc<Log>>>>,
    ) -> Result<Node> {
        let netns = format!("{lan}-{name}");
        let ns = File::open(format!("/run/netns/{netns}"))?;
        let ns_inode = ns.metadata()?.ino();
        let dir = Path::new("/run/lab").join(lan).join(name);
        std::fs::create_dir_all(&dir)?;
        let (name, cidr, logs) = (name.to_owned(), cidr.to_owned(), logs.clone());
        Ok(Node(Arc::new(Machine { name, netns, ns, ns_inode, dir, cidr, switch, logs })))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What tells it from all other nodes.
    pub(super) fn id(&self) -> u64 {
        self.0.ns_inode
    }

    /// Its own IPv4 address.
    pub fn addr(&self) -> Ipv4Addr {
        let addr = self.0.cidr.split('/').next().and_then(|addr| addr.parse().ok());
        addr.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The MAC address of its `eth0`.
    pub fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.addr().octets();
        [2, 0, a, b, c, d]
    }

    /// A directory for its files.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Writes a file into the directory of the node. Whoever reads it meanwhile sees the old one or the new
    /// one.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.dir.join(name);
        let new = self.0.dir.join(format!("{name}.new"));
        std::fs::write(&new, text)?;
        if let Ok(old) = std::fs::metadata(&path) {
            std::fs::set_permissions(&new, old.permissions())?;
        }
        std::fs::rename(&new, &path)?;
        Ok(path)
    }

    /// Runs `f` on a thread in this node's network namespace. What `f` opens or starts stays there.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join();
                f()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into this node's network namespace for good.
    pub fn join(&self) {
        setns(&self.0.ns, CloneFlags::CLONE_NEWNET)
            .unwrap_or_else(|e| panic!("cannot enter {}: {e}", self.0.netns));
    }

    /// Runs a command in this node to its end.
    pub fn output(&self, cmd: &mut Command) -> Result<Output> {
        Ok(self.enter(|| cmd.stdin(Stdio::null()).output())?)
    }

    /// Lines for `ip -batch`, run in this node.
    pub fn ip(&self, script: &str) -> Result<()> {
        ip(Some(&self.0.netns), script)
    }

    /// Sets a sysctl of this node.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let done = self.enter(|| std::fs::write(&path, value));
        done.map_err(|e| Error(format!("{path}: {e}")))
    }

    /// Makes `eth0`, plugs it into the switch and gives it the node's address.
    pub fn plug(&self) -> Result<()> {
        let switch = self.switch_netns()?;
        let mac = self.mac().map(|octet| format!("{octet:02x}")).join(":");
        let (port, netns, cidr) = (self.port(), &self.0.netns, &self.0.cidr);
        ip(
            Some(switch),
            &format!(
                "link add name {port} type veth peer name eth0 address {mac} netns {netns}\n\
                 link set {port} master br0 up\n"
            ),
        )?;
        self.ip(&format!("link set eth0 up\naddr add {cidr} dev eth0\n"))
    }

    /// Cuts the cable: `eth0` loses its carrier.
    pub fn cut(&self) -> Result<()> {
        ip(Some(self.switch_netns()?), &format!("link set {} down", self.port()))
    }

    /// Mends the cable.
    pub fn mend(&self) -> Result<()> {
        ip(Some(self.switch_netns()?), &format!("link set {} up", self.port()))
    }

    /// Cuts the cable of `eth1`.
    pub fn cut2(&self) -> Result<()> {
        ip(Some(self.switch_netns()?), &format!("link set {} down", self.port2()))
    }

    /// Mends it.
    pub fn mend2(&self) -> Result<()> {
        ip(Some(self.switch_netns()?), &format!("link set {} up", self.port2()))
    }

    /// The name of its port in the second switch.
    pub fn port2(&self) -> String {
        format!("q-{}", self.0.name)
    }

    /// The name of its port in the switch.
    pub fn port(&self) -> String {
        format!("p-{}", self.0.name)
    }

    fn switch_netns(&self) -> Result<&str> {
        self.0.switch.as_deref().ok_or_else(|| Error(format!("{} is the switch", self.0.name)))
    }

    /// The processes of that name (`comm`) that run in this node, oldest first.
    pub fn pids(&self, comm: &str) -> Vec<i32> {
        let here = |pid: i32| {
            let ns = std::fs::metadata(format!("/proc/{pid}/ns/net")).map(|meta| meta.ino());
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            ns.is_ok_and(|ino| ino == self.0.ns_inode) && (comm.is_empty() || name.trim_end() == comm)
        };
        pids_where(here)
    }

    /// SIGKILL for everything that runs in this node.
    pub fn kill_all(&self) {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        for pid in self.pids("").into_iter().filter(|pid| *pid != own) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Keeps the log of something started here for the report of a failure.
    pub(super) fn register(&self, log: &Arc<Log>) {
        self.0.logs.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
    }
}

/// SIGKILL for a process and all its descendants, as if at once: it does not get to answer the death of a
/// child.
pub(super) fn kill_tree(root: i32) {
    let _ = kill(Pid::from_raw(root), Signal::SIGSTOP);
    for pid in descendants(root).into_iter().rev().chain([root]) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn ip(netns: Option<&str>, script: &str) -> Result<()> {
    let mut cmd = Command::new("ip");
    cmd.args(netns.iter().flat_map(|netns| ["-n", *netns])).args(["-batch", "-"]);
    let mut child = cmd.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let out = child.wait_with_output()?;
    if out.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(Error(format!("ip {}: {}: {}", netns.unwrap_or(""), script.trim(), why.trim())))
}
