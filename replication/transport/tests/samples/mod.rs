//! One message of every kind, and strategies for any.
#![allow(dead_code)] // each test takes its part

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use touchline_lockstep::message::Party;
use touchline_lockstep::register::Forced;
use touchline_lockstep::{Boot, Change, Cluster, Message, NodeId, Point, Register, Say};
use touchline_protocol::frame::encode;
use touchline_protocol::{At, Body, ChainHash, Envelope, Epoch, FrameRef, Kind, Seq, SourceFresh, SourceId};

/// A point that differs in every field.
pub(crate) fn point(number: u64) -> Point {
    Point { epoch: Epoch(number), seq: Seq(number * 1000), chain: ChainHash(u128::from(number) << 64 | 7) }
}

/// A register with everything in it.
pub(crate) fn register() -> Register {
    Register {
        epoch: Epoch(9),
        primary: NodeId(1),
        in_sync: [None, Some(Boot(0x11))],
        site: Some(Boot(0x22)),
        start: point(8),
        durable: Seq(8001),
        forced: Forced { times: 2, from: Seq(70), to: Seq(75) },
    }
}

/// Frames of a log: small ones, and every tenth a larger one.
pub(crate) fn log(count: u64) -> Vec<Vec<u8>> {
    let mut previous = ChainHash(0);
    (1..=count)
        .map(|seq| {
            let envelope = Envelope { seq: Seq(seq), previous, ..Envelope::session(1, Epoch(1), 0) };
            let mut bytes = Vec::new();
            let small = SourceFresh { source: SourceId(1), alive_until: At(0) }.into();
            let body = if seq % 10 == 0 { Body::sample(Kind::OpenMarkets, 60) } else { small };
            encode(&envelope, &body, &mut bytes);
            previous = FrameRef::parse(&bytes).unwrap().chain();
            bytes
        })
        .collect()
}

/// What is said, of every kind.
pub(crate) fn says() -> Vec<Say> {
    let to = Boot(0x33);
    let changes = [
        Change::Promote,
        Change::Solo,
        Change::Dual(to),
        Change::Handoff,
        Change::Recover,
        Change::Cold(to),
        Change::Relocate { from: Seq(3), to: Seq(4) },
        Change::Force { from: Seq(5), to: Seq(6) },
    ];
    let mut says = vec![
        Say::Greeting { log: vec![point(1), point(2)], whole: true },
        Say::Join { to, epoch: Epoch(3), asked: point(4), common: point(2), sent_ns: 5 },
        Say::Take { to, epoch: Epoch(3), at: point(2), length: 77 },
        Say::Want { to, at: point(2), offset: 33 },
        Say::Part { to, at: point(2), offset: 33, bytes: b"part".to_vec() },
        Say::Tail { end: point(4) },
        Say::Frames {
            epoch: Epoch(1),
            to: Some(to),
            first: Seq(1),
            bytes: log(2).concat(),
            committed: Seq(1),
        },
        Say::Frames { epoch: Epoch(1), to: None, first: Seq(1), bytes: log(1).concat(), committed: Seq(0) },
        Say::Heartbeat {
            epoch: Epoch(3),
            sent_ns: 6,
            end: Seq(50),
            committed: Seq(49),
            follower: Some(to),
            agreed: Seq(48),
        },
        Say::Ack {
            epoch: Epoch(3),
            received: point(5),
            durable: Seq(4999),
            echo_ns: 6,
            fingerprint: Some((Seq(4096), 0xf1)),
        },
        Say::Missing { epoch: Epoch(3), from: Seq(12) },
        Say::Fetch { to, log: vec![point(1)] },
        Say::Fetched { to, asked: point(1), common: point(1), bytes: log(1).concat(), end: point(3) },
        Say::Report { sent_ns: 8, incarnation: Some(to), leads: true, durable: Seq(7), end: point(6) },
        Say::Status { to, echo_ns: 8 },
        Say::Verdict { to, nonce: 4, made: Some(register()) },
        Say::Verdict { to, nonce: 5, made: None },
    ];
    says.extend(changes.map(|change| Say::Petition {
        incarnation: Boot(0x44),
        nonce: 4,
        expected: Epoch(3),
        at: point(6),
        change,
    }));
    says
}

/// A message of a party.
pub(crate) fn message(from: Party, say: Say) -> Message {
    let register = matches!(say, Say::Status { .. } | Say::Heartbeat { .. }).then(register);
    Message { cluster: Cluster(5), from, boot: Boot(0x55), register, utc_ns: -2, say }
}

/// Any message that carries bytes, or one of the samples with other fields.
pub(crate) fn any_message() -> impl Strategy<Value = Message> {
    let frames = (any::<u64>(), of(any::<u128>()), any::<u64>(), vec(any::<u8>(), 0..3000)).prop_map(
        |(epoch, to, first, bytes)| Say::Frames {
            epoch: Epoch(epoch),
            to: to.map(Boot),
            first: Seq(first),
            bytes,
            committed: Seq(first),
        },
    );
    let greeting = (vec(any::<u64>(), 0..200), any::<bool>()).prop_map(|(epochs, whole)| Say::Greeting {
        log: epochs.into_iter().map(|epoch| Point { epoch: Epoch(epoch), ..Point::default() }).collect(),
        whole,
    });
    let part = vec(any::<u8>(), 0..20_000).prop_map(|bytes| Say::Part {
        to: Boot(1),
        at: point(1),
        offset: 9,
        bytes,
    });
    let say = prop_oneof![proptest::sample::select(says()), frames, greeting, part];
    let from = prop_oneof![(0u8..3).prop_map(|node| Party::Node(NodeId(node))), Just(Party::Witness)];
    (from, any::<u64>(), any::<u128>(), any::<i64>(), any::<bool>(), say).prop_map(
        |(from, cluster, boot, utc_ns, knows, say)| Message {
            cluster: Cluster(cluster),
            from,
            boot: Boot(boot),
            register: knows.then(register),
            utc_ns,
            say,
        },
    )
}
