//! A partition: state with one writer, changed by frames alone.
//!
//! `apply` is `decide`, which reads state and computes a [`Delta`], then `evolve`, which stores it. A panic in
//! `decide` is a defect: it is caught, answered with INTERNAL, and suspends the fixture; state is untouched.

use crate::account::Account;
use crate::chores::Chore;
use crate::delta::{Change, Context, Delta};
use crate::effect::{Audience, Effect};
use crate::exposure::ScoreMap;
use crate::fixed_map::FixedMap;
use crate::fixture::Fixture;
use crate::limits::{Limit, LimitKey};
use crate::market::{Life, Market, Results};
use crate::results::{Bet, BetsByFixture, Hold, Pending, Resolved, ResultTable, TicketKey};
use crate::retention::{Closing, RETENTION, Retention, Used};
use crate::rules::Rules;
use crate::spine::{Flag, Promise, SPINE, Spine};
use crate::table::Table;
use crate::{archive, chores, feed, operate, poison, settlement, ticket};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use touchline_pricing::markets::Market as Shape;
use touchline_protocol::{
    Alarm, At, Attest, Body, BrandId, CustomerId, FixtureId, FixtureState, FrameRef, Hop, MarketKey,
    MarketOdds, Money, PartitionId, Seq, Severity, SourceId, Text, Work,
};

/// A partition's state.
pub struct Partition {
    pub(crate) id: PartitionId,
    pub(crate) spine: Table<u8, Spine>,
    pub(crate) books: Table<BrandId, Flag>,
    pub(crate) sources: Table<SourceId, Promise>,
    pub(crate) accounts: Table<(BrandId, CustomerId), Account>,
    pub(crate) limits: Table<LimitKey, Limit>,
    pub(crate) fixtures: Table<FixtureId, Fixture>,
    pub(crate) markets: Table<(FixtureId, MarketKey), Market>,
    pub(crate) results: ResultTable,
    pub(crate) pending: Table<TicketKey, Pending>,
    pub(crate) bets: Table<TicketKey, Bet>,
    pub(crate) holds: Table<TicketKey, Hold>,
    pub(crate) retention: Table<u8, Retention>,
    pub(crate) closings: Table<FixtureId, Closing>,
    pub(crate) reopened: Table<TicketKey, Used>,
    /// Each by the sequence of the frame that brought it.
    pub(crate) chores: Table<Seq, Chore>,
    // Derived from the above, never hashed.
    pub(crate) by_source: BTreeMap<SourceId, BTreeSet<FixtureId>>,
    pub(crate) bets_by_fixture: BetsByFixture,
    pub(crate) limits_by_fixture: BTreeMap<FixtureId, BTreeSet<LimitKey>>,
    pub(crate) score_maps: FixedMap<MarketKey, Arc<ScoreMap>>,
    /// Messages at the front of the outbox that were already offered to the sequencer.
    offered: usize,
    /// The last `Work` that the sequencer was asked for.
    asked: Option<Work>,
    /// Whether an `Attest` disagreed with this state.
    diverged: bool,
}

impl Partition {
    /// A partition before genesis. Everything but genesis is meaningless to it.
    pub fn new(id: PartitionId) -> Self {
        Partition {
            id,
            spine: Table::new(0),
            books: Table::new(1),
            sources: Table::new(2),
            accounts: Table::new(3),
            limits: Table::new(4),
            fixtures: Table::new(5),
            markets: Table::new(6),
            results: ResultTable::new(7),
            pending: Table::new(8),
            bets: Table::new(9),
            holds: Table::new(10),
            retention: Table::new(11),
            closings: Table::new(12),
            reopened: Table::new(13),
            chores: Table::new(14),
            by_source: BTreeMap::new(),
            bets_by_fixture: BetsByFixture::default(),
            limits_by_fixture: BTreeMap::new(),
            score_maps: FixedMap::default(),
            offered: 0,
            asked: None,
            diverged: false,
        }
    }

    /// Applies a frame that is meant for this partition, or was sent by it.
    pub fn apply(&mut self, frame: &FrameRef<'_>, body: &Body, out: &mut Vec<Effect>) {
        let envelope = frame.envelope();
        let ctx = Context {
            seq: envelope.seq,
            at: envelope.at,
            origin: envelope.origin,
            request: envelope.request,
        };
        if let Body::Genesis(genesis) = body {
            return self.genesis(genesis.clone());
        }
        if let Some(hop) = body.hop() {
            if hop.from == self.id {
                self.sequenced(body);
            }
            if envelope.partition != PartitionId::ALL && envelope.partition != self.id {
                return;
            }
            self.received(hop, envelope.partition == PartitionId::ALL);
        }
        if let Body::Attest(attest) = body {
            return self.attest(attest, &ctx, out);
        }
        let decided = catch_unwind(AssertUnwindSafe(|| self.decide(&ctx, body)));
        let delta = decided.unwrap_or_else(|_| ticket::defect(self, &ctx, body));
        self.evolve(&ctx, delta, out);
    }

    /// Computes what a frame changes. Reads only.
    fn decide(&self, ctx: &Context, body: &Body) -> Delta {
        poison::taste(body);
        match body {
            Body::SubmitTicket(m) => ticket::submit(self, ctx, m),
            Body::Reserve(m) => ticket::reserve(self, ctx, m),
            Body::Reserved(m) => ticket::reserved(self, ctx, m),
            Body::Confirm(m) => ticket::confirm(m),
            Body::Rollback(m) => ticket::rollback(self, m),
            Body::Publish(m) => feed::publish(self, ctx, m),
            Body::PriceVerdict(m) => feed::verdict(self, m),
            Body::Settled(_) | Body::Unsettled(_) | Body::Retire(_) => chores::begin(self, ctx, body),
            Body::Work(m) => chores::work(self, ctx, m),
            Body::Incident(m) => feed::incident(self, ctx, m),
            Body::SourceFresh(m) => feed::source_fresh(self, ctx, m),
            Body::SourceExpired(m) => feed::source_expired(self, ctx, m),
            Body::NewEpoch(m) => feed::new_epoch(self, ctx, m),
            Body::SetReference(m) => feed::set_reference(self, ctx, m),
            Body::SetIntensities(m) => feed::set_intensities(self, ctx, m),
            Body::OpenFixture(m) => operate::open_fixture(self, ctx, m),
            Body::OpenMarkets(m) => operate::open_markets(self, ctx, m),
            Body::OpenAccount(m) => operate::open_account(self, ctx, m),
            Body::SetAccountStatus(m) => operate::set_account_status(self, ctx, m),
            Body::SetBook(m) => operate::set_book(self, ctx, m),
            Body::Configure(m) => operate::configure(self, ctx, m),
            Body::Activate(m) => operate::activate(self, ctx, m),
            Body::Suspend(m) => operate::suspend(self, ctx, m),
            Body::SetLimit(m) => operate::set_limit(self, ctx, m),
            Body::SetPrices(m) => operate::set_prices(self, ctx, m),
            Body::SettleFixture(m) => settlement::settle_fixture(self, ctx, m),
            Body::SettleMarket(m) => settlement::settle_market(self, ctx, m),
            Body::VoidMarket(m) => settlement::void(self, ctx, m),
            Body::RollbackSettlement(m) => settlement::roll_back(self, ctx, m),
            Body::SetRetention(m) => archive::set_retention(self, ctx, m),
            Body::Archive(m) => archive::archive(self, ctx, m),
            Body::Reopen(m) => archive::reopen(self, ctx, m),
            Body::Recall(m) => archive::recall(self, m),
            // `Closed` is the sequencer's alone. Session messages and effects are never sequenced; genesis and attest are handled before.
            _ => Delta::default(),
        }
    }

    fn genesis(&mut self, genesis: touchline_protocol::Genesis) {
        let partitions = usize::from(genesis.partitions);
        let rules =
            Rules { logic_version: genesis.logic_version, configure: operate::nothing_configured(), genesis };
        let spine = Spine {
            rules,
            sent: vec![1; partitions + 1],
            received: vec![[1; 2]; partitions],
            outbox: VecDeque::new(),
            next_event: 1,
            profit_minor: 0,
        };
        self.spine.put(SPINE, spine);
    }

    fn spine(&self) -> &Spine {
        self.spine.get(&SPINE).expect("genesis comes first")
    }

    pub(crate) fn spine_mut(&mut self) -> &mut Spine {
        self.spine.change(&SPINE).expect("genesis comes first")
    }

    /// Its number.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.spine().rules
    }

    /// Profit of the house over settled bets, minor units.
    pub fn profit_minor(&self) -> i64 {
        self.spine.get(&SPINE).map_or(0, |spine| spine.profit_minor)
    }

    /// Whether a logged attestation disagreed with this state: the node must stop.
    pub fn diverged(&self) -> bool {
        self.diverged
    }

    /// Whether a brand's book takes bets.
    pub(crate) fn book_open(&self, brand: BrandId) -> bool {
        self.rules().currency(brand).is_some() && self.books.get(&brand).is_none_or(|flag| flag.0)
    }

    /// The last instant that a source's promise covers; `None` where it never made one.
    pub(crate) fn alive_until(&self, source: SourceId) -> Option<At> {
        self.sources.get(&source).map(|promise| promise.0)
    }

    /// Promises of sources that have not run out, as far as the log says.
    pub(crate) fn promises(&self) -> impl Iterator<Item = (SourceId, At)> {
        self.sources.iter().map(|(source, promise)| (*source, promise.0))
    }

    /// The next number of a partition's messages to this one, and of its messages to all.
    pub(crate) fn next_from(&self, from: PartitionId) -> [u64; 2] {
        self.spine().received[usize::from(from.0)]
    }

    /// Whether a source's word still holds.
    pub(crate) fn is_fresh(&self, source: SourceId, at: At) -> bool {
        source == SourceId(0) || self.alive_until(source).is_some_and(|until| at <= until)
    }

    /// The shared table of a market by score.
    pub(crate) fn results_of(&self, key: MarketKey, shape: Shape) -> Results {
        match shape {
            Shape::TennisWinner => Results::Sets(shape),
            _ => Results::Score(
                shape,
                self.score_maps.get(&key).cloned().unwrap_or_else(|| ScoreMap::new(shape)),
            ),
        }
    }

    /// Messages not yet offered to the sequencer since this process started, in order, and a `Work` for the next piece of what
    /// is under way here: one at a time, since each is known when the one before is done.
    pub fn offers(&mut self) -> Vec<Body> {
        let Some(spine) = self.spine.get(&SPINE) else { return Vec::new() };
        let mut fresh: Vec<Body> = spine.outbox.iter().skip(self.offered).cloned().collect();
        self.offered += fresh.len();
        if let Some(work) = self.next_work().filter(|work| self.asked.as_ref() != Some(work)) {
            self.asked = Some(work.clone());
            fresh.push(work.into());
        }
        fresh
    }

    /// Makes [`Partition::offers`] return the whole outbox again: after a start or take-over nothing that was
    /// offered before can still be on its way.
    pub fn offer_again(&mut self) {
        self.offered = 0;
        self.asked = None;
    }

    /// An own message came back in the log: it leaves the outbox.
    fn sequenced(&mut self, body: &Body) {
        let spine = self.spine_mut();
        let front = spine.outbox.pop_front();
        assert_eq!(front.as_ref(), Some(body), "the log holds a message that its sender does not have next");
        self.offered = self.offered.saturating_sub(1);
    }

    /// Checks that a message is the next one of its sender; the sequencer lets no other pass.
    fn received(&mut self, hop: Hop, to_all: bool) {
        let next = &mut self.spine_mut().received[usize::from(hop.from.0)][usize::from(to_all)];
        assert_eq!(*next, hop.number, "the log repeats or skips a message between partitions");
        *next += 1;
    }

    /// Stores a delta and emits its effects.
    fn evolve(&mut self, ctx: &Context, delta: Delta, out: &mut Vec<Effect>) {
        for change in delta.changes {
            self.store(ctx, change, out);
        }
        for (to, message) in delta.sends {
            self.enqueue(to, message);
        }
        for (to, body) in delta.effects {
            let body = if to == Audience::Events { self.numbered(body) } else { body };
            out.push(Effect { seq: ctx.seq, partition: self.id, to, body });
        }
        for (fixture, market) in delta.shown_markets {
            self.show_market(ctx, fixture, market, out);
        }
        for fixture in delta.shown_fixtures {
            self.show_fixture(ctx, fixture, out);
        }
    }

    fn store(&mut self, ctx: &Context, change: Change, out: &mut Vec<Effect>) {
        match change {
            Change::Rules(rules) => self.spine_mut().rules = *rules,
            Change::Book(brand, open) => self.books.put(brand, Flag(open)),
            Change::Source(source, Some(until)) => self.sources.put(source, Promise(until)),
            Change::Source(source, None) => {
                self.sources.remove(&source);
            }
            Change::Account(key, account) => self.accounts.put(key, account),
            Change::Liability(key, by) => self.account(&key).open_liability_minor += by,
            Change::Limit(key, limit) => self.set_limit(key, limit),
            Change::Open(id, fixture) => {
                self.by_source.entry(fixture.opened.source).or_default().insert(id);
                self.fixtures.put(id, *fixture);
            }
            Change::OpenMarket(id, key, market) => {
                self.fixture(id).markets.push(key);
                self.derive_from(id, key, &market.results);
                self.markets.put((id, key), *market);
            }
            Change::Board(id, board, source_seq) => {
                let fixture = self.fixture(id);
                fixture.board = board;
                fixture.source_seq = source_seq;
            }
            Change::Status(id, status) => self.fixture(id).status = status,
            Change::Result(id, result) => self.fixture(id).result = result,
            Change::Suspended(id, reasons) => self.fixture(id).suspended = reasons,
            Change::MarketSuspended(id, key, reasons) => self.market(id, key).suspended = reasons,
            Change::Model(id, model) => self.fixture(id).model = model,
            Change::ModelRefused(id, refused) => self.fixture(id).model_refused = refused,
            Change::Input(id) => self.fixture(id).input = ctx.seq,
            Change::Mark(id, key, code) => {
                let market = self.market(id, key);
                market.mark = ctx.seq;
                market.mark_code = code;
            }
            Change::Offered(id, key, odds) => {
                let market = self.market(id, key);
                market.offered = odds;
                market.offered_basis = ctx.seq;
            }
            Change::Odds(id, key, odds) => {
                let market = self.market(id, key);
                market.odds = odds;
                market.version = ctx.seq;
            }
            Change::ByHand(id, key, by_hand) => self.market(id, key).by_hand = by_hand,
            Change::Position(id, key, selection, position, sign) => {
                self.take_position(id, key, selection.into(), &position, sign);
            }
            Change::Life(id, key, life) => self.set_life(id, key, life),
            Change::Hold(key, hold) => self.holds.put(key, hold),
            Change::Release(key) => {
                self.holds.remove(&key);
            }
            Change::Pend(key, pending) => self.pending.put(key, *pending),
            Change::Ask(key, asker) => {
                self.pending.change(&key).expect("decide found it").askers.push(asker);
            }
            Change::Decide(key, decision, content, askers) => {
                self.resolve(ctx, key, *decision, content, &askers, out);
            }
            Change::Bet(key, bet) => {
                self.exclude_from_chores(key, &bet);
                self.bets_by_fixture.entry(bet.fixture).or_default().insert(key);
                self.bets.put(key, bet);
            }
            Change::Settle(key, settled, profit) => {
                self.bets.change(&key).expect("decide found it").settled = settled;
                self.spine_mut().profit_minor += profit;
            }
            Change::Retention(retention) => self.retention.put(RETENTION, retention),
            Change::Closing(id, Some(closing)) => self.closings.put(id, closing),
            Change::Closing(id, None) => {
                self.closings.remove(&id);
            }
            Change::Chore(id, chore) => self.chores.put(id, *chore),
            Change::Worked(id, done) => self.worked(id, done),
            Change::Leave(key) => self.leave(&key),
            Change::Gone(id) => self.gone(id),
            Change::Used(key, archived) => self.reopened.put(key, Used(archived)),
            Change::Expire(oldest_ms) => self.results.expire(oldest_ms),
        }
    }

    fn account(&mut self, key: &(BrandId, CustomerId)) -> &mut Account {
        self.accounts.change(key).expect("decide found it")
    }

    fn fixture(&mut self, id: FixtureId) -> &mut Fixture {
        self.fixtures.change(&id).expect("decide found it")
    }

    fn market(&mut self, id: FixtureId, key: MarketKey) -> &mut Market {
        self.markets.change(&(id, key)).expect("decide found it")
    }

    /// What follows from a market's being there.
    pub(crate) fn derive_from(&mut self, id: FixtureId, key: MarketKey, results: &Results) {
        match results {
            Results::Score(_, map) => {
                self.score_maps.entry(key).or_insert_with(|| Arc::clone(map));
            }
            Results::Sets(_) | Results::Named => self.fixture(id).without_states.push(key),
        }
    }

    fn take_position(
        &mut self,
        id: FixtureId,
        key: MarketKey,
        selection: usize,
        position: &crate::exposure::Position,
        sign: i64,
    ) {
        let market = self.markets.change(&(id, key)).expect("decide found it");
        market.positions[selection].add(position, sign);
        if let (Life::Open, Results::Score(_, map)) = (market.life, &market.results) {
            let fixture = self.fixtures.change(&id).expect("decide found it");
            fixture.least_state = map.add(selection, position, sign, &mut fixture.states);
        }
    }

    /// Settled and void markets do not count in the score states; opened again, they do.
    fn set_life(&mut self, id: FixtureId, key: MarketKey, life: Life) {
        let market = self.market(id, key);
        let sign = i64::from(life == Life::Open) - i64::from(market.life == Life::Open);
        market.life = life;
        if let Results::Score(_, map) = &market.results {
            let (map, positions) = (Arc::clone(map), market.positions.clone());
            let fixture = self.fixture(id);
            for (selection, position) in positions.iter().enumerate() {
                fixture.least_state = map.add(selection, position, sign, &mut fixture.states);
            }
        }
    }

    /// Stores a decision and answers everybody who asked for it.
    fn resolve(
        &mut self,
        ctx: &Context,
        key: TicketKey,
        mut decision: touchline_protocol::Decision,
        content: u64,
        askers: &[(u64, u64)],
        out: &mut Vec<Effect>,
    ) {
        let spine = self.spine_mut();
        decision.event = spine.next_event;
        spine.next_event += 1;
        self.pending.remove(&key);
        for (origin, request) in askers {
            let to = Audience::Asker { origin: *origin, request: *request };
            out.push(Effect { seq: ctx.seq, partition: self.id, to, body: decision.clone().into() });
        }
        out.push(Effect {
            seq: ctx.seq,
            partition: self.id,
            to: Audience::Events,
            body: decision.clone().into(),
        });
        self.results.put(key, Resolved { decision, content });
    }

    /// Gives a message its number and puts it into the outbox.
    fn enqueue(&mut self, to: PartitionId, mut message: Body) {
        let from = self.id;
        let spine = self.spine_mut();
        let all = spine.sent.len() - 1;
        let next = &mut spine.sent[if to == PartitionId::ALL { all } else { usize::from(to.0) }];
        let hop = Hop { from, number: *next };
        *next += 1;
        match &mut message {
            Body::Reserve(m) => m.hop = hop,
            Body::Reserved(m) => m.hop = hop,
            Body::Confirm(m) => m.hop = hop,
            Body::Rollback(m) => m.hop = hop,
            Body::Publish(m) => m.hop = hop,
            Body::PriceVerdict(m) => m.hop = hop,
            Body::Closed(m) => m.hop = hop,
            Body::Retire(m) => m.hop = hop,
            Body::Recall(m) => m.hop = hop,
            Body::Settled(m) => m.hop = hop,
            Body::Unsettled(m) => m.hop = hop,
            other => unreachable!("{:?} is no message between partitions", other.kind()),
        }
        spine.outbox.push_back(message);
    }

    /// Gives an event its number.
    fn numbered(&mut self, mut body: Body) -> Body {
        let spine = self.spine_mut();
        let number = spine.next_event;
        match &mut body {
            Body::BetSettled(m) => m.event = number,
            Body::MarketSettled(m) => m.event = number,
            Body::LimitChanged(m) => m.event = number,
            Body::Alarm(m) => m.event = number,
            Body::BetArchived(m) => m.event = number,
            Body::FixtureArchived(m) => m.event = number,
            other => unreachable!("{:?} is no event", other.kind()),
        }
        spine.next_event += 1;
        body
    }

    fn show_market(&self, ctx: &Context, fixture: FixtureId, key: MarketKey, out: &mut Vec<Effect>) {
        let Some(market) = self.markets.get(&(fixture, key)) else { return };
        let prices = touchline_protocol::List(market.odds.clone());
        let odds =
            MarketOdds { fixture, market: key, status: market.status(), version: market.version, prices };
        out.push(Effect { seq: ctx.seq, partition: self.id, to: Audience::Odds, body: odds.into() });
    }

    fn show_fixture(&self, ctx: &Context, id: FixtureId, out: &mut Vec<Effect>) {
        let Some(body) = self.fixture_state(id) else { return };
        out.push(Effect { seq: ctx.seq, partition: self.id, to: Audience::Odds, body: body.into() });
    }

    /// Everything that subscribers see now, as effects of a sequence: after a start there is no other way to
    /// learn of prices published before it.
    pub fn showcase(&self, seq: Seq) -> Vec<Effect> {
        let ctx = Context { seq, at: At(0), origin: 0, request: 0 };
        let mut out = Vec::new();
        for id in self.by_source.values().flatten() {
            self.show_fixture(&ctx, *id, &mut out);
            for key in self.fixtures.get(id).map(|fixture| fixture.markets.as_slice()).unwrap_or_default() {
                self.show_market(&ctx, *id, *key, &mut out);
            }
        }
        out
    }

    /// The state of a fixture as subscribers see it.
    pub fn fixture_state(&self, id: FixtureId) -> Option<FixtureState> {
        let fixture = self.fixtures.get(&id)?;
        let (worst, bound) = self.worst_loss(id, fixture);
        Some(FixtureState {
            fixture: id,
            status: fixture.status,
            suspended: fixture.suspended,
            board: touchline_protocol::Scoreboard { score: fixture.score(), ..fixture.board },
            worst_minor: Money(worst),
            bound,
        })
    }

    /// Re-hashes what changed since the last mark.
    pub fn fingerprint(&mut self) -> u128 {
        let Some(spine) = self.spine.get(&SPINE) else { return 0 };
        let seed = spine.rules.genesis.fingerprint_key;
        let scratch = &mut Vec::new();
        [
            self.spine.mark(seed, scratch),
            self.books.mark(seed, scratch),
            self.sources.mark(seed, scratch),
            self.accounts.mark(seed, scratch),
            self.limits.mark(seed, scratch),
            self.fixtures.mark(seed, scratch),
            self.markets.mark(seed, scratch),
            self.results.table().mark(seed, scratch),
            self.pending.mark(seed, scratch),
            self.bets.mark(seed, scratch),
            self.holds.mark(seed, scratch),
            self.retention.mark(seed, scratch),
            self.closings.mark(seed, scratch),
            self.reopened.mark(seed, scratch),
            self.chores.mark(seed, scratch),
        ]
        .into_iter()
        .fold(0, u128::wrapping_add)
    }

    /// Flips a bit of the profit behind the fingerprint's back, where there is one: how a simulator plays broken
    /// memory. Nothing decides by the profit, so the log stays what it is. Whether there was one.
    pub fn spoil_profit(&mut self, bit: u32) -> bool {
        let there = self.spine.contains(&SPINE);
        if there {
            self.spine.corrupt(&SPINE, |spine| spine.profit_minor ^= 1 << bit);
        }
        there
    }

    /// Re-hashes everything. `Err` gives the number of entities that changed without a recorded change: memory
    /// or code is broken.
    pub fn full_fingerprint(&mut self) -> Result<u128, usize> {
        let marked = self.fingerprint();
        let Some(spine) = self.spine.get(&SPINE) else { return Ok(0) };
        let seed = spine.rules.genesis.fingerprint_key;
        let scratch = &mut Vec::new();
        let audits = [
            self.spine.audit(seed, scratch),
            self.books.audit(seed, scratch),
            self.sources.audit(seed, scratch),
            self.accounts.audit(seed, scratch),
            self.limits.audit(seed, scratch),
            self.fixtures.audit(seed, scratch),
            self.markets.audit(seed, scratch),
            self.results.entries().audit(seed, scratch),
            self.pending.audit(seed, scratch),
            self.bets.audit(seed, scratch),
            self.holds.audit(seed, scratch),
            self.retention.audit(seed, scratch),
            self.closings.audit(seed, scratch),
            self.reopened.audit(seed, scratch),
            self.chores.audit(seed, scratch),
        ];
        let (sum, odd) = audits
            .into_iter()
            .fold((0u128, 0), |(sum, odd), (more, odd_more)| (sum.wrapping_add(more), odd + odd_more));
        if odd == 0 && sum == marked { Ok(sum) } else { Err(odd.max(1)) }
    }

    /// Compares this partition with what the log attests.
    fn attest(&mut self, attest: &Attest, ctx: &Context, out: &mut Vec<Effect>) {
        let Some(stated) = attest.fingerprints.iter().find(|entry| entry.partition == self.id) else {
            return;
        };
        if attest.covers != Seq(ctx.seq.0 - 1) {
            return;
        }
        let found = self.full_fingerprint();
        if found == Ok(stated.fingerprint) {
            return;
        }
        self.diverged = true;
        let note = format!("partition {}: state differs from the attested fingerprint", self.id.0);
        let alarm =
            Alarm { event: 0, severity: Severity::Critical, fixture: FixtureId(0), note: Text::cut(&note) };
        // Deliberately without an event number: a diverged partition must not change its state further.
        out.push(Effect { seq: ctx.seq, partition: self.id, to: Audience::Events, body: alarm.into() });
    }
}

#[cfg(test)]
mod tests;
