//! A state carried from one version of the program to another, and what a start says of a snapshot that it cannot read.

use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");
/// Where a snapshot says its layout.
const LAYOUT: usize = 7;

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(TOUCHLINE).args(args).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn object(args: &[&str]) -> Json {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(args: &[&str], parts: &[&str]) -> String {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
    said
}

/// A node from its start to its clean stop: what it said when it was ready, and when it had stopped.
fn node(journal: &str) -> [Json; 2] {
    let args = ["node", "--json", "--stop-with-stdin", "--listen", "127.0.0.1:0", "--journal", journal];
    let mut command = Command::new(TOUCHLINE);
    let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = || serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let ready = told();
    drop(child.stdin.take());
    let stopped = told();
    assert!(child.wait().unwrap().success());
    [ready, stopped]
}

/// The last frame of a node that has stopped: behind the state that it told, the one that attests it.
fn last(stopped: &Json) -> u64 {
    stopped["seq"].as_u64().unwrap() + 1
}

fn snapshots(journal: &str) -> Vec<PathBuf> {
    let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|end| end == "tls");
    std::fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).filter(is_snapshot).collect()
}

/// Makes every snapshot one of another layout.
fn age(journal: &str) {
    for path in snapshots(journal) {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[LAYOUT] = 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_state_goes_on_from_its_export_where_it_was_and_elsewhere() {
    let folder = Folder::new("export");
    let [journal, file, fresh] = ["journal", "state.tlx", "fresh"].map(|name| folder.join(name));
    let [_, stopped] = node(&journal);
    let exported = object(&["snapshot", "export", &journal, "--out", &file, "--json"]);
    assert_eq!(exported["seq"], last(&stopped));
    assert_eq!(exported["partitions"], 64);
    assert_eq!(exported["tables"].as_array().unwrap().len(), 15);
    assert_eq!(object(&["snapshot", "show", &file, "--json"]), exported);
    let beside = snapshots(&journal)[0].display().to_string();
    assert_eq!(object(&["snapshot", "show", &beside, "--json"]), exported);
    refused(&["snapshot", "export", &journal, "--out", &file], &["is there already", &file]);

    assert_eq!(object(&["snapshot", "import", &file, &fresh, "--json"]), exported);
    let [ready, _] = node(&fresh);
    assert_eq!((&ready["epoch"], &ready["frames"]), (&2.into(), &0.into()), "it goes on behind the export");
    assert_eq!(ready["passed_over"], Json::Array(Vec::new()));
    // The journal has gone on since; where its frame is the same one, that is no matter.
    node(&journal);
    object(&["snapshot", "import", &file, &journal, "--json"]);
    // The other log says something else behind the same frame, and with that has another place.
    let other = folder.join("other.tlx");
    object(&["snapshot", "export", &fresh, "--out", &other, "--json"]);
    refused(
        &["snapshot", "import", &other, &journal],
        &[&journal, "nothing was changed", "snapshot is the state after"],
    );
}

#[test]
fn a_snapshot_of_another_layout_is_passed_over_with_the_command_that_converts_it() {
    let folder = Folder::new("layout");
    let [journal, file] = ["journal", "state.tlx"].map(|name| folder.join(name));
    let [_, stopped] = node(&journal);
    let seq = last(&stopped);
    object(&["snapshot", "export", &journal, "--out", &file, "--json"]);
    age(&journal);
    let [ready, _] = node(&journal);
    assert_eq!(ready["frames"].as_u64(), Some(seq), "the whole journal was replayed");
    let passed = ready["passed_over"][0].as_str().unwrap();
    let export = format!("`touchline snapshot export {journal} --seq {seq} --out {journal}.tlx`");
    let import = format!("`touchline snapshot import {journal}.tlx {journal}`");
    for part in [&export, &import, "layout 1, this program reads layout 4"] {
        assert!(passed.contains(part), "{passed:?} does not say {part:?}");
    }
    refused(
        &["snapshot", "export", &journal, "--seq", &seq.to_string(), "--out", &folder.join("none")],
        &["layout 1"],
    );
    refused(
        &["snapshot", "export", &journal, "--seq", "1", "--out", &folder.join("none")],
        &["no snapshot of frame 1"],
    );
    // Beside it stands by now the one that the second run kept.
    let aged = format!("{journal}/snapshot-{seq:016x}.tls");
    refused(&["snapshot", "show", &aged], &[&aged, "layout 1"]);
}

#[test]
fn where_only_a_snapshot_of_another_layout_has_the_front_the_start_is_refused() {
    let folder = Folder::new("front");
    let [journal, file] = ["journal", "state.tlx"].map(|name| folder.join(name));
    let [_, stopped] = node(&journal);
    let seq = last(&stopped);
    object(&["snapshot", "export", &journal, "--out", &file, "--json"]);
    // All of the log is in the snapshot: what is left of the journal are segments without frames, or nothing.
    let segment = Path::new(&journal).join("segment-0000000000000001.tlj");
    std::fs::remove_file(&segment).unwrap();
    age(&journal);
    let start = ["node", "--listen", "127.0.0.1:0", "--journal", &journal];
    let export = format!("`touchline snapshot export {journal} --seq {seq} --out {journal}.tlx`");
    let import = format!("`touchline snapshot import {journal}.tlx {journal}`");
    refused(&start, &["passed over", &export, &import]);
    refused(&start, &["passed over", &export, &import]);
    assert_eq!(object(&["snapshot", "import", &file, &journal, "--json"])["seq"].as_u64(), Some(seq));
    let [ready, _] = node(&journal);
    assert_eq!((&ready["epoch"], &ready["frames"]), (&2.into(), &0.into()));
}

#[test]
fn what_is_no_export_is_told_by_its_name() {
    let folder = Folder::new("bad-export");
    let [journal, file] = ["journal", "state.tlx"].map(|name| folder.join(name));
    let import = ["snapshot", "import", &file, &journal];
    refused(&import, &[&file, "No such file"]);
    std::fs::write(&file, "TLS and no more").unwrap();
    refused(&import, &[&file, "no export"]);
    std::fs::write(&file, b"TLEXPT\0\x09 and twenty-four more bytes").unwrap();
    refused(&import, &[&file, "form 9", "form 1"]);
    std::fs::write(&file, b"TLEXPT\0\x01 and twenty-four more bytes").unwrap();
    refused(&import, &[&file, "damaged"]);
    assert!(!Path::new(&journal).exists(), "nothing is made of it");
    std::fs::create_dir(&journal).unwrap();
    refused(&["snapshot", "export", &journal, "--out", &file], &["no snapshot"]);
}
