//! Leaving memory and coming back: fixtures that are over and their settled bets, each told as an event first.
//!
//! A fixture that is over begins its retention ([`close`]). When that ends, `Retire` goes once round all partitions;
//! its passage flushes every message about the fixture that was on its way, since each partition sends in order. What
//! left is remembered by nobody: a record comes back by its tag, which only a holder of the log's key can make.

use crate::delta::{Change, Context, Delta};
use crate::exposure::Position;
use crate::fixture::Fixture;
use crate::market::{Life, Market, bit};
use crate::operate::{done, done_once, named_markets, new_market, refused, warn};
use crate::partition::Partition;
use crate::results::{Bet, TicketKey};
use crate::retention::{Closing, RETENTION, Retention};
use crate::settlement::{bet_settled, open_again, returned};
use crate::ticket::no_hop;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use touchline_protocol::wire::{Block, Tail};
use touchline_protocol::*;

/// Bets of a partition that may ever have come back: each keeps 26 bytes of what it was.
pub const REOPENED_MAX: usize = 65_536;
/// Second half of the tags' key; the first is the key of the fingerprints.
const TAG_KEY: u64 = 0x7461_6773_206F_6620;

/// Another retention. With the first one, fixtures that are over already begin theirs.
pub(crate) fn set_retention(p: &Partition, ctx: &Context, m: &SetRetention) -> Delta {
    let mut delta = Delta::default();
    let before = p.retention();
    let after = before.map_or(Retention::first(m.retention_ms), |held| held.replaced(m.retention_ms, ctx.at));
    delta.change(Change::Retention(after));
    if before.is_none() {
        let ids: std::collections::BTreeSet<FixtureId> = p.by_source.values().flatten().copied().collect();
        for (id, fixture) in ids.iter().filter_map(|id| p.fixtures.get(id).map(|fixture| (*id, fixture))) {
            if is_over(p, id, fixture.status) {
                begin(p, ctx, id, fixture, &mut delta);
            }
        }
    }
    let changed = before.map_or(0, |held| held.ms) != m.retention_ms;
    done_once(p, &mut delta, ctx, Kind::SetRetention, Code::Accepted, changed);
    delta
}

/// Whether a fixture with this status has nothing left to settle.
fn is_over(p: &Partition, id: FixtureId, status: FixtureStatus) -> bool {
    matches!(status, FixtureStatus::Closed | FixtureStatus::Cancelled)
        && named_markets(p, id, MarketKey::WHOLE_FIXTURE).all(|(_, market)| market.life != Life::Open)
}

/// A settlement closed the last market of a fixture that is over: its retention begins, where there is one.
pub(crate) fn close(p: &Partition, ctx: &Context, id: FixtureId, fixture: &Fixture, delta: &mut Delta) {
    if p.retention().is_some() {
        begin(p, ctx, id, fixture, delta);
    }
}

fn begin(p: &Partition, ctx: &Context, id: FixtureId, fixture: &Fixture, delta: &mut Delta) {
    // Not before its planned start: a report that opens it comes too late then, however often it is sent.
    let since = ctx.at.max(fixture.opened.start_at);
    delta.change(Change::Closing(id, Some(Closing { since, leaving: false })));
    delta.send(p.id, Closed { hop: no_hop(), fixture: id, since });
}

/// Retention ran out. What was opened again in the meantime stays, and begins anew when it closes.
pub(crate) fn archive(p: &Partition, ctx: &Context, m: &Archive) -> Delta {
    let mut delta = Delta::default();
    let held = p.closings.get(&m.fixture).filter(|held| held.since == m.since && !held.leaving);
    let is_due = p.retention().is_some_and(|retention| retention.is_due(m.since, ctx.at));
    if held.is_none() || !is_due {
        return delta;
    }
    let status = p.fixtures.get(&m.fixture).map(|fixture| fixture.status);
    if status.is_some_and(|status| is_over(p, m.fixture, status)) {
        delta.change(Change::Closing(m.fixture, Some(Closing { since: m.since, leaving: true })));
        let to = after(p, p.id);
        delta.send(to, Retire { hop: no_hop(), fixture: m.fixture, to });
    } else {
        delta.change(Change::Closing(m.fixture, None));
    }
    delta
}

/// The next partition of the round.
fn after(p: &Partition, id: PartitionId) -> PartitionId {
    PartitionId((id.0 + 1) % p.rules().genesis.partitions)
}

/// Archives a bet, where it is settled.
pub(crate) fn retire_bet(p: &Partition, ctx: &Context, key: TicketKey, bet: &Bet, delta: &mut Delta) -> bool {
    let Some(payoff) = bet.settled else { return false };
    let mut record = bet_record(key, bet, payoff, ctx.seq);
    record.tag = bet_tag(p, &record);
    delta.event(BetArchived { event: 0, bet: Box::new(record), returned_minor: returned(bet, payoff) });
    delta.change(Change::Leave(key));
    true
}

/// All bets of a fixture that could have left this partition: the next one follows; at the fixture's owner, the last of
/// the round, the fixture itself.
pub(crate) fn retired(p: &Partition, ctx: &Context, m: &Retire, delta: &mut Delta) {
    if p.id == m.fixture.partition(p.rules().genesis.partitions) {
        leave(p, ctx, m.fixture, delta);
    } else {
        let to = after(p, p.id);
        delta.send(to, Retire { hop: no_hop(), fixture: m.fixture, to });
    }
}

/// A defect was caught while bets were leaving: they stay, and the round goes on without them. Where its last station
/// fails the fixture stays, too, and is leaving no more.
pub(crate) fn pass_over(p: &Partition, m: &Retire, delta: &mut Delta) {
    if p.id == m.fixture.partition(p.rules().genesis.partitions) {
        delta.change(Change::Closing(m.fixture, None));
    } else {
        let to = after(p, p.id);
        delta.send(to, Retire { hop: no_hop(), fixture: m.fixture, to });
    }
}

/// The fixture itself leaves, with its markets and the limits set for it.
fn leave(p: &Partition, ctx: &Context, id: FixtureId, delta: &mut Delta) {
    let Some(fixture) = p.fixtures.get(&id) else { return };
    let markets =
        List(Vec::from_iter(named_markets(p, id, MarketKey::WHOLE_FIXTURE).map(|(key, market)| {
            ArchivedMarket { market: key, selections: market.selections() as u8, status: market.status() }
        })));
    let mut record = fixture_record(fixture, ctx.seq);
    let (home, away) = (fixture.opened.home.clone(), fixture.opened.away.clone());
    record.tag = fixture_tag(p, &record, &home, &away, &markets);
    delta.event(FixtureArchived { event: 0, record: Box::new(record), home, away, markets });
    delta.change(Change::Gone(id));
}

/// An operator brings a bet back, by the records of it and of its fixture.
pub(crate) fn reopen(p: &Partition, ctx: &Context, m: &Reopen) -> Delta {
    let mut delta = Delta::default();
    let bet = &m.bet;
    let key = (bet.brand, bet.ticket);
    let genuine =
        bet_tag(p, bet) == bet.tag && fixture_tag(p, &m.record, &m.home, &m.away, &m.markets) == m.record.tag;
    if !genuine {
        refused(&mut delta, ctx, Kind::Reopen, bet.fixture, "its records were never archived by this log");
        return delta;
    }
    if !m.markets.iter().any(|entry| entry.market == bet.market && bet.selection < entry.selections) {
        refused(&mut delta, ctx, Kind::Reopen, bet.fixture, "the fixture's record lacks the bet's market");
        return delta;
    }
    let used = p.reopened.get(&key).map(|used| used.0);
    let code = if p.bets.contains(&key) {
        Code::Accepted
    } else if used.is_some_and(|used| bet.archived <= used) {
        Code::Expired
    } else if !p.accounts.contains(&(bet.brand, bet.customer)) {
        Code::AccountNotFound
    } else if used.is_none() && p.reopened.len() >= REOPENED_MAX {
        Code::Overloaded
    } else {
        bring_back(p, key, m, &mut delta);
        Code::Accepted
    };
    let changed = !delta.changes.is_empty();
    done(&mut delta, ctx, Kind::Reopen, code, changed);
    delta
}

/// The bet is open again, its settlement taken back, and its fixture's owner is told.
fn bring_back(p: &Partition, key: TicketKey, m: &Reopen, delta: &mut Delta) {
    let record = &m.bet;
    let bet = Bet {
        customer: record.customer,
        fixture: record.fixture,
        market: record.market,
        selection: record.selection,
        odds: record.odds,
        stake: record.stake,
        settled: None,
    };
    let paid = returned(&bet, record.payoff);
    delta.change(Change::Used(key, record.archived));
    delta.change(Change::Bet(key, bet));
    delta.change(Change::Settle(key, None, paid.0 - bet.stake.0));
    delta.change(Change::Liability((record.brand, record.customer), bet.liability()));
    delta.event(bet_settled(&key, &bet, record.payoff, paid, true, Certainty::Confirmed));
    let (home, away, markets) = (m.home.clone(), m.away.clone(), m.markets.clone());
    let recall = Recall { hop: no_hop(), bet: record.clone(), record: m.record.clone(), home, away, markets };
    delta.send(record.fixture.partition(p.rules().genesis.partitions), recall);
}

/// A bet is back at its home: its market is opened for it as a rollback would, restored first where it has left.
pub(crate) fn recall(p: &Partition, m: &Recall) -> Delta {
    let mut delta = Delta::default();
    let (id, key) = (m.record.fixture, m.bet.market);
    if p.closings.get(&id).is_some_and(|closing| closing.leaving) {
        // Again once what is leaving has left: the round of it goes on with each of these.
        delta.send(p.id, m.clone());
        return delta;
    }
    let present = p.fixtures.get(&id);
    let fixture = present.cloned().unwrap_or_else(|| restored(m));
    if present.is_none() {
        delta.change(Change::Open(id, Box::new(fixture.clone())));
        delta.shown_fixtures.push(id);
    }
    let mut market = p.markets.get(&(id, key)).cloned();
    let lacks = |entry: &&ArchivedMarket| match present {
        Some(_) => market.is_none() && entry.market == key,
        None => true,
    };
    let missing: Vec<_> = m.markets.iter().filter(lacks).collect();
    for entry in missing {
        let Some(closed) = restored_market(p, fixture.opened.sport, entry) else { continue };
        if entry.market == key {
            market = Some(closed.clone());
        }
        delta.change(Change::OpenMarket(id, entry.market, Box::new(closed)));
        delta.shown_markets.push((id, entry.market));
    }
    let Some(market) = market.filter(|market| usize::from(m.bet.selection) < market.selections()) else {
        warn(&mut delta, id, "a reopened bet has no such selection here: settle it by hand");
        return delta;
    };
    if market.life != Life::Open {
        open_again(&mut delta, id, &fixture, &[(key, &market)], false);
    }
    let position = Position::of(m.bet.odds, m.bet.stake);
    delta.change(Change::Position(id, key, m.bet.selection, position, 1));
    delta
}

impl Partition {
    /// The retention in force; `None` where none was ever set.
    pub(crate) fn retention(&self) -> Option<Retention> {
        self.retention.get(&RETENTION).copied()
    }

    /// How long a fixture that is over stays, milliseconds; 0 keeps everything.
    pub fn retention_ms(&self) -> u64 {
        self.retention().map_or(0, |retention| retention.ms)
    }

    /// Fixtures whose retention has begun.
    pub(crate) fn begun(&self) -> impl Iterator<Item = (FixtureId, At)> {
        let staying = self.closings.iter().filter(|(_, closing)| !closing.leaving);
        staying.map(|(id, closing)| (*id, closing.since))
    }

    /// A bet leaves.
    pub(crate) fn leave(&mut self, key: &TicketKey) {
        let bet = self.bets.remove(key).expect("decide found it");
        let of_fixture = self.bets_by_fixture.get_mut(&bet.fixture).expect("every bet is in it");
        of_fixture.remove(key);
        if of_fixture.is_empty() {
            self.bets_by_fixture.remove(&bet.fixture);
        }
    }

    /// A fixture leaves, and everything that hangs on it.
    pub(crate) fn gone(&mut self, id: FixtureId) {
        let fixture = self.fixtures.remove(&id).expect("decide found it");
        for key in &fixture.markets {
            self.markets.remove(&(id, *key));
        }
        for key in self.limits_by_fixture.remove(&id).unwrap_or_default() {
            self.limits.remove(&key);
        }
        self.closings.remove(&id);
        let source = fixture.opened.source;
        let of_source = self.by_source.get_mut(&source).expect("every fixture is in it");
        of_source.remove(&id);
        if of_source.is_empty() {
            self.by_source.remove(&source);
        }
    }
}

/// A fixture as its record tells, without markets or model.
fn restored(m: &Recall) -> Fixture {
    let r = &m.record;
    let opened = OpenFixture {
        fixture: r.fixture,
        sport: r.sport,
        competition: r.competition,
        tier: r.tier,
        source: r.source,
        start_at: r.start_at,
        margin_ppm: r.margin_ppm,
        best_of: r.best_of,
        home: m.home.clone(),
        away: m.away.clone(),
    };
    Fixture {
        status: r.status,
        result: r.has_result.then_some([r.home, r.away]),
        board: r.board,
        source_seq: r.source_seq,
        ..Fixture::new(opened, bit(Reason::RollbackEvent))
    }
}

/// A closed market as its fixture's record tells, with nothing at stake on it.
fn restored_market(p: &Partition, sport: Sport, entry: &ArchivedMarket) -> Option<Market> {
    let spec = MarketSpec { market: entry.market, selections: entry.selections };
    let mut market = new_market(p, sport, &spec)?;
    market.life = if entry.status == MarketStatus::Settled { Life::Settled } else { Life::Cancelled };
    Some(market)
}

fn bet_record(key: TicketKey, bet: &Bet, payoff: Payoff, archived: Seq) -> ArchivedBet {
    ArchivedBet {
        brand: key.0,
        ticket: key.1,
        customer: bet.customer,
        fixture: bet.fixture,
        market: bet.market,
        selection: bet.selection,
        odds: bet.odds,
        stake: bet.stake,
        payoff,
        archived,
        tag: 0,
    }
}

fn fixture_record(fixture: &Fixture, archived: Seq) -> ArchivedFixture {
    let o = &fixture.opened;
    let [home, away] = fixture.result.unwrap_or_default();
    ArchivedFixture {
        fixture: o.fixture,
        sport: o.sport,
        competition: o.competition,
        tier: o.tier,
        source: o.source,
        start_at: o.start_at,
        margin_ppm: o.margin_ppm,
        best_of: o.best_of,
        status: fixture.status,
        has_result: fixture.result.is_some(),
        home,
        away,
        source_seq: fixture.source_seq,
        board: fixture.board,
        archived,
        tag: 0,
    }
}

/// The tag of a bet's record.
fn bet_tag(p: &Partition, record: &ArchivedBet) -> u128 {
    tag(p, &untagged(1, record))
}

/// The tag of a fixture's record, with its names and markets.
fn fixture_tag(
    p: &Partition,
    record: &ArchivedFixture,
    home: &Text<64>,
    away: &Text<64>,
    markets: &List<ArchivedMarket, 256>,
) -> u128 {
    let mut bytes = untagged(2, record);
    home.put(&mut bytes);
    away.put(&mut bytes);
    markets.put(&mut bytes);
    tag(p, &bytes)
}

/// A record without its tag, behind a byte that tells the two kinds apart.
fn untagged(kind: u8, record: &impl Block) -> Vec<u8> {
    let mut bytes = vec![kind];
    record.put_block(&mut bytes);
    bytes.truncate(bytes.len() - size_of::<u128>());
    bytes
}

/// SipHash-2-4 with 128 bits under the log's key: who does not know the key cannot make it for a record of their own.
fn tag(p: &Partition, bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher24::new_with_keys(p.rules().genesis.fingerprint_key, TAG_KEY);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}
