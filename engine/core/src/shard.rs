//! A shard: the partitions that one thread hosts. How many there are never changes a decision.

use crate::effect::Effect;
use crate::partition::Partition;
use touchline_protocol::{Body, FrameRef, PARTITIONS_MAX, PartitionId};

/// A partition's part in the fingerprint of all: rotated by its number, so that equal ones do not cancel out.
pub(crate) fn placed(id: PartitionId, fingerprint: u128) -> u128 {
    fingerprint.rotate_left(id.0.into())
}

/// One bit for each partition.
fn all_of(partitions: &[Partition]) -> u64 {
    (0..partitions.len()).fold(0, |all, place| all | 1 << place)
}

/// Partitions of one thread.
pub struct Shard {
    /// Position of each partition in `partitions`.
    place: [Option<u8>; PARTITIONS_MAX as usize],
    partitions: Vec<Partition>,
    /// One bit a place: partitions that may have something to offer, since they were touched after they last did.
    touched: u64,
}

const _: () = assert!(PARTITIONS_MAX as u32 <= u64::BITS);

impl Shard {
    /// Hosts every partition of a log with `partitions` of them whose number leaves `index` modulo `shards`.
    pub fn new(index: usize, shards: usize, partitions: u16) -> Self {
        let hosted = (0..partitions).filter(|id| usize::from(*id) % shards == index);
        Shard::of(hosted.map(|id| Partition::new(PartitionId(id))).collect())
    }

    fn of(partitions: Vec<Partition>) -> Self {
        let mut place = [None; PARTITIONS_MAX as usize];
        for (at, partition) in partitions.iter().enumerate() {
            place[usize::from(partition.id().0)] = Some(at as u8);
        }
        // What they offered before is not known here: all are asked.
        let touched = all_of(&partitions);
        Shard { place, partitions, touched }
    }

    /// Hosts the partitions of some shards on a number of others, each where [`Shard::new`] would have it.
    pub fn spread(shards: Vec<Shard>, over: usize) -> Vec<Shard> {
        let mut partitions: Vec<Partition> = shards.into_iter().flat_map(|shard| shard.partitions).collect();
        partitions.sort_by_key(Partition::id);
        let mut hosted: Vec<Vec<Partition>> = (0..over).map(|_| Vec::new()).collect();
        for partition in partitions {
            hosted[usize::from(partition.id().0) % over].push(partition);
        }
        hosted.into_iter().map(Shard::of).collect()
    }

    /// Applies a frame to whoever it concerns here: the partition it is for, and the one that sent it.
    pub fn apply(&mut self, frame: &FrameRef<'_>, body: &Body, out: &mut Vec<Effect>) {
        let to = frame.partition();
        if to == PartitionId::ALL {
            for partition in self.partitions_mut() {
                partition.apply(frame, body, out);
            }
            return;
        }
        let from = body.hop().map(|hop| hop.from).filter(|from| *from != to);
        for id in [Some(to), from].into_iter().flatten() {
            if let Some(partition) = self.get_mut(id) {
                partition.apply(frame, body, out);
            }
        }
    }

    /// Whether a frame concerns a partition of this shard, judged without decoding its body.
    pub fn may_concern(&self, frame: &FrameRef<'_>) -> bool {
        let is_internal = (80..128).contains(&frame.kind());
        is_internal || frame.partition() == PartitionId::ALL || self.get(frame.partition()).is_some()
    }

    /// Messages that these partitions now offer to the sequencer, in order for each.
    pub fn offers(&mut self) -> Vec<Body> {
        let mut touched = std::mem::take(&mut self.touched);
        let mut offers = Vec::new();
        while touched != 0 {
            offers.extend(self.partitions[touched.trailing_zeros() as usize].offers());
            touched &= touched - 1;
        }
        offers
    }

    /// Offers every outbox again from its front.
    pub fn offer_again(&mut self) {
        self.partitions_mut().iter_mut().for_each(Partition::offer_again);
    }

    /// The part of these partitions in the whole fingerprint, from what changed since it was last asked for.
    pub fn fingerprint(&mut self) -> u128 {
        self.partitions
            .iter_mut()
            .fold(0, |sum, partition| sum ^ placed(partition.id(), partition.fingerprint()))
    }

    /// A hosted partition.
    pub fn get(&self, id: PartitionId) -> Option<&Partition> {
        let place = (*self.place.get(usize::from(id.0))?)?;
        self.partitions.get(usize::from(place))
    }

    /// A hosted partition, to be changed.
    pub fn get_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        let place = (*self.place.get(usize::from(id.0))?)?;
        self.touched |= 1 << place;
        self.partitions.get_mut(usize::from(place))
    }

    /// The hosted partitions, by number.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The hosted partitions, to be changed.
    pub fn partitions_mut(&mut self) -> &mut [Partition] {
        self.touched = all_of(&self.partitions);
        &mut self.partitions
    }
}
