//! Answers and effects as JSON.

use serde_json::{Map, Value as Json, json};
use touchline_core::view::FixtureExposure;
use touchline_core::{Audience, Effect};
use touchline_protocol::wire::Value;
use touchline_protocol::*;

/// A readable value as JSON.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Uint(n) => (*n).into(),
        Value::Int(n) => (*n).into(),
        Value::Bool(b) => (*b).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(entries) => entries.iter().map(self::value).collect(),
        Value::Record(fields) => fields
            .iter()
            .map(|(name, field)| ((*name).to_owned(), self::value(field)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// An effect of a line, at so many milliseconds of the script's clock.
pub fn effect(line: u64, at_ms: u64, effect: &Effect) -> Json {
    let to = match effect.to {
        Audience::Asker { .. } => "asker",
        Audience::Odds => "odds",
        Audience::Events => "events",
    };
    json!({"line": line, "at_ms": at_ms, "seq": effect.seq.0, "to": to, "kind": effect.body.kind().name(),
           "body": value(&effect.body.show())})
}

/// What is at stake on a fixture, amounts in minor units.
pub fn exposure(exposure: &FixtureExposure) -> Json {
    let markets = exposure.markets.iter().map(|market| {
        let selections = market.selections.iter().map(|s| {
            json!({"odds_milli": s.odds_milli, "staked_minor": s.staked_minor, "loss_minor": s.loss_minor,
                   "limit_minor": s.limit_minor})
        });
        json!({"market": market.market.kind, "line": f64::from(market.market.line) / 4.0,
               "status": market.status.name(), "suspended": reasons(market.suspended),
               "worst_minor": market.worst_minor, "limit_minor": market.limit_minor,
               "selections": selections.collect::<Vec<_>>()})
    });
    json!({"worst_minor": exposure.worst_minor, "bound": exposure.bound, "limit_minor": exposure.limit_minor,
           "markets": markets.collect::<Vec<_>>()})
}

/// Names of the reasons whose bits are set.
pub fn reasons(bits: u32) -> Vec<&'static str> {
    Reason::ALL.iter().filter(|reason| bits >> **reason as u32 & 1 == 1).map(|reason| reason.name()).collect()
}
