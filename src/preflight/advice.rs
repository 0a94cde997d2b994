//! What is valid but unwise; mostly for `vipd -t`.

use crate::base::text::Write;
use crate::config::schema::is_inline;
use crate::config::source::Source;
use crate::config::{Auth, Config};
use crate::haproxy::config_file;
use crate::sys::{dir, runtime};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How many octets of a haproxy.cfg are read.
pub(crate) const MAX_SIZE: usize = 1 << 20;
/// How many files of a directory are read.
const MAX_FILES: usize = 256;

/// Files with a password that others may read, or change: what to do.
pub fn open_secrets(source: &Source) -> String {
    let (mut out, sections) = (String::new(), source.sections());
    for file in source.files.paths() {
        if !fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o077 != 0) {
            continue;
        }
        let mut here = false;
        for e in sections.iter().flat_map(|s| &s.entries) {
            // What an image has from its environment is not in the file.
            here |= is_inline(e) && source.is_literal(e.line) && source.files.path(e.line) == Some(file);
        }
        if here {
            let name = file.display();
            writeln!(out, "{name}: warning: others may read the password or key in it: chmod 600 {name}");
        }
    }
    out
}

/// Lines `file:line: warning: text` or `file: note: text`.
pub fn advice(cfg: &Config, source: &Source) -> String {
    let mut out = open_secrets(source);
    for (index, v) in cfg.vrrp.iter().enumerate() {
        let at = source.files.place(v.line.0);
        match v.auth {
            Auth::None if !v.unicast_peers.is_empty() => writeln!(
                out,
                "{at}: warning: unicast_peer without authentication: whoever can forge a peer's address \
                 can take the addresses over, see auth_hmac_key"
            ),
            Auth::Pass(_) => writeln!(
                out,
                "{at}: note: auth_type = PASS sends its password in clear: it only protects from mistakes, \
                 see auth_hmac_key"
            ),
            _ => {}
        }
        if v.is_ipv6() && !v.unicast_peers.is_empty() {
            writeln!(out, "{at}: note: with IPv6 a keepalived needs unicast_ttl 255");
        }
        if !v.preempt && !v.preempt_delay.is_zero() {
            writeln!(out, "{at}: warning: preempt_delay has no effect with preempt = no");
        }
        if v.down_timer_adverts == 1 {
            writeln!(
                out,
                "{at}: warning: down_timer_adverts = 1: an advert that is lost or late is a failover"
            );
        }
        for vip in v.held() {
            if let Some(what) = not_a_host(vip.addr, vip.prefix) {
                let (addr, prefix) = (vip.addr, vip.prefix);
                writeln!(out, "{at}: warning: {addr}/{prefix} is {what}, not a host's");
            }
        }
        let mut before = cfg.vrrp.iter().take(index).filter(|b| b.is_ipv6() == v.is_ipv6());
        if let Some(b) = before.find(|b| b.vrid == v.vrid) {
            let (one, two) = (&b.interface, &v.interface);
            writeln!(
                out,
                "{at}: note: virtual_router_id = {} as in [vrrp {}]: wrong if {one} and {two} are one network",
                v.vrid, b.name
            );
        }
    }
    haproxy(cfg, &mut out);
    out
}

/// Names an address that no host of its subnet should have. In /31, /32, /127 and /128 every address is a
/// host's.
fn not_a_host(addr: IpAddr, prefix: u8) -> Option<&'static str> {
    match addr {
        IpAddr::V4(a) if prefix < 31 => match a.to_bits() << prefix {
            0 => Some("the network's address"),
            host if host == u32::MAX << prefix => Some("the broadcast address"),
            _ => None,
        },
        IpAddr::V6(a) if prefix < 127 && a.to_bits() << prefix == 0 => Some("the routers' anycast address"),
        _ => None,
    }
}

fn haproxy(cfg: &Config, out: &mut String) {
    let Some(h) = &cfg.haproxy else { return };
    let vips: Vec<IpAddr> = match h.nonlocal_bind {
        true => Vec::new(),
        false => cfg.vrrp.iter().flat_map(|v| v.held()).map(|v| v.addr).collect(),
    };
    let mut bounded = false;
    for file in files(&h.config) {
        let text = read(&file);
        bounded |= config_file::has_hard_stop_after(&text);
        for (line, dir) in config_file::chroots(&text).filter(|(_, dir)| !Path::new(dir).is_dir()) {
            writeln!(out, "{}:{line}: warning: chroot {dir}: there is no such directory", file.display());
        }
        for line in config_file::binds_without_transparent(&text, &vips) {
            let why = "with nonlocal_bind = no a backup cannot bind this: add `transparent`";
            writeln!(out, "{}:{line}: warning: {why}", file.display());
        }
    }
    if let (false, Some(first)) = (bounded, h.config.first()) {
        let text =
            "no hard-stop-after: after a reload the old process stays as long as its longest connection";
        writeln!(out, "{}: warning: {text}", first.display());
    }
}

/// The text of a haproxy.cfg. HAProxy itself complains about a file that cannot be read.
pub(crate) fn read(file: &Path) -> String {
    // A pipe would block.
    let bytes = if file.is_file() { runtime::read(file, MAX_SIZE as u64) } else { Ok(Vec::new()) };
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// The files, and of directories their `*.cfg`.
pub(crate) fn files(config: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in config {
        match dir::files(path, "", ".cfg") {
            Ok(mut files) => {
                files.retain(|p| p.is_file());
                files.truncate(MAX_FILES);
                all.append(&mut files);
            }
            Err(_) => all.push(path.clone()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::Report;
    use crate::config::schema::parse;

    fn source(file: &Path, text: &str) -> Source {
        let mut source = Source::default();
        source.add(file, text.as_bytes(), &|_| None, &mut Report::default());
        source
    }

    #[test]
    fn of_addresses_and_preemption() {
        let what = |addr: &str, prefix| not_a_host(addr.parse().expect("an address"), prefix);
        for (addr, prefix, word) in [
            ("192.168.1.0", 24, "network"),
            ("192.168.1.255", 24, "broadcast"),
            ("192.168.1.4", 30, "network"),
            ("192.168.1.7", 30, "broadcast"),
            ("10.0.0.0", 1, ""),
            ("128.0.0.0", 1, "network"),
            ("192.168.1.255", 23, "broadcast"),
            ("192.168.0.255", 23, ""),
            ("192.168.1.0", 31, ""),
            ("192.168.1.1", 31, ""),
            ("192.168.1.255", 32, ""),
            ("2001:db8::", 64, "anycast"),
            ("2001:db8::1", 64, ""),
            ("2001:db8::ffff", 112, ""),
            ("2001:db8::", 127, ""),
            ("2001:db8::", 128, ""),
        ] {
            match what(addr, prefix) {
                Some(text) => assert!(!word.is_empty() && text.contains(word), "{addr}/{prefix}: {text}"),
                None => assert_eq!(word, "", "{addr}/{prefix}"),
            }
        }
        let text = "[vrrp A]\ninterface = eth0\nvirtual_router_id = 1\npreempt = no\npreempt_delay = 5\n\
                    virtual_ipaddress = 192.0.2.1/24, 192.0.2.255/24\nvirtual_ipaddress_excluded = 192.0.3.0/24\n";
        let of =
            |text: &str| advice(&parse(text).expect("valid").0, &source(Path::new("/nowhere.ini"), text));
        assert_eq!(
            of(text),
            "/nowhere.ini:1: warning: preempt_delay has no effect with preempt = no\n\
             /nowhere.ini:1: warning: 192.0.2.255/24 is the broadcast address, not a host's\n\
             /nowhere.ini:1: warning: 192.0.3.0/24 is the network's address, not a host's\n"
        );
        assert!(!of(&text.replace("preempt = no\n", "")).contains("preempt"));
        let hasty = text.replace("preempt = no\n", "down_timer_adverts = 1\n");
        assert!(
            of(&hasty).contains(
                ":1: warning: down_timer_adverts = 1: an advert that is lost or late is a failover"
            )
        );
    }

    #[test]
    fn of_vipd_ini() {
        let dir = std::env::temp_dir().join(format!("vipd-advice-{}", std::process::id()));
        fs::create_dir_all(dir.join("conf.d")).expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
        write("conf.d/a.cfg", "global\n");
        write("conf.d/b.txt", "hard-stop-after 1s\n");
        write("conf.d/c.cfg", "frontend f\n    bind 192.0.2.10:80\n  chroot /no/jail # x\n");
        let (file, conf) = (dir.join("vipd.ini"), dir.join("conf.d"));
        let text = format!(
            "[haproxy]\nconfig = {0}\nnonlocal_bind = no\n[check c]\ntype = exec\ntarget = {0}\n\
             [check d]\ntype = exec\ntarget = /bin/sh -c true\n\
             [vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.10\n\
             auth_type = PASS\nauth_pass = x\ntrack = c, d\n\
             [vrrp B]\ninterface = eth1\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.11\n\
             [vrrp C]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = fe80::10\nunicast_peer = fe80::2\n",
            conf.display()
        );
        fs::write(&file, &text).expect("written");
        let (cfg, _) = parse(&text).expect("valid");
        let advice_with = |mode: u32| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            advice(&cfg, &source(&file, &text)).replace(&format!("{}/", dir.display()), "")
        };
        let rest = "vipd.ini:10: note: auth_type = PASS sends its password in clear: it only protects from mistakes, see auth_hmac_key\n\
             vipd.ini:17: note: virtual_router_id = 51 as in [vrrp A]: wrong if eth0 and eth1 are one network\n\
             vipd.ini:21: warning: unicast_peer without authentication: whoever can forge a peer's address can take the \
             addresses over, see auth_hmac_key\n\
             vipd.ini:21: note: with IPv6 a keepalived needs unicast_ttl 255\n\
             conf.d/c.cfg:3: warning: chroot /no/jail: there is no such directory\n\
             conf.d/c.cfg:2: warning: with nonlocal_bind = no a backup cannot bind this: add `transparent`\n\
             conf.d: warning: no hard-stop-after: after a reload the old process stays as long as its longest connection\n";
        let rest = rest.replace(&format!("{}/", dir.display()), "");
        assert_eq!(advice_with(0o600), rest.clone());
        let with = advice_with(0o640);
        assert_eq!(
            with,
            format!(
                "vipd.ini: warning: others may read the password or key in it: chmod 600 vipd.ini\n{rest}"
            )
        );
        write("conf.d/d.cfg", "global\n hard-stop-after 1s\n");
        assert!(!advice(&cfg, &source(&file, &text)).contains("hard-stop-after"));
        let _ = fs::remove_dir_all(&dir);
    }
}
