//! The capabilities of this process and its children: what is not needed is given up at the start.

use super::{Fatal, fatal};
use crate::base::log;
use crate::config::Config;
use crate::config::source::Files;
use crate::preflight::advice;
use crate::preflight::capabilities::{self, Needs, VITAL};
use crate::sys::{capability, runtime};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What this process has kept, and what it has given up.
#[derive(Debug)]
pub(super) struct Rights {
    /// In effect.
    own: u64,
    /// Given up, as far as children of root could have used it.
    dropped: u64,
}

/// What the configuration needs. HAProxy inherits the capabilities, so its files count too.
fn needs(cfg: &Config, ini: &Files) -> Needs {
    let ports = runtime::read_sysctl("net/ipv4/ip_unprivileged_port_start");
    let ports = ports.and_then(|p| p.parse().ok()).unwrap_or(1024);
    let mut reasons = ini.paths().into_iter().fold(0, |all, file| all | among_foreign(file));
    for file in cfg.haproxy.as_ref().map(|h| advice::files(&h.config)).unwrap_or_default() {
        reasons |= among_foreign(&file);
        reasons |= capabilities::scan(&advice::read(&file), ports, is_foreign);
    }
    Needs::of(cfg, reasons)
}

/// Whether reading a file again takes a capability: root without one cannot read files that their owner keeps
/// private.
fn among_foreign(file: &Path) -> capabilities::Reasons {
    let path = std::fs::canonicalize(file).unwrap_or_default();
    let foreign = path.ancestors().filter_map(Path::to_str).any(is_foreign);
    if foreign { capabilities::FOREIGN } else { 0 }
}

fn is_foreign(dir: &str) -> bool {
    std::fs::metadata(dir).is_ok_and(|m| m.uid() != 0)
}

impl Rights {
    /// Nothing is looked at, and nothing given up.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Rights { own: 0, dropped: 0 }
    }

    /// Logs what is missing and gives up what is not needed. Call before opening any descriptor.
    pub(super) fn take(cfg: &Config, ini: &Files) -> Result<Self, Fatal> {
        let needs = needs(cfg, ini);
        let (own, children) = capability::held();
        let missing = needs.name(!own & (needs.own | VITAL) | !children & !needs.own);
        if !own & VITAL != 0 {
            return Err(fatal(&"missing capability", &missing));
        }
        if !missing.is_empty() {
            log::warn!("missing capability: {missing}");
        }
        capability::restrict(needs.own, needs.kept);
        Ok(Rights { own: needs.own, dropped: children & !needs.kept })
    }

    /// What a new configuration needs, or why it needs a restart.
    pub(super) fn check(&self, cfg: &Config, ini: &Files) -> Result<Needs, String> {
        let needs = needs(cfg, ini);
        let lost = needs.name(self.dropped);
        match lost.as_str() {
            "" => Ok(needs),
            lost => Err(format!("needs a restart: capabilities were dropped at the start: {lost}")),
        }
    }

    /// Takes up again, of what was kept, what a new configuration needs; returns a warning, or why it needs a
    /// restart.
    pub(super) fn suffice(&mut self, cfg: &Config, ini: &Files) -> Result<String, String> {
        let needs = self.check(cfg, ini)?;
        // Nothing more is given up: processes that an earlier configuration started may have to be killed.
        self.own |= needs.own;
        capability::restrict(self.own, u64::MAX);
        Ok(match needs.commands && self.dropped != 0 {
            true => {
                "warning: until a restart, commands have only the capabilities that vipd kept at its start\n"
                    .into()
            }
            false => String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    #[test]
    fn a_file_of_somebody_else_or_in_his_directory_is_foreign() {
        let dir = std::env::temp_dir().join(format!("vipd-rights-{}", std::process::id()));
        let file = dir.join("vipd.ini");
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(&file, "").unwrap_or_else(|e| panic!("{e}"));
        // Only root can give them away.
        if chown(&file, Some(0), None).is_ok() && chown(&dir, Some(0), None).is_ok() {
            assert_eq!(among_foreign(&file), 0);
            for path in [&file, &dir] {
                chown(path, Some(65534), None).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(among_foreign(&file), capabilities::FOREIGN, "{}", path.display());
                chown(path, Some(0), None).unwrap_or_else(|e| panic!("{e}"));
            }
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}
