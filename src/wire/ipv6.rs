//! IPv6 headers (RFC 8200 §3), for adverts that come and go as frames. No extension headers.
//!
//! ```text
//!  0 version 6, traffic class, flow label (4)   4 payload length (2)   6 next header   7 hop limit
//!  8 source (16)                               24 destination (16)
//! ```

use std::net::Ipv6Addr;

/// Internetwork control, as keepalived marks its adverts.
const TRAFFIC_CLASS: u8 = 0xc0;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Next header.
    pub next: u8,
    /// Hop limit.
    pub hops: u8,
    /// What follows the header, without padding.
    pub payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// `None` if it is not IPv6, or shorter than it says.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (&[v, _, _, _, l0, l1, next, hops], rest) = packet.split_first_chunk::<8>()?;
        let (src, rest) = rest.split_first_chunk::<16>()?;
        let (dst, rest) = rest.split_first_chunk::<16>()?;
        let payload = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
        (v >> 4 == 6).then_some(Ipv6 {
            src: Ipv6Addr::from(*src),
            dst: Ipv6Addr::from(*dst),
            next,
            hops,
            payload,
        })
    }
}

/// Appends the header of an advert or the like: hop limit 255.
pub fn header(out: &mut Vec<u8>, src: Ipv6Addr, dst: Ipv6Addr, next: u8, len: u16) {
    let [l0, l1] = len.to_be_bytes();
    out.extend_from_slice(&[0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0, l0, l1, next, 255]);
    out.extend_from_slice(&src.octets());
    out.extend_from_slice(&dst.octets());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SRC: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

    #[test]
    fn parses_what_it_builds() {
        let mut packet = Vec::new();
        header(&mut packet, SRC, DST, 112, 3);
        assert_eq!(packet[..8], [0x6c, 0, 0, 0, 0, 3, 112, 255]);
        packet.extend(b"abc");
        let want = Ipv6 { src: SRC, dst: DST, next: 112, hops: 255, payload: b"abc" };
        assert_eq!(Ipv6::parse(&packet), Some(want));
        for n in 0..packet.len() {
            assert_eq!(Ipv6::parse(&packet[..n]), None);
        }
        packet.push(0); // padding
        assert_eq!(Ipv6::parse(&packet), Some(want));
        packet[0] = 0x45;
        assert_eq!(Ipv6::parse(&packet), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = Ipv6::parse(&bytes);
        }
    }
}
