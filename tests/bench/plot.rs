//! Pictures of what was measured, as SVG: one of each scenario's last round, one of all silences, one of CPU.

use super::figures::{KINDS, Range, Table};
use super::lab::{Kind, ms};
use super::pair::{Pair, Seen};
use super::{VIP, VRID};
use std::fmt::Write;
use std::time::Instant;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 20.0;
const COLOURS: [&str; 2] = ["#0b6e4f", "#c1440e"];

/// A picture under way.
struct Svg {
    body: String,
    height: f64,
}

impl Svg {
    fn new(title: &str) -> Svg {
        let mut svg = Svg { body: String::new(), height: 30.0 };
        svg.text(10.0, 20.0, 15, "start", title);
        svg
    }

    fn text(&mut self, x: f64, y: f64, size: u32, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn rect(&mut self, x: f64, y: f64, (width, height): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
            width.max(0.6)
        );
    }

    fn line(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), style: &str) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" stroke=\"#888\" {style}/>"
        );
    }

    /// Marks below a chart from 0 to `most`.
    fn axis(&mut self, top: f64, most: f64, unit: &str) {
        let y = self.height;
        let step = step(most);
        for i in 0..=(most / step) as u32 {
            let x = at(f64::from(i) * step, most);
            self.line((x, top), (x, y + 4.0), "stroke-width=\"0.5\" stroke-dasharray=\"2 3\"");
            self.text(x, y + 16.0, 11, "middle", &format!("{}", (f64::from(i) * step * 1e6).round() / 1e6));
        }
        self.text(WIDTH - RIGHT, y + 30.0, 11, "end", unit);
        self.height += 36.0;
    }

    fn end(self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{0}\" viewBox=\"0 0 {WIDTH} {0}\" \
             font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{1}</svg>\n",
            self.height, self.body
        )
    }
}

/// Where a value lies on an axis from 0 to `most`.
fn at(value: f64, most: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * (value / most).clamp(0.0, 1.0)
}

/// 1, 2 or 5 times a power of ten, so that there are at most ten of them.
fn step(most: f64) -> f64 {
    let ten = 10_f64.powf((most / 10.0).max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * ten).into_iter().find(|s| most / s <= 10.0).unwrap_or(ten * 10.0)
}

/// From, to, colour.
type Span = (f64, f64, &'static str);

/// What the picture of a scenario keeps of one round: spans in seconds since the beginning.
pub struct Strip {
    kind: Kind,
    length: f64,
    /// Name of the lane, and its spans with their colours.
    lanes: Vec<(&'static str, Vec<Span>)>,
}

impl Strip {
    /// Of what a pair went through.
    pub fn of(pair: &Pair, seen: &Seen) -> Strip {
        let since = |t: Instant| t.saturating_duration_since(seen.from).as_secs_f64();
        let length = since(seen.to);
        let holds = |node: &str, colour: &'static str| {
            let mut spans = Vec::new();
            let mut start = None;
            for change in pair.watcher.timeline(VIP).into_iter().filter(|c| c.node == node) {
                match (change.held, start) {
                    (true, None) => start = Some(since(change.at)),
                    (false, Some(from)) => {
                        spans.push((from, since(change.at), colour));
                        start = None;
                    }
                    _ => {}
                }
            }
            spans.extend(start.map(|from| (from, length, colour)));
            spans.retain(|(_, to, _)| *to > 0.0);
            spans
        };
        let samples = pair.prober.samples(seen.from, seen.to);
        let mut answered: Vec<Span> = Vec::new();
        for (at, macs) in samples {
            let colour = ["#e8b4a0", "#0b6e4f", "#d00000"][macs.min(2)];
            match answered.last_mut() {
                // A question later than usual is no gap.
                Some((_, to, last)) if *last == colour => *to = since(at + ms(10)),
                _ => answered.push((since(at), since(at + ms(10)), colour)),
            }
        }
        let silences = pair.client.silences(seen.from, seen.to, ms(25));
        let silent = silences.iter().map(|(at, length)| (since(*at), since(*at + *length), "#d00000"));
        let adverts = |node: &str, colour: &'static str| {
            let all = pair.capture.all(seen.from, |s| s.node == node && s.advert(VRID).is_some());
            all.iter().map(|s| (since(s.at), since(s.at), colour)).collect()
        };
        Strip {
            kind: pair.kind,
            length,
            lanes: vec![
                ("node1 holds", holds("node1", "#4a7fb5")),
                ("node2 holds", holds("node2", "#b58a4a")),
                ("who answers (red: two)", answered),
                ("adverts of node1", adverts("node1", "#4a7fb5")),
                ("adverts of node2", adverts("node2", "#b58a4a")),
                ("client: silence over 25 ms", silent.collect()),
            ],
        }
    }
}

/// Who held, who answered and what the client noticed, of the last round of each daemon.
pub fn scenario(title: &str, strips: &[Strip]) -> String {
    let mut svg = Svg::new(title);
    let most = strips.iter().map(|s| s.length).fold(0.1, f64::max);
    let top = svg.height;
    for strip in strips {
        svg.height += 20.0;
        let y = svg.height;
        svg.text(10.0, y, 13, "start", if strip.kind == Kind::Vipd { "vipd" } else { "keepalived" });
        svg.height += 6.0;
        for (name, spans) in &strip.lanes {
            let y = svg.height;
            svg.text(LEFT - 8.0, y + 11.0, 11, "end", name);
            svg.rect(LEFT, y, (WIDTH - LEFT - RIGHT, 14.0), "#f4f4f4");
            for (from, to, colour) in spans {
                let (from, to) = (at(from.max(0.0), most), at(*to, most));
                svg.rect(from, y, (to - from, 14.0), colour);
            }
            svg.height += 18.0;
        }
    }
    svg.axis(top, most, "seconds");
    svg.end()
}

/// Each round's figure of all rows whose name ends like this, as a dot, and the median as a line.
pub fn distribution(title: &str, ending: &str, unit: &str, table: &Table) -> Option<String> {
    let rows: Vec<_> = table.0.iter().filter(|r| r.what.ends_with(ending)).collect();
    let all = rows.iter().flat_map(|r| r.values.iter().chain([&r.floor]).flatten()).copied();
    let most = all.reduce(f64::max)? * 1.05;
    let mut svg = Svg::new(title);
    let top = svg.height;
    for row in rows {
        let name = row.what.trim_end_matches(ending).trim_end_matches([':', ' ']);
        svg.height += 16.0;
        let y = svg.height;
        svg.text(10.0, y, 11, "start", name);
        svg.height += 5.0;
        for (values, (kind, colour)) in row.values.iter().zip(KINDS.iter().zip(COLOURS)) {
            let y = svg.height;
            let name = if *kind == Kind::Vipd { "vipd" } else { "keepalived" };
            svg.text(LEFT - 8.0, y + 10.0, 11, "end", name);
            for value in values {
                let x = at(*value, most.max(1e-9));
                let _ = writeln!(
                    svg.body,
                    "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\" fill-opacity=\"0.5\"/>",
                    y + 6.0
                );
            }
            if let Some(range) = Range::of(values) {
                let x = at(range.median, most.max(1e-9));
                svg.line((x, y), (x, y + 12.0), "stroke-width=\"2\"");
            }
            svg.height += 15.0;
        }
        if let Some(range) = Range::of(&row.floor) {
            let x = at(range.median, most.max(1e-9));
            let y = svg.height;
            svg.line((x, y - 30.0), (x, y), "stroke-width=\"1.5\" stroke-dasharray=\"4 2\"");
            svg.text(x + 4.0, y - 20.0, 10, "start", "floor");
        }
    }
    svg.axis(top, most.max(1e-9), unit);
    Some(svg.end())
}

/// Dots: for each daemon values in ascending order, the first of them at the bottom.
pub fn curve(title: &str, unit: &str, series: &[(Kind, Vec<f64>)]) -> String {
    let mut svg = Svg::new(title);
    let (top, depth) = (svg.height, 260.0);
    let most = series.iter().flat_map(|(_, values)| values).copied().fold(1.0, f64::max) * 1.02;
    for (i, (kind, values)) in series.iter().enumerate() {
        let colour = COLOURS[usize::from(*kind == Kind::Keepalived)];
        let y = top + 16.0 + 18.0 * i as f64;
        svg.rect(10.0, y - 9.0, (10.0, 10.0), colour);
        svg.text(26.0, y, 12, "start", if *kind == Kind::Vipd { "vipd" } else { "keepalived" });
        for (n, value) in values.iter().enumerate() {
            let y = top + depth * (1.0 - (n + 1) as f64 / values.len() as f64);
            let x = at(*value, most);
            let _ = writeln!(svg.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.5\" fill=\"{colour}\"/>");
        }
    }
    svg.height += depth;
    svg.axis(top, most, unit);
    svg.end()
}
