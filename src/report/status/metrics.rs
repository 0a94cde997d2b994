//! The Prometheus text format (0.0.4) of the walk: all samples of a family together, with HELP and TYPE.

use super::value::{self, Value};
use std::time::Duration;

/// Collects samples by family.
#[derive(Debug, Default)]
pub struct Metrics {
    /// What the wall clock shows: time since 1970 UTC.
    pub(super) wall: Duration,
    families: Vec<Family>,
    /// The family of the last sample; the next one is mostly found from there.
    at: usize,
    /// `a="x",b="y"` of the open objects.
    labels: String,
    /// For each open object: its prefix, and the length of `labels` before it.
    open: Vec<(&'static str, usize)>,
}

#[derive(Debug)]
struct Family {
    prefix: &'static str,
    key: &'static str,
    help: &'static str,
    counter: bool,
    samples: String,
}

impl Family {
    fn name(&self, out: &mut String) {
        out.push_str(self.prefix);
        out.push_str(self.key);
        if self.counter {
            out.push_str("_total");
        }
    }
}

impl Metrics {
    /// Of a node whose wall clock shows this.
    pub fn new(wall: Duration) -> Self {
        Metrics { wall, ..Metrics::default() }
    }

    fn prefix(&self) -> &'static str {
        self.open.last().map_or("", |(prefix, _)| prefix)
    }

    fn family(&mut self, key: &'static str, counter: bool, help: &'static str) -> Option<&mut Family> {
        let prefix = self.prefix();
        let is = |f: &Family| f.key == key && f.prefix == prefix;
        let (before, behind) = self.families.split_at_checked(self.at)?;
        let found = behind.iter().position(is).map(|i| self.at + i).or_else(|| before.iter().position(is));
        self.at = found.unwrap_or_else(|| {
            self.families.push(Family { prefix, key, help, counter, samples: String::new() });
            self.families.len() - 1
        });
        self.families.get_mut(self.at)
    }

    /// The whole text.
    pub fn finish(self) -> String {
        let mut out = String::with_capacity(self.families.iter().map(|f| f.samples.len() + 200).sum());
        for f in self.families {
            for (what, text) in
                [("# HELP ", f.help), ("# TYPE ", if f.counter { "counter" } else { "gauge" })]
            {
                out.push_str(what);
                f.name(&mut out);
                out.push(' ');
                out.push_str(text);
                out.push('\n');
            }
            out.push_str(&f.samples);
        }
        out
    }

    pub(super) fn open(&mut self, prefix: &'static str) {
        let prefix = if prefix.is_empty() { self.prefix() } else { prefix };
        self.open.push((prefix, self.labels.len()));
    }

    pub(super) fn close(&mut self) {
        if let Some((_, labels)) = self.open.pop() {
            self.labels.truncate(labels);
        }
    }

    pub(super) fn put(&mut self, key: &'static str, value: Value, help: &'static str) {
        if let Value::Label(text) = value {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(key);
            self.labels.push_str("=\"");
            value::escape(&mut self.labels, text);
            self.labels.push('"');
        }
        if help.is_empty() || matches!(value, Value::Null | Value::Text(_)) {
            return;
        }
        let labels = std::mem::take(&mut self.labels);
        let counter = matches!(value, Value::Count(_) | Value::Spent(_));
        if let Some(f) = self.family(key, counter, help) {
            let mut samples = std::mem::take(&mut f.samples);
            f.name(&mut samples);
            if !labels.is_empty() {
                samples.push('{');
                samples.push_str(&labels);
                samples.push('}');
            }
            samples.push(' ');
            value::number(&mut samples, value);
            samples.push('\n');
            f.samples = samples;
        }
        self.labels = labels;
    }
}
