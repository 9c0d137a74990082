//! Messages for all bets of a fixture, which partitions with many of them do piece by piece.

use super::{Auditor, Key};
use crate::market::returned;
use crate::tickets::winnings;
use std::collections::BTreeSet;
use std::ops::Bound;
use touchline_protocol::*;

/// Bets that change in one piece, and bets looked at.
const CHANGED: usize = 16;
const LOOKED_AT: usize = 256;

/// What a partition still has to do for a message.
pub(super) struct Chore {
    fixture: FixtureId,
    message: Body,
    /// The last bet done with.
    done: Option<Key>,
    pieces: u64,
    /// Bets accepted or reopened since the message came.
    later: BTreeSet<Key>,
}

impl Auditor {
    /// A message came to one partition, or to all.
    pub(super) fn for_all_bets(&mut self, e: &Envelope, fixture: FixtureId, message: Body, partitions: u16) {
        let homes =
            if e.partition == PartitionId::ALL { 0..partitions } else { e.partition.0..e.partition.0 + 1 };
        for home in homes.map(PartitionId) {
            let message = message.clone();
            let mut chore = Chore { fixture, message, done: None, pieces: 0, later: BTreeSet::new() };
            let mut there = self.chores.range((home, Seq(0))..=(home, Seq(u64::MAX)));
            let waits = there.any(|(_, other)| other.fixture == fixture);
            if waits || !self.piece(e, home, &mut chore, partitions) {
                self.chores.insert((home, e.seq), chore);
            }
        }
    }

    /// The core has a defect where a message comes: nothing of it is done with yet.
    pub(super) fn put_off(&mut self, e: &Envelope, fixture: FixtureId, message: Body, partitions: u16) {
        for home in (0..partitions).map(PartitionId) {
            let message = message.clone();
            let chore = Chore { fixture, message, done: None, pieces: 0, later: BTreeSet::new() };
            self.chores.insert((home, e.seq), chore);
        }
    }

    pub(super) fn work(&mut self, e: &Envelope, m: &Work, partitions: u16) {
        let Some(mut chore) = self.take_due(m) else { return };
        if !self.piece(e, m.to, &mut chore, partitions) {
            self.chores.insert((m.to, m.chore), chore);
        }
    }

    /// The core has a defect at a piece.
    pub(super) fn work_fails(&mut self, e: &Envelope, m: &Work, partitions: u16) -> Option<FixtureId> {
        let mut chore = self.take_due(m)?;
        let fixture = chore.fixture;
        if matches!(chore.message, Body::Retire(_)) {
            self.stays(e.partition, fixture, partitions);
        } else {
            let rest = self.rest(m.to, &chore);
            if rest.len() > CHANGED {
                chore.done = Some(rest[CHANGED - 1]);
                chore.pieces += 1;
                self.chores.insert((m.to, m.chore), chore);
            }
        }
        Some(fixture)
    }

    /// A bet is new: what was said of its fixture before is not about it.
    pub(super) fn is_new(&mut self, home: PartitionId, fixture: FixtureId, key: Key) {
        self.of_fixture.entry((fixture, home)).or_default().insert(key);
        for (_, chore) in self.chores.range_mut((home, Seq(0))..=(home, Seq(u64::MAX))) {
            if chore.fixture == fixture {
                chore.later.insert(key);
            }
        }
    }

    /// The first chore of a partition, where this is its next piece.
    fn take_due(&mut self, m: &Work) -> Option<Chore> {
        let mut there = self.chores.range((m.to, Seq(0))..=(m.to, Seq(u64::MAX)));
        let (place, first) = there.next()?;
        let place = *place;
        if (place.1, first.pieces) != (m.chore, m.piece) {
            return None;
        }
        self.chores.remove(&place)
    }

    /// As many of the bets that a chore still has to look at as may matter now.
    fn rest(&self, home: PartitionId, chore: &Chore) -> Vec<Key> {
        let from = chore.done.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.of_fixture.get(&(chore.fixture, home)).into_iter();
        all.flat_map(|keys| keys.range((from, Bound::Unbounded))).take(LOOKED_AT + 1).copied().collect()
    }

    /// Does a piece; whether it was the last.
    fn piece(&mut self, e: &Envelope, home: PartitionId, chore: &mut Chore, partitions: u16) -> bool {
        let mut changed = 0;
        for (looked_at, key) in self.rest(home, chore).into_iter().enumerate() {
            if looked_at == LOOKED_AT || changed == CHANGED {
                chore.pieces += 1;
                return false;
            }
            changed += usize::from(match &chore.message {
                Body::Settled(m) if !chore.later.contains(&key) => self.settle_bet(m, key),
                Body::Unsettled(m) => self.unsettle_bet(m, key),
                Body::Retire(_) => self.archive_bet(e.seq, home, key),
                _ => false,
            });
            chore.done = Some(key);
        }
        if matches!(chore.message, Body::Retire(_)) {
            self.all_left(e, home, chore.fixture, partitions);
        }
        true
    }

    fn settle_bet(&mut self, m: &Settled, key: Key) -> bool {
        let Some(bet) = self.bets.get_mut(&key).filter(|bet| bet.settled.is_none()) else { return false };
        let of_bet = |result: &&SelectionResult| {
            (result.market, result.selection) == (bet.ticket.market, bet.ticket.selection)
        };
        let Some(payoff) = m.results.iter().find(of_bet).map(|result| result.payoff) else { return false };
        bet.settled = Some(payoff);
        self.profit += bet.ticket.stake.0 - returned(bet.odds, bet.ticket.stake, payoff);
        if let Some(account) = self.book.accounts.get_mut(&(key.0, bet.ticket.customer)) {
            account.open -= winnings(bet.odds, bet.ticket.stake);
        }
        true
    }

    fn unsettle_bet(&mut self, m: &Unsettled, key: Key) -> bool {
        let Some(bet) = self.bets.get_mut(&key) else { return false };
        if !m.markets.iter().any(|entry| entry.market == bet.ticket.market) {
            return false;
        }
        let Some(payoff) = bet.settled.take() else { return false };
        self.profit -= bet.ticket.stake.0 - returned(bet.odds, bet.ticket.stake, payoff);
        if let Some(account) = self.book.accounts.get_mut(&(key.0, bet.ticket.customer)) {
            account.open += winnings(bet.odds, bet.ticket.stake);
        }
        true
    }
}
