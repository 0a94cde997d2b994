//! The house rules that no compiler checks: which room of `src/` may know which, and how comments are
//! written. `cargo test --test house -- --nocapture` prints the rooms, the arrows between them, and what is
//! long.

mod source;

use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of `src/`, from the top floor down. A room imports from its own floor and from those below it.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["daemon"],
    &["preflight", "control"],
    &["report"],
    &["node"],
    &["event"],
    &["notify"],
    &["lease", "haproxy", "check", "vrrp", "sys"],
    &["config", "wire"],
    &["base"],
];

/// Rooms that import from these and no others.
const ONLY: &[(&str, &[&str])] = &[("sys", &["wire", "base"])];

/// A longer function is named in the report.
const LONG: usize = 60;

/// A longer comment line is an error. rustfmt keeps code to it, and leaves comments alone.
const WIDTH: usize = 110;

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The files in which a room imports from another one.
type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

fn arrows(sources: &[Source]) -> Arrows {
    let mut all = Arrows::new();
    for source in sources.iter().filter(|s| !s.modules.is_empty()) {
        for to in imports(source) {
            if to != source.modules[0] {
                let file = source.path.display().to_string();
                all.entry((source.modules[0].clone(), to)).or_default().insert(file);
            }
        }
    }
    all
}

/// The rooms that a file names: `crate::room`, `use crate::{room, ...}`, and `super::room` where that leads
/// to the root.
fn imports(source: &Source) -> BTreeSet<String> {
    // The program is a crate of its own and sees the library's from outside.
    let root = if source.modules == ["main"] { "vipd" } else { "crate" };
    let depth = source.modules.len();
    let up = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in [format!("{root}::"), up] {
        for (at, _) in source.code.match_indices(&prefix) {
            let before = source.code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            found.extend(names(&source.code[at + prefix.len()..]));
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()) && is_room(name));
    found
}

/// The first names of a path, or of each path in braces.
fn names(path: &str) -> Vec<String> {
    let first = |path: &str| -> String {
        path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(list) = path.strip_prefix('{') else { return vec![first(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(first(&list[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(first(&list[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

/// A folder or a file directly below `src/`.
fn is_room(name: &str) -> bool {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    src.join(name).is_dir() || src.join(format!("{name}.rs")).is_file()
}

/// The rooms that can be reached from themselves, a circle each.
fn circles(arrows: &Arrows) -> BTreeSet<Vec<&str>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    arrows.keys().for_each(|(from, to)| next.entry(from).or_default().push(to));
    let reach = |from: &str| {
        let (mut seen, mut todo) = (BTreeSet::new(), next.get(from).cloned().unwrap_or_default());
        while let Some(room) = todo.pop() {
            if seen.insert(room) {
                todo.extend(next.get(room).into_iter().flatten());
            }
        }
        seen
    };
    let rooms: Vec<&str> = next.keys().copied().collect();
    let circle = |room: &&str| -> Vec<&str> {
        rooms
            .iter()
            .filter(|other| reach(room).contains(*other) && reach(other).contains(room))
            .copied()
            .collect()
    };
    rooms.iter().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn no_room_imports_from_a_floor_above() {
    let sources = source::all();
    let rooms: BTreeSet<&str> =
        sources.iter().filter_map(|s| s.modules.first()).map(String::as_str).collect();
    let arrows = arrows(&sources);
    let circles = circles(&arrows);
    let mut wrong = Vec::new();
    for room in &rooms {
        let of_it: Vec<&str> =
            arrows.keys().filter(|(from, _)| from == room).map(|(_, to)| to.as_str()).collect();
        println!("{room:9} -> {}", of_it.join(" "));
        if floor(room).is_none() {
            wrong.push(format!("{room} is on no floor: see FLOORS"));
        }
    }
    for ((from, to), files) in &arrows {
        let only = ONLY.iter().find(|(room, _)| room == from).map(|(_, only)| only);
        let allowed = match only {
            Some(only) => only.contains(&to.as_str()),
            None => floor(from) <= floor(to),
        };
        if !allowed {
            wrong.push(format!("{from} imports from {to} in {}", Vec::from_iter(files.clone()).join(", ")));
        }
    }
    wrong.extend(circles.iter().map(|circle| format!("a circle: {}", circle.join(", "))));
    println!("{} rooms, {} arrows, {} circles", rooms.len(), arrows.len(), circles.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// `fn` and its name, the first line, and how many.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let code = &source.code;
    let mut all = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // A declaration without a body ends with a semicolon; one within a type has brackets around it.
        let Some(body) = code[at..].find(['{', ';']).map(|n| at + n) else { continue };
        if before.is_alphanumeric() || before == '_' || name.is_empty() || code.as_bytes()[body] == b';' {
            continue;
        }
        let line = |at: usize| code[..at].matches('\n').count() + 1;
        all.push((name, line(at), line(source::block(code, body) - 1) - line(at) + 1));
    }
    all
}

#[test]
fn tells_what_is_long() {
    let sources = source::all();
    let lines = |code: &str| code.lines().filter(|l| !l.trim().is_empty()).count();
    let mut of_rooms: BTreeMap<&str, usize> = BTreeMap::new();
    let mut long = Vec::new();
    for source in &sources {
        *of_rooms.entry(source.modules.first().map_or("lib", String::as_str)).or_default() +=
            lines(&source.code);
        for (name, line, length) in functions(source).into_iter().filter(|(.., length)| *length > LONG) {
            long.push((length, format!("{}:{line} {name}", source.path.display())));
        }
    }
    println!("{} lines of code outside tests: {of_rooms:?}", of_rooms.values().sum::<usize>());
    long.sort_by(|a, b| b.cmp(a));
    println!("{} functions have more than {LONG} lines:", long.len());
    long.iter().for_each(|(length, name)| println!("{length:5} {name}"));
    assert!(sources.len() > 50 && of_rooms.len() > 10, "that cannot be all: {of_rooms:?}");
}

/// What is written by hand and has comments: paths from the root of the repository, in which cargo runs
/// tests.
fn written() -> Vec<PathBuf> {
    let mut all = ["Makefile", "README.md", "Cargo.toml"].map(PathBuf::from).to_vec();
    let mut todo = ["src", "tests", "init", ".build", ".ci", "rootfs"].map(PathBuf::from).to_vec();
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                // Captures and what is wrong on purpose; corpora that the fuzzer made.
                if !["data", "corpus", "artifacts", "target"].iter().any(|d| path.ends_with(d)) {
                    todo.push(path);
                }
            } else if path.file_name().is_some_and(|n| n != "Cargo.lock") {
                all.push(path);
            }
        }
    }
    all
}

/// A line that is a comment: of Rust, of a shell, of an INI file. A table has its own width.
fn is_comment(path: &Path, line: &str) -> bool {
    let line = line.trim_start();
    let rust = path.extension().is_some_and(|e| e == "rs");
    let marks: &[&str] = if rust { &["//"] } else { &["#", ";"] };
    let manual = path.extension().is_some_and(|e| e == "8" || e == "5" || e == "md" || e == "json");
    let table = line.trim_start_matches(['/', '!']).trim_start().starts_with('|');
    !manual && !table && marks.iter().any(|m| line.starts_with(m))
}

#[test]
fn comments_are_no_wider_than_code() {
    let mut wide = Vec::new();
    for path in written().into_iter().filter(|p| !p.starts_with("rootfs")) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            if is_comment(&path, line) && line.chars().count() > WIDTH {
                wide.push(format!("{}:{}", path.display(), n + 1));
            }
        }
    }
    assert!(
        wide.is_empty(),
        "{} comment lines have more than {WIDTH} columns:\n{}",
        wide.len(),
        wide.join("\n")
    );
}

#[test]
fn no_document_is_named_that_is_not_here() {
    // Put together here, so that this file does not name them.
    let names =
        [concat!("design", ".md"), concat!("house", ".md"), concat!("fence", ".md"), concat!("hmac", ".md")];
    let signs = [
        concat!("design", " §"),
        concat!("design", ": §"),
        concat!("(design", ":"),
        concat!("../", "shared"),
    ];
    let mut wrong = Vec::new();
    for path in written() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (n, line) in text.lines().enumerate() {
            let begins =
                line.trim_start_matches(['/', '!', '#', ';', ' ']).starts_with(concat!("design", ":"));
            if begins || names.iter().chain(&signs).any(|name| line.contains(name)) {
                wrong.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
