//! Exports of a snapshot: golden bytes of this version and of one before it, and every way in which one is refused.
//!
//! With `TOUCHLINE_BLESS=1` in the environment the golden files are written anew. One that changes means that an entity's
//! canonical bytes changed: raise its table's version in `snapshot/convert.rs`, add the step from the one before, and
//! keep the old golden file beside a new one.

mod common;

use common::{BRAND, World};
use std::path::PathBuf;
use touchline_core::chores::BETS_PER_PIECE;
use touchline_core::snapshot::export::{Export, ExportError};
use touchline_core::snapshot::{STEPS, Snapshot, Step};
use touchline_core::{Batch, Engine, Input, Now};
use touchline_protocol::wire::{Fault, Field};
use touchline_protocol::*;
use xxhash_rust::xxh3::xxh3_128;

const FIXTURE: FixtureId = FixtureId(42);
const OVER: FixtureId = FixtureId(7);
const LATE: FixtureId = FixtureId(8);
const CROWDED: FixtureId = FixtureId(9);
const WINNER: MarketKey = MarketKey::new(1, 0);
const OPERATOR: OperatorId = OperatorId(1);
const HEADER: usize = 32;
const MINUTE_S: u64 = 60;
const PARTITIONS: u16 = 2;

/// A log with two partitions, which make small files.
fn world() -> World {
    World::of(PARTITIONS, 1)
}

fn end(w: &mut World, fixture: FixtureId) {
    w.incident(fixture, 1, Event::MatchEnd, Period::Ended, [2, 0]);
    w.send(SettleFixture { fixture, home: 2, away: 0, certainty: Certainty::Confirmed, operator: OPERATOR });
}

/// A state with something in every table: a ticket is under way between two partitions, and a match is being settled.
fn state() -> Engine {
    let mut w = world();
    let note = Text::default;
    w.send(SetRetention { retention_ms: 7_200_000, operator: OPERATOR, note: note() });
    for open in [false, true] {
        w.send(SetBook { brand: BRAND, open, operator: OPERATOR, note: note() });
    }
    w.open(OVER);
    w.open(FIXTURE);
    w.open(LATE);
    w.open(CROWDED);
    let at = |partition| move |customer: &CustomerId| customer.partition(BRAND, PARTITIONS) == partition;
    let owner = FIXTURE.partition(PARTITIONS);
    let home = (1..).map(CustomerId).find(at(owner)).unwrap();
    let afar = (1..).map(CustomerId).find(at(PartitionId(1 - owner.0))).unwrap();
    w.account(home);
    w.account(afar);
    // Fixtures leave, and one bet comes back.
    let gone = w.ticket(home, OVER, WINNER, 0);
    assert_eq!(w.submit(&gone).code, Code::Accepted);
    end(&mut w, OVER);
    for _ in 0..=7200 / MINUTE_S {
        w.now.mono_ns += MINUTE_S * 1_000_000_000;
        w.now.utc_ns += MINUTE_S as i64 * 1_000_000_000;
        let alive_until = At(w.now.utc_ns + 85_000_000_000);
        w.send(SourceFresh { source: SourceId(1), alive_until });
    }
    let bet = w.effects.iter().rev().find_map(|effect| match &effect.body {
        Body::BetArchived(m) => Some(m.clone()),
        _ => None,
    });
    let reopen = common::reopening(w.effects.iter(), &bet.expect("the bet left")).expect("the fixture left");
    w.send(reopen);
    end(&mut w, LATE);
    let accepted = w.ticket(home, FIXTURE, WINNER, 0);
    assert_eq!(w.submit(&accepted).code, Code::Accepted);
    w.send(SetLimit {
        scope: LimitScope::Fixture,
        stage: Stage::PreMatch,
        brand: BrandId(0),
        customer: CustomerId(0),
        fixture: FIXTURE,
        market: MarketKey::new(0, 0),
        selection: SetLimit::EVERY_SELECTION,
        value_minor: 700_000,
        operator: OPERATOR,
        note: note(),
    });
    for _ in 0..=BETS_PER_PIECE {
        let ticket = SubmitTicket { stake: Stake(100), ..w.ticket(home, CROWDED, WINNER, 0) };
        assert_eq!(w.submit(&ticket).code, Code::Accepted);
    }
    let waiting = w.ticket(afar, FIXTURE, WINNER, 1);
    let (fixture, certainty, operator) = (CROWDED, Certainty::Confirmed, OPERATOR);
    let body = SettleFixture { fixture, home: 1, away: 1, certainty, operator };
    let mut frame = Vec::new();
    frame::encode(&Envelope::session(9, Epoch(1), 5), &body.into(), &mut frame);
    w.engine.sequencer.offer(Input::Client { origin: 77, role: Role::Operator, frame });
    w.submit(&waiting);
    // Of the last ticket only what its fixture's owner holds for it, of the match the first bets settled.
    let is_last = |frame: &FrameRef<'_>| [Kind::Reserve as u16, Kind::Settled as u16].contains(&frame.kind());
    let last = w.log.frames().filter(is_last).last().expect("both were asked for").seq();
    let mut engine = Engine::new(9, PARTITIONS, 1);
    for frame in w.log.frames().filter(|frame| frame.seq() <= last) {
        engine.replay(&frame, &frame.body().unwrap(), &mut Vec::new());
    }
    engine
}

#[allow(
    clippy::disallowed_methods,
    reason = "whoever changes an entity asks for new golden files by the environment"
)]
fn golden(name: &str, made: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("TOUCHLINE_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("golden/{name}: {error}"))
}

/// Writes what an export says anew behind its header, with a checksum that fits.
fn sealed(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_le_bytes();
    [&b"TLEXPT\0\x01"[..], &length, &xxh3_128(body).to_le_bytes(), body].concat()
}

/// An export, table by table: a reader of its own, from the byte table alone.
struct Table {
    name: String,
    version: u16,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

type Tables = Vec<(u16, u128, Vec<Table>)>;

fn take<'a>(from: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, rest) = from.split_at(count);
    *from = rest;
    head
}

fn number(from: &mut &[u8], bytes: usize) -> u128 {
    take(from, bytes).iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn parse(export: &[u8]) -> (Vec<u8>, Tables) {
    let from = &mut &export[HEADER..];
    let place = take(from, 64).to_vec();
    let count = number(from, 2);
    let piece = |from: &mut &[u8]| {
        let length = number(from, 4) as usize;
        take(from, length).to_vec()
    };
    let table = |from: &mut &[u8]| {
        let length = number(from, 1) as usize;
        let name = String::from_utf8(take(from, length).to_vec()).unwrap();
        let (version, count) = (number(from, 2) as u16, number(from, 8));
        Table { name, version, entries: (0..count).map(|_| (piece(from), piece(from))).collect() }
    };
    let part = |from: &mut &[u8]| {
        let (partition, fingerprint, count) = (number(from, 2) as u16, number(from, 16), number(from, 2));
        (partition, fingerprint, (0..count).map(|_| table(from)).collect())
    };
    let parts = (0..count).map(|_| part(from)).collect();
    assert!(from.is_empty());
    (place, parts)
}

fn build(place: &[u8], parts: &Tables) -> Vec<u8> {
    let mut out = place.to_vec();
    out.extend((parts.len() as u16).to_le_bytes());
    for (partition, fingerprint, tables) in parts {
        out.extend(partition.to_le_bytes());
        out.extend(fingerprint.to_le_bytes());
        out.extend((tables.len() as u16).to_le_bytes());
        for Table { name, version, entries } in tables {
            out.push(name.len() as u8);
            out.extend(name.bytes());
            out.extend(version.to_le_bytes());
            out.extend((entries.len() as u64).to_le_bytes());
            for piece in entries.iter().flat_map(|(key, value)| [key, value]) {
                out.extend((piece.len() as u32).to_le_bytes());
                out.extend(piece);
            }
        }
    }
    sealed(&out)
}

#[test]
fn the_bytes_of_an_export_stay_what_they_are() {
    let snapshot = Snapshot::of(&mut state()).unwrap();
    let made = Export::of(snapshot.clone()).unwrap().to_bytes();
    let golden = golden("export-2.bin", &made);
    assert!(made == golden, "an entity's bytes changed: raise its table's version, and add a step");
    let export = Export::read(&golden).unwrap();
    assert_eq!((export.place(), export.fingerprint()), (snapshot.place(), snapshot.fingerprint()));
    for total in export.totals() {
        assert!(total.entities > 0, "the golden export shows nothing of {}", total.name);
    }
    let imported = export.import(STEPS).unwrap();
    assert_eq!((imported.snapshot, imported.converted), (snapshot, Vec::new()));
    // The byte table is what the test's own reader goes by.
    let (place, parts) = parse(&golden);
    assert_eq!(build(&place, &parts), golden);
}

/// Bets of a version that never was, whose contents began with the stake, and whose keys had the ticket first.
fn older(export: &[u8]) -> Vec<u8> {
    let (place, mut parts) = parse(export);
    for bets in parts.iter_mut().flat_map(|(.., tables)| tables).filter(|table| table.name == "bets") {
        bets.version = 0;
        for (key, value) in &mut bets.entries {
            key.rotate_left(BrandId::SIZE);
            let end = value.len() - 1;
            value[..end].rotate_right(Stake::SIZE);
        }
        bets.entries.sort();
    }
    build(&place, &parts)
}

fn step(key: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let (mut key, mut value) = (key.to_vec(), value.to_vec());
    key.rotate_right(BrandId::SIZE);
    let end = value.len().checked_sub(1).filter(|end| *end >= Stake::SIZE).ok_or(Fault::Truncated)?;
    value[..end].rotate_left(Stake::SIZE);
    Ok((key, value))
}

#[test]
fn an_export_of_an_older_version_becomes_the_same_state() {
    let snapshot = Snapshot::of(&mut state()).unwrap();
    let older = golden("export-0.bin", &older(&Export::of(snapshot.clone()).unwrap().to_bytes()));
    let read = || Export::read(&older).unwrap();
    assert_eq!(read().import(STEPS).err(), Some(ExportError::Older("bets".into(), 0)), "no step is known");
    let wrong = Step { table: "bets", from: 0, convert: |key, value| Ok((key.to_vec(), value.to_vec())) };
    assert!(matches!(read().import(&[wrong]).err(), Some(ExportError::State(_))));
    let failing = Step { table: "bets", from: 0, convert: |_, _| Err(Fault::Trailing) };
    let told = ExportError::Entity("bets".into(), Fault::Trailing);
    assert_eq!(read().import(&[failing]).err(), Some(told));
    let imported = read().import(&[Step { table: "bets", from: 0, convert: step }]).unwrap();
    assert_eq!(imported.converted, ["bets"]);
    assert_eq!(imported.snapshot, snapshot, "fingerprint and all");
}

#[test]
fn an_export_from_before_there_were_chores_goes_on() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/export-1.bin");
    let export = Export::read(&std::fs::read(path).unwrap()).unwrap();
    let imported = export.import(STEPS).unwrap();
    assert_eq!(imported.converted, ["chores"]);
    let mut engine = imported.snapshot.engine(1).unwrap();
    let last = engine.sequencer.at();
    let (mut log, mut effects) = (Batch::default(), Vec::new());
    let epoch = NewEpoch { cause: EpochCause::Promote, node: 1, boot: 2 };
    engine.open_epoch(Now { mono_ns: 0, utc_ns: last.0 + 1 }, epoch, &mut log, &mut effects);
    let decided = |body: &Body| matches!(body, Body::Decision(m) if m.code == Code::Accepted);
    assert!(effects.iter().any(|effect| decided(&effect.body)), "the ticket that was under way");
}

#[test]
fn a_table_that_is_new_since_an_export_begins_empty() {
    let mut engine = Engine::new(9, PARTITIONS, 1);
    let w = world();
    w.log.frames().for_each(|frame| engine.replay(&frame, &frame.body().unwrap(), &mut Vec::new()));
    let snapshot = Snapshot::of(&mut engine).unwrap();
    let (place, mut parts) = parse(&Export::of(snapshot.clone()).unwrap().to_bytes());
    parts.iter_mut().for_each(|(.., tables)| tables.retain(|table| table.name != "reopened"));
    let export = Export::read(&build(&place, &parts)).unwrap();
    assert_eq!(export.clone().import(STEPS).err(), Some(ExportError::Older("reopened".into(), 0)));
    let steps = [Step { table: "reopened", from: 0, convert: |_, _| Err(Fault::Trailing) }];
    let imported = export.import(&steps).unwrap();
    assert_eq!((imported.snapshot, imported.converted), (snapshot, vec!["reopened"]));
}

#[test]
fn what_a_later_version_wrote_is_refused_by_name() {
    let bytes = Export::of(Snapshot::of(&mut state()).unwrap()).unwrap().to_bytes();
    let changed = |change: &dyn Fn(&mut Tables)| {
        let (place, mut parts) = parse(&bytes);
        change(&mut parts);
        Export::read(&build(&place, &parts)).unwrap().import(STEPS).err()
    };
    let newer = changed(&|parts| parts[1].2[9].version = 2);
    assert_eq!(newer, Some(ExportError::Newer("bets".into(), 2)));
    let strange =
        changed(&|parts| parts[1].2.push(Table { name: "loans".into(), version: 1, entries: vec![] }));
    assert_eq!(strange, Some(ExportError::Newer("loans".into(), 1)));
    let form = [&b"TLEXPT\0\x02"[..], &bytes[8..]].concat();
    assert_eq!(Export::read(&form), Err(ExportError::Form(2)));
    assert_eq!(Export::read(b"TLSNAP\0\x04, and so on, and so on.."), Err(ExportError::Stranger));
}

#[test]
fn no_damaged_export_becomes_a_state() {
    let bytes = Export::of(Snapshot::of(&mut state()).unwrap()).unwrap().to_bytes();
    for place in (0..bytes.len()).step_by(bytes.len() / 500) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        assert!(Export::read(&flipped).is_err(), "byte {place}");
        assert!(Export::read(&bytes[..place]).is_err(), "cut at {place}");
    }
    // With a checksum that fits there is no panic, and never another state; its place and cluster the log checks.
    let snapshot = Snapshot::of(&mut state()).unwrap();
    for place in (HEADER + 64..bytes.len()).step_by(bytes.len() / 500) {
        let mut body = bytes[HEADER..].to_vec();
        body[place - HEADER] ^= 1 << (place % 8);
        if let Ok(imported) = Export::read(&sealed(&body)).and_then(|export| export.import(STEPS)) {
            assert_eq!(imported.snapshot.fingerprint(), snapshot.fingerprint(), "byte {place}");
        }
    }
}
