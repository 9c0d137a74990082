//! A lone node that starts again with a log that is not the one it was alone with.

use touchline_lockstep::message::{Message, Party, Say};
use touchline_lockstep::replica::Start;
use touchline_lockstep::{Boot, Cluster, Log, NodeId, Point, Register, Replica, Settings};
use touchline_protocol::{ChainHash, Epoch, Seq};

/// A log of which nothing is left.
struct Empty;

impl Log for Empty {
    fn base(&self) -> Point {
        Point::default()
    }
    fn end(&self) -> Point {
        Point::default()
    }
    fn point(&self, _: Seq) -> Option<Point> {
        None
    }
    fn epochs(&self) -> Vec<Point> {
        Vec::new()
    }
    fn read(&self, _: Seq, _: usize, _: &mut Vec<u8>) {}
    fn state(&self) -> Option<(Point, &[u8])> {
        None
    }
}

/// Whether a node waits for somebody's word, in a configuration that another boot of node 0 leads alone from a frame on.
fn waits_for_a_word(node: u8, start: Point) -> bool {
    let (cluster, boot) = (Cluster(5), Boot(12));
    let start_of_node = Start { node: NodeId(node), boot, needs_word: false, damaged: false };
    let mut replica = Replica::new(cluster, start_of_node, Settings::default(), &Empty, 0);
    let register = Some(Register { start, ..Register::first(NodeId(0), Boot(10)) });
    let say = Say::Status { to: boot, echo_ns: 1 };
    let (from, witness) = (Party::Witness, Boot(1));
    replica.receive(2, Message { cluster, from, boot: witness, register, utc_ns: 0, say }, &Empty);
    replica.tick(3, 0, &Empty);
    replica.needs_word()
}

#[test]
fn the_lone_owner_of_the_log_says_that_it_lacks_the_epoch_s_start() {
    let lost = Point { epoch: Epoch(1), seq: Seq(9), chain: ChainHash(7) };
    assert!(waits_for_a_word(0, lost), "what it lacks may have been acknowledged");
    assert!(!waits_for_a_word(0, Point::default()), "it lacks nothing");
    assert!(!waits_for_a_word(1, lost), "the other node has what counts");
}
