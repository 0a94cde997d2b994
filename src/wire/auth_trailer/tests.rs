use super::*;

/// One advert that keepalived made: what its HMAC covers, its key, and its payload.
struct Vector {
    version: u8,
    src: &'static str,
    key_id: u8,
    key: &'static [u8],
    message: &'static str,
    trailer: &'static str,
}

const fn run<const N: usize>(first: u8) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = first + i as u8;
        i += 1;
    }
    out
}

const K1: &[u8] = &run::<32>(0);
const K2: &[u8] = &run::<48>(0xa0);
const K8: &[u8] = &run::<32>(0x80);
const K64: &[u8] = &run::<64>(0x40);
const PHRASE: &[u8] = b"correct-horse-battery-staple-of-39-chars";

/// keepalived's own test.
const KA: Vector = Vector {
    version: 3,
    src: "198.51.100.10",
    key_id: 1,
    key: K1,
    message: "3133c80100644402c0000264",
    trailer: "0101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265",
};
const KA6: Vector = Vector {
    src: "fe80::10",
    message: "3133c8010064a2e9fe800000000000000000000000000100",
    trailer: "010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78",
    ..KA
};
/// What a running keepalived 2.4.3 sent.
const V2: Vector = Vector {
    version: 2,
    src: "192.168.30.116",
    message: "213d640100019b31c0a81ee60000000000000000",
    trailer: "010100006b0d755ec19e0000fb57f09a66e76fcfd8625801f11ed4d6",
    ..KA
};
const UNICAST: Vector = Vector {
    src: "192.168.30.116",
    message: "314064010064cc14c0a81ee6",
    key: K8,
    trailer: "010100006b0d757a883c00003bc6378bdfd33b36a7fba5cbf4bc62ae",
    ..KA
};

const VECTORS: &[Vector] = &[
    KA,
    KA6,
    V2,
    Vector {
        message: "213d00010001ff31c0a81ee60000000000000000",
        trailer: "010100006b0d7561fb95000041b43a255f6fe2b1787bfff9305359a3",
        ..V2
    },
    Vector {
        src: "192.168.30.116",
        message: "313e96020032b9bec0a81ee6c0a81ee7",
        key_id: 5,
        key: PHRASE,
        trailer: "010500006b0d75a2863e0000fa5200ff9fe30741394517796bf01aae",
        ..KA
    },
    Vector {
        src: "fe80::70ac:80ff:feff:afb6",
        message: "313fc8020064cdc7fe80000000000000000000000000023020010db8000000000000000000000230",
        key_id: 255,
        key: K64,
        trailer: "01ff00006b0d757117ec0000e88229c5663ed26f74c6a483e7572349",
        ..KA
    },
    UNICAST,
    Vector {
        key_id: 2,
        key: K2,
        trailer: "010200006b0d757de23200000e472846b7992a81cdc2afa179bb4bc8",
        ..UNICAST
    },
];

impl Vector {
    fn key(&self) -> [u8; BLOCK] {
        let mut key = [0; BLOCK];
        key[..self.key.len()].copy_from_slice(self.key);
        key
    }

    fn message(&self) -> Vec<u8> {
        unhex(self.message)
    }

    fn pseudo(&self) -> Pseudo {
        Pseudo { version: self.version, vrid: self.message()[1], src: self.src.parse().unwrap() }
    }

    /// Whether this key finds its payload genuine, with `bytes` as its trailer.
    fn verifies(&self, pseudo: &Pseudo, message: &[u8], trailer: &[u8]) -> bool {
        Trailer::parse(trailer).unwrap().verify(&self.key(), pseudo, message)
    }
}

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn golden_both_ways() {
    for v in VECTORS {
        let trailer = unhex(v.trailer);
        let t = Trailer::parse(&trailer).unwrap();
        assert!(t.is_well_formed());
        assert_eq!(t.key_id(), v.key_id);
        assert!(v.verifies(&v.pseudo(), &v.message(), &trailer), "{}", v.message);
        let mut out = [&[1, 2, 3], &v.message()[..]].concat();
        append(&mut out, 3, v.key_id, &v.key(), &v.pseudo(), t.sequence());
        assert_eq!(out, [&[1, 2, 3], &v.message()[..], &trailer].concat());
    }
    let at = Trailer::parse(&unhex(KA.trailer)).unwrap().sequence();
    assert_eq!(at, Sequence(0x6800_0000_8000_0000));
}

/// Every bit of message and trailer counts, but those of the checksum, and of the trailer's key id, which
/// chooses the key.
#[test]
fn bit_flips() {
    for v in VECTORS {
        let (pseudo, message, trailer) = (v.pseudo(), v.message(), unhex(v.trailer));
        for bit in 0..message.len() * 8 {
            let mut bent = message.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let checksum = [6, 7].contains(&(bit / 8));
            assert_eq!(v.verifies(&pseudo, &bent, &trailer), checksum, "octet {}", bit / 8);
        }
        for bit in 0..trailer.len() * 8 {
            let mut bent = trailer.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(!v.verifies(&pseudo, &message, &bent), "octet {} of the trailer", bit / 8);
            let malformed = [0, 2, 3].contains(&(bit / 8));
            assert_eq!(!Trailer::parse(&bent).unwrap().is_well_formed(), malformed);
        }
    }
}

#[test]
fn another_sender_router_version_or_key() {
    let (message, trailer) = (KA6.message(), unhex(KA6.trailer));
    let pseudo = KA6.pseudo();
    for other in [
        Pseudo { src: "fe80::20".parse().unwrap(), ..pseudo },
        Pseudo { vrid: 52, ..pseudo },
        Pseudo { version: 2, ..pseudo },
    ] {
        assert!(!KA6.verifies(&other, &message, &trailer), "{other:?}");
    }
    assert!(!Vector { key: K8, ..KA6 }.verifies(&pseudo, &message, &trailer));
    // 4 octets of an IPv4 address, and the same ones as the beginning of an IPv6 address.
    let v4 = KA.pseudo();
    let v6 = Pseudo { src: "c633:640a::".parse().unwrap(), ..v4 };
    assert!(KA.verifies(&v4, &KA.message(), &unhex(KA.trailer)));
    assert!(!KA.verifies(&v6, &KA.message(), &unhex(KA.trailer)));
}

#[test]
fn lengths() {
    let trailer = unhex(KA.trailer);
    assert!(Trailer::parse(&trailer[1..]).is_none());
    assert!(Trailer::parse(&[&trailer[..], &[0]].concat()).is_none());
    // A message that is no message is still hashed without a panic.
    for len in 0..9 {
        assert!(!KA.verifies(&KA.pseudo(), &KA.message()[..len], &trailer));
    }
}

#[test]
fn the_sequence_is_a_time() {
    let at = |s, ns| Sequence::at(Duration::new(s, ns));
    assert_eq!(at(0x6800_0000, 500_000_000), Sequence(0x6800_0000_8000_0000));
    assert_eq!(at(7, 0), Sequence(7 << 32));
    assert_eq!(at(7, 999_999_999), Sequence(7 << 32 | 0xffff_0000));
    assert_eq!(at(7, 15_258), Sequence(7 << 32), "below 1/65536 s");
    assert_eq!(at(7, 15_259), Sequence(7 << 32 | 0x1_0000));
    assert_eq!(at((1 << 32) + 7, 0), at(7, 0), "modulo 2^32");
    assert_eq!(at(7, 0).seconds(), 7);
    assert_eq!(Sequence(7 << 32 | 0xffff_ffff).next(), at(8, 0), "the counter carries");
    assert_eq!(Sequence(u64::MAX).next(), Sequence(0));
}

#[test]
fn the_order_is_circular() {
    let (old, new) = (Sequence(1 << 32), Sequence(2 << 32));
    assert!(new.is_after(old) && !old.is_after(new) && !old.is_after(old));
    assert!(Sequence(3).is_after(Sequence(u64::MAX - 3)), "over the wrap");
    assert!(!Sequence(u64::MAX - 3).is_after(Sequence(3)));
    assert_eq!(new.seconds_ahead_of(old), 1);
    assert_eq!(old.seconds_ahead_of(new), -1);
    assert_eq!(Sequence(0).seconds_ahead_of(Sequence(u64::MAX)), 1);
}
