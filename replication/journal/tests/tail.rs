//! A reader behind a writer sees every durable frame once, in order, and nothing else.

use touchline_journal::simulated::SimStorage;
use touchline_journal::{Follower, Position, RecoverError, recover};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const SEGMENT: u64 = 2 << 20;

fn frames(count: u64, bytes: usize) -> Vec<Vec<u8>> {
    let mut chain = ChainHash(0);
    let frame = |seq| {
        let envelope = Envelope { seq: Seq(seq), previous: chain, ..Envelope::session(1, Epoch(1), 0) };
        let note = SetBook {
            brand: BrandId(1),
            open: true,
            operator: OperatorId(1),
            note: Text::cut(&"x".repeat(bytes)),
        };
        let mut bytes = Vec::new();
        encode(&envelope, &note.into(), &mut bytes);
        chain = FrameRef::parse(&bytes).unwrap().chain();
        bytes
    };
    (1..=count).map(frame).collect()
}

#[test]
fn a_reader_follows_a_writer_over_segments_and_never_passes_what_is_durable() {
    let log = frames(9000, 120);
    let (mut writer, _) = recover(SimStorage::new(), 1, SEGMENT, None, &mut |_| Ok(())).unwrap();
    let mut tail = Follower::behind(Position::default());
    let (mut seen, mut most) = (Vec::new(), 0);
    for (place, group) in log.chunks(97).enumerate() {
        let group: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
        let durable = writer.append_slices(&group, Seq(0)).unwrap();
        if place % 7 > 0 {
            continue;
        }
        // One group is left out, although it is there: the writer has not said yet that it is durable.
        let told = Seq(durable.0.saturating_sub(97));
        while tail
            .read(writer.storage(), told, 50_000, &mut |frame| {
                seen.push(frame.bytes().to_vec());
                Ok(())
            })
            .unwrap()
        {}
        assert_eq!(tail.seq(), told);
        most = most.max(writer.position().generation);
    }
    assert!(most > 1, "there are several segments");
    let durable = writer.position().seq;
    tail.read(writer.storage(), durable, u64::MAX, &mut |frame| {
        seen.push(frame.bytes().to_vec());
        Ok(())
    })
    .unwrap();
    assert!(seen == log);
    let beyond = tail.read(writer.storage(), Seq(durable.0 + 1), u64::MAX, &mut |_| Ok(()));
    assert!(matches!(beyond, Err(RecoverError::Contradiction { .. })), "a writer that says too much is told");
}

#[test]
fn a_frame_that_rotted_behind_the_writer_is_not_handed_out() {
    let log = frames(40, 20);
    let (mut writer, _) = recover(SimStorage::new(), 1, SEGMENT, None, &mut |_| Ok(())).unwrap();
    for group in log.chunks(10) {
        let group: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
        writer.append_slices(&group, Seq(0)).unwrap();
    }
    let mut storage = writer.into_storage();
    storage.flip(1, 4096 + 4096 + 700, 3);
    let mut seen = 0;
    let read = Follower::behind(Position::default()).read(&storage, Seq(40), u64::MAX, &mut |_| {
        seen += 1;
        Ok(())
    });
    assert!(matches!(read, Err(RecoverError::Contradiction { .. })), "{read:?}");
    assert_eq!(seen, 10);
}
