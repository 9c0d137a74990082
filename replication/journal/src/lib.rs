//! The journal: segments, groups, writer, reader, recovery.
