//! Figures of several rounds: medians, ranges, ratios, and all of them as JSON.

use super::lab::Kind;
use std::fmt::Write;
use std::time::Duration;

/// The two daemons that are compared, in the order of the columns.
pub const KINDS: [Kind; 2] = [Kind::Vipd, Kind::Keepalived];

/// What was measured of each daemon, by the rounds.
#[derive(Default)]
pub struct Row {
    /// What it is, with its unit.
    pub what: String,
    /// What theory says, or what the least possible is, if that is known.
    pub theory: Option<f64>,
    /// In the order of [`KINDS`].
    pub values: [Vec<f64>; 2],
    /// The same of a program that does only what cannot be avoided.
    pub floor: Vec<f64>,
}

/// Middle, least and most of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Range {
    /// Of none there is none.
    pub fn of(values: &[f64]) -> Option<Range> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let (low, high) = (sorted.get(n.checked_sub(1)? / 2)?, sorted.get(n / 2)?);
        Some(Range { median: f64::midpoint(*low, *high), min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// The table of all rows.
#[derive(Default)]
pub struct Table(pub Vec<Row>);

impl Table {
    /// Adds one round's figure to its row.
    pub fn add(&mut self, what: &str, kind: Kind, theory: Option<f64>, value: f64) {
        let index = match self.0.iter().position(|row| row.what == what) {
            Some(index) => index,
            None => {
                self.0.push(Row { what: what.to_owned(), theory, ..Row::default() });
                self.0.len() - 1
            }
        };
        self.0[index].values[usize::from(kind == Kind::Keepalived)].push(value);
    }

    /// Adds what another table has to its rows.
    pub fn append(&mut self, other: Table) {
        for row in other.0 {
            for (kind, values) in KINDS.into_iter().zip(&row.values) {
                values.iter().for_each(|value| self.add(&row.what, kind, row.theory, *value));
            }
        }
    }

    /// For people: median and range of each daemon, the ratio of the medians, what is the least by theory or
    /// by the floor, and how many rounds it was.
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let mut out = format!(
            "{:<width$} {:>26} {:>26} {:>7} {:>9} {:>6}\n",
            "median (least to most)", "vipd", "keepalived", "ratio", "least", "rounds"
        );
        for row in &self.0 {
            let ranges = row.values.each_ref().map(|v| Range::of(v));
            let cell = |range: &Option<Range>| match range {
                Some(r) if r.min == r.max => figure(r.median),
                Some(r) => format!("{} ({} to {})", figure(r.median), figure(r.min), figure(r.max)),
                None => "-".to_owned(),
            };
            let ratio = match ranges {
                [Some(v), Some(k)] if k.median > 0.0 => format!("{:.3}", v.median / k.median),
                _ => "-".to_owned(),
            };
            let theory = row.theory.or(Range::of(&row.floor).map(|r| r.median)).map_or(String::new(), figure);
            let _ = writeln!(
                out,
                "{:<width$} {:>26} {:>26} {ratio:>7} {theory:>9} {:>6}",
                row.what,
                cell(&ranges[0]),
                cell(&ranges[1]),
                row.values[0].len().max(row.values[1].len())
            );
        }
        out
    }

    /// Every figure of every round.
    pub fn json(&self) -> String {
        let list = |values: &[f64]| {
            let all: Vec<String> = values.iter().map(|v| format!("{v:.4}")).collect();
            format!("[{}]", all.join(", "))
        };
        let row = |row: &Row| {
            format!(
                "    {{\"what\": {}, \"theory\": {}, \"vipd\": {}, \"keepalived\": {}, \"floor\": {}}}",
                quoted(&row.what),
                row.theory.map_or("null".to_owned(), |t| format!("{t:.4}")),
                list(&row.values[0]),
                list(&row.values[1]),
                list(&row.floor)
            )
        };
        self.0.iter().map(row).collect::<Vec<_>>().join(",\n")
    }
}

/// As a number for a table.
pub fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// As many decimals as mean something.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}
