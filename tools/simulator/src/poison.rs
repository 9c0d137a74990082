//! Commands at which every core's decision panics, in some seeds: nobody may die of them, and everybody tells the same.

use crate::world::{DESK, World};
use crate::{Fault, Options};
use touchline_core::poison::{self, Poison};
use touchline_protocol::*;

/// Holds the poison of a run in this thread's cores.
pub(crate) struct Poisoned;

impl Poisoned {
    /// Until this is dropped the run's poison is there for every core of this thread.
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        poison::set(of_run(seed, options));
        Poisoned
    }
}

impl Drop for Poisoned {
    fn drop(&mut self) {
        poison::set(None);
    }
}

/// What is poison in a run, if anything.
pub(crate) fn of_run(seed: u64, options: &Options) -> Option<Poison> {
    (seed % 9 == 8 && options.faults.contains(&Fault::Poison)).then_some(is_poison)
}

/// By the content alone, so that it is poison on every node, however often it is asked.
fn is_poison(body: &Body) -> bool {
    match body {
        Body::SubmitTicket(m) => m.ticket.0 % 30 == 0,
        Body::Reserve(m) => m.ticket.0 % 30 == 1,
        Body::Reserved(m) => m.ticket.0 % 30 == 2,
        Body::Incident(m) => m.source_seq % 20 == 7,
        Body::Work(m) => (m.chore.0 + m.piece) % 20 == 13,
        _ => false,
    }
}

impl World {
    /// The desk lets bets be taken again on a match that a defect suspended; whether it did so.
    pub(crate) fn desk_lifts(&mut self, fixture: FixtureId) -> bool {
        let poisoned = of_run(self.seed, &self.options).is_some();
        if !poisoned || !self.random.chance(0.5) {
            return false;
        }
        let (market, reason) = (MarketKey::WHOLE_FIXTURE, Reason::Internal);
        let command = Suspend {
            fixture,
            market,
            reason,
            on: false,
            operator: OperatorId(1),
            note: Text::cut("looked at"),
        };
        self.note(|| format!("desk: {command:?}"));
        self.people[DESK].session.send(command);
        true
    }
}

/// Poison, and nothing else, is told of as a defect.
pub(crate) fn check(
    poison: Option<Poison>,
    frame: &FrameRef<'_>,
    body: &Body,
    caused: &[touchline_core::Effect],
) -> Result<bool, String> {
    let poisoned = poison.is_some_and(|poison| poison(body));
    let told = caused.iter().filter(
        |effect| matches!(&effect.body, Body::Alarm(m) if m.note.as_str().starts_with("a defect was caught")),
    );
    match (poisoned, told.count()) {
        (true, 1) | (false, 0) => Ok(poisoned),
        (_, told) => Err(format!("frame {}: {told} defects are told of, poison: {poisoned}", frame.seq())),
    }
}
