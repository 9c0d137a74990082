//! The store over a real etcd, started here on loopback; skipped where there is none.

mod server;

use server::{Etcd, free_ports};
use std::time::Duration;
use touchline_etcd::{EtcdConfig, EtcdError, EtcdStore};
use touchline_lockstep::message::{Message, Party, Say};
use touchline_lockstep::{Boot, Change, Cluster, NodeId, Point, Register, RegisterStore, Settings, Witness};
use touchline_protocol::Epoch;

const PRIMARY: Boot = Boot(10);
const STANDBY: Boot = Boot(11);

impl Etcd {
    fn store(&self) -> EtcdStore {
        store(vec![self.endpoint()])
    }
}

/// Patient enough for an etcd that has just been started on a busy machine.
fn store(endpoints: Vec<String>) -> EtcdStore {
    let mut config = EtcdConfig::new(endpoints, Cluster(5));
    config.patience = Duration::from_secs(60);
    EtcdStore::new(&config).unwrap()
}

/// A register of an epoch; `who` makes it another one than somebody else's of the same epoch.
fn register(epoch: u64, who: u128) -> Register {
    Register { epoch: Epoch(epoch), ..Register::first(NodeId(0), Boot(who)) }
}

#[test]
fn a_register_is_installed_swapped_kept_and_never_swapped_in_a_stale_epoch() {
    let Some(mut etcd) = Etcd::start("register") else { return };
    let mut store = etcd.store();
    assert_eq!(store.load().unwrap(), None);
    assert_eq!(etcd.store().load().unwrap(), None, "blank although it was loaded before");
    assert_eq!(store.load().unwrap(), None);
    assert!(store.swap(None, &register(1, 1)).unwrap());
    assert!(store.swap(Some(Epoch(1)), &register(2, 1)).unwrap());
    assert!(!store.swap(Some(Epoch(1)), &register(3, 1)).unwrap());
    assert!(!store.swap(Some(Epoch(2)), &register(3, 1)).unwrap(), "refused before another load");

    assert_eq!(store.load().unwrap(), Some(register(2, 1)));
    let mut other = etcd.store();
    assert_eq!(other.load().unwrap(), Some(register(2, 1)));
    assert!(!store.swap(Some(Epoch(2)), &register(3, 1)).unwrap(), "the other one has taken it over");
    assert!(other.swap(Some(Epoch(2)), &register(3, 2)).unwrap());

    etcd.restart();
    assert!(other.swap(Some(Epoch(3)), &register(4, 2)).unwrap(), "etcd comes back, and nobody came between");
    etcd.restart();
    assert_eq!(etcd.store().load().unwrap(), Some(register(4, 2)));
}

#[test]
fn of_two_processes_exactly_one_makes_each_epoch() {
    const EPOCHS: u64 = 200;
    let Some(etcd) = Etcd::start("race") else { return };
    let race = |who: u128| {
        let mut store = etcd.store();
        move || {
            let mut made = Vec::new();
            loop {
                let now = store.load().unwrap().map(|register| register.epoch);
                let next = now.map_or(1, |epoch| epoch.0 + 1);
                if next > EPOCHS {
                    return made;
                }
                if store.swap(now, &register(next, who)).unwrap() {
                    made.push(next);
                }
            }
        }
    };
    let (first, second) = (race(1), race(2));
    let (first, second) = std::thread::scope(|scope| {
        let (first, second) = (scope.spawn(first), scope.spawn(second));
        (first.join().unwrap(), second.join().unwrap())
    });
    println!("{} and {} of {EPOCHS} epochs", first.len(), second.len());
    let mut all = [first, second].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=EPOCHS).collect::<Vec<_>>());
}

#[test]
fn endpoints_are_tried_in_turn_and_an_etcd_that_is_gone_is_an_error_in_time() {
    let Some(mut etcd) = Etcd::start("endpoints") else { return };
    let (nobody, _) = free_ports();
    let endpoints = vec![format!("http://127.0.0.1:{nobody}"), etcd.endpoint()];
    assert_eq!(store(endpoints.clone()).load().unwrap(), None);

    let mut config = EtcdConfig::new(endpoints, Cluster(5));
    config.patience = Duration::from_secs(2);
    let mut store = EtcdStore::new(&config).unwrap();
    assert_eq!(store.load().unwrap(), None);
    etcd.stop();
    let error = store.swap(None, &register(1, 1)).unwrap_err();
    assert!(matches!(&error, EtcdError::Unavailable { failures, .. } if failures.len() == 2), "{error}");
}

#[test]
fn a_witness_over_it_promotes_the_standby_and_the_next_witness_knows() {
    let Some(etcd) = Etcd::start("witness") else { return };
    let (cluster, settings) = (Cluster(5), Settings::default());
    let quiet_ns = 2 * settings.witness_ns;
    let mut dual = Register::first(NodeId(0), PRIMARY);
    dual.in_sync[1] = Some(STANDBY);
    let mut witness = Witness::start(cluster, (Boot(100), 1), settings, etcd.store(), 0).unwrap();
    assert!(witness.install(dual).unwrap());

    let promote = |incarnation, nonce, expected| Message {
        cluster,
        from: Party::Node(NodeId(1)),
        boot: STANDBY,
        register: None,
        utc_ns: 0,
        say: Say::Petition { incarnation, nonce, expected, at: Point::default(), change: Change::Promote },
    };
    // It ticks as it would by itself: a gap would be a stall, after which it promotes nobody for a while.
    (1..=quiet_ns).step_by(1_000_000).for_each(|now_ns| witness.tick(now_ns, 0));
    let verdict = |witness: &mut Witness<EtcdStore>, message: &Message| {
        witness.receive(quiet_ns, message).unwrap();
        witness.take_messages().into_iter().find_map(|(_, message)| match message.say {
            Say::Verdict { made, .. } => Some(made),
            _ => None,
        })
    };
    let Some(Some(made)) = verdict(&mut witness, &promote(Boot(100), 1, Epoch(1))) else {
        panic!("the standby is promoted");
    };
    assert_eq!((made.epoch, made.primary, made.in_sync), (Epoch(2), NodeId(1), [None, Some(STANDBY)]));
    let again = verdict(&mut witness, &promote(Boot(100), 1, Epoch(1)));
    assert_eq!(again, Some(Some(made)), "a repetition gets the same answer");
    let stale = verdict(&mut witness, &promote(Boot(100), 2, Epoch(1)));
    assert_eq!(stale, Some(None), "a stale epoch is refused");
    drop(witness);

    let next = Witness::start(cluster, (Boot(200), 2), settings, etcd.store(), 0).unwrap();
    assert_eq!(next.register(), Some(&made));
}
