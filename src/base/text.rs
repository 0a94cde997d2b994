//! Two things that the standard library does with more code than this program needs.
//!
//! `write!` and `writeln!` into a `String` that have no result: it does not fail. At some 150 places that is less to
//! read, and 1 to 2 KB less than `std::fmt::Write`.

use std::fmt::{self, Arguments};

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

/// As `str::split_once`. Its search for a text (and `contains`, `replace`) is made for large ones, and is 2 KB.
pub fn split_once<'a>(text: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = text.as_bytes().windows(by.len()).position(|w| w == by.as_bytes())?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}
