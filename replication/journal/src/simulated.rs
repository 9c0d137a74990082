//! A disk in memory that can crash in the middle of a write, keep only some of its sectors, rot, fill and fail.

use crate::storage::Storage;
use std::collections::BTreeMap;

/// What a disk persists at once.
pub const SECTOR: usize = 512;

/// Why a simulated operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The machine went down.
    #[error("the machine crashed")]
    Crashed,
    /// There is no room.
    #[error("no space left on the device")]
    Full,
    /// The device failed.
    #[error("input/output error")]
    Io,
    /// There is no such segment, or not so much of it.
    #[error("outside the segment")]
    Outside,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    segments: BTreeMap<u64, Vec<u8>>,
    snapshots: BTreeMap<u64, Vec<u8>>,
    /// Writes and creations until the machine crashes in the middle of one; `None` is never.
    pub crash_in: Option<u64>,
    /// Decides, bit by bit, which sectors of the write in flight survive the crash.
    pub surviving_sectors: u64,
    /// Segments that still fit; `None` is any number.
    pub room: Option<usize>,
    /// Whether writes fail.
    pub broken: bool,
    /// So many blocks before its place the next write lands, within its segment; the disk says nothing of it.
    pub misdirect: Option<u64>,
    /// Times that a segment made ahead is asked for before it is there; with 0 it is made at once.
    pub patience: u64,
    /// Whether segments that are removed serve as raw material of later ones: their room is not given away, and only the
    /// next segment makes their end durable, so that a crash before it may bring them back.
    pub recycles: bool,
    /// Whether raw material keeps its old bytes: a mistake, for the tests that show what zeros are for.
    pub keeps_old_bytes: bool,
    /// The segment being made ahead, and how often it will still be asked for.
    underway: Option<(u64, u64)>,
    /// What was removed and not used again yet; of the first `settled` the end is durable.
    retired: Vec<(u64, Vec<u8>)>,
    settled: usize,
    crashed: bool,
}

impl SimStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the disk holds after a crash or stop, ready for the next start.
    pub fn after_restart(mut self) -> Self {
        if self.crashed {
            for (place, (generation, segment)) in self.retired.split_off(self.settled).into_iter().enumerate()
            {
                match self.surviving_sectors >> (place % 64) & 1 {
                    1 => _ = self.segments.insert(generation, segment),
                    _ => self.retired.push((generation, segment)),
                }
            }
        }
        self.settled = self.retired.len();
        self.crashed = false;
        self.crash_in = None;
        self.underway = None;
        self
    }

    /// Whether the machine went down in the middle of an operation.
    pub fn went_down(&self) -> bool {
        self.crashed
    }

    /// Flips one bit.
    pub fn flip(&mut self, generation: u64, offset: usize, bit: u8) {
        if let Some(byte) = self.segments.get_mut(&generation).and_then(|segment| segment.get_mut(offset)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// The bytes of a segment.
    pub fn segment(&self, generation: u64) -> Option<&[u8]> {
        self.segments.get(&generation).map(Vec::as_slice)
    }

    /// Flips one bit of a snapshot.
    pub fn flip_snapshot(&mut self, seq: u64, offset: usize, bit: u8) {
        if let Some(byte) = self.snapshots.get_mut(&seq).and_then(|snapshot| snapshot.get_mut(offset)) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Puts a segment there as it is.
    pub fn plant(&mut self, generation: u64, bytes: Vec<u8>) {
        self.segments.insert(generation, bytes);
    }

    /// Whether this operation is the one that the machine crashes in.
    fn crashes(&mut self) -> Result<bool, SimError> {
        if self.crashed {
            return Err(SimError::Crashed);
        }
        let now = self.crash_in == Some(0);
        self.crash_in = self.crash_in.map(|left| left.saturating_sub(1));
        self.crashed = now;
        Ok(now)
    }
}

impl Storage for SimStorage {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        Ok(self.segments.keys().copied().collect())
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), SimError> {
        self.underway = None;
        let raw = self.retired.iter().position(|(_, segment)| segment.len() as u64 == bytes);
        if self.room == Some(0) && raw.is_none() {
            return Err(SimError::Full);
        }
        // A name is there or not: creation is made whole by a rename.
        let crashes = self.crashes()?;
        if !crashes || self.surviving_sectors & 1 == 1 {
            let old = raw.map(|place| self.retired.swap_remove(place).1);
            if old.is_none() {
                self.room = self.room.map(|room| room - 1);
            }
            // The old names are gone durably before any file is used again.
            self.settled = self.retired.len();
            let kept = old.filter(|_| self.keeps_old_bytes);
            self.segments.insert(generation, kept.unwrap_or_else(|| vec![0; bytes as usize]));
        }
        if crashes { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn prepare(&mut self, generation: u64, bytes: u64) -> Result<bool, SimError> {
        let left = match self.underway {
            Some((underway, left)) if underway == generation => left,
            _ => self.patience,
        };
        if left > 0 {
            self.underway = Some((generation, left - 1));
            return Ok(false);
        }
        self.create(generation, bytes).map(|()| true)
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.segments.get(&generation).map(|segment| segment.len() as u64).ok_or(SimError::Outside)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        let segment = self.segments.get(&generation).ok_or(SimError::Outside)?;
        let from = offset as usize;
        let bytes = segment.get(from..from + buffer.len()).ok_or(SimError::Outside)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), SimError> {
        if self.broken {
            return Err(SimError::Io);
        }
        let crashes = self.crashes()?;
        let survivors = self.surviving_sectors;
        let segment = self.segments.get_mut(&generation).ok_or(SimError::Outside)?;
        let wrong = self.misdirect.take_if(|_| offset > 0).unwrap_or(0) * SECTOR as u64;
        let from = offset.saturating_sub(wrong) as usize;
        let place = segment.get_mut(from..from + bytes.len()).ok_or(SimError::Outside)?;
        for (index, (old, new)) in place.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)).enumerate() {
            if !crashes || survivors >> (index % 64) & 1 == 1 {
                old.copy_from_slice(new);
            }
        }
        if crashes { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn remove(&mut self, generation: u64) -> Result<(), SimError> {
        let crashes = self.crashes()?;
        if !crashes || self.surviving_sectors & 1 == 1 {
            let removed = self.segments.remove(&generation);
            self.retired.extend(removed.filter(|_| self.recycles).map(|segment| (generation, segment)));
        }
        if crashes { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn snapshots(&self) -> Result<Vec<u64>, SimError> {
        Ok(self.snapshots.keys().copied().collect())
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, SimError> {
        self.snapshots.get(&seq).cloned().ok_or(SimError::Outside)
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), SimError> {
        if self.broken {
            return Err(SimError::Io);
        }
        if self.room == Some(0) {
            return Err(SimError::Full);
        }
        let crashes = self.crashes()?;
        if !crashes || self.surviving_sectors & 1 == 1 {
            self.snapshots.insert(seq, bytes.to_vec());
        }
        if crashes { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), SimError> {
        let crashes = self.crashes()?;
        if !crashes || self.surviving_sectors & 1 == 1 {
            self.snapshots.remove(&seq);
        }
        if crashes { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn is_full(error: &SimError) -> bool {
        *error == SimError::Full
    }
}
