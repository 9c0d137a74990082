//! Every fuzz target of the workspace, each for the same number of seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::XtaskError;
use crate::process;
use crate::workspace::Workspace;

/// Runs each target found under `*/fuzz` and `*/*/fuzz` and reports how many inputs it executed.
///
/// All targets run even when one fails, so that one night's run finds all it can.
pub(crate) fn run(workspace: &Workspace, seconds: u32) -> Result<(), XtaskError> {
    let targets = find_targets(&workspace.root)?;
    if targets.is_empty() {
        return Err(XtaskError::NoFuzzTargets);
    }
    require_tools()?;
    let mut failed = Vec::new();
    let mut report = String::from("\nexecutions  outcome  target\n");
    for target in &targets {
        println!("\n== {} for {seconds} s ==", target.name);
        let (status, lines) = process::show_and_keep(&mut target.command(seconds))?;
        let executions = executions(&lines).map_or_else(|| "unknown".to_owned(), |count| count.to_string());
        let outcome = if status.success() { "passed" } else { "FAILED" };
        report += &format!("{executions:>10}  {outcome}   {}\n", target.name);
        if !status.success() {
            failed.push(target.name.clone());
        }
    }
    print!("{report}");
    if failed.is_empty() { Ok(()) } else { Err(XtaskError::Fuzz { targets: failed.join(", ") }) }
}

/// One `[[bin]]` of one `fuzz/` crate.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: String,
    fuzz_folder: PathBuf,
}

impl Target {
    /// libFuzzer needs the nightly compiler, so rustup is asked by name instead of the pinned toolchain.
    fn command(&self, seconds: u32) -> Command {
        let mut command = nightly_cargo_fuzz();
        command.arg("run").arg("--fuzz-dir").arg(&self.fuzz_folder).arg(&self.name);
        command.args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1"]);
        if let Some(parent) = self.fuzz_folder.parent() {
            command.current_dir(parent);
        }
        command
    }
}

fn nightly_cargo_fuzz() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]);
    // The variables through which the pinned cargo speaks to its children would win over the nightly one.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn require_tools() -> Result<(), XtaskError> {
    if !process::succeeds(Command::new("rustup").args(["run", "nightly", "cargo", "--version"])) {
        return Err(XtaskError::Missing {
            tool: "the nightly toolchain",
            remedy: "rustup toolchain install nightly",
        });
    }
    if !process::succeeds(nightly_cargo_fuzz().arg("--version")) {
        return Err(XtaskError::Missing { tool: "cargo-fuzz", remedy: "cargo install cargo-fuzz --locked" });
    }
    Ok(())
}

/// Targets in the order of their folders, so that two runs report alike.
fn find_targets(root: &Path) -> Result<Vec<Target>, XtaskError> {
    let mut targets = Vec::new();
    for top in folders(root)? {
        for folder in [&top].into_iter().chain(&folders(&top)?) {
            let fuzz_folder = folder.join("fuzz");
            let manifest = fuzz_folder.join("Cargo.toml");
            if !manifest.is_file() {
                continue;
            }
            let text = fs::read_to_string(&manifest)
                .map_err(|source| XtaskError::Read { path: manifest.clone(), source })?;
            let target = |name| Target { name, fuzz_folder: fuzz_folder.clone() };
            targets.extend(bin_names(&text).into_iter().map(target));
        }
    }
    Ok(targets)
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>, XtaskError> {
    let read = |source| XtaskError::Read { path: parent.to_owned(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(parent).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The names in the `[[bin]]` tables of a fuzz manifest, one `name = "..."` line each as cargo-fuzz writes them.
fn bin_names(manifest: &str) -> Vec<String> {
    let mut in_bin = false;
    let mut names = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_bin = line == "[[bin]]";
        } else if let Some((key, value)) = line.split_once('=')
            && in_bin
            && key.trim() == "name"
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

/// libFuzzer's own count, from `stat::number_of_executed_units: 1234` or, failing that, `Done 1234 runs in ...`.
fn executions(lines: &[String]) -> Option<u64> {
    lines.iter().rev().find_map(|line| {
        let count = line
            .strip_prefix("stat::number_of_executed_units:")
            .or_else(|| line.strip_prefix("Done ")?.split_once(" runs").map(|(count, _)| count))?;
        count.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bin_names_are_targets() {
        let manifest = "[package]\nname = \"x-fuzz\"\n[[bin]]\nname = \"frame\"\npath = \"f.rs\"\n[[bin]]\nname = \"feed\"\n";
        assert_eq!(bin_names(manifest), ["frame", "feed"]);
    }

    #[test]
    fn executions_are_read_from_either_line() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let stats = "INFO: seed\nDone 12 runs in 3 second(s)\nstat::number_of_executed_units: 34\n";
        assert_eq!(executions(&lines(stats)), Some(34));
        assert_eq!(executions(&lines("Done 12 runs in 3 second(s)")), Some(12));
        assert_eq!(executions(&lines("==1==ERROR: crash")), None);
    }

    #[test]
    fn the_limit_of_time_reaches_the_fuzzer() {
        let target = Target { name: "frame".to_owned(), fuzz_folder: PathBuf::from("engine/protocol/fuzz") };
        let line = process::describe(&target.command(7));
        assert!(line.contains("nightly cargo fuzz run") && line.contains("-max_total_time=7"), "{line}");
    }
}
