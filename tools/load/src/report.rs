//! A run's figures as one JSON object: what programs read, and what people are told from.

use crate::feed::FeedTally;
use crate::tally::Tally;
use hdrhistogram::Histogram;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use touchline_protocol::Code;

/// What a load was answered.
pub fn tickets(tally: &Tally) -> Json {
    let generator_us = tally.processor_ns as f64 / 1000.0 / tally.sent.max(1) as f64;
    json!({
        "sent": tally.sent,
        "sent_again": tally.again,
        "answered": tally.decided() + tally.refusals(),
        "unanswered": tally.unanswered,
        "unasked": tally.unasked,
        "mismatched": tally.mismatched,
        "differing": tally.differing,
        "connections_lost": tally.lost,
        "decisions": by_code(&tally.decisions),
        "refused": by_code(&tally.refused),
        "decisions_measured": tally.measured,
        "decisions_per_second": tenths(tally.decisions_per_second()),
        "measured_s": tally.measured_s(),
        "latency_us": latency_us(&tally.latency_ns),
        "refusal_us": latency_us(&tally.refusal_ns),
        "generator_late_us": latency_us(&tally.late_ns),
        "generator_us_per_ticket": (generator_us * 1000.0).round() / 1000.0,
        "odds_updates": tally.told,
        "nothing_on_sale": tally.nothing_on_sale,
    })
}

/// What its feed was answered.
pub fn feed(tally: &FeedTally) -> Json {
    json!({
        "updates": tally.updates,
        "suspensions": tally.suspensions,
        "matches_settled": tally.settled,
        "rejected": by_code(&tally.rejected),
        "refused": by_code(&tally.refused),
        "unanswered": tally.unanswered,
        "update_us": latency_us(&tally.update_ns),
        "suspension_us": latency_us(&tally.suspension_ns),
        "late_us": latency_us(&tally.late_ns),
    })
}

/// Percentiles in microseconds, to a tenth.
pub fn latency_us(nanoseconds: &Histogram<u64>) -> Json {
    let at = |quantile| tenths(nanoseconds.value_at_quantile(quantile) as f64 / 1000.0);
    json!({
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p99.9": at(0.999),
        "max": tenths(nanoseconds.max() as f64 / 1000.0),
    })
}

/// Counts by the names of their codes.
pub fn by_code(counts: &BTreeMap<Code, u64>) -> Json {
    let named = counts.iter().map(|(code, count)| (code.name().to_owned(), Json::from(*count)));
    named.collect::<Map<_, _>>().into()
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
