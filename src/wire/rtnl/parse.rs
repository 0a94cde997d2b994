//! What the kernel says.

use super::{Addr, HEADER, IFA_PROTO, IfName, Link, Msg, macvlan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The messages of one datagram. Unknown ones are [`Msg::Other`]; the caller has checked that the sender is
/// the kernel (port 0).
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Msg> + '_ {
    Messages { rest: datagram, next: None }
}

struct Messages<'a> {
    rest: &'a [u8],
    /// Held back while its [`Msg::Interrupted`] goes ahead.
    next: Option<Msg>,
}

impl Iterator for Messages<'_> {
    type Item = Msg;

    fn next(&mut self) -> Option<Msg> {
        if self.next.is_some() {
            return self.next.take();
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some((header, body, rest)) = split(self.rest) else {
            self.rest = &[];
            return Some(Msg::Overrun);
        };
        self.rest = rest;
        let msg = message(&header, body);
        if i32::from(header.flags) & libc::NLM_F_DUMP_INTR == 0 || header.seq == 0 {
            return Some(msg);
        }
        self.next = Some(msg);
        Some(Msg::Interrupted { seq: header.seq })
    }
}

pub struct Header {
    pub kind: u16,
    flags: u16,
    pub seq: u32,
}

/// The first message: header, body, and what comes after it. `None` if it is cut off.
pub fn split(data: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let len = u32_at(data, 0)? as usize;
    let header = Header { kind: u16_at(data, 4)?, flags: u16_at(data, 6)?, seq: u32_at(data, 8)? };
    let body = data.get(HEADER..len)?;
    // The last message need not be padded.
    let rest = data.get(len.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((header, body, rest))
}

fn message(header: &Header, body: &[u8]) -> Msg {
    let seq = header.seq;
    let found = match header.kind {
        libc::RTM_NEWLINK => link(seq, body).map(Msg::Link),
        libc::RTM_DELLINK => link_gone(body),
        libc::RTM_NEWADDR => addr(seq, body).map(Msg::Addr),
        libc::RTM_DELADDR => addr(seq, body).map(Msg::AddrGone),
        libc::RTM_NEWNEIGH => unanswered(body),
        kind => match i32::from(kind) {
            libc::NLMSG_ERROR => u32_at(body, 0).map(|e| Msg::Ack { seq, errno: errno(e) }),
            libc::NLMSG_DONE => Some(Msg::Done { seq, errno: u32_at(body, 0).map_or(0, errno) }),
            libc::NLMSG_OVERRUN => Some(Msg::Overrun),
            _ => None,
        },
    };
    found.unwrap_or(Msg::Other)
}

/// Netlink carries errors as negative numbers.
pub fn errno(raw: u32) -> i32 {
    (raw as i32).saturating_neg().max(0)
}

/// `ifinfomsg` and attributes. Bridges and IPv6 send messages of these types about themselves, with a family:
/// a port that leaves its bridge is a DELLINK of family `AF_BRIDGE` and not gone at all.
fn ifinfo(body: &[u8]) -> Option<(u32, u32, Attrs<'_>)> {
    let attrs = body.get(16..)?;
    if i32::from(*body.first()?) != libc::AF_UNSPEC {
        return None;
    }
    Some((u32_at(body, 4)?, u32_at(body, 8)?, Attrs(attrs)))
}

/// `IFLA_EVENT_BONDING_FAILOVER` and `IFLA_EVENT_NOTIFY_PEERS` (linux/if_link.h).
const EVENTS: [u32; 2] = [3, 4];

/// Wireless events are NEWLINK messages without a name: they say nothing here, and are `None`.
fn link(seq: u32, body: &[u8]) -> Option<Link> {
    let (ifindex, flags, attrs) = ifinfo(body)?;
    let (mut name, mut mac, mut lower, mut group, mut mtu) = (None, None, None, 0, u32::MAX);
    let (mut macvlan, mut elsewhere, mut moved) = (false, false, false);
    let (mut master, mut vrf) = (0, false);
    for (kind, value) in attrs {
        match kind {
            libc::IFLA_IFNAME => name = Some(IfName::from_bytes(value)),
            libc::IFLA_ADDRESS => mac = <[u8; 6]>::try_from(value).ok(),
            libc::IFLA_LINK => lower = u32_at(value, 0),
            // The index is one of another network namespace.
            libc::IFLA_LINK_NETNSID => elsewhere = true,
            libc::IFLA_MTU => mtu = u32_at(value, 0).unwrap_or(mtu),
            libc::IFLA_GROUP => group = u32_at(value, 0).unwrap_or(0),
            libc::IFLA_MASTER => master = u32_at(value, 0).unwrap_or(0),
            libc::IFLA_LINKINFO => {
                macvlan = is_kind(value, IFLA_INFO_KIND, macvlan::KIND);
                vrf = is_kind(value, IFLA_INFO_SLAVE_KIND, b"vrf");
            }
            libc::IFLA_EVENT => moved = u32_at(value, 0).is_some_and(|e| EVENTS.contains(&e)),
            _ => {}
        }
    }
    let has = |bits: i32| flags & bits as u32 == bits as u32;
    Some(Link {
        seq,
        ifindex,
        name: name?,
        up: has(libc::IFF_UP),
        running: has(libc::IFF_LOWER_UP | libc::IFF_RUNNING),
        mac,
        moved,
        macvlan_of: lower.filter(|_| macvlan).map(|i| if elsewhere { 0 } else { i }),
        group,
        mtu,
        is_port: master != 0 && !vrf,
    })
}

/// What an interface is (linux/if_link.h).
const IFLA_INFO_KIND: u16 = 1;
/// What its master is.
const IFLA_INFO_SLAVE_KIND: u16 = 4;

/// Whether `IFLA_LINKINFO` has this attribute with this name, with or without its NUL.
fn is_kind(info: &[u8], attr: u16, name: &[u8]) -> bool {
    Attrs(info).any(|(kind, value)| kind == attr && value.strip_suffix(&[0]).unwrap_or(value) == name)
}

fn link_gone(body: &[u8]) -> Option<Msg> {
    let (ifindex, _, mut attrs) = ifinfo(body)?;
    let name = attrs.find(|a| a.0 == libc::IFLA_IFNAME).map_or(&[][..], |a| a.1);
    Some(Msg::LinkGone { ifindex, name: IfName::from_bytes(name) })
}

fn addr(seq: u32, body: &[u8]) -> Option<Addr> {
    let (&[family, prefix, flags, scope, i0, i1, i2, i3], attrs) = body.split_first_chunk::<8>()?;
    let mut out = Addr {
        seq,
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix,
        scope,
        flags: u32::from(flags),
        proto: None,
        valid: u32::MAX,
        preferred: u32::MAX,
        tstamp: 0,
        label: None,
    };
    let (mut local, mut address) = (None, None);
    for (kind, value) in Attrs(attrs) {
        match kind {
            libc::IFA_LOCAL => local = ip(family, value),
            libc::IFA_ADDRESS => address = ip(family, value),
            libc::IFA_LABEL => out.label = Some(IfName::from_bytes(value)),
            libc::IFA_FLAGS => out.flags = u32_at(value, 0).unwrap_or(out.flags),
            libc::IFA_CACHEINFO => {
                out.preferred = u32_at(value, 0).unwrap_or(out.preferred);
                out.valid = u32_at(value, 4).unwrap_or(out.valid);
                out.tstamp = u32_at(value, 12).unwrap_or(out.tstamp);
            }
            IFA_PROTO => out.proto = value.first().copied(),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer.
    out.addr = local.or(address)?;
    Some(out)
}

/// `ndmsg` and attributes.
fn unanswered(body: &[u8]) -> Option<Msg> {
    let (ifindex, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let (_, dst) = Attrs(body.get(12..)?).find(|a| a.0 == libc::NDA_DST)?;
    let addr = ip(*body.first()?, dst).filter(|_| state == libc::NUD_INCOMPLETE)?;
    Some(Msg::Unanswered { ifindex, addr })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => <[u8; 4]>::try_from(value).ok().map(|a| IpAddr::V4(Ipv4Addr::from(a))),
        libc::AF_INET6 => <[u8; 16]>::try_from(value).ok().map(|a| IpAddr::V6(Ipv6Addr::from(a))),
        _ => None,
    }
}

/// Attributes as (type without its two flag bits, value); ends at the first malformed one.
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & 0x3fff;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

pub fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}
