//! `touchline bench wire`: decisions over real sockets and a real journal.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::inspect::visit;
use crate::load::Load;
use crate::replay::Folder;
use anyhow::ensure;
use serde_json::json;
use std::path::Path;
use touchline_load::Machine;
use touchline_protocol::Kind;

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

/// Runs it.
pub(super) fn run(args: &Wire) -> anyhow::Result<()> {
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

/// Frames of a journal, and how many of them are tickets.
fn count(journal: &Path) -> anyhow::Result<(u64, u64)> {
    let mut tickets = 0;
    let found = visit(journal, &mut |frame| {
        tickets += u64::from(frame.kind() == Kind::SubmitTicket as u16);
        Ok(())
    })?;
    Ok((found.frames, tickets))
}
