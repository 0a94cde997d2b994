//! What came: each source is read and told to the node, with the time.

use super::haproxy::service::Service;
use super::reload::Job;
use super::{Daemon, Fatal, MAX_JOBS, Source, stamp};
use crate::base::time::Time;
use crate::control::Request;
use crate::report::{status, watch, words};
use crate::sys::{clock, process, schedule, signal, socket};
use nix::sys::signal::Signal;

impl Daemon {
    /// What is ready is read, and told to the node.
    pub(super) fn read(&mut self, source: Source) -> Result<(), Fatal> {
        let now = clock::now();
        match source {
            Source::Netlink => self.read_netlink(now)?,
            Source::Signals => {
                while let Some(s) = signal::next(&mut self.signals) {
                    self.signal(now, s);
                }
            }
            Source::Vrrp(i, kind) => self.read_adverts(i, kind),
            Source::UnknownVrid(i) => self.read_strays(now, i),
            Source::VrrpV6(i) => self.read_adverts_v6(i),
            Source::Vmac(i) => self.read_vmac(i),
            Source::UnknownVridV6(i) => self.read_strays_v6(now, i),
            Source::Arp(i) => self.read_announcements(now, i),
            Source::Neighbours(i) => self.read_neighbours(now, i),
            Source::Probe => match self.service.as_mut().and_then(Service::read_probe) {
                Some((pid, Some(info))) => {
                    self.node.supervise(now, |h, out, events| h.answered(pid, info, now, out, events));
                }
                Some((_, None)) => {
                    self.node.supervise(now, |h, out, events| h.probe_failed(now, out, events))
                }
                None => {}
            },
            Source::Pidfd => {
                if let Some((pid, exit)) = self.service.as_mut().and_then(Service::orphan_exited) {
                    self.exited(now, pid, exit);
                }
            }
            Source::Listeners => {
                let listeners = self.service.as_mut().and_then(|s| s.listeners.as_mut());
                if let Some(result) = listeners.and_then(|l| l.serve()) {
                    self.node.supervise(now, |h, out, events| h.fetched(result, now, out, events));
                }
            }
            Source::Pipe => {
                let node = &mut self.node;
                if let Some(service) = &mut self.service {
                    service.read_pipes(now, |line| {
                        log::log!(words::haproxy_level(line), "haproxy: {line}");
                        node.haproxy_said(now, line);
                    });
                }
            }
            Source::Check(i) => {
                if let Some(result) = self.checks.ready(i) {
                    self.node.check_done(now, i, result, String::new());
                }
            }
            Source::Jobs => self.jobs.read(),
            Source::Control => {
                for (l, s) in self.node.links.iter_mut().zip(&self.sockets) {
                    l.overruns = [&s.vrrp, &s.ah].into_iter().flatten().map(socket::Vrrp::overruns).sum();
                }
                let node = &self.node;
                let context = status::Context { router_id: &self.router_id, started: self.started, now };
                let (asked, waiting) = (&mut self.asked, self.pending.len());
                self.control.serve(now, |request, to| match request {
                    Request::Reload | Request::Resign { .. } if asked.len() + waiting >= MAX_JOBS => {
                        Some((1, "too many requests are under way\n".to_owned()))
                    }
                    Request::Status(form) => {
                        Some((status::exit_status(node), status::render(form, node, &context)))
                    }
                    Request::Watch => Some((0, watch::present(node, now, &stamp()))),
                    Request::Reload => {
                        asked.push(Job::Reload(to));
                        None
                    }
                    Request::Resign { name, no_preempt_for, force } => {
                        asked.push(Job::Resign { to, name, no_preempt_for, force });
                        None
                    }
                });
            }
        }
        Ok(())
    }

    fn signal(&mut self, now: Time, s: Signal) {
        match s {
            Signal::SIGTERM | Signal::SIGINT | Signal::SIGUSR1 => self.node.stop(now),
            Signal::SIGCHLD => {
                while let Some((pid, exit)) = process::reap(|pid| self.checks.exiting(pid)) {
                    if let Some((check, result, output)) = self.checks.reaped(pid, exit) {
                        self.node.check_done(now, check, result, output);
                    } else if let Some(done) = self.jobs.reaped(pid, exit) {
                        self.job_done(now, done);
                    } else if self.service.as_mut().is_some_and(|s| s.reaped(pid)) {
                        self.node.supervise(now, |h, out, events| h.checked(exit, now, out, events));
                    } else {
                        self.exited(now, pid, exit);
                    }
                }
            }
            schedule::STEPPED_DOWN => self.stepped_down(now),
            Signal::SIGUSR2 => self.node.supervise(now, |h, out, events| h.reload(now, out, events)),
            Signal::SIGHUP => self.hangup = true,
            _ => {}
        }
    }

    fn exited(&mut self, now: Time, pid: u32, exit: crate::base::exit::Exit) {
        self.node.supervise(now, |h, out, events| {
            h.exited(pid, exit, now, out, events);
        });
    }
}
