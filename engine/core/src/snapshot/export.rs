//! A snapshot in bytes that outlive the program: tables by name, each entity's version beside it.
//!
//! `EXPORT.md` beside this crate holds the byte table. The version that wrote a snapshot exports it, and every later one
//! that knows the steps between them imports it.

use super::convert::{Missing, Step, TABLES, convert};
use super::{Entries, Place, Saved, Snapshot, SnapshotError};
use crate::fingerprint::{Reader, put};
use std::fmt;
use touchline_protocol::wire::Fault;
use touchline_protocol::*;
use xxhash_rust::xxh3::xxh3_128;

/// First bytes of an export; the last of them is the version of the form itself.
pub const MAGIC: [u8; 8] = *b"TLEXPT\0\x01";
/// Magic, length and checksum.
const HEADER: usize = 32;

/// The state of a whole log after a frame, as any version may have written it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    cluster: u64,
    place: Place,
    partitions: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    number: u16,
    fingerprint: u128,
    tables: Vec<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: String,
    version: u16,
    entries: Entries,
}

/// What an export holds of a table, over all partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTotal {
    /// Its name.
    pub name: String,
    /// Version of its entities.
    pub version: u16,
    /// Number of entities.
    pub entities: usize,
    /// Bytes of keys and contents.
    pub bytes: usize,
}

/// An export as a snapshot of the running version.
pub struct Imported {
    /// The snapshot; it was read back whole.
    pub snapshot: Snapshot,
    /// Names of the tables whose entities were brought from an earlier version: their fingerprints are new.
    pub converted: Vec<&'static str>,
}

/// Why an export cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportError {
    /// It does not begin like one.
    Stranger,
    /// It ends too early, or its checksum does not match, or it says two things.
    Damaged,
    /// The form is of another version.
    Form(u8),
    /// A table is of a later version than this program knows, or unknown to it.
    Newer(String, u16),
    /// No step of this program starts from a table's version.
    Older(String, u16),
    /// An entity of a table is not of its version.
    Entity(String, Fault),
    /// What it holds is no state.
    State(SnapshotError),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Stranger => write!(f, "it is no export of a snapshot"),
            ExportError::Damaged => write!(f, "the export is damaged: write it again, or use a copy"),
            ExportError::Form(found) => write!(
                f,
                "the export has form {found}, this program reads form {}: import it with the version that wrote it",
                MAGIC[7]
            ),
            ExportError::Newer(table, version) => write!(
                f,
                "the export holds table {table:?} in version {version}, which is later than this program: import it with the \
                 version that wrote it, or a later one"
            ),
            ExportError::Older(table, version) => write!(
                f,
                "the export holds table {table:?} in version {version}, which is too old for this program: import it with a \
                 version in between, and export it from there"
            ),
            ExportError::Entity(table, fault) => {
                write!(f, "the export's table {table:?} cannot be converted: {fault}")
            }
            ExportError::State(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExportError {}

impl Export {
    /// A snapshot of the running version, after it was read back whole.
    pub fn of(snapshot: Snapshot) -> Result<Self, SnapshotError> {
        snapshot.engine(1)?;
        let place = snapshot.place();
        let named = |((name, version), entries): (&(&str, u16), Entries)| Named {
            name: (*name).to_owned(),
            version: *version,
            entries,
        };
        let part = |saved: Saved| Part {
            number: saved.partition,
            fingerprint: saved.fingerprint,
            tables: TABLES.iter().zip(saved.tables).map(named).collect(),
        };
        let partitions = snapshot.partitions.into_iter().map(part).collect();
        Ok(Export { cluster: snapshot.cluster, place, partitions })
    }

    /// The cluster whose state it is.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The frame that it is the state after.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The fingerprint of everything, as nodes of the version that wrote it compare it.
    pub fn fingerprint(&self) -> u128 {
        let placed = |part: &Part| crate::shard::placed(PartitionId(part.number), part.fingerprint);
        self.partitions.iter().fold(0, |sum, part| sum ^ placed(part))
    }

    /// What it holds, table by table, in the order in which they first stand there.
    pub fn totals(&self) -> Vec<TableTotal> {
        let mut totals: Vec<TableTotal> = Vec::new();
        for Named { name, version, entries } in self.partitions.iter().flat_map(|part| &part.tables) {
            let place = totals.iter().position(|total| total.name == *name && total.version == *version);
            let place = place.unwrap_or_else(|| {
                totals.push(TableTotal { name: name.clone(), version: *version, entities: 0, bytes: 0 });
                totals.len() - 1
            });
            totals[place].entities += entries.len();
            totals[place].bytes += entries.byte_count();
        }
        totals
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        let Place { epoch, seq, at, chain } = self.place;
        put(&self.cluster, &mut out);
        put(&epoch.0, &mut out);
        put(&seq.0, &mut out);
        put(&at.0, &mut out);
        put(&chain.0, &mut out);
        put(&self.fingerprint(), &mut out);
        put(&(self.partitions.len() as u16), &mut out);
        for part in &self.partitions {
            put(&part.number, &mut out);
            put(&part.fingerprint, &mut out);
            put(&(part.tables.len() as u16), &mut out);
            part.tables.iter().for_each(|table| table.put(&mut out));
        }
        let length = (out.len() - HEADER) as u64;
        let sum = xxh3_128(&out[HEADER..]);
        out[..8].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&length.to_le_bytes());
        out[16..HEADER].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads bytes that anything may have happened to.
    pub fn read(bytes: &[u8]) -> Result<Self, ExportError> {
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(ExportError::Stranger)?;
        if header[..7] != MAGIC[..7] {
            return Err(ExportError::Stranger);
        }
        if header[7] != MAGIC[7] {
            return Err(ExportError::Form(header[7]));
        }
        let length = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        let stated = u128::from_le_bytes(header[16..].try_into().expect("sixteen bytes"));
        if rest.len() as u64 != length || xxh3_128(rest) != stated {
            return Err(ExportError::Damaged);
        }
        let mut from = Reader::new(rest);
        let export = Export::take(&mut from).map_err(|_| ExportError::Damaged)?;
        if from.is_empty() { Ok(export) } else { Err(ExportError::Damaged) }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let cluster = from.field()?;
        let place = Place {
            epoch: Epoch(from.field()?),
            seq: Seq(from.field()?),
            at: At(from.field()?),
            chain: ChainHash(from.field()?),
        };
        let fingerprint: u128 = from.field()?;
        let count: u16 = from.field()?;
        let partitions = (0..count).map(|_| Part::take(from)).collect::<Result<_, _>>()?;
        let export = Export { cluster, place, partitions };
        if export.fingerprint() == fingerprint {
            Ok(export)
        } else {
            Err(Fault::Range("its parts' fingerprint"))
        }
    }

    /// The same as a snapshot of the running version, brought there by steps, and read back whole. Where nothing had to be
    /// converted, the fingerprints must be those that were exported.
    pub fn import(self, steps: &[Step]) -> Result<Imported, ExportError> {
        let mut converted = Vec::new();
        let mut partitions = Vec::new();
        for part in self.partitions {
            let (mut saved, changed) = part.import(steps)?;
            if !changed.is_empty() {
                saved.refresh().map_err(ExportError::State)?;
            }
            partitions.push(saved);
            converted.extend(changed);
        }
        converted.sort_unstable();
        converted.dedup();
        let snapshot = Snapshot::new(self.cluster, self.place, partitions);
        snapshot.engine(1).map_err(ExportError::State)?;
        Ok(Imported { snapshot, converted })
    }
}

impl Part {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let (number, fingerprint, count) = (from.field()?, from.field()?, from.field::<u16>()?);
        let tables = (0..count).map(|_| Named::take(from)).collect::<Result<_, _>>()?;
        Ok(Part { number, fingerprint, tables })
    }

    /// The partition as the running version saves it, and the names of tables that had to be converted.
    fn import(self, steps: &[Step]) -> Result<(Saved, Vec<&'static str>), ExportError> {
        let mut found = self.tables;
        let mut changed = Vec::new();
        let mut tables = Vec::new();
        for (name, known) in TABLES {
            let place = found.iter().position(|table| table.name == name);
            let (from, entries) = place
                .map_or((0, Entries::default()), |at| (found[at].version, found.swap_remove(at).entries));
            let told = |missing| match missing {
                Missing::Newer => ExportError::Newer(name.into(), from),
                Missing::Step => ExportError::Older(name.into(), from),
                Missing::Entity(fault) => ExportError::Entity(name.into(), fault),
            };
            let (entries, is_new) = convert(name, (from, known), entries, steps).map_err(told)?;
            if !entries.is_strict() {
                return Err(ExportError::Entity(name.into(), Fault::Range("keys that rise")));
            }
            changed.extend(is_new.then_some(name));
            tables.push(entries);
        }
        match found.pop() {
            Some(table) => Err(ExportError::Newer(table.name, table.version)),
            None => Ok((Saved { partition: self.number, fingerprint: self.fingerprint, tables }, changed)),
        }
    }
}

impl Named {
    fn put(&self, out: &mut Vec<u8>) {
        put(&(self.name.len() as u8), out);
        out.extend_from_slice(self.name.as_bytes());
        put(&self.version, out);
        put(&(self.entries.len() as u64), out);
        for entry in self.entries.iter() {
            let (key, value) = entry.expect("entries are whole: pushed here, or read back");
            for piece in [key, value] {
                put(&(piece.len() as u32), out);
                out.extend_from_slice(piece);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let length = from.field::<u8>()?;
        let name = std::str::from_utf8(from.bytes(length.into())?).map_err(|_| Fault::Range("a name"))?;
        let (version, count) = (from.field()?, from.field::<u64>()?);
        let mut entries = Entries::default();
        for _ in 0..count {
            let mut piece = || from.field::<u32>().and_then(|length| from.bytes(length as usize));
            let (key, value) = (piece()?, piece()?);
            entries.push(|out| out.extend_from_slice(key), |out| out.extend_from_slice(value));
        }
        Ok(Named { name: name.to_owned(), version, entries })
    }
}
