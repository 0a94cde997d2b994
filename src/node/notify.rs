//! Who is told of state changes: hooks and mail. Nothing of it is urgent: it begins when a turn's work is
//! done.

use super::{Effect, Node};
use crate::base::time::{Time, earlier};
use crate::check::Failure;
use crate::config::Config;
use crate::event::Event;
use crate::haproxy::supervisor;
use crate::notify::hook::{Hooks, Own};
use crate::notify::notice::Notice;
use crate::notify::notice::Reason;
use crate::notify::notice::State;
use crate::notify::notice::Subject;
use crate::notify::outbox::{Outbox, Outcome};
use crate::vrrp::group;
use crate::vrrp::machine::Kind;

/// Hooks, mail, and what they are to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Notify {
    pub(super) hooks: Hooks,
    outbox: Option<Outbox>,
    /// Whether mail is configured: after a reload the outbox may be there without.
    mails: bool,
    /// Of this turn, each with the hooks that its virtual router has.
    notices: Vec<(Notice, Own)>,
}

impl Notify {
    /// Another configuration; what waits is sent by its rules.
    pub(super) fn reconfigure(&mut self, cfg: &Config, now: Time) {
        self.hooks.global = !cfg.global.notify.is_empty();
        let mail = cfg.global.mail.as_ref().filter(|_| cfg!(feature = "mail"));
        self.mails = mail.is_some();
        if let Some(m) = mail {
            self.outbox.get_or_insert_with(|| Outbox::new(now)).set_timeout(m.connect_timeout);
        }
    }

    /// `None`, and with it no code for mails, if this vipd is built without.
    fn outbox(&mut self) -> Option<&mut Outbox> {
        if cfg!(feature = "mail") { self.outbox.as_mut() } else { None }
    }

    /// Keeps it until the turn is over, if there is anybody to tell.
    fn push(&mut self, notice: Notice, own: Own) {
        let mail = self.mails && notice.state != State::Stop;
        if own.any() || mail || self.hooks.global && notice.subject != Subject::Haproxy {
            self.notices.push((notice, own));
        }
    }

    /// Whether hooks have still something to be told.
    pub(super) fn is_idle(&self) -> bool {
        self.notices.is_empty() && self.hooks.is_idle()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let outbox = self.outbox.as_ref().filter(|_| cfg!(feature = "mail"));
        earlier(self.hooks.deadline(), outbox.and_then(Outbox::deadline))
    }
}

impl Node {
    /// Something happened: if it is a state change, it is kept for `notify`.
    pub(super) fn note_change(&mut self, event: &Event) {
        match event {
            Event::Entered { router, kind: Kind::Master, why } => {
                self.note_instance(*router, State::Master, Reason::Why(*why));
            }
            Event::Entered { router, kind: Kind::Backup, why } => {
                self.note_instance(*router, State::Backup, Reason::Why(*why));
            }
            // Told again whenever its reasons change; that is no change of state.
            Event::Fault { router, faults }
                if !faults.is_pending() && self.routers[*router].notified != Some(State::Fault) =>
            {
                self.note_instance(*router, State::Fault, Reason::Faults(*faults));
            }
            Event::Group { group, state } => {
                let state = match state {
                    group::State::Init => return,
                    group::State::Fault => State::Fault,
                    group::State::Backup => State::Backup,
                    group::State::Master => State::Master,
                };
                self.note_group(*group, state);
            }
            Event::Haproxy(supervisor::Event::CrashLoop { deaths, window }) => {
                let (subject, reason) = (Subject::Haproxy, Reason::Deaths(*deaths, *window));
                let notice = Notice { subject, state: State::Fault, priority: 0, reason };
                self.notify.push(notice, Own::default());
            }
            _ => {}
        }
    }

    fn note_instance(&mut self, i: usize, state: State, reason: Reason) {
        let router = &mut self.routers[i];
        router.notified = Some(state);
        let subject = Subject::Router(router.cfg.name.clone());
        let notice = Notice { subject, state, priority: router.machine.params.priority, reason };
        let cfg = &router.cfg;
        let own = Own { state: !state.hook(&cfg.state_hooks).is_empty(), all: !cfg.notify.is_empty() };
        self.notify.push(notice, own);
    }

    fn note_group(&mut self, g: usize, state: State) {
        let Some(group) = self.groups.get(g) else { return };
        let subject = Subject::Group(group.name.clone());
        self.notify.push(Notice { subject, state, priority: 0, reason: Reason::None }, Own::default());
    }

    /// It is not configured any more, nor is another one of that name.
    pub(super) fn note_retired(&mut self, i: usize) {
        let name = &self.routers[i].cfg.name;
        if !self.routers.iter().any(|other| !other.retired && other.cfg.name == *name) {
            self.note_instance(i, State::Stop, Reason::None);
        }
    }

    /// All addresses are let go: everybody is told of the stop, which waits for the hooks as long as it may.
    pub(super) fn note_stop(&mut self) {
        for i in 0..self.routers.len() {
            if !self.routers[i].retired {
                self.note_instance(i, State::Stop, Reason::None);
            }
        }
        for g in 0..self.groups.len() {
            self.note_group(g, State::Stop);
        }
    }

    /// No time is left for hooks.
    pub(super) fn abandon_hooks(&mut self) {
        self.notify.notices.clear();
        let mut actions = Vec::new();
        self.notify.hooks.abandon(&mut actions);
        actions.into_iter().for_each(|a| self.push(Effect::Hook(a)));
    }

    /// When a turn's work is done: hooks and mails about what happened in it begin, and those that take too
    /// long end.
    pub(super) fn notify(&mut self, now: Time) {
        let mut said = Vec::new();
        for (notice, own) in std::mem::take(&mut self.notify.notices) {
            let mails = self.notify.mails && notice.state != State::Stop;
            let outbox = self.notify.outbox().filter(|_| mails);
            if let Some(said_now) = outbox.and_then(|o| o.notify(notice.clone(), now)) {
                said.push((notice.clone(), said_now));
            }
            if notice.subject != Subject::Haproxy {
                self.notify.hooks.notify(notice, own);
            }
        }
        let (mut runs, mut mails) = (Vec::new(), Vec::new());
        self.notify.hooks.tick(now, &mut runs);
        if let Some(o) = self.notify.outbox() {
            o.tick(now, &mut mails);
        }
        runs.into_iter().for_each(|a| self.push(Effect::Hook(a)));
        mails.into_iter().for_each(|a| self.push(Effect::Mail(a)));
        for (notice, said) in said {
            self.emit(Event::Mail { notice, said, text: String::new() });
        }
    }

    /// A hook ended, or did not start.
    pub fn hook_done(&mut self, now: Time, job: u64, result: Result<(), Failure>) {
        if let Some((notice, failure)) = self.notify.hooks.done(job, result) {
            self.emit(Event::HookFailed { notice, failure });
        }
        self.progress_stop(now);
    }

    /// An attempt to send a mail ended; `text`: what the child said of it.
    pub fn mail_done(&mut self, now: Time, job: u64, outcome: Outcome, text: String) {
        let done = self.notify.outbox().and_then(|o| o.done(job, outcome, now));
        if let Some((notice, said)) = done {
            self.emit(Event::Mail { notice, said, text });
        }
    }
}
