//! The rules that can be broken, one at a time, and what is lost then.

use crate::model::{Bounds, Model, Policy};

/// One rule left out, or two where one stands in for the other. Each is named for what the broken node does; names that `touchline-lockstep` has too mean the
/// same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A standby that asks to be promoted goes on acknowledging.
    SkipSeal,
    /// A sealed standby unseals without the witness's answer.
    UnsealOnTimeout,
    /// A joining peer's acks are required only after the register says DUAL.
    GateAfterDual,
    /// The primary acknowledges alone before the register says SOLO.
    AcknowledgeBeforeSolo,
    /// A rebooted node goes on as if it were still in sync.
    IgnoreBoot,
    /// The same, and an ack is heard whatever its chain hash.
    IgnoreBootAndChain,
    /// Nothing is flushed before the in-sync set narrows.
    SkipFlush,
    /// A learner asks to be promoted, and the witness promotes it.
    PromoteOutOfSync,
    /// A bet is acknowledged when it is in two memories and on no disk.
    AcknowledgeFromMemories,
    /// The witness does not compare the expected epoch.
    SkipEpochCompare,
    /// A join is aborted while its CAS DUAL is outstanding.
    AbortDuringDual,
    /// The witness processes a rejected request again when it is repeated.
    RepeatRequests,
    /// The register's newest slot rots and nothing repairs it.
    ForgetNewestSlot,
    /// A rebooted node promotes alone although its acks were given from memory.
    LonePromoteFromMemory,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Mutation; 14] = [
        Mutation::SkipSeal,
        Mutation::UnsealOnTimeout,
        Mutation::GateAfterDual,
        Mutation::AcknowledgeBeforeSolo,
        Mutation::IgnoreBoot,
        Mutation::IgnoreBootAndChain,
        Mutation::SkipFlush,
        Mutation::PromoteOutOfSync,
        Mutation::AcknowledgeFromMemories,
        Mutation::SkipEpochCompare,
        Mutation::AbortDuringDual,
        Mutation::RepeatRequests,
        Mutation::ForgetNewestSlot,
        Mutation::LonePromoteFromMemory,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mutation::SkipSeal => "skip-seal",
            Mutation::UnsealOnTimeout => "unseal-on-timeout",
            Mutation::GateAfterDual => "gate-after-dual",
            Mutation::AcknowledgeBeforeSolo => "acknowledge-before-solo",
            Mutation::IgnoreBoot => "ignore-boot",
            Mutation::IgnoreBootAndChain => "ignore-boot-and-chain",
            Mutation::SkipFlush => "skip-flush",
            Mutation::PromoteOutOfSync => "promote-out-of-sync",
            Mutation::AcknowledgeFromMemories => "acknowledge-from-memories",
            Mutation::SkipEpochCompare => "skip-epoch-compare",
            Mutation::AbortDuringDual => "abort-during-dual",
            Mutation::RepeatRequests => "repeat-requests",
            Mutation::ForgetNewestSlot => "forget-newest-slot",
            Mutation::LonePromoteFromMemory => "lone-promote-from-memory",
        }
    }

    /// What is lost, and how.
    pub fn loss(self) -> &'static str {
        match self {
            Mutation::SkipSeal | Mutation::UnsealOnTimeout => {
                "A bet acknowledged after the flush lies in the standby's memory alone; it crashes, comes back as the \
                 primary its old request made of it, and the bet is gone."
            }
            Mutation::GateAfterDual => {
                "The register says DUAL while the primary still acknowledges alone; the peer is promoted without \
                 those bets."
            }
            Mutation::AcknowledgeBeforeSolo => {
                "The standby's PROMOTE wins over the SOLO, and it never heard of the bet."
            }
            Mutation::IgnoreBoot => {
                "A standby that acknowledged from memory and crashed is promoted with an empty log."
            }
            Mutation::IgnoreBootAndChain => {
                "A rebooted node that never took its new primary's log acks the sequence at which it holds another \
                 bet, and is promoted."
            }
            Mutation::SkipFlush => {
                "A promoted node crashes before the bets it acknowledged reach its disk, and recovers without them."
            }
            Mutation::PromoteOutOfSync => {
                "A node whose join was aborted is promoted without what its primary acknowledged alone."
            }
            Mutation::AcknowledgeFromMemories => {
                "Both nodes lose power at once, and COLD finds no log to hold the bet."
            }
            Mutation::SkipEpochCompare => {
                "A PROMOTE from before a SOLO epoch arrives after the rejoin, when the peer is in sync again by name \
                 but holds nothing yet."
            }
            Mutation::AbortDuringDual => {
                "The primary acknowledges alone again, the CAS is accepted after all, and the peer is promoted."
            }
            Mutation::RepeatRequests => {
                "A PROMOTE was rejected and its standby went on acknowledging from memory; repeated after a crash, \
                 the same request promotes it."
            }
            Mutation::ForgetNewestSlot => "The register gives one epoch twice, to two primaries.",
            Mutation::LonePromoteFromMemory => {
                "A standby that acknowledged from memory crashes and promotes itself with an empty log."
            }
        }
    }

    /// The smallest bounds known to show the loss, with the policy under which the broken rule matters.
    pub fn model(self) -> Model {
        let (policy, bounds) = match self {
            Mutation::SkipSeal | Mutation::UnsealOnTimeout | Mutation::SkipFlush => {
                (Policy::Hybrid, Bounds::new(2, 1, 1, 0, 0))
            }
            Mutation::GateAfterDual | Mutation::IgnoreBoot | Mutation::SkipEpochCompare => {
                (Policy::Hybrid, Bounds::new(2, 1, 2, 1, 0))
            }
            Mutation::AcknowledgeBeforeSolo => (Policy::Hybrid, Bounds::new(2, 0, 2, 1, 0)),
            Mutation::PromoteOutOfSync => (Policy::Hybrid, Bounds::new(2, 0, 3, 1, 0)),
            Mutation::AcknowledgeFromMemories => (Policy::Hybrid, Bounds::new(2, 2, 1, 0, 0)),
            Mutation::IgnoreBootAndChain => (Policy::Durable, Bounds::new(1, 1, 2, 1, 0)),
            Mutation::AbortDuringDual => (Policy::Durable, Bounds::new(1, 1, 2, 2, 0)),
            Mutation::RepeatRequests => (Policy::Hybrid, Bounds::new(1, 1, 2, 1, 0)),
            Mutation::ForgetNewestSlot => (Policy::Durable, Bounds::new(1, 1, 2, 1, 0)),
            Mutation::LonePromoteFromMemory => (Policy::Hybrid, Bounds::new(1, 2, 1, 0, 0)),
        };
        let lone_promote = self == Mutation::LonePromoteFromMemory;
        Model { policy, lone_promote, bounds, mutation: Some(self) }
    }
}
