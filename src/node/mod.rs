//! The node, pure: all virtual routers, their addresses, HAProxy and the node's own life, in one place.
//! What happens goes in by method, with the time; effects come out of `next_effect`, and their results go in
//! again; what is worth telling comes out of `next_event`.
//!
//! `TURN` is the order of one turn of the loop. The time of a packet is a clock that was read after it.

mod act;
mod addresses;
mod adverts;
mod announcing;
mod clock;
mod compact;
mod effect;
mod interface;
mod notify;
mod recall;
mod receive;
mod reload;
mod router;
mod service;
mod stop;
mod turn;
mod upgrade;

pub use effect::{Effect, Memory};
pub use interface::Link;
pub use interface::vmac::{Vmac, VmacOp};
pub use reload::{Change, What};
pub use router::fence;
pub use router::foreign::{Contest, Rival};
pub use router::group::Group;
pub use router::handover::Hold;
pub use router::state::{Router, Target};
pub use service::tracking::{Tracked, Tracking};
pub use turn::{Clocks, SETTLE, Step, TURN};

use crate::base::time::{Time, earlier};
use crate::check::Check;
use crate::config::{self, Config};
use crate::event::Event;
use crate::haproxy::supervisor::{self, Supervisor};
use crate::lease::AddrBook;
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Action, Kind};
use announcing::Announcing;
use interface::Sockets;
use service::Service;
use std::collections::VecDeque;
use stop::Life;

/// The node.
#[derive(Clone, Debug)]
pub struct Node {
    /// All virtual routers, in the order of the file.
    pub routers: Vec<Router>,
    /// All sync groups, in the order of the file.
    pub groups: Vec<Group>,
    /// All interfaces in use.
    pub links: Vec<Link>,
    /// All VIPs.
    pub addrs: AddrBook,
    /// HAProxy, if it is configured.
    pub haproxy: Option<Supervisor>,
    /// All checks, in the order of the file.
    pub checks: Vec<Check>,
    /// How often somebody removed the tables of the leases.
    pub fence_removals: u64,
    life: Life,
    /// Origin of the grid of all adverts.
    epoch: Time,
    /// Something has left and is to be forgotten.
    stale: bool,
    /// The `[haproxy]` that came back before the last one had stopped.
    haproxy_next: Option<config::Haproxy>,
    /// End of `startup_delay`.
    startup_delay_until: Time,
    /// HAProxy when last looked at.
    service: Option<Service>,
    effects: VecDeque<Effect>,
    events: VecDeque<Event>,
    /// What a step asks for. Empty between steps: it is here for its memory.
    actions: Vec<Action>,
    notify: notify::Notify,
    announcing: Announcing,
    /// Interfaces that are being removed.
    unmaking: Vec<u32>,
    wall: clock::Wall,
    /// The MAC addresses of all interfaces of this host, by index: two on one LAN may answer for each other.
    macs: Vec<(u32, [u8; 6])>,
}

impl Node {
    /// A node that knows nothing of the kernel yet: feed it the dumps, then `begin`.
    pub fn new(cfg: &Config, now: Time) -> Self {
        let mut node = Node {
            routers: Vec::with_capacity(cfg.vrrp.len()),
            groups: Vec::new(),
            links: Vec::new(),
            addrs: AddrBook::default(),
            haproxy: cfg.haproxy.clone().map(|h| Supervisor::new(h, now)),
            checks: Vec::new(),
            fence_removals: 0,
            life: Life::Starting,
            epoch: now,
            stale: false,
            haproxy_next: None,
            startup_delay_until: now + cfg.global.startup_delay,
            service: None,
            effects: VecDeque::new(),
            events: VecDeque::new(),
            actions: Vec::new(),
            notify: notify::Notify::default(),
            announcing: Announcing::default(),
            unmaking: Vec::new(),
            macs: Vec::new(),
            wall: clock::Wall::default(),
        };
        node.take_up(&[], cfg, now);
        node
    }

    /// The kernel has been read. `remembered[i]`: the state file says that virtual router i was master.
    pub fn begin(&mut self, now: Time, remembered: &[bool]) {
        for (router, remembered) in self.routers.iter_mut().zip(remembered) {
            // An advert may be there already: then somebody else is master. And who does not know which
            // sequence numbers are used up listens first.
            let heard = router.stats.adverts_received > router.stats.priority_zero_received;
            router.may_resume = *remembered && !heard && router.auth.may_resume() && !router.is_owner();
        }
        self.life = Life::Running;
        if now < self.startup_delay_until {
            self.emit(Event::StartupDelay(self.startup_delay_until.since(self.epoch)));
        }
        for link in 0..self.links.len() {
            if self.links[link].ifindex.is_none() && self.links[link].vmac.is_none() {
                self.emit(Event::Link { link, present: false, running: false });
            }
        }
        self.evaluate_all(now);
    }

    /// The next thing that happened, to be told when everything that is urgent is done: the old master's
    /// clients wait for the new one's announcement, not for its log.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next effect to carry out.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn push(&mut self, e: Effect) {
        self.effects.push_back(e);
    }

    fn emit(&mut self, e: Event) {
        self.note_change(&e);
        self.events.push_back(e);
    }

    /// The virtual routers of which this is true.
    fn which(&self, is: &dyn Fn(usize) -> bool) -> Vec<usize> {
        (0..self.routers.len()).filter(|i| is(*i)).collect()
    }

    // ---- time ----

    /// The earliest time at which `tick` or `flush` has something to do.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let mut at = earlier(self.addrs.deadline(now), self.announcing.at);
        at = earlier(at, self.notify.deadline());
        at = earlier(at, self.unsent_deadline());
        for (i, router) in self.routers.iter().enumerate() {
            at = earlier(at, self.machine_deadline(i));
            at = earlier(at, router.announcer.deadline());
            at = earlier(at, self.hold_deadline(i));
            at = earlier(at, router.farewell_at());
            at = earlier(at, router.resigns_at);
            at = earlier(at, self.hand_over_deadline(i));
            at = earlier(at, router.foreign.deadline());
            at = earlier(at, router.refused.until);
        }
        for l in &self.links {
            if let Sockets::Failed { retry_at } = l.sockets {
                at = earlier(at, Some(retry_at));
            }
        }
        for c in &self.checks {
            at = earlier(at, c.deadline());
        }
        at = earlier(at, self.vmac_deadline(now));
        if now < self.startup_delay_until {
            at = earlier(at, Some(self.startup_delay_until));
        }
        if let Life::Leaving { end } | Life::Stopping { end } = self.life {
            at = earlier(at, Some(end));
        }
        earlier(at, self.haproxy.as_ref().and_then(|h| h.deadline(now)))
    }

    /// Whether `tick` would make a backup master, or let a master that resigns go on because nobody has come:
    /// then what has come since the sockets were read is read first.
    pub fn is_takeover_due(&self, now: Time) -> bool {
        let listens = |i: &Router| i.machine.kind() == Kind::Backup || i.machine.is_soliciting();
        let due = |i: usize| self.machine_deadline(i).is_some_and(|t| now >= t);
        (0..self.routers.len()).any(|i| listens(&self.routers[i]) && due(i))
    }

    /// Does what is due.
    fn tick(&mut self, now: Time) {
        if self.haproxy.is_some() {
            self.supervise(now, supervisor::Input::Tick);
        }
        self.tick_checks(now);
        for link in 0..self.links.len() {
            if let Sockets::Failed { retry_at } = self.links[link].sockets
                && now >= retry_at
            {
                self.open(link);
            }
        }
        self.tick_refused(now);
        self.tick_unsent(now);
        if self.routers.iter().any(|i| i.faults.has(Faults::DELAY)) && now >= self.startup_delay_until {
            self.evaluate_all(now);
        }
        for i in 0..self.routers.len() {
            if self.machine_deadline(i).is_some_and(|t| now >= t) {
                self.tick_machine(i, now);
            }
            self.tick_farewell(i, now);
            self.tick_put_back(i, now, false);
            self.tick_hand_over(i, now);
            if self.routers[i].foreign.deadline().is_some_and(|t| now >= t) {
                self.end_foreign(i, false);
            }
            let router = &mut self.routers[i];
            if router.announcer.take_due(now, &router.cfg.garp) {
                self.queue_round(i, now);
            }
        }
        // All are found before any is ended: ending one of a group moves the deadlines of the others.
        for i in self.which(&|i| self.hold_deadline(i).is_some_and(|t| now >= t)) {
            self.end_hold(i, now);
        }
        self.tick_vmacs(now);
        self.announce_some(now);
        self.progress_stop(now);
    }

    /// Right before HAProxy is started: a stop may have been asked for since that was decided.
    pub fn may_spawn(&self) -> bool {
        self.haproxy.as_ref().is_some_and(Supervisor::may_spawn)
    }
}

#[cfg(test)]
mod tests;
