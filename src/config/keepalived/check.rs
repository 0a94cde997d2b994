//! `vrrp_script` and `vrrp_track_process`: HAProxy itself, or a `[check NAME]`.

use super::out::Out;
use super::parse::Node;
use super::text::{self, number, seconds};
use std::net::IpAddr;

/// Longest time-out of a check, in milliseconds.
const MAX_TIMEOUT: u64 = 60_000;

/// One script or process that somebody tracks.
pub(super) struct Check<'t> {
    pub(super) node: &'t Node,
    /// Only looks whether HAProxy runs: vipd does that itself.
    pub(super) haproxy: bool,
    /// Weight, and whether it is reversed.
    pub(super) weight: (i32, bool),
}

/// All of them.
pub(super) struct Checks<'t> {
    pub(super) all: Vec<Check<'t>>,
    /// Those that became a section.
    pub(super) written: Vec<&'t Node>,
}

/// Kinds of directives that define what can be tracked.
const KINDS: [&str; 3] = ["vrrp_script", "vrrp_track_process", "vrrp_process"];

impl<'t> Checks<'t> {
    pub(super) fn new(out: &Out<'t>) -> Self {
        let mut checks = Checks { all: Vec::new(), written: Vec::new() };
        let tree = out.tree;
        for node in tree.nodes.iter().filter(|n| KINDS.contains(&n.keyword())) {
            let haproxy = looks_at_haproxy(node);
            let weight = node.block.iter().rfind(|d| d.keyword() == "weight");
            let number = weight.and_then(|d| d.word(1).parse::<i32>().ok()).unwrap_or(0).clamp(-253, 253);
            let reverse = weight.is_some_and(|d| d.word(2) == "reverse");
            checks.all.push(Check { node, haproxy, weight: (number, reverse) });
        }
        checks
    }

    /// What `track_script` or `track_process` names.
    pub(super) fn find(&self, kind: &str, name: &str) -> Option<&Check<'t>> {
        let script = kind == "track_script";
        let mut found = self.all.iter().filter(|c| (c.node.keyword() == "vrrp_script") == script);
        found.find(|c| c.node.word(1) == name)
    }
}

/// Whether a router or a group tracks it.
fn is_tracked(out: &Out<'_>, check: &Node) -> bool {
    let kind = if check.keyword() == "vrrp_script" { "track_script" } else { "track_process" };
    let users = out.tree.nodes.iter().filter(|n| matches!(n.keyword(), "vrrp_instance" | "vrrp_sync_group"));
    let tracks = users.flat_map(|n| &n.block).filter(|d| d.keyword() == kind);
    tracks.flat_map(|d| &d.block).any(|t| t.keyword() == check.word(1))
}

/// Writes `[haproxy]` and every `[check NAME]`.
pub(super) fn write<'t>(out: &mut Out<'t>, checks: &mut Checks<'t>) {
    checks.all.retain(|c| {
        let tracked = is_tracked(out, c.node);
        if !tracked {
            out.dropped(c.node, "nothing tracks it: left out");
        }
        tracked
    });
    haproxy(out, checks);
    for c in checks.all.iter().filter(|c| !c.haproxy) {
        let again =
            checks.written.iter().any(|w| w.word(1) == c.node.word(1) && w.keyword() == c.node.keyword());
        if again {
            out.dropped(c.node, "the name is taken: the first one counts");
        } else if if c.node.keyword() == "vrrp_script" { script(out, c.node) } else { process(out, c.node) } {
            checks.written.push(c.node);
        }
    }
}

fn haproxy(out: &mut Out<'_>, checks: &Checks<'_>) {
    let scripts: Vec<&Node> = checks.all.iter().filter(|c| c.haproxy).map(|c| c.node).collect();
    if scripts.is_empty() {
        return;
    }
    out.begin("haproxy");
    let names: Vec<&str> = scripts.iter().map(|n| n.word(1)).collect();
    out.line(&[
        "# instead of ",
        &names.join(", "),
        ": vipd starts HAProxy itself, asks it whether it is well, and",
    ]);
    out.comment("starts it again; disable the service that starts it now");
    let mut config = Vec::new();
    for n in scripts {
        let argv = argv(n).unwrap_or_default();
        config.extend(argv.windows(2).filter(|w| w[0] == "-f").map(|w| w[1].clone()));
        if argv.iter().any(|a| a == "-f") {
            out.told(n, "HAProxy's files are those of its `-f`");
        }
        if argv.first().is_some_and(|p| program(p) != "haproxy" && program(p).contains("haproxy")) {
            out.told(n, "its name says that it checks HAProxy: if it does more, make it a [check NAME]");
        }
    }
    config.dedup();
    if config.is_empty() {
        config.push("/etc/haproxy/haproxy.cfg".to_owned());
    }
    out.key("config", &config.join(", "));
}

/// The last component of a path.
fn program(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The words of the script's command; of a shell's, if it is a simple one.
fn argv(script: &Node) -> Option<Vec<String>> {
    let d = script.block.iter().rfind(|d| d.keyword() == "script")?;
    let (mut argv, rest) = text::command(&d.line)?;
    argv.extend(rest);
    if let [shell, option, command] = &argv[..]
        && matches!(program(shell), "sh" | "bash" | "dash")
        && option == "-c"
        && !command.contains(['|', ';', '&', '>', '$', '`', '*', '(', '"', '\''])
    {
        return Some(command.split_ascii_whitespace().map(str::to_owned).collect());
    }
    Some(argv)
}

/// `killall -0 haproxy`, `pidof haproxy`, `systemctl is-active haproxy`, `haproxy -c -f FILE`, a script whose
/// name has `haproxy` in it, a process of that name. Not a name of the check alone, and not a container.
fn looks_at_haproxy(check: &Node) -> bool {
    if check.keyword() != "vrrp_script" {
        return check.block.iter().any(|d| d.keyword() == "process" && program(d.word(1)) == "haproxy");
    }
    let Some(argv) = argv(check) else { return false };
    let Some((first, args)) = argv.split_first() else { return false };
    let asks = ["killall", "killall5", "pidof", "pgrep", "pkill", "systemctl", "service", "rc-service"];
    let named =
        |word: &String| matches!(program(word).strip_suffix(".service").unwrap_or(program(word)), "haproxy");
    match program(first) {
        "haproxy" => args.iter().any(|a| a == "-c"),
        first if asks.contains(&first) => args.iter().any(named),
        first => first.contains("haproxy"),
    }
}

/// A `vrrp_script`. keepalived's defaults are not vipd's, so all of them are written. Whether there is one.
fn script(out: &mut Out<'_>, s: &Node) -> bool {
    let block = out.settle(&s.block, "", "");
    let find = |key: &str| block.iter().copied().find(|d| d.keyword() == key);
    let Some(command) = find("script") else {
        out.dropped(s, "it has no `script`: keepalived ignores it, too");
        return false;
    };
    let Some(words) = out.command(command) else { return false };
    let simple = argv(s).unwrap_or_default();
    let port = simple.first().and_then(|w| w.strip_prefix("</dev/tcp/")).filter(|_| simple.len() == 1);
    let port = port.and_then(|to| to.split_once('/'));
    if words.first().is_some_and(|w| w.starts_with('<')) && port.and_then(socket).is_none() {
        out.dropped(command, "this needs a shell, which vipd does not start: write a [check NAME] for it");
        return false;
    }
    out.section("check", s);
    match port.and_then(socket) {
        Some(target) => {
            out.told(command, "as a check of type tcp");
            out.key("type", "tcp");
            out.key("target", &target);
        }
        None => exec(out, command, &words, find("user")),
    }
    times(out, &block);
    if let Some(d) = find("weight")
        && !d.word(1).parse().is_ok_and(|n: i32| (-253..=253).contains(&n))
    {
        out.told(d, "a weight is -253 to 253: the nearest one, or none");
    }
    if let Some(d) = find("init_fail") {
        out.told(d, "a check counts as down until it has been up, in any case");
    }
    for d in block {
        if !matches!(
            d.keyword(),
            "script" | "user" | "interval" | "timeout" | "rise" | "fall" | "weight" | "init_fail"
        ) {
            out.by("", d);
        }
    }
    true
}

/// A command, and who runs it.
fn exec(out: &mut Out<'_>, command: &Node, words: &[String], user: Option<&Node>) {
    out.key("type", "exec");
    if words.iter().any(|w| matches!(w.as_str(), "|" | "||" | "&&" | ";" | ">" | "<")) {
        out.comment("neither keepalived nor vipd starts a shell for this: put it into a script");
    }
    // Without a target `vipd -t` refuses the section, so that it is seen.
    out.command_key("target", command, words);
    match user {
        Some(u) => {
            if !u.word(2).is_empty() {
                out.told(u, "the group is that of the user");
            }
            out.key("user", u.word(1));
        }
        None if !out.user.is_empty() => out.key("user", &out.user.clone()),
        None => {}
    }
}

/// `interval`, `timeout`, `fall`, `rise`
fn times(out: &mut Out<'_>, block: &[&Node]) {
    let find = |key: &str| block.iter().copied().find(|d| d.keyword() == key);
    let (mut interval, mut timeout) = (1000, None);
    if let Some(d) = find("interval") {
        match number(d.word(1), 3) {
            Some(0) | None => out.told(d, "keepalived falls back to 1 second, and so does vipd.ini"),
            Some(ms) => {
                interval = ms.clamp(100, 3_600_000);
                if interval != ms {
                    out.told(d, "vipd takes 0.1 to 3600");
                }
            }
        }
    }
    if let Some(d) = find("timeout") {
        let ms = number(d.word(1), 3).map(|ms| if ms == 0 { 1000 } else { ms });
        timeout = ms.map(|ms| ms.clamp(100, interval.min(MAX_TIMEOUT)));
        if ms.is_none() || ms != timeout {
            out.told(d, "vipd takes 0.1 to 60 seconds, and at most the interval");
        }
    } else if interval > MAX_TIMEOUT {
        out.comment("keepalived's timeout is the interval; vipd takes at most 60 seconds");
    }
    out.key("interval", &seconds(interval));
    out.key("timeout", &seconds(timeout.unwrap_or(interval.min(MAX_TIMEOUT))));
    for key in ["fall", "rise"] {
        let value = find(key).and_then(|d| out.number(d, 0, 1, 100));
        out.key(key, value.as_deref().unwrap_or("1"));
    }
}

/// `HOST`, `PORT` of `/dev/tcp/HOST/PORT` as vipd writes them.
fn socket((host, port): (&str, &str)) -> Option<String> {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let addr: IpAddr = host.parse().ok()?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    Some(std::net::SocketAddr::new(addr, port).to_string())
}

/// A `vrrp_track_process`: vipd looks with `pidof`. Whether there is one.
fn process(out: &mut Out<'_>, p: &Node) -> bool {
    let block = out.settle(&p.block, "process weight", "");
    let Some(name) = block.iter().copied().find(|d| d.keyword() == "process") else {
        out.dropped(p, "it has no `process`: keepalived ignores it, too");
        return false;
    };
    let simple = name.words.len() == 2;
    let others = block.iter().any(|d| !matches!(d.keyword(), "process" | "weight" | "full_command"));
    let Some(pidof) = out.program("pidof").filter(|_| simple && !others) else {
        let all: Vec<&str> = block.iter().map(|d| d.keyword()).collect();
        let why = format!("{}: write a [check NAME] of type exec that looks for the process", all.join(", "));
        out.dropped(p, &why);
        return false;
    };
    out.section("check", p);
    out.told(p, "vipd looks with pidof, once a second");
    out.key("type", "exec");
    let argv = [pidof, name.word(1).to_owned()];
    out.command_key("target", name, &argv);
    out.line(&["interval = 1"]);
    out.line(&["timeout = 1"]);
    out.line(&["fall = 1"]);
    out.line(&["rise = 1"]);
    true
}

/// Whether the configuration has a `[haproxy]`.
pub(super) fn has_haproxy(checks: &Checks<'_>) -> bool {
    checks.all.iter().any(|c| c.haproxy)
}
