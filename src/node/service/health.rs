//! Whether a virtual router can take part: its interfaces, its source address, HAProxy. The one place where
//! service health meets VRRP.

use crate::base::time::Time;
use crate::config::Track;
use crate::event::Event;
use crate::haproxy::output;
use crate::haproxy::supervisor::{self, Health, Supervisor};
use crate::node::{Effect, Life, Node, Router, Service, Sockets};
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Input, Kind};

impl Node {
    pub(crate) fn evaluate_all(&mut self, now: Time) {
        if self.life != Life::Running {
            return;
        }
        for i in 0..self.routers.len() {
            self.find_source(i);
            self.update_priority(i, now);
        }
        for i in 0..self.routers.len() {
            self.evaluate(i, now);
        }
    }

    /// Those on whom something about a link bears: of a macvlan of ours that is one virtual router and its
    /// group.
    pub(crate) fn evaluate_for(&mut self, link: usize, now: Time) {
        match self.links[link].vmac {
            Some(v) if self.life == Life::Running => {
                for i in self.group_or_self(v.router) {
                    self.evaluate(i, now);
                }
            }
            Some(_) => {}
            None => self.evaluate_all(now),
        }
    }

    /// Whether a virtual router can take part; starts or faults its machine.
    fn evaluate(&mut self, i: usize, now: Time) {
        if self.routers[i].retired || self.any_of_group(i, &|j| self.is_unread(j)) {
            return;
        }
        let mut making = false;
        for j in self.group_or_self(i) {
            making |= self.want_vmac(j);
        }
        let faults = self.group_faults(i, now);
        let router = &self.routers[i];
        let opening = self.any_of_group(i, &|j| self.is_opening(j));
        if (opening || making) && router.machine.kind() == Kind::Init {
            return;
        }
        let changed = faults != router.faults;
        self.routers[i].faults = faults;
        if faults.none() {
            if self.routers[i].machine.kind() == Kind::Init {
                self.take_part(i, now);
            }
            return;
        }
        let adopting = self.haproxy.as_ref().is_some_and(Supervisor::is_adopting);
        let awaited = if adopting { Faults::CHECKING.or(Faults::STARTING) } else { Faults::CHECKING };
        if self.routers[i].may_resume && !faults.only(awaited) {
            self.routers[i].may_resume = false;
        }
        if changed {
            self.emit(Event::Fault { router: i, faults });
        }
        self.note_flap(i, faults);
        self.step(i, now, Input::Fault);
        if self.routers[i].hold.is_some() {
            self.end_hold(i, now);
        } else if !self.routers[i].may_resume {
            self.release(i);
        }
    }

    /// Whether it has an interface of which the kernel has yet to tell: what is there may not be taken for
    /// missing.
    fn is_unread(&self, i: usize) -> bool {
        let router = &self.routers[i];
        self.links.iter().enumerate().any(|(n, l)| {
            let has = || self.addrs.of(i).any(|(_, e)| e.link == n);
            let tracks = || router.cfg.track_interfaces.iter().any(|t| t.name == l.name);
            l.unread && (n == router.link || has() || tracks())
        })
    }

    fn is_opening(&self, i: usize) -> bool {
        let links = self.addrs.of(i).map(|(_, e)| e.link).chain([self.routers[i].link]);
        links.into_iter().any(|l| self.links[l].sockets == Sockets::Opening)
    }

    /// Its own reasons not to take part, whatever its group says.
    pub(crate) fn faults(&self, i: usize, now: Time) -> Faults {
        let router = &self.routers[i];
        let mut f = Faults::default();
        for l in self.addrs.of(i).map(|(_, e)| e.link).chain([router.link]) {
            let link = &self.links[l];
            if link.vmac.is_some() {
                continue; // its parent's state counts
            }
            f.set(Faults::NO_INTERFACE, link.ifindex.is_none());
            let may_be_down = l == router.link && router.cfg.dont_track_primary;
            f.set(Faults::LINK_DOWN, link.ifindex.is_some() && !link.running && !may_be_down);
            f.set(Faults::PORT, link.is_port && !may_be_down);
            f.set(Faults::SOCKET, matches!(link.sockets, Sockets::Failed { .. }));
        }
        if let Some(vmac) = router.vmac {
            self.vmac_faults(vmac, &mut f);
        }
        let exists = !f.has(Faults::NO_INTERFACE);
        let source = if router.cfg.src_ip.is_some() { Faults::NO_SOURCE } else { Faults::NO_ADDRESS };
        f.set(source, exists && router.src.is_none());
        f.set(Faults::NOT_OWNER, exists && router.is_owner() && !self.owner_has_all(i));
        f.set(Faults::DELAY, now < self.startup_delay_until);
        f.set(Faults::REFUSED, router.refused.until.is_some());
        f.set(Faults::UNSENT, router.unsent.is_fault());
        let missing = match &self.haproxy {
            Some(h) if h.is_first_start() => Faults::STARTING,
            _ => Faults::HAPROXY,
        };
        f.set(missing, !self.is_served(i, now));
        self.tracked_faults(i, now, &mut f);
        f
    }

    /// The interfaces beside its own on which it has VIPs, and that are missing or down.
    pub fn lacking(&self, i: usize) -> Vec<usize> {
        let own = self.routers[i].link;
        let mut links = Vec::new();
        for (_, e) in self.addrs.of(i) {
            let link = &self.links[e.link];
            let lacks = e.link != own && link.vmac.is_none() && !link.running;
            if lacks && links.last() != Some(&e.link) {
                links.push(e.link);
            }
        }
        links
    }

    fn owner_has_all(&self, i: usize) -> bool {
        self.addrs.owner_has_all(i)
    }

    /// Whether HAProxy can serve what this virtual router hands over: a dead service has nothing to keep.
    pub(crate) fn is_well(&self, i: usize, now: Time) -> bool {
        let tracks = |i: usize| self.routers[i].cfg.track_haproxy != Track::No && !self.routers[i].is_owner();
        let tracked = self.any_of_group(i, &tracks);
        self.haproxy
            .as_ref()
            .is_none_or(|h| !tracked || matches!(h.health(now), Health::Well | Health::Shaky))
    }

    /// Whether HAProxy lets this virtual router be what it is: a master and a backup wait for a restart,
    /// nobody starts without it. An owner tracks nothing, but waits for the first start, whatever comes of
    /// it: its first advert ends the service of another master.
    fn is_served(&self, i: usize, now: Time) -> bool {
        let router = &self.routers[i];
        match self.haproxy.as_ref().filter(|_| router.cfg.track_haproxy == Track::Fault) {
            None => true,
            Some(h) if router.is_owner() => router.machine.kind() != Kind::Init || !h.is_first_start(),
            Some(h) => match h.health(now) {
                Health::Well | Health::Shaky => true,
                Health::Recovering { .. } => router.machine.kind() != Kind::Init,
                Health::Unwell => false,
            },
        }
    }

    /// A backup does not become master while HAProxy is being started again.
    pub(crate) fn takeover_blocked(&self, i: usize) -> bool {
        let router = &self.routers[i];
        router.cfg.track_haproxy == Track::Fault
            && router.machine.kind() == Kind::Backup
            && self.service.is_some_and(|s| matches!(s.health, Health::Recovering { .. }))
    }

    fn find_source(&mut self, i: usize) {
        let router = &self.routers[i];
        let ifindex = self.links[router.link].ifindex;
        let src = ifindex.and_then(|ifindex| match router.cfg.src_ip {
            Some(ip) => self.addrs.has(ifindex, ip).then_some(ip),
            // The owner's addresses are the interface's own, and its adverts come from them.
            None => match self.addrs.primary(ifindex, router.cfg.is_ipv6()) {
                None if router.is_owner() => router.vips.first().copied(),
                ip => ip,
            },
        });
        let router = &mut self.routers[i];
        let before = std::mem::replace(&mut router.src, src);
        let Some(ip) = src else { return };
        router.machine.params.own = ip;
        let (link, v6) = (router.link, router.cfg.is_ipv6());
        if before == src {
            return;
        }
        self.announce_source(i);
        // With its last IPv6 address an interface may lose the memberships of all sockets (MTU below 1280,
        // `disable_ipv6`): new ones join again. The old ones are closed first, as that would take theirs
        // away.
        if v6 && before.is_none() {
            self.rejoin(link);
        }
    }

    /// An interface whose memberships the kernel has taken away, if it is to have any.
    pub fn rejoin(&mut self, link: usize) {
        let uses = |r: &Router| r.link == link && r.cfg.is_ipv6() && r.src.is_some();
        if self.links[link].sockets == Sockets::Open && self.routers.iter().any(uses) {
            self.push(Effect::Close { link });
            self.open(link);
        }
    }

    // ---- HAProxy ----

    /// HAProxy printed a line, or a check of its configuration did; `pid`: the process that was started.
    pub fn haproxy_said(&mut self, now: Time, pid: u32, line: &str) {
        if let Some(text) = output::complaint(line)
            && self.haproxy.as_ref().is_some_and(Supervisor::is_reloading)
        {
            self.supervise(now, supervisor::Input::Complained { text: text.to_owned() });
        }
        if let Some(vip) = output::unbound(line)
            && self.addrs.entries.iter().any(|e| e.addr == vip)
        {
            self.supervise(now, supervisor::Input::Unbound { vip });
        } else if output::is_usage(line) {
            self.supervise(now, supervisor::Input::UsagePrinted { pid });
        } else if output::is_load_failure(line) {
            self.supervise(now, supervisor::Input::LoadFailed);
        }
    }

    /// Tells the supervisor what happened, carries its actions on, and looks at what its health means for
    /// VRRP.
    pub fn supervise(&mut self, now: Time, input: supervisor::Input) {
        let Some(h) = self.haproxy.as_mut() else { return };
        h.step(now, input);
        let health = Service { health: h.health(now), adopting: h.is_adopting(), first: h.is_first_start() };
        let mut dies_too_often = false;
        while let Some(e) = self.haproxy.as_mut().and_then(Supervisor::next_event) {
            dies_too_often |= matches!(e, supervisor::Event::CrashLoop { .. });
            self.emit(Event::Haproxy(e));
        }
        if let Some(drop) = self.haproxy.as_mut().and_then(Supervisor::first_action) {
            self.push(Effect::Haproxy(drop));
        }
        for i in 0..self.routers.len() {
            // Nothing serves the addresses that still wait for their successor.
            if self.routers[i].hold.is_some() && !self.is_well(i, now) {
                self.end_hold(i, now);
            }
        }
        // A hung HAProxy loses the addresses before it is killed.
        if self.service.replace(health) != Some(health) {
            self.evaluate_all(now);
        }
        if dies_too_often {
            let tracks = |r: &Router| r.cfg.track_haproxy == Track::Fault && !r.is_owner();
            self.resign_all(&self.which(&|i| tracks(&self.routers[i])), now);
        }
        while let Some(action) = self.haproxy.as_mut().and_then(Supervisor::next_action) {
            self.push(Effect::Haproxy(action));
        }
    }
}
