//! Text from outside, made harmless; and two things that the standard library does with more code than this
//! program needs.
//!
//! `write!` and `writeln!` into a `String` that have no result: it does not fail. At some 150 places that is
//! less to read, and 1 to 2 KB less than `std::fmt::Write`.

use std::fmt::{self, Arguments};
use std::io;

/// What `write!` calls; instead of `std::fmt::Write`.
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

/// As `str::split_once`. Its search for a text (and `contains`, `replace`) is made for large ones, and is 2
/// KB.
pub fn split_once<'a>(text: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = text.as_bytes().windows(by.len()).position(|w| w == by.as_bytes())?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}

/// Text from outside cannot forge a line or move a terminal's cursor.
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
