//! The whole node under a seed: its stages stepped one at a time in random order by one thread, on a disk that
//! tears writes, with clients whose connections break.
//!
//! Everything a run does follows from its seed, so a failure is found again by its number. The stages, the
//! recovery and the client sessions are the production code; only threads, sockets, files and clocks are not.
//!
//! **Never:** a run reads a clock or a random number of the system, or depends on the order of a hash map.

mod afar;
mod answers;
mod cluster;
mod disk;
mod drill;
mod faults;
mod friendlies;
mod judge;
mod ledger;
mod media;
mod member;
mod nemesis;
mod net;
mod node;
mod operator;
mod ordeal;
mod outcome;
mod people;
mod poison;
mod shrink;
mod streams;
mod strikes;
mod third;
mod twin;
mod workload;
mod world;

pub use outcome::Outcome;
pub use shrink::shrink;
use std::collections::BTreeSet;
use std::fmt;
pub use touchline_lockstep as lockstep;
pub use touchline_lockstep::Durability;

/// What may go wrong, and how much is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Steps with faults; a calm end follows.
    pub steps: u64,
    /// Crashes at most.
    pub crashes: u64,
    /// What may go wrong.
    pub faults: BTreeSet<Fault>,
    /// Only these faults happen, by their number in the run; `None` is all.
    pub only: Option<BTreeSet<u64>>,
    /// Whether primary, standby and witness run, rather than one node that stands alone.
    pub cluster: bool,
    /// When the cluster's acknowledgements count.
    pub durability: Durability,
    /// A rule of the protocol between nodes that is broken on purpose.
    pub lockstep: Option<touchline_lockstep::Mutation>,
    /// A rule that is broken on purpose, to see that a judge notices.
    pub mutation: Option<Mutation>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            steps: 6000,
            crashes: 40,
            faults: Fault::ALL.map(|(_, fault)| fault).into(),
            only: None,
            cluster: false,
            durability: Durability::Durable,
            lockstep: None,
            mutation: None,
        }
    }
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Connections of clients break, clients restart, somebody sends nonsense, shards repeat themselves.
    Clients,
    /// Processes are killed or stopped, one or both at once.
    Crashes,
    /// Writes are torn, disks fill, fail and stand still.
    Disks,
    /// Disks are lost or swapped for old images, bits rot, writes land elsewhere.
    Media,
    /// Clocks step, drift and stand still.
    Clocks,
    /// Links are cut, lossy and slow.
    Links,
    /// Processes stand still.
    Pauses,
    /// The witness dies, or loses or spoils its file.
    Witness,
    /// A role is handed over.
    Handoffs,
    /// A bit flips in a state in memory.
    State,
    /// Several things fail while a change of the register is asked for.
    Strikes,
    /// One clean fault from full strength, timed.
    Drills,
    /// An operator forces a node to lead.
    Operators,
    /// Commands at which every core's decision panics.
    Poison,
}

impl Fault {
    /// Every one, by name.
    pub const ALL: [(&'static str, Fault); 14] = [
        ("clients", Fault::Clients),
        ("crashes", Fault::Crashes),
        ("disks", Fault::Disks),
        ("media", Fault::Media),
        ("clocks", Fault::Clocks),
        ("links", Fault::Links),
        ("pauses", Fault::Pauses),
        ("witness", Fault::Witness),
        ("handoffs", Fault::Handoffs),
        ("state", Fault::State),
        ("strikes", Fault::Strikes),
        ("drills", Fault::Drills),
        ("operators", Fault::Operators),
        ("poison", Fault::Poison),
    ];
}

/// A rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Effects leave when their frame is sequenced, not when it is durable.
    ReleaseBeforeDurable,
    /// The journal calls frames durable before it writes them.
    AcknowledgeBeforeWrite,
    /// A client that restarts sends its unanswered tickets with new ids.
    NewIdsOnRetry,
    /// A start forgets the journal.
    EmptyStart,
    /// A repeated answer differs from the first.
    ChangeRepeatedAnswer,
    /// Messages between partitions are lost from some point of a start on.
    LoseMessages,
    /// Some events are lost on the way to their subscribers.
    LoseEvents,
    /// The node attests a state that it does not have.
    WrongAttestation,
}

impl Mutation {
    /// Every one, by name.
    pub const ALL: [(&'static str, Mutation); 8] = [
        ("release-before-durable", Mutation::ReleaseBeforeDurable),
        ("acknowledge-before-write", Mutation::AcknowledgeBeforeWrite),
        ("new-ids-on-retry", Mutation::NewIdsOnRetry),
        ("empty-start", Mutation::EmptyStart),
        ("change-repeated-answer", Mutation::ChangeRepeatedAnswer),
        ("lose-messages", Mutation::LoseMessages),
        ("lose-events", Mutation::LoseEvents),
        ("wrong-attestation", Mutation::WrongAttestation),
    ];
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
    /// The numbers of the faults that happened until then.
    pub faults: Vec<u64>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.history.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "seed {}: {}", self.seed, self.why)
    }
}

impl std::error::Error for Failure {}

/// Runs one seed: the same seed and options give the same history, always.
pub fn run(seed: u64, options: &Options) -> Result<Outcome, Box<Failure>> {
    let _poisoned = poison::Poisoned::new(seed, options);
    world::World::new(seed, options.clone()).run()
}
