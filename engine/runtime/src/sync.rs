//! What the lock-free files are built from, in one place, so that the ordering tests can put loom's in its stead.
//!
//! `tests/ordering` compiles [`log_ring`](crate::log_ring) and `asleep` a second time beside a `sync` of its own.
//! They therefore name nothing of the standard library that loom has to see.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use std::cell::UnsafeCell;

/// A fixed row of 8-byte words that several threads read and write as bytes, by their own agreement.
pub(crate) struct Words(Box<[UnsafeCell<u64>]>);

// SAFETY: every access goes through `read` and `write`, whose callers promise that no write overlaps another access.
unsafe impl Sync for Words {}

impl Words {
    /// Writes every word once, so that the first lap of a ring meets no page fault. The pattern is not zero, because
    /// zeros might be had from the kernel untouched.
    pub(crate) fn new(count: usize) -> Self {
        Words((0..count).map(|_| UnsafeCell::new(u64::MAX)).collect())
    }

    /// `len` bytes from byte `at`, a multiple of 8.
    ///
    /// # Safety
    /// No thread may write one of these bytes while the slice lives, and the last write happened before this call.
    pub(crate) unsafe fn read(&self, at: usize, len: usize) -> &[u8] {
        let first = self.first(at, len);
        // SAFETY: in bounds by `first`, initialised at creation; unwritten meanwhile by this function's contract.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    /// `len` bytes from byte `at`, a multiple of 8, to be written.
    ///
    /// # Safety
    /// No thread may read or write one of these bytes while the slice lives, and the last access happened before
    /// this call.
    #[expect(clippy::mut_from_ref, reason = "the callers divide the words among themselves")]
    pub(crate) unsafe fn write(&self, at: usize, len: usize) -> &mut [u8] {
        let first = self.first(at, len);
        // SAFETY: in bounds by `first`, initialised at creation; not aliased by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(first, len) }
    }

    fn first(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at.is_multiple_of(8) && at + len <= self.0.len() * 8);
        // The pointer comes from the whole slice, so that it may reach every word.
        UnsafeCell::raw_get(self.0.as_ptr()).cast::<u8>().wrapping_add(at)
    }
}
