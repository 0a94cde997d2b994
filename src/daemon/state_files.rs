//! The files that outlive a vipd: who was master, with which addresses, and which sequence numbers are used up.

use super::Daemon;
use crate::lease::state_file;
use crate::node::Memory;
use crate::node::Router;
use crate::report::words;
use crate::sys::runtime;
use nix::net::if_::if_nametoindex;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the state files of all virtual routers say, also of those that are not configured any more.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Addresses and the interfaces that still exist.
    addresses: Vec<(IpAddr, u32)>,
    /// The files of those that are not configured any more.
    orphans: Vec<PathBuf>,
}

impl Daemon {
    /// Reads them. Of each virtual router whether it was master.
    pub(super) fn recall(&mut self) -> (Vec<bool>, Named) {
        let (mut was_master, mut named) = (Vec::new(), Named::default());
        for i in &mut self.node.routers {
            recall_sequences(&self.control_socket, i);
            let content = remembered(&state_file(&self.control_socket, &i.cfg.name));
            was_master.push(content.is_some_and(|content| state_file::says_master(&content, &i.cfg)));
        }
        let all = state_file(&self.control_socket, "");
        let all = all.as_os_str().as_bytes();
        let Some(dir) = self.control_socket.parent().and_then(|d| std::fs::read_dir(d).ok()) else {
            return (was_master, named);
        };
        for file in dir.flatten() {
            let path = file.path();
            let Some(name) = path.as_os_str().as_bytes().strip_prefix(all) else { continue };
            let Some(content) = remembered(&path) else { continue };
            for (addr, dev) in state_file::addresses(&content) {
                self.node.addrs.remember(addr);
                if let Ok(ifindex) = if_nametoindex(dev) {
                    super::network::links::promote_secondaries(dev);
                    named.addresses.push((addr, ifindex));
                }
            }
            if self.node.routers.iter().all(|i| i.cfg.name.as_bytes() != name) {
                named.orphans.push(path);
            }
        }
        (was_master, named)
    }

    /// Removes what is not configured any more, before anything is advertised.
    pub(super) fn remove_leftovers(&mut self, named: &Named) -> nix::Result<()> {
        let ops = self.node.addrs.leftovers(&named.addresses);
        if !ops.is_empty() {
            let errnos = self.netlink.carry_out(ops.len(), &|out, seq, i| ops[i].encode(out, seq));
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
        let mut file = state_file(&self.control_socket, &cfg.name);
        let done = match memory {
            Memory::Sequence => {
                let Some(path) = sequence_file(&self.control_socket, router) else { return };
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
            Ok(()) => self.unwritable = false,
            // Sequences are written with every advert: a full disk is logged once.
            Err(_) if memory == Memory::Sequence && self.unwritable => {}
            Err(e) => {
                self.unwritable = true;
                log::warn!("{}: {e}", file.display());
            }
        }
    }
}

/// What an earlier vipd wrote down.
pub(super) fn remembered(file: &Path) -> Option<String> {
    let text = runtime::read_file(file);
    if let Err(e) = &text
        && e.kind() != ErrorKind::NotFound
    {
        log::warn!("{}: {e}", file.display());
    }
    text.ok()
}

/// Where is kept that a virtual router was master.
pub(super) fn state_file(control_socket: &Path, name: &str) -> PathBuf {
    runtime::with_suffix(control_socket, &format!(".vrrp.{name}"))
}

/// Reads the sequences that a virtual router has used up, if it needs them and does not know them.
pub(super) fn recall_sequences(control_socket: &Path, router: &mut Router) {
    if router.auth.wants_file()
        && let Some(file) = sequence_file(control_socket, router)
    {
        router.auth.restore(remembered(&file).as_deref());
    }
}

/// Where they are kept. They outlive the mastership, and a change of the key.
fn sequence_file(control_socket: &Path, router: &Router) -> Option<PathBuf> {
    Some(runtime::with_suffix(control_socket, &format!(".{}.{}", router.auth.file()?, router.cfg.name)))
}
