//! ARP, neighbour advertisements and the IPv4 header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::Ipv6Addr;
use vipd::wire::arp::{self, Arp};
use vipd::wire::ipv4::{self, Ipv4};
use vipd::wire::ndp::{self, Na};

fuzz_target!(|data: &[u8]| {
    if let Some(a) = Arp::parse(data)
        && a.is_gratuitous()
    {
        let frame = arp::gratuitous(a.sha, a.spa);
        let again = Arp::parse(&frame[14..]).unwrap();
        assert_eq!((again.sha, again.spa, again.tpa), (a.sha, a.spa, a.spa));
        assert!(again.is_gratuitous());
    }
    if let Some((dst, message)) = data.split_first_chunk::<16>()
        && let Some(na) = Na::parse(&Ipv6Addr::from(*dst), 255, message)
        && let Some(mac) = na.mac
    {
        let frame = ndp::unsolicited(mac, na.target, dst[0] & 1 == 0);
        assert_eq!(Na::parse(&ndp::ALL_NODES, 255, &frame[54..]), Some(na));
    }
    if let Some(ip) = Ipv4::parse(data) {
        let mut out = Vec::new();
        ipv4::header(&mut out, ip.src, ip.dst, ip.id, ip.protocol, ip.payload.len() as u16);
        out.extend_from_slice(ip.payload);
        let again = Ipv4::parse(&out).unwrap();
        assert_eq!(again, Ipv4 { ttl: 255, tos: 0xc0, ..ip });
        // The payload is part of what came, and what a cut packet lacks is not made up.
        assert!(ip.payload.len() + 20 <= data.len());
    }
});
