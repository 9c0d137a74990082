//! What the journal needs of a disk.

/// Segments of a journal, by generation. Every write is durable when it returns.
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

    /// Whether an error means that there is no room.
    fn is_full(error: &Self::Error) -> bool;
}
