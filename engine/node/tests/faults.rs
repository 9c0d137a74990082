//! What clients, disks and operators do to a running node: each is told, none stops the others.

mod common;

use common::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use touchline_client::{Client, Event, Session};
use touchline_node::{Config, Node};
use touchline_protocol::*;
use touchline_runtime::shm::Channel;

/// Both ways of serving sockets.
fn both(name: &str, test: impl Fn(&Folder, Config)) {
    for sockets in [touchline_node::config::SocketsConfig::Best, touchline_node::config::SocketsConfig::Epoll]
    {
        let folder = Folder::new(&format!("{name}-{sockets:?}"));
        let mut config = config(&folder, 1);
        config.node.sockets = sockets;
        test(&folder, config);
    }
}

fn raw(node: &Node, role: Role) -> TcpStream {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&frame(Hello { role, version: 1, epoch: Epoch(0), name: Text::cut("raw") })).unwrap();
    stream
}

/// Others are served: a ticket is accepted.
fn serves(node: &Node) {
    let mut intake = client(node, Role::Intake);
    let seen = price(&mut intake);
    assert_eq!(intake.submit(ticket(seen)).unwrap().code, Code::Accepted);
}

#[test]
fn a_client_that_never_reads_is_given_up_and_costs_nobody_else() {
    both("deaf", |_, mut config| {
        config.node.outbound_kib_max = 64;
        let node = Node::start(&config, 1).unwrap();
        set_up(&node);
        let mut deaf = raw(&node, Role::Intake);
        let pings = frame(Ping { number: 7 }).repeat(500);
        // It goes on until the node has ended the connection: what is not read fills every buffer on the way.
        let mut sent = 0_u64;
        while deaf.write_all(&pings).is_ok() {
            sent += 1;
            assert!(sent < 10_000, "the node takes it all and says nothing");
        }
        serves(&node);
        node.stop().unwrap();
    });
}

#[test]
fn beyond_the_most_connections_each_is_told_and_a_place_that_is_left_is_taken_again() {
    both("flood", |_, mut config| {
        config.node.connections_max = 4;
        let node = Node::start(&config, 1).unwrap();
        let mut served: Vec<TcpStream> = (0..4).map(|_| raw(&node, Role::Intake)).collect();
        for stream in &mut served {
            assert!(matches!(first(stream), Some(Body::Welcome(_))));
        }
        for _ in 0..100 {
            let mut surplus = TcpStream::connect(node.address()).unwrap();
            surplus.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            match first(&mut surplus) {
                Some(Body::Refused(m)) => assert_eq!(m.code, Code::Overloaded),
                other => panic!("{other:?}"),
            }
        }
        drop(served);
        // A client tries again until the node has seen that the others are gone.
        let mut client =
            Client::connect(node.address(), Role::Operator, "late", Duration::from_secs(20)).unwrap();
        let fresh = SourceFresh { source: SourceId(1), alive_until: At(1) };
        assert!(client.command(fresh).is_ok());
        node.stop().unwrap();
    });
}

/// The first message that a connection gets; `None` where it is closed without.
fn first(stream: &mut TcpStream) -> Option<Body> {
    let mut splitter = Splitter::new();
    loop {
        if let Some(frame) = splitter.next_frame().unwrap() {
            return Some(frame.body().unwrap());
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => splitter.push(&buffer[..count]),
        }
    }
}

#[test]
fn garbage_after_a_greeting_ends_that_connection_alone() {
    both("garbled", |_, config| {
        let node = Node::start(&config, 1).unwrap();
        set_up(&node);
        let mut bad = raw(&node, Role::Intake);
        bad.write_all(&[0xA5; 3000]).unwrap();
        let mut told = Vec::new();
        bad.read_to_end(&mut told).unwrap();
        let mut splitter = Splitter::new();
        splitter.push(&told);
        let mut bodies = Vec::new();
        while let Some(frame) = splitter.next_frame().unwrap() {
            bodies.push(frame.body().unwrap());
        }
        assert!(
            matches!(bodies.as_slice(), [Body::Welcome(_), Body::Refused(m)] if m.code == Code::Malformed)
        );
        serves(&node);
        node.stop().unwrap();
    });
}

#[test]
fn a_half_closed_client_still_gets_its_answers() {
    both("half", |_, config| {
        let node = Node::start(&config, 1).unwrap();
        set_up(&node);
        let mut intake = client(&node, Role::Intake);
        let seen = price(&mut intake);
        let mut stream = raw(&node, Role::Intake);
        let tickets: Vec<SubmitTicket> = (0..20).map(|_| ticket(seen)).collect();
        let bytes: Vec<u8> = tickets.iter().flat_map(|ticket| frame(ticket.clone())).collect();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut told = Vec::new();
        stream.read_to_end(&mut told).unwrap();
        let mut splitter = Splitter::new();
        splitter.push(&told);
        let mut decided = Vec::new();
        while let Some(frame) = splitter.next_frame().unwrap() {
            if let Body::Decision(m) = frame.body().unwrap() {
                decided.push(m.ticket);
            }
        }
        let mut asked: Vec<TicketId> = tickets.iter().map(|ticket| ticket.ticket).collect();
        decided.sort_unstable();
        asked.sort_unstable();
        assert_eq!(decided, asked);
        node.stop().unwrap();
    });
}

#[test]
fn snapshots_are_kept_at_a_stop_and_the_next_start_replays_what_is_behind_them() {
    let folder = Folder::new("snapshots");
    let config = config(&folder, 2);
    let node = Node::start(&config, 1).unwrap();
    set_up(&node);
    serves(&node);
    let stopped = node.stop().unwrap();
    let kept = |folder: &Folder| {
        let names = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snapshot-")).count()
    };
    assert_eq!(kept(&folder), 1);
    for boot in 2..6 {
        let node = Node::start(&config, boot).unwrap();
        assert_eq!(node.recovery().frames, 0, "the snapshot holds everything");
        let again = node.stop().unwrap();
        assert_eq!(again.attested.profit_minor, stopped.attested.profit_minor);
    }
    assert!(kept(&folder) <= 3, "older ones are forgotten");
    // A snapshot that rotted is passed over: the journal is there as a whole.
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "tls") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let node = Node::start(&config, 9).unwrap();
    assert!(node.recovery().frames > 0);
    serves(&node);
    node.stop().unwrap();
}

#[test]
fn the_admin_socket_tells_and_survives_nonsense() {
    let folder = Folder::new("admin");
    let config = config(&folder, 1);
    let node = Node::start(&config, 1).unwrap();
    let ask = |question: &[u8]| {
        let mut stream = UnixStream::connect(config.node.admin_path()).unwrap();
        stream.write_all(question).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask(b"{\"ask\":\"status\"}\n").contains("\"role\":\"ALONE\""));
    assert!(ask(b"{\"ask\":\"measures\"}\n").contains("\"decision\""));
    assert!(ask(b"{\"ask\":\"money\"}\n").contains("\"error\""));
    assert!(ask(b"\xff\xfe").contains("\"error\""));
    assert!(ask(&[b'x'; 9000]).contains("\"error\""));
    let path = config.node.admin_path();
    node.stop().unwrap();
    assert!(!path.exists(), "it is gone with the node");
}

/// Talks through shared memory until a test has what it wants.
fn talk<T>(
    channel: &mut Channel,
    session: &mut Session,
    mut pick: impl FnMut(Event) -> Option<T>,
) -> Option<T> {
    let mut bytes = Vec::new();
    for round in 0..20_000 {
        session.tick(round);
        let out = session.take_output();
        let mut done = 0;
        while done < out.len() {
            done += channel.write(&out[done..]).ok()?;
        }
        channel.wait(false, Duration::from_millis(1)).ok()?;
        bytes.clear();
        channel.read(&mut bytes).ok()?;
        let mut events = Vec::new();
        session.receive(round, &bytes, &mut events).ok()?;
        if let Some(found) = events.into_iter().find_map(&mut pick) {
            return Some(found);
        }
    }
    None
}

#[test]
fn a_service_on_the_same_machine_is_served_through_shared_memory_and_so_is_the_one_after_it() {
    let folder = Folder::new("shared");
    let mut config = config(&folder, 1);
    let place = Folder::new("shared-place");
    std::fs::create_dir_all(&place.0).unwrap();
    let file = place.0.join("intake");
    config.node.shared_memory = vec![file.clone()];
    let node = Node::start(&config, 1).unwrap();
    set_up(&node);
    let seen = price(&mut client(&node, Role::Intake));
    for _ in 0..3 {
        let mut channel = (0..2000)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(5));
                Channel::attach(&file).ok()
            })
            .expect("the place of the one before is free in the end");
        let mut session = Session::new(Role::Intake, "near");
        let _ = session.connected();
        let wanted = ticket(seen);
        session.send(wanted.clone());
        let decided = talk(&mut channel, &mut session, |event| match event {
            Event::Decision(m) if m.ticket == wanted.ticket => Some(m.code),
            _ => None,
        });
        assert_eq!(decided, Some(Code::Accepted));
        // What is no frame ends the conversation: the stream is given up.
        channel.write(&[0xA5; 300]).unwrap();
        assert!(talk(&mut channel, &mut session, |_| None::<()>).is_none());
    }
    node.stop().unwrap();
}

#[test]
fn full_segments_are_archived_and_leave_the_journal_once_snapshots_stand_for_them() {
    let folder = Folder::new("archived");
    let archive = Folder::new("archived-to");
    let mut config = config(&folder, 1);
    config.node.archive = Some(archive.0.clone());
    config.node.snapshot_every_frames = 8192;
    let node = Node::start(&config, 1).unwrap();
    set_up(&node);
    let mut intake = client(&node, Role::Intake);
    let seen = price(&mut intake);
    let begins = |folder: &Folder| {
        let mut names: Vec<String> = std::fs::read_dir(&folder.0)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("segment-") && name.ends_with(".tlj"))
            .collect();
        names.sort();
        names.first().cloned()
    };
    let first = begins(&folder);
    // Tickets until the first segment is gone, whenever archive and twin come to it.
    let mut sent = 0;
    while begins(&folder) == first {
        assert!(sent < 200_000, "the first segment never left");
        for _ in 0..500 {
            intake.session().send(ticket(seen));
        }
        let mut decided = 0;
        while decided < 500 {
            let events = intake.poll(Duration::from_millis(100)).unwrap();
            decided += events.iter().filter(|event| matches!(event, Event::Decision(_))).count();
        }
        sent += 500;
    }
    let stopped = node.stop().unwrap();
    let verified = touchline_journal::archive::verify_archive(&archive.0, None).unwrap();
    assert!(verified.last >= verified.first);
    assert_eq!(begins(&archive), first, "what left the journal is in the archive");
    let again = Node::start(&config, 2).unwrap();
    let mut intake = client(&again, Role::Intake);
    let seen = price(&mut intake);
    let decided = intake.submit(ticket(seen)).unwrap();
    assert_eq!(decided.code, Code::CustomerLimit, "nothing that the customer has open was forgotten");
    assert!(again.stop().unwrap().attested.seq > stopped.attested.seq);
}

#[test]
fn a_connection_that_never_says_hello_is_told_and_closed_while_others_stay() {
    both("mute", |_, mut config| {
        config.node.hello_timeout_ms = 50;
        let node = Node::start(&config, 1).unwrap();
        set_up(&node);
        let mut polite = client(&node, Role::Intake);
        let seen = price(&mut polite);
        for half in [Vec::new(), frame(Ping { number: 1 })[..40].to_vec()] {
            let answers = told(&node, &half);
            assert!(matches!(answers.as_slice(), [Body::Refused(m)] if m.note.as_str().contains("Hello")));
        }
        assert_eq!(polite.submit(ticket(seen)).unwrap().code, Code::Accepted);
        node.stop().unwrap();
    });
}
