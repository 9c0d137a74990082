//! `touchline inspect`: what a journal holds, whether it holds together, and what follows from it.

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, bail};
use serde_json::{Value as Json, json};
use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use touchline_auditor::Auditor;
use touchline_core::Engine;
use touchline_journal::archive::{Key, verify_archive};
use touchline_journal::{FileStorage, Recovered, Tail, read};
use touchline_protocol::{Body, FrameRef};
use touchline_script::show::value;

/// What to look into.
#[derive(clap::Subcommand)]
pub(crate) enum What {
    /// A journal's folder.
    #[command(subcommand)]
    Journal(Journal),
    /// The folder that a journal's sealed segments were archived to.
    #[command(subcommand)]
    Archive(Archive),
}

/// What to do with an archive. None of these changes it.
#[derive(clap::Subcommand)]
pub(crate) enum Archive {
    /// Checks that no segment is missing, exchanged or altered, and names the first that is.
    Verify(Signed),
}

/// An archive, its key and how to print.
#[derive(clap::Args)]
pub(crate) struct Signed {
    /// The folder of the archive.
    folder: PathBuf,
    /// The file of the key that the archive is signed with.
    #[arg(long)]
    key: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What to do with a journal. None of these changes it.
#[derive(clap::Subcommand)]
pub(crate) enum Journal {
    /// Checks every checksum, sequence and chain hash.
    Verify(Folder),
    /// Prints every frame as one JSON line.
    Dump(Folder),
    /// Recomputes every decision and balance naively, with none of the core's code.
    Audit(Folder),
    /// Applies every frame through the core and prints the state's fingerprint.
    Replay(Replay),
}

/// A folder and how to print.
#[derive(clap::Args)]
pub(crate) struct Folder {
    /// The folder of the journal.
    folder: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Options of `replay`.
#[derive(clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    folder: Folder,
    /// Shards that host the partitions; the result does not depend on it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
}

/// Runs an inspection.
pub(crate) fn run(what: &What) -> anyhow::Result<()> {
    match what {
        What::Journal(Journal::Verify(args)) => verify(args),
        What::Journal(Journal::Dump(args)) => dump(args),
        What::Journal(Journal::Audit(args)) => audit(args),
        What::Journal(Journal::Replay(args)) => replay(args),
        What::Archive(Archive::Verify(args)) => verify_signed(args),
    }
}

fn verify_signed(args: &Signed) -> anyhow::Result<()> {
    let key = args.key.as_deref().map(Key::load).transpose()?;
    let archive = || format!("archive {}", args.folder.display());
    let found = verify_archive(&args.folder, key.as_ref()).with_context(archive)?;
    let signature: String = found.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    if args.json {
        let found = json!({"first_segment": found.first, "last_segment": found.last, "bytes": found.bytes,
            "keyed": found.keyed, "signature": signature});
        return print_line(&mut stdout(), &found);
    }
    say!(
        "segments {} to {}, {} bytes, none missing, exchanged or altered; signature {signature}",
        found.first,
        found.last,
        found.bytes
    );
    if !found.keyed {
        say!("note: signed without a key, which finds accidents and no forgery");
    }
    say!("note: whether segments behind {} were taken away, only the journal tells", found.last);
    Ok(())
}

/// Reads a journal from its first frame to its last.
pub(crate) fn visit(
    folder: &Path,
    visit: &mut dyn FnMut(FrameRef<'_>) -> Result<(), String>,
) -> anyhow::Result<Recovered> {
    let storage = FileStorage::open_read_only(folder)?;
    let found = read(&storage, None, visit).with_context(|| format!("journal {}", folder.display()))?;
    if found.segments == 0 {
        bail!("{} holds no journal; give the folder that node.journal names", folder.display());
    }
    Ok(found)
}

fn verify(args: &Folder) -> anyhow::Result<()> {
    let found =
        visit(&args.folder, &mut |frame| frame.body().map(|_| ()).map_err(|error| error.to_string()))?;
    let torn = match &found.tail {
        Tail::Clean => None,
        Tail::Torn(cut) => Some(cut),
    };
    if args.json {
        let cut = torn.map(|cut| {
            json!({"segment": cut.generation, "offset": cut.offset, "bytes": cut.bytes,
                   "readable": cut.readable.iter().map(|seq| seq.0).collect::<Vec<_>>()})
        });
        let found = json!({"frames": found.frames, "segments": found.segments, "epoch": found.epoch.0,
            "last_seq": found.position.seq.0, "chain": format!("{:032x}", found.position.chain.0),
            "cluster": found.position.cluster, "torn": cut});
        return print_line(&mut stdout(), &found);
    }
    say!(
        "{} frames in {} segments, last {} in epoch {}, chain {:032x}: every checksum, number and chain hash holds",
        found.frames,
        found.segments,
        found.position.seq,
        found.epoch,
        found.position.chain.0
    );
    if let Some(cut) = torn {
        say!(
            "torn end: segment {}, offset {}, {} bytes that were never acknowledged{}; the next start cuts them off",
            cut.generation,
            cut.offset,
            cut.bytes,
            if cut.readable.is_empty() {
                String::new()
            } else {
                format!(", frames {:?} readable in them", cut.readable)
            }
        );
    }
    Ok(())
}

fn dump(args: &Folder) -> anyhow::Result<()> {
    let mut out = BufWriter::new(stdout().lock());
    visit(&args.folder, &mut |frame| {
        let body = frame.body().map_err(|error| error.to_string())?;
        print_line(&mut out, &line(&frame, &body)).map_err(|error| format!("{error:#}"))
    })?;
    out.flush().context("writing to stdout")
}

/// A frame as an outsider reads it: header first, then the body's fields.
fn line(frame: &FrameRef<'_>, body: &Body) -> Json {
    let e = frame.envelope();
    json!({
        "seq": e.seq.0,
        "epoch": e.epoch.0,
        "at_ns": e.at.0,
        "wall_ns": e.wall.0,
        "partition": value(&touchline_protocol::wire::Field::show(&e.partition)),
        "origin": e.origin,
        "request": e.request,
        "chain": format!("{:032x}", frame.chain().0),
        "kind": body.kind().name(),
        "body": value(&body.show()),
    })
}

fn audit(args: &Folder) -> anyhow::Result<()> {
    let mut auditor = Auditor::new();
    visit(&args.folder, &mut |frame| auditor.frame(frame).map_err(|error| error.to_string()))?;
    let report = auditor.report();
    if args.json {
        let rejected: serde_json::Map<String, Json> =
            report.rejected.iter().map(|(code, count)| (code.name().to_owned(), (*count).into())).collect();
        let found = json!({"frames": report.frames, "tickets": report.tickets, "accepted": report.accepted,
            "rejected": rejected, "pending": report.pending, "open_bets": report.open_bets,
            "settled_bets": report.settled_bets, "profit_minor": report.profit_minor,
            "staked_minor": report.staked_minor, "breaches": report.breaches});
        print_line(&mut stdout(), &found)?;
    } else {
        say!(
            "{} frames: {} tickets, {} accepted, {} rejected, {} pending; {} bets open, {} settled, profit {} of {} staked (minor units)",
            report.frames,
            report.tickets,
            report.accepted,
            report.rejected.values().sum::<u64>(),
            report.pending,
            report.open_bets,
            report.settled_bets,
            report.profit_minor,
            report.staked_minor
        );
        for (code, count) in &report.rejected {
            say!("  {count:>8} {code}");
        }
    }
    match report.breaches.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(anyhow!("{} invariants do not hold, the first: {first}", report.breaches.len())),
    }
}

fn replay(args: &Replay) -> anyhow::Result<()> {
    let mut engine: Option<Engine> = None;
    let mut effects = Vec::new();
    let found = visit(&args.folder.folder, &mut |frame| {
        let body = frame.body().map_err(|error| error.to_string())?;
        if let (None, Body::Genesis(m)) = (&engine, &body) {
            engine = Some(Engine::new(frame.envelope().cluster, m.partitions, args.shards.into()));
        }
        engine.as_mut().ok_or("the first frame is no genesis")?.replay(&frame, &body, &mut effects);
        effects.clear();
        Ok(())
    })?;
    let mut engine = engine.ok_or_else(|| anyhow!("the journal holds no frames"))?;
    let odd = |odd| anyhow!("{odd} entities differ from their own hash: do not trust this machine's memory");
    let fingerprint = engine.fingerprint().map_err(odd)?;
    let diverged = engine.shards.iter().flat_map(touchline_core::Shard::partitions).find(|p| p.diverged());
    if let Some(partition) = diverged {
        bail!("partition {}: the state differs from the fingerprint that the log attests", partition.id().0);
    }
    let profit = engine.profit_minor();
    if args.folder.json {
        let found = json!({"frames": found.frames, "shards": args.shards,
            "fingerprint": format!("{fingerprint:032x}"), "profit_minor": profit});
        return print_line(&mut stdout(), &found);
    }
    say!(
        "{} frames on {} shards: fingerprint {fingerprint:032x}, profit {profit} minor units; agrees with every attested fingerprint",
        found.frames,
        args.shards
    );
    Ok(())
}
