//! What any node does whatever its role: learn, flush, crash, start again.

use super::Turn;
use crate::state::{Configuration, Id, Node, Receiver, Role, State};
use crate::step::Step;

/// Models "Every message carries cluster id, sender, boot and the highest epoch its sender knows": a node may hear of
/// any newer content of the register at any time, and may miss those between.
pub(super) fn learn_configuration(turn: &mut Turn<'_>) {
    let (id, state) = (turn.id, turn.state);
    for configuration in state.register.iter().filter(|one| one.epoch > state.node(id).epoch) {
        turn.then(Step::Learn(id, *configuration), |state| adopt(state, id, configuration));
    }
}

/// Models "The primary stops acknowledging at once when it learns a higher epoch" and "Leaving the in-sync set means
/// restart": a node takes the role that a configuration gives its present boot, and is idle if it gives none.
fn adopt(state: &mut State, id: Id, configuration: &Configuration) {
    let node = state.node_mut(id);
    let in_sync = configuration.boot(id) == Some(node.boot);
    let follows = matches!(node.role, Role::Standby | Role::Learner | Role::Sealed | Role::HandingOver);
    node.epoch = configuration.epoch;
    node.pending = None;
    if in_sync && configuration.primary == id {
        lead(node, configuration, id);
        if configuration.is_dual() {
            state.send(id, Receiver::Standby);
        }
    } else {
        let stays = in_sync && follows;
        node.role = if stays { Role::Standby } else { Role::Idle };
        node.dual = stays;
        node.stop_leading();
    }
}

/// Models "widen the acks before widening the configuration": the gate follows the mode, and what a peer acked while
/// it joined counts on, while a primary that is new to its role counts from nothing.
fn lead(node: &mut Node, configuration: &Configuration, id: Id) {
    let dual = configuration.is_dual();
    if node.role != Role::Primary {
        node.committed = 0;
    }
    if node.role != Role::Primary || !dual {
        node.peer_acked = 0;
    }
    node.role = Role::Primary;
    node.dual = dual;
    node.gate = dual;
    node.peer_boot = configuration.boot(id.peer());
}

/// Models "both journals durable, written in parallel": frames become durable some time after they are in memory.
pub(super) fn flush(turn: &mut Turn<'_>) {
    let id = turn.id;
    if !turn.state.node(id).is_flushed() {
        turn.then(Step::Flush(id), |state| {
            let node = state.node_mut(id);
            node.durable = node.log.end();
        });
    }
}

/// Models "kill, pause (SIGSTOP), or stall" and the loss of power: memory is gone, the durable part of the log stays,
/// and what was sent is still on its way.
pub(super) fn crash(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    if turn.state.spent.crashes < turn.model.bounds.crashes {
        let kept = node.log.up_to(node.durable);
        turn.then(Step::Crash(id, kept), |state| {
            state.spent.crashes += 1;
            let node = state.node_mut(id);
            node.role = Role::Down;
            node.log = kept;
            node.dual = false;
            node.pending = None;
            node.stop_leading();
        });
    }
}

/// Models "a `boot_id` drawn afresh at every start": a node comes back idle and knows of no epoch.
pub(super) fn restart(turn: &mut Turn<'_>) {
    let id = turn.id;
    let boot = turn.state.node(id).boot.next();
    turn.then(Step::Restart(id, boot), |state| {
        let node = state.node_mut(id);
        node.role = Role::Idle;
        node.boot = boot;
        node.epoch = 0;
        node.nonce = 0;
    });
}
