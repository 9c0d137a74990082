//! The bytes of a small journal, for ever: any later version must read them. `TOUCHLINE_BLESS=1` writes them anew.

use std::path::PathBuf;
use touchline_journal::simulated::SimStorage;
use touchline_journal::{Tail, read, recover};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const CLUSTER: u64 = 5;
const SEGMENT: u64 = 2 << 20;

/// Two groups: one of three frames, one of a frame that spans several sectors.
fn groups() -> Vec<Vec<u8>> {
    let mut previous = ChainHash::default();
    let mut frame = |seq: u64, body: Body| {
        let envelope = Envelope {
            seq: Seq(seq),
            at: At(seq as i64 * 1000),
            wall: At(seq as i64 * 1000 + 1),
            partition: body.route(64),
            previous,
            ..Envelope::session(CLUSTER, Epoch(1), 0)
        };
        let mut bytes = Vec::new();
        encode(&envelope, &body, &mut bytes);
        previous = FrameRef::parse(&bytes).unwrap().chain();
        bytes
    };
    let small = [Kind::Genesis, Kind::NewEpoch, Kind::SubmitTicket];
    let first = (1..).zip(small).flat_map(|(seq, kind)| frame(seq, Body::sample(kind, 1))).collect();
    vec![first, frame(4, Body::sample(Kind::OpenMarkets, 200))]
}

/// The written part of the first segment, up to the last block that is not zero.
fn written() -> Vec<u8> {
    let (mut writer, _) = recover(SimStorage::new(), CLUSTER, SEGMENT, None, &mut |_| Ok(())).unwrap();
    let mut durable = Seq(0);
    for group in groups() {
        durable = writer.append(&group, durable).unwrap();
    }
    let storage = writer.into_storage();
    let segment = storage.segment(1).unwrap();
    let end = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    segment[..end.next_multiple_of(4096)].to_vec()
}

#[test]
fn the_bytes_of_a_journal_stay_what_they_are() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/segment.bin");
    if std::env::var_os("TOUCHLINE_BLESS").is_some() {
        std::fs::write(&path, written()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(written() == golden, "the journal's bytes changed: older journals could no longer be read");
    let mut segment = golden;
    segment.resize(SEGMENT as usize, 0);
    let mut storage = SimStorage::new();
    storage.plant(1, segment);
    let mut frames = Vec::new();
    let found = read(&storage, None, &mut |frame| {
        frames.extend_from_slice(frame.bytes());
        Ok(())
    })
    .unwrap();
    assert_eq!((found.frames, found.position.seq, found.tail), (4, Seq(4), Tail::Clean));
    assert_eq!(frames, groups().concat());
}
