//! Rules whose breaking shows only in rare runs: what a node asks the witness for, and what it must have first. Each is broken
//! on purpose beside it, so that the test can fail.

use touchline_lockstep::message::Party;
use touchline_lockstep::replica::Start;
use touchline_lockstep::{
    Boot, Change, Cluster, Durability, Log, Message, Mutation, NodeId, Point, Register, Replica, Role, Say,
    Settings,
};
use touchline_protocol::{ChainHash, Epoch, Seq};

const CLUSTER: Cluster = Cluster(5);
const OWN: Boot = Boot(10);
const PEER: Boot = Boot(11);
const WITNESS: Boot = Boot(12);
const MS: u64 = 1_000_000;
/// UTC where the monotonic clock began.
const UTC_NS: i64 = 1_900_000_000_000_000_000;

/// A log that ends at a frame.
struct Upto(u64);

fn at(seq: u64) -> Point {
    Point { epoch: Epoch(1), seq: Seq(seq), chain: ChainHash(seq.into()) }
}

impl Log for Upto {
    fn base(&self) -> Point {
        Point::default()
    }
    fn end(&self) -> Point {
        at(self.0)
    }
    fn point(&self, seq: Seq) -> Option<Point> {
        (seq.0 <= self.0).then(|| if seq.0 == 0 { Point::default() } else { at(seq.0) })
    }
    fn epochs(&self) -> Vec<Point> {
        vec![self.end()]
    }
    fn read(&self, _from: Seq, _bytes_max: usize, _out: &mut Vec<u8>) {}
    fn state(&self) -> Option<(Point, &[u8])> {
        None
    }
}

/// Node 0, whose journal holds 20 frames, in a configuration; it has heard the witness.
struct Node {
    replica: Replica,
    log: Upto,
    now_ns: u64,
}

impl Node {
    fn new(durability: Durability, mutation: Option<Mutation>, register: Register) -> Node {
        let settings = Settings { durability, mutation, ..Settings::default() };
        let start = Start { node: NodeId(0), boot: OWN, needs_word: false, damaged: false };
        let log = Upto(20);
        let replica = Replica::new(CLUSTER, start, settings, &log, 0);
        let mut node = Node { replica, log, now_ns: MS };
        node.pass(2);
        node.hear(Party::Witness, WITNESS, register, Say::Status { to: OWN, echo_ns: MS });
        node
    }

    fn hear(&mut self, from: Party, boot: Boot, register: Register, say: Say) {
        let utc_ns = UTC_NS + self.now_ns as i64;
        let message = Message { cluster: CLUSTER, from, boot, register: Some(register), utc_ns, say };
        self.replica.receive(self.now_ns, message, &self.log);
    }

    fn hear_peer(&mut self, register: Register, say: Say) {
        self.hear(Party::Node(NodeId(1)), PEER, register, say);
    }

    /// Frames come into the log, and not yet into the journal.
    fn append(&mut self, upto: u64) {
        let first = Seq(self.log.0 + 1);
        self.log = Upto(upto);
        self.replica.appended(self.now_ns, first, &self.log);
    }

    fn write(&mut self) {
        self.replica.durable(Seq(self.log.0), &self.log);
    }

    /// Milliseconds pass; what was asked for meanwhile.
    fn pass(&mut self, times: u64) -> Vec<Change> {
        let mut asked = Vec::new();
        for _ in 0..times {
            self.now_ns += MS;
            self.replica.tick(self.now_ns, UTC_NS + self.now_ns as i64, &self.log);
            for (_, message) in self.replica.take_messages() {
                if let Say::Petition { change, .. } = message.say {
                    asked.push(change);
                }
            }
        }
        asked
    }
}

fn configured(epoch: u64, boots: [Option<Boot>; 2]) -> Register {
    Register { epoch: Epoch(epoch), in_sync: boots, start: at(20), ..Register::first(NodeId(0), OWN) }
}

#[test]
fn the_winner_of_cold_holds_the_log_in_its_journal() {
    let asks = |mutation, written: bool| {
        let before = configured(2, [Some(Boot(1)), Some(Boot(2))]);
        let mut node = Node::new(Durability::Memory, mutation, before);
        node.append(25);
        if written {
            node.write();
        }
        node.hear_peer(before, Say::Greeting { log: vec![at(25)], whole: true });
        node.pass(1).contains(&Change::Cold(PEER))
    };
    assert!(!asks(None, false), "it holds the frames that it fetched in memory alone");
    assert!(asks(None, true));
    assert!(asks(Some(Mutation::ColdFromMemory), false));
}

#[test]
fn what_was_acknowledged_from_memory_is_written_before_a_primary_goes_on_alone() {
    let asks = |mutation, written: bool| {
        let dual = configured(3, [Some(OWN), Some(PEER)]);
        let mut node = Node::new(Durability::Memory, mutation, configured(2, [Some(OWN), None]));
        node.hear(Party::Witness, WITNESS, dual, Say::Status { to: OWN, echo_ns: MS });
        assert_eq!(node.replica.role(), Role::Primary);
        node.append(25);
        let (epoch, received) = (Epoch(3), at(25));
        let ack = Say::Ack { epoch, received, durable: Seq(0), echo_ns: 0, fingerprint: None };
        node.hear_peer(dual, ack);
        assert_eq!(node.replica.committed(), Seq(25), "both memories have it");
        if written {
            node.write();
        }
        node.pass(200).contains(&Change::Solo)
    };
    assert!(!asks(None, false), "a crash would lose what it acknowledged");
    assert!(asks(None, true));
    assert!(asks(Some(Mutation::SkipFlush), false));
}

#[test]
fn a_peer_is_taken_in_with_everything_inherited_and_the_frame_that_opens_the_epoch() {
    let asks = |mutation, held: u64| {
        let alone = configured(2, [Some(OWN), None]);
        let mut node = Node::new(Durability::Durable, mutation, alone);
        // The frame that opens the epoch: until it is in the journal nothing is committed.
        node.append(21);
        node.hear_peer(alone, Say::Greeting { log: vec![at(15)], whole: true });
        node.pass(1);
        if held > 20 {
            node.write();
        }
        let (epoch, received) = (Epoch(2), at(held));
        let ack = Say::Ack { epoch, received, durable: Seq(held), echo_ns: 0, fingerprint: None };
        node.hear_peer(alone, ack);
        node.pass(3).contains(&Change::Dual(PEER))
    };
    assert!(!asks(None, 18), "the process before may have acknowledged frame 20");
    assert!(!asks(None, 20), "an empty disk holds the start of every log, and no epoch's");
    assert!(asks(None, 21));
    assert!(asks(Some(Mutation::TakeInShort), 18));
}
