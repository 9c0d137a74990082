//! One thing that tidy noticed, and how it is shown.

use std::fmt;

/// A place, what is wrong there, and what to do. Sorts by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the root.
    pub(crate) file: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// Whether it fails the check.
    pub(crate) severity: Severity,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Fails the check.
    Error,
    /// Is printed and never fails.
    Advice,
}

impl Finding {
    /// A finding that fails the check.
    pub(crate) fn error(file: &str, line: usize, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (what, remedy) = (what.into(), remedy.into());
        Self { file: file.to_owned(), line, severity: Severity::Error, what, remedy }
    }

    /// A finding to think about.
    pub(crate) fn advice(
        file: &str,
        line: usize,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Advice, ..Self::error(file, line, what, remedy) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Advice => "advice",
        };
        write!(f, "{}:{}: {word}: {}; {}", self.file, self.line, self.what, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where_what_and_what_to_do() {
        let shown = Finding::advice("a/b.rs", 7, "too long", "split it").to_string();
        assert_eq!(shown, "a/b.rs:7: advice: too long; split it");
    }
}
