//! Where the walk goes: JSON or metrics.

use super::json::Json;
use super::metrics::Metrics;
use super::value::Value;
use crate::base::time::Time;
use crate::vrrp::stats::STATES;
use std::net::IpAddr;
use std::time::Duration;

/// What writes the values. A key is the name in the JSON; if the value is also a metric, `: ` and its help
/// follow.
#[derive(Debug)]
pub enum Sink {
    /// JSON.
    Json(Json),
    /// Metrics.
    Metrics(Metrics),
}

// Each of these has many callers, so its arguments should fit into registers.
impl Sink {
    #[inline(never)]
    pub(super) fn put(&mut self, key: &'static str, value: Value) {
        let (key, help) = key.split_once(':').unwrap_or((key, ""));
        match self {
            Sink::Json(json) => json.put(key, value),
            Sink::Metrics(metrics) => metrics.put(key, value, help.trim_start()),
        }
    }

    /// Begins an object or a list; within a list, `key` is empty. Metrics in it begin with `prefix`; an empty
    /// one keeps the outer prefix.
    #[inline(never)]
    pub(super) fn open(&mut self, key: &'static str, list: bool, prefix: &'static str) {
        match self {
            Sink::Json(json) => json.open(key, list),
            Sink::Metrics(metrics) => metrics.open(prefix),
        }
    }

    /// Begins an object of a list.
    #[inline(never)]
    pub(super) fn item(&mut self) {
        self.open("", false, "");
    }

    /// Ends the innermost object or list.
    #[inline(never)]
    pub(super) fn close(&mut self) {
        match self {
            Sink::Json(json) => json.close(),
            Sink::Metrics(metrics) => metrics.close(),
        }
    }

    #[inline(never)]
    pub(super) fn null(&mut self, key: &'static str) {
        self.put(key, Value::Null);
    }

    #[inline(never)]
    pub(super) fn text(&mut self, key: &'static str, t: &str) {
        self.put(key, Value::Text(t));
    }

    #[inline(never)]
    pub(super) fn maybe(&mut self, key: &'static str, t: Option<&str>) {
        self.put(key, t.map_or(Value::Null, Value::Text));
    }

    #[inline(never)]
    pub(super) fn address(&mut self, key: &'static str, a: Option<IpAddr>) {
        let a = a.map(|a| a.to_string());
        self.maybe(key, a.as_deref());
    }

    #[inline(never)]
    pub(super) fn label(&mut self, key: &'static str, t: &str) {
        self.put(key, Value::Label(t));
    }

    #[inline(never)]
    pub(super) fn code(&mut self, key: &'static str, code: u8) {
        self.put(key, Value::Code(code));
    }

    /// The name of a state, and its number.
    #[inline(never)]
    pub(super) fn state(&mut self, state: &str) {
        self.text("state", state);
        let code = STATES.iter().position(|s| *s == state).and_then(|i| u8::try_from(i).ok());
        self.code("state: Its state: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.", code.unwrap_or(0));
    }

    #[inline(never)]
    pub(super) fn flag(&mut self, key: &'static str, b: bool) {
        self.put(key, Value::Flag(b));
    }

    #[inline(never)]
    pub(super) fn known(&mut self, key: &'static str, b: Option<bool>) {
        self.put(key, b.map_or(Value::Null, Value::Flag));
    }

    #[inline(never)]
    pub(super) fn number(&mut self, key: &'static str, n: i64) {
        self.put(key, Value::Number(n));
    }

    #[inline(never)]
    pub(super) fn count(&mut self, key: &'static str, n: u64) {
        self.put(key, Value::Count(n));
    }

    #[inline(never)]
    pub(super) fn seconds(&mut self, key: &'static str, d: Option<Duration>) {
        self.put(key, d.map_or(Value::Null, Value::Seconds));
    }

    /// For how long something has been so (`age`, JSON), or since when (`stamp`, metrics).
    #[inline(never)]
    pub(super) fn since(&mut self, age: &'static str, stamp: &'static str, from: Time, now: Time) {
        let passed = now.since(from);
        match self {
            Sink::Json(_) => self.put(age, Value::Seconds(passed)),
            Sink::Metrics(metrics) => {
                let at = metrics.wall.saturating_sub(passed).as_secs();
                self.put(stamp, Value::Number(i64::try_from(at).unwrap_or(0)));
            }
        }
    }

    #[inline(never)]
    pub(super) fn pid(&mut self, key: &'static str, n: Option<u32>) {
        self.put(key, n.map_or(Value::Null, |n| Value::Number(n.into())));
    }
}
