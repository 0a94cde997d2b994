//! Another configuration for a node that runs. What did not change does not notice.
//!
//! A virtual router is the same one if its peers would say so (`config::diff::is_same_router`): then everything changes
//! in place, its name too. Else the old one leaves as in a stop, alone, and is forgotten when it holds nothing any
//! more; a new one starts as a backup. An address that both have is handed from the one to the other
//! without leaving the kernel.
//!
//! Indices of virtual routers, VIPs, interfaces and checks change here: no effect and no event may be queued.

use super::{Effect, Group, Life, Link, Memory, Node, Router, Sockets, Target};
use crate::base::time::Time;
use crate::check::Check;
use crate::config::{self, Config, diff};
use crate::event::Event;
use crate::haproxy::supervisor::{self, State as Haproxy, Supervisor};
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Input, State, Tuning};
use std::time::Duration;

/// What a reload did with one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What.
    pub what: What,
}

/// See `Change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It leaves.
    Removed,
    /// It goes on with other values.
    Changed,
}

impl Node {
    /// Whether a new configuration may be taken up now: nobody waits for an answer to priority 0, and nothing is
    /// queued.
    pub fn may_reconfigure(&self) -> bool {
        let soliciting = self.routers.iter().any(|i| i.machine.is_soliciting());
        !soliciting && self.effects.is_empty() && self.events.is_empty()
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        !matches!(self.life, Life::Starting | Life::Running)
    }

    /// From `old` to `new`. Effects follow. HAProxy is another matter: `reconfigure_haproxy`.
    pub fn reconfigure(&mut self, old: &Config, new: &Config, now: Time) -> Vec<Change> {
        let from = self.match_instances(new, now);
        self.renumber(&from);
        self.new_checks(old, new, now);
        let mut changes = Vec::new();
        // Two may have changed their names with each other: all files go before one is written.
        for (i, v) in new.vrrp.iter().enumerate() {
            let name = &self.routers[i].cfg.name;
            if *name != v.name {
                let name = name.clone();
                self.push(Effect::Forget { name });
            }
        }
        for (i, v) in new.vrrp.iter().enumerate() {
            let known = from.get(i).is_some_and(Option::is_some);
            let before = known.then(|| std::mem::replace(&mut self.routers[i].cfg, v.clone()));
            let link = self.link_named(&v.interface);
            self.routers[i].link = link;
            if v.use_vmac && self.routers[i].vmac.is_none() {
                self.routers[i].vmac = Some(self.vmac_link(v, i, link));
            }
            let master = self.routers[i].is_master();
            let added = self.set_vips(i, v, master);
            match before {
                None => {
                    self.addrs.set_terms(i, v);
                    changes.push(Change { name: v.name.clone(), what: What::Added });
                }
                Some(mut before) => {
                    self.retune(i, &before, v, now);
                    if added && self.routers[i].is_master() {
                        self.advert_unless_fresh(i, now);
                    }
                    // Where it stands in the file does not matter, nor where its checks do.
                    before.line = v.line;
                    for t in &mut before.track_checks {
                        let is_it =
                            |c: &config::Check| old.checks.get(t.check).is_some_and(|o| o.name == c.name);
                        t.check = new.checks.iter().position(is_it).unwrap_or(usize::MAX);
                    }
                    if before != *v {
                        changes.push(Change { name: v.name.clone(), what: What::Changed });
                    }
                }
            }
            for t in &v.track_interfaces {
                self.link_named(&t.name);
            }
        }
        for i in new.vrrp.len()..self.routers.len() {
            if !self.routers[i].retired {
                changes.push(Change { name: self.routers[i].cfg.name.clone(), what: What::Removed });
                self.retire(i, now);
            }
        }
        self.notify.reconfigure(new, now);
        self.regroup(&from, new, now);
        self.rewire();
        self.let_dropped_go(now);
        self.evaluate_all(now);
        self.stale = true;
        changes
    }

    /// The virtual routers in the order of the file, those that leave behind them. Returns which each one was.
    fn match_instances(&mut self, new: &Config, now: Time) -> Vec<Option<usize>> {
        let mut old: Vec<(usize, Router)> =
            std::mem::take(&mut self.routers).into_iter().enumerate().collect();
        let mut from = Vec::new();
        for v in &new.vrrp {
            let same = old.iter().position(|(_, i)| !i.retired && diff::is_same_router(&i.cfg, v));
            let (at, router) = match same.map(|at| old.remove(at)) {
                Some((at, router)) => (Some(at), router),
                None => {
                    let mut router = Router::new(v.clone(), 0, now);
                    router.machine.params.epoch = self.epoch;
                    (None, router)
                }
            };
            from.push(at);
            self.routers.push(router);
        }
        for (at, router) in old {
            from.push(Some(at));
            self.routers.push(router);
        }
        from
    }

    fn renumber(&mut self, from: &[Option<usize>]) {
        let map = self.addrs.renumber(from);
        let is_now = |e: usize| map.get(e).copied().flatten();
        self.announcing = self.announcing.iter().filter_map(|e| is_now(*e)).collect();
        for router in &mut self.routers {
            router.contest = router.contest.take().and_then(|mut c| {
                c.entry = is_now(c.entry)?;
                Some(c)
            });
        }
        for v in self.links.iter_mut().filter_map(|l| l.vmac.as_mut()) {
            v.router = from.iter().position(|o| *o == Some(v.router)).unwrap_or(v.router);
        }
    }

    fn set_vips(&mut self, i: usize, v: &config::Vrrp, master: bool) -> bool {
        let home = self.routers[i].vmac.unwrap_or(self.routers[i].link);
        let mut links = Vec::new();
        for vip in v.held() {
            let link = vip.dev.as_ref().map_or(home, |d| self.link_named(d));
            links.push((link, self.wire(link)));
        }
        self.addrs.set_vips(i, v, master, &links)
    }

    /// The same virtual router with other values.
    fn retune(&mut self, i: usize, before: &config::Vrrp, v: &config::Vrrp, now: Time) {
        self.forgive_instance(i);
        let router = &mut self.routers[i];
        let mut targets = Target::of(v);
        for t in &mut targets {
            if let Some(old) = router.targets.iter().find(|o| o.to == t.to) {
                t.clone_from(old);
            }
        }
        router.targets = targets;
        router.vips = v.vips.iter().map(|v| v.addr).collect();
        if before.garp != v.garp && router.is_master() {
            router.announcer.retune(now, &v.garp);
        }
        // What a restart resumes is the virtual router that it was started as.
        let resumable = |v: &config::Vrrp| crate::lease::state_file::render(v, false);
        let master = router.is_master();
        if before.name != v.name && self.routers[i].ah_key().is_some() {
            self.push(Effect::Remember { router: i, memory: Memory::Sequence });
        }
        if master && (before.name != v.name || resumable(before) != resumable(v)) {
            self.push(Effect::Remember { router: i, memory: Memory::Master });
        }
        let tuning = Tuning {
            advert_int: v.advert_int,
            down_timer_adverts: v.down_timer_adverts,
            preempt: v.preempt,
            preempt_delay: v.preempt_delay,
        };
        let mut actions = Vec::new();
        self.routers[i].machine.retune(now, tuning, &mut actions);
        let told_first = !actions.is_empty();
        for a in actions {
            self.act(i, now, a);
        }
        let terms = |v: &config::Vrrp| (v.advert_int, v.down_timer_adverts, v.lease);
        if terms(before) != terms(v) {
            // A master's leases follow when its backups have heard of the interval: `sent`.
            if told_first {
                self.addrs.set_lease(i, v);
            } else {
                self.addrs.set_terms(i, v);
            }
        }
    }

    /// It leaves as in a stop, alone.
    fn retire(&mut self, i: usize, now: Time) {
        let input = if self.is_well(i, now) { Input::Leave } else { Input::Fault };
        let router = &mut self.routers[i];
        (router.retired, router.may_resume, router.group) = (true, false, None);
        router.cfg.track_checks.clear();
        router.cfg.track_interfaces.clear();
        self.step(i, now, input);
        self.note_retired(i);
        let router = &mut self.routers[i];
        router.faults = Faults::default();
        if router.hold.is_none() {
            self.addrs.release(i);
        }
    }

    /// What is not configured any more leaves the kernel now, what another one has changes hands.
    fn let_dropped_go(&mut self, now: Time) {
        let ops = self.addrs.removals_now(now);
        for op in &ops {
            // Connections outlive that their address is away for a moment.
            if !self.addrs.has_other(op.entry) {
                self.push(Effect::DisconnectVip { entry: op.entry });
            }
        }
        self.push_addrs(ops);
    }

    /// Checks keep their state by name.
    fn new_checks(&mut self, old: &Config, new: &Config, now: Time) {
        let before = std::mem::take(&mut self.checks);
        for c in &new.checks {
            let check = match old.checks.iter().zip(&before).find(|(o, _)| o.name == c.name) {
                Some((o, b)) => b.with(c, o.kind == c.kind, now),
                None => Check::added(c, now),
            };
            self.checks.push(check);
        }
    }

    /// Groups keep their state by name. Where somebody joins one and one of the members follows somebody and another
    /// is master, that one hands over: they are masters together or not at all.
    fn regroup(&mut self, from: &[Option<usize>], new: &Config, now: Time) {
        let before = std::mem::take(&mut self.groups);
        for router in &mut self.routers {
            router.group = None;
        }
        self.add_groups(new);
        for g in &mut self.groups {
            if let Some(b) = before.iter().find(|b| b.name == g.name) {
                g.carry_on(b);
            }
        }
        for g in 0..self.groups.len() {
            let members = self.groups[g].members.clone();
            let follows = |i: &usize| matches!(self.routers[*i].machine.state(), State::Backup { master: Some(m), .. } if m.priority != 0);
            let before = before.iter().find(|b| b.name == self.groups[g].name);
            let was_in = |i: &usize| {
                let old = from.get(*i).copied().flatten();
                before.zip(old).is_some_and(|(b, old)| b.members.contains(&old))
            };
            if members.iter().all(was_in) || !members.iter().any(follows) {
                continue;
            }
            for i in members {
                if self.routers[i].is_master() {
                    let wait = self.resign_wait(&[i]);
                    self.step(i, now, Input::Resign { wait, no_preempt_for: Duration::ZERO, force: false });
                }
            }
        }
    }

    /// What each interface is used for, and the sockets that go with it.
    pub(super) fn rewire(&mut self) {
        let before: Vec<u64> = self.links.iter().map(Link::wiring).collect();
        for l in &mut self.links {
            l.unwire();
        }
        // Who leaves makes room for who comes.
        let (gone, here): (Vec<usize>, Vec<usize>) =
            (0..self.routers.len()).partition(|i| self.routers[*i].retired);
        for i in here.into_iter().chain(gone) {
            self.wire_router(i);
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

    /// When nothing is queued: forgets the virtual routers that have left, with all that was theirs. Whether there was
    /// anything to look for.
    pub fn compact(&mut self, now: Time) -> bool {
        if !self.stale || !self.may_reconfigure() {
            return false;
        }
        let over = |i: &usize| {
            let router = &self.routers[*i];
            router.retired && router.hold.is_none() && self.addrs.holds_nothing(*i)
        };
        let gone: Vec<usize> = (0..self.routers.len()).filter(over).collect();
        let all = 0..self.routers.len();
        let from: Vec<Option<usize>> = all.filter(|i| !gone.contains(i)).map(Some).collect();
        let mut names = Vec::new();
        for i in gone.into_iter().rev() {
            let router = self.routers.remove(i);
            names.push(router.cfg.name);
            if let Some(link) = router.vmac {
                self.forget_vmac(link);
            }
        }
        self.renumber(&from);
        self.rewire();
        for name in names {
            if !self.routers.iter().any(|i| i.cfg.name == name) {
                self.push(Effect::Forget { name: name.clone() });
            }
            self.emit(Event::Forgotten { name });
        }
        self.stale = self.addrs.drops_any() || self.routers.iter().any(|i| i.retired);
        for link in 0..self.links.len() {
            if self.is_unused(link) {
                self.links[link] = Link::unused();
            }
        }
        self.next_haproxy(now);
        true
    }

    fn is_unused(&self, link: usize) -> bool {
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

    /// An heir has become master: who kept its addresses for a successor need not any longer.
    pub(super) fn end_covered_holds(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            let done = |e: usize| !self.addrs.is_held(e) || self.addrs.has_other(e);
            let over = self.routers[i].retired && self.addrs.of(i).all(|(e, _)| done(e));
            if over && self.routers[i].hold.is_some() {
                // Two macvlans of one MAC cannot both be up.
                self.set_vmac(i, false);
                self.end_hold(i, now);
            }
        }
    }

    // ---- HAProxy ----

    /// HAProxy's section changed, came or went, or (`files`) its files did.
    pub fn reconfigure_haproxy(&mut self, new: Option<&config::Haproxy>, files: bool, now: Time) {
        match (self.haproxy.as_ref().map(Supervisor::state), new) {
            (None, None) => {}
            (None, Some(cfg)) => self.haproxy = Some(Supervisor::appeared(cfg.clone(), now)),
            // It comes back before it has gone.
            (Some(Haproxy::Stopping { .. } | Haproxy::Stopped), Some(cfg)) => {
                self.haproxy_next = Some(cfg.clone());
            }
            (Some(_), Some(cfg)) => {
                let cfg = Box::new(cfg.clone());
                self.supervise(now, supervisor::Input::Reconfigure { cfg, files });
            }
            (Some(_), None) => {
                self.haproxy_next = None;
                let end = now + self.haproxy.as_ref().map_or(Duration::ZERO, Supervisor::stop_timeout);
                self.supervise(now, supervisor::Input::Stop { end });
            }
        }
        self.stale = true;
    }

    /// One that was taken out of the configuration has stopped: the next one, if it came back meanwhile.
    fn next_haproxy(&mut self, now: Time) {
        let Some(h) = &self.haproxy else { return };
        if !h.is_leaving() || self.life != Life::Running {
            return;
        }
        if h.is_stopped() {
            self.haproxy = self.haproxy_next.take().map(|cfg| Supervisor::appeared(cfg, now));
            self.service = None;
            self.push(Effect::NewService);
            self.evaluate_all(now);
        } else {
            self.stale = true;
        }
    }
}

impl Link {
    fn unused() -> Self {
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

impl Group {
    fn carry_on(&mut self, before: &Group) {
        self.state = before.state;
        self.rivalry = before.rivalry.clone();
    }
}
