//! The sockets of the interfaces: adverts and announcements, in and out.

use crate::base::log;
use crate::base::time::Time;
use crate::daemon::Daemon;
use crate::daemon::network::Network;
use crate::event::Event;
use crate::report::words;
use crate::sys::diag::Connections;
use crate::sys::socket::{self, Kind};
use crate::sys::{clock, runtime};
use crate::wire::arp::{self, Arp};
use crate::wire::ndp::{self, Na};
use crate::wire::nft::NOBODY;
use crate::wire::vrrp::IpInfo;
use nix::errno::Errno;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Batches of packets read from one socket in a turn: more than its buffer holds. All queued packets are read
/// before a timer is acted on, or a backup that stood still takes over although adverts of its master are
/// waiting.
const BATCHES_PER_TURN: usize = 256;
/// Packets read from one socket in a turn where they are read one by one.
pub(crate) const PACKETS_PER_TURN: usize = 8192;
/// Gratuitous ARPs read from one socket in a turn.
const ARPS_PER_TURN: usize = 64;
/// Adverts with an unknown VRID are only worth a message: few are read at a time, and then none for this
/// long.
const UNKNOWN_VRID_PAUSE: Duration = Duration::from_secs(1);
const UNKNOWN_VRIDS_PER_TURN: usize = 4;
const ETHERNET_HEADER: usize = 14;
/// How long a forwarding sysctl that was read is believed.
const ROUTER_AGE: Duration = Duration::from_secs(1);

/// The sockets of one link.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub vrrp: Option<socket::Vrrp>,
    /// For adverts behind an authentication header. Open even if no router uses one: without it, a second
    /// master with our VRID that does use one is not heard.
    pub ah: Option<socket::Vrrp>,
    pub unknown_vrid: Option<socket::UnknownVrid>,
    pub unknown_vrid_after: Option<Time>,
    pub arp: Option<socket::Arp>,
    /// A macvlan has this one and the next.
    pub vmac: Option<socket::Vmac>,
    /// To send adverts from a macvlan.
    pub out: Option<socket::Out>,
    pub vrrp_v6: Option<socket::V6>,
    pub unknown_vrid_v6: Option<socket::V6>,
    pub neighbours: Option<socket::V6>,
    /// Whether this node forwards IPv6 packets from this link, and when that was read.
    router: Option<(Time, bool)>,
}

impl Daemon {
    pub(crate) fn open_link(&mut self, link: usize, ifindex: u32) -> nix::Result<()> {
        // After a reload, the open sockets are replaced once the new ones listen.
        if self.net.sockets.get(link).is_some_and(|s| s.arp.is_some() || s.vmac.is_some()) {
            self.read_all_adverts();
        }
        let Some(l) = self.node.links.get(link) else { return Err(Errno::ENODEV) };
        if let Some(vmac) = l.vmac {
            let out = Some(socket::Out::open(&l.name, ifindex, vmac.is_v6())?);
            let vmac = Some(self.open_vmac(ifindex, l, &vmac)?);
            quiet_arp(&l.name);
            self.net.sockets[link] = Sockets { vmac, out, ..Sockets::default() };
            return Ok(());
        }
        let mut sockets = Sockets { arp: Some(socket::Arp::open(ifindex)?), ..Sockets::default() };
        if l.carries_adverts {
            let vrids: Vec<u8> = l.demux.vrids().collect();
            let open = |kind| socket::Vrrp::open(&l.name, ifindex, kind, &vrids, l.multicast);
            sockets.vrrp = Some(open(Kind::Plain)?);
            sockets.ah = Some(open(Kind::Ah)?);
            sockets.unknown_vrid = Some(socket::UnknownVrid::open(&l.name, ifindex, &vrids, l.multicast)?);
        }
        if l.has_v6_vips {
            sockets.neighbours = Some(socket::V6::neighbours(&l.name, ifindex)?);
            if runtime::read_sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", l.name)).as_deref() == Some("1")
            {
                log::error!("net.ipv6.conf.{0}.disable_ipv6 is 1: {0} can have no IPv6 address", l.name);
            }
        }
        let vrids: Vec<u8> = l.demux_v6.vrids().collect();
        if !vrids.is_empty() {
            sockets.vrrp_v6 = Some(socket::V6::vrrp(&l.name, ifindex, &vrids, true, l.multicast)?);
            sockets.unknown_vrid_v6 = Some(socket::V6::vrrp(&l.name, ifindex, &vrids, false, l.multicast)?);
        }
        quiet_arp(&l.name);
        self.net.sockets[link] = sockets;
        Ok(())
    }

    pub(crate) fn advert(&mut self, router: usize, priority: u8, decided: Time) {
        let link = self.node.routers[router].link;
        // The clock is read first: a lease counts from before the advert, not from after it.
        let before = clock::now();
        if !self.node.may_advertise(router, priority, decided, before) {
            return;
        }
        let mut from_any = None;
        let mac = self.node.advert_mac(router);
        // Behind the fence an advert leaves by the macvlan, which is up by now, and not as a frame: both
        // tables see it. Nobody has to see priority 0, and the macvlan may be down already.
        let fenced = priority != 0 && self.is_fenced(router);
        let from = self.node.routers[router].vmac.filter(|_| fenced && mac.is_some());
        for copy in 0..self.node.routers[router].targets.len() {
            let advert = self.node.encode_advert(router, priority, copy, before, &mut self.net.out);
            let mut sent = self.send_advert(link, advert, mac, from);
            // Without a lease the kernel drops what comes by IP, and what comes as a frame.
            if fenced && matches!(sent, Err(Errno::EPERM | Errno::ENOBUFS)) {
                match self.node.lapsed(router, clock::now()) {
                    Some(rest) => self.reopen(router, rest),
                    None => return,
                }
                sent = self.send_advert(link, advert, mac, from);
            }
            match sent {
                Ok(()) => from_any = advert.map(|(src, _)| src),
                Err(e) => self.node.send_failed(router, copy, before, e as i32),
            }
        }
        // One reachable peer is enough to count as sent.
        let Some(src) = from_any else { return self.node.unsent(router, before) };
        if fenced && self.node.routers[router].is_unicast() {
            // It is dropped there, which is no error.
            let _ = self.send_from(link, NOBODY, src);
        }
        self.node.sent(router, priority, before);
    }

    /// The advert in `out`: its source and destination, the source of its frame if that is not the
    /// interface's own, and the macvlan that it leaves by if it does not as a frame.
    fn send_advert(
        &self,
        link: usize,
        advert: Option<(IpAddr, IpAddr)>,
        mac: Option<[u8; 6]>,
        from: Option<usize>,
    ) -> nix::Result<()> {
        let (s, packet) = (&self.net.sockets[link], &self.net.out);
        if let (Some((src, to)), Some(out)) = (advert, from.and_then(|l| self.net.sockets[l].out.as_ref())) {
            return out.send(src, to, packet);
        }
        match (advert, &s.vrrp, &s.vrrp_v6, mac) {
            (None, ..) => Err(Errno::EADDRNOTAVAIL),
            (Some((src, _)), _, _, Some(mac)) => self.send_from(link, mac, src),
            (Some((_, IpAddr::V4(to))), Some(s), ..) => s.send(to, packet),
            (Some((IpAddr::V6(src), IpAddr::V6(to))), _, Some(s), _) => s.send(src, to, packet),
            _ => Err(Errno::ENODEV),
        }
    }

    /// Resets the TCP connections of a router's addresses, which leave. One that is missed costs its client a
    /// timeout.
    pub(crate) fn disconnect(&mut self, router: usize) {
        self.disconnect_vips(&self.node.addrs.entries_of(router));
    }

    /// Resets the TCP connections of these addresses.
    pub(crate) fn disconnect_vips(&mut self, entries: &[usize]) {
        if self.net.no_diag {
            return;
        }
        if let Err(e) = self.try_disconnect(entries) {
            log::warn!("connections to addresses that leave cannot be reset: {}", words::errno(e as i32));
            // Any other error may be gone the next time.
            self.net.no_diag = [Errno::ENOENT, Errno::EOPNOTSUPP].contains(&e);
        }
    }

    fn try_disconnect(&mut self, entries: &[usize]) -> nix::Result<()> {
        let addrs = &self.node.addrs;
        let list = match &mut self.net.connections {
            Some(list) => list,
            none => none.insert(Connections::list(&|addr| addrs.entries.iter().any(|e| e.addr == addr))?),
        };
        for e in entries.iter().filter(|e| self.node.addrs.is_held(**e)) {
            let Some(e) = self.node.addrs.entries.get(*e) else { continue };
            let ifindex = self.node.links.get(e.link).and_then(|l| l.ifindex);
            let n = list.reset(e.addr, ifindex)?;
            if n > 0 {
                log::info!("{n} connections to {} are reset: they cannot move", e.addr);
            }
        }
        Ok(())
    }

    pub(crate) fn announce(&mut self, entry: usize) {
        let Some(e) =
            self.node.addrs.entries.get(entry).filter(|_| self.node.may_announce(entry, clock::now()))
        else {
            return;
        };
        if let Err(e) = self.send_announcement(e.link, e.addr) {
            self.log_event(&Event::AnnounceFailed { entry, errno: e as i32 });
        }
    }

    /// Announces the address that adverts come from. A peer that could not reach it for a while has an entry
    /// without a MAC address, behind which its unicast adverts wait for up to a second.
    pub(crate) fn announce_source(&mut self, router: usize) {
        let router = &self.node.routers[router];
        if let Some(src) = router.src {
            // If it is lost, the peer asks again by itself.
            let _ = self.send_announcement(router.link, src);
        }
    }

    fn send_announcement(&mut self, link: usize, addr: IpAddr) -> nix::Result<()> {
        let Some(mac) = self.node.links[link].mac else { return Ok(()) };
        match addr {
            IpAddr::V4(ip) => self.send_frame(link, &arp::gratuitous(mac, ip)),
            IpAddr::V6(ip) => {
                let router = self.is_router(link);
                self.send_frame(link, &ndp::unsolicited(mac, ip, router))
            }
        }
    }

    /// Asks by ARP whether another host has the address too.
    pub(crate) fn probe(&mut self, entry: usize) {
        if let Some(e) =
            self.node.addrs.entries.get(entry).filter(|_| self.node.may_announce(entry, clock::now()))
            && let (Some(mac), IpAddr::V4(ip)) = (self.node.links[e.link].mac, e.addr)
        {
            // A probe that is lost is repeated.
            let _ = self.send_frame(e.link, &arp::probe(mac, ip));
        }
    }

    fn send_frame(&self, link: usize, frame: &[u8]) -> nix::Result<()> {
        // A macvlan sends through its parent.
        self.net.sockets[self.node.wire(link)].arp.as_ref().map_or(Ok(()), |s| s.send(frame))
    }

    /// Whether the forwarding sysctl of a link is set. It may change, but is not read for every frame.
    fn is_router(&mut self, link: usize) -> bool {
        let now = clock::now();
        match self.net.sockets[link].router {
            Some((at, router)) if now.since(at) < ROUTER_AGE => router,
            _ => {
                let name = format!("net/ipv6/conf/{}/forwarding", self.node.links[link].name);
                let router = runtime::read_sysctl(&name).is_some_and(|v| v != "0");
                self.net.sockets[link].router = Some((now, router));
                router
            }
        }
    }

    /// Reads the adverts of all links.
    pub(crate) fn read_all_adverts(&mut self) {
        for i in 0..self.net.sockets.len() {
            self.read_adverts(i, Kind::Plain);
            self.read_adverts(i, Kind::Ah);
            self.read_adverts_v6(i);
            self.read_vmac(i);
        }
    }

    /// Reads all queued adverts of a link, before any timer is acted on. The clock is read after each batch:
    /// adverts that came while this process stood still count from now.
    pub(crate) fn read_adverts(&mut self, i: usize, kind: Kind) {
        let Network { sockets, batch, .. } = &mut self.net;
        let Some(sockets) = sockets.get(i) else { return };
        let socket = match kind {
            Kind::Plain => &sockets.vrrp,
            Kind::Ah => &sockets.ah,
        };
        let Some(socket) = socket else { return };
        for _ in 0..BATCHES_PER_TURN {
            let more = batch.receive(socket.as_fd());
            let now = clock::now();
            for packet in batch.packets() {
                self.node.packet(now, i, packet);
            }
            if !more {
                break;
            }
        }
    }

    /// Reads adverts whose VRID no router here has.
    pub(crate) fn read_unknown_vrids(&mut self, now: Time, i: usize) {
        for _ in 0..UNKNOWN_VRIDS_PER_TURN {
            let sockets = &mut self.net.sockets[i];
            let Some(n) = sockets.unknown_vrid.as_ref().and_then(|s| s.recv(self.net.batch.room()).ok())
            else {
                break;
            };
            sockets.unknown_vrid_after = Some(now + UNKNOWN_VRID_PAUSE);
            self.node.packet(now, i, self.net.batch.room().get(..n).unwrap_or_default());
        }
    }

    /// Reads all queued adverts over IPv6 of a link.
    pub(crate) fn read_adverts_v6(&mut self, i: usize) {
        let Some(s) = &self.net.sockets[i].vrrp_v6 else { return };
        read_v6(s, PACKETS_PER_TURN, self.net.batch.room(), &mut |c, m| {
            self.node.packet_v6(clock::now(), i, c, m)
        });
    }

    /// Reads adverts over IPv6 whose VRID no router here has.
    pub(crate) fn read_unknown_vrids_v6(&mut self, now: Time, i: usize) {
        let mut any = false;
        let Some(s) = &self.net.sockets[i].unknown_vrid_v6 else { return };
        read_v6(s, UNKNOWN_VRIDS_PER_TURN, self.net.batch.room(), &mut |c, m| {
            any = true;
            self.node.packet_v6(now, i, c, m);
        });
        if any {
            self.net.sockets[i].unknown_vrid_after = Some(now + UNKNOWN_VRID_PAUSE);
        }
    }

    /// Reads the neighbour advertisements of other hosts.
    pub(crate) fn read_neighbours(&mut self, now: Time, i: usize) {
        let Some(s) = &self.net.sockets[i].neighbours else { return };
        read_v6(s, ARPS_PER_TURN, self.net.batch.room(), &mut |c, m| {
            if let IpAddr::V6(dst) = c.dst
                && let Some(na) = Na::parse(&dst, c.ttl, m)
            {
                self.node.neighbour(now, i, &na);
            }
        });
    }

    /// Reads the ARP announcements of other hosts.
    pub(crate) fn read_announcements(&mut self, now: Time, i: usize) {
        for _ in 0..ARPS_PER_TURN {
            let Some(n) = self.net.sockets[i].arp.as_ref().and_then(|s| s.recv(self.net.batch.room()).ok())
            else {
                break;
            };
            if let Some(arp) = self.net.batch.room().get(ETHERNET_HEADER..n).and_then(Arp::parse) {
                self.node.arp(now, i, &arp);
            }
        }
    }
}

/// An expiring primary address removes its secondaries. An ARP request of the old master with the VIP as its
/// source redirects a client to it.
fn quiet_arp(ifname: &str) {
    promote_secondaries(ifname);
    set_ipv4(ifname, "arp_announce", "2");
}

/// Keeps the other addresses of a subnet when a primary one is removed.
pub(crate) fn promote_secondaries(ifname: &str) {
    set_ipv4(ifname, "promote_secondaries", "1");
}

fn set_ipv4(ifname: &str, name: &str, value: &str) {
    if let Err(e) = runtime::sysctl(&format!("net/ipv4/conf/{ifname}/{name}"), value) {
        let why = words::io_error(&e);
        log::warn!("net.ipv4.conf.{ifname}.{name} is not {value} and cannot be set: {why}");
    }
}

fn read_v6(s: &socket::V6, most: usize, buf: &mut [u8], f: &mut dyn FnMut(IpInfo, &[u8])) {
    for _ in 0..most {
        let Ok((n, carrier)) = s.recv(buf) else { break };
        f(carrier, buf.get(..n).unwrap_or_default());
    }
}
