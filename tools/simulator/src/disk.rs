//! The disk of a simulated machine: it outlives the node that writes to it.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use touchline_journal::Storage;
use touchline_journal::simulated::{SimError, SimStorage};

/// A handle to the disk; the world holds one, the node another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Rc<RefCell<SimStorage>>);

impl Disk {
    /// The disk itself, to set its faults.
    pub(crate) fn get(&self) -> RefMut<'_, SimStorage> {
        self.0.borrow_mut()
    }

    /// The machine is up again; what was being written is there or not.
    pub(crate) fn restart(&self) {
        let mut disk = self.0.borrow_mut();
        *disk = std::mem::take(&mut *disk).after_restart();
    }
}

impl Storage for Disk {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        self.0.borrow().list()
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), SimError> {
        self.get().create(generation, bytes)
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.0.borrow().size(generation)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.0.borrow().read(generation, offset, buffer)
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), SimError> {
        self.get().write(generation, offset, bytes)
    }

    fn is_full(error: &SimError) -> bool {
        SimStorage::is_full(error)
    }
}
