//! Requests to the kernel.

use super::{AddrSpec, HEADER, IFA_PROTO};
use std::net::IpAddr;

/// Appends `RTM_NEWADDR` with `NLM_F_REQUEST | NLM_F_ACK | flags`: `NLM_F_CREATE | NLM_F_EXCL` to add,
/// `NLM_F_REPLACE` to renew.
pub fn new_addr(buf: &mut Vec<u8>, seq: u32, flags: u16, spec: &AddrSpec) {
    let start = begin_addr(buf, libc::RTM_NEWADDR, ack(flags), seq, spec);
    if let (Some(label), IpAddr::V4(_)) = (spec.label, spec.addr) {
        // One octet beyond what fits is sent, so that the kernel refuses a long label instead of vipd
        // shortening it.
        let label = label.as_bytes();
        attr(buf, libc::IFA_LABEL, &[label.get(..16).unwrap_or(label), &[0]]);
    }
    if let Some(life) = spec.lifetime {
        // struct ifa_cacheinfo: ifa_prefered, ifa_valid, cstamp, tstamp (4 each); the kernel sets the stamps.
        let (preferred, valid) = (life.preferred.to_ne_bytes(), life.valid.to_ne_bytes());
        attr(buf, libc::IFA_CACHEINFO, &[&preferred, &valid, &[0; 8]]);
    }
    if let Some(proto) = spec.proto {
        attr(buf, IFA_PROTO, &[&[proto]]);
    }
    attr(buf, libc::IFA_FLAGS, &[&spec.flags.to_ne_bytes()]);
    finish(buf, start);
}

/// Appends `RTM_DELADDR`. Interface, address and prefix length name the address; label, lifetime and tag
/// are left out, so that it goes even if somebody has changed them.
pub fn del_addr(buf: &mut Vec<u8>, seq: u32, spec: &AddrSpec) {
    let start = begin_addr(buf, libc::RTM_DELADDR, ack(0), seq, spec);
    finish(buf, start);
}

/// Appends a request for all interfaces. A socket has one dump at a time (else EBUSY): send no other before
/// its [`super::Msg::Done`].
pub fn dump_links(buf: &mut Vec<u8>, seq: u32) {
    let start = begin(buf, libc::RTM_GETLINK, DUMP, seq);
    buf.extend_from_slice(&[0; 16]);
    finish(buf, start);
}

/// Appends a request for all addresses of both families. As to dumps at a time see [`dump_links`].
pub fn dump_addrs(buf: &mut Vec<u8>, seq: u32) {
    let start = begin(buf, libc::RTM_GETADDR, DUMP, seq);
    buf.extend_from_slice(&[0; 8]);
    finish(buf, start);
}

/// Appends a request for all neighbours of both families. As to dumps at a time see [`dump_links`].
pub fn dump_neighbours(buf: &mut Vec<u8>, seq: u32) {
    let start = begin(buf, libc::RTM_GETNEIGH, DUMP, seq);
    buf.extend_from_slice(&[0; 12]);
    finish(buf, start);
}

/// Appends `RTM_DELNEIGH`.
pub fn del_neighbour(buf: &mut Vec<u8>, seq: u32, ifindex: u32, addr: IpAddr) {
    let start = begin(buf, libc::RTM_DELNEIGH, ack(0), seq);
    buf.extend_from_slice(&[family(addr), 0, 0, 0]);
    buf.extend_from_slice(&ifindex.to_ne_bytes());
    buf.extend_from_slice(&[0; 4]);
    match addr {
        IpAddr::V4(a) => attr(buf, libc::NDA_DST, &[&a.octets()]),
        IpAddr::V6(a) => attr(buf, libc::NDA_DST, &[&a.octets()]),
    }
    finish(buf, start);
}

const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;

pub(super) fn ack(flags: u16) -> u16 {
    (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16 | flags
}

/// The request at `start`, if there is one, is to be answered only if it fails (no `NLM_F_ACK`).
pub fn unanswered(buf: &mut [u8], start: usize) {
    if let Some(flags) = buf.get_mut(start..).and_then(|m| m.get_mut(6..8)?.first_chunk_mut::<2>()) {
        *flags = (u16::from_ne_bytes(*flags) & !(libc::NLM_F_ACK as u16)).to_ne_bytes();
    }
}

fn family(addr: IpAddr) -> u8 {
    (if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

/// Header, `ifaddrmsg` and the address.
fn begin_addr(buf: &mut Vec<u8>, kind: u16, flags: u16, seq: u32, spec: &AddrSpec) -> usize {
    let start = begin(buf, kind, flags, seq);
    // The low eight flags have a place of their own here; IFA_FLAGS overrides it.
    buf.extend_from_slice(&[family(spec.addr), spec.prefix, spec.flags as u8, 0]);
    buf.extend_from_slice(&spec.ifindex.to_ne_bytes());
    match spec.addr {
        IpAddr::V4(a) => {
            attr(buf, libc::IFA_LOCAL, &[&a.octets()]);
            attr(buf, libc::IFA_ADDRESS, &[&a.octets()]);
        }
        IpAddr::V6(a) => attr(buf, libc::IFA_ADDRESS, &[&a.octets()]),
    }
    start
}

/// Appends a header with its length still 0. Returns where it starts.
pub fn begin(buf: &mut Vec<u8>, kind: u16, flags: u16, seq: u32) -> usize {
    let start = buf.len();
    buf.extend_from_slice(&[0; 4]);
    buf.extend_from_slice(&kind.to_ne_bytes());
    buf.extend_from_slice(&flags.to_ne_bytes());
    buf.extend_from_slice(&seq.to_ne_bytes());
    buf.extend_from_slice(&[0; HEADER - 12]); // port 0: the kernel fills in the socket's
    start
}

/// Fills in the length. Headers and padded attributes are multiples of 4 octets, so the next message is
/// aligned too.
pub fn finish(buf: &mut [u8], start: usize) {
    let len = buf.len().saturating_sub(start) as u32;
    if let Some(field) = buf.get_mut(start..).and_then(|m| m.first_chunk_mut::<4>()) {
        *field = len.to_ne_bytes();
    }
}

/// Appends an attribute, its value in parts, then padding.
pub fn attr(buf: &mut Vec<u8>, kind: u16, value: &[&[u8]]) {
    let len = value.iter().fold(4, |len: usize, part| len.saturating_add(part.len()));
    buf.extend_from_slice(&(len as u16).to_ne_bytes());
    buf.extend_from_slice(&kind.to_ne_bytes());
    for part in value {
        buf.extend_from_slice(part);
    }
    buf.resize(buf.len().next_multiple_of(4), 0);
}
