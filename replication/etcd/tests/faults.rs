//! Requests whose outcome is unknown: lost, done without an answer, done late, or answered with nonsense.

mod fake;

use fake::{Fake, Fate};
use std::time::{Duration, Instant};
use touchline_etcd::{EtcdConfig, EtcdError, EtcdStore};
use touchline_lockstep::{Boot, Cluster, NodeId, Register, RegisterStore};
use touchline_protocol::Epoch;

const PATIENCE: Duration = Duration::from_millis(1500);

fn register(epoch: u64) -> Register {
    Register { epoch: Epoch(epoch), ..Register::first(NodeId(0), Boot(u128::from(epoch))) }
}

fn store(endpoints: Vec<String>) -> EtcdStore {
    let mut config = EtcdConfig::new(endpoints, Cluster(5));
    config.request_limit = Duration::from_millis(400);
    config.patience = PATIENCE;
    EtcdStore::new(&config).unwrap()
}

/// A server with epoch 1 in it, and the store that put it there.
fn begun() -> (Fake, EtcdStore) {
    let fake = Fake::start();
    let mut store = store(vec![fake.endpoint()]);
    assert_eq!(store.load().unwrap(), None);
    assert!(store.swap(None, &register(1)).unwrap());
    (fake, store)
}

/// What a witness that starts now would find.
fn found(fake: &Fake) -> Option<Register> {
    store(vec![fake.endpoint()]).load().unwrap()
}

#[test]
fn a_swap_that_was_done_without_an_answer_is_done_once() {
    let (fake, mut store) = begun();
    fake.next([Fate::DoneUnanswered]);
    assert!(store.swap(Some(Epoch(1)), &register(2)).unwrap());
    assert!(store.swap(Some(Epoch(2)), &register(3)).unwrap(), "the store knows what is there");
    assert_eq!(fake.kv().version, 4, "a load and three swaps");
    assert_eq!(found(&fake), Some(register(3)));
}

#[test]
fn a_request_that_was_lost_is_sent_again() {
    let (fake, mut store) = begun();
    fake.next([Fate::Lost, Fate::Lost]);
    assert!(store.swap(Some(Epoch(1)), &register(2)).unwrap());
    assert_eq!(found(&fake), Some(register(2)));
    fake.next([Fate::Lost, Fate::DoneUnanswered]);
    assert_eq!(store.load().unwrap(), Some(register(2)));
    assert!(store.swap(Some(Epoch(2)), &register(3)).unwrap());
}

#[test]
fn a_first_load_that_was_done_without_an_answer_takes_the_key_over() {
    let fake = Fake::start();
    let mut store = store(vec![fake.endpoint()]);
    fake.next([Fate::DoneUnanswered]);
    assert_eq!(store.load().unwrap(), None);
    assert!(store.swap(None, &register(1)).unwrap());
    assert_eq!(found(&fake), Some(register(1)));
}

#[test]
fn a_request_that_arrives_after_its_repetition_changes_nothing() {
    let (fake, mut store) = begun();
    fake.next([Fate::Late]);
    assert!(store.swap(Some(Epoch(1)), &register(2)).unwrap());
    fake.arrive();
    assert_eq!(fake.kv().version, 3);
    assert!(store.swap(Some(Epoch(2)), &register(3)).unwrap());
}

#[test]
fn a_request_of_a_witness_that_has_ended_changes_nothing_after_the_next_one_s_load() {
    let (fake, mut old) = begun();
    fake.next((0..99).map(|_| Fate::Late));
    let error = old.swap(Some(Epoch(1)), &register(2)).unwrap_err();
    assert!(matches!(error, EtcdError::Unavailable { .. }), "{error}");
    drop(old);
    fake.next([]);
    let mut new = store(vec![fake.endpoint()]);
    assert_eq!(new.load().unwrap(), Some(register(1)));
    fake.arrive();
    assert_eq!(found(&fake), Some(register(1)), "too late");
    assert_eq!(new.load().unwrap(), Some(register(1)));
    assert!(new.swap(Some(Epoch(1)), &register(7)).unwrap());
}

#[test]
fn what_another_process_did_after_an_unanswered_swap_is_noticed() {
    let (fake, mut store) = begun();
    // Taken over: the swap was done, and the next one is refused.
    fake.next([Fate::DoneThen(|kv| kv.put(&kv.value.clone()))]);
    assert!(store.swap(Some(Epoch(1)), &register(2)).unwrap());
    assert!(!store.swap(Some(Epoch(2)), &register(3)).unwrap());
    // Replaced: what was swapped in is outdated already.
    assert_eq!(store.load().unwrap(), Some(register(2)));
    fake.next([Fate::DoneThen(|kv| kv.put("b3RoZXI="))]);
    assert!(!store.swap(Some(Epoch(2)), &register(3)).unwrap());
}

#[test]
fn a_register_that_was_taken_over_or_restored_from_a_backup_refuses_the_swap() {
    let (fake, mut store) = begun();
    fake.next([Fate::After(|kv| kv.put(&kv.value.clone()))]);
    assert!(!store.swap(Some(Epoch(1)), &register(2)).unwrap());
    assert!(!store.swap(Some(Epoch(1)), &register(2)).unwrap(), "and so does every swap before a load");
    assert_eq!(store.load().unwrap(), Some(register(1)));
    // The same versions a second time, with other contents.
    fake.change(|kv| "b3RoZXI=".clone_into(&mut kv.value));
    assert!(!store.swap(Some(Epoch(1)), &register(2)).unwrap());
}

#[test]
fn nonsense_and_silence_are_never_an_outcome_and_end_in_time() {
    let (fake, mut store) = begun();
    let fates: [fn() -> Fate; 6] = [
        || Fate::Says(200, "{}"),
        || Fate::Says(200, "<html>hello</html>"),
        || Fate::Says(200, r#"{"succeeded":true}"#),
        || Fate::Says(503, r#"{"error":"etcdserver: request timed out","code":14}"#),
        || Fate::Says(302, ""),
        || Fate::Silence,
    ];
    for fate in fates {
        store.load().unwrap();
        fake.next((0..99).map(|_| fate()));
        let started = Instant::now();
        let error = store.swap(Some(Epoch(1)), &register(2)).unwrap_err();
        assert!(matches!(error, EtcdError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(&fake.endpoint()), "{error}");
        assert!(started.elapsed() < 2 * PATIENCE);
        fake.next([]);
        let before = fake.requests();
        assert!(!store.swap(Some(Epoch(1)), &register(2)).unwrap(), "after an error only a load helps");
        assert_eq!(fake.requests(), before);
    }
    assert_eq!(store.load().unwrap(), Some(register(1)));
    fake.next([Fate::Says(503, ""), Fate::Says(200, "{}"), Fate::Silence]);
    assert!(store.swap(Some(Epoch(1)), &register(2)).unwrap(), "a while of it does no harm");
}

#[test]
fn a_value_that_is_no_register_is_told_with_what_to_do() {
    let (fake, mut store) = begun();
    fake.change(|kv| kv.put("b3RoZXI="));
    let error = store.load().unwrap_err().to_string();
    assert!(error.contains("etcdctl del touchline/5/register"), "{error}");
    assert!(!store.swap(Some(Epoch(1)), &register(2)).unwrap());
}

#[test]
fn endpoints_of_another_etcd_are_not_listened_to() {
    let (fake, other) = (Fake::start(), Fake::start());
    let mut both = store(vec![fake.endpoint(), other.endpoint()]);
    assert_eq!(both.load().unwrap(), None);
    let text = r#"{"header":{"cluster_id":"78","revision":"9"},"succeeded":true,
        "responses":[{"response_put":{}}]}"#;
    fake.next([Fate::Lost]);
    other.next([Fate::Says(200, text)]);
    assert!(both.swap(None, &register(1)).unwrap());
    assert_eq!(found(&fake), Some(register(1)), "the first one was asked again");
    assert_eq!(other.kv().version, 0);
}
