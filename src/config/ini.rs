//! The lexer: a file becomes sections and entries that know their lines. It knows no key by
//! meaning and never stops at the first error.

use super::mistakes;
use super::report::{Report, Shown};
use crate::base::text::words;

/// Largest file, in octets.
pub const MAX_SIZE: usize = 1 << 20;
/// Longest line, in octets.
pub const MAX_LINE: usize = 16 << 10;
/// Most sections of a file.
pub const MAX_SECTIONS: usize = 1024;
/// Longest name of a section, in octets.
pub const MAX_NAME: usize = 32;

/// Keys whose values may hold `#` and `;` after white space.
const RAW_KEYS: [&str; 9] = [
    "auth_pass",
    "auth_hmac_key",
    "args",
    "target",
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
];

/// Whether the value of a key may hold `#` and `;` after white space.
pub fn is_raw(key: &str) -> bool {
    RAW_KEYS.contains(&key)
}

/// `key = value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Line in the file, from 1.
    pub line: u32,
    /// The key: letters, digits, `_`, `.` and `-`; never empty.
    pub key: &'a str,
    /// The value without the white space around it; may be empty.
    pub value: &'a str,
}

/// `[kind]` or `[kind name]` with its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    /// Line in the file, from 1.
    pub line: u32,
    /// Line of the last header of this section: a later file continues it.
    pub last: u32,
    /// The first word; empty if the header was wrong (and reported): its entries mean nothing.
    pub kind: &'a str,
    /// The second word; empty if there is none.
    pub name: &'a str,
    /// The entries in the order of the file.
    pub entries: Vec<Entry<'a>>,
}

/// The header as it is written: `[vrrp VI_1]`.
impl std::fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.name.is_empty() { "" } else { " " };
        write!(f, "[{}{space}{}]", self.kind, self.name)
    }
}

/// Octets of a file as text. Reports what is not UTF-8, with its line.
/// The first line is `line`.
pub fn decode<'a>(bytes: &'a [u8], line: u32, report: &mut Report) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let valid = bytes.iter().take(error.valid_up_to());
            let before = valid.filter(|&&b| b == b'\n').count();
            let text = "this is not UTF-8 text: save the file as UTF-8 or ASCII";
            report.error(line.saturating_add(number(before)) - 1, format_args!("{text}"));
            None
        }
    }
}

/// Splits the text of one or more files, as `report` knows them. A section in a later file continues the one
/// of the same name: its keys take the place of what was there. Every error goes to `report`; what is in
/// error is left out.
pub fn lex<'a>(text: &'a str, report: &mut Report) -> Vec<Section<'a>> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    if text.len() > MAX_SIZE {
        report.error(0, format_args!("the configuration has more than {MAX_SIZE} octets"));
        return sections;
    }
    let (mut outside, mut current, mut start) = (false, 0, 1);
    for (index, line) in text.split('\n').enumerate() {
        if report.is_full() {
            break;
        }
        let at = number(index);
        let line = trim(line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            if sections.len() >= MAX_SECTIONS {
                report.error(at, format_args!("too many sections: at most {MAX_SECTIONS}"));
                break;
            }
            // A wrong header still opens a section: what follows is not the previous one's.
            let (kind, name) = header(at, line, report).unwrap_or_default();
            start = report.files.start(at);
            let earlier = |s: &Section| s.kind == kind && s.name == name && s.last < start;
            let again = sections.iter().position(earlier).filter(|_| !kind.is_empty());
            current = again.unwrap_or(sections.len());
            match sections.get_mut(current) {
                Some(section) => section.last = at,
                None => sections.push(Section { line: at, last: at, kind, name, entries: Vec::new() }),
            }
            continue;
        }
        let Some(entry) = entry(at, line, report) else { continue };
        // A file begins outside of every section.
        let section = sections.get_mut(current).filter(|s| s.last >= report.files.start(at));
        if let Some(section) = section {
            if section.line < start {
                section.entries.retain(|e| e.key != entry.key || e.line >= start);
            }
            section.entries.push(entry);
        } else if !outside {
            // Once: the cure is one line.
            outside = true;
            let key = Shown(entry.key);
            report.error(at, format_args!("`{key}` is before the first section: e.g. [global] above it"));
        }
    }
    sections
}

/// Splits a command at white space; double quotes keep it, anywhere in a word. There is no escape.
///
/// # Errors
///
/// A quote that is not closed.
pub fn split_words(value: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in value.chars() {
        if c == '"' {
            quoted = !quoted;
            // `""` is a word, though an empty one.
            word.get_or_insert_default();
        } else if !quoted && matches!(c, ' ' | '\t') {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(c);
        }
    }
    words.extend(word);
    if quoted { Err("a double quote is not closed") } else { Ok(words) }
}

/// `[kind]` or `[kind name]`.
fn header<'a>(at: u32, line: &'a str, report: &mut Report) -> Option<(&'a str, &'a str)> {
    let inner = without_comment(line).strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Some(inner) = inner.filter(|_| line.len() <= MAX_LINE) else {
        report.error(at, format_args!("a section is `[section]` or `[section name]` on a line of its own"));
        return None;
    };
    let mut words = words(inner);
    let (kind, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if kind.is_empty() || words.next().is_some() {
        let inner = Shown(inner);
        report.error(at, format_args!("`[{inner}]` is not a section: `[section]` or `[section name]`"));
        return None;
    }
    for word in [kind, name] {
        if word.len() > MAX_NAME || !is_name(word) {
            let word = Shown(word);
            let text =
                format_args!("`{word}` is not a name: 1 to {MAX_NAME} of A-Z, a-z, 0-9, `_`, `.` and `-`");
            report.error(at, text);
            return None;
        }
    }
    Some((kind, name))
}

/// `key = value`.
fn entry<'a>(line: u32, text: &'a str, report: &mut Report) -> Option<Entry<'a>> {
    if text.len() > MAX_LINE {
        report.error(line, format_args!("the line has {} octets: at most {MAX_LINE}", text.len()));
        return None;
    }
    if let Some(b) = text.bytes().find(|&b| b.is_ascii_control() && b != b'\t') {
        report.error(line, format_args!("the line holds the control character {b:#04x}: take it out"));
        return None;
    }
    let (key, value) = text.split_once('=').map(|(key, value)| (trim(key), trim(value))).unwrap_or_default();
    if !key.is_empty() && is_name(key) {
        if is_raw(key) {
            // Nothing of it is shown: it may be a password.
            if !value.contains('"') && without_comment(value) != value {
                let text = "belongs to the value: a comment on it needs a line of its own";
                report.warning(line, format_args!("{key}: the `#` or `;` in it {text}"));
            }
            return Some(Entry { line, key, value });
        }
        let value = without_comment(value);
        if let Some(wrong) = mistakes::value(value) {
            // It stays, so that its section does not lack it.
            report.error(line, format_args!("{key}: {wrong}"));
        }
        return Some(Entry { line, key, value });
    }
    if let Some(instead) = mistakes::line(without_comment(text)) {
        report.error(line, format_args!("{instead}"));
        return None;
    }
    // No more than the first word is shown: the rest may be a password.
    let end = text.find(|c| !is_name_char(c)).unwrap_or(text.len());
    let word = Shown(text.get(..end).unwrap_or(""));
    let before = if word.0.is_empty() { "" } else { ": it begins with `" };
    let after = if word.0.is_empty() { "" } else { "`" };
    report
        .error(line, format_args!("the line is neither `[section]` nor `key = value`{before}{word}{after}"));
    None
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn is_name(word: &str) -> bool {
    word.chars().all(is_name_char)
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Cuts a comment off: `#` or `;` at the beginning or after white space.
pub(super) fn without_comment(text: &str) -> &str {
    let mut white = true;
    let mut comment = |c| {
        let found = white && matches!(c, '#' | ';');
        white = matches!(c, ' ' | '\t');
        found
    };
    let end = text.find(&mut comment).unwrap_or(text.len());
    trim(text.get(..end).unwrap_or(text))
}

/// The line number of an index.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}
