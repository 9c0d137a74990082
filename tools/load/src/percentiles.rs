//! A histogram in HdrHistogram's own text format of percentiles, which its plotters read.

use hdrhistogram::Histogram;
use std::fmt::Write;

/// Lines for each halving of the distance to the 100th percentile.
const TICKS: u32 = 5;

/// The text; values are written in microseconds.
pub fn text(nanoseconds: &Histogram<u64>) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for step in nanoseconds.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1000.0, step.quantile_iterated_to());
        let inverse =
            if quantile < 1.0 { format!("{:14.2}", 1.0 / (1.0 - quantile)) } else { "           inf".into() };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{value:12.3} {quantile:14.12} {total:10} {inverse}");
    }
    let [mean, deviation, max] =
        [nanoseconds.mean(), nanoseconds.stdev(), nanoseconds.max() as f64].map(|ns| ns / 1000.0);
    let count = nanoseconds.len();
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let (buckets, sub_buckets) = (nanoseconds.buckets(), 2 * 10_u32.pow(nanoseconds.sigfig().into()));
    let _ =
        writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {:12}]", sub_buckets.next_power_of_two());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reaches_the_maximum_and_counts_everything() {
        let mut histogram = crate::tally::histogram();
        (1..=1000_u64).for_each(|us| histogram.saturating_record(us * 1000));
        let text = text(&histogram);
        let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let fields: Vec<&str> = last.split_whitespace().collect();
        assert_eq!((fields[1], fields[2], fields[3]), ("1.000000000000", "1000", "inf"));
        assert!((1000.0..1002.0).contains(&fields[0].parse::<f64>().unwrap()));
        assert!(text.contains("Total count    =         1000]"));
        let rising: Vec<f64> =
            text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        assert!(rising.len() > 20 && rising.is_sorted());
    }
}
