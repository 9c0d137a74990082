//! Random days of betting, decided by the core and by its naive twin: everything must agree.

mod common;

use common::{BRAND, START_NS, World};
use std::collections::BTreeMap;
use touchline_auditor::Auditor;
use touchline_core::snapshot::{Snapshot, SnapshotError};
use touchline_core::{Batch, Effect, Engine, Now};
use touchline_protocol::*;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const MARKETS: [(u16, i32); 7] = [(1, 0), (18, 10), (18, 9), (29, 0), (45, 0), (16, -1), (16, 2)];

struct Day {
    world: World,
    random: Random,
    fixtures: Vec<FixtureId>,
    boards: BTreeMap<FixtureId, (Scoreboard, u64)>,
    old: Vec<SubmitTicket>,
    boot: u128,
    /// Whether fixtures leave memory on this day.
    archives: bool,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut world = World::new(1 + (seed % 3) as usize);
        let fixtures: Vec<FixtureId> = (1..=5).map(|n| FixtureId(n + seed * 100)).collect();
        for fixture in &fixtures {
            world.open(*fixture);
            let spec = |(kind, line)| MarketSpec { market: MarketKey::new(kind, line), selections: 0 };
            let mut markets: Vec<MarketSpec> = MARKETS.map(spec).to_vec();
            markets.push(MarketSpec { market: MarketKey::new(900, 0), selections: 4 });
            world.send(OpenMarkets { fixture: *fixture, markets: List(markets) });
        }
        (1..=12).for_each(|customer| world.account(CustomerId(customer)));
        Day {
            world,
            random: Random(seed),
            fixtures,
            boards: BTreeMap::new(),
            old: Vec::new(),
            boot: 2,
            archives: seed % 2 == 1,
        }
    }

    fn fixture(&mut self) -> FixtureId {
        self.fixtures[self.random.below(self.fixtures.len() as u64) as usize]
    }

    fn market(&mut self) -> MarketKey {
        let all = MARKETS.len() as u64;
        match self.random.below(all + 1) {
            named if named == all => MarketKey::new(900, 0),
            index => MarketKey::new(MARKETS[index as usize].0, MARKETS[index as usize].1),
        }
    }

    fn step(&mut self) {
        if self.archives && self.random.one_in(12) {
            return match self.random.below(5) {
                0 => self.retain(),
                1 => self.settle(),
                2 => self.pass_time(),
                _ => self.reopen(),
            };
        }
        match self.random.below(100) {
            0..70 => self.bet(),
            70..84 => self.incident(),
            84..87 => self.limit(),
            87..90 => self.suspend(),
            90 => self.account_status(),
            91 => self.pass_time(),
            92..94 => self.by_hand(),
            94 | 95 if self.random.one_in(2) => self.settle(),
            94 | 95 => self.model(),
            96 => self.roll_back(),
            97 => self.roll_back(),
            98 if self.random.one_in(2) => self.restart(),
            98 => self.book(),
            _ => self.void(),
        }
    }

    fn bet(&mut self) {
        if self.random.one_in(12) && !self.old.is_empty() {
            let index = self.random.below(self.old.len() as u64) as usize;
            let mut again = self.old[index].clone();
            if self.random.one_in(3) {
                again.stake = Stake(again.stake.0 + 1);
            }
            return self.world.send(again);
        }
        let (fixture, market) = (self.fixture(), self.market());
        let customer = CustomerId(1 + self.random.below(14));
        let has_prices = self.world.effects.iter().any(
            |effect| matches!(&effect.body, Body::MarketOdds(m) if m.fixture == fixture && m.market == market),
        );
        if !has_prices {
            return;
        }
        let selections = self.world.price(fixture, market).0.len() as u64;
        let selection = self.random.below(selections + u64::from(self.random.0.is_multiple_of(20))) as u8;
        let selection_seen = selection.min(selections as u8 - 1);
        let mut ticket = self.world.ticket(customer, fixture, market, selection_seen);
        ticket.selection = selection;
        ticket.stake = Stake([50, 100, 1000, 7777, 60_000, 200_000][self.random.below(6) as usize]);
        ticket.policy = OddsPolicy::ALL[self.random.below(4) as usize];
        if ticket.policy == OddsPolicy::Tolerance {
            ticket.tolerance_permille = self.random.below(200) as u16;
        }
        if self.random.one_in(4) {
            let moved = ticket.odds.milli + self.random.below(300) as u32;
            ticket.odds = Odds::decimal(moved.saturating_sub(150).max(Odds::MIN_MILLI));
        }
        if self.random.one_in(6) {
            ticket.odds = Odds::fraction(4 + self.random.below(9) as u32, 7).expect("in range");
        }
        if self.random.one_in(5) {
            ticket.price_version = Seq(ticket.price_version.0.saturating_sub(self.random.below(30)));
        }
        if self.random.one_in(30) {
            ticket.currency = Currency(*b"USD");
        }
        if self.random.one_in(40) {
            ticket.ticket =
                TicketId::new(START_NS as u64 / 1_000_000 - 90_000_000, BRAND, customer, self.random.next());
        }
        self.old.push(ticket.clone());
        self.world.send(ticket);
    }

    fn incident(&mut self) {
        let fixture = self.fixture();
        let (mut board, seq) = self.boards.get(&fixture).copied().unwrap_or_default();
        let side = self.random.below(2) as usize;
        let event = match self.random.below(10) {
            0..4 => Event::Clock,
            4 | 5 => {
                board.score[side] += 1;
                Event::Goal
            }
            6 => {
                board.reds[side] = (board.reds[side] + 1).min(4);
                Event::RedCard
            }
            7 => Event::PossibleGoal,
            8 => Event::Clear,
            _ => {
                board.score[side] = board.score[side].saturating_sub(1);
                Event::GoalCancelled
            }
        };
        board.period = if board.period == Period::NotStarted { Period::First } else { board.period };
        board.clock_ms = (board.clock_ms + 30_000).min(3_000_000);
        if self.random.one_in(90) {
            board.period = Period::Ended;
        } else if self.random.one_in(20) {
            board.period = Period::ALL[self.random.below(4) as usize];
        }
        let source_seq = if self.random.one_in(15) { seq } else { seq + 1 };
        self.boards.insert(fixture, (board, source_seq.max(seq)));
        let side = if side == 0 { Side::Home } else { Side::Away };
        self.world.send(Incident {
            fixture,
            source: SourceId(1 + u16::from(self.random.one_in(30))),
            source_seq: source_seq.max(1),
            event,
            side,
            board,
        });
    }

    fn limit(&mut self) {
        let scope = LimitScope::ALL[self.random.below(4) as usize];
        let customers = scope == LimitScope::Customer;
        let fixture = if customers { FixtureId(0) } else { self.fixture() };
        let whole = scope == LimitScope::Fixture || customers || self.random.one_in(3);
        let market = if whole { MarketKey::WHOLE_FIXTURE } else { self.market() };
        self.world.send(SetLimit {
            scope,
            stage: Stage::ALL[self.random.below(2) as usize],
            brand: BRAND,
            customer: CustomerId(1 + self.random.below(12)),
            fixture,
            market,
            selection: if whole || self.random.one_in(2) { 255 } else { self.random.below(3) as u8 },
            value_minor: [-1, 0, 500, 20_000, 1_000_000][self.random.below(5) as usize],
            operator: OperatorId(1),
            note: Text::default(),
        });
    }

    fn suspend(&mut self) {
        let market = if self.random.one_in(2) { MarketKey::WHOLE_FIXTURE } else { self.market() };
        let on = self.random.one_in(3);
        let reason = match self.random.below(5) {
            0 if !on => Reason::PriceSanity,
            1 | 2 if !on => Reason::RollbackEvent,
            _ => Reason::Operator,
        };
        let fixture = self.fixture();
        self.world.send(Suspend {
            fixture,
            market,
            reason,
            on,
            operator: OperatorId(1),
            note: Text::default(),
        });
    }

    fn account_status(&mut self) {
        let status = AccountStatus::ALL[self.random.below(6).saturating_sub(3) as usize];
        let customer = CustomerId(1 + self.random.below(14));
        let note = Text::default();
        self.world.send(SetAccountStatus { brand: BRAND, customer, status, operator: OperatorId(1), note });
    }

    fn book(&mut self) {
        let open = !self.random.one_in(4);
        self.world.send(SetBook { brand: BRAND, open, operator: OperatorId(1), note: Text::default() });
        self.world.send(SetBook { brand: BRAND, open: true, operator: OperatorId(1), note: Text::default() });
    }

    fn pass_time(&mut self) {
        let ns = self.random.below(90_000_000_000);
        self.world.now.mono_ns += ns;
        self.world.now.utc_ns += ns as i64;
        if self.random.one_in(3) {
            self.bet();
        }
        let alive_until = At(self.world.now.utc_ns + 60_000_000_000);
        self.world.send(SourceFresh { source: SourceId(1), alive_until });
    }

    fn by_hand(&mut self) {
        let fixture = self.fixture();
        let market = if self.random.one_in(2) { MarketKey::new(900, 0) } else { self.market() };
        let count = if market.kind == 900 { 4 } else { [0, 2, 2, 3][self.random.below(4) as usize] };
        let price = |random: &mut Random| match random.below(4) {
            0 => Odds::fraction(1 + random.below(30) as u32, 7).map_or(Price::NONE, Price::from),
            _ => Price::decimal(1500 + random.below(3000) as u32),
        };
        let prices = List((0..count).map(|_| price(&mut self.random)).collect());
        // Some hand prices were on their way for a while.
        let seen = if self.random.one_in(2) { 0 } else { self.random.below(40) };
        let basis = Seq(self.world.log.last.0.saturating_sub(seen));
        self.world.send(SetPrices { fixture, market, operator: OperatorId(1), basis, prices });
    }

    fn settle(&mut self) {
        let fixture = self.fixture();
        let certainty = Certainty::Confirmed;
        let operator = OperatorId(1);
        if self.random.one_in(2) {
            let selection = self.random.below(5) as u8;
            return self.world.send(SettleMarket {
                fixture,
                market: MarketKey::new(900, 0),
                selection,
                certainty,
                operator,
            });
        }
        let [mut home, mut away] = self.boards.get(&fixture).map_or([0, 0], |(board, _)| board.score);
        if self.random.one_in(3) {
            (home, away) =
                (home + self.random.below(2) as u16, away.saturating_sub(self.random.below(2) as u16));
        }
        self.world.send(SettleFixture { fixture, home, away, certainty, operator });
    }

    fn model(&mut self) {
        let fixture = self.fixture();
        let draw_milli = [3520, 3400, 90_000][self.random.below(3) as usize];
        self.world.send(SetReference {
            fixture,
            home_milli: 2350,
            draw_milli,
            away_milli: 3160,
            total_line: 0,
            over_milli: 0,
            under_milli: 0,
        });
    }

    fn void(&mut self) {
        let market = if self.random.one_in(6) { MarketKey::WHOLE_FIXTURE } else { self.market() };
        let fixture = self.fixture();
        self.world.send(VoidMarket { fixture, market, operator: OperatorId(1), note: Text::default() });
    }

    fn roll_back(&mut self) {
        let market = if self.random.one_in(2) { MarketKey::WHOLE_FIXTURE } else { self.market() };
        let fixture = self.fixture();
        self.world.send(RollbackSettlement {
            fixture,
            market,
            operator: OperatorId(1),
            note: Text::default(),
        });
    }

    /// Some bet that left comes back, by any of its records; or somebody tries to with another stake.
    fn reopen(&mut self) {
        let archived = self.world.effects.iter().filter_map(|effect| match &effect.body {
            Body::BetArchived(m) => Some(m),
            _ => None,
        });
        let archived: Vec<&BetArchived> = archived.collect();
        if archived.is_empty() {
            return;
        }
        let bet = archived[self.random.below(archived.len() as u64) as usize];
        let Some(mut command) = common::reopening(self.world.effects.iter(), bet) else { return };
        if self.random.one_in(5) {
            command.bet.stake = Stake(command.bet.stake.0 + 1);
        }
        self.world.send(command);
    }

    /// Everything is kept, or leaves after seconds; a fixture that left may be opened again, as another match.
    fn retain(&mut self) {
        let retention_ms = [0, 1, 5000, 60_000][self.random.below(4) as usize];
        self.world.send(SetRetention { retention_ms, operator: OperatorId(1), note: Text::default() });
        let fixture = self.fixture();
        self.world.send(OpenFixture {
            fixture,
            sport: Sport::Football,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(1),
            start_at: At(self.world.now.utc_ns),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        });
        let spec = |(kind, line)| MarketSpec { market: MarketKey::new(kind, line), selections: 0 };
        self.world.send(OpenMarkets { fixture, markets: List(MARKETS.map(spec).to_vec()) });
        self.boards.remove(&fixture);
    }

    fn restart(&mut self) {
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: self.boot };
        self.boot += 1;
        let World { engine, log, effects, now, .. } = &mut self.world;
        engine.open_epoch(*now, epoch, log, effects);
    }
}

/// The core's own decisions, in order: each once, as events.
fn decisions(world: &World) -> Vec<&Decision> {
    let events = world.effects.iter().filter(|effect| effect.to == touchline_core::Audience::Events);
    events
        .filter_map(|effect| match &effect.body {
            Body::Decision(m) => Some(m),
            _ => None,
        })
        .collect()
}

#[test]
fn the_core_and_its_naive_twin_agree_on_everything() {
    let cases: u64 = option_env!("TOUCHLINE_CASES").map_or(60, |cases| cases.parse().expect("a number"));
    let mut codes: BTreeMap<Code, u64> = BTreeMap::new();
    let (mut left, mut back) = (0, 0);
    for seed in 0..cases {
        let mut day = Day::new(seed);
        (0..400).for_each(|_| day.step());
        let world = &mut day.world;
        let mut auditor = Auditor::new();
        for frame in world.log.frames() {
            auditor.frame(frame).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let rulings = auditor.take_rulings();
        let decided = decisions(world);
        assert_eq!(rulings.len(), decided.len(), "seed {seed}");
        for (ruling, decision) in rulings.iter().zip(decided) {
            let found =
                (decision.ticket, decision.code, decision.odds, decision.returned_minor.0, decision.decided);
            let due = (ruling.ticket, ruling.code, ruling.odds, ruling.returned_minor, ruling.decided);
            assert_eq!(found, due, "seed {seed}");
            *codes.entry(decision.code).or_default() += 1;
        }
        let report = auditor.report();
        assert_eq!(report.breaches, Vec::<String>::new(), "seed {seed}");
        assert_eq!(report.profit_minor, world.engine.profit_minor(), "seed {seed}");
        for fixture in &day.fixtures {
            let owner = world.engine.partition(fixture.partition(64)).unwrap();
            let state = owner.fixture_state(*fixture);
            left += usize::from(state.is_none());
            assert_eq!(
                state.map(|state| state.worst_minor.0),
                auditor.fixture_worst(*fixture),
                "seed {seed}, fixture {fixture}"
            );
        }
        back += world.log.frames().filter(|frame| frame.kind() == Kind::Recall as u16).count();
        let fingerprint = world.engine.fingerprint().expect("nothing changed unrecorded");
        let mut replayed = Engine::new(9, 64, 4);
        for frame in world.log.frames() {
            replayed.replay(&frame, &frame.body().unwrap(), &mut Vec::new());
        }
        assert_eq!(replayed.fingerprint(), Ok(fingerprint), "seed {seed}");
    }
    println!("{left} fixtures left, {back} bets came back: {codes:?}");
    assert!(left > 10 && back > 10, "{left} {back}");
    // Codes that no random day reaches would be compared by nobody.
    for code in Code::ALL.iter().filter(|code| !code.is_refusal()) {
        let elsewhere = [
            Code::DuplicateConflict,
            Code::Expired,
            Code::Internal,
            Code::JurisdictionBlocked,
            Code::ChannelBlocked,
            Code::FixtureNotFound,
            Code::MarketNotFound,
            Code::FeedStale,
            Code::OddsTooHigh,
            Code::BettingClosed,
        ];
        assert!(elsewhere.contains(code) || codes.contains_key(code), "{code} was never reached: {codes:?}");
    }
}

/// A core that followed the first frames of a log, and the effects of the rest.
fn follow<'l>(engine: &mut Engine, frames: impl Iterator<Item = FrameRef<'l>>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for frame in frames {
        engine.replay(&frame, &frame.body().unwrap(), &mut effects);
    }
    // Partitions of a shard come in its own order; each partition's effects stay in theirs.
    effects.sort_by_key(|effect| (effect.seq, effect.partition));
    effects
}

#[test]
fn a_state_read_back_from_its_snapshot_goes_on_as_the_one_that_was_saved() {
    let mut cut_in_use = 0;
    for seed in 0..12 {
        let mut day = Day::new(seed);
        (0..300).for_each(|_| day.step());
        let (now, log) = (day.world.now, &day.world.log);
        let last = log.frames().count();
        for part in 1..4 {
            let cut = last * part / 4;
            let mut saved = Engine::new(9, 64, 2);
            follow(&mut saved, log.frames().take(cut));
            let snapshot = Snapshot::of(&mut saved).expect("nothing changed unrecorded");
            assert_eq!(snapshot.place().seq, Seq(cut as u64));
            let bytes = snapshot.to_bytes();
            let mut read = Snapshot::read(&bytes).unwrap().engine(1 + part).unwrap();
            assert_eq!(Snapshot::of(&mut read).unwrap().to_bytes(), bytes, "equal states, equal bytes");
            let due = follow(&mut saved, log.frames().skip(cut));
            cut_in_use += due.len();
            assert_eq!(follow(&mut read, log.frames().skip(cut)), due, "seed {seed}, cut at {cut}");
            assert_eq!(read.fingerprint(), saved.fingerprint());
            // The sequencers write the same, too: outboxes again, timers, numbers.
            let epoch = NewEpoch { cause: EpochCause::Promote, node: 1, boot: 99 };
            let written = [&mut saved, &mut read].map(|engine| {
                let mut log = Batch::default();
                let later = Now { mono_ns: now.mono_ns + 1, utc_ns: now.utc_ns + 100_000_000_000 };
                engine.open_epoch(later, epoch.clone(), &mut log, &mut Vec::new());
                log.bytes
            });
            assert_eq!(written[0], written[1], "seed {seed}, cut at {cut}");
        }
    }
    assert!(cut_in_use > 1000);
}

#[test]
fn a_snapshot_that_is_not_what_was_saved_is_refused() {
    let mut day = Day::new(3);
    (0..150).for_each(|_| day.step());
    let bytes = Snapshot::of(&mut day.world.engine).unwrap().to_bytes();
    for place in (0..bytes.len()).step_by(bytes.len() / 1000) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        assert!(Snapshot::read(&flipped).is_err(), "byte {place}");
        assert!(Snapshot::read(&bytes[..place]).is_err(), "cut at {place}");
    }
    // One that a broken program wrote, with a checksum that fits: no panic, and never another state.
    let archive = &bytes[32..];
    let (mut unread, mut odd) = (0, 0);
    for place in (0..archive.len()).step_by(archive.len() / 1000) {
        let mut flipped = archive.to_vec();
        flipped[place] ^= 1 << (place % 8);
        let checksum = xxhash_rust::xxh3::xxh3_128(&flipped);
        let forged = [&bytes[..16], &checksum.to_le_bytes(), &flipped].concat();
        match Snapshot::read(&forged) {
            Err(_) => unread += 1,
            Ok(snapshot) => match snapshot.engine(1) {
                Err(_) => odd += 1,
                // What lies outside the partitions is checked against the log: place, cluster; or it is padding.
                Ok(mut engine) => {
                    let due = day.world.engine.fingerprint().unwrap();
                    assert_eq!(engine.fingerprint(), Ok(due), "byte {place}");
                }
            },
        }
    }
    assert!(unread > 0 && odd > 300, "{unread} {odd}");
    let layout = [&b"TLSNAP\0\x02"[..], &bytes[8..]].concat();
    assert_eq!(Snapshot::read(&layout), Err(SnapshotError::Layout(layout[7])));
}
