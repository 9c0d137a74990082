//! The result table: every decision of the last window, kept by the ticket's home partition.

use crate::fingerprint::{Reader, put};
use crate::fixed_map::FixedMap;
use crate::table::{Entity, Stored, Table};
use std::collections::{BTreeMap, BTreeSet};
use touchline_protocol::wire::{Fault, Field, Message};
use touchline_protocol::{
    BrandId, Code, CustomerId, Decision, FixtureId, MarketKey, Odds, Payoff, Stake, SubmitTicket, TicketId,
};

/// A ticket across brands.
pub type TicketKey = (BrandId, TicketId);

/// A stored decision.
#[derive(Clone)]
pub struct Resolved {
    /// The answer, given again on every retry.
    pub decision: Decision,
    /// Hash of the ticket's content, to tell a retry from a conflict.
    pub content: u64,
}

impl Entity for Resolved {
    fn bytes(&self, out: &mut Vec<u8>) {
        self.decision.put_body(out);
        put(&self.content, out);
    }
}

impl<K> Stored<K> for Resolved {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Resolved { decision: from.message()?, content: from.field()? })
    }
}

/// A ticket that waits for its fixture's owner.
#[derive(Clone)]
pub struct Pending {
    /// The ticket.
    pub ticket: SubmitTicket,
    /// Hash of its content.
    pub content: u64,
    /// Open liability held for it at the customer, minor units.
    pub held_minor: i64,
    /// Who asked: connection and request number.
    pub askers: Vec<(u64, u64)>,
}

/// Askers remembered while a ticket is pending; more retries than this are answered on the next retry.
pub const ASKERS_MAX: usize = 8;

impl Entity for Pending {
    fn bytes(&self, out: &mut Vec<u8>) {
        self.ticket.put_body(out);
        put(&self.content, out);
        put(&self.held_minor, out);
        put(&(self.askers.len() as u16), out);
        for (origin, request) in &self.askers {
            put(origin, out);
            put(request, out);
        }
    }
}

impl<K> Stored<K> for Pending {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        let (ticket, content, held_minor) = (from.message()?, from.field()?, from.field()?);
        let count = from.field::<u16>()?;
        let askers = (0..count).map(|_| Ok((from.field()?, from.field()?))).collect::<Result<_, Fault>>()?;
        Ok(Pending { ticket, content, held_minor, askers })
    }
}

/// An accepted bet.
#[derive(Clone, Copy)]
pub struct Bet {
    /// The customer.
    pub customer: CustomerId,
    /// The fixture.
    pub fixture: FixtureId,
    /// The market.
    pub market: MarketKey,
    /// The selection.
    pub selection: u8,
    /// Odds struck.
    pub odds: Odds,
    /// The stake.
    pub stake: Stake,
    /// Its result, once settled.
    pub settled: Option<Payoff>,
}

impl Bet {
    /// Net winnings if it wins: what it adds to the customer's open liability.
    pub fn liability(&self) -> i64 {
        liability(self.odds, self.stake)
    }
}

/// Net winnings of a stake at odds.
pub fn liability(odds: Odds, stake: Stake) -> i64 {
    odds.returned_won(stake).0 - stake.0
}

impl Entity for Bet {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.customer, out);
        put(&self.fixture, out);
        put(&self.market, out);
        put(&self.selection, out);
        put(&self.odds, out);
        put(&self.stake, out);
        put(&self.settled.map_or(0u8, |payoff| payoff as u8), out);
    }
}

impl<K> Stored<K> for Bet {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Bet {
            customer: from.field()?,
            fixture: from.field()?,
            market: from.field()?,
            selection: from.field()?,
            odds: from.field()?,
            stake: from.field()?,
            settled: match from.field::<u8>()? {
                0 => None,
                payoff => Some(Payoff::get(&[payoff])?),
            },
        })
    }
}

/// Decisions by ticket, and the order in which they leave: by the second of their issue.
///
/// The oldest second leaves as new tickets come, two for each at most: however many decisions a day holds, and however
/// long nobody came, none has to wait until all that is old is gone.
pub struct ResultTable {
    entries: Table<TicketKey, Resolved>,
    by_second: BTreeMap<u64, Vec<TicketKey>>,
}

/// What leaves together, milliseconds of issue.
const SECOND_MS: u64 = 1_000;
/// Seconds that leave at once: more than one, so that what is old becomes less while new ones come as fast as ever.
const SECONDS_AT_ONCE: usize = 2;

impl ResultTable {
    /// An empty table.
    pub fn new(tag: u8) -> Self {
        ResultTable { entries: Table::new(tag), by_second: BTreeMap::new() }
    }

    /// The stored decision.
    pub fn get(&self, key: &TicketKey) -> Option<&Resolved> {
        self.entries.get(key)
    }

    /// Number of decisions stored.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Stores a decision.
    pub fn put(&mut self, key: TicketKey, resolved: Resolved) {
        self.by_second.entry(key.1.issued_ms() / SECOND_MS).or_default().push(key);
        self.entries.put(key, resolved);
    }

    /// Forgets decisions of the oldest seconds that lie wholly before `oldest_ms`; tickets that old get EXPIRED first.
    pub fn expire(&mut self, oldest_ms: u64) {
        for _ in 0..SECONDS_AT_ONCE {
            let oldest = self.by_second.first_entry();
            let Some(second) = oldest.filter(|second| (second.key() + 1) * SECOND_MS <= oldest_ms) else {
                break;
            };
            for key in second.remove() {
                self.entries.remove(&key);
            }
        }
    }

    /// The table of entries, for fingerprints.
    pub(crate) fn table(&mut self) -> &mut Table<TicketKey, Resolved> {
        &mut self.entries
    }

    /// The table of entries, read only.
    pub(crate) fn entries(&self) -> &Table<TicketKey, Resolved> {
        &self.entries
    }
}

/// Liability that a fixture's owner holds for a ticket until its home confirms or rolls back.
#[derive(Clone, Copy)]
pub struct Hold {
    /// The fixture.
    pub fixture: FixtureId,
    /// The market.
    pub market: MarketKey,
    /// The selection.
    pub selection: u8,
    /// Odds to be struck.
    pub odds: Odds,
    /// The stake.
    pub stake: Stake,
}

impl Entity for Hold {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.fixture, out);
        put(&self.market, out);
        put(&self.selection, out);
        put(&self.odds, out);
        put(&self.stake, out);
    }
}

impl<K> Stored<K> for Hold {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Hold {
            fixture: from.field()?,
            market: from.field()?,
            selection: from.field()?,
            odds: from.field()?,
            stake: from.field()?,
        })
    }
}

/// Bets of each fixture, in the order in which they are settled and leave. Derived from the bets; not part of the state's
/// hash.
pub type BetsByFixture = FixedMap<FixtureId, BTreeSet<TicketKey>>;

/// The code of a rejection, stored or passed on.
pub type Failing = Option<Code>;

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::{Body, Kind};

    fn decision(issued_ms: u64) -> (TicketKey, Resolved) {
        let Body::Decision(decision) = Body::sample(Kind::Decision, 0) else {
            panic!("a sample of its kind")
        };
        let ticket = TicketId::new(issued_ms, BrandId(1), CustomerId(1), issued_ms);
        ((BrandId(1), ticket), Resolved { decision, content: issued_ms })
    }

    #[test]
    fn what_is_old_leaves_a_little_with_each_ticket_and_nothing_before_its_time() {
        let mut table = ResultTable::new(1);
        for issued_ms in 0..10_000 {
            let (key, resolved) = decision(issued_ms);
            table.put(key, resolved);
        }
        table.expire(999);
        assert_eq!(table.len(), 10_000, "the first second is not over");
        table.expire(1_000);
        assert_eq!(table.len(), 9_000);
        // A night without tickets: no ticket waits until all that is old has left.
        for left in [7_000, 5_000, 3_000, 1_000, 0, 0] {
            table.expire(50_000);
            assert_eq!(table.len(), left);
        }
        assert!(table.by_second.is_empty());
    }
}
