//! The journal: the log on disk, written in groups and recovered after any crash.
//!
//! Frames are opaque here beyond their headers. `JOURNAL.md` beside this crate holds the byte tables.
//!
//! **Never:** this crate reads no clock, and only [`file`] and [`archive`] touch files; everything else works on a
//! [`Storage`], so that a simulated disk can fail in every way at every step. A failed write is never retried.

pub mod aligned;
pub mod archive;
pub mod base;
pub mod file;
pub mod group;
pub mod layout;
pub mod recovery;
pub mod simulated;
pub mod storage;
pub mod tail;
mod window;
pub mod writer;

pub use base::Base;
pub use file::{FileError, FileStorage};
pub use recovery::{Cut, RecoverError, Recovered, Tail, read, recover, salvage};
pub use storage::Storage;
pub use tail::Follower;
pub use writer::{Position, WriteError, Writer};
