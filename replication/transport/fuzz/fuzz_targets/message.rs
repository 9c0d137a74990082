//! Any bytes as a message: refused with a reason, or a message that encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_transport::wire::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = decode(bytes) {
        let mut again = Vec::new();
        encode(&message, &mut again);
        assert_eq!(again, bytes);
    }
});
