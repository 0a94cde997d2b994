//! What each interface is used for, and the sockets that go with it.

use crate::config;
use crate::lease::Want;
use crate::node::{Effect, Life, Link, Node, Sockets};

impl Node {
    pub(crate) fn link_named(&mut self, name: &str) -> usize {
        if let Some(i) = self.links.iter().position(|l| l.name == name) {
            return i;
        }
        let mut link = Link::new(name);
        if self.life != Life::Starting {
            // Whatever that interface is, the kernel has to say it.
            self.reread();
            link.unread = true;
            if let Some(i) = self.links.iter().position(|l| l.name.is_empty()) {
                self.links[i] = link;
                return i;
            }
        }
        self.links.push(link);
        self.links.len() - 1
    }

    /// The interfaces of a virtual router, and where its VIPs belong. Whether any is new.
    pub(crate) fn place(&mut self, i: usize, v: &config::Vrrp) -> bool {
        let link = self.link_named(&v.interface);
        self.routers[i].link = link;
        if v.use_vmac && self.routers[i].vmac.is_none() {
            self.routers[i].vmac = Some(self.vmac_link(v, i, link));
        }
        let added = self.set_vips(i, v);
        for t in &v.track_interfaces {
            self.link_named(&t.name);
        }
        added
    }

    fn set_vips(&mut self, i: usize, v: &config::Vrrp) -> bool {
        let home = self.routers[i].vmac.unwrap_or(self.routers[i].link);
        let mut links = Vec::new();
        for vip in v.held() {
            let link = vip.dev.as_ref().map_or(home, |d| self.link_named(d));
            links.push((link, self.wire(link)));
        }
        let want = match self.life {
            Life::Starting => Want::Undecided,
            _ if self.routers[i].is_master() => Want::Present,
            _ => Want::Absent,
        };
        self.addrs.set_vips(i, v, want, &links)
    }

    /// What each interface is used for, and the sockets that go with it.
    pub(crate) fn rewire(&mut self) {
        let before: Vec<u64> = self.links.iter().map(Link::wiring).collect();
        for l in &mut self.links {
            l.unwire();
        }
        // Routers that leave make room for new ones.
        for gone in [false, true] {
            for i in self.which(&|i| self.routers[i].retired == gone) {
                self.wire_router(i);
            }
        }
        for (link, old) in before.iter().enumerate() {
            let l = &self.links[link];
            match l.sockets {
                Sockets::Closed if l.has_sockets => self.open(link),
                Sockets::Closed => {}
                _ if !l.has_sockets => {
                    self.links[link].sockets = Sockets::Closed;
                    self.push(Effect::Close { link });
                }
                // Those that are there are kept: their queues are read first.
                Sockets::Open if l.wiring() != *old => self.open(link),
                _ => {}
            }
        }
    }

    fn wire_router(&mut self, i: usize) {
        let router = &self.routers[i];
        let (v6, multicast) = (router.cfg.is_ipv6(), !router.is_unicast());
        let l = &mut self.links[router.link];
        let demux = if v6 { &mut l.demux_v6 } else { &mut l.demux };
        if demux.get(router.cfg.vrid).is_none_or(|other| other == i) {
            demux.insert(router.cfg.vrid, i);
        }
        l.carries_adverts |= !v6;
        l.multicast |= multicast;
        l.has_sockets = true;
        if let Some(vmac) = router.vmac {
            let l = &mut self.links[vmac];
            if v6 { &mut l.demux_v6 } else { &mut l.demux }.insert(router.cfg.vrid, i);
            l.has_sockets = true;
        }
        for e in self.addrs.entries.iter().filter(|e| e.router == i) {
            let l = &mut self.links[e.link];
            l.has_v6_vips |= e.addr.is_ipv6();
            l.has_sockets = true;
        }
    }

    pub(crate) fn is_unused(&self, link: usize) -> bool {
        let l = &self.links[link];
        l.sockets == Sockets::Closed
            && l.vmac.is_none()
            && self.links.iter().all(|l| l.vmac.is_none_or(|v| v.parent != link))
            && self.addrs.is_unused(link)
            && !self
                .routers
                .iter()
                .any(|i| i.link == link || i.cfg.track_interfaces.iter().any(|t| t.name == l.name))
    }
}

impl Link {
    pub(crate) fn unused() -> Self {
        Link::new("")
    }

    fn unwire(&mut self) {
        (self.demux, self.demux_v6) = Default::default();
        (self.carries_adverts, self.has_sockets, self.has_v6_vips, self.multicast) = Default::default();
    }

    /// Recognises what the sockets depend on.
    fn wiring(&self) -> u64 {
        let flags = [self.carries_adverts, self.has_v6_vips, self.multicast].map(u8::from);
        let mut all: Vec<u8> = self.demux.vrids().collect();
        all.push(0); // no VRID
        all.extend(self.demux_v6.vrids());
        all.extend(flags);
        crate::base::hash::fnv1a(&all)
    }
}
