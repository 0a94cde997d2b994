//! What the lines of a haproxy.cfg say, as far as vipd reads them.

use std::net::IpAddr;

/// The words of a line, without its comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace().take_while(|w| !w.starts_with('#'))
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
