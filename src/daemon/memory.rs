//! The files that outlive a vipd: who was master, with which addresses, and which sequence numbers are used up.

use super::Daemon;
use crate::config;
use crate::memory;
use crate::node::Memory;
use crate::sys::runtime;
use crate::vrrp::replay::Replay;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What the state files of all virtual routers say, also of those that are not configured any more.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Addresses and interfaces.
    addresses: Vec<(IpAddr, String)>,
    /// The files of those.
    orphans: Vec<PathBuf>,
}

impl Daemon {
    /// Reads them. Of each virtual router whether it was master.
    pub(super) fn recall(&mut self) -> (Vec<bool>, Named) {
        let (mut remembered, mut named) = (Vec::new(), Named::default());
        for i in &mut self.node.instances {
            let file = sequence_file(&self.control_socket, &i.cfg);
            if let Some(replay) = std::fs::read_to_string(file).ok().and_then(|s| Replay::parse(&s)) {
                i.replay = replay;
            }
            let file = std::fs::read_to_string(state_file(&self.control_socket, &i.cfg.name));
            remembered.push(file.is_ok_and(|content| memory::says_master(&content, &i.cfg)));
        }
        let all = state_file(&self.control_socket, "");
        let (Some(dir), Some(prefix)) = (all.parent(), all.file_name().and_then(|n| n.to_str())) else {
            return (remembered, named);
        };
        for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(name) = name.to_str().and_then(|n| n.strip_prefix(prefix)) else { continue };
            let Ok(content) = std::fs::read_to_string(file.path()) else { continue };
            named.addresses.extend(memory::addresses(&content).map(|(a, dev)| (a, dev.to_owned())));
            if self.node.instances.iter().all(|i| i.cfg.name != name) {
                named.orphans.push(file.path());
            }
        }
        for (addr, _) in &named.addresses {
            self.node.addrs.remember(*addr);
        }
        (remembered, named)
    }

    /// Removes what is not configured any more, before anything is advertised.
    pub(super) fn remove_leftovers(&mut self, named: &Named) -> nix::Result<()> {
        let index =
            |(addr, dev): &(IpAddr, String)| Some((*addr, if_nametoindex(dev.as_str()).ok()?, dev.clone()));
        let there: Vec<(IpAddr, u32, String)> = named.addresses.iter().filter_map(index).collect();
        let ops = self.node.addrs.leftovers(|a| there.iter().any(|t| (t.0, t.1) == (a.addr, a.ifindex)));
        let mut done = true;
        if !ops.is_empty() {
            for (.., dev) in &there {
                super::links::promote_secondaries(dev);
            }
            for (op, errno) in self.netlink.carry_out(ops) {
                match errno {
                    0 => log::info!("{} is not configured any more: removed", op.addr),
                    libc::EADDRNOTAVAIL | libc::ENODEV => {}
                    errno => {
                        done = false;
                        let why = Errno::from_raw(errno).desc();
                        log::error!("{} is not configured any more and cannot be removed: {why}", op.addr);
                    }
                }
            }
            self.dump()?;
        }
        for file in named.orphans.iter().filter(|_| done) {
            let _ = std::fs::remove_file(file);
        }
        Ok(())
    }

    pub(super) fn remember(&self, inst: usize, memory: Memory) {
        let cfg = &self.node.instances[inst].cfg;
        let mut file = state_file(&self.control_socket, &cfg.name);
        let done = match memory {
            Memory::Sequence => {
                file = sequence_file(&self.control_socket, cfg);
                runtime::replace_file(&file, &self.node.instances[inst].replay.render())
            }
            Memory::Nothing => match std::fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
            m => runtime::replace_file(&file, &memory::render(cfg, m == Memory::Leaving)),
        };
        if let Err(e) = done {
            log::warn!("{}: {e}", file.display());
        }
    }
}

/// Where is kept that a virtual router was master.
pub(super) fn state_file(control_socket: &Path, name: &str) -> PathBuf {
    runtime::with_suffix(control_socket, &format!(".vrrp.{name}"))
}

/// Where the sequence numbers are kept. They outlive the mastership, and a change of the key.
pub(super) fn sequence_file(control_socket: &Path, v: &config::Vrrp) -> PathBuf {
    runtime::with_suffix(control_socket, &format!(".ah.{}", v.name))
}
