//! One frame of every kind as bytes on disk: what any version wrote, every later one must read.
//!
//! With `TOUCHLINE_BLESS=1` in the environment files and tables are written anew instead of compared. A golden
//! file that changes means that journals and clients of before can no longer be read.

use std::path::{Path, PathBuf};
use touchline_protocol::document::byte_tables;
use touchline_protocol::frame::encode;
use touchline_protocol::schema::sbe_schema;
use touchline_protocol::*;

const MARK: &str = "<!-- generated from here on -->\n";

fn is_blessing() -> bool {
    std::env::var_os("TOUCHLINE_BLESS").is_some_and(|value| value == "1")
}

fn in_crate(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The golden file of a kind, its number first so that a listing stands in their order.
fn file(kind: Kind) -> String {
    format!("{:03}-{}.bin", kind as u16, kind.name())
}

/// The frame of a kind; every field of its envelope is set and most differ.
fn frame(kind: Kind) -> (Envelope, Body, Vec<u8>) {
    let envelope = Envelope {
        cluster: 1,
        epoch: Epoch(2),
        seq: Seq(1000 + kind as u64),
        at: At(1_800_000_000_000_000_000),
        wall: At(1_800_000_000_000_000_001),
        partition: PartitionId(kind as u16 % PARTITIONS_MAX),
        previous: ChainHash(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF),
        origin: 2 << 32 | 7,
        request: kind as u64,
    };
    let body = Body::sample(kind, 2);
    let mut bytes = Vec::new();
    encode(&envelope, &body, &mut bytes);
    (envelope, body, bytes)
}

#[test]
fn every_message_has_its_golden_bytes() {
    for kind in Kind::ALL.iter().copied() {
        let path = in_crate("golden").join(file(kind));
        let (envelope, body, bytes) = frame(kind);
        if is_blessing() {
            std::fs::create_dir_all(in_crate("golden")).expect("the folder can be made");
            std::fs::write(&path, &bytes).expect("a golden file can be written");
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("golden/{}: {error}; write it with TOUCHLINE_BLESS=1 and keep it", file(kind))
        });
        let read = FrameRef::parse(&golden).unwrap_or_else(|error| panic!("{}: {error}", file(kind)));
        assert_eq!((read.kind(), read.bytes().len()), (kind as u16, golden.len()));
        assert_eq!(read.envelope(), envelope, "{}", file(kind));
        assert_eq!(read.body(), Ok(body), "{}", file(kind));
        assert!(bytes == golden, "{} is written with other bytes than before", kind.name());
    }
    let files = std::fs::read_dir(in_crate("golden")).expect("the golden folder").count();
    assert_eq!(files, Kind::ALL.len(), "one file a message");
}

#[test]
fn the_byte_tables_are_those_of_the_code() {
    let path = in_crate("PROTOCOL.md");
    let text = std::fs::read_to_string(&path).expect("PROTOCOL.md stands beside the crate");
    let (before, _) = text.split_once(MARK).expect("the mark stands before the tables");
    let wanted = format!("{before}{MARK}{}\n", byte_tables().trim_end());
    check_or_bless(&path, &text, &wanted);
}

#[test]
fn the_sbe_schema_is_that_of_the_code() {
    let path = in_crate("schema.xml");
    check_or_bless(&path, &std::fs::read_to_string(&path).unwrap_or_default(), &sbe_schema());
}

#[track_caller]
fn check_or_bless(path: &Path, found: &str, wanted: &str) {
    if is_blessing() {
        return std::fs::write(path, wanted).expect("it can be written");
    }
    let line = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "{} is not what the code says (lines that agree: {line:?}); TOUCHLINE_BLESS=1 writes it anew",
        path.display()
    );
}

#[test]
fn the_largest_message_of_every_kind_fits_a_frame() {
    for kind in Kind::ALL.iter().copied() {
        let body = Body::sample(kind, usize::MAX);
        let mut bytes = Vec::new();
        body.put(&mut bytes);
        let whole = HEADER_BYTES + bytes.len();
        assert!(whole <= MAX_FRAME_BYTES, "{} may take {whole} bytes", kind.name());
        assert_eq!(Body::decode(kind as u16, kind.block_bytes(), &bytes), Ok(body), "{}", kind.name());
    }
}
