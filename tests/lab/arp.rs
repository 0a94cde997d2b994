//! Who answers for an address: somebody on the LAN asks by ARP every 10 ms, and each node by TCP if that is
//! wanted, and listens to all.

use super::lan::Node;
use super::{Board, Result, arp_request, ms, sys, tcp_syn};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two questions.
pub const EVERY: Duration = ms(10);

/// It asks from a node of its own: an answer mends what that node's kernel knows, and the client's is not to
/// be mended.
pub struct Prober {
    asked: Arc<Board<(Instant, Ipv4Addr, usize)>>,
    stop: Arc<AtomicBool>,
}

impl Prober {
    /// Starts to ask for each of these addresses.
    pub fn start(node: &Node, vips: &[Ipv4Addr]) -> Result<Prober> {
        Prober::start_tcp(node, vips, &[])
    }

    /// The same, and to connect to a port of each of these nodes that nobody listens on.
    pub fn start_tcp(node: &Node, vips: &[Ipv4Addr], nodes: &[&Node]) -> Result<Prober> {
        let (fd, index) = node.enter(|| -> Result<_> { Ok((replies()?, if_nametoindex("eth0")? as i32)) })?;
        let (asked, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        let frames = |vip: Ipv4Addr| {
            let syns = nodes.iter().map(|to| tcp_syn(node, to.mac(), vip));
            std::iter::once(arp_request(node, vip)).chain(syns).collect::<Vec<_>>()
        };
        let questions: Vec<_> = vips.iter().map(|vip| (*vip, frames(*vip))).collect();
        std::thread::spawn({
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                sys::realtime();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(e) = ask(&fd, index, &questions, &asked) {
                        return asked.broken(format!("ARP: {e}"));
                    }
                }
            }
        });
        Ok(Prober { asked, stop })
    }

    /// The most MACs that answered one question between two moments, and for how long (10 ms for each
    /// question) there was more than one; the worst of all addresses.
    pub fn answers(&self, from: Instant, to: Instant) -> (usize, Duration) {
        self.asked.read(|asked| {
            let all = asked.iter().filter(|(at, ..)| (from..=to).contains(at));
            let vips: BTreeSet<Ipv4Addr> = all.clone().map(|(_, vip, _)| *vip).collect();
            let doubly =
                |vip: Ipv4Addr| all.clone().filter(|(_, v, macs)| *v == vip && *macs > 1).count() as u32;
            let most = all.clone().map(|(.., macs)| *macs).max().unwrap_or(0);
            (most, EVERY * vips.into_iter().map(doubly).max().unwrap_or(0))
        })
    }
}

impl Prober {
    /// For how long between two moments nobody answered, 10 ms for each question: all in all, and at a time.
    pub fn nobody(&self, from: Instant, to: Instant) -> (Duration, Duration) {
        self.asked.read(|asked| {
            let (mut all, mut run, mut longest) = (0, 0, 0);
            for (.., macs) in asked.iter().filter(|(at, ..)| (from..=to).contains(at)) {
                run = if *macs == 0 { run + 1 } else { 0 };
                all += u32::from(*macs == 0);
                longest = longest.max(run);
            }
            (EVERY * all, EVERY * longest)
        })
    }
}

impl Prober {
    /// Each question between two moments: when, and how many answered.
    pub fn samples(&self, from: Instant, to: Instant) -> Vec<(Instant, usize)> {
        self.asked.read(|asked| {
            let hits = asked.iter().filter(|(at, ..)| (from..=to).contains(at));
            hits.map(|(at, _, macs)| (*at, *macs)).collect()
        })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One round: all questions, then 10 ms for the answers.
fn ask(
    fd: &OwnedFd,
    index: i32,
    questions: &[(Ipv4Addr, Vec<Vec<u8>>)],
    asked: &Board<(Instant, Ipv4Addr, usize)>,
) -> Result<()> {
    let start = Instant::now();
    for frame in questions.iter().flat_map(|(_, frames)| frames) {
        sys::send_frame(fd.as_fd(), index, frame)?;
    }
    let mut macs = vec![BTreeSet::new(); questions.len()];
    let mut buf = [0; 64];
    loop {
        let left = (start + EVERY).saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        while let Ok(len) = recv(fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            let Some(frame) = buf.get(..len).filter(|f| f.len() >= 42) else { continue };
            // Sender of ARP, source of IPv4.
            let src = if frame[13] == 6 { &frame[28..32] } else { &frame[26..30] };
            let hit = questions.iter().position(|(vip, _)| src == vip.octets());
            if let Some(macs) = hit.and_then(|i| macs.get_mut(i)) {
                macs.insert(frame[6..12].to_vec());
            }
        }
        if left < ms(1) {
            break;
        }
    }
    asked.extend(questions.iter().zip(macs).map(|((vip, _), macs)| (start, *vip, macs.len())));
    std::thread::sleep((start + EVERY).saturating_duration_since(Instant::now()));
    Ok(())
}

/// A socket for the ARP replies and the TCP segments that come in.
fn replies() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let op = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };
    let jeq = |k: u32, jf: u8| libc::sock_filter { code: 0x15, jt: 0, jf, k };
    let (load_half, ret) = (0x28, 0x06);
    let load_octet = 0x30;
    let program = [
        op(load_half, 12),
        jeq(0x0806, 3),
        op(load_half, 20),
        jeq(2, 5),
        op(ret, 64),
        jeq(0x0800, 3),
        op(load_octet, 23),
        jeq(6, 1),
        op(ret, 64),
        op(ret, 0),
    ];
    sys::attach_filter(fd.as_fd(), &program)?;
    Ok(fd)
}
