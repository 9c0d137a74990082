//! Why a journal's files could not be used, and what to do about it.

use crate::layout::SEGMENT_BYTES_MIN;
use std::io;
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
    /// Another node uses the folder, of a journal or an archive.
    #[error("{path} is in use by another node (process {pid}); stop it or choose another folder")]
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

pub(crate) fn failed(what: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError::Io { what, path: path.to_owned(), error }
}
