//! Authentication header, unicast, and what is refused before it is known whose it is.

use super::*;
use crate::vrrp::packet::Discard;
use crate::wire::ah;
use crate::wire::ipv4::{self, Ipv4};

const KEY: [u8; 8] = *b"1111\0\0\0\0";
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 118);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 116);

fn ah() -> Config {
    one("auth_type = AH\nauth_pass = 1111")
}

fn unicast(more: &str) -> Config {
    one(&format!("unicast_src_ip = {OWN}\nunicast_peer = {PEER}, {OTHER}\n{more}"))
}

/// An advert with an authentication header, to the group or to `dst`.
fn sealed(
    cfg: &config::Vrrp,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    priority: u8,
    seq: u32,
    key: &[u8; 8],
) -> Vec<u8> {
    let message = message(cfg, src.into(), dst.into(), priority);
    let mut out = Vec::new();
    ipv4::header(&mut out, src, dst, 1, ah::PROTOCOL, ah::AH_LEN + message.len() as u16);
    ah::header(&mut out, seq);
    out.extend(message);
    ah::seal(&mut out, key);
    out
}

impl World {
    fn hear_sealed(&mut self, src: Ipv4Addr, priority: u8, seq: u32, key: &[u8; 8]) {
        let bytes = sealed(&self.node.routers[0].cfg, src, GROUP_V4, priority, seq, key);
        self.node.packet(self.now, 0, &bytes);
        self.effects();
        self.settle();
    }

    /// Every copy of the next advert, with where it goes.
    fn copies(&mut self) -> Vec<(IpAddr, Vec<u8>)> {
        let (mut out, now) = (Vec::new(), self.now);
        (0..)
            .map_while(|copy| Some((self.node.encode_advert(0, 100, copy, now, &mut out)?.1, out.clone())))
            .collect()
    }

    /// The sequence number of the next advert.
    fn next_sequence(&mut self) -> u32 {
        let (_, packet) = self.copies().remove(0);
        u32::from_be_bytes(packet[28..32].try_into().unwrap())
    }

    fn count(&self, counter: &str) -> u64 {
        self.node.routers[0].stats.all().find(|(n, _)| *n == counter).unwrap().1
    }
}

#[test]
fn the_numbers_are_kept_before_the_first_advert_and_then_seldom() {
    let mut w = World::new(&ah());
    w.begin(false);
    w.run(ms(4000));
    let did = w.take();
    let kept = did.iter().position(|d| *d == Did::Remember(Memory::Sequence)).unwrap();
    let advert = did.iter().position(|d| *d == Did::Advert(0, 100)).unwrap();
    assert!(kept < advert);
    assert_eq!(w.next_sequence(), 1);
    assert_eq!(w.next_sequence(), 2);
    w.run(ms(20_000));
    assert!(!w.take().contains(&Did::Remember(Memory::Sequence)));
    // A peer that is far ahead: kept at once, and exceeded.
    w.hear_sealed(PEER, 50, 70_000, &KEY);
    let did = w.take();
    let kept = did.iter().rposition(|d| *d == Did::Remember(Memory::Sequence)).unwrap();
    assert!(kept < did.iter().position(|d| *d == Did::Advert(0, 100)).unwrap());
    assert_eq!(w.node.routers[0].auth.render(), format!("71024\n{PEER} 70000\n"));
    assert_eq!(w.next_sequence(), 70_001);
}

#[test]
fn neither_a_replay_nor_a_forgery_changes_anything() {
    let mut w = World::new(&ah());
    w.begin(false);
    w.hear_sealed(PEER, 200, 10, &KEY);
    w.run(ms(3000));
    let state = w.node.routers[0].machine.state().clone();
    w.hear_sealed(PEER, 200, 10, &KEY);
    w.hear_sealed(PEER, 200, 9, &KEY);
    w.hear_sealed(PEER, 200, 4_000_000, b"2222\0\0\0\0");
    assert_eq!(*w.node.routers[0].machine.state(), state, "the down timer runs on");
    assert_eq!((w.count("auth_replay"), w.count("auth_icv")), (2, 1));
    assert_eq!(w.next_sequence(), 11, "a forged number is no number");
    w.run(ms(1000));
    assert_eq!(w.kind(), Kind::Master);
    w.hear_sealed(PEER, 200, 12, &KEY);
    assert_eq!(w.kind(), Kind::Backup);
}

/// Authentic, but refused for its interval: keepalived's counter has moved all the same.
#[test]
fn what_is_authentic_uses_up_its_number() {
    let mut w = World::new(&ah());
    w.begin(false);
    let mut other = (*w.node.routers[0].cfg).clone();
    other.advert_int = ms(2000);
    let bytes = sealed(&other, PEER, GROUP_V4, 200, 500, &KEY);
    w.node.packet(w.now, 0, &bytes);
    w.node.packet(w.now, 0, &bytes);
    assert_eq!((w.count("interval"), w.count("auth_replay")), (1, 1));
    assert_eq!(w.next_sequence(), 501);
}

#[test]
fn a_restart_goes_on_above_the_mark_and_resumes_only_with_one() {
    let restart = |file: Option<&str>| {
        let mut w = World::new(&ah());
        let mut a = addr(VIP, 32, Some(TAG), 2);
        a.tstamp = (w.now.as_nanos() / 10_000_000) as u32;
        w.node.addr(w.now, &a);
        if let Some(file) = file {
            w.node.routers[0].auth.restore(Some(file));
        }
        w.begin(true);
        w
    };
    let mut w = restart(Some("5120\n192.168.30.117 4000\n"));
    assert_eq!(w.node.routers[0].why, Why::Resumed);
    assert_eq!(w.next_sequence(), 5121);
    let mut w = restart(None);
    assert_eq!(w.kind(), Kind::Backup, "it listens first");
    w.hear_sealed(PEER, 50, 900, &KEY);
    assert_eq!(w.next_sequence(), 901);
}

#[test]
fn unicast_sends_a_copy_to_each_peer_with_one_number() {
    let mut w = master(&unicast("auth_type = AH\nauth_pass = 1111"));
    let copies = w.copies();
    assert_eq!(copies.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [PEER, OTHER]);
    for (to, bytes) in &copies {
        let ip = Ipv4::parse(bytes).unwrap();
        assert_eq!((ip.src, IpAddr::V4(ip.dst), ip.ttl, ip.protocol), (OWN, *to, 255, 51));
        assert_ne!(ip.id, 0);
        let mut peer = World::new(&unicast("auth_type = AH\nauth_pass = 1111"));
        std::rc::Rc::make_mut(&mut peer.node.routers[0].cfg).unicast_peers = vec![OWN.into()];
        peer.begin(false);
        peer.node.routers[0].src = Some(*to);
        peer.node.packet(peer.now, 0, bytes);
        assert_eq!(peer.count("adverts_received"), 1, "{:?}", peer.events);
    }
    assert_eq!(copies[0].1[28..32], copies[1].1[28..32]);
    assert_ne!(copies[0].1[32..44], copies[1].1[32..44], "the destination is under the ICV");
}

#[test]
fn a_peer_that_cannot_be_reached_is_counted_and_said_apart() {
    let mut w = master(&unicast(""));
    for _ in 0..100 {
        w.now += ms(50);
        w.node.send_failed(0, 1, w.now, libc::EHOSTUNREACH);
    }
    w.node.send_failed(0, 0, w.now, libc::ENETUNREACH);
    w.effects();
    let said: Vec<&Event> = w.events.iter().filter(|e| matches!(e, Event::SendFailed { .. })).collect();
    let failed = |to: Ipv4Addr, errno| Event::SendFailed { router: 0, to: to.into(), errno };
    assert_eq!(said, [&failed(OTHER, libc::EHOSTUNREACH), &failed(PEER, libc::ENETUNREACH)]);
    let text = crate::report::status::text(&w.node, "n", w.now, w.now);
    assert!(text.contains(&format!("100 adverts could not be sent to {OTHER}")), "{text}");
    assert!(text.contains("send_errors 101"), "{text}");
}

#[test]
fn only_peers_are_heard() {
    let stranger = Ipv4Addr::new(192, 168, 30, 99);
    let mut w = master(&one(&format!("allowed_peers = {PEER}")));
    w.hear(stranger, 200);
    assert_eq!((w.kind(), w.count("unknown_peer")), (Kind::Master, 1));
    w.hear(PEER, 200);
    assert_eq!(w.kind(), Kind::Backup);

    let mut w = master(&unicast(""));
    w.hear(PEER, 200);
    assert_eq!((w.kind(), w.count("destination")), (Kind::Master, 1), "multicast");
}

/// Before the look-up every reason is counted by link, behind it by virtual router; the status shows both.
#[test]
fn every_reason_has_a_counter_in_the_status() {
    let mut w = master(&one(""));
    let cfg = w.node.routers[0].cfg.clone();
    let good = packet(&cfg, PEER, 200);
    let bend = |at: usize, octet: u8| {
        let mut p = good.clone();
        p[at] = octet;
        p
    };
    let mut short = Vec::new();
    ipv4::header(&mut short, PEER, GROUP_V4, 1, PROTOCOL, 4);
    short.extend([0x21, 51, 1, 1]);
    for (name, p) in [
        ("ip_header", bend(0, 0x44)),
        ("destination", bend(19, 19)),
        ("ttl", bend(8, 1)),
        ("auth_header", bend(9, 51)),
        ("short", short),
        ("version", bend(20, 0x41)),
        ("vrid", bend(21, 9)),
    ] {
        w.node.packet(w.now, 0, &p);
        let text = crate::report::status::text(&w.node, "n", w.now, w.now);
        let line = text.lines().find(|l| l.starts_with("eth0  ")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(&format!("{name} 1")), "{line}");
    }
    for (name, p) in [
        ("type", bend(20, 0x22)),
        ("count_zero", bend(23, 0)),
        ("length", bend(23, 2)),
        ("checksum", bend(22, 7)),
    ] {
        w.node.packet(w.now, 0, &p);
        let text = crate::report::status::text(&w.node, "n", w.now, w.now);
        assert!(text.contains(&format!("{name} 1")), "{text}");
    }
    for d in Discard::ALL {
        assert!(w.node.links[0].bogus.all().any(|(n, _)| n == d.name()));
        assert!(w.node.routers[0].stats.all().any(|(n, _)| n == d.name()));
    }
    assert_eq!(w.kind(), Kind::Master);
}

/// Whoever disturbs us is named, and what differs.
#[test]
fn a_clash_names_its_sender_and_what_differs() {
    let mut w = master(&one("auth_type = PASS\nauth_pass = 1111"));
    let mine = w.node.routers[0].cfg.clone();
    let change = |f: &dyn Fn(&mut config::Vrrp)| {
        let mut other = (*mine).clone();
        f(&mut other);
        packet(&other, PEER, 50)
    };
    let v3 = change(&|c| (c.version, c.auth) = (config::Version::V3, config::Auth::None));
    let ah =
        sealed(&config::Vrrp { auth: config::Auth::Ah(KEY), ..(*mine).clone() }, PEER, GROUP_V4, 9, 1, &KEY);
    for (bytes, what) in [
        (v3, "VRRP version"),
        (ah, "authentication type"),
        (change(&|c| c.auth = config::Auth::None), "authentication type"),
        (change(&|c| c.auth = config::Auth::Pass([9; 8])), "invalid passwd"),
        (change(&|c| c.advert_int = ms(2000)), "mine=1 sec rcved=2 sec"),
        (change(&|c| c.vips[0].addr = OTHER.into()), "VIP associated with VRID mismatch"),
    ] {
        w.node.routers[0].quiet = Default::default();
        w.events.clear();
        w.node.packet(w.now, 0, &bytes);
        w.effects();
        let said: Vec<String> = w.events.iter().map(|e| crate::report::words::render(&w.node, e).1).collect();
        assert!(said.iter().any(|s| s.contains(what) && s.contains(&PEER.to_string())), "{what}: {said:?}");
    }
}
