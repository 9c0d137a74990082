//! Runs as drawings (SVG): panels under each other, of percentiles and of what went on over time.

use crate::tally::{Second, Tally};
use hdrhistogram::Histogram;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 240.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 50.0;
/// From the top of one panel to that of the next.
const PITCH: f64 = 320.0;

/// What most curves are drawn in.
pub const BLUE: &str = "#06c";
/// What is refused, or goes wrong.
pub const RED: &str = "#c22";
/// A third curve.
pub const GREEN: &str = "#282";

/// How the upward axis of a panel is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, evenly.
    Linear,
    /// From 1, by powers of ten.
    Logarithmic,
}

/// Points of a curve, seconds first, and its colour.
pub type Curve = (&'static str, Vec<(f64, f64)>);

/// Draws a load under a title.
pub fn svg(title: &str, tally: &Tally) -> String {
    let mut sheet = Sheet::default();
    sheet.percentiles("latency in µs from the scheduled time, by percentile", &[(BLUE, &tally.latency_ns)]);
    sheet.seconds(&tally.seconds);
    sheet.finish(title)
}

/// A drawing to which panels are added from top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    panels: u32,
    out: String,
}

impl Sheet {
    /// Adds throughput and latency of measured seconds.
    pub fn seconds(&mut self, seconds: &[Second]) {
        let over = |value: fn(&Second) -> f64| -> Vec<(f64, f64)> {
            seconds.iter().enumerate().map(|(n, second)| (n as f64 + 1.0, value(second))).collect()
        };
        let rate = over(|second| second.decisions as f64);
        let refusals = over(|second| second.refusals as f64);
        let name = "decisions (blue) and refusals (red) in a second, over the measured seconds";
        self.over_time(name, Scale::Linear, &[(BLUE, rate), (RED, refusals)]);
        let p99 = over(|second| micros(second.latency_ns_p99));
        let name = "99th percentile of the latency in µs, second by second";
        self.over_time(name, Scale::Logarithmic, &[(BLUE, p99)]);
    }

    /// Adds a panel of what went on over seconds.
    pub fn over_time(&mut self, name: &str, scale: Scale, curves: &[Curve]) {
        let points = || curves.iter().flat_map(|(_, points)| points);
        let from = points().map(|(x, _)| *x).reduce(f64::min).unwrap_or(1.0).floor();
        let to = points().map(|(x, _)| *x).fold(from + 1.0, f64::max);
        let top = points().map(|(_, y)| *y).fold(1.0, f64::max);
        let (y, logarithmic) = match scale {
            Scale::Linear => ((0.0, nice(top)), false),
            Scale::Logarithmic => ((1.0, decade(top)), true),
        };
        let panel = self.panel(name, (from, to), y, logarithmic);
        panel.marks_across(&mut self.out);
        curves.iter().for_each(|(colour, points)| panel.line(&mut self.out, points, colour));
    }

    /// Adds a panel of latencies in microseconds against the number of nines of the percentile.
    pub fn percentiles(&mut self, name: &str, of: &[(&'static str, &Histogram<u64>)]) {
        let nines = |quantile: f64| (1.0 / (1.0 - quantile)).log10();
        let last = of.iter().map(|(_, histogram)| histogram.len()).fold(10, u64::max);
        let last = (last as f64).log10().ceil();
        let top = of.iter().map(|(_, histogram)| micros(histogram.max())).fold(1.0, f64::max);
        let panel = self.panel(name, (0.0, last), (1.0, decade(top)), true);
        let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
        for mark in marks.into_iter().filter(|mark| nines(*mark) <= last) {
            panel.mark_across(&mut self.out, nines(mark), &format!("{}", (mark * 1e8_f64).round() / 1e6));
        }
        for (colour, histogram) in of {
            let steps = (0..=200).map(|step| f64::from(step) / 200.0 * last);
            let at = |nines: f64| histogram.value_at_quantile(1.0 - 10_f64.powf(-nines));
            let points: Vec<_> = steps.map(|x| (x, micros(at(x)).max(1.0))).collect();
            panel.line(&mut self.out, &points, colour);
        }
    }

    /// The whole drawing under a title.
    pub fn finish(self, title: &str) -> String {
        let (width, height) = (LEFT + WIDTH + 40.0, TOP + f64::from(self.panels) * PITCH);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="15">{}</text>
{}</svg>
"##,
            escaped(title),
            self.out
        )
    }

    fn panel(&mut self, name: &str, x: (f64, f64), y: (f64, f64), logarithmic: bool) -> Panel {
        let panel = Panel { top: TOP + f64::from(self.panels) * PITCH, x, y, logarithmic };
        self.panels += 1;
        panel.frame(&mut self.out, name);
        panel
    }
}

struct Panel {
    top: f64,
    x: (f64, f64),
    y: (f64, f64),
    logarithmic: bool,
}

impl Panel {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (from, to): (f64, f64)| ((value - from) / (to - from)).clamp(0.0, 1.0);
        let up = match self.logarithmic {
            true => share(y.max(self.y.0).log10(), (self.y.0.log10(), self.y.1.log10())),
            false => share(y, self.y),
        };
        (LEFT + share(x, self.x) * WIDTH, self.top + PANEL * (1.0 - up))
    }

    /// Border, name and the marks of the upward axis.
    fn frame(&self, out: &mut String, name: &str) {
        let top = self.top;
        let _ = writeln!(
            out,
            r##"<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{PANEL}" fill="none" stroke="#888"/>
<text x="{LEFT}" y="{}">{}</text>"##,
            top - 6.0,
            escaped(name)
        );
        let marks: Vec<f64> = match self.logarithmic {
            true => (0..=9).map(|power| 10_f64.powi(power)).filter(|mark| *mark <= self.y.1).collect(),
            false => (0..=4).map(|step| self.y.1 * f64::from(step) / 4.0).collect(),
        };
        for mark in marks {
            let (_, y) = self.place((self.x.0, mark));
            let _ = writeln!(
                out,
                r##"<line x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{mark}</text>"##,
                LEFT + WIDTH,
                LEFT - 6.0,
                y + 4.0
            );
        }
    }

    fn marks_across(&self, out: &mut String) {
        let step = ((self.x.1 - self.x.0) / 10.0).ceil().max(1.0);
        let mut mark = self.x.0;
        while mark <= self.x.1 {
            self.mark_across(out, mark, &format!("{mark}"));
            mark += step;
        }
    }

    fn mark_across(&self, out: &mut String, at: f64, text: &str) {
        let (x, _) = self.place((at, self.y.0));
        let _ = writeln!(
            out,
            r##"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"##,
            self.top + PANEL + 16.0
        );
    }

    fn line(&self, out: &mut String, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|point| {
                let (x, y) = self.place(*point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            out,
            r##"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.6"/>"##,
            points.join(" ")
        );
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// The next power of ten.
fn decade(value: f64) -> f64 {
    10_f64.powf(value.max(10.0).log10().ceil())
}

/// The next value of 1, 2, 4 or 8 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0]
        .into_iter()
        .map(|times| times * power)
        .find(|nice| *nice >= value)
        .unwrap_or(value)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::Code;

    #[test]
    fn a_drawing_is_whole_even_of_nothing() {
        let second = 1_000_000_000;
        let mut tally = Tally::new((0, 3 * second));
        for svg in [svg("a < b", &tally), {
            (1..300).for_each(|n| tally.answered(n * 10_000_000, n * 10_001_000, Code::Accepted, false));
            tally.close_seconds(3 * second);
            svg("a < b", &tally)
        }] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b"));
            assert_eq!(svg.matches("<polyline").count(), 4);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([nice(0.0), nice(3.0), nice(900.0), nice(8100.0)], [1.0, 4.0, 1000.0, 10_000.0]);
        let mut sheet = Sheet::default();
        sheet.over_time("late", Scale::Linear, &[(BLUE, vec![(0.25, 3.0), (2.5, 4.0)])]);
        assert!(sheet.finish("").contains(">0</text>"), "and begin with them");
        assert_eq!([decade(3.0), decade(11.0), decade(100.0)], [10.0, 100.0, 100.0]);
    }
}
