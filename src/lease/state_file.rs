//! The state file of a virtual router, `/run/vipd/control.vrrp.NAME`: what a restarted vipd must know to
//! resume as the master that it was, and what to clean up. Pure; a line `master FINGERPRINT` or `leaving
//! FINGERPRINT`, then for each VIP a line `ADDRESS INTERFACE`.

use crate::base::text::Write;
use crate::config::{Auth, Vrrp};
use std::net::IpAddr;

/// The content for a master (`leaving`: for one that handed over and must not resume).
pub fn render(cfg: &Vrrp, leaving: bool) -> String {
    let mut text = format!("{} {:016x}\n", if leaving { "leaving" } else { "master" }, fingerprint(cfg));
    // The owner's are not vipd's.
    for vip in cfg.held().filter(|_| cfg.priority != 255) {
        writeln!(text, "{} {}", vip.addr, vip.dev.as_ref().unwrap_or(&cfg.interface));
    }
    text
}

/// The VIPs that a file names, with their interfaces.
pub fn addresses(content: &str) -> impl Iterator<Item = (IpAddr, &str)> {
    content.lines().filter_map(|l| l.split_once(' ')).filter_map(|(a, dev)| Some((a.parse().ok()?, dev)))
}

/// Whether a file says that this very virtual router was master.
pub fn says_master(content: &str, cfg: &Vrrp) -> bool {
    content == render(cfg, false)
}

/// Over everything that makes a virtual router the same one to its peers: no secret can be read back
/// from 64 bits of it, and nobody but root writes the file.
fn fingerprint(cfg: &Vrrp) -> u64 {
    let mut text = String::new();
    write!(text, "{} {} {}", cfg.vrid, cfg.version as u8, cfg.interface);
    if let Some(src) = cfg.src_ip {
        write!(text, " from {src}");
    }
    for peer in &cfg.unicast_peers {
        write!(text, " to {peer}");
    }
    if cfg.use_vmac {
        text.push_str(" vmac");
    }
    for (n, vip) in cfg.held().enumerate() {
        let list = if n < cfg.vips.len() { "" } else { " excluded" };
        let dev = vip.dev.as_deref().unwrap_or_default();
        write!(text, "{list} {}/{} {dev}", vip.addr, vip.prefix);
    }
    let mut bytes = text.into_bytes();
    // Keys of `auth_hmac_key` come and go while the router stays.
    if let Auth::Pass(pass) | Auth::Ah(pass) = &cfg.auth {
        bytes.push(u8::from(matches!(cfg.auth, Auth::Ah(_))));
        bytes.extend(pass);
    }
    crate::base::hash::fnv1a(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema;

    fn cfg(change: &str) -> Vrrp {
        let text = format!(
            "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nauth_type = PASS\nauth_pass = 1111\n\
             virtual_ipaddress = 192.168.30.230/24\n{change}\n"
        );
        (*schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0.vrrp[0]).clone()
    }

    #[test]
    fn only_the_same_virtual_router_remembers() {
        let one = cfg("");
        let file = render(&one, false);
        assert!(says_master(&file, &one));
        assert!(says_master(&file, &cfg("priority = 7")), "priority is not identity");
        assert!(!says_master(&render(&one, true), &one));
        assert!(!says_master("", &one));
        assert!(!says_master(&file, &cfg("virtual_ipaddress = 192.168.30.231/24")));
        let mut other = one.clone();
        other.auth = Auth::Pass(*b"2222\0\0\0\0");
        assert!(!says_master(&file, &other));
        other.auth = Auth::Ah(*b"1111\0\0\0\0");
        assert!(!says_master(&file, &other));
        let mut other = one.clone();
        other.unicast_peers.push([192, 168, 30, 117].into());
        assert!(!says_master(&file, &other));
        assert!(!file.contains("1111"));
        for change in [
            "virtual_ipaddress_excluded = 192.168.30.231/24",
            "unicast_peer = 192.168.30.2",
            "unicast_src_ip = 192.168.30.1",
            "use_vmac = yes",
        ] {
            let other = cfg(change);
            assert!(!says_master(&file, &other), "{change}");
            assert!(says_master(&render(&other, false), &other), "{change}");
        }
        other.auth = Auth::Ah(*b"1111\0\0\0\0");
        assert!(!says_master(&file, &other), "PASS and AH with the same password");
        // What is advertised is not what is only held.
        let advertised = cfg("virtual_ipaddress = 192.168.30.231/24");
        let excluded = cfg("virtual_ipaddress_excluded = 192.168.30.231/24");
        assert!(!says_master(&render(&advertised, false), &excluded));
    }
}
