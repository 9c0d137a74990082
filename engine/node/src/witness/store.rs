//! Where a witness keeps its register: in a folder of its own machine, or in etcd.

use super::slots::{FileSlots, SlotsError};
use crate::config::replication::ReplicationConfig;
use touchline_etcd::{EtcdConfig, EtcdError, EtcdStore};
use touchline_lockstep::{Cluster, Register, RegisterStore, TwoSlots};
use touchline_protocol::Epoch;

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder.
    #[error("replication.register: {0}")]
    Folder(#[from] SlotsError),
    /// The service.
    #[error("replication.etcd: {0}")]
    Etcd(#[from] EtcdError),
}

/// The one that the configuration names.
#[allow(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum Store {
    Folder(TwoSlots<FileSlots>),
    Etcd(EtcdStore),
}

impl Store {
    /// Opens it: etcd where there are addresses of it, else the folder.
    pub(super) fn open(replication: &ReplicationConfig, cluster: Cluster) -> Result<Self, StoreError> {
        if replication.etcd.is_empty() {
            return Ok(Store::Folder(TwoSlots::new(FileSlots::open(&replication.register)?, None)));
        }
        Ok(Store::Etcd(EtcdStore::new(&EtcdConfig::new(replication.etcd.clone(), cluster))?))
    }
}

impl RegisterStore for Store {
    type Error = StoreError;

    fn load(&mut self) -> Result<Option<Register>, StoreError> {
        Ok(match self {
            Store::Folder(store) => store.load()?,
            Store::Etcd(store) => store.load()?,
        })
    }

    fn swap(&mut self, expected: Option<Epoch>, next: &Register) -> Result<bool, StoreError> {
        Ok(match self {
            Store::Folder(store) => store.swap(expected, next)?,
            Store::Etcd(store) => store.swap(expected, next)?,
        })
    }
}
