//! One row a search, and below it how an invariant was broken.

use super::Report;
use std::fmt::Write as _;
use touchline_model::{Ending, Policy};

/// Names the columns; the bounds are frames, crashes, suspicions, joins, handoffs.
pub(crate) const HEAD: &str =
    "search                     policy   bounds           states  depth  epochs  seconds  ending";

/// The row of a search, with its trace.
pub(crate) fn row(report: &Report) -> String {
    let (bounds, outcome) = (report.model.bounds, &report.outcome);
    let policy = policy(report.model.policy);
    let bounds = format!(
        "f{} c{} s{} j{} h{}",
        bounds.frames, bounds.crashes, bounds.suspicions, bounds.joins, bounds.handoffs
    );
    let mut row = format!(
        "{:<26} {policy:<8} {bounds} {:>8}  {:>5}  {:>6}  {:>7.1}  {}",
        report.name,
        outcome.states,
        outcome.depth,
        outcome.epochs_max,
        report.seconds,
        outcome.ending.word()
    );
    match &outcome.ending {
        Ending::Exhausted => row.push('\n'),
        Ending::Capped { frontier } => _ = writeln!(row, ", {frontier} still to expand"),
        Ending::Violated { violation, trace } => {
            _ = writeln!(row, ": {violation}");
            if let Some(mutation) = report.model.mutation {
                _ = writeln!(row, "    {}", mutation.loss());
            }
            for (number, step) in trace.iter().enumerate() {
                _ = writeln!(row, "    {:>2}. {step}", number + 1);
            }
        }
    }
    row
}

/// The policy as the configuration files name it.
pub(super) fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Durable => "durable",
        Policy::Hybrid => "hybrid",
    }
}
