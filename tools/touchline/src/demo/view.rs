//! The running view: matches and prices, decisions, what is at stake, latency, and the stages of the node.

use crate::live::Driver;
use crate::screen::{draw_counts, draw_node, painted};
use crate::top::Asked;
use std::fmt::Write;
use std::io::{IsTerminal, Write as _, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use touchline_feeds::Timeline;
use touchline_protocol::*;

/// Matches that a screen shows.
const MATCHES_SHOWN: usize = 12;

/// A view that repaints a terminal every second, or appends a block every five.
pub(super) struct View {
    silent: bool,
    repaint: bool,
    times: f64,
    shown: Option<Instant>,
    begun: Instant,
    notes: Vec<String>,
    /// The node's admin socket, and the conversation with it while there is one.
    admin: PathBuf,
    asked: Option<Asked>,
}

impl View {
    /// A view of match time that passes so many times as fast as real time.
    pub(super) fn new(silent: bool, times: f64, admin: PathBuf) -> Self {
        let repaint = stdout().is_terminal();
        View {
            silent,
            repaint,
            times,
            shown: None,
            begun: Instant::now(),
            notes: Vec::new(),
            admin,
            asked: None,
        }
    }

    /// Lines that stay on the view.
    pub(super) fn note(&mut self, lines: impl Iterator<Item = String>) {
        self.notes.extend(lines);
        self.shown = None;
    }

    /// Shows the state of a run when it is due.
    pub(super) fn show(&mut self, driver: &Driver, second: u64) {
        let pause = Duration::from_secs(if self.repaint { 1 } else { 5 });
        if self.silent || self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.page(driver, second, &mut page);
        if self.repaint {
            let _ = self.stages(&mut page);
        }
        let _ = stdout().write_all(painted(&page, self.repaint).as_bytes());
        let _ = stdout().flush();
    }

    /// The matches are over.
    pub(super) fn end(&self) {
        if !self.silent {
            println!("\nall matches are over; the journal is read again, without the core's code");
        }
    }

    /// What the node's stages did since the last page; nothing while it is down.
    fn stages(&mut self, page: &mut String) -> std::fmt::Result {
        if self.asked.is_none() {
            self.asked = Asked::connect(&self.admin).ok();
        }
        match self.asked.as_mut().map(|asked| asked.ask("measures")) {
            Some(Ok(measures)) => {
                write!(page, "\nthe node: ")?;
                draw_node(&measures, page)
            }
            _ => {
                self.asked = None;
                Ok(())
            }
        }
    }

    fn page(&self, driver: &Driver, second: u64, page: &mut String) -> std::fmt::Result {
        let tally = &driver.tally;
        writeln!(
            page,
            "TOUCHLINE demo   {:>4} s   match minute {:>3} ({:.0} times real time)",
            self.begun.elapsed().as_secs(),
            second / 60,
            self.times
        )?;
        writeln!(
            page,
            "{:<28} {:>7} {:>13}  {:<26} {:>12}",
            "match", "score", "time", "winner odds", "worst loss"
        )?;
        for timeline in driver.timelines().iter().take(MATCHES_SHOWN) {
            row(driver, timeline, page)?;
        }
        let worst = driver.board.fixtures().max_by_key(|state| state.worst_minor);
        let worst = worst.map_or(0, |state| state.worst_minor.0);
        writeln!(page, "worst loss of any match now {}   prices told {}", euros(worst), tally.odds_updates)?;
        let lead = format!("bets {} accepted, {} rejected", tally.accepted(), tally.rejected());
        let rejected = tally.decisions.iter().filter(|(code, _)| **code != Code::Accepted);
        draw_counts(&lead, rejected.map(|(code, count)| (code, *count)), page)?;
        writeln!(
            page,
            "decision p50 {} µs, p99 {} µs; {} in flight",
            tally.latency_us.value_at_quantile(0.5),
            tally.latency_us.value_at_quantile(0.99),
            driver.in_flight()
        )?;
        self.notes.iter().try_for_each(|note| writeln!(page, "! {note}"))
    }
}

fn row(driver: &Driver, timeline: &Timeline, page: &mut String) -> std::fmt::Result {
    let name = format!("{} – {}", timeline.home, timeline.away);
    let Some(state) = driver.board.fixture(timeline.fixture) else {
        return writeln!(page, "{name:<28} waiting for its first price");
    };
    let winner = if timeline.sport == Sport::Tennis { 186 } else { 1 };
    let prices = driver.board.market(timeline.fixture, MarketKey::new(winner, 0));
    let prices = prices.map_or(String::new(), |seen| odds(&seen.prices));
    let odds = match state.status {
        FixtureStatus::Closed => "settled".into(),
        FixtureStatus::Ended => "ended".into(),
        _ if state.suspended != 0 => reasons(state.suspended),
        _ => prices,
    };
    let board = &state.board;
    let score = format!("{}:{}", board.score[0], board.score[1]);
    let bound = if state.bound { "≤" } else { "" };
    let worst = format!("{bound}{}", euros(state.worst_minor.0));
    writeln!(page, "{name:<28} {score:>7} {:>13}  {odds:<26} {worst:>12}", time(timeline.sport, board))
}

fn time(sport: Sport, board: &Scoreboard) -> String {
    let minute = board.clock_ms / 60_000 + 1;
    match (sport, board.period) {
        (_, Period::NotStarted) => "not begun".into(),
        (_, Period::Ended) => "over".into(),
        (Sport::Tennis, _) => {
            let points = if board.games == [6, 6] {
                format!("{}-{}", board.points[0], board.points[1])
            } else {
                let called = |n: u8| ["0", "15", "30", "40", "A"].get(usize::from(n)).copied().unwrap_or("?");
                format!("{}-{}", called(board.points[0]), called(board.points[1]))
            };
            format!("{}-{} {points}", board.games[0], board.games[1])
        }
        (_, Period::First) => format!("1H {minute}'"),
        (_, Period::Break) => "half-time".into(),
        (_, Period::Second) => format!("2H {minute}'"),
    }
}

fn odds(prices: &[u32]) -> String {
    let one = |milli: &u32| match milli {
        0 => "–".to_owned(),
        milli => format!("{}.{:02}", milli / 1000, milli % 1000 / 10),
    };
    prices.iter().map(one).collect::<Vec<_>>().join("  ")
}

fn reasons(bits: u32) -> String {
    let held = Reason::ALL.iter().filter(|reason| bits >> **reason as u32 & 1 == 1);
    held.map(|reason| reason.name()).collect::<Vec<_>>().join(" ")
}

/// Minor units as an amount; a negative loss is a sure profit.
fn euros(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.unsigned_abs() / 100, minor.unsigned_abs() % 100)
}
