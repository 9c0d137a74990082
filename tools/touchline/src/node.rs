//! `touchline node`: a node until a signal, with one line when it is ready and one when it has stopped; SIGUSR1 makes
//! it re-hash its whole state and say what it is.

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, bail};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use std::io::{IsTerminal, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use touchline_node::{Again, Attested, Config, Node};
use tracing_subscriber::EnvFilter;

/// Options of `node`; those given override the file's.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Configuration file; without one the defaults of `config/appliance.toml` hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the journal.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Threads that apply frames.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// Start although the clock is far ahead of the journal: it is right, and the node was down that long.
    #[arg(long)]
    trust_clock: bool,
    /// Stop cleanly when stdin ends, so that a node never outlives whoever started it.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Lines for programs: one when ready, one when stopped.
    #[arg(long)]
    json: bool,
}

/// How long it waits for something to fail before it looks whether anything else is wanted.
const PATIENCE: Duration = Duration::from_millis(20);

/// Runs a node.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    log_to_stderr();
    let config = config(args)?;
    let stop = stop_flag(args.stop_with_stdin)?;
    let attest = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGUSR1, Arc::clone(&attest)).context("installing a signal handler")?;
    while let Some(again) = serve(args, &config, &stop, &attest)? {
        tell_again(args, &again)?;
    }
    Ok(())
}

/// Runs a node for one boot: until it is to stop, or, with the reason, until another boot has to follow.
fn serve(
    args: &Args,
    config: &Config,
    stop: &AtomicBool,
    attest: &AtomicBool,
) -> anyhow::Result<Option<Again>> {
    let node = Node::start(config, boot()?)?;
    tell_ready(args, config, &node)?;
    while !stop.load(Ordering::Relaxed) {
        if let Some(why) = node.failed(PATIENCE) {
            bail!("{why}");
        }
        if let Some(again) = node.again() {
            node.end(config, &again)?;
            return Ok(Some(again));
        }
        if attest.swap(false, Ordering::Relaxed) {
            let attested = node.attest().map_err(|why| anyhow!("attesting: {why}"))?;
            tell_state(args, "attested", &attested)?;
        }
    }
    let report = if config.replication.is_some() { node.leave() } else { node.stop().map(Some) };
    match report.map_err(|why| anyhow!("stopping: {why}"))? {
        Some(report) => tell_state(args, "stopped", &report.attested)?,
        None if args.json => print_line(&mut stdout(), &json!({ "event": "stopped" }))?,
        None => say!("stopped; the other node leads"),
    }
    Ok(None)
}

/// Why another boot follows.
fn tell_again(args: &Args, again: &Again) -> anyhow::Result<()> {
    let why = match again {
        Again::Cut(to) => format!("its log is cut behind frame {}, which the cluster never had", to.seq),
        Again::Install(at, _) => format!("it takes the state of its peer after frame {}", at.seq),
        Again::Left(why) => format!("it left the set: {why:?}"),
    };
    if args.json {
        return print_line(&mut stdout(), &json!({ "event": "again", "why": why }));
    }
    say!("starts again: {why}");
    Ok(())
}

/// The state at a quiet moment, as it is also logged.
fn tell_state(args: &Args, event: &str, report: &Attested) -> anyhow::Result<()> {
    if args.json {
        let state = json!({
            "event": event,
            "seq": report.seq.0,
            "fingerprint": format!("{:032x}", report.fingerprint),
            "profit_minor": report.profit_minor,
        });
        return print_line(&mut stdout(), &state);
    }
    say!(
        "{event} at frame {}: fingerprint {:032x}, profit {} minor units",
        report.seq,
        report.fingerprint,
        report.profit_minor
    );
    Ok(())
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::standard(),
    };
    let node = &mut config.node;
    node.journal = args.journal.clone().unwrap_or_else(|| node.journal.clone());
    node.listen = args.listen.unwrap_or(node.listen);
    node.shards = args.shards.map_or(node.shards, usize::from);
    node.trust_clock = args.trust_clock;
    Ok(config)
}

/// Set by SIGTERM and SIGINT, and, where asked for, when stdin ends.
pub(crate) fn stop_flag(with_stdin: bool) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("installing a signal handler")?;
    }
    if with_stdin {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.store(true, Ordering::Relaxed);
        });
    }
    Ok(stop)
}

/// A number that differs from start to start: time and process.
pub(crate) fn boot() -> anyhow::Result<u128> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the system's clock is before 1970")?;
    Ok(since.as_nanos() << 32 | u128::from(std::process::id()))
}

fn tell_ready(args: &Args, config: &Config, node: &Node) -> anyhow::Result<()> {
    let recovery = node.recovery();
    let cut = recovery.cut.as_ref().map(ToString::to_string);
    if args.json {
        let ready = json!({
            "event": "ready",
            "address": node.address(),
            "tls_address": node.tls_address(),
            "epoch": node.epoch().0,
            "frames": recovery.frames,
            "cut": cut,
            "passed_over": recovery.passed_over,
            "differences": recovery.differences,
        });
        return print_line(&mut stdout(), &ready);
    }
    say!(
        "listening on {}, journal {}, epoch {}, {} frames replayed",
        node.address(),
        config.node.journal.display(),
        node.epoch(),
        recovery.frames
    );
    if let Some(address) = node.tls_address() {
        say!("listening on {address} with TLS");
    }
    for line in cut.iter().chain(&recovery.passed_over).chain(&recovery.differences) {
        say!("note: {line}");
    }
    Ok(())
}

/// Logs of the node to stderr; RUST_LOG says which, warnings by default.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
