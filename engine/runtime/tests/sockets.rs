//! Real sockets on the loopback device, over both drivers: what peers do, and what they must see.

use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use touchline_runtime::sockets::*;

/// Far beyond what anything here takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Linger = Linger::For(PATIENCE);

struct Rig {
    server: Server,
    address: SocketAddr,
    closed: Vec<(ConnectionId, Why)>,
    opened: Vec<(ConnectionId, bool)>,
}

impl Rig {
    /// None where this driver cannot be had here.
    fn new(driver: Driver, limits: &Limits, wake: Option<OwnedFd>) -> Option<Rig> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        match Server::new(driver, vec![listener], limits, wake) {
            Ok(server) => Some(Rig { server, address, closed: Vec::new(), opened: Vec::new() }),
            Err(error) if driver == Driver::Uring && is_forbidden(&error) => {
                println!("SKIPPED: no io_uring here ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// One step, with the handler's own view of it.
    fn step(&mut self, wait: Wait, mut handler: impl FnMut(&mut Connections, &Event<'_>)) {
        let (opened, closed) = (&mut self.opened, &mut self.closed);
        let handler = &mut |connections: &mut Connections, event: Event<'_>| {
            match event {
                Event::Opened { id, surplus, .. } => opened.push((id, surplus)),
                Event::Closed { id, why } => closed.push((id, why)),
                _ => {}
            }
            handler(connections, &event);
        };
        self.server.step(wait, handler).unwrap();
    }

    /// Steps until something holds.
    fn until(
        &mut self,
        mut handler: impl FnMut(&mut Connections, &Event<'_>),
        mut holds: impl FnMut(&mut Rig) -> bool,
    ) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "it never came about: {:?}",
                self.server.connections().counters()
            );
            self.step(Wait::AtMost(Duration::from_millis(2)), &mut handler);
        }
    }
}

fn is_forbidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// Sends back what comes, and closes once the peer has sent everything.
fn echo(connections: &mut Connections, event: &Event<'_>) {
    match *event {
        Event::Bytes { id, data } => connections.send(id, data).unwrap(),
        Event::Finished { id } => connections.close(id, LONG),
        _ => {}
    }
}

fn ignore(_: &mut Connections, _: &Event<'_>) {}

/// Reads what is there into `into`; true at the end of the stream.
fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>, most: usize) -> bool {
    let mut buffer = vec![0; most];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            false
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

/// True once the peer is gone, by whatever way.
fn is_over(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 65536]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Few and small buffers, so that they run short.
fn tight() -> Limits {
    Limits { receive_buffers: 4, buffer_bytes: 512, send_bytes_max: 64 << 20, ..Limits::default() }
}

/// Each test over both drivers.
macro_rules! over_both {
    ($($name:ident)*) => {
        mod uring { $(#[test] fn $name() { super::$name(super::Driver::Uring); })* }
        mod portable { $(#[test] fn $name() { super::$name(super::Driver::Portable); })* }
    };
}

over_both! {
    what_is_sent_comes_back
    a_peer_that_never_reads_is_told_apart_and_cut
    half_closed_peers_get_their_answers
    a_reset_is_told
    a_flood_is_served_up_to_the_limit_and_the_rest_hears_why
    out_of_descriptors_rests_and_recovers
    pauses_lose_and_reorder_nothing
    a_paused_peer_is_held_back
    another_thread_wakes_a_blocked_step
    a_server_is_dropped_in_the_middle_of_everything
    lingering_ends
    no_listener_is_left_after_stopping
    ids_are_never_used_again
}

struct Client {
    stream: TcpStream,
    sends: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    is_over: bool,
}

fn what_is_sent_comes_back(driver: Driver) {
    let script = (prop::collection::vec(0..120_000_usize, 1..24), any::<u64>());
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((sizes, seed) in script)| {
        let Some(mut rig) = Rig::new(driver, &tight(), None) else { return Ok(()) };
        let mut random = seed;
        let mut below = move |bound: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % bound
        };
        let mut clients: Vec<Client> = sizes.iter().map(|size| Client {
            stream: rig.connect(),
            sends: (0..*size).map(|_| below(256) as u8).collect(),
            sent: 0,
            got: Vec::new(),
            is_over: false,
        }).collect();
        rig.until(echo, |_| {
            for client in &mut clients {
                if client.is_over || below(3) == 0 {
                    continue;
                }
                let piece = (client.sends.len() - client.sent).min(1 + below(20_000));
                if piece == 0 {
                    let _ = client.stream.shutdown(Shutdown::Write);
                } else {
                    match client.stream.write(&client.sends[client.sent..client.sent + piece]) {
                        Ok(count) => client.sent += count,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
                client.is_over = read_some(&mut client.stream, &mut client.got, 1 + below(30_000));
            }
            clients.iter().all(|client| client.is_over)
        });
        for client in &clients {
            prop_assert!(client.got == client.sends);
        }
        rig.until(echo, |rig| rig.closed.len() == sizes.len());
        prop_assert!(rig.closed.iter().all(|(_, why)| *why == Why::Asked));
    });
}

fn a_peer_that_never_reads_is_told_apart_and_cut(driver: Driver) {
    let limits = Limits { send_bytes_max: 1 << 20, ..Limits::default() };
    let Some(mut rig) = Rig::new(driver, &limits, None) else { return };
    let (_deaf, mut good) = (rig.connect(), rig.connect());
    rig.until(ignore, |rig| rig.opened.len() == 2);
    let deaf = rig.opened[0].0;
    let chunk = [7; 65536];
    rig.until(ignore, |rig| rig.server.connections().send(deaf, &chunk) == Err(SendError::Full));
    let waiting = rig.server.connections().pending(deaf);
    assert!(waiting > (1 << 20) - 65536 && waiting <= 1 << 20, "{waiting}");
    good.write_all(b"still served").unwrap();
    let mut got = Vec::new();
    rig.until(echo, |_| {
        read_some(&mut good, &mut got, 100);
        got == b"still served"
    });
    rig.server.connections().close(deaf, Linger::Not);
    assert_eq!(rig.server.connections().send(deaf, b"more"), Err(SendError::Gone));
    rig.until(ignore, |rig| !rig.closed.is_empty());
    assert_eq!(rig.closed, [(deaf, Why::Cut)]);
    assert_eq!(rig.server.connections().pending(deaf), 0);
}

fn half_closed_peers_get_their_answers(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &Limits::default(), None) else { return };
    let mut client = rig.connect();
    client.write_all(b"a question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut asked = None;
    rig.until(
        |_, event| match *event {
            Event::Bytes { data, .. } => assert_eq!(data, b"a question"),
            Event::Finished { id } => asked = Some(id),
            _ => {}
        },
        |rig| rig.opened.len() == 1,
    );
    while asked.is_none() {
        rig.step(Wait::Block, |_, event| {
            if let Event::Finished { id } = *event {
                asked = Some(id);
            }
        });
    }
    let id = asked.unwrap();
    rig.server.connections().send(id, b"an answer").unwrap();
    rig.server.connections().close(id, LONG);
    let mut got = Vec::new();
    rig.until(ignore, |_| read_some(&mut client, &mut got, 100));
    assert_eq!(got, b"an answer");
    rig.until(ignore, |rig| rig.closed == [(id, Why::Asked)]);
}

fn a_reset_is_told(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &Limits::default(), None) else { return };
    let client = rig.connect();
    rig.until(ignore, |rig| rig.opened.len() == 1);
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    rig.until(ignore, |rig| !rig.closed.is_empty());
    assert_eq!(rig.closed[0].1, Why::Failed(ErrorKind::ConnectionReset));
}

fn a_flood_is_served_up_to_the_limit_and_the_rest_hears_why(driver: Driver) {
    let hard = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    // Both ends are in this process.
    let flood = 2000.min(hard.map_or(2000, |hard| hard as usize / 2 - 100));
    let limits = Limits { connections_max: flood / 2, ..Limits::default() };
    let Some(mut rig) = Rig::new(driver, &limits, None) else { return };
    let farewell = |connections: &mut Connections, event: &Event<'_>| {
        if let Event::Opened { id, surplus: true, .. } = *event {
            connections.send(id, b"full").unwrap();
        }
        echo(connections, event);
    };
    let (mut served, mut heard) = (Vec::new(), 0);
    // Connected in bursts shorter than a listener's backlog.
    let mut left = flood;
    while left > 0 {
        let burst = left.min(100);
        let mut clients: Vec<_> = (0..burst).map(|_| rig.connect()).collect();
        left -= burst;
        let opened = flood - left;
        rig.until(farewell, |rig| rig.opened.len() == opened);
        for (mut client, (_, surplus)) in clients.drain(..).zip(rig.opened[opened - burst..].to_vec()) {
            if !surplus {
                served.push(client);
                continue;
            }
            let mut got = Vec::new();
            rig.until(farewell, |_| read_some(&mut client, &mut got, 100));
            assert_eq!(got, b"full");
            heard += 1;
        }
    }
    assert_eq!((served.len(), heard), (flood / 2, flood - flood / 2));
    for client in &mut served {
        client.write_all(b"hello").unwrap();
    }
    for client in &mut served {
        let mut got = Vec::new();
        rig.until(farewell, |_| {
            read_some(client, &mut got, 100);
            got == b"hello"
        });
    }
    drop(served);
    rig.until(farewell, |rig| rig.closed.len() == flood);
    assert_eq!(rig.server.connections().count(), 0);
    assert_eq!(rig.server.connections().counters().surplus as usize, heard);
}

/// In a process of its own, whose descriptors it may use up.
fn out_of_descriptors_rests_and_recovers(driver: Driver) {
    const CHILD: &str = "TOUCHLINE_TEST_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let module = if driver == Driver::Uring { "uring" } else { "portable" };
        let name = format!("{module}::out_of_descriptors_rests_and_recovers");
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let limits = Limits { accept_retry: Duration::from_millis(50), ..Limits::default() };
    let Some(mut rig) = Rig::new(driver, &limits, None) else { return };
    let mut clients: Vec<_> = (0..40).map(|_| rig.connect()).collect();
    // The lowest free descriptor is the number of those in use.
    let used = std::os::fd::AsRawFd::as_raw_fd(&std::fs::File::open("/dev/null").unwrap()) as u64;
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 10), maximum: hard }).unwrap();
    rig.until(echo, |rig| rig.server.connections().counters().accept_rests > 0);
    let reached = rig.opened.len();
    assert!((1..=10).contains(&reached), "{reached}");
    let (begun, mut steps) = (Instant::now(), 0);
    rig.until(echo, |rig| {
        steps += 1;
        rig.server.connections().counters().accept_rests >= 3
    });
    // It waits between its attempts: steps of 2 ms each.
    assert!(steps < 10 + begun.elapsed().as_millis(), "{steps} steps");
    clients.drain(..30);
    // Those that left without a word are accepted, found finished and closed in their turn.
    rig.until(echo, |rig| rig.opened.len() == 40);
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        let mut got = Vec::new();
        rig.until(echo, |_| {
            read_some(client, &mut got, 100);
            got == b"hello"
        });
    }
}

fn pauses_lose_and_reorder_nothing(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &tight(), None) else { return };
    let mut client = rig.connect();
    let sends: Vec<u8> =
        (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut sent, mut got, mut paused) = (0, Vec::new(), None);
    let (mut count, mut finished) = (0, false);
    while !finished {
        if let Ok(more) = client.write(&sends[sent..(sent + 7000).min(sends.len())]) {
            sent += more;
        }
        if sent == sends.len() {
            let _ = client.shutdown(Shutdown::Write);
        }
        rig.step(Wait::AtMost(Duration::from_millis(1)), |connections, event| match *event {
            Event::Bytes { id, data } => {
                assert!(paused.is_none(), "input of a paused connection");
                got.extend_from_slice(data);
                count += 1;
                if count % 3 == 0 {
                    connections.pause(id);
                    paused = Some(id);
                }
                if count % 9 == 0 {
                    // Changed its mind within the step.
                    connections.resume(id);
                    paused = None;
                }
            }
            Event::Finished { .. } => {
                assert!(paused.is_none());
                finished = true;
            }
            _ => {}
        });
        if count % 2 == 1
            && let Some(id) = paused.take()
        {
            rig.server.connections().resume(id);
        } else if let Some(id) = paused {
            rig.step(Wait::Poll, |_, event| assert!(!matches!(event, Event::Bytes { .. })));
            rig.server.connections().resume(id);
            paused = None;
        }
    }
    assert!(got == sends);
}

fn a_paused_peer_is_held_back(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &tight(), None) else { return };
    let mut client = rig.connect();
    rig.until(ignore, |rig| rig.opened.len() == 1);
    let id = rig.opened[0].0;
    rig.server.connections().pause(id);
    rig.step(Wait::Poll, ignore);
    let (mut sent, mut refused) = (0_usize, 0);
    rig.until(
        |_, event| assert!(!matches!(event, Event::Bytes { .. })),
        |_| {
            match client.write(&[1; 65536]) {
                Ok(count) => (sent, refused) = (sent + count, 0),
                Err(_) => refused += 1,
            }
            // Both systems' buffers are full, and stay full.
            refused == 20
        },
    );
    rig.server.connections().resume(id);
    let mut got = 0;
    let begun = Instant::now();
    while got < sent {
        assert!(begun.elapsed() < PATIENCE);
        rig.step(Wait::Block, |_, event| {
            if let Event::Bytes { data, .. } = event {
                got += data.len();
            }
        });
    }
    assert_eq!(got, sent);
}

fn another_thread_wakes_a_blocked_step(driver: Driver) {
    use rustix::event::{EventfdFlags, eventfd};
    let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    let Some(mut rig) = Rig::new(driver, &Limits::default(), Some(bell.try_clone().unwrap())) else { return };
    let (ask, asked) = std::sync::mpsc::channel();
    let ringer = std::thread::spawn(move || {
        for () in asked {
            rustix::io::write(&bell, &1_u64.to_ne_bytes()).unwrap();
        }
    });
    for _ in 0..100 {
        ask.send(()).unwrap();
        let mut woken = 0;
        while woken == 0 {
            rig.step(Wait::Block, |_, event| woken += u32::from(matches!(event, Event::Woken)));
        }
    }
    drop(ask);
    ringer.join().unwrap();
}

fn a_server_is_dropped_in_the_middle_of_everything(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &tight(), None) else { return };
    let mut clients: Vec<_> = (0..50).map(|_| rig.connect()).collect();
    let big = vec![1; 8 << 20];
    rig.until(
        |connections, event| {
            if let Event::Opened { id, .. } = *event {
                connections.send(id, &big).unwrap();
            }
        },
        |rig| rig.opened.len() == 50,
    );
    for client in &mut clients {
        let _ = client.write(&[5; 10_000]);
    }
    drop(rig);
    for client in &mut clients {
        client.set_nonblocking(false).unwrap();
        while !is_over(client) {}
    }
}

fn lingering_ends(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &tight(), None) else { return };
    let (_deaf, mut silent) = (rig.connect(), rig.connect());
    rig.until(ignore, |rig| rig.opened.len() == 2);
    let ids: Vec<_> = rig.opened.iter().map(|(id, _)| *id).collect();
    rig.server.connections().send(ids[0], &vec![1; 32 << 20]).unwrap();
    rig.server.connections().send(ids[1], b"bye").unwrap();
    for id in &ids {
        rig.server.connections().close(*id, Linger::For(Duration::from_millis(30)));
    }
    let mut got = Vec::new();
    rig.until(ignore, |_| read_some(&mut silent, &mut got, 10));
    assert_eq!(got, b"bye");
    // Neither closes its own side.
    rig.until(ignore, |rig| rig.closed.len() == 2);
    assert!(rig.closed.iter().all(|(_, why)| *why == Why::Cut));
}

fn no_listener_is_left_after_stopping(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &Limits::default(), None) else { return };
    let mut client = rig.connect();
    rig.until(ignore, |rig| rig.opened.len() == 1);
    rig.server.connections().stop_accepting();
    let address = rig.address;
    rig.until(ignore, |_| TcpStream::connect(address).is_err());
    client.write_all(b"still here").unwrap();
    let mut got = Vec::new();
    rig.until(echo, |_| {
        read_some(&mut client, &mut got, 100);
        got == b"still here"
    });
}

fn ids_are_never_used_again(driver: Driver) {
    let Some(mut rig) = Rig::new(driver, &Limits::default(), None) else { return };
    for round in 1..=200 {
        drop(rig.connect());
        rig.until(echo, |rig| rig.closed.len() == round);
    }
    let ids: BTreeSet<_> = rig.opened.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 200);
    let closed: BTreeMap<_, _> = rig.closed.iter().copied().collect();
    assert!(closed.keys().eq(ids.iter()));
    let stale = rig.opened[0].0;
    assert_eq!(rig.server.connections().send(stale, b"x"), Err(SendError::Gone));
    rig.server.connections().close(stale, Linger::Not);
    rig.server.connections().pause(stale);
}

#[test]
fn limits_out_of_range_are_refused() {
    let wrong = [
        Limits { receive_buffers: 3, ..Limits::default() },
        Limits { receive_buffers: 0, ..Limits::default() },
        Limits { buffer_bytes: 0, ..Limits::default() },
        Limits { connections_max: usize::MAX, ..Limits::default() },
    ];
    for limits in wrong {
        let error = Server::new(Driver::Best, Vec::new(), &limits, None).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// As in a container whose profile forbids it.
#[test]
fn where_the_system_forbids_the_ring_epoll_takes_its_place() {
    // A filter is a thread's own, and ends with it.
    let forbidden = std::thread::spawn(|| {
        forbid_io_uring();
        let error = Server::new(Driver::Uring, Vec::new(), &Limits::default(), None).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let mut rig = Rig::new(Driver::Best, &Limits::default(), None).unwrap();
        assert_eq!(rig.server.driver(), Driver::Portable);
        let mut client = rig.connect();
        client.write_all(b"hello").unwrap();
        let mut got = Vec::new();
        rig.until(echo, |_| {
            read_some(&mut client, &mut got, 100);
            got == b"hello"
        });
    });
    forbidden.join().unwrap();
}

fn forbid_io_uring() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 }, // the number of the system call
        libc::sock_filter { code: IF_EQUAL, jt: 0, jf: 1, k: libc::SYS_io_uring_setup as u32 },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
        libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live through the calls, which copy them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(set, "{}", std::io::Error::last_os_error());
}
