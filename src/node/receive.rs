//! What the network brings: adverts and gratuitous ARPs.

use super::Node;
use super::instance::ODD;
use crate::event::Event;
use crate::time::Time;
use crate::vrrp::demux::{self, Received};
use crate::vrrp::machine::{Input, Kind};
use crate::vrrp::packet::{self, Advert, Discard, Expect, Notes};
use crate::wire::arp::Arp;
use std::net::IpAddr;
use std::time::Duration;

/// At most one line in this time about packets that are nobody's.
const BOGUS_QUIET: Duration = Duration::from_secs(10);

impl Node {
    /// An IP packet of protocol 112 or 51 arrived on a link.
    pub fn packet(&mut self, now: Time, link: usize, bytes: &[u8]) {
        match demux::receive(bytes) {
            Err(why) => self.bogus(now, link, why),
            Ok(r) => match self.links[link].demux.get(r.preamble.vrid) {
                Some(inst) => self.for_instance(now, inst, &r),
                None => self.stray(link, &r),
            },
        }
    }

    fn bogus(&mut self, now: Time, link: usize, why: Discard) {
        let l = &mut self.links[link];
        l.bogus.count(why);
        if l.bogus_said.is_none_or(|t| now.since(t) >= BOGUS_QUIET) {
            l.bogus_said = Some(now);
            self.tell(Event::Bogus { link, why });
        }
    }

    /// Nobody's VRID: normal on a shared LAN, but with one of our VIPs it is a second master.
    fn stray(&mut self, link: usize, r: &Received) {
        let vrid = r.preamble.vrid;
        let l = &mut self.links[link];
        l.bogus.count(Discard::Vrid);
        let said = &mut l.stray_said[usize::from(vrid)];
        if std::mem::replace(said, true) {
            return;
        }
        let list = r.message.get(8..).unwrap_or_default();
        let vip = self.addrs.entries.iter().position(|e| {
            e.link == link && matches!(e.addr, IpAddr::V4(a) if list.chunks_exact(4).any(|c| c == a.octets()))
        });
        self.tell(Event::Stray { link, vrid, src: r.carrier.src, vip });
    }

    fn for_instance(&mut self, now: Time, i: usize, r: &Received) {
        let inst = &mut self.instances[i];
        let expect = Expect {
            version: inst.cfg.version,
            auth: &inst.cfg.auth,
            advert_int: inst.cfg.advert_int,
            own_addr: inst.src,
            unicast: inst.is_unicast(),
            vips: &inst.vips,
            peers: inst.heard(),
            replay: &inst.replay,
        };
        let decoded = packet::decode(&r.carrier, r.ah.as_ref(), r.message, &expect);
        // Authentic, whatever else is wrong with it.
        if let Some(ah) =
            r.ah.filter(|_| decoded.is_ok() || decoded.is_err_and(|why| why > Discard::AuthReplay))
        {
            inst.replay.accept(r.carrier.src, ah.seq);
            self.keep_mark(i);
        }
        let inst = &mut self.instances[i];
        match decoded {
            Ok(advert) => self.accepted(now, i, &advert),
            Err(why) => {
                inst.stats.discards.count(why);
                if inst.quiet.may_say(why.index(), now) {
                    let seconds = r.message.get(5).map_or(0, |b| u64::from(*b));
                    let interval = Duration::from_secs(seconds);
                    self.tell(Event::Discarded { inst: i, src: r.carrier.src, why, interval });
                }
            }
        }
    }

    fn accepted(&mut self, now: Time, i: usize, a: &Advert) {
        let inst = &mut self.instances[i];
        inst.stats.adverts_received += 1;
        inst.stats.priority_zero_received += u64::from(a.priority == 0);
        inst.stats.plain_checksums += u64::from(a.notes.checksum_without_pseudo_header);
        let mismatch = a.notes.address_count_differs || a.notes.address_list_differs;
        inst.stats.list_mismatch += u64::from(mismatch);
        inst.stats.first_not_link_local += u64::from(a.notes.first_not_link_local);
        let plain = Notes { checksum_without_pseudo_header: false, ..a.notes };
        if plain != Notes::default() && inst.quiet.may_say(ODD, now) {
            self.tell(Event::Odd { inst: i, src: a.src, notes: a.notes });
        }
        let inst = &mut self.instances[i];
        inst.quiet.accept(now);
        if a.priority != 0 {
            // Somebody else is master: whatever our lease says, nothing is resumed.
            inst.may_resume = false;
        }
        self.step(i, now, Input::Advert { src: a.src, priority: a.priority, interval: a.interval });
        if a.priority != 0 && self.instances[i].machine.kind() != Kind::Master {
            self.successor_advertised(i, now);
        }
    }

    /// A gratuitous ARP arrived on a link.
    pub fn arp(&mut self, now: Time, link: usize, arp: &Arp) {
        if !arp.is_gratuitous() || self.links[link].mac == Some(arp.sha) {
            return;
        }
        let ip = IpAddr::V4(arp.spa);
        let waiting = self.addrs.entries.iter().find(|e| e.link == link && e.addr == ip).map(|e| e.inst);
        if let Some(inst) = waiting {
            self.successor_announced(inst, now);
        }
    }
}
