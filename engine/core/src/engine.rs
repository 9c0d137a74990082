//! Sequencer and partitions in one place and one thread: what scripts, audits and the naive twin of the
//! threaded pipeline run.

use crate::effect::Effect;
use crate::sequencer::{Batch, Input, Now, Refusal, Sequencer};
use crate::shard::{Shard, placed};
use touchline_protocol::{
    Attest, Body, Epoch, FrameRef, Genesis, NewEpoch, PartitionFingerprint, PartitionId, Seq,
};

/// A whole core.
pub struct Engine {
    /// The sequencer.
    pub sequencer: Sequencer,
    /// The shards; their number never shows.
    pub shards: Vec<Shard>,
    /// Refusals of the sequencer that nobody took yet.
    pub refusals: Vec<Refusal>,
}

impl Engine {
    /// A core of an empty log with room for `partitions`, hosted on a number of shards.
    pub fn new(cluster: u64, partitions: u16, shards: usize) -> Self {
        let shards = (0..shards).map(|index| Shard::new(index, shards, partitions)).collect();
        Engine { sequencer: Sequencer::new(cluster), shards, refusals: Vec::new() }
    }

    /// Writes genesis and opens the first epoch.
    pub fn begin(
        &mut self,
        now: Now,
        genesis: Genesis,
        epoch: NewEpoch,
        log: &mut Batch,
        out: &mut Vec<Effect>,
    ) {
        self.sequencer.offer(Input::Node(genesis.into()));
        self.run(now, log, out);
        self.open_epoch(now, epoch, log, out);
    }

    /// Opens the next epoch and offers every outbox again.
    pub fn open_epoch(&mut self, now: Now, epoch: NewEpoch, log: &mut Batch, out: &mut Vec<Effect>) {
        let end = log.bytes.len();
        let number = Epoch(self.sequencer.epoch().0 + 1);
        self.sequencer.open_epoch(now, number, epoch, log);
        self.shards.iter_mut().for_each(Shard::offer_again);
        self.apply(log.frames_from(end), out);
        self.run(now, log, out);
    }

    /// Sequences and applies an input and everything that follows from it.
    pub fn input(&mut self, now: Now, input: Input, log: &mut Batch, out: &mut Vec<Effect>) {
        self.sequencer.offer(input);
        self.run(now, log, out);
    }

    /// Sequences and applies until nothing waits.
    pub fn run(&mut self, now: Now, log: &mut Batch, out: &mut Vec<Effect>) {
        loop {
            for body in self.shards.iter_mut().flat_map(Shard::offers) {
                self.sequencer.offer(Input::Internal(body));
            }
            let end = log.bytes.len();
            self.sequencer.step(now, usize::MAX, log, &mut self.refusals);
            if log.bytes.len() == end {
                return;
            }
            self.apply(log.frames_from(end), out);
        }
    }

    /// Applies frames that the sequencer has already followed.
    fn apply<'f>(&mut self, frames: impl Iterator<Item = FrameRef<'f>>, out: &mut Vec<Effect>) {
        for frame in frames {
            let body = frame.body().expect("the sequencer wrote it");
            self.shards.iter_mut().for_each(|shard| shard.apply(&frame, &body, out));
        }
    }

    /// Follows a frame of a recorded log.
    pub fn replay(&mut self, frame: &FrameRef<'_>, body: &Body, out: &mut Vec<Effect>) {
        self.sequencer.follow(frame, body);
        self.shards.iter_mut().for_each(|shard| shard.apply(frame, body, out));
    }

    /// The fingerprint of everything: the sum over partitions, all entities re-hashed. `Err` gives the number
    /// of entities that are not what they were when last hashed.
    pub fn fingerprint(&mut self) -> Result<u128, usize> {
        self.attest().map(|attest| combine(&attest))
    }

    /// What the log would attest now.
    pub fn attest(&mut self) -> Result<Attest, usize> {
        let covers = self.sequencer.last();
        attest(covers, self.shards.iter_mut())
    }

    /// A partition.
    pub fn partition(&self, id: PartitionId) -> Option<&crate::Partition> {
        self.shards.iter().find_map(|shard| shard.get(id))
    }

    /// Profit of the house over settled bets, minor units.
    pub fn profit_minor(&self) -> i64 {
        self.shards.iter().flat_map(Shard::partitions).map(crate::Partition::profit_minor).sum()
    }
}

/// Re-hashes every partition of some shards, in the order of their numbers.
pub fn attest<'s>(covers: Seq, shards: impl Iterator<Item = &'s mut Shard>) -> Result<Attest, usize> {
    let mut fingerprints = Vec::new();
    for partition in shards.flat_map(Shard::partitions_mut) {
        let fingerprint = partition.full_fingerprint()?;
        fingerprints.push(PartitionFingerprint { partition: partition.id, fingerprint });
    }
    fingerprints.sort_by_key(|entry| entry.partition);
    Ok(Attest { covers, fingerprints: touchline_protocol::List(fingerprints) })
}

/// The fingerprint of a whole log: those of its partitions, each rotated by its number, combined.
pub fn combine(attest: &Attest) -> u128 {
    attest.fingerprints.iter().fold(0, |sum, entry| sum ^ placed(entry.partition, entry.fingerprint))
}
