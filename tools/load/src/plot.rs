//! A run as a drawing (SVG): latency by percentile, and throughput and latency over time.

use crate::tally::Tally;
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 240.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 50.0;
/// From the top of one panel to that of the next.
const PITCH: f64 = 320.0;

/// Draws a run under a title.
pub fn svg(title: &str, tally: &Tally) -> String {
    let mut out = String::new();
    let (width, height) = (LEFT + WIDTH + 40.0, TOP + 3.0 * PITCH);
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="24" font-size="15">{}</text>"##,
        escaped(title)
    );
    percentiles(&mut out, tally);
    let over = |value: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        (0..tally.seconds.len()).map(|second| (second as f64 + 1.0, value(second))).collect()
    };
    let seconds = tally.seconds.len().max(2) as f64;
    let rate = over(&|second| tally.seconds[second].decisions as f64);
    let refusals = over(&|second| tally.seconds[second].refusals as f64);
    let top = rate.iter().chain(&refusals).map(|(_, y)| *y).fold(1.0, f64::max);
    let panel = Panel { top: TOP + PITCH, x: (1.0, seconds), y: (0.0, nice(top)), logarithmic: false };
    panel.frame(&mut out, "decisions (blue) and refusals (red) in a second, over the measured seconds");
    panel.marks_across(&mut out);
    panel.line(&mut out, &rate, "#06c");
    panel.line(&mut out, &refusals, "#c22");
    let p99 = over(&|second| micros(tally.seconds[second].latency_ns_p99));
    let top = p99.iter().map(|(_, y)| *y).fold(1.0, f64::max);
    let panel = Panel { top: TOP + 2.0 * PITCH, x: (1.0, seconds), y: (1.0, decade(top)), logarithmic: true };
    panel.frame(&mut out, "99th percentile of the latency in µs, second by second");
    panel.marks_across(&mut out);
    panel.line(&mut out, &p99, "#06c");
    out.push_str("</svg>\n");
    out
}

/// Latency against the number of nines of the percentile.
fn percentiles(out: &mut String, tally: &Tally) {
    let nines = |quantile: f64| (1.0 / (1.0 - quantile)).log10();
    let last = (tally.latency_ns.len().max(10) as f64).log10().ceil();
    let steps = (0..=200).map(|step| f64::from(step) / 200.0 * last);
    let quantile = |nines: f64| 1.0 - 10_f64.powf(-nines);
    let points: Vec<_> =
        steps.map(|x| (x, micros(tally.latency_ns.value_at_quantile(quantile(x))).max(1.0))).collect();
    let top = decade(micros(tally.latency_ns.max()));
    let panel = Panel { top: TOP, x: (0.0, last), y: (1.0, top), logarithmic: true };
    panel.frame(out, "latency in µs from the scheduled time, by percentile");
    let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999];
    for mark in marks.into_iter().filter(|mark| nines(*mark) <= last) {
        panel.mark_across(out, nines(mark), &format!("{}", (mark * 1e8_f64).round() / 1e6));
    }
    panel.line(out, &points, "#06c");
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
<text x="{LEFT}" y="{}">{name}</text>"##,
            top - 6.0
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
        assert_eq!([decade(3.0), decade(11.0), decade(100.0)], [10.0, 100.0, 100.0]);
    }
}
