//! Versions of the tables' entities, and how one of an earlier version becomes one of the next.
//!
//! The canonical bytes of an entity are its layout in an export. Whoever changes them raises the table's version
//! here and adds the step from the version before; the golden exports beside this crate find who forgets.

use super::Entries;
use touchline_protocol::wire::Fault;

/// Tables of a partition in the order of [`Saved`](super::Saved), each with the version of its entities.
pub(crate) const TABLES: [(&str, u16); 15] = [
    ("spine", 1),
    ("books", 1),
    ("sources", 1),
    ("accounts", 1),
    ("limits", 1),
    ("fixtures", 1),
    ("markets", 1),
    ("results", 1),
    ("pending", 1),
    ("bets", 1),
    ("holds", 1),
    ("retention", 1),
    ("closings", 1),
    ("reopened", 1),
    ("chores", 1),
];

/// How an entity of one version becomes one of the next: from key and contents to key and contents.
pub type Convert = fn(&[u8], &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault>;

/// A step from a version of a table to the next. A table that an export lacks has version 0 and no entities.
pub struct Step {
    /// Name of the table.
    pub table: &'static str,
    /// The version that it starts from.
    pub from: u16,
    /// What it does to each entity.
    pub convert: Convert,
}

/// Every step that this program knows.
pub const STEPS: &[Step] = &[
    // Before there were chores every message was done with in its frame: there were none.
    Step { table: "chores", from: 0, convert: |_, _| Err(Fault::Trailing) },
];

/// Why a table cannot be brought to the running version.
pub(crate) enum Missing {
    /// It is newer than this program.
    Newer,
    /// No step starts from it.
    Step,
    /// One of its entities is not of its version.
    Entity(Fault),
}

/// Brings the entities of a table from a version to another; whether they changed.
pub(crate) fn convert(
    table: &str,
    (from, to): (u16, u16),
    mut entries: Entries,
    steps: &[Step],
) -> Result<(Entries, bool), Missing> {
    if from > to {
        return Err(Missing::Newer);
    }
    for version in from..to {
        let step = steps.iter().find(|step| step.table == table && step.from == version);
        let step = step.ok_or(Missing::Step)?;
        let mut next = Entries::default();
        for entry in entries.iter() {
            let (key, value) =
                entry.and_then(|(key, value)| (step.convert)(key, value)).map_err(Missing::Entity)?;
            next.push(|out| out.extend(key), |out| out.extend(value));
        }
        entries = next.sorted();
    }
    Ok((entries, from != to))
}
