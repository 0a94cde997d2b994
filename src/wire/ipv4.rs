//! The IPv4 header (RFC 791 §3.1), as a raw socket delivers it and as one with `IP_HDRINCL` wants it.
//!
//! ```text
//!  0 version (4 bits) | IHL (4 bits, in 32-bit words)     1 type of service
//!  2 total length                                         4 identification
//!  6 flags (3 bits) | fragment offset                     8 time to live
//!  9 protocol        10 header checksum                  12 source        16 destination   20 options
//! ```

use super::checksum;
use std::net::Ipv4Addr;

/// Length of a header without options, in octets.
pub const HEADER_LEN: u16 = 20;

/// One received packet. The header checksum is not looked at: the kernel has, before a raw socket sees the
/// packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Protocol.
    pub protocol: u8,
    /// What follows the header and its options, up to the total length: no link-layer padding.
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Takes a packet apart. `None`: shorter than its header, not version 4, IHL below 5 or beyond the
    /// packet, total length below the header or beyond what was received (rung 1 of the receive ladder).
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let &[vi, tos, l0, l1, i0, i1, _, _, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            packet.first_chunk::<20>()?;
        let header = usize::from(vi & 0x0f) << 2;
        if vi >> 4 != 4 || header < usize::from(HEADER_LEN) {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([l0, l1]));
        Some(Ipv4 {
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
            ttl,
            tos,
            id: u16::from_be_bytes([i0, i1]),
            protocol,
            payload: packet.get(..total)?.get(header..)?,
        })
    }
}

/// Appends a 20-byte header for a payload of `payload_len` octets: ToS 0xC0 (internetwork control), TTL 255
/// (RFC 9568 §5.1.1.3), DF clear, checksum filled in. The kernel replaces an `id` of 0 by one of its own.
pub fn header(out: &mut Vec<u8>, src: Ipv4Addr, dst: Ipv4Addr, id: u16, protocol: u8, payload_len: u16) {
    let [l0, l1] = payload_len.saturating_add(HEADER_LEN).to_be_bytes();
    let [i0, i1] = id.to_be_bytes();
    let before = [0x45, 0xc0, l0, l1, i0, i1, 0, 0, 255, protocol];
    let (src, dst) = (src.octets(), dst.octets());
    let sum = checksum::ones_complement(&[&before, &src, &dst]);
    out.extend_from_slice(&before);
    out.extend_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&src);
    out.extend_from_slice(&dst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SRC: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const DST: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
    /// keepalived's header of a v2 advert with one address.
    const GOLDEN: [u8; 20] =
        [0x45, 0xc0, 0, 0x28, 0, 1, 0, 0, 0xff, 0x70, 0xd0, 0x88, 10, 9, 0, 1, 224, 0, 0, 18];

    fn packet(ihl: u8, total: u16, len: usize) -> Vec<u8> {
        let mut p = GOLDEN.to_vec();
        p[0] = 0x40 | ihl;
        p[2..4].copy_from_slice(&total.to_be_bytes());
        p.resize(len, 0xee);
        p
    }

    fn payload_len(p: &[u8]) -> Option<usize> {
        Ipv4::parse(p).map(|p| p.payload.len())
    }

    #[test]
    fn golden_header() {
        let mut out = vec![7];
        header(&mut out, SRC, DST, 1, 112, 20);
        assert_eq!(out[1..], GOLDEN);
        // The same of an AH packet.
        out.clear();
        header(&mut out, SRC, DST, 1, 51, 44);
        assert_eq!(out[..12], [0x45, 0xc0, 0, 0x40, 0, 1, 0, 0, 0xff, 0x33, 0xd0, 0xad]);
    }

    #[test]
    fn lengths() {
        assert_eq!(payload_len(&packet(5, 40, 40)), Some(20));
        assert_eq!(payload_len(&packet(5, 20, 20)), Some(0));
        assert_eq!(payload_len(&packet(5, 40, 46)), Some(20), "padding is cut off");
        assert_eq!(payload_len(&packet(6, 40, 40)), Some(16), "options");
        assert_eq!(payload_len(&packet(15, 64, 64)), Some(4), "40 bytes of options");
        assert_eq!(payload_len(&packet(4, 40, 40)), None, "IHL < 5");
        assert_eq!(payload_len(&packet(0, 40, 40)), None);
        assert_eq!(payload_len(&packet(15, 40, 40)), None, "IHL > len");
        assert_eq!(payload_len(&packet(6, 20, 40)), None, "total < IHL");
        assert_eq!(payload_len(&packet(5, 19, 40)), None);
        assert_eq!(payload_len(&packet(5, 41, 40)), None, "total > received");
        for n in 0..40 {
            assert_eq!(payload_len(&packet(5, 40, 40)[..n]), None);
        }
        let mut v6 = packet(5, 40, 40);
        v6[0] = 0x65;
        assert_eq!(payload_len(&v6), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn parse_of_header(src: [u8; 4], dst: [u8; 4], id: u16, protocol: u8, payload: Vec<u8>) {
            let mut out = Vec::new();
            let (src, dst) = (src.into(), dst.into());
            header(&mut out, src, dst, id, protocol, payload.len() as u16);
            prop_assert_eq!(checksum::ones_complement(&[&out]), 0);
            out.extend_from_slice(&payload);
            let want = Ipv4 { src, dst, ttl: 255, tos: 0xc0, id, protocol, payload: &payload };
            prop_assert_eq!(Ipv4::parse(&out), Some(want));
        }

        #[test]
        fn never_panics(mut bytes: Vec<u8>, vi in 0x40u8..0x50) {
            let _ = Ipv4::parse(&bytes);
            if let Some(b) = bytes.first_mut() {
                *b = vi;
            }
            let _ = Ipv4::parse(&bytes);
        }
    }
}
