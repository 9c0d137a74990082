//! The same as one JSON object; written by hand, because this crate has no business with a serialiser.

use super::{Report, table};
use touchline_model::Ending;

/// All searches of one run.
pub(crate) fn json(cap: usize, reports: &[Report]) -> String {
    let searches: Vec<_> = reports.iter().map(search).collect();
    format!("{{\"cap\": {cap}, \"searches\": [\n{}\n]}}", searches.join(",\n"))
}

fn search(report: &Report) -> String {
    let (bounds, outcome) = (report.model.bounds, &report.outcome);
    let mut fields = vec![
        ("name", text(report.name)),
        ("policy", text(table::policy(report.model.policy))),
        ("lone_promote", report.model.lone_promote.to_string()),
        ("mutated", report.model.mutation.is_some().to_string()),
        ("frames", bounds.frames.to_string()),
        ("crashes", bounds.crashes.to_string()),
        ("suspicions", bounds.suspicions.to_string()),
        ("joins", bounds.joins.to_string()),
        ("handoffs", bounds.handoffs.to_string()),
        ("states", outcome.states.to_string()),
        ("depth", outcome.depth.to_string()),
        ("acknowledged_max", outcome.acknowledged_max.to_string()),
        ("epochs_max", outcome.epochs_max.to_string()),
        ("seconds", format!("{:.3}", report.seconds)),
        ("ending", text(outcome.ending.word())),
        ("expected", report.is_expected().to_string()),
    ];
    match &outcome.ending {
        Ending::Exhausted => {}
        Ending::Capped { frontier } => fields.push(("frontier", frontier.to_string())),
        Ending::Violated { violation, trace } => {
            let steps: Vec<_> = trace.iter().map(|step| text(&step.to_string())).collect();
            fields.push(("violation", text(&violation.to_string())));
            fields.push(("trace", format!("[{}]", steps.join(", "))));
        }
    }
    let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("  {{{}}}", fields.join(", "))
}

/// A string; what is written here has neither control characters nor anything beyond these two to escape.
fn text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
