//! Ethernet frames: destination (6), source (6), type (2), payload.

use std::net::IpAddr;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The address of a multicast group (RFC 1112 §6.4, RFC 2464 §7).
pub fn group(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [_, b, c, d] = ip.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

/// Appends the header of a frame from `source` to a multicast group.
pub fn to_group(out: &mut Vec<u8>, source: [u8; 6], ip: IpAddr) {
    out.extend_from_slice(&group(ip));
    out.extend_from_slice(&source);
    out.extend_from_slice(&if ip.is_ipv4() { IPV4 } else { IPV6 }.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_families() {
        let frame = |ip: &str| {
            let mut frame = Vec::new();
            to_group(&mut frame, [0, 0, 0x5e, 0, 1, 51], ip.parse().unwrap());
            frame
        };
        assert_eq!(frame("224.0.0.18"), [1, 0, 0x5e, 0, 0, 18, 0, 0, 0x5e, 0, 1, 51, 8, 0]);
        assert_eq!(frame("ff02::12"), [0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 51, 0x86, 0xdd]);
        // The highest bit of the second octet is lost.
        assert_eq!(frame("239.255.1.2")[..6], [1, 0, 0x5e, 0x7f, 1, 2]);
    }
}
