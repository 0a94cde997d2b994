//! The text of a configuration: all its files in a row, with the values of variables in place.
//!
//! Lines are numbered through all files, so that a number says both the file and the line: see
//! [`Files::place`].

use super::ini::{self, Section, without_comment};
use super::report::Report;
use crate::base::secret::Secret;
use crate::base::text::split_once;
use std::fmt;
use std::path::{Path, PathBuf};

/// Looks a variable of the environment up: its octets, or `None` if it is not set.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<Secret>;

/// The files, each with the number of its first line, in ascending order.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<(PathBuf, u32)>);

impl Files {
    /// Their paths, in the order of the command line.
    pub fn paths(&self) -> Vec<&Path> {
        self.0.iter().map(|(path, _)| path.as_path()).collect()
    }

    /// The file that a line is in.
    pub fn path(&self, line: u32) -> Option<&Path> {
        self.of(line).map(|(path, _)| path.as_path())
    }

    /// The first line of the file that a line is in.
    pub fn start(&self, line: u32) -> u32 {
        self.of(line).map_or(1, |(_, first)| *first)
    }

    /// `file:line`, or the first file if the line is 0: all of it.
    pub fn place(&self, line: u32) -> String {
        let file = self.path(line).unwrap_or(Path::new("")).display().to_string();
        if line == 0 { file } else { format!("{file}:{}", self.within(line)) }
    }

    /// The line within its file; with the file if there are several.
    pub fn line(&self, line: u32) -> String {
        let number = self.within(line);
        match self.of(line) {
            Some((path, _)) if self.0.len() > 1 => format!("{number} of {}", path.display()),
            _ => number.to_string(),
        }
    }

    fn within(&self, line: u32) -> u32 {
        line - self.start(line) + 1
    }

    fn of(&self, line: u32) -> Option<&(PathBuf, u32)> {
        self.0.iter().rfind(|(_, first)| *first <= line).or(self.0.first())
    }
}

/// Their paths.
impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (path, _)) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, path.display())?;
        }
        Ok(())
    }
}

/// The files and their text.
#[derive(Debug, Default)]
pub struct Source {
    /// Where each file begins.
    pub files: Files,
    /// All of it; each line of UTF-8.
    text: Secret,
    /// Lines whose value is another than the file says.
    replaced: Vec<u32>,
}

impl Source {
    /// Appends a file. What is wrong goes to `report`; such a line stays as it is.
    pub fn add(&mut self, file: &Path, bytes: &[u8], env: Env<'_>, report: &mut Report) {
        let text = &mut self.text.0;
        // At once, so that no copy is left behind where there was not room enough: the values of variables
        // may be longer than their names. It is kept, so there is no more than that.
        let variables = bytes.windows(2).any(|w| w == b"${");
        text.reserve_exact(bytes.len() + if variables { 4096 } else { 1 });
        let mut at = ini::number(text.iter().filter(|b| **b == b'\n').count());
        self.files.0.push((file.to_owned(), at));
        report.files = self.files.clone();
        ini::decode(bytes, at, report);
        let lines = String::from_utf8_lossy(bytes);
        let lines = lines.strip_prefix('\u{feff}').unwrap_or(&lines);
        for line in lines.split('\n') {
            // Too much in any case: the lexer says so.
            if text.len() > ini::MAX_SIZE {
                break;
            }
            let before = text.len();
            match expand(line, env, text) {
                Ok(false) => {}
                Ok(true) => self.replaced.push(at),
                Err((name, why)) => {
                    let (open, close) = if name.is_empty() { ("", "") } else { ("${", "}: ") };
                    report.error(at, format_args!("{open}{name}{close}{why}"));
                    text.truncate(before);
                    text.extend_from_slice(line.as_bytes());
                }
            }
            text.push(b'\n');
            at = at.saturating_add(1);
        }
    }

    /// All files as one text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text.0).unwrap_or_default()
    }

    /// The sections, if the text is known to be valid.
    pub fn sections(&self) -> Vec<Section<'_>> {
        ini::lex(self.text(), &mut Report { files: self.files.clone(), ..Report::default() })
    }

    /// Whether the value of a line is what the file says: no variable is in it.
    pub fn is_literal(&self, line: u32) -> bool {
        !self.replaced.contains(&line)
    }
}

const NO_NAME: &str =
    "write `${NAME}` or `${NAME:-default}`, with A-Z, a-z, 0-9 and `_`, or `$${` for a literal `${`";
const UNSET: &str = "the variable is not set: set it, or give a default: ${NAME:-default}";
const CONTROL: &str = "the variable is not UTF-8 text, or has a line end or another control character in it";
const COMMENT: &str = "the variable has a `#` or `;` in it that begins a comment here";

/// Writes a line with its variables replaced, if it is `key = value`. Whether there were any; or the name of
/// the one that is wrong, and why.
fn expand<'a>(line: &'a str, env: Env<'_>, out: &mut Vec<u8>) -> Result<bool, (&'a str, &'static str)> {
    let line = ini::trim(line.strip_suffix('\r').unwrap_or(line));
    let entry = split_once(line, "=").filter(|_| !line.starts_with(['#', ';', '[']));
    let Some((key, value)) = entry.filter(|(_, value)| split_once(value, "${").is_some()) else {
        out.extend_from_slice(line.as_bytes());
        return Ok(false);
    };
    let raw = ini::is_raw(ini::trim(key));
    let mut rest = if raw { value } else { without_comment(value) };
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
    let start = out.len();
    let mut used = "";
    while let Some((before, after)) = split_once(rest, "${") {
        out.extend_from_slice(before.as_bytes());
        if before.ends_with('$') {
            out.push(b'{');
            rest = after;
            continue;
        }
        let (variable, behind) = split_once(after, "}").ok_or(("", NO_NAME))?;
        let (name, default) = match split_once(variable, ":-") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(("", NO_NAME));
        }
        let found = env(name);
        let value = match (&found, default) {
            (Some(value), _) if default.is_none() || !value.0.is_empty() => &value.0,
            (_, Some(default)) => default.as_bytes(),
            _ => return Err((name, UNSET)),
        };
        if value.iter().any(u8::is_ascii_control) || std::str::from_utf8(value).is_err() {
            return Err((name, CONTROL));
        }
        out.extend_from_slice(value.get(..ini::MAX_LINE).unwrap_or(value));
        (rest, used) = (behind, name);
    }
    out.extend_from_slice(rest.as_bytes());
    let value = std::str::from_utf8(out.get(start..).unwrap_or_default()).unwrap_or_default();
    if !raw && without_comment(value) != ini::trim(value) {
        return Err((used, COMMENT));
    }
    Ok(!used.is_empty())
}
