//! From the actions of a state machine, and from what became of addresses, to effects.

use super::{Effect, FRAMES_PER_MS, Hold, Memory, Node};
use crate::base::time::Time;
use crate::event::Event;
use crate::lease::Outcome;
use crate::vrrp::authentication::Copy;
use crate::vrrp::machine::{Action, Input, Kind, Note, Release, Why};
use crate::vrrp::packet::Outgoing;
use std::net::IpAddr;
use std::time::Duration;

/// After the successor's advert, if no announcement of it is heard: by then it has its addresses.
const AFTER_ADVERT: Duration = Duration::from_millis(50);
/// After its announcement.
const AFTER_ANNOUNCEMENT: Duration = Duration::from_millis(5);
/// At most one line in this time about adverts that cannot be sent to one place.
const SEND_FAILED_QUIET: Duration = Duration::from_secs(10);

impl Node {
    /// Starts, or resumes if the lease of a vipd that ran here an instant ago is still running: of a group
    /// those of all members.
    pub(super) fn take_part(&mut self, i: usize, now: Time) {
        let all = self.group_or_self(i);
        let resume = all.iter().all(|j| self.routers[*j].may_resume && self.is_still_leased(*j, now));
        for j in all {
            self.routers[j].may_resume = false;
            if self.routers[j].machine.kind() != Kind::Init {
                continue;
            }
            if resume {
                self.step(j, now, Input::Resume);
            } else {
                self.addrs.release(j);
                self.step(j, now, Input::Start);
            }
        }
    }

    /// The peers have not given up on us: our last advert is at most d older than the last renewal.
    pub(super) fn is_still_leased(&self, i: usize, now: Time) -> bool {
        const MARGIN: Duration = Duration::from_millis(200);
        let Some(age) = self.addrs.lease_age(i, now) else {
            return false;
        };
        age + self.addrs.terms(i).fresh + MARGIN < self.routers[i].machine.min_down_interval()
    }

    /// One step of a state machine, and what follows from it.
    pub(super) fn step(&mut self, i: usize, now: Time, input: Input) {
        let mut actions = Vec::new();
        let was_master = self.routers[i].is_master();
        self.routers[i].machine.step(now, input, &mut actions);
        for a in actions {
            self.act(i, now, a);
        }
        self.sync_group(i, now, input, was_master && !self.routers[i].is_master());
    }

    pub(super) fn act(&mut self, router: usize, now: Time, action: Action) {
        match action {
            Action::Advert(priority) => {
                if priority == 0 {
                    // A vipd that dies after this line must not resume.
                    self.push(Effect::Remember { router, memory: Memory::Leaving });
                    self.emit(Event::PriorityZero { router });
                }
                self.push_advert(router, priority, now);
            }
            Action::Acquire => {
                self.routers[router].hold = None;
                self.addrs.acquire(router);
                self.end_covered_holds(now);
                self.set_vmac(router, true);
                let i = &mut self.routers[router];
                (i.state_file_due, i.refused_tries) = (true, 0);
                i.announcer.start(now, &i.cfg.garp, i.vmac.is_some());
                if i.is_owner() {
                    self.queue_round(router, now);
                }
            }
            Action::Offer => self.addrs.hand_over(router, now),
            Action::Keep => {
                self.addrs.keep(router);
                self.push(Effect::Remember { router, memory: Memory::Master });
            }
            Action::Resigned(how) => self.emit(Event::Resigned { router, how }),
            Action::Release(how) => self.let_go(router, now, how),
            Action::Reannounce => {
                // The other's group announced all that it has.
                for i in self.group_or_self(router) {
                    self.reannounce(i, now);
                }
            }
            Action::Entered(kind, why) => {
                let i = &mut self.routers[router];
                (i.since, i.why) = (now, why);
                let shown = matches!(why, Why::Outranked(_)) && i.vmac.is_none() && !i.is_owner();
                i.outranked = shown.then_some(now);
                if kind == Kind::Master {
                    i.stats.became_master += 1;
                } else if why != Why::Left {
                    self.push(Effect::Remember { router, memory: Memory::Nothing });
                }
                self.end_foreign(router);
                self.emit(Event::Entered { router, kind, why });
                if kind == Kind::Master {
                    self.emit(Event::SettingVips { router });
                }
            }
            Action::Noted(note) => {
                let i = &mut self.routers[router];
                i.stats.lower_adverts += u64::from(matches!(note, Note::LowerAdvert(_)));
                if i.quiet.may_note(&note, now) {
                    self.emit(Event::Noted { router, note });
                }
            }
        }
    }

    fn let_go(&mut self, router: usize, now: Time, how: Release) {
        let holds = self.addrs.holds_any(router) && self.is_well(router, now);
        let i = &mut self.routers[router];
        i.announcer.stop();
        // Two nodes must not answer with one MAC: who heard its successor has nothing to wait for.
        let heard = i.vmac.is_some() && i.machine.kind() == Kind::Backup;
        if how == Release::AfterSuccessor
            && i.cfg.make_before_break
            && holds
            && !heard
            && !i.cfg.handover_timeout.is_zero()
        {
            let timeout = i.cfg.handover_timeout;
            i.hold = Some(Hold { until: now + timeout, release_at: None, announced: false });
            self.addrs.hand_over(router, now);
            self.emit(Event::HandOverStarts { router, timeout });
        } else {
            i.hold = None;
            self.release_now(router, now);
        }
    }

    fn release_now(&mut self, router: usize, now: Time) {
        // Not after a stall: somebody else may have them by now, and every millisecond counts.
        let min_down_interval = self.routers[router].machine.min_down_interval();
        let in_time = self.addrs.last_advert(router).is_none_or(|t| now.since(t) < min_down_interval);
        if in_time && self.leaves_any(router) {
            self.push(Effect::Disconnect { router });
        }
        self.remove_now(router, now);
    }

    /// Whether something is removed: what another virtual router of this node takes over is not.
    fn leaves_any(&self, router: usize) -> bool {
        self.addrs.of(router).any(|(e, _)| self.addrs.is_held(e) && !self.addrs.has_next_owner(e))
    }

    /// The removals go out ahead of what follows: a node whose service is dead lets go before it tells.
    fn remove_now(&mut self, router: usize, now: Time) {
        if self.leaves_any(router) {
            self.emit(Event::RemovingVips { router });
        }
        self.silence_vmac(router);
        self.addrs.release(router);
        let ops = self.addrs.removals_now(now);
        self.push_addrs(ops);
    }

    /// The successor was heard, or nobody came: the VIPs go.
    pub(super) fn end_hold(&mut self, router: usize, now: Time) {
        let Some(hold) = self.routers[router].hold.take() else { return };
        if hold.release_at.is_some_and(|t| now >= t) {
            self.emit(Event::HandOverDone { router, announced: hold.announced });
        } else if now >= hold.until {
            self.emit(Event::HandOverTimedOut { router });
        }
        self.release_now(router, now);
    }

    /// An advert of the successor.
    pub(super) fn successor_advertised(&mut self, router: usize, now: Time) {
        let grace = if self.routers[router].vmac.is_some() { Duration::ZERO } else { AFTER_ADVERT };
        if let Some(h) = &mut self.routers[router].hold {
            h.release_at.get_or_insert(now + grace);
            if grace.is_zero() {
                self.end_hold(router, now);
            }
        }
    }

    /// Its announcement.
    pub(super) fn successor_announced(&mut self, router: usize, now: Time) {
        self.routers[router].outranked = None;
        if let Some(h) = self.routers[router].hold.as_mut().filter(|h| !h.announced) {
            h.release_at = Some(now + AFTER_ANNOUNCEMENT);
            h.announced = true;
        }
    }

    // ---- adverts ----

    /// An advert, its source and where it goes: over IPv4 the whole packet, over IPv6 what follows the header. `None`
    /// without a source address, or if there are no more peers. `copy` counts the peers from 0: all copies of
    /// an advert have one sequence number.
    pub fn encode_advert(
        &mut self,
        router: usize,
        priority: u8,
        copy: usize,
        now: Time,
        out: &mut Vec<u8>,
    ) -> Option<(IpAddr, IpAddr)> {
        let wall = self.wall(now);
        let i = &mut self.routers[router];
        let (src, dst) = (i.src?, i.targets.get(copy)?.to);
        let o = Outgoing {
            version: i.cfg.version,
            vrid: i.cfg.vrid,
            interval: i.cfg.advert_int,
            vips: &i.vips,
            src,
            dst,
            v3_checksum_as_v2: i.cfg.v3_checksum_as_v2,
        };
        i.auth.seal(out, &o, &Copy { priority, ip_id: i.ip_id, again: copy > 0, wall });
        i.ip_id = i.ip_id.checked_add(1).unwrap_or(1);
        Some((src, dst))
    }

    /// An advert went out; the clock was `before` when it was sent.
    pub fn sent(&mut self, router: usize, priority: u8, before: Time) {
        let i = &mut self.routers[router];
        i.stats.adverts_sent += 1;
        i.unsent.sent();
        if priority == 0 {
            i.stats.priority_zero_sent += 1;
        } else if i.is_master() && !i.machine.is_soliciting() {
            if i.machine.advertised() {
                self.addrs.set_terms(router, &i.cfg);
            }
            self.addrs.advert_sent(router, before);
        }
    }

    /// An advert could not be sent to one of the targets. If it was to none, nothing is renewed by it: `unsent`.
    pub fn send_failed(&mut self, router: usize, copy: usize, now: Time, errno: i32) {
        let i = &mut self.routers[router];
        i.stats.send_errors += 1;
        let Some(target) = i.targets.get_mut(copy) else { return };
        target.send_errors += 1;
        if target.said.is_none_or(|t| now.since(t) >= SEND_FAILED_QUIET) {
            target.said = Some(now);
            let to = target.to;
            self.emit(Event::SendFailed { router, to, errno });
        }
    }

    /// An advert is to go out, but only when its sequence number cannot be used again after a crash.
    pub(super) fn push_advert(&mut self, router: usize, priority: u8, now: Time) {
        let wall = self.wall(now);
        let i = &mut self.routers[router];
        i.auth.reserve(wall);
        if i.auth.must_save() {
            self.push(Effect::Remember { router, memory: Memory::Sequence });
        }
        self.push(Effect::Advert { router, priority, decided: now });
    }

    // ---- addresses ----

    pub(super) fn outcome(&mut self, now: Time, o: Outcome) {
        match o {
            Outcome::Added { entry } => {
                self.emit(Event::VipAdded { entry });
                if let Some(router) = self.master_of(entry) {
                    let i = &mut self.routers[router];
                    (i.refusals, i.refused_tries) = (0, 0);
                    self.emit(Event::Announcing { entry });
                    self.queue(entry, now);
                }
            }
            Outcome::Removed { entry } => self.emit(Event::VipRemoved { entry }),
            Outcome::AddFailed { entry, errno } => self.emit(Event::VipAddFailed { entry, errno }),
            Outcome::RemoveFailed { entry, errno } => self.emit(Event::VipRemoveFailed { entry, errno }),
            Outcome::ViewIsWrong => {
                self.reread();
            }
            Outcome::Foreign { entry } => self.emit(Event::VipForeign { entry }),
            Outcome::TakenOver { entry } => self.emit(Event::VipTakenOver { entry }),
            Outcome::Deleted { entry, times } => {
                self.emit(Event::VipDeleted { entry, times });
                if let Some(router) = self.master_of(entry) {
                    self.routers[router].stats.vips_deleted += 1;
                    self.advert_unless_fresh(router, now);
                }
            }
            Outcome::Expired { entry } => {
                self.emit(Event::VipExpired { entry });
                if let Some(router) = self.master_of(entry) {
                    self.advert_unless_fresh(router, now);
                }
            }
            Outcome::TooLate { router } => self.too_late(router, now),
            Outcome::Refused { router } => self.refused(router, now),
        }
    }

    /// The master that a VIP belongs to, if its virtual router is master.
    fn master_of(&self, entry: usize) -> Option<usize> {
        let router = self.addrs.entries.get(entry)?.router;
        self.routers[router].is_master().then_some(router)
    }

    /// An address may be added only behind a fresh advert; the next may be far. One that is about to be too old would
    /// be so before the address is added.
    pub(super) fn advert_unless_fresh(&mut self, router: usize, now: Time) {
        let soon = now + self.addrs.terms(router).fresh / 2;
        if !self.addrs.may_renew(router, soon) {
            let priority = self.routers[router].machine.params.priority;
            self.push_advert(router, priority, now);
        }
    }

    /// A renewal may have brought an address back that a backup has by now: remove first, then look.
    fn too_late(&mut self, router: usize, now: Time) {
        self.emit(Event::LateRenewal { router });
        self.routers[router].hold = None;
        let i = &self.routers[router];
        let in_time = |last: &Time| now.since(*last) < i.machine.min_down_interval();
        match self.addrs.last_advert(router).as_ref().map(in_time) {
            // They are put back in an instant: connections outlive that.
            Some(true) if i.is_master() => {
                let priority = i.machine.params.priority;
                self.remove_now(router, now);
                self.addrs.acquire(router);
                self.push_advert(router, priority, now);
            }
            _ if i.is_master() => self.step(router, now, Input::Stall),
            Some(_) => self.remove_now(router, now),
            None => self.release_now(router, now),
        }
    }

    // ---- announcements ----

    pub(super) fn reannounce(&mut self, router: usize, now: Time) {
        let i = &mut self.routers[router];
        if i.is_master() {
            i.announcer.reannounce(now, &i.cfg.garp);
        }
    }

    /// The neighbours have to learn the addresses of this node again.
    pub(super) fn announce_anew(&mut self, now: Time) {
        for i in self.routers.iter_mut().filter(|i| i.is_master()) {
            i.announcer.anew(now, &i.cfg.garp);
        }
    }

    /// Every VIP of a virtual router, once.
    pub(super) fn queue_round(&mut self, router: usize, now: Time) {
        let entries: Vec<usize> = self.addrs.of(router).map(|(e, _)| e).collect();
        for entry in entries {
            self.queue(entry, now);
        }
    }

    fn queue(&mut self, entry: usize, now: Time) {
        if !self.announcing.contains(&entry) {
            self.announcing.push_back(entry);
            self.announce_at.get_or_insert(now);
        }
    }

    /// Announces what is due, at most `FRAMES_PER_MS`.
    pub fn announce_some(&mut self, now: Time) {
        if self.announce_at.is_none_or(|t| now < t) {
            return;
        }
        let mut state_file_due = Vec::new();
        for _ in 0..FRAMES_PER_MS {
            let Some(entry) = self.announcing.pop_front() else { break };
            if let Some(router) = self.master_of(entry).filter(|_| self.addrs.is_held(entry)) {
                self.routers[router].stats.announcements += 1;
                self.push(Effect::Announce { entry });
                if self.routers[router].announcer.probes {
                    self.push(Effect::Probe { entry });
                }
                if std::mem::take(&mut self.routers[router].state_file_due) {
                    state_file_due.push(router);
                }
            }
        }
        // Without its addresses there is nothing that a restart could resume, so this can wait for them.
        for router in state_file_due {
            self.push(Effect::Remember { router, memory: Memory::Master });
        }
        self.announce_at = (!self.announcing.is_empty()).then(|| now + Duration::from_millis(1));
    }
}
