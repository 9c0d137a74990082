//! Recorded matches: hand-made rows, every kind of mistake, and the real files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use touchline_feeds::wyscout::{Basis, Prior, Recorded, decode, timeline};
use touchline_feeds::{Opening, Timeline};
use touchline_protocol::*;

const MATCHES: &str = include_str!("samples/matches.csv");
const EVENTS: &str = include_str!("samples/events.csv");
const PRIOR: Prior = Prior { goals_nano: [1_400_000_000, 1_100_000_000], margin_ppm: 90_000 };

fn decoded(matches: &str, events: &str) -> Result<Vec<Recorded>, String> {
    decode(("m.csv", matches.as_bytes()), ("e.csv", events.as_bytes())).map_err(|error| error.to_string())
}

fn timelines(matches: &[Recorded]) -> Vec<Timeline> {
    matches.iter().map(|recorded| timeline(recorded, CompetitionId(1), PRIOR)).collect()
}

#[test]
fn odds_are_taken_from_the_best_columns_and_are_exact() {
    let all = decoded(MATCHES, EVENTS).unwrap();
    let bases: Vec<Basis> = all.iter().map(|recorded| recorded.basis).collect();
    assert_eq!(bases, [Basis::Closing, Basis::Earlier, Basis::Average, Basis::Prior]);
    assert_eq!(all[0].winner_milli, [2050, 3400, 3755]);
    assert_eq!(all[0].total_milli, Some([1900, 1920]));
    assert_eq!(all[0].home, "Quay, United");
    let played = timelines(&all);
    assert_eq!(played[3].opening, Opening::Intensities(PRIOR.goals_nano));
    assert_eq!([played[0].margin_ppm, played[3].margin_ppm], [0, PRIOR.margin_ppm]);
}

#[test]
fn reports_carry_the_whole_scoreboard_at_their_second() {
    let played = timelines(&decoded(MATCHES, EVENTS).unwrap());
    let told: Vec<_> =
        played[0].reports.iter().map(|r| (r.at_ms, r.event, r.board.clock_ms, r.board.score)).collect();
    let second = 25_500 + 900_000;
    assert_eq!(
        told,
        [
            (0, Event::PeriodStart, 0, [0, 0]),
            (10_000, Event::Goal, 10_000, [1, 0]),
            (10_000, Event::Clock, 10_000, [1, 0]),
            (20_000, Event::Clock, 20_000, [1, 0]),
            (22_500, Event::RedCard, 22_500, [1, 0]),
            (25_500, Event::PeriodEnd, 0, [1, 0]),
            (second, Event::PeriodStart, 0, [1, 0]),
            (second + 3000, Event::Goal, 3000, [1, 1]),
            (second + 10_000, Event::Clock, 10_000, [1, 1]),
            (second + 20_000, Event::Clock, 20_000, [1, 1]),
            (second + 30_000, Event::Clock, 30_000, [1, 1]),
            // The goal lies behind the recorded length, which is therefore longer.
            (second + 40_000, Event::Clock, 40_000, [1, 1]),
            (second + 40_250, Event::Goal, 40_250, [2, 1]),
            (second + 40_250, Event::MatchEnd, 0, [2, 1]),
        ]
    );
    assert_eq!(played[0].reports[4].board.reds, [0, 1]);
    assert_eq!(played[0].settlement().home, 2);
}

#[test]
fn extra_time_stays_out_of_regular_time() {
    let all = decoded(MATCHES, EVENTS).unwrap();
    assert!(all[3].is_consistent());
    assert_eq!(timelines(&all)[3].reports.last().unwrap().board.score, [1, 1]);
}

#[test]
fn mistakes_are_told_with_file_line_and_column() {
    let with = |from: &str, to: &str| decoded(&MATCHES.replace(from, to), EVENTS).unwrap_err();
    for (error, parts) in [
        (with("2.05", "2,05"), vec!["m.csv", "line 2", "cells"]),
        (with("2.05", "two"), vec!["m.csv", "line 2", "PSCH", "\"two\"", "decimal"]),
        (with("2.05", "0.9"), vec!["line 2", "PSCH", "1.001"]),
        (with("25.5", "99999"), vec!["line 2", "len_1h_s", "7200"]),
        (with("\n12,", "\n11,"), vec!["line 3", "match_id", "earlier row"]),
        (with("\n13,", "\nx,"), vec!["line 4", "match_id", "whole number"]),
        (with("len_2h_s", "other"), vec!["line 1", "len_2h_s", "no such column"]),
    ] {
        assert!(parts.iter().all(|part| error.contains(part)), "{error} lacks one of {parts:?}");
    }
    let with = |from: &str, to: &str| decoded(MATCHES, &EVENTS.replace(from, to)).unwrap_err();
    for (error, parts) in [
        (with("14,1H", "15,1H"), vec!["e.csv", "line 6", "match_id", "other file"]),
        (with("2H,3,", "3H,3,"), vec!["line 4", "period"]),
        (with("red", "blue"), vec!["line 3", "type", "\"blue\""]),
        (with("goal,H,\n14", "goal,X,\n14"), vec!["line 5", "side"]),
        (with("22.5", "-1"), vec!["line 3", "sec_in_period"]),
    ] {
        assert!(parts.iter().all(|part| error.contains(part)), "{error} lacks one of {parts:?}");
    }
    let bytes = [MATCHES.as_bytes(), &[0xFF]].concat();
    let error = decode(("m.csv", bytes.as_slice()), ("e.csv", EVENTS.as_bytes())).unwrap_err();
    assert_eq!((error.line, error.file.as_str()), (6, "m.csv"));
}

#[test]
fn every_real_match_is_read() {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("TOUCHLINE_DATA").map_or(beside, PathBuf::from).join("football");
    let read = |name: &str| std::fs::read(data.join(name)).ok();
    let (Some(matches), Some(events)) = (read("wyscout_matches.csv"), read("wyscout_events.csv")) else {
        println!(
            "SKIPPED: recorded matches are not there; set TOUCHLINE_DATA to the folder of recorded data"
        );
        return;
    };
    let all = decode(("matches", matches.as_slice()), ("events", events.as_slice())).unwrap();
    let mut by_basis = BTreeMap::new();
    all.iter().for_each(|recorded| *by_basis.entry(recorded.basis).or_insert(0) += 1);
    assert_eq!(all.len(), 1164);
    assert_eq!(by_basis, BTreeMap::from([(Basis::Closing, 698), (Basis::Earlier, 1), (Basis::Prior, 465)]));
    for (recorded, played) in all.iter().zip(timelines(&all)) {
        let times: Vec<u64> = played.reports.iter().map(|report| report.at_ms).collect();
        assert!(times.is_sorted(), "{:?}", recorded.fixture);
        let last = played.reports.last().unwrap();
        assert_eq!((last.event, last.board.period), (Event::MatchEnd, Period::Ended));
        if recorded.is_consistent() {
            assert_eq!(last.board.score, recorded.result);
        }
        let before = played.opening_commands(SourceId(1), At(0));
        assert!(before.iter().all(|body| body.check_range().is_ok()));
    }
}
