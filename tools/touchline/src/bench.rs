//! `touchline bench`: a node as a child process on a journal of its own, a load on it, and the figures of the run.

mod snapshot;

use crate::inspect::visit;
use crate::json::{print_line, say};
use crate::live::{Appliance, Setup};
use crate::load::Load;
use crate::replay::Folder;
use anyhow::{Context, ensure};
use serde_json::{Value as Json, json};
use std::io::stdout;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use touchline_client::{Client, Event};
use touchline_load::Machine;
use touchline_protocol::{Kind, Role};

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Decisions over real sockets and a real journal, from the scheduled time of a ticket to its answer.
    Wire(Wire),
    /// The start of a node on a journal of many frames.
    Recovery(Recovery),
    /// A snapshot of many bets: saved, written, read back, exported and imported.
    Snapshot(snapshot::Args),
}

/// Options of `wire`.
#[derive(clap::Args)]
pub(crate) struct Wire {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    node: NodeOptions,
    /// When an answer leaves: with `durable` after its frames are on the disk.
    #[arg(long, default_value = "durable", value_parser = ["durable"])]
    policy: String,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Options of `recovery`.
#[derive(clap::Args)]
pub(crate) struct Recovery {
    /// Frames in the journal, at least.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    frames: u64,
    #[command(flatten)]
    node: NodeOptions,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The node that is measured.
#[derive(clap::Args)]
pub(crate) struct NodeOptions {
    /// A line for `[node]` of its configuration, e.g. `--node segment_mib=256`; may be repeated.
    #[arg(long = "node", value_name = "KEY=VALUE")]
    lines: Vec<String>,
    /// Threads that apply frames.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
}

/// Limits that such a load does not reach: what is measured is a decision, not its refusal.
const RULES: &str = r#"
[cluster.rules]
max_stake = "1000000"
max_payout = "100000000"
max_odds = "10000"
customer_limit = "10000000000"
pre_match = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
live = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
"#;

/// Runs a measurement.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Wire(args) => wire(args),
        Bench::Recovery(args) => recovery(args),
        Bench::Snapshot(args) => snapshot::run(args),
    }
}

fn wire(args: &Wire) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    let appliance = start(&folder, &args.node, args.load.connections + args.load.subscribers)?;
    let outcome = args.load.put_on(appliance.address).map_err(|error| appliance.explain(error))?;
    appliance.stop()?;
    let (frames, tickets) = count(&folder.journal)?;
    let mut figures = args.load.json(&outcome);
    let about = json!({
        "policy": args.policy,
        "shards": args.node.shards,
        "node": args.node.lines,
        "journal_frames": frames,
        "journal_tickets": tickets,
    });
    extend(&mut figures, about);
    extend(&mut figures, machine.facts());
    tell(&args.load.title(), &figures, args.json)?;
    outcome.check()?;
    // Each ticket that was decided was new once, and only what was logged can be decided.
    let fresh = outcome.tally.decided() - outcome.tally.again.min(outcome.tally.decided());
    ensure!(tickets >= fresh, "{fresh} tickets were decided and only {tickets} are in the journal");
    Ok(())
}

fn recovery(args: &Recovery) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    let mut appliance = start(&folder, &args.node, 8)?;
    let mut seed = 0;
    while committed(appliance.address)? < args.frames {
        seed += 1;
        let filling = Load { seed, ..Load::filling() };
        let outcome = filling.put_on(appliance.address).map_err(|error| appliance.explain(error))?;
        outcome.check()?;
    }
    appliance.kill()?;
    appliance.restart(args.node.shards)?;
    let (frames, seconds) = (appliance.frames_replayed, appliance.took.as_secs_f64());
    appliance.stop()?;
    let mut figures = json!({
        "frames": frames,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "frames_per_second": (frames as f64 / seconds).round(),
        "shards": args.node.shards,
    });
    extend(&mut figures, machine.facts());
    tell("from the start of the process to its readiness, after SIGKILL", &figures, args.json)
}

/// Starts a node on an empty journal with room for so many connections and those that open what is bet on.
fn start(folder: &Folder, node: &NodeOptions, connections: u32) -> anyhow::Result<Appliance> {
    let config = folder.journal.with_extension("toml");
    let mut text = format!("{RULES}\n[node]\n");
    if !node.lines.iter().any(|line| line.starts_with("connections_max")) {
        text += &format!("connections_max = {}\n", u64::from(connections) + 16);
    }
    node.lines.iter().for_each(|line| text += &format!("{line}\n"));
    std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    Appliance::start(Setup {
        config: Some(config),
        journal: folder.journal.clone(),
        log: folder.log(),
        shards: node.shards,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    })
}

/// Frames of a journal, and how many of them are tickets.
fn count(journal: &Path) -> anyhow::Result<(u64, u64)> {
    let mut tickets = 0;
    let found = visit(journal, &mut |frame| {
        tickets += u64::from(frame.kind() == Kind::SubmitTicket as u16);
        Ok(())
    })?;
    Ok((found.frames, tickets))
}

/// The last committed sequence of a node, as it greets.
fn committed(address: SocketAddr) -> anyhow::Result<u64> {
    let patience = Duration::from_secs(30);
    let mut client = Client::connect(address, Role::Observer, "bench", patience)?;
    let told = client.poll(patience)?;
    let greeting = told.iter().find_map(|event| match event {
        Event::Welcome(welcome) => Some(welcome.committed.0),
        _ => None,
    });
    greeting.context("the node did not greet back")
}

fn extend(object: &mut Json, more: Json) {
    if let (Json::Object(object), Json::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn tell(title: &str, figures: &Json, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_line(&mut stdout(), figures);
    }
    say!("{title}");
    for (name, value) in figures.as_object().into_iter().flatten() {
        say!("{:<24} {value}", name.replace('_', " "));
    }
    Ok(())
}
