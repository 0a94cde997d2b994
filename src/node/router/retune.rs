//! A virtual router that goes on with other values, or leaves because it is not configured any more.

use crate::base::time::Time;
use crate::config;
use crate::node::{Effect, Memory, Node, Target};
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Input, Tuning};
use std::rc::Rc;

impl Node {
    /// The same virtual router with other values.
    pub(crate) fn retune(&mut self, i: usize, before: &config::Vrrp, v: &config::Vrrp, now: Time) {
        self.clear_refusals_of(i);
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
        self.routers[i].auth.reconfigure(&v.auth);
        if before.name != v.name && self.routers[i].auth.file().is_some() {
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
        let terms = |v: &config::Vrrp| (v.advert_int, v.down_timer_adverts, v.lease);
        if terms(before) != terms(v) {
            self.set_terms(i);
            self.shorten(i, now);
        }
        for a in actions {
            self.act(i, now, a);
        }
    }

    /// A master's leases follow a longer interval when its backups have heard of it (`sent`), a shorter one
    /// at once.
    pub(crate) fn set_terms(&mut self, i: usize) {
        let router = &self.routers[i];
        self.addrs.set_terms(i, &router.cfg, router.machine.lease_wait());
        self.refence();
    }

    /// It leaves as in a stop, alone.
    pub(crate) fn retire(&mut self, i: usize, now: Time) {
        let input = if self.is_well(i, now) { Input::Leave } else { Input::Fault };
        let router = &mut self.routers[i];
        (router.retired, router.may_resume, router.group) = (true, false, None);
        router.flap_until = None;
        let cfg = Rc::make_mut(&mut router.cfg);
        cfg.track_checks.clear();
        cfg.track_interfaces.clear();
        self.step(i, now, input);
        self.note_retired(i);
        let router = &mut self.routers[i];
        router.faults = Faults::default();
        if router.hold.is_none() {
            self.release(i);
        }
    }
}

/// Whether a virtual router is to go on with other values. Where it stands in the file does not matter, nor
/// where its checks do.
pub(crate) fn is_changed(
    before: &config::Vrrp,
    v: &config::Vrrp,
    old: &[config::Check],
    new: &[config::Check],
) -> bool {
    let mut before = before.clone();
    for t in &mut before.track_checks {
        let is_it = |c: &config::Check| old.get(t.check).is_some_and(|o| o.name == c.name);
        t.check = new.iter().position(is_it).unwrap_or(usize::MAX);
    }
    before != *v
}
