//! A file's bytes shared with another process, which may write anything to them at any time.
//!
//! Nothing here hands out a reference to plain bytes: control words are atomics, and data is copied in or out whole.

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Shared bytes.
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and all access to it is atomic or a copy.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file.
    pub(super) fn new(file: &File, length: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, length })
    }

    /// The word at an offset.
    ///
    /// # Panics
    ///
    /// Where it is not within the mapping, or not aligned. Offsets are constants of this program, never the file's.
    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: within the mapping, which lives as long as `self`, and aligned; other processes may write to it,
        // which an atomic allows for.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The half word at an offset; as [`Mapping::word`].
    pub(super) fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Copies bytes in.
    ///
    /// # Panics
    ///
    /// Where they do not fit behind the offset.
    pub(super) fn copy_in(&self, offset: usize, data: &[u8]) {
        assert!(offset <= self.length && data.len() <= self.length - offset);
        // SAFETY: the target is within the mapping, of which no reference to plain bytes exists. Should the peer write
        // there too, it spoils its own input.
        unsafe { self.start.as_ptr().add(offset).copy_from_nonoverlapping(data.as_ptr(), data.len()) }
    }

    /// Appends a copy of bytes.
    ///
    /// # Panics
    ///
    /// Where they are not within the mapping.
    pub(super) fn copy_out(&self, offset: usize, length: usize, into: &mut Vec<u8>) {
        assert!(offset <= self.length && length <= self.length - offset);
        into.reserve(length);
        // SAFETY: the source is within the mapping, the target has room and overlaps nothing. Should the peer write at
        // the same time, the copy holds some of its old or new bytes, and any byte is valid; nobody looks at the source
        // again. The length is set to what was just initialised.
        unsafe {
            let target = into.as_mut_ptr().add(into.len());
            target.copy_from_nonoverlapping(self.start.as_ptr().add(offset), length);
            into.set_len(into.len() + length);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made in `new` with this length; whatever borrowed from it is gone.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
