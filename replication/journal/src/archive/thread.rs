//! The thread that archives, so that no group ever waits for it.

use super::{Archive, ArchiveError, Key};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long it waits after a failure before it tries again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Archives segments of a journal as they are sealed.
///
/// The journal's thread tells it the segment being written after each group, which costs a comparison, and while it has
/// nothing to write; and prunes only [below what is archived](crate::Writer::prune_below). What failed is tried again when it
/// is told so a second later, so that an archive with room again is found by itself.
#[derive(Debug)]
pub struct Archiver {
    told: Option<Sender<u64>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    /// Everything before this segment was sealed and archived when it was last told.
    done: AtomicU64,
    /// Nothing that it was told is still to be done.
    idle: AtomicBool,
    stop: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl Archiver {
    /// Opens the archive of a journal's folder and starts the thread.
    pub fn start(journal: &Path, folder: &Path, key: Option<Key>) -> Result<Self, ArchiveError> {
        let archive = Archive::open(journal, folder, key)?;
        let shared = Arc::new(Shared {
            next: AtomicU64::new(archive.next()),
            done: AtomicU64::new(0),
            idle: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            trouble: Mutex::new(None),
        });
        let (told, hear) = channel();
        let theirs = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("archive".to_owned()).spawn(move || theirs.run(archive, &hear));
        let thread = thread.map_err(|error| crate::file::failed("starting a thread for", folder, error))?;
        Ok(Archiver { told: Some(told), shared, thread: Some(thread) })
    }

    /// Every segment before this one, the one being written, is sealed. Never waits.
    pub fn writing(&self, generation: u64) {
        let new = self.shared.done.load(Ordering::Acquire) < generation;
        if new && self.shared.idle.swap(false, Ordering::AcqRel) {
            let _ = self.told.as_ref().expect("it ends with this").send(generation);
        }
    }

    /// The first segment that is not in the archive: those before it may be pruned.
    pub fn archived_below(&self) -> u64 {
        self.shared.next.load(Ordering::Acquire)
    }

    /// Why the last attempt failed, where it did.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().ok()?.clone()
    }
}

impl Drop for Archiver {
    /// Ends the thread, in the middle of a segment too: it is copied after the next start.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(self.told.take());
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut archive: Archive, told: &Receiver<u64>) {
        for writing in told {
            let result = loop {
                match archive.add(writing, &self.stop) {
                    Ok(true) => self.next.store(archive.next(), Ordering::Release),
                    Ok(false) => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let failed = result.is_some();
            self.note(result);
            if failed {
                std::thread::park_timeout(PATIENCE);
            } else {
                self.done.store(writing, Ordering::Release);
            }
            self.idle.store(true, Ordering::Release);
        }
    }

    /// Remembers how an attempt ended, and logs trouble once.
    fn note(&self, result: Option<String>) {
        let Ok(mut trouble) = self.trouble.lock() else { return };
        match &result {
            Some(why) if trouble.as_ref() != Some(why) => {
                tracing::warn!(%why, "archiving failed; sealed segments stay in the journal until it succeeds");
            }
            None if trouble.is_some() => tracing::info!("archiving goes on"),
            _ => {}
        }
        *trouble = result;
    }
}
