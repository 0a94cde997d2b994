//! Another configuration: read, judged, and taken over by each of its owners.

use super::haproxy::service::Service;
use super::requests::{REFUSED, WRONG};
use super::secrets;
use super::{Daemon, logger, nonlocal_bind};
use crate::base::secret::Secret;
use crate::base::text::Write;
use crate::config::diff::{self, Texts};
use crate::config::report::{Diagnostic, Report};
use crate::config::source::Source;
use crate::config::{Auth, Config, ini, schema};
use crate::node::{Change, What};
use crate::preflight::programs;
use crate::report::words;
use crate::sys::{clock, runtime};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::rc::Rc;

/// What `vipd reload --dry-run` says of the configuration that it has.
pub(super) const NO_CHANGE: &str = "nothing would change\n";

/// A configuration file, up to one octet more than it may have.
pub fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    runtime::read(file, u64::try_from(ini::MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1))
}

/// Reads the files of a configuration, with the variables of this process's environment; what is wrong with
/// those goes into the report.
///
/// # Errors
///
/// The file that cannot be read, and why.
pub fn read_source(files: &[&Path], source: &mut Source, report: &mut Report) -> Result<(), String> {
    let env = |name: &str| std::env::var_os(name).map(|value| Secret(value.into_vec()));
    for file in files {
        // It is wiped in the end: it may hold keys.
        let bytes = read_file(file).map(Secret);
        let bytes = bytes.map_err(|e| format!("vipd: {}: {}\n", file.display(), words::io_error(&e)))?;
        source.add(file, &bytes.0, &env, report);
    }
    Ok(())
}

/// A configuration with its text.
pub struct Loaded {
    /// The text of its files.
    pub source: Source,
    /// What they say.
    pub config: Rc<Config>,
    /// Warnings, one `file:line: message` per line.
    pub warnings: String,
}

/// Reads the files of a configuration: it and its text, or all errors, one `file:line: message` per line.
///
/// # Errors
///
/// Anything that vipd.ini(5) does not allow.
pub fn read_config(files: &[&Path]) -> Result<Box<Loaded>, String> {
    let (mut source, mut report) = (Source::default(), Report::default());
    read_source(files, &mut source, &mut report)?;
    let (cfg, kind, said) = match schema::read(&source, &secrets::read, report) {
        Ok((cfg, warnings)) => (Some(Rc::new(cfg)), "warning: ", warnings),
        Err(errors) => (None, "", errors),
    };
    let warnings = render(&source, kind, &said);
    let Some(config) = cfg else { return Err(warnings) };
    keep_secrets(&config);
    Ok(Box::new(Loaded { source, config, warnings }))
}

/// `file:line: message`, a line each.
pub fn render(source: &Source, kind: &str, said: &[Diagnostic]) -> String {
    let mut text = String::new();
    for d in said {
        writeln!(text, "{}: {kind}{}", source.files.place(d.line), d.message);
    }
    text
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
    /// not. `haproxy`: HAProxy is reloaded in any case.
    pub(super) fn try_reload(&mut self, haproxy: bool) -> Result<String, (u8, String)> {
        if self.node.is_stopping() {
            return Err((REFUSED, "vipd is stopping\n".to_owned()));
        }
        let loaded = self.read_new().map_err(|why| (WRONG, why))?;
        let Loaded { source, config: new, warnings: mut text } = *loaded;
        let wrong = |why| (WRONG, format!("{}: {why}\n", source.files.place(0)));
        if haproxy && new.haproxy.is_none() {
            return Err((WRONG, "there is no [haproxy] section\n".to_owned()));
        }
        text += &self.rights.suffice(&new, &source.files).map_err(wrong)?;
        self.prepare_fence(&new).map_err(|why| (REFUSED, format!("{why}\n")))?;
        let before = text.len();
        let old = std::mem::replace(&mut self.setup.config, new.clone());
        let before_source = std::mem::take(&mut self.setup.source);
        let texts = Texts::new(&before_source, &source);
        text += &diff::sections(&old, &new, &texts);
        self.take_global(&new);
        self.checks.reconfigure(&old, &new);
        let files = self.reload_service(&old, &new, haproxy, &mut text);
        for c in self.reload_node(&old, &new, files) {
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
        self.setup.source = source;
        if let Some((at, Some(why))) = self.http.state().0 {
            writeln!(text, "warning: http: cannot listen on {at}: {why}");
        }
        if text.len() == before {
            text.push_str("nothing has changed\n");
        }
        Ok(text)
    }

    /// Reads the files: their text, the configuration, and warnings.
    fn read_new(&self) -> Result<Box<Loaded>, String> {
        let old = &self.setup.source;
        // To open a pipe is to wait for a process that writes to it.
        if let Some(file) = old.files.paths().into_iter().find(|f| f.metadata().is_ok_and(|m| !m.is_file())) {
            return Err(format!("{}: this is not a file\n", file.display()));
        }
        let mut loaded = read_config(&old.files.paths())?;
        let Loaded { source, config: new, warnings } = &mut *loaded;
        let texts = Texts::new(old, source);
        let place = |kind, section, key| source.files.place(texts.line(kind, section, key));
        if let Some(u) = programs::unknown_user(new) {
            return Err(format!("{}: {u}\n", place(u.kind, u.section, u.key)));
        }
        if let Some(key) = diff::needs_restart(&self.setup.config, new) {
            return Err(format!("{}: another {key} needs a restart\n", place("global", "", key)));
        }
        for (_, warning) in programs::warnings(new, &source.files) {
            writeln!(warnings, "warning: {warning}");
        }
        Ok(loaded)
    }

    /// What a reload would change, or why it would be refused.
    pub(super) fn would_change(&self) -> Result<String, String> {
        let Loaded { source, config: new, warnings } = *self.read_new()?;
        let wrong = |why| format!("{}: {why}\n", source.files.place(0));
        self.rights.check(&new, &source.files).map_err(wrong)?;
        let texts = Texts::new(&self.setup.source, &source);
        let text = diff::describe(&self.setup.config, &new, &texts);
        Ok(warnings + if text.is_empty() { NO_CHANGE } else { &text })
    }

    fn take_global(&mut self, new: &Config) {
        let global = &new.global;
        self.setup.router_id = global.router_id.clone().unwrap_or_else(runtime::host_name);
        self.jobs.reconfigure(new, &self.setup.router_id);
        logger::set_level(global.log_level);
        self.realtime.reconfigure(global.realtime_priority);
        self.http.reconfigure(clock::now(), global.http.as_ref());
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

    /// HAProxy's section, as far as it is not the supervisor's; returns whether HAProxy is to be reloaded:
    /// because its files have changed, or `in_any_case`.
    fn reload_service(&mut self, old: &Config, new: &Config, in_any_case: bool, text: &mut String) -> bool {
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
                let limited = super::logger::is_syslog(new.global.log);
                self.service = Some(Service::new(h, &self.setup.control_socket, limited));
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
            (true, false) if in_any_case => "HAProxy: checking its files, then reloading it\n",
            (true, false) if runs != *h => "HAProxy: changed\n",
            (true, false) => "",
        });
        files || in_any_case
    }
}
