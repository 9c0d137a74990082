//! Seeds of the whole node, and proof that the judges can fail.

use touchline_simulator::{Durability, Mutation, Options, Outcome, lockstep, run, shrink};

/// How many seeds of one node, and of each of four groups of a cluster: a bounded number, or what `TOUCHLINE_SEEDS` says,
/// for a long run.
fn seeds(usual: u64) -> u64 {
    std::env::var("TOUCHLINE_SEEDS").map_or(usual, |seeds| seeds.parse().expect("a number of seeds"))
}

#[test]
fn no_seed_loses_doubles_or_changes_an_answer() {
    let mut all = Outcome::default();
    for seed in 0..seeds(40) {
        let outcome = run(seed, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        all.add(&outcome);
    }
    println!("{:?}", all.counts());
    let of_node = |(name, _): &(&str, u64)| *name != Outcome::FIRST_OF_CLUSTER;
    for (name, count) in all.counts().into_iter().take_while(of_node) {
        assert!(count > 0, "{name} never happened: {:?}", all.counts());
    }
}

fn cluster(durability: Durability) -> Options {
    Options { cluster: true, durability, ..Options::default() }
}

/// What must happen in every few hundred seeds, or they prove little. Rarer things happen in longer runs.
const MUST_HAPPEN: [&str; 24] = [
    "promotions",
    "solos",
    "joins",
    "handoffs",
    "recoveries",
    "colds",
    "demotions",
    "torn_writes",
    "repairs",
    "cuts",
    "snapshots",
    "installs",
    "partitions",
    "pauses",
    "holds",
    "witness_crashes",
    "fingerprints",
    "strikes",
    "drills",
    "relocations",
    "archives",
    "poison_commands",
    "clones",
    "ordeals",
];

/// Seeds of a cluster, from a number on.
fn no_seed_of_a_cluster_fails(durability: Durability, from: u64) {
    let mut all = Outcome::default();
    for seed in from..from + seeds(250) {
        let outcome = run(seed, &cluster(durability)).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(
            outcome.tickets >= 100 && outcome.faults >= 3,
            "seed {seed} proves little: {:?}",
            outcome.counts()
        );
        all.add(&outcome);
    }
    println!("{:?}", all.counts());
    for (name, count) in all.counts() {
        // Under `memory` no write is interrupted: it does not promise to survive the loss of both.
        let spared = durability == Durability::Memory && name == "torn_writes";
        assert!(
            count > 0 || spared || !MUST_HAPPEN.contains(&name),
            "{name} never happened: {:?}",
            all.counts()
        );
    }
}

#[test]
fn no_seed_of_a_durable_cluster_loses_doubles_or_changes_an_answer() {
    no_seed_of_a_cluster_fails(Durability::Durable, 0);
}

#[test]
fn no_further_seed_of_a_durable_cluster_does() {
    no_seed_of_a_cluster_fails(Durability::Durable, 100_000);
}

#[test]
fn no_seed_of_a_hybrid_cluster_does() {
    no_seed_of_a_cluster_fails(Durability::Hybrid, 0);
}

#[test]
fn no_seed_of_a_cluster_in_memory_does() {
    no_seed_of_a_cluster_fails(Durability::Memory, 0);
}

/// Rules of the protocol, a policy under which breaking them shows, and what the judge says that is there for them. Under
/// some seeds another one speaks before it: a broken rule may also leave a cluster that no longer serves.
const BROKEN: [(lockstep::Mutation, Durability, &str); 4] = [
    (lockstep::Mutation::IgnoreStandby, Durability::Durable, "but the journals hold less"),
    (lockstep::Mutation::IgnoreStandby, Durability::Hybrid, "which was committed"),
    (lockstep::Mutation::AcknowledgeBeforeSolo, Durability::Durable, "but the journals hold less"),
    (lockstep::Mutation::AcknowledgeFromMemory, Durability::Durable, "but the journals hold less"),
];

#[test]
fn broken_rules_of_the_protocol_are_noticed() {
    for (mutation, durability, judge) in BROKEN {
        let options = Options { lockstep: Some(mutation), ..cluster(durability) };
        let failures = (0..150).filter_map(|seed| run(seed, &options).err()).map(|failure| failure.why);
        let mut others = Vec::new();
        let noticed = failures.into_iter().any(|why| {
            let its_own = why.contains(judge);
            others.push(why);
            its_own
        });
        assert!(noticed, "{mutation:?} passed its judge {judge:?}; others said {others:?}");
    }
}

/// Rules whose breaking some judge notices early, and under which policy; `LOCKSTEP.md` has them all, with their seeds.
const NOTICED_EARLY: [(Durability, lockstep::Mutation); 16] = [
    (Durability::Durable, lockstep::Mutation::PromoteOutOfSync),
    (Durability::Durable, lockstep::Mutation::RepeatRequests),
    (Durability::Durable, lockstep::Mutation::ForgetNewestSlot),
    (Durability::Durable, lockstep::Mutation::GateAfterDual),
    (Durability::Durable, lockstep::Mutation::IgnoreBoot),
    (Durability::Durable, lockstep::Mutation::StayAfterDemotion),
    (Durability::Durable, lockstep::Mutation::IgnoreLease),
    (Durability::Durable, lockstep::Mutation::IgnoreFingerprint),
    (Durability::Durable, lockstep::Mutation::ColdShorterWins),
    (Durability::Durable, lockstep::Mutation::RecoverUnchecked),
    (Durability::Durable, lockstep::Mutation::TrustTwins),
    (Durability::Durable, lockstep::Mutation::AbortDuringDual),
    (Durability::Hybrid, lockstep::Mutation::TrustAnyDisk),
    (Durability::Durable, lockstep::Mutation::TakeInShort),
    (Durability::Memory, lockstep::Mutation::SkipFlush),
    (Durability::Memory, lockstep::Mutation::ColdFromMemory),
];

#[test]
fn more_broken_rules_of_the_protocol_are_noticed() {
    for (durability, mutation) in NOTICED_EARLY {
        let options = Options { lockstep: Some(mutation), ..cluster(durability) };
        let noticed = (0..300).any(|seed| run(seed, &options).is_err());
        assert!(noticed, "{mutation:?} passed unnoticed");
    }
}

/// Seeds of a cluster under which a rule was found wrong or missing; `LOCKSTEP.md` tells which.
const CLUSTER_FAILED_ONCE: [(Durability, u64); 40] = [
    (Durability::Durable, 1461),
    (Durability::Durable, 31),
    (Durability::Hybrid, 5),
    (Durability::Hybrid, 98),
    (Durability::Hybrid, 1307),
    (Durability::Durable, 282),
    (Durability::Durable, 342),
    (Durability::Hybrid, 394),
    (Durability::Hybrid, 106),
    (Durability::Durable, 75),
    (Durability::Memory, 79),
    (Durability::Durable, 40),
    (Durability::Hybrid, 1273),
    (Durability::Hybrid, 25078),
    (Durability::Memory, 20012),
    (Durability::Durable, 20257),
    (Durability::Durable, 146),
    (Durability::Memory, 27),
    (Durability::Durable, 2931),
    (Durability::Hybrid, 6225),
    (Durability::Hybrid, 4852),
    (Durability::Durable, 23670),
    (Durability::Durable, 26),
    (Durability::Durable, 114),
    (Durability::Hybrid, 92),
    (Durability::Memory, 147),
    (Durability::Memory, 616),
    (Durability::Durable, 1366),
    (Durability::Durable, 5119),
    (Durability::Durable, 4333),
    (Durability::Hybrid, 1678),
    (Durability::Hybrid, 2614),
    (Durability::Hybrid, 6297),
    (Durability::Hybrid, 6795),
    (Durability::Memory, 3766),
    (Durability::Durable, 3558),
    (Durability::Hybrid, 697),
    (Durability::Hybrid, 4633),
    (Durability::Hybrid, 1890),
    (Durability::Memory, 3581),
];

#[test]
fn seeds_of_a_cluster_that_failed_once_hold() {
    for (durability, seed) in CLUSTER_FAILED_ONCE {
        run(seed, &cluster(durability)).unwrap_or_else(|failure| panic!("{durability:?}: {failure}"));
    }
}

/// Seeds that failed once. 679: an audit took a bet that can win nothing for one decided at once.
const FAILED_ONCE: &[u64] = &[679];

#[test]
fn seeds_that_failed_once_hold() {
    for seed in FAILED_ONCE {
        run(*seed, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_is_one_history() {
    let options = Options::default();
    assert_eq!(run(7, &options).unwrap(), run(7, &options).unwrap());
}

/// What the first judge said that noticed a broken rule.
fn caught_within(seeds: u64, mutation: Mutation) -> Option<String> {
    let options = Options { mutation: Some(mutation), ..Options::default() };
    (0..seeds).find_map(|seed| run(seed, &options).err()).map(|failure| failure.why)
}

#[test]
fn broken_rules_are_noticed_by_the_judge_that_is_there_for_them() {
    for (name, mutation) in Mutation::ALL {
        let why = caught_within(20, mutation).unwrap_or_else(|| panic!("{name} passed unnoticed"));
        println!("{name}: {why}");
        let judge = match mutation {
            Mutation::ReleaseBeforeDurable => "left while the log was committed up to",
            Mutation::AcknowledgeBeforeWrite | Mutation::EmptyStart => "was durable, but the journal ends at",
            Mutation::NewIdsOnRetry => "and nobody was told",
            Mutation::ChangeRepeatedAnswer => "later with",
            Mutation::LoseMessages => "somebody waits for an answer",
            Mutation::LoseEvents => "follows",
            Mutation::WrongAttestation => "differs from the fingerprint that the log attests",
        };
        assert!(why.contains(judge), "{name} was noticed, but by another judge: {why}");
    }
}

#[test]
fn a_failure_shrinks_to_fewer_faults_that_still_lead_to_one() {
    let options =
        Options { lockstep: Some(lockstep::Mutation::IgnoreStandby), ..cluster(Durability::Durable) };
    let failure = (0..20).find_map(|seed| run(seed, &options).err()).expect("a broken rule fails");
    let before = failure.faults.len();
    let (smallest, faults) = shrink(failure, &options, &mut |_, _| {});
    assert!(faults.len() <= before.div_ceil(2), "{} of {before} faults are left", faults.len());
    let again = run(smallest.seed, &Options { only: Some(faults), ..options }).unwrap_err();
    assert_eq!((again.why, again.history), (smallest.why, smallest.history));
}
