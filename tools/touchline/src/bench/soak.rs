//! `touchline bench soak`: a load for minutes, with matches that open, end and leave, and whether anything grows.

use super::node::{NodeOptions, start};
use super::probe::{Probe, Sample};
use super::trend::Trend;
use super::{extend, tell};
use crate::load::{Load, none_or_rate, rate, seconds};
use crate::replay::Folder;
use crate::top::Asked;
use anyhow::{Context, anyhow, ensure};
use serde_json::{Map, Value as Json, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use touchline_load::Machine;
use touchline_load::plot::{BLUE, GREEN, RED, Scale, Sheet};

/// Growth of memory that counts as none: the ups and downs of the allocator and of snapshots being written.
const MEMORY_NOISE_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// The same of the second replay's distance: it looks at the journal in steps.
const BEHIND_NOISE_FRAMES: f64 = 65_536.0;
/// The same of the journal's open files: whoever writes, replays, archives or makes room has one or two.
const JOURNAL_FILES_NOISE: f64 = 8.0;

/// Options of `soak`.
#[derive(clap::Args)]
pub(crate) struct Soak {
    /// Minutes that are measured, after a warm-up in which the first matches end and leave.
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Tickets in a second, whatever the answers do.
    #[arg(long, default_value_t = 50_000.0, value_parser = rate)]
    rate: f64,
    /// Feed updates in a second.
    #[arg(long, default_value_t = 5000.0, value_parser = none_or_rate)]
    feed_rate: f64,
    /// Connections that send tickets.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Matches side by side.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    fixtures: u32,
    /// Customers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    customers: u32,
    /// Seconds that a match takes.
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    match_seconds: f64,
    /// Seconds that what is over stays in the node.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    retention_seconds: u64,
    /// Memory that may grow with each decision: for the result window, a day at least, a node remembers each of them, and
    /// so do its second replay and the snapshot that this writes, about 330 bytes each. 0 forbids any growth.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    bytes_per_decision: u32,
    /// File for a drawing (SVG): throughput, latency, memory and queues over time.
    #[arg(long)]
    plot: Option<PathBuf>,
    #[command(flatten)]
    node: NodeOptions,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs it; fails where something grows, or an answer is missing or wrong.
pub(super) fn run(args: &Soak) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    let archive = folder.journal.with_extension("archive");
    let node = args.node.with("archive", &format!("{archive:?}"));
    let appliance = start(&folder, &node, args.connections)?;
    let load = args.load();
    let opened = load.open(appliance.address).map_err(|error| appliance.explain(error))?;
    let probe = Probe {
        process: appliance.process(),
        asked: Asked::connect(&folder.admin())?,
        journal: folder.journal.clone(),
        archive,
    };
    let stop = AtomicBool::new(false);
    let (outcome, samples) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| probe.watch(&stop));
        let outcome = opened.run();
        stop.store(true, Ordering::Relaxed);
        (outcome, watching.join().map_err(|_| anyhow!("the probe panicked")))
    });
    let outcome = outcome.map_err(|error| appliance.explain(error))?;
    let samples = samples??;
    // A new conversation is told of everything since the start.
    let stages = Asked::connect(&folder.admin())?.ask("measures")?["stages"].take();
    appliance.stop()?;
    let trends = trends(args, &samples, &load, outcome.tally.measured);
    let growing: Vec<&str> = trends.iter().filter(|trend| !trend.is_flat()).map(|trend| trend.name).collect();
    let mut figures = load.json(&outcome);
    let told: Map<String, Json> = trends.iter().map(|trend| (trend.name.to_owned(), trend.json())).collect();
    let about = json!({
        "policy": "durable",
        "shards": args.node.shards,
        "node": args.node.lines,
        "retention_seconds": args.retention_seconds,
        "match_seconds": args.match_seconds,
        "warm_up_s": load.warm_up,
        "bytes_per_decision": growth_per_decision(&trends, outcome.tally.measured),
        "trends": told,
        "flat": growing.is_empty(),
        "stages": stages,
    });
    extend(&mut figures, about);
    extend(&mut figures, machine.facts());
    if let Some(path) = &args.plot {
        let mut sheet = Sheet::default();
        sheet.seconds(&outcome.tally.seconds);
        draw(&mut sheet, &samples);
        std::fs::write(path, sheet.finish(&load.title()))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    tell(&load.title(), &figures, args.json)?;
    outcome.check()?;
    ensure!(growing.is_empty(), "not flat: {}", growing.join(", "));
    Ok(())
}

impl Soak {
    fn load(&self) -> Load {
        Load {
            connections: self.connections,
            rate: Some(self.rate),
            // Until the first matches have ended and left, memory has every right to grow.
            warm_up: self.match_seconds.ceil() as u64 + self.retention_seconds,
            seconds: (self.minutes * 60.0).ceil() as u64,
            feed_rate: self.feed_rate,
            match_seconds: self.match_seconds,
            fixtures: self.fixtures,
            customers: self.customers,
            retention_seconds: Some(self.retention_seconds),
            ..Load::filling()
        }
    }
}

/// What must not grow over the measured part.
fn trends(args: &Soak, samples: &[Sample], load: &Load, decisions: u64) -> Vec<Trend> {
    let (from, to) = (load.warm_up as f64, (load.warm_up + load.seconds) as f64);
    let measured = || samples.iter().filter(move |sample| (from..to).contains(&sample.second));
    let trend = |name, value: fn(&Sample) -> f64, allowed: f64| {
        let samples = measured().map(|sample| (sample.second, value(sample))).collect();
        Trend { name, samples, allowed }
    };
    let mean =
        |value: fn(&Sample) -> f64| measured().map(value).sum::<f64>() / measured().count().max(1) as f64;
    let remembered = f64::from(args.bytes_per_decision) * decisions as f64;
    let noise = MEMORY_NOISE_BYTES.max(0.05 * mean(|sample| sample.resident_bytes));
    let inside = mean(|sample| sample.tickets_inside);
    let behind = mean(|sample| sample.behind_frames);
    let files = mean(|sample| sample.journal_files);
    vec![
        trend("resident_bytes", |sample| sample.resident_bytes, remembered + noise),
        // An archiver's two files come and go.
        trend("descriptors", |sample| sample.descriptors, 2.0),
        trend("journal_files", |sample| sample.journal_files, files.max(JOURNAL_FILES_NOISE)),
        trend("threads", |sample| sample.threads, 0.5),
        trend("tickets_inside", |sample| sample.tickets_inside, inside.max(100.0)),
        trend("behind_frames", |sample| sample.behind_frames, behind.max(BEHIND_NOISE_FRAMES)),
    ]
}

/// What memory grew by with each decision.
fn growth_per_decision(trends: &[Trend], decisions: u64) -> Option<f64> {
    let memory = trends.iter().find(|trend| trend.name == "resident_bytes")?;
    Some((memory.growth() / decisions.max(1) as f64).round())
}

fn draw(sheet: &mut Sheet, samples: &[Sample]) {
    let over = |value: fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        samples.iter().map(|sample| (sample.second, value(sample))).collect()
    };
    let memory = over(|sample| sample.resident_bytes / f64::from(1 << 20));
    let journal = over(|sample| sample.journal_bytes / f64::from(1 << 20));
    let name = "memory (blue) and journal (red) in MiB, warm-up included";
    sheet.over_time(name, Scale::Linear, &[(BLUE, memory), (RED, journal)]);
    let inside = over(|sample| sample.tickets_inside);
    let behind = over(|sample| sample.behind_frames);
    let name = "tickets inside (blue) and frames that the second replay is behind (red), warm-up included";
    sheet.over_time(name, Scale::Logarithmic, &[(BLUE, inside), (RED, behind)]);
    let descriptors = over(|sample| sample.descriptors);
    let threads = over(|sample| sample.threads);
    let files = over(|sample| sample.journal_files);
    let name = "descriptors (blue), open files of the journal (green) and threads (red), warm-up included";
    sheet.over_time(name, Scale::Linear, &[(BLUE, descriptors), (GREEN, files), (RED, threads)]);
}

/// Parses the length.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.05..=1440.0).contains(minutes));
    minutes.ok_or_else(|| "must be 0.05 to 1440 minutes".into())
}
