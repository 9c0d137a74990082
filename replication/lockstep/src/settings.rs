//! Limits, instants and the durability policy, with the relations between them that the protocol needs.

/// When an acknowledgement of a frame counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Both journals hold it: survives the loss of power at both sites.
    Durable,
    /// The primary's journal and the standby's memory hold it.
    Hybrid,
    /// Both memories hold it, each written out within a millisecond: survives the loss of any one node, not of
    /// power at both.
    Memory,
}

impl Durability {
    /// Whether a frame that the standby acknowledged may not be in its journal yet, so that it must seal before
    /// it asks to be promoted, and both must flush before the in-sync set narrows.
    pub fn is_weaker(self) -> bool {
        self != Durability::Durable
    }
}

/// Every limit of the protocol. Instants and durations are monotonic nanoseconds of the node's own clock.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The policy.
    pub durability: Durability,
    /// Between heartbeats on every link.
    pub heartbeat_ns: u64,
    /// Silence of the primary after which its standby asks to be promoted, until stalls have been measured.
    pub suspect_ns: u64,
    /// The least and the most that measured stalls may make of it.
    pub suspect_range_ns: (u64, u64),
    /// How long the witness must not have heard the primary before it accepts a promotion, and how long it
    /// drains its sockets after its own start or stall.
    pub witness_ns: u64,
    /// How long a price may be shown as live after the last heartbeat that a peer acknowledged, from its sending.
    pub lease_ns: u64,
    /// How long a frame may wait for the standby before the primary asks to go on alone: least and most.
    pub progress_range_ns: (u64, u64),
    /// A gap in the own loop that counts as a stall.
    pub stall_ns: u64,
    /// Between a repeated request for a gap, a petition or a greeting.
    pub retry_ns: u64,
    /// Before a peer that fell out is taken in again: at first, doubling up to the second.
    pub hold_down_ns: (u64, u64),
    /// How long a rebooted node of a DUAL epoch waits for its peer before it asks to be promoted alone.
    pub lone_ns: u64,
    /// The own journal's stall after which a primary in DUAL hands over.
    pub journal_stall_ns: u64,
    /// Bytes of frames in one message.
    pub message_bytes: usize,
    /// Messages that a follower keeps behind a gap.
    pub ahead_max: usize,
    /// Frames by which a joining peer may lag when the primary begins to wait for it.
    pub join_lag_max: u64,
    /// Bytes sent for one request of missing frames: with `retry_ns` the pace of catching up, whatever the live
    /// stream does.
    pub catch_up_bytes: usize,
    /// The largest state that is taken from a peer, bytes.
    pub state_bytes_max: u64,
    /// Sequences between fingerprints in the standby's acknowledgement.
    pub fingerprint_every: u64,
    /// Clocks of two nodes may differ by so much for a join to begin.
    pub clock_offset_max_ns: u64,
    /// A rule broken on purpose, to see that a judge notices.
    pub mutation: Option<Mutation>,
}

const MS: u64 = 1_000_000;

impl Default for Settings {
    fn default() -> Self {
        let settings = Settings {
            durability: Durability::Durable,
            heartbeat_ns: 5 * MS,
            suspect_ns: 40 * MS,
            suspect_range_ns: (30 * MS, 60 * MS),
            witness_ns: 40 * MS,
            lease_ns: 25 * MS,
            progress_range_ns: (25 * MS, 100 * MS),
            stall_ns: 25 * MS,
            retry_ns: 10 * MS,
            hold_down_ns: (2000 * MS, 60_000 * MS),
            lone_ns: 2000 * MS,
            journal_stall_ns: 100 * MS,
            message_bytes: 32 * 1024,
            ahead_max: 1024,
            join_lag_max: 1000,
            catch_up_bytes: 1 << 20,
            state_bytes_max: 1 << 34,
            fingerprint_every: 1024,
            clock_offset_max_ns: 50 * MS,
            mutation: None,
        };
        settings.check().expect("the defaults hold together");
        settings
    }
}

impl Settings {
    /// Whether the limits hold together; otherwise which do not, and why.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.lease_ns >= self.suspect_range_ns.0.min(self.suspect_ns).min(self.witness_ns) {
            return Err(
                "lease must be below suspect (its least value too) and witness: prices must be held before another node may publish",
            );
        }
        if self.heartbeat_ns * 2 > self.lease_ns {
            return Err("lease must cover two heartbeats, or one lost datagram holds all prices");
        }
        if self.suspect_range_ns.0 > self.suspect_range_ns.1
            || self.progress_range_ns.0 > self.progress_range_ns.1
        {
            return Err("a range must not end before it begins");
        }
        if self.fingerprint_every == 0 {
            return Err("fingerprint_every must be at least 1");
        }
        if self.message_bytes == 0 || self.catch_up_bytes < self.message_bytes {
            return Err("catch_up must cover a message, or nothing missing is ever sent");
        }
        if self.hold_down_ns.0 == 0 || self.hold_down_ns.0 > self.hold_down_ns.1 {
            return Err("hold_down must be above 0 and must not end before it begins");
        }
        Ok(())
    }
}

/// A rule of the protocol broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The witness does not compare the expected epoch.
    SkipEpochCompare,
    /// The witness promotes a node that is not in sync, and such a node asks.
    PromoteOutOfSync,
    /// The witness processes a repeated request again.
    RepeatRequests,
    /// The witness forgets its newest slot when it starts.
    ForgetNewestSlot,
    /// A joining peer's acknowledgements are required only after the register says DUAL.
    GateAfterDual,
    /// A join is aborted while its change is outstanding.
    AbortDuringDual,
    /// The primary acknowledges alone before the register says SOLO.
    AcknowledgeBeforeSolo,
    /// A rebooted node goes on as if it were still in sync.
    IgnoreBoot,
    /// Frames are acknowledged without the standby.
    IgnoreStandby,
    /// Under a weaker policy nothing is flushed before the set narrows.
    SkipFlush,
    /// Under a weaker policy a standby that asks to be promoted goes on acknowledging.
    SkipSeal,
    /// A sealed standby unseals after a while without the witness's answer.
    UnsealOnTimeout,
    /// A standby acknowledges frames that are only in its memory, under `durable`.
    AcknowledgeFromMemory,
    /// A primary that learns of a higher epoch goes on.
    IgnoreHigherEpoch,
    /// A follower takes frames whatever their link to the frame before.
    IgnoreChain,
    /// A node that left the set stays up instead of starting again.
    StayAfterDemotion,
    /// A lone node that starts again does not compare its log with the register.
    RecoverUnchecked,
    /// Prices stay live although no peer acknowledged a heartbeat.
    IgnoreLease,
    /// A fingerprint that differs is not compared.
    IgnoreFingerprint,
    /// Of two rebooted nodes the one with the shorter log wins.
    ColdShorterWins,
    /// A log is cut because of an answer to an old question, although a petition speaks of it.
    TakeOldAnswers,
    /// Frames are committed in an epoch before the frame that opens it is.
    CommitBeforeOpening,
    /// A peer is taken into the set that only greeted.
    TakeInUnanswered,
    /// A peer is taken into the set that has what this process committed, though not all that it inherited, nor the frame
    /// that opens the epoch.
    TakeInShort,
    /// Of two rebooted nodes one leads before its journal holds what it fetched.
    ColdFromMemory,
    /// A blank witness takes what nodes know although a log holds a later epoch.
    SeedAgainstLogs,
    /// A witness that was given its register back goes on with the epoch that its nodes know.
    SeedSameEpoch,
    /// A node leads from a new boot although the boot that is in sync was heard just now.
    TrustTwins,
    /// A petition that a blank witness knows nothing of counts as refused.
    BlankIsRefusal,
    /// A node that was in sync leads although its log lacks the epoch's start.
    TrustAnyDisk,
    /// A node whose journal is damaged gives its peer the front of it as if that were all, and answers what an earlier
    /// process of its was asked.
    GiveDamagedLog,
    /// Where an epoch opens, time jumps to the own clock, whatever the others say.
    TrustOwnClock,
}

impl Mutation {
    /// Every one, by name.
    pub const ALL: [(&'static str, Mutation); 32] = [
        ("skip-epoch-compare", Mutation::SkipEpochCompare),
        ("promote-out-of-sync", Mutation::PromoteOutOfSync),
        ("repeat-requests", Mutation::RepeatRequests),
        ("forget-newest-slot", Mutation::ForgetNewestSlot),
        ("gate-after-dual", Mutation::GateAfterDual),
        ("abort-during-dual", Mutation::AbortDuringDual),
        ("acknowledge-before-solo", Mutation::AcknowledgeBeforeSolo),
        ("ignore-boot", Mutation::IgnoreBoot),
        ("ignore-standby", Mutation::IgnoreStandby),
        ("skip-flush", Mutation::SkipFlush),
        ("skip-seal", Mutation::SkipSeal),
        ("unseal-on-timeout", Mutation::UnsealOnTimeout),
        ("acknowledge-from-memory", Mutation::AcknowledgeFromMemory),
        ("ignore-higher-epoch", Mutation::IgnoreHigherEpoch),
        ("ignore-chain", Mutation::IgnoreChain),
        ("stay-after-demotion", Mutation::StayAfterDemotion),
        ("recover-unchecked", Mutation::RecoverUnchecked),
        ("ignore-lease", Mutation::IgnoreLease),
        ("ignore-fingerprint", Mutation::IgnoreFingerprint),
        ("cold-shorter-wins", Mutation::ColdShorterWins),
        ("take-old-answers", Mutation::TakeOldAnswers),
        ("commit-before-opening", Mutation::CommitBeforeOpening),
        ("take-in-unanswered", Mutation::TakeInUnanswered),
        ("take-in-short", Mutation::TakeInShort),
        ("cold-from-memory", Mutation::ColdFromMemory),
        ("seed-against-logs", Mutation::SeedAgainstLogs),
        ("seed-same-epoch", Mutation::SeedSameEpoch),
        ("trust-twins", Mutation::TrustTwins),
        ("blank-is-refusal", Mutation::BlankIsRefusal),
        ("trust-any-disk", Mutation::TrustAnyDisk),
        ("give-damaged-log", Mutation::GiveDamagedLog),
        ("trust-own-clock", Mutation::TrustOwnClock),
    ];
}
