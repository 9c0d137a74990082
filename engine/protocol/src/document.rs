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
    entry::<ArchivedBet>(&mut out);
    entry::<ArchivedFixture>(&mut out);
    out.push_str("## Entries of lists\n\n");
    entry::<BrandRule>(&mut out);
    entry::<MaterialRule>(&mut out);
    entry::<PartitionFingerprint>(&mut out);
    entry::<MarketSpec>(&mut out);
    entry::<Price>(&mut out);
    entry::<PublishedMarket>(&mut out);
    entry::<SelectionResult>(&mut out);
    entry::<MarketEntry>(&mut out);
    entry::<Outcome>(&mut out);
    entry::<ArchivedMarket>(&mut out);
    out.push_str("## Enumerations\n\n");
    enumerations(&mut out);
    out
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

fn entry<T: Block>(out: &mut String) {
    let _ = writeln!(out, "### {}\n\n{}\n", T::NAME, prose(T::DOC));
    fields(T::FIELDS, out);
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

fn enumerations(out: &mut String) {
    macro_rules! list {
        ($($name:ident),*) => {$(
            let values: Vec<String> =
                codes::$name::ALL.iter().map(|value| format!("{} {}", *value as u32, value.name())).collect();
            let _ = writeln!(out, "**{}**: {}\n", stringify!($name), values.join(" · "));
        )*};
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
    );
}
