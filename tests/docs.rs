//! The documentation and the program say the same: keys, counters, options, examples; and `mandoc` likes the
//! manual.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use vipd::config::schema;
use vipd::vrrp::stats::Stats;

const PAGES: [&str; 7] = [
    "man7/vipd-appliance.7",
    "man8/vipd.8",
    "man5/vipd.ini.5",
    "man7/vipd-haproxy.7",
    "man7/vipd-lease.7",
    "man7/vipd-monitoring.7",
    "man7/vipd-troubleshooting.7",
];

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).expect(file)
}

fn page(name: &str) -> String {
    read(&format!("rootfs/usr/share/man/{name}"))
}

type Keys = BTreeMap<String, BTreeSet<String>>;

/// `global`, `vrrp NAME`, ... and their keys, as the parser knows them.
fn of_the_code() -> Keys {
    let mut all = Keys::new();
    for (title, lists) in schema::keys() {
        let words = lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|w| !w.is_empty());
        all.insert(title.trim_matches(['[', ']']).to_owned(), words.map(str::to_owned).collect());
    }
    all
}

/// `.Ss Section TITLE` with what is below it.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n.Ss Section ").skip(1).map(|section| {
        let (title, body) = section.split_once('\n').expect("a title");
        (title, body.split("\n.Sh ").next().expect("a body"))
    })
}

/// `.It Ic KEY` with what is below it.
fn items(body: &str) -> impl Iterator<Item = (&str, &str)> {
    body.split("\n.It Ic ").skip(1).map(|item| {
        let (key, text) = item.split_once('\n').expect("a key");
        (key, text.split("\n.El").next().expect("a text"))
    })
}

#[test]
fn the_manual_has_exactly_the_keys_of_the_code() {
    let text = page("man5/vipd.ini.5");
    let mut all = Keys::new();
    for (title, body) in sections(&text) {
        let set: BTreeSet<String> = items(body).map(|(key, _)| key.to_owned()).collect();
        assert_eq!(set.len(), items(body).count(), "twice in {title}");
        all.insert(title.to_owned(), set);
    }
    assert_eq!(all, of_the_code());
}

/// The line of a key in the manual: its range, and its default or `required`.
fn line_of<'a>(key: &str, text: &'a str) -> (&'a str, &'a str) {
    let line = text.lines().next().and_then(|l| l.strip_prefix(".D1 "));
    let line = line.unwrap_or_else(|| panic!("{key} does not begin with `.D1 RANGE; DEFAULT`: {text}"));
    line.split_once("; ").unwrap_or_else(|| panic!("{key}: {line}"))
}

/// The parser is asked what it would take.
#[test]
fn the_manual_has_the_ranges_of_the_code() {
    let text = page("man5/vipd.ini.5");
    let (mut ranges, mut words) = (0, 0);
    for (title, body) in sections(&text) {
        for (key, text) in items(body) {
            let (told, default) = line_of(key, text);
            let has_one = default.starts_with("default") || default.starts_with("required");
            assert!(has_one, "{key}: neither a default nor `required`: {default}");
            let said = |value: &str| {
                let errors =
                    schema::parse(&format!("[{title}]\n{key} = {value}\n")).err().unwrap_or_default();
                errors.into_iter().find(|e| e.line == 2).map_or(String::new(), |e| e.message)
            };
            let number = |c: char| !c.is_ascii_digit() && c != '.';
            if let Some((_, range)) = said("99999999").split_once("is out of range: ") {
                let there: Vec<&str> = told.split(number).collect();
                for bound in range.split(number).filter(|n| !n.is_empty()) {
                    assert!(there.contains(&bound), "{key}: {range}, but the manual says {told}");
                }
                ranges += 1;
            } else if let Some((_, known)) = said("no-such-word").split_once("is not one of: ") {
                let known = known.split(" (did").next().unwrap_or(known);
                let boolean = known.starts_with("yes, no, true");
                let known = if boolean { "yes, no" } else { known };
                let there: Vec<&str> = told.split([' ', ',']).collect();
                for word in known.split(", ").filter(|w| !w.contains(' ')) {
                    // `local0 to local7`
                    let within = matches!(word.strip_prefix("local"), Some(n) if n != "0" && n != "7");
                    assert!(within || there.contains(&word), "{key}: {word}, but the manual says {told}");
                }
                words += 1;
            }
        }
    }
    assert!(ranges >= 30 && words >= 15, "{ranges} {words}");
}

/// A key with the default that the manual says is as good as no key.
#[test]
fn the_manual_has_the_defaults_of_the_code() {
    let text = page("man5/vipd.ini.5");
    let mut defaults = 0;
    for (title, body) in sections(&text) {
        for (key, text) in items(body) {
            let (told, default) = line_of(key, text);
            let Some(value) = default.strip_prefix("default ") else { continue };
            // Alone, and with what some keys need.
            let needs = match key {
                "vmac_xmit_base" => "use_vmac = yes\n",
                "smtp_connect_timeout" => "notification_email = a@example.org\nsmtp_server = 192.0.2.2\n",
                "v3_checksum_as_v2" => "version = 3\n",
                "auth_hmac_anti_replay" | "auth_hmac_mode" => {
                    "auth_hmac_active_key = 1\nauth_hmac_key = 1 0123456789abcdef0123456789abcdef\n"
                }
                _ => "",
            };
            let with = |more: &str| {
                let (mut vrrp, mut check, mut own) = (String::new(), String::new(), String::new());
                match title {
                    "vrrp NAME" => vrrp = format!("{needs}{more}"),
                    "check NAME" => check = format!("{needs}{more}"),
                    _ => own = format!("[{title}]\n{needs}{more}"),
                }
                let text = format!(
                    "{own}[check c]\ntype = ping\ntarget = 192.0.2.1\n{check}[vrrp A]\ninterface = eth0\n\
                     virtual_router_id = 51\nvirtual_ipaddress = 192.0.2.10/24\ntrack = c\n{vrrp}"
                );
                schema::parse(&text).unwrap_or_else(|e| panic!("{key} = {value}: {e:?}")).0
            };
            assert_eq!(with(&format!("{key} = {value}\n")), with(""), "{key}: {told}; {default}");
            defaults += 1;
        }
    }
    assert!(defaults >= 40, "{defaults}");
}

#[test]
fn the_manual_explains_every_counter() {
    let text = page("man8/vipd.8");
    let listed = text.lines().filter_map(|l| l.strip_prefix(".It Cm "));
    let words: BTreeSet<&str> = listed.flat_map(|l| l.split(" , ")).collect();
    for (name, _) in Stats::default().all() {
        assert!(words.contains(name), "no {name} in vipd.8");
    }
}

/// The names of all metrics: what the golden files have, which together have everything that the code can
/// say.
fn metrics() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(path("tests/data/status")).expect("golden files") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("readable");
        names.extend(
            text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned),
        );
    }
    // `"key: Help."`; counters of a virtual router are all in each golden file.
    for file in ["walk", "sink"] {
        let text = read(&format!("src/report/status/{file}.rs"));
        let literals = text.lines().flat_map(|l| l.split('"').skip(1).step_by(2));
        for (key, _) in literals.filter_map(|l| l.split_once(": ")) {
            let has = |n: &String| n.trim_end_matches("_total").ends_with(&format!("_{key}"));
            assert!(names.iter().any(has), "no golden file has {key} of {file}.rs");
        }
    }
    names
}

#[test]
fn the_manual_has_exactly_the_metrics_of_the_code() {
    let text = page("man7/vipd-monitoring.7");
    let listed: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(".It Ic vipd_")).collect();
    let names: BTreeSet<String> = listed.iter().map(|name| format!("vipd_{name}")).collect();
    assert_eq!(names.len(), listed.len(), "twice");
    assert_eq!(names, metrics());
}

#[test]
fn alerts_and_dashboard_know_only_metrics_that_there_are() {
    let metrics = metrics();
    for (file, least) in [("alerts.yml", 15), ("dashboard.json", 15)] {
        let text = read(&format!("rootfs/usr/share/vipd/{file}"));
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: BTreeSet<&str> = words.filter(|w| w.starts_with("vipd_")).collect();
        assert!(named.len() >= least, "{file}: {named:?}");
        for name in named {
            assert!(metrics.contains(name), "{file}: there is no {name}");
        }
    }
}

#[test]
fn the_manual_has_every_option_of_the_usage() {
    let vipd = std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from);
    let out = Command::new(vipd).arg("--help").output().expect("vipd runs");
    let usage = String::from_utf8_lossy(&out.stdout);
    let text = page("man8/vipd.8");
    let synopsis = text.split("\n.Sh ").find_map(|s| s.strip_prefix("SYNOPSIS\n")).expect("a synopsis");
    let (mut commands, mut options) = (0, 0);
    for line in usage.lines().filter(|l| l.starts_with("usage: ") || l.starts_with("       ")) {
        let line = line.split("   ").find(|part| part.contains("vipd") || part.contains("--"));
        for word in line.unwrap_or("").split([' ', '[', ']', '|', ':', ';']).filter(|w| !w.is_empty()) {
            if let Some(option) = word.strip_prefix("--") {
                assert!(synopsis.contains(&format!("-{option}")), "no --{option}");
                options += 1;
            } else if matches!(word, "status" | "reload" | "resign" | "upgrade" | "import") {
                assert!(synopsis.contains(&format!(".Cm {word}\n")), "no {word}");
                commands += 1;
            }
        }
    }
    assert!(commands >= 2 && options >= 2, "{usage}");
}

#[test]
fn the_examples_are_valid() {
    let text = page("man5/vipd.ini.5");
    let examples: Vec<&str> = text
        .split("\n.Bd -literal -offset indent\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n.Ed").next())
        .filter(|example| example.starts_with('['))
        .collect();
    assert_eq!(examples.len(), 2);
    for text in examples.into_iter().map(str::to_owned).chain([read("rootfs/etc/vipd.ini")]) {
        let (_, warnings) = schema::parse(&text).unwrap_or_else(|e| panic!("{e:?} in {text}"));
        assert_eq!(warnings, [], "{text}");
    }
}

/// What `mandoc -T lint` says of pages that are elsewhere is no fault of these.
#[test]
fn mandoc_has_nothing_to_say() {
    for name in PAGES {
        let file = path("rootfs/usr/share/man").join(name);
        let out = match Command::new("mandoc").args(["-T", "lint"]).arg(&file).output() {
            Ok(out) => out,
            Err(e) if std::env::var("CI").as_deref() != Ok("true") => {
                println!("mandoc_has_nothing_to_say: SKIPPED: mandoc: {e}");
                return;
            }
            Err(e) => panic!("mandoc: {e}"),
        };
        let said = String::from_utf8_lossy(&out.stdout);
        let said: Vec<&str> = said.lines().filter(|l| !l.contains("referenced manual not found")).collect();
        assert!(said.is_empty(), "{}", said.join("\n"));
    }
}

/// Who looks for a line of the log in the documentation finds it, word by word.
#[test]
fn troubleshooting_has_the_words_of_the_log() {
    // What stands between the parts of a message in the source is its own affair.
    let joined = |text: String| text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let code = joined(
        ["words/mod", "words/router", "words/address", "words/haproxy", "words/hmac", "status/people/router"]
            .map(|file| read(&format!("src/report/{file}.rs")))
            .concat(),
    );
    let manual = joined(page("man7/vipd-troubleshooting.7"));
    for words in [
        "received an invalid passwd from",
        "advertisement interval mismatch mine=",
        "with another authentication type",
        "with another VRRP version",
        "missing authentication trailer from",
        "unknown authentication key id",
        "invalid authentication HMAC from",
        "stale authentication trailer from",
        "replayed authentication trailer from",
        "the clock is not set: auth_hmac refuses the adverts of nodes whose clock is",
        "two masters, or a wrong virtual_router_id",
        "one or more VIP associated with VRID mismatch actual MASTER advert",
        "bogus VRRP packet received on",
        "cannot send adverts to",
        "(a firewall drops protocol 112 or 51",
        "somebody else's permanent address: not touched, not announced",
        "before this node holds it",
        "longer than a backup waits",
    ] {
        assert!(code.contains(words), "no {words:?} in the code");
        assert!(manual.contains(words), "no {words:?} in vipd-troubleshooting.7");
    }
    for words in ["by multicast instead of unicast, or the reverse", "no advert ever, from anybody"] {
        assert!(code.contains(words) && manual.contains(words), "{words:?}");
    }
}

#[test]
fn the_readme_is_a_front_door() {
    let text = read("README.md");
    let (lines, widest) = (text.lines().count(), text.lines().map(|l| l.chars().count()).max());
    assert!(lines <= 150, "{lines} lines: what is long belongs into the manual");
    assert!(widest <= Some(100), "{widest:?} columns");
    assert!(text.len() <= 9 * 1024, "{} octets", text.len());
}

/// The usage: of each command (`""`: of none) the options that it takes.
fn usage() -> BTreeMap<String, BTreeSet<String>> {
    let vipd = std::env::var_os("VIPD").map_or_else(|| env!("CARGO_BIN_EXE_vipd").into(), PathBuf::from);
    let out = Command::new(vipd).arg("--help").output().expect("vipd runs");
    let mut all = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let Some((_, line)) =
            line.split_once(" vipd ").filter(|(before, _)| before.trim().trim_matches(':').len() < 6)
        else {
            continue;
        };
        let words: Vec<&str> =
            line.split("  ").next().unwrap_or("").split([' ', '[', ']', '|', '.']).collect();
        let command = words[0].trim_start_matches('-');
        let command = if words[0].len() > 2 && !words[0].starts_with('-') { command } else { "" };
        let options: &mut BTreeSet<String> = all.entry(command.to_owned()).or_default();
        options.extend(words.iter().filter(|w| w.starts_with('-')).map(|w| (*w).to_owned()));
    }
    all
}

/// The words that bash offers behind `line`.
fn bash_offers(line: &[&str]) -> Option<BTreeSet<String>> {
    let file = path("rootfs/usr/share/bash-completion/completions/vipd");
    let script = "source \"$1\"; shift; COMP_WORDS=(vipd \"$@\"); COMP_CWORD=$#; _vipd; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let out = Command::new("bash").args(["-c", script, "bash"]).arg(file).args(line).output().ok()?;
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Some(text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect())
}

/// What fish offers behind `vipd LINE`; of zsh, the options that are given to `_arguments`.
fn offers(shell: &str, file: &str, line: &[&str]) -> Option<BTreeSet<String>> {
    let script = match shell {
        "fish" => "source $argv[1]; complete -C \"vipd $argv[2..]\"",
        _ => {
            "file=$1; shift; words=(vipd \"$@\") CURRENT=$#words; _arguments() { print -rl -- \"$@\" }; . $file"
        }
    };
    let mut command = Command::new(shell);
    if shell == "fish" {
        command.args(["--no-config", "-c", script]);
    } else {
        command.args(["-f", "-c", script, shell]);
    }
    let out = match command.arg(path(file)).args(line).current_dir(path("")).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{shell} is not installed: its completion is not tried");
            return None;
        }
        out => out.expect("it runs"),
    };
    assert!(out.status.success() && out.stderr.is_empty(), "{shell} {line:?}: {out:?}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let word = |l: &str| match shell {
        "fish" => l.split('\t').next().unwrap_or_default().to_owned(),
        // `*-c[configuration]:file:_files`, `(-h --help)-h`
        _ => l
            .trim_start_matches('*')
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split('[')
            .next()
            .unwrap_or_default()
            .into(),
    };
    Some(text.lines().map(word).filter(|w| shell == "fish" || w.starts_with('-')).collect())
}

#[test]
fn the_completions_are_the_commands_and_options_of_the_program() {
    let mut usage = usage();
    // What `--help` says in one line, or leaves out as obvious.
    let mut none = usage.remove("").expect("options without a command");
    none.extend(["-h", "-V"].map(str::to_owned));
    for command in ["status", "reload", "upgrade", "resign", "import"] {
        assert!(usage.contains_key(command), "{usage:?}");
    }
    let set = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<BTreeSet<_>>();
    // -c has a long form everywhere.
    let with_long = |options: &BTreeSet<String>| {
        let mut all = options.clone();
        all.extend(options.contains("-c").then(|| "--config".to_owned()));
        all
    };
    if let Some(offered) = bash_offers(&[""]) {
        let mut expected = with_long(&none);
        expected.extend(usage.keys().cloned().chain(["help", "version"].map(str::to_owned)));
        assert_eq!(offered, expected);
        for (command, options) in &usage {
            assert_eq!(bash_offers(&[command, "-"]).expect("bash"), with_long(options), "{command}");
        }
        assert_eq!(bash_offers(&["st"]), Some(set(&["status"])));
        assert_eq!(bash_offers(&["reload", "--h"]), Some(set(&["--haproxy"])));
    }
    // fish and zsh say what they offer, where they are installed.
    let fish = "rootfs/usr/share/fish/vendor_completions.d/vipd.fish";
    if let Some(offered) = offers("fish", fish, &[""]) {
        assert_eq!(offered, usage.keys().cloned().chain(["help", "version"].map(str::to_owned)).collect());
        for (command, options) in &usage {
            assert_eq!(offers("fish", fish, &[command, "-"]).expect("fish"), with_long(options), "{command}");
        }
        assert_eq!(offers("fish", fish, &["-"]), Some(with_long(&none)));
        assert_eq!(offers("fish", fish, &["st"]), Some(set(&["status"])));
        for (line, file) in [
            (&["status", ""][..], false),
            (&["help", ""], false),
            (&["status", "-c", ""], true),
            (&["-t", ""], true),
            (&["import", ""], true),
        ] {
            let offered = offers("fish", fish, line).expect("fish");
            assert_eq!(offered.contains("Cargo.toml"), file, "{line:?}: {offered:?}");
        }
    }
    let zsh = "rootfs/usr/share/zsh/site-functions/_vipd";
    if let Some(offered) = offers("zsh", zsh, &[""]) {
        assert_eq!(offered, with_long(&none));
        for (command, options) in &usage {
            assert_eq!(offers("zsh", zsh, &[command, ""]).expect("zsh"), with_long(options), "{command}");
        }
        assert_eq!(offers("zsh", zsh, &["-c", "x", "status", ""]), offers("zsh", zsh, &["status", ""]));
        // A command that is being typed is none yet.
        assert_eq!(offers("zsh", zsh, &["status"]), Some(with_long(&none)));
        assert_eq!(offers("zsh", zsh, &["-t", ""]), Some(set(&["-c", "--config", "-t"])));
    }
    // All of them by their text.
    let mut long: BTreeSet<String> = usage.values().flat_map(with_long).chain(with_long(&none)).collect();
    long.retain(|w| w.starts_with("--"));
    for (file, mark) in [
        ("rootfs/usr/share/zsh/site-functions/_vipd", "--"),
        ("rootfs/usr/share/fish/vendor_completions.d/vipd.fish", "-l "),
    ] {
        let text = read(file);
        let name = |rest: &str| {
            rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or("").to_owned()
        };
        let found: BTreeSet<String> = text
            .split(mark)
            .skip(1)
            .map(|rest| format!("--{}", name(rest)))
            .filter(|w| w.len() > 2)
            .collect();
        assert_eq!(found, long, "{file}");
        for command in usage.keys() {
            assert!(text.contains(command.as_str()), "{file}: no {command}");
        }
    }
}
