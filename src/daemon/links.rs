//! The sockets of the interfaces: adverts and announcements, in and out.

use super::Daemon;
use crate::event::Event;
use crate::sys::diag::Connections;
use crate::sys::socket::{self, Kind};
use crate::sys::{clock, runtime};
use crate::time::Time;
use crate::wire::arp::{self, Arp};
use nix::errno::Errno;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Batches of packets taken from one socket at a time: more than its buffer holds. What is queued must be read
/// before a timer is acted on, or a backup that stood still takes over although its master's adverts are
/// waiting.
const BATCHES_PER_TURN: usize = 256;
/// Gratuitous ARPs taken at a time.
const ARPS_PER_TURN: usize = 64;
/// Adverts with a foreign VRID are looked at this often at the most, a few at a time.
const STRAY_PAUSE: Duration = Duration::from_secs(1);
const STRAYS_PER_TURN: usize = 4;
const ETHERNET_HEADER: usize = 14;

/// The sockets of one link.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub vrrp: Option<socket::Vrrp>,
    /// For adverts behind an authentication header. Open even where no instance has one: somebody else's with
    /// our VRID is a second master that could not be heard otherwise.
    pub ah: Option<socket::Vrrp>,
    pub stray: Option<socket::Stray>,
    pub stray_after: Option<Time>,
    pub arp: Option<socket::Arp>,
}

impl Daemon {
    pub(super) fn open_link(&mut self, link: usize, ifindex: u32) -> nix::Result<()> {
        let Some(l) = self.node.links.get(link) else { return Err(Errno::ENODEV) };
        let mut sockets = Sockets { arp: Some(socket::Arp::open(ifindex)?), ..Sockets::default() };
        if l.carries_adverts {
            let vrids: Vec<u8> = l.demux.vrids().collect();
            let open = |kind| socket::Vrrp::open(&l.name, ifindex, kind, &vrids, l.multicast);
            sockets.vrrp = Some(open(Kind::Plain)?);
            sockets.ah = Some(open(Kind::Ah)?);
            sockets.stray = Some(socket::Stray::open(&l.name, ifindex, &vrids, l.multicast)?);
        }
        // An expiring primary would take its secondaries along; and an ARP request of the old master, sent
        // with the VIP as its source, would turn a client back to it.
        for (name, value) in [("promote_secondaries", "1"), ("arp_announce", "2")] {
            if let Err(e) = runtime::sysctl(&format!("net/ipv4/conf/{}/{name}", l.name), value) {
                log::warn!("net.ipv4.conf.{}.{name} is not {value} and cannot be set: {e}", l.name);
            }
        }
        self.sockets[link] = sockets;
        Ok(())
    }

    pub(super) fn advert(&mut self, inst: usize, priority: u8, decided: Time) {
        let link = self.node.instances[inst].link;
        // The clock is read first: a lease counts from before the advert, not from after it.
        let before = clock::now();
        if !self.node.may_advertise(inst, priority, decided, before) {
            return;
        }
        let mut any = false;
        for copy in 0..self.node.instances[inst].targets.len() {
            let sent = match self.node.encode_advert(inst, priority, copy, &mut self.out) {
                Some(IpAddr::V4(to)) => match &self.sockets[link].vrrp {
                    Some(s) => s.send(to, &self.out),
                    None => Err(Errno::ENODEV),
                },
                _ => Err(Errno::EADDRNOTAVAIL),
            };
            match sent {
                Ok(()) => any = true,
                Err(e) => self.node.send_failed(inst, copy, before, e as i32),
            }
        }
        // Whoever can be reached knows of us.
        if any {
            self.node.sent(inst, priority, before);
        }
    }

    /// Resets the connections of addresses that leave. What is lost here costs somebody a timeout, no more.
    pub(super) fn disconnect(&mut self, inst: usize) {
        if self.no_diag {
            return;
        }
        if let Err(e) = self.try_disconnect(inst) {
            log::warn!("connections that cannot move are not told: {}", e.desc());
            self.no_diag = true;
        }
    }

    fn try_disconnect(&mut self, inst: usize) -> nix::Result<()> {
        let list = match &mut self.connections {
            Some(list) => list,
            none => none.insert(Connections::list()?),
        };
        for (_, e) in self.node.addrs.of(inst).filter(|(i, _)| self.node.addrs.is_held(*i)) {
            let ifindex = self.node.links.get(e.link).and_then(|l| l.ifindex);
            let n = list.reset(e.addr, ifindex)?;
            if n > 0 {
                log::info!("{n} connections to {} are reset: they cannot move", e.addr);
            }
        }
        Ok(())
    }

    pub(super) fn announce(&mut self, entry: usize) {
        let Some(e) =
            self.node.addrs.entries.get(entry).filter(|_| self.node.may_announce(entry, clock::now()))
        else {
            return;
        };
        let (IpAddr::V4(ip), Some(mac)) = (e.addr, self.node.links[e.link].mac) else { return };
        if let Some(s) = &self.sockets[e.link].arp
            && let Err(e) = s.send(&arp::gratuitous(mac, ip))
        {
            self.tell(&Event::AnnounceFailed { entry, errno: e as i32 });
        }
    }

    /// Everything that is queued: a timer is acted on only after that.
    pub(super) fn read_adverts(&mut self, now: Time, i: usize, kind: Kind) {
        let Daemon { sockets, batch, node, .. } = self;
        let Some(sockets) = sockets.get(i) else { return };
        let socket = match kind {
            Kind::Plain => &sockets.vrrp,
            Kind::Ah => &sockets.ah,
        };
        let Some(socket) = socket else { return };
        for _ in 0..BATCHES_PER_TURN {
            let more = batch.receive(socket.as_fd());
            for packet in batch.packets() {
                node.packet(now, i, packet);
            }
            if !more {
                break;
            }
        }
    }

    /// Adverts of VRIDs that are nobody's here: seldom, and few.
    pub(super) fn read_strays(&mut self, now: Time, i: usize) {
        self.sockets[i].stray_after = Some(now + STRAY_PAUSE);
        for _ in 0..STRAYS_PER_TURN {
            let Some(n) = self.sockets[i].stray.as_ref().and_then(|s| s.recv(&mut self.buf).ok()) else {
                break;
            };
            self.node.packet(now, i, self.buf.get(..n).unwrap_or_default());
        }
    }

    /// Announcements of others.
    pub(super) fn read_announcements(&mut self, now: Time, i: usize) {
        for _ in 0..ARPS_PER_TURN {
            let Some(n) = self.sockets[i].arp.as_ref().and_then(|s| s.recv(&mut self.buf).ok()) else {
                break;
            };
            if let Some(arp) = self.buf.get(ETHERNET_HEADER..n).and_then(Arp::parse) {
                self.node.arp(now, i, &arp);
            }
        }
    }
}
