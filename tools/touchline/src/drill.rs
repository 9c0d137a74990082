//! `touchline drill`: failures rehearsed on real processes, with proof that nothing was lost.

use crate::live::{Appliance, Driver, Plan, Setup, Speed, proof, summary::Summary};
use crate::replay::{Folder, progress};
use anyhow::ensure;
use serde_json::{Map, Value as Json, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use touchline_feeds::Timeline;
use touchline_generator::{Random, football, tennis};
use touchline_protocol::FixtureId;

/// What fails.
#[derive(clap::Subcommand)]
pub(crate) enum Drill {
    /// The node is killed (SIGKILL) at random moments under load; clients resubmit what had no answer.
    Kill(Kill),
}

/// Options of `drill kill`.
#[derive(clap::Args)]
pub(crate) struct Kill {
    /// How often.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    times: u64,
    /// Seed of matches, bettors and moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the journal is written, empty or missing; it stays.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// One JSON object at the end instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs a drill.
pub(crate) fn run(Drill::Kill(args): &Drill) -> anyhow::Result<()> {
    let mut random = Random::new(args.seed);
    let timelines: Vec<Timeline> = (0..4).map(|n| one_match(&mut random, n)).collect();
    let folder = Folder::new(args.journal.as_deref())?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let setup = Setup { config: None, journal: folder.journal.clone(), log: folder.log(), shards: 1, listen };
    let mut appliance = Appliance::start(setup)?;
    let plan = Plan { timelines, bets_per_second: 1.0, speed: Speed::Max, seed: args.seed, customers: 200 };
    let mut driver = Driver::open(plan, &appliance).map_err(|error| appliance.explain(error))?;
    // Kills are spread over nine tenths of the matches; the rest shows that the node still works.
    let length = driver.length_s();
    let pause = (length * 9 / 10 / args.times.max(1)).max(1);
    let mut kills = Kills::default();
    for second in 0..=length {
        driver.second(second).map_err(|error| appliance.explain(error))?;
        if second % pause == pause - 1 && kills.count < args.times {
            kills.one(&mut driver, &mut appliance, &mut random)?;
            progress(&format!("killed {} of {} times", kills.count, args.times));
        }
    }
    driver.ask_again(1000);
    driver.drain()?;
    let stopped = appliance.stop()?;
    let proof = proof::prove(&folder.journal, driver.timelines(), &driver.tally)?;
    let matches = driver.timelines().len();
    let more = kills.facts();
    Summary { matches, tally: &driver.tally, proof: &proof, stopped: &stopped, more }.finish(args.json)?;
    ensure!(kills.count == args.times, "only {} kills fitted into the matches", kills.count);
    Ok(())
}

fn one_match(random: &mut Random, n: u64) -> Timeline {
    let fixture = FixtureId(100 + n);
    if n % 4 == 3 { tennis::timeline(random, fixture) } else { football::timeline(random, fixture) }
}

#[derive(Default)]
struct Kills {
    count: u64,
    client_restarts: u64,
    in_flight: usize,
    with_work: u64,
    slowest: Duration,
}

impl Kills {
    /// Kills the node a random time after a burst of tickets and starts it again with another number of shards.
    fn one(
        &mut self,
        driver: &mut Driver,
        appliance: &mut Appliance,
        random: &mut Random,
    ) -> anyhow::Result<()> {
        driver.burst(1 + random.below(60) as usize)?;
        // The moment is random on purpose; nothing is expected to have happened by then.
        std::thread::sleep(Duration::from_micros(random.below(4000)));
        let in_flight = driver.in_flight();
        appliance.kill()?;
        appliance.restart([1, 2, 4][random.below(3) as usize])?;
        self.count += 1;
        self.in_flight += in_flight;
        self.with_work += u64::from(in_flight > 0);
        self.slowest = self.slowest.max(appliance.took);
        if random.chance(0.5) {
            self.client_restarts += 1;
            driver.restart_intake(appliance)?;
        }
        driver.renew()?;
        driver.ask_again(20);
        Ok(())
    }

    fn facts(&self) -> Map<String, Json> {
        let slowest_ms = (self.slowest.as_secs_f64() * 1e4).round() / 10.0;
        let facts = json!({
            "kills": self.count,
            "kills_with_tickets_in_flight": self.with_work,
            "tickets_in_flight_at_kills": self.in_flight,
            "client_restarts": self.client_restarts,
            "slowest_start_ms": slowest_ms,
        });
        facts.as_object().cloned().unwrap_or_default()
    }
}
