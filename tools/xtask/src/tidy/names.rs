//! Words that do not belong in a tracked file: paths of one machine, package hosts, leftovers of work.
//!
//! The words below are written in two halves, so that this file does not find itself.

use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// Folders at the root of one machine.
const MACHINE_FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/t", "mp/")];

/// Folders that hold one person's files; a name has to follow for it to be a path.
const PERSONAL_FOLDERS: [&str; 2] = [concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Package hosts and mirrors: where packages come from is the business of each machine's own settings.
const HOSTS: [&str; 12] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npm", "js"),
    concat!("deb.", "debian.org"),
    concat!("debian", ".org/debian"),
    concat!("archive.", "ubuntu.com"),
    concat!("proxy.", "golang.org"),
    concat!("ruby", "gems.org"),
    concat!("repo.maven", ".apache.org"),
    concat!("anaconda", ".org"),
    concat!("dl-cdn.", "alpinelinux.org"),
];

/// Code that was meant to be finished or taken out.
const LEFTOVER_CODE: [(&str, &str); 4] = [
    (concat!("to", "do!("), "write the code, or return a typed error"),
    (concat!("unimple", "mented!("), "write the code, or return a typed error"),
    (concat!("db", "g!("), "take it out"),
    (concat!("#[ig", "nore"), "mend the test or remove it: a test that never runs protects nobody"),
];

/// Marks that put work off.
const LEFTOVER_WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Checks one file; the lock file is left alone because cargo writes it.
pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    if file.path == "Cargo.lock" || file.path.ends_with("/Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        findings.extend(
            check_line(line).map(|(what, remedy)| Finding::error(&file.path, index + 1, what, remedy)),
        );
    }
    findings
}

fn check_line(line: &str) -> impl Iterator<Item = (String, &'static str)> {
    let paths = machine_path(line).map(|path| {
        (format!("`{path}` is a path of one machine"), "make it relative, or take it from an argument")
    });
    let lower = line.to_ascii_lowercase();
    let host = HOSTS.iter().find(|host| lower.contains(**host)).map(|host| {
        (format!("`{host}` names a package host"), "leave it out: each machine has its own settings for that")
    });
    let code = LEFTOVER_CODE
        .iter()
        .find(|(code, _)| starts_word(line, code))
        .map(|(code, remedy)| (format!("leftover `{code}`"), *remedy));
    let word = LEFTOVER_WORDS.iter().find(|word| is_word(line, word)).map(|word| {
        (
            format!("leftover mark `{word}`"),
            "do it now, or state the limit as a sentence in the documentation",
        )
    });
    paths.into_iter().chain(host).chain(code).chain(word)
}

/// A folder counts only at the start of a path: `../work/x`, `$HOME/work/x` and addresses of the web do not.
fn machine_path(line: &str) -> Option<&'static str> {
    let at_root = |folder: &str, must_name: bool| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + folder.len()..].chars().next();
            let starts = before.is_none_or(|c| !c.is_alphanumeric() && !"._-~/})>*".contains(c));
            starts && (!must_name || after.is_some_and(|c| c.is_alphanumeric() || c == '_'))
        })
    };
    let machine = MACHINE_FOLDERS.into_iter().find(|folder| at_root(folder, false));
    machine.or_else(|| PERSONAL_FOLDERS.into_iter().find(|folder| at_root(folder, true)))
}

/// True when `code` occurs and is not the tail of a longer name.
fn starts_word(line: &str, code: &str) -> bool {
    line.match_indices(code).any(|(at, _)| line[..at].chars().next_back().is_none_or(|c| !is_name(c)))
}

/// True when `word` occurs by itself, not inside a longer name.
fn is_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        before.chars().next_back().is_none_or(|c| !is_name(c))
            && after.chars().next().is_none_or(|c| !is_name(c))
    })
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&SourceFile { path: "a.md".to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn every_forbidden_word_is_found_with_its_line() {
        let personal = PERSONAL_FOLDERS.map(|folder| format!("{folder}ada/x"));
        let words = MACHINE_FOLDERS.iter().chain(&HOSTS).chain(&LEFTOVER_WORDS);
        let words = words.copied().chain(LEFTOVER_CODE.iter().map(|(code, _)| *code));
        for word in words.chain(personal.iter().map(String::as_str)) {
            let text = format!("fine\nsee \"{word}\" here\n");
            let findings = check(&SourceFile { path: "a.md".to_owned(), text });
            assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2], "{word}");
        }
    }

    #[test]
    fn relative_paths_variables_and_web_addresses_pass() {
        let (root, home) = (MACHINE_FOLDERS[0], PERSONAL_FOLDERS[0]);
        for before in ["..", "$DIR", "example.com", "~", "${DIR}"] {
            assert_eq!(found(&format!("{before}{root}x")), 0, "{before}");
        }
        assert_eq!(found(&format!("the folder {home}")), 0, "nobody's folder is named");
        assert_eq!(found(&format!("{home}<name>/x")), 0, "a placeholder names nobody");
    }

    #[test]
    fn longer_names_pass() {
        let (todo, marks) = (LEFTOVER_CODE[0].0, LEFTOVER_WORDS);
        assert_eq!(found(&format!("my_{todo})")), 0);
        assert_eq!(found(&format!("{}S {}_1 A{}", marks[0], marks[1], marks[2])), 0);
        assert_eq!(found("todo = \"warn\""), 0, "the lint of that name is wanted");
    }

    #[test]
    fn the_lock_file_may_name_its_source() {
        for path in ["Cargo.lock", "engine/protocol/fuzz/Cargo.lock"] {
            let file = SourceFile { path: path.to_owned(), text: HOSTS[0].to_owned() };
            assert_eq!(check(&file), []);
        }
    }
}
