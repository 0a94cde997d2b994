//! Several files, and variables of the environment.

use super::super::report::{Diagnostic, Report};
use super::super::schema::read;
use super::super::source::Source;
use super::super::{Auth, Config, ini};
use super::NO_FILES;
use crate::base::secret::Secret;
use std::path::Path;

/// Line numbers of a source have the file with them.
fn placed(source: &Source, said: &[Diagnostic]) -> Vec<String> {
    said.iter().map(|d| format!("{}: {}", source.files.place(d.line), d.message)).collect()
}

fn parse(files: &[(&str, &str)], env: &[(&str, &[u8])]) -> Result<Config, Vec<String>> {
    let (mut source, mut report) = (Source::default(), Report::default());
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| Secret(v.to_vec()));
    for (file, text) in files {
        source.add(Path::new(file), text.as_bytes(), &env, &mut report);
    }
    read(&source, NO_FILES, report).map(|(cfg, _)| cfg).map_err(|errors| placed(&source, &errors))
}

const BASE: &str = "[global]\nrouter_id = base\nlog_level = warn\n[vrrp A]\ninterface = eth0\nvirtual_router_id = 51\n\
                    virtual_ipaddress = 192.0.2.1/24, 192.0.2.2/24\nvirtual_ipaddress = 192.0.2.3/24";

#[test]
fn a_later_file_completes_and_overrides() {
    let site = "# of this site\n[vrrp A]\npriority = 200\nvirtual_ipaddress = 192.0.2.7/24\nvirtual_ipaddress = 192.0.2.8/24\n\
                [global]\nrouter_id = site\n[vrrp B]\ninterface = eth1\nvirtual_router_id = 52\nvirtual_ipaddress = 192.0.2.9\n";
    let node = "\u{feff}[vrrp A]\r\npriority = 90\r\n";
    let cfg = parse(&[("base", BASE), ("site", site), ("node", node)], &[]).expect("good");
    assert_eq!(cfg.global.router_id.as_deref(), Some("site"));
    assert_eq!(cfg.global.log_level, super::super::LogLevel::Warn);
    let [a, b] = &cfg.vrrp[..] else { panic!("{:?}", cfg.vrrp) };
    let vips: Vec<String> = a.vips.iter().map(|v| v.addr.to_string()).collect();
    assert_eq!((a.priority, vips.join(" ").as_str()), (90, "192.0.2.7 192.0.2.8"));
    assert_eq!((a.interface.as_str(), b.name.as_str(), b.vrid), ("eth0", "B", 52));
    let alone = parse(&[("all", BASE)], &[]).expect("good");
    assert_eq!(
        parse(&[("base", BASE), ("empty", "")], &[]),
        Ok(alone.clone()),
        "an empty file changes nothing"
    );
    assert_eq!(parse(&[("base", BASE), ("again", BASE)], &[]), Ok(alone), "nor does the same file");
}

#[test]
fn an_error_has_its_file_and_line() {
    let site = "priority = 1\n[vrrp A]\npriority = 300\npriority = 10\n[vrrp B]\ninterface = eth0\n\
                virtual_router_id = 51\nvirtual_ipaddress = 192.0.2.1\n[vrrp A]\nbad line\n";
    let errors = parse(&[("base", BASE), ("site", site)], &[]).expect_err("wrong");
    assert_eq!(
        errors,
        [
            "site:1: `priority` is before the first section: e.g. [global] above it",
            "site:3: priority = 300 is out of range: 1 to 255",
            "site:4: `priority` is in [vrrp A] twice: keep this one or the one on line 3 of site",
            "site:7: virtual_router_id = 51 on eth0 is that of [vrrp A] on line 6 of base: take another",
            "site:8: virtual_ipaddress: 192.0.2.1 on eth0 is already in [vrrp A] on line 7 of base: remove one",
            "site:9: [vrrp A] appears twice: merge it with the one on line 2 of site",
            "site:10: the line is neither `[section]` nor `key = value`: it begins with `bad`",
        ]
    );
    let (mut source, mut report) = (Source::default(), Report::default());
    source.add(Path::new("a"), b"[haproxy]\n", &|_| None, &mut report);
    source.add(Path::new("b"), b"#\n[haproxy]\n# gr\xfc\xdfe\nbinary = x\n", &|_| None, &mut report);
    let errors = read(&source, NO_FILES, report).expect_err("Latin-1");
    let text = "b:3: this is not UTF-8 text: save the file as UTF-8 or ASCII";
    assert_eq!(
        placed(&source, &errors),
        [text, "b:4: binary = x is not an absolute path: it must begin with `/`"]
    );
}

/// The value of a key with white space and comments, and the password, with the environment of the tests.
fn with(value: &str) -> Result<String, Vec<String>> {
    let long = "y".repeat(ini::MAX_LINE + 1);
    let env: &[(&str, &[u8])] = &[
        ("NAME", b"web 1"),
        ("EMPTY", b""),
        ("_X9", b"x$"),
        ("TWO", b"a\nlog_level = debug"),
        ("ESC", b"\x1b[2J"),
        ("LATIN", b"\xfc"),
        ("HASH", b"a #b"),
        ("SIGN", b"#b"),
        ("SECTION", b"[vrrp]"),
        ("SELF", b"${SELF}"),
        ("LONG", long.as_bytes()),
    ];
    parse(&[("i", &format!("[haproxy]\n[global]\nrouter_id = {value}\n"))], env)
        .map(|cfg| cfg.global.router_id.unwrap_or_default())
}

#[test]
fn variables_are_replaced_in_values() {
    for (value, becomes) in [
        ("${NAME}", "web 1"),
        ("a${NAME}b${NAME}c # ${NONE}", "aweb 1bweb 1c"),
        ("${NONE:-eth0}", "eth0"),
        ("${NAME:-eth0}", "web 1"),
        ("${EMPTY:-eth0}", "eth0"),
        ("x${EMPTY}${NONE:-}", "x"),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${NAME}", "${NAME}"),
        ("$$${NAME}", "$${NAME}"),
        ("${_X9}${NAME}", "x$web 1"),
        ("$NAME $ $$ {x}", "$NAME $ $$ {x}"),
        ("${SECTION}", "[vrrp]"),
        ("${SELF}", "${SELF}"),
    ] {
        assert_eq!(with(value), Ok(becomes.to_owned()), "{value}");
    }
    // In keys, headers and comments nothing is.
    let text = "# ${NONE}\n; a = ${NONE}\n[haproxy] # = ${NONE}\n";
    assert!(parse(&[("i", text)], &[]).is_ok());
    let errors = parse(&[("i", "[haproxy]\n${KEY} = /x\n[vrrp ${KEY}]\n")], &[("KEY", b"binary")]);
    assert_eq!(errors.expect_err("wrong").len(), 2);
    // A list may come as one.
    let vips = BASE.replace("192.0.2.3/24", "${VIPS}");
    let cfg = parse(&[("i", &vips)], &[("VIPS", b"192.0.2.8, 192.0.2.9")]).expect("good");
    assert_eq!(cfg.vrrp[0].vips.len(), 4);
}

#[test]
fn a_wrong_variable_is_named_and_nothing_follows_from_it() {
    for (value, message) in [
        ("${NONE}", "${NONE}: the variable is not set: set it, or give a default: ${NAME:-default}"),
        (
            "${NAME",
            "write `${NAME}` or `${NAME:-default}`, with A-Z, a-z, 0-9 and `_`, or `$${` for a literal `${`",
        ),
        (
            "${}",
            "write `${NAME}` or `${NAME:-default}`, with A-Z, a-z, 0-9 and `_`, or `$${` for a literal `${`",
        ),
        (
            "${A-b}",
            "write `${NAME}` or `${NAME:-default}`, with A-Z, a-z, 0-9 and `_`, or `$${` for a literal `${`",
        ),
        (
            "${TWO}",
            "${TWO}: the variable is not UTF-8 text, or has a line end or another control character in it",
        ),
        (
            "${ESC}",
            "${ESC}: the variable is not UTF-8 text, or has a line end or another control character in it",
        ),
        (
            "${LATIN}",
            "${LATIN}: the variable is not UTF-8 text, or has a line end or another control character in it",
        ),
        ("${HASH}", "${HASH}: the variable has a `#` or `;` in it that begins a comment here"),
        ("${SIGN}", "${SIGN}: the variable has a `#` or `;` in it that begins a comment here"),
        ("${LONG}", "the line has 16395 octets: at most 16384"),
    ] {
        assert_eq!(with(value), Err(vec![format!("i:3: {message}")]), "{value}");
    }
    let text = BASE.replace("= 51", "= ${VRID}").replace("eth0", "${IF}");
    let errors = parse(&[("base", &text), ("site", "[vrrp A]\npriority = ${PRIO}\n")], &[("IF", b"eth0")]);
    let unset = "the variable is not set: set it, or give a default: ${NAME:-default}";
    let expected = [format!("base:6: ${{VRID}}: {unset}"), format!("site:2: ${{PRIO}}: {unset}")];
    assert_eq!(errors.expect_err("wrong"), expected);
    // Memory is bounded, however often a long variable is used.
    let many = format!("[haproxy]\n{}", "args = ${LONG}\n".repeat(1000));
    let errors = parse(&[("i", &many)], &[("LONG", &vec![b'x'; 16_000])]).expect_err("too long");
    assert!(errors[0].contains("more than 1048576 octets"), "{errors:?}");
}

#[test]
fn a_secret_from_the_environment_is_not_in_the_file() {
    let text = format!("{BASE}\nauth_type = PASS\nauth_pass = ${{PASS}}\n");
    let cfg = parse(&[("i", &text)], &[("PASS", b"a #;b")]).expect("good");
    assert_eq!(cfg.vrrp[0].auth, Auth::Pass(*b"a #;b\0\0\0"));
    let errors = parse(&[("i", &text)], &[("PASS", b"hidden\n")]).expect_err("a line end");
    assert!(!errors.concat().contains("hidden"), "{errors:?}");
    let errors = parse(&[("i", &text.replace("${PASS}", "p4ss${w0rd"))], &[]).expect_err("not closed");
    assert!(!errors.concat().contains("w0rd"), "{errors:?}");
    for (value, literal) in [("1111", true), ("${PASS}", false), ("$${PASS}", true)] {
        let (mut source, text) = (Source::default(), text.replace("${PASS}", value));
        let env = |_: &str| Some(Secret(b"x".to_vec()));
        source.add(Path::new("i"), text.as_bytes(), &env, &mut Report::default());
        assert_eq!(source.is_literal(10), literal, "{value}");
    }
}
