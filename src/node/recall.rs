//! What the daemon knows and the node keeps: sequence numbers and addresses of an earlier vipd, counters of
//! the kernel.

use crate::node::Node;
use std::net::IpAddr;

impl Node {
    /// The virtual routers that need a file of sequence numbers and do not know yet which of them are used
    /// up.
    pub fn without_sequence(&self) -> Vec<usize> {
        self.which(&|i| self.routers[i].auth.wants_file())
    }

    /// The content of that file, which an earlier vipd wrote; `None`: there is none.
    pub fn restore_sequence(&mut self, router: usize, file: Option<&str>) {
        if let Some(r) = self.routers.get_mut(router) {
            r.auth.restore(file);
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
