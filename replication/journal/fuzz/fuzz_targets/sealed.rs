//! Groups with checksums that fit and fields that may lie, then flipped bits: what checksums alone would hide.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_journal::layout::{BLOCK, GroupHeader, GroupStart, SegmentHeader, SegmentStart};
use touchline_journal::simulated::SimStorage;
use touchline_journal::{Recovered, Tail, read, recover};
use touchline_protocol::frame::encode;
use touchline_protocol::{At, ChainHash, Envelope, Epoch, FrameRef, Ping, Seq};

const CLUSTER: u64 = 5;
/// A header and seven groups of one block.
const SEGMENT: u64 = 8 * BLOCK;
const GROUPS_PER_SEGMENT: usize = 7;

/// What each byte adds to a field: most add nothing, so that most of a journal is sound.
fn lie(byte: u8) -> u64 {
    u64::from(byte.saturating_sub(0xEF))
}

/// Where the journal that is being made up stands.
#[derive(Default)]
struct Made {
    seq: u64,
    group: u64,
    chain: ChainHash,
}

impl Made {
    fn frame(&mut self, lies: &[u8; 6]) -> Vec<u8> {
        self.seq += 1;
        let envelope = Envelope {
            seq: Seq(self.seq + lie(lies[0])),
            at: At(self.seq as i64 - lie(lies[1]) as i64),
            previous: ChainHash(self.chain.0 ^ u128::from(lie(lies[2]))),
            ..Envelope::session(CLUSTER, Epoch(1), 0)
        };
        let mut bytes = Vec::new();
        encode(&envelope, &Ping { number: self.seq }.into(), &mut bytes);
        self.chain = FrameRef::parse(&bytes).expect("just encoded").chain();
        bytes
    }

    fn segment(&mut self, generation: u64, groups: &[[u8; 6]]) -> Vec<u8> {
        let head = SegmentHeader::block(&SegmentStart {
            cluster: CLUSTER,
            generation,
            bytes: SEGMENT,
            first_group: self.group + 1,
            first_seq: self.seq + 1,
            previous: self.chain.0,
        });
        let mut bytes = touchline_journal::aligned::bytes(&head).to_vec();
        let mut group = Vec::new();
        for lies in groups {
            self.group += 1;
            let start = GroupStart {
                cluster: CLUSTER + lie(lies[3]),
                generation: generation + lie(lies[4]),
                number: self.group + lie(lies[5]),
                committed: self.seq,
                first_seq: self.seq + 1,
                frames: 2,
            };
            let payload = [self.frame(lies), self.frame(&[0; 6])].concat();
            GroupHeader::group(&start, &payload, &mut group);
            bytes.extend_from_slice(&group);
        }
        bytes.resize(SEGMENT as usize, 0);
        bytes
    }
}

fuzz_target!(|input: (Vec<[u8; 6]>, Vec<(u16, u8)>)| {
    let (mut groups, flips) = input;
    groups.truncate(3 * GROUPS_PER_SEGMENT);
    let (mut made, mut storage) = (Made::default(), SimStorage::new());
    for (index, part) in groups.chunks(GROUPS_PER_SEGMENT).enumerate() {
        let generation = index as u64 + 1;
        storage.plant(generation, made.segment(generation, part));
    }
    for (place, bit) in flips.iter().take(4) {
        let (generation, offset) = (1 + u64::from(place >> 15), usize::from(place & 0x7FFF));
        storage.flip(generation, offset, *bit);
    }
    let found = read(&storage, None, &mut |_| Ok(()));
    let honest = flips.is_empty() && groups.iter().flatten().all(|byte| lie(*byte) == 0);
    if honest {
        let found = found.as_ref().expect("an honest journal is read");
        assert_eq!((found.frames, &found.tail), (made.seq, &Tail::Clean));
    }
    let Ok((writer, recovered)) = recover(storage, CLUSTER, SEGMENT, None, &mut |_| Ok(())) else { return };
    let again = read(&writer.into_storage(), None, &mut |_| Ok(())).expect("what was recovered is read again");
    let end = |found: &Recovered| (found.frames, found.position.seq, found.position.chain);
    assert_eq!((end(&again), again.tail), (end(&recovered), Tail::Clean));
});
