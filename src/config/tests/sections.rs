//! `[check NAME]` and `[group NAME]`: what is read, and the exact messages of what is wrong.

use super::wrong::{Table, check};
use super::{errors, good, warnings};
use crate::config::{Check, CheckKind, Group};
use std::time::Duration;

/// Lines of a check follow it: the first is line 6.
const TRACKED: &str = "\
[vrrp VI_1]
interface = eth0
virtual_router_id = 51
virtual_ipaddress = 192.0.2.10/24
track = c
";

const PAIR: &str = "\
[vrrp VI_1]
interface = eth0
virtual_router_id = 51
virtual_ipaddress = 192.0.2.10
[vrrp VI_2]
interface = eth1
virtual_router_id = 51
virtual_ipaddress = 192.0.2.10
[vrrp VI_3]
interface = eth2
virtual_router_id = 51
virtual_ipaddress = 192.0.2.10
";

fn one(lines: &str) -> Check {
    good(&format!("{TRACKED}[check c]\n{lines}\n")).checks.remove(0)
}

#[test]
fn checks_and_their_defaults() {
    let seconds = Duration::from_secs;
    let expected = Check {
        name: "c".into(),
        kind: CheckKind::Tcp("192.0.2.1:80".parse().expect("valid")),
        interval: seconds(2),
        timeout: seconds(1),
        fall: 3,
        rise: 1,
    };
    assert_eq!(one("type = tcp\ntarget = 192.0.2.1:80"), expected);
    let lines = "interval = 3600\ntimeout = 60\nfall = 100\nrise = 2\ntype = ping\ntarget = 127.0.0.1";
    let expected = Check {
        name: "c".into(),
        kind: CheckKind::Ping("127.0.0.1".parse().expect("valid")),
        interval: seconds(3600),
        timeout: seconds(60),
        fall: 100,
        rise: 2,
    };
    assert_eq!(one(lines), expected);
    // A short interval shortens the time-out that nobody set.
    let ping = "type = ping\ntarget = 192.0.2.1";
    assert_eq!(one(&format!("{ping}\ninterval = 0.5")).timeout, Duration::from_millis(500));
    assert_eq!(one(&format!("{ping}\ninterval = 1\ntimeout = 1")).timeout, seconds(1));
}

#[test]
fn targets_of_checks() {
    let kind = |kind: &str, target: &str| one(&format!("type = {kind}\ntarget = {target}")).kind;
    assert_eq!(kind("tcp", "[2001:db8::1]:65535"), CheckKind::Tcp("[2001:db8::1]:65535".parse().unwrap()));
    let http = |addr: &str, path: &str| CheckKind::Http { addr: addr.parse().unwrap(), path: path.into() };
    assert_eq!(kind("http", "127.0.0.1:8080"), http("127.0.0.1:8080", "/"));
    assert_eq!(kind("http", "127.0.0.1:8080/"), http("127.0.0.1:8080", "/"));
    assert_eq!(kind("http", "[::1]:80/a/b?c=d;e#f"), http("[::1]:80", "/a/b?c=d;e#f"));
    let longest = format!("/{}", "x".repeat(1023));
    assert_eq!(kind("http", &format!("192.0.2.1:80{longest}")), http("192.0.2.1:80", &longest));
    assert_eq!(kind("ping", "2001:db8::1"), CheckKind::Ping("2001:db8::1".parse().unwrap()));
    let exec = |argv: &[&str], user: Option<&str>| CheckKind::Exec {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        user: user.map(str::to_owned),
    };
    assert_eq!(
        kind("exec", "/bin/test -e \"/a b\" #c \"\""),
        exec(&["/bin/test", "-e", "/a b", "#c", ""], None)
    );
    let check = one("type = exec\ntarget = /bin/true\nuser = web-1_a.b");
    assert_eq!(check.kind, exec(&["/bin/true"], Some("web-1_a.b")));
}

#[test]
fn checks_and_groups_keep_the_order_of_the_file() {
    let text = format!(
        "[group G]\nmembers = VI_3, VI_1\n[check b]\ntype = ping\ntarget = 192.0.2.1\n{PAIR}track = a, b\n\
         [check a]\ntype = ping\ntarget = 192.0.2.2\n"
    );
    let config = good(&text);
    let names: Vec<_> = config.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    let tracked: Vec<_> = config.vrrp[2].track_checks.iter().map(|t| t.check).collect();
    assert_eq!(tracked, [1, 0]);
    assert_eq!(config.groups, [Group { name: "G".into(), members: vec![2, 0] }]);
    assert!(warnings(&text).is_empty());
    let text = format!("{PAIR}[group G]\nmembers = VI_3\nmembers = VI_2\n");
    assert_eq!(good(&text).groups[0].members, [2, 1]);
}

/// Whole files.
const FILES: Table = &[
    (
        "[check c]\ntype = ping\ntarget = 192.0.2.1\n[group G]\nmembers = a",
        &[
            "0: there is nothing to do: add a [vrrp NAME] or a [haproxy] section",
            "5: members: there is no [vrrp a]",
            "5: [group G] has fewer than two members: name another, or remove it",
        ],
    ),
    ("[haproxy]\n[check]", &["2: [check] has no name: e.g. [check gateway]"]),
    ("[haproxy]\n[group]", &["2: [group] has no name: e.g. [group VG_1]"]),
    ("[haproxy]\n[chek web]", &["2: unknown section [chek web]: did you mean [check web]?"]),
    ("[haproxy]\n[groups]", &["2: unknown section [groups]: did you mean [group NAME]?"]),
    (
        "[haproxy]\n[vrrp_sync_group VG_1]",
        &["2: unknown section [vrrp_sync_group VG_1]: did you mean [group VG_1]?"],
    ),
    ("[haproxy]\n[vrrp_script c]", &["2: unknown section [vrrp_script c]: did you mean [check c]?"]),
    (
        "[haproxy]\n[check c]",
        &[
            "2: [check c] lacks `type`: e.g. type = tcp",
            "2: [check c] lacks `target`: e.g. target = 192.0.2.1:80",
        ],
    ),
    ("[haproxy]\n[group G]", &["2: [group G] lacks `members`: e.g. members = VI_1, VI_2"]),
    (
        "[haproxy]\n[check c]\ntype = ping\ntarget = 192.0.2.1\n[check c]\ntype = ping\ntarget = 192.0.2.1",
        &["5: [check c] appears twice: merge it with the one on line 2"],
    ),
    (
        "[haproxy]\n[check c]\npriority = 1\ntype = ping\ntarget = 192.0.2.1",
        &["3: unknown key `priority` in [check c]: it belongs to [vrrp NAME]"],
    ),
    ("[haproxy]\ntarget = 192.0.2.1", &["2: unknown key `target` in [haproxy]: it belongs to [check NAME]"]),
    ("[haproxy]\nmembers = a", &["2: unknown key `members` in [haproxy]: it belongs to [group NAME]"]),
];

/// Lines of `[check c]` after `TRACKED`: the first is line 7.
const CHECKS: Table = &[
    ("type = tcp", &["6: [check c] lacks `target`: e.g. target = 192.0.2.1:80"]),
    ("type = http", &["6: [check c] lacks `target`: e.g. target = 192.0.2.1:80/health"]),
    ("type = exec", &["6: [check c] lacks `target`: e.g. target = /usr/local/bin/check"]),
    ("type = ping", &["6: [check c] lacks `target`: e.g. target = 192.0.2.1"]),
    ("target = anything", &["6: [check c] lacks `type`: e.g. type = tcp"]),
    (
        "type = https\ntarget = x",
        &["7: type = https is not one of: tcp, http, exec, ping (did you mean `http`?)"],
    ),
    (
        "type = tcp\ntarget = 192.0.2.1",
        &["8: target = 192.0.2.1 is not ADDR:PORT, port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80"],
    ),
    (
        "type = tcp\ntarget = 192.0.2.1:0",
        &["8: target = 192.0.2.1:0 is not ADDR:PORT, port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80"],
    ),
    (
        "type = tcp\ntarget = 192.0.2.1:65536",
        &[
            "8: target = 192.0.2.1:65536 is not ADDR:PORT, port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "type = tcp\ntarget = 2001:db8::1:80",
        &[
            "8: target = 2001:db8::1:80 is not ADDR:PORT, port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "type = tcp\ntarget = [192.0.2.1]:80",
        &["8: target = [192.0.2.1]:80 is not ADDR:PORT: brackets belong around IPv6 addresses only"],
    ),
    (
        "type = tcp\ntarget = 192.0.2.1:80/x",
        &[
            "8: target = 192.0.2.1:80/x is not ADDR:PORT, port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "type = tcp\ntarget = localhost:80",
        &["8: target: localhost is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    (
        "type = tcp\ntarget = 0.0.0.0:80",
        &["8: target: 0.0.0.0 is the unspecified address: take one that a host can have"],
    ),
    (
        "type = tcp\ntarget = [::ffff:192.0.2.1]:80",
        &["8: target: ::ffff:192.0.2.1 is an IPv4 address in IPv6: take one that a host can have"],
    ),
    (
        "type = tcp\ntarget = [fe80::1]:80",
        &["8: target: fe80::1 is link-local, and a check names no interface: take a global address"],
    ),
    (
        "type = http\ntarget = http://192.0.2.1/",
        &[
            "8: target = http://192.0.2.1/ is not ADDR:PORT[/PATH], port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "type = http\ntarget = 192.0.2.1/health",
        &[
            "8: target = 192.0.2.1/health is not ADDR:PORT[/PATH], port 1 to 65535, e.g. 192.0.2.1:80 or [2001:db8::1]:80",
        ],
    ),
    (
        "type = http\ntarget = 192.0.2.1:80/a b",
        &[
            "8: target = 192.0.2.1:80/a b has a path that is not printable ASCII without spaces, at most 1024 octets",
        ],
    ),
    (
        "type = http\ntarget = 192.0.2.1:80/ü",
        &[
            "8: target = 192.0.2.1:80/\\u{fc} has a path that is not printable ASCII without spaces, at most 1024 octets",
        ],
    ),
    (
        "type = ping\ntarget = 192.0.2.1:80",
        &["8: target: 192.0.2.1:80 is not an IP address, e.g. 192.0.2.10 or 2001:db8::10"],
    ),
    (
        "type = ping\ntarget = fe80::1",
        &["8: target: fe80::1 is link-local, and a check names no interface: take a global address"],
    ),
    (
        "type = ping\ntarget = 255.255.255.255",
        &["8: target: 255.255.255.255 is the broadcast address: take one that a host can have"],
    ),
    ("type = exec\ntarget = /bin/true \"", &["8: target: a double quote is not closed"]),
    ("type = exec\ntarget = true -x", &["8: target = true is not an absolute path: it must begin with `/`"]),
    ("type = exec\ntarget = \"\" x", &["8: target =  is not an absolute path: it must begin with `/`"]),
    (
        "type = exec\ntarget = /bin/true\nuser = web user",
        &["9: user = web user is not a user name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"],
    ),
    (
        "type = exec\ntarget = /bin/true\nuser = -x",
        &["9: user = -x is not a user name: 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`"],
    ),
    (
        "type = tcp\ntarget = 192.0.2.1:80\nuser = nobody",
        &["9: `user` goes only with type = exec: leave it out"],
    ),
    (
        "type = ping\ntarget = 192.0.2.1\ninterval = 0",
        &["9: interval = 0 is out of range: 0.1 to 3600 seconds"],
    ),
    (
        "type = ping\ntarget = 192.0.2.1\ntimeout = 61\ninterval = 100",
        &["9: timeout = 61 is out of range: 0.1 to 60 seconds"],
    ),
    (
        "type = ping\ntarget = 192.0.2.1\ntimeout = 2.5",
        &["9: timeout = 2.5 is longer than interval = 2: an attempt ends before the next"],
    ),
    ("type = ping\ntarget = 192.0.2.1\nfall = 0", &["9: fall = 0 is out of range: 1 to 100"]),
    ("type = ping\ntarget = 192.0.2.1\nrise = 101", &["9: rise = 101 is out of range: 1 to 100"]),
];

/// Lines after `PAIR`: the first is line 13, still in VI_3.
const GROUPS: Table = &[
    ("[group G]\nmembers = VI_1", &["14: [group G] has fewer than two members: name another, or remove it"]),
    ("[group G]\nmembers = VI_1, VI2", &["14: members: there is no [vrrp VI2] (did you mean `VI_2`?)"]),
    ("[group G]\nmembers = VI_1, other", &["14: members: there is no [vrrp other]"]),
    ("[group G]\nmembers = VI_1, VI_1", &["14: members: VI_1 appears twice: remove one"]),
    ("[group G]\nmembers = VI_1,, VI_2", &["14: `members` has an empty element: remove a comma"]),
    (
        "[group G]\nmembers = VI_1, VI_2\n[group H]\nmembers = VI_3, VI_2",
        &["16: members: VI_2 is already in [group G] on line 14: remove one"],
    ),
    (
        "[group G]\nmembers = VI_1, VI_2\n[group G]\nmembers = VI_1, VI_2",
        &["15: [group G] appears twice: merge it with the one on line 13"],
    ),
    (
        "priority = 255\n[group G]\nmembers = VI_1, VI_3",
        &[
            "15: [group G]: VI_3 is an owner (priority = 255), which never gives way, and VI_1 is not: set 254",
        ],
    ),
];

/// As above, but accepted, with the warnings.
const GROUPS_WARNED: Table = &[
    ("[group G]\nmembers = VI_1, VI_2, VI_3", &[]),
    ("preempt = no\nadvert_int = 2\n[group G]\nmembers = VI_1, VI_2", &[]),
    ("priority = 255\n[group G]\nmembers = VI_1, VI_2", &[]),
    (
        "preempt = no\n[group G]\nmembers = VI_1, VI_3",
        &["15: [group G]: VI_1 and VI_3 differ in preempt: they move together"],
    ),
    (
        "advert_int = 2\n[group G]\nmembers = VI_1, VI_2, VI_3",
        &["15: [group G]: advert_int is 1 in VI_1 and 2 in VI_3: the slowest decides when all move"],
    ),
    (
        "[check c]\ntype = ping\ntarget = 192.0.2.1",
        &["13: [check c] is tracked by no router: add track = c to a [vrrp NAME]"],
    ),
    ("track = c\n[check c]\ntype = ping\ntarget = 192.0.2.1", &[]),
];

#[test]
fn wrong_sections_have_these_messages() {
    check(FILES, str::to_owned, errors);
    check(CHECKS, |lines| format!("{TRACKED}[check c]\n{lines}\n"), errors);
    check(GROUPS, |lines| format!("{PAIR}{lines}\n"), errors);
    assert!(FILES.iter().chain(CHECKS).chain(GROUPS).all(|(_, expected)| !expected.is_empty()));
    let long = format!("{TRACKED}[check c]\ntype = http\ntarget = 192.0.2.1:80/{}\n", "x".repeat(1024));
    assert!(errors(&long)[0].contains("at most 1024 octets"));
}

#[test]
fn accepted_sections_may_have_warnings() {
    check(GROUPS_WARNED, |lines| format!("{PAIR}{lines}\n"), warnings);
    // Two owners agree.
    let owners = PAIR.replace("virtual_router_id = 51", "virtual_router_id = 51\npriority = 255");
    assert!(warnings(&format!("{owners}[group G]\nmembers = VI_1, VI_2\n")).is_empty());
}

#[test]
fn mail_servers() {
    let mail = |server: &str| {
        let text = format!("[global]\nnotification_email = a@b\nsmtp_server = {server}\n[haproxy]");
        let mail = good(&text).global.mail.expect("there");
        (mail.server, mail.port)
    };
    for (text, server, port) in [
        ("mail", "mail", 25),
        ("mail.example.org:587", "mail.example.org", 587),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("2001:db8::1", "2001:db8::1", 25),
        ("[::1]", "::1", 25),
        ("[::1]:26", "::1", 26),
    ] {
        assert_eq!(mail(text), (server.into(), port), "{text}");
    }
    let many = |n: usize| (0..n).map(|i| format!("u{i}@x")).collect::<Vec<_>>().join(", ");
    let text = |n| format!("[global]\nsmtp_server = x\nnotification_email = {}\n[haproxy]", many(n));
    assert_eq!(good(&text(32)).global.mail.map(|m| (m.to.len(), m.from)), Some((32, None)));
    assert_eq!(errors(&text(33)), ["3: too many recipients: at most 32"]);
}
