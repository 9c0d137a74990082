//! The same decision by the appliance, by Redis as one Lua script and by PostgreSQL as one function, under the same
//! load in one run: `cargo run --release -p touchline-benches --bin peers -- --json`.
//!
//! Rounds are interleaved and medians are printed, so that what else the machine does meets all contenders alike. Each
//! is measured with one ticket on its way, for the latency, and at its own best concurrency, for the throughput.

mod appliance;
mod contender;
mod postgres;
mod redis;
mod server;
mod standings;

use crate::appliance::Appliance;
use crate::contender::{Concurrency, Contender, Durability, measure};
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::server::Folder;
use crate::standings::{Round, Standing};
use anyhow::{Context, ensure};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use touchline_load::{Machine, Mix, Quotes};

/// The appliance beside Redis and PostgreSQL.
#[derive(Parser)]
#[command(name = "peers")]
struct Args {
    /// Rounds; medians of them are printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Matches on sale.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    fixtures: u64,
    /// Customers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    customers: u64,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// File for the results as Markdown.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Only: serve as the node of such a run, with this journal.
    #[arg(long, hide = true)]
    node: Option<PathBuf>,
}

const ALONE: Concurrency = Concurrency { connections: 1, in_flight: 1 };

/// What is tried for the best throughput of each kind of server.
const CROWDS: [Concurrency; 5] = [
    Concurrency { connections: 8, in_flight: 8 },
    Concurrency { connections: 8, in_flight: 64 },
    Concurrency { connections: 32, in_flight: 1 },
    Concurrency { connections: 64, in_flight: 4 },
    Concurrency { connections: 8, in_flight: 512 },
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(journal) = &args.node {
        return appliance::serve(journal);
    }
    // A run that is interrupted still ends its servers: it looks between two measurements.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("installing a signal handler")?;
    }
    let machine = Machine::watch();
    let folder = Folder::new()?;
    let mix = || Mix::new(1, args.customers);
    eprintln!("starting the appliance");
    let (node, mut quotes) = Appliance::start(&folder, &mix(), args.fixtures)?;
    // What the appliance has on sale is what the others are given.
    let sale = wait_for_sale(&node, &mut mix(), &mut quotes, args.fixtures)?;
    let begin_redis = |durability| Redis::start(&folder, durability, &sale, args.customers);
    let begin_postgres = |durability| Postgres::start(&folder, durability, &sale, args.customers);
    eprintln!("starting Redis");
    let redis = [begin_redis(Durability::Disk)?, begin_redis(Durability::Standby)?];
    eprintln!("starting PostgreSQL");
    let postgres = [begin_postgres(Durability::Disk)?, begin_postgres(Durability::Standby)?];
    let mut lanes: Vec<Box<dyn Lane>> = vec![lane("touchline, durable", node, mix(), quotes)];
    for (redis, name) in redis.into_iter().zip(["redis, appendfsync always", "redis, everysec + WAIT 1"]) {
        lanes.push(lane(name, redis, mix(), sale.clone()));
    }
    for (postgres, name) in postgres.into_iter().zip(["postgres, commit on", "postgres, remote_apply"]) {
        lanes.push(lane(name, postgres, mix(), sale.clone()));
    }
    let standings = compete(&args, &mut lanes, &stop)?;
    standings::tell(&standings, &machine.facts(), args.json, args.results.as_deref())
}

/// The prices that the node tells, all of them.
fn wait_for_sale(
    node: &Appliance,
    mix: &mut Mix,
    quotes: &mut Quotes,
    fixtures: u64,
) -> anyhow::Result<Quotes> {
    while (quotes.sale().len() as u64) < fixtures || quotes.sale().iter().any(|sale| sale.quotes.is_empty()) {
        measure(node, ALONE, Duration::from_millis(500), mix, quotes)?;
    }
    Ok(quotes.clone())
}

/// A contender with its own mix and prices, whatever its protocol.
trait Lane {
    fn name(&self) -> &'static str;
    fn round(&mut self, at: Concurrency, length: Duration) -> anyhow::Result<Round>;
}

struct Running<C> {
    name: &'static str,
    contender: C,
    mix: Mix,
    quotes: Quotes,
}

fn lane<C: Contender + 'static>(name: &'static str, contender: C, mix: Mix, quotes: Quotes) -> Box<dyn Lane> {
    Box::new(Running { name, contender, mix, quotes })
}

impl<C: Contender> Lane for Running<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn round(&mut self, at: Concurrency, length: Duration) -> anyhow::Result<Round> {
        let tally = measure(&self.contender, at, length, &mut self.mix, &mut self.quotes)?;
        let round = Round::of(&tally);
        eprintln!(
            "{:<28} {:>3} × {:<3} {:>9.0} decisions/s, p50 {:>9.1} µs, p99 {:>9.1} µs",
            self.name, at.connections, at.in_flight, round.decisions_per_second, round.p50_us, round.p99_us
        );
        Ok(round)
    }
}

/// Finds each one's best concurrency, then measures all in turn, round by round.
fn compete(args: &Args, lanes: &mut [Box<dyn Lane>], stop: &AtomicBool) -> anyhow::Result<Vec<Standing>> {
    let round = |lane: &mut Box<dyn Lane>, at, length| {
        ensure!(!stop.load(Ordering::Relaxed), "interrupted; the servers were ended");
        lane.round(at, length)
    };
    let mut standings: Vec<Standing> = lanes.iter().map(|lane| Standing::of(lane.name(), ALONE)).collect();
    let mut most = vec![0.0; lanes.len()];
    // Twice, since a moment in which something else runs should not decide.
    for crowd in CROWDS.into_iter().cycle().take(2 * CROWDS.len()) {
        for (place, lane) in lanes.iter_mut().enumerate() {
            let rate = round(lane, crowd, Duration::from_secs(1))?.decisions_per_second;
            if rate > most[place] {
                (standings[place].best, most[place]) = (crowd, rate);
            }
        }
    }
    let length = Duration::from_secs(args.seconds);
    for number in 1..=args.rounds {
        eprintln!("round {number} of {}", args.rounds);
        for (lane, standing) in lanes.iter_mut().zip(&mut standings) {
            standing.alone.push(round(lane, ALONE, length)?);
        }
        for (lane, standing) in lanes.iter_mut().zip(&mut standings) {
            standing.crowded.push(round(lane, standing.best, length)?);
        }
    }
    Ok(standings)
}
