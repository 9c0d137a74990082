//! Shared memory between two processes, or two mappings: streams, crashes, and a peer that writes nonsense.

use proptest::prelude::*;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use touchline_runtime::shm::*;

/// Far beyond what anything here takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const NAP: Duration = Duration::from_millis(20);

/// A path in a folder that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("touchline-shm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Place(folder.join("rings"))
    }

    /// Writes a word of the file as a hostile peer would.
    fn poke(&self, offset: u64, value: u64) {
        let file = OpenOptions::new().write(true).open(&self.0).unwrap();
        file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it never came about");
        std::thread::yield_now();
    }
}

fn pair(place: &Place, capacity: usize) -> (Channel, Channel) {
    let server = Channel::serve(&place.0, capacity).unwrap();
    let client = Channel::attach(&place.0).unwrap();
    (server, client)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Both directions against a queue, around the end of the rings many times.
    #[test]
    fn bytes_come_out_as_they_went_in(steps in prop::collection::vec((0..4_u8, 0..6000_usize), 1..120)) {
        const CAPACITY: usize = 4096;
        let place = Place::new("twin");
        let (mut server, mut client) = pair(&place, CAPACITY);
        let mut twins = [VecDeque::new(), VecDeque::new()];
        let mut next = 0_u8;
        for (action, size) in steps {
            let to_client = usize::from(action & 1);
            let (from, to) = if to_client == 1 { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let twin = &mut twins[to_client];
            if action < 2 {
                let data: Vec<u8> = (0..size).map(|_| { next = next.wrapping_mul(5).wrapping_add(7); next }).collect();
                let count = from.write(&data).unwrap();
                prop_assert_eq!(count, size.min(CAPACITY - twin.len()));
                twin.extend(&data[..count]);
            } else {
                let mut got = vec![99];
                prop_assert_eq!(to.read(&mut got).unwrap(), twin.len());
                prop_assert_eq!(&got[1..], twin.make_contiguous());
                twin.clear();
            }
        }
    }

    /// Whatever a peer writes into the header: an error or bytes, and never more of them than a ring holds.
    #[test]
    fn no_header_is_believed(pokes in prop::collection::vec((0..125_u64, any::<u64>(), 0..3_u8), 1..40)) {
        let place = Place::new("hostile");
        let (mut server, mut client) = pair(&place, 4096);
        client.write(&[1; 1000]).unwrap();
        for (word, value, shift) in pokes {
            place.poke(word * 8, value >> (shift * 24));
            let mut got = Vec::new();
            for channel in [&mut server, &mut client] {
                got.clear();
                if let Ok(count) = channel.read(&mut got) {
                    prop_assert!(count == got.len() && count <= 4096);
                }
                if let Ok(count) = channel.write(&[2; 10_000]) {
                    prop_assert!(count <= 4096);
                }
                let _ = channel.wait(true, Duration::ZERO);
                channel.peer();
            }
        }
        drop(client);
        server.renew();
        let _ = Channel::attach(&place.0);
    }
}

#[test]
fn impossible_cursors_are_told() {
    // Of the ring to the server: written, read; of the one to the client: written, read.
    for (offset, value) in [(256, 4097), (256, u64::MAX), (640, 1)] {
        let place = Place::new("cursor");
        let (mut server, _client) = pair(&place, 4096);
        place.poke(offset, value);
        let (read, written) = (server.read(&mut Vec::new()), server.write(b"x"));
        assert!(
            matches!(read, Err(ShmError::Corrupt)) || matches!(written, Err(ShmError::Corrupt)),
            "{offset} {value}"
        );
    }
    let place = Place::new("back");
    let (mut server, mut client) = pair(&place, 4096);
    client.write(b"0123456789").unwrap();
    server.read(&mut Vec::new()).unwrap();
    place.poke(256, 3);
    assert!(matches!(server.read(&mut Vec::new()), Err(ShmError::Corrupt)), "a cursor that went back");
}

#[test]
fn files_that_are_not_rings_are_refused() {
    let place = Place::new("foreign");
    assert!(matches!(Channel::serve(&place.0, 5000), Err(ShmError::Capacity(5000))));
    assert!(matches!(Channel::attach(&place.0), Err(ShmError::File { .. })));
    std::fs::write(&place.0, [0; 100]).unwrap();
    assert!(matches!(Channel::attach(&place.0), Err(ShmError::NotServed(_))));
    for (offset, value) in [(0, 7), (8, 2), (8, 1 << 32 | 1), (8, 3000 << 32 | 1), (8, u64::MAX << 32 | 1)] {
        let server = Channel::serve(&place.0, 4096).unwrap();
        place.poke(offset, value);
        assert!(matches!(Channel::attach(&place.0), Err(ShmError::Foreign { .. })), "{offset} {value:x}");
        drop(server);
    }
    let _server = Channel::serve(&place.0, 4096).unwrap();
    OpenOptions::new().write(true).open(&place.0).unwrap().set_len(10).unwrap();
    assert!(matches!(Channel::attach(&place.0), Err(ShmError::Foreign { .. })));
}

#[test]
fn one_server_and_one_client_at_a_time() {
    let place = Place::new("one");
    let (mut server, client) = pair(&place, 4096);
    assert_eq!((server.peer(), client.peer()), (Peer::Present, Peer::Present));
    assert!(matches!(Channel::serve(&place.0, 4096), Err(ShmError::AlreadyServed(_))));
    assert!(matches!(Channel::attach(&place.0), Err(ShmError::Busy(_))));
    drop(client);
    // The server has not noticed: what the client left behind is still to be read.
    assert!(matches!(Channel::attach(&place.0), Err(ShmError::Busy(_))));
    assert_eq!(server.peer(), Peer::Gone);
    server.renew();
    assert_eq!(server.peer(), Peer::Absent);
    assert_eq!(server.write(b"to nobody").unwrap(), 0);
    let mut client = Channel::attach(&place.0).unwrap();
    client.write(b"second").unwrap();
    let mut got = Vec::new();
    server.read(&mut got).unwrap();
    assert_eq!(got, b"second");
    drop(server);
    assert_eq!(client.peer(), Peer::Gone);
    let mut server = Channel::serve(&place.0, 8192).unwrap();
    assert_eq!(client.peer(), Peer::Gone, "another server is not the one it was attached to");
    drop(client);
    let mut client = Channel::attach(&place.0).unwrap();
    assert_eq!(client.write(&[0; 10_000]).unwrap(), 8192);
    server.renew();
    assert!(matches!(client.write(b"x"), Err(ShmError::Gone)), "given up");
}

#[test]
fn sleepers_are_woken() {
    let place = Place::new("wake");
    let (mut server, mut client) = pair(&place, 4096);
    let echo = std::thread::spawn(move || {
        let (mut got, mut total) = (Vec::new(), 0);
        while total < 1_000_000 {
            server.wait(false, PATIENCE).unwrap();
            got.clear();
            server.read(&mut got).unwrap();
            total += got.len();
            let mut rest = &got[..];
            while !rest.is_empty() {
                let count = server.write(rest).unwrap();
                rest = &rest[count..];
                if count == 0 {
                    server.wait(true, PATIENCE).unwrap();
                }
            }
        }
        server
    });
    let begun = Instant::now();
    let (mut sent, mut got) = (0_usize, Vec::new());
    while got.len() < 1_000_000 {
        let data: Vec<u8> = (sent..(sent + 3000).min(1_000_000)).map(|index| (index % 251) as u8).collect();
        let more = if data.is_empty() { 0 } else { client.write(&data).unwrap() };
        sent += more;
        if client.read(&mut got).unwrap() == 0 && more == 0 {
            client.wait(sent < 1_000_000, PATIENCE).unwrap();
        }
    }
    assert!(begun.elapsed() < PATIENCE, "somebody slept through its bell");
    assert!(got.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8));
    echo.join().unwrap();
}

const CHILD: &str = "TOUCHLINE_TEST_SHM_CHILD";

/// The other process: echoes until it is ended.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut client = attach(Path::new(&path));
    loop {
        let mut got = Vec::new();
        client.wait(false, NAP).unwrap();
        client.read(&mut got).unwrap();
        client.write(&got).unwrap();
        if client.peer() == Peer::Gone {
            return;
        }
    }
}

fn attach(path: &Path) -> Channel {
    let begun = Instant::now();
    loop {
        match Channel::attach(path) {
            Ok(channel) => return channel,
            Err(ShmError::Busy(_)) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn start_child(place: &Place) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child"])
        .env(CHILD, &place.0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_process_that_was_killed_is_noticed_and_another_takes_its_place() {
    let place = Place::new("crash");
    let mut server = Channel::serve(&place.0, 4096).unwrap();
    for _ in 0..3 {
        let mut child = start_child(&place);
        until(|| server.peer() == Peer::Present);
        server.write(b"are you there").unwrap();
        let mut got = Vec::new();
        until(|| {
            server.wait(false, NAP).unwrap();
            server.read(&mut got).unwrap();
            got == b"are you there"
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(server.peer(), Peer::Gone);
        server.renew();
    }
    let mut child = start_child(&place);
    until(|| server.peer() == Peer::Present);
    drop(server);
    assert!(child.wait().unwrap().success(), "it saw that its server went");
}
