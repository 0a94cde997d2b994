//! What the network brings: adverts and announcements.

use super::router::foreign::is_of_a_master;
use super::router::quiet::ODD;
use super::{Effect, Memory, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::vrrp::authentication;
use crate::vrrp::demux;
use crate::vrrp::foreign::Other;
use crate::vrrp::machine::{Input, Kind, Master};
use crate::vrrp::packet::{self, Advert, Discard, Expect, Notes, Received};
use crate::wire::arp::Arp;
use crate::wire::ipv4::Ipv4;
use crate::wire::ndp::Na;
use crate::wire::vrrp::IpInfo;
use std::net::IpAddr;
use std::time::Duration;

/// At most one line in this time about packets that are nobody's.
const BOGUS_QUIET: Duration = Duration::from_secs(10);

impl Node {
    /// An IPv4 packet of protocol 112 or 51 arrived on a link.
    pub fn packet(&mut self, now: Time, link: usize, bytes: &[u8]) {
        let src = |bytes| Ipv4::parse(bytes).map(|ip| ip.src.into());
        self.received(now, link, demux::receive(bytes).map_err(|why| (why, src(bytes))));
    }

    /// What follows an IPv6 header with next header 112 arrived on a link.
    pub fn packet_v6(&mut self, now: Time, link: usize, info: IpInfo, message: &[u8]) {
        let preamble = packet::preamble(&info, message).map_err(|why| (why, Some(info.src)));
        self.received(now, link, preamble.map(|preamble| Received { info, ah: None, message, preamble }));
    }

    fn received(&mut self, now: Time, link: usize, r: Result<Received, (Discard, Option<IpAddr>)>) {
        match r {
            Err((why, src)) => self.bogus(now, link, why, src),
            Ok(r) => {
                let l = &self.links[link];
                let demux = if r.info.src.is_ipv4() { &l.demux } else { &l.demux_v6 };
                match demux.get(r.preamble.vrid) {
                    Some(router) => self.for_instance(now, router, &r),
                    None => match packet::check_type(r.message) {
                        Ok(()) => self.unknown_vrid(link, &r),
                        Err(why) => self.bogus(now, link, why, Some(r.info.src)),
                    },
                }
            }
        }
    }

    fn bogus(&mut self, now: Time, link: usize, why: Discard, src: Option<IpAddr>) {
        let l = &mut self.links[link];
        l.bogus.count(why);
        if l.bogus_said.pass(now, BOGUS_QUIET) {
            self.emit(Event::Bogus { link, src, why });
        }
    }

    /// Nobody's VRID: normal on a shared LAN, but with one of our VIPs it is a second master.
    fn unknown_vrid(&mut self, link: usize, r: &Received) {
        let vrid = r.preamble.vrid;
        let l = &mut self.links[link];
        l.bogus.count(Discard::Vrid);
        let list = r.message.get(8..).unwrap_or_default();
        let v4 = r.info.src.is_ipv4();
        let listed = |addr| match addr {
            IpAddr::V4(a) => v4 && list.chunks_exact(4).any(|c| c == a.octets()),
            IpAddr::V6(a) => !v4 && list.chunks_exact(16).any(|c| c == a.octets()),
        };
        let vip = self.addrs.entries.iter().position(|e| self.wire(e.link) == link && listed(e.addr));
        let said = &mut self.links[link].unknown_vrid_said[usize::from(vrid)];
        // Once, and once more if it becomes serious.
        if said.is_none_or(|serious| !serious && vip.is_some()) {
            *said = Some(vip.is_some());
            self.emit(Event::UnknownVrid { link, vrid, src: r.info.src, vip });
        }
    }

    fn for_instance(&mut self, now: Time, i: usize, r: &Received) {
        let wall = self.wall(now);
        let router = &mut self.routers[i];
        let expect = Expect {
            version: router.cfg.version,
            advert_int: router.cfg.advert_int,
            own_addr: router.src,
            unicast: router.is_unicast(),
            vips: &router.vips,
            peers: router.cfg.heard(),
        };
        let decoded = packet::decode(r, wall, &expect, &mut router.auth);
        if router.auth.must_save() {
            self.push(Effect::Remember { router: i, memory: Memory::Sequence });
        }
        let router = &mut self.routers[i];
        match decoded {
            Ok(advert) => self.accepted(now, i, &advert),
            Err(why) => {
                router.stats.discards.count(why);
                if router.quiet.may_say(why.index(), now) {
                    let detail = match why {
                        Discard::Length => packet::excess(r.message, &r.info.src),
                        _ => authentication::detail(why, r.message, wall),
                    };
                    self.emit(Event::Discarded { router: i, src: r.info.src, why, detail });
                }
                if is_of_a_master(why) {
                    let priority = r.message.get(2).copied().unwrap_or_default();
                    let other = Other { src: r.info.src, priority, refused: Some(why) };
                    self.second_master(now, i, other);
                }
            }
        }
    }

    fn accepted(&mut self, now: Time, i: usize, a: &Advert) {
        let router = &mut self.routers[i];
        router.stats.adverts_received += 1;
        router.stats.priority_zero_received += u64::from(a.priority == 0);
        router.stats.plain_checksums += u64::from(a.notes.checksum_without_pseudo_header);
        let mismatch = a.notes.address_count_differs || a.notes.address_list_differs;
        router.stats.list_mismatch += u64::from(mismatch);
        router.stats.first_not_link_local += u64::from(a.notes.first_not_link_local);
        if a.notes.clock_skew != 0 {
            let notes = Notes { clock_skew: a.notes.clock_skew, ..Notes::default() };
            self.emit(Event::Odd { router: i, src: a.src, notes });
        }
        let router = &mut self.routers[i];
        let plain = Notes { checksum_without_pseudo_header: false, clock_skew: 0, ..a.notes };
        if plain != Notes::default() && router.quiet.may_say(ODD, now) {
            self.emit(Event::Odd { router: i, src: a.src, notes: a.notes });
        }
        let router = &mut self.routers[i];
        router.quiet.accept(now);
        if a.priority != 0 {
            router.flap_until = None;
        }
        if a.priority != 0 && std::mem::take(&mut router.may_resume) {
            // Somebody else is master: whatever our lease says, nothing is resumed.
            self.release(i);
        }
        let master = Master { src: a.src, priority: a.priority };
        let router = &mut self.routers[i];
        router.last_advert = (a.priority != 0).then_some((master, now));
        let was_master = router.is_master();
        let other = Other { src: a.src, priority: a.priority, refused: None };
        if self.passes_over(i, now, a.src, a.priority) {
            return self.second_master(now, i, other);
        }
        self.step(i, now, Input::Advert { src: a.src, priority: a.priority, interval: a.interval });
        if a.priority != 0 && self.routers[i].machine.kind() != Kind::Master {
            self.successor_advertised(i, now);
        }
        if was_master {
            self.second_master(now, i, other);
        }
    }

    /// A gratuitous ARP, or the answer to a probe, arrived on a link.
    pub fn arp(&mut self, now: Time, link: usize, arp: &Arp) {
        if arp.is_gratuitous() || arp.is_conflict() {
            self.announced(now, link, IpAddr::V4(arp.spa), Some(arp.sha));
        }
    }

    /// A neighbour advertisement arrived on a link.
    pub fn neighbour(&mut self, now: Time, link: usize, na: &Na) {
        self.announced(now, link, IpAddr::V6(na.target), na.mac);
    }

    fn announced(&mut self, now: Time, link: usize, ip: IpAddr, by: Option<[u8; 6]>) {
        if self.links[link].mac == by {
            return; // ourselves
        }
        let here = |e: &&(usize, &crate::lease::Entry)| self.wire(e.1.link) == link && e.1.addr == ip;
        // During a reload two virtual routers may have one address: who waits for the successor comes first.
        let waits = |e: &(usize, &crate::lease::Entry)| here(&e) && self.routers[e.1.router].hold.is_some();
        let mut all = self.addrs.entries.iter().enumerate();
        let Some((entry, e)) = all.clone().find(waits).or_else(|| all.find(|e| here(&e))) else {
            return;
        };
        self.successor_announced(e.router, entry, now);
        if let Some(mac) = by {
            self.contested(now, entry, mac);
        }
    }
}
