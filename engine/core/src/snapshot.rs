//! The state after a frame, in bytes: checked when it is saved, and again when it is read.
//!
//! Each partition saves itself as its shard passes the frame; nothing else is needed, since the sequencer follows
//! from the partitions. Entities stand in their canonical bytes, sorted by key, so that equal states give equal
//! snapshots. The layout belongs to the running version alone: it never goes over a wire between versions.

mod convert;
mod entries;
pub mod export;

pub use convert::{Convert, STEPS, Step};
pub use entries::Entries;
pub use export::{Export, ExportError};

use crate::engine::Engine;
use crate::fingerprint::Reader;
use crate::market::Market;
use crate::operate::new_market;
use crate::partition::Partition;
use crate::sequencer::Sequencer;
use crate::shard::{Shard, placed};
use crate::spine::{SPINE, Spine};
use crate::table::{Key, Stored};
use convert::TABLES;
use rkyv::{Archive, Deserialize, Serialize, rancor};
use std::fmt;
use touchline_protocol::wire::Fault;
use touchline_protocol::*;
use xxhash_rust::xxh3::xxh3_128;

/// First bytes of a snapshot; the last of them is the version of its layout.
const MAGIC: [u8; 8] = *b"TLSNAP\0\x04";
/// Magic, length and checksum, before the archive.
const HEADER: usize = 32;
/// Version of the layout that this program writes and reads.
pub const LAYOUT: u8 = MAGIC[7];

/// The frame that a state is the state after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its sequence.
    pub seq: Seq,
    /// Its logical time.
    pub at: At,
    /// Its chain hash, which stands for the whole log up to it.
    pub chain: ChainHash,
}

impl Place {
    /// The place of a frame.
    pub fn of(frame: &FrameRef<'_>) -> Place {
        let envelope = frame.envelope();
        Place { epoch: envelope.epoch, seq: envelope.seq, at: envelope.at, chain: frame.chain() }
    }
}

/// A partition's state.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    partition: u16,
    fingerprint: u128,
    /// In the order of [`convert::TABLES`].
    tables: Vec<Entries>,
}

/// The state of a whole log after a frame.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    cluster: u64,
    epoch: u64,
    seq: u64,
    at: i64,
    chain: u128,
    partitions: Vec<Saved>,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// It ends too early, or its checksum does not match.
    Damaged,
    /// It was written by a version with another layout, this one.
    Layout(u8),
    /// It lacks partitions, or has one twice.
    Partitions(usize),
    /// An entity of a partition cannot be read.
    Entity(PartitionId, Fault),
    /// What was read is not the state that was saved.
    Fingerprint(PartitionId),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Damaged => write!(f, "the snapshot is damaged: use an older one, or the journal"),
            SnapshotError::Layout(found) => write!(
                f,
                "the snapshot was written by another version: it has layout {found}, this program reads layout {LAYOUT}"
            ),
            SnapshotError::Partitions(found) => {
                write!(f, "the snapshot has {found} partitions, which are not all of them")
            }
            SnapshotError::Entity(partition, fault) => {
                write!(f, "the snapshot's partition {} cannot be read: {fault}", partition.0)
            }
            SnapshotError::Fingerprint(partition) => write!(
                f,
                "the snapshot's partition {} is not the state that was saved: use an older one, or the journal",
                partition.0
            ),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl Saved {
    /// The partition's part in the fingerprint of all.
    pub fn fingerprint(&self) -> u128 {
        placed(PartitionId(self.partition), self.fingerprint)
    }

    /// Takes the fingerprint that its entities have, after they were converted.
    fn refresh(&mut self) -> Result<(), SnapshotError> {
        self.fingerprint = Partition::restore(self)?.1;
        Ok(())
    }
}

impl Snapshot {
    /// Puts the parts together that all partitions saved after the same frame, in any order.
    pub fn new(cluster: u64, place: Place, mut partitions: Vec<Saved>) -> Self {
        partitions.sort_by_key(|saved| saved.partition);
        Snapshot {
            cluster,
            epoch: place.epoch.0,
            seq: place.seq.0,
            at: place.at.0,
            chain: place.chain.0,
            partitions,
        }
    }

    /// The state of a core as it stands behind the last frame that it followed. `Err` gives the number of entities
    /// that are not what they were when last hashed.
    pub fn of(engine: &mut Engine) -> Result<Self, usize> {
        let s = &engine.sequencer;
        let place = Place { epoch: s.epoch(), seq: s.last(), at: s.at(), chain: s.chain() };
        let cluster = s.cluster();
        let partitions = engine.shards.iter_mut().flat_map(Shard::partitions_mut);
        Ok(Snapshot::new(cluster, place, partitions.map(Partition::save).collect::<Result<_, _>>()?))
    }

    /// The frame that it is the state after.
    pub fn place(&self) -> Place {
        Place { epoch: Epoch(self.epoch), seq: Seq(self.seq), at: At(self.at), chain: ChainHash(self.chain) }
    }

    /// The fingerprint of everything, as nodes compare it.
    pub fn fingerprint(&self) -> u128 {
        self.partitions.iter().fold(0, |sum, saved| sum ^ saved.fingerprint())
    }

    /// Its bytes: magic, length, XXH3-128 of the archive, archive.
    pub fn to_bytes(&self) -> Vec<u8> {
        // The archive is written behind the header, whose length keeps its alignment: copied there it would cost as much again.
        let bytes = rkyv::api::high::to_bytes_in::<_, rancor::Error>(self, vec![0; HEADER]);
        let mut bytes = bytes.expect("memory is all that it takes");
        let (header, archive) = bytes.split_at_mut(HEADER);
        header[..8].copy_from_slice(&MAGIC);
        header[8..16].copy_from_slice(&(archive.len() as u64).to_le_bytes());
        header[16..].copy_from_slice(&xxh3_128(archive).to_le_bytes());
        bytes
    }

    /// Reads bytes that anything may have happened to.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (header, archive) = bytes.split_at_checked(HEADER).ok_or(SnapshotError::Damaged)?;
        if header[..7] != MAGIC[..7] {
            return Err(SnapshotError::Damaged);
        }
        if header[7] != MAGIC[7] {
            return Err(SnapshotError::Layout(header[7]));
        }
        let length = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        let stated = u128::from_le_bytes(header[16..].try_into().expect("sixteen bytes"));
        if archive.len() as u64 != length || xxh3_128(archive) != stated {
            return Err(SnapshotError::Damaged);
        }
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        // Checked although the checksum fits: it may have been written by a program that was itself broken.
        rkyv::from_bytes::<Snapshot, rancor::Error>(&aligned).map_err(|_| SnapshotError::Damaged)
    }

    /// The core in this state, hosted on a number of shards. Every entity is read and hashed again.
    pub fn engine(&self, shards: usize) -> Result<Engine, SnapshotError> {
        let count = self.partitions.len();
        let whole =
            self.partitions.iter().enumerate().all(|(place, saved)| usize::from(saved.partition) == place);
        if !whole || count == 0 || count > usize::from(PARTITIONS_MAX) {
            return Err(SnapshotError::Partitions(count));
        }
        let mut engine = Engine::new(self.cluster, count as u16, shards);
        for saved in &self.partitions {
            let id = PartitionId(saved.partition);
            let host =
                engine.shards.iter_mut().find_map(|shard| shard.get_mut(id)).expect("some shard hosts it");
            *host = Partition::load(saved)?;
            if usize::from(host.rules().genesis.partitions) != count {
                return Err(SnapshotError::Partitions(count));
            }
        }
        let partitions: Vec<&Partition> =
            (0..count as u16).filter_map(|id| engine.partition(PartitionId(id))).collect();
        engine.sequencer = Sequencer::resume(self.cluster, &self.place(), &partitions);
        Ok(engine)
    }
}

impl Partition {
    /// Its state, after all of it was hashed again. `Err` gives the number of entities that changed without a recorded
    /// change: memory or code is broken, and nothing may be saved.
    pub fn save(&mut self) -> Result<Saved, usize> {
        let fingerprint = self.full_fingerprint()?;
        let tables = vec![
            self.spine.entries(),
            self.books.entries(),
            self.sources.entries(),
            self.accounts.entries(),
            self.limits.entries(),
            self.fixtures.entries(),
            self.markets.entries(),
            self.results.entries().entries(),
            self.pending.entries(),
            self.bets.entries(),
            self.holds.entries(),
            self.retention.entries(),
            self.closings.entries(),
            self.reopened.entries(),
            self.chores.entries(),
        ];
        Ok(Saved { partition: self.id.0, fingerprint, tables })
    }

    /// Reads a state back, with everything that follows from it, and hashes it again.
    fn load(saved: &Saved) -> Result<Self, SnapshotError> {
        match Partition::restore(saved)? {
            (p, found) if found == saved.fingerprint => Ok(p),
            (p, _) => Err(SnapshotError::Fingerprint(p.id)),
        }
    }

    /// Reads a state back, whatever its fingerprint was; what it is.
    fn restore(saved: &Saved) -> Result<(Self, u128), SnapshotError> {
        let id = PartitionId(saved.partition);
        let mut p = Partition::new(id);
        p.read(&saved.tables).map_err(|fault| SnapshotError::Entity(id, fault))?;
        let found = p.full_fingerprint().map_err(|_| SnapshotError::Fingerprint(id))?;
        Ok((p, found))
    }

    fn read(&mut self, tables: &[Entries]) -> Result<(), Fault> {
        let tables: &[Entries; TABLES.len()] =
            tables.try_into().map_err(|_| Fault::Range("every table and no other"))?;
        let [
            spine,
            books,
            sources,
            accounts,
            limits,
            fixtures,
            markets,
            results,
            pending,
            bets,
            holds,
            retention,
            closings,
            reopened,
            chores,
        ] = tables;
        each(spine, |key: u8, spine: Spine| self.spine.put(key, spine))?;
        if self.spine.get(&SPINE).is_none() {
            return Err(Fault::Range("a partition behind genesis"));
        }
        each(books, |key, flag| self.books.put(key, flag))?;
        each(sources, |key, promise| self.sources.put(key, promise))?;
        each(accounts, |key, account| self.accounts.put(key, account))?;
        each(limits, |key, limit: crate::limits::Limit| self.set_limit(key, Some(limit.0)))?;
        each(fixtures, |key: FixtureId, fixture: crate::fixture::Fixture| {
            self.by_source.entry(fixture.opened.source).or_default().insert(key);
            self.fixtures.put(key, fixture);
        })?;
        for entry in markets.iter() {
            let (key, value) = entry?;
            let key: (FixtureId, MarketKey) = whole(key, Key::read)?;
            let market = self.read_market(key, value)?;
            self.markets.put(key, market);
        }
        each(results, |key, resolved| self.results.put(key, resolved))?;
        each(pending, |key, pending| self.pending.put(key, pending))?;
        each(bets, |key, bet: crate::results::Bet| {
            self.bets_by_fixture.entry(bet.fixture).or_default().insert(key);
            self.bets.put(key, bet);
        })?;
        each(holds, |key, hold| self.holds.put(key, hold))?;
        each(retention, |key, retention| self.retention.put(key, retention))?;
        each(closings, |key, closing| self.closings.put(key, closing))?;
        each(reopened, |key, used| self.reopened.put(key, used))?;
        each(chores, |key, chore| self.chores.put(key, chore))
    }

    /// A market; how its results come about follows from its fixture's sport and its key.
    fn read_market(&mut self, (fixture, key): (FixtureId, MarketKey), value: &[u8]) -> Result<Market, Fault> {
        let sport = self.fixtures.get(&fixture).ok_or(Fault::Range("a known fixture"))?.opened.sport;
        let any = MarketSpec { market: key, selections: u8::MAX };
        let results = new_market(self, sport, &any).ok_or(Fault::Range("a known market"))?.results;
        self.derive_from(fixture, key, &results);
        whole(value, |from| Market::read(results, from))
    }
}

/// Reads the entries of a table.
fn each<K: Key, T: Stored<K>>(entries: &Entries, mut put: impl FnMut(K, T)) -> Result<(), Fault> {
    for entry in entries.iter() {
        let (key, value) = entry?;
        let key = whole(key, K::read)?;
        put(key, whole(value, |from| T::read(&key, from))?);
    }
    Ok(())
}

/// Reads something that takes all the bytes.
fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T, Fault>) -> Result<T, Fault> {
    let mut from = Reader::new(bytes);
    let value = read(&mut from)?;
    if from.is_empty() { Ok(value) } else { Err(Fault::Trailing) }
}
