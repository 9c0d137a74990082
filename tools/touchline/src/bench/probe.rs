//! What a running node takes from its machine and holds in its queues, second by second.

use crate::top::Asked;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Segments that stay in the archive; older ones are taken away, as whoever keeps them elsewhere would.
const ARCHIVED_KEPT: usize = 4;

/// A look at a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Seconds since the first look was due.
    pub second: f64,
    /// Memory of the process.
    pub resident_bytes: f64,
    /// Open files and sockets, the journal's apart.
    pub descriptors: f64,
    /// Open files of the journal.
    pub journal_files: f64,
    /// Threads.
    pub threads: f64,
    /// Tickets that wait inside of the node.
    pub tickets_inside: f64,
    /// Committed frames that the second replay has not reached.
    pub behind_frames: f64,
    /// Bytes of the journal's folder.
    pub journal_bytes: f64,
}

/// Who looks.
pub(super) struct Probe {
    /// The node's process.
    pub process: u32,
    /// Its admin socket.
    pub asked: Asked,
    /// Its journal.
    pub journal: PathBuf,
    /// Its archive.
    pub archive: PathBuf,
}

impl Probe {
    /// Looks each second until told to stop.
    pub(super) fn watch(mut self, stop: &AtomicBool) -> anyhow::Result<Vec<Sample>> {
        let begun = Instant::now();
        let mut samples = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let due = begun + Duration::from_secs(samples.len() as u64);
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                samples.push(Sample { second: begun.elapsed().as_secs_f64(), ..self.look()? });
            } else {
                std::thread::sleep(wait.min(Duration::from_millis(50)));
            }
        }
        Ok(samples)
    }

    fn look(&mut self) -> anyhow::Result<Sample> {
        let measures = self.asked.ask("measures")?;
        let gauge = |name: &str| measures["gauges"][name].as_f64().unwrap_or(0.0);
        let committed = measures["committed"].as_f64().unwrap_or(0.0);
        // A node without a second replay never says how far it is.
        let replayed = Some(gauge("replayed")).filter(|replayed| *replayed > 0.0);
        let status = format!("/proc/{}/status", self.process);
        let status = std::fs::read_to_string(&status).with_context(|| format!("reading {status}"))?;
        let (descriptors, journal_files) = self.descriptors()?;
        self.take_away()?;
        Ok(Sample {
            second: 0.0,
            resident_bytes: 1024.0 * field(&status, "VmRSS:"),
            descriptors,
            journal_files,
            threads: field(&status, "Threads:"),
            tickets_inside: gauge("tickets_inside"),
            behind_frames: replayed.map_or(0.0, |replayed| (committed - replayed).max(0.0)),
            journal_bytes: files(&self.journal)?.iter().map(|(_, bytes)| *bytes as f64).sum(),
        })
    }

    /// Open files and sockets, and those of the journal.
    fn descriptors(&self) -> anyhow::Result<(f64, f64)> {
        let folder = format!("/proc/{}/fd", self.process);
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
        // One that is closed meanwhile points nowhere.
        let open: Vec<_> =
            entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let journal = open.iter().filter(|path| path.starts_with(&self.journal)).count();
        Ok(((open.len() - journal) as f64, journal as f64))
    }

    /// Removes what the archive no longer needs to hold for this run.
    fn take_away(&self) -> anyhow::Result<()> {
        let mut archived = files(&self.archive)?;
        archived.retain(|(path, _)| path.extension().is_some_and(|end| end == "tlj"));
        archived.sort();
        let surplus = archived.len().saturating_sub(ARCHIVED_KEPT);
        for (path, _) in &archived[..surplus] {
            std::fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// The number behind a name in `/proc/PID/status`.
fn field(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Files of a folder and their lengths; those that vanish meanwhile are none, and neither is a missing folder.
fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let sized = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.path(), entry.metadata().ok()?.len()))
    });
    Ok(sized.collect())
}
