//! Runs every search and prints what it found: `touchline-model [--cap N] [--only NAME] [--json]`.

mod report;

use report::{Report, json, table};
use std::process::ExitCode;
use std::time::Instant;
use touchline_model::{CORRECT, Model, Mutation, search};

const USAGE: &str = "usage: touchline-model [--cap N] [--only NAME] [--json]
  --cap N      stop a search after N states (default 5000000: under a gigabyte of memory)
  --only NAME  one search instead of all, by its name in the table
  --json       one object for programs instead of the table and the traces";

#[expect(clippy::disallowed_methods, reason = "the command line is read here and nowhere else")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut cap, mut as_json) = (5_000_000, false);
    let mut searches = all();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => as_json = true,
            "--cap" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number) => cap = number,
                None => return wrong_usage("--cap needs a number of states"),
            },
            "--only" => {
                let name = arguments.next().unwrap_or_default();
                searches.retain(|(known, _)| *known == name);
                if searches.is_empty() {
                    return wrong_usage("--only needs the name of a search");
                }
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            other => return wrong_usage(&format!("unknown argument `{other}`")),
        }
    }
    let reports = run(searches, cap, as_json);
    if as_json {
        println!("{}", json(cap, &reports));
    }
    let unexpected = reports.iter().filter(|report| !report.is_expected()).count();
    if unexpected == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("touchline-model: {unexpected} search(es) did not end as they should");
    ExitCode::FAILURE
}

fn wrong_usage(what: &str) -> ExitCode {
    eprintln!("touchline-model: {what}\n{USAGE}");
    ExitCode::from(2)
}

/// The whole protocol first, then with each rule broken.
fn all() -> Vec<(&'static str, Model)> {
    let mutations = Mutation::ALL.map(|mutation| (mutation.name(), mutation.model()));
    CORRECT.into_iter().chain(mutations).collect()
}

/// One search after the other; rows are printed as they come, since some take a while.
#[expect(clippy::disallowed_methods, reason = "the time a search took is printed, and changes nothing")]
fn run(searches: Vec<(&'static str, Model)>, cap: usize, quiet: bool) -> Vec<Report> {
    if !quiet {
        println!("{}", table::HEAD);
    }
    let mut reports = Vec::new();
    for (name, model) in searches {
        let start = Instant::now();
        let outcome = search(&model, cap);
        let report = Report { name, model, outcome, seconds: start.elapsed().as_secs_f64() };
        if !quiet {
            print!("{}", table::row(&report));
        }
        reports.push(report);
    }
    reports
}
