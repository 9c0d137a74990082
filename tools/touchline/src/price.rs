//! `touchline price`: a price sheet from quoted odds and a state of the match.

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, bail, ensure};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value as Json, json};
use std::io::stdout;
use touchline_pricing::calibrate::{self, FootballFit, FootballInput};
use touchline_pricing::football::{Clock, FootballGrid, FootballState, remaining_goals};
use touchline_pricing::markets::Market;
use touchline_pricing::sheet::{Priced, mass, price_football, price_tennis};
use touchline_pricing::tennis::{Player, Rules, Tennis, TennisState};

/// The sport.
#[derive(clap::Subcommand)]
pub(crate) enum Sport {
    /// Goals: 1x2, totals, both teams to score, Asian handicap, correct score.
    Football(Football),
    /// The winner of a match.
    Tennis(TennisArgs),
}

/// Options of `price football`.
#[derive(clap::Args)]
pub(crate) struct Football {
    /// Quoted odds before the start of home, draw and away: 2.35,3.52,3.16.
    #[arg(long)]
    odds: String,
    /// Line and quoted odds of over and under: 2.5:1.86,1.95.
    #[arg(long)]
    over_under: Option<String>,
    /// The clock: "1H 30:00", "HT", "2H 12:30", "FT"; without it the match has not begun.
    #[arg(long)]
    clock: Option<String>,
    /// Goals: 1-0.
    #[arg(long, default_value = "0-0")]
    score: String,
    /// Red cards: 0-1.
    #[arg(long, default_value = "0-0")]
    reds: String,
    /// Margin in percent.
    #[arg(long, default_value = "5")]
    margin: Decimal,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Options of `price tennis`.
#[derive(clap::Args)]
pub(crate) struct TennisArgs {
    /// Quoted odds before the start of both players: 1.60,2.35.
    #[arg(long)]
    odds: String,
    /// Sets that are played at most: 3 or 5.
    #[arg(long, default_value_t = 3)]
    best_of: u8,
    /// Sets won: 1-0.
    #[arg(long, default_value = "0-0")]
    sets: String,
    /// Games in the open set: 3-2.
    #[arg(long, default_value = "0-0")]
    games: String,
    /// Points in the open game, 0 15 30 40 A (30-15), or counted in a tiebreak (5-4).
    #[arg(long, default_value = "0-0")]
    points: String,
    /// Who serves the open game, or served first in the open tiebreak: 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    server: u8,
    /// Margin in percent.
    #[arg(long, default_value = "5")]
    margin: Decimal,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Prints a sheet.
pub(crate) fn run(sport: &Sport) -> anyhow::Result<()> {
    match sport {
        Sport::Football(args) => football(args),
        Sport::Tennis(args) => tennis(args),
    }
}

/// One selection of a sheet.
struct Line {
    market: String,
    selection: String,
    probability: f64,
    odds_milli: u32,
}

/// A price that went in, and what the model makes of it.
struct Input {
    name: &'static str,
    odds: f64,
    fair: f64,
    residual: f64,
}

fn football(args: &Football) -> anyhow::Result<()> {
    let winner: [f64; 3] = odds(&args.odds, "--odds")?;
    let total = args.over_under.as_deref().map(over_under).transpose()?;
    let margin_ppm = margin_ppm(args.margin)?;
    let clock = args.clock.as_deref().map_or(Ok(Clock::NotStarted), clock)?;
    let score = pair(&args.score, "--score")?;
    let state = FootballState::new(score, clock, pair(&args.reds, "--reds")?)?;
    let fit = calibrate::football(&FootballInput { winner, total })
        .context("--odds and --over-under give no model")?;
    let grid = FootballGrid::new(&fit.intensities, &state);
    let mut lines = Vec::new();
    for market in sheet_markets(score) {
        let classes = grid.class_probabilities(market);
        let priced = price_football(&grid, market, margin_ppm);
        lines.extend((0..priced.n).map(|selection| {
            // Share of what is not returned: the inverse of the fair odds.
            let fair = mass(market, selection, &classes).fair_odds();
            line(market, selection, fair.map_or(0.0, |odds| 1.0 / odds), &priced)
        }));
    }
    let inputs = football_inputs(&winner, total, &fit)?;
    let rest = remaining_goals(&fit.intensities, &state);
    let model = [
        ("home_goals", fit.intensities.home()),
        ("away_goals", fit.intensities.away()),
        ("home_goals_remaining", rest[0]),
        ("away_goals_remaining", rest[1]),
    ];
    print_sheet(args.json, "football", margin_ppm, &model, &inputs, &lines)
}

/// The markets of a sheet: totals and handicaps around what is still open.
fn sheet_markets(score: [u32; 2]) -> Vec<Market> {
    let scored = (score[0] + score[1]) as i32;
    let mut markets = vec![Market::Winner3];
    markets.extend((0..5).map(|goals| Market::Total { quarters: 4 * (scored + goals) + 2 }).filter(in_range));
    markets.push(Market::BothToScore);
    let lead = score[0] as i32 - score[1] as i32;
    // A handicap counts from the whole score, so the even line is minus the lead.
    markets.extend(
        [-6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6]
            .map(|shift| Market::AsianHandicap { quarters: shift - 4 * lead })
            .into_iter()
            .filter(in_range),
    );
    markets.push(Market::CorrectScore);
    markets
}

fn in_range(market: &Market) -> bool {
    let (kind, line) = market.key();
    Market::from_key(kind, line).is_ok()
}

fn football_inputs(
    winner: &[f64; 3],
    total: Option<(i32, [f64; 2])>,
    fit: &FootballFit,
) -> anyhow::Result<Vec<Input>> {
    use touchline_pricing::margin::{remove_multiplicative, remove_shin};
    let fair = remove_shin(*winner)?;
    let names = ["home", "draw", "away"];
    let mut inputs: Vec<Input> = (0..3)
        .map(|i| Input { name: names[i], odds: winner[i], fair: fair[i], residual: fit.residuals[i] })
        .collect();
    if let Some((_, odds)) = total {
        let fair = remove_multiplicative(odds)?;
        let residual = fit.residuals[3];
        inputs.push(Input { name: "over", odds: odds[0], fair: fair[0], residual });
        inputs.push(Input { name: "under", odds: odds[1], fair: fair[1], residual: -residual });
    }
    Ok(inputs)
}

fn tennis(args: &TennisArgs) -> anyhow::Result<()> {
    let quoted: [f64; 2] = odds(&args.odds, "--odds")?;
    let margin_ppm = margin_ppm(args.margin)?;
    let rules = Rules::best_of(args.best_of)?;
    let serve = calibrate::tennis(quoted, rules).context("--odds give no model")?;
    let model = Tennis::new(serve[0], serve[1], rules)?;
    let games = small(pair(&args.games, "--games")?)?;
    let server = if args.server == 1 { Player::A } else { Player::B };
    let points = points(&args.points, games == [6, 6])?;
    let state = TennisState::new(small(pair(&args.sets, "--sets")?)?, games, points, server, rules)?;
    let priced = price_tennis(&model, &state, margin_ppm);
    let first = model.match_winner(&state);
    let lines = [first, 1.0 - first]
        .into_iter()
        .enumerate()
        .map(|(selection, probability)| line(Market::TennisWinner, selection, probability, &priced))
        .collect::<Vec<_>>();
    let fair = touchline_pricing::margin::remove_multiplicative(quoted)?;
    let start = model.match_winner_from_start();
    let inputs = [("first", start), ("second", 1.0 - start)]
        .into_iter()
        .enumerate()
        .map(|(i, (name, fitted))| Input { name, odds: quoted[i], fair: fair[i], residual: fitted - fair[i] })
        .collect::<Vec<_>>();
    let model = [("first_on_serve", serve[0]), ("second_on_serve", serve[1])];
    print_sheet(args.json, "tennis", margin_ppm, &model, &inputs, &lines)
}

fn line(market: Market, selection: usize, probability: f64, priced: &Priced) -> Line {
    Line {
        market: market.name(),
        selection: market.selection_name(selection),
        probability,
        odds_milli: priced.odds_milli[selection],
    }
}

fn print_sheet(
    as_json: bool,
    sport: &str,
    margin_ppm: u32,
    model: &[(&str, f64)],
    inputs: &[Input],
    lines: &[Line],
) -> anyhow::Result<()> {
    if as_json {
        let model: serde_json::Map<String, Json> =
            model.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let inputs: Vec<Json> = inputs
            .iter()
            .map(|i| json!({"input": i.name, "odds": i.odds, "fair_probability": i.fair, "residual": i.residual}))
            .collect();
        let lines: Vec<Json> = lines
            .iter()
            .map(|l| {
                let odds = (l.odds_milli != 0).then(|| decimal(l.odds_milli));
                json!({"market": l.market, "selection": l.selection, "probability": l.probability,
                       "odds": odds, "odds_milli": l.odds_milli})
            })
            .collect();
        let sheet = json!({"sport": sport, "margin_ppm": margin_ppm, "model": model, "inputs": inputs, "prices": lines});
        return print_line(&mut stdout(), &sheet);
    }
    for (name, value) in model {
        say!("{:<22} {value:.4}", name.replace('_', " "));
    }
    say!(
        "\n{:<8} {:>7} {:>9} {:>10}   (residual: model − quoted probability)",
        "input",
        "odds",
        "fair",
        "residual"
    );
    for i in inputs {
        say!("{:<8} {:>7} {:>9.5} {:>+10.5}", i.name, i.odds, i.fair, i.residual);
    }
    say!(
        "\n{:<22} {:<12} {:>9} {:>9}   (margin {} %)",
        "market",
        "selection",
        "fair",
        "odds",
        f64::from(margin_ppm) / 1e4
    );
    let mut market = "";
    for l in lines {
        let name = if l.market == market { "" } else { &l.market };
        market = &l.market;
        let odds = if l.odds_milli == 0 { "–".into() } else { decimal(l.odds_milli) };
        say!("{name:<22} {:<12} {:>9.5} {odds:>9}", l.selection, l.probability);
    }
    Ok(())
}

/// Thousandths as a decimal.
fn decimal(milli: u32) -> String {
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

fn odds<const N: usize>(text: &str, flag: &str) -> anyhow::Result<[f64; N]> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let numbers = numbers.map_err(|_| anyhow!("{flag} {text:?}: not decimal odds parted by commas"))?;
    numbers.try_into().map_err(|_| anyhow!("{flag} {text:?}: {N} odds are needed, parted by commas"))
}

/// "2.5:1.86,1.95" as line in quarters and odds.
fn over_under(text: &str) -> anyhow::Result<(i32, [f64; 2])> {
    let wrong = || anyhow!("--over-under {text:?}: give line and odds of over and under as 2.5:1.86,1.95");
    let (line, quoted) = text.split_once(':').ok_or_else(wrong)?;
    let line: Decimal = line.trim().parse().map_err(|_| wrong())?;
    let quarters = line.checked_mul(Decimal::from(4)).filter(Decimal::is_integer);
    let quarters = quarters.and_then(|quarters| quarters.to_i32());
    let quarters = quarters.ok_or_else(|| anyhow!("--over-under {text:?}: a line is a multiple of 0.25"))?;
    Ok((quarters, odds(quoted, "--over-under")?))
}

fn margin_ppm(percent: Decimal) -> anyhow::Result<u32> {
    let ppm =
        percent.checked_mul(Decimal::from(10_000)).filter(Decimal::is_integer).and_then(|ppm| ppm.to_u32());
    let ppm = ppm.filter(|ppm| *ppm <= 500_000);
    ppm.ok_or_else(|| anyhow!("--margin {percent}: must be 0 to 50 percent with at most four places"))
}

fn clock(text: &str) -> anyhow::Result<Clock> {
    let wrong = || anyhow!("--clock {text:?}: use \"1H 30:00\", \"HT\", \"2H 12:30\" or \"FT\"");
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["HT"] => Ok(Clock::HalfTime),
        ["FT"] => Ok(Clock::Ended),
        [half, time] => {
            let (minutes, seconds) = time.split_once(':').ok_or_else(wrong)?;
            let minutes: u32 = minutes.parse().map_err(|_| wrong())?;
            let seconds: u32 = seconds.parse().map_err(|_| wrong())?;
            ensure!(seconds < 60 && minutes <= 120, wrong());
            let seconds = f64::from(minutes * 60 + seconds);
            match *half {
                "1H" => Ok(Clock::FirstHalf { seconds }),
                "2H" => Ok(Clock::SecondHalf { seconds }),
                _ => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

/// "1-0" as two numbers.
fn pair(text: &str, flag: &str) -> anyhow::Result<[u32; 2]> {
    let parsed =
        text.split_once(['-', ':']).and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    parsed.ok_or_else(|| anyhow!("{flag} {text:?}: give two whole numbers as 1-0"))
}

fn small(pair: [u32; 2]) -> anyhow::Result<[u8; 2]> {
    match pair.map(u8::try_from) {
        [Ok(a), Ok(b)] => Ok([a, b]),
        _ => bail!("{}-{} is no score of tennis", pair[0], pair[1]),
    }
}

/// Points as called (0, 15, 30, 40, A), or counted in a tiebreak.
fn points(text: &str, tiebreak: bool) -> anyhow::Result<[u8; 2]> {
    if tiebreak {
        return small(pair(text, "--points")?);
    }
    let called =
        |part: &str| ["0", "15", "30", "40", "A"].iter().position(|name| *name == part).map(|n| n as u8);
    let parsed = text.split_once('-').and_then(|(a, b)| Some([called(a.trim())?, called(b.trim())?]));
    parsed.ok_or_else(|| anyhow!("--points {text:?}: give 0, 15, 30, 40 or A for both players, as 30-15"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_parsed_and_mistakes_named() {
        assert_eq!(clock("1H 30:05").unwrap(), Clock::FirstHalf { seconds: 1805.0 });
        assert_eq!(clock("HT").unwrap(), Clock::HalfTime);
        for text in ["", "3H 1:00", "1H 30", "1H 30:60", "1H x:00", "2H -1:00"] {
            assert!(clock(text).unwrap_err().to_string().contains("--clock"), "{text}");
        }
        assert_eq!(over_under("2.25:1.9,1.95").unwrap(), (9, [1.9, 1.95]));
        assert!(over_under("2.3:1.9,1.95").unwrap_err().to_string().contains("0.25"));
        assert_eq!(points("40-A", false).unwrap(), [3, 4]);
        assert_eq!(points("12-11", true).unwrap(), [12, 11]);
        assert!(points("45-0", false).is_err() && pair("1", "--score").is_err());
        assert!(margin_ppm(Decimal::from(51)).is_err() && margin_ppm(Decimal::from(-1)).is_err());
    }

    #[test]
    fn every_market_of_a_sheet_exists() {
        for score in [[0, 0], [7, 0], [0, 9], [31, 0]] {
            assert!(sheet_markets(score).iter().all(in_range));
        }
    }
}
