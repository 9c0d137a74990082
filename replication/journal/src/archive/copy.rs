//! Adding a sealed segment to an archive: whole under its name and then signed, or not there.

use super::signature::{BEGIN, Signature, Signer};
use super::{ArchiveError, Key, Misfit};
use crate::file::{SIGNATURE, entries, failed, lock, numbered, segment_path, sync_names, write_whole};
use blake3::Hash;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes copied at once.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// A folder that sealed segments of one journal are copied to.
#[derive(Debug)]
pub struct Archive {
    journal: PathBuf,
    folder: PathBuf,
    key: Option<Key>,
    /// The last segment in it and its signature.
    last: Option<(u64, Hash)>,
    _lock: File,
}

impl Archive {
    /// Opens an archive of a journal's folder, creating it where it is missing, and locks it. What it holds already is
    /// continued, not verified.
    pub fn open(journal: &Path, folder: &Path, key: Option<Key>) -> Result<Self, ArchiveError> {
        let lock = lock(folder)?;
        for part in crate::file::parts(folder)? {
            std::fs::remove_file(&part).map_err(|error| failed("removing", &part, error))?;
        }
        // A segment without signature was being added when the process died: it is copied again.
        let last = generations(folder, SIGNATURE)?.last().copied();
        let last = last.map(|generation| {
            let signature = read_signature(folder, generation)?;
            let misfit = |why| ArchiveError::Misfit { generation, why };
            let signature = signature.ok_or(misfit(Misfit::Malformed))?;
            match (signature.keyed, &key) {
                (true, None) => Err(misfit(Misfit::NeedsKey)),
                (false, Some(_)) => Err(misfit(Misfit::Keyless)),
                _ => Ok((generation, signature.hash)),
            }
        });
        let (journal, folder) = (journal.to_owned(), folder.to_owned());
        Ok(Archive { journal, folder, key, last: last.transpose()?, _lock: lock })
    }

    /// The first segment that is not in it; 0 while it is empty, for then none is.
    pub fn next(&self) -> u64 {
        self.last.map_or(0, |(generation, _)| generation + 1)
    }

    /// Adds the journal's first segment below a generation that is not in it yet; durable when it returns. `false` where
    /// there is none. Ends with [`io::ErrorKind::Interrupted`] when told to stop.
    pub fn add(&mut self, below: u64, stop: &AtomicBool) -> Result<bool, ArchiveError> {
        let sealed = generations(&self.journal, ".tlj")?;
        let Some(first) = sealed.into_iter().find(|generation| (self.next()..below).contains(generation))
        else {
            return Ok(false);
        };
        if let Some((last, _)) = self.last.filter(|(last, _)| last + 1 != first) {
            return Err(ArchiveError::Gap { path: self.folder.clone(), last, first });
        }
        let signature = self.copy(first, stop)?;
        self.last = Some((first, signature.hash));
        Ok(true)
    }

    fn copy(&self, generation: u64, stop: &AtomicBool) -> Result<Signature, ArchiveError> {
        let (from, to) = (segment_path(&self.journal, generation), segment_path(&self.folder, generation));
        let previous = self.last.map_or(BEGIN, |(_, hash)| hash);
        let part = to.with_extension("part");
        let copied = File::open(&from).and_then(|from| {
            let mut signer = Signer::new(self.key.as_ref(), generation, from.metadata()?.len(), previous);
            let mut out = File::create(&part)?;
            pieces(&from, &mut |piece| {
                signer.add(piece);
                if stop.load(Ordering::Relaxed) {
                    Err(io::ErrorKind::Interrupted.into())
                } else {
                    out.write_all(piece)
                }
            })?;
            out.sync_all()?;
            std::fs::rename(&part, &to)?;
            Ok(signer.sign())
        });
        // The bytes first, then the signature: only what is signed counts.
        let signed = copied.and_then(|signature| {
            sync_names(&self.folder)?;
            write_whole(&part, signature.to_string().as_bytes())?;
            std::fs::rename(&part, signature_path(&self.folder, generation))?;
            sync_names(&self.folder)?;
            Ok(signature)
        });
        Ok(signed.map_err(|error| {
            let _ = std::fs::remove_file(&part);
            failed("archiving as", &to, error)
        })?)
    }
}

/// Reads a file from its start to its end.
pub(super) fn pieces(mut file: &File, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => each(&piece[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Generations in a folder whose files' names end so, ascending.
pub(super) fn generations(folder: &Path, behind: &str) -> Result<Vec<u64>, ArchiveError> {
    let names = entries(folder)?;
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    let mut found: Vec<u64> = names.filter_map(|name| numbered(name, "segment-", behind)).collect();
    found.sort_unstable();
    Ok(found)
}

pub(super) fn signature_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("segment-{generation:016x}{SIGNATURE}"))
}

/// The signature of a segment that has one; `None` where its file cannot be read as one.
pub(super) fn read_signature(folder: &Path, generation: u64) -> Result<Option<Signature>, ArchiveError> {
    let path = signature_path(folder, generation);
    let bytes = std::fs::read(&path).map_err(|error| failed("reading", &path, error))?;
    let signature = std::str::from_utf8(&bytes).ok().and_then(Signature::parse);
    Ok(signature.filter(|signature| signature.generation == generation))
}
