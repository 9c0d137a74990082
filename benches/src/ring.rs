//! The log ring between threads: how many records pass a second, and how old a record is when it is read.

use serde::Serialize;
use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};
use touchline_runtime::clock::{self, Ticks};
use touchline_runtime::idle::{Action, Idle, Policy};
use touchline_runtime::log_ring::{self, Reader, Writer};
use touchline_runtime::stages::{Board, Recorder};
use touchline_runtime::{bell, cores};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Readers, each on a thread of its own.
    pub readers: usize,
    /// Length of a record, at least 8.
    pub record_bytes: usize,
    /// Records between two publications.
    pub batch: usize,
    /// Capacity of the ring; a power of two.
    pub ring_bytes: usize,
    /// How long each of the two measurements takes.
    pub span: Duration,
}

impl Load {
    /// Records like most frames, published as a busy sequencer does.
    pub fn usual(readers: usize) -> Self {
        Load { readers, record_bytes: 192, batch: 16, ring_bytes: 1 << 22, span: Duration::from_secs(1) }
    }
}

/// The figures of one load. With more spinning threads (the writer is one) than `cpus` they tell of the kernel's
/// scheduler rather than of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// As in the load.
    pub readers: usize,
    /// As in the load.
    pub record_bytes: usize,
    /// As in the load.
    pub batch: usize,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Records written and read by all readers each second, the writer going as fast as the slowest of them.
    pub records_per_second: f64,
    /// The same as time for each record.
    pub record_ns: f64,
    /// From before a record is written alone to its being read, at a pace that lets readers wait; all readers.
    pub one_way_ns: Quantiles,
    /// A record written and read by one thread, its share of publishing and releasing a batch included: the ring's own
    /// work, without cache lines that move between cores.
    pub alone_ns: f64,
    /// A publication's ring of the bell while nobody sleeps.
    pub bell_ns: f64,
    /// Taking one timestamp.
    pub timestamp_ns: f64,
    /// Recording one duration of a stage.
    pub histogram_ns: f64,
}

/// Quantiles of one-way times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The quickest: what the ring can do.
    pub min: u64,
    /// Half are quicker.
    pub p50: u64,
    /// One of a hundred is slower.
    pub p99: u64,
    /// The slowest.
    pub max: u64,
}

/// Measures one load; takes twice its span.
pub fn run(load: Load) -> Figures {
    assert!(load.readers > 0 && load.record_bytes >= 8 && load.batch > 0, "nothing to measure: {load:?}");
    clock::start();
    let record_ns = throughput(load);
    Figures {
        readers: load.readers,
        record_bytes: load.record_bytes,
        batch: load.batch,
        cpus: cores::allowed().len(),
        records_per_second: 1e9 / record_ns,
        record_ns,
        one_way_ns: one_way(load),
        alone_ns: alone_ns(load),
        bell_ns: bell_ns(),
        timestamp_ns: each_ns(|| {
            black_box(Ticks::now());
        }),
        histogram_ns: histogram_ns(),
    }
}

/// Nanoseconds for each record at full speed.
fn throughput(load: Load) -> f64 {
    let (mut writer, readers) = log_ring::new(load.ring_bytes, load.readers);
    thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || drain(&mut reader, |_| ()));
        }
        let record = vec![7; load.record_bytes];
        let (begun, mut written) = (Instant::now(), 0);
        while begun.elapsed() < load.span {
            (0..load.batch).for_each(|_| push(&mut writer, &record));
            writer.publish();
            written += load.batch;
        }
        let mut idle = Idle::new(Policy::Adaptive);
        while (0..load.readers).any(|reader| writer.behind_bytes(reader) > 0) {
            wait(&mut idle);
        }
        let elapsed = begun.elapsed();
        drop(writer);
        elapsed.as_nanos() as f64 / written as f64
    })
}

/// Each record carries the moment of its writing.
fn one_way(load: Load) -> Quantiles {
    const PAUSE_NS: u64 = 2000;
    let (mut writer, readers) = log_ring::new(load.ring_bytes, load.readers);
    let mut board = Board::default();
    let start = Ticks::now();
    thread::scope(|scope| {
        for mut reader in readers {
            let mut recorder: Recorder = board.stage("one way");
            scope.spawn(move || {
                drain(&mut reader, |record| {
                    let now = clock::ns_between(start, Ticks::now());
                    let written = record.first_chunk().map_or(now, |bytes| u64::from_ne_bytes(*bytes));
                    recorder.record(now.saturating_sub(written));
                });
            });
        }
        let mut record = vec![7; load.record_bytes];
        let mut idle = Idle::new(Policy::Adaptive);
        let begun = Instant::now();
        while begun.elapsed() < load.span {
            let written = clock::ns_between(start, Ticks::now());
            record[..8].copy_from_slice(&written.to_ne_bytes());
            push(&mut writer, &record);
            writer.publish();
            idle.worked();
            while clock::ns_between(start, Ticks::now()) < written + PAUSE_NS {
                wait(&mut idle);
            }
        }
        drop(writer);
    });
    let snapshots: Vec<_> = board.stages().map(|(_, snapshot)| snapshot).collect();
    let mut all = snapshots[0].histogram();
    snapshots[1..].iter().for_each(|snapshot| all.add(snapshot.histogram()).expect("of the same bounds"));
    Quantiles {
        min: all.min(),
        p50: all.value_at_quantile(0.5),
        p99: all.value_at_quantile(0.99),
        max: snapshots.iter().map(|snapshot| snapshot.max_ns).max().unwrap_or(0),
    }
}

fn push(writer: &mut Writer, record: &[u8]) {
    let mut idle = Idle::new(Policy::Adaptive);
    while writer.push(record).is_err() {
        writer.publish();
        wait(&mut idle);
    }
}

/// Reads to the end, releasing whatever there was at once.
fn drain(reader: &mut Reader, mut each: impl FnMut(&[u8])) {
    let mut idle = Idle::new(Policy::Adaptive);
    while !reader.ended() {
        let mut worked = false;
        while let Some(record) = reader.next() {
            each(black_box(record));
            worked = true;
        }
        if worked {
            reader.release();
            idle.worked();
        } else {
            wait(&mut idle);
        }
    }
}

/// Adaptive, so that few CPUs do not mean a standstill, but without the sleep: the other side is always near.
fn wait(idle: &mut Idle) {
    match idle.idle(Ticks::now().ns(), false) {
        Action::Spin => spin_loop(),
        Action::Yield | Action::Sleep => thread::yield_now(),
    }
}

fn bell_ns() -> f64 {
    let (bell, _sleeper) = bell::new().expect("a descriptor is left");
    each_ns(|| bell.ring())
}

fn histogram_ns() -> f64 {
    let mut recorder = Board::default().stage("stage");
    let mut ns = 0;
    each_ns(|| {
        ns = (ns + 997) & 0xffff;
        recorder.record(black_box(ns));
    })
}

fn alone_ns(load: Load) -> f64 {
    let (mut writer, mut readers) = log_ring::new(load.ring_bytes, 1);
    let record = vec![7; load.record_bytes];
    let batch_ns = each_ns(|| {
        (0..load.batch).for_each(|_| writer.push(black_box(&record)).expect("all was released"));
        writer.publish();
        while let Some(record) = readers[0].next() {
            black_box(record);
        }
        readers[0].release();
    });
    batch_ns / load.batch as f64
}

/// The fastest of several batches.
fn each_ns(mut kernel: impl FnMut()) -> f64 {
    const BATCH: u32 = 1000;
    let batch = |_| {
        let start = Instant::now();
        (0..BATCH).for_each(|_| kernel());
        start.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    (0..200).map(batch).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_gives_all_figures() {
        let load = Load { ring_bytes: 1 << 12, span: Duration::from_millis(5), ..Load::usual(2) };
        let figures = run(load);
        assert!(figures.records_per_second > 0.0 && figures.one_way_ns.p50 <= figures.one_way_ns.max);
    }
}
