//! The register under one key of etcd, changed only by whoever loaded it last.

use crate::error::EtcdError;
use crate::gateway::Gateway;
use crate::wire::{Entry, Outcome};
use std::time::Duration;
use touchline_lockstep::{Cluster, Register, RegisterStore, slots};
use touchline_protocol::Epoch;

/// How often a load begins anew because another process wrote the key meanwhile.
const TAKES_MAX: usize = 64;

/// Where the register is, and for how long etcd is asked.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// Client addresses of the members of one etcd, `http://host:port`, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// Whose register it is.
    pub cluster: Cluster,
    /// How long one member may take to answer.
    pub request_limit: Duration,
    /// How long a load or a swap goes on asking. The witness hears nobody meanwhile.
    pub patience: Duration,
}

impl EtcdConfig {
    /// A second for a request, five in all: an etcd that loses its leader has another within one or two.
    pub fn new(endpoints: Vec<String>, cluster: Cluster) -> Self {
        let (request_limit, patience) = (Duration::from_secs(1), Duration::from_secs(5));
        EtcdConfig { endpoints, cluster, request_limit, patience }
    }
}

/// The register of a cluster in etcd, durable on a majority of etcd's members.
///
/// A load writes what it found once more. That changes no register, but from then on any swap that was begun
/// before, and is perhaps still on its way, compares with an entry that is gone.
#[derive(Debug)]
pub struct EtcdStore {
    gateway: Gateway,
    key: String,
    /// What is under the key, as far as this process wrote it last; `None` before a load and after a failure.
    entry: Option<Entry>,
}

impl EtcdStore {
    /// Checks the configuration; asks nobody yet.
    pub fn new(config: &EtcdConfig) -> Result<Self, EtcdError> {
        let gateway = Gateway::new(&config.endpoints, config.request_limit, config.patience)?;
        Ok(EtcdStore { gateway, key: format!("touchline/{}/register", config.cluster.0), entry: None })
    }

    /// The key that holds the register: the bytes of one slot, or nothing where a witness was started and is
    /// still blank.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn register(&self, entry: &Entry) -> Result<Option<Register>, EtcdError> {
        if entry.value.is_empty() {
            return Ok(None);
        }
        let corrupt = || EtcdError::Corrupt { key: self.key.clone(), bytes: entry.value.len() };
        slots::decode(&entry.value).map(Some).ok_or_else(corrupt)
    }
}

impl RegisterStore for EtcdStore {
    type Error = EtcdError;

    fn load(&mut self) -> Result<Option<Register>, EtcdError> {
        self.entry = None;
        let mut seen = Entry::default();
        for _ in 0..TAKES_MAX {
            let register = self.register(&seen)?;
            match self.gateway.put(&self.key, &seen, &seen.value)? {
                Outcome::Done { revision } => {
                    let value = seen.value.clone();
                    self.entry = Some(followed(seen, value, revision));
                    return Ok(register);
                }
                // Somebody else's, or what an unanswered copy of the request left behind: taken over in turn.
                Outcome::Found(entry) => seen = entry,
            }
        }
        Err(EtcdError::Contended { key: self.key.clone() })
    }

    fn swap(&mut self, expected: Option<Epoch>, next: &Register) -> Result<bool, EtcdError> {
        let Some(seen) = self.entry.take() else { return Ok(false) };
        if self.register(&seen)?.map(|register| register.epoch) != expected {
            return Ok(false);
        }
        let value = slots::encode(next);
        let revision = match self.gateway.put(&self.key, &seen, &value)? {
            Outcome::Done { revision } => revision,
            // A copy of the request that was not answered has done it. Where another process has taken the
            // register over since, its version is not the one that the next swap compares with.
            Outcome::Found(entry) if entry.value == value => seen.create_revision,
            Outcome::Found(_) => return Ok(false),
        };
        self.entry = Some(followed(seen, value, revision));
        Ok(true)
    }
}

/// The entry that a put at a revision leaves in the place of another.
fn followed(seen: Entry, value: Vec<u8>, revision: u64) -> Entry {
    let create_revision = if seen.version == 0 { revision } else { seen.create_revision };
    Entry { create_revision, version: seen.version + 1, value }
}
