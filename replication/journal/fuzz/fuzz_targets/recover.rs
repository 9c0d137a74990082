//! Any bytes as the segments of a journal: reading and recovering end with a value or a typed error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_journal::simulated::SimStorage;
use touchline_journal::{read, recover};

fuzz_target!(|segments: (&[u8], &[u8])| {
    let (first, second) = segments;
    let mut storage = SimStorage::new();
    storage.plant(1, first.to_vec());
    if !second.is_empty() {
        storage.plant(2, second.to_vec());
    }
    let _ = read(&storage, None, &mut |_| Ok(()));
    let _ = recover(storage, 1, 1 << 16, None, &mut |_| Ok(()));
});
