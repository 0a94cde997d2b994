//! The Internet checksum (RFC 1071) and the pseudo-headers it may cover.

use std::net::{Ipv4Addr, Ipv6Addr};

/// One's complement of the one's complement sum of the 16-bit big-endian words of all `parts`, taken as
/// one run of bytes; an odd byte at the very end is the high half of a word (RFC 1071 §1).
///
/// Over data with its checksum field zeroed this is the value of the field; over data that includes a
/// right checksum it is 0.
pub fn ones_complement(parts: &[&[u8]]) -> u16 {
    // 64 bits cannot overflow: that would take 2^48 bytes.
    let mut sum: u64 = 0;
    let mut high = true;
    for part in parts {
        for &byte in *part {
            sum = sum.wrapping_add(if high { u64::from(byte) << 8 } else { u64::from(byte) });
            high = !high;
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16).wrapping_add(sum & 0xffff);
    }
    !(sum as u16)
}

/// The IPv4 pseudo-header (RFC 793 §3.1, RFC 5798 §5.2.8): source (4), destination (4), zero (1),
/// protocol (1), length of the message in octets (2).
pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> [u8; 12] {
    let [a, b, c, d] = src.octets();
    let [e, f, g, h] = dst.octets();
    let [hi, lo] = len.to_be_bytes();
    [a, b, c, d, e, f, g, h, 0, protocol, hi, lo]
}

/// The IPv6 pseudo-header (RFC 8200 §8.1): source (16), destination (16), length of the message in
/// octets (4), zero (3), next header (1).
pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, len: u32) -> [u8; 40] {
    let mut out = [0; 40];
    let tail = u64::from(len) << 32 | u64::from(next_header);
    super::fill(&mut out, &[&src.octets(), &dst.octets(), &tail.to_be_bytes()]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc1071_example() {
        // RFC 1071 §3: the sum of these is ddf2.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(ones_complement(&[&data]), !0xddf2);
    }

    #[test]
    fn edges() {
        assert_eq!(ones_complement(&[]), 0xffff);
        assert_eq!(ones_complement(&[&[]]), 0xffff);
        assert_eq!(ones_complement(&[&[0xab]]), !0xab00);
        assert_eq!(ones_complement(&[&[0xff; 131_072]]), 0);
        assert_eq!(ones_complement(&[&[0xff; 4096], &[0, 1]]), 0xfffe);
    }

    #[test]
    fn pseudo_headers() {
        assert_eq!(
            pseudo_v4(Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(224, 0, 0, 18), 112, 12),
            [10, 9, 0, 1, 224, 0, 0, 18, 0, 112, 0, 12]
        );
        let p = pseudo_v6("fe80::c8".parse().unwrap(), "ff02::12".parse().unwrap(), 112, 0x0102_0304);
        assert_eq!(p[..2], [0xfe, 0x80]);
        assert_eq!(p[15..18], [0xc8, 0xff, 0x02]);
        assert_eq!(p[31..], [0x12, 1, 2, 3, 4, 0, 0, 0, 112]);
    }

    /// An ICMPv6 neighbour advertisement for 2001:db8::1 to ff02::1.
    #[test]
    fn golden_v6() {
        let (src, dst) = ("2001:db8::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let mut body = [0; 32];
        body[..5].copy_from_slice(&[136, 0, 0x1b, 0x21, 0xa0]);
        body[8..24].copy_from_slice(&Ipv6Addr::octets(&src));
        body[24..].copy_from_slice(&[2, 1, 0, 0, 0x5e, 0, 2, 0x0a]);
        assert_eq!(ones_complement(&[&pseudo_v6(src, dst, 58, 32), &body]), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn parts_are_one_run(data: Vec<u8>, cuts: [prop::sample::Index; 2]) {
            let a = cuts[0].index(data.len() + 1);
            let b = a + cuts[1].index(data.len() - a + 1);
            let split = ones_complement(&[&data[..a], &data[a..b], &data[b..]]);
            prop_assert_eq!(split, ones_complement(&[&data]));
        }

        #[test]
        fn with_its_checksum_is_zero(mut data: Vec<u8>) {
            data.truncate(data.len() & !1);
            let sum = ones_complement(&[&data]);
            prop_assert_eq!(ones_complement(&[&data, &sum.to_be_bytes()]), 0);
        }
    }
}
