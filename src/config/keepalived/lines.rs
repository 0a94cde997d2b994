//! keepalived.conf line by line: includes, definitions (`$NAME=value`), lines for one node (`@ID`), `~SEQ`.

use super::text::{cut, decomment, join, signed};
use super::{Outside, Place};
use crate::base::packed::Packed;
use crate::packed;

/// Definitions of a file with all that it includes.
const MAX_DEFINITIONS: usize = 1024;
/// Files in files.
const MAX_INCLUDES: usize = 64;
/// Definitions in definitions.
const MAX_DEPTH: usize = 16;
/// Longest line, in octets.
const MAX_LINE: usize = 16 << 10;
/// Octets of all lines when everything is expanded.
const MAX_WORK: usize = 16 << 20;
/// Lines of one `~SEQ`.
const MAX_SEQUENCE: usize = 4096;

/// A line without comment, everything expanded.
pub(super) struct Line {
    pub(super) at: Place,
    pub(super) text: String,
}

/// What is read so far.
pub(super) struct Lines<'o, 'a> {
    pub(super) files: Vec<String>,
    pub(super) lines: Vec<Line>,
    /// What is to be told: where, and what.
    pub(super) notes: Vec<(Place, String)>,
    /// A value of several lines has line feeds.
    definitions: Vec<(String, String)>,
    /// The nodes that `@` lines name.
    nodes: Vec<String>,
    work: usize,
    outside: &'o mut Outside<'a>,
}

/// What a line leaves open.
#[derive(PartialEq, Eq)]
enum Open {
    Nothing,
    /// The value of the newest definition goes on.
    Definition,
}

impl<'o, 'a> Lines<'o, 'a> {
    /// Reads a file and what it includes.
    pub(super) fn read(name: &str, text: &str, outside: &'o mut Outside<'a>) -> Result<Self, String> {
        let mut lines = Lines {
            files: Vec::new(),
            lines: Vec::new(),
            notes: Vec::new(),
            definitions: Vec::new(),
            nodes: Vec::new(),
            work: 0,
            outside,
        };
        lines.file(name, text)?;
        lines.check_id()?;
        Ok(lines)
    }

    /// `file:line: what`
    fn error<T>(&self, at: Place, what: &str) -> Result<T, String> {
        Err(format!("{}:{}: {what}", self.files.get(at.0).map_or("", String::as_str), at.1))
    }

    /// Lines for single nodes need one that they are for: with the wrong one the others' priorities are lost.
    fn check_id(&mut self) -> Result<(), String> {
        let id = &self.outside.id;
        if self.nodes.is_empty() || self.nodes.contains(id) {
            return Ok(());
        }
        let nodes = join(&self.nodes, ", @");
        if !self.outside.id_given {
            return Err(format!(
                "there are lines for single nodes (@{nodes}), and this host is `{id}`: name one with `-i ID`"
            ));
        }
        self.notes.push(((0, 0), format!("no line is for @{id}: there are @{nodes}")));
        Ok(())
    }

    fn file(&mut self, name: &str, text: &str) -> Result<(), String> {
        let file = self.files.len();
        self.files.push(name.to_owned());
        let mut open = Open::Nothing;
        for (i, line) in text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').enumerate() {
            let at = (file, i + 1);
            let raw = line.strip_suffix('\r').unwrap_or(line);
            let line = decomment(raw);
            if open == Open::Nothing {
                if !line.is_empty() {
                    open = self.line(at, &line, 0)?;
                }
            } else if raw.is_empty() {
                open = Open::Nothing;
            } else if !line.is_empty() {
                open = self.more(&line);
            }
        }
        Ok(())
    }

    /// Another line of a definition.
    fn more(&mut self, line: &str) -> Open {
        let (part, open) = match line.strip_suffix('\\') {
            Some(part) => (part.trim_ascii_end(), Open::Definition),
            None => (line, Open::Nothing),
        };
        if let Some((_, value)) = self.definitions.last_mut() {
            // Even a single line counts as several: keepalived expands them at the end of a line only.
            value.push('\n');
            value.push_str(part);
        }
        open
    }

    fn line(&mut self, at: Place, line: &str, depth: usize) -> Result<Open, String> {
        self.work += line.len() + 64;
        if depth > MAX_DEPTH || line.len() > MAX_LINE || self.work > MAX_WORK {
            return self.error(at, "this becomes too long, or a definition contains itself");
        }
        let mut line = line;
        if let Some(rest) = line.strip_prefix('@') {
            match self.for_this_node(rest) {
                Some(rest) => line = rest,
                None => return Ok(Open::Nothing),
            }
        }
        if let Some((name, value)) = definition(line) {
            return self.define(at, name, value);
        }
        if let Some(rest) = line.strip_prefix("~SEQ") {
            match sequence(rest) {
                Some((name, values, text)) => {
                    for value in values {
                        self.define(at, name, &value)?;
                        self.line(at, text, depth + 1)?;
                    }
                }
                None => self.note(at, line, packed!("this sequence cannot be expanded: write its lines out")),
            }
            return Ok(Open::Nothing);
        }
        if line.starts_with("~LST") {
            self.note(at, line, packed!("vipd does not expand lists: write the lines out"));
            return Ok(Open::Nothing);
        }
        let expanded = self.expand(at, line);
        if expanded != line {
            for part in expanded.split('\n').map(decomment).filter(|part| !part.is_empty()) {
                self.line(at, &part, depth + 1)?;
            }
        } else if let Some(pattern) = included(line) {
            self.include(at, line, pattern)?;
        } else {
            self.lines.push(Line { at, text: line.to_owned() });
        }
        Ok(Open::Nothing)
    }

    fn note(&mut self, at: Place, line: &str, what: Packed) {
        self.remark(at, line, &what.text());
    }

    fn remark(&mut self, at: Place, line: &str, what: &str) {
        self.notes.push((at, ["`", cut(line, 120), "`: ", what].concat()));
    }

    /// `ID rest` or `^ID rest`: the rest, if the line is for this node.
    fn for_this_node<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        let (id, others) = line.strip_prefix('^').map_or((line, false), |line| (line, true));
        let (id, rest) = id.split_at_checked(id.bytes().position(|b| matches!(b, b' ' | b'\t'))?)?;
        if !self.nodes.iter().any(|n| n == id) && self.nodes.len() < MAX_DEFINITIONS {
            self.nodes.push(id.to_owned());
        }
        Some(rest.trim_ascii_start()).filter(|_| (id == self.outside.id) != others)
    }

    /// A definition goes to the end: the newest may go on with the next line.
    fn define(&mut self, at: Place, name: &str, value: &str) -> Result<Open, String> {
        self.definitions.retain(|(n, _)| n != name);
        if self.definitions.len() == MAX_DEFINITIONS {
            return self.error(at, "too many definitions");
        }
        let (value, open) = match value.strip_suffix('\\') {
            Some(value) => (value.trim_ascii_end(), Open::Definition),
            None => (value, Open::Nothing),
        };
        self.definitions.push((name.to_owned(), value.to_owned()));
        Ok(open)
    }

    /// `${NAME}` anywhere, and `$NAME` before white space, `,`, `)` and the end. One that is not defined
    /// loses its braces, which would be those of a block.
    fn expand(&mut self, at: Place, line: &str) -> String {
        let (mut out, mut rest, mut unknown) = (String::new(), line, Vec::new());
        while let Some((before, tail)) = rest.split_once('$') {
            out.push_str(before);
            let (name, behind) = match tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
                Some((name, behind)) => (name, behind),
                None => {
                    let end = tail.find(|c: char| !is_name_char(c)).unwrap_or(tail.len());
                    let (name, behind) = tail.split_at(end);
                    if !matches!(behind.bytes().next(), None | Some(b' ' | b'\t' | b',' | b')')) {
                        out.push('$');
                        rest = tail;
                        continue;
                    }
                    (name, behind)
                }
            };
            let known = self.definitions.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
            match known.filter(|v| behind.is_empty() || !v.as_bytes().contains(&b'\n')) {
                Some(value) => out.push_str(value.trim_start_matches('\n')),
                None if tail.starts_with('{') => {
                    out.push('$');
                    out.push_str(name);
                    unknown.push(name);
                }
                None => {
                    out.push('$');
                    rest = tail;
                    continue;
                }
            }
            rest = behind;
            if out.len() > MAX_LINE {
                break;
            }
        }
        out.push_str(rest);
        for name in unknown {
            self.remark(at, line, &["${", name, "} is not defined: write its value"].concat());
        }
        out
    }

    /// A file that is not there is no error for keepalived.
    fn include(&mut self, at: Place, line: &str, pattern: &str) -> Result<(), String> {
        if self.files.len() > MAX_INCLUDES {
            return self.error(at, "too many includes");
        }
        let dir = self.files.get(at.0).and_then(|f| f.rsplit_once('/')).map(|(dir, _)| dir);
        let path = match dir.filter(|_| !pattern.starts_with('/')) {
            Some(dir) => [dir, "/", pattern].concat(),
            None => pattern.to_owned(),
        };
        match (self.outside.include)(&path) {
            Err(e) => self.remark(at, line, &[&e, ": keepalived goes on without it, too"].concat()),
            Ok(files) if files.is_empty() => {
                self.note(at, line, packed!("no such file: keepalived goes on without it, too"));
            }
            Ok(files) => {
                for (name, text) in files {
                    self.file(&name, &text)?;
                }
            }
        }
        Ok(())
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=value`
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let good =
        !name.is_empty() && name.chars().all(is_name_char) && !name.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| (name, value.trim_ascii_start()))
}

/// The pattern of an `include`, or one of its variants that differ in what they complain of.
fn included(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("include")?;
    let rest = rest.strip_prefix(['r', 'm', 'w', 'b', 'a']).unwrap_or(rest);
    rest.starts_with([' ', '\t']).then(|| rest.trim_ascii())
}

/// `(NAME, [FIRST, [STEP,]] LAST) TEXT` behind `~SEQ`; `x` before it: hexadecimal.
fn sequence(spec: &str) -> Option<(&str, Vec<String>, &str)> {
    let (hex, spec) = spec.strip_prefix('x').map_or((false, spec), |spec| (true, spec));
    let (spec, text) = spec.trim_ascii_start().strip_prefix('(')?.split_once(')')?;
    let (name, numbers) = spec.split_once(',')?;
    let mut given = Vec::new();
    for n in numbers.split(',') {
        given.push(signed(n.trim_ascii())?);
    }
    let (first, step, last) = match given[..] {
        [last] => (1, 1, last),
        [first, last] => (first, if first <= last { 1 } else { -1 }, last),
        [first, step, last] => (first, step, last),
        _ => return None,
    };
    let (mut values, mut next) = (Vec::new(), first);
    while if step > 0 { next <= last } else { next >= last } {
        if values.len() == MAX_SEQUENCE || step == 0 {
            return None;
        }
        values.push(if hex { format!("{next:x}") } else { next.to_string() });
        next = next.checked_add(step)?;
    }
    Some((name.trim_ascii(), values, text.trim_ascii_start()))
}
