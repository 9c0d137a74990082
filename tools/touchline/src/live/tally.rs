//! What clients were told during a run.

use hdrhistogram::Histogram;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use touchline_protocol::{BrandId, Code, Decision, SubmitTicket, TicketId};

/// A ticket that waits for its answer.
pub(crate) struct Waiting {
    /// The ticket, to be sent again by a client that restarts.
    pub ticket: SubmitTicket,
    /// When it was first sent.
    pub sent: Instant,
}

/// Counts and answers.
pub(crate) struct Tally {
    /// Tickets without an answer.
    pub waiting: HashMap<(BrandId, TicketId), Waiting>,
    /// Every first answer.
    pub answers: BTreeMap<(BrandId, TicketId), Decision>,
    /// Decisions by code.
    pub decisions: BTreeMap<Code, u64>,
    /// Refusals by code, those included that were tried again.
    pub refused: BTreeMap<Code, u64>,
    /// Tickets that were refused for good.
    pub given_up: u64,
    /// A refusal's own words, by code.
    pub refusal_notes: BTreeMap<Code, String>,
    /// Prices told.
    pub odds_updates: u64,
    /// Answers that were asked for again.
    pub asked_again: u64,
    /// Repeated answers that differ from the first.
    pub changed_answers: Vec<TicketId>,
    /// From sending to the decision, microseconds.
    pub latency_us: Histogram<u64>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        // From 1 µs to an hour in three digits.
        let latency_us = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order");
        Tally {
            waiting: HashMap::new(),
            answers: BTreeMap::new(),
            decisions: BTreeMap::new(),
            refused: BTreeMap::new(),
            given_up: 0,
            refusal_notes: BTreeMap::new(),
            odds_updates: 0,
            asked_again: 0,
            changed_answers: Vec::new(),
            latency_us,
        }
    }

    /// A ticket goes out.
    pub(crate) fn sent(&mut self, ticket: &SubmitTicket) {
        let waiting = Waiting { ticket: ticket.clone(), sent: Instant::now() };
        self.waiting.insert((ticket.brand, ticket.ticket), waiting);
    }

    /// A decision came.
    pub(crate) fn decided(&mut self, decision: Decision) {
        let key = (decision.brand, decision.ticket);
        if let Some(first) = self.answers.get(&key) {
            if *first != decision {
                self.changed_answers.push(decision.ticket);
            }
            return;
        }
        if let Some(waiting) = self.waiting.remove(&key) {
            self.latency_us.saturating_record(micros(waiting.sent.elapsed()));
        }
        *self.decisions.entry(decision.code).or_default() += 1;
        self.answers.insert(key, decision);
    }

    /// A refusal came; `for_good` where it is not tried again.
    pub(crate) fn refused(&mut self, m: &touchline_protocol::Refused, for_good: bool) {
        *self.refused.entry(m.code).or_default() += 1;
        self.refusal_notes.entry(m.code).or_insert_with(|| m.note.as_str().to_owned());
        if for_good && self.waiting.remove(&(m.brand, m.ticket)).is_some() {
            self.given_up += 1;
        }
    }

    /// Bets accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.decisions.get(&Code::Accepted).copied().unwrap_or(0)
    }

    /// Bets rejected.
    pub(crate) fn rejected(&self) -> u64 {
        self.decisions.values().sum::<u64>() - self.accepted()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
