//! The splitter after damage: an error is final, whatever follows it, and nothing more is kept.

use touchline_protocol::frame::encode;
use touchline_protocol::*;

fn ping(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&Envelope::session(1, Epoch(1), number), &Ping { number }.into(), &mut bytes);
    bytes
}

/// A frame with a byte changed and, where wanted, a checksum that fits again.
fn changed(at: usize, value: u8, sealed: bool) -> Vec<u8> {
    let mut bytes = ping(2);
    bytes[at] = value;
    if sealed {
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

#[test]
fn every_error_is_final_even_before_a_sound_frame() {
    let damages = [
        (changed(0, b'X', true), FrameError::Magic(*b"XLF\x01")),
        (changed(11, 0xFF, true), FrameError::Length(0xFF00_0068)),
        (changed(100, 0xFF, false), FrameError::Checksum),
        (changed(20, 1, true), FrameError::Reserved),
        (changed(19, 0, true), FrameError::Partition(0x00FE)),
    ];
    for (damaged, error) in damages {
        let mut splitter = Splitter::new();
        splitter.push(&[ping(1), damaged, ping(3)].concat());
        let first = splitter.next_frame().unwrap().expect("the frame before the damage");
        assert_eq!(first.envelope().request, 1);
        assert_eq!(splitter.next_frame().err(), Some(error));
        let kept = splitter.pending();
        splitter.push(&ping(4));
        assert_eq!(splitter.next_frame().err(), Some(error), "nothing tells where the next frame starts");
        assert_eq!(splitter.pending(), kept, "what comes after is not kept");
    }
}

#[test]
fn a_length_of_four_gibibytes_is_refused_at_its_last_byte() {
    let mut splitter = Splitter::new();
    for (index, byte) in [b'T', b'L', b'F', 1, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF].into_iter().enumerate() {
        assert!(splitter.next_frame().is_ok_and(|frame| frame.is_none()), "byte {index}");
        splitter.push(&[byte]);
    }
    assert_eq!(splitter.next_frame().err(), Some(FrameError::Length(u32::MAX)));
    assert_eq!(splitter.pending(), 12);
}

#[test]
fn the_first_wrong_byte_of_the_magic_is_enough() {
    let mut splitter = Splitter::new();
    splitter.push(b"TG");
    assert_eq!(splitter.next_frame().err(), Some(FrameError::Magic([b'T', b'G', 0, 0])));
}
