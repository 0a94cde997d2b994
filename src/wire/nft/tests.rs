use super::build::{Base, Verdict};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A message of the kernel: type, sequence number, family, attributes.
fn message(kind: u16, seq: u32, family: u8, attrs: &[u8]) -> Vec<u8> {
    let mut m = (20 + attrs.len() as u32).to_ne_bytes().to_vec();
    m.extend(kind.to_ne_bytes());
    m.extend([0; 2]);
    m.extend(seq.to_ne_bytes());
    m.extend([0; 4]);
    m.extend([family, 0, 0, 7]);
    m.extend(attrs);
    m
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut a = Vec::new();
    crate::wire::rtnl::attr(&mut a, kind, &[value]);
    a
}

#[test]
#[cfg(target_endian = "little")]
fn request_bytes() {
    let mut buf = vec![1, 2, 3];
    let mut b = Batch::begin(&mut buf, 1);
    b.table(Family::Inet, OWNED);
    b.lease(Family::Netdev, "l233", 2976, 1500);
    b.rule(Family::Inet, "a233");
    b.payload(Base::Transport, 2, 1, 1);
    b.equal(&[0]);
    b.verdict(Verdict::Return, None);
    b.end_rule();
    b.rule(Family::Inet, "a233");
    b.meta(build::Meta::Mark);
    b.update("l233", 2976);
    b.end_rule();
    assert_eq!(b.end(), 5);
    let want = [
        "1400000010000100010000000000000000 00000a",
        "28000000000a01040200000000000000 01000000 0900010076697064000000000800020000000006",
        "58000000 0c0a01040300000000000000 05000000 09000100766970640000000009000200 6c32333300000000",
        "2c000380 28000180 0c000180 0800010000000000 0c0004000000000000000ba0 0c00050000000000000005dc",
        "c0000000 060a010c0400000000000000 01000000 09000100766970640000000009000200 6132333300000000",
        "94000480 34000180 0c0001007061796c6f616400 24000280 0800010000000001 0800020000000002",
        "0800030000000002 0800040000000001 2c000180 08000100636d7000 20000280 0800010000000001",
        "0800020000000000 0c000380 0500010000000000 30000180 0e000100696d6d656469617465000000",
        "1c000280 0800010000000000 10000280 0c000280 08000100fffffffb",
        "90000000 060a050c0500000000000000 01000000 09000100766970640000000009000200 6132333300000000",
        "64000480 24000180 090001006d65746100000000 14000280 0800020000000003 0800010000000001",
        "3c000180 0b00010064796e7365740000 2c000280 090001006c32333300000000 0800030000000001",
        "0800040000000001 0c0006000000000000000ba0",
        "1400000011000100060000000000000000 00000a",
    ];
    assert_eq!(hex(&buf), want.concat().replace(' ', ""));
}

#[test]
fn names_are_those_of_the_key() {
    let mut buf = Vec::new();
    get(&mut buf, 9, Family::Inet, Key::new(2, true, 51));
    assert!(buf.windows(6).any(|w| w == b"l533\0\0"), "2 << 9 | 1 << 8 | 51");
    // The largest of all.
    get(&mut buf, 9, Family::Inet, Key::new(u32::MAX, true, 255));
    assert!(buf.windows(13).any(|w| w == b"l1ffffffffff\0"));
    assert_ne!(Key::new(1, false, 255), Key::new(1, true, 255));
}

#[test]
fn one_address_or_key_of_two_routers_is_there_once() {
    let router = |vips: &[&str]| Router {
        key: Key::new(2, false, 51),
        ifindex: 2,
        wire: 2,
        vrid: 51,
        v6: false,
        ah: false,
        term: 100,
        vips: vips.iter().map(|v| (v.parse().unwrap(), 2)).collect(),
    };
    let bytes = |routers| {
        let plan = Plan { routers, ..Plan::default() };
        let mut buf = Vec::new();
        let mut b = Batch::begin(&mut buf, 0);
        replace(&mut b, 0, &plan, &|_| Some(50));
        b.end();
        buf
    };
    let one = bytes(vec![router(&["192.0.2.1", "fe80::1"])]);
    assert_eq!(one, bytes(vec![router(&["192.0.2.1", "fe80::1"]), router(&["fe80::1", "192.0.2.1"])]));
    assert_ne!(one, bytes(vec![router(&["192.0.2.1", "fe80::1"]), router(&["192.0.2.2"])]));
}

#[test]
fn answers() {
    let rest = attr(5, &1500u64.to_be_bytes());
    let element = attr(3 | 0x8000, &attr(1 | 0x8000, &[attr(1, &[0; 8]), rest].concat()));
    let mut all = message(0x0a0c, 7, 1, &[attr(1, b"vipd\0"), element].concat());
    all.extend(message(0x0a0c, 8, 1, &attr(1, b"vipd\0")));
    all.extend(message(0x0a00, 9, 1, &attr(1, b"vipd\0")));
    for (family, name) in [(1, "vipd\0"), (5, "vipd\0"), (3, "vipd\0"), (1, "vipd2\0"), (1, "")] {
        all.extend(message(0x0a02, 0, family, &attr(1, name.as_bytes())));
    }
    let generation = [attr(1, &[0; 4]), attr(2, &77u32.to_be_bytes()), attr(3, b"nft\0")].concat();
    all.extend(message(0x0a0f, 0, 0, &generation));
    let mut error = message(2, 10, 0, &[]);
    error[16..20].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
    all.extend(&error);
    all.extend(&error[..19]);
    let want = [
        Msg::Element { seq: 7, rest: Some(1500) },
        Msg::Element { seq: 8, rest: None },
        Msg::Table { seq: 9 },
        Msg::TableGone,
        Msg::TableGone,
        Msg::Other,
        Msg::Other,
        Msg::Other,
        Msg::Generation { pid: 77, name: IfName::from_bytes(b"nft") },
        Msg::Ack { seq: 10, errno: libc::ENOENT },
        Msg::Overrun,
    ];
    assert_eq!(messages(&all).collect::<Vec<_>>(), want);
}
