//! How a node of a cluster starts, and what is done on its disk between two boots.

use crate::config::Config;
use crate::config::replication::ReplicationConfig;
use crate::history::History;
use crate::recovery::{Loaded, base_of, load_front, newest_snapshot};
use crate::seat::Seat;
use crate::shell::node::StartError;
use crate::shell::replicate::{Again, Member, start_of};
use crate::shell::standing::Status;
use crate::shell::twin::MARK_EVERY;
use crossbeam_channel::{Receiver, bounded};
use std::sync::{Arc, Mutex};
use touchline_core::snapshot::Snapshot;
use touchline_journal::{FileStorage, Storage, Tail};
use touchline_lockstep::message::Party;
use touchline_lockstep::{Log, NodeId, Point, Settings as Protocol};
use touchline_protocol::Seq;

/// What a node that runs in a cluster is asked through.
pub(crate) struct Asked {
    pub(crate) status: Arc<Mutex<Status>>,
    pub(crate) again: Receiver<Again>,
}

/// A node's disk as it was found, with the log in memory.
pub(crate) type Found = (Loaded<FileStorage>, History);

/// Reads the journal, of a damaged one the sound front, and keeps the log behind the newest snapshot in memory.
pub(crate) fn load(config: &Config) -> Result<Found, StartError> {
    let storage = FileStorage::open(&config.node.journal)?;
    let mut history = match newest_snapshot(&storage, 1)? {
        None => History::default(),
        Some((base, _)) => {
            let bytes = storage.read_snapshot(base.seq.0)?;
            History::behind(Point { epoch: base.epoch, seq: base.seq, chain: base.chain }, bytes.into())
        }
    };
    let loaded = load_front(storage, config, &mut |frame| history.push(frame));
    let loaded = loaded.map_err(|error| StartError::Recovery {
        path: config.node.journal.clone(),
        error: Box::new(error),
    })?;
    Ok((loaded, history))
}

/// The data node that a configuration names, and its section.
pub(crate) fn node_of(config: &Config) -> Result<(NodeId, &ReplicationConfig), StartError> {
    let replication = config.replication.as_ref().ok_or(StartError::Party)?;
    match replication.party.party() {
        Party::Node(node) if node != NodeId::SITE => Ok((node, replication)),
        _ => Err(StartError::Party),
    }
}

/// The member that a configuration names, with the log that it found.
pub(crate) fn member(
    config: &Config,
    boot: u128,
    (loaded, history): (&Loaded<FileStorage>, History),
) -> Result<(Member, Asked), StartError> {
    let (node, replication) = node_of(config)?;
    let Seat { protocol, transport, .. } = Seat::take(config, replication)?;
    let protocol = Protocol { fingerprint_every: MARK_EVERY, ..protocol };
    let torn = matches!(loaded.recovered.tail, Tail::Torn(_));
    let status = Arc::new(Mutex::new(Status::new(node.0, boot, history.end())));
    let (again, again_in) = bounded(1);
    let member = Member {
        start: start_of(node, boot, torn, loaded.damage.is_some()),
        settings: protocol,
        transport,
        history,
        config: config.clone(),
        status: Arc::clone(&status),
        again,
    };
    Ok((member, Asked { status, again: again_in }))
}

/// Does on the disk what has to be done before the next boot, with no pipeline running on it.
pub(crate) fn prepare(config: &Config, again: &Again) -> Result<(), StartError> {
    match again {
        Again::Left(_) => Ok(()),
        Again::Cut(to) => cut(config, *to),
        Again::Install(at, state) => install(config, *at, state),
    }
}

fn failed(config: &Config, why: impl std::fmt::Display) -> StartError {
    StartError::Disk { path: config.node.journal.clone(), why: why.to_string() }
}

/// Cuts the log behind a frame. Snapshots of what lies behind go first: none may stand for what the log takes back.
fn cut(config: &Config, to: Point) -> Result<(), StartError> {
    let (Loaded { mut writer, recovered, .. }, _) = load(config)?;
    let behind = writer.storage().snapshots()?.into_iter().filter(|seq| *seq > to.seq.0);
    for seq in behind.collect::<Vec<_>>() {
        writer.storage_mut().remove_snapshot(seq)?;
    }
    // What was never written needs no cut.
    if recovered.position.seq > to.seq {
        writer.cut(to.seq, to.chain).map_err(|error| failed(config, error))?;
    }
    Ok(())
}

/// Replaces log and state by a peer's state.
fn install(config: &Config, at: Point, bytes: &[u8]) -> Result<(), StartError> {
    let snapshot = Snapshot::read(bytes).map_err(|error| failed(config, error))?;
    let place = snapshot.place();
    if (place.epoch, place.seq, place.chain) != (at.epoch, at.seq, at.chain) {
        let why = format!("the peer's state is of frame {}, not of {}", place.seq, at.seq);
        return Err(failed(config, why));
    }
    snapshot.engine(1).map_err(|error| failed(config, error))?;
    let (Loaded { mut writer, .. }, history) = load(config)?;
    let own = history.point(at.seq);
    // A state beside a log that contradicts it would be a start refused, were this the last that is written.
    let other = own.filter(|own| *own != at).and_then(|_| history.point(Seq(at.seq.0 - 1)));
    if let Some(before) = other {
        writer.cut(before.seq, before.chain).map_err(|error| failed(config, error))?;
    }
    if !writer.keep_snapshot(place.seq, bytes).map_err(|error| failed(config, error))? {
        return Err(failed(config, "no room for the peer's state"));
    }
    // A log may be longer than the state and yet not lead to it.
    if own != Some(at) {
        writer.restart_behind(&base_of(&place)).map_err(|error| failed(config, error))?;
    }
    writer.prune(1).map_err(|error| failed(config, error)).map(|_| ())
}
