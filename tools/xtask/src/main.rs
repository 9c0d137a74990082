//! The command line of the workspace's own chores: `cargo xtask tidy | test | deny | fuzz`.
//!
//! This crate never ships and never runs beside a node. It installs nothing unless `--install` is typed, with one
//! exception: the package of etcd, where `test` runs as root beside apt-get.

mod data;
mod deny;
mod error;
mod etcd;
mod fuzz;
mod process;
mod steps;
mod tally;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::XtaskError;
use crate::workspace::Workspace;

/// The chores of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check layers, dependencies, names, layout and the sans-IO rule.
    Tidy,
    /// Check format, lints and tidiness, then build and run every test.
    Test {
        /// Install cargo-nextest first if it is missing (several minutes on two cores).
        #[arg(long)]
        install: bool,
    },
    /// Check licences, advisories, bans and sources of dependencies with cargo-deny.
    Deny,
    /// Run every fuzz target for a while and report its executions.
    Fuzz {
        /// Seconds spent on each target.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<(), XtaskError> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::Tidy => tidy::run(&workspace),
        Chore::Test { install } => test::run(&workspace, install),
        Chore::Deny => deny::run(&workspace),
        Chore::Fuzz { seconds } => fuzz::run(&workspace, seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn zero_seconds_of_fuzzing_are_refused() {
        assert!(Arguments::try_parse_from(["xtask", "fuzz", "--seconds", "0"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "fuzz", "--seconds", "5"]).is_ok());
    }
}
