//! `use_vmac`: the virtual MAC (RFC 9568 §7.3) on a macvlan that vipd makes for each such virtual router. It
//! is a link of the node like any other, on which the VIPs live.
//!
//! It is up only while this node is master or hands over: two nodes never answer with one MAC, and a backup
//! sends no frame with it. A frame whose source is the MAC of a macvlan that is up goes to that macvlan only
//! (private mode), and while it is down to the parent; so both are listened to.

use crate::base::throttle::Once;
use crate::base::time::{Time, earlier};
use crate::config;
use crate::event::Event;
use crate::node::{Effect, Life, Link, Node, Sockets};
use crate::vrrp::faults::Faults;
use crate::wire::rtnl::{self, macvlan};
use std::time::Duration;

/// Pause before the kernel is asked again for what it refused.
const RETRY: Duration = Duration::from_secs(1);

/// A link that vipd makes itself.
#[derive(Clone, Copy, Debug)]
pub struct Vmac {
    /// The link whose macvlan it is: where its frames leave.
    pub parent: usize,
    /// The virtual MAC.
    pub mac: [u8; 6],
    /// The virtual router.
    pub router: usize,
    state: State,
    complained: Once,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is not known to exist.
    Absent,
    /// Something of that name exists; whose it is shows when its parent is known.
    Undecided,
    /// It is being made.
    Asked,
    /// It was made and is yet to be seen.
    Made,
    /// It exists, and is up or down, or soon will be; `None`: what the kernel tells is not what was last
    /// asked for, which may be old news.
    Present { up: Option<bool> },
    /// Something was refused, or its name is taken.
    Failed { retry_at: Time },
}

/// What is to be done with a macvlan; numbers are interface indices.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmacOp {
    /// Make it, down, on that parent.
    Make { parent: u32 },
    /// Put it up or down.
    Set { ifindex: u32, up: bool },
}

impl Vmac {
    /// Whether its adverts go over IPv6.
    pub fn is_v6(&self) -> bool {
        self.mac[4] == 2
    }
}

impl Node {
    /// The link of a virtual router's macvlan, `vrrp.VRID` or `vrrp6.VRID` as keepalived has it; for the same
    /// VRID on another interface `vrrp.VRID.2` and so on, in the order of the file. At most 13 octets.
    pub(crate) fn vmac_link(&mut self, v: &config::Vrrp, router: usize, parent: usize) -> usize {
        let v6 = v.is_ipv6();
        let stem = format!("{}.{}", if v6 { "vrrp6" } else { "vrrp" }, v.vrid);
        let (mut name, mut n) = (stem.clone(), 1);
        while self.links.iter().any(|l| l.name == name) {
            n += 1;
            name = format!("{stem}.{n}");
        }
        let link = self.link_named(&name);
        self.links[link].vmac = Some(Vmac {
            parent,
            mac: [0, 0, 0x5e, 0, if v6 { 2 } else { 1 }, v.vrid],
            router,
            state: State::Absent,
            complained: Once::default(),
        });
        let l = &mut self.links[link];
        if v6 { &mut l.demux_v6 } else { &mut l.demux }.insert(v.vrid, router);
        link
    }

    /// The link on whose wire a link is: itself, or the parent of a macvlan of ours.
    pub fn wire(&self, link: usize) -> usize {
        self.links.get(link).and_then(|l| l.vmac).map_or(link, |v| v.parent)
    }

    /// The Ethernet source of a virtual router's adverts, if it is not the interface's own: a unicast peer is
    /// reached by the interface's routes, and so with its MAC.
    pub fn advert_mac(&self, router: usize) -> Option<[u8; 6]> {
        let i = &self.routers[router];
        if i.cfg.vmac_xmit_base || !i.cfg.unicast_peers.is_empty() {
            return None;
        }
        i.vmac.and_then(|l| self.links[l].vmac).map(|v| v.mac)
    }

    // ---- what the kernel says ----

    /// An interface with the name of a macvlan of ours is there, or has changed.
    pub(crate) fn vmac_seen(&mut self, now: Time, i: usize, l: &rtnl::Link) {
        let Some(v) = self.links[i].vmac else { return };
        let parent = self.links[v.parent].ifindex;
        let lower = self.links[v.parent].lower.or(parent);
        let is_it = l.mac == Some(v.mac) && l.macvlan_of.is_some() && l.macvlan_of == lower;
        let was = v.state;
        let ours = is_it && l.group == macvlan::GROUP;
        // Also if it was made anew, and the old one's end was lost or is still to come.
        if self.links[i].ifindex.is_some_and(|x| !ours || x != l.ifindex) {
            self.lose_link(now, i);
        }
        if ours {
            self.addrs.link_is(i, Some(l.ifindex));
            if self.links[i].ifindex.is_none() {
                self.refence();
            }
            let link = &mut self.links[i];
            (link.ifindex, link.mac, link.mtu) = (Some(l.ifindex), l.mac, l.mtu);
            if let Some(v) = &mut link.vmac {
                let up = match v.state {
                    State::Present { up } if up != Some(l.up) => None,
                    _ => Some(l.up),
                };
                (v.state, v.complained) = (State::Present { up }, Once::default());
            }
            if link.sockets == Sockets::Closed {
                self.open(i);
            }
            self.remake_vmac(i);
        } else if parent.is_none() {
            self.set_state(i, State::Undecided);
        } else if is_it || l.group == macvlan::GROUP {
            // Left by keepalived with all that is on it, or by a vipd with another configuration: it makes
            // room.
            self.unmake(l.ifindex);
            self.set_state(i, State::Absent);
        } else {
            self.vmac_failed(now, i, Event::VmacForeign { link: i });
        }
        if !matches!(was, State::Present { .. }) || !ours {
            self.evaluate_for(i, now);
        }
    }

    /// The parent of macvlans has another MTU. Below 1280 octets there is no IPv6, and a macvlan follows its
    /// parent down, but not up again; and if it did, what was set for its IPv6 would be lost.
    pub(crate) fn remake_vmacs(&mut self, parent: usize) {
        for i in 0..self.links.len() {
            if self.links[i].vmac.is_some_and(|v| v.parent == parent) {
                self.remake_vmac(i);
            }
        }
    }

    fn remake_vmac(&mut self, i: usize) {
        const IPV6_MIN_MTU: u32 = 1280;
        let l = &self.links[i];
        if let (Some(v), Some(ifindex)) = (l.vmac, l.ifindex)
            && l.has_v6_vips
            && l.mtu < IPV6_MIN_MTU
            && self.links[v.parent].mtu >= IPV6_MIN_MTU
            && !self.unmaking.contains(&ifindex)
        {
            self.unmake(ifindex);
        }
    }

    /// An interface that nobody here names: if a vipd that was killed made it, it goes.
    pub(crate) fn unmake_leftover(&mut self, l: &rtnl::Link) {
        if l.group == macvlan::GROUP && l.macvlan_of.is_some() {
            self.unmake(l.ifindex);
        }
    }

    /// What is on it matters no more.
    fn unmake(&mut self, ifindex: u32) {
        if !self.unmaking.contains(&ifindex) {
            self.unmaking.push(ifindex);
        }
        self.push(Effect::Unmake { ifindex });
    }

    /// An interface is there that was not: what could not be decided or made without it can be now.
    pub(crate) fn vmac_parent_came(&mut self, parent: usize) {
        for i in 0..self.links.len() {
            let Some(v) = self.links[i].vmac.filter(|v| v.parent == parent) else { continue };
            match v.state {
                State::Undecided => self.reread(),
                State::Failed { .. } if self.links[i].ifindex.is_none() => self.set_state(i, State::Absent),
                _ => {}
            }
        }
    }

    /// A macvlan is gone, or has another name.
    pub(crate) fn vmac_lost(&mut self, link: usize) {
        self.set_state(link, State::Absent);
    }

    /// The kernel's tables were read: what was made and is not there will be made again, but not at once.
    pub(crate) fn vmacs_read(&mut self, now: Time) {
        for i in 0..self.links.len() {
            if self.links[i].vmac.is_some_and(|v| v.state == State::Made) {
                self.set_state(i, State::Failed { retry_at: now + RETRY });
            }
        }
    }

    fn set_state(&mut self, link: usize, state: State) {
        if let Some(v) = &mut self.links[link].vmac {
            v.state = state;
        }
    }

    fn vmac_failed(&mut self, now: Time, link: usize, event: Event) {
        let Some(v) = &mut self.links[link].vmac else { return };
        v.state = State::Failed { retry_at: now + RETRY };
        if v.complained.pass() {
            self.emit(event);
        }
    }

    // ---- what is wanted ----

    /// Makes the macvlan of a virtual router if it is missing. Returns whether that is under way.
    pub(crate) fn want_vmac(&mut self, router: usize) -> bool {
        let Some(link) = self.routers[router].vmac else { return false };
        let Some(v) = self.links[link].vmac else { return false };
        let Some(parent) = self.links[v.parent].ifindex else { return false };
        if v.state == State::Absent {
            self.set_state(link, State::Asked);
            self.push(Effect::Vmac { link, op: VmacOp::Make { parent } });
        }
        let opening = self.links[link].sockets == Sockets::Opening;
        opening || !matches!(v.state, State::Present { .. } | State::Failed { .. })
    }

    /// What is wrong with a macvlan of ours.
    pub(crate) fn vmac_faults(&self, link: usize, f: &mut Faults) {
        let l = &self.links[link];
        f.set(Faults::VMAC, l.vmac.is_some_and(|v| matches!(v.state, State::Failed { .. })));
        f.set(Faults::SOCKET, matches!(l.sockets, Sockets::Failed { .. }));
    }

    /// Puts the macvlan of a virtual router up or down, unless it is.
    pub(crate) fn set_vmac(&mut self, router: usize, up: bool) {
        let Some(link) = self.routers[router].vmac else { return };
        let l = &self.links[link];
        if let (Some(ifindex), Some(v)) = (l.ifindex, l.vmac)
            && let State::Present { up: is } = v.state
            && is != Some(up)
        {
            self.set_state(link, State::Present { up: Some(up) });
            self.push(Effect::Vmac { link, op: VmacOp::Set { ifindex, up } });
        }
    }

    /// An address of IPv6 that is removed sends a report (MLD) with the virtual MAC, which may be the
    /// successor's by now: the macvlan goes down first, and such addresses with it.
    pub(crate) fn silence_vmac(&mut self, router: usize) {
        if self.routers[router].vmac.is_some_and(|l| self.links[l].has_v6_vips) {
            self.set_vmac(router, false);
        }
    }

    /// Whether a macvlan is not what its virtual router needs, and what that is.
    fn wrong_vmac(&self, link: usize) -> Option<(usize, bool)> {
        let v = self.links[link].vmac?;
        let State::Present { up } = v.state else { return None };
        let router = &self.routers[v.router];
        let wanted = router.is_master() || router.hold.is_some();
        let resumes = router.may_resume && up != Some(false);
        (up != Some(wanted) && !resumes).then_some((v.router, wanted))
    }

    fn may_settle(&self) -> bool {
        !matches!(self.life, Life::Starting | Life::Over)
    }

    /// When `tick_vmacs` has something to do.
    pub(crate) fn vmac_deadline(&self, now: Time) -> Option<Time> {
        let mut at = None;
        for (i, l) in self.links.iter().enumerate().filter(|_| self.may_settle()) {
            match l.vmac.map(|v| v.state) {
                Some(State::Failed { retry_at }) if self.life == Life::Running => {
                    at = earlier(at, Some(retry_at));
                }
                Some(_) if self.wrong_vmac(i).is_some() => return Some(now),
                _ => {}
            }
        }
        at
    }

    /// Tries again what failed, and sees to it that every macvlan is up or down as it should be. To put one
    /// down takes the kernel 5 to 15 ms, so that is done to one at a time: without addresses it is silent.
    pub(crate) fn tick_vmacs(&mut self, now: Time) {
        if !self.may_settle() {
            return;
        }
        let mut lowered = false;
        for i in 0..self.links.len() {
            let Some(v) = self.links[i].vmac else { continue };
            if let State::Failed { retry_at } = v.state
                && now >= retry_at
            {
                let there = self.links[i].ifindex.is_some();
                self.set_state(i, if there { State::Present { up: None } } else { State::Absent });
                self.evaluate_for(i, now);
            }
            match self.wrong_vmac(i) {
                Some((router, true)) => {
                    // Somebody put it down.
                    self.set_vmac(router, true);
                    self.announce_anew(now);
                }
                Some((router, false)) if !lowered => {
                    lowered = true;
                    self.set_vmac(router, false);
                }
                _ => {}
            }
        }
    }

    /// What became of an operation; an errno of 0 is success.
    pub fn vmac_done(&mut self, now: Time, link: usize, op: VmacOp, errno: i32) {
        let asked = self.links[link].vmac.is_some_and(|v| v.state == State::Asked);
        match (op, errno) {
            // Done, or it is gone, which is about to be heard.
            (VmacOp::Set { .. }, 0 | libc::ENODEV) => return,
            // It came by itself meanwhile.
            (VmacOp::Make { .. }, _) if !asked => return,
            (VmacOp::Make { .. }, 0) => {
                self.set_state(link, State::Made);
                self.emit(Event::VmacMade { link });
                self.reread();
                return;
            }
            // Its parent is gone, which is about to be heard.
            (VmacOp::Make { .. }, libc::ENODEV) => {
                self.set_state(link, State::Failed { retry_at: now + RETRY });
            }
            // The name is taken: whose it is shows when everything is read.
            (VmacOp::Make { .. }, libc::EEXIST) => {
                self.set_state(link, State::Failed { retry_at: now + RETRY });
                self.reread();
            }
            (VmacOp::Make { .. } | VmacOp::Set { up: true, .. }, errno) => {
                self.vmac_failed(now, link, Event::VmacFailed { link, errno });
            }
            (VmacOp::Set { up: false, .. }, errno) => {
                self.emit(Event::VmacFailed { link, errno });
                return;
            }
        }
        self.evaluate_for(link, now);
    }

    /// The sockets of a macvlan are open; if it was made anew under a master, its addresses come back.
    pub(crate) fn vmac_opened(&mut self, now: Time, link: usize) {
        let Some(router) = self.links[link].vmac.map(|v| v.router) else { return };
        if self.life == Life::Running && self.routers[router].is_master() {
            self.advert_unless_fresh(router, now);
            self.set_vmac(router, true);
            self.addrs.acquire(router);
        }
    }

    /// The end: all of them go.
    pub(crate) fn unmake_all(&mut self) {
        if self.links.iter().any(|l| l.vmac.is_some() && l.ifindex.is_some()) {
            self.push(Effect::UnmakeAll);
        }
    }

    /// Everything that the kernel has is to be read anew.
    pub(crate) fn reread(&mut self) {
        if !self.effects.iter().any(|e| matches!(e, Effect::Reread)) {
            self.push(Effect::Reread);
        }
    }

    /// Its virtual router has left: it goes, with all that is on it.
    pub(crate) fn forget_vmac(&mut self, link: usize) {
        if let Some(ifindex) = self.links[link].ifindex {
            self.addrs.link_gone(ifindex);
            self.addrs.link_is(link, None);
            self.unmake(ifindex);
        }
        self.push(Effect::Close { link });
        // A VIP of another virtual router may name it as its device.
        let name = std::mem::take(&mut self.links[link].name);
        self.links[link] = Link::new(&name);
    }
}
