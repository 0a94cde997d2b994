//! No input makes the parser panic.

use super::{BASE, FULL, HOW_TO, NO_FILES};
use crate::config::schema::parse_bytes;
use crate::config::{Auth, CheckKind, Config, Track, Version, Vrrp};
use std::net::IpAddr;
use std::time::Duration;

/// What `FULL` cannot have: keys that exclude each other, IPv6, checks and groups.
const REST: &str = "\
[haproxy]
[group G]
members = VI_4, VI_6
[vrrp VI_4]
interface = eth0
virtual_router_id = 51
priority = 254
virtual_ipaddress = 192.0.2.10/24
virtual_ipaddress_excluded = 192.0.2.11/24 dev eth1 label eth1:x, 2001:db8::1/64
auth_type = AH
auth_pass = secret
unicast_src_ip = 192.0.2.1
unicast_peer = 192.0.2.2, 192.0.2.3
track_interface = eth1 weight -20, eth2
track_haproxy = weight 20
track = tcp, http weight 5
use_vmac = yes
vmac_xmit_base = yes
dont_track_primary = yes
[vrrp VI_6]
interface = eth0
virtual_router_id = 51
virtual_ipaddress = 2001:db8::10/64, fe80::10
mcast_src_ip = fe80::1
allowed_peers = fe80::2
track = exec, ping
[check tcp]
type = tcp
target = [2001:db8::1]:80
[check http]
type = http
target = 192.0.2.1:80/health
interval = 5
timeout = 2
[check exec]
type = exec
target = /bin/test -e \"/a b\"
user = nobody
[check ping]
type = ping
target = 192.0.2.1
fall = 2
rise = 2
";

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// What holds of every accepted instance.
fn router(one: &Vrrp, config: &Config) {
    assert!(one.hooks().all(|(_, argv)| argv.first().is_none_or(|program| program.starts_with('/'))));
    assert!(one.vrid > 0 && one.priority > 0 && (1..=15).contains(&one.interface.len()));
    assert!((1..=255).contains(&one.vips.len()) && one.advert_int >= Duration::from_millis(10));
    assert!(one.handover_timeout > Duration::ZERO);
    let v6 = one.is_ipv6();
    assert!(one.vips.iter().all(|vip| vip.addr.is_ipv6() == v6));
    for vip in one.vips.iter().chain(&one.excluded) {
        assert!((1..=if vip.addr.is_ipv6() { 128 } else { 32 }).contains(&vip.prefix));
        assert!(!vip.addr.is_loopback() && !vip.addr.is_multicast() && !vip.addr.is_unspecified());
        assert!(vip.label.is_none() || vip.addr.is_ipv4());
    }
    let link_local = |addr: IpAddr| matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    if v6 {
        assert!(one.version == Version::V3 && one.auth == Auth::None && !one.v3_checksum_as_v2);
        assert!(link_local(one.vips[0].addr) && one.vips[0].dev.is_none());
        assert!(!one.unicast_peers.is_empty() || one.src_ip.is_none_or(link_local));
    }
    match &one.auth {
        Auth::None => {}
        Auth::Pass(_) | Auth::Ah(_) => assert_eq!(one.version, Version::V2),
        Auth::Hmac(hmac) => {
            assert!(hmac.key(hmac.active).is_some() && hmac.keys.iter().all(|key| key.id > 0));
            assert!(hmac.time_window.is_none_or(|w| (1..=300).contains(&w)));
        }
    }
    assert!(one.unicast_peers.is_empty() || one.allowed_peers.is_empty());
    for peer in one.unicast_peers.iter().chain(&one.allowed_peers).chain(&one.src_ip) {
        assert_eq!(peer.is_ipv6(), v6);
    }
    let (peers, own) = (&one.unicast_peers, one.src_ip);
    assert!(!peers.iter().any(|&peer| Some(peer) == own || one.vips.iter().any(|vip| vip.addr == peer)));
    if one.use_vmac {
        assert!(one.priority < 255 && one.vips.iter().all(|vip| vip.dev.is_none() && vip.label.is_none()));
        assert!(one.vmac_xmit_base || peers.is_empty());
    } else {
        assert!(!one.vmac_xmit_base);
    }
    assert!(one.track_haproxy == Track::No || config.haproxy.is_some());
    let tracks = one.track_interfaces.iter().map(|t| t.track).chain(one.track_checks.iter().map(|t| t.track));
    for track in tracks {
        assert_ne!(track, Track::No);
        assert!(!matches!(track, Track::Weight(n) if n == 0 || !(-253..=253).contains(&n)));
    }
    assert!(one.track_checks.iter().all(|t| t.check < config.checks.len()));
}

/// Whatever the input: no panic, printable and sorted messages, and nothing out of range.
fn sane(bytes: &[u8]) {
    let list = match parse_bytes(bytes, NO_FILES) {
        Err(errors) => {
            assert!(!errors.is_empty());
            errors
        }
        Ok((config, warnings)) => {
            assert!(config.haproxy.is_some() || !config.vrrp.is_empty());
            for one in &config.vrrp {
                router(one, &config);
            }
            for check in &config.checks {
                assert!(check.timeout <= check.interval && check.fall > 0 && check.rise > 0);
                match &check.kind {
                    CheckKind::Tcp(addr) => assert!(addr.port() > 0),
                    CheckKind::Http { addr, path } => {
                        assert!(addr.port() > 0 && path.starts_with('/') && path.len() <= 1024);
                        assert!(path.bytes().all(|b| b.is_ascii_graphic()));
                    }
                    CheckKind::Exec { argv, .. } => assert!(argv[0].starts_with('/')),
                    CheckKind::Ping(addr) => assert!(!addr.is_unspecified() && !addr.is_multicast()),
                }
            }
            let mut members: Vec<usize> = config.groups.iter().flat_map(|g| g.members.clone()).collect();
            assert!(config.groups.iter().all(|group| group.members.len() >= 2));
            members.sort_unstable();
            assert!(members.windows(2).all(|two| two[0] < two[1]), "nobody is in two groups");
            assert!(members.last().is_none_or(|&last| last < config.vrrp.len()));
            warnings
        }
    };
    assert!(list.is_sorted_by_key(|d| d.line));
    assert!(list.iter().all(|d| d.message.bytes().all(|b| b == b' ' || b.is_ascii_graphic())));
}

#[test]
fn no_input_panics() {
    let mut random = Random(0x5eed);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        sane(&bytes);
    }
    const PIECES: [&str; 34] = [
        "[",
        "]",
        "=",
        "\n",
        "#",
        ";",
        ",",
        "/",
        ".",
        ":",
        "\"",
        "0",
        "255",
        "-1",
        "99999999999999999999",
        " ",
        "\t",
        "\r",
        "\0",
        "\u{feff}",
        "ü",
        "::1",
        "dev",
        "label",
        "[vrrp VI_1]",
        "[haproxy]",
        "[check tcp]",
        "[group G]",
        "weight",
        "weight 0",
        "fe80::1",
        "2001:db8::10",
        "192.0.2.10",
        "VI_6",
    ];
    assert!(parse_bytes(REST.as_bytes(), NO_FILES).is_ok());
    let mut accepted = [0; 4];
    for round in 0..6000 {
        let source = [HOW_TO, FULL, BASE, REST][round % 4];
        let mut bytes = source.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(20)).min(bytes.len());
            let new: Vec<u8> = match random.below(5) {
                0 => vec![random.below(256) as u8],
                1 => vec![],
                2 => PIECES[random.below(PIECES.len())].into(),
                3 => bytes[at..end].repeat(2),
                _ => source.lines().nth(random.below(60)).unwrap_or("").into(),
            };
            let end = if random.below(2) == 0 { at } else { end };
            bytes.splice(at..end, new);
        }
        accepted[round % 4] += u32::from(parse_bytes(&bytes, NO_FILES).is_ok());
        sane(&bytes);
    }
    assert!(
        accepted.iter().all(|&n| n > 50),
        "the mutations reach the checks behind the lexer: {accepted:?}"
    );
}
