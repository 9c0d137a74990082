//! What a message asks of all bets of a fixture, done some bets in a frame, so that tickets are decided in between.
//!
//! The frame that brings such a message does the first piece. What is left is a *chore*, part of the state: the sequencer is
//! asked for a `Work`, which does the next piece, and so on. Chores are done in the order they came, and whatever comes
//! while its fixture has one waits behind it: the bets see every message whole and in order.

use crate::delta::{Change, Context, Delta};
use crate::fingerprint::{Reader, put};
use crate::partition::Partition;
use crate::results::{Bet, TicketKey};
use crate::spine::{message, put_message};
use crate::table::{Entity, Key, Stored};
use crate::{archive, settlement};
use std::collections::BTreeSet;
use std::ops::Bound;
use touchline_protocol::wire::Fault;
use touchline_protocol::{Body, FixtureId, Seq, Work};

/// Bets that one piece changes, about 2 µs each: where all of 64 partitions do one in a frame they are 1,024.
pub const BETS_PER_PIECE: usize = 16;
/// Bets that one piece looks at, most of which a result of few markets leaves alone.
pub const LOOKS_PER_PIECE: usize = 256;

/// A message that is not done with.
#[derive(Clone)]
pub struct Chore {
    /// `Settled`, `Unsettled` or `Retire`.
    message: Body,
    /// The last bet that it is done with, by their keys.
    done: Option<TicketKey>,
    /// Pieces done.
    pub(crate) pieces: u64,
    /// Bets that came after it, and are none of its business.
    later: BTreeSet<TicketKey>,
}

impl Chore {
    fn new(message: Body) -> Self {
        Chore { message, done: None, pieces: 0, later: BTreeSet::new() }
    }

    /// The fixture, where the message is one that can be a chore.
    fn of(&self) -> Option<FixtureId> {
        match &self.message {
            Body::Settled(m) => Some(m.fixture),
            Body::Unsettled(m) => Some(m.fixture),
            Body::Retire(m) => Some(m.fixture),
            _ => None,
        }
    }

    /// Its fixture.
    pub(crate) fn fixture(&self) -> FixtureId {
        self.of().expect("no other message is a chore")
    }

    /// What it does to a bet, if anything.
    fn touch(&self, p: &Partition, ctx: &Context, key: TicketKey, bet: &Bet, delta: &mut Delta) -> bool {
        match &self.message {
            Body::Settled(m) => !self.later.contains(&key) && settlement::settle(m, key, bet, delta),
            Body::Unsettled(m) => settlement::open_bet(m, key, bet, delta),
            _ => archive::retire_bet(p, ctx, key, bet, delta),
        }
    }

    /// Whether a bet that comes now must be left alone. Only a settlement needs to be told: a bet that is not settled is
    /// none of the others' business anyway.
    fn excludes(&self, bet: &Bet) -> bool {
        let Body::Settled(m) = &self.message else { return false };
        m.fixture == bet.fixture && m.results.iter().any(|result| result.market == bet.market)
    }
}

impl Entity for Chore {
    fn bytes(&self, out: &mut Vec<u8>) {
        put_message(&self.message, out);
        put(&self.pieces, out);
        put(&self.done.is_some(), out);
        self.done.iter().for_each(|key| key.bytes(out));
        put(&(self.later.len() as u32), out);
        self.later.iter().for_each(|key| key.bytes(out));
    }
}

impl<K> Stored<K> for Chore {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        let (message, pieces) = (message(from)?, from.field()?);
        let is_begun: bool = from.field()?;
        let done = is_begun.then(|| TicketKey::read(from)).transpose()?;
        let count = from.field::<u32>()?;
        let later = (0..count).map(|_| TicketKey::read(from)).collect::<Result<_, _>>()?;
        let chore = Chore { message, done, pieces, later };
        chore.of().map(|_| chore).ok_or(Fault::Range("a message that is a chore"))
    }
}

/// A message for all bets of a fixture came: its first piece is done at once, unless its fixture has chores.
pub(crate) fn begin(p: &Partition, ctx: &Context, message: &Body) -> Delta {
    let mut delta = Delta::default();
    let mut chore = Chore::new(message.clone());
    let fixture = chore.fixture();
    if !p.chores.iter().any(|(_, other)| other.fixture() == fixture) {
        chore.done = piece(p, ctx, &chore, &mut delta);
        if chore.done.is_none() {
            end(p, ctx, &chore, &mut delta);
            return delta;
        }
        chore.pieces = 1;
    }
    delta.change(Change::Chore(ctx.seq, Box::new(chore)));
    delta
}

/// The next piece of the first chore. A `Work` that was asked for twice finds it done.
pub(crate) fn work(p: &Partition, ctx: &Context, m: &Work) -> Delta {
    let mut delta = Delta::default();
    let Some(chore) = due(p, m) else { return delta };
    let done = piece(p, ctx, chore, &mut delta);
    if done.is_none() {
        end(p, ctx, chore, &mut delta);
    }
    delta.change(Change::Worked(m.chore, done));
    delta
}

/// A defect was caught in the first piece of a message: it is tried again bit by bit.
pub(crate) fn put_off(ctx: &Context, message: &Body, delta: &mut Delta) -> FixtureId {
    let chore = Chore::new(message.clone());
    let fixture = chore.fixture();
    delta.change(Change::Chore(ctx.seq, Box::new(chore)));
    fixture
}

/// A defect was caught in a piece: its bets stay as they are, and the chore goes on behind them. Bets that were leaving
/// stay all.
pub(crate) fn pass_over(p: &Partition, m: &Work, delta: &mut Delta) -> Option<FixtureId> {
    let chore = due(p, m)?;
    let mut rest = rest(p, chore);
    let last = rest.by_ref().take(BETS_PER_PIECE).last();
    let done = last.copied().filter(|_| rest.next().is_some());
    if let Body::Retire(retire) = &chore.message {
        archive::pass_over(p, retire, delta);
        delta.change(Change::Worked(m.chore, None));
    } else {
        delta.change(Change::Worked(m.chore, done));
    }
    Some(chore.fixture())
}

/// The first chore, where a `Work` is for its next piece.
fn due<'p>(p: &'p Partition, m: &Work) -> Option<&'p Chore> {
    let next = p.next_work()?;
    (next == *m).then(|| p.chores.get(&m.chore))?
}

/// The bets that a chore is not done with.
fn rest<'p>(p: &'p Partition, chore: &Chore) -> impl Iterator<Item = &'p TicketKey> {
    let from = chore.done.map_or(Bound::Unbounded, Bound::Excluded);
    p.bets_by_fixture
        .get(&chore.fixture())
        .into_iter()
        .flat_map(move |keys| keys.range((from, Bound::Unbounded)))
}

/// Does as much as a frame does of a chore: the last bet that it looked at, where there are more.
fn piece(p: &Partition, ctx: &Context, chore: &Chore, delta: &mut Delta) -> Option<TicketKey> {
    let (mut looks, mut touched, mut last) = (0, 0, None);
    for key in rest(p, chore) {
        if looks == LOOKS_PER_PIECE || touched == BETS_PER_PIECE {
            return last;
        }
        let bet = p.bets.get(key).expect("it is listed by its fixture");
        touched += usize::from(chore.touch(p, ctx, *key, bet, delta));
        looks += 1;
        last = Some(*key);
    }
    None
}

/// What follows once every bet was seen.
fn end(p: &Partition, ctx: &Context, chore: &Chore, delta: &mut Delta) {
    if let Body::Retire(m) = &chore.message {
        archive::retired(p, ctx, m, delta);
    }
}

impl Partition {
    /// The `Work` that does the next piece of what is under way here.
    pub(crate) fn next_work(&self) -> Option<Work> {
        if self.chores.is_empty() {
            return None;
        }
        let (chore, first) = self.chores.iter().min_by_key(|(seq, _)| **seq)?;
        Some(Work { to: self.id, chore: *chore, piece: first.pieces })
    }

    /// A piece of a chore is done, up to a bet, or with it the chore.
    pub(crate) fn worked(&mut self, chore: Seq, done: Option<TicketKey>) {
        if done.is_none() {
            self.chores.remove(&chore);
        } else {
            let chore = self.chores.change(&chore).expect("decide found it");
            chore.done = done;
            chore.pieces += 1;
        }
    }

    /// A bet comes: what was said of its market before is not about it.
    pub(crate) fn exclude_from_chores(&mut self, key: TicketKey, bet: &Bet) {
        if self.chores.is_empty() {
            return;
        }
        let excluding = self.chores.iter().filter(|(_, chore)| chore.excludes(bet));
        let ids: Vec<Seq> = excluding.map(|(id, _)| *id).collect();
        for id in ids {
            self.chores.change(&id).expect("just listed").later.insert(key);
        }
    }
}
