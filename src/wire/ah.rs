//! Authentication of VRRPv2 (RFC 2338 §5.3.6): the password in clear, and the IP authentication header
//! (RFC 2402) with HMAC-MD5-96 (RFC 2403) as keepalived speaks it.
//!
//! ```text
//! IP header, 20 octets, protocol 51
//!  0 next header 112   1 length 4 (words less two)   2 reserved, zero
//!  4 SPI: the source address                         8 sequence number
//! 12 ICV (12)                                       24 VRRP message, auth type 2, eight zero octets last
//! ```
//!
//! The ICV covers the IP header with type of service, fragment field and checksum zeroed (on unicast the TTL
//! as well, although that must be 255 all the same), the AH header with the ICV zeroed, and the message.

use crate::base::secret::is_equal;
use crate::wire::md5;

/// IP protocol number of the authentication header.
pub const PROTOCOL: u8 = 51;
/// Octets of an authentication header.
pub const AH_LEN: u16 = 24;
/// Octets of the ICV, the first ones of HMAC-MD5.
const ICV_LEN: usize = 12;
/// Where the ICV is in an authentication header.
const ICV_AT: usize = 12;

/// The authentication header of a received packet, with the IP header before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ah<'a> {
    ip: &'a [u8; 20],
    header: &'a [u8; 24],
    /// The sequence number, to be believed after [`Ah::verify`].
    pub seq: u32,
}

impl<'a> Ah<'a> {
    /// Takes the header off `payload`, the payload of the IP packet `packet`; returns it and the message
    /// behind. `None`: too short, not VRRP behind it, not its length. Options in the IP header are refused as
    /// well: some are covered by the ICV and some are not, and nobody sends any.
    pub fn split(packet: &'a [u8], payload: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ip = packet.first_chunk::<20>().filter(|ip| ip.first() == Some(&0x45))?;
        let (header, message) = payload.split_first_chunk::<24>()?;
        let &[next, len, _, _, _, _, _, _, s0, s1, s2, s3, ..] = header;
        let is_vrrp = next == super::vrrp::PROTOCOL && len == 4;
        is_vrrp.then_some((Ah { ip, header, seq: u32::from_be_bytes([s0, s1, s2, s3]) }, message))
    }

    /// Whether the packet was made with `key`, and its SPI is its source.
    pub fn verify(&self, key: &[u8; 8], message: &[u8]) -> bool {
        let (ip, ah) = (self.ip, self.header);
        let got = ah.get(ICV_AT..).unwrap_or_default();
        is_equal(&icv(key, ip, ah, message), got) && ah.get(4..8) == ip.get(12..16)
    }
}

/// The ICV, whatever is in its place and in the fields it does not cover.
fn icv(key: &[u8; 8], ip: &[u8; 20], ah: &[u8; 24], message: &[u8]) -> [u8; ICV_LEN] {
    let mut ip = *ip;
    let [_, tos, _, _, _, _, f0, f1, ttl, _, c0, c1, _, _, _, _, dst, ..] = &mut ip;
    (*tos, *f0, *f1, *c0, *c1) = (0, 0, 0, 0, 0);
    if !(224..240).contains(dst) {
        *ttl = 0;
    }
    let [h @ .., _, _, _, _, _, _, _, _, _, _, _, _] = ah;
    let digest = md5::hmac(key, &[&ip, h, &[0; ICV_LEN], message]);
    digest.first_chunk().copied().unwrap_or_default()
}

/// Appends an authentication header without its ICV to the IP header at the end of `out`, whose source it
/// takes as its SPI.
pub fn header(out: &mut Vec<u8>, seq: u32) {
    let spi = out.last_chunk::<8>().and_then(|a| a.first_chunk::<4>()).copied().unwrap_or_default();
    out.extend_from_slice(&[super::vrrp::PROTOCOL, 4, 0, 0]);
    out.extend_from_slice(&spi);
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&[0; ICV_LEN]);
}

/// Writes the ICV of a packet that is otherwise complete: IP header, authentication header, message.
pub fn seal(packet: &mut [u8], key: &[u8; 8]) {
    let Some((ip, rest)) = packet.split_first_chunk_mut::<20>() else { return };
    let Some((ah, message)) = rest.split_first_chunk_mut::<24>() else { return };
    let icv = icv(key, ip, ah, message);
    if let Some(place) = ah.get_mut(ICV_AT..) {
        place.copy_from_slice(&icv);
    }
}
