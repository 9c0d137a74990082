//! A journal read while its node goes on writing: what was read with earlier groups is not the last word on later ones.

use std::cell::Cell;
use std::path::PathBuf;
use touchline_journal::simulated::{SimError, SimStorage};
use touchline_journal::{Storage, Tail, read};

const SEGMENT: usize = 2 << 20;

/// A disk whose last group is written when somebody says so.
struct Growing {
    before: SimStorage,
    after: SimStorage,
    grown: Cell<bool>,
}

impl Growing {
    fn now(&self) -> &SimStorage {
        if self.grown.get() { &self.after } else { &self.before }
    }
}

impl Storage for &Growing {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        self.now().list()
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.now().size(generation)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.now().read(generation, offset, buffer)
    }

    fn snapshots(&self) -> Result<Vec<u64>, SimError> {
        self.now().snapshots()
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, SimError> {
        self.now().read_snapshot(seq)
    }

    fn create(&mut self, _: u64, _: u64) -> Result<(), SimError> {
        Err(SimError::Io)
    }

    fn write(&mut self, _: u64, _: u64, _: &[u8]) -> Result<(), SimError> {
        Err(SimError::Io)
    }

    fn remove(&mut self, _: u64) -> Result<(), SimError> {
        Err(SimError::Io)
    }

    fn write_snapshot(&mut self, _: u64, _: &[u8]) -> Result<(), SimError> {
        Err(SimError::Io)
    }

    fn remove_snapshot(&mut self, _: u64) -> Result<(), SimError> {
        Err(SimError::Io)
    }

    fn is_full(error: &SimError) -> bool {
        SimStorage::is_full(error)
    }
}

/// A disk with a segment.
fn disk(segment: &[u8]) -> SimStorage {
    let mut disk = SimStorage::new();
    disk.plant(1, segment.to_vec());
    disk
}

#[test]
fn a_group_that_was_completed_after_its_neighbours_were_read_is_found() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/segment.bin");
    let mut whole = std::fs::read(path).unwrap();
    whole.resize(SEGMENT, 0);
    let last = 2 * 4096;
    assert_eq!(whole[last..last + 3], *b"TLG", "the second group begins here");
    for written in [0, 16, 700] {
        let mut part = whole.clone();
        part[last + written..].fill(0);
        let growing = Growing { before: disk(&part), after: disk(&whole), grown: Cell::new(false) };
        let mut frames = 0;
        let found = read(&&growing, None, &mut |_| {
            frames += 1;
            growing.grown.set(true);
            Ok(())
        });
        let found = found.unwrap();
        assert_eq!((found.frames, frames, found.tail), (4, 4, Tail::Clean), "{written} bytes were there");
    }
}
