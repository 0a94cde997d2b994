//! What is on the wire: VRRP, ARP and neighbour advertisements as they enter the switch, stamped by
//! the kernel; and packets of our own making.

use super::lan::{Lan, Node};
use super::{Board, Error, Result, since_start, sys};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    recvmsg, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use std::collections::HashMap;
use std::fmt;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A VRRP advertisement; the raw message is with it for whoever wants to know more.
#[derive(Clone, Debug, PartialEq)]
pub struct Advert {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 2 or 3.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// 0 to 255.
    pub priority: u8,
    /// The sequence number of the authentication header, if it has one.
    pub sequence: Option<u32>,
    /// The VRRP message.
    pub message: Vec<u8>,
    /// The whole IP packet.
    pub packet: Vec<u8>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// VRRP.
    Advert(Advert),
    /// ARP, with operation, sender and target protocol address.
    Arp { op: u16, sender: Ipv4Addr, target: Ipv4Addr },
    /// IPv6 neighbour advertisement, with its target.
    Na { target: Ipv6Addr },
    /// Anything else from a virtual MAC, with its Ethernet type.
    Other { kind: u16 },
}

/// A frame that entered the switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// From which node.
    pub node: String,
    /// Source MAC.
    pub mac: [u8; 6],
    /// And what it was.
    pub what: What,
}

impl Seen {
    /// The advertisement, if it is one of that virtual router.
    pub fn advert(&self, vrid: u8) -> Option<&Advert> {
        match &self.what {
            What::Advert(advert) if advert.vrid == vrid => Some(advert),
            _ => None,
        }
    }

    /// Whether it announces that address: a gratuitous ARP or a neighbour advertisement.
    pub fn announces(&self, vip: IpAddr) -> bool {
        match self.what {
            What::Arp { sender, target, .. } => sender == target && IpAddr::V4(sender) == vip,
            What::Na { target } => IpAddr::V6(target) == vip,
            What::Advert(_) | What::Other { .. } => false,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3}  {}  {:?}", since_start(self.at), self.node, self.what)
    }
}

/// The tap in the switch.
pub struct Capture {
    seen: Arc<Board<Seen>>,
    _alive: std::io::PipeWriter,
}

impl Capture {
    /// Starts to listen to what the present nodes of the LAN send.
    pub fn start(lan: &Lan) -> Result<Capture> {
        let nodes = lan.nodes();
        let (fd, ports) = lan.switch().enter(|| -> Result<_> {
            let mut ports = HashMap::new();
            for node in &nodes {
                ports.insert(if_nametoindex(node.port().as_str())? as usize, node.name().to_owned());
            }
            Ok((tap()?, ports))
        })?;
        let (alive, writer) = std::io::pipe()?;
        let seen = Arc::new(Board::new());
        std::thread::spawn({
            let seen = seen.clone();
            move || {
                sys::realtime();
                if let Err(e) = listen(&fd, &ports, &alive, &seen) {
                    seen.broken(format!("capture: {e}"));
                }
            }
        });
        Ok(Capture { seen, _alive: writer })
    }

    /// All that was seen after `since` and satisfies `test`.
    pub fn all(&self, since: Instant, test: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        self.seen.read(|seen| seen.iter().filter(|s| s.at >= since && test(s)).cloned().collect())
    }

    /// Waits for something after `since`.
    pub fn wait(
        &self,
        what: &str,
        since: Instant,
        timeout: Duration,
        test: impl Fn(&Seen) -> bool,
    ) -> Result<Seen> {
        let what = || format!("{what} on the wire");
        self.seen.wait(timeout, what, |seen| seen.iter().find(|s| s.at >= since && test(s)).cloned())
    }

    /// Waits for an advertisement of that virtual router by that node after `since`.
    pub fn wait_advert(&self, node: &str, vrid: u8, since: Instant, timeout: Duration) -> Result<Seen> {
        let what = format!("an advert of VRID {vrid} by {node}");
        self.wait(&what, since, timeout, |s| s.node == node && s.advert(vrid).is_some())
    }

    /// The last advertisement of that virtual router by that node before `until`.
    pub fn last_advert(&self, node: &str, vrid: u8, until: Instant) -> Result<Seen> {
        let test = |s: &&Seen| s.at <= until && s.node == node && s.advert(vrid).is_some();
        let last = self.seen.read(|seen| seen.iter().rfind(test).cloned());
        last.ok_or_else(|| Error(format!("{node} never sent an advert of VRID {vrid}")))
    }
}

/// Frames of interest that come in, each once: not those that go out of other ports.
fn tap() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Protocol "none" until the filter is there.
    let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jeq = |k: u32, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k };
    const PACKET_TYPE: u32 = 0xffff_f004; // SKF_AD_OFF + SKF_AD_PKTTYPE
    let (load_word, load_half, load_byte, ret) = (0x20, 0x28, 0x30, 0x06);
    sys::attach_filter(
        fd.as_fd(),
        &[
            op(load_byte, PACKET_TYPE),
            jeq(4, 14, 0), // outgoing: drop
            op(load_byte, 6),
            jeq(u32::from(super::flood::MAC[0]), 12, 0), // of a flood: drop
            op(load_word, 6),
            jeq(0x5e00, 11, 0), // from a virtual MAC: accept whatever it is
            op(load_half, 12),
            jeq(0x0806, 9, 0), // ARP: accept
            jeq(0x86dd, 3, 0),
            jeq(0x0800, 0, 6), // neither IP: drop
            op(load_byte, 23),
            jeq(112, 5, 2), // VRRP: accept; else AH?
            op(load_byte, 20),
            jeq(112, 3, 0), // VRRP over IPv6: accept
            jeq(58, 2, 0),  // ICMPv6: accept; (also reached for IPv4, where 58 does no harm)
            jeq(51, 1, 0),  // authentication header: accept
            op(ret, 0),
            op(ret, 0xffff),
        ],
    )?;
    setsockopt(&fd, sockopt::RcvBuf, &(1 << 20))?;
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
    Ok(fd)
}

fn listen(
    fd: &OwnedFd,
    ports: &HashMap<usize, String>,
    alive: &std::io::PipeReader,
    seen: &Board<Seen>,
) -> Result<()> {
    let mut buf = [0; 2048];
    let mut cmsg = nix::cmsg_space!(TimeSpec);
    loop {
        let mut fds =
            [PollFd::new(fd.as_fd(), PollFlags::POLLIN), PollFd::new(alive.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if fds[1].any() == Some(true) {
            return Ok(());
        }
        loop {
            let mut iov = [IoSliceMut::new(&mut buf)];
            let got = match recvmsg::<LinkAddr>(fd.as_raw_fd(), &mut iov, Some(&mut cmsg), MsgFlags::empty())
            {
                Err(Errno::EAGAIN) => break,
                other => other?,
            };
            let at = got.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(instant(stamp)),
                _ => None,
            });
            let at = at.unwrap_or_else(Instant::now);
            let node = got.address.and_then(|addr| ports.get(&addr.ifindex()).cloned());
            let len = got.bytes;
            if let (Some(node), Some((mac, what))) = (node, decode(&buf[..len.min(2048)])) {
                seen.push(Seen { at, node, mac, what });
            }
        }
    }
}

/// The kernel stamps with CLOCK_REALTIME; what lies back is the same on every clock.
fn instant(stamp: TimeSpec) -> Instant {
    let stamp = UNIX_EPOCH + Duration::from(stamp);
    // Two readings with nothing between them, as far as can be told: else what came first might seem to be
    // second.
    let readings = (0..5).map(|_| {
        let (now, wall) = (Instant::now(), SystemTime::now());
        (now.elapsed(), now, wall)
    });
    let (_, now, wall) = readings.min_by_key(|(took, ..)| *took).unwrap_or((
        Duration::ZERO,
        Instant::now(),
        SystemTime::now(),
    ));
    now - wall.duration_since(stamp).unwrap_or_default()
}

fn decode(frame: &[u8]) -> Option<([u8; 6], What)> {
    let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let other = || {
        let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        mac.starts_with(&[0, 0, 0x5e, 0]).then_some(What::Other { kind })
    };
    let what = known(frame).or_else(other)?;
    Some((mac, what))
}

fn known(frame: &[u8]) -> Option<What> {
    let body = frame.get(14..)?;
    let what = match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
        0x0806 => What::Arp {
            op: u16::from_be_bytes([*body.get(6)?, *body.get(7)?]),
            sender: v4(body, 14)?,
            target: v4(body, 24)?,
        },
        0x0800 => {
            if ![112, 51].contains(body.get(9)?) {
                return None;
            }
            let header = usize::from(body.first()? & 15) * 4;
            let total = usize::from(u16::from_be_bytes([*body.get(2)?, *body.get(3)?]));
            let (src, dst) = (v4(body, 12)?.into(), v4(body, 16)?.into());
            let (ttl, packet, payload) = (*body.get(8)?, body.get(..total)?, body.get(header..total)?);
            match *body.get(9)? {
                51 => {
                    let sequence = u32::from_be_bytes(payload.get(8..12)?.try_into().ok()?);
                    vrrp(src, dst, ttl, Some(sequence), packet, payload.get(24..)?)?
                }
                _ => vrrp(src, dst, ttl, None, packet, payload)?,
            }
        }
        0x86dd => {
            let payload = body.get(40..)?;
            match *body.get(6)? {
                112 => vrrp(v6(body, 8)?.into(), v6(body, 24)?.into(), *body.get(7)?, None, body, payload)?,
                58 if payload.first() == Some(&136) => What::Na { target: v6(payload, 8)? },
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(what)
}

fn vrrp(
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    sequence: Option<u32>,
    packet: &[u8],
    message: &[u8],
) -> Option<What> {
    let (version, vrid, priority) = (*message.first()? >> 4, *message.get(1)?, *message.get(2)?);
    let (message, packet) = (message.to_vec(), packet.to_vec());
    Some(What::Advert(Advert { src, dst, ttl, version, vrid, priority, sequence, message, packet }))
}

fn v4(data: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(data.get(at..at + 4)?).ok()?.into())
}

fn v6(data: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(<[u8; 16]>::try_from(data.get(at..at + 16)?).ok()?.into())
}

/// RFC 1071.
pub fn checksum(data: &[u8]) -> u16 {
    let words =
        data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A VRRPv2 message; `auth` is the password of type PASS, if any.
pub fn advert(vrid: u8, priority: u8, interval: u8, auth: Option<&str>, vips: &[Ipv4Addr]) -> Vec<u8> {
    let mut m = vec![0x21, vrid, priority, vips.len() as u8, u8::from(auth.is_some()), interval, 0, 0];
    m.extend(vips.iter().flat_map(|vip| vip.octets()));
    let mut pass = [0; 8];
    pass.iter_mut().zip(auth.unwrap_or("").bytes()).for_each(|(to, from)| *to = from);
    m.extend(pass);
    let sum = checksum(&m).to_be_bytes();
    m[6..8].copy_from_slice(&sum);
    m
}

/// An IPv4 packet.
pub(super) fn ipv4_packet(src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, protocol: u8, message: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0xc0, total[0], total[1], 0, 0, 0, 0, ttl, protocol, 0, 0];
    packet.extend(src.octets());
    packet.extend(dst.octets());
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(message);
    packet
}

/// The frame of an ARP request for `target` in the name of that node.
pub fn arp_request(node: &Node, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(node.mac());
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(node.mac());
    frame.extend(node.addr().octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Who asks: his IPv4 address, or the IPv6 address that ends like it, or that of the link.
fn asker(node: &Node, target: IpAddr) -> IpAddr {
    let ([.., host], [.., a, b, c, d]) = (node.addr().octets(), node.mac());
    match target {
        IpAddr::V4(_) => node.addr().into(),
        IpAddr::V6(target) if target.is_unicast_link_local() => {
            let [high, low] = [[0xfe, b], [c, d]].map(u16::from_be_bytes);
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, u16::from_be_bytes([a, 0xff]), high, low).into()
        }
        IpAddr::V6(_) => format!("2001:db8:30::{host}").parse().unwrap_or(Ipv6Addr::UNSPECIFIED.into()),
    }
}

/// The frame of an IP packet without options; a checksum at `at` of what it carries is filled in.
fn ip_frame(
    node: &Node,
    mac: [u8; 6],
    [src, dst]: [IpAddr; 2],
    proto: u8,
    body: &[u8],
    at: usize,
) -> Vec<u8> {
    let octets = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let mut body = body.to_vec();
    let pseudo = [&octets(src)[..], &octets(dst), &[0, proto, 0, body.len() as u8], &body].concat();
    body[at..at + 2].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut frame = [mac, node.mac()].concat();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame.extend([0x08, 0x00]);
            frame.extend(ipv4_packet(src, dst, 64, proto, &body));
        }
        _ => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, body.len() as u8, proto, 255]);
            frame.extend([octets(src), octets(dst), body].concat());
        }
    }
    frame
}

/// The frame of a TCP connection request (SYN) in the name of that node, to port 9 of `target` at that MAC.
/// The node has 2001:db8:30::N to ask for an IPv6 address.
pub fn tcp_syn(node: &Node, mac: [u8; 6], target: IpAddr) -> Vec<u8> {
    let tcp = [0x9c, 0x40, 0, 9, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
    ip_frame(node, mac, [asker(node, target), target], 6, &tcp, 16)
}

/// The frame with which that node asks all who has `target`: ARP, or a neighbor solicitation.
pub fn who_has(node: &Node, target: IpAddr) -> Vec<u8> {
    let target = match target {
        IpAddr::V4(target) => return arp_request(node, target),
        IpAddr::V6(target) => target,
    };
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &[1, 1], &node.mac()].concat();
    let ends = [asker(node, target.into()), group.into()];
    ip_frame(node, [0x33, 0x33, 0xff, a, b, c], ends, 58, &body, 2)
}

impl Node {
    /// Sends any octets as an IPv4 packet of protocol 112 to 224.0.0.18.
    pub fn inject(&self, src: Ipv4Addr, ttl: u8, message: &[u8]) -> Result<()> {
        self.inject_to(src, Ipv4Addr::new(224, 0, 0, 18), ttl, message)
    }

    /// Sends any octets as an IPv4 packet of protocol 112, straight to the wire: whatever the source is.
    pub fn inject_to(&self, src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, message: &[u8]) -> Result<()> {
        self.inject_ip(src, dst, ttl, 112, message)
    }

    /// Sends any octets as an IPv4 packet of any protocol, straight to the wire.
    pub fn inject_ip(
        &self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        ttl: u8,
        protocol: u8,
        message: &[u8],
    ) -> Result<()> {
        self.inject_packet(&ipv4_packet(src, dst, ttl, protocol, message))
    }

    /// Sends any octets as a packet of protocol 112 to 224.0.0.18, `count` times, 16 in a millisecond.
    pub fn inject_many(&self, src: Ipv4Addr, message: &[u8], count: usize) -> Result<()> {
        let frame = self.frame(&ipv4_packet(src, Ipv4Addr::new(224, 0, 0, 18), 255, 112, message))?;
        self.enter(|| {
            let index = if_nametoindex("eth0")?;
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            for n in 0..count {
                sys::send_frame(fd.as_fd(), index as i32, &frame)?;
                if n % 16 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(())
        })
    }

    /// Sends a whole IPv4 packet, as it is.
    pub fn inject_packet(&self, packet: &[u8]) -> Result<()> {
        self.send_frame(&self.frame(packet)?)
    }

    fn frame(&self, packet: &[u8]) -> Result<Vec<u8>> {
        let [a, b, c, d] = v4(packet, 16).ok_or_else(|| Error("no IPv4 packet".to_owned()))?.octets();
        let mut frame = match (224..240).contains(&a) {
            true => vec![1, 0, 0x5e, b & 0x7f, c, d],
            false => vec![2, 0, a, b, c, d], // as in Node::mac
        };
        frame.extend(self.mac());
        frame.extend([0x08, 0x00]);
        frame.extend(packet);
        Ok(frame)
    }

    /// Sends any octets as an IPv6 packet with next header 112 to ff02::12, straight to the wire.
    pub fn inject_v6(&self, src: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Result<()> {
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 0x12];
        frame.extend(self.mac());
        frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
        frame.extend(u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend([112, hop_limit]);
        frame.extend(src.octets());
        frame.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).octets());
        frame.extend(message);
        self.send_frame(&frame)
    }

    /// Sends a whole Ethernet frame out of `eth0`.
    pub fn send_frame(&self, frame: &[u8]) -> Result<()> {
        self.enter(|| {
            let index = if_nametoindex("eth0")?;
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            Ok(sys::send_frame(fd.as_fd(), index as i32, frame)?)
        })
    }
}
