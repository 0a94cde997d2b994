//! Macvlans of virtual MACs: made, put up and down, listened to, removed.

use super::Daemon;
use crate::node::{Vmac, VmacOp};
use crate::sys::{clock, runtime, socket};
use crate::vrrp::packet::GROUP_V4;
use crate::wire::ethernet;
use crate::wire::rtnl::macvlan;
use nix::errno::Errno;
use std::io::ErrorKind;

impl Daemon {
    pub(super) fn vmac(&mut self, link: usize, op: VmacOp) {
        let Some((name, mac)) = self.node.links.get(link).and_then(|l| Some((l.name.as_str(), l.vmac?.mac)))
        else {
            return;
        };
        let errno = self.netlink.request(|buf, seq| match op {
            VmacOp::Make { parent } => macvlan::new_macvlan(buf, seq, name, parent, mac),
            VmacOp::Set { ifindex, up } => macvlan::set_link(buf, seq, ifindex, up),
        });
        self.node.vmac_done(clock::now(), link, op, errno);
    }

    /// One interface, or all that we made.
    pub(super) fn unmake(&mut self, ifindex: Option<u32>) {
        let errno = self.netlink.request(|buf, seq| match ifindex {
            Some(ifindex) => macvlan::del_link(buf, seq, ifindex),
            None => macvlan::del_group(buf, seq),
        });
        if errno != 0 && errno != libc::ENODEV {
            log::error!("cannot remove an interface of a virtual MAC: {}", Errno::from_raw(errno).desc());
        }
    }

    /// Before a macvlan is ever up: what the kernel must not do with it. And its parent must not answer for
    /// the VIPs on it.
    pub(super) fn open_vmac(&mut self, ifindex: u32, name: &str, v: &Vmac) -> nix::Result<socket::Vmac> {
        let parent = self.node.links.get(v.parent).map_or("", |l| l.name.as_str());
        let set = |key: String, value: &str| match runtime::sysctl(&key, value) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                log::warn!("{key} is not {value} and cannot be set, use_vmac will not work well: {e}");
            }
            _ => {}
        };
        // Requests for a VIP reach both: only the macvlan may answer, and only for what is on it.
        set(format!("net/ipv4/conf/{parent}/arp_ignore"), "1");
        set(format!("net/ipv4/conf/{name}/arp_ignore"), "1");
        // What comes in by the macvlan is answered by its parent's routes. The larger value of `all` and the
        // device counts, so loose leaves `all` alone.
        set(format!("net/ipv4/conf/{name}/rp_filter"), "2");
        // Nothing of its own: no link-local address, no router solicitations, no reports.
        for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0"), ("accept_dad", "0")] {
            set(format!("net/ipv6/conf/{name}/{key}"), value);
        }
        set(format!("net/ipv6/conf/{name}/disable_ipv6"), if v.ipv6 { "0" } else { "1" });
        socket::Vmac::open(ifindex, v.mac)
    }

    /// Sends an IP packet in a frame whose source is a virtual MAC. It leaves by the parent, so the macvlan need
    /// not be up: the advert of a new master goes first.
    pub(super) fn send_from(&mut self, link: usize, mac: [u8; 6]) -> nix::Result<()> {
        let frame = ethernet::multicast_v4(GROUP_V4, mac, &self.out);
        match &self.sockets[link].arp {
            Some(s) => s.send_as(ethernet::IPV4, &frame),
            None => Err(Errno::ENODEV),
        }
    }
}
