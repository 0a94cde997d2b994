//! Another configuration: read, judged, and taken over by each of its owners.

use super::haproxy::service::Service;
use super::requests::{REFUSED, WRONG};
use super::secrets;
use super::{Daemon, logger, nonlocal_bind};
use crate::base::secret::Secret;
use crate::base::text::Write;
use crate::config::{Auth, Config, diff, ini, schema};
use crate::node::{Change, What};
use crate::preflight::programs;
use crate::sys::clock;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

/// A configuration file, up to one octet more than it may have.
pub fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a configuration file: the configuration and its warnings, or all errors, one `file:line: message`
/// per line.
pub fn read_config(file: &Path) -> Result<(Config, String), String> {
    let bytes = read_file(file).map_err(|e| format!("vipd: {}: {e}\n", file.display()))?;
    // Wiped in the end: it may hold keys.
    let bytes = Secret(bytes);
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
        Some(cfg) => {
            keep_secrets(&cfg);
            Ok((cfg, text))
        }
        None => Err(text),
    }
}

/// Once there is a password or key in memory, no core file is written that it would be in, and no other
/// process of this user may read the memory (PR_SET_DUMPABLE). Children are what they were as soon as they
/// execute.
fn keep_secrets(cfg: &Config) {
    if cfg.vrrp.iter().any(|v| !matches!(v.auth, Auth::None)) {
        // It fails on no kernel.
        let _ = nix::sys::prctl::set_dumpable(false);
    }
}

impl Daemon {
    /// Takes the configuration over, or nothing of it. Returns what that changes, or an exit status and why
    /// not.
    pub(super) fn try_reload(&mut self) -> Result<String, (u8, String)> {
        if self.node.is_stopping() {
            return Err((REFUSED, "vipd is stopping\n".to_owned()));
        }
        let (new, mut text) = self.read_new().map_err(|why| (WRONG, why))?;
        self.prepare_fence(&new).map_err(|why| (REFUSED, format!("{why}\n")))?;
        let before = text.len();
        let old = std::mem::replace(&mut self.setup.config, new.clone());
        for (what, same) in [
            ("[global]", old.global == new.global),
            ("checks", old.checks == new.checks),
            ("groups", diff::are_same_groups(&old, &new)),
        ] {
            if !same {
                text.extend([what, ": changed\n"]);
            }
        }
        self.take_global(&new);
        self.checks.reconfigure(&old, &new);
        let files = self.reload_service(&old, &new, &mut text);
        for c in self.reload_node(&old, &new, files) {
            let what = match c.what {
                What::Added => ": new\n",
                What::Removed => ": leaves\n",
                What::Changed => ": changed\n",
            };
            text.extend([c.name.as_str(), what]);
        }
        if text.len() == before {
            text.push_str("nothing has changed\n");
        }
        Ok(text)
    }

    /// Reads the file, and its warnings. Nothing is changed yet but rights that are taken up again.
    fn read_new(&mut self) -> Result<(Rc<Config>, String), String> {
        let file = &self.setup.file;
        let wrong = |why: &str| format!("{}: {why}\n", file.display());
        // To open a pipe is to wait for a process that writes to it.
        if file.metadata().is_ok_and(|m| !m.is_file()) {
            return Err(wrong("this is not a file"));
        }
        let (new, mut text) = read_config(file)?;
        if let Some(error) = programs::unknown_user(&new) {
            return Err(wrong(&error));
        }
        let (a, b) = (&self.setup.config.global, &new.global);
        let same = a.control_socket == b.control_socket
            && (a.log, a.log_facility, a.lock_memory) == (b.log, b.log_facility, b.lock_memory);
        if !same {
            return Err(wrong("another control_socket, log, log_facility or lock_memory needs a restart"));
        }
        for (_, warning) in programs::warnings(&new, file) {
            writeln!(text, "warning: {warning}");
        }
        text += &self.rights.suffice(&new, file).map_err(|why| wrong(&why))?;
        Ok((Rc::new(new), text))
    }

    fn take_global(&mut self, new: &Config) {
        let global = &new.global;
        self.setup.router_id = global.router_id.clone().unwrap_or_else(super::host_name);
        self.jobs.reconfigure(new, &self.setup.router_id);
        logger::set_level(global.log_level);
        self.realtime.reconfigure(global.realtime_priority);
    }

    /// The virtual routers and HAProxy's supervisor; `files`: HAProxy's files have changed.
    fn reload_node(&mut self, old: &Config, new: &Config, files: bool) -> Vec<Change> {
        let now = clock::now();
        let changes = self.node.reconfigure(old, new, now);
        self.net.resize(self.node.links.len());
        self.recall_sequences();
        self.settle_fence(new);
        self.node.reconfigure_haproxy(new.haproxy.as_ref(), files, now);
        changes
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
                self.service = Some(Service::new(h, &self.setup.control_socket));
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
}
