//! Journals of other versions of the program, by hand: told by name, never taken for torn or damaged ones, and never touched.

use std::path::PathBuf;
use touchline_journal::simulated::{SimError, SimStorage};
use touchline_journal::{RecoverError, read, recover};
use touchline_protocol::{FrameRef, Seq};

const CLUSTER: u64 = 5;
const SEGMENT: usize = 2 << 20;
const HEADER: usize = 64;
/// Where the first group begins, and its frames.
const GROUP: usize = 4096;
const FRAMES: usize = GROUP + 64;

/// The golden journal of version 1: four frames in two groups.
fn golden() -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/segment.bin");
    let mut segment = std::fs::read(path).unwrap();
    segment.resize(SEGMENT, 0);
    segment
}

/// Recovers a journal of one segment; the error, and what it left of the segment.
fn refused(segment: &[u8]) -> (RecoverError<SimError>, bool) {
    let mut storage = SimStorage::new();
    storage.plant(1, segment.to_vec());
    let error = recover(storage.clone(), CLUSTER, SEGMENT as u64, None, &mut |_| Ok(())).err();
    (error.expect("it is refused"), storage.segment(1) == Some(segment))
}

/// Puts the checksum of a group in its place.
fn seal(segment: &mut [u8]) {
    let payload = u32::from_le_bytes(segment[GROUP + 8..GROUP + 12].try_into().unwrap()) as usize;
    let sum = crc32c::crc32c(&segment[GROUP + 8..FRAMES + payload]);
    segment[GROUP + 4..GROUP + 8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_segment_of_another_version_is_told_and_left_alone() {
    for (version, advice) in [(2, "or a later one"), (0, "an earlier version")] {
        let mut segment = golden();
        segment[3] = version;
        // Whatever a later version says behind the checksum's bytes, and in its groups.
        segment[HEADER..GROUP].fill(9);
        segment[GROUP + 3] = version;
        let (error, whole) = refused(&segment);
        assert!(
            matches!(error, RecoverError::Version { generation: 1, found, known: 1, .. } if found == version)
        );
        let told = error.to_string();
        assert!(told.contains(&format!("version {version}")) && told.contains(advice), "{told}");
        assert!(whole);
    }
}

#[test]
fn a_header_being_written_is_no_other_version() {
    let mut segment = vec![0; SEGMENT];
    segment[..4].copy_from_slice(b"TLS\x02");
    let mut storage = SimStorage::new();
    storage.plant(1, segment);
    let (_, found) = recover(storage, CLUSTER, SEGMENT as u64, None, &mut |_| Ok(())).unwrap();
    assert_eq!((found.frames, found.spare), (0, true));
}

#[test]
fn frames_with_a_header_of_another_version_are_told() {
    for version in [0, 2] {
        let mut segment = golden();
        segment[FRAMES + 3] = version;
        seal(&mut segment);
        let (error, whole) = refused(&segment);
        assert!(
            matches!(error, RecoverError::Version { found, known: 1, .. } if found == version),
            "{error}"
        );
        assert!(whole);
    }
}

#[test]
fn bodies_of_another_schema_are_told_with_their_frame() {
    for (schema, part) in [(0u16, "older than 1"), (2, "newer than 1")] {
        let mut segment = golden();
        let length = u32::from_le_bytes(segment[FRAMES + 8..FRAMES + 12].try_into().unwrap()) as usize;
        segment[FRAMES + 16..FRAMES + 18].copy_from_slice(&schema.to_le_bytes());
        let sum = crc32c::crc32c(&segment[FRAMES + 8..FRAMES + length]);
        segment[FRAMES + 4..FRAMES + 8].copy_from_slice(&sum.to_le_bytes());
        seal(&mut segment);
        let mut storage = SimStorage::new();
        storage.plant(1, segment);
        let visit = &mut |frame: FrameRef<'_>| frame.body().map(|_| ()).map_err(|error| error.to_string());
        let error = read(&storage, None, visit).expect_err("it is refused");
        assert!(matches!(error, RecoverError::Visitor { seq: Seq(1), .. }));
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_log_without_its_front_says_where_it_begins() {
    let mut segment = golden();
    segment[40..48].copy_from_slice(&77u64.to_le_bytes());
    let sum = crc32c::crc32c(&segment[8..HEADER]);
    segment[4..8].copy_from_slice(&sum.to_le_bytes());
    let (error, whole) = refused(&segment);
    assert!(matches!(error, RecoverError::Front { first: Seq(77), base: None }), "{error}");
    assert!(whole);
}
