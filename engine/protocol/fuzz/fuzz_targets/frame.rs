//! Any bytes as a frame; those with a checksum that fits are decoded, encoded and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_protocol::FrameRef;
use touchline_protocol::frame::{HEADER_BYTES, MAX_FRAME_BYTES, encode};

fuzz_target!(|bytes: &[u8]| {
    let _ = FrameRef::parse(bytes);
    // The checksum would stop nearly every input; it is made to fit so that what lies behind it is reached.
    if !(HEADER_BYTES..=MAX_FRAME_BYTES).contains(&bytes.len()) {
        return;
    }
    let mut sealed = bytes.to_vec();
    sealed[..4].copy_from_slice(b"TLF\x01");
    sealed[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&sealed[8..]);
    sealed[4..8].copy_from_slice(&crc.to_le_bytes());
    if let Ok(frame) = FrameRef::parse(&sealed)
        && let Ok(body) = frame.body()
    {
        let _ = (body.check_range(), body.show());
        let mut again = Vec::new();
        encode(&frame.envelope(), &body, &mut again);
        assert_eq!(FrameRef::parse(&again).expect("just encoded").body(), Ok(body));
    }
});
