//! What keepalived 2.2.7 put on the wire (tests/data/captures), and 2.4.3 with `auth_hmac`, through vipd's
//! codecs and back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;
use vipd::config::{Auth, Hmac, HmacMode, Key, Version};
use vipd::vrrp::authentication::{self, Authentication, Copy};
use vipd::vrrp::demux;
use vipd::vrrp::packet::{self, Discard, Expect, Notes, Outgoing, Received};
use vipd::wire::arp::{self, Arp};
use vipd::wire::auth_trailer::{Sequence, Trailer};
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

/// The time that a sequence says, to 1/65536 s.
fn wall(seq: Sequence) -> Duration {
    assert_eq!(seq.0 & 0xffff, 0, "the counter");
    let fraction = seq.0 >> 16 & 0xffff;
    Duration::new(seq.seconds().into(), (fraction * 1_000_000_000).div_ceil(65_536) as u32)
}

struct Capture {
    file: &'static str,
    version: Version,
    auth: Auth,
    vrid: u8,
    priority: u8,
    interval: Duration,
    vips: &'static [&'static str],
    /// Adverts go to each peer.
    unicast: bool,
    /// One for each destination.
    receivers: RefCell<HashMap<IpAddr, Authentication>>,
    /// Adverts, announcements and others in the file.
    counts: [usize; 3],
}

impl Capture {
    fn vips(&self) -> Vec<IpAddr> {
        self.vips.iter().map(|a| a.parse().unwrap()).collect()
    }

    /// Decodes one advert and builds it again, with the clock and the key that it was made with.
    fn advert(&self, r: &Received, ip_id: u16) -> Vec<u8> {
        let vips = self.vips();
        let expect = Expect {
            version: self.version,
            advert_int: self.interval,
            own_addr: Some(r.info.dst).filter(|_| self.unicast),
            unicast: self.unicast,
            vips: &vips,
            peers: &[],
        };
        assert_eq!((r.preamble.version, r.preamble.vrid), (self.version, self.vrid));
        let mut config = self.auth.clone();
        let wall = match &mut config {
            Auth::Hmac(hmac) => {
                let trailer = Trailer::parse(r.message.last_chunk::<28>().unwrap()).unwrap();
                hmac.active = trailer.key_id();
                wall(trailer.sequence())
            }
            _ => Duration::ZERO,
        };
        let mut receivers = self.receivers.borrow_mut();
        let auth = receivers.entry(r.info.dst).or_insert_with(|| Authentication::new(&self.auth));
        let advert = packet::decode(r, wall, &expect, auth).unwrap();
        assert!([0, self.priority].contains(&advert.priority));
        assert_eq!(advert.interval, self.interval);
        assert_eq!(advert.src, r.info.src);
        assert_eq!(advert.notes, Notes::default());
        let again = match self.auth {
            Auth::Ah(_) => Err(Discard::AuthReplay),
            Auth::Hmac(_) => Err(Discard::HmacReplay),
            _ => Ok(advert),
        };
        assert_eq!(packet::decode(r, wall, &expect, auth), again, "a second time it is a replay");

        let outgoing = Outgoing {
            version: self.version,
            vrid: advert.vrid,
            interval: advert.interval,
            vips: &vips,
            src: r.info.src,
            dst: r.info.dst,
            v3_checksum_as_v2: false,
        };
        let mut sender = Authentication::new(&config);
        if let Some(ah) = r.ah {
            sender.restore(Some(&format!("{}\n", ah.seq - 1)));
        }
        let mut out = Vec::new();
        sender.seal(&mut out, &outgoing, &Copy { priority: advert.priority, ip_id, again: false, wall });
        self.flip(r, wall, &expect);
        out
    }

    /// Every bit that is flipped makes another advert of a signed one, or none.
    fn flip(&self, r: &Received, wall: Duration, expect: &Expect) {
        if !matches!(self.auth, Auth::Hmac(_)) {
            return;
        }
        let trailer = r.message.len() - 28;
        for bit in 0..r.message.len() * 8 {
            let mut bytes = r.message.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let got = packet::preamble(&r.info, &bytes).and_then(|preamble| {
                let bent = Received { message: &bytes, preamble, ..*r };
                packet::decode(&bent, wall, expect, &mut Authentication::new(&self.auth))
            });
            let expected: &[Discard] = match bit / 8 {
                0 => &[Discard::Version, Discard::HmacInvalid],
                3 => &[Discard::CountZero, Discard::Length],
                6 | 7 => &[Discard::Checksum],
                at if at == trailer || at == trailer + 2 || at == trailer + 3 => &[Discard::HmacMalformed],
                at if at == trailer + 1 => &[Discard::HmacUnknownKey, Discard::HmacInvalid],
                at if (trailer + 4..trailer + 8).contains(&at) => &[Discard::HmacStale, Discard::HmacInvalid],
                _ => &[Discard::HmacInvalid],
            };
            assert!(got.is_err_and(|why| expected.contains(&why)), "bit {bit}: {got:?}");
        }
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
            if what == 0 && !self.unicast {
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
        unicast: false,
        receivers: RefCell::default(),
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

fn hmac(time_window: u32, keys: &[(u8, Vec<u8>)]) -> Auth {
    let keys: Vec<Key> = keys.iter().map(|(id, octets)| Key::new(*id, octets).unwrap()).collect();
    let active = keys[0].id;
    Auth::Hmac(Box::new(Hmac { keys, active, time_window: Some(time_window), mode: HmacMode::Enforce }))
}

#[test]
fn hmac_v2() {
    let auth = hmac(5, &[(1, (0..0x20).collect())]);
    Capture { file: "hmac-v2.pcap", auth, vrid: 61, priority: 100, vips: ONE, counts: [5, 5, 0], ..v2() }
        .run();
}

#[test]
fn hmac_v3_ipv4() {
    let auth = hmac(9, &[(5, b"correct-horse-battery-staple-of-39-chars".to_vec())]);
    let v3 = Capture { version: Version::V3, vrid: 62, auth, ..v2() };
    let (interval, vips) = (Duration::from_millis(500), &["192.168.30.230", "192.168.30.231"]);
    Capture { file: "hmac-v3-ipv4.pcap", interval, vips, counts: [7, 10, 0], ..v3 }.run();
}

#[test]
fn hmac_v3_ipv6() {
    let auth = hmac(5, &[(255, (0x40..0x80).collect())]);
    let v3 = Capture { version: Version::V3, vrid: 63, priority: 200, auth, ..v2() };
    let vips = &["fe80::230", "2001:db8::230"];
    Capture { file: "hmac-v3-ipv6.pcap", vips, counts: [4, 10, 0], ..v3 }.run();
}

#[test]
fn hmac_v3_unicast_rotation() {
    let auth = hmac(5, &[(1, (0x80..0xa0).collect()), (2, (0xa0..0xd0).collect())]);
    let v3 = Capture { version: Version::V3, vrid: 64, priority: 100, auth, vips: ONE, ..v2() };
    Capture { file: "hmac-v3-unicast-rotation.pcap", unicast: true, counts: [20, 5, 1], ..v3 }.run();
}
