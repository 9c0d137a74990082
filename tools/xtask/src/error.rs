//! What can stop a chore: each error says what failed, where, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// The reason a chore ends with a non-zero exit.
#[derive(Debug, Error)]
pub(crate) enum XtaskError {
    /// A program could not be started at all.
    #[error("cannot start `{program}`: {source}; check that it is installed and on the PATH")]
    Start {
        /// The program and its arguments.
        program: String,
        /// Why the system refused.
        source: io::Error,
    },
    /// The output of a program that was started could not be read.
    #[error("cannot read the output of `{program}`: {source}")]
    Output {
        /// The program and its arguments.
        program: String,
        /// What the pipe reported.
        source: io::Error,
    },
    /// `cargo metadata` failed or said something unexpected.
    #[error("cannot read the workspace: {reason}; run `cargo metadata --no-deps` to see cargo's own words")]
    Metadata {
        /// What was missing or wrong.
        reason: String,
    },
    /// A file of the checkout could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Tidy found something to mend; the findings have been printed.
    #[error("tidy: {count} finding(s) to mend, listed above")]
    Untidy {
        /// How many findings are errors rather than advice.
        count: usize,
    },
    /// A step of the test command failed; its output has been printed.
    #[error("step `{step}` failed; its output is above")]
    Step {
        /// The step's name in the summary table.
        step: &'static str,
    },
    /// A tool that the chore cannot do without is absent.
    #[error("{tool} is missing; add it with `{remedy}`")]
    Missing {
        /// The tool's name.
        tool: &'static str,
        /// The command that adds it.
        remedy: &'static str,
    },
    /// cargo-deny ran and did not end well; its own words have been printed.
    #[error(
        "cargo-deny failed, see above: where it refused a dependency, mend that or add an exception with its \
         reason to .cargo/deny.toml; where it could not fetch the advisories, try again with a network"
    )]
    Denied,
    /// No fuzz target exists.
    #[error(
        "no fuzz target found under */fuzz or */*/fuzz; `cargo fuzz init` inside a crate makes the first"
    )]
    NoFuzzTargets,
    /// At least one fuzz target failed; its output has been printed.
    #[error("fuzzing failed in {targets}; the input that did it is under that crate's fuzz/artifacts/")]
    Fuzz {
        /// The failing targets, separated by commas.
        targets: String,
    },
}
