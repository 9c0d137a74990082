//! What a node does that is in no in-sync set: rejoin a primary, or return to the epoch it was part of.

use super::Turn;
use crate::state::{Change, Configuration, Receiver, Role};
use crate::step::Step;

/// Models "Rejoin: … → LEARNER": an idle node follows a primary that sends to its present boot, and cuts its own log
/// to the common part durably.
pub(super) fn become_learner(turn: &mut Turn<'_>) {
    let (id, state) = (turn.id, turn.state);
    let node = state.node(id);
    let leads = |epoch| state.register.iter().any(|one| one.epoch == epoch && one.primary == id.peer());
    let offers = state.streams.iter().filter(|stream| {
        stream.to == Receiver::Joining(node.boot) && stream.epoch >= node.epoch && leads(stream.epoch)
    });
    for stream in offers {
        turn.then(Step::BecomeLearner(id, stream.epoch, stream.log), |state| {
            let node = state.node_mut(id);
            node.role = Role::Learner;
            node.epoch = stream.epoch;
            node.pending = None;
            node.take_log(stream.log);
        });
    }
}

/// What a node without an outstanding request may ask for the epochs it can know of, with a boot that none of them
/// holds in sync.
pub(super) fn return_to_register(turn: &mut Turn<'_>) {
    let (state, node) = (turn.state, turn.state.node(turn.id));
    if node.pending.is_some() {
        return;
    }
    for configuration in state.register.iter().filter(|one| one.epoch >= node.epoch) {
        propose_recover(turn, configuration);
        propose_lone_promote(turn, configuration);
        resume_standby(turn, configuration);
        propose_cold(turn, configuration);
    }
}

/// Models RECOVER, "the node of a SOLO epoch comes back with a new boot and a log that holds both the epoch's start and
/// the last reported durable seq": disks are never lost here, so the log holds what it ever held.
fn propose_recover(turn: &mut Turn<'_>, configuration: &Configuration) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let alone = configuration.primary == id && !configuration.is_dual();
    if alone && has_new_boot(turn, configuration) && node.is_flushed() {
        propose(turn, Change::Recover, configuration);
    }
}

/// Models "Under `durable` a rebooted node of a DUAL epoch with its log intact up to the reported durable seq may
/// promote alone": what it acked is on its disk.
fn propose_lone_promote(turn: &mut Turn<'_>, configuration: &Configuration) {
    let (node, suspicions) = (turn.state.node(turn.id), turn.state.spent.suspicions);
    let suspects = suspicions < turn.model.bounds.suspicions;
    let rebooted = configuration.is_dual() && has_new_boot(turn, configuration);
    if turn.model.lone_promote && rebooted && suspects && node.is_flushed() {
        propose(turn, Change::Promote, configuration);
        let (_, next) = turn.out.last_mut().expect("a request was just proposed");
        next.spent.suspicions += 1;
    }
}

/// Breaks "Leaving the in-sync set means restart: new boot": a rebooted node takes itself for in sync.
fn resume_standby(turn: &mut Turn<'_>, configuration: &Configuration) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let rebooted = node.boot != Default::default();
    let follows = configuration.is_dual() && configuration.primary != id;
    if turn.model.ignores_boot() && follows && rebooted {
        turn.then(Step::ResumeStandby(id), |state| {
            let node = state.node_mut(id);
            node.role = Role::Standby;
            node.epoch = configuration.epoch;
        });
    }
}

/// Models COLD, "DUAL, both rebooted, both logs present: compare (epoch of last frame, seq)". The winner goes on in
/// SOLO, which asks less than copying the log to both; its own copy is durable before it asks.
fn propose_cold(turn: &mut Turn<'_>, configuration: &Configuration) {
    let (id, state) = (turn.id, turn.state);
    let (node, peer) = (state.node(id), state.node(id.peer()));
    let present = configuration.is_dual() && configuration.epoch == state.present().epoch;
    let both_rebooted = has_new_boot(turn, configuration)
        && peer.role == Role::Idle
        && Some(peer.boot) != configuration.boot(id.peer());
    if present && both_rebooted {
        let longer = [peer.log, node.log].into_iter().max_by_key(|log| (log.last_epoch(), log.end()));
        propose(turn, Change::Cold, configuration);
        let (_, next) = turn.out.last_mut().expect("a request was just proposed");
        let node = next.node_mut(id);
        node.log = longer.expect("there are two logs");
        node.durable = node.log.end();
    }
}

fn has_new_boot(turn: &Turn<'_>, configuration: &Configuration) -> bool {
    configuration.boot(turn.id) != Some(turn.state.node(turn.id).boot)
}

/// Sends a CAS for an epoch that this node no longer belongs to.
fn propose(turn: &mut Turn<'_>, change: Change, configuration: &Configuration) {
    let mut next = *turn.state;
    let request = next.propose(turn.id, change, configuration.epoch);
    turn.out.push((Step::Propose(request), next));
}
