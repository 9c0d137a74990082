//! The models against naive twins, and bits that must never change.

use proptest::prelude::*;
use std::fmt::Write;
use std::path::PathBuf;
use touchline_pricing::calibrate::{self, FootballInput};
use touchline_pricing::football::{Clock, FootballGrid, FootballState, Intensities};
use touchline_pricing::margin::ODDS_MILLI_MAX;
use touchline_pricing::markets::{Market, Payoff};
use touchline_pricing::sheet::{mass, price_football};
use touchline_pricing::tennis::{Player, Rules, Tennis, TennisState};

/// Poisson probability by its definition.
fn poisson(mean: f64, goals: u32) -> f64 {
    (1..=goals).fold(libm::exp(-mean), |p, n| p * mean / f64::from(n))
}

/// Probability of each payoff of a selection by a double loop over goals still to come.
fn naive(market: Market, selection: usize, score: [u32; 2], goals: [f64; 2]) -> [f64; 5] {
    let mut masses = [0.0; 5];
    for home in 0..60 {
        for away in 0..60 {
            let payoff = market.payoff(selection, market.class_of(score[0] + home, score[1] + away));
            masses[payoff as usize] += poisson(goals[0], home) * poisson(goals[1], away);
        }
    }
    masses
}

fn market() -> impl Strategy<Value = Market> {
    prop_oneof![
        Just(Market::Winner3),
        Just(Market::BothToScore),
        Just(Market::CorrectScore),
        (2..=40i32).prop_map(|quarters| Market::Total { quarters }),
        (-16..=16i32).prop_map(|quarters| Market::AsianHandicap { quarters }),
    ]
}

/// The longer way a set can still go, point by point, from a score to the match: nothing is precomputed.
fn naive_game(p: f64, own: u32, other: u32) -> f64 {
    if own >= 4 && own >= other + 2 {
        return 1.0;
    }
    if other >= 4 && other >= own + 2 {
        return 0.0;
    }
    if own == 3 && other == 3 {
        return p * p / (p * p + (1.0 - p) * (1.0 - p));
    }
    p * naive_game(p, own + 1, other) + (1.0 - p) * naive_game(p, own, other + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_grid_is_the_double_sum(
        market in market(),
        score in (0u32..5, 0u32..5),
        goals in (0.02f64..3.5, 0.02f64..3.5),
    ) {
        let score = [score.0, score.1];
        let grid = FootballGrid::of(score, goals.0, goals.1);
        let classes = grid.class_probabilities(market);
        for selection in 0..market.selections() {
            let found = mass(market, selection, &classes);
            for (one, due) in found.0.iter().zip(naive(market, selection, score, [goals.0, goals.1])) {
                // The last of 24 terms holds the whole tail: at 3.5 goals what lies beyond is below 1e-11.
                prop_assert!((one - due).abs() < 1e-10, "{market:?} {selection}: {one} {due}");
            }
        }
    }

    #[test]
    fn higher_lines_make_over_less_likely(goals in (0.1f64..3.0, 0.1f64..3.0), score in (0u32..4, 0u32..4)) {
        let grid = FootballGrid::of([score.0, score.1], goals.0, goals.1);
        let odds = |quarters| price_football(&grid, Market::Total { quarters }, 50_000).odds_milli[0];
        let shown: Vec<u32> = (2..=40).map(odds).filter(|milli| *milli != 0 && *milli < ODDS_MILLI_MAX).collect();
        prop_assert!(shown.is_sorted(), "{shown:?}");
    }

    #[test]
    fn calibration_finds_the_goals_that_made_the_prices(home in 0.4f64..3.0, away in 0.4f64..3.0) {
        let grid = FootballGrid::of([0; 2], home, away);
        let winner = grid.class_probabilities(Market::Winner3);
        let total = grid.class_probabilities(Market::Total { quarters: 10 });
        let input = FootballInput {
            winner: [1.0 / winner[0], 1.0 / winner[1], 1.0 / winner[2]],
            total: Some((10, [1.0 / total[0], 1.0 / (1.0 - total[0])])),
        };
        let fit = calibrate::football(&input).unwrap();
        prop_assert!((fit.intensities.home() - home).abs() < 1e-6 && (fit.intensities.away() - away).abs() < 1e-6,
            "{home} {away}: {fit:?}");
        prop_assert!(fit.residuals.iter().all(|residual| residual.abs() < 1e-8));
    }

    #[test]
    fn a_point_won_never_hurts_and_the_last_games_are_as_counted(
        serve in (0.5f64..0.8, 0.5f64..0.8),
        points in (0u8..4, 0u8..4),
    ) {
        let rules = Rules::best_of(3).unwrap();
        let model = Tennis::new(serve.0, serve.1, rules).unwrap();
        // A serves for the match at 1:0 sets and 5:0 games; a lost game leaves a score of its own.
        let at = |games, points, server| {
            model.match_winner(&TennisState::new([1, 0], games, points, server, rules).unwrap())
        };
        let (own, other) = points;
        let game = naive_game(serve.0, own.into(), other.into());
        let due = game + (1.0 - game) * at([5, 1], [0, 0], Player::B);
        let found = at([5, 0], [own, other], Player::A);
        prop_assert!((found - due).abs() < 1e-12, "{found} {due}");
        if own < 3 {
            prop_assert!(at([5, 0], [own + 1, other], Player::A) > found);
        }
    }
}

#[test]
fn prices_that_no_goals_could_make_are_refused() {
    let fit = |draw| calibrate::football(&FootballInput { winner: [1.9, draw, 1.9], total: None });
    let worst = match fit(100.0) {
        Err(calibrate::CalibrationError::Contradiction(worst)) => worst,
        other => panic!("{other:?}"),
    };
    assert!(worst > 2.0 * calibrate::RESIDUAL_MAX, "{worst}");
    let quoted = FootballInput { winner: [2.35, 3.52, 3.16], total: Some((10, [1.86, 1.95])) };
    let fit = calibrate::football(&quoted).unwrap();
    assert!(fit.residuals.iter().all(|residual| residual.abs() <= calibrate::RESIDUAL_MAX), "{fit:?}");
}

#[test]
fn a_won_market_pays_whatever_comes() {
    let grid = FootballGrid::of([3, 0], 1.0, 1.0);
    let classes = grid.class_probabilities(Market::Total { quarters: 10 });
    let over = mass(Market::Total { quarters: 10 }, 0, &classes);
    assert!((over.0[Payoff::Win as usize] - 1.0).abs() < 1e-12);
}

/// Numbers of both models over a spread of states, as bits: the same on every machine, in every build.
fn bits() -> String {
    let mut out = String::new();
    for (home, away) in [(0.3, 2.9), (1.4631, 1.2324), (2.2, 0.6)] {
        let intensities = Intensities::new(home, away).unwrap();
        for (score, clock, reds) in [
            ([0, 0], Clock::NotStarted, [0, 0]),
            ([1, 0], Clock::FirstHalf { seconds: 1800.0 }, [0, 1]),
            ([2, 2], Clock::SecondHalf { seconds: 2950.5 }, [1, 0]),
        ] {
            let state = FootballState::new(score, clock, reds).unwrap();
            let grid = FootballGrid::new(&intensities, &state);
            for market in
                [Market::Winner3, Market::Total { quarters: 9 }, Market::AsianHandicap { quarters: -1 }]
            {
                let classes = grid.class_probabilities(market);
                let hex: Vec<String> =
                    classes[..market.classes()].iter().map(|p| format!("{:016x}", p.to_bits())).collect();
                let _ = writeln!(out, "football {home} {away} {state:?} {market:?}: {}", hex.join(" "));
            }
        }
    }
    for (a, b) in [(0.6, 0.7), (0.64, 0.64)] {
        let rules = Rules::best_of(5).unwrap();
        let model = Tennis::new(a, b, rules).unwrap();
        for (sets, games, points) in
            [([0, 0], [0, 0], [0, 0]), ([1, 2], [6, 6], [5, 4]), ([2, 2], [3, 5], [3, 4])]
        {
            let state = TennisState::new(sets, games, points, Player::B, rules).unwrap();
            let _ = writeln!(out, "tennis {a} {b} {state:?}: {:016x}", model.match_winner(&state).to_bits());
        }
    }
    let input = FootballInput { winner: [2.35, 3.52, 3.16], total: Some((10, [1.86, 1.95])) };
    let fit = calibrate::football(&input).unwrap().intensities;
    let _ = writeln!(out, "calibrated: {:016x} {:016x}", fit.home().to_bits(), fit.away().to_bits());
    out
}

#[test]
#[expect(clippy::disallowed_methods, reason = "blessing is asked for by the environment")]
fn the_bits_are_the_same_everywhere() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_bits.txt");
    if std::env::var_os("TOUCHLINE_BLESS").is_some() {
        std::fs::write(&path, bits()).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (found, due) in bits().lines().zip(golden.lines()) {
        assert_eq!(found, due);
    }
    assert_eq!(bits().lines().count(), golden.lines().count());
}
