//! What the lines of a haproxy.cfg say, as far as vipd reads them.

use crate::base::text;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The words of a line, without its comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    text::words(line).take_while(|w| !w.starts_with('#'))
}

/// Whether something listens: a `bind` in any section.
pub fn has_listener(text: &str) -> bool {
    text.lines().any(|line| matches!(words(line).next(), Some("bind" | "dgram-bind")))
}

/// Whether there is a `hard-stop-after`.
pub fn has_hard_stop_after(text: &str) -> bool {
    text.lines().any(|line| words(line).next() == Some("hard-stop-after"))
}

/// The directories of each `chroot`, with the number of its line.
pub fn chroots(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let dir = |line| words(line).next().filter(|w| *w == "chroot").and(words(line).nth(1));
    text.lines().enumerate().filter_map(move |(index, line)| Some((index + 1, dir(line)?)))
}

/// The numbers of the lines, from 1, with a `bind` of one of `vips` that only works on the master.
pub fn binds_without_transparent<'a>(text: &'a str, vips: &'a [IpAddr]) -> impl Iterator<Item = usize> + 'a {
    let is_one = move |line: &str| {
        let mut words = words(line);
        words.next() == Some("bind")
            && words.next().is_some_and(|list| list.split(',').filter_map(host).any(|a| vips.contains(&a)))
            && !words.any(|w| w == "transparent")
    };
    text.lines().enumerate().filter(move |(_, line)| is_one(line)).map(|(index, _)| index + 1)
}

/// Addresses that a `bind` names, by what is plain in it: with the number of its line.
pub type Bind = (usize, SocketAddr);

/// Most addresses that are tried.
const MAX_BINDS: usize = 1024;

/// The TCP addresses that HAProxy will bind to, as far as its lines tell for certain: no names, no variables,
/// nothing of another namespace or of one interface. Where something is left out or shares no port, they tell
/// nothing.
pub fn binds(text: &str) -> Vec<Bind> {
    let unclear = |line| matches!(words(line).next(), Some("disabled" | "noreuseport" | ".if"));
    if text.lines().any(unclear) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = words(line);
        let (Some("bind"), Some(list)) = (words.next(), words.next()) else { continue };
        if words.any(|w| matches!(w, "namespace" | "interface")) {
            continue;
        }
        for one in list.split(',') {
            let ports = addresses(one).into_iter().flatten();
            all.extend(ports.map(|addr| (index + 1, addr)).take(MAX_BINDS - all.len()));
        }
    }
    all
}

/// The addresses of `[ipv4@|ipv6@|tcp@|tcp4@|tcp6@][ADDR|*]:PORT[-PORT]`.
fn addresses(bind: &str) -> Option<impl Iterator<Item = SocketAddr>> {
    let (kind, rest) = bind.split_once('@').unwrap_or(("", bind));
    let (host, ports) = rest.rsplit_once(':')?;
    let host = match (kind, host.trim_matches(['[', ']'])) {
        ("" | "tcp" | "ipv4" | "tcp4", "" | "*") => Ipv4Addr::UNSPECIFIED.into(),
        ("ipv6" | "tcp6", "" | "*") => Ipv6Addr::UNSPECIFIED.into(),
        ("" | "tcp" | "ipv4" | "tcp4" | "ipv6" | "tcp6", host) => host.parse().ok()?,
        _ => return None,
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let ports: (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    Some((ports.0..=ports.1).map(move |port| SocketAddr::new(host, port)))
}

/// The address of `[ipv4@|ipv6@]ADDR:PORT`, with or without brackets.
fn host(bind: &str) -> Option<IpAddr> {
    let bind = bind.split_once('@').map_or(bind, |(_, rest)| rest);
    bind.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok()
}

/// What a line needs that an unprivileged process may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `user`, `uid`: to become another user.
    User,
    /// `group`, `gid`
    Group,
    /// `chroot`
    Chroot,
    /// `bind`: to a port below `ports`.
    LowPort,
    /// A socket with an owner.
    Owner,
    /// A socket in a directory that is not root's.
    Directory,
    /// `namespace`
    Namespace,
    /// `program`: HAProxy's master runs it.
    Program,
}

/// Tells what the lines need. `ports`: those below take a capability (`ip_unprivileged_port_start`);
/// `foreign`: whether a directory is not root's.
pub fn needs(text: &str, ports: u32, foreign: fn(&str) -> bool, mut tell: impl FnMut(Need)) {
    for line in text.lines() {
        let mut all = [""; 16];
        all.iter_mut().zip(words(line)).for_each(|(to, word)| *to = word);
        let [first, second, third, ..] = all;
        let socket = match first {
            "bind" => second,
            "stats" if second == "socket" => third,
            "server" | "source" => "",
            "program" => {
                tell(Need::Program);
                continue;
            }
            // In a userlist they have more words.
            _ if third.is_empty() && !second.is_empty() => {
                match first {
                    "user" | "uid" => tell(Need::User),
                    "group" | "gid" => tell(Need::Group),
                    "chroot" => tell(Need::Chroot),
                    _ => {}
                }
                continue;
            }
            _ => continue,
        };
        if first == "bind" && socket.split(',').any(|one| port(one) < ports) {
            tell(Need::LowPort);
        }
        let path = socket.split_once('@').map_or(socket, |(_, path)| path);
        if path.rsplit_once('/').is_some_and(|(dir, _)| dir.starts_with('/') && foreign(dir)) {
            tell(Need::Directory);
        }
        for option in all.get(2..).unwrap_or_default() {
            match *option {
                // Also of `level user`: it does no harm.
                "user" | "uid" | "group" | "gid" if first != "server" => tell(Need::Owner),
                "namespace" => tell(Need::Namespace),
                _ => {}
            }
        }
    }
}

/// The first port of `[ADDR]:PORT[-PORT]`.
fn port(bind: &str) -> u32 {
    let port = bind.rsplit_once(':').and_then(|(_, port)| port.split('-').next());
    port.and_then(|p| p.parse().ok()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_that_only_work_on_the_master() {
        let cfg = "global\n    hard-stop-after 30s\nfrontend a\n\tbind 192.0.2.1:80\n  bind :80,192.0.2.1:81 ssl # transparent\n\
                   bind ipv6@[2001:db8::1]:80\nbind 2001:db8::1:80\nbind 192.0.2.1:82 transparent\nbind 192.0.2.10:80\nbind\n";
        let lines = |vips: &[&str]| {
            let vips: Vec<IpAddr> = vips.iter().filter_map(|v| v.parse().ok()).collect();
            binds_without_transparent(cfg, &vips).collect::<Vec<_>>()
        };
        assert_eq!(lines(&["192.0.2.1", "2001:db8::1"]), [4, 5, 6, 7]);
        assert_eq!(lines(&[]), [0; 0]);
        assert!(has_hard_stop_after(cfg));
        assert!(!has_hard_stop_after("# hard-stop-after 1s\nglobal # hard-stop-after\n\0\n"));
    }

    #[test]
    fn a_file_without_a_listener_serves_nobody() {
        for text in ["", "\0\0\0", "global\n stats socket /x\nfrontend f\n # bind :80\n  default_backend b\n"]
        {
            assert!(!has_listener(text), "{text:?}");
        }
        assert!(has_listener("frontend f\n\tbind :80") && has_listener("log-forward l\ndgram-bind :514\n"));
    }

    #[test]
    fn addresses_to_bind_to() {
        let cfg = "frontend f\nbind :80,192.0.2.1:81-82 ssl\n bind [::1]:83 # :9\n bind ipv6@:84\n bind :::85\n\
                   bind name:80\nbind ${A}:80\nbind quic4@:443\nbind /run/x:80\nbind unix@/run/x\nbind abns@x:1\n\
                   bind :80 interface eth0\nbind :80 namespace n\nbind fd@3\nbind\nserver s :80\nbind :x\n bind *:86\n";
        let all: Vec<_> = binds(cfg).iter().map(|(line, addr)| format!("{line} {addr}")).collect();
        let want =
            ["2 0.0.0.0:80", "2 192.0.2.1:81", "2 192.0.2.1:82", "3 [::1]:83", "4 [::]:84", "5 [::]:85"];
        assert_eq!(all, [&want[..], &["18 0.0.0.0:86"]].concat());
        for more in ["noreuseport", " disabled", ".if defined(X)"] {
            assert_eq!(binds(&format!("{cfg}{more}\n")), [], "{more}");
        }
        assert_eq!(binds("bind :1-65535\nbind :80").len(), MAX_BINDS);
    }

    #[test]
    fn needs_of_a_line() {
        let of = |text| {
            let mut all = Vec::new();
            needs(text, 1024, |dir| dir == "/run/haproxy", |need| all.push(need));
            all
        };
        for (line, all) in [
            ("", &[][..]),
            ("bind :8080", &[]),
            ("bind :8080,[::1]:443 v6only", &[Need::LowPort]),
            ("bind ipv4@192.0.2.1:80-90 # user", &[Need::LowPort]),
            ("bind /run/x:80", &[Need::LowPort]),
            ("bind unix@/run/haproxy/x", &[Need::Directory]),
            ("bind /run/x user nobody", &[Need::Owner]),
            ("bind :8080 namespace blue", &[Need::Namespace]),
            ("server s 192.0.2.1:80 namespace blue", &[Need::Namespace]),
            ("stats socket /run/x mode 600 gid 7", &[Need::Owner]),
            ("stats socket", &[]),
            ("stats socket 127.0.0.1:1 level user", &[Need::Owner]),
            ("user", &[]),
            ("user tiger password x", &[]),
            ("group g users tiger", &[]),
            ("#user haproxy", &[]),
            ("uid 7", &[Need::User]),
            ("gid 7", &[Need::Group]),
            ("chroot /var/lib/haproxy", &[Need::Chroot]),
            ("program x\n command x", &[Need::Program]),
            ("programs", &[]),
        ] {
            assert_eq!(of(line), all, "{line}");
        }
    }
}
