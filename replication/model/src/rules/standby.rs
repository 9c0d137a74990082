//! What a follower does: take frames, acknowledge them, and ask to be promoted.

use super::Turn;
use crate::model::Policy;
use crate::mutations::Mutation;
use crate::state::{Ack, Change, Node, Receiver, RequestId, Role};
use crate::step::Step;

/// Models "snapshot (if needed) + journal replay + buffered live frames": a follower may take what was sent in its
/// epoch, to it. A standby only ever adds to its log, by the chain hash; a learner cuts durably to the common part.
pub(super) fn take_frames(turn: &mut Turn<'_>) {
    let (id, state) = (turn.id, turn.state);
    let node = state.node(id);
    if is_sealed(turn, node) {
        return;
    }
    let usable = state.streams.iter().filter(|stream| {
        let addressed = stream.to == Receiver::Standby || stream.to == Receiver::Joining(node.boot);
        let follows = node.role == Role::Learner || node.log.begins(stream.log);
        stream.epoch == node.epoch && addressed && stream.log.end() > node.log.end() && follows
    });
    for stream in usable {
        turn.then(Step::TakeFrames(id, stream.log), |state| state.node_mut(id).take_log(stream.log));
    }
}

/// Models the durability policies: a follower acks what its journal holds under `durable`, what its memory holds under
/// `hybrid`. A lower ack after a higher one says nothing new.
pub(super) fn send_ack(turn: &mut Turn<'_>) {
    let (id, state) = (turn.id, turn.state);
    let node = state.node(id);
    let up_to = match turn.model.policy {
        Policy::Durable => node.durable,
        Policy::Hybrid => node.log.end(),
    };
    let ack = Ack { epoch: node.epoch, from: id, boot: node.boot, log: node.log.up_to(up_to) };
    let same = |sent: &Ack| (sent.epoch, sent.from, sent.boot) == (ack.epoch, ack.from, ack.boot);
    let said = state.acks.iter().find(|sent| same(sent)).map_or(0, |sent| sent.log.end());
    if !is_sealed(turn, node) && up_to > said {
        turn.then(Step::SendAck(id, up_to), |state| state.acks.replace(same, ack));
    }
}

/// Models PROMOTE and "before CAS PROMOTE the standby seals", with "both sides flush before SOLO or PROMOTE". Any
/// suspicion will do: clocks only trigger failover.
pub(super) fn propose_promote(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let eligible = node.role == Role::Standby
        || node.role == Role::Learner && turn.model.breaks(Mutation::PromoteOutOfSync);
    let suspects = turn.state.spent.suspicions < turn.model.bounds.suspicions;
    let ready = node.is_flushed() || !turn.model.flushes_before_narrowing();
    if eligible && suspects && ready {
        let mut next = *turn.state;
        let request = next.propose(id, Change::Promote, node.epoch);
        next.spent.suspicions += 1;
        next.node_mut(id).role = Role::Sealed;
        turn.out.push((Step::Propose(request), next));
    }
}

/// Models "unseals only on the rejection of that very nonce".
pub(super) fn unseal(turn: &mut Turn<'_>) {
    let (id, node) = (turn.id, turn.state.node(turn.id));
    let asked = RequestId { node: id, boot: node.boot, nonce: node.nonce };
    let rejected = turn.state.rejections.contains(&asked);
    if node.role == Role::Sealed && (rejected || turn.model.breaks(Mutation::UnsealOnTimeout)) {
        turn.then(Step::Unseal(id), |state| {
            let node = state.node_mut(id);
            node.role = Role::Standby;
            node.pending = None;
        });
    }
}

/// Models "before CAS PROMOTE the standby seals (acks nothing more)": what it flushed is then all it ever acked.
fn is_sealed(turn: &Turn<'_>, node: &Node) -> bool {
    node.role == Role::Sealed && turn.model.seals()
}
