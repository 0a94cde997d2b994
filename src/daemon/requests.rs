//! SIGHUP, `vipd reload`, `resign` and `upgrade`: what is asked for is done at the end of a turn, when
//! nothing else is under way, and answered when it is known what came of it.

use super::Daemon;
use crate::base::log;
use crate::base::text::Write;
use crate::base::time::Time;
use crate::control::{Asker, Reload};
use crate::event::Event;
use crate::haproxy::supervisor::{Event as Haproxy, Supervisor};
use crate::report::words;
use crate::sys::clock;
use crate::vrrp::machine::Resigned;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Exit statuses of `vipd reload`, `resign` and `upgrade`.
pub(super) const DONE: u8 = 0;
pub(super) const REFUSED: u8 = 1;
pub(super) const WRONG: u8 = 2;

/// Requests that are answered later, whether somebody still waits for the answer or not.
pub(super) const MAX_JOBS: usize = 16;

/// A request that is not carried out yet.
#[derive(Debug)]
pub(super) enum Job {
    Reload(Asker, Reload),
    Upgrade(Asker),
    Resign { to: Asker, name: Option<String>, no_preempt_for: Duration, force: bool },
}

/// An answer that is not complete yet.
#[derive(Debug)]
struct Pending {
    to: Asker,
    text: String,
    status: u8,
    waits_for: Awaited,
}

/// What an answer waits for.
#[derive(Debug)]
enum Awaited {
    /// HAProxy's reload, if one is under way.
    Haproxy,
    /// After an upgrade: so many virtual routers were master, and are to be again.
    Masters(usize),
    /// These virtual routers have not said yet what came of their resigning.
    Routers(Vec<usize>),
}

/// All requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// SIGHUP came.
    hangup: bool,
    jobs: Vec<Job>,
    pending: Vec<Pending>,
}

impl Requests {
    /// How many are not answered yet.
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.pending.len()
    }

    /// One more.
    pub(super) fn push(&mut self, job: Job) {
        self.jobs.push(job);
    }

    /// A reload that nobody waits for.
    pub(super) fn hang_up(&mut self) {
        self.hangup = true;
    }
}

impl Daemon {
    /// The end of a turn: what was asked for, if it can be done now.
    /// `turn`: the clock before the sockets were read, for `settle`.
    pub(super) fn serve_requests(&mut self, turn: Time) {
        let now = clock::now();
        if self.may_reload() && std::mem::take(&mut self.requests.hangup) {
            self.reload(turn, None, false);
        }
        for job in std::mem::take(&mut self.requests.jobs) {
            match job {
                Job::Reload(to, Reload::DryRun) => self.dry_run(to),
                Job::Reload(..) if !self.may_reload() => self.requests.jobs.push(job),
                Job::Reload(to, what) => self.reload(turn, Some(to), what == Reload::Haproxy),
                Job::Upgrade(to) => self.upgrade(to),
                Job::Resign { to, name, no_preempt_for, force } => {
                    self.resign(turn, to, name.as_deref(), no_preempt_for, force)
                }
            }
        }
        self.tick_upgrade();
        let (node, control) = (&self.node, &mut self.control);
        self.requests.pending.retain_mut(|p| {
            let over = match &p.waits_for {
                Awaited::Routers(routers) => routers.is_empty(),
                Awaited::Masters(_) if node.is_resuming() => false,
                Awaited::Masters(before) => {
                    if node.routers.iter().filter(|r| r.is_master()).count() < *before {
                        p.status = REFUSED;
                        p.text.push_str("some virtual routers are not master again\n");
                    }
                    true
                }
                Awaited::Haproxy => !node.haproxy.as_ref().is_some_and(|h| h.is_reloading()),
            };
            if over {
                control.reply(now, p.to, p.status, &p.text);
            }
            !over
        });
    }

    /// Not while a virtual router waits for an answer to priority 0, nor before HAProxy's last reload has
    /// ended: what is checked and started then is what was read then.
    fn may_reload(&self) -> bool {
        let busy = self.node.haproxy.as_ref().is_some_and(|h| h.is_reloading());
        self.node.may_reconfigure() && (!busy || self.node.is_stopping())
    }

    /// `haproxy`: HAProxy is reloaded in any case.
    fn reload(&mut self, turn: Time, to: Option<Asker>, haproxy: bool) {
        log::info!("reading {} again", self.setup.source.files);
        self.systemd.reloading(clock::now());
        let (status, text) = match self.try_reload(haproxy) {
            Ok(text) => (DONE, text),
            Err((status, errors)) => (status, errors + "nothing was changed\n"),
        };
        let accepted = status == DONE;
        self.last_reload = (accepted, if accepted { clock::now() } else { self.last_reload.1 });
        let level = if status == DONE { log::Level::Info } else { log::Level::Error };
        text.lines().for_each(|l| log::log!(level, "{l}"));
        self.systemd.ready(clock::now());
        if let Some(to) = to {
            self.requests.pending.push(Pending { to, text, status, waits_for: Awaited::Haproxy });
        }
        self.settle(turn);
    }

    /// After an upgrade: who has asked for it is told what came of it.
    pub(super) fn upgraded(&mut self, client: OwnedFd, was_master: &[bool]) {
        let to = self.control.waits(clock::now(), client);
        let waits_for = Awaited::Masters(was_master.iter().filter(|was| **was).count());
        let text = concat!("vipd ", env!("CARGO_PKG_VERSION"), " runs\n").to_owned();
        self.requests.pending.push(Pending { to, text, status: DONE, waits_for });
    }

    /// `vipd reload --dry-run`: nothing is changed.
    fn dry_run(&mut self, to: Asker) {
        let (status, text) = match self.would_change() {
            Ok(text) => (DONE, text),
            Err(why) => (WRONG, why),
        };
        self.control.reply(clock::now(), to, status, &text);
    }

    fn resign(&mut self, turn: Time, to: Asker, name: Option<&str>, no_preempt_for: Duration, force: bool) {
        let (mut status, mut text, mut routers) = (DONE, "", Vec::new());
        if self.node.is_stopping() {
            (status, text) = (REFUSED, "vipd is stopping\n");
        } else {
            match self.node.resign(name, no_preempt_for, force, clock::now()) {
                Some(all) if !all.is_empty() => routers = all,
                Some(_) => text = "there is no virtual router\n",
                None => (status, text) = (WRONG, "no virtual router or group has that name\n"),
            }
        }
        let waits_for = Awaited::Routers(routers);
        self.requests.pending.push(Pending { to, text: text.into(), status, waits_for });
        self.settle(turn);
    }

    /// What an event means for answers that are not complete.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Resigned { router, how } => self.note_resigned(*router, *how),
            Event::Haproxy(
                h @ (Haproxy::ReloadBusy
                | Haproxy::ReloadPlain
                | Haproxy::ReloadRefused { .. }
                | Haproxy::Reloaded { .. }
                | Haproxy::ReloadFailed { .. }
                | Haproxy::Ready { .. }),
            ) => {
                let well = matches!(h, Haproxy::Reloaded { .. } | Haproxy::Ready { .. });
                if let (true, Some(s)) = (well, &mut self.service)
                    && !self.node.haproxy.as_ref().is_some_and(Supervisor::is_copy)
                {
                    s.keep_copy();
                }
                let (_, line) = words::render(&self.node, event);
                for p in self.requests.pending.iter_mut() {
                    if matches!(p.waits_for, Awaited::Haproxy) {
                        writeln!(p.text, "{line}");
                        if !well && p.status == DONE {
                            p.status = REFUSED;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn note_resigned(&mut self, router: usize, how: Resigned) {
        let Some(r) = self.node.routers.get(router) else { return };
        let line = format!("{}: {}\n", r.cfg.name, words::resigned(how));
        let no_preempt_for = r.machine.no_preempt_for(clock::now()).map(|d| d.as_secs() + 1);
        let well =
            matches!(how, Resigned::To(..) | Resigned::WithGroup | Resigned::Forced(_) | Resigned::NotMaster);
        for p in self.requests.pending.iter_mut().rev() {
            let Awaited::Routers(routers) = &mut p.waits_for else { continue };
            let Some(i) = routers.iter().position(|r| *r == router) else { continue };
            routers.remove(i);
            p.text.push_str(&line);
            if !well {
                p.status = REFUSED;
            } else if let Some(s) = no_preempt_for {
                writeln!(p.text, "    it does not preempt for {s} s");
            }
            // Busy answers only the last one who asked: the others wait for what is under way.
            if how == Resigned::Busy {
                break;
            }
        }
    }
}
