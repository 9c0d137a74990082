//! What one thread stores often, kept off the cache lines of others.

/// Alone on its cache line, and on the neighbour that is fetched with it.
#[repr(align(128))]
pub(crate) struct OwnLine<T>(pub(crate) T);
