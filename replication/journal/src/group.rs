//! The group being collected: frames are copied once, into the memory that the disk reads.

use crate::aligned::{self, Block};
use crate::layout::{GROUP_HEADER, GROUP_PAYLOAD_MAX, GroupHeader, GroupStart, group_bytes};
use zerocopy::IntoBytes;

/// Room for one group of the largest size, allocated once: 1 MiB and two blocks.
#[derive(Debug)]
pub struct GroupBuffer {
    blocks: Vec<Block>,
    payload: usize,
}

impl Default for GroupBuffer {
    fn default() -> Self {
        GroupBuffer { blocks: aligned::zeros(group_bytes(GROUP_PAYLOAD_MAX)), payload: 0 }
    }
}

impl GroupBuffer {
    /// Bytes of frames in it.
    pub fn payload(&self) -> usize {
        self.payload
    }

    /// Adds whole frames; there must be room for them.
    pub fn add(&mut self, frames: &[u8]) {
        let from = GROUP_HEADER + self.payload;
        self.payload += frames.len();
        assert!(self.payload <= GROUP_PAYLOAD_MAX, "whoever adds keeps groups small");
        self.blocks.as_mut_bytes()[from..from + frames.len()].copy_from_slice(frames);
    }

    /// Completes the group: header in front, zeros to the next block; its bytes as they go to disk.
    pub fn seal(&mut self, start: &GroupStart) -> &[u8] {
        let length = group_bytes(self.payload) as usize;
        let group = &mut self.blocks.as_mut_bytes()[..length];
        group[GROUP_HEADER + self.payload..].fill(0);
        GroupHeader::seal(start, self.payload, group);
        group
    }

    /// Begins the next group.
    pub fn clear(&mut self) {
        self.payload = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its naive twin puts the same bytes together in one go; what an earlier group left behind shows nowhere.
    #[test]
    fn groups_are_what_they_are_in_one_go_whatever_was_in_the_buffer_before() {
        let mut buffer = GroupBuffer::default();
        for (number, length) in (1..).zip([9000, 1, 4031, 4032, 4033, 0, GROUP_PAYLOAD_MAX, 70]) {
            let payload: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
            let start = GroupStart {
                cluster: 5,
                generation: 3,
                number: number as u64,
                committed: 8,
                first_seq: 9,
                frames: 1,
            };
            buffer.clear();
            for part in payload.chunks(1000) {
                buffer.add(part);
            }
            let mut twin = Vec::new();
            GroupHeader::group(&start, &payload, &mut twin);
            let sealed = buffer.seal(&start);
            assert!(sealed == twin && aligned::is_aligned(0, sealed), "{length}");
        }
    }
}
