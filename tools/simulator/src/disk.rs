//! The disk of a simulated machine: it outlives the node that writes to it.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use touchline_journal::Storage;
use touchline_journal::simulated::{SimError, SimStorage};

/// A handle to the disk; the world holds one, the node another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    storage: RefCell<SimStorage>,
    /// Whether the machine went down in an operation since the last restart.
    down: Cell<bool>,
}

impl Disk {
    /// The disk itself, to set its faults.
    pub(crate) fn get(&self) -> RefMut<'_, SimStorage> {
        self.0.storage.borrow_mut()
    }

    /// Another disk is in its place.
    pub(crate) fn replace(&self, disk: SimStorage) {
        *self.get() = disk.after_restart();
        self.0.down.set(false);
    }

    /// The machine is up again; what was being written is there or not.
    pub(crate) fn restart(&self) {
        let mut disk = self.get();
        *disk = std::mem::take(&mut *disk).after_restart();
        self.0.down.set(false);
    }

    /// Whether the machine went down in the middle of an operation. A node need not have noticed: it takes a
    /// failed allocation for a full disk and writes on.
    pub(crate) fn went_down(&self) -> bool {
        self.0.down.get()
    }

    fn watched<T>(&self, result: Result<T, SimError>) -> Result<T, SimError> {
        if matches!(result, Err(SimError::Crashed)) {
            self.0.down.set(true);
        }
        result
    }
}

impl Storage for Disk {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        self.get().list()
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), SimError> {
        let result = self.get().create(generation, bytes);
        self.watched(result)
    }

    fn prepare(&mut self, generation: u64, bytes: u64) -> Result<bool, SimError> {
        let result = self.get().prepare(generation, bytes);
        self.watched(result)
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.get().size(generation)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.get().read(generation, offset, buffer)
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), SimError> {
        let result = self.get().write(generation, offset, bytes);
        self.watched(result)
    }

    fn remove(&mut self, generation: u64) -> Result<(), SimError> {
        let result = self.get().remove(generation);
        self.watched(result)
    }

    fn snapshots(&self) -> Result<Vec<u64>, SimError> {
        self.get().snapshots()
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, SimError> {
        self.get().read_snapshot(seq)
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), SimError> {
        let result = self.get().write_snapshot(seq, bytes);
        self.watched(result)
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), SimError> {
        let result = self.get().remove_snapshot(seq);
        self.watched(result)
    }

    fn is_full(error: &SimError) -> bool {
        SimStorage::is_full(error)
    }
}
