//! The fence in the kernel: its tables of nf_tables, made and replaced as the node plans them, the leases in
//! them opened and closed, and put back when somebody removes them.

use crate::base::log;
use crate::base::time::Time;
use crate::config::Config;
use crate::daemon::{Daemon, Fatal};
use crate::node::fence::Op;
use crate::preflight::fence::wanted;
use crate::report::words;
use crate::sys::clock;
use crate::sys::nft::Nft;
use crate::wire::nft::{self, Family, Msg, OWNED, Plan};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Pause before the tables are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// So far from its end a lease may have ended by itself.
const NEAR: Duration = Duration::from_millis(60);
/// Tries at tables that somebody else removes at the same time.
const TRIES: usize = 3;

/// The tables, if the kernel can have them.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    nft: Option<Nft>,
    flags: u32,
    /// What they are made of.
    plan: Plan,
    retry_at: Option<Time>,
}

impl Fence {
    /// When the tables are to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    /// Whether that time has come.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.retry_at.is_some_and(|t| now >= t)
    }

    /// Ready when somebody has changed tables, be it others'.
    pub(crate) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.nft.as_ref()?.events_fd()
    }
}

impl Daemon {
    /// At the start, when the kernel's interfaces are known: takes over what a vipd that is gone has left.
    /// `remembered`: the virtual routers that the state files call master, whose leases run on.
    pub(crate) fn open_fence(&mut self, cfg: &Config, remembered: &[bool]) -> Result<(), Fatal> {
        let (wanted, insists) = wanted(cfg);
        if !wanted {
            self.net.fence.nft = Nft::open().ok();
            self.remove_fence();
            return Ok(());
        }
        let Err(e) = self.try_fence(remembered) else { return Ok(()) };
        let why = format!("nf_tables: {}", words::errno(e as i32));
        self.remove_fence();
        self.node.set_fence(None);
        if insists {
            return Err(Fatal(format!("lease = fence or accept = no: {why}")));
        }
        log::warn!(
            "no leases in milliseconds ({why}): the addresses' own lifetimes are used instead, in whole seconds; \
             after a crash nobody serves them for seconds, and below advert_int = 1 two nodes may for a while"
        );
        Ok(())
    }

    /// At a reload, before anything is changed: the new configuration may be the first one that wants leases
    /// in nf_tables. `Err`: it insists on them, and the kernel cannot.
    pub(crate) fn prepare_fence(&mut self, new: &Config) -> Result<(), String> {
        let (wanted, insists) = wanted(new);
        if !wanted || self.net.fence.nft.is_some() {
            return Ok(());
        }
        let Err(e) = self.try_fence(&[]) else { return Ok(()) };
        self.remove_fence();
        self.node.set_fence(None);
        if insists {
            Err(format!("lease = fence or accept = no: nf_tables: {}", words::errno(e as i32)))
        } else {
            Ok(())
        }
    }

    /// At a reload, when it is done: nobody may want them any more.
    pub(crate) fn settle_fence(&mut self, new: &Config) {
        if !wanted(new).0 && self.net.fence.nft.is_some() {
            self.node.set_fence(None);
            self.remove_fence();
        }
    }

    fn try_fence(&mut self, remembered: &[bool]) -> nix::Result<()> {
        let mut nft = Nft::open()?;
        self.node.set_fence(Some(clock::tick()));
        for (i, _) in remembered.iter().enumerate().filter(|(_, was_master)| **was_master) {
            let before = clock::now();
            let Some(key) = self.node.lease_key(i) else { continue };
            if let Ok(Some(ms)) = nft.rest(Family::Inet, key) {
                self.node.lease_found(i, before, Duration::from_millis(ms));
            }
        }
        self.net.fence.nft = Some(nft);
        self.net.fence.flags = OWNED;
        let mut done = self.try_replace();
        // Before Linux 6.9; else a table with other flags is in the way.
        for clear in [false, true] {
            if done != Err(Errno::EOPNOTSUPP) {
                break;
            }
            if clear {
                self.remove_tables();
            }
            self.net.fence.flags = if clear { OWNED } else { 0 };
            done = self.try_replace();
        }
        done?;
        if self.net.fence.flags == 0
            && let Some(nft) = &mut self.net.fence.nft
        {
            nft.watch()?;
        }
        Ok(())
    }

    /// The tables as the node plans them.
    fn try_replace(&mut self) -> nix::Result<()> {
        let Some(nft) = &mut self.net.fence.nft else { return Ok(()) };
        for _ in 0..TRIES {
            let (plan, rests) = self.node.fence_plan(clock::now());
            let flags = self.net.fence.flags;
            nft.batch(&|b| nft::replace(b, flags, &plan, &|i| rests.get(i).copied().flatten()))?;
            self.net.fence.plan = plan;
            // Of what was heard by now most is our own doing.
            if nft.events_fd().is_none() || nft.events(&mut |_| {}) && nft.is_intact() {
                break;
            }
        }
        Ok(())
    }

    /// The same, if that is something else than what is there, or (`anew`) in any case. What fails is tried
    /// again.
    pub(crate) fn replace_fence(&mut self, anew: bool) {
        if self.net.fence.nft.is_none()
            || !anew && self.net.fence.plan == self.node.fence_plan(clock::now()).0
        {
            return;
        }
        let failed = self.net.fence.retry_at.take().is_some();
        if let Err(e) = self.try_replace() {
            self.net.fence.retry_at = Some(clock::now() + RETRY);
            if !failed {
                log::error!("nf_tables: the leases are not up to date: {}", words::errno(e as i32));
            }
        }
    }

    pub(crate) fn fence(&mut self, op: Op) {
        if op == Op::Replace {
            return self.replace_fence(false);
        }
        let Some(nft) = &mut self.net.fence.nft else { return };
        let now = clock::now();
        let mut done = Ok(());
        match op {
            Op::Replace => {}
            Op::Open { router, key, decided } => {
                let left =
                    self.node.lease_left(router, now).filter(|_| self.node.may_open(router, decided, now));
                if let Some(ms) = left.map(millis) {
                    done = nft.batch(&|b| nft::open(b, key, ms));
                }
            }
            Op::Extend { key, until } => {
                let ms = millis(until.since(now));
                done = each(&mut |f| nft.batch(&|b| nft::reopen(b, f, key, ms)));
            }
            // To delete what is not there costs the kernel some 15 ms. While a machine is suspended leases
            // stand still, so the time alone does not tell.
            Op::Close { key, end } => {
                let may_have_ended = now + NEAR >= end;
                done = each(&mut |f| match may_have_ended && nft.rest(f, key) == Ok(None) {
                    true => Ok(()),
                    false => nft.batch(&|b| nft::close(b, f, key)),
                });
            }
        }
        if let Err(e) = done {
            log::error!("nf_tables: {}", words::errno(e as i32));
        }
    }

    /// Whether the addresses of a virtual router are served by a lease.
    pub(crate) fn is_fenced(&self, router: usize) -> bool {
        self.net.fence.nft.is_some() && self.node.addrs.fence(router).is_some()
    }

    /// Opens a lease again for `rest`, which the last advert still allows; it was missing for this advert.
    pub(crate) fn reopen(&mut self, router: usize, rest: Duration) {
        if let (Some(nft), Some(key)) = (&mut self.net.fence.nft, self.node.lease_key(router)) {
            // Without it the advert fails once more.
            let _ = nft.batch(&|b| nft::open(b, key, millis(rest)));
        }
    }

    /// Somebody has changed tables. What is removed of ours is put back with what is left of each lease.
    pub(crate) fn read_fence(&mut self) {
        let Some(nft) = &mut self.net.fence.nft else { return };
        let (mut gone, mut who) = (false, None);
        let heard_all = nft.events(&mut |m| match m {
            Msg::TableGone => gone = true,
            Msg::Generation { pid, name } if gone && who.is_none() => who = Some((*pid, *name)),
            _ => {}
        });
        if !gone && heard_all || nft.is_intact() {
            return;
        }
        self.node.fence_removals += 1;
        self.replace_fence(true);
        let (pid, name) = who.unzip();
        let name = name.as_ref().map_or("somebody", |n| n.as_str());
        log::warn!(
            "nf_tables: {name} (process {}) removed the tables of the leases ({} times so far): they are put back",
            pid.unwrap_or(0),
            self.node.fence_removals
        );
    }

    /// At the end of a clean stop, when nothing is held any more.
    pub(crate) fn remove_fence(&mut self) {
        self.remove_tables();
        self.net.fence.nft = None;
    }

    fn remove_tables(&mut self) {
        if let Some(nft) = &mut self.net.fence.nft
            && let Err(e) = each(&mut |f| if nft.has(f) { nft.batch(&|b| b.del_table(f)) } else { Ok(()) })
            && e != Errno::EPERM
        {
            log::debug!("nf_tables: {}", words::errno(e as i32));
        }
    }
}

/// In each table by itself. What has ended by itself, or is not there, is no error.
fn each(f: &mut dyn FnMut(Family) -> nix::Result<()>) -> nix::Result<()> {
    let mut done = Ok(());
    for family in Family::BOTH {
        match f(family) {
            Ok(()) | Err(Errno::ENOENT) => {}
            failed => done = failed,
        }
    }
    done
}

/// At least one: none would be no timeout.
fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1)
}
