//! Sessions that speak over a network in memory: what arrives, and what nobody can make arrive.

mod samples;

use touchline_lockstep::message::Party;
use touchline_lockstep::{Boot, Cluster, Message, NodeId, Say};
use touchline_protocol::{Epoch, Seq};
use touchline_transport::datagram::To;
use touchline_transport::drops::Reason;
use touchline_transport::keys::{Keyring, Secret};
use touchline_transport::pace::Pace;
use touchline_transport::session::{Session, Settings};

const A: Party = Party::Node(NodeId(0));
const B: Party = Party::Node(NodeId(1));

fn secret(generation: u16) -> Secret {
    Secret { generation, bytes: [generation as u8; 32] }
}

fn ring(generations: &[u16], used: u16) -> Keyring {
    let secrets: Vec<Secret> = generations.iter().map(|generation| secret(*generation)).collect();
    Keyring::new(&secrets, used).unwrap()
}

fn session_with(me: Party, change: impl FnOnce(&mut Settings), keyring: Keyring) -> Session {
    let mut settings = Settings::new(me, Cluster(5), 77);
    change(&mut settings);
    Session::new(settings, keyring, 0).unwrap()
}

fn session(me: Party) -> Session {
    session_with(me, |_| {}, ring(&[1], 1))
}

/// Everything that a session has to send now.
fn sealed(session: &mut Session, now_ns: u64) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| session.transmit(now_ns).map(|(_, datagram)| datagram.to_vec())).collect()
}

/// What a session makes of datagrams.
fn heard(session: &mut Session, now_ns: u64, datagrams: &[Vec<u8>]) -> Vec<Message> {
    let mut messages = Vec::new();
    for datagram in datagrams {
        session.receive(now_ns, datagram, &mut |_, message| messages.push(message));
    }
    messages
}

/// Lets two sessions speak until neither has anything to say; what each heard.
fn converse(a: &mut Session, b: &mut Session, now_ns: u64) -> [Vec<Message>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    loop {
        let (from_a, from_b) = (sealed(a, now_ns), sealed(b, now_ns));
        if from_a.is_empty() && from_b.is_empty() {
            return all;
        }
        all[0].extend(heard(a, now_ns, &from_b));
        all[1].extend(heard(b, now_ns, &from_a));
    }
}

fn small(from: Party, seq: u64) -> Message {
    samples::message(from, Say::Missing { epoch: Epoch(1), from: Seq(seq) })
}

/// Two sessions that have heard each other.
fn acquainted() -> (Session, Session) {
    let (mut a, mut b) = (session(A), session(B));
    acquaint(&mut a, &mut b, 0);
    (a, b)
}

fn acquaint(a: &mut Session, b: &mut Session, now_ns: u64) {
    a.send(To::One(B), &small(A, 0));
    converse(a, b, now_ns);
    a.send(To::One(B), &small(A, 1));
    b.send(To::One(A), &small(B, 1));
    assert_eq!(converse(a, b, now_ns), [vec![small(B, 1)], vec![small(A, 1)]]);
}

#[test]
fn every_message_arrives_as_it_was_whatever_its_size() {
    let (mut a, mut b) = acquainted();
    let mut sent: Vec<Message> = samples::says().into_iter().map(|say| samples::message(A, say)).collect();
    for length in [1200, 1290, 1300, 1400, 20_000, 200_000] {
        let bytes = (0..length).map(|byte| byte as u8).collect();
        let say = Say::Part { to: Boot(1), at: samples::point(1), offset: 0, bytes };
        sent.push(samples::message(A, say));
    }
    for message in &sent {
        a.send(To::One(B), message);
    }
    let datagrams = sealed(&mut a, 0);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 1400));
    let mut got = heard(&mut b, 0, &datagrams);
    assert_eq!(got.len(), sent.len());
    for message in sent {
        let place = got.iter().position(|other| *other == message).expect("it arrived");
        got.remove(place);
    }
    assert_eq!(a.counters().datagrams_out, b.counters().datagrams_in);
}

#[test]
fn signs_of_life_overtake_a_log_that_waits_for_the_pace() {
    let pace = Pace { bytes_per_s: 1_000_000, burst_bytes: 2000 };
    let mut a = session_with(A, |settings| settings.pace = pace, ring(&[1], 1));
    let mut b = session(B);
    acquaint(&mut a, &mut b, 0);
    let bytes = samples::log(200).concat();
    let say = Say::Frames { epoch: Epoch(1), to: Some(Boot(1)), first: Seq(1), bytes, committed: Seq(0) };
    a.send(To::One(B), &samples::message(A, say));
    let mut now_ns = 10_000_000;
    let begun = heard(&mut b, now_ns, &sealed(&mut a, now_ns)).len();
    a.send(To::One(B), &small(A, 9));
    assert_eq!(heard(&mut b, now_ns, &sealed(&mut a, now_ns)), [small(A, 9)]);
    let mut rest = 0;
    while let Some(held_ns) = a.held_ns() {
        now_ns += held_ns;
        rest += heard(&mut b, now_ns, &sealed(&mut a, now_ns)).len();
    }
    assert!(begun > 0 && rest > 5);
    let fastest_ns = a.counters().bytes_out * 1000 - 4_000_000;
    assert!(now_ns > fastest_ns, "{now_ns} is sooner than the pace allows");
}

#[test]
fn what_everybody_is_told_everybody_hears() {
    let (mut a, mut b) = acquainted();
    let mut witness = session(Party::Witness);
    a.send(To::Everyone, &small(A, 2));
    heard(&mut witness, 0, &sealed(&mut a, 0));
    converse(&mut a, &mut witness, 0);
    a.send(To::Everyone, &small(A, 3));
    let datagrams = sealed(&mut a, 0);
    assert_eq!(heard(&mut b, 0, &datagrams), [small(A, 3)]);
    assert_eq!(heard(&mut witness, 0, &datagrams), [small(A, 3)]);
}

#[test]
fn a_copy_on_the_other_network_is_removed() {
    let (mut a, mut b) = acquainted();
    let mut datagrams = Vec::new();
    for seq in 0..100 {
        a.send(To::One(B), &small(A, seq));
        datagrams.extend(sealed(&mut a, 0));
    }
    let mut late = datagrams.clone();
    late.reverse();
    assert_eq!(heard(&mut b, 0, &datagrams).len(), 100);
    assert_eq!(heard(&mut b, 0, &late), []);
    assert_eq!(b.counters().dropped(Reason::Repeated), 100);
}

#[test]
fn no_bit_of_a_datagram_can_be_changed() {
    let (mut a, mut b) = acquainted();
    a.send(To::One(B), &samples::message(A, samples::says().swap_remove(8)));
    let datagram = sealed(&mut a, 0).remove(0);
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(heard(&mut b, 0, &[changed]), [], "bit {bit}");
    }
    for end in 0..datagram.len() {
        assert_eq!(heard(&mut b, 0, &[datagram[..end].to_vec()]), [], "cut to {end}");
    }
    assert_eq!(heard(&mut b, 0, &[datagram]).len(), 1, "none of them harmed the genuine one");
    assert!(b.counters().dropped(Reason::Forged) > 100);
}

#[test]
fn nothing_can_be_read_without_the_key() {
    let (mut a, _) = acquainted();
    let bytes = b"a very secret price of a very open market".to_vec();
    let say = Say::Part { to: Boot(1), at: samples::point(1), offset: 0, bytes: bytes.clone() };
    a.send(To::One(B), &samples::message(A, say));
    let datagram = sealed(&mut a, 0).remove(0);
    assert!(!datagram.windows(8).any(|window| window == &bytes[..8]));
}

#[test]
fn whoever_holds_another_key_is_not_heard_and_hears_nothing() {
    let mut b = session(B);
    let bytes = [9; 32];
    let other = Keyring::new(&[Secret { generation: 1, bytes }], 1).unwrap();
    let mut thief = session_with(A, |_| {}, other);
    thief.send(To::One(B), &small(A, 1));
    assert_eq!(converse(&mut thief, &mut b, 0), [vec![], vec![]]);
    assert_eq!((b.counters().dropped(Reason::Forged), b.counters().greeted), (1, 0));

    let mut elsewhere = session_with(A, |settings| settings.cluster = Cluster(6), ring(&[1], 1));
    elsewhere.send(To::One(B), &small(A, 1));
    assert_eq!(converse(&mut elsewhere, &mut b, 0), [vec![], vec![]]);
    assert_eq!(b.counters().dropped(Reason::Foreign), 1);
}

#[test]
fn whoever_is_configured_otherwise_is_not_heard() {
    let mut a = session_with(A, |settings| settings.agreement = 78, ring(&[1], 1));
    let mut b = session(B);
    for _ in 0..3 {
        a.send(To::One(B), &small(A, 1));
        assert_eq!(converse(&mut a, &mut b, 0), [vec![], vec![]]);
    }
    assert!(b.counters().dropped(Reason::Disagrees) > 0);
    assert!(a.counters().dropped(Reason::Disagrees) > 0);
}

#[test]
fn a_datagram_that_comes_back_or_goes_elsewhere_is_dropped() {
    let (mut a, _) = acquainted();
    let mut witness = session(Party::Witness);
    a.send(To::One(B), &small(A, 1));
    let datagrams = sealed(&mut a, 0);
    assert_eq!(heard(&mut a, 0, &datagrams), []);
    assert_eq!(heard(&mut witness, 0, &datagrams), []);
    assert_eq!(a.counters().dropped(Reason::Own), 1);
    assert_eq!(witness.counters().dropped(Reason::Elsewhere), 1);
}

#[test]
fn nobody_speaks_for_another() {
    let (mut a, mut b) = acquainted();
    a.send(To::One(B), &small(Party::Witness, 1));
    let other = Message { cluster: Cluster(6), ..small(A, 1) };
    a.send(To::One(B), &other);
    assert_eq!(heard(&mut b, 0, &sealed(&mut a, 0)), []);
    assert!(b.counters().dropped(Reason::Impostor) > 0);
}

/// Whatever is recorded, of whichever boots, is worth nothing to receivers that were started since, and no more than
/// once to those that run.
#[test]
fn a_recording_cannot_be_played_again() {
    let mut recording = Vec::new();
    let (mut a, mut b) = (session(A), session(B));
    for round in 0..6 {
        let now_ns = round * 10_000_000;
        let begun = recording.len();
        for seq in 0..20 {
            a.send(To::One(B), &small(A, seq));
            let from_a = sealed(&mut a, now_ns);
            heard(&mut b, now_ns, &from_a);
            let from_b = sealed(&mut b, now_ns);
            heard(&mut a, now_ns, &from_b);
            recording.extend(from_a);
            recording.extend(from_b);
        }
        assert!(recording.len() > begun + 20);
        for session in [&mut a, &mut b] {
            assert_eq!(heard(session, now_ns + 5_000_000, &recording), []);
            // Its challenges to boots that are gone stay unanswered.
            sealed(session, now_ns + 5_000_000);
        }
        // One is started again, then the other; both at once every third time.
        if round % 3 != 0 {
            a = session(A);
        }
        if round % 3 != 1 {
            b = session(B);
        }
        for session in [&mut a, &mut b] {
            assert_eq!(heard(session, now_ns + 6_000_000, &recording), []);
            recording.extend(sealed(session, now_ns + 6_000_000));
            assert_eq!(heard(session, now_ns + 7_000_000, &recording), []);
        }
    }
    assert!(b.counters().dropped(Reason::Stranger) > 0);
}

#[test]
fn a_party_that_was_started_again_is_heard_after_its_answer() {
    let (mut a, mut b) = acquainted();
    let mut again = session(A);
    again.send(To::One(B), &small(A, 5));
    assert_eq!(converse(&mut again, &mut b, 1)[1], []);
    again.send(To::One(B), &small(A, 6));
    assert_eq!(converse(&mut again, &mut b, 2)[1], [small(A, 6)]);
    // What the one before still says is a stranger's word.
    a.send(To::One(B), &small(A, 7));
    assert_eq!(heard(&mut b, 3, &sealed(&mut a, 3)), []);
    assert_eq!((b.counters().greeted, b.counters().dropped(Reason::Stranger)), (2, 3));
}

#[test]
fn keys_rotate_without_a_lost_message() {
    let (mut a, mut b) = acquainted();
    let mut seq = 10;
    let mut both = |a: &mut Session, b: &mut Session| {
        seq += 1;
        a.send(To::One(B), &small(A, seq));
        b.send(To::One(A), &small(B, seq));
        assert_eq!(converse(a, b, seq), [vec![small(B, seq)], vec![small(A, seq)]]);
    };
    for generation in 1..4 {
        // The next one is accepted everywhere before it is used anywhere, and used everywhere before the old one goes.
        for (held, used) in [
            (vec![generation, generation + 1], generation),
            (vec![generation, generation + 1], generation + 1),
            (vec![generation + 1], generation + 1),
        ] {
            a.rotate(ring(&held, used));
            both(&mut a, &mut b);
            b.rotate(ring(&held, used));
            both(&mut a, &mut b);
        }
    }
    assert!(a.counters().rotations >= 3);
    let mut old = session(A);
    old.send(To::One(B), &small(A, 1));
    assert_eq!(converse(&mut old, &mut b, 100), [vec![], vec![]]);
    assert_eq!(b.counters().dropped(Reason::Key), 1);
}

#[test]
fn any_bytes_are_dropped_with_a_reason() {
    let mut b = session(B);
    let (mut a, _) = acquainted();
    a.send(To::One(B), &small(A, 1));
    let genuine = sealed(&mut a, 0).remove(0);
    let mut junk = Vec::new();
    for length in 0..200usize {
        junk.push(vec![length as u8; length]);
        let mut with_header = genuine[..40].to_vec();
        with_header.extend(vec![length as u8; length]);
        junk.push(with_header);
    }
    assert_eq!(heard(&mut b, 0, &junk), []);
    let dropped: u64 = Reason::ALL.iter().map(|reason| b.counters().dropped(*reason)).sum();
    assert_eq!(dropped, junk.len() as u64);
}
