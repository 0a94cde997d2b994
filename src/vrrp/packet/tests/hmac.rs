//! Messages with an authentication trailer: those of keepalived, and what becomes of them when they are
//! changed.

use super::*;
use crate::config::{Hmac, HmacMode, Key};
use crate::vrrp::authentication::Copy;
use crate::wire::auth_trailer::{self, Pseudo, Sequence};

/// keepalived's own vectors: 2025-04-15 19:00:00.5 or so.
const V4: &str = "3133c80100644402c0000264010100006800000080000000\
    1b84bc4e8e43892dc6d98448f8ee2265";
const V6: &str = "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000\
    c8c56146ebfd66ee10ec4d8186461b78";
/// From a running one.
const V2: &str = "213d640100019b31c0a81ee60000000000000000010100006b0d755ec19e0000\
    fb57f09a66e76fcfd8625801f11ed4d6";
/// Octets of a trailer.
const TRAILER: usize = 28;

/// A receiver with a clock.
#[derive(Clone)]
struct Receiver {
    scene: Scene,
    auth: Authentication,
    wall: Duration,
}

fn key(id: u8, first: u8, len: u8) -> Key {
    Key::new(id, &(0..len).map(|n| first + n).collect::<Vec<u8>>()).unwrap()
}

fn cfg(time_window: Option<u32>, mode: HmacMode) -> Hmac {
    Hmac { keys: vec![key(1, 0, 32), key(2, 0xa0, 48)], active: 1, time_window, mode }
}

impl Receiver {
    /// One that the message is for, at the time at which it was made.
    fn of(hex: &str, cfg: Hmac) -> Receiver {
        let bytes = unhex(hex);
        let v6 = bytes.len() == 52;
        let (version, interval) = if bytes[0] == 0x21 { (Version::V2, 1000) } else { (Version::V3, 1000) };
        let (src, vip) = match hex {
            V2 => ("192.168.30.116", "192.168.30.230"),
            V6 => ("fe80::10", "fe80::100"),
            _ => ("198.51.100.10", "192.0.2.100"),
        };
        let auth = Authentication::new(&Auth::Hmac(Box::new(cfg)));
        let at = bytes.len() - TRAILER + 4;
        let seconds = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let scene = Scene {
            version,
            vrid: bytes[1],
            priority: bytes[2],
            interval: Duration::from_millis(interval),
            auth: Auth::None,
            vips: vec![vip.parse().unwrap()],
            peers: Vec::new(),
            own: None,
            unicast: false,
            replay: Replay::default(),
            src: src.parse().unwrap(),
            dst: if v6 { GROUP_V6.into() } else { GROUP_V4.into() },
            // Those of keepalived's test have the checksum of the message only, or none that is right.
            plain: hex == V4,
            bytes,
        };
        Receiver { scene, auth, wall: Duration::from_secs(seconds.into()) }
    }

    fn enforcing(hex: &str) -> Receiver {
        Receiver::of(hex, cfg(Some(5), HmacMode::Enforce))
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Advert, Discard> {
        let info = self.scene.carrier();
        let preamble = preamble(&info, bytes)?;
        let r = Received { info, ah: None, message: bytes, preamble };
        decode(&r, self.wall, &self.scene.expect(), &mut self.auth)
    }

    /// Without a memory of what it heard before.
    fn judge(&self, bytes: &[u8]) -> Result<Advert, Discard> {
        self.clone().hear(bytes)
    }

    /// What a sender with the same keys sends at this time.
    fn made(&self, sender: &mut Authentication, wall: Duration) -> Vec<u8> {
        let mut out = Vec::new();
        let copy = Copy { priority: self.scene.priority, ip_id: 1, again: false, wall };
        sender.seal(&mut out, &self.scene.outgoing(), &copy);
        if self.scene.src.is_ipv4() { out.split_off(20) } else { out }
    }

    /// Its octets with an HMAC of the first key that is right for them.
    fn signed(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = bytes.len() - TRAILER;
        let seq = u64::from_be_bytes(bytes[at + 4..at + 12].try_into().unwrap());
        bytes.truncate(at);
        let s = &self.scene;
        let pseudo = Pseudo { version: s.version.number(), vrid: s.vrid, src: s.src };
        auth_trailer::append(&mut bytes, 0, 1, key(1, 0, 32).octets(), &pseudo, Sequence(seq));
        bytes
    }
}

/// The checksum is not covered by the HMAC, and of keepalived's IPv6 vector not right either: put right, the
/// message is genuine.
fn fixed(r: &Receiver) -> Vec<u8> {
    let mut bytes = r.scene.bytes.clone();
    set_checksum(&mut bytes, &r.scene.outgoing());
    if r.scene.src.is_ipv4() {
        let len = bytes.len() - TRAILER;
        set_checksum(&mut bytes[..len], &r.scene.outgoing());
    }
    bytes
}

#[test]
fn golden_both_ways() {
    for hex in [V4, V2, V6] {
        let mut r = Receiver::enforcing(hex);
        let bytes = fixed(&r);
        if hex != V6 {
            assert_eq!(bytes, r.scene.bytes);
        }
        let mut sender = r.auth.clone();
        // At the time that the trailer says, to 1/65536 s.
        let fraction = u16::from_be_bytes(bytes[bytes.len() - 20..][..2].try_into().unwrap());
        let wall = r.wall + Duration::from_nanos((u64::from(fraction) * 1_000_000_000).div_ceil(65_536));
        assert_eq!(r.made(&mut sender, wall), bytes);
        assert_eq!(r.hear(&bytes), Ok(r.scene.advert()));
        assert_eq!(r.hear(&bytes), Err(Discard::HmacReplay));
    }
}

/// Every single bit of every message, and why it is refused.
#[test]
fn bit_flips() {
    for hex in [V4, V2, V6] {
        let r = Receiver::enforcing(hex);
        let good = fixed(&r);
        let trailer = good.len() - TRAILER;
        for bit in 0..good.len() * 8 {
            let (byte, mask) = (bit / 8, 0x80u8 >> (bit % 8));
            let mut bent = good.clone();
            bent[byte] ^= mask;
            let why = match byte {
                0 if mask >= 0x10 => Discard::Version,
                3 if bent[3] == 0 => Discard::CountZero,
                3 => Discard::Length,
                // Not covered by the HMAC, but by what it is.
                6 | 7 => Discard::Checksum,
                at if at < trailer => Discard::HmacInvalid,
                at => match at - trailer {
                    0 | 2 | 3 => Discard::HmacMalformed,
                    1 if bent[at] == 2 => Discard::HmacInvalid,
                    1 => Discard::HmacUnknownKey,
                    4..8 if u32::from_be_bytes(bent[trailer + 4..trailer + 8].try_into().unwrap())
                        .abs_diff(r.wall.as_secs() as u32)
                        > 5 =>
                    {
                        Discard::HmacStale
                    }
                    _ => Discard::HmacInvalid,
                },
            };
            assert_eq!(r.judge(&bent), Err(why), "octet {byte}, bit {mask:#x} of {hex}");
        }
    }
}

#[test]
fn another_source_router_or_key() {
    let r = Receiver::enforcing(V6);
    let good = fixed(&r);
    let mut other = r.clone();
    other.scene.src = "fe80::20".parse().unwrap();
    assert_eq!(other.judge(&good), Err(Discard::HmacInvalid));
    let mut renumbered = good.clone();
    renumbered[1] = 52;
    assert_eq!(r.judge(&renumbered), Err(Discard::HmacInvalid));
    let mut keys = cfg(Some(5), HmacMode::Enforce);
    keys.keys = vec![key(2, 0xa0, 48)];
    keys.active = 2;
    assert_eq!(Receiver::of(V6, keys).judge(&good), Err(Discard::HmacUnknownKey));
    let mut keys = cfg(Some(5), HmacMode::Enforce);
    keys.keys = vec![key(1, 1, 32)];
    assert_eq!(Receiver::of(V6, keys).judge(&good), Err(Discard::HmacInvalid));
}

/// Every rung before every later one.
#[test]
fn order() {
    const RUNGS: [Discard; 13] = [
        Discard::Ttl,
        Discard::Version,
        Discard::Length,
        Discard::HmacMissing,
        Discard::UnknownPeer,
        Discard::HmacMalformed,
        Discard::HmacStale,
        Discard::HmacUnknownKey,
        Discard::HmacInvalid,
        Discard::HmacReplay,
        Discard::Type,
        Discard::Checksum,
        Discard::Interval,
    ];
    for (i, &first) in RUNGS.iter().enumerate() {
        for &second in &RUNGS[i..] {
            if [first, second].contains(&Discard::HmacMissing) && second > Discard::HmacMissing {
                // There is no trailer that could be wrong.
                if first == Discard::HmacMissing && second < Discard::IntervalZero {
                    continue;
                }
            }
            let (r, info, bytes) = broken(&[first, second]);
            let preamble = preamble(&info, &bytes);
            let got = preamble.and_then(|preamble| {
                let packet = Received { info, ah: None, message: &bytes, preamble };
                decode(&packet, r.wall, &r.scene.expect(), &mut r.auth.clone())
            });
            assert_eq!(got, Err(first), "{first:?} before {second:?}");
        }
    }
}

/// A message of version 2 that breaks these rungs; its HMAC is right unless that is one of them.
fn broken(rungs: &[Discard]) -> (Receiver, IpInfo, Vec<u8>) {
    let mut r = Receiver::enforcing(V2);
    let mut info = r.scene.carrier();
    let mut bytes = fixed(&r);
    let at = bytes.len() - TRAILER;
    let has = |rung| rungs.contains(&rung);
    if has(Discard::Type) {
        bytes[0] = 0x22;
        let sum = r.scene.outgoing();
        set_checksum(&mut bytes[..at], &sum);
    }
    if has(Discard::Interval) {
        r.scene.interval = Duration::from_secs(7);
    }
    bytes = r.signed(bytes);
    if has(Discard::HmacReplay) {
        let mut heard = bytes.clone();
        heard[0] = 0x21;
        set_checksum(&mut heard[..at], &r.scene.outgoing());
        let heard = r.signed(heard);
        let _ = r.hear(&heard);
    }
    if has(Discard::Checksum) {
        bytes[7] ^= 1;
    }
    if has(Discard::HmacInvalid) {
        bytes[at + 20] ^= 1;
    }
    if has(Discard::HmacUnknownKey) {
        bytes[at + 1] = 77;
    }
    if has(Discard::HmacStale) {
        r.wall += Duration::from_secs(6);
    }
    if has(Discard::HmacMalformed) {
        bytes[at + 3] = 1;
    }
    if has(Discard::UnknownPeer) {
        r.scene.peers.push(r.scene.vips[0]);
    }
    if has(Discard::HmacMissing) {
        bytes.truncate(at);
    }
    if has(Discard::Length) {
        bytes.extend_from_slice(&[0; 2]);
    }
    if has(Discard::Version) {
        bytes[0] = 0x31 & bytes[0] | 0x30;
    }
    if has(Discard::Ttl) {
        info.ttl = 254;
    }
    (r, info, bytes)
}

/// keepalived takes 2 octets more for padding, and the message for one without a trailer.
#[test]
fn lengths() {
    for hex in [V4, V2, V6] {
        for mode in [HmacMode::Enforce, HmacMode::Permissive, HmacMode::ReceiveOnly] {
            let r = Receiver::of(hex, cfg(Some(5), mode));
            let good = fixed(&r);
            let message = good.len() - TRAILER;
            for len in 8..good.len() + 40 {
                let mut bytes = good.clone();
                bytes.resize(len, 0);
                let got = r.judge(&bytes);
                if len == good.len() {
                    assert_eq!(got, Ok(r.scene.advert()));
                } else if len == message && mode == HmacMode::Enforce {
                    assert_eq!(got, Err(Discard::HmacMissing));
                } else if len == message {
                    // Over IPv6 the checksum covered the trailer.
                    let why = got.err();
                    assert_eq!(why, (hex == V6).then_some(Discard::Checksum));
                } else {
                    assert_eq!(got, Err(Discard::Length), "{len}");
                }
            }
        }
    }
    // Who has no auth_hmac refuses every trailer.
    let r = Receiver::enforcing(V2);
    assert_eq!(r.scene.decode(&r.scene.bytes), Err(Discard::Length));
}

#[test]
fn modes() {
    let r = Receiver::enforcing(V4);
    let (good, plain) = (fixed(&r), r.scene.encoded());
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for (mode, unsigned, signs) in [
        (HmacMode::Enforce, Err(Discard::HmacMissing), true),
        (HmacMode::Permissive, Ok(r.scene.advert()), true),
        (HmacMode::ReceiveOnly, Ok(r.scene.advert()), false),
    ] {
        let r = Receiver::of(V4, cfg(Some(5), mode));
        assert_eq!(r.judge(&good), Ok(r.scene.advert()), "{mode:?}");
        assert_eq!(r.judge(&plain), unsigned, "{mode:?}");
        assert_eq!(r.judge(&bad), Err(Discard::HmacInvalid), "a bad one is refused: {mode:?}");
        let made = r.made(&mut r.auth.clone(), r.wall);
        assert_eq!(made.len(), plain.len() + if signs { TRAILER } else { 0 });
    }
}

#[test]
fn the_window_includes_its_ends_and_half_of_it_is_told_once() {
    for (window, seconds) in [(5, 5), (300, 300), (1, 1)] {
        for ahead in [true, false] {
            let mut r = Receiver::of(V4, cfg(Some(window), HmacMode::Enforce));
            let good = fixed(&r);
            let shift = |r: &mut Receiver, by: u64| {
                let by = Duration::from_secs(by);
                r.wall = if ahead { r.wall - by } else { r.wall + by };
            };
            shift(&mut r, seconds);
            let skew = if ahead { window as i32 } else { -(window as i32) };
            assert_eq!(r.judge(&good).map(|a| a.notes.clock_skew), Ok(skew));
            shift(&mut r, 1);
            assert_eq!(r.judge(&good), Err(Discard::HmacStale));
            let known = r.auth.hmac().and_then(|h| h.skew);
            assert_eq!(known, None, "judge forgets");
            assert_eq!(r.hear(&good), Err(Discard::HmacStale));
            let known = r.auth.hmac().and_then(|h| h.skew).map(|s| (s.seconds, s.stale));
            assert_eq!(known, Some((skew + skew.signum(), true)), "genuine, but for the clock");
            let mut forged = good.clone();
            forged[2] ^= 1;
            r.wall += Duration::from_secs(1000);
            assert_eq!(r.hear(&forged), Err(Discard::HmacStale));
            let after = r.auth.hmac().and_then(|h| h.skew).map(|s| (s.seconds, s.stale));
            assert_eq!(after, known, "a forgery does not change the status");
        }
    }
    // Half of 5 is 2: told at 3, and again only when it was 1 in between.
    let r = Receiver::enforcing(V4);
    let (mut sender, mut receiver) = (r.auth.clone(), r.clone());
    let mut told = Vec::new();
    for (n, skew) in [2, 3, 3, 2, 3, 1, 1, 3].into_iter().enumerate() {
        receiver.wall = r.wall + Duration::from_secs(n as u64);
        // A sender's sequence never goes back, so its clock is behind for a second.
        let bytes = r.made(&mut sender, receiver.wall + Duration::from_secs(skew));
        told.push(receiver.hear(&bytes).map_or(-1, |a| a.notes.clock_skew));
    }
    assert_eq!(told, [0, 3, 0, 0, 0, 0, 0, 3]);
}

#[test]
fn monotonic_has_no_clock() {
    let mut r = Receiver::of(V4, cfg(None, HmacMode::Enforce));
    let bytes = fixed(&r);
    r.wall = Duration::ZERO;
    assert_eq!(r.hear(&bytes), Ok(r.scene.advert()));
    r.wall = Duration::from_secs(4_000_000_000);
    assert_eq!(r.hear(&bytes), Err(Discard::HmacReplay), "the mark stays");
    // 1970 first, and then on: half of the range is before, half behind.
    let mut r = Receiver::of(V4, cfg(None, HmacMode::Enforce));
    let made = |secs: u64| r.made(&mut r.auth.clone(), Duration::from_secs(secs));
    let (one, half, wrapped) = (made(1), made(1 << 31), made((1 << 32) + 5));
    let last = made((1 << 32) - 1);
    assert_eq!(r.hear(&one).err(), None);
    assert_eq!(r.hear(&half).err(), None);
    assert_eq!(r.hear(&last).err(), None);
    assert_eq!(r.hear(&wrapped).err(), None, "over the wrap at 2^32");
    assert_eq!(r.hear(&last), Err(Discard::HmacReplay));
}

/// A refused checksum uses the sequence up all the same; a wrong HMAC does not.
#[test]
fn what_is_authentic_uses_up_its_sequence() {
    let mut r = Receiver::enforcing(V4);
    let good = fixed(&r);
    let mut forged = good.clone();
    forged[good.len() - 1] ^= 1;
    assert_eq!(r.hear(&forged), Err(Discard::HmacInvalid));
    let mut bent = good.clone();
    bent[7] ^= 1;
    assert_eq!(r.hear(&bent), Err(Discard::Checksum));
    assert_eq!(r.hear(&good), Err(Discard::HmacReplay));
}

/// Version 2 with authentication of another kind beside a trailer that is right.
#[test]
fn the_auth_type_is_none() {
    let r = Receiver::enforcing(V2);
    let mut bytes = fixed(&r);
    bytes[4] = 1;
    let at = bytes.len() - TRAILER;
    set_checksum(&mut bytes[..at], &r.scene.outgoing());
    assert_eq!(r.judge(&r.signed(bytes)), Err(Discard::AuthType));
}

proptest::proptest! {
    #[test]
    fn never_panics(i in 0..3usize, mut bytes: Vec<u8>, cut in 0usize..80, secs: u64) {
        let mut r = Receiver::enforcing([V4, V2, V6][i]);
        let mut all = fixed(&r);
        all.truncate(cut);
        all.append(&mut bytes);
        r.wall = Duration::from_secs(secs);
        let _ = r.hear(&all);
        let _ = crate::vrrp::authentication::detail(Discard::HmacStale, &all, r.wall);
    }
}
