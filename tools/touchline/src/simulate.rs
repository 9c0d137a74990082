//! `touchline simulate`: seeds of the whole node with crashes, torn writes and broken connections.

use crate::json::{print_line, say};
use crate::replay::progress;
use anyhow::{anyhow, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value as Json};
use std::io::stdout;
use std::ops::Range;
use std::time::Instant;
use touchline_simulator::{Durability, Failure, Fault, Mutation, Options, Outcome, lockstep};

/// Options of `simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One seed, with its history where it fails.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from A up to, not including, B: 0..1000.
    #[arg(long, value_parser = range, default_value = "0..100")]
    seeds: Range<u64>,
    /// Crashes of a seed at most.
    #[arg(long, default_value_t = 40)]
    crashes: u64,
    /// Steps with faults.
    #[arg(long, default_value_t = 6000)]
    steps: u64,
    /// Primary, standby and witness instead of one node that stands alone.
    #[arg(long)]
    cluster: bool,
    /// What may go wrong, as a list.
    #[arg(long, value_delimiter = ',', value_parser = fault(), default_values = Fault::ALL.map(|(name, _)| name))]
    faults: Vec<Fault>,
    /// Only these faults of a seed's run, by their numbers, as a failure that was shrunk names them.
    #[arg(long, value_delimiter = ',', requires = "seed")]
    only: Vec<u64>,
    /// Break a rule on purpose; the command then ends with the first seed in which a judge notices, and succeeds.
    #[arg(long, value_parser = mutation())]
    mutate: Option<Broken>,
    /// When the cluster's acknowledgements count: durable, hybrid or memory.
    #[arg(long, value_parser = durability(), default_value = "durable")]
    durability: Durability,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs seeds.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let options = Options {
        steps: args.steps,
        crashes: args.crashes,
        faults: args.faults.iter().copied().collect(),
        only: (!args.only.is_empty()).then(|| args.only.iter().copied().collect()),
        cluster: args.cluster,
        durability: args.durability,
        mutation: args.mutate.and_then(Broken::of_node),
        lockstep: args.mutate.and_then(Broken::of_protocol),
    };
    let seeds = args.seed.map_or(args.seeds.clone(), |seed| seed..seed.saturating_add(1));
    let mut count = 0;
    let mut all = Outcome::default();
    let mut failures = Vec::new();
    let mut told = Instant::now();
    for seed in seeds.clone() {
        count += 1;
        match touchline_simulator::run(seed, &options) {
            Ok(outcome) => all.add(&outcome),
            Err(failure) => {
                if failures.is_empty() && args.mutate.is_none() {
                    eprintln!("{}", smallest(failure, &options, args));
                } else {
                    eprintln!("seed {seed}: {}", failure.why);
                }
                failures.push(seed);
                if args.mutate.is_some() {
                    break;
                }
            }
        }
        if told.elapsed().as_secs() >= 2 {
            told = Instant::now();
            progress(&format!("seed {seed} of {}..{}, {} failed", seeds.start, seeds.end, failures.len()));
        }
    }
    report(args, count, &all, &failures)?;
    match (args.mutate, failures.as_slice()) {
        (None, []) | (Some(_), [_, ..]) => Ok(()),
        (None, [first, ..]) => {
            Err(anyhow!("{} of {count} seeds failed, the first is {first}", failures.len()))
        }
        (Some(mutation), []) => bail!("no judge noticed {mutation:?} in {count} seeds"),
    }
}

/// The failure with the fewest faults that still leads to one, with its history and how to see it again.
fn smallest(failure: Box<Failure>, options: &Options, args: &Args) -> String {
    let (of, mut told) = (failure.faults.len(), Instant::now());
    let (failure, faults) = touchline_simulator::shrink(failure, options, &mut |left, runs| {
        if told.elapsed().as_secs() >= 2 {
            told = Instant::now();
            progress(&format!("shrinking: {left} of {of} faults left after {runs} runs"));
        }
    });
    let mut only: Vec<String> = faults.iter().map(u64::to_string).collect();
    if only.is_empty() {
        // No fault has number 0: none is needed.
        only.push("0".into());
    }
    let cluster = if args.cluster { " --cluster" } else { "" };
    format!(
        "{failure}\n{} of {of} faults are enough; see this again with: touchline simulate{cluster} --seed {} --steps {} --crashes {} --durability {} --only {}",
        faults.len(),
        failure.seed,
        args.steps,
        args.crashes,
        durability_name(args.durability),
        only.join(","),
    )
}

fn report(args: &Args, seeds: u64, all: &Outcome, failures: &[u64]) -> anyhow::Result<()> {
    if args.json {
        let mut object = Map::from_iter([
            ("seeds".to_owned(), Json::from(seeds)),
            ("failures".to_owned(), Json::from(failures.len())),
            ("failed_seeds".to_owned(), Json::from(failures)),
        ]);
        object.extend(all.counts().map(|(name, count)| (name.to_owned(), Json::from(count))));
        return print_line(&mut stdout(), &object.into());
    }
    say!("{seeds} seeds, {} failed", failures.len());
    for (name, count) in all.counts() {
        say!("{count:>12} {}", name.replace('_', " "));
    }
    Ok(())
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.filter(|range| range.start < range.end).ok_or_else(|| "use A..B with A below B, as 0..1000".into())
}

/// A rule to break: of the node, or of the protocol between nodes.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Node(Mutation),
    Protocol(lockstep::Mutation),
}

impl Broken {
    fn of_node(self) -> Option<Mutation> {
        if let Broken::Node(mutation) = self { Some(mutation) } else { None }
    }

    fn of_protocol(self) -> Option<lockstep::Mutation> {
        if let Broken::Protocol(mutation) = self { Some(mutation) } else { None }
    }

    fn all() -> impl Iterator<Item = (&'static str, Broken)> {
        let node = Mutation::ALL.into_iter().map(|(name, mutation)| (name, Broken::Node(mutation)));
        node.chain(lockstep::Mutation::ALL.into_iter().map(|(name, m)| (name, Broken::Protocol(m))))
    }
}

fn mutation() -> impl TypedValueParser<Value = Broken> {
    PossibleValuesParser::new(Broken::all().map(|(name, _)| name)).map(|text| {
        let found = Broken::all().find(|(name, _)| *name == text);
        found.map(|(_, broken)| broken).expect("the parser lets only these names pass")
    })
}

fn fault() -> impl TypedValueParser<Value = Fault> {
    PossibleValuesParser::new(Fault::ALL.map(|(name, _)| name)).map(|text| {
        let found = Fault::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, fault)| fault).expect("the parser lets only these names pass")
    })
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "durable",
        Durability::Hybrid => "hybrid",
        Durability::Memory => "memory",
    }
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    PossibleValuesParser::new(["durable", "hybrid", "memory"]).map(|text| match text.as_str() {
        "hybrid" => Durability::Hybrid,
        "memory" => Durability::Memory,
        _ => Durability::Durable,
    })
}
