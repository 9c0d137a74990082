//! `touchline bench`: every measurement runs, adds up, and says what it must; figures themselves are not judged.

use serde_json::Value as Json;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");
/// What makes a load small.
const SMALL: [&str; 6] = ["--connections", "2", "--fixtures", "5", "--customers", "50"];

fn bench(args: &[&str]) -> Output {
    Command::new(TOUCHLINE).arg("bench").args(args).arg("--json").stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn told(output: &Output) -> Json {
    let errors = String::from_utf8_lossy(&output.stderr);
    let told: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
    for key in ["machine", "load_average", "commit"] {
        assert!(told.get(key).is_some(), "{key} in {told}");
    }
    told
}

#[track_caller]
fn summary(output: &Output) -> Json {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    told(output)
}

/// A file that is gone when the test is.
struct Drawing(PathBuf);

impl Drawing {
    fn new(name: &str) -> Self {
        let name = format!("bench-{name}-{}.svg", std::process::id());
        Drawing(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn curves(&self) -> usize {
        let svg = std::fs::read_to_string(&self.0).unwrap();
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
        svg.matches("<polyline").count()
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn parts_are_measured_by_themselves() {
    let ring = summary(&bench(&["ring", "--readers", "2", "--millis", "5"]));
    let runs = ring["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["readers"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert!(runs.iter().all(|run| run["records_per_second"].as_f64().unwrap() > 0.0));
    let journal = summary(&bench(&["journal", "--seconds", "1", "--folder", env!("CARGO_TARGET_TMPDIR")]));
    let ways: Vec<&str> =
        journal["lanes"].as_array().unwrap().iter().map(|lane| lane["way"].as_str().unwrap()).collect();
    for way in ["floor", "direct", "buffered"] {
        assert!(ways.contains(&way), "{way} in {ways:?}");
    }
}

#[test]
fn decisions_are_counted_in_the_journal() {
    let load = ["wire", "--seconds", "1", "--warm-up", "0"];
    let summary = summary(&bench(&[&load[..], &SMALL].concat()));
    for key in ["decisions_per_second", "policy", "connections", "in_flight"] {
        assert!(summary.get(key).is_some(), "{key} in {summary}");
    }
    let number = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(number("sent"), number("answered"));
    assert!(number("journal_tickets") >= number("sent") - number("sent_again"));
    assert!(number("journal_frames") > number("journal_tickets"));
}

#[test]
fn a_start_on_a_full_journal_is_timed() {
    let summary = summary(&bench(&["recovery", "--frames", "2000"]));
    assert!(summary["frames"].as_u64().unwrap() >= 2000, "{summary}");
    assert!(summary["frames_per_second"].as_f64().unwrap() > 0.0, "{summary}");
}

#[test]
fn a_snapshot_is_timed_in_every_form() {
    let summary = summary(&bench(&["snapshot", "--bets", "500"]));
    assert!(summary["bets"].as_u64().unwrap() >= 500, "{summary}");
    for key in ["seconds", "load_seconds", "export_seconds", "import_seconds"] {
        assert!(summary[key].as_f64().is_some(), "{key} in {summary}");
    }
}

#[test]
fn both_entrances_have_their_turns_on_one_node() {
    let summary = summary(&bench(&["shm", "--rounds", "2", "--tickets", "20", "--spin-us", "0"]));
    for way in ["shared_memory", "tcp"] {
        assert_eq!(summary[way]["decisions"], 40, "the first round is not measured");
        let latency = &summary[way]["latency_us"];
        assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap());
    }
}

#[test]
fn an_overload_is_refused_in_part_and_answered_whole() {
    let drawing = Drawing::new("overload");
    let load =
        ["overload", "--in-flight", "4", "--seconds", "1", "--feed-rate", "800", "--plot", drawing.path()];
    let summary = summary(&bench(&[&load[..], &SMALL].concat()));
    assert_eq!(summary["unanswered"], 0);
    for rate in ["capacity_per_second", "offered_per_second", "decided_per_second", "kept_percent"] {
        assert!(summary[rate].as_f64().unwrap() > 0.0, "{rate} in {summary}");
    }
    assert!(summary["suspensions"].as_u64().unwrap() > 0);
    for latency in ["latency_us", "refusal_us", "suspension_us"] {
        assert!(summary[latency]["p99"].is_number(), "{latency} in {summary}");
    }
    assert!(summary["goals"]["kept"].is_boolean() && summary["goals"]["suspensions_pass"].is_boolean());
    assert_eq!(drawing.curves(), 6);
}

#[test]
fn a_soak_says_what_grows_and_fails_where_something_does() {
    let drawing = Drawing::new("soak");
    let load = ["soak", "--minutes", "0.05", "--rate", "300", "--feed-rate", "100", "--match-seconds", "1"];
    let more = ["--retention-seconds", "1", "--plot", drawing.path()];
    let output = bench(&[&load[..], &more, &SMALL].concat());
    let told = told(&output);
    let trends = told["trends"].as_object().unwrap();
    for name in
        ["resident_bytes", "descriptors", "journal_files", "threads", "tickets_inside", "behind_frames"]
    {
        assert!(trends[name]["flat"].is_boolean(), "{name} in {told}");
    }
    let flat = trends.values().all(|trend| trend["flat"] == true);
    assert_eq!((told["flat"].as_bool(), output.status.success()), (Some(flat), flat), "{told}");
    assert!(trends["resident_bytes"]["min"].as_f64().unwrap() > 0.0, "the node's memory was seen");
    assert!(told["stages"]["decision"]["count"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(drawing.curves(), 10);
}

#[test]
fn bad_input_is_named() {
    let failing = |args: &[&str], says: &str| {
        let output = bench(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said:?} does not say {says:?}");
    };
    failing(&["ring", "--readers", "0"], "1..=64");
    failing(&["journal", "--seconds", "0"], "must be 1 to 86400");
    failing(&["shm", "--rounds", "0"], "1..=10000");
    failing(&["overload", "--times", "0"], "must be 0.1 to 100");
    failing(&["overload", "--in-flight", "4,x"], "invalid value 'x'");
    failing(&["soak", "--minutes", "0"], "must be 0.05 to 1440");
}
