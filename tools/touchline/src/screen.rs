//! What a terminal shows of a running node, for every command that shows one.

use serde_json::Value;
use std::fmt::{Display, Result, Write};

/// Stages in the order in which a ticket passes them; any others follow.
const ORDER: [&str; 6] = ["queue", "apply", "write", "durable", "gate", "decision"];
/// Columns that a line of counts may take.
const COLUMNS: usize = 118;

/// A page as it is to be written: over the last one on a terminal that is repainted, without flicker; else as it is.
pub(crate) fn painted(page: &str, repaint: bool) -> String {
    match repaint {
        true => format!("\x1b[H{}\x1b[J", page.replace('\n', "\x1b[K\n")),
        false => page.to_owned(),
    }
}

/// What waits inside of a node, and a line a stage, from its answer to `measures`.
pub(crate) fn draw_node(measures: &Value, page: &mut String) -> Result {
    let gauge = |name: &str| measures["gauges"][name].as_u64().unwrap_or(0);
    writeln!(
        page,
        "connections {}, tickets inside {} of at most {}",
        gauge("connections"),
        gauge("tickets_inside"),
        gauge("tickets_max")
    )?;
    writeln!(
        page,
        "\n{:<12} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "stage", "count", "mean us", "p50 us", "p99 us", "max us"
    )?;
    let mut stages: Vec<_> = measures["stages"].as_object().into_iter().flatten().collect();
    // A shard's stage ends with its number.
    let place = |name: &str| ORDER.iter().position(|stage| name.starts_with(stage)).unwrap_or(ORDER.len());
    stages.sort_by_key(|(name, _)| place(name));
    for (name, stage) in stages {
        let us = |key: &str| stage[key].as_f64().unwrap_or(0.0);
        writeln!(
            page,
            "{name:<12} {:>10} {:>12.1} {:>12.1} {:>12.1} {:>12.1}",
            stage["count"].as_u64().unwrap_or(0),
            us("mean_us"),
            us("p50_us"),
            us("p99_us"),
            us("max_us")
        )?;
    }
    Ok(())
}

/// Counts by name behind a lead, on as many lines as they need.
pub(crate) fn draw_counts<N: Display>(
    lead: &str,
    counts: impl Iterator<Item = (N, u64)>,
    page: &mut String,
) -> Result {
    let mut line = lead.to_owned();
    for (n, (name, count)) in counts.enumerate() {
        let next = format!("{name} {count}");
        line.push_str(if n == 0 { ": " } else { ", " });
        if line.len() + next.len() > COLUMNS {
            writeln!(page, "{}", line.trim_end())?;
            line = "    ".into();
        }
        line.push_str(&next);
    }
    writeln!(page, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stages_stand_in_the_order_of_the_flow_and_in_columns() {
        let stage = json!({ "count": 7, "mean_us": 1.5, "p50_us": 1.0, "p99_us": 2.0, "max_us": 1234567.0 });
        let stages =
            json!({ "gate": stage, "apply-1": stage, "apply-0": stage, "odd": stage, "queue": stage });
        let mut page = String::new();
        draw_node(&json!({ "stages": stages, "gauges": { "connections": 3 } }), &mut page).unwrap();
        let lines: Vec<&str> = page.lines().skip(3).collect();
        let names: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["queue", "apply-0", "apply-1", "gate", "odd"]);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{page}");
        assert!(page.starts_with("connections 3, tickets inside 0"));
    }

    #[test]
    fn counts_break_between_and_not_within() {
        let mut page = String::new();
        draw_counts("bets", (0..30).map(|n| (format!("SOME_CODE_{n}"), 1000 + n)), &mut page).unwrap();
        assert!(page.lines().count() > 3 && page.lines().all(|line| line.len() <= COLUMNS), "{page}");
        assert_eq!(page.matches("SOME_CODE_").count(), 30);
        let mut page = String::new();
        draw_counts("bets", std::iter::empty::<(&str, u64)>(), &mut page).unwrap();
        assert_eq!(page, "bets\n");
    }

    #[test]
    fn a_page_paints_over_the_longer_one_before() {
        assert_eq!(painted("a\nb\n", true), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(painted("a\n", false), "a\n");
    }
}
