//! Which capabilities a configuration needs, and for what; pure.
//!
//! Effective are only the capabilities that vipd itself uses. Those that its children or a later reload may
//! need are kept; a dropped capability does not come back.

use crate::config::{CheckKind, Config, HttpAt};
use crate::haproxy::config_file::{self, Need};

const CHOWN: u64 = 1;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
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

/// vipd does not start without these.
pub const VITAL: u64 = NET_ADMIN | NET_RAW;
/// What a reload can need if `[haproxy]` and `lock_memory` stay the same.
const RELOAD: u64 = VITAL | KILL | SETUID | SETGID | SYS_NICE;
/// What any haproxy.cfg can need: its users, a chroot, ports below 1024, sockets with an owner and in
/// directories that are not root's, and more descriptors than there are by default.
const HAPROXY: u64 =
    KILL | SETUID | SETGID | SYS_CHROOT | NET_BIND_SERVICE | CHOWN | FOWNER | DAC_OVERRIDE | SYS_RESOURCE;

/// The capabilities that can be missing.
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

/// What they are needed for. A set of reasons has one bit for each place in this table.
const REASONS: [(u64, &str); 12] = [
    (NET_ADMIN, "addresses"),
    (NET_RAW, "adverts"),
    (SETUID | SETGID | KILL, "commands of another user"),
    (SETUID | KILL, "haproxy.cfg: user"),
    (SETGID, "haproxy.cfg: group"),
    (SYS_CHROOT, "haproxy.cfg: chroot"),
    (NET_BIND_SERVICE, "haproxy.cfg: bind"),
    (CHOWN, "haproxy.cfg: the owner of a socket"),
    (DAC_OVERRIDE, "haproxy.cfg: a socket in a directory of another user"),
    (SYS_ADMIN, "haproxy.cfg: namespace"),
    (CHOWN, "http: the group of its socket"),
    (NET_BIND_SERVICE, "http: its port"),
];
const ALWAYS: u16 = 0b11;
const COMMANDS: u16 = 1 << 2;
const USER: u16 = 1 << 3;
const GROUP: u16 = 1 << 4;
const CHROOT: u16 = 1 << 5;
const BIND: u16 = 1 << 6;
const OWNER: u16 = 1 << 7;
const DIRECTORY: u16 = 1 << 8;
const NAMESPACE: u16 = 1 << 9;
const HTTP_GROUP: u16 = 1 << 10;
const HTTP_PORT: u16 = 1 << 11;
/// A configuration file, or its directory, does not belong to root; a reload reads it. It is not named.
pub const FOREIGN: u16 = 1 << 14;
/// HAProxy's master runs programs. It is not named.
const PROGRAMS: u16 = 1 << 15;

/// What HAProxy's files need, as bits.
pub type Reasons = u16;

/// What a configuration needs.
#[derive(Debug)]
pub struct Needs {
    /// For vipd itself.
    pub own: u64,
    /// For vipd, its children and a later reload.
    pub kept: u64,
    /// Hooks, checks or programs of the operator run, and may need any capability.
    pub commands: bool,
    reasons: Reasons,
}

impl Needs {
    /// `haproxy`: the reasons found in all its files.
    pub fn of(cfg: &Config, haproxy: Reasons) -> Self {
        let g = &cfg.global;
        let (mut own, mut reasons) = (VITAL, ALWAYS | haproxy);
        let mut commands = haproxy & PROGRAMS != 0
            || !g.notify.is_empty()
            || cfg.vrrp.iter().any(|v| v.hooks().any(|(_, argv)| !argv.is_empty()));
        let mut users = g.notify_user.is_some();
        for c in &cfg.checks {
            if let CheckKind::Exec { user, .. } = &c.kind {
                commands = true;
                users |= user.is_some();
            }
        }
        if users {
            own |= SETUID | SETGID | KILL;
            reasons |= COMMANDS;
        }
        if g.mail.is_some() || cfg.haproxy.is_some() {
            own |= KILL;
        }
        match g.http.as_ref().map(|h| &h.at) {
            Some(HttpAt::Unix { group: Some(_), .. }) => {
                own |= CHOWN;
                reasons |= HTTP_GROUP;
            }
            Some(HttpAt::Tcp(addr)) if addr.port() < 1024 => {
                own |= NET_BIND_SERVICE;
                reasons |= HTTP_PORT;
            }
            _ => {}
        }
        if g.realtime_priority != 0 {
            own |= SYS_NICE;
        }
        if g.lock_memory {
            own |= IPC_LOCK;
        }
        if reasons & FOREIGN != 0 {
            own |= DAC_READ_SEARCH;
        }
        let mut kept = RELOAD | own;
        if cfg.haproxy.is_some() {
            kept |= HAPROXY;
        }
        if reasons & NAMESPACE != 0 {
            kept |= SYS_ADMIN;
        }
        if commands {
            kept = u64::MAX;
        }
        Needs { own, kept, commands, reasons }
    }

    /// What of `lacking` is needed: `CAP_SETUID, CAP_KILL (what for), CAP_NET_RAW (what for)`.
    pub fn name(&self, lacking: u64) -> String {
        let mut text = String::new();
        for (i, (caps, what)) in REASONS.iter().enumerate() {
            let lacking = if self.reasons >> i & 1 == 0 { 0 } else { caps & lacking };
            for (_, name) in NAMES.iter().filter(|(cap, _)| lacking & cap != 0) {
                for piece in [if text.is_empty() { "" } else { ", " }, "CAP_", name] {
                    text.push_str(piece);
                }
            }
            if lacking != 0 {
                for piece in [" (", what, ")"] {
                    text.push_str(piece);
                }
            }
        }
        text
    }
}

/// Looks at the lines of a haproxy.cfg. `ports`: those below take a capability
/// (`ip_unprivileged_port_start`); `foreign`: whether a directory is not root's.
pub fn scan(text: &str, ports: u32, foreign: fn(&str) -> bool) -> Reasons {
    let mut reasons = 0;
    config_file::needs(text, ports, foreign, |need| {
        reasons |= match need {
            Need::User => USER,
            Need::Group => GROUP,
            Need::Chroot => CHROOT,
            Need::LowPort => BIND,
            Need::Owner => OWNER,
            Need::Directory => DIRECTORY,
            Need::Namespace => NAMESPACE,
            Need::Program => PROGRAMS,
        };
    });
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::parse;

    fn all(haproxy_cfg: &str) -> u64 {
        let reasons = scan(haproxy_cfg, 1024, |dir| dir == "/run/haproxy");
        (0..REASONS.len()).filter(|i| reasons >> i & 1 != 0).fold(0, |set, i| set | REASONS[i].0)
    }

    #[test]
    fn of_haproxy_cfg() {
        let debian = "global\n\tlog /dev/log\tlocal0\n\tchroot /var/lib/haproxy\n\
            \tstats socket /run/haproxy/admin.sock mode 660 level admin\n\tuser haproxy\n\tgroup haproxy\n\
            frontend f\n\tbind :80\n\tbind *:443 ssl\n";
        assert_eq!(all(debian), SYS_CHROOT | SETUID | SETGID | KILL | DAC_OVERRIDE | NET_BIND_SERVICE);
        assert_eq!(all("bind /run/x user nobody namespace blue\n"), CHOWN | SYS_ADMIN);
        let programs = |text| scan(text, 0, |_| false) & PROGRAMS != 0;
        assert!(programs("program p\n command x\n") && !programs("programs\nbind :80\n"));
    }

    #[test]
    fn of_vipd_ini() {
        let vrrp = "[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\nvirtual_ipaddress = 192.0.2.10\n";
        let of = |more: &str| {
            let (cfg, _) = parse(&format!("{more}\n{vrrp}")).unwrap_or_else(|e| panic!("{e:?}"));
            Needs::of(&cfg, 0)
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
        let low = of("[global]\nhttp = 127.0.0.1:80\n");
        assert_eq!(
            (low.own, low.name(NET_BIND_SERVICE).as_str()),
            (VITAL | NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE (http: its port)")
        );
        let group = of("[global]\nhttp = unix:/run/x/y group nogroup\n");
        assert_eq!(
            (group.own, group.name(CHOWN).as_str()),
            (VITAL | CHOWN, "CAP_CHOWN (http: the group of its socket)")
        );
        let all = of("[global]\nrealtime_priority = 1\nlock_memory = yes\n");
        assert_eq!((all.own, all.kept), (VITAL | SYS_NICE | IPC_LOCK, RELOAD | IPC_LOCK));
        assert_eq!(of("[global]\nnotify = /bin/true\n").kept, u64::MAX);
        let (cfg, _) = parse(vrrp).unwrap_or_else(|e| panic!("{e:?}"));
        let with = |reasons| Needs::of(&cfg, reasons);
        assert_eq!((with(NAMESPACE).kept, with(PROGRAMS).commands), (RELOAD | SYS_ADMIN, true));
        assert_eq!(
            with(USER | CHROOT).name(SETUID | SYS_CHROOT),
            "CAP_SETUID (haproxy.cfg: user), CAP_SYS_CHROOT (haproxy.cfg: chroot)"
        );
        let foreign = with(FOREIGN);
        assert_eq!((foreign.own, foreign.kept), (VITAL | DAC_READ_SEARCH, RELOAD | DAC_READ_SEARCH));
        assert_eq!(foreign.name(u64::MAX), plain.name(u64::MAX));
        // Every reason has names.
        for (caps, _) in REASONS {
            assert_eq!(NAMES.iter().fold(0, |set, (cap, _)| set | cap) & caps, caps);
        }
    }
}
