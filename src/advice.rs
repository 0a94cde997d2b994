//! What is legal but unwise, mostly for `vipd -t` only.

use crate::config::{Auth, CheckKind, Config};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Octets of a file of HAProxy's that are looked at.
const MAX_SIZE: u64 = 1 << 20;
/// Files of a directory that are looked at.
const MAX_FILES: usize = 256;

/// A password that others may read, or change.
pub fn open_secret(cfg: &Config, file: &Path) -> Option<String> {
    let secret = cfg.vrrp.iter().any(|v| v.auth != Auth::None);
    let open = secret && fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    open.then(|| format!("others may read the password in it: chmod 600 {}", file.display()))
}

/// Lines `file:line: warning: text` or `file: note: text`.
pub fn advice(cfg: &Config, file: &Path) -> String {
    let mut out = String::new();
    let name = file.display();
    if let Some(told) = open_secret(cfg, file) {
        let _ = writeln!(out, "{name}: warning: {told}");
    }
    for c in &cfg.checks {
        if let CheckKind::Exec { argv, .. } = &c.kind
            && let Some(program) = argv.first()
            && !fs::metadata(program).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        {
            let _ =
                writeln!(out, "{name}: warning: [check {}]: {program} is no program that can be run", c.name);
        }
    }
    for (index, v) in cfg.vrrp.iter().enumerate() {
        let line = v.line;
        if v.is_ipv6() && !v.unicast_peers.is_empty() {
            let _ = writeln!(out, "{name}:{line}: note: with IPv6 a keepalived needs unicast_ttl 255");
        }
        let mut before = cfg.vrrp.iter().take(index).filter(|b| b.is_ipv6() == v.is_ipv6());
        if let Some(b) = before.find(|b| b.vrid == v.vrid) {
            let (one, two) = (&b.interface, &v.interface);
            let _ = writeln!(
                out,
                "{name}:{line}: note: virtual_router_id = {} as in [vrrp {}]: wrong if {one} and {two} are one network",
                v.vrid, b.name
            );
        }
    }
    haproxy(cfg, &mut out);
    out
}

fn haproxy(cfg: &Config, out: &mut String) {
    let Some(h) = &cfg.haproxy else { return };
    let vips: Vec<IpAddr> = match h.nonlocal_bind {
        true => Vec::new(),
        false => cfg.vrrp.iter().flat_map(|v| v.held()).map(|v| v.addr).collect(),
    };
    let mut bounded = false;
    for file in h.config.iter().flat_map(|path| files(path)) {
        bounded |= scan(&read(&file), &vips, |line, text| {
            let _ = writeln!(out, "{}:{line}: warning: {text}", file.display());
        });
    }
    if let (false, Some(first)) = (bounded, h.config.first()) {
        let text =
            "no hard-stop-after: after a reload the old process stays as long as its longest connection";
        let _ = writeln!(out, "{}: warning: {text}", first.display());
    }
}

/// The text of a file of HAProxy's. Whatever cannot be read is HAProxy's to complain of.
pub(crate) fn read(file: &Path) -> String {
    let mut bytes = Vec::new();
    // Not one that would keep us waiting.
    if file.is_file() {
        let _ = File::open(file).and_then(|f| f.take(MAX_SIZE).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The file, or the `*.cfg` of the directory.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(dir) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let all = dir.flatten().map(|entry| entry.path());
    all.filter(|p| p.extension().is_some_and(|e| e == "cfg") && p.is_file()).take(MAX_FILES).collect()
}

/// Looks at the lines of a haproxy.cfg; returns whether it has `hard-stop-after`. `say`: a `bind` of one of `vips` that
/// only works on the master.
fn scan(text: &str, vips: &[IpAddr], mut say: impl FnMut(usize, &str)) -> bool {
    let mut bounded = false;
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace().take_while(|w| !w.starts_with('#'));
        match words.next() {
            Some("hard-stop-after") => bounded = true,
            Some("bind") => {
                let list = words.next().unwrap_or_default();
                if list.split(',').any(|one| host(one).is_some_and(|a| vips.contains(&a)))
                    && !words.any(|w| w == "transparent")
                {
                    say(index + 1, "with nonlocal_bind = no a backup cannot bind this: add `transparent`");
                }
            }
            _ => {}
        }
    }
    bounded
}

/// The address of `[ipv4@|ipv6@]ADDR:PORT`, with or without brackets.
fn host(bind: &str) -> Option<IpAddr> {
    let bind = bind.split_once('@').map_or(bind, |(_, rest)| rest);
    bind.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::parse;

    fn said(text: &str, vips: &[&str]) -> (bool, Vec<usize>) {
        let vips: Vec<IpAddr> = vips.iter().map(|v| v.parse().expect("an address")).collect();
        let mut lines = Vec::new();
        (scan(text, &vips, |line, _| lines.push(line)), lines)
    }

    #[test]
    fn of_haproxy_cfg() {
        let cfg = "global\n    hard-stop-after 30s\nfrontend a\n\tbind 192.0.2.1:80\n  bind :80,192.0.2.1:81 ssl # transparent\n\
                   bind ipv6@[2001:db8::1]:80\nbind 2001:db8::1:80\nbind 192.0.2.1:82 transparent\nbind 192.0.2.10:80\nbind\n";
        assert_eq!(said(cfg, &["192.0.2.1", "2001:db8::1"]), (true, vec![4, 5, 6, 7]));
        assert_eq!(said(cfg, &[]), (true, vec![]));
        assert_eq!(said("# hard-stop-after 1s\nglobal # hard-stop-after\n\0\n", &[]), (false, vec![]));
    }

    #[test]
    fn of_vipd_ini() {
        let dir = std::env::temp_dir().join(format!("vipd-advice-{}", std::process::id()));
        fs::create_dir_all(dir.join("conf.d")).expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
        write("conf.d/a.cfg", "global\n");
        write("conf.d/b.txt", "hard-stop-after 1s\n");
        write("conf.d/c.cfg", "frontend f\n    bind 192.0.2.10:80\n");
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
            advice(&cfg, &file).replace(&format!("{}/", dir.display()), "")
        };
        let rest = "vipd.ini: warning: [check c]: conf.d is no program that can be run\n\
             vipd.ini:17: note: virtual_router_id = 51 as in [vrrp A]: wrong if eth0 and eth1 are one network\n\
             vipd.ini:21: note: with IPv6 a keepalived needs unicast_ttl 255\n\
             conf.d/c.cfg:2: warning: with nonlocal_bind = no a backup cannot bind this: add `transparent`\n\
             conf.d: warning: no hard-stop-after: after a reload the old process stays as long as its longest connection\n";
        let rest = rest.replace("[check c]: conf.d", &format!("[check c]: {}", conf.display()));
        let rest = rest.replace(&format!("{}/", dir.display()), "");
        assert_eq!(advice_with(0o600), rest.clone());
        let with = advice_with(0o640);
        assert_eq!(
            with,
            format!("vipd.ini: warning: others may read the password in it: chmod 600 vipd.ini\n{rest}")
        );
        write("conf.d/d.cfg", "global\n hard-stop-after 1s\n");
        assert!(!advice(&cfg, &file).contains("hard-stop-after"));
        let _ = fs::remove_dir_all(&dir);
    }
}
