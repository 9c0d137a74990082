//! Rows to matches: every cell checked, every event in its match.

use super::table::{CsvError, Row, Table};
use std::collections::BTreeMap;
use std::io::Read;
use touchline_protocol::{Event, FixtureId, Side};

/// Where a match's odds come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Closing odds.
    Closing,
    /// Odds from before the closing.
    Earlier,
    /// The market's average.
    Average,
    /// None quoted: a prior of the competition.
    Prior,
}

/// An event of a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The half, 0 or 1.
    pub half: usize,
    /// Milliseconds since it began.
    pub at_ms: u32,
    /// Goal, red card, yellow card or corner.
    pub event: Event,
    /// The side credited.
    pub side: Side,
}

/// A recorded match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number at the source.
    pub fixture: FixtureId,
    /// Its competition.
    pub competition: String,
    /// Home side.
    pub home: String,
    /// Away side.
    pub away: String,
    /// Score after regular time.
    pub result: [u16; 2],
    /// Length of the halves with stoppage time, milliseconds.
    pub half_ms: [u32; 2],
    /// Where the odds come from.
    pub basis: Basis,
    /// Odds of home, draw, away in thousandths; zeros where none were quoted.
    pub winner_milli: [u32; 3],
    /// Odds of over and under 2.5 goals, where quoted.
    pub total_milli: Option<[u32; 2]>,
    /// Events of regular time, in order.
    pub happenings: Vec<Happening>,
}

impl Recorded {
    /// Whether the goals among the events make the recorded result.
    pub fn is_consistent(&self) -> bool {
        let goals = |side| {
            let of_side = |h: &&Happening| h.event == Event::Goal && h.side == side;
            self.happenings.iter().filter(of_side).count() as u16
        };
        [goals(Side::Home), goals(Side::Away)] == self.result
    }
}

const WINNERS: [(Basis, [&str; 3]); 3] = [
    (Basis::Closing, ["PSCH", "PSCD", "PSCA"]),
    (Basis::Earlier, ["PSH", "PSD", "PSA"]),
    (Basis::Average, ["BbAvH", "BbAvD", "BbAvA"]),
];
const TOTAL: [&str; 2] = ["BbAv>2.5", "BbAv<2.5"];
const MATCH_COLUMNS: [&str; 8] =
    ["match_id", "comp", "home", "away", "ft_home", "ft_away", "len_1h_s", "len_2h_s"];
const EVENT_COLUMNS: [&str; 5] = ["match_id", "period", "sec_in_period", "type", "side"];

/// The longest half that is believed: two hours.
const HALF_MS_MAX: u32 = 7_200_000;

/// Decodes both files, named for messages; matches in the order of the first.
pub fn decode(
    (matches_name, matches): (&str, impl Read),
    (events_name, events): (&str, impl Read),
) -> Result<Vec<Recorded>, CsvError> {
    let mut all = Vec::new();
    let mut places = BTreeMap::new();
    let mut table = Table::new(matches_name, matches, &MATCH_COLUMNS)?;
    while let Some(row) = table.next_row()? {
        let recorded = recorded(&row)?;
        if places.insert(recorded.fixture, all.len()).is_some() {
            return Err(row.wrong("match_id", "a number of its own: an earlier row has it"));
        }
        all.push(recorded);
    }
    let mut table = Table::new(events_name, events, &EVENT_COLUMNS)?;
    while let Some(row) = table.next_row()? {
        let place = places.get(&FixtureId(row.number("match_id")?));
        let place = *place.ok_or_else(|| row.wrong("match_id", "a match of the other file"))?;
        if let Some(happening) = happening(&row)? {
            all[place].happenings.push(happening);
        }
    }
    for recorded in &mut all {
        recorded.happenings.sort_by_key(|h| (h.half, h.at_ms));
        // The length is the last event of any type; a later one among ours would contradict it.
        for h in &recorded.happenings {
            recorded.half_ms[h.half] = recorded.half_ms[h.half].max(h.at_ms);
        }
    }
    Ok(all)
}

fn recorded(row: &Row<'_>) -> Result<Recorded, CsvError> {
    let fixture = FixtureId(row.number("match_id")?);
    if fixture.0 == 0 {
        return Err(row.wrong("match_id", "a match number above 0"));
    }
    let (basis, winner_milli) = quoted(row)?;
    let total = [row.odds(TOTAL[0])?, row.odds(TOTAL[1])?];
    Ok(Recorded {
        fixture,
        competition: row.cell("comp").into(),
        home: row.cell("home").into(),
        away: row.cell("away").into(),
        result: [row.number("ft_home")?, row.number("ft_away")?],
        half_ms: [half_ms(row, "len_1h_s")?, half_ms(row, "len_2h_s")?],
        basis,
        winner_milli,
        total_milli: total[0].zip(total[1]).map(|(over, under)| [over, under]),
        happenings: Vec::new(),
    })
}

/// The first complete set of odds in the order of preference.
fn quoted(row: &Row<'_>) -> Result<(Basis, [u32; 3]), CsvError> {
    for (basis, columns) in WINNERS {
        let odds = [row.odds(columns[0])?, row.odds(columns[1])?, row.odds(columns[2])?];
        if let [Some(home), Some(draw), Some(away)] = odds {
            return Ok((basis, [home, draw, away]));
        }
    }
    Ok((Basis::Prior, [0; 3]))
}

fn half_ms(row: &Row<'_>, column: &'static str) -> Result<u32, CsvError> {
    let ms = row.milli(column)?;
    if ms <= HALF_MS_MAX { Ok(ms) } else { Err(row.wrong(column, "a half of at most 7200 seconds")) }
}

/// An event of regular time; `None` for one of extra time.
fn happening(row: &Row<'_>) -> Result<Option<Happening>, CsvError> {
    let half = match row.cell("period") {
        "1H" => 0,
        "2H" => 1,
        "E1" | "E2" => return Ok(None),
        _ => return Err(row.wrong("period", "one of 1H, 2H, E1, E2")),
    };
    let event = match row.cell("type") {
        "goal" => Event::Goal,
        "red" => Event::RedCard,
        "yellow" => Event::YellowCard,
        "corner" => Event::Corner,
        _ => return Err(row.wrong("type", "one of goal, red, yellow, corner")),
    };
    let side = match row.cell("side") {
        "H" => Side::Home,
        "A" => Side::Away,
        _ => return Err(row.wrong("side", "H or A")),
    };
    Ok(Some(Happening { half, at_ms: half_ms(row, "sec_in_period")?, event, side }))
}
