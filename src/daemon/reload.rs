//! SIGHUP, `vipd reload` and `vipd resign`: what is asked for is done at the end of a turn, when nothing else is
//! under way, and answered when it is known what came of it.

use super::haproxy::service::Service;
use super::network::links::Sockets;
use super::secrets;
use super::state_files::recall_sequences;
use super::{Daemon, logger, nonlocal_bind};
use crate::base::secret::Secret;
use crate::base::text::Write;
use crate::base::time::Time;
use crate::config::diff::{self, Texts};
use crate::config::{Config, ini, schema};
use crate::control::Asker;
use crate::event::Event;
use crate::haproxy::supervisor::Event as Haproxy;
use crate::node::What;
use crate::preflight::programs;
use crate::report::words;
use crate::sys::{clock, schedule};
use crate::vrrp::machine::Resigned;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Exit statuses of `vipd reload` and `vipd resign`.
const DONE: u8 = 0;
const REFUSED: u8 = 1;
const WRONG: u8 = 2;

/// What was asked for and not done yet.
#[derive(Debug)]
pub(super) enum Job {
    /// `true`: only what it would change.
    Reload(Asker, bool),
    Resign {
        to: Asker,
        name: Option<String>,
        no_preempt_for: Duration,
        force: bool,
    },
}

/// An answer that is not complete yet.
#[derive(Debug)]
pub(super) struct Pending {
    to: Asker,
    text: String,
    status: u8,
    /// It is about `resign`, and these have not said yet what came of it; else HAProxy's reload is waited for.
    is_resign: bool,
    resigning: Vec<usize>,
}

/// A configuration file, up to one octet more than it may have.
pub fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A configuration file as text. It is wiped in the end: it may hold keys.
pub(super) fn read_text(file: &Path) -> Result<Secret, String> {
    read_file(file).map(Secret).map_err(|e| format!("vipd: {}: {e}\n", file.display()))
}

/// Reads a configuration file: the configuration and its warnings, or all errors, one `file:line: message` per line.
pub fn read_config(file: &Path) -> Result<(Config, String), String> {
    parse(file, &read_text(file)?)
}

fn parse(file: &Path, bytes: &Secret) -> Result<(Config, String), String> {
    let (cfg, kind, said) = match schema::parse_bytes(&bytes.0, &secrets::read) {
        Ok((cfg, warnings)) => (Some(cfg), "warning: ", warnings),
        Err(errors) => (None, "", errors),
    };
    let (mut text, name) = (String::new(), file.display());
    for d in said {
        match d.line {
            0 => writeln!(text, "{name}: {kind}{}", d.message),
            line => writeln!(text, "{name}:{line}: {kind}{}", d.message),
        };
    }
    match cfg {
        Some(cfg) => Ok((cfg, text)),
        None => Err(text),
    }
}

impl Daemon {
    /// The end of a turn: what was asked for, if it can be done now.
    /// `turn`: the clock before the sockets were read, for `settle`.
    pub(super) fn serve_jobs(&mut self, turn: Time) {
        let now = clock::now();
        if self.may_reload() && std::mem::take(&mut self.hangup) {
            self.reload(turn, None);
        }
        for job in std::mem::take(&mut self.asked) {
            match job {
                Job::Reload(to, true) => self.dry_run(to),
                Job::Reload(..) if !self.may_reload() => self.asked.push(job),
                Job::Reload(to, false) => self.reload(turn, Some(to)),
                Job::Resign { to, name, no_preempt_for, force } => {
                    self.resign(turn, to, name.as_deref(), no_preempt_for, force)
                }
            }
        }
        let (node, control) = (&self.node, &mut self.control);
        self.pending.retain(|p| {
            let reloading = node.haproxy.as_ref().is_some_and(|h| h.is_reloading());
            let over = p.resigning.is_empty() && (p.is_resign || !reloading);
            if over {
                control.reply(now, p.to, p.status, &p.text);
            }
            !over
        });
    }

    /// Not while somebody waits for an answer to priority 0, nor before it is known what came of the last one: what is
    /// checked and started then is what was read then.
    fn may_reload(&self) -> bool {
        let busy = self.node.haproxy.as_ref().is_some_and(|h| h.is_reloading());
        self.node.may_reconfigure() && (!busy || self.node.is_stopping())
    }

    fn reload(&mut self, turn: Time, to: Option<Asker>) {
        log::info!("reading {} again", self.file.display());
        let (status, text) = match self.try_reload() {
            Ok(text) => (DONE, text),
            Err((status, errors)) => (status, errors + "nothing was changed\n"),
        };
        let level = if status == DONE { log::Level::Info } else { log::Level::Error };
        text.lines().for_each(|l| log::log!(level, "{l}"));
        if let Some(to) = to {
            self.pending.push(Pending { to, text, status, is_resign: false, resigning: Vec::new() });
        }
        self.settle(turn);
    }

    fn try_reload(&mut self) -> Result<String, (u8, String)> {
        if self.node.is_stopping() {
            return Err((REFUSED, "vipd is stopping\n".to_owned()));
        }
        let (bytes, new, mut text) = self.read_new().map_err(|why| (WRONG, why))?;
        let wrong = |why| (WRONG, format!("{}: {why}\n", self.file.display()));
        text += &self.rights.suffice(&new, &self.file).map_err(wrong)?;
        let before = text.len();
        let new = Rc::new(new);
        let old = std::mem::replace(&mut self.config, new.clone());
        let before_text = std::mem::replace(&mut self.text, bytes.clone());
        let texts = Texts::new(&before_text.0, &bytes.0);
        text += &diff::sections(&old, &new, &texts);
        self.take_global(&old, &new);
        self.checks.reconfigure(&old, &new);
        let files = self.reload_service(&old, &new, &mut text);
        let now = clock::now();
        let changes = self.node.reconfigure(&old, &new, now);
        self.sockets.resize_with(self.node.links.len(), Sockets::default);
        for router in &mut self.node.routers {
            recall_sequences(&self.control_socket, router);
        }
        self.node.reconfigure_haproxy(new.haproxy.as_ref(), files, now);
        for c in &changes {
            let what = match c.what {
                What::Added => ": new\n",
                What::Removed => ": leaves\n",
                What::Changed => {
                    diff::line(&mut text, &c.name, &texts.section("vrrp", &c.name));
                    continue;
                }
            };
            text.extend([c.name.as_str(), what]);
        }
        if text.len() == before {
            text.push_str("nothing has changed\n");
        }
        Ok(text)
    }

    /// Reads the file: its text, the configuration, and warnings.
    fn read_new(&self) -> Result<(Secret, Config, String), String> {
        let (file, name) = (&self.file, self.file.display());
        // To open a pipe is to wait for a process that writes.
        if file.metadata().is_ok_and(|m| !m.is_file()) {
            return Err(format!("{name}: this is not a file\n"));
        }
        let bytes = read_text(file)?;
        let (new, warnings) = parse(file, &bytes)?;
        let texts = Texts::new(&self.text.0, &bytes.0);
        let place = |kind, section, key| match texts.line(kind, section, key) {
            0 => format!("{name}"),
            line => format!("{name}:{line}"),
        };
        if let Some(u) = programs::unknown_user(&new) {
            return Err(format!("{}: {u}\n", place(u.kind, u.section, u.key)));
        }
        if let Some(key) = diff::needs_restart(&self.config, &new) {
            return Err(format!("{}: another {key} needs a restart\n", place("global", "", key)));
        }
        Ok((bytes, new, warnings))
    }

    /// `vipd reload --dry-run`: what a reload would change, or why it would be refused.
    fn dry_run(&mut self, to: Asker) {
        let answer = self.read_new().and_then(|(bytes, new, warnings)| {
            let missing = |why| format!("{}: {why}\n", self.file.display());
            self.rights.check(&new, &self.file).map_err(missing)?;
            let text = diff::describe(&self.config, &new, &Texts::new(&self.text.0, &bytes.0));
            Ok(warnings + if text.is_empty() { "nothing would change\n" } else { &text })
        });
        let (status, text) = match answer {
            Ok(text) => (DONE, text),
            Err(why) => (WRONG, why),
        };
        self.pending.push(Pending { to, text, status, is_resign: true, resigning: Vec::new() });
    }

    fn take_global(&mut self, old: &Config, new: &Config) {
        let (a, b) = (&old.global, &new.global);
        self.router_id = b.router_id.clone().unwrap_or_else(super::host_name);
        self.jobs.reconfigure(new, &self.router_id);
        logger::set_level(b.log_level);
        if a.realtime_priority != b.realtime_priority {
            self.realtime = b.realtime_priority;
            let _ = schedule::normal();
            self.take_realtime();
        }
    }

    /// HAProxy's section, as far as it is not the supervisor's; returns whether HAProxy's files have changed.
    fn reload_service(&mut self, old: &Config, new: &Config, text: &mut String) -> bool {
        let Some(h) = &new.haproxy else {
            if old.haproxy.is_some() {
                text.push_str("HAProxy: removed: stopping it\n");
            }
            return false;
        };
        nonlocal_bind(h);
        let runs = self.node.haproxy.as_ref().filter(|h| !h.is_leaving());
        let Some(runs) = runs.map(|h| h.cfg().clone()) else {
            if self.service.is_none() {
                self.service = Some(Service::new(h, &self.control_socket));
            }
            text.push_str("HAProxy: new: starting it\n");
            return false;
        };
        let Some(service) = &mut self.service else { return false };
        service.prepare(h);
        let files = service.files_changed();
        text.push_str(match (diff::is_same_command(&runs, h), files) {
            (false, _) => {
                "HAProxy: another command line: checking it, then starting a new one in its place\n"
            }
            (true, true) => "HAProxy: its files have changed: checking them, then reloading it\n",
            (true, false) if runs != *h => "HAProxy: changed\n",
            (true, false) => "",
        });
        files
    }

    fn resign(&mut self, turn: Time, to: Asker, name: Option<&str>, no_preempt_for: Duration, force: bool) {
        let (text, resigning) = (String::new(), Vec::new());
        let mut p = Pending { to, text, status: DONE, is_resign: true, resigning };
        if self.node.is_stopping() {
            (p.status, p.text) = (REFUSED, "vipd is stopping\n".to_owned());
        } else {
            match self.node.resign(name, no_preempt_for, force, clock::now()) {
                Some(all) if !all.is_empty() => p.resigning = all,
                Some(_) => p.text = "there is no virtual router\n".to_owned(),
                None => (p.status, p.text) = (WRONG, "no virtual router or group has that name\n".to_owned()),
            }
        }
        self.pending.push(p);
        self.settle(turn);
    }

    /// What an event means for answers that are not complete.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Resigned { router, how } => {
                let Some(i) = self.node.routers.get(*router) else { return };
                let line = format!("{}: {}\n", i.cfg.name, words::resigned(*how));
                let no_preempt_for = i.machine.no_preempt_for(clock::now()).map(|d| d.as_secs() + 1);
                // That one is under way is for the last to hear who asked.
                let some = if *how == Resigned::Busy { 1 } else { usize::MAX };
                for p in self.pending.iter_mut().rev().filter(|p| p.resigning.contains(router)).take(some) {
                    p.resigning.retain(|i| i != router);
                    p.text.push_str(&line);
                    let well = matches!(
                        how,
                        Resigned::To(..) | Resigned::WithGroup | Resigned::Forced(_) | Resigned::NotMaster
                    );
                    if !well {
                        p.status = REFUSED;
                    } else if let Some(s) = no_preempt_for {
                        writeln!(p.text, "    it does not preempt for {s} s");
                    }
                }
            }
            Event::Haproxy(
                h @ (Haproxy::ReloadBusy
                | Haproxy::ReloadPlain
                | Haproxy::ReloadRefused { .. }
                | Haproxy::Reloaded { .. }
                | Haproxy::ReloadFailed
                | Haproxy::Ready { .. }),
            ) => {
                let well = matches!(h, Haproxy::Reloaded { .. } | Haproxy::Ready { .. });
                let (_, line) = words::render(&self.node, event);
                for p in self.pending.iter_mut().filter(|p| !p.is_resign) {
                    writeln!(p.text, "{line}");
                    if !well && p.status == DONE {
                        p.status = REFUSED;
                    }
                }
            }
            _ => {}
        }
    }
}
