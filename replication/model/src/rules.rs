//! Everything that may happen next, by who does it.

mod both;
mod idle;
mod leading;
mod standby;

use crate::model::Model;
use crate::state::{Id, Role, State};
use crate::step::Step;
use crate::witness;

/// What may follow a state. The order is fixed, so that the index of a successor names it.
pub type Successors = Vec<(Step, State)>;

/// One place where rules are applied: a model, a state, and the node whose turn it is.
struct Turn<'a> {
    model: &'a Model,
    state: &'a State,
    id: Id,
    out: &'a mut Successors,
}

impl Turn<'_> {
    /// Adds a successor: the present state after `change`.
    fn then(&mut self, step: Step, change: impl FnOnce(&mut State)) {
        let mut state = *self.state;
        change(&mut state);
        self.out.push((step, state));
    }
}

/// Fills `out` with all that may happen next.
pub fn successors(model: &Model, state: &State, out: &mut Successors) {
    out.clear();
    for id in Id::BOTH {
        node(&mut Turn { model, state, id, out });
    }
    witness::forget_newest_slot(model, state, out);
    witness::process_requests(model, state, out);
}

fn node(turn: &mut Turn<'_>) {
    let role = turn.state.node(turn.id).role;
    if role == Role::Down {
        both::restart(turn);
        return;
    }
    both::learn_configuration(turn);
    both::flush(turn);
    match role {
        Role::Primary | Role::HandingOver => {
            leading::sequence(turn);
            leading::hear_ack(turn);
            leading::acknowledge(turn);
            leading::abort_during_dual(turn);
            leading::propose_solo(turn);
            leading::start_join(turn);
            leading::abort_join(turn);
            leading::propose_dual(turn);
            leading::propose_handoff(turn);
        }
        Role::Standby | Role::Learner | Role::Sealed => {
            standby::take_frames(turn);
            standby::send_ack(turn);
            standby::propose_promote(turn);
            standby::unseal(turn);
        }
        Role::Idle => {
            idle::become_learner(turn);
            idle::return_to_register(turn);
        }
        Role::Down => unreachable!("handled above"),
    }
    both::crash(turn);
}
