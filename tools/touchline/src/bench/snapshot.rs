//! `touchline bench snapshot`: the state of many bets, filled through a node, saved and read back in every form.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::load::Load;
use crate::replay::Folder;
use anyhow::{Context, anyhow, ensure};
use serde_json::json;
use std::time::Instant;
use touchline_core::snapshot::{Export, STEPS, Snapshot as State};
use touchline_journal::{FileStorage, Storage};
use touchline_load::Machine;
use touchline_node::recovery::newest_snapshot;
use touchline_protocol::Code;

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
    let mut storage = FileStorage::open_read_only(&folder.journal)?;
    let kept = newest_snapshot(&storage, args.node.shards.into())?;
    let (_, mut engine) = kept.context("the node kept no snapshot at its stop")?;
    let (state, save_s) = timed(|| State::of(&mut engine).map_err(|odd| anyhow!("{odd} entities are odd")))?;
    let (fingerprint, seq) = (state.fingerprint(), state.place().seq);
    let (bytes, encode_s) = timed(|| Ok(state.to_bytes()))?;
    let ((), write_s) = timed(|| Ok(storage.write_snapshot(seq.0, &bytes)?))?;
    drop((engine, state));
    let (state, read_s) = timed(|| Ok(State::read(&bytes)?))?;
    let (engine, load_s) = timed(|| Ok(state.engine(args.node.shards.into())?))?;
    drop(engine);
    let (exported, export_s) = timed(|| Ok(Export::of(state)?.to_bytes()))?;
    let (imported, import_s) = timed(|| Ok(Export::read(&exported)?.import(STEPS)?))?;
    ensure!(imported.snapshot.fingerprint() == fingerprint, "what was imported is another state");
    let rounded = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let mut figures = json!({
        "bets": bets,
        "bytes": bytes.len(),
        "seconds": rounded(save_s + encode_s + write_s),
        "save_seconds": rounded(save_s),
        "encode_seconds": rounded(encode_s),
        "write_seconds": rounded(write_s),
        "read_seconds": rounded(read_s),
        "load_seconds": rounded(load_s),
        "export_bytes": exported.len(),
        "export_seconds": rounded(export_s),
        "import_seconds": rounded(import_s),
    });
    extend(&mut figures, machine.facts());
    tell(
        "a state hashed, encoded and written durably; read and hashed again; exported and imported",
        &figures,
        args.json,
    )
}

/// Has a node accept bets; how many.
fn fill(args: &Snapshot, folder: &Folder) -> anyhow::Result<u64> {
    let appliance = start(folder, &args.node, 8)?;
    let mut bets = 0;
    let mut seed = 0;
    while bets < args.bets {
        seed += 1;
        let filling = Load { seed, ..Load::filling() };
        let outcome = filling.put_on(appliance.address).map_err(|error| appliance.explain(error))?;
        outcome.check()?;
        bets += outcome.tally.decisions.get(&Code::Accepted).copied().unwrap_or_default();
    }
    appliance.stop()?;
    Ok(bets)
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let begun = Instant::now();
    let done = work()?;
    Ok((done, begun.elapsed().as_secs_f64()))
}
