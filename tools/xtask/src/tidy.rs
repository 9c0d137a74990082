//! Tidy: what the compiler cannot see about this workspace, checked as pure functions over text.

mod dependencies;
mod files;
mod finding;
mod layers;
mod layout;
mod names;
mod sans_io;

use std::time::Instant;

use crate::error::XtaskError;
use crate::tidy::files::SourceFile;
use crate::tidy::finding::{Finding, Severity};
use crate::workspace::Workspace;

/// Checks everything, prints every finding, and errors when any is more than advice.
pub(crate) fn run(workspace: &Workspace) -> Result<(), XtaskError> {
    let started = Instant::now();
    let paths = files::list(&workspace.root)?;
    let files = files::read(&workspace.root, &paths)?;
    let mut findings = layout::check_top_level(&paths);
    findings.extend(check_workspace(workspace, &files));
    findings.extend(check_files(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    let count = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let (files, milliseconds) = (files.len(), started.elapsed().as_millis());
    println!(
        "tidy: {files} files in {milliseconds} ms, {count} finding(s), {} piece(s) of advice",
        findings.len() - count
    );
    if count == 0 { Ok(()) } else { Err(XtaskError::Untidy { count }) }
}

/// What concerns the manifests.
fn check_workspace(workspace: &Workspace, files: &[SourceFile]) -> Vec<Finding> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let root = text_of("Cargo.toml");
    let mut findings = layers::check_membership(&workspace.layers, &workspace.members, root);
    findings.extend(dependencies::check_reasons(root));
    for member in &workspace.members {
        let manifest = text_of(&member.manifest);
        findings.extend(layers::check_arrows(&workspace.layers, member, manifest));
        findings.extend(dependencies::check_inherited(&member.manifest, manifest));
    }
    findings
}

/// What concerns each file by itself, apart from the modules that a `#[cfg(test)]` elsewhere declares.
fn check_files(files: &[SourceFile]) -> Vec<Finding> {
    let test_modules: Vec<String> = files.iter().flat_map(sans_io::test_modules).collect();
    let mut findings = Vec::new();
    for file in files {
        findings.extend(names::check(file));
        findings.extend(layout::check_opening(file));
        findings.extend(layout::check_size(file));
        if !test_modules.iter().any(|module| sans_io::is_inside(&file.path, module)) {
            findings.extend(sans_io::check(file));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_in_its_own_file_may_use_what_the_crate_may_not() {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let call = "//! A.\nfn f() { std::fs::read(\"x\").unwrap(); }\n";
        let declared = "//! A.\n#[cfg(test)]\nmod twin;\n";
        let plain = "//! A.\nmod twin;\n";
        let path = "engine/core/src/twin.rs";
        assert_eq!(check_files(&[file("engine/core/src/lib.rs", declared), file(path, call)]), []);
        assert_eq!(check_files(&[file("engine/core/src/lib.rs", plain), file(path, call)]).len(), 1);
    }
}
