//! The addresses: what is wanted × what the kernel has × how long a lease may run → netlink operations. Pure.
//!
//! A VIP is added with a finite lifetime and renewed only while backups cannot have given up on us; `lease` has
//! the arithmetic.

use crate::config;
use crate::lease;
use crate::time::Time;
use crate::wire::rtnl;
use std::net::IpAddr;
use std::time::Duration;

/// IFA_PROTO of every address that vipd adds.
pub const TAG: u8 = 0x70;
/// IFA_PROTO of keepalived's addresses (RTPROT_KEEPALIVED).
const TAG_KEEPALIVED: u8 = 18;
/// Least time between two batches of renewals.
const RENEWAL_GAP: Duration = Duration::from_millis(250);
/// Lease of an address that waits for its successor.
const HANDOVER_LEASE: u32 = 1;
/// Pause before an operation that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// One VIP of one virtual router.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The virtual router.
    pub inst: usize,
    /// The address.
    pub addr: IpAddr,
    /// Prefix length as configured.
    prefix: u8,
    /// Index of the link that carries it.
    pub link: usize,
    label: Option<String>,
    want: Want,
    /// What we hold: present in the kernel, and ours.
    held: Option<Held>,
    retry_at: Option<Time>,
    complained: bool,
    /// The next success is reported even if it was there already.
    tell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Just started: it may be resumed.
    Undecided,
    Absent,
    Present,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    ifindex: u32,
    prefix: u8,
    /// Start of the running lease, and its length in seconds (`None`: permanent).
    since: Time,
    lease: Option<u32>,
}

/// What lets an instance renew.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    /// Nothing.
    None,
    /// The last advert that was sent without error.
    Advert(Time),
    /// Waiting for the successor; the time of the last renewal.
    Handover(Time),
}

#[derive(Clone, Debug)]
struct Leasing {
    lease: config::Lease,
    advert_int: Duration,
    patience: Duration,
    /// The owner's addresses are permanent and not ours to touch.
    owner: bool,
    claim: Claim,
}

/// How long, and how fresh the claim must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// L in seconds; `None`: permanent.
    pub lease: Option<u32>,
    /// d: a renewal needs a claim no older than this.
    pub fresh: Duration,
    /// Whether d + L + e <= N × I.
    pub safe: bool,
}

/// The kind of a netlink operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// RTM_NEWADDR of an address that is not there.
    Add,
    /// RTM_NEWADDR of one that is: ours, or one that keepalived left.
    Replace,
    /// RTM_DELADDR.
    Remove,
}

/// One netlink operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// What to do.
    pub kind: OpKind,
    /// Index of the entry.
    pub entry: usize,
    /// Interface.
    pub ifindex: u32,
    /// Address.
    pub addr: IpAddr,
    /// Prefix length as installed.
    pub prefix: u8,
    /// Lifetime in seconds; `None`: for ever.
    pub lease: Option<u32>,
    /// Label (IFA_LABEL).
    pub label: Option<String>,
}

/// What became of the addresses; `entry` is the index of the VIP.
#[allow(missing_docs)] // the fields are named in the variants' comments
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The kernel has it now.
    Added { entry: usize },
    /// It could not be added.
    AddFailed { entry: usize, errno: i32 },
    /// It is gone by our doing.
    Removed { entry: usize },
    /// It could not be removed and will be tried again.
    RemoveFailed { entry: usize, errno: i32 },
    /// A permanent address of somebody else is in its place.
    Foreign { entry: usize },
    /// An address is there that was believed to be gone: everything must be read again.
    ViewIsWrong,
    /// keepalived left it; it is ours now.
    TakenOver { entry: usize },
    /// Somebody deleted it although its lease had time left.
    Deleted { entry: usize },
    /// Its lease ended while it was wanted.
    Expired { entry: usize },
    /// The renewal came too late: a backup may be master.
    TooLate { inst: usize },
}

/// One address of the node as the kernel reports it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    a: rtnl::Addr,
    /// Seen again by the dump that is under way.
    fresh: bool,
}

/// All VIPs of the node, and the sole owner of their leases.
#[derive(Debug, Default)]
pub struct AddrBook {
    /// Every VIP of every virtual router.
    pub entries: Vec<Entry>,
    leasing: Vec<Leasing>,
    kernel: Vec<Seen>,
    last_batch: Option<Time>,
    /// An advert went out since the last batch.
    advert_since: bool,
}

impl AddrBook {
    /// Adds a virtual router; instances are numbered in the order of the calls. `link` names the link of
    /// each VIP.
    pub fn add_instance(&mut self, v: &config::Vrrp, mut link: impl FnMut(&config::Vip) -> usize) {
        let inst = self.leasing.len();
        self.leasing.push(Leasing {
            lease: v.lease,
            advert_int: v.advert_int,
            patience: v.advert_int * v.down_timer_adverts,
            owner: v.priority == 255,
            claim: Claim::None,
        });
        for vip in &v.vips {
            self.entries.push(Entry {
                inst,
                addr: vip.addr,
                prefix: vip.prefix,
                link: link(vip),
                label: vip.label.clone(),
                want: Want::Undecided,
                held: None,
                retry_at: None,
                complained: false,
                tell: false,
            });
        }
    }

    /// The lease terms of an instance as things stand.
    pub fn terms(&self, inst: usize) -> Terms {
        terms(&self.leasing[inst])
    }

    fn is_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.addr == a.addr)
    }

    // ---- what the virtual routers want ----

    /// An advert of `inst` went out; `sent` was read before it.
    pub fn advert_sent(&mut self, inst: usize, sent: Time) {
        let l = &mut self.leasing[inst];
        if !matches!(l.claim, Claim::Handover(_)) {
            l.claim = Claim::Advert(sent);
            self.advert_since = true;
        }
    }

    /// When the last advert of a master went out; `None` if it has no claim.
    pub fn last_advert(&self, inst: usize) -> Option<Time> {
        match self.leasing[inst].claim {
            Claim::Advert(t) => Some(t),
            _ => None,
        }
    }

    /// `inst` is master: its addresses are to be there once an advert went out. A hand-over that was under
    /// way is off, and what it renewed does not count as an advert.
    pub fn acquire(&mut self, inst: usize) {
        if let Claim::Handover(_) = self.leasing[inst].claim {
            self.leasing[inst].claim = Claim::None;
        }
        self.want(inst, Want::Present);
        // What is there already is renewed at once, and announced like what is added.
        self.last_batch = None;
        for e in self.entries.iter_mut().filter(|e| e.inst == inst) {
            e.tell = true;
        }
    }

    /// `inst` waits for its successor: short leases, renewed without adverts.
    pub fn hand_over(&mut self, inst: usize, now: Time) {
        self.leasing[inst].claim = Claim::Handover(now);
        self.last_batch = None; // the short lease starts at once
    }

    /// `inst` lets go: what it holds is removed by the next `flush`.
    pub fn release(&mut self, inst: usize) {
        self.leasing[inst].claim = Claim::None;
        self.want(inst, Want::Absent);
    }

    fn want(&mut self, inst: usize, want: Want) {
        for e in self.entries.iter_mut().filter(|e| e.inst == inst) {
            e.want = want;
            e.retry_at = None;
        }
    }

    /// Whether the kernel has the VIP and it is announced by us: leased, or the owner's own.
    pub fn is_held(&self, entry: usize) -> bool {
        let Some(e) = self.entries.get(entry) else { return false };
        // An owner is master only while it has them all.
        e.held.is_some() || self.leasing[e.inst].owner
    }

    /// Whether `inst` holds any VIP.
    pub fn holds_any(&self, inst: usize) -> bool {
        self.of(inst).any(|(_, e)| e.held.is_some())
    }

    /// The VIPs of an instance with their indices.
    pub fn of(&self, inst: usize) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(move |(_, e)| e.inst == inst)
    }

    /// Seconds that the lease of a VIP has left, `None` if it is not held or permanent.
    pub fn lease_left(&self, entry: usize, now: Time) -> Option<Duration> {
        let held = self.entries.get(entry)?.held?;
        let end = held.since + Duration::from_secs(u64::from(held.lease?));
        Some(end.since(now))
    }

    fn owned(&self, e: &Entry, ifindex: Option<u32>) -> bool {
        self.kernel
            .iter()
            .any(|s| s.a.addr == e.addr && Some(s.a.ifindex) == ifindex && s.a.proto != Some(TAG))
    }

    /// Whether every address of an owner is a real one of its interface.
    pub fn owner_has_all(&self, inst: usize, ifindex: impl Fn(usize) -> Option<u32>) -> bool {
        self.of(inst).all(|(_, e)| self.owned(e, ifindex(e.link)))
    }

    /// Whether an address is a VIP that is not an owner's: its coming and going changes no source address.
    pub fn is_leased_vip(&self, a: &rtnl::Addr) -> bool {
        self.entries.iter().any(|e| e.addr == a.addr && !self.leasing[e.inst].owner)
    }

    /// At the start: how long ago `inst` was renewed, at the most, if every VIP is there with our tag.
    pub fn lease_age(
        &self,
        inst: usize,
        now: Time,
        ifindex: impl Fn(usize) -> Option<u32>,
    ) -> Option<Duration> {
        let age = |e: &Entry| {
            let ours = |s: &&Seen| {
                s.a.addr == e.addr && Some(s.a.ifindex) == ifindex(e.link) && s.a.proto == Some(TAG)
            };
            self.kernel.iter().find(ours).map(|s| s.a.age(now))
        };
        self.of(inst).map(|(_, e)| age(e)).try_fold(Duration::ZERO, |oldest, a| Some(oldest.max(a?)))
    }

    /// The first address of an interface that is not a VIP: source of adverts.
    pub fn primary(&self, ifindex: u32) -> Option<IpAddr> {
        let mut usable = self.kernel.iter().filter(|s| {
            s.a.ifindex == ifindex && s.a.addr.is_ipv4() && s.a.proto != Some(TAG) && !self.is_vip(&s.a)
        });
        let is_primary = |s: &&Seen| s.a.flags & IFA_F_SECONDARY == 0;
        usable.clone().find(is_primary).or_else(|| usable.next()).map(|s| s.a.addr)
    }

    /// Whether an interface has this address.
    pub fn has(&self, ifindex: u32, addr: IpAddr) -> bool {
        self.kernel.iter().any(|s| s.a.ifindex == ifindex && s.a.addr == addr)
    }

    // ---- what the kernel says ----

    /// A dump starts: what it does not mention is gone.
    pub fn dump_starts(&mut self) {
        for s in &mut self.kernel {
            s.fresh = false;
        }
    }

    /// A dump is complete.
    pub fn dump_ends(&mut self, now: Time, out: &mut Vec<Outcome>) {
        let gone: Vec<rtnl::Addr> = self.kernel.iter().filter(|s| !s.fresh).map(|s| s.a).collect();
        for a in gone {
            self.gone(now, &a, out);
        }
    }

    /// RTM_NEWADDR.
    pub fn seen(&mut self, now: Time, a: &rtnl::Addr, out: &mut Vec<Outcome>) {
        self.note(a);
        let Some(i) = self.entry_at(a) else { return };
        let owner = self.leasing[self.entries[i].inst].owner;
        let e = &mut self.entries[i];
        if owner {
            return;
        }
        if a.proto == Some(TAG) || a.proto == Some(TAG_KEEPALIVED) {
            if a.proto == Some(TAG_KEEPALIVED) && e.held.is_none() {
                out.push(Outcome::TakenOver { entry: i });
            }
            let since = e.held.map_or(now, |h| h.since);
            let lease = (a.valid != u32::MAX).then_some(a.valid);
            e.held = Some(Held { ifindex: a.ifindex, prefix: a.prefix, since, lease });
        } else if a.valid == u32::MAX && (e.held.is_none() || e.held.is_some_and(|h| h.lease.is_some())) {
            // Somebody else's permanent address, maybe made from our leased one.
            e.held = None;
            if !std::mem::replace(&mut e.complained, true) {
                out.push(Outcome::Foreign { entry: i });
            }
        }
    }

    fn note(&mut self, a: &rtnl::Addr) {
        let same = |s: &&mut Seen| s.a.ifindex == a.ifindex && s.a.addr == a.addr && s.a.prefix == a.prefix;
        match self.kernel.iter_mut().find(same) {
            Some(s) => *s = Seen { a: *a, fresh: true },
            None => self.kernel.push(Seen { a: *a, fresh: true }),
        }
    }

    /// RTM_DELADDR.
    pub fn gone(&mut self, now: Time, a: &rtnl::Addr, out: &mut Vec<Outcome>) {
        self.kernel.retain(|s| !(s.a.ifindex == a.ifindex && s.a.addr == a.addr && s.a.prefix == a.prefix));
        let Some(i) = self.entry_at(a) else { return };
        let e = &mut self.entries[i];
        e.complained = false;
        let Some(held) = e.held.filter(|h| h.ifindex == a.ifindex && h.prefix == a.prefix) else { return };
        e.held = None;
        if e.want == Want::Present {
            let had_time = held.lease.is_none_or(|l| now < held.since + Duration::from_secs(u64::from(l)));
            out.push(if had_time { Outcome::Deleted { entry: i } } else { Outcome::Expired { entry: i } });
        }
    }

    /// An interface is gone, and its addresses with it.
    pub fn link_gone(&mut self, ifindex: u32) {
        self.kernel.retain(|s| s.a.ifindex != ifindex);
        for e in self.entries.iter_mut().filter(|e| e.held.is_some_and(|h| h.ifindex == ifindex)) {
            e.held = None;
        }
    }

    fn entry_at(&self, a: &rtnl::Addr) -> Option<usize> {
        self.entries.iter().position(|e| {
            e.addr == a.addr && e.held.is_none_or(|h| h.ifindex == a.ifindex && h.prefix == a.prefix)
        })
    }

    // ---- operations ----

    /// The operations that are due. Removals go first, and every addition renews whatever may be renewed, so
    /// that all leases stay on one grid. `ifindex` maps a link to its interface.
    pub fn flush(
        &mut self,
        now: Time,
        ifindex: impl Fn(usize) -> Option<u32>,
        ops: &mut Vec<Op>,
        out: &mut Vec<Outcome>,
    ) {
        self.removals(now, ops);
        let mut adds = Vec::new();
        for i in 0..self.entries.len() {
            if let Some(op) = self.addition(i, now, &ifindex, out) {
                adds.push(op);
            }
        }
        let renew = !adds.is_empty() || self.renewal_due(now);
        let mut renewals = Vec::new();
        if renew {
            for (i, e) in self.entries.iter().enumerate() {
                let Some(held) = e.held.filter(|_| e.want == Want::Present) else { continue };
                let terms = self.terms(e.inst);
                if terms.lease.is_none() {
                    continue;
                }
                if self.is_fresh(e.inst, now, &terms) {
                    renewals.push(self.op(OpKind::Replace, i, held.ifindex, held.prefix, terms.lease));
                }
            }
            self.advert_since = false;
        }
        if !adds.is_empty() || !renewals.is_empty() {
            self.last_batch = Some(now);
        }
        ops.append(&mut adds);
        ops.append(&mut renewals);
    }

    fn removals(&mut self, now: Time, ops: &mut Vec<Op>) {
        for i in 0..self.entries.len() {
            let e = &self.entries[i];
            let due = e.want == Want::Absent && e.retry_at.is_none_or(|t| now >= t);
            if let Some(held) = e.held.filter(|_| due) {
                ops.push(self.op(OpKind::Remove, i, held.ifindex, held.prefix, None));
                self.entries[i].retry_at = Some(now + RETRY);
            }
        }
    }

    /// The removals of one instance that lets go at once, ahead of everything else.
    pub fn removals_now(&mut self, now: Time) -> Vec<Op> {
        let mut ops = Vec::new();
        self.removals(now, &mut ops);
        ops
    }

    fn addition(
        &mut self,
        i: usize,
        now: Time,
        ifindex: &impl Fn(usize) -> Option<u32>,
        out: &mut Vec<Outcome>,
    ) -> Option<Op> {
        let e = &self.entries[i];
        if e.want != Want::Present || e.held.is_some() || e.retry_at.is_some_and(|t| now < t) {
            return None;
        }
        let terms = self.terms(e.inst);
        let claimed = matches!(self.leasing[e.inst].claim, Claim::Advert(_));
        if self.leasing[e.inst].owner || !claimed || !self.is_fresh(e.inst, now, &terms) {
            return None;
        }
        let Some(ifindex) = ifindex(e.link) else {
            self.entries[i].retry_at = Some(now + RETRY);
            return None;
        };
        let there = self.kernel.iter().find(|s| s.a.ifindex == ifindex && s.a.addr == e.addr).map(|s| s.a);
        match there {
            None => {
                let prefix = self.prefix_for(e, ifindex);
                Some(self.op(OpKind::Add, i, ifindex, prefix, terms.lease))
            }
            Some(a) if a.proto == Some(TAG) => {
                Some(self.op(OpKind::Replace, i, ifindex, a.prefix, terms.lease))
            }
            Some(_) => {
                let e = &mut self.entries[i];
                e.retry_at = Some(now + RETRY);
                if !e.complained {
                    e.complained = true;
                    out.push(Outcome::Foreign { entry: i });
                }
                None
            }
        }
    }

    /// A host prefix, unless the device has no other address of that subnet: then somebody must bring the
    /// connected route.
    fn prefix_for(&self, e: &Entry, ifindex: u32) -> u8 {
        let host = if e.addr.is_ipv4() { 32 } else { 128 };
        let covered = self.kernel.iter().any(|s| {
            s.a.ifindex == ifindex
                && s.a.prefix < host
                && !self.is_vip(&s.a)
                && same_net(s.a.addr, e.addr, s.a.prefix)
        });
        if covered { host } else { e.prefix }
    }

    fn op(&self, kind: OpKind, entry: usize, ifindex: u32, prefix: u8, lease: Option<u32>) -> Op {
        let e = &self.entries[entry];
        Op { kind, entry, ifindex, addr: e.addr, prefix, lease, label: e.label.clone() }
    }

    fn is_fresh(&self, inst: usize, now: Time, terms: &Terms) -> bool {
        match self.leasing[inst].claim {
            Claim::None => false,
            Claim::Advert(t) => now.since(t) <= terms.fresh,
            Claim::Handover(t) => now.since(t) <= Duration::from_secs(u64::from(HANDOVER_LEASE)),
        }
    }

    fn renewal_due(&self, now: Time) -> bool {
        let Some(last) = self.last_batch else { return true };
        let since = now.since(last);
        (self.advert_since && since >= RENEWAL_GAP) || since >= self.step()
    }

    /// L/8 of the shortest lease, at least 0.25 s.
    fn step(&self) -> Duration {
        let shortest = self.held().filter_map(|e| self.terms(e.inst).lease).min().unwrap_or(1);
        (Duration::from_secs(u64::from(shortest)) / 8).max(RENEWAL_GAP)
    }

    fn held(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|e| e.held.is_some() && e.want == Want::Present)
    }

    /// When `flush` has something to do.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let mut at = self.next_renewal(now);
        for e in &self.entries {
            let t = e.retry_at.map_or(now, |t| t.max(now));
            let l = &self.leasing[e.inst];
            let pending = match e.want {
                Want::Absent => e.held.is_some(),
                // Behind a claim that is too old by then, the next advert brings the next try.
                Want::Present => {
                    e.held.is_none()
                        && !l.owner
                        && matches!(l.claim, Claim::Advert(_))
                        && self.is_fresh(e.inst, t, &terms(l))
                }
                Want::Undecided => false,
            };
            if pending {
                at = crate::time::earlier(at, Some(t));
            }
        }
        at
    }

    fn next_renewal(&self, now: Time) -> Option<Time> {
        let last = self.last_batch?;
        let next = (last + if self.advert_since { RENEWAL_GAP } else { self.step() }).max(now);
        // Nothing will be fresh enough by then: the next advert brings the next renewal.
        let useful = self.held().any(|e| {
            let terms = self.terms(e.inst);
            terms.lease.is_some() && self.is_fresh(e.inst, next, &terms)
        });
        useful.then_some(next)
    }

    /// Right before a batch is sent, with a clock read anew: time may have passed since it was put together,
    /// and a renewal that comes too late would bring an address back.
    pub fn keep_valid(&self, ops: &mut Vec<Op>, now: Time) {
        ops.retain(|op| {
            let Some(e) = self.entries.get(op.entry) else { return false };
            op.kind == OpKind::Remove || self.is_fresh(e.inst, now, &self.terms(e.inst))
        });
    }

    /// The results of a batch: the clock was `before` when it was put together and is `after` now. An
    /// errno of 0 is success.
    pub fn done(&mut self, before: Time, after: Time, results: &[(Op, i32)], out: &mut Vec<Outcome>) {
        let mut late = Vec::new();
        for (op, errno) in results {
            let Some(inst) = self.entries.get(op.entry).map(|e| e.inst) else { continue };
            match op.kind {
                OpKind::Remove => self.removed(op, *errno, out),
                OpKind::Add | OpKind::Replace => {
                    if !self.installed(op, *errno, before, out) {
                        continue;
                    }
                    let terms = self.terms(inst);
                    let too_late = match self.leasing[inst].claim {
                        Claim::None => true, // not by `keep_valid`, but it must not stay
                        Claim::Advert(t) => {
                            let bound = if terms.safe { terms.fresh } else { self.leasing[inst].patience };
                            op.lease.is_some() && after.since(t) > bound
                        }
                        Claim::Handover(_) => after.since(before) > Duration::from_secs(1),
                    };
                    if too_late && !late.contains(&inst) {
                        late.push(inst);
                    }
                    if let Claim::Handover(t) = &mut self.leasing[inst].claim {
                        *t = before;
                    }
                }
            }
        }
        out.extend(late.into_iter().map(|inst| Outcome::TooLate { inst }));
    }

    fn installed(&mut self, op: &Op, errno: i32, before: Time, out: &mut Vec<Outcome>) -> bool {
        let e = &mut self.entries[op.entry];
        if errno != 0 {
            e.retry_at = Some(before + RETRY);
            if errno == libc::EEXIST {
                out.push(Outcome::ViewIsWrong); // it is there after all: whose, a dump must tell
            } else if e.held.is_none() && !std::mem::replace(&mut e.complained, true) {
                out.push(Outcome::AddFailed { entry: op.entry, errno });
            }
            return false;
        }
        let tell = std::mem::take(&mut e.tell) || e.held.is_none();
        e.held = Some(Held { ifindex: op.ifindex, prefix: op.prefix, since: before, lease: op.lease });
        (e.complained, e.retry_at) = (false, None);
        let addr = rtnl::Addr {
            ifindex: op.ifindex,
            addr: op.addr,
            prefix: op.prefix,
            proto: Some(TAG),
            valid: op.lease.unwrap_or(u32::MAX),
            preferred: 0,
            seq: 0,
            scope: 0,
            flags: 0,
            tstamp: 0,
            label: None,
        };
        self.note(&addr);
        if tell {
            out.push(Outcome::Added { entry: op.entry });
        }
        true
    }

    fn removed(&mut self, op: &Op, errno: i32, out: &mut Vec<Outcome>) {
        // Already gone, or its interface is: that is what was wanted.
        let gone = [0, libc::EADDRNOTAVAIL, libc::ENODEV].contains(&errno);
        let e = &mut self.entries[op.entry];
        if !gone {
            if !std::mem::replace(&mut e.complained, true) {
                out.push(Outcome::RemoveFailed { entry: op.entry, errno });
            }
            return;
        }
        (e.held, e.complained, e.retry_at) = (None, false, None);
        self.kernel
            .retain(|s| !(s.a.ifindex == op.ifindex && s.a.addr == op.addr && s.a.prefix == op.prefix));
        out.push(Outcome::Removed { entry: op.entry });
    }
}

const IFA_F_SECONDARY: u32 = 1;

fn terms(l: &Leasing) -> Terms {
    if let Claim::Handover(_) = l.claim {
        let secs = (l.lease != config::Lease::Off).then_some(HANDOVER_LEASE);
        return Terms { lease: secs, fresh: Duration::from_secs(1), safe: false };
    }
    let secs = match l.lease {
        config::Lease::Off => return Terms { lease: None, fresh: l.patience, safe: false },
        config::Lease::Seconds(s) => s,
        config::Lease::Auto => lease::auto(l.advert_int, l.patience),
    };
    let fresh = lease::fresh(secs, l.advert_int, l.patience);
    // A renewal goes out with each advert in any case; where that is too long, the README says so.
    Terms { lease: Some(secs), fresh: fresh.unwrap_or(l.advert_int / 4), safe: fresh.is_some() }
}

fn same_net(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let bits = |x: IpAddr| match x {
        IpAddr::V4(v) => u128::from(v.to_bits()) << 96,
        IpAddr::V6(v) => v.to_bits(),
    };
    let shift = 128 - u32::from(prefix.min(128));
    a.is_ipv4() == b.is_ipv4() && (bits(a) ^ bits(b)).checked_shr(shift).unwrap_or(0) == 0
}
