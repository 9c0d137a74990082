//! The witness over a store that another process may work on too.

use std::cell::RefCell;
use std::rc::Rc;
use touchline_lockstep::message::{Message, Party, Say};
use touchline_lockstep::witness::SEED_GAP;
use touchline_lockstep::{
    Boot, Change, Cluster, NodeId, Point, Register, RegisterStore, Settings, Slots, TwoSlots, Witness,
};
use touchline_protocol::{Epoch, Seq};

const CLUSTER: Cluster = Cluster(5);
const PRIMARY: Boot = Boot(10);
const STANDBY: Boot = Boot(11);
/// Every witness here is quiet that long after its start.
const QUIET_NS: u64 = 1_000_000_000;

/// One handle on a register in memory, as a process holds it.
#[derive(Clone, Default)]
struct Shared {
    kept: Rc<RefCell<Kept>>,
    /// The take-over that this handle made last.
    taken: u64,
}

#[derive(Default)]
struct Kept {
    register: Option<Register>,
    taken: u64,
}

impl RegisterStore for Shared {
    type Error = String;

    fn load(&mut self) -> Result<Option<Register>, String> {
        let mut kept = self.kept.borrow_mut();
        kept.taken += 1;
        self.taken = kept.taken;
        Ok(kept.register)
    }

    fn swap(&mut self, expected: Option<Epoch>, next: &Register) -> Result<bool, String> {
        let mut kept = self.kept.borrow_mut();
        if self.taken != kept.taken || expected != kept.register.map(|register| register.epoch) {
            return Ok(false);
        }
        kept.register = Some(*next);
        Ok(true)
    }
}

fn dual(epoch: u64) -> Register {
    let mut register = Register::first(NodeId(0), PRIMARY);
    register.epoch = Epoch(epoch);
    register.in_sync[1] = Some(STANDBY);
    register
}

fn settings() -> Settings {
    Settings { stall_ns: u64::MAX, ..Settings::default() }
}

fn start<S: RegisterStore>(store: S, incarnation: u128) -> Witness<S> {
    Witness::start(CLUSTER, (Boot(incarnation), incarnation as u64), settings(), store, 0).unwrap()
}

fn message(node: u8, boot: Boot, register: Option<Register>, say: Say) -> Message {
    Message { cluster: CLUSTER, from: Party::Node(NodeId(node)), boot, register, utc_ns: 0, say }
}

fn petition(incarnation: u128, nonce: u64, expected: u64, change: Change) -> Say {
    let at = Point::default();
    Say::Petition { incarnation: Boot(incarnation), nonce, expected: Epoch(expected), at, change }
}

fn report(incarnation: u128) -> Say {
    let incarnation = Some(Boot(incarnation));
    Say::Report { sent_ns: 1, incarnation, leads: false, durable: Seq(0), end: Point::default() }
}

/// What the witness answers to one message: in which incarnation, and the verdict.
fn ask<S: RegisterStore>(witness: &mut Witness<S>, message: &Message) -> Vec<(Boot, Option<Register>)> {
    witness.receive(QUIET_NS, message).unwrap();
    let answers = witness.take_messages().into_iter();
    answers
        .filter_map(|(_, answer)| match answer.say {
            Say::Verdict { made, .. } => Some((answer.boot, made)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_witness_that_was_outrun_refuses_takes_the_newer_register_and_is_another() {
    let store = Shared::default();
    store.kept.borrow_mut().register = Some(dual(3));
    let mut old = start(store.clone(), 100);
    let mut new = start(store.clone(), 200);
    let solo = message(0, PRIMARY, None, petition(200, 1, 3, Change::Solo));
    let [(_, Some(made))] = ask(&mut new, &solo)[..] else { panic!("the newer witness does it") };
    assert_eq!(made.epoch, Epoch(4));

    let promote = message(1, STANDBY, None, petition(100, 1, 3, Change::Promote));
    assert_eq!(ask(&mut old, &promote), [(Boot(100), None)], "refused, in the incarnation that was asked");
    assert_eq!(old.register(), Some(&made));
    assert_eq!(ask(&mut old, &promote), [], "that incarnation is over");
    assert_eq!(store.kept.borrow().register, Some(made));
}

#[test]
fn a_petition_to_a_witness_that_was_replaced_comes_to_nothing_even_in_the_same_epoch() {
    let store = Shared::default();
    store.kept.borrow_mut().register = Some(dual(3));
    let mut old = start(store.clone(), 100);
    let _new = start(store.clone(), 200);
    let promote = message(1, STANDBY, None, petition(100, 1, 3, Change::Promote));
    assert_eq!(ask(&mut old, &promote), [(Boot(100), None)]);
    assert_eq!(store.kept.borrow().register, Some(dual(3)));

    // As one that has just started it promotes nobody before it has been quiet for a while, and then it does.
    let again = message(1, STANDBY, None, petition(101, 2, 3, Change::Promote));
    assert_eq!(ask(&mut old, &again), [(Boot(101), None)]);
    let later = message(1, STANDBY, None, petition(101, 3, 3, Change::Promote));
    old.receive(2 * QUIET_NS, &later).unwrap();
    assert_eq!(old.register().map(|register| register.epoch), Some(Epoch(4)));
}

#[test]
fn an_operator_s_word_does_not_go_over_a_register_that_another_witness_made() {
    let store = Shared::default();
    let (mut first, mut second) = (start(store.clone(), 100), start(store.clone(), 200));
    assert_eq!(second.install(dual(1)), Ok(true));
    assert_eq!(first.install(dual(7)), Ok(false));
    assert_eq!(first.register(), Some(&dual(1)));
}

/// Slots that outlive the process.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<[Vec<u8>; 2]>>);

impl Slots for Disk {
    type Error = String;
    fn read(&self, slot: usize) -> Result<Vec<u8>, String> {
        Ok(self.0.borrow()[slot].clone())
    }
    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), String> {
        self.0.borrow_mut()[slot] = bytes.to_vec();
        Ok(())
    }
}

#[test]
fn a_witness_that_went_blank_over_an_outdated_register_can_be_seeded_over_it() {
    let disk = Disk::default();
    let mut witness = start(TwoSlots::new(disk.clone(), None), 100);
    assert_eq!(witness.install(dual(3)), Ok(true));

    // Both know a later epoch: the register was restored from somewhere. Incarnation 101 asks both again.
    for (node, boot) in [(0, PRIMARY), (1, STANDBY)] {
        witness.receive(QUIET_NS, &message(node, boot, Some(dual(9)), report(100))).unwrap();
    }
    assert_eq!(witness.register(), None);
    for (node, boot) in [(0, PRIMARY), (1, STANDBY)] {
        witness.receive(QUIET_NS, &message(node, boot, Some(dual(9)), report(101))).unwrap();
    }
    let seeded = dual(100 * SEED_GAP);
    assert_eq!(witness.register(), Some(&seeded));
    drop(witness);
    assert_eq!(start(TwoSlots::new(disk, None), 200).register(), Some(&seeded));
}

#[test]
fn what_two_lost_witnesses_were_given_are_two_epochs() {
    let given = |incarnation| {
        let mut witness = start(Shared::default(), incarnation);
        for (node, boot) in [(0, PRIMARY), (1, STANDBY)] {
            let said = message(node, boot, Some(dual(9)), report(incarnation));
            witness.receive(QUIET_NS, &said).unwrap();
        }
        witness.register().expect("both gave it").epoch.0
    };
    assert!(given(100) + SEED_GAP <= given(101), "nobody may have heard of the first one");
    assert_eq!(given(0), SEED_GAP, "beyond what was given back at least");
}

/// Whether a new boot of the primary may lead, by a change, when the boot that is in sync was heard at a time.
fn leads_beside(change: Change, heard_ns: u64) -> bool {
    let store = Shared::default();
    store.kept.borrow_mut().register = Some(dual(3));
    let mut witness = start(store, 100);
    witness.receive(heard_ns, &message(0, PRIMARY, None, report(100))).unwrap();
    witness.receive(QUIET_NS, &message(1, Boot(21), None, report(100))).unwrap();
    let [(_, made)] = ask(&mut witness, &message(0, Boot(20), None, petition(100, 1, 3, change)))[..] else {
        panic!("one answer")
    };
    made.is_some()
}

#[test]
fn a_copy_of_a_disk_leads_nothing_beside_the_node_that_lives() {
    for change in [Change::Promote, Change::Cold(Boot(21))] {
        assert!(!leads_beside(change, QUIET_NS), "{change:?}");
        assert!(leads_beside(change, QUIET_NS - 100_000_000), "{change:?}");
    }
}
