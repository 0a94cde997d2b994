//! What came: each source is read and told to the node, with the time.

use super::haproxy::service::Source as Haproxy;
use super::reload::Job;
use super::{Daemon, Fatal, MAX_JOBS, Source, stamp, wall};
use crate::base::time::Time;
use crate::control::Request;
use crate::haproxy::supervisor::Input;
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
            Source::Haproxy(source) => self.read_haproxy(now, source),
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
                let context = status::Context {
                    router_id: &self.router_id,
                    started: self.started,
                    now,
                    history: Some(&self.history),
                    alert: self.alert.as_ref().map(|(line, at)| (line.as_str(), *at)),
                };
                let (asked, waiting) = (&mut self.asked, self.pending.len());
                self.control.serve(now, |request, to| match request {
                    Request::Reload { .. } | Request::Resign { .. } if asked.len() + waiting >= MAX_JOBS => {
                        Some((1, "too many requests are under way\n".to_owned()))
                    }
                    Request::Status(form, name) => {
                        Some(status::answer(form, name.as_deref(), node, &context))
                    }
                    Request::Watch => Some((0, watch::present(node, now, &stamp()))),
                    Request::Reload { dry_run } => {
                        asked.push(Job::Reload(to, dry_run));
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
                        self.node.supervise(now, Input::Checked { exit });
                    } else {
                        self.node.supervise(now, Input::Exited { pid, exit });
                    }
                }
            }
            schedule::STEPPED_DOWN => self.stepped_down(now),
            Signal::SIGUSR2 => self.node.supervise(now, Input::Reload),
            Signal::SIGHUP => self.hangup = true,
            _ => {}
        }
    }

    fn read_haproxy(&mut self, now: Time, source: Haproxy) {
        let Some(service) = &mut self.service else { return };
        let input = match source {
            Haproxy::Probe(number) => service.read_probe(number).map(|answer| match answer {
                (pid, Some(info)) => Input::Answered { pid, info },
                (_, None) => Input::ProbeFailed,
            }),
            Haproxy::Pidfd(pid) => service.orphan_exited(pid).map(|(pid, exit)| Input::Exited { pid, exit }),
            Haproxy::Listeners(number) => service.serve_listeners(number).map(Input::Fetched),
            Haproxy::Pipe(number) => {
                let (node, alert) = (&mut self.node, &mut self.alert);
                service.read_pipe(now, number, |line| {
                    let level = words::haproxy_level(line);
                    if level == log::Level::Error {
                        *alert = Some((line.to_owned(), wall()));
                    }
                    log::log!(level, "haproxy: {line}");
                    node.haproxy_said(now, line);
                });
                None
            }
        };
        if let Some(input) = input {
            self.node.supervise(now, input);
        }
    }
}
