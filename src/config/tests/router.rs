//! Peers, tracking, virtual MAC, IPv6: what is read, and the exact messages of what is wrong.

use super::wrong::{Table, check};
use super::{BASE, errors, good, vip, warnings};
use crate::config::{Auth, Track, TrackInterface, Version, Vip};
use std::net::IpAddr;

const BASE6: &str = "\
[vrrp VI_6]
interface = eth0
virtual_router_id = 51
virtual_ipaddress = 2001:db8::10/64
";

const CHECKS: &str = "\
[check web]
type = tcp
target = 192.0.2.1:80
[check gateway]
type = ping
target = 192.0.2.1
";

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn vip6(addr: &str, prefix: u8, dev: Option<&str>) -> Vip {
    Vip { addr: ip(addr), prefix, dev: dev.map(str::to_owned), label: None }
}

fn one(text: &str) -> crate::config::Vrrp {
    (*good(text).vrrp[0]).clone()
}

#[test]
fn ah_is_read() {
    let read = one(&format!("{BASE}auth_type = AH\nauth_pass = secret789\n"));
    assert_eq!((read.auth, read.version), (Auth::Ah(*b"secret78"), Version::V2));
}

#[test]
fn excluded_addresses_are_of_either_family() {
    let text = format!(
        "{BASE}virtual_ipaddress_excluded = 192.0.2.11/24 dev eth1 label eth1:x, 2001:db8::1/64\n\
         virtual_ipaddress_excluded = 2001:db8::2 dev eth1\nuse_vmac = yes\n"
    );
    let read = one(&text);
    let expected = [
        vip([192, 0, 2, 11], 24, Some("eth1"), Some("eth1:x")),
        vip6("2001:db8::1", 64, None),
        vip6("2001:db8::2", 128, Some("eth1")),
    ];
    assert_eq!((&read.excluded[..], read.vips.len(), read.is_ipv6()), (&expected[..], 1, false));
    let read = one(&format!("{BASE6}virtual_ipaddress_excluded = 192.0.2.1\n"));
    assert_eq!(read.excluded, [vip([192, 0, 2, 1], 32, None, None)]);
    assert_eq!((read.version, read.is_ipv6()), (Version::V3, true));
    // More than an advert holds.
    let list: Vec<String> = (0..400).map(|i| format!("10.0.{}.{}", i / 200, i % 200 + 1)).collect();
    let text = format!("{BASE}virtual_ipaddress_excluded = {}\n", list.join(", "));
    assert_eq!((one(&text).excluded.len(), warnings(&text).len()), (400, 0));
    let list: Vec<String> = (0..4096).map(|i| format!("10.{}.0.{}", i / 200, i % 200 + 1)).collect();
    // A line holds 16 KiB.
    let lines: String = list.iter().map(|vip| format!("virtual_ipaddress_excluded = {vip}\n")).collect();
    assert_eq!(errors(&format!("{BASE}{lines}")), ["4100: too many virtual addresses in all: at most 4096"]);
}

#[test]
fn peers_are_read() {
    let read = one(&format!(
        "{BASE}unicast_src_ip = 192.0.2.1\nunicast_peer = 192.0.2.2, 192.0.2.3\nunicast_peer = 198.51.100.4\n"
    ));
    assert_eq!(read.src_ip, Some(ip("192.0.2.1")));
    assert_eq!(read.unicast_peers, [ip("192.0.2.2"), ip("192.0.2.3"), ip("198.51.100.4")]);
    assert!(read.allowed_peers.is_empty());
    let read = one(&format!("{BASE}mcast_src_ip = 192.0.2.1\nunicast_peer = 192.0.2.2\n"));
    assert_eq!((read.src_ip, read.unicast_peers), (Some(ip("192.0.2.1")), vec![ip("192.0.2.2")]));
    // The own address may be in the list, so that all nodes can have the same one.
    let read = one(&format!("{BASE}mcast_src_ip = 192.0.2.1\nallowed_peers = 192.0.2.1, 192.0.2.2\n"));
    assert_eq!(read.allowed_peers, [ip("192.0.2.1"), ip("192.0.2.2")]);
    let read = one(&format!("{BASE6}mcast_src_ip = fe80::1\nallowed_peers = fe80::2\n"));
    assert_eq!((read.src_ip, read.allowed_peers), (Some(ip("fe80::1")), vec![ip("fe80::2")]));
    let read = one(&format!("{BASE6}unicast_src_ip = 2001:db8::1\nunicast_peer = 2001:db8::2, fe80::2\n"));
    assert_eq!(read.src_ip, Some(ip("2001:db8::1")));
    assert_eq!(read.unicast_peers, [ip("2001:db8::2"), ip("fe80::2")]);
    // Only the owner has a virtual address of its own.
    let text = format!("{BASE}priority = 255\nmcast_src_ip = 192.0.2.10\n");
    assert_eq!(one(&text).src_ip, Some(ip("192.0.2.10")));
}

#[test]
fn what_is_tracked() {
    let text = format!(
        "{BASE}track = gateway, web weight -253\ntrack_interface = eth1 weight 253, eth2\n\
         track_interface = eth0 weight 7, eth3\nuse_vmac = yes\nvmac_xmit_base = yes\n\
         dont_track_primary = yes\n\
         track_haproxy = weight -1\n[haproxy]\n{CHECKS}"
    );
    let read = one(&text);
    let checks: Vec<_> = read.track_checks.iter().map(|t| (t.check, t.track)).collect();
    assert_eq!(checks, [(1, Track::Fault), (0, Track::Weight(-253))]);
    let tracked = |name: &str, track| TrackInterface { name: name.to_owned(), track };
    let expected = [
        tracked("eth1", Track::Weight(253)),
        tracked("eth2", Track::Fault),
        tracked("eth0", Track::Weight(7)),
        tracked("eth3", Track::Fault),
    ];
    assert_eq!(read.track_interfaces, expected);
    assert_eq!(read.track_haproxy, Track::Weight(-1));
    assert!(read.use_vmac && read.vmac_xmit_base && read.dont_track_primary);
    // The own interface alone is not listed: it is tracked anyway.
    assert!(one(&format!("{BASE}track_interface = eth0\n")).track_interfaces.is_empty());
    let haproxy = |line: &str| one(&format!("{BASE}{line}\n[haproxy]\n")).track_haproxy;
    assert_eq!(haproxy("track_haproxy = yes"), Track::Fault);
    assert_eq!(haproxy("track_haproxy = no"), Track::No);
    assert_eq!(haproxy("track_haproxy =  weight\t5"), Track::Weight(5));
}

#[test]
fn ipv6_starts_with_a_link_local_address() {
    let vips = |list: &str| one(&BASE6.replace("2001:db8::10/64", list)).vips;
    let made = vip6("fe80::200:5eff:fe00:233", 64, None);
    assert_eq!(vips("2001:db8::10/64"), [made.clone(), vip6("2001:db8::10", 64, None)]);
    assert_eq!(
        vips("2001:db8::1, 2001:db8::2/127, fe80::1/10, fe80::2"),
        [
            vip6("fe80::1", 10, None),
            vip6("2001:db8::1", 128, None),
            vip6("2001:db8::2", 127, None),
            vip6("fe80::2", 128, None)
        ]
    );
    assert_eq!(vips("fe80::1"), [vip6("fe80::1", 128, None)]);
    assert_eq!(
        vips("fe80::1 dev eth0, 2001:db8::1"),
        [vip6("fe80::1", 128, None), vip6("2001:db8::1", 128, None)]
    );
    // One of another device is not the router's.
    assert_eq!(vips("fe80::1 dev eth1"), [made, vip6("fe80::1", 128, Some("eth1"))]);
    // febf::1 is the last of fe80::/10, fec0::1 is outside.
    assert_eq!(vips("febf::1").len(), 1);
    assert_eq!(vips("fec0::1").len(), 2);
    let read = one(&BASE6.replace("= 51", "= 255"));
    assert_eq!(read.vips[0].addr, ip("fe80::200:5eff:fe00:2ff"));
    assert_eq!((read.version, one(&format!("{BASE6}version = 3\n")).version), (Version::V3, Version::V3));
    let read = one(&format!("{BASE6}priority = 255\nvirtual_ipaddress = fe80::1\n"));
    assert_eq!(read.vips[0].addr, ip("fe80::1"));
    // Version 3 has its ranges without being named.
    let read = one(&format!("{BASE6}advert_int = 0.01\n"));
    assert_eq!(read.advert_int, std::time::Duration::from_millis(10));
}

#[test]
fn many_ipv6_addresses() {
    let list = |count: usize| {
        let vips: Vec<String> = (1..=count).map(|i| format!("2001:db8::{i:x}")).collect();
        BASE6.replace("2001:db8::10/64", &vips.join(", "))
    };
    let made = "4: virtual_ipaddress has no link-local address, so fe80::200:5eff:fe00:233 comes first: a keepalived \
                must list it, too";
    assert_eq!(warnings(&list(89)), [made]);
    let warned = |count| {
        format!(
            "4: [vrrp VI_6] has {count} virtual addresses, the link-local one included: an advert of more than 90 \
             does not fit into 1500 octets, the rest may go to virtual_ipaddress_excluded"
        )
    };
    assert_eq!(warnings(&list(90)), [made, &warned(91)]);
    assert_eq!(warnings(&list(254)), [made, &warned(255)]);
    assert_eq!(
        errors(&list(255)),
        ["4: [vrrp VI_6] has 255 virtual addresses and none is link-local: at most 254 then"]
    );
    assert_eq!(warnings(&list(255).replace("2001:db8::ff", "fe80::1")), [warned(255)]);
    assert_eq!(
        errors(&list(256)),
        ["4: [vrrp VI_6] has 256 virtual addresses: at most 255, the rest in another one"]
    );
}

#[test]
fn a_number_is_one_virtual_router_in_each_family() {
    let other = BASE.replace("192.0.2.10", "192.0.2.11").replace("VI_1", "VI_2");
    assert_eq!(good(&format!("{BASE}{BASE6}")).vrrp.len(), 2);
    let taken = |line, at| {
        [format!("{line}: virtual_router_id = 51 on eth0 is that of [vrrp VI_1] on line {at}: take another")]
    };
    assert_eq!(errors(&format!("{BASE}{BASE6}{other}")), taken(11, 3));
    // Unicast or not, a receive socket and a state file are for one.
    let peer = "unicast_peer = 192.0.2.2\n";
    assert_eq!(errors(&format!("{BASE}{peer}{other}")), taken(8, 3));
    let other6 = BASE6.replace("db8::10", "db8::11, fe80::1").replace("VI_6", "VI_7");
    assert_eq!(
        errors(&format!("{BASE6}{other6}")),
        ["7: virtual_router_id = 51 on eth0 is that of [vrrp VI_6] on line 3: take another"]
    );
    // A list in error still has its family.
    assert_eq!(errors(&format!("{BASE}{}", BASE6.replace("/64", "/129"))).len(), 1);
}

/// Lines after `BASE`: the first is line 5.
const LINES: Table = &[
    (
        "virtual_ipaddress_excluded = 192.0.2.10",
        &[
            "5: virtual_ipaddress_excluded: 192.0.2.10 on eth0 is already in [vrrp VI_1] on line 4: remove one",
        ],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11, 192.0.2.11/24",
        &[
            "5: virtual_ipaddress_excluded: 192.0.2.11 on eth0 is already in [vrrp VI_1] on line 5: remove one",
        ],
    ),
    (
        "virtual_ipaddress_excluded = ::1",
        &["5: virtual_ipaddress_excluded: ::1 is a loopback address: take one that a host can have"],
    ),
    (
        "virtual_ipaddress_excluded = 2001:db8::1/0",
        &["5: virtual_ipaddress_excluded: the prefix length of 2001:db8::1/0 is not 1 to 128"],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11 dev eth1 label eth0:x",
        &["5: virtual_ipaddress_excluded: label eth0:x is not `eth1:TAG` of at most 15 octets"],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11 dev a/b",
        &[
            "5: virtual_ipaddress_excluded: dev = a/b is not an interface name: 1 to 15 octets without `/`, `:` and white space",
        ],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11 dev",
        &["5: virtual_ipaddress_excluded: `dev` has no value: ADDR[/LEN] [dev IF] [label IF:TAG]"],
    ),
    (
        "virtual_ipaddress = 2001:db8::1",
        &[
            "5: virtual_ipaddress: 2001:db8::1 is IPv6, the first virtual address is IPv4: move it to `virtual_ipaddress_excluded`",
        ],
    ),
    (
        "mcast_src_ip = 192.0.2.1\nunicast_src_ip = 192.0.2.1",
        &["6: `unicast_src_ip` is the same as `mcast_src_ip` on line 5: keep one"],
    ),
    (
        "unicast_src_ip = 192.0.2.10",
        &["5: unicast_src_ip = 192.0.2.10 is a virtual address: take one that this node always has"],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11\nmcast_src_ip = 192.0.2.11",
        &["6: mcast_src_ip = 192.0.2.11 is a virtual address: take one that this node always has"],
    ),
    ("unicast_src_ip = fe80::1", &["5: unicast_src_ip: fe80::1 is IPv6, the first virtual address is IPv4"]),
    (
        "unicast_src_ip = 127.0.0.1",
        &["5: unicast_src_ip: 127.0.0.1 is a loopback address: take one that a host can have"],
    ),
    (
        "unicast_peer = 192.0.2.2, node2",
        &["5: unicast_peer: node2 is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    ("unicast_peer = 192.0.2.2, 192.0.2.2", &["5: unicast_peer: 192.0.2.2 appears twice: remove one"]),
    (
        "unicast_peer = 192.0.2.10",
        &["5: unicast_peer: 192.0.2.10 is a virtual address: list those that the other nodes always have"],
    ),
    (
        "virtual_ipaddress_excluded = 192.0.2.11\nunicast_peer = 192.0.2.11",
        &["6: unicast_peer: 192.0.2.11 is a virtual address: list those that the other nodes always have"],
    ),
    (
        "unicast_peer = 224.0.0.18",
        &["5: unicast_peer: 224.0.0.18 is a multicast address: take one that a host can have"],
    ),
    (
        "unicast_peer = 0.0.0.0",
        &["5: unicast_peer: 0.0.0.0 is the unspecified address: take one that a host can have"],
    ),
    ("unicast_peer = fe80::2", &["5: unicast_peer: fe80::2 is IPv6, the first virtual address is IPv4"]),
    (
        "unicast_src_ip = 192.0.2.1\nunicast_peer = 192.0.2.1, 192.0.2.2",
        &["6: unicast_peer: 192.0.2.1 is this node's own source address: list the others"],
    ),
    (
        "unicast_peer = 192.0.2.2\nallowed_peers = 192.0.2.2",
        &["6: `allowed_peers` does not go with `unicast_peer`, which hears no others already: leave it out"],
    ),
    ("allowed_peers = 192.0.2.2, 192.0.2.2", &["5: allowed_peers: 192.0.2.2 appears twice: remove one"]),
    (
        "allowed_peers = 192.0.2.10",
        &["5: allowed_peers: 192.0.2.10 is a virtual address: list those that the other nodes always have"],
    ),
    (
        "allowed_peers = 224.0.0.18",
        &["5: allowed_peers: 224.0.0.18 is a multicast address: take one that a host can have"],
    ),
    ("allowed_peers = fe80::2", &["5: allowed_peers: fe80::2 is IPv6, the first virtual address is IPv4"]),
    ("allowed_peers = 192.0.2.2,", &["5: `allowed_peers` has an empty element: remove a comma"]),
    (
        "track_interface = eth1/2",
        &[
            "5: track_interface = eth1/2 is not an interface name: 1 to 15 octets without `/`, `:` and white space",
        ],
    ),
    (
        "track_interface = eth1 wieght 5",
        &["5: track_interface: `wieght` does not belong there: only `weight N`"],
    ),
    (
        "track_interface = eth1 weight 5 reverse",
        &["5: track_interface: `reverse` does not belong there: only `weight N`"],
    ),
    (
        "track_interface = eth1 weight",
        &["5: track_interface: `weight ` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_interface = eth1 weight 0",
        &["5: track_interface: `weight 0` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_interface = eth1 weight 254",
        &["5: track_interface: `weight 254` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_interface = eth1 weight -254",
        &["5: track_interface: `weight -254` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_interface = eth1 weight --5",
        &["5: track_interface: `weight --5` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_interface = eth1\ntrack_interface = eth1 weight 5",
        &["6: track_interface: eth1 appears twice: remove one"],
    ),
    (
        "track = web\n[check web2]\ntype = ping\ntarget = 192.0.2.1",
        &["5: track: there is no [check web] (did you mean `web2`?)"],
    ),
    ("track = gateway", &["5: track: there is no [check gateway]"]),
    (
        "track = web, web weight 5\n[check web]\ntype = ping\ntarget = 192.0.2.1",
        &["5: track: web appears twice: remove one"],
    ),
    (
        "track = web weight 0\n[check web]\ntype = ping\ntarget = 192.0.2.1",
        &["5: track: `weight 0` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track = web yes\n[check web]\ntype = ping\ntarget = 192.0.2.1",
        &["5: track: `yes` does not belong there: only `weight N`"],
    ),
    (
        "track_haproxy = weight 5",
        &["5: track_haproxy = weight 5 needs a [haproxy] section: add one, or set it to no"],
    ),
    (
        "track_haproxy = weight 0\n[haproxy]",
        &["5: track_haproxy: `weight 0` is not a weight: -253 to 253, but not 0"],
    ),
    (
        "track_haproxy = weight 5 6\n[haproxy]",
        &["5: track_haproxy: `6` does not belong there: only `weight N`"],
    ),
    (
        "track_haproxy = maybe\n[haproxy]",
        &["5: track_haproxy = maybe is not one of: yes, no, true, false, on, off"],
    ),
    ("vmac_xmit_base = yes", &["5: vmac_xmit_base = yes needs use_vmac = yes: set it, too"]),
    ("use_vmac = no\nvmac_xmit_base = yes", &["6: vmac_xmit_base = yes needs use_vmac = yes: set it, too"]),
    ("use_vmac = vrrp.51", &["5: use_vmac = vrrp.51 is not one of: yes, no, true, false, on, off"]),
    (
        "use_vmac = yes\npriority = 255",
        &["5: use_vmac does not go with priority = 255: leave it out, or set priority = 254"],
    ),
    (
        "use_vmac = yes\nunicast_peer = 192.0.2.2",
        &["5: use_vmac with unicast_peer needs vmac_xmit_base = yes: adverts go out of the interface"],
    ),
    (
        "use_vmac = yes\nvirtual_ipaddress = 192.0.2.11 dev eth1",
        &["6: virtual_ipaddress: dev eth1 does not go with use_vmac: the virtual MAC is on eth0"],
    ),
    (
        "use_vmac = yes\nvirtual_ipaddress = 192.0.2.11 label eth0:x",
        &[
            "6: virtual_ipaddress: a label does not go with use_vmac: the address is on a device of its own, not on eth0",
        ],
    ),
    (
        "use_vmac = yes\nvirtual_ipaddress_excluded = 192.0.2.11 label eth0:x",
        &[
            "6: virtual_ipaddress_excluded: a label does not go with use_vmac: the address is on a device of its own, not on eth0",
        ],
    ),
];

/// Lines after `BASE6`: the first is line 5.
const LINES6: Table = &[
    ("version = 2", &["5: version = 2 has no IPv6 addresses: set version = 3"]),
    (
        "auth_type = AH\nauth_pass = secret",
        &[
            "5: `auth_type` does not go with version 3, which has none: leave it out",
            "6: `auth_pass` does not go with version 3, which has none: leave it out",
        ],
    ),
    ("v3_checksum_as_v2 = yes", &["5: v3_checksum_as_v2 has no meaning with IPv6: leave it out"]),
    ("advert_int = 41", &["5: advert_int = 41 is out of range: 0.01 to 40.95 seconds"]),
    (
        "virtual_ipaddress = 192.0.2.10",
        &[
            "5: virtual_ipaddress: 192.0.2.10 is IPv4, the first virtual address is IPv6: move it to `virtual_ipaddress_excluded`",
        ],
    ),
    (
        "virtual_ipaddress_excluded = fe80::200:5eff:fe00:233",
        &[
            "5: virtual_ipaddress_excluded: fe80::200:5eff:fe00:233 on eth0 is already in [vrrp VI_6] on line 4: remove one",
        ],
    ),
    (
        "mcast_src_ip = 2001:db8::1",
        &["5: mcast_src_ip = 2001:db8::1 is not link-local, as IPv6 adverts on multicast must be: fe80::..."],
    ),
    (
        "unicast_src_ip = 2001:db8::1",
        &[
            "5: unicast_src_ip = 2001:db8::1 is not link-local, as IPv6 adverts on multicast must be: fe80::...",
        ],
    ),
    (
        "mcast_src_ip = fe80::200:5eff:fe00:233",
        &[
            "5: mcast_src_ip = fe80::200:5eff:fe00:233 is a virtual address: take one that this node always has",
        ],
    ),
    ("mcast_src_ip = 192.0.2.1", &["5: mcast_src_ip: 192.0.2.1 is IPv4, the first virtual address is IPv6"]),
    (
        "allowed_peers = 2001:db8::2",
        &[
            "5: allowed_peers: 2001:db8::2 is not link-local, as the sources of IPv6 adverts on multicast are: fe80::...",
        ],
    ),
    ("unicast_peer = 192.0.2.1", &["5: unicast_peer: 192.0.2.1 is IPv4, the first virtual address is IPv6"]),
    (
        "priority = 255",
        &["4: priority = 255 with IPv6 needs the link-local address of the interface in virtual_ipaddress"],
    ),
];

/// Values of `virtual_ipaddress` in `BASE6`.
const VIPS6: Table = &[
    ("2001:db8::1/129", &["4: virtual_ipaddress: the prefix length of 2001:db8::1/129 is not 1 to 128"]),
    ("2001:db8::1/0", &["4: virtual_ipaddress: the prefix length of 2001:db8::1/0 is not 1 to 128"]),
    ("::", &["4: virtual_ipaddress: :: is the unspecified address: take one that a host can have"]),
    ("::1", &["4: virtual_ipaddress: ::1 is a loopback address: take one that a host can have"]),
    ("ff02::12", &["4: virtual_ipaddress: ff02::12 is a multicast address: take one that a host can have"]),
    (
        "::ffff:192.0.2.1",
        &["4: virtual_ipaddress: ::ffff:192.0.2.1 is an IPv4 address in IPv6: take one that a host can have"],
    ),
    (
        "2001:db8::g",
        &["4: virtual_ipaddress: 2001:db8::g is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    (
        "fe80::1%eth0",
        &["4: virtual_ipaddress: fe80::1%eth0 is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    ("2001:db8::1 label eth0:x", &["4: virtual_ipaddress: an IPv6 address has no label: leave it out"]),
    (
        "2001:db8::1, 2001:DB8:0::1/64",
        &["4: virtual_ipaddress: 2001:db8::1 on eth0 is already in [vrrp VI_6] on line 4: remove one"],
    ),
];

/// Lines after `BASE` that are accepted, with the warnings.
const WARNED: Table = &[
    (
        "track_interface = eth0",
        &["5: track_interface: eth0 is the own interface, which is tracked in any case: down means FAULT"],
    ),
    (
        "track_interface = eth0 weight 5",
        &["5: track_interface: eth0 is the own interface, which is tracked in any case: down means FAULT"],
    ),
    ("track_interface = eth1", &[]),
    (
        "priority = 255\ntrack_interface = eth1\ntrack = a\ntrack_haproxy = yes\n[haproxy]\n[check a]\ntype = ping\ntarget = ::2",
        &[
            "6: `track_interface` does not apply to the owner of the addresses, priority = 255",
            "7: `track` does not apply to the owner of the addresses, priority = 255",
            "8: `track_haproxy` does not apply to the owner of the addresses, priority = 255",
        ],
    ),
    ("priority = 255\n[haproxy]", &[]),
    ("priority = 255\ntrack_haproxy = no\n[haproxy]", &[]),
    ("priority = 254\ntrack_haproxy = yes\n[haproxy]", &[]),
    ("use_vmac = yes\nvirtual_ipaddress = 192.0.2.11 dev eth0", &[]),
    ("use_vmac = yes\nvmac_xmit_base = yes\nunicast_peer = 192.0.2.2", &[]),
    ("use_vmac = no\nvmac_xmit_base = no\nvirtual_ipaddress = 192.0.2.11 dev eth1", &[]),
];

/// As above, after `BASE6`.
const WARNED6: Table = &[
    (
        "unicast_peer = fe80::2, 2001:db8::2",
        &[
            "5: unicast_peer without unicast_src_ip: adverts come from the link-local address of eth0, which the peers must list",
        ],
    ),
    ("unicast_peer = fe80::2", &[]),
    ("unicast_src_ip = 2001:db8::1\nunicast_peer = 2001:db8::2", &[]),
    ("use_vmac = yes", &[]),
];

#[test]
fn wrong_lines_have_these_messages() {
    check(LINES, |lines| format!("{BASE}{lines}\n"), errors);
    check(LINES6, |lines| format!("{BASE6}{lines}\n"), errors);
    check(VIPS6, |list| BASE6.replace("2001:db8::10/64", list), errors);
    assert!(LINES.iter().chain(LINES6).chain(VIPS6).all(|(_, expected)| !expected.is_empty()));
}

#[test]
fn what_is_accepted_may_have_warnings() {
    check(WARNED, |lines| format!("{BASE}{lines}\n"), warnings);
    let base = BASE6.replace("2001:db8::10/64", "fe80::10/64, 2001:db8::10/64");
    check(WARNED6, |lines| format!("{base}{lines}\n"), warnings);
}

#[test]
fn lists_are_bounded() {
    let list = |key: &str, count: usize| {
        let elements: Vec<String> = (0..count).map(|i| format!("10.0.{}.{}", i / 200, i % 200 + 1)).collect();
        format!("{BASE}{key} = {}\n", elements.join(","))
    };
    // An address is an odd name of an interface, but it is one.
    for (key, what) in
        [("unicast_peer", "addresses"), ("allowed_peers", "addresses"), ("track_interface", "interfaces")]
    {
        assert!(warnings(&list(key, 255)).is_empty());
        assert_eq!(errors(&list(key, 300)), [format!("5: {key}: too many {what}: at most 255")]);
    }
}
