//! Where dependencies are written: all in the root manifest, each with its reason on its line.

use crate::tidy::finding::Finding;

const SHARED: &str = "[workspace.dependencies]";

/// Each third-party line of `[workspace.dependencies]` ends in a `#` comment that says what it is for.
pub(crate) fn check_reasons(root_manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in entries(root_manifest).filter(|entry| entry.table.starts_with("[workspace.dependencies")) {
        let own = has_key(entry.value, "path") && !has_key(entry.value, "git");
        if entry.table == SHARED && (own || !entry.reason.is_empty()) {
            continue;
        }
        let what = format!("dependency `{}` has no reason", entry.name);
        let remedy = format!("write it on one line under {SHARED}, ending in `# what it is for`");
        findings.push(Finding::error("Cargo.toml", entry.line, what, remedy));
    }
    findings
}

/// Each dependency of a member is taken from the workspace, so that a version is written once.
pub(crate) fn check_inherited(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in entries(manifest).filter(|entry| is_dependency_table(entry.table)) {
        if !inherits(&entry, manifest) {
            let what = format!("dependency `{}` is not taken from the workspace", entry.name);
            let remedy = format!(
                "write `{0}.workspace = true` and give {0} a line under {SHARED} in the root Cargo.toml",
                entry.name
            );
            findings.push(Finding::error(path, entry.line, what, remedy));
        }
    }
    findings
}

/// The line, counted from 1, on which `table` of a manifest names `name`; 1 where it does not.
pub(crate) fn line_of(manifest: &str, table: &str, name: &str) -> usize {
    let named = |entry: &Entry<'_>| entry.name == name;
    let exact = entries(manifest).find(|entry| entry.table == table && named(entry));
    exact.or_else(|| entries(manifest).find(named)).map_or(1, |entry| entry.line)
}

/// One `name = value # reason` line, or the heading `[dependencies.name]` itself.
struct Entry<'a> {
    table: &'a str,
    name: &'a str,
    /// What the dotted name goes on to say, e.g. `workspace` in `clap.workspace = true`.
    field: &'a str,
    value: &'a str,
    reason: &'a str,
    line: usize,
}

/// Reads a manifest by lines. That is enough for tables of dependencies, which this workspace keeps to one
/// line each; a value that goes on over several lines shows up as a dependency without a reason.
fn entries(manifest: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut table = "";
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        let (content, reason) = split_comment(line);
        let line = index + 1;
        if content.starts_with('[') && content.ends_with(']') {
            table = content;
            let name = subtable_name(content)?;
            return Some(Entry { table, name, field: "", value: "", reason, line });
        }
        if subtable_name(table).is_some() {
            return None;
        }
        let (key, value) = content.split_once('=')?;
        let (name, field) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
        Some(Entry { table, name: name.trim_matches('"'), field, value: value.trim(), reason, line })
    })
}

/// `serde` in `[dependencies.serde]`; nothing in `[dependencies]` or `[workspace.dependencies]`.
fn subtable_name(heading: &str) -> Option<&str> {
    let inner = heading.strip_prefix('[')?.strip_suffix(']')?;
    let (before, name) = inner.rsplit_once('.')?;
    before.ends_with("dependencies").then_some(name)
}

fn is_dependency_table(heading: &str) -> bool {
    let inner = heading.trim_start_matches('[').trim_end_matches(']');
    let last = if subtable_name(heading).is_some() {
        inner.rsplit_once('.').map_or("", |(before, _)| before)
    } else {
        inner
    };
    let last = last.rsplit('.').next().unwrap_or("");
    matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

fn inherits(entry: &Entry<'_>, manifest: &str) -> bool {
    if subtable_name(entry.table).is_some() {
        let own_lines =
            manifest.lines().skip(entry.line).take_while(|line| !line.trim_start().starts_with('['));
        return own_lines.map(squeezed).any(|line| line.starts_with("workspace=true"));
    }
    match entry.field {
        "workspace" => entry.value == "true",
        _ => squeezed(entry.value).contains("workspace=true"),
    }
}

/// True when an inline table sets `key`.
fn has_key(value: &str, key: &str) -> bool {
    value
        .trim_matches(['{', '}'])
        .split(',')
        .any(|pair| pair.split_once('=').is_some_and(|(name, _)| name.trim() == key))
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}

/// Splits a line at the first `#` outside quotes; both halves come back trimmed.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => return (line[..at].trim(), line[at + 1..].trim()),
            _ => {}
        }
    }
    (line.trim(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn third_party_lines_need_a_reason_and_own_crates_do_not() {
        let root = "[workspace.dependencies]\n\
                    own = { path = \"engine/own\" }\n\
                    good = \"1\" # what for\n\
                    bare = \"1\"\n\
                    empty = \"1\" #\n\
                    quoted = { version = \"1\", features = [\"a#b\"] }\n\
                    [profile.dev]\n\
                    debug = false\n";
        assert_eq!(lines(&check_reasons(root)), [4, 5, 6]);
    }

    #[test]
    fn a_shared_dependency_in_a_table_of_its_own_is_sent_back_to_one_line() {
        let root = "[workspace.dependencies.serde]\nversion = \"1\"\n";
        assert_eq!(lines(&check_reasons(root)), [1]);
    }

    #[test]
    fn every_way_to_inherit_passes() {
        let manifest = "[dependencies]\n\
                        a.workspace = true\n\
                        b = { workspace = true, features = [\"x\"] }\n\
                        [dev-dependencies]\n\
                        c = { workspace=true }\n\
                        [dependencies.d]\n\
                        workspace = true\n\
                        optional = true\n";
        assert_eq!(check_inherited("m", manifest), []);
    }

    #[test]
    fn a_version_or_path_of_ones_own_is_refused_in_every_table() {
        let manifest = "[package]\nname = \"m\"\n\
                        [dependencies]\na = \"1\"\n\
                        [build-dependencies]\nb = { path = \"../b\" }\n\
                        [target.'cfg(unix)'.dependencies]\nc.version = \"1\"\n\
                        [dev-dependencies.d]\nversion = \"1\"\n\
                        [features]\nx = []\n";
        assert_eq!(lines(&check_inherited("m", manifest)), [4, 6, 8, 9]);
    }

    #[test]
    fn a_name_is_looked_up_in_its_own_table_first() {
        let manifest = "[dependencies]\na.workspace = true\n[dev-dependencies]\na.workspace = true\n";
        assert_eq!(line_of(manifest, "[dev-dependencies]", "a"), 4);
        assert_eq!(line_of(manifest, "[build-dependencies]", "a"), 2);
        assert_eq!(line_of(manifest, "[dependencies]", "zz"), 1);
    }
}
