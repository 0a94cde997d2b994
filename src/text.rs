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
