//! What the journal needs of a disk.

/// Segments of a journal, by generation, and snapshots beside them, by sequence. Every write is durable when it returns.
pub trait Storage {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Generations of the segments that exist, ascending.
    fn list(&self) -> Result<Vec<u64>, Self::Error>;

    /// Creates a segment of zeros; durable, its name included.
    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), Self::Error>;

    /// Has a segment of zeros made beside everything else: `true` once it is there as after [`create`](Self::create),
    /// `false` while that goes on, to be asked again. Asking never waits; creating the same segment meanwhile does.
    fn prepare(&mut self, generation: u64, bytes: u64) -> Result<bool, Self::Error> {
        self.create(generation, bytes).map(|()| true)
    }

    /// Length of a segment.
    fn size(&self, generation: u64) -> Result<u64, Self::Error>;

    /// Fills a buffer from a segment.
    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes to a segment, within its length; durable when it returns. Whole [blocks](crate::aligned) take the short way.
    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Removes a segment that the log no longer needs. Its room may serve a later one. A crash soon after may bring it
    /// back as it was, and nothing else.
    fn remove(&mut self, generation: u64) -> Result<(), Self::Error>;

    /// Sequences of the snapshots that exist, ascending.
    fn snapshots(&self) -> Result<Vec<u64>, Self::Error>;

    /// The bytes of a snapshot.
    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, Self::Error>;

    /// Keeps a snapshot: whole under its name, or not there.
    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Removes a snapshot.
    fn remove_snapshot(&mut self, seq: u64) -> Result<(), Self::Error>;

    /// Whether an error means that there is no room.
    fn is_full(error: &Self::Error) -> bool;
}
