//! Echo of 128 bytes over loopback: the runtime's sockets beside plain ones, in turns within one run, so that what else
//! the machine does falls on all alike: `cargo run --release -p touchline-benches --bin sockets`.

use hdrhistogram::Histogram;
use std::hint::spin_loop;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use touchline_runtime::sockets::{Connections, Driver, Event, Limits, Linger, Server, Wait};

const MESSAGE: usize = 128;
/// Time of a variant in a round.
const SPAN: Duration = Duration::from_millis(400);
const ROUNDS: usize = 5;
/// Connections, and messages in flight on each, where throughput is measured.
const MANY: usize = 64;
const IN_FLIGHT: usize = 16;
/// Spinning of the adaptive variants before they block.
const SPIN: Duration = Duration::from_micros(50);
/// Looks without success before a spinning thread lets others run: the other end may share its core.
const YIELD_EVERY: u32 = 32;

#[derive(Clone, Copy)]
enum Idle {
    Block,
    Adaptive,
    Busy,
}

#[derive(Clone, Copy)]
enum Variant {
    /// A thread for each connection.
    StdBlocking,
    /// One thread that tries every connection in turn.
    StdSpinning,
    Runtime(Driver, Idle),
}

const VARIANTS: [(&str, Variant); 8] = [
    ("std blocking", Variant::StdBlocking),
    ("std spinning", Variant::StdSpinning),
    ("io_uring block", Variant::Runtime(Driver::Uring, Idle::Block)),
    ("io_uring adaptive", Variant::Runtime(Driver::Uring, Idle::Adaptive)),
    ("io_uring busy", Variant::Runtime(Driver::Uring, Idle::Busy)),
    ("epoll block", Variant::Runtime(Driver::Portable, Idle::Block)),
    ("epoll adaptive", Variant::Runtime(Driver::Portable, Idle::Adaptive)),
    ("epoll busy", Variant::Runtime(Driver::Portable, Idle::Busy)),
];

fn main() {
    let mut latency: Vec<[Histogram<u64>; 2]> = VARIANTS.iter().map(|_| [histogram(), histogram()]).collect();
    let mut rates = vec![Vec::new(); VARIANTS.len()];
    for _ in 0..ROUNDS {
        for (index, (_, variant)) in VARIANTS.iter().enumerate() {
            for busy in [true, false] {
                with_server(*variant, |address| ping(address, busy, &mut latency[index][usize::from(busy)]));
            }
            with_server(*variant, |address| rates[index].push(flood(address)));
        }
    }
    println!(
        "{MESSAGE} B echo, µs       busy client p50    p99 | blocking p50    p99 | {MANY} conn. M msg/s, median"
    );
    for (index, (name, _)) in VARIANTS.iter().enumerate() {
        let us = |busy: usize, q| latency[index][busy].value_at_quantile(q) as f64 / 1000.0;
        rates[index].sort_by(f64::total_cmp);
        println!(
            "{name:<22} {:>15.1} {:>6.1} | {:>12.1} {:>6.1} | {:>8.2}",
            us(1, 0.5),
            us(1, 0.99),
            us(0, 0.5),
            us(0, 0.99),
            rates[index][ROUNDS / 2] / 1e6
        );
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

/// Runs a client against a server of its own.
fn with_server(variant: Variant, client: impl FnOnce(std::net::SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = std::thread::spawn(move || match variant {
        Variant::StdBlocking => std_blocking(&listener, &stopped),
        Variant::StdSpinning => std_spinning(&listener, &stopped),
        Variant::Runtime(driver, idle) => runtime(listener, driver, idle, &stopped),
    });
    client(address);
    stop.store(true, Ordering::Relaxed);
    // Wakes whoever waits in accept.
    let _ = TcpStream::connect(address);
    server.join().expect("the server ends");
}

fn std_blocking(listener: &TcpListener, stop: &AtomicBool) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = stream.expect("accepted");
        stream.set_nodelay(true).expect("set");
        threads.push(std::thread::spawn(move || {
            let mut buffer = vec![0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("ends"));
}

fn std_spinning(listener: &TcpListener, stop: &AtomicBool) {
    listener.set_nonblocking(true).expect("set");
    let (mut streams, mut buffer, mut looks) = (Vec::new(), vec![0; 8192], 0);
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true).expect("set");
            stream.set_nonblocking(true).expect("set");
            streams.push(stream);
        }
        for stream in &mut streams {
            if let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut rest = &buffer[..count];
                while !rest.is_empty() {
                    match stream.write(rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => spin_loop(),
                        Err(_) => break,
                    }
                }
            }
        }
        pause(&mut looks);
    }
}

fn runtime(listener: TcpListener, driver: Driver, idle: Idle, stop: &AtomicBool) {
    let mut server = match Server::new(driver, vec![listener], &Limits::default(), None) {
        Ok(server) => server,
        Err(error) => panic!("this driver cannot be had here: {error}"),
    };
    let mut echo = |connections: &mut Connections, event: Event<'_>| match event {
        Event::Bytes { id, data } => {
            let _ = connections.send(id, data);
        }
        Event::Finished { id } => connections.close(id, Linger::Not),
        _ => {}
    };
    let blocking = Wait::AtMost(Duration::from_millis(50));
    let (mut busy_until, mut looks) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let wait = match idle {
            Idle::Block => blocking,
            Idle::Busy => Wait::Poll,
            Idle::Adaptive if Instant::now() > busy_until => blocking,
            Idle::Adaptive => Wait::Poll,
        };
        if server.step(wait, &mut echo).expect("the ring works") > 0 || wait == blocking {
            busy_until = Instant::now() + SPIN;
        } else {
            pause(&mut looks);
        }
    }
}

/// After a look without success.
fn pause(looks: &mut u32) {
    *looks += 1;
    if looks.is_multiple_of(YIELD_EVERY) {
        std::thread::yield_now();
    } else {
        spin_loop();
    }
}

fn connect(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("set");
    stream
}

/// One message at a time.
fn ping(address: std::net::SocketAddr, busy: bool, into: &mut Histogram<u64>) {
    let mut stream = connect(address);
    stream.set_nonblocking(busy).expect("set");
    let (message, mut answer) = ([7; MESSAGE], [0; MESSAGE]);
    let begun = Instant::now();
    let mut warm_up = 200;
    while begun.elapsed() < SPAN {
        let start = Instant::now();
        stream.write_all(&message).expect("128 bytes fit");
        let (mut got, mut looks) = (0, 0);
        while got < MESSAGE {
            match stream.read(&mut answer[got..]) {
                Ok(count) => got += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(&mut looks),
                Err(error) => panic!("{error}"),
            }
        }
        if warm_up > 0 {
            warm_up -= 1;
        } else {
            into.record(start.elapsed().as_nanos() as u64).expect("the histogram grows");
        }
    }
}

/// Messages a second over many connections, each with some in flight.
fn flood(address: std::net::SocketAddr) -> f64 {
    let mut streams: Vec<_> = (0..MANY).map(|_| connect(address)).collect();
    let (messages, mut answers) = (vec![7; MESSAGE * IN_FLIGHT], vec![0; MESSAGE * IN_FLIGHT]);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < SPAN {
        for stream in &mut streams {
            stream.write_all(&messages).expect("the server reads");
        }
        for stream in &mut streams {
            stream.read_exact(&mut answers).expect("the server answers");
        }
        count += MANY * IN_FLIGHT;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}
