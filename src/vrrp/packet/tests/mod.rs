use super::*;
use crate::config::Auth;
use crate::vrrp::replay::Replay;

mod ah;
mod hmac;
mod ladder;
mod properties;
mod vectors;

use vectors::{VECTORS, Vector};

/// An instance with its addresses parsed, to borrow an [`Expect`] or an [`Outgoing`] from.
#[derive(Clone, Debug)]
struct Scene {
    version: Version,
    vrid: u8,
    priority: u8,
    interval: Duration,
    auth: Auth,
    vips: Vec<IpAddr>,
    peers: Vec<IpAddr>,
    own: Option<IpAddr>,
    unicast: bool,
    replay: Replay,
    src: IpAddr,
    dst: IpAddr,
    plain: bool,
    bytes: Vec<u8>,
}

impl Scene {
    fn of(v: &Vector) -> Scene {
        let src: IpAddr = v.src.parse().unwrap();
        Scene {
            version: v.version,
            vrid: v.vrid,
            priority: v.priority,
            interval: Duration::from_millis(v.interval_ms),
            auth: v.pass.map_or(Auth::None, Auth::Pass),
            vips: v.vips.iter().map(|a| a.parse().unwrap()).collect(),
            peers: Vec::new(),
            own: None,
            unicast: false,
            replay: Replay::default(),
            src,
            dst: if src.is_ipv4() { GROUP_V4.into() } else { GROUP_V6.into() },
            plain: v.plain,
            bytes: unhex(v.hex),
        }
    }

    fn carrier(&self) -> IpInfo {
        IpInfo { src: self.src, dst: self.dst, ttl: 255 }
    }

    fn expect(&self) -> Expect<'_> {
        Expect {
            version: self.version,
            advert_int: self.interval,
            own_addr: self.own,
            unicast: self.unicast,
            vips: &self.vips,
            peers: &self.peers,
        }
    }

    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            version: self.version,
            vrid: self.vrid,
            interval: self.interval,
            vips: &self.vips,
            src: self.src,
            dst: self.dst,
            v3_checksum_as_v2: self.plain,
        }
    }

    fn advert(&self) -> Advert {
        let notes = Notes { checksum_without_pseudo_header: self.plain, ..Notes::default() };
        Advert { vrid: self.vrid, priority: self.priority, interval: self.interval, src: self.src, notes }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, &self.outgoing(), &self.authentication().fields(), self.priority);
        out
    }

    fn decode(&self, bytes: &[u8]) -> Result<Advert, Discard> {
        self.decode_as(&self.carrier(), bytes)
    }

    fn decode_as(&self, info: &IpInfo, bytes: &[u8]) -> Result<Advert, Discard> {
        let preamble = preamble(info, bytes)?;
        let r = Received { info: *info, ah: None, message: bytes, preamble };
        decode(&r, Duration::ZERO, &self.expect(), &mut self.authentication())
    }

    /// As after a restart, if there is anything to remember.
    fn authentication(&self) -> Authentication {
        let mut auth = Authentication::new(&self.auth);
        let file = (self.replay.last() > 0).then(|| self.replay.render());
        auth.restore(file.as_deref());
        auth
    }

    /// `bytes` with its checksum put right.
    fn decode_fixed(&self, mut bytes: Vec<u8>) -> Result<Advert, Discard> {
        self.fix_checksum(&mut bytes);
        self.decode(&bytes)
    }

    fn fix_checksum(&self, bytes: &mut [u8]) {
        if bytes.len() < 8 {
            return;
        }
        bytes[6..8].fill(0);
        let sum = match self.version {
            Version::V3 if !self.plain => v3_checksum(&self.src, &self.dst, bytes),
            _ => ones_complement(&[bytes]),
        };
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    }
}

fn scenes() -> impl Iterator<Item = Scene> {
    VECTORS.iter().map(Scene::of)
}

/// One of the vectors, by its place in the table.
fn scene(i: usize) -> Scene {
    Scene::of(&VECTORS[i])
}

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn golden_both_ways() {
    for s in scenes() {
        assert_eq!(s.encoded(), s.bytes);
        assert_eq!(usize::from(s.outgoing().message_len()), s.bytes.len());
        assert_eq!(s.decode(&s.bytes), Ok(s.advert()));
        assert_eq!(preamble(&s.carrier(), &s.bytes), Ok(Preamble { version: s.version, vrid: s.vrid }));
    }
}

#[test]
fn encode_appends() {
    let s = scene(0);
    let mut out = vec![1, 2, 3];
    encode(&mut out, &s.outgoing(), &s.authentication().fields(), s.priority);
    assert_eq!(out[..3], [1, 2, 3]);
    assert_eq!(out[3..], s.bytes);
}

/// keepalived in unicast mode; and who may hear what.
#[test]
fn unicast() {
    let mut s = Scene::of(VECTORS.iter().find(|v| v.hex == "31336401006475610a090064").unwrap());
    let (group, own): (IpAddr, IpAddr) = (s.dst, "10.9.0.2".parse().unwrap());
    s.dst = own;
    assert_eq!(s.encoded(), unhex("3133640100644b690a090064"));
    let bytes = s.encoded();
    assert_eq!(s.decode(&bytes), Err(Discard::Destination), "unicast to a multicast instance");
    s.unicast = true;
    assert_eq!(s.decode(&bytes), Ok(s.advert()), "no address yet: the kernel says that it is for this host");
    s.own = Some("10.9.0.3".parse().unwrap());
    assert_eq!(s.decode(&bytes), Err(Discard::Destination), "to another address of ours");
    s.own = Some(own);
    assert_eq!(s.decode(&bytes), Ok(s.advert()));
    s.peers = vec!["10.9.0.7".parse().unwrap()];
    assert_eq!(s.decode(&bytes), Err(Discard::UnknownPeer));
    s.peers.push(s.src);
    assert_eq!(s.decode(&bytes), Ok(s.advert()));
    let far = IpInfo { ttl: 254, ..s.carrier() };
    assert_eq!(s.decode_as(&far, &bytes), Err(Discard::Ttl));
    s.dst = group;
    assert_eq!(s.decode(&s.encoded()), Err(Discard::Destination), "multicast to a unicast instance");
    for dst in ["224.0.0.1", "255.255.255.255", "ff02::1"] {
        s.dst = dst.parse().unwrap();
        assert_eq!(preamble(&s.carrier(), &bytes), Err(Discard::Destination), "{dst} is nobody's");
    }
}

#[test]
fn truncations() {
    for s in scenes() {
        for n in 0..s.bytes.len() {
            let why = if n < 8 { Discard::Short } else { Discard::Length };
            assert_eq!(s.decode(&s.bytes[..n]), Err(why), "{n} octets");
        }
    }
}

#[test]
fn bit_flips() {
    for s in scenes() {
        for bit in 0..s.bytes.len() * 8 {
            let (byte, mask) = (bit / 8, 0x80 >> (bit % 8));
            let mut flipped = s.bytes.clone();
            flipped[byte] ^= mask;
            let why = match (byte, mask) {
                (0, 0x10..) => Discard::Version,
                (0, _) => Discard::Type,
                (3, _) if flipped[3] == 0 => Discard::CountZero,
                (3, _) => Discard::Length,
                _ => Discard::Checksum,
            };
            assert_eq!(s.decode(&flipped), Err(why), "bit {bit}");
        }
    }
}

/// With the checksum put right a flip is accepted only where nothing is compared: VRID (the demultiplexer's
/// part), priority, addresses (a note), the reserve bits of v3 and the auth data of v2 with type 0.
#[test]
fn bit_flips_with_checksum() {
    for s in scenes() {
        let list = 8..s.bytes.len() - usize::from(auth_len(s.version));
        for bit in 0..s.bytes.len() * 8 {
            let (byte, mask) = (bit / 8, 0x80 >> (bit % 8));
            let mut flipped = s.bytes.clone();
            flipped[byte] ^= mask;
            let v3 = s.version == Version::V3;
            let mut want = s.advert();
            let got = s.decode_fixed(flipped.clone());
            match byte {
                1 => want.vrid = flipped[1],
                2 => want.priority = flipped[2],
                4 if v3 && mask >= 0x10 => {}
                4 | 5 if v3 => {
                    want.interval = centiseconds(u16::from_be_bytes([flipped[4] & 15, flipped[5]]));
                    want.notes.interval_differs = true;
                }
                6 | 7 => {} // put right again
                _ if list.contains(&byte) => {
                    want.notes.address_list_differs = true;
                    want.notes.first_not_link_local =
                        s.src.is_ipv6() && (byte == 8 || (byte == 9 && mask >= 0x40));
                }
                _ if byte >= list.end && s.auth == Auth::None => {}
                _ => {
                    let why = match byte {
                        0 if mask >= 0x10 => Discard::Version,
                        0 => Discard::Type,
                        3 if flipped[3] == 0 => Discard::CountZero,
                        3 => Discard::Length,
                        4 => Discard::AuthType,
                        5 if flipped[5] == 0 => Discard::IntervalZero,
                        5 => Discard::Interval,
                        _ => Discard::AuthPass,
                    };
                    assert_eq!(got, Err(why), "bit {bit}");
                    continue;
                }
            }
            assert_eq!(got, Ok(want), "bit {bit}");
        }
    }
}

/// 255 IPv6 addresses, 4088 octets; and counts that lie.
#[test]
fn counts() {
    let mut s = Scene::of(VECTORS.iter().find(|v| v.src.starts_with("fe80")).unwrap());
    s.vips = (0..300u128).map(|i| IpAddr::V6((0xfe80 << 112 | 0x1000 | i).into())).collect();
    let bytes = s.encoded();
    assert_eq!(bytes.len(), 4088);
    assert_eq!(s.outgoing().message_len(), 4088);
    s.vips.truncate(255);
    assert_eq!(s.decode(&bytes), Ok(s.advert()));
    s.vips.truncate(254);
    assert!(s.decode(&bytes).unwrap().notes.address_count_differs);

    for s in scenes() {
        for (count, why) in [(0, Discard::CountZero), (255, Discard::Length)] {
            let mut b = s.bytes.clone();
            b[3] = count;
            assert_eq!(s.decode_fixed(b), Err(why));
        }
        for lie in [-1i8, 1] {
            let mut b = s.bytes.clone();
            b[3] = b[3].wrapping_add_signed(lie);
            let why = if b[3] == 0 { Discard::CountZero } else { Discard::Length };
            assert_eq!(s.decode_fixed(b), Err(why));
        }
        // v3 with v2's trailer, v2 with twice that: length, not checksum.
        let longer = [&s.bytes[..], &[0; 8]].concat();
        assert_eq!(s.decode(&longer), Err(Discard::Length));
    }
}

#[test]
fn intervals() {
    let mut s = Scene::of(VECTORS.iter().find(|v| v.version == Version::V3 && !v.plain).unwrap());
    for (ms, sent) in [(0, 10), (9, 10), (10, 10), (19, 10), (40_950, 40_950), (1 << 40, 40_950)] {
        s.interval = Duration::from_millis(ms);
        assert_eq!(s.decode(&s.encoded()).unwrap().interval, Duration::from_millis(sent));
    }
    s.interval = Duration::from_millis(40_950);
    let mut b = s.encoded();
    assert_eq!(b[4..6], [0x0f, 0xff]);
    b[4] |= 0xf0;
    assert_eq!(s.decode_fixed(b.clone()), Ok(s.advert()), "reserve bits");
    b[4..6].copy_from_slice(&[0xf0, 0]);
    assert_eq!(s.decode_fixed(b), Err(Discard::IntervalZero));

    let mut s = scene(0);
    for (secs, sent) in [(0, 1), (1, 1), (255, 255), (256, 255), (u64::MAX, 255)] {
        s.interval = Duration::from_secs(secs);
        assert_eq!(s.encoded()[5], sent);
    }
    s.interval = Duration::from_secs(2);
    assert_eq!(s.decode(&s.bytes), Err(Discard::Interval));
}

#[test]
fn addresses_are_a_set() {
    let mut s = Scene::of(VECTORS.iter().find(|v| v.vips.len() == 2).unwrap());
    s.vips.reverse();
    assert_eq!(s.decode(&s.bytes), Ok(s.advert()), "any order");
    s.vips[0] = "192.0.2.9".parse().unwrap();
    let notes = s.decode(&s.bytes).unwrap().notes;
    assert!(notes.address_list_differs && !notes.address_count_differs);
    s.vips.pop();
    let notes = s.decode(&s.bytes).unwrap().notes;
    assert!(!notes.address_list_differs && notes.address_count_differs);
}

#[test]
fn own_and_bad_sources() {
    let mut s = scene(0);
    s.own = Some(s.src);
    assert_eq!(s.decode(&s.bytes), Err(Discard::OwnSource));
    s.own = None;
    for src in ["0.0.0.0", "224.0.0.18", "10.0.1.5"] {
        s.src = src.parse().unwrap();
        assert_eq!(s.decode(&s.bytes), Err(Discard::BadSource), "{src}");
    }
    // The owner of 10.0.1.5 sends from it.
    s.priority = 255;
    assert_eq!(s.decode(&s.encoded()), Ok(s.advert()));
    s.peers = vec!["10.0.1.7".parse().unwrap()];
    assert_eq!(s.decode(&s.encoded()), Err(Discard::UnknownPeer));
    s.peers.push(s.src);
    assert_eq!(s.decode(&s.encoded()), Ok(s.advert()));
}

#[test]
fn passwords() {
    let s = Scene::of(VECTORS.iter().find(|v| v.pass == Some(*b"secret7\0")).unwrap());
    let mut mine = s.clone();
    for wrong in [*b"secret\0\0", *b"secret7x", *b"Secret7\0", [0; 8]] {
        mine.auth = Auth::Pass(wrong);
        assert_eq!(mine.decode(&s.bytes), Err(Discard::AuthPass));
    }
    mine.auth = Auth::None;
    assert_eq!(mine.decode(&s.bytes), Err(Discard::AuthType));
    assert_eq!(s.decode(&mine.encoded()), Err(Discard::AuthType));
}

/// A router of one version hears an advert of the other: no group speaks both.
#[test]
fn other_version() {
    for s in scenes() {
        let mut mine = s.clone();
        mine.version = if s.version == Version::V2 { Version::V3 } else { Version::V2 };
        assert_eq!(mine.decode(&s.bytes), Err(Discard::Version));
    }
    // v2 over IPv6 does not exist.
    let mut s = scene(0);
    s.src = "fe80::1".parse().unwrap();
    s.dst = GROUP_V6.into();
    assert_eq!(s.decode(&s.bytes), Err(Discard::Version));
}

/// keepalived does not mind, and to refuse it would make two masters.
#[test]
fn first_address_not_link_local() {
    let mut s = Scene::of(VECTORS.iter().find(|v| v.src.starts_with("fe80")).unwrap());
    s.vips.reverse();
    let mut want = s.advert();
    want.notes.first_not_link_local = true;
    assert_eq!(s.decode(&s.encoded()), Ok(want));
}

#[test]
fn vips_of_the_other_family_are_not_sent() {
    let mut s = scene(0);
    s.vips.push("2001:db8::1".parse().unwrap());
    assert_eq!(s.encoded(), s.bytes);
}

#[test]
fn discards_are_numbered_and_named() {
    let mut names = std::collections::HashSet::new();
    for (i, d) in Discard::ALL.into_iter().enumerate() {
        assert_eq!(d.index(), i);
        assert!(names.insert(d.name()));
    }
    assert_eq!(names.len(), Discard::Interval.index() + 1);
}
