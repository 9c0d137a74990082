//! What the journal needs of a disk.

/// Segments of a journal, by generation, and snapshots beside them, by sequence. Every write is durable when it returns.
pub trait Storage {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Generations of the segments that exist, ascending.
    fn list(&self) -> Result<Vec<u64>, Self::Error>;

    /// Creates a segment of zeros; durable, its name included.
    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), Self::Error>;

    /// Length of a segment.
    fn size(&self, generation: u64) -> Result<u64, Self::Error>;

    /// Fills a buffer from a segment.
    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes to a segment, within its length; durable when it returns.
    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Removes a segment; durable.
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
