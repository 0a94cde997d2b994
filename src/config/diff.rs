//! The difference of two configurations: what goes on as it is, and what is replaced.

use super::ini::{self, Section};
use super::report::Shown;
use super::source::Source;
use super::{Config, Haproxy, Vrrp};
use crate::base::text::Write;

/// Whether two sections are one virtual router to its peers, so that one may become the other in place. Its
/// name is not among what makes it one; nor are its addresses.
pub fn is_same_router(a: &Vrrp, b: &Vrrp) -> bool {
    let key = |v: &Vrrp| {
        ((v.vrid, v.version as u8, v.is_ipv6(), v.priority == 255), (v.unicast_peers.is_empty(), v.use_vmac))
    };
    a.interface == b.interface && key(a) == key(b)
}

/// Whether another command line is needed: HAProxy must be replaced, not reloaded.
pub fn is_same_command(a: &Haproxy, b: &Haproxy) -> bool {
    a.binary == b.binary && a.config == b.config && a.args == b.args
}

/// Whether the groups have the same names and members, wherever those are in the file.
pub fn are_same_groups(a: &Config, b: &Config) -> bool {
    let name = |c: &'_ Config, i: usize| c.vrrp.get(i).map(|v| v.name.clone());
    a.groups.len() == b.groups.len()
        && a.groups.iter().zip(&b.groups).all(|(x, y)| {
            let members = x.members.iter().map(|i| name(a, *i));
            x.name == y.name && members.eq(y.members.iter().map(|i| name(b, *i)))
        })
}

/// Two texts of one file, section by section.
#[derive(Debug)]
pub struct Texts<'a> {
    old: Vec<Section<'a>>,
    new: Vec<Section<'a>>,
}

impl<'a> Texts<'a> {
    /// Both are valid configurations.
    pub fn new(old: &'a Source, new: &'a Source) -> Self {
        Texts { old: old.sections(), new: new.sections() }
    }

    /// What has changed in `[kind name]`: `priority 100 -> 80; +192.168.30.231/24`. Empty: nothing. Secrets
    /// are not shown.
    pub fn section(&self, kind: &str, name: &str) -> String {
        let (old, new) = (items(&self.old, kind, name), items(&self.new, kind, name));
        let mut keys: Vec<&str> = Vec::new();
        let mut out = String::new();
        for (key, _) in old.iter().chain(&new) {
            if !keys.contains(key) {
                keys.push(key);
                let of = |all: &[(&'a str, &'a str)]| -> Vec<&'a str> {
                    all.iter().filter(|(k, _)| k == key).map(|(_, v)| *v).collect()
                };
                changed(&mut out, key, &of(&old), &of(&new));
            }
        }
        out
    }

    /// The same of all sections of a kind, each with its header.
    pub fn kind(&self, kind: &str) -> String {
        let mut names: Vec<&str> = Vec::new();
        for s in self.old.iter().chain(&self.new).filter(|s| s.kind == kind) {
            if !names.contains(&s.name) {
                names.push(s.name);
            }
        }
        let mut out = String::new();
        for name in names {
            let is = |s: &Section<'_>| s.kind == kind && s.name == name;
            let text = match (self.old.iter().any(is), self.new.iter().any(is)) {
                (false, _) => "new".to_owned(),
                (_, false) => "removed".to_owned(),
                _ => self.section(kind, name),
            };
            if !text.is_empty() {
                separate(&mut out);
                write!(out, "{}{}{text}", name, if name.is_empty() { "" } else { " " });
            }
        }
        out
    }

    /// The line of a key in the new text; of what is not there, the line of its section, or 0.
    pub fn line(&self, kind: &str, name: &str, key: &str) -> u32 {
        let here = || self.new.iter().filter(|s| s.kind == kind && s.name == name);
        let entry = here().flat_map(|s| &s.entries).find(|e| e.key == key).map(|e| e.line);
        entry.or_else(|| here().next().map(|s| s.line)).unwrap_or(0)
    }
}

/// What another configuration changes, a line each; empty: nothing.
pub fn describe(old: &Config, new: &Config, texts: &Texts) -> String {
    let mut out = sections(old, new, texts);
    if old.haproxy != new.haproxy {
        line(&mut out, "HAProxy", &texts.kind("haproxy"));
    }
    for v in &old.vrrp {
        match new.vrrp.iter().find(|n| n.name == v.name) {
            None => writeln!(out, "{}: leaves", v.name),
            Some(n) if v != n => {
                line(&mut out, &v.name, &texts.section("vrrp", &v.name));
            }
            Some(_) => {}
        }
    }
    for v in new.vrrp.iter().filter(|v| old.vrrp.iter().all(|o| o.name != v.name)) {
        writeln!(out, "{}: new", v.name);
    }
    out
}

/// The lines of `[global]`, of checks and of groups.
pub fn sections(old: &Config, new: &Config, texts: &Texts) -> String {
    let mut out = String::new();
    for (what, kind, same) in [
        ("[global]", "global", old.global == new.global),
        ("checks", "check", old.checks == new.checks),
        ("groups", "group", are_same_groups(old, new)),
    ] {
        if !same {
            line(&mut out, what, &texts.kind(kind));
        }
    }
    out
}

/// `NAME: changed: DETAIL`
pub fn line(out: &mut String, name: &str, detail: &str) {
    match detail {
        "" => writeln!(out, "{name}: changed"),
        detail => writeln!(out, "{name}: changed: {detail}"),
    }
}

/// The first key of `[global]` that a reload cannot change.
pub fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let (a, b) = (&old.global, &new.global);
    let all = [
        ("control_socket", a.control_socket == b.control_socket),
        ("log", a.log == b.log),
        ("log_facility", a.log_facility == b.log_facility),
        ("lock_memory", a.lock_memory == b.lock_memory),
    ];
    all.into_iter().find(|(_, same)| !same).map(|(key, _)| key)
}

/// The keys whose values are lists, in which items come and go.
const LISTS: &str = "virtual_ipaddress, virtual_ipaddress_excluded, unicast_peer, allowed_peers, track, \
                     track_interface, members, config, notification_email";

fn is_list(key: &str) -> bool {
    super::report::listed(LISTS).any(|list| list == key)
}

/// Each item of a list, or the whole value, with its key.
fn items<'a>(all: &[Section<'a>], kind: &str, name: &str) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    let Some(section) = all.iter().find(|s| s.kind == kind && s.name == name) else { return found };
    for e in &section.entries {
        for value in e.value.split(if is_list(e.key) { ',' } else { '\n' }) {
            let value = ini::trim(value);
            if !value.is_empty() {
                found.push((e.key, value));
            }
        }
    }
    found
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str("; ");
    }
}

fn changed(out: &mut String, key: &str, old: &[&str], new: &[&str]) {
    if old == new {
        return;
    }
    if key.starts_with("auth_") && key != "auth_type" {
        separate(out);
        return write!(out, "{key} changed");
    }
    if !is_list(key) {
        separate(out);
        let value = |all: &[&str]| all.first().map_or("not set".to_owned(), |v| Shown(v).to_string());
        return write!(out, "{key} {} -> {}", value(old), value(new));
    }
    let before = out.len();
    for (sign, these, those) in [('-', old, new), ('+', new, old)] {
        for v in these.iter().filter(|v| !those.contains(v)) {
            separate(out);
            // The most frequent list needs no name.
            match key {
                "virtual_ipaddress" => write!(out, "{sign}{}", Shown(v)),
                _ => write!(out, "{key} {sign}{}", Shown(v)),
            };
        }
    }
    if out.len() == before {
        separate(out);
        write!(out, "{key} in another order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::report::Report;
    use crate::config::schema;
    use std::path::Path;

    #[test]
    fn what_has_changed_in_a_section() {
        let old = "[global]\nlog_level = info\n[vrrp A]\npriority = 100\nauth_type = PASS\nauth_pass = secret\n\
                   virtual_ipaddress = 192.0.2.1/24, 192.0.2.2/24\nunicast_peer = 192.0.2.9\n[vrrp B]\npriority = 1\n\
                   [check c]\ninterval = 1\n[check d]\n";
        let new = "# x\n[vrrp B]\npriority = 1 # the same\n[vrrp A]\npriority = 80\nauth_type = PASS\nauth_pass = secreT\n\
                   virtual_ipaddress = 192.0.2.1/24\nvirtual_ipaddress = 192.0.2.3/24 dev eth1\npreempt = no\n\
                   [global]\n[check c]\ninterval = 2\n[check e]\n";
        let (old, new) = (source(old), source(new));
        let texts = Texts::new(&old, &new);
        assert_eq!(texts.section("vrrp", "B"), "");
        assert_eq!(
            texts.section("vrrp", "A"),
            "priority 100 -> 80; auth_pass changed; -192.0.2.2/24; +192.0.2.3/24 dev eth1; \
             unicast_peer -192.0.2.9; preempt not set -> no"
        );
        assert_eq!(texts.section("global", ""), "log_level info -> not set");
        assert_eq!(texts.kind("check"), "c interval 1 -> 2; d removed; e new");
        let (old, new) = (source("[vrrp A]\ntrack = a, b\n"), source("[vrrp A]\ntrack = b, a\n"));
        let order = Texts::new(&old, &new);
        assert_eq!(order.section("vrrp", "A"), "track in another order");
        assert_eq!((texts.line("vrrp", "A", "priority"), texts.line("vrrp", "A", "lease")), (5, 4));
        assert_eq!(texts.line("haproxy", "", "binary"), 0);
    }

    fn source(text: &str) -> Source {
        let mut source = Source::default();
        source.add(Path::new("vipd.ini"), text.as_bytes(), &|_| None, &mut Report::default());
        source
    }

    fn one(more: &str) -> Config {
        let text = format!(
            "[vrrp VI_1]\ninterface = eth0\nvirtual_router_id = 51\nversion = 3\n\
             virtual_ipaddress = 192.168.30.230/24\n{more}\n"
        );
        schema::parse(&text).unwrap_or_else(|e| panic!("{e:?}")).0
    }

    #[test]
    fn what_makes_another_virtual_router() {
        let before = one("");
        for more in ["use_vmac = yes", "unicast_peer = 192.168.30.1", "priority = 255"] {
            assert!(!is_same_router(&before.vrrp[0], &one(more).vrrp[0]), "{more}");
        }
        for change in [
            |v: &mut Vrrp| v.vrid = 52,
            |v: &mut Vrrp| v.interface = "eth1".to_owned(),
            |v: &mut Vrrp| v.version = crate::config::Version::V2,
            |v: &mut Vrrp| v.vips[0].addr = [0u16; 8].into(),
        ] {
            let mut other = (*before.vrrp[0]).clone();
            change(&mut other);
            assert!(!is_same_router(&before.vrrp[0], &other));
        }
    }
}
