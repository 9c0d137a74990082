//! The whole node under a seed: its stages stepped one at a time in random order by one thread, on a disk that
//! tears writes, with clients whose connections break.
//!
//! Everything a run does follows from its seed, so a failure is found again by its number. The stages, the
//! recovery and the client sessions are the production code; only threads, sockets, files and clocks are not.
//!
//! **Never:** a run reads a clock or a random number of the system, or depends on the order of a hash map.

mod disk;
mod judge;
mod node;
mod people;
mod world;

use std::fmt;

/// What may go wrong, and how much is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Steps with faults; a calm end follows.
    pub steps: u64,
    /// Crashes at most.
    pub crashes: u64,
    /// A rule that is broken on purpose, to see that a judge notices.
    pub mutation: Option<Mutation>,
}

impl Default for Options {
    fn default() -> Self {
        Options { steps: 6000, crashes: 40, mutation: None }
    }
}

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Effects leave when their frame is sequenced, not when it is durable.
    ReleaseBeforeDurable,
    /// A client that restarts sends its unanswered tickets with new ids.
    NewIdsOnRetry,
    /// A start forgets the journal.
    EmptyStart,
}

impl Mutation {
    /// Every one, by name.
    pub const ALL: [(&'static str, Mutation); 3] = [
        ("release-before-durable", Mutation::ReleaseBeforeDurable),
        ("new-ids-on-retry", Mutation::NewIdsOnRetry),
        ("empty-start", Mutation::EmptyStart),
    ];
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps taken.
    pub events: u64,
    /// Tickets with a final answer at a client.
    pub tickets: u64,
    /// Of these accepted.
    pub accepted: u64,
    /// Starts of the node after a crash.
    pub crashes: u64,
    /// Crashes in the middle of a disk operation.
    pub crashes_in_writes: u64,
    /// Of these, crashes that left a torn end.
    pub torn_writes: u64,
    /// Crashes during recovery.
    pub crashes_in_recovery: u64,
    /// Connections broken without a crash.
    pub disconnects: u64,
    /// Clients that restarted.
    pub client_restarts: u64,
    /// Answers given again to a client that asked again.
    pub answers_repeated: u64,
    /// Ids used twice with other content, and told so.
    pub conflicts: u64,
    /// Tickets refused for a while and sent again.
    pub refused: u64,
    /// Phases in which the disk had no room for a new segment.
    pub full_disks: u64,
    /// Tickets that crossed partitions.
    pub reservations: u64,
    /// Frames in the journal at the end.
    pub frames: u64,
}

impl Outcome {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Outcome) {
        self.events += other.events;
        self.tickets += other.tickets;
        self.accepted += other.accepted;
        self.crashes += other.crashes;
        self.crashes_in_writes += other.crashes_in_writes;
        self.torn_writes += other.torn_writes;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.disconnects += other.disconnects;
        self.client_restarts += other.client_restarts;
        self.answers_repeated += other.answers_repeated;
        self.conflicts += other.conflicts;
        self.refused += other.refused;
        self.full_disks += other.full_disks;
        self.reservations += other.reservations;
        self.frames += other.frames;
    }

    /// Names and counts, for people and programs.
    pub fn counts(&self) -> [(&'static str, u64); 15] {
        [
            ("events", self.events),
            ("tickets_committed", self.tickets),
            ("accepted", self.accepted),
            ("crashes", self.crashes),
            ("crashes_in_writes", self.crashes_in_writes),
            ("torn_writes", self.torn_writes),
            ("crashes_in_recovery", self.crashes_in_recovery),
            ("disconnects", self.disconnects),
            ("client_restarts", self.client_restarts),
            ("answers_repeated", self.answers_repeated),
            ("conflicts", self.conflicts),
            ("refused", self.refused),
            ("full_disks", self.full_disks),
            ("reservations", self.reservations),
            ("frames", self.frames),
        ]
    }
}

/// A rule that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub why: String,
    /// The last events before it, one a line.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.history.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "seed {}: {}", self.seed, self.why)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, Box<Failure>> {
    world::World::new(seed, options.clone()).run()
}
