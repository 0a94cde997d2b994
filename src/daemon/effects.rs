//! What the node wants done, and what came of it.

use super::Daemon;
use super::children::jobs::Done;
use super::haproxy::service::Service;
use super::logger;
use super::network::links::Sockets;
use crate::base::time::Time;
use crate::haproxy::supervisor::Action;
use crate::lease::Op;
use crate::node::Effect;
use crate::sys::clock;

impl Daemon {
    /// Carries out what is queued, and what follows from that.
    pub(super) fn run_effects(&mut self) {
        while let Some(effect) = self.node.next_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Open { link, ifindex } => match self.open_link(link, ifindex) {
                Ok(()) => self.node.opened(clock::now(), link),
                Err(e) => self.node.open_failed(clock::now(), link, e as i32),
            },
            Effect::Close { link } => self.net.sockets[link] = Sockets::default(),
            Effect::Advert { router, priority, decided } => self.advert(router, priority, decided),
            Effect::Fence(op) => self.fence(op),
            Effect::Addrs(ops) => self.change_addresses(ops),
            Effect::Disconnect { router } => self.disconnect(router),
            Effect::DisconnectVip { entry } => self.disconnect_vips(&[entry]),
            Effect::Announce { entry } => self.announce(entry),
            Effect::AnnounceSource { router } => self.announce_source(router),
            Effect::ForgetUnanswered { ifindex } => self.net.netlink.forget_unanswered(ifindex),
            Effect::Probe { entry } => self.probe(entry),
            Effect::Remember { router, memory } => self.remember(router, memory),
            Effect::Forget { name } => self.forget(&name),
            Effect::Reread => self.reread(),
            Effect::NewService => {
                let (haproxy, path) = (&self.setup.config.haproxy, &self.setup.control_socket);
                let limited = logger::is_syslog(self.setup.config.global.log);
                self.service = haproxy.as_ref().map(|h| Service::new(h, path, limited));
            }
            Effect::Vmac { link, op } => self.vmac(link, op),
            Effect::Unmake { ifindex } => self.unmake(Some(ifindex)),
            Effect::UnmakeAll => self.unmake(None),
            Effect::Haproxy(action) => self.haproxy(action),
            Effect::Check { check, action } => {
                if let Some(failure) = self.checks.carry_out(check, action) {
                    self.node.check_done(clock::now(), check, Err(failure), String::new());
                }
            }
            Effect::Hook(action) => {
                let done = self.jobs.hook(&self.node, action);
                self.job_done(clock::now(), done);
            }
            Effect::Mail(action) if cfg!(feature = "mail") => {
                let done = self.jobs.mail(&self.node, action);
                self.job_done(clock::now(), done);
            }
            Effect::Mail(_) => {} // Nobody asks for it.
            Effect::Exit(status) => self.exit = Some(status),
        }
    }

    fn change_addresses(&mut self, mut ops: Vec<Op>) {
        let before = clock::now();
        self.node.addrs.keep_valid(&mut ops, before);
        let errnos = self.net.netlink.carry_out(ops.len(), &|out, seq, i| ops[i].encode(out, seq));
        let mut results = Vec::with_capacity(errnos.len());
        for done in ops.into_iter().zip(errnos) {
            results.push(done);
        }
        self.node.addrs_done(before, clock::now(), &results);
    }

    fn haproxy(&mut self, action: Action) {
        if matches!(action, Action::Spawn { .. }) && !self.node.may_spawn() {
            return;
        }
        let Some(service) = &mut self.service else { return };
        if let Some(outcome) = service.carry_out(action) {
            self.node.supervise(clock::now(), outcome);
        }
    }

    /// A hook, a mail or a trial has ended, if it has.
    pub(super) fn job_done(&mut self, now: Time, done: Option<Done>) {
        match done {
            None => {}
            Some(Done::Hook(job, result)) => self.node.hook_done(now, job, result),
            Some(Done::Trial(exit, said)) => self.program_tried(exit, said),
            Some(Done::Mail(job, outcome, text)) => self.node.mail_done(now, job, outcome, text),
        }
    }
}
