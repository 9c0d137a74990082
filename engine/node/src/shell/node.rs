//! A running node: start, attest, stop.

use crate::config::{Config, SocketsConfig, TlsConfig};
use crate::recovery::{self, ClockFound, RecoveryError};
use crate::shell::admin::{Admin, Told};
use crate::shell::clock::Clock;
use crate::shell::conversations::Terms;
use crate::shell::links::Attested;
use crate::shell::pipeline::{Beside, Entrances, Pipeline, Setup};
use crate::shell::ports::Ports;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use touchline_journal::archive::{ArchiveError, Archiver, Key};
use touchline_journal::{Cut, FileError, FileStorage, Tail};
use touchline_protocol::Epoch;
use touchline_runtime::checks;
use touchline_runtime::cores::{self, Plan};
use touchline_runtime::idle::Policy;
use touchline_runtime::shm::ShmError;
use touchline_runtime::sockets::Driver;
use touchline_runtime::tls::{Acceptor, Sessions, SetUpError};

/// How long an address in use is tried again.
const BIND_PATIENCE: Duration = Duration::from_secs(1);
/// Memory that the rings of the sockets lock, about.
const LOCKED_BYTES: u64 = 1 << 20;

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
    /// The system gave no threads or descriptors.
    #[error("starting the stages: {0}; raise the limit on open files and threads of this process")]
    Threads(#[source] std::io::Error),
    /// Certificate or key.
    #[error("node.tls: {0}")]
    Tls(#[from] SetUpError),
    /// The entrance in shared memory.
    #[error("node.shared_memory: {path}: {error}")]
    SharedMemory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: ShmError,
    },
    /// The archive.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The admin socket.
    #[error("admin socket {path}: {error}; choose another place in node.admin, at most 107 bytes long")]
    Admin {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
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
    /// Snapshots that could not be used, why, and what can be done.
    pub passed_over: Vec<String>,
    /// What the configuration says differently from the log.
    pub differences: Vec<String>,
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    epoch: Epoch,
    recovery: Recovery,
    pipeline: Pipeline,
    /// Dropped before the pipeline that it tells of.
    _admin: Option<Admin>,
}

impl Node {
    /// Recovers the journal and starts serving. `boot` differs from start to start.
    pub fn start(config: &Config, boot: u128) -> Result<Self, StartError> {
        let address = config.node.listen;
        // The port first: nothing is written to the journal by a node that cannot serve.
        let (address, listener) = bind(address)?;
        let ports = Ports::serve(&config.node.shared_memory)
            .map_err(|(path, error)| StartError::SharedMemory { path, error })?;
        let mut entrances =
            Entrances { listeners: vec![listener], sessions: Sessions::new(Vec::new()), ports };
        let tls_address = config.node.tls.as_ref().map(|tls| entrances.add(tls)).transpose()?;
        let storage = FileStorage::open(&config.node.journal)?;
        let clock = Clock::start();
        let started = recovery::start(storage, config, clock.now(), boot).map_err(|error| {
            StartError::Recovery { path: config.node.journal.clone(), error: Box::new(error) }
        })?;
        warn_of(started.clock);
        let recovery = Recovery {
            frames: started.replayed,
            cut: match started.recovered.tail {
                Tail::Clean => None,
                Tail::Torn(cut) => Some(cut),
            },
            passed_over: started.passed_over.iter().map(|passed| passed.told(&config.node.journal)).collect(),
            differences: started.differences,
        };
        let epoch = started.engine.sequencer.epoch();
        let partitions = started.engine.shards.iter().map(|shard| shard.partitions().len() as u16).sum();
        let terms = Terms {
            cluster: config.cluster.id,
            epoch,
            partitions,
            connections_max: config.node.connections_max,
            outbound_bytes_max: config.node.outbound_kib_max << 10,
            hello_ns: config.node.hello_timeout_ms * 1_000_000,
        };
        let begin = (started.first, started.effects);
        let setup = setup(config, terms);
        let beside = beside(config)?;
        let pipeline =
            Pipeline::start(started.engine, started.writer, begin, entrances, setup, beside, clock)
                .map_err(StartError::Threads)?;
        pipeline
            .wait_begun()
            .map_err(|why| StartError::Journal { path: config.node.journal.clone(), why })?;
        let told = Told {
            epoch: epoch.0,
            address,
            durable: Arc::clone(&pipeline.durable),
            board: Arc::clone(&pipeline.board),
            since: Instant::now(),
        };
        let admin = admin(config, told)?;
        Ok(Node { address, tls_address, epoch, recovery, pipeline, _admin: admin })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for TLS.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
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
        let attested = self.pipeline.finish()?.map_err(corrupt)?;
        Ok(Report { attested })
    }
}

/// Listens. The kernel takes the ring of a killed process apart behind its back, and the sockets in it live until then: an
/// address in use is tried again for a while.
fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), StartError> {
    let begun = Instant::now();
    loop {
        let listening =
            TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match listening {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            listening => return listening.map_err(|error| StartError::Listen { address, error }),
        }
    }
}

impl Entrances {
    /// Adds the listener with TLS; its address.
    fn add(&mut self, tls: &TlsConfig) -> Result<SocketAddr, StartError> {
        let acceptor = Acceptor::from_files(&tls.certificate, &tls.key, tls.client_authority.as_deref())?;
        let (address, listener) = bind(tls.listen)?;
        self.listeners.push(listener);
        self.sessions = Sessions::new(vec![None, Some(acceptor)]);
        Ok(address)
    }
}

/// Archive and twin, as configured.
fn beside(config: &Config) -> Result<Beside, StartError> {
    let node = &config.node;
    let key = node.archive_key.as_deref().map(Key::load).transpose()?;
    let archive =
        node.archive.as_deref().map(|folder| Archiver::start(&node.journal, folder, key)).transpose()?;
    let twin = (node.snapshot_every_frames > 0).then(|| (node.journal.clone(), node.snapshot_every_frames));
    Ok(Beside { archive, twin })
}

/// The admin socket. Where none was asked for, a node serves without as well.
fn admin(config: &Config, told: Told) -> Result<Option<Admin>, StartError> {
    let path = config.node.admin_path();
    match Admin::listen(&path, told) {
        Ok(admin) => Ok(Some(admin)),
        Err(error) if config.node.admin.is_some() => Err(StartError::Admin { path, error }),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no admin socket; name a place for it in node.admin");
            Ok(None)
        }
    }
}

/// How the pipeline runs, from what the configuration says of this node.
fn setup(config: &Config, terms: Terms) -> Setup {
    let node = &config.node;
    let cpus = cores::allowed();
    let plan = Plan::new(&cpus, node.shards, false, node.idle);
    for warning in checks::run(&plan, &cpus, LOCKED_BYTES) {
        // What costs microseconds is worth a warning only to who asked for every one of them.
        if node.idle == Policy::Busy {
            tracing::warn!("{warning}");
        } else {
            tracing::info!("{warning}");
        }
    }
    let driver = match node.sockets {
        SocketsConfig::Best => Driver::Best,
        SocketsConfig::IoUring => Driver::Uring,
        SocketsConfig::Epoll => Driver::Portable,
    };
    Setup {
        terms,
        plan,
        policy: node.idle,
        driver,
        log_bytes: (node.log_ring_mib << 20) as usize,
        tickets_max: node.tickets_in_flight_max,
        commands_max: node.commands_in_flight_max,
        ticket_stay_target_ns: node.ticket_stay_target_ms * 1_000_000,
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
