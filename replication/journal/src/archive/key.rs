//! The secret that signatures of an archive are made with.

use super::ArchiveError;
use crate::file::failed;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub(super) [u8; 32]);

impl Key {
    /// Reads a key from a file of 64 hexadecimal digits that nobody but its owner and group may read.
    pub fn load(path: &Path) -> Result<Self, ArchiveError> {
        let wrong = |why| ArchiveError::Key { path: path.to_owned(), why };
        let mode = std::fs::metadata(path).map_err(|error| failed("reading", path, error))?.mode();
        if mode & 0o007 != 0 {
            return Err(wrong("everybody on this machine may use it, which chmod 600 ends"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed("reading", path, error))?;
        blake3::Hash::from_hex(text.trim())
            .map(|bytes| Key(*bytes.as_bytes()))
            .map_err(|_| wrong("it does not hold 64 hexadecimal digits"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}
