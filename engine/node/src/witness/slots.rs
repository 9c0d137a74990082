//! The witness's register in a folder: a file a slot, and a lock that keeps a second witness out.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use touchline_lockstep::Slots;
use touchline_lockstep::slots::SLOT_BYTES;

/// What the folder refused.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The system.
    #[error("{doing} {path}: {error}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Another witness runs on it.
    #[error("{0} belongs to another running witness; stop that one, or give this one a folder of its own")]
    Taken(PathBuf),
}

/// Both slots.
#[derive(Debug)]
pub struct FileSlots {
    slots: [(PathBuf, File); 2],
    /// Held as long as the slots are.
    _lock: File,
}

impl FileSlots {
    /// Opens the folder, and makes it and blank slots where there are none. A new name is durable before this returns.
    pub fn open(folder: &Path) -> Result<FileSlots, SlotsError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |error| SlotsError::Io { doing, path, error }
        };
        std::fs::create_dir_all(folder).map_err(failed("making the folder", folder))?;
        let locked = folder.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&locked);
        let lock = lock.map_err(failed("opening", &locked))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(SlotsError::Taken(folder.to_owned())),
            locked_or_not => locked_or_not.map_err(io::Error::from).map_err(failed("locking", &locked))?,
        }
        let open = |slot: usize| {
            let path = folder.join(format!("register.{slot}"));
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path);
            file.map_err(failed("opening", &path)).map(|file| (path, file))
        };
        let slots = [open(0)?, open(1)?];
        // The names in the folder, and the folder's own.
        for place in [folder, &folder.join("..")] {
            File::open(place).and_then(|open| open.sync_all()).map_err(failed("syncing", place))?;
        }
        Ok(FileSlots { slots, _lock: lock })
    }
}

impl Slots for FileSlots {
    type Error = SlotsError;

    fn read(&self, slot: usize) -> Result<Vec<u8>, SlotsError> {
        let (path, file) = &self.slots[slot];
        // One byte more than a slot has: a longer file is none.
        let mut bytes = vec![0; SLOT_BYTES + 1];
        let mut length = 0;
        while length < bytes.len() {
            match file.read_at(&mut bytes[length..], length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SlotsError::Io { doing: "reading", path: path.clone(), error }),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), SlotsError> {
        let (path, file) = &self.slots[slot];
        let written = file
            .write_all_at(bytes, 0)
            .and_then(|()| file.set_len(bytes.len() as u64))
            .and_then(|()| file.sync_all());
        written.map_err(|error| SlotsError::Io { doing: "writing", path: path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_lockstep::{Boot, NodeId, Register, RegisterStore, TwoSlots};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("touchline-slots-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_register_outlives_its_process_and_either_slot() {
        let folder = folder("outlives");
        let register = Register::first(NodeId(1), Boot(7));
        let mut store = TwoSlots::new(FileSlots::open(&folder).unwrap(), None);
        assert_eq!(store.load().unwrap(), None);
        assert!(store.swap(None, &register).unwrap());
        for rotten in ["register.0", "register.1"] {
            drop(store);
            std::fs::write(folder.join(rotten), b"rot, and more of it than a slot has ".repeat(9)).unwrap();
            store = TwoSlots::new(FileSlots::open(&folder).unwrap(), None);
            assert_eq!(store.load().unwrap(), Some(register), "{rotten}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_second_witness_is_refused_with_the_folder_s_name() {
        let folder = folder("second");
        let first = FileSlots::open(&folder).unwrap();
        let refused = FileSlots::open(&folder).unwrap_err().to_string();
        assert!(
            refused.contains(&folder.display().to_string()) && refused.contains("another running"),
            "{refused}"
        );
        drop(first);
        FileSlots::open(&folder).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }
}
