//! Sync groups: what the members of a group have to do with each other. The rules are in `vrrp::group`.

use crate::base::time::Time;
use crate::config::Config;
use crate::event::Event;
use crate::node::Node;
use crate::vrrp::faults::Faults;
use crate::vrrp::group::{self, Rivalry, State};
use crate::vrrp::machine::{Input, Kind, Master, State as Vrrp, Why};
use crate::vrrp::timers;
use std::net::IpAddr;
use std::time::Duration;

/// One sync group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its section's name.
    pub name: String,
    /// Its virtual routers.
    pub members: Vec<usize>,
    /// Its state when last told.
    pub state: State,
    /// The member that decides between rivals.
    leader: usize,
    /// Members that a reload added to a group that is master: until they are, they are no part of its state.
    joining: Vec<usize>,
    pub(crate) rivalry: Rivalry,
}

impl Node {
    fn add_groups(&mut self, cfg: &Config) {
        for (g, group) in cfg.groups.iter().enumerate() {
            // The same one on every node, in whatever order they name them.
            let key = |i: usize| (self.routers[i].cfg.vrid, self.routers[i].vips.first());
            let least = |a, b| if key(b) < key(a) { b } else { a };
            let Some(leader) = group.members.iter().copied().reduce(least) else { continue };
            for i in &group.members {
                self.routers[*i].group = Some(g);
            }
            self.groups.push(Group {
                name: group.name.clone(),
                members: group.members.clone(),
                state: State::Init,
                leader,
                joining: Vec::new(),
                rivalry: Rivalry::default(),
            });
        }
    }

    /// All members of the group of `i`, itself included; empty if it is in none.
    pub(crate) fn group_members(&self, i: usize) -> &[usize] {
        let group = self.routers[i].group.and_then(|g| self.groups.get(g));
        group.map_or(&[], |g| g.members.as_slice())
    }

    /// `i` and its fellows, for what happens to them together.
    pub(crate) fn group_or_self(&self, i: usize) -> Vec<usize> {
        match self.group_members(i) {
            [] => vec![i],
            all => all.to_vec(),
        }
    }

    /// Whether it is so of `i` or one of its fellows.
    pub(crate) fn any_of_group(&self, i: usize, is: &dyn Fn(usize) -> bool) -> bool {
        is(i) || self.group_members(i).iter().any(|j| is(*j))
    }

    /// Why `i` cannot take part: for reasons of its own, or a fellow's.
    pub(crate) fn group_faults(&self, i: usize, now: Time) -> Faults {
        let mut f = self.faults(i, now);
        for j in self.group_members(i).iter().filter(|j| **j != i) {
            let other = self.faults(*j, now);
            if other.is_pending() {
                // startup_delay is the whole node's.
                f.set(Faults::STARTING, other.has(Faults::STARTING));
                f.set(Faults::CHECKING, other.has(Faults::CHECKING));
            } else {
                f.set(Faults::GROUP, true);
            }
        }
        f
    }

    /// When the machine of `i` has something to do: a group's backups wait for each other.
    pub(crate) fn machine_deadline(&self, i: usize) -> Option<Time> {
        let router = &self.routers[i];
        if router.machine.kind() != Kind::Backup {
            return router.machine.deadline();
        }
        let Some(g) = router.group.and_then(|g| self.groups.get(g)) else {
            return router.machine.deadline().filter(|_| !self.takeover_blocked(i));
        };
        if g.members.iter().any(|j| self.takeover_blocked(*j)) {
            return None;
        }
        let at = group::takeover_at(g.members.iter().map(|j| self.routers[*j].machine.state()))?;
        let p = &self.routers[g.leader].machine.params;
        Some(at + g.rivalry.wait(timers::skew(p.version, 0, p.advert_int)))
    }

    /// Its time has come.
    pub(crate) fn tick_machine(&mut self, i: usize, now: Time) {
        if self.routers[i].machine.kind() != Kind::Backup {
            return self.step(i, now, Input::Tick);
        }
        // Who could not send lately goes first: if it still cannot, nobody is preempted in vain on the other
        // LANs.
        let all = self.group_or_self(i);
        for failed in [true, false] {
            for &j in &all {
                if self.routers[j].unsent.last == failed {
                    self.step(j, now, Input::Tick);
                }
            }
        }
        if let Some(g) = self.routers[i].group.and_then(|g| self.groups.get_mut(g)) {
            g.rivalry.takes_over();
        }
    }

    /// A member was stepped. `input` made it give up what it was master of: so do all.
    pub(crate) fn sync_group(&mut self, i: usize, now: Time, input: Input, gave_up: bool) {
        let Some(g) = self.routers[i].group else { return };
        self.tell_group(g);
        if !gave_up {
            return;
        }
        let resigned = self.routers[i].why == Why::Resigned;
        if let (Input::Advert { .. }, Some(group), false) = (input, self.groups.get_mut(g), resigned) {
            group.rivalry.gives_way(now, group.leader == i);
        }
        for j in self.group_or_self(i) {
            if self.routers[j].is_master() {
                self.step(j, now, group::passed_on(input));
            }
        }
    }

    fn tell_group(&mut self, g: usize) {
        let Some(group) = self.groups.get_mut(g) else { return };
        let routers = &self.routers;
        group.joining.retain(|j| !routers[*j].is_master());
        let state_of = |members: &mut dyn Iterator<Item = &usize>| {
            State::of(members.map(|j| {
                let router = &routers[*j];
                (router.machine.kind(), router.machine.kind() == Kind::Init && !router.faults.is_pending())
            }))
        };
        let mut state = state_of(&mut group.members.iter().filter(|j| !group.joining.contains(j)));
        if state != State::Master && !group.joining.is_empty() {
            group.joining.clear();
            state = state_of(&mut group.members.iter());
        }
        if group.state != state {
            self.groups[g].state = state;
            if state != State::Init {
                self.emit(Event::Group { group: g, state });
            }
        }
    }

    /// An advert for `i`: whether it is to be passed over, because the rival that sent it is about to give
    /// way.
    pub(crate) fn passes_over(&mut self, i: usize, now: Time, src: IpAddr, priority: u8) -> bool {
        let router = &self.routers[i];
        let (p, min_down_interval) = (&router.machine.params, router.machine.min_down_interval());
        let outranked = p.outranked_by(Master { src, priority });
        let Some(g) = router.group.and_then(|g| self.groups.get_mut(g)) else { return false };
        let leader = g.leader == i;
        if !router.is_master() {
            g.rivalry.heard(now, leader, outranked, p.advert_int);
            return false;
        }
        priority != 0
            && !router.machine.is_soliciting()
            && g.rivalry.stays(now, leader, outranked, p.advert_int, min_down_interval)
    }

    /// Groups keep their state by name. If a member joins, and one member is backup while another is master,
    /// the master hands over: they are masters together or not at all.
    pub(crate) fn regroup(&mut self, from: &[Option<usize>], new: &Config, now: Time) {
        let before = std::mem::take(&mut self.groups);
        for router in &mut self.routers {
            router.group = None;
        }
        self.add_groups(new);
        for g in 0..self.groups.len() {
            let Some(b) = before.iter().find(|b| b.name == self.groups[g].name) else { continue };
            let members = self.groups[g].members.clone();
            let was = |i: &usize| from.get(*i).copied().flatten();
            let mut new = members.clone();
            new.retain(|i| was(i).is_none_or(|i| !b.members.contains(&i) || b.joining.contains(&i)));
            let group = &mut self.groups[g];
            (group.state, group.rivalry) = (b.state, b.rivalry.clone());
            if b.state == State::Master {
                group.joining.clone_from(&new);
                group.joining.retain(|i| !self.routers[*i].is_master());
            }
            let follows = |i: &usize| matches!(self.routers[*i].machine.state(), Vrrp::Backup { master: Some(m), .. } if m.priority != 0);
            if !new.is_empty() && members.iter().any(follows) {
                self.resign_all(&members, now);
            }
        }
    }

    /// Each asks whether somebody else takes over.
    pub(crate) fn resign_all(&mut self, members: &[usize], now: Time) {
        for &i in members.iter() {
            if self.routers[i].is_master() {
                let wait = self.resign_wait(&[i]);
                self.step(i, now, Input::Resign { wait, no_preempt_for: Duration::ZERO, force: false });
            }
        }
    }
}
