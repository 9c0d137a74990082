//! Whether a series of samples is flat: what a straight line through it grows by, against what it may grow by.

use serde_json::{Value as Json, json};

/// Samples over seconds and what they may grow by.
pub(super) struct Trend {
    /// What was sampled, its unit last.
    pub name: &'static str,
    /// Seconds and values, at least two.
    pub samples: Vec<(f64, f64)>,
    /// Growth from the first to the last sample that still counts as flat.
    pub allowed: f64,
}

impl Trend {
    /// Growth of the line of least squares from the first sample to the last; 0 of less than two samples.
    pub(super) fn growth(&self) -> f64 {
        let count = self.samples.len() as f64;
        let (mean_x, mean_y) =
            self.samples.iter().fold((0.0, 0.0), |(x, y), s| (x + s.0 / count, y + s.1 / count));
        let about = |s: &(f64, f64)| (s.0 - mean_x, s.1 - mean_y);
        let (xy, xx) =
            self.samples.iter().map(about).fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + x * y, xx + x * x));
        let span = self.samples.last().map_or(0.0, |last| last.0 - self.samples[0].0);
        if xx > 0.0 { xy / xx * span } else { 0.0 }
    }

    /// Whether it does not grow more than allowed; shrinking is flat, and nothing sampled is not.
    pub(super) fn is_flat(&self) -> bool {
        self.samples.len() >= 2 && self.growth() <= self.allowed
    }

    /// Everything for programs.
    pub(super) fn json(&self) -> Json {
        let values = || self.samples.iter().map(|(_, value)| *value);
        json!({
            "min": values().reduce(f64::min),
            "max": values().reduce(f64::max),
            "last": values().next_back(),
            // Adding 0 leaves no negative one.
            "growth": self.growth().round() + 0.0,
            "allowed": self.allowed.round(),
            "flat": self.is_flat(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(samples: impl IntoIterator<Item = (f64, f64)>) -> Trend {
        Trend { name: "things", samples: samples.into_iter().collect(), allowed: 10.0 }
    }

    #[test]
    fn a_line_is_found_under_noise_and_only_growth_is_not_flat() {
        let noise = |n: i32| f64::from(n * 7919 % 11) - 5.0;
        let rising = trend((0..100).map(|n| (f64::from(n), f64::from(n) + noise(n))));
        assert!((rising.growth() - 99.0).abs() < 3.0 && !rising.is_flat(), "{}", rising.growth());
        assert!(trend((0..100).map(|n| (f64::from(n), noise(n)))).is_flat());
        assert!(trend((0..100).map(|n| (f64::from(n), -f64::from(n)))).is_flat());
        assert!(!trend([]).is_flat() && !trend([(1.0, 1.0)]).is_flat());
        assert!(trend([(1.0, 1.0), (1.0, 50.0)]).growth() == 0.0);
    }
}
