//! `touchline load` against a node: every ticket is answered once, the numbers add up, bad input is named.

use serde_json::Value as Json;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use touchline_node::{Config, Node};

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");

/// A node in this process with a folder of its own, and what is written beside its journal.
struct Served {
    node: Option<Node>,
    folder: PathBuf,
}

impl Served {
    fn new(name: &str) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("load-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut config = Config::standard();
        config.node.listen = "127.0.0.1:0".parse().unwrap();
        config.node.journal = folder.join("journal");
        config.node.segment_mib = 2;
        Served { node: Some(Node::start(&config, 1).unwrap()), folder }
    }

    fn load(&self, more: &[&str]) -> Output {
        let address = self.node.as_ref().unwrap().address().to_string();
        let small = ["--fixtures", "5", "--customers", "50", "--seconds", "1", "--warm-up", "0"];
        let mut command = Command::new(TOUCHLINE);
        command.args(["load", "--address", &address]).args(small).args(more).stdin(Stdio::null());
        command.output().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            let _ = node.stop();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn summary(output: &Output) -> Json {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Everything sent was answered once, and every answer is counted under one code.
#[track_caller]
fn check_sums(summary: &Json) {
    let number = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{key} in {summary}"));
    let sum = |key: &str| summary[key].as_object().unwrap().values().filter_map(Json::as_u64).sum::<u64>();
    assert_eq!(number("sent"), number("answered"));
    assert_eq!(number("answered"), sum("decisions") + sum("refused"));
    for none in ["unanswered", "unasked", "mismatched", "differing", "connections_lost"] {
        assert_eq!(number(none), 0, "{none}");
    }
    assert!(summary["decisions"]["ACCEPTED"].as_u64().unwrap() > 0);
    let latency = &summary["latency_us"];
    assert!(latency["p50"].as_f64().unwrap() <= latency["p99"].as_f64().unwrap());
}

#[test]
fn an_open_loop_with_a_feed_is_answered_whole_and_drawn() {
    let served = Served::new("open");
    let file = |name: &str| served.folder.join(name).display().to_string();
    let (hdr, plot) = (file("latency.hdr"), file("load.svg"));
    let output = served.load(&[
        "--rate",
        "400",
        "--connections",
        "3",
        "--subscribers",
        "2",
        "--feed-rate",
        "100",
        "--match-seconds",
        "5",
        "--hdr",
        &hdr,
        "--plot",
        &plot,
        "--json",
    ]);
    let summary = summary(&output);
    check_sums(&summary);
    assert_eq!(summary["sent"].as_u64().unwrap() + summary["nothing_on_sale"].as_u64().unwrap(), 400);
    assert!(summary["feed"]["updates"].as_u64().unwrap() > 0);
    assert_eq!(summary["feed"]["refused"], serde_json::json!({}));
    assert!(std::fs::read_to_string(hdr).unwrap().contains("#[Max"));
    assert!(std::fs::read_to_string(plot).unwrap().ends_with("</svg>\n"));
}

#[test]
fn a_closed_loop_asks_again_and_gets_the_same_answers() {
    let served = Served::new("closed");
    let summary = summary(&served.load(&["--connections", "2", "--in-flight", "32", "--json"]));
    check_sums(&summary);
    assert!(summary["sent_again"].as_u64().unwrap() > 0);
    assert!(served.load(&[]).stdout.starts_with(b"decisions "), "a second load on the same node, for people");
}

#[test]
fn bad_input_is_named() {
    let failing = |args: &[&str], code: i32, says: &str| {
        let output = Command::new(TOUCHLINE).arg("load").args(args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said:?} does not say {says:?}");
    };
    failing(&["--rate", "5"], 2, "--address");
    let address = ["--address", "127.0.0.1:7400"];
    failing(&[&address[..], &["--rate", "0"]].concat(), 2, "must be 0.1 to 10000000");
    failing(&[&address[..], &["--feed-rate=-1"]].concat(), 2, "must be 0 to 1000000");
    failing(&[&address[..], &["--connections", "0"]].concat(), 2, "1..=50000");
    failing(&[&address[..], &["--seconds", "0"]].concat(), 2, "1..=86400");
    failing(&["--address", "here", "--rate", "5"], 2, "here");
}
