//! Who answers for an address: somebody on the LAN asks by ARP or neighbor discovery every 10 ms, and each
//! node by TCP if that is wanted, and listens to all. The TCP question is for a port that nobody listens on:
//! the kernel answers it with a reset, which passes where a SYN-ACK does and needs no program.

use super::lan::Node;
use super::watcher::Change;
use super::{Board, Result, ms, sys, tcp_syn, who_has};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two questions.
pub const EVERY: Duration = ms(10);
/// Who does not answer so many questions in a row has ceased to; fewer are lost in a busy machine's queues.
const MISSED: u32 = 3;

type Mac = [u8; 6];

/// One question: when, for how long its answer counts (until the next one), and who answered.
#[derive(Clone)]
struct Asked {
    at: Instant,
    until: Instant,
    vip: IpAddr,
    macs: Vec<Mac>,
}

/// It asks from a node of its own: an answer mends what that node's kernel knows, and the client's is not to
/// be mended.
pub struct Prober {
    asked: Arc<Board<Asked>>,
    stop: Arc<AtomicBool>,
}

/// How long two or more answered for an address, and how long nobody did; the most that answered at once; and
/// the longest time between two questions, which is what the first two are worth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    pub two: Duration,
    pub nobody: Duration,
    pub most: usize,
    pub blind: Duration,
}

impl Prober {
    /// Starts to ask for each of these addresses.
    pub fn start(node: &Node, vips: &[impl Copy + Into<IpAddr>]) -> Result<Prober> {
        Prober::start_tcp(node, vips, &[])
    }

    /// The same, and to connect to a port of each of these nodes that nobody listens on.
    pub fn start_tcp(node: &Node, vips: &[impl Copy + Into<IpAddr>], nodes: &[&Node]) -> Result<Prober> {
        let (fd, index) = node.enter(|| -> Result<_> { Ok((replies()?, if_nametoindex("eth0")? as i32)) })?;
        let (asked, stop) = (Arc::new(Board::new()), Arc::new(AtomicBool::new(false)));
        let frames = |vip: IpAddr| {
            let syns = nodes.iter().map(|to| tcp_syn(node, to.mac(), vip));
            std::iter::once(who_has(node, vip)).chain(syns).collect::<Vec<_>>()
        };
        let vips = vips.iter().map(|vip| (*vip).into());
        let questions: Vec<_> = vips.map(|vip| (vip, frames(vip))).collect();
        std::thread::spawn({
            let (asked, stop) = (asked.clone(), stop.clone());
            move || {
                sys::realtime();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(e) = ask(&fd, index, &questions, &asked) {
                        return asked.broken(format!("questions: {e}"));
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
            let all = || asked.iter().filter(|a| (from..=to).contains(&a.at));
            let vips: BTreeSet<IpAddr> = all().map(|a| a.vip).collect();
            let doubly = |vip: IpAddr| all().filter(|a| a.vip == vip && a.macs.len() > 1).count() as u32;
            let most = all().map(|a| a.macs.len()).max().unwrap_or(0);
            (most, EVERY * vips.into_iter().map(doubly).max().unwrap_or(0))
        })
    }

    /// For how long between two moments nobody answered, 10 ms for each question: all in all, and at a time.
    pub fn nobody(&self, from: Instant, to: Instant) -> (Duration, Duration) {
        self.asked.read(|asked| {
            let (mut all, mut run, mut longest) = (0, 0, 0);
            for a in asked.iter().filter(|a| (from..=to).contains(&a.at)) {
                run = if a.macs.is_empty() { run + 1 } else { 0 };
                all += u32::from(a.macs.is_empty());
                longest = longest.max(run);
            }
            (EVERY * all, EVERY * longest)
        })
    }

    /// Of one address, by the times between the questions.
    pub fn answered(&self, vip: IpAddr, from: Instant, to: Instant) -> Answered {
        self.asked.read(|asked| {
            let mut all = Answered::default();
            for a in asked.iter().filter(|a| a.vip == vip && (from..=to).contains(&a.at)) {
                let time = a.until - a.at;
                match a.macs.len() {
                    0 => all.nobody += time,
                    1 => {}
                    _ => all.two += time,
                }
                all.most = all.most.max(a.macs.len());
                all.blind = all.blind.max(time);
            }
            all
        })
    }

    /// Each question between two moments: when, and how many answered.
    pub fn samples(&self, from: Instant, to: Instant) -> Vec<(Instant, usize)> {
        self.asked.read(|asked| {
            let hits = asked.iter().filter(|a| (from..=to).contains(&a.at));
            hits.map(|a| (a.at, a.macs.len())).collect()
        })
    }

    /// Waits until that node answers for the address, and no other one does, so many times in a row that it
    /// is no chance.
    pub fn wait_only(&self, vip: IpAddr, node: &Node, timeout: Duration) -> Result<()> {
        let what = || format!("{} alone to answer for {vip}", node.name());
        self.asked.wait(timeout, what, |asked| {
            let last: Vec<_> = asked.iter().rev().filter(|a| a.vip == vip).take(MISSED as usize).collect();
            let alone = last.len() == MISSED as usize && last.iter().all(|a| a.macs == [node.mac()]);
            alone.then_some(())
        })
    }

    /// Which of these nodes began and ceased to answer for an address after `from`, and when, in order. Who
    /// answered then began then.
    pub fn timeline(&self, vip: IpAddr, nodes: &[Node], from: Instant) -> Vec<Change> {
        self.asked.read(|asked| {
            let asked = &asked[asked.partition_point(|a| a.at < from)..];
            let mut all = Vec::new();
            for node in nodes {
                // Who answers, since when he was silent, and how many questions ago.
                let (mut answers, mut silent, mut missed, mut last) = (false, None, 0, None);
                let change = |at, held, renewed: Option<Instant>| {
                    let renewed = renewed.unwrap_or(at);
                    Change { at, node: node.name().to_owned(), addr: vip, held, renewed }
                };
                for a in asked.iter().filter(|a| a.vip == vip) {
                    if a.macs.contains(&node.mac()) {
                        (silent, missed, last) = (None, 0, Some(a.at));
                        if !answers {
                            all.push(change(a.at, true, last));
                        }
                        answers = true;
                        continue;
                    }
                    missed += 1;
                    let since = *silent.get_or_insert(a.at);
                    if answers && missed >= MISSED {
                        all.push(change(since, false, last));
                        answers = false;
                    }
                }
            }
            // At one moment the one who ceased comes first.
            all.sort_by_key(|c| (c.at, c.held));
            all
        })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One round: all questions, then 10 ms for the answers.
fn ask(fd: &OwnedFd, index: i32, questions: &[(IpAddr, Vec<Vec<u8>>)], asked: &Board<Asked>) -> Result<()> {
    let at = Instant::now();
    for frame in questions.iter().flat_map(|(_, frames)| frames) {
        sys::send_frame(fd.as_fd(), index, frame)?;
    }
    let mut macs = vec![Vec::new(); questions.len()];
    let mut buf = [0; 96];
    loop {
        let left = (at + EVERY).saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        while let Ok(len) = recv(fd.as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT) {
            let Some((vip, mac)) = buf.get(..len).and_then(answer) else { continue };
            let hit = questions.iter().position(|(asked, _)| *asked == vip);
            if let Some(macs) = hit.and_then(|i| macs.get_mut(i))
                && !macs.contains(&mac)
            {
                macs.push(mac);
            }
        }
        if left < ms(1) {
            break;
        }
    }
    std::thread::sleep((at + EVERY).saturating_duration_since(Instant::now()));
    let until = Instant::now();
    let all = questions.iter().zip(macs);
    asked.extend(all.map(|((vip, _), macs)| Asked { at, until, vip: *vip, macs }));
    Ok(())
}

/// For which address a frame answers, and whose it is: the sender of ARP, the source of TCP, the target of a
/// neighbor advertisement.
fn answer(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let v4 = |at: usize| <[u8; 4]>::try_from(frame.get(at..at + 4)?).ok().map(IpAddr::from);
    let v6 = |at: usize| <[u8; 16]>::try_from(frame.get(at..at + 16)?).ok().map(IpAddr::from);
    let vip = match (frame.get(12..14)?, frame.get(20)?) {
        ([0x08, 0x06], _) => v4(28),
        ([0x08, 0x00], _) => v4(26),
        (_, 6) => v6(22),
        _ => v6(62),
    };
    Some((vip?, frame.get(6..12)?.try_into().ok()?))
}

/// A socket for ARP replies, neighbor advertisements and the TCP segments that come in.
fn replies() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let op = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };
    let jeq = |k: u32, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k };
    let (load_half, load_octet, ret) = (0x28, 0x30, 0x06);
    let program = [
        op(load_half, 12),
        jeq(0x0806, 0, 2),
        op(load_half, 20),
        jeq(2, 8, 9),
        jeq(0x0800, 0, 2),
        op(load_octet, 23),
        jeq(6, 5, 6),
        jeq(0x86dd, 0, 5),
        op(load_octet, 20),
        jeq(6, 2, 0),
        op(load_octet, 54),
        jeq(136, 0, 1),
        op(ret, 96),
        op(ret, 0),
    ];
    sys::attach_filter(fd.as_fd(), &program)?;
    Ok(fd)
}
