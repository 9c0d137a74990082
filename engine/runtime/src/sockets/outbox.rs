//! Bytes on their way to a peer: those the system is working on, and those that gather behind them.

/// Spare buffers kept for connections that begin to send, so that a silent connection holds none.
const SPARES_MAX: usize = 64;
/// A buffer that grew beyond this goes back to the allocator.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Empty buffers that connections share.
#[derive(Default)]
pub(super) struct Spares(Vec<Vec<u8>>);

impl Spares {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= SPARE_BYTES_MAX && self.0.len() < SPARES_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// The output of one connection.
#[derive(Default)]
pub(super) struct Outbox {
    flying: Vec<u8>,
    /// How much of `flying` the system took.
    taken: usize,
    gathered: Vec<u8>,
}

impl Outbox {
    /// Bytes that the system has not taken.
    pub(super) fn waiting(&self) -> usize {
        self.flying.len() - self.taken + self.gathered.len()
    }

    pub(super) fn push(&mut self, data: &[u8], spares: &mut Spares) {
        if self.gathered.capacity() == 0 {
            self.gathered = spares.take();
        }
        self.gathered.extend_from_slice(data);
    }

    /// What to write next: the rest of what was begun, else everything that gathered; empty where nothing waits. The
    /// bytes stay where they are until [`Outbox::took`] or [`Outbox::next`].
    pub(super) fn next(&mut self) -> &[u8] {
        if self.flying.is_empty() {
            std::mem::swap(&mut self.flying, &mut self.gathered);
        }
        &self.flying[self.taken..]
    }

    /// The system took `count` of the bytes that [`Outbox::next`] gave.
    pub(super) fn took(&mut self, count: usize, spares: &mut Spares) {
        self.taken = (self.taken + count).min(self.flying.len());
        if self.taken == self.flying.len() {
            self.taken = 0;
            spares.put(std::mem::take(&mut self.flying));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gathers_during_a_write_goes_with_the_next() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        outbox.push(b"abc", &mut spares);
        assert_eq!(outbox.next(), b"abc");
        outbox.push(b"de", &mut spares);
        outbox.push(b"f", &mut spares);
        outbox.took(2, &mut spares);
        assert_eq!((outbox.waiting(), outbox.next()), (4, &b"c"[..]));
        outbox.took(1, &mut spares);
        assert_eq!(outbox.next(), b"def");
        outbox.took(3, &mut spares);
        assert_eq!((outbox.waiting(), outbox.next()), (0, &b""[..]));
    }

    #[test]
    fn an_empty_outbox_owns_no_memory_and_large_buffers_are_not_kept() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        for bytes in [10, SPARE_BYTES_MAX + 1] {
            outbox.push(&vec![1; bytes], &mut spares);
            let count = outbox.next().len();
            outbox.took(count, &mut spares);
            assert_eq!(outbox.flying.capacity() + outbox.gathered.capacity(), 0);
        }
        assert!(spares.0.iter().all(|spare| spare.capacity() <= SPARE_BYTES_MAX));
    }
}
