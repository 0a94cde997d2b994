//! Whether this kernel can keep leases in nf_tables: found out by trying, without a trace.

use crate::base::text::Write;
use crate::config::{Config, Lease, Vrrp};
use crate::report::words;
use crate::sys::nft::Nft;
use crate::wire::nft::{OWNED, attempt};
use nix::errno::Errno;

/// Whether a configuration has addresses that are served by such leases, if the kernel can; and whether it
/// insists.
pub fn wanted(cfg: &Config) -> (bool, bool) {
    let has = |lease| cfg.vrrp.iter().any(|v| v.lease == lease && v.priority != 255);
    let insists = has(Lease::Fence) || cfg.vrrp.iter().any(|v| refuses(v));
    (has(Lease::Auto) || insists, insists)
}

/// `accept = no`; an owner accepts in any case (RFC 9568 §6.1).
pub fn refuses(v: &Vrrp) -> bool {
    !v.accept && v.priority != 255
}

/// What the kernel said, if it cannot.
fn refusal() -> Option<Errno> {
    let mut nft = match Nft::open() {
        Ok(nft) => nft,
        Err(e) => return Some(e),
    };
    let attempt = |flags| nft.batch(&|b| attempt(b, flags)).err();
    [OWNED, 0]
        .into_iter()
        .map(attempt)
        .find(|e| *e != Some(Errno::EOPNOTSUPP))
        .unwrap_or(Some(Errno::EOPNOTSUPP))
}

/// A line `file: warning: text` or `file: note: text` if the kernel cannot. Only root can try.
pub fn advice(cfg: &Config, name: &str) -> String {
    let (wanted, insists) = wanted(cfg);
    let mut out = String::new();
    if let Some(e) = refusal().filter(|_| wanted && nix::unistd::geteuid().is_root()) {
        let (level, lease) = match insists {
            true => ("warning", "lease = fence or accept = no"),
            false => ("note", "lease = auto"),
        };
        let why = words::errno(e as i32);
        writeln!(out, "{name}: {level}: {lease}: this kernel cannot (nf_tables: {why})");
    }
    out
}
