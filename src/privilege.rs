//! Which capabilities this configuration needs, and for what. Looks at HAProxy's files: HAProxy inherits them.
//!
//! In effect is only what vipd itself does. Kept, for it or for its children, is what a reload could need as well; a
//! dropped capability does not come back.

use crate::advice;
use crate::config::{CheckKind, Config};
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const CHOWN: u64 = 1;
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
const SYS_CHROOT: u64 = 1 << 18;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_NICE: u64 = 1 << 23;
const SYS_RESOURCE: u64 = 1 << 24;

/// Without these nothing works.
pub const VITAL: u64 = NET_ADMIN | NET_RAW;
/// What any vipd.ini can need whose `[haproxy]` and `lock_memory` are the same.
const RELOAD: u64 = VITAL | KILL | SETUID | SETGID | SYS_NICE;
/// What any haproxy.cfg can need: its users, a chroot, ports below 1024, sockets with an owner and in directories that
/// are not root's, and more descriptors than there are by default.
const HAPROXY: u64 =
    KILL | SETUID | SETGID | SYS_CHROOT | NET_BIND_SERVICE | CHOWN | FOWNER | DAC_OVERRIDE | SYS_RESOURCE;

/// What a configuration needs.
#[derive(Debug)]
pub struct Needs {
    /// What vipd itself does.
    pub own: u64,
    /// That, what its children may need, and what a reload may.
    pub kept: u64,
    /// Commands of somebody's own run as root, or may become it: whatever they do, they can do it.
    pub commands: bool,
    /// What is known to be needed, and for what.
    wanted: Vec<(u64, &'static str)>,
}

impl Needs {
    /// `ports`: those below can be bound with a capability only (`ip_unprivileged_port_start`).
    pub fn of(cfg: &Config, ports: u16) -> Self {
        let g = &cfg.global;
        let mut wanted = vec![(NET_ADMIN, "addresses"), (NET_RAW, "adverts")];
        let mut own = VITAL;
        let has_user = |kind: &CheckKind| matches!(kind, CheckKind::Exec { user: Some(_), .. });
        if g.notify_user.is_some() || cfg.checks.iter().any(|c| has_user(&c.kind)) {
            own |= SETUID | SETGID | KILL;
            wanted.push((SETUID | SETGID | KILL, "commands of another user"));
        }
        if g.mail.is_some() || cfg.haproxy.is_some() {
            own |= KILL;
        }
        if g.realtime_priority != 0 {
            own |= SYS_NICE;
        }
        if g.lock_memory {
            own |= IPC_LOCK;
        }
        let is_exec = |kind: &CheckKind| matches!(kind, CheckKind::Exec { .. });
        let mut commands = !g.notify.is_empty()
            || cfg.vrrp.iter().any(|v| !v.notify.is_empty())
            || cfg.checks.iter().any(|c| is_exec(&c.kind));
        let mut kept = RELOAD | own;
        if let Some(h) = &cfg.haproxy {
            kept |= HAPROXY;
            for file in h.config.iter().flat_map(|path| advice::files(path)) {
                commands |= scan(&advice::read(&file), ports, is_foreign, &mut wanted);
            }
        }
        if commands {
            kept = u64::MAX;
        }
        kept |= wanted.iter().fold(0, |set, (caps, _)| set | caps);
        Needs { own, kept, commands, wanted }
    }

    /// What of `lacking` is needed: `CAP_SETUID, CAP_KILL (what for), CAP_NET_RAW (what for)`.
    pub fn name(&self, lacking: u64) -> String {
        let mut text = String::new();
        for (caps, what) in &self.wanted {
            let before = text.len();
            for (_, name) in NAMES.iter().filter(|(cap, _)| caps & lacking & cap != 0) {
                let _ = write!(text, "{}CAP_{name}", if text.is_empty() { "" } else { ", " });
            }
            if text.len() > before {
                let _ = write!(text, " ({what})");
            }
        }
        text
    }
}

/// Those that can be wanted.
const NAMES: [(u64, &str); 10] = [
    (CHOWN, "CHOWN"),
    (DAC_OVERRIDE, "DAC_OVERRIDE"),
    (KILL, "KILL"),
    (SETGID, "SETGID"),
    (SETUID, "SETUID"),
    (NET_BIND_SERVICE, "NET_BIND_SERVICE"),
    (NET_ADMIN, "NET_ADMIN"),
    (NET_RAW, "NET_RAW"),
    (SYS_CHROOT, "SYS_CHROOT"),
    (SYS_ADMIN, "SYS_ADMIN"),
];

/// Looks at the lines of a haproxy.cfg; returns whether its master runs programs. `foreign`: whether root may not make
/// a socket with that path.
fn scan(text: &str, ports: u16, foreign: fn(&str) -> bool, wanted: &mut Vec<(u64, &'static str)>) -> bool {
    let mut programs = false;
    for line in text.lines() {
        let words: Vec<&str> =
            line.split_ascii_whitespace().take_while(|w| !w.starts_with('#')).take(64).collect();
        let mut want = |caps, what| {
            if !wanted.contains(&(caps, what)) {
                wanted.push((caps, what));
            }
        };
        let (socket, options) = match *words.as_slice() {
            // In a userlist they have more words.
            ["user" | "uid", _] => {
                want(SETUID | KILL, "haproxy.cfg: user");
                continue;
            }
            ["group" | "gid", _] => {
                want(SETGID, "haproxy.cfg: group");
                continue;
            }
            ["chroot", _] => {
                want(SYS_CHROOT, "haproxy.cfg: chroot");
                continue;
            }
            ["program", ..] => {
                programs = true;
                continue;
            }
            ["bind", list, ref rest @ ..] => {
                if list.split(',').filter_map(port).any(|p| p < ports) {
                    want(NET_BIND_SERVICE, "haproxy.cfg: bind");
                }
                (list, rest)
            }
            ["stats", "socket", path, ref rest @ ..] => (path, rest),
            ["server" | "source", _, ref rest @ ..] => ("", rest),
            _ => continue,
        };
        let path = socket.split_once('@').map_or(socket, |(_, path)| path);
        if path.starts_with('/') && foreign(path) {
            want(DAC_OVERRIDE, "haproxy.cfg: a socket in a directory of another user");
        }
        for option in options {
            match *option {
                "user" | "uid" | "group" | "gid" => want(CHOWN, "haproxy.cfg: the owner of a socket"),
                "namespace" => want(SYS_ADMIN, "haproxy.cfg: namespace"),
                _ => {}
            }
        }
    }
    programs
}

/// The first port of `[ADDR]:PORT[-PORT]`.
fn port(bind: &str) -> Option<u16> {
    let port = bind.rsplit_once(':')?.1;
    port.split('-').next()?.parse().ok()
}

/// Whether a socket there is in a directory of somebody else's.
fn is_foreign(socket: &str) -> bool {
    let dir = Path::new(socket).parent();
    dir.and_then(|d| d.metadata().ok()).is_some_and(|m| m.uid() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::parse;

    fn needs(haproxy_cfg: &str) -> (Vec<(u64, &'static str)>, bool) {
        let mut wanted = Vec::new();
        let programs = scan(haproxy_cfg, 1024, |path| path.starts_with("/run/haproxy/"), &mut wanted);
        (wanted, programs)
    }

    fn all(haproxy_cfg: &str) -> u64 {
        needs(haproxy_cfg).0.iter().fold(0, |set, (caps, _)| set | caps)
    }

    #[test]
    fn of_haproxy_cfg() {
        let debian = "global\n\tlog /dev/log\tlocal0\n\tchroot /var/lib/haproxy\n\
            \tstats socket /run/haproxy/admin.sock mode 660 level admin\n\tuser haproxy\n\tgroup haproxy\n\
            frontend f\n\tbind :80\n\tbind *:443 ssl\n";
        assert_eq!(all(debian), SYS_CHROOT | SETUID | SETGID | KILL | DAC_OVERRIDE | NET_BIND_SERVICE);
        for (line, caps) in [
            ("", 0),
            ("bind :8080", 0),
            ("bind :8080,[::1]:443 v6only", NET_BIND_SERVICE),
            ("bind ipv4@192.0.2.1:80-90 # user", NET_BIND_SERVICE),
            ("bind /run/x:80", NET_BIND_SERVICE),
            ("bind unix@/run/haproxy/x", DAC_OVERRIDE),
            ("bind /run/x user nobody", CHOWN),
            ("bind :8080 namespace blue", SYS_ADMIN),
            ("server s 192.0.2.1:80 namespace blue", SYS_ADMIN),
            ("stats socket /run/x mode 600 gid 7", CHOWN),
            ("stats socket", 0),
            ("stats socket 127.0.0.1:1 level user", 0),
            ("user", 0),
            ("user tiger password x", 0),
            ("group g users tiger", 0),
            ("#user haproxy", 0),
            ("uid 7", SETUID | KILL),
            ("gid 7", SETGID),
        ] {
            let expected = if line.contains("level user") { CHOWN } else { caps };
            assert_eq!(all(line), expected, "{line}");
        }
        assert_eq!(needs("bind :80\nbind :81\n").0.len(), 1, "named once");
        assert!(needs("program p\n command x\n").1 && !needs("programs\n").1);
    }

    #[test]
    fn of_vipd_ini() {
        let vrrp = "[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.10\n";
        let of = |more: &str| {
            let (cfg, _) = parse(&format!("{more}\n{vrrp}")).unwrap_or_else(|e| panic!("{e:?}"));
            Needs::of(&cfg, 1024)
        };
        let plain = of("");
        assert_eq!((plain.own, plain.kept, plain.commands), (VITAL, RELOAD, false));
        assert_eq!(plain.name(0), "");
        assert_eq!(plain.name(u64::MAX), "CAP_NET_ADMIN (addresses), CAP_NET_RAW (adverts)");
        let haproxy = of("[haproxy]\nconfig = /nonexistent\n");
        assert_eq!((haproxy.own, haproxy.kept), (VITAL | KILL, RELOAD | HAPROXY));
        let check = "[check c]\ntype = exec\ntarget = /bin/true\n";
        assert_eq!((of(check).own, of(check).kept, of(check).commands), (VITAL, u64::MAX, true));
        let user = of(&format!("{check}user = nobody\n"));
        assert_eq!(user.own, VITAL | SETUID | SETGID | KILL);
        assert_eq!(user.name(SETUID | KILL), "CAP_KILL, CAP_SETUID (commands of another user)");
        let all = of("[global]\nrealtime_priority = 1\nlock_memory = yes\n");
        assert_eq!((all.own, all.kept), (VITAL | SYS_NICE | IPC_LOCK, RELOAD | IPC_LOCK));
        assert_eq!(of("[global]\nnotify = /bin/true\n").kept, u64::MAX);
    }
}
