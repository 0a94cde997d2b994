//! The numbers of VRRP below its messages: the IP protocol, the groups, and what an IP header says of a
//! message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol number and IPv6 next header.
pub const PROTOCOL: u8 = 112;
/// Where IPv4 adverts go (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where IPv6 adverts go (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// What the network layer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpInfo {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// TTL or hop limit; 0 if the socket did not say (no control message, or a value out of range).
    pub ttl: u8,
}
