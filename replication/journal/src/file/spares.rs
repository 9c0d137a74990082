//! Segments made ahead, on a thread of their own: zeroing one takes as long as hundreds of groups, and none waits for it.
//!
//! Files of segments that the log no longer needs are the raw material. They are **zeroed whole** before they get a name
//! again. Their old groups could not pass for new ones, for each carries the generation of its segment; but recovery could
//! no longer tell old bytes behind the last group from a group that was being written, and would report a torn end after
//! every stop; and bytes that a client once chose would lie at block boundaries, behind the end, where only what the writer
//! put there may lie. Zeros leave nothing to argue about, and writing them over blocks that a file has already costs no room
//! and no metadata: on a full disk a journal lives on what it gives up.
//!
//! Whatever the moment of a crash, a segment's name stands for its whole old content or is not there, and later the new
//! name stands for zeros or is not there: the old name is gone durably before the first zero, the zeros are durable before
//! the new name. In between the file's name ends in `.part`, which recovery passes over; the next start takes it as raw
//! material again, or deletes it where it was being zeroed.

use super::direct;
use super::error::{FileError, failed};
use rustix::fs::{FlockOperation, flock};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

/// Most files that wait for use; what is given up beyond that is deleted. They hold room that nobody else needs, for
/// without them as many segments would be allocated again before the next snapshot.
const RESERVE_MAX: usize = 8;

enum Job {
    /// Makes a segment under its name.
    Make { generation: u64, bytes: u64 },
    /// Takes a file whose segment is no longer needed.
    Retire(PathBuf),
    /// Deletes everything that waits for use, for somebody needs the room, and says when that is done.
    Release(Sender<()>),
}

/// The thread, and what it was asked for.
#[derive(Debug)]
pub(super) struct Spares {
    jobs: Option<Sender<Job>>,
    made: Receiver<(u64, Result<File, FileError>)>,
    underway: Option<(u64, u64)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Starts the thread for a folder.
    pub(super) fn start(folder: &Path, direct: bool) -> io::Result<Self> {
        let ((jobs, asked), (tell, made)) = (channel(), channel());
        let stop = Arc::new(AtomicBool::new(false));
        let maker =
            Maker { folder: folder.to_owned(), direct, reserve: VecDeque::new(), stop: Arc::clone(&stop) };
        let work = move || maker.run(&asked, &tell);
        let thread = std::thread::Builder::new().name("journal-spares".to_owned()).spawn(work)?;
        Ok(Spares { jobs: Some(jobs), made, underway: None, stop, thread: Some(thread) })
    }

    /// Has a segment made, or asks for it; `None` while that goes on. An error ends the attempt.
    pub(super) fn poll(&mut self, generation: u64, bytes: u64) -> Result<Option<File>, FileError> {
        self.begin(generation, bytes);
        match self.made.try_recv() {
            Ok(made) => self.taken(made).map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }

    /// Has a segment made and waits for it.
    pub(super) fn wait(&mut self, generation: u64, bytes: u64) -> Result<File, FileError> {
        self.begin(generation, bytes);
        let made = self.made.recv().map_err(|_| gone())?;
        self.taken(made)
    }

    fn begin(&mut self, generation: u64, bytes: u64) {
        let underway = *self.underway.get_or_insert_with(|| {
            let _ = self.jobs.as_ref().map(|jobs| jobs.send(Job::Make { generation, bytes }));
            (generation, bytes)
        });
        assert_eq!(underway, (generation, bytes), "a journal needs one segment after the other");
    }

    fn taken(&mut self, (generation, made): (u64, Result<File, FileError>)) -> Result<File, FileError> {
        let asked = self.underway.take();
        assert_eq!(asked.map(|(generation, _)| generation), Some(generation), "one is made at a time");
        made
    }

    /// Gives up a file, under a name that no reader looks at.
    pub(super) fn retire(&self, part: PathBuf) {
        self.send(Job::Retire(part));
    }

    /// Deletes what waits for use.
    pub(super) fn release(&self) {
        let (done, wait) = channel();
        self.send(Job::Release(done));
        let _ = wait.recv();
    }

    fn send(&self, job: Job) {
        // A thread that is gone shows when its answer is awaited.
        let _ = self.jobs.as_ref().expect("it ends with this").send(job);
    }
}

impl Drop for Spares {
    /// Ends the thread, in the middle of a segment too: the folder's lock must outlive whoever writes in it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> FileError {
    failed("allocating in", Path::new("the journal's folder"), io::ErrorKind::BrokenPipe.into())
}

/// The thread's own side.
struct Maker {
    folder: PathBuf,
    direct: bool,
    reserve: VecDeque<Retired>,
    stop: Arc<AtomicBool>,
}

/// A file that waits for use, locked against readers that opened it under its old name.
struct Retired {
    path: PathBuf,
    file: File,
}

impl Maker {
    fn run(mut self, jobs: &Receiver<Job>, made: &Sender<(u64, Result<File, FileError>)>) {
        for job in jobs {
            match job {
                Job::Make { generation, bytes } => {
                    let result = self.make(generation, bytes);
                    if made.send((generation, result)).is_err() {
                        return;
                    }
                }
                Job::Retire(path) => {
                    if let Err(error) = self.retire(&path) {
                        tracing::warn!(path = %path.display(), %error, "a segment that is no longer needed stays on disk");
                    }
                }
                Job::Release(done) => {
                    while let Some(retired) = self.reserve.pop_front() {
                        let _ = std::fs::remove_file(retired.path);
                    }
                    let _ = done.send(());
                }
            }
        }
    }

    /// Keeps a file as raw material, or deletes it: one beyond the bound, or one that somebody reads.
    fn retire(&mut self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let read = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
        if read || self.reserve.len() >= RESERVE_MAX {
            std::fs::remove_file(path)?;
        } else {
            self.reserve.push_back(Retired { path: path.to_owned(), file });
        }
        // Before the first zero: a crash must not show zeros under the old name.
        super::sync_names(&self.folder)
    }

    fn make(&mut self, generation: u64, bytes: u64) -> Result<File, FileError> {
        let path = super::segment_path(&self.folder, generation);
        let part = path.with_extension("part");
        let made = self.zeroed(&part, bytes).and_then(|file| {
            std::fs::rename(&part, &path)?;
            super::sync_names(&self.folder)?;
            // Readers may open it under its new name.
            flock(&file, FlockOperation::Unlock)?;
            Ok(file)
        });
        made.map_err(|error| {
            let _ = std::fs::remove_file(&part);
            failed("allocating", &path, error)
        })
    }

    /// A file of zeros, durable, whose name is not.
    fn zeroed(&mut self, part: &Path, bytes: u64) -> io::Result<File> {
        let file = match self.raw(bytes)? {
            Some(retired) => {
                std::fs::rename(retired.path, part)?;
                retired.file
            }
            None => OpenOptions::new().read(true).write(true).create(true).truncate(true).open(part)?,
        };
        let direct = if self.direct { direct::open(part, false)? } else { None };
        direct::zero(&file, direct.as_ref(), bytes, &self.stop)?;
        Ok(file)
    }

    /// Raw material of the size; others were of a size that is no longer configured and will not be used.
    fn raw(&mut self, bytes: u64) -> io::Result<Option<Retired>> {
        while let Some(retired) = self.reserve.pop_front() {
            if retired.file.metadata()?.len() == bytes {
                return Ok(Some(retired));
            }
            std::fs::remove_file(&retired.path)?;
        }
        Ok(None)
    }
}
