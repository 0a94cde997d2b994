//! `vrrp_script` and `vrrp_track_process`: HAProxy itself, or a `[check NAME]`.

use super::out::Out;
use super::parse::{Node, find, is_one};
use super::text::{self, number, seconds, signed};
use crate::base::text::split_once;
use crate::packed;
use std::net::IpAddr;

/// Longest time-out of a check, in milliseconds.
const MAX_TIMEOUT: u64 = 60_000;

/// One script or process that somebody tracks.
pub(super) struct Check<'t> {
    pub(super) node: &'t Node,
    /// Only looks whether HAProxy runs: vipd does that itself.
    pub(super) haproxy: bool,
    /// Weight, and whether it is reversed.
    pub(super) weight: (i64, bool),
}

/// All of them.
pub(super) struct Checks<'t> {
    pub(super) all: Vec<Check<'t>>,
    /// Those that became a section.
    pub(super) written: Vec<&'t Node>,
}

impl<'t> Checks<'t> {
    /// All that are tracked; about the others there is a remark.
    pub(super) fn new(out: &mut Out<'t>) -> Self {
        let mut checks = Checks { all: Vec::new(), written: Vec::new() };
        let tree = out.tree;
        for node in tree.root.all("vrrp_script vrrp_track_process vrrp_process") {
            if !is_tracked(out, node) {
                out.dropped(node, packed!("nothing tracks it: left out"));
                continue;
            }
            let haproxy = looks_at_haproxy(node);
            let weight = node.last("weight");
            let number = weight.and_then(|d| signed(d.word(1))).unwrap_or(0).clamp(-253, 253);
            let reverse = weight.is_some_and(|d| d.word(2) == "reverse");
            checks.all.push(Check { node, haproxy, weight: (number, reverse) });
        }
        checks
    }

    /// What `track_script` or `track_process` names.
    pub(super) fn find(&self, kind: &str, name: &str) -> Option<&Check<'t>> {
        let script = kind == "track_script";
        let mut found = self.all.iter().filter(|c| c.node.is("vrrp_script") == script);
        found.find(|c| c.node.word(1) == name)
    }
}

/// Whether a router or a group tracks it.
fn is_tracked(out: &Out<'_>, check: &Node) -> bool {
    let kind = if check.is("vrrp_script") { "track_script" } else { "track_process" };
    let users = out.tree.root.all("vrrp_instance vrrp_sync_group");
    users.iter().any(|n| n.entries(kind).iter().any(|t| t.keyword() == check.word(1)))
}

/// Writes `[haproxy]` and every `[check NAME]`.
pub(super) fn write<'t>(out: &mut Out<'t>, checks: &mut Checks<'t>) {
    haproxy(out, checks);
    for Check { node, .. } in checks.all.iter().filter(|c| !c.haproxy) {
        let again = checks.written.iter().any(|w| w.word(1) == node.word(1) && w.keyword() == node.keyword());
        if again {
            out.dropped(node, packed!("the name is taken: the first one counts"));
        } else if if node.is("vrrp_script") { script(out, node) } else { process(out, node) } {
            checks.written.push(node);
        }
    }
}

fn haproxy(out: &mut Out<'_>, checks: &Checks<'_>) {
    if !has_haproxy(checks) {
        return;
    }
    out.begin("haproxy");
    let mut names = Vec::new();
    for c in checks.all.iter().filter(|c| c.haproxy) {
        names.push(c.node.word(1).to_owned());
    }
    out.line(&[
        "# instead of ",
        &text::join(&names, ", "),
        &packed!(": vipd starts HAProxy itself, asks it whether it is well, and").text(),
    ]);
    out.comment(packed!("starts it again; disable the service that starts it now"));
    let mut config: Vec<String> = Vec::new();
    for c in checks.all.iter().filter(|c| c.haproxy) {
        let argv = argv(c.node).unwrap_or_default();
        let mut option = false;
        for word in &argv {
            if option && config.last() != Some(word) {
                config.push(word.clone());
            }
            option = word == "-f";
        }
        if argv.iter().any(|a| a == "-f") {
            out.told(c.node, packed!("HAProxy's files are those of its `-f`"));
        }
        if argv.first().is_some_and(|p| program(p) != "haproxy" && names_haproxy(p)) {
            out.told(
                c.node,
                packed!("its name says that it checks HAProxy: if it does more, make it a [check NAME]"),
            );
        }
    }
    if config.is_empty() {
        config.push("/etc/haproxy/haproxy.cfg".to_owned());
    }
    out.key("config", &text::join(&config, ", "));
}

/// Whether a program has `haproxy` in its name.
fn names_haproxy(path: &str) -> bool {
    split_once(program(path), "haproxy").is_some()
}

/// The last component of a path.
fn program(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The words of the script's command; of a shell's, if it is a simple one.
fn argv(script: &Node) -> Option<Vec<String>> {
    let (mut argv, rest) = text::command(&script.last("script")?.line)?;
    argv.extend(rest);
    if let [shell, option, command] = &argv[..]
        && is_one(program(shell), "sh bash dash")
        && option == "-c"
        && !command.bytes().any(|b| b"|;&>$`*(\"'".contains(&b))
    {
        return Some(text::words(command).0);
    }
    Some(argv)
}

/// `killall -0 haproxy`, `pidof haproxy`, `systemctl is-active haproxy`, `haproxy -c -f FILE`, a script whose
/// name has `haproxy` in it, a process of that name. Not a name of the check alone, and not a container.
fn looks_at_haproxy(check: &Node) -> bool {
    if !check.is("vrrp_script") {
        return check.all("process").iter().any(|d| program(d.word(1)) == "haproxy");
    }
    let Some(argv) = argv(check) else { return false };
    let Some((first, args)) = argv.split_first() else { return false };
    let asks = "killall killall5 pidof pgrep pkill systemctl service rc-service";
    match program(first) {
        "haproxy" => args.iter().any(|a| a == "-c"),
        first if is_one(first, asks) => args.iter().any(|a| is_one(program(a), "haproxy haproxy.service")),
        first => names_haproxy(first),
    }
}

/// A `vrrp_script`. keepalived's defaults are not vipd's, so all of them are written. Whether there is one.
fn script(out: &mut Out<'_>, s: &Node) -> bool {
    let block = out.settle(&[s], "", "");
    let Some(command) = find(&block, "script") else {
        out.dropped(s, packed!("it has no `script`: keepalived ignores it, too"));
        return false;
    };
    let Some(words) = out.command(command) else { return false };
    let simple = argv(s).unwrap_or_default();
    let target = if let [only] = &simple[..] { socket(only) } else { None };
    if words.first().is_some_and(|w| w.starts_with('<')) && target.is_none() {
        out.dropped(
            command,
            packed!("this needs a shell, which vipd does not start: write a [check NAME] for it"),
        );
        return false;
    }
    out.section("check", s);
    match target {
        Some(target) => {
            out.told(command, packed!("as a check of type tcp"));
            out.key("type", "tcp");
            out.key("target", &target);
        }
        None => exec(out, command, &words, find(&block, "user")),
    }
    times(out, &block);
    if let Some(d) = find(&block, "weight")
        && !signed(d.word(1)).is_some_and(|n| (-253..=253).contains(&n))
    {
        out.told(d, packed!("a weight is -253 to 253: the nearest one, or none"));
    }
    if let Some(d) = find(&block, "init_fail") {
        out.told(d, packed!("a check counts as down until it has been up, in any case"));
    }
    for d in block {
        out.by(packed!("script user interval timeout rise fall weight init_fail - "), d);
    }
    true
}

/// A command, and who runs it.
fn exec(out: &mut Out<'_>, command: &Node, words: &[String], user: Option<&Node>) {
    out.key("type", "exec");
    if words.iter().any(|w| is_one(w, "| || && ; > <")) {
        out.comment(packed!("neither keepalived nor vipd starts a shell for this: put it into a script"));
    }
    // Without a target `vipd -t` refuses the section, so that it is seen.
    out.command_key("target", command, words);
    match user {
        Some(u) => {
            if !u.word(2).is_empty() {
                out.told(u, packed!("the group is that of the user"));
            }
            out.key("user", u.word(1));
        }
        None if !out.user.is_empty() => out.key("user", &out.user.clone()),
        None => {}
    }
}

/// `interval`, `timeout`, `fall`, `rise`
fn times(out: &mut Out<'_>, block: &[&Node]) {
    let (mut interval, mut timeout) = (1000, None);
    if let Some(d) = find(block, "interval") {
        match number(d.word(1), 3) {
            Some(0) | None => out.told(d, packed!("keepalived falls back to 1 second, and so does vipd.ini")),
            Some(ms) => {
                interval = ms.clamp(100, 3_600_000);
                if interval != ms {
                    out.told(d, packed!("vipd takes 0.1 to 3600"));
                }
            }
        }
    }
    if let Some(d) = find(block, "timeout") {
        let ms = number(d.word(1), 3).map(|ms| if ms == 0 { 1000 } else { ms });
        timeout = ms.map(|ms| ms.clamp(100, interval.min(MAX_TIMEOUT)));
        if ms.is_none() || ms != timeout {
            out.told(d, packed!("vipd takes 0.1 to 60 seconds, and at most the interval"));
        }
    } else if interval > MAX_TIMEOUT {
        out.comment(packed!("keepalived's timeout is the interval; vipd takes at most 60 seconds"));
    }
    out.key("interval", &seconds(interval));
    out.key("timeout", &seconds(timeout.unwrap_or(interval.min(MAX_TIMEOUT))));
    for key in ["fall", "rise"] {
        let value = find(block, key).and_then(|d| out.number(d, 0, 1, 100));
        out.key(key, value.as_deref().unwrap_or("1"));
    }
}

/// `HOST`, `PORT` of `</dev/tcp/HOST/PORT` as vipd writes them.
fn socket(word: &str) -> Option<String> {
    let (host, port) = word.strip_prefix("</dev/tcp/")?.split_once('/')?;
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let addr: IpAddr = host.parse().ok()?;
    let port = number(port, 0).filter(|port| (1..=65535).contains(port))?.to_string();
    let host = addr.to_string();
    Some(if addr.is_ipv6() { ["[", &host, "]:", &port].concat() } else { [&host, ":", &port].concat() })
}

/// A `vrrp_track_process`: vipd looks with `pidof`. Whether there is one.
fn process(out: &mut Out<'_>, p: &Node) -> bool {
    let block = out.settle(&[p], "process weight", "");
    let Some(name) = find(&block, "process") else {
        out.dropped(p, packed!("it has no `process`: keepalived ignores it, too"));
        return false;
    };
    let simple = name.words.len() == 2 && block.iter().all(|d| d.is("process weight full_command"));
    let Some(pidof) = out.program("pidof").filter(|_| simple) else {
        let mut all = Vec::new();
        for d in block {
            all.push(d.keyword().to_owned());
        }
        let why = text::join(&all, ", ") + ": write a [check NAME] of type exec that looks for the process";
        out.remark(p, &why);
        return false;
    };
    out.section("check", p);
    out.told(p, packed!("vipd looks with pidof, once a second"));
    out.key("type", "exec");
    let argv = [pidof, name.word(1).to_owned()];
    out.command_key("target", name, &argv);
    out.text.push_str("interval = 1\ntimeout = 1\nfall = 1\nrise = 1\n");
    true
}

/// Whether the configuration has a `[haproxy]`.
pub(super) fn has_haproxy(checks: &Checks<'_>) -> bool {
    checks.all.iter().any(|c| c.haproxy)
}
