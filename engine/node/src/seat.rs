//! What a party of a cluster, whichever it is, takes from its configuration to speak with the others.

use crate::config::replication::ReplicationConfig;
use crate::config::{Config, Wrong};
use std::path::PathBuf;
use touchline_lockstep::{Cluster, Settings as Protocol};
use touchline_runtime::sockets::Driver;
use touchline_transport::session::Settings;
use touchline_transport::{Config as TransportConfig, keyfile};

/// Bytes of a message that its frames and parts of states leave to the rest of it.
const ENVELOPE_BYTES: usize = 300;

/// Why a party cannot speak.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// A value that cannot be.
    #[error("{0} = {1}: {2}")]
    Value(&'static str, String, String),
    /// The secrets.
    #[error("replication.keys: {path}: {why}; `touchline keys new` makes such a file")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The protocol that it keeps to, and what its transport is opened with.
pub(crate) struct Seat {
    pub(crate) cluster: Cluster,
    pub(crate) protocol: Protocol,
    pub(crate) transport: TransportConfig,
}

impl Seat {
    /// The seat of the party that the section names.
    pub(crate) fn take(config: &Config, replication: &ReplicationConfig) -> Result<Seat, SeatError> {
        let value = |(key, value, must): Wrong| SeatError::Value(key, value, must);
        let cluster = Cluster(config.cluster.id);
        let agreement = config.agreement().map_err(value)?;
        let settings = Settings::new(replication.party.party(), cluster, agreement);
        let protocol = replication.settings(settings.whole_bytes_max() - ENVELOPE_BYTES);
        let why = |why: String| SeatError::Keys { path: replication.keys.clone(), why };
        let keys = std::fs::read_to_string(&replication.keys).map_err(|error| why(error.to_string()))?;
        let keys = keyfile::parse(&keys).map_err(|error| why(error.to_string()))?;
        let keyring = keys.keyring().map_err(|error| why(error.to_string()))?;
        let transport =
            TransportConfig { settings, keyring, networks: replication.networks(), driver: Driver::Best };
        Ok(Seat { cluster, protocol, transport })
    }
}
