//! What is wrong with a file: errors and warnings, in the order of its lines.

use super::source::Files;
use std::fmt::{self, Arguments, Write};

/// How many errors (and how many warnings) of one file are kept: a file that is no configuration
/// at all must not fill the memory of a small machine with complaints.
pub const MAX_DIAGNOSTICS: usize = 1000;

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line in the file, from 1; 0: the whole file.
    pub line: u32,
    /// What is wrong, and what would be right; one line of printable ASCII, never a password.
    pub message: String,
}

/// Collects diagnostics, sorted by line.
#[derive(Debug, Default)]
pub struct Report {
    /// What makes the file unusable.
    pub errors: Vec<Diagnostic>,
    /// What is accepted, but should be known.
    pub warnings: Vec<Diagnostic>,
    /// The files that the lines are in.
    pub files: Files,
}

impl Report {
    /// Whether further errors would be lost: no need to look for them.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= MAX_DIAGNOSTICS
    }

    /// Adds an error.
    pub fn error(&mut self, line: u32, message: Arguments<'_>) {
        insert(&mut self.errors, line, message);
    }

    /// Adds a warning.
    pub fn warning(&mut self, line: u32, message: Arguments<'_>) {
        insert(&mut self.warnings, line, message);
    }
}

// Not `String`: the caller's code is smaller without it.
#[inline(never)]
fn insert(list: &mut Vec<Diagnostic>, line: u32, message: Arguments<'_>) {
    if list.len() >= MAX_DIAGNOSTICS {
        return;
    }
    let message = if list.len() + 1 < MAX_DIAGNOSTICS {
        message.to_string()
    } else {
        format!("this is number {MAX_DIAGNOSTICS}: what else is wrong is not listed")
    };
    // Inserting in place keeps the order without a sort; what comes later on the same line stays later.
    let at = list.iter().rposition(|d| d.line <= line).map_or(0, |before| before + 1);
    list.insert(at, Diagnostic { line, message });
}

/// Text of the file as it may be printed: printable ASCII, shortened to 60 characters.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count >= 60 {
                return f.write_str("...");
            }
            if c == ' ' || c.is_ascii_graphic() {
                f.write_char(c)?;
            } else {
                write!(f, "\\u{{{:x}}}", u32::from(c))?;
            }
        }
        Ok(())
    }
}

/// The hint after a wrong word: nothing, or the candidate that was probably meant.
pub struct Hint<'a>(pub Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, " (did you mean `{word}`?)"))
    }
}

/// The words of a list such as `yes, no`. One text is smaller than a table of words, and is
/// also what the messages show.
pub fn listed(list: &str) -> Listed<'_> {
    Listed(Some(list))
}

/// See [`listed`]. (`split` and `map` are 80 octets of code wherever they begin.)
pub struct Listed<'a>(Option<&'a str>);

impl<'a> Iterator for Listed<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let list = self.0?;
        let (word, rest) = list.split_once(',').map_or((list, None), |(word, rest)| (word, Some(rest)));
        self.0 = rest;
        Some(word.trim_matches([' ', '\t']))
    }
}

/// The word of `lists` (see [`listed`]) that `word` is probably meant to be, if one is near enough:
/// up to a third of its letters differ, or one is the beginning of the other. Case does not matter.
pub fn nearest<'a>(word: &str, lists: &[&'a str]) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    let limit = word.len().div_ceil(3).min(word.len() / 2).min(3);
    let mut best: Option<(usize, &'a str)> = None;
    for list in lists {
        for candidate in listed(list) {
            let d = distance(word, candidate);
            let near = d <= limit || (word.len() >= 4 && begins(candidate, word)) || begins(word, candidate);
            if near && best.is_none_or(|(least, _)| d < least) {
                best = Some((d, candidate));
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Whether `start`, of at least three letters, is the beginning of `word`.
fn begins(word: &str, start: &str) -> bool {
    start.len() >= 3 && word.starts_with(start)
}

/// Levenshtein's distance in octets, without regard to ASCII case.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, y) in cells.zip(b.bytes()) {
            let up = *cell;
            left = if x.eq_ignore_ascii_case(&y) { diagonal } else { 1 + diagonal.min(up).min(left) };
            diagonal = up;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
}
