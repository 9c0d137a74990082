//! One answer for one ticket: every answer in a log against the content that was asked about.

use std::collections::BTreeMap;
use touchline_core::{Audience, Effect};
use touchline_protocol::*;

type Key = (BrandId, TicketId);

/// Tickets and their answers as a log gives them.
#[derive(Default)]
pub(crate) struct Answers {
    /// What each request of each connection asked.
    asked: BTreeMap<(u64, u64), SubmitTicket>,
    first: BTreeMap<Key, (SubmitTicket, Decision)>,
    /// Tickets that were told that their id is another's.
    conflicts: Vec<SubmitTicket>,
}

impl Answers {
    /// A frame of the log.
    pub(crate) fn frame(&mut self, envelope: &Envelope, body: &Body) {
        if let Body::SubmitTicket(m) = body {
            self.asked.insert((envelope.origin, envelope.request), m.clone());
        }
    }

    /// An effect that a frame causes.
    pub(crate) fn effect(&mut self, effect: &Effect) -> Result<(), String> {
        let (Audience::Asker { origin, request }, Body::Decision(decision)) = (&effect.to, &effect.body)
        else {
            return Ok(());
        };
        let Some(asked) = self.asked.get(&(*origin, *request)) else {
            return Err(format!("frame {}: an answer to a request that nobody sent", effect.seq));
        };
        match decision.code {
            Code::Expired => return Ok(()),
            Code::DuplicateConflict => {
                self.conflicts.push(asked.clone());
                return Ok(());
            }
            _ => {}
        }
        let key = (decision.brand, decision.ticket);
        let first = self.first.entry(key).or_insert_with(|| (asked.clone(), decision.clone()));
        if (&first.0, &first.1) == (asked, decision) {
            Ok(())
        } else {
            Err(format!("frame {}: {asked:?} is answered {decision:?}, first it was {first:?}", effect.seq))
        }
    }

    /// A conflict is only what differs from the content that was decided.
    pub(crate) fn check_conflicts(&self) -> Result<(), String> {
        for asked in &self.conflicts {
            match self.first.get(&(asked.brand, asked.ticket)) {
                Some((decided, _)) if decided != asked => {}
                Some(_) => return Err(format!("{} conflicts with itself", asked.ticket)),
                None => return Err(format!("{} conflicts with what was never decided", asked.ticket)),
            }
        }
        Ok(())
    }
}
