//! What can happen to a disk beside torn writes: it is lost or swapped for an older image, a bit rots in the middle of
//! the journal, a write lands elsewhere.
//!
//! Never while this would destroy the last copy of a frame that was acknowledged: no protocol brings that back.

use crate::cluster::Cluster;
use crate::world::World;
use touchline_journal::Storage;
use touchline_journal::simulated::SimStorage;
use touchline_lockstep::{Durability, NodeId, Role};
use touchline_protocol::{ChainHash, Seq};

/// A disk, and what it was said to hold.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) disk: SimStorage,
    pub(crate) promised: (Seq, ChainHash),
}

/// What happened to the disk of a machine.
#[derive(Default)]
pub(crate) struct Media {
    /// An image of it that somebody made.
    pub(crate) image: Option<Kept>,
    /// The disk that belongs there, while another one is in its place.
    pub(crate) right: Option<Kept>,
    /// Whether it may hold less than it was said to.
    pub(crate) hurt: bool,
    /// Last frame of the sound front of a journal that was found damaged.
    pub(crate) front: Seq,
}

impl Media {
    /// Whether the machine may lack what its journal once held.
    pub(crate) fn is_hurt(&self) -> bool {
        self.hurt || self.right.is_some()
    }
}

impl World {
    /// Something happens to a machine's disk, if another copy of everything acknowledged remains.
    pub(crate) fn media_fault(&mut self, place: usize) {
        if self.in_memory() || self.members.iter().any(|member| member.media.is_hurt()) {
            return;
        }
        match self.random.below(100) {
            0..35 => {
                let member = &mut self.members[place];
                let disk = member.disk.get().clone();
                member.media.image = Some(Kept { disk, promised: member.promised });
                self.note(|| format!("machine {place}: an image of its disk is made"));
            }
            35..65 => self.swap_disk(place),
            65..85 => self.rot(place),
            _ => {
                let blocks = 8 * (1 + self.random.below(6));
                self.members[place].disk.get().misdirect = Some(blocks);
            }
        }
    }

    /// Whether the other machine's journal holds everything acknowledged, and the register does not count on this one
    /// alone.
    fn has_a_copy(&self, place: usize) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let other = &self.members[1 - place];
        let sole = cluster.newest().is_none_or(|r| !r.is_dual() && r.primary == NodeId(place as u8));
        let held = other.node.as_ref().is_some_and(|node| node.durable().0 >= cluster.committed());
        held && !sole && !other.media.is_hurt()
    }

    /// The machine is killed and comes back with an older image of its disk, or an empty one. A primary that is alone
    /// gets its own back: nobody else has what it acknowledged, and the image is refused.
    fn swap_disk(&mut self, place: usize) {
        let empty = self.random.chance(0.4);
        let image = if empty { Some(Kept::default()) } else { self.members[place].media.image.clone() };
        let Some(image) = image else { return };
        let newest = self.cluster.as_ref().and_then(|cluster| cluster.newest());
        let refused = newest.is_some_and(|register| register.start.seq > image.promised.0);
        // By whoever remembers that register.
        let refused = refused && self.shared().third.lose_at_ns.is_none();
        if !self.may_crash(place) || (!self.has_a_copy(place) && !refused) {
            return;
        }
        self.crash(place, if empty { "its disk is lost" } else { "an old image of its disk is put in" });
        let member = &mut self.members[place];
        let disk = member.disk.get().clone();
        member.media.right = Some(Kept { disk, promised: member.promised });
        member.disk.replace(image.disk);
        member.promised = image.promised;
        if empty {
            self.out.disks_lost += 1;
        } else {
            self.out.stale_images += 1;
        }
    }

    /// A machine that is down gets an empty disk, which the register tells from its own.
    pub(crate) fn swap_for_empty(&mut self, place: usize) {
        let cluster = self.cluster.as_ref().filter(|cluster| cluster.third.lose_at_ns.is_none());
        let started = cluster.and_then(Cluster::newest).is_some_and(|r| r.start.seq > Seq(0));
        let hurt = self.members.iter().any(|member| member.media.is_hurt());
        let member = &mut self.members[place];
        if !started || hurt || member.node.is_some() || self.options.durability == Durability::Memory {
            return;
        }
        let right = Kept { disk: member.disk.get().clone(), promised: member.promised };
        member.media.right = Some(right);
        member.disk.replace(SimStorage::default());
        member.promised = Kept::default().promised;
        self.out.disks_lost += 1;
        self.note(|| format!("machine {place}: an empty disk is put in"));
    }

    /// A bit of the journal flips while the machine is down.
    pub(crate) fn rot(&mut self, place: usize) {
        if !self.has_a_copy(place) || !self.may_crash(place) {
            return;
        }
        self.crash(place, "killed; a bit of its journal rots");
        let (dice, bit) = (self.random.bits(), self.random.below(8) as u8);
        let member = &mut self.members[place];
        let mut disk = member.disk.get();
        let generations = disk.list().unwrap_or_default();
        let Some(generation) = generations.get(dice as usize % generations.len().max(1)).copied() else {
            return;
        };
        let used = disk.segment(generation).and_then(|bytes| bytes.iter().rposition(|byte| *byte != 0));
        let Some(used) = used else { return };
        disk.flip(generation, (dice >> 20) as usize % (used + 1), bit);
        drop(disk);
        member.media.hurt = true;
        self.out.rotten_bits += 1;
    }

    /// Before a write: whether it may land elsewhere now.
    pub(crate) fn may_misdirect(&mut self, place: usize) -> bool {
        if self.members[place].disk.get().misdirect.is_none() {
            return false;
        }
        let role = self.members[place].replica.as_ref().map(touchline_lockstep::Replica::role);
        // Under `hybrid` the standby may have in memory what the primary's journal does not get.
        let hybrid = self.options.durability != Durability::Durable;
        let may = self.has_a_copy(place) && self.may_crash(place) && !(hybrid && role != Some(Role::Standby));
        if !may {
            self.members[place].disk.get().misdirect = None;
        }
        may
    }

    /// After a write: where it landed elsewhere the power fails at once, before anything of it was acknowledged.
    pub(crate) fn misdirected(&mut self, place: usize) -> bool {
        if self.members[place].disk.get().misdirect.is_some() {
            return false;
        }
        self.members[place].media.hurt = true;
        self.out.misdirected += 1;
        self.crash(place, "a write landed elsewhere, and the power fails");
        true
    }
}
