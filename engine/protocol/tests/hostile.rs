//! Bytes that nobody honest sends: every decoder answers with a value or a typed error, and holds no more
//! memory than a frame.

use proptest::prelude::*;
use touchline_protocol::frame::{FrameError, HEADER_BYTES, encode, frame_length};
use touchline_protocol::*;

fn kind() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|place| Kind::ALL[place])
}

fn framed(kind: Kind, entries: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&Envelope::session(1, Epoch(1), 9), &Body::sample(kind, entries), &mut bytes);
    bytes
}

/// Makes the checksum fit what the bytes are now, so that the damage gets past it.
fn seal(bytes: &mut [u8]) {
    if bytes.len() >= HEADER_BYTES {
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Everything that a reader does with bytes.
fn read(bytes: &[u8]) {
    if let Ok(frame) = FrameRef::parse(bytes)
        && let Ok(body) = frame.body()
    {
        let _ = body.check_range();
        let _ = body.show();
        // What decodes can be encoded, and decodes to the same again.
        let mut again = Vec::new();
        encode(&frame.envelope(), &body, &mut again);
        assert_eq!(FrameRef::parse(&again).unwrap().body().unwrap(), body);
    }
}

proptest! {
    #[test]
    fn a_damaged_frame_is_a_value_or_an_error(
        kind in kind(),
        entries in 0usize..5,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        shortened in any::<bool>(),
        sealed in any::<bool>(),
    ) {
        let mut bytes = framed(kind, entries);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if shortened {
            bytes.truncate(cut.index(bytes.len()));
            if let Some(length) = bytes.get(8..12).map(|_| bytes.len() as u32) {
                bytes[8..12].copy_from_slice(&length.to_le_bytes());
            }
        }
        if sealed {
            seal(&mut bytes);
        }
        read(&bytes);
    }

    #[test]
    fn random_bodies_are_values_or_errors(
        kind in any::<u16>(),
        known in kind(),
        block in any::<u16>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Body::decode(kind, block.into(), &bytes);
        let _ = Body::decode(known as u16, known.block_bytes(), &bytes);
        let _ = Body::decode(known as u16, block.into(), &bytes);
    }

    #[test]
    fn a_stream_gives_its_frames_however_it_is_cut(
        kinds in prop::collection::vec(kind(), 1..12),
        cuts in prop::collection::vec(1usize..400, 1..60),
    ) {
        let frames: Vec<Vec<u8>> = kinds.iter().map(|kind| framed(*kind, 3)).collect();
        let stream = frames.concat();
        let mut rest = stream.as_slice();
        let (mut splitter, mut found) = (Splitter::new(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            splitter.push(now);
            rest = later;
            while let Some(frame) = splitter.next_frame().unwrap() {
                found.push(frame.bytes().to_vec());
            }
            prop_assert!(splitter.pending() < MAX_FRAME_BYTES);
        }
        prop_assert_eq!(found, frames);
        prop_assert_eq!(splitter.pending(), 0);
    }

    #[test]
    fn a_longer_block_of_a_later_version_is_read_up_to_what_is_known(kind in kind(), more in 1usize..40) {
        let body = Body::sample(kind, 2);
        let mut bytes = Vec::new();
        body.put(&mut bytes);
        let block = kind.block_bytes();
        bytes.splice(block..block, std::iter::repeat_n(0xEE, more));
        prop_assert_eq!(Body::decode(kind as u16, block + more, &bytes), Ok(body));
    }
}

#[test]
fn an_impossible_length_is_refused_before_anything_is_held() {
    let mut bytes = framed(Kind::Ping, 0);
    for length in [0, HEADER_BYTES as u32 - 1, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        assert_eq!(frame_length(&bytes[..12]), Err(FrameError::Length(length)));
        let mut splitter = Splitter::new();
        splitter.push(&bytes[..12]);
        assert!(splitter.next_frame().is_err());
    }
}

#[test]
fn a_list_that_claims_more_than_it_may_is_refused_by_its_name() {
    let body = Body::sample(Kind::Publish, 1);
    let mut bytes = Vec::new();
    body.put(&mut bytes);
    let block = Kind::Publish.block_bytes();
    for (count, holds) in [(u16::MAX, false), (2, false), (1, true)] {
        bytes[block + 2..block + 4].copy_from_slice(&count.to_le_bytes());
        assert_eq!(Body::decode(Kind::Publish as u16, block, &bytes).is_ok(), holds, "{count}");
    }
    bytes[block + 2..block + 4].copy_from_slice(&u16::MAX.to_le_bytes());
    let error = Body::decode(Kind::Publish as u16, block, &bytes).unwrap_err().to_string();
    assert!(error.contains("Publish.markets") && error.contains("256"), "{error}");
}
