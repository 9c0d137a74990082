//! How long what is over stays in memory, and which fixtures wait for the end of that time.
//!
//! A fixture's owner tells the log when it closed; sequencer and owner hold the same instant from then on, so that the
//! timer is due at a sequence that any replay finds again.

use crate::fingerprint::{Reader, put};
use crate::table::{Entity, Stored};
use std::collections::{BTreeMap, BTreeSet};
use touchline_protocol::wire::Fault;
use touchline_protocol::{At, FixtureId, Seq};

/// The key of the one retention; before the first `SetRetention` there is none.
pub(crate) const RETENTION: u8 = 0;

/// Time that fixtures stay after they closed, in force from a `SetRetention` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Milliseconds; 0 keeps everything.
    pub ms: u64,
    /// Fixtures planned to start up to this instant may have left under an earlier, shorter retention.
    pub gone_until: At,
}

impl Retention {
    /// What is in force once `ms` replaces this at `at`.
    pub(crate) fn replaced(self, ms: u64, at: At) -> Self {
        Retention { ms, gone_until: self.horizon(at) }
    }

    /// A first retention.
    pub(crate) fn first(ms: u64) -> Self {
        Retention { ms, gone_until: At(i64::MIN) }
    }

    /// Whether what closed at `since` has stayed for long enough.
    pub(crate) fn is_due(self, since: At, at: At) -> bool {
        self.ms > 0 && due(since, self.ms) <= at
    }

    /// The last planned start of which a fixture may have left memory.
    pub(crate) fn horizon(self, at: At) -> At {
        if self.ms == 0 { self.gone_until } else { self.gone_until.max(At(at.0.saturating_sub(ns(self.ms)))) }
    }
}

/// The instant at which what closed at `since` has stayed for so many milliseconds.
fn due(since: At, ms: u64) -> At {
    At(since.0.saturating_add(ns(ms)))
}

fn ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

impl Entity for Retention {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.ms, out);
        put(&self.gone_until, out);
    }
}

impl<K> Stored<K> for Retention {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Retention { ms: from.field()?, gone_until: from.field()? })
    }
}

/// A fixture that closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// When: the later of its last settlement and its planned start.
    pub since: At,
    /// Whether its bets are leaving: from then on nothing opens it again but a `Recall`, after it has left.
    pub leaving: bool,
}

impl Entity for Closing {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.since, out);
        put(&self.leaving, out);
    }
}

impl<K> Stored<K> for Closing {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Closing { since: from.field()?, leaving: from.field()? })
    }
}

/// The sequence of the archived record that a bet last came back from: that record and older ones are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used(pub(crate) Seq);

impl Entity for Used {
    fn bytes(&self, out: &mut Vec<u8>) {
        put(&self.0, out);
    }
}

impl<K> Stored<K> for Used {
    fn read(_: &K, from: &mut Reader<'_>) -> Result<Self, Fault> {
        from.field().map(Used)
    }
}

/// Fixtures by the instant that their retention began: the sequencer's timers.
#[derive(Default)]
pub(crate) struct Timers {
    ms: u64,
    since: BTreeMap<FixtureId, At>,
    order: BTreeSet<(At, FixtureId)>,
}

impl Timers {
    /// Retention changed.
    pub(crate) fn retain(&mut self, ms: u64) {
        self.ms = ms;
    }

    /// A fixture's retention begins, in place of an earlier one.
    pub(crate) fn begin(&mut self, fixture: FixtureId, since: At) {
        if let Some(before) = self.since.insert(fixture, since) {
            self.order.remove(&(before, fixture));
        }
        self.order.insert((since, fixture));
    }

    /// The end of a retention was logged.
    pub(crate) fn end(&mut self, fixture: FixtureId, since: At) {
        if self.since.get(&fixture) == Some(&since) {
            self.since.remove(&fixture);
            self.order.remove(&(since, fixture));
        }
    }

    /// The fixture whose retention ends first, where it has.
    pub(crate) fn due(&self, at: At) -> Option<(FixtureId, At)> {
        let (since, fixture) = self.order.first()?;
        (self.next()? <= at).then_some((*fixture, *since))
    }

    /// When the next retention ends.
    pub(crate) fn next(&self) -> Option<At> {
        let (since, _) = self.order.first()?;
        (self.ms > 0).then_some(due(*since, self.ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn timers_are_due_in_order_and_each_once() {
        let mut timers = Timers::default();
        let (first, second) = (FixtureId(9), FixtureId(3));
        timers.begin(first, At(10 * MS));
        timers.begin(second, At(30 * MS));
        assert_eq!(timers.due(At(i64::MAX)), None, "without a retention everything stays");
        timers.retain(5);
        assert_eq!(timers.next(), Some(At(15 * MS)));
        assert_eq!(timers.due(At(15 * MS - 1)), None);
        assert_eq!(timers.due(At(15 * MS)), Some((first, At(10 * MS))));
        timers.begin(first, At(40 * MS));
        assert_eq!(timers.due(At(i64::MAX)), Some((second, At(30 * MS))), "it closed again later");
        timers.end(second, At(29 * MS));
        timers.end(second, At(30 * MS));
        assert_eq!(timers.due(At(i64::MAX)), Some((first, At(40 * MS))));
        timers.end(first, At(40 * MS));
        assert!(timers.since.is_empty() && timers.order.is_empty());
    }

    #[test]
    fn what_left_under_a_shorter_retention_stays_gone() {
        let short = Retention::first(10);
        assert!(short.is_due(At(0), At(10 * MS)) && !short.is_due(At(0), At(10 * MS - 1)));
        let long = short.replaced(1000, At(50 * MS));
        assert_eq!(long.horizon(At(60 * MS)), At(40 * MS));
        let none = long.replaced(0, At(2000 * MS));
        assert_eq!(none.horizon(At(i64::MAX)), At(1000 * MS));
        assert!(!none.is_due(At(0), At(i64::MAX)));
    }
}
