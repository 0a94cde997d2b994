//! JSON (RFC 8259) of the walk, in one line.

use super::value::{self, Value};

/// Writes JSON.
#[derive(Debug, Default)]
pub struct Json {
    /// What is written so far.
    pub out: String,
    /// The open object or list already has a value.
    comma: bool,
    /// For each open object or list, whether it is a list.
    open: Vec<bool>,
}

impl Json {
    fn key(&mut self, key: &'static str) {
        if std::mem::replace(&mut self.comma, true) {
            self.out.push(',');
        }
        if !key.is_empty() {
            self.text(key);
            self.out.push(':');
        }
    }

    fn text(&mut self, t: &str) {
        self.out.push('"');
        value::escape(&mut self.out, t);
        self.out.push('"');
    }

    pub(super) fn open(&mut self, key: &'static str, list: bool) {
        self.key(key);
        self.out.push(if list { '[' } else { '{' });
        self.open.push(list);
        self.comma = false;
    }

    pub(super) fn close(&mut self) {
        let list = self.open.pop().unwrap_or_default();
        self.out.push(if list { ']' } else { '}' });
        self.comma = true;
    }

    pub(super) fn put(&mut self, key: &'static str, value: Value) {
        if let Value::Code(_) = value {
            return;
        }
        self.key(key);
        match value {
            Value::Text(t) | Value::Label(t) => self.text(t),
            Value::Flag(b) => self.out.push_str(if b { "true" } else { "false" }),
            Value::Null => self.out.push_str("null"),
            number => value::number(&mut self.out, number),
        }
    }
}
