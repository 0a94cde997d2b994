//! VRRP messages (RFC 3768 §5.1, RFC 9568 §5.1) as pure functions over bytes, without the IP header.
//!
//! ```text
//! v2: 0 version 2 | type 1   1 VRID   2 priority   3 count   4 auth type          5 interval, seconds
//!     6 checksum (2)         8 count × 4 addresses, then always 8 octets of auth data
//! v3: 0 version 3 | type 1   1 VRID   2 priority   3 count   4 reserve (4 bits) | interval, cs (12 bits)
//!     6 checksum (2)         8 count × 4 or 16 addresses, of the family of the carrier
//! ```
//!
//! # The receive ladder
//!
//! A packet is refused by the first rung it fails, in the order of [`Discard::ALL`]. Three functions hold it
//! between them, so that one socket can serve routers of different versions:
//!
//! 1. `wire::ipv4` refuses a broken IP header: [`Discard::IpHeader`].
//! 2. [`preamble`] checks what needs no router, down to an unknown version, and gives the VRID. The
//!    demultiplexer looks it up; not found is [`Discard::Type`] of what is no advertisement, else
//!    [`Discard::Vrid`].
//! 3. [`decode`] checks the rest against what that router expects. "Unicast to a multicast router" or the
//!    reverse, and "not this group's version", are asked first here, as there is no router before the
//!    look-up; they count as [`Discard::Destination`] and [`Discard::Version`] too.
//!
//! With `auth_hmac` the order is another one: see [`decode`]. `decode` calls `preamble` itself, so it is
//! complete without a demultiplexer.
//!
//! A refused packet changes nothing, with one exception: what is authentic has used up its sequence.

mod discard;

pub use discard::Discard;

use super::authentication::{Authentication, Sealed};
use crate::config::Version;
use crate::wire::ah::Ah;
use crate::wire::auth_trailer::Trailer;
use crate::wire::checksum::{ones_complement, pseudo_v4, pseudo_v6};
use crate::wire::vrrp::{GROUP_V4, GROUP_V6, IpInfo, PROTOCOL};
use std::net::IpAddr;
use std::time::Duration;

/// Octets before the addresses.
const HEADER: u16 = 8;
/// Octets of authentication data behind the addresses in v2.
const AUTH: u16 = 8;
/// ADVERTISEMENT, the only type.
const TYPE: u8 = 1;

/// What the receiving instance expects.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Its version.
    pub version: Version,
    /// Its own interval.
    pub advert_int: Duration,
    /// The address it sends from, if it has one.
    pub own_addr: Option<IpAddr>,
    /// Adverts come by unicast, to `own_addr`, and not to the group.
    pub unicast: bool,
    /// Its virtual addresses.
    pub vips: &'a [IpAddr],
    /// The only senders it listens to; empty: all.
    pub peers: &'a [IpAddr],
}

/// A packet taken apart as far as the VRID.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the IP header said.
    pub info: IpInfo,
    /// The authentication header that was before the message.
    pub ah: Option<Ah<'a>>,
    /// The VRRP message, and what may be behind it.
    pub message: &'a [u8],
    /// Its version and VRID.
    pub preamble: Preamble,
}

/// What version 2 says of authentication in the message (RFC 2338 §5.3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthFields {
    /// The type: 0 none, 1 password, 2 authentication header.
    pub kind: u8,
    /// What stands behind the addresses.
    pub data: [u8; 8],
}

/// An accepted advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Virtual router.
    pub vrid: u8,
    /// Priority; 0: the sender resigns.
    pub priority: u8,
    /// The sender's interval, never zero.
    pub interval: Duration,
    /// The sender.
    pub src: IpAddr,
    /// What is odd about it.
    pub notes: Notes,
}

/// Oddities an advert is accepted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// v3: the interval is not ours. (v2: [`Discard::Interval`].)
    pub interval_differs: bool,
    /// Not as many addresses as ours.
    pub address_count_differs: bool,
    /// As many, but one of ours is missing.
    pub address_list_differs: bool,
    /// v3 over IPv4 with the checksum of the message only (RFC 9568 §5.2.8), where keepalived includes the
    /// pseudo-header (RFC 5798 §5.2.8).
    pub checksum_without_pseudo_header: bool,
    /// IPv6: the first address is not link-local (RFC 9568 erratum 8300). keepalived does not mind: to
    /// refuse its advert would make two masters.
    pub first_not_link_local: bool,
    /// `auth_hmac`: the sender's clock is ahead of ours by so many seconds, more than half of what is
    /// accepted; 0: it is not.
    pub clock_skew: i32,
}

/// What a message says before it is known whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The version.
    pub version: Version,
    /// The virtual router.
    pub vrid: u8,
}

/// Destination and TTL. That is 255 on unicast too, which is what keepalived sends unless `unicast_ttl` says
/// else.
pub fn check_carrier(carrier: &IpInfo) -> Result<(), Discard> {
    // Which of group and unicast it must be is for the instance to say.
    let possible = match (carrier.src, carrier.dst) {
        (IpAddr::V4(_), IpAddr::V4(d)) => d == GROUP_V4 || !(d.is_multicast() || d.is_broadcast()),
        (IpAddr::V6(_), IpAddr::V6(d)) => d == GROUP_V6 || !d.is_multicast(),
        _ => false,
    };
    if !possible {
        return Err(Discard::Destination);
    }
    if carrier.ttl != 255 {
        return Err(Discard::Ttl);
    }
    Ok(())
}

/// The rungs above the look-up of the VRID: those of the carrier, eight octets, a known version (v2 is IPv4
/// only).
pub fn preamble(carrier: &IpInfo, payload: &[u8]) -> Result<Preamble, Discard> {
    check_carrier(carrier)?;
    let Some(&[version_type, vrid, ..]) = payload.first_chunk::<8>() else {
        return Err(Discard::Short);
    };
    let version = match (version_type >> 4, carrier.src) {
        (2, IpAddr::V4(_)) => Version::V2,
        (3, _) => Version::V3,
        _ => return Err(Discard::Version),
    };
    Ok(Preamble { version, vrid })
}

/// Whether a message of at least one octet is an advertisement.
pub fn check_type(payload: &[u8]) -> Result<(), Discard> {
    match payload {
        [first, ..] if first & 0x0f == TYPE => Ok(()),
        _ => Err(Discard::Type),
    }
}

/// A message taken apart.
struct Parts<'a> {
    /// All of it, without what is behind it.
    message: &'a [u8],
    priority: u8,
    /// The sender's interval.
    interval: Duration,
    /// The addresses.
    list: &'a [u8],
    /// What version 2 says of authentication.
    fields: AuthFields,
    /// What is behind the message.
    trailer: Option<Trailer<'a>>,
}

impl<'a> Parts<'a> {
    /// `trailer`: whether there may be one.
    fn of(payload: &'a [u8], version: Version, src: &IpAddr, trailer: bool) -> Result<Self, Discard> {
        let Some(&[_, _, priority, count, b4, b5, _, _]) = payload.first_chunk::<8>() else {
            return Err(Discard::Short);
        };
        if count == 0 {
            return Err(Discard::CountZero);
        }
        let list_len = usize::from(count).saturating_mul(width(src));
        let (head, rest) = payload.split_at(usize::from(HEADER));
        let (list, rest) = rest.split_at_checked(list_len).ok_or(Discard::Length)?;
        let auth_len = usize::from(auth_len(version));
        let (data, rest) = rest.split_at_checked(auth_len).ok_or(Discard::Length)?;
        // What is longer by no more than the padding of an Ethernet frame is refused as well.
        let trailer = match rest {
            [] => None,
            rest if trailer => Some(Trailer::parse(rest).ok_or(Discard::Length)?),
            _ => return Err(Discard::Length),
        };
        let (fields, interval) = match version {
            Version::V2 => {
                let data = data.first_chunk().copied().unwrap_or_default();
                (AuthFields { kind: b4, data }, Duration::from_secs(b5.into()))
            }
            // RFC 9568 §5.2.6: the top four bits are ignored.
            Version::V3 => (AuthFields::default(), centiseconds(u16::from_be_bytes([b4 & 0x0f, b5]))),
        };
        let len = head.len().saturating_add(list_len).saturating_add(auth_len);
        let message = payload.get(..len).unwrap_or(payload);
        Ok(Parts { message, priority, interval, list, fields, trailer })
    }
}

/// The whole ladder but the IP header, the authentication header's form and the look-up of the VRID, which
/// are for the caller to do. `wall`: time since 1970 UTC.
///
/// A trailer is checked before what it covers, as keepalived does: what is not genuine says nothing of its
/// sender.
pub fn decode(
    r: &Received,
    wall: Duration,
    expect: &Expect,
    auth: &mut Authentication,
) -> Result<Advert, Discard> {
    let (info, payload) = (&r.info, r.message);
    let Preamble { version, vrid } = preamble(info, payload)?;
    let covered = auth.has_trailer();
    if !covered {
        check_destination(info, expect)?;
    }
    if version != expect.version {
        return Err(Discard::Version);
    }
    if !covered {
        check_type(payload)?;
    }
    let parts = Parts::of(payload, version, &info.src, covered)?;
    let source = check_source(&info.src, parts.priority, expect);
    let Parts { message, fields, trailer, .. } = parts;
    let sealed = Sealed { packet: r, message, fields, trailer, source, wall };
    let mut notes = Notes::default();
    if covered {
        notes.clock_skew = auth.open(&sealed)?;
        check_destination(info, expect)?;
        check_type(payload)?;
    }
    notes.checksum_without_pseudo_header = check_checksum(info, payload, parts.message, version)?;
    if !covered {
        auth.open(&sealed)?;
    }
    if parts.interval.is_zero() {
        return Err(Discard::IntervalZero);
    }
    if parts.interval != expect.advert_int {
        match version {
            Version::V2 => return Err(Discard::Interval),
            Version::V3 => notes.interval_differs = true,
        }
    }
    notes.compare(&parts, info, expect);
    Ok(Advert { vrid, priority: parts.priority, interval: parts.interval, src: info.src, notes })
}

impl Notes {
    /// What is odd about its addresses.
    fn compare(&mut self, parts: &Parts, info: &IpInfo, expect: &Expect) {
        self.first_not_link_local = info.src.is_ipv6() && !matches!(parts.list, [0xfe, 0x80..=0xbf, ..]);
        let len = expect.vips.len().saturating_mul(width(&info.src));
        self.address_count_differs = parts.list.len() != len;
        self.address_list_differs =
            !self.address_count_differs && !expect.vips.iter().all(|vip| listed(parts.list, vip));
    }
}

/// Whether it went where this virtual router hears.
fn check_destination(info: &IpInfo, expect: &Expect) -> Result<(), Discard> {
    let is_for_us = match expect.unicast {
        // Before the own address is known, at the start, the kernel has told that it is for this host.
        true => !info.dst.is_multicast() && expect.own_addr.is_none_or(|own| own == info.dst),
        false => info.dst.is_multicast(),
    };
    if is_for_us { Ok(()) } else { Err(Discard::Destination) }
}

/// True if the checksum is right, but only without the pseudo-header it might have had. Over IPv6 it covers
/// all of the payload, over IPv4 only the message.
fn check_checksum(info: &IpInfo, payload: &[u8], message: &[u8], version: Version) -> Result<bool, Discard> {
    let covered = if info.src.is_ipv4() { message } else { payload };
    if version == Version::V3 && v3_checksum(&info.src, &info.dst, covered) == 0 {
        return Ok(false);
    }
    if info.src.is_ipv4() && ones_complement(&[covered]) == 0 {
        return Ok(version == Version::V3);
    }
    Err(Discard::Checksum)
}

/// Over pseudo-header and message. Addresses of two families, which neither side has, get none.
fn v3_checksum(src: &IpAddr, dst: &IpAddr, message: &[u8]) -> u16 {
    let len = message.len();
    match (src, dst) {
        (IpAddr::V4(s), IpAddr::V4(d)) => {
            ones_complement(&[&pseudo_v4(*s, *d, PROTOCOL, len as u16), message])
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            ones_complement(&[&pseudo_v6(*s, *d, PROTOCOL, len as u32), message])
        }
        _ => ones_complement(&[message]),
    }
}

fn check_source(src: &IpAddr, priority: u8, expect: &Expect) -> Result<(), Discard> {
    if expect.own_addr.as_ref() == Some(src) {
        return Err(Discard::OwnSource);
    }
    // An owner (255) may well send from the address it owns; refusing that would make two masters.
    let borrowed = priority != 255 && expect.vips.contains(src);
    if src.is_unspecified() || src.is_multicast() || borrowed {
        return Err(Discard::BadSource);
    }
    if !expect.peers.is_empty() && !expect.peers.contains(src) {
        return Err(Discard::UnknownPeer);
    }
    Ok(())
}

/// Whether `vip` is one of the addresses of a message.
fn listed(list: &[u8], vip: &IpAddr) -> bool {
    match vip {
        IpAddr::V4(a) => list.chunks_exact(4).any(|b| b == a.octets()),
        IpAddr::V6(a) => list.chunks_exact(16).any(|b| b == a.octets()),
    }
}

/// Octets of an address.
fn width(family: &IpAddr) -> usize {
    if family.is_ipv4() { 4 } else { 16 }
}

/// By how many octets a message is longer than its version and its count of addresses make it; 0: it is not.
pub fn excess(payload: &[u8], src: &IpAddr) -> i32 {
    let Some(&[version_type, _, _, count, ..]) = payload.first_chunk::<8>() else { return 0 };
    let version = if version_type >> 4 == 2 { Version::V2 } else { Version::V3 };
    let list = usize::from(count).saturating_mul(width(src));
    let len = usize::from(HEADER.saturating_add(auth_len(version))).saturating_add(list);
    i32::try_from(payload.len().saturating_sub(len)).unwrap_or(0)
}

/// Octets of authentication data behind the addresses.
fn auth_len(version: Version) -> u16 {
    match version {
        Version::V2 => AUTH,
        Version::V3 => 0,
    }
}

fn centiseconds(cs: u16) -> Duration {
    Duration::from_millis(u64::from(cs).saturating_mul(10))
}

/// All of an advertisement but its priority, which is an argument of [`encode`]: it is 0 once and the
/// configured one else, and never a field that somebody could forget to set back.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Version; v2 only with IPv4 addresses.
    pub version: Version,
    /// Virtual router.
    pub vrid: u8,
    /// Interval: sent as 1 to 255 s (v2), 1 to 4095 cs (v3), what is beyond as the nearest of these.
    pub interval: Duration,
    /// Virtual addresses. Sent are the first 255 of the family of `src`, in this order.
    pub vips: &'a [IpAddr],
    /// Where it is sent from; for the pseudo-header.
    pub src: IpAddr,
    /// Where it is sent to; for the pseudo-header.
    pub dst: IpAddr,
    /// v3 over IPv4: checksum of the message only.
    pub v3_checksum_as_v2: bool,
}

impl<'a> Outgoing<'a> {
    /// Length of the message in octets, for the IP header ahead of it: 4096 at most.
    pub fn message_len(&self) -> u16 {
        let list = self.addresses().count().saturating_mul(width(&self.src)) as u16;
        HEADER.saturating_add(list).saturating_add(auth_len(self.version))
    }

    fn addresses(&self) -> impl Iterator<Item = &'a IpAddr> + use<'a> {
        let v4 = self.src.is_ipv4();
        self.vips.iter().filter(move |a| a.is_ipv4() == v4).take(255)
    }
}

/// Appends the message, [`Outgoing::message_len`] octets, to `out`; what is there before is left alone.
/// `auth`: for version 2 only.
pub fn encode(out: &mut Vec<u8>, o: &Outgoing, auth: &AuthFields, priority: u8) {
    let start = out.len();
    let (version, [b4, b5], auth_data) = match o.version {
        Version::V2 => (2, [auth.kind, seconds(o.interval)], Some(auth.data)),
        Version::V3 => {
            let cs = (o.interval.as_millis() / 10).clamp(1, 4095) as u16;
            (3, cs.to_be_bytes(), None)
        }
    };
    let count = o.addresses().count() as u8;
    out.extend_from_slice(&[version << 4 | TYPE, o.vrid, priority, count, b4, b5, 0, 0]);
    for addr in o.addresses() {
        match addr {
            IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
        }
    }
    if let Some(data) = auth_data {
        out.extend_from_slice(&data);
    }
    set_checksum(out.get_mut(start..).unwrap_or_default(), o);
}

/// Writes the checksum of a message, and of what is behind it if that is covered, too.
pub fn set_checksum(message: &mut [u8], o: &Outgoing) {
    let set = |message: &mut [u8], sum: u16| {
        if let Some(place) = message.get_mut(6..8) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    };
    set(message, 0);
    let plain = o.version == Version::V2 || (o.v3_checksum_as_v2 && o.src.is_ipv4());
    let sum = if plain { ones_complement(&[message]) } else { v3_checksum(&o.src, &o.dst, message) };
    set(message, sum);
}

fn seconds(interval: Duration) -> u8 {
    interval.as_secs().clamp(1, 255) as u8
}

#[cfg(test)]
mod tests;
