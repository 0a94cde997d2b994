//! The sockets of the interfaces: adverts and announcements, in and out.

use super::Daemon;
use crate::event::Event;
use crate::sys::{clock, runtime, socket};
use crate::time::Time;
use crate::vrrp::packet::GROUP_V4;
use crate::wire::arp::{self, Arp};
use nix::errno::Errno;
use std::net::IpAddr;
use std::time::Duration;

/// Packets taken from one socket at a time: more than its buffer holds. What is queued must be read before a
/// timer is acted on, or a backup that stood still takes over although its master's adverts are waiting.
const PACKETS_PER_TURN: usize = 8192;
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
    pub stray: Option<socket::Stray>,
    pub stray_after: Option<Time>,
    pub arp: Option<socket::Arp>,
    /// A macvlan has this one alone.
    pub vmac: Option<socket::Vmac>,
}

impl Daemon {
    pub(super) fn open_link(&mut self, link: usize, ifindex: u32) -> nix::Result<()> {
        let Some(l) = self.node.links.get(link) else { return Err(Errno::ENODEV) };
        if let Some(vmac) = l.vmac {
            let name = l.name.clone();
            let vmac = Some(self.open_vmac(ifindex, &name, &vmac)?);
            self.sockets[link] = Sockets { vmac, ..Sockets::default() };
            return Ok(());
        }
        let mut sockets = Sockets { arp: Some(socket::Arp::open(ifindex)?), ..Sockets::default() };
        if l.carries_adverts {
            let vrids: Vec<u8> = l.demux.vrids().collect();
            sockets.vrrp = Some(socket::Vrrp::open(&l.name, ifindex, &vrids)?);
            sockets.stray = Some(socket::Stray::open(&l.name, ifindex, &vrids)?);
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
        let sent = match self.node.encode_advert(inst, priority, &mut self.out) {
            None => Err(Errno::EADDRNOTAVAIL),
            Some(()) => match (self.node.advert_mac(inst), &self.sockets[link].vrrp) {
                (Some(mac), _) => self.send_from(link, mac),
                (None, Some(s)) => s.send(GROUP_V4, &self.out),
                (None, None) => Err(Errno::ENODEV),
            },
        };
        match sent {
            Ok(()) => self.node.sent(inst, priority, before),
            Err(e) => self.node.send_failed(inst, before, e as i32),
        }
    }

    pub(super) fn announce(&mut self, entry: usize) {
        let Some(e) =
            self.node.addrs.entries.get(entry).filter(|_| self.node.may_announce(entry, clock::now()))
        else {
            return;
        };
        let (IpAddr::V4(ip), Some(mac)) = (e.addr, self.node.links[e.link].mac) else { return };
        // The frame of a macvlan leaves by its parent.
        if let Some(s) = &self.sockets[self.node.wire(e.link)].arp
            && let Err(e) = s.send(&arp::gratuitous(mac, ip))
        {
            self.tell(&Event::AnnounceFailed { entry, errno: e as i32 });
        }
    }

    /// Everything that is queued: a timer is acted on only after that.
    pub(super) fn read_adverts(&mut self, now: Time, i: usize) {
        for _ in 0..PACKETS_PER_TURN {
            let s = &self.sockets[i];
            let got = match &s.vmac {
                Some(s) => s.recv(&mut self.buf).ok(),
                None => s.vrrp.as_ref().and_then(|s| s.recv(&mut self.buf).ok()),
            };
            let Some(n) = got else { break };
            self.node.packet(now, i, self.buf.get(..n).unwrap_or_default());
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
