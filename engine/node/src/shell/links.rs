//! What the stages of a running node say to each other, beside the frames in the log ring.

use crossbeam_channel::Sender;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use touchline_core::Input;
use touchline_protocol::*;

/// A command of a connection, for the sequencer.
pub(crate) struct Arrived {
    pub(crate) input: Input,
    /// When it had arrived, monotonic nanoseconds of the node's clock.
    pub(crate) at_ns: u64,
}

/// What the node asks of the sequencer.
pub(crate) enum Order {
    /// Log an attestation of the state, and say what it is. With `end`: when nothing moves any more.
    Attest { end: bool, reply: Sender<Result<Attested, Unattested>> },
    /// Hand the lead over to the peer; whether that begins.
    Switchover { reply: Sender<bool> },
    /// An operator agrees to the log that this node has; whether it waited for that.
    GiveWord { reply: Sender<bool> },
}

/// Messages of a shard for other partitions.
pub(crate) struct Offered {
    /// The epoch in whose lead they are offered: what was offered before is offered again in it.
    pub(crate) led: Epoch,
    pub(crate) bodies: Vec<Body>,
}

/// Why a state was not attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unattested {
    /// Only a leading node may log it.
    #[error("only the node that leads attests its state")]
    Follows,
    /// So many entities are not what they were.
    #[error(
        "{0} entities differ from their own hash: memory or program is broken; do not trust this process"
    )]
    Odd(usize),
}

/// The state behind a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The last sequence that the fingerprint covers.
    pub seq: Seq,
    /// The frame that logs it.
    pub logged: Seq,
    /// The fingerprint of all partitions.
    pub fingerprint: u128,
    /// Profit of the house over settled bets, minor units.
    pub profit_minor: i64,
}

/// For a shard: once it has applied everything up to a frame, and before anything behind it, it says what its part of the
/// state is.
pub(crate) struct AtBarrier {
    pub(crate) behind: Seq,
    /// Whether all of it is hashed again for that.
    pub(crate) attest: bool,
    pub(crate) reply: Sender<Part>,
}

/// A shard's part of the state.
pub(crate) struct Part {
    pub(crate) profit_minor: i64,
    pub(crate) attest: Option<Result<Attest, usize>>,
}

/// What a shard's part of the state is behind a frame.
pub(crate) struct Mark {
    pub(crate) seq: Seq,
    pub(crate) part: u128,
}

/// How far the journal is.
#[derive(Default)]
pub(crate) struct Durable {
    seq: AtomicU64,
    at_ns: AtomicU64,
}

impl Durable {
    /// Everything up to a frame is durable since an instant of the node's clock.
    pub(crate) fn reach(&self, seq: Seq, at_ns: u64) {
        self.at_ns.store(at_ns, Ordering::Relaxed);
        self.seq.store(seq.0, Ordering::Release);
    }

    /// The last durable frame.
    pub(crate) fn seq(&self) -> Seq {
        Seq(self.seq.load(Ordering::Acquire))
    }

    /// When it became durable.
    pub(crate) fn at_ns(&self) -> u64 {
        self.at_ns.load(Ordering::Relaxed)
    }
}

/// How a node ends: what it is asked for, and how far it is.
#[derive(Default)]
pub(crate) struct Stopping {
    set: AtomicBool,
    answered: AtomicBool,
    ended: AtomicBool,
}

impl Stopping {
    /// Nothing more is taken in.
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::Release);
    }

    /// Whether nothing more is taken in.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Everything inside is decided and durable, and its effects are on their way to the network.
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// Whether that is so.
    pub(crate) fn all_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Every connection is closed.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether that is so.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
