//! The binary as a person or a program uses it: whole runs, their contract, and every kind of bad input.

use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use touchline_core::Now;
use touchline_journal::archive::Archive;
use touchline_journal::{FileStorage, Storage};
use touchline_node::{Config, recovery};
use touchline_protocol::Seq;

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
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

/// What a successful command printed as its last line.
#[track_caller]
fn object(args: &[&str]) -> Json {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{args:?}: {errors}{said}");
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|e| panic!("{e}: {said}"))
}

/// What a failing command said on stderr.
#[track_caller]
fn error(args: &[&str], code: i32) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

/// The keys that programs rely on, and what every run must show.
#[track_caller]
fn check_contract(summary: &Json) {
    let number = |key: &str| summary[key].as_i64().unwrap_or_else(|| panic!("{key} in {summary}"));
    let by_code = |key: &str| summary[key].as_object().unwrap_or_else(|| panic!("{key} in {summary}"));
    let rejected: i64 = by_code("rejected").values().filter_map(Json::as_i64).sum();
    by_code("refused");
    assert!(number("accepted") > 0 && number("odds_updates") > 0 && number("settled_markets") > 0);
    assert_eq!(number("tickets"), number("accepted") + rejected);
    assert_eq!(number("house_profit_minor"), number("recomputed_profit_minor"));
    for none in
        ["unanswered", "unsettled_markets", "settlement_mismatches", "answers_lost", "changed_answers"]
    {
        assert_eq!(number(none), 0, "{none}");
    }
    assert_eq!(summary["fingerprint"].as_str().unwrap().len(), 32);
    let decision = &summary["latency_us"]["decision"];
    assert!(decision["p50"].as_u64().unwrap() <= decision["p99"].as_u64().unwrap());
}

#[test]
fn the_demo_survives_a_crash_and_keeps_its_contract() {
    let summary = object(&["demo", "--duration", "5", "--seed", "3", "--matches", "5", "--json"]);
    check_contract(&summary);
    assert_eq!(summary["matches"], 5);
    says(summary["crash"].as_str().unwrap(), &["SIGKILL", "frames replayed"]);
}

#[test]
fn killed_again_and_again_the_node_loses_nothing() {
    let summary = object(&["drill", "kill", "--times", "8", "--seed", "5", "--json"]);
    check_contract(&summary);
    assert_eq!(summary["kills"], 8);
    assert!(summary["kills_with_tickets_in_flight"].as_u64().unwrap() > 0);
    assert!(summary["asked_again"].as_u64().unwrap() > 0);
}

/// The folder of recorded data, where it is.
fn recorded() -> Option<String> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("TOUCHLINE_DATA").map_or(beside, PathBuf::from);
    let there = data.join("football/wyscout_matches.csv").is_file();
    if !there {
        println!(
            "SKIPPED: recorded matches are not there; set TOUCHLINE_DATA to the folder of recorded data"
        );
    }
    there.then(|| data.display().to_string())
}

#[test]
fn real_matches_settle_as_recorded_and_the_journal_gives_the_same_state_on_any_shards() {
    let Some(data) = recorded() else { return };
    let folder = Folder::new("replay");
    let journal = folder.join("journal");
    let summary = object(&[
        "replay",
        "--feed",
        "wyscout",
        "--data",
        &data,
        "--matches",
        "7",
        "--seed",
        "2",
        "--bets-per-second",
        "1",
        "--shards",
        "2",
        "--journal",
        &journal,
        "--json",
    ]);
    check_contract(&summary);
    for shards in ["1", "2", "4"] {
        let replayed = object(&["inspect", "journal", "replay", &journal, "--shards", shards, "--json"]);
        assert_eq!(replayed["fingerprint"], summary["fingerprint"]);
        assert_eq!(replayed["profit_minor"], summary["house_profit_minor"]);
    }
    let audited = object(&["inspect", "journal", "audit", &journal, "--json"]);
    assert_eq!(audited["profit_minor"], summary["house_profit_minor"]);
    assert_eq!(audited["tickets"], summary["tickets"]);
    let verified = object(&["inspect", "journal", "verify", &journal, "--json"]);
    assert_eq!(verified["torn"], Json::Null);
    let dumped = run(&["inspect", "journal", "dump", &journal]);
    let lines = String::from_utf8(dumped.stdout).unwrap();
    assert_eq!(lines.lines().count() as u64, verified["frames"].as_u64().unwrap());
    for (n, line) in lines.lines().enumerate() {
        let frame: Json = serde_json::from_str(line).unwrap();
        assert_eq!(frame["seq"], n as u64 + 1);
    }
    let again = error(&["replay", "--feed", "wyscout", "--data", &data, "--journal", &journal], 1);
    says(&again, &["not empty", &journal]);
    let many = error(&["replay", "--feed", "wyscout", "--data", &data, "--matches", "2000"], 1);
    says(&many, &["2000", "holds 1164"]);
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    says(&error(&["demo", "--sped", "1"], 2), &["--sped"]);
    says(&error(&["replay", "--feed", "wyscout", "--data", "x", "--speed", "fast"], 2), &["1x, 60x or max"]);
    says(
        &error(&["replay", "--feed", "wyscout", "--data", "x", "--bets-per-second=-1"], 2),
        &["bets-per-second"],
    );
    says(&error(&["node", "--shards", "0"], 2), &["--shards", "1..=64"]);
    says(&error(&["fly"], 2), &["fly"]);
}

#[test]
fn a_price_sheet_names_what_is_wrong_with_its_input() {
    let with = |args: &[&str]| error(&[&["price", "football"], args].concat(), 1);
    says(&with(&["--odds", "2.35,3.52"]), &["--odds", "3 odds are needed"]);
    says(&with(&["--odds", "2.35,x,3"]), &["--odds", "2.35,x,3"]);
    says(&with(&["--odds", "1.1,1.1,1.1"]), &["sum to", "not the prices of one market"]);
    says(&with(&["--odds", "2.35,3.52,3.16", "--over-under", "2.3:1.9,1.9"]), &["--over-under", "0.25"]);
    says(&with(&["--odds", "2.35,3.52,3.16", "--clock", "3H 1:00"]), &["--clock", "1H 30:00"]);
    says(&with(&["--odds", "2.35,3.52,3.16", "--score", "99-0"]), &["99"]);
    let args = "price football --odds 2.35,3.52,3.16 --over-under 2.5:1.86,1.95 --score 1-0 --json";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.extend(["--clock", "1H 30:00"]);
    let sheet = object(&args);
    assert_eq!(sheet["inputs"].as_array().unwrap().len(), 5);
    for input in sheet["inputs"].as_array().unwrap() {
        assert!(input["residual"].as_f64().unwrap().abs() < 0.05, "{input}");
    }
    let home = &sheet["prices"][0];
    assert_eq!((home["market"].as_str(), home["selection"].as_str()), (Some("1x2"), Some("home")));
    assert!((1200..1500).contains(&home["odds_milli"].as_u64().unwrap()), "{home}");
}

#[test]
fn bad_data_files_are_told_with_their_lines() {
    let folder = Folder::new("data");
    let data = folder.0.display().to_string();
    let replay = || error(&["replay", "--feed", "wyscout", "--data", &data], 1);
    says(&replay(), &["wyscout_matches.csv", "No such file", "--data"]);
    std::fs::write(folder.0.join("wyscout_events.csv"), "match_id,period,sec_in_period,type,side\n").unwrap();
    let header = "match_id,comp,home,away,ft_home,ft_away,len_1h_s,len_2h_s\n";
    let rows = "1,Cup,A,B,1,0,2700,2800\n2,Cup,C,D,one,0,2700,2800\n";
    std::fs::write(folder.0.join("wyscout_matches.csv"), format!("{header}{rows}")).unwrap();
    says(&replay(), &["wyscout_matches.csv", "line 3", "ft_home", "\"one\""]);
}

#[test]
fn a_bad_configuration_is_told_with_key_and_line() {
    let folder = Folder::new("config");
    let path = folder.join("appliance.toml");
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        error(&["node", "--config", &path, "--journal", &folder.join("journal")], 1)
    };
    says(&with("[node]\nshard = 1\n"), &["appliance.toml", "line 2", "shard"]);
    says(&with("[node]\nshards = 0\n"), &["node.shards", "1 to 64"]);
    says(&with("[cluster.rules]\nmax_stake = \"0.01\"\n"), &["max_stake", "min_stake"]);
    says(&error(&["node", "--config", &folder.join("none.toml")], 1), &["none.toml", "No such file"]);
}

/// A node of a test, ended with it.
struct Running(Child, String);

impl Running {
    fn start(journal: &Path) -> Self {
        Self::with(journal, &[])
    }

    fn with(journal: &Path, more: &[&str]) -> Self {
        let journal = journal.display().to_string();
        let args = ["node", "--json", "--stop-with-stdin", "--listen", "127.0.0.1:0", "--journal", &journal];
        let mut command = Command::new(TOUCHLINE);
        command.args(args).args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Json = serde_json::from_str(&line).unwrap();
        Running(child, ready["address"].as_str().unwrap().to_owned())
    }

    /// Stops it; what it said on stderr.
    fn stop(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.0.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_in_use_or_cannot_be_written_is_told() {
    let folder = Folder::new("use");
    let journal = folder.0.join("journal");
    let node = Running::start(&journal);
    let shown = journal.display().to_string();
    let second = error(&["node", "--listen", "127.0.0.1:0", "--journal", &shown], 1);
    says(&second, &["in use by another node", &shown, &node.0.id().to_string()]);
    let (held, other) = (&node.1, folder.join("other"));
    says(&error(&["node", "--listen", held, "--journal", &other], 1), &[held, "another process"]);
    std::fs::write(folder.0.join("file"), "not a folder").unwrap();
    let blocked = error(&["node", "--listen", "127.0.0.1:0", "--journal", &folder.join("file/journal")], 1);
    says(&blocked, &["creating the journal folder", "file/journal"]);
    assert_eq!(blocked.matches("os error").count(), 1, "the cause is told once: {blocked}");
    says(&error(&["inspect", "journal", "verify", &folder.join("missing")], 1), &["missing"]);
    says(&error(&["inspect", "journal", "verify", &folder.0.display().to_string()], 1), &["file"]);
}

#[test]
fn edited_rules_change_nothing_until_they_are_sent() {
    let folder = Folder::new("configure");
    let node = Running::start(&folder.0.join("journal"));
    let path = folder.join("appliance.toml");
    std::fs::write(&path, "[cluster.rules]\nmax_stake = \"12.50\"\n").unwrap();
    let send = || run(&["configure", "--config", &path, "--node", &node.1, "--operator", "7"]);
    let first = send();
    let said = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success() && said.contains("in force from frame"), "{said}");
    drop(node);
    let dumped = run(&["inspect", "journal", "dump", &folder.join("journal")]);
    says(&String::from_utf8_lossy(&dumped.stdout), &["\"max_stake_minor\":1250", "\"operator\":7"]);
}

#[test]
fn a_node_attests_its_state_when_asked() {
    let folder = Folder::new("attest");
    let mut node = Running::start(&folder.0.join("journal"));
    let pid = rustix::process::Pid::from_child(&node.0);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    let mut line = String::new();
    BufReader::new(node.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let attested: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(attested["event"], "attested");
    drop(node);
    let replayed = object(&["inspect", "journal", "replay", &folder.join("journal"), "--json"]);
    assert_eq!(replayed["fingerprint"], attested["fingerprint"]);
}

#[test]
fn a_journal_that_takes_nothing_is_told_before_anything_is_served() {
    let folder = Folder::new("no-room");
    // A process may here write files of at most 1 MiB: a segment finds no room, like on a full disk.
    let script = "ulimit -f 1024; trap '' XFSZ; exec \"$@\"";
    let node = [TOUCHLINE, "node", "--listen", "127.0.0.1:0", "--stop-with-stdin", "--journal"];
    let journal = folder.join("journal");
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(node)
        .arg(&journal)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{said}");
    says(&said, &["allocating", &journal, "nothing was served"]);
}

/// Writes a journal whose last frame is so many hours ahead of the clock now, or behind it.
fn journal_at(folder: &Path, hours: i64) {
    let utc = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i64;
    let now = Now { mono_ns: 1, utc_ns: utc + hours * 3_600_000_000_000 };
    let storage = FileStorage::open(folder).unwrap();
    let mut started = recovery::start(storage, &Config::standard(), now, 1).unwrap();
    started.writer.append(&started.first.bytes, Seq(0)).unwrap();
}

#[test]
fn a_node_takes_a_time_far_ahead_of_its_journal_only_on_somebodys_word() {
    let folder = Folder::new("clock");
    let journal = folder.0.join("journal");
    let shown = journal.display().to_string();
    journal_at(&journal, -72);
    let refused = error(&["node", "--listen", "127.0.0.1:0", "--journal", &shown], 1);
    says(&refused, &["72 hours later", "node.clock_jump_max_h = 24", "EXPIRED", "--trust-clock"]);
    let path = folder.join("appliance.toml");
    std::fs::write(&path, "[node]\nclock_jump_max_h = 100\n").unwrap();
    assert_eq!(Running::with(&journal, &["--config", &path]).stop(), "", "a bound that allows it");

    let journal = folder.0.join("another");
    journal_at(&journal, -72);
    says(&Running::with(&journal, &["--trust-clock"]).stop(), &["is trusted, as asked"]);
    assert_eq!(Running::start(&journal).stop(), "", "once is enough");

    let journal = folder.0.join("ahead");
    journal_at(&journal, 1);
    says(&Running::start(&journal).stop(), &["behind the journal's last frame", "EXPIRED"]);
}

#[test]
fn brands_of_different_currencies_are_refused() {
    let folder = Folder::new("brands");
    let path = folder.join("appliance.toml");
    let brand =
        |id: u16, currency: &str| format!("[[cluster.brands]]\nid = {id}\ncurrency = \"{currency}\"\n");
    std::fs::write(&path, brand(1, "EUR") + &brand(2, "GBP")).unwrap();
    let told = error(&["node", "--config", &path, "--journal", &folder.join("journal")], 1);
    says(&told, &["cluster.brands", "id 2, currency GBP", "EUR", "exchange rates"]);
    let told = error(&["configure", "--config", &path, "--operator", "7"], 1);
    says(&told, &["cluster.brands", "exchange rates"]);
}

#[test]
fn an_archive_is_verified_and_its_first_misfit_named() {
    let folder = Folder::new("archive");
    let (journal, archive) = (folder.0.join("journal"), folder.0.join("archive"));
    let mut storage = FileStorage::open(&journal).unwrap();
    for generation in 1..=3 {
        storage.create(generation, 1 << 20).unwrap();
    }
    let mut copied = Archive::open(&journal, &archive, None).unwrap();
    while copied.add(3, &AtomicBool::new(false)).unwrap() {}
    let verify = |more: &'static str| ["inspect", "archive", "verify", archive.to_str().unwrap(), more];
    let found = object(&verify("--json"));
    assert_eq!((&found["first_segment"], &found["last_segment"]), (&1.into(), &2.into()));
    assert_eq!((&found["bytes"], &found["keyed"]), (&(2 << 20).into(), &false.into()));
    let key = folder.join("key");
    std::fs::write(&key, "no key").unwrap();
    let refused = run(&["inspect", "archive", "verify", archive.to_str().unwrap(), "--key", &key]);
    assert_eq!(refused.status.code(), Some(1));
    std::fs::write(archive.join("segment-0000000000000002.tlj"), "changed").unwrap();
    says(&error(&verify("--json"), 1), &["segment 2", "altered"]);
    std::fs::remove_file(archive.join("segment-0000000000000001.tlj")).unwrap();
    says(&error(&verify("--json"), 1), &["segment 1", "missing"]);
    says(&error(&["inspect", "archive", "verify", &folder.join("journal")], 1), &["no signature"]);
}
