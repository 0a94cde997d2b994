//! ICMP echo (RFC 792, RFC 4443 §4): type (1), code (1), checksum (2), identifier (2), sequence number (2),
//! data.

use super::checksum;

/// Identifier and sequence number, and eight octets of data: an answer is one's own if it has them all.
pub type Token = [u32; 3];

/// Type of an echo reply.
pub const fn reply_type(ipv6: bool) -> u8 {
    if ipv6 { 129 } else { 0 }
}

/// An echo request. Of ICMPv6 the kernel makes the checksum, for it covers the addresses.
pub fn echo_request(ipv6: bool, token: &Token) -> [u8; 16] {
    let mut message = [0; 16];
    let [a, b, c] = token.map(u32::to_be_bytes);
    super::fill(&mut message, &[&[if ipv6 { 128 } else { 8 }, 0, 0, 0], &a, &b, &c]);
    if !ipv6 {
        let [hi, lo] = checksum::ones_complement(&[&message]).to_be_bytes();
        (message[2], message[3]) = (hi, lo);
    }
    message
}

/// Whether this is the answer, as a raw socket receives it: of IPv4 with the IP header, of IPv6 without.
pub fn is_echo_reply(ipv6: bool, packet: &[u8], token: &Token) -> bool {
    let header = match packet.first() {
        Some(b) if !ipv6 => usize::from(b & 0x0f) << 2,
        _ => 0,
    };
    let message = packet.get(header..).unwrap_or_default();
    let data = message.get(4..).unwrap_or_default();
    message.starts_with(&[reply_type(ipv6), 0])
        && data.iter().copied().eq(token.iter().flat_map(|w| w.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = [0x0102_0304, 0x0506_0708, 0x090a_0b0c];
    const OCTETS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn requests() {
        let v4 = echo_request(false, &TOKEN);
        assert_eq!(checksum::ones_complement(&[&v4]), 0);
        assert_eq!((v4[0], &v4[4..]), (8, &OCTETS[..]));
        assert_eq!(echo_request(true, &TOKEN)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn only_the_very_answer_counts() {
        for ipv6 in [false, true] {
            let mut good = if ipv6 { vec![] } else { vec![0x46; 24] };
            let at = good.len();
            good.extend([reply_type(ipv6), 0, 0xab, 0xcd]);
            good.extend(OCTETS);
            assert!(is_echo_reply(ipv6, &good, &TOKEN));
            for octet in (at..at + 2).chain(at + 4..good.len()) {
                let mut bad = good.clone();
                bad[octet] ^= 1;
                assert!(!is_echo_reply(ipv6, &bad, &TOKEN), "octet {octet}");
            }
            for len in 0..good.len() {
                assert!(!is_echo_reply(ipv6, &good[..len], &TOKEN), "{len} octets");
            }
            good.push(0);
            assert!(!is_echo_reply(ipv6, &good, &TOKEN), "longer");
        }
        let short_header = [0x40, 0, 0, 0, 0, 0];
        assert!(!is_echo_reply(false, &short_header, &TOKEN));
    }
}
