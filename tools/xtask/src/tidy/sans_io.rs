//! The sans-IO rule: crates that decide never name a clock, a thread, a socket, a file or a random number.
//!
//! The check is textual and so can be got round on purpose; its job is to catch what slips in. Clippy's bans
//! in `engine/core` and `engine/pricing` look at types and catch more there.

use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// Folders of sans-IO sources.
const FOLDERS: [&str; 5] = [
    "engine/protocol/src/",
    "engine/pricing/src/",
    "engine/core/src/",
    "replication/journal/src/",
    "feed-handlers/src/",
];

/// Shells inside those folders: the only modules that may do I/O, without `.rs`.
const SHELLS: [&str; 2] = ["replication/journal/src/archive", "replication/journal/src/file"];

/// What must not be named, and what takes its place.
const BANNED: [(&str, &str); 10] = [
    ("Instant::now", CLOCK),
    ("SystemTime", CLOCK),
    ("std::thread", "keep threads in the shell around this crate"),
    ("thread::spawn", "keep threads in the shell around this crate"),
    ("std::net", "keep sockets in the shell around this crate"),
    ("std::fs", "keep files in the shell around this crate"),
    ("std::env", "take the value as an argument: it must be in the log"),
    ("rand::", RANDOM),
    ("getrandom::", RANDOM),
    ("RandomState", RANDOM),
];

const CLOCK: &str = "take the time as an argument: it comes from the sequencer";
const RANDOM: &str = "take the number as an argument: it must be in the log";

/// Modules of `std` that `use std::{...}` could bring in without their full name.
const BANNED_IN_BRACES: [&str; 5] = ["thread", "net", "fs", "env", "SystemTime"];

/// Checks one source file up to its tests; files of other crates pass.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    if !is_checked(&file.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in shipped_lines(&file.text) {
        if let Some((name, remedy)) = banned_in(&code_of(line)) {
            findings.push(Finding::error(&file.path, number, format!("`{name}` in a sans-IO crate"), remedy));
        }
    }
    findings
}

/// The paths without `.rs` of the modules that `file` declares behind `#[cfg(test)]`.
pub(crate) fn test_modules(file: &SourceFile) -> Vec<String> {
    if !is_checked(&file.path) {
        return Vec::new();
    }
    let stem = file.path.trim_end_matches(".rs");
    let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let home = if matches!(name, "lib" | "main" | "mod") { parent } else { stem };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == CFG_TEST).filter_map(|pair| {
        let module = pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(format!("{home}/{module}"))
    });
    declared.collect()
}

/// True when `path` is the file of `module` or lies in its folder.
pub(crate) fn is_inside(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

const CFG_TEST: &str = "#[cfg(test)]";

fn is_checked(path: &str) -> bool {
    let is_shell = SHELLS.iter().any(|shell| is_inside(path, shell));
    path.ends_with(".rs") && FOLDERS.iter().any(|folder| path.starts_with(folder)) && !is_shell
}

/// The numbered lines before the tests. An attribute on an item that ends on the next line with `;` covers
/// only that item; any other one opens the tests, which come last in every file.
fn shipped_lines(text: &str) -> Vec<(usize, &str)> {
    let mut shipped = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        match line.trim() {
            "#![cfg(test)]" => break,
            CFG_TEST => match lines.next() {
                Some((_, next)) if next.trim_end().ends_with(';') => {}
                _ => break,
            },
            _ => shipped.push((index + 1, line)),
        }
    }
    shipped
}

/// The line without its `//` comment and without the contents of strings, which may name anything.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => drop(characters.next()),
            // A quotation mark as a character literal opens no string.
            '\'' if !quoted && characters.peek() == Some(&'"') => drop(characters.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if !quoted => code.push(character),
            _ => {}
        }
    }
    code
}

fn banned_in(code: &str) -> Option<(&'static str, &'static str)> {
    let named = BANNED.into_iter().find(|(name, _)| is_named(code, name));
    named.or_else(|| {
        let braces = &code[code.find("std::{")?..];
        let name = BANNED_IN_BRACES.into_iter().find(|name| is_named(braces, name))?;
        Some((name, "keep the outside world in the shell around this crate"))
    })
}

/// True when `name` occurs and is neither the tail nor the head of a longer name.
fn is_named(code: &str, name: &str) -> bool {
    let joins = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        !code[..at].ends_with(joins) && (name.ends_with(':') || !after.starts_with(joins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        check(&file).iter().map(|finding| finding.line).collect()
    }

    const CORE: &str = "engine/core/src/a.rs";

    #[test]
    fn every_banned_name_is_found_in_every_sans_io_folder() {
        for folder in FOLDERS {
            for (name, _) in BANNED {
                assert_eq!(
                    lines_found(&format!("{folder}a.rs"), &format!("//! A.\nx({name} y);\n")),
                    [2],
                    "{name}"
                );
            }
        }
        for name in BANNED_IN_BRACES {
            assert_eq!(lines_found(CORE, &format!("use std::{{fmt, {name}}};\n")), [1], "{name}");
        }
    }

    #[test]
    fn shells_tests_folders_and_other_crates_may_name_them() {
        for path in [
            "replication/journal/src/file.rs",
            "replication/journal/src/file/spares.rs",
            "engine/core/tests/a.rs",
            "engine/node/src/a.rs",
        ] {
            assert_eq!(lines_found(path, "std::fs::read(x)"), [0usize; 0], "{path}");
        }
        assert_eq!(lines_found("replication/journal/src/files.rs", "std::fs::read(x)"), [1]);
    }

    #[test]
    fn comments_strings_and_longer_names_pass() {
        for line in [
            "//! Knows no SystemTime.",
            "let a = 1; // not std::fs",
            "let a = \"std::fs \\\" SystemTime\";",
            "let q = '\"'; // SystemTime",
            "let a = operand::new();",
            "use std::{fmt, collections::BTreeMap};",
            "fn environment(network: u8) {}",
        ] {
            assert_eq!(lines_found(CORE, line), [0usize; 0], "{line}");
        }
        assert_eq!(lines_found(CORE, "let a = \"x\"; SystemTime"), [1]);
    }

    #[test]
    fn the_tests_at_the_end_are_free_and_the_code_after_a_test_import_is_not() {
        let at_end = "fn f() {}\n#[cfg(test)]\nmod tests {\n std::fs::read(x)\n}\n";
        assert_eq!(lines_found(CORE, at_end), [0usize; 0]);
        let import = "#[cfg(test)]\nuse std::fs;\nfn f() { std::fs::read(x) }\n";
        assert_eq!(lines_found(CORE, import), [3]);
    }

    #[test]
    fn modules_behind_cfg_test_are_placed_as_the_compiler_places_them() {
        let text = "#[cfg(test)]\nmod twin;\nmod real;\n#[cfg(test)]\nmod tests {\n}\n";
        let declared =
            |path: &str| test_modules(&SourceFile { path: path.to_owned(), text: text.to_owned() });
        assert_eq!(declared("engine/core/src/lib.rs"), ["engine/core/src/twin"]);
        assert_eq!(declared("engine/core/src/limits/mod.rs"), ["engine/core/src/limits/twin"]);
        assert_eq!(declared("engine/core/src/limits.rs"), ["engine/core/src/limits/twin"]);
        assert!(is_inside("engine/core/src/twin.rs", "engine/core/src/twin"));
        assert!(is_inside("engine/core/src/twin/deep.rs", "engine/core/src/twin"));
        assert!(!is_inside("engine/core/src/twins.rs", "engine/core/src/twin"));
    }
}
