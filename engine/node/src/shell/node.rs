//! A running node: start, attest, stop.

use crate::config::{Config, SocketsConfig, TlsConfig};
use crate::recovery::{self, ClockFound, Loaded, RecoveryError};
use crate::seat::SeatError;
use crate::shell::admin::{Admin, Told};
use crate::shell::clock::Clock;
use crate::shell::conversations::Terms;
use crate::shell::links::Attested;
use crate::shell::member::{self, Asked};
use crate::shell::pipeline::{Beside, Entrances, Pipeline, Setup};
use crate::shell::ports::Ports;
use crate::shell::replicate::{Again, Member};
use crate::shell::standing::Status;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use touchline_core::{Batch, Effect, Engine};
use touchline_journal::archive::{ArchiveError, Archiver, Key};
use touchline_journal::{Cut, FileError, FileStorage, Recovered, Tail, Writer};
use touchline_lockstep::Role;
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
/// How long a stopping node tries to hand over.
const HAND_OVER: Duration = Duration::from_secs(2);

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
    /// The section of the cluster.
    #[error(
        "replication.party: this file is not a data node's; say party = \"node0\" or \"node1\" in [replication]"
    )]
    Party,
    /// What it speaks with to the rest of the cluster.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// What has to be done on the disk between two boots.
    #[error("journal {path}: {why}")]
    Disk {
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
    /// What it is asked through in a cluster.
    asked: Option<Asked>,
    /// Dropped before the pipeline that it tells of.
    _admin: Option<Admin>,
}

impl Node {
    /// Recovers the journal and starts serving. `boot` differs from start to start.
    pub fn start(config: &Config, boot: u128) -> Result<Self, StartError> {
        if config.replication.is_some() {
            member::node_of(config)?;
        }
        let address = config.node.listen;
        // The port first: nothing is written to the journal by a node that cannot serve.
        let (address, listener) = bind(address)?;
        let ports = Ports::serve(&config.node.shared_memory)
            .map_err(|(path, error)| StartError::SharedMemory { path, error })?;
        let mut entrances =
            Entrances { listeners: vec![listener], sessions: Sessions::new(Vec::new()), ports };
        let tls_address = config.node.tls.as_ref().map(|tls| entrances.add(tls)).transpose()?;
        let clock = Clock::start();
        let Begun { engine, writer, begin, recovery, epoch, member } = match &config.replication {
            None => Begun::alone(config, clock, boot)?,
            Some(_) => Begun::member(config, boot)?,
        };
        let partitions = engine.shards.iter().map(|shard| shard.partitions().len() as u16).sum();
        let terms = Terms {
            cluster: config.cluster.id,
            alone: member.is_none().then_some(epoch),
            partitions,
            connections_max: config.node.connections_max,
            outbound_bytes_max: config.node.outbound_kib_max << 10,
            hello_ns: config.node.hello_timeout_ms * 1_000_000,
        };
        let setup = setup(config, terms);
        let (member, asked) = member.unzip();
        let beside = Beside { member, ..beside(config)? };
        let pipeline = Pipeline::start(engine, writer, begin, entrances, setup, beside, clock)
            .map_err(StartError::Threads)?;
        pipeline
            .wait_begun()
            .map_err(|why| StartError::Journal { path: config.node.journal.clone(), why })?;
        let told = Told {
            epoch: epoch.0,
            address,
            committed: Arc::clone(&pipeline.committed),
            member: asked.as_ref().map(|asked| (Arc::clone(&asked.status), pipeline.asker())),
            board: Arc::clone(&pipeline.board),
            since: Instant::now(),
        };
        let admin = admin(config, told)?;
        Ok(Node { address, tls_address, epoch, recovery, pipeline, asked, _admin: admin })
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
        self.pipeline.attest(false)?.map_err(|why| why.to_string())
    }

    /// Waits up to `patience` for a stage to fail; what failed.
    pub fn failed(&self, patience: Duration) -> Option<String> {
        self.pipeline.failure.recv_timeout(patience).ok()
    }

    /// What it is in its cluster; `None` where it stands alone.
    pub fn status(&self) -> Option<Status> {
        let asked = self.asked.as_ref()?;
        Some(*asked.status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why this boot has to end and another one to begin, once that is so: [`Node::end`] it, then start a node again.
    pub fn again(&self) -> Option<Again> {
        self.asked.as_ref().and_then(|asked| asked.again.try_recv().ok())
    }

    /// Ends this boot at once, its connections included, and does on the disk what the next one needs.
    pub fn end(self, config: &Config, again: &Again) -> Result<(), StartError> {
        drop(self);
        member::prepare(config, again)
    }

    /// Stops a node of a cluster: who leads hands over where there is somebody to hand over to. What it attests where it
    /// leads on to its end.
    pub fn leave(mut self) -> Result<Option<Report>, String> {
        let asker = self.pipeline.asker();
        let begun = Instant::now();
        loop {
            let status = self.status().ok_or("it stands alone")?;
            let hands_over = status.leads && status.is_dual() == Some(true);
            if !hands_over || begun.elapsed() > HAND_OVER {
                break;
            }
            if status.role == Role::Primary {
                asker.switchover();
            }
            if let Some(why) = self.failed(Duration::from_millis(1)) {
                return Err(why);
            }
        }
        let (leads, is_dual) = self.status().map_or((false, None), |status| (status.leads, status.is_dual()));
        if leads && is_dual != Some(true) {
            return self.stop().map(Some);
        }
        self.pipeline.close()?;
        if leads {
            // Nothing more can be committed: whoever waited for it would wait for ever.
            return Err("nobody took the lead over in time, and without the other node nothing more can be acknowledged; \
                        what is unanswered is decided once the cluster is whole again"
                .to_owned());
        }
        Ok(None)
    }

    /// Stops cleanly: takes nothing new, answers what is inside, attests the state and closes.
    pub fn stop(mut self) -> Result<Report, String> {
        let attested = self.pipeline.finish()?.map_err(|why| why.to_string())?;
        Ok(Report { attested })
    }
}

/// What a pipeline is started on.
struct Begun {
    engine: Engine,
    writer: Writer<FileStorage>,
    /// The frames that this start adds, and effects.
    begin: (Batch, Vec<Effect>),
    recovery: Recovery,
    epoch: Epoch,
    member: Option<(Member, Asked)>,
}

impl Begun {
    /// A node that stands alone opens an epoch at once.
    fn alone(config: &Config, clock: Clock, boot: u128) -> Result<Self, StartError> {
        let storage = FileStorage::open(&config.node.journal)?;
        let started = recovery::start(storage, config, clock.now(), boot).map_err(|error| {
            StartError::Recovery { path: config.node.journal.clone(), error: Box::new(error) }
        })?;
        warn_of(started.clock);
        let recovery = Recovery {
            frames: started.replayed,
            cut: cut_of(&started.recovered),
            passed_over: started.passed_over.iter().map(|passed| passed.told(&config.node.journal)).collect(),
            differences: started.differences,
        };
        Ok(Begun {
            epoch: started.engine.sequencer.epoch(),
            engine: started.engine,
            writer: started.writer,
            begin: (started.first, started.effects),
            recovery,
            member: None,
        })
    }

    /// A node of a cluster does not know its role yet.
    fn member(config: &Config, boot: u128) -> Result<Self, StartError> {
        let (loaded, history) = member::load(config)?;
        let recovery = Recovery {
            frames: loaded.replayed,
            cut: cut_of(&loaded.recovered),
            passed_over: loaded.passed_over.iter().map(|passed| passed.told(&config.node.journal)).collect(),
            differences: Vec::new(),
        };
        let member = member::member(config, boot, (&loaded, history))?;
        let Loaded { engine, writer, .. } = loaded;
        let Config { cluster, node, .. } = config;
        let engine = engine.unwrap_or_else(|| Engine::new(cluster.id, cluster.partitions, node.shards));
        let first = Batch { last: engine.sequencer.last(), ..Batch::default() };
        let seen = recovery::showcase(&engine);
        let epoch = engine.sequencer.epoch();
        Ok(Begun { engine, writer, begin: (first, seen), recovery, epoch, member: Some(member) })
    }
}

fn cut_of(recovered: &Recovered) -> Option<Cut> {
    match &recovered.tail {
        Tail::Clean => None,
        Tail::Torn(cut) => Some(cut.clone()),
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
    Ok(Beside { archive, twin, member: None })
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
    let mut cpus = cores::allowed();
    // A thread of its own for what peers say, where it may sleep: it then sleeps on their sockets.
    if terms.alone.is_none() && node.idle == Policy::Adaptive {
        cpus.resize(cpus.len().max(3), 0);
    }
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
