//! What keepalived 2.2.7 put on the wire (tests/data/captures), through vipd's codecs and back.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;
use vipd::config::{Auth, Version};
use vipd::vrrp::authentication::{self, Authentication, Copy};
use vipd::vrrp::demux;
use vipd::vrrp::packet::{self, Discard, Expect, Notes, Outgoing, Received};
use vipd::wire::arp::{self, Arp};
use vipd::wire::ipv4::Ipv4;
use vipd::wire::ndp::{self, Na};
use vipd::wire::vrrp::IpInfo;
use vipd::wire::{ethernet, ipv6};

/// The frames of a pcap file: little-endian, microseconds, Ethernet.
fn frames(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures").join(name);
    let file = std::fs::read(path).unwrap();
    assert_eq!(file[..4], 0xa1b2_c3d4u32.to_le_bytes());
    assert_eq!(file[20..24], 1u32.to_le_bytes(), "Ethernet");
    let mut rest = &file[24..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

struct Capture {
    file: &'static str,
    version: Version,
    auth: Auth,
    vrid: u8,
    priority: u8,
    interval: Duration,
    vips: &'static [&'static str],
    receiver: RefCell<Option<Authentication>>,
    /// Adverts, announcements and others in the file.
    counts: [usize; 3],
}

impl Capture {
    fn vips(&self) -> Vec<IpAddr> {
        self.vips.iter().map(|a| a.parse().unwrap()).collect()
    }

    /// Decodes one advert and builds it again, with the clock at which it was made.
    fn advert(&self, r: &Received, ip_id: u16) -> Vec<u8> {
        let vips = self.vips();
        let expect = Expect {
            version: self.version,
            advert_int: self.interval,
            own_addr: None,
            unicast: false,
            vips: &vips,
            peers: &[],
        };
        assert_eq!((r.preamble.version, r.preamble.vrid), (self.version, self.vrid));
        let mut auth = self.receiver.borrow_mut();
        let auth = auth.get_or_insert_with(|| Authentication::new(&self.auth));
        let advert = packet::decode(r, &expect, auth).unwrap();
        assert!([0, self.priority].contains(&advert.priority));
        assert_eq!(advert.interval, self.interval);
        assert_eq!(advert.src, r.info.src);
        assert_eq!(advert.notes, Notes::default());
        if let Auth::Ah(_) = self.auth {
            let again = packet::decode(r, &expect, auth);
            assert_eq!(again, Err(Discard::AuthReplay), "a second time it is a replay");
        }

        let outgoing = Outgoing {
            version: self.version,
            vrid: advert.vrid,
            interval: advert.interval,
            vips: &vips,
            src: r.info.src,
            dst: r.info.dst,
            v3_checksum_as_v2: false,
        };
        let mut sender = Authentication::new(&self.auth);
        if let Some(ah) = r.ah {
            sender.restore(Some(&format!("{}\n", ah.seq - 1)));
        }
        let mut out = Vec::new();
        sender.seal(&mut out, &outgoing, &Copy { priority: advert.priority, ip_id, again: false });
        out
    }

    fn run(&self) {
        let mut counts = [0; 3];
        for frame in frames(self.file) {
            let (body, kind) = (&frame[14..], u16::from_be_bytes([frame[12], frame[13]]));
            let what = match kind {
                0x0800 => self.ipv4(body),
                0x86dd => self.ipv6(body),
                0x0806 => self.arp(&frame),
                _ => 2,
            };
            if what == 0 {
                assert_eq!(frame[..14], header(&frame));
            }
            counts[what] += 1;
        }
        assert_eq!(counts, self.counts, "{}", self.file);
    }

    fn ipv4(&self, body: &[u8]) -> usize {
        let ip = Ipv4::parse(body).unwrap();
        if !authentication::PROTOCOLS.contains(&ip.protocol) {
            return 2; // IGMP, with a header of six words
        }
        let r = demux::receive(body).unwrap();
        assert_eq!(self.advert(&r, ip.id), body);
        0
    }

    fn ipv6(&self, body: &[u8]) -> usize {
        if body[6] != vipd::wire::vrrp::PROTOCOL {
            return self.neighbour(body);
        }
        let addr = |at: usize| {
            let octets: [u8; 16] = body[at..at + 16].try_into().unwrap();
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let info = IpInfo { src: addr(8), dst: addr(24), ttl: body[7] };
        let preamble = packet::preamble(&info, &body[40..]).unwrap();
        let r = Received { info, ah: None, message: &body[40..], preamble };
        assert_eq!(self.advert(&r, 0), body[40..]);
        let mut out = Vec::new();
        let ip = ipv6::Ipv6::parse(body).unwrap();
        assert_eq!((ip.hops, ip.payload), (body[7], &body[40..]));
        ipv6::header(&mut out, ip.src, ip.dst, ip.next, ip.payload.len() as u16);
        // But for the flow label, which their kernel makes up.
        let plain = [body[0], body[1] & 0xf0, 0, 0];
        assert_eq!(out, [&plain, &body[4..40]].concat());
        0
    }

    /// Unsolicited ones for a VIP; MLD and what the kernel says of its own addresses are others.
    fn neighbour(&self, body: &[u8]) -> usize {
        let addr = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&body[at..at + 16]).unwrap());
        let na = match body[6] {
            58 => Na::parse(&addr(24), body[7], &body[40..]),
            _ => None,
        };
        let Some(na) = na.filter(|na| self.vips().contains(&na.target.into())) else { return 2 };
        let router = body[44] & 0x80 != 0;
        assert_eq!(body, &ndp::unsolicited(na.mac.unwrap(), na.target, router)[14..]);
        1
    }

    fn arp(&self, frame: &[u8]) -> usize {
        let Some(arp) = Arp::parse(&frame[14..]).filter(Arp::is_gratuitous) else { return 2 };
        assert_eq!(arp.op, arp::REQUEST);
        assert!(self.vips().contains(&arp.spa.into()));
        assert_eq!(frame, arp::gratuitous(arp.sha, arp.spa));
        1
    }
}

/// The Ethernet header as vipd makes it where it sends frames: with a virtual MAC.
fn header(frame: &[u8]) -> Vec<u8> {
    let group: IpAddr = match frame[12] {
        0x08 => vipd::wire::vrrp::GROUP_V4.into(),
        _ => vipd::wire::vrrp::GROUP_V6.into(),
    };
    let mut out = Vec::new();
    ethernet::to_group(&mut out, frame[6..12].try_into().unwrap(), group);
    out
}

fn v2() -> Capture {
    Capture {
        file: "v2-none-3vips.pcap",
        version: Version::V2,
        auth: Auth::None,
        vrid: 7,
        priority: 150,
        interval: Duration::from_secs(1),
        vips: &["192.168.30.230", "192.168.30.231", "10.9.8.7"],
        receiver: RefCell::default(),
        counts: [6, 15, 3],
    }
}

const ONE: &[&str] = &["192.168.30.230"];

#[test]
fn v2_none() {
    v2().run();
}

#[test]
fn v2_pass() {
    let auth = Auth::Pass(*b"1111\0\0\0\0");
    Capture { file: "v2-pass.pcap", auth, vrid: 51, priority: 100, vips: ONE, counts: [5, 5, 4], ..v2() }
        .run();
}

#[test]
fn v3_ipv4() {
    let v3 = Capture { version: Version::V3, vrid: 51, priority: 100, ..v2() };
    let (interval, vips) = (Duration::from_millis(100), &["192.168.30.230", "192.168.30.231"]);
    Capture { file: "v3-ipv4.pcap", interval, vips, counts: [72, 20, 4], ..v3 }.run();
}

#[test]
fn v3_ipv4_vmac() {
    let v3 = Capture { version: Version::V3, vrid: 51, priority: 100, ..v2() };
    Capture { file: "v3-ipv4-vmac.pcap", vips: ONE, counts: [5, 5, 4], ..v3 }.run();
}

#[test]
fn v3_ipv6() {
    let v3 = Capture { version: Version::V3, vrid: 51, priority: 100, ..v2() };
    Capture { file: "v3-ipv6.pcap", vips: &["fe80::230", "2001:db8::230"], counts: [5, 10, 0], ..v3 }.run();
}

#[test]
fn v2_ah() {
    let auth = Auth::Ah(*b"1111\0\0\0\0");
    Capture { file: "v2-ah.pcap", auth, vrid: 51, priority: 100, vips: ONE, counts: [5, 5, 4], ..v2() }.run();
}
