//! The one test command: everything a change must pass, in order of cost, with a table at the end.

use std::process::Command;

use crate::data::{self, Data};
use crate::error::XtaskError;
use crate::etcd;
use crate::process;
use crate::steps::Steps;
use crate::tally::{self, Tally};
use crate::tidy;
use crate::workspace::{Workspace, cargo};

const STEPS: [&str; 6] = ["format", "lints", "tidy", "build", "doc tests", "tests"];

/// Runs every step and stops at the first failure.
///
/// Where cargo-nextest is missing, `install` builds it; otherwise plain `cargo test` takes its place. Where etcd
/// is missing, it is installed if that can be done without asking.
pub(crate) fn run(workspace: &Workspace, install: bool) -> Result<(), XtaskError> {
    let data = data::find(&workspace.root);
    println!("{}", data.line());
    require_components()?;
    let runner = Runner::choose(install)?;
    println!("test runner: {}", runner.line());
    println!("{}", etcd::provide().line());

    let mut steps = Steps::planned(&STEPS);
    let mut counted = Counted::default();
    let outcome = run_steps(workspace, &data, runner, &mut steps, &mut counted);
    print_summary(&steps, &counted);
    outcome
}

/// The tests come last, so that their summary stays in sight at the end of a long output.
fn run_steps(
    workspace: &Workspace,
    data: &Data,
    runner: Runner,
    steps: &mut Steps,
    counted: &mut Counted,
) -> Result<(), XtaskError> {
    let shown = |arguments: &[&str]| -> Result<bool, XtaskError> {
        let mut command = command_with(workspace, data, arguments);
        println!("$ {}", process::describe(&command));
        Ok(process::show(&mut command)?.success())
    };
    let mut tested = |arguments: &[&str]| -> Result<bool, XtaskError> {
        let mut command = command_with(workspace, data, arguments);
        println!("$ {}", process::describe(&command));
        let (status, lines) = process::show_and_keep(&mut command)?;
        counted.add(&lines);
        Ok(status.success())
    };
    steps.run("format", || shown(&["fmt", "--all", "--check"]))?;
    steps.run("lints", || shown(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    steps.run("tidy", || tidy::run(workspace).map(|()| true))?;
    steps.run("build", || shown(&["build", "--workspace", "--all-targets"]))?;
    steps.run("doc tests", || tested(&["test", "--workspace", "--doc", "--no-fail-fast"]))?;
    steps.run("tests", || tested(runner.arguments()))
}

fn command_with(workspace: &Workspace, data: &Data, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments).current_dir(&workspace.root);
    match data.folder() {
        Some(folder) => command.env(data::VARIABLE, folder),
        None => command.env_remove(data::VARIABLE),
    };
    command
}

fn require_components() -> Result<(), XtaskError> {
    if !process::succeeds(cargo().args(["fmt", "--version"])) {
        return Err(XtaskError::Missing { tool: "rustfmt", remedy: "rustup component add rustfmt" });
    }
    if !process::succeeds(cargo().args(["clippy", "--version"])) {
        return Err(XtaskError::Missing { tool: "clippy", remedy: "rustup component add clippy" });
    }
    Ok(())
}

/// Which program runs the tests.
#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    CargoTest,
}

impl Runner {
    fn choose(install: bool) -> Result<Self, XtaskError> {
        let present = || process::succeeds(cargo().args(["nextest", "--version"]));
        if present() {
            return Ok(Self::Nextest);
        }
        if !install {
            return Ok(Self::CargoTest);
        }
        println!("installing cargo-nextest from source; on two cores this takes several minutes");
        let status = process::show(cargo().args(["install", "cargo-nextest", "--locked"]))?;
        if status.success() && present() {
            Ok(Self::Nextest)
        } else {
            Err(XtaskError::Missing { tool: "cargo-nextest", remedy: "cargo install cargo-nextest --locked" })
        }
    }

    fn line(self) -> &'static str {
        match self {
            Self::Nextest => "cargo nextest",
            Self::CargoTest => {
                "plain cargo test, because cargo-nextest is missing \
                 (`cargo xtask test --install` builds it, several minutes on two cores)"
            }
        }
    }

    /// Benchmarks are compiled by the build step and never run here: their figures need a quiet machine.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nextest => &[
                "nextest",
                "run",
                "--workspace",
                "--lib",
                "--bins",
                "--examples",
                "--tests",
                "--no-fail-fast",
            ],
            Self::CargoTest => {
                &["test", "--workspace", "--lib", "--bins", "--examples", "--tests", "--no-fail-fast"]
            }
        }
    }
}

/// What the test steps printed about themselves.
#[derive(Default)]
struct Counted {
    tally: Tally,
    nextest_summary: Option<String>,
    any: bool,
}

impl Counted {
    fn add(&mut self, lines: &[String]) {
        self.any = true;
        self.tally = self.tally.plus(Tally::of(lines));
        if let Some(line) = lines.iter().rev().find(|line| tally::is_nextest_summary(line)) {
            self.nextest_summary = Some(line.trim().to_owned());
        }
    }

    /// The closing lines: nextest's own summary where it ran, then the plain count of every test.
    fn lines(&self) -> String {
        if !self.any {
            return "no tests were run, because an earlier step failed".to_owned();
        }
        let Tally { passed, failed, skipped } = self.tally;
        let summary = self.nextest_summary.iter().map(|line| format!("{line}\n")).collect::<String>();
        format!("{summary}tests and doc tests together, {skipped} skipped:\n{passed} passed, {failed} failed")
    }
}

fn print_summary(steps: &Steps, counted: &Counted) {
    println!("\n{}\n{}", steps.table(), counted.lines());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_plain_count_over_doc_tests_and_tests() {
        let mut counted = Counted::default();
        counted
            .add(&["test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out".to_owned()]);
        counted.add(&["  Summary [ 0.1s] 4 tests run: 3 passed, 1 failed, 0 skipped".to_owned()]);
        let lines = counted.lines();
        assert_eq!(lines.lines().next(), Some("Summary [ 0.1s] 4 tests run: 3 passed, 1 failed, 0 skipped"));
        assert_eq!(lines.lines().last(), Some("5 passed, 1 failed"));
    }

    #[test]
    fn no_count_is_claimed_when_no_test_ran() {
        assert!(!Counted::default().lines().contains("passed"));
    }

    #[test]
    fn neither_runner_runs_benchmarks() {
        for runner in [Runner::Nextest, Runner::CargoTest] {
            assert!(runner.arguments().contains(&"--tests"));
            assert!(!runner.arguments().contains(&"--all-targets"));
            assert!(!runner.arguments().contains(&"--benches"));
        }
    }
}
