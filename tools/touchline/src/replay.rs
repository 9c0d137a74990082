//! `touchline replay`: recorded matches and bettors through a real node.

use crate::json::say;
use crate::live::{Appliance, Driver, Plan, Setup, Speed, proof, summary::Summary};
use crate::priors::Priors;
use anyhow::{Context, ensure};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;
use touchline_feeds::Timeline;
use touchline_feeds::wyscout::{Basis, Recorded, decode, timeline};
use touchline_generator::Random;
use touchline_protocol::CompetitionId;

/// Options of `replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the recording.
    #[arg(long, value_enum)]
    feed: Feed,
    /// Folder with the recording (for wyscout: wyscout_matches.csv and wyscout_events.csv, there or in `football`).
    #[arg(long)]
    data: PathBuf,
    /// Matches to play side by side, a sample across competitions.
    #[arg(long, default_value_t = 10)]
    matches: usize,
    /// Seed of sample and bettors.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// 1x, 60x (any number of times) or max: as fast as the node takes it.
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Bets in a second of match time, over all matches together.
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    bets_per_second: f64,
    /// Customers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    customers: u64,
    /// Threads of the node that apply frames.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Where the journal is written, empty or missing; it stays. Without it a folder that is removed at the end.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// What matches without odds start from; without it config/feeds/wyscout.toml as shipped.
    #[arg(long)]
    priors: Option<PathBuf>,
    /// One JSON object at the end instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Feed {
    Wyscout,
}

/// Plays the matches.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Feed::Wyscout = args.feed;
    let recorded = load(&args.data)?;
    let sample = sample(recorded, args.matches, args.seed)?;
    let priors = Priors::load(args.priors.as_deref())?;
    let timelines = timelines(&sample, &priors);
    let bases = bases(&sample);
    if !args.json {
        say!("{} matches; their prices come from {bases:?}", timelines.len());
    }
    let folder = Folder::new(args.journal.as_deref())?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let setup = Setup {
        config: None,
        journal: folder.journal.clone(),
        log: folder.log(),
        shards: args.shards,
        listen,
    };
    let appliance = Appliance::start(setup)?;
    let plan = Plan {
        timelines,
        bets_per_second: args.bets_per_second,
        speed: args.speed,
        seed: args.seed,
        customers: args.customers,
    };
    let begun = Instant::now();
    let mut driver = Driver::open(plan, &appliance).map_err(|error| appliance.explain(error))?;
    play(&mut driver).map_err(|error| appliance.explain(error))?;
    let seconds = begun.elapsed().as_secs_f64();
    driver.drain()?;
    let stopped = appliance.stop()?;
    progress("reading the journal again");
    let proof = proof::prove(&folder.journal, driver.timelines(), &driver.tally)?;
    let mut more = Map::new();
    more.insert(
        "price_basis".into(),
        bases.into_iter().map(|(name, n)| (name.to_owned(), Json::from(n))).collect(),
    );
    more.insert("inconsistent_matches".into(), sample.iter().filter(|r| !r.is_consistent()).count().into());
    more.insert("seconds".into(), json!((seconds * 1000.0).round() / 1000.0));
    if args.journal.is_some() {
        more.insert("journal".into(), folder.journal.display().to_string().into());
    }
    let matches = driver.timelines().len();
    Summary { matches, tally: &driver.tally, proof: &proof, stopped: &stopped, more }.finish(args.json)
}

/// Plays to the end, telling how far it is.
fn play(driver: &mut Driver) -> anyhow::Result<()> {
    let length = driver.length_s();
    let mut told = Instant::now();
    for second in 0..=length {
        driver.second(second)?;
        if told.elapsed().as_secs() >= 2 {
            told = Instant::now();
            let (minute, tickets) = (second / 60, driver.tally.answers.len());
            progress(&format!("minute {minute} of {}: {tickets} tickets decided", length / 60));
        }
    }
    Ok(())
}

/// One line on stderr that the next one replaces, for people only.
pub(crate) fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{line}\r");
    } else {
        eprintln!("{line}");
    }
}

fn load(data: &Path) -> anyhow::Result<Vec<Recorded>> {
    let names = ["wyscout_matches.csv", "wyscout_events.csv"];
    let inside = data.join("football");
    let folder = if inside.join(names[0]).is_file() { inside } else { data.to_owned() };
    let [matches, events] = names.map(|name| folder.join(name));
    let open = |path: &Path| {
        File::open(path).with_context(|| {
            format!("opening {}; --data names the folder with {}", path.display(), names.join(" and "))
        })
    };
    let shown = |path: &Path| path.display().to_string();
    let (first, second) = (open(&matches)?, open(&events)?);
    Ok(decode((&shown(&matches), first), (&shown(&events), second))?)
}

/// A seeded sample: the competitions in turn, their matches in random order.
fn sample(recorded: Vec<Recorded>, count: usize, seed: u64) -> anyhow::Result<Vec<Recorded>> {
    ensure!(count > 0, "--matches 0: at least one match is needed");
    ensure!(count <= recorded.len(), "--matches {count}: the recording holds {}", recorded.len());
    let mut random = Random::new(seed);
    let mut by_competition: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for recorded in recorded {
        by_competition.entry(recorded.competition.clone()).or_default().push(recorded);
    }
    by_competition.values_mut().for_each(|matches| random.shuffle(matches));
    let mut sample = Vec::with_capacity(count);
    loop {
        for matches in by_competition.values_mut() {
            if sample.len() == count {
                return Ok(sample);
            }
            sample.extend(matches.pop());
        }
    }
}

fn timelines(sample: &[Recorded], priors: &Priors) -> Vec<Timeline> {
    let names: std::collections::BTreeSet<&str> = sample.iter().map(|r| r.competition.as_str()).collect();
    let number = |name: &str| CompetitionId(1 + names.iter().take_while(|n| **n < name).count() as u32);
    let play = |r: &Recorded| timeline(r, number(&r.competition), priors.of(&r.competition));
    sample.iter().map(play).collect()
}

fn bases(sample: &[Recorded]) -> BTreeMap<&'static str, u64> {
    let mut bases = BTreeMap::from([("closing", 0), ("earlier", 0), ("average", 0), ("prior", 0)]);
    for recorded in sample {
        let name = match recorded.basis {
            Basis::Closing => "closing",
            Basis::Earlier => "earlier",
            Basis::Average => "average",
            Basis::Prior => "prior",
        };
        *bases.entry(name).or_default() += 1;
    }
    bases
}

/// Where a run's journal lies.
pub(crate) struct Folder {
    /// The journal.
    pub journal: PathBuf,
    /// Removed at the end, where it is the run's own.
    own: Option<PathBuf>,
}

impl Folder {
    /// A named folder, which must be empty or missing, or one of the run's own.
    pub(crate) fn new(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(journal) = named {
            let holds = std::fs::read_dir(journal).is_ok_and(|mut entries| entries.next().is_some());
            ensure!(!holds, "{} is not empty; a run begins with an empty journal", journal.display());
            return Ok(Folder { journal: journal.to_owned(), own: None });
        }
        let unique = Instant::now();
        let own = std::env::temp_dir().join(
            format!("touchline-{}-{unique:?}", std::process::id()).replace([' ', '{', '}', ':', ','], ""),
        );
        std::fs::create_dir_all(&own).with_context(|| format!("creating {}", own.display()))?;
        Ok(Folder { journal: own.join("journal"), own: Some(own) })
    }

    /// The node's admin socket, beside the journal.
    pub(crate) fn admin(&self) -> PathBuf {
        let mut config = touchline_node::Config::standard();
        config.node.journal.clone_from(&self.journal);
        config.node.admin_path()
    }

    /// The node's log, beside the journal.
    pub(crate) fn log(&self) -> PathBuf {
        self.journal.with_extension("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            let _ = std::fs::remove_dir_all(own);
        }
    }
}

/// Parses "60x" or "max".
pub(crate) fn speed(text: &str) -> Result<Speed, String> {
    let times = text.strip_suffix('x').and_then(|times| times.parse().ok());
    match (text, times) {
        ("max", _) => Ok(Speed::Max),
        (_, Some(times)) if (0.01..=100_000.0).contains(&times) => Ok(Speed::Times(times)),
        _ => Err("use 1x, 60x or max".into()),
    }
}

/// Parses a rate of bets.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=100_000.0).contains(rate));
    rate.ok_or_else(|| "must be 0 to 100000".into())
}
