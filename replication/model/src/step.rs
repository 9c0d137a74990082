//! What happens from one state to the next, in the protocol's words, for counter-examples a person can read.

use crate::log::{Epoch, Log, Seq};
use crate::state::{Boot, Configuration, Id, Request};
use std::fmt;

/// One step of one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node hears what the register said at some time.
    Learn(Id, Configuration),
    /// A node's journal catches up with its memory.
    Flush(Id),
    /// A primary sequences a bet.
    Append(Id, Seq),
    /// A primary hears an ack.
    HearAck(Id, Seq),
    /// A client is told of a bet.
    Acknowledge {
        /// The primary that tells it.
        node: Id,
        /// The bet's sequence.
        seq: Seq,
        /// The epoch in which it was sequenced.
        epoch: Epoch,
        /// Whether the peer's ack was required.
        gated: bool,
    },
    /// A primary in SOLO begins to wait for the acks of a peer that joins.
    StartJoin(Id, Boot),
    /// A primary gives a join up with no CAS outstanding.
    AbortJoin(Id),
    /// A primary gives a join up although its CAS DUAL is outstanding.
    AbortDuringDual(Id),
    /// A node sends a CAS.
    Propose(Request),
    /// A follower takes the frames it was sent.
    TakeFrames(Id, Log),
    /// A follower acknowledges.
    SendAck(Id, Seq),
    /// A sealed standby follows again.
    Unseal(Id),
    /// An idle node follows the primary that lets it join.
    BecomeLearner(Id, Epoch, Log),
    /// A rebooted node takes itself for the standby it was.
    ResumeStandby(Id),
    /// A node's process ends; its log ends with the last durable frame.
    Crash(Id, Log),
    /// A node starts with a new boot.
    Restart(Id, Boot),
    /// The witness stores a new configuration.
    Accept(Request, Configuration),
    /// The witness rejects a request.
    Reject(Request),
    /// The witness rejects a PROMOTE because it has just heard the primary.
    RejectHeard(Request),
    /// The register falls back to its older slot.
    ForgetSlot(Configuration),
}

impl fmt::Display for Step {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Learn(node, configuration) => write!(to, "{node} learns {configuration}"),
            Step::Flush(node) => write!(to, "{node} flushes its journal"),
            Step::Append(node, seq) => write!(to, "{node} sequences a bet at {seq}"),
            Step::HearAck(node, seq) => write!(to, "{node} hears its peer's ack up to {seq}"),
            Step::Acknowledge { node, seq, epoch, gated } => {
                let how = if *gated { "with its peer's ack" } else { "alone" };
                write!(to, "{node} ACKNOWLEDGES the bet {seq}@{epoch} {how}")
            }
            Step::StartJoin(node, boot) => write!(to, "{node} lets boot {boot} of its peer join"),
            Step::AbortJoin(node) => write!(to, "{node} aborts the join"),
            Step::AbortDuringDual(node) => write!(to, "{node} aborts the join with its CAS outstanding"),
            Step::Propose(request) => write!(to, "{} proposes {request}", request.id.node),
            Step::TakeFrames(node, log) => write!(to, "{node} takes frames, its log is {log}"),
            Step::SendAck(node, seq) => write!(to, "{node} acks up to {seq}"),
            Step::Unseal(node) => write!(to, "{node} unseals"),
            Step::BecomeLearner(node, epoch, log) => {
                write!(to, "{node} becomes a learner of epoch {epoch}, its log is {log}")
            }
            Step::ResumeStandby(node) => write!(to, "{node} resumes as a standby in spite of its reboot"),
            Step::Crash(node, log) => write!(to, "{node} CRASHES, its disk holds {log}"),
            Step::Restart(node, boot) => write!(to, "{node} starts with boot {boot}"),
            Step::Accept(request, configuration) => write!(to, "witness accepts {request}: {configuration}"),
            Step::Reject(request) => write!(to, "witness rejects {request}"),
            Step::RejectHeard(request) => write!(to, "witness rejects {request}: it heard the primary"),
            Step::ForgetSlot(configuration) => {
                write!(to, "witness loses its newest slot and falls back to {configuration}")
            }
        }
    }
}
