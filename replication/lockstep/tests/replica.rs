//! A data node that can go on by itself no longer: it says so, or it leaves.

use touchline_lockstep::message::Party;
use touchline_lockstep::replica::{Start, Why};
use touchline_lockstep::{
    Action, Boot, Cluster, Log, Message, NodeId, Point, Register, Replica, Role, Say, Settings,
};
use touchline_protocol::{ChainHash, Epoch, Seq};

const CLUSTER: Cluster = Cluster(5);
const OWN: Boot = Boot(10);
const PEER: Boot = Boot(11);
const NOW_NS: u64 = 1_000_000;

/// A log of one epoch that ends at a frame.
struct Short(u64);

impl Short {
    fn at(seq: u64) -> Point {
        Point { epoch: Epoch(1), seq: Seq(seq), chain: ChainHash(seq.into()) }
    }
}

impl Log for Short {
    fn base(&self) -> Point {
        Point::default()
    }

    fn end(&self) -> Point {
        Short::at(self.0)
    }

    fn point(&self, seq: Seq) -> Option<Point> {
        (seq.0 <= self.0).then(|| Short::at(seq.0))
    }

    fn epochs(&self) -> Vec<Point> {
        vec![self.end()]
    }

    fn read(&self, _from: Seq, _bytes_max: usize, _out: &mut Vec<u8>) {}

    fn state(&self) -> Option<(Point, &[u8])> {
        None
    }
}

/// A configuration led by a node in a boot, from frame 20 on.
fn led_by(node: u8, boot: Boot) -> Register {
    Register { epoch: Epoch(2), start: Short::at(20), ..Register::first(NodeId(node), boot) }
}

/// The same in the next epoch, with the other node in sync.
fn with_peer(register: Register, boot: Boot) -> Register {
    let mut next = Register { epoch: Epoch(register.epoch.0 + 1), ..register };
    next.in_sync[register.primary.peer().place()] = Some(boot);
    next
}

/// Node 0, whose log ends at a frame and who has heard of a configuration.
fn node(end: u64, register: Register) -> Replica {
    let start = Start { node: NodeId(0), boot: OWN, needs_word: false, damaged: false };
    let mut replica = Replica::new(CLUSTER, start, Settings::default(), &Short(end), 0);
    hear(&mut replica, register, Say::Greeting { log: Vec::new(), whole: true });
    replica
}

fn hear(replica: &mut Replica, register: Register, say: Say) {
    let from = Party::Node(NodeId(1));
    let message = Message { cluster: CLUSTER, from, boot: PEER, register: Some(register), utc_ns: 0, say };
    let log = Short(replica.end().seq.0);
    replica.receive(NOW_NS, message, &log);
}

/// What a node does that finds its state broken.
fn find_broken(mut replica: Replica) -> (Role, Vec<Action>) {
    replica.take_actions();
    replica.spoilt(NOW_NS);
    let actions = replica.take_actions();
    replica.spoilt(NOW_NS);
    assert!(replica.take_actions().is_empty(), "it says so once");
    (replica.role(), actions)
}

#[test]
fn a_node_that_is_to_go_on_alone_and_lacks_what_it_held_is_stranded() {
    let stranded = |end, register| node(end, register).is_stranded(&Short(end));
    assert!(stranded(19, led_by(0, Boot(1))));
    assert!(!stranded(20, led_by(0, Boot(1))), "it recovers");
    assert!(stranded(20, Register { durable: Seq(21), ..led_by(0, Boot(1)) }));
    assert!(!stranded(19, led_by(1, PEER)), "the other one goes on");
    assert!(!stranded(19, with_peer(led_by(0, Boot(1)), Boot(2))), "the other one has it too");
}

#[test]
fn a_primary_with_a_broken_state_hands_over_and_acknowledges_nothing_more() {
    let mut replica = node(20, led_by(0, OWN));
    hear(&mut replica, with_peer(led_by(0, OWN), PEER), Say::Greeting { log: Vec::new(), whole: true });
    assert_eq!(find_broken(replica), (Role::Handing, vec![Action::Hold, Action::Pause]));
}

#[test]
fn a_primary_with_a_broken_state_that_is_to_lead_on_starts_again() {
    let dual = with_peer(led_by(0, OWN), PEER);
    let mut replica = node(20, led_by(0, OWN));
    hear(&mut replica, dual, Say::Greeting { log: Vec::new(), whole: true });
    replica.spoilt(NOW_NS);
    replica.take_actions();
    // A witness that lost its register was given it back: a new epoch, the same roles.
    let seeded = Register { epoch: Epoch(1003), ..dual };
    hear(&mut replica, seeded, Say::Greeting { log: Vec::new(), whole: true });
    assert_eq!((replica.role(), replica.take_actions()), (Role::Gone, vec![Action::Restart(Why::Odd)]));
}

#[test]
fn any_other_node_with_a_broken_state_starts_again() {
    let alone = node(20, led_by(0, OWN));
    let leaves = Action::Restart(Why::Odd);
    assert_eq!(find_broken(alone), (Role::Gone, vec![Action::Hold, leaves.clone()]));

    let primary = led_by(1, PEER);
    let mut follows = node(20, primary);
    hear(
        &mut follows,
        primary,
        Say::Join { to: OWN, epoch: Epoch(2), asked: Short::at(20), common: Short::at(20), sent_ns: 0 },
    );
    hear(&mut follows, with_peer(primary, OWN), Say::Greeting { log: Vec::new(), whole: true });
    assert_eq!(follows.role(), Role::Standby);
    assert_eq!(find_broken(follows), (Role::Gone, vec![leaves]));
}
