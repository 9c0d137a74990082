//! A publisher and its follower over a network that loses, repeats and reorders datagrams: every frame is there in the
//! end, and meanwhile none is taken that does not continue the log.

mod samples;

use proptest::prelude::*;
use std::collections::BTreeMap;
use touchline_generator::Random;
use touchline_lockstep::follower::Follower;
use touchline_lockstep::message::Party;
use touchline_lockstep::publisher::Publisher;
use touchline_lockstep::{Boot, Cluster, Log, Message, NodeId, Point, Say, Settings};
use touchline_protocol::{Epoch, FrameRef, Seq};
use touchline_transport::datagram::To;
use touchline_transport::keys::{Keyring, Secret};
use touchline_transport::session::{self, Session};

const LEADER: Party = Party::Node(NodeId(0));
const FOLLOWER: Party = Party::Node(NodeId(1));
const FOLLOWER_BOOT: Boot = Boot(2);
const MS: u64 = 1_000_000;

/// A log in memory that begins at its first frame.
struct Frames(Vec<Vec<u8>>);

impl Log for Frames {
    fn base(&self) -> Point {
        Point::default()
    }
    fn end(&self) -> Point {
        self.point(Seq(self.0.len() as u64)).unwrap_or_default()
    }
    fn point(&self, seq: Seq) -> Option<Point> {
        let frame = self.0.get(usize::try_from(seq.0).ok()?.checked_sub(1)?)?;
        Some(Point::of(&FrameRef::parse(frame).unwrap()))
    }
    fn epochs(&self) -> Vec<Point> {
        vec![self.end()]
    }
    fn read(&self, from: Seq, bytes_max: usize, out: &mut Vec<u8>) {
        for frame in self.0.iter().skip(from.0 as usize - 1) {
            if !out.is_empty() && out.len() + frame.len() > bytes_max {
                break;
            }
            out.extend_from_slice(frame);
        }
    }
    fn state(&self) -> Option<(Point, &[u8])> {
        None
    }
}

/// What is on its way, by when it arrives; a datagram may be lost, come twice, and overtake others.
struct Net {
    random: Random,
    loss_permille: u64,
    flying: BTreeMap<(u64, u64), (Party, Vec<u8>)>,
    count: u64,
}

impl Net {
    fn send(&mut self, now_ns: u64, from: Party, datagram: &[u8]) {
        let copies = 1 + u64::from(self.random.below(1000) < 50);
        for _ in 0..copies {
            if self.random.below(1000) >= self.loss_permille {
                self.count += 1;
                let due_ns = now_ns + 20_000 + self.random.below(400_000);
                self.flying.insert((due_ns, self.count), (from, datagram.to_vec()));
            }
        }
    }
}

fn session(me: Party) -> Session {
    let keyring = Keyring::new(&[Secret { generation: 1, bytes: [1; 32] }], 1).unwrap();
    Session::new(session::Settings::new(me, Cluster(5), 0), keyring, 0).unwrap()
}

fn message(from: Party, say: Say) -> Message {
    Message { cluster: Cluster(5), from, boot: Boot(1), register: None, utc_ns: 0, say }
}

/// Runs until the follower has all; returns for how long, in milliseconds, and how many datagrams it took.
fn converge(seed: u64, loss_permille: u64, count: u64) -> (u64, u64) {
    let settings = Settings { message_bytes: 1000, catch_up_bytes: 16_000, ..Settings::default() };
    let log = Frames(samples::log(count));
    let mut publisher = Publisher::new(Epoch(1), Point::default(), Seq(0), Seq(0));
    publisher.begin(0, FOLLOWER_BOOT, Seq(0));
    publisher.gated = true;
    publisher.dual = true;
    let mut follower = Follower::new(0, Epoch(1), Point::default());
    let (mut leads, mut follows) = (session(LEADER), session(FOLLOWER));
    let mut net = Net { random: Random::new(seed), loss_permille, flying: BTreeMap::new(), count: 0 };
    let (mut taken, mut written) = (Vec::new(), 0);
    for step in 0..200_000u64 {
        let now_ns = step * MS / 10;
        // Some frames a step, as they are sequenced.
        if written < count {
            let first = Seq(written + 1);
            written = (written + 4).min(count);
            publisher.appended(now_ns, first, log.point(Seq(written)).unwrap());
            publisher.durable = Seq(written);
            let bytes = log.0[first.0 as usize - 1..written as usize].concat();
            let committed = publisher.committed;
            let say = Say::Frames { epoch: Epoch(1), to: None, first, bytes, committed };
            leads.send(To::One(FOLLOWER), &message(LEADER, say));
        }
        if let Some(say) = publisher.heartbeat(now_ns, &settings) {
            leads.send(To::One(FOLLOWER), &message(LEADER, say));
        }
        let mut says = Vec::new();
        follower.say(now_ns, &settings, &mut says);
        says.into_iter().for_each(|say| follows.send(To::One(LEADER), &message(FOLLOWER, say)));
        while let Some((_, datagram)) = leads.transmit(now_ns) {
            net.send(now_ns, LEADER, datagram);
        }
        while let Some((_, datagram)) = follows.transmit(now_ns) {
            net.send(now_ns, FOLLOWER, datagram);
        }
        while let Some(entry) = net.flying.first_entry().filter(|entry| entry.key().0 <= now_ns) {
            let (from, datagram) = entry.remove();
            let mut heard = Vec::new();
            let to = if from == LEADER { &mut follows } else { &mut leads };
            to.receive(now_ns, &datagram, &mut |_, message| heard.push(message.say));
            for say in heard {
                match say {
                    Say::Frames { first, bytes, committed, .. } => {
                        follower.frames(now_ns, first, bytes, committed, &settings, &mut taken).unwrap();
                        follower.durable(follower.received.seq);
                    }
                    Say::Heartbeat { sent_ns, end, committed, .. } => {
                        follower.heartbeat(now_ns, sent_ns, end, committed);
                    }
                    Say::Ack { received, durable, .. } => {
                        assert_eq!(log.point(received.seq).unwrap_or_default(), received);
                        publisher.acknowledged(now_ns, received.seq, durable, &settings);
                        publisher.commit(&settings);
                    }
                    Say::Missing { from, .. } => {
                        let mut next = from;
                        for _ in 0..settings.catch_up_bytes / settings.message_bytes {
                            let Some(say) = publisher.frames(next, &log, &settings) else { break };
                            if let Say::Frames { bytes, .. } = &say {
                                next.0 += touchline_lockstep::log::frames(bytes).count() as u64;
                            }
                            leads.send(To::One(FOLLOWER), &message(LEADER, say));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        if publisher.committed == Seq(count) {
            assert!(taken == log.0.concat(), "the log of the follower is the leader's");
            return (now_ns / MS, leads.counters().datagrams_out);
        }
    }
    panic!("seed {seed}: {} of {count} committed", publisher.committed.0);
}

#[test]
fn a_follower_has_every_frame_in_the_end() {
    for loss_permille in [0, 10, 50, 300] {
        let (ms, datagrams) = converge(7, loss_permille, 2000);
        println!("{loss_permille} ‰ lost: 2000 frames committed after {ms} ms in {datagrams} datagrams");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_lost_is_repaired(seed in any::<u64>(), loss_permille in 0u64..400, count in 1u64..400) {
        converge(seed, loss_permille, count);
    }
}
