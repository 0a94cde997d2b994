//! Rust source without its comments, strings and tests: just enough of a lexer to count and to look for
//! paths.

use std::path::{Path, PathBuf};

/// A source file.
pub struct Source {
    /// Its path below `src/`.
    pub path: PathBuf,
    /// Its modules from the root of the crate: `["node", "router", "instance"]` for
    /// `node/router/instance.rs`.
    pub modules: Vec<String>,
    /// Its text, with blanks in place of comments, of what is within quotes, and of items that are for tests
    /// only.
    pub code: String,
}

/// All of `src/`, without files that are for tests only, in the order of their paths.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let mut tests_only = Vec::new();
    let mut sources = Vec::new();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let path = path.strip_prefix(&root).expect("below src").to_owned();
        let modules = modules(&path);
        let (code, mods) = without_tests(&blank(&text));
        tests_only.extend(mods.into_iter().map(|m| [&modules[..], &[m]].concat()));
        sources.push(Source { path, modules, code });
    }
    sources.retain(|s| !tests_only.iter().any(|t| s.modules.starts_with(t)));
    sources
}

fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable directory").flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

fn modules(path: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        path.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if matches!(all.last().map(String::as_str), Some("mod" | "lib")) {
        all.pop();
    }
    all
}

/// The end of what begins at `at` with a comment or a quote, and whether it is a comment; `None` if neither
/// does.
fn skipped(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let rest = &text[at..];
    let find = |what: &[u8]| rest.windows(what.len()).position(|w| w == what);
    if rest.starts_with(b"//") {
        return Some((at + find(b"\n").unwrap_or(rest.len()), true));
    }
    if rest.starts_with(b"/*") {
        return Some((at + find(b"*/").map_or(rest.len(), |n| n + 2), true));
    }
    let word = at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
    let raw = rest.strip_prefix(b"br").or_else(|| rest.strip_prefix(b"r")).filter(|_| !word);
    if let Some(raw) = raw {
        let hashes = raw.iter().take_while(|b| **b == b'#').count();
        if raw.get(hashes) == Some(&b'"') {
            let end = [b"\"", &b"#".repeat(hashes)[..]].concat();
            let start = rest.len() - raw.len() + hashes + 1;
            let n = rest[start..].windows(end.len()).position(|w| w == end).unwrap_or(0);
            return Some((at + start + n + end.len(), false));
        }
    }
    if rest[0] == b'"' {
        return Some((at + quoted(rest, b'"'), false));
    }
    // A character, and no lifetime: 'x' or '\...'.
    let is_char = rest.get(1) == Some(&b'\\') || rest.iter().skip(2).take(4).any(|b| *b == b'\'');
    if rest[0] == b'\'' && is_char && !rest[1..].starts_with(b"'") {
        let end = quoted(rest, b'\'');
        let inside = std::str::from_utf8(&rest[1..end - 1]).unwrap_or_default();
        if inside.starts_with('\\') || inside.chars().count() == 1 {
            return Some((at + end, false));
        }
    }
    None
}

/// The length of what stands in these quotes, with them.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += 1 + usize::from(text[at] == b'\\');
    }
    (at + 1).min(text.len())
}

/// Comments become blanks, and so does what is within quotes; lines stay lines.
fn blank(text: &str) -> String {
    let text = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let Some((end, comment)) = skipped(text, at) else {
            out.push(text[at]);
            at += 1;
            continue;
        };
        for (n, byte) in text[at..end].iter().enumerate() {
            let edge = !comment && (n == 0 || at + n + 1 == end);
            out.push(if *byte == b'\n' {
                b'\n'
            } else if edge {
                b'"'
            } else {
                b' '
            });
        }
        at = end;
    }
    String::from_utf8(out).expect("UTF-8")
}

/// Items under `#[cfg(test)]` become blanks; the names of such modules that are files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut out, mut mods) = (String::with_capacity(code.len()), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let item = &rest[at..];
        let end = item
            .find(['{', ';'])
            .map_or(item.len(), |n| if item.as_bytes()[n] == b'{' { block(item, n) } else { n + 1 });
        let words: Vec<&str> =
            item[MARK.len()..end].split([' ', '\n', ';']).filter(|w| !w.is_empty()).collect();
        let place = words.iter().position(|w| *w == "mod");
        if let Some(name) = place.and_then(|n| words.get(n + 1)).filter(|_| item[..end].ends_with(';')) {
            mods.push((*name).to_owned());
        }
        out += &rest[..at];
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &item[end..];
    }
    (out + rest, mods)
}

/// The end of the block that begins at `at` with `{`.
pub fn block(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (n, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return n + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}
