//! Receive buffers lent to the kernel: it picks one for each piece of input, and gets it back after the event.

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only group of buffers of a ring.
pub(crate) const GROUP: u16 = 0;

/// Zeroed, page-aligned memory.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    fn new(bytes: usize) -> io::Result<Region> {
        let layout = Layout::from_size_align(bytes.max(1), 4096)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "receive buffers beyond all memory"))?;
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        Ok(Region { start, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout and owned by this value alone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Buffers of equal size and the ring through which the kernel takes them.
pub(crate) struct Buffers {
    entries: Region,
    memory: Region,
    count: u16,
    bytes: usize,
    tail: u16,
}

impl Buffers {
    /// Lends `count` buffers, a power of two, of `bytes` each to a ring.
    ///
    /// # Safety
    ///
    /// The buffers are dropped only after the last receive of this ring has ended.
    pub(crate) unsafe fn lend(ring: &IoUring, count: u16, bytes: usize) -> io::Result<Buffers> {
        let entries = Region::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Region::new(usize::from(count) * bytes)?;
        // SAFETY: the entries are page-aligned, zeroed, of the length that is told, and outlive their use as promised.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.start.as_ptr() as u64, count, GROUP, 0)?;
        }
        let mut buffers = Buffers { entries, memory, count, bytes, tail: 0 };
        (0..count).for_each(|index| buffers.give_back(index));
        Ok(buffers)
    }

    /// The input that the kernel put into a buffer; none where it names a buffer or a length that does not exist.
    pub(crate) fn get(&self, index: u16, length: usize) -> Option<&[u8]> {
        if index >= self.count || length > self.bytes {
            return None;
        }
        // SAFETY: within `memory`, as was just checked, and initialised, for it was allocated zeroed. The kernel told in
        // a completion that it has filled this buffer and writes to it again only after `give_back`, which needs
        // `&mut self` and so cannot happen while the slice is alive.
        Some(unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(index) * self.bytes);
            std::slice::from_raw_parts(start, length)
        })
    }

    /// Lends a buffer to the kernel again.
    pub(crate) fn give_back(&mut self, index: u16) {
        if index >= self.count {
            return;
        }
        let first = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the masked tail is an entry of `entries`; the kernel reads it only after the tail has passed it. The
        // buffer's address is within `memory`.
        unsafe {
            let entry = &mut *first.add(usize::from(self.tail & (self.count - 1)));
            entry.set_addr(self.memory.start.as_ptr().add(usize::from(index) * self.bytes) as u64);
            entry.set_len(self.bytes as u32);
            entry.set_bid(index);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry, is aligned to two bytes, and is shared with the kernel as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
