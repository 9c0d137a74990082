//! `touchline bench overload`: three times what a node can decide, beside a feed and a desk.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::live::Appliance;
use crate::load::{Load, Outcome, none_or_rate};
use crate::replay::Folder;
use anyhow::Context;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use touchline_load::plot::{BLUE, GREEN, RED, Sheet};
use touchline_load::{Machine, report};

/// Share of the best throughput that is to be left under overload, percent.
const KEPT_PERCENT_MIN: f64 = 90.0;
/// What 99 of 100 suspensions are to take at most under overload, milliseconds.
const SUSPENSION_MS_P99: f64 = 10.0;

/// Options of `overload`.
#[derive(clap::Args)]
pub(crate) struct Overload {
    /// Connections that send tickets.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Tickets on their way on each connection that are tried for the best throughput.
    #[arg(long, value_delimiter = ',', default_value = "16,64,128,256,512",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    in_flight: Vec<u32>,
    /// Tickets sent, as a multiple of what the node decides at its best.
    #[arg(long, default_value_t = 3.0, value_parser = times)]
    times: f64,
    /// Seconds of overload, and of each search for the best throughput.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Feed updates in a second; each 200th is followed by a suspension, which is lifted after another 200.
    #[arg(long, default_value_t = 2000.0, value_parser = none_or_rate)]
    feed_rate: f64,
    /// Matches side by side.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    fixtures: u32,
    /// Customers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    customers: u32,
    /// File for a drawing (SVG): the best throughput, then the overload, and latencies by percentile.
    #[arg(long)]
    plot: Option<PathBuf>,
    #[command(flatten)]
    node: NodeOptions,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Overload) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    let appliance = start(&folder, &args.node, args.connections)?;
    let (in_flight, peak) = capacity(args, &appliance)?;
    let capacity = peak.tally.decisions_per_second();
    let load = Load { rate: Some((args.times * capacity).max(1.0)), warm_up: 1, ..args.load(99) };
    let outcome = put_on(&load, &appliance)?;
    appliance.stop()?;
    let mut figures = figures(args, &outcome, capacity);
    let refused = report::by_code(&peak.tally.refused);
    extend(&mut figures, json!({ "capacity_in_flight": in_flight, "capacity_refused": refused }));
    extend(&mut figures, machine.facts());
    let title = format!("{} times what the node decides at its best", args.times);
    if let Some(path) = &args.plot {
        let drawing = drawing(&peak, &outcome).finish(&title);
        std::fs::write(path, drawing).with_context(|| format!("writing {}", path.display()))?;
    }
    tell(&title, &figures, args.json)?;
    outcome.check()
}

/// The best throughput of closed loops of several depths, and the depth.
fn capacity(args: &Overload, appliance: &Appliance) -> anyhow::Result<(u32, Outcome)> {
    let mut best: Option<(u32, Outcome)> = None;
    for (n, in_flight) in args.in_flight.iter().enumerate() {
        let outcome = put_on(&Load { in_flight: *in_flight, warm_up: 1, ..args.load(n as u64) }, appliance)?;
        outcome.check()?;
        let rate = outcome.tally.decisions_per_second();
        if best.as_ref().is_none_or(|(_, best)| best.tally.decisions_per_second() < rate) {
            best = Some((*in_flight, outcome));
        }
    }
    best.context("no depth was tried")
}

fn put_on(load: &Load, appliance: &Appliance) -> anyhow::Result<Outcome> {
    load.put_on(appliance.address).map_err(|error| appliance.explain(error))
}

impl Overload {
    fn load(&self, seed: u64) -> Load {
        Load {
            connections: self.connections,
            seconds: self.seconds,
            feed_rate: self.feed_rate,
            fixtures: self.fixtures,
            customers: self.customers,
            seed,
            ..Load::filling()
        }
    }
}

fn figures(args: &Overload, outcome: &Outcome, capacity: f64) -> Json {
    let (tally, feed) = (&outcome.tally, &outcome.feed);
    let decided = tally.decisions_per_second();
    let answered = report::tickets(tally);
    let kept = (decided / capacity.max(1.0) * 1000.0).round() / 10.0;
    let suspension_ms = feed.suspension_ns.value_at_quantile(0.99) as f64 / 1e6;
    json!({
        "policy": "durable",
        "connections": args.connections,
        "shards": args.node.shards,
        "node": args.node.lines,
        "times": args.times,
        "seconds": args.seconds,
        "capacity_per_second": capacity.round(),
        "offered_per_second": (tally.late_ns.len() as f64 / tally.measured_s()).round(),
        "decided_per_second": decided.round(),
        "kept_percent": kept,
        "decisions": answered["decisions"],
        "refused": answered["refused"],
        "unanswered": tally.unanswered,
        "latency_us": answered["latency_us"],
        "refusal_us": answered["refusal_us"],
        "generator_late_us": answered["generator_late_us"],
        "generator_us_per_ticket": answered["generator_us_per_ticket"],
        "suspensions": feed.suspensions,
        "suspension_us": report::latency_us(&feed.suspension_ns),
        "update_us": report::latency_us(&feed.update_ns),
        "feed_late_us": report::latency_us(&feed.late_ns),
        "feed_refused": report::by_code(&feed.refused),
        "goals": {
            "kept_percent_min": KEPT_PERCENT_MIN,
            "kept": kept >= KEPT_PERCENT_MIN,
            "suspension_ms_p99": SUSPENSION_MS_P99,
            "suspensions_pass": feed.suspensions > 0 && suspension_ms <= SUSPENSION_MS_P99,
        },
    })
}

fn drawing(peak: &Outcome, over: &Outcome) -> Sheet {
    let mut sheet = Sheet::default();
    let seconds: Vec<_> = peak.tally.seconds.iter().chain(&over.tally.seconds).cloned().collect();
    sheet.seconds(&seconds);
    let name =
        "under overload, latency in µs by percentile: decisions (blue), refusals (red), suspensions (green)";
    let over = (&over.tally, &over.feed);
    let all = [(BLUE, &over.0.latency_ns), (RED, &over.0.refusal_ns), (GREEN, &over.1.suspension_ns)];
    sheet.percentiles(name, &all);
    sheet
}

/// Parses the multiple.
fn times(text: &str) -> Result<f64, String> {
    let times = text.parse().ok().filter(|times| (0.1..=100.0).contains(times));
    times.ok_or_else(|| "must be 0.1 to 100".into())
}
