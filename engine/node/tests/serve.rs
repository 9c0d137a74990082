//! A real node over its sockets: serve, restart, bad input.

mod common;

use common::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use touchline_client::Event;
use touchline_node::{Node, StartError};
use touchline_protocol::*;

#[test]
fn a_restart_loses_nothing_and_answers_the_same() {
    let folder = Folder::new("restart");
    let mut decisions = Vec::new();
    let first = start(&config(&folder, 2), 1);
    set_up(&first);
    let mut intake = client(&first, Role::Intake);
    let seen = price(&mut intake);
    for _ in 0..20 {
        let ticket = ticket(seen);
        let decision = intake.submit(ticket.clone()).unwrap();
        assert_eq!(decision.code, Code::Accepted);
        decisions.push((ticket, decision));
    }
    drop(intake);
    let report = first.stop().unwrap();

    // Another number of shards; the same state, and the same answers on a new connection.
    let second = start(&config(&folder, 1), 2);
    assert!(second.recovery().cut.is_none());
    assert!(second.recovery().differences.is_empty(), "{:?}", second.recovery().differences);
    let mut intake = client(&second, Role::Intake);
    assert_eq!(price(&mut intake), seen, "a late subscriber sees the price of before");
    for (ticket, decision) in decisions {
        assert_eq!(intake.submit(ticket).unwrap(), decision);
    }
    let again = second.stop().unwrap();
    assert_eq!(again.attested.profit_minor, report.attested.profit_minor);
    assert!(again.attested.seq > report.attested.seq);
}

#[test]
fn what_is_over_leaves_a_running_node_when_its_retention_ends() {
    let folder = Folder::new("archive");
    let node = start(&config(&folder, 2), 1);
    let (mut operator, mut watcher) = (client(&node, Role::Operator), client(&node, Role::Observer));
    watcher.session().subscribe(Subscribe { odds: false, events: true, fixture: FixtureId(0) });
    let retention = SetRetention { retention_ms: 20, operator: OperatorId(1), note: Text::default() };
    assert!(operator.command(retention).unwrap().changed);
    let mut left = false;
    // One match after another, until the watcher is heard to listen.
    for fixture in (1..).map(FixtureId) {
        let opening = OpenFixture {
            fixture,
            sport: Sport::Other,
            competition: CompetitionId(1),
            tier: 1,
            source: SourceId(0),
            start_at: At(i64::try_from(now_ms()).unwrap() * 1_000_000),
            margin_ppm: 0,
            best_of: 0,
            home: Text::cut("Home"),
            away: Text::cut("Away"),
        };
        operator.command(opening).unwrap();
        let (certainty, by) = (Certainty::Confirmed, OperatorId(1));
        operator.command(SettleFixture { fixture, home: 1, away: 0, certainty, operator: by }).unwrap();
        left |= watcher.poll(Duration::from_millis(100)).unwrap().into_iter().any(|event| {
            matches!(event, Event::Told(_, _, Body::FixtureArchived(m)) if m.record.fixture <= fixture)
        });
        if left {
            break;
        }
    }
    node.stop().unwrap();
}

#[test]
fn a_second_node_and_a_taken_port_are_refused() {
    let folder = Folder::new("second");
    let config = config(&folder, 1);
    let node = start(&config, 1);
    let in_use = Node::start(&config, 2).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(in_use.contains("in use by another node"), "{in_use}");
    let mut taken = config.clone();
    taken.node.listen = node.address();
    taken.node.journal = folder.0.join("elsewhere");
    let told = Node::start(&taken, 2).err();
    assert!(matches!(told, Some(StartError::Listen { .. })));
    assert!(!folder.0.join("elsewhere").exists(), "a node that cannot serve leaves no journal behind");
    node.stop().unwrap();
}

#[test]
fn garbage_ends_its_own_connection_with_a_reason() {
    let folder = Folder::new("garbage");
    let node = start(&config(&folder, 1), 1);
    let mut huge = frame(Ping { number: 1 });
    huge[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut torn = frame(Ping { number: 1 });
    *torn.last_mut().unwrap() ^= 1;
    for (bytes, says) in
        [(b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not a frame"), (huge, "4294967295"), (torn, "checksum")]
    {
        let answers = told(&node, &bytes);
        let [Body::Refused(m)] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(m.code, Code::Malformed);
        assert!(m.note.as_str().contains(says), "{}", m.note.as_str());
    }
    // Half a frame, then silence: others are served meanwhile.
    let mut half = TcpStream::connect(node.address()).unwrap();
    half.write_all(&frame(Ping { number: 1 })[..50]).unwrap();
    set_up(&node);
    drop(half);
    node.stop().unwrap();
}

#[test]
fn a_sound_frame_that_may_not_be_is_refused_and_the_connection_goes_on() {
    let folder = Folder::new("refused");
    let node = start(&config(&folder, 1), 1);
    set_up(&node);
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hello = Hello { role: Role::Intake, version: 1, epoch: Epoch(0), name: Text::cut("raw") };
    let sound = ticket((2000, Seq(1)));
    let of_another = SubmitTicket { customer: CustomerId(12), ..sound.clone() };
    let ahead = SubmitTicket { price_version: Seq(1 << 40), ..sound };
    let mut splitter = Splitter::new();
    let mut ask = |bytes: &[u8]| {
        stream.write_all(bytes).unwrap();
        loop {
            if let Some(frame) = splitter.next_frame().unwrap() {
                return frame.body().unwrap();
            }
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the connection goes on");
            splitter.push(&buffer[..count]);
        }
    };
    let code = |body: Body| match body {
        Body::Refused(m) => m.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(ask(&frame(ahead.clone()))), Code::UnknownKind, "a greeting comes first");
    assert!(matches!(ask(&frame(hello)), Body::Welcome(_)));
    assert_eq!(code(ask(&frame(SourceFresh { source: SourceId(1), alive_until: At(1) }))), Code::UnknownKind);
    assert_eq!(code(ask(&frame(of_another))), Code::FieldRange);
    assert_eq!(code(ask(&frame(ahead))), Code::FieldRange);
    assert!(matches!(ask(&frame(Ping { number: 5 })), Body::Pong(Pong { number: 5, .. })));
    node.stop().unwrap();
}

#[test]
fn a_node_attests_and_stops_while_its_clients_go_on_sending() {
    let folder = Folder::new("pumped");
    let mut config = config(&folder, 1);
    // Few places, so that senders wait for them.
    config.node.commands_in_flight_max = 16;
    let node = start(&config, 1);
    let hello = frame(Hello { role: Role::Operator, version: 1, epoch: Epoch(0), name: Text::cut("pump") });
    let book = SetBook { brand: BRAND, open: true, operator: OperatorId(1), note: Text::cut("why") };
    let burst = frame(book.clone()).repeat(200);
    let pumps: Vec<_> = (0..6)
        .map(|n| {
            let mut stream = TcpStream::connect(node.address()).unwrap();
            stream.write_all(&hello).unwrap();
            // One of them reads nothing of what it is told.
            if n > 0 {
                let mut told = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
            }
            let burst = burst.clone();
            std::thread::spawn(move || while stream.write_all(&burst).is_ok() {})
        })
        .collect();
    let mut operator = client(&node, Role::Operator);
    for _ in 0..50 {
        assert_eq!(operator.command(book.clone()).unwrap().code, Code::Accepted, "others are served as well");
    }
    let (say, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        say.send(node.attest().map(|_| ())).unwrap();
        say.send(node.stop().map(|_| ())).unwrap();
    });
    for what in ["attests", "stops"] {
        let done = told.recv_timeout(Duration::from_secs(60));
        assert_eq!(done, Ok(Ok(())), "the node {what}");
    }
    pumps.into_iter().for_each(|pump| pump.join().unwrap());
    start(&config, 2).stop().unwrap();
}
