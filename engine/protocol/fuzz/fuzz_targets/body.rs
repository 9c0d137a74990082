//! Any kind, block length and bytes as a body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_protocol::{Body, Kind};

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (place, more, bytes) = input;
    let kind = Kind::ALL[usize::from(place) % Kind::ALL.len()];
    let block = kind.block_bytes() + usize::from(more % 8);
    if let Ok(body) = Body::decode(kind as u16, block, bytes) {
        let _ = (body.check_range(), body.show());
        let mut again = Vec::new();
        body.put(&mut again);
        assert_eq!(Body::decode(kind as u16, kind.block_bytes(), &again), Ok(body));
    }
});
