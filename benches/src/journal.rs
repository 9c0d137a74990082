//! What a durable group costs: direct writes against buffered ones and against the bare disk, in turns of one run.
//!
//! All work in one folder, so on one disk, and take turns of some milliseconds: what else the machine does meets each of them.

use anyhow::Context;
use hdrhistogram::Histogram;
use rustix::fs::OFlags;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use touchline_journal::aligned::{self, Block};
use touchline_journal::layout::{BLOCK, GROUP_HEADER, GROUP_PAYLOAD_MAX};
use touchline_journal::storage::Storage;
use touchline_journal::{FileStorage, Writer, recover};
use touchline_protocol::frame::encode;
use touchline_protocol::*;
use zerocopy::IntoBytes;

const SEGMENT: u64 = 64 << 20;
const RECORD: usize = 128;
const TURN: Duration = Duration::from_millis(20);
/// Segments made to tell what one costs.
const SEGMENTS_MADE: usize = 3;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct JournalFigures {
    /// Direct journal, buffered journal, and bare 4 KiB writes, by group size.
    pub lanes: Vec<LaneFigures>,
    /// Making a segment of 64 MiB out of nothing, ms, median.
    pub segment_new_ms: f64,
    /// The same out of one that is no longer needed.
    pub segment_recycled_ms: f64,
}

/// One way of writing groups of one size.
#[derive(Clone, Debug, Serialize)]
pub struct LaneFigures {
    /// `direct`, `buffered` (with fdatasync) or `floor`: the same bytes over and over in one place of the disk, by nobody's journal.
    pub way: &'static str,
    /// Bytes of a group on disk.
    pub group_bytes: usize,
    /// Groups written.
    pub groups: u64,
    /// From the first frame offered to the group being durable, median.
    pub latency_us_p50: f64,
    /// The same, of the slowest hundredth.
    pub latency_us_p99: f64,
    /// Records of 128 bytes made durable a second, one group in flight, new segments being made beside it.
    pub records_per_s: f64,
}

/// Measures for so many seconds in a folder that is created for it and removed.
///
/// # Errors
///
/// Where the folder or the disk refuses.
pub fn run(seconds: f64, folder: &Path) -> anyhow::Result<JournalFigures> {
    let folder = folder.join(format!("bench-journal-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let figures = measure(seconds, &folder);
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    figures
}

fn measure(seconds: f64, folder: &Path) -> anyhow::Result<JournalFigures> {
    let (segment_new_ms, segment_recycled_ms) = segments(&folder.join("segments"))?;
    let mut lanes = vec![Lane::floor(&folder.join("floor"))?];
    for group_bytes in [4 << 10, 64 << 10, GROUP_PAYLOAD_MAX] {
        let at = |way: &str| folder.join(format!("{way}-{group_bytes}"));
        lanes.push(Lane::journal("direct", FileStorage::open(&at("direct"))?, group_bytes)?);
        lanes.push(Lane::journal("buffered", FileStorage::open_buffered(&at("buffered"))?, group_bytes)?);
    }
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        for lane in &mut lanes {
            lane.turn()?;
        }
    }
    let lanes = lanes.iter().map(Lane::figures).collect();
    Ok(JournalFigures { lanes, segment_new_ms, segment_recycled_ms })
}

/// Median times of making a segment new and out of an old one.
fn segments(folder: &Path) -> anyhow::Result<(f64, f64)> {
    let mut storage = FileStorage::open(folder)?;
    let (mut new, mut recycled) = (Vec::new(), Vec::new());
    for generation in (1..).step_by(2).take(SEGMENTS_MADE) {
        for (generation, times) in [(generation, &mut new), (generation + 1, &mut recycled)] {
            let start = Instant::now();
            storage.create(generation, SEGMENT)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            storage.remove(generation)?;
        }
        // Without raw material the next one is new again.
        drop(storage);
        std::fs::remove_dir_all(folder)?;
        storage = FileStorage::open(folder)?;
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok((median(&mut new), median(&mut recycled)))
}

struct Lane {
    way: &'static str,
    group_bytes: usize,
    to: To,
    latency_ns: Histogram<u64>,
    records: u64,
}

enum To {
    Journal(Box<Journal>),
    Disk { file: File, block: Vec<Block>, offset: u64 },
}

struct Journal {
    writer: Writer<FileStorage>,
    frames: Frames,
}

impl Lane {
    fn new(way: &'static str, group_bytes: usize, to: To) -> Self {
        let latency_ns = Histogram::new(3).expect("three digits");
        Lane { way, group_bytes, to, latency_ns, records: 0 }
    }

    fn journal(way: &'static str, storage: FileStorage, group_bytes: usize) -> anyhow::Result<Self> {
        let (writer, _) = recover(storage, 1, SEGMENT, None, &mut |_| Ok(()))?;
        let mut lane =
            Lane::new(way, group_bytes, To::Journal(Box::new(Journal { writer, frames: Frames::new() })));
        // The first segment is made by the first group.
        lane.write()?;
        lane.latency_ns.reset();
        lane.records = 0;
        Ok(lane)
    }

    fn floor(path: &PathBuf) -> anyhow::Result<Self> {
        let zeros = aligned::zeros(SEGMENT);
        let file = File::create(path)?;
        file.write_all_at(zeros.as_bytes(), 0)?;
        file.sync_all()?;
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let opened = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path);
        let file = opened.context("the file system knows no direct writes")?;
        let mut block = aligned::zeros(BLOCK);
        block.as_mut_bytes().fill(7);
        Ok(Lane::new("floor", BLOCK as usize, To::Disk { file, block, offset: 0 }))
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < TURN {
            self.write()?;
        }
        if let To::Journal(journal) = &mut self.to {
            let writer = &mut journal.writer;
            // As in a node with snapshots: what is behind serves again.
            writer.keep_snapshot(writer.position().seq, b"")?;
            writer.prune(1)?;
        }
        Ok(())
    }

    fn write(&mut self) -> anyhow::Result<()> {
        match &mut self.to {
            To::Journal(journal) => {
                let count = ((self.group_bytes - GROUP_HEADER) / RECORD).min(GROUP_PAYLOAD_MAX / RECORD);
                let frames = journal.frames.next(count);
                let start = Instant::now();
                journal.writer.append(frames, Seq(0))?;
                self.latency_ns.record(start.elapsed().as_nanos() as u64)?;
                self.records += count as u64;
            }
            To::Disk { file, block, offset } => {
                let start = Instant::now();
                file.write_all_at(block.as_bytes(), *offset)?;
                self.latency_ns.record(start.elapsed().as_nanos() as u64)?;
                *offset = (*offset + BLOCK) % SEGMENT;
                self.records += BLOCK / RECORD as u64;
            }
        }
        Ok(())
    }

    fn figures(&self) -> LaneFigures {
        let us = |quantile| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
        let busy_s = self.latency_ns.mean() * self.latency_ns.len() as f64 / 1e9;
        LaneFigures {
            way: self.way,
            group_bytes: self.group_bytes,
            groups: self.latency_ns.len(),
            latency_us_p50: us(0.5),
            latency_us_p99: us(0.99),
            records_per_s: self.records as f64 / busy_s,
        }
    }
}

/// Frames of 128 bytes, one after the other.
struct Frames {
    body: Body,
    last: (Seq, ChainHash),
    bytes: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        let length = |body: &Body| {
            let mut bytes = Vec::new();
            encode(&Envelope::session(1, Epoch(1), 0), body, &mut bytes);
            bytes.len()
        };
        let bodies = (0..RECORD).map(|size| Body::sample(Kind::SetAccountStatus, size));
        let body = bodies.into_iter().find(|body| length(body) == RECORD);
        Frames { body: body.expect("a note of some length"), last: (Seq(0), ChainHash(0)), bytes: Vec::new() }
    }

    fn next(&mut self, count: usize) -> &[u8] {
        self.bytes.clear();
        for _ in 0..count {
            let (seq, previous) = (Seq(self.last.0.0 + 1), self.last.1);
            let from = self.bytes.len();
            let envelope = Envelope { seq, previous, ..Envelope::session(1, Epoch(1), 0) };
            encode(&envelope, &self.body, &mut self.bytes);
            let frame = FrameRef::parse(&self.bytes[from..]).expect("it was just encoded");
            self.last = (seq, frame.chain());
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_measured_and_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("touchline-bench-{}", std::process::id()));
        let figures = run(0.001, &folder).unwrap();
        assert_eq!(figures.lanes.len(), 7);
        assert!(figures.lanes.iter().all(|lane| lane.groups > 0 && lane.records_per_s > 0.0));
        std::fs::remove_dir(&folder).unwrap();
    }
}
