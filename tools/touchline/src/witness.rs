//! `touchline witness`: the third party until a signal, with a line when it is ready and one for each configuration.

use crate::json::{print_line, say};
use crate::node::{boot, log_to_stderr, stop_flag};
use serde_json::{Value, json};
use std::io::stdout;
use std::path::PathBuf;
use touchline_lockstep::{NodeId, Register};
use touchline_node::Config;
use touchline_node::witness::WitnessProcess;

/// Options of `witness`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Configuration file with a section [replication].
    #[arg(long)]
    config: PathBuf,
    /// Begin the cluster, once, with this node as its first primary: 0 or 1. Both nodes must be stopped.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=1))]
    begin: Option<u8>,
    /// Stop when stdin ends, so that a witness never outlives whoever started it.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Lines for programs.
    #[arg(long)]
    json: bool,
}

/// Runs a witness.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    log_to_stderr();
    let config = Config::load(&args.config)?;
    let stop = stop_flag(args.stop_with_stdin)?;
    let mut witness = WitnessProcess::start(&config, boot()?, args.begin.map(NodeId))?;
    tell(args.json, "ready", witness.register())?;
    let mut printed = Ok(());
    witness.serve(&stop, &mut |register| {
        if printed.is_ok() {
            printed = tell(args.json, "configuration", register);
        }
    })?;
    printed?;
    tell(args.json, "stopped", witness.register())
}

fn tell(as_json: bool, event: &str, register: Option<&Register>) -> anyhow::Result<()> {
    if as_json {
        return print_line(&mut stdout(), &json!({ "event": event, "register": register.map(facts) }));
    }
    match register {
        None => say!(
            "{event}: blank; it refuses everything until both nodes give its register back or an operator says --begin"
        ),
        Some(register) => say!("{event}: {}", words(register)),
    }
    Ok(())
}

/// A configuration for programs.
fn facts(register: &Register) -> Value {
    json!({
        "epoch": register.epoch.0,
        "primary": register.primary.0,
        "mode": mode(register),
        "forced": register.forced.times,
    })
}

/// A configuration for people.
fn words(register: &Register) -> String {
    format!("epoch {}, {} leads, {}", register.epoch, register.primary, mode(register))
}

fn mode(register: &Register) -> &'static str {
    if register.is_dual() { "DUAL" } else { "SOLO" }
}
