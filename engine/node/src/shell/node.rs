//! A running node: start, attest, stop.

use crate::config::Config;
use crate::recovery::{self, ClockFound, RecoveryError};
use crate::shell::clock::Clock;
use crate::shell::connection::{Connections, Listening, close_all, listen};
use crate::shell::pipeline::{Attested, Pipeline};
use crate::stage::admission::Admission;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use touchline_journal::{Cut, FileError, FileStorage, Tail};
use touchline_protocol::Epoch;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal's folder.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The journal's contents.
    #[error("journal {path}: {error}")]
    Recovery {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        error: Box<RecoveryError<FileError>>,
    },
    /// The journal takes nothing.
    #[error("journal {path}: {why}; nothing was served")]
    Journal {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The address.
    #[error(
        "listening on {address}: {error}; is another process using the port? choose another in node.listen, or port 0"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// What a node leaves behind when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The state at the end.
    pub attested: Attested,
}

/// What recovery found, for people.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Frames replayed.
    pub frames: u64,
    /// The damaged end that was cut, if any.
    pub cut: Option<Cut>,
    /// What the configuration says differently from the log.
    pub differences: Vec<String>,
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    epoch: Epoch,
    recovery: Recovery,
    pipeline: Pipeline,
    listener: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    connections: Arc<Connections>,
}

impl Node {
    /// Recovers the journal and starts serving. `boot` differs from start to start.
    pub fn start(config: &Config, boot: u128) -> Result<Self, StartError> {
        let address = config.node.listen;
        // The port first: nothing is written to the journal by a node that cannot serve.
        let listening =
            TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listening.map_err(|error| StartError::Listen { address, error })?;
        let storage = FileStorage::open(&config.node.journal)?;
        let clock = Clock::start();
        let started = recovery::start(storage, config, clock.now(), boot).map_err(|error| {
            StartError::Recovery { path: config.node.journal.clone(), error: Box::new(error) }
        })?;
        warn_of(started.clock);
        let recovery = Recovery {
            frames: started.recovered.frames,
            cut: match started.recovered.tail {
                Tail::Clean => None,
                Tail::Torn(cut) => Some(cut),
            },
            differences: started.differences,
        };
        let epoch = started.engine.sequencer.epoch();
        let partitions = started.engine.shards.iter().map(|shard| shard.partitions().len() as u16).sum();
        let admission =
            Arc::new(Admission::new(config.node.tickets_in_flight_max, config.node.commands_in_flight_max));
        let connections = Arc::new(Connections::new());
        let pipeline = Pipeline::start(
            started.engine,
            started.writer,
            started.first,
            started.effects,
            admission,
            Arc::clone(&connections),
            clock,
        );
        pipeline
            .wait_begun()
            .map_err(|why| StartError::Journal { path: config.node.journal.clone(), why })?;
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Listening {
            cluster: config.cluster.id,
            epoch,
            partitions,
            connections_max: config.node.connections_max,
            outbound_bytes_max: config.node.outbound_kib_max << 10,
            stop: Arc::clone(&stop),
        };
        let listener = listen(listener, shared, pipeline.entrance.clone());
        Ok(Node { address, epoch, recovery, pipeline, listener, stop, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The epoch that it opened.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What recovery found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Waits for a quiet moment, re-hashes the whole state and logs its fingerprint.
    pub fn attest(&self) -> Result<Attested, String> {
        self.pipeline.attest(false)?.map_err(corrupt)
    }

    /// Waits up to `patience` for a stage to fail; what failed.
    pub fn failed(&self, patience: Duration) -> Option<String> {
        self.pipeline.failure.recv_timeout(patience).ok()
    }

    /// Stops cleanly: takes nothing new, answers what is inside, attests the state and closes.
    pub fn stop(mut self) -> Result<Report, String> {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then stops every reader.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        let attested = self.pipeline.attest(true)?.map_err(corrupt)?;
        self.pipeline.finish();
        close_all(&self.connections);
        let _ = self.listener.join();
        let failure = self.pipeline.failure.try_recv().ok();
        self.pipeline.join();
        failure.map_or(Ok(Report { attested }), Err)
    }
}

fn warn_of(clock: ClockFound) {
    match clock {
        ClockFound::Fits => {}
        ClockFound::Behind(ns) => tracing::warn!(
            behind_s = ns / 1_000_000_000,
            "the clock is behind the journal's last frame; the node's time goes on from that frame, tickets issued by \
             this clock look that much older, and those beyond the result window are answered EXPIRED"
        ),
        ClockFound::Ahead(ns) => tracing::warn!(
            ahead_s = ns / 1_000_000_000,
            "the clock is far ahead of the journal's last frame and is trusted, as asked"
        ),
    }
}

fn corrupt(odd: usize) -> String {
    format!(
        "{odd} entities differ from their own hash: memory or program is broken; do not trust this process"
    )
}
