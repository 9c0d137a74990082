//! Messages of the replication protocol over loopback: the transport beside plain UDP sockets that carry as many bytes,
//! in turns within one run: `cargo run --release -p touchline-benches --bin transport`.
//!
//! Both ends are in one thread and poll, so that a figure is what the path costs and not what the scheduler does; the
//! last table has an end in a thread of its own that blocks.

use hdrhistogram::Histogram;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use touchline_lockstep::message::Party;
use touchline_lockstep::{Boot, Cluster, Message, NodeId, Say};
use touchline_protocol::frame::encode;
use touchline_protocol::{Body, ChainHash, Envelope, Epoch, FrameRef, Kind, Seq};
use touchline_runtime::sockets::{Driver, Wait};
use touchline_transport::datagram::To;
use touchline_transport::keys::{Keyring, Secret};
use touchline_transport::networks::{Multicast, Network};
use touchline_transport::session::{Session, Settings};
use touchline_transport::{Config, Transport, wire};

/// Time of a variant in a round.
const SPAN: Duration = Duration::from_millis(300);
const ROUNDS: usize = 7;
/// Frames in a message where throughput is measured.
const BATCH: u64 = 64;
const A: Party = Party::Node(NodeId(0));
const B: Party = Party::Node(NodeId(1));

/// One end of a path.
trait End {
    fn send(&mut self, message: &Message);
    /// Takes what has arrived; the number of frames.
    fn take(&mut self, wait: Wait) -> u64;
}

struct Raw {
    socket: UdpSocket,
    bytes: Vec<u8>,
    buffer: [u8; 2048],
    /// Bytes of a frame, to tell how many have arrived.
    frame: u64,
    bytes_in: u64,
    polls: bool,
}

impl End for Raw {
    fn send(&mut self, message: &Message) {
        self.bytes.clear();
        wire::encode(message, &mut self.bytes);
        for datagram in self.bytes.chunks(1344) {
            let _ = self.socket.send(datagram);
        }
    }

    fn take(&mut self, wait: Wait) -> u64 {
        if self.polls != (wait == Wait::Poll) {
            self.polls = wait == Wait::Poll;
            self.socket.set_nonblocking(self.polls).expect("a socket");
        }
        self.bytes_in += self.socket.recv(&mut self.buffer).unwrap_or(0) as u64;
        let frames = self.bytes_in / self.frame;
        self.bytes_in %= self.frame;
        frames
    }
}

impl End for (Transport, Party) {
    fn send(&mut self, message: &Message) {
        self.0.send(self.1, message);
        self.0.flush().expect("sockets");
    }

    fn take(&mut self, wait: Wait) -> u64 {
        let mut frames = 0;
        let mut out = |_, message: Message| {
            if let Say::Frames { bytes, .. } = message.say {
                frames += touchline_lockstep::log::frames(&bytes).count() as u64;
            }
        };
        self.0.step(wait, &mut out).expect("sockets");
        frames
    }
}

#[derive(Clone, Copy)]
enum Variant {
    Raw,
    Unicast(Driver),
    Multicast(Driver),
}

const VARIANTS: [(&str, Variant); 5] = [
    ("plain UDP", Variant::Raw),
    ("unicast, io_uring", Variant::Unicast(Driver::Uring)),
    ("unicast, portable", Variant::Unicast(Driver::Portable)),
    ("multicast, io_uring", Variant::Multicast(Driver::Uring)),
    ("multicast, portable", Variant::Multicast(Driver::Portable)),
];

fn main() {
    let one = message(A, 1);
    println!("a message of one frame: {} B of which the frame {} B", encoded(&one), encoded_frames(1));
    session_alone();
    let mut latency: Vec<[Histogram<u64>; 3]> =
        VARIANTS.iter().map(|_| [(); 3].map(|()| histogram())).collect();
    let mut rates = vec![[Vec::new(), Vec::new()]; VARIANTS.len()];
    for _ in 0..ROUNDS {
        for (index, (_, variant)) in VARIANTS.iter().enumerate() {
            polled(*variant, &mut latency[index]);
            for (place, batch) in [1, BATCH].into_iter().enumerate() {
                rates[index][place].push(throughput(*variant, batch));
            }
            blocking(*variant, &mut latency[index][2]);
        }
    }
    println!(
        "{:<20} {:>32} | {:>15} | {:>21}",
        "", "µs, polled: one way", "round trip", "blocking round trip"
    );
    for (index, (name, _)) in VARIANTS.iter().enumerate() {
        let us = |which: usize, q| latency[index][which].value_at_quantile(q) as f64 / 1000.0;
        println!(
            "{name:<20} p50 {:>11.2} p99 {:>11.2} | {:>7.2} {:>7.2} | {:>10.1} {:>10.1}",
            us(0, 0.5),
            us(0, 0.99),
            us(1, 0.5),
            us(1, 0.99),
            us(2, 0.5),
            us(2, 0.99)
        );
    }
    println!("\n{:<20} {:>24} {:>24}", "thousand frames/s", "one a message", format!("{BATCH} a message"));
    for (index, (name, _)) in VARIANTS.iter().enumerate() {
        let median = |place: usize| {
            let mut rates = rates[index][place].clone();
            rates.sort_by(f64::total_cmp);
            rates[ROUNDS / 2] / 1000.0
        };
        println!("{name:<20} {:>24.0} {:>24.0}", median(0), median(1));
    }
}

/// One frame after the other, each waited for at the other end, and its echo.
fn polled(variant: Variant, latency: &mut [Histogram<u64>; 3]) {
    let (mut a, mut b) = ends(variant, Wait::Poll);
    let (there, back) = (message(A, 1), message(B, 1));
    let until = Instant::now() + SPAN;
    while Instant::now() < until {
        let begun = Instant::now();
        a.send(&there);
        while b.take(Wait::Poll) == 0 {}
        latency[0].record(begun.elapsed().as_nanos() as u64).expect("it grows");
        b.send(&back);
        while a.take(Wait::Poll) == 0 {}
        latency[1].record(begun.elapsed().as_nanos() as u64).expect("it grows");
    }
}

/// Messages in bursts that the sockets hold; frames in a second.
fn throughput(variant: Variant, frames: u64) -> f64 {
    let (mut a, mut b) = ends(variant, Wait::Poll);
    let there = message(A, frames);
    let (mut taken, begun) = (0, Instant::now());
    while begun.elapsed() < SPAN {
        let burst = (BATCH / frames).max(1);
        (0..burst).for_each(|_| a.send(&there));
        let due = burst * frames;
        let mut got = 0;
        let patience = Instant::now();
        // What a socket dropped does not come.
        while got < due && patience.elapsed() < Duration::from_millis(5) {
            got += b.take(Wait::Poll);
        }
        taken += got.min(due);
        a.take(Wait::Poll);
    }
    taken as f64 / begun.elapsed().as_secs_f64()
}

/// Round trips to a thread that blocks, from one that blocks.
fn blocking(variant: Variant, latency: &mut Histogram<u64>) {
    let wait = Wait::AtMost(Duration::from_millis(50));
    let addresses = free();
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || {
            let mut b = end(variant, 1, addresses);
            let back = message(B, 1);
            let until = Instant::now() + SPAN + Duration::from_millis(50);
            while Instant::now() < until {
                // One for each time, or what was once in flight too much would stay so.
                if b.take(wait) > 0 {
                    b.send(&back);
                }
            }
        });
        let mut a = end(variant, 0, addresses);
        let there = message(A, 1);
        let until = Instant::now() + SPAN;
        while Instant::now() < until {
            let begun = Instant::now();
            a.send(&there);
            if a.take(wait) > 0 {
                latency.record(begun.elapsed().as_nanos() as u64).expect("it grows");
            }
        }
        echo.join().expect("the echo");
    });
}

/// Encoding, sealing, opening and decoding without sockets.
fn session_alone() {
    let session = |me| Session::new(Settings::new(me, Cluster(5), 0), keyring(), 0).expect("in range");
    for frames in [1, BATCH] {
        let (mut a, mut b) = (session(A), session(B));
        let there = message(A, frames);
        let (mut got, mut messages, begun) = (0u64, 0u64, Instant::now());
        while begun.elapsed() < SPAN {
            a.send(To::One(B), &there);
            messages += 1;
            while let Some((_, datagram)) = a.transmit(messages * 1_000_000) {
                b.receive(messages * 1_000_000, datagram, &mut |_, _| got += 1);
            }
            while let Some((_, datagram)) = b.transmit(messages * 1_000_000) {
                a.receive(messages * 1_000_000, datagram, &mut |_, _| {});
            }
        }
        let ns = begun.elapsed().as_nanos() as f64 / messages as f64;
        println!("session alone, both ends, {frames} frames a message: {ns:.0} ns ({got} arrived)");
    }
}

/// Both ends of a path, acquainted.
fn ends(variant: Variant, wait: Wait) -> (Box<dyn End>, Box<dyn End>) {
    let addresses = free();
    let (mut a, mut b) = (end(variant, 0, addresses), end(variant, 1, addresses));
    let (mut heard_a, mut heard_b) = (false, false);
    while !(heard_a && heard_b) {
        a.send(&message(A, 1));
        b.send(&message(B, 1));
        heard_b |= b.take(wait) > 0;
        heard_a |= a.take(wait) > 0;
    }
    for _ in 0..1000 {
        a.take(wait);
        b.take(wait);
    }
    (a, b)
}

fn end(variant: Variant, me: usize, addresses: [std::net::SocketAddr; 3]) -> Box<dyn End> {
    let driver = match variant {
        Variant::Raw => {
            let socket = UdpSocket::bind(addresses[me]).expect("an address");
            socket.connect(addresses[1 - me]).expect("an address");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
            let frame = encoded_frames(1);
            return Box::new(Raw {
                socket,
                bytes: Vec::new(),
                buffer: [0; 2048],
                frame,
                bytes_in: 0,
                polls: false,
            });
        }
        Variant::Unicast(driver) | Variant::Multicast(driver) => driver,
    };
    let group = format!("239.78.0.1:{}", addresses[2].port()).parse().expect("an address");
    let multicast = matches!(variant, Variant::Multicast(_)).then_some(Multicast { group, ttl: 1 });
    let parties = [A, B];
    let peers = if multicast.is_some() { vec![] } else { vec![(parties[1 - me], addresses[1 - me])] };
    let config = Config {
        settings: Settings::new(parties[me], Cluster(5), 0),
        keyring: keyring(),
        networks: vec![Network { listen: addresses[me], multicast, peers }],
        driver,
    };
    Box::new((Transport::new(config, None).expect("sockets"), parties[1 - me]))
}

fn free() -> [std::net::SocketAddr; 3] {
    let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("an address"));
    sockets.map(|socket| socket.local_addr().expect("an address"))
}

fn keyring() -> Keyring {
    Keyring::new(&[Secret { generation: 1, bytes: [1; 32] }], 1).expect("one secret")
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

fn message(from: Party, frames: u64) -> Message {
    let mut bytes = Vec::new();
    let mut previous = ChainHash(0);
    for seq in 1..=frames {
        let envelope = Envelope { seq: Seq(seq), previous, ..Envelope::session(5, Epoch(1), 0) };
        let start = bytes.len();
        encode(&envelope, &Body::sample(Kind::SubmitTicket, 0), &mut bytes);
        previous = FrameRef::parse(&bytes[start..]).expect("a frame").chain();
    }
    let say = Say::Frames { epoch: Epoch(1), to: None, first: Seq(1), bytes, committed: Seq(0) };
    Message { cluster: Cluster(5), from, boot: Boot(1), register: None, utc_ns: 0, say }
}

fn encoded(message: &Message) -> u64 {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes);
    bytes.len() as u64
}

fn encoded_frames(frames: u64) -> u64 {
    let Say::Frames { bytes, .. } = message(A, frames).say else { return 0 };
    bytes.len() as u64
}
