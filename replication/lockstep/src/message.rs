//! What nodes and witness say to each other. Any message may be lost, repeated, delayed and reordered.

use crate::log::Point;
use crate::register::{Boot, Change, Cluster, NodeId, Register};
use touchline_protocol::{Epoch, Seq};

/// A party of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A data node.
    Node(NodeId),
    /// The witness.
    Witness,
}

/// A message and who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The cluster; others are ignored.
    pub cluster: Cluster,
    /// Who sends.
    pub from: Party,
    /// In which boot; of the witness, its incarnation.
    pub boot: Boot,
    /// The newest configuration that the sender knows.
    pub register: Option<Register>,
    /// The sender's UTC, nanoseconds since 1970; 0 where it has just started and does not know.
    pub utc_ns: i64,
    /// What it says.
    pub say: Say,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// A node that is not in sync tells what its log holds: the last frame of each of its last epochs.
    Greeting {
        /// Ascending; empty for an empty log.
        log: Vec<Point>,
        /// Whether this is all that its journal ever held, as far as it can tell.
        whole: bool,
    },
    /// The primary takes the peer, in that boot, as a learner whose log is to end at a common point.
    Join {
        /// The peer's boot.
        to: Boot,
        /// The configuration that the primary leads.
        epoch: Epoch,
        /// Where the peer's log ended when it greeted: with any other end this says nothing.
        asked: Point,
        /// Where the logs part: what lies behind it in the peer's log was never acknowledged.
        common: Point,
        /// The primary's clock: only what it says later counts.
        sent_ns: u64,
    },
    /// The receiver's log ends before the sender's begins: it is to take the sender's state at a point, and be asked
    /// again from there.
    Take {
        /// The receiver's boot.
        to: Boot,
        /// The configuration that the sender knows.
        epoch: Epoch,
        /// The frame that it is the state after: committed, and agreed by everyone who was in sync.
        at: Point,
        /// Its length in bytes.
        length: u64,
    },
    /// The receiver of [`Say::Take`] asks for a part of the state.
    Want {
        /// The boot that is asked.
        to: Boot,
        /// The state that it was told of.
        at: Point,
        /// Bytes that it has.
        offset: u64,
    },
    /// A part of a state.
    Part {
        /// The boot that asked.
        to: Boot,
        /// The state.
        at: Point,
        /// Where the part begins.
        offset: u64,
        /// The part.
        bytes: Vec<u8>,
    },
    /// The disaster recovery site's log ends here: it asks for what is committed behind.
    Tail {
        /// Its last frame.
        end: Point,
    },
    /// Frames of the log: live, repeated or caught up.
    Frames {
        /// The configuration in which they are sent.
        epoch: Epoch,
        /// The boot of the learner or site they are for; `None` for whoever is in sync.
        to: Option<Boot>,
        /// Sequence of the first.
        first: Seq,
        /// Whole frames.
        bytes: Vec<u8>,
        /// Everything up to here is committed.
        committed: Seq,
    },
    /// The primary lives.
    Heartbeat {
        /// The configuration that it leads.
        epoch: Epoch,
        /// Its own clock, returned by whoever hears it.
        sent_ns: u64,
        /// The end of its log.
        end: Seq,
        /// Everything up to here is committed.
        committed: Seq,
        /// The boot that it counts on, in sync or joining.
        follower: Option<Boot>,
        /// The last frame after which the fingerprints of both were equal, once it is committed.
        agreed: Seq,
    },
    /// The follower has everything up to here.
    Ack {
        /// The configuration in which it follows.
        epoch: Epoch,
        /// Last frame in memory, without a gap before it.
        received: Point,
        /// Last frame in its journal.
        durable: Seq,
        /// The last heartbeat's instant, 0 where none was heard since the last acknowledgement.
        echo_ns: u64,
        /// Fingerprint of its state after a frame.
        fingerprint: Option<(Seq, u128)>,
    },
    /// The follower lacks frames from here on.
    Missing {
        /// The configuration in which it follows.
        epoch: Epoch,
        /// The first that it lacks.
        from: Seq,
    },
    /// Of two rebooted nodes the one whose log is behind asks for the other's.
    Fetch {
        /// The boot that is asked: another one's log may be another.
        to: Boot,
        /// Last frames of its epochs.
        log: Vec<Point>,
    },
    /// The answer to that: frames behind the point that both have.
    Fetched {
        /// The boot that asked.
        to: Boot,
        /// Where its log ended when it asked: with any other end the answer says nothing.
        asked: Point,
        /// Where the logs part.
        common: Point,
        /// Whole frames behind it.
        bytes: Vec<u8>,
        /// Where the sender's log ends.
        end: Point,
    },
    /// To the witness: a sign of life of a node.
    Report {
        /// Its own clock, returned in the answer.
        sent_ns: u64,
        /// The witness that the sender heard last: only to that one it gives its register back after a loss.
        incarnation: Option<Boot>,
        /// Whether it leads the newest configuration that it knows.
        leads: bool,
        /// What it knows to be durable, as the primary.
        durable: Seq,
        /// The end of its log.
        end: Point,
    },
    /// The witness's answer to a report.
    Status {
        /// The boot that reported: another one's clock is not this one's.
        to: Boot,
        /// The instant of the report.
        echo_ns: u64,
    },
    /// To the witness: a change is asked for.
    Petition {
        /// The witness's incarnation; another ignores it.
        incarnation: Boot,
        /// Rises with every petition of a boot.
        nonce: u64,
        /// The epoch in which it may be accepted.
        expected: Epoch,
        /// The last frame in the sender's journal.
        at: Point,
        /// The change.
        change: Change,
    },
    /// The witness's answer: the same for every repetition.
    Verdict {
        /// The boot that asked.
        to: Boot,
        /// Its nonce.
        nonce: u64,
        /// The configuration that was made, or `None`: refused.
        made: Option<Register>,
    },
}
