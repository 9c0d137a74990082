//! The journal's files: the one place that does I/O.

use crate::layout::SEGMENT_BYTES_MIN;
use crate::storage::Storage;
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why a journal folder or file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// An operation failed.
    #[error("{what} {path}: {error}{}", advice(error))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
    /// Another node uses the folder.
    #[error(
        "the journal {path} is in use by another node (process {pid}); stop it or choose another journal folder"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that wrote the lock file.
        pid: String,
    },
    /// A file that does not belong.
    #[error("{path} does not belong in a journal folder; move it away")]
    Stranger {
        /// The file.
        path: PathBuf,
    },
    /// Segments would be too small.
    #[error("segments of {0} bytes are too small or no multiple of 4096; use at least {SEGMENT_BYTES_MIN}")]
    SegmentBytes(u64),
}

/// What to do about a failure that an operator can end.
fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull => "; make room there or choose another journal folder",
        PermissionDenied | ReadOnlyFilesystem => {
            "; let this process write there or choose another journal folder"
        }
        _ => "",
    }
}

/// A folder of segment files.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
    files: BTreeMap<u64, File>,
    snapshots: BTreeSet<u64>,
    /// Held while a node uses the folder; readers hold none.
    _lock: Option<File>,
}

impl FileStorage {
    /// Opens a folder for writing, creating it where it is missing, and locks it against other nodes.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| failed("creating the journal folder", folder, error))?;
        let lock = lock(folder)?;
        Self::files(folder, true, Some(lock))
    }

    /// Opens a folder for reading only; a node may be writing to it.
    pub fn open_read_only(folder: &Path) -> Result<Self, FileError> {
        Self::files(folder, false, None)
    }

    fn files(folder: &Path, write: bool, lock: Option<File>) -> Result<Self, FileError> {
        let (mut files, mut snapshots) = (BTreeMap::new(), BTreeSet::new());
        let entries =
            std::fs::read_dir(folder).map_err(|error| failed("reading the journal folder", folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| failed("reading the journal folder", folder, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A segment that was being allocated when the process died was never used.
            if name == LOCK || name.ends_with(".part") {
                continue;
            }
            if let Some(seq) = numbered(name, "snapshot-", ".tls") {
                snapshots.insert(seq);
                continue;
            }
            let Some(generation) = numbered(name, "segment-", ".tlj") else {
                return Err(FileError::Stranger { path });
            };
            let file = OpenOptions::new().read(true).write(write).open(&path);
            files.insert(generation, file.map_err(|error| failed("opening", &path, error))?);
        }
        Ok(FileStorage { folder: folder.to_owned(), files, snapshots, _lock: lock })
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("segment-{generation:016x}.tlj"))
    }

    fn snapshot_path(&self, seq: u64) -> PathBuf {
        self.folder.join(format!("snapshot-{seq:016x}.tls"))
    }

    /// Makes what happened to the folder's names durable.
    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder).and_then(|folder| folder.sync_all())
    }

    fn file(&self, generation: u64) -> Result<&File, FileError> {
        let missing = || failed("opening", &self.path(generation), io::ErrorKind::NotFound.into());
        self.files.get(&generation).ok_or_else(missing)
    }
}

const LOCK: &str = "LOCK";

fn lock(folder: &Path) -> Result<File, FileError> {
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
fn numbered(name: &str, before: &str, behind: &str) -> Option<u64> {
    let digits = name.strip_prefix(before)?.strip_suffix(behind)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError::Io { what, path: path.to_owned(), error }
}

impl Storage for FileStorage {
    type Error = FileError;

    fn list(&self) -> Result<Vec<u64>, FileError> {
        Ok(self.files.keys().copied().collect())
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), FileError> {
        let path = self.path(generation);
        let making = |error| failed("allocating", &path, error);
        let part = path.with_extension("part");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(making)?;
        let written = write_zeros(&file, bytes).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| std::fs::rename(&part, &path)) {
            let _ = std::fs::remove_file(&part);
            return Err(making(error));
        }
        self.sync_names().map_err(making)?;
        self.files.insert(generation, file);
        Ok(())
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
        let file = self.file(generation)?;
        let written = file.write_all_at(bytes, offset).and_then(|()| file.sync_data());
        written.map_err(|error| failed("writing", &self.path(generation), error))
    }

    fn remove(&mut self, generation: u64) -> Result<(), FileError> {
        let path = self.path(generation);
        let removed = std::fs::remove_file(&path).and_then(|()| self.sync_names());
        removed.map_err(|error| failed("removing", &path, error))?;
        self.files.remove(&generation);
        Ok(())
    }

    fn snapshots(&self) -> Result<Vec<u64>, FileError> {
        Ok(self.snapshots.iter().copied().collect())
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, FileError> {
        let path = self.snapshot_path(seq);
        std::fs::read(&path).map_err(|error| failed("reading", &path, error))
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.snapshot_path(seq);
        let part = path.with_extension("part");
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let kept = written.and_then(|()| std::fs::rename(&part, &path)).and_then(|()| self.sync_names());
        if let Err(error) = kept {
            let _ = std::fs::remove_file(&part);
            return Err(failed("writing", &path, error));
        }
        self.snapshots.insert(seq);
        Ok(())
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), FileError> {
        let path = self.snapshot_path(seq);
        let removed = std::fs::remove_file(&path).and_then(|()| self.sync_names());
        removed.map_err(|error| failed("removing", &path, error))?;
        self.snapshots.remove(&seq);
        Ok(())
    }

    fn is_full(error: &FileError) -> bool {
        matches!(error, FileError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull)
    }
}

/// Zeros are written, not left as a hole: a later write then needs no room and changes no metadata.
fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(zeros.len() as u64) as usize;
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    Ok(())
}
