//! Packets with an authentication header, keepalived's own, as a whole.

use super::*;
use crate::vrrp::authentication::Copy;
use crate::vrrp::demux;
use std::net::Ipv4Addr;

const KEY: [u8; 8] = *b"secret7\0";
const MULTICAST: &str = "45c0004000010000ff33d0ad0a090001e0000012\
    700400000a0900010000000197b01bd64d069b03633fa5582133640102016e5d0a0900640000000000000000";
const UNICAST: &str = "45c0004000010000ff33a6b50a0900010a090002\
    700400000a09000100000001569bd462def321c85fd992652133640102016e5d0a0900640000000000000000";
/// Where the message begins.
const MESSAGE: usize = 44;

fn peer() -> IpAddr {
    "10.9.0.1".parse().unwrap()
}

/// An instance on 10.9.0.2 that hears keepalived on 10.9.0.1.
fn listener(unicast: bool) -> Scene {
    let mut s = scene(0);
    (s.vrid, s.priority, s.auth, s.unicast) = (51, 100, Auth::Ah(KEY), unicast);
    (s.src, s.own, s.vips) = (peer(), Some("10.9.0.2".parse().unwrap()), vec!["10.9.0.100".parse().unwrap()]);
    s
}

fn receive(s: &Scene, packet: &[u8]) -> Result<Advert, Discard> {
    let r = demux::receive(packet)?;
    decode(&r, Duration::ZERO, &s.expect(), &mut s.authentication())
}

/// As the node builds it, after a restart that knows of `seq` - 1.
fn build(s: &Scene, dst: Ipv4Addr, seq: u32) -> Vec<u8> {
    let mut auth = Authentication::new(&s.auth);
    auth.restore(Some(&format!("{}\n", seq - 1)));
    let mut out = Vec::new();
    let o = Outgoing { dst: dst.into(), ..s.outgoing() };
    auth.seal(&mut out, &o, &Copy { priority: s.priority, ip_id: 1, again: false, wall: Duration::ZERO });
    out
}

#[test]
fn golden_both_ways() {
    for (hex, dst) in [(MULTICAST, GROUP_V4), (UNICAST, "10.9.0.2".parse().unwrap())] {
        let s = listener(hex == UNICAST);
        assert_eq!(receive(&s, &unhex(hex)), Ok(s.advert()));
        assert_eq!(build(&s, dst, 1), unhex(hex));
    }
    assert_eq!(receive(&listener(true), &unhex(MULTICAST)), Err(Discard::Destination));
    assert_eq!(receive(&listener(false), &unhex(UNICAST)), Err(Discard::Destination));
}

/// Every bit, by region; `checksums` puts the message's checksum right again, so that only the ICV can tell.
fn flip_every_bit(hex: &str, checksums: bool) {
    let s = listener(hex == UNICAST);
    let good = unhex(hex);
    for bit in 0..good.len() * 8 {
        let (byte, mask) = (bit / 8, 0x80u8 >> (bit % 8));
        let mut bent = good.clone();
        bent[byte] ^= mask;
        if checksums {
            s.fix_checksum(&mut bent[MESSAGE..]);
            if bent == good {
                continue; // the checksum itself
            }
        }
        let got = receive(&s, &bent);
        let covered = if checksums { Discard::AuthIcv } else { Discard::Checksum };
        let why = match byte {
            // Version 4 with five words; six and more are options, fewer are broken.
            0 if mask >= 0x10 => Discard::IpHeader,
            0 if bent[0] & 15 < 5 => Discard::IpHeader,
            0 => Discard::AuthHeader,
            // Not covered: routers may change them, and the kernel checks the last.
            1 | 6 | 7 | 10 | 11 => {
                assert_eq!(got, Ok(s.advert()), "bit {bit}");
                continue;
            }
            // Longer than what came; or so short that there is no header, or that the message is cut off.
            2 | 3 => match u16::from_be_bytes([bent[2], bent[3]]) {
                65.. | ..20 => Discard::IpHeader,
                20..44 => Discard::AuthHeader,
                44..52 => Discard::Short,
                _ => Discard::Length,
            },
            4 | 5 => Discard::AuthIcv,
            8 => Discard::Ttl,
            9 => Discard::IpHeader,
            12..=15 => Discard::AuthIcv,
            16..=19 => Discard::Destination,
            20 | 21 => Discard::AuthHeader,
            // Reserved, SPI, sequence number, ICV.
            22..MESSAGE => Discard::AuthIcv,
            MESSAGE if mask >= 0x10 => Discard::Version,
            MESSAGE => Discard::Type,
            47 if bent[47] == 0 => Discard::CountZero,
            47 => Discard::Length,
            48 if checksums => Discard::AuthType,
            _ => covered,
        };
        assert_eq!(got, Err(why), "octet {byte}, bit {mask:#x}");
    }
}

#[test]
fn bit_flips() {
    for hex in [MULTICAST, UNICAST] {
        flip_every_bit(hex, false);
        flip_every_bit(hex, true);
    }
}

#[test]
fn truncations() {
    let s = listener(false);
    let good = unhex(MULTICAST);
    for len in 0..good.len() {
        let mut cut = good[..len].to_vec();
        assert_eq!(receive(&s, &cut), Err(Discard::IpHeader), "{len} octets");
        if len >= 20 {
            cut[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            let why = match len {
                20..44 => Discard::AuthHeader,
                44..52 => Discard::Short,
                _ => Discard::Length,
            };
            assert_eq!(receive(&s, &cut), Err(why), "{len} octets");
        }
    }
}

#[test]
fn wrong_keys_and_other_types() {
    let mut s = listener(false);
    let good = unhex(MULTICAST);
    for key in [*b"secret8\0", [0; 8], *b"Secret7\0"] {
        s.auth = Auth::Ah(key);
        assert_eq!(receive(&s, &good), Err(Discard::AuthIcv));
    }
    for auth in [Auth::None, Auth::Pass(KEY)] {
        s.auth = auth;
        assert_eq!(receive(&s, &good), Err(Discard::AuthType), "AH to who has none");
    }
    s.auth = Auth::Ah(KEY);
    let message = &good[MESSAGE..];
    assert_eq!(s.decode(message), Err(Discard::AuthType), "type 2 without the header");
    for auth in [Auth::None, Auth::Pass(KEY)] {
        s.auth = auth;
        let plain = s.encoded();
        s.auth = Auth::Ah(KEY);
        assert_eq!(s.decode(&plain), Err(Discard::AuthType), "none or a password to who has AH");
    }
    // An authentication header before v3.
    let mut three = s.clone();
    three.version = Version::V3;
    let mut packet = good[..MESSAGE].to_vec();
    packet.extend(three.encoded());
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    crate::wire::ah::seal(&mut packet, &KEY);
    assert_eq!(receive(&three, &packet), Err(Discard::AuthType));
}

/// The SPI is under the ICV, and must be the source all the same: who has the key is who it says it is.
#[test]
fn another_spi() {
    let s = listener(false);
    let mut packet = unhex(MULTICAST);
    packet[27] ^= 1;
    crate::wire::ah::seal(&mut packet, &KEY);
    assert_eq!(receive(&s, &packet), Err(Discard::AuthIcv));
}

#[test]
fn replays() {
    let mut s = listener(false);
    let one = unhex(MULTICAST);
    assert!(receive(&s, &one).is_ok());
    s.replay.accept(peer(), 1);
    assert_eq!(receive(&s, &one), Err(Discard::AuthReplay));
    let two = build(&s, GROUP_V4, 2);
    assert!(receive(&s, &two).is_ok());
    // A forged number is no number: the ICV is asked first.
    let mut forged = two.clone();
    forged[31] = 200;
    assert_eq!(receive(&s, &forged), Err(Discard::AuthIcv));
}

/// Options: some would be under the ICV and some not, and nobody sends any.
#[test]
fn ip_options() {
    let s = listener(false);
    let mut packet = unhex(MULTICAST);
    packet.splice(20..20, [0x94, 4, 0, 0]); // router alert
    packet[0] = 0x46;
    packet[3] += 4;
    assert_eq!(receive(&s, &packet), Err(Discard::AuthHeader));
    packet[16] = 225;
    assert_eq!(receive(&s, &packet), Err(Discard::Destination), "the network layer is told first");
}

proptest::proptest! {
    #[test]
    fn never_panics(mut bytes: Vec<u8>, cut in 0usize..70) {
        let s = listener(false);
        let _ = demux::receive(&bytes);
        let mut packet = unhex(MULTICAST);
        packet.truncate(cut);
        packet.append(&mut bytes);
        if packet.len() >= 20 {
            let len = packet.len() as u16;
            packet[2..4].copy_from_slice(&len.to_be_bytes());
        }
        let _ = receive(&s, &packet);
        crate::wire::ah::seal(&mut packet, &KEY);
        let _ = receive(&s, &packet);
    }
}
