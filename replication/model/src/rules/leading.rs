//! What a primary does: sequence, acknowledge, and ask for a narrower or a wider in-sync set.

use super::Turn;
use crate::log::LOG_MAX;
use crate::mutations::Mutation;
use crate::state::{Change, Node, Receiver, Role, State};
use crate::step::Step;

/// Models "sequenced multicast with replay" and "One payload per (epoch, seq)": a bet gets the next sequence and is sent
/// to whoever follows. A primary that hands over has stopped sequencing.
pub(super) fn sequence(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    if node.role != Role::Primary || node.log.end() >= turn.model.bounds.frames {
        return;
    }
    debug_assert!(node.log.end() < LOG_MAX, "the bounds were checked against the log's limit");
    turn.then(Step::Append(id, node.log.end() + 1), |state| {
        state.node_mut(id).log.append(node.epoch);
        match (node.dual, node.peer_boot) {
            (true, _) => state.send(id, Receiver::Standby),
            (false, Some(boot)) => state.send(id, Receiver::Joining(boot)),
            (false, None) => {}
        }
    });
}

/// Models "the standby's ack for this epoch and boot, with matching chain hash": any other is not heard.
pub(super) fn hear_ack(turn: &mut Turn<'_>) {
    let (id, state) = (turn.id, turn.state);
    let node = state.node(id);
    let counts = state.acks.iter().filter(|ack| {
        ack.epoch == node.epoch
            && ack.from == id.peer()
            && Some(ack.boot) == node.peer_boot
            && ack.log.end() > node.peer_acked
            && (ack.log.begins(node.log) || turn.model.breaks(Mutation::IgnoreBootAndChain))
    });
    for ack in counts {
        let up_to = ack.log.end();
        turn.then(Step::HearAck(id, up_to), |state| state.node_mut(id).peer_acked = up_to);
    }
}

/// Models the table "Who may acknowledge a bet": behind the gate both the standby's ack and the own journal must cover
/// the frame, without it the own journal. Frames are acknowledged in their order.
pub(super) fn acknowledge(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let seq = node.committed + 1;
    let journaled = node.durable >= seq || node.gate && turn.model.breaks(Mutation::AcknowledgeFromMemories);
    let acked = !node.gate || node.peer_acked >= seq;
    if seq <= node.log.end() && journaled && acked {
        let epoch = node.log.epoch_at(seq);
        turn.then(Step::Acknowledge { node: id, seq, epoch, gated: node.gate }, |state| {
            state.node_mut(id).committed = seq;
            if state.acknowledged.end() < seq {
                state.acknowledged.append(epoch);
            } else {
                state.contradicted |= state.acknowledged.epoch_at(seq) != epoch;
            }
        });
    }
}

/// Breaks "a join may be aborted only with no CAS DUAL outstanding: until that nonce is answered the peer's acks stay
/// required".
pub(super) fn abort_during_dual(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let outstanding = matches!(node.pending, Some(Change::Dual(_)));
    if turn.model.breaks(Mutation::AbortDuringDual) && is_joining(node) && outstanding {
        turn.then(Step::AbortDuringDual(id), |state| {
            let node = state.node_mut(id);
            forget_join(node);
            node.pending = None;
        });
    }
}

/// Models SOLO, "proposer is the primary with this boot: the standby leaves the in-sync set", with "both sides flush
/// before SOLO or PROMOTE" and "narrow the configuration before narrowing the acks": the gate stays shut until the
/// answer is known.
pub(super) fn propose_solo(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let suspects = turn.state.spent.suspicions < turn.model.bounds.suspicions;
    let ready = node.is_flushed() || !turn.model.flushes_before_narrowing();
    if may_propose(node) && node.dual && suspects && ready {
        let early = turn.model.breaks(Mutation::AcknowledgeBeforeSolo);
        propose(turn, Change::Solo, |state| {
            state.spent.suspicions += 1;
            state.node_mut(id).gate &= !early;
        });
    }
}

/// Models "the primary gates on its acks → CAS DUAL", first half: from here on the joining peer's acks are required.
pub(super) fn start_join(turn: &mut Turn<'_>) {
    let (id, node, peer) = (turn.id, turn.state.node(turn.id), turn.state.node(turn.id.peer()));
    let wanted = peer.role == Role::Idle && turn.state.spent.joins < turn.model.bounds.joins;
    if may_propose(node) && !node.dual && node.peer_boot.is_none() && wanted {
        let late = turn.model.breaks(Mutation::GateAfterDual);
        turn.then(Step::StartJoin(id, peer.boot), |state| {
            state.spent.joins += 1;
            let node = state.node_mut(id);
            node.peer_boot = Some(peer.boot);
            node.peer_acked = 0;
            node.gate = !late;
            state.send(id, Receiver::Joining(peer.boot));
        });
    }
}

/// Models "a join may be aborted only with no CAS DUAL outstanding": the primary then acknowledges alone again.
pub(super) fn abort_join(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    if may_propose(node) && is_joining(node) {
        turn.then(Step::AbortJoin(id), |state| forget_join(state.node_mut(id)));
    }
}

/// Models DUAL(peer boot), "proposer is the primary in SOLO: the rejoined peer enters the in-sync set", once the peer
/// acked everything that clients were told.
pub(super) fn propose_dual(turn: &mut Turn<'_>) {
    let node = turn.state.node(turn.id);
    if let Some(boot) = node.peer_boot
        && may_propose(node)
        && is_joining(node)
        && node.peer_acked >= node.committed
    {
        propose(turn, Change::Dual(boot), |_| {});
    }
}

/// Models "Switchover: stop sequencing (client inputs queue), confirm sequence and fingerprints, CAS HANDOFF".
pub(super) fn propose_handoff(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let wanted = turn.state.spent.handoffs < turn.model.bounds.handoffs;
    if may_propose(node) && node.dual && wanted && node.peer_acked == node.log.end() {
        propose(turn, Change::Handoff, |state| {
            state.spent.handoffs += 1;
            state.node_mut(id).role = Role::HandingOver;
        });
    }
}

/// One CAS at a time: what the register will say must be known before the next is asked for.
fn may_propose(node: &Node) -> bool {
    node.role == Role::Primary && node.pending.is_none()
}

/// In SOLO a peer's boot is known only while that peer joins.
fn is_joining(node: &Node) -> bool {
    node.role == Role::Primary && !node.dual && node.peer_boot.is_some()
}

fn forget_join(node: &mut Node) {
    node.peer_boot = None;
    node.peer_acked = 0;
    node.gate = false;
}

/// Sends a CAS for the epoch that the primary leads.
fn propose(turn: &mut Turn<'_>, change: Change, also: impl FnOnce(&mut State)) {
    let (id, mut next) = (turn.id, *turn.state);
    let request = next.propose(id, change, turn.state.node(id).epoch);
    also(&mut next);
    turn.out.push((Step::Propose(request), next));
}
