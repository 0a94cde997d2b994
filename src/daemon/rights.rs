//! The capabilities of this process and its children: what is not needed is given up at the start.

use super::{Fatal, fatal};
use crate::advice;
use crate::config::Config;
use crate::privilege::{self, Needs, VITAL};
use crate::sys::{capability, runtime};

/// What there is, and what there was.
#[derive(Debug)]
pub(super) struct Rights {
    /// In effect.
    own: u64,
    /// Given up, as far as children of root could have had it.
    dropped: u64,
}

/// Looks at HAProxy's files: HAProxy inherits what there is.
fn needs(cfg: &Config) -> Needs {
    let ports = runtime::read_sysctl("net/ipv4/ip_unprivileged_port_start");
    let ports = ports.and_then(|p| p.parse().ok()).unwrap_or(1024);
    let mut reasons = 0;
    for file in cfg.haproxy.iter().flat_map(|h| &h.config).flat_map(|path| advice::files(path)) {
        reasons |= privilege::scan(&advice::read(&file), ports, is_foreign);
    }
    Needs::of(cfg, reasons)
}

fn is_foreign(dir: &str) -> bool {
    nix::sys::stat::stat(dir).is_ok_and(|s| s.st_uid != 0)
}

impl Rights {
    /// Names what is missing, and gives up what is not needed. Before any descriptor that could be had by it.
    pub(super) fn take(cfg: &Config) -> Result<Self, Fatal> {
        let needs = needs(cfg);
        let (own, children) = capability::held();
        let missing = needs.name(!own & (needs.own | VITAL) | !children & !needs.own);
        if !own & VITAL != 0 {
            return Err(fatal("missing capability", missing));
        }
        if !missing.is_empty() {
            log::warn!("missing capability: {missing}");
        }
        capability::restrict(needs.own, needs.kept);
        Ok(Rights { own: needs.own, dropped: children & !needs.kept })
    }

    /// Whether a new configuration can be had with what was kept; if so, takes of that what it needs, and returns a
    /// warning, if there is one.
    pub(super) fn suffice(&mut self, cfg: &Config) -> Result<String, String> {
        let needs = needs(cfg);
        let lost = needs.name(self.dropped);
        if !lost.is_empty() {
            return Err(format!("needs a restart: capabilities were dropped at the start: {lost}"));
        }
        // Nothing is taken back: what an earlier configuration started may have to be ended.
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
