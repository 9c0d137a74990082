//! `touchline demo`: generated matches and bettors, a node that is killed half-way, and a view of it all.

mod view;

use crate::live::{Appliance, Driver, Plan, Setup, Speed, proof, summary::Summary};
use crate::replay::Folder;
use serde_json::{Map, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use touchline_feeds::Timeline;
use touchline_generator::{Random, football, tennis};
use touchline_protocol::FixtureId;

/// Options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds that the matches take.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    duration: u64,
    /// Seed of matches and bettors.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Matches side by side; two of five are tennis.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=500))]
    matches: u64,
    /// Bets in a second.
    #[arg(long, default_value_t = 300.0, value_parser = crate::replay::rate)]
    bets_per_second: f64,
    /// Threads of the node that apply frames.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Do not kill the node half-way.
    #[arg(long)]
    no_crash: bool,
    /// One JSON object at the end instead of the view.
    #[arg(long)]
    json: bool,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let timelines = timelines(args.seed, args.matches);
    let folder = Folder::new(None)?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let admin = folder.admin();
    let setup = Setup {
        config: None,
        journal: folder.journal.clone(),
        log: folder.log(),
        shards: args.shards,
        listen,
    };
    let mut appliance = Appliance::start(setup)?;
    let length = timelines.iter().map(Timeline::end_ms).max().unwrap_or(0) as f64 / 1000.0 + 60.0;
    let times = length / args.duration as f64;
    let plan = Plan {
        timelines,
        bets_per_second: args.bets_per_second / times,
        speed: Speed::Times(times),
        seed: args.seed,
        customers: 1000,
    };
    let mut driver = Driver::open(plan, &appliance).map_err(|error| appliance.explain(error))?;
    let mut view = view::View::new(args.json, times, admin);
    view.show(&driver, 0);
    let mut crash = None;
    for second in 0..=driver.length_s() {
        driver.second(second).map_err(|error| appliance.explain(error))?;
        if crash.is_none() && !args.no_crash && second as f64 > length / 2.0 {
            crash = Some(kill_and_restart(&mut driver, &mut appliance, args.shards)?);
            view.note(crash.iter().map(Crash::told));
        }
        view.show(&driver, second);
    }
    driver.drain()?;
    view.end();
    let stopped = appliance.stop()?;
    let proof = proof::prove(&folder.journal, driver.timelines(), &driver.tally)?;
    let mut more = Map::new();
    if let Some(crash) = crash {
        more.insert("crash".into(), json!(crash.told()));
    }
    let matches = driver.timelines().len();
    Summary { matches, tally: &driver.tally, proof: &proof, stopped: &stopped, more }.finish(args.json)
}

fn timelines(seed: u64, matches: u64) -> Vec<Timeline> {
    let mut random = Random::new(seed);
    let one = |n: u64| {
        let mut random = random.fork();
        let fixture = FixtureId(1000 + n);
        if n % 5 < 3 {
            football::timeline(&mut random, fixture)
        } else {
            tennis::timeline(&mut random, fixture)
        }
    };
    (0..matches).map(one).collect()
}

/// A crash and what became of it.
struct Crash {
    in_flight: usize,
    frames: u64,
    took: Duration,
}

impl Crash {
    fn told(&self) -> String {
        format!(
            "killed (SIGKILL) with {} tickets in flight; serving again after {:.0} ms with {} frames replayed",
            self.in_flight,
            self.took.as_secs_f64() * 1000.0,
            self.frames
        )
    }
}

fn kill_and_restart(driver: &mut Driver, appliance: &mut Appliance, shards: u16) -> anyhow::Result<Crash> {
    driver.burst(50)?;
    let in_flight = driver.in_flight();
    let begun = Instant::now();
    appliance.kill()?;
    appliance.restart(shards)?;
    let took = begun.elapsed();
    driver.renew()?;
    driver.ask_again(100);
    Ok(Crash { in_flight, frames: appliance.frames_replayed, took })
}
