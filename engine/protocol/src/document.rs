//! Writes the byte tables of `PROTOCOL.md` from the definitions, so that they cannot drift apart.

use crate::archive::{ArchivedBet, ArchivedFixture, ArchivedMarket};
use crate::body::{Class, Kind};
use crate::codes;
use crate::commands::{BrandRule, MarketSpec, MaterialRule, PartitionFingerprint, Price};
use crate::effects::Outcome;
use crate::internal::{MarketEntry, PublishedMarket, SelectionResult};
use crate::wire::Block;
use std::fmt::Write;

/// The generated part of `PROTOCOL.md`.
pub fn byte_tables() -> String {
    let mut out = String::new();
    for (class, heading) in [
        (Class::Node, "Logged: from the node itself"),
        (Class::Command, "Logged: from clients"),
        (Class::Internal, "Logged: between partitions"),
        (Class::Session, "Sessions (never logged)"),
        (Class::Effect, "Effects (leave after commit)"),
    ] {
        let _ = writeln!(out, "## {heading}\n");
        for kind in Kind::ALL.iter().filter(|kind| kind.class() == class) {
            message(*kind, &mut out);
        }
    }
    out.push_str("## Records\n\n");
    records().into_iter().for_each(|record| block(record, &mut out));
    out.push_str("## Entries of lists\n\n");
    entries().into_iter().for_each(|entry| block(entry, &mut out));
    out.push_str("## Enumerations\n\n");
    for (name, values) in enumerations() {
        let values: Vec<String> = values.iter().map(|(number, term)| format!("{number} {term}")).collect();
        let _ = writeln!(out, "**{name}**: {}\n", values.join(" · "));
    }
    out
}

/// Name, wire type, size and meaning of each field.
pub(crate) type Fields = &'static [(&'static str, &'static str, usize, &'static str)];
/// Name, purpose and fields of a block that is no message.
type Named = (&'static str, &'static str, Fields);

fn named<T: Block>() -> Named {
    (T::NAME, T::DOC, T::FIELDS)
}

/// Blocks that are fields of messages.
pub(crate) fn records() -> Vec<Named> {
    vec![named::<ArchivedBet>(), named::<ArchivedFixture>()]
}

/// Blocks that are entries of lists.
pub(crate) fn entries() -> Vec<Named> {
    vec![
        named::<BrandRule>(),
        named::<MaterialRule>(),
        named::<PartitionFingerprint>(),
        named::<MarketSpec>(),
        named::<Price>(),
        named::<PublishedMarket>(),
        named::<SelectionResult>(),
        named::<MarketEntry>(),
        named::<Outcome>(),
        named::<ArchivedMarket>(),
    ]
}

fn message(kind: Kind, out: &mut String) {
    let table = kind.table();
    let _ = writeln!(out, "### {} · kind {}\n\n{}\n", kind.name(), kind as u16, prose(table.doc));
    fields(table.fields, out);
    for (name, form, doc) in table.tails {
        let _ = writeln!(out, "| … | … | `{name}` | {form} |{doc} |");
    }
    out.push('\n');
}

fn block((name, doc, of): Named, out: &mut String) {
    let _ = writeln!(out, "### {name}\n\n{}\n", prose(doc));
    fields(of, out);
    out.push('\n');
}

fn fields(fields: &[(&str, &str, usize, &str)], out: &mut String) {
    out.push_str("| offset | size | field | type | meaning |\n|---:|---:|---|---|---|\n");
    let mut offset = 0;
    for (name, form, size, doc) in fields {
        let _ = writeln!(out, "| {offset} | {size} | `{name}` | {form} |{doc} |");
        offset += size;
    }
}

fn prose(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Name of each enumeration, and number and term of each of its values.
pub(crate) fn enumerations() -> Vec<(&'static str, Vec<(u32, &'static str)>)> {
    macro_rules! list {
        ($($name:ident),*) => {
            vec![$((
                stringify!($name),
                codes::$name::ALL.iter().map(|value| (*value as u32, value.name())).collect(),
            )),*]
        };
    }
    list!(
        Sport,
        Code,
        FixtureStatus,
        MarketStatus,
        Reason,
        Event,
        Period,
        Side,
        OddsPolicy,
        AccountStatus,
        LimitScope,
        Stage,
        Payoff,
        Certainty,
        ClusterMode,
        EpochCause,
        Role,
        Severity
    )
}
