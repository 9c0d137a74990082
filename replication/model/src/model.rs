//! Which protocol is searched, how far, and with which rule broken.

use crate::log::{Epoch, LOG_MAX, Seq};
use crate::mutations::Mutation;
use crate::state::EPOCHS_MAX;

/// When a standby's ack covers a frame, and what that requires of both nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A standby acks what its journal holds. Nothing has to be sealed, nor flushed before the set narrows, because an
    /// ack survives the reboot of whoever gave it.
    Durable,
    /// A standby acks what its memory holds, the primary's journal is durable; needs *seal* and *flush-before-narrow*.
    Hybrid,
}

/// How often each thing may happen. Time is not bounded: what may happen may happen late, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Frames in a log.
    pub frames: Seq,
    /// Crashes of nodes.
    pub crashes: u8,
    /// Requests made because a peer seems gone, rightly or not.
    pub suspicions: u8,
    /// Joins begun.
    pub joins: u8,
    /// Planned switchovers begun.
    pub handoffs: u8,
    /// The witness rejects what would lead beyond this epoch.
    pub epochs: Epoch,
}

impl Bounds {
    /// The bounds of one search, with six epochs: one more than any search of the whole protocol here can reach.
    pub const fn new(frames: Seq, crashes: u8, suspicions: u8, joins: u8, handoffs: u8) -> Bounds {
        assert!(frames <= LOG_MAX, "a log holds few frames");
        Bounds { frames, crashes, suspicions, joins, handoffs, epochs: 6 }
    }
}

const _: () = assert!(Bounds::new(1, 0, 0, 0, 0).epochs as usize <= EPOCHS_MAX);

/// One protocol under one set of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// The durability policy.
    pub policy: Policy,
    /// Whether a rebooted node of a DUAL epoch may promote alone, as `durable` allows.
    pub lone_promote: bool,
    /// How far the search goes.
    pub bounds: Bounds,
    /// The rule that is broken, if one is.
    pub mutation: Option<Mutation>,
}

impl Model {
    /// The protocol as it should be.
    pub const fn correct(policy: Policy, bounds: Bounds) -> Model {
        Model { policy, lone_promote: false, bounds, mutation: None }
    }

    /// Whether a rule is broken.
    pub fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether a rebooted node takes itself for in sync, and the witness agrees.
    pub fn ignores_boot(&self) -> bool {
        self.breaks(Mutation::IgnoreBoot) || self.breaks(Mutation::IgnoreBootAndChain)
    }

    /// Whether a standby that asks to be promoted stops to take and to acknowledge frames.
    pub fn seals(&self) -> bool {
        self.policy == Policy::Hybrid && !self.breaks(Mutation::SkipSeal)
    }

    /// Whether a node flushes before it asks for SOLO or PROMOTE.
    pub fn flushes_before_narrowing(&self) -> bool {
        self.policy == Policy::Hybrid && !self.breaks(Mutation::SkipFlush)
    }
}
