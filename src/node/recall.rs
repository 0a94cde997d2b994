//! What the daemon knows and the node keeps: sequence numbers and addresses of an earlier vipd, counters of the kernel.

use crate::node::Node;
use crate::vrrp::replay::Replay;
use std::net::IpAddr;

impl Node {
    /// The virtual routers whose adverts are authenticated with sequence numbers, and that do not know yet which of them
    /// are used up.
    pub fn without_sequence(&self) -> Vec<usize> {
        let lacks = |i: &usize| self.routers[*i].ah_key().is_some() && !self.routers[*i].replay.has_mark();
        (0..self.routers.len()).filter(lacks).collect()
    }

    /// The sequence numbers that an earlier vipd has used up.
    pub fn restore_sequence(&mut self, router: usize, replay: Replay) {
        if let Some(r) = self.routers.get_mut(router) {
            r.replay = replay;
        }
    }

    /// An address that an earlier vipd may have left.
    pub fn remember_address(&mut self, addr: IpAddr) {
        self.addrs.remember(addr);
    }

    /// So many adverts were lost on a link because they came faster than they were read.
    pub fn set_overruns(&mut self, link: usize, lost: u64) {
        if let Some(l) = self.links.get_mut(link) {
            l.overruns = lost;
        }
    }
}
