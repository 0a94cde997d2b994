//! Who answered when, drawn: as text, and as an SVG.

use std::fmt::Write as _;
use std::time::Duration;

/// A time in which nobody answered for longer than this is drawn.
pub const SHOWN: Duration = Duration::from_millis(20);
/// Columns of the text.
const COLUMNS: usize = 76;

/// What happened, as times since the beginning.
pub struct Timeline {
    /// From when to when.
    pub length: Duration,
    /// Who began to answer when, in order.
    pub answers: Vec<(Duration, String)>,
    /// When nobody answered, and for how long.
    pub silences: Vec<(Duration, Duration)>,
    /// What was done when: the number of the step, and its title.
    pub steps: Vec<(Duration, String)>,
}

impl Timeline {
    /// Who answers at that time; `None`: nobody.
    fn at(&self, t: Duration) -> Option<&str> {
        if self.silences.iter().any(|(from, length)| (*from..*from + *length).contains(&t)) {
            return None;
        }
        self.answers.iter().rfind(|(from, _)| *from <= t).map(|(_, node)| node.as_str())
    }

    fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = self.answers.iter().map(|(_, node)| node.as_str()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// One line for each node, `#` where it answers, and one with `x` where nobody does, however short.
    pub fn text(&self) -> String {
        let column = |t: Duration| {
            ((t.as_secs_f64() / self.length.as_secs_f64()) * COLUMNS as f64).min(COLUMNS as f64 - 1.0)
                as usize
        };
        let mut out = String::new();
        let mut marks = vec![b' '; COLUMNS + 2];
        for (number, (t, _)) in self.steps.iter().enumerate() {
            let digits = (number + 1).to_string();
            let at = column(*t);
            marks[at..at + digits.len()].copy_from_slice(digits.as_bytes());
        }
        let _ = writeln!(out, "   step    {}", String::from_utf8_lossy(&marks).trim_end());
        for node in self.nodes() {
            let cell = |i: usize| {
                let t = self.length.mul_f64((i as f64 + 0.5) / COLUMNS as f64);
                if self.at(t) == Some(node) { '#' } else { '.' }
            };
            let _ = writeln!(out, "   {node:7} {}", (0..COLUMNS).map(cell).collect::<String>());
        }
        let mut nobody = vec![b'.'; COLUMNS];
        for (from, length) in &self.silences {
            nobody[column(*from)..=column(*from + *length)].fill(b'x');
        }
        let _ = writeln!(out, "   nobody  {}", String::from_utf8_lossy(&nobody));
        let end = format!("{:.0} s", self.length.as_secs_f64());
        let _ = writeln!(out, "           0 s{end:>width$}", width = COLUMNS - 3);
        out
    }

    /// The same to look at: 960 pixels wide, on white.
    pub fn svg(&self, title: &str) -> String {
        const LEFT: f64 = 90.0;
        const WIDTH: f64 = 840.0;
        const TOP: f64 = 56.0;
        const ROW: f64 = 34.0;
        let x = |t: Duration| LEFT + WIDTH * t.as_secs_f64() / self.length.as_secs_f64();
        let nodes = self.nodes();
        let bottom = TOP + ROW * (nodes.len() + 1) as f64;
        let height = bottom + 54.0 + 18.0 * self.steps.len() as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
             <rect width=\"960\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"16\" y=\"28\" font-size=\"17\">{}</text>\n",
            escape(title)
        );
        // Steps lie behind everything.
        for (number, (t, _)) in self.steps.iter().enumerate() {
            let at = x(*t);
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#bbb\" stroke-dasharray=\"3 3\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
                TOP - 6.0,
                number + 1
            );
        }
        for (row, node) in nodes.iter().enumerate() {
            let y = TOP + ROW * row as f64 + 6.0;
            let _ = writeln!(out, "<text x=\"16\" y=\"{:.1}\">{}</text>", y + 15.0, escape(node));
            for (from, to) in self.spans(node) {
                let _ = writeln!(
                    out,
                    "<rect x=\"{:.2}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"22\" rx=\"2\" fill=\"{}\"/>",
                    x(from),
                    (x(to) - x(from)).max(0.5),
                    ["#2a7f62", "#2f6db3", "#8a5fb0"][row % 3]
                );
            }
        }
        let y = TOP + ROW * nodes.len() as f64 + 6.0;
        let _ = writeln!(out, "<text x=\"16\" y=\"{:.1}\">nobody</text>", y + 15.0);
        for (from, length) in &self.silences {
            let _ = writeln!(
                out,
                "<rect x=\"{:.2}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"22\" fill=\"#c0392b\"/>",
                x(*from),
                (x(*from + *length) - x(*from)).max(2.0)
            );
        }
        let every = if self.length > Duration::from_secs(60) { 10 } else { 5 };
        for s in (0..=self.length.as_secs()).step_by(every) {
            let at = x(Duration::from_secs(s));
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#222\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{s} s</text>",
                bottom + 5.0,
                bottom + 18.0
            );
        }
        for (number, (_, title)) in self.steps.iter().enumerate() {
            let y = bottom + 44.0 + 18.0 * number as f64;
            let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{y:.1}\">{}  {}</text>", number + 1, escape(title));
        }
        out + "</svg>\n"
    }

    /// From when to when a node answered, without the silences.
    fn spans(&self, node: &str) -> Vec<(Duration, Duration)> {
        let mut spans = Vec::new();
        for (i, (from, who)) in self.answers.iter().enumerate() {
            if who != node {
                continue;
            }
            let end = self.answers.get(i + 1).map_or(self.length, |(next, _)| *next);
            let mut from = *from;
            for (silent, length) in &self.silences {
                if (from..end).contains(silent) {
                    spans.push((from, *silent));
                    from = (*silent + *length).min(end);
                }
            }
            if from < end {
                spans.push((from, end));
            }
        }
        spans
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
