//! Text from outside, made harmless; and three functions of the standard library with less code.
//!
//! `write!` and `writeln!` into a `String` cannot fail, so here they return nothing. This saves 1 to 2 KB
//! against `std::fmt::Write`.

use std::fmt::{self, Arguments};
use std::io;

/// What `write!` calls, in place of `std::fmt::Write`.
pub trait Write {
    /// Appends.
    fn write_fmt(&mut self, text: Arguments<'_>);
}

impl Write for String {
    #[inline(never)]
    fn write_fmt(&mut self, text: Arguments<'_>) {
        let _ = fmt::Write::write_fmt(self, text);
    }
}

/// As `str::split_once`, whose search is made for large texts and takes 2 KB.
pub fn split_once<'a>(text: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = text.as_bytes().windows(by.len()).position(|w| w == by.as_bytes())?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}

/// The words of a text, as `str::split_ascii_whitespace`, which is 100 octets of code wherever it is used.
pub fn words(text: &str) -> Words<'_> {
    Words(text)
}

/// See [`words`].
pub struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_ascii_start();
        let end = text.bytes().position(|b| b.is_ascii_whitespace()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }
}

/// Appends text from outside with its control characters escaped, so that it cannot forge a line or move a
/// terminal's cursor.
pub fn escape(line: &str, out: &mut Vec<u8>) {
    for c in line.chars() {
        if c.is_control() && c != '\t' {
            let _ = io::Write::write_fmt(out, format_args!("\\x{:02x}", u32::from(c)));
        } else {
            let mut utf8 = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
    }
}
