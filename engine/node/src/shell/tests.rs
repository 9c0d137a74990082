//! The stages on threads over disks that turn slow, fill and break: nothing is answered that is not durable, nobody waits
//! for a place that cannot come, and what makes the house safer still gets in.

use crate::config::Config;
use crate::recovery;
use crate::shell::clock::Clock;
use crate::shell::conversations::Terms;
use crate::shell::pipeline::{Beside, Entrances, Pipeline, Setup};
use crate::shell::ports::Ports;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use touchline_client::{Client, Event};
use touchline_journal::Storage;
use touchline_journal::simulated::{SimError, SimStorage};
use touchline_protocol::*;
use touchline_runtime::cores::Plan;
use touchline_runtime::sockets::Driver;
use touchline_runtime::tls::Sessions;

/// What a test does to the disk while a node runs on it.
#[derive(Default)]
struct Hand {
    held: Mutex<bool>,
    let_go: Condvar,
    full: Mutex<bool>,
}

impl Hand {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.let_go.notify_all();
    }

    fn fill(&self, full: bool) {
        *self.full.lock().unwrap() = full;
    }
}

/// A disk whose writes wait while a hand holds them.
struct Slow {
    disk: SimStorage,
    hand: Arc<Hand>,
}

impl Storage for Slow {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        self.disk.list()
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), SimError> {
        if *self.hand.full.lock().unwrap() {
            return Err(SimError::Full);
        }
        self.disk.create(generation, bytes)
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.disk.size(generation)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.disk.read(generation, offset, buffer)
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), SimError> {
        let mut held = self.hand.held.lock().unwrap();
        while *held {
            held = self.hand.let_go.wait(held).unwrap();
        }
        drop(held);
        self.disk.write(generation, offset, bytes)
    }

    fn remove(&mut self, generation: u64) -> Result<(), SimError> {
        self.disk.remove(generation)
    }

    fn snapshots(&self) -> Result<Vec<u64>, SimError> {
        self.disk.snapshots()
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, SimError> {
        self.disk.read_snapshot(seq)
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), SimError> {
        self.disk.write_snapshot(seq, bytes)
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), SimError> {
        self.disk.remove_snapshot(seq)
    }

    fn is_full(error: &SimError) -> bool {
        *error == SimError::Full
    }
}

/// A pipeline with so many places for tickets, on as many threads as it would have on so many cores.
fn start(places: usize, cores: usize, shards: usize, hand: &Arc<Hand>) -> (Pipeline, SocketAddr) {
    let mut config = Config::standard();
    config.node.segment_mib = 2;
    config.node.shards = shards;
    let clock = Clock::start();
    let disk = Slow { disk: SimStorage::new(), hand: Arc::clone(hand) };
    let started = recovery::start(disk, &config, clock.now(), 1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let cpus: Vec<usize> = (0..cores).collect();
    let terms = Terms {
        cluster: config.cluster.id,
        alone: Some(started.engine.sequencer.epoch()),
        partitions: 64,
        connections_max: 100,
        outbound_bytes_max: 1 << 22,
        hello_ns: 10_000_000_000,
    };
    let setup = Setup {
        terms,
        plan: Plan::new(&cpus, shards, false, config.node.idle),
        policy: config.node.idle,
        driver: Driver::Best,
        log_bytes: 1 << 20,
        tickets_max: places,
        commands_max: 64,
        // Nobody is refused for staying long: the places are what is tested.
        ticket_stay_target_ns: u64::MAX / 2,
    };
    let entrances = Entrances {
        listeners: vec![listener],
        sessions: Sessions::new(Vec::new()),
        ports: Ports::serve(&[]).unwrap(),
    };
    let beside = Beside { archive: None, twin: None, member: None };
    let begin = (started.first, started.effects);
    let pipeline =
        Pipeline::start(started.engine, started.writer, begin, entrances, setup, beside, clock).unwrap();
    pipeline.wait_begun().unwrap();
    (pipeline, address)
}

fn client(address: SocketAddr, role: Role) -> Client {
    Client::connect(address, role, "test", Duration::from_secs(20)).unwrap()
}

/// A ticket for a match that nobody opened: it is decided, and that is all that matters here.
fn ticket(random: u64) -> SubmitTicket {
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    SubmitTicket {
        brand: BrandId(1),
        ticket: TicketId::new(now_ms as u64, BrandId(1), CustomerId(11), random),
        customer: CustomerId(11),
        currency: Currency(*b"EUR"),
        channel: 1,
        fixture: FixtureId(7),
        market: MarketKey::new(1, 0),
        selection: 0,
        odds: Odds::decimal(2000),
        stake: Stake(1000),
        policy: OddsPolicy::Exact,
        tolerance_permille: 0,
        price_version: Seq(0),
    }
}

fn suspend() -> Body {
    let suspend =
        SetBook { brand: BrandId(1), open: false, operator: OperatorId(1), note: Text::cut("stop") };
    suspend.into()
}

/// Polls until so many events came that a test counts.
fn wait_for(client: &mut Client, count: usize, mut counts: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let mut found = Vec::new();
    let begun = std::time::Instant::now();
    while found.len() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} of {count} came", found.len());
        found.extend(client.poll(Duration::from_millis(50)).unwrap().into_iter().filter(&mut counts));
    }
    found
}

#[test]
fn while_a_disk_stands_still_tickets_are_refused_at_once_and_nothing_is_answered_until_it_goes_on() {
    // Folded onto one thread, and apart.
    for (cores, shards) in [(1, 1), (8, 3)] {
        let hand = Arc::new(Hand::default());
        let (mut pipeline, address) = start(40, cores, shards, &hand);
        let mut intake = client(address, Role::Intake);
        hand.hold(true);
        let refused = |event: &Event| matches!(event, Event::Postponed(_, m) if m.code == Code::Overloaded);
        (0..200).for_each(|n| _ = intake.session().send(ticket(n)));
        let mut decided = 0;
        wait_for(&mut intake, 160, |event| {
            decided += usize::from(matches!(event, Event::Decision(_)));
            refused(event)
        });
        assert_eq!(decided, 0, "nothing is durable");
        // What makes the house safer has places of its own.
        let mut operator = client(address, Role::Operator);
        operator.session().send(suspend());
        hand.hold(false);
        wait_for(&mut operator, 1, |event| matches!(event, Event::Done(..)));
        // What was refused was sent again by the session, and is decided now.
        wait_for(&mut intake, 200, |event| matches!(event, Event::Decision(_)));
        pipeline.finish().unwrap().unwrap();
    }
}

#[test]
fn on_a_full_disk_tickets_are_refused_and_a_suspension_still_passes() {
    let hand = Arc::new(Hand::default());
    let (mut pipeline, address) = start(1000, 1, 1, &hand);
    let mut intake = client(address, Role::Intake);
    hand.fill(true);
    let full = |event: &Event| matches!(event, Event::Postponed(_, m) if m.code == Code::DiskFull);
    // Until the half of the first segment is used, the journal does not ask for the next one.
    let mut random = 0;
    let begun = std::time::Instant::now();
    'filled: loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "the disk never turned full");
        for _ in 0..200 {
            random += 1;
            intake.session().send(ticket(random));
        }
        for event in intake.poll(Duration::from_millis(50)).unwrap() {
            if full(&event) {
                break 'filled;
            }
        }
    }
    let mut operator = client(address, Role::Operator);
    operator.session().send(suspend());
    wait_for(&mut operator, 1, |event| matches!(event, Event::Done(..)));
    hand.fill(false);
    // The client sends what was refused again until it is decided.
    intake.session().send(ticket(u64::MAX));
    wait_for(&mut intake, 1, |event| matches!(event, Event::Decision(_)));
    pipeline.finish().unwrap().unwrap();
}
