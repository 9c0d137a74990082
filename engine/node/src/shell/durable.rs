//! Stage 4: the journal's thread. It writes what the log ring holds as one group after the other, and says what is durable.

use crate::shell::clock::Clock;
use crate::shell::links::Durable;
use crate::shell::measures::JournalMeasures;
use crate::shell::twin;
use crate::shell::worker::Stage;
use crate::stage::admission::Admission;
use crate::stage::commit::Committer;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Duration;
use touchline_journal::Storage;
use touchline_journal::archive::Archiver;
use touchline_protocol::{FrameRef, Seq};
use touchline_runtime::bell::Bell;
use touchline_runtime::log_ring::Reader;

/// Snapshots that are kept: one may turn out to be damaged.
const SNAPSHOTS_KEPT: usize = 2;
/// How long a journal without room has nothing to write before it looks for room again.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// The journal and its queues.
pub(crate) struct Journal<S: Storage> {
    pub(crate) committer: Committer<S>,
    pub(crate) log: Reader,
    pub(crate) durable: Arc<Durable>,
    /// Of those who wait for it.
    pub(crate) bells: Vec<Bell>,
    pub(crate) admission: Arc<Admission>,
    /// Told once, when the first frames are durable.
    pub(crate) begun: Sender<()>,
    pub(crate) failed: Sender<String>,
    /// A write failed: nothing is written after that.
    pub(crate) broken: bool,
    pub(crate) clock: Clock,
    pub(crate) looked_ns: u64,
    pub(crate) measures: JournalMeasures,
    pub(crate) housekeeping: Housekeeping,
}

/// What is done between groups, and costs a comparison while there is nothing to do.
pub(crate) struct Housekeeping {
    /// Copies sealed segments elsewhere.
    pub(crate) archive: Option<Archiver>,
    /// Keeps snapshots.
    pub(crate) twin: Option<Arc<twin::Shared>>,
    /// The snapshot behind which it was last tidied up.
    pub(crate) tidied: Option<Seq>,
}

impl Housekeeping {
    /// Has sealed segments archived, and forgets older snapshots; segments only once the archive has them. Without an
    /// archive the journal is kept whole.
    fn step<S: Storage>(&mut self, committer: &mut Committer<S>) {
        if let Some(archive) = &self.archive {
            archive.writing(committer.writer_mut().position().generation);
        }
        let kept = self.twin.as_ref().map_or(Seq(0), |twin| twin.kept());
        if self.tidied == Some(kept) {
            return;
        }
        self.tidied = Some(kept);
        let archived_below = self.archive.as_ref().map_or(0, Archiver::archived_below);
        if let Err(error) = committer.writer_mut().prune_below(SNAPSHOTS_KEPT, archived_below) {
            tracing::warn!(%error, "older snapshots and segments stay where they are");
        }
    }
}

impl<S: Storage + Send> Stage for Journal<S> {
    fn step(&mut self) -> bool {
        let (mut wall_ns, mut frames) = (None, 0);
        while !self.committer.is_full()
            && !self.broken
            && let Some(frame) = self.log.next()
        {
            wall_ns.get_or_insert_with(|| FrameRef::parse(frame).map_or(0, |frame| frame.envelope().wall.0));
            self.committer.add(frame);
            frames += 1;
        }
        self.log.release();
        self.housekeeping.step(&mut self.committer);
        self.measures.frames.add(frames);
        match wall_ns {
            Some(wall_ns) => self.write(wall_ns),
            None => self.look_for_room(),
        }
        wall_ns.is_some()
    }

    fn patience(&self) -> Duration {
        ROOM_PATIENCE
    }
}

impl<S: Storage> Journal<S> {
    fn write(&mut self, wall_ns: i64) {
        let begun_ns = self.clock.now().mono_ns;
        match self.committer.write() {
            Ok(seq) => {
                let now_ns = self.clock.now().mono_ns;
                self.measures.groups.add(1);
                self.measures.write.record(now_ns - begun_ns);
                self.measures.durable.record(self.clock.since_utc(wall_ns));
                self.admission.set_disk_full(self.committer.cannot_grow());
                self.durable.reach(seq, now_ns);
                self.bells.iter().for_each(Bell::ring);
                let _ = self.begun.try_send(());
            }
            Err(error) => {
                tracing::error!(%error, "the journal failed; nothing more is acknowledged");
                self.broken = true;
                let _ = self.failed.try_send(error.to_string());
            }
        }
    }

    fn look_for_room(&mut self) {
        let now_ns = self.clock.now().mono_ns;
        if self.committer.cannot_grow() && now_ns > self.looked_ns + ROOM_PATIENCE.as_nanos() as u64 {
            self.looked_ns = now_ns;
            self.committer.look_for_room();
            self.admission.set_disk_full(self.committer.cannot_grow());
        }
    }
}
