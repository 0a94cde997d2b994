//! What the kernel says: interfaces, their sockets and their addresses.

use crate::base::time::Time;
use crate::event::Event;
use crate::node::{Effect, Life, Node, Sockets};
use crate::wire::rtnl;
use std::time::Duration;

/// Pause before sockets that could not be opened are tried again.
const REOPEN: Duration = Duration::from_secs(1);

impl Node {
    /// Everything is about to be read again: what a dump does not mention is gone.
    pub fn dump_starts(&mut self) {
        self.addrs.dump_starts();
    }

    /// It was. `links` are the indices of all interfaces that exist.
    pub fn dump_ends(&mut self, now: Time, links: &[u32]) {
        self.unmaking.retain(|i| links.contains(i));
        self.macs.retain(|(i, _)| links.contains(i));
        for i in 0..self.links.len() {
            if let Some(ifindex) = self.links[i].ifindex.filter(|x| !links.contains(x)) {
                self.link_gone(now, ifindex);
            }
        }
        for l in &mut self.links {
            l.unread = false;
        }
        let mut outcomes = Vec::new();
        self.addrs.dump_ends(now, &mut outcomes);
        self.vmacs_read(now);
        self.outcomes(now, outcomes);
        self.evaluate_all(now);
    }

    /// An interface is there or has changed.
    pub fn link(&mut self, now: Time, l: &rtnl::Link) {
        self.macs.retain(|(i, _)| *i != l.ifindex);
        self.macs.extend(l.mac.map(|mac| (l.ifindex, mac)));
        // Renamed away: the name is gone, whatever the index still is.
        if let Some(old) =
            self.links.iter().position(|x| x.ifindex == Some(l.ifindex) && x.name != l.name.as_str())
        {
            self.lose_link(now, old);
        }
        let Some(i) = self.links.iter().position(|x| x.name == l.name.as_str()) else {
            return self.unmake_leftover(l);
        };
        if self.links[i].vmac.is_some() {
            return self.vmac_seen(now, i, l);
        }
        if self.links[i].ifindex.is_some_and(|x| x != l.ifindex) {
            self.lose_link(now, i); // recreated: the old one's event was lost or is still to come
        }
        let running = l.up && l.running;
        let link = &mut self.links[i];
        let came = link.ifindex.is_none();
        let resized = std::mem::replace(&mut link.mtu, l.mtu) != l.mtu;
        let changed = came || link.running != running;
        let enslaved = std::mem::replace(&mut link.is_port, l.is_port) != l.is_port;
        let new_mac = link.mac.is_some() && link.mac != l.mac;
        link.ifindex = Some(l.ifindex);
        self.addrs.link_is(i, Some(l.ifindex));
        let link = &mut self.links[i];
        link.running = running;
        (link.mac, link.lower) = (l.mac, l.macvlan_of);
        if link.sockets == Sockets::Closed && link.has_sockets {
            self.open(i);
        }
        if came {
            self.refence();
            self.vmac_parent_came(i);
            if self.links[i].has_v6_vips && self.life != Life::Starting {
                // If it was renamed to this, the kernel does not tell its addresses of IPv6 again.
                self.reread();
            }
        }
        if changed && (self.life != Life::Starting || !running) {
            self.emit(Event::Link { link: i, present: true, running });
        }
        if changed {
            self.clear_unsent(i);
        }
        if changed && running {
            if !came {
                // What was sent without a carrier was asked for in vain: the kernel asks again once a second.
                self.push(Effect::ForgetUnanswered { ifindex: l.ifindex });
            }
            self.announce_sources(i);
        }
        if resized || changed || enslaved {
            self.clear_refusals(i);
            self.remake_vmacs(i);
            self.evaluate_all(now);
        }
        if new_mac || l.moved {
            // Every neighbour has the old one, or every switch the old port.
            self.announce_anew(now);
        }
    }

    /// An interface is up again: the peers of unicast routers must not wait with their adverts until they
    /// have asked for its address.
    fn announce_sources(&mut self, link: usize) {
        for router in 0..self.routers.len() {
            if self.routers[router].link == link {
                self.announce_source(router);
            }
        }
    }

    /// The source address of a virtual router is there, or can be reached again.
    pub(crate) fn announce_source(&mut self, router: usize) {
        let r = &self.routers[router];
        if r.is_unicast() && r.src.is_some() && self.links[r.link].sockets == Sockets::Open {
            self.push(Effect::AnnounceSource { router });
        }
    }

    /// An interface is gone.
    pub fn link_gone(&mut self, now: Time, ifindex: u32) {
        self.macs.retain(|(i, _)| *i != ifindex);
        self.addrs.link_gone(ifindex);
        if let Some(i) = self.links.iter().position(|l| l.ifindex == Some(ifindex)) {
            self.lose_link(now, i);
        }
    }

    pub(crate) fn lose_link(&mut self, now: Time, i: usize) {
        let link = &mut self.links[i];
        if let Some(ifindex) = link.ifindex.take() {
            self.addrs.link_gone(ifindex);
            self.refence();
        }
        self.addrs.link_is(i, None);
        let link = &mut self.links[i];
        (link.running, link.is_port, link.mac, link.sockets) = (false, false, None, Sockets::Closed);
        self.vmac_lost(i);
        self.push(Effect::Close { link: i });
        self.emit(Event::Link { link: i, present: false, running: false });
        self.evaluate_for(i, now);
    }

    pub(crate) fn open(&mut self, link: usize) {
        if let Some(ifindex) = self.links[link].ifindex {
            self.links[link].sockets = Sockets::Opening;
            self.push(Effect::Open { link, ifindex });
        }
    }

    /// The sockets of a link are open.
    pub fn opened(&mut self, now: Time, link: usize) {
        if self.links[link].sockets != Sockets::Opening {
            return; // gone again meanwhile
        }
        (self.links[link].sockets, self.links[link].open_error) = (Sockets::Open, None);
        self.clear_refusals(link);
        self.vmac_opened(now, link);
        self.evaluate_for(link, now);
    }

    /// They could not be opened.
    pub fn open_failed(&mut self, now: Time, link: usize, errno: i32) {
        if self.links[link].sockets != Sockets::Opening {
            return;
        }
        self.links[link].sockets = Sockets::Failed { retry_at: now + REOPEN };
        // It is tried every second, and said when it is news.
        if self.links[link].open_error.replace(errno) != Some(errno) {
            self.emit(Event::OpenFailed { link, errno });
        }
        self.evaluate_for(link, now);
    }

    /// An address is there or has changed.
    pub fn addr(&mut self, now: Time, a: &rtnl::Addr) {
        if self.unmaking.contains(&a.ifindex) {
            return;
        }
        let mut outcomes = Vec::new();
        self.addrs.seen(now, a, &mut outcomes);
        self.outcomes(now, outcomes);
        self.addresses_changed(now, a);
    }

    /// An address is gone.
    pub fn addr_gone(&mut self, now: Time, a: &rtnl::Addr) {
        let mut outcomes = Vec::new();
        self.addrs.gone(now, a, &mut outcomes);
        self.outcomes(now, outcomes);
        self.addresses_changed(now, a);
    }

    fn addresses_changed(&mut self, now: Time, a: &rtnl::Addr) {
        let ours = self.links.iter().any(|l| l.ifindex == Some(a.ifindex));
        if self.life != Life::Starting && ours && !self.addrs.is_leased_vip(a) {
            self.evaluate_all(now);
        }
    }

    /// Netlink lost messages; the daemon dumps everything.
    pub fn overrun(&mut self) {
        self.emit(Event::Overrun);
    }
}
