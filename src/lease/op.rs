//! What is asked of the kernel for an address, and what became of it.

use super::TAG;
use crate::wire::rtnl::{self, AddrSpec, Lifetime};
use std::net::IpAddr;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCL: u16 = libc::NLM_F_EXCL as u16;
const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// The kind of a netlink operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// RTM_NEWADDR of an address that is not there.
    Add,
    /// RTM_NEWADDR of one that is: ours, or one that keepalived left.
    Replace,
    /// RTM_DELADDR.
    Remove,
}

/// One netlink operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// What to do.
    pub kind: OpKind,
    /// Index of the entry.
    pub entry: usize,
    /// Interface.
    pub ifindex: u32,
    /// Address.
    pub addr: IpAddr,
    /// Prefix length as installed.
    pub prefix: u8,
    /// Lifetime in seconds; `None`: for ever.
    pub lease: Option<u32>,
    /// Label (IFA_LABEL).
    pub label: Option<String>,
}

/// What became of the addresses; `entry` is the index of the VIP.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The kernel has it now.
    Added { entry: usize },
    /// It could not be added.
    AddFailed { entry: usize, errno: i32 },
    /// It is gone by our doing.
    Removed { entry: usize },
    /// It could not be removed and will be tried again.
    RemoveFailed { entry: usize, errno: i32 },
    /// A permanent address of somebody else is in its place.
    Foreign { entry: usize },
    /// An address is there that was believed to be gone: everything must be read again.
    ViewIsWrong,
    /// keepalived left it; it is ours now.
    TakenOver { entry: usize },
    /// Somebody deleted it although its lease had time left. `times`: how often so far.
    Deleted { entry: usize, times: u32 },
    /// Its lease ended while it was wanted.
    Expired { entry: usize },
    /// The renewal came too late: a backup may be master.
    TooLate { router: usize },
    /// The kernel accepts none of the addresses of a master.
    Refused { router: usize },
}

impl Op {
    /// Appends the request.
    pub fn encode(&self, out: &mut Vec<u8>, seq: u32) {
        let op = self;
        let spec = AddrSpec {
            ifindex: op.ifindex,
            addr: op.addr,
            prefix: op.prefix,
            lifetime: match (op.addr, op.lease) {
                // IPv4 has no notion of it and wants preferred = valid.
                (IpAddr::V4(_), lease) => lease.map(|valid| Lifetime { preferred: valid, valid }),
                // Never the source of a connection, even if it is permanent.
                (IpAddr::V6(_), lease) => Some(Lifetime { preferred: 0, valid: lease.unwrap_or(u32::MAX) }),
            },
            label: op.label.as_deref(),
            proto: Some(TAG),
            flags: match op.addr {
                IpAddr::V4(_) => 0,
                // Where nothing else brings the route of its subnet, it must.
                IpAddr::V6(_) if op.prefix < 128 => IFA_F_NODAD,
                IpAddr::V6(_) => IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
            },
        };
        match op.kind {
            OpKind::Add => rtnl::new_addr(out, seq, CREATE | EXCL, &spec),
            OpKind::Replace => rtnl::new_addr(out, seq, CREATE | REPLACE, &spec),
            OpKind::Remove => rtnl::del_addr(out, seq, &spec),
        }
    }
}
