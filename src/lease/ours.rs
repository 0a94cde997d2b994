//! Whose an address is: by the tag, or, where the kernel keeps none (before 5.18), by what was added and
//! remembered.

use super::kernel::Seen;
use super::{AddrBook, Entry, Op, OpKind, TAG};
use crate::wire::rtnl;
use std::net::IpAddr;

impl AddrBook {
    /// A state file names this address: the vipd before us had added it.
    pub fn remember(&mut self, addr: IpAddr) {
        for e in self.entries.iter_mut().filter(|e| e.addr == addr) {
            e.added_by_vipd = true;
        }
    }

    /// Whether vipd added what the kernel has in place of a VIP. Without a tag that is what has the prefix
    /// length and the kind of lifetime that vipd would give it: a permanent one in place of a lease is
    /// somebody else's.
    pub(super) fn is_ours(&self, e: &Entry, a: &rtnl::Addr) -> bool {
        if self.keeps_tags || a.proto.is_some() {
            return a.proto == Some(TAG);
        }
        let host = if e.addr.is_ipv4() { 32 } else { 128 };
        let leasing = &self.leasing[e.router];
        let permanent = a.valid == u32::MAX;
        e.added_by_vipd
            && [e.prefix, host].contains(&a.prefix)
            && (!permanent || leasing.is_off())
            && !leasing.owner
    }

    /// Removals of tagged addresses that a state file names, with their interface, and that are no longer
    /// VIPs of that interface.
    pub fn leftovers(&self, named: &[(IpAddr, u32)]) -> Vec<Op> {
        let is_vip = |a: &rtnl::Addr| {
            self.entries.iter().any(|e| e.addr == a.addr && self.ifindex(e.link) == Some(a.ifindex))
        };
        let mut ops = Vec::new();
        for Seen { a, .. } in &self.kernel {
            if a.proto == Some(TAG) && named.contains(&(a.addr, a.ifindex)) && !is_vip(a) {
                ops.push(Op {
                    kind: OpKind::Remove,
                    entry: usize::MAX,
                    ifindex: a.ifindex,
                    addr: a.addr,
                    prefix: a.prefix,
                    lease: None,
                    label: None,
                });
            }
        }
        ops
    }
}
