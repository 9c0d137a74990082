//! The witness's client: one petition at a time, repeated until its own answer comes.

use crate::log::Point;
use crate::message::Say;
use crate::register::{Boot, Change, Register};
use crate::settings::Mutation;
use touchline_protocol::Epoch;

/// A petition that has no answer yet.
#[derive(Clone, Debug)]
struct Outstanding {
    incarnation: Boot,
    nonce: u64,
    expected: Epoch,
    at: Point,
    change: Change,
    sent_ns: u64,
}

/// What became of a petition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The configuration that it made.
    Made(Register),
    /// It was refused, or can never be accepted any more.
    Refused(Change),
}

/// The client.
#[derive(Debug, Default)]
pub struct Petitioner {
    /// The witness's incarnation, once it was heard.
    incarnation: Option<Boot>,
    heard_ns: Option<u64>,
    /// The newest own report that was answered.
    echo_ns: u64,
    nonce: u64,
    outstanding: Option<Outstanding>,
}

impl Petitioner {
    /// The change that is asked for.
    pub fn outstanding(&self) -> Option<Change> {
        self.outstanding.as_ref().map(|petition| petition.change)
    }

    /// Whether the witness was heard within a time.
    pub fn heard_within(&self, now_ns: u64, span_ns: u64) -> bool {
        self.heard_ns.is_some_and(|heard_ns| now_ns.saturating_sub(heard_ns) < span_ns)
    }

    /// The witness answered a report in this incarnation; answers to older reports than one already answered are
    /// of an earlier incarnation or say nothing new. A petition to another incarnation is void: the witness that
    /// gets it ignores it. Unless the configuration moved on, it was without effect. A blank witness cannot tell: the one
    /// before it may have accepted, and the peer may know; the petition stays open until there is a register again.
    pub fn hear(
        &mut self,
        now_ns: u64,
        incarnation: Boot,
        echo_ns: u64,
        register: Option<&Register>,
        mutation: Option<Mutation>,
    ) -> Option<Outcome> {
        if echo_ns < self.echo_ns {
            return None;
        }
        self.echo_ns = echo_ns;
        self.incarnation = Some(incarnation);
        self.heard_ns = Some(now_ns);
        let hasty = mutation == Some(Mutation::BlankIsRefusal);
        let known = register.is_some() || hasty;
        let void = self.outstanding.take_if(|petition| petition.incarnation != incarnation && known)?;
        match register {
            Some(register) if register.epoch > void.expected => Some(Outcome::Made(*register)),
            _ => Some(Outcome::Refused(void.change)),
        }
    }

    /// The witness heard last.
    pub fn incarnation(&self) -> Option<Boot> {
        self.incarnation
    }

    /// Whether a message of this incarnation counts: answers of an earlier one may contradict what it was
    /// seeded with since.
    pub fn trusts(&self, incarnation: Boot) -> bool {
        self.incarnation == Some(incarnation)
    }

    /// Asks for a change, where none is asked for and the witness was ever heard.
    pub fn ask(&mut self, now_ns: u64, expected: Epoch, at: Point, change: Change) -> Option<Say> {
        let incarnation = self.incarnation.filter(|_| self.outstanding.is_none())?;
        self.nonce += 1;
        let petition = Outstanding { incarnation, nonce: self.nonce, expected, at, change, sent_ns: now_ns };
        let say = said(&petition);
        self.outstanding = Some(petition);
        Some(say)
    }

    /// The petition again, where its answer is late.
    pub fn repeat(&mut self, now_ns: u64, retry_ns: u64) -> Option<Say> {
        let petition = self.outstanding.as_mut()?;
        if now_ns.saturating_sub(petition.sent_ns) < retry_ns {
            return None;
        }
        petition.sent_ns = now_ns;
        Some(said(petition))
    }

    /// An answer; only that of the outstanding nonce counts.
    pub fn verdict(&mut self, nonce: u64, made: Option<Register>) -> Option<Outcome> {
        let petition = self.outstanding.take_if(|petition| petition.nonce == nonce)?;
        Some(made.map_or(Outcome::Refused(petition.change), Outcome::Made))
    }

    /// A newer configuration than the one that the petition expects is in force: it can only be refused.
    pub fn outdated(&mut self, epoch: Epoch) {
        self.outstanding.take_if(|petition| petition.expected < epoch);
    }

    /// Forgets the petition without its answer: a broken rule.
    pub fn forget(&mut self) {
        self.outstanding = None;
    }
}

fn said(petition: &Outstanding) -> Say {
    let Outstanding { incarnation, nonce, expected, at, change, .. } = *petition;
    Say::Petition { incarnation, nonce, expected, at, change }
}
