//! Agreement with the reference vectors, which were computed at high precision by other code.

use serde_json::Value;
use std::path::PathBuf;
use touchline_pricing::football::FootballGrid;
use touchline_pricing::margin::{remove_multiplicative, remove_shin};
use touchline_pricing::markets::Market;
use touchline_pricing::tennis::{Player, Rules, Tennis, TennisState};

#[expect(
    clippy::disallowed_methods,
    reason = "where the recorded data lies is the machine's, not the model's"
)]
fn load(name: &str) -> Option<Vec<Value>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("TOUCHLINE_DATA").map_or(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(data.join("vectors").join(name)) else {
        println!("SKIPPED: {name} is not there; set TOUCHLINE_DATA to the folder of recorded data");
        return None;
    };
    Some(serde_json::from_str(&text).expect("the vectors are JSON"))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} is a number in {value}"))
}

#[track_caller]
fn agree(found: f64, known: f64) {
    assert!((found - known).abs() <= 1e-9, "{found} differs from {known}");
}

#[test]
fn football_agrees() {
    let Some(vectors) = load("model_vectors.json") else { return };
    let poisson: Vec<_> = vectors.iter().filter(|v| v["kind"] == "poisson").collect();
    assert!(!poisson.is_empty());
    for v in poisson {
        let grid = FootballGrid::of([0; 2], number(v, "lh"), number(v, "la"));
        let winner = grid.class_probabilities(Market::Winner3);
        agree(winner[0], number(v, "home"));
        agree(winner[1], number(v, "draw"));
        agree(winner[2], number(v, "away"));
        agree(grid.class_probabilities(Market::BothToScore)[0], number(v, "btts"));
        for (line, known) in v["over"].as_object().unwrap() {
            let market = Market::from_key(18, quarters(line)).unwrap();
            agree(grid.class_probabilities(market)[0], known.as_f64().unwrap());
        }
        for (line, known) in v["ah_home"].as_object().unwrap() {
            let market = Market::from_key(16, quarters(line)).unwrap();
            agree(grid.class_probabilities(market)[0], known.as_f64().unwrap());
        }
        let scores = grid.class_probabilities(Market::CorrectScore);
        for (score, known) in v["cs"].as_object().unwrap() {
            let (home, away) = score.split_once('-').unwrap();
            let class = Market::CorrectScore.class_of(home.parse().unwrap(), away.parse().unwrap());
            agree(scores[class], known.as_f64().unwrap());
        }
    }
}

fn quarters(line: &str) -> i32 {
    (line.parse::<f64>().unwrap() * 4.0) as i32
}

#[test]
fn tennis_agrees() {
    let Some(vectors) = load("model_vectors.json") else { return };
    let three = Rules::best_of(3).unwrap();
    let state = |sets, games, points| TennisState::new(sets, games, points, Player::A, three).unwrap();
    let tennis: Vec<_> = vectors.iter().filter(|v| v["kind"] == "tennis").collect();
    assert!(!tennis.is_empty());
    for v in tennis {
        let (a, b) = (number(v, "pA"), number(v, "pB"));
        let model = Tennis::new(a, b, three).unwrap();
        agree(model.match_winner(&TennisState::start()), number(v, "bo3"));
        agree(
            Tennis::new(a, b, Rules::best_of(5).unwrap()).unwrap().match_winner_from_start(),
            number(v, "bo5"),
        );
        agree(model.match_winner(&state([1, 0], [0; 2], [0; 2])), number(v, "bo3_from_1_0"));
        // At one set all the match is the set.
        agree(model.match_winner(&state([1, 1], [0; 2], [0; 2])), number(v, "set_A_first"));
        agree(model.match_winner(&state([1, 1], [4, 3], [0; 2])), number(v, "set_4_3_A_serves"));
        agree(model.match_winner(&state([1, 1], [6, 6], [0; 2])), number(v, "tb7_A_first"));
    }
}

#[test]
fn margins_agree() {
    let Some(vectors) = load("margin_vectors.json") else { return };
    // Entries without odds hold sources or parameters only.
    for v in vectors.iter().filter(|v| v["odds"].is_array()) {
        let list = |key: &str| -> Vec<f64> {
            v[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let odds = list("odds");
        match *odds.as_slice() {
            [a, b] => check([a, b], &list("multiplicative"), &list("shin")),
            [a, b, c] => check([a, b, c], &list("multiplicative"), &list("shin")),
            _ => println!("{} has {} selections; only two and three are quoted", v["name"], odds.len()),
        }
    }
}

fn check<const N: usize>(odds: [f64; N], multiplicative: &[f64], shin: &[f64]) {
    let plain = remove_multiplicative(odds).unwrap();
    let insiders = remove_shin(odds).unwrap();
    for i in 0..N {
        agree(plain[i], multiplicative[i]);
        agree(insiders[i], shin[i]);
    }
}
