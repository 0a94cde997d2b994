//! The files that outlive a vipd: which router was master, its addresses, and the sequence numbers that are
//! used up.

use super::Daemon;
use super::network::links::promote_secondaries;
use crate::base::log;
use crate::lease::state_file;
use crate::node::{Memory, Router};
use crate::report::words;
use crate::sys::runtime;
use nix::net::if_::if_nametoindex;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the state files name, those of routers that are no longer configured included.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Addresses, with the index of their interface, if it still exists.
    addresses: Vec<(IpAddr, u32)>,
    /// Files of routers that are no longer configured.
    orphans: Vec<PathBuf>,
}

impl Daemon {
    /// Reads the state files. Returns for each router whether it was master, and what the files name.
    pub(super) fn recall(&mut self) -> (Vec<bool>, Named) {
        self.recall_sequences();
        let path = &self.setup.control_socket;
        let mut was_master = Vec::new();
        for router in &self.node.routers {
            let content = remembered(&state_file(path, &router.cfg.name));
            was_master.push(content.is_some_and(|content| state_file::says_master(&content, &router.cfg)));
        }
        (was_master, self.recall_addresses())
    }

    /// Tells the routers that need them and do not know them which sequence numbers are used up.
    pub(super) fn recall_sequences(&mut self) {
        for router in self.node.without_sequence() {
            if let Some(file) = sequence_file(&self.setup.control_socket, &self.node.routers[router]) {
                self.node.restore_sequence(router, remembered(&file).as_deref());
            }
        }
    }

    fn recall_addresses(&mut self) -> Named {
        let mut named = Named::default();
        let path = &self.setup.control_socket;
        let all = state_file(path, "");
        let all = all.as_os_str().as_bytes();
        let Some(dir) = path.parent().and_then(|d| std::fs::read_dir(d).ok()) else { return named };
        for file in dir.flatten() {
            let path = file.path();
            let Some(name) = path.as_os_str().as_bytes().strip_prefix(all) else { continue };
            let Some(content) = remembered(&path) else { continue };
            for (addr, dev) in state_file::addresses(&content) {
                self.node.remember_address(addr);
                if let Ok(ifindex) = if_nametoindex(dev) {
                    promote_secondaries(dev);
                    named.addresses.push((addr, ifindex));
                }
            }
            if self.node.routers.iter().all(|r| r.cfg.name.as_bytes() != name) {
                named.orphans.push(path);
            }
        }
        named
    }

    /// Removes addresses that are no longer configured, before the first advert.
    pub(super) fn remove_leftovers(&mut self, named: &Named) -> nix::Result<()> {
        let ops = self.node.addrs.leftovers(&named.addresses);
        if !ops.is_empty() {
            let errnos = self.net.netlink.carry_out(ops.len(), &|out, seq, i| ops[i].encode(out, seq));
            for (op, errno) in ops.iter().zip(&errnos) {
                let done = if *errno == 0 { "removed".into() } else { words::errno(*errno) };
                log::warn!("{} is not configured any more: {done}", op.addr);
            }
            self.dump()?;
            if errnos.iter().any(|errno| *errno != 0) {
                return Ok(());
            }
        }
        for file in &named.orphans {
            let _ = std::fs::remove_file(file);
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, router: usize, memory: Memory) {
        let router = &self.node.routers[router];
        let cfg = &router.cfg;
        let mut file = state_file(&self.setup.control_socket, &cfg.name);
        let done = match memory {
            Memory::Sequence => {
                let Some(path) = sequence_file(&self.setup.control_socket, router) else { return };
                file = path;
                runtime::replace_file(&file, &router.auth.render())
            }
            Memory::Nothing => match std::fs::remove_file(&file) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
            m => runtime::replace_file(&file, &state_file::render(cfg, m == Memory::Leaving)),
        };
        match done {
            Ok(()) => self.unwritable.rearm(),
            // Sequences are written often: a full disk is logged once.
            Err(e) if self.unwritable.pass() || memory != Memory::Sequence => {
                let (file, why) = (file.display(), words::io_error(&e));
                log::warn!("cannot write {file}: {why}: a restarted vipd does not resume from it");
            }
            Err(_) => {}
        }
    }

    /// Removes the state file of a router that has left.
    pub(super) fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(state_file(&self.setup.control_socket, name));
    }
}

/// The content of a state file.
pub(super) fn remembered(file: &Path) -> Option<String> {
    let text = runtime::read_file(file);
    if let Err(e) = &text
        && e.kind() != ErrorKind::NotFound
    {
        log::warn!("cannot read {}: {}", file.display(), words::io_error(e));
    }
    text.ok()
}

/// The file that says that a router was master.
fn state_file(control_socket: &Path, name: &str) -> PathBuf {
    runtime::with_suffix(control_socket, &format!(".vrrp.{name}"))
}

/// The file of the sequence numbers, if the router's authentication has any. They outlive the mastership and
/// a change of the key.
fn sequence_file(control_socket: &Path, router: &Router) -> Option<PathBuf> {
    Some(runtime::with_suffix(control_socket, &format!(".{}.{}", router.auth.file()?, router.cfg.name)))
}
