//! What must hold in every state.

use crate::log::Log;
use crate::state::{Id, Role, State};
use std::fmt;

/// An invariant of the protocol that a state breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// "Every acknowledged bet is in the current primary's log at the same sequence" does not hold.
    LostBet {
        /// The primary of the present epoch.
        primary: Id,
        /// What clients were told.
        acknowledged: Log,
        /// What the primary holds.
        log: Log,
    },
    /// "At most one primary per epoch" does not hold.
    TwoPrimaries,
    /// "One payload per (epoch, seq)" and "all replies are identical" do not hold: clients were told of two different
    /// bets at one sequence.
    Contradiction,
}

impl fmt::Display for Violation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::LostBet { primary, acknowledged, log } => {
                write!(
                    to,
                    "the current primary {primary} lost a bet: acknowledged {acknowledged}, its log {log}"
                )
            }
            Violation::TwoPrimaries => to.write_str("two primaries in one epoch"),
            Violation::Contradiction => to.write_str("two different bets were acknowledged at one sequence"),
        }
    }
}

/// The invariant that a state breaks, if it breaks one.
pub fn check(state: &State) -> Option<Violation> {
    if state.contradicted {
        return Some(Violation::Contradiction);
    }
    let leads = |id: &Id| matches!(state.node(*id).role, Role::Primary | Role::HandingOver);
    if Id::BOTH.iter().all(leads) && state.nodes[0].epoch == state.nodes[1].epoch {
        return Some(Violation::TwoPrimaries);
    }
    let present = state.present();
    let primary = state.node(present.primary);
    let current = leads(&present.primary) && primary.epoch == present.epoch;
    (current && !state.acknowledged.begins(primary.log)).then_some(Violation::LostBet {
        primary: present.primary,
        acknowledged: state.acknowledged,
        log: primary.log,
    })
}
