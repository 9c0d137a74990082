//! The bytes of messages: what they are for ever, and what becomes of any others.

mod samples;

use proptest::prelude::*;
use std::fmt::Write;
use std::path::PathBuf;
use touchline_lockstep::log::frames;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Boot, Message, NodeId, Say};
use touchline_protocol::{Epoch, Seq};
use touchline_transport::wire::{Malformed, decode, encode, encode_split};

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    bytes
}

/// Every sample as one line of hexadecimal digits; `TOUCHLINE_BLESS=1` writes them anew.
#[test]
fn the_bytes_of_messages_stay_what_they_are() {
    let mut lines = String::new();
    for say in samples::says() {
        for byte in bytes_of(&samples::message(Party::Node(NodeId(1)), say)) {
            write!(lines, "{byte:02x}").unwrap();
        }
        lines.push('\n');
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/messages.txt");
    if std::env::var_os("TOUCHLINE_BLESS").is_some() {
        std::fs::write(&path, &lines).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == lines, "a message's bytes changed: nodes of two versions could no longer speak");
}

#[test]
fn every_cut_of_a_message_is_refused_and_so_is_more_than_it() {
    for say in samples::says() {
        let mut bytes = bytes_of(&samples::message(Party::Witness, say));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(Malformed::Short), "{end} of {}", bytes.len());
        }
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(Malformed::Long));
        bytes[0] = 2;
        assert_eq!(decode(&bytes), Err(Malformed::Version(2)));
    }
}

#[test]
fn unknown_parties_and_kinds_are_refused() {
    let mut bytes =
        bytes_of(&samples::message(Party::Witness, Say::Missing { epoch: Epoch(1), from: Seq(1) }));
    let kind = bytes.len() - 17;
    assert_eq!(bytes[kind], 10);
    bytes[kind] = 17;
    assert_eq!(decode(&bytes), Err(Malformed::Value));
    bytes[kind] = 10;
    bytes[1] = 3;
    assert_eq!(decode(&bytes), Err(Malformed::Value));
}

fn split(message: &Message, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    encode_split(message, bytes_max, Vec::new, |piece| pieces.push(piece));
    pieces
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(message in samples::any_message()) {
        prop_assert_eq!(decode(&bytes_of(&message)), Ok(message));
    }

    /// Bytes that are accepted are the only ones for their message.
    #[test]
    fn any_change_is_refused_or_another_message(
        message in samples::any_message(),
        at in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = bytes_of(&message);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(other) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&other), bytes);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_a_message(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        if let Ok(message) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&message), bytes);
        }
    }

    /// The pieces say together what the message said, none is larger than need be, and no frame is cut.
    #[test]
    fn pieces_of_frames_are_the_same_frames(count in 1u64..60, bytes_max in 100usize..4000) {
        let bytes = samples::log(count).concat();
        let say = Say::Frames { epoch: Epoch(1), to: Some(Boot(3)), first: Seq(1), bytes: bytes.clone(), committed: Seq(0) };
        let message = samples::message(Party::Node(NodeId(0)), say);
        let mut next = 1;
        let mut seen = Vec::new();
        for piece in split(&message, bytes_max) {
            let Message { say: Say::Frames { first, bytes, to, .. }, .. } = decode(&piece).unwrap() else {
                return Err(TestCaseError::fail("not frames"));
            };
            prop_assert_eq!((first, to), (Seq(next), Some(Boot(3))));
            let inside = frames(&bytes).count();
            prop_assert!(piece.len() <= bytes_max || inside == 1);
            prop_assert_eq!(frames(&bytes).map(|frame| frame.bytes().len()).sum::<usize>(), bytes.len());
            next += inside as u64;
            seen.extend(bytes);
        }
        prop_assert_eq!(next, count + 1);
        prop_assert_eq!(seen, bytes);
    }
}
