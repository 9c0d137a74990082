//! `touchline snapshot`: a node's state from the program that wrote it to any later one.

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use touchline_core::snapshot::export::Imported;
use touchline_core::snapshot::{Export, STEPS, Snapshot};
use touchline_journal::{FileStorage, Storage, read};
use touchline_node::recovery::base_of;

/// What to do with a snapshot.
#[derive(clap::Subcommand)]
pub(crate) enum Snapshots {
    /// Writes a snapshot beside a journal to a file that every later version reads.
    Export(ExportArgs),
    /// Writes a snapshot of the running version beside a journal, from an exported one. No node may be using it.
    Import(ImportArgs),
    /// Prints what an export, or a snapshot of the running version, holds.
    Show(Show),
}

/// Options of `export`.
#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// The folder of the journal.
    folder: PathBuf,
    /// The file to write; it must not be there yet.
    #[arg(long)]
    out: PathBuf,
    /// The frame of the snapshot; without it the newest one.
    #[arg(long)]
    seq: Option<u64>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Options of `import`.
#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// The exported file.
    file: PathBuf,
    /// The folder of the journal, or one that is empty or missing.
    folder: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Options of `show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// The file.
    file: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(what: &Snapshots) -> anyhow::Result<()> {
    match what {
        Snapshots::Export(args) => export(args),
        Snapshots::Import(args) => import(args),
        Snapshots::Show(args) => show(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let storage = FileStorage::open_read_only(&args.folder)?;
    let there = storage.snapshots()?;
    let folder = args.folder.display();
    let seq = match args.seq {
        Some(seq) => {
            ensure!(there.contains(&seq), "{folder} holds no snapshot of frame {seq}, but of {there:?}");
            seq
        }
        None => there.last().copied().ok_or_else(|| {
            anyhow!("{folder} holds no snapshot: a node that stops keeps one, unless node.snapshot_every_frames is 0")
        })?,
    };
    let snapshot = Snapshot::read(&storage.read_snapshot(seq)?);
    let export =
        snapshot.and_then(Export::of).with_context(|| format!("{folder}, snapshot of frame {seq}"))?;
    ensure!(export.place().seq.0 == seq, "the snapshot says that it is of frame {}", export.place().seq);
    write_new(&args.out, &export.to_bytes())?;
    tell(&export, args.json, &format!("exported to {}", args.out.display()))
}

/// Writes a file that was not there, whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let file = File::create_new(path);
    if matches!(&file, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
        bail!("{} is there already; name another file", path.display());
    }
    let mut file = file.with_context(context)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written.with_context(context)
}

fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let (file, folder) = (args.file.display(), args.folder.display());
    let export = read_export(&args.file)?;
    let (place, cluster) = (export.place(), export.cluster());
    let Imported { snapshot, converted } = export.import(STEPS).with_context(|| file.to_string())?;
    let mut storage = FileStorage::open(&args.folder)?;
    let found = read(&storage, Some(&base_of(&place)), &mut |_| Ok(()))
        .with_context(|| format!("journal {folder}; nothing was changed"))?;
    let of = found.position.cluster;
    ensure!(
        found.frames == 0 || of == cluster,
        "journal {folder} belongs to cluster {of}, {file} to {cluster}; nothing was changed"
    );
    let behind = found.position.seq.0 - place.seq.0;
    ensure!(
        converted.is_empty() || behind == 0,
        "{file} was converted ({}), and {behind} frames of another version follow it in {folder}, which this version must not \
         replay: stop the node cleanly with the version that wrote them, and export its last snapshot; nothing was changed",
        converted.join(", ")
    );
    storage.write_snapshot(place.seq.0, &snapshot.to_bytes())?;
    let told = match converted.as_slice() {
        [] => format!("imported into {folder}"),
        converted => format!("converted ({}) and imported into {folder}", converted.join(", ")),
    };
    tell(&Export::of(snapshot)?, args.json, &told)
}

fn show(args: &Show) -> anyhow::Result<()> {
    let bytes = bytes(&args.file)?;
    let export = match Snapshot::read(&bytes) {
        Ok(snapshot) => Export::of(snapshot)?,
        Err(error) if bytes.starts_with(b"TLSNAP\0") => {
            return Err(error).context(args.file.display().to_string());
        }
        Err(_) => Export::read(&bytes).with_context(|| args.file.display().to_string())?,
    };
    tell(&export, args.json, &args.file.display().to_string())
}

fn read_export(path: &Path) -> anyhow::Result<Export> {
    Export::read(&bytes(path)?).with_context(|| path.display().to_string())
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn tell(export: &Export, as_json: bool, what: &str) -> anyhow::Result<()> {
    let place = export.place();
    let (chain, fingerprint) = (format!("{}", place.chain), format!("{:032x}", export.fingerprint()));
    let totals = export.totals();
    if as_json {
        let table = |total: &touchline_core::snapshot::export::TableTotal| {
            json!({"table": total.name,
            "version": total.version, "entities": total.entities, "bytes": total.bytes})
        };
        let tables: Vec<Json> = totals.iter().map(table).collect();
        let told = json!({"cluster": export.cluster(), "epoch": place.epoch.0, "seq": place.seq.0, "at_ns": place.at.0,
            "chain": chain, "fingerprint": fingerprint, "partitions": export.partitions(), "tables": tables});
        return print_line(&mut stdout(), &told);
    }
    say!(
        "{what}: cluster {}, the state after frame {} of epoch {}, chain {chain}, fingerprint {fingerprint}, {} partitions",
        export.cluster(),
        place.seq,
        place.epoch,
        export.partitions()
    );
    for total in totals {
        say!("  {:>10} {:<10} version {}, {} bytes", total.entities, total.name, total.version, total.bytes);
    }
    Ok(())
}
