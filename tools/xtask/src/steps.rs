//! A row of timed steps that ends at the first failure, and the table that sums it up.

use std::time::{Duration, Instant};

use crate::error::XtaskError;

/// The steps of one run, in the order in which they are to be done.
pub(crate) struct Steps {
    rows: Vec<Row>,
}

struct Row {
    step: &'static str,
    seconds: Duration,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

impl Steps {
    /// Names the steps beforehand, so that the table can list those never reached.
    pub(crate) fn planned(names: &[&'static str]) -> Self {
        let row = |&step| Row { step, seconds: Duration::ZERO, outcome: Outcome::NotRun };
        Self { rows: names.iter().map(row).collect() }
    }

    /// Runs one planned step under its heading; `work` says whether it passed.
    ///
    /// A step that fails, or that could not be run, comes back as an error, which the caller passes up after
    /// the table has been printed.
    pub(crate) fn run(
        &mut self,
        step: &'static str,
        work: impl FnOnce() -> Result<bool, XtaskError>,
    ) -> Result<(), XtaskError> {
        println!("\n== {step} ==");
        let started = Instant::now();
        let result = work();
        let outcome = if matches!(result, Ok(true)) { Outcome::Passed } else { Outcome::Failed };
        let row = Row { step, seconds: started.elapsed(), outcome };
        match self.rows.iter_mut().find(|planned| planned.step == step) {
            Some(planned) => *planned = row,
            None => self.rows.push(row),
        }
        if result? { Ok(()) } else { Err(XtaskError::Step { step }) }
    }

    /// The table of step, seconds and outcome.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.step.len()).max().unwrap_or(0).max("step".len());
        let mut table = format!("{:<width$}  seconds  outcome\n", "step");
        for row in &self.rows {
            let outcome = match row.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed => "FAILED",
                Outcome::NotRun => "not run",
            };
            table += &format!("{:<width$}  {:>7.1}  {outcome}\n", row.step, row.seconds.as_secs_f64());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_passed_failed_and_not_run_apart() {
        let mut steps = Steps::planned(&["format", "lints", "tests"]);
        steps.run("format", || Ok(true)).unwrap();
        let error = steps.run("lints", || Ok(false)).unwrap_err();
        assert!(error.to_string().contains("`lints`"), "{error}");
        let table = steps.table();
        let outcomes: Vec<_> =
            table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(outcomes, ["passed", "FAILED", "not"]);
    }

    #[test]
    fn a_step_that_could_not_be_run_keeps_its_own_error() {
        let mut steps = Steps::planned(&["format"]);
        let error = steps
            .run("format", || Err(XtaskError::Missing { tool: "rustfmt", remedy: "get it" }))
            .unwrap_err();
        assert!(error.to_string().contains("get it"), "{error}");
        assert!(steps.table().contains("FAILED"));
    }
}
