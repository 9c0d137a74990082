//! loom's types in the place of the standard library's.

pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use loom::cell::UnsafeCell as WatchedUnsafeCell;
use std::cell::UnsafeCell;

/// Words with one of loom's cells beside each, through which every access is announced.
pub(crate) struct Words {
    words: Box<[UnsafeCell<u64>]>,
    watched: Box<[WatchedUnsafeCell<()>]>,
}

// SAFETY: loom runs one thread at a time.
unsafe impl Sync for Words {}

impl Words {
    pub(crate) fn new(count: usize) -> Self {
        Words {
            words: (0..count).map(|_| UnsafeCell::new(u64::MAX)).collect(),
            watched: (0..count).map(|_| WatchedUnsafeCell::new(())).collect(),
        }
    }

    pub(crate) unsafe fn read(&self, at: usize, len: usize) -> &[u8] {
        self.watched[at / 8..(at + len).div_ceil(8)].iter().for_each(|cell| cell.with(|_| ()));
        // SAFETY: the cells have found no write that is not ordered before.
        unsafe { std::slice::from_raw_parts(self.first(at), len) }
    }

    #[expect(clippy::mut_from_ref, reason = "as in the original")]
    pub(crate) unsafe fn write(&self, at: usize, len: usize) -> &mut [u8] {
        self.watched[at / 8..(at + len).div_ceil(8)].iter().for_each(|cell| cell.with_mut(|_| ()));
        // SAFETY: the cells have found no access that is not ordered before.
        unsafe { std::slice::from_raw_parts_mut(self.first(at), len) }
    }

    fn first(&self, at: usize) -> *mut u8 {
        UnsafeCell::raw_get(self.words.as_ptr()).cast::<u8>().wrapping_add(at)
    }
}
