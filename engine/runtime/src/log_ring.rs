//! The log ring: records of bytes broadcast in place by one writer to many readers, each at its own cursor.
//!
//! A record is one word with its length, then its bytes, then up to 7 bytes of padding: every record starts at a
//! multiple of 8. A record that does not fit before the end of the buffer starts over at its beginning, and a word
//! [`SKIP`] says so. (Mapping the buffer twice would save that word, but neither loom nor Miri could look at it.)
//!
//! Cursors count bytes from the beginning of time; the place in the buffer is the cursor modulo the capacity.
//!
//! * `tail`, stored by the writer: everything before it is published.
//! * one `head` a reader, stored by that reader: everything before it may be overwritten.
//!
//! `slowest head <= tail <= claimed <= slowest head + capacity`, so what the writer fills (`tail..claimed`) and what
//! readers look at (`head..tail`) never meet. Each side keeps a copy of the other's cursor and looks again only when
//! the copy no longer suffices, so a cache line moves between cores once a batch, not once a record.

use super::own_line::OwnLine;
use super::sync::{Arc, AtomicBool, AtomicU64, Ordering, Words};

/// Smallest capacity, bytes.
pub const BYTES_MIN: usize = 64;
/// Largest capacity, bytes.
pub const BYTES_MAX: usize = 1 << 32;

/// Bytes of the word before each record.
const HEADER: usize = 8;
/// In place of a length: the next record is at the beginning of the buffer.
const SKIP: u64 = u64::MAX;
/// In place of a reader's head: it was dropped and holds nobody back.
const GONE: u64 = u64::MAX;

/// A ring of `bytes` bytes and its readers, all at its beginning. It occupies that memory from now on, and 128 bytes
/// more for each reader.
///
/// # Panics
/// Where `bytes` is not a power of two from [`BYTES_MIN`] to [`BYTES_MAX`].
pub fn new(bytes: usize, readers: usize) -> (Writer, Vec<Reader>) {
    assert!(
        bytes.is_power_of_two() && (BYTES_MIN..=BYTES_MAX).contains(&bytes),
        "{bytes} bytes for a log ring"
    );
    let ring = Arc::new(Ring {
        words: Words::new(bytes / 8),
        capacity: bytes as u64,
        written: OwnLine(Written { tail: AtomicU64::new(0), closed: AtomicBool::new(false) }),
        heads: (0..readers).map(|_| OwnLine(AtomicU64::new(0))).collect(),
    });
    let readers = (0..readers).map(|index| Reader { ring: ring.clone(), index, at: 0, tail: 0 }).collect();
    (Writer { ring, claimed: 0, published: 0, floor: 0 }, readers)
}

/// The slowest reader has not released enough for this record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the log ring is full: its slowest reader has not released enough")
    }
}

impl core::error::Error for Full {}

/// The one writer.
pub struct Writer {
    ring: Arc<Ring>,
    /// End of what was handed out to be filled.
    claimed: u64,
    /// The tail as last stored.
    published: u64,
    /// The slowest head when last looked at; it only grows.
    floor: u64,
}

impl Writer {
    /// Room for a record of `len` bytes behind the last one, to be filled before [`publish`](Self::publish); its bytes
    /// are what an earlier lap left there. `None` where the ring is full.
    ///
    /// # Panics
    /// Where `len` is above [`record_max`](Self::record_max).
    pub fn claim(&mut self, len: usize) -> Option<&mut [u8]> {
        assert!(len <= self.record_max(), "a record of {len} bytes in a ring of {}", self.ring.capacity);
        let span = span(len);
        let to_end = self.ring.to_end(self.claimed);
        let skipped = if span <= to_end { 0 } else { to_end };
        if !self.fits(skipped + span) {
            return None;
        }
        if skipped > 0 {
            self.put_header(self.claimed, SKIP);
        }
        let start = self.claimed + skipped;
        self.put_header(start, len as u64);
        self.claimed = start + span;
        // SAFETY: `start..claimed` lies between the tail and the slowest head a lap later (`fits`), so no reader
        // looks at it before `publish` nor any more; the only writer is borrowed while the slice lives.
        Some(unsafe { self.ring.words.write(self.ring.place(start) + HEADER, len) })
    }

    /// Copies a record behind the last one; seen by readers after [`publish`](Self::publish).
    ///
    /// # Panics
    /// Where the record is longer than [`record_max`](Self::record_max).
    pub fn push(&mut self, record: &[u8]) -> Result<(), Full> {
        self.claim(record.len()).ok_or(Full)?.copy_from_slice(record);
        Ok(())
    }

    /// Shows the readers everything claimed so far; `false` where that was nothing new. Whoever wakes sleeping readers
    /// does it after this.
    pub fn publish(&mut self) -> bool {
        let new = self.claimed != self.published;
        if new {
            self.published = self.claimed;
            // Release: whoever sees this tail sees the records before it.
            self.ring.written.0.tail.store(self.claimed, Ordering::Release);
        }
        new
    }

    /// Length in bytes of the longest record that [`claim`](Self::claim) has room for at this moment; readers can
    /// only make it grow. `None` where not even an empty one fits.
    pub fn room(&mut self) -> Option<usize> {
        self.floor = self.ring.slowest_head().min(self.claimed);
        let free = self.ring.capacity - (self.claimed - self.floor);
        let to_end = self.ring.to_end(self.claimed);
        let longest = if free <= to_end { free } else { to_end.max(free - to_end) };
        Some((longest as usize).checked_sub(HEADER)?.min(self.record_max()))
    }

    /// Length in bytes of the longest record. Half the capacity less a word: beyond that a record could meet a place
    /// from which it never fits, however empty the ring.
    pub fn record_max(&self) -> usize {
        self.ring.capacity as usize / 2 - HEADER
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> usize {
        self.ring.capacity as usize
    }

    /// Bytes, headers and padding included, that were claimed and that a reader, by its place among those of [`new`], has not
    /// released yet; 0 where it is gone.
    pub fn behind_bytes(&self, reader: usize) -> u64 {
        let head = self.ring.heads[reader].0.load(Ordering::Relaxed);
        if head == GONE { 0 } else { self.claimed - head }
    }

    /// Whether `bytes` more can be claimed; asks the readers only where the last answer does not suffice.
    fn fits(&mut self, bytes: u64) -> bool {
        let end = self.claimed + bytes;
        if end - self.floor > self.ring.capacity {
            self.floor = self.ring.slowest_head().min(self.claimed);
        }
        end - self.floor <= self.ring.capacity
    }

    fn put_header(&self, at: u64, header: u64) {
        // SAFETY: called for bytes that `fits` has found free, as in `claim`.
        let word = unsafe { self.ring.words.write(self.ring.place(at), HEADER) };
        word.copy_from_slice(&header.to_ne_bytes());
    }
}

/// What was claimed and not published is never seen.
impl Drop for Writer {
    fn drop(&mut self) {
        // Release: whoever sees the flag sees the last tail.
        self.ring.written.0.closed.store(true, Ordering::Release);
    }
}

/// One reader. While it lives, the writer waits for it.
pub struct Reader {
    ring: Arc<Ring>,
    index: usize,
    /// Behind the last record returned.
    at: u64,
    /// The tail when last looked at; it only grows.
    tail: u64,
}

impl Reader {
    /// The next published record, in place; `None` where there is none yet.
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Option<&[u8]> {
        if self.at == self.tail {
            // Acquire: the records before this tail are seen as written.
            self.tail = self.ring.written.0.tail.load(Ordering::Acquire);
            if self.at == self.tail {
                return None;
            }
        }
        let mut len = self.header(self.at);
        if len == SKIP {
            // A skip is published with the record behind it, so that record is there.
            self.at += self.ring.to_end(self.at);
            len = self.header(self.at);
        }
        let start = self.at;
        self.at += span(len as usize);
        assert!(self.at <= self.tail, "a record ends where the writer has not published");
        // SAFETY: `start..at` lies before the tail, whose load acquired it, and behind this reader's head, which the
        // writer does not pass; `release` needs this reader, which is borrowed while the slice lives.
        Some(unsafe { self.ring.words.read(self.ring.place(start) + HEADER, len as usize) })
    }

    /// Whether [`next`](Self::next) would return a record.
    pub fn has_next(&self) -> bool {
        self.behind_bytes() > 0
    }

    /// Bytes, headers and padding included, published and not yet read.
    pub fn behind_bytes(&self) -> u64 {
        // Relaxed: a count only; `next` acquires before it looks at a record.
        self.ring.written.0.tail.load(Ordering::Relaxed) - self.at
    }

    /// Lets the writer overwrite every record returned so far.
    pub fn release(&mut self) {
        // Release: the writer that sees this head overwrites only after these reads.
        self.ring.heads[self.index].0.store(self.at, Ordering::Release);
    }

    /// Whether the writer is gone and every record it published was returned.
    pub fn ended(&self) -> bool {
        // The flag first: the tail that is read after it is the last one.
        self.ring.written.0.closed.load(Ordering::Acquire) && !self.has_next()
    }

    fn header(&self, at: u64) -> u64 {
        // SAFETY: as in `next`: `at` lies between this reader's head and the tail.
        let word = unsafe { self.ring.words.read(self.ring.place(at), HEADER) };
        let mut header = [0; HEADER];
        header.copy_from_slice(word);
        u64::from_ne_bytes(header)
    }
}

/// From now on the writer does not wait for this reader.
impl Drop for Reader {
    fn drop(&mut self) {
        self.ring.heads[self.index].0.store(GONE, Ordering::Release);
    }
}

/// What both sides share.
struct Ring {
    words: Words,
    capacity: u64,
    written: OwnLine<Written>,
    heads: Box<[OwnLine<AtomicU64>]>,
}

/// What the writer stores.
struct Written {
    tail: AtomicU64,
    closed: AtomicBool,
}

impl Ring {
    fn place(&self, cursor: u64) -> usize {
        (cursor & (self.capacity - 1)) as usize
    }

    fn to_end(&self, cursor: u64) -> u64 {
        self.capacity - (cursor & (self.capacity - 1))
    }

    /// [`GONE`] where no reader is left.
    fn slowest_head(&self) -> u64 {
        // Acquire: the reads of those who released happened before what the writer does next.
        self.heads.iter().map(|head| head.0.load(Ordering::Acquire)).min().unwrap_or(GONE)
    }
}

/// Bytes that a record takes with its header and padding.
fn span(len: usize) -> u64 {
    (HEADER + len.next_multiple_of(8)) as u64
}
