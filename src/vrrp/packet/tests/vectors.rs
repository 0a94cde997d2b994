//! Messages that others have made or accepted: those of keepalived were recorded, the rest computed
//! independently.

use crate::config::Version::{self, V2, V3};

pub struct Vector {
    pub version: Version,
    pub vrid: u8,
    pub priority: u8,
    pub interval_ms: u64,
    pub pass: Option<[u8; 8]>,
    pub src: &'static str,
    pub vips: &'static [&'static str],
    /// v3 over IPv4 with the checksum of the message only.
    pub plain: bool,
    pub hex: &'static str,
}

/// The common part of keepalived's.
const KA: Vector = Vector {
    version: V2,
    vrid: 51,
    priority: 100,
    interval_ms: 1000,
    pass: None,
    src: "10.9.0.1",
    vips: &["10.9.0.100"],
    plain: false,
    hex: "",
};

/// Two addresses, VRID 10.
const TWO: Vector =
    Vector { vrid: 10, priority: 200, src: "192.0.2.251", vips: &["192.0.2.1", "192.0.2.2"], ..KA };

pub const VECTORS: &[Vector] = &[
    Vector {
        priority: 30,
        src: "10.0.1.1",
        vips: &["10.0.1.5"],
        hex: "21331e010001b5c50a0001050000000000000000",
        ..KA
    },
    Vector { hex: "210ac802000192edc0000201c00002020000000000000000", ..TWO },
    Vector {
        pass: Some(*b"secret\0\0"),
        src: "192.0.2.251",
        vips: &["192.0.2.1"],
        hex: "2133640101017b7cc00002017365637265740000",
        ..KA
    },
    Vector { version: V3, plain: true, hex: "310ac8020064828ac0000201c0000202", ..TWO },
    Vector { version: V3, hex: "310ac8020064defbc0000201c0000202", ..TWO },
    Vector {
        version: V3,
        vrid: 10,
        src: "fe80::c8",
        vips: &["fe80::1", "2001:db8::1"],
        hex: "310a640200643f5dfe80000000000000000000000000000120010db8000000000000000000000001",
        ..KA
    },
    // keepalived
    Vector { pass: Some(*b"secret7\0"), hex: "213364010101fc100a0900647365637265743700", ..KA },
    Vector { pass: Some(*b"secret7\0"), priority: 0, hex: "21330001010160110a0900647365637265743700", ..KA },
    Vector { pass: Some(*b"supersec"), hex: "213364010101b3ab0a0900647375706572736563", ..KA },
    Vector { version: V3, hex: "31336401006475610a090064", ..KA },
    Vector { version: V3, priority: 0, hex: "313300010064d9610a090064", ..KA },
    Vector { version: V3, plain: true, hex: "3133640100645ffa0a090064", ..KA },
];
