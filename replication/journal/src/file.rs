//! The journal's files: the one place that does I/O for the log.
//!
//! Groups go past the page cache, each durable when its one write returns (`O_DIRECT | O_DSYNC`), onto zeros that were
//! written ahead. Where the file system knows no direct writes they are buffered and followed by `fdatasync`.

mod direct;
mod error;
mod spares;

pub use error::FileError;
pub(crate) use error::failed;

use crate::aligned;
use crate::storage::Storage;
use rustix::fs::{Advice, FlockOperation, fadvise, flock};
use spares::Spares;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of segment files.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
    segments: BTreeSet<u64>,
    /// The segment that was read or written last. A journal has more of them than a process may have descriptors, so the
    /// others are opened when they are asked for.
    open: RefCell<Option<(u64, Arc<File>)>>,
    /// Whether groups go past the page cache.
    direct: bool,
    /// The segment that groups go to, open for direct writes.
    writing: Option<(u64, File)>,
    /// Makes segments ahead; readers have none.
    spares: Option<Spares>,
    /// Held while a node uses the folder; readers hold none. Let go last.
    _lock: Option<File>,
}

impl FileStorage {
    /// Opens a folder for writing, creating it where it is missing, and locks it against other nodes.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let lock = lock(folder)?;
        let path = folder.join(LOCK);
        let can = direct::open(&path, true).map_err(|error| failed("opening", &path, error))?.is_some();
        if !can {
            warn_buffered(folder);
        }
        Self::open_locked(folder, lock, can)
    }

    /// As [`open`](Self::open), with buffered writes and `fdatasync` on any file system: what direct ones are measured against.
    pub fn open_buffered(folder: &Path) -> Result<Self, FileError> {
        let lock = lock(folder)?;
        Self::open_locked(folder, lock, false)
    }

    fn open_locked(folder: &Path, lock: File, direct: bool) -> Result<Self, FileError> {
        let mut opened = Self::scan(folder)?;
        let spares = Spares::start(folder, direct);
        let spares = spares.map_err(|error| failed("starting a thread for", folder, error))?;
        for part in parts(folder)? {
            // What waited for use still does. What was being made when the process died is made anew.
            if is_named(&part, "retired-") {
                spares.retire(part);
            } else {
                std::fs::remove_file(&part).map_err(|error| failed("removing", &part, error))?;
            }
        }
        (opened.direct, opened.spares, opened._lock) = (direct, Some(spares), Some(lock));
        Ok(opened)
    }

    /// Opens a folder for reading only; a node may be writing to it. Snapshots may be written all the same.
    pub fn open_read_only(folder: &Path) -> Result<Self, FileError> {
        Self::scan(folder)
    }

    fn scan(folder: &Path) -> Result<Self, FileError> {
        let mut segments = BTreeSet::new();
        for path in entries(folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name == LOCK || name.ends_with(".part") || numbered(name, "segment-", SIGNATURE).is_some() {
                continue;
            }
            if numbered(name, "snapshot-", ".tls").is_some() {
                continue;
            }
            let Some(generation) = numbered(name, "segment-", ".tlj") else {
                return Err(FileError::Stranger { path });
            };
            segments.insert(generation);
        }
        let (folder, open) = (folder.to_owned(), RefCell::new(None));
        Ok(FileStorage { folder, segments, open, direct: false, writing: None, spares: None, _lock: None })
    }

    fn path(&self, generation: u64) -> PathBuf {
        segment_path(&self.folder, generation)
    }

    fn snapshot_path(&self, seq: u64) -> PathBuf {
        self.folder.join(format!("snapshot-{seq:016x}.tls"))
    }

    /// A segment's file. A reader holds it as long as it reads it, so that its owner gives it up rather than use it anew.
    fn file(&self, generation: u64) -> Result<Arc<File>, FileError> {
        if let Some((_, file)) = self.open.borrow().as_ref().filter(|(open, _)| *open == generation) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(generation);
        let missing = || failed("opening", &path, io::ErrorKind::NotFound.into());
        if !self.segments.contains(&generation) {
            return Err(missing());
        }
        let file = if self.spares.is_some() {
            let file = OpenOptions::new().read(true).write(true).open(&path);
            file.map_err(|error| failed("opening", &path, error))?
        } else {
            open_shared(&path)?.ok_or_else(missing)?
        };
        // Only advice: it reads further ahead, and a journal is read from front to end.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        let file = Arc::new(file);
        *self.open.borrow_mut() = Some((generation, Arc::clone(&file)));
        Ok(file)
    }

    /// A segment is there under its name, made anew.
    fn made(&mut self, generation: u64) {
        self.segments.insert(generation);
        self.forget(generation);
    }

    /// What is open under a segment's name may be another file by now.
    fn forget(&mut self, generation: u64) {
        self.open.get_mut().take_if(|(open, _)| *open == generation);
        self.writing.take_if(|(open, _)| *open == generation);
    }

    fn spares(&mut self) -> &mut Spares {
        self.spares.as_mut().expect("a folder opened for reading is not written to")
    }

    /// One write that is durable when it returns; `None` where the file system turns out to know none. Interrupted and
    /// short writes are gone on with.
    fn write_direct(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> io::Result<Option<()>> {
        if self.writing.as_ref().is_none_or(|(open, _)| *open != generation) {
            self.writing = direct::open(&self.path(generation), true)?.map(|file| (generation, file));
        }
        match self.writing.as_ref().map(|(_, file)| file.write_all_at(bytes, offset)) {
            None => Ok(None),
            Some(Err(error)) if direct::refuses(&error) => Ok(None),
            Some(written) => written.map(Some),
        }
    }

    fn write_durably(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.path(generation);
        let refused = |error| failed("writing", &path, error);
        if self.direct && aligned::is_aligned(offset, bytes) {
            if let Some(()) = self.write_direct(generation, offset, bytes).map_err(refused)? {
                return Ok(());
            }
            warn_buffered(&self.folder);
            (self.direct, self.writing) = (false, None);
        }
        let file = self.file(generation)?;
        file.write_all_at(bytes, offset).and_then(|()| file.sync_data()).map_err(refused)
    }

    fn try_write_snapshot(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let part = path.with_extension("part");
        let written = write_whole(&part, bytes).and_then(|()| std::fs::rename(&part, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        written.and_then(|()| sync_names(&self.folder))
    }
}

const LOCK: &str = "LOCK";
/// How the names of signatures end, which stand beside the segments of an archive.
pub(crate) const SIGNATURE: &str = ".sig";

fn warn_buffered(folder: &Path) {
    tracing::warn!(
        folder = %folder.display(),
        "the journal's file system knows no direct writes: groups are buffered and synced, which takes longer"
    );
}

/// Opens a segment for reading, so that its file is not used again meanwhile; `None` where it has just been given up.
fn open_shared(path: &Path) -> Result<Option<File>, FileError> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match File::open(path) {
        Err(error) if gone(&error) => return Ok(None),
        file => file.map_err(|error| failed("opening", path, error))?,
    };
    // Between opening and locking it may have been given up, and even have got another name.
    let kept = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    let same = file.metadata().and_then(|held| Ok(held.ino() == std::fs::metadata(path)?.ino()));
    match same {
        Ok(same) => Ok((kept && same).then_some(file)),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(failed("opening", path, error)),
    }
}

/// Everything in a folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let read = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    read.map_err(|error| failed("reading the folder", folder, error))
}

/// Files that were being written when a process died.
pub(crate) fn parts(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut parts = entries(folder)?;
    parts.retain(|path| path.extension().is_some_and(|end| end == "part"));
    Ok(parts)
}

fn is_named(path: &Path, before: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(before))
}

/// The file of a segment.
pub(crate) fn segment_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("segment-{generation:016x}.tlj"))
}

/// Makes what happened to a folder's names durable.
pub(crate) fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all())
}

/// Writes a file; durable but for its name.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    })
}

/// Locks a folder for this process, creating it where it is missing.
pub(crate) fn lock(folder: &Path) -> Result<File, FileError> {
    std::fs::create_dir_all(folder).map_err(|error| failed("creating the journal folder", folder, error))?;
    let path = folder.join(LOCK);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = file.map_err(|error| failed("opening", &path, error))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        return Err(FileError::InUse { path: folder.to_owned(), pid: pid.trim().to_owned() });
    }
    let told =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    told.map_err(|error| failed("writing", &path, error))?;
    Ok(file)
}

/// The number in a file's name.
pub(crate) fn numbered(name: &str, before: &str, behind: &str) -> Option<u64> {
    let digits = name.strip_prefix(before)?.strip_suffix(behind)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl Storage for FileStorage {
    type Error = FileError;

    fn list(&self) -> Result<Vec<u64>, FileError> {
        Ok(self.segments.iter().copied().collect())
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), FileError> {
        self.spares().wait(generation, bytes)?;
        self.made(generation);
        Ok(())
    }

    fn prepare(&mut self, generation: u64, bytes: u64) -> Result<bool, FileError> {
        let made = self.spares().poll(generation, bytes)?.is_some();
        if made {
            self.made(generation);
        }
        Ok(made)
    }

    fn size(&self, generation: u64) -> Result<u64, FileError> {
        let size = self.file(generation)?.metadata().map(|meta| meta.len());
        size.map_err(|error| failed("reading the size of", &self.path(generation), error))
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), FileError> {
        let read = self.file(generation)?.read_exact_at(buffer, offset);
        read.map_err(|error| failed("reading", &self.path(generation), error))
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.write_durably(generation, offset, bytes)
    }

    fn remove(&mut self, generation: u64) -> Result<(), FileError> {
        let path = self.path(generation);
        let part = self.folder.join(format!("retired-{generation:016x}.part"));
        std::fs::rename(&path, &part).map_err(|error| failed("removing", &path, error))?;
        self.segments.remove(&generation);
        self.forget(generation);
        self.spares().retire(part);
        Ok(())
    }

    fn snapshots(&self) -> Result<Vec<u64>, FileError> {
        // Looked up each time: snapshots are written beside whoever writes segments.
        let name_of = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let names = entries(&self.folder)?.iter().filter_map(name_of).collect::<Vec<_>>();
        let seqs: BTreeSet<u64> =
            names.iter().filter_map(|name| numbered(name, "snapshot-", ".tls")).collect();
        Ok(seqs.into_iter().collect())
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, FileError> {
        let path = self.snapshot_path(seq);
        std::fs::read(&path).map_err(|error| failed("reading", &path, error))
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.snapshot_path(seq);
        let full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        let mut written = self.try_write_snapshot(&path, bytes);
        if written.as_ref().is_err_and(full)
            && let Some(spares) = &mut self.spares
        {
            // Files that wait for use as segments may hold the room; segments are made without them too.
            spares.release();
            written = self.try_write_snapshot(&path, bytes);
        }
        written.map_err(|error| failed("writing", &path, error))?;
        Ok(())
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), FileError> {
        let path = self.snapshot_path(seq);
        let removed = std::fs::remove_file(&path).and_then(|()| sync_names(&self.folder));
        removed.map_err(|error| failed("removing", &path, error))?;
        Ok(())
    }

    fn is_full(error: &FileError) -> bool {
        matches!(error, FileError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull)
    }
}
