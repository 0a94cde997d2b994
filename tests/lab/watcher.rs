//! Who holds which address, when: one thread listens to the kernels of all nodes on one clock.

use super::lan::{Lan, Node};
use super::{Board, Error, Result, bound, since_start, sys};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
    socket, sockopt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An address came to or went from a node. What was there at the beginning came at the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: Instant,
    /// Where.
    pub node: String,
    /// Which.
    pub addr: IpAddr,
    /// Came, or went.
    pub held: bool,
    /// When it was added or renewed last, the addition itself included.
    pub renewed: Instant,
}

/// The observer of all nodes that its LAN had when it was started.
pub struct Watcher {
    changes: Arc<Board<Change>>,
    renewals: Renewals,
    nodes: Vec<Node>,
    started: Instant,
    _alive: std::io::PipeWriter,
}

/// The last RTM_NEWADDR of each address on each node.
type Renewals = Arc<Mutex<BTreeMap<(String, IpAddr), Instant>>>;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const GROUPS: u32 = 0x10 | 0x100; // RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

impl Watcher {
    /// Starts to watch all nodes of the LAN.
    pub fn start(lan: &Lan) -> Result<Watcher> {
        let mut sockets = Vec::new();
        for node in lan.nodes() {
            sockets.push((node.name().to_owned(), node.enter(subscribe)?));
        }
        let (alive, writer) = std::io::pipe()?;
        let changes = Arc::new(Board::new());
        let renewals = Renewals::default();
        std::thread::spawn({
            let (changes, renewals) = (changes.clone(), renewals.clone());
            move || {
                sys::realtime();
                if let Err(e) = watch(&sockets, &alive, &changes, &renewals) {
                    changes.broken(format!("netlink: {e}"));
                }
            }
        });
        Ok(Watcher { changes, renewals, nodes: lan.nodes(), started: Instant::now(), _alive: writer })
    }

    /// All changes of that address, in order. Renewals of what is there are none.
    pub fn timeline(&self, vip: &str) -> Vec<Change> {
        let vip = parse(vip);
        self.changes.read(|changes| changes.iter().filter(|change| change.addr == vip).cloned().collect())
    }

    /// When the address was added or renewed last on that node.
    pub fn last_renewal(&self, vip: &str, node: &str) -> Option<Instant> {
        let key = (node.to_owned(), parse(vip));
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// Who holds the address now.
    pub fn holders(&self, vip: &str) -> Vec<String> {
        let vip = parse(vip);
        self.changes.read(|changes| holders(changes, vip))
    }

    /// The one holder; `None` if there is none or more than one.
    pub fn holder(&self, vip: &str) -> Option<String> {
        match <[String; 1]>::try_from(self.holders(vip)) {
            Ok([node]) => Some(node),
            Err(_) => None,
        }
    }

    /// Waits until that node holds the address and no other does.
    pub fn wait_holder(&self, vip: &str, node: &str, timeout: Duration) -> Result<Instant> {
        self.wait_holders(vip, &[node], timeout)
    }

    /// Waits until exactly these nodes hold the address; returns since when.
    pub fn wait_holders(&self, vip: &str, nodes: &[&str], timeout: Duration) -> Result<Instant> {
        let addr = parse(vip);
        let mut wanted: Vec<&str> = nodes.to_vec();
        wanted.sort_unstable();
        let what = || format!("{vip} to be on {nodes:?}; it is on {:?}", self.holders(vip));
        self.changes.wait(timeout, what, |changes| {
            let last = changes.iter().rfind(|change| change.addr == addr);
            (holders(changes, addr) == wanted).then(|| last.map_or(self.started, |change| change.at))
        })
    }

    /// Waits for the next change of that address on that node after `since`.
    pub fn wait_change(
        &self,
        vip: &str,
        node: &str,
        held: bool,
        since: Instant,
        timeout: Duration,
    ) -> Result<Instant> {
        let addr = parse(vip);
        let what = || format!("{vip} to {} {node}", if held { "come to" } else { "leave" });
        self.changes.wait(timeout, what, |changes| {
            let hit = |c: &&Change| c.addr == addr && c.node == node && c.held == held && c.at >= since;
            changes.iter().find(hit).map(|change| change.at)
        })
    }

    /// The times in which more than one node held the address, and which nodes.
    pub fn overlaps(&self, vip: &str) -> Vec<(Instant, Instant, Vec<String>)> {
        self.spans(vip).into_iter().filter(|(from, to, nodes)| nodes.len() > 1 && to > from).collect()
    }

    /// `Err` that tells all if there was ever more than one holder for longer than `tolerated`, and as much
    /// longer as the machine was late then. Where nothing is tolerated, nothing excuses it.
    pub fn no_overlap(&self, vip: &str, tolerated: Duration) -> Result<()> {
        let bad: Vec<String> = self
            .overlaps(vip)
            .into_iter()
            .filter(|(from, to, _)| *to - *from > self.bound(tolerated, *from, *to))
            .map(|(from, to, nodes)| {
                format!("from {:.3} for {} ms by {nodes:?}", since_start(from), (to - from).as_millis())
            })
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(Error(format!("{vip} was held twice: {}", bad.join("; ")))) }
    }

    fn bound(&self, tolerated: Duration, from: Instant, to: Instant) -> Duration {
        if tolerated.is_zero() { tolerated } else { bound(tolerated, &self.nodes, from, to) }
    }

    /// The longest time after `since` in which nobody held the address; the time before its first
    /// appearance does not count.
    pub fn longest_gap(&self, vip: &str, since: Instant) -> Duration {
        let spans = self.spans(vip);
        let free = spans.iter().filter(|(_, to, nodes)| nodes.is_empty() && *to > since);
        free.map(|(from, to, _)| *to - (*from).max(since)).max().unwrap_or_default()
    }

    /// For how long between two moments nobody held the address, and for how long more than one node.
    pub fn nobody_and_several(&self, vip: &str, from: Instant, to: Instant) -> (Duration, Duration) {
        let (mut nobody, mut several) = (Duration::ZERO, Duration::ZERO);
        for (a, b, nodes) in self.spans(vip) {
            let time = b.min(to).saturating_duration_since(a.max(from));
            match nodes.len() {
                0 => nobody += time,
                1 => {}
                _ => several += time,
            }
        }
        (nobody, several)
    }

    /// The history as spans of constant holders, from the first appearance until now.
    fn spans(&self, vip: &str) -> Vec<(Instant, Instant, Vec<String>)> {
        let timeline = self.timeline(vip);
        let addr = parse(vip);
        let end = Instant::now();
        (0..timeline.len())
            .map(|i| {
                let to = timeline.get(i + 1).map_or(end, |next| next.at);
                (timeline[i].at, to, holders(&timeline[..=i], addr))
            })
            .collect()
    }
}

fn parse(addr: &str) -> IpAddr {
    addr.parse().unwrap_or_else(|_| panic!("{addr} is no address"))
}

fn holders(changes: &[Change], addr: IpAddr) -> Vec<String> {
    let mut nodes = BTreeSet::new();
    for change in changes.iter().filter(|change| change.addr == addr) {
        if change.held {
            nodes.insert(change.node.clone())
        } else {
            nodes.remove(&change.node)
        };
    }
    nodes.into_iter().collect()
}

/// A socket that hears of all changes, and has asked for what there is.
fn subscribe() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    setsockopt(&fd, sockopt::RcvBuf, &(1 << 20))?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    let mut request = Vec::new();
    request.extend(24_u32.to_ne_bytes()); // length of header and ifaddrmsg
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(0x301_u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_DUMP
    request.extend([0; 16]); // sequence, port, and an ifaddrmsg that asks for all
    sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(fd)
}

fn watch(
    sockets: &[(String, OwnedFd)],
    alive: &std::io::PipeReader,
    changes: &Board<Change>,
    renewals: &Renewals,
) -> Result<()> {
    let mut buf = vec![0; 1 << 16];
    let mut held = BTreeSet::new();
    loop {
        let mut fds: Vec<PollFd> = sockets
            .iter()
            .map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .chain([PollFd::new(alive.as_fd(), PollFlags::POLLIN)])
            .collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        // One time for all that is ready: what cannot be told apart shall not look like an overlap.
        let at = Instant::now();
        if fds.last().is_some_and(|fd| fd.any() == Some(true)) {
            return Ok(());
        }
        for ((node, fd), polled) in sockets.iter().zip(&fds) {
            if polled.any() != Some(true) {
                continue;
            }
            loop {
                let len = match recv(fd.as_raw_fd(), &mut buf, MsgFlags::empty()) {
                    Err(Errno::EAGAIN) => break,
                    other => other?,
                };
                for (addr, add) in addresses(&buf[..len]) {
                    let key = (node.clone(), addr);
                    let renewed = {
                        let mut all = renewals.lock().unwrap_or_else(PoisonError::into_inner);
                        if add {
                            all.insert(key.clone(), at);
                        }
                        all.get(&key).copied().unwrap_or(at)
                    };
                    // A renewal of a lease says RTM_NEWADDR again.
                    if if add { held.insert(key) } else { held.remove(&key) } {
                        changes.push(Change { at, node: node.clone(), addr, held: add, renewed });
                    }
                }
            }
        }
    }
}

/// The address messages of a datagram.
fn addresses(mut data: &[u8]) -> Vec<(IpAddr, bool)> {
    let mut found = Vec::new();
    while let Some(len) = u32_at(data, 0) {
        let len = len as usize;
        let Some(message) = data.get(..len) else { break };
        let kind = u16_at(message, 4).unwrap_or(0);
        if (kind == RTM_NEWADDR || kind == RTM_DELADDR)
            && let Some(addr) = address(message)
        {
            found.push((addr, kind == RTM_NEWADDR));
        }
        data = data.get(len.next_multiple_of(4).max(16)..).unwrap_or_default();
    }
    found
}

/// IFA_LOCAL, else IFA_ADDRESS.
fn address(message: &[u8]) -> Option<IpAddr> {
    let mut attrs = message.get(24..)?;
    let mut best = None;
    while let (Some(len), Some(kind)) = (u16_at(attrs, 0), u16_at(attrs, 2)) {
        let len = usize::from(len).max(4);
        let value = attrs.get(4..len)?;
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && best.is_none()) {
            best = match value.len() {
                4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?))),
                16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))),
                _ => None,
            };
        }
        attrs = attrs.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    best
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(data.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}
