//! Where the recorded matches and reference vectors are, for the tests that need them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The environment variable that tests read.
pub(crate) const VARIABLE: &str = "TOUCHLINE_DATA";

/// The outcome of looking for recorded data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// The folder exists; tests on recorded data run.
    Present(PathBuf),
    /// The folder that was looked for is not there; those tests say that they are skipped.
    Absent(PathBuf),
}

/// Looks at `TOUCHLINE_DATA`, else at `../shared/data` beside the checkout.
pub(crate) fn find(root: &Path) -> Data {
    locate(root, std::env::var_os(VARIABLE), Path::is_dir)
}

impl Data {
    /// One plain line for the person who reads the output.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Present(folder) => format!("recorded data: {} (tests on it run)", folder.display()),
            Self::Absent(folder) => format!(
                "recorded data: absent ({} is not a folder); tests on recorded data are SKIPPED, set {VARIABLE} to run them",
                folder.display()
            ),
        }
    }

    /// The value to hand to tests, which run in their own crate's folder and so need a whole path.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Present(folder) => Some(folder),
            Self::Absent(_) => None,
        }
    }
}

/// An empty variable counts as unset, because that is how shells often clear one.
fn locate(root: &Path, variable: Option<OsString>, is_dir: impl Fn(&Path) -> bool) -> Data {
    let folder = match variable.filter(|value| !value.is_empty()) {
        Some(value) => root.join(value),
        None => root.parent().unwrap_or(root).join("shared").join("data"),
    };
    if is_dir(&folder) { Data::Present(folder) } else { Data::Absent(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_neighbour() {
        let found = locate(Path::new("/w/checkout"), Some("/d".into()), |_| true);
        assert_eq!(found, Data::Present(PathBuf::from("/d")));
    }

    #[test]
    fn a_relative_variable_becomes_a_whole_path() {
        let found = locate(Path::new("/w/checkout"), Some("d".into()), |_| true);
        assert_eq!(found.folder(), Some(Path::new("/w/checkout/d")));
    }

    #[test]
    fn the_neighbour_is_used_when_the_variable_is_unset_or_empty() {
        for variable in [None, Some(OsString::new())] {
            let found =
                locate(Path::new("/w/checkout"), variable, |path| path == Path::new("/w/shared/data"));
            assert_eq!(found, Data::Present(PathBuf::from("/w/shared/data")));
        }
    }

    #[test]
    fn absence_is_said_plainly_and_hands_nothing_on() {
        let found = locate(Path::new("/w/checkout"), None, |_| false);
        assert!(found.line().contains("SKIPPED"), "{}", found.line());
        assert_eq!(found.folder(), None);
    }
}
