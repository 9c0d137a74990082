//! `touchline bench recovery`: how long a node takes to start on a journal of many frames.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::load::Load;
use crate::replay::Folder;
use anyhow::Context;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use touchline_client::{Client, Event};
use touchline_load::Machine;
use touchline_protocol::Role;

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

/// Runs it.
pub(super) fn run(args: &Recovery) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    // A snapshot would stand for most of the frames.
    let node = args.node.with("snapshot_every_frames", "0");
    let mut appliance = start(&folder, &node, 8)?;
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
