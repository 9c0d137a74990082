//! A stream of bytes in parts of any size: held bytes stay bounded, an error stays an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_protocol::Splitter;
use touchline_protocol::frame::MAX_FRAME_BYTES;

fuzz_target!(|parts: Vec<&[u8]>| {
    let mut splitter = Splitter::new();
    for part in parts {
        splitter.push(part);
        loop {
            match splitter.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(splitter.pending() < MAX_FRAME_BYTES);
    }
});
