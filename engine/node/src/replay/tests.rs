//! A replay on threads beside its naive twin, the core that applies one frame after the other.

use super::*;
use crate::Config;
use crate::recovery::load_front;
use proptest::prelude::*;
use std::sync::LazyLock;
use touchline_core::{Batch, Input, Now};
use touchline_journal::Tail;
use touchline_journal::simulated::SimStorage;
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const BRAND: BrandId = BrandId(1);
const PARTITIONS: u16 = 64;
const FIXTURES: u64 = 8;
const CUSTOMERS: u64 = 40;
/// More than goes to the threads at once, so that a whole start uses them.
const LOG_BYTES: usize = 3 * BATCH_BYTES;

fn config() -> Config {
    let mut config = Config::standard();
    config.node.segment_mib = 2;
    config
}

fn now(ms: i64) -> Now {
    Now { mono_ns: ms as u64 * 1_000_000, utc_ns: 1_800_000_000_000_000_000 + ms * 1_000_000 }
}

/// A core, what it wrote, and what it says of prices.
struct World {
    engine: Engine,
    log: Batch,
    prices: Vec<(Odds, Seq)>,
    ms: i64,
}

impl World {
    fn send(&mut self, body: impl Into<Body>) {
        self.ms += 1;
        let (mut frame, mut effects) = (Vec::new(), Vec::new());
        encode(&Envelope::session(self.engine.sequencer.cluster(), Epoch(1), 5), &body.into(), &mut frame);
        let input = Input::Client { origin: 77, role: Role::Operator, frame };
        self.engine.input(now(self.ms), input, &mut self.log, &mut effects);
        for effect in effects {
            if let Body::MarketOdds(m) = effect.body
                && let Some(price) = m.prices.first()
            {
                self.prices[m.fixture.0 as usize] = (Odds::decimal(price.milli), m.version);
            }
        }
    }

    fn open(&mut self, fixture: FixtureId) {
        let start_at = At(now(3_600_000).utc_ns);
        let (home, away) = (Text::cut("Home"), Text::cut("Away"));
        let (sport, competition, source) = (Sport::Football, CompetitionId(1), SourceId(0));
        let (tier, margin_ppm, best_of) = (1, 0, 0);
        self.send(OpenFixture {
            fixture,
            sport,
            competition,
            tier,
            source,
            start_at,
            margin_ppm,
            best_of,
            home,
            away,
        });
        let markets = List(vec![MarketSpec { market: MarketKey::new(1, 0), selections: 0 }]);
        self.send(OpenMarkets { fixture, markets });
        self.send(SetIntensities { fixture, home_nano: 1_500_000_000, away_nano: 1_100_000_000 });
    }

    fn submit(&mut self, number: u64) {
        let (customer, fixture) = (CustomerId(1 + number % CUSTOMERS), FixtureId(number / 3 % FIXTURES));
        let (odds, price_version) = self.prices[fixture.0 as usize];
        let issued_ms = (now(self.ms).utc_ns / 1_000_000) as u64;
        self.send(SubmitTicket {
            brand: BRAND,
            ticket: TicketId::new(issued_ms, BRAND, customer, number),
            customer,
            currency: Currency(*b"EUR"),
            channel: 1,
            fixture,
            market: MarketKey::new(1, 0),
            selection: 0,
            odds,
            stake: Stake(100),
            policy: OddsPolicy::Exact,
            tolerance_permille: 0,
            price_version,
        });
    }
}

/// A log of tickets within partitions and across them.
static LOG: LazyLock<Batch> = LazyLock::new(|| {
    let config = config();
    let engine = Engine::new(config.cluster.id, PARTITIONS, 1);
    let prices = vec![(Odds::decimal(1000), Seq(0)); FIXTURES as usize];
    let mut world = World { engine, log: Batch::default(), prices, ms: 0 };
    let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
    world.engine.begin(now(0), config.genesis().unwrap(), epoch, &mut world.log, &mut Vec::new());
    world.send(config.configure().unwrap());
    (0..FIXTURES).for_each(|fixture| world.open(FixtureId(fixture)));
    let currency = Currency(*b"EUR");
    let account = |customer| OpenAccount { brand: BRAND, customer, currency, factor_permille: 1000 };
    (1..=CUSTOMERS).for_each(|customer| world.send(account(CustomerId(customer))));
    for number in 0.. {
        if world.log.bytes.len() > LOG_BYTES {
            break;
        }
        world.submit(number);
    }
    let confirmed = world.log.frames().filter(|frame| frame.kind() == Kind::Confirm as u16).count();
    assert!(confirmed > 300, "{confirmed} tickets were accepted across partitions");
    world.log
});

fn empty(shards: usize) -> Engine {
    Engine::new(config().cluster.id, PARTITIONS, shards)
}

/// Whether two cores are the same now, and write the same from now on.
fn same(mut one: Engine, mut other: Engine) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.fingerprint(), other.fingerprint());
    let go_on = |engine: &mut Engine| {
        let mut log = Batch::default();
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 2 };
        engine.open_epoch(now(10_000_000), epoch, &mut log, &mut Vec::new());
        log.bytes
    };
    prop_assert_eq!(go_on(&mut one), go_on(&mut other));
    prop_assert_eq!(one.fingerprint(), other.fingerprint());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// From any state on, on any number of threads, in batches of any size, up to any frame.
    #[test]
    fn threads_lead_where_one_frame_after_the_other_leads(
        threads in 1..70usize,
        hosts in 1..5usize,
        batch_bytes in prop_oneof![Just(1usize), 1..10_000usize, Just(usize::MAX)],
        from in 1..400usize,
        upto in 0..8_000usize,
    ) {
        let mut naive = empty(1);
        let mut begun = empty(hosts);
        let mut replay = None;
        for (place, frame) in LOG.frames().take(from + upto).enumerate() {
            let body = frame.body().unwrap();
            naive.replay(&frame, &body, &mut Vec::new());
            if place < from {
                begun.replay(&frame, &body, &mut Vec::new());
                continue;
            }
            let begun = || Replay::on(threads, batch_bytes, std::mem::replace(&mut begun, empty(1)));
            replay.get_or_insert_with(begun).push(&frame, &body);
        }
        let found = replay.map_or(begun, Replay::finish);
        prop_assert_eq!(found.shards.len(), hosts);
        same(naive, found)?;
    }

    /// A start on a journal with a byte flipped anywhere, or with everything gone behind it, has the state that the frames which
    /// it took lead to; what was sound before the damage is among them.
    #[test]
    fn a_damaged_journal_leads_to_the_state_of_its_sound_front(place in 0.05..1.0f64, torn: bool, shards in 1..4usize) {
        let (disk, sound) = damaged(place, torn);
        let mut config = config();
        config.node.shards = shards;
        let mut naive: Option<Engine> = None;
        let mut frames = 0;
        let loaded = load_front(disk, &config, &mut |frame| {
            frames += 1;
            naive.get_or_insert_with(|| empty(1)).replay(frame, &frame.body().unwrap(), &mut Vec::new());
        });
        let loaded = loaded.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(loaded.damage.is_some() || loaded.recovered.tail != Tail::Clean);
        prop_assert_eq!((loaded.replayed, frames), (sound, sound));
        same(naive.unwrap(), loaded.engine.unwrap())?;
    }
}

/// The log on a disk, damaged in a group so far into it; the frames before that group.
fn damaged(place: f64, torn: bool) -> (SimStorage, u64) {
    const FRAMES_PER_GROUP: usize = 16;
    let mut writer = load_front(SimStorage::new(), &config(), &mut |_| {}).unwrap().writer;
    let frames: Vec<&[u8]> = LOG.frames().map(|frame| frame.bytes()).collect();
    let groups: Vec<Vec<u8>> = frames.chunks(FRAMES_PER_GROUP).map(<[_]>::concat).collect();
    let spoiled = ((groups.len() as f64 * place) as usize).min(groups.len() - 1);
    let mut spot = 0;
    for (number, group) in groups.iter().enumerate() {
        if number == spoiled {
            spot = writer.position().offset as usize + 100;
        }
        writer.append(group, Seq(0)).unwrap();
    }
    let mut disk = writer.into_storage();
    let mut segment = disk.segment(1).unwrap().to_vec();
    if torn {
        segment[spot..].fill(0);
    } else {
        segment[spot] ^= 1;
    }
    disk.plant(1, segment);
    (disk, (spoiled * FRAMES_PER_GROUP) as u64)
}
