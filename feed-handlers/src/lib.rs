//! Bytes of feed sources to feed updates.
