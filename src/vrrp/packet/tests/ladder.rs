//! The order of the ladder: a packet that breaks two rungs is refused by the earlier.

use super::*;
use crate::vrrp::demux;
use crate::wire::ipv4::{self, Ipv4};

/// What arrives: an IP packet (or, of IPv6, its payload) and what the instance expects.
struct Arrival {
    scene: Scene,
    ttl: u8,
    ip_header_broken: bool,
    checksum_broken: bool,
    short: bool,
    ah_broken: bool,
    icv_broken: bool,
}

const SEQ: u32 = 7;

impl Arrival {
    fn of(mut scene: Scene) -> Arrival {
        scene.bytes = scene.encoded();
        Arrival {
            scene,
            ttl: 255,
            ip_header_broken: false,
            checksum_broken: false,
            short: false,
            ah_broken: false,
            icv_broken: false,
        }
    }

    /// Breaks one rung.
    fn breaking(&mut self, rung: Discard) {
        let v6 = self.scene.src.is_ipv6();
        let bytes = &mut self.scene.bytes;
        match rung {
            Discard::IpHeader => self.ip_header_broken = true,
            Discard::Destination => {
                self.scene.dst = if v6 { "ff02::9".parse().unwrap() } else { "224.0.0.19".parse().unwrap() }
            }
            Discard::Ttl => self.ttl = 254,
            Discard::AuthHeader => self.ah_broken = true,
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
            Discard::AuthType => bytes[4] = 3,
            Discard::AuthPass => *bytes.get_mut(12).unwrap() ^= 1,
            Discard::AuthIcv => self.icv_broken = true,
            Discard::AuthReplay => {
                self.scene.replay.accept(self.scene.src, SEQ);
            }
            Discard::IntervalZero => {
                bytes[5] = 0;
                if self.scene.version == Version::V3 {
                    bytes[4] = 0;
                }
            }
            Discard::Interval => self.scene.interval = Duration::from_secs(77),
            rung => unreachable!("{rung:?} has tests of its own"),
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
        let carrier = IpInfo { ttl: self.ttl, ..s.carrier() };
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (s.src, s.dst) else {
            let found = preamble(&carrier, &message)?;
            if found.vrid != s.vrid {
                return Err(check_type(&message).err().unwrap_or(Discard::Vrid));
            }
            return s.decode_as(&carrier, &message);
        };
        let mut packet = Vec::new();
        let len = message.len() as u16;
        match s.auth {
            Auth::Ah(key) => {
                ipv4::header(
                    &mut packet,
                    src,
                    dst,
                    1,
                    crate::wire::ah::PROTOCOL,
                    crate::wire::ah::AH_LEN + len,
                );
                packet[8] = self.ttl;
                crate::wire::ah::header(&mut packet, SEQ);
                packet.extend_from_slice(&message);
                crate::wire::ah::seal(&mut packet, &key);
                packet[21] ^= u8::from(self.ah_broken);
                packet[40] ^= u8::from(self.icv_broken);
            }
            _ => {
                ipv4::header(&mut packet, src, dst, 1, PROTOCOL, len);
                packet[8] = self.ttl;
                packet.extend_from_slice(&message);
            }
        }
        if self.ip_header_broken {
            packet[0] = 0x44;
        }
        let r = demux::receive(&packet)?;
        if r.preamble.vrid != s.vrid {
            return Err(check_type(r.message).err().unwrap_or(Discard::Vrid));
        }
        decode(&r, Duration::ZERO, &s.expect(), &mut s.authentication())
    }
}

/// Every rung alone and every pair of rungs that the version and family of `scene` has.
fn check(scene: &Scene, missing: &[Discard]) {
    let has = |d: &Discard| !missing.contains(d) && !HMAC.contains(d);
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

/// Of a trailer, whose ladder has tests of its own.
const HMAC: [Discard; 6] = [
    Discard::HmacMissing,
    Discard::HmacMalformed,
    Discard::HmacStale,
    Discard::HmacUnknownKey,
    Discard::HmacInvalid,
    Discard::HmacReplay,
];
const AH: [Discard; 3] = [Discard::AuthHeader, Discard::AuthIcv, Discard::AuthReplay];

#[test]
fn order_v2() {
    let s = Scene::of(VECTORS.iter().find(|v| v.pass.is_some()).unwrap());
    check(&s, &AH);
}

#[test]
fn order_v2_ah() {
    let mut s = scene(0);
    s.auth = Auth::Ah(*b"1111\0\0\0\0");
    check(&s, &[Discard::AuthPass]);
}

#[test]
fn order_v3_ipv4() {
    let s = Scene::of(VECTORS.iter().find(|v| v.version == Version::V3 && !v.plain).unwrap());
    check(&s, &[&AH[..], &[Discard::AuthType, Discard::AuthPass, Discard::Interval]].concat());
}

#[test]
fn order_v3_ipv6() {
    let s = Scene::of(VECTORS.iter().find(|v| v.src.starts_with("fe80")).unwrap());
    let missing = [Discard::IpHeader, Discard::AuthType, Discard::AuthPass, Discard::Interval];
    check(&s, &[&AH[..], &missing].concat());
}

/// What only the instance can say of the destination comes before what it says of the version.
#[test]
fn destination_and_version() {
    let mut s = scene(0);
    s.unicast = true;
    let mut a = Arrival::of(s.clone());
    a.scene.bytes[0] = 0x31;
    assert_eq!(a.receive(), Err(Discard::Destination));
    let mut a = Arrival::of(s);
    a.scene.bytes[1] ^= 0xff;
    assert_eq!(a.receive(), Err(Discard::Vrid));
}

/// "Not this group's" comes after the VRID, "unknown" before it, and so does the type where the VRID is
/// unknown.
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
    assert_eq!(receive(0x22, s.vrid), Err(Discard::Type));
    assert_eq!(receive(0x32, s.vrid), Err(Discard::Version));
}

/// A hop limit that the kernel did not give is none.
#[test]
fn no_hop_limit() {
    let s = scene(5);
    let carrier = IpInfo { ttl: 0, ..s.carrier() };
    assert_eq!(s.decode_as(&carrier, &s.bytes), Err(Discard::Ttl));
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
