//! What leaves memory after retention and what comes back, told by an auditor that forgets nothing.

use super::{Auditor, Bet, Key};
use crate::book::Fixture;
use crate::market::{Decided, Market, STATES, Sums, returned};
use crate::tickets::winnings;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use touchline_protocol::wire::{Field, Tail};
use touchline_protocol::*;

/// Bets of a partition that may ever come back.
const REOPENED_MAX: usize = 65_536;

/// Retention, and what left under it.
#[derive(Default)]
pub(super) struct Archived {
    /// Milliseconds in force, and the last planned start of which fixtures may have left before.
    retention: Option<(u64, i64)>,
    /// Fixtures that closed: when, and whether they are leaving.
    closed: BTreeMap<FixtureId, (At, bool)>,
    bets: BTreeMap<(Key, Seq), Bet>,
    fixtures: BTreeSet<(FixtureId, Seq)>,
    used: BTreeMap<Key, Seq>,
}

impl Archived {
    /// Whether a fixture planned to start then may have left already.
    pub(super) fn may_have_left(&self, start_at: At, at: At) -> bool {
        self.retention.is_some_and(|retention| start_at.0 <= horizon(retention, at))
    }

    /// Whether a fixture's bets are leaving.
    pub(super) fn is_leaving(&self, fixture: FixtureId) -> bool {
        self.closed.get(&fixture).is_some_and(|(_, leaving)| *leaving)
    }

    /// Bets that left and did not come back.
    pub(super) fn bets(&self) -> impl Iterator<Item = &Bet> {
        let gone =
            self.bets.iter().filter(|((key, seq), _)| self.used.get(key).is_none_or(|used| used < seq));
        gone.map(|(_, bet)| bet)
    }
}

fn horizon((ms, gone_until): (u64, i64), at: At) -> i64 {
    if ms == 0 { gone_until } else { gone_until.max(at.0.saturating_sub(ms as i64 * 1_000_000)) }
}

impl Auditor {
    pub(super) fn set_retention(&mut self, e: &Envelope, m: &SetRetention, partitions: u16) {
        let first = self.archived.retention.is_none();
        let gone_until = self.archived.retention.map_or(i64::MIN, |held| horizon(held, e.at));
        self.archived.retention = Some((m.retention_ms, gone_until));
        if first {
            let ids: Vec<FixtureId> = self.book.fixtures.keys().copied().collect();
            ids.into_iter().for_each(|id| self.closed(e.at, id, partitions));
        }
    }

    fn is_all_over(&self, id: FixtureId) -> bool {
        let over = |fixture: &Fixture| fixture.over() && fixture.markets.values().all(|market| !market.open);
        self.book.fixtures.get(&id).is_some_and(over)
    }

    /// A settlement took effect: where it was the last, the fixture's retention begins.
    pub(super) fn closed(&mut self, at: At, id: FixtureId, partitions: u16) {
        if self.archived.retention.is_none() || !self.is_all_over(id) {
            return;
        }
        let since = At(at.0.max(self.book.fixtures[&id].start_at.0));
        self.archived.closed.insert(id, (since, false));
        let owner = id.partition(partitions);
        self.owe(owner, Closed { hop: Hop { from: owner, number: 0 }, fixture: id, since });
    }

    pub(super) fn archive(&mut self, e: &Envelope, m: &Archive, partitions: u16) {
        let ms = self.archived.retention.map_or(0, |(ms, _)| ms);
        if self.archived.closed.get(&m.fixture) != Some(&(m.since, false))
            || ms == 0
            || e.at.0.saturating_sub(m.since.0) < ms as i64 * 1_000_000
        {
            return;
        }
        if self.is_all_over(m.fixture) {
            self.archived.closed.insert(m.fixture, (m.since, true));
            self.pass_on(e.partition, m.fixture, next(e.partition, partitions));
        } else {
            self.archived.closed.remove(&m.fixture);
        }
    }

    fn pass_on(&mut self, from: PartitionId, fixture: FixtureId, to: PartitionId) {
        self.owe(from, Retire { hop: Hop { from, number: 0 }, fixture, to });
    }

    /// A settled bet leaves; whether it was one.
    pub(super) fn archive_bet(&mut self, seq: Seq, home: PartitionId, key: Key) -> bool {
        if self.bets.get(&key).is_none_or(|bet| bet.settled.is_none()) {
            return false;
        }
        let bet = self.bets.remove(&key).expect("just seen");
        self.of_fixture.entry((bet.ticket.fixture, home)).or_default().remove(&key);
        self.archived.bets.insert((key, seq), bet);
        true
    }

    /// A partition's bets left: the next one's follow, or with the owner's the fixture.
    pub(super) fn all_left(&mut self, e: &Envelope, home: PartitionId, id: FixtureId, partitions: u16) {
        if id.partition(partitions) == home {
            self.book.fixtures.remove(&id);
            self.book.limits.retain(|key, _| key.2 != id);
            self.archived.closed.remove(&id);
            self.archived.fixtures.insert((id, e.seq));
        } else {
            self.pass_on(home, id, next(home, partitions));
        }
    }

    /// A partition failed to let its bets leave.
    pub(super) fn stays(&mut self, home: PartitionId, id: FixtureId, partitions: u16) {
        if id.partition(partitions) == home {
            self.archived.closed.remove(&id);
        } else {
            self.pass_on(home, id, next(home, partitions));
        }
    }

    pub(super) fn reopen(&mut self, e: &Envelope, m: &Reopen, partitions: u16) {
        if self.tag(&bet_bytes(&m.bet)) != m.bet.tag || self.tag(&fixture_bytes(m)) != m.record.tag {
            return;
        }
        let key = (m.bet.brand, m.bet.ticket);
        let place = (key, m.bet.archived);
        let known = self.archived.bets.get(&place).is_some_and(|bet| is_record_of(&m.bet, bet));
        if !known || !self.archived.fixtures.contains(&(m.record.fixture, m.record.archived)) {
            let why = format!("frame {}: a record of {} is tagged that never left", e.seq, m.bet.ticket);
            return self.report.breaches.push(why);
        }
        let has_market =
            m.markets.iter().any(|entry| entry.market == m.bet.market && m.bet.selection < entry.selections);
        let used = self.archived.used.get(&key).copied();
        let there =
            self.archived.used.keys().filter(|(_, ticket)| ticket.home(partitions) == e.partition).count();
        if !has_market
            || self.bets.contains_key(&key)
            || used.is_some_and(|used| m.bet.archived <= used)
            || !self.book.accounts.contains_key(&(m.bet.brand, m.bet.customer))
            || (used.is_none() && there >= REOPENED_MAX)
        {
            return;
        }
        self.archived.used.insert(key, m.bet.archived);
        let bet = self.archived.bets[&place].clone();
        self.profit -= bet.ticket.stake.0 - returned(bet.odds, bet.ticket.stake, m.bet.payoff);
        if let Some(account) = self.book.accounts.get_mut(&(m.bet.brand, m.bet.customer)) {
            account.open += winnings(bet.odds, bet.ticket.stake);
        }
        self.is_new(e.partition, m.bet.fixture, key);
        self.bets.insert(key, Bet { settled: None, ..bet });
        let recall = Recall {
            hop: Hop { from: e.partition, number: 0 },
            bet: m.bet.clone(),
            record: m.record.clone(),
            home: m.home.clone(),
            away: m.away.clone(),
            markets: m.markets.clone(),
        };
        self.owe(e.partition, recall);
    }

    pub(super) fn recall(&mut self, e: &Envelope, m: &Recall, partitions: u16) {
        let (id, key) = (m.record.fixture, m.bet.market);
        if self.archived.is_leaving(id) {
            return self.owe(e.partition, m.clone());
        }
        let present = self.book.fixtures.contains_key(&id);
        let fixture = self.book.fixtures.entry(id).or_insert_with(|| fixture_of(&m.record));
        for entry in m.markets.iter().filter(|entry| !present || entry.market == key) {
            if fixture.markets.contains_key(&entry.market) {
                continue;
            }
            if let Some(market) = Market::new(fixture.sport, entry.market, entry.selections) {
                fixture.markets.insert(entry.market, Market { open: false, ..market });
            }
        }
        fixture.refresh();
        let selection = usize::from(m.bet.selection);
        let Some(market) = fixture.markets.get(&key).filter(|market| selection < market.odds.len()) else {
            return;
        };
        if !market.open {
            self.open_again(id, vec![key], false, e.seq, partitions);
        }
        if let Some(fixture) = self.book.fixtures.get_mut(&id) {
            fixture.stake(key, selection, &Sums::of(m.bet.odds, m.bet.stake), 1);
        }
    }

    /// Opens closed markets as a rollback does.
    pub(super) fn open_again(
        &mut self,
        id: FixtureId,
        keys: Vec<MarketKey>,
        whole: bool,
        seq: Seq,
        partitions: u16,
    ) {
        let Some(fixture) = self.book.fixtures.get_mut(&id) else { return };
        for key in &keys {
            fixture.set_open(*key, true);
            let market = fixture.markets.get_mut(key).expect("just listed");
            market.suspended |= 1 << Reason::RollbackEvent as u8;
            market.mark = (seq, Code::MaterialChange);
            if market.decided != Decided::ByName {
                fixture.result = None;
            }
        }
        if whole {
            fixture.result = None;
        }
        fixture.suspended |= 1 << Reason::RollbackEvent as u8;
        fixture.status = match fixture.board.period {
            _ if fixture.result.is_some() => FixtureStatus::Ended,
            Period::NotStarted => FixtureStatus::NotStarted,
            Period::Ended => FixtureStatus::Ended,
            _ => FixtureStatus::Live,
        };
        fixture.refresh();
        if keys.is_empty() {
            return;
        }
        let owner = id.partition(partitions);
        let markets = List(keys.into_iter().map(|market| MarketEntry { market }).collect());
        self.owe(owner, Unsettled { hop: Hop { from: owner, number: 0 }, fixture: id, markets });
    }

    fn tag(&self, bytes: &[u8]) -> u128 {
        let key = self.genesis.as_ref().map_or(0, |genesis| genesis.fingerprint_key);
        let mut hasher = SipHasher24::new_with_keys(key, 0x7461_6773_206F_6620);
        hasher.write(bytes);
        hasher.finish128().as_u128()
    }
}

fn next(id: PartitionId, partitions: u16) -> PartitionId {
    PartitionId((id.0 + 1) % partitions)
}

fn is_record_of(record: &ArchivedBet, bet: &Bet) -> bool {
    let t = &bet.ticket;
    (record.customer, record.fixture, record.market, record.selection)
        == (t.customer, t.fixture, t.market, t.selection)
        && (record.odds, record.stake, Some(record.payoff)) == (bet.odds, t.stake, bet.settled)
}

fn fixture_of(r: &ArchivedFixture) -> Fixture {
    Fixture {
        sport: r.sport,
        source: r.source,
        start_at: r.start_at,
        // A fixture without a result was over because it was called off.
        status: if r.has_result { FixtureStatus::Ended } else { FixtureStatus::Cancelled },
        suspended: 1 << Reason::RollbackEvent as u8,
        board: r.board,
        source_seq: r.source_seq,
        result: r.has_result.then_some([r.home, r.away]),
        input: Seq(0),
        sets_to_win: if r.sport == Sport::Tennis { u16::from(r.best_of) / 2 + 1 } else { 0 },
        markets: BTreeMap::new(),
        losses: vec![0; STATES],
        possible: Vec::new(),
        worked_out_for: None,
    }
}

/// What a bet's tag is made of: 1 and the record's fields.
fn bet_bytes(r: &ArchivedBet) -> Vec<u8> {
    let mut out = vec![1];
    r.brand.put(&mut out);
    r.ticket.put(&mut out);
    r.customer.put(&mut out);
    r.fixture.put(&mut out);
    r.market.put(&mut out);
    r.selection.put(&mut out);
    r.odds.put(&mut out);
    r.stake.put(&mut out);
    r.payoff.put(&mut out);
    r.archived.put(&mut out);
    out
}

/// What a fixture's tag is made of: 2, the record's fields, names and markets.
fn fixture_bytes(m: &Reopen) -> Vec<u8> {
    let r = &m.record;
    let mut out = vec![2];
    r.fixture.put(&mut out);
    r.sport.put(&mut out);
    r.competition.put(&mut out);
    r.tier.put(&mut out);
    r.source.put(&mut out);
    r.start_at.put(&mut out);
    r.margin_ppm.put(&mut out);
    r.best_of.put(&mut out);
    r.status.put(&mut out);
    r.has_result.put(&mut out);
    r.home.put(&mut out);
    r.away.put(&mut out);
    r.source_seq.put(&mut out);
    r.board.put(&mut out);
    r.archived.put(&mut out);
    m.home.put(&mut out);
    m.away.put(&mut out);
    m.markets.put(&mut out);
    out
}
