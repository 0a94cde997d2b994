//! The documentation and the program say the same: keys, counters, options, examples; and `mandoc` likes the
//! manual.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use vipd::config::schema;
use vipd::vrrp::stats::Stats;

const PAGES: [&str; 5] = [
    "man8/vipd.8",
    "man5/vipd.ini.5",
    "man7/vipd-haproxy.7",
    "man7/vipd-lease.7",
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

/// The parser is asked what it would take.
#[test]
fn the_manual_has_the_ranges_of_the_code() {
    let text = page("man5/vipd.ini.5");
    let mut ranges = 0;
    for (title, body) in sections(&text) {
        for (key, text) in items(body) {
            let errors = schema::parse(&format!("[{title}]\n{key} = 99999999\n")).err().unwrap_or_default();
            let said = errors.iter().find(|e| e.line == 2).map_or("", |e| e.message.as_str());
            let Some((_, range)) = said.split_once("is out of range: ") else { continue };
            let number = |c: char| !c.is_ascii_digit() && c != '.';
            let there: Vec<&str> = text.split(number).map(|n| n.trim_end_matches('.')).collect();
            for bound in range.split(number).filter(|n| !n.is_empty()) {
                assert!(there.contains(&bound), "{key}: {range}, but the manual says {text}");
            }
            ranges += 1;
        }
    }
    assert!(ranges >= 30, "{ranges}");
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
            } else if matches!(word, "status" | "reload" | "resign" | "import") {
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
