//! sock_diag (sock_diag(7), linux/inet_diag.h) as byte code: which TCP connections an address has, and the
//! request that resets one. Numbers are in the byte order of the host, ports and addresses in that of the
//! network.
//!
//! ```text
//! inet_diag_req_v2   0 family (1)   1 protocol (1)   2 extensions (1)   4 states (4)    8 sockid (48)
//! inet_diag_msg      0 family (1)   1 state (1)      2 timer (1)        3 retrans (1)   4 sockid (48)
//! sockid             0 local port (2)   2 remote port (2)   4 local address (16)   20 remote address (16)
//!                   36 interface (4)   40 cookie (8)
//! ```

use super::rtnl::{begin, finish, split};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Every state of a connection: not LISTEN, TIME_WAIT and CLOSE, which have nobody to tell.
const CONNECTIONS: u32 = 0xfff & !(1 << 6 | 1 << 7 | 1 << 10) | 1 << 12;
/// Octets of a `sockid`.
const SOCKID: usize = 48;

/// One connection, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `AF_INET` or `AF_INET6`: of the socket, which may be the latter although the address is IPv4.
    family: u8,
    id: [u8; SOCKID],
}

impl Connection {
    /// The local address; IPv4 also if the socket is of IPv6.
    pub fn local(&self) -> IpAddr {
        let field: [u8; 16] = self.id.get(4..).and_then(|b| b.first_chunk()).copied().unwrap_or_default();
        match field {
            [a, b, c, d, ..] if i32::from(self.family) == libc::AF_INET => Ipv4Addr::new(a, b, c, d).into(),
            octets => Ipv6Addr::from(octets).to_canonical(),
        }
    }

    /// The interface that the socket is bound to, 0 if to none: a link-local address needs it.
    pub fn ifindex(&self) -> u32 {
        self.id.get(36..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b))
    }
}

/// What one datagram of the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msg {
    /// One connection.
    Connection(Connection),
    /// The end of the list, or the answer to a request that is no list, with its errno (0: done).
    Done(i32),
    /// Nothing that matters here.
    Other,
}

/// Appends a request for all TCP connections of sockets of one family: an IPv4 connection may belong to an
/// IPv6 socket.
pub fn list(buf: &mut Vec<u8>, seq: u32, v6_sockets: bool) {
    let start = begin(buf, SOCK_DIAG_BY_FAMILY, (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16, seq);
    let family = if v6_sockets { libc::AF_INET6 } else { libc::AF_INET };
    request(buf, family as u8, &[0; SOCKID]);
    finish(buf, start);
}

/// Appends the request that resets a connection: both ends learn of it.
pub fn destroy(buf: &mut Vec<u8>, seq: u32, c: &Connection) {
    let start = begin(buf, SOCK_DESTROY, (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16, seq);
    request(buf, c.family, &c.id);
    finish(buf, start);
}

fn request(buf: &mut Vec<u8>, family: u8, id: &[u8; SOCKID]) {
    buf.extend_from_slice(&[family, libc::IPPROTO_TCP as u8, 0, 0]);
    buf.extend_from_slice(&CONNECTIONS.to_ne_bytes());
    buf.extend_from_slice(id);
}

/// The messages of one datagram from the kernel. What is cut off ends them.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Msg> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (header, body, after) = split(rest)?;
        rest = after;
        Some(match i32::from(header.kind) {
            libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                let raw = body.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                Msg::Done(raw.saturating_neg().max(0))
            }
            kind if kind == i32::from(SOCK_DIAG_BY_FAMILY) => {
                connection(body).map_or(Msg::Other, Msg::Connection)
            }
            _ => Msg::Other,
        })
    })
}

fn connection(body: &[u8]) -> Option<Connection> {
    Some(Connection { family: *body.first()?, id: *body.get(4..)?.first_chunk()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_asks_for_every_connection() {
        let mut buf = Vec::new();
        list(&mut buf, 7, false);
        assert_eq!(buf.len(), 16 + 56);
        assert_eq!(buf[0..4], 72u32.to_ne_bytes());
        assert_eq!(buf[16..20], [2, 6, 0, 0]);
        assert_eq!(u32::from_ne_bytes(buf[20..24].try_into().unwrap()), 0x1b3f);
    }

    #[test]
    fn an_ipv4_connection_may_belong_to_either_socket() {
        let v4 = |family, at: usize, octets: &[u8]| {
            let mut id = [0; SOCKID];
            id[at..at + octets.len()].copy_from_slice(octets);
            Connection { family, id }.local().to_string()
        };
        assert_eq!(v4(2, 4, &[192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(v4(10, 14, &[0xff, 0xff, 192, 0, 2, 1]), "192.0.2.1");
        assert_eq!(v4(10, 4, &[0x20, 1, 0xd, 0xb8]), "2001:db8::");
    }

    #[test]
    fn what_is_listed_is_what_is_destroyed() {
        let id: [u8; SOCKID] = std::array::from_fn(|i| i as u8);
        let mut answer = Vec::new();
        let start = begin(&mut answer, SOCK_DIAG_BY_FAMILY, 0, 7);
        answer.extend_from_slice(&[10, 1, 0, 0]);
        answer.extend_from_slice(&id);
        answer.extend_from_slice(&[0; 20]);
        finish(&mut answer, start);
        let start = begin(&mut answer, libc::NLMSG_DONE as u16, 0, 7);
        answer.extend_from_slice(&(-95i32).to_ne_bytes());
        finish(&mut answer, start);
        let all: Vec<Msg> = messages(&answer).collect();
        let [Msg::Connection(c), Msg::Done(95)] = all[..] else { panic!("{all:?}") };
        assert_eq!(c.ifindex(), u32::from_ne_bytes([36, 37, 38, 39]));
        let mut request = Vec::new();
        destroy(&mut request, 8, &c);
        assert_eq!(request.len(), 16 + 56);
        assert_eq!(request[4..6], 21u16.to_ne_bytes());
        assert_eq!(request[16], 10);
        assert_eq!(request[24..72], id);
        for n in 0..answer.len() {
            assert!(messages(&answer[..n]).count() <= 2, "cut at {n}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = messages(&bytes).count();
        }
    }
}
