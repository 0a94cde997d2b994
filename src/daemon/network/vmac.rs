//! Macvlans of virtual MACs: made, put up and down, listened to, removed.

use crate::base::log;
use crate::daemon::Daemon;
use crate::daemon::network::links::PACKETS_PER_TURN;
use crate::node::{Link, Vmac, VmacOp};
use crate::report::words;
use crate::sys::{clock, runtime, socket};
use crate::wire::ethernet;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::rtnl::macvlan;
use crate::wire::vrrp::GROUP_V4;
use crate::wire::vrrp::GROUP_V6;
use crate::wire::vrrp::IpInfo;
use crate::wire::vrrp::PROTOCOL;
use nix::errno::Errno;
use std::io::ErrorKind;
use std::net::IpAddr;

impl Daemon {
    pub(crate) fn vmac(&mut self, link: usize, op: VmacOp) {
        let Some((name, mac)) = self.node.links.get(link).and_then(|l| Some((l.name.as_str(), l.vmac?.mac)))
        else {
            return;
        };
        let errno = self.net.netlink.request(|buf, seq| match op {
            VmacOp::Make { parent } => macvlan::new_macvlan(buf, seq, name, parent, mac),
            VmacOp::Set { ifindex, up } => macvlan::set_link(buf, seq, ifindex, up),
        });
        self.node.vmac_done(clock::now(), link, op, errno);
    }

    /// Removes one macvlan, or all that vipd made.
    pub(crate) fn unmake(&mut self, ifindex: Option<u32>) {
        let errno = self.net.netlink.request(|buf, seq| match ifindex {
            Some(ifindex) => macvlan::del_link(buf, seq, ifindex),
            None => macvlan::del_group(buf, seq),
        });
        if errno != 0 && errno != libc::ENODEV {
            log::error!("cannot remove an interface of a virtual MAC: {}", words::errno(errno));
        }
    }

    /// Prepares a macvlan before it is up for the first time: what the kernel must not do with it, and that
    /// its parent must not answer for the VIPs on it.
    pub(crate) fn open_vmac(&self, ifindex: u32, l: &Link, v: &Vmac) -> nix::Result<socket::Vmac> {
        let (name, ipv6) = (&l.name, l.has_v6_vips);
        let parent = self.node.links.get(v.parent).map_or("", |l| l.name.as_str());
        let set = |key: String, value: &str| match runtime::sysctl(&key, value) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                let why = words::io_error(&e);
                log::warn!("{key} is not {value} and cannot be set, use_vmac will not work well: {why}");
            }
            _ => {}
        };
        // ARP requests for a VIP reach both interfaces. Only the macvlan may answer, and only for its own
        // addresses.
        set(format!("net/ipv4/conf/{parent}/arp_ignore"), "1");
        set(format!("net/ipv4/conf/{name}/arp_ignore"), "1");
        // Packets that come in by the macvlan are answered by routes of its parent, which strict filtering
        // refuses. The larger value of `all` and the device counts, so the loose mode (2) works whatever
        // `all` is.
        set(format!("net/ipv4/conf/{name}/rp_filter"), "2");
        // The macvlan sends nothing by itself: no link-local address, no router solicitations, no reports.
        for (key, value) in [("addr_gen_mode", "1"), ("accept_ra", "0")] {
            set(format!("net/ipv6/conf/{name}/{key}"), value);
        }
        set(format!("net/ipv6/conf/{name}/disable_ipv6"), if ipv6 { "0" } else { "1" });
        let group = if v.is_v6() { GROUP_V6.into() } else { GROUP_V4.into() };
        socket::Vmac::open(ifindex, v.mac, ethernet::group(group))
    }

    /// Sends an advert (of IPv6 without its header) in a frame whose source is a virtual MAC. It is sent
    /// through the parent, so that the first advert of a new master does not wait until the macvlan is up.
    pub(crate) fn send_from(&self, link: usize, mac: [u8; 6], src: IpAddr) -> nix::Result<()> {
        let mut frame = Vec::with_capacity(54 + self.net.out.len());
        match src {
            IpAddr::V4(_) => ethernet::to_group(&mut frame, mac, GROUP_V4.into()),
            IpAddr::V6(src) => {
                ethernet::to_group(&mut frame, mac, GROUP_V6.into());
                let len = u16::try_from(self.net.out.len()).map_err(|_| Errno::EMSGSIZE)?;
                ipv6::header(&mut frame, src, GROUP_V6, PROTOCOL, len);
            }
        }
        frame.extend_from_slice(&self.net.out);
        self.net.sockets[link].arp.as_ref().map_or(Err(Errno::ENODEV), |s| s.send(&frame))
    }

    /// Reads adverts that another master sends from the same virtual MAC while the macvlan is up.
    pub(crate) fn read_vmac(&mut self, i: usize) {
        for _ in 0..PACKETS_PER_TURN {
            let Some(n) = self.net.sockets[i].vmac.as_ref().and_then(|s| s.recv(self.net.batch.room()).ok())
            else {
                break;
            };
            let now = clock::now();
            let packet = self.net.batch.room().get(..n).unwrap_or_default();
            match Ipv6::parse(packet) {
                Some(p) if p.next == PROTOCOL => {
                    let carrier = IpInfo { src: p.src.into(), dst: p.dst.into(), ttl: p.hops };
                    self.node.packet_v6(now, i, carrier, p.payload);
                }
                _ => self.node.packet(now, i, packet),
            }
        }
    }
}
