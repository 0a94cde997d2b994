//! What came: each source is read and told to the node, with the time. A source that is ready may turn out to
//! be empty; then nothing happens.

use super::haproxy::service::Source as Haproxy;
use super::requests::{Job, MAX_JOBS};
use super::{Daemon, Fatal, Source, stamp};
use crate::base::exit::Exit;
use crate::base::log;
use crate::base::time::Time;
use crate::control::{Asker, Language, Request};
use crate::haproxy::supervisor::Input;
use crate::node::Node;
use crate::report::{status, watch, words};
use crate::sys::lone::Lone;
use crate::sys::{clock, process, schedule, signal};
use nix::sys::signal::Signal;
use std::time::Duration;

impl Daemon {
    /// Reads what is ready and tells the node.
    pub(super) fn read(&mut self, source: Source) -> Result<(), Fatal> {
        let now = clock::now();
        match source {
            Source::Netlink => self.read_netlink(now)?,
            Source::Fence => self.read_fence(),
            Source::Signals => self.read_signals(now),
            Source::Lone => self.lone.iter().for_each(Lone::answer),
            Source::Vrrp(link, kind) => self.read_adverts(link, kind),
            Source::UnknownVrid(link) => self.read_unknown_vrids(now, link),
            Source::VrrpV6(link) => self.read_adverts_v6(link),
            Source::Vmac(link) => self.read_vmac(link),
            Source::UnknownVridV6(link) => self.read_unknown_vrids_v6(now, link),
            Source::Arp(link) => self.read_announcements(now, link),
            Source::Neighbours(link) => self.read_neighbours(now, link),
            Source::Haproxy(source) => self.read_haproxy(now, source),
            Source::Check(number) => {
                if let Some((check, result)) = self.checks.ready(number) {
                    self.node.check_done(now, check, result, String::new());
                }
            }
            Source::Job(number) => self.jobs.read(number),
            Source::Client(language, client) => self.serve_client(now, language, client),
        }
        Ok(())
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
                service.read_pipe(now, number, said(&mut self.node, &mut self.alert, now));
                None
            }
        };
        if let Some(input) = input {
            self.node.supervise(now, input);
        }
    }

    /// Lets clients in, or goes on with one of them.
    fn serve_client(&mut self, now: Time, language: Language, client: Option<Asker>) {
        for (link, lost) in self.net.overruns() {
            self.node.set_overruns(link, lost);
        }
        let node = &self.node;
        let (http, server) = self.http.state();
        let context = status::Context {
            router_id: &self.setup.router_id,
            started: self.setup.started,
            now,
            history: Some(&self.history),
            alert: self.alert.as_ref().map(|(line, at)| (line.as_str(), *at)),
            http,
            reload: self.last_reload,
        };
        let requests = &mut self.requests;
        let server = match language {
            Language::Control => Some(&mut self.control),
            Language::Http(_) => server,
        };
        let Some(server) = server else { return };
        server.serve(now, client, &mut |request, to| match request {
            Request::Reload(_) | Request::Resign { .. } | Request::Upgrade if requests.len() >= MAX_JOBS => {
                Some((1, "too many requests are under way\n".to_owned()))
            }
            Request::Status(form, name) => Some(status::answer(form, name.as_deref(), node, &context)),
            Request::Watch => Some((0, watch::present(node, now, &stamp()))),
            Request::Reload(what) => {
                requests.push(Job::Reload(to, what));
                None
            }
            Request::Upgrade => {
                requests.push(Job::Upgrade(to));
                None
            }
            Request::Resign { name, no_preempt_for, force } => {
                requests.push(Job::Resign { to, name, no_preempt_for, force });
                None
            }
        });
    }

    fn read_signals(&mut self, now: Time) {
        while let Some(s) = signal::next(&mut self.signals) {
            match s {
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGUSR1 => self.node.stop(now),
                Signal::SIGCHLD => {
                    while let Some((pid, exit)) = process::reap(|pid| self.checks.exiting(pid)) {
                        self.reaped(now, pid, exit);
                    }
                }
                schedule::STEPPED_DOWN => self.realtime.stepped_down(now),
                Signal::SIGUSR2 => self.node.supervise(now, Input::Reload),
                Signal::SIGHUP => self.requests.hang_up(),
                _ => {}
            }
        }
    }

    /// A child was reaped; whose it was, its owner knows.
    fn reaped(&mut self, now: Time, pid: u32, exit: Exit) {
        if let Some((check, result, output)) = self.checks.reaped(pid, exit) {
            self.node.check_done(now, check, result, output);
        } else if let done @ Some(_) = self.jobs.reaped(pid, exit) {
            self.job_done(now, done);
        } else if let Some(service) = &mut self.service {
            service.read_last_words(now, pid, said(&mut self.node, &mut self.alert, now));
            let input = service.reaped(pid, exit);
            self.node.supervise(now, input);
        }
    }

    /// What HAProxy printed and was not passed on is counted.
    pub(super) fn tick_haproxy(&mut self, now: Time) {
        if let Some(service) = &mut self.service {
            service.tick(now, said(&mut self.node, &mut self.alert, now));
        }
    }
}

/// A line of HAProxy's, with the pid of the process that printed it: into the log, and to the node. `alert`
/// keeps the last one that tells of an error, with the time of day.
fn said(node: &mut Node, alert: &mut Option<(String, Duration)>, now: Time) -> impl FnMut(u32, &str) {
    move |pid, line| {
        let level = words::haproxy_level(line);
        if level == log::Level::Error {
            *alert = Some((line.to_owned(), clock::wall()));
        }
        log::pass_on(level, format_args!("haproxy: {line}"));
        node.haproxy_said(now, pid, line);
    }
}
