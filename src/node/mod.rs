//! The node, pure: all virtual routers, their addresses, HAProxy and the node's own life, in one place.
//! Events go in by method, with the time; effects come out of `next_effect`; their results are events again.
//!
//! One turn of the loop is: `check_stall`, then what the sockets brought, then `tick`, then all effects with their
//! results, then `flush` (the address batch, with a clock read anew), then its effects. `tick` gets the clock of
//! before the sockets were read, and each packet one that was read behind it: a process that stands still in
//! between must not take its master for dead whose adverts are queued.

mod act;
mod clock;
mod effect;
mod interface;
mod notify;
mod receive;
mod reload;
mod router;
mod service;
mod stop;

pub use effect::{Effect, Memory};
pub use interface::vmac::{Vmac, VmacOp};
pub use reload::{Change, What};
pub use router::foreign::Contest;
pub use router::group::Group;
pub use router::state::{Hold, Router, Target};
pub use service::tracking::{Tracked, Tracking};

use crate::base::time::{Time, earlier};
use crate::check::Check;
use crate::config::{self, Config};
use crate::event::Event;
use crate::haproxy::supervisor::{self, Health, Supervisor};
use crate::lease::{AddrBook, Op, Outcome};
use crate::vrrp::demux::Demux;
use crate::vrrp::faults::Faults;
use crate::vrrp::machine::{Input, Kind, Why};
use crate::vrrp::stats::Discards;
use std::collections::VecDeque;
use std::time::Duration;

/// Frames announced in one millisecond at the most: a burst beyond a receiver's buffer is lost as a whole.
const FRAMES_PER_MS: usize = 50;
/// A turn may take this long: 250 virtual routers that become master together send 250 adverts.
const SLOW_TURN: Duration = Duration::from_millis(50);

/// One interface that is used.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index, while it exists.
    pub ifindex: Option<u32>,
    /// Up and with carrier.
    pub running: bool,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// The virtual routers on it, by the family of their adverts: a VRID may be in both.
    pub demux: Demux,
    /// See `demux`.
    pub demux_v6: Demux,
    /// Whether any advert is sent here over IPv4.
    pub carries_adverts: bool,
    /// Whether it needs sockets; one that is only tracked does not.
    has_sockets: bool,
    mtu: u32,
    /// What it is a macvlan of itself: then the kernel makes ours on that, too.
    lower: Option<u32>,
    /// A macvlan that vipd makes, and not one that it finds.
    pub vmac: Option<Vmac>,
    /// Whether it has IPv6 VIPs, whatever carries the adverts.
    pub has_v6_vips: bool,
    /// Whether any advert, of either family, goes to the group.
    pub multicast: bool,
    /// Packets refused before it was known whose they are, and those with a VRID that nobody here has; of these
    /// only some are looked at.
    pub bogus: Discards,
    /// Packets that were lost because they came faster than they were read; for the status.
    pub overruns: u64,
    sockets: Sockets,
    /// Why they could not be opened, if that was said.
    open_error: Option<i32>,
    /// Of each foreign VRID, whether it was told, and whether with one of our VIPs.
    unknown_vrid_said: [Option<bool>; 256],
    bogus_said: Option<Time>,
    /// A reload has named it, and the kernel has not said yet what it is.
    unread: bool,
}

impl Link {
    fn new(name: &str) -> Self {
        Link {
            name: name.to_owned(),
            ifindex: None,
            running: false,
            mac: None,
            demux: Demux::default(),
            demux_v6: Demux::default(),
            carries_adverts: false,
            has_sockets: false,
            mtu: u32::MAX,
            lower: None,
            vmac: None,
            has_v6_vips: false,
            multicast: false,
            bogus: Discards::default(),
            overruns: 0,
            sockets: Sockets::Closed,
            open_error: None,
            unknown_vrid_said: [None; 256],
            bogus_said: None,
            unread: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sockets {
    Closed,
    Opening,
    Open,
    Failed { retry_at: Time },
}

/// What of HAProxy matters to VRRP: a change is looked at by every virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Service {
    health: Health,
    adopting: bool,
    first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// The kernel's tables are being read.
    Starting,
    Running,
    /// Handing over.
    Leaving {
        end: Time,
    },
    /// HAProxy finishes.
    Stopping {
        end: Time,
    },
    Over,
}

/// The node.
#[derive(Debug)]
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
    notify: notify::Notify,
    announcing: VecDeque<usize>,
    announce_at: Option<Time>,
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
            routers: Vec::new(),
            groups: Vec::new(),
            links: Vec::new(),
            addrs: AddrBook::default(),
            haproxy: cfg.haproxy.clone().map(|h| Supervisor::new(h, now)),
            checks: cfg.checks.iter().map(|c| Check::new(c, now)).collect(),
            life: Life::Starting,
            epoch: now,
            stale: false,
            haproxy_next: None,
            startup_delay_until: now + cfg.global.startup_delay,
            service: None,
            effects: VecDeque::new(),
            events: VecDeque::new(),
            notify: notify::Notify::new(cfg, now),
            announcing: VecDeque::new(),
            announce_at: None,
            unmaking: Vec::new(),
            macs: Vec::new(),
            wall: clock::Wall::default(),
        };
        for v in &cfg.vrrp {
            node.add_router(v, now);
        }
        node.add_groups(cfg);
        if !cfg.global.startup_delay.is_zero() {
            node.emit(Event::StartupDelay(cfg.global.startup_delay));
        }
        node
    }

    fn add_router(&mut self, v: &config::Vrrp, now: Time) {
        let link = self.link_named(&v.interface);
        let l = &mut self.links[link];
        let demux = if v.is_ipv6() { &mut l.demux_v6 } else { &mut l.demux };
        demux.insert(v.vrid, self.routers.len());
        l.carries_adverts |= !v.is_ipv6();
        l.multicast |= v.unicast_peers.is_empty();
        l.has_sockets = true;
        let vmac = v.use_vmac.then(|| self.vmac_link(v, self.routers.len(), link));
        let home = vmac.unwrap_or(link);
        let mut devs = Vec::new();
        for vip in v.held() {
            let dev = vip.dev.as_ref().map_or(home, |d| self.link_named(d));
            self.links[dev].has_v6_vips |= vip.addr.is_ipv6();
            self.links[dev].has_sockets = true;
            devs.push(dev);
        }
        for t in &v.track_interfaces {
            self.link_named(&t.name);
        }
        let mut devs = devs.into_iter();
        self.addrs.add_router(v, |_| devs.next().unwrap_or(home));
        if let Some(vmac) = vmac {
            self.addrs.share_subnets(vmac, link);
        }
        self.routers.push(Router { vmac, ..Router::new(v.clone(), link, now) });
    }

    fn link_named(&mut self, name: &str) -> usize {
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

    /// The kernel has been read. `remembered[i]`: the state file says that virtual router i was master.
    pub fn begin(&mut self, now: Time, remembered: &[bool]) {
        for (router, remembered) in self.routers.iter_mut().zip(remembered) {
            // An advert may be there already: then somebody else is master. And who does not know which sequence
            // numbers are used up listens first.
            let heard = router.stats.adverts_received > router.stats.priority_zero_received;
            router.may_resume = *remembered && !heard && router.auth.may_resume() && !router.is_owner();
        }
        self.life = Life::Running;
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

    // ---- time ----

    /// Right after the wait, before anything is read: did this process run in time?
    pub fn check_stall(&mut self, now: Time) {
        for i in 0..self.routers.len() {
            let router = &self.routers[i];
            // Without any advert sent, mastership is as old as the attempt.
            let last = self.addrs.last_advert(i).unwrap_or(router.since);
            let silent = router.is_owner() || router.machine.is_soliciting();
            if router.is_master() && !silent && now.since(last) >= router.machine.min_down_interval() {
                self.stalled(i, now, last);
            }
        }
    }

    fn stalled(&mut self, i: usize, now: Time, last: Time) {
        self.routers[i].stats.stalls += 1;
        self.emit(Event::Stalled { router: i, silence: now.since(last) });
        self.step(i, now, Input::Stall);
        self.pause_unsent(i, now);
    }

    /// Right before an advert is sent: this process may have stood still since that was `decided`, in the
    /// middle of a turn, and somebody else may be master by now. Then nothing is sent, and it listens again.
    pub fn may_advertise(&mut self, i: usize, priority: u8, decided: Time, now: Time) -> bool {
        let router = &self.routers[i];
        if priority == 0 || router.is_owner() {
            return true;
        }
        if !router.is_master() {
            // It was given up earlier in this very turn, or is outranked and has one word left.
            return self.routers[i].may_send_farewell(decided, now);
        }
        let lost = router.why == Why::Resumed
            && self.addrs.last_advert(i).is_none()
            && !self.is_still_leased(i, now);
        let (since, bound) = match self.addrs.last_advert(i) {
            Some(last) => (last, router.machine.min_down_interval()),
            // The first advert of a new master: another backup may have been quicker.
            None => (decided, (router.cfg.advert_int / 4).max(SLOW_TURN)),
        };
        if lost || now.since(since) >= bound {
            self.stalled(i, now, since);
            return false;
        }
        true
    }

    /// Right before an announcement is sent, for the same reason.
    pub fn may_announce(&self, entry: usize, now: Time) -> bool {
        let Some(router) = self.addrs.entries.get(entry).map(|e| e.router) else { return false };
        let i = &self.routers[router];
        let fresh =
            self.addrs.last_advert(router).is_some_and(|t| now.since(t) < i.machine.min_down_interval());
        i.is_master() && (fresh || i.is_owner())
    }

    /// The earliest time at which `tick` or `flush` has something to do.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let mut at = earlier(self.addrs.deadline(now), self.announce_at);
        at = earlier(at, self.notify.deadline());
        at = earlier(at, self.unsent_deadline());
        for (i, router) in self.routers.iter().enumerate() {
            at = earlier(at, self.machine_deadline(i));
            at = earlier(at, router.announcer.deadline());
            at = earlier(at, self.hold_deadline(i));
            at = earlier(at, router.farewell_at());
            at = earlier(at, router.foreign.deadline());
            at = earlier(at, router.refused_until);
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

    /// Whether `tick` would make a backup master: then what has come since the sockets were read is read first.
    pub fn is_takeover_due(&self, now: Time) -> bool {
        let due = |i: usize| self.machine_deadline(i).is_some_and(|t| now >= t);
        (0..self.routers.len()).any(|i| self.routers[i].machine.kind() == Kind::Backup && due(i))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time) {
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
            if self.routers[i].foreign.deadline().is_some_and(|t| now >= t) {
                self.end_foreign(i);
            }
            let router = &mut self.routers[i];
            if router.announcer.take_due(now, &router.cfg.garp) {
                self.queue_round(i, now);
            }
        }
        // Not while one of a group has ended: the others' would move.
        let over: Vec<usize> =
            (0..self.routers.len()).filter(|i| self.hold_deadline(*i).is_some_and(|t| now >= t)).collect();
        for i in over {
            self.end_hold(i, now);
        }
        self.tick_vmacs(now);
        self.announce_some(now);
        self.progress_stop(now);
    }

    /// The address batch, with a clock that was just read.
    pub fn flush(&mut self, now: Time) {
        let mut ops = Vec::new();
        let mut outcomes = Vec::new();
        self.addrs.flush(now, &mut ops, &mut outcomes);
        self.push_addrs(ops);
        self.outcomes(now, outcomes);
    }

    fn push_addrs(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            self.push(Effect::Addrs(ops));
        }
    }

    /// A batch was carried out: the clock before and after it, and an errno for each operation.
    pub fn addrs_done(&mut self, before: Time, after: Time, results: &[(Op, i32)]) {
        let mut outcomes = Vec::new();
        self.addrs.done(before, after, results, &mut outcomes);
        self.outcomes(after, outcomes);
    }

    /// Right before HAProxy is started: a stop may have been asked for since that was decided.
    pub fn may_spawn(&self) -> bool {
        self.haproxy.as_ref().is_some_and(Supervisor::may_spawn)
    }

    fn outcomes(&mut self, now: Time, outcomes: Vec<Outcome>) {
        for o in outcomes {
            self.outcome(now, o);
        }
        self.progress_stop(now); // a stop waits for the addresses to be gone
    }
}

#[cfg(test)]
mod tests;
