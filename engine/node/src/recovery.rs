//! From a journal to a running state: replay, checks, and what the configuration says differently.

use crate::config::Config;
use crate::replay::Replay;
use crate::utc::utc;
use std::path::Path;
use touchline_core::snapshot::{Snapshot, SnapshotError};
use touchline_core::{Batch, Effect, Engine, Input, Now};
use touchline_journal::{Base, Cut, RecoverError, Recovered, Storage, Tail, Writer, salvage};
use touchline_protocol::*;

/// A node's state after its journal was read and its epoch opened.
pub struct Started<S: Storage> {
    /// Sequencer and shards, with everything applied.
    pub engine: Engine,
    /// The journal, ready to append; the frames in `first` are not yet in it.
    pub writer: Writer<S>,
    /// Frames that this start adds: genesis and configuration of a new log, the new epoch and what follows.
    pub first: Batch,
    /// Effects of these frames, to be held at the gate.
    pub effects: Vec<Effect>,
    /// What was found.
    pub recovered: Recovered,
    /// Frames that were applied, behind the newest snapshot.
    pub replayed: u64,
    /// Newer snapshots that could not be used.
    pub passed_over: Vec<PassedOver>,
    /// Differences between the configuration and what the log says.
    pub differences: Vec<String>,
    /// The clock against the log.
    pub clock: ClockFound,
}

/// Why a node cannot start on its journal.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError<E: std::error::Error + 'static> {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] RecoverError<E>),
    /// The journal, or what it lacks, is of another version of the program; what to do.
    #[error("{0}; {1}")]
    Convert(String, String),
    /// The log begins with something else than genesis.
    #[error("the journal's first frame is no genesis; it was not written by this program")]
    NoGenesis,
    /// The configuration cannot begin a log.
    #[error("{0} = {1}: {2}")]
    Config(&'static str, String, String),
    /// A logged fingerprint differs from the replayed state.
    #[error(
        "partition {0}: the state replayed from the journal differs from the fingerprint that the log attests; do not run on this machine, compare with a copy of the journal elsewhere"
    )]
    Diverged(u16),
    /// The clock is further ahead of the log than a node may have been down.
    #[error(
        "the journal ends at {}, but this machine's clock says {}, {ahead_h} hours later and more than \
         node.clock_jump_max_h = {max_h}; a node's time never goes back, so with a wrong clock every later ticket would be \
         answered EXPIRED: set the clock, or, where it is right and the node was down or idle that long, start once with \
         --trust-clock{}",
        utc(.last.0), utc(*.utc_ns), told(.cut)
    )]
    ClockAhead {
        /// Time of the log's last frame.
        last: At,
        /// What the clock says.
        utc_ns: i64,
        /// Whole hours between them.
        ahead_h: i64,
        /// Most that may lie between them.
        max_h: u32,
        /// The damaged end that was cut before this was found: the next start finds it no more.
        cut: Option<Cut>,
    },
}

fn told(cut: &Option<Cut>) -> String {
    cut.as_ref().map(|cut| format!("; {cut}")).unwrap_or_default()
}

/// What a clock is against a log at a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFound {
    /// As after any stop.
    Fits,
    /// Behind the last frame by this, nanoseconds: the node's time stands ahead of the clock.
    Behind(i64),
    /// Ahead of the last frame by this, nanoseconds, which is longer than a node may have been down unasked.
    Ahead(i64),
}

/// How far a clock may be behind before it is worth a warning: more than any slewing leaves.
const BEHIND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// Judges a clock by the last frame of the log, before an epoch takes its time from that clock for ever.
pub fn judge_clock(last: At, utc_ns: i64, jump_max_h: u32) -> ClockFound {
    let ahead_ns = utc_ns.saturating_sub(last.0);
    if ahead_ns > i64::from(jump_max_h).saturating_mul(HOUR_NS) {
        ClockFound::Ahead(ahead_ns)
    } else if ahead_ns < -BEHIND_NS {
        ClockFound::Behind(ahead_ns.saturating_neg())
    } else {
        ClockFound::Fits
    }
}

/// A node's state after its journal was read: what a node of a cluster has before it knows its role.
pub struct Loaded<S: Storage> {
    /// Sequencer and shards, with everything applied; `None` where the journal is empty.
    pub engine: Option<Engine>,
    /// The journal, ready to append.
    pub writer: Writer<S>,
    /// What was found.
    pub recovered: Recovered,
    /// What is wrong with the journal, where only its sound front was taken.
    pub damage: Option<RecoverError<S::Error>>,
    /// The snapshot that the state was read from, before the frames behind it were applied.
    pub base: Option<Base>,
    /// Frames that were applied.
    pub replayed: u64,
    /// Newer snapshots that could not be used.
    pub passed_over: Vec<PassedOver>,
}

/// A snapshot that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The frame that it is the state after.
    pub seq: Seq,
    /// Why.
    pub error: SnapshotError,
}

impl PassedOver {
    /// What is said of it, and what can be done, of a journal in a folder.
    pub fn told(&self, journal: &Path) -> String {
        let PassedOver { seq, error } = self;
        let way = match error {
            SnapshotError::Layout(_) => format!("; {}", conversion(journal, journal, Some(*seq))),
            _ => String::new(),
        };
        format!("the snapshot of frame {seq} was passed over: {error}{way}")
    }
}

/// How a snapshot beside one journal comes to stand beside another, word for word.
fn conversion(from: &Path, to: &Path, seq: Option<Seq>) -> String {
    let (from, to) = (from.display(), to.display());
    let seq = seq.map(|seq| format!(" --seq {seq}")).unwrap_or_default();
    format!(
        "to convert it run `touchline snapshot export {from}{seq} --out {from}.tlx` of the version of the program that wrote it, \
         then `touchline snapshot import {from}.tlx {to}` of this one"
    )
}

/// The newest snapshot beside a journal that can be read, and the core in its state. One that is damaged, or that
/// another version wrote, is passed over: an older one and more of the journal give the same state.
pub fn newest_snapshot<S: Storage>(storage: &S, shards: usize) -> Result<Option<(Base, Engine)>, S::Error> {
    newest_usable(storage, shards, &mut Vec::new())
}

/// As [`newest_snapshot`], telling those that were passed over.
pub fn newest_usable<S: Storage>(
    storage: &S,
    shards: usize,
    passed_over: &mut Vec<PassedOver>,
) -> Result<Option<(Base, Engine)>, S::Error> {
    for seq in storage.snapshots()?.into_iter().rev().map(Seq) {
        let read = Snapshot::read(&storage.read_snapshot(seq.0)?);
        let renamed = |snapshot: &Snapshot| snapshot.place().seq != seq;
        let usable = match read {
            Ok(snapshot) if renamed(&snapshot) => Err(SnapshotError::Damaged),
            read => read.and_then(|snapshot| Ok((base_of(&snapshot.place()), snapshot.engine(shards)?))),
        };
        match usable {
            Ok(usable) => return Ok(Some(usable)),
            Err(error) => passed_over.push(PassedOver { seq, error }),
        }
    }
    Ok(None)
}

/// The place of a snapshot, as the journal names it.
pub fn base_of(place: &touchline_core::snapshot::Place) -> Base {
    Base { epoch: place.epoch, seq: place.seq, at: place.at, chain: place.chain }
}

/// Reads the journal and replays it; `also` sees every frame.
pub fn load<S: Storage>(
    storage: S,
    config: &Config,
    also: &mut dyn FnMut(&FrameRef<'_>),
) -> Result<Loaded<S>, RecoveryError<S::Error>> {
    let loaded = load_front(storage, config, also)?;
    // A log must not begin anew beside the state of another that merely cannot be read.
    let is_lost = loaded.engine.is_none() && !loaded.passed_over.is_empty();
    match loaded.damage {
        damage if is_lost => {
            let none = || "the journal holds no frame, and what stands for them is not readable".to_owned();
            let why = damage.map_or_else(none, |damage| damage.to_string());
            Err(RecoveryError::Convert(why, ways(&loaded.passed_over, &config.node.journal)))
        }
        Some(damage) => Err(refusal(damage, &loaded.passed_over, &config.node.journal)),
        None => Ok(loaded),
    }
}

/// What a start is refused with, and the way out where one is known.
fn refusal<E: std::error::Error>(
    error: RecoverError<E>,
    passed_over: &[PassedOver],
    journal: &Path,
) -> RecoveryError<E> {
    match error {
        RecoverError::Version { found, known, .. } if found < known => {
            let fresh = journal.with_extension("converted");
            let way = conversion(journal, &fresh, None);
            let way = format!("{way}, and start with `--journal {}`", fresh.display());
            RecoveryError::Convert(error.to_string(), way)
        }
        RecoverError::Front { .. } => RecoveryError::Convert(error.to_string(), ways(passed_over, journal)),
        error => error.into(),
    }
}

/// What was passed over, one after the other.
fn ways(passed_over: &[PassedOver], journal: &Path) -> String {
    let told: Vec<String> = passed_over.iter().map(|passed| passed.told(journal)).collect();
    if told.is_empty() { "restore its snapshots from a copy".into() } else { told.join("; ") }
}

/// As [`load`], of a node whose peer has what its journal may lack: of one that is damaged in the middle the sound front.
pub fn load_front<S: Storage>(
    storage: S,
    config: &Config,
    also: &mut dyn FnMut(&FrameRef<'_>),
) -> Result<Loaded<S>, RecoveryError<S::Error>> {
    let cluster = config.cluster.id;
    let (shards, threads) = (config.node.shards, config.node.replay_threads);
    let mut passed_over = Vec::new();
    let newest = newest_usable(&storage, shards, &mut passed_over).map_err(RecoverError::Storage)?;
    let (base, mut replay) =
        newest.map_or((None, None), |(base, engine)| (Some(base), Some(Replay::of(engine, threads))));
    let segment_bytes = config.node.segment_mib << 20;
    let mut replayed = 0;
    let (writer, recovered, damage) = salvage(storage, cluster, segment_bytes, base.as_ref(), &mut |frame| {
        if base.is_some_and(|base| frame.seq() <= base.seq) {
            return Ok(());
        }
        let body = frame.body().map_err(|error| error.to_string())?;
        if let (Body::Genesis(m), None) = (&body, &replay) {
            m.partitions.checked_sub(1).ok_or("genesis without partitions")?;
            replay = Some(Replay::of(Engine::new(cluster, m.partitions, shards), threads));
        }
        replay.as_mut().ok_or("the first frame is no genesis")?.push(&frame, &body);
        replayed += 1;
        also(&frame);
        Ok(())
    })
    .map_err(|error| refusal(error, &passed_over, &config.node.journal))?;
    let engine = replay.map(Replay::finish);
    if let Some(partition) = engine.as_ref().and_then(diverged) {
        return Err(RecoveryError::Diverged(partition));
    }
    Ok(Loaded { engine, writer, recovered, damage, base, replayed, passed_over })
}

/// Reads the journal, replays it, and opens an epoch.
pub fn start<S: Storage>(
    storage: S,
    config: &Config,
    now: Now,
    boot: u128,
) -> Result<Started<S>, RecoveryError<S::Error>> {
    let cluster = config.cluster.id;
    let (genesis, configure, retention) = rules(config)?;
    let shards = config.node.shards;
    let Loaded { engine, writer, recovered, replayed, passed_over, .. } = load(storage, config, &mut |_| {})?;
    let clock = match &engine {
        Some(engine) => against_log(engine.sequencer.at(), now.utc_ns, config, &recovered)?,
        // A log that begins has no time yet.
        None => ClockFound::Fits,
    };

    let mut first = Batch::default();
    let mut effects = Vec::new();
    let epoch = NewEpoch { cause: EpochCause::Start, node: config.node.id, boot };
    let (engine, differences) = match engine {
        Some(mut engine) => {
            engine.open_epoch(now, epoch, &mut first, &mut effects);
            let differences = differences(&engine, &genesis, &configure, &retention);
            (engine, differences)
        }
        None => {
            let mut engine = Engine::new(cluster, genesis.partitions, shards);
            engine.begin(now, genesis, epoch, &mut first, &mut effects);
            engine.input(now, Input::Node(configure.into()), &mut first, &mut effects);
            engine.input(now, Input::Node(retention.into()), &mut first, &mut effects);
            (engine, Vec::new())
        }
    };
    // What subscribers would have seen before this start; what this start itself causes comes after.
    effects.extend(showcase(&engine));
    Ok(Started { engine, writer, first, effects, recovered, replayed, passed_over, differences, clock })
}

/// The clock's verdict, which ends the start where the clock is too far ahead and nobody vouched for it.
fn against_log<E: std::error::Error>(
    last: At,
    utc_ns: i64,
    config: &Config,
    recovered: &Recovered,
) -> Result<ClockFound, RecoveryError<E>> {
    let max_h = config.node.clock_jump_max_h;
    match judge_clock(last, utc_ns, max_h) {
        ClockFound::Ahead(ahead_ns) if !config.node.trust_clock => {
            let cut = match &recovered.tail {
                Tail::Clean => None,
                Tail::Torn(cut) => Some(cut.clone()),
            };
            Err(RecoveryError::ClockAhead { last, utc_ns, ahead_h: ahead_ns / HOUR_NS, max_h, cut })
        }
        found => Ok(found),
    }
}

/// Everything that subscribers see now.
pub fn showcase(engine: &Engine) -> Vec<Effect> {
    let seq = engine.sequencer.last();
    let partitions = engine.shards.iter().flat_map(touchline_core::Shard::partitions);
    partitions.flat_map(|partition| partition.showcase(seq)).collect()
}

/// The first frames of a log, as the configuration gives them.
pub fn rules<E: std::error::Error>(
    config: &Config,
) -> Result<(Genesis, Configure, SetRetention), RecoveryError<E>> {
    let wrong = |(key, value, must)| RecoveryError::Config(key, value, must);
    let (genesis, configure) = (config.genesis().map_err(wrong)?, config.configure().map_err(wrong)?);
    Ok((genesis, configure, config.retention().map_err(wrong)?))
}

fn diverged(engine: &Engine) -> Option<u16> {
    let mut partitions = engine.shards.iter().flat_map(touchline_core::Shard::partitions);
    partitions.find(|partition| partition.diverged()).map(|partition| partition.id().0)
}

/// What an edited file says that the log does not: it changes nothing until it is logged.
fn differences(
    engine: &Engine,
    genesis: &Genesis,
    configure: &Configure,
    retention: &SetRetention,
) -> Vec<String> {
    let Some(partition) = engine.partition(PartitionId(0)) else { return Vec::new() };
    let rules = partition.rules();
    let mut found = Vec::new();
    if rules.genesis != *genesis {
        found.push(
            "[cluster] differs from the log's genesis, which can never change; the log's values are in force"
                .into(),
        );
    }
    let logged = Configure { operator: configure.operator, ..rules.configure.clone() };
    if logged != *configure {
        found.push("[cluster.rules], brands or material differ from the log; the log's values are in force until an operator sends Configure".into());
    }
    if partition.retention_ms() != retention.retention_ms {
        found.push("cluster.retention_hours differs from the log; the log's value is in force until an operator sends SetRetention".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_journal::simulated::SimStorage;

    const NOON_NS: i64 = 1_900_000_000 * 1_000_000_000;

    #[test]
    fn a_clock_may_be_ahead_of_the_log_as_long_as_a_node_may_be_down() {
        let found = |ns| judge_clock(At(NOON_NS), NOON_NS + ns, 24);
        assert_eq!(found(0), ClockFound::Fits);
        assert_eq!(found(24 * HOUR_NS), ClockFound::Fits);
        assert_eq!(found(24 * HOUR_NS + 1), ClockFound::Ahead(24 * HOUR_NS + 1));
        assert_eq!(found(-BEHIND_NS), ClockFound::Fits);
        assert_eq!(found(-BEHIND_NS - 1), ClockFound::Behind(BEHIND_NS + 1));
        assert_eq!(judge_clock(At(i64::MIN), i64::MAX, 87_600), ClockFound::Ahead(i64::MAX));
    }

    /// A start on a disk with a clock; the disk after it, with what the start wrote.
    fn start_at(
        disk: SimStorage,
        utc_ns: i64,
        trust_clock: bool,
    ) -> Result<(SimStorage, ClockFound, At), String> {
        let mut config = Config::standard();
        config.node.segment_mib = 2;
        config.node.trust_clock = trust_clock;
        let started = start(disk, &config, Now { mono_ns: 1, utc_ns }, 1).map_err(|e| e.to_string())?;
        let Started { mut writer, first, engine, clock, .. } = started;
        writer.append(&first.bytes, Seq(0)).unwrap();
        Ok((writer.into_storage(), clock, engine.sequencer.at()))
    }

    #[test]
    fn a_clock_far_ahead_moves_a_nodes_time_only_when_somebody_vouches_for_it() {
        let years = NOON_NS + 3 * 365 * 24 * HOUR_NS;
        let (disk, clock, _) = start_at(SimStorage::new(), NOON_NS, false).unwrap();
        assert_eq!(clock, ClockFound::Fits);
        let refused = start_at(disk.clone(), years, false).unwrap_err();
        for part in ["2030-03-17T17:46:40Z", "2033-03-16T17:46:40Z", "26280 hours", "= 24", "--trust-clock"] {
            assert!(refused.contains(part), "{refused:?} does not say {part:?}");
        }
        // The refused start left nothing behind: with the right clock the node's time is what it was.
        let (disk, clock, at) = start_at(disk, NOON_NS + HOUR_NS, false).unwrap();
        assert_eq!((clock, at), (ClockFound::Fits, At(NOON_NS + HOUR_NS)));
        let (disk, clock, at) = start_at(disk, years, true).unwrap();
        assert!(matches!(clock, ClockFound::Ahead(_)));
        assert_eq!(at, At(years));
        let (_, clock, at) = start_at(disk, NOON_NS, false).unwrap();
        assert_eq!((clock, at), (ClockFound::Behind(years - NOON_NS), At(years)), "time never goes back");
    }
}
