//! `touchline bench snapshot`: the state of many bets, filled through a node, saved and read back in every form.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::inspect::visit;
use crate::load::Load;
use crate::replay::Folder;
use anyhow::{anyhow, ensure};
use serde_json::json;
use std::time::Instant;
use touchline_core::Engine;
use touchline_core::snapshot::{self, Export, STEPS};
use touchline_load::Machine;
use touchline_protocol::{Body, Code};

/// Options of `snapshot`.
#[derive(clap::Args)]
pub(crate) struct Snapshot {
    /// Accepted bets in the state, at least.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    bets: u64,
    #[command(flatten)]
    node: NodeOptions,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Snapshot) -> anyhow::Result<()> {
    let folder = Folder::new(None)?;
    let bets = fill(args, &folder)?;
    let machine = Machine::watch();
    let mut engine = replayed(&folder)?;
    let (snapshot, save_s) =
        timed(|| snapshot::Snapshot::of(&mut engine).map_err(|odd| anyhow!("{odd} entities are odd")))?;
    let fingerprint = snapshot.fingerprint();
    let (bytes, write_s) = timed(|| Ok(snapshot.to_bytes()))?;
    drop((engine, snapshot));
    let (snapshot, read_s) = timed(|| Ok(snapshot::Snapshot::read(&bytes)?))?;
    let (engine, load_s) = timed(|| Ok(snapshot.engine(args.node.shards.into())?))?;
    drop(engine);
    let (exported, export_s) = timed(|| Ok(Export::of(snapshot)?.to_bytes()))?;
    let (imported, import_s) = timed(|| Ok(Export::read(&exported)?.import(STEPS)?))?;
    ensure!(imported.snapshot.fingerprint() == fingerprint, "what was imported is another state");
    let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let mut figures = json!({
        "bets": bets,
        "bytes": bytes.len(),
        "export_bytes": exported.len(),
        "save_seconds": rounded(save_s),
        "to_bytes_seconds": rounded(write_s),
        "read_seconds": rounded(read_s),
        "load_seconds": rounded(load_s),
        "export_seconds": rounded(export_s),
        "import_seconds": rounded(import_s),
        "shards": args.node.shards,
    });
    extend(&mut figures, machine.facts());
    tell("a state saved and hashed, and read back and hashed", &figures, args.json)
}

/// Has a node accept bets; how many.
fn fill(args: &Snapshot, folder: &Folder) -> anyhow::Result<u64> {
    let appliance = start(folder, &args.node, 8)?;
    let mut bets = 0;
    for seed in 1.. {
        let filling = Load { seed, ..Load::filling() };
        let outcome = filling.put_on(appliance.address).map_err(|error| appliance.explain(error))?;
        outcome.check()?;
        bets += outcome.tally.decisions.get(&Code::Accepted).copied().unwrap_or_default();
        if bets >= args.bets {
            break;
        }
    }
    appliance.stop()?;
    Ok(bets)
}

/// The state that the journal leads to.
fn replayed(folder: &Folder) -> anyhow::Result<Engine> {
    let mut engine: Option<Engine> = None;
    let mut effects = Vec::new();
    visit(&folder.journal, &mut |frame| {
        let body = frame.body().map_err(|error| error.to_string())?;
        if let (None, Body::Genesis(m)) = (&engine, &body) {
            engine = Some(Engine::new(frame.envelope().cluster, m.partitions, 1));
        }
        engine.as_mut().ok_or("the first frame is no genesis")?.replay(&frame, &body, &mut effects);
        effects.clear();
        Ok(())
    })?;
    engine.ok_or_else(|| anyhow!("the journal holds no frames"))
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let begun = Instant::now();
    let done = work()?;
    Ok((done, begun.elapsed().as_secs_f64()))
}
