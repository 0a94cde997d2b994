//! Ethernet frames around IP packets: destination (6), source (6), type (2), payload. RFC 1112 §6.4.

use std::net::Ipv4Addr;

/// Type of IPv4.
pub const IPV4: u16 = 0x0800;

/// The frame of an IPv4 packet to a multicast group.
pub fn multicast_v4(group: Ipv4Addr, source: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let [_, b, c, d] = group.octets();
    let mut frame = vec![0x01, 0x00, 0x5e, b & 0x7f, c, d];
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&IPV4.to_be_bytes());
    frame.extend_from_slice(packet);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_multicast_address() {
        let frame = multicast_v4(Ipv4Addr::new(224, 0, 0, 18), [0, 0, 0x5e, 0, 1, 51], b"packet");
        assert_eq!(frame[..6], [1, 0, 0x5e, 0, 0, 18]);
        assert_eq!(frame[6..14], [0, 0, 0x5e, 0, 1, 51, 8, 0]);
        assert_eq!(&frame[14..], b"packet");
        // The highest bit of the second octet is lost.
        assert_eq!(multicast_v4(Ipv4Addr::new(239, 255, 1, 2), [0; 6], b"")[..6], [1, 0, 0x5e, 0x7f, 1, 2]);
    }
}
