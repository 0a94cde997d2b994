//! rtnetlink (rtnetlink(7), netlink(7), linux/rtnetlink.h) as byte code: requests are appended to a buffer
//! of the caller, one received datagram becomes a run of [`Msg`]. Numbers are in the byte order of the host.
//!
//! ```text
//! nlmsghdr   0 length (4)   4 type (2)        6 flags (2)   8 sequence (4)  12 port (4)
//! ifinfomsg  0 family (1)   2 type (2)        4 index (4)   8 flags (4)     12 change (4)
//! ifaddrmsg  0 family (1)   1 prefix len (1)  2 flags (1)   3 scope (1)      4 index (4)
//! ndmsg      0 family (1)   4 index (4)       8 state (2)   10 flags (1)     11 type (1)
//! attribute  0 length with these 4 octets (2) 2 type (2)    4 value, then padding to 4
//! ```

mod build;
pub mod macvlan;
mod parse;

pub use build::{del_addr, del_neighbour, dump_addrs, dump_links, dump_neighbours, new_addr, unanswered};
pub use parse::messages;

pub(super) use build::{attr, begin, finish};
pub(super) use parse::{Attrs, Header, errno, split, u32_at};

use crate::base::time::Time;
use std::net::IpAddr;
use std::time::Duration;

/// Length of `nlmsghdr`.
const HEADER: usize = 16;

/// Attribute of an address: who made it, one octet (linux/if_addr.h, since 5.18; not in `libc`).
const IFA_PROTO: u16 = 11;

/// The name of an interface or the label of an address: at most 15 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IfName([u8; 16]);

impl IfName {
    /// The octets up to the first NUL, the first 15 at most.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(bytes.iter().take(15).take_while(|b| **b != 0)) {
            *to = *from;
        }
        IfName(name)
    }

    /// The name; empty if it is not UTF-8, which the kernel allows and no configuration can name.
    pub fn as_str(&self) -> &str {
        let name = self.0.split(|b| *b == 0).next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }
}

impl std::fmt::Debug for IfName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// How long an address lives: seconds from now, `u32::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// As a source of new connections; 0: deprecated from the start.
    pub preferred: u32,
    /// At all.
    pub valid: u32,
}

/// An address to be added, renewed or removed. The scope is universe (0); of IPv6 the kernel works it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrSpec<'a> {
    /// Interface.
    pub ifindex: u32,
    /// Address.
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// `None`: permanent; also what a renewal without one makes of a leased address.
    pub lifetime: Option<Lifetime>,
    /// Label; IPv4 only. The kernel refuses more than 15 octets (ERANGE).
    pub label: Option<&'a str>,
    /// `IFA_PROTO`; a renewal without one erases it.
    pub proto: Option<u8>,
    /// `IFA_F_*`
    pub flags: u32,
}

/// One message from the kernel. `seq` is that of the request it answers, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msg {
    /// An interface is there or has changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its index.
        ifindex: u32,
        /// Its last name.
        name: IfName,
    },
    /// An address is there or has changed.
    Addr(Addr),
    /// An address is gone.
    AddrGone(Addr),
    /// The MAC address of a neighbour is being asked for, and nobody has answered yet (`NUD_INCOMPLETE`).
    Unanswered {
        /// Of the interface.
        ifindex: u32,
        /// Of the neighbour.
        addr: IpAddr,
    },
    /// The answer to a request that is not a dump.
    Ack {
        /// Of the request.
        seq: u32,
        /// 0: done; else the positive error number.
        errno: i32,
    },
    /// The end of a dump.
    Done {
        /// Of the request.
        seq: u32,
        /// 0, or the positive number of the error that ended it early.
        errno: i32,
    },
    /// A dump was overtaken by a change (`NLM_F_DUMP_INTR`): repeat it after its [`Msg::Done`]. Comes ahead
    /// of the message that bore the flag, which need not be the last one, and maybe more than once.
    Interrupted {
        /// Of the request.
        seq: u32,
    },
    /// Messages were lost (`NLMSG_OVERRUN`, or the datagram ends within one): read everything again.
    Overrun,
    /// Nothing that matters here.
    Other,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Of the dump, or 0.
    pub seq: u32,
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: IfName,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Has carrier and can send (`IFF_LOWER_UP` and `IFF_RUNNING`).
    pub running: bool,
    /// Hardware address, if it has six octets.
    pub mac: Option<[u8; 6]>,
    /// Its neighbours are to be told (`IFLA_EVENT`): a bond has another active slave, a guest was moved to
    /// another host.
    pub moved: bool,
    /// Index of the interface that it is a macvlan of; 0 if that is in another network namespace.
    pub macvlan_of: Option<u32>,
    /// Group (`IFLA_GROUP`).
    pub group: u32,
    /// Largest packet (`IFLA_MTU`).
    pub mtu: u32,
    /// It is a port of a bridge, a bond or another master (`IFLA_MASTER`) that takes all that arrives, as any
    /// but a VRF does: its own addresses and sockets receive nothing.
    pub is_port: bool,
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    /// Of the dump; of IPv4 also of the request that added or removed it, whoever sent that; 0 else.
    pub seq: u32,
    /// Interface.
    pub ifindex: u32,
    /// The local address (of a point-to-point link not the peer's).
    pub addr: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Scope (`RT_SCOPE_*`).
    pub scope: u8,
    /// `IFA_F_*`
    pub flags: u32,
    /// Who made it (`IFA_PROTO`).
    pub proto: Option<u8>,
    /// Seconds left when the kernel wrote this; `u32::MAX`: for ever.
    pub valid: u32,
    /// Seconds left as a source address; `u32::MAX`: for ever.
    pub preferred: u32,
    /// Last update, in hundredths of a second since boot, modulo 2^32. See [`Addr::age`].
    pub tstamp: u32,
    /// Label; IPv4 only.
    pub label: Option<IfName>,
}

impl Addr {
    /// Time since the kernel last updated it, never less than that. The kernel stamps it in jiffies, which
    /// stand still in suspend and started a little after `CLOCK_BOOTTIME` (0.2 s on one machine), so it may
    /// be more; a stamp that seems to be of the future is 497 days old.
    pub fn age(&self, now: Time) -> Duration {
        let now = (now.as_nanos() / 10_000_000) as u32;
        Duration::from_millis(u64::from(now.wrapping_sub(self.tstamp)).saturating_mul(10))
    }
}

#[cfg(test)]
mod tests;
