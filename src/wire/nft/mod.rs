//! nf_tables over nfnetlink (linux/netfilter/nf_tables.h, nfnetlink.h) as byte code: what keeps the leases of
//! virtual addresses. A change is a [`Batch`], which the kernel applies as a whole or not at all; one
//! received datagram becomes a run of [`Msg`].
//!
//! ```text
//! nlmsghdr   as in rtnetlink; type = 10 << 8 | message; batches begin with type 16 and end with type 17
//! nfgenmsg   0 family (1)    1 version 0 (1)   2 resource (2, big-endian): 10 in begin and end, else 0
//! attribute  as in rtnetlink; a nested one has bit 15 of its type set
//! ```
//!
//! Integers in attributes are big-endian. Values that a rule compares are as the register holds them:
//! interface indices and address types in the byte order of the host, octets of a packet as on the wire.

mod build;
mod parse;
mod ruleset;

pub use build::{Batch, get_table};
pub use parse::messages;
pub use ruleset::{Device, Key, NOBODY, Plan, Router, attempt, close, get, open, reopen, replace};

use super::rtnl::IfName;

/// The name of both tables.
pub const TABLE: &str = "vipd";
/// The table is its socket's: no other process can change it (`NFT_TABLE_F_OWNER`, Linux 5.12), and it
/// outlives the socket (`NFT_TABLE_F_PERSIST`, Linux 6.9). With the first alone it would end with the
/// process, and the fence with it.
pub const OWNED: u32 = 2 | 4;

/// Protocol family of a table (linux/netfilter.h, `NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// One interface.
    Netdev = 5,
}

impl Family {
    /// Those of the two tables.
    pub const BOTH: [Family; 2] = [Family::Inet, Family::Netdev];
}

/// One message from the kernel. `seq` is that of the request it answers; 0 of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msg {
    /// The answer to a request.
    Ack {
        /// Of the request.
        seq: u32,
        /// 0: done; else the positive error number.
        errno: i32,
    },
    /// An element of a set that was asked for.
    Element {
        /// Of the request.
        seq: u32,
        /// What is left of its timeout, in milliseconds; the kernel may say up to a tick too much.
        rest: Option<u64>,
    },
    /// A table that was asked for.
    Table {
        /// Of the request.
        seq: u32,
    },
    /// One of our tables was removed.
    TableGone,
    /// The end of the events of one transaction: who did it.
    Generation {
        /// Process.
        pid: u32,
        /// Name of its program (`comm`).
        name: IfName,
    },
    /// Messages were lost (`NLMSG_OVERRUN`, or the datagram ends within one).
    Overrun,
    /// Nothing that matters here.
    Other,
}

/// Messages (`NFT_MSG_*`).
mod kind {
    pub(super) const NEWTABLE: u16 = 0;
    pub(super) const GETTABLE: u16 = 1;
    pub(super) const DELTABLE: u16 = 2;
    pub(super) const NEWCHAIN: u16 = 3;
    pub(super) const NEWRULE: u16 = 6;
    pub(super) const NEWSET: u16 = 9;
    pub(super) const NEWSETELEM: u16 = 12;
    pub(super) const GETSETELEM: u16 = 13;
    pub(super) const DELSETELEM: u16 = 14;
    pub(super) const NEWGEN: u16 = 15;
}

/// `NFNL_SUBSYS_NFTABLES`, in the upper octet of a message's type.
const SUBSYS: u16 = 10;

#[cfg(test)]
mod tests;
