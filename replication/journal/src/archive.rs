//! Sealed segments outside the journal's folder, signed so that none can go missing, change places or change unnoticed.
//!
//! A segment is **sealed** once its successor has begun: nothing is written to it any more. It is copied under its own name,
//! whole and durable or not there, and then gets a signature file beside it: BLAKE3 over generation, length, the signature
//! before it and its bytes. So each signature stands for the whole archive up to it.
//!
//! With a **key** the hash is keyed: only who holds the 32 bytes can make signatures that fit, and whoever can write to the
//! archive but not read the key can neither alter, drop nor exchange a segment unnoticed. The key stays with the node and with
//! whoever verifies; it is a secret of its own, not the cluster's, so that an auditor can be given it without the means to
//! join the cluster. A signature with a private key would tell the auditor from the signer; it would not protect better
//! against anybody without the key, and needs a second algorithm to keep up. Without a key the chain finds accidents, not
//! forgery, and says so.
//!
//! What no chain can tell by itself is that its **end** is missing: compare the last generation with the journal's.

mod copy;
mod key;
mod signature;
mod thread;
mod verify;

pub use copy::Archive;
pub use key::Key;
pub use thread::Archiver;
pub use verify::{Verified, verify_archive};

use crate::file::FileError;
use std::path::PathBuf;

/// Why an archive cannot be added to, or does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file or folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key's file.
    #[error("{path} is no key for archives: {why}; `head -c 32 /dev/urandom | xxd -p -c 64` makes one")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The journal no longer holds what the archive needs next.
    #[error(
        "the archive {path} ends with segment {last}, but the journal begins with {first}: what lies between was \
         removed before it was archived; choose a new archive folder, and keep this one"
    )]
    Gap {
        /// The archive.
        path: PathBuf,
        /// Its last segment.
        last: u64,
        /// The journal's first.
        first: u64,
    },
    /// There is nothing in it.
    #[error("{0} holds no archive; give the folder that sealed segments are copied to")]
    Empty(PathBuf),
    /// A segment does not fit; those before it do.
    #[error("segment {generation} {why}; the segments before it hold together")]
    Misfit {
        /// The segment.
        generation: u64,
        /// What is wrong.
        why: Misfit,
    },
}

/// What is wrong with a segment of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It has no signature.
    #[error("has no signature")]
    Unsigned,
    /// Its signature file is not one.
    #[error("has a signature file that cannot be read")]
    Malformed,
    /// Its signature continues another one.
    #[error("does not follow the segment before it: one of the two is of another archive, or was exchanged")]
    OutOfChain,
    /// Its bytes are not those that were signed.
    #[error("is not what was signed: it was altered or exchanged, or signed with another key")]
    Altered,
    /// It is signed with a key, and none was given.
    #[error("is signed with a key; give its file")]
    NeedsKey,
    /// It is signed without the key.
    #[error("is signed without a key, by whoever it was")]
    Keyless,
}
