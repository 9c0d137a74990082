//! `touchline bench ring` and `journal`: parts of a node by themselves.

use super::{extend, tell};
use crate::load::seconds;
use anyhow::Context;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;
use touchline_benches::{journal as durable, ring as log};
use touchline_load::Machine;

/// Options of `ring`.
#[derive(clap::Args)]
pub(crate) struct Ring {
    /// Readers at most; every number up to it is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    readers: u16,
    /// Milliseconds of each measurement; there are two for each number of readers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    millis: u64,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Options of `journal`.
#[derive(clap::Args)]
pub(crate) struct Journal {
    /// Seconds in all.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Folder on the disk that is measured; the system's for temporary files where nothing is said.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Measures the log ring.
pub(super) fn ring(args: &Ring) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let span = Duration::from_millis(args.millis);
    let loads = (1..=args.readers).map(|readers| log::Load { span, ..log::Load::usual(readers.into()) });
    let runs: Vec<log::Figures> = loads.map(log::run).collect();
    let mut figures = json!({ "runs": runs });
    extend(&mut figures, machine.facts());
    tell("the log ring, one writer, by the number of readers", &figures, args.json)
}

/// Measures durable groups.
pub(super) fn journal(args: &Journal) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let measured = durable::run(args.seconds, &folder)?;
    let mut figures = serde_json::to_value(measured).context("telling the figures")?;
    extend(&mut figures, machine.facts());
    tell("groups made durable, one in flight", &figures, args.json)
}
