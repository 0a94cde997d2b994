use super::*;
use proptest::prelude::*;

const FOREVER: u32 = u32::MAX;

fn spec(addr: &str) -> AddrSpec<'static> {
    let addr: IpAddr = addr.parse().unwrap();
    let prefix = if addr.is_ipv4() { 24 } else { 64 };
    AddrSpec { ifindex: 3, addr, prefix, lifetime: None, label: None, proto: None, flags: 0 }
}

fn parse(bytes: &[u8]) -> Vec<Msg> {
    messages(bytes).collect()
}

fn unhex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
}

/// A message of any type.
fn raw(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let mut m = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    m.extend_from_slice(&kind.to_ne_bytes());
    m.extend_from_slice(&flags.to_ne_bytes());
    m.extend_from_slice(&seq.to_ne_bytes());
    m.extend_from_slice(&[0; 4]);
    m.extend_from_slice(body);
    m.resize(m.len().next_multiple_of(4), 0);
    m
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut a = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    a.extend_from_slice(&kind.to_ne_bytes());
    a.extend_from_slice(value);
    a.resize(a.len().next_multiple_of(4), 0);
    a
}

fn ifinfo(family: u8, index: u32, flags: u32) -> Vec<u8> {
    [&[family, 0, 0, 0][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4]].concat()
}

#[test]
#[cfg(target_endian = "little")]
fn request_bytes() {
    let mut buf = Vec::new();
    let mut s = spec("192.0.2.1");
    s.lifetime = Some(Lifetime { preferred: 7, valid: 9 });
    s.label = Some("eth0:vip");
    s.proto = Some(0x70);
    s.flags = 0x200;
    new_addr(&mut buf, 5, 0x100, &s);
    let want = concat!(
        "5c000000",
        "1400",
        "0501",
        "05000000",
        "00000000", // nlmsghdr: RTM_NEWADDR, REQUEST|ACK|REPLACE
        "02180000",
        "03000000", // ifaddrmsg
        "08000200",
        "c0000201", // IFA_LOCAL
        "08000100",
        "c0000201", // IFA_ADDRESS
        "0d000300",
        "657468303a76697000000000", // IFA_LABEL, NUL and padding
        "14000600",
        "07000000",
        "09000000",
        "00000000",
        "00000000", // IFA_CACHEINFO
        "05000b00",
        "70000000", // IFA_PROTO
        "08000800",
        "00020000", // IFA_FLAGS
    );
    assert_eq!(buf, unhex(want));

    buf.clear();
    del_addr(&mut buf, 6, &s);
    let want = "28000000150005000600000000000000021800000300000008000200c000020108000100c0000201";
    assert_eq!(buf, unhex(want));

    buf.clear();
    dump_links(&mut buf, 1);
    dump_addrs(&mut buf, 2);
    let links = "2000000012000103010000000000000000000000000000000000000000000000";
    let addrs = "180000001600010302000000000000000000000000000000";
    assert_eq!(buf, unhex(&format!("{links}{addrs}")));

    buf.clear();
    dump_neighbours(&mut buf, 3);
    del_neighbour(&mut buf, 4, 2, "192.0.2.1".parse().unwrap());
    let dump = "1c0000001e000103030000000000000000000000 0000000000000000";
    let del = "240000001d000500040000000000000002000000 0200000000000000 08000100c0000201";
    assert_eq!(buf, unhex(&format!("{dump}{del}").replace(' ', "")));
}

#[test]
#[cfg(target_endian = "little")]
fn neighbours_that_do_not_answer() {
    let neighbour = |family, state: u16, dst: &[u8]| {
        let head = [&[family, 0, 0, 0, 3, 0, 0, 0][..], &state.to_ne_bytes(), &[0, 1]].concat();
        raw(28, 2, 7, &[head, attr(3, &[0; 16]), attr(1, dst)].concat())
    };
    let unanswered = |addr: &str| Msg::Unanswered { ifindex: 3, addr: addr.parse().unwrap() };
    assert_eq!(parse(&neighbour(2, 1, &[192, 0, 2, 1])), [unanswered("192.0.2.1")]);
    assert_eq!(
        parse(&neighbour(10, 1, &[0xfd; 16])),
        [unanswered("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd")]
    );
    for other in [neighbour(2, 2, &[192, 0, 2, 1]), neighbour(2, 1, &[192]), raw(28, 2, 7, &[2; 11])] {
        assert_eq!(parse(&other), [Msg::Other]);
    }
}

/// Notifications of Linux 6.18 on x86-64, recorded on a netlink socket.
#[test]
#[cfg(target_endian = "little")]
fn recorded() {
    let gone = unhex(concat!(
        "500000001500000000000000000000000a40c0fd0300000014000100fe800000000000009066cffffebeec17",
        "14000600ffffffffffffffff835201008352010008000800c000000005000b0003000000"
    ));
    let want = Addr {
        seq: 0,
        ifindex: 3,
        addr: "fe80::9066:cfff:febe:ec17".parse().unwrap(),
        prefix: 64,
        scope: 253,
        flags: 0xc0,
        proto: Some(3),
        valid: FOREVER,
        preferred: FOREVER,
        tstamp: 0x15283,
        label: None,
    };
    assert_eq!(parse(&gone), [Msg::AddrGone(want)]);

    // The start of a DELLINK, up to IFLA_LINKMODE, and its IFLA_ADDRESS.
    let body = concat!(
        "000001000300000002100000ffffffff070003007661000008000d00e803000005001000020000000500110000000000",
        "0a0001009266cfbeec170000"
    );
    let name = IfName::from_bytes(b"va");
    assert_eq!(parse(&raw(17, 0, 0, &unhex(body))), [Msg::LinkGone { ifindex: 3, name }]);
    let down = Link {
        seq: 0,
        ifindex: 3,
        name,
        up: false,
        running: false,
        mac: Some([0x92, 0x66, 0xcf, 0xbe, 0xec, 0x17]),
        moved: false,
        macvlan_of: None,
        group: 0,
        mtu: u32::MAX,
        is_port: false,
    };
    assert_eq!(parse(&raw(16, 0, 0, &unhex(body))), [Msg::Link(down)]);
    // The same link up, without carrier, with carrier.
    for (flags, running) in
        [("03100000", false), ("43100100", true), ("43100000", false), ("03100100", false)]
    {
        let body = unhex(&body.replace("02100000", flags));
        assert_eq!(parse(&raw(16, 0, 0, &body)), [Msg::Link(Link { up: true, running, ..down })]);
    }
}

#[test]
fn macvlan_of_ours() {
    let mut buf = Vec::new();
    macvlan::new_macvlan(&mut buf, 1, "vrrp.51", 2, [0, 0, 0x5e, 0, 1, 51]);
    let made = Link {
        seq: 1,
        ifindex: 0,
        name: IfName::from_bytes(b"vrrp.51"),
        up: false,
        running: false,
        mac: Some([0, 0, 0x5e, 0, 1, 51]),
        moved: false,
        macvlan_of: Some(2),
        group: macvlan::GROUP,
        mtu: u32::MAX,
        is_port: false,
    };
    assert_eq!(parse(&buf), [Msg::Link(made)]);
    // Its parent is in another namespace, whose numbers mean nothing here.
    buf.extend(attr(libc::IFLA_LINK_NETNSID, &0u32.to_ne_bytes()));
    let len = (buf.len() as u32).to_ne_bytes();
    buf[..4].copy_from_slice(&len);
    assert_eq!(parse(&buf), [Msg::Link(Link { macvlan_of: Some(0), ..made })]);
    // A VLAN has a parent, too.
    let info = attr(libc::IFLA_LINKINFO, &attr(1, b"vlan\0"));
    let vlan = [ifinfo(0, 9, 0), attr(libc::IFLA_IFNAME, b"v\0"), attr(libc::IFLA_LINK, &[2, 0, 0, 0]), info];
    let Msg::Link(link) = parse(&raw(16, 0, 0, &vlan.concat()))[0] else { panic!() };
    assert_eq!(link.macvlan_of, None);
}

#[test]
fn ports() {
    let master = attr(libc::IFLA_MASTER, &[7, 0, 0, 0]);
    let port_of = |kind: &[u8]| attr(libc::IFLA_LINKINFO, &[attr(1, b"veth\0"), attr(4, kind)].concat());
    for (attrs, is_port) in [
        (vec![], false),
        (vec![port_of(b"bridge\0")], false),
        (vec![master.clone(), port_of(b"bridge\0")], true),
        // Whatever a kernel calls it, and if it calls it nothing.
        (vec![master.clone(), port_of(b"bond")], true),
        (vec![master.clone()], true),
        // What arrives at a device of a VRF is still its own.
        (vec![master.clone(), port_of(b"vrf\0")], false),
        (vec![attr(libc::IFLA_MASTER, &[0; 4])], false),
        (vec![attr(libc::IFLA_MASTER, &[7])], false),
    ] {
        let body = [ifinfo(0, 2, 1), attr(libc::IFLA_IFNAME, b"e\0"), attrs.concat()].concat();
        let Msg::Link(link) = parse(&raw(16, 0, 0, &body))[0] else { panic!() };
        assert_eq!(link.is_port, is_port, "{attrs:?}");
    }
}

#[test]
fn batch_round_trip() {
    let mut v4 = spec("192.0.2.1");
    v4.lifetime = Some(Lifetime { preferred: 0, valid: 2 });
    v4.label = Some("eth0:1");
    v4.proto = Some(0x70);
    v4.flags = 0x202;
    let v6 = AddrSpec { label: Some("ignored"), ..spec("2001:db8::1") };
    let mut buf = Vec::new();
    new_addr(&mut buf, 1, 0, &v4);
    new_addr(&mut buf, 2, 0, &v6);
    del_addr(&mut buf, 3, &v4);
    assert_eq!(buf.len() % 4, 0);
    let a4 = Addr {
        seq: 1,
        ifindex: 3,
        addr: v4.addr,
        prefix: 24,
        scope: 0,
        flags: 0x202,
        proto: Some(0x70),
        valid: 2,
        preferred: 0,
        tstamp: 0,
        label: Some(IfName::from_bytes(b"eth0:1")),
    };
    let plain = Addr { valid: FOREVER, preferred: FOREVER, proto: None, label: None, ..a4 };
    let a6 = Addr { seq: 2, addr: v6.addr, prefix: 64, flags: 0, ..plain };
    // The low flags travel in ifaddrmsg too.
    let gone = Addr { seq: 3, flags: 0x02, ..plain };
    assert_eq!(parse(&buf), [Msg::Addr(a4), Msg::Addr(a6), Msg::AddrGone(gone)]);
}

#[test]
fn long_labels_are_left_to_the_kernel() {
    let mut buf = Vec::new();
    let long = "x".repeat(70_000);
    new_addr(&mut buf, 1, 0, &AddrSpec { label: Some(&long), ..spec("192.0.2.1") });
    // IFA_LABEL with 16 octets and NUL, which is one more than IFNAMSIZ.
    assert_eq!(buf[40..44], [21u16.to_ne_bytes(), 3u16.to_ne_bytes()].concat());
    assert_eq!(parse(&buf).len(), 1);
}

#[test]
fn local_address_wins() {
    let body = |attrs: &[Vec<u8>]| [&[2, 32, 0, 0][..], &3u32.to_ne_bytes(), &attrs.concat()].concat();
    let (peer, local) = (attr(1, &[10, 0, 0, 2]), attr(2, &[10, 0, 0, 1]));
    let got = |attrs: &[Vec<u8>]| match parse(&raw(20, 0, 0, &body(attrs)))[..] {
        [Msg::Addr(a)] => Some(a.addr.to_string()),
        _ => None,
    };
    assert_eq!(got(&[peer.clone(), local]).as_deref(), Some("10.0.0.1"));
    assert_eq!(got(&[peer]).as_deref(), Some("10.0.0.2"));
    assert_eq!(got(&[]), None);
    assert_eq!(got(&[attr(2, &[1; 16])]), None, "wrong length");
}

#[test]
fn control_messages() {
    let errno = |e: i32| e.to_ne_bytes();
    assert_eq!(parse(&raw(2, 0, 9, &[&errno(0)[..], &[0; 16]].concat())), [Msg::Ack { seq: 9, errno: 0 }]);
    assert_eq!(parse(&raw(2, 0, 9, &errno(-17))), [Msg::Ack { seq: 9, errno: 17 }]);
    assert_eq!(parse(&raw(2, 0, 9, &errno(i32::MIN))), [Msg::Ack { seq: 9, errno: i32::MAX }]);
    assert_eq!(parse(&raw(2, 0, 9, &[])), [Msg::Other]);
    assert_eq!(parse(&raw(3, 2, 9, &errno(0))), [Msg::Done { seq: 9, errno: 0 }]);
    assert_eq!(parse(&raw(3, 2, 9, &errno(-4))), [Msg::Done { seq: 9, errno: 4 }]);
    assert_eq!(parse(&raw(3, 2, 9, &[])), [Msg::Done { seq: 9, errno: 0 }]);
    assert_eq!(parse(&raw(4, 0, 0, &[])), [Msg::Overrun]);
    assert_eq!(parse(&raw(1, 0, 0, &[])), [Msg::Other]);
    assert_eq!(parse(&raw(24, 0, 0, &[0; 12])), [Msg::Other], "a route");
    assert_eq!(parse(&[]), []);
}

#[test]
fn interrupted_dump() {
    let dump = [raw(3, 0x12, 9, &[0; 4]), raw(1, 0, 0, &[])].concat();
    assert_eq!(parse(&dump), [Msg::Interrupted { seq: 9 }, Msg::Done { seq: 9, errno: 0 }, Msg::Other]);
}

#[test]
fn links_that_are_not_links() {
    let named = |family| [ifinfo(family, 3, 0x10043), attr(3, b"eth0\0")].concat();
    assert!(matches!(parse(&raw(16, 0, 0, &named(0)))[..], [Msg::Link(_)]));
    // AF_BRIDGE: a port has left its bridge. AF_INET6: its IPv6 settings.
    for family in [7, 10] {
        assert_eq!(parse(&raw(17, 0, 0, &named(family))), [Msg::Other]);
        assert_eq!(parse(&raw(16, 0, 0, &named(family))), [Msg::Other]);
    }
    // A wireless event.
    assert_eq!(parse(&raw(16, 0, 0, &ifinfo(0, 3, 0x10043))), [Msg::Other]);
    for (event, moved) in [(1, false), (2, false), (3, true), (4, true), (5, false)] {
        let told = [named(0), attr(44, &u32::to_ne_bytes(event)), attr(1, &[1; 4])].concat();
        let Msg::Link(l) = parse(&raw(16, 0, 5, &told))[0] else { panic!() };
        assert_eq!((l.seq, l.moved, l.mac, l.name.as_str()), (5, moved, None, "eth0"));
    }
}

#[test]
fn cut_off_is_overrun() {
    let mut buf = Vec::new();
    new_addr(&mut buf, 1, 0, &spec("192.0.2.1"));
    for n in 1..buf.len() {
        assert_eq!(parse(&buf[..n]), [Msg::Overrun], "{n}");
    }
    // A length that does not move on ends it as well.
    assert_eq!(parse(&[0; 64]), [Msg::Overrun]);
}

#[test]
fn age() {
    let mut buf = Vec::new();
    new_addr(&mut buf, 1, 0, &spec("192.0.2.1"));
    let Msg::Addr(mut a) = parse(&buf)[0] else { panic!() };
    a.tstamp = 150_780;
    assert_eq!(a.age(Time::from_nanos(1_508_990_000_000)), Duration::from_millis(1190));
    // Beyond 497 days the stamp starts again.
    let wrapped = (1 << 32) + 150_780 + 5;
    assert_eq!(a.age(Time::from_nanos(wrapped * 10_000_000)), Duration::from_millis(50));
    assert!(a.age(Time::from_nanos(1_507_790_000_000)) > Duration::from_secs(86_400 * 400));
}

#[test]
fn names() {
    assert_eq!(IfName::from_bytes(b"eth0\0junk").as_str(), "eth0");
    assert_eq!(IfName::from_bytes(b"").as_str(), "");
    assert_eq!(IfName::from_bytes(&[b'a'; 99]).as_str(), "aaaaaaaaaaaaaaa");
    assert_eq!(IfName::from_bytes(&[b'e', 0xff]).as_str(), "");
    assert_eq!(format!("{:?}", IfName::from_bytes(b"e\n")), r#""e\n""#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn never_panics(bytes: Vec<u8>, kind in 1u16..24, flags: u16) {
        for n in messages(&bytes).take(1000) {
            let _ = n;
        }
        let framed = raw(kind, flags, 1, &bytes);
        prop_assert!(messages(&framed).count() <= 2);
    }

    #[test]
    fn corrupted_never_panics(at in 0usize..96, value: u8) {
        let mut buf = Vec::new();
        let lifetime = Some(Lifetime { preferred: 1, valid: 2 });
        new_addr(&mut buf, 1, 0, &AddrSpec { lifetime, label: Some("eth0:1"), ..spec("192.0.2.1") });
        if let Some(b) = buf.get_mut(at) {
            *b = value;
        }
        prop_assert!(messages(&buf).count() <= buf.len() / 16 + 1);
    }

    #[test]
    fn addr_round_trip(
        ifindex: u32, v6: bool, ip: u128, prefix: u8, flags: u32, proto: Option<u8>, life: Option<(u32, u32)>,
    ) {
        let addr = if v6 { IpAddr::V6(ip.into()) } else { IpAddr::V4((ip as u32).into()) };
        let lifetime = life.map(|(preferred, valid)| Lifetime { preferred, valid });
        let mut buf = Vec::new();
        new_addr(&mut buf, 7, 0, &AddrSpec { ifindex, addr, prefix, lifetime, label: None, proto, flags });
        let (preferred, valid) = life.unwrap_or((FOREVER, FOREVER));
        let want = Addr {
            seq: 7, ifindex, addr, prefix, scope: 0, flags, proto, valid, preferred, tstamp: 0, label: None,
        };
        prop_assert_eq!(parse(&buf), [Msg::Addr(want)]);
    }
}

#[test]
fn only_the_last_of_a_batch_is_answered() {
    let (mut one, mut buf) = (Vec::new(), Vec::new());
    del_addr(&mut one, 5, &spec("192.0.2.1"));
    unanswered(&mut buf, 0);
    for _ in 0..2 {
        del_addr(&mut buf, 5, &spec("192.0.2.1"));
    }
    unanswered(&mut buf, one.len());
    assert_eq!(buf[..one.len()], one);
    let flags = |at: usize| u16::from_ne_bytes([buf[at + 6], buf[at + 7]]);
    assert_eq!([flags(0), flags(one.len())], [5, 1], "REQUEST | ACK, REQUEST");
}

#[test]
fn mtu_of_a_link() {
    let body =
        [ifinfo(0, 2, 1), attr(libc::IFLA_IFNAME, b"eth0\0"), attr(libc::IFLA_MTU, &1000_u32.to_ne_bytes())];
    let [Msg::Link(l)] = parse(&raw(libc::RTM_NEWLINK, 0, 0, &body.concat()))[..] else { panic!("one link") };
    assert_eq!(l.mtu, 1000);
}
