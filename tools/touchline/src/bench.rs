//! `touchline bench`: figures of what the node is made of, and of a node of its own under a load.

mod kernels;
mod node;
mod overload;
mod probe;
mod recovery;
mod shm;
mod snapshot;
mod soak;
mod trend;
mod wire;

use crate::json::{print_line, say};
use serde_json::Value as Json;
use std::io::stdout;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Decisions over real sockets and a real journal, from the scheduled time of a ticket to its answer.
    Wire(wire::Wire),
    /// A client through shared memory and one through TCP in turns, on the same node, one ticket at a time.
    Shm(shm::Shm),
    /// Three times the tickets that a node can decide: what becomes of the rest, and of suspensions.
    Overload(overload::Overload),
    /// Minutes of load with matches that open, end and leave: whether memory, descriptors and queues stay flat.
    Soak(soak::Soak),
    /// The start of a node on a journal of many frames.
    Recovery(recovery::Recovery),
    /// A snapshot of many bets: saved, written, read back, exported and imported.
    Snapshot(snapshot::Snapshot),
    /// The log ring between threads.
    Ring(kernels::Ring),
    /// Durable groups: direct and buffered writes and the bare disk, in turns.
    Journal(kernels::Journal),
}

/// Runs a measurement.
pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Wire(args) => wire::run(args),
        Bench::Shm(args) => shm::run(args),
        Bench::Overload(args) => overload::run(args),
        Bench::Soak(args) => soak::run(args),
        Bench::Recovery(args) => recovery::run(args),
        Bench::Snapshot(args) => snapshot::run(args),
        Bench::Ring(args) => kernels::ring(args),
        Bench::Journal(args) => kernels::journal(args),
    }
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
