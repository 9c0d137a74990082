//! The shape of the checkout: its top level, how a Rust file opens, how long a file grows.

use std::collections::BTreeSet;

use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// All that may lie at the top, apart from dot-files.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "engine",
    "feed-handlers",
    "replication",
    "tools",
    "benches",
    "config",
    "README.md",
];

/// Lines of a Rust file beyond which a second idea has usually moved in.
const LINES_MAX_ADVISED: usize = 800;

/// Nothing new lies at the top level.
pub(crate) fn check_top_level(paths: &[String]) -> Vec<Finding> {
    let tops: BTreeSet<&str> = paths.iter().filter_map(|path| path.split('/').next()).collect();
    let strange = tops.into_iter().filter(|top| !top.starts_with('.') && !TOP_LEVEL.contains(top));
    strange
        .map(|top| {
            let what = format!("`{top}` does not belong at the top level");
            Finding::error(top, 1, what, "move it into the folder whose subject it is")
        })
        .collect()
}

/// A Rust file opens by saying why it exists.
pub(crate) fn check_opening(file: &SourceFile) -> Option<Finding> {
    let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let said = first.strip_prefix("//!").is_some_and(|sentence| !sentence.trim().is_empty());
    if !is_rust(file) || said {
        return None;
    }
    let remedy = "open it with a `//!` sentence that states its one reason to exist";
    Some(Finding::error(&file.path, 1, "the file does not say why it exists", remedy))
}

/// Advice on length, never more.
pub(crate) fn check_size(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    if !is_rust(file) || lines <= LINES_MAX_ADVISED {
        return None;
    }
    let what = format!("{lines} lines, more than {LINES_MAX_ADVISED}");
    Some(Finding::advice(&file.path, LINES_MAX_ADVISED + 1, what, "ask which second idea moved in"))
}

fn is_rust(file: &SourceFile) -> bool {
    file.path.ends_with(".rs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::finding::Severity;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_stranger_at_the_top_is_found_once_and_dot_files_pass() {
        let paths =
            [".ci/run", "Cargo.toml", "benches/a.rs", "docs/a.md", "docs/b.md", "engine/core/Cargo.toml"];
        let findings = check_top_level(&paths.map(str::to_owned));
        assert_eq!(findings.iter().map(|finding| finding.file.as_str()).collect::<Vec<_>>(), ["docs"]);
    }

    #[test]
    fn rust_files_say_why_they_exist() {
        assert_eq!(check_opening(&file("a.rs", "//! Why.\nfn f() {}\n")), None);
        assert_eq!(check_opening(&file("a.md", "# Title\n")), None);
        for text in ["", "fn f() {}\n", "// Why.\n", "//!\n", "#![no_main]\n//! Why.\n"] {
            assert!(check_opening(&file("a.rs", text)).is_some(), "{text:?}");
        }
    }

    #[test]
    fn length_is_advice_and_never_an_error() {
        assert_eq!(check_size(&file("a.rs", &"x\n".repeat(800))), None);
        assert_eq!(check_size(&file("a.csv", &"x\n".repeat(900))), None);
        let finding = check_size(&file("a.rs", &"x\n".repeat(801))).unwrap();
        assert_eq!(finding.severity, Severity::Advice);
    }
}
