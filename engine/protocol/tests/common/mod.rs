//! What the protocol's tests share: samples, the frame around them, where golden files lie.
#![allow(dead_code, reason = "each test takes a part of it")]

pub(crate) mod sample;

pub(crate) use sample::{largest, sample};

use std::path::{Path, PathBuf};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

/// Whether expected files are to be written anew instead of compared.
pub(crate) fn is_blessing() -> bool {
    std::env::var_os("TOUCHLINE_BLESS").is_some_and(|value| value == "1")
}

/// A path beside the crate's manifest.
pub(crate) fn in_crate(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An envelope whose fields all differ.
pub(crate) fn envelope() -> Envelope {
    Envelope {
        cluster: 0x1817_1615_1413_1211,
        epoch: Epoch(0x2827_2625_2423_2221),
        seq: Seq(0x3837_3635_3433_3231),
        at: At(0x4847_4645_4443_4241),
        wall: At(-0x5857_5655_5453_5251),
        partition: PartitionId(0x3F),
        previous: ChainHash(0x6F6E_6D6C_6B6A_6968_6766_6564_6362_6160),
        origin: 0x7877_7675_7473_7271,
        request: 0x8887_8685_8483_8281,
    }
}

/// The frame of a body in [`envelope`].
pub(crate) fn frame_of(body: &Body) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(&envelope(), body, &mut frame);
    frame
}

/// Puts length and checksum right after a frame was changed, so that what lies behind them is reached.
pub(crate) fn reseal(frame: &mut [u8]) {
    if frame.len() >= HEADER_BYTES {
        let length = frame.len() as u32;
        frame[8..12].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}
