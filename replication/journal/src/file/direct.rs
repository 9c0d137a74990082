//! Writing past the page cache: direct, synchronous, and only where the file system can.

use crate::aligned;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::IntoBytes;

/// Zeros of one write: while a segment is being zeroed, a group waits behind one of these at most.
const PIECE_BYTES: u64 = 256 << 10;

/// Opens a file for direct writes; with `durable` each is on the medium when it returns. `None` where the file system knows
/// no direct writes.
pub(super) fn open(path: &Path, durable: bool) -> io::Result<Option<File>> {
    let flags = if durable { OFlags::DIRECT | OFlags::DSYNC } else { OFlags::DIRECT };
    let opened = OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path);
    match opened {
        Err(error) if refuses(&error) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Whether an error says that direct writes are not for this file system, or not from there on: the whole is then written
/// another way.
pub(super) fn refuses(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

/// Writes zeros over the whole length of a file and makes them durable, until told to stop. Zeros are written, not left as
/// a hole: a later write then needs no room and changes no metadata. `file` is open for buffered writes, `direct`, where
/// there is one, for direct ones.
pub(super) fn zero(file: &File, direct: Option<&File>, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    reserve(file, bytes)?;
    let zeros = aligned::zeros(PIECE_BYTES);
    let (zeros, out) = (zeros.as_bytes(), direct.unwrap_or(file));
    let mut offset = 0;
    while offset < bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        let part = (bytes - offset).min(PIECE_BYTES);
        out.write_all_at(&zeros[..part as usize], offset)?;
        offset += part;
    }
    file.sync_all()
}

/// Takes the room first: a disk without it says so at once, before it was filled to the brim.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes).map_err(io::Error::from) {
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(error),
        // Where it cannot be reserved it is found by writing.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_direct_writes_is_told_from_a_file_that_is_missing() {
        // The kernel's own files know no direct writes, on any machine.
        assert!(open(Path::new("/proc/self/comm"), true).unwrap().is_none());
        assert_eq!(open(Path::new("/proc/self/absent"), true).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
