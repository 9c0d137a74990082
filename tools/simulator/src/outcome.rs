//! Counts of what happened, to see that a run met what it is there to meet.

/// Declares the counts once: fields, sum and names stay together.
macro_rules! outcome {
    ($($(#[$doc:meta])* $field:ident $name:literal,)*) => {
        /// What happened in a run.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Outcome {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Outcome {
            /// Adds another run's counts.
            pub fn add(&mut self, other: &Outcome) {
                $(self.$field += other.$field;)*
            }

            /// Names of the counts that only a cluster's run moves, from this one on.
            pub const FIRST_OF_CLUSTER: &'static str = "promotions";

            /// Names and counts, for people and programs.
            pub fn counts(&self) -> [(&'static str, u64); [$($name),*].len()] {
                [$(($name, self.$field)),*]
            }
        }
    };
}

outcome! {
    /// Steps taken.
    events "events",
    /// Tickets with a final answer at a client.
    tickets "tickets_committed",
    /// Of these accepted.
    accepted "accepted",
    /// Faults that happened, of whatever kind.
    faults "faults",
    /// Times that the node went down without being asked to.
    crashes "crashes",
    /// Of these, crashes in the middle of a disk operation.
    crashes_in_writes "crashes_in_writes",
    /// Starts that found a torn end.
    torn_writes "torn_writes",
    /// Crashes in a disk operation of a recovery.
    crashes_in_recovery "crashes_in_recovery",
    /// Writes that the device refused; each ends the node.
    device_errors "device_errors",
    /// Orderly stops.
    stops "stops",
    /// Attested states in the journal.
    attestations "attestations",
    /// Times that a shard offered all its messages again.
    offers_repeated "offers_repeated",
    /// Commands at which every core's decision panicked.
    poisoned "poison_commands",
    /// Connections broken without a crash.
    disconnects "disconnects",
    /// Connections that the node ended because their client did not read.
    overruns "overruns",
    /// Connections that sent what is no frame.
    hostile "hostile",
    /// Clients that restarted.
    client_restarts "client_restarts",
    /// Commands of which nobody knew whether they had run, sent again by their sender.
    unknown "unknown",
    /// Answers given again to a client that asked again.
    answers_repeated "answers_repeated",
    /// Ids used twice with other content, and told so.
    conflicts "conflicts",
    /// Tickets refused for a while and sent again.
    refused "refused",
    /// Of these, refused because the journal could not grow.
    refused_disk_full "refused_disk_full",
    /// Phases in which the disk had no room for a new segment.
    full_disks "full_disks",
    /// Times that the node's clock was set.
    clock_steps "clock_steps",
    /// Tickets that crossed partitions.
    reservations "reservations",
    /// Messages that settle bets of a fixture.
    settlements "settlements",
    /// Messages that take settlements back.
    rollbacks "rollbacks",
    /// Promises of the feed that lapsed.
    lapses "lapses",
    /// Fixtures whose retention ended.
    archives "archives",
    /// Messages that take their bets out of memory.
    retirements "retirements",
    /// Bets brought back.
    recalls "recalls",
    /// Pieces of settlements and leaves that took more than a frame.
    works "works",
    /// Effects that left the node, each found again in the log's replay.
    effects "effects",
    /// Different events that a subscriber was told.
    events_told "events_told",
    /// Frames in the journal at the end.
    frames "frames",
    /// Standbys that took over.
    promotions "promotions",
    /// Primaries that went on alone.
    solos "solos",
    /// Peers taken in.
    joins "joins",
    /// Roles handed over on purpose.
    handoffs "handoffs",
    /// Lone nodes that came back.
    recoveries "recoveries",
    /// Times that both came back and one of them led on.
    colds "colds",
    /// Times that an operator forced a node to lead.
    forces "forces",
    /// Times that the disaster recovery site went away.
    site_stops "site_stops",
    /// States that it took because its log ended before a node's begins.
    site_installs "site_installs",
    /// Times that it was made the primary at the end of a run, with both nodes lost.
    relocations "relocations",
    /// Nodes that started again because they were out of the set.
    demotions "demotions",
    /// Logs cut back to what the primary's log has too.
    cuts "cuts",
    /// Snapshots kept.
    snapshots "snapshots",
    /// States taken over from a peer whose log begins behind the own one's end.
    installs "installs",
    /// Requests for missing frames.
    repairs "repairs",
    /// Messages between nodes that were lost.
    messages_lost "messages_lost",
    /// Links cut.
    partitions "partitions",
    /// Processes that stood still for a while.
    pauses "pauses",
    /// Phases in which prices were held back.
    holds "holds",
    /// Times that the witness went down.
    witness_crashes "witness_crashes",
    /// Times that its register was lost or rotted.
    witness_losses "witness_losses",
    /// Times that an operator had to tell the witness whose log is the cluster's.
    witness_seeds "witness_seeds",
    /// Fingerprints of states, taken while the nodes run.
    fingerprints "fingerprints",
    /// Bits flipped in the state of a node.
    spoilt "spoilt",
    /// Times that two states were found to differ.
    divergences "divergences",
    /// Times that several things failed while a change was asked for.
    strikes "strikes",
    /// Disks that were lost.
    disks_lost "disks_lost",
    /// Old images of disks put in.
    stale_images "stale_images",
    /// Lasting faults from full strength, under load.
    ordeals "ordeals",
    /// The longest that nothing was acknowledged in one, microseconds; of several runs the sum.
    ordeal_gap_us "ordeal_gap_us",
    /// Disks cloned and started as a second process of a node that lives.
    clones "clones",
    /// Bits that flipped in a journal.
    rotten_bits "rotten_bits",
    /// Writes that landed elsewhere.
    misdirected "misdirected_writes",
    /// Journals damaged in the middle, of which only the front was read.
    damaged "damaged_journals",
    /// Times that an operator let a node go on with a cut or damaged log.
    words "words",
    /// Clean faults from full strength.
    drills "drills",
    /// What they took until something was acknowledged again, together, microseconds.
    drill_us "drill_us",
    /// Longest of these, microseconds; of several runs the sum.
    drill_us_most "drill_us_most",
}
