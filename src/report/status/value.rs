//! The values of the status for programs, and how JSON and metrics both write them.

use crate::base::text::Write;
use std::time::Duration;

/// One value.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// Not known, or not applicable now; JSON only.
    Null,
    /// JSON only.
    Text(&'a str),
    /// Names the object; a label of its metrics.
    Label(&'a str),
    /// A number for metrics only; JSON has the text.
    Code(u8),
    /// True or false; 1 or 0.
    Flag(bool),
    /// A gauge.
    Number(i64),
    /// A counter.
    Count(u64),
    /// A gauge in seconds.
    Seconds(Duration),
    /// A counter in seconds.
    Spent(Duration),
}

/// Text within the quotes of JSON and of labels. JSON and metrics escape control characters differently, so
/// they become `?`.
pub(super) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push('?'),
            c => out.push(c),
        }
    }
}

/// A value that is a number, in JSON as in metrics; no floating point, whose formatting costs 10 KiB.
pub(super) fn number(out: &mut String, v: Value) {
    match v {
        Value::Code(n) => write!(out, "{n}"),
        Value::Flag(b) => write!(out, "{}", u8::from(b)),
        Value::Number(n) => write!(out, "{n}"),
        Value::Count(n) => write!(out, "{n}"),
        Value::Seconds(d) | Value::Spent(d) => write!(out, "{}.{:03}", d.as_secs(), d.subsec_millis()),
        Value::Null | Value::Text(_) | Value::Label(_) => {}
    };
}
