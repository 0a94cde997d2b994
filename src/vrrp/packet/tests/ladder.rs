//! The order of the ladder: a packet that breaks two rungs is refused by the earlier.

use super::*;
use crate::wire::ipv4::{self, Ipv4};

/// What arrives: an IP packet (or, of IPv6, its payload) and what the instance expects.
struct Arrival {
    scene: Scene,
    ttl: u8,
    ip_header_broken: bool,
    checksum_broken: bool,
    short: bool,
}

impl Arrival {
    fn of(mut scene: Scene) -> Arrival {
        scene.bytes = scene.encoded();
        Arrival { scene, ttl: 255, ip_header_broken: false, checksum_broken: false, short: false }
    }

    /// Breaks one rung.
    fn breaking(&mut self, rung: Discard) {
        let v6 = self.scene.src.is_ipv6();
        let bytes = &mut self.scene.bytes;
        match rung {
            Discard::IpHeader => self.ip_header_broken = true,
            Discard::Destination => {
                self.scene.dst = if v6 { "fe80::9".parse().unwrap() } else { "10.9.0.2".parse().unwrap() }
            }
            Discard::Ttl => self.ttl = 254,
            Discard::Short => self.short = true,
            Discard::Version => bytes[0] = 0x40 | bytes[0] & 15,
            Discard::Type => bytes[0] = bytes[0] & 0xf0 | 2,
            Discard::Vrid => bytes[1] ^= 0xff,
            Discard::CountZero => bytes[3] = 0,
            Discard::Length => bytes.extend_from_slice(&[0; 2]),
            Discard::Checksum => self.checksum_broken = true,
            Discard::OwnSource => self.scene.own = Some(self.scene.src),
            Discard::BadSource => self.scene.vips.push(self.scene.src),
            Discard::UnknownPeer => self.scene.peers.push(self.scene.vips[0]),
            Discard::AuthType => bytes[4] = 2,
            Discard::AuthPass => *bytes.get_mut(12).unwrap() ^= 1,
            Discard::IntervalZero => {
                bytes[5] = 0;
                if self.scene.version == Version::V3 {
                    bytes[4] = 0;
                }
            }
            Discard::Interval => self.scene.interval = Duration::from_secs(77),
            Discard::FirstAddress => bytes[8] = 0x20,
        }
    }

    /// All that happens to a packet, from the socket on.
    fn receive(mut self) -> Result<Advert, Discard> {
        let s = &mut self.scene;
        let mut message = std::mem::take(&mut s.bytes);
        s.fix_checksum(&mut message);
        if self.checksum_broken {
            message[7] ^= 1;
        }
        if self.short {
            message.truncate(7);
        }
        let mut carrier = Carrier { ttl: self.ttl, ..s.carrier() };
        let mut packet = Vec::new();
        let mut payload = &message[..];
        if let (IpAddr::V4(src), IpAddr::V4(dst)) = (s.src, s.dst) {
            ipv4::header(&mut packet, src, dst, 1, PROTOCOL, message.len() as u16);
            packet[8] = self.ttl;
            packet.extend_from_slice(&message);
            if self.ip_header_broken {
                packet[0] = 0x44;
            }
            let ip = Ipv4::parse(&packet).ok_or(Discard::IpHeader)?;
            carrier = Carrier { src: ip.src.into(), dst: ip.dst.into(), ttl: ip.ttl };
            payload = ip.payload;
        }
        let found = preamble(&carrier, payload)?;
        if found.vrid != s.vrid {
            return Err(Discard::Vrid);
        }
        decode(&carrier, payload, &s.expect())
    }
}

/// Every rung alone and every pair of rungs that the version and family of `scene` has.
fn check(scene: &Scene, missing: &[Discard]) {
    let has = |d: &Discard| !missing.contains(d);
    let rungs: Vec<_> = Discard::ALL.into_iter().filter(has).collect();
    assert_eq!(Arrival::of(scene.clone()).receive(), Ok(scene.advert()));
    for (i, &first) in rungs.iter().enumerate() {
        for &second in &rungs[i..] {
            let mut a = Arrival::of(scene.clone());
            a.breaking(first);
            if second != first {
                a.breaking(second);
            }
            assert_eq!(a.receive(), Err(first), "{first:?} before {second:?}");
        }
    }
}

#[test]
fn order_v2() {
    let s = Scene::of(VECTORS.iter().find(|v| v.pass.is_some()).unwrap());
    check(&s, &[Discard::FirstAddress]);
}

#[test]
fn order_v3_ipv4() {
    let s = Scene::of(VECTORS.iter().find(|v| v.version == Version::V3 && !v.plain).unwrap());
    check(&s, &[Discard::AuthType, Discard::AuthPass, Discard::Interval, Discard::FirstAddress]);
}

#[test]
fn order_v3_ipv6() {
    let s = Scene::of(VECTORS.iter().find(|v| v.src.starts_with("fe80")).unwrap());
    check(&s, &[Discard::IpHeader, Discard::AuthType, Discard::AuthPass, Discard::Interval]);
}

/// "Not this group's" comes after the VRID, "unknown" and the type before it.
#[test]
fn version_and_vrid() {
    let s = scene(0);
    let receive = |first: u8, vrid: u8| {
        let mut a = Arrival::of(s.clone());
        a.scene.bytes[..2].copy_from_slice(&[first, vrid]);
        a.receive()
    };
    assert_eq!(receive(0x31, 9), Err(Discard::Vrid));
    assert_eq!(receive(0x31, s.vrid), Err(Discard::Version));
    assert_eq!(receive(0x41, 9), Err(Discard::Version));
    assert_eq!(receive(0x32, 9), Err(Discard::Type));
    assert_eq!(receive(0x32, s.vrid), Err(Discard::Type));
}

/// A hop limit that the kernel did not give is none.
#[test]
fn no_hop_limit() {
    let s = scene(5);
    let carrier = Carrier { ttl: 0, ..s.carrier() };
    assert_eq!(decode(&carrier, &s.bytes, &s.expect()), Err(Discard::Ttl));
}

/// C4: options in the IP header are skipped.
#[test]
fn ip_options() {
    let s = scene(0);
    let IpAddr::V4(src) = s.src else { panic!() };
    for words in [1u16, 10] {
        let mut packet = Vec::new();
        ipv4::header(&mut packet, src, GROUP_V4, 1, PROTOCOL, s.bytes.len() as u16 + words * 4);
        packet[0] = 0x45 + words as u8;
        packet.resize(packet.len() + usize::from(words) * 4, 1);
        packet.extend_from_slice(&s.bytes);
        let ip = Ipv4::parse(&packet).unwrap();
        assert_eq!(s.decode(ip.payload), Ok(s.advert()));
    }
}
