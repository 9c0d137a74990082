//! The files that belong to the checkout, with their text.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::XtaskError;
use crate::process;

/// One text file of the checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Relative to the root, with forward slashes.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
}

/// Every path that git tracks or would track, sorted; outside a checkout, every path but build output.
///
/// New files count before they are added, so that tidy speaks before the commit and not after it.
pub(crate) fn list(root: &Path) -> Result<Vec<String>, XtaskError> {
    let mut paths = match git_files(root) {
        Some(paths) => paths,
        None => walk(root, "")?,
    };
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Reads the text files among `paths`; what is not UTF-8, holds a zero byte, or is gone from disk is left out.
pub(crate) fn read(root: &Path, paths: &[String]) -> Result<Vec<SourceFile>, XtaskError> {
    let mut files = Vec::new();
    for path in paths {
        let whole = root.join(path);
        if !whole.is_file() {
            continue;
        }
        let bytes = fs::read(&whole).map_err(|source| XtaskError::Read { path: whole, source })?;
        if let Some(text) = as_text(bytes) {
            files.push(SourceFile { path: path.clone(), text });
        }
    }
    Ok(files)
}

fn as_text(bytes: Vec<u8>) -> Option<String> {
    if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() }
}

/// `None` when there is no git, or when the root is not itself the top of a checkout (an unpacked archive
/// inside somebody else's repository would otherwise look empty).
fn git_files(root: &Path) -> Option<Vec<String>> {
    let git = |arguments: &[&str]| {
        let output = process::capture(Command::new("git").args(arguments).current_dir(root)).ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top.trim()).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let present = |path: &&str| !path.is_empty() && root.join(path).exists();
    Some(listed.split('\0').filter(present).map(str::to_owned).collect())
}

fn walk(root: &Path, under: &str) -> Result<Vec<String>, XtaskError> {
    let folder = root.join(under);
    let failed = |source| XtaskError::Read { path: folder.clone(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        // Links are listed and not followed, so that a loop of them cannot trap the walk.
        if entry.file_type().map_err(failed)?.is_dir() {
            if !is_output(under, &name) {
                paths.extend(walk(root, &path)?);
            }
        } else {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// What `.gitignore` would keep out: build output and what fuzzing leaves behind.
fn is_output(under: &str, name: &str) -> bool {
    let in_fuzz = under == "fuzz" || under.ends_with("/fuzz");
    matches!(name, "target" | ".git") || (in_fuzz && matches!(name, "artifacts" | "corpus" | "coverage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_read() {
        assert_eq!(as_text(b"text".to_vec()).as_deref(), Some("text"));
        assert_eq!(as_text(b"a\0b".to_vec()), None);
        assert_eq!(as_text(vec![0xff, 0xfe]), None);
    }

    #[test]
    fn output_is_not_walked_but_folders_of_the_same_name_elsewhere_are() {
        assert!(is_output("", "target"));
        assert!(is_output("engine/protocol/fuzz", "corpus"));
        assert!(!is_output("engine/pricing", "corpus"));
    }

    #[test]
    fn walking_and_asking_git_agree_on_this_crates_own_sources() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let paths = walk(own, "").unwrap();
        assert!(paths.contains(&"src/tidy/files.rs".to_owned()), "{paths:?}");
        assert_eq!(git_files(own), None, "a folder below the top of a checkout is not the checkout");
    }
}
