//! One frame of every kind as bytes on disk: what any version wrote, every later one must read.
//!
//! With `TOUCHLINE_BLESS=1` in the environment missing files are written and changed ones replaced. A file that
//! changes means that journals and clients of before can no longer be read: raise the schema instead.

mod common;

use common::{envelope, frame_of, in_crate, is_blessing, sample};
use std::collections::BTreeSet;
use touchline_protocol::*;

fn golden(kind: Kind) -> Vec<u8> {
    let path = in_crate("golden").join(format!("{}.bin", kind.name()));
    if is_blessing() {
        std::fs::create_dir_all(in_crate("golden")).expect("the folder can be made");
        std::fs::write(&path, frame_of(&sample(kind))).expect("a golden file can be written");
    }
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("golden/{}.bin: {error}; write it with TOUCHLINE_BLESS=1 and keep it", kind.name())
    })
}

#[test]
fn every_kind_is_read_from_its_golden_bytes_and_written_to_them() {
    for kind in Kind::ALL.iter().copied() {
        let bytes = golden(kind);
        let body = sample(kind);
        assert_eq!(body.kind(), kind, "the sample of {} is one", kind.name());
        let frame = FrameRef::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", kind.name()));
        assert_eq!((frame.kind(), frame.bytes().len()), (kind as u16, bytes.len()));
        assert_eq!(frame.envelope(), envelope(), "{}", kind.name());
        assert_eq!(frame.body(), Ok(body.clone()), "{}", kind.name());
        assert!(frame_of(&body) == bytes, "{} is written with other bytes than before", kind.name());
    }
}

#[test]
fn no_golden_file_is_left_of_a_kind_that_is_gone() {
    let known: BTreeSet<String> = Kind::ALL.iter().map(|kind| format!("{}.bin", kind.name())).collect();
    let entries = std::fs::read_dir(in_crate("golden")).expect("the golden folder");
    for entry in entries {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name), "golden/{name} belongs to no kind");
    }
}

#[test]
fn samples_are_within_every_range() {
    for kind in Kind::ALL {
        assert_eq!(sample(*kind).check_range(), Ok(()), "{}", kind.name());
    }
}

#[test]
fn the_chain_hash_of_golden_bytes_is_fixed() {
    // XXH3-128 over the whole frame: a journal's links hold for ever.
    let bytes = golden(Kind::Genesis);
    let chain = FrameRef::parse(&bytes).expect("a frame").chain();
    assert_eq!(chain.to_string(), GENESIS_CHAIN);
}

const GENESIS_CHAIN: &str = "";

#[test]
fn a_longer_block_from_a_later_version_is_read_and_its_end_skipped() {
    for kind in Kind::ALL.iter().copied() {
        let mut bytes = Vec::new();
        sample(kind).put(&mut bytes);
        let block = kind.block_bytes();
        bytes.splice(block..block, [0xEE; 5]);
        assert_eq!(Body::decode(kind as u16, block + 5, &bytes), Ok(sample(kind)), "{}", kind.name());
    }
}

#[test]
fn a_longer_entry_from_a_later_version_is_read_and_its_end_skipped() {
    let Body::SetPrices(sampled) = sample(Kind::SetPrices) else { panic!("a sample of its kind") };
    let mut bytes = Vec::new();
    Body::from(SetPrices { prices: List::default(), ..sampled.clone() }).put(&mut bytes);
    bytes.truncate(Kind::SetPrices.block_bytes());
    bytes.extend_from_slice(&[6, 0, 2, 0]);
    for price in sampled.prices.iter() {
        bytes.extend_from_slice(&price.milli.to_le_bytes());
        bytes.extend_from_slice(&[0xEE; 2]);
    }
    let found = Body::decode(Kind::SetPrices as u16, Kind::SetPrices.block_bytes(), &bytes);
    assert_eq!(found, Ok(sampled.into()));
}
