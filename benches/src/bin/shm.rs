//! Shared memory between two threads that map the same file as two processes would: the round trip of 128 bytes, and
//! bytes a second one way: `cargo run --release -p touchline-benches --bin shm`.

use hdrhistogram::Histogram;
use std::hint::spin_loop;
use std::path::Path;
use std::time::{Duration, Instant};
use touchline_runtime::shm::{Channel, Peer};

const MESSAGE: usize = 128;
const CAPACITY: usize = 1 << 20;
/// Time of a variant.
const SPAN: Duration = Duration::from_secs(2);
/// Looks without success before a spinner lets others run: its peer may share its core.
const YIELD_EVERY: u32 = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("touchline-bench-shm-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("rings");
    println!("{MESSAGE} B round trip, µs      p50     p99");
    for (name, spin) in [
        ("sleep at once", Duration::ZERO),
        ("spin 50 µs, then sleep", Duration::from_micros(50)),
        ("spin", Duration::MAX),
    ] {
        let times = round_trips(&path, spin);
        let us = |q| times.value_at_quantile(q) as f64 / 1000.0;
        println!("{name:<24} {:>7.2} {:>7.2}", us(0.5), us(0.99));
    }
    println!("one way, writes of {MESSAGE} B: {:.1} M messages/s", one_way(&path) / 1e6);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Waits until something was read, spinning for so long at first.
fn fill(channel: &mut Channel, into: &mut Vec<u8>, spin: Duration) -> bool {
    let (begun, mut looks) = (Instant::now(), 0_u32);
    while channel.read(into).expect("the peer is honest") == 0 {
        looks += 1;
        if begun.elapsed() < spin {
            if looks % YIELD_EVERY == 0 {
                std::thread::yield_now();
            } else {
                spin_loop();
            }
        } else {
            channel.wait(false, Duration::from_millis(20)).expect("the peer is honest");
        }
        if begun.elapsed() > Duration::from_millis(100) && channel.peer() == Peer::Gone {
            return false;
        }
    }
    true
}

fn round_trips(path: &Path, spin: Duration) -> Histogram<u64> {
    let mut server = Channel::serve(path, CAPACITY).expect("the folder is ours");
    let mut client = Channel::attach(path).expect("it is served");
    let echo = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        while fill(&mut server, &mut bytes, spin) {
            server.write(&bytes).expect("the peer is honest");
            bytes.clear();
        }
    });
    let mut times = Histogram::new(3).expect("three digits");
    let (message, mut answer) = ([7; MESSAGE], Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        let start = Instant::now();
        client.write(&message).expect("the peer is honest");
        answer.clear();
        while answer.len() < MESSAGE {
            fill(&mut client, &mut answer, spin);
        }
        times.record(start.elapsed().as_nanos() as u64).expect("the histogram grows");
    }
    drop(client);
    echo.join().expect("it sees the client leave");
    times
}

fn one_way(path: &Path) -> f64 {
    let mut server = Channel::serve(path, CAPACITY).expect("the folder is ours");
    let mut client = Channel::attach(path).expect("it is served");
    let reader = std::thread::spawn(move || {
        let (mut bytes, mut total) = (Vec::new(), 0);
        while fill(&mut server, &mut bytes, Duration::from_micros(50)) {
            total += bytes.len();
            bytes.clear();
        }
        total
    });
    let message = [7; MESSAGE];
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        let mut left = &message[..];
        while !left.is_empty() {
            let count = client.write(left).expect("the peer is honest");
            left = &left[count..];
            if count == 0 {
                client.wait(true, Duration::from_millis(20)).expect("the peer is honest");
            }
        }
    }
    let elapsed = begun.elapsed();
    drop(client);
    reader.join().expect("it sees the client leave") as f64 / MESSAGE as f64 / elapsed.as_secs_f64()
}
